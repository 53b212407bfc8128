"""Compare the arms of an experiment from sums of each arm: means, shares, ratios, less what was known before (CUPED).

Everything an arm has to tell is its number of rows, the means of its columns and their products about the means; these
add over machines and months (Chan, Golub & LeVeque 1983), so rows need not be at hand. k = columns.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import special, stats

from rox.numerics.arrays import Floats, complain, freeze, in_unit_interval
from rox.numerics.intervals import wilson_interval


@dataclass(frozen=True, kw_only=True)
class Moments:
    """Rows, means and centred cross-products of the columns of one arm."""

    n: float
    mean: Floats
    """(k,)."""
    products: Floats
    """(k, k) sums over rows of products of deviations from the mean."""

    def __post_init__(self) -> None:
        k = np.size(self.mean)
        faults = []
        if np.shape(self.mean) != (k,) or np.shape(self.products) != (k, k):
            faults.append(f"needs mean (k,) and products (k, k), got {np.shape(self.mean)}, {np.shape(self.products)}")
        elif not (np.isfinite(self.mean).all() and np.isfinite(self.products).all()):
            faults.append("means and products must be finite; drop rows with missing values first")
        if not self.n >= 1:
            faults.append(f"an arm needs at least one row, got n = {self.n}")
        complain(faults)
        freeze(self, "mean", "products")

    def __add__(self, other: Moments) -> Moments:
        """Give the moments of the rows of both."""
        n = self.n + other.n
        gap = other.mean - self.mean
        return Moments(
            n=n,
            mean=self.mean + gap * (other.n / n),
            products=self.products + other.products + np.outer(gap, gap) * (self.n * other.n / n),
        )

    @property
    def covariance(self) -> Floats:
        """(k, k) sample covariance of the columns; needs two rows."""
        if self.n < 2:
            raise ValueError("a variance needs at least two rows in the arm")
        return np.asarray(self.products / (self.n - 1))


def moments(rows: ArrayLike) -> Moments:
    """Reduce the rows of an arm, shape (n,) or (n, k).

    Raises:
        ValueError: no rows, or missing values.
    """
    x = np.asarray(rows, dtype=np.float64)
    x = x[:, None] if x.ndim == 1 else x
    if x.ndim != 2 or not len(x):
        raise ValueError(f"an arm needs rows of shape (n,) or (n, k), got {np.shape(rows)}")
    mean = x.mean(0)
    return Moments(n=float(len(x)), mean=mean, products=(x - mean).T @ (x - mean))


def moments_of_sums(n: float, sums: ArrayLike, products: ArrayLike) -> Moments:
    """Reduce n, sums (k,) and sums of products (k, k), as a warehouse gives them.

    Sums of squares of large numbers that differ little lose digits: subtract a constant from the columns first.

    Raises:
        ValueError: shapes that do not fit, or squares that are smaller than the sums allow.
    """
    total, cross = np.atleast_1d(np.asarray(sums, dtype=np.float64)), np.asarray(products, dtype=np.float64)
    cross = cross.reshape(1, 1) if cross.ndim == 0 else cross
    if cross.shape != (total.size, total.size) or not n >= 1:
        raise ValueError(f"needs n >= 1, sums (k,) and products (k, k), got {n}, {total.shape} and {cross.shape}")
    centred = cross - np.outer(total, total) / n
    if (np.diag(centred) < -1e-9 * np.abs(np.diag(cross))).any():
        raise ValueError("sums of squares are smaller than the squares of the sums allow; are they of the same rows?")
    floor = np.maximum(np.diag(centred), 0.0)
    centred[np.diag_indices_from(centred)] = floor
    return Moments(n=float(n), mean=total / n, products=centred)


@dataclass(frozen=True, kw_only=True)
class Contrast:
    """A treated arm less a control arm."""

    estimate: float
    se: float
    df: float
    """Of Welch and Satterthwaite; infinite for normal intervals."""
    low: float
    high: float
    p: float
    """Two-sided."""
    level: float
    treated: float
    """Value of the treated arm, adjusted if the contrast is."""
    control: float
    relative: float
    """Treated over control less 1; NaN unless both have one sign."""
    relative_low: float
    """Of the interval on the log of the ratio, by the delta method."""
    relative_high: float


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A column's mean, or the ratio of the means of two columns, such as orders per session of users.

    Attributes:
        value: Column.
        per: Column of the denominator; None for a mean.
    """

    value: int
    per: int | None = None

    def level(self, arm: Moments) -> float:
        """Return the metric of an arm."""
        return float(arm.mean[self.value] / (1.0 if self.per is None else arm.mean[self.per]))

    def gradient(self, arm: Moments) -> Floats:
        """Return the derivatives of the metric by the means of the columns, shape (k,)."""
        slope = np.zeros(arm.mean.size)
        if self.per is None:
            slope[self.value] = 1.0
            return slope
        slope[self.value] = 1 / arm.mean[self.per]
        slope[self.per] -= self.level(arm) / arm.mean[self.per]
        return slope


