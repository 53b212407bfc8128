"""Files as SQL relations: CSV as text, whatever its encoding, and Parquet as it is typed."""

from __future__ import annotations

import codecs
import csv
import io
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rox.core.errors import DataError
from rox.linking.engine import Engine, literal

ROW = "rox_row"
FILE = "rox_file"
ENCODINGS = ("utf-8-sig", "gb18030")
CHUNK = 1 << 20
CSV_SUFFIXES = (".csv", ".tsv", ".txt")
PARQUET_SUFFIXES = (".parquet", ".pq")


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

    Rows of a CSV file are numbered as a spreadsheet shows them, the header being row 1; rows of Parquet from 1.

    Raises:
        DataError: No file, a kind of file that is not read, an unknown encoding, or a header with faults.
    """
    suffixes = {path.suffix.lower() for path in files}
    if not files:
        raise DataError("no file", [f"no file matches {pattern!r}"])
    if suffixes <= set(PARQUET_SUFFIXES):
        return _parquet(files)
    if suffixes <= set(CSV_SUFFIXES):
        return _csv(engine, files)
    if suffixes & {".xlsx", ".xls"}:
        raise DataError("workbook", ["Excel workbooks are not read: save the sheet as CSV (UTF-8) or as Parquet"])
    raise DataError("unknown kind", [f"files of kind {', '.join(sorted(suffixes))} are not read; use .csv or .parquet"])


def source_of_query(query: str) -> Source:
    """Return the relation of a query; its rows are numbered from 1."""
    inner = query.strip().rstrip(";")
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
            readable = _as_utf8(engine, path)
            delimiter, header = _header(readable)
        except DataError as fault:
            faults += [f"{path.name}: {line}" if len(files) > 1 else line for line in fault.faults]
            continue
        columns = ", ".join(f"{literal(name)}: 'VARCHAR'" for name in header)
        file = literal(path.name if len(files) > 1 else "")
        queries.append(
            f"SELECT {file} AS {FILE}, row_number() OVER () + 1 AS {ROW}, * FROM read_csv({literal(str(readable))}, "
            f"auto_detect=false, header=true, delim={literal(delimiter)}, quote='\"', escape='\"', "
            f"columns={{{columns}}}, store_rejects=true)"
        )
        read.append(str(readable))
    if faults:
        raise DataError("unreadable", faults)
    return Source(sql="\nUNION ALL BY NAME\n".join(queries), files=tuple(read))


def _as_utf8(engine: Engine, path: Path) -> Path:
    """Return the file itself if it is UTF-8, else a copy that is."""
    for encoding in ENCODINGS:
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
    raise DataError("encoding", ["the text is neither UTF-8 nor GB18030: save it as UTF-8"])


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
    first = head.splitlines()[0] if head.strip() else ""
    if not first.strip():
        raise DataError("empty", ["the file is empty; its first row must hold the column names"])
    delimiter = max(",;\t|", key=first.count)
    header = [name.strip() for name in next(csv.reader(io.StringIO(head), delimiter=delimiter))]
    twice = [name for name, count in Counter(name.casefold() for name in header).items() if count > 1]
    if twice or not all(header):
        what = f"two columns are called {', '.join(map(repr, twice))}" if twice else "a column has no name"
        raise DataError("header", [f"{what}; every column needs a name of its own"])
    return delimiter, header
