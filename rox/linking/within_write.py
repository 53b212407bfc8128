"""A panel's rows in files by customer: written once, read again and again in little memory.

Customers are dealt into buckets by a hash; a bucket is one Parquet file, in which customers are numbered from 0.
Every file appears under its name only when it is whole, so an interrupted run goes on where it stopped.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ibis.expr.types as ir
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from rox.core.errors import DataError
from rox.linking.within_layout import NAME, Layout, file_name, read_layout
from rox.linking.within_rows import (
    CODE,
    MONTH,
    SEGMENT,
    absent,
    ahead,
    is_number,
    month_count,
    record_batches,
    stream,
)
from rox.linking.within_sources import HasPanel, files_of

REQUEST, PARTS = "request.json", "parts"
FORMAT = 1
PART_ROWS = 20_000_000
"""Rows of a source dealt out between two points at which an interrupted run can go on."""
BUFFER_ROWS = 1 << 20
BUCKET_ROWS = 1_000_000
"""Rows in a bucket where the number of buckets is not given."""


def write_layout(
    source: HasPanel | ir.Table | str | Path | Sequence[str | Path],
    folder: str | Path,
    *,
    customer: str = "customer",
    month: str = "month",
    segment: str | None = None,
    columns: Sequence[str] | None = None,
    buckets: int | None = None,
) -> Layout:
    """Write a panel's rows into files by customer, for :func:`rox.linking.within.panel_regression`.

    Two steps, each with files that appear whole: rows are dealt out to buckets, then each bucket's customers are
    numbered. Called again after an interruption it goes on; called again when all is done it returns at once.

    Args:
        source: A linked panel or an Ibis table in the embedded engine, or Parquet files or folders of them.
        folder: Where the files go.
        customer: Column that names the customer: whole numbers or text.
        month: Column of the month: whole numbers or dates.
        segment: Column of segments that are to have month effects of their own.
        columns: Columns to keep; by default all others that hold numbers.
        buckets: Files; by default about a million rows each.

    Raises:
        DataError: Columns or paths that are not there, or a folder that holds another layout.
    """
    target = Path(folder)
    rows = _source(source)
    kept = tuple(columns) if columns is not None else rows.numbers({customer, month, segment})
    names = [customer, month, *([segment] if segment else []), *kept]
    faults = absent(names, rows.schema.names, "the source")
    numbers = rows.numbers(set())
    faults += [
        f"column {name!r} does not hold numbers" for name in kept if name in rows.schema.names and name not in numbers
    ]
    if faults:
        raise DataError("The layout cannot be written.", faults)
    count = buckets or max(1, -(-rows.total // BUCKET_ROWS))
    request = {
        "format": FORMAT,
        "source": rows.mark,
        "roles": [customer, month, segment],
        "columns": list(kept),
        "buckets": count,
    }
    if (target / NAME).exists():
        _same(target, request)
        shutil.rmtree(target / PARTS, ignore_errors=True)
        return read_layout(target)
    _claim(target, request)
    labels = _labels(rows, segment)
    for place, part in enumerate(rows.parts(names)):
        _deal(part, target / PARTS / f"{place:04d}", customer, count)
    for bucket in range(count):
        _number(target, bucket, (customer, month, segment), kept, labels)
    _finish(target, rows.total, request, labels)
    shutil.rmtree(target / PARTS, ignore_errors=True)
    return read_layout(target)


@dataclass(frozen=True, kw_only=True)
class _Rows:
    """A source of rows: its schema, its length, what tells it from others, and its parts."""

    schema: pa.Schema
    total: int
    mark: str
    paths: tuple[Path, ...] = ()
    table: ir.Table | None = None

    def numbers(self, roles: set[str | None]) -> tuple[str, ...]:
        return tuple(field.name for field in self.schema if field.name not in roles and is_number(field.type))

    def parts(self, names: Sequence[str]) -> Iterator[Iterable[pa.RecordBatch]]:
        """Give the rows in parts that are the same every time."""
        if self.table is not None:
            yield stream(self.table.select(*names))
            return
        groups: list[tuple[Path, int]] = []
        held = 0
        for path in self.paths:
            metadata = pq.ParquetFile(path).metadata
            for group in range(metadata.num_row_groups):
                groups.append((path, group))
                held += metadata.row_group(group).num_rows
                if held >= PART_ROWS:
                    yield _groups(groups, names)
                    groups, held = [], 0
        if groups:
            yield _groups(groups, names)


def _source(source: HasPanel | ir.Table | str | Path | Sequence[str | Path]) -> _Rows:
    if isinstance(source, ir.Table | HasPanel):
        table = source if isinstance(source, ir.Table) else source.panel
        if not isinstance(table, ir.Table):
            raise DataError("A layout is written from a table or from files.", ["a frame is small enough as it is"])
        backend = table.get_backend()
        if backend.name != "duckdb":
            raise DataError(
                "A layout is written from the embedded engine or from files.", ["write Parquet files first"]
            )
        mark = str(backend.compile(table)) if isinstance(source, ir.Table) else source.fingerprint
        counted = next(iter(stream(table.aggregate(rows=table.count()))))
        return _Rows(
            schema=table.schema().to_pyarrow(), total=counted.column(0)[0].as_py(), mark=_digest(mark), table=table
        )
    paths = files_of(source)
    files = [pq.ParquetFile(path) for path in paths]
    stats = [(str(path.resolve()), path.stat().st_size, path.stat().st_mtime_ns) for path in paths]
    return _Rows(
        schema=files[0].schema_arrow,
        total=sum(file.metadata.num_rows for file in files),
        mark=_digest(repr(stats)),
        paths=tuple(paths),
    )


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _groups(groups: Sequence[tuple[Path, int]], names: Sequence[str]) -> Iterator[pa.RecordBatch]:
    for path, group in groups:
        yield from record_batches([path], names, [group])


def _same(folder: Path, request: dict[str, Any]) -> None:
    where = folder / (NAME if (folder / NAME).exists() else REQUEST)
    said = json.loads(where.read_text(encoding="utf-8"))
    said = said.get("request", said)
    faults = [
        f"{name}: it holds {said.get(name)!r}, asked for was {request[name]!r}"
        for name in request
        if said.get(name) != request[name]
    ]
    if faults:
        raise DataError("The folder holds another layout; choose another folder, or empty it.", faults)


def _claim(folder: Path, request: dict[str, Any]) -> None:
    (folder / PARTS).mkdir(parents=True, exist_ok=True)
    if (folder / REQUEST).exists():
        _same(folder, request)
    for draft in (folder / PARTS).glob("draft-*"):
        shutil.rmtree(draft, ignore_errors=True)
    _write_text(folder / REQUEST, json.dumps(request))


def _write_text(path: Path, text: str) -> None:
    draft = path.with_name(f"{path.name}.{uuid.uuid4().hex}")
    draft.write_text(text, encoding="utf-8")
    draft.replace(path)


def _labels(rows: _Rows, segment: str | None) -> tuple[Any, ...]:
    if segment is None:
        return ()
    found: set[Any] = set()
    for part in rows.parts([segment]):
        for batch in part:
            found |= set(pc.unique(batch.column(0)).to_pylist())
    return tuple(sorted(found - {None}))


def _deal(part: Iterable[pa.RecordBatch], folder: Path, customer: str, buckets: int) -> None:
    """Deal the rows of a part out to one file per bucket."""
    if folder.exists():
        return
    draft = folder.with_name(f"draft-{folder.name}")
    draft.mkdir()
    with ExitStack() as open_files:
        writers: dict[int, pq.ParquetWriter] = {}
        waiting: list[list[pa.RecordBatch]] = [[] for _ in range(buckets)]
        held = 0

        def flush() -> None:
            for bucket, batches in enumerate(waiting):
                if not batches:
                    continue
                table = pa.Table.from_batches(batches)
                if bucket not in writers:
                    writer = pq.ParquetWriter(
                        draft / file_name(bucket), table.schema, compression="lz4", use_dictionary=False
                    )
                    writers[bucket] = open_files.enter_context(writer)
                writers[bucket].write_table(table)
                batches.clear()

        for batch in ahead(part):
            place = _buckets(batch.column(customer), buckets)
            order = np.argsort(place, kind="stable")
            sorted_rows = batch.take(pa.array(order))
            ends = np.cumsum(np.bincount(place, minlength=buckets))
            for bucket, end in enumerate(ends):
                start = int(ends[bucket - 1]) if bucket else 0
                if end > start:
                    waiting[bucket].append(sorted_rows.slice(start, int(end) - start))
            held += batch.num_rows
            if held >= BUFFER_ROWS:
                flush()
                held = 0
        flush()
    draft.rename(folder)


def _buckets(customer: pa.Array, buckets: int) -> NDArray[np.uint16]:
    """Hash customers to buckets; a missing one goes anywhere, as it is dropped later."""
    if pa.types.is_integer(customer.type):
        number = pc.fill_null(customer, 0).to_numpy(zero_copy_only=False).astype(np.int64).view(np.uint64)
        mixed = (number * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(32)
    else:
        mixed = pd.util.hash_array(np.asarray(customer.to_pandas(), dtype=object), categorize=True)
    return np.asarray((mixed % np.uint64(buckets)).astype(np.uint16))


def _number(
    folder: Path, bucket: int, roles: tuple[str, str, str | None], columns: Sequence[str], labels: Sequence[Any]
) -> None:
    """Number the customers of a bucket and write its file."""
    target = folder / file_name(bucket)
    if target.exists():
        return
    customer, month, segment = roles
    found = [path for path in sorted((folder / PARTS).glob(f"[0-9]*/{file_name(bucket)}"))]
    if not found:
        return
    table = pa.concat_tables([pq.read_table(path, partitioning=None) for path in found])
    there = pc.and_(table[customer].is_valid(), table[month].is_valid())
    if segment is not None:
        there = pc.and_(there, table[segment].is_valid())
    table = table.filter(there)
    code, _ = pd.factorize(table[customer].to_pandas())
    out = {CODE: pa.array(code.astype(np.int32)), MONTH: pa.array(_months(table[month]))}
    if segment is not None:
        place = pd.Series(range(len(labels)), index=pd.Index(labels))
        out[SEGMENT] = pa.array(table[segment].to_pandas().map(place).to_numpy(dtype=np.int32))
    out |= {name: table[name] for name in columns}
    draft = folder / PARTS / f"{uuid.uuid4().hex}.parquet"
    pq.write_table(pa.table(out), draft, compression="lz4", use_dictionary=[MONTH], row_group_size=1 << 18)
    draft.replace(target)


def _months(column: pa.ChunkedArray) -> NDArray[np.int32]:
    if pa.types.is_temporal(column.type):
        year, month = (part(column).to_numpy().astype(np.int32) for part in (pc.year, pc.month))
        return np.asarray(12 * year + month - 1)
    return np.asarray(column.to_numpy()).astype(np.int32)


def _finish(folder: Path, rows: int, request: dict[str, Any], labels: Sequence[Any]) -> None:
    customers, lengths, months = [], [], []
    for bucket in range(request["buckets"]):
        path = folder / file_name(bucket)
        length, count = 0, 0
        if path.exists():
            table = pq.read_table(path, columns=[CODE, MONTH])
            length, count = table.num_rows, 1 + (pc.max(table[CODE]).as_py() if table.num_rows else -1)
            months += [pc.min_max(table[MONTH]).as_py()] if length else []
        lengths.append(length)
        customers.append(count)
    if not months:
        raise DataError("The panel has no rows with a customer and a month.")
    first, final = min(m["min"] for m in months), max(m["max"] for m in months)
    said = {
        "request": request,
        "rows": rows,
        "customers": customers,
        "lengths": lengths,
        "first_month": first,
        "months": month_count(first, final),
        "segments": list(labels),
    }
    _write_text(folder / NAME, json.dumps(said, indent=1))
