"""Put intervals and simultaneous bands around survival and incidence curves.

Pointwise intervals hold at one time chosen beforehand; a band holds along a whole stretch of time at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import optimize, stats

from rox.numerics.arrays import Bools, Floats, choice, freeze, in_unit_interval
from rox.numerics.incidence import Curves

SCALES = ("log-log", "log", "plain")
BANDS = ("hall-wellner", "equal-precision")


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """Lower and upper bounds of curves. t = times, g = groups."""

    low: Floats
    """(t, g); NaN where no bound can be given."""
    high: Floats
    """(t, g)."""
    level: float

    def __post_init__(self) -> None:
        freeze(self, "low", "high")


def pointwise(curves: Curves, *, level: float = 0.9, scale: str = "log-log") -> Bounds:
    """Compute an interval at every time: normal on a scale that keeps to 0..1 (Kalbfleisch & Prentice 2002, 1.4).

    Args:
        curves: survival or incidence.
        level: of each interval.
        scale: "log-log", "log" or "plain"; plain and log intervals are cut at 0 and 1.

    Raises:
        ValueError: an unknown scale or a level outside 0..1.
    """
    in_unit_interval(level)
    choice(scale, SCALES, "scale")
    return _around(curves, curves.se * stats.norm.ppf((1 + level) / 2), level, scale)


def simultaneous(
    curves: Curves,
    *,
    kind: str = "equal-precision",
    level: float = 0.9,
    scale: str = "log-log",
    window: tuple[float, float] | None = None,
) -> Bounds:
    """Compute a band that holds the whole survival curve within a window of time (Klein & Moeschberger 2003, 4.4).

    Equal precision (Nair 1984) widens the pointwise interval by a factor; Hall & Wellner's (1980) has its width where
    the data are. Critical values are those of the limiting Brownian bridge: exact for Hall-Wellner, by Miller &
    Siegmund's (1982) tail formula for equal precision, where short windows come out up to 0.1 too wide.

    Args:
        curves: survival.
        kind: "equal-precision" or "hall-wellner".
        level: of the band.
        scale: "log-log", "log" or "plain".
        window: first and last time; default each group's first event time to the last time with survival above zero
            and at least a twentieth of the largest number at risk.

    Returns:
        Bounds, NaN outside the window and before the first event.

    Raises:
        ValueError: incidence curves, an unknown kind or scale, or a level outside 0..1.
    """
    in_unit_interval(level)
    choice(kind, BANDS, "kind")
    choice(scale, SCALES, "scale")
    if curves.kind != "survival":
        raise ValueError("simultaneous bands are for survival curves; incidence has pointwise intervals")
    half = np.full(curves.value.shape, np.nan)
    for group in range(curves.groups.size):
        rows = _window(curves, group, window)
        if not rows.any():
            continue
        n = float(curves.at_risk[:, group].max())
        variance = curves.log_variance[rows, group]
        odds = n * variance
        share = odds / (1 + odds)
        low, high = float(share[0]), float(share[-1])
        survival = curves.value[rows, group]
        if kind == "hall-wellner":
            half[rows, group] = bridge_quantile(level, low, high) * (1 + odds) / np.sqrt(n) * survival
        else:
            half[rows, group] = precision_quantile(level, low, high) * np.sqrt(variance) * survival
    return _around(curves, half, level, scale)


@lru_cache(maxsize=256)
def bridge_quantile(level: float, low: float, high: float) -> float:
    """Return k with P(|B(u)| <= k for low <= u <= high) = level, B a Brownian bridge on 0..1.

    By reflection (Billingsley 1968, section 11), integrated over the ends of the stretch.

    Raises:
        ValueError: a stretch that does not lie within 0..1.

    Example:
        >>> round(bridge_quantile(0.95, 0.0, 1.0), 4)
        1.3581
    """
    in_unit_interval(level)
    if not 0 <= low <= high <= 1 or (low == high and low in (0.0, 1.0)):
        raise ValueError(f"a stretch of the bridge must lie within 0..1, got {low}..{high}")
    middle = min(max(low, 0.5), high)
    at_least = float(stats.norm.ppf((1 + level) / 2)) * np.sqrt(middle * (1 - middle))
    if (high - low) * 400 < at_least**2:
        return float(at_least)
    return float(optimize.brentq(lambda k: _stays(k, low, high) - level, 0.99 * at_least, 5.0, xtol=1e-8))


@lru_cache(maxsize=256)
def precision_quantile(level: float, low: float, high: float) -> float:
    """Return c with P(|B(u)| <= c·sqrt(u(1 - u)) for low <= u <= high) = level, B a Brownian bridge on 0..1.

    Miller & Siegmund's (1982) tail formula, never below the normal quantile of a single point.

    Raises:
        ValueError: a stretch that reaches 0 or 1, where the band would be infinitely wide.

    Example:
        >>> round(precision_quantile(0.95, 0.1, 0.9), 2)
        3.05
    """
    in_unit_interval(level)
    if not 0 < low <= high < 1:
        raise ValueError(f"the stretch must lie strictly within 0..1, got {low}..{high}")
    length = np.log(high * (1 - low) / (low * (1 - high)))

    def beyond(c: float) -> float:
        return float(stats.norm.pdf(c) * (4 / c + (c - 1 / c) * length) - (1 - level))

    single = float(stats.norm.ppf((1 + level) / 2))
    return max(single, float(optimize.brentq(beyond, 1.0, 12.0, xtol=1e-10)) if beyond(1.0) > 0 else single)


def _stays(k: float, low: float, high: float) -> float:
    """Return the probability that a Brownian bridge keeps within -k..k between two times."""
    span = high - low
    nodes, mass = _quadrature()
    begin, arrive = (k * nodes, k * mass * _density(k * nodes, low)) if low > 0 else (np.zeros(1), np.ones(1))
    end, home = (k * nodes, k * mass * _density(k * nodes, 1 - high)) if high < 1 else (np.zeros(1), np.ones(1))
    x, y = begin[:, None], end[None, :]
    inside = np.zeros((begin.size, end.size))
    reach = int(np.ceil(10 * np.sqrt(span) / (4 * k))) + 1
    for image in range(-reach, reach + 1):
        inside += _density(y - x - 4 * k * image, span) - _density(y + x - 2 * k - 4 * k * image, span)
    return float(arrive @ inside @ home * np.sqrt(2 * np.pi))


@lru_cache(maxsize=1)
def _quadrature() -> tuple[Floats, Floats]:
    return np.polynomial.legendre.leggauss(96)


def _density(x: Floats, variance: float) -> Floats:
    return np.asarray(np.exp(-(x**2) / (2 * variance)) / np.sqrt(2 * np.pi * variance))


def _window(curves: Curves, group: int, window: tuple[float, float] | None) -> Bools:
    value, at_risk = curves.value[:, group], curves.at_risk[:, group]
    usable = np.isfinite(value) & (value > 0) & (curves.log_variance[:, group] > 0)
    if window is not None:
        return np.asarray(usable & (curves.time >= window[0]) & (curves.time <= window[1]))
    many = np.flatnonzero(at_risk >= at_risk.max() / 20)
    return np.asarray(usable & (np.arange(value.size) <= many[-1]))


def _around(curves: Curves, half: Floats, level: float, scale: str) -> Bounds:
    """Turn a half-width on the plain scale into bounds on another, by the delta method."""
    value = curves.value
    inner = (value > 0) & (value < 1)
    safe = np.where(inner, value, 0.5)
    if scale == "plain":
        low, high = value - half, value + half
    elif scale == "log":
        low, high = safe * np.exp(-half / safe), safe * np.exp(half / safe)
    else:
        step = half / (safe * np.abs(np.log(safe)))
        low, high = safe ** np.exp(step), safe ** np.exp(-step)
    flat = np.where(np.isnan(half), np.nan, value)
    return Bounds(
        low=np.where(inner, np.clip(low, 0, 1), flat), high=np.where(inner, np.clip(high, 0, 1), flat), level=level
    )
