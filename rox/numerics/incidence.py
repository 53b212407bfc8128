"""Estimate survival and cumulative incidence by group from numbers at risk, with late entry, ties and several causes.

Everything rests on a life table: entries, exits and events by time and group. The tables of buckets or days add up, and
curves cost the same whatever the number of rows. A row is at risk in (start, stop].
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rox.numerics.arrays import Floats, Ints, choice, codes, complain, freeze, vector
from rox.numerics.event_times import positive

VARIANCES = ("greenwood", "aalen")


@dataclass(frozen=True, kw_only=True)
class LifeTable:
    """Who enters, leaves and has which event. t = distinct times, g = groups, c = causes."""

    time: Floats
    """(t,) rising."""
    groups: NDArray[Any]
    """(g,) labels."""
    causes: NDArray[Any]
    """(c,) labels."""
    entries: Floats
    """(t, g) rows that start at the time, at risk after it."""
    exits: Floats
    """(t, g) rows that stop at the time, at risk up to it."""
    events: Floats
    """(t, g, c) exits by cause."""
    idle: int
    """Rows that end when they begin, which are never at risk."""

    def __post_init__(self) -> None:
        freeze(self, "time", "groups", "causes", "entries", "exits", "events")

    @property
    def at_risk(self) -> Floats:
        """(t, g) numbers with start < time <= stop."""
        net = self.entries - self.exits
        return _standing(np.cumsum(net, axis=0) - net, self.entries)

    def at_risk_at(self, at: ArrayLike) -> Floats:
        """Return the numbers at risk just after some times, start <= time < stop, as printed under a curve: (m, g)."""
        place = np.searchsorted(self.time, np.atleast_1d(np.asarray(at, dtype=np.float64)), "right")
        standing = np.vstack([np.zeros((1, self.groups.size)), np.cumsum(self.entries - self.exits, axis=0)])
        return _standing(standing[place], self.entries)

    def only(self, *causes: Any) -> LifeTable:
        """Keep some causes; the others become censoring.

        Raises:
            ValueError: a cause that the table does not have.
        """
        missing = [cause for cause in causes if cause not in self.causes.tolist()]
        if missing or not causes:
            raise ValueError(f"causes {missing} are not among {self.causes.tolist()}")
        kept = np.isin(self.causes, causes)
        return replace(self, causes=self.causes[kept], events=self.events[:, :, kept])

    def since(self, origin: float) -> LifeTable:
        """Keep what happens after a time, to estimate given survival to it, past risk sets too small to trust.

        Raises:
            ValueError: nobody is followed beyond it.
        """
        late = self.time > origin
        held = (self.entries - self.exits)[~late].sum(0)
        if not late.any() or not held.any():
            raise ValueError(f"nobody is followed beyond {origin}")
        return replace(
            self,
            time=np.concatenate([[origin], self.time[late]]),
            entries=np.vstack([held, self.entries[late]]),
            exits=np.vstack([np.zeros_like(held), self.exits[late]]),
            events=np.concatenate([np.zeros((1, *self.events.shape[1:])), self.events[late]]),
        )


@dataclass(frozen=True, kw_only=True)
class Curves:
    """Step functions by group, with their errors. t = times, g = groups."""

    kind: str
    """survival | incidence."""
    time: Floats
    """(t,) rising; the value at a time holds up to the next."""
    groups: NDArray[Any]
    """(g,) labels."""
    value: Floats
    """(t, g); NaN after a group's last follow-up."""
    se: Floats
    """(t, g)."""
    hazard: Floats
    """(t, g) events of all causes over those at risk."""
    log_variance: Floats
    """(t, g) Greenwood's sum of d/(Y(Y - d)): variance of the log of the survival from all causes."""
    at_risk: Floats
    """(t, g)."""

    def __post_init__(self) -> None:
        freeze(self, "time", "groups", "value", "se", "hazard", "log_variance", "at_risk")

    def at(self, times: ArrayLike) -> tuple[Floats, Floats]:
        """Return value and standard error at some times, both (m, g); NaN beyond a group's follow-up."""
        when = np.atleast_1d(np.asarray(times, dtype=np.float64))
        place = np.searchsorted(self.time, when, "right") - 1
        begin = 1.0 if self.kind == "survival" else 0.0
        value = np.where((place < 0)[:, None], begin, self.value[place])
        error = np.where((place < 0)[:, None], 0.0, self.se[place])
        beyond = when[:, None] > self.followed[None, :]
        return np.where(beyond, np.nan, value), np.where(beyond, np.nan, error)

    @property
    def followed(self) -> Floats:
        """(g,) last time at which anybody is at risk."""
        seen = self.at_risk > 0
        last = self.time.size - 1 - np.argmax(seen[::-1], axis=0)
        return np.where(seen.any(0), self.time[last], -np.inf)


