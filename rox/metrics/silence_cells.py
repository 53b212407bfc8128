"""Cells of people alike, from counts: categories with too few answers join another, everything becomes arrays.

r = cells by bucket of customers and period, v = answers of the scale, k = benchmarks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rox.metrics.silence_facts import BUCKETS, Fact
from rox.metrics.source import WEIGHT_UNITS
from rox.numerics.arrays import Floats, Ints

FEWEST = 20
"""Answers a category needs in each period."""
PERIODS = 2
"""The waves before, and those looked at."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Cells:
    """People and answers.

    Attributes:
        margins: Names of the facts that tell cells apart.
        code: (r, m) their categories.
        sizes: Categories of each.
        cell: (r,) number of the cell, the same in every bucket and period.
        later: (r,) 1 for the waves looked at, 0 for those before.
        bucket: (r,) group of customers.
        segment: (r,) name of the segment.
        customers: (r,) customers, each once per wave.
        people: (r,) their design weight.
        asked: (r,) of them asked.
        answers: (r, v) answers, counted.
        given: (r, v) answers, by design weight.
        judges: Names of the benchmarks.
        known: (k, 2, r) weight of the people, and of those who answered, of whom each is known.
        total: (k, 2, r) Σ weight·value of the same.
        square: (k, r) Σ weight·value² of the people.
    """

    margins: tuple[str, ...]
    code: Ints
    sizes: tuple[int, ...]
    cell: Ints
    later: Ints
    bucket: Ints
    segment: NDArray[np.str_]
    customers: Floats
    people: Floats
    asked: Floats
    answers: Floats
    given: Floats
    judges: tuple[str, ...]
    known: Floats
    total: Floats
    square: Floats

    @property
    def design(self) -> Floats:
        """(r, p) a constant and, of every margin, all categories but the first."""
        return design_of(self.code, self.sizes)

    def asked_share(self, period: int) -> float:
        """Return the share of customers of a period who were asked."""
        inside = self.later == period
        return float(self.asked[inside].sum() / self.customers[inside].sum())


def design_of(code: Ints, sizes: Sequence[int]) -> Floats:
    """Return a constant and, of every margin, indicators of all categories but the first."""
    parts = [np.ones((len(code), 1))]
    parts += [code[:, [m]] == np.arange(1, size) for m, size in enumerate(sizes)]
    return np.concatenate(parts, axis=1).astype(np.float64)


def cells_from(
    frame: pd.DataFrame,
    margins: Sequence[str],
    facts: Mapping[str, Fact],
    judges: Sequence[str],
    scale: tuple[int, int],
) -> Cells:
    """Turn counts into cells.

    Args:
        frame: What ``silence_facts.counted`` returns.
        margins: Its margins; those that keep a single category are left out.
        facts: What is known of everybody.
        judges: Its benchmarks.
        scale: Least and largest answer.
    """
    columns = [f"m_{i}" for i in range(len(margins))]
    row = frame.groupby(["later", "bucket", *columns], sort=True).ngroup().to_numpy()
    first = np.unique(row, return_index=True)[1]
    rows = first.size
    answer = frame["answer"].to_numpy(dtype=float, na_value=np.nan)
    weight, n = frame["weight"].to_numpy() / WEIGHT_UNITS, frame["n"].to_numpy()
    said = np.isfinite(answer)
    values = scale[1] - scale[0] + 1

    def summed(amount: Floats, inside: NDArray[np.bool_] | None = None) -> Floats:
        amount = amount if inside is None else np.where(inside, amount, 0.0)
        return np.bincount(row, weights=amount, minlength=rows).astype(np.float64)

    def spread(amount: Floats) -> Floats:
        at = row[said] * values + (answer[said] - scale[0]).astype(np.int64)
        return np.bincount(at, weights=amount[said], minlength=rows * values).reshape(rows, values).astype(np.float64)

    answers, later = spread(n), frame["later"].to_numpy()[first].astype(np.int64)
    bucket, customers = frame["bucket"].to_numpy()[first].astype(np.int64), summed(n)
    codes, sizes, kept = [], [], []
    for i, name in enumerate(margins):
        raw, labels = pd.factorize(frame[f"m_{i}"].to_numpy()[first], sort=True)
        merged = merged_codes(raw, len(labels), later, bucket, answers.sum(1), customers, ordered=facts[name].ordered)
        if (size := int(merged.max()) + 1) > 1:
            codes.append(merged)
            sizes.append(size)
            kept.append(name)
    code = np.stack(codes, axis=1) if codes else np.zeros((rows, 0), dtype=np.int64)
    each = range(len(judges))
    sums = {name: frame[name].to_numpy() / WEIGHT_UNITS for part in "kvq" for name in (f"{part}_{i}" for i in each)}
    known, total = ([[summed(sums[f"{part}_{i}"], who) for who in (None, said)] for i in each] for part in "kv")
    square = [summed(sums[f"q_{i}"]) for i in each]
    named = "segment" in margins
    return Cells(
        margins=tuple(kept),
        code=code.astype(np.int64),
        sizes=tuple(sizes),
        cell=np.unique(code, axis=0, return_inverse=True)[1].astype(np.int64).reshape(-1)
        if kept
        else np.zeros(rows, dtype=np.int64),
        later=later,
        bucket=bucket,
        segment=frame[f"m_{list(margins).index('segment')}"].to_numpy(dtype=str)[first] if named else np.full(rows, ""),
        customers=customers,
        people=summed(weight),
        asked=summed(n, frame["asked"].to_numpy() == 1),
        answers=answers,
        given=spread(weight),
        judges=tuple(judges),
        known=np.array(known).reshape(len(judges), 2, rows),
        total=np.array(total).reshape(len(judges), 2, rows),
        square=np.array(square).reshape(len(judges), rows),
    )


def merged_codes(
    raw: NDArray[np.int_],
    size: int,
    later: Ints,
    bucket: Ints,
    answers: Floats,
    customers: Floats,
    *,
    ordered: bool,
) -> Ints:
    """Join categories with too few answers, or answers of too few customers, or nobody silent, to another.

    Nobody need be silent in a period in which everybody answered.

    An ordered one joins the neighbour with fewer answers, another the next smallest.

    Args:
        raw: (r,) categories, numbered.
        size: How many.
        later: (r,) period.
        bucket: (r,) group of customers.
        answers: (r,) answers.
        customers: (r,) customers.
        ordered: Whether categories have an order.
    """
    periods = np.unique(later)
    place = np.arange(size)
    while (now := int(place.max()) + 1) > 1:
        code = place[raw]
        least, alone = np.full(now, np.inf), np.zeros(now, dtype=bool)
        for period in periods:
            inside = later == period
            found = np.bincount(code[inside], weights=answers[inside], minlength=now)
            held = np.bincount(
                code[inside] * BUCKETS + bucket[inside], weights=answers[inside], minlength=now * BUCKETS
            ).reshape(now, BUCKETS)
            rest = np.bincount(code[inside], weights=(customers - answers)[inside], minlength=now)
            alone |= ((held > 0).sum(1) < 2) | ((rest <= 0) & (rest.sum() > 0))
            least = np.minimum(least, found)
        bad = np.flatnonzero((least < FEWEST) | alone)
        if not bad.size:
            break
        worst = int(bad[np.argmin(least[bad])])
        others = [c for c in ((worst - 1, worst + 1) if ordered else range(now)) if c != worst and 0 <= c < now]
        mate = min(others, key=lambda c: (least[c], c))
        place = np.where(place == worst, mate, place)
        place = np.unique(place, return_inverse=True)[1].reshape(-1)
    return np.asarray(place[raw], dtype=np.int64)
