"""From log hazard ratios to customers, months and money kept: the g-formula over customers, draw by draw.

Two ways out compete: cause 1 moves with the score, cause 2 does not. Within a period both hazards are constant, so

    S_i(h) = exp(-sum over periods j <= h of H1_sj·exp(lp1_i + b·d_j) + H2_sj·exp(lp2_i)),

with H the increments of the cumulative baseline hazards of the customer's segment at the customer's age on the clock, b
the effect per score point and d the shift of the score. Means are taken over customers, not at a mean customer: hazards
are convex in the covariates, and money leaves with those who leave (Hernán & Robins 2020, chapter 17; Suissa 2008). A
causal reading needs what the hazard ratio needs: no unmeasured confounding and proportional hazards over the horizon.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rox.numerics.arrays import Floats, Ints, codes, complain, freeze, vector

CHUNK = 4_000_000
"""Numbers held at once."""


@dataclass(frozen=True, kw_only=True)
class Retained:
    """What a shift of the score keeps, draw by draw. n = draws, s = segments, h = periods."""

    segments: NDArray[Any]
    """(s,) labels."""
    customers: Floats
    """(s,) customers at the beginning."""
    kept_without: Floats
    """(n, s, h) share of customers still there at the end of each period, score as it is."""
    kept_with: Floats
    """(n, s, h) the same, score shifted."""
    left_without: Floats
    """(n, s, h) share gone by cause 1 by the end of each period (cumulative incidence)."""
    left_with: Floats
    """(n, s, h)."""
    months_gained: Floats
    """(n, s, h) mean periods gained per customer up to each period: area between the curves."""
    money_without: Floats
    """(n, s, h) money of those still there, summed over customers."""
    money_with: Floats
    """(n, s, h)."""
    money: Floats
    """(s, h) money if nobody left, summed over customers."""

    def __post_init__(self) -> None:
        freeze(self, "segments", "customers", "kept_without", "kept_with", "left_without", "left_with")
        freeze(self, "months_gained", "money_without", "money_with", "money")

    @property
    def customers_retained(self) -> Floats:
        """(n, s, h) customers still there at the end of each period who would have gone."""
        return np.asarray(self.customers[None, :, None] * (self.kept_with - self.kept_without))

    @property
    def money_retained(self) -> Floats:
        """(n, s, h) money of those customers."""
        return np.asarray(self.money_with - self.money_without)

    @property
    def money_kept_without(self) -> Floats:
        """(n, s, h) money-weighted retention: share of the money that would be there if nobody left."""
        return _over(self.money_without, self.money)

    @property
    def money_kept_with(self) -> Floats:
        """(n, s, h) the same, score shifted."""
        return _over(self.money_with, self.money)


def retained(
    log_ratio: ArrayLike,
    hazard: ArrayLike,
    shift: ArrayLike,
    *,
    hazard_other: ArrayLike | None = None,
    segment: ArrayLike | None = None,
    customers: ArrayLike | None = None,
    predictor: ArrayLike | None = None,
    predictor_other: ArrayLike | None = None,
    age: ArrayLike | None = None,
    money: ArrayLike | None = None,
) -> Retained:
    """Project who stays with the score as it is and with the score shifted, averaged over the patterns of customers.

    Arguments with a leading draw axis are taken draw by draw together, so hand over joint draws; those without it are
    the same in every draw.

    Args:
        log_ratio: (n,) or (n, s) draws of the log hazard ratio of cause 1 per score point.
        hazard: (s, a) or (n, s, a) increments of the baseline cumulative hazard of cause 1 by segment and age on the
            clock, segments in sorted order of their labels.
        shift: (h,) shift of the score in each period, or (p, h) by pattern; h is the horizon.
        hazard_other: as `hazard`, of all other causes; default none.
        segment: (p,) label of each pattern; default one segment.
        customers: (p,) customers of each pattern; default 1.
        predictor: (p,) or (n, p) log hazard of cause 1 relative to the baseline, the present score included; default 0.
        predictor_other: as `predictor`, of the other causes.
        age: (p,) whole periods that the pattern's customers have behind them on the clock; default 0.
        money: (p,) money per customer, or (p, h) by period, as it is while the customer stays; default 0.

    Raises:
        ValueError: arrays that do not fit, negative hazards, customers or money that are not finite, or hazards that do
            not reach to the end of the horizon (all faults in one message where they can be told together).

    Example:
        >>> found = retained([-0.1], [[0.02] * 12], [1.0] * 12, customers=[1000])
        >>> round(float(found.customers_retained[0, 0, -1]), 1)
        18.2
    """
    ask = _asked(log_ratio, hazard, shift, hazard_other, segment, customers, predictor, predictor_other, age, money)
    n, s, h = ask.log_ratio.shape[0], ask.labels.size, ask.money.shape[1]
    parts = [np.empty((n, s, h)) for _ in range(7)]
    step = max(1, CHUNK // (ask.segment.size * h))
    for begin in range(0, n, step):
        rows = slice(begin, min(begin + step, n))
        for table, part in zip(parts, _project(ask, rows), strict=True):
            table[rows] = part
    kept, left, money_kept, kept_with, left_with, money_kept_with, gained = parts
    return Retained(
        segments=ask.labels,
        customers=ask.members.sum(1),
        kept_without=kept,
        kept_with=kept_with,
        left_without=left,
        left_with=left_with,
        months_gained=np.cumsum(gained, axis=2),
        money_without=money_kept,
        money_with=money_kept_with,
        money=ask.members @ ask.money,
    )


@dataclass(frozen=True, kw_only=True)
class _Asked:
    """Checked arguments. n = draws (or 1), p = patterns, s = segments, a = ages, h = periods."""

    labels: NDArray[Any]
    segment: Ints
    members: Floats
    """(s, p) customers of each pattern in its segment, zero elsewhere."""
    log_ratio: Floats
    """(n, s)."""
    hazard: Floats
    """(n, s, a)."""
    hazard_other: Floats
    predictor: Floats
    """(n, p)."""
    predictor_other: Floats
    shift: Floats
    """(p or 1, h)."""
    money: Floats
    """(p, h)."""
    ages: Ints
    """(p, h) place in the baseline of each pattern's periods."""


