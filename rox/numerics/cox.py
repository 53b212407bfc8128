"""Fit Cox regressions exactly, from risk-set counts or from rows, with errors clustered by customer.

Estimand: log hazard ratio per unit of a covariate among those at risk. Assumes proportional hazards within strata and,
given the covariates, entry and censoring that tell nothing about the event. From counts the cost depends on times and
covariate patterns alone; from rows, which continuous covariates need, it grows in proportion to them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from rox.numerics.arrays import Floats, Ints, choice, codes, freeze, group_sums
from rox.numerics.event_times import EventTimes, positive, spans
from rox.numerics.jackknife import Jackknife, jackknife
from rox.numerics.partial_likelihood import (
    TIES,
    Maximum,
    RiskSums,
    Ties,
    expected,
    information,
    maximise,
    products,
    spread_ties,
    terms,
)
from rox.numerics.risk_sets import RiskSets


@dataclass(frozen=True, kw_only=True)
class Cox:
    """A fitted Cox model. k = covariates, t = event times of all strata."""

    coefficient: Floats
    """(k,) log hazard ratio per unit."""
    covariance: Floats
    """(k, k) inverse information: errors as if all rows were independent."""
    loglik: float
    loglik_null: float
    """With all coefficients zero."""
    events: int
    """Unweighted."""
    steps: int
    """Newton steps."""
    ties: str
    times: EventTimes
    hazard: Floats
    """(t,) increment of the baseline cumulative hazard, for covariates of zero."""
    residual: Floats
    """(t, k) covariates observed less expected among those who leave: Schoenfeld's residuals, summed over ties."""
    times_information: Floats
    """(t, k, k) information each event time holds; they sum to the inverse of `covariance`."""
    tied: Ints
    """(t,) events per time, unweighted."""
    passing: Floats
    """(t, 1 + k) hazard, and hazard times mean covariate, passed by those at risk who stay."""
    leaving: Floats
    """(t, 1 + k) the same for those who leave at the time, smaller under Efron's ties."""
    centre: Floats
    """(t, k) mean covariate among those at risk, averaged over tied events."""

    def __post_init__(self) -> None:
        freeze(self, "coefficient", "covariance", "hazard", "residual", "times_information", "tied")
        freeze(self, "passing", "leaving", "centre")

    @property
    def se(self) -> Floats:
        """(k,) standard errors as if all rows were independent."""
        return np.asarray(np.sqrt(np.diag(self.covariance)))

    @property
    def likelihood_ratio(self) -> float:
        """Chi-squared with k degrees of freedom of all coefficients being zero."""
        return 2 * (self.loglik - self.loglik_null)

    def cumulative_hazard(self, at: ArrayLike) -> Floats:
        """Return each stratum's baseline cumulative hazard at some times: (strata, m)."""
        when, first = np.atleast_1d(np.asarray(at, dtype=np.float64)), self.times.first
        out = np.empty((self.times.strata.size, when.size))
        for one in range(out.shape[0]):
            rows = slice(first[one], first[one + 1])
            running = np.concatenate([[0.0], np.cumsum(self.hazard[rows])])
            out[one] = running[np.searchsorted(self.times.time[rows], when, "right")]
        return out


def cox_from_counts(sets: RiskSets, x: ArrayLike, *, ties: str = "efron") -> Cox:
    """Fit a Cox model from numbers at risk and events by covariate pattern.

    The same likelihood as from rows (Efron 1977, or Breslow 1974), not an approximation.

    Args:
        sets: counts of `risk_sets` or `risk_sets_from_counts`.
        x: (g, k) covariates of each pattern.
        ties: "efron" or "breslow".

    Raises:
        ValueError: shapes that do not fit, covariates that do not vary among those at risk, or no maximum.

    Example:
        >>> from rox.numerics.risk_sets import risk_sets
        >>> sets = risk_sets([0] * 6, [1, 2, 3, 4, 5, 6], [1, 1, 0, 1, 1, 1], [0, 1, 0, 1, 0, 1])
        >>> round(float(cox_from_counts(sets, [[0], [1]]).coefficient[0]), 4)
        -0.2739
    """
    counted = _counted(sets, x, ties)
    best = maximise(counted.evaluate, counted.own.sum(0), counted.ties, counted.spread)
    return _fitted(best, counted.ties, counted.own, counted.weight, sets.tied, sets.times, counted.middle, ties)


