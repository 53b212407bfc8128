"""The journey as a grid: where it stands against its targets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, to_rgba
from matplotlib.patches import Rectangle

from rox.core.words import Language
from rox.reporting.svg import FONT_SIZE, INK, MUTED, ROW_NAME, RULE, with_faces, wrapped

SMALL = FONT_SIZE - 2
OFF, UNDECIDED, ON = "#eab79f", "#f3f1ea", "#a9cccf"
PLAIN = "#f7f8f9"
LINE = 0.14
"""Inches that a line of text takes."""


def heat_map(
    cells: pd.DataFrame,
    ax: Axes,
    *,
    rows: Sequence[str],
    columns: Sequence[str],
    names: Mapping[str, str],
    language: Language = "en",
) -> Axes:
    """Draw a grid of cells, coloured by the probability that the target is reached; the words say the same.

    Args:
        cells: One row per cell: ``row``, ``column``, ``text`` (lines) and ``p`` (missing where nothing is aimed at).
        ax: Where to draw.
        rows: Rows from the top.
        columns: Columns from the left.
        names: Names of rows and columns for the reader.
        language: Of the labels.
    """
    heights = row_heights(cells, rows)
    tops = np.concatenate([[0.0], np.cumsum(heights)])
    colours = LinearSegmentedColormap.from_list("standing", [OFF, UNDECIDED, ON])
    at = {(str(row["row"]), str(row["column"])): (float(row["p"]), str(row["text"])) for _, row in cells.iterrows()}
    for line, row in enumerate(rows):
        for place, column in enumerate(columns):
            cell = at.get((row, column))
            aimed = cell is not None and np.isfinite(cell[0])
            face = to_rgba(colours(cell[0]) if cell is not None and aimed else PLAIN, 0.4 if cell is None else 1.0)
            corner = (place, tops[line])
            ax.add_patch(Rectangle(corner, 1, heights[line], facecolor=face, edgecolor=RULE, linewidth=0.7))
            if cell is not None:
                middle = tops[line] + heights[line] / 2
                ax.text(place + 0.5, middle, cell[1], ha="center", va="center", fontsize=SMALL, color=INK)
    for place, column in enumerate(columns):
        said = wrapped(names.get(column, column), 24)
        ax.text(place + 0.5, -0.5 * LINE, said, ha="center", va="bottom", fontsize=SMALL, color=MUTED)
    for row, middle in zip(rows, tops[:-1] + heights / 2, strict=True):
        _name_row(ax, wrapped(names.get(row, row), 26).split("\n"), float(middle))
    ax.set_xticks([])
    ax.set_yticks([])
    ax.xaxis.set_visible(False)
    ax.set_xlim(0, len(columns))
    ax.set_ylim(tops[-1], -2.4 * LINE)
    for side in ax.spines.values():
        side.set_visible(False)
    return with_faces(ax, language)


def _name_row(ax: Axes, lines: Sequence[str], middle: float) -> None:
    """Write a row's name at its left, each line a text of its own, so that the longest line sets the margin."""
    for place, line in enumerate(lines):
        at = middle + (place - (len(lines) - 1) / 2) * LINE
        ax.annotate(
            line, (0, at), xycoords=ROW_NAME, xytext=(-4, 0), textcoords="offset points", ha="right", va="center",
            fontsize=SMALL, color=INK, annotation_clip=False,
        )  # fmt: skip


def row_heights(cells: pd.DataFrame, rows: Sequence[str]) -> np.ndarray:
    """Return the inches that each row needs for its longest cell."""
    lines = cells.assign(lines=cells["text"].str.count("\n") + 1).groupby("row")["lines"].max()
    return np.array([LINE * (float(lines.get(row, 1)) + 1.3) for row in rows])


def height_of(cells: pd.DataFrame, rows: Sequence[str]) -> float:
    """Return the inches that the whole grid needs."""
    return float(row_heights(cells, rows).sum()) + 2.4 * LINE + 0.2
