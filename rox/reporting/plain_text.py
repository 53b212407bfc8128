"""Parts in, lines for a terminal out: the same words and figures as the page."""

from __future__ import annotations

import textwrap
import unicodedata
from collections.abc import Iterator, Sequence

from rox.reporting.blocks import Badge, Block, Cell, Heading, Part, Points, Table, Text, Tiles

WIDTH = 110
WIDE = "WF"


def plain_text(title: str, parts: Sequence[Part]) -> str:
    """Write parts as plain text: paragraphs, lists and aligned tables; folded tables and drawings are for the page.

    Args:
        title: The first line.
        parts: In reading order.
    """
    lines = [title, "=" * _width(title)]
    for part in parts:
        lines += ["", part.heading, "-" * _width(part.heading)]
        for block in part.blocks:
            lines += _lines(block)
    return "\n".join(lines)


def _lines(block: Block) -> list[str]:
    match block:
        case Text(text=text):
            return [_wrapped(text)]
        case Heading(text=text):
            return ["", text]
        case Points(points=points):
            return [_wrapped(f"- {point}") for point in points]
        case Tiles(tiles=tiles):
            return ["  ".join(line) for line in _aligned([(f"  {t.name}", t.value, t.detail) for t in tiles], {1})]
        case Badge(text=text, detail=detail):
            return [_wrapped(f"[{text}] {detail}".rstrip())]
        case Table(folded=False, rows=rows) if rows:
            return list(_table(block))
    return []


def _table(table: Table) -> Iterator[str]:
    yield ""
    yield table.caption
    rows = [tuple(cell.text if isinstance(cell, Cell) else cell for cell in row) for row in table.rows]
    numbers = {place for place, column in enumerate(table.columns) if column.align == "number"}
    for line in _aligned([tuple(column.title for column in table.columns), *rows], numbers):
        yield ("  " + "  ".join(line)).rstrip()
    if table.note:
        yield _wrapped(table.note)


def _aligned(rows: Sequence[tuple[str, ...]], right: set[int]) -> list[list[str]]:
    widths = [max(_width(row[place]) for row in rows) for place in range(len(rows[0]))]
    return [
        [
            " " * (wide - _width(cell)) + cell if place in right else cell + " " * (wide - _width(cell))
            for place, (cell, wide) in enumerate(zip(row, widths, strict=True))
        ]
        for row in rows
    ]


def _wrapped(text: str) -> str:
    """Break lines at spaces; Chinese has none, and terminals break it themselves."""
    return textwrap.fill(text, WIDTH, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)


def _width(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(letter) in WIDE else 1 for letter in text)
