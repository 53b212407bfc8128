"""Figures of who stays: retention with numbers at risk, causes of leaving, forecasts; functions from tables to axes."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator
from numpy.typing import NDArray

from rox.core.linked import month_label
from rox.core.words import Language, catalogue, say
from rox.reporting.estimates import group_name
from rox.reporting.numbers import form
from rox.reporting.svg import FONT_SIZE, GAIN, INK, LOSS, MUTED, ROW_NAME, RULE, TOTAL, with_faces, wrapped

Floats = NDArray[np.float64]
Clock = Literal["tenure", "calendar", "answer"]

SMALL = FONT_SIZE - 1
MOST_GROUPS = 8
"""Groups whose curves can still be told apart."""
ROW = 0.075
"""Height of a row of numbers at risk, as a share of the height of the curves."""
CAUSES = {"exit": LOSS, "silent": "#d9a441", "other": MUTED}


def retention_curves(
    curves: pd.DataFrame, ax: Axes, *, language: Language = "en", clock: Clock = "answer", ticks: int = 7
) -> Axes:
    """Draw the share still there by group, with bands, and the numbers at risk in rows under the curves.

    Bands along the curve where the table has them, intervals at each time otherwise.

    Args:
        curves: As of :func:`rox.models.leaving.leaving`: ``group``, ``time``, ``kept``, ``low``, ``high``, perhaps
            ``band_low``, ``band_high`` and ``at_risk``; rows of a group in the order of time.
        ax: Where to draw.
        language: Of the labels.
        clock: What the times are.
        ticks: How many times are written, at most.

    Raises:
        ValueError: No curve, or more groups than can be told apart.
    """
    shown = curves[curves["kept"].notna()]
    groups = list(dict.fromkeys(shown["group"]))
    if not 1 <= len(groups) <= MOST_GROUPS:
        raise ValueError(f"{len(groups)} groups have a curve; needed: 1 to {MOST_GROUPS}; choose some of the rows")
    low, high = ("band_low", "band_high") if "band_low" in shown else ("low", "high")
    colours = dict(zip(groups, _colours(groups), strict=True))
    for group, rows in shown.groupby("group", sort=False):
        time = rows["time"].to_numpy(dtype=float)
        below, above = (rows[name].to_numpy(dtype=float) for name in (low, high))
        ax.fill_between(time, below, above, step="post", color=colours[group], alpha=0.15, linewidth=0)
        ax.step(time, rows["kept"].to_numpy(dtype=float), where="post", color=colours[group], linewidth=1.8)
    floor = _floor(shown[[low, "kept"]].min().min())
    places = _times(ax, shown["time"].to_numpy(dtype=float), clock, ticks)
    _shares(ax, floor, say("figure.kept", language), language)
    if "at_risk" in shown:
        _at_risk(
            ax, shown, places, floor, {group: (_name(group, language), colours[group]) for group in groups}, language
        )
    else:
        _at_the_end(ax, shown, {group: (_name(group, language), colours[group]) for group in groups})
    ax.set_xlabel(say(f"figure.clock.{clock}", language))
    sns.despine(ax=ax, left=True)
    return with_faces(ax, language)


def incidence_by_cause(
    incidence: pd.DataFrame, ax: Axes, *, group: str, language: Language = "en", clock: Clock = "answer"
) -> Axes:
    """Draw the share of a group that has left by each time, stacked by cause; the causes compete and add up.

    Args:
        incidence: As of :func:`rox.models.leaving.leaving`: ``group``, ``cause``, ``time``, ``left``.
        ax: Where to draw.
        group: Whose.
        language: Of the labels.
        clock: What the times are.

    Raises:
        ValueError: No share of that group may be shown.
    """
    rows = incidence[(incidence["group"] == group) & incidence["left"].notna()]
    wide = rows.pivot(index="time", columns="cause", values="left").dropna()
    if wide.empty:
        raise ValueError(f"no cause of leaving is shown for {group!r}")
    wide = wide[[cause for cause in CAUSES if cause in wide]]
    time, base = wide.index.to_numpy(dtype=float), np.zeros(len(wide))
    for cause in wide:
        top = base + wide[cause].to_numpy(dtype=float)
        colour = CAUSES[str(cause)]
        name = say(f"cause.{cause}", language)
        ax.fill_between(time, base, top, step="post", color=colour, alpha=0.75, linewidth=0, label=name)
        base = top
    ax.step(time, base, where="post", color=INK, linewidth=1.2)
    _times(ax, time, clock, 7)
    ax.set_ylim(0, max(1.08 * float(base.max()), 0.01))
    _percent(ax, language)
    ax.set_title(say("figure.left", language), loc="left", fontsize=SMALL, color=MUTED)
    ax.set_xlabel(say(f"figure.clock.{clock}", language))
    ax.legend(loc="lower right", bbox_to_anchor=(1, 1.0), ncols=3, frameon=False, fontsize=SMALL, borderaxespad=0)
    sns.despine(ax=ax)
    return with_faces(ax, language)


def retention_forecast(curve: pd.DataFrame, ax: Axes, *, language: Language = "en") -> Axes:
    """Draw the share predicted to be still there, as things are and under a scenario of the score if there is one.

    Args:
        curve: As of :meth:`rox.models.retention_forecast.Forecast.curve`: by month ``kept`` with ``_low`` and
            ``_high``, perhaps ``kept_shifted`` with the same.
        ax: Where to draw.
        language: Of the labels.
    """
    months = curve.index.to_numpy(dtype=float)
    lines = [("kept", TOTAL, "figure.as_is")]
    if "kept_shifted" in curve:
        lines.append(("kept_shifted", GAIN, "figure.scenario"))
    for name, colour, key in lines:
        low, high = (curve[f"{name}_{end}"].to_numpy(dtype=float) for end in ("low", "high"))
        ax.fill_between(months, low, high, color=colour, alpha=0.15, linewidth=0)
        ax.plot(months, curve[name].to_numpy(dtype=float), color=colour, linewidth=1.8, label=say(key, language))
    if "kept_shifted" in curve:
        points = form("number", language, step=0.1, signed=True).number(100 * float(curve["gained"].iloc[-1]))
        ax.annotate(
            say("figure.points_more", language, months=int(months[-1]), points=points),
            (0.02, 0.08),
            xycoords="axes fraction",
            color=GAIN,
            fontsize=SMALL,
        )
    floor = _floor(min(float(curve[f"{name}_low"].min()) for name, _, _ in lines))
    _shares(ax, floor, say("figure.kept", language), language)
    ax.set_ylim(floor, 1.0)
    ax.set_xlim(0, months[-1])
    ax.xaxis.set_major_locator(MaxNLocator(9, integer=True))
    ax.set_xlabel(say("figure.months_ahead", language))
    ax.legend(loc="lower right", bbox_to_anchor=(1, 1.0), ncols=2, frameon=False, fontsize=SMALL, borderaxespad=0)
    sns.despine(ax=ax)
    return with_faces(ax, language)


def _colours(groups: list[str]) -> list[object]:
    """Return a colour for each group; three that are sorted from worst to best have those of loss and gain."""
    if groups == ["detractor", "passive", "promoter"]:
        return [LOSS, MUTED, GAIN]
    return list(sns.color_palette("colorblind", n_colors=len(groups)))


def _name(group: str, language: Language) -> str:
    key = f"category.{group}"
    return say(key, language) if key in catalogue() else group_name(str(group), language)


def _floor(least: float) -> float:
    """Return a round share below the least one, so that curves that stay high can be read."""
    tenths = float(np.clip(np.floor(least * 10 - 0.2), 0, 9))
    return (tenths - tenths % 2 if tenths < 4 else tenths) / 10


def _times(ax: Axes, time: Floats, clock: Clock, ticks: int) -> Floats:
    """Place ticks in whole months, by the year or its parts where there is room; returns where."""
    first, last = float(time.min()), float(time.max())
    step = next((each for each in (1, 2, 3, 6, 12, 24, 36, 60, 120) if (last - first) / each <= ticks - 1), 240)
    begin = first if clock != "tenure" else np.ceil(first / step) * step
    places = np.arange(begin, last + 1e-9, step)
    ax.set_xlim(first - 0.05 * (last - first), last + 0.02 * (last - first))
    ax.xaxis.set_major_locator(FixedLocator(list(places)))
    if clock == "calendar":
        ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: month_label(round(value))))
    return np.asarray(places, dtype=np.float64)


def _shares(ax: Axes, floor: float, label: str, language: Language) -> None:
    """Write the shares from a floor to 1 at the left and their name above."""
    step = 0.2 if floor < 0.4 else 0.1 if floor < 0.8 else 0.05 if floor < 0.9 else 0.02
    ax.yaxis.set_major_locator(FixedLocator(list(np.arange(1.0, floor - 1e-9, -step))))
    shape = form("share", language, like=[1.0], step=0.01)
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: shape.number(value)))
    ax.set_title(label, loc="left", fontsize=SMALL, color=MUTED)


def _percent(ax: Axes, language: Language) -> None:
    ax.yaxis.set_major_locator(MaxNLocator(5))
    shape = form("share", language, like=[1.0], step=0.01)
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: shape.number(value)))


def _at_risk(
    ax: Axes,
    shown: pd.DataFrame,
    places: Floats,
    floor: float,
    names: dict[str, tuple[str, object]],
    language: Language,
) -> None:
    """Write the numbers at risk in one row per group below the floor of the curves; the rows name the colours."""
    height = ROW * (1 - floor)
    ax.axhline(floor, color=RULE, linewidth=0.8)
    ax.set_ylim(floor - (len(names) + 2.0) * height, 1.0 + 0.02 * (1 - floor))
    head = floor - 1.2 * height
    _left(ax, head, say("figure.at_risk", language), MUTED)
    count = form("customers", language)
    for number, (group, (name, colour)) in enumerate(names.items()):
        rows = shown[shown["group"] == group].set_index("time")["at_risk"]
        line = head - (number + 1) * height
        _left(ax, line, wrapped(name).split("\n")[0], colour)
        for place in places:
            value = rows.get(place, np.nan)
            if np.isfinite(value):
                ax.annotate(
                    count.number(float(value)), (place, line), ha="center", va="center", fontsize=SMALL, color=INK
                )


def _left(ax: Axes, height: float, text: str, colour: object) -> None:
    ax.annotate(
        text,
        (0, height),
        xycoords=ROW_NAME,
        xytext=(-6, 0),
        textcoords="offset points",
        ha="right",
        va="center",
        fontsize=SMALL,
        color=colour,
    )


def _at_the_end(ax: Axes, shown: pd.DataFrame, names: dict[str, tuple[str, object]]) -> None:
    """Name the curves where they end, kept apart from each other."""
    last = shown.groupby("group", sort=False).last().sort_values("kept")
    gap = 0.07 * (ax.get_ylim()[1] - ax.get_ylim()[0])
    height = -np.inf
    for group, row in last.iterrows():
        height = max(float(row["kept"]), height + gap)
        name, colour = names[str(group)]
        ax.annotate(
            name,
            (float(row["time"]), height),
            xytext=(-4, 3),
            textcoords="offset points",
            ha="right",
            va="bottom",
            color=colour,
            fontsize=SMALL,
        )
