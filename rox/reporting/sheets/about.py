"""The first sheet: what the workbook is, how to read it, and what it does not say."""

from __future__ import annotations

from collections.abc import Iterator

from xlsxwriter.worksheet import Worksheet

from rox.core.identity import case_digest, effect_digest
from rox.reporting import sentences
from rox.reporting.estimates import effect_name
from rox.reporting.parts.card import card_facts
from rox.reporting.request import Request
from rox.reporting.sheets.book import HEAD_ROWS, SHEETS, Book

WIDTHS = (26, 112)
COLOURS = ("input", "estimate", "constant", "frozen", "opening")
RULES = ("start", "change", "unit", "live", "frozen", "checks", "lines", "protection")


def write_about(book: Book) -> None:
    """Write purpose, contents, rules, colours, limits and identity."""
    sheet = book.begin("about", WIDTHS, landscape=True)
    row = HEAD_ROWS
    for part in (_purpose, _contents, _rules, _colours, _limits, _identity):
        row = part(book, sheet, row) + 1
    sheet.print_area(0, 0, row, 1)


def _part(book: Book, sheet: Worksheet, row: int, key: str, pairs: Iterator[tuple[str, str]]) -> int:
    """Write a heading and pairs of words below it; return the row after."""
    book.section(sheet, row, book.say(f"about.{key}"), 1)
    for name, text in pairs:
        row += 1
        sheet.write_string(row, 0, name, book.style("wrap", "strong"))
        sheet.write_string(row, 1, text, book.style("wrap"))
        lines = max(book.lines(text, WIDTHS[1]), book.lines(name, WIDTHS[0]))
        book.high(sheet, row, lines)
    return row + 1


def _purpose(book: Book, sheet: Worksheet, row: int) -> int:
    about, language = book.money.case.about, book.language
    pairs = [(book.say("about.decision"), about.decision[language])]
    pairs += [(book.say("about.what"), book.say("about.what.text", months=book.money.case.horizon))]
    pairs += [(book.say("about.model"), book.say("about.model.text"))]
    facts = card_facts(Request(money=book.money, language=language))
    for key, fact in (("intended", "use"), ("not_for", "not_for"), ("tier", "tier"), ("roles", "roles")):
        pairs.append((book.say(f"about.{key}"), facts[fact]))
    return _part(book, sheet, row, "purpose", iter(pairs))


def _contents(book: Book, sheet: Worksheet, row: int) -> int:
    book.section(sheet, row, book.say("about.contents"), 1)
    for key in SHEETS[1:]:
        row += 1
        name = book.places.sheets[key]
        sheet.write_url(row, 0, f"internal:'{name}'!A1", book.style("link"), name)
        sheet.write_string(row, 1, book.say(f"sheet.{key}.about"), book.style("wrap"))
    return row + 1


def _rules(book: Book, sheet: Worksheet, row: int) -> int:
    pairs = ((book.say(f"about.rule.{key}"), book.say(f"about.rule.{key}.text", run=book.run)) for key in RULES)
    return _part(book, sheet, row, "rules", pairs)


def _colours(book: Book, sheet: Worksheet, row: int) -> int:
    book.section(sheet, row, book.say("about.colours"), 1)
    for key in COLOURS:
        row += 1
        sheet.write_string(row, 0, book.say(f"colour.{key}"), book.style(key, "legend"))
        sheet.write_string(row, 1, book.say(f"colour.{key}.text"), book.style("wrap"))
    return row + 1


def _limits(book: Book, sheet: Worksheet, row: int) -> int:
    said = sentences.not_said(book.money, book.language)
    return _part(book, sheet, row, "limits", ((f"{place}", text) for place, text in enumerate(said, start=1)))


def _identity(book: Book, sheet: Worksheet, row: int) -> int:
    about, money = book.money.case.about, book.money
    pairs = [
        (book.say("about.run"), book.run),
        (book.say("about.case"), f"{about.name} · {about.start.isoformat()} · {about.currency}"),
        (book.say("about.seed"), f"{money.seed} · {len(money.draws['npv']):,}"),
        (book.say("about.case_digest"), case_digest(money.case)),
        *_effects(book),
        (book.say("about.prepared"), about.prepared_by),
        (book.say("about.reviewed"), about.reviewed_by),
    ]
    return _part(book, sheet, row, "identity", iter(pairs))


def _effects(book: Book) -> Iterator[tuple[str, str]]:
    """Name each effect's data and the effect itself by their digests."""
    for effect in book.money.effects:
        name = effect_name(effect.name, book.language)
        yield book.say("about.fingerprint", name=name), effect.fingerprint
        yield book.say("about.digest", name=name), effect_digest(effect)
