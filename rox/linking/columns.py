"""The columns a study declares, and how each is read: its type, and what makes a value unreadable."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from types import MappingProxyType
from typing import Any, Literal

import ibis
import ibis.expr.types as ir
from babel.numbers import get_currency_precision

from rox.core.study import REQUIRED_ROLES, Study
from rox.linking.expressions import floor, month_of, nothing, real, rounded

Kind = Literal["id", "text", "date", "month", "score", "money", "count", "number", "flag", "control"]

ROLE_KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        "customer": "id",
        "key": "id",
        "invitation": "id",
        "date": "date",
        "opened": "date",
        "start": "date",
        "contacted": "date",
        "month": "month",
        "weight": "number",
        "count": "count",
        "eligible": "flag",
        "hold_out": "flag",
    }
)
"""How a role is read; the others are text."""


class Flaw(IntEnum):
    """Why a value could not be read."""

    NONE = 0
    UNREADABLE = 1
    NOT_A_NUMBER = 2
    FRACTION = 3


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
    """

    source: str
    name: str
    kind: Kind
    required: bool = False
    low: int | None = None
    high: int | None = None

    @property
    def flaw(self) -> str:
        """Name of the column that says why a value could not be read."""
        return f"rox_flaw_{self.name}"

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
            required=role in REQUIRED_ROLES[table] or role == "weight",
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
        found.append(Column(source=outcome.column, name=name, kind=kind, required=table == "ledger"))
        if outcome.dated is not None:
            found.append(Column(source=outcome.dated, name=dated(name), kind="date"))
    return tuple(found)


def minor_units(currency: str) -> int:
    """Return how many of the smallest unit make one unit of a currency, 100 for most (ISO 4217)."""
    return int(10 ** get_currency_precision(currency))


def read(column: Column, raw: ir.Value, minor: int) -> dict[str, ir.Value]:
    """Return the expressions of a column: its value, its flaw, and for a control also the number.

    Args:
        column: What is declared.
        raw: The column as it stands in the source.
        minor: Smallest units in one unit of money.
    """
    text = _cleaned(raw)
    if column.kind in ("id", "text"):
        spoiled = raw.type().is_floating() if column.kind == "id" else False
        return {column.name: text, column.flaw: _flaw(text, ibis.literal(not spoiled))}
    if column.kind in ("date", "month"):
        day = _day(raw, text, column.kind)
        value = month_of(day) if column.kind == "month" else day
        return {column.name: value, column.flaw: _flaw(text, day.notnull())}
    number = _number(raw, text)
    if column.kind == "control":
        clean = number.isnan().ifelse(nothing("float64"), number)
        as_text = text if raw.type().is_string() else nothing("string")
        return {column.name: as_text, column.number: clean, column.flaw: _flaw(text, number.notnull())}
    if column.kind == "flag":
        number = ibis.cases(
            (text.lower().isin(["true", "yes"]), real(1)), (text.lower().isin(["false", "no"]), real(0)), else_=number
        )
    if column.kind == "number":
        return {
            column.name: number.isnan().ifelse(nothing("float64"), number),
            column.flaw: _flaw(text, number.notnull(), number),
        }
    whole = rounded(number * real(minor if column.kind == "money" else 1))
    value = whole
    fraction = ibis.literal(False)
    if column.kind != "money":
        fraction = (floor(number).cast("float64") != number).fill_null(False)
        value = fraction.ifelse(nothing("int64"), whole)
    return {column.name: value, column.flaw: _flaw(text, whole.notnull(), number, fraction)}


def _cleaned(raw: Any) -> Any:
    if raw.type().is_string():
        return raw.strip().nullif("")
    return raw.cast("string")


def _number(raw: Any, text: Any) -> Any:
    number = text.try_cast("float64") if raw.type().is_string() else _as_real(raw)
    return number.isinf().ifelse(nothing("float64"), number)


def _as_real(raw: Any) -> Any:
    if raw.type().is_boolean():
        return raw.ifelse(real(1), real(0))
    return raw.cast("float64") if raw.type().is_numeric() else nothing("float64")


def _day(raw: Any, text: Any, kind: Kind) -> Any:
    """Read a date from a date, an instant (in the study's time zone), ISO text, or digits such as 20250131."""
    if raw.type().is_date():
        return raw
    if raw.type().is_timestamp():
        return raw.cast("date")
    compact = text.re_search(r"^\d{8}$").ifelse(
        text.substr(0, 4) + "-" + text.substr(4, 2) + "-" + text.substr(6, 2), text
    )
    if kind == "month":
        compact = ibis.cases(
            (text.re_search(r"^\d{6}$"), text.substr(0, 4) + "-" + text.substr(4, 2) + "-01"),
            (text.re_search(r"^\d{4}-\d{2}$"), text + "-01"),
            else_=compact,
        )
    short = compact.try_cast("date")
    instant = compact.try_cast("timestamp('UTC')").cast("date")
    return (compact.length() <= 10).ifelse(short, instant)


def _flaw(text: Any, readable: Any, number: Any = None, fraction: Any = None) -> Any:
    cases = [(text.isnull(), Flaw.NONE)]
    if number is not None:
        cases.append((number.isnan().fill_null(False), Flaw.NOT_A_NUMBER))
    cases.append((~readable, Flaw.UNREADABLE))
    if fraction is not None:
        cases.append((fraction, Flaw.FRACTION))
    return ibis.cases(
        *[(condition, ibis.literal(int(flaw), "int8")) for condition, flaw in cases], else_=ibis.literal(0, "int8")
    )
