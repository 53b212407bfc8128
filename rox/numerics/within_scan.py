"""Fit two-way fixed effects by reading rows of customers and periods twice, in any order, a batch at a time.

The rows arrive in shards that share no customer. The first reading sums the variables by customer and notes which
periods each customer has; the second forms the doubly demeaned variables and adds up their cross-products and each
customer's score at the slopes of the first reading. Those slopes come from differences of large sums; the second
reading repeats them without such differences, and a third is made where the two are further apart than a billionth of
a standard error. Only sums per customer are kept, and those of one shard at a time.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import reduce
from typing import TypeVar

import numpy as np

from rox.numerics.arrays import Floats, Ints
from rox.numerics.within import Axes, Batch, Counts, Shard, TwoWayFit, clustered, period_effects, slopes
from rox.numerics.within_sums import WORD, CustomerSums, LaidOut, cross, onto, slices_of, sum_by_customer

CLOSE = 1e-9
"""Slopes of two readings that differ by less than this many standard errors are the same."""
TRUSTED = 1e-8
"""What a variable keeps of its variance after one reading is rounding error below this share."""
STILL = 1e-10
"""A regressor moves when it leaves its customer's mean by more than this share of its root mean square."""
KEEP = 1 << 27
"""Sums of several shards are kept between two readings when they take at most so many bytes; else taken again."""

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
            except LaidOut as found:
                axes = found.axes


