"""Figures of a movement: what a change is made of, a series without its season, and where a change came from."""

from __future__ import annotations

from itertools import pairwise
from typing import Literal, Protocol

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from numpy.typing import NDArray

from rox.core.words import Language, say
from rox.reporting.experience_figures import times_of, unit_of
from rox.reporting.figures import SMALL, label_ticks, name_rows
from rox.reporting.numbers import Form, form, probability, step_of
from rox.reporting.panels import unsaid
from rox.reporting.svg import BAND, GAIN, INK, LOSS, MUTED, TOTAL, with_faces, wrapped

NORMAL_90 = 1.6449
MARKS = (BAND, "#f3dfd3", "#e6e2f0")
"""Colours of what the calendar brings: the lunar new year, then promotions."""


class Movement(Protocol):
    """What :func:`bridge` needs of a change that was split."""

    @property
    def first(self) -> str:
        """The earlier period."""

    @property
    def second(self) -> str:
        """The later one."""

    @property
    def unit(self) -> str:
        """Of all values."""

    @property
    def bridge(self) -> pd.DataFrame:
        """Both ends, the rate, and the mix of every dimension."""

    @property
    def panel(self) -> pd.DataFrame:
        """Who stayed, came, left and answers."""


class Seasons(Protocol):
    """What :func:`season` needs of an adjusted series."""

    @property
    def observed(self) -> pd.DataFrame:
        """As it was."""

    @property
    def adjusted(self) -> pd.DataFrame:
        """Without its season."""


class Drilled(Protocol):
    """What :func:`contributions` needs of a change that was searched."""

    @property
    def metric(self) -> str:
        """What was read off the answers."""

    @property
    def slices(self) -> pd.DataFrame:
        """What was found, measured in the other half."""

    @property
    def examined(self) -> pd.DataFrame:
        """What was looked at."""

    @property
    def change(self) -> float:
        """The whole change."""

    @property
    def change_se(self) -> float:
        """Its standard error."""

    @property
    def explained(self) -> float:
        """Share of it that the slices explain."""

    @property
    def verdict(self) -> str:
        """``found``, ``diffuse``, ``still`` or ``open``."""


def bridge(found: Movement, ax: Axes, *, language: Language = "en") -> Axes:
    """Draw how one period's value becomes the next one's: what changed within groups, and who the customers are.

    Every part has its interval. A part that is not told, because too few customers stand behind it, keeps its name and
    no bar.

    Args:
        found: The change.
        ax: Where to draw.
        language: Of the labels.
    """
    return _bridge(found, ax, "mix", language)


def bridge_of_customers(found: Movement, ax: Axes, *, language: Language = "en") -> Axes:
    """Draw the same change by customers: who stayed, came, left, and who of them answers; as :func:`bridge`."""
    return _bridge(found, ax, "panel", language)


def _bridge(found: Movement, ax: Axes, split: Literal["mix", "panel"], language: Language) -> Axes:
    rows = steps_of(found, split, language)
    if len(rows) < 3:
        return unsaid(ax, say("figure.movement.no_panel", language), language)
    if rows["value"].iloc[[0, -1]].isna().any():
        return unsaid(ax, say("figure.experience.hidden", language), language)
    start, end = rows["start"].to_numpy(dtype=float), rows["end"].to_numpy(dtype=float)
    low, high = rows["low"].to_numpy(dtype=float), rows["high"].to_numpy(dtype=float)
    is_end = rows["is_end"].to_numpy(dtype=bool)
    unit = unit_of(found.unit)
    from_zero = found.unit == "nps_point"
    colours = np.where(is_end, TOTAL, np.where(end >= start, GAIN, LOSS))
    places = np.arange(len(rows), dtype=float)
    drawn = np.isfinite(end) & (~is_end | from_zero)
    ax.barh(places[drawn], (end - start)[drawn], left=start[drawn], color=list(colours[drawn]), height=0.6)
    ends = is_end & ~drawn
    ax.plot(end[ends], places[ends], "D", color=TOTAL, markersize=7)
    known = np.flatnonzero(np.isfinite(end))
    for one, other in pairwise(known):
        level = end[one]
        ax.plot([level, level], [places[one] + 0.3, places[other] - 0.3], color=MUTED, linewidth=0.8)
    ranged = np.isfinite(low)
    ax.hlines(places[ranged], low[ranged], high[ranged], color=INK, linewidth=1.3)
    for side in (low, high):
        ax.plot(side[ranged], places[ranged], "|", color=INK, markersize=7, markeredgewidth=1.3)
    levels = np.array([*start[drawn], *end[np.isfinite(end)], *low[ranged], *high[ranged]])
    span = float(np.ptp(levels)) or 1.0
    plain, signed = (_form(rows, unit, language, signed=signed) for signed in (False, True))
    for place, (_, row) in enumerate(rows.iterrows()):
        ax.text(
            levels.max() + 0.03 * span, place, _said(row, plain if row["is_end"] else signed, language), va="center",
            fontsize=SMALL, color=TOTAL if row["is_end"] else INK,
        )  # fmt: skip
    ax.set_xlim(levels.min() - 0.04 * span, levels.max() + 0.5 * span)
    name_rows(ax, rows["name"])
    if from_zero:
        ax.axvline(0, color=INK, linewidth=0.9)
    ax.xaxis.set_visible(False)
    ax.set_title(say(f"figure.movement.{split}", language), loc="left", fontsize=SMALL, color=MUTED)
    sns.despine(ax=ax, left=True, bottom=True)
    return with_faces(ax, language)


