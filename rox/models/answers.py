"""What every score model relies on of a linked panel, and how its columns are read."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from rox.core.case import EVERYONE
from rox.core.census import Census
from rox.core.errors import DataError, LeakageError
from rox.core.linked import Linked
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
PAST = (12, 9, 6, 3)
"""Months before the answer at which earlier money is read: the longest that half of the answers have."""
USUAL = (*(-months for months in PAST), -1, 0)
"""Months from the answer whose money is looked up unless others are asked for."""
KNOWN_ENOUGH = 0.95
"""Share of rows whose opening month must be known before tenure is adjusted for."""


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
    if (twice := defects["twice"]) and not stands_beside_answers(data):
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


def stands_beside_answers(data: Linked) -> bool:
    """Say whether the money stands beside the answers, so that the panel has one row per answer already."""
    outcome = data.study.outcomes.get(data.outcome)
    return outcome is not None and outcome.table == "answers"


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


def outcome_unit(data: Linked) -> tuple[Unit, str]:
    """Return the unit of the linked outcome and its currency: money per customer, or a count without one."""
    outcome = data.study.outcomes.get(data.outcome)
    if outcome is not None and outcome.kind == "count":
        return Unit.COUNT, ""
    return Unit.MONEY_PER_CUSTOMER, data.study.currency
