"""Read a workbook back: its inputs, its formulas and the values it holds, to recalculate it without a spreadsheet."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import openpyxl

from rox.core.errors import DataError
from rox.core.ledger import Ledger
from rox.core.spread import Spread
from rox.core.words import Language, say
from rox.reporting.sheets.book import FIRST_MONTH, INPUT_VALUE, SHEETS, VALUE, Places
from rox.reporting.sheets.calc import GAP


@dataclass(frozen=True, kw_only=True)
class Reread:
    """What a workbook says.

    Attributes:
        run: The run it names.
        ledger: Inputs at the values of their cells, without a range; schedules and formulas as the sheet has them.
        shown: The totals its cells hold.
        strangers: Lines whose live formula is not the one that stands beside them in words, by name.
    """

    run: str
    ledger: Ledger
    shown: dict[str, float]
    strangers: tuple[str, ...]


def reread(path: str | Path, like: Ledger, *, language: Language = "en") -> Reread:
    """Read a workbook that was written from a ledger of the same lines.

    Args:
        path: The ``.xlsx`` file.
        like: The ledger it is held against: names, units and order of the lines.
        language: Of the sheets.

    Raises:
        DataError: The file is missing, or its lines are not those of the ledger.
    """
    if not Path(path).is_file():
        raise DataError(f"There is no workbook at {path}.", ["run the study first, or name another folder"])
    live, held = (openpyxl.load_workbook(path, data_only=values) for values in (False, True))
    names = {key: say(f"workbook.sheet.{key}", language) for key in SHEETS}
    if missing := [name for name in names.values() if name not in live.sheetnames]:
        raise DataError(f"{path} is not a workbook in this language.", [f"it lacks the sheets {', '.join(missing)}"])
    places = Places(like, names)
    calc, inputs = live[names["calc"]], held[names["inputs"]]
    words = {row: calc.cell(row + 1, places.last_month + GAP + 1).value for row in places.lines.values()}
    if wrong := [name for name, row in places.lines.items() if name != "month" and words[row] != name]:
        raise DataError(f"{path} has other lines than the ledger.", [f"not found in their places: {', '.join(wrong)}"])
    lines = tuple(
        replace(line, formula=str(calc.cell(places.lines[line.name] + 1, places.last_month + GAP + 2).value))
        for line in like.lines
    )
    ledger = replace(
        like,
        lines=lines,
        inputs=tuple(
            replace(each, spread=Spread.fixed(float(_at(inputs, places.inputs[each.name], INPUT_VALUE))))
            for each in like.inputs
        ),
        schedules={
            name: tuple(float(_at(calc, places.lines[name], FIRST_MONTH + month)) for month in range(like.horizon + 1))
            for name in like.schedules
        },
    )
    strangers = tuple(line.name for line in lines if not _is_live(calc, places, line.name, line.formula, like.horizon))
    shown = {
        line.name: float(number)
        for line in lines
        if isinstance(number := _at(held[names["calc"]], places.lines[line.name], VALUE), int | float)
    }
    return Reread(run=_run(held[names["about"]], language), ledger=ledger, shown=shown, strangers=strangers)


def _at(sheet: Any, row: int, column: int) -> Any:
    return sheet.cell(row + 1, column + 1).value


def _is_live(calc: Any, places: Places, name: str, formula: str, horizon: int) -> bool:
    """Tell whether every cell of a line holds the line's formula."""
    row = places.lines[name]
    columns = [VALUE] if name in places.totals else range(FIRST_MONTH, FIRST_MONTH + horizon + 1)
    return all(
        _at(calc, row, column) == places.formula(formula, FIRST_MONTH if column == VALUE else column)
        for column in columns
    )


def _run(about: Any, language: Language) -> str:
    rows = (
        row for row in about.iter_rows(max_col=2, values_only=True) if row[0] == say("workbook.about.run", language)
    )
    return str(next(rows, ("", ""))[1])
