"""The engine: DuckDB reads and types the sources, and what was chosen computes, through the same Ibis expressions."""

from __future__ import annotations

import hashlib
import re
import shutil
import threading
import weakref
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module, metadata
from pathlib import Path
from typing import Any, Protocol

import ibis
import ibis.expr.operations as ops
import ibis.expr.types as ir
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from rox.core.errors import DataError
from rox.core.study import EngineOptions
from rox.linking.engine_duckdb import DuckDB, literal, open_duckdb, quoted
from rox.linking.engine_folders import draft_in, own_folder, publish
from rox.linking.remembered import Remembered

__all__ = ["Engine", "connect", "literal", "quoted"]

EXACT_IN_FLOAT = 2**53
LOWER_HALF = 2**64 - 1
COMPUTE = ("rox-research", "ibis-framework", "duckdb")


class Worker(Protocol):
    """What computes: DuckDB or Spark."""

    @property
    def name(self) -> str:
        """What it is."""

    @property
    def backend(self) -> Any:
        """The Ibis backend."""

    def table(self, path: Path, name: str, schema: Any) -> ir.Table:
        """Return Parquet as a table."""

    def sql(self, expression: ir.Table) -> str:
        """Return the SQL of an expression."""

    def arrow(self, expression: ir.Table) -> pa.Table:
        """Run an expression and return its rows."""

    def write(self, expression: ir.Table, path: Path) -> None:
        """Compute an expression into Parquet."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Engine:
    """Where a study is computed, with a folder for what is computed once.

    A stage is a table that was computed into Parquet. Stages made from a source are computed by the reader, those made
    from other stages by the worker; on DuckDB the two are the same.

    Attributes:
        reader: The embedded DuckDB that reads and types every source.
        worker: What computes.
        folder: Temporary folder, removed with the engine.
        drafts: Where a stage is written until it is whole.
        memory_limit: Of the reader; above it, work goes through the temporary folder.
        keep: Where finished stages stay; without it they go with the temporary folder.
        lock: One statement at a time: a connection is not safe to share between threads.
        stages: What was computed, by name.
        paths: Where it lies.
        keys: The digest of what each stage was computed from, where stages are kept.
        digests: What was hashed, by name and query.
        remembered: Small answers to questions about stages.
    """

    reader: DuckDB
    worker: Worker
    folder: Path
    drafts: Path
    memory_limit: str
    keep: Path | None = None
    lock: threading.RLock = field(default_factory=threading.RLock)
    stages: dict[str, ir.Table] = field(default_factory=dict)
    paths: dict[str, Path] = field(default_factory=dict)
    keys: dict[str, str] = field(default_factory=dict)
    digests: dict[tuple[str, str], str] = field(default_factory=dict)
    remembered: Remembered = field(default_factory=Remembered)

    def relation(self, sql: str) -> ir.Table:
        """Return the lazy table of a SQL query over sources.

        Raises:
            DataError: The query cannot be compiled.
        """
        with self.lock:
            return self.reader.relation(sql)

    def view(self, name: str, sql: str) -> None:
        """Give a query over sources a name that other queries can use."""
        with self.lock:
            self.reader.view(name, sql)

    def stage(self, expression: ir.Table, name: str, of: str | None = None) -> ir.Table:
        """Compute a table once and keep it; a name that is kept already is not computed again.

        Args:
            expression: What to compute.
            name: Of the stage.
            of: Digest of what a source holds, which the expression itself does not tell.

        Raises:
            DataError: The computation failed.
        """
        with self.lock:
            if name not in self.stages:
                key = self._key(expression, of) if self.keep is not None else ""
                path = self._computed(expression, name, key)
                self.keys[name], self.paths[name] = key, path
                self.stages[name] = self.worker.table(path, name, expression.schema())
            return self.stages[name]

    def sql(self, expression: ir.Table) -> str:
        """Return the SQL of an expression."""
        return self._home(expression).sql(expression)

    def fetch(self, expression: ir.Table) -> pd.DataFrame:
        """Run an expression.

        Returns:
            Integers as ``int64``; with missing values as ``float64`` where that is exact, else as ``Int64``. Numbers
            as ``float64``, decimals as ``object``, dates as ``datetime64[ns]``, text as ``object`` with None where
            missing.

        Raises:
            DataError: The computation failed.
        """
        expression = expression.as_table()
        with self.lock:
            if (known := self.remembered.answer(expression)) is not None:
                return known
            rows = self._home(expression).arrow(expression)
            kinds = expression.schema()
            found = pd.DataFrame({name: _series(rows.column(name), kinds[name]) for name in kinds})
            self.remembered.keep(expression, found)
        return found

    def digest(self, table: ir.Table, name: str) -> str:
        """Return SHA-256 of the contents of a table made from stages, whatever the order of its rows.

        Each row's text, with the length of every value before it, is hashed; the hashes are summed as integers, so that
        neither order nor the number of threads matters and repeated rows count. It is always the reader that hashes,
        because engines write one number as different texts: so the digest of the same data is the same everywhere.
        """
        with self.lock:
            near = self.reader.sql(self._at_reader(table))
            if (name, near) not in self.digests:
                columns = sorted(table.columns)
                parts = [
                    f"coalesce(strlen(t.{quoted(c)}::VARCHAR)::VARCHAR || ':' || t.{quoted(c)}::VARCHAR, '-')"
                    for c in columns
                ]
                row = f"concat_ws('|', {', '.join(parts)})"
                found = self.reader.row(
                    f"SELECT count(*), sum((m >> 64)::HUGEINT), sum((m & {LOWER_HALF})::HUGEINT) "
                    f"FROM (SELECT md5_number({row}) AS m FROM ({near}) AS t)"
                )
                self.digests[name, near] = hashlib.sha256(repr((name, columns, found)).encode()).hexdigest()
            return self.digests[name, near]

    def rejected_lines(self) -> list[tuple[str, int, list[int]]]:
        """List, by CSV file, how many lines could not be split into the columns of the header, and the first three."""
        with self.lock:
            return self.reader.rejected_lines()

    def _home(self, expression: ir.Table) -> Worker:
        """Say who computes an expression: the one who has its tables."""
        return self.reader if expression.get_backend() is self.reader.backend else self.worker

    def _computed(self, expression: ir.Table, name: str, key: str) -> Path:
        """Return where a stage lies, after computing it unless it is kept from before."""
        stem = re.sub(r"\W", "_", name)
        temporary = self.folder / f"{stem}.parquet"
        kept = temporary if self.keep is None else self.keep / f"{stem}-{key[:32]}.parquet"
        if kept.exists():
            return kept
        before = self.reader.rejected_lines()
        with draft_in(self.drafts) as draft:
            self._home(expression).write(expression, draft)
            if self.reader.rejected_lines() != before:
                shutil.move(draft, temporary)
                return temporary
            publish(draft, kept)
        return kept

    def _key(self, expression: ir.Table, of: str | None) -> str:
        """Digest what a stage is computed from: the expression, its tables, the source, the engine, and the code."""
        names = {table.op(): name for name, table in self.stages.items()}
        used = {names[node]: node for node in expression.op().find(ops.DatabaseTable) if node in names}
        swap = {node: ibis.table(node.schema, name=self.keys[name]).op() for name, node in used.items()}
        query = expression.op().replace(swap).to_expr()
        how = of if of is not None else str(ibis.to_sql(query, dialect="duckdb"))
        parts = (how, list(expression.schema().items()), self._home(expression).name, _versions(), _code())
        return hashlib.sha256(repr(parts).encode()).hexdigest()

    def _at_reader(self, table: ir.Table) -> ir.Table:
        """Return the same expression over the same stages as the reader sees them."""
        if self.worker is self.reader:
            return table
        stages = {each.op(): name for name, each in self.stages.items()}
        swap = {
            node: self.reader.table(self.paths[stages[node]], stages[node], node.schema).op()
            for node in table.op().find(ops.DatabaseTable)
        }
        return table.op().replace(swap).to_expr()


def connect(*, timezone: str = "UTC", options: EngineOptions | None = None, base: Path | None = None) -> Engine:
    """Open an engine.

    Args:
        timezone: The zone in which an instant becomes a date.
        options: Which engine, and with what; by default DuckDB.
        base: The folder that the options' paths are relative to.

    Raises:
        DataError: The engine does not open; the message says what is missing.
    """
    options = options or EngineOptions()
    base = Path() if base is None else base
    limit = options.memory_limit
    keep = None if options.keep is None else (base / options.keep).resolve()
    temp = None if options.temp_folder is None else (base / options.temp_folder).resolve()
    where = keep if temp is None and options.is_elsewhere else temp
    with ExitStack() as leaving:
        folder = own_folder(where, "engine.temp_folder", leaving)
        drafts = folder if keep is None else own_folder(keep, "engine.keep", leaving)
        reader = open_duckdb(timezone=timezone, memory_limit=limit, threads=options.threads, spill=folder / "spill")
        worker: Worker = reader if options.kind == "duckdb" else _spark(options, limit, temp)
        engine = Engine(reader=reader, worker=worker, folder=folder, drafts=drafts, memory_limit=limit, keep=keep)
        weakref.finalize(engine, leaving.pop_all().close)
    return engine


def _spark(options: EngineOptions, memory_limit: str, temp: Path | None) -> Worker:
    try:
        spark = import_module("rox.linking.engine_spark")
    except ModuleNotFoundError as cause:
        raise DataError(
            "This study asks for Spark, which is not installed.",
            ["pip install 'rox-research[spark]', and Java 17 or 21; or leave out engine.kind for DuckDB"],
        ) from cause
    opened: Worker = spark.open_spark(options, memory_limit=memory_limit, temp=temp)
    return opened


@cache
def _versions() -> Mapping[str, str]:
    return {name: metadata.version(name) for name in COMPUTE}


@cache
def _code() -> str:
    """Hash the code of this room, which decides how a source is read."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _series(column: pa.ChunkedArray, kind: Any) -> pd.Series[Any]:
    if kind.is_integer():
        column = column.cast(pa.int64())
        if not column.null_count:
            return pd.Series(column.to_numpy(), dtype="int64")
        reach = pc.max(pc.abs(column)).as_py() or 0
        whole = pd.Series(column.to_pandas(integer_object_nulls=True), dtype="Int64")
        return whole.astype("float64") if reach <= EXACT_IN_FLOAT else whole
    if kind.is_floating():
        return pd.Series(column.cast(pa.float64()).to_pandas(), dtype="float64")
    if kind.is_date() or kind.is_timestamp():
        return pd.Series(column.cast(pa.timestamp("ns")).to_pandas(), dtype="datetime64[ns]")
    return pd.Series(column.to_pandas())
