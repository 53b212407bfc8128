"""Numbers as people read them, in two languages, with no more digits than the interval supports.

The page, the notebooks and the command line all write numbers through this module, so that a figure looks the same
wherever it stands.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

from babel import Locale
from babel.dates import format_date
from babel.numbers import format_decimal, get_currency_name, get_currency_symbol

from rox.core.words import Language, catalogue, say

MINUS = "\N{MINUS SIGN}"
MISSING = "\N{EN DASH}"
MONEY_UNITS = frozenset({"money", "money_per_point", "money_per_customer", "money_total"})
HUNDRED_THOUSAND = 1e5
"""Thousands are abbreviated from here on; 4,100 reads better than 4.10K."""
CENT = 0.01
SHARE_UNITS = frozenset({"share", "share_per_year", "per_month"})


def step_of(low: float, high: float) -> float:
    """Return the last digit worth showing: the second significant one of the interval's half-width.

    Returns:
        A power of ten, or 0 when there is no interval.
    """
    half = (high - low) / 2
    return 10.0 ** (math.floor(math.log10(half)) - 1) if math.isfinite(half) and half > 0 else 0.0


def significant(value: float, digits: int) -> float:
    """Return the place of the last of so many significant digits: a power of ten, or 0 for 0."""
    return 10.0 ** (math.floor(math.log10(abs(value))) + 1 - digits) if math.isfinite(value) and value else 0.0


@dataclass(frozen=True, kw_only=True)
class Form:
    """How the numbers of one quantity are written: made once, used for the value, its range and its table.

    Attributes:
        unit: A unit of the ledger, such as ``money``, ``share``, ``months``.
        language: Of the words and separators.
        currency: ISO code, for money.
        step: Place of the last digit, in the quantity's own unit.
        scale: Money and counts are divided by this; 1 writes them out.
        suffix: The scale's name, such as ``M`` or ``万``; empty for 1.
        signed: Whether positive numbers carry a plus.
        trim: Whether zeros at the end of the fraction are left out, as in numbers somebody wrote by hand.
        keeps_sign: Whether a number that would be rounded to zero is written with one digit of its own, because the
            reader is told on which side of zero it lies.
    """

    unit: str
    language: Language
    currency: str = ""
    step: float = 0.0
    scale: float = 1.0
    suffix: str = ""
    signed: bool = False
    trim: bool = False
    keeps_sign: bool = False

    def number(self, value: float) -> str:
        """Write the number with its sign, currency or percent, but without the unit's words."""
        if value is None or not math.isfinite(value):
            return MISSING
        factor = 100.0 if self.unit in SHARE_UNITS else 1 / self.scale
        step = self.step * factor
        shown = round(value * factor / step) * step if step else value * factor
        decimals = min(max(0, -math.floor(math.log10(step) + 1e-9)), 6) if step else 0
        pattern = f"#,##0{'.' if decimals else ''}{('#' if self.trim else '0') * decimals}"
        digits = format_decimal(abs(shown), pattern, locale=self.language)
        is_zero = not any(sign in "123456789" for sign in digits)
        if is_zero and self.keeps_sign and value:
            step, currency = significant(value, 1), self.currency
            return form(self.unit, self.language, like=(value,), step=step, currency=currency).number(value)
        sign = "" if is_zero else MINUS if shown < 0 else "+" if self.signed else ""
        return sign + self._dressed(digits + self.suffix)

    def __call__(self, value: float) -> str:
        """Write the number with the words of its unit."""
        text = self.number(value)
        key = f"number.{self.unit}"
        if text == MISSING or key not in catalogue():
            return text
        single = f"{key}.one"
        return say(single if text == "1" and single in catalogue() else key, self.language, n=text)

    def span(self, low: float, high: float) -> str:
        """Write a range without the unit's words; a range whose ends look alike is written once."""
        ends = self.number(low), self.number(high)
        if MISSING in ends:
            return MISSING
        return ends[0] if ends[0] == ends[1] else say("number.range", self.language, low=ends[0], high=ends[1])

    def between(self, low: float, high: float) -> str:
        """Write a range with the words of its unit."""
        both, key = self.span(low, high), f"number.{self.unit}"
        return say(key, self.language, n=both) if both != MISSING and key in catalogue() else both

    def _dressed(self, digits: str) -> str:
        if self.unit in SHARE_UNITS:
            return f"{digits}%"
        if self.unit not in MONEY_UNITS or not self.currency:
            return digits
        return say("number.amount", self.language, n=digits, currency=currency_name(self.currency, self.language))


