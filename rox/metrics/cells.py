"""Reduce rows to moments inside the engine: a small frame, however many rows there are.

Every measure of this room is a ratio R = Σ w·v / Σ w. Rows are summed per customer within cell and stratum, then over
customers: counts, sums and products of those sums. They add, and they are all that the linearised variance of R needs.
Everything is summed as whole numbers, so that two runs give the same last digit.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import ibis
import pandas as pd

from rox.core.errors import DataError
from rox.metrics.source import Rows, Tables, count_true

FAULTY = "faulty"
"""Column of sums that tells whether any row is at fault; only then it is counted how many are, and of what."""
LARGEST = (FAULTY, "weight")
"""Columns of which the largest is taken, where others are summed."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """Measures over the same rows.

    Attributes:
        values: Whole-number expressions v on the rows, by name; without a weight of the rows small ones, such as
            answers, whose sums by customer a double holds exactly.
        where: Boolean expression that tells which rows count; all without it. Elsewhere v may be missing.
        weight: Whole-number expression w, which may differ between rows of a customer; without it the design weight.
    """

    values: Mapping[str, Any]
    where: Any = None
    weight: Any = None


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
    part = Part(values=values, weight=rows.table.weight)
    return split_moments(tables, replace(rows, stratum=None), {"": part}, [rows.by])[0][""]


def split_moments(
    tables: Tables, rows: Rows, parts: Mapping[str, Part], splits: Sequence[Sequence[str]]
) -> list[dict[str, pd.DataFrame]]:
    """Fetch the moments of several parts, by several groupings, in one pass over the rows.

    Rows are summed once by customer and all groups; the sums of a coarser grouping are sums of these.

    Args:
        tables: For fetching.
        rows: The rows; strata and design weights belong to customers.
        parts: What is summed, by name.
        splits: Groupings, each some of ``rows.by``.

    Returns:
        For each grouping the frames of :func:`moments` by the name of the part.

    Raises:
        DataError: Any row is at fault.
    """
    key_of = {group: key for group, key in zip(rows.by, rows.keys, strict=True) if group != rows.stratum}
    kept = [tuple(key for group, key in key_of.items() if group in split) for split in splits]
    numbers = {keys: number for number, keys in enumerate(dict.fromkeys(kept))}
    customers = _by_customer(rows, parts, tuple(key_of.values()))
    stacked = [_cells(customers, parts, keys, number) for keys, number in numbers.items()]
    frame = tables.fetch(stacked[0] if len(stacked) == 1 else ibis.union(*stacked))
    if frame[FAULTY].any():
        _require_none(tables.fetch(rows.table.aggregate(**_fault_counts(rows))), rows.faults)
    return [
        {
            name: _of_part(frame[frame["split"] == numbers[keys]], rows, tuple(split), i, part)
            for i, (name, part) in enumerate(parts.items())
        }
        for split, keys in zip(splits, kept, strict=True)
    ]


def _by_customer(rows: Rows, parts: Mapping[str, Part], keys: Sequence[str]) -> Any:
    """Sum rows by customer; where the weight is the customer's it is left for later.

    Sums without weights are small: a double holds them exactly, in half the room.
    """
    table = rows.table.mutate(
        **{FAULTY: _is_faulty(rows).ifelse(1, 0)},
        **{
            f"v_{i}_{j}": _where(part, value.cast("int64"))
            for i, part in enumerate(parts.values())
            for j, value in enumerate(part.values.values())
        },
        **{f"w_{i}": _where(part, part.weight) for i, part in enumerate(parts.values()) if part.weight is not None},
        **{f"is_{i}": part.where for i, part in enumerate(parts.values()) if part.where is not None},
    )
    sums = {FAULTY: table[FAULTY].max()}
    for i, part in enumerate(parts.values()):
        values = [table[f"v_{i}_{j}"] for j in range(len(part.values))]
        sums[f"n_{i}"] = table.count(where=None if part.where is None else table[f"is_{i}"])
        if part.weight is None:
            sums |= {f"y_{i}_{j}": v.cast("float64").sum().cast("int64") for j, v in enumerate(values)}
            sums |= {f"s_{i}_{j}": (v * v).cast("float64").sum().cast("int64") for j, v in enumerate(values)}
        else:
            w = table[f"w_{i}"]
            sums |= {f"x_{i}": w.sum(), f"ww_{i}": _times(w, w).sum()}
            sums |= {f"y_{i}_{j}": (w * v).sum() for j, v in enumerate(values)}
            sums |= {f"s_{i}_{j}": (w * v * v).sum() for j, v in enumerate(values)}
    if any(part.weight is None for part in parts.values()):
        sums["weight"] = table.weight.max()
    return table.group_by([*keys, "stratum", "customer"]).aggregate(**sums)


def _coarser(customers: Any, keys: Sequence[str]) -> Any:
    """Add up the customers' sums over the groups that are not among the keys."""
    groups = [column for column in customers.columns if column.startswith("by_")]
    if len(keys) == len(groups):
        return customers
    held = [column for column in customers.columns if column not in ("stratum", "customer", *groups)]
    return customers.group_by([*keys, "stratum", "customer"]).aggregate(
        **{column: customers[column].max() if column in LARGEST else customers[column].sum() for column in held}
    )


