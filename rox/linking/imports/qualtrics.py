"""Qualtrics: CSV with three rows of header — names, texts of the questions, and ``{"ImportId": …}``."""

from __future__ import annotations

import json

from rox.linking.imports.layout import Head, Layout, LeftOut, Use, by_name, unique

ROLES = {"EndDate": "date", "ResponseId": "key", "ExternalReference": "customer", "ExternalDataReference": "customer"}
PERSONAL = {
    "IPAddress", "RecipientLastName", "RecipientFirstName", "RecipientEmail", "LocationLatitude", "LocationLongitude",
}  # fmt: skip
SYSTEM = {
    "StartDate", "RecordedDate", "Status", "Progress", "Duration (in seconds)", "Finished", "DistributionChannel",
    "UserLanguage",
}  # fmt: skip
LEFT_OUT = (
    LeftOut(
        column="Status",
        values=("survey preview", "survey test", "offline survey preview", "1", "2", "17"),
        why="imports.out.preview",
    ),
    LeftOut(column="DistributionChannel", values=("preview", "test"), why="imports.out.preview"),
    LeftOut(column="Status", values=("spam", "possible spam", "8", "12", "40"), why="imports.out.spam"),
    LeftOut(column="Finished", values=("0", "false"), why="imports.out.unfinished"),
)
UNANSWERED = ("-99",)


def layout(head: Head) -> Layout | None:
    """Describe the export, if the third row is Qualtrics' own; None otherwise."""
    if len(head) < 3 or not any(cell.lstrip().startswith('{"ImportId"') for cell in head[2]):
        return None
    names, titles = unique(head[0]), head[1]
    zone = next((found for cell in head[2] if (found := _zone(cell))), None)
    uses: dict[str, Use] = {}
    for name, title in zip(names, titles, strict=False):
        uses[name] = _use(name, title, names)
    present = set(names)
    return Layout(
        format="qualtrics",
        names=names,
        header_rows=3,
        uses=uses,
        left_out=tuple(each for each in LEFT_OUT if each.column in present),
        missing=UNANSWERED,
        timezone=zone,
    )


def _use(name: str, title: str, names: tuple[str, ...]) -> Use:
    if name in ROLES:
        return Use(part="role", name=ROLES[name], why="imports.why.format")
    if name in PERSONAL:
        return Use(part="identifier", why="imports.why.identifier_name")
    if name in {each.column for each in LEFT_OUT}:
        return Use(part="rows", why="imports.why.rows")
    if name in SYSTEM or name.startswith("Q_"):
        return Use(part="ignored", why="imports.why.system")
    if name.endswith("_NPS_GROUP"):
        return Use(part="ignored", why="imports.why.derived")
    if f"{name}_NPS_GROUP" in names:
        return Use(part="score", name="nps", low=0, high=10, kind="nps", label=title, why="imports.why.nps_group")
    return by_name(name, title) or Use(part="question", label=title)


def _zone(cell: str) -> str | None:
    try:
        found = json.loads(cell)
    except json.JSONDecodeError:
        return None
    zone = found.get("timeZone") if isinstance(found, dict) else None
    return zone if isinstance(zone, str) else None
