"""Recorded runs of a small case, made without tables."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from rox.core.case import Case
from rox.core.check import Grade
from rox.core.effect import Effect
from rox.core.estimand import Estimand, Question
from rox.core.record import Record
from rox.core.study import Study
from rox.core.units import Dose, Unit
from rox.valuation.value import value

DRAWS = 400


def said(**number: object) -> dict[str, object]:
    return {"owner": "Finance", "source": "Plan", "date": "2025-12-31", **number}


def content_of(**changes: object) -> dict[str, Any]:
    content: dict[str, Any] = {
        "case": {
            "name": "small", "title": {"en": "Small", "zh": "小"}, "decision": "do it", "currency": "CNY",
            "start": "2026-01-01", "horizon": 24, "effects": ["uplift"],
        },
        "people": {"mass": said(value=1000), "gold": said(between=[90, 110])},
        "balance": {"mass": said(value=10_000), "gold": said(between=[180_000, 220_000])},
        "margin": {"all": said(low=0.010, likely=0.012, high=0.014)},
        "attrition": {"all": said(value=0.10)},
        "timing": {"ramp": said(value=6), "half_life": said(between=[18, 30])},
        "finance": {"discount": said(value=0.08), "tax": said(value=0.25), "hurdle": said(value=0.10)},
        "costs": {"works": said(value=5_000, months=[0], label="Works")},
    }  # fmt: skip
    return {**content, **changes}


def effect_of(
    mean: float = 0.04, *, groups: tuple[str, ...] = ("mass", "gold"), seed: int = 0, **changes: Any
) -> Effect:
    estimand = {
        "question": Question.INITIATIVE, "population": "p", "treatment": "t", "dose": Dose.INITIATIVE, "outcome": "aum",
        "unit": Unit.RATIO, "horizon": 11, "includes_exit": True, "channels": frozenset({"retention", "expansion"}),
    }  # fmt: skip
    noise = np.random.default_rng(seed).standard_normal((1000, len(groups)))
    said: dict[str, Any] = {
        "name": "uplift",
        "estimand": Estimand(**estimand),  # type: ignore[arg-type]
        "groups": groups,
        "draws": mean * (1 + 0.2 * noise) * np.linspace(1, 0.5, len(groups)),
        "shares": np.full(len(groups), 1 / len(groups)),
        "baseline": pd.DataFrame({"customers": 1.0, "money": 1.0, "exit_hazard": 0.01}, index=list(groups)),
        "grade": Grade.B,
        "specification": "made by hand",
        "fingerprint": f"f{seed}",
    }
    return Effect(**{**said, **changes})


def study_of(extract: str = "2025-12-31") -> Study:
    return Study.model_validate(
        {
            "study": {"name": "sample", "title": "Sample", "currency": "CNY", "extract": extract},
            "tables": {"customers": {"path": "c.csv", "columns": {"customer": "customer"}}},
            "scores": {"nps": {"column": "nps", "low": 0, "high": 10, "kind": "nps", "label": "nps"}},
            "outcomes": {"aum": {"column": "aum", "kind": "stock", "label": "aum"}},
        }
    )


def recorded(
    folder: Path,
    content: dict[str, Any] | None = None,
    *effects: Effect,
    seed: int = 7,
    draws: int = DRAWS,
    extract: str = "2025-12-31",
    study: Study | None = None,
) -> Path:
    """Value a case as notebook 05 does, and leave its record with the effects beside it."""
    priced = []
    for effect in effects or (effect_of(),):
        path = effect.save(folder / "effects" / f"{effect.name}.npz")
        priced.append(Effect.load(path))
    case = Case.model_validate(content or content_of())
    money = value(priced, case, draws=draws, rng=seed)
    of = study or study_of(extract)
    record = Record.of(
        "05_roi_report", of, seed=seed, fingerprint=priced[0].fingerprint, effects=priced, numbers=money.as_record(),
        money=money,
    )  # fmt: skip
    return record.write(folder / f"{case.name}.record.json")


def doctored(path: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    """Change a record by hand."""
    content = json.loads(path.read_text(encoding="utf-8"))
    change(content)
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


__all__ = ["DRAWS", "content_of", "doctored", "effect_of", "recorded", "replace", "said", "study_of"]
