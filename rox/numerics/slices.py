"""Which slice of a table a change came from, chosen in one half of the customers and measured in the other.

A slice's own contribution is what would be gone had it moved as the rest did: S·(Δ_in − Δ_out), with S its mean share
of both periods and Δ the changes within cells. A slice that merely shared in a movement of all contributes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from rox.numerics.arrays import Bools, Floats, freeze


@dataclass(frozen=True, kw_only=True, eq=False)
class Contribution:
    """Own contributions of slices with errors by leaving out buckets. s = slices."""

    value: Floats
    """(s,)."""
    variance: Floats
    """(s,)."""
    total: float
    """The change within cells, over everything."""
    total_variance: float
    df: int

    def __post_init__(self) -> None:
        freeze(self, "value", "variance")


def own_contributions(
    weights: ArrayLike, sums: ArrayLike, slices: Sequence[Bools], *, thin: Bools, out: Bools
) -> Contribution:
    """Measure what slices did otherwise than the rest.

    Args:
        weights: (bucket, 2, cell) the earlier period first.
        sums: (bucket, 2, cell) of the outcome.
        slices: each (cell,), whether a cell belongs to it.
        thin: (cell,) cells too small for a change of their own; those of a slice, and those of its rest, are measured
            together.
        out: (cell,) cells of slices told before, which belong neither to these nor to the rest.

    Raises:
        ValueError: fewer than two buckets.
    """
    x, y = np.asarray(weights, dtype=np.float64), np.asarray(sums, dtype=np.float64)
    if len(x) < 2:
        raise ValueError(f"needs at least 2 buckets, got {len(x)}")
    left = tuple(np.concatenate([each.sum(0)[None], each.sum(0)[None] - each]) for each in (x, y))
    rows = []
    for chosen in slices:
        share, change = _within(left, chosen & ~out, thin)
        rest_share, rest = _within(left, ~chosen & ~out, thin)
        rows.append(change - np.divide(rest, rest_share, out=np.zeros_like(rest), where=rest_share > 0) * share)
    table = np.stack([*rows, _within(left, np.ones(out.size, dtype=bool), thin)[1]])
    centred = table[:, 1:] - table[:, 1:].mean(1, keepdims=True)
    variance = (len(x) - 1) / len(x) * (centred**2).sum(1)
    return Contribution(
        value=table[:-1, 0],
        variance=variance[:-1],
        total=float(table[-1, 0]),
        total_variance=float(variance[-1]),
        df=len(x) - 1,
    )


def _within(left: tuple[Floats, ...], inside: Bools, thin: Bools) -> tuple[Floats, Floats]:
    """Return the share of some cells and their contribution, for all replicates: (replicate,) each."""
    x, y = left
    cells = np.flatnonzero(inside)
    if not cells.size:
        return np.zeros(len(x)), np.zeros(len(x))
    order = np.r_[cells[~thin[cells]], cells[thin[cells]]]
    alone = int((~thin[cells]).sum())
    starts = np.arange(alone + int(alone < cells.size))
    whole = x.sum(2)
    n, s = (np.add.reduceat(each[:, :, order], starts, axis=2) for each in (x, y))
    both = (n[:, 0] > 0) & (n[:, 1] > 0)
    mean = s / np.where(n > 0, n, 1.0)
    share = (n / whole[:, :, None]).mean(1)
    return share.sum(1), np.where(both, share * (mean[:, 1] - mean[:, 0]), 0.0).sum(1)


def shrunk(value: ArrayLike, variance: ArrayLike) -> Floats:
    """Draw estimates towards zero by how little they are known: τ²/(τ² + V)·value, τ² by moments (Efron & Morris 1975).

    Example:
        >>> shrunk([3.0, -3.0], [1.0, 9.0]).round(3).tolist()
        [2.4, -0.923]
    """
    b, v = np.asarray(value, dtype=np.float64), np.asarray(variance, dtype=np.float64)
    between = max(0.0, float((b**2 - v).mean()))
    return np.asarray(b * between / np.maximum(between + v, 1e-300))
