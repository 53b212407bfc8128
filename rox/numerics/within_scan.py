"""Fit two-way fixed effects by reading rows of customers and periods twice, in any order, a batch at a time.

The rows arrive in shards that share no customer. The first reading sums the variables by customer and notes which
periods each customer has; the second forms the doubly demeaned variables and adds up their cross-products and each
customer's score at the slopes of the first reading. Those slopes come from differences of large sums; the second
reading repeats them without such differences, and a third is made where the two are further apart than a billionth of
a standard error. Only sums per customer are kept, and those of one shard at a time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import reduce
from typing import TypeVar

import numpy as np

from rox.numerics.arrays import Floats, Ints
from rox.numerics.within import Axes, Batch, Counts, Shard, TwoWayFit, clustered, period_effects, slopes

WORD = 52
"""Periods per word: a customer's presence in a period is one bit of a double, which holds 52 of them exactly."""
CLOSE = 1e-9
"""Slopes of two readings that differ by less than this many standard errors are the same."""
TRUSTED = 1e-8
"""What a variable keeps of its variance after one reading is rounding error below this share."""
STILL = 1e-10
"""A regressor moves when it leaves its customer's mean by more than this share of its root mean square."""
ROWS, CUSTOMERS = 1 << 16, 1 << 16
"""Rows and customers treated at a time, so that the work stays in the processor's cache."""
SINGLE = 1 << 18
"""Multiplications that the usual BLAS leaves to one thread; its threads wait for each other on a busy machine."""

Part = TypeVar("Part", "_Moments", "_Products")


def two_way(shards: Sequence[Shard], names: Sequence[str], axes: Axes, *, threads: int = 1) -> TwoWayFit:
    """Regress the first variable on the others with customer and period effects, errors clustered by customer.

    Estimand: the slope among rows of one customer, what is common to a period (of a segment) removed. Causal only under
    strict exogeneity. Customers and periods with a single row carry no information; they are dropped and counted.

    Args:
        shards: The rows.
        names: (k,) names of the regressors.
        axes: Periods and segments. Customers found in several segments and repeated rows are allowed for.
        threads: Shards read at a time.

    Raises:
        ValueError: no rows, regressors that are absorbed or collinear (each named), fewer than two customers.

    Example:
        >>> from rox.numerics.within import Batch, Shard
        >>> y, x = np.array([1.0, 3, 10, 17, 7, 7]), np.array([0.0, 1, 2, 5, 3, 3])
        >>> rows = Batch(customer=np.array([0, 0, 1, 1, 2, 2]), period=np.array([0, 1, 0, 1, 0, 1]), values=[y, x])
        >>> fit = two_way([Shard(customers=3, batches=lambda: [rows])], ["x"], Axes(periods=2))
        >>> round(float(fit.coefficient[0]), 4), fit.n, fit.customers
        (2.3571, 6, 3)
    """
    if len(shards) == 1 and shards[0].hold:
        rows = list(shards[0].batches())
        shards = [replace(shards[0], batches=lambda: rows)]
    with ThreadPoolExecutor(threads) as pool:
        while True:
            try:
                return _two_way(shards, names, axes, pool)
            except _LaidOut as found:
                axes = found.axes


class _LaidOut(Exception):
    """The rows are laid out in another way than was taken for granted."""

    def __init__(self, axes: Axes) -> None:
        self.axes = axes
        super().__init__(repr(axes))


def _two_way(shards: Sequence[Shard], names: Sequence[str], axes: Axes, pool: ThreadPoolExecutor) -> TwoWayFit:
    variables, kept = 1 + len(names), {}

    def first(place: int) -> _Moments:
        sums, moments = _first(shards[place].batches(), shards[place].customers, variables, axes)
        if len(shards) == 1:
            kept[place] = sums
        return moments

    def second(place: int) -> _Products:
        return _second(shards[place], kept.get(place), axes, effects, beta)

    moments = _add(pool.map(first, range(len(shards))))
    if not moments.customers:
        raise ValueError("no customer has two rows without a missing value")
    if lonely := frozenset(np.flatnonzero(moments.kept == 1).tolist()):
        raise _LaidOut(replace(axes, alone=axes.alone | lonely))
    effects, rank = moments.effects(axes)
    beta = moments.slopes(effects)
    while True:
        found = _add(pool.map(second, range(len(shards))))
        better, bread = slopes(found.gram, moments.raw, names)
        se = np.sqrt(np.diag(bread @ found.meat @ bread))
        if (np.abs(better - beta) <= CLOSE * se + 1e-14 * np.abs(better)).all():
            break
        beta = better
    counts = Counts(
        n=moments.rows - moments.singletons,
        customers=moments.customers,
        periods=int((moments.kept > 0).sum()),
        singletons=moments.singletons + moments.dropped,
        rank=rank,
    )
    share = found.moved / moments.everyone
    return clustered(found.gram, better, bread, found.meat, counts=counts, identifying=share)


