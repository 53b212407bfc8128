"""A small case and an effect whose value can be worked out by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from rox.core.case import Case
from rox.core.check import Grade
from rox.core.effect import Effect
from rox.core.estimand import Estimand, Question
from rox.core.units import Dose, Unit


def said(**number: object) -> dict[str, object]:
    return {"owner": "Finance", "source": "Plan", "date": "2025-12-31", **number}


def case_of(**changes: object) -> Case:
    content: dict[str, object] = {
        "case": {
            "name": "small", "title": "Small", "decision": "do it", "currency": "CNY", "start": "2026-01-01",
            "horizon": 24, "effects": ["uplift", "panel", "churn", "gap", "level"],
        },
        "people": {"a": said(value=1000), "b": said(value=100)},
        "balance": {"a": said(value=10_000), "b": said(value=200_000)},
        "margin": {"all": said(value=0.012)},
        "attrition": {"all": said(value=0.10)},
        "timing": {"ramp": said(value=6), "half_life": said(value=24)},
        "finance": {"discount": said(value=0.08), "tax": said(value=0.25), "hurdle": said(value=0.10)},
        "costs": {"works": said(value=5_000, months=[0], label="Works")},
    }  # fmt: skip
    return Case.model_validate({**content, **changes})


def effect_of(
    mean: float = 0.04, sd: float = 0.0, *, name: str = "uplift", grade: Grade = Grade.B, **changes: object
) -> Effect:
    estimand = {
        "question": Question.INITIATIVE, "population": "p", "treatment": "t", "dose": Dose.INITIATIVE, "outcome": "aum",
        "unit": Unit.RATIO, "horizon": 11, "includes_exit": True, "channels": frozenset({"retention", "expansion"}),
    }  # fmt: skip
    noise = np.random.default_rng(0).standard_normal((4000, 1))
    return Effect(
        name=name,
        estimand=Estimand(**{**estimand, **changes}),  # type: ignore[arg-type]
        groups=("a", "b"),
        draws=np.repeat(mean + sd * noise, 2, axis=1) + 1e-9 * np.arange(4000)[:, None],
        shares=np.array([1000, 100]) / 1100,
        baseline=pd.DataFrame({"customers": 1.0, "money": 1.0, "exit_hazard": 0.01}, index=["a", "b"]),
        grade=grade,
        specification="made by hand",
        fingerprint="f",
    )


@pytest.fixture
def case() -> Case:
    """The small case."""
    return case_of()
