"""How the numbers and names of a chain are written."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

from rox.core.chain import Arrow, Box, Chain, Reading
from rox.core.check import Verdict
from rox.core.words import Language, catalogue, say
from rox.reporting import estimates
from rox.reporting.numbers import MISSING, Form, form, significant, step_of
from rox.reporting.sentences import strength

FORMS = {
    "money": "money",
    "share_of_own": "share",
    "rate": "share",
    "share": "share",
    "share_per_year": "share",
    "ratio": "share",
}
"""Forms of the units; the others are plain numbers with words."""
DIGITS = 3


@dataclass(frozen=True, kw_only=True)
class Tell:
    """Writes what a chain holds, in one language.

    Attributes:
        chain: The measured chain.
        language: Of the words.
        least: Customers a group must have to be shown.
    """

    chain: Chain
    language: Language
    least: int

    def name(self, key: str) -> str:
        """Return the name of a box; what is no box keeps its own."""
        known = {box.key: box.label[self.language] for box in self.chain.boxes}
        return known.get(key, key)

    def ends(self, arrow: Arrow) -> str:
        """Name both ends of an arrow."""
        return f"{self.name(arrow.source)} → {self.name(arrow.target)}"

    def size(self, reading: Reading) -> str:
        """Write the size of a reading with its unit."""
        return self._sized(reading, self.form(reading).number(reading.value))

    def short(self, reading: Reading) -> str:
        """Write the size of a reading without words."""
        return self.form(reading).number(reading.value)

    def span(self, reading: Reading) -> str:
        """Write its 90% interval; what leavers take along is an amount."""
        if reading.basis == "arithmetic":
            return replace(self.form(reading), signed=False).span(-reading.high, -reading.low)
        return self.form(reading).span(reading.low, reading.high)

    def bare_span(self, reading: Reading) -> str:
        """Write its 90% interval without a currency, for where there is little room."""
        return replace(self.form(reading), currency="").span(reading.low, reading.high)

    def found(self, reading: Reading) -> str:
        """Say what was found, in the verb that its grade allows."""
        size = self.size(reading)
        if reading.basis == "arithmetic":
            size = replace(self.form(reading), signed=False).number(-reading.value)
        if reading.basis in ("gap", "arithmetic"):
            return say(f"chain.verb.{reading.basis}", self.language, size=size)
        if reading.is_open or reading.grade is None:
            return say("chain.verb.open", self.language, size=size)
        direction = "up" if reading.low > 0 else "down"
        return say(f"chain.verb.{strength(reading.grade)}.{direction}", self.language, size=size)

    def per(self, reading: Reading) -> str:
        """Say what moves by one."""
        return say(f"chain.per.{reading.per}", self.language, months=self.chain.months)

    def lag(self, reading: Reading, form: str = "lag") -> str:
        """Say how the time runs from the cause to what is measured; ``form`` is ``lag`` or ``short``."""
        first, last = reading.lag
        if reading.basis == "arithmetic":
            kind = "year"
        elif reading.per in ("event", "topic"):
            kind = "before"
        elif last == 0:
            kind = "same"
        else:
            kind = "after" if first == last else "window"
        months = say("number.months.one" if last == 1 else "number.months", self.language, n=last)
        return say(f"chain.{form}.{kind}", self.language, first=first, last=last, months=months)

    def grade(self, reading: Reading) -> str:
        """Write its grade."""
        return say("chain.grade.none", self.language) if reading.grade is None else str(reading.grade)

    def design(self, reading: Reading) -> str:
        """Say where it comes from."""
        if reading.basis == "association":
            key = "ratings" if reading.per == "rating" else "drivers"
            return say(f"chain.design.{key}", self.language, n=len(reading.beside))
        if reading.basis == "arithmetic":
            return say("chain.design.ledger", self.language)
        if reading.per == "initiative" and reading.unit == "points":
            return say("chain.design.gain", self.language)
        name = estimates.effect_name(reading.name, self.language)
        key = f"question.{reading.question}"
        return f"{name}: {say(key, self.language)}" if key in catalogue() else name

    def checks(self, reading: Reading) -> str:
        """Name the checks that lowered its grade, and count the others."""
        lowering = [check.code for check in reading.checks if check.verdict in (Verdict.DEMOTE, Verdict.STOP)]
        notes = sum(check.verdict is Verdict.NOTE for check in reading.checks)
        passed = sum(check.verdict is Verdict.PASS for check in reading.checks)
        said = [say("chain.checks.passed", self.language, n=passed)] if passed else []
        said += [say("chain.checks.notes", self.language, n=notes)] if notes else []
        codes = estimates.joined(dict.fromkeys(lowering), self.language)
        said += [say("chain.checks.lowered", self.language, codes=codes)] if lowering else []
        return estimates.joined(said, self.language) or say("chain.checks.none", self.language)

    def together(self) -> tuple[str, ...]:
        """Say what was held equal for what, one line per question and set."""
        found: dict[tuple[str, frozenset[str]], list[str]] = {}
        for arrow in self.chain.arrows:
            if arrow.shown is not None and arrow.shown.basis == "association":
                names = [arrow.source, *arrow.shown.beside]
                found.setdefault((arrow.target, frozenset(names)), sorted(names))
        return tuple(
            say(
                "chain.beside",
                self.language,
                target=self.name(target),
                names=estimates.joined((self.name(each) for each in names), self.language),
            )
            for (target, _), names in found.items()
        )

    def level(self, box: Box) -> str:
        """Write how a box stands, without its range."""
        if math.isnan(box.level):
            return MISSING
        text = self._level_form(box).number(box.level)
        key = f"chain.short.level.{box.unit}"
        return say(key, self.language, n=text, months=self.chain.months) if key in catalogue() else text

    def level_ranged(self, box: Box) -> str:
        """Write how a box stands with its range and its period."""
        text = self.level(box)
        if text != MISSING and not (math.isnan(box.low) or math.isnan(box.high)):
            span = self._level_form(box).span(box.low, box.high)
            text = say("number.with_range", self.language, value=text, range=span)
        return say("chain.level.period", self.language, level=text, period=box.period) if box.period else text

    def money(self, values: Iterable[float], currency: str) -> Form:
        """Choose how amounts per customer are written together."""
        value, low, high = values
        step = step_of(low, high) or significant(value, DIGITS)
        return form("money", self.language, like=(value, low, high), step=step, currency=currency, signed=True)

    def form(self, reading: Reading) -> Form:
        """Choose how a reading is written: to what its interval supports."""
        like = (reading.value, reading.low, reading.high)
        step = step_of(reading.low, reading.high) or significant(reading.value, DIGITS)
        kind = FORMS.get(reading.unit, "number")
        return form(kind, self.language, like=like, step=step, currency=reading.currency, signed=True)

    def _level_form(self, box: Box) -> Form:
        kind = FORMS.get(box.unit, "number")
        step = max(step_of(box.low, box.high), significant(box.level, DIGITS))
        return form(kind, self.language, like=(box.level,), step=step, currency=box.currency)

    def _sized(self, reading: Reading, text: str) -> str:
        return say(f"chain.size.{reading.unit}", self.language, n=text)
