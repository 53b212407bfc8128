"""The summary: the answer, the live figures beside the delivered ones and their ranges, and the pictures."""

from __future__ import annotations

from collections.abc import Sequence

from xlsxwriter.worksheet import Worksheet

from rox.core.returns import HEADLINES
from rox.core.words import say
from rox.reporting import sentences
from rox.reporting.sheets import bridge
from rox.reporting.sheets.book import (
    CHANGED,
    FACTOR,
    HEAD_ROWS,
    NONE,
    UNIT,
    Book,
    block,
    cell,
    number,
    put,
    text_in_formula,
)
from rox.reporting.sheets.draws import Sample, count_cells, quantile_cell, share_above_cell
from rox.reporting.sheets.spread import fan_series
from rox.reporting.sheets.style import AXIS, BAND, FAINT, GAIN, TOTAL

WIDTHS = (46, 15, 18, 18, 16, 16, 16, 4, 18, 14, 4, 4, *(14,) * 9)
DELIVERED = 3
ANSWER_ROW = HEAD_ROWS + 1
SWITCH_ROW = ANSWER_ROW + 3
TABLE_TOP = SWITCH_ROW + 2
FIGURES = tuple(dict.fromkeys(("npv", "present_benefit", "present_cost", *HEADLINES[1:])))
SCALE_COLUMN = 8
CHART_ROWS = 19


def figures(book: Book) -> tuple[str, ...]:
    """Return the totals that are shown."""
    return tuple(name for name in FIGURES if name in book.places.totals)


def write_summary(book: Book, sample: Sample) -> None:
    """Write the answer, the figures, the probabilities and the pictures."""
    sheet = book.begin("summary", WIDTHS)
    _write_answer(book, sheet)
    _write_switch(book, sheet)
    after = _write_figures(book, sheet, sample)
    charts = _write_odds(book, sheet, sample, after + 2) + 1
    steps = charts + CHART_ROWS
    bridge.write_bridge(book, sheet, steps)
    bridge.draw_bridge(book, sheet, steps, (charts, 0))
    _draw_fan(book, sheet, sample, (charts, 3))
    sheet.print_area(0, 0, steps + 2 + len(book.money.bridge), SCALE_COLUMN - 1)
    sheet.fit_to_pages(1, 1)
    sheet.set_selection(SWITCH_ROW, 1, SWITCH_ROW, 1)


def _write_answer(book: Book, sheet: Worksheet) -> None:
    style, money = book.style, book.money
    decision = money.case.about.decision[book.language]
    sheet.merge_range(HEAD_ROWS, 0, HEAD_ROWS, 6, "", style("muted", "wrap"))
    sheet.write_string(HEAD_ROWS, 0, book.say("summary.question", question=decision), style("muted", "wrap"))
    book.wrapped(sheet, ANSWER_ROW, sentences.answer(money, book.language), sum(WIDTHS[:7]) * 0.72, least=34)
    sheet.merge_range(ANSWER_ROW, 0, ANSWER_ROW, 6, "", style("lead"))
    sheet.write_string(ANSWER_ROW, 0, sentences.answer(money, book.language), style("lead"))
    same, other = (text_in_formula(book.say(f"summary.{key}")) for key in ("unchanged", "changed"))
    sheet.merge_range(ANSWER_ROW + 1, 0, ANSWER_ROW + 1, 6, "", style("muted"))
    put(sheet, ANSWER_ROW + 1, 0, f"=IF({CHANGED}=0,{same},{other})", book.say("summary.unchanged"), style("muted"))
    rule = {"type": "formula", "criteria": f"={CHANGED}>0", "format": style.change("warn")}
    sheet.conditional_format(ANSWER_ROW + 1, 0, ANSWER_ROW + 1, 6, rule)


def _write_switch(book: Book, sheet: Worksheet) -> None:
    """Write the switch of the unit, and its table right of the page."""
    style, scales = book.style, book.scales
    sheet.write_string(SWITCH_ROW, 0, book.say("summary.switch"), style("strong", "right"))
    sheet.write_string(SWITCH_ROW, 1, book.scale[0], style("input", "centre"))
    book.head(sheet, TABLE_TOP, [book.say("summary.unit"), book.say("summary.factor")], SCALE_COLUMN)
    for row, (name, factor) in enumerate(scales, start=TABLE_TOP + 1):
        sheet.write_string(row, SCALE_COLUMN, name, style("row"))
        sheet.write_number(row, SCALE_COLUMN + 1, factor, style("constant", number="customers"))
    names, factors = (
        block(TABLE_TOP + 1, column, TABLE_TOP + len(scales), column) for column in (SCALE_COLUMN, SCALE_COLUMN + 1)
    )
    switch, row = cell(SWITCH_ROW, 1), TABLE_TOP + len(scales) + 1
    sheet.write_string(row, SCALE_COLUMN, book.say("summary.in_use"), style("sum"))
    put(
        sheet,
        row,
        SCALE_COLUMN + 1,
        f"=SUMPRODUCT(({names}={switch})*{factors})",
        book.scale[1],
        style("sum", number="customers"),
    )
    sheet.data_validation(SWITCH_ROW, 1, SWITCH_ROW, 1, {"validate": "list", "source": f"={names}"})
    quoted = book.places.quoted("summary")
    book.file.define_name(UNIT, f"={quoted}!{switch}")
    book.file.define_name(FACTOR, f"={quoted}!{cell(row, SCALE_COLUMN + 1)}")


