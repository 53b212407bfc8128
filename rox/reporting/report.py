"""A report: ordered parts in one language, saved as one page or as a workbook."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rox.core.effect import Effect
from rox.core.files import write_text
from rox.core.returns import Return
from rox.core.study import Study
from rox.core.words import Language
from rox.reporting.blocks import Part
from rox.reporting.html import card_html, page_html
from rox.reporting.parts.answer import answer
from rox.reporting.parts.assumptions import assumptions
from rox.reporting.parts.bridge import bridge
from rox.reporting.parts.doubts import silence, turning
from rox.reporting.parts.evidence import evidence
from rox.reporting.parts.measure import measure
from rox.reporting.parts.record import card, provenance, trail
from rox.reporting.parts.scenarios import scenarios
from rox.reporting.request import Experience, Request
from rox.reporting.workbook import write_workbook


@dataclass(frozen=True, kw_only=True, eq=False)
class Report:
    """What a reader gets: the answer, what it rests on, and what would change it.

    Attributes:
        request: What was told.
        parts: The parts in reading order.
    """

    request: Request
    parts: tuple[Part, ...]

    @property
    def money(self) -> Return:
        """The return that was told."""
        return self.request.money

    @property
    def language(self) -> Language:
        """The language of the report."""
        return self.request.language

    def html(self) -> str:
        """Return the page: one file without scripts that asks no other host for anything."""
        return page_html(self.request, self.parts)

    def save(self, path: str | Path) -> Path:
        """Save as ``.html`` or as ``.xlsx``, by the suffix.

        Raises:
            ValueError: Another suffix.
        """
        suffix = Path(path).suffix.lower()
        if suffix == ".html":
            return write_text(path, self.html())
        if suffix == ".xlsx":
            return write_workbook(self.money, path, language=self.language)
        raise ValueError(f"a report is saved as .html or .xlsx; got {suffix or 'no suffix'!r} in {str(path)!r}")

    def _repr_html_(self) -> str:
        return card_html(self.parts[0])


def report(
    money: Return,
    *,
    experience: Experience | None = None,
    rivals: Sequence[Effect] = (),
    language: Language | None = None,
    study: Study | None = None,
    date: dt.date | None = None,
) -> Report:
    """Tell a return in the order in which finance reads it.

    Args:
        money: What :func:`rox.value` gave.
        experience: Scores as they are today, to show beside the money.
        rivals: Estimates that answer other questions; shown with the reason why they are not priced.
        language: ``"en"`` or ``"zh"``; default the study's, else English.
        study: Labels of outcomes, the smallest group shown, and the day of the extract.
        date: Printed as the report's date; default the day of the extract. No clock is read, so that the same figures
            give the same bytes.
    """
    request = Request(
        money=money,
        experience=experience,
        rivals=tuple(rivals),
        language=language or (study.language if study else "en"),
        study=study,
        date=date,
    )
    seen = () if experience is None else (measure(request, experience),)
    parts = (
        answer(request),
        bridge(request),
        evidence(request),
        *seen,
        assumptions(request),
        scenarios(request),
        turning(request),
        silence(request),
        trail(request),
        card(request),
        provenance(request),
    )
    return Report(request=request, parts=parts)
