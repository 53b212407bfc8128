"""A return as a workbook that finance can recalculate: the ledger's own formulas, live, in Excel."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from pathlib import Path

from xlsxwriter import Workbook

from rox.core.files import written_whole
from rox.core.returns import Return
from rox.core.words import Language, say
from rox.reporting.sheets.about import write_about
from rox.reporting.sheets.book import SHEETS, Book, Places
from rox.reporting.sheets.calc import write_calc
from rox.reporting.sheets.checks import alerts, write_checks
from rox.reporting.sheets.draws import Sample, write_draws
from rox.reporting.sheets.inputs import write_inputs
from rox.reporting.sheets.log import write_log
from rox.reporting.sheets.proofs import proofs
from rox.reporting.sheets.sensitivity import write_sensitivity
from rox.reporting.sheets.spread import write_spread
from rox.reporting.sheets.style import FONTS, Style
from rox.reporting.sheets.summary import write_summary


def write_workbook(money: Return, path: str | Path, *, language: Language = "en") -> Path:
    """Write a return as an Excel workbook, whole or not at all.

    Every line of the ledger is a live formula over named inputs, so that a reader changes an assumption and sees NPV
    move; the draws, which formulas cannot make, are frozen and say so. Text never becomes a formula or a link, numbers
    other than 0 and 1 stand only in cells of their own, and the functions used are those every spreadsheet program has.
    The same return gives the same bytes.

    Args:
        money: What the case returns.
        path: The ``.xlsx`` file.
        language: Of the sheets.

    Raises:
        ValueError: The return's bridge is not what its ledger gives.

    References:
        ICAEW, *Twenty principles for good spreadsheet practice*; FAST Standard Organisation, *The FAST Standard*.
    """
    options = {"strings_to_formulas": False, "strings_to_urls": False, "strings_to_numbers": False}
    with written_whole(path) as draft:
        file = Workbook(str(draft), options)
        _fill(file, money, language)
        file.close()
    return Path(path)


def _fill(file: Workbook, money: Return, language: Language) -> None:
    start = money.case.about.start
    sheets = {key: say(f"workbook.sheet.{key}", language) for key in SHEETS}
    for name in sheets.values():
        file.add_worksheet(name)
    book = Book(file, money, language, Style(file, FONTS[language]), Places(money.ledger, sheets))
    file.set_properties(
        {
            "title": money.case.about.title[language],
            "subject": money.case.about.decision[language],
            "author": money.case.about.prepared_by,
            "comments": book.say("about.run") + " " + book.run,
            "created": dt.datetime(start.year, start.month, start.day),
        }
    )
    file.set_size(2400, 1600)
    sample = Sample(money)
    every, noted = proofs(book, sample), alerts(book, sample)
    book = replace(book, failed=sum(not each.holds for each in every), noted=sum(each.count > 0 for each in noted))
    write_about(book)
    write_summary(book, sample)
    write_inputs(book)
    write_calc(book)
    write_draws(book, sample)
    write_spread(book, sample)
    write_sensitivity(book)
    write_checks(book, every, noted)
    write_log(book)
    book.sheet("summary").activate()
