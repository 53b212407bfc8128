"""Tell a change of who comes from a change of what happens to them: exact, with nothing left over."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from rox.numerics.arrays import Bools, Floats, Ints, complain, freeze
from rox.numerics.shapley import shapley

MOST_FACTORS = 6


@dataclass(frozen=True, kw_only=True, eq=False)
class MixRate:
    """A change of a mean, split in two; arrays (cell,)."""

    mix: Floats
    """By cell: change of its share times how far its mean is from the whole."""
    rate: Floats
    """By cell: its mean share times the change of its mean."""
    mix_variance: float
    rate_variance: float
    """Of the sums, shares taken as known; NaN where no variances were given."""

    def __post_init__(self) -> None:
        freeze(self, "mix", "rate")

    @property
    def total(self) -> float:
        """The whole change."""
        return float(self.mix.sum() + self.rate.sum())


def kitagawa(
    shares: ArrayLike,
    means: ArrayLike,
    base_shares: ArrayLike,
    base_means: ArrayLike,
    *,
    variances: ArrayLike | None = None,
    base_variances: ArrayLike | None = None,
) -> MixRate:
    """Split the change of a mean into mix and rate, symmetrically, cell by cell (Kitagawa 1955, JASA 50).

    Cells are centred at the mean of both periods' totals, which changes no sum and makes single cells comparable. A
    cell that one period has not has no change of rate: what it brings is all mix.

    Args:
        shares: (cell,) later, adding up to 1.
        means: (cell,) later; anything where the share is 0.
        base_shares: (cell,) earlier.
        base_means: (cell,) earlier.
        variances: (cell,) of the later means.
        base_variances: (cell,) of the earlier ones.

    Raises:
        ValueError: arrays that do not fit together, shares that are no mix, or a mean that is missing.

    Example:
        >>> found = kitagawa([0.5, 0.5], [0.2, 0.6], [0.8, 0.2], [0.2, 0.6])
        >>> round(float(found.mix.sum()), 12), round(float(found.rate.sum()), 12)
        (0.12, 0.0)
    """
    s1, m1, s0, m0 = (np.asarray(each, dtype=np.float64) for each in (shares, means, base_shares, base_means))
    faults = []
    if len({each.shape for each in (s1, m1, s0, m0)}) > 1 or s1.ndim != 1 or not s1.size:
        faults.append(f"needs four arrays of one length, got {s1.shape}, {m1.shape}, {s0.shape}, {m0.shape}")
    else:
        faults += [
            f"{name} must not be negative and add up to 1, got {s.tolist()}"
            for name, s in (("shares", s1), ("base_shares", s0))
            if (s < 0).any() or abs(s.sum() - 1) > 1e-9
        ]
        if not (np.isfinite(m1[s1 > 0]).all() and np.isfinite(m0[s0 > 0]).all()):
            faults.append("a cell with a share has no mean")
    complain(faults)
    later, earlier = np.where(s1 > 0, m1, m0), np.where(s0 > 0, m0, m1)
    here = (s1 > 0) | (s0 > 0)
    later, earlier = np.where(here, later, 0.0), np.where(here, earlier, 0.0)
    middle = (s1 @ later + s0 @ earlier) / 2
    v1, v0 = (_variances(each, s1.size) for each in (variances, base_variances))
    v1, v0 = np.where(s1 > 0, v1, 0.0), np.where(s0 > 0, v0, 0.0)
    both = (s1 > 0) & (s0 > 0)
    entering = (s1 - s0) ** 2 * np.where(both, (v1 + v0) / 4, v1 + v0)
    return MixRate(
        mix=(s1 - s0) * ((later + earlier) / 2 - middle),
        rate=(s1 + s0) / 2 * (later - earlier),
        mix_variance=float(entering.sum()),
        rate_variance=float((((s1 + s0) / 2) ** 2 * np.where(both, v1 + v0, 0.0)).sum()),
    )


def _variances(values: ArrayLike | None, size: int) -> Floats:
    return np.full(size, np.nan) if values is None else np.asarray(values, dtype=np.float64)


@dataclass(frozen=True, kw_only=True, eq=False)
class FactorMix:
    """A change of a mean, split over several factors of the mix and the rate; they add up to the change."""

    mix: Floats
    """(factor,)."""
    rate: float
    borrowed: Bools
    """Joint cells that one period has not; they have the other's mean in it, so that what they bring is all mix."""

    def __post_init__(self) -> None:
        freeze(self, "mix", "borrowed")

    @property
    def total(self) -> float:
        """The whole change."""
        return float(self.mix.sum() + self.rate)