@dataclass(frozen=True, kw_only=True)
class _Counted:
    """A likelihood of counts, ready to be climbed. t = event times, k = covariates."""

    evaluate: Callable[[Floats], RiskSums]
    ties: Ties
    own: Floats
    """(t, k) centred covariates summed over events."""
    weight: Floats
    """(t,) weight of the events."""
    middle: Floats
    """(k,) what was subtracted from the covariates."""
    spread: Floats
    """(k,) their standard deviation among those at risk."""


def _counted(sets: RiskSets, x: ArrayLike, ties: str) -> _Counted:
    choice(ties, TIES, "ties")
    patterns = _design(x, sets.at_risk.shape[1], "patterns")
    stay, died = sets.at_risk.sum(0), sets.events.sum(0)
    middle = stay @ patterns / stay.sum()
    design = patterns - middle
    table = products(design)

    def evaluate(beta: Floats) -> RiskSums:
        eta = design @ beta
        shift = float(eta.max())
        weighted = np.exp(eta - shift)[:, None] * table
        return RiskSums(
            at_risk=sets.at_risk @ weighted, dead=sets.events @ weighted, linear=float(died @ eta), shift=shift
        )

    weight = sets.events.sum(1)
    return _Counted(
        evaluate=evaluate,
        ties=spread_ties(sets.tied, weight, ties),
        own=sets.events @ design,
        weight=weight,
        middle=middle,
        spread=np.sqrt(stay @ design**2 / stay.sum()),
    )


def cox_from_rows(
    start: ArrayLike,
    stop: ArrayLike,
    event: ArrayLike,
    x: ArrayLike,
    stratum: ArrayLike | None = None,
    *,
    weights: ArrayLike | None = None,
    ties: str = "efron",
) -> Cox:
    """Fit a Cox model from counting-process rows with covariates of any kind.

    Sums over risk sets are running sums from the last time backwards, so a Newton step costs n·k²/2 whatever the number
    of event times.

    Args:
        start: (n,) beginning of the time at risk, not itself at risk.
        stop: (n,) its end.
        event: (n,) whether the row ends with an event.
        x: (n, k) covariates in force during the row.
        stratum: (n,) labels.
        weights: (n,) positive case weights.
        ties: "efron" or "breslow".

    Raises:
        ValueError: rows that `risk_sets` would refuse, or a likelihood that `cox_from_counts` would refuse.

    Example:
        >>> fit = cox_from_rows([0] * 6, [1, 2, 3, 4, 5, 6], [1, 1, 0, 1, 1, 1], [[0], [1], [0], [1], [0], [1]])
        >>> round(float(fit.coefficient[0]), 4)
        -0.2739
    """
    counted, count, times = _rowed(start, stop, event, x, stratum, weights, ties)
    best = maximise(counted.evaluate, counted.own.sum(0), counted.ties, counted.spread)
    return _fitted(best, counted.ties, counted.own, counted.weight, count, times, counted.middle, ties)


def next_coefficient(
    fit: Cox,
    start: ArrayLike,
    stop: ArrayLike,
    event: ArrayLike,
    x: ArrayLike,
    stratum: ArrayLike | None = None,
    *,
    weights: ArrayLike | None = None,
) -> Floats:
    """Take one Newton step from a fit with covariates that differ a little: what they make of it to first order.

    Args:
        fit: where to start.
        start: (n,).
        stop: (n,).
        event: (n,).
        x: (n, k) the other covariates.
        stratum: (n,) labels.
        weights: (n,) case weights, as in the fit.

    Returns:
        (k,) coefficients.

    Raises:
        ValueError: as `cox_from_rows`.
    """
    counted, _, _ = _rowed(start, stop, event, x, stratum, weights, fit.ties)
    sums = counted.evaluate(fit.coefficient)
    found, k = terms(sums, counted.ties), fit.coefficient.size
    score = counted.own.sum(0) - expected(sums, found, k).sum(0)
    return np.asarray(fit.coefficient + np.linalg.solve(information(sums, found, k), score))


