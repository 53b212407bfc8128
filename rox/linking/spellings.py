"""How people and spreadsheets write dates and amounts, as expressions that mean the same on every SQL engine.

What can be read in one way only is read; what two people would read differently is a named flaw, never a guess.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from types import MappingProxyType
from typing import Any, Literal

import ibis

from rox.linking.expressions import nothing, real

DayOrder = Literal["dmy", "mdy"]

WIDE = "０１２３４５６７８９．－＋，：／（）" + chr(0x3000)
NARROW = "0123456789.-+,:/() "
EXCEL_ERROR = r"^(#(N/A|REF!|DIV/0!|VALUE!|NAME\?|NUM!|NULL!|SPILL!|CALC!|FIELD!|GETTING_DATA)|#{2,})$"
SCIENTIFIC_ID = r"^\d(\.\d+)?[eE]\+\d{2,3}$"
SCIENTIFIC_AMOUNT = r"^[-+]?\d(\.\d+)?[eE]\+\d{1,3}$"
YEAR, MONTH, DAY = r"\x{5e74}", r"\x{6708}", r"\x{65e5}"
MORNING, AFTERNOON = r"\x{4e0a}\x{5348}", r"\x{4e0b}\x{5348}"
TEN_THOUSAND, HUNDRED_MILLION = r"[\x{4e07}\x{842c}]", r"[\x{4ebf}\x{5104}]"
RENMINBI, YUAN, YEN = r"\x{4eba}\x{6c11}\x{5e01}", r"\x{5143}", r"\x{5186}"
"""Chinese signs as regular expressions of the engines write them."""
CLOCK = r"\d{1,2}:\d{2}(?::\d{2}(?:\.\d+)?)?"
LOCAL_TIME = rf"(?:[T ]\s?(?:{MORNING}|{AFTERNOON})?\s?{CLOCK}(?:\s?[AaPp][Mm])?)?"
YEAR_FIRST = rf"(\d{{4}})\s?[-/.{YEAR}]\s?(\d{{1,2}})\s?[-/.{MONTH}]\s?(\d{{1,2}})\s?{DAY}?"
YEAR_LAST = r"(\d{1,2})\s?[-/.]\s?(\d{1,2})\s?[-/.]\s?(\d{4})"
ZONED_TIME = r"[T ]\s?(\d{1,2}):(\d{2})(?::(\d{2})(?:\.\d+)?)?\s?(Z|z|UTC|GMT|[+-]\d{2}:?\d{2}|[+-]\d{2})"
YEAR_MONTH = rf"^(\d{{4}})\s?[-/{YEAR}]\s?(\d{{1,2}})\s?{MONTH}?$"
DAY_OR_MONTH = r"^\d{1,2}\s?[-/.]\s?\d{1,2}\s?[-/.]\s?(\d{2}|\d{4})(\D|$)"
SERIAL = r"^\d{5}(\.\d+)?$"
FIRST_SERIAL, LAST_SERIAL = 18_264, 73_050
"""Days from 1950 to 2099 in the count of Excel, in which 2 January 1900 is day 2."""

DECIMAL_COMMA = r"^[-+]?(\d+|\d{1,3}([.' ]\d{3})+),\d+$|^[-+]?\d{1,3}(\.\d{3}){2,}$|^[-+]?\d{1,3}([' ]\d{3})+(\.\d+)?$"
SHORTENED = rf"\d\s?({TEN_THOUSAND}|{HUNDRED_MILLION}|[kKmM]$|[mM]io|[bB]n$)"
MONEY_MARK = rf"[¥￥$€£₩₹]|{YUAN}|{YEN}|[A-Za-z]{{3}}"
SIGNS: Mapping[str, str] = MappingProxyType(
    {"CNY": rf"{RENMINBI}|RMB|CN¥|¥|￥|{YUAN}", "JPY": rf"JP¥|¥|￥|{YEN}", "USD": r"US\$|\$", "EUR": "€", "GBP": "£"}
)
"""Signs that stand for a currency beside its ISO code; a sign shared by two is read as the study's."""


