"""Figures of forecasts that were held against what happened."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes

from rox.core.backtest import Learned
from rox.core.check import Grade
from rox.core.words import Language, say
from rox.reporting.svg import FONT_SIZE, GAIN, INK, LOSS, MUTED, with_faces, wrapped

HALF_90 = 1.6449
SMALL = FONT_SIZE - 1


def came_true(rows: pd.DataFrame, ax: Axes, *, language: Language = "en") -> Axes:
    """Draw each forecast's 90% range and the measured value, in percent of the forecast.

    Args:
        rows: What counts of a backtest's table, with forecasts other than zero.
        ax: Where to draw.
        language: Of the labels.
    """
    unit = 100 / rows["forecast_mean"].abs().to_numpy(dtype=float)
    low, high, mean, actual = (
        rows[name].to_numpy(dtype=float) * unit for name in ("low90", "high90", "forecast_mean", "actual")
    )
    places = np.arange(len(rows))
    ax.hlines(places, low, high, color="#a9cccf", linewidth=7)
    ax.plot(mean, places, "|", color=MUTED, markersize=12, markeredgewidth=1.6)
    held = (actual >= low) & (actual <= high)
    for part, colour in ((held, GAIN), (~held, LOSS)):
        ax.plot(actual[part], places[part], "o", color=colour, markersize=6)
    several = rows["forecast"].duplicated(keep=False)
    titles = rows["forecast"].where(~several, rows["forecast"] + " · " + rows["effect"])
    names = [wrapped(f"{title} · {grade}", 26) for title, grade in zip(titles, rows["grade"], strict=True)]
    ax.set_yticks(places, names)
    ax.set_ylim(len(rows) - 0.4, -0.6)
    ax.axvline(0, color=INK, linewidth=0.9)
    ax.set_xlabel(say("backtest.figure.axis", language))
    ax.tick_params(axis="y", length=0)
    sns.despine(ax=ax, left=True)
    return with_faces(ax, language)


def by_grade(learned: Mapping[Grade, Learned], ax: Axes, *, language: Language = "en") -> Axes:
    """Draw the evidence discount of each grade, before and as learned, with 90% ranges."""
    for place, each in enumerate(learned.values()):
        for layer, shift, colour in ((each.shipped, -0.16, MUTED), (each.layer, 0.16, GAIN)):
            ends = layer.mean - HALF_90 * layer.sd, layer.mean + HALF_90 * layer.sd
            ax.plot(ends, [place + shift] * 2, color=colour, linewidth=2.2, solid_capstyle="butt")
            ax.plot([layer.mean], [place + shift], "o", color=colour, markersize=5.5)
    for colour, word in ((MUTED, "before"), (GAIN, "learned")):
        ax.plot([], [], "o-", color=colour, markersize=5.5, label=say(f"backtest.figure.{word}", language))
    ax.set_yticks(range(len(learned)), [str(grade) for grade in learned])
    ax.set_ylim(len(learned) - 0.4, -0.6)
    ax.axvline(1, color=INK, linewidth=0.9)
    ax.axvline(0, color=MUTED, linewidth=0.9, linestyle=(0, (3, 2)))
    ax.set_xlabel(say("backtest.figure.factor", language))
    ax.tick_params(axis="y", length=0)
    ax.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=2, frameon=False, fontsize=SMALL, borderaxespad=0)
    sns.despine(ax=ax, left=True)
    return with_faces(ax, language)
