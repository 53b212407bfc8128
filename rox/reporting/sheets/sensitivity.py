"""Which input moves NPV, by how much, and where it would turn."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from xlsxwriter.worksheet import Worksheet

from rox.reporting.sheets.book import FACTOR, HEAD_ROWS, UNIT, Book, cell, number, put
from rox.reporting.sheets.style import AXIS, FAINT, GAIN, LOSS

WIDTHS = (44, 16, 14, 14, 14, 17, 17, 17, 13, 15, 15, 13, 13, 17, 4, 14, 14)
TITLES = ("input", "unit", "value", "low", "high", "npv_low", "npv_high", "swing", "elasticity", "break_even", "room")
KNOWN = ("first", "total", "evppi")
"""What the draws say about a row of the table: frozen numbers, for they come from whole sets of draws."""
TOP = HEAD_ROWS + 3
CHART = 15
"""Column of the changes that the chart is drawn from."""

BARS = 10


def write_sensitivity(book: Book) -> None:
    """Write the table of one factor at a time and draw the tornado."""
    sheet, style = book.begin("sensitivity", WIDTHS), book.style
    table = book.money.tornado
    sheet.merge_range(HEAD_ROWS - 1, 0, HEAD_ROWS, 10, "", style("muted", "wrap"))
    sheet.write_string(HEAD_ROWS - 1, 0, book.say("sensitivity.note"), style("muted", "wrap"))
    sheet.set_row(HEAD_ROWS, 32)
    sheet.write_string(TOP - 1, 0, book.say("sensitivity.base"), style("strong"))
    number(sheet, TOP - 1, 2, book.point("npv"), style("frozen", number="money"))
    sheet.set_row(TOP, 48)
    book.head(sheet, TOP, [book.say(f"sensitivity.{title}", currency=book.currency) for title in TITLES], texts=2)
    if book.money.knowing is not None:
        _write_known(book, sheet)
    book.head(sheet, TOP, [book.say("sensitivity.at_low"), book.say("sensitivity.at_high")], CHART, texts=0)
    put(sheet, TOP - 1, CHART, f"={UNIT}", book.scale[0], style("muted"))
    for row, (_, factor) in enumerate(table.iterrows(), start=TOP + 1):
        _write_factor(book, sheet, factor, row)
    last = TOP + len(table)
    _draw_tornado(book, sheet, (last + 2, 0))
    sheet.freeze_panes(TOP + 1, 1)
    sheet.repeat_rows(TOP)
    sheet.print_area(0, 0, last + 24, len(TITLES) + len(KNOWN) - 1)


def _write_known(book: Book, sheet: Worksheet) -> None:
    """Write each input's shares of the variance and what knowing it exactly is worth, as the draws gave them."""
    known, style = book.money.knowing, book.style
    if known is None:
        return
    start = len(TITLES)
    draws = f"{known.draws:,}"
    sheet.merge_range(TOP - 1, start, TOP - 1, start + len(KNOWN) - 1, "", style("muted"))
    sheet.write_string(TOP - 1, start, book.say("sensitivity.known", draws=draws), style("muted"))
    titles = [book.say(f"sensitivity.{name}", currency=book.currency) for name in KNOWN]
    book.head(sheet, TOP, titles, start, texts=0)
    rows = {part: row for _, row in known.factors.iterrows() for part in row["parts"]}
    for row, name in enumerate(book.money.tornado["name"], start=TOP + 1):
        for column, key in enumerate(KNOWN, start=start):
            value = float(rows[name][key]) if name in rows else math.nan
            number(sheet, row, column, value, style("row", "right", number="money" if key == "evppi" else "=share"))


def _write_factor(book: Book, sheet: Worksheet, factor: pd.Series, row: int) -> None:
    style, unit = book.style, str(factor["unit"])
    sheet.write_string(row, 0, str(factor[book.language]), style("wrap", "row"))
    sheet.write_string(row, 1, book.unit(unit), style("muted", "row"))
    for column, name in enumerate(("value", "low", "high"), start=2):
        number(sheet, row, column, float(factor[name]), style("row", "right", number=f"={unit}"))
    for column, name in enumerate(("npv_low", "npv_high", "swing"), start=5):
        number(sheet, row, column, float(factor[name]), style("row", "right", number="money"))
    number(sheet, row, 8, float(factor["sensitivity"]), style("row", "right", number="elasticity"))
    turn, value = float(factor["break_even"]), float(factor["value"])
    number(sheet, row, 9, turn, style("row", "right", number=f"={unit}"))
    room = turn / value - 1 if math.isfinite(turn) and value else math.nan
    formula = f'=IF(ISNUMBER({cell(row, 9)}),{cell(row, 9)}/{cell(row, 2)}-1,"–")'
    put(sheet, row, 10, formula, room, style("row", "right", number="change"))
    base = cell(TOP - 1, 2)
    for offset, (column, name) in enumerate(((5, "npv_low"), (6, "npv_high"))):
        change = (float(factor[name]) - book.point("npv")) / book.scale[1]
        formula = f"=({cell(row, column)}-{base})/{FACTOR}"
        put(sheet, row, CHART + offset, formula, change, style("frozen", number="scaled"))


def _draw_tornado(book: Book, sheet: Worksheet, at: tuple[int, int]) -> None:
    bars = int(np.clip((book.money.tornado["swing"] > 0).sum(), 1, BARS))
    chart, name = book.file.add_chart({"type": "bar", "subtype": "stacked"}), book.places.sheets["sensitivity"]
    for offset, colour in enumerate((LOSS, GAIN)):
        chart.add_series(
            {
                "name": [name, TOP, CHART + offset],
                "categories": [name, TOP + 1, 0, TOP + bars, 0],
                "values": [name, TOP + 1, CHART + offset, TOP + bars, CHART + offset],
                "fill": {"color": colour},
                "border": {"none": True},
                "gap": 40,
            }
        )
    chart.set_title({"name": book.say("sensitivity.tornado"), "name_font": {"size": 12}})
    chart.set_legend({"position": "bottom"})
    chart.set_y_axis({"reverse": True, "label_position": "low", "num_font": {"size": 9}})
    chart.set_x_axis(
        {
            "name": f"={book.places.quoted('sensitivity')}!{cell(TOP - 1, CHART)}",
            "num_format": AXIS,
            "label_position": "high",
            "major_gridlines": {"visible": True, "line": {"color": FAINT}},
        }
    )
    chart.set_size({"width": 900, "height": 420})
    first = str(book.money.tornado[book.language].iloc[0])
    sheet.insert_chart(*at, chart, {"description": book.say("sensitivity.alt", first=first), "object_position": 2})
