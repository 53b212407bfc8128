"""Measure time kept and time lost up to a horizon: areas under survival and incidence curves, by group.

Estimand: the mean of min(T, horizon), or the mean time lost to one cause before the horizon. Neither needs proportional
hazards (Royston & Parmar 2013; Andersen 2013).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from rox.numerics.arrays import Floats, freeze, in_unit_interval
from rox.numerics.incidence import LifeTable, event_moments


@dataclass(frozen=True, kw_only=True)
class RestrictedMean:
    """Time kept, or lost to a cause, per group. g = groups."""

    groups: NDArray[Any]
    horizon: float
    value: Floats
    """(g,) in the unit of the table's clock."""
    se: Floats
    """(g,)."""

    def __post_init__(self) -> None:
        freeze(self, "groups", "value", "se")


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A difference of two independent estimates."""

    value: float
    se: float
    low: float
    high: float
    level: float
    p_value: float


def restricted_mean(table: LifeTable, horizon: float, *, cause: Any = None, origin: float = 0.0) -> RestrictedMean:
    """Estimate the time kept free of all causes up to a horizon, or the time lost to one of them.

    Time kept and the times lost to each cause add up to the horizon. Variance: the delta method on the multinomial
    events, for time kept the sum of A(u)²·d/(Y(Y - d)) with A the area still to come (as in R's `survfit`).

    Args:
        table: events by cause; for time kept all causes in it count (see `table.only`).
        horizon: end of the window.
        cause: label of the cause whose lost time is wanted; default time kept.
        origin: beginning of the window; survival counts from the start of the table's clock.

    Raises:
        ValueError: a horizon at or before the origin or beyond what a group is followed for, or an unknown cause.

    Example:
        >>> from rox.numerics.incidence import life_table
        >>> found = restricted_mean(life_table(None, [1, 2, 2, 3], [1, 0, 1, 1]), 3)
        >>> float(found.value[0])
        2.25
    """
    _require_followed(table, horizon, origin)
    at_risk, died = table.at_risk, table.events.sum(2)
    hazard = np.divide(died, at_risk, out=np.zeros_like(died), where=at_risk > 0)
    alive = np.cumprod(1 - hazard, axis=0)
    edges = np.clip(np.append(table.time, np.inf), origin, horizon)
    width = np.diff(edges)[:, None]
    ahead = np.maximum(horizon - np.maximum(table.time, origin), 0.0)[:, None]
    if cause is None:
        rest = _ahead(alive * width)
        first, _, _ = event_moments(at_risk, died, died, "greenwood")
        value = rest[0] + max(min(float(table.time[0]), horizon) - origin, 0.0)
        return _mean(table, horizon, value, (rest**2 * first).sum(0))
    if cause not in table.causes.tolist():
        raise ValueError(f"cause {cause!r} is not among {table.causes.tolist()}")
    own = table.events[:, :, table.causes.tolist().index(cause)]
    before = np.vstack([np.ones((1, alive.shape[1])), alive[:-1]])
    jump = before * np.divide(own, at_risk, out=np.zeros_like(own), where=at_risk > 0)
    lost = np.cumsum(jump, axis=0)
    later = _ahead(lost * width) - lost * ahead
    gain = before * ahead
    first, second, third = event_moments(at_risk, died, own, "greenwood")
    variance = (later**2 * first - 2 * later * gain * second + gain**2 * third).sum(0)
    return _mean(table, horizon, (lost * width).sum(0), variance)


def difference(means: RestrictedMean, group: Any, reference: Any, *, level: float = 0.9) -> Difference:
    """Compare two groups' time kept or lost; the groups are taken as independent.

    Args:
        means: of `restricted_mean`.
        group: label.
        reference: label of the group it is compared with.
        level: of the normal interval.

    Raises:
        ValueError: labels that are not among the groups.
    """
    in_unit_interval(level)
    labels = means.groups.tolist()
    if missing := [label for label in (group, reference) if label not in labels]:
        raise ValueError(f"groups {missing} are not among {labels}")
    one, other = labels.index(group), labels.index(reference)
    value = float(means.value[one] - means.value[other])
    se = float(np.hypot(means.se[one], means.se[other]))
    half = float(stats.norm.ppf((1 + level) / 2)) * se
    p_value = float(2 * stats.norm.sf(abs(value) / se)) if se > 0 else float("nan")
    return Difference(value=value, se=se, low=value - half, high=value + half, level=level, p_value=p_value)


def longest_horizon(table: LifeTable, share: float = 0.05) -> Floats:
    """Return, per group, the last time at which at least a share of its largest number at risk is still at risk: (g,).

    Args:
        table: life table.
        share: smallest share.
    """
    in_unit_interval(share, "share")
    at_risk = table.at_risk
    enough = at_risk >= share * at_risk.max(0)
    last = at_risk.shape[0] - 1 - np.argmax(enough[::-1], axis=0)
    return np.asarray(table.time[last])


def _ahead(area: Floats) -> Floats:
    """Sum from each time to the end."""
    return np.asarray(np.cumsum(area[::-1], axis=0)[::-1])


def _mean(table: LifeTable, horizon: float, value: Floats, variance: Floats) -> RestrictedMean:
    se = np.asarray(np.sqrt(np.maximum(variance, 0.0)), dtype=np.float64)
    return RestrictedMean(groups=table.groups, horizon=float(horizon), value=value, se=se)


def _require_followed(table: LifeTable, horizon: float, origin: float) -> None:
    if not horizon > origin:
        raise ValueError(f"the horizon {horizon} must lie after the origin {origin}")
    at_risk = table.at_risk
    last = table.time[at_risk.shape[0] - 1 - np.argmax(at_risk[::-1] > 0, axis=0)]
    hazard = np.divide(table.events.sum(2), at_risk, out=np.zeros_like(at_risk), where=at_risk > 0)
    gone = (hazard >= 1).any(0)
    short = (last < horizon) & ~gone
    if short.any():
        seen = ", ".join(f"{label} to {end:g}" for label, end in zip(table.groups[short], last[short], strict=True))
        raise ValueError(f"nobody is followed to {horizon:g} in some groups ({seen}); choose a shorter horizon")
