"""How many of those who start to open an account pass each step, by time, channel and device."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import ibis
import pandas as pd

from rox.core.errors import DataError
from rox.core.units import Unit
from rox.metrics.cells import moments
from rox.metrics.display import shown
from rox.metrics.estimates import ratio, with_t, with_wilson
from rox.metrics.source import MONTHS_OF, WEIGHT_UNITS, Rows, Tables, required

PLACES = ("channel", "device", "variant", "assigned")
"""Groups beside time."""
TIMES = ("month", "quarter", "year")


def funnel(
    tables: Tables, by: Sequence[str] = (), *, days: int = 90, retry_days: int = 30, level: float = 0.90
) -> pd.DataFrame:
    """Measure the share that passes each step of account opening, and the share of all who start with an account.

    A person counts once where persons are known: at the first attempt, with what it and the attempts soon after it came
    to; otherwise every attempt counts. Who started too shortly before the extract is left out, whatever became of them.

    Args:
        tables: Loaded tables.
        by: ``month``, ``quarter``, ``year`` of the start, ``channel``, ``device``, ``variant`` or ``assigned``.
        days: Days after the start that must have passed.
        retry_days: Days in which a person's second attempt belongs to the first; as many more must have passed.
        level: Level of the intervals.

    Returns:
        One row per group and metric, the columns of ``display.shown``, with Wilson's interval. Metrics ``step_1``,
        ``step_2``, …, the share passing a step of those who come to it, if steps are known; ``funded``, the share of
        all who start with a funded account; ``active``, with money on it, if amounts are known. Unit ``ratio``.

    Raises:
        DataError: No applicants, no such group, or rows that say neither.
    """
    rows, last = _starts(tables, by, days=days, retry_days=retry_days)
    table, size = rows.table, tables.study.about.min_cell
    wanted = [("funded", rows, table.funded)]
    if "active" in table.columns:
        wanted.append(("active", rows, table.active))
    for step in range(last, 0, -1):
        reaching = table.filter(table.passed >= step - 1)
        passing = (reaching.passed >= step).ifelse(1, 0)
        wanted.insert(0, (f"step_{step}", replace(rows, table=reaching), passing))
    parts = []
    for name, those, value in wanted:
        found = ratio(moments(tables, those, {name: value}), rows.by, name)
        parts.append(with_wilson(found, level).assign(metric=name, unit=str(Unit.RATIO)))
    return shown(parts, by=rows.by, level=level, min_cell=size)


def attempts(tables: Tables, by: Sequence[str] = (), *, level: float = 0.90) -> pd.DataFrame:
    """Measure how often the same person starts again.

    Args:
        tables: Loaded tables; the applicants name persons.
        by: As of :func:`funnel`; of the first attempt.
        level: Level of the intervals.

    Returns:
        One row per group and metric, the columns of ``display.shown``. Metrics ``tried_again``, the share of persons
        with two attempts or more (unit ``ratio``, Wilson), and ``attempts_each`` (unit ``count``); ``n`` counts
        persons.

    Raises:
        DataError: No applicants, no persons, or no such group.
    """
    if "person" not in required(tables, "applicants").columns:
        raise DataError(
            "Nobody can tell who tries again.", ["applicants.person: missing; name its column in the study file"]
        )
    rows, _ = _starts(tables, by, days=0, retry_days=0)
    again = (rows.table.tries > 1).ifelse(1, 0)
    frame = moments(tables, rows, {"again": again, "tries": rows.table.tries})
    parts = [
        with_wilson(ratio(frame, rows.by, "again"), level).assign(metric="tried_again", unit=str(Unit.RATIO)),
        with_t(ratio(frame, rows.by, "tries"), level).assign(metric="attempts_each", unit=str(Unit.COUNT)),
    ]
    return shown(parts, by=rows.by, level=level, min_cell=tables.study.about.min_cell)


def _starts(tables: Tables, by: Sequence[str], *, days: int, retry_days: int) -> tuple[Rows, int]:
    """Return one row per starter, ready to be reduced, and the number of steps (0 if unknown)."""
    source = required(tables, "applicants")
    groups = tuple(by)
    if wrong := list(_faults(source, groups)):
        raise DataError("The funnel cannot be measured so.", wrong)
    by_person = "person" in source.columns
    source = source.mutate(date=source.date.cast("date"), funded=source.funded.cast("int64"))
    last = _last_step(tables, source)
    ready = source.mutate(
        customer=source.person if by_person else source.key,
        passed=(source.funded == 1).ifelse(last, source.reached.cast("int64")) if last else source.funded,
        **({"active": _one_if((source.funded == 1) & (source.amount > 0))} if "amount" in source.columns else {}),
    )
    ready = _first_attempts(ready, retry_days) if by_person else ready.mutate(tries=1)
    until = tables.study.about.extract - dt.timedelta(days=days + (retry_days if by_person else 0))
    ready = ready.filter(ready.date <= ibis.literal(until))
    month = ready.date.year().cast("int64") * 12 + ready.date.month().cast("int64") - 1
    named = {group: month // MONTHS_OF[group] if group in TIMES else ready[group] for group in groups}
    table = ready.mutate(
        stratum=ibis.literal("all"),
        weight=ibis.literal(WEIGHT_UNITS, "int64"),
        _fault_funded=ready.funded.isnull(),
        _fault_passed=ready.passed.isnull(),
        **{f"by_{place}": value for place, value in enumerate(named.values())},
    )
    faults = {
        "_fault_funded": "applicants.funded: rows that are neither 0 nor 1",
        "_fault_passed": "applicants.reached: rows without a number of steps",
    }
    return Rows(table=table, by=groups, faults=faults), last


def _faults(source: Any, groups: Sequence[str]) -> Iterator[str]:
    if "funded" not in source.columns:
        yield "applicants.funded: missing; name its column in the study file"
    known = [*TIMES, *(place for place in PLACES if place in source.columns)]
    for group in sorted({*groups}):
        if group not in known:
            yield f"{group!r} is no group of the applicants; choose from {', '.join(known)}"
        if groups.count(group) > 1:
            yield f"{group!r} appears twice"


def _last_step(tables: Tables, source: Any) -> int:
    """Return the number of steps, the last of which is the funded account."""
    if "reached" not in source.columns:
        return 0
    most = source.reached.max()
    unfunded = source.funded.fill_null(0) != 1
    found = tables.fetch(source.aggregate(most=most, without=source.reached.max(where=unfunded))).iloc[0]
    if pd.isna(found["most"]):
        return 0
    return int(found["most"]) + int(found["without"] == found["most"])


def _first_attempts(rows: Any, retry_days: int) -> Any:
    """Keep a person's first attempt, with the best of what it and those soon after it came to."""
    whose = ibis.window(group_by="customer")
    order = ibis.window(group_by="customer", order_by=["date", "key"])
    rows = rows.mutate(
        begins=rows.date.min().over(whose), tries=rows.count().over(whose), place=ibis.row_number().over(order)
    )
    near = rows.filter(rows.date <= rows.begins + ibis.interval(days=retry_days))
    kept = [name for name in PLACES if name in rows.columns]
    first = near.place == 0
    return near.group_by("customer").aggregate(
        date=near.date.min(),
        tries=near.tries.max(),
        **{name: near[name].max(where=first) for name in kept},
        **{name: near[name].max() for name in ("passed", "funded", "active") if name in near.columns},
    )


def _one_if(condition: Any) -> Any:
    """Turn an engine condition into 1 or 0; unknown is 0."""
    return condition.fill_null(False).ifelse(1, 0)
