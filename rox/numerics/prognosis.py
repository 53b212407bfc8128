"""Judge predictions of who leaves when: Uno's C, time-dependent AUC and the Brier score under censoring.

Predictions are made at one moment, after which each customer is followed from time zero; one row per customer. Inverse
probability of censoring weights make up for whoever is censored. In tied (monthly) data an event at t comes before
censoring at t: a customer censored at t is known to be event-free at t, and the weight of an event is 1/G(t-), with
G(t-) the probability of being followed up to t. Where nobody is censored at an event time, this is the usual weight.
None of these figures says that a score causes anything.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from rox.numerics.arrays import Bools, Floats, Ints, complain, freeze, vector
from rox.numerics.incidence import cumulative_incidence, life_table


@dataclass(frozen=True, kw_only=True)
class Censoring:
    """Probability of still being followed. t = distinct times."""

    time: Floats
    """(t,) rising."""
    followed: Floats
    """(t,) probability of being followed beyond the time."""

    def __post_init__(self) -> None:
        freeze(self, "time", "followed")

    def before(self, at: ArrayLike) -> Floats:
        """Return the probability of being followed up to each time."""
        place = np.searchsorted(self.time, np.asarray(at, dtype=np.float64), "left")
        return np.asarray(np.append(1.0, self.followed)[place])

    def beyond(self, at: ArrayLike) -> Floats:
        """Return the probability of being followed beyond each time."""
        place = np.searchsorted(self.time, np.asarray(at, dtype=np.float64), "right")
        return np.asarray(np.append(1.0, self.followed)[place])


@dataclass(frozen=True, kw_only=True)
class Concordance:
    """How often the customer who leaves first was predicted the higher risk."""

    value: float
    """0.5 is chance, 1 perfect order."""
    horizon: float
    events: int
    """Events up to the horizon, each compared with all who are known to outlast it."""


@dataclass(frozen=True, kw_only=True)
class BrierScore:
    """Mean squared error of predicted probabilities, beside that of knowing no covariate. m = times."""

    time: Floats
    """(m,)."""
    score: Floats
    """(m,)."""
    reference: Floats
    """(m,) of predicting everybody's own average, Kaplan-Meier or Aalen-Johansen."""
    integrated: float
    """Mean over the stretch of time, by the trapezium rule; NaN with one time."""
    integrated_reference: float

    def __post_init__(self) -> None:
        freeze(self, "time", "score", "reference")

    @property
    def skill(self) -> Floats:
        """(m,) share of the reference's error that is saved; zero or less means no use for prediction."""
        return np.asarray(1 - self.score / self.reference)

    @property
    def integrated_skill(self) -> float:
        """The same over the stretch of time."""
        return 1 - self.integrated / self.integrated_reference


def censoring(time: ArrayLike, event: ArrayLike) -> Censoring:
    """Estimate the probability of being followed by reverse Kaplan-Meier, events at a time coming before censoring.

    Args:
        time: (n,) time of event or censoring.
        event: (n,) true for any event, whatever the cause.

    Raises:
        ValueError: arrays that do not fit.
    """
    when = vector(time, "time")
    hit = vector(event, "event", when.size) > 0
    distinct, place = np.unique(when, return_inverse=True)
    died = np.bincount(place[hit], minlength=distinct.size)
    lost = np.bincount(place[~hit], minlength=distinct.size)
    left = when.size - np.cumsum(died + lost) + lost
    hazard = np.divide(lost, left, out=np.zeros(distinct.size), where=left > 0)
    return Censoring(time=distinct, followed=np.cumprod(1 - hazard))


