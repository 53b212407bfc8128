"""The bridge between two runs as a waterfall."""

from __future__ import annotations

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes

from rox.core.comparison import HEADLINES, MAIN, Comparison
from rox.core.words import Language
from rox.reporting.numbers import form
from rox.reporting.svg import FONT_SIZE, GAIN, INK, LOSS, MUTED, TOTAL, with_faces, wrapped

ENDS = ("start", "end")


def moving_rows(comparison: Comparison, headline: str = MAIN) -> pd.DataFrame:
    """Return the rows of a bridge that a figure shows: both ends, and what is not zero between them."""
    table = comparison.bridge(headline)
    return table[table["kind"].isin(ENDS) | (table["units"] != 0)].reset_index(drop=True)


def bridge_of_runs(comparison: Comparison, ax: Axes, *, headline: str = MAIN, language: Language = "en") -> Axes:
    """Draw the bridge from the first run's figure to the second's, one bar per step that moves it."""
    rows = moving_rows(comparison, headline)
    is_end = rows["kind"].isin(ENDS).to_numpy()
    ends = rows["level"].to_numpy(dtype=float)
    starts = np.where(is_end, 0.0, ends - rows["value"].to_numpy(dtype=float))
    colours = np.where(is_end, TOTAL, np.where(ends >= starts, GAIN, LOSS))
    places = np.arange(len(rows))
    ax.barh(places, ends - starts, left=starts, color=list(colours), height=0.62)
    for place in places[:-1]:
        ax.plot([ends[place]] * 2, [place + 0.31, place + 0.69], color=MUTED, linewidth=0.8)
    levels = np.array([0.0, *starts, *ends])
    span = float(np.ptp(levels)) or 1.0
    ax.set_xlim(levels.min() - 0.03 * span, levels.max() + 0.19 * span)
    unit, code = HEADLINES[headline], comparison.currency
    plain = form(unit, language, like=ends, currency=code)
    shape = form(unit, language, like=(ends - starts)[~is_end], currency=code, signed=True)
    for place in places:
        text = plain.number(ends[place]) if is_end[place] else shape.number(ends[place] - starts[place])
        ax.annotate(
            text,
            (max(starts[place], ends[place]), place),
            xytext=(6, 0),
            textcoords="offset points",
            va="center",
            fontsize=FONT_SIZE - 1,
            color=INK,
            fontweight="bold" if is_end[place] else "normal",
        )
    ax.set_yticks(places, [wrapped(str(name), 44) for name in rows[language]])
    ax.set_ylim(len(rows) - 0.4, -0.6)
    ax.tick_params(axis="y", length=0, colors=INK)
    ax.axvline(0, color=INK, linewidth=0.9)
    ax.xaxis.set_visible(False)
    sns.despine(ax=ax, left=True, bottom=True)
    return with_faces(ax, language)
