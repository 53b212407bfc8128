"""The columns a study declares, and how each is read: its type, and what makes a value unreadable."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Literal

import ibis
import ibis.expr.types as ir
from babel.numbers import get_currency_precision

from rox.core.check import Check, Verdict
from rox.core.study import REQUIRED_ROLES, Study
from rox.linking.engine import Engine
from rox.linking.expressions import floor, how_many, month_of, nothing, real, rounded
from rox.linking.spellings import (
    DAY_OR_MONTH,
    DECIMAL_COMMA,
    EXCEL_ERROR,
    MONEY_MARK,
    SCIENTIFIC_AMOUNT,
    SCIENTIFIC_ID,
    SHORTENED,
    DayOrder,
    Flaw,
    amount_of,
    cleaned,
    day_of,
    day_of_serial,
    folded,
    is_iso,
    is_serial,
    parts_of_day,
    said,
)

Kind = Literal["id", "text", "date", "month", "score", "money", "count", "number", "flag", "control"]

ROLE_KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        "customer": "id",
        "key": "id",
        "invitation": "id",
        "contact": "id",
        "date": "date",
        "opened": "date",
        "start": "date",
        "contacted": "date",
        "available": "date",
        "since": "date",
        "month": "month",
        "weight": "number",
        "count": "count",
        "reminder": "count",
        "eligible": "flag",
        "hold_out": "flag",
        "taken": "flag",
        "planned": "number",
        "person": "id",
        "reached": "count",
        "funded": "flag",
        "amount": "money",
    }
)
"""How a role is read; the others are text."""


FIRST_ROWS = 100
PARTS = ("year", "month", "day")
THREE_DECIMALS = 1000
YES, NO = ("true", "yes", "y", chr(0x662F)), ("false", "no", "n", chr(0x5426))

NEEDED: Mapping[Kind, str] = MappingProxyType(
    {
        "id": "text or a whole number",
        "text": "text",
        "date": "a date as YYYY-MM-DD",
        "month": "a month as YYYY-MM, or a date in it as YYYY-MM-DD",
        "score": "a whole number",
        "money": "an amount such as 1234.56",
        "count": "a whole number",
        "number": "a number",
        "flag": "0 or 1",
        "control": "a number, as in the other rows",
    }
)


@dataclass(frozen=True, kw_only=True)
class Column:
    """One declared column.

    Attributes:
        source: Its name in the file.
        name: Its name in rox: the role, or the name of the score, driver, outcome or control.
        kind: How it is read.
        required: Whether a missing value is a fault.
        low: Lowest value of the scale.
        high: Highest value of the scale.
        order: Which of day and month comes first where the year is last; None if the study does not say.
        serial: Whether dates are numbers of days as Excel counts them.
        currency: ISO code of money.
    """

    source: str
    name: str
    kind: Kind
    required: bool = False
    low: int | None = None
    high: int | None = None
    order: DayOrder | None = None
    serial: bool = False
    currency: str | None = None

    @property
    def flaw(self) -> str:
        """Name of the column that says why a value could not be read."""
        return f"rox_flaw_{self.name}"

    def ready(self, what: str) -> str:
        """Name of a column that :func:`prepared` adds: the ``text``, ``plain`` text, ``year``, ``month``, ``day``."""
        return f"rox_{what}_{self.name}"

    @property
    def number(self) -> str:
        """Name of the column that holds a control read as a number."""
        return f"rox_number_{self.name}"


def dated(outcome: str) -> str:
    """Name the column with the date of an amount that stands beside the answers."""
    return f"{outcome}_dated"


def columns_of(study: Study, table: str) -> tuple[Column, ...]:
    """List the columns a study declares for a table."""
    declared = study.tables[table]  # type: ignore[index]
    found = [
        Column(
            source=source,
            name=role,
            kind=ROLE_KINDS.get(role, "text"),
            required=role in REQUIRED_ROLES[table] or role in ("weight", "since", "available", "person"),
            order=declared.dates,
            currency=study.currency if ROLE_KINDS.get(role) == "money" else None,
        )
        for role, source in declared.columns.items()
    ]
    if table == "customers":
        found += [Column(source=name, name=name, kind="control") for name in declared.controls]
    if table == "answers":
        found += [
            Column(source=scale.column, name=name, kind="score", low=scale.low, high=scale.high)
            for name, scale in {**study.scores, **study.drivers}.items()
        ]
    for name, outcome in study.outcomes.items():
        if outcome.table != table:
            continue
        kind: Kind = "count" if outcome.kind == "count" else "money"
        currency = study.currency if kind == "money" else None
        found.append(Column(source=outcome.column, name=name, kind=kind, required=table == "ledger", currency=currency))
        if outcome.dated is not None:
            found.append(Column(source=outcome.dated, name=dated(name), kind="date", order=declared.dates))
    return tuple(found)


def minor_units(currency: str) -> int:
    """Return how many of the smallest unit make one unit of a currency, 100 for most (ISO 4217)."""
    return int(10 ** get_currency_precision(currency))


def with_serials(engine: Engine, raw: ir.Table, columns: Sequence[Column]) -> tuple[Column, ...]:
    """Find the columns of dates that are numbers of days as Excel counts them, every one of them between 1950 and 2099.

    A column of whose first values one is anything else is not looked at further.

    Raises:
        DataError: The table cannot be read.
    """
    open_ = [
        column
        for column in columns
        if column.kind in ("date", "month") and (raw[column.source].type().is_string() or _counts(raw[column.source]))
    ]
    for rows in (raw.limit(FIRST_ROWS), raw):
        if not open_:
            break
        sums: dict[str, Any] = {}
        for i, column in enumerate(open_):
            text = cleaned(rows[column.source])
            sums |= {f"there{i}": how_many(text.notnull()), f"serial{i}": how_many(is_serial(text))}
        counts = engine.fetch(rows.aggregate(**sums)).iloc[0]
        alike = [counts[f"there{i}"] == counts[f"serial{i}"] > 0 for i in range(len(open_))]
        open_ = [column for column, all_serial in zip(open_, alike, strict=True) if all_serial]
    return tuple(replace(column, serial=True) if column in open_ else column for column in columns)


def serial_remarks(table: str, columns: Sequence[Column]) -> list[Check]:
    """Say which dates were numbers of days."""
    return [
        Check(code="ROX-I01", verdict=Verdict.NOTE, values={"table": table, "column": column.source})
        for column in columns
        if column.serial
    ]


def named_flaws(column: Column) -> Iterator[tuple[Flaw, str]]:
    """List the flaws a column's values may have beside being unreadable, with what to do about each."""
    flaws = [Flaw.EXCEL_ERROR]
    if column.kind in ("id", "money", "count", "score"):
        flaws.append(Flaw.SCIENTIFIC)
    if column.kind in ("date", "month"):
        flaws.append(Flaw.DAY_OR_MONTH)
    if column.kind == "money":
        flaws += [Flaw.SHORTENED, Flaw.FOREIGN, Flaw.DECIMAL_MARK]
    yield from ((flaw, said(flaw, column.currency)) for flaw in flaws)


