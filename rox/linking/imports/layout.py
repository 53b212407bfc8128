"""What an adapter says of an export: how its header is built, and what each column is."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Any, Literal

from rox.linking.spellings import DayOrder

Format = Literal["qualtrics", "surveymonkey", "delighted", "wenjuanxing", "generic"]
Part = Literal["role", "score", "driver", "outcome", "control", "question", "rows", "identifier", "text", "ignored"]
ScaleKind = Literal["nps", "csat", "ces", "rating"]


@dataclass(frozen=True, kw_only=True)
class Use:
    """What a column is used for.

    Attributes:
        part: Which part it plays.
        name: Its name in rox, for a role, score, driver, outcome or control.
        why: Entry of the catalogue that says why.
        low: Lowest value of a scale; None if it is to be taken from the answers.
        high: Highest value of a scale.
        kind: Of a scale, or of an outcome.
        label: The question.
        missing: Values that stand for no answer.
    """

    part: Part
    name: str = ""
    why: str = "imports.why.unused"
    low: int | None = None
    high: int | None = None
    kind: str = "rating"
    label: str = ""
    missing: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """Rows that are no answers of customers.

    Attributes:
        column: Name in the file.
        values: What marks them, in lower case.
        why: Entry of the catalogue.
    """

    column: str
    values: tuple[str, ...]
    why: str


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How an export is built.

    Attributes:
        format: Whose export it is.
        names: Columns, each with a name of its own.
        header_rows: Rows above the data.
        uses: What columns are used for, by name, as far as the layout tells.
        left_out: Rows that are not used.
        missing: Values that stand for no answer in every question.
        timezone: In which times are written; None if nothing is said.
        seconds: Columns of instants counted in seconds from 1970.
        order: Which of day and month comes first.
    """

    format: Format
    names: tuple[str, ...]
    header_rows: int = 1
    uses: Mapping[str, Use] = field(default_factory=lambda: MappingProxyType({}))
    left_out: tuple[LeftOut, ...] = ()
    missing: tuple[str, ...] = ()
    timezone: str | None = None
    seconds: frozenset[str] = frozenset()
    order: DayOrder | None = None


Head = Sequence[Sequence[str]]
"""The first rows of a file, as text."""


def unique(names: Sequence[str]) -> tuple[str, ...]:
    """Give every column a name of its own, numbering those that repeat one."""
    seen: dict[str, int] = {}
    found = []
    for place, name in enumerate(names, start=1):
        name = re.sub(r"\s+", " ", name).strip() or f"column {place}"
        seen[name.casefold()] = again = seen.get(name.casefold(), 0) + 1
        found.append(name if again == 1 else f"{name} ({again})")
    return tuple(found)


@cache
def names_known() -> Mapping[str, Any]:
    """Read by which names columns are known."""
    return tomllib.loads(files("rox.linking.imports").joinpath("names.toml").read_text(encoding="utf-8"))


def is_known(kind: str, text: str) -> bool:
    """Say whether a name or a question is of a kind: customer, identifier, free_text or recommend."""
    return re.search(names_known()["known"][kind], text, flags=re.IGNORECASE | re.DOTALL) is not None


def by_name(name: str, title: str = "") -> Use | None:
    """Say what a name alone tells of a column: an identifier, free text, or the customer."""
    if is_known("customer", name.strip()):
        return Use(part="role", name="customer", why="imports.why.name")
    if is_known("identifier", name) or is_known("identifier", title):
        return Use(part="identifier", why="imports.why.identifier_name")
    if is_known("free_text", name):
        return Use(part="text", why="imports.why.free_text")
    return None
