"""From the linked panel to the rows a score model uses: one per answer, with the money of the month that follows it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pandas as pd

from rox.core.case import EVERYONE
from rox.core.census import Census
from rox.core.errors import DataError, FitError, LeakageError
from rox.core.linked import Linked, Step
from rox.core.units import Unit
from rox.core.views import money_column

COLUMNS = (
    "customer",
    "month",
    "segment",
    "unit",
    "weight",
    "outcome",
    "score",
    "score_age",
    "opened",
    "exit_month",
    "voluntary",
)
RESPONSE_WEIGHT = "response_weight"
"""Column by which the weight of an answer is multiplied, where the panel has it: see ``with_response_weights``."""
PAST = (12, 9, 6, 3)
"""Months before the answer at which earlier money is read: the longest that half of the answers have."""
USUAL = (*(-months for months in PAST), -1, 0)
"""Months from the answer whose money is looked up unless others are asked for."""
KNOWN_ENOUGH = 0.95
"""Share of rows whose opening month must be known before tenure is adjusted for."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Answers:
    """Answers with the money that followed them.

    Attributes:
        rows: One row per answer, sorted by customer and month: the panel's columns, ``answered``, the month of the
            answer, and the money of the months around it that were asked for.
        people: The whole panel in numbers.
        steps: What was kept and lost on the way.
        horizon: Months from the answer to the outcome; the median when the money stands beside the answers.
        whole: Fetches the whole panel, for models that follow every customer-month.
    """

    rows: pd.DataFrame
    people: Census
    steps: tuple[Step, ...]
    horizon: int
    whole: Callable[[], pd.DataFrame]

    @property
    def panel(self) -> pd.DataFrame:
        """The whole panel, fetched when first asked for; see :func:`read_panel`."""
        return self.whole()

    def outcome_at(self, months: int | pd.Series) -> pd.Series:
        """Return the outcome of each row's customer in another month; missing where the panel has no such month.

        Args:
            months: Months from the answer, one of those that were asked for; or month numbers by row, any month, which
                are looked up in the whole panel.

        Raises:
            FitError: The months from the answer were not asked for.
        """
        if isinstance(months, pd.Series):
            return _looked_up(self.panel, self.rows, months)
        name = money_column(months)
        if name not in self.rows:
            raise FitError(
                f"Money {months} months from the answer was not asked for.",
                ["name it among the offsets of answer_rows"],
            )
        return self.rows[name]


def _looked_up(panel: pd.DataFrame, rows: pd.DataFrame, months: pd.Series) -> pd.Series:
    first, span = int(panel["month"].min()), int(panel["month"].max() - panel["month"].min()) + 1
    inside = months.between(first, first + span - 1).to_numpy()
    held = (panel["customer"] * span + panel["month"] - first).to_numpy()
    asked = (rows["customer"] * span + months - first).to_numpy()
    place = np.minimum(np.searchsorted(held, asked), len(held) - 1)
    found = inside & (held[place] == asked)
    return pd.Series(np.where(found, panel["outcome"].to_numpy()[place], np.nan), index=rows.index)


def read_panel(data: Linked) -> pd.DataFrame:
    """Fetch the panel and check what every score model relies on.

    Without segments everybody is in one, called ``all``.

    Raises:
        LeakageError: A score is not older than the month it is to explain (ROX-S01), or its age is unknown.
        DataError: Columns or values that cannot be used; all faults in one message.
    """
    panel = data.frame()
    _require_columns(data, panel.columns)
    if panel["segment"].isna().all():
        panel["segment"] = EVERYONE
    panel = _typed(panel)
    _require_usable(data, rows=len(panel), scored=int(panel["score"].notna().sum()), defects=_defects(panel))
    return panel


def count_panel(data: Linked) -> Census:
    """Count the panel where it lies, and check what every score model relies on.

    Raises:
        LeakageError, DataError: As of :func:`read_panel`.
    """
    _require_columns(data, data.panel.columns)
    people = data.census()
    defects = dict(people.defects) if people.is_segmented else {**people.defects, "segment": 0}
    _require_usable(data, rows=people.rows, scored=people.scored, defects=defects)
    return people


