"""Why a figure changed between two runs: a bridge of steps from one recorded headline to the other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from types import MappingProxyType
from typing import Any

import pandas as pd

from rox.core.check import Check, Verdict
from rox.core.declared import Wording
from rox.core.ledger import NO_WORDS
from rox.core.record import plain
from rox.core.words import Language, say

FORMAT = "rox.comparison/1"
HEADLINES: Mapping[str, str] = MappingProxyType(
    {"expected_npv": "money", "npv": "money", "roi": "share", "p_positive": "share", "point_npv": "money"}
)
"""The figures that are bridged, with the unit of each: mean and median of NPV, median ROI, share of draws with a
positive NPV, and NPV on the point path."""
MAIN = "expected_npv"
"""The figure a report leads with."""
SHARE_STEP = 1e-4
"""Shares are shown to a hundredth of a percentage point."""
KINDS = (
    "unexplained",
    "software",
    "estimate",
    "restated",
    "added",
    "method",
    "priors",
    "discounts",
    "volume",
    "mix",
    "assumption",
    "seeds",
)
"""What a step can be about; ``unexplained`` is what a replay of the first record does not reproduce."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """One replacement of something of the first run by that of the second.

    Attributes:
        kind: One of :data:`KINDS`.
        word: Key of its label in the catalogue, with ``text`` as a possible field.
        text: Words that complete the label, such as the name of an assumption, in both languages.
        was: What stood there in the first run, in short; may be empty.
        now: What stands there in the second.
        level: Each headline after the step.
        error: Monte Carlo standard error of the step's own contribution, by headline.
    """

    kind: str
    word: str
    text: Wording = NO_WORDS
    was: str = ""
    now: str = ""
    level: Mapping[str, float]
    error: Mapping[str, float] = field(default_factory=dict)

    def label(self, language: Language) -> str:
        """Say what was replaced."""
        return " ".join(say(self.word, language, text=self.text[language]).split())


@dataclass(frozen=True, kw_only=True)
class Share:
    """What one factor adds whatever the order: the mean over all orders of replacement (Shapley), by headline.

    Attributes:
        word: Key of the factor's label.
        text: Words that complete the label.
        fixed: Its part in the fixed order.
        shapley: Its mean part over all orders.
    """

    word: str
    text: Wording = NO_WORDS
    fixed: Mapping[str, float]
    shapley: Mapping[str, float]

    def label(self, language: Language) -> str:
        """Say which factor it is."""
        return " ".join(say(self.word, language, text=self.text[language]).split())


@dataclass(frozen=True, kw_only=True)
class Difference:
    """Something that differs between two runs.

    Attributes:
        word: Key of its label in the catalogue, with ``text`` as a possible field.
        text: Words that complete the label.
        was: In the first run.
        now: In the second.
    """

    word: str
    text: Wording = NO_WORDS
    was: str
    now: str

    def label(self, language: Language) -> str:
        """Say what differs."""
        return " ".join(say(self.word, language, text=self.text[language]).split())


@dataclass(frozen=True, kw_only=True)
class RunFacts:
    """What names one of the two runs."""

    study: str
    case: str
    extract: str
    run: str
    seed: int
    draws: int
    grade: str
    rox: str


@dataclass(frozen=True, kw_only=True, eq=False)
class Comparison:
    """Two recorded runs, and the steps that lead from the first one's headline to the second one's.

    ``start`` and ``end`` are what the records say; the levels between them are computed anew. So what the steps do not
    reach is left over and shown as it is, never spread over them.

    Attributes:
        title: Of the second run's case.
        currency: ISO code of both runs' money.
        cent: The currency's smallest unit, such as 0.01.
        first: The earlier run.
        second: The later run.
        start: Each headline as the first record has it.
        end: Each headline as the second record has it.
        tolerance: What may be left over of each headline before its publication is stopped.
        steps: The replacements in their fixed order.
        shares: Each factor's part in the fixed order and over all orders; empty where that was not computed.
        differences: What differs, also where it moves nothing.
        checks: What was tested.
    """

    title: Wording
    currency: str
    cent: float
    first: RunFacts
    second: RunFacts
    start: Mapping[str, float]
    end: Mapping[str, float]
    tolerance: Mapping[str, float]
    steps: tuple[Step, ...]
    shares: tuple[Share, ...]
    differences: tuple[Difference, ...]
    checks: tuple[Check, ...]

    @property
    def is_publishable(self) -> bool:
        """Whether no check stops publication."""
        return not any(check.verdict is Verdict.STOP for check in self.checks)

    @property
    def remainder(self) -> dict[str, float]:
        """What no step explains, by headline: at the end, and where the first record is not reproduced at the start."""
        last = self.steps[-1].level if self.steps else self.start
        found = {}
        for name in self.end:
            lost = [step.level[name] - self.start[name] for step in self.steps[:1] if step.kind == "unexplained"]
            found[name] = self.end[name] - last[name] + sum(lost)
        return found

    def shown_step(self, headline: str = MAIN) -> float:
        """Return the smallest unit in which a headline is shown."""
        return self.cent if HEADLINES[headline] == "money" else SHARE_STEP

    def bridge(self, headline: str = MAIN) -> pd.DataFrame:
        """Lay the bridge out in whole smallest units, so that the rows add up exactly as they are shown.

        Each level is rounded, and a row is the difference of two rounded levels: no row is off by more than one
        smallest unit, and start plus rows is the end.

        Returns:
            One row for the start, each step, the remainder and the end: ``kind``, labels ``en`` and ``zh``, ``was``,
            ``now``, ``units`` (whole numbers), ``value`` (units times their size), ``level`` (value of the running
            total) and ``error`` (Monte Carlo standard error, in the headline's unit).
        """
        size = self.shown_step(headline)
        ends = [_units(each.level[headline], size) for each in self.steps]
        first, last = _units(self.start[headline], size), _units(self.end[headline], size)
        rows = [_row("start", "comparison.start", NO_WORDS, first, first)]
        before = first
        for step, end in zip(self.steps, ends, strict=True):
            error = step.error.get(headline, 0.0)
            rows.append(_row(step.kind, step.word, step.text, end - before, end, step.was, step.now, error))
            before = end
        rows.append(_row("remainder", "comparison.remainder", NO_WORDS, last - before, last))
        rows.append(_row("end", "comparison.end", NO_WORDS, last, last))
        table = pd.DataFrame(rows)
        per_unit = round(1 / size)
        return table.assign(value=table["units"] / per_unit, level=table["total"] / per_unit).drop(columns="total")

    def by_factor(self, headline: str = MAIN) -> pd.DataFrame:
        """Lay each factor's part in the fixed order beside its mean over all orders; both sum to the same change.

        Returns:
            One row per factor: labels ``en`` and ``zh``, ``fixed`` and ``shapley`` in the headline's unit, rounded as
            :meth:`bridge` does it; empty where it was not computed.
        """
        size, held = self.shown_step(headline), {"fixed": 0.0, "shapley": 0.0}
        rows = []
        for share in self.shares:
            row: dict[str, Any] = {"en": share.label("en"), "zh": share.label("zh")}
            for name, part in (("fixed", share.fixed[headline]), ("shapley", share.shapley[headline])):
                units = _units(held[name] + part, size) - _units(held[name], size)
                row[name] = units / round(1 / size)
                held[name] += part
            rows.append(row)
        return pd.DataFrame(rows, columns=["en", "zh", "fixed", "shapley"])

    def as_record(self) -> dict[str, Any]:
        """Return plain values."""
        found: dict[str, Any] = plain(
            {
                "format": FORMAT,
                "publishable": self.is_publishable,
                "title": {"en": self.title.en, "zh": self.title.zh},
                "currency": self.currency,
                "first": asdict(self.first),
                "second": asdict(self.second),
                "start": dict(self.start),
                "end": dict(self.end),
                "remainder": self.remainder,
                "tolerance": dict(self.tolerance),
                "bridge": {name: self.bridge(name).to_dict(orient="records") for name in HEADLINES},
                "by_factor": {name: self.by_factor(name).to_dict(orient="records") for name in HEADLINES},
                "differences": [
                    {"en": each.label("en"), "zh": each.label("zh"), "was": each.was, "now": each.now}
                    for each in self.differences
                ],
                "checks": [check.as_record() for check in self.checks],
            }
        )
        return found


def _units(value: float, size: float) -> int:
    return 0 if value != value else round(value * round(1 / size))


def _row(
    kind: str, word: str, text: Wording, units: int, total: int, was: str = "", now: str = "", error: float = 0.0
) -> dict[str, Any]:
    said = {language: " ".join(say(word, language, text=text[language]).split()) for language in ("en", "zh")}
    return {"kind": kind, **said, "was": was, "now": now, "units": units, "total": total, "error": error}
