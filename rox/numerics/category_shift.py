"""Convert between mean-score points (0-10) and NPS points (-100..100) of one group by shifting its answers.

The reported answers are read as a saturated ordered probit: a latent N(mu, 1) cut at tau_0..tau_9. Moving mu
moves the mean score m(mu) = sum_k P(score > k) and the NPS N(mu) = 100 * [P(score > 8) - P(score <= 6)]; their
slopes have the ratio J = N'(0) / m'(0), in NPS points per mean-score point. J depends on the histogram: it must
be computed per group and wave.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import optimize, stats

from rox.numerics.arrays import Floats, complain, freeze

SCORES = 11
ROUNDING = 1e-12
"""Shares this small are what subtracting a bucket leaves of an empty answer."""


@dataclass(frozen=True, kw_only=True)
class CategoryShift:
    """The local exchange rate between mean score and NPS of one group."""

    value: float
    """J, NPS points per mean-score point."""
    se: float
    """Standard error of J; 0 when the histogram is taken as known."""
    df: float
    """Degrees of freedom of `se`: buckets - 1, or infinite."""
    mean: float
    """Mean score, 0..10."""
    nps: float
    """NPS, -100..100."""
    shares: Floats
    """(11,) shares of the answers 0..10."""
    cuts: Floats
    """(10,) cut-points tau_0..tau_9; infinite outside the answers given, equal around an empty answer."""

    def __post_init__(self) -> None:
        freeze(self, "shares", "cuts")

    def nps_change(self, mean_change: ArrayLike) -> Floats:
        """Return the change of NPS (points) that goes with a change of the mean score (points), not only a small one.

        Raises:
            ValueError: a change that would take the mean outside the answers that occur in the histogram.
        """
        change = np.asarray(mean_change, dtype=np.float64)
        out = [self._nps(self._solve(self.mean + float(c))) - self.nps for c in change.ravel()]
        return np.array(out).reshape(change.shape)

    def draws(self, n: int, rng: int | np.random.Generator | None = None) -> Floats:
        """Draw (n,) values of J, log-normal (log-t with the jackknife's degrees of freedom) around the estimate."""
        generator = np.random.default_rng(rng)
        noise = generator.standard_t(self.df, n) if np.isfinite(self.df) else generator.standard_normal(n)
        return np.asarray(self.value * np.exp(self.se / self.value * noise))

    def _mean(self, location: float) -> float:
        return float(stats.norm.sf(self.cuts - location).sum())

    def _nps(self, location: float) -> float:
        return float(100 * (stats.norm.sf(self.cuts[8] - location) - stats.norm.cdf(self.cuts[6] - location)))

    def _solve(self, mean: float) -> float:
        given = np.flatnonzero(self.shares > 0)
        if not given[0] < mean < given[-1]:
            raise ValueError(
                f"the mean score would become {mean:.3g}, outside the answers {given[0]}..{given[-1]} that occur; "
                "use a smaller change"
            )
        return float(optimize.brentq(lambda m: self._mean(m) - mean, -12, 12, xtol=1e-13))


def category_shift(histogram: ArrayLike, *, n_eff: float | None = None) -> CategoryShift:
    """Compute J = N'(0) / m'(0) from a histogram of answers 0..10.

    Estimand: NPS points gained per mean-score point when everybody's experience moves a little by the same
    latent amount. Assumes the ordered probit with common scale; with the cut-points of the saturated model J =
    100 * [phi(tau_6) + phi(tau_8)] / sum_k phi(tau_k).

    Args:
        histogram: (11,) weighted counts of the answers 0..10, or (b, 11) counts per random bucket of customers.
            With buckets the variance is the delete-one-bucket jackknife, (b-1)/b * sum (J_(b) - mean)^2, with
            b-1 degrees of freedom.
        n_eff: effective number of answers behind a single histogram, for the multinomial delta method; default
            its sum.

    Raises:
        ValueError: wrong shape, negative or missing counts, or a group without answers on both sides of the
            detractor/passive or the passive/promoter border.

    Example:
        >>> shift = category_shift([3, 1, 1, 2, 2, 7, 8, 15, 26, 19, 16])
        >>> round(shift.value, 1), round(float(shift.nps_change(0.5)), 1)
        (32.4, 16.9)
    """
    table = np.atleast_2d(np.asarray(histogram, dtype=np.float64))
    faults = []
    if table.ndim != 2 or table.shape[1] != SCORES:
        faults.append(f"histogram must have shape (11,) or (bucket, 11), got {np.shape(histogram)}")
    if not (np.isfinite(table) & (table >= 0)).all():
        faults.append("histogram has counts that are missing or negative")
    if n_eff is not None and not n_eff > 0:
        faults.append(f"n_eff must be positive, got {n_eff}")
    complain(faults)
    total = table.sum(0)
    shares = _shares(total)
    cuts = _cuts(shares)
    value = _slope_ratio(cuts)
    if table.shape[0] > 1:
        left_out = np.array([_slope_ratio(_cuts(_shares(total - row))) for row in table])
        b = left_out.size
        se, df = float(np.sqrt((b - 1) / b * ((left_out - left_out.mean()) ** 2).sum())), float(b - 1)
    else:
        se, df = _delta_se(cuts, shares, value, float(total.sum()) if n_eff is None else n_eff), np.inf
    return CategoryShift(
        value=value,
        se=se,
        df=df,
        mean=float(shares @ np.arange(SCORES)),
        nps=float(100 * (shares[9:].sum() - shares[:7].sum())),
        shares=shares,
        cuts=cuts,
    )


def _shares(counts: Floats) -> Floats:
    total = counts.sum()
    if not total > 0:
        raise ValueError("histogram is empty")
    shares = np.asarray(np.where(counts > total * ROUNDING, counts, 0.0) / total)
    detractors, promoters = shares[:7].sum(), shares[9:].sum()
    if max(detractors, promoters, 1 - detractors - promoters) >= 1:
        raise ValueError("all answers fall in one NPS category: no shift can be computed for this group")
    return shares


def _cuts(shares: Floats) -> Floats:
    below = np.cumsum(shares)[:-1]
    above = np.cumsum(shares[::-1])[::-1][1:]
    return np.asarray(np.where(below <= 0.5, stats.norm.ppf(below), stats.norm.isf(above)))


def _slope_ratio(cuts: Floats) -> float:
    density = stats.norm.pdf(cuts)
    return float(100 * (density[6] + density[8]) / density.sum())


def _delta_se(cuts: Floats, shares: Floats, value: float, n_eff: float) -> float:
    """Multinomial delta method: d phi(tau_k) / d P_k = -tau_k with P_k the cumulative share."""
    tau = np.where(np.isfinite(cuts), cuts, 0.0)
    border = np.isin(np.arange(cuts.size), (6, 8))
    gradient = tau * (value - 100 * border) / stats.norm.pdf(cuts).sum()
    below = np.cumsum(shares)[:-1]
    spread = np.minimum.outer(below, below) - np.outer(below, below)
    return float(np.sqrt(max(gradient @ spread @ gradient, 0.0) / n_eff))