def _typed(panel: pd.DataFrame) -> pd.DataFrame:
    numbers = ("outcome", "score", "score_age", "opened", "exit_month", "weight")
    columns: dict[str, Any] = {name: pd.to_numeric(panel[name]).astype(float) for name in numbers}
    columns["segment"] = panel["segment"].astype(object)
    columns["voluntary"] = panel["voluntary"].astype("boolean").fillna(False).astype(bool)
    return panel.assign(**columns)


def _defects(panel: pd.DataFrame) -> dict[str, int]:
    """Count what is wrong, as :class:`rox.core.census.Census` does."""
    scored = panel["score"].notna()
    answered = panel.loc[scored, ["customer", "score"]].assign(month=panel["month"] - panel["score_age"])
    found: dict[str, Any] = {
        "unknown_age": (scored & panel["score_age"].isna()).sum(),
        "early": (scored & (panel["score_age"] < 1)).sum(),
        "changing": (answered.groupby(["customer", "month"])["score"].nunique() > 1).sum(),
        "twice": panel.duplicated(["customer", "month"]).sum(),
        "outcome": (~np.isfinite(panel["outcome"])).sum(),
        "weight": (~(panel["weight"] > 0)).sum(),
        "segment": panel["segment"].isna().sum(),
        "several": (panel.groupby("customer")["segment"].nunique() > 1).sum(),
    }
    return {name: int(number) for name, number in found.items()}


def _require_columns(data: Linked, columns: Collection[str]) -> None:
    if missing := [name for name in (*COLUMNS, *data.controls) if name not in columns]:
        raise DataError(
            "The panel is not complete.", [f"column {name!r} is missing; link the tables again" for name in missing]
        )


def _require_usable(data: Linked, *, rows: int, scored: int, defects: Mapping[str, int]) -> None:
    if not rows:
        raise DataError("The panel has no rows.", ["link tables that share customers and months"])
    leaks, faults = _leaks(defects), _faults(data, scored, defects)
    if leaks or faults:
        kind = LeakageError if leaks else DataError
        raise kind("The panel cannot be used by a score model.", [*leaks, *faults])


def _leaks(defects: Mapping[str, int]) -> list[str]:
    faults = []
    if unknown := defects["unknown_age"]:
        faults.append(
            f"ROX-S02: {unknown} rows have a score without its age; whether it was known in that month cannot be told"
        )
    if early := defects["early"]:
        faults.append(
            f"ROX-S01: {early} rows use a score of the same or a later month; a score may explain only what came after "
            "it, so score_age is at least 1"
        )
    if changing := defects["changing"]:
        faults.append(
            f"ROX-S02: {changing} answers change their value in later months; carry the answer forward as it was given"
        )
    return faults


def _faults(data: Linked, scored: int, defects: Mapping[str, int]) -> list[str]:
    faults = []
    if not data.score or not scored:
        faults.append("no score is linked; give rox.link a score that customers answered")
    if (twice := defects["twice"]) and not _beside_answers(data):
        faults.append(f"{twice} rows repeat a customer's month; keep one row per customer and month")
    if bad := defects["outcome"]:
        faults.append(
            f"{bad} outcomes are missing or infinite; a month without money is 0, a month that is unknown has no row"
        )
    if bad := defects["weight"]:
        faults.append(f"{bad} weights are missing or not positive; a weight says how many customers a row stands for")
    if bad := defects["segment"]:
        faults.append(f"{bad} rows have no segment; name one for every customer, such as 'unknown'")
    elif several := defects["several"]:
        faults.append(f"{several} customers change segment; a segment is the one at the start")
    return faults


def _beside_answers(data: Linked) -> bool:
    """Whether the money stands beside the answers, so that the panel has one row per answer already."""
    outcome = data.study.outcomes.get(data.outcome)
    return outcome is not None and outcome.table == "answers"