@cache
def scales(language: Language) -> tuple[tuple[float, str], ...]:
    """Return the scales of a language, largest first: K, M, B, T, or 万, 亿, 万亿 (CLDR's compact forms)."""
    patterns = Locale.parse(language).compact_decimal_formats["short"]["other"]
    found = [(float(size), pattern.pattern.lstrip("0")) for size, pattern in patterns.items()]
    names = dict.fromkeys(name for _, name in found if name)
    return tuple(sorted(((min(size for size, each in found if each == name), name) for name in names), reverse=True))


def currency_name(code: str, language: Language) -> str:
    """Return how a currency is written beside a number: a sign in English, a word in Chinese."""
    key = f"currency.{code}"
    if key in catalogue():
        return say(key, language)
    return str(get_currency_symbol(code, locale="en") if language == "en" else get_currency_name(code, locale="zh"))


def form(
    unit: str,
    language: Language = "en",
    *,
    like: Iterable[float] = (),
    step: float = 0.0,
    currency: str = "",
    signed: bool = False,
) -> Form:
    """Choose how the numbers of one quantity are written.

    Args:
        unit: A unit of the ledger.
        language: ``"en"`` or ``"zh"``.
        like: Numbers that will be written; the largest picks the scale (thousands, millions, 万, 亿).
        step: Last digit worth showing; 0 shows three significant digits of the largest number, whole months and whole
            customers.
        currency: ISO code, for money.
        signed: Whether positive numbers carry a plus.
    """
    largest = max((abs(each) for each in like if each is not None and math.isfinite(each)), default=0.0)
    whole = unit in ("customers", "count", "months")
    step = max(step, 1.0) if whole else step or significant(largest, 3)
    scale, suffix = 1.0, ""
    if unit in MONEY_UNITS:
        step = max(step, CENT) if largest else 0.0
        rounded = round(largest / step) * step if step else largest
        fits = (each for each in scales(language) if rounded >= (HUNDRED_THOUSAND if each[0] == 1e3 else each[0]))
        scale, suffix = next(fits, (1.0, ""))
    return Form(unit=unit, language=language, currency=currency, step=step, scale=scale, suffix=suffix, signed=signed)


def written(unit: str, language: Language = "en", *, currency: str = "") -> Form:
    """Return the form for numbers somebody wrote by hand: all their digits, no scale, no zeros at the end."""
    return Form(unit=unit, language=language, currency=currency, step=1e-8 if unit in SHARE_UNITS else 1e-6, trim=True)


def show(value: float, unit: str, language: Language = "en", *, currency: str = "", signed: bool = False) -> str:
    """Write one number by itself, to three significant digits."""
    return form(unit, language, like=(value,), currency=currency, signed=signed)(value)


def with_range(
    value: float,
    low: float,
    high: float,
    unit: str,
    language: Language = "en",
    *,
    currency: str = "",
    signed: bool = False,
) -> str:
    """Write a value and its 90% range, rounded to what the range supports."""
    shape = form(unit, language, like=(value, low, high), step=step_of(low, high), currency=currency, signed=signed)
    return say("number.with_range", language, value=shape(value), range=shape.between(low, high))


def probability(value: float, language: Language = "en", *, apart_from: float | None = None) -> str:
    """Write a share of draws in whole percent, never as a certainty.

    Args:
        value: Between 0 and 1.
        language: ``"en"`` or ``"zh"``.
        apart_from: A threshold the reader compares it with; decimals are added until the two look different.
    """
    if not math.isfinite(value):
        return MISSING
    if value < 0.01 and (apart_from is None or apart_from >= 0.01):
        return say("number.below", language, n="1%")
    if value > 0.99 and (apart_from is None or apart_from <= 0.99):
        return say("number.above", language, n="99%")
    for decimals in range(6):
        text = f"{100 * value:.{decimals}f}%"
        if apart_from is None or apart_from == value or text != f"{100 * apart_from:.{decimals}f}%":
            return text
    return text


def count(value: float, language: Language = "en", *, least: int = 1) -> str:
    """Write a number of people or rows; a count above zero and below ``least`` is not told."""
    if value is None or not math.isfinite(value):
        return MISSING
    if 0 < value < least:
        return say("number.few", language, n=least)
    return format_decimal(round(value), "#,##0", locale=language)


def day(date: dt.date | None, language: Language = "en") -> str:
    """Write a date."""
    return (
        MISSING if date is None else str(format_date(date, "long" if language == "zh" else "d MMM y", locale=language))
    )


def unit_name(unit: str, language: Language = "en", *, currency: str = "") -> str:
    """Return the words for a unit of the ledger, for a column of its own."""
    name = currency_name(currency, language) if currency and language == "zh" else currency
    return say(f"unit.{unit}", language, currency=name)
