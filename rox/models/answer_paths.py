"""Money around answers as sums by category, stratum, month and bucket of customers, and the mean paths they give."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rox.core.case import EVERYONE
from rox.core.derived import Ahead, Bins, Growth, LogBins, Maker, Previous
from rox.core.errors import FitError
from rox.core.linked import Linked
from rox.numerics.jackknife import Jackknife, bucket_jackknife

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

NPS_GROUPS, THIRDS = ("detractor", "passive", "promoter"), ("low", "middle", "high")
NPS_CUTS = (6.5, 8.5)
"""Detractors are below, promoters above; what lies on a cut, as a mean of two answers may, is passive."""
MONEY = LogBins(column="relative", width=0.25, unit=0.001)
"""Bins of money relative to the mean of its segment, so that the unit of the currency cannot matter."""
STRATA, ANSWERS_PER_STRATUM = 5, 300
"""Most bins of money within a segment, and answers each of them takes."""
TENURE = Bins(column="tenure", edges=(0.0, 24.0, 60.0))
"""Bands of months since opening; an unknown opening is below 0."""
ROUNDING = 1e-9
"""Share of the largest weight below which there is none."""
AT_ONCE = 4
"""Months in one statement: planning time grows faster than the number of windows nested in it."""


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


def anchored(data: Linked) -> Callable[[Any], Any]:
    """Return the condition for the first month of money after an answer, with money in it."""
    return lambda table: (table.score_age == data.lag) & (table.outcome > 0)


def segment_of(table: Any) -> Any:
    """Return the segment; everybody is in one where there are none."""
    return table.segment.cast("string").fill_null(EVERYONE)


def relative_money(table: Any) -> Any:
    """Return money as a ratio to the mean of its segment over all months."""
    return table.outcome / table.outcome.mean().over(group_by="segment")


def path_sums(data: Linked, months: Sequence[int], last: int, scale: Categories, cap: float) -> PathSums:
    """Reduce the panel to sums around the answers, some months at a time."""
    past, future = [h for h in months if h < 0], [h for h in months if h > 0]
    frames = [
        _reduced(data, side[i : i + AT_ONCE], last, scale, cap)
        for side in (past, future)
        for i in range(0, len(side), AT_ONCE)
    ]
    keys = frames[0]
    bucket, stratum, strata = pd.factorize(keys["bucket"], sort=True)[0], *_strata(keys)

    def table(name: str, category: str) -> Floats:
        held = np.zeros((bucket.max() + 1, strata, 3))
        place = keys[category].to_numpy(dtype=int)
        values = next(frame[name] for frame in frames if name in frame).to_numpy(dtype=float)
        known = place >= 0
        np.add.at(held, (bucket[known], stratum[known], place[known]), values[known])
        return held

    def by_month(name: str, category: str = "category", *, past: str | None = None) -> Floats:
        names = [name if past is None or month > 0 else past for month in months]
        return np.stack(
            [table(f"{each}_{_label(month)}", category) for each, month in zip(names, months, strict=True)], axis=-1
        )

    moved = np.zeros((bucket.max() + 1, 3, 3))
    twice = (keys["earlier"] >= 0).to_numpy()
    place = (bucket, keys["earlier"].to_numpy(dtype=int), keys["category"].to_numpy(dtype=int))
    np.add.at(moved, tuple(each[twice] for each in place), keys["weight"].to_numpy(dtype=float)[twice])
    return PathSums(
        months=tuple(months),
        weight=table("weight", "category"),
        answers=table("n", "category"),
        moved=moved,
        seen=by_month("seen"),
        money=by_month("money"),
        staying=by_month("staying", past="seen"),
        two_seen=by_month("seen", "two"),
        two_money=by_month("money", "two"),
    )


def _label(month: int) -> str:
    return f"before_{-month}" if month < 0 else f"after_{month}"


def _reduced(data: Linked, months: Sequence[int], last: int, scale: Categories, cap: float) -> pd.DataFrame:
    """Return sums by segment, money, tenure, category, category of the earlier answer and of both, and bucket."""
    is_past = months[0] < 0
    within: dict[str, Maker] = {
        "relative": relative_money,
        "tenure": lambda table: (table.month - table.opened).cast("float64").fill_null(-1.0),
        "answer_before": Previous(column="score"),
        "mean_of_two": lambda table: (table.score + table.answer_before) / 2.0,
    }
    sums: dict[str, Maker] = {"weight": "weight"}
    for month in months:
        column = f"then_{_label(month)}"
        ratio: Maker = Growth(column="outcome", months=month, cap=cap)
        within[column] = Ahead(column="outcome", months=month) if is_past else ratio
        sums |= _sums_of(column, month, last, cap)
    by: dict[str, Maker] = {
        "segment": segment_of,
        "level": MONEY,
        "band": TENURE,
        "category": scale.code("score"),
        "earlier": scale.code("answer_before"),
        "two": scale.code("mean_of_two"),
    }
    return data.cells(by=by, sums=sums, within=within, where=anchored(data)).values()


def _sums_of(column: str, month: int, last: int, cap: float) -> dict[str, Maker]:
    """Describe the sums of one month; no row whose month lies beyond the panel counts, whether its customer left."""
    label = _label(month)

    def ratio(table: Any) -> Any:
        if month > 0:
            return table[column]
        found = table[column] / table.outcome
        return (found > cap).ifelse(cap, found)

    def seen(table: Any) -> Any:
        return table[column].notnull() & (table.month + month <= last)

    def gone(table: Any) -> Any:
        return (table.exit_month <= table.month + month).fill_null(False) & (ratio(table) == 0)

    sums: dict[str, Maker] = {
        f"seen_{label}": lambda table: seen(table).ifelse(table.weight, 0.0),
        f"money_{label}": lambda table: seen(table).ifelse(table.weight * ratio(table), 0.0),
    }
    if month > 0:
        sums[f"staying_{label}"] = lambda table: (seen(table) & ~gone(table)).ifelse(table.weight, 0.0)
    return sums


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
