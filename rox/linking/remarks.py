"""Remarks on tables that are usable: things an analyst should know before believing a number."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import ibis.expr.types as ir

from rox.core.check import Check, Verdict
from rox.core.study import Study
from rox.linking.engine import Engine
from rox.linking.expressions import how_many
from rox.linking.tables import UNKNOWN

MANY_ANSWERS = 500
LONG_SPAN = 365
RETURN_DAYS = 28


def remarks_of(
    engine: Engine, study: Study, tables: Mapping[str, ir.Table], counts: Mapping[str, int]
) -> tuple[Check, ...]:
    """Return the remarks that apply, in the order of their codes."""
    found = [
        *_missing_controls(engine, study, tables["customers"], counts["customers"]),
        *_small_segments(engine, study, tables["customers"]),
        *_id_per_contact(engine, study, tables["answers"]),
        *_negative_stocks(engine, study, tables),
        *_missing_places(engine, study, tables["customers"], counts["customers"]),
        *_unused_reasons(engine, study, tables),
    ]
    return tuple(sorted(found, key=lambda check: check.code))


def _note(code: str, **values: str | int | float) -> Check:
    return Check(code=code, verdict=Verdict.NOTE, values=values)


def _missing_controls(engine: Engine, study: Study, customers: ir.Table, total: int) -> Iterator[Check]:
    controls = study.tables["customers"].controls
    if not controls:
        return
    counts = engine.fetch(
        customers.aggregate(**{f"c{i}": how_many(customers[name].isnull()) for i, name in enumerate(controls)})
    ).iloc[0]
    for i, name in enumerate(controls):
        if count := int(counts[f"c{i}"]):
            yield _note("ROX-Q01", column=name, count=count, total=total)


def _small_segments(engine: Engine, study: Study, customers: ir.Table) -> Iterator[Check]:
    segments = engine.fetch(customers.group_by("segment").aggregate(n=customers.count()).order_by("segment"))
    small = segments[segments["n"] < study.about.min_cell]
    if len(small):
        yield _note("ROX-Q02", segments=", ".join(small["segment"]), least=study.about.min_cell)


def _id_per_contact(engine: Engine, study: Study, answers: ir.Table) -> Iterator[Check]:
    """Nobody ever came back in a long series: the id may belong to an order, not to a person."""
    people = answers.group_by("customer").aggregate(first=answers.date.min(), last=answers.date.max())
    days = people.last.delta(people.first, unit="day")
    found = engine.fetch(
        people.aggregate(
            n=people.count(),
            back=how_many(days >= RETURN_DAYS),
            span=people.last.max().delta(people.first.min(), unit="day"),
        )
    ).iloc[0]
    if found["n"] >= MANY_ANSWERS and found["span"] >= LONG_SPAN and found["back"] == 0:
        column = study.tables["customers"].columns["customer"]
        yield _note("ROX-Q03", column=column, customers=int(found["n"]), months=int(found["span"]) // 30)


def _negative_stocks(engine: Engine, study: Study, tables: Mapping[str, ir.Table]) -> Iterator[Check]:
    for name, outcome in study.outcomes.items():
        if outcome.kind != "stock":
            continue
        table = tables[outcome.table]
        count = int(engine.fetch(table.aggregate(n=how_many(table[name] < 0)))["n"].iloc[0])
        if count:
            yield _note("ROX-Q04", outcome=name, count=count)


def _missing_places(engine: Engine, study: Study, customers: ir.Table, total: int) -> Iterator[Check]:
    roles = [role for role in ("segment", "unit") if role in study.tables["customers"].columns]
    for role in roles:
        count = int(engine.fetch(customers.aggregate(n=how_many(customers[role] == UNKNOWN)))["n"].iloc[0])
        if count:
            yield _note("ROX-Q05", column=study.tables["customers"].columns[role], count=count, total=total)


def _unused_reasons(engine: Engine, study: Study, tables: Mapping[str, ir.Table]) -> Iterator[Check]:
    if "exits" not in tables or not study.tables["exits"].voluntary or "reason" not in tables["exits"].columns:
        return
    seen = set(engine.fetch(tables["exits"].select("reason").distinct())["reason"])
    unused = [reason for reason in study.tables["exits"].voluntary if reason not in seen]
    if unused:
        yield _note("ROX-Q06", reasons=", ".join(unused))
