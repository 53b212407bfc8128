"""Count what a panel holds and what is wrong with it, where it lies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import ibis
import ibis.expr.types as ir
import pandas as pd

from rox.core.case import EVERYONE
from rox.core.census import DEFECTS, SEGMENT_COLUMNS, Census
from rox.core.linked import Linked
from rox.linking.expressions import floor, how_many, indicator, real, total
from rox.linking.panel_rows import PanelRows, as_whole, finite, grain, rows_of

COLUMNS = ("segment", "weight", "outcome", "score", "score_age", "exit_month", "voluntary")
MISSING = ""
"""Where a segment is missing."""
WEIGHTS = ("customers", "months", "exits", "ever")
"""Sums of weights; the others are of money times weight."""


def census(data: Linked, caps: Mapping[str, float]) -> Census:
    """Count a panel; see :meth:`rox.core.linked.Linked.census`.

    Weights and money are rounded to whole numbers, about 45 bits of the largest, and multiplied and summed as such, so
    that neither the order of the rows nor the engine moves the sums.
    """
    held = rows_of(data, COLUMNS)
    seen = held.fetch(_scan(held.table)).iloc[0]
    if not seen["rows"]:
        return _nothing()
    last = int(seen["last"])
    weight = grain(_number(seen["heaviest"]))
    money = grain(_number(seen["richest"]), held.per_unit)
    rows = _weighed(_capped(held.table, caps), last, weight=weight, money=money)
    months = _by_segment(held.fetch(_of_months(rows, last)))
    ends = _by_segment(held.fetch(_of_customers(rows, held)))
    segments = pd.concat([months, ends], axis=1)
    units = {name: weight if name in WEIGHTS else weight * money for name in SEGMENT_COLUMNS}
    changing = held.fetch(_changing(held.table)).iloc[0]
    twice = held.fetch(_twice(held.table)).iloc[0]["twice"] if held.alone else 0
    defects = {name: int(seen[name]) for name in ("unknown_age", "early", "outcome", "weight", "segment")}
    return Census(
        segments=_named(segments, units),
        first=int(seen["first"]),
        last=last,
        rows=int(seen["rows"]),
        scored=int(seen["scored"]),
        scored_customers=int(ends["scored"].sum()),
        records_exits=bool(seen["exits"]),
        defects={
            **defects,
            "changing": int(changing["changing"]),
            "twice": int(twice),
            "several": int(ends["several"].sum()),
        },
    )


def _nothing() -> Census:
    return Census(
        segments=pd.DataFrame(columns=list(SEGMENT_COLUMNS), index=pd.Index([], name="segment"), dtype=float),
        first=0,
        last=0,
        rows=0,
        scored=0,
        scored_customers=0,
        records_exits=False,
        defects=dict.fromkeys(DEFECTS, 0),
    )


def _number(value: Any) -> float:
    return 0.0 if pd.isna(value) else float(value)


def _scan(rows: ir.Table) -> ir.Table:
    """Count, in one scan, what a row shows by itself."""
    scored, age = rows.score.notnull(), rows.score_age
    heavy = rows.weight > real(0)
    return rows.aggregate(
        rows=rows.count(),
        first=rows.month.min(),
        last=rows.month.max(),
        scored=how_many(scored),
        exits=how_many(rows.exit_month.notnull()),
        unknown_age=how_many(scored & age.isnull()),
        early=how_many(scored & (age < real(1)).fill_null(False)),
        outcome=how_many(~finite(rows.outcome)),
        weight=how_many(~(heavy & finite(rows.weight)).fill_null(False)),
        segment=how_many(rows.segment.isnull()),
        heaviest=finite(rows.weight).ifelse(rows.weight.abs(), real(0)).max(),
        richest=finite(rows.outcome).ifelse(rows.outcome.abs(), real(0)).max(),
    )


def _changing(rows: ir.Table) -> ir.Table:
    """Count the answers whose value is another one in later months."""
    known = rows.filter(rows.score.notnull(), rows.score_age.notnull())
    known = known.select("customer", "score", said=known.month - floor(known.score_age))
    answers = known.group_by("customer", "said").aggregate(least=known.score.min(), most=known.score.max())
    return answers.aggregate(changing=how_many(answers.least != answers.most))


def _twice(rows: ir.Table) -> ir.Table:
    """Count the rows that repeat a customer's month."""
    months = rows.group_by("customer", "month").aggregate(n=rows.count())
    return months.aggregate(twice=total(months.n - 1))


def _capped(rows: ir.Table, caps: Mapping[str, float]) -> ir.Table:
    value = rows.outcome
    for name, cap in caps.items():
        value = ((rows.segment == name) & (value > real(cap))).fill_null(False).ifelse(real(cap), value)
    return rows.mutate(outcome=value)


def _weighed(rows: ir.Table, last: int, *, weight: float, money: float) -> ir.Table:
    """Turn weights and money into whole numbers, and say who left by choice inside the panel."""
    whole = as_whole(rows.weight, weight)
    left = rows.voluntary & (rows.exit_month <= real(last)).fill_null(False)
    return rows.mutate(heavy=whole, rich=whole * as_whole(rows.outcome, money), left=left)


def _of_months(rows: ir.Table, last: int) -> ir.Table:
    now, none = rows.month == last, rows.heavy * 0
    return rows.group_by("segment").aggregate(
        customers=_sum(now.ifelse(rows.heavy, none)),
        money=_sum(now.ifelse(rows.rich, none)),
        months=_sum(rows.heavy),
        money_months=_sum(rows.rich),
    )


def _of_customers(rows: ir.Table, held: PanelRows) -> ir.Table:
    """Sum the customers by segment: each counts once, as the first or the last row says."""
    none = rows.heavy * 0
    place: Any = rows.month
    if not held.alone:
        place = ibis.row_number().over(ibis.window(group_by="customer", order_by=held.place))
    rows = rows.mutate(place=place, gone=rows.left.ifelse(rows.heavy, none), lost=rows.left.ifelse(rows.rich, none))
    people = rows.group_by("customer").aggregate(
        segment=rows.segment.min(),
        other=rows.segment.max(),
        scored=indicator(rows.score.notnull()).max(),
        ever=rows.heavy.argmin(rows.place),
        gone=rows.gone.argmax(rows.place),
        lost=rows.lost.argmax(rows.place),
    )
    return people.group_by("segment").aggregate(
        scored=total(people.scored),
        several=how_many(people.segment != people.other),
        ever=_sum(people.ever),
        exits=_sum(people.gone),
        money_left=_sum(people.lost),
    )


def _sum(value: Any) -> Any:
    return value.sum().cast("decimal(38,0)")


def _by_segment(found: pd.DataFrame) -> pd.DataFrame:
    return found.assign(segment=found["segment"].where(found["segment"].notna(), MISSING)).set_index("segment")


def _named(segments: pd.DataFrame, units: Mapping[str, float]) -> pd.DataFrame:
    """Turn whole numbers into units; without segments everybody is in one."""
    values = {
        name: [0.0 if pd.isna(each) else float(int(each)) / unit for each in segments[name]]
        for name, unit in units.items()
    }
    names = [EVERYONE] if list(segments.index) == [MISSING] else [str(name) for name in segments.index]
    index = pd.Index(names, name="segment", dtype=object)
    return pd.DataFrame(values, index=index, columns=list(SEGMENT_COLUMNS)).sort_index()
