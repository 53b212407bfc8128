"""Count who is at risk and who leaves, by event time and covariate pattern: all that Cox's likelihood sees of the rows.

Counts add up over tables, buckets and days, so they may come from rows or from an engine; a model fitted from them
costs the same for a thousand rows as for a billion.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rox.numerics.arrays import Floats, Ints, codes, complain, freeze, vector
from rox.numerics.event_times import EventTimes, event_times, positive, spans


@dataclass(frozen=True, kw_only=True)
class RiskSets:
    """Who is at risk and who leaves. t = event times of all strata, g = covariate patterns."""

    times: EventTimes
    at_risk: Floats
    """(t, g) numbers (or weights) with start < time <= stop."""
    events: Floats
    """(t, g) events (or their weights) at the time."""
    tied: Ints
    """(t,) events behind each row, unweighted: the ties that Efron's method spreads out."""
    idle: int
    """Rows that end when they begin, which are never at risk."""

    def __post_init__(self) -> None:
        freeze(self, "at_risk", "events", "tied")

    @property
    def time(self) -> Floats:
        """(t,) event times, rising within each stratum."""
        return self.times.time

    @property
    def stratum(self) -> Ints:
        """(t,) place of each row's stratum in `strata`."""
        return self.times.stratum

    @property
    def strata(self) -> NDArray[Any]:
        """Labels of the strata."""
        return self.times.strata

    def without(self, part: RiskSets) -> RiskSets:
        """Subtract counts made on the same event times, such as those of one bucket.

        Raises:
            ValueError: the part lies on other times or patterns, or holds more than the whole.
        """
        if not self.times.same(part.times) or self.at_risk.shape != part.at_risk.shape:
            raise ValueError("the part has other event times or patterns; count it with like=<the whole>")
        at_risk, events = self.at_risk - part.at_risk, self.events - part.events
        tied = self.tied - part.tied
        slack = 1e-9 * max(1.0, float(self.at_risk.max(initial=0.0)))
        if min(at_risk.min(initial=0.0), events.min(initial=0.0)) < -slack or tied.min(initial=0) < 0:
            raise ValueError("the part holds rows that the whole does not")
        return RiskSets(
            times=self.times,
            at_risk=np.maximum(at_risk, 0.0),
            events=np.where(tied[:, None] > 0, np.maximum(events, 0.0), 0.0),
            tied=tied,
            idle=self.idle - part.idle,
        )


def risk_sets(
    start: ArrayLike,
    stop: ArrayLike,
    event: ArrayLike,
    pattern: ArrayLike,
    stratum: ArrayLike | None = None,
    *,
    weights: ArrayLike | None = None,
    patterns: int | None = None,
    like: RiskSets | None = None,
) -> RiskSets:
    """Count numbers at risk and events from counting-process rows.

    Args:
        start: (n,) beginning of the time at risk, not itself at risk.
        stop: (n,) its end, still at risk.
        event: (n,) whether the row ends with an event.
        pattern: (n,) codes 0..g-1 of the covariate pattern, see `covariate_patterns`.
        stratum: (n,) labels; risk sets never cross strata. Default one stratum.
        weights: (n,) positive case weights. Ties are counted unweighted, as R's `coxph` does; rows that stand for many
            customers belong in `risk_sets_from_counts`.
        patterns: number g of patterns; default the largest code and one.
        like: counts whose event times, strata and patterns to use.

    Raises:
        ValueError: arrays that do not fit, a stop before its start, an event without time at risk, weights that are not
            positive, or no event at all.

    Example:
        >>> sets = risk_sets([0, 0, 1, 2], [2, 3, 3, 4], [1, 0, 1, 0], [0, 1, 0, 1])
        >>> sets.time.tolist(), sets.at_risk.tolist(), sets.events.tolist()
        ([2.0, 3.0], [[2.0, 1.0], [1.0, 2.0]], [[1.0, 0.0], [1.0, 0.0]])
    """
    placed = spans(start, stop, event, stratum, times=None if like is None else like.times)
    n, height, hit = placed.first.size, placed.times.time.size, placed.died >= 0
    code, size = _pattern_codes(pattern, n, patterns if like is None else like.at_risk.shape[1])
    weight = np.ones(n) if weights is None else positive(weights, "weights", n)
    came = _tally(placed.first, code, weight, height, size)
    went = _tally(placed.last, code, weight, height, size)
    return RiskSets(
        times=placed.times,
        at_risk=_standing(came, went),
        events=_tally(placed.died[hit], code[hit], weight[hit], height, size),
        tied=np.bincount(placed.died[hit], minlength=height).astype(np.int64),
        idle=placed.idle,
    )


