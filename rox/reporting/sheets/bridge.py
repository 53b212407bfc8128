"""The steps from contribution to NPV, live, and the columns a waterfall is drawn from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from xlsxwriter.worksheet import Worksheet

from rox.core.formula import Array, evaluate, names
from rox.core.ledger import Ledger
from rox.core.returns import Return
from rox.reporting.numbers import show
from rox.reporting.sheets.book import FACTOR, UNIT, Book, cell, put
from rox.reporting.sheets.style import AXIS, FAINT, GAIN, LOSS, TOTAL

COLOURS: Mapping[str, str] = {"gain": GAIN, "loss": LOSS, "total": TOTAL}
WORK = 12
"""Column in which the workings of the waterfall begin, right of what is printed."""


@dataclass(frozen=True, kw_only=True)
class Rung:
    """One step.

    Attributes:
        labels: Its words by language.
        formula: Its amount in the ledger's language.
        kind: ``gain``, ``loss`` or ``total``.
    """

    labels: Mapping[str, str]
    formula: str
    kind: str


def steps(money: Return) -> tuple[Rung, ...]:
    """Return the steps of the return's bridge as formulas over its ledger.

    Raises:
        ValueError: The ledger's lines do not give the bridge's amounts.
    """
    formulas = _formulas(money)
    rows = money.bridge.to_dict("records")
    amounts = [_amount(money, formula) for formula in formulas]
    stated = [float(row["value"]) for row in rows]
    if len(amounts) != len(stated) or not np.allclose(amounts, stated, rtol=1e-9, atol=1e-6):
        raise ValueError(f"the bridge {stated} is not what the ledger's lines give: {amounts}")
    return tuple(
        Rung(labels={"en": str(row["en"]), "zh": str(row["zh"])}, formula=formula, kind=str(row["kind"]))
        for row, formula in zip(rows, formulas, strict=True)
    )


def _formulas(money: Return) -> list[str]:
    """Write each step over the lines it sums: effects, other benefits, costs, tax, discounting, NPV."""
    ledger = money.ledger
    incomes, spent = _parts(ledger, "benefit"), _parts(ledger, "cost")
    of_effects = [[name for name in incomes if name.startswith(f"income_{effect.name}_")] for effect in money.effects]
    taken = {name for names_ in of_effects for name in names_}
    gains = [*(group for group in of_effects if group), *([name] for name in incomes if name not in taken)]
    return [
        *(" + ".join(f"SUM({name})" for name in group) for group in gains),
        *(f"-SUM({name})" for name in spent),
        "-SUM(tax_paid)",
        "SUM(present) - SUM(net)",
        "npv",
    ]


def _parts(ledger: Ledger, name: str) -> list[str]:
    """Return the lines a sum is made of, in the ledger's order."""
    formula = next(line.formula for line in ledger.lines if line.name == name)
    return [line.name for line in ledger.lines if line.name in names(formula)]


def _amount(money: Return, formula: str) -> float:
    values: dict[str, Array] = {name: np.asarray(found)[None, :] for name, found in money.point.items()}
    return float(evaluate(formula, values, money.ledger.months[None, :], over_months=True)[0, 0])


