"""The sheet of draws: a frozen sample of them with live quantiles."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from xlsxwriter.utility import xl_rowcol_to_cell
from xlsxwriter.worksheet import Worksheet

from rox.core.formula import Array
from rox.core.returns import HEADLINES, Return
from rox.reporting.sheets.book import HEAD_ROWS, Book, block, cell, number, put

MOST = 1_000
"""Draws that are written; they stand at even steps among all draws in order of NPV."""

SHOWN = tuple(dict.fromkeys((*HEADLINES, "present_benefit", "present_cost")))
OPEN_ENDED = frozenset({"payback", "discounted_payback"})
"""Totals whose missing value means "later than the horizon", not "unknown"."""

QUANTILES = (0.05, 0.25, 0.50, 0.75, 0.95)
LABEL, LEVEL, FIRST = 0, 1, 2
COUNT_ROW = HEAD_ROWS + 1
"""Rows: draws, those with a value, whether a missing one counts as later, those put in order, mean, quantiles."""

MEAN_ROW = COUNT_ROW + 4
QUANTILE_ROW = MEAN_ROW + 1
ABOVE_ROW = QUANTILE_ROW + len(QUANTILES)
DATA_HEAD = ABOVE_ROW + 2


@dataclass(frozen=True)
class Sample:
    """The draws that are written, as the file holds them.

    Attributes:
        money: Where they come from.
    """

    money: Return

    @cached_property
    def places(self) -> Array:
        """Numbers of the draws that are kept, in their own order."""
        npv = self.money.draws["npv"]
        size = min(len(npv), MOST)
        ranks = ((np.arange(size) + 0.5) * len(npv) / size).astype(int)
        return np.sort(np.argsort(npv, kind="stable")[ranks])

    @property
    def size(self) -> int:
        """How many are kept."""
        return len(self.places)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Names of the totals that are written."""
        return tuple(name for name in SHOWN if name in self.money.draws)

    def column(self, name: str) -> Array:
        """Return one total with the sixteen digits that the file holds."""
        return np.array([float(f"{value:.16g}") for value in self.money.draws[name][self.places]])

    def quantile(self, name: str, level: float) -> float:
        """Return the quantile the sheet computes: the nearest rank; NaN where it lies beyond the horizon."""
        values, ranked = np.sort(self.column(name)), self.ranked(name)
        rank = math.floor(level * (ranked - 1) + 0.5) + 1
        return float(values[rank - 1]) if ranked and rank <= np.isfinite(values).sum() else math.nan

    def ranked(self, name: str) -> int:
        """Return how many draws are put in order: all, or none if some lack a value of unknown place."""
        return self.size if name in OPEN_ENDED or np.isfinite(self.column(name)).all() else 0

    def share_above(self, name: str, least: float) -> float:
        """Return the share of kept draws above a value."""
        return float((self.column(name) > least).mean())

    def share_known(self, name: str) -> float:
        """Return the share of kept draws that have a value."""
        return float(np.isfinite(self.column(name)).mean())


def column_of(sample: Sample, name: str) -> int:
    """Return the column of a total."""
    return FIRST + sample.names.index(name)


def range_of(book: Book, sample: Sample, name: str, *, outside: bool = True) -> str:
    """Return the reference of a total's draws."""
    column = column_of(sample, name)
    sheet = f"{book.places.quoted('draws')}!" if outside else ""
    return sheet + block(DATA_HEAD + 1, column, DATA_HEAD + sample.size, column)


def quantile_cell(book: Book, sample: Sample, name: str, level: float) -> str:
    """Return the reference of a live quantile."""
    row = QUANTILE_ROW + QUANTILES.index(level)
    return f"{book.places.quoted('draws')}!{cell(row, column_of(sample, name))}"


def write_draws(book: Book, sample: Sample) -> None:
    """Write the draws, and their quantiles above them."""
    width = len(sample.names)
    sheet = book.begin("draws", [34, 9, *([15] * width), 3, *([13] * 13)])
    total = len(book.money.draws["npv"])
    note = book.say("draws.note", shown=f"{sample.size:,}", draws=f"{total:,}", run=book.run)
    sheet.write_string(HEAD_ROWS - 1, 0, note, book.style("muted"))
    labels = {line.name: line.label(book.language) for line in book.money.ledger.lines}
    sheet.set_row(HEAD_ROWS, 46)
    titles = [book.say("draws.summary"), book.say("draws.level"), *(labels[name] for name in sample.names)]
    book.head(sheet, HEAD_ROWS, titles)
    _write_counts(book, sheet, sample)
    _write_quantiles(book, sheet, sample)
    _write_data(book, sheet, sample)
    sheet.freeze_panes(HEAD_ROWS + 1, LEVEL)
    sheet.repeat_rows(HEAD_ROWS)


