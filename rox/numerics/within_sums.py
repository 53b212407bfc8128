"""Sums of a panel's rows by customer, and which periods each customer has, in a few numbers per customer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from rox.numerics.arrays import Floats, Ints
from rox.numerics.within import Axes, Batch

WORD = 52
"""Periods per word: a customer's presence in a period is one bit of a double, which holds 52 of them exactly."""
ROWS, CUSTOMERS = 1 << 16, 1 << 16
"""Rows and customers treated at a time, so that the work stays in the processor's cache."""
SINGLE = 1 << 18
"""Multiplications that the usual BLAS leaves to one thread; its threads wait for each other on a busy machine."""


class LaidOut(Exception):
    """The rows are laid out in another way than was taken for granted."""

    def __init__(self, axes: Axes) -> None:
        self.axes = axes
        super().__init__(repr(axes))


@dataclass(frozen=True, kw_only=True)
class CustomerSums:
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


def slices_of(batches: Iterable[Batch], axes: Axes) -> Iterator[Batch]:
    """Cut batches into pieces that stay in the processor's cache, without the rows of periods that stand alone."""
    alone = np.fromiter(axes.alone, dtype=np.int64)
    for batch in batches:
        kept = batch.cut(np.flatnonzero(~np.isin(batch.period, alone))) if alone.size else batch
        for start in range(0, kept.rows, ROWS):
            yield kept.cut(slice(start, start + ROWS))


def sum_by_customer(
    batches: Iterable[Batch],
    customers: int,
    variables: int,
    axes: Axes,
    note: Callable[[Ints, Floats, Floats], None] | None = None,
) -> CustomerSums:
    """Sum by customer; `note` is told the labels and the centred and weighted values of the rows."""
    words = -(-axes.periods // WORD)
    sums = CustomerSums(
        centre=np.zeros(variables),
        total=np.zeros((variables, customers)),
        presence=np.zeros(customers * (axes.periods if axes.table else words)),
        rows=np.zeros(customers),
        segment=np.full(customers if axes.segments > 1 else 0, -1),
    )
    bit = 2.0 ** (np.arange(axes.periods) % WORD)
    for number, part in enumerate(slices_of(batches, axes)):
        if part.weight is not None and not axes.table:
            raise LaidOut(replace(axes, table=True))
        if not number:
            sums.centre[:] = [values.mean() for values in part.values]
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
        if note is not None:
            note(label, centred, scaled)
    return sums


def _place(segment: Ints, code: Ints, label: Ints, axes: Axes) -> Ints:
    """Note each customer's segment and return the periods."""
    found, period = np.divmod(label, axes.periods)
    known = segment.take(code)
    segment[code] = found
    if ((known >= 0) & (known != found)).any() or (segment.take(code) != found).any():
        raise LaidOut(replace(axes, periods=axes.labels, segments=1))
    return period


def cross(left: Floats, right: Floats) -> Floats:
    """Return left @ right.T, (a, n) by (b, n)."""
    piece = max(64, SINGLE // (left.shape[0] * right.shape[0]))
    out = np.zeros((left.shape[0], right.shape[0]))
    for start in range(0, left.shape[1], piece):
        out += left[:, start : start + piece] @ right[:, start : start + piece].T
    return out


def onto(effects: Floats, table: Floats) -> Floats:
    """Return effects @ table.T, (m, t) by (n, t)."""
    piece = max(64, SINGLE // effects.size)
    out = np.empty((effects.shape[0], table.shape[0]))
    for start in range(0, table.shape[0], piece):
        np.matmul(effects, table[start : start + piece].T, out=out[:, start : start + piece])
    return out
