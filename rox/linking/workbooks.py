"""Sheets of Excel workbooks as text: ids as they are shown, dates as ISO, errors and rounded numbers as such."""

from __future__ import annotations

import datetime as dt
import re
import zipfile
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import ParseError

from openpyxl import load_workbook
from openpyxl.utils import get_column_letter
from openpyxl.utils.cell import range_boundaries
from openpyxl.utils.exceptions import InvalidFileException

from rox.core.errors import DataError

EXACT_DIGITS = 10**15
"""Excel keeps 15 digits of a number; longer ones are rounded."""
BLOCK = 1 << 20
OVERLAP = 1 << 14
MERGED = re.compile(rb'<mergeCell\b[^>]*\bref="([A-Z0-9:]+)"')
UNCALCULATED = re.compile(
    rb'<c\b(?![^>]*\bt="str")[^>]*\br="([A-Z]+[0-9]+)"[^>]*><f\b(?:[^>]*/>|[^>]*>[^<]*</f>)(?:<v\s*/>|<v></v>)?</c>'
)

Row = tuple[int, list[str | None]]


def rows_of(path: Path, sheet: str | None) -> Iterator[Row]:
    """Give the rows of a sheet that hold anything, each with its number in the sheet, as text.

    Whole numbers have no point; a number shown with leading zeros keeps them; a date is YYYY-MM-DD, with its time where
    there is one; a whole number of more than 15 digits, which Excel has rounded, is written as 1.23E+17.

    Args:
        path: An .xlsx or .xlsm file.
        sheet: Name of the sheet; None for the only one.

    Raises:
        DataError: Not a workbook; no such sheet, or several and none is named; cells merged over values; formulas that
            were never calculated.
    """
    try:
        book = load_workbook(path, read_only=True, data_only=True)
    except (InvalidFileException, zipfile.BadZipFile, KeyError, ValueError, ParseError, OSError):
        raise DataError(
            "workbook", ["not a whole Excel workbook; save it again as .xlsx, or the sheet as CSV (UTF-8)"]
        ) from None
    try:
        name = _sheet(book, path, sheet)
        if faults := _damage(path, book, name):
            raise DataError("workbook", faults)
        page = book[name]
        page.reset_dimensions()
        for number, cells in enumerate(page.iter_rows(), start=1):
            texts = [_text(cell) for cell in cells]
            if any(text is not None for text in texts):
                yield number, texts
    finally:
        book.close()


def table_of(path: Path, sheet: str | None) -> tuple[list[str], Iterator[Row]]:
    """Return the names in the first row of a sheet, and the rows below it, as wide as the names.

    Raises:
        DataError: As :func:`rows_of`; also when the first row is blank or does not name every column that holds values.
    """
    rows = rows_of(path, sheet)
    number, first = next(rows, (1, []))
    if not first:
        raise DataError("empty", ["the sheet is empty; its first row must hold the column names"])
    if number > 1:
        raise DataError("header", [f"the first row is blank; column names are needed there, not in row {number}"])
    names = [(text or "").strip() for text in first]
    while names and not names[-1]:
        names.pop()
    check_names(names)
    return names, _as_wide(rows, len(names))


def check_names(names: Sequence[str]) -> None:
    """See that every column has a name of its own.

    Raises:
        DataError: One has none, as under a title or merged cells, or two have the same.
    """
    blank = [get_column_letter(i) for i, name in enumerate(names, start=1) if not name]
    faults = []
    if blank:
        faults.append(
            f"row 1 does not name every column ({', '.join(blank)}); remove titles and merged cells above the table, "
            "so that the first row holds one name per column"
        )
    twice = [name for name, count in Counter(name.casefold() for name in names if name).items() if count > 1]
    if twice:
        shown = ", ".join(map(repr, twice))
        faults.append(f"two columns are called {shown}; every column needs a name of its own")
    if faults:
        raise DataError("header", faults)


