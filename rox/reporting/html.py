"""Parts in, one self-contained page out, in one language or in two."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from rox.core.words import say
from rox.reporting.blocks import Block, Figure, Panel, Part
from rox.reporting.fonts import face_css
from rox.reporting.numbers import day
from rox.reporting.request import Request
from rox.reporting.svg import renamed

TAGS = {"en": "en", "zh": "zh-Hans"}
NO_SCRIPT = "'none'"
UNSEEN = dict.fromkeys(
    [*range(0x09), 0x0B, 0x0C, *range(0x0E, 0x20), 0x7F, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)]
)
"""Control signs and those that turn the direction of writing: in a name they could turn the numbers after it around."""


@dataclass(frozen=True, kw_only=True)
class Version:
    """A report in one language.

    Attributes:
        request: What was told, and in which language.
        parts: Its parts in reading order.
    """

    request: Request
    parts: tuple[Part, ...]


def page_html(versions: Sequence[Version]) -> str:
    """Render a whole page of one version, or of two between which the reader switches and which print both.

    Everything a user wrote is escaped, and signs that only steer the display are left out. Style sheet, Chinese face
    and script are inside; a content policy forbids the page to load anything and to run any script but the one whose
    hash it names.
    """
    bodies = [_body(version, place, of=len(versions)) for place, version in enumerate(versions)]
    titles = [version.request.money.case.about.title[version.request.language] for version in versions]
    title = " · ".join(dict.fromkeys([*titles, *(version.request.say("page.kind") for version in versions)]))
    script, data = _script([block for version in versions for block in _panels(version.parts)])
    switch = " · ".join(version.request.say("page.languages") for version in versions)
    choices = [(TAGS[each.request.language], each.request.language, each.request.say("page.self")) for each in versions]
    return (
        _environment()
        .get_template("report.html.j2")
        .render(
            bodies=[Markup(body) for body in bodies],
            choices=choices,
            switch=switch,
            tag=choices[0][0],
            title=title,
            style=Markup(
                face_css("".join([title, switch, *(name for *_, name in choices), *bodies])) + _file("style.css")
            ),
            script=Markup(script),
            data=Markup(data),
            hash=_hash(script) if script else NO_SCRIPT,
        )
        .translate(UNSEEN)
    )


def card_html(part: Part) -> str:
    """Render one part for a notebook, in the notebook's own style."""
    return _environment().get_template("card.html.j2").render(part=part)


def _body(version: Version, place: int, *, of: int) -> str:
    request = version.request
    about, language = request.money.case.about, request.language
    date = request.date or (request.study.about.extract if request.study else None)
    suffix = f"-{language}" if place else ""
    parts = [replace(part, blocks=tuple(_told_apart(block, suffix) for block in part.blocks)) for part in version.parts]
    return (
        _environment()
        .get_template("version.html.j2")
        .render(
            parts=parts,
            suffix=suffix,
            is_alone=of == 1,
            title=about.title[language],
            decision=about.decision[language],
            study=request.study.about.title[language] if request.study else "",
            date=day(date, language) if date else "",
            say=lambda key, **values: say(key, language, **values),
        )
    )


def _told_apart(block: Block, suffix: str) -> Block:
    return replace(block, svg=renamed(block.svg, suffix)) if suffix and isinstance(block, Figure) else block


def _panels(parts: Sequence[Part]) -> list[Panel]:
    return [block for part in parts for block in part.blocks if isinstance(block, Panel)]


def _script(panels: Sequence[Panel]) -> tuple[str, str]:
    """Return the page's script and its data, or two empty texts for a page without panels."""
    if not panels:
        return "", ""
    data = {"numbers": panels[0].numbers, "words": {panel.key: panel.words for panel in panels}}
    script = f'(()=>{{"use strict";\n{panels[0].script}\n{_file("what_if.js")}}})();'
    if "</" in script or "<!--" in script:
        raise ValueError("a script cannot hold the end of its own element")
    return script, as_json(data)


def as_json(data: Mapping[str, Any]) -> str:
    """Return data for a script element: plain ASCII without any sign that could end the element."""
    text = json.dumps(data, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", r"\u003c").replace(">", r"\u003e").replace("&", r"\u0026")


def _hash(script: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode('ascii')}'"


def _file(name: str) -> str:
    return files("rox.reporting").joinpath("templates", name).read_text(encoding="utf-8")


@cache
def _environment() -> Environment:
    loader = PackageLoader("rox.reporting", "templates")
    return Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
