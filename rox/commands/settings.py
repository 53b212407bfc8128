"""Settings given as GROUP.NAME=VALUE."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any


def settings(pairs: Sequence[str], option: str = "--set", group: str = "NOTEBOOK") -> dict[str, dict[str, Any]]:
    """Read GROUP.NAME=VALUE, where VALUE is a number, true, false, a list or text."""
    from rox.core.errors import RunError

    found: dict[str, dict[str, Any]] = {}
    faults = []
    for pair in pairs:
        place, equals, text = pair.partition("=")
        first, dot, name = place.rpartition(".")
        if not (equals and dot and first and name):
            faults.append(f"{pair!r}: write {group}.NAME=VALUE")
            continue
        try:
            value = json.loads(text)
        except json.JSONDecodeError:
            value = text
        found.setdefault(first, {})[name] = tuple(value) if isinstance(value, list) else value
    if faults:
        raise RunError(f"{option} cannot be read.", faults)
    return found
