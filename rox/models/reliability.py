"""How much of an answer is experience and how much is noise, from customers who answered more than once."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.optimize import nnls

from rox.models.answer_table import AnswerTable

Floats = NDArray[np.float64]

FEWEST_PAIRS = 400
"""Pairs of answers needed before noise is estimated."""
FEWEST_AT_DISTANCE = 30
FURTHEST = 5
"""How many answers apart a pair may be."""
MEMORY = np.linspace(0.50, 0.97, 20)
BUCKETS, RESAMPLES = 64, 200


@dataclass(frozen=True, kw_only=True)
class Share:
    """A share between 0 and 1 with its standard error and 90% interval."""

    value: float
    se: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True, eq=False)
class Reliability:
    """Autocovariance of one customer's answers: lasting + passing·memory^months, plus noise at the answer itself.

    Lasting habits of answering stay inside ``lasting``, so noise is a lower bound (Carroll et al. 2006).

    Attributes:
        parts: Shape (1 + resamples, 4): lasting, passing, memory, noise; the estimate first, then the bootstrap.
        pairs: Pairs of answers it rests on.
    """

    parts: Floats
    pairs: int

    def carried(self, months: float) -> Share:
        """Return the share of a difference between two answers still there after some months."""
        lasting, passing, memory, noise = self.parts.T
        return _share((lasting + passing * memory**months) / (lasting + passing + noise))

    def moved(self, months: float) -> Share:
        """Return the share of the movement between two answers of a customer that is a change of experience."""
        _, passing, memory, noise = self.parts.T
        signal = passing * (1 - memory**months)
        return _share(signal / np.maximum(signal + noise, 1e-12))


def _share(values: Floats) -> Share:
    low, high = np.quantile(values[1:], [0.05, 0.95])
    return Share(value=float(values[0]), se=float(values[1:].std(ddof=1)), low=float(low), high=float(high))


@dataclass(frozen=True, kw_only=True, eq=False)
class _Pairs:
    """Products of a customer's answers around the means of their segment and month, by bucket. k = buckets, m = months
    between the answers.

    Attributes:
        months: Shape (m,).
        counts: Shape (k, m).
        sums: Shape (k, m).
        own: Shape (k,): squares of single answers.
        answers: Shape (k,).
    """

    months: NDArray[np.int64]
    counts: Floats
    sums: Floats
    own: Floats
    answers: Floats

    def reliability(self, rng: np.random.Generator) -> Reliability | None:
        """Fit the parts with a bootstrap of buckets; nothing when too few pairs, or distances between them."""
        pairs = round(self.counts.sum())
        use = self.counts.sum(0) >= FEWEST_AT_DISTANCE
        if pairs < FEWEST_PAIRS or use.sum() < 3:
            return None
        months, counts, sums = self.months[use], self.counts[:, use], self.sums[:, use]
        k = len(counts)
        times = np.vstack([np.ones(k), rng.multinomial(k, np.ones(k) / k, RESAMPLES)])
        parts = [_parts(months, t @ counts, t @ sums, (t @ self.own) / (t @ self.answers)) for t in times]
        return Reliability(parts=np.array(parts), pairs=pairs)


def reliability_of(answers: AnswerTable, rng: np.random.Generator) -> Reliability | None:
    """Fit the autocovariance of answers around the mean of their segment and month, with a bootstrap of customers.

    Args:
        answers: The answers, of which only sums are taken.
        rng: For the bootstrap, which redraws 64 buckets of customers.

    Returns:
        Nothing when fewer than 400 pairs of answers, or fewer than three distances between them, are there.
    """
    own = answers.cells(
        {"segment": "segment", "answered": "answered"},
        {"points": lambda t: t.score.cast("float64"), "squares": lambda t: t.score.cast("float64") * t.score},
    )
    totals = own.groupby(["segment", "answered"])[["n", "points"]].sum()
    mean = totals["points"] / totals["n"]
    centre = mean.loc[pd.MultiIndex.from_frame(own[["segment", "answered"]])].to_numpy()
    squares = own["squares"] - 2 * centre * own["points"] + centre**2 * own["n"]
    pairs = _paired(answers).cells(
        {"segment": "segment", "answered": "answered", "earlier": "earlier"},
        {"points": lambda t: t.score.cast("float64"), "said": "said", "both": lambda t: t.said * t.score},
    )
    now = mean.reindex(pd.MultiIndex.from_frame(pairs[["segment", "answered"]])).to_numpy()
    then = mean.reindex(pd.MultiIndex.from_frame(pairs[["segment", "earlier"]])).to_numpy()
    product = pairs["both"] - now * pairs["said"] - then * pairs["points"] + now * then * pairs["n"]
    months, place = np.unique((pairs["answered"] - pairs["earlier"]).to_numpy(dtype=np.int64), return_inverse=True)
    present = np.sort(own["bucket"].unique())
    where = (np.searchsorted(present, pairs["bucket"].to_numpy()), place)
    counts, sums = np.zeros((len(present), months.size)), np.zeros((len(present), months.size))
    np.add.at(counts, where, pairs["n"].to_numpy(dtype=float))
    np.add.at(sums, where, product.to_numpy(dtype=float))
    bucket = np.searchsorted(present, own["bucket"].to_numpy())
    return _Pairs(
        months=months,
        counts=counts,
        sums=sums,
        own=np.bincount(bucket, weights=squares, minlength=len(present)).astype(float),
        answers=np.bincount(bucket, weights=own["n"], minlength=len(present)).astype(float),
    ).reliability(rng)


def _paired(answers: AnswerTable) -> AnswerTable:
    """Put a customer's earlier answers, up to five before, beside each."""
    panel = answers.linked.panel
    earlier = panel.select(whose="customer", at="place", earlier="answered", said=panel.score.cast("float64")).view()
    met = panel.inner_join(
        earlier,
        [
            panel.customer == earlier.whose,
            panel.place > earlier.at,
            panel.place <= earlier.at + FURTHEST,
            panel.answered > earlier.earlier,
        ],
    )
    pairs = met.select("customer", "month", "segment", "answered", "score", "earlier", "said")
    return replace(answers, linked=replace(answers.linked, panel=pairs))


