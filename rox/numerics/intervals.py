"""Intervals and sample sizes for scores and shares from effective counts."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike
from scipy import optimize, special, stats

from rox.numerics.arrays import Floats, in_unit_interval


def dirichlet_nps_interval(
    promoters: float, passives: float, detractors: float, *, level: float = 0.9, prior: float = 0.5
) -> tuple[float, float]:
    """Return the equal-tailed posterior interval of the NPS (points) under a Dirichlet(prior) on the three shares.

    Exact up to quadrature: passives are Beta, promoters among the rest are an independent Beta.

    Args:
        promoters: effective count of answers 9-10.
        passives: effective count of answers 7-8.
        detractors: effective count of answers 0-6.
        level: of the interval.
        prior: pseudo-count per category.

    Raises:
        ValueError: negative counts or a prior that is not positive.
    """
    in_unit_interval(level)
    below = _nps_below(promoters, passives, detractors, prior)
    tail = (1 - level) / 2
    low, high = (float(optimize.brentq(lambda x, p=p: below(x) - p, -1, 1, xtol=1e-9)) for p in (tail, 1 - tail))
    return 100 * low, 100 * high


def nps_probability_below(
    promoters: float, passives: float, detractors: float, *, points: float, prior: float = 0.5
) -> float:
    """Return the posterior probability that the NPS lies below a number of points, under a Dirichlet(prior).

    It is half the tail left out by the interval of `dirichlet_nps_interval` that ends there.

    Args:
        promoters: effective count of answers 9-10.
        passives: effective count of answers 7-8.
        detractors: effective count of answers 0-6.
        points: -100..100.
        prior: pseudo-count per category.

    Raises:
        ValueError: negative counts or a prior that is not positive.
    """
    probability = _nps_below(promoters, passives, detractors, prior)(min(max(points / 100, -1.0), 1.0))
    return min(max(probability, 0.0), 1.0)


def posterior_variance(
    mean: ArrayLike, square: ArrayLike, n: ArrayLike, *, support: ArrayLike, prior: float = 0.5
) -> Floats:
    """Return the posterior variance of a mean under a Dirichlet(prior) on the values it is made of.

    It stays above zero where all answers agree, unlike the variance of what was observed.

    Args:
        mean: observed mean, any shape.
        square: mean of the squares.
        n: effective number of answers.
        support: values that get `prior` pseudo-answers each, along the last axis; one set for all or one for each.
        prior: pseudo-answers.
    """
    m, s, size = (np.asarray(each, dtype=np.float64) for each in (mean, square, n))
    values = np.asarray(support, dtype=np.float64)
    total = size + prior * values.shape[-1]
    centre = (size * m + prior * values.sum(axis=-1)) / total
    spread = (size * s + prior * (values**2).sum(axis=-1)) / total - centre**2
    return np.asarray(np.maximum(spread, 0.0) / (total + 1))


def _nps_below(promoters: float, passives: float, detractors: float, prior: float) -> Callable[[float], float]:
    """Return the posterior distribution function of the NPS, on the scale -1..1."""
    if min(promoters, passives, detractors) < 0 or prior <= 0:
        raise ValueError(
            f"counts must not be negative and prior positive, got {promoters, passives, detractors, prior}"
        )
    a, b, c = promoters + prior, passives + prior, detractors + prior
    nodes, mass = np.polynomial.legendre.leggauss(100)
    rest = special.betaincinv(a + c, b, (nodes + 1) / 2)

    def below(x: float) -> float:
        return float(mass @ special.betainc(a, c, np.clip((x / rest + 1) / 2, 0, 1)) / 2)

    return below


def adjusted_nps_interval(
    promoters: float, passives: float, detractors: float, *, level: float = 0.9
) -> tuple[float, float]:
    """Return the adjusted Wald interval of the NPS (points) of Rocks (2016).

    Wald's interval after adding 3/4 promoter, 3/2 passive and 3/4 detractor.

    Args:
        promoters: effective count of answers 9-10.
        passives: effective count of answers 7-8.
        detractors: effective count of answers 0-6.
        level: of the interval.

    Raises:
        ValueError: negative counts.
    """
    in_unit_interval(level)
    if min(promoters, passives, detractors) < 0:
        raise ValueError(f"counts must not be negative, got {promoters, passives, detractors}")
    n = promoters + passives + detractors + 3
    p, d = (promoters + 0.75) / n, (detractors + 0.75) / n
    half = stats.norm.ppf((1 + level) / 2) * np.sqrt((p + d - (p - d) ** 2) / n)
    return float(100 * (p - d - half)), float(100 * (p - d + half))


def wilson_interval(share: float, n_eff: float, *, level: float = 0.9) -> tuple[float, float]:
    """Return Wilson's score interval of a proportion with an effective number of answers (Wilson 1927).

    Raises:
        ValueError: a share outside 0..1 or an n that is not positive.
    """
    in_unit_interval(level)
    if not 0 <= share <= 1 or not n_eff > 0:
        raise ValueError(f"needs a share in 0..1 and a positive n, got {share} and {n_eff}")
    z2 = stats.norm.ppf((1 + level) / 2) ** 2
    centre = (share + z2 / (2 * n_eff)) / (1 + z2 / n_eff)
    half = np.sqrt(z2 * (share * (1 - share) / n_eff + z2 / (4 * n_eff**2))) / (1 + z2 / n_eff)
    return float(max(centre - half, 0)), float(min(centre + half, 1))


def nps_sample_size(margin: float, *, promoters: float = 0.5, detractors: float = 0.5, level: float = 0.95) -> int:
    """Return the effective answers needed for an NPS interval of +-margin points (default: the worst case).

    Raises:
        ValueError: a margin that is not positive, or shares that are not a distribution.
    """
    in_unit_interval(level)
    if margin <= 0 or min(promoters, detractors) < 0 or promoters + detractors > 1 + 1e-12:
        raise ValueError(f"needs margin > 0 and shares that add to at most 1, got {margin, promoters, detractors}")
    variance = promoters + detractors - (promoters - detractors) ** 2
    return int(np.ceil((stats.norm.ppf((1 + level) / 2) * 100 / margin) ** 2 * variance))
