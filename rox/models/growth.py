"""Answers beside the growth of money in the quarters around them, as sums by segment, lead and bucket of customers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import reduce
from operator import or_
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rox.core.derived import Maker
from rox.core.views import money_column
from rox.models.answer_table import AnswerTable

Floats = NDArray[np.float64]

BUCKETS = 64
"""Random groups of customers for the jackknife."""
QUARTER = 3
FEWEST = 100
"""Answers a segment needs beside the growth of a quarter."""
SUMS = ("weight", "squared", "scored", "grown", "both")
"""Sums of a quarter: of weights, their squares, and weights times score, growth, and both."""


@dataclass(frozen=True, kw_only=True, eq=False)
class GrowthSums:
    """Sums of answer times growth, both around the means of their segment and month.

    Attributes:
        groups: Segments.
        places: Shape (k,): quarters; 1 is the first after the answer, 0 the one that ends with it.
        by_bucket: Shape (bucket, 2, segment, k): the sums, and what to divide them by; answers count with their weight
            relative to the mean of their segment.
        answers: By segment, answers with growth beside them in at least one quarter after.
        customers: Who gave them, by segment.
    """

    groups: tuple[str, ...]
    places: NDArray[np.int64]
    by_bucket: Floats
    answers: pd.Series
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
        return replace(self, places=self.places[keep], by_bucket=self.by_bucket[..., keep])

    def of(self, groups: Sequence[str]) -> GrowthSums:
        """Return the same of some segments."""
        place = [self.groups.index(name) for name in groups]
        return replace(
            self,
            groups=tuple(groups),
            by_bucket=self.by_bucket[:, :, place],
            answers=self.answers.iloc[place],
            customers=self.customers.iloc[place],
        )


def covariances(sums: Floats) -> Floats:
    """Divide sums of answer times growth, shape (2, segment, k), by what they are to be divided by; 0 where by none."""
    return np.asarray(np.divide(sums[0], sums[1], out=np.zeros_like(sums[0]), where=sums[1] > 0))


def ends_of(places: Sequence[int] | NDArray[np.int64]) -> tuple[int, ...]:
    """Return the months from the answer at which some quarters begin and end.

    Example:
        >>> ends_of([0, 1])
        (-3, 0, 3)
    """
    return tuple(sorted({QUARTER * (int(place) - back) for place in places for back in (0, 1)}))


def growth_after_answers(
    answers: AnswerTable, groups: Sequence[str], places: NDArray[np.int64], *, cap: float
) -> GrowthSums:
    """Sum up answers and growth, in one scan of the answers.

    Growth of a quarter is the change of log money between its ends; customers without money at either end are left out
    of that quarter, since leaving is counted by its own model. Means by segment and month are those of all buckets.

    Args:
        answers: With the money of the months at which the quarters begin and end (``ends_of``).
        groups: Segments used.
        places: Quarters.
        cap: Largest log growth of a quarter; more is cut.
    """
    answers, quarters = answers.of(groups), [int(place) for place in places]
    within: dict[str, Maker] = {_log_name(month): _log_money(month) for month in ends_of(quarters)}
    sums: dict[str, Maker] = {"weights": "weight"}
    for i, quarter in enumerate(quarters):
        within |= {f"rox_growth_{i}": _growth(quarter, cap), f"rox_weight_{i}": _weight(quarter)}
        within[f"rox_scored_{i}"] = _scored(i)
        sums |= _sums(i)
    cells = answers.cells({"segment": "segment", "answered": "answered"}, sums, within)
    used = answers.where(lambda table: _grows(table, [each for each in quarters if each >= 1]))
    counts = used.counts.reindex(list(groups)).fillna(0)
    return GrowthSums(
        groups=tuple(groups),
        places=np.asarray(places),
        by_bucket=_around_means(cells, groups, len(quarters)),
        answers=counts["rows"],
        customers=counts["customers"],
    )


def _log_name(month: int) -> str:
    return f"rox_log_{money_column(month)}"


def _log_money(month: int) -> Maker:
    """Return the log money of a month from the answer; nothing where there is none."""

    def column(table: Any) -> Any:
        money = table[money_column(month)].cast("float64")
        return (money > 0).ifelse(money, 0.0).nullif(0.0).ln()

    return column


def _growth(quarter: int, cap: float) -> Maker:
    """Return the log growth of a quarter, cut at the cap on both sides; 0 where there is none."""
    end = QUARTER * quarter

    def column(table: Any) -> Any:
        grown = (table[_log_name(end)] - table[_log_name(end - QUARTER)]).fill_null(0.0)
        return (grown > cap).ifelse(cap, (grown < -cap).ifelse(-cap, grown))

    return column


def _weight(quarter: int) -> Maker:
    """Return the weight of the answers with growth in a quarter, 0 of the others."""
    return lambda table: _grows(table, [quarter]).ifelse(table.weight.cast("float64"), 0.0)


def _scored(i: int) -> Maker:
    """Return the score times that weight."""
    return lambda table: table.score.cast("float64") * table[f"rox_weight_{i}"]


def _grows(table: Any, quarters: Sequence[int]) -> Any:
    """Mark the answers with money at both ends of some quarter."""

    def there(month: int) -> Any:
        return (table[money_column(month)] > 0).fill_null(False)

    return reduce(or_, (there(QUARTER * (each - 1)) & there(QUARTER * each) for each in quarters))


def _sums(i: int) -> dict[str, Maker]:
    """Describe the sums of a quarter over the answers that have its growth."""
    weight, scored, growth = (f"rox_{name}_{i}" for name in ("weight", "scored", "growth"))
    return {
        f"weight_{i}": weight,
        f"squared_{i}": f"{weight}^2",
        f"scored_{i}": scored,
        f"grown_{i}": f"{weight}*{growth}",
        f"both_{i}": f"{scored}*{growth}",
    }


def _around_means(cells: pd.DataFrame, groups: Sequence[str], quarters: int) -> Floats:
    """Take the means by segment and month off, those of all buckets; shape (bucket, 2, segment, quarter)."""
    segment = np.asarray(pd.Categorical(cells["segment"].astype(str), categories=list(groups)).codes, dtype=np.int64)
    answers = np.bincount(segment, cells["n"], len(groups))
    usual = np.bincount(segment, cells["weights"], len(groups)) / np.maximum(answers, 1)
    place = cells.groupby(["segment", "answered"]).ngroup().to_numpy()
    bucket, found = cells["bucket"].to_numpy(dtype=np.int64), np.zeros((BUCKETS, 2, len(groups), quarters))
    for i in range(quarters):
        own = {name: cells[f"{name}_{i}"].to_numpy(dtype=float) for name in SUMS}
        whole = {name: np.bincount(place, values)[place] for name, values in own.items()}
        mass = np.where(whole["weight"] > 0, whole["weight"], 1.0)
        score, growth = whole["scored"] / mass, whole["grown"] / mass
        product = own["both"] - score * own["grown"] - growth * own["scored"] + score * growth * own["weight"]
        # Each cell of segment and month spends one degree of freedom on its mean.
        count = own["weight"] - own["squared"] / mass
        np.add.at(found[:, 0, :, i], (bucket, segment), product / usual[segment])
        np.add.at(found[:, 1, :, i], (bucket, segment), count / usual[segment])
    return found
