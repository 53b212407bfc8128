"""Which assumption to doubt first: how well each is founded, times how far it moves the answer."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import pandas as pd

from rox.core.check import Grade
from rox.core.ledger import Input, label
from rox.core.returns import Return
from rox.core.words import LANGUAGES, Language, say
from rox.reporting.materiality import LEVELS, Level

Reason = Literal["declared", "measured", "document", "judgement", "grade"]
HIGH, MEDIUM = 0.25, 0.10
"""Shares of the 90% range of NPV from which a swing counts as high and as medium."""
NUDGE = 0.10
"""An input without a range is moved by this share of its value."""
STALE = 366
"""Days before the start of the case after which a number loses one step of quality."""
SEVERE, SERIOUS = 6, 3


@dataclass(frozen=True, kw_only=True)
class Risk:
    """One factor of the tornado, or one input that does not move NPV, with its risk.

    Attributes:
        members: Inputs of the ledger that move together.
        labels: What it is called, by language.
        quality: How well it is founded.
        reason: What the quality was read from.
        is_stale: Whether it lost a step because it is old.
        swing: By how much NPV moves, in money.
        share: The same as a share of the 90% range of NPV.
        impact: Step of that share.
        rating: Risk: quality, counted 1 (high) to 3 (low), times impact, counted 1 (low) to 3 (high).
    """

    members: tuple[Input, ...]
    labels: dict[Language, str]
    quality: Level
    reason: Reason
    is_stale: bool
    swing: float
    share: float
    impact: Level
    rating: Level


def risks(money: Return) -> tuple[Risk, ...]:
    """Rate every input of the ledger but the constants; inputs that move together are rated once. The worst first."""
    found = [*_rated(money)]
    return tuple(sorted(found, key=lambda each: (-LEVELS.index(each.rating), -each.share)))


def risk_of(each: Input, found: tuple[Risk, ...]) -> Risk:
    """Return the rating of an input."""
    return next(risk for risk in found if any(member.name == each.name for member in risk.members))


def quality_said(each: Risk, language: Language) -> str:
    """Say how well a number is founded, and what that was read from."""
    reason = say(f"risk.reason.{each.reason}", language) + (say("risk.stale", language) if each.is_stale else "")
    return say("risk.quality.said", language, level=say(f"level.{each.quality}", language), reason=reason)


def mitigation_said(each: Risk, language: Language) -> str:
    """Say what would lower the risk, and who could do it."""
    return say(f"risk.mitigate.{_mitigation(each)}", language, owner=each.members[0].owner)


def _mitigation(each: Risk) -> str:
    if each.rating == "low":
        return "none"
    if each.is_stale:
        return "renew"
    if each.members[0].kind == "estimate":
        return "better_design"
    return "document" if each.reason == "judgement" else "narrow"


def _rated(money: Return) -> Iterator[Risk]:
    rows = money.tornado.set_index("name")
    factors: dict[str, list[Input]] = {}
    for each in money.ledger.inputs:
        if each.kind != "constant":
            factors.setdefault(_factor(each.name, rows), []).append(each)
    reach = abs(money.decision.high - money.decision.low)
    npv = abs(float(money.point["npv"][0]))
    for name, members in factors.items():
        swing = _swing(rows, name, npv) if name in rows.index else 0.0
        share = swing / reach if reach > 0 else float(swing > 0)
        quality, reason = _quality(members[0], money)
        old = _is_stale(members[0], money)
        standing = LEVELS[max(0, LEVELS.index(quality) - old)]
        impact = _step(share, (MEDIUM, HIGH))
        product = (3 - LEVELS.index(standing)) * (1 + LEVELS.index(impact))
        yield Risk(
            members=tuple(members),
            labels={each: _label(name, members, rows, each) for each in LANGUAGES},
            quality=standing,
            reason=reason,
            is_stale=old,
            swing=swing,
            share=share,
            impact=impact,
            rating=_step(product, (SERIOUS, SEVERE)),
        )


def _factor(name: str, rows: pd.DataFrame) -> str:
    """Return the row of the tornado that an input belongs to: its own, or that of its effect."""
    parent = name.rpartition("_")[0]
    return parent if name not in rows.index and parent in rows.index else name


def _label(name: str, members: list[Input], rows: pd.DataFrame, language: Language) -> str:
    if len(members) > 1 and name in rows.index:
        return str(rows.loc[name, language])
    return label(members[0].word, language, members[0].group, members[0].text)


def _swing(rows: pd.DataFrame, name: str, npv: float) -> float:
    """Return the swing between the 10% and the 90% value; without a range, what a tenth of the value moves."""
    swing, elasticity = (float(rows[column].to_dict()[name]) for column in ("swing", "sensitivity"))
    has_range = rows["low"].to_dict()[name] < rows["high"].to_dict()[name]
    return swing if has_range or math.isnan(elasticity) else max(swing, abs(elasticity) * NUDGE * npv)


def _quality(each: Input, money: Return) -> tuple[Level, Reason]:
    """Read the quality from the case, from the grade of the evidence, or else from the kind of source."""
    if each.kind == "estimate":
        grade = next((effect.grade for effect in money.effects if effect.name == each.place), money.grade)
        return ("high" if grade.is_causal else "medium" if grade is Grade.C else "low"), "grade"
    declared = getattr(dict(money.case.register()).get(each.place), "quality", None)
    if declared is not None:
        return declared, "declared"
    if _speaks_of("judgement", each.source):
        return "low", "judgement"
    return ("high", "measured") if _speaks_of("measured", each.source) else ("medium", "document")


def _speaks_of(kind: str, source: str) -> bool:
    """Look for the words of a kind of source, in either language; a measurement says so at the beginning."""
    words = "|".join(say(f"risk.words.{kind}", language) for language in LANGUAGES)
    found = re.search(words, source.strip(), flags=re.IGNORECASE)
    return found is not None and (kind != "measured" or found.start() == 0)


def _is_stale(each: Input, money: Return) -> bool:
    return each.date is not None and (money.case.about.start - each.date).days > STALE


def _step(value: float, limits: tuple[float, float]) -> Level:
    return LEVELS[sum(value >= limit for limit in limits)]
