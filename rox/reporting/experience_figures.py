"""Figures of a score: who says what, how it goes over time within its limits, and where others stand."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Protocol

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes

from rox.core.check import Check
from rox.core.study import Scale
from rox.core.words import Language, say
from rox.reporting.estimates import joined
from rox.reporting.figures import SMALL, label_ticks, name_rows
from rox.reporting.numbers import count, form, probability, step_of, with_range
from rox.reporting.panels import unsaid
from rox.reporting.svg import BAND, GAIN, INK, LOSS, MUTED, RULE, TOTAL, with_faces, wrapped

ALL = "all"
"""Stands for every group of a level."""
UNITS = MappingProxyType({"ratio": "share"})
"""How units of a measure are written; the others are plain numbers."""
POINT = MappingProxyType({"nps": "nps", "csat": "top_two", "ces": "easy"})
"""The metric that is read off the shares, by kind of question."""
CLASSES = MappingProxyType(
    {
        "nps": ("category.promoter", "category.passive", "category.detractor"),
        "csat": ("figure.experience.satisfied", "figure.experience.neither", "figure.experience.dissatisfied"),
        "ces": ("figure.experience.easy", "figure.experience.neutral", "figure.experience.hard"),
        "rating": ("figure.experience.best", "figure.experience.between", "figure.experience.worst"),
    }
)
"""Classes of answers by kind of question, the best first."""
WIDE_ENOUGH = 8.0
"""Percent of answers from which a part of a bar has room for its number."""
TICKS = 9


class Watched(Protocol):
    """What :func:`over_time` and :func:`limits` need of a measure that is watched."""

    @property
    def by(self) -> tuple[str, ...]:
        """Levels of the tree of groups."""

    @property
    def every(self) -> str:
        """Length of a period, and the name of its column."""

    @property
    def series(self) -> pd.DataFrame:
        """The measure by group and period."""

    @property
    def charts(self) -> pd.DataFrame:
        """Moving averages of standardised residuals with their limits."""

    @property
    def alarms(self) -> pd.DataFrame:
        """Periods that passed a limit."""

    @property
    def changes(self) -> pd.DataFrame:
        """Dates at which the level changed."""

    @property
    def checks(self) -> tuple[Check, ...]:
        """What a reader must know."""


class Placed(Protocol):
    """What :func:`side_by_side` needs of companies that were compared."""

    @property
    def table(self) -> pd.DataFrame:
        """One row per company and metric, one's own company first."""


def unit_of(unit: str) -> str:
    """Return how numbers of a measure's unit are written."""
    return UNITS.get(unit, "number")


def shares(
    distribution: pd.DataFrame,
    ax: Axes,
    *,
    values: pd.DataFrame,
    scale: Scale,
    names: Mapping[str, str] | None = None,
    period: str = "",
    language: Language = "en",
) -> Axes:
    """Draw who answers what: the worst to the left of zero, the best to the right, those between beyond them.

    For an NPS question the point is promoters less detractors, on the same axis; for satisfaction and ease it is the
    end of the best class. Groups with too few customers keep their name and nothing else, groups with too few answers
    their interval.

    Args:
        distribution: Shares of every answer, by one column of groups or none, as of ``score_distribution``.
        ax: Where to draw.
        values: The same groups as of ``scores``, with the intervals.
        scale: Of the question.
        names: What groups are called; their own names by default.
        period: When the answers were given, for the caption.
        language: Of the labels.
    """
    parts = classes(distribution, scale)
    metric = POINT.get(scale.kind, "")
    told = values[values["metric"] == metric] if metric else values[values["metric"] == values["metric"].iloc[0]]
    keys = _groups(told)
    order = list(dict.fromkeys(keys))
    told = told.assign(row=keys).set_index("row").loc[order]
    upper, between, lower = (parts.reindex(order)[name].to_numpy(dtype=float) for name in ("upper", "middle", "lower"))
    places = np.arange(len(order), dtype=float)
    known = np.isfinite(upper + between + lower)
    heads = [say(key, language) for key in CLASSES[scale.kind]]
    for start, length, colour, ink, head in (
        (-lower, lower, LOSS, "white", heads[2]),
        (np.zeros_like(upper), upper, GAIN, "white", heads[0]),
        (upper, between, BAND, INK, heads[1]),
    ):
        ax.barh(places[known], length[known], left=start[known], color=colour, height=0.62, label=head)
        for place, left, size in zip(places[known], start[known], length[known], strict=True):
            if size >= WIDE_ENOUGH:
                at = (left + size / 2, place + 0.19)
                ax.text(*at, f"{size:.0f}%", ha="center", va="center", fontsize=SMALL - 1, color=ink)
    factor = 1.0 if metric == "nps" else 100.0
    value, low, high = (factor * told[name].to_numpy(dtype=float) for name in ("value", "low", "high"))
    if metric:
        ranged = np.isfinite(low)
        ax.hlines(places[ranged] - 0.14, low[ranged], high[ranged], color="white", linewidth=4.6)
        ax.hlines(places[ranged] - 0.14, low[ranged], high[ranged], color=INK, linewidth=2.2)
        label = say("figure.experience.point", language, metric=say(f"metrics.{metric}", language))
        ax.plot(
            value, places - 0.14, "D", color=INK, markersize=6, markeredgecolor="white", linestyle="none", label=label
        )
    name_rows(ax, [_called(name, names, language) for name in order])
    end = float(np.nanmax([*(upper + between), *high, 10.0]))
    left_end = float(np.nanmin([*(-lower), *low, 0.0]))
    for place, (_, row) in zip(places, told.iterrows(), strict=True):
        text = _beside(row, unit_of(str(row["unit"])), language)
        ax.text(end + 0.02 * (end - left_end), float(place), text, va="center", fontsize=SMALL, color=INK)
    ax.set_xlim(left_end - 2, end + 0.42 * (end - left_end))
    _ticks(ax, left_end, end, language)
    axis = "figure.experience.shares.of" if period else "figure.experience.shares.axis"
    ax.set_xlabel(say(axis, language, period=period), loc="left")
    ax.axvline(0, color=INK, linewidth=0.9)
    handles, labels = ax.get_legend_handles_labels()
    order_of = sorted(range(len(labels)), key=lambda place: labels[place] not in heads)
    ax.legend(
        [handles[place] for place in order_of], [labels[place] for place in order_of],
        loc="lower left", bbox_to_anchor=(0, 1.0), ncols=4, frameon=False, fontsize=SMALL, borderaxespad=0,
    )  # fmt: skip
    sns.despine(ax=ax, left=True)
    return with_faces(ax, language)


