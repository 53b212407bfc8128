"""Correct estimates for noise in a score: divide by its reliability, or add noise and extrapolate back to none.

SIMEX refits with more and more noise added and extrapolates to zeta = -1, no noise at all (Cook & Stefanski 1994, JASA
89). For whole-number scores the noise is a matrix of misclassification, and its powers are noise added zeta times
(Küchenhoff, Mwalili & Lesaffre 2006, Biometrics 62). Sums by score are multiplied by these powers, so nothing is
simulated.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import linalg, optimize, special

from rox.numerics.arrays import Floats, complain, freeze, vector

GRID = (0.0, 0.5, 1.0, 1.5, 2.0)
LEAST_RELIABILITY = 0.3
"""Below this share of signal the correction multiplies guesses."""
_ROUNDS = 300
"""Of the EM algorithm for the true shares."""
_STEEPEST = 0.97
"""Largest 1/c of a + b/(c + zeta); beyond it the pole lies at the target."""


@dataclass(frozen=True, kw_only=True)
class Simex:
    """Estimates by added noise and their continuations to no noise. z = amounts of noise, q = numbers."""

    grid: Floats
    """(z,) added noise in multiples of the noise that is there."""
    estimates: Floats
    """(z, q)."""
    linear: Floats
    """(q,) at -1."""
    quadratic: Floats
    """(q,) at -1."""
    rational: Floats
    """(q,) at -1 of a + b/(c + zeta); NaN where its pole would lie at or beyond the target."""
    disagreement: Floats
    """(q,) |quadratic - rational| over the mean of their sizes, 0..2; infinite where rational is NaN."""

    def __post_init__(self) -> None:
        freeze(self, "grid", "estimates", "linear", "quadratic", "rational", "disagreement")


def simex(refit: Callable[[float], ArrayLike], *, grid: Sequence[float] = GRID) -> Simex:
    """Extrapolate estimates to a score without noise (Cook & Stefanski 1994).

    The rational curve is exact for the slope of a straight line; the quadratic corrects too little when there is much
    noise; where the two differ the data do not say how far to go. Errors come from running this on replicates.

    Args:
        refit: takes zeta >= 0, returns the (q,) estimates from data with zeta times the noise variance added.
        grid: at least four different amounts, one of them 0.

    Raises:
        ValueError: a grid that will not do, or estimates that are not finite or change their number.

    Example:
        >>> fit = simex(lambda zeta: [2 / (1 + 0.5 * (1 + zeta))])  # slope 2, noise half the variance of the signal
        >>> fit.rational.round(6), fit.quadratic.round(2), fit.estimates[0].round(2)
        (array([2.]), array([1.8]), array([1.33]))
    """
    zeta = vector(np.asarray(grid, dtype=np.float64), "grid")
    if zeta.size < 4 or np.unique(zeta).size < zeta.size or zeta.min() != 0:
        raise ValueError(f"grid needs at least four different amounts of noise, the smallest 0, got {zeta.tolist()}")
    rows = [np.atleast_1d(np.asarray(refit(float(z)), dtype=np.float64)) for z in zeta]
    if any(row.ndim != 1 or row.shape != rows[0].shape for row in rows):
        raise ValueError(f"refit must always return the same number of estimates, got shapes {[r.shape for r in rows]}")
    estimates = np.stack(rows)
    if not np.isfinite(estimates).all():
        bad = zeta[~np.isfinite(estimates).all(axis=1)].tolist()
        raise ValueError(f"refit returns estimates that are NaN or infinite at zeta {bad}")
    quadratic = _polynomial(zeta, estimates, 2)
    rational = np.array([_rational(zeta, column) for column in estimates.T])
    size = (np.abs(quadratic) + np.abs(rational)) / 2
    apart = np.divide(np.abs(quadratic - rational), size, out=np.zeros_like(size), where=size > 0)
    return Simex(
        grid=zeta,
        estimates=estimates,
        linear=_polynomial(zeta, estimates, 1),
        quadratic=quadratic,
        rational=rational,
        disagreement=np.where(np.isnan(rational), np.inf, apart),
    )


def _polynomial(zeta: Floats, estimates: Floats, degree: int) -> Floats:
    """Return the value at -1 (q,) of least-squares polynomials."""
    powers = np.vander(zeta, degree + 1)
    return np.asarray(np.vander([-1.0], degree + 1)[0] @ np.linalg.lstsq(powers, estimates, rcond=None)[0])


def _rational(zeta: Floats, values: Floats) -> float:
    """Return the value at -1 of the least-squares curve a + b/(c + zeta), written alpha + beta zeta / (1 + zeta/c)."""
    spread = np.ptp(values)
    if spread <= 1e-12 * np.abs(values).max():
        return float(values[0])
    scaled = (values - values[0]) / spread
    flattest = -0.9 / zeta.max()

    def fitted(u: float) -> tuple[Floats, Floats]:
        basis = np.column_stack([np.ones_like(zeta), zeta / (1 + u * zeta)])
        coefficient = np.linalg.lstsq(basis, scaled, rcond=None)[0]
        return coefficient, np.asarray(scaled - basis @ coefficient)

    tries = np.linspace(flattest, _STEEPEST, 60)
    loss = [float((fitted(u)[1] ** 2).sum()) for u in tries]
    start = float(np.clip(tries[int(np.argmin(loss))], flattest + 1e-3, _STEEPEST - 1e-3))
    best = optimize.least_squares(
        lambda u: fitted(float(u[0]))[1],
        [start],
        jac="3-point",
        bounds=([flattest], [_STEEPEST]),
        xtol=1e-15,
        ftol=1e-15,
        gtol=1e-15,
    )
    u = float(best.x[0])
    if u > _STEEPEST - 1e-4:
        return float("nan")
    alpha, beta = fitted(u)[0]
    return float(values[0] + spread * (alpha - beta / (1 - u)))


def normal_noise(sd: float, *, levels: int = 11) -> Floats:
    """Return the (k, k) matrix P(answer j | score i) of many small errors that the ends of the scale reflect.

    A walk over neighbouring answers, stopped at variance sd^2: away from the ends unbiased with exactly that variance,
    and near a normal error. A normal error rounded and cut to the scale has no proper fractional powers; this has them
    all: `normal_noise(sd * sqrt(zeta))` is its power zeta.

    Args:
        sd: of the error in the middle of the scale, in score points; from `retest_sd`.
        levels: k answers 0..k-1.

    Raises:
        ValueError: a negative sd, or fewer than two levels.

    Example:
        >>> normal_noise(1.0)[5].round(3)
        array([0.   , 0.001, 0.008, 0.05 , 0.208, 0.466, 0.208, 0.05 , 0.008,
               0.001, 0.   ])
    """
    if not (np.isfinite(sd) and sd >= 0) or levels < 2:
        raise ValueError(f"needs sd >= 0 and at least 2 levels, got {sd} and {levels}")
    rates = np.diag(np.full(levels - 1, sd**2 / 2), 1)
    rates += rates.T
    np.fill_diagonal(rates, -rates.sum(axis=1))
    return np.asarray(linalg.expm(rates))


def retest_sd(table: ArrayLike) -> float:
    """Return the sd of `normal_noise` behind a retest, by maximum likelihood with the true shares of the scores free.

    Two answers of one customer are independent given the score. Half the variance of their difference is less where
    many score at the end of the scale, since the end hides noise; this is not.

    Args:
        table: (k, k) pairs of first and second answers, as counts; the order of the two does not matter.

    Raises:
        ValueError: not a square table of counts, or sd at the edge of what was searched, 0.05 to a third of the scale.
    """
    counts = _counts(table)
    pairs = (counts + counts.T).ravel()
    levels = counts.shape[0]

    def surprise(log_sd: float) -> float:
        noise = normal_noise(float(np.exp(log_sd)), levels=levels)
        both = (noise[:, :, None] * noise[:, None, :]).reshape(levels, -1)
        share = np.full(levels, 1 / levels)
        for _ in range(_ROUNDS):
            share = share * (both @ (pairs / np.maximum(share @ both, 1e-300))) / pairs.sum()
        return -float(special.xlogy(pairs, share @ both).sum())

    edges = np.log(0.05), np.log(max(levels / 3, 0.5))
    best = float(optimize.minimize_scalar(surprise, bounds=edges, method="bounded", options={"xatol": 1e-4}).x)
    if min(best - edges[0], edges[1] - best) < 1e-2:
        raise ValueError(
            f"the retest table says nothing about the noise: its sd runs to {np.exp(best):.3g} points; it needs "
            "answers that differ, and answers that agree more than by chance"
        )
    return float(np.exp(best))


def retest_noise(table: ArrayLike) -> Floats:
    """Return the (k, k) matrix of misclassification behind a retest: the square root of its transition matrix.

    A retest holds the noise twice. A table of k answers has k(k+1)/2 - 1 free shares, fewer than a free matrix and the
    true shares: what is assumed beyond independent answers is that noise leaves the shares of the answers as they are
    and is as frequent from i to j as from j to i. The corrected slope is then per point of a score that spreads as
    widely as the answers do; for a slope per point of the score itself use `normal_noise`.

    Args:
        table: (k, k) pairs of first and second answers, as counts; the order of the two does not matter. An answer that
            nobody gave keeps to itself.

    Raises:
        ValueError: not a square table of counts, or one that no independent noise gives (negative eigenvalues), as
            chance makes nearly all tables of eleven answers: merge answers or use `retest_sd`.
    """
    counts = _counts(table)
    both = counts + counts.T
    share = both.sum(axis=1)
    both = both + np.diag(np.where(share > 0, 0.0, 1.0))
    share = both.sum(axis=1)
    balanced = both / np.sqrt(np.outer(share, share))
    root, basis = np.linalg.eigh(balanced)
    if root.min() < 1e-10:
        raise ValueError(
            f"the retest table has {int((root < 1e-10).sum())} eigenvalues at or below zero (lowest {root.min():.3g}): "
            "no independent noise gives it; merge answers, for example to three categories, or use retest_sd"
        )
    half = (basis * np.sqrt(root)) @ basis.T
    matrix = half * np.sqrt(share)[None, :] / np.sqrt(share)[:, None]
    return np.asarray(matrix / matrix.sum(axis=1, keepdims=True))


def noise_power(matrix: ArrayLike, zeta: float, *, tolerance: float = 0.01) -> Floats:
    """Return the matrix of misclassification applied zeta times, for any real zeta.

    exp(zeta Q) with Q = log(matrix). Where Q has negative rates they are set to zero and the diagonal adjusted, which
    gives the nearest matrix with proper powers (Israel, Rosenthal & Wei 2001, Mathematical Finance 11): every power
    zeta >= 0 is then a matrix of probabilities. zeta = -1 is the inverse, with entries outside 0..1.

    Args:
        matrix: (k, k) rows of probabilities P(answer j | score i).
        zeta: times.
        tolerance: largest change of a probability by the repair.

    Raises:
        ValueError: rows that are not probabilities, a matrix without a real logarithm (singular, negative or complex
            eigenvalues), or one whose nearest proper matrix is further away than the tolerance.

    Example:
        >>> noise_power([[0.8, 0.2], [0.2, 0.8]], 2).round(2)
        array([[0.68, 0.32],
               [0.32, 0.68]])
    """
    p = _square(matrix, "matrix")
    if (p < -1e-12).any() or np.abs(p.sum(axis=1) - 1).max() > 1e-8:
        raise ValueError("every row of matrix must hold probabilities that add to 1")
    roots = np.linalg.eigvals(p)
    bad = (np.abs(roots.imag) > 1e-8) | (roots.real < 1e-10)
    if bad.any():
        raise ValueError(
            f"matrix has no fractional power: {int(bad.sum())} of its eigenvalues are complex, zero or negative "
            f"(lowest real part {roots.real.min():.3g}); there is more noise than such a scale can show, merge answers"
        )
    rates = np.asarray(np.real(linalg.logm(p)))
    np.fill_diagonal(rates, 0.0)
    rates = np.maximum(rates, 0.0)
    np.fill_diagonal(rates, -rates.sum(axis=1))
    away = float(np.abs(linalg.expm(rates) - p).max())
    if away > tolerance:
        raise ValueError(
            f"matrix has no power whose entries are probabilities: the nearest matrix that has differs by {away:.3g}, "
            f"more than {tolerance:g}; merge answers or raise tolerance"
        )
    return np.asarray(linalg.expm(zeta * rates))


def spread_scores(histogram: ArrayLike, power: ArrayLike) -> Floats:
    """Return sums by score after noise has moved the scores, the expectation over all ways it can.

    Every sum that adds over rows may be spread: rows, money, products. The noise must not depend on anything but the
    score.

    Args:
        histogram: (..., k) sums by score.
        power: (k, k) from `noise_power`; row i says where score i goes.

    Raises:
        ValueError: shapes that do not fit.

    Example:
        >>> spread_scores([10.0, 0.0], noise_power([[0.8, 0.2], [0.2, 0.8]], 1)).round(9)
        array([8., 2.])
    """
    sums, matrix = np.asarray(histogram, dtype=np.float64), _square(power, "power")
    if sums.ndim < 1 or sums.shape[-1] != matrix.shape[0]:
        raise ValueError(f"histogram {sums.shape} must end with the {matrix.shape[0]} scores of power")
    return np.asarray(sums @ matrix)


def _counts(table: ArrayLike) -> Floats:
    counts = _square(table, "table")
    if (counts < 0).any() or counts.sum() <= 0:
        raise ValueError("table must hold counts that are not negative, with a positive sum")
    return counts


def _square(values: ArrayLike, name: str) -> Floats:
    out = np.asarray(values, dtype=np.float64)
    if out.ndim != 2 or out.shape[0] != out.shape[1] or out.shape[0] < 2 or not np.isfinite(out).all():
        raise ValueError(f"{name} must be a square array of finite numbers, at least 2 x 2, got shape {out.shape}")
    return out


@dataclass(frozen=True, kw_only=True)
class Corrected:
    """A number with its sampling variance."""

    value: float
    variance: float

    @property
    def se(self) -> float:
        """Standard error."""
        return float(np.sqrt(self.variance))


def conditional_reliability(
    score_variance: float,
    noise_variance: float,
    *,
    score_variance_variance: float = 0.0,
    noise_variance_variance: float = 0.0,
) -> Corrected:
    """Return the share of signal in what the other regressors leave of the score: (s2 - n2) / s2.

    Always smaller than the plain reliability once controls explain some of the score, and the one that shrinks a
    coefficient. Its variance is that of the delta method, both variances taken as independent.

    Args:
        score_variance: s2, residual variance of the score given the other regressors, in squared points.
        noise_variance: n2, half the variance of the difference of two answers in a retest.
        score_variance_variance: sampling variance of s2.
        noise_variance_variance: sampling variance of n2.

    Raises:
        ValueError: s2 that is not positive, or a negative variance.
    """
    faults = [] if score_variance > 0 else [f"score_variance must be positive, got {score_variance}"]
    if not min(noise_variance, score_variance_variance, noise_variance_variance) >= 0:
        faults.append(
            "noise_variance and the sampling variances must not be negative, got "
            f"{noise_variance}, {score_variance_variance}, {noise_variance_variance}"
        )
    complain(faults)
    variance = (
        noise_variance_variance / score_variance**2 + noise_variance**2 * score_variance_variance / score_variance**4
    )
    return Corrected(value=float(1 - noise_variance / score_variance), variance=float(variance))


def errors_in_variables(
    beta: float, variance: float, *, reliability: float, reliability_variance: float = 0.0
) -> Corrected:
    """Divide the coefficient of a noisy score by its reliability given the other regressors (Fuller 1987, chapter 1).

    V = V(beta) / r^2 + beta^2 V(r) / r^4, the two taken as independent. Right for linear models with noise that has
    nothing to do with the outcome or the other regressors; never for a standardised coefficient, and never twice.

    Args:
        beta: coefficient, per score point.
        variance: of beta.
        reliability: r, conditional on the other regressors (`conditional_reliability`).
        reliability_variance: of r.

    Raises:
        ValueError: numbers that are not finite, negative variances, or a reliability outside 0.3..1.
    """
    faults = []
    if not np.isfinite([beta, variance, reliability, reliability_variance]).all():
        faults.append(f"all numbers must be finite, got {(beta, variance, reliability, reliability_variance)}")
    if min(variance, reliability_variance) < 0:
        faults.append(f"variances must not be negative, got {variance} and {reliability_variance}")
    if reliability > 1:
        faults.append(f"reliability must be at most 1, got {reliability}")
    if reliability < LEAST_RELIABILITY:
        faults.append(
            f"reliability {reliability:.3g} is below {LEAST_RELIABILITY}: too little signal is left beside the other "
            "regressors to correct for noise; use fewer of them, or several answers per customer"
        )
    complain(faults)
    return Corrected(
        value=float(beta / reliability),
        variance=float(variance / reliability**2 + beta**2 * reliability_variance / reliability**4),
    )
