"""Leave out one bucket of customers at a time: clustered errors for any statistic of additive sums.

Customers are dealt at random into K buckets. A statistic is computed from the sums of all buckets but one, K times; the
spread of these replicates is its variance, clustered by customer whatever the statistic does inside: a ratio, a
regression, a chain of stages (Quenouille 1956; Tukey 1958; for groups of clusters Kott 2001, Journal of Official
Statistics 17).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from rox.numerics.arrays import Floats, complain, freeze, in_unit_interval


@dataclass(frozen=True, kw_only=True)
class Jackknife:
    """An estimate with its delete-a-bucket replicates. q = numbers of the statistic, k = replicates."""

    estimate: Floats
    """(q,) from all buckets."""
    replicates: Floats
    """(k, q) from all buckets but one."""
    covariance: Floats
    """(q, q)."""
    df: int
    """k - 1."""
    low: Floats
    """(q,) lower end of the t interval."""
    high: Floats
    """(q,) upper end."""
    level: float
    names: tuple[str, ...]
    """(q,) of the numbers; empty when the statistic gave none."""

    def __post_init__(self) -> None:
        freeze(self, "estimate", "replicates", "covariance", "low", "high")

    @property
    def se(self) -> Floats:
        """(q,) standard errors."""
        return np.asarray(np.sqrt(np.diag(self.covariance)))


def jackknife(
    estimate: ArrayLike, replicates: ArrayLike, *, level: float = 0.9, names: Sequence[str] = ()
) -> Jackknife:
    """Turn delete-a-bucket replicates into a covariance and t intervals with k - 1 degrees of freedom.

    V = (k-1)/k * sum of (replicate - mean of the replicates)^2. A number that is NaN in a replicate has a NaN variance.
    The error of V itself is about sqrt(2/(k-1)): 18% of the variance, 9% of the standard error with 64 buckets.

    Args:
        estimate: (q,) from all buckets.
        replicates: (k, q), one row per bucket left out.
        level: of the interval.
        names: (q,) of the numbers.

    Raises:
        ValueError: fewer than two replicates, or shapes that do not fit.

    Example:
        >>> x = np.arange(1.0, 5.0)
        >>> fit = jackknife(x.mean(), [np.delete(x, i).mean() for i in range(4)])
        >>> bool(np.isclose(fit.se[0], x.std(ddof=1) / 2)), fit.df
        (True, 3)
    """
    in_unit_interval(level)
    theta = np.atleast_1d(np.asarray(estimate, dtype=np.float64))
    copies = np.asarray(replicates, dtype=np.float64)
    copies = copies[:, None] if copies.ndim == 1 else copies
    faults = []
    if theta.ndim != 1:
        faults.append(f"the statistic must be a number or a vector, got shape {theta.shape}")
    if copies.ndim != 2 or copies.shape[1:] != theta.shape:
        faults.append(f"replicates must have shape (k, {theta.size}), got {copies.shape}")
    elif copies.shape[0] < 2:
        faults.append(f"a jackknife needs at least 2 buckets, got {copies.shape[0]}")
    if names and len(names) != theta.size:
        faults.append(f"{len(names)} names for {theta.size} numbers")
    complain(faults)
    k = copies.shape[0]
    gap = copies - copies.mean(0)
    covariance = (k - 1) / k * gap.T @ gap
    half = special.stdtrit(k - 1, (1 + level) / 2) * np.sqrt(np.diag(covariance))
    return Jackknife(
        estimate=theta,
        replicates=copies,
        covariance=covariance,
        df=k - 1,
        low=theta - half,
        high=theta + half,
        level=level,
        names=tuple(names),
    )


def bucket_jackknife(statistic: Callable[[Floats], ArrayLike], sums: ArrayLike, *, level: float = 0.9) -> Jackknife:
    """Jackknife a function of sums that are at hand as an array by bucket.

    Args:
        statistic: takes sums of shape (...), returns a number or a vector.
        sums: (K, ...) by bucket.
        level: of the interval.

    Raises:
        ValueError: fewer than two buckets, or a statistic that changes its length.

    Example:
        >>> by_bucket = np.array([[2, 5.0], [3, 9.0], [1, 4.0]])  # customers and money
        >>> fit = bucket_jackknife(lambda total: total[1] / total[0], by_bucket)
        >>> fit.estimate
        array([3.])
    """
    parts = np.asarray(sums, dtype=np.float64)
    if parts.ndim < 1 or parts.shape[0] < 2:
        raise ValueError(f"a jackknife needs at least 2 buckets, got sums of shape {parts.shape}")
    total = parts.sum(0)
    replicates = [np.atleast_1d(np.asarray(statistic(total - part), dtype=np.float64)) for part in parts]
    if len({each.shape for each in replicates}) > 1:
        raise ValueError(f"the statistic changes its length: {sorted({each.size for each in replicates})}")
    return jackknife(np.asarray(statistic(total)), np.stack(replicates), level=level)