def uno_c(
    time: ArrayLike,
    event: ArrayLike,
    risk: ArrayLike,
    *,
    horizon: float | None = None,
    followed: Censoring | None = None,
) -> Concordance:
    """Estimate the chance that, of two customers, the one predicted the higher risk leaves first (Uno et al. 2011).

    Estimand: P(risk_i > risk_j | T_i < T_j, T_i < horizon), equal risks counting half; free of the censoring pattern.
    Other causes belong with censoring. Costs n·log²(n).

    Args:
        time: (n,) time of event or censoring.
        event: (n,) whether the event was seen.
        risk: (n,) anything that orders customers, high for those expected to leave.
        horizon: compare events before this time; default all.
        followed: censoring distribution, such as that of other data; default that of these.

    Raises:
        ValueError: arrays that do not fit, no comparable pair, or an event at a time to which nobody could be followed.

    Example:
        >>> round(uno_c([1, 2, 3, 4], [1, 1, 0, 1], [4, 3, 1, 2]).value, 3)
        1.0
    """
    when = vector(time, "time")
    hit, score = vector(event, "event", when.size) > 0, vector(risk, "risk", when.size)
    last = np.inf if horizon is None else float(horizon)
    first = hit & (when < last)
    weight = np.zeros(when.size)
    weight[first] = _inverse((followed or censoring(when, hit)).before(when[first])) ** 2
    order = 2 * np.unique(when, return_inverse=True)[1] + ~hit
    rank = np.unique(score, return_inverse=True)[1]
    lower, equal, later = _later(order, rank)
    pairs = float(weight @ later)
    if not pairs > 0:
        raise ValueError("no two customers can be compared: no event before the horizon with somebody who outlasts it")
    value = float(weight @ (lower + equal / 2)) / pairs
    return Concordance(value=value, horizon=last, events=int(first.sum()))


def cumulative_auc(
    time: ArrayLike,
    cause: ArrayLike,
    risk: ArrayLike,
    at: ArrayLike,
    *,
    followed: Censoring | None = None,
) -> Floats:
    """Estimate, at each time, the chance that somebody gone by then was predicted a higher risk than somebody else.

    The cumulative/dynamic AUC with censoring weights (Uno et al. 2007; Hung & Chiang 2010); somebody gone for another
    cause counts among those not gone for cause 1 (Blanche, Dartigues & Jacqmin-Gadda 2013, definition 2).

    Args:
        time: (n,) time of event or censoring.
        cause: (n,) 0 censored, 1 the event predicted, above 1 other causes.
        risk: (n,) one number per customer, or (n, m) one per time.
        at: (m,) times.
        followed: censoring distribution; default that of these data.

    Returns:
        (m,); NaN where nobody has left, or everybody has.

    Raises:
        ValueError: arrays that do not fit.
    """
    when, times = vector(time, "time"), vector(np.atleast_1d(np.asarray(at, dtype=np.float64)), "at")
    kind = vector(cause, "cause", when.size)
    score = _by_time(risk, "risk", when.size, times.size)
    weights = outcome_weights(when, kind, times, followed)
    out = np.full(times.size, np.nan)
    for column, moment in enumerate(times):
        case = (kind == 1) & (when <= moment)
        weight = weights[:, column]
        distinct, rank = np.unique(score[:, column], return_inverse=True)
        gone = np.bincount(rank, weights=weight * case, minlength=distinct.size)
        here = np.bincount(rank, weights=weight * ~case, minlength=distinct.size)
        total = gone.sum() * here.sum()
        if total > 0:
            out[column] = gone @ (np.cumsum(here) - here / 2) / total
    return out


def brier_score(
    time: ArrayLike,
    cause: ArrayLike,
    predicted: ArrayLike,
    at: ArrayLike,
    *,
    followed: Censoring | None = None,
) -> BrierScore:
    """Measure the squared error of predicted incidence under censoring, and what it saves over knowing no covariate.

    Graf et al. (1999); with several causes Schoop et al. (2011).

    Args:
        time: (n,) time of event or censoring.
        cause: (n,) 0 censored, 1 the event predicted, above 1 other causes.
        predicted: (n, m) predicted probability of an event of cause 1 by each time: one less survival if nothing
            competes.
        at: (m,) rising times.
        followed: censoring distribution; default that of these data.

    Raises:
        ValueError: arrays that do not fit, predictions outside 0..1, or times that do not rise.
    """
    when, times = vector(time, "time"), vector(np.atleast_1d(np.asarray(at, dtype=np.float64)), "at")
    kind = vector(cause, "cause", when.size)
    chance = _by_time(predicted, "predicted", when.size, times.size)
    faults = []
    if ((chance < 0) | (chance > 1)).any():
        faults.append("predicted probabilities must lie in 0..1")
    if (np.diff(times) <= 0).any():
        faults.append("times must rise")
    if not (kind == 1).any():
        faults.append("nobody has an event of cause 1")
    complain(faults)
    weights = outcome_weights(when, kind, times, followed)
    gone = (kind == 1)[:, None] & (when[:, None] <= times[None, :])
    average = cumulative_incidence(life_table(None, when, kind), 1)
    value = average.value[np.maximum(np.searchsorted(average.time, times, "right") - 1, 0), 0]
    known = np.where(np.isnan(value), np.nanmax(average.value), value)
    score, reference = ((weights * (gone - p) ** 2).mean(0) for p in (chance, known[None, :]))
    whole, without = (_mean_over(times, curve) for curve in (score, reference))
    return BrierScore(time=times, score=score, reference=reference, integrated=whole, integrated_reference=without)


