"""The log: the evidence and its checks, where the rows came from, versions, changes and signatures."""

from __future__ import annotations

from collections.abc import Sequence

from xlsxwriter.worksheet import Worksheet

from rox.core.check import Check, Verdict
from rox.core.effect import Effect
from rox.core.identity import case_digest
from rox.core.record import versions
from rox.core.words import catalogue, say
from rox.reporting.estimates import effect_name, joined
from rox.reporting.parts.card import ROLES, signature
from rox.reporting.request import Request
from rox.reporting.sheets.book import HEAD_ROWS, Book

WIDTHS = (24, 24, 16, 16, 16, 70)
LOOKS = {Verdict.PASS: "good", Verdict.NOTE: "warn", Verdict.DEMOTE: "warn", Verdict.STOP: "bad"}
CHANGES, RUNS = 8, 4


def write_log(book: Book) -> None:
    """Write checks, questions, trails, versions, the runs, the list of changes and the signatures."""
    sheet = book.begin("log", WIDTHS)
    row = _checks(book, sheet, HEAD_ROWS)
    for effect in book.money.effects:
        row = _question(book, sheet, row + 1, effect)
        row = _trail(book, sheet, row + 1, effect)
    row = _versions(book, sheet, row + 1)
    row = _runs(book, sheet, row + 1)
    row = _changes(book, sheet, row + 1)
    _signatures(book, sheet, row + 1)


def _runs(book: Book, sheet: Worksheet, row: int) -> int:
    """Write this run, and leave room for later ones."""
    money, style = book.money, book.style
    titles = ("run", "date", "npv", "grade", "seed", "made")
    end = _to_fill_in(book, sheet, row, "runs", titles, RUNS)
    made = f"{case_digest(money.case)[:12]} · rox {versions()['rox']}"
    texts = {0: book.run, 3: str(money.grade), 4: f"{money.seed} · {len(money.draws['npv']):,}", 5: made}
    for column, text in texts.items():
        sheet.write_string(row + 2, column, text, style("text", "row"))
    sheet.write_datetime(row + 2, 1, money.case.about.start, style("row", "left", number="date"))
    sheet.write_number(row + 2, 2, money.decision.npv, style("row", number="money"))
    return end


def _changes(book: Book, sheet: Worksheet, row: int) -> int:
    """Write the changes that the case file lists, and leave room for those made in this file."""
    review = book.money.case.review
    known = review.changes if review else ()
    titles = ("date", "who", "place", "before", "after", "why")
    end = _to_fill_in(book, sheet, row, "changes", titles, CHANGES + len(known))
    for place, each in enumerate(known, start=row + 2):
        texts = (each.date.isoformat(), each.who, each.what[book.language], "", "", each.why[book.language])
        for column, text in enumerate(texts):
            sheet.write_string(place, column, text, book.style("wrap", "row"))
        book.wrapped(sheet, place, texts[2], WIDTHS[2])
    return end


def _signatures(book: Book, sheet: Worksheet, row: int) -> None:
    """Write who signed, as far as the case file says it, and leave room for the others."""
    request = Request(money=book.money, language=book.language)
    titles = ("role", "who", "date", "result", "signed", "remark")
    _to_fill_in(book, sheet, row, "signatures", titles, len(ROLES))
    for place, role in enumerate(ROLES, start=row + 2):
        sheet.write_string(place, 0, book.say(f"log.{role}"), book.style("row"))
        name, date, result, run, given = (
            each if isinstance(each, str) else each.text for each in signature(request, role)
        )
        for column, text in ((1, name), (2, date), (3, result), (4, given), (5, run)):
            if text:
                sheet.write_string(place, column, text, book.style("blank"))


def _checks(book: Book, sheet: Worksheet, row: int) -> int:
    book.section(sheet, row, book.say("log.evidence"), len(WIDTHS) - 1)
    book.head(sheet, row + 1, [book.say(f"log.{key}") for key in ("of", "code", "verdict", "grade")], texts=4)
    sheet.merge_range(row + 1, 4, row + 1, 5, "", book.style("head"))
    sheet.write_string(row + 1, 4, book.say("log.found"), book.style("head"))
    row += 2
    for effect in book.money.effects:
        for check in effect.checks:
            row = _check(book, sheet, row, effect_name(effect.name, book.language), str(effect.grade), check)
    for check in book.money.checks:
        row = _check(book, sheet, row, book.say("log.value"), "", check)
    return row


