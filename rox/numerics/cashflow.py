"""Discount cash flows, draw by draw: present value, internal rate of return, payback.

Flows have shape (t,) or (..., t), the first flow at time 0 (unlike Excel's NPV, which discounts it by one
period). Rates are effective annual rates; with `periods_per_year` = 12 flow number j is discounted by (1 +
rate)^(j/12). Every function works on the last axis and returns the leading shape.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rox.numerics.arrays import Floats, complain, freeze

WIDEST = 40.0
"""Internal rates are looked for with |log(1 + rate per period)| below this."""
SCAN = np.concatenate([-np.geomspace(WIDEST, 1e-4, 500), [0.0], np.geomspace(1e-4, WIDEST, 500)])
"""Log rates at which flows that change sign more than once are inspected for several roots."""
BLOCK = 5000
"""Rows inspected on the grid at a time, to bound memory."""


@dataclass(frozen=True, kw_only=True)
class InternalRate:
    """Internal rates of return, one per row of flows."""

    rate: Floats
    """Annual rate; NaN where there is none or more than one."""
    reason: NDArray[Any]
    """"" where the rate is unique, otherwise "no sign change", "no rate" or "several rates"."""

    def __post_init__(self) -> None:
        freeze(self, "rate", "reason")


def discount_factors(periods: int, rate: ArrayLike, *, periods_per_year: float = 1) -> Floats:
    """Return (..., periods) factors (1 + rate)^(-j / periods_per_year), j = 0, 1, ...

    Raises:
        ValueError: a rate of -1 or less, or NaN.
    """
    r = np.asarray(rate, dtype=np.float64)
    if not (r > -1).all():
        raise ValueError(f"annual rates must be above -1 (-100%), got {int((~(r > -1)).sum())} that are not")
    return np.asarray(np.exp(-np.log1p(r)[..., None] * np.arange(periods) / periods_per_year))


def npv(flows: ArrayLike, rate: ArrayLike, *, periods_per_year: float = 1) -> Floats:
    """Return the net present value at time 0 of flows at times 0, 1, 2, ... periods.

    Args:
        flows: (..., t).
        rate: effective annual rate, scalar or broadcastable to the leading shape of `flows`.
        periods_per_year: 1 for annual, 12 for monthly flows.

    Raises:
        ValueError: missing flows or rates at or below -1.

    Example:
        >>> round(float(npv([-40000, 5000, 8000, 12000, 30000], 0.08)), 2)
        3065.22
    """
    cash = _flows(flows)
    factors = discount_factors(cash.shape[-1], rate, periods_per_year=periods_per_year)
    return np.asarray((cash * factors).sum(-1))


def irr(flows: ArrayLike, *, periods_per_year: float = 1) -> Floats:
    """Return the annual internal rate of return per row, NaN where it is not unique (`internal_rate` says why)."""
    return internal_rate(flows, periods_per_year=periods_per_year).rate


def internal_rate(flows: ArrayLike, *, periods_per_year: float = 1) -> InternalRate:
    """Find the annual rate at which the flows are worth zero, or say why there is none.

    One sign change in the flows means exactly one rate (Descartes): it is bisected on the log rate and polished
    by Newton steps to about 1e-13. With more sign changes the value is inspected on a grid of 1001 log rates; a
    rate is returned only if the value changes sign once on it. Rates closer than the grid (1-3%) may go unseen.

    Args:
        flows: (..., t).
        periods_per_year: 1 for annual, 12 for monthly flows; the rate returned is effective annual either way.

    Raises:
        ValueError: missing flows.

    Example:
        >>> fit = internal_rate([[-100, 60, 60], [-100, 230, -132]])
        >>> fit.rate.round(4), fit.reason.tolist()
        (array([0.1307,    nan]), ['', 'several rates'])
    """
    cash = _flows(flows)
    rows = cash.reshape(-1, cash.shape[-1])
    low = np.full(rows.shape[0], -WIDEST)
    high = np.full(rows.shape[0], WIDEST)
    reason = np.full(rows.shape[0], "", dtype="<U14")
    changes = _sign_changes(rows)
    reason[changes == 0] = "no sign change"
    several = np.flatnonzero(changes > 1)
    for some in np.array_split(several, 1 + several.size // BLOCK):
        sign = _signs_on_grid(rows[some])
        crossings = _sign_changes(sign)
        reason[some[crossings == 0]] = "no rate"
        reason[some[crossings > 1]] = "several rates"
        one = crossings == 1
        low[some[one]], high[some[one]] = _only_bracket(sign[one])
    rate = np.full(rows.shape[0], np.nan)
    known = reason == ""
    found = _bisect(rows[known], low[known], high[known])
    reason[np.flatnonzero(known)[np.isnan(found)]] = "no rate"
    rate[known] = np.expm1(found * periods_per_year)
    shape = cash.shape[:-1]
    return InternalRate(rate=rate.reshape(shape), reason=reason.reshape(shape))


def internal_rates(flow: ArrayLike, *, periods_per_year: float = 1) -> Floats:
    """Return every annual rate at which one row of flows is worth zero, as far as the grid tells them apart."""
    cash = _flows(flow)
    if cash.ndim != 1:
        raise ValueError(f"needs one row of flows, got shape {cash.shape}")
    sign = _signs_on_grid(cash[None])[0]
    at = np.flatnonzero(sign != 0)
    turn = np.flatnonzero(np.diff(sign[at]) != 0)
    found = _bisect(np.repeat(cash[None], turn.size, axis=0), SCAN[at[turn]], SCAN[at[turn + 1]])
    return np.asarray(np.expm1(found * periods_per_year))


def payback(flows: ArrayLike) -> Floats:
    """Return the time in periods at which the money is back for good, linear within the period.

    It is the last upward crossing of zero by the cumulated flows; 0 if they are never negative, NaN if they end
    below zero.

    Raises:
        ValueError: missing flows.

    Example:
        >>> payback([[-1000, 400, 400, 400], [-1000, 1200, -400, 100]])
        array([2.5, nan])
    """
    cash = _flows(flows)
    total = np.cumsum(cash, axis=-1)
    periods = cash.shape[-1]
    below = total < 0
    last = periods - 1 - np.argmax(below[..., ::-1], axis=-1)
    after = np.minimum(last + 1, periods - 1)
    start = np.take_along_axis(total, last[..., None], axis=-1)[..., 0]
    step = np.take_along_axis(cash, after[..., None], axis=-1)[..., 0]
    with np.errstate(divide="ignore", invalid="ignore"):
        crossing = last - start / step
    return np.asarray(np.where(below[..., -1], np.nan, np.where(below.any(-1), crossing, 0.0)))


def discounted_payback(flows: ArrayLike, rate: ArrayLike, *, periods_per_year: float = 1) -> Floats:
    """Return the payback, in periods, of the flows discounted at an effective annual rate."""
    cash = _flows(flows)
    return payback(cash * discount_factors(cash.shape[-1], rate, periods_per_year=periods_per_year))


def profitability_index(flows: ArrayLike, rate: ArrayLike, *, periods_per_year: float = 1) -> Floats:
    """Return the present value of the inflows per unit of present value of the outflows; NaN without outflows."""
    cash = _flows(flows)
    gained = npv(np.maximum(cash, 0), rate, periods_per_year=periods_per_year)
    spent = npv(np.maximum(-cash, 0), rate, periods_per_year=periods_per_year)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(spent > 0, gained / spent, np.nan)


def annuity_factor(rate: ArrayLike, periods: ArrayLike) -> Floats:
    """Return the present value of 1 at the end of each of `periods` periods, at a rate per period.

    A loan's payment is principal / annuity_factor; an equivalent annual cost is cost / annuity_factor.
    """
    r, n = np.broadcast_arrays(np.asarray(rate, dtype=np.float64), np.asarray(periods, dtype=np.float64))
    faults = []
    if not (r > -1).all():
        faults.append("rates per period must be above -1")
    if not (n >= 0).all():
        faults.append("periods must not be negative")
    complain(faults)
    safe = np.where(r == 0, 1.0, r)
    return np.asarray(np.where(r == 0, n, -np.expm1(-n * np.log1p(safe)) / safe))


def growing_perpetuity(rate: ArrayLike, growth: ArrayLike = 0.0) -> Floats:
    """Return the present value of 1 in one period, growing forever at `growth` per period (Gordon).

    Raises:
        ValueError: growth that is not below the rate.
    """
    r, g = np.broadcast_arrays(np.asarray(rate, dtype=np.float64), np.asarray(growth, dtype=np.float64))
    if not (g < r).all():
        raise ValueError(f"growth must be below the discount rate, got {int((~(g < r)).sum())} pairs where it is not")
    return np.asarray(1 / (r - g))


def _flows(flows: ArrayLike) -> Floats:
    cash = np.asarray(flows, dtype=np.float64)
    if cash.ndim == 0 or cash.shape[-1] == 0:
        raise ValueError(f"flows must have at least one period on the last axis, got shape {cash.shape}")
    bad = int((~np.isfinite(cash)).sum())
    if bad:
        raise ValueError(f"flows have {bad} values that are NaN or infinite")
    return cash


def _sign_changes(rows: Floats) -> NDArray[np.int64]:
    """Count sign changes along each row, zeros skipped."""
    sign = np.sign(rows)
    position = np.where(sign != 0, np.arange(rows.shape[1]), -1)
    previous = np.maximum.accumulate(position, axis=1)[:, :-1]
    before = np.where(previous >= 0, np.take_along_axis(sign, np.maximum(previous, 0), axis=1), 0)
    return np.asarray(((sign[:, 1:] * before) < 0).sum(1))


def _value(rows: Floats, log_rate: Floats) -> tuple[Floats, Floats]:
    """Return the value at a log rate and its slope, both times a positive factor that keeps the powers within range."""
    t = np.arange(rows.shape[1])
    centre = np.where(log_rate < 0, rows.shape[1] - 1, 0)
    terms = rows * np.exp(-log_rate[:, None] * (t - centre[:, None]))
    return terms.sum(1), -(terms * t).sum(1)


def _signs_on_grid(rows: Floats) -> Floats:
    """Return the sign of the value of each row at each log rate of the grid."""
    t = np.arange(rows.shape[1])
    centre = np.where(SCAN < 0, rows.shape[1] - 1, 0)
    return np.asarray(np.sign(rows @ np.exp(-SCAN * (t[:, None] - centre))))


def _only_bracket(sign: Floats) -> tuple[Floats, Floats]:
    """Return the log rates around the single sign change of each row."""
    first = np.take_along_axis(sign, np.argmax(sign != 0, axis=1)[:, None], axis=1)
    high = np.argmax(sign == -first, axis=1)
    before = (sign == first) & (np.arange(sign.shape[1]) < high[:, None])
    low = sign.shape[1] - 1 - np.argmax(before[:, ::-1], axis=1)
    return SCAN[low], SCAN[high]


def _bisect(rows: Floats, low: Floats, high: Floats) -> Floats:
    """Solve for the log rate between bounds of opposite sign; NaN where the bounds have the same sign."""
    low, high = low.copy(), high.copy()
    at_low, at_high = np.sign(_value(rows, low)[0]), np.sign(_value(rows, high)[0])
    for _ in range(40):
        middle = (low + high) / 2
        same = np.sign(_value(rows, middle)[0]) == at_low
        low, high = np.where(same, middle, low), np.where(same, high, middle)
    root = (low + high) / 2
    for _ in range(3):
        value, slope = _value(rows, root)
        with np.errstate(divide="ignore", invalid="ignore"):
            step = np.where(slope != 0, value / slope, 0.0)
        root = np.where(np.abs(step) < 1e-6, root - step, root)
    return np.asarray(np.where(at_low * at_high < 0, root, np.nan))
