"""Why a measure moved: what happens within groups, who the customers are, who joined, left, and who answers.

Estimand: the change of a mean (or of a share, or of a hazard of leaving) between two periods. Every split adds up to it
exactly. Errors leave out one of 64 buckets of customers at a time, so those who answer twice count as what they are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd

from rox.core.check import Check, Verdict
from rox.core.errors import DataError
from rox.metrics.display import SHOWN_FROM, shown
from rox.metrics.mix_panel import panel
from rox.metrics.source import TIMES, Tables
from rox.metrics.tallies import (
    Asked,
    Floats,
    Table,
    as_table,
    asked,
    by_bucket,
    periods,
    require_both,
    within,
)
from rox.numerics.arrays import Ints
from rox.numerics.decompose import pool_thin
from rox.numerics.funnel_mix import MOST_FACTORS, kitagawa, shapley_mix
from rox.numerics.jackknife import Jackknife, bucket_jackknife

ALL = "all"
"""Stands for the dimension of what is not of one dimension."""
OTHERS = "(others)"
"""The name of the groups that are pooled because they are thin."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Moved:
    """A change between two periods and its parts; frames have the columns of ``display.shown``.

    Attributes:
        score: The question, or ``churn``.
        metric: What was read off it.
        unit: Of all values.
        first: The earlier period.
        second: The later one.
        by: The dimensions of the mix.
        bridge: One row per ``term`` and ``dimension``: ``first`` and ``second`` (values of the periods), ``change``,
            ``rate`` (within groups), ``mix`` (one row per dimension). ``first`` + all ``mix`` + ``rate`` = ``second``.
        groups: One row per ``dimension``, ``term`` and ``group`` of each dimension taken alone: what the group adds to
            ``rate`` and to ``mix``; ``value_first`` and ``value_second`` are its means for ``rate``, its shares for
            ``mix``. Thin groups stand together as ``(others)``.
        panel: One row per ``term``: ``stayers``, ``joiners``, ``leavers``, ``who_answers``, which add up to ``change``;
            empty for ``churn``.
        pooled: Joint cells whose mean is that of several, because they were thin.
        borrowed: Joint cells that one period has not, whose whole part is mix unless they are pooled.
        reversed: Whether the change within groups runs against the whole (Simpson's reversal), not by chance alone.
        checks: What a reader must know.
    """

    score: str
    metric: str
    unit: str
    first: str
    second: str
    by: tuple[str, ...]
    bridge: pd.DataFrame
    groups: pd.DataFrame
    panel: pd.DataFrame
    pooled: int
    borrowed: int
    reversed: bool
    checks: tuple[Check, ...]

    @property
    def headline(self) -> pd.Series:
        """The row of ``bridge`` to speak of first: the change, or the rate where the mix turned its sign."""
        return self.bridge[self.bridge["term"] == ("rate" if self.reversed else "change")].iloc[0]