def outcome_weights(time: Floats, cause: Floats, at: Floats, followed: Censoring | None = None) -> Floats:
    """Return each customer's weight at each time, zero while the outcome is not known: (n, m).

    Args:
        time: (n,).
        cause: (n,) 0 censored.
        at: (m,).
        followed: censoring distribution; default that of these data.

    Raises:
        ValueError: an outcome at a time to which nobody could be followed.
    """
    curve = followed or censoring(time, cause > 0)
    hit = cause > 0
    own = np.zeros(time.size)
    early = hit & (time <= at.max(initial=-np.inf))
    own[early] = _inverse(curve.before(time[early]))
    out = np.empty((time.size, at.size))
    for column, moment in enumerate(at):
        gone = hit & (time <= moment)
        edge = ~hit & (time == moment)
        still = time > moment
        out[:, column] = np.where(gone, own, 0.0)
        if edge.any():
            out[edge | still, column] = _inverse(curve.before(np.array([moment])))[0]
        elif still.any():
            out[still, column] = _inverse(curve.beyond(np.array([moment])))[0]
    return out


def _mean_over(times: Floats, curve: Floats) -> float:
    """Average a curve over a stretch of time by the trapezium rule."""
    if times.size < 2:
        return float("nan")
    return float(np.diff(times) @ (curve[1:] + curve[:-1]) / 2 / (times[-1] - times[0]))


def _inverse(chance: Floats) -> Floats:
    if (chance <= 0).any():
        raise ValueError("nobody is followed as long as some outcomes take; shorten the horizon")
    return np.asarray(1 / chance)


def _by_time(values: ArrayLike, name: str, n: int, m: int) -> Floats:
    table = np.asarray(values, dtype=np.float64)
    table = np.repeat(table[:, None], m, axis=1) if table.ndim == 1 else table
    if table.shape != (n, m) or not np.isfinite(table).all():
        raise ValueError(f"{name} must be ({n}, {m}) without NaN or infinite values, got shape {np.shape(values)}")
    return table


def _later(order: Ints, rank: Ints) -> tuple[Floats, Floats, Floats]:
    """Count, for each i, the j with a later order and a lower rank, an equal rank, any rank: each (n,).

    Lower ranks are counted bit by bit: j is lower than i when, above some bit, both agree and there i has 1 and j 0.
    """
    n = order.size
    place = np.argsort(-order, kind="stable")
    o, r = order[place], rank[place]
    lower, equal = np.zeros(n), np.zeros(n)
    for bit in range(int(r.max(initial=0)).bit_length()):
        zero = (r >> bit) & 1 == 0
        lower[place] += np.where(zero, 0.0, _ahead_in_group(r >> (bit + 1), o, zero))
    every = np.ones(n, dtype=np.bool_)
    equal[place] = _ahead_in_group(r, o, every)
    later = np.zeros(n)
    later[place] = _ahead_in_group(np.zeros(n, dtype=np.int64), o, every)
    return lower, equal, later


def _ahead_in_group(group: Ints, order: Ints, counted: Bools) -> Floats:
    """Count those counted that stand in the same group at a strictly later order; rows come in falling order."""
    by = np.argsort(group, kind="stable")
    g, o, c = group[by], order[by], counted[by].astype(np.float64)
    so_far = np.cumsum(c) - c
    new_group = np.concatenate([[True], g[1:] != g[:-1]])
    new_run = new_group | np.concatenate([[True], o[1:] != o[:-1]])
    index = np.arange(g.size)
    start, run = (np.maximum.accumulate(np.where(flag, index, 0)) for flag in (new_group, new_run))
    out = np.empty(g.size)
    out[by] = so_far[run] - so_far[start]
    return out
