"""Answers where they lie, one row each with the money around them, and what is counted of them without fetching any."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import pandas as pd

from rox.core.census import Census
from rox.core.derived import LookUp, Maker
from rox.core.errors import FitError
from rox.core.linked import Linked, Step
from rox.core.views import money_column
from rox.models.answers import PAST, RESPONSE_WEIGHT, USUAL, count_panel, stands_beside_answers
from rox.numerics.tails import FEWEST

MONEY_AROUND = "money_"
"""How the columns of :func:`rox.core.views.money_column` begin."""
OFF = 1e-6
"""A score that is further from a whole number than this is none."""
STILL = 1e-9
"""Variance of scores, in squared points, below which they are all the same."""
TAIL_SHARE, FEWEST_FOR_TAIL = 0.05, 100
"""Top share of customers that make the tail, and customers needed to measure it."""


@dataclass(frozen=True, kw_only=True, eq=False)
class AnswerTable:
    """Answers with the money that followed them, in the engine.

    Attributes:
        linked: As a panel of their own: :meth:`rox.core.linked.Linked.answered`, with the weight for response in
            ``weight`` and the customer's own in ``own_weight``.
        people: The whole panel in numbers.
        steps: What was kept and lost on the way.
        horizon: Months from the answer to the outcome; their mean where the money stands beside the answers.
    """

    linked: Linked
    people: Census
    steps: tuple[Step, ...]
    horizon: int

    def where(self, keep: Callable[[Any], Any]) -> AnswerTable:
        """Keep the answers for which a condition on the engine's table holds."""
        panel = self.linked.panel
        return replace(self, linked=replace(self.linked, panel=panel.filter(keep(panel))))

    def of(self, segments: Sequence[str]) -> AnswerTable:
        """Keep the answers of some segments."""
        found = self.where(lambda table: table.segment.isin(list(segments)))
        found.__dict__["counts"] = self.counts.loc[sorted(set(segments) & set(self.counts.index))]
        return found

    def repeated(self) -> AnswerTable:
        """Keep the answers of customers who gave more than one."""
        panel = self.linked.panel.mutate(rox_given=lambda table: table.place.count().over(group_by="customer"))
        kept = panel.filter(panel.rox_given > 1).drop("rox_given")
        return replace(self, linked=replace(self.linked, panel=kept))

    def capped(self, caps: Mapping[str, float], people: Census) -> AnswerTable:
        """Let amounts above a segment's cap count as the cap.

        Args:
            caps: By segment, for those that have one.
            people: The whole panel in numbers, with the same caps.
        """
        panel = self.linked.panel
        names = ["outcome", *(name for name in panel.columns if name.startswith(MONEY_AROUND))]
        cap = panel.segment.cases(*caps.items(), else_=1e300).cast("float64")
        money = {name: (panel[name] > cap).ifelse(cap, panel[name].cast("float64")) for name in names}
        return replace(self, linked=replace(self.linked, panel=panel.mutate(**money)), people=people)

    def cells(
        self,
        by: Mapping[str, Maker],
        sums: Mapping[str, Maker],
        within: Mapping[str, Maker] | None = None,
        where: Callable[[Any], Any] | None = None,
    ) -> pd.DataFrame:
        """Sum by pattern and bucket: the keys, ``bucket``, ``customers``, ``n`` and the sums in units."""
        return self.linked.sums(by=by, sums=sums, within=within, where=where)

    @cached_property
    def given(self) -> pd.DataFrame | None:
        """Whole answers of 0 to 10: their ``weight`` by ``segment``, ``answered``, ``said`` and ``bucket``; None when
        some answer is no whole number.
        """
        whole = self.cells({}, {"off": lambda t: (t.score.cast("float64") - t.score.round(0)).abs() > OFF})
        if whole["off"].sum() > 0:
            return None
        keys: dict[str, Maker] = {
            "segment": "segment",
            "answered": "answered",
            "said": lambda t: t.score.round(0).cast("int64"),
        }
        return self.cells(keys, {"weight": "weight"})

    @cached_property
    def counts(self) -> pd.DataFrame:
        """Answers by segment: ``rows``, ``customers``, ``repeated`` (of them who answered more than once), ``weight``
        (of each customer's first answer, before any weighting for response), ``score`` (mean), ``variance`` (of the
        score), ``money`` and ``score_sum`` (sums).
        """
        place = {"rox_first": lambda t: t.place == t.place.min().over(group_by="customer")}
        place |= {"rox_second": lambda t: t.rox_first & (t.place.count().over(group_by="customer") > 1)}
        sums: dict[str, Maker] = {
            "repeated": "rox_second",
            "weight": lambda t: t.rox_first.ifelse(t.own_weight, 0.0),
            "score_sum": lambda t: t.score.cast("float64"),
            "squares": lambda t: t.score.cast("float64") * t.score,
            "money": "outcome",
        }
        found = self.cells({"segment": "segment"}, sums, place).groupby("segment").sum()
        mean = found["score_sum"] / found["n"]
        return found.rename(columns={"n": "rows"}).assign(score=mean, variance=found["squares"] / found["n"] - mean**2)

    def past(self, now: int) -> tuple[AnswerTable, int] | None:
        """Keep the answers with money in a month around them and in the longest past that half of them have.

        Args:
            now: Months from the answer, 0 or below.

        Returns:
            These answers and the months back; None if too few have any past.
        """
        sums: dict[str, Maker] = {f"known_{months}": _both_known(now, -months) for months in PAST}
        found = self.cells({}, sums).sum()
        for months in PAST:
            if found[f"known_{months}"] >= 0.5 * found["n"]:
                return self.where(_both_known(now, -months)), months
        return None

    def totals(self) -> dict[str, int]:
        """Count answers, customers, customers who answered more than once, and clusters."""
        total = self.counts[["rows", "customers", "repeated"]].sum()
        found = {name: round(float(total[name])) for name in ("rows", "customers", "repeated")}
        return found | {"clusters": found["customers"]}

    def tail_indices(self) -> Mapping[str, float]:
        """Measure Hill's tail index of money per customer by segment; missing without a measurable upper tail."""
        customers = self.counts["customers"]
        top = {
            str(name): int(max(TAIL_SHARE, (FEWEST + 0.5) / size) * size)
            for name, size in customers.items()
            if size >= FEWEST_FOR_TAIL
        }
        within: dict[str, Maker] = {
            "rox_mean": lambda t: t.outcome.cast("float64").mean().over(group_by="customer"),
            "rox_first": lambda t: t.place == t.place.min().over(group_by="customer"),
            "rox_key": lambda t: t.rox_first.ifelse(-t.rox_mean, 1e300),
            "rox_rank": lambda t: t.rox_key.rank().over(group_by="segment"),
            "rox_top": LookUp(keys=("segment",), values={(name,): float(k) for name, k in top.items()}),
            "rox_tail": lambda t: t.rox_first & (t.rox_rank <= t.rox_top),
            "rox_threshold": lambda t: t.rox_tail.ifelse(t.rox_mean, 1e300).min().over(group_by="segment"),
            "rox_excess": lambda t: (t.rox_threshold > 0).ifelse(t.rox_mean / t.rox_threshold, 1.0).ln(),
        }
        found = self.cells({"segment": "segment"}, {"excess": "rox_excess"}, within, lambda t: t.rox_tail)
        excess = found.groupby("segment")["excess"].sum()
        return {
            str(name): top[str(name)] / excess[name] if str(name) in top and excess[name] > STILL else float("nan")
            for name in customers.index
        }


