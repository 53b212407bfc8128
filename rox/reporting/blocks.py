"""What a page is made of: parts with blocks, in reading order, already in the reader's language."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal, TypeAlias

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


Block: TypeAlias = Text | Points | Heading | Table | Figure | Tiles | Badge


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