def prepared(raw: ir.Table, columns: Sequence[Column]) -> ir.Table:
    """Add to a table what the readings of a column share, each layer as a query of its own.

    The text of each column; where that is not plain already, its text in plain digits; and the parts of its dates.
    Without layers every reading would repeat the whole way from the source.
    """
    table = raw.mutate(**{column.ready("text"): cleaned(raw[column.source]) for column in columns})
    plain: dict[str, Any] = {}
    for column in columns:
        text = table[column.ready("text")]
        if column.kind in ("date", "month"):
            plain[column.ready("plain")] = is_iso(text).ifelse(nothing("string"), folded(text))
        elif column.kind not in ("id", "text") and raw[column.source].type().is_string():
            usual = text.try_cast("float64").notnull()
            plain[column.ready("plain")] = usual.ifelse(nothing("string"), folded(text))
    table = table.mutate(**plain) if plain else table
    parts: dict[str, Any] = {}
    for column in columns:
        if column.kind in ("date", "month"):
            found = parts_of_day(table[column.ready("plain")], column.order)
            parts |= {column.ready(part): each for part, each in zip(PARTS, found, strict=True)}
    return table.mutate(**parts) if parts else table


def read(column: Column, ready: ir.Table, minor: int) -> dict[str, ir.Value]:
    """Return the expressions of a column: its value, its flaw, and for a control also the number.

    Args:
        column: What is declared.
        ready: The table after :func:`prepared`.
        minor: Smallest units in one unit of money.
    """
    raw, text = ready[column.source], ready[column.ready("text")]
    plain = ready[column.ready("plain")] if column.ready("plain") in ready.columns else text
    if column.kind in ("id", "text"):
        spoiled = raw.type().is_floating() if column.kind == "id" else False
        return {column.name: text, column.flaw: _flaw(column, raw, text, plain, ibis.literal(not spoiled))}
    if column.kind in ("date", "month"):
        day = _day(ready, column)
        value = month_of(day) if column.kind == "month" else day
        return {column.name: value, column.flaw: _flaw(column, raw, text, plain, day.notnull())}
    number = _number(raw, text, plain, column, minor)
    if column.kind == "control":
        clean = number.isnan().ifelse(nothing("float64"), number)
        as_text = text if raw.type().is_string() else nothing("string")
        return {
            column.name: as_text,
            column.number: clean,
            column.flaw: _flaw(column, raw, text, plain, number.notnull()),
        }
    if column.kind == "flag":
        number = ibis.cases((text.lower().isin(YES), real(1)), (text.lower().isin(NO), real(0)), else_=number)
    if column.kind == "number":
        return {
            column.name: number.isnan().ifelse(nothing("float64"), number),
            column.flaw: _flaw(column, raw, text, plain, number.notnull(), number),
        }
    whole = rounded(number * real(minor if column.kind == "money" else 1))
    value = whole
    fraction = ibis.literal(False)
    if column.kind != "money":
        fraction = (floor(number).cast("float64") != number).fill_null(False)
        value = fraction.ifelse(nothing("int64"), whole)
    return {column.name: value, column.flaw: _flaw(column, raw, text, plain, whole.notnull(), number, fraction)}


