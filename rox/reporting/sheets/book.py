"""What every sheet shares: where each number stands, and the head, the flag and the print of a sheet."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from xlsxwriter import Workbook
from xlsxwriter.utility import xl_col_to_name, xl_rowcol_to_cell
from xlsxwriter.worksheet import Worksheet

from rox.core.formula import Array, evaluate, to_excel
from rox.core.identity import run_id
from rox.core.ledger import Ledger
from rox.core.returns import Return
from rox.core.words import Language, say
from rox.reporting.numbers import currency_name
from rox.reporting.reconciliation import Comparison, comparisons
from rox.reporting.risk import Risk, risks
from rox.reporting.sheets.style import Style

SHEETS = ("about", "summary", "inputs", "calc", "draws", "sensitivity", "checks", "log")
NONE = "–"
FLAG, FAILED, ALERTS = "checks_flag", "checks_failed", "checks_alerts"
CHANGED, OUTSIDE = "inputs_changed", "inputs_outside_range"
FACTOR, UNIT = "unit_factor", "unit_name"
HEAD_ROWS = 4
SCALES: Mapping[Language, tuple[float, ...]] = {"en": (1.0, 1e3, 1e6), "zh": (1.0, 1e4, 1e8)}
KINDS = ("assumption", "estimate", "constant")
INPUT_VALUE, INPUT_LOW, INPUT_HIGH, INPUT_DELIVERED = 3, 4, 5, 6
LABEL, UNIT_COLUMN, VALUE, SUM_COLUMN, OPENING, FIRST_MONTH = range(6)
MONTH_ROW = HEAD_ROWS + 1


@dataclass(frozen=True)
class Places:
    """Where each input and line stands: a plan made before a cell is written.

    Attributes:
        ledger: The lines.
        sheets: Name of each sheet by its key.
    """

    ledger: Ledger
    sheets: Mapping[str, str]

    @cached_property
    def inputs(self) -> dict[str, int]:
        """Row of each input on its sheet; the three kinds stand under headings of their own."""
        rows, row = {}, HEAD_ROWS + 2
        for kind in KINDS:
            members = [each.name for each in self.ledger.inputs if each.kind == kind]
            for name in members:
                row += 1
                rows[name] = row
            row += 2 if members else 0
        return rows

    @cached_property
    def lines(self) -> dict[str, int]:
        """Row of the months, of each schedule and of each line; a blank row and a heading begin a section."""
        rows, row, section = {"month": MONTH_ROW}, MONTH_ROW + 1, ""
        for name in self.ledger.schedules:
            row += 1
            rows[name] = row
        for line in self.ledger.lines:
            row += 1 if line.section == section else 3
            section = line.section
            rows[line.name] = row
        return rows

    @cached_property
    def totals(self) -> frozenset[str]:
        """Names of the lines with one value for all months."""
        return frozenset(line.name for line in self.ledger.lines if line.scope == "total")

    @property
    def last_month(self) -> int:
        """Column of the last month."""
        return FIRST_MONTH + self.ledger.horizon

    @cached_property
    def names(self) -> dict[str, str]:
        """The workbook's name of each input.

        The prefix keeps it apart from cells and functions; spreadsheets do not tell small letters from capitals.
        """
        found: dict[str, str] = {}
        taken: set[str] = set()
        for each in self.ledger.inputs:
            name = f"in_{each.name}"
            while name.casefold() in taken:
                name += "_"
            taken.add(name.casefold())
            found[each.name] = name
        return found

    def reference(self, name: str, scope: str, column: int = FIRST_MONTH, *, outside: bool = False) -> str:
        """Return the reference of an input or line, as :func:`rox.core.formula.to_excel` asks for it.

        Args:
            name: Its name in the ledger, or ``month``.
            scope: ``here``, ``prev``, ``months`` or ``last``.
            column: Column of the cell that refers.
            outside: Whether the cell stands on another sheet.
        """
        if name in self.inputs:
            return self.names[name]
        row, sheet = self.lines[name], f"{self.quoted('calc')}!" if outside else ""
        if name in self.totals:
            return sheet + cell(row, VALUE)
        if scope == "months":
            return sheet + block(row, FIRST_MONTH, row, self.last_month)
        if scope == "last":
            return sheet + cell(row, self.last_month)
        return f"{sheet}{xl_col_to_name(column - (scope == 'prev'))}${row + 1}"

    def formula(self, text: str, column: int = FIRST_MONTH, *, outside: bool = False) -> str:
        """Write a formula of the ledger's language for a cell."""
        return "=" + to_excel(
            text, lambda name, scope: self.reference(name, scope, column, outside=outside), none=f'"{NONE}"'
        )

    def quoted(self, key: str) -> str:
        """Return a sheet's name as formulas write it."""
        return f"'{self.sheets[key]}'"


