"""From the linked panel to the rows a score model uses: one per answer, with the money of the month that follows it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from rox.core.case import EVERYONE
from rox.core.errors import DataError, FitError, LeakageError
from rox.core.linked import Linked, Step
from rox.core.units import Unit

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
KNOWN_ENOUGH = 0.95
"""Share of rows whose opening month must be known before tenure is adjusted for."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Answers:
    """Answers with the money that followed them.

    Attributes:
        rows: One row per answer: the panel's columns, and ``answered``, the month of the answer.
        panel: The whole panel, sorted by customer and month.
        steps: What was kept and lost on the way.
        horizon: Months from the answer to the outcome; the median when the money stands beside the answers.
    """

    rows: pd.DataFrame
    panel: pd.DataFrame
    steps: tuple[Step, ...]
    horizon: int

    def outcome_at(self, months: pd.Series) -> pd.Series:
        """Return the outcome of each row's customer in other months; missing where the panel has no such month."""
        first, span = int(self.panel["month"].min()), int(self.panel["month"].max() - self.panel["month"].min()) + 1
        inside = months.between(first, first + span - 1).to_numpy()
        held = (self.panel["customer"] * span + self.panel["month"] - first).to_numpy()
        asked = (self.rows["customer"] * span + months - first).to_numpy()
        place = np.minimum(np.searchsorted(held, asked), len(held) - 1)
        found = inside & (held[place] == asked)
        return pd.Series(np.where(found, self.panel["outcome"].to_numpy()[place], np.nan), index=self.rows.index)


def read_panel(data: Linked) -> pd.DataFrame:
    """Fetch the panel and check what every score model relies on.

    Without segments everybody is in one, called ``all``.

    Raises:
        LeakageError: A score is not older than the month it is to explain (ROX-S01), or its age is unknown.
        DataError: Columns or values that cannot be used; all faults in one message.
    """
    panel = data.frame()
    if missing := [name for name in (*COLUMNS, *data.controls) if name not in panel]:
        raise DataError(
            "The panel is not complete.", [f"column {name!r} is missing; link the tables again" for name in missing]
        )
    if panel.empty:
        raise DataError("The panel has no rows.", ["link tables that share customers and months"])
    if panel["segment"].isna().all():
        panel["segment"] = EVERYONE
    panel["segment"] = panel["segment"].astype(object)
    for name in ("outcome", "score", "score_age", "opened", "exit_month", "weight"):
        panel[name] = pd.to_numeric(panel[name]).astype(float)
    panel["voluntary"] = panel["voluntary"].astype("boolean").fillna(False).astype(bool)
    leaks, faults = _leaks(panel), _faults(panel, data)
    if leaks or faults:
        kind = LeakageError if leaks else DataError
        raise kind("The panel cannot be used by a score model.", [*leaks, *faults])
    return panel


def _leaks(panel: pd.DataFrame) -> list[str]:
    scored = panel["score"].notna()
    faults = []
    if unknown := int((scored & panel["score_age"].isna()).sum()):
        faults.append(
            f"ROX-S02: {unknown} rows have a score without its age; whether it was known in that month cannot be told"
        )
    if early := int((scored & (panel["score_age"] < 1)).sum()):
        faults.append(
            f"ROX-S01: {early} rows use a score of the same or a later month; a score may explain only what came after "
            "it, so score_age is at least 1"
        )
    answered = panel.loc[scored, ["customer", "score"]].assign(month=panel["month"] - panel["score_age"])
    if changing := int((answered.groupby(["customer", "month"])["score"].nunique() > 1).sum()):
        faults.append(
            f"ROX-S02: {changing} answers change their value in later months; carry the answer forward as it was given"
        )
    return faults


def _faults(panel: pd.DataFrame, data: Linked) -> list[str]:
    faults = []
    if not data.score or not panel["score"].notna().any():
        faults.append("no score is linked; give rox.link a score that customers answered")
    twice = int(panel.duplicated(["customer", "month"]).sum())
    if twice and not _beside_answers(data):
        faults.append(f"{twice} rows repeat a customer's month; keep one row per customer and month")
    if bad := int((~np.isfinite(panel["outcome"])).sum()):
        faults.append(
            f"{bad} outcomes are missing or infinite; a month without money is 0, a month that is unknown has no row"
        )
    if bad := int((~(panel["weight"] > 0)).sum()):
        faults.append(f"{bad} weights are missing or not positive; a weight says how many customers a row stands for")
    if bad := int(panel["segment"].isna().sum()):
        faults.append(f"{bad} rows have no segment; name one for every customer, such as 'unknown'")
    elif several := int((panel.groupby("customer")["segment"].nunique() > 1).sum()):
        faults.append(f"{several} customers change segment; a segment is the one at the start")
    return faults


def _beside_answers(data: Linked) -> bool:
    """Whether the money stands beside the answers, so that the panel has one row per answer already."""
    outcome = data.study.outcomes.get(data.outcome)
    return outcome is not None and outcome.table == "answers"


def answer_rows(data: Linked, *, age: int, controls: Sequence[str]) -> Answers:
    """Keep the rows whose score was answered ``age`` months before, so that each answer is used once.

    Where the money stands beside the answers, every row is an answer and all are kept, whatever their age.

    Args:
        data: The linked panel.
        age: Months from the answer to the outcome, at least 1.
        controls: Columns that must be known.

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
    panel = read_panel(data)
    steps: list[Step] = []
    rows = _kept(steps, panel, panel["score"].notna(), "answered", "score.step.answered")
    if not _beside_answers(data):
        rows = _kept(steps, rows, rows["score_age"] == age, "one_per_answer", "score.step.one_per_answer")
    if controls:
        rows = _kept(steps, rows, rows[list(controls)].notna().all(axis=1), "controls", "score.step.controls")
    if rows.empty:
        raise FitError(
            "No answer has money beside it.",
            [f"{step.name}: {step.rows} rows of {step.customers} customers left" for step in steps],
        )
    rows = rows.assign(answered=(rows["month"] - rows["score_age"]).astype(int)).reset_index(drop=True)
    if RESPONSE_WEIGHT in rows:
        rows["weight"] *= rows[RESPONSE_WEIGHT]
    return Answers(rows=rows, panel=panel, steps=tuple(steps), horizon=round(rows["score_age"].median()))


def _kept(steps: list[Step], rows: pd.DataFrame, keep: pd.Series, name: str, reason: str) -> pd.DataFrame:
    left = rows[keep]
    steps.append(
        Step(name=name, rows=len(left), lost=len(rows) - len(left), customers=left["customer"].nunique(), reason=reason)
    )
    return left


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