def _counts(raw: Any) -> bool:
    return bool(raw.type().is_integer())


def _number(raw: Any, text: Any, plain: Any, column: Column, minor: int) -> Any:
    number = _as_real(raw)
    if raw.type().is_string():
        thousands = column.kind == "count" or (column.kind == "money" and minor < THREE_DECIMALS)
        spelled = amount_of(plain, column.currency, thousands=thousands)
        if column.kind in ("money", "count", "score"):
            spelled = text.re_search(SCIENTIFIC_AMOUNT).ifelse(nothing("float64"), spelled)
            number = text.re_search(SCIENTIFIC_AMOUNT).ifelse(nothing("float64"), text.try_cast("float64"))
        else:
            number = text.try_cast("float64")
        number = ibis.coalesce(number, spelled)
    return number.isinf().ifelse(nothing("float64"), number)


def _as_real(raw: Any) -> Any:
    if raw.type().is_boolean():
        return raw.ifelse(real(1), real(0))
    return raw.cast("float64") if raw.type().is_numeric() else nothing("float64")


def _day(ready: ir.Table, column: Column) -> Any:
    """Read a date from a date, an instant (in the study's time zone), a number of days, or what people write."""
    raw, text, plain = ready[column.source], ready[column.ready("text")], ready[column.ready("plain")]
    if raw.type().is_date():
        return raw
    if raw.type().is_timestamp():
        return raw.cast("date")
    if column.serial:
        return day_of_serial(text)
    spelled = day_of(plain, parts_ready(ready, column), column.order, months=column.kind == "month")
    return plain.isnull().ifelse(text.try_cast("date"), spelled)


def parts_ready(ready: ir.Table, column: Column) -> tuple[Any, Any, Any]:
    """Return year, month and day of a column as :func:`prepared` found them."""
    year, month, day = (ready[column.ready(part)] for part in PARTS)
    return year, month, day


def _flaw(
    column: Column, raw: Any, text: Any, plain: Any, readable: Any, number: Any = None, fraction: Any = None
) -> Any:
    cases = [(text.isnull(), Flaw.NONE)]
    if number is not None:
        cases.append((number.isnan().fill_null(False), Flaw.NOT_A_NUMBER))
    if raw.type().is_string():
        cases += _spelled(column, text, plain, readable)
    cases.append((~readable, Flaw.UNREADABLE))
    if fraction is not None:
        cases.append((fraction, Flaw.FRACTION))
    return ibis.cases(
        *[(condition, ibis.literal(int(flaw), "int8")) for condition, flaw in cases], else_=ibis.literal(0, "int8")
    )


def _spelled(column: Column, text: Any, plain: Any, readable: Any) -> Iterator[tuple[Any, Flaw]]:
    """Give the conditions of the named flaws, in the order in which they are looked for."""
    yield text.startswith("#") & text.re_search(EXCEL_ERROR), Flaw.EXCEL_ERROR
    if column.kind == "id":
        yield text.re_search(SCIENTIFIC_ID), Flaw.SCIENTIFIC
    elif column.kind in ("money", "count", "score"):
        yield ~readable & text.re_search(SCIENTIFIC_AMOUNT), Flaw.SCIENTIFIC
    if column.kind in ("date", "month") and column.order is None:
        yield ~readable & plain.re_search(DAY_OR_MONTH), Flaw.DAY_OR_MONTH
    if column.kind == "money":
        yield ~readable & plain.re_search(SHORTENED), Flaw.SHORTENED
        yield ~readable & plain.re_search(MONEY_MARK), Flaw.FOREIGN
        yield ~readable & plain.re_search(DECIMAL_COMMA), Flaw.DECIMAL_MARK
