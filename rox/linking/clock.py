"""The time of day that stood beside a date: midnights of another zone give themselves away."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import ibis
import ibis.expr.types as ir

from rox.linking.columns import Column
from rox.linking.expressions import nothing
from rox.linking.spellings import cleaned, folded

CLOCKED: Mapping[str, str] = MappingProxyType({"answers": "date", "exits": "date", "ledger": "month"})
"""Tables whose time of day is looked at, with the role: when an answer was given, a customer left, money was booked."""

INSTANT = r"^\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}(:\d{2}(\.\d+)?)?\s?(Z|[+-]\d{2}(:?\d{2})?)$"
TIME = r"[T ](\d{1,2}):(\d{2})(?::(\d{2}))?"
WITHIN_THE_HOUR = -1


def clock_name(role: str) -> str:
    """Name the column with the hour of a date."""
    return f"rox_clock_{role}"


def clock_of(table: str, column: Column, raw: Any) -> dict[str, ir.Value]:
    """Return the hour, in the study's time zone, that stands beside a date.

    Args:
        table: Name of the table.
        column: What is declared.
        raw: The column as it stands in the source.

    Returns:
        Where it is looked at, one expression: 0 to 23 at full hours, −1 at other times, nothing where there is no time
        of day. For other columns none.
    """
    if CLOCKED.get(table) != column.name or column.kind not in ("date", "month") or column.serial:
        return {}
    return {clock_name(column.name): _hour(raw)}


def _hour(raw: Any) -> Any:
    kind = raw.type()
    if kind.is_timestamp():
        return _written(raw.cast("string"))
    if not kind.is_string():
        return nothing("int64")
    text = folded(cleaned(raw))
    here = text.re_search(INSTANT).ifelse(text.try_cast("timestamp('UTC')").cast("string"), text)
    return (text.length() <= len("2024-01-31")).ifelse(nothing("int64"), _written(here))


def _written(text: Any) -> Any:
    """Read the hour off a date and time as it is written; an instant is written in the engine's time zone."""
    hour, minute, second = (text.re_extract(TIME, group).nullif("").try_cast("int64") for group in (1, 2, 3))
    at_the_hour = (minute == 0) & (ibis.coalesce(second, ibis.literal(0, "int64")) == 0)
    return hour.isnull().ifelse(nothing("int64"), at_the_hour.ifelse(hour, ibis.literal(WITHIN_THE_HOUR, "int64")))