def life_table(
    start: ArrayLike | None,
    stop: ArrayLike,
    cause: ArrayLike,
    group: ArrayLike | None = None,
    *,
    weights: ArrayLike | None = None,
) -> LifeTable:
    """Count entries, exits and events by cause from rows.

    Args:
        start: (n,) beginning of the time at risk; default zero.
        stop: (n,) its end.
        cause: (n,) 0 for none, otherwise the event's cause (a whole number).
        group: (n,) labels.
        weights: (n,) positive numbers of customers that a row stands for. With design weights the curves hold and
            their standard errors do not; take a jackknife over tables of buckets.

    Raises:
        ValueError: arrays that do not fit, a stop before its start, an event without time at risk, causes that are not
            whole numbers from 0 up, or no event at all.

    Example:
        >>> table = life_table(None, [1, 2, 2, 3], [1, 0, 2, 1])
        >>> table.at_risk.ravel().tolist(), table.events[:, 0].tolist()
        ([0.0, 4.0, 3.0, 1.0], [[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    """
    ended = vector(stop, "stop")
    n = ended.size
    began = np.zeros(n) if start is None else vector(start, "start", n)
    kind = vector(cause, "cause", n)
    weight = np.ones(n) if weights is None else positive(weights, "weights", n)
    code, labels = codes(np.zeros(n, dtype=np.int64) if group is None else group, "group", n)
    hit = kind > 0
    faults = []
    if (kind < 0).any() or (kind != np.round(kind)).any():
        faults.append("cause must be 0 (no event) or a whole number above")
    if (ended < began).any():
        faults.append(f"{int((ended < began).sum())} rows stop before they start")
    if (hit & (ended == began)).any():
        faults.append(f"{int((hit & (ended == began)).sum())} events have no time at risk (stop equals start)")
    if not hit.any():
        faults.append("there is no event")
    complain(faults)
    causes, which = np.unique(kind[hit].astype(np.int64), return_inverse=True)
    time, place = np.unique(np.concatenate([began, ended]), return_inverse=True)
    size = time.size * labels.size
    at, end = place[:n] * labels.size + code, place[n:] * labels.size + code
    shape = (time.size, labels.size)
    return LifeTable(
        time=time,
        groups=labels,
        causes=causes,
        entries=_tally(at, weight, size).reshape(shape),
        exits=_tally(end, weight, size).reshape(shape),
        events=_tally(end[hit] * causes.size + which, weight[hit], size * causes.size).reshape(*shape, causes.size),
        idle=int((ended == began).sum()),
    )


def life_table_from_counts(
    time: ArrayLike, group: ArrayLike, *, entries: ArrayLike, exits: ArrayLike, events: ArrayLike
) -> LifeTable:
    """Arrange entries, exits and events that an engine has grouped by time and group; cells may repeat and add up.

    Args:
        time: (m,).
        group: (m,) labels.
        entries: (m,) rows that start at the time.
        exits: (m,) rows that stop at it, whatever the reason.
        events: (m, c) those of the exits that are events, by cause 1..c.

    Raises:
        ValueError: arrays that do not fit, negative counts, more events than exits, exits that no entry explains.
    """
    when = vector(time, "time")
    m = when.size
    into, out = vector(entries, "entries", m), vector(exits, "exits", m)
    died = np.asarray(events, dtype=np.float64).reshape(m, -1)
    code, labels = codes(group, "group", m)
    faults = []
    if not np.isfinite(died).all() or min(into.min(), out.min(), died.min()) < 0:
        faults.append("entries, exits and events must be finite and not negative")
    elif (over := died.sum(1) > out * (1 + 1e-12)).any():
        faults.append(f"{int(over.sum())} cells have more events than exits")
    complain(faults)
    grid, place = np.unique(when, return_inverse=True)
    flat, shape = place * labels.size + code, (grid.size, labels.size)
    tallies = [_tally(flat, column, grid.size * labels.size).reshape(shape) for column in (into, out, *died.T)]
    table = LifeTable(
        time=grid,
        groups=labels,
        causes=np.arange(1, died.shape[1] + 1),
        entries=tallies[0],
        exits=tallies[1],
        events=np.stack(tallies[2:], axis=-1),
        idle=0,
    )
    if (table.exits > table.at_risk + 1e-9 * max(1.0, float(into.sum()))).any():
        raise ValueError("more rows leave than have entered before: some entries are missing")
    return table


