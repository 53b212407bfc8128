"""The calculation: months across, one line a row, the same formula in every month."""

from __future__ import annotations

import datetime as dt

import numpy as np
from xlsxwriter.worksheet import Worksheet

from rox.core.formula import uses
from rox.core.ledger import Line
from rox.core.returns import HEADLINES
from rox.core.words import say
from rox.reporting.sheets.book import (
    FIRST_MONTH,
    HEAD_ROWS,
    LABEL,
    MONTH_ROW,
    OPENING,
    SUM_COLUMN,
    UNIT_COLUMN,
    VALUE,
    Book,
    block,
    put,
)

FLOW_SECTIONS = frozenset({"section.income", "section.cost", "section.cash"})
"""Sections whose money flows within a month, so that its sum over months means something; a balance's does not."""

STRONG = frozenset({"benefit", "cost", "net", "present", *HEADLINES})
WIDTHS = (44, 14, 16, 16, 9)
GAP = 2


def write_calc(book: Book) -> None:
    """Write the months, the schedules, and every line of the ledger."""
    sheet = book.begin("calc", WIDTHS)
    ledger, places = book.money.ledger, book.places
    sheet.set_column(FIRST_MONTH, places.last_month, 12)
    sheet.set_column(places.last_month + 1, places.last_month + 1, 3)
    sheet.set_column(places.last_month + GAP, places.last_month + GAP, 26)
    sheet.set_column(places.last_month + GAP + 1, places.last_month + GAP + 1, 60)
    sheet.write_string(HEAD_ROWS - 1, 0, book.say("calc.note"), book.style("muted"))
    _write_months(book, sheet)
    _write_schedules(book, sheet)
    section = ""
    for line in ledger.lines:
        row = places.lines[line.name]
        if line.section != section:
            book.section(sheet, row - 1, say(line.section, book.language), places.last_month)
            section = line.section
        _write_line(book, sheet, line, row)
    sheet.freeze_panes(MONTH_ROW + 1, VALUE)
    sheet.repeat_rows(HEAD_ROWS, MONTH_ROW)
    sheet.repeat_columns(LABEL, OPENING)
    sheet.print_area(0, 0, max(places.lines.values()), places.last_month)
    sheet.fit_to_pages(_pages(ledger.horizon), 0)


def _pages(horizon: int) -> int:
    """Return how many pages the months take side by side: one for every year and a half."""
    return 1 + horizon // 18


def delivered_schedules(book: Book) -> tuple[str, str] | None:
    """Return the references of the schedules and of their delivered copy; None without schedules."""
    rows = [book.places.lines[name] for name in book.money.ledger.schedules]
    if not rows:
        return None
    sheet = book.places.quoted("calc")
    start = _copy_column(book)
    return (
        f"{sheet}!{block(min(rows), FIRST_MONTH, max(rows), book.places.last_month)}",
        f"{sheet}!{block(min(rows), start, max(rows), start + book.money.ledger.horizon)}",
    )


def monthly_block(book: Book) -> str:
    """Return the reference of all months of all lines."""
    rows = [row for name, row in book.places.lines.items() if name not in book.places.totals]
    return f"{book.places.quoted('calc')}!{block(min(rows), FIRST_MONTH, max(rows), book.places.last_month)}"


def _copy_column(book: Book) -> int:
    return book.places.last_month + GAP + 3


def _write_months(book: Book, sheet: Worksheet) -> None:
    style, last = book.style, book.places.last_month
    heads = ("line", "unit", "value", "sum", "opening")
    book.head(sheet, HEAD_ROWS, [book.say(f"calc.{each}") for each in heads], texts=2)
    for month, column in enumerate(range(FIRST_MONTH, last + 1)):
        sheet.write_datetime(
            HEAD_ROWS, column, _month(book.money.case.about.start, month), style("head", "right", number="month")
        )
    book.head(sheet, HEAD_ROWS, [book.say("calc.name"), book.say("calc.formula")], last + GAP, texts=2)
    sheet.write_string(MONTH_ROW, LABEL, book.say("calc.month"), style("section"))
    for column in (UNIT_COLUMN, VALUE, SUM_COLUMN):
        sheet.write_blank(MONTH_ROW, column, None, style("section"))
    sheet.write_number(MONTH_ROW, OPENING, -1, style("section", "opening"))
    for month, column in enumerate(range(FIRST_MONTH, last + 1)):
        formula = book.places.reference("month", "prev", column)
        put(sheet, MONTH_ROW, column, f"={formula}+1", month, style("section", "right"))


def _month(start: dt.date, months: int) -> dt.date:
    index = start.year * 12 + start.month - 1 + months
    return dt.date(index // 12, index % 12 + 1, 1)


def _write_schedules(book: Book, sheet: Worksheet) -> None:
    """Write the months in which something falls, open to change, with a delivered copy beside the sheet."""
    ledger, places, style = book.money.ledger, book.places, book.style
    if not ledger.schedules:
        return
    first = min(places.lines[name] for name in ledger.schedules)
    start = _copy_column(book)
    sheet.write_string(first - 1, start, book.say("calc.copy"), style("muted"))
    for name, months in ledger.schedules.items():
        row = places.lines[name]
        sheet.write_string(row, LABEL, book.say("calc.when", label=_what_falls(book, name)), style("row"))
        sheet.write_string(row, UNIT_COLUMN, book.say("calc.zero_one"), style("muted", "row"))
        sheet.write_blank(row, OPENING, None, style("opening"))
        for place, value in enumerate(months):
            sheet.write_number(row, FIRST_MONTH + place, value, style("input", number="ratio"))
            sheet.write_number(row, start + place, value, style("frozen", number="ratio"))
        sheet.write_string(row, places.last_month + GAP, name, style("code"))
    rule: dict[str, object] = {"validate": "integer", "criteria": "between", "minimum": 0, "maximum": 1}
    rule |= {"error_title": book.say("inputs.refused"), "error_message": book.say("calc.zero_one")}
    sheet.data_validation(first, FIRST_MONTH, first + len(ledger.schedules) - 1, places.last_month, rule)


def _what_falls(book: Book, schedule: str) -> str:
    return next(
        (line.label(book.language) for line in book.money.ledger.lines if schedule in uses(line.formula).now), schedule
    )


def _write_line(book: Book, sheet: Worksheet, line: Line, row: int) -> None:
    style, places = book.style, book.places
    weight = ("sum",) if line.name in STRONG else ("row",)
    sheet.write_string(row, LABEL, line.label(book.language), style(*weight))
    sheet.write_string(row, UNIT_COLUMN, book.unit(line.unit), style("muted", *weight))
    sheet.write_string(row, places.last_month + GAP, line.name, style("code"))
    sheet.write_string(row, places.last_month + GAP + 1, line.formula, style("code"))
    values = np.asarray(book.money.point[line.name], dtype=float)
    look = style(*weight, "right", number=line.unit)
    if line.scope == "total":
        put(sheet, row, VALUE, places.formula(line.formula), float(values[0]), look)
        return
    for column in (VALUE, SUM_COLUMN):
        sheet.write_blank(row, column, None, style(*weight))
    if _is_flow(line):
        put(sheet, row, SUM_COLUMN, f"=SUM({places.reference(line.name, 'months')})", float(values.sum()), look)
    sheet.write_blank(row, OPENING, None, style(*weight, "opening"))
    for column, value in enumerate(values, start=FIRST_MONTH):
        put(sheet, row, column, places.formula(line.formula, column), float(value), look)


def _is_flow(line: Line) -> bool:
    return line.unit == "money" and line.section in FLOW_SECTIONS and line.name not in uses(line.formula).before