def answer_reliability(rows: pd.DataFrame, rng: np.random.Generator) -> Reliability | None:
    """Fit the same from answers in a frame.

    Args:
        rows: One row per answer: ``customer``, ``segment``, ``answered``, ``score``.
        rng: As of :func:`reliability_of`; so the return.
    """
    ordered = rows.sort_values(["customer", "answered"])
    around = (ordered["score"] - ordered.groupby(["segment", "answered"])["score"].transform("mean")).to_numpy()
    customer, month = ordered["customer"].to_numpy(), ordered["answered"].to_numpy()
    distance, product, bucket = [], [], []
    for apart in range(1, FURTHEST + 1):
        same = (customer[apart:] == customer[:-apart]) & (month[apart:] > month[:-apart])
        distance.append((month[apart:] - month[:-apart])[same])
        product.append((around[apart:] * around[:-apart])[same])
        bucket.append(customer[apart:][same] % BUCKETS)
    months, place = np.unique(np.concatenate(distance).astype(np.int64), return_inverse=True)
    where = (np.concatenate(bucket), place)
    counts, sums = np.zeros((BUCKETS, months.size)), np.zeros((BUCKETS, months.size))
    np.add.at(counts, where, 1.0)
    np.add.at(sums, where, np.concatenate(product))
    own = np.bincount(customer % BUCKETS, weights=around**2, minlength=BUCKETS).astype(float)
    answers = np.bincount(customer % BUCKETS, minlength=BUCKETS).astype(float)
    return _Pairs(months=months, counts=counts, sums=sums, own=own, answers=answers).reliability(rng)


def _parts(months: NDArray[np.int64], counts: Floats, sums: Floats, variance: float) -> tuple[float, ...]:
    """Fit lasting + passing·memory^months by least squares weighted with the pairs; noise is what is left at 0."""
    root = np.sqrt(counts)
    target = sums / np.maximum(root, 1.0)
    best = (np.inf, 0.0, 0.0, 0.0)
    for memory in MEMORY:
        (lasting, passing), miss = nnls(np.column_stack([root, root * memory**months]), target)
        best = min(best, (miss, lasting, passing, memory))
    _, lasting, passing, memory = best
    return lasting, passing, memory, max(variance - lasting - passing, 0.0)


def usual_gap(answers: AnswerTable) -> float:
    """Return the median number of months between a customer's answers."""
    gaps = answers.cells(
        {"gap": "rox_gap"},
        {},
        {"rox_gap": lambda t: t.answered - t.answered.lag().over(group_by="customer", order_by="place")},
        lambda t: t.rox_gap.notnull(),
    )
    rows = gaps.groupby("gap")["n"].sum().sort_index()
    middle = int(np.searchsorted(rows.cumsum().to_numpy(), rows.sum() / 2))
    return float(rows.index.to_numpy(dtype=float)[middle])