def _project(ask: _Asked, rows: slice) -> tuple[Floats, ...]:
    """Follow all patterns through some draws; returns seven tables (draws, s, h)."""
    own = _rates(ask.hazard, ask.predictor, ask, rows)
    other = _rates(ask.hazard_other, ask.predictor_other, ask, rows)
    ratio = np.exp(ask.log_ratio[rows][:, ask.segment, None] * ask.shift)
    share = ask.members / ask.members.sum(1, keepdims=True)
    found = []
    for rate in (own, own * ratio):
        both = rate + other
        after = np.exp(-np.cumsum(both, axis=2))
        before = np.concatenate([np.ones((*after.shape[:2], 1)), after[:, :, :-1]], axis=2)
        stayed = before * _mean_survival(both)
        left = np.cumsum(stayed * rate, axis=2)
        found.append((share @ after, share @ left, ask.members @ (after * ask.money), share @ stayed))
    (kept, gone, money, time), (kept_with, gone_with, money_with, time_with) = found
    return kept, gone, money, kept_with, gone_with, money_with, time_with - time


def _rates(hazard: Floats, predictor: Floats, ask: _Asked, rows: slice) -> Floats:
    """Return the hazards of each pattern in each period: (draws or 1, p, h)."""
    baseline, lean = (table if table.shape[0] == 1 else table[rows] for table in (hazard, predictor))
    return np.asarray(baseline[:, ask.segment[:, None], ask.ages] * np.exp(lean)[:, :, None])


def _mean_survival(rate: Floats) -> Floats:
    """Return the mean over a period of surviving it at a constant hazard, (1 - exp(-r))/r."""
    small = rate < 1e-8
    return np.where(small, 1 - rate / 2, -np.expm1(-rate) / np.where(small, 1.0, rate))