def kaplan_meier(table: LifeTable) -> Curves:
    """Estimate survival from all causes in the table (Kaplan & Meier 1958), with Greenwood's variance.

    Estimand: share free of any of the causes at each time. Assumes that entry and censoring tell nothing about the
    event. To treat a cause as censoring use `table.only`, which answers another question than incidence does.

    Example:
        >>> curve = kaplan_meier(life_table(None, [1, 2, 2, 3], [1, 0, 1, 1]))
        >>> curve.value.ravel().tolist()
        [1.0, 0.75, 0.5, 0.0]
    """
    at_risk, died = table.at_risk, table.events.sum(2)
    hazard = _share(died, at_risk)
    alive = np.asarray(np.cumprod(1 - hazard, axis=0), dtype=np.float64)
    log_variance = np.cumsum(_share(died, at_risk * (at_risk - died)), axis=0)
    se = np.asarray(np.where(alive > 0, alive * np.sqrt(log_variance), 0.0), dtype=np.float64)
    return _curves("survival", table, alive, se, hazard, log_variance, at_risk)


def cumulative_incidence(table: LifeTable, cause: Any, *, variance: str = "greenwood") -> Curves:
    """Estimate the share with an event of one cause by each time, other causes competing (Aalen & Johansen 1978).

    Variance "greenwood" is the delta method on multinomial events, which gives Greenwood's for a single cause (Dinse &
    Larson 1986); "aalen" is Aalen's (1978), as in Pintilie (2006, equation 4.5).

    Args:
        table: with all competing causes.
        cause: label of the cause.
        variance: "greenwood" or "aalen".

    Raises:
        ValueError: an unknown cause or variance.

    Example:
        >>> curve = cumulative_incidence(life_table(None, [1, 2, 3, 4], [1, 2, 1, 0]), 1)
        >>> curve.value.ravel().tolist()
        [0.0, 0.25, 0.25, 0.5, 0.5]
    """
    choice(variance, VARIANCES, "variance")
    if cause not in table.causes.tolist():
        raise ValueError(f"cause {cause!r} is not among {table.causes.tolist()}")
    at_risk, died = table.at_risk, table.events.sum(2)
    own = table.events[:, :, table.causes.tolist().index(cause)]
    hazard = _share(died, at_risk)
    alive = np.asarray(np.cumprod(1 - hazard, axis=0), dtype=np.float64)
    before = np.vstack([np.ones((1, alive.shape[1])), alive[:-1]])
    value = np.cumsum(before * _share(own, at_risk), axis=0)
    quadratic, cross, direct = event_moments(at_risk, died, own, variance)
    level, mixed = np.cumsum(quadratic, axis=0), np.cumsum(before * cross, axis=0)
    spread = (
        value**2 * level
        - 2 * value * np.cumsum(value * quadratic, axis=0)
        + np.cumsum(value**2 * quadratic, axis=0)
        + np.cumsum(before**2 * direct, axis=0)
        - 2 * (value * mixed - np.cumsum(value * before * cross, axis=0))
    )
    log_variance = np.cumsum(_share(died, at_risk * (at_risk - died)), axis=0)
    se = np.asarray(np.sqrt(np.maximum(spread, 0.0)), dtype=np.float64)
    return _curves("incidence", table, value, se, hazard, log_variance, at_risk)


def event_moments(at_risk: Floats, died: Floats, own: Floats, variance: str) -> tuple[Floats, Floats, Floats]:
    """Return the weights of later change squared, of later change times own jump, and of own jump squared: each (t, g).

    A functional that an event of any cause at u changes by -m·Y/(Y - d) and one of the own cause by s more has the
    variance: sum over u of m²·first - 2·m·s·second + s²·third.
    """
    if variance == "aalen":
        fewer = at_risk - 1
        rest = own * (at_risk - own)
        return (
            _share(died, fewer * (at_risk - died)),
            _share(rest, fewer * at_risk * (at_risk - died)),
            _share(rest, fewer * at_risk**2),
        )
    return (
        _share(died, at_risk * (at_risk - died)),
        _share(own, at_risk**2),
        _share(own * (at_risk - own), at_risk**3),
    )


def _tally(place: Ints, weight: Floats, size: int) -> Floats:
    return np.asarray(np.bincount(place, weights=weight, minlength=size), dtype=np.float64)


def _standing(net: Floats, entries: Floats) -> Floats:
    """Clear what rounding leaves behind when fractional weights have come and gone."""
    return np.where(net > 1e-12 * entries.sum(0), net, 0.0)


def _share(part: Floats, whole: Floats) -> Floats:
    """Divide, zero where there is nothing to divide by."""
    out = np.zeros_like(part)
    return np.asarray(np.divide(part, whole, out=out, where=whole > 0))


def _curves(
    kind: str, table: LifeTable, value: Floats, se: Floats, hazard: Floats, log_variance: Floats, at_risk: Floats
) -> Curves:
    seen = np.cumsum((at_risk > 0)[::-1], axis=0)[::-1] > 0
    return Curves(
        kind=kind,
        time=table.time,
        groups=table.groups,
        value=np.where(seen, value, np.nan),
        se=np.where(seen, se, np.nan),
        hazard=hazard,
        log_variance=log_variance,
        at_risk=at_risk,
    )