def shapley_mix(
    counts: ArrayLike,
    sums: ArrayLike,
    base_counts: ArrayLike,
    base_sums: ArrayLike,
    *,
    pool: ArrayLike | None = None,
) -> FactorMix:
    """Split the change of a mean over the factors of a joint table and the rate, whatever the order.

    Factor j in period 1 means its distribution given the factors before it is that of period 1. A factor's part is its
    mean marginal change over all orders of putting factors and rate into period 1 (Shorrocks 2013, Journal of Economic
    Inequality 11). A joint cell, or pool, that one period has not has no change of rate: it takes the other period's
    mean there. So one factor gives the split of :func:`kitagawa`, and a factor of one level changes nothing.

    Args:
        counts: later people by joint cell, one axis per factor, at most six.
        sums: later sums of the outcome.
        base_counts: earlier people.
        base_sums: earlier sums.
        pool: by joint cell, a number; cells of one number have one mean, that of all of them.

    Raises:
        ValueError: tables of different shapes, with negative numbers, or without anybody in a period.

    Example:
        >>> found = shapley_mix([50, 50], [10, 30], [80, 20], [16, 12])
        >>> round(float(found.mix[0]), 12), round(found.rate, 12)
        (0.12, 0.0)
    """
    n1, y1, n0, y0 = (np.asarray(each, dtype=np.float64) for each in (counts, sums, base_counts, base_sums))
    faults = []
    if len({each.shape for each in (n1, y1, n0, y0)}) > 1 or not 1 <= n1.ndim <= MOST_FACTORS:
        faults.append(f"needs four tables of one shape with one to six axes, got {n1.shape}, {y1.shape}, {n0.shape}")
    elif (n1 < 0).any() or (n0 < 0).any() or not min(n1.sum(), n0.sum()) > 0:
        faults.append("counts must not be negative, and each period needs somebody")
    complain(faults)
    factors, rate = n1.ndim, n1.ndim
    given = [[_given(n, other, axis) for axis in range(factors)] for n, other in ((n0, n1), (n1, n0))]
    one = np.arange(n1.size) if pool is None else np.unique(np.asarray(pool), return_inverse=True)[1]
    if one.size != n1.size:
        raise ValueError(f"pool must number {n1.size} cells, got {one.size}")
    own = [_own_means(n, y, one) for n, y in ((n0, y0), (n1, y1))]
    means = [np.nan_to_num(np.where(np.isnan(mine), theirs, mine)) for mine, theirs in (own, own[::-1])]
    worth = np.empty(2 ** (factors + 1))
    for chosen in range(2**factors):
        product = np.ones(n1.shape)
        for axis in range(factors):
            product = product * given[chosen >> axis & 1][axis]
        for later in (0, 1):
            worth[chosen | later << rate] = (product * means[later]).sum()
    parts = shapley(worth)
    return FactorMix(mix=parts[:factors], rate=float(parts[rate]), borrowed=(n1 > 0) != (n0 > 0))


def _given(counts: Floats, other: Floats, axis: int) -> Floats:
    """Return the distribution along an axis given the axes before it; the other period's where nobody is."""

    def conditional(n: Floats) -> Floats:
        margin = n.sum(axis=tuple(range(axis + 1, n.ndim)), keepdims=True)
        whole = margin.sum(axis=axis, keepdims=True)
        with np.errstate(invalid="ignore"):
            return np.asarray(np.where(whole > 0, margin / np.where(whole > 0, whole, 1.0), np.nan))

    mine, theirs = conditional(counts), conditional(other)
    return np.nan_to_num(np.where(np.isnan(mine), theirs, mine))


def cell_means(counts: Floats, sums: Floats, pool: Ints) -> Floats:
    """Return the mean of every cell with those pooled with it, of the nearest wider cell where nobody is.

    Args:
        counts: people by joint cell, one axis per factor, the widest first.
        sums: of the outcome.
        pool: by joint cell, a number; cells of one number have one mean.
    """
    out = _own_means(counts, sums, pool)
    for kept in range(counts.ndim, -1, -1):
        rest = tuple(range(kept, counts.ndim))
        n, y = counts.sum(axis=rest, keepdims=True), sums.sum(axis=rest, keepdims=True)
        wider = np.broadcast_to(np.where(n > 0, y / np.where(n > 0, n, 1.0), np.nan), counts.shape)
        out = np.where(np.isnan(out), wider, out)
    return out


def _own_means(counts: Floats, sums: Floats, pool: Ints) -> Floats:
    """Return the mean of every cell with those pooled with it; missing where nobody is."""
    pool = pool.ravel()
    n, y = (np.bincount(pool, weights=each.ravel())[pool].reshape(counts.shape) for each in (counts, sums))
    return np.where(n > 0, y / np.where(n > 0, n, 1.0), np.nan)
