"""How many customers a slice has: those who stand in several of its cells count once."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from rox.core.buckets import bucket_of
from rox.metrics.cells import Part, split_moments
from rox.metrics.source import Tables
from rox.metrics.tallies import BUCKETS, UNKNOWN, Asked, Floats, Table, number_of


@dataclass(frozen=True, kw_only=True, eq=False)
class People:
    """Customers by bucket and period (bucket, 2, level, …), with one level in dimensions that are not told apart.

    A customer has one level of a dimension of the customers, but may have several of one of the rows, such as the
    channel of an answer. So there is an array for each set of those, by the places of their axes.
    """

    by_rows: frozenset[int]
    counted: dict[frozenset[int], Floats]

    def whole(self, half: NDArray[np.bool_]) -> Floats:
        """Return the customers of a half by period, (2,)."""
        held = self.counted[frozenset()][half]
        return np.asarray(held.sum((0, *range(2, held.ndim))))

    def of(self, half: NDArray[np.bool_], axes: tuple[int, ...], labels: NDArray[np.int64]) -> Floats:
        """Return the customers of a half at some levels (slice, axis) of some dimensions, by period: (slice, 2)."""
        held = self.counted[self.by_rows & frozenset(axes)][half].sum(0)
        rest = tuple(1 + axis for axis in range(held.ndim - 1) if axis not in axes)
        return np.asarray(held.sum(rest)[:, *labels.T].T)


def people_of(tables: Tables, what: Asked, by: tuple[str, ...], time: str, earlier: int, table: Table) -> People:
    """Count customers by every set of the dimensions of which they may have several levels.

    Args:
        tables: For fetching.
        what: The measure, its rows those of the two periods.
        by: The dimensions, in the order of the table's axes.
        time: The group that holds the period.
        earlier: Its first value.
        table: The sums by all dimensions.
    """
    several = [axis for axis, group in enumerate(by) if group in what.rows.table.columns]
    sets = [frozenset(chosen) for size in range(len(several)) for chosen in combinations(several, size)]
    counted = {frozenset(several): table.m}
    if sets:
        rows = what.rows
        bucket = bucket_of(number_of(rows.table.customer), BUCKETS)
        rows = replace(rows, table=rows.table.mutate(stratum=bucket), stratum=None)
        splits = [
            [*(group for axis, group in enumerate(by) if axis not in several or axis in kept), time] for kept in sets
        ]
        part = Part(values={}, weight=rows.table.weight)
        for kept, split, found in zip(sets, splits, split_moments(tables, rows, {"": part}, splits), strict=True):
            frame = found[""]
            places = []
            for axis, group in enumerate(by):
                if group in split:
                    labels = frame[group].astype(object).where(frame[group].notna(), UNKNOWN).astype(str)
                    places.append(np.searchsorted(np.array(table.levels[axis]), labels.to_numpy(dtype=str)))
                else:
                    places.append(np.zeros(len(frame), dtype=np.int64))
            shape = [len(each) if group in split else 1 for each, group in zip(table.levels, by, strict=True)]
            held = np.zeros((table.buckets.size, 2, *shape))
            bucket = np.searchsorted(table.buckets, frame["stratum"].to_numpy(dtype=np.int64))
            late = (frame[time] != earlier).to_numpy().astype(int)
            np.add.at(held, (bucket, late, *places), frame["m"].to_numpy(dtype=float))
            counted[kept] = held
    return People(by_rows=frozenset(several), counted=counted)
