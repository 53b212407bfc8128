"""Score forecasts given as draws against what was measured, the error of the measurement included."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import special, stats

from rox.numerics.arrays import Floats, complain, freeze, in_unit_interval, vector
from rox.numerics.pooling import random_effects

BLOCK = 500
"""Rows of the pairwise table that are held at once."""
STEPS = 200
FEWEST = 10
"""Forecasts from which ranks can tell anything: with fewer, a test of uniformity rejects almost nothing."""


def crps(draws: ArrayLike, actual: float, se: float = 0.0) -> float:
    """Return the continuous ranked probability score of a forecast given as draws, in the unit of the draws.

    The forecast is the empirical distribution of the draws, blurred by the normal error of the measurement, because
    that is what the forecast says of a *measured* value; with ``se=0`` it is E|X - y| - E|X - X'|/2 of the draws
    themselves. Both are exact: no sampling, no binning. For a single draw it is the absolute error.

    Args:
        draws: (n,) draws of the forecast.
        actual: what was measured.
        se: standard error of the measurement.

    Raises:
        ValueError: no draws, values that are not finite, or a negative error.

    References:
        Gneiting & Raftery 2007, equation 21; Grimit et al. 2006, equation 5, for mixtures of normals.

    Example:
        >>> round(crps([0.0, 1.0, 3.0], 1.0), 6)
        0.333333
    """
    x = _draws(draws, actual, se)
    if se == 0:
        n = x.size
        pairs = float(x @ (2 * np.arange(1, n + 1) - n - 1)) / n**2
        return float(np.abs(x - actual).mean() - pairs)
    first = _mean_distance(actual - x, se).mean()
    second = sum(
        float(_mean_distance(x[start : start + BLOCK, None] - x[None, :], np.sqrt(2) * se).sum())
        for start in range(0, x.size, BLOCK)
    )
    return float(first - second / (2 * x.size**2))


def crps_normal(mean: float, sd: float, actual: float) -> float:
    """Return the continuous ranked probability score of a normal forecast (Gneiting et al. 2005, equation 5).

    Raises:
        ValueError: an sd that is not positive.

    Example:
        >>> round(crps_normal(0.0, 1.0, 0.0), 6)
        0.233695
    """
    if not sd > 0:
        raise ValueError(f"sd must be positive, got {sd}")
    z = (actual - mean) / sd
    return float(sd * (z * (2 * special.ndtr(z) - 1) + 2 * _density(np.asarray(z)) - 1 / np.sqrt(np.pi)))


def place_of(draws: ArrayLike, actual: float, se: float = 0.0) -> float:
    """Return the probability integral transform: the share of the blurred forecast that lies below the measured value.

    Ties count half, so that a forecast of one value that came true is at 0.5.

    Raises:
        ValueError: as for :func:`crps`.
    """
    x = _draws(draws, actual, se)
    if se == 0:
        return float(((x < actual) + 0.5 * (x == actual)).mean())
    return float(special.ndtr((actual - x) / se).mean())


def blurred_quantiles(draws: ArrayLike, shares: ArrayLike, se: float = 0.0) -> Floats:
    """Return quantiles (k,) of the draws blurred by a normal error: where a measured value is expected to lie.

    Raises:
        ValueError: as for :func:`crps`, or shares outside 0..1.
    """
    x = _draws(draws, 0.0, se)
    p = vector(shares, "shares")
    if not ((p > 0) & (p < 1)).all():
        raise ValueError(f"shares must lie between 0 and 1, got {p.min()} to {p.max()}")
    if se == 0:
        return np.asarray(np.quantile(x, p))
    low, high = np.full(p.size, x[0] - 9 * se), np.full(p.size, x[-1] + 9 * se)
    for _ in range(STEPS):
        middle = (low + high) / 2
        below = special.ndtr((middle[:, None] - x[None, :]) / se).mean(1) < p
        low, high = np.where(below, middle, low), np.where(below, high, middle)
        if (high - low).max() <= 1e-12 * (x[-1] - x[0] + se):
            break
    return np.asarray((low + high) / 2)


@dataclass(frozen=True, kw_only=True)
class Coverage:
    """How often intervals held what was measured."""

    level: float
    inside: int
    of: int
    share: float
    """Of the intervals that held; NaN without any."""
    low: float
    """Lower end of the exact 90% interval of the share (Clopper & Pearson 1934)."""
    high: float
    p: float
    """Exact two-sided p-value of the nominal level."""


def coverage(places: ArrayLike, level: float) -> Coverage:
    """Count how many central intervals of a level held, from the places of the measured values.

    Args:
        places: (n,) probability integral transforms.
        level: of the interval.

    Raises:
        ValueError: places or a level outside 0..1.
    """
    in_unit_interval(level)
    pit = _places(places)
    inside, n = int((np.abs(pit - 0.5) <= level / 2 + 1e-12).sum()), pit.size
    if not n:
        return Coverage(level=level, inside=0, of=0, share=float("nan"), low=0.0, high=1.0, p=float("nan"))
    found = stats.binomtest(inside, n, level)
    ends = found.proportion_ci(confidence_level=0.90, method="exact")
    return Coverage(
        level=level,
        inside=inside,
        of=n,
        share=inside / n,
        low=float(ends.low),
        high=float(ends.high),
        p=float(found.pvalue),
    )


@dataclass(frozen=True, kw_only=True)
class Ranks:
    """Where the measured values lay within their forecasts."""

    counts: tuple[int, ...]
    """By equal slices of 0..1."""
    p: float
    """Exact p-value of uniformity (Kolmogorov & Smirnov); NaN below 10 forecasts, where it would tell nothing."""


def ranks(places: ArrayLike, bins: int = 5) -> Ranks:
    """Count places by equal slices and test whether they are uniform, as those of honest forecasts are.

    Args:
        places: (n,) probability integral transforms of forecasts that do not share their errors.
        bins: number of slices.

    Raises:
        ValueError: places outside 0..1, or no slices.
    """
    pit = _places(places)
    if bins < 1:
        raise ValueError(f"needs at least one slice, got {bins}")
    counts = np.histogram(pit, bins=bins, range=(0.0, 1.0))[0]
    p = float(stats.kstest(pit, "uniform", method="exact").pvalue) if pit.size >= FEWEST else float("nan")
    return Ranks(counts=tuple(int(each) for each in counts), p=p)


@dataclass(frozen=True, kw_only=True)
class CalibrationLine:
    """A straight line of what was measured on what was forecast. 0 = intercept, 1 = slope."""

    coefficients: Floats
    """(2,)."""
    se: Floats
    """(2,)."""
    low: Floats
    """(2,) lower ends of the intervals."""
    high: Floats
    """(2,)."""
    scatter: float
    """Standard deviation between forecasts beyond what the errors explain, or the square root of the factor by which
    the errors fall short of the scatter (never below 1), where both sides have errors."""
    n: int

    def __post_init__(self) -> None:
        freeze(self, "coefficients", "se", "low", "high")


def line_on_forecast(forecast: ArrayLike, actual: ArrayLike, se: ArrayLike, *, level: float = 0.90) -> CalibrationLine:
    """Regress measured values on the mean of their published forecasts, as the forecasts stand.

    Of calibrated forecasts the slope is one and the intercept zero: the mean of a forecast is the best guess given
    what was known, so its error belongs to the line's scatter and not to the forecast (Mincer & Zarnowitz 1969). The
    scatter beyond the error of measurement is estimated (REML), the intervals are those of Knapp & Hartung (2003).

    Args:
        forecast: (n,) means.
        actual: (n,) measured values.
        se: (n,) their standard errors.
        level: of the intervals.

    Raises:
        ValueError: fewer than 3 pairs, forecasts that are all the same, errors that are not positive.
    """
    in_unit_interval(level)
    x, y, s = _triples(forecast, actual, se, least=3)
    unit = float(np.abs(y).max() + s.max())
    fit = random_effects(y / unit, (s / unit) ** 2, x=np.column_stack([np.ones(x.size), x / unit]))
    spread = np.asarray(fit.gamma_se_adjusted)
    scale = np.array([unit, 1.0])
    half = stats.t.ppf((1 + level) / 2, x.size - 2) * spread
    return CalibrationLine(
        coefficients=fit.gamma * scale,
        se=spread * scale,
        low=(fit.gamma - half) * scale,
        high=(fit.gamma + half) * scale,
        scatter=float(np.sqrt(fit.tau2)) * unit,
        n=x.size,
    )


def line_with_errors(
    forecast: ArrayLike, actual: ArrayLike, forecast_se: ArrayLike, actual_se: ArrayLike, *, level: float = 0.90
) -> CalibrationLine:
    """Fit a line through pairs of which both sides were measured with known, independent errors.

    For estimates as they came out of the data: the error of an estimate flattens an ordinary regression, here it does
    not. Best straight line of York et al. (2004): the unified equations for slope, intercept and their standard
    errors. Where the pairs scatter more than their errors allow, the standard errors are widened by the square root of
    chi-squared over its degrees of freedom. Intervals are Student's with n - 2 degrees of freedom.

    Args:
        forecast: (n,) estimates.
        actual: (n,) measured values.
        forecast_se: (n,) standard errors of the estimates.
        actual_se: (n,) standard errors of the measured values.
        level: of the intervals.

    Raises:
        ValueError: fewer than 3 pairs, errors that are not positive, estimates that are all the same, or a slope that
            cannot be found because the errors are larger than the spread of the estimates.
    """
    in_unit_interval(level)
    x, y, sy = _triples(forecast, actual, actual_se, least=3)
    sx = vector(forecast_se, "forecast_se", x.size)
    if not (sx > 0).all():
        raise ValueError("standard errors of the forecasts must be positive")
    unit_x, unit_y = float(np.abs(x).max()), float(np.abs(y).max() + sy.max())
    x, sx, y, sy = x / unit_x, sx / unit_x, y / unit_y, sy / unit_y
    slope = float(np.polyfit(x, y, 1, w=1 / sy)[0])
    for _ in range(STEPS):
        weight = 1 / (sy**2 + slope**2 * sx**2)
        centre_x, centre_y = float(weight @ x / weight.sum()), float(weight @ y / weight.sum())
        u, v = x - centre_x, y - centre_y
        beta = weight * (u * sy**2 + slope * v * sx**2)
        down = float((weight * beta) @ u)
        new = float((weight * beta) @ v) / down if down else float("nan")
        if not np.isfinite(new) or abs(new) > 1e8:
            raise ValueError("the errors are larger than the spread of the estimates: no line can be found")
        if abs(new - slope) <= 1e-14 * max(1.0, abs(new)):
            slope = new
            break
        slope = new
    weight = 1 / (sy**2 + slope**2 * sx**2)
    adjusted = centre_x + beta
    middle = float(weight @ adjusted / weight.sum())
    se_slope = float(1 / np.sqrt(weight @ (adjusted - middle) ** 2))
    se_intercept = float(np.sqrt(1 / weight.sum() + middle**2 * se_slope**2))
    intercept = centre_y - slope * centre_x
    ratio = float(weight @ (y - intercept - slope * x) ** 2) / (x.size - 2)
    widen = max(1.0, np.sqrt(ratio))
    scale = np.array([unit_y, unit_y / unit_x])
    found, spread = np.array([intercept, slope]) * scale, np.array([se_intercept, se_slope]) * widen * scale
    half = stats.t.ppf((1 + level) / 2, x.size - 2) * spread
    return CalibrationLine(
        coefficients=found, se=spread, low=found - half, high=found + half, scatter=float(widen), n=x.size
    )


def skill(score: ArrayLike, reference: ArrayLike) -> float:
    """Return by what share a score beats a reference's over the same forecasts; NaN where the reference is perfect.

    One minus the ratio of the sums: above zero the forecasts were worth having.

    Raises:
        ValueError: two sets of different size.
    """
    mine = vector(score, "score")
    theirs = vector(reference, "reference", mine.size)
    return float(1 - mine.sum() / theirs.sum()) if theirs.sum() > 0 else float("nan")


def _draws(draws: ArrayLike, actual: float, se: float) -> Floats:
    x = np.sort(vector(draws, "draws"))
    faults = [] if x.size else ["no draws"]
    if not np.isfinite(actual):
        faults.append(f"the measured value is {actual}")
    if not (np.isfinite(se) and se >= 0):
        faults.append(f"the standard error must not be negative, got {se}")
    complain(faults)
    return x


def _places(places: ArrayLike) -> Floats:
    pit = vector(places, "places")
    if pit.size and not (pit.min() >= 0 and pit.max() <= 1):
        raise ValueError(f"places must lie in 0..1, got {pit.min()} to {pit.max()}")
    return pit


def _triples(forecast: ArrayLike, actual: ArrayLike, se: ArrayLike, *, least: int) -> tuple[Floats, Floats, Floats]:
    x = vector(forecast, "forecast")
    y, s = vector(actual, "actual", x.size), vector(se, "se", x.size)
    faults = []
    if x.size < least:
        faults.append(f"needs {least} pairs or more, got {x.size}")
    elif not np.ptp(x) > 0:
        faults.append("all forecasts are the same; a line needs different ones")
    if not (s > 0).all():
        faults.append("standard errors of the measured values must be positive")
    complain(faults)
    return x, y, s


def _density(z: Floats) -> Floats:
    return np.asarray(np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi))


def _mean_distance(gap: Floats, sd: float) -> Floats:
    """Return the mean of |N(gap, sd squared)|."""
    z = gap / sd
    return np.asarray(2 * sd * _density(z) + gap * (2 * special.ndtr(z) - 1))
