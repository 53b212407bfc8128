"""Figures: functions that draw an answer on axes and return them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator
from numpy.typing import NDArray

from rox.core.case import EVERYONE
from rox.core.effect import Effect
from rox.core.returns import Return
from rox.core.words import Language, catalogue, say
from rox.reporting import estimates
from rox.reporting.numbers import Form, form, significant, step_of
from rox.reporting.svg import BAND, FONT_SIZE, GAIN, INK, LOSS, MUTED, ROW_NAME, TOTAL, with_faces, wrapped

SMALL = FONT_SIZE - 1
LINE = 1.22 * FONT_SIZE


def waterfall(money: Return, ax: Axes, *, language: Language = "en") -> Axes:
    """Draw the bridge from contribution to NPV, one bar per step."""
    steps = money.bridge
    values = steps["value"].to_numpy(dtype=float)
    ends = np.where(steps["kind"] == "total", values, np.cumsum(np.where(steps["kind"] == "total", 0.0, values)))
    starts = np.where(steps["kind"] == "total", 0.0, ends - values)
    colours = np.where(steps["kind"] == "total", TOTAL, np.where(values >= 0, GAIN, LOSS))
    places = np.arange(len(steps))
    ax.barh(places, ends - starts, left=starts, color=list(colours), height=0.62)
    for place in places[:-1]:
        ax.plot([ends[place]] * 2, [place + 0.31, place + 0.69], color=MUTED, linewidth=0.8)
    shape = arithmetic_form(money, [*starts, *ends], language, signed=True)
    plain = arithmetic_form(money, [*starts, *ends], language)
    _room_at_the_right(ax, starts, ends)
    for place, (start, end, kind) in enumerate(zip(starts, ends, steps["kind"], strict=True)):
        text = plain.number(end) if kind == "total" else shape.number(end - start)
        _beside(ax, max(start, end), place, text, bold=kind == "total")
    name_rows(ax, steps[language])
    return with_faces(_only_zero_line(ax), language)


def distribution(money: Return, ax: Axes, *, language: Language = "en") -> Axes:
    """Draw how often each NPV occurs among the draws, with the 90% range and the median marked."""
    npv = money.draws["npv"]
    decision = money.decision
    start, end = np.quantile(npv, [0.005, 0.995])
    width = (end - start) / 48 or 1.0
    edges = np.arange(np.floor(start / width), np.ceil(end / width) + 1) * width
    inside = npv[(npv >= edges[0]) & (npv <= edges[-1])]
    for part, colour in ((inside[inside <= 0], LOSS), (inside[inside > 0], GAIN)):
        if len(part):
            sns.histplot(x=part, bins=list(edges), color=colour, alpha=1, linewidth=0, ax=ax)
    top = ax.get_ylim()[1]
    ax.set_ylim(-0.13 * top, 1.12 * top)
    ax.plot([decision.low, decision.high], [-0.06 * top] * 2, color=INK, linewidth=1.6, solid_capstyle="butt")
    ax.plot([decision.npv], [-0.06 * top], "o", color=INK, markersize=5)
    ax.plot([0, 0], [0, 1.02 * top], color=INK, linewidth=0.9)
    ax.set_yticks([])
    ax.set_ylabel("")
    ax.set_xlabel(say("figure.npv", language))
    label_ticks(ax, "money", language, "x", currency=money.case.about.currency, ticks=7)
    sns.despine(ax=ax, left=True)
    return with_faces(ax, language)


def tornado(money: Return, ax: Axes, *, language: Language = "en", rows: int = 8) -> Axes:
    """Draw NPV when one input moves from its 10% to its 90% value, the largest swings first."""
    table = money.tornado[money.tornado["swing"] > 0].head(rows)
    base = float(money.point["npv"][0])
    ends = table[["npv_low", "npv_high"]].to_numpy(dtype=float)
    shape = arithmetic_form(money, [*ends.ravel(), base], language)
    for place, (low, high) in enumerate(ends):
        for end, colour in ((low, LOSS if low < base else GAIN), (high, LOSS if high < base else GAIN)):
            ax.barh(place, end - base, left=base, color=colour, height=0.6)
        left, right = min(low, high, base), max(low, high, base)
        _beside(ax, right, place, shape.number(right))
        _beside(ax, left, place, shape.number(left), side="left")
    ax.axvline(base, color=INK, linewidth=1)
    if len(ends):
        span = float(np.ptp([*ends.ravel(), base])) or 1.0
        ax.set_xlim(min(ends.min(), base) - 0.2 * span, max(ends.max(), base) + 0.2 * span)
    name_rows(ax, table[language])
    if ax.get_xlim()[0] < 0 < ax.get_xlim()[1]:
        ax.axvline(0, color=MUTED, linewidth=0.9, linestyle=(0, (3, 2)), zorder=0)
    label_ticks(ax, "money", language, "x", currency=money.case.about.currency, ticks=7)
    sns.despine(ax=ax, left=True)
    return with_faces(ax, language)


def fan(money: Return, ax: Axes, *, language: Language = "en") -> Axes:
    """Draw the cumulative discounted cash flow: median, middle half, and 90% of the draws."""
    rows = money.fan
    months = rows.index.to_numpy(dtype=float)
    ax.fill_between(months, rows["q05"], rows["q95"], color=BAND, linewidth=0, label=say("figure.ninety", language))
    ax.fill_between(months, rows["q25"], rows["q75"], color="#a9cccf", linewidth=0, label=say("figure.half", language))
    ax.plot(months, rows["q50"], color=GAIN, linewidth=1.8, label=say("figure.median", language))
    ax.axhline(0, color=INK, linewidth=0.9)
    ax.set_xlabel(say("figure.months", language))
    ax.set_xlim(0, months[-1])
    ax.set_xticks(np.arange(0, months[-1] + 1, 6 if months[-1] <= 60 else 12))
    label_ticks(ax, "money", language, "y", currency=money.case.about.currency)
    ax.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=3, frameon=False, fontsize=SMALL, borderaxespad=0)
    sns.despine(ax=ax)
    return with_faces(ax, language)


def event_study(effect: Effect, ax: Axes, *, language: Language = "en") -> Axes:
    """Draw the effect by months since the change, with 90% ranges; months before it should lie around zero."""
    rows = estimates.over_time(effect)
    months = rows.index.to_numpy(dtype=float)
    before = months < 0
    for part, colour, name in ((before, MUTED, "figure.before"), (~before, GAIN, "figure.after")):
        if part.any():
            ax.vlines(months[part], rows["low"][part], rows["high"][part], color=colour, linewidth=1.6, alpha=0.55)
            ax.plot(months[part], rows["middle"][part], "o", color=colour, markersize=4.2, label=say(name, language))
    ax.axhline(0, color=INK, linewidth=0.9)
    if before.any():
        ax.axvline(-0.5, color=MUTED, linewidth=0.9, linestyle=(0, (3, 2)))
    ax.set_xlabel(say("figure.since", language))
    ax.xaxis.set_major_locator(MaxNLocator(9, integer=True))
    label_ticks(ax, estimates.unit_of(effect.estimand), language, "y", currency=effect.estimand.currency)
    ax.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=2, frameon=False, fontsize=SMALL, borderaxespad=0)
    sns.despine(ax=ax)
    return with_faces(ax, language)


def by_group(effect: Effect, ax: Axes, *, language: Language = "en", rows: pd.DataFrame | None = None) -> Axes:
    """Draw the effect of each segment with its 90% range.

    Args:
        effect: The effect.
        ax: Where to draw.
        language: Of the labels.
        rows: What :func:`rox.reporting.estimates.summary` gave, if some segments must not be shown.
    """
    rows = estimates.summary(effect) if rows is None else rows
    shape = estimates.form_of(effect, language, rows)
    for place, (group, row) in enumerate(rows.iterrows()):
        whole = group == EVERYONE
        colour = TOTAL if whole else GAIN
        ax.plot([row["low"], row["high"]], [place, place], color=colour, linewidth=2.2, solid_capstyle="butt")
        ax.plot([row["middle"]], [place], "D" if whole else "o", color=colour, markersize=6)
    _room_at_the_right(ax, rows["low"].to_numpy(), rows["high"].to_numpy())
    for place, (group, row) in enumerate(rows.iterrows()):
        own = estimates.form_of(effect, language, pd.DataFrame([row])) if shape.unit == "money" else shape
        _beside(ax, row["high"], place, own.number(row["middle"]), bold=group == EVERYONE)
    name_rows(ax, [estimates.group_name(str(group), language) for group in rows.index])
    label_ticks(ax, estimates.unit_of(effect.estimand), language, "x", currency=effect.estimand.currency, signed=True)
    ax.axvline(0, color=INK, linewidth=0.9)
    sns.despine(ax=ax, left=True)
    return with_faces(ax, language)


def trend(rows: pd.DataFrame, ax: Axes, *, language: Language = "en") -> Axes:
    """Draw a measure by period with its range.

    Args:
        rows: Columns ``period`` (text that sorts), ``value``, ``low`` and ``high``; hidden periods are left open.
        ax: Where to draw.
        language: Of the labels.
    """
    places = np.arange(len(rows))
    ax.fill_between(places, rows["low"], rows["high"], color=BAND, linewidth=0)
    ax.plot(places, rows["value"], color=GAIN, linewidth=1.8, marker="o", markersize=3.6)
    every = max(1, int(np.ceil(len(rows) / 8)))
    ax.set_xticks(places[::every], [str(period) for period in rows["period"].iloc[::every]])
    ax.set_xlim(-0.5, max(len(rows) - 0.5, 0.5))
    label_ticks(ax, "number", language, "y")
    sns.despine(ax=ax)
    return with_faces(ax, language)


def paths(effect: Effect, ax: Axes, *, language: Language = "en") -> Axes:
    """Draw the paths of groups around the month they were sorted in, that month being 100, with 90% ranges.

    The months before are shaded: nothing that was sorted by can have moved them.
    """
    if effect.path is None:
        raise ValueError(f"effect {effect.name!r} has no path over months")
    months = np.asarray(effect.path_months, dtype=float)
    low, high = np.quantile(100 * effect.path, [0.05, 0.95], axis=0)
    middle = 100 * effect.path.mean(0)
    colours = (LOSS, MUTED, GAIN) if len(effect.groups) == 3 else sns.color_palette(n_colors=len(effect.groups))
    for place, (group, colour) in enumerate(zip(effect.groups, colours, strict=True)):
        ax.fill_between(months, low[place], high[place], color=colour, alpha=0.16, linewidth=0)
        ax.plot(months, middle[place], color=colour, linewidth=1.8)
        key = f"category.{group}"
        name = say(key, language) if key in catalogue() else group
        ax.annotate(
            name,
            (months[-1], middle[place, -1]),
            xytext=(5, 0),
            textcoords="offset points",
            va="center",
            color=colour,
            fontsize=SMALL,
        )
    if months.min() < 0:
        ax.axvspan(months.min(), 0, color=BAND, alpha=0.45, linewidth=0, zorder=0)
    ax.axhline(100, color=INK, linewidth=0.7, linestyle=(0, (3, 2)))
    ax.set_xlabel(say("figure.since_answer", language))
    ax.set_ylabel(say("figure.index", language))
    ax.xaxis.set_major_locator(MaxNLocator(9, integer=True))
    label_ticks(ax, "number", language, "y")
    sns.despine(ax=ax)
    return with_faces(ax, language)


def specification_curve(effect: Effect, ax: Axes, *, language: Language = "en") -> Axes:
    """Draw the estimates of every specification, sorted, with 90% ranges; the one that was asked stands out.

    Args:
        effect: What :func:`rox.falsify` gave.
        ax: Where to draw.
        language: Of the labels.
    """
    table = effect.tables["specifications"]
    places = np.arange(len(table))
    asked = table["asked"].to_numpy(dtype=bool)
    for part, colour, name in ((~asked, MUTED, "figure.others"), (asked, GAIN, "figure.asked")):
        ax.vlines(places[part], table["low"][part], table["high"][part], color=colour, linewidth=2, alpha=0.6)
        ax.plot(places[part], table["estimate"][part], "o", color=colour, markersize=5, label=say(name, language))
    ax.axhline(0, color=INK, linewidth=0.9)
    ax.set_xticks([])
    ax.set_xlabel(say("figure.specifications", language, count=len(table)))
    label_ticks(ax, estimates.unit_of(effect.estimand), language, "y", currency=effect.estimand.currency)
    ax.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=2, frameon=False, fontsize=SMALL, borderaxespad=0)
    sns.despine(ax=ax, bottom=True)
    return with_faces(ax, language)


def pooling(table: pd.DataFrame, ax: Axes, *, language: Language = "en") -> Axes:
    """Draw segments as measured alone and as pooled with the others, as shares of money with 90% ranges.

    Args:
        table: By segment: ``not_pooled``, ``not_pooled_se``, ``estimate``, ``low``, ``high``, as in the coefficients of
            ``LeadLag``.
        ax: Where to draw.
        language: Of the labels.
    """
    reach = 1.6449 * table["not_pooled_se"].to_numpy(dtype=float)
    alone = table["not_pooled"].to_numpy(dtype=float)
    lines = (
        (-0.16, alone, alone - reach, alone + reach, MUTED, "figure.alone"),
        (0.16, table["estimate"].to_numpy(dtype=float), table["low"], table["high"], GAIN, "figure.pooled"),
    )
    for shift, middle, low, high, colour, name in lines:
        places = np.arange(len(table)) + shift
        ax.hlines(places, low, high, color=colour, linewidth=2, alpha=0.7)
        ax.plot(middle, places, "o", color=colour, markersize=5, label=say(name, language))
    name_rows(ax, [estimates.group_name(str(group), language) for group in table.index])
    label_ticks(ax, "share", language, "x", signed=True)
    ax.axvline(0, color=INK, linewidth=0.9)
    ax.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=2, frameon=False, fontsize=SMALL, borderaxespad=0)
    sns.despine(ax=ax, left=True)
    return with_faces(ax, language)


def questions(effects: Sequence[Effect], ax: Axes, *, language: Language = "en") -> Axes:
    """Draw answers to different questions about money per score point under each other; they are not rivals.

    Raises:
        ValueError: Effects in different units.
    """
    if len({(effect.estimand.dose, effect.estimand.unit, effect.estimand.currency) for effect in effects}) != 1:
        raise ValueError("effects in different units cannot share an axis")
    rows = pd.DataFrame(
        [(effect.overall.mean(), *np.quantile(effect.overall, [0.05, 0.95])) for effect in effects],
        columns=["middle", "low", "high"],
    )
    shape = estimates.form_of(effects[0], language, rows)
    for place, (_, row) in enumerate(rows.iterrows()):
        ax.plot([row["low"], row["high"]], [place, place], color=GAIN, linewidth=2.2, solid_capstyle="butt")
        ax.plot([row["middle"]], [place], "o", color=GAIN, markersize=6)
        _beside(ax, row["high"], place, shape.number(row["middle"]))
    _room_at_the_right(ax, rows["low"].to_numpy(), rows["high"].to_numpy())
    name_rows(ax, [f"{estimates.effect_name(effect.name, language)} ({effect.grade})" for effect in effects])
    first = effects[0].estimand
    label_ticks(ax, estimates.unit_of(first), language, "x", currency=first.currency, signed=True)
    ax.axvline(0, color=INK, linewidth=0.9)
    sns.despine(ax=ax, left=True)
    return with_faces(ax, language)


def bracket(table: pd.DataFrame, ax: Axes, *, language: Language = "en") -> Axes:
    """Draw the readings from growth and from levels, each with its own range; the space between is no interval.

    Args:
        table: What :class:`rox.models.growth_readings.GrowthReadings` holds.
        ax: Where to draw.
        language: Of the labels.
    """
    shown = table[table["percent"].notna()]
    for place, (name, row) in enumerate(shown.iterrows()):
        colour = MUTED if str(name).endswith("_corrected") else GAIN
        ax.plot([row["percent_low"], row["percent_high"]], [place, place], color=colour, linewidth=2.2)
        ax.plot([row["percent"]], [place], "s", color=colour, markersize=6)
    name_rows(ax, [say(f"reading.{name}", language) for name in shown.index])
    ax.set_xlabel(say("figure.percent_per_point", language))
    label_ticks(ax, "number", language, "x", signed=True)
    ax.axvline(0, color=INK, linewidth=0.9)
    sns.despine(ax=ax, left=True)
    return with_faces(ax, language)


def arithmetic_form(money: Return, like: Iterable[float], language: Language, *, signed: bool = False) -> Form:
    """Choose how steps of the point path are written: one digit more than the result supports, so that they add up."""
    step = step_of(money.decision.low, money.decision.high) / 10
    return form("money", language, like=like, step=step, currency=money.case.about.currency, signed=signed)


def label_ticks(
    ax: Axes, unit: str, language: Language, which: str, *, currency: str = "", ticks: int = 6, signed: bool = False
) -> None:
    """Place round ticks and write their numbers with the digits they need."""
    axis = ax.xaxis if which == "x" else ax.yaxis
    axis.set_major_locator(MaxNLocator(ticks, steps=[1, 2, 2.5, 5, 10]))
    places = axis.get_majorticklocs()
    gap = float(places[1] - places[0]) if len(places) > 1 else 0.0
    step = significant(gap, 2) if round(gap / (significant(gap, 1) or 1.0), 6) % 1 else significant(gap, 1)
    shape = form(unit, language, like=places, step=step, currency=currency, signed=signed)
    axis.set_major_formatter(FuncFormatter(lambda value, _: shape.number(value)))


def name_rows(ax: Axes, names: Iterable[object], most: int = 2) -> None:
    """Name the rows at the left, each line of a name as a text of its own, so that a reader's font cannot shift it."""
    labels = [wrapped(str(name), most=most) for name in names]
    ax.set_yticks(range(len(labels)), [""] * len(labels))
    for place, name in enumerate(labels):
        lines = name.split("\n")
        for number, line in enumerate(lines):
            ax.annotate(
                line,
                (0, place),
                xycoords=ROW_NAME,
                xytext=(-6, LINE * ((len(lines) - 1) / 2 - number)),
                textcoords="offset points",
                ha="right",
                va="center",
                color=INK,
            )
    ax.set_ylim(len(labels) - 0.4, -0.6)
    ax.tick_params(axis="y", length=0)


def _room_at_the_right(ax: Axes, starts: NDArray[np.float64], ends: NDArray[np.float64]) -> None:
    values = np.array([0.0, *starts, *ends])
    span = float(np.ptp(values)) or 1.0
    ax.set_xlim(values.min() - 0.03 * span, values.max() + 0.19 * span)


def _beside(ax: Axes, x: float, y: float, text: str, *, side: str = "right", bold: bool = False) -> None:
    shift = 6 if side == "right" else -6
    ax.annotate(
        text,
        (x, y),
        xytext=(shift, 0),
        textcoords="offset points",
        va="center",
        ha="left" if side == "right" else "right",
        fontsize=SMALL,
        color=INK,
        fontweight="bold" if bold else "normal",
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 2.0},
    )


def _only_zero_line(ax: Axes) -> Axes:
    ax.axvline(0, color=INK, linewidth=0.9)
    ax.xaxis.set_visible(False)
    sns.despine(ax=ax, left=True, bottom=True)
    ax.tick_params(axis="y", colors=INK)
    ax.set_axisbelow(True)
    return ax