@dataclass(frozen=True)
class Book:
    """A workbook on its way: the file, what it shows, and how.

    Attributes:
        file: The file.
        money: What it shows.
        language: Of its words.
        style: Its formats.
        places: Where the numbers stand.
        failed: How many of its checks fail as delivered.
        noted: How many alerts it has as delivered.
    """

    file: Workbook
    money: Return
    language: Language
    style: Style
    places: Places
    failed: int = 0
    noted: int = 0

    def say(self, key: str, /, **values: object) -> str:
        """Render one of the workbook's words."""
        return say(f"workbook.{key}", self.language, **values)

    def unit(self, unit: str) -> str:
        """Name a unit of the ledger."""
        return say(f"unit.{unit}", self.language, currency=self.currency)

    @property
    def currency(self) -> str:
        """The currency as the reader writes it."""
        code = self.money.case.about.currency
        return code if self.language == "en" else currency_name(code, "zh")

    def sheet(self, key: str) -> Worksheet:
        """Return a sheet by its key."""
        found = self.file.get_worksheet_by_name(self.places.sheets[key])
        assert found is not None
        return found

    def begin(self, key: str, widths: Sequence[float], *, landscape: bool = True) -> Worksheet:
        """Write what every sheet starts with, and set its columns, its print and its protection."""
        sheet, style = self.sheet(key), self.style
        for column, width in enumerate(widths):
            sheet.set_column(column, column, width, style("text"))
        sheet.set_row(0, 24)
        sheet.write_string(0, 0, self.say(f"sheet.{key}.title"), style("title"))
        sheet.write_string(1, 0, self.money.case.about.title[self.language], style("subtitle"))
        sheet.set_row(2, 18)
        sheet.write_formula(2, 0, f"={FLAG}", style("flag"), self.flag)
        sheet.conditional_format(2, 0, 2, 0, _when(f"{FAILED}>0", style.change("bad")))
        sheet.conditional_format(2, 0, 2, 0, _when(f"AND({FAILED}=0,{ALERTS}>0)", style.change("warn")))
        sheet.conditional_format(2, 0, 2, 0, _when(f"AND({FAILED}=0,{ALERTS}=0)", style.change("good")))
        sheet.hide_gridlines(2)
        sheet.protect("", {"format_columns": True, "format_rows": True, "objects": True, "scenarios": True})
        if landscape:
            sheet.set_landscape()
        sheet.set_paper(9)
        sheet.set_margins(left=0.4, right=0.4, top=0.6, bottom=0.6)
        sheet.fit_to_pages(1, 0)
        title = self.money.case.about.title[self.language][:80].replace("&", "&&")
        sheet.set_footer(f"&L{title}&C&A&R{self.say('page')}", {"scale_with_doc": False})
        return sheet

    @property
    def flag(self) -> str:
        """The flag as delivered."""
        if self.failed:
            return self.say("flag.fail", n=self.failed)
        return self.say("flag.alert", n=self.noted) if self.noted else self.say("flag.pass")

    def head(self, sheet: Worksheet, row: int, titles: Sequence[str], column: int = 0, *, texts: int = 1) -> None:
        """Write the head of a table whose first columns are texts and whose others are numbers."""
        for place, title in enumerate(titles):
            look = self.style("head") if place < texts else self.style("head", "right")
            sheet.write_string(row, column + place, title, look)

    def wrapped(self, sheet: Worksheet, row: int, text: str, width: float, *, least: float = 15) -> None:
        """Make a row as high as a text needs that wraps in a column, or merged columns, of this width."""
        self.high(sheet, row, self.lines(text, width), least=least)

    def lines(self, text: str, width: float) -> int:
        """Return in how many lines a text wraps in a column of this width."""
        wide = sum(2.0 if ord(sign) > 0x2E7F else 1.0 for sign in text)
        return max(1, math.ceil(wide / (1.05 * width)))

    def high(self, sheet: Worksheet, row: int, lines: int, *, least: float = 15) -> None:
        """Make a row as high as so many lines need."""
        sheet.set_row(row, max(least, 13.5 * lines + 2))

    def section(self, sheet: Worksheet, row: int, title: str, last: int, first: int = 0) -> None:
        """Write a heading across a table."""
        sheet.write_string(row, first, title, self.style("section"))
        for column in range(first + 1, last + 1):
            sheet.write_blank(row, column, None, self.style("section"))

    def live(self, sheet: Worksheet, row: int, column: int, text: str, *look: str, number: str) -> None:
        """Write a formula of the ledger's language on a sheet other than the calculation."""
        formula = self.places.formula(text, outside=True)
        put(sheet, row, column, formula, self.point(text), self.style(*look, number=number))

    def point(self, text: str) -> float:
        """Evaluate a formula of the ledger's language on the point path."""
        ledger = self.money.ledger
        values: dict[str, Array] = {name: np.array([[value]]) for name, value in ledger.point.items()}
        values |= {name: np.asarray(row)[None, :] for name, row in ledger.schedules.items()}
        values |= {name: np.asarray(found)[None, :] for name, found in self.money.point.items()}
        return float(evaluate(text, values, ledger.months[None, :], over_months=True)[0, 0])

    @property
    def scales(self) -> tuple[tuple[str, float], ...]:
        """The units that money can be shown in: name and factor."""
        names = (self.say(f"scale.{place}", currency=self.currency) for place in range(len(SCALES[self.language])))
        return tuple(zip(names, SCALES[self.language], strict=True))

    @cached_property
    def scale(self) -> tuple[str, float]:
        """The unit that is chosen at first: the largest in which the case has two digits before the point."""
        largest = max(abs(self.money.decision.low), abs(self.money.decision.high), abs(self.point("npv")))
        fitting = [each for each in self.scales if largest / each[1] >= 10]
        return fitting[-1] if fitting else self.scales[0]

    @cached_property
    def run(self) -> str:
        """The name of the run, as the page and the record have it."""
        return run_id(self.money)

    @cached_property
    def risks(self) -> tuple[Risk, ...]:
        """Quality, impact and risk of every input but the constants."""
        return risks(self.money)

    @cached_property
    def books(self) -> tuple[Comparison, ...]:
        """Totals of the case beside those of the company's books."""
        return comparisons(self.money)


