"""Delighted: one row of header with the fields of a survey response; instants are counted in seconds from 1970."""

from __future__ import annotations

from rox.linking.imports.layout import Head, Layout, Use, by_name, unique

NEEDED = {"score", "comment"}
OWN = {"person", "survey_type", "permalink", "created_at", "updated_at", "tags", "notes"}
SCALES = {"nps": (0, 10), "csat": (1, 5), "ces": (1, 5)}
SYSTEM = {"updated_at", "tags", "notes", "survey_type"}


def layout(head: Head) -> Layout | None:
    """Describe the export, if it has a score, a comment and three fields of Delighted's responses; None otherwise."""
    if not head:
        return None
    names = unique(head[0])
    keys = [name.lower().replace(" ", "_") for name in names]
    if not set(keys) >= NEEDED or len(OWN & set(keys)) < 3:
        return None
    kinds = {row[keys.index("survey_type")].strip().lower() for row in head[1:] if "survey_type" in keys and any(row)}
    kind = next(iter(kinds)) if len(kinds) == 1 else "nps" if not kinds else ""
    seconds = {
        name
        for place, (name, key) in enumerate(zip(names, keys, strict=True))
        if key == "created_at" and all(row[place].strip().isdigit() for row in head[1:] if any(row))
    }
    return Layout(
        format="delighted",
        names=names,
        uses={name: _use(name, key, kind) for name, key in zip(names, keys, strict=True)},
        seconds=frozenset(seconds),
    )


def _use(name: str, key: str, kind: str) -> Use:
    if key in ("id", "created_at"):
        return Use(part="role", name="key" if key == "id" else "date", why="imports.why.format")
    if key == "score":
        if kind in SCALES:
            low, high = SCALES[kind]
            return Use(
                part="score", name=kind, kind=kind, low=low, high=high, label=kind.upper(), why="imports.why.format"
            )
        return Use(part="question", label="score")
    if key in ("person", "permalink"):
        return Use(part="identifier", why="imports.why.identifier_name")
    if key == "comment":
        return Use(part="text", why="imports.why.free_text")
    if key in SYSTEM:
        return Use(part="ignored", why="imports.why.system")
    return by_name(name.split(".")[-1]) or Use(part="question", label=name)