def _asked(
    log_ratio: ArrayLike,
    hazard: ArrayLike,
    shift: ArrayLike,
    hazard_other: ArrayLike | None,
    segment: ArrayLike | None,
    customers: ArrayLike | None,
    predictor: ArrayLike | None,
    predictor_other: ArrayLike | None,
    age: ArrayLike | None,
    money: ArrayLike | None,
) -> _Asked:
    p = _patterns(segment, customers, age, money, predictor, shift)
    code, labels = codes(np.zeros(p, dtype=np.int64) if segment is None else segment, "segment", p)
    size = np.ones(p) if customers is None else vector(customers, "customers", p)
    old = np.zeros(p) if age is None else vector(age, "age", p)
    beta = np.asarray(log_ratio, dtype=np.float64)
    beta = np.repeat(beta[:, None], labels.size, axis=1) if beta.ndim == 1 else beta
    path = np.atleast_2d(np.asarray(shift, dtype=np.float64))
    worth = np.zeros(p) if money is None else np.asarray(money, dtype=np.float64)
    worth = np.repeat(worth[:, None], path.shape[1], axis=1) if worth.ndim == 1 else worth
    own = _drawn(hazard, 3)
    lean, lean_other = (np.zeros((1, p)) if each is None else _drawn(each, 2) for each in (predictor, predictor_other))
    members = np.zeros((labels.size, p))
    members[code, np.arange(p)] = size
    ask = _Asked(
        labels=labels,
        segment=code,
        members=members,
        log_ratio=beta,
        hazard=own,
        hazard_other=np.zeros_like(own[:1]) if hazard_other is None else _drawn(hazard_other, 3),
        predictor=lean,
        predictor_other=lean_other,
        shift=path,
        money=worth,
        ages=old.astype(np.int64)[:, None] + np.arange(path.shape[1]),
    )
    faults = _faults(ask)
    if (old < 0).any() or (old != np.round(old)).any():
        faults.append("age must be whole numbers from 0 up")
    complain(faults)
    return ask


def _faults(ask: _Asked) -> list[str]:
    """List all that does not fit."""
    n, s, p, h = ask.log_ratio.shape[0], ask.labels.size, ask.segment.size, ask.shift.shape[1]
    faults = []
    for name, shapes in (
        ("log_ratio", [(n, s)]),
        ("shift", [(1, h), (p, h)]),
        ("money", [(p, h)]),
        ("hazard", [(k, s, ask.hazard.shape[-1]) for k in (1, n)]),
        ("hazard_other", [(k, s, ask.hazard_other.shape[-1]) for k in (1, n)]),
        ("predictor", [(1, p), (n, p)]),
        ("predictor_other", [(1, p), (n, p)]),
    ):
        got = getattr(ask, name)
        if got.shape not in shapes:
            faults.append(f"{name} has shape {got.shape}, needed {' or '.join(map(str, dict.fromkeys(shapes)))}")
        if not np.isfinite(got).all():
            faults.append(f"{name} has values that are NaN or infinite")
    need = int(ask.ages.max(initial=0)) + 1
    for name in ("hazard", "hazard_other"):
        got = getattr(ask, name)
        if got.shape[-1] < need:
            faults.append(f"{name} covers {got.shape[-1]} ages; the oldest pattern reaches {need} by the horizon")
        if (got < 0).any():
            faults.append(f"{name} must not be negative")
    if ask.members.min(initial=0) < 0 or not (ask.members.sum(1) > 0).all():
        faults.append("every segment needs customers, and no pattern may have fewer than none")
    return faults


def _patterns(
    segment: ArrayLike | None,
    customers: ArrayLike | None,
    age: ArrayLike | None,
    money: ArrayLike | None,
    predictor: ArrayLike | None,
    shift: ArrayLike,
) -> int:
    """Return the number of patterns that the first argument given speaks of; a common shift alone means one."""
    for column in (segment, customers, age, money):
        if column is not None:
            return int(np.asarray(column).shape[0])
    if predictor is not None:
        return int(np.asarray(predictor).shape[-1])
    return int(np.atleast_2d(np.asarray(shift)).shape[0])


def _drawn(values: ArrayLike, dimensions: int) -> Floats:
    """Give an array without draws a draw axis of one."""
    table = np.asarray(values, dtype=np.float64)
    return table[None] if table.ndim == dimensions - 1 else table


def _over(part: Floats, whole: Floats) -> Floats:
    return np.asarray(np.divide(part, whole, out=np.full_like(part, np.nan), where=whole > 0))
