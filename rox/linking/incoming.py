"""Tables that are not files: queries in a database and frames. Each is brought here as Parquet first."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterable
from importlib import import_module
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from rox.core.errors import DataError
from rox.core.study import Study
from rox.linking.engine import Engine
from rox.linking.engine_duckdb import read_database
from rox.linking.sources import source_of_query

Write = Callable[[pa.RecordBatchReader], None]
READABLE = (
    pa.types.is_string,
    pa.types.is_large_string,
    pa.types.is_integer,
    pa.types.is_floating,
    pa.types.is_decimal,
    pa.types.is_boolean,
    pa.types.is_date,
    pa.types.is_timestamp,
    pa.types.is_null,
)


def query_as_file(engine: Engine, study: Study, connection: str, query: str) -> Path:
    """Run a query in a database of the study and write its rows to a Parquet file.

    Args:
        engine: Whose folder the file goes to.
        study: Where the database is declared.
        connection: Its name there.
        query: What to run.

    Raises:
        DataError: The database cannot be opened, or refuses the query; a column that cannot be read.
    """
    declared = study.connections[connection]
    path = _new_file(engine)
    source_of_query(query)
    query = query.strip().rstrip(";")

    def write(batches: pa.RecordBatchReader) -> None:
        _write(path, batches.schema, batches)

    try:
        if declared.path is not None:
            read_database(study.files(declared.path)[0], query, write, engine.memory_limit)
        else:
            _read_server(str(declared.url_env), query, write)
    except DataError as cause:
        said = " ".join([cause.headline, *cause.faults])
        raise DataError("A query cannot be run.", [f"connections.{connection} · {said}"]) from cause
    return path


def frame_as_file(engine: Engine, frame: pd.DataFrame) -> Path:
    """Write a frame to a Parquet file; NaN is a missing value.

    Raises:
        DataError: Columns without a name of their own, or with values of several types.
    """
    names = list(frame.columns)
    faults = [f"column {name!r}: its name must be text" for name in names if not isinstance(name, str)]
    faults += [f"two columns are called {name!r}" for name in dict.fromkeys(names) if names.count(name) > 1]
    columns = {}
    for place, name in enumerate(names):
        try:
            columns[name] = pa.array(frame.iloc[:, place], from_pandas=True)
        except (pa.ArrowException, OverflowError):
            faults.append(f"{name} · values of several types, or of one that is not read; give the column one type")
    if faults:
        raise DataError("The frame cannot be read.", faults)
    table = pa.table(columns)
    path = _new_file(engine)
    _write(path, table.schema, table.to_batches())
    return path


def _read_server(variable: str, query: str, write: Write) -> None:
    url = os.environ.get(variable)
    if not url:
        raise DataError(
            "The address of the server is missing.",
            [f"set the environment variable {variable} to postgresql://user:password@host:5432/database"],
        )
    try:
        server = import_module("rox.linking.engine_postgres")
    except ModuleNotFoundError as cause:
        raise DataError(
            "PostgreSQL cannot be read: its driver is not installed.", ["pip install 'rox-research[postgres]'"]
        ) from cause
    server.read_server(url, query, write)


def _new_file(engine: Engine) -> Path:
    return engine.folder / f"incoming-{uuid.uuid4().hex}.parquet"


def _write(path: Path, schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> None:
    """Write batches one by one, in plain types: text, numbers, truth, dates and instants."""
    plain = pa.schema([pa.field(field.name, _plain_type(field.type)) for field in schema])
    faults = [
        f"{field.name} · {field.type} is not read; cast the column to text, a number or a date"
        for field in plain
        if not any(is_of(field.type) for is_of in READABLE)
    ]
    if faults:
        raise DataError("A column cannot be read.", faults)
    with pq.ParquetWriter(path, plain) as file:
        for batch in batches:
            columns = [_plain(column, kind.type) for column, kind in zip(batch.columns, plain, strict=True)]
            file.write_batch(pa.RecordBatch.from_arrays(columns, schema=plain))


def _plain_type(kind: pa.DataType) -> pa.DataType:
    if kind.equals(pa.uuid()):
        return pa.string()
    if isinstance(kind, pa.BaseExtensionType):
        return _plain_type(kind.storage_type)
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _plain(column: pa.Array, kind: pa.DataType) -> pa.Array:
    if column.type.equals(pa.uuid()):
        return pa.array([None if value is None else str(value) for value in column.to_pylist()], kind)
    return (column.storage if isinstance(column, pa.ExtensionArray) else column).cast(kind)