def answer_rows(data: Linked, *, age: int, controls: Sequence[str], offsets: Sequence[int] = USUAL) -> Answers:
    """Keep the rows whose score was answered ``age`` months before, so that each answer is used once.

    Where the money stands beside the answers, every row is an answer and all are kept, whatever their age. Only these
    rows are fetched; what is said of the whole panel is counted where it lies.

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
    rows = _fetched(data, age, offsets)
    steps = [_step("answered", people.scored, people.rows - people.scored, people.scored_customers)]
    if not _beside_answers(data):
        steps.append(_step("one_per_answer", len(rows), people.scored - len(rows), rows["customer"].nunique()))
    if controls:
        left = rows[rows[list(controls)].notna().all(axis=1)]
        steps.append(_step("controls", len(left), len(rows) - len(left), left["customer"].nunique()))
        rows = left
    if rows.empty:
        raise FitError(
            "No answer has money beside it.",
            [f"{step.name}: {step.rows} rows of {step.customers} customers left" for step in steps],
        )
    rows = rows.reset_index(drop=True)
    if RESPONSE_WEIGHT in rows:
        rows["weight"] *= rows[RESPONSE_WEIGHT]
    horizon = round(rows["score_age"].median())
    whole = cache(lambda: read_panel(data))
    return Answers(rows=rows, people=people, steps=tuple(steps), horizon=horizon, whole=whole)


def _fetched(data: Linked, age: int, offsets: Sequence[int]) -> pd.DataFrame:
    """Fetch the answers of a usable panel, sorted by customer and month, several amounts of a month by size."""
    order = ["customer", "month"]
    if _beside_answers(data):
        order += ["outcome", "score", "score_age"]
    rows = data.fetch(data.around(offsets, age=age)).sort_values(order, kind="stable")
    if rows["segment"].isna().all():
        rows["segment"] = EVERYONE
    return _typed(rows)


def _step(name: str, rows: int, lost: int, customers: int) -> Step:
    return Step(name=name, rows=rows, lost=lost, customers=customers, reason=f"score.step.{name}")


def control_columns(rows: pd.DataFrame, controls: Sequence[str]) -> pd.DataFrame:
    """Turn controls into numbers: numeric ones standardised, text ones into indicators without the first level."""
    columns: dict[str, pd.Series] = {}
    for name in controls:
        values = rows[name]
        if pd.api.types.is_numeric_dtype(values):
            columns[name] = standardised(values)
        else:
            for level in sorted(values.astype(str).unique())[1:]:
                columns[f"{name}={level}"] = (values.astype(str) == level).astype(float)
    return pd.DataFrame(columns, index=rows.index)


def standardised(values: pd.Series) -> pd.Series:
    """Centre and scale; a constant becomes zero."""
    number = values.astype(float)
    spread = number.std(ddof=0)
    return (number - number.mean()) / (spread if spread > 0 else 1.0)


def root_tenure(rows: pd.DataFrame) -> pd.Series | None:
    """Return the square root of months since opening, standardised, or nothing when opening is mostly unknown.

    The few customers whose opening is unknown get the mean.
    """
    months = (rows["month"] - rows["opened"]).clip(lower=0)
    if months.notna().mean() < KNOWN_ENOUGH:
        return None
    root = months**0.5
    return standardised(root.fillna(root.mean()))


def outcome_unit(data: Linked) -> tuple[Unit, str]:
    """Return the unit of the linked outcome and its currency: money per customer, or a count without one."""
    outcome = data.study.outcomes.get(data.outcome)
    if outcome is not None and outcome.kind == "count":
        return Unit.COUNT, ""
    return Unit.MONEY_PER_CUSTOMER, data.study.currency


def counts_of(rows: pd.DataFrame) -> dict[str, int]:
    """Count answers, customers, customers who answered more than once, and clusters."""
    per_customer = rows.groupby("customer").size()
    return {
        "rows": len(rows),
        "customers": len(per_customer),
        "repeated": int((per_customer > 1).sum()),
        "clusters": len(per_customer),
    }
