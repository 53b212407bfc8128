"""Figures of drivers: what goes with a score, how sure the ranks are, and where improvement would count."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.patches import Ellipse
from numpy.typing import NDArray

from rox.core.study import Scale
from rox.core.units import Unit
from rox.core.words import Language, catalogue, say
from rox.reporting.figures import SMALL, label_ticks, name_rows
from rox.reporting.numbers import probability
from rox.reporting.svg import BAND, GAIN, INK, LOSS, MUTED, with_faces

RECORDED = ("event", "topic")
"""Kinds of drivers that nobody was asked about."""
ANY = "*"
BACK: Mapping[str, Any] = MappingProxyType({"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 0.8})
"""Behind words, so that a line does not strike them out."""
GAP = 12.0
"""Points between the lines of names."""
JOINT = 2.146
"""Standard errors within which a pair of normal numbers lies with 90% probability."""
SURE = 0.8
"""Probability from which a quadrant's colour is worn."""
NORMAL_90 = 1.645
UNITS: Mapping[str, str] = {Unit.MONEY_PER_CUSTOMER: "money", Unit.RATIO: "share"}
QUADRANTS: Mapping[str, str] = {"improve": LOSS, "keep": GAIN, "watch": MUTED, "enough": MUTED, "open": INK}


def names(scales: Mapping[str, Scale], drivers: Iterable[str], language: Language = "en") -> dict[str, str]:
    """Say what drivers and pillars are called: ratings as the study does, recorded facts by kind and topic.

    Args:
        scales: The study's drivers.
        drivers: Names as in ``drivers(…).table`` or ``….pillars``.
        language: Of the names.
    """
    pillars = {scale.pillar.en: scale.pillar[language] for scale in scales.values() if scale.pillar is not None}
    pillars |= {name: say(key, language) for name in pillars if (key := f"pillar.{name}") in catalogue()}
    return {name: _name(name, scales, pillars, language) for name in drivers}


def _name(name: str, scales: Mapping[str, Scale], pillars: Mapping[str, str], language: Language) -> str:
    if name in scales:
        return scales[name].label[language]
    kind, _, what = name.partition("_")
    if kind == "events":
        return say("figure.drivers.event", language, kind=_spaced(what))
    if kind == "topic":
        of, slash, topic = what.partition("/") if "/" in what else (ANY, "", what)
        topic = scales[topic].label[language] if topic in scales else _spaced(topic)
        if not slash or of == ANY:
            return say("figure.drivers.topic", language, topic=topic)
        return _spaced(of) if topic == ANY else say("figure.drivers.message", language, kind=_spaced(of), topic=topic)
    return pillars.get(name, name)


def _spaced(text: str) -> str:
    return text.replace("_", " ")


def importance(
    table: pd.DataFrame, ax: Axes, *, labels: Mapping[str, str] | None = None, language: Language = "en"
) -> Axes:
    """Draw each driver's share of what explains the score, with its range and its probability of being the first.

    Round marks are ratings of the survey, or pillars of them; square ones what the company recorded by itself.

    Args:
        table: ``drivers(…).table``, or ``drivers(…).pillars``.
        ax: Where to draw; says so where there is nothing to compare.
        labels: What drivers are called; their names by default.
        language: Of the labels.
    """
    if table.empty:
        return _nothing(ax, language)
    places = np.arange(len(table), dtype=float)
    share, low, high = (table[name].to_numpy(dtype=float) for name in ("share", "low", "high"))
    recorded = table["kind"].isin(RECORDED).to_numpy()
    for part, mark, colour, name in ((~recorded, "o", GAIN, "rated"), (recorded, "s", INK, "recorded")):
        if part.any():
            ax.barh(places[part], share[part], height=0.6, color=BAND)
            ax.hlines(places[part], low[part], high[part], color=colour, linewidth=2.4)
            said = say(f"figure.drivers.{name}", language)
            ax.plot(share[part], places[part], mark, color=colour, markersize=5, label=said)
    end = 1.30 * float(max(high.max(), 0.01))
    for place, (right, first) in enumerate(zip(high, table["p_first"], strict=True)):
        text = say("figure.drivers.first", language, p=probability(float(first), language))
        ax.annotate(text, (right, place), (6, 0), textcoords="offset points", va="center", fontsize=SMALL, color=MUTED)
    name_rows(ax, pd.Series(_called(table["driver"], labels)))
    ax.set_xlim(0, end)
    label_ticks(ax, "share", language, "x")
    ax.set_xlabel(say("figure.drivers.share", language))
    ax.axvline(0, color=INK, linewidth=0.9)
    if recorded.any():
        ax.legend(loc="lower right", frameon=False, fontsize=SMALL)
    sns.despine(ax=ax, left=True)
    return with_faces(ax, language)