def write_bridge(book: Book, sheet: Worksheet, top: int) -> None:
    """Write the steps and, beside them, the workings of the waterfall.

    A step from one level to the next is drawn as a bar over an invisible one. Bars above and below zero stack apart, so
    each bar has a part on either side, and the chart holds when the running sum crosses zero.
    """
    style, rungs = book.style, steps(book.money)
    book.section(sheet, top, book.say("bridge"), 2)
    book.head(sheet, top + 1, [book.say("bridge.step"), book.say("summary.unit"), book.say("bridge.amount")], texts=2)
    kinds = [book.say(f"bridge.{kind}.{side}") for kind in COLOURS for side in ("above", "below")]
    book.head(sheet, top + 1, [book.say(f"bridge.{each}") for each in ("start", "end", "hidden")], WORK, texts=0)
    book.head(sheet, top + 1, kinds, WORK + 3, texts=0)
    book.section(sheet, top, book.say("bridge.workings"), WORK + 8, WORK)
    level = 0.0
    for place, rung in enumerate(rungs):
        row = top + 2 + place
        amount = book.point(rung.formula) / book.scale[1]
        total = rung.kind == "total"
        look = style("sum" if total else "row", number="scaled")
        sheet.write_string(row, 0, rung.labels[book.language], style("sum" if total else "row"))
        put(sheet, row, 1, f"={UNIT}", book.scale[0], style("muted", "sum" if total else "row"))
        formula = book.places.formula(rung.formula, outside=True)[1:]
        put(sheet, row, 2, f"=({formula})/{FACTOR}", amount, look)
        start = 0.0 if total else level
        level = start + amount
        first = place == 0 or total
        _write_workings(book, sheet, row, (start, level), rung.kind, first=first)


def _write_workings(
    book: Book, sheet: Worksheet, row: int, levels: tuple[float, float], kind: str, *, first: bool
) -> None:
    look = book.style("frozen", number="scaled")
    start, end = cell(row, WORK), cell(row, WORK + 1)
    put(sheet, row, WORK, "=0" if first else f"={cell(row - 1, WORK + 1)}", levels[0], look)
    put(sheet, row, WORK + 1, f"={start}+{cell(row, 2)}", levels[1], look)
    low, high = min(levels), max(levels)
    put(sheet, row, WORK + 2, f"=MAX(0,MIN({start},{end}))+MIN(0,MAX({start},{end}))", max(0, low) + min(0, high), look)
    above = f"=MAX(0,MAX({start},{end}))-MAX(0,MIN({start},{end}))"
    below = f"=MIN(0,MIN({start},{end}))-MIN(0,MAX({start},{end}))"
    for place, each in enumerate(COLOURS):
        for side, (formula, value) in enumerate(
            ((above, max(0, high) - max(0, low)), (below, min(0, low) - min(0, high)))
        ):
            column = WORK + 3 + 2 * place + side
            if each == kind:
                put(sheet, row, column, formula, value, look)
            else:
                sheet.write_blank(row, column, None, look)


def draw_bridge(book: Book, sheet: Worksheet, top: int, at: tuple[int, int]) -> None:
    """Draw the waterfall from the workings."""
    chart, name = book.file.add_chart({"type": "column", "subtype": "stacked"}), book.places.sheets["summary"]
    first, last = top + 2, top + 1 + len(book.money.bridge)
    categories = [name, first, 0, last, 0]
    hidden = {"values": [name, first, WORK + 2, last, WORK + 2], "categories": categories}
    chart.add_series({**hidden, "fill": {"none": True}, "border": {"none": True}, "gap": 35})
    for place, colour in enumerate(COLOURS.values()):
        for side in (0, 1):
            column = WORK + 3 + 2 * place + side
            chart.add_series(
                {
                    "name": [name, top + 1, column],
                    "categories": categories,
                    "values": [name, first, column, last, column],
                    "fill": {"color": colour},
                    "border": {"none": True},
                }
            )
    chart.set_title({"name": book.say("bridge"), "name_font": {"size": 12}})
    chart.set_legend({"none": True})
    chart.set_x_axis({"label_position": "low", "num_font": {"size": 9}})
    chart.set_y_axis(
        {
            "name": f"={book.places.quoted('summary')}!{cell(first, 1)}",
            "num_format": AXIS,
            "major_gridlines": {"visible": True, "line": {"color": FAINT}},
        }
    )
    chart.set_size({"width": 550, "height": 340})
    npv = show(book.point("npv"), "money", book.language, currency=book.money.case.about.currency)
    sheet.insert_chart(*at, chart, {"description": book.say("bridge.alt", npv=npv), "object_position": 2})