def _add(parts: Iterable[Part]) -> Part:
    def both(one: Part, other: Part) -> Part:
        return type(one)(**{name: value + getattr(other, name) for name, value in vars(one).items()})

    return reduce(both, parts)


@dataclass(frozen=True, kw_only=True)
class _Sums:
    """Sums of one shard by customer code; n customers, m variables."""

    centre: Floats
    """(m,) subtracted from every value."""
    total: Floats
    """(m, n) weighted sums."""
    presence: Floats
    """(words * n,) bits, or the (n * periods,) table of weights."""
    rows: Floats
    """(n,) rows."""
    segment: Ints
    """(n,) or empty where there is one segment."""

    def chunks(self, axes: Axes) -> Iterator[tuple[int, Ints, Floats, Floats]]:
        """Give the segment, (c,) codes, (c, periods) weights by period and (c,) weights of some customers at a time."""
        for place in range(axes.segments):
            here = self.rows > 0 if axes.segments == 1 else (self.rows > 0) & (self.segment == place)
            codes = np.flatnonzero(here)
            for start in range(0, codes.size, CUSTOMERS):
                chosen = codes[start : start + CUSTOMERS]
                table = self._table(chosen, axes)
                yield place, chosen, table, table.sum(1)

    def _table(self, chosen: Ints, axes: Axes) -> Floats:
        if axes.table:
            return np.asarray(self.presence.reshape(-1, axes.periods)[chosen])
        words = self.presence.reshape(-1, self.rows.size)[:, chosen].T.astype("<i8")
        parts = np.ascontiguousarray(words).view(np.uint8).reshape(chosen.size, -1, 8)
        bits = np.unpackbits(parts, axis=2, bitorder="little")[:, :, :WORD]
        return bits.reshape(chosen.size, -1)[:, : axes.periods].astype(np.float64)


@dataclass(frozen=True, kw_only=True)
class _Moments:
    """What the first reading gives; t = period effects, m = variables, k = m - 1."""

    gram: Floats
    """(m, m) cross-products within customers."""
    normal: Floats
    """(segments, periods, periods) D'MD."""
    right: Floats
    """(t, m) D'Mz."""
    kept: Floats
    """(t,) rows of customers that have two or more."""
    size: Floats
    """(t,) weight."""
    raw: Floats
    """(k,) squared norms of the regressors as given."""
    customers: int
    """Customers with two rows or more."""
    everyone: int
    """Customers with any row."""
    rows: int
    singletons: int
    dropped: int

    def effects(self, axes: Axes) -> tuple[Floats, int]:
        """Return (m, t) period effects of the variables and their rank."""
        parts, rank = [], 0
        for place, normal in enumerate(self.normal):
            here = slice(place * axes.periods, (place + 1) * axes.periods)
            effect, found = period_effects(normal, self.right[here], self.size[here])
            parts.append(effect)
            rank += found
        return np.ascontiguousarray(np.vstack(parts).T), rank

    def slopes(self, effects: Floats) -> Floats:
        """Return (k,) preliminary slopes; zero where differences of sums are too coarse to tell."""
        gram = self.gram - effects @ self.right
        scale = np.diag(gram)[1:]
        if not (scale > TRUSTED * self.raw).all():
            return np.zeros(scale.size)
        size = np.sqrt(scale)
        scaled = gram[1:, 1:] / np.outer(size, size)
        if np.linalg.eigvalsh(scaled)[0] < TRUSTED:
            return np.zeros(scale.size)
        return np.asarray(np.linalg.solve(scaled, gram[1:, 0] / size) / size)


