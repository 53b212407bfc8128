"""Tell how far units chosen for a low value rise by themselves when they are measured again.

A unit chosen because its value was low is partly a unit that had bad luck on that day. Without any action its next
value lies nearer to the mean: E[second − first] = (1 − r)(mean − first), with r the autocorrelation at their distance
in time (Galton 1886; Davis 1976, American Journal of Epidemiology 104). What rose beyond that is open to explanation.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rox.numerics.arrays import Floats, Ints, codes, complain, freeze, group_sums, vector
from rox.numerics.jackknife import bucket_jackknife

FEWEST_PAIRS = 30
"""Pairs of values at a lag below which the autocorrelation of the nearest better known lag is used."""


@dataclass(frozen=True, kw_only=True)
class Rebound:
    """Rises of chosen units, seen and expected. g = groups of them, l = lags."""

    groups: NDArray[np.generic]
    """(g,) labels, sorted."""
    cases: Floats
    """(g,) units chosen and measured again."""
    first: Floats
    """(g,) mean value at which they were chosen."""
    observed: Floats
    """(g,) mean of second less first."""
    expected: Floats
    """(g,) rise that no action at all leads to expect."""
    covariance: Floats
    """(2g, 2g) of observed and expected, by leaving out buckets of units."""
    mean: float
    """Of all values."""
    lag: Floats
    """(l,) distances in time with a correlation of their own, rising."""
    correlation: Floats
    """(l,) autocorrelation C(lag)/C(0) of all values."""
    pairs: Floats
    """(l,) pairs of values behind each."""

    def __post_init__(self) -> None:
        freeze(self, "groups", "cases", "first", "observed", "expected", "covariance", "lag", "correlation", "pairs")

    @property
    def excess(self) -> Floats:
        """(g,) rise beyond the expected one."""
        return np.asarray(self.observed - self.expected)

    @property
    def se_observed(self) -> Floats:
        """(g,) standard errors of the rise seen."""
        return np.asarray(np.sqrt(np.diag(self.covariance)[: self.cases.size]))

    @property
    def se_expected(self) -> Floats:
        """(g,) standard errors of the rise expected."""
        return np.asarray(np.sqrt(np.diag(self.covariance)[self.cases.size :]))

    @property
    def se_excess(self) -> Floats:
        """(g,) standard errors of the excess."""
        return np.asarray(np.sqrt(np.diag(self._contrast @ self.covariance @ self._contrast.T)))

    @property
    def _contrast(self) -> Floats:
        return np.hstack([np.eye(self.cases.size), -np.eye(self.cases.size)])


def rebound(
    unit: ArrayLike,
    time: ArrayLike,
    value: ArrayLike,
    *,
    chosen: ArrayLike,
    first: ArrayLike,
    second: ArrayLike,
    lag: ArrayLike,
    group: ArrayLike | None = None,
    buckets: int = 64,
) -> Rebound:
    """Compare the rise of chosen units with the one that the autocorrelation of all values leads to expect.

    Assumes that the mean of a later value is linear in an earlier one, and that the mean and the autocorrelation of all
    values are those of a time without action.

    Args:
        unit: (n,) unit of each value, all of them, chosen or not.
        time: (n,) when it was measured, in the unit of the lags.
        value: (n,) values.
        chosen: (c,) unit of each case; those without a value among all share a bucket.
        first: (c,) value for which it was chosen.
        second: (c,) its next value.
        lag: (c,) time between them, above zero.
        group: (c,) labels of groups of cases; default one group.
        buckets: Buckets of units that are left out one at a time.

    Raises:
        ValueError: Shapes, values that are missing, no case, lags not above zero, fewer than 30 pairs of values at any
            lag, or values without spread.

    Example:
        >>> rng = np.random.default_rng(1)
        >>> lasting = rng.standard_normal(4000)
        >>> one, two = lasting + rng.standard_normal((2, 4000))
        >>> low, unit = one < -1, np.arange(4000)
        >>> both, when = np.concatenate([unit, unit]), np.repeat([0.0, 3.0], 4000)
        >>> seen = rebound(both, when, np.concatenate([one, two]), chosen=unit[low], first=one[low], second=two[low],
        ...                lag=np.full(low.sum(), 3.0))
        >>> bool(abs(seen.excess[0]) < 3 * seen.se_excess[0]), bool(seen.expected[0] > 0.8)
        (True, True)
    """
    y = vector(value, "value")
    when, a, b, away = (
        vector(time, "time", y.size),
        vector(first, "first"),
        vector(second, "second"),
        vector(lag, "lag"),
    )
    code, labels = codes(unit, "unit", y.size)
    member, groups = codes(np.zeros(a.size) if group is None else group, "group", a.size)
    whose = np.asarray(chosen)
    complain(_faults(y, a, b, away, whose, buckets))
    known = np.minimum(np.searchsorted(labels, whose), labels.size - 1)
    place = np.where(labels[known] == whose, known, 0)
    pairs = _pairs(code, when, y, float(away.max()))
    lags = _usable(pairs[1])
    size = (lags.size, groups.size)
    sums = np.hstack(
        [
            _by_bucket(code, np.column_stack([np.ones(y.size), y, y**2]), buckets),
            _pair_sums(pairs, lags, buckets),
            _case_sums(place, a, b, _nearest(away, lags), member, size, buckets),
        ]
    )
    total = sums.sum(0)
    correlation, mean = _correlation(total, lags.size)
    found = bucket_jackknife(lambda some: _rises(some, size), sums)
    g = groups.size
    cases = total[3 + 3 * lags.size :].reshape(3, *size).sum(1)
    return Rebound(
        groups=groups,
        cases=cases[0],
        first=cases[1] / cases[0],
        observed=found.estimate[:g],
        expected=found.estimate[g:],
        covariance=found.covariance,
        mean=mean,
        lag=lags,
        correlation=correlation,
        pairs=total[3 : 3 + 3 * lags.size].reshape(3, -1)[0],
    )


def _faults(y: Floats, a: Floats, b: Floats, away: Floats, whose: NDArray[np.generic], buckets: int) -> list[str]:
    faults = []
    if not a.size or not a.size == b.size == away.size == whose.size:
        faults.append(
            f"cases need a unit, a first, a second and a lag each, got {whose.size, a.size, b.size, away.size}"
        )
    elif not (away > 0).all():
        faults.append(f"lags must be above 0, got {away.min():g}")
    if not y.size or np.ptp(y) == 0:
        faults.append("values must differ")
    if buckets < 2:
        faults.append(f"buckets must be at least 2, got {buckets}")
    return faults


def _by_bucket(code: Ints, columns: Floats, buckets: int) -> Floats:
    return group_sums(columns, code % buckets, buckets)


def _pairs(code: Ints, when: Floats, y: Floats, longest: float) -> tuple[Ints, Floats, Floats, Floats]:
    """Return unit, lag and both values of every pair of a unit's values, at most ``longest`` apart."""
    order = np.lexsort((when, code))
    code, when, y = code[order], when[order], y[order]
    parts = []
    for step in range(1, y.size):
        same = (code[step:] == code[:-step]) & (when[step:] - when[:-step] <= longest)
        if not same.any():
            break
        at = np.flatnonzero(same)
        parts.append((code[at], when[at + step] - when[at], y[at], y[at + step]))
    none = (np.zeros(0, dtype=np.int64), np.zeros(0), np.zeros(0), np.zeros(0))
    unit, lag, one, two = (np.concatenate(each) for each in zip(none, *parts, strict=True))
    apart = lag > 0
    return unit[apart].astype(np.int64), lag[apart], one[apart], two[apart]