def _rowed(
    start: ArrayLike,
    stop: ArrayLike,
    event: ArrayLike,
    x: ArrayLike,
    stratum: ArrayLike | None,
    weights: ArrayLike | None,
    ties: str,
) -> tuple[_Counted, Ints, EventTimes]:
    """Make the likelihood of rows ready to be climbed; also events by time, and the times."""
    choice(ties, TIES, "ties")
    placed = spans(start, stop, event, stratum)
    seen = placed.first < placed.last
    rows = _design(x, seen.size, "rows")[seen]
    weight = np.ones(seen.size) if weights is None else positive(weights, "weights", seen.size)
    first, last, died, weight = placed.first[seen], placed.last[seen], placed.died[seen], weight[seen]
    middle = weight @ rows / weight.sum()
    design = rows - middle
    hit, height = died >= 0, placed.times.time.size
    upper = np.triu_indices(design.shape[1])

    def evaluate(beta: Floats) -> RiskSums:
        eta = design @ beta
        shift = float(eta.max())
        risk = weight * np.exp(eta - shift)
        ones = [risk, *(risk * column for column in design.T)]
        at_risk = np.empty((height, len(ones) + upper[0].size))
        dead = np.empty_like(at_risk)
        for column in range(at_risk.shape[1]):
            pair = column - len(ones)
            values = ones[column] if pair < 0 else ones[1 + upper[0][pair]] * design[:, upper[1][pair]]
            at_risk[:, column] = _at_risk(first, last, values, height)
            dead[:, column] = np.bincount(died[hit], weights=values[hit], minlength=height)
        return RiskSums(at_risk=at_risk, dead=dead, linear=float(weight[hit] @ eta[hit]), shift=shift)

    own = group_sums(weight[hit, None] * design[hit], died[hit], height)
    mass = np.bincount(died[hit], weights=weight[hit], minlength=height).astype(np.float64)
    count = np.bincount(died[hit], minlength=height).astype(np.int64)
    counted = _Counted(
        evaluate=evaluate,
        ties=spread_ties(count, mass, ties),
        own=own,
        weight=mass,
        middle=middle,
        spread=np.sqrt(weight @ design**2 / weight.sum()),
    )
    return counted, count, placed.times


def score_residuals(
    fit: Cox,
    start: ArrayLike,
    stop: ArrayLike,
    event: ArrayLike,
    x: ArrayLike,
    stratum: ArrayLike | None = None,
) -> Floats:
    """Return each row's contribution to the score at the maximum (Therneau & Grambsch 2000, section 7.2).

    Every residual is a difference of two running sums kept in the fit, so an engine can join them to its rows and add
    them up by customer; weighted rows multiply theirs by their weight.

    Args:
        fit: of the same rows, from counts or from rows.
        start: (n,).
        stop: (n,).
        event: (n,).
        x: (n, k).
        stratum: (n,) labels.

    Returns:
        (n, k); weighted, they sum to zero.

    Raises:
        ValueError: rows with events at times, or strata, that the fit does not have.
    """
    placed = spans(start, stop, event, stratum, times=fit.times)
    rows = _design(x, placed.first.size, "rows")
    running = np.vstack([np.zeros(fit.passing.shape[1]), np.cumsum(fit.passing, axis=0)])
    passed = running[placed.last] - running[placed.first]
    hit = placed.died >= 0
    own = placed.died[hit]
    passed[hit] += fit.leaving[own] - fit.passing[own]
    risk = np.exp(rows @ fit.coefficient)
    out = -risk[:, None] * (rows * passed[:, :1] - passed[:, 1:])
    out[hit] += rows[hit] - fit.centre[own]
    return np.asarray(out)


def clustered_covariance(
    fit: Cox, residuals: ArrayLike, cluster: ArrayLike | None = None, *, weights: ArrayLike | None = None
) -> Floats:
    """Return the sandwich covariance of the coefficients (Lin & Wei 1989), without small-sample factor.

    Args:
        fit: the model.
        residuals: (n, k) of `score_residuals`, or sums of them by cluster.
        cluster: (n,) labels of customers, over whose rows the residuals are added up; default each row its own.
        weights: (n,) case weights.

    Raises:
        ValueError: shapes that do not fit.
    """
    scores = np.asarray(residuals, dtype=np.float64)
    if scores.ndim != 2 or scores.shape[1] != fit.coefficient.size:
        raise ValueError(f"residuals must be (n, {fit.coefficient.size}), got shape {scores.shape}")
    if weights is not None:
        scores = scores * positive(weights, "weights", scores.shape[0])[:, None]
    if cluster is not None:
        code, levels = codes(cluster, "cluster", scores.shape[0])
        scores = group_sums(scores, code, levels.size)
    influence = scores @ fit.covariance
    return np.asarray(influence.T @ influence)


