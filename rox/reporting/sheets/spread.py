"""How the draws spread: a histogram of NPV and the fan of cumulative cash, beside the draws themselves."""

from __future__ import annotations

from xlsxwriter.worksheet import Worksheet

from rox.reporting import sentences
from rox.reporting.numbers import probability
from rox.reporting.sheets.book import FACTOR, HEAD_ROWS, UNIT, Book, cell, number, put
from rox.reporting.sheets.draws import COUNT_ROW, FIRST, Sample, column_of, range_of
from rox.reporting.sheets.style import AXIS, FAINT, TOTAL

BINS = 24
FAN = ("q05", "q50", "q95")
FAN_TOP = COUNT_ROW + BINS + 4


def first_column(sample: Sample) -> int:
    """Return the column right of the draws."""
    return FIRST + len(sample.names) + 1


def write_spread(book: Book, sample: Sample) -> None:
    """Write the histogram and the fan on the sheet of draws."""
    sheet, first = book.sheet("draws"), first_column(sample)
    _write_width(book, sheet, sample)
    _write_bins(book, sheet, sample)
    _draw_histogram(book, sheet, first)
    _write_fan(book, sheet, first)
    sheet.print_area(0, 0, FAN_TOP + 2 + book.money.ledger.horizon, first + 12)


def fan_series(book: Book, sample: Sample) -> list[tuple[str, list[object], list[object]]]:
    """Return name, categories and values of the fan's lines and of the live point path, in the chosen unit."""
    sheet, first = book.places.sheets["draws"], first_column(sample)
    rows = (FAN_TOP + 2, FAN_TOP + 2 + book.money.ledger.horizon)
    start = first + 1 + len(book.money.fan.columns)
    names = [*(book.say("draws.percentile", p=int(name[1:])) for name in FAN), book.say("draws.point")]
    months: list[object] = [sheet, rows[0], first, rows[1], first]
    return [(name, months, [sheet, rows[0], start + place, rows[1], start + place]) for place, name in enumerate(names)]


def _write_width(book: Book, sheet: Worksheet, sample: Sample) -> None:
    first, data = first_column(sample), range_of(book, sample, "npv", outside=False)
    top, style = COUNT_ROW + BINS, book.style
    sheet.write_string(top, first, book.say("draws.bins"), style("muted"))
    sheet.write_number(top, first + 1, BINS, style("frozen", number="count"))
    sheet.write_string(top + 1, first, book.say("draws.width"), style("muted"))
    formula = f"=(MAX({data})-MIN({data}))/({cell(top, first + 1)}-1)"
    put(sheet, top + 1, first + 1, formula, _width(sample), style("muted", number="money"))


def _width(sample: Sample) -> float:
    """Return the width of a class; the smallest and the largest draw stand in the middle of theirs."""
    npv = sample.column("npv")
    return float(npv.max() - npv.min()) / (BINS - 1)


def _write_bins(book: Book, sheet: Worksheet, sample: Sample) -> None:
    style, first, npv = book.style, first_column(sample), sample.column("npv")
    data, count = range_of(book, sample, "npv", outside=False), cell(COUNT_ROW, column_of(sample, "npv"))
    width = _width(sample)
    edge = float(npv.min()) - width / 2
    titles = [book.say(f"draws.{key}") for key in ("from", "to", "share")]
    book.head(sheet, HEAD_ROWS, [*titles, book.scale[0]], first, texts=0)
    put(sheet, HEAD_ROWS, first + 3, f"={UNIT}", book.scale[0], style("head", "right"))
    step = cell(COUNT_ROW + BINS + 1, first + 1)
    for row in range(COUNT_ROW, COUNT_ROW + BINS):
        start, end = cell(row, first), cell(row, first + 1)
        formula = f"=MIN({data})-{step}/(1+1)" if row == COUNT_ROW else f"={cell(row - 1, first + 1)}"
        put(sheet, row, first, formula, edge, style("row", number="money"))
        formula = f"={start}+{step}"
        put(sheet, row, first + 1, formula, edge + width, style("row", number="money"))
        share = float(((npv >= edge) & (npv < edge + width)).mean())
        formula = f"=SUMPRODUCT(({data}>={start})*({data}<{end}))/{count}"
        put(sheet, row, first + 2, formula, share, style("row", number="share"))
        middle = (edge + (edge + width)) / 2 / book.scale[1]
        put(sheet, row, first + 3, f"=({start}+{end})/(1+1)/{FACTOR}", middle, style("row", number="scaled"))
        edge += width


def _draw_histogram(book: Book, sheet: Worksheet, first: int) -> None:
    chart, name = book.file.add_chart({"type": "column"}), book.places.sheets["draws"]
    last = COUNT_ROW + BINS - 1
    chart.add_series(
        {
            "name": book.say("draws.share"),
            "categories": [name, COUNT_ROW, first + 3, last, first + 3],
            "values": [name, COUNT_ROW, first + 2, last, first + 2],
            "fill": {"color": TOTAL},
            "gap": 8,
        }
    )
    unit = f"={book.places.quoted('draws')}!{cell(HEAD_ROWS, first + 3)}"
    chart.set_title({"name": book.say("draws.histogram"), "name_font": {"size": 12}})
    chart.set_legend({"none": True})
    chart.set_x_axis({"name": unit, "label_position": "low", "num_format": AXIS, "interval_unit": 4})
    chart.set_y_axis({"num_format": "0%", "major_gridlines": {"visible": True, "line": {"color": FAINT}}})
    chart.set_size({"width": 560, "height": 330})
    decision, shape = book.money.decision, sentences.npv_form(book.money, book.language)
    odds = probability(decision.p_positive, book.language)
    description = book.say("draws.histogram.alt", range=shape.between(decision.low, decision.high), p=odds)
    sheet.insert_chart(HEAD_ROWS, first + 5, chart, {"description": description, "object_position": 2})


def _write_fan(book: Book, sheet: Worksheet, first: int) -> None:
    """Write quantiles of cumulative discounted cash by month, frozen, and beside them in the chosen unit."""
    style, fan, horizon = book.style, book.money.fan, book.money.ledger.horizon
    start = first + 1 + len(fan.columns)
    book.section(sheet, FAN_TOP, book.say("draws.fan"), start + len(FAN), first)
    levels = [f"{int(name[1:])}%" for name in (*fan.columns, *FAN)]
    book.head(sheet, FAN_TOP + 1, [book.say("calc.month"), *levels, book.say("draws.live")], first, texts=0)
    for month in range(horizon + 1):
        row = FAN_TOP + 2 + month
        sheet.write_number(row, first, month, style("frozen", number="ratio"))
        for offset, name in enumerate(fan.columns, start=1):
            number(sheet, row, first + offset, float(fan[name].iloc[month]), style("frozen", number="money"))
        for offset, name in enumerate(FAN):
            frozen = cell(row, first + 1 + list(fan.columns).index(name))
            value = float(fan[name].iloc[month]) / book.scale[1]
            put(sheet, row, start + offset, f"={frozen}/{FACTOR}", value, style("row", number="scaled"))
        path = book.places.reference("cumulative_present", "months", outside=True)
        value = float(book.money.point["cumulative_present"][month]) / book.scale[1]
        formula = f"=INDEX({path},1,{cell(row, first)}+1)/{FACTOR}"
        put(sheet, row, start + len(FAN), formula, value, style("row", number="scaled"))
