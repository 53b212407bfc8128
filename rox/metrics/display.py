"""The one shape of every result, and what it must not show."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from rox.core.errors import DataError
from rox.metrics.source import TIMES, time_label

SHOWN_FROM = 30
"""Effective answers below which no point estimate is shown."""

NUMBERS = ("metric", "unit", "value", "se", "low", "high", "level", "n", "n_eff", "suppressed", "method")

EXTRA = ("value_first", "value_second", "se_unpaired", "n_both")
"""Further numbers of a change, hidden with it."""


def shown(
    parts: Iterable[pd.DataFrame], *, by: Sequence[str], level: float, min_cell: int, shown_from: float = 0.0
) -> pd.DataFrame:
    """Stack estimates into one tidy frame, and hide what rests on too few.

    A cell of fewer than ``min_cell`` customers is hidden whole. So that it cannot be found by subtracting the others
    from their total, the smallest of the remaining cells along the last group is hidden with it, until what is hidden
    together has ``min_cell`` customers. A cell below ``shown_from`` effective answers keeps its interval and loses its
    point and error.

    Args:
        parts: Estimates with ``metric``, ``unit``, ``value``, ``se``, ``low``, ``high``, ``n``, ``n_eff``,
            ``customers``, ``method``, the columns of ``by`` and perhaps others that tell series apart.
        by: The groups.
        level: Level of the intervals.
        min_cell: Customers a cell must have.
        shown_from: Effective answers a point must have.

    Raises:
        DataError: A group is called like a column of the result, such as ``unit``; places go by ``place``.

    Returns:
        The columns of ``by`` (times as text that sorts), those that tell series apart, then ``metric``, ``unit``,
        ``value``, ``se``, ``low``, ``high``, ``level``, ``n``, ``n_eff``, ``suppressed``, ``method``.
    """
    if taken := sorted(set(by) & {*NUMBERS, *EXTRA}):
        raise DataError(
            f"Results have a column called {', '.join(taken)} already.",
            ["group by `place` for the customers' places" if "unit" in taken else "give the column another name"],
        )
    stacked = [part.assign(order=np.arange(len(part)), part=i) for i, part in enumerate(parts)]
    frame = pd.concat(stacked, ignore_index=True).sort_values(["order", "part"], ignore_index=True)
    series = [c for c in frame.columns if c in ("score", "answer")]
    extra = [c for c in frame.columns if c in EXTRA]
    small = _small(frame, by, [*series, "metric"], min_cell)
    thin = (frame["n_eff"] < shown_from * (1 - 1e-9)) & ~small
    frame = frame.assign(level=level, suppressed=small | thin)
    frame.loc[small, ["value", "se", "low", "high", "n", "n_eff", *extra]] = np.nan
    frame.loc[small, "method"] = "suppressed"
    frame.loc[thin, ["value", "se", *(c for c in extra if c != "n_both")]] = np.nan
    if "n_both" in extra:
        frame.loc[frame["n_both"].between(0, min_cell, inclusive="neither"), "n_both"] = np.nan
    for group in set(by) & set(TIMES):
        frame[group] = [time_label(int(number), group) for number in frame[group]]
    return frame[[*by, *series, *NUMBERS, *extra]]


def _small(frame: pd.DataFrame, by: Sequence[str], series: Sequence[str], min_cell: int) -> pd.Series:
    """Mark the cells to hide whole, series by series."""
    if frame.empty:
        return pd.Series(dtype=bool)
    lines = frame.groupby([*series, *by[:-1]], dropna=False, sort=False)["customers"]
    return lines.transform(lambda customers: _hidden(customers, min_cell)).astype(bool)


def _hidden(customers: pd.Series, min_cell: int) -> pd.Series:
    hidden = customers < min_cell
    if hidden.any():
        for cell in customers[~hidden].sort_values(kind="stable").index:
            if hidden.sum() > 1 and customers[hidden].sum() >= min_cell:
                break
            hidden[cell] = True
    return hidden
