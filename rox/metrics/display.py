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

ALL = "all"
"""Stands for every group of a level, where several levels stand in one frame."""

EXTRA = ("value_first", "value_second", "se_unpaired", "n_both")
"""Further numbers of a change, hidden with it."""


def shown(
    parts: Iterable[pd.DataFrame],
    *,
    by: Sequence[str],
    level: float,
    min_cell: int,
    shown_from: float = 0.0,
    tree: Sequence[str] = (),
) -> pd.DataFrame:
    """Stack estimates into one tidy frame, and hide what rests on too few.

    A cell of fewer than ``min_cell`` customers is hidden whole. So that it cannot be found by subtracting the others
    from their total, the smallest of the remaining cells along the last group is hidden with it, until what is hidden
    together has ``min_cell`` customers. In a tree that is done among the parts of each group, and what is hidden is
    hidden with everything under it, from which it could be added up. A cell below ``shown_from`` effective answers
    keeps its interval and loses its point and error.

    Args:
        parts: Estimates with ``metric``, ``unit``, ``value``, ``se``, ``low``, ``high``, ``n``, ``n_eff``,
            ``customers``, ``method``, the columns of ``by`` and perhaps others that tell series apart.
        by: The groups.
        level: Level of the intervals.
        min_cell: Customers a cell must have.
        shown_from: Effective answers a point must have.
        tree: The last of the groups, the widest first, if the totals of each of them are shown too: as rows with
            ``all`` in the groups below their own level, or in another frame.

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
    small = _small(frame, by, [*series, "metric"], min_cell, tree)
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


def small_cells(frame: pd.DataFrame, by: Sequence[str], min_cell: int) -> pd.Series:
    """Mark the cells that :func:`shown` hides whole, of one series with ``customers`` and the columns of ``by``."""
    return _small(frame, by, [], min_cell, ())


def _small(
    frame: pd.DataFrame, by: Sequence[str], series: Sequence[str], min_cell: int, tree: Sequence[str]
) -> pd.Series:
    """Mark the cells to hide whole, series by series."""
    if frame.empty:
        return pd.Series(dtype=bool)
    fixed = [*series, *(group for group in by if group not in tree)]
    if tree:
        return _small_or_under(frame, fixed, list(tree), min_cell)
    return _along_lines(frame, fixed[:-1] if by else fixed, min_cell)


def _along_lines(frame: pd.DataFrame, lines: Sequence[str], min_cell: int) -> pd.Series:
    customers = frame["customers"]
    if not lines:
        return _hidden(customers, min_cell)
    grouped = frame.groupby(list(lines), dropna=False, sort=False)["customers"]
    return grouped.transform(lambda cells: _hidden(cells, min_cell)).astype(bool)


def _small_or_under(frame: pd.DataFrame, fixed: list[str], tree: list[str], min_cell: int) -> pd.Series:
    """Go down a tree: hide among the parts of every group, and what is under the hidden."""
    names = frame[[*fixed, *tree]].astype(str).assign(customers=frame["customers"])
    depth = ((names[tree] != ALL) * np.arange(1, len(tree) + 1)).max(axis=1)
    hidden, above = pd.Series(False, index=frame.index), pd.Index([])
    for size in range(len(tree) + 1):
        keys = [*fixed, *tree[:size]]
        own = names[depth == size]
        if own.empty and size:
            own = names[depth > size].groupby(keys, sort=False)["customers"].sum().reset_index()
        if own.empty:
            continue
        small = _along_lines(own, keys[:-1], min_cell)
        if size:
            small |= _keys(own, keys[:-1]).isin(above)
        if (depth == size).any():
            hidden[own.index] = small
        above = _keys(own, keys)[small.to_numpy()]
    return hidden


def _keys(frame: pd.DataFrame, columns: list[str]) -> pd.Index:
    return pd.Index(list(frame[columns].itertuples(index=False, name=None)), tupleize_cols=False)


def _hidden(customers: pd.Series, min_cell: int) -> pd.Series:
    hidden = customers < min_cell
    if hidden.any():
        for cell in customers[~hidden].sort_values(kind="stable").index:
            if hidden.sum() > 1 and customers[hidden].sum() >= min_cell:
                break
            hidden[cell] = True
    return hidden
