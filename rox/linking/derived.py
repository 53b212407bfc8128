"""Turn described columns into expressions that mean the same on every engine.

A month some months away is found by its number, not by counting rows, so that a gap is never bridged, and never by the
first or last value of a window, which engines read differently. Means are of whole numbers: their order cannot matter.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import reduce, singledispatch
from operator import add
from typing import Any

import ibis
import ibis.expr.operations as ops
import ibis.expr.types as ir

from rox.core.derived import Ahead, Bins, Growth, LogBins, LookUp, Maker, OwnMean, Previous
from rox.core.errors import DataError
from rox.linking.expressions import floor, indicator, nothing, ratio, real, rounded

Scale = Callable[[str, Any], int]
"""Whole numbers per unit, by a column's name and type."""


def column(maker: Maker, table: ir.Table, scale: Scale) -> Any:
    """Return the expression of a column.

    Args:
        maker: Its name, description, or a function of the table.
        table: The table.
        scale: Whole numbers per unit of a column, for means.

    Raises:
        DataError: A column that is not there.
    """
    if callable(maker):
        return maker(table)
    return _column(maker, table, scale)


def named(name: str, table: ir.Table) -> Any:
    """Return a column by its name.

    Raises:
        DataError: There is none.
    """
    if name not in table.columns:
        raise DataError(f"The panel has no column {name!r}.", [f"it has {', '.join(table.columns)}"])
    return table[name]


def looks_ahead(maker: Maker, table: ir.Table) -> bool:
    """Whether a column may come out otherwise once the panel has later months."""
    if isinstance(maker, (Ahead, Growth)):
        return maker.months > 0
    if callable(maker):
        return bool(maker(table).op().find(ops.WindowFunction))
    return isinstance(maker, OwnMean)


def whole(value: Any, per_unit: int) -> Any:
    """Round to whole numbers of which ``per_unit`` make one unit; nothing where there is none or it does not fit."""
    if value.type().is_boolean():
        return value.cast("int64")
    if value.type().is_integer() and per_unit == 1:
        return value.cast("int64")
    return rounded(value.cast("float64") * real(per_unit))


@singledispatch
def _column(maker: Any, table: ir.Table, scale: Scale) -> Any:
    raise DataError(
        f"{maker!r} describes no column.", ["needed: a name, a description of rox.core.derived, or a function"]
    )


@_column.register
def _(maker: str, table: ir.Table, scale: Scale) -> Any:
    return named(maker, table)


@_column.register
def _(maker: LogBins, table: ir.Table, scale: Scale) -> Any:
    value = named(maker.column, table).cast("float64")
    size = value.abs() / real(maker.unit)
    counts = size >= real(1)
    steps = floor(counts.ifelse(size, real(1)).ln() / real(math.log1p(maker.width))) + 1
    code = counts.ifelse((value < real(0)).ifelse(-steps, steps), ibis.literal(0, "int64"))
    return value.isnull().ifelse(nothing("int64"), code)


@_column.register
def _(maker: Bins, table: ir.Table, scale: Scale) -> Any:
    value = named(maker.column, table).cast("float64")
    above = reduce(add, (indicator(value >= real(edge)) for edge in maker.edges))
    return value.isnull().ifelse(nothing("int64"), above)


@_column.register
def _(maker: Ahead, table: ir.Table, scale: Scale) -> Any:
    distance = abs(maker.months)
    frame: dict[str, Any] = {"preceding" if maker.months < 0 else "following": (distance, distance)}
    window = ibis.range_window(**frame, group_by="customer", order_by="month")
    return named(maker.column, table).max().over(window)


@_column.register
def _(maker: Growth, table: ir.Table, scale: Scale) -> Any:
    now = named(maker.column, table).cast("float64")
    then = _column(Ahead(column=maker.column, months=maker.months), table, scale).cast("float64")
    if maker.months < 0:
        later, earlier = now, then
    else:
        gone = (table.exit_month <= table.month + maker.months).fill_null(False)
        later, earlier = ibis.coalesce(then, gone.ifelse(real(0), nothing("float64"))), now
    growth = ratio(later, (earlier > real(0)).ifelse(earlier, nothing("float64")))
    if maker.cap is None:
        return growth
    return (growth > real(maker.cap)).ifelse(real(maker.cap), growth)


@_column.register
def _(maker: OwnMean, table: ir.Table, scale: Scale) -> Any:
    value = named(maker.column, table)
    per_unit = scale(maker.column, value.type())
    counted = whole(value, per_unit)
    own = ibis.window(group_by="customer")
    mean = ratio(counted.sum().over(own), counted.count().over(own))
    return ratio(mean, real(per_unit))


@_column.register
def _(maker: Previous, table: ir.Table, scale: Scale) -> Any:
    value, row_before = named(maker.column, table), ibis.window(group_by="customer", order_by="month")
    answered = table.month.cast("float64") - table.score_age.cast("float64")
    is_new = (answered != answered.lag().over(row_before)).fill_null(False)
    return is_new.ifelse(value.lag().over(row_before), nothing(str(value.type())))


@_column.register
def _(maker: LookUp, table: ir.Table, scale: Scale) -> Any:
    if not maker.values:
        return real(0)
    return _looked_up([named(key, table) for key in maker.keys], dict(maker.values))


def _looked_up(keys: Sequence[Any], values: Mapping[tuple[str | int, ...], float]) -> Any:
    """Nest a case of the later keys in each value of the first."""
    first, later = keys[0], keys[1:]
    if not later:
        return first.cases(*((place[0], real(value)) for place, value in values.items()), else_=real(0))
    branches: dict[str | int, dict[tuple[str | int, ...], float]] = {}
    for place, value in values.items():
        branches.setdefault(place[0], {})[place[1:]] = value
    return first.cases(*((name, _looked_up(later, inner)) for name, inner in branches.items()), else_=real(0))
