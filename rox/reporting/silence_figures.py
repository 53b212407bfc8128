"""Figures of those who did not answer: what the score of all could be, what would turn it, and who answers."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes

from rox.core.words import Language, catalogue, say
from rox.numerics.intervals import wilson_interval
from rox.reporting.experience_figures import unit_of
from rox.reporting.figures import SMALL, label_ticks, name_rows
from rox.reporting.numbers import form, step_of, written
from rox.reporting.panels import unsaid
from rox.reporting.svg import BAND, GAIN, INK, LOSS, MUTED, TOTAL, with_faces, wrapped

NORMAL_90 = 1.6449
LADDER = ("raw", "raked", "two_models", "proxy")
"""Estimators, each assuming less of the one before about who is silent."""
HARMLESS = 0.05
"""Standard deviations within which a gap counts as met."""
LEVEL = 0.90


class Silent(Protocol):
    """What the figures need of a score that was estimated for everybody."""

    @property
    def waves(self) -> str:
        """Label of the waves looked at."""

    @property
    def before(self) -> str:
        """Label of those before; empty without."""

    @property
    def estimates(self) -> pd.DataFrame:
        """By period and estimator."""

    @property
    def bounds(self) -> pd.DataFrame:
        """Ranges that hold whatever the silent would say, and others."""

    @property
    def sensitivity(self) -> pd.DataFrame:
        """What would turn each conclusion."""

    @property
    def curves(self) -> pd.DataFrame:
        """The mean of all by the odds of answering."""

    @property
    def mechanism(self) -> pd.DataFrame:
        """Response by tenth of the answer foreseen."""

    @property
    def benchmarks(self) -> pd.DataFrame:
        """Facts known of everybody that were not used to weight."""

    @property
    def resistance(self) -> pd.DataFrame:
        """Means from early to late answers."""


def ladder(found: Silent, ax: Axes, *, metric: str = "", language: Language = "en") -> Axes:
    """Draw the score of everybody by each estimator, above what it could be at all.

    Args:
        found: The estimates.
        ax: Where to draw.
        metric: Of the estimates; their first by default.
        language: Of the labels.
    """
    metric = metric or str(found.estimates["metric"].iloc[0])
    rows = found.estimates[(found.estimates["period"] == found.waves) & (found.estimates["metric"] == metric)]
    rows = rows.set_index("estimator").reindex([name for name in LADDER if name in set(rows["estimator"])])
    own = found.bounds[found.bounds["metric"] == metric]
    ranges = {str(kind): (float(a), float(b)) for kind, a, b in zip(own["kind"], own["low"], own["high"], strict=True)}
    kinds = [kind for kind in ("spread", "worst_case") if kind in ranges]
    unit = unit_of(str(rows["unit"].iloc[0]))
    sampled = rows["se"].notna().to_numpy()
    value, low, high = (rows[name].to_numpy(dtype=float) for name in ("value", "low", "high"))
    places = np.arange(len(rows), dtype=float)
    ax.hlines(places[sampled], low[sampled], high[sampled], color=GAIN, linewidth=2.6)
    ax.plot(value, places, "o", color=GAIN, markersize=6.5, linestyle="none")
    names = [say(f"figure.silence.{name}", language) for name in rows.index]
    ends = []
    for place, kind in enumerate(kinds, start=len(rows)):
        left, right = ranges[kind]
        colour, height = (TOTAL, 0.22) if kind == "spread" else (BAND, 0.6)
        ax.barh([place], [right - left], left=[left], color=colour, height=height)
        names.append(say(f"figure.silence.{kind}", language))
        ends += [left, right]
    edge = max([*ends, *high[np.isfinite(high)], *value[np.isfinite(value)]])
    start = min([*ends, *low[np.isfinite(low)], *value[np.isfinite(value)]])
    span = (edge - start) or 1.0
    shape = form(unit, language, like=(start, edge), step=_step(low[sampled], high[sampled]))
    for place, (one, left, right, is_sampled) in enumerate(zip(value, low, high, sampled, strict=True)):
        both = {"value": shape.number(one), "range": shape.span(left, right)}
        text = say("figure.movement.told", language, **both) if is_sampled else shape.number(one)
        ax.text(edge + 0.02 * span, place, text, va="center", fontsize=SMALL, color=INK)
    for place, kind in enumerate(kinds, start=len(rows)):
        ax.text(edge + 0.02 * span, place, shape.span(*ranges[kind]), va="center", fontsize=SMALL, color=INK)
    name_rows(ax, names, most=3)
    ax.set_xlim(start - 0.02 * span, edge + 0.3 * span)
    label_ticks(ax, unit, language, "x", ticks=9)
    ax.set_xticks([place for place in ax.get_xticks() if start - 1e-9 <= place <= edge + 1e-9])
    ax.set_xlabel(say("figure.silence.axis", language, metric=_metric(metric, language), waves=found.waves), loc="left")
    if start < 0 < edge:
        ax.axvline(0, color=INK, linewidth=0.9, zorder=0)
    sns.despine(ax=ax, left=True)
    return with_faces(ax, language)


def tipping(found: Silent, ax: Axes, *, language: Language = "en") -> Axes:
    """Draw the score of everybody by how far the silent differ from those heard, and where the conclusion turns.

    Small marks say how many times as likely those at the best answer would have to be to answer as those at the worst.

    Args:
        found: The estimates; the first conclusion about everybody is drawn.
        ax: Where to draw.
        language: Of the labels.
    """
    rows = found.sensitivity
    rows = rows[rows["conclusion"].isin(["level", "change"]) & rows["delta"].notna()] if len(rows) else rows
    if rows.empty:
        return unsaid(ax, say("figure.silence.no_tipping", language), language)
    row = rows.iloc[0]
    odds = found.curves[found.curves["kind"] == "odds"]
    mean = float(odds.loc[odds["at"] == 1, "value"].iloc[0])
    against, silent, delta = mean - row["difference"], 1 - float(row["rate"]), float(row["delta"])
    at = (odds["value"].to_numpy(dtype=float) - mean) / silent
    metric = str(found.estimates["metric"].iloc[0])
    unit = unit_of(str(found.estimates["unit"].iloc[0]))
    reach = max(1.7 * abs(delta), 1e-9)
    inside = np.abs(at) <= max(reach, 1.05 * float(np.sort(np.abs(at))[2]))
    reach = max(reach, 1.15 * float(np.abs(at[inside]).max()))
    gap = np.array([-reach, reach])
    ax.plot(gap, mean + silent * gap, color=GAIN, linewidth=2)
    ax.axhline(against, color=INK, linewidth=0.9, linestyle=(0, (3, 2)))
    ax.plot([delta], [against], "o", color=LOSS, markersize=9)
    ax.plot([0], [mean], "D", color=INK, markersize=6)
    ax.annotate(
        say("figure.silence.alike", language), (0, mean), xytext=(8, -9), textcoords="offset points", fontsize=SMALL,
        color=INK, va="top", bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.0},
    )  # fmt: skip
    for x, odd in zip(at[inside], odds["at"].to_numpy(dtype=float)[inside], strict=True):
        if odd != 1:
            ax.plot([x], [mean + silent * x], "|", color=MUTED, markersize=10, markeredgewidth=1.4)
            times = say("figure.silence.times", language, odds=_times(odd))
            ax.annotate(
                times, (x, mean + silent * x), xytext=(6, -5), textcoords="offset points", fontsize=SMALL - 1,
                color=MUTED, va="top",
            )  # fmt: skip
    if np.isfinite(row["suggested"]) and abs(row["suggested"]) <= reach:
        ax.axvline(float(row["suggested"]), color=TOTAL, linewidth=1, linestyle=(0, (1, 2)))
        ax.annotate(
            wrapped(say("figure.silence.suggested", language), 26), (float(row["suggested"]), 0.02),
            xycoords=("data", "axes fraction"), xytext=(5, 2), textcoords="offset points", fontsize=SMALL, color=TOTAL,
            va="bottom",
        )  # fmt: skip
    ax.set_xlim(-reach, reach)
    told = _estimated(found, row, metric, mean)
    title = tipping_words(row, against, unit, _metric(metric, language), language, told=told)
    ax.set_title(wrapped(title, 120, most=3), loc="left", fontsize=SMALL + 1, color=INK)
    label_ticks(ax, unit, language, "x", signed=True, ticks=9)
    label_ticks(ax, unit, language, "y")
    ax.set_xlabel(say("figure.silence.gap", language))
    label = say("figure.silence.all.of", language, metric=_metric(metric, language), waves=row["first"])
    ax.set_ylabel(wrapped(label, 44))
    sns.despine(ax=ax)
    return with_faces(ax, language)


def tipping_words(
    row: pd.Series, against: float, unit: str, metric: str, language: Language, *, told: pd.DataFrame | None = None
) -> str:
    """Say what a conclusion is and how sure, what gap turns it, and with which odds of answering that gap comes about.

    Args:
        row: Of ``sensitivity``.
        against: What the mean is held against.
        unit: How numbers are written.
        metric: What the mean is called.
        language: Of the sentence.
        told: The estimates that the conclusion is of, ``value``, ``low``, ``high``, its own first: where the range of
            any holds what it is held against, the conclusion is said not to be sure.
    """
    shape = form(unit, language, like=(row["delta"], row["difference"]))
    plain = written(unit, language)
    side = "above" if row["difference"] > 0 else "below"
    values = {"metric": metric, "against": plain.number(round(against, 6)), "second": row["second"]}
    key = f"figure.silence.tip.{row['conclusion']}.{side}"
    if told is not None and len(told):
        line = against if row["conclusion"] == "level" else 0.0
        unsure = bool(((told["low"] <= line) & (line <= told["high"])).any())
        key += ".unsure" if unsure else ".told"
        values["told"] = _told(told, unit, language)
    said = say(key, language, **values)
    way = "lower" if row["delta"] < 0 else "higher"
    turns = say(f"figure.silence.tip.{way}", language, gap=shape.number(abs(row["delta"])))
    odds = float(row["odds"])
    if not np.isfinite(odds):
        comes = say("figure.silence.tip.never", language)
    else:
        comes = say(f"figure.silence.tip.{'glad' if odds >= 1 else 'sad'}", language, odds=_times(max(odds, 1 / odds)))
    return say("figure.silence.tip", language, said=said, turns=turns, comes=comes)


def _estimated(found: Silent, row: pd.Series, metric: str, mean: float) -> pd.DataFrame:
    """Return the weighted estimates a conclusion is of, the one whose mean is drawn first."""
    period = "change" if row["conclusion"] == "change" else found.waves
    rows = found.estimates[(found.estimates["period"] == period) & (found.estimates["metric"] == metric)]
    rows = rows[(rows["estimator"] != "raw") & rows["se"].notna()] if (rows["estimator"] != "raw").any() else rows
    own = float(row["difference"]) if period == "change" else mean
    return rows.iloc[(rows["value"] - own).abs().argsort(kind="stable").to_numpy()]


def _told(told: pd.DataFrame, unit: str, language: Language) -> str:
    """Write an estimate with its range, and where the others run to further, their range too."""
    low, high = told["low"].to_numpy(dtype=float), told["high"].to_numpy(dtype=float)
    shape = form(unit, language, like=(*low, *high), step=_step(low, high))
    values = {"value": shape.number(float(told["value"].iloc[0])), "range": shape.span(low[0], high[0])}
    if low.min() < low[0] or high.max() > high[0]:
        return say("figure.silence.tip.others", language, spread=shape.span(low.min(), high.max()), **values)
    return say("figure.silence.tip.range", language, **values)


def response(found: Silent, ax: Axes, *, language: Language = "en") -> Axes:
    """Draw the share who answered by tenth of the answer foreseen, now and before, with 90% intervals.

    Args:
        found: The estimates.
        ax: Where to draw.
        language: Of the labels.
    """
    rows = found.mechanism
    if rows.empty:
        return unsaid(ax, say("figure.silence.no_response", language), language)
    series = (("before", found.before, -0.12, MUTED), ("", found.waves, 0.12, GAIN))
    for suffix, label, shift, colour in series:
        asked, rate = (rows[f"{name}_{suffix}".rstrip("_")].to_numpy(dtype=float) for name in ("asked", "rate"))
        told = np.isfinite(rate)
        at = rows["tenth"].to_numpy(dtype=float)[told] + shift
        ends = [wilson_interval(p, n, level=LEVEL) for p, n in zip(rate[told], asked[told], strict=True)]
        ax.vlines(at, [low for low, _ in ends], [high for _, high in ends], color=colour, linewidth=1.8, alpha=0.6)
        ax.plot(at, rate[told], "o", color=colour, markersize=5, linestyle="none", label=label)
    ax.set_xticks(rows["tenth"])
    ax.set_ylim(0, None)
    label_ticks(ax, "share", language, "y", ticks=5)
    ax.set_xlabel(say("figure.silence.tenth", language))
    ax.set_ylabel(wrapped(say("figure.silence.rate", language), 24))
    ax.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=2, frameon=False, fontsize=SMALL, borderaxespad=0)
    sns.despine(ax=ax)
    return with_faces(ax, language)


def gaps(found: Silent, ax: Axes, *, language: Language = "en") -> Axes:
    """Draw how those who answered differ, after weighting, from everybody in facts that are known of everybody.

    Args:
        found: The estimates.
        ax: Where to draw.
        language: Of the labels.
    """
    rows = found.benchmarks
    if rows.empty:
        return unsaid(ax, say("figure.silence.no_benchmarks", language), language)
    places = np.arange(len(rows), dtype=float)
    ax.axvspan(-HARMLESS, HARMLESS, color=BAND, linewidth=0, zorder=0, label=say("figure.silence.harmless", language))
    ax.hlines(places, rows["low"], rows["high"], color=GAIN, linewidth=2.2)
    ax.plot(
        rows["gap_unweighted"], places, "o", color=MUTED, markerfacecolor="white", markersize=6, linestyle="none",
        label=say("figure.silence.unweighted", language),
    )  # fmt: skip
    label = say("figure.silence.weighted", language)
    ax.plot(rows["gap"], places, "o", color=GAIN, markersize=6, linestyle="none", label=label)
    name_rows(ax, [fact_name(str(name), language) for name in rows["fact"]])
    label_ticks(ax, "number", language, "x", signed=True)
    ax.set_xlabel(say("figure.silence.sd", language), loc="left")
    ax.axvline(0, color=INK, linewidth=0.9)
    ax.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=3, frameon=False, fontsize=SMALL, borderaxespad=0)
    sns.despine(ax=ax, left=True)
    return with_faces(ax, language)


def late(found: Silent, ax: Axes, *, language: Language = "en") -> Axes:
    """Draw the score from those who answered at once to those who answered late, and on to those who never did.

    Args:
        found: The estimates.
        ax: Where to draw.
        language: Of the labels.
    """
    rows = found.resistance
    if rows.empty:
        return unsaid(ax, say("figure.silence.no_late", language), language)
    steps = rows[rows["step"] != "silent"]
    silent = rows.loc[rows["step"] == "silent", "value"].to_numpy(dtype=float)
    at, value = np.arange(len(steps), dtype=float), steps["value"].to_numpy(dtype=float)
    reach = NORMAL_90 * steps["se"].to_numpy(dtype=float)
    ax.vlines(at, value - reach, value + reach, color=GAIN, linewidth=2)
    ax.plot(at, value, "o", color=GAIN, markersize=6, linestyle="none")
    ax.plot([len(steps)], silent, "D", color=INK, markerfacecolor="white", markersize=7, markeredgewidth=1.5)
    order = "reminders" if "reminders_from" in steps and steps["reminders_from"].notna().all() else "days"
    ends = zip(steps[f"{order}_from"], steps[f"{order}_to"], strict=True)
    names = [f"{first:.0f}" if first == last else f"{first:.0f}–{last:.0f}" for first, last in ends]
    ax.set_xticks([*at, len(steps)], [*names, say("figure.silence.never", language)])
    ax.set_xlim(-0.5, len(steps) + 0.5)
    ax.set_xlabel(say(f"figure.silence.{order}", language))
    metric = str(found.estimates["metric"].iloc[0])
    label_ticks(ax, unit_of(str(found.estimates["unit"].iloc[0])), language, "y", ticks=5)
    ax.set_ylabel(_metric(metric, language))
    sns.despine(ax=ax)
    return with_faces(ax, language)


def fact_name(fact: str, language: Language) -> str:
    """Return what a fact is called; a kind that only the study names, as the study calls it."""
    key = f"silence.fact.{fact}"
    if key in catalogue():
        return say(key, language)
    kind, _, name = fact.partition("_")
    of = f"silence.fact.of.{kind}"
    return say(of, language, name=name.replace("_", " ")) if name and of in catalogue() else fact


def _metric(metric: str, language: Language) -> str:
    return say(f"metrics.{metric}", language)


def _times(odds: float) -> str:
    return f"{odds:.2g}" if odds < 9.95 else f"{odds:.0f}"


def _step(low: np.ndarray, high: np.ndarray) -> float:
    steps = [step_of(float(left), float(right)) for left, right in zip(low, high, strict=True)]
    return min((step for step in steps if step), default=0.0)
