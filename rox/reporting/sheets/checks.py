"""The sheet of checks: the figures held against each other and against the books, and the flag every sheet shows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from xlsxwriter.worksheet import Worksheet

from rox.core.words import say
from rox.reporting.reconciliation import Comparison
from rox.reporting.sheets.book import (
    ALERTS,
    CHANGED,
    FAILED,
    FLAG,
    HEAD_ROWS,
    NONE,
    OUTSIDE,
    Book,
    block,
    cell,
    number,
    put,
    text_in_formula,
)
from rox.reporting.sheets.calc import delivered_schedules
from rox.reporting.sheets.draws import Sample, quantile_cell
from rox.reporting.sheets.inputs import columns_of
from rox.reporting.sheets.proofs import TOLERANCES, Proof

WIDTHS = (22, 76, 20, 20, 14, 12, 14, 9)
FLAG_TOP = HEAD_ROWS + 1
ALERT_TOP = FLAG_TOP + 5
BASE_ALERTS = 3
SETTLED = ("agrees", "explained")
TEXT, THIS, OTHER, DIFFERENCE, TOLERANCE, RESULT, HOLDS = range(1, 8)


@dataclass(frozen=True)
class Plan:
    """Which row each table begins in, made before a cell is written.

    Attributes:
        alerts: Number of things to know.
        books: Number of figures held against the books.
    """

    alerts: int
    books: int

    @property
    def books_top(self) -> int:
        """Heading of the figures held against the books."""
        return ALERT_TOP + self.alerts + 2

    @property
    def tolerance_top(self) -> int:
        """Heading of the allowed differences."""
        return self.books_top + (self.books + 3 if self.books else 0)

    @property
    def table_top(self) -> int:
        """Head of the table of checks."""
        return self.tolerance_top + len(TOLERANCES) + 2


@dataclass(frozen=True, kw_only=True)
class Alert:
    """Something a reader must know before reading on, though nothing is wrong.

    Attributes:
        key: Its words.
        formula: How often it is so.
        count: How often it is so as delivered.
        name: The workbook's name of the count.
    """

    key: str
    formula: str
    count: int
    name: str


def alerts(book: Book, sample: Sample) -> tuple[Alert, ...]:
    """Return what to know: inputs changed or outside their range, NPV outside that of the draws, books that differ."""
    return tuple(_alerts(book, sample))


def _alerts(book: Book, sample: Sample) -> Iterator[Alert]:
    values, low, high, delivered = columns_of(book)
    changed = f"SUMPRODUCT(1*({values}<>{delivered}))"
    if (pair := delivered_schedules(book)) is not None:
        changed += f"+SUMPRODUCT(1*({pair[0]}<>{pair[1]}))"
    yield Alert(key="changed", formula=changed, count=0, name=CHANGED)
    outside = f"SUMPRODUCT(ISNUMBER({low})*(({values}<{low})+({values}>{high})))"
    beyond_range = sum(not each.spread.low <= each.value <= each.spread.high for each in book.money.ledger.inputs)
    yield Alert(key="outside", formula=outside, count=beyond_range, name=OUTSIDE)
    npv = book.places.reference("npv", "here", outside=True)
    ends = tuple(quantile_cell(book, sample, "npv", level) for level in (0.05, 0.95))
    point = book.point("npv")
    yield Alert(
        key="beyond",
        formula=f"1*(MAX({ends[0]}-{npv},{npv}-{ends[1]})>0)",
        count=int(not sample.quantile("npv", 0.05) <= point <= sample.quantile("npv", 0.95)),
        name="npv_outside_draws",
    )
    if book.books:
        top = Plan(BASE_ALERTS + 1, len(book.books)).books_top
        holds = block(top + 2, HOLDS, top + 1 + len(book.books), HOLDS)
        open_ = sum(each.status not in SETTLED for each in book.books)
        yield Alert(key="books", formula=f"SUMPRODUCT(1-{holds})", count=open_, name="books_differ")


def write_checks(book: Book, every: tuple[Proof, ...], noted: tuple[Alert, ...]) -> None:
    """Write tolerances, the flag, what to know, and every check."""
    sheet = book.begin("checks", WIDTHS)
    sheet.write_string(HEAD_ROWS - 1, 0, book.say("checks.note"), book.style("muted"))
    plan = Plan(len(noted), len(book.books))
    _write_tolerances(book, sheet, plan)
    _write_flag(book, sheet, plan, len(every))
    _write_alerts(book, sheet, noted)
    if book.books:
        _write_books(book, sheet, plan.books_top)
    _write_proofs(book, sheet, plan, every)
    sheet.repeat_rows(plan.table_top)


def _write_tolerances(book: Book, sheet: Worksheet, plan: Plan) -> None:
    book.section(sheet, plan.tolerance_top, book.say("checks.tolerances"), HOLDS)
    for row, (key, value) in enumerate(TOLERANCES.items(), start=plan.tolerance_top + 1):
        sheet.write_blank(row, 0, None, book.style("text"))
        sheet.write_string(row, TEXT, book.say(f"checks.tolerance.{key}", currency=book.currency), book.style("row"))
        sheet.write_number(row, THIS, value, book.style("constant"))


def _write_flag(book: Book, sheet: Worksheet, plan: Plan, count: int) -> None:
    """Write how many checks fail, how much there is to know, and the flag; and name them."""
    holds = block(plan.table_top + 1, HOLDS, plan.table_top + count, HOLDS)
    noted = block(ALERT_TOP + 1, THIS, ALERT_TOP + plan.alerts, THIS)
    book.section(sheet, FLAG_TOP, book.say("checks.flag"), HOLDS)
    for row, key in enumerate(("failed", "alerts", "flag.words"), start=FLAG_TOP + 1):
        sheet.write_string(row, TEXT, book.say(f"checks.{key}"), book.style("row"))
    look = book.style("row", "strong", number="count")
    put(sheet, FLAG_TOP + 1, THIS, f"=SUMPRODUCT(1-{holds})", book.failed, look)
    put(sheet, FLAG_TOP + 2, THIS, f"=SUMPRODUCT(1*({noted}>0))", book.noted, look)
    formula = (
        f"=IF({FAILED}>0,{_with_count(book, 'flag.fail', FAILED)},"
        f"IF({ALERTS}>0,{_with_count(book, 'flag.alert', ALERTS)},{text_in_formula(book.say('flag.pass'))}))"
    )
    put(sheet, FLAG_TOP + 3, THIS, formula, book.flag, book.style("row", "strong"))
    for row, name in enumerate((FAILED, ALERTS, FLAG), start=FLAG_TOP + 1):
        book.file.define_name(name, f"={book.places.quoted('checks')}!{cell(row, THIS)}")


def _with_count(book: Book, key: str, name: str) -> str:
    before, after = book.say(key, n="\0").split("\0")
    return f"{text_in_formula(before)}&{name}&{text_in_formula(after)}"


def _write_alerts(book: Book, sheet: Worksheet, noted: tuple[Alert, ...]) -> None:
    book.section(sheet, ALERT_TOP, book.say("checks.to_know"), HOLDS)
    for row, alert in enumerate(noted, start=ALERT_TOP + 1):
        sheet.write_string(row, TEXT, book.say(f"alert.{alert.key}"), book.style("wrap", "row"))
        put(sheet, row, THIS, f"={alert.formula}", alert.count, book.style("row", number="count"))
        book.file.define_name(alert.name, f"={book.places.quoted('checks')}!{cell(row, THIS)}")
        rule = {"type": "cell", "criteria": ">", "value": 0, "format": book.style.change("warn")}
        sheet.conditional_format(row, THIS, row, THIS, rule)


def _write_books(book: Book, sheet: Worksheet, top: int) -> None:
    """Hold totals of the case, which follow the inputs, against the figures of the books."""
    style = book.style
    book.section(sheet, top, book.say("checks.books"), HOLDS)
    titles = (
        "number",
        "books.figure",
        "books.ours",
        "books.theirs",
        "difference",
        "tolerance",
        "result",
        "books.holds",
    )
    book.head(sheet, top + 1, [book.say(f"checks.{title}") for title in titles], texts=2)
    for row, each in enumerate(book.books, start=top + 2):
        _write_book(book, sheet, row, each)
    last = top + 1 + len(book.books)
    for key, look in (("agrees", "good"), ("explained", "warn"), ("differs", "bad"), ("absent", "warn")):
        words = text_in_formula(say(f"reconcile.{key}", book.language))
        rule = {"type": "cell", "criteria": "==", "value": words, "format": style.change(look)}
        sheet.conditional_format(top + 2, RESULT, last, RESULT, rule)


def _write_book(book: Book, sheet: Worksheet, row: int, each: Comparison) -> None:
    """Write one figure, ours live where the ledger gives it; what cannot be compared says so."""
    style, asked, language = book.style, each.asked, book.language
    known, settled = each.status != "absent", each.status in SETTLED
    told = (asked.label[language], say(f"reconcile.book.{asked.book}", language), asked.owner, asked.source)
    text = " · ".join((*told, asked.date.isoformat(), *filter(None, (asked.explanation[language],))))
    sheet.write_string(row, 0, each.key, style("code", "row"))
    sheet.write_string(row, TEXT, text, style("wrap", "row"))
    book.wrapped(sheet, row, text, WIDTHS[TEXT])
    if each.formula:
        book.live(sheet, row, THIS, each.formula, "row", number=each.unit)
    else:
        number(sheet, row, THIS, each.ours, style("row", "frozen", number=each.unit))
    sheet.write_number(row, OTHER, asked.amount, style("row", "constant", number=each.unit))
    sheet.write_number(row, TOLERANCE, asked.tolerance, style("row", "constant", number="share"))
    ours, theirs, allowed = (cell(row, column) for column in (THIS, OTHER, TOLERANCE))
    look = style("row", number="share")
    put(
        sheet,
        row,
        DIFFERENCE,
        f'=IF(ISNUMBER({ours}),IF({theirs}=0,"{NONE}",{ours}/{theirs}-1),"{NONE}")',
        _gap(each),
        look,
    )
    agrees = f"MAX({ours}-{theirs},{theirs}-{ours})<={allowed}*MAX({theirs},-{theirs})"
    words = {
        key: text_in_formula(say(f"reconcile.{key}", language)) for key in ("agrees", "explained", "differs", "absent")
    }
    otherwise = words["explained" if asked.explanation.en else "differs"]
    said = f"=IF(ISNUMBER({ours}),IF({agrees},{words['agrees']},{otherwise}),{words['absent']})"
    put(sheet, row, RESULT, said, say(f"reconcile.{each.status}", language), style("row", "strong", "centre"))
    settling = cell(row, RESULT)
    holds = f"=IF({settling}={words['agrees']},1,IF({settling}={words['explained']},1,0))"
    put(sheet, row, HOLDS, holds, float(settled and known), style("row", "muted"))


def _gap(each: Comparison) -> float | str:
    """Return the difference as the sheet's formula has it: ours over theirs, less one."""
    gone = each.status == "absent" or not each.asked.amount
    return NONE if gone else each.ours / each.asked.amount - 1