def classes(distribution: pd.DataFrame, scale: Scale) -> pd.DataFrame:
    """Add shares of answers up to those of three classes, in percent: by group ``upper``, ``middle``, ``lower``.

    A group of which an answer is not told has none.
    """
    best = (
        scale.high - distribution["answer"] if scale.higher_is_better else distribution["answer"] - scale.low
    ).astype(int)
    span = scale.high - scale.low
    if scale.kind == "ces":
        high, low = 2 * best < span, 2 * best > span
    else:
        high = best <= 1
        low = (best >= 4 if scale.kind == "nps" else span - best <= 1) & ~high
    which = np.where(high, "upper", np.where(low, "lower", "middle"))
    held = distribution.assign(row=_groups(distribution), which=which).groupby(["row", "which"], sort=False)["value"]
    summed = held.agg(lambda each: 100 * each.sum(skipna=False)).unstack()
    parts = summed.reindex(columns=["upper", "middle", "lower"], fill_value=0.0)
    return parts.where(parts.notna().all(axis=1), axis=0)


def over_time(found: Watched, ax: Axes, *, language: Language = "en") -> Axes:
    """Draw a measure by period with its intervals, the levels between changes, and the periods that gave an alarm.

    A change stands at its date; shaded is what the date could also be, with 90% probability.

    Args:
        found: What was watched; the whole of it is drawn.
        ax: Where to draw.
        language: Of the labels.
    """
    rows = _whole(found.series, found.by)
    if rows["low"].isna().all():
        return unsaid(ax, say("figure.experience.hidden", language), language)
    at = times_of(rows[found.every])
    unit = unit_of(str(rows["unit"].iloc[0]))
    value, low, high = (rows[name].to_numpy(dtype=float) for name in ("value", "low", "high"))
    ax.vlines(at, low, high, color=GAIN, linewidth=5, alpha=0.22)
    label = say("figure.experience.interval", language)
    ax.plot(at, value, color=GAIN, linewidth=1.8, marker="o", markersize=4.2, label=label)
    changes = _whole(found.changes, found.by).sort_values("date")
    ends = [at.min() - 0.5, *(times_of(changes["date"]) - 0.5), at.max() + 0.5]
    levels = [*changes["before"].iloc[:1], *changes["after"]]
    for left, right, level in zip(ends, ends[1:], levels, strict=False):
        ax.plot([left, right], [level, level], color=TOTAL, linewidth=1.2, linestyle=(0, (4, 2)))
    shape = form(unit, language, like=[*value], step=step_of(float(np.nanmin(low)), float(np.nanmax(high))))
    for place, (_, row) in enumerate(changes.iterrows()):
        first, last = times_of(row[["earliest", "latest"]])
        date = float(times_of(pd.Series([row["date"]]))[0])
        ax.axvspan(first - 0.5, last + 0.5, color=BAND, alpha=0.6, linewidth=0, zorder=0)
        ax.axvline(date - 0.5, color=TOTAL, linewidth=1)
        words = {name: shape.number(float(row[name])) for name in ("before", "after")}
        said = say("figure.experience.change", language, date=row["date"], **words)
        ax.annotate(
            said, (date - 0.5, 1.0), xycoords=("data", "axes fraction"), xytext=(-4, -2 - 11 * (place % 3)),
            textcoords="offset points", ha="right", va="top", fontsize=SMALL, color=TOTAL,
        )  # fmt: skip
    alarms = _whole(found.alarms, found.by).drop_duplicates(found.every)
    _mark_alarms(ax, times_of(alarms[found.every]), alarms["value"], alarms["direction"], language)
    _periods(ax, at, rows[found.every])
    label_ticks(ax, unit, language, "y")
    ax.set_ylabel(say(f"metrics.{rows['metric'].iloc[0]}", language))
    ax.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=2, frameon=False, fontsize=SMALL, borderaxespad=0)
    sns.despine(ax=ax)
    return with_faces(ax, language)


