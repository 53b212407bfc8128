"""Histories of purchases: those that can be, and the ways in which each can have come about."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from rox.numerics.arrays import Floats, Ints, complain, vector


@dataclass(frozen=True, kw_only=True, eq=False)
class Ways:
    """All the ways in which histories can have come about. m = ways, by cell; each is a product of two moments."""

    cell: Ints
    """(m,) which history, in order."""
    first: Ints
    """(c,) where each begins."""
    bought: Floats
    missed: Floats
    gone: Floats
    stayed: Floats
    """(m,) powers of p, 1 − p, θ and 1 − θ."""

    def log_terms(self, alpha: float, beta: float, gamma: float, delta: float) -> Floats:
        """Return the log probability of each way, (m,)."""
        buying = special.betaln(alpha + self.bought, beta + self.missed)
        staying = special.betaln(gamma + self.gone, delta + self.stayed)
        return np.asarray(buying - special.betaln(alpha, beta) + staying - special.betaln(gamma, delta))

    def log_sums(self, alpha: float, beta: float, gamma: float, delta: float) -> Floats:
        """Return the log probability of each history, (c,)."""
        logs = self.log_terms(alpha, beta, gamma, delta)
        top = np.maximum.reduceat(logs, self.first)
        return np.asarray(top + np.log(np.add.reduceat(np.exp(logs - top[self.cell]), self.first)))

    def slopes(self, value: Floats, alpha: float, beta: float, gamma: float, delta: float) -> Floats:
        """Differentiate the log probabilities by the parameters, (c, 4).

        Args:
            value: (c,) the log probabilities.
            alpha: Parameter of the propensity to buy.
            beta: The other.
            gamma: Parameter of the propensity to drop out.
            delta: The other.
        """
        share = np.exp(self.log_terms(alpha, beta, gamma, delta) - value[self.cell])
        found = []
        for a, b, up, down in ((alpha, beta, self.bought, self.missed), (gamma, delta, self.gone, self.stayed)):
            both = special.digamma(a + b) - special.digamma(a + b + up + down)
            found += [special.digamma(a + up) - special.digamma(a) + both]
            found += [special.digamma(b + down) - special.digamma(b) + both]
        return np.stack([np.add.reduceat(share * each, self.first) for each in found], axis=1)


def ways(bought: ArrayLike, recency: ArrayLike, periods: ArrayLike, unseen: ArrayLike) -> Ways:
    """List the ways: still there at the end, gone after some period since the last purchase, or gone before any."""
    x, last, n, e = in_periods(bought, recency, periods, unseen)
    before = np.where(x == 0, e, 0).astype(np.int64)
    many = 1 + (n - last).astype(np.int64) + before
    first = np.concatenate([[0], np.cumsum(many)[:-1]]).astype(np.int64)
    cell = np.repeat(np.arange(x.size), many)
    way = np.arange(cell.size) - first[cell]
    lost = way > 0
    unknown = lost & (way <= before[cell])
    idle = np.where(lost, way - 1 - before[cell], (n - last)[cell])
    return Ways(
        cell=cell,
        first=first,
        bought=x[cell],
        missed=np.where(unknown, 0.0, (last - x)[cell] + idle),
        gone=lost.astype(np.float64),
        stayed=np.where(unknown, way - 1.0, (e + last)[cell] + idle),
    )


def in_periods(
    bought: ArrayLike, recency: ArrayLike, periods: ArrayLike, unseen: ArrayLike
) -> tuple[Floats, Floats, Floats, Floats]:
    """Return histories in periods as arrays of one length, and complain about those that cannot be."""
    x, last, n, e = _even(bought, recency, periods, unseen)
    faults = _order(x, last, n, "periods")
    for values, name in ((x, "bought"), (last, "recency"), (n, "periods"), (e, "unseen")):
        if (values != np.round(values)).any():
            faults.append(f"{name} must be whole numbers")
    if (e < 0).any():
        faults.append("unseen must not be negative")
    if (x > last).any():
        faults.append(f"{int((x > last).sum())} histories have more purchases than periods up to the last one")
    complain(faults)
    return x, last, n, e


def in_time(bought: ArrayLike, recency: ArrayLike, duration: ArrayLike) -> tuple[Floats, Floats, Floats]:
    """Return histories in time as arrays of one length, and complain about those that cannot be."""
    x, last, t = _even(bought, recency, duration)
    faults = _order(x, last, t, "duration")
    if (x != np.round(x)).any():
        faults.append("bought must be whole numbers")
    complain(faults)
    return x, last, t


def _even(*values: ArrayLike) -> list[Floats]:
    found = np.broadcast_arrays(*(np.atleast_1d(np.asarray(each, dtype=np.float64)) for each in values))
    return [vector(each, "histories") for each in found]


def _order(x: Floats, last: Floats, end: Floats, name: str) -> list[str]:
    faults = []
    if (x < 0).any():
        faults.append("bought must not be negative")
    if ((last > 0) != (x > 0)).any():
        faults.append("recency must be above 0 where something was bought, and 0 elsewhere")
    if (last > end).any():
        faults.append(f"{int((last > end).sum())} histories have a last purchase after {name}")
    return faults


def counts_of(customers: ArrayLike | None, size: int) -> Floats:
    """Return how many customers have each history, (c,); one where nothing is said."""
    weight = np.ones(size) if customers is None else vector(customers, "customers", size)
    if (weight < 0).any() or not weight.sum() > 0:
        raise ValueError("customers must be counts, some of them above 0")
    return weight
