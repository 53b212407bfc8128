"""Rows of a panel, streamed out of Parquet files or out of the engine in the form that the fixed effects read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ibis
import ibis.expr.operations as ops
import ibis.expr.types as ir
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from rox.core.errors import DataError
from rox.linking.expressions import floor, month_of
from rox.numerics.within import Axes, Batch, Shard
from rox.numerics.within_sums import WORD

READ, BUFFER = 1 << 17, 1 << 20
"""Rows read at a time, and bytes."""
HOLD = 1 << 27
"""Rows of a file stay in memory between two readings when they take at most so many bytes."""
SPARSE = 4
"""Customer numbers that span at most so many times the rows are used as they are; others are replaced."""
SHARDS = 256
"""At most so many shards of customers, each of which is a scan of a table."""
MONTHS = 4096
"""More months than this are no months."""
CODE, MONTH, SEGMENT = "rox_code", "rox_month", "rox_segment"


@dataclass(frozen=True, kw_only=True)
class Roles:
    """Which column plays which part."""

    outcome: str
    regressors: tuple[str, ...]
    customer: str
    month: str
    segment: str | None = None
    weight: str | None = None

    @property
    def values(self) -> tuple[str, ...]:
        """The outcome and the regressors."""
        return (self.outcome, *self.regressors)

    @property
    def columns(self) -> tuple[str, ...]:
        """All columns that are read."""
        extra = [name for name in (self.segment, self.weight) if name is not None]
        return (self.customer, self.month, *self.values, *extra)


@dataclass(frozen=True, kw_only=True)
class Panel:
    """A panel ready to be read.

    Attributes:
        shards: Rows, by shard of customers.
        axes: Months and segments.
        rows: Rows of the source, those with missing values included.
        apart: Whether shards can be read at the same time.
    """

    shards: tuple[Shard, ...]
    axes: Axes
    rows: int
    apart: bool = False


def from_parquet(paths: Sequence[Path], roles: Roles, budget: int) -> Panel | None:
    """Read files without an engine.

    None when their customers are not numbered densely or are too many for the budget (bytes), or for segments.

    Raises:
        DataError: Columns that are not there.
    """
    files = [pq.ParquetFile(path) for path in paths]
    for path, file in zip(paths, files, strict=True):
        require(roles, {field.name: is_number(field.type) for field in file.schema_arrow}, path.name)
    rows = sum(file.metadata.num_rows for file in files)
    customers, months = (_span(files, name) for name in (roles.customer, roles.month))
    if roles.segment is not None or customers is None or months is None or not rows:
        return None
    axes = Axes(periods=month_count(*months), table=roles.weight is not None)
    if (customers[1] - customers[0]) * _bytes_each(roles, axes) >= max(budget, 1):
        return None
    coding = Coding(roles=roles, first_customer=customers[0], first_month=months[0], months=axes.periods)

    def batches() -> Iterator[Batch]:
        return coding.batches(ahead(record_batches(paths, roles.columns)))

    hold = rows * 8 * (len(roles.columns) + 1) <= HOLD
    shard = Shard(customers=customers[1] - customers[0] + 1, batches=batches, hold=hold)
    return Panel(shards=(shard,), axes=axes, rows=rows)


def from_table(table: ir.Table, fetch: Callable[[ir.Table], pd.DataFrame], *, roles: Roles, budget: int) -> Panel:
    """Stream a table out of an embedded engine, customers in as many shards as the budget (bytes) asks for.

    Raises:
        DataError: Columns that are not there or of a wrong type, or no rows.
    """
    narrow, summary = prepared(table, roles, fetch)
    axes = Axes(periods=summary.months, segments=len(summary.segments) or 1, table=roles.weight is not None)
    count = min(SHARDS, -(-summary.customers * _bytes_each(roles, axes) // max(budget, 1)))
    coded = roles_of_prepared(roles)

    def shard(place: int) -> Shard:
        mine = narrow
        if count > 1:
            mine = narrow.filter(narrow[CODE] % count == place)
            mine = mine.mutate(**{CODE: ((mine[CODE] - place) / count).cast("int64")})
        coding = Coding(roles=coded, first_customer=0, first_month=summary.first_month, months=summary.months)
        return Shard(customers=-(-summary.customers // count), batches=lambda: coding.batches(ahead(stream(mine))))

    return Panel(shards=tuple(shard(place) for place in range(count)), axes=axes, rows=summary.rows)


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What has to be known of a table before its rows are read."""

    rows: int
    customers: int
    """Length of the range of customer codes."""
    first_month: int
    months: int
    segments: tuple[Any, ...]


