"""The linked panel: money, and the score that was known before it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from rox.core.cells import Cells
from rox.core.census import Census
from rox.core.check import Check
from rox.core.derived import Maker
from rox.core.errors import DataError
from rox.core.leaks import LeakReport
from rox.core.reduction import Reduction, asked
from rox.core.score_parts import ScoreParts
from rox.core.study import Study
from rox.core.views import Clock, RowsPer, Views
from rox.core.words import Language, say


@dataclass(frozen=True, kw_only=True)
class Step:
    """One step of the trail: what was done, how many rows and customers it kept, how many rows it lost, and why.

    ``reason`` is a key of the catalogue.
    """

    name: str
    rows: int
    lost: int
    customers: int
    reason: str


def trail_table(trail: Iterable[Step], language: Language = "en") -> pd.DataFrame:
    """List the steps of a trail for a reader."""
    rows = [
        {
            say("trail.step", language): step.name,
            say("trail.rows", language): step.rows,
            say("trail.lost", language): step.lost,
            say("trail.customers", language): step.customers,
            say("trail.why", language): say(step.reason, language),
        }
        for step in trail
    ]
    return pd.DataFrame(rows)


def month_index(year: int, month: int) -> int:
    """Number a month so that neighbours differ by one: 12·year + month − 1."""
    return 12 * year + month - 1


def month_label(index: int) -> str:
    """Write a month number as ``2025-03``."""
    return f"{index // 12:04d}-{index % 12 + 1:02d}"


@dataclass(frozen=True, kw_only=True, eq=False)
class Linked:
    """A lazy panel, customer × month, of money and of the last score answered before that month began.

    ``frame()`` has the columns

    - ``customer``: dense integer; the company's own ids stay in the engine;
    - ``month``: 12·year + month − 1;
    - ``segment``, ``unit``: text, as known at the start; ``unit`` is the place initiatives are rolled out to;
    - ``weight``: customers of the company that this row stands for;
    - ``outcome``: money (in the study's currency) or a count, of that month;
    - ``score``: the latest answer given before the month began, at most ``look_back`` months ago; missing if none;
    - ``score_age``: months from that answer's month to this one, at least 1; missing if none;
    - ``opened``: month the customer came, missing if unknown;
    - ``exit_month``: month of leaving, missing if still there; ``voluntary``: whether leaving was their choice;
    - one column per control, known at the start.

    Rows are the months of the ledger: none after the exit. Customers never surveyed are kept.

    Attributes:
        study: Where it came from.
        score: Name of the score, or empty when no score was linked.
        outcome: Name of the outcome.
        look_back: Months an answer stays in use.
        controls: Names of the control columns.
        starts: One row per treated unit: ``initiative``, ``unit``, ``start`` (month number).
        trail: Rows kept and lost at each step.
        fingerprint: SHA-256 over the contents of every table used and the settings of the link.
        checks: Warnings of the data contract that bear on results.
        panel: The lazy engine table.
        fetch: Runs an engine table and returns a frame.
        reduce: Reduces the panel to cells in its engine; None where it has none.
        lag: Least months from an answer to the money it stands beside.
        washout: Months without an answer before one that counts; None if every answer counts.
        cohort: The month at which customers were frozen, such as ``"2024-03"``, if they were.
        views: Makes the other tables of the link; None where it has none.
    """

    study: Study
    score: str
    outcome: str
    look_back: int
    controls: tuple[str, ...]
    starts: pd.DataFrame
    trail: tuple[Step, ...]
    fingerprint: str
    checks: tuple[Check, ...]
    panel: Any
    fetch: Callable[[Any], pd.DataFrame]
    reduce: Callable[[Linked, Reduction], Cells] | None = None
    lag: int = 1
    washout: int | None = None
    cohort: str | None = None
    views: Views | None = None

    def trail_table(self, language: Language = "en") -> pd.DataFrame:
        """List the steps of the link for a reader."""
        return trail_table(self.trail, language)

    def frame(self) -> pd.DataFrame:
        """Fetch the panel, sorted by customer and month, several amounts of a month by size and score."""
        order = ["customer", "month"]
        if self.study.outcomes[self.outcome].table == "answers":
            order += ["outcome", "score", "score_age"]
        return self.fetch(self.panel).sort_values(order, kind="stable").reset_index(drop=True)

    def cells(
        self,
        *,
        by: Sequence[str] | Mapping[str, Maker],
        sums: Sequence[str] | Mapping[str, Maker] = ("outcome",),
        within: Mapping[str, Maker] | None = None,
        known: Sequence[str] = (),
        where: Callable[[Any], Any] | None = None,
        months: tuple[int, int] | None = None,
        buckets: int = 64,
        grains: Mapping[str, float] | None = None,
    ) -> Cells:
        """Reduce the panel to sums per pattern and bucket of customers, in one scan of the engine.

        Cells of some months and cells of the others add to the cells of all, to the last digit.

        Args:
            by: Keys: names of columns, or by name a description of :mod:`rox.core.derived` or a function of the
                engine's table, such as ``lambda t: t.score >= 9``.
            sums: What to sum beside the number of rows ``n``: monomials of columns such as ``"outcome^2*score"``, or by
                name a monomial or a function.
            within: Further columns for ``by`` and ``sums``, among them what a customer's other months say: ``Growth``,
                ``Ahead``, ``OwnMean``, ``Previous``. They see the whole panel; later ones may use earlier ones.
            known: Columns without which a row is left out; a sum over missing values is refused otherwise.
            where: A condition on the engine's table, after ``within``.
            months: First and last month whose rows count.
            buckets: Buckets of customers: 64, for statistics that jump 128.
            grains: By column, the fraction of its unit to which values are rounded; otherwise money counts in its
                smallest unit, scores and months in whole numbers, and every other number in 2⁻³⁰.

        Raises:
            DataError: Faults of the question, unknown columns, missing values, or a panel that cannot be reduced.
        """
        if self.reduce is None:
            raise DataError(
                "This panel cannot be reduced.", ["link tables, or wrap rows with rox.testing.linked_from_frame"]
            )
        question = asked(by, sums, within, known=known, where=where, months=months, buckets=buckets, grains=grains)
        return self.reduce(self, question)

    def windows(self, *, before: int = 12, first: int = 1, last: int = 12) -> Any:
        """Lay the money around each answer out as one row, for ``fetch``.

        Every answer that counts has a row, whether or not another answer followed, and whether or not the customer
        stayed: who left has zero money from then on. Months are counted by the calendar, so a gap in the ledger is a
        missing month and shifts none. An answer that was not known when month ``first`` began has no row.

        Args:
            before: Months before the answer that are shown.
            first: First month after the answer whose money counts, at least the link's ``lag``.
            last: Last month whose money counts.

        Returns:
            An engine table, a row per answer: ``customer``, ``answered`` (month), ``score``, ``segment``, ``unit``,
            ``weight``, ``opened``, the controls; ``before_k`` (money k months before the answer's month, missing where
            unknown) for k = 1 … ``before``; ``growth`` (relative, from the first to the last of these); ``outcome``
            (mean of the window's observed months, for flows and counts their sum, missing if none is); ``observed`` and
            ``censored``, shares of the window's months that add up to 1.

        Raises:
            DataError: Months in a wrong order, or a link without answers or without money by month.
        """
        return self._views().windows(self, before=before, first=first, last=last)

    def episodes(self, *, clock: Clock = "tenure", per: RowsPer = "month") -> Any:
        """List the times at risk of leaving with what was known at the start of each, for ``fetch``.

        A customer enters in the month after the first answer is known and is out of sight while no recent answer is. An
        exit belongs to its month, or to the customer's last month when the ledger ends the month before. Where the
        study declares attrition, a customer whose money has gone counts as having left by own choice.

        Args:
            clock: ``tenure`` counts months since opening, ``calendar`` months since the panel began.
            per: One row per ``month``, or per ``answer`` and run of months without a gap; the likelihood of a model in
                which only answers change is the same.

        Returns:
            An engine table: ``customer``, ``start``, ``stop`` (at risk in (start, stop]), ``month`` (of the start),
            ``event`` (1: left by own choice), ``cause`` (``none``, ``exit``, ``silent``, ``other``), ``score``,
            ``score_age`` (months, at the start), ``segment``, ``unit``, ``weight``, ``opened``, the controls.

        Raises:
            DataError: A link without answers, or openings that cannot carry a tenure clock.
        """
        return self._views().episodes(self, clock=clock, per=per)

    def units(self, *, initiative: str | None = None, base: int = 3, history: int = 12, cap: float = 3.0) -> Any:
        """Sum the customers who were there before an initiative's first start by place, month, segment, for ``fetch``.

        Nothing measured after the first start decides who is in. Money is relative to the customer's own mean in the
        months before; who left has zero.

        Args:
            initiative: Name; may be missing when there is only one.
            base: Months before the first start whose mean is a customer's own baseline.
            history: Months before the first start in which a customer must have been there.
            cap: Largest ratio to the own baseline that counts.

        Returns:
            An engine table with a row for every place, month and segment: ``unit``, ``month``, ``segment``, ``start``
            (month in which the place starts, missing if never), ``customers`` (frozen), ``staying`` (not left before
            the month), ``rows`` (months of money on record), ``outcome`` (sum), ``ratio`` and ``ratio_squares`` (sums,
            ratios rounded to millionths), ``answers``, ``score`` and ``score_squares`` (number and sums of the answers
            given in the month that came into use).

        Raises:
            DataError: No such initiative, no start with months before it, or nobody left.
        """
        return self._views().units(self, initiative=initiative, base=base, history=history, cap=cap)

    def calibrated(self, parts: ScoreParts) -> Linked:
        """Add to the panel what the answers so far tell about experience, instead of what the last one said.

        The answer in use is one noisy look, some months old. Its reading is the best linear prediction of experience in
        the row's month from all answers of the customer known before, given what answers are made of.

        Args:
            parts: Variances and memory, and the mean answer by segment and month.

        Returns:
            The same panel with ``reading`` (expected answer without noise, score points), ``trait`` and ``passing``
            (its two parts around the segment's mean of an earlier month); missing where no answer is in use.

        Raises:
            DataError: A link without answers, or means that lack a month in which somebody answered.
        """
        found: Linked = self._views().calibrated(self, parts)
        return found

    def around(self, months: Sequence[int], *, age: int) -> Any:
        """Put the money around each answer beside it, for ``fetch``: only the months of those who answered are touched.

        Args:
            months: Months from the answer, below 0 for before it, whose money is wanted.
            age: Months from the answer to the row that stands for it.

        Returns:
            An engine table with a row for every row of the panel whose ``score_age`` is ``age`` (every row with a score
            where the money stands beside the answers): its columns, ``answered`` (month of the answer), and for each of
            the months a column named by :func:`rox.core.views.money_column`: the customer's outcome, missing where the
            panel has no such month; of several amounts of a month the smallest.

        Raises:
            DataError: The panel has columns of these names.
        """
        return self._views().around(self, months, age=age)

    def answered(self, months: Sequence[int] = (), *, age: int) -> Linked:
        """Keep the answers as a panel of their own, which sums are taken of without fetching any.

        Args:
            months: As of :meth:`around`.
            age: As there.

        Returns:
            A panel with the rows and columns of :meth:`around`, computed once and kept where the panel lies, and
            ``place``, the number of the customer's earlier answers among them, and ``previous``, the score of the last
            of these. Who has no segment is in the one called ``all``.

        Raises:
            DataError: As of :meth:`around`.
        """
        found: Linked = self._views().answered(self, months, age=age)
        return found

    def sums(
        self,
        *,
        by: Sequence[str] | Mapping[str, Maker],
        sums: Sequence[str] | Mapping[str, Maker],
        within: Mapping[str, Maker] | None = None,
        where: Callable[[Any], Any] | None = None,
        buckets: int = 64,
    ) -> pd.DataFrame:
        """Sum as :meth:`cells` does, for use at once: without what cells say of themselves when they are kept or added.

        Returns:
            The keys, ``bucket``, ``customers``, ``n`` and the sums in units, as floats.

        Raises:
            DataError: As of :meth:`cells`.
        """
        return self._views().sums(self, asked(by, sums, within, where=where, buckets=buckets))

    def census(self, *, caps: Mapping[str, float] | None = None) -> Census:
        """Count the panel's customers by segment, what they hold and how many left, and what is wrong with its rows.

        Sums are of whole numbers, so that they are the same in every run and on every engine.

        Args:
            caps: By segment, the amount above which money counts as that amount.
        """
        return self._views().census(self, caps or {})

    def responding(self, *, bands: int = 5) -> pd.DataFrame:
        """Count who answered, in the months after which answers were given, by what was known before.

        Args:
            bands: How many bands of equal size, numbered from 0, −1 where unknown.

        Returns:
            One row per cell: ``segment``; band of ``money`` before the month, within segment and month; band of
            ``tenure``, within segment; whether money had been ``rising`` over a quarter (1, 0, 2 if unknown);
            ``score`` of those who answered, missing for those who did not; ``n``, customer-months; ``weight``, theirs.
        """
        return self._views().responding(self, bands)

    def weighted(self, weights: pd.DataFrame, *, bands: int = 5, name: str = "response_weight") -> Linked:
        """Add a column of weights to the panel: on the rows of an answer the weight of its cell, elsewhere 1.

        Args:
            weights: ``weight`` by the cells of :meth:`responding` that have a score.
            bands: As there.
            name: Of the column.
        """
        found: Linked = self._views().weighted(self, weights, bands=bands, name=name)
        return found

    def records(self, name: str, months: Sequence[int] = ()) -> Any:
        """Read the rows of a further table beside what is known of their customers, for ``fetch``.

        Args:
            name: ``tickets``, ``arms`` or ``applicants``, a table of the study.
            months: Months from that of the row, below 0 for before it, whose money is wanted.

        Returns:
            An engine table, a row for every row of the table whose customer is followed: its roles without ids
            (``customer`` as in the panel, ``person`` as a number), ``month`` of its date; ``segment``, ``unit``,
            ``weight``, ``opened``, ``exit_month``, ``voluntary`` and the controls of the customer; ``score`` and
            ``score_age``, the answer in use in that month, so one known before it began; ``given_score`` and
            ``given_age``, the last answer given up to the day of the row and how many months before (of a panel from a
            frame, up to its month); ``next_score`` and ``next_age``, the first answer given in a later month and how
            many months later; and for each of ``months`` a
            column named by :func:`rox.core.views.money_column`: the customer's outcome, missing where there is none. Of
            a table without customers, such as ``applicants``, only its own roles.

        Raises:
            DataError: No such table, an outcome that is not of the ledger, or columns of these names.
        """
        return self._views().records(self, name, months)

    @property
    def money_months(self) -> tuple[int, int]:
        """First and last month of money."""
        return self._views().money_months(self)

    def leak_report(self) -> LeakReport:
        """Search the panel for rows that use the future, from the raw tables and by another way than they were linked.

        Raises:
            DataError: The panel has no raw tables behind it.
        """
        return self._views().leak_report(self)

    def _views(self) -> Views:
        if self.views is None:
            raise DataError(
                "There are no tables behind this panel.", ["link tables, or wrap rows by rox.testing.linked_from_frame"]
            )
        return self.views
