"""How much of an answer is experience and how much is noise, from customers who answered more than once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.optimize import nnls

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


def answer_reliability(rows: pd.DataFrame, rng: np.random.Generator) -> Reliability | None:
    """Fit the autocovariance of answers around the mean of their segment and month, with a bootstrap of customers.

    Args:
        rows: One row per answer: ``customer``, ``segment``, ``answered``, ``score``.
        rng: For the bootstrap, which redraws 64 buckets of customers.

    Returns:
        Nothing when fewer than 400 pairs of answers, or fewer than three distances between them, are there.
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
    months, place = np.unique(np.concatenate(distance), return_inverse=True)
    if place.size < FEWEST_PAIRS:
        return None
    where = (np.concatenate(bucket), place)
    counts, sums = np.zeros((BUCKETS, months.size)), np.zeros((BUCKETS, months.size))
    np.add.at(counts, where, 1.0)
    np.add.at(sums, where, np.concatenate(product))
    use = counts.sum(0) >= FEWEST_AT_DISTANCE
    if use.sum() < 3:
        return None
    counts, sums = counts[:, use], sums[:, use]
    own = np.bincount(customer % BUCKETS, weights=around**2, minlength=BUCKETS)
    answers = np.bincount(customer % BUCKETS, minlength=BUCKETS).astype(float)
    times = np.vstack([np.ones(BUCKETS), rng.multinomial(BUCKETS, np.ones(BUCKETS) / BUCKETS, RESAMPLES)])
    parts = [_parts(months[use], t @ counts, t @ sums, (t @ own) / (t @ answers)) for t in times]
    return Reliability(parts=np.array(parts), pairs=place.size)


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


def usual_gap(rows: pd.DataFrame) -> float:
    """Return the median number of months between a customer's answers."""
    return float(rows.sort_values(["customer", "answered"]).groupby("customer")["answered"].diff().median())
