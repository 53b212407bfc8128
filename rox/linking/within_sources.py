"""What a panel can be given as: Parquet files, folders of them, and tables of an engine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import ibis.expr.types as ir
import pandas as pd
import pyarrow as pa

from rox.core.errors import DataError
from rox.linking.within_rows import stream


@runtime_checkable
class HasPanel(Protocol):
    """What was linked: a lazy panel or a frame, what runs queries over it, and what tells it from others."""

    @property
    def panel(self) -> Any:
        """The panel."""

    @property
    def fetch(self) -> Callable[[Any], pd.DataFrame]:
        """Runs a query."""

    @property
    def fingerprint(self) -> str:
        """Digest of all it was made from."""


def files_of(source: str | Path | Sequence[str | Path]) -> list[Path]:
    """List the Parquet files of a path, or of several.

    Raises:
        DataError: A path that is not there, or a folder without Parquet files.
    """
    given = [Path(source)] if isinstance(source, str | Path) else [Path(each) for each in source]
    found: list[Path] = []
    faults = []
    for path in given:
        inside = sorted(path.rglob("*.parquet")) if path.is_dir() else [path] if path.exists() else []
        if not inside:
            faults.append(f"{path}: no Parquet file is there")
        found += inside
    if faults or not found:
        raise DataError("The panel cannot be read.", faults or ["no path was given"])
    return found


def table_of(paths: Sequence[Path]) -> tuple[ir.Table, Callable[[ir.Table], pd.DataFrame]]:
    """Give Parquet files as a table of an embedded engine, with what runs its queries."""
    engine = _engine()
    listed = ", ".join("'" + str(path).replace("'", "''") + "'" for path in paths)
    return engine.relation(f"SELECT * FROM read_parquet([{listed}])"), engine.fetch


def fetch_from(table: ir.Table) -> Callable[[ir.Table], pd.DataFrame]:
    """Return what runs queries over a table of the embedded engine.

    Raises:
        DataError: The table lives elsewhere.
    """
    backend: Any = table.get_backend()
    if backend.name != "duckdb":
        raise DataError(
            "This table does not live in the embedded engine.",
            ["give fetch=, which runs an Ibis table and returns a frame"],
        )

    def fetch(query: ir.Table) -> pd.DataFrame:
        query = query.as_table()
        batches = list(stream(query)) or [pa.RecordBatch.from_pylist([], schema=query.schema().to_pyarrow())]
        frame: pd.DataFrame = pa.Table.from_batches(batches, schema=batches[0].schema).to_pandas()
        return frame

    return fetch


@cache
def _engine() -> Any:
    """Open one engine for all files, and load it only when one is needed: files are mostly read without."""
    return import_module("rox.linking.engine").connect()