def _two_way(shards: Sequence[Shard], names: Sequence[str], axes: Axes, pool: ThreadPoolExecutor) -> TwoWayFit:
    variables = 1 + len(names)
    kept: dict[int, CustomerSums] = {}
    each = 8 * (variables + 1 + (axes.periods if axes.table else -(-axes.periods // WORD)))
    keep = len(shards) == 1 or each * sum(shard.customers for shard in shards) <= KEEP

    def first(place: int) -> _Moments:
        with _reading(shards[place]) as rows:
            sums, moments = _first(rows, shards[place].customers, variables, axes)
        if keep:
            kept[place] = sums
        return moments

    def second(place: int) -> _Products:
        return _second(shards[place], kept.get(place), axes, effects, beta)

    moments = _add(pool.map(first, range(len(shards))))
    if not moments.customers:
        raise ValueError("no customer has two rows without a missing value")
    if lonely := frozenset(np.flatnonzero(moments.kept == 1).tolist()):
        raise LaidOut(replace(axes, alone=axes.alone | lonely))
    effects, rank = moments.effects(axes)
    beta = moments.slopes(effects)
    for _ in range(2):
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


@contextmanager
def _reading(shard: Shard) -> Iterator[Iterable[Batch]]:
    """Read a shard; what is left of it is closed at once when it turns out that it has to be read in another way."""
    batches = shard.batches()
    try:
        yield batches
    finally:
        if isinstance(batches, Generator):
            batches.close()


def _add(parts: Iterable[Part]) -> Part:
    def both(one: Part, other: Part) -> Part:
        return type(one)(**{name: value + getattr(other, name) for name, value in vars(one).items()})

    return reduce(both, parts)


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


def _first(batches: Iterable[Batch], customers: int, variables: int, axes: Axes) -> tuple[CustomerSums, _Moments]:
    """Sum by customer, and by period; raises `LaidOut` when the rows are laid out in another way."""
    gram, by_label = np.zeros((variables, variables)), np.zeros((axes.labels, variables))
    counted, read = np.zeros(axes.labels), 0

    def tally(given: Iterable[Batch]) -> Iterator[Batch]:
        nonlocal read
        for batch in given:
            read += batch.rows
            yield batch

    def note(label: Ints, centred: Floats, scaled: Floats) -> None:
        nonlocal gram
        gram += cross(scaled, centred)
        if (label == label[0]).all():
            counted[label[0]] += label.size
            by_label[label[0]] += scaled.sum(1)
            return
        counted[:] += np.bincount(label, minlength=axes.labels)
        for place, values in enumerate(scaled):
            by_label[:, place] += np.bincount(label, weights=values, minlength=axes.labels)

    sums = sum_by_customer(tally(batches), customers, variables, axes, note)
    return sums, _moments(sums, axes, gram, by_label, counted, read)


def _moments(sums: CustomerSums, axes: Axes, gram: Floats, by_label: Floats, counted: Floats, read: int) -> _Moments:
    """Take the customers' means out of the sums; raises `LaidOut` when a customer has a period twice."""
    normal = np.zeros((axes.segments, axes.periods, axes.periods))
    right, size, kept = by_label.copy(), np.zeros(axes.labels), counted.copy()
    raw = np.diag(gram) + sums.centre * (2 * by_label.sum(0))
    gram, several = gram.copy(), 0
    for place, chosen, table, weight in sums.chunks(axes):
        here = slice(place * axes.periods, (place + 1) * axes.periods)
        if not axes.table and (weight != sums.rows[chosen]).any():
            raise LaidOut(replace(axes, table=True))
        single = sums.rows[chosen] == 1
        mean = sums.total[:, chosen] / weight
        by_period = table.sum(0)
        normal[place] += np.diag(by_period) - cross((table / weight[:, None]).T, table.T)
        right[here] -= cross(table.T, mean)
        size[here] += by_period
        kept[here] -= (table[single] > 0).sum(0)
        gram -= cross(mean, sums.total[:, chosen])
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


def _second(shard: Shard, sums: CustomerSums | None, axes: Axes, effects: Floats, beta: Floats) -> _Products:
    """Add up cross-products and scores of the doubly demeaned variables; effects are (m, t)."""
    variables, customers = effects.shape[0], shard.customers
    if shard.hold and sums is None:
        held = list(shard.batches())
        shard = replace(shard, batches=lambda: held)
    if sums is None:
        with _reading(shard) as rows:
            sums = sum_by_customer(rows, customers, variables, axes)
    mean, level = _levels(sums, axes, effects)
    gram, score = np.zeros((variables, variables)), np.zeros((variables - 1, customers))
    moved, quiet = np.zeros((variables - 1, customers), dtype=bool), _quiet(sums)
    with _reading(shard) as rows:
        for part in slices_of(rows, axes):
            code = part.customer
            z = np.empty((variables, code.size))
            for place, values in enumerate(part.values):
                np.subtract(values, effects[place].take(part.period), out=z[place])
                z[place] -= level[place].take(code)
            residual = z[0].copy()
            for slope, values in zip(beta, z[1:], strict=True):
                residual -= slope * values
            gram += cross(z if part.weight is None else z * part.weight, z)
            if part.weight is not None:
                residual *= part.weight
            for place in range(variables - 1):
                np.add.at(score[place], code, z[place + 1] * residual)
                _note(moved[place], code, part.values[place + 1] - mean[place + 1].take(code), quiet[place])
    return _Products(gram=gram, meat=cross(score, score), moved=(moved & (sums.rows > 1)).sum(1).astype(np.float64))


def _levels(sums: CustomerSums, axes: Axes, effects: Floats) -> tuple[Floats, Floats]:
    """Return the customers' (m, n) means, and the means of what the period effects leave."""
    mean, level = np.zeros(sums.total.shape), np.zeros(sums.total.shape)
    for place, chosen, table, weight in sums.chunks(axes):
        here = slice(place * axes.periods, (place + 1) * axes.periods)
        mean[:, chosen] = sums.total[:, chosen] / weight + sums.centre[:, None]
        level[:, chosen] = mean[:, chosen] - onto(effects[:, here], table) / weight
    return mean, level


def _quiet(sums: CustomerSums) -> Floats:
    """Return (k,) distances from a customer's mean that are no movement."""
    rows = max(float(sums.rows.sum()), 1.0)
    size = np.abs(sums.centre[1:]) + np.sqrt((sums.total[1:] ** 2).sum(1) / rows)
    return np.asarray(STILL * size)


def _note(moved: np.ndarray[tuple[int, ...], np.dtype[np.bool_]], code: Ints, away: Floats, quiet: float) -> None:
    """Mark the customers whose value is away from their mean."""
    far = np.abs(away) > quiet
    far &= ~moved.take(code)
    moved[code[far]] = True