def steps_of(found: Movement, split: Literal["mix", "panel"], language: Language = "en") -> pd.DataFrame:
    """Lay a change out as steps: both ends and, between them, the parts; those that are not told come last.

    Returns:
        ``name``, ``is_end``, ``value``, ``value_low``, ``value_high`` (of the part), ``start``, ``end``, ``low``,
        ``high`` (where it stands in the bridge).
    """
    whole = found.bridge.set_index("term")
    if split == "mix":
        between = found.bridge[found.bridge["term"].isin(["rate", "mix"])]
        between = between.sort_values("term", key=lambda term: term != "rate", kind="stable")
        named = zip(between["term"], between["dimension"], strict=True)
        names = [say(f"figure.movement.{term}.of", language, dimension=dimension) for term, dimension in named]
    else:
        between = found.panel
        names = [say(f"figure.movement.{term}", language) for term in between["term"]]
    parts = between.assign(name=names, is_end=False)
    parts = parts.sort_values("value", key=lambda value: value.isna(), kind="stable")
    first, second = (
        whole.loc[[term]].assign(name=label, is_end=True)
        for term, label in (("first", found.first), ("second", found.second))
    )
    rows = pd.concat([first, parts, second], ignore_index=True)[["name", "is_end", "value", "low", "high"]]
    value = rows["value"].to_numpy(dtype=float)
    level = np.cumsum(np.nan_to_num(value[:-1]))
    start = np.r_[0.0, level[:-1], 0.0]
    start[np.isnan(value)] = np.nan
    end = np.where(rows["is_end"], value, start + value)
    told = rows.rename(columns={"low": "value_low", "high": "value_high"})
    # A part that keeps its interval without a point is said beside its name: it has no place in the bridge.
    return told.assign(start=start, end=end, low=start + rows["low"], high=start + rows["high"])


def season(found: Seasons, ax: Axes, *, marks: pd.DataFrame | None = None, language: Language = "en") -> Axes:
    """Draw a monthly series as it was and without its season, with its intervals and what the calendar brought.

    Args:
        found: One series.
        ax: Where to draw.
        marks: One row per ``month`` and ``mark``, with the mark's names ``en`` and ``zh``.
        language: Of the labels.

    Raises:
        ValueError: More than one series.
    """
    if found.observed["month"].duplicated().any():
        raise ValueError("one series can be drawn; pick a group")
    at = times_of(found.adjusted["month"])
    low, high = (found.adjusted[name].to_numpy(dtype=float) for name in ("low", "high"))
    if marks is not None and len(marks):
        _mark_calendar(ax, marks, language)
    ax.fill_between(at, low, high, color=GAIN, alpha=0.18, linewidth=0)
    raw, then = say("figure.movement.observed", language), times_of(found.observed["month"])
    ax.plot(then, found.observed["value"], color=MUTED, linewidth=1, marker="o", markersize=2.8, label=raw)
    ax.plot(at, found.adjusted["value"], color=GAIN, linewidth=2, label=say("figure.movement.adjusted", language))
    every = max(1, int(np.ceil(len(at) / 9)))
    ax.set_xticks(at[::every], list(found.adjusted["month"].iloc[::every]))
    ax.set_xlim(at.min() - 0.6, at.max() + 0.6)
    label_ticks(ax, unit_of(str(found.adjusted["unit"].iloc[0])), language, "y")
    ax.set_ylabel(wrapped(say(f"metrics.{found.adjusted['metric'].iloc[0]}", language), 26))
    ax.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=4, frameon=False, fontsize=SMALL, borderaxespad=0)
    sns.despine(ax=ax)
    return with_faces(ax, language)


