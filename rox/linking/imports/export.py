"""An export as it stands: its first rows, and all of it as text in the engine."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import ibis.expr.types as ir

from rox.core.errors import DataError
from rox.core.study import file_and_sheet
from rox.linking.engine import Engine, literal
from rox.linking.imports.layout import Layout
from rox.linking.sources import (
    CSV_SUFFIXES,
    FILE,
    PARQUET_SUFFIXES,
    ROW,
    SHEET_SUFFIXES,
    as_utf8,
    delimiter_of,
    source_of_files,
    text_of_csv,
    written_rows,
)
from rox.linking.workbooks import rows_of

HEAD_ROWS = 200


@dataclass(frozen=True, kw_only=True)
class Export:
    """A file to import.

    Attributes:
        path: The file.
        sheet: The sheet of a workbook.
        readable: The file, or its copy in UTF-8.
        delimiter: Of a CSV file.
        head: The first rows as text.
    """

    path: Path
    sheet: str | None
    readable: Path
    delimiter: str
    head: tuple[tuple[str, ...], ...]

    @property
    def kind(self) -> str:
        """How its name ends."""
        return self.path.suffix.lower()


def open_export(engine: Engine, place: str) -> Export:
    """Open a CSV file, a sheet of a workbook (``crm.xlsx#Ledger``) or a Parquet file.

    Raises:
        DataError: It is not there, or cannot be read.
    """
    name, sheet = file_and_sheet(place)
    path = Path(name)
    if not path.is_file():
        raise DataError(f"There is no file {path}.", ["give the path of the export"])
    kind = path.suffix.lower()
    readable, delimiter = path, ","
    try:
        if kind in SHEET_SUFFIXES:
            head = [[text or "" for text in texts] for _, texts in islice(rows_of(path, sheet), HEAD_ROWS)]
        elif kind in CSV_SUFFIXES:
            readable = as_utf8(engine, path)
            delimiter, head = _csv_head(readable)
        elif kind in PARQUET_SUFFIXES:
            head = [_parquet_names(engine, path)]
        else:
            source_of_files(engine, [path], name)
            head = []
    except DataError as cause:
        raise DataError(f"{path.name} cannot be read.", cause.faults or [cause.headline]) from None
    if not head or not any(head[0]):
        raise DataError(f"{path.name} cannot be read.", ["the file is empty, or its first row is blank"])
    width = len(head[0]) if kind in CSV_SUFFIXES else max(map(len, head))
    return Export(
        path=path,
        sheet=sheet,
        readable=readable,
        delimiter=delimiter,
        head=tuple(tuple([*row, *[""] * (width - len(row))][:width]) for row in head),
    )


def _csv_head(path: Path) -> tuple[str, list[list[str]]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        first = file.readline()
        file.seek(0)
        delimiter = delimiter_of(first)
        try:
            return delimiter, list(islice(csv.reader(file, delimiter=delimiter), HEAD_ROWS))
        except csv.Error:
            raise DataError("unreadable", ["a value is longer than a cell can be; are quotes closed?"]) from None


def _parquet_names(engine: Engine, path: Path) -> list[str]:
    table = engine.relation(source_of_files(engine, [path], path.name).sql)
    return [name for name in table.columns if name not in (FILE, ROW)]


def text_of(engine: Engine, export: Export, layout: Layout) -> ir.Table:
    """Read the rows below the header into the engine, under the names of the layout, each with its number.

    Raises:
        DataError: Rows that do not fit the header.
    """
    if export.kind in PARQUET_SUFFIXES:
        raw = engine.relation(source_of_files(engine, [export.path], export.path.name).sql)
        return engine.stage(raw.drop(FILE), "export")
    if export.kind in SHEET_SUFFIXES:
        width = len(layout.names)
        rows = islice(rows_of(export.path, export.sheet), layout.header_rows, None)
        even = ((number, [*texts[:width], *[None] * (width - len(texts))]) for number, texts in rows)
        copy = written_rows(engine, layout.names, even)
        return engine.stage(engine.relation(f"SELECT * FROM read_parquet({literal(str(copy))})"), "export")
    text = text_of_csv(export.readable, export.delimiter, layout.names, header_rows=layout.header_rows)
    before = 1 if layout.header_rows == 1 else 0
    raw = engine.relation(f"SELECT row_number() OVER () + {before} AS {ROW}, * FROM {text}")
    table = engine.stage(raw.filter(raw[ROW] > layout.header_rows), "export")
    if rejected := engine.rejected_lines():
        _, count, lines = rejected[0]
        shown = ", ".join(map(str, lines))
        raise DataError(
            f"{export.path.name} cannot be read.",
            [f"{count:,} lines do not fit the {len(layout.names)} columns of the header, first at line {shown}"],
        )
    return table
