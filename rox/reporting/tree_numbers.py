"""How the numbers and names of a tree of metrics are written."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from rox.core.tree_report import TreeReport
from rox.core.words import Language, catalogue, say
from rox.reporting.numbers import MISSING, Form, form, probability, significant, step_of

FORMS = {"ratio": "share", "money": "money"}
"""Forms of the units; the others are plain numbers with words."""
DIGITS = 3


@dataclass(frozen=True, kw_only=True)
class Numbers:
    """Writes what a report holds, in one language.

    Attributes:
        report: The measured tree.
        language: Of the words.
        currency: ISO code of its money.
    """

    report: TreeReport
    language: Language
    currency: str

    def name(self, metric: str) -> str:
        """Return the name of a metric."""
        return self.report.tree.metrics[metric].label[self.language]

    def place(self, english: str, place: str) -> str:
        """Return the name of a stage, scope, touchpoint, channel or department; frames call it by its English name."""
        if f"tree.{place}.{english}" in catalogue():
            return say(f"tree.{place}.{english}", self.language)
        for metric in self.report.tree.metrics.values():
            said = getattr(metric, place, None)
            if said is not None and getattr(said, "en", None) == english:
                return str(said[self.language])
        return english

    def value(self, value: float, metric: str) -> str:
        """Write one value to three digits."""
        return self._said(self._form(metric, value, value, value), value, metric)

    def ranged(self, row: pd.Series) -> str:
        """Write a value with its range; a value that is not told is left open."""
        metric = _metric(row)
        shape = self._form(metric, row["value"], row["low"], row["high"])
        said = self._said(shape, row["value"], metric)
        if pd.isna(row["low"]) or pd.isna(row["high"]):
            return said
        return say("number.with_range", self.language, value=said, range=shape.span(row["low"], row["high"]))

    def short(self, row: pd.Series) -> str:
        """Write a value without its range."""
        metric = _metric(row)
        return self._said(self._form(metric, row["value"], row["low"], row["high"]), row["value"], metric)

    def limit(self, row: pd.Series, name: str) -> str:
        """Write a target or an alert; empty where there is none."""
        return "" if pd.isna(row[name]) else self.value(float(row[name]), _metric(row))

    def chance(self, row: pd.Series) -> str:
        """Write the probability that the target is reached; empty where nothing is aimed at."""
        return "" if pd.isna(row["p_target"]) else probability(float(row["p_target"]), self.language)

    def size(self, row: pd.Series) -> str:
        """Write the number of rows behind a value."""
        return MISSING if pd.isna(row["n"]) else form("count", self.language, like=(row["n"],)).number(row["n"])

    def plain(self, value: float) -> str:
        """Write a correlation."""
        return form("number", self.language, like=(1.0,), step=0.01, signed=True).number(value)

    def plain_range(self, low: float, high: float) -> str:
        """Write the range of a correlation."""
        return form("number", self.language, like=(1.0,), step=0.01, signed=True).span(low, high)

    def _form(self, metric: str, value: float, low: float, high: float) -> Form:
        unit = FORMS.get(self.report.tree.metrics[metric].measured_in, "number")
        if self.report.tree.metrics[metric].estimator in ("count", "actives"):
            return form("count", self.language, like=(value,))
        step = step_of(low, high) or significant(value if pd.notna(value) else 0.0, DIGITS)
        return form(unit, self.language, like=(value,), step=step, currency=self.currency if unit == "money" else "")

    def _said(self, shape: Form, value: float, metric: str) -> str:
        text = shape.number(value)
        unit = self.report.tree.metrics[metric].measured_in
        if text == MISSING or unit in FORMS:
            return text
        return say(f"tree.number.{unit}", self.language, n=text)


def _metric(row: pd.Series) -> str:
    return str(row.get("metric", row.name))
