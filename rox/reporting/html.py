"""Parts in, one self-contained page out."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib.resources import files

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from rox.core.words import say
from rox.reporting.blocks import Part
from rox.reporting.numbers import day
from rox.reporting.request import Request

TAGS = {"en": "en", "zh": "zh-Hans"}


@cache
def _environment() -> Environment:
    loader = PackageLoader("rox.reporting", "templates")
    return Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)


def page_html(request: Request, parts: Sequence[Part]) -> str:
    """Render a whole page.

    Everything a user wrote is escaped. The style sheet is inside, and a content policy forbids the page to load
    anything.
    """
    about, language = request.money.case.about, request.language
    date = request.date or (request.study.about.extract if request.study else None)
    return (
        _environment()
        .get_template("report.html.j2")
        .render(
            parts=parts,
            tag=TAGS[language],
            title=about.title[language],
            decision=about.decision[language],
            study=request.study.about.title[language] if request.study else "",
            date=day(date, language) if date else "",
            style=Markup(files("rox.reporting").joinpath("templates/style.css").read_text(encoding="utf-8")),
            say=lambda key, **values: say(key, language, **values),
        )
    )


def card_html(part: Part) -> str:
    """Render one part for a notebook, in the notebook's own style."""
    return _environment().get_template("card.html.j2").render(part=part)
