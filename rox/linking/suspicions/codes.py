"""Codes such as −1, 99 or 9999 that stand for "unknown" among the values of a numeric column."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import ibis.expr.types as ir
import numpy as np

from rox.linking.engine import Engine
from rox.linking.expressions import how_many, real
from rox.linking.suspicions.thresholds import CODES_ABOVE, CODES_BELOW, LEAST_CODED, MONEY_APART, SPIKE


@dataclass(frozen=True, kw_only=True)
class Coded:
    """A numeric column that may hold codes.

    Attributes:
        table: Where it is.
        column: Its name.
        low: Its lowest value.
        high: Its highest value.
        scale: What 1 is in the column: 100 for money in cents.
        times: How many times the next value a code above must be; for prices such as 99 are no codes.
    """

    table: ir.Table
    column: str
    low: float
    high: float
    scale: int = 1
    times: float = 0.0

    @classmethod
    def of_money(cls, table: ir.Table, column: str, ends: tuple[float, float], scale: int) -> Coded:
        """Describe a column of amounts or counts."""
        return cls(table=table, column=column, low=ends[0], high=ends[1], scale=scale, times=MONEY_APART)


def codes_among(engine: Engine, coded: Coded) -> Iterator[tuple[int, int, ir.Table]]:
    """Find the code at either end of a column that is a spike apart from the other values.

    A column none of whose two ends is such a number is not looked at again. Negative codes count where nothing else is
    below zero; the others where they are much more frequent than the values next to them.

    Returns:
        The code, how many rows hold it or another of its kind, and those rows.
    """
    if np.isnan(coded.low) or np.isnan(coded.high):
        return
    value = coded.table[coded.column].cast("float64") / real(coded.scale)
    for end, known in ((coded.low, CODES_BELOW), (coded.high, CODES_ABOVE)):
        code = end / coded.scale
        if code not in known:
            continue
        codes = [each for each in known if code < 0 or len(str(each)) == len(str(int(code)))]
        is_code = value.isin([real(each) for each in codes])
        if _is_spike(engine, coded, value, is_code, code):
            wrong = coded.table.filter(is_code)
            yield int(code), int(engine.fetch(wrong.aggregate(n=wrong.count()))["n"].iloc[0]), wrong


def _is_spike(engine: Engine, coded: Coded, value: Any, is_code: Any, code: float) -> bool:
    table = coded.table
    rest = table.filter(~is_code)
    other = rest.select(v=value)
    ends = other.aggregate(low=other.v.min(), high=other.v.max(), n=other.v.count())
    found = engine.fetch(ends).iloc[0]
    if not int(found["n"]):
        return False
    low, high = float(found["low"]), float(found["high"])
    same = how_many(value == real(code))
    if code < 0:
        return low >= 0 and int(engine.fetch(table.aggregate(n=same))["n"].iloc[0]) >= LEAST_CODED
    if code < coded.times * high:
        return False
    reach = max(0.1 * (high - low), 2.0)
    near = (value >= real(code - reach)) & (value <= real(code + reach)) & ~is_code
    counts = engine.fetch(table.aggregate(n=same, near=how_many(near))).iloc[0]
    return int(counts["n"]) >= max(LEAST_CODED, MONEY_APART, SPIKE * int(counts["near"]))