class Flaw(IntEnum):
    """Why a value could not be read."""

    NONE = 0
    UNREADABLE = 1
    NOT_A_NUMBER = 2
    FRACTION = 3
    EXCEL_ERROR = 4
    SCIENTIFIC = 5
    DAY_OR_MONTH = 6
    SHORTENED = 7
    FOREIGN = 8
    DECIMAL_MARK = 9


def said(flaw: Flaw, currency: str | None) -> str:
    """Say a named flaw and what to do about it, without a value."""
    return {
        Flaw.EXCEL_ERROR: "a spreadsheet's error such as #N/A or ####; mend the cell or leave it empty",
        Flaw.SCIENTIFIC: "a number of more than 15 digits or as 1.23E+17: the spreadsheet has rounded it; "
        "export the column as text from where it comes",
        Flaw.DAY_OR_MONTH: 'day or month first? add dates = "dmy" or dates = "mdy" to this table in the study file, '
        "or write YYYY-MM-DD",
        Flaw.SHORTENED: "an amount in k, m or another unit is rounded; export amounts in full",
        Flaw.FOREIGN: f"another currency than {currency}; convert amounts before rox reads them",
        Flaw.DECIMAL_MARK: "is the comma or the point the decimal mark? write amounts as 1234.56",
    }[flaw]


def cleaned(raw: Any) -> Any:
    """Return a value as text without space around it, without the ``="…"`` that guards ids in CSV; empty is missing."""
    if not raw.type().is_string():
        return raw.cast("string")
    text = raw.strip()
    guarded = text.startswith('="') & text.endswith('"') & (text.length() > 2)
    return guarded.ifelse(text.substr(2, text.length() - 3).strip(), text).nullif("")


def folded(text: Any) -> Any:
    """Write full-width digits and marks as plain ones."""
    return text.translate(WIDE, NARROW)


def is_iso(text: Any) -> Any:
    """Say whether a text has the shape of YYYY-MM-DD."""
    return (text.length() == 10) & (text.substr(4, 1) == "-") & (text.substr(7, 1) == "-")


def parts_of_day(plain: Any, order: DayOrder | None) -> tuple[Any, Any, Any]:
    """Return year, month and day as text: year first in any common writing, year last only if the order is given."""
    year, month, day = (plain.re_extract(f"^{YEAR_FIRST}", group) for group in (1, 2, 3))
    if order is None:
        return year, month, day
    last = plain.re_search(f"^{YEAR_LAST}")
    first, second = (1, 2) if order == "dmy" else (2, 1)
    return (
        last.ifelse(plain.re_extract(f"^{YEAR_LAST}", 3), year),
        last.ifelse(plain.re_extract(f"^{YEAR_LAST}", second), month),
        last.ifelse(plain.re_extract(f"^{YEAR_LAST}", first), day),
    )


def day_of(plain: Any, parts: tuple[Any, Any, Any], order: DayOrder | None, *, months: bool) -> Any:
    """Read a date.

    Digits such as 20250131, the parts with or without a time, and an instant with its zone, which becomes a date in the
    engine's time zone.

    Args:
        plain: Text in plain digits.
        parts: Of :func:`parts_of_day`, as columns.
        order: What a study says of dates with the year last.
        months: Whether a month without a day is read too, as its first day.
    """
    readings = [
        (plain.re_search(r"^\d{8}$"), _date(plain.substr(0, 4), plain.substr(4, 2), plain.substr(6, 2))),
        (plain.re_search(f"^{YEAR_FIRST}{LOCAL_TIME}$"), _date(*parts)),
        (plain.re_search(f"^{YEAR_FIRST}{ZONED_TIME}$"), _day_there(plain, parts)),
    ]
    if order is not None:
        readings.append((plain.re_search(f"^{YEAR_LAST}{LOCAL_TIME}$"), _date(*parts)))
    if months:
        year, month = (plain.re_extract(YEAR_MONTH, group) for group in (1, 2))
        digits = plain.re_search(r"^\d{6}$")
        readings.append((digits, _date(plain.substr(0, 4), plain.substr(4, 2), ibis.literal("01"))))
        readings.append((plain.re_search(YEAR_MONTH), _date(year, month, ibis.literal("01"))))
    return ibis.cases(*readings, else_=nothing("date"))


