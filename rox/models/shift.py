"""Score points beside NPS points: the category shift of the answers, and both readings of an effect."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from rox.core.case import EVERYONE
from rox.core.check import Check, Verdict
from rox.core.linked import Linked, month_label
from rox.models.answer_table import AnswerTable
from rox.models.phrases import amount
from rox.numerics.category_shift import CategoryShift, category_shift

FEWEST_ANSWERS = 200
"""Answers of a month before its own rate is shown."""
BUCKETS = 64
"""Groups of customers for the jackknife."""


def category_shifts(data: Linked, answers: AnswerTable, groups: Sequence[str]) -> dict[str, CategoryShift]:
    """Measure NPS points per mean score point by segment and over all, with a jackknife over buckets of customers.

    Groups whose answers fall in one category have none; a score that is not an NPS question has none at all.
    """
    counted = _counted(data, answers)
    return {} if counted is None else shifts_of(counted, groups)


def shifts_of(counted: pd.DataFrame, groups: Sequence[str]) -> dict[str, CategoryShift]:
    """Measure the same from counts: ``segment``, ``bucket`` of customers, ``said`` (0 to 10) and their ``weight``."""
    found: dict[str, CategoryShift] = {}
    for name in (*groups, EVERYONE):
        part = counted[counted["segment"].isin(groups) if name == EVERYONE else counted["segment"] == name]
        histogram = _histogram(part)
        if _spans_every_border(histogram):
            found[name] = category_shift(histogram)
    return found


def shift_by_month(data: Linked, answers: AnswerTable) -> pd.DataFrame:
    """Measure NPS points per mean score point in every month with enough answers: the rate is not a constant.

    Args:
        data: For the kind of the score.
        answers: Answers.

    Returns:
        By month, such as ``2025-03``: ``shift`` with ``shift_low`` and ``shift_high`` (90%), ``nps``, ``mean`` (score)
        and ``answers``.
    """
    found = {}
    counted = _counted(data, answers)
    if counted is not None:
        for month, part in counted.groupby("answered"):
            histogram, rows = _histogram(part), int(part["n"].sum())
            if rows < FEWEST_ANSWERS or not _spans_every_border(histogram):
                continue
            each = category_shift(histogram)
            reach = stats.t.ppf(0.95, each.df) * each.se / each.value
            found[month_label(int(str(month)))] = {
                "shift": each.value,
                "shift_low": each.value * np.exp(-reach),
                "shift_high": each.value * np.exp(reach),
                "nps": each.nps,
                "mean": each.mean,
                "answers": rows,
            }
    columns = ["shift", "shift_low", "shift_high", "nps", "mean", "answers"]
    return pd.DataFrame.from_dict(found, orient="index").reindex(columns=columns).rename_axis("month")


def _counted(data: Linked, answers: AnswerTable) -> pd.DataFrame | None:
    """Weigh the answers by segment, month, score and bucket; nothing unless they are whole answers of 0 to 10."""
    scale = data.study.scores.get(data.score)
    if scale is None or scale.kind != "nps":
        return None
    return answers.given


def counted_rows(data: Linked, rows: pd.DataFrame) -> pd.DataFrame | None:
    """Weigh answers in a frame by segment, score and bucket; nothing unless they are whole answers of 0 to 10."""
    scale = data.study.scores.get(data.score)
    if scale is None or scale.kind != "nps" or not np.isclose(rows["score"], rows["score"].round()).all():
        return None
    return pd.DataFrame(
        {
            "segment": rows["segment"],
            "bucket": rows["customer"] % BUCKETS,
            "said": rows["score"].round().astype(int),
            "weight": rows["weight"],
        }
    )


def _histogram(counted: pd.DataFrame) -> NDArray[np.float64]:
    """Return weighted counts, shape (bucket, 11), of the buckets that hold answers."""
    bucket, present = pd.factorize(counted["bucket"], sort=True)
    table = np.zeros((len(present), 11))
    np.add.at(table, (bucket, counted["said"].to_numpy(dtype=int).clip(0, 10)), counted["weight"].to_numpy(dtype=float))
    return table


def _spans_every_border(histogram: NDArray[np.float64]) -> bool:
    """Whether, without any one bucket, no NPS category holds all answers."""
    if len(histogram) < 2:
        return False
    left = histogram.sum(0) - histogram
    categories = np.column_stack([left[:, :7].sum(1), left[:, 7:9].sum(1), left[:, 9:].sum(1)])
    return bool(((categories > 1e-9 * histogram.sum()).sum(1) >= 2).all())


def unit_table(draws: Mapping[str, NDArray[np.float64]], shifts: Mapping[str, NDArray[np.float64]]) -> pd.DataFrame:
    """Put each group's effect per score point beside the same effect per NPS point; intervals hold 90%.

    Args:
        draws: Effect per score point, shape (draw,), by group.
        shifts: Draws of the category shift, shape (draw,), of the groups where it was measured.
    """
    table = {}
    for group, per_score in draws.items():
        row = _three("per_score", per_score)
        if group in shifts:
            row |= _three("shift", shifts[group]) | _three("per_nps", per_score / shifts[group])
        table[group] = row
    names = [f"{part}{end}" for part in ("per_score", "per_nps", "shift") for end in ("", "_low", "_high")]
    return pd.DataFrame.from_dict(table, orient="index").reindex(columns=names).rename_axis("group")


def _three(name: str, draws: NDArray[np.float64]) -> dict[str, float]:
    low, high = np.quantile(draws, [0.05, 0.95])
    return {name: float(draws.mean()), f"{name}_low": float(low), f"{name}_high": float(high)}


def units_check(table: pd.DataFrame, currency: str) -> tuple[Check, ...]:
    """Print both units side by side whenever the shift was measured (ROX-U03)."""
    row = {name: float(table[name].to_dict()[EVERYONE]) for name in table}
    if not np.isfinite(row["shift"]):
        return ()
    values: dict[str, str | int | float] = {
        "per_score": amount(row["per_score"], currency),
        "per_nps": amount(row["per_nps"], currency),
        "shift": row["shift"],
        "low": row["shift_low"],
        "high": row["shift_high"],
    }
    return (Check(code="ROX-U03", verdict=Verdict.NOTE, values=values),)
