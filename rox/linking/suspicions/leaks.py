"""Numeric controls that know the outcome: they tell who left, or order customers as their later money does."""

from __future__ import annotations

from collections.abc import Iterator
from functools import reduce
from itertools import product
from typing import Any

import ibis
import ibis.expr.types as ir
import numpy as np

from rox.core.check import Check
from rox.linking.engine import Engine
from rox.linking.expressions import how_many, real, total
from rox.linking.histories import Histories, Predictor
from rox.linking.sources import ROW
from rox.linking.suspicions.customers import Profile
from rox.linking.suspicions.finding import demote
from rox.linking.suspicions.thresholds import (
    LEAST_EVENTS,
    LEAST_ORDERED,
    MOST_RANKED,
    PERFECT_AUC,
    SAME_ORDER,
)

PAIRS_AT_ONCE = 25


def about_leaks(engine: Engine, histories: Histories, profile: Profile) -> Iterator[Check]:
    """Rank the customers by every numeric control, and by their first, last and whole money."""
    controls = [each for each in histories.predictors if each.numeric and profile.levels(each) > 2]
    if not controls:
        return
    people = histories.table
    step = -(-profile.customers // MOST_RANKED)
    if step > 1:
        people = people.filter(people[ROW] % step == 0)
    if histories.has_exits and min(profile.count("left"), profile.customers - profile.count("left")) >= LEAST_EVENTS:
        yield from _tells_who_left(engine, people, controls, profile)
    controls = [each for each in controls if profile.levels(each) >= LEAST_ORDERED]
    if histories.has_ledger and controls:
        yield from _tells_money(engine, people, controls, histories, profile.customers / step)


def _tells_who_left(engine: Engine, people: ir.Table, controls: list[Predictor], profile: Profile) -> Iterator[Check]:
    """Count by control the pairs of a leaver and a stayer in which the leaver's value is higher, ties half."""
    parts = []
    for i, each in enumerate(controls):
        known = people.filter(people[each.column].notnull())
        values = known.group_by(value=known[each.column]).aggregate(
            leavers=total(known.left), stayers=how_many(known.left == 0)
        )
        below = values.stayers.sum().over(ibis.window(order_by="value", preceding=(None, 0)))
        values = values.mutate(twice=values.leavers * (2 * below - values.stayers))
        sums = {"twice": total(values.twice), "leavers": total(values.leavers), "stayers": total(values.stayers)}
        parts.append(values.aggregate(**sums).mutate(control=ibis.literal(i, "int64")))
    found = engine.fetch(reduce(lambda one, other: one.union(other), parts)).set_index("control")
    for i, each in enumerate(controls):
        twice, leavers, stayers = (float(found[name].to_numpy()[found.index.get_loc(i)]) for name in sums)
        if min(leavers, stayers) < LEAST_EVENTS:
            continue
        auc = twice / (2 * leavers * stayers)
        if max(auc, 1 - auc) >= PERFECT_AUC:
            left, customers = profile.count("left"), profile.customers
            yield demote("ROX-K03", column=each.source, auc=max(auc, 1 - auc), left=left, total=customers)


def _tells_money(
    engine: Engine, people: ir.Table, controls: list[Predictor], histories: Histories, middle: float
) -> Iterator[Check]:
    """Find a control that orders customers as later money does, while the first month's money does not.

    What is known at the start may well be the balance of the start; it cannot be the balance of the end.
    """
    outcomes = range(len(histories.outcomes))
    names = [each.column for each in controls] + [f"{kind}{j}" for j in outcomes for kind in ("start", "end", "sum")]
    ranked = people.filter(people["end0"].notnull()).select(**{name: _twice_the_rank(people, name) for name in names})
    pairs = [*product((each.column for each in controls), (f"{kind}{j}" for j in outcomes for kind in ("end", "sum")))]
    pairs += [(f"start{j}", f"{kind}{j}") for j in outcomes for kind in ("end", "sum")]
    r = _correlations(engine, ranked, pairs, middle)
    for each in controls:
        for j, outcome in enumerate(histories.outcomes):
            found = {
                kind: r[each.column, f"{kind}{j}"]
                for kind in ("end", "sum")
                if abs(r[each.column, f"{kind}{j}"]) >= SAME_ORDER
                and not abs(r[f"start{j}", f"{kind}{j}"]) >= SAME_ORDER
            }
            if found:
                yield demote("ROX-K04", column=each.source, outcome=outcome, r=max(found.values(), key=abs))


def _twice_the_rank(people: ir.Table, name: str) -> Any:
    """Return twice the mean rank of a value among equal ones, a whole number; nothing where there is no value."""
    value = people[name]
    below = value.rank()
    equal = value.count().over(ibis.window(group_by=name))
    return value.notnull().ifelse(2 * below + equal, ibis.null("int64"))


def _correlations(
    engine: Engine, ranked: ir.Table, pairs: list[tuple[str, str]], middle: float
) -> dict[tuple[str, str], float]:
    """Return the correlation of pairs of columns; NaN where one is constant or few rows have both.

    Args:
        engine: Where to compute.
        ranked: Has the columns.
        pairs: Their names.
        middle: About the mean of every column; it is taken off before squares are summed.
    """
    found = {}
    for start in range(0, len(pairs), PAIRS_AT_ONCE):
        some = pairs[start : start + PAIRS_AT_ONCE]
        sums: dict[str, Any] = {}
        for i, (one, other) in enumerate(some):
            both = ranked[one].notnull() & ranked[other].notnull()
            x, y = (both.ifelse(ranked[name].cast("float64") - real(middle), real(0)) for name in (one, other))
            sums |= {f"n{i}": how_many(both), f"x{i}": x.sum(), f"y{i}": y.sum()}
            sums |= {f"xx{i}": (x * x).sum(), f"yy{i}": (y * y).sum(), f"xy{i}": (x * y).sum()}
        row = engine.fetch(ranked.aggregate(**sums)).iloc[0].astype(float)
        for i, pair in enumerate(some):
            found[pair] = _correlation(*(float(row[f"{name}{i}"]) for name in ("n", "x", "y", "xx", "yy", "xy")))
    return found


def _correlation(n: float, x: float, y: float, xx: float, yy: float, xy: float) -> float:
    if n < LEAST_ORDERED:
        return float("nan")
    spread = (xx - x * x / n) * (yy - y * y / n)
    return float((xy - x * y / n) / np.sqrt(spread)) if spread > 0 else float("nan")
