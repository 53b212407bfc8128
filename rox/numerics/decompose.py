"""Split a difference of two means: over what the groups have and what it is worth, and over places and lines.

The split of a change into who comes and what happens to them stands in :mod:`rox.numerics.funnel_mix`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from rox.numerics.arrays import Bools, Floats, Ints, complain, freeze


def pool_thin(later: ArrayLike, earlier: ArrayLike, least: float) -> Ints:
    """Put cells that rest on too few with their neighbours, going upward only as far as needed.

    A cell is thin if a period has some of it but fewer than ``least``, or if neither has that many. What a period does
    not have at all while the other has enough has entered or left, and stays by itself. The thin cells under one
    parent, the cell of all axes but the last, become one; if that is still thin, it joins its like one axis higher, and
    at the top the smallest of the others.

    Args:
        later: effective people by joint cell, one axis per factor, the widest first.
        earlier: the same before.
        least: people a cell must have.

    Returns:
        Of the shape of the table: cells of one number belong together.

    Raises:
        ValueError: tables of different shapes, or negative numbers.

    Example:
        >>> pool_thin([100, 10, 20, 0], [90, 40, 0, 50], 30).tolist()
        [0, 1, 1, 3]
    """
    n1, n0 = np.asarray(later, dtype=np.float64), np.asarray(earlier, dtype=np.float64)
    faults = [] if n1.shape == n0.shape and n1.ndim else [f"needs two tables of one shape, got {n1.shape}, {n0.shape}"]
    if not faults and ((n1 < 0).any() or (n0 < 0).any()):
        faults.append("people cannot be fewer than none")
    complain(faults)
    labels = np.arange(n1.size)
    for kept in range(n1.ndim - 1, -1, -1):
        sums = [np.bincount(labels, weights=n.ravel(), minlength=n1.size).astype(np.float64) for n in (n1, n0)]
        thin = _is_thin(sums[0], sums[1], least)[labels]
        parent = np.arange(n1.size) // int(np.prod(n1.shape[kept:], dtype=np.int64))
        for each in np.unique(parent[thin]):
            members = np.flatnonzero(thin & (parent == each))
            labels[members] = labels[members].min()
    return _without_a_thin_rest(labels, n1.ravel(), n0.ravel(), least).reshape(n1.shape)


def _without_a_thin_rest(labels: Ints, later: Floats, earlier: Floats, least: float) -> Ints:
    """Join what is thin even at the top with the smallest of the others."""
    sums = [np.bincount(labels, weights=n, minlength=n.size).astype(np.float64) for n in (later, earlier)]
    there = (sums[0] > 0) | (sums[1] > 0)
    thin = _is_thin(sums[0], sums[1], least) & there
    others = np.flatnonzero(there & ~thin)
    if thin.any() and others.size:
        nearest = others[np.argmin(np.minimum(sums[0], sums[1])[others])]
        labels = np.where(thin[labels], nearest, labels)
    return np.asarray(labels, dtype=np.int64)


def _is_thin(later: Floats, earlier: Floats, least: float) -> Bools:
    some = ((later > 0) & (later < least)) | ((earlier > 0) & (earlier < least))
    return np.asarray(some | (np.maximum(later, earlier) < least))


@dataclass(frozen=True, kw_only=True, eq=False)
class Oaxaca:
    """A gap between the means of two groups, in three parts by column of what explains it. k = columns."""

    gap: float
    """Mean of the first group less mean of the second."""
    endowments: Floats
    """(k,) difference of what they have, at the second group's coefficients."""
    coefficients: Floats
    """(k,) difference of what it is worth, at what the second group has."""
    interaction: Floats
    """(k,) both differences at once."""
    first: Floats
    """(k,) coefficients of the first group."""
    second: Floats
    """(k,) of the second."""
    means: Floats
    """(2, k) mean columns of the first and of the second group."""

    def __post_init__(self) -> None:
        freeze(self, "endowments", "coefficients", "interaction", "first", "second", "means")

    def twofold(self, reference: ArrayLike) -> tuple[float, float]:
        """Return the explained and the unexplained part at reference coefficients (k,)."""
        at = np.asarray(reference, dtype=np.float64)
        explained = float((self.means[0] - self.means[1]) @ at)
        return explained, self.gap - explained