def moved(
    tables: Tables,
    score: str,
    first: str,
    second: str,
    *,
    by: Sequence[str],
    metric: str | None = None,
    level: float = 0.90,
    weighted: bool = True,
) -> Moved:
    """Split a change between two periods into rate and mix, and into stayers, joiners, leavers and who answers.

    One dimension: the symmetric split of Kitagawa (1955). Several: Shapley's over the dimensions and the rate, each
    dimension given those before it (Shorrocks 2013). What a group brings that only one period has is all mix.
    Assumption of the split: a group's mean would have been the same under the other period's mix. Joint cells below 30
    effective answers share the mean of their thin neighbours under the same wider cell. ``who_answers`` is what the
    answers differ from the customers by, as far as status and the dimensions tell, which are known of everybody.

    Args:
        tables: Loaded tables.
        score: A score or driver of the study, or ``churn``, the share leaving per month.
        first: The earlier period: ``2025``, ``2025Q3`` or ``2025-07``.
        second: The later period, of the same kind.
        by: One to six columns of the answers or customers, the widest first.
        metric: ``nps``, ``mean``, ``top_two`` or ``easy``; by default the first the question has.
        level: Level of the intervals (Student's).
        weighted: Whether rows count with the design weight of their customer.

    Raises:
        DataError: As in ``answers.scores`` and ``waves.change``; no dimension, too many, or times among them.
    """
    dimensions = tuple(by)
    time, earlier, later = _checked(first, second, dimensions)
    what = within(asked(tables, score, (*dimensions, time), metric=metric, weighted=weighted), time, (earlier, later))
    frame = by_bucket(tables, what)
    require_both(tables, frame, what, time, (first, second))
    table = as_table(frame, dimensions, time, earlier)
    pool = pool_thin(table.effective[1], table.effective[0], SHOWN_FROM)
    sums = np.stack([table.x, table.y], axis=1)
    fit = bucket_jackknife(lambda total: _bridge(total, pool), sums, level=level)
    bridge = _shown(tables, what, _bridge_rows(table, fit, dimensions), ("term", "dimension"), level)
    split = panel(tables, what, dimensions, (time, earlier, later), level) if what.is_survey else None
    change, rate = fit.estimate[2], fit.estimate[3]
    turned = bool(change * rate < 0 and _certain(fit, 2) and _certain(fit, 3))
    pooled = int((np.bincount(pool.ravel())[pool.ravel()] > 1)[table.n.sum((0, 1)).ravel() > 0].sum())
    there = table.n.sum(0) > 0
    checks = tuple(_checks(turned, float(change), what.score, pooled))
    return Moved(
        score=score,
        metric=what.metric,
        unit=str(what.unit),
        first=first,
        second=second,
        by=dimensions,
        bridge=bridge,
        groups=_groups(tables, what, table, dimensions, level),
        panel=bridge.iloc[:0].drop(columns="dimension")
        if split is None
        else _shown(tables, what, split, ("term",), level, 0.0),
        pooled=pooled,
        borrowed=int((there[0] != there[1]).sum()),
        reversed=turned,
        checks=checks,
    )


def _checked(first: str, second: str, by: tuple[str, ...]) -> tuple[str, int, int]:
    time, earlier, later = periods(first, second)
    faults = []
    if not 1 <= len(by) <= MOST_FACTORS:
        faults.append(f"give one to {MOST_FACTORS} dimensions, got {len(by)}")
    if found := sorted(set(by) & set(TIMES)):
        faults.append(f"the mix of a period has no {', '.join(found)}; give columns such as segment")
    if faults:
        raise DataError(f"Cannot split the change from {first} to {second}.", faults)
    return time, earlier, later


def _bridge(total: Floats, pool: Ints) -> Floats:
    """Return first, second, change, rate and the mix of each dimension from sums (2, period, level, …)."""
    (n0, n1), (y0, y1) = total
    if not min(n0.sum(), n1.sum()) > 0:
        return np.full(4 + n0.ndim, np.nan)
    found = shapley_mix(n1, y1, n0, y0, pool=pool)
    before, after = y0.sum() / n0.sum(), y1.sum() / n1.sum()
    return np.concatenate([[before, after, after - before, found.rate], found.mix])


def _levels(total: Floats, pool: Ints) -> tuple[Floats, Floats]:
    """Return mix and rate by pooled level of one dimension, from sums (2, period, level)."""
    one = np.unique(pool, return_inverse=True)[1]
    summed = np.stack([[np.bincount(one, weights=row) for row in part] for part in total])
    (n0, n1), (y0, y1) = summed
    share0, share1 = n0 / n0.sum(), n1 / n1.sum()
    mean0, mean1 = (np.divide(y, n, out=np.zeros_like(y), where=n > 0) for y, n in ((y0, n0), (y1, n1)))
    found = kitagawa(share1, mean1, share0, mean0)
    return found.mix, found.rate


def _side_by_side(total: Floats, pool: Ints) -> Floats:
    return np.concatenate(_levels(total, pool))


def _certain(fit: Jackknife, place: int) -> bool:
    return bool(fit.low[place] > 0 or fit.high[place] < 0)


