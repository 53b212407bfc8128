"""A report: ordered parts in one language or in two, saved as one page or as a workbook."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rox.core.comparison import Comparison
from rox.core.effect import Effect
from rox.core.files import write_text
from rox.core.returns import Return
from rox.core.study import Study
from rox.core.words import Edition, Language, languages_of
from rox.reporting.blocks import Part
from rox.reporting.comparison_page import since_last
from rox.reporting.html import Version, card_html, page_html
from rox.reporting.parts.answer import answer
from rox.reporting.parts.assumptions import assumptions
from rox.reporting.parts.bridge import bridge
from rox.reporting.parts.card import card
from rox.reporting.parts.doubts import silence, turning
from rox.reporting.parts.evidence import evidence
from rox.reporting.parts.knowing import knowing
from rox.reporting.parts.measure import measure
from rox.reporting.parts.reconciliation import reconciliation
from rox.reporting.parts.record import provenance, trail
from rox.reporting.parts.scenarios import scenarios
from rox.reporting.parts.what_if import what_if
from rox.reporting.request import Experience, Request
from rox.reporting.workbook import write_workbook


@dataclass(frozen=True, kw_only=True, eq=False)
class Report:
    """What a reader gets: the answer, what it rests on, and what would change it.

    Attributes:
        versions: The report in each of its languages, the one that is shown first first.
    """

    versions: tuple[Version, ...]

    @property
    def request(self) -> Request:
        """What was told, in the first language."""
        return self.versions[0].request

    @property
    def parts(self) -> tuple[Part, ...]:
        """The parts in reading order, in the first language."""
        return self.versions[0].parts

    @property
    def money(self) -> Return:
        """The return that was told."""
        return self.request.money

    @property
    def language(self) -> Language:
        """The language that is shown first."""
        return self.request.language

    def html(self) -> str:
        """Return the page: one file that asks no other host for anything."""
        return page_html(self.versions)

    def save(self, path: str | Path) -> Path:
        """Save as ``.html`` or as ``.xlsx``, by the suffix.

        A page holds every language of the report; a workbook has one, so those in further languages are written beside
        the first: ``roi.xlsx`` and ``roi.zh.xlsx``.

        Returns:
            The path that was asked for.

        Raises:
            ValueError: Another suffix.
        """
        suffix = Path(path).suffix.lower()
        if suffix == ".html":
            return write_text(path, self.html())
        if suffix == ".xlsx":
            for other in self.versions[1:]:
                language = other.request.language
                write_workbook(self.money, Path(path).with_suffix(f".{language}{suffix}"), language=language)
            return write_workbook(self.money, path, language=self.language)
        raise ValueError(f"a report is saved as .html or .xlsx; got {suffix or 'no suffix'!r} in {str(path)!r}")

    def _repr_html_(self) -> str:
        return card_html(self.parts[0])


def report(
    money: Return,
    *,
    experience: Experience | None = None,
    rivals: Sequence[Effect] = (),
    language: Edition | None = None,
    study: Study | None = None,
    date: dt.date | None = None,
    since: Comparison | None = None,
) -> Report:
    """Tell a return in the order in which finance reads it.

    Args:
        money: What :func:`rox.value` gave.
        experience: Scores as they are today, to show beside the money.
        rivals: Estimates that answer other questions; shown with the reason why they are not priced.
        language: ``"en"``, ``"zh"``, or ``"both"`` in one file; default the study's, else English.
        study: Labels of outcomes, the smallest group shown, and the day of the extract.
        date: Printed as the report's date; default the day of the extract. No clock is read, so that the same figures
            give the same bytes.
        since: What :func:`rox.compare` found between an earlier run and this one; told as a part of its own.
    """
    edition = language or (study.about.language if study else "en")
    told = Request(money=money, experience=experience, rivals=tuple(rivals), study=study, date=date, since=since)
    requests = [replace(told, language=each) for each in languages_of(edition)]
    return Report(versions=tuple(Version(request=each, parts=_parts(each)) for each in requests))


def _parts(request: Request) -> tuple[Part, ...]:
    seen = () if request.experience is None else (measure(request, request.experience),)
    return (
        answer(request),
        bridge(request),
        evidence(request),
        assumptions(request),
        scenarios(request),
        what_if(request),
        turning(request),
        reconciliation(request),
        silence(request),
        knowing(request),
        *seen,
        *(() if request.since is None else (since_last(request.since, request.language),)),
        trail(request),
        card(request),
        provenance(request),
    )
