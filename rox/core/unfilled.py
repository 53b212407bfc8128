"""What is still to be filled in: every ``"?"`` of a file, table by table, and what each name asks for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

OPEN = "?"
"""Stands in a new file for whatever somebody has to say."""

QUESTIONS = {
    "owner": "who answers for this number",
    "source": "where the number comes from: a report, an account, an offer, a measurement, or a judgement",
    "date": "of when it is, as 2026-01-31 without quotation marks",
    "value": "the number",
    "low": "a value below which it lies once in twenty times",
    "likely": "the most likely value",
    "high": "a value above which it lies once in twenty times",
    "between": "the two ends between which it lies nine times in ten",
    "label": "what it is called, in words",
    "title": "what the case is called, in words",
    "decision": "what is to be decided, in words",
    "months": "the months it falls in, such as [0, 1]; 0 is the start",
    "effects": 'the effects that are priced, such as ["uplift"]',
    "amount": "the figure of the books",
    "cost": "what it costs, in the case's currency",
    "reviewer": "who challenges the case; not its owner",
    "approver": "who decides",
}
"""What each name of a file asks for."""


def unfilled(content: Any, place: str = "") -> Iterator[tuple[str, str]]:
    """Iterate over what is still open in a file: the place of a table, and the name in it.

    Args:
        content: What a TOML file holds.
        place: Where in the file it stands.
    """
    for key, value in content.items():
        here = f"{place}.{key}" if place else str(key)
        if isinstance(value, dict):
            yield from unfilled(value, here)
        elif isinstance(value, list) and any(isinstance(each, dict) for each in value):
            for number, each in enumerate(value):
                yield from unfilled(each, f"{here}.{number}") if isinstance(each, dict) else ()
        elif any(
            isinstance(each, str) and each.strip() == OPEN for each in (value if isinstance(value, list) else [value])
        ):
            yield place, str(key)


def open_faults(still: Iterable[tuple[str, str]]) -> list[str]:
    """Say what is still to be filled in: a line per table, then what the names ask for."""
    tables: dict[str, list[str]] = {}
    for place, name in still:
        tables.setdefault(place, []).append(name)
    asked = dict.fromkeys(name for names in tables.values() for name in names)
    return [
        *(f"{place or 'file'}: still {OPEN!r}: {', '.join(names)}" for place, names in tables.items()),
        *(f"{name} is {QUESTIONS[name]}" for name in asked if name in QUESTIONS),
    ]
