"""Place counting-process rows among the event times of their stratum.

A row is at risk in (start, stop]: entering at a time is too late for the events of that time, and leaving at it is not
(Andersen & Gill 1982).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rox.numerics.arrays import Bools, Floats, Ints, codes, complain, freeze, vector


@dataclass(frozen=True, kw_only=True)
class EventTimes:
    """The distinct times at which somebody has an event, stratum by stratum. t = event times of all strata."""

    time: Floats
    """(t,) rising within each stratum."""
    stratum: Ints
    """(t,) place in `strata`, rising."""
    strata: NDArray[Any]
    """Labels of the strata, sorted."""

    def __post_init__(self) -> None:
        freeze(self, "time", "stratum", "strata")

    @property
    def first(self) -> Ints:
        """Place at which each stratum's times begin, and the end: (strata + 1,)."""
        return np.searchsorted(self.stratum, np.arange(self.strata.size + 1)).astype(np.int64)

    def same(self, other: EventTimes) -> bool:
        """Say whether the other has the same times and strata."""
        return (
            np.array_equal(self.time, other.time)
            and np.array_equal(self.stratum, other.stratum)
            and np.array_equal(self.strata, other.strata)
        )

    def after(self, moment: Floats, stratum: Ints) -> Ints:
        """Return, per row, the place of the first event time of its stratum later than the moment.

        Where the stratum has none, it is the place at which the next stratum begins.
        """
        distinct, code = self._codes()
        key = stratum * (distinct.size + 1) + np.searchsorted(distinct, moment, "right")
        return np.searchsorted(code, key, "left").astype(np.int64)

    def at(self, moment: Floats, stratum: Ints) -> Ints:
        """Return the place of each event time.

        Raises:
            ValueError: a time at which there is no event.
        """
        distinct, code = self._codes()
        rank = np.minimum(np.searchsorted(distinct, moment, "left"), distinct.size - 1)
        key = stratum * (distinct.size + 1) + rank
        found = np.minimum(np.searchsorted(code, key, "left"), code.size - 1).astype(np.int64)
        strange = (code[found] != key) | (distinct[rank] != moment)
        if strange.any():
            raise ValueError(f"{int(strange.sum())} events lie at times at which the counts know of none")
        return found

    def rows(self, stratum: ArrayLike | None, n: int) -> Ints:
        """Return each row's place in `strata`.

        Raises:
            ValueError: labels that do not fit or are not among the strata.
        """
        if stratum is None:
            if self.strata.size != 1:
                raise ValueError(f"there are {self.strata.size} strata; give each row's stratum")
            return np.zeros(n, dtype=np.int64)
        code, labels = codes(stratum, "stratum", n)
        where = np.minimum(np.searchsorted(self.strata, labels), self.strata.size - 1)
        if (strange := self.strata[where] != labels).any():
            raise ValueError(f"strata {labels[strange].tolist()} are not among {self.strata.tolist()}")
        return where[code].astype(np.int64)

    def _codes(self) -> tuple[Floats, Ints]:
        """Number all times in one rising sequence across strata, so that one search places any number of rows."""
        distinct, rank = np.unique(self.time, return_inverse=True)
        return distinct, self.stratum * (distinct.size + 1) + rank


@dataclass(frozen=True, kw_only=True)
class Spans:
    """Rows placed among event times: row i is at risk at the places first[i], ..., last[i] - 1. n = rows."""

    times: EventTimes
    first: Ints
    """(n,)."""
    last: Ints
    """(n,)."""
    died: Ints
    """(n,) place of the row's own event, -1 for none."""
    idle: int
    """Rows that end when they begin, which are never at risk."""

    def __post_init__(self) -> None:
        freeze(self, "first", "last", "died")


def event_times(time: Floats, stratum: ArrayLike | None = None) -> EventTimes:
    """Return the distinct event times of each stratum; a stratum without events has none but keeps its label.

    Args:
        time: (n,) times, NaN where a row has no event.
        stratum: (n,) labels.

    Raises:
        ValueError: no event.
    """
    code, labels = codes(np.zeros(time.size, dtype=np.int64) if stratum is None else stratum, "stratum", time.size)
    hit = ~np.isnan(time)
    if not hit.any():
        raise ValueError("there is no event")
    distinct, rank = np.unique(time[hit], return_inverse=True)
    layer, place = np.divmod(np.unique(code[hit] * (distinct.size + 1) + rank), distinct.size + 1)
    return EventTimes(time=distinct[place], stratum=layer, strata=labels)


def spans(
    start: ArrayLike,
    stop: ArrayLike,
    event: ArrayLike,
    stratum: ArrayLike | None = None,
    *,
    times: EventTimes | None = None,
) -> Spans:
    """Place rows at risk in (start, stop] among the event times.

    Args:
        start: (n,).
        stop: (n,).
        event: (n,) whether the row ends with an event.
        stratum: (n,) labels; default one stratum.
        times: event times to use; default those of the rows.

    Raises:
        ValueError: arrays that do not fit, a stop before its start, an event without time at risk, no event at all (all
            faults in one message), or events at times that `times` does not have.
    """
    began = vector(start, "start")
    n = began.size
    ended, hit = vector(stop, "stop", n), flags(event, "event", n)
    faults = []
    if (ended < began).any():
        faults.append(f"{int((ended < began).sum())} rows stop before they start")
    if (hit & (ended == began)).any():
        faults.append(f"{int((hit & (ended == began)).sum())} events have no time at risk (stop equals start)")
    if times is None and not hit.any():
        faults.append("there is no event")
    complain(faults)
    grid = event_times(np.where(hit, ended, np.nan), stratum) if times is None else times
    layer = grid.rows(stratum, n)
    died = np.full(n, -1, dtype=np.int64)
    died[hit] = grid.at(ended[hit], layer[hit])
    return Spans(
        times=grid,
        first=grid.after(began, layer),
        last=grid.after(ended, layer),
        died=died,
        idle=int((ended == began).sum()),
    )


def flags(values: ArrayLike, name: str, size: int) -> Bools:
    """Return booleans.

    Raises:
        ValueError: values other than true and false (1 and 0), or another size.
    """
    number = vector(values, name, size)
    if not np.isin(number, (0.0, 1.0)).all():
        raise ValueError(f"{name} must be true or false (1 or 0) in every row")
    return np.asarray(number == 1, dtype=np.bool_)


def positive(values: ArrayLike, name: str, size: int) -> Floats:
    """Return a vector of positive numbers.

    Raises:
        ValueError: a value of zero or less, or another size.
    """
    number = vector(values, name, size)
    if (number <= 0).any():
        raise ValueError(f"{int((number <= 0).sum())} {name} are not positive; drop those rows")
    return number