def _check(book: Book, sheet: Worksheet, row: int, of: str, grade: str, check: Check) -> int:
    style = book.style
    for column, text in enumerate((of, check.code)):
        sheet.write_string(row, column, text, style("text", "row"))
    sheet.write_string(row, 2, book.say(f"verdict.{check.verdict}"), style("text", "row", LOOKS[check.verdict]))
    sheet.write_string(row, 3, grade, style("text", "row", "centre"))
    _long(book, sheet, row, check.sentence(book.language))
    return row + 1


def _long(book: Book, sheet: Worksheet, row: int, text: str, first: int = 4) -> None:
    """Write a text over the last columns, in as many lines as it needs."""
    look = book.style("wrap", "row")
    sheet.merge_range(row, first, row, 5, "", look)
    sheet.write_string(row, first, text, look)
    book.wrapped(sheet, row, text, sum(WIDTHS[first:]))


def _question(book: Book, sheet: Worksheet, row: int, effect: Effect) -> int:
    estimand = effect.estimand
    book.section(sheet, row, book.say("log.question", name=effect_name(effect.name, book.language)), len(WIDTHS) - 1)
    yes_no = book.say("log.yes" if estimand.includes_exit else "log.no")
    counts = ", ".join(f"{name} {value:,}" for name, value in effect.counts.items())
    pairs = (
        ("asked", say(f"question.{estimand.question}", book.language)),
        ("population", estimand.population),
        ("treatment", estimand.treatment),
        ("estimand", str(estimand)),
        ("exits", yes_no),
        (
            "channels",
            joined((say(f"channel.{each}", book.language) for each in sorted(estimand.channels)), book.language),
        ),
        ("grade", str(effect.grade)),
        ("layer", book.say("log.layer.text", mean=f"{effect.bias_layer.mean:g}", sd=f"{effect.bias_layer.sd:g}")),
        ("specification", effect.specification),
        ("counts", counts),
        ("fingerprint", effect.fingerprint),
    )
    for key, text in pairs:
        row += 1
        sheet.write_string(row, 0, book.say(f"log.{key}"), book.style("strong", "text", "row"))
        _long(book, sheet, row, text, first=1)
    return row + 1


def _trail(book: Book, sheet: Worksheet, row: int, effect: Effect) -> int:
    book.section(sheet, row, book.say("log.trail", name=effect_name(effect.name, book.language)), len(WIDTHS) - 1)
    book.head(sheet, row + 1, [book.say(f"log.trail.{key}") for key in ("step", "rows", "lost", "customers")])
    sheet.merge_range(row + 1, 4, row + 1, 5, "", book.style("head"))
    sheet.write_string(row + 1, 4, book.say("log.trail.reason"), book.style("head"))
    row += 2
    for step in effect.trail:
        sheet.write_string(row, 0, step.name, book.style("row", "code"))
        for column, value in enumerate((step.rows, step.lost, step.customers), start=1):
            sheet.write_number(row, column, value, book.style("row", number="count"))
        _long(book, sheet, row, _words(book, step.reason))
        row += 1
    return row


def _words(book: Book, key: str) -> str:
    """Say an entry of the catalogue; a researcher's own model may give words of its own instead."""
    return say(key, book.language) if key in catalogue() else key


def _versions(book: Book, sheet: Worksheet, row: int) -> int:
    book.section(sheet, row, book.say("log.versions"), len(WIDTHS) - 1)
    for name, version in versions().items():
        row += 1
        sheet.write_string(row, 0, name, book.style("text", "row"))
        sheet.write_string(row, 1, version, book.style("text", "row"))
    return row + 1


def _to_fill_in(book: Book, sheet: Worksheet, row: int, key: str, titles: Sequence[str], rows: int) -> int:
    """Write a table with empty cells that stay open for writing."""
    book.section(sheet, row, book.say(f"log.{key}"), len(WIDTHS) - 1)
    book.head(sheet, row + 1, [book.say(f"log.{key}.{title}") for title in titles], texts=len(titles))
    for place in range(row + 2, row + 2 + rows):
        for column in range(len(titles)):
            sheet.write_blank(place, column, None, book.style("blank"))
    return row + 2 + rows
