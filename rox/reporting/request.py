"""What a report is asked to tell."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Protocol

import pandas as pd

from rox.core.check import Check
from rox.core.comparison import Comparison
from rox.core.effect import Effect
from rox.core.returns import Return
from rox.core.study import Study
from rox.core.words import Language, say

LEAST = 10
"""Groups of fewer customers are not told, unless the study says otherwise."""


class Experience(Protocol):
    """How the experience is today, as tidy frames; any of them may be empty.

    Each frame has one row per group and metric with ``metric``, ``unit``, ``value``, ``low``, ``high``, ``n`` and
    ``suppressed``, and perhaps ``score``. Its groups are columns named ``segment`` and ``period``, ``month`` or
    ``quarter``, in which ``all`` stands for no split.
    """

    @property
    def headline(self) -> pd.DataFrame:
        """Scores, response and leaving over all customers and all time."""

    @property
    def trend(self) -> pd.DataFrame:
        """Scores by month or quarter."""

    @property
    def by_segment(self) -> pd.DataFrame:
        """Scores by segment."""

    @property
    def response(self) -> pd.DataFrame:
        """Who answered, by period and by segment."""

    @property
    def churn(self) -> pd.DataFrame:
        """Who left, by period and by segment."""

    @property
    def checks(self) -> tuple[Check, ...]:
        """What a reader must know about these figures."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Request:
    """A return, what is told beside it, and in which language.

    Attributes:
        money: The return.
        experience: How the experience is today.
        rivals: Estimates that are shown beside the priced ones, but not priced.
        language: Of the report.
        study: Where labels, display rules and the day of the extract come from.
        date: Printed as the report's date.
        since: What changed since an earlier run.
    """

    money: Return
    experience: Experience | None = None
    rivals: tuple[Effect, ...] = ()
    language: Language = "en"
    study: Study | None = None
    date: dt.date | None = None
    since: Comparison | None = None

    @property
    def least(self) -> int:
        """Smallest number of customers that is told."""
        return self.study.about.min_cell if self.study else LEAST

    @property
    def currency(self) -> str:
        """ISO code of the case's money."""
        return self.money.case.about.currency

    def say(self, key: str, /, **values: object) -> str:
        """Render an entry of the catalogue in the report's language."""
        return say(key, self.language, **values)

    def outcome(self, name: str) -> str:
        """Return the label of an outcome, or its name where there is no study."""
        found = self.study.outcomes.get(name) if self.study else None
        return found.label[self.language] if found else name

    def score(self, name: str) -> str:
        """Return the label of a score or driver, or its name where there is no study."""
        scales = {**self.study.scores, **self.study.drivers} if self.study else {}
        return scales[name].label[self.language] if name in scales else name
