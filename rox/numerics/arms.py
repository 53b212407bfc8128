"""Check that an experiment is one: arms of the planned size, alike beforehand; and read many results as many."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import special, stats

from rox.numerics.arrays import Bools, Floats, complain, vector
from rox.numerics.experiment import p_of


@dataclass(frozen=True, kw_only=True)
class SampleRatio:
    """Sizes of arms against the plan."""

    statistic: float
    df: int
    p: float
    """Below 0.001 something other than the lot decided who is in the data."""


def sample_ratio(counts: ArrayLike, planned: ArrayLike) -> SampleRatio:
    """Test that arms have the planned sizes, by Pearson's chi-squared.

    Args:
        counts: (a,) or (s, a) rows, or clusters if these were assigned, of each arm, in each stratum.
        planned: (a,) or (s, a) planned shares of the arms, which are scaled to sum to one in each stratum.

    Raises:
        ValueError: shapes, fewer than two arms, or shares that are not positive.

    Example:
        >>> round(sample_ratio([4850, 5150], [0.5, 0.5]).p, 4)
        0.0027
    """
    found = np.atleast_2d(np.asarray(counts, dtype=np.float64))
    share = np.broadcast_to(np.asarray(planned, dtype=np.float64), found.shape)
    faults = []
    if found.shape[1] < 2:
        faults.append("a ratio needs at least two arms")
    if not (found >= 0).all() or not found.sum() > 0:
        faults.append("counts must not be negative, nor all zero")
    if not (share > 0).all():
        faults.append("planned shares must be positive")
    complain(faults)
    expected = found.sum(1, keepdims=True) * share / share.sum(1, keepdims=True)
    used = expected.sum(1) > 0
    statistic = float(((found - expected)[used] ** 2 / expected[used]).sum())
    df = int(used.sum()) * (found.shape[1] - 1)
    return SampleRatio(statistic=statistic, df=df, p=float(special.chdtrc(df, statistic)))


def standardized_difference(treated: ArrayLike, control: ArrayLike) -> float:
    """Return the difference of means in units of the mean standard deviation of the arms (Austin 2009).

    0 where neither arm varies and both agree; NaN if an arm is empty. Missing values are left out.
    """
    a, b = (np.asarray(each, dtype=np.float64) for each in (treated, control))
    a, b = a[np.isfinite(a)], b[np.isfinite(b)]
    if not a.size or not b.size:
        return float("nan")
    sd = np.sqrt((a.var() + b.var()) / 2)
    gap = float(a.mean() - b.mean())
    return gap / float(sd) if sd > 0 else (0.0 if gap == 0 else float(np.copysign(np.inf, gap)))


def benjamini_hochberg(p: ArrayLike) -> Floats:
    """Return p-values adjusted for their number: rejecting those below q keeps the false discovery rate at q.

    Args:
        p: (m,) p-values; NaN stays NaN and does not count.

    Raises:
        ValueError: values outside 0..1. Source: Benjamini & Hochberg (1995, JRSS B 57).

    Example:
        >>> benjamini_hochberg([0.01, 0.04, 0.03, 0.20])
        array([0.04      , 0.05333333, 0.05333333, 0.2       ])
    """
    raw = np.atleast_1d(np.asarray(p, dtype=np.float64))
    known = np.isfinite(raw)
    if raw.ndim != 1 or not ((raw[known] >= 0) & (raw[known] <= 1)).all():
        raise ValueError("p-values must be one-dimensional and lie in 0..1")
    out = np.full(raw.shape, np.nan)
    values = raw[known]
    order = np.argsort(-values, kind="stable")
    scaled = values[order] * values.size / np.arange(values.size, 0, -1)
    adjusted = np.empty_like(values)
    adjusted[order] = np.minimum(np.minimum.accumulate(scaled), 1.0)
    out[known] = adjusted
    return out


@dataclass(frozen=True, kw_only=True)
class Trend:
    """Slope of estimates over time."""

    slope: float
    """Per unit of time."""
    se: float
    p: float


def trend_of(estimate: ArrayLike, covariance: ArrayLike, times: ArrayLike) -> Trend:
    """Fit a line to correlated estimates over time, by ordinary weights, with the error their covariance implies.

    Args:
        estimate: (m,) such as the effect in each month since assignment.
        covariance: (m, m).
        times: (m,).

    Raises:
        ValueError: shapes, or times that do not differ.
    """
    y, t = vector(estimate, "estimate"), vector(times, "times")
    v = np.asarray(covariance, dtype=np.float64)
    if t.size != y.size or v.shape != (y.size, y.size) or not np.ptp(t) > 0:
        raise ValueError(f"needs estimates and times (m,) that differ and covariance (m, m), got {y.size}, {v.shape}")
    weight = (t - t.mean()) / ((t - t.mean()) ** 2).sum()
    slope, se = float(weight @ y), float(np.sqrt(max(float(weight @ v @ weight), 0.0)))
    return Trend(slope=slope, se=se, p=p_of(slope, se))


def permuted_p(
    treated: ArrayLike,
    totals: ArrayLike,
    sizes: ArrayLike,
    *,
    deals: int = 999,
    rng: int | np.random.Generator | None = None,
) -> float:
    """Return the p-value from dealing the arms to clusters anew (Fisher 1935), for clusters too few for a normal law.

    The statistic is the difference of the arms' ratios of sums in units of its own error.

    Args:
        treated: (c,) whether the cluster was assigned to treatment.
        totals: (c,) sum of outcomes of each cluster, such as of residuals of the covariates.
        sizes: (c,) rows of each cluster.
        deals: random deals.
        rng: seed or generator.

    Raises:
        ValueError: shapes, or fewer than two clusters in an arm.
    """
    arm, y, n = vector(treated, "treated") > 0, vector(totals, "totals"), vector(sizes, "sizes")
    if not arm.size == y.size == n.size or not (n > 0).all() or min(arm.sum(), (~arm).sum()) < 2:
        raise ValueError("needs totals and positive sizes for each cluster, and two clusters in each arm")
    generator = np.random.default_rng(rng)
    dealt = generator.permuted(np.tile(arm, (deals, 1)), axis=1)
    observed, others = _ratio_t(arm[None], y, n)[0], _ratio_t(dealt, y, n)
    return float((1 + (others >= observed * (1 - 1e-12)).sum()) / (1 + deals))


def _ratio_t(arm: Bools, y: Floats, n: Floats) -> Floats:
    gap, spread = np.zeros(len(arm)), np.zeros(len(arm))
    for member, sign in ((arm, 1.0), (~arm, -1.0)):
        size = member @ n
        mean = (member @ y) / size
        left = member * (y - mean[:, None] * n)
        spread += (left**2 / (1 - member * n / size[:, None])).sum(1) / size**2
        gap += sign * mean
    return np.asarray(np.abs(gap) / np.sqrt(np.maximum(spread, np.finfo(float).tiny)))


def balance_p(differences: ArrayLike, covariance: ArrayLike, sizes: int | None = None) -> float:
    """Return the p-value that all differences before the assignment are chance (Hansen & Bowers 2008).

    Args:
        differences: (p,) of the arms' means.
        covariance: (p, p) of these.
        sizes: rows or clusters; with them Hotelling's F instead of chi-squared.

    Raises:
        ValueError: shapes that do not fit.
    """
    gap, v = vector(differences, "differences"), np.asarray(covariance, dtype=np.float64)
    if v.shape != (gap.size, gap.size):
        raise ValueError(f"covariance must be ({gap.size}, {gap.size}), got {v.shape}")
    rank = int(np.linalg.matrix_rank(v, hermitian=True))
    statistic = float(gap @ np.linalg.pinv(v, hermitian=True) @ gap)
    if sizes is not None and sizes - rank - 1 > 0:
        scaled = statistic * (sizes - rank - 1) / (rank * (sizes - 2)) if rank else 0.0
        return float(stats.f.sf(scaled, rank, sizes - rank - 1)) if rank else 1.0
    return float(special.chdtrc(rank, statistic)) if rank else 1.0