def contributions(found: Drilled, ax: Axes, *, language: Language = "en") -> Axes:
    """Draw what each slice added to a change, with its interval, below the whole; faint dots are all those looked at.

    Slices were chosen in one half of the customers and are measured in the other; the dots are of the choosing half.

    Args:
        found: The change.
        ax: Where to draw.
        language: Of the labels.
    """
    told = found.slices[found.slices["low"].notna()]
    middle = np.r_[found.change, told["value"].to_numpy(dtype=float)]
    reach = NORMAL_90 * found.change_se
    low = np.r_[found.change - reach, told["low"].to_numpy(dtype=float)]
    high = np.r_[found.change + reach, told["high"].to_numpy(dtype=float)]
    places = np.arange(len(middle), dtype=float)
    known = np.isfinite(middle[1:])
    colours = np.where(middle[1:] >= 0, GAIN, LOSS)
    ax.barh(places[1:][known], middle[1:][known], color=list(colours[known]), height=0.56)
    ax.plot([middle[0]], [0], "D", color=TOTAL, markersize=7)
    ax.hlines(places, low, high, color=[TOTAL, *[INK] * len(told)], linewidth=[2.4, *[1.3] * len(told)])
    seen = found.examined["contribution"].to_numpy(dtype=float) if len(found.examined) else np.empty(0)
    ax.plot(seen, np.full(seen.size, len(middle)), "o", color=MUTED, alpha=0.35, markersize=5, markeredgewidth=0)
    names = [say("figure.movement.whole", language), *(str(name).replace(" & ", " · ") for name in told["slice"])]
    name_rows(ax, [*names, say("figure.movement.examined", language, count=seen.size)], most=3)
    ends = np.array([0.0, *low, *high, *seen])
    span = float(np.ptp(ends)) or 1.0
    unit = unit_of(str(told["unit"].iloc[0]) if len(told) else "" if found.metric in ("nps", "mean") else "ratio")
    for place, (value, left, right) in enumerate(zip(middle, low, high, strict=True)):
        shape = form(unit, language, like=(left, right), step=step_of(left, right), signed=True)
        text = say("figure.movement.told", language, value=shape.number(value), range=shape.span(left, right))
        ax.text(ends.max() + 0.03 * span, place, text, va="center", fontsize=SMALL, color=INK)
    ax.set_xlim(ends.min() - 0.04 * span, ends.max() + 0.45 * span)
    label_ticks(ax, unit, language, "x", signed=True)
    ax.set_xticks([place for place in ax.get_xticks() if ends.min() - 1e-9 <= place <= ends.max() + 1e-9])
    share = probability(found.explained, language) if 0 <= found.explained <= 1 else ""
    key = f"figure.movement.{found.verdict}" + ("" if share or found.verdict != "found" else ".some")
    ax.set_title(wrapped(say(key, language, share=share), 110), loc="left", fontsize=SMALL + 1, color=INK)
    ax.axvline(0, color=INK, linewidth=0.9)
    sns.despine(ax=ax, left=True)
    return with_faces(ax, language)


def _mark_calendar(ax: Axes, marks: pd.DataFrame, language: Language) -> None:
    """Shade the months of each mark, named once."""
    for number, (_, months) in enumerate(marks.groupby("mark", sort=False)):
        # A label that begins with an underscore would be left out of the legend.
        label: str | None = str(months[language].iloc[0]).lstrip("_")
        for at in times_of(months["month"]):
            colour = MARKS[number % len(MARKS)]
            ax.axvspan(at - 0.5, at + 0.5, color=colour, linewidth=0, zorder=0, label=label)
            label = None


def _form(rows: pd.DataFrame, unit: str, language: Language, *, signed: bool) -> Form:
    """Choose how all parts of a bridge are written, so that they add up."""
    half: NDArray[np.float64] = (rows["value_high"] - rows["value_low"]).to_numpy(dtype=float)
    step = step_of(0.0, float(np.nanmax(half))) if np.isfinite(half).any() else 0.0
    return form(unit, language, like=rows["end"].dropna(), step=step, signed=signed)


def _said(row: pd.Series, shape: Form, language: Language) -> str:
    if not np.isfinite(row["value_low"]):
        return say("figure.experience.hidden", language)
    if row["value"] == row["value_low"] == row["value_high"] == 0:
        return say("figure.movement.none", language)
    span = shape.span(row["value_low"], row["value_high"])
    if not np.isfinite(row["value"]):
        return say("figure.movement.thin", language, range=span)
    return say("figure.movement.told", language, value=shape.number(row["value"]), range=span)
