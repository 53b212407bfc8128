"""Answers beside the growth of money in the quarters around them, as sums by segment, lead and bucket of customers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rox.models.answers import Answers

Floats = NDArray[np.float64]

BUCKETS = 64
"""Random groups of customers for the jackknife."""
QUARTER = 3
FEWEST = 100
"""Answers a segment needs beside the growth of a quarter."""


@dataclass(frozen=True, kw_only=True, eq=False)
class GrowthSums:
    """Sums of answer times growth, both around the means of their segment and month.

    Attributes:
        groups: Segments.
        places: Shape (k,): quarters; 1 is the first after the answer, 0 the one that ends with it.
        by_bucket: Shape (bucket, 2, segment, k): the sums, and what to divide them by; answers count with their weight
            relative to the mean of their segment.
        answers: Answers with growth beside them in at least one quarter after.
        customers: Who gave them, by segment.
    """

    groups: tuple[str, ...]
    places: NDArray[np.int64]
    by_bucket: Floats
    answers: int
    customers: pd.Series

    @property
    def longest(self) -> int:
        """The last quarter."""
        return int(self.places.max())

    @property
    def dense(self) -> tuple[str, ...]:
        """Segments with at least 100 answers beside the growth of every quarter."""
        least = self.by_bucket[:, 1].sum(0).min(1)
        return tuple(name for name, n in zip(self.groups, least, strict=True) if n >= FEWEST)

    def up_to(self, last: int) -> GrowthSums:
        """Return the same without the quarters after one."""
        keep = self.places <= last
        return GrowthSums(
            groups=self.groups,
            places=self.places[keep],
            by_bucket=self.by_bucket[..., keep],
            answers=self.answers,
            customers=self.customers,
        )


def ends_of(places: Sequence[int] | NDArray[np.int64]) -> tuple[int, ...]:
    """Return the months from the answer at which some quarters begin and end.

    Example:
        >>> ends_of([0, 1])
        (-3, 0, 3)
    """
    return tuple(sorted({QUARTER * (int(place) - back) for place in places for back in (0, 1)}))


def growth_after_answers(
    answers: Answers, rows: pd.DataFrame, groups: Sequence[str], places: NDArray[np.int64], *, cap: float
) -> GrowthSums:
    """Sum up answers and growth.

    Growth of a quarter is the change of log money between its ends; customers without money at either end are left out
    of that quarter, since leaving is counted by its own model.

    Args:
        answers: With the money of the months at which the quarters begin and end (``ends_of``).
        rows: The answers used.
        groups: Their segments.
        places: Quarters.
        cap: Largest log growth of a quarter; more is cut.
    """
    rows = rows[rows["segment"].isin(groups)]
    own = replace(answers, rows=rows)
    segment = pd.Categorical(rows["segment"].astype(str), categories=list(groups)).codes
    bucket = (rows["customer"] % BUCKETS).to_numpy()
    sums, used = np.zeros((BUCKETS, 2, len(groups), len(places))), np.zeros(len(rows), bool)
    relative = (rows["weight"] / rows.groupby("segment")["weight"].transform("mean")).to_numpy(dtype=float)
    held: dict[int, Floats] = {}

    def log_money(months: int) -> Floats:
        if months not in held:
            money = own.outcome_at(months).to_numpy(dtype=float)
            held[months] = np.log(np.where(money > 0, money, np.nan))
        return held[months]

    for at, place in enumerate(places):
        growth = log_money(QUARTER * int(place)) - log_money(QUARTER * (int(place) - 1))
        there = np.isfinite(growth)
        part = pd.DataFrame(
            {
                "segment": segment[there],
                "answered": rows["answered"].to_numpy()[there],
                "score": rows["score"].to_numpy(dtype=float)[there],
                "growth": np.clip(growth[there], -cap, cap),
                "weight": relative[there],
            }
        )
        weight = part["weight"].to_numpy()
        cell = part[["segment", "answered"]]
        mass = part.groupby(["segment", "answered"])["weight"].transform("sum").to_numpy()
        around = {}
        for name in ("score", "growth"):
            weighted = (part[name] * weight).groupby([cell["segment"], cell["answered"]]).transform("sum")
            around[name] = part[name].to_numpy() - weighted.to_numpy() / mass
        place_of = bucket[there] * len(groups) + part["segment"].to_numpy()
        many = BUCKETS * len(groups)
        product = np.bincount(place_of, weights=weight * around["score"] * around["growth"], minlength=many)
        # Each cell of segment and month spends one degree of freedom on its mean.
        count = np.bincount(place_of, weights=weight * (1 - weight / mass), minlength=many)
        sums[:, 0, :, at] = product.reshape(BUCKETS, len(groups))
        sums[:, 1, :, at] = count.reshape(BUCKETS, len(groups))
        if place >= 1:
            used |= there
    customers = rows[used].groupby("segment")["customer"].nunique().reindex(list(groups)).fillna(0)
    return GrowthSums(
        groups=tuple(groups), places=np.asarray(places), by_bucket=sums, answers=int(used.sum()), customers=customers
    )
