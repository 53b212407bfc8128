"""Figures of drivers: what goes with a score, how sure the ranks are, and where improvement would count."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes

from rox.core.words import Language, say
from rox.reporting.figures import SMALL, label_ticks, name_rows
from rox.reporting.numbers import probability
from rox.reporting.svg import BAND, GAIN, INK, LOSS, MUTED, with_faces

QUADRANTS: Mapping[str, str] = {"improve": LOSS, "keep": GAIN, "watch": MUTED, "enough": MUTED, "open": INK}


def importance(
    table: pd.DataFrame, ax: Axes, *, labels: Mapping[str, str] | None = None, language: Language = "en"
) -> Axes:
    """Draw each driver's share of what explains the score, with its range and its probability of being the first.

    Args:
        table: ``drivers(…).table``.
        ax: Where to draw.
        labels: What drivers are called; their names by default.
        language: Of the labels.
    """
    places = np.arange(len(table), dtype=float)
    share, low, high = (table[name].to_numpy(dtype=float) for name in ("share", "low", "high"))
    ax.barh(places, share, height=0.6, color=BAND)
    ax.hlines(places, low, high, color=GAIN, linewidth=2.4)
    ax.plot(share, places, "o", color=GAIN, markersize=5)
    end = 1.30 * float(max(high.max(), 0.01))
    for place, (right, first) in enumerate(zip(high, table["p_first"], strict=True)):
        text = say("figure.drivers.first", language, p=probability(float(first), language))
        ax.annotate(text, (right, place), (6, 0), textcoords="offset points", va="center", fontsize=SMALL, color=MUTED)
    name_rows(ax, pd.Series(_called(table["driver"], labels)))
    ax.set_xlim(0, end)
    label_ticks(ax, "share", language, "x")
    ax.set_xlabel(say("figure.drivers.share", language))
    ax.axvline(0, color=INK, linewidth=0.9)
    sns.despine(ax=ax, left=True)
    return with_faces(ax, language)


def quadrant(
    table: pd.DataFrame, ax: Axes, *, labels: Mapping[str, str] | None = None, language: Language = "en"
) -> Axes:
    """Draw how good each rated part is against how much it matters, with 90% ranges of both.

    Only parts whose quadrant is sure (probability 0.8) wear its colour; the others are drawn in ink.

    Args:
        table: ``drivers(…).quadrant``.
        ax: Where to draw.
        labels: What drivers are called; their names by default.
        language: Of the labels.
    """
    x, y = table["performance"].to_numpy(dtype=float), table["importance"].to_numpy(dtype=float)
    wide, tall = (1.645 * table[f"{name}_se"].to_numpy(dtype=float) for name in ("performance", "importance"))
    order = np.argsort(np.argsort(-y, kind="stable"), kind="stable")
    for place, name in enumerate(_called(table["driver"], labels)):
        colour = QUADRANTS[table["quadrant"].iloc[place]]
        ax.errorbar(x[place], y[place], tall[place], wide[place], fmt="o", color=colour, markersize=6, linewidth=1.2)
        side = 1 if order[place] % 2 == 0 else -1
        ax.annotate(
            name, (x[place], y[place]), (8 * side, 7), textcoords="offset points", fontsize=SMALL, color=INK,
            ha="left" if side > 0 else "right",
        )  # fmt: skip
    ax.axhline(y.mean(), color=MUTED, linewidth=0.9, linestyle=(0, (3, 2)))
    ax.axvline(x.mean(), color=MUTED, linewidth=0.9, linestyle=(0, (3, 2)))
    reach = float(np.ptp([*(x - wide), *(x + wide)])) or 1.0
    ax.set_xlim(min(x - wide) - 0.25 * reach, max(x + wide) + 0.35 * reach)
    tallest = float(np.ptp([*(y - tall), *(y + tall)])) or 1.0
    ax.set_ylim(min(y - tall) - 0.10 * tallest, max(y + tall) + 0.18 * tallest)
    ends = {"improve": (0.01, 0.98, "left", "top"), "keep": (0.99, 0.98, "right", "top")}
    ends |= {"watch": (0.01, 0.02, "left", "bottom"), "enough": (0.99, 0.02, "right", "bottom")}
    for key, (across, up, ha, va) in ends.items():
        text = say(f"figure.drivers.{key}", language)
        ax.text(across, up, text, transform=ax.transAxes, ha=ha, va=va, fontsize=SMALL, color=MUTED)
    label_ticks(ax, "share", language, "y")
    ax.set_xlabel(say("figure.drivers.performance", language))
    ax.set_ylabel(say("figure.drivers.share", language))
    sns.despine(ax=ax)
    return with_faces(ax, language)


def _called(names: pd.Series[str], labels: Mapping[str, str] | None) -> list[str]:
    return [str((labels or {}).get(name, name)) for name in names]
