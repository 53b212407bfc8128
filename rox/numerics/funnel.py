"""Funnels: the share that passes every step, what two forms differ by, and which step the difference comes from.

A relative change says nothing without its base, so both are always given together: 0.30 to 0.45 is +50% and +15 points.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from rox.numerics.arrays import Floats, complain, freeze, in_unit_interval
from rox.numerics.intervals import wilson_interval

NEAR = 1e-4
"""Log ratio below which the logarithmic mean is expanded rather than divided."""


@dataclass(frozen=True, kw_only=True, eq=False)
class StepRates:
    """The way through a funnel of one form.

    ``rates`` and ``variances`` have shape (step,): the share passing a step of those who come to it. ``total`` is their
    product, the share of all who begin that passes the last step.
    """

    rates: Floats
    variances: Floats
    total: float
    variance: float
    log_variance: float
    """Of log(total): the sum over steps of (1 - r) / (number passing), which telescopes to (1 - P) / (n P)."""

    def __post_init__(self) -> None:
        freeze(self, "rates", "variances")


def step_rates(counts: ArrayLike) -> StepRates:
    """Estimate the share passing each step and their product.

    Args:
        counts: (step + 1,): how many begin, pass the first step, the second, …; none may exceed the one before.

    Raises:
        ValueError: counts that rise or are negative, or a step that nobody comes to.

    Example:
        >>> found = step_rates([100, 80, 40])
        >>> found.rates.tolist(), found.total
        ([0.8, 0.5], 0.4)
    """
    n = np.asarray(counts, dtype=np.float64)
    faults = []
    if n.ndim != 1 or n.size < 2 or not np.isfinite(n).all():
        faults.append(f"counts must be one-dimensional, finite and hold at least two, got shape {n.shape}")
    elif (np.diff(n) > 0).any() or n[-1] < 0:
        faults.append(f"counts must not rise from step to step nor be negative, got {n.tolist()}")
    elif not n[-2] > 0:
        faults.append(f"nobody comes to the last step, counts {n.tolist()}: leave out the steps nobody comes to")
    complain(faults)
    rates = n[1:] / n[:-1]
    total = float(n[-1] / n[0])
    return StepRates(
        rates=rates,
        variances=rates * (1 - rates) / n[:-1],
        total=total,
        variance=total * (1 - total) / float(n[0]),
        log_variance=(1 - total) / float(n[-1]) if n[-1] > 0 else float("inf"),
    )


@dataclass(frozen=True, kw_only=True)
class ShareChange:
    """A share under two forms, in both ways at once."""

    base: float
    new: float
    relative: float
    """new / base - 1."""
    relative_low: float
    relative_high: float
    difference: float
    """new - base, a share."""
    low: float
    high: float
    log_ratio: float
    log_variance: float
    level: float


def share_change(passed: float, n: float, base_passed: float, base_n: float, *, level: float = 0.9) -> ShareChange:
    """Compare two independent shares, relatively and absolutely.

    The relative interval is that of the log risk ratio, V = (1 - p1) / (n1 p1) + (1 - p0) / (n0 p0) (Katz et al. 1978,
    Biometrics 34); the absolute one is method 10 of Newcombe (1998, Statistics in Medicine 17).

    Args:
        passed: how many pass in the new form.
        n: of how many.
        base_passed: how many pass in the old form.
        base_n: of how many.
        level: of the intervals.

    Raises:
        ValueError: numbers that are no shares, or a form that nobody passes.

    Example:
        >>> found = share_change(45, 100, 30, 100)
        >>> round(found.relative, 3), round(found.difference, 3)
        (0.5, 0.15)
    """
    in_unit_interval(level)
    faults = [
        f"{name} form: {x:g} of {m:g} is no share above 0; a relative change needs somebody who passes"
        for name, x, m in (("new", passed, n), ("old", base_passed, base_n))
        if not (m > 0 and 0 < x <= m)
    ]
    complain(faults)
    p1, p0 = passed / n, base_passed / base_n
    log_ratio = float(np.log(p1 / p0))
    variance = (1 - p1) / (n * p1) + (1 - p0) / (base_n * p0)
    half = float(special.ndtri((1 + level) / 2) * np.sqrt(variance))
    low, high = newcombe_interval(passed, n, base_passed, base_n, level=level)
    return ShareChange(
        base=p0,
        new=p1,
        relative=p1 / p0 - 1,
        relative_low=float(np.expm1(log_ratio - half)),
        relative_high=float(np.expm1(log_ratio + half)),
        difference=p1 - p0,
        low=low,
        high=high,
        log_ratio=log_ratio,
        log_variance=variance,
        level=level,
    )


def newcombe_interval(
    passed: float, n: float, base_passed: float, base_n: float, *, level: float = 0.9
) -> tuple[float, float]:
    """Return the hybrid score interval of a difference of two shares (Newcombe 1998, method 10).

    Args:
        passed: how many pass in the new form.
        n: of how many.
        base_passed: how many pass in the old form.
        base_n: of how many.
        level: of the interval.

    Raises:
        ValueError: numbers that are no shares.
    """
    p1, p0 = passed / n, base_passed / base_n
    (low1, high1), (low0, high0) = wilson_interval(p1, n, level=level), wilson_interval(p0, base_n, level=level)
    return (
        float(p1 - p0 - np.hypot(p1 - low1, high0 - p0)),
        float(p1 - p0 + np.hypot(high1 - p1, p0 - low0)),
    )


def log_mean(a: float, b: float) -> float:
    """Return the logarithmic mean (a - b) / ln(a / b), a itself when both are equal.

    Raises:
        ValueError: a number that is not positive.

    Example:
        >>> round(log_mean(2.0, 1.0), 4)
        1.4427
    """
    complain([f"a logarithmic mean is of positive numbers, got {each}" for each in (a, b) if not each > 0])
    d = float(np.log(a / b))
    if abs(d) < NEAR:
        return float(b * (1 + d / 2 + d**2 / 6))
    return float((a - b) / d)


@dataclass(frozen=True, kw_only=True, eq=False)
class StepAttribution:
    """What each step adds to the change of the whole; arrays (step,), which add up exactly."""

    contributions: Floats
    """In the share of all who begin: they add up to P1 - P0."""
    se: Floats
    """NaN where no covariance was given."""
    log_ratios: Floats
    """ln(r1 / r0) of the steps: they add up to ln(P1 / P0)."""
    log_se: Floats

    def __post_init__(self) -> None:
        freeze(self, "contributions", "se", "log_ratios", "log_se")


def attribute_steps(reach: ArrayLike, base_reach: ArrayLike, covariance: ArrayLike | None = None) -> StepAttribution:
    """Split the change of the share passing all steps over the steps, exactly and without order.

    The contribution of step j is L(P1, P0) ln(r1j / r0j) with L the logarithmic mean (Ang 2004, Energy Policy 32,
    LMDI-I). Errors are by the delta method.

    Args:
        reach: (step,) share of all who begin that passes each step in the new form, not rising.
        base_reach: (step,) in the old form.
        covariance: (2 step, 2 step) of the old form's shares followed by the new form's.

    Raises:
        ValueError: shares that rise, are not above 0 or above 1, or arrays that do not fit together.

    Example:
        >>> attribute_steps([0.9, 0.45], [0.9, 0.30]).contributions.round(12).tolist()
        [0.0, 0.15]
    """
    new, old = _reach(reach, "reach"), _reach(base_reach, "base_reach")
    steps = new.size
    faults = [] if old.size == steps else [f"the forms have {steps} and {old.size} steps"]
    v = None if covariance is None else np.asarray(covariance, dtype=np.float64)
    if v is not None and v.shape != (2 * steps, 2 * steps):
        faults.append(f"covariance must be ({2 * steps}, {2 * steps}), got {v.shape}")
    complain(faults)
    ratios = np.diff(np.log(new / old), prepend=0.0)
    mean = log_mean(float(new[-1]), float(old[-1]))
    if v is None:
        unknown = np.full(steps, np.nan)
        return StepAttribution(contributions=mean * ratios, se=unknown, log_ratios=ratios, log_se=unknown)
    differences = np.eye(steps) - np.eye(steps, k=-1)
    logs = np.hstack([-differences / old, differences / new])
    slopes = mean * logs
    by_old, by_new = _log_mean_slopes(float(new[-1]), float(old[-1]))
    slopes[:, steps - 1] += ratios * by_old
    slopes[:, -1] += ratios * by_new
    return StepAttribution(
        contributions=mean * ratios, se=_errors(slopes, v), log_ratios=ratios, log_se=_errors(logs, v)
    )


def _reach(values: ArrayLike, name: str) -> Floats:
    reach = np.asarray(values, dtype=np.float64)
    faults = []
    if reach.ndim != 1 or not reach.size:
        faults.append(f"{name} must be one-dimensional and not empty, got shape {reach.shape}")
    elif not ((reach > 0) & (reach <= 1)).all() or (np.diff(reach) > 1e-12).any():
        faults.append(f"{name} must be shares above 0 that do not rise, got {reach.tolist()}")
    complain(faults)
    return reach


def _log_mean_slopes(new: float, old: float) -> tuple[float, float]:
    """Return the slopes of the logarithmic mean in the old and in the new share."""
    d = float(np.log(new / old))
    if abs(d) < NEAR:
        return 0.5 + d / 6, 0.5 - d / 6
    mean = (new - old) / d
    return (mean / old - 1) / d, (1 - mean / new) / d


def _errors(slopes: Floats, covariance: Floats) -> Floats:
    return np.asarray(np.sqrt(np.maximum(np.einsum("ij,jk,ik->i", slopes, covariance, slopes), 0.0)))


def lot_p_value(counts: Sequence[float] | Floats, shares: Sequence[float] | Floats) -> float:
    """Return the p-value of a lot that was to give these shares (Pearson's chi-squared, sample-ratio mismatch).

    Args:
        counts: (arm,) how many got each arm.
        shares: (arm,) what the lot was to give, adding up to 1.

    Raises:
        ValueError: counts or shares that are none.

    Example:
        >>> round(lot_p_value([5050, 4950], [0.5, 0.5]), 3)
        0.317
    """
    n, share = np.asarray(counts, dtype=np.float64), np.asarray(shares, dtype=np.float64)
    faults = []
    if n.shape != share.shape or n.ndim != 1 or n.size < 2:
        faults.append(f"needs as many counts as shares, two or more; got shapes {n.shape} and {share.shape}")
    elif not ((share > 0).all() and abs(share.sum() - 1) < 1e-9):
        faults.append(f"shares must be above 0 and add up to 1, got {share.tolist()}")
    elif not ((n >= 0).all() and n.sum() > 0):
        faults.append(f"counts must not be negative nor all 0, got {n.tolist()}")
    complain(faults)
    expected = n.sum() * share
    return float(special.chdtrc(n.size - 1, ((n - expected) ** 2 / expected).sum()))
