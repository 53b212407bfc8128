"""The plan as a page in words, as tables and as a record."""

from __future__ import annotations

import textwrap
import unicodedata
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from babel.numbers import format_compact_decimal, format_decimal

from rox.core.check import Check
from rox.core.declared import Wording
from rox.core.linked import month_label
from rox.core.record import plain
from rox.core.words import Language, catalogue, say
from rox.models.placebo_rollouts import ALL, MONEY, SCORE, PlaceboRollouts
from rox.planning.design import Design, Plan
from rox.planning.ladder import Rung

FORMAT = "rox.plan/1"
WIDTH = 110
PER_YEAR = 12
MISSING = "–"
WIDE = "WF"
RARE, ONE_PERCENT, SURE = 0.001, 0.01, 0.995
COMPACT: Mapping[Language, float] = {"en": 1e5, "zh": 1e4}
"""Amounts from which on thousands, millions, 万 and 亿 are written as words."""
FEWEST_PLACES = 4
"""Places, two that start and two to compare with, below which there is no other roll-out to advise."""


@dataclass(frozen=True, kw_only=True, eq=False)
class DesignPlan:
    """What a planned roll-out could tell, and by which design.

    Attributes:
        plan: What was asked.
        design: With what the plan left open filled in.
        rungs: The ladder of designs, the strongest first.
        placebos: Roll-outs that did nothing; None where places cannot be compared.
        power: One row per segment, ``all``, ``money`` and ``score``: see :func:`rox.planning.power.power_of`.
        curves: Other designs: see :func:`rox.planning.power.curves_of`.
        checks: What is to be said, by code.
        title: Of the study.
        outcome: Name of the money.
        outcome_kind: Its kind.
        currency: ISO code.
        fingerprint: Of the data.
    """

    plan: Plan
    design: Design
    rungs: tuple[Rung, ...]
    placebos: PlaceboRollouts | None
    power: pd.DataFrame
    curves: pd.DataFrame
    checks: tuple[Check, ...]
    title: Wording
    outcome: Wording
    outcome_kind: Literal["stock", "flow", "count"]
    currency: str
    fingerprint: str

    @property
    def places_needed(self) -> int | None:
        """Places in the whole design, by the rule of the square root, that make the assumed effect detectable.

        A scaling of the standard error that was measured, for as many places more of the same kind and the same share
        of them that start; None without placebos.
        """
        if self.power.empty:
            return None
        row = self.power.loc[ALL]
        return int(np.ceil(self.design.pool * (row["detectable"] / row["seen"]) ** 2)) if row["seen"] > 0 else None

    def ladder_table(self, language: Language = "en") -> pd.DataFrame:
        """List every design for a reader: whether it is available and why, its grade, what it assumes and can find."""
        heads = ("design", "available", "grade", "estimator", "detectable", "why", "assumes")
        rows = [
            (
                say(f"planning.rung.{rung.key}", language),
                say("planning.yes" if rung.is_available else "planning.no", language),
                _grades(rung),
                rung.estimator or MISSING,
                MISSING if rung.detectable is None else f"{100 * rung.detectable:.1f}%",
                rung.why(language),
                rung.assumes(language),
            )
            for rung in self.rungs
        ]
        return pd.DataFrame(rows, columns=[say(f"planning.head.{head}", language) for head in heads])

    def power_table(self, language: Language = "en") -> pd.DataFrame:
        """List what the design can detect, in shares of money, in money and in score points, and at what risk."""
        heads = ("group", "error", "detectable", "customer", "total", "assumed", "power", "times", "sign")
        rows = [self._power_row(str(group), row, language) for group, row in self.power.iterrows()]
        return pd.DataFrame(rows, columns=[say(f"planning.head.{head}", language) for head in heads])

    def curve_table(self, language: Language = "en") -> pd.DataFrame:
        """List other numbers of places, of starts and of months, and what each could detect."""
        heads = ("other", "error", "detectable", "power")
        rows = [
            (
                say(f"planning.curve.{row['kind']}", language, value=int(row["value"])),
                f"{_share(row['se'])} ± {_share(row['se_mc'])}" if np.isfinite(row["se"]) else MISSING,
                _share(row["detectable"]),
                percent(row["power"]),
            )
            for _, row in self.curves.iterrows()
        ]
        return pd.DataFrame(rows, columns=[say(f"planning.head.{head}", language) for head in heads])

    def _power_row(self, group: str, row: pd.Series, language: Language) -> tuple[str, ...]:
        named = group in (ALL, MONEY, SCORE)
        points = group == SCORE
        yearly = PER_YEAR if self.outcome_kind != "stock" else 1
        currency = "" if self.outcome_kind == "count" else self.currency
        write = _points if points else _share
        return (
            say(f"planning.group.{group}", language) if named else group,
            write(row["se"]),
            write(row["detectable"]),
            money(yearly * row["per_customer"], currency, language),
            money(yearly * row["in_total"], currency, language),
            write(row["assumed"]),
            percent(row["expected"]),
            MISSING if not np.isfinite(row["exaggeration"]) else f"× {row['exaggeration']:.1f}",
            percent(row["wrong_sign"]),
        )

    def text(self, language: Language = "en") -> str:
        """Write the page for a terminal."""
        parts = [self._heading(language)]
        parts.append(_section("ladder", [self._rung_lines(rung, language) for rung in self.rungs], language))
        if not self.power.empty:
            note = say(f"planning.money.{self.outcome_kind}", language, outcome=self.outcome[language])
            parts.append(_section("power", [_laid_out(self.power_table(language)), _wrapped(note)], language))
        needed = self.places_needed
        if not self.curves.empty and (needed is None or needed >= FEWEST_PLACES):
            places = MISSING if needed is None else f"{needed:,}"
            said = say("planning.curves", language, places=places, pool=f"{self.design.pool:,}")
            parts.append(_section("curves", [_laid_out(self.curve_table(language)), _wrapped(said)], language))
        found = [_wrapped(f"{check.code}  {check.sentence(language)}") for check in self.checks]
        parts.append(_section("findings", found, language))
        return "\n\n".join(parts)

    def _heading(self, language: Language) -> str:
        facts, starts = self.design.facts, self.design.starts
        stages = say("planning.comma", language).join(
            say(f"planning.stage{'.one' if size == 1 else ''}", language, places=size, month=month_label(start))
            for size, start in zip(self.design.sizes, starts, strict=True)
        )
        name = self.design.initiative or say("planning.unnamed", language)
        lines = [
            say("planning.title", language, study=self.title[language], outcome=self.outcome[language]),
            say(
                "planning.back" if facts.looks_back else "planning.ahead",
                language,
                name=name,
                stages=stages,
                rest=self.design.pool - facts.planned,
            ),
            say(
                "planning.facts",
                language,
                places=facts.places,
                untreated=facts.untreated,
                months=facts.history,
            ),
        ]
        return "\n".join(_wrapped(line) for line in lines)

    def _rung_lines(self, rung: Rung, language: Language) -> str:
        mark = say("planning.yes" if rung.is_available else "planning.no", language)
        key = "planning.finds_half" if rung.key == "individual" else "planning.finds"
        found = "" if rung.detectable is None else say(key, language, detectable=100 * rung.detectable)
        head = say(
            "planning.line",
            language,
            mark=mark,
            design=say(f"planning.rung.{rung.key}", language),
            grade=_grades(rung),
            estimator=rung.estimator or say("planning.nothing", language),
        )
        body = (rung.why(language), say("planning.assumed", language, assumes=rung.assumes(language)), found)
        return "\n".join([head, *(_wrapped(each, "    ") for each in body if each)])

    def as_record(self) -> dict[str, Any]:
        """Return plain values; missing numbers are None."""
        placebos = self.placebos
        record: Mapping[str, Any] = {
            "format": FORMAT,
            "plan": asdict(self.plan),
            "facts": asdict(self.design.facts),
            "starts": [
                {"month": month_label(start), "places": size}
                for start, size in zip(self.design.starts, self.design.sizes, strict=True)
            ],
            "pool": self.design.pool,
            "places_needed": self.places_needed,
            "ladder": [rung.as_record() for rung in self.rungs],
            "power": {str(group): row.to_dict() for group, row in self.power.iterrows()},
            "curves": self.curves.to_dict("records"),
            "placebos": None
            if placebos is None
            else {
                "replications": placebos.replications,
                "failed": placebos.failed,
                "first": month_label(placebos.quiet.first),
                "last": month_label(placebos.quiet.last),
                "window": placebos.quiet.window,
                "laid_over": placebos.quiet.laid_over,
                "starts": [month_label(start) for start in placebos.quiet.starts],
                "history": placebos.history,
            },
            "checks": [check.as_record() for check in self.checks],
            "fingerprint": self.fingerprint,
        }
        found: dict[str, Any] = plain(record)
        return found


