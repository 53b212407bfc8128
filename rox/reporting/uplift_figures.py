"""Figures of what an improvement did: priors and posteriors, trends that drift, and the same data read otherwise."""

from __future__ import annotations

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes

from rox.core.words import Language, say
from rox.reporting.figures import SMALL, label_ticks, name_rows
from rox.reporting.svg import GAIN, INK, LOSS, MUTED, RULE, TOTAL, with_faces

NORMAL_90 = 1.6449


def priors(
    table: pd.DataFrame, ax: Axes, *, language: Language = "en", unit: str = "share", currency: str = ""
) -> Axes:
    """Draw what was believed before the data and after, for each prior, with 90% ranges.

    Args:
        table: Table ``priors`` of an effect: by prior ``prior_mean``, ``prior_sd``, ``mean``, ``low``, ``high``.
        ax: Where to draw.
        language: Of the labels.
        unit: How numbers are written, as :func:`rox.reporting.estimates.unit_of` says.
        currency: ISO code, for money.
    """
    places = np.arange(len(table), dtype=float)
    before, reach = table["prior_mean"], NORMAL_90 * table["prior_sd"]
    ax.hlines(places - 0.14, before - reach, before + reach, color=MUTED, linewidth=2, alpha=0.7)
    ax.plot(before, places - 0.14, "o", color=MUTED, markersize=5, label=say("figure.prior", language))
    ax.hlines(places + 0.14, table["low"], table["high"], color=GAIN, linewidth=2.4)
    ax.plot(table["mean"], places + 0.14, "o", color=GAIN, markersize=5.5, label=say("figure.posterior", language))
    name_rows(ax, [say(f"figure.prior.{name}", language) for name in table.index])
    label_ticks(ax, unit, language, "x", currency=currency, signed=True)
    ax.axvline(0, color=INK, linewidth=0.9)
    ax.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=2, frameon=False, fontsize=SMALL, borderaxespad=0)
    sns.despine(ax=ax, left=True)
    return with_faces(ax, language)


def honest(
    table: pd.DataFrame, ax: Axes, *, language: Language = "en", unit: str = "share", currency: str = ""
) -> Axes:
    """Draw the 90% set of an effect against how much more than before the start places may have drifted apart.

    Args:
        table: Table ``honest`` of an effect: by multiple of the worst drift before the start ``low`` and ``high``.
        ax: Where to draw.
        language: Of the labels.
        unit: How numbers are written.
        currency: ISO code, for money.
    """
    bounds = table.index.to_numpy(dtype=float)
    low, high = table["low"].to_numpy(dtype=float), table["high"].to_numpy(dtype=float)
    for bound, bottom, top in zip(bounds, low, high, strict=True):
        colour = TOTAL if bound == 0 else GAIN if bottom * top > 0 else LOSS
        ax.vlines(bound, bottom, top, color=colour, linewidth=5, alpha=0.8)
    ax.axhline(0, color=INK, linewidth=0.9)
    ax.set_xticks(bounds, [f"{bound:g}" for bound in bounds])
    ax.set_xlim(bounds.min() - 0.25, bounds.max() + 0.25)
    ax.set_xlabel(say("figure.drift", language))
    label_ticks(ax, unit, language, "y", currency=currency, signed=True)
    sns.despine(ax=ax)
    return with_faces(ax, language)


def ways(table: pd.DataFrame, ax: Axes, *, language: Language = "en", unit: str = "share", currency: str = "") -> Axes:
    """Draw what the same data say when they are read in other ways, with 90% ranges; the first row is the one used.

    Args:
        table: Table ``rivals`` of an effect: by design ``estimate``, ``low``, ``high``.
        ax: Where to draw.
        language: Of the labels.
        unit: How numbers are written.
        currency: ISO code, for money.
    """
    shown = table[table["estimate"].notna()]
    places = np.arange(len(shown), dtype=float)
    colours = [TOTAL, *[MUTED] * (len(shown) - 1)]
    ax.hlines(places, shown["low"], shown["high"], color=colours, linewidth=2.4)
    ax.scatter(shown["estimate"], places, color=colours, s=34, zorder=3)
    ax.axvline(float(shown["estimate"].iloc[0]), color=RULE, linewidth=0.9, zorder=0)
    name_rows(ax, [say(f"figure.way.{name}", language) for name in shown.index])
    label_ticks(ax, unit, language, "x", currency=currency, signed=True)
    ax.axvline(0, color=INK, linewidth=0.9)
    sns.despine(ax=ax, left=True)
    return with_faces(ax, language)
