"""The workbook recalculated by a second, independent engine, which trusts no value that is saved in the file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import openpyxl
import pytest

from rox.core.returns import Return
from rox.reporting.workbook import write_workbook
from rox.valuation.value import value
from tests.reporting.test_workbook import run
from tests.valuation.everything import all_effects, everything

pytest.importorskip("formulas", reason="the package `formulas` evaluates the workbook; extra `test` installs it")


@pytest.fixture(scope="module")
def short() -> Return:
    """Everything switched on over a few months, so that the second engine has few cells to read."""
    about = everything().about.model_copy(update={"horizon": 8, "in_budget_from": 15})
    return value(all_effects(), everything().model_copy(update={"about": about}), draws=100, rng=3)


def flexes(money: Return) -> list[dict[str, float]]:
    """No change, and two drawn ones: every uncertain input at a random place between its ends."""
    rng = np.random.default_rng(11)
    uncertain = [each for each in money.ledger.inputs if each.spread.is_uncertain]
    return [
        {},
        *({each.name: float(rng.uniform(each.spread.low, each.spread.high)) for each in uncertain} for _ in range(2)),
    ]


def test_a_second_engine_gives_what_python_gives(short: Return, tmp_path: Path) -> None:
    import formulas

    path = write_workbook(short, tmp_path / "short.xlsx")
    book = openpyxl.load_workbook(path)
    model = formulas.ExcelModel().loads(str(path)).finish()
    for changed in flexes(short):
        given = {place(book, path, f"in_{name}"): number for name, number in changed.items()}
        found = model.calculate(inputs=given)
        lines = run(short, changed)
        wrong = [
            f"{name}: {shown} for {computed}" for name, shown, computed in compared(short, book, path, found, lines)
        ]
        assert not wrong, wrong[:5]
        assert len(lines) > 30


def place(book: openpyxl.Workbook, path: Path, name: str) -> str:
    """Return the address of a named cell as the engine writes it."""
    sheet, cell = book.defined_names[name].attr_text.split("!")
    return f"'[{path.name}]{sheet.strip(chr(39)).upper()}'!{cell.replace('$', '')}"


def compared(
    money: Return, book: openpyxl.Workbook, path: Path, found: Mapping[str, object], lines: Mapping[str, np.ndarray]
) -> list[tuple[str, object, float]]:
    """List the lines whose cells differ from what Python computed by more than 1e-9."""
    calc = next(sheet for sheet in book.worksheets if sheet.title == "Calc")
    last, wrong = 5 + money.ledger.horizon, []
    rows = {str(row[last + 2].value): row for row in calc.iter_rows() if row[last + 2].value}
    for line in money.ledger.lines:
        cells = [rows[line.name][2]] if line.scope == "total" else rows[line.name][5 : last + 1]
        scale = float(np.nanmax(np.abs(lines[line.name]), initial=1.0))
        for cell, computed in zip(cells, lines[line.name], strict=True):
            shown = found[f"'[{path.name}]CALC'!{cell.coordinate}"].value[0, 0]  # type: ignore[attr-defined]
            is_same = shown == "–" if not np.isfinite(computed) else abs(float(shown) - computed) <= 1e-9 * scale
            if not is_same:
                wrong.append((f"{line.name} {cell.coordinate}", shown, float(computed)))
    return wrong
