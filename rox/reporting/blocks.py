"""What a page is made of: parts with blocks, in reading order, already in the reader's language."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, TypeAlias

Tone = Literal["", "good", "warn", "bad", "quiet"]


@dataclass(frozen=True, kw_only=True)
class Text:
    """A paragraph.

    Attributes:
        text: The words.
        role: ``lead`` for the sentence a reader must not miss, ``note`` for what stands under a table.
    """

    kind: ClassVar[str] = "text"
    text: str
    role: Literal["lead", "body", "note"] = "body"


@dataclass(frozen=True, kw_only=True)
class Points:
    """A list of sentences."""

    kind: ClassVar[str] = "points"
    points: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Heading:
    """A heading inside a part."""

    kind: ClassVar[str] = "heading"
    text: str


@dataclass(frozen=True)
class Cell:
    """A cell with a tone; the tone only repeats what the words say."""

    text: str
    tone: Tone = ""


@dataclass(frozen=True)
class Column:
    """A column: numbers are set to the right, short words kept on one line, code in a monospaced face."""

    title: str
    align: Literal["text", "short", "number", "code"] = "text"


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table whose first column names the row.

    Attributes:
        caption: What it shows.
        columns: Its columns.
        rows: Its cells, one tuple per row.
        strong: Places of the rows that are totals or what the reader looks for.
        note: A remark below it.
        folded: Whether it opens on demand; printed open.
        roomy: Whether its rows leave room to write by hand.
    """

    kind: ClassVar[str] = "table"
    caption: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[str | Cell, ...], ...]
    strong: frozenset[int] = frozenset()
    note: str = ""
    folded: bool = False
    roomy: bool = False

    def __post_init__(self) -> None:
        if faulty := [place for place, row in enumerate(self.rows) if len(row) != len(self.columns)]:
            raise ValueError(f"table {self.caption!r}: rows {faulty} do not have {len(self.columns)} cells")


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A drawing with its numbers beside it.

    Attributes:
        svg: Inline SVG with a title and a description of its own.
        caption: What to see in it.
        table: The numbers drawn.
    """

    kind: ClassVar[str] = "figure"
    svg: str
    caption: str
    table: Table


@dataclass(frozen=True, kw_only=True)
class Tile:
    """A number that stands alone, with its name and one line that qualifies it."""

    name: str
    value: str
    detail: str
    tone: Tone = ""


@dataclass(frozen=True, kw_only=True)
class Tiles:
    """Numbers side by side."""

    kind: ClassVar[str] = "tiles"
    tiles: tuple[Tile, ...]


@dataclass(frozen=True, kw_only=True)
class Badge:
    """The status in words, with a sign beside them."""

    kind: ClassVar[str] = "badge"
    sign: str
    text: str
    tone: Tone
    detail: str = ""


@dataclass(frozen=True, kw_only=True)
class Knob:
    """An input that a reader may move.

    Attributes:
        name: What it is.
        unit: Words for its unit, such as ``%``; empty for none.
        value: Its value in the report, as the page shows it.
        number: The same as a browser's field for numbers holds it.
        start: Lowest value, as such a field holds it.
        end: Highest value.
        step: Smallest move.
    """

    name: str
    unit: str
    value: str
    number: str
    start: str
    end: str
    step: str


@dataclass(frozen=True, kw_only=True)
class Panel:
    """A calculation that a reader may try other inputs on; without scripts it shows its table.

    Attributes:
        key: Its id, unique on the page.
        caption: What it computes.
        how: How it computes, in a few sentences.
        knobs: What can be moved.
        results: Name of each result and its value in the report, in the order of the script.
        still: What stands there without scripts.
        script: The calculation.
        numbers: What it computes with, the same in every language.
        words: How results are written.
    """

    kind: ClassVar[str] = "panel"
    key: str
    caption: str
    how: tuple[str, ...]
    knobs: tuple[Knob, ...]
    results: tuple[tuple[str, str], ...]
    still: Table
    script: str
    numbers: Mapping[str, Any]
    words: Mapping[str, Any]


Block: TypeAlias = Text | Points | Heading | Table | Figure | Tiles | Badge | Panel


@dataclass(frozen=True, kw_only=True)
class Part:
    """One numbered part of a report.

    Attributes:
        key: Its anchor.
        heading: Its heading.
        blocks: Its content in order.
    """

    key: str
    heading: str
    blocks: tuple[Block, ...] = field(default_factory=tuple)
