"""Compare two forms stratum by stratum, and carry what is found to another mix of strata."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from rox.numerics.arrays import Floats, complain, freeze, in_unit_interval


@dataclass(frozen=True, kw_only=True)
class StratifiedShares:
    """Common risk ratio and risk difference over strata."""

    ratio: float
    log_variance: float
    """Of log(ratio)."""
    difference: float
    variance: float
    """Of the difference."""
    level: float

    @property
    def ratio_interval(self) -> tuple[float, float]:
        """Interval of the ratio."""
        half = special.ndtri((1 + self.level) / 2) * np.sqrt(self.log_variance)
        return float(self.ratio * np.exp(-half)), float(self.ratio * np.exp(half))

    @property
    def difference_interval(self) -> tuple[float, float]:
        """Interval of the difference."""
        half = special.ndtri((1 + self.level) / 2) * np.sqrt(self.variance)
        return float(self.difference - half), float(self.difference + half)


def mantel_haenszel(
    passed: ArrayLike, n: ArrayLike, base_passed: ArrayLike, base_n: ArrayLike, *, level: float = 0.9
) -> StratifiedShares:
    """Estimate one risk ratio and one risk difference over strata, also where strata are small.

    Strata that miss a form say nothing and have no weight. Variances hold in many small strata and in few large ones:
    of the log ratio by Greenland & Robins (1985, Biometrics 41, 55), of the difference by Sato (1989,
    Biometrics 45, 1323).

    Args:
        passed: (stratum,) how many pass in the new form.
        n: (stratum,) of how many.
        base_passed: (stratum,) how many pass in the old form.
        base_n: (stratum,) of how many.
        level: of the intervals.

    Raises:
        ValueError: counts that do not fit together, no stratum with both forms, or a form that nobody passes.

    Example:
        >>> found = mantel_haenszel([45, 20], [100, 100], [30, 10], [100, 100])
        >>> round(found.ratio, 3), round(found.difference, 3)
        (1.625, 0.125)
    """
    in_unit_interval(level)
    a, n1, b, n0 = (np.asarray(each, dtype=np.float64) for each in (passed, n, base_passed, base_n))
    faults = []
    if len({each.shape for each in (a, n1, b, n0)}) > 1 or a.ndim != 1:
        faults.append(f"needs four arrays of one length, got shapes {a.shape}, {n1.shape}, {b.shape}, {n0.shape}")
    elif not all(np.isfinite(x).all() and (x >= 0).all() and (x <= m).all() for x, m in ((a, n1), (b, n0))):
        faults.append("counts must be finite, not negative, and none may pass who did not begin")
    elif not ((n1 > 0) & (n0 > 0)).any():
        faults.append("no stratum has both forms: nothing can be compared within strata")
    complain(faults)
    both = (n1 > 0) & (n0 > 0)
    a, n1, b, n0 = a[both], n1[both], b[both], n0[both]
    total = n1 + n0
    up, down, weight = (a * n0 / total).sum(), (b * n1 / total).sum(), (n1 * n0 / total).sum()
    complain([f"nobody passes in the {name} form" for name, each in (("new", up), ("old", down)) if not each > 0])
    joint = (((a + b) * n1 * n0 / total - a * b) / total).sum()
    difference = (up - down) / weight
    tilt = ((n1**2 * b - n0**2 * a + n1 * n0 * (n0 - n1) / 2) / total**2).sum()
    spread = ((a * (n0 - b) + b * (n1 - a)) / (2 * total)).sum()
    return StratifiedShares(
        ratio=float(up / down),
        log_variance=float(joint / (up * down)),
        difference=float(difference),
        variance=float((difference * tilt + spread) / weight**2),
        level=level,
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class Standardised:
    """Means in a chosen mix of strata: ``mean`` (outcome,) and their ``covariance`` (outcome, outcome)."""

    mean: Floats
    covariance: Floats

    def __post_init__(self) -> None:
        freeze(self, "mean", "covariance")

    def contrast(self, weights: ArrayLike) -> tuple[float, float]:
        """Return a linear combination of the means and its standard error.

        Args:
            weights: (outcome,).
        """
        w = np.asarray(weights, dtype=np.float64)
        return float(w @ self.mean), _error(w, self.covariance)

    def log_ratio(self, over: int, under: int) -> tuple[float, float]:
        """Return the log of the ratio of two means and its standard error, by the delta method.

        Args:
            over: Place of the numerator.
            under: Place of the denominator.

        Raises:
            ValueError: A mean that is not positive.
        """
        top, bottom = float(self.mean[over]), float(self.mean[under])
        complain([f"a ratio needs means above 0, got {top:g} over {bottom:g}"] if not min(top, bottom) > 0 else [])
        w = np.zeros(self.mean.size)
        w[over] += 1 / top
        w[under] -= 1 / bottom
        return float(np.log(top / bottom)), _error(w, self.covariance)


def standardise(
    means: ArrayLike, covariances: ArrayLike, shares: ArrayLike, *, sampled: float | None = None
) -> Standardised:
    """Weight the means of strata to a chosen mix: direct standardisation, or transport to another population.

    It assumes that within a stratum those compared are like those the mix stands for.

    Args:
        means: (stratum, outcome).
        covariances: (stratum, outcome, outcome) of the means.
        shares: (stratum,) the mix, adding up to 1.
        sampled: How many people the mix was estimated from, if they are a sample of those it stands for; None takes
            the mix as known.

    Raises:
        ValueError: arrays that do not fit together, or shares that are no mix.

    Example:
        >>> standardise([[0.2], [0.4]], [[[1e-4]], [[1e-4]]], [0.5, 0.5]).mean.round(12).tolist()
        [0.3]
    """
    m, v, s = (np.asarray(each, dtype=np.float64) for each in (means, covariances, shares))
    faults = []
    if m.ndim != 2 or v.shape != (*m.shape, m.shape[-1]) or s.shape != m.shape[:1]:
        faults.append(f"shapes do not fit: means {m.shape}, covariances {v.shape}, shares {s.shape}")
    elif not (np.isfinite(m).all() and np.isfinite(v).all()):
        faults.append("means and covariances must be finite: a stratum without a mean needs another's, or no share")
    elif (s < 0).any() or abs(s.sum() - 1) > 1e-9:
        faults.append(f"shares must not be negative and add up to 1, got {s.tolist()}")
    if sampled is not None and not sampled > 0:
        faults.append(f"sampled must be a number of people above 0, got {sampled}")
    complain(faults)
    mean = s @ m
    covariance = np.einsum("s,sij->ij", s**2, v)
    if sampled is not None:
        away = m - mean
        covariance = covariance + np.einsum("s,si,sj->ij", s, away, away) / sampled
    return Standardised(mean=mean, covariance=covariance)


def _error(weights: Floats, covariance: Floats) -> float:
    return float(np.sqrt(max(float(weights @ covariance @ weights), 0.0)))