def risk_sets_from_counts(
    time: ArrayLike,
    pattern: ArrayLike,
    *,
    entries: ArrayLike,
    exits: ArrayLike,
    events: ArrayLike,
    stratum: ArrayLike | None = None,
    patterns: int | None = None,
    like: RiskSets | None = None,
) -> RiskSets:
    """Count numbers at risk and events from entries and exits per time and pattern, as an engine groups them.

    A customer whose episodes follow one another leaves one cell and enters another at the same time.

    Args:
        time: (m,) time of the entries and exits of a cell.
        pattern: (m,) codes 0..g-1.
        entries: (m,) rows whose start is this time.
        exits: (m,) rows whose stop is this time, with or without event.
        events: (m,) those of the exits that are events.
        stratum: (m,) labels.
        patterns: number g of patterns.
        like: counts whose event times, strata and patterns to use.

    Raises:
        ValueError: arrays that do not fit, negative counts, events that are not whole numbers or exceed the exits, no
            event at all, or exits that no entry explains.

    Example:
        >>> sets = risk_sets_from_counts(
        ...     [0, 1, 2, 3], [0] * 4, entries=[5, 2, 0, 0], exits=[0, 0, 3, 4], events=[0, 0, 2, 1])
        >>> sets.at_risk.ravel().tolist(), sets.events.ravel().tolist()
        ([7.0, 4.0], [2.0, 1.0])
    """
    when = vector(time, "time")
    n = when.size
    into, out, died = (vector(v, k, n) for v, k in ((entries, "entries"), (exits, "exits"), (events, "events")))
    code, size = _pattern_codes(pattern, n, patterns if like is None else like.at_risk.shape[1])
    hit = died > 0
    faults = []
    if min(into.min(initial=0), out.min(initial=0), died.min(initial=0)) < 0:
        faults.append("entries, exits and events must not be negative")
    if (died != np.round(died)).any():
        faults.append("events must be whole numbers, since ties are counted")
    if (died > out).any():
        faults.append(f"{int((died > out).sum())} cells have more events than exits")
    if like is None and not hit.any():
        faults.append("there is no event")
    complain(faults)
    times = event_times(np.where(hit, when, np.nan), stratum) if like is None else like.times
    layer, height = times.rows(stratum, n), times.time.size
    after = times.after(when, layer)
    at_risk = _standing(_tally(after, code, into, height, size), _tally(after, code, out, height, size))
    deaths = _tally(times.at(when[hit], layer[hit]), code[hit], died[hit], height, size)
    if (at_risk < deaths).any():
        raise ValueError("more rows leave than have entered: some entries are missing")
    return RiskSets(times=times, at_risk=at_risk, events=deaths, tied=np.round(deaths.sum(1)).astype(np.int64), idle=0)


def bucket_parts(
    whole: RiskSets,
    start: ArrayLike,
    stop: ArrayLike,
    event: ArrayLike,
    pattern: ArrayLike,
    bucket: ArrayLike,
    stratum: ArrayLike | None = None,
    *,
    weights: ArrayLike | None = None,
) -> Iterator[RiskSets]:
    """Yield the counts of each bucket of customers on the event times of the whole, one at a time.

    Args:
        whole: counts of all rows.
        start: (n,).
        stop: (n,).
        event: (n,).
        pattern: (n,) codes.
        bucket: (n,) labels; all rows of a customer have one.
        stratum: (n,) labels.
        weights: (n,) case weights.
    """
    columns = [np.asarray(values) for values in (start, stop, event, pattern)]
    layer = np.zeros(columns[0].size, dtype=np.int64) if stratum is None else np.asarray(stratum)
    named = layer if stratum is not None else np.full(layer.size, whole.strata[0])
    weight = None if weights is None else np.asarray(weights)
    where, labels = codes(bucket, "bucket", columns[0].size)
    order = np.argsort(where, kind="stable")
    for rows in np.split(order, np.cumsum(np.bincount(where, minlength=labels.size))[:-1]):
        began, ended, hit, code = (column[rows] for column in columns)
        part = None if weight is None else weight[rows]
        yield risk_sets(began, ended, hit, code, named[rows], weights=part, like=whole)


def covariate_patterns(x: ArrayLike) -> tuple[Ints, Floats]:
    """Return each row's pattern code (n,) and the distinct rows (g, k), in sorted order.

    Raises:
        ValueError: `x` is not (n, k) or holds values that are not finite.

    Example:
        >>> code, x = covariate_patterns([[1, 0], [0, 5], [1, 0]])
        >>> code.tolist(), x.tolist()
        ([1, 0, 1], [[0.0, 5.0], [1.0, 0.0]])
    """
    rows = np.asarray(x, dtype=np.float64)
    if rows.ndim != 2 or not rows.size or not np.isfinite(rows).all():
        raise ValueError(f"x must be (n, k), not empty, without NaN or infinite values, got shape {rows.shape}")
    code = np.zeros(rows.shape[0], dtype=np.int64)
    first = np.zeros(1, dtype=np.int64)
    for column in rows.T:
        levels, inverse = np.unique(column, return_inverse=True)
        _, first, code = np.unique(code * levels.size + inverse, return_index=True, return_inverse=True)
    return code.astype(np.int64), rows[first]


def _standing(came: Floats, went: Floats) -> Floats:
    """Add up entries less exits; whoever outlasts a stratum's times leaves where the next stratum begins."""
    return np.asarray(np.maximum(np.cumsum(came - went, axis=0), 0.0))


def _tally(row: Ints, column: Ints, weight: Floats, height: int, width: int) -> Floats:
    """Add weights into a (height, width) table; rows past its end fall away."""
    inside = row < height
    flat = np.bincount(row[inside] * width + column[inside], weights=weight[inside], minlength=height * width)
    return np.asarray(flat, dtype=np.float64).reshape(height, width)


def _pattern_codes(pattern: ArrayLike, n: int, patterns: int | None) -> tuple[Ints, int]:
    raw = np.asarray(pattern)
    if raw.shape != (n,) or raw.dtype.kind not in "iub":
        raise ValueError(f"pattern must hold {n} integer codes, got {raw.dtype} of shape {raw.shape}")
    code = raw.astype(np.int64)
    size = int(code.max(initial=0)) + 1 if patterns is None else patterns
    if code.min(initial=0) < 0 or code.max(initial=0) >= size:
        raise ValueError(f"pattern codes must lie in 0..{size - 1}, found {code.min()}..{code.max()}")
    return code, size