def compare_arms(
    treated: Moments, control: Moments, metric: Metric, *, earlier: Metric | None = None, level: float = 0.9
) -> Contrast:
    """Compare a mean or a ratio of means between two arms, with Welch's interval.

    Estimand: intention to treat, the metric if all were assigned to treatment less the metric if none were. Assumes
    that arms were assigned at random, row by row. For a mean the standard error is that of a regression on the arm
    with HC2 errors. A ratio is linearised (delta method; Deng, Knoblich & Lu 2018, KDD). With an earlier metric its
    best multiple is taken off (CUPED; Deng, Xu, Kohavi & Walker 2013, WSDM), the multiple from both arms together,
    which cuts the variance to 1 - rho^2 of itself and is right only if assignment could not move the earlier metric.

    Args:
        treated: the treated arm.
        control: the control arm, of the same columns.
        metric: what is compared.
        earlier: the same kind of number from before the assignment.
        level: of the interval.

    Raises:
        ValueError: arms of different columns, a single row, or a denominator whose mean is zero.

    Example:
        >>> arms = moments([[5, 4], [7, 6], [9, 7], [6, 6]]), moments([[3, 5], [4, 5], [6, 8], [5, 7]])
        >>> plain = compare_arms(*arms, Metric(value=0))
        >>> cuped = compare_arms(*arms, Metric(value=0), earlier=Metric(value=1))
        >>> round(plain.estimate, 2), round(cuped.estimate, 2), cuped.se < plain.se
        (2.25, 2.62, True)
    """
    in_unit_interval(level)
    columns = [each for part in (metric, earlier) if part for each in (part.value, part.per) if each is not None]
    faults = []
    if treated.mean.shape != control.mean.shape or max(columns) >= control.mean.size:
        faults.append(
            f"the arms have {treated.mean.size} and {control.mean.size} columns; the metrics ask for {columns}"
        )
    elif any(
        part is not None and part.per is not None and arm.mean[part.per] == 0
        for part in (metric, earlier)
        for arm in (treated, control)
    ):
        faults.append("a denominator has mean zero in an arm: its ratio is not defined")
    complain(faults)
    slope, centre = 0.0, 0.0
    if earlier is not None:
        both = treated + control
        a, b = metric.gradient(both), earlier.gradient(both)
        spread = float(b @ both.covariance @ b)
        slope = float(a @ both.covariance @ b) / spread if spread > 0 else 0.0
        centre = earlier.level(both)
    values, variances = [], []
    for arm in (treated, control):
        gradient = metric.gradient(arm) - (0.0 if earlier is None else slope * earlier.gradient(arm))
        values.append(metric.level(arm) - (0.0 if earlier is None else slope * (earlier.level(arm) - centre)))
        variances.append(float(gradient @ arm.covariance @ gradient) / arm.n)
    return welch(values[0], variances[0], treated.n, values[1], variances[1], control.n, level=level)