def limits(found: Watched, ax: Axes, *, language: Language = "en") -> Axes:
    """Draw the moving average (EWMA) of what each period brought beyond what was foreseen, between its limits.

    Args:
        found: What was watched; the whole of it is drawn, on the same periods as :func:`over_time`.
        ax: Where to draw.
        language: Of the labels.
    """
    rows = _whole(found.charts, found.by) if len(found.charts) else found.charts
    if rows.empty:
        return unsaid(ax, found.checks[0].sentence(language), language)
    periods = _whole(found.series, found.by)[found.every]
    at, whole = times_of(rows[found.every]), times_of(periods)
    limit, average = rows["ewma_limit"].to_numpy(dtype=float), rows["ewma"].to_numpy(dtype=float)
    edges = np.r_[at - 0.5, at[-1] + 0.5]
    for sign in (1, -1):
        name = say("figure.experience.limit", language) if sign > 0 else None
        ax.stairs(sign * limit, edges, baseline=None, color=LOSS, linewidth=1.1, linestyle=(0, (4, 2)), label=name)
    ax.axvspan(whole.min() - 0.5, at.min() - 0.5, color=BAND, alpha=0.5, linewidth=0, zorder=0)
    middle = (whole.min() + at.min() - 1) / 2
    learnt = say("figure.experience.learnt", language)
    ax.text(
        middle, 0.94, learnt, transform=ax.get_xaxis_transform(), ha="center", va="top", fontsize=SMALL, color=MUTED
    )
    name = say("figure.experience.ewma", language)
    ax.plot(at, average, color=INK, linewidth=1.6, marker="o", markersize=4.2, label=name)
    ax.axhline(0, color=INK, linewidth=0.7)
    alarms = _whole(found.alarms, found.by)
    alarms = alarms[alarms["chart"] == "ewma"]
    level = rows.set_index(found.every)["ewma"].reindex(alarms[found.every])
    _mark_alarms(ax, times_of(alarms[found.every]), level, alarms["direction"], language)
    most = 1.25 * float(np.max([*limit, *np.abs(average)]))
    ax.set_ylim(-most, most)
    _periods(ax, whole, periods)
    label_ticks(ax, "number", language, "y", ticks=4)
    ax.set_ylabel(wrapped(say("figure.experience.sd", language), 20))
    ax.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=3, frameon=False, fontsize=SMALL, borderaxespad=0)
    sns.despine(ax=ax)
    return with_faces(ax, language)


def side_by_side(
    found: Placed, ax: Axes, *, metric: str = "", names: Mapping[str, str] | None = None, language: Language = "en"
) -> Axes:
    """Draw companies under each other with intervals, and beside each what can be said of its rank.

    Hollow points are those who asked otherwise than oneself; the name says in what.

    Args:
        found: The companies.
        ax: Where to draw.
        metric: Of the table; its first by default.
        names: What companies are called; as in the table by default.
        language: Of the labels.
    """
    table = found.table
    rows = table[table["metric"] == (metric or table["metric"].iloc[0])].reset_index(drop=True)
    unit = unit_of(str(rows["unit"].iloc[0]))
    value, low, high = (rows[name].to_numpy(dtype=float) for name in ("value", "low", "high"))
    for place, (_, row) in enumerate(rows.iterrows()):
        colour, mark = (GAIN, "D") if place == 0 else (MUTED, "o")
        ax.plot([row["low"], row["high"]], [place, place], color=colour, linewidth=2.4, solid_capstyle="butt")
        ax.plot(
            [row["value"]], [place], mark, color=colour, markersize=7, markeredgewidth=1.6,
            markerfacecolor="white" if row["differs"] else colour,
        )  # fmt: skip
        said = say(
            "figure.experience.rank", language, first=probability(float(row["p_first"]), language),
            low=int(row["rank_low"]), high=int(row["rank_high"]),
        )  # fmt: skip
        own = with_range(row["value"], row["low"], row["high"], unit, language)
        ax.annotate(
            f"{own}\n{said}", (row["high"], place), xytext=(8, 0), textcoords="offset points", va="center",
            fontsize=SMALL, color=INK, bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.0},
        )  # fmt: skip
    ax.axvline(value[0], color=RULE, linewidth=0.9, zorder=0)
    name_rows(ax, [_company(row, names, language) for _, row in rows.iterrows()], most=4)
    span = float(np.ptp([*low, *high])) or 1.0
    ax.set_xlim(low.min() - 0.05 * span, high.max() + 0.75 * span)
    _ticks(ax, float(low.min()), float(high.max()), language, unit)
    ax.set_xlabel(say(f"metrics.{rows['metric'].iloc[0]}", language), loc="left")
    sns.despine(ax=ax, left=True)
    return with_faces(ax, language)