def bucket_jackknife(
    sets: RiskSets, parts: Iterable[RiskSets], x: ArrayLike, fit: Cox, *, level: float = 0.9
) -> Jackknife:
    """Refit with each bucket of customers left out, for errors clustered by customer without going back to the rows.

    Args:
        sets: counts of all rows.
        parts: counts of each bucket on the same times, such as `bucket_parts` yields; together they are the whole.
        x: (g, k) covariates of each pattern.
        fit: model of all rows.
        level: of the intervals.

    Raises:
        ValueError: fewer than two buckets, or a bucket without which the likelihood has no maximum.
    """
    found = []
    for part in parts:
        rest = _counted(sets.without(part), x, fit.ties)
        best = maximise(rest.evaluate, rest.own.sum(0), rest.ties, rest.spread, fit.coefficient)
        found.append(best.coefficient)
    return jackknife(fit.coefficient, found, level=level)


def _at_risk(first: Ints, last: Ints, values: Floats, height: int) -> Floats:
    """Sum the values of the rows with first <= place < last, running backwards so that late sums stay exact."""
    came = np.bincount(first, weights=values, minlength=height + 1)
    went = np.bincount(last, weights=values, minlength=height + 1)
    return np.asarray(np.cumsum((went - came)[::-1])[::-1][1:])


def _fitted(
    best: Maximum,
    tied: Ties,
    own: Floats,
    weight: Floats,
    count: Ints,
    times: EventTimes,
    middle: Floats,
    ties: str,
) -> Cox:
    """Collect what later questions need: hazards, residuals and running sums on the covariates' own scale."""
    k, sums = middle.size, best.sums
    place, share = tied.place, tied.share
    left = sums.at_risk[place] - share[:, None] * sums.dead[place]
    mean = left[:, 1 : k + 1] / left[:, :1]
    step = tied.weight / left[:, 0] * np.exp(-sums.shift - middle @ best.coefficient)
    size = times.time.size
    raw = np.column_stack([np.ones(place.size), mean + middle])
    per_time = np.bincount(place, minlength=size)
    centre = group_sums(mean, place, size) / np.maximum(per_time, 1)[:, None]
    return Cox(
        coefficient=best.coefficient,
        covariance=best.covariance,
        loglik=best.loglik,
        loglik_null=best.loglik_start,
        events=int(count.sum()),
        steps=best.steps,
        ties=ties,
        times=times,
        hazard=tied.total(step),
        residual=own - centre * weight[:, None],
        times_information=_information_by_time(best, k),
        tied=count,
        passing=group_sums(raw * step[:, None], place, size),
        leaving=group_sums(raw * (step * (1 - share))[:, None], place, size),
        centre=centre + middle,
    )


def _information_by_time(best: Maximum, k: int) -> Floats:
    """Return the information of each event time: (t, k, k)."""
    (a0, a1), (b0, b1, b2) = best.terms.first, best.terms.second
    alive, gone = best.sums.at_risk, best.sums.dead
    upper = np.triu_indices(k)
    flat = a0[:, None] * alive[:, k + 1 :] - a1[:, None] * gone[:, k + 1 :]
    one, two = alive[:, 1 : k + 1], gone[:, 1 : k + 1]
    for column, (i, j) in enumerate(zip(*upper, strict=True)):
        cross = one[:, i] * two[:, j] + two[:, i] * one[:, j]
        flat[:, column] -= b0 * one[:, i] * one[:, j] - b1 * cross + b2 * two[:, i] * two[:, j]
    out = np.empty((flat.shape[0], k, k))
    out[:, upper[0], upper[1]] = flat
    out[:, upper[1], upper[0]] = flat
    return out


def _design(x: ArrayLike, n: int, what: str) -> Floats:
    rows = np.asarray(x, dtype=np.float64)
    rows = rows[:, None] if rows.ndim == 1 else rows
    if rows.ndim != 2 or rows.shape[0] != n or not rows.shape[1]:
        raise ValueError(f"x must be ({n}, k) with a row for each of the {n} {what}, got shape {np.shape(x)}")
    if not np.isfinite(rows).all():
        raise ValueError(f"x has {int((~np.isfinite(rows)).sum())} values that are NaN or infinite; drop those rows")
    return rows