def _when(condition: str, look: object) -> dict[str, object]:
    return {"type": "formula", "criteria": f"={condition}", "format": look}


def block(first_row: int, first_column: int, last_row: int, last_column: int) -> str:
    """Return an absolute reference to a block of cells."""
    first = xl_rowcol_to_cell(first_row, first_column, row_abs=True, col_abs=True)
    return f"{first}:{xl_rowcol_to_cell(last_row, last_column, row_abs=True, col_abs=True)}"


def cell(row: int, column: int) -> str:
    """Return an absolute reference to one cell."""
    return str(xl_rowcol_to_cell(row, column, row_abs=True, col_abs=True))


def put(sheet: Worksheet, row: int, column: int, formula: str, value: float | str, look: object) -> None:
    """Write a formula with the value it has now; a missing number shows as a dash."""
    shown = value if isinstance(value, str) else float(value) if np.isfinite(value) else NONE
    sheet.write_formula(row, column, formula, look, shown)


def number(sheet: Worksheet, row: int, column: int, value: float, look: object) -> None:
    """Write a number; a missing one shows as a dash."""
    if np.isfinite(value):
        sheet.write_number(row, column, value, look)
    else:
        sheet.write_string(row, column, NONE, look)


def text_in_formula(text: str) -> str:
    """Write a text of the catalogue inside a formula."""
    return '"' + text.replace('"', '""') + '"'