def answer_table(
    data: Linked, *, age: int, controls: Sequence[str] = (), offsets: Sequence[int] = USUAL
) -> AnswerTable:
    """Keep the rows whose score was answered ``age`` months before, so that each answer is used once.

    Where the money stands beside the answers, every row is an answer and all are kept, whatever their age.

    Args:
        data: The linked panel.
        age: Months from the answer to the outcome, at least 1.
        controls: Columns that must be known.
        offsets: Months from the answer, below 0 for before it, whose money is wanted.

    Raises:
        FitError: An age out of range, controls that are not in the panel, or no answer left.
        DataError: A panel that cannot be used.
    """
    faults = []
    if not 1 <= age <= data.look_back:
        faults.append(f"age is {age}; needed: 1 to the look-back of {data.look_back} months")
    if unknown := [name for name in controls if name not in data.controls]:
        faults.append(f"controls {unknown} are not linked; linked are {list(data.controls)}")
    if faults:
        raise FitError("These choices do not fit the linked data.", faults)
    people = count_panel(data)
    linked = data.answered(offsets, age=age)
    panel = linked.panel.mutate(own_weight=linked.panel.weight)
    if RESPONSE_WEIGHT in panel.columns:
        panel = panel.mutate(weight=panel.weight * panel[RESPONSE_WEIGHT])
    table = AnswerTable(linked=replace(linked, panel=panel), people=people, steps=(), horizon=age)
    size = _size(table, controls)
    steps = [_step("answered", people.scored, people.rows - people.scored, people.scored_customers)]
    if not stands_beside_answers(data):
        steps.append(_step("one_per_answer", size["n"], people.scored - size["n"], size["customers"]))
    if controls:
        before = size["n"]
        if size["known"] < before:
            table = table.where(lambda t: _known(t, controls))
            size = _size(table, controls)
        steps.append(_step("controls", size["n"], before - size["n"], size["customers"]))
    if not size["n"]:
        raise FitError(
            "No answer has money beside it.",
            [f"{step.name}: {step.rows} rows of {step.customers} customers left" for step in steps],
        )
    return replace(table, steps=tuple(steps), horizon=round(size["ages"] / size["n"]))


def _size(table: AnswerTable, controls: Sequence[str]) -> Mapping[str, int]:
    """Count answers, their customers and those whose controls are known, and add up the months from answer to money."""
    sums: dict[str, Maker] = {"known": lambda t: _known(t, controls), "ages": lambda t: t.score_age.cast("float64")}
    found = table.cells({}, sums)
    return {name: round(float(found[name].sum())) for name in ("n", "customers", *sums)}


def _both_known(one: int, other: int) -> Callable[[Any], Any]:
    return lambda table: table[money_column(one)].notnull() & table[money_column(other)].notnull()


def _known(table: Any, controls: Sequence[str]) -> Any:
    known = table.score.notnull()
    for name in controls:
        known = known & table[name].notnull()
    return known


def _step(name: str, rows: int, lost: int, customers: int) -> Step:
    return Step(name=name, rows=rows, lost=lost, customers=customers, reason=f"score.step.{name}")
