"""The sheet of inputs: every number with its range, owner, source, date and risk; the only numbers a reader changes."""

from __future__ import annotations

import math
from collections.abc import Mapping

from xlsxwriter.worksheet import Worksheet

from rox.core.case import RANGES
from rox.core.ledger import Input
from rox.core.words import say
from rox.reporting.materiality import Level
from rox.reporting.numbers import form
from rox.reporting.risk import quality_said, risk_of
from rox.reporting.sheets.book import (
    HEAD_ROWS,
    INPUT_DELIVERED,
    INPUT_HIGH,
    INPUT_LOW,
    INPUT_VALUE,
    KINDS,
    Book,
    block,
    cell,
    put,
    text_in_formula,
)

COLUMNS = (
    ("label", 42),
    ("group", 13),
    ("unit", 18),
    ("value", 15),
    ("low", 13),
    ("high", 13),
    ("delivered", 14),
    ("status", 17),
    ("owner", 18),
    ("source", 36),
    ("date", 12),
    ("quality", 26),
    ("impact", 16),
    ("risk", 10),
    ("place", 20),
    ("name", 22),
)
STATUS = 7
LOOKS = {"assumption": "input", "estimate": "estimate", "constant": "constant"}
RISK = 11
RATINGS: Mapping[Level, str] = {"high": "bad", "medium": "warn", "low": "good"}


def write_inputs(book: Book) -> None:
    """Write every input of the ledger, under the heading of its kind."""
    sheet = book.begin("inputs", [width for _, width in COLUMNS])
    sheet.write_string(HEAD_ROWS - 1, 0, book.say("inputs.note"), book.style("muted"))
    sheet.set_row(HEAD_ROWS, 32)
    titles = [book.say(f"inputs.{name}") for name, _ in COLUMNS]
    book.head(sheet, HEAD_ROWS, titles[:STATUS], texts=INPUT_VALUE)
    book.head(sheet, HEAD_ROWS, titles[STATUS:], STATUS, texts=len(titles))
    sheet.write_string(HEAD_ROWS, STATUS, titles[STATUS], book.style("head", "inset"))
    rows = book.places.inputs
    for kind in KINDS:
        members = [each for each in book.money.ledger.inputs if each.kind == kind]
        if members:
            book.section(sheet, rows[members[0].name] - 1, book.say(f"kind.{kind}"), len(COLUMNS) - 1)
        for each in members:
            _write_input(book, sheet, each, rows[each.name])
    sheet.freeze_panes(HEAD_ROWS + 1, 1)
    sheet.repeat_rows(HEAD_ROWS)
    sheet.print_area(0, 0, max(rows.values()), len(COLUMNS) - 3)
    sheet.set_selection(rows[book.money.ledger.inputs[0].name], INPUT_VALUE, rows[book.money.ledger.inputs[0].name], 3)


def columns_of(book: Book) -> tuple[str, ...]:
    """Return the references of values, lows, highs and delivered values, over all rows."""
    rows = book.places.inputs.values()
    sheet = book.places.quoted("inputs")
    return tuple(
        f"{sheet}!{block(min(rows), column, max(rows), column)}"
        for column in (INPUT_VALUE, INPUT_LOW, INPUT_HIGH, INPUT_DELIVERED)
    )