def quadrant(
    table: pd.DataFrame,
    ax: Axes,
    *,
    money: pd.DataFrame | None = None,
    labels: Mapping[str, str] | None = None,
    language: Language = "en",
) -> Axes:
    """Draw how good each rated part is against how much it matters, with ellipses that hold both with 90% probability.

    How much it matters is its share of the score's variance; or the money that goes with it, where an effect of the
    score on money is at hand: then lines are the 90% ranges of each, and what is money itself is only named. Dashes are
    the cuts. Only parts whose quadrant is sure (probability 0.8) wear its colour; the others are drawn in ink.

    Args:
        table: ``drivers(…).quadrant``.
        ax: Where to draw; says so where no parts are rated.
        money: What :func:`rox.models.driver_chain.driver_money` returns for moves by ``table["tenth"]``.
        labels: What drivers are called; their names by default.
        language: Of the labels.
    """
    if table.empty:
        return _nothing(ax, language)
    given, (y, tall, colours, unit, currency) = table, _heights(table, money)
    is_drawn = np.isfinite(y)
    if not is_drawn.any():
        return _nothing(ax, language)
    table, y, tall, colours = table[is_drawn], y[is_drawn], tall[:, is_drawn], list(np.array(colours)[is_drawn])
    times = JOINT if money is None else NORMAL_90
    x, wide = table["performance"].to_numpy(dtype=float), times * table["performance_se"].to_numpy(dtype=float)
    _draw_points(ax, table, (x, y), (wide, tall), colours, is_joint=money is None)
    cut = float(table["cut"].iloc[0])
    ax.axhline(y.mean(), color=MUTED, linewidth=0.9, linestyle=(0, (3, 2)))
    ax.axvline(cut, color=MUTED, linewidth=0.9, linestyle=(0, (3, 2)))
    ends = [*(x - wide), *(x + wide), cut]
    reach = float(np.ptp(ends)) or 1.0
    ax.set_xlim(min(ends) - 0.10 * reach, max(ends) + 0.50 * reach)
    tallest = float(np.ptp([*(y - tall[0]), *(y + tall[1])])) or 1.0
    ax.set_ylim(min(y - tall[0]) - 0.10 * tallest, max(y + tall[1]) + 0.18 * tallest)
    _name_points(ax, _called(table["driver"], labels), x, y, x + wide)
    _name_corners(ax, language)
    label_ticks(ax, unit, language, "y", currency=currency)
    of_scale = bool(table["of_scale"].iloc[0])
    if of_scale:
        label_ticks(ax, "share", language, "x")
    ax.set_xlabel(say("figure.drivers.performance_of_scale" if of_scale else "figure.drivers.performance", language))
    ax.set_ylabel(_what_it_is_worth(money, language))
    ax.set_title(
        _title(money, _called(given["driver"][~is_drawn], labels), language), fontsize=SMALL, color=MUTED, loc="left"
    )
    sns.despine(ax=ax)
    return with_faces(ax, language)


def _draw_points(
    ax: Axes,
    table: pd.DataFrame,
    points: tuple[NDArray[np.float64], NDArray[np.float64]],
    ranges: tuple[NDArray[np.float64], NDArray[np.float64]],
    colours: Sequence[str],
    *,
    is_joint: bool,
) -> None:
    """Draw points with their ellipses, or with a range across and one down and up."""
    (x, y), (wide, tall) = points, ranges
    for place, colour in enumerate(colours):
        if is_joint:
            ax.plot(x[place], y[place], "o", color=colour, markersize=6)
            ax.add_patch(_ellipse(table.iloc[place], colour))
        else:
            ends = tall[:, [place]]
            ax.errorbar(x[place], y[place], ends, wide[place], fmt="o", color=colour, markersize=6, linewidth=1.2)