def prepared(table: ir.Table, roles: Roles, fetch: Callable[[ir.Table], pd.DataFrame]) -> tuple[ir.Table, Summary]:
    """Narrow a table to codes of customers, months and segments, and to the values.

    Raises:
        DataError: Columns that are not there or of a wrong type, or no rows.
    """
    kinds = {name: kind.is_numeric() or kind.is_boolean() for name, kind in table.schema().items()}
    require(roles, kinds, "the table")
    month = table[roles.month]
    kind = month.type()
    month = month_of(month) if kind.is_temporal() else floor(month) if kind.is_floating() else month.cast("int64")
    known = table.mutate(**{MONTH: month})
    whole = known[roles.customer].type().is_integer()
    extremes = {"low": known[roles.customer].min(), "high": known[roles.customer].max()} if whole else {}
    there = {"named": known[roles.customer].count(), "rows": known.count()}
    found = fetch(known.aggregate(first=known[MONTH].min(), final=known[MONTH].max(), **there, **extremes)).iloc[0]
    if not found["named"] or pd.isna(found["first"]):
        raise DataError("The panel has no rows with a customer and a month.")
    rows = int(found["rows"])
    for name in (roles.customer, roles.month, *([roles.segment] if roles.segment else [])):
        known = known.filter(known[name].notnull())
    segments = _segments(known, roles, fetch)
    if whole and found["high"] - found["low"] < SPARSE * rows + READ:
        customers = int(found["high"] - found["low"]) + 1
        coded = known.mutate(**{CODE: (known[roles.customer] - int(found["low"])).cast("int64")})
    else:
        ids = known.select(rox_id=roles.customer).distinct()
        ids = ids.mutate(**{CODE: ibis.row_number().over(ibis.window(order_by="rox_id")).cast("int64")})
        customers = int(fetch(ids.aggregate(n=ids.count()))["n"].iloc[0])
        coded = known.inner_join(ids, known[roles.customer] == ids.rox_id)
    kept = {name: coded[name].cast("float64") for name in (*roles.values, *([roles.weight] if roles.weight else []))}
    if roles.segment is not None:
        pairs = [(label, ibis.literal(place, "int64")) for place, label in enumerate(segments)]
        kept[SEGMENT] = coded[roles.segment].cases(*pairs, else_=ibis.null("int64"))
    months = month_count(int(found["first"]), int(found["final"]))
    summary = Summary(rows=rows, customers=customers, first_month=int(found["first"]), months=months, segments=segments)
    return coded.select(CODE, MONTH, **kept), summary


def roles_of_prepared(roles: Roles) -> Roles:
    """Return the roles as the columns of `prepared` are called."""
    return Roles(
        outcome=roles.outcome,
        regressors=roles.regressors,
        customer=CODE,
        month=MONTH,
        segment=None if roles.segment is None else SEGMENT,
        weight=roles.weight,
    )


def stream(table: ir.Table) -> Iterator[pa.RecordBatch]:
    """Run a query of DuckDB and hand over its rows as they come; the connection serves one such reading at a time."""
    if table.op().find(ops.InMemoryTable):
        return iter(table.to_pyarrow_batches(chunk_size=READ))
    backend: Any = table.get_backend()
    return iter(backend.con.sql(backend.compile(table)).to_arrow_reader(READ))


