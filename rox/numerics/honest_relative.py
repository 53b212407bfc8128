"""Test values of an effect when later differences in trend are bounded by a multiple of the largest earlier one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import special

from rox.numerics.arrays import Bools, Floats, freeze

FIRST_STAGE = 0.1
"""Share of the size that the least favourable stage of the hybrid test uses up (Andrews, Roth & Pakes 2023)."""
HALVINGS = 35


@dataclass(frozen=True, kw_only=True)
class Moments:
    """Differences in trend between neighbouring periods before the start, and an effect. p = differences."""

    steps: Floats
    """(p,) estimated differences, by time."""
    combination: float
    """The estimated effect."""
    covariance: Floats
    """(p + 1, p + 1) of the steps and the effect."""
    reach: float
    """How far the effect is off per unit of the largest later difference."""

    def __post_init__(self) -> None:
        freeze(self, "steps", "covariance")


def accepts(moments: Moments, values: Floats, bounds: Floats, alpha: float) -> Bools:
    """Say which values of the effect are not rejected at size ``alpha``, shape (v,).

    Value v belongs to the set if, for some step s and sign, it satisfies |effect − v| ≤ bound · reach · (± step_s):
    two moment inequalities, tested by the hybrid of the least favourable and the conditional test.

    Args:
        moments: The estimates.
        values: (v,) hypothetical effects.
        bounds: (v,) multiple of the largest step, one per value.
        alpha: Size of each test.
    """
    size = moments.steps.size
    signs = np.concatenate([np.ones(size), -np.ones(size)])
    step = signs * np.tile(moments.steps, 2)
    variance = np.tile(np.diag(moments.covariance)[:-1], 2)
    with_effect = signs * np.tile(moments.covariance[:-1, -1], 2)
    scale = bounds[:, None] * moments.reach
    away = (moments.combination - values)[:, None]
    own = moments.covariance[-1, -1]
    spread, cross = own + scale**2 * variance, 2 * scale * with_effect
    sd = np.sqrt(np.maximum(np.stack([spread - cross, spread + cross]), np.finfo(float).tiny))
    each = np.stack([away - scale * step, -away - scale * step]) / sd
    correlation = np.clip((scale**2 * variance - own) / (sd[0] * sd[1]), -1.0, 1.0)
    return np.asarray((~_rejects(each, correlation, alpha)).any(axis=1))


def _rejects(each: Floats, correlation: Floats, alpha: float) -> Bools:
    """Test that two standardised normal moments, shape (2, ...), have means at most zero."""
    first = FIRST_STAGE * alpha
    second = (alpha - first) / (1 - first)
    largest, smaller = each.max(0), each.min(0)
    critical = least_favourable(correlation, first)
    apart = 1 - correlation
    with np.errstate(divide="ignore", invalid="ignore"):
        low = np.where(apart > 0, (smaller - correlation * largest) / apart, -np.inf)
    tail, bottom, top = (special.log_ndtr(-x) for x in (largest, np.minimum(low, largest), critical))
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        p_value = (np.exp(tail - bottom) - np.exp(top - bottom)) / -np.expm1(top - bottom)
    conditional = (largest > 0) & (p_value < second)
    return np.asarray((largest > critical) | conditional)


def least_favourable(correlation: Floats, size: float) -> Floats:
    """Return what the larger of two standard normals exceeds with probability ``size``, by their correlation."""
    low = np.full(correlation.shape, special.ndtri(1 - size))
    high = np.full(correlation.shape, special.ndtri(1 - size / 2))
    with np.errstate(divide="ignore"):
        angle = np.sqrt((1 - correlation) / (1 + correlation))
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        short = special.ndtr(middle) - 2 * special.owens_t(middle, angle) < 1 - size
        low, high = np.where(short, middle, low), np.where(short, high, middle)
    return high
