"""The rows of an import, typed: what is missing, what cannot be read, and what must not leave the export."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import ibis
import ibis.expr.types as ir

from rox.linking.columns import NEEDED, Column, named_flaws, parts_ready, prepared, read, with_serials
from rox.linking.engine import Engine
from rox.linking.expressions import how_many
from rox.linking.imports.layout import Use
from rox.linking.imports.plan import Plan, reason_left_out, without
from rox.linking.pseudonyms import mentioned_kind, personal_kind
from rox.linking.sources import ROW
from rox.linking.spellings import Flaw, moment_of

OUT = "rox_out"
SECRET = {"customer": "customer", "contact": "contact", "key": "record", "invitation": "record", "owner": "owner"}
"""Ids that become pseudonyms, with what they are ids of; a key of one table may be an invitation of another."""
VALUES_LOOKED_AT = 200_000
LONG_TEXT = 60
SHOWN_ROWS = 3
CODED = "rox_coded"
MOMENT = "rox_moment"


@dataclass(frozen=True, kw_only=True)
class Typed:
    """The typed rows of an import and what was found in them.

    Attributes:
        table: The rows that stay, with their numbers, in the engine.
        columns: How they were read.
        rows: Rows of the export.
        left_out: How many rows were left out, by entry of the catalogue.
        missing: Empty values by column.
        coded: Values that stood for no answer, by column.
        unreadable: Values with a flaw, by column.
        moments: Columns of instants whose day depends on the time zone.
        numbers: Controls that are numbers.
        faults: What has to be mended, without a value.
    """

    table: ir.Table
    columns: tuple[Column, ...]
    rows: int
    left_out: Mapping[str, int]
    missing: Mapping[str, int]
    coded: Mapping[str, int]
    unreadable: Mapping[str, int]
    moments: frozenset[str]
    numbers: frozenset[str]
    faults: tuple[str, ...]

    @property
    def kept(self) -> int:
        """Rows that stay."""
        return self.rows - sum(self.left_out.values())

    def is_number(self, column: Column) -> bool:
        """Say whether a control is a number."""
        return column.name in self.numbers


def typed(engine: Engine, raw: ir.Table, plan: Plan, *, minor: int, timezone: str | None, keep_ids: bool) -> Typed:
    """Type the rows that stay and look for faults.

    Args:
        engine: Where they are.
        raw: The export as text.
        plan: What becomes of each column.
        minor: Smallest units in one unit of money.
        timezone: In which a day is meant; None for that of the export.
        keep_ids: Whether ids are pseudonyms already.
    """
    marked = engine.stage(raw.mutate(**{OUT: reason_left_out(raw, plan)}), "marked")
    rows, left_out = _left_out(engine, marked, plan)
    kept = _without_codes(marked.filter(marked[OUT] == 0).drop(OUT), plan)
    columns = with_serials(engine, kept, plan.columns)
    zone = plan.layout.timezone
    moments = {
        column.name
        for column in columns
        if column.kind == "date"
        and not column.serial
        and (column.source in plan.layout.seconds or (timezone is not None and zone is not None and zone != timezone))
    }
    ready = prepared(kept, columns)
    parts: dict[str, Any] = {ROW: ready[ROW].cast("int64")}
    for column in columns:
        parts |= read(column, ready, minor)
        if column.name in moments:
            parts |= _moment(column, ready, in_seconds=column.source in plan.layout.seconds)
        coded = f"{CODED}_{column.name}"
        parts[coded] = ready[coded] if coded in ready.columns else ibis.literal(False)
    table = engine.stage(ready.select(**parts), "typed")
    sums: dict[str, Any] = {}
    for i, column in enumerate(columns):
        empty = table[column.flaw] == Flaw.NONE
        empty = empty & (
            table[column.number].isnull() & table[column.name].isnull()
            if column.kind == "control"
            else table[column.name].isnull()
        )
        if column.name in moments:
            empty = empty & table[f"{MOMENT}_{column.name}"].isnull()
        coded = table[f"{CODED}_{column.name}"]
        sums |= {
            f"m{i}": how_many(empty & ~coded),
            f"c{i}": how_many(coded),
            f"u{i}": how_many(_unreadable(table, column)),
        }
    counts = engine.fetch(table.aggregate(n=table.count(), **sums)).iloc[0]
    by_letter = {letter: {c.name: int(counts[f"{letter}{i}"]) for i, c in enumerate(columns)} for letter in "mcu"}
    faults = [
        *_value_faults(engine, table, columns, by_letter["m"], by_letter["u"]),
        *_privacy_faults(engine, table, plan, columns, keep_ids=keep_ids),
    ]
    if not int(counts["n"]):
        faults = ["no row is left"]
    return Typed(
        table=table,
        columns=columns,
        rows=rows,
        left_out=left_out,
        missing=by_letter["m"],
        coded=by_letter["c"],
        unreadable=by_letter["u"],
        moments=frozenset(moments),
        numbers=_numbers(engine, table, columns),
        faults=tuple(faults),
    )


def _numbers(engine: Engine, table: ir.Table, columns: tuple[Column, ...]) -> frozenset[str]:
    controls = [column for column in columns if column.kind == "control"]
    if not controls:
        return frozenset()
    texts = {f"t{i}": how_many(table[column.flaw] == Flaw.UNREADABLE) for i, column in enumerate(controls)}
    counts = engine.fetch(table.aggregate(**texts)).iloc[0]
    return frozenset(column.name for i, column in enumerate(controls) if not int(counts[f"t{i}"]))


def _codes(plan: Plan, column: Column) -> set[str]:
    use: Use = plan.use(column.name)
    general = plan.missing if use.part in ("score", "driver") else ()
    return {*use.missing, *general}


def _without_codes(raw: ir.Table, plan: Plan) -> ir.Table:
    """Empty the values that stand for no answer, and mark where they were."""
    parts: dict[str, Any] = {}
    for column in plan.columns:
        if codes := _codes(plan, column):
            text = without(raw[column.source], set())
            is_code = text.isin(sorted(codes)).fill_null(False)
            parts |= {column.source: is_code.ifelse(ibis.null("string"), text), f"{CODED}_{column.name}": is_code}
    return raw.mutate(**parts) if parts else raw


def _moment(column: Column, ready: ir.Table, *, in_seconds: bool) -> dict[str, Any]:
    """Keep the instant beside the day: in seconds from 1970, or as the clock of the export showed it."""
    moment = f"{MOMENT}_{column.name}"
    if not in_seconds:
        return {moment: moment_of(ready[column.ready("plain")], parts_ready(ready, column))}
    text = ready[column.ready("text")]
    count = text.re_search(r"^\d{9,11}$").ifelse(text.try_cast("int64"), ibis.null("int64"))
    flaw = (text.notnull() & count.isnull()).ifelse(
        ibis.literal(int(Flaw.UNREADABLE), "int8"), ibis.literal(int(Flaw.NONE), "int8")
    )
    return {column.name: ibis.null("date"), column.flaw: flaw, moment: count}


def _unreadable(table: ir.Table, column: Column) -> Any:
    flaw = table[column.flaw]
    if column.kind in ("text", "control"):
        return (flaw != Flaw.NONE) & (flaw != Flaw.UNREADABLE)
    return flaw != Flaw.NONE


def _left_out(engine: Engine, marked: ir.Table, plan: Plan) -> tuple[int, dict[str, int]]:
    groups = engine.fetch(marked.group_by(OUT).aggregate(n=marked.count()).order_by(OUT))
    whys = ["", *(rule.why for rule in plan.left_out), "imports.out.anonymous", "imports.out.blank"]
    found: dict[str, int] = {}
    for number, count in zip(groups[OUT], groups["n"], strict=True):
        if number:
            found[whys[int(number)]] = found.get(whys[int(number)], 0) + int(count)
    return int(groups["n"].sum()), found


def _value_faults(
    engine: Engine,
    table: ir.Table,
    columns: tuple[Column, ...],
    missing: Mapping[str, int],
    unreadable: Mapping[str, int],
) -> Iterator[str]:
    """List what cannot be read, what is outside its scale, and what is missing and needed."""
    for column in columns:
        needed = NEEDED[column.kind]
        if column.low is not None:
            needed += f" from {column.low} to {column.high}"
        kinds = {
            Flaw.UNREADABLE: f"cannot be read; {needed} is needed",
            Flaw.NOT_A_NUMBER: "NaN; leave missing values empty",
            Flaw.FRACTION: f"has a fraction; {needed} is needed",
            **dict(named_flaws(column)),
        }
        if unreadable[column.name]:
            for flaw, what in kinds.items():
                if flaw != Flaw.UNREADABLE or column.kind not in ("text", "control"):
                    yield from _where(engine, table.filter(table[column.flaw] == flaw), column, what)
        if column.required and missing[column.name]:
            value = table[column.name]
            empty = value.isnull() & (table[column.flaw] == Flaw.NONE)
            if f"{MOMENT}_{column.name}" in table.columns:
                empty = empty & table[f"{MOMENT}_{column.name}"].isnull()
            yield from _where(engine, table.filter(empty), column, "missing")
        if column.low is not None and column.high is not None:
            value = table[column.name]
            outside = (value < column.low) | (value > column.high)
            what = (
                f"outside its scale from {column.low} to {column.high}; name codes for no answer as `missing` in a map"
            )
            yield from _where(engine, table.filter(outside), column, what)
        if column.kind == "control":
            texts = table.filter(table[column.flaw] == Flaw.UNREADABLE)
            if int(engine.fetch(table.aggregate(n=how_many(table[column.number].notnull())))["n"].iloc[0]):
                yield from _where(engine, texts, column, "text among numbers; a control is one or the other")


def _where(engine: Engine, wrong: ir.Table, column: Column, what: str) -> Iterator[str]:
    count = int(engine.fetch(wrong.aggregate(n=wrong.count()))["n"].iloc[0])
    if count:
        first = engine.fetch(wrong.select(ROW).order_by(ROW).limit(SHOWN_ROWS))[ROW]
        rows = ", ".join(str(int(row)) for row in first)
        some = "first " if count > len(first) else ""
        yield f"{column.source} · {what} · {count:,} row{'s' if count > 1 else ''}, {some}at row {rows}"


def _privacy_faults(
    engine: Engine, table: ir.Table, plan: Plan, columns: tuple[Column, ...], *, keep_ids: bool
) -> Iterator[str]:
    """List columns that would carry people's identity into the table."""
    for column in columns:
        if column.name in SECRET:
            if keep_ids and (kind := personal_kind(_distinct(engine, table, column.name))):
                yield (
                    f"{column.source} · {kind[1]:,} values look like {PERSONAL[kind[0]]}: these are not pseudonyms; "
                    "import without keeping ids"
                )
        elif column.kind in ("text", "control"):
            values = _distinct(engine, table, column.name)
            mentioned = [each for value in values if (each := mentioned_kind(value))]
            if mentioned:
                shown = " and ".join(PERSONAL[each] for each in sorted(set(mentioned)))
                yield (
                    f"{column.source} · {len(mentioned):,} values hold {shown}; leave the column out, or take them out"
                )
            elif values and sum(map(len, values)) > LONG_TEXT * len(values):
                yield f"{column.source} · free text, in which people name themselves; leave the column out"
        elif column.kind == "number" and (kind := personal_kind(_distinct(engine, table, column.name))):
            yield f"{column.source} · looks like {PERSONAL[kind[0]]}; leave the column out"


PERSONAL = {
    "national_id": "identity numbers",
    "email": "e-mail addresses",
    "mobile": "mobile numbers",
    "card": "bank card numbers",
    "ip": "IP addresses",
}


def _distinct(engine: Engine, table: ir.Table, name: str) -> list[str]:
    value = table[name]
    found = engine.fetch(
        table.filter(value.notnull())
        .select(value=value.cast("string"))
        .distinct()
        .order_by("value")
        .limit(VALUES_LOOKED_AT)
    )
    return list(found["value"])