def _write_input(book: Book, sheet: Worksheet, each: Input, row: int) -> None:
    style, unit = book.style, each.unit
    book.wrapped(sheet, row, each.source, dict(COLUMNS)["source"])
    sheet.write_string(row, 0, each.label(book.language), style("wrap", "row"))
    sheet.write_string(row, 1, each.group, style("text", "row"))
    sheet.write_string(row, 2, book.unit(unit), style("muted", "row"))
    sheet.write_number(row, INPUT_VALUE, each.value, style(LOOKS[each.kind], number=f"={unit}"))
    spread = each.spread
    for column, value in ((INPUT_LOW, spread.low), (INPUT_HIGH, spread.high)):
        if spread.low < spread.high:
            sheet.write_number(row, column, value, style("row", number=f"={unit}"))
        else:
            sheet.write_blank(row, column, None, style("row"))
    sheet.write_number(row, INPUT_DELIVERED, each.value, style("frozen", "row", number=f"={unit}"))
    put(sheet, row, STATUS, _status(book, row), "", style("row", "inset"))
    sheet.write_string(row, 8, each.owner, style("wrap", "row"))
    sheet.write_string(row, 9, each.source, style("wrap", "row"))
    if each.date is not None:
        sheet.write_datetime(row, 10, each.date, style("row", "left", number="date"))
    else:
        sheet.write_blank(row, 10, None, style("row"))
    _rate(book, sheet, each, row)
    sheet.write_string(row, 14, each.place, style("code", "row"))
    sheet.write_string(row, 15, book.places.names[each.name], style("code", "row"))
    book.file.define_name(book.places.names[each.name], f"={book.places.quoted('inputs')}!{cell(row, INPUT_VALUE)}")
    _validate(book, sheet, each, row)
    _colour(book, sheet, row)


def _rate(book: Book, sheet: Worksheet, each: Input, row: int) -> None:
    """Write quality, impact and risk as delivered; a constant has none."""
    if each.kind == "constant":
        for column in range(RISK, RISK + 3):
            sheet.write_blank(row, column, None, book.style("row"))
        return
    found = risk_of(each, book.risks)
    share = form("share", book.language, like=(1.0,), step=0.001)(found.share)
    impact = f"{say(f'level.{found.impact}', book.language)} · {share}"
    sheet.write_string(row, RISK, quality_said(found, book.language), book.style("wrap", "row"))
    sheet.write_string(row, RISK + 1, impact, book.style("text", "row"))
    rating = say(f"level.{found.rating}", book.language)
    sheet.write_string(row, RISK + 2, rating, book.style("text", "row", RATINGS[found.rating]))


def _status(book: Book, row: int) -> str:
    value, low, high, delivered = (cell(row, c) for c in (INPUT_VALUE, INPUT_LOW, INPUT_HIGH, INPUT_DELIVERED))
    inside, outside = (text_in_formula(book.say(f"inputs.{key}")) for key in ("changed", "outside"))
    return (
        f'=IF(AND(ISNUMBER({low}),MAX({low}-{value},{value}-{high})>0),{outside},IF({value}={delivered},"",{inside}))'
    )


def _validate(book: Book, sheet: Worksheet, each: Input, row: int) -> None:
    """Let a cell take only what the case file would take in its place."""
    if each.kind == "constant":
        return
    place = each.place if each.kind == "assumption" else ""
    low, high, _ = RANGES.get(place) or RANGES.get(place.split(".")[0], (-math.inf, math.inf, ""))
    low, high = max(low, -1e300), min(high, 1e300)
    sheet.data_validation(
        row,
        INPUT_VALUE,
        row,
        INPUT_VALUE,
        {
            "validate": "decimal",
            "criteria": "between",
            "minimum": low,
            "maximum": high,
            "error_title": book.say("inputs.refused"),
            "error_message": book.say("inputs.between", low=f"{low:g}", high=f"{high:g}")
            if high < 1e300
            else book.say("inputs.at_least", low=f"{low:g}")
            if low > -1e300
            else book.say("inputs.number"),
        },
    )


def _colour(book: Book, sheet: Worksheet, row: int) -> None:
    """Colour the status, which also says it in words."""
    changed, outside = book.say("inputs.changed"), book.say("inputs.outside")
    for words, look in ((outside, "bad"), (changed, "warn")):
        sheet.conditional_format(
            row,
            STATUS,
            row,
            STATUS,
            {"type": "cell", "criteria": "==", "value": text_in_formula(words), "format": book.style.change(look)},
        )
