"""How many customers an experiment needs, and what it can find.

Power counts rejections in the direction of the effect only, as R's `power.t.test` and `power.prop.test` do.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import optimize, special, stats

from rox.numerics.arrays import complain, in_unit_interval

MOST = 1e12
"""Rows per arm beyond which no sample size is looked for."""


def means_power(n: float, delta: float, *, sd: float = 1.0, level: float = 0.95) -> float:
    """Return the power of the two-sided t test between two arms of n rows.

    Args:
        n: rows per arm.
        delta: difference to be found, in the unit of sd.
        sd: standard deviation within arms.
        level: one less the size of the test.

    Raises:
        ValueError: n below 2, or an sd that is not positive.

    Example:
        >>> round(means_power(20, 1.0), 5)
        0.86895
    """
    in_unit_interval(level)
    if not n >= 2 or not sd > 0:
        raise ValueError(f"needs n >= 2 per arm and sd > 0, got {n} and {sd}")
    df = 2 * (n - 1)
    return float(stats.nct.sf(special.stdtrit(df, (1 + level) / 2), df, np.sqrt(n / 2) * abs(delta) / sd))


def means_sample_size(delta: float, *, sd: float = 1.0, power: float = 0.8, level: float = 0.95) -> float:
    """Return the rows per arm that find a difference of means with a given power, not rounded.

    Raises:
        ValueError: no difference, or a power that more rows do not give.
    """
    in_unit_interval(power, "power")
    if not abs(delta) > 0 or not sd > 0:
        raise ValueError(f"needs a difference other than 0 and sd > 0, got {delta} and {sd}")

    def short(n: float) -> float:
        return means_power(n, delta, sd=sd, level=level) - power

    if short(2.0) >= 0:
        return 2.0
    top = 4 * (2 * (sd / delta) ** 2 * (_z(level) + special.ndtri(power)) ** 2 + 10)
    if top > 1e7:
        return float(2 * (sd / delta) ** 2 * (_z(level) + special.ndtri(power)) ** 2)
    return float(optimize.brentq(short, 2.0, top, xtol=1e-10, rtol=1e-13))


def shares_power(n: float, p1: float, p2: float, *, level: float = 0.95) -> float:
    """Return the power of the two-sided test between two shares in arms of n rows (pooled variance under no effect).

    Raises:
        ValueError: shares outside 0..1, or n that is not positive.

    Example:
        >>> round(shares_power(50, 0.50, 0.75), 6)
        0.740166
    """
    in_unit_interval(level)
    if not (0 <= p1 <= 1 and 0 <= p2 <= 1 and n > 0):
        raise ValueError(f"needs shares in 0..1 and n > 0, got {p1}, {p2} and {n}")
    within, mean = p1 * (1 - p1) + p2 * (1 - p2), p1 + p2
    if within == 0:
        return 1.0 if p1 != p2 else (1 - level) / 2
    reach = np.sqrt(n) * abs(p1 - p2) - _z(level) * np.sqrt(mean * (1 - mean / 2))
    return float(special.ndtr(reach / np.sqrt(within)))


def shares_sample_size(p1: float, p2: float, *, power: float = 0.8, level: float = 0.95, pooled: bool = True) -> float:
    """Return the rows per arm that find a difference of shares with a given power, not rounded.

    Args:
        p1: share in one arm.
        p2: share in the other.
        power: wanted.
        level: one less the size of the test.
        pooled: whether the test takes its error from both arms together, as R does, or from each.

    Raises:
        ValueError: shares that are equal or outside 0..1.
    """
    in_unit_interval(level)
    in_unit_interval(power, "power")
    if not (0 <= p1 <= 1 and 0 <= p2 <= 1 and p1 != p2):
        raise ValueError(f"needs two different shares in 0..1, got {p1} and {p2}")
    within, mean = p1 * (1 - p1) + p2 * (1 - p2), p1 + p2
    null = mean * (1 - mean / 2) if pooled else within
    return float(((_z(level) * np.sqrt(null) + special.ndtri(power) * np.sqrt(within)) / (p1 - p2)) ** 2)


@dataclass(frozen=True, kw_only=True)
class Design:
    """How customers would be assigned, for the size an experiment needs.

    Attributes:
        treated: Share of customers assigned to treatment.
        cluster_size: Customers of a place when places are assigned; 1 when customers are.
        icc: Share of the variance that lies between places.
        size_cv: Standard deviation of the places' sizes over their mean.
        correlation: Of the outcome with what is known before and adjusted for (CUPED's rho).
        response: Share of customers whose outcome will be seen.
    """

    treated: float = 0.5
    cluster_size: float = 1.0
    icc: float = 0.0
    size_cv: float = 0.0
    correlation: float = 0.0
    response: float = 1.0

    def __post_init__(self) -> None:
        faults = []
        if not 0 < self.treated < 1:
            faults.append(f"treated must lie strictly between 0 and 1, got {self.treated}")
        if not self.cluster_size >= 1:
            faults.append(f"cluster_size must be 1 or more, got {self.cluster_size}")
        if not 0 <= self.icc <= 1 or not -1 < self.correlation < 1:
            faults.append(f"icc must lie in 0..1 and correlation within -1..1, got {self.icc} and {self.correlation}")
        if not self.size_cv >= 0 or not 0 < self.response <= 1:
            faults.append(f"size_cv must be 0 or more and response in (0, 1], got {self.size_cv}, {self.response}")
        complain(faults)

    @property
    def effect(self) -> float:
        """The design effect: variance over that of as many customers assigned one by one, without adjustment.

        1 + ((1 + cv^2) m - 1) icc for places (Eldridge, Ashby & Kerry 2006), times 1 - rho^2 for what is known before.
        """
        seen = max(self.cluster_size * self.response, 1.0)
        clustering = 1 + ((1 + self.size_cv**2) * seen - 1) * self.icc
        return float(max(clustering, 1.0) * (1 - self.correlation**2))


def sample_size(
    delta: float, variance: float, *, design: Design | None = None, power: float = 0.8, level: float = 0.95
) -> int:
    """Return the customers, of all arms together, that find an effect under a design.

    Args:
        delta: effect to be found.
        variance: of the outcome between customers of an arm, in the unit of delta squared. For an NPS in points
            10,000 (p + d - (p - d)^2); for a share p (1 - p).
        design: how customers are assigned; default one by one, in halves.
        power: wanted.
        level: one less the size of the test.

    Raises:
        ValueError: no effect, or a variance that is not positive.

    Example:
        >>> sample_size(5.0, 1e4 * (0.5 + 0.2 - 0.3**2)) // 2
        3831
        >>> sample_size(0.02, 0.25**2, design=Design(treated=0.9, correlation=0.6))
        8721
    """
    in_unit_interval(level)
    in_unit_interval(power, "power")
    if not abs(delta) > 0 or not variance > 0:
        raise ValueError(f"needs an effect other than 0 and a variance above 0, got {delta} and {variance}")
    design = design or Design()
    reach = (_z(level) + special.ndtri(power)) ** 2
    treated = design.treated
    per_share = reach * variance * design.effect / delta**2 / design.response
    if per_share > MOST:
        raise ValueError(f"more than {MOST:g} customers would be needed; the effect {delta:g} is out of reach")
    small, large = sorted((treated, 1 - treated))
    if large == small:
        return 2 * _up(2 * per_share)
    return _up(per_share / (treated * (1 - treated)))


def detectable_effect(
    customers: float, variance: float, *, design: Design | None = None, power: float = 0.8, level: float = 0.95
) -> float:
    """Return the smallest effect that so many customers, of all arms together, find with a given power.

    Args:
        customers: of all arms.
        variance: of the outcome between customers of an arm.
        design: how customers are assigned.
        power: wanted.
        level: one less the size of the test.

    Raises:
        ValueError: no customers, or a variance that is not positive.
    """
    in_unit_interval(level)
    in_unit_interval(power, "power")
    if not customers > 0 or not variance > 0:
        raise ValueError(f"needs customers and a variance above 0, got {customers} and {variance}")
    design = design or Design()
    share = design.treated * (1 - design.treated)
    spread = variance * design.effect / (customers * design.response * share)
    return float((_z(level) + special.ndtri(power)) * np.sqrt(spread))


def nps_variance(promoters: float, detractors: float) -> float:
    """Return the variance of one answer's part in the NPS, in points squared.

    Raises:
        ValueError: shares that are no distribution.
    """
    if min(promoters, detractors) < 0 or promoters + detractors > 1 + 1e-12:
        raise ValueError(f"needs shares that add to at most 1, got {promoters} and {detractors}")
    return float(1e4 * (promoters + detractors - (promoters - detractors) ** 2))


def _up(value: float) -> int:
    """Round up, but not by rounding errors."""
    return int(np.ceil(value - 1e-9 * max(value, 1.0)))


def _z(level: float) -> float:
    return float(special.ndtri((1 + level) / 2))