def _as_wide(rows: Iterator[Row], width: int) -> Iterator[Row]:
    for number, texts in rows:
        if any(text is not None for text in texts[width:]):
            beyond = next(i for i, text in enumerate(texts, start=1) if i > width and text is not None)
            raise DataError(
                "header", [f"column {get_column_letter(beyond)} holds values (row {number}) but has no name in row 1"]
            )
        yield number, texts[:width] + [None] * (width - len(texts))


def _sheet(book: Any, path: Path, sheet: str | None) -> str:
    names = [each.title for each in book.worksheets]
    if sheet is None and len(names) == 1:
        return str(names[0])
    if sheet in names:
        return str(sheet)
    shown = ", ".join(map(repr, names))
    if sheet is None:
        what = f"the workbook has {len(names)} sheets ({shown}); name one as {path.name}#{names[0]}"
    else:
        what = f"there is no sheet {sheet!r} in the workbook; it has {shown}"
    raise DataError("sheet", [what])


def _text(cell: Any) -> str | None:
    value = cell.value
    if value is None:
        return None
    if isinstance(value, str):
        return value if value.strip() else None
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (int, float)):
        return _number(value, cell.number_format)
    if isinstance(value, dt.datetime):
        at_midnight = value.time() == dt.time()
        return value.date().isoformat() if at_midnight else value.isoformat(sep=" ", timespec="seconds")
    return str(value)


def _number(value: float, shown_as: str | None) -> str:
    if isinstance(value, float) and not value.is_integer():
        return repr(value)
    whole = int(value)
    if abs(whole) >= EXACT_DIGITS:
        return f"{value:.14E}"
    zeros = shown_as if shown_as and set(shown_as) == {"0"} else ""
    return f"{whole:0{max(len(zeros), 1)}d}"


def _damage(path: Path, book: Any, name: str) -> list[str]:
    """List merged cells below the first row and formulas without a value, both of which would read as empty."""
    merged: set[bytes] = set()
    never: set[bytes] = set()
    with zipfile.ZipFile(path) as pack, pack.open(_part(pack, book, name)) as file:
        tail = b""
        while block := file.read(BLOCK):
            text = tail + block
            merged |= set(MERGED.findall(text))
            never |= set(UNCALCULATED.findall(text))
            tail = text[-OVERLAP:]
    faults = []
    first_rows = [range_boundaries(ref.decode())[1] for ref in merged if b":" in ref]
    titles = sum(row == 1 for row in first_rows)
    if titles:
        faults.append("cells of row 1 are merged; remove titles, so that it holds one name per column")
    if len(first_rows) > titles:
        count, first = len(first_rows) - titles, min(row for row in first_rows if row > 1)
        faults.append(
            f"{count:,} merged range{'s' if count > 1 else ''}, first at row {first}; unmerge and fill every cell"
        )
    if never:
        faults.append(
            f"{len(never):,} formula{'s' if len(never) > 1 else ''} without a value; open the workbook in a "
            "spreadsheet program and save it, so that they are calculated"
        )
    return faults


def _part(pack: zipfile.ZipFile, book: Any, name: str) -> str:
    """Find the file of a sheet inside the workbook."""
    index = [each.title for each in book.worksheets].index(name)
    relations = pack.read("xl/_rels/workbook.xml.rels").decode("utf-8", "replace")
    sheets = re.findall(r"<(?:\w+:)?sheet\b[^>]*>", pack.read("xl/workbook.xml").decode("utf-8", "replace"))
    parts = {}
    for relation in re.findall(r"<(?:\w+:)?Relationship\b[^>]*>", relations):
        key, target = re.search(r'\bId="([^"]+)"', relation), re.search(r'\bTarget="([^"]+)"', relation)
        kind = re.search(r'\bType="[^"]*/(\w+)"', relation)
        if key and target and kind and kind[1] == "worksheet":
            parts[key[1]] = target[1]
    keys = [found[1] for each in sheets if (found := re.search(r'\br:id="([^"]+)"', each)) and found[1] in parts]
    part = parts[keys[index]]
    return part.lstrip("/") if part.startswith("/") else f"xl/{part}"