def ahead(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Read one batch ahead in another thread."""
    source = iter(batches)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(next, source, None)
        while (batch := waiting.result()) is not None:
            waiting = pool.submit(next, source, None)
            yield batch


def absent(names: Iterable[str], columns: Iterable[str], where: str) -> list[str]:
    """List the columns that are not there, as faults."""
    there = set(columns)
    return [f"column {name!r} is not in {where}" for name in dict.fromkeys(names) if name not in there]


def is_number(kind: pa.DataType) -> bool:
    """Tell whether a column holds numbers, or yes and no."""
    tests = (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal, pa.types.is_boolean)
    return any(test(kind) for test in tests)


def require(roles: Roles, columns: Mapping[str, bool], where: str) -> None:
    """Complain about columns that are not there, have two roles, or do not hold numbers where these are needed.

    Args:
        roles: The roles.
        columns: By column, whether it holds numbers.
        where: What the columns are of.

    Raises:
        DataError: All faults in one message.
    """
    twice = sorted({name for name in roles.columns if roles.columns.count(name) > 1})
    faults = absent(roles.columns, columns, where) + [f"column {name!r} has two roles" for name in twice]
    numbers = (*roles.values, *([roles.weight] if roles.weight else []))
    faults += [f"column {name!r} does not hold numbers" for name in numbers if not columns.get(name, True)]
    if not roles.regressors:
        faults.append("no regressor is named")
    if faults:
        raise DataError("This panel cannot be regressed so.", faults)


@dataclass(frozen=True, kw_only=True)
class Coding:
    """How columns become codes and numbers."""

    roles: Roles
    first_customer: int
    first_month: int
    months: int

    def batches(self, source: Iterable[pa.RecordBatch]) -> Iterator[Batch]:
        """Code rows as they come."""
        for batch in source:
            yield self.batch(batch)

    def batch(self, batch: pa.RecordBatch) -> Batch:
        """Code some rows, without those where something is missing.

        Raises:
            DataError: Infinite values, or weights that are not positive.
        """
        roles = self.roles
        values = [_numbers(batch, name) for name in roles.values]
        weight = None if roles.weight is None else _numbers(batch, roles.weight)
        whole = [name for name in (roles.customer, roles.month, roles.segment) if name is not None]
        keep = _complete(roles, values, weight)
        for name in whole:
            if batch.column(name).null_count:
                there = batch.column(name).is_valid().to_numpy(zero_copy_only=False)
                keep = there if keep is None else keep & there
        if keep is not None:
            batch = batch.filter(pa.array(keep))
            values, weight = [each[keep] for each in values], None if weight is None else weight[keep]
        period = _codes(batch, roles.month, self.first_month)
        if roles.segment is not None:
            period = period + self.months * _codes(batch, roles.segment, 0)
        return Batch(
            customer=_codes(batch, roles.customer, self.first_customer), period=period, values=values, weight=weight
        )


def _complete(roles: Roles, values: Sequence[NDArray[np.float64]], weight: Any) -> NDArray[np.bool_] | None:
    """Return where no number is missing, or None where all are there.

    Raises:
        DataError: Infinite values, or weights that are not positive.
    """
    keep: NDArray[np.bool_] | None = None
    faults = []
    named = list(zip(roles.values, values, strict=True))
    if weight is not None:
        named.append((str(roles.weight), weight))
        if (weight <= 0).any():
            faults.append(f"column {roles.weight!r}: weights must be positive; drop the rows whose weight is not")
    for name, numbers in named:
        finite = np.isfinite(numbers)
        if finite.all():
            continue
        if np.isinf(numbers).any():
            faults.append(f"column {name!r} holds infinite values; mend or drop those rows")
        keep = finite if keep is None else keep & finite
    if faults:
        raise DataError("This panel cannot be regressed.", faults)
    return keep


def _numbers(batch: pa.RecordBatch, name: str) -> NDArray[np.float64]:
    column = batch.column(name)
    if column.type != pa.float64():
        column = column.cast(pa.float64())
    return np.asarray(column.to_numpy(zero_copy_only=False))


def _codes(batch: pa.RecordBatch, name: str, first: int) -> NDArray[np.int64]:
    numbers: NDArray[np.int64] = batch.column(name).to_numpy(zero_copy_only=False).astype(np.int64, copy=False)
    return numbers - first if first else numbers


def record_batches(
    paths: Sequence[Path], columns: Sequence[str], groups: Sequence[int] | None = None
) -> Iterator[pa.RecordBatch]:
    """Read columns of Parquet files, or of some row groups of them, some rows at a time.

    Reading ahead of the decoder, which is Arrow's default, keeps whole row groups and takes longer on a local disk.
    """
    for path in paths:
        with pq.ParquetFile(path, pre_buffer=False, buffer_size=BUFFER) as file:
            yield from file.iter_batches(READ, row_groups=groups, columns=list(columns))


def _bytes_each(roles: Roles, axes: Axes) -> int:
    """Return what is kept of each customer while a shard is worked on."""
    return 8 * ((axes.periods if axes.table else -(-axes.periods // WORD)) + 2 + 4 * len(roles.values))


def _span(files: Sequence[pq.ParquetFile], name: str) -> tuple[int, int] | None:
    """Return the least and the largest value by the files' own statistics, where they hold whole numbers."""
    low, high = [], []
    for file in files:
        place = file.schema_arrow.get_field_index(name)
        if not pa.types.is_integer(file.schema_arrow.field(place).type):
            return None
        column = next(c for c in range(file.metadata.num_columns) if file.metadata.schema.column(c).path == name)
        for group in range(file.metadata.num_row_groups):
            statistics = file.metadata.row_group(group).column(column).statistics
            if statistics is None or not statistics.has_min_max:
                return None
            low.append(int(statistics.min))
            high.append(int(statistics.max))
    return (min(low), max(high)) if low else None


def _segments(table: ir.Table, roles: Roles, fetch: Callable[[ir.Table], pd.DataFrame]) -> tuple[Any, ...]:
    if roles.segment is None:
        return ()
    labels = fetch(table.select(label=roles.segment).distinct())["label"]
    return tuple(sorted(labels.tolist()))


def month_count(first: int, final: int) -> int:
    """Count the months from the first to the final one.

    Raises:
        DataError: Numbers too far apart to be months.
    """
    if final - first >= MONTHS:
        raise DataError(
            "The months span too long a time.",
            [f"they run from {first} to {final}; number them 12·year + month − 1, or give dates"],
        )
    return final - first + 1