def _day_there(plain: Any, parts: tuple[Any, Any, Any]) -> Any:
    hour, minute, second, zone = (plain.re_extract(f"^{YEAR_FIRST}{ZONED_TIME}$", group) for group in (4, 5, 6, 7))
    colon = zone.re_search(r"^[+-]\d{4}$").ifelse(zone.substr(0, 3) + ":" + zone.substr(3, 2), zone)
    offset = ibis.cases(
        (zone.re_search("^(Z|z|UTC|GMT)$"), ibis.literal("+00:00")),
        (zone.re_search(r"^[+-]\d{2}$"), zone + ":00"),
        else_=colon,
    )
    clock = hour.lpad(2, "0") + ":" + minute + ":" + ibis.coalesce(second.nullif(""), ibis.literal("00"))
    return (_iso(*parts) + "T" + clock + offset).try_cast("timestamp('UTC')").cast("date")


def moment_of(plain: Any, parts: tuple[Any, Any, Any]) -> Any:
    """Read day and time as the clock showed them; nothing where there is no time, or a zone."""
    local = rf"^(?:{YEAR_FIRST}|{YEAR_LAST})[T ]\s?(\d{{1,2}}):(\d{{2}})(?::(\d{{2}})(?:\.\d+)?)?$"
    hour, minute, second = (plain.re_extract(local, group) for group in (7, 8, 9))
    clock = hour.lpad(2, "0") + ":" + minute + ":" + ibis.coalesce(second.nullif(""), ibis.literal("00"))
    written = (_iso(*parts) + " " + clock).try_cast("timestamp")
    return plain.re_search(local).ifelse(written, nothing("timestamp"))


def _iso(year: Any, month: Any, day: Any) -> Any:
    return year + "-" + month.lpad(2, "0") + "-" + day.lpad(2, "0")


def _date(year: Any, month: Any, day: Any) -> Any:
    return _iso(year, month, day).try_cast("date")


def is_serial(text: Any) -> Any:
    """Say whether a text can be Excel's number of a day between 1950 and 2099."""
    number = text.re_search(SERIAL).ifelse(text.try_cast("float64"), nothing("float64"))
    return ((number >= real(FIRST_SERIAL)) & (number < real(LAST_SERIAL + 1))).fill_null(False)


def day_of_serial(text: Any) -> Any:
    """Read Excel's number of a day, counted from 1900; a fraction is the time of the day."""
    days = is_serial(text).ifelse(text.try_cast("float64"), nothing("float64")).floor().cast("int64")
    return (ibis.date(1899, 12, 30) + days.as_interval("D")).cast("date")


def amount_of(plain: Any, currency: str | None, *, thousands: bool = True) -> Any:
    """Read a number as people write amounts.

    Thousands separated by commas in groups of three; the study's currency before or behind; a minus before or behind,
    or parentheses for an amount below zero.

    Args:
        plain: Text in plain digits.
        currency: ISO code; None for what is not money.
        thousands: Whether commas separate thousands. Where they may also be decimal marks they are not read.
    """
    digits = r"\d{1,3}(,\d{3})+(\.\d+)?|\d+\.?\d*|\.\d+" if thousands else r"\d+\.?\d*|\.\d+"
    shape = rf"^[-+]?({digits})$"
    if currency is not None:
        marks = f"({SIGNS[currency]}|{currency})" if currency in SIGNS else f"({currency})"
        amount = rf"({marks}\s?)?({digits})(\s?{marks})?"
        shape = rf"^([-+]?{amount}|{amount}\s?-|\({amount}\)|{marks}\s?[-+]({digits}))$"
    number = plain.re_search(shape).ifelse(plain.re_replace(r"[^0-9.]", ""), nothing("string")).try_cast("float64")
    below = plain.re_search(r"-|^\(")
    return below.ifelse(-number, number)
