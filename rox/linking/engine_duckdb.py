"""DuckDB in this process: it reads and types every source, and computes unless a study asks for another engine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import duckdb
import ibis
import ibis.expr.operations as ops
import ibis.expr.types as ir
import pyarrow as pa

from rox.core.errors import DataError
from rox.linking.statements import statement

SHOWABLE = (
    duckdb.BinderException,
    duckdb.CatalogException,
    duckdb.ParserException,
    duckdb.SyntaxException,
    duckdb.OutOfMemoryException,
)
"""Faults whose message speaks of the SQL or of memory; the others may quote a row of the data and are not shown."""

BATCH_ROWS = 100_000
Answer = TypeVar("Answer")


@dataclass(frozen=True, kw_only=True, eq=False)
class DuckDB:
    """An embedded DuckDB behind Ibis.

    Attributes:
        backend: The Ibis backend.
        name: Of this engine.
    """

    backend: Any
    name: str = "duckdb"

    def relation(self, sql: str) -> ir.Table:
        """Return the lazy table of a SQL query.

        Raises:
            DataError: The query cannot be compiled.
        """
        return guarded(lambda: self.backend.sql(sql, dialect="duckdb"))

    def view(self, name: str, sql: str) -> None:
        """Give a query a name that other queries can use."""
        guarded(lambda: self.backend.raw_sql(f"CREATE VIEW {quoted(name)} AS {sql}"))

    def table(self, path: Path, name: str, schema: Any) -> ir.Table:
        """Return a Parquet file, or a folder of them, as a table; ``schema`` is what it was written with."""
        files = literal(str(path / "*.parquet" if path.is_dir() else path))
        sql = f"CREATE OR REPLACE VIEW rox.{quoted(name)} AS SELECT * FROM read_parquet({files})"
        guarded(lambda: self.backend.raw_sql(sql))
        return self.backend.table(name, database="rox")

    def sql(self, expression: ir.Table) -> str:
        """Return the SQL of an expression."""
        return statement(expression)

    def arrow(self, expression: ir.Table) -> pa.Table:
        """Run an expression and return its rows.

        Raises:
            DataError: The computation failed.
        """
        # Frames in the expression become views.
        self.backend._run_pre_execute_hooks(expression)
        return guarded(lambda: self.backend.con.sql(self.sql(expression)).to_arrow_table())

    def row(self, sql: str) -> tuple[Any, ...]:
        """Run SQL and return the first row.

        Raises:
            DataError: The computation failed.
        """
        found: tuple[Any, ...] = guarded(lambda: self.backend.con.execute(sql).fetchone())
        return found

    def write(self, expression: ir.Table, path: Path) -> None:
        """Compute an expression into a Parquet file, the columns in the types that the expression says.

        Rows that a source numbers by their place keep it, because the user is told the number; others need not, which
        bounds the memory it takes.

        Raises:
            DataError: The computation failed.
        """
        in_order = any("row_number()" in source.query for source in expression.op().find(ops.SQLQueryResult))
        to_type = self.backend.compiler.type_mapper.to_string
        columns = ", ".join(
            f"CAST({quoted(name)} AS {to_type(kind)}) AS {quoted(name)}" for name, kind in expression.schema().items()
        )
        copy = f"COPY (SELECT {columns} FROM ({self.sql(expression)})) TO {literal(str(path))} (FORMAT parquet)"

        def run() -> None:
            self.backend.raw_sql(f"SET preserve_insertion_order = {in_order}")
            self.backend.raw_sql(copy)

        guarded(run)

    def rejected_lines(self) -> list[tuple[str, int, list[int]]]:
        """List, by CSV file, how many lines could not be split into the columns of the header, and the first three."""
        if not self.row("SELECT count(*) FROM information_schema.tables WHERE table_name = 'reject_errors'")[0]:
            return []
        found = self.backend.con.execute(
            "SELECT s.file_path, count(DISTINCT e.line), list_sort(list(DISTINCT e.line))[:3] "
            "FROM reject_errors AS e JOIN reject_scans AS s USING (scan_id, file_id) GROUP BY 1 ORDER BY 1"
        ).fetchall()
        return [(path, int(count), [int(line) for line in lines]) for path, count, lines in found]


def open_duckdb(*, timezone: str, memory_limit: str, threads: int | None, spill: Path) -> DuckDB:
    """Open an embedded DuckDB.

    Args:
        timezone: The zone in which an instant becomes a date.
        memory_limit: Above it, work goes through a folder.
        threads: How many it may use; by default as many as there are cores.
        spill: That folder.

    Raises:
        DataError: DuckDB refuses a setting.
    """
    options: dict[str, Any] = {"memory_limit": memory_limit, "temp_directory": str(spill)}
    if threads is not None:
        options["threads"] = threads
    backend = guarded(lambda: ibis.duckdb.connect(":memory:", **options))
    backend.raw_sql(f"SET TimeZone = {literal(timezone)}")
    # In Jupyter without ipywidgets the bar is off, and touching the setting is an error.
    if backend.raw_sql("SELECT current_setting('enable_progress_bar')").fetchone()[0]:
        backend.raw_sql("SET enable_progress_bar = false")
    backend.raw_sql("CREATE SCHEMA rox")
    return DuckDB(backend=backend)


def read_database(path: Path, query: str, write: Callable[[pa.RecordBatchReader], None], memory_limit: str) -> None:
    """Run a query in a DuckDB file and hand its rows over in batches.

    Raises:
        DataError: The file cannot be opened, or it refuses the query.
    """
    try:
        database = duckdb.connect(str(path), read_only=True, config={"memory_limit": memory_limit})
    except duckdb.Error as cause:
        raise DataError(
            "The database cannot be opened.",
            [f"{path.name}: is it a DuckDB file, and does no other process write to it? ({type(cause).__name__})"],
        ) from cause
    with database:
        found = guarded(lambda: database.sql(query))
        if found is None:
            raise DataError("The query gives no rows.", ["a SELECT is needed"])
        guarded(lambda: write(found.to_arrow_reader(BATCH_ROWS)))


def guarded(run: Callable[[], Answer]) -> Answer:
    """Run, and turn a fault of DuckDB into one that shows no data.

    Raises:
        DataError: It failed.
    """
    try:
        return run()
    except SHOWABLE as cause:
        first = next((line.strip() for line in str(cause).splitlines() if line.strip()), "")
        raise DataError("The engine refused a query.", [first]) from cause
    except duckdb.Error as cause:
        raise DataError(f"The engine failed on the data ({type(cause).__name__}).") from None


def quoted(name: str) -> str:
    """Write a name as a SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """Write a text as a SQL literal."""
    return "'" + text.replace("'", "''") + "'"
