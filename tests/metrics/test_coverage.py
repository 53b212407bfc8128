"""Intervals hold the truth as often as they say: nominal 90%, weighted, stratified and clustered by customer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from rox.metrics import change, nps

SHARES = {"loyal": (0.20, 0.25, 0.55), "other": (0.45, 0.30, 0.25)}
"""Detractors, passives, promoters by segment."""
WEIGHTS = {"loyal": 1.0, "other": 3.0}
ANSWER_OF = np.array([3, 8, 10])
TRUTH = 100 * sum(WEIGHTS[s] * (SHARES[s][2] - SHARES[s][0]) for s in SHARES) / sum(WEIGHTS.values())
SAME = 0.6
"""Chance that a customer answers as in the time before."""


def surveys(answers: int, replications: int, rng: np.random.Generator) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Draw replications of a survey in two quarters; half the customers answer twice in the first one.

    Two thirds of the customers answer in both quarters. Segments are sampled alike and weighted 1 to 3; nothing
    changed.
    """
    size = answers * 2 // 3
    people = pd.DataFrame({"survey": np.repeat(np.arange(replications), size)})
    people["customer"] = [f"c{number:08d}" for number in range(len(people))]
    people["segment"] = np.where(np.arange(len(people)) % 2, "loyal", "other")
    people["weight"] = people["segment"].map(WEIGHTS)
    ends = np.array([np.cumsum(SHARES[segment])[:2] for segment in ("loyal", "other")])
    ends = ends[(people["segment"] == "other").to_numpy().astype(int)]

    def fresh() -> np.ndarray:
        return (rng.random(len(people))[:, None] > ends).sum(axis=1)

    first = fresh()
    again, later = (np.where(rng.random(len(people)) < SAME, first, fresh()) for _ in range(2))
    parts = [(first, "2025-02-03", slice(None)), (again, "2025-03-03", rng.random(len(people)) < 0.5)]
    parts.append((later, "2025-05-03", rng.random(len(people)) < 2 / 3))
    frames = [
        people.assign(nps=ANSWER_OF[category], date=date).loc[who, ["customer", "survey", "date", "nps"]]
        for category, date, who in parts
    ]
    return pd.concat(frames, ignore_index=True), people.drop(columns="survey")


@pytest.mark.parametrize(("answers", "replications"), [(60, 160), (400, 240)])
def test_intervals_cover_at_their_level(few: Callable[..., Any], answers: int, replications: int) -> None:
    """Between 85 and 95 surveys in 100 hold the truth: chance alone goes no further at these numbers."""
    given, people = surveys(answers, replications, np.random.default_rng(8))
    tables = few(answers=given, customers=people)
    held = nps(few(answers=given[given["date"] < "2025-04"], customers=people), "nps", ["survey"])
    assert 0.85 <= ((held["low"] <= TRUTH) & (held["high"] >= TRUTH)).mean() <= 0.95
    moved = change(tables, "nps", "2025Q1", "2025Q2", by=["survey"])
    assert 0.85 <= ((moved["low"] <= 0) & (moved["high"] >= 0)).mean() <= 0.95


def test_ignoring_weights_would_not_cover(few: Callable[..., Any]) -> None:
    given, people = surveys(600, 40, np.random.default_rng(9))
    held = nps(few(answers=given[given["date"] < "2025-04"], customers=people), "nps", ["survey"], weighted=False)
    assert ((held["low"] <= TRUTH) & (held["high"] >= TRUTH)).mean() < 0.5
