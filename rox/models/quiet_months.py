"""The months before any initiative, and customers frozen before a start that never was, summed by place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rox.core.errors import FitError
from rox.core.linked import Linked
from rox.models.rollout import Rollout

Floats = NDArray[np.float64]
MOST_DATES = 6
"""Fake first starts that are tried at most; each asks the engine for sums of its own."""
NO_START = float("inf")
_SUMMED = ("customers", "ratio", "ratio_squares")


@dataclass(frozen=True, kw_only=True, eq=False)
class QuietCohort:
    """A cohort frozen before a fake first start, summed. u = places, t = months, s = segments.

    Attributes:
        start: Month number of the fake first start.
        history: Months before it in which every customer of the cohort is seen.
        units: Names of the places, sorted.
        groups: Names of the segments, sorted.
        months: Shape (t,): month numbers, consecutive, all before any real start.
        sizes: Shape (u, s): customers.
        ratio: Shape (u, t, s): mean of the capped ratio to own money.
        lifted: Shape (u, t, s): the same had everybody's money been larger by the effect that was asked about.
        variance: Shape (t, s): variance of customers' ratios.
        rollout: The same places for the estimator of scores; without customers' money.
    """

    start: int
    history: int
    units: tuple[str, ...]
    groups: tuple[str, ...]
    months: Floats
    sizes: Floats
    ratio: Floats
    lifted: Floats
    variance: Floats
    rollout: Rollout

    def only(self, groups: tuple[str, ...]) -> QuietCohort:
        """Leave out other segments, except of the answers."""
        if groups == self.groups:
            return self
        kept = [self.groups.index(group) for group in groups]
        return replace(
            self,
            groups=groups,
            sizes=self.sizes[:, kept],
            ratio=self.ratio[:, :, kept],
            lifted=self.lifted[:, :, kept],
            variance=self.variance[:, kept],
        )


@dataclass(frozen=True, kw_only=True)
class QuietMonths:
    """What the months before any initiative allow.

    Attributes:
        first: First month of money.
        last: Last month before any start.
        window: Window that can be replayed; the one asked for, or the longest that fits.
        laid_over: Whether starts are laid over one another because their distance does not fit.
        starts: Fake first starts that are tried.
    """

    first: int
    last: int
    window: tuple[int, int]
    laid_over: bool
    starts: tuple[int, ...]

    @property
    def months(self) -> int:
        """How many."""
        return self.last - self.first + 1


def quiet_months(
    data: Linked, *, dates: Sequence[int], window: tuple[int, int], base: int, history: int
) -> QuietMonths:
    """Find the months before any initiative, and the fake first starts and window that fit into them.

    What gives way when they are too few, in this order: the months of history beyond the baseline; the distance of the
    starts (every start is then laid over the first, with the comparison places that it would have); the end of the
    window. Nothing is scaled.

    Args:
        data: The linked panel; if it holds roll-outs only the months before the first of them count.
        dates: Months of the starts after the first; the first is 0.
        window: First and last month after the start that are averaged.
        base: Months whose mean is a customer's own baseline.
        history: Months a customer should have been there before the first start.

    Raises:
        FitError: Not even the month of a start fits behind the baseline.
    """
    first, last = data.money_months
    if len(data.starts):
        last = min(last, int(data.starts["start"].min()) - 1)
    room = last - first - base
    if room < 0:
        raise FitError(
            "There are no months before the first initiative in which a roll-out could be tried.",
            [
                f"months of money before any start: {last - first + 1}",
                f"needed: {base} months of money before a fake start, and a month after it",
            ],
        )
    whole = dates[-1] + window[1] <= room
    used = window if window[1] <= room else (min(window[0], room), room)
    needed = used[1] + (dates[-1] if whole else 0)
    earliest, latest = first + max(base, min(history, last - first - needed)), last - needed
    starts = np.unique(np.linspace(earliest, latest, MOST_DATES).round().astype(int))
    return QuietMonths(
        first=first,
        last=last,
        window=used,
        laid_over=not whole and len(dates) > 1,
        starts=tuple(int(start) for start in starts),
    )


def places_of(data: Linked) -> pd.Series:
    """Count the customers of every place, sorted by name.

    Raises:
        FitError: No customer has a place.
    """
    counted = data.sums(by=["unit"], sums=())
    sizes: pd.Series = counted.dropna(subset=["unit"]).groupby("unit")["customers"].sum()
    if sizes.empty:
        raise FitError(
            "No customer has a place, so nothing can be rolled out from place to place.",
            ["name the column of the customers table that plays the role `unit`"],
        )
    sizes.index = sizes.index.astype(str)
    return sizes.sort_index()


def quiet_cohorts(
    data: Linked, quiet: QuietMonths, *, base: int, history: int, cap: float, effect: float | None
) -> tuple[QuietCohort, ...]:
    """Freeze one cohort before each fake first start; see :func:`quiet_cohort`.

    Only segments with customers enough before every fake start are kept.

    Raises:
        FitError: No segment has customers enough before every fake start.
    """
    names = tuple(places_of(data).index)
    found = [
        quiet_cohort(data, start, names=names, last=quiet.last, base=base, history=history, cap=cap, effect=effect)
        for start in quiet.starts
    ]
    common = tuple(group for group in found[0].groups if all(group in each.groups for each in found))
    if not common:
        raise FitError(
            "No segment has customers enough before every fake start.", ["merge segments with few customers"]
        )
    return tuple(each.only(common) for each in found)


def quiet_cohort(
    data: Linked,
    start: int,
    *,
    names: Sequence[str],
    last: int,
    base: int,
    history: int,
    cap: float,
    effect: float | None,
) -> QuietCohort:
    """Freeze the customers who were there before a fake first start and sum them, in the engine.

    Args:
        data: The linked panel.
        start: The fake first start.
        names: All places; which of them would start decides nothing here.
        last: Last month before any real start.
        base: Months whose mean is a customer's own baseline.
        history: Months a customer must have been there, or as many as there are.
        cap: Largest ratio to the own baseline that counts.
        effect: Share by which everybody's money is raised in ``lifted``, before the cap; none is 0.
    """
    fake = pd.DataFrame({"initiative": "placebo", "unit": list(names[::2]), "start": start})
    quiet = replace(data, starts=fake)
    rows = _sums(quiet, last, base=base, history=history, cap=cap)
    units, groups = sorted(rows["unit"].unique()), sorted(rows["segment"].unique())
    months = np.arange(rows["month"].min(), last + 1)
    grid = pd.MultiIndex.from_product([units, months, groups], names=["unit", "month", "segment"])
    shape = (len(units), months.size, len(groups))
    rows = rows.set_index(["unit", "month", "segment"]).reindex(grid)
    count, ratio, squares = (rows[name].to_numpy(dtype=float).reshape(shape) for name in _SUMMED)
    sizes = np.nan_to_num(count[:, 0])
    lifted = ratio
    if effect:
        raised = _sums(quiet, last, base=base, history=history, cap=cap / (1 + effect))
        raised = raised.set_index(["unit", "month", "segment"]).reindex(grid)
        lifted = (1 + effect) * raised["ratio"].to_numpy(dtype=float).reshape(shape)
    total = sizes.sum(0)
    answered = rows.reset_index().groupby(["unit", "month"])[["answers", "score"]].sum().reset_index()
    with np.errstate(invalid="ignore", divide="ignore"):
        return QuietCohort(
            start=start,
            history=start - int(months[0]),
            units=tuple(units),
            groups=tuple(groups),
            months=months.astype(float),
            sizes=sizes,
            ratio=ratio / sizes[:, None],
            lifted=lifted / sizes[:, None],
            variance=np.nansum(squares, 0) / total - (np.nansum(ratio, 0) / total) ** 2,
            rollout=_for_scores(units, groups, months, sizes, answered),
        )


def _sums(data: Linked, last: int, *, base: int, history: int, cap: float) -> pd.DataFrame:
    rows = data.fetch(data.units(base=base, history=history, cap=cap))
    rows = rows[rows["month"] <= last]
    return rows.assign(unit=rows["unit"].astype(str), segment=rows["segment"].astype(str))


def _for_scores(
    units: Sequence[str], groups: Sequence[str], months: NDArray[np.int64], sizes: Floats, answered: pd.DataFrame
) -> Rollout:
    """Lay sums of answers out as the answers of a cohort, each month of a place with its mean."""
    cells = sizes.astype(np.int64).ravel()
    place, group = np.divmod(np.repeat(np.arange(cells.size), cells), len(groups))
    given = answered[answered["answers"] > 0]
    count = given["answers"].to_numpy(dtype=np.int64)
    scores = pd.DataFrame(
        {
            "unit": np.repeat(np.searchsorted(units, given["unit"]), count),
            "month": np.repeat(given["month"].to_numpy(dtype=np.int64), count),
            "score": np.repeat(given["score"].to_numpy(dtype=float) / count, count),
        }
    )
    return Rollout(
        initiative="placebo",
        assigned="random",
        units=tuple(units),
        starts=np.full(len(units), NO_START),
        groups=tuple(groups),
        months=months.astype(float),
        history=1,
        unit=place.astype(np.int64),
        group=group.astype(np.int64),
        ratio=np.broadcast_to(np.float64("nan"), (place.size, months.size)),
        staying=np.broadcast_to(np.bool_(True), (place.size, months.size)),
        capped=0.0,
        silent=0,
        scores=scores,
        panel=pd.DataFrame(),
        steps=(),
    )