@dataclass(frozen=True, kw_only=True)
class _Products:
    """What the second reading gives: (m, m) cross-products, (k, k) meat, (k,) customers whose regressor moves."""

    gram: Floats
    meat: Floats
    moved: Floats


def _slices(batches: Iterable[Batch], axes: Axes) -> Iterator[Batch]:
    alone = np.fromiter(axes.alone, dtype=np.int64)
    for batch in batches:
        kept = batch.cut(np.flatnonzero(~np.isin(batch.period, alone))) if alone.size else batch
        for start in range(0, kept.rows, ROWS):
            yield kept.cut(slice(start, start + ROWS))


def _first(batches: Iterable[Batch], customers: int, variables: int, axes: Axes) -> tuple[_Sums, _Moments]:
    """Sum by customer; raises `_LaidOut` when weights or several segments of a customer turn up."""
    words = -(-axes.periods // WORD)
    sums = _Sums(
        centre=np.zeros(variables),
        total=np.zeros((variables, customers)),
        presence=np.zeros(customers * (axes.periods if axes.table else words)),
        rows=np.zeros(customers),
        segment=np.full(customers if axes.segments > 1 else 0, -1),
    )
    bit = 2.0 ** (np.arange(axes.periods) % WORD)
    gram = np.zeros((variables, variables))
    by_label = np.zeros((axes.labels, variables))
    counted, read = np.zeros(axes.labels), 0

    def tally(given: Iterable[Batch]) -> Iterator[Batch]:
        nonlocal read
        for batch in given:
            read += batch.rows
            yield batch

    started = False
    for part in _slices(tally(batches), axes):
        if part.weight is not None and not axes.table:
            raise _LaidOut(replace(axes, table=True))
        if not started:
            sums.centre[:] = [values.mean() for values in part.values]
            started = True
        code, label = part.customer, part.period
        period = label if axes.segments == 1 else _place(sums.segment, code, label, axes)
        centred = np.empty((variables, code.size))
        for place, values in enumerate(part.values):
            np.subtract(values, sums.centre[place], out=centred[place])
        scaled = centred if part.weight is None else centred * part.weight
        if axes.table:
            weight = np.ones(code.size) if part.weight is None else part.weight
            np.add.at(sums.presence, code * axes.periods + period, weight)
        else:
            slot = code if words == 1 else code + customers * (period // WORD)
            np.add.at(sums.presence, slot, bit.take(period))
        np.add.at(sums.rows, code, 1.0)
        for place, values in enumerate(scaled):
            np.add.at(sums.total[place], code, values)
        if (label == label[0]).all():
            by_label[label[0]] += scaled.sum(1)
            counted[label[0]] += label.size
        else:
            counted += np.bincount(label, minlength=axes.labels)
            for place, values in enumerate(scaled):
                by_label[:, place] += np.bincount(label, weights=values, minlength=axes.labels)
        gram += _cross(scaled, centred)
    return sums, _moments(sums, axes, gram, by_label, counted, read)


def _cross(left: Floats, right: Floats) -> Floats:
    """Return left @ right.T, (a, n) by (b, n)."""
    piece = max(64, SINGLE // (left.shape[0] * right.shape[0]))
    out = np.zeros((left.shape[0], right.shape[0]))
    for start in range(0, left.shape[1], piece):
        out += left[:, start : start + piece] @ right[:, start : start + piece].T
    return out


def _onto(effects: Floats, table: Floats) -> Floats:
    """Return effects @ table.T, (m, t) by (n, t)."""
    piece = max(64, SINGLE // effects.size)
    out = np.empty((effects.shape[0], table.shape[0]))
    for start in range(0, table.shape[0], piece):
        np.matmul(effects, table[start : start + piece].T, out=out[:, start : start + piece])
    return out


def _place(segment: Ints, code: Ints, label: Ints, axes: Axes) -> Ints:
    """Note each customer's segment and return the periods."""
    found, period = np.divmod(label, axes.periods)
    known = segment.take(code)
    segment[code] = found
    if ((known >= 0) & (known != found)).any() or (segment.take(code) != found).any():
        raise _LaidOut(replace(axes, periods=axes.labels, segments=1))
    return period


def _moments(sums: _Sums, axes: Axes, gram: Floats, by_label: Floats, counted: Floats, read: int) -> _Moments:
    """Take the customers' means out of the sums; raises `_LaidOut` when a customer has a period twice."""
    normal = np.zeros((axes.segments, axes.periods, axes.periods))
    right, size, kept = by_label.copy(), np.zeros(axes.labels), counted.copy()
    raw = np.diag(gram) + sums.centre * (2 * by_label.sum(0))
    gram, several = gram.copy(), 0
    for place, chosen, table, weight in sums.chunks(axes):
        here = slice(place * axes.periods, (place + 1) * axes.periods)
        if not axes.table and (weight != sums.rows[chosen]).any():
            raise _LaidOut(replace(axes, table=True))
        single = sums.rows[chosen] == 1
        mean = sums.total[:, chosen] / weight
        by_period = table.sum(0)
        normal[place] += np.diag(by_period) - _cross((table / weight[:, None]).T, table.T)
        right[here] -= _cross(table.T, mean)
        size[here] += by_period
        kept[here] -= (table[single] > 0).sum(0)
        gram -= _cross(mean, sums.total[:, chosen])
        several += int((~single).sum())
    rows = int(sums.rows.sum())
    return _Moments(
        gram=gram,
        normal=normal,
        right=right,
        kept=kept,
        size=size,
        raw=np.maximum(raw + sums.centre**2 * size.sum(), 0)[1:],
        customers=several,
        everyone=int((sums.rows > 0).sum()),
        rows=rows,
        singletons=int((sums.rows == 1).sum()),
        dropped=read - rows,
    )


def _second(shard: Shard, sums: _Sums | None, axes: Axes, effects: Floats, beta: Floats) -> _Products:
    """Add up cross-products and scores of the doubly demeaned variables; effects are (m, t)."""
    variables, customers = effects.shape[0], shard.customers
    held = list(shard.batches()) if shard.hold and sums is None else None
    if sums is None:
        sums = _first(shard.batches() if held is None else held, customers, variables, axes)[0]
    mean, level = np.zeros((variables, customers)), np.zeros((variables, customers))
    for place, chosen, table, weight in sums.chunks(axes):
        here = slice(place * axes.periods, (place + 1) * axes.periods)
        mean[:, chosen] = sums.total[:, chosen] / weight + sums.centre[:, None]
        level[:, chosen] = mean[:, chosen] - _onto(effects[:, here], table) / weight
    gram, score = np.zeros((variables, variables)), np.zeros((variables - 1, customers))
    moved, quiet = np.zeros((variables - 1, customers), dtype=bool), _quiet(sums)
    for part in _slices(shard.batches() if held is None else held, axes):
        code, label = part.customer, part.period
        z = np.empty((variables, code.size))
        for place, values in enumerate(part.values):
            np.subtract(values, effects[place].take(label), out=z[place])
            z[place] -= level[place].take(code)
        residual = z[0].copy()
        for slope, values in zip(beta, z[1:], strict=True):
            residual -= slope * values
        gram += _cross(z if part.weight is None else z * part.weight, z)
        if part.weight is not None:
            residual *= part.weight
        for place in range(variables - 1):
            np.add.at(score[place], code, z[place + 1] * residual)
            _note(moved[place], code, part.values[place + 1] - mean[place + 1].take(code), quiet[place])
    return _Products(gram=gram, meat=_cross(score, score), moved=(moved & (sums.rows > 1)).sum(1).astype(np.float64))


def _quiet(sums: _Sums) -> Floats:
    """Return (k,) distances from a customer's mean that are no movement."""
    rows = max(float(sums.rows.sum()), 1.0)
    size = np.abs(sums.centre[1:]) + np.sqrt((sums.total[1:] ** 2).sum(1) / rows)
    return np.asarray(STILL * size)


def _note(moved: np.ndarray[tuple[int, ...], np.dtype[np.bool_]], code: Ints, away: Floats, quiet: float) -> None:
    """Mark the customers whose value is away from their mean."""
    far = np.abs(away) > quiet
    far &= ~moved.take(code)
    moved[code[far]] = True