def _bridge_rows(table: Table, fit: Jackknife, by: tuple[str, ...]) -> pd.DataFrame:
    people, effective = table.m.sum((0, *range(2, table.m.ndim))), _effective(table.x, table.ww)
    first, second, either = (people[0], effective[0]), (people[1], effective[1]), (people.min(), effective.min())
    count = table.n.sum((0, *range(2, table.n.ndim)))
    size = len(by)
    return pd.DataFrame(
        {
            "term": ["first", "second", "change", "rate", *["mix"] * size],
            "dimension": [*[ALL] * 4, *by],
            "value": fit.estimate,
            "se": fit.se,
            "low": fit.low,
            "high": fit.high,
            "n": [count[0], count[1], *[count.sum()] * (2 + size)],
            "customers": [first[0], second[0], *[either[0]] * (2 + size)],
            "n_eff": [first[1], second[1], *[either[1]] * (2 + size)],
        }
    )


def _effective(x: Floats, ww: Floats) -> Floats:
    """Return effective rows of the two periods from sums (bucket, 2, …)."""
    rest = (0, *range(2, x.ndim))
    return np.asarray(x.sum(rest) ** 2 / ww.sum(rest))


def _groups(tables: Tables, what: Asked, table: Table, by: tuple[str, ...], level: float) -> pd.DataFrame:
    """Split by each dimension alone, level by level."""
    parts = []
    for place, dimension in enumerate(by):
        rest = tuple(2 + axis for axis in range(len(by)) if axis != place)
        n, m, x, ww, y = (getattr(table, name).sum(rest) for name in ("n", "m", "x", "ww", "y"))
        effective = x.sum(0) ** 2 / np.where(ww.sum(0) > 0, ww.sum(0), 1.0)
        pool = pool_thin(effective[1], effective[0], SHOWN_FROM)
        fit = bucket_jackknife(partial(_side_by_side, pool=pool), np.stack([x, y], 1), level=level)
        one, first = np.unique(pool, return_inverse=True)[1], np.unique(pool, return_index=True)[1]
        size = first.size
        alone = np.bincount(one) == 1
        names = [table.levels[place][i] if single else OTHERS for i, single in zip(first, alone, strict=True)]
        sums = {
            name: np.stack([np.bincount(one, weights=row, minlength=size) for row in part.sum(0)])
            for name, part in (("n", n), ("m", m), ("x", x), ("ww", ww), ("y", y))
        }
        shares = sums["x"] / sums["x"].sum(1, keepdims=True)
        means = np.divide(sums["y"], sums["x"], out=np.full_like(shares, np.nan), where=sums["x"] > 0)
        held = np.where(sums["n"] > 0, sums["m"], np.inf).min(0)
        enough = np.where(sums["n"] > 0, sums["x"] ** 2 / np.where(sums["ww"] > 0, sums["ww"], 1), np.inf).min(0)
        for number, (term, sides) in enumerate((("mix", shares), ("rate", means))):
            cut = slice(number * size, (number + 1) * size)
            parts.append(
                pd.DataFrame(
                    {
                        "dimension": dimension,
                        "term": term,
                        "group": names,
                        "value": fit.estimate[cut],
                        "se": fit.se[cut],
                        "low": fit.low[cut],
                        "high": fit.high[cut],
                        "n": sums["n"].sum(0),
                        "customers": held,
                        "n_eff": enough,
                        "value_first": sides[0],
                        "value_second": sides[1],
                    }
                )
            )
    return _shown(tables, what, pd.concat(parts, ignore_index=True), ("dimension", "term", "group"), level)


def _shown(
    tables: Tables, what: Asked, rows: pd.DataFrame, by: tuple[str, ...], level: float, shown_from: float = SHOWN_FROM
) -> pd.DataFrame:
    named = rows.assign(metric=what.metric, unit=str(what.unit), score=what.score, method="jackknife")
    return shown([named], by=by, level=level, min_cell=tables.study.about.min_cell, shown_from=shown_from)


def _checks(turned: bool, change: float, score: str, pooled: int) -> Iterator[Check]:
    if turned:
        total, inside = ("movement.rose", "movement.fell") if change > 0 else ("movement.fell", "movement.rose")
        yield Check(code="ROX-X01", verdict=Verdict.NOTE, values={"metric": score, "total": total, "inside": inside})
    else:
        yield Check(code="ROX-X01", verdict=Verdict.PASS, values={"metric": score})
    if pooled:
        yield Check(code="ROX-X05", verdict=Verdict.NOTE, values={"metric": score, "cells": pooled})