def _company(row: pd.Series, names: Mapping[str, str] | None, language: Language) -> str:
    company = (names or {}).get(str(row["company"]), str(row["company"]))
    if row.get("date") is not None and not pd.isna(row.get("date")):
        company = say("figure.experience.company_of", language, company=company, year=row["date"].year)
    if not row["differs"]:
        return company
    what = joined((say(f"rivals.{each}", language) for each in str(row["differs"]).split(",")), language)
    return say("figure.experience.differs", language, company=company, what=what)


def _groups(frame: pd.DataFrame) -> pd.Series[str]:
    """Return the group of every row; ``all`` where there are none.

    Raises:
        ValueError: More than one column of groups.
    """
    before = [str(name) for name in frame.columns[: list(frame.columns).index("score")]]
    if len(before) > 1:
        raise ValueError(f"one column of groups can be drawn, not {', '.join(before)}")
    return frame[before[0]].astype(str) if before else pd.Series(ALL, index=frame.index)


def _whole(frame: pd.DataFrame, by: tuple[str, ...]) -> pd.DataFrame:
    inside = np.ones(len(frame), dtype=bool)
    for level in by:
        inside &= (frame[level] == ALL).to_numpy()
    return frame[inside].reset_index(drop=True)


def _called(name: str, names: Mapping[str, str] | None, language: Language) -> str:
    return say("estimates.everyone", language) if name == ALL else (names or {}).get(name, name)


def _beside(row: pd.Series, unit: str, language: Language) -> str:
    """Write a value, its range and its answers; only the range, or nothing, where the value is not told."""
    if not np.isfinite(row["low"]):
        return say("figure.experience.hidden", language)
    shape = form(unit, language, like=(row["low"], row["high"]), step=step_of(row["low"], row["high"]))
    n = count(float(row["n"]), language)
    if not np.isfinite(row["value"]):
        return say("figure.experience.thin", language, range=shape.span(row["low"], row["high"]), n=n)
    return say(
        "figure.experience.told", language, value=shape.number(row["value"]), n=n,
        range=shape.span(row["low"], row["high"]),
    )  # fmt: skip


def times_of(labels: pd.Series[str]) -> np.ndarray:
    """Return numbers of months, quarters or years that lie one apart from each to the next."""
    found = []
    for label in labels.astype(str):
        year, quarter, month = int(label[:4]), label[5:] if "Q" in label else "", label[5:] if "-" in label else ""
        found.append(4 * year + int(quarter) - 1 if quarter else 12 * year + int(month) - 1 if month else year)
    return np.asarray(found, dtype=float)


def _periods(ax: Axes, at: np.ndarray, labels: pd.Series[str]) -> None:
    """Name at most so many periods."""
    every = max(1, int(np.ceil(len(at) / TICKS)))
    ax.set_xticks(at[::every], [str(label) for label in labels.iloc[::every]])
    ax.set_xlim(at.min() - 0.6, at.max() + 0.6)


def _mark_alarms(
    ax: Axes, at: np.ndarray, value: pd.Series[float], direction: pd.Series[int], language: Language
) -> None:
    said = set()
    for x, y, way in zip(at, value, direction, strict=True):
        side = "above" if way > 0 else "below"
        name = None if side in said else say(f"figure.experience.alarm.{side}", language)
        said.add(side)
        ax.plot(
            [x], [y], "^" if way > 0 else "v", color="none", markeredgecolor=LOSS, markersize=13, markeredgewidth=1.6,
            linestyle="none", label=name,
        )  # fmt: skip


def _ticks(ax: Axes, start: float, end: float, language: Language, unit: str = "number") -> None:
    """Write round numbers where there are data, and none beside them."""
    label_ticks(ax, unit, language, "x", ticks=9)
    kept = [place for place in ax.get_xticks() if start - 1e-9 <= place <= end + 1e-9]
    ax.set_xticks(kept)
