"""Figures of what is not known: which inputs the spread of NPV comes from."""

from __future__ import annotations

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes

from rox.core.words import Language, say
from rox.reporting.figures import SMALL, label_ticks, name_rows
from rox.reporting.svg import BAND, GAIN, INK, with_faces

THICK, THIN = 0.62, 0.30
LINES = 6
"""Most lines of a name; factors that hang together have long ones."""


def spread_by_factor(table: pd.DataFrame, ax: Axes, *, language: Language = "en") -> Axes:
    """Draw each factor's total share of the variance of NPV, and in it what it brings by itself.

    Args:
        table: Rows of :attr:`rox.core.knowing.Knowing.factors`, drawn from top to bottom.
        ax: Where to draw.
        language: Of the labels.
    """
    places = np.arange(len(table), dtype=float)
    total, first = (np.clip(table[name].to_numpy(dtype=float), 0, None) for name in ("total", "first"))
    ax.barh(places, total, height=THICK, color=BAND, label=say("figure.share.total", language))
    ax.barh(places, first, height=THIN, color=GAIN, label=say("figure.share.first", language))
    name_rows(ax, table[language], LINES)
    label_ticks(ax, "share", language, "x")
    ax.set_xlim(0, max(1.08 * float(np.max([*total, *first, 0.01])), 0.05))
    ax.set_xlabel(say("figure.share", language))
    ax.axvline(0, color=INK, linewidth=0.9)
    ax.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=2, frameon=False, fontsize=SMALL, borderaxespad=0)
    sns.despine(ax=ax, left=True)
    return with_faces(ax, language)
