"""Expressions that mean the same on every SQL engine.

Each stands for a raw form that engines read differently: division by zero, casts that round or truncate, Boolean sums,
sums over nothing, differences of months, and decimal literals.
"""

from __future__ import annotations

from typing import Any

import ibis
import ibis.expr.types as ir


def real(value: float) -> ir.FloatingScalar:
    """Write a constant as a double, which a plain ``0.1`` in SQL is not."""
    return ibis.literal(repr(float(value))).cast("float64")


def ratio(above: ir.NumericValue, below: ir.NumericValue) -> ir.FloatingValue:
    """Divide in double precision; nothing when the divisor is zero."""
    return above.cast("float64") / below.cast("float64").nullif(real(0))


def indicator(condition: ir.BooleanValue) -> ir.IntegerValue:
    """Turn a condition into 1 or 0; unknown is 0."""
    return condition.ifelse(ibis.literal(1, "int64"), ibis.literal(0, "int64"))


def total(value: ir.NumericColumn) -> ir.NumericScalar:
    """Sum; over nothing it is zero."""
    return ibis.coalesce(value.sum(), ibis.literal(0).cast(value.type()))


def how_many(condition: ir.BooleanValue) -> ir.NumericScalar:
    """Count the rows where a condition holds."""
    return total(indicator(condition))


def floor(value: ir.FloatingValue) -> ir.IntegerValue:
    """Round down to an integer; nothing where there is none or it does not fit."""
    return (value.abs() < real(9e18)).ifelse(value, nothing("float64")).floor().cast("int64")


def rounded(value: ir.FloatingValue) -> ir.IntegerValue:
    """Round to an integer, halves up; nothing where there is none or it does not fit."""
    return floor(value + real(0.5))


def month_of(date: ir.DateValue) -> ir.IntegerValue:
    """Number the month of a date: 12·year + month − 1."""
    return (date.year().cast("int64") * 12 + date.month().cast("int64") - 1).cast("int64")


def nothing(kind: str) -> Any:
    """Return a missing value of a type."""
    return ibis.null(kind)