def _grades(rung: Rung) -> str:
    return str(rung.best) if rung.best is rung.worst else f"{rung.best}–{rung.worst}"


def _share(value: float) -> str:
    return f"{100 * value:.1f}%" if np.isfinite(value) else MISSING


def _points(value: float) -> str:
    return f"{value:.2f}" if np.isfinite(value) else MISSING


def percent(value: float) -> str:
    """Write a probability in percent, never as a certainty, and with a decimal below 1%."""
    if not np.isfinite(value):
        return MISSING
    if value < RARE:
        return "< 0.1%"
    return "> 99%" if value >= SURE else f"{100 * value:.1f}%" if value < ONE_PERCENT else f"{100 * value:.0f}%"


def money(value: float, currency: str, language: Language) -> str:
    """Write an amount, or a number where there is no currency, to three digits: CN¥2.9B, 29亿元."""
    if not np.isfinite(value):
        return MISSING
    shown = float(f"{value:.3g}")
    if abs(shown) < COMPACT[language]:
        number = format_decimal(shown, "#,##0.###", locale=language)
    else:
        number = format_compact_decimal(shown, locale=language, fraction_digits=2)
    if not currency:
        return str(number)
    key = f"currency.{currency}"
    name = say(key, language) if key in catalogue() else f"{currency} " if language == "en" else currency
    return say("number.amount", language, n=number, currency=name)


def _section(name: str, lines: list[str], language: Language) -> str:
    head = say(f"planning.section.{name}", language)
    return "\n".join([head, "-" * _width(head), *lines])


def _wrapped(text: str, indent: str = "") -> str:
    """Break lines at spaces; Chinese has none, and terminals break it themselves."""
    return textwrap.fill(
        text,
        WIDTH,
        initial_indent=indent,
        subsequent_indent=indent or "  ",
        break_long_words=False,
        break_on_hyphens=False,
    )


def _width(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(letter) in WIDE else 1 for letter in text)


def _laid_out(table: pd.DataFrame) -> str:
    """Align a table's columns, the first to the left."""
    rows = [list(map(str, table.columns)), *([str(each) for each in row] for row in table.to_numpy())]
    widths = [max(_width(row[k]) for row in rows) for k in range(len(table.columns))]
    lines = []
    for row in rows:
        cells = [" " * (wide - _width(cell)) + cell for cell, wide in zip(row[1:], widths[1:], strict=True)]
        lines.append("  ".join([row[0] + " " * (widths[0] - _width(row[0])), *cells]))
    return "\n".join(lines)
