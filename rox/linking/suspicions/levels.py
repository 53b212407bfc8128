"""Groups that leave too seldom or too often to be true, and columns that know the outcome."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import reduce
from typing import Any

import ibis
import ibis.expr.types as ir
import numpy as np
import pandas as pd

from rox.core.check import Check, Verdict
from rox.core.study import Study
from rox.linking.contract import Staged
from rox.linking.engine import Engine
from rox.linking.expressions import total
from rox.linking.histories import Histories, Predictor
from rox.linking.suspicions.customers import Profile
from rox.linking.suspicions.finding import demote, names_of, note, rows_of
from rox.linking.suspicions.thresholds import (
    CHANCE,
    LEAST_EVENTS,
    LEAST_OF_A_LEVEL,
    MOST_LEVELS,
    ODDS_APART,
    PERFECT_AUC,
)

GIVEN = ""
"""The level of customers for whom a quantity is filled in."""


@dataclass(frozen=True, kw_only=True)
class Grouping:
    """A column that puts customers into groups.

    Attributes:
        table: Its table as the study calls it.
        source: Its name in the file.
        rows: Customers with ``level``, ``left``, ``exposure`` and, by outcome, ``any{j}``; and the places of rows.
        explains: Whether it may explain an outcome: a segment, a unit or a control, not a topic.
    """

    table: str
    source: str
    rows: ir.Table
    explains: bool


def about_levels(
    engine: Engine, study: Study, staged: Mapping[str, Staged], histories: Histories, profile: Profile
) -> Iterator[Check]:
    """Look at every group of customers, in one scan over all the columns that make groups."""
    groupings = [
        *(_of_predictor(histories, each, profile) for each in histories.predictors),
        *_of_topics(staged, histories),
    ]
    if not groupings:
        return
    cells = _cells(engine, histories, groupings)
    if not len(cells):
        return
    for i, grouping in enumerate(groupings):
        mine = cells[cells["grouping"] == i]
        shown = mine[(mine["n"] >= study.about.min_cell) & mine["level"].notna() & (mine["level"] != GIVEN)]
        if histories.has_exits:
            yield from _exits(engine, grouping, shown, profile, len(cells))
            if grouping.explains:
                yield from _leak(grouping, mine, profile)
        if histories.has_ledger and grouping.explains:
            yield from _no_money(engine, histories, grouping, shown, profile, len(cells))


def _rows(histories: Histories, people: ir.Table, level: Any) -> ir.Table:
    """Keep what is counted: level, exit, months at risk, money."""
    exposure = people.months.fill_null(0) if histories.has_ledger else ibis.literal(1, "int64")
    parts = {f"any{j}": people[f"any{j}"].fill_null(0) for j in range(len(histories.outcomes))}
    left = people.left if histories.has_exits else ibis.literal(0, "int64")
    return people.select("rox_file", "rox_row", level=level, left=left, exposure=exposure, **parts)


def _of_predictor(histories: Histories, predictor: Predictor, profile: Profile) -> Grouping:
    """Group customers by a column; by a quantity only into those with and without it.

    What is filled in at the exit, or only for those who stay, knows the outcome by being there.
    """
    people = histories.table
    value = people[predictor.column]
    level = value.cast("string")
    if predictor.numeric and profile.levels(predictor) > MOST_LEVELS:
        level = value.isnull().ifelse(ibis.null("string"), ibis.literal(GIVEN))
    return Grouping(table="customers", source=predictor.source, rows=_rows(histories, people, level), explains=True)


def _of_topics(staged: Mapping[str, Staged], histories: Histories) -> Iterator[Grouping]:
    feedback = staged.get("feedback")
    if feedback is None or "customer" not in feedback:
        return
    for role in ("topic", "kind"):
        if role in feedback:
            said = (
                feedback.table.filter(feedback.table[role].notnull()).select(speaker="customer", said=role).distinct()
            )
            people = histories.table.inner_join(said, histories.table.person == said.speaker)
            rows = _rows(histories, people, people.said)
            yield Grouping(table="feedback", source=feedback.source(role), rows=rows, explains=False)


def _cells(engine: Engine, histories: Histories, groupings: list[Grouping]) -> pd.DataFrame:
    """Count customers, exits, months and payers of every group."""
    sums = ["left", "exposure", *(f"any{j}" for j in range(len(histories.outcomes)))]
    parts = [each.rows.select("level", *sums, grouping=ibis.literal(i, "int64")) for i, each in enumerate(groupings)]
    rows = reduce(lambda one, other: one.union(other), parts)
    cells = rows.group_by("grouping", "level").aggregate(n=rows.count(), **{name: total(rows[name]) for name in sums})
    return engine.fetch(cells.filter(cells.n >= LEAST_OF_A_LEVEL).order_by("grouping", "level"))


def _odds(share: float, times: float) -> float:
    """Multiply the odds of a share."""
    return share * times / (1 - share + share * times)


def _exits(engine: Engine, grouping: Grouping, cells: pd.DataFrame, profile: Profile, tested: int) -> Iterator[Check]:
    """Find groups that nobody leaves, or that everybody has left."""
    left, months = profile.count("left"), profile.count("months")
    base = left / profile.customers
    if not 0 < base < 1:
        return
    if months:
        without = -cells["exposure"] * left / months / ODDS_APART
    else:
        without = cells["n"] * np.log1p(-_odds(base, 1 / ODDS_APART))
    unlikely = np.log(CHANCE / tested)
    nobody = cells[(cells["left"] == 0) & (without < unlikely)]
    everybody = cells[(cells["left"] == cells["n"]) & (cells["n"] * np.log(_odds(base, ODDS_APART)) < unlikely)]
    if len(nobody):
        yield note("ROX-K01", **_values(engine, grouping, nobody), share=base)
    if len(everybody):
        verdict = Verdict.DEMOTE if grouping.explains else Verdict.NOTE
        values = _values(engine, grouping, everybody)
        yield Check(code="ROX-K02", verdict=verdict, values={**values, "share": base})


def _no_money(
    engine: Engine, histories: Histories, grouping: Grouping, cells: pd.DataFrame, profile: Profile, tested: int
) -> Iterator[Check]:
    """Find groups in which no customer has ever had an amount."""
    for j, outcome in enumerate(histories.outcomes):
        base = profile.count(f"any{j}") / profile.customers
        if base == 0:
            continue
        chance = cells["n"] * np.log1p(-min(_odds(base, 1 / ODDS_APART), 1 - 1e-12))
        nobody = cells[(cells[f"any{j}"] == 0) & (chance < np.log(CHANCE / tested))]
        if len(nobody):
            yield note("ROX-K05", **_values(engine, grouping, nobody), outcome=outcome, share=base)


def _values(engine: Engine, grouping: Grouping, found: pd.DataFrame) -> dict[str, str | int | float]:
    levels = list(found["level"])
    return {
        "table": grouping.table,
        "column": grouping.source,
        "levels": names_of([level.removesuffix(".0") for level in levels]),
        "count": int(found["n"].sum()),
        "rows": rows_of(engine, grouping.rows.filter(grouping.rows.level.isin(levels))),
    }


def _leak(grouping: Grouping, cells: pd.DataFrame, profile: Profile) -> Iterator[Check]:
    """Find a column whose groups tell who left almost without error."""
    left, customers = profile.count("left"), profile.customers
    if min(left, customers - left) < LEAST_EVENTS:
        return
    n = np.append(cells["n"].to_numpy(float), customers - cells["n"].sum())
    k = np.append(cells["left"].to_numpy(float), left - cells["left"].sum())
    auc = auc_of_groups(n[n > 0], k[n > 0])
    if auc >= PERFECT_AUC:
        yield demote("ROX-K03", column=grouping.source, auc=auc, left=left, total=customers)


def auc_of_groups(n: np.ndarray, k: np.ndarray) -> float:
    """Return how well the rate of a person's group tells who left.

    The area under the ROC curve: the probability that of a leaver and a stayer the leaver is in the group with the
    higher rate, ties counting half. Groups of five and more that differ by chance alone stay far below 1.

    Args:
        n: People by group, ``(g,)``, none of them empty.
        k: Leavers by group, ``(g,)``.
    """
    _, place = np.unique(k / n, return_inverse=True)
    leavers, stayers = np.bincount(place, k), np.bincount(place, n - k)
    below = np.cumsum(stayers) - stayers
    pairs = leavers.sum() * stayers.sum()
    return float((leavers * (below + stayers / 2)).sum() / pairs) if pairs else 0.5