def oaxaca(y: ArrayLike, x: ArrayLike, first: ArrayLike) -> Oaxaca:
    """Split the gap of two groups' means by least squares in each (Oaxaca 1973; Blinder 1973; Jann 2008, eq. 4).

    Args:
        y: (n,) outcome.
        x: (n, k) columns; a constant is put before them.
        first: (n,) true for the first group.

    Returns:
        With k + 1 columns, the constant first.

    Raises:
        ValueError: arrays that do not fit together, or a group whose columns are not independent.
    """
    outcome, columns, is_first = (
        np.asarray(y, dtype=float),
        np.asarray(x, dtype=float),
        np.asarray(first, dtype=bool),
    )
    if columns.ndim != 2 or outcome.shape != (len(columns),) or is_first.shape != outcome.shape:
        raise ValueError(f"arrays do not fit together: {outcome.shape}, {columns.shape}, {is_first.shape}")
    design = np.column_stack([np.ones(len(columns)), columns])
    fits = []
    for name, rows in (("first", is_first), ("second", ~is_first)):
        if np.linalg.matrix_rank(design[rows]) < design.shape[1]:
            raise ValueError(f"the columns are not independent in the {name} group")
        fits.append(np.linalg.lstsq(design[rows], outcome[rows], rcond=None)[0])
    means = np.stack([design[is_first].mean(0), design[~is_first].mean(0)])
    gap, step = means[0] - means[1], fits[0] - fits[1]
    return Oaxaca(
        gap=float(outcome[is_first].mean() - outcome[~is_first].mean()),
        endowments=gap * fits[1],
        coefficients=means[1] * step,
        interaction=gap * step,
        first=fits[0],
        second=fits[1],
        means=means,
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class ShiftShare:
    """A place's growth by line of business; arrays (line,)."""

    whole: Floats
    """What the growth of the whole would have brought."""
    mix: Floats
    """What the place's lines brought by growing otherwise than the whole everywhere."""
    own: Floats
    """What the place's lines did otherwise than the same lines everywhere."""

    def __post_init__(self) -> None:
        freeze(self, "whole", "mix", "own")

    @property
    def growth(self) -> float:
        """The whole change of the place."""
        return float(self.whole.sum() + self.mix.sum() + self.own.sum())


def shift_share(before: ArrayLike, after: ArrayLike, whole_before: ArrayLike, whole_after: ArrayLike) -> ShiftShare:
    """Split a place's growth into that of the whole, of its lines, and its own (Dunn 1960).

    Args:
        before: (line,) of the place.
        after: (line,) of the place.
        whole_before: (line,) of the whole, which holds the place.
        whole_after: (line,) of the whole.

    Raises:
        ValueError: arrays of different lengths, or a line the whole did not have before.

    Example:
        >>> found = shift_share([90, 20], [100, 40], [400, 150], [440, 210])
        >>> round(found.growth, 9)
        30.0
    """
    x0, x1, n0, n1 = (np.asarray(each, dtype=np.float64) for each in (before, after, whole_before, whole_after))
    faults = []
    if len({each.shape for each in (x0, x1, n0, n1)}) > 1 or x0.ndim != 1:
        faults.append(f"needs four arrays of one length, got {x0.shape}, {x1.shape}, {n0.shape}, {n1.shape}")
    elif not (n0 > 0).all():
        faults.append("each line needs something before in the whole")
    complain(faults)
    overall, line = n1.sum() / n0.sum() - 1, n1 / n0 - 1
    return ShiftShare(whole=x0 * overall, mix=x0 * (line - overall), own=x1 - x0 - x0 * line)
