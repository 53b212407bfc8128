"""Sums for many metrics of one table in one scan, in the shape that the estimates of this room take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import ibis
import pandas as pd

from rox.core.errors import DataError
from rox.core.metric_kinds import Window
from rox.core.metric_tree import Metric
from rox.metrics.source import Rows, Tables, count_true

MONTHS_IN: Mapping[str, int] = {"month": 1, "quarter": 3, "year": 12}
DAYS_IN: Mapping[str, int] = {"day": 1, "week": 7}
MONDAY = (1970, 1, 5)
"""Weeks are numbered from this Monday, days from this day."""


@dataclass(frozen=True, kw_only=True)
class Trial:
    """What one row adds to a metric R = Σ w·hits / Σ w·trials.

    Attributes:
        trials: Whole-number engine expression, 0 where the row does not count.
        hits: Whole-number engine expression, 0 where the row does not count.
        binary: Whether a trial either hits or does not.
    """

    trials: Any
    hits: Any
    binary: bool


def matches(table: Any, wanted: Mapping[str, Any]) -> Any:
    """Return whether a row has the values a metric asks for."""
    found = ibis.literal(True)
    for name, value in wanted.items():
        column = table[name]
        if isinstance(value, bool):
            found = found & (column.notnull() if value else column.isnull())
        else:
            values = list(value) if isinstance(value, tuple) else [value]
            number = all(isinstance(each, int) for each in values)
            read = column.cast("int64") if number and not column.type().is_string() else column.cast("string")
            asked = values if number and not column.type().is_string() else [str(each) for each in values]
            found = found & read.isin(asked).fill_null(False)
    return found


def amount(table: Any, metric: Metric) -> Any:
    """Return what a row counts for: its column, else its count, else one; nothing where the column is empty."""
    if metric.column is not None:
        return table[metric.column].cast("int64")
    return table["count"].cast("int64") if "count" in table.columns else ibis.literal(1, "int64")


def windowed(table: Any, window: Window) -> Any:
    """Add ``window``, the number of the window of a row, and ``month``, that in which the window begins."""
    if window in MONTHS_IN:
        size = MONTHS_IN[window]
        number = table.month.cast("int64") // size
        return table.mutate(window=number.cast("int64"), month=(number * size).cast("int64"))
    date = table.date.cast("date")
    days = date.delta(ibis.date(*MONDAY), unit="day").cast("int64")
    number = (days // DAYS_IN[window]).cast("int64")
    since = days - number * DAYS_IN[window]
    month = date.year().cast("int64") * 12 + date.month().cast("int64") - 1
    before = (date.day().cast("int64") <= since).ifelse(1, 0)
    return table.mutate(window=number, month=(month - before).cast("int64"))


def summed(tables: Tables, rows: Rows, trials: Mapping[str, Trial], counted: Mapping[str, Any]) -> pd.DataFrame:
    """Fetch the sums of many metrics over the same rows.

    Args:
        tables: For fetching.
        rows: The rows; ``weight`` is w.
        trials: What a row adds, by metric.
        counted: Whole-number engine expressions that are added up without weights, by metric.

    Returns:
        One row per cell and stratum: the groups under their own names, ``stratum``; for each of ``trials`` ``m_``,
        ``n_``, ``x_``, ``ww_``, ``xx_``, ``y_``, ``s_``, ``yy_``, ``xy_`` with its name, as in ``cells.moments``; for
        each of ``counted`` ``c_`` and the customers behind it ``k_``.

    Raises:
        DataError: Any row is at fault.
    """
    parts: dict[str, Any] = {}
    for name, each in trials.items():
        parts |= {f"b_{name}": each.trials.cast("int64"), f"h_{name}": each.hits.cast("int64")}
    parts |= {f"c_{name}": value.cast("int64") for name, value in counted.items()}
    table = rows.table.mutate(**parts)
    sums: dict[str, Any] = {column: count_true(table[column]) for column in rows.faults}
    for name, each in trials.items():
        w, b, h = table.weight, table[f"b_{name}"], table[f"h_{name}"]
        sums |= {
            f"n_{name}": (b > 0).ifelse(1, 0).sum(),
            f"x_{name}": (w * b).sum(),
            f"y_{name}": (w * h).sum(),
            f"ww_{name}": _times(w, w * b).sum(),
            f"s_{name}": (w * h).sum().cast("decimal(38,0)") if each.binary else _times(w * h, h).sum(),
        }
    sums |= {f"c_{name}": table[f"c_{name}"].sum() for name in counted}
    persons = table.group_by([*rows.keys, "stratum", "customer"]).aggregate(**sums)
    totals: dict[str, Any] = {column: persons[column].sum() for column in sums}
    for name in trials:
        x, y = persons[f"x_{name}"], persons[f"y_{name}"]
        totals |= {f"m_{name}": (x > 0).ifelse(1, 0).sum()}
        totals |= {f"xx_{name}": _times(x, x).sum(), f"yy_{name}": _times(y, y).sum()}
        totals |= {f"xy_{name}": _times(x, y).sum()}
    totals |= {f"k_{name}": (persons[f"c_{name}"] > 0).ifelse(1, 0).sum() for name in counted}
    frame = tables.fetch(persons.group_by([*rows.keys, "stratum"]).aggregate(**totals))
    frame = frame.astype(dict.fromkeys(totals, "float64"))
    require_sound(frame, rows)
    frame = frame.sort_values([*rows.keys, "stratum"], ignore_index=True)
    return frame.rename(columns=dict(zip(rows.keys, rows.by, strict=True)))


def moments_of(frame: pd.DataFrame, by: Sequence[str], name: str) -> pd.DataFrame:
    """Pick the moments of one metric, called ``value``, out of what :func:`summed` gave."""
    own = frame[frame[f"m_{name}"] > 0]
    columns = {f"{letter}_{name}": letter for letter in ("m", "n", "x", "ww", "xx")}
    columns |= {f"{letter}_{name}": f"{letter}_value" for letter in ("y", "s", "yy", "xy")}
    return own[[*by, "stratum", *columns]].rename(columns=columns).reset_index(drop=True)


def require_sound(frame: pd.DataFrame, rows: Rows) -> None:
    """Refuse sums over rows at fault.

    Raises:
        DataError: Any row is at fault.
    """
    found = {sentence: int(frame[column].sum()) for column, sentence in rows.faults.items()}
    if any(found.values()):
        raise DataError(
            "These tables cannot be measured as they are.",
            [f"{sentence}: {count}" for sentence, count in found.items() if count],
        )


def _times(left: Any, right: Any) -> Any:
    """Multiply whole numbers without overflow."""
    return left.cast("decimal(19,0)") * right.cast("decimal(19,0)")
