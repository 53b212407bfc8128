"""Where did it come from? Slices of the customers that moved otherwise than the rest.

Slices are chosen in one half of the customers, the odd buckets, and measured in the other: what was picked because it
was large there is not measured by its own luck. Only change within cells counts, so that a change of mix is no finding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Literal

import numpy as np
import pandas as pd
from scipy import stats

from rox.core.check import Check, Verdict
from rox.core.errors import DataError
from rox.core.units import Unit
from rox.metrics.display import shown
from rox.metrics.drill_people import People, people_of
from rox.metrics.funnel import funnel
from rox.metrics.source import TIMES, Tables
from rox.metrics.tallies import Asked, Table, as_table, asked, by_bucket, kish, periods, require_both, within
from rox.numerics.arms import benjamini_hochberg
from rox.numerics.arrays import Bools, Floats, Ints
from rox.numerics.funnel import attribute_steps
from rox.numerics.slices import Contribution, own_contributions, shrunk

LEAST = 50.0
"""Effective rows a slice, and what is outside it, needs in each period and each half."""
MOST_SLICES = 3
ENOUGH = 2 / 3
"""Share of the change that slices must explain together."""
THIN = 30.0
"""Effective rows below which a cell has no change of its own."""
MOST_EXAMINED = 3_000
NEARLY = 0.8
"""Share of the largest contribution from which the surest one is taken: a wider slice holds little more."""
DEEPEST = 3
"""Dimensions of a slice."""
Verdicts = Literal["found", "diffuse", "still", "open"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Drill:
    """Where a change came from.

    Attributes:
        score: The question, or ``churn``.
        metric: What was read off it.
        first: The earlier period.
        second: The later one.
        dimensions: What was searched.
        slices: The columns of ``display.shown``, one row per slice found, in the order found: ``value`` is its own
            contribution to the change, what would be gone had it moved as the rest did, measured in the half it was not
            chosen in. ``slice`` says which (``segment=gold & channel=app``); cells of a slice before it are not in it.
        examined: One row per slice looked at: ``contribution``, ``se``, ``shrunk``, ``p``, ``q``, in the choosing half.
            None has fewer customers than the study's smallest cell, inside or outside, in either half and period.
        change: The change within cells, in the reporting half, with ``change_se``.
        explained: Share of it that the slices explain together; NaN where it cannot be told from zero.
        verdict: ``found`` if at most three slices explain two thirds, or moved though the whole did not; ``diffuse``
            if none counts and each surely explains less than two thirds; ``still`` if nothing changed; ``open`` if the
            answers cannot tell where the change came from.
        checks: What a reader must know.
    """

    score: str
    metric: str
    first: str
    second: str
    dimensions: tuple[str, ...]
    slices: pd.DataFrame
    examined: pd.DataFrame
    change: float
    change_se: float
    explained: float
    verdict: Verdicts
    checks: tuple[Check, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class _Cells:
    """Sums (bucket, 2, cell) of the joint cells that are there, and the level of each on every dimension."""

    table: Table
    levels: Ints
    keep: Ints

    def sums(self, name: str, half: Bools | None = None) -> Floats:
        held = getattr(self.table, name)
        flat = held.reshape(*held.shape[:2], -1)[:, :, self.keep]
        return np.asarray(flat if half is None else flat[half])


@dataclass(frozen=True, kw_only=True, eq=False)
class _Slice:
    """Cells, and the customers in them by half, the choosing one first, and period: (2, 2)."""

    mask: Bools
    people: Floats

    def without(self, cells: _Cells, odd: Bools, out: Bools) -> Floats:
        """Return the customers that are left at least without some cells, (2, 2)."""
        gone = [cells.sums("m", half).sum(0) @ (self.mask & out) for half in (odd, ~odd)]
        return np.asarray(self.people - np.stack(gone))


def drill(
    tables: Tables,
    score: str,
    first: str,
    second: str,
    dimensions: Sequence[str],
    *,
    metric: str | None = None,
    q: float = 0.10,
    level: float = 0.90,
    weighted: bool = True,
) -> Drill:
    """Find the slices, of up to three dimensions, that a change came from.

    Assumption: customers fall into halves by chance. A slice counts if its change differs from that of the rest with
    q-values over all that were examined; at most three are taken, each the surest of the largest after shrinking.

    Args:
        tables: Loaded tables.
        score: A score or driver of the study, or ``churn``.
        first: The earlier period: ``2025``, ``2025Q3`` or ``2025-07``.
        second: The later period, of the same kind.
        dimensions: Columns of the rows or customers.
        metric: ``nps``, ``mean``, ``top_two`` or ``easy``; by default the first the question has.
        q: Share of false discoveries among the slices that count.
        level: Level of the intervals.
        weighted: Whether rows count with the design weight of their customer.

    Raises:
        DataError: As in ``mix.moved``; too many slices, or none that is large enough.
    """
    by = tuple(dimensions)
    time, earlier, later = periods(first, second)
    if not by or (found := sorted(set(by) & set(TIMES))):
        raise DataError(
            "Nothing to drill into.", [f"dimensions: {', '.join(found) if by else 'none given'}; give columns"]
        )
    what = within(asked(tables, score, (*by, time), metric=metric, weighted=weighted), time, (earlier, later))
    frame = by_bucket(tables, what)
    require_both(tables, frame, what, time, (first, second))
    cells = _cells(as_table(frame, by, time, earlier))
    odd = np.asarray(cells.table.buckets % 2 == 1)
    least = tables.study.about.min_cell
    slices = _candidates(cells, people_of(tables, what, by, time, earlier, cells.table), odd, by, least)
    thin = np.asarray((_kish(cells, None, np.eye(cells.keep.size, dtype=bool)) < THIN).any(1))
    picked, examined, expected = _picked(cells, odd, slices, thin, q, least)
    told = _told(cells, ~odd, [slices[name].mask for name in picked], thin)
    change, change_se = told.total, float(np.sqrt(told.total_variance))
    everything = own_contributions(cells.sums("x"), cells.sums("y"), [], thin=thin, out=np.zeros(thin.size, dtype=bool))
    certain = _is_certain(everything.total, everything.total_variance, everything.df, level)
    sure = any(
        _is_certain(float(one), float(v), told.df, level) for one, v in zip(told.value, told.variance, strict=True)
    )
    told_certain = certain and abs(change) > 2 * change_se
    explained = float(told.value.sum() / change) if told_certain else float("nan")
    return Drill(
        score=score,
        metric=what.metric,
        first=first,
        second=second,
        dimensions=by,
        slices=_shown(tables, what, cells, ~odd, {name: slices[name] for name in picked}, told, level),
        examined=examined,
        change=change,
        change_se=change_se,
        explained=explained,
        verdict=_verdict(sure, certain, explained, _is_spread(examined, everything.total) and not picked),
        checks=(
            Check(
                code="ROX-X03",
                verdict=Verdict.NOTE,
                values={"metric": score, "examined": len(slices), "chance": expected},
            ),
        ),
    )


def moved_steps(tables: Tables, first: str, second: str, *, level: float = 0.90) -> pd.DataFrame:
    """Split the change of the share that passes a whole funnel over its steps, by logarithmic mean weights.

    Args:
        tables: Loaded tables with applicants whose steps are known.
        first: The earlier period: ``2025``, ``2025Q3`` or ``2025-07``.
        second: The later period, of the same kind.
        level: Level of the intervals (normal).

    Returns:
        One row per ``step`` (``step_1``, …), the columns of ``display.shown``, metric ``contribution``, unit ``ratio``;
        ``value_first`` and ``value_second`` are the shares passing the step. The values add up to the change.

    Raises:
        DataError: As in ``funnel.funnel``; no steps, or a period without starters or with a step nobody passes.
    """
    time, _, _ = periods(first, second)
    found = funnel(tables, (time,), level=level)
    found = found[found["metric"].str.startswith("step_") & found[time].isin([first, second])]
    rates = found.pivot(index=time, columns="metric", values="value")
    starters = found[found["metric"] == "step_1"].set_index(time)["n"]
    faults = [f"{each}: no starters, or too few to be shown" for each in (first, second) if each not in rates.index]
    if not faults:
        rates = rates[sorted(rates.columns, key=lambda name: int(str(name).removeprefix("step_")))]
        bad = rates.columns[~(rates > 0).all()]
        faults = [f"{name}: nobody passes it, or too few to be shown" for name in bad]
    if faults or rates.empty:
        raise DataError("The steps of the funnel cannot be compared.", faults or ["applicants.reached: missing"])
    reach = {each: np.cumprod(rates.loc[each].to_numpy(dtype=float)) for each in (first, second)}
    size = len(rates.columns)
    covariance = np.zeros((2 * size, 2 * size))
    for place, each in enumerate((first, second)):
        p, cut = reach[each], slice(place * size, (place + 1) * size)
        covariance[cut, cut] = np.minimum.outer(p, p) * (1 - np.maximum.outer(p, p)) / float(starters[each])
    split = attribute_steps(reach[second], reach[first], covariance)
    half = stats.norm.ppf((1 + level) / 2) * split.se
    n = float(starters[[first, second]].sum())
    part = pd.DataFrame(
        {
            "step": rates.columns,
            "value": split.contributions,
            "se": split.se,
            "low": split.contributions - half,
            "high": split.contributions + half,
            "value_first": rates.loc[first].to_numpy(),
            "value_second": rates.loc[second].to_numpy(),
        }
    ).assign(
        metric="contribution", unit=str(Unit.RATIO), n=n, n_eff=n, customers=float(starters.min()), method="log-mean"
    )
    return shown([part], by=("step",), level=level, min_cell=tables.study.about.min_cell)


def _cells(table: Table) -> _Cells:
    there = table.n.sum((0, 1))
    return _Cells(table=table, levels=np.argwhere(there > 0), keep=np.flatnonzero(there.ravel() > 0))


def _kish(cells: _Cells, half: Bools | None, slices: Bools) -> Floats:
    """Return effective rows of slices (slice, cell) by period: (slice, 2)."""
    x, ww = (cells.sums(name, half).sum(0) @ slices.T for name in ("x", "ww"))
    return kish(x, ww).T


def _candidates(cells: _Cells, people: People, odd: Bools, by: tuple[str, ...], least: int) -> dict[str, _Slice]:
    """Return the slices large enough in each half and period, inside and outside, by name; each set of cells once."""
    found: dict[str, _Slice] = {}
    seen = set()
    for size in range(1, min(DEEPEST, len(by)) + 1):
        for axes in combinations(range(len(by)), size):
            labels, whose = np.unique(cells.levels[:, axes], axis=0, return_inverse=True)
            masks = np.asarray(whose.ravel()[None, :] == np.arange(len(labels))[:, None])
            inside = np.stack([people.of(half, axes, labels) for half in (odd, ~odd)], axis=1)
            outside = np.maximum(np.stack([people.whole(half) for half in (odd, ~odd)]) - inside, _most_other(inside))
            large = (np.minimum(inside, outside) >= least).all((1, 2))
            for half in (odd, ~odd):
                large &= ((_kish(cells, half, masks) >= LEAST) & (_kish(cells, half, ~masks) >= LEAST)).all(1)
            for place in np.flatnonzero(large):
                if (mark := masks[place].tobytes()) not in seen:
                    seen.add(mark)
                    parts = zip(axes, labels[place], strict=True)
                    name = " & ".join(f"{by[a]}={cells.table.levels[a][int(i)]}" for a, i in parts)
                    found[name] = _Slice(mask=masks[place], people=inside[place])
    if not found or len(found) > MOST_EXAMINED:
        needs = f"{LEAST:.0f} effective rows and {least} customers in each half and period"
        raise DataError(
            f"There are {len(found):,} slices to examine.", [f"at least 1 and at most {MOST_EXAMINED:,} of {needs}"]
        )
    return found


def _most_other(people: Floats) -> Floats:
    """Return the most customers that any other slice (slice, …) has; somebody outside may be inside as well."""
    if len(people) == 1:
        return np.zeros_like(people)
    ordered = np.sort(people, axis=0)
    return np.asarray(np.where(people < ordered[-1], ordered[-1], ordered[-2]))


def _picked(
    cells: _Cells, odd: Bools, slices: dict[str, _Slice], thin: Bools, q: float, least: int
) -> tuple[list[str], pd.DataFrame, float]:
    """Take slices in the choosing half while they differ from the rest and less than two thirds are explained."""
    x, y = cells.sums("x", odd), cells.sums("y", odd)
    out = np.zeros(cells.keep.size, dtype=bool)
    picked: list[str] = []
    explained, examined, weakest = 0.0, pd.DataFrame(), 1.0
    while len(picked) < MOST_SLICES:
        open_to = [
            name
            for name, each in slices.items()
            if _is_large(cells, odd, each.mask & ~out) and (each.without(cells, odd, out) >= least).all()
        ]
        if not open_to:
            break
        found = own_contributions(x, y, [slices[name].mask for name in open_to], thin=thin, out=out)
        frame = _frame(open_to, found)
        if examined.empty:
            examined = frame
        certain = _is_certain(found.total, found.total_variance, found.df, 0.90)
        good = frame[frame["q"] <= q]
        if certain:
            good = good[np.sign(good["contribution"]) == np.sign(found.total)]
        if good.empty:
            break
        size, z = good["shrunk"].abs(), good["contribution"].abs() / good["se"]
        row = good.loc[z[size >= NEARLY * size.max()].idxmax()]
        weakest = max(float(row["p"]), 0.0 if not picked else weakest)
        picked.append(str(row["slice"]))
        out = out | slices[picked[-1]].mask
        explained += float(row["contribution"])
        if certain and explained / found.total >= ENOUGH:
            break
    if not picked:
        weakest = float(examined["p"].min()) if len(examined) else 1.0
    return picked, examined, weakest * len(slices)


def _frame(names: Sequence[str], found: Contribution) -> pd.DataFrame:
    se = np.sqrt(found.variance)
    p = 2 * stats.t.sf(np.abs(found.value) / np.where(se > 0, se, np.inf), found.df)
    return pd.DataFrame(
        {
            "slice": list(names),
            "contribution": found.value,
            "se": se,
            "shrunk": shrunk(found.value, found.variance),
            "p": p,
            "q": benjamini_hochberg(p),
        }
    )


def _is_large(cells: _Cells, half: Bools, mask: Bools) -> bool:
    return bool((_kish(cells, half, mask[None, :]) >= LEAST).all())


def _told(cells: _Cells, even: Bools, picked: Sequence[Bools], thin: Bools) -> Contribution:
    """Measure the chosen slices in the other half, each without the cells of those before it."""
    x, y = cells.sums("x", even), cells.sums("y", even)
    out = np.zeros(cells.keep.size, dtype=bool)
    parts = []
    for mask in picked:
        parts.append(own_contributions(x, y, [mask], thin=thin, out=out))
        out = out | mask
    whole = own_contributions(x, y, [], thin=thin, out=np.zeros(out.size, dtype=bool))
    return replace(
        whole,
        value=np.concatenate([each.value for each in parts]) if parts else np.empty(0),
        variance=np.concatenate([each.variance for each in parts]) if parts else np.empty(0),
    )


def _is_certain(value: float, variance: float, df: int, level: float) -> bool:
    return bool(abs(value) > stats.t.ppf((1 + level) / 2, df) * np.sqrt(variance))


def _is_spread(examined: pd.DataFrame, change: float) -> bool:
    """Whether every slice surely contributes less than what counts as explaining the change."""
    most = examined["contribution"] * np.sign(change) + stats.norm.ppf(0.95) * examined["se"]
    return bool((most < ENOUGH * abs(change)).all())


def _verdict(sure: bool, certain: bool, explained: float, spread: bool) -> Verdicts:
    if not certain:
        return "found" if sure else "still"
    if explained >= ENOUGH:
        return "found"
    return "diffuse" if spread else "open"


def _shown(
    tables: Tables,
    what: Asked,
    cells: _Cells,
    even: Bools,
    picked: dict[str, _Slice],
    told: Contribution,
    level: float,
) -> pd.DataFrame:
    out = np.zeros(cells.keep.size, dtype=bool)
    own, people = [], []
    for each in picked.values():
        own.append(each.mask & ~out)
        people.append(each.without(cells, ~even, out)[1].min())
        out = out | each.mask
    masks = np.array(own, dtype=bool).reshape(len(picked), cells.keep.size)
    se = np.sqrt(told.variance)
    half = stats.t.ppf((1 + level) / 2, told.df) * se
    part = pd.DataFrame({"slice": list(picked), "value": told.value, "se": se}).assign(
        low=told.value - half,
        high=told.value + half,
        n=(cells.sums("n", even).sum((0, 1)) @ masks.T),
        customers=np.array(people, dtype=float),
        n_eff=_kish(cells, even, masks).min(1) if len(picked) else np.empty(0),
        score=what.score,
        metric=what.metric,
        unit=str(what.unit),
        method="split-sample",
    )
    return shown([part], by=("slice",), level=level, min_cell=tables.study.about.min_cell)
