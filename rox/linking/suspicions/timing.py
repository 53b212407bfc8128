"""Doubts about when answers were given: all on one day, midnights elsewhere, on the way out, or known too late."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import reduce
from typing import Any

import ibis
import ibis.expr.types as ir
import pandas as pd
from scipy.stats import poisson

from rox.core.check import Check
from rox.core.study import Study
from rox.linking.clock import CLOCKED, clock_name
from rox.linking.contract import Staged
from rox.linking.engine import Engine
from rox.linking.expressions import how_many, month_of
from rox.linking.suspicions.codes import Coded, codes_among
from rox.linking.suspicions.finding import demote, note, rows_of
from rox.linking.suspicions.thresholds import (
    BEFORE_DAYS,
    CHANCE,
    EXIT_WEEK_DAYS,
    EXIT_WEEK_TIMES,
    KNOWN_LATE,
    LEAST_ANSWERS,
    LEAST_EVENTS,
    LONG_SPAN,
    MANY_ANSWERS,
    ONE_CLOCK,
    ONE_DAY,
    RETURN_DAYS,
)


def about_answers(engine: Engine, study: Study, staged: Mapping[str, Staged], minor: int) -> Iterator[Check]:
    """Count the answers by day in one scan, and look at what stands out; then whether anybody came back."""
    answers = staged.get("answers")
    if answers is None or "date" not in answers:
        return
    days = _days(engine, study, staged, answers)
    total = int(days["n"].sum())
    if total >= LEAST_ANSWERS and days["n"].max() >= ONE_DAY * total:
        yield demote("ROX-K11", column=answers.source("date"), count=int(days["n"].max()), total=total)
    week, before = float(days["week"].sum()), float(days["before"].sum())
    usual = before * EXIT_WEEK_DAYS / BEFORE_DAYS
    if week >= max(LEAST_EVENTS, EXIT_WEEK_TIMES * usual) and poisson.sf(week - 1, max(usual, 1.0)) < CHANCE:
        yield note("ROX-K13", count=int(week), usual=usual, days=EXIT_WEEK_DAYS)
    late, known = int(days["late"].sum()), int(days["known"].sum())
    if known >= LEAST_ANSWERS and late > KNOWN_LATE * known:
        yield note("ROX-K14", column=answers.source("available"), count=late, total=known)
    yield from _amounts(engine, study, answers, days, minor)
    yield from _nobody_returns(engine, study, answers)


def _days(engine: Engine, study: Study, staged: Mapping[str, Staged], answers: Staged) -> pd.DataFrame:
    read = answers.table.filter(answers.table.date.notnull())
    exits = staged.get("exits")
    never = read.date.isnull()
    week, before = never, never
    if exits is not None and "customer" in exits and "date" in exits and "customer" in answers:
        gone = exits.table.filter(exits.table.customer.notnull())
        gone = gone.group_by(rox_leaver="customer").aggregate(rox_left=gone.date.min())
        read = read.left_join(gone, read.customer == gone.rox_leaver)
        ahead = read.rox_left.delta(read.date, unit="day")
        week = (ahead >= 0) & (ahead < EXIT_WEEK_DAYS)
        before = (ahead >= EXIT_WEEK_DAYS) & (ahead < EXIT_WEEK_DAYS + BEFORE_DAYS)
    sums: dict[str, Any] = {"n": read.count(), "week": how_many(week), "before": how_many(before)}
    if "available" in answers:
        sums["known"] = how_many(read.available.notnull())
        sums["late"] = how_many(month_of(read.available) > month_of(read.date))
    else:
        sums |= dict.fromkeys(("known", "late"), how_many(never))
    for j, name in enumerate(_beside(study, answers)):
        sums |= {f"low{j}": read[name].min(), f"high{j}": read[name].max(), f"below{j}": how_many(read[name] < 0)}
    return engine.fetch(read.group_by("date").aggregate(**sums))


def _beside(study: Study, answers: Staged) -> list[str]:
    return [name for name, each in study.outcomes.items() if each.table == "answers" and name in answers]


def _amounts(engine: Engine, study: Study, answers: Staged, days: pd.DataFrame, minor: int) -> Iterator[Check]:
    """Look at the amounts that stand beside the answers."""
    for j, name in enumerate(_beside(study, answers)):
        outcome, below = study.outcomes[name], int(days[f"below{j}"].sum())
        if below and outcome.kind == "stock":
            yield note("ROX-Q04", outcome=name, count=below)
        low, high = float(days[f"low{j}"].min()), float(days[f"high{j}"].max())
        if low == high:
            yield note("ROX-K10", table="answers", column=outcome.column)
            continue
        coded = Coded.of_money(answers.table, name, (low, high), 1 if outcome.kind == "count" else minor)
        for code, count, wrong in codes_among(engine, coded):
            rows = rows_of(engine, wrong)
            yield note("ROX-K09", table="answers", column=outcome.column, code=code, count=count, rows=rows)


def _nobody_returns(engine: Engine, study: Study, answers: Staged) -> Iterator[Check]:
    """Nobody ever came back in a long series: the id may belong to an order, not to a person."""
    if "customer" not in answers:
        return
    people = answers.table.group_by("customer").aggregate(first=answers.table.date.min(), last=answers.table.date.max())
    found = engine.fetch(
        people.aggregate(
            n=people.count(),
            back=how_many(people.last.delta(people.first, unit="day") >= RETURN_DAYS),
            span=people.last.max().delta(people.first.min(), unit="day"),
        )
    ).iloc[0]
    if found["n"] >= MANY_ANSWERS and found["span"] >= LONG_SPAN and found["back"] == 0:
        column = study.tables["customers"].columns["customer"]
        yield note("ROX-Q03", column=column, customers=int(found["n"]), months=int(found["span"]) // 30)


def about_clocks(engine: Engine, staged: Mapping[str, Staged]) -> Iterator[Check]:
    """Find dates that were midnights in another time zone: most of their instants share one full hour."""
    parts: list[ir.Table] = []
    places: list[tuple[Staged, str]] = []
    for name, role in CLOCKED.items():
        each = staged.get(name)
        if each is not None and role in each and clock_name(role) in each.table.columns:
            hours = each.table.select(hour=each.table[clock_name(role)], place=ibis.literal(len(places), "int64"))
            parts.append(hours.filter(hours.hour.notnull()))
            places.append((each, role))
    if not parts:
        return
    rows = reduce(lambda one, other: one.union(other), parts)
    counts = engine.fetch(rows.group_by("place", "hour").aggregate(n=rows.count()))
    for i, (each, role) in enumerate(places):
        mine = counts[counts["place"] == i]
        full = mine[mine["hour"] > 0]
        if mine["n"].sum() < LEAST_ANSWERS or not len(full):
            continue
        top = full.sort_values("n", kind="stable").iloc[-1]
        if top["n"] >= ONE_CLOCK * mine["n"].sum():
            said = demote if role == "month" else note
            yield said(
                "ROX-K12",
                table=each.name,
                column=each.source(role),
                hour=int(top["hour"]),
                count=int(top["n"]),
                total=int(mine["n"].sum()),
            )