def _cells(customers: Any, parts: Mapping[str, Part], keys: Sequence[str], split: int) -> Any:
    """Sum customers within cell and stratum."""
    kinds = {column: customers[column].type() for column in customers.columns if column.startswith("by_")}
    customers = _coarser(customers, keys)
    sums = {FAULTY: customers[FAULTY].max()}
    for i, part in enumerate(parts.values()):
        n, own = customers[f"n_{i}"], part.weight is None
        w = customers.weight if own else ibis.literal(1, "int64")
        x, ww = (n * w, _times(n * w, w)) if own else (customers[f"x_{i}"], customers[f"ww_{i}"])
        sums |= {f"n_{i}": n.sum(), f"m_{i}": count_true(n > 0), f"x_{i}": x.sum()}
        sums |= {f"ww_{i}": ww.sum(), f"xx_{i}": _times(x, x).sum()}
        for j in range(len(part.values)):
            y, s = (customers[f"{letter}_{i}_{j}"] * w for letter in "ys")
            sums |= {f"y_{i}_{j}": y.sum(), f"s_{i}_{j}": s.sum()}
            sums |= {f"yy_{i}_{j}": _times(y, y).sum(), f"xy_{i}_{j}": _times(x, y).sum()}
    found = customers.group_by([*keys, "stratum"]).aggregate(**sums)
    return found.select(
        *(found[key] if key in keys else ibis.null(kind).name(key) for key, kind in kinds.items()),
        "stratum",
        *sums,
        split=ibis.literal(split, "int64"),
    )


def _of_part(frame: pd.DataFrame, rows: Rows, split: Sequence[str], i: int, part: Part) -> pd.DataFrame:
    """Take the moments of one part by one grouping out of what was fetched."""
    names = {f"{sum_}_{i}": sum_ for sum_ in ("m", "xx", "n", "x", "ww")}
    names |= {
        f"{sum_}_{i}_{j}": f"{sum_}_{name}" for j, name in enumerate(part.values) for sum_ in ("y", "s", "yy", "xy")
    }
    there = frame[frame[f"n_{i}"] > 0]
    groups = {key: group for key, group in zip(rows.keys, rows.by, strict=True) if group in split}
    for key, group in groups.items():
        alone = there["stratum"] if group == rows.stratum else _as_alone(there[key], rows.table[key].type())
        there = there.assign(**{key: alone})
    found = _as_numbers(there[[*groups, "stratum", *names]].rename(columns=names), names.values())
    return found.sort_values([*groups, "stratum"], ignore_index=True).rename(columns=groups)


def _as_alone(values: pd.Series, kind: Any) -> pd.Series:
    """Give a group the type it has where no other grouping is fetched beside it."""
    return values.astype("int64") if kind.is_integer() and values.notna().all() else values.infer_objects()


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
    totals = _fault_counts(rows)
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


def _where(part: Part, number: Any) -> Any:
    return number if part.where is None else part.where.ifelse(number, 0)


def _is_faulty(rows: Rows) -> Any:
    return ibis.or_(*(rows.table[column].fill_null(False) for column in rows.faults))


def _fault_counts(rows: Rows) -> dict[str, Any]:
    return {column: count_true(rows.table[column]) for column in rows.faults}


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
