"""A case that switches on every optional part, and the effects that go with it."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd

from rox.core.case import Case
from rox.core.check import Grade
from rox.core.effect import Effect
from rox.core.estimand import Question
from rox.core.units import Dose, Unit

from .conftest import case_of, effect_of, said

ABOUT: dict[str, object] = {
    "name": "small", "title": "Small", "decision": "do it", "currency": "CNY", "start": "2026-01-01",
    "horizon": 24, "effects": ["uplift", "claimed"], "explained_by": ["churn", "panel"], "margin_basis": "book",
    "in_budget_from": 30,
}  # fmt: skip
PARTS: dict[str, object] = {
    "finance": {
        "discount": said(low=0.06, likely=0.08, high=0.10), "tax": said(value=0.25), "hurdle": said(value=0.10),
        "capital": said(value=0.002), "reinvest": said(value=0.05), "overrun": said(between=[1.0, 1.3]),
    },
    "inflow": said(low=0.5, likely=0.7, high=0.9),
    "lift": said(value=0.8, unit="score_point"),
    "referral": {
        "per": "score_point", "rate": said(between=[0.05, 0.10]), "response": said(value=0.1),
        "conversion": said(low=0.1, likely=0.2, high=0.3), "displacement": said(low=0.2, likely=0.4, high=0.6),
        "value": said(value=300), "reward": said(value=30), "second": said(value=0.1),
    },
    "contacts": {
        "rate": said(between=[2, 4]), "change": said(value=-0.05), "cost": said(value=12),
        "avoidable": said(low=0.1, likely=0.3, high=0.5),
    },
    "terminal": {"months": 12, "owner": "Finance", "source": "Plan", "date": "2025-12-31"},
    "policy": {
        "risk_aversion": 0.5, "enough": 0.7, "payback_months": 12, "owner": "Board", "source": "Minutes",
        "date": "2025-12-31",
    },
    "correlation": [
        {"between": ["contacts.rate", "referral.rate"], "rank": 0.6, **said()},
        {"between": ["inflow", "contacts.rate"], "rank": -0.3, **said()},
    ],
}  # fmt: skip


def everything(**changes: object) -> Case:
    """Make the case."""
    return case_of(**{"case": ABOUT, **PARTS, **changes})


def among_leavers(mean: float = -0.15, sd: float = 0.03, **changes: object) -> Effect:
    """Make an effect on leaving, per score point."""
    return effect_of(
        mean, sd, name="churn", question=Question.HAZARD, dose=Dose.SCORE_POINT, unit=Unit.LOG_HAZARD,
        channels=frozenset({"retention"}), contrast="ratio", **changes,
    )  # fmt: skip


def among_stayers(mean: float = 0.02, sd: float = 0.005, **changes: object) -> Effect:
    """Make an effect on the money of those who stay, per score point."""
    return effect_of(
        mean, sd, name="panel", question=Question.SUSTAINED, dose=Dose.SCORE_POINT, includes_exit=False,
        channels=frozenset({"expansion"}), **changes,
    )  # fmt: skip


def claimed(mean: float = 0.05) -> Effect:
    """Make a claim about a channel of its own."""
    return effect_of(mean, 0.01, name="claimed", grade=Grade.E, channels=frozenset({"acquisition"}))


def with_split(effect: Effect, staying: float = 0.01, kept: float = 0.008) -> Effect:
    """Give an effect a table of its own that says what was kept."""
    table = pd.DataFrame(
        {"effect": 0.04, "staying": staying, "staying_se": 0.002, "kept_part": kept, "rest": 0.04 - kept},
        index=[*effect.groups, "all"],
    )
    return replace(effect, tables={"components": table})


def all_effects() -> list[Effect]:
    """Make what is priced, what explains, and what is only claimed."""
    return [effect_of(0.04, 0.02), claimed(), among_leavers(), among_stayers()]


SMALL = {"draws": 400, "rng": 3}
