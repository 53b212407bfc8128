"""The one catalogue of words a reader sees, in English and Chinese.

The catalogue is the folder ``words/``: one TOML chapter per room, every entry ``key = {en = "…", zh = "…"}``.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any, Literal, get_args

Language = Literal["en", "zh"]
LANGUAGES: tuple[Language, ...] = get_args(Language)
Edition = Literal["en", "zh", "both"]
"""What a report can be had in: one language, or both in one file."""
EDITIONS: tuple[Edition, ...] = get_args(Edition)


def languages_of(edition: Edition) -> tuple[Language, ...]:
    """Return the languages of an edition, the one that is shown first first.

    Raises:
        ValueError: No such edition.
    """
    if edition == "both":
        return LANGUAGES
    if edition not in LANGUAGES:
        raise ValueError(f"a report is had in {', '.join(EDITIONS)}; got {edition!r}")
    return (edition,)


@cache
def catalogue() -> Mapping[str, Mapping[str, str]]:
    """Read every chapter of the catalogue; a key belongs to one chapter only.

    Raises:
        ValueError: A key stands in two chapters.
    """
    entries: dict[str, Mapping[str, str]] = {}
    chapters = (chapter for chapter in files("rox.core").joinpath("words").iterdir() if chapter.name.endswith(".toml"))
    for chapter in sorted(chapters, key=lambda each: each.name):
        found = tomllib.loads(chapter.read_text(encoding="utf-8"))
        if twice := entries.keys() & found.keys():
            raise ValueError(f"{chapter.name} repeats {sorted(twice)}")
        entries.update(found)
    return entries


def say(key: str, language: Language = "en", /, **values: Any) -> str:
    """Render one entry of the catalogue.

    Args:
        key: Name of the entry.
        language: ``"en"`` or ``"zh"``.
        **values: What its ``{fields}`` stand for.

    Raises:
        KeyError: No such entry, or a field without a value.
    """
    return catalogue()[key][language].format_map(values)


def fields(text: str) -> frozenset[str]:
    """Return the names of the ``{fields}`` in a text."""
    return frozenset(re.findall(r"{(\w+)", text))
