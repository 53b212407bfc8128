"""Parts in, one page out that needs no return, no study and no script."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib.resources import files

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from rox.core.words import Language, say
from rox.reporting.blocks import Part
from rox.reporting.fonts import face_css

TAGS = {"en": "en", "zh": "zh-Hans"}


def plain_page(title: str, language: Language, parts: Sequence[Part], *, kind: str = "", subtitle: str = "") -> str:
    """Render parts as one self-contained page in the report's style.

    Every text is escaped; only a figure's SVG, which the project draws itself, stands as it is. Style sheet and Chinese
    face are inside, and the content policy allows neither scripts nor any request.

    Args:
        title: The page's title and heading.
        language: Of the words around the parts.
        parts: At least one, in reading order.
        kind: What sort of page it is, above the title.
        subtitle: One sentence below the title.

    Raises:
        ValueError: No part, or two parts with one key.
    """
    keys = [part.key for part in parts]
    if not keys or len(set(keys)) < len(keys):
        raise ValueError(f"a page needs parts with a key of their own each; got {keys}")
    template = _environment().get_template("plain.html.j2")
    told = {
        "parts": parts,
        "tag": TAGS[language],
        "title": title,
        "kind": kind,
        "subtitle": subtitle,
        "say": lambda key, **values: say(key, language, **values),
    }
    style = files("rox.reporting").joinpath("templates/style.css").read_text(encoding="utf-8")
    face = face_css(template.render(**told, style=""))
    return template.render(**told, style=Markup(face + style))


@cache
def _environment() -> Environment:
    loader = PackageLoader("rox.reporting", "templates")
    return Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