def _usable(lag: Floats) -> Floats:
    lags, count = np.unique(lag, return_counts=True)
    kept = np.asarray(lags[count >= FEWEST_PAIRS], dtype=np.float64)
    if not kept.size:
        raise ValueError(f"no lag has {FEWEST_PAIRS} pairs of values of the same unit; the autocorrelation is unknown")
    return kept


def _nearest(lag: Floats, lags: Floats) -> Ints:
    return np.asarray(np.abs(lag[:, None] - lags).argmin(1), dtype=np.int64)


def _pair_sums(pairs: tuple[Ints, Floats, Floats, Floats], lags: Floats, buckets: int) -> Floats:
    unit, lag, one, two = pairs
    place = np.minimum(np.searchsorted(lags, lag), lags.size - 1)
    kept = lags[place] == lag
    cell = (unit % buckets)[kept] * lags.size + place[kept]
    columns = np.column_stack([np.ones(kept.sum()), one[kept] * two[kept], one[kept] + two[kept]])
    sums = group_sums(columns, cell, buckets * lags.size).reshape(buckets, lags.size, 3)
    return np.asarray(sums.transpose(0, 2, 1).reshape(buckets, -1))


def _case_sums(
    place: Ints, a: Floats, b: Floats, lag: Ints, member: Ints, size: tuple[int, int], buckets: int
) -> Floats:
    cell = ((place % buckets) * size[0] + lag) * size[1] + member
    sums = group_sums(np.column_stack([np.ones(a.size), a, b]), cell, buckets * size[0] * size[1])
    return np.asarray(sums.reshape(buckets, -1, 3).transpose(0, 2, 1).reshape(buckets, -1))


def _correlation(sums: Floats, lags: int) -> tuple[Floats, float]:
    n, total, squares = sums[:3]
    pairs, products, both = sums[3 : 3 + 3 * lags].reshape(3, -1)
    mean = total / n
    with np.errstate(invalid="ignore", divide="ignore"):
        covariance = (products - mean * both) / pairs + mean**2
    return np.asarray(covariance / (squares / n - mean**2)), float(mean)


def _rises(sums: Floats, size: tuple[int, int]) -> Floats:
    """Return the rises observed and expected, (2g,), from sums."""
    correlation, mean = _correlation(sums, size[0])
    cases, first, second = sums[3 + 3 * size[0] :].reshape(3, *size)
    gap = np.where(cases > 0, (1 - correlation)[:, None] * (mean * cases - first), 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.concatenate([(second - first).sum(0) / cases.sum(0), gap.sum(0) / cases.sum(0)])