def _name_corners(ax: Axes, language: Language) -> None:
    corners = {"improve": (0.01, 0.98, "left", "top"), "keep": (0.99, 0.98, "right", "top")}
    corners |= {"watch": (0.01, 0.02, "left", "bottom"), "enough": (0.99, 0.02, "right", "bottom")}
    for key, (across, up, ha, va) in corners.items():
        text = say(f"figure.drivers.{key}", language)
        ax.text(across, up, text, transform=ax.transAxes, ha=ha, va=va, fontsize=SMALL, color=MUTED, bbox=dict(BACK))


def _title(money: pd.DataFrame | None, left_out: Sequence[str], language: Language) -> str:
    """Say what ranges hold, how far money can be believed, and which drivers are money themselves."""
    if money is None:
        return say("figure.drivers.ellipses", language)
    grade = money.loc[money["value"].notna(), "grade"].max()
    told = say("figure.drivers.association", language, grade=grade)
    own = say("figure.drivers.own_money", language, drivers=", ".join(left_out))
    return f"{told}\n{own}" if left_out else told


def _ellipse(row: pd.Series[Any], colour: str) -> Ellipse:
    """Return where performance and importance lie together with 90% probability."""
    across, up = float(row["performance_se"]), float(row["importance_se"])
    together = float(row["correlation"]) * across * up
    values, vectors = np.linalg.eigh([[across**2, together], [together, up**2]])
    wide, tall = 2 * JOINT * np.sqrt(np.maximum(values, 0.0))
    angle = float(np.degrees(np.arctan2(vectors[1, 0], vectors[0, 0])))
    middle = (float(row["performance"]), float(row["importance"]))
    return Ellipse(middle, wide, tall, angle=angle, edgecolor=colour, facecolor="none", linewidth=1.2)


def _name_points(
    ax: Axes, called: list[str], x: NDArray[np.float64], y: NDArray[np.float64], right: NDArray[np.float64]
) -> None:
    """Write names to the right of what is drawn; those that would lie on each other are moved apart."""
    tall = ax.get_window_extent().height * 72 / ax.figure.dpi
    low, high = ax.get_ylim()
    width = float(np.ptp(ax.get_xlim()))
    at = (y - low) / (high - low) * tall
    taken: list[tuple[float, float]] = []
    for place in np.argsort(at, kind="stable"):
        up = max([float(at[place]) + 7, *(line + GAP for start, line in taken if abs(start - x[place]) < width / 3)])
        taken.append((float(x[place]), up))
        ax.annotate(
            called[place], (right[place], y[place]), (5, up - at[place]), textcoords="offset points", fontsize=SMALL,
            color=INK, va="center", bbox=dict(BACK),
        )  # fmt: skip


def _heights(
    table: pd.DataFrame, money: pd.DataFrame | None
) -> tuple[NDArray[np.float64], NDArray[np.float64], list[str], str, str]:
    """Return how much each part matters, how far its range goes down and up, its colour; the unit and the currency."""
    if money is None:
        tall = JOINT * table["importance_se"].to_numpy(dtype=float)
        colours = [QUADRANTS[each] for each in table["quadrant"]]
        return table["importance"].to_numpy(dtype=float), np.stack([tall, tall]), colours, "share", ""
    rows = money.set_index("driver").loc[list(table["driver"])]
    y, low, high = (rows[name].to_numpy(dtype=float) for name in ("value", "low", "high"))
    sure = table["probability_by_slope"].to_numpy() * rows["p_positive"].to_numpy() >= SURE
    colours = [QUADRANTS[each if is_sure else "open"] for each, is_sure in zip(table["by_slope"], sure, strict=True)]
    unit = UNITS.get(str(rows["unit"].iloc[0]), "number")
    return y, np.stack([np.maximum(y - low, 0), np.maximum(high - y, 0)]), colours, unit, str(rows["currency"].iloc[0])


def _what_it_is_worth(money: pd.DataFrame | None, language: Language) -> str:
    if money is None:
        return say("figure.drivers.share", language)
    unit = UNITS.get(str(money["unit"].iloc[0]), "number")
    key = f"figure.drivers.worth.{unit if unit in ('money', 'share') else 'other'}"
    return say(key, language, months=int(money["months"].iloc[0]))


def _nothing(ax: Axes, language: Language) -> Axes:
    """Say that there is nothing to draw."""
    ax.set_axis_off()
    ax.text(0.0, 0.5, say("figure.drivers.none", language), transform=ax.transAxes, va="center", color=MUTED)
    return with_faces(ax, language)


def _called(names: pd.Series[str], labels: Mapping[str, str] | None) -> list[str]:
    return [str((labels or {}).get(name, name)) for name in names]
