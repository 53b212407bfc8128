"""Money around answers as sums by category, stratum, month and bucket of customers, and the mean paths they give."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rox.core.case import EVERYONE
from rox.core.derived import Bins, LogBins, LookUp, Maker
from rox.core.errors import FitError
from rox.core.linked import Linked
from rox.core.views import money_column
from rox.models.answer_table import AnswerTable
from rox.numerics.jackknife import Jackknife, bucket_jackknife

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

NPS_GROUPS, THIRDS = ("detractor", "passive", "promoter"), ("low", "middle", "high")
NPS_CUTS = (6.5, 8.5)
"""Detractors are below, promoters above; what lies on a cut, as a mean of two answers may, is passive."""
MONEY = LogBins(column="rox_relative", width=0.25, unit=0.001)
"""Bins of money relative to the mean of its segment, so that the unit of the currency cannot matter."""
STRATA, ANSWERS_PER_STRATUM = 5, 300
"""Most bins of money within a segment, and answers each of them takes."""
TENURE = Bins(column="rox_tenure", edges=(0.0, 24.0, 60.0))
"""Bands of months since opening; an unknown opening is below 0."""
ROUNDING = 1e-9
"""Share of the largest weight below which there is none."""
AT_ONCE = 12
"""Months in one statement: planning time grows faster than the number of sums in it."""


@dataclass(frozen=True, kw_only=True)
class Categories:
    """Three categories of answers: below the first cut, above the second, and between.

    Attributes:
        groups: Names, from the worst to the best answers.
        cuts: In points of the scale.
        reverse: Whether low answers are the best.
    """

    groups: tuple[str, ...]
    cuts: tuple[float, float]
    reverse: bool = False

    def of(self, answers: pd.Series) -> pd.Series:
        """Name the category of each answer."""
        worst, between, best = self.groups
        low, high = (best, worst) if self.reverse else (worst, best)
        named = pd.Series(between, index=answers.index, dtype=object)
        return named.mask(answers < self.cuts[0], low).mask(answers > self.cuts[1], high)

    def code(self, column: str) -> Callable[[Any], Any]:
        """Return the place of a column's category, −1 where it is missing, as a function of the engine's table."""
        low, high = (2, 0) if self.reverse else (0, 2)

        def place(table: Any) -> Any:
            value = table[column]
            known = (value < self.cuts[0]).ifelse(low, (value > self.cuts[1]).ifelse(high, 1))
            return value.isnull().ifelse(-1, known).cast("int64")

        return place


def categories_of(data: Linked) -> Categories:
    """Return the categories of the linked score: those of NPS, or thirds of its declared scale.

    Raises:
        FitError: The study declares no scale for it.
    """
    scale = data.study.scores.get(data.score)
    if scale is None:
        raise FitError(
            f"The scale of {data.score or 'the score'} is not declared, so its answers fall into no categories.",
            ["link a score that the study declares under [scores], with its lowest and its highest answer"],
        )
    if scale.kind == "nps":
        return Categories(groups=NPS_GROUPS, cuts=NPS_CUTS)
    third = (scale.high - scale.low) / 3
    cuts = (scale.low + third, scale.high - third)
    return Categories(groups=THIRDS, cuts=cuts, reverse=not scale.higher_is_better)


@dataclass(frozen=True, kw_only=True, eq=False)
class PathSums:
    """Company weights by bucket of customers (k), stratum (z), category (3) and month around the answer (h).

    Attributes:
        months: Shape (h,).
        weight: Shape (k, z, 3): all answers; ``answers`` are their number.
        moved: Shape (k, 3, 3): from the category of the answer before to that of the answer.
        seen: Shape (k, z, 3, h): answers whose month is known; ``money`` the same times the ratio of money, ``staying``
            without leavers.
        two_seen: As ``seen``, by the category of the mean of two answers; so ``two_money``.
    """

    months: tuple[int, ...]
    weight: Floats
    answers: Floats
    moved: Floats
    seen: Floats
    money: Floats
    staying: Floats
    two_seen: Floats
    two_money: Floats


def segment_of(table: Any) -> Any:
    """Return the segment; everybody is in one where there are none."""
    return table.segment.cast("string").fill_null(EVERYONE)


def means_by_segment(data: Linked) -> dict[str, float]:
    """Return the mean of money over all months of the panel by segment."""
    found = data.cells(by={"segment": segment_of}, sums=["outcome"]).values().groupby("segment")[["outcome", "n"]].sum()
    return {str(name): float(row["outcome"] / row["n"]) for name, row in found.iterrows()}


def relative_money(means: Mapping[str, float]) -> dict[str, Maker]:
    """Describe the columns ``rox_mean``, the mean of the segment, and ``rox_relative``, money as a ratio to it."""
    return {
        "rox_mean": LookUp(keys=("segment",), values={(name,): mean for name, mean in means.items()}),
        "rox_relative": lambda table: table.outcome.cast("float64") / table.rox_mean,
    }


@dataclass(frozen=True, kw_only=True)
class Month:
    """What is known of a month some months from the first month of money after an answer, of the engine's table.

    Leavers count as zero. Nothing is known of a month beyond the panel, whether its customer left or not.

    Attributes:
        away: Months, below 0 for before.
        lag: Months from the answer to its first month of money.
        last: Last month of the panel.
    """

    away: int
    lag: int
    last: int

    @property
    def label(self) -> str:
        """Name of the month in names of columns."""
        return f"before_{-self.away}" if self.away < 0 else f"after_{self.away}"

    def money(self, table: Any) -> Any:
        """Return the money, missing where the panel has no row."""
        return table[money_column(self.lag + self.away)].cast("float64")

    def left(self, table: Any) -> Any:
        """Mark the answers whose customer has left by then."""
        return (table.exit_month <= table.month + self.away).fill_null(False)

    def known(self, table: Any) -> Any:
        """Mark the answers whose month is known."""
        held = self.money(table).notnull()
        found = held | self.left(table) if self.away > 0 else held
        return found & (table.month + self.away <= self.last)

    def staying(self, table: Any) -> Any:
        """Mark those of them whose customer has not left, or holds money all the same."""
        if self.away < 0:
            return self.known(table)
        return self.known(table) & ((self.money(table).fill_null(0.0) != 0) | ~self.left(table))

    def ratio(self, table: Any) -> Any:
        """Return money then as a ratio to that of the first month, 0 where nothing is known."""
        found = self.money(table).fill_null(0.0) / table.outcome.cast("float64")
        return self.known(table).ifelse(found, 0.0)

    def capped(self, cap: float) -> Maker:
        """Return that ratio cut at a cap."""

        def column(table: Any) -> Any:
            found = self.ratio(table)
            return (found > cap).ifelse(cap, found)

        return column


def path_sums(
    answers: AnswerTable, months: Sequence[Month], scale: Categories, cap: float, means: Mapping[str, float]
) -> PathSums:
    """Reduce answers to sums of the money around them, some months at a time.

    Args:
        answers: With money in the first month, and the money of the months.
        months: From the first to the last.
        scale: Categories of the score.
        cap: Largest ratio that counts.
        means: Mean of money by segment.
    """
    frames = [_reduced(answers, months[i : i + AT_ONCE], scale, cap, means) for i in range(0, len(months), AT_ONCE)]
    keys = frames[0]
    bucket, stratum, strata = pd.factorize(keys["bucket"], sort=True)[0], *_strata(keys)

    def table(name: str, category: str) -> Floats:
        held = np.zeros((bucket.max() + 1, strata, 3))
        place = keys[category].to_numpy(dtype=int)
        values = next(frame[name] for frame in frames if name in frame).to_numpy(dtype=float)
        known = place >= 0
        np.add.at(held, (bucket[known], stratum[known], place[known]), values[known])
        return held

    def by_month(name: str, category: str = "category") -> Floats:
        return np.stack([table(f"{name}_{month.label}", category) for month in months], axis=-1)

    moved = np.zeros((bucket.max() + 1, 3, 3))
    twice = (keys["earlier"] >= 0).to_numpy()
    place = (bucket, keys["earlier"].to_numpy(dtype=int), keys["category"].to_numpy(dtype=int))
    np.add.at(moved, tuple(each[twice] for each in place), keys["weights"].to_numpy(dtype=float)[twice])
    return PathSums(
        months=tuple(month.away for month in months),
        weight=table("weights", "category"),
        answers=table("n", "category"),
        moved=moved,
        seen=by_month("seen"),
        money=by_month("money"),
        staying=by_month("staying"),
        two_seen=by_month("seen", "two"),
        two_money=by_month("money", "two"),
    )


def mean_of_two(table: Any) -> Any:
    """Return the mean of an answer and the one before, missing where there is none."""
    return (table.score + table.previous) / 2.0


def _reduced(
    answers: AnswerTable, months: Sequence[Month], scale: Categories, cap: float, means: Mapping[str, float]
) -> pd.DataFrame:
    """Return sums by segment, money, tenure, category, category of the earlier answer and of both, and bucket."""
    within: dict[str, Maker] = {
        **relative_money(means),
        "rox_tenure": lambda table: (table.month - table.opened).cast("float64").fill_null(-1.0),
        "rox_two": mean_of_two,
    }
    sums: dict[str, Maker] = {"weights": "weight"}
    for month in months:
        seen, ratio, staying = (f"rox_{name}_{month.label}" for name in ("seen", "ratio", "staying"))
        within |= {seen: month.known, ratio: month.capped(cap), staying: month.staying}
        sums |= {
            f"seen_{month.label}": f"weight*{seen}",
            f"money_{month.label}": f"weight*{ratio}",
            f"staying_{month.label}": f"weight*{staying}",
        }
    by: dict[str, Maker] = {
        "segment": "segment",
        "level": MONEY,
        "band": TENURE,
        "category": scale.code("score"),
        "earlier": scale.code("previous"),
        "two": scale.code("rox_two"),
    }
    return answers.cells(by, sums, within)


def _strata(keys: pd.DataFrame) -> tuple[Ints, int]:
    """Number the strata: bins of about equal numbers of answers within a segment, by band of tenure."""
    bins = level_bins(keys, most=STRATA, answers=ANSWERS_PER_STRATUM)
    numbers = keys.assign(bin=bins).groupby(["segment", "bin", "band"], sort=True).ngroup()
    return np.asarray(numbers, dtype=np.int64), int(numbers.max()) + 1


def level_bins(keys: pd.DataFrame, *, most: int, answers: int) -> Ints:
    """Merge levels of money into bins of about equal numbers of answers within each segment, one per row of cells.

    Args:
        keys: ``segment``, ``level`` and ``n`` of cells.
        most: Most bins of a segment.
        answers: Answers that each bin takes.
    """
    by_level = keys.groupby(["segment", "level"])["n"].sum()
    size = by_level.groupby(level="segment").transform("sum")
    middle = by_level.groupby(level="segment").cumsum() - by_level / 2
    bins = (middle / size * np.clip(size // answers, 1, most)).astype(int)
    return np.asarray(bins.loc[pd.MultiIndex.from_frame(keys[["segment", "level"]])], dtype=np.int64)


def path_line(sums: PathSums, name: str, *, adjust: bool) -> Jackknife:
    """Estimate the means of one line by category and month, shape (3·h,), leaving out a bucket at a time.

    Strata are those of all buckets. NaN stands where no stratum has every category.

    Args:
        sums: From cells.
        name: ``trajectory``; ``crude``, without standardising; ``survivors``; ``two_answers``.
        adjust: Whether to standardise.
    """
    below, above = {
        "survivors": (sums.staying, sums.money),
        "two_answers": (sums.two_seen, sums.two_money),
    }.get(name, (sums.seen, sums.money))
    target = np.broadcast_to(sums.weight[..., None], (*sums.weight.shape, 1))
    parts = np.stack([np.concatenate([each, target], axis=-1) for each in (below, above)], axis=1)

    def means(total: Floats) -> Floats:
        weights, money = total[0, ..., :-1], total[1, ..., :-1]
        if not adjust or name == "crude":
            weights, money = weights.sum(0, keepdims=True), money.sum(0, keepdims=True)
        mean = np.divide(money, weights, out=np.zeros_like(money), where=weights > 0)
        target = total[0, ..., -1].sum() if len(weights) == 1 else total[0, ..., -1].sum(1)
        share = whole_strata(weights) * np.reshape(target, (-1, 1))
        with np.errstate(invalid="ignore"):
            return np.asarray((np.einsum("zh,zch->ch", share, mean) / share.sum(0)).ravel())

    return bucket_jackknife(means, parts)


def whole_strata(weights: Floats) -> NDArray[np.bool_]:
    """Mark the strata that have all three categories by month: (z, 3, h) to (z, h).

    What rounding leaves when a bucket is taken away is no weight.
    """
    return np.asarray((weights > ROUNDING * weights.max(initial=0.0)).all(1))
