"""One effect over another by segment, drawn together, with sets that hold however weak the denominator is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from rox.numerics.weak_instrument import Ratio, wald_ratio

Floats = NDArray[np.float64]

ROUNDS = 5
"""Rounds in which slopes and the weights that hang on them settle."""
FLAT = 1.0
"""Standard deviation of the prior of the common slope: a whole share of money per point, next to no information."""
INSIDE = 0.95
"""Draws stay inside this share of the square root of F, beyond which a confidence set has no end."""


@dataclass(frozen=True, kw_only=True, eq=False)
class PooledRatio:
    """Slopes by segment, numerator over denominator, and their weighted mean as one ratio of two estimates.

    s = segments. The mean is ``numerator / denominator``, two linear combinations of the segments' estimates, so that
    it has the confidence sets of a ratio; ``spare`` is the variance of the numerator that comes from drawing segments
    together.

    Attributes:
        weights: Shape (s,): of the mean; sum one.
        slopes: Shape (s,): slopes drawn together.
        own: Shape (s,): numerator over denominator of each segment alone.
        own_se: Shape (s,).
        covariance: Shape (s, s): of the errors of ``slopes``.
        numerator: Of the mean.
        denominator: Of the mean.
        joint: Shape (2, 2): covariance of numerator and denominator.
        spare: Further variance of the numerator.
    """

    weights: Floats
    slopes: Floats
    own: Floats
    own_se: Floats
    covariance: Floats
    numerator: float
    denominator: float
    joint: Floats
    spare: float

    @property
    def estimate(self) -> float:
        """The mean slope."""
        return self.numerator / self.denominator

    def ratio(self, level: float, df: float) -> Ratio:
        """Return the mean slope with its F, its error by the delta method, and the set that holds at any strength.

        Args:
            level: Probability that the set holds the true slope.
            df: Degrees of freedom.
        """
        spread = self.joint + np.diag([self.spare, 0.0])
        return wald_ratio(self.numerator, self.denominator, spread, level=level, df=df)

    def draws(self, size: int, df: float, rng: np.random.Generator) -> Floats:
        """Draw slopes by segment, shape (size, s).

        The mean follows the confidence distribution of its confidence sets: its quantiles are their ends, at every
        level at which they have ends; draws beyond are put at the last end, so that moments exist. Segments lie around
        the mean as in their joint normal distribution.

        Args:
            size: Number of draws.
            df: Degrees of freedom of Student's t.
            rng: Source of randomness.
        """
        root = np.linalg.cholesky(self.covariance)
        apart = rng.standard_normal((size, self.slopes.size)) @ root.T
        mean, variance = apart @ self.weights, float(self.weights @ self.covariance @ self.weights)
        last = INSIDE * abs(self.denominator) / np.sqrt(self.joint[1, 1])
        t = np.clip(stats.t.ppf(stats.norm.cdf(mean / np.sqrt(variance)), df), -last, last)
        along = self.covariance @ self.weights / variance
        return np.asarray(self.slopes + apart + np.outer(self._ends(t) - self.weights @ self.slopes - mean, along))

    def _ends(self, t: Floats) -> Floats:
        """Return the slope at which the studentised numerator − slope · denominator is −t, where t² < F.

        (N − βD)² = t²(v_NN + spare − 2βv_ND + β²v_DD) has two roots; the upper one belongs to t > 0.
        """
        a = self.denominator**2 - t**2 * self.joint[1, 1]
        b = self.numerator * self.denominator - t**2 * self.joint[0, 1]
        c = self.numerator**2 - t**2 * (self.joint[0, 0] + self.spare)
        return np.asarray((b + np.sign(t) * np.sqrt(np.maximum(b**2 - a * c, 0.0))) / a)


def pooled_ratio(
    numerator: Floats,
    numerator_influence: Floats,
    denominator: Floats,
    denominator_influence: Floats,
    *,
    weights: Floats,
    level: Floats,
    between: float,
    by_level: float,
) -> PooledRatio:
    """Estimate slopes by segment that lie around a line in the segments' level, and their weighted mean.

    Slopes are ``N(m + g·level, between²)`` with a flat prior of m and ``g ~ N(0, by_level²)``. Their best linear
    predictions (Robinson 1991) are linear in the numerators; the mean of the predictions is one ratio once the
    denominators are written as a common one times known multiples.

    Args:
        numerator: Shape (s,).
        numerator_influence: Shape (u, s): influence of each independent unit.
        denominator: Shape (s,), all of one sign.
        denominator_influence: Shape (u, s).
        weights: Shape (s,): of the mean; they are scaled to sum to one.
        level: Shape (s,): what the line runs along.
        between: Standard deviation of slopes around the line.
        by_level: Standard deviation of the line's slope.
    """
    weights = weights / weights.sum()
    centred = level - weights @ level
    prior = FLAT**2 + by_level**2 * np.outer(centred, centred) + between**2 * np.eye(weights.size)
    own = numerator / denominator
    slopes = np.full(weights.size, float(numerator.sum() / denominator.sum()))
    for _ in range(ROUNDS):
        residual = (numerator_influence - slopes * denominator_influence) / denominator
        error = residual.T @ residual
        share = np.linalg.solve(prior + error, prior).T
        share = share / share.sum(1, keepdims=True)
        slopes = share @ own
    covariance = prior - np.linalg.solve(prior + error, prior).T @ prior
    covariance = (covariance + covariance.T) / 2
    combined = weights @ share
    common = float(combined @ denominator)
    scale = combined * common / denominator
    pushed = np.column_stack([numerator_influence @ scale, denominator_influence @ scale])
    spare = float(weights @ covariance @ weights - combined @ error @ combined)
    return PooledRatio(
        weights=weights,
        slopes=slopes,
        own=own,
        own_se=np.sqrt(np.diag(error)),
        covariance=covariance,
        numerator=float(numerator @ scale),
        denominator=float(denominator @ scale),
        joint=pushed.T @ pushed,
        spare=max(spare, 0.0) * common**2,
    )