def welch(
    treated: float,
    treated_variance: float,
    treated_n: float,
    control: float,
    control_variance: float,
    control_n: float,
    *,
    level: float = 0.9,
) -> Contrast:
    """Compare two independent estimates whose variances rest on n - 1 degrees of freedom each (Welch 1947).

    Args:
        treated: estimate of the treated arm.
        treated_variance: its sampling variance.
        treated_n: rows, or clusters, behind it.
        control: estimate of the control arm.
        control_variance: its sampling variance.
        control_n: likewise.
        level: of the interval.
    """
    se = float(np.sqrt(treated_variance + control_variance))
    df = satterthwaite([treated_variance, control_variance], [treated_n - 1, control_n - 1])
    half = special.stdtrit(df, (1 + level) / 2) * se
    gap = treated - control
    relative, low, high = _log_ratio(
        treated, treated_variance, treated_n - 1, control, control_variance, control_n - 1, level
    )
    return Contrast(
        estimate=gap,
        se=se,
        df=df,
        low=gap - half,
        high=gap + half,
        p=p_of(gap, se, df),
        level=level,
        treated=treated,
        control=control,
        relative=relative,
        relative_low=low,
        relative_high=high,
    )


def _log_ratio(
    treated: float, v1: float, df1: float, control: float, v0: float, df0: float, level: float
) -> tuple[float, float, float]:
    if not treated * control > 0:
        return (float("nan"),) * 3
    parts = [v1 / treated**2, v0 / control**2]
    half = special.stdtrit(satterthwaite(parts, [df1, df0]), (1 + level) / 2) * np.sqrt(sum(parts))
    ratio = treated / control
    return ratio - 1, float(ratio * np.exp(-half) - 1), float(ratio * np.exp(half) - 1)


def satterthwaite(variances: ArrayLike, dfs: ArrayLike) -> float:
    """Return the degrees of freedom of a sum of independent variance estimates (Satterthwaite 1946)."""
    v, df = np.asarray(variances, dtype=np.float64), np.asarray(dfs, dtype=np.float64)
    spread = float((v**2 / np.maximum(df, 1e-12)).sum())
    return float(v.sum() ** 2 / spread) if spread > 0 else float(df.sum())


def p_of(estimate: float, se: float, df: float = np.inf) -> float:
    """Return the two-sided p-value that an estimate differs from zero; NaN without a standard error."""
    if not se > 0:
        return float("nan")
    t = abs(estimate) / se
    return float(2 * (stats.norm.sf(t) if np.isinf(df) else stats.t.sf(t, df)))


def compare_shares(
    treated_events: float, treated_n: float, control_events: float, control_n: float, *, level: float = 0.9
) -> Contrast:
    """Compare two shares with Newcombe's interval from score limits, which stays within -1..1 at zero and full cells.

    Source: Newcombe (1998, Statistics in Medicine 17), method 10. `se` is Wald's; the p-value is Pearson's chi-squared
    without correction, NaN where no or all rows have the event.

    Args:
        treated_events: events in the treated arm.
        treated_n: its size.
        control_events: events in the control arm.
        control_n: its size.
        level: of the interval.

    Raises:
        ValueError: events that are negative or more than the rows.

    Example:
        >>> gap = compare_shares(56, 70, 48, 80, level=0.95)
        >>> round(gap.low, 4), round(gap.high, 4)
        (0.0524, 0.3339)
    """
    if not (0 <= treated_events <= treated_n and 0 <= control_events <= control_n and min(treated_n, control_n) > 0):
        raise ValueError(
            f"needs 0 <= events <= n and n > 0, got {treated_events}/{treated_n} and {control_events}/{control_n}"
        )
    p1, p0 = treated_events / treated_n, control_events / control_n
    (l1, u1), (l0, u0) = (wilson_interval(p, n, level=level) for p, n in ((p1, treated_n), (p0, control_n)))
    v1, v0 = p1 * (1 - p1) / treated_n, p0 * (1 - p0) / control_n
    pooled = (treated_events + control_events) / (treated_n + control_n)
    null_se = np.sqrt(pooled * (1 - pooled) * (1 / treated_n + 1 / control_n))
    relative, low, high = _log_ratio(p1, v1, np.inf, p0, v0, np.inf, level)
    return Contrast(
        estimate=p1 - p0,
        se=float(np.sqrt(v1 + v0)),
        df=np.inf,
        low=float(max(p1 - p0 - np.hypot(p1 - l1, u0 - p0), -1.0)),
        high=float(min(p1 - p0 + np.hypot(u1 - p1, p0 - l0), 1.0)),
        p=p_of(p1 - p0, float(null_se)),
        level=level,
        treated=p1,
        control=p0,
        relative=relative,
        relative_low=low,
        relative_high=high,
    )
