"""The answer of a scorecard in a few sentences: where it stands, whether it moved, where it is worst, what to do."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from rox.core.check import Check
from rox.core.study import Scale
from rox.core.words import Language, say
from rox.numerics.arrays import Floats
from rox.reporting.experience_figures import POINT, unit_of
from rox.reporting.numbers import count, form, probability, step_of
from rox.reporting.scorecard_tables import Shown, points, ranged

SURE = 0.8
"""Probability from which one segment is called the worst."""
WIDER = 2.0
"""Times the width of the interval from which what the silent could change is the largest doubt."""
DRAWS, SEED = 40_000, 1


class Now(Protocol):
    """What is needed of where things stand."""

    @property
    def period(self) -> str:
        """What the figures are of."""

    @property
    def headline(self) -> pd.DataFrame:
        """Figures over everybody."""

    @property
    def by_segment(self) -> pd.DataFrame:
        """Scores by segment."""


class Change(Protocol):
    """What is needed of a change."""

    @property
    def first(self) -> str:
        """The earlier period."""

    @property
    def second(self) -> str:
        """The later one."""

    @property
    def bridge(self) -> pd.DataFrame:
        """Its parts by ``term``."""


class Unheard(Protocol):
    """What is needed of a score that was estimated for everybody."""

    @property
    def waves(self) -> str:
        """The waves looked at."""

    @property
    def estimates(self) -> pd.DataFrame:
        """By period and estimator."""

    @property
    def bounds(self) -> pd.DataFrame:
        """Ranges by kind."""


def answer(
    now: Now, moved: Change | Check, silent: Unheard | Check, *, score: str, scale: Scale, language: Language = "en"
) -> Shown:
    """Say in three to five sentences what a scorecard found.

    Args:
        now: Where things stand.
        moved: The change, or why there is none.
        silent: What those who did not answer could change, or why that cannot be told.
        score: The question.
        scale: Its scale.
        language: Of the sentences.
    """
    return points(sentences(now, moved, silent, score=score, scale=scale, language=language))


def sentences(
    now: Now, moved: Change | Check, silent: Unheard | Check, *, score: str, scale: Scale, language: Language = "en"
) -> list[str]:
    """Return the sentences of :func:`answer`: level, change, worst segment, how far off, next step."""
    level, segments = (_own(frame, score, scale) for frame in (now.headline, now.by_segment))
    found = [_level(level, now.period, language), _change(moved, language)]
    told = segments[segments["value"].notna() & (segments["se"] > 0)]
    worse = 1.0 if scale.higher_is_better or scale.kind == "nps" else -1.0
    told = told.assign(turned=worse * told["value"]).sort_values("turned", kind="stable")
    chance = float(lowest(told["turned"], told["se"])[0]) if len(told) > 1 else float("nan")
    found.append(_worst(told, chance, now.period, worse, language))
    found.append(silent.sentence(language) if isinstance(silent, Check) else _off(silent, language))
    found.append(_next(level, told, chance, silent, language))
    return [each for each in found if each]


def lowest(value: ArrayLike, se: ArrayLike) -> Floats:
    """Return the probability of each true value to be the lowest, from estimates with normal errors and a flat prior.

    Args:
        value: (g,) estimates.
        se: (g,) their standard errors.

    Returns:
        (g,) probabilities, which add up to one; from draws with a fixed seed, so to about 0.003.
    """
    means, errors = np.asarray(value, dtype=float), np.asarray(se, dtype=float)
    drawn = means + errors * np.random.default_rng(SEED).standard_normal((DRAWS, means.size))
    return np.bincount(drawn.argmin(axis=1), minlength=means.size) / DRAWS


def _own(frame: pd.DataFrame, score: str, scale: Scale) -> pd.DataFrame:
    rows = frame[frame["score"] == score]
    metric = POINT.get(scale.kind, "")
    return rows[rows["metric"] == metric] if metric else rows.drop_duplicates([*rows.columns[:2]])


def _level(rows: pd.DataFrame, period: str, language: Language) -> str:
    if rows.empty or not np.isfinite(rows["value"].iloc[0]):
        return say("scorecard.answer.now.hidden", language, period=period)
    row = rows.iloc[0]
    words = {"metric": say(f"metrics.{row['metric']}", language), "n": count(float(row["n"]), language)}
    return say("scorecard.answer.now", language, period=period, value=ranged(row, language), **words)


def _change(moved: Change | Check, language: Language) -> str:
    if isinstance(moved, Check):
        return moved.sentence(language)
    terms = moved.bridge["term"]
    change, rate = (moved.bridge[terms == term].iloc[0] for term in ("change", "rate"))
    if not np.isfinite(change["value"]):
        return ""
    words = {"first": moved.first, "second": moved.second, "change": ranged(change, language, signed=True)}
    if change["low"] <= 0 <= change["high"]:
        return say("scorecard.answer.still", language, **words)
    shape = form(
        unit_of(str(change["unit"])), language, like=(change["value"],), step=step_of(change["low"], change["high"]),
        signed=True,
    )  # fmt: skip
    mixed = float(moved.bridge.loc[terms == "mix", "value"].sum())
    words |= {"rate": shape(float(rate["value"])), "mix": shape(mixed)}
    return say(f"scorecard.answer.{'rose' if change['value'] > 0 else 'fell'}", language, **words)


def _worst(told: pd.DataFrame, chance: float, period: str, worse: float, language: Language) -> str:
    if len(told) < 2:
        return say("scorecard.answer.no_lowest", language, period=period)
    row = told.iloc[0]
    key = "lowest" if worse > 0 else "highest"
    return say(
        f"scorecard.answer.{key}", language, period=period, segment=row["segment"], value=ranged(row, language),
        count=len(told), chance=probability(chance, language),
    )  # fmt: skip


def _bounds(silent: Unheard) -> tuple[str, dict[str, tuple[float, float]]]:
    metric = str(silent.estimates["metric"].iloc[0])
    own = silent.bounds[silent.bounds["metric"] == metric]
    ends = {str(kind): (float(a), float(b)) for kind, a, b in zip(own["kind"], own["low"], own["high"], strict=True)}
    return unit_of(str(silent.estimates["unit"].iloc[0])), ends


def _off(silent: Unheard, language: Language) -> str:
    unit, ends = _bounds(silent)
    if not {"spread", "worst_case"} <= set(ends):
        return ""
    spread, worst = ends["spread"], ends["worst_case"]
    shape = form(unit, language, like=(*spread, *worst), step=step_of(*spread))
    return say(
        "scorecard.answer.off", language, waves=silent.waves, spread=shape.span(*spread), worst=shape.span(*worst)
    )


def _next(level: pd.DataFrame, told: pd.DataFrame, chance: float, silent: Unheard | Check, language: Language) -> str:
    if len(told) > 1 and chance >= SURE:
        return say("scorecard.answer.next.segment", language, segment=told["segment"].iloc[0])
    if not isinstance(silent, Check) and len(level):
        low, high = _bounds(silent)[1].get("spread", (0.0, 0.0))
        if high - low > WIDER * float(level["high"].iloc[0] - level["low"].iloc[0]):
            return say("scorecard.answer.next.silent", language)
    if len(told) > 1:
        first, second = told["segment"].iloc[:2]
        return say("scorecard.answer.next.more", language, segment=first, other=second)
    return ""
