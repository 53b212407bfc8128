"""Figures of a notebook under each other, in which what cannot be drawn is said in a sentence."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rox.core.check import Check
from rox.core.tree_report import TreeReport
from rox.core.words import Language, say
from rox.reporting.blocks import Figure as Block
from rox.reporting.svg import MUTED, style, with_faces, wrapped
from rox.reporting.tree_journey import journey
from rox.reporting.tree_numbers import Numbers

Draw = Callable[..., Axes]
"""A function ``(result, ax, *, language) -> ax``."""
WIDE = 9.0
SENTENCE = 0.45
"""Inches that a panel takes which holds a sentence only."""


@dataclass(frozen=True)
class Drawing:
    """A drawing that a notebook shows.

    Attributes:
        svg: An ``<svg>`` element.
    """

    svg: str = field(repr=False)

    def _repr_svg_(self) -> str:
        return self.svg


def unsaid(ax: Axes, sentence: str, language: Language) -> Axes:
    """Write a sentence where a figure would stand, and take the axes away."""
    ax.set_axis_off()
    text = wrapped(sentence, 110, most=4)
    ax.text(0.0, 0.5, text, transform=ax.transAxes, ha="left", va="center", color=MUTED)
    return with_faces(ax, language)


def panels(
    *parts: tuple[Draw, Any], heights: Sequence[float], language: Language = "en", wide: float = WIDE, **options: Any
) -> Figure:
    """Draw parts under each other; a part that is a check, because it cannot be measured, is said instead.

    A check that several parts share is said once.

    Args:
        *parts: How to draw, and what.
        heights: Inches of each.
        language: Of the labels.
        wide: Inches.
        **options: Passed on to every drawing.

    Raises:
        ValueError: Not one height per part.
    """
    with mpl.rc_context({**style(), "figure.facecolor": "white"}):
        figure = plt.figure(figsize=(wide, sum(heights)), layout="constrained")
        said: list[Any] = []
        kept = []
        for (draw, result), height in zip(parts, heights, strict=True):
            if not (isinstance(result, Check) and result in said):
                kept.append((draw, result, height))
            said += [result] if isinstance(result, Check) else []
        grid = figure.add_gridspec(len(kept), 1)
        taken = []
        for place, (draw, result, height) in enumerate(kept):
            ax = figure.add_subplot(grid[place])
            if isinstance(result, Check):
                unsaid(ax, result.sentence(language), language)
            else:
                draw(result, ax, language=language, **options)
            taken.append(height if ax.axison else SENTENCE)
        grid.set_height_ratios(taken)
        figure.set_size_inches(wide, sum(taken))
        # Notebooks show the figure that is returned; one that stays open would be shown twice.
        plt.close(figure)
    return figure


def journey_map(report: TreeReport | Check, *, language: Language = "en", currency: str = "") -> Drawing | Figure:
    """Draw the journey of a measured tree by stage and touchpoint, or say why there is none.

    Args:
        report: A measured tree, or the check that says why it is missing.
        language: Of the labels.
        currency: ISO code of its money.
    """
    if isinstance(report, Check):
        return panels((unsaid, report), heights=(1.0,), language=language)
    blocks = [each for each in journey(Numbers(report=report, language=language, currency=currency))]
    drawn = [each for each in blocks if isinstance(each, Block)]
    if drawn:
        return Drawing(drawn[0].svg)
    sentence = say("figure.experience.no_journey", language)
    return panels((lambda text, ax, language: unsaid(ax, text, language), sentence), heights=(1.0,), language=language)