def _write_counts(book: Book, sheet: Worksheet, sample: Sample) -> None:
    style = book.style
    for place, key in enumerate(("count", "known", "open_ended", "ranked", "mean")):
        sheet.write_string(COUNT_ROW + place, LABEL, book.say(f"draws.{key}"), style("row"))
        sheet.write_blank(COUNT_ROW + place, LEVEL, None, style("row"))
    for name in sample.names:
        column, unit = column_of(sample, name), _unit(book, name)
        values, data = sample.column(name), range_of(book, sample, name, outside=False)
        known = np.isfinite(values)
        count, known_cell, flag = (cell(COUNT_ROW + place, column) for place in range(3))
        look = style("row", number="count")
        put(sheet, COUNT_ROW, column, f'=SUMPRODUCT(1*({data}<>""))', sample.size, look)
        put(sheet, COUNT_ROW + 1, column, f"=SUMPRODUCT(1*ISNUMBER({data}))", known.sum(), look)
        sheet.write_number(COUNT_ROW + 2, column, name in OPEN_ENDED, look)
        formula = f"=IF({flag}=1,{count},IF({known_cell}={count},{count},0))"
        put(sheet, COUNT_ROW + 3, column, formula, sample.ranked(name), look)
        mean = float(values.mean()) if known.all() else math.nan
        formula = f'=IF({known_cell}={count},SUM({data})/{count},"–")'
        put(sheet, MEAN_ROW, column, formula, mean, style("row", "right", number=unit))


def _write_quantiles(book: Book, sheet: Worksheet, sample: Sample) -> None:
    style = book.style
    for row, level in enumerate(QUANTILES, start=QUANTILE_ROW):
        sheet.write_string(row, LABEL, book.say("draws.quantile"), style("row"))
        sheet.write_number(row, LEVEL, level, style("row", number="percent"))
        for name in sample.names:
            column = column_of(sample, name)
            data = range_of(book, sample, name, outside=False)
            level_cell = xl_rowcol_to_cell(row, LEVEL, col_abs=True)
            known, ranked = cell(COUNT_ROW + 1, column), cell(COUNT_ROW + 3, column)
            rank = f"ROUND({level_cell}*({ranked}-1),0)+1"
            formula = f'=IF({ranked}>0,IF({rank}<={known},SMALL({data},{rank}),"–"),"–")'
            look = style("row", "right", number=_unit(book, name))
            put(sheet, row, column, formula, sample.quantile(name, level), look)
    sheet.write_string(ABOVE_ROW, LABEL, book.say("draws.above"), style("row"))
    sheet.write_blank(ABOVE_ROW, LEVEL, None, style("row"))
    for name in sample.names:
        column, data = column_of(sample, name), range_of(book, sample, name, outside=False)
        count = cell(COUNT_ROW, column)
        formula = f"=SUMPRODUCT(ISNUMBER({data})*({data}>0))/{count}"
        put(sheet, ABOVE_ROW, column, formula, sample.share_above(name, 0), style("row", number="share"))


def _write_data(book: Book, sheet: Worksheet, sample: Sample) -> None:
    book.section(sheet, DATA_HEAD, book.say("draws.data"), FIRST + len(sample.names) - 1)
    columns = [
        (column_of(sample, n), sample.column(n), book.style("frozen", "right", number=_unit(book, n)))
        for n in sample.names
    ]
    count = book.style("frozen", number="count")
    for place, draw in enumerate(sample.places):
        sheet.write_number(DATA_HEAD + 1 + place, LABEL, int(draw) + 1, count)
        for column, values, look in columns:
            number(sheet, DATA_HEAD + 1 + place, column, float(values[place]), look)


def _unit(book: Book, name: str) -> str:
    return next(line.unit for line in book.money.ledger.lines if line.name == name)


def count_cells(book: Book, sample: Sample, name: str) -> tuple[str, str]:
    """Return the references of the number of draws and of those with a value."""
    sheet, column = book.places.quoted("draws"), column_of(sample, name)
    return f"{sheet}!{cell(COUNT_ROW, column)}", f"{sheet}!{cell(COUNT_ROW + 1, column)}"


def share_above_cell(book: Book, sample: Sample, name: str, least: str = "0") -> str:
    """Return a formula for the share of draws above a cell, or above zero."""
    data, (count, _) = range_of(book, sample, name), count_cells(book, sample, name)
    return f"SUMPRODUCT(ISNUMBER({data})*({data}>{least}))/{count}"
