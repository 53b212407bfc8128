"""Why a figure changed, as a workbook whose sums are live formulas."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from xlsxwriter import Workbook
from xlsxwriter.utility import xl_rowcol_to_cell
from xlsxwriter.worksheet import Worksheet

from rox.core.comparison import HEADLINES, MAIN, Comparison
from rox.core.files import written_whole
from rox.core.words import Language, say
from rox.reporting.numbers import currency_name
from rox.reporting.sheets.style import FONTS, Style

HEAD = 3
NUMBER_FORMATS = {"money": "money_per_point", "share": "per_month"}
WIDTHS = (58, 30, 30, 20, 20, 18)


def write_comparison(comparison: Comparison, path: str | Path, *, language: Language = "en") -> Path:
    """Write a comparison as an Excel workbook, whole or not at all.

    One sheet per headline holds start, steps, the unexplained rest and the end as the record states it; the running
    totals, the sum of start and steps, and its difference to the end are live formulas. Text never becomes a formula or
    a link. The same comparison gives the same bytes.

    Args:
        comparison: What :func:`rox.compare` gave.
        path: The ``.xlsx`` file.
        language: Of the sheets.
    """
    options = {"strings_to_formulas": False, "strings_to_urls": False, "strings_to_numbers": False}
    with written_whole(path) as draft:
        file = Workbook(str(draft), options)
        _fill(file, comparison, language)
        file.close()
    return Path(path)


def _fill(file: Workbook, comparison: Comparison, language: Language) -> None:
    day = dt.datetime.fromisoformat(comparison.second.extract)
    title = say("comparison.title", language, title=comparison.title[language])
    file.set_properties({"title": title[:200], "created": day})
    style = Style(file, FONTS[language])
    for name in HEADLINES:
        sheet = _sheet(file, style, say(f"comparison.headline.{name}", language), title, WIDTHS)
        _write_bridge(sheet, style, comparison, name, language)
    orders = _sheet(file, style, say("comparison.sheet.orders", language), title, (58, 20, 30))
    _write_orders(orders, style, comparison, language)
    rows = [(each.label(language), each.was, each.now) for each in comparison.differences]
    heads = [say(f"comparison.column.{each}", language) for each in ("what", "was", "now")]
    _write_texts(
        _sheet(file, style, say("comparison.sheet.differences", language), title, (58, 44, 44)), style, heads, rows
    )
    rows = [
        (check.code, say(f"verdict.{check.verdict}", language), check.sentence(language)) for check in comparison.checks
    ]
    heads = [say(f"checks.{each}", language) for each in ("code", "verdict", "finding")]
    _write_texts(
        _sheet(file, style, say("comparison.sheet.checks", language), title, (14, 14, 110)), style, heads, rows
    )


def _sheet(file: Workbook, style: Style, name: str, title: str, widths: Sequence[float]) -> Worksheet:
    sheet = file.add_worksheet(name[:31])
    for column, width in enumerate(widths):
        sheet.set_column(column, column, width, style("text"))
    sheet.write_string(0, 0, title[:500], style("title"))
    sheet.write_string(1, 0, name, style("subtitle"))
    sheet.hide_gridlines(2)
    sheet.set_landscape()
    sheet.set_paper(9)
    sheet.fit_to_pages(1, 0)
    return sheet


def _write_bridge(sheet: Worksheet, style: Style, comparison: Comparison, headline: str, language: Language) -> None:
    """Write the rows as numbers, and what must add up as formulas over them."""
    table = comparison.bridge(headline)
    unit = HEADLINES[headline]
    code = comparison.currency if language == "en" else currency_name(comparison.currency, "zh")
    named = code if unit == "money" else say("comparison.unit.share", language)
    heads = ["step", "was", "now", "amount", "total", "error"]
    titles = [say(f"comparison.column.{each}", language) for each in heads]
    titles[3:] = [f"{each} ({named})" for each in titles[3:]]
    for column, text in enumerate(titles):
        sheet.write_string(HEAD, column, text, style("head") if column < len(heads) - 3 else style("head", "right"))
    number = NUMBER_FORMATS[unit]
    last = HEAD + len(table)
    for place, (_, row) in enumerate(table.iterrows(), start=HEAD + 1):
        is_end = row["kind"] in ("start", "end")
        look = "sum" if is_end else "row"
        for column, key in enumerate((language, "was", "now")):
            sheet.write_string(place, column, str(row[key]), style(look, "wrap"))
        sheet.write_number(place, 3, float(row["value"]), style(look, number=number))
        amount, before = xl_rowcol_to_cell(place, 3), xl_rowcol_to_cell(place - 1, 4)
        running = f"={amount}" if place == HEAD + 1 else f"={before}+{amount}"
        if place == last:
            running = f"={before}"
        sheet.write_formula(place, 4, running, style(look, number=number), float(row["level"]))
        if row["error"]:
            sheet.write_number(place, 5, float(row["error"]), style(look, "muted", number=number))
    total = float(table["level"].iloc[-1])
    first, end = xl_rowcol_to_cell(HEAD + 1, 3), xl_rowcol_to_cell(last, 3)
    before_end = xl_rowcol_to_cell(last - 1, 3)
    sheet.write_string(last + 1, 0, say("comparison.sheet.sum", language), style("strong"))
    sheet.write_formula(last + 1, 3, f"=SUM({first}:{before_end})", style("strong", number=number), total)
    sheet.write_string(last + 2, 0, say("comparison.sheet.foots", language), style("muted"))
    summed = xl_rowcol_to_cell(last + 1, 3)
    sheet.write_formula(last + 2, 3, f"=ROUND({summed}-{end},6)", style("muted", number="gap"), 0.0)


def _write_orders(sheet: Worksheet, style: Style, comparison: Comparison, language: Language) -> None:
    table = comparison.by_factor()
    heads = [say(f"comparison.column.{each}", language) for each in ("factor", "fixed", "shapley")]
    for column, text in enumerate(heads):
        sheet.write_string(HEAD, column, text, style("head") if not column else style("head", "right"))
    if table.empty:
        sheet.write_string(HEAD + 1, 0, say("comparison.note.no_orders", language), style("wrap"))
        return
    number = NUMBER_FORMATS[HEADLINES[MAIN]]
    for place, (_, row) in enumerate(table.iterrows(), start=HEAD + 1):
        sheet.write_string(place, 0, str(row[language]), style("row", "wrap"))
        for column, key in ((1, "fixed"), (2, "shapley")):
            sheet.write_number(place, column, float(row[key]), style("row", number=number))
    last = HEAD + len(table)
    sheet.write_string(last + 1, 0, say("comparison.sheet.steps_total", language), style("sum"))
    for column, key in ((1, "fixed"), (2, "shapley")):
        cells = f"{xl_rowcol_to_cell(HEAD + 1, column)}:{xl_rowcol_to_cell(last, column)}"
        sheet.write_formula(last + 1, column, f"=SUM({cells})", style("sum", number=number), _total(table, key))
    sheet.write_string(last + 3, 0, say("comparison.note.orders", language), style("wrap", "muted"))


def _total(table: pd.DataFrame, key: str) -> float:
    return float(table[key].sum())


def _write_texts(sheet: Worksheet, style: Style, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    for column, text in enumerate(heads):
        sheet.write_string(HEAD, column, text, style("head"))
    for place, row in enumerate(rows, start=HEAD + 1):
        for column, text in enumerate(row):
            sheet.write_string(place, column, text[:32000], style("row", "wrap"))
