"""The engine: one embedded DuckDB behind Ibis, and the only module that imports a backend."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
import threading
import weakref
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import ibis
import ibis.expr.types as ir
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from rox.core.errors import DataError

EXACT_IN_FLOAT = 2**53
SHOWABLE = (
    duckdb.BinderException,
    duckdb.CatalogException,
    duckdb.ParserException,
    duckdb.SyntaxException,
    duckdb.OutOfMemoryException,
)
"""Faults whose message speaks of the SQL or of memory; the others may quote a row of the data and are not shown."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Engine:
    """A connection with a folder for what does not fit into memory.

    Attributes:
        backend: The Ibis backend.
        folder: Temporary folder, removed with the engine.
        lock: One statement at a time: a connection is not safe to share between threads.
        stages: What was computed and kept, by name.
        digests: What was hashed, by name and query.
    """

    backend: Any
    folder: Path
    lock: threading.RLock = field(default_factory=threading.RLock)
    stages: dict[str, ir.Table] = field(default_factory=dict)
    digests: dict[tuple[str, str], str] = field(default_factory=dict)

    def relation(self, sql: str) -> ir.Table:
        """Return the lazy table of a SQL query.

        Raises:
            DataError: The query cannot be compiled.
        """
        with self.lock:
            return self._guarded(lambda: self.backend.sql(sql, dialect="duckdb"))

    def view(self, name: str, sql: str) -> None:
        """Give a query a name that other queries can use."""
        with self.lock:
            self._guarded(lambda: self.backend.raw_sql(f"CREATE VIEW {quoted(name)} AS {sql}"))

    def stage(self, expression: ir.Table, name: str) -> ir.Table:
        """Compute a table once and keep it; a name that is kept already is not computed again.

        Raises:
            DataError: The computation failed.
        """
        with self.lock:
            if name not in self.stages:
                sql = f"CREATE TABLE rox.{quoted(name)} AS {self.sql(expression)}"
                self._guarded(lambda: self.backend.raw_sql(sql))
                self.stages[name] = self.backend.table(name, database="rox")
            return self.stages[name]

    def sql(self, expression: ir.Table) -> str:
        """Return the SQL of an expression."""
        return str(self.backend.compile(expression))

    def fetch(self, expression: ir.Table) -> pd.DataFrame:
        """Run an expression.

        Returns:
            Integers as ``int64``; with missing values as ``float64`` where that is exact, else as ``Int64``. Numbers
            as ``float64``, dates as ``datetime64[ns]``, text as ``object`` with None where missing.

        Raises:
            DataError: The computation failed.
        """
        expression = expression.as_table()
        with self.lock:
            found = self._guarded(lambda: self.backend.con.sql(self.sql(expression)).to_arrow_table())
        kinds = expression.schema()
        return pd.DataFrame({name: _series(found.column(name), kinds[name]) for name in kinds})

    def digest(self, table: ir.Table, name: str) -> str:
        """Return SHA-256 of the contents of a staged table, whatever the order of its rows.

        Each row's text, with the length of every value before it, is hashed; the hashes are summed as integers, so that
        neither order nor the number of threads matters and repeated rows count.
        """
        query = self.sql(table)
        if (name, query) in self.digests:
            return self.digests[name, query]
        columns = sorted(table.columns)
        parts = [
            f"coalesce(strlen(t.{quoted(c)}::VARCHAR)::VARCHAR || ':' || t.{quoted(c)}::VARCHAR, '-')" for c in columns
        ]
        row = f"concat_ws('|', {', '.join(parts)})"
        sums = ", ".join(f"sum(md5_number_{half}({row})::HUGEINT)" for half in ("lower", "upper"))
        sql = f"SELECT count(*), {sums} FROM ({query}) AS t"
        with self.lock:
            found = self._guarded(lambda: self.backend.con.execute(sql).fetchone())
        self.digests[name, query] = hashlib.sha256(repr((name, columns, found)).encode()).hexdigest()
        return self.digests[name, query]

    def rejected_lines(self) -> list[tuple[str, int, list[int]]]:
        """List, by CSV file, how many lines could not be split into the columns of the header, and the first three."""
        with self.lock:
            known = self.backend.con.execute(
                "SELECT count(*) FROM information_schema.tables WHERE table_name = 'reject_errors'"
            ).fetchone()
            if not known[0]:
                return []
            found = self.backend.con.execute(
                "SELECT s.file_path, count(DISTINCT e.line), list_sort(list(DISTINCT e.line))[:3] "
                "FROM reject_errors AS e JOIN reject_scans AS s USING (scan_id, file_id) GROUP BY 1 ORDER BY 1"
            ).fetchall()
        return [(path, int(count), [int(line) for line in lines]) for path, count, lines in found]

    def _guarded(self, run: Any) -> Any:
        try:
            return run()
        except SHOWABLE as cause:
            first = next((line.strip() for line in str(cause).splitlines() if line.strip()), "")
            raise DataError("The engine refused a query.", [first]) from cause
        except duckdb.Error as cause:
            raise DataError(f"The engine failed on the data ({type(cause).__name__}).") from None


def connect(*, timezone: str = "UTC", memory_limit: str = "4GB") -> Engine:
    """Open an embedded engine.

    Args:
        timezone: The zone in which an instant becomes a date.
        memory_limit: Above it, work goes through the temporary folder.
    """
    folder = Path(tempfile.mkdtemp(prefix="rox-"))
    backend = ibis.duckdb.connect(":memory:", memory_limit=memory_limit, temp_directory=str(folder / "spill"))
    backend.raw_sql(f"SET TimeZone = {literal(timezone)}")
    # In Jupyter without ipywidgets the bar is off, and touching the setting is an error.
    if backend.raw_sql("SELECT current_setting('enable_progress_bar')").fetchone()[0]:
        backend.raw_sql("SET enable_progress_bar = false")
    backend.raw_sql("CREATE SCHEMA rox")
    engine = Engine(backend=backend, folder=folder)
    weakref.finalize(engine, shutil.rmtree, folder, ignore_errors=True)
    return engine


def quoted(name: str) -> str:
    """Write a name as a SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """Write a text as a SQL literal."""
    return "'" + text.replace("'", "''") + "'"


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