def _write_figures(book: Book, sheet: Worksheet, sample: Sample) -> int:
    """Write the totals: live, as delivered, and the range of the draws; return the last row."""
    style = book.style
    titles = ("figure", "unit", "live", "delivered", "low", "middle", "high")
    sheet.set_row(TABLE_TOP, 44)
    book.head(sheet, TABLE_TOP, [book.say(f"summary.{title}") for title in titles], texts=2)
    lines = {line.name: line for line in book.money.ledger.lines}
    row = TABLE_TOP
    for row, name in enumerate(figures(book), start=TABLE_TOP + 1):
        line, is_money = lines[name], lines[name].unit == "money"
        kind, factor = ("scaled", book.scale[1]) if is_money else (line.unit, 1.0)
        sheet.write_string(row, 0, line.label(book.language), style("row", "strong"))
        if is_money:
            put(sheet, row, 1, f"={UNIT}", book.scale[0], style("row", "muted"))
        else:
            sheet.write_string(row, 1, book.unit(line.unit), style("row", "muted"))
        live = book.places.reference(name, "here", outside=True)
        _write_scaled(book, sheet, (row, 2), live, book.point(name) / factor, is_money, ("figure", "row"), kind)
        look = style("row", "right", "frozen", number=line.unit)
        number(sheet, row, DELIVERED, book.point(name), look)
        for column, level in ((4, 0.05), (5, 0.50), (6, 0.95)):
            if name in sample.names:
                quantile = quantile_cell(book, sample, name, level)
                value = sample.quantile(name, level) / factor
                _write_scaled(book, sheet, (row, column), quantile, value, is_money, ("row",), kind)
    return row


def _write_scaled(
    book: Book,
    sheet: Worksheet,
    at: tuple[int, int],
    reference: str,
    value: float,
    is_money: bool,
    look: Sequence[str],
    kind: str,
) -> None:
    formula = f'=IF(ISNUMBER({reference}),{reference}/{FACTOR},"{NONE}")' if is_money else f"={reference}"
    put(sheet, *at, formula, value, book.style(*look, "right", number=kind))


def delivered_cell(book: Book, name: str) -> str:
    """Return the reference of a total as delivered, in currency."""
    row = TABLE_TOP + 1 + figures(book).index(name)
    return f"{book.places.quoted('summary')}!{cell(row, DELIVERED)}"


def _write_odds(book: Book, sheet: Worksheet, sample: Sample, top: int) -> int:
    """Write the probabilities from the draws and the evidence behind them; return the row after."""
    style, decision = book.style, book.money.decision
    book.section(sheet, top, book.say("summary.odds"), 6)
    count, known = count_cells(book, sample, "payback")
    hurdle = next((each for each in book.money.ledger.inputs if each.name == "hurdle"), None)
    odds = [
        ("p_positive", share_above_cell(book, sample, "npv"), sample.share_above("npv", 0.0)),
        ("p_payback", f"{known}/{count}", sample.share_known("payback")),
    ]
    if hurdle is not None:
        above = share_above_cell(book, sample, "roi", book.places.names["hurdle"])
        odds.insert(1, ("p_hurdle", above, sample.share_above("roi", hurdle.value)))
    row = top
    for row, (key, formula, value) in enumerate(odds, start=top + 1):
        sheet.write_string(row, 0, book.say(f"summary.{key}", months=book.money.ledger.horizon), style("row"))
        sheet.write_blank(row, 1, None, style("row"))
        put(sheet, row, 2, f"={formula}", value, style("row", "figure", number="share"))
    row += 1
    sheet.write_string(row, 0, book.say("summary.expected"), style("row"))
    put(sheet, row, 1, f"={UNIT}", book.scale[0], style("row", "muted"))
    number(sheet, row, DELIVERED, decision.expected_npv, style("row", "right", "frozen", number="money"))
    formula = f"={cell(row, DELIVERED)}/{FACTOR}"
    put(sheet, row, 2, formula, decision.expected_npv / book.scale[1], style("row", "figure", number="scaled"))
    row += 1
    sheet.write_string(row, 0, book.say("summary.grade"), style("row"))
    sheet.write_blank(row, 1, None, style("row"))
    sheet.write_string(row, 2, str(decision.grade), style("row", "figure", "right"))
    grade = say(f"grade.{decision.grade}", book.language)
    sheet.merge_range(row, 3, row, 6, "", style("muted", "wrap", "row", "inset"))
    sheet.write_string(row, 3, grade, style("muted", "wrap", "row", "inset"))
    book.wrapped(sheet, row, grade, sum(WIDTHS[3:7]))
    return row + 1


def _draw_fan(book: Book, sheet: Worksheet, sample: Sample, at: tuple[int, int]) -> None:
    """Draw cumulative discounted cash: the draws' range, their middle, and the live point path."""
    chart = book.file.add_chart({"type": "line"})
    lines = ((BAND, 1.25, "dash"), (GAIN, 1.75, "solid"), (BAND, 1.25, "dash"), (TOTAL, 2.5, "solid"))
    for (name, months, values), (colour, width, dash) in zip(fan_series(book, sample), lines, strict=True):
        chart.add_series(
            {
                "name": name,
                "categories": months,
                "values": values,
                "line": {"color": colour, "width": width, "dash_type": dash},
            }
        )
    chart.set_title({"name": book.say("summary.fan"), "name_font": {"size": 12}})
    chart.set_legend({"position": "bottom"})
    chart.set_x_axis({"name": book.say("calc.month"), "label_position": "low", "interval_unit": 6, "interval_tick": 6})
    chart.set_y_axis(
        {
            "name": f"={book.places.quoted('summary')}!{cell(SWITCH_ROW, 1)}",
            "num_format": AXIS,
            "major_gridlines": {"visible": True, "line": {"color": FAINT}},
        }
    )
    chart.set_size({"width": 480, "height": 340})
    sheet.insert_chart(*at, chart, {"description": book.say("summary.fan.alt"), "object_position": 2})