def _write_proofs(book: Book, sheet: Worksheet, plan: Plan, every: tuple[Proof, ...]) -> None:
    style, top = book.style, plan.table_top
    titles = ("number", "check", "this", "other", "difference", "tolerance", "result", "holds")
    book.head(sheet, top, [book.say(f"checks.{title}") for title in titles], texts=2)
    right, wrong = book.say("checks.ok"), book.say("checks.wrong")
    for row, proof in enumerate(every, start=top + 1):
        look = style("row", number=proof.unit)
        sheet.write_string(row, 0, proof.key, style("code", "row"))
        sheet.write_string(row, TEXT, book.say(f"check.{proof.key}"), style("wrap", "row"))
        put(sheet, row, THIS, f"={proof.this}", proof.values[0], look)
        if isinstance(proof.other, str):
            put(sheet, row, OTHER, f"={proof.other}", proof.values[1], look)
        else:
            sheet.write_number(row, OTHER, proof.other, style("row", "frozen", number=proof.unit))
        gap, allowed = cell(row, DIFFERENCE), cell(row, TOLERANCE)
        put(
            sheet,
            row,
            DIFFERENCE,
            f"={cell(row, THIS)}-{cell(row, OTHER)}",
            proof.values[0] - proof.values[1],
            style("row", number="gap"),
        )
        place = plan.tolerance_top + 1 + list(TOLERANCES).index(proof.tolerance)
        put(sheet, row, TOLERANCE, f"={cell(place, THIS)}", TOLERANCES[proof.tolerance], style("row", "muted"))
        holds = f"=IF(ISNUMBER({gap}),IF(MAX({gap},-{gap})<={allowed},1,0),0)"
        put(sheet, row, HOLDS, holds, float(proof.holds), style("row", "muted"))
        said = f"=IF({cell(row, HOLDS)}=1,{text_in_formula(right)},{text_in_formula(wrong)})"
        put(sheet, row, RESULT, said, right if proof.holds else wrong, style("row", "strong", "centre"))
    last = top + len(every)
    for words, look in ((right, "good"), (wrong, "bad")):
        rule = {"type": "cell", "criteria": "==", "value": text_in_formula(words), "format": style.change(look)}
        sheet.conditional_format(top + 1, RESULT, last, RESULT, rule)
