"""Wenjuanxing (wjx.cn): one row of header, in Chinese; the questions are numbered in their titles."""

from __future__ import annotations

import re

from rox.linking.imports.layout import Head, Layout, Use, by_name, is_known, names_known, unique


def layout(head: Head) -> Layout | None:
    """Describe the export, if it has the columns every export of Wenjuanxing has; None otherwise."""
    own = names_known()["wenjuanxing"]
    if not head or not set(own["needed"]) <= {cell.strip() for cell in head[0]}:
        return None
    names = unique(head[0])
    return Layout(
        format="wenjuanxing",
        names=names,
        uses={name: _use(name) for name in names},
        missing=tuple(own["unanswered"]),
    )


def _use(name: str) -> Use:
    own = names_known()["wenjuanxing"]
    if name in own["roles"]:
        return Use(part="role", name=own["roles"][name], why="imports.why.format")
    if name in own["personal"]:
        return Use(part="identifier", why="imports.why.identifier_name")
    if name in own["system"]:
        return Use(part="ignored", why="imports.why.system")
    numbered = re.match(own["numbered"], name, flags=re.DOTALL)
    title = numbered[2].strip() if numbered else name
    asked = by_name(re.sub(own["politely"], "", title).rstrip("：:？?"), title)
    if asked is not None and not is_known("recommend", title):
        return asked
    return Use(part="question", label=title)
