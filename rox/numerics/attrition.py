"""Bound the effect of an assignment when one arm loses more outcomes than the other."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import optimize, special

from rox.numerics.arrays import Floats, complain, in_unit_interval


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """Bounds of an effect, and an interval that holds the effect itself at the level given."""

    low: float
    high: float
    low_se: float
    high_se: float
    interval_low: float
    """Of Imbens & Manski (2004)."""
    interval_high: float
    level: float
    trimmed: float
    """Share of the arm with more outcomes that is left out at one end; 0 when none is."""


def lee_bounds(
    treated: ArrayLike, treated_n: float, control: ArrayLike, control_n: float, *, level: float = 0.9
) -> Bounds:
    """Bound the effect on those whose outcome is seen whichever arm they are in.

    The arm with more outcomes holds some that the other arm would have lost; which, is unknown. At worst they are all
    its largest, or all its smallest. It assumes random assignment and that assignment moves everybody's chance of being
    seen the same way, if at all (Lee 2009, Review of Economic Studies 76, propositions 1a and 3; intervals by Imbens &
    Manski 2004, Econometrica 72). Outcomes that tie at the trimming point are split.

    Args:
        treated: (n1,) outcomes that were seen in the treated arm.
        treated_n: rows assigned to it.
        control: (n0,) outcomes seen in the control arm.
        control_n: rows assigned to it.
        level: of the interval.

    Raises:
        ValueError: fewer than two outcomes in an arm, more outcomes than rows, or missing values among the outcomes.

    Example:
        >>> bounds = lee_bounds([1, 2, 3, 4], 5, [1, 2, 2], 5)
        >>> round(bounds.trimmed, 2), round(bounds.low, 2), round(bounds.high, 2)
        (0.25, 0.33, 1.33)
    """
    in_unit_interval(level)
    y1, y0 = np.asarray(treated, dtype=np.float64), np.asarray(control, dtype=np.float64)
    faults = [
        f"{name}: needs at least two finite outcomes and no more than the {n:g} rows of the arm, got {y.size}"
        for name, y, n in (("treated", y1, treated_n), ("control", y0, control_n))
        if y.ndim != 1 or not 2 <= y.size <= n or not np.isfinite(y).all()
    ]
    complain(faults)
    seen1, seen0 = y1.size / treated_n, y0.size / control_n
    if seen1 < seen0:
        swapped = lee_bounds(y0, control_n, y1, treated_n, level=level)
        return Bounds(
            low=-swapped.high,
            high=-swapped.low,
            low_se=swapped.high_se,
            high_se=swapped.low_se,
            interval_low=-swapped.interval_high,
            interval_high=-swapped.interval_low,
            level=level,
            trimmed=swapped.trimmed,
        )
    p = 1 - seen0 / seen1
    spare = float(y0.var(ddof=1) / y0.size)
    share = (1 - seen1) / (treated_n * seen1) + (1 - seen0) / (control_n * seen0)
    low, low_variance = _trimmed(y1, p, share)
    high, high_variance = _trimmed(-y1, p, share)
    ends = low - y0.mean(), -high - y0.mean()
    errors = np.sqrt(low_variance + spare), np.sqrt(high_variance + spare)
    interval = imbens_manski(*ends, *errors, level=level)
    return Bounds(
        low=float(ends[0]),
        high=float(ends[1]),
        low_se=float(errors[0]),
        high_se=float(errors[1]),
        interval_low=interval[0],
        interval_high=interval[1],
        level=level,
        trimmed=float(p),
    )


def _trimmed(y: Floats, p: float, share: float) -> tuple[float, float]:
    """Average all but the largest share p of outcomes, with Lee's variance.

    `share` times (1 - p)^2 is the variance of p.
    """
    order = np.sort(y)
    keep = (1 - p) * y.size
    weight = np.clip(keep - np.arange(y.size), 0, 1)
    mean = float(weight @ order / keep)
    cut = float(order[min(int(np.ceil(keep - 1e-9)) - 1, y.size - 1)])
    within = float(weight @ (order - mean) ** 2 / max(keep - 1, 1.0))
    return mean, within / keep + (cut - mean) ** 2 * (p / keep + share)


def imbens_manski(low: float, high: float, low_se: float, high_se: float, *, level: float = 0.9) -> tuple[float, float]:
    """Return the interval that holds an effect known up to bounds (Imbens & Manski 2004, equations 6-7).

    Between the one-sided interval when the bounds are far apart and the two-sided one when they meet.

    Raises:
        ValueError: bounds in the wrong order, or negative errors.
    """
    in_unit_interval(level)
    if not low <= high + 1e-12 or not min(low_se, high_se) >= 0:
        raise ValueError(f"needs low <= high and errors of 0 or more, got {low}, {high}, {low_se}, {high_se}")
    widest = max(low_se, high_se)
    if widest == 0:
        return low, high
    gap = (high - low) / widest
    reach = float(optimize.brentq(lambda c: special.ndtr(c + gap) - special.ndtr(-c) - level, 0, 40, xtol=1e-12))
    return low - reach * low_se, high + reach * high_se


def mean_bounds(seen: ArrayLike, n: float, *, lowest: float, highest: float) -> tuple[float, float]:
    """Bound a mean of n rows of which some were not seen, knowing only the range (Horowitz & Manski 2000).

    Raises:
        ValueError: outcomes outside the range, more than n, or missing.
    """
    y = np.asarray(seen, dtype=np.float64)
    if y.ndim != 1 or y.size > n or not n > 0 or not ((y >= lowest) & (y <= highest)).all():
        raise ValueError(f"needs at most {n:g} outcomes within {lowest:g}..{highest:g}, none missing; got {y.size}")
    missing = n - y.size
    return float((y.sum() + missing * lowest) / n), float((y.sum() + missing * highest) / n)
