"""Reduce rows to moments inside the engine: a small frame, however many rows there are.

Every measure of this room is a ratio R = Σ w·v / Σ w. Rows are summed per customer within cell and stratum, then over
customers: counts, sums and products of those sums. They add, and they are all that the linearised variance of R needs.
Everything is summed as whole numbers, so that two runs give the same last digit.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from rox.core.errors import DataError
from rox.metrics.source import Rows, Tables, count_true


def moments(tables: Tables, rows: Rows, values: Mapping[str, Any]) -> pd.DataFrame:
    """Fetch the moments of several measures over the same rows.

    Args:
        tables: For fetching.
        rows: The rows; ``weight`` is w.
        values: Whole-number expressions v on ``rows.table`` by name.

    Returns:
        One row per cell and stratum: the groups under their own names, ``stratum``, ``n`` (rows), ``m`` (customers),
        ``x`` (Σw), ``ww`` (Σw² over rows), ``xx`` (Σ over customers of (Σw)²) and for each measure ``y_<name>`` (Σwv),
        ``s_<name>`` (Σwv²), ``yy_<name>`` and ``xy_<name>`` (squares and products of customers' sums).

    Raises:
        DataError: Any row is at fault.
    """
    table = rows.table.mutate(**{f"v_{name}": value.cast("int64") for name, value in values.items()})
    persons = table.group_by([*rows.keys, "stratum", "customer"]).aggregate(
        n=table.count(),
        x=table.weight.sum(),
        ww=_times(table.weight, table.weight).sum(),
        **{f"y_{name}": (table.weight * table[f"v_{name}"]).sum() for name in values},
        **{f"s_{name}": (table.weight * table[f"v_{name}"] * table[f"v_{name}"]).sum() for name in values},
        **{column: count_true(table[column]) for column in rows.faults},
    )
    sums = {name: persons[name].sum() for name in ["n", "x", "ww", *rows.faults]}
    for name in values:
        y = persons[f"y_{name}"]
        sums |= {f"y_{name}": y.sum(), f"s_{name}": persons[f"s_{name}"].sum()}
        sums |= {f"yy_{name}": _times(y, y).sum(), f"xy_{name}": _times(persons.x, y).sum()}
    cells = persons.group_by([*rows.keys, "stratum"]).aggregate(
        m=persons.count(), xx=_times(persons.x, persons.x).sum(), **sums
    )
    frame = _as_numbers(tables.fetch(cells), ("m", "xx", *sums))
    _require_none(frame, rows.faults)
    frame = frame.drop(columns=list(rows.faults)).sort_values([*rows.keys, "stratum"], ignore_index=True)
    return frame.rename(columns=dict(zip(rows.keys, rows.by, strict=True)))


def sums(tables: Tables, rows: Rows, base: Any, values: Mapping[str, Any]) -> pd.DataFrame:
    """Fetch the moments of ratios of sums, Σ v / Σ b, over rows of which each is a customer.

    Args:
        tables: For fetching.
        rows: The rows, one per customer; their weight is not used.
        base: Whole-number expression b on ``rows.table``, already weighted.
        values: Whole-number expressions v by name, likewise.

    Returns:
        As :func:`moments`, without variation inside a customer: ``ww`` is ``xx`` and ``s_<name>`` is zero.

    Raises:
        DataError: Any row is at fault.
    """
    parts = {f"v_{name}": value.cast("int64") for name, value in values.items()}
    table = rows.table.mutate(**{"x": base.cast("int64"), **parts})
    totals = {column: count_true(table[column]) for column in rows.faults}
    totals |= {"n": table.count(), "x": table.x.sum(), "xx": _times(table.x, table.x).sum()}
    for name in values:
        v = table[f"v_{name}"]
        totals |= {f"y_{name}": v.sum(), f"yy_{name}": _times(v, v).sum(), f"xy_{name}": _times(table.x, v).sum()}
    frame = _as_numbers(tables.fetch(table.group_by([*rows.keys, "stratum"]).aggregate(**totals)), totals)
    _require_none(frame, rows.faults)
    frame = frame.drop(columns=list(rows.faults)).sort_values([*rows.keys, "stratum"], ignore_index=True)
    frame = frame.assign(m=frame["n"], ww=frame["xx"], **{f"s_{name}": 0.0 for name in values})
    return frame.rename(columns=dict(zip(rows.keys, rows.by, strict=True)))


def overlaps(
    tables: Tables, rows: Rows, values: Mapping[str, Any], time: str, later: int, earlier: int
) -> pd.DataFrame:
    """Fetch the cross-products of the customers who have rows at both of two times.

    Args:
        tables: For fetching.
        rows: The rows.
        values: Whole-number expressions v on ``rows.table`` by name.
        time: The group that holds the time.
        later: Its second value.
        earlier: Its first value.

    Returns:
        One row per cell (without the time) and stratum: ``both`` (customers), and with 1 the later and 0 the earlier
        time ``x1``, ``x0``, ``x1x0``, and for each measure ``y1_<name>``, ``y0_<name>``, ``y1y0_<name>``,
        ``y1x0_<name>``, ``x1y0_<name>``.
    """
    cut = rows.by.index(time)
    keys = [key for i, key in enumerate(rows.keys) if i != cut]
    table = rows.table.mutate(**{f"v_{name}": value.cast("int64") for name, value in values.items()})
    parts = {}
    for number, when in ((1, later), (0, earlier)):
        weight = (table[f"by_{cut}"] == when).ifelse(table.weight, 0)
        parts[f"x{number}"] = weight.sum()
        parts |= {f"y{number}_{name}": (weight * table[f"v_{name}"]).sum() for name in values}
    persons = table.group_by([*keys, "stratum", "customer"]).aggregate(**parts)
    persons = persons.filter((persons.x1 > 0) & (persons.x0 > 0))
    sums = {name: persons[name].sum() for name in parts} | {"x1x0": _times(persons.x1, persons.x0).sum()}
    for name in values:
        y1, y0 = persons[f"y1_{name}"], persons[f"y0_{name}"]
        sums |= {f"y1y0_{name}": _times(y1, y0).sum(), f"y1x0_{name}": _times(y1, persons.x0).sum()}
        sums |= {f"x1y0_{name}": _times(persons.x1, y0).sum()}
    cells = persons.group_by([*keys, "stratum"]).aggregate(both=persons.count(), **sums)
    frame = _as_numbers(tables.fetch(cells), ("both", *sums))
    return frame.rename(columns={key: rows.by[int(key.removeprefix("by_"))] for key in keys})


def _times(left: Any, right: Any) -> Any:
    """Multiply whole numbers without overflow."""
    return left.cast("decimal(19,0)") * right.cast("decimal(19,0)")


def _as_numbers(frame: pd.DataFrame, columns: Iterable[str]) -> pd.DataFrame:
    """Turn whole numbers into floats here, each to the nearest one; engines differ in the last digit."""
    return frame.astype(dict.fromkeys(columns, "float64"))


def _require_none(frame: pd.DataFrame, faults: Mapping[str, str]) -> None:
    found = {sentence: int(frame[column].sum()) for column, sentence in faults.items()}
    if any(found.values()):
        raise DataError(
            "These tables cannot be measured as they are.",
            [f"{sentence}: {count}" for sentence, count in found.items() if count],
        )
