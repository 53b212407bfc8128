"""SurveyMonkey: CSV with two rows of header — the question, then the choice or the part asked about."""

from __future__ import annotations

from rox.linking.imports.layout import Head, Layout, Use, by_name, unique

FIRST = ("respondent id", "collector id", "start date", "end date")
ROLES = {"respondent id": "key", "end date": "date", "custom data 1": "customer"}
PERSONAL = ("ip address", "email address", "first name", "last name")
SYSTEM = ("collector id", "start date")


def layout(head: Head) -> Layout | None:
    """Describe the export, if it begins with the columns every SurveyMonkey export has; None otherwise."""
    if len(head) < 2 or not set(FIRST) <= {cell.strip().lower() for cell in head[0]}:
        return None
    names, titles, uses = [], [], {}
    question = ""
    for place, top in enumerate(head[0]):
        below = head[1][place].strip() if place < len(head[1]) else ""
        question = top.strip() or question
        plain = below in ("", "Response", "Open-Ended Response")
        names.append(question if plain else f"{question} — {below}")
        titles.append(question if plain else f"{question} {below}")
        if below == "Open-Ended Response":
            uses[place] = Use(part="text", why="imports.why.free_text")
    distinct = unique(names)
    return Layout(
        format="surveymonkey",
        names=distinct,
        header_rows=2,
        uses={name: uses.get(i) or _use(name, titles[i]) for i, name in enumerate(distinct)},
    )


def _use(name: str, title: str) -> Use:
    key = name.lower()
    if key in ROLES:
        return Use(part="role", name=ROLES[key], why="imports.why.format")
    if key in PERSONAL:
        return Use(part="identifier", why="imports.why.identifier_name")
    if key in SYSTEM:
        return Use(part="ignored", why="imports.why.system")
    return by_name(name) or Use(part="question", label=title)
