"""Portfolios of small cases whose joint value can be worked out by hand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rox.core.case import Case
from rox.core.effect import Effect
from rox.core.estimand import Question
from rox.core.portfolio import Portfolio, portfolio_of
from rox.core.units import Dose, Unit

from .conftest import case_of, effect_of, said


def initiative_case(key: str, *, effects: tuple[str, ...] = ("uplift",), **changes: object) -> Case:
    """The small case under another name, with a decision of its own."""
    about = {
        "name": key, "title": f"Title of {key}", "decision": f"do {key}", "currency": "CNY", "start": "2026-01-01",
        "horizon": 24, "effects": list(effects),
    }  # fmt: skip
    return case_of(**{"case": about, **changes})


def per_point(sd: float = 0.0, name: str = "panel", mean: float = 0.04, unit: Unit = Unit.RATIO) -> Effect:
    """An effect per score point that a lift multiplies."""
    question = Question.HAZARD if unit is Unit.LOG_HAZARD else Question.SUSTAINED
    channels = frozenset({"retention"}) if unit is Unit.LOG_HAZARD else frozenset({"expansion"})
    return effect_of(
        mean, sd, name=name, dose=Dose.SCORE_POINT, question=question, unit=unit, channels=channels,
        contrast="ratio" if unit is Unit.LOG_HAZARD else "additive",
    )  # fmt: skip


def portfolio_content(keys: tuple[str, ...], overlap: float | dict[str, Any] = 0.0, **changes: Any) -> dict[str, Any]:
    """What the file would say: two scales each, no response below one, plenty of money and room."""
    share = said(value=overlap) if isinstance(overlap, float) else said(**overlap)
    return {
        "portfolio": {"name": "small", "title": "Small", "decision": "which of them", "currency": "CNY"},
        "budget": said(value=1e9),
        "risk_aversion": said(value=0),
        "ceiling": {"today": said(value=7), "best": said(value=8)},
        "initiatives": {
            key: {
                "case": f"{key}.toml",
                "response": said(value=1),
                "scales": {"half": said(value=0.5, label="half"), "full": said(value=1, label="full")},
            }
            for key in keys
        },
        "overlaps": {"rest": share},
        **changes,
    }


def small_portfolio(cases: Mapping[str, Case], overlap: float | dict[str, Any] = 0.0, **changes: Any) -> Portfolio:
    """Put cases together."""
    return portfolio_of(portfolio_content(tuple(cases), overlap, **changes), cases)


def lifted(value: float) -> dict[str, object]:
    """A lift in score points."""
    return said(value=value, unit="score_point")
