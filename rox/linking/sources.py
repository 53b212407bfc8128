"""Files as SQL relations: CSV and sheets of workbooks as text, whatever the encoding, and Parquet as it is typed."""

from __future__ import annotations

import codecs
import csv
import io
import re
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from rox.core.errors import DataError
from rox.core.study import file_and_sheet
from rox.linking.engine import Engine, literal
from rox.linking.workbooks import Row, check_names, table_of

ROW = "rox_row"
FILE = "rox_file"
ENCODINGS = ("utf-8-sig", "gb18030")
MARKS = {codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
CHUNK = 1 << 20
ROWS_AT_ONCE = 50_000
CSV_SUFFIXES = (".csv", ".tsv", ".txt")
PARQUET_SUFFIXES = (".parquet", ".pq")
SHEET_SUFFIXES = (".xlsx", ".xlsm")
DIGEST = r"\b(md5\w*|sha|sha1|sha2|sha224|sha256|sha384|sha512|crc32|xxhash\w*|hash)\s*\("
BUCKETS = r"\bhash\s*\([^()]*\)\s*%"

ENUMERABLE = (
    "whoever lists all 18-digit identity numbers or all phone numbers finds each person again; use `rox import`, which "
    "makes pseudonyms with a key"
)
"""Why a plain hash hides nobody."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """A relation and where its rows come from.

    Attributes:
        sql: A query; its first columns are the name of the file (empty if there is one only) and the row in it.
        files: The files it reads, as the engine names them.
    """

    sql: str
    files: tuple[str, ...] = ()


def source_of_files(engine: Engine, files: Sequence[Path], pattern: str) -> Source:
    """Return the relation of the files that match a pattern.

    Rows of CSV files and workbooks are numbered as a spreadsheet shows them, the header being row 1; rows of Parquet
    from 1.

    Args:
        engine: Where they will be read.
        files: What matches.
        pattern: What the study says, such as ``crm.xlsx#Ledger``.

    Raises:
        DataError: No file, a kind of file that is not read, an unknown encoding, a sheet or a header with faults.
    """
    suffixes = {path.suffix.lower() for path in files}
    if not files:
        raise DataError("no file", [f"no file matches {pattern!r}"])
    if suffixes <= set(PARQUET_SUFFIXES):
        return _parquet(files)
    if suffixes <= set(CSV_SUFFIXES):
        return _csv(engine, files)
    if suffixes <= set(SHEET_SUFFIXES):
        return _sheets(engine, files, file_and_sheet(pattern)[1])
    if suffixes & {".xls", ".xlsb", ".ods", ".et"}:
        raise DataError("workbook", ["of workbooks only .xlsx is read: save it as .xlsx, or the sheet as CSV (UTF-8)"])
    if len(suffixes) > 1:
        raise DataError("mixed", [f"files of one kind are needed, not {', '.join(sorted(suffixes))} together"])
    raise DataError(
        "unknown kind", [f"files of kind {', '.join(sorted(suffixes))} are not read; use .csv, .xlsx or .parquet"]
    )


def source_of_query(query: str) -> Source:
    """Return the relation of a query; its rows are numbered from 1.

    Raises:
        DataError: The query hashes without a key. ``hash(…) % n`` is let through: it draws a sample.
    """
    inner = query.strip().rstrip(";")
    code = re.sub(r"'(?:[^']|'')*'|--[^\n]*|/\*.*?\*/", " ", inner, flags=re.DOTALL)
    if found := re.search(DIGEST, re.sub(BUCKETS, " ", code, flags=re.IGNORECASE), flags=re.IGNORECASE):
        raise DataError("hash", [f"{found[1].lower()}() is a hash without a key: {ENUMERABLE}"])
    return Source(sql=f"SELECT '' AS {FILE}, row_number() OVER () AS {ROW}, q.* FROM (\n{inner}\n) AS q")


def without_place(source: Source) -> str:
    """Return the query without the columns that say where a row stands."""
    return f"SELECT * EXCLUDE ({FILE}, {ROW}) FROM ({source.sql})"


def _parquet(files: Sequence[Path]) -> Source:
    names = ", ".join(literal(str(path)) for path in files)
    file = "''" if len(files) == 1 else "parse_filename(filename)"
    return Source(
        sql=f"SELECT {file} AS {FILE}, file_row_number + 1 AS {ROW}, * EXCLUDE (file_row_number, filename) "
        f"FROM read_parquet([{names}], union_by_name=true, file_row_number=true, filename=true)"
    )


def _csv(engine: Engine, files: Sequence[Path]) -> Source:
    queries, read, faults = [], [], []
    for path in files:
        try:
            readable = as_utf8(engine, path)
            delimiter, header = _header(readable)
        except DataError as fault:
            faults += [f"{path.name}: {line}" if len(files) > 1 else line for line in fault.faults]
            continue
        file = literal(path.name if len(files) > 1 else "")
        text = text_of_csv(readable, delimiter, header, header_rows=1)
        queries.append(f"SELECT {file} AS {FILE}, row_number() OVER () + 1 AS {ROW}, * FROM {text}")
        read.append(str(readable))
    if faults:
        raise DataError("unreadable", faults)
    return Source(sql="\nUNION ALL BY NAME\n".join(queries), files=tuple(read))


def text_of_csv(path: Path, delimiter: str, names: Sequence[str], *, header_rows: int) -> str:
    """Write the SQL that reads a UTF-8 file as text; a header of one row is skipped, other rows of header are not."""
    columns = ", ".join(f"{literal(name)}: 'VARCHAR'" for name in names)
    header = "true" if header_rows == 1 else "false"
    return (
        f"read_csv({literal(str(path))}, auto_detect=false, header={header}, delim={literal(delimiter)}, quote='\"', "
        f"escape='\"', columns={{{columns}}}, store_rejects=true)"
    )


def as_utf8(engine: Engine, path: Path) -> Path:
    """Return the file itself if it is UTF-8, else a copy that is."""
    with path.open("rb") as file:
        mark = file.read(2)
    for encoding in (MARKS[mark],) if mark in MARKS else ENCODINGS:
        try:
            if encoding == "utf-8-sig":
                for _ in _decoded(path, encoding):
                    pass
                return path
            copy = Path(tempfile.mkdtemp(dir=engine.folder)) / path.name
            with copy.open("w", encoding="utf-8", newline="") as out:
                out.writelines(_decoded(path, encoding))
            return copy
        except UnicodeDecodeError:
            continue
    what = "the text is not the UTF-16 it says it is" if mark in MARKS else "the text is neither UTF-8 nor GB18030"
    raise DataError("encoding", [f"{what}: save it as UTF-8"])


def _decoded(path: Path, encoding: str) -> Iterator[str]:
    decoder = codecs.getincrementaldecoder(encoding)()
    with path.open("rb") as file:
        while block := file.read(CHUNK):
            yield decoder.decode(block)
    yield decoder.decode(b"", final=True)


def _header(path: Path) -> tuple[str, list[str]]:
    """Return the delimiter and the column names.

    Raises:
        DataError: The file is empty, or two columns have one name.
    """
    with path.open(encoding="utf-8-sig", newline="") as file:
        head = file.read(CHUNK)
    if not head.strip():
        raise DataError("empty", ["the file is empty; its first row must hold the column names"])
    first = head.splitlines()[0]
    delimiter = delimiter_of(first)
    header = [name.strip() for name in next(csv.reader(io.StringIO(head), delimiter=delimiter), [])]
    if not any(header):
        raise DataError("header", ["the first row is blank; it must hold the column names"])
    check_names(header)
    return delimiter, header


def delimiter_of(line: str) -> str:
    """Return the delimiter of a CSV file: of comma, semicolon, tab and bar the one its first row has most of."""
    return max(",;\t|", key=line.count)


def _sheets(engine: Engine, files: Sequence[Path], sheet: str | None) -> Source:
    queries, faults = [], []
    for path in files:
        try:
            names, rows = table_of(path, sheet)
            copy = written_rows(engine, names, rows)
        except DataError as fault:
            faults += [f"{path.name}: {line}" if len(files) > 1 else line for line in fault.faults]
            continue
        file = literal(path.name if len(files) > 1 else "")
        queries.append(f"SELECT {file} AS {FILE}, * FROM read_parquet({literal(str(copy))})")
    if faults:
        raise DataError("unreadable", faults)
    return Source(sql="\nUNION ALL BY NAME\n".join(queries))


def written_rows(engine: Engine, names: Sequence[str], rows: Iterator[Row]) -> Path:
    """Write numbered rows of text as Parquet into the engine's folder."""
    schema = pa.schema([(ROW, pa.int64()), *((name, pa.string()) for name in names)])
    copy = Path(tempfile.mkdtemp(dir=engine.folder)) / "rows.parquet"
    with pq.ParquetWriter(copy, schema) as writer:
        while some := list(islice(rows, ROWS_AT_ONCE)):
            columns = [[number for number, _ in some], *([texts[i] for _, texts in some] for i in range(len(names)))]
            arrays = [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)]
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema))
    return copy
