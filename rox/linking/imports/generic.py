"""Any table with one row of header: what its names tell; a map says the rest."""

from __future__ import annotations

import re

from rox.linking.imports.layout import Head, Layout, Use, by_name, names_known, unique


def layout(head: Head) -> Layout:
    """Describe a table by the names of its columns."""
    names = unique(head[0]) if head else ()
    return Layout(format="generic", names=names, uses={name: _use(name) for name in names})


def _use(name: str) -> Use:
    key = re.sub(r"[ -]+", "_", name.strip().lower())
    if re.fullmatch("nps|nps_score", key):
        return Use(part="score", name="nps", low=0, high=10, kind="nps", label=name, why="imports.why.name")
    for role, pattern in names_known()["roles"].items():
        if re.fullmatch(pattern, key):
            return Use(part="role", name=role, why="imports.why.name")
    return by_name(name) or Use(part="ignored")
