"""Small banks whose truth is written down in them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import rox
from rox.core.check import Check
from rox.core.effect import Effect
from rox.core.linked import Linked
from rox.linking.tables import Tables
from rox.testing import linked_from_frame, sample_linked

START = 12 * 2023


def linked_from(frame: pd.DataFrame, **choices: object) -> Linked:
    """Wrap a frame of customer-months as a linked panel."""
    return linked_from_frame(frame, **choices)


def answered_panel(
    customers: int,
    answers: int,
    *,
    seed: int,
    slope: dict[str, float] | None = None,
    every: int = 3,
    follow_money: float = 0.0,
    taste: float = 0.0,
) -> pd.DataFrame:
    """Customer-months in which money = level + slope · score answered the month before + month + noise.

    Args:
        customers: Number of customers, half in each segment.
        answers: Surveys, one every ``every`` months; about 60% answer.
        seed: Of everything.
        slope: Money per score point by segment.
        follow_money: How strongly the score follows the customer's own passing money of the last months.
        taste: How strongly the customer's own level of money enters the score.
    """
    rng = np.random.default_rng(seed)
    slope = slope or {"a": 10.0, "b": 40.0}
    segment = np.where(np.arange(customers) % 2 == 0, "a", "b")
    beta = np.array([slope[each] for each in segment])
    own = rng.standard_normal(customers)
    level = np.where(segment == "a", 500.0, 1500.0) + 60 * own
    passing = np.zeros(customers)
    score, said = np.full(customers, np.nan), np.full(customers, np.nan)
    blocks = []
    for step in range(every * answers + 2):
        month = START + step
        passing = 0.9 * passing + 20 * rng.standard_normal(customers)
        fresh = np.where(said == month - 1, score, 7.0)
        money = level + beta * (fresh - 7) + 8 * np.sin(step) + passing + 10 * rng.standard_normal(customers)
        age = np.where(month - said <= 12, month - said, np.nan)
        blocks.append(
            pd.DataFrame(
                {
                    "customer": np.arange(customers),
                    "month": month,
                    "segment": segment,
                    "unit": [f"U{each % 7}" for each in range(customers)],
                    "weight": np.where(segment == "a", 30.0, 10.0),
                    "outcome": money,
                    "score": np.where(np.isnan(age), np.nan, score),
                    "score_age": age,
                    "opened": START - 1.0 - np.arange(customers) % 50,
                }
            )
        )
        if step % every == every - 1:
            given = rng.random(customers) < 0.6
            feeling = 7 + taste * own + follow_money * passing / 40 + 1.8 * rng.standard_normal(customers)
            score[given] = np.clip(np.rint(feeling), 0, 10)[given]
            said[given] = month
    return pd.concat(blocks, ignore_index=True)


def noisy_leaving_panel(customers: int, months: int, *, seed: int, log_ratio: float = -0.25) -> pd.DataFrame:
    """Customer-months with exits whose hazard follows experience, of which answers are noisy readings.

    Experience is a lasting part (variance 0.8) and a passing one (1.2, of which 0.9 is left a month later); a quarterly
    answer adds noise (variance 1.5).
    """
    rng = np.random.default_rng(seed)
    lasting = np.sqrt(0.8) * rng.standard_normal(customers)
    passing = np.sqrt(1.2) * rng.standard_normal(customers)
    score, said = np.full(customers, np.nan), np.full(customers, np.nan)
    exit_month = np.full(customers, np.nan)
    blocks = []
    for month in range(START, START + months):
        passing = 0.9 * passing + np.sqrt(1.2 * (1 - 0.9**2)) * rng.standard_normal(customers)
        hazard = 0.015 * np.exp(log_ratio * (lasting + passing))
        leaves = np.isnan(exit_month) & (rng.random(customers) < -np.expm1(-hazard))
        exit_month[leaves] = month
        blocks.append(
            pd.DataFrame(
                {
                    "customer": np.arange(customers),
                    "month": month,
                    "outcome": 100.0,
                    "score": score,
                    "score_age": month - said,
                    "opened": START - 1.0,
                }
            )
        )
        if month % 3 == 2:
            given = rng.random(customers) < 0.5
            answer = 6 + lasting + passing + np.sqrt(1.5) * rng.standard_normal(customers)
            score = np.where(given, answer, score)
            said = np.where(given, month, said)
    rows = pd.concat(blocks, ignore_index=True)
    leaving = exit_month[rows["customer"]]
    rows = rows.assign(exit_month=leaving, voluntary=~np.isnan(leaving))
    return rows[~(rows["exit_month"] < rows["month"])]


def leaving_panel(
    customers: int, months: int, *, seed: int, log_ratio: float, late: float = 0.0, response: float = 0.7
) -> pd.DataFrame:
    """Customer-months with exits whose monthly hazard is exactly exp(log_ratio · score known) times a baseline.

    Scores are drawn anew at each quarterly answer and the hazard depends on the score as known, so the model of the
    carried-forward score is true. After half of the window the log ratio is ``log_ratio + late``.
    """
    rng = np.random.default_rng(seed)
    segment = np.where(rng.random(customers) < 0.5, "a", "b")
    opened = START - rng.integers(1, 60, customers)
    kind = rng.integers(0, 3, customers).astype(float)
    score, said = np.full(customers, np.nan), np.full(customers, np.nan)
    exit_month, voluntary = np.full(customers, np.nan), np.zeros(customers, bool)
    blocks = []
    for month in range(START, START + months):
        here = np.isnan(exit_month)
        ratio = log_ratio + (late if month >= START + months // 2 else 0.0)
        known = np.where(np.isnan(score), 7.0, score)
        hazard = np.where(segment == "a", 0.012, 0.02) * np.exp(ratio * (known - 7) + 0.2 * (kind - 1))
        leaves = here & (rng.random(customers) < -np.expm1(-hazard))
        dies = here & ~leaves & (rng.random(customers) < 0.004)
        exit_month[leaves | dies] = month
        voluntary |= leaves
        blocks.append(
            pd.DataFrame(
                {
                    "customer": np.arange(customers),
                    "month": month,
                    "segment": segment,
                    "weight": 1.0,
                    "outcome": 100.0 + np.arange(customers) % 9,
                    "score": score,
                    "score_age": month - said,
                    "opened": opened.astype(float),
                    "kind": kind,
                }
            )[here]
        )
        if month % 3 == 2:
            given = np.isnan(exit_month) & (rng.random(customers) < response)
            score[given] = rng.integers(0, 11, customers)[given]
            said[given] = month
    frame = pd.concat(blocks, ignore_index=True)
    frame.loc[frame["score_age"] > 12, ["score", "score_age"]] = np.nan
    return frame.assign(exit_month=exit_month[frame["customer"]], voluntary=voluntary[frame["customer"]])


def check(effect: Effect, code: str) -> Check:
    """The one check of a code."""
    (found,) = [each for each in effect.checks if each.code == code]
    return found


@pytest.fixture(scope="session")
def sample() -> Linked:
    """A small panel in which every kind of model has something to find."""
    return sample_linked()


@pytest.fixture(scope="session")
def bank_linked(bank_tables: Tables) -> Linked:
    """The bundled bank, linked, its panel held in memory."""
    data = rox.link(bank_tables, score="nps", outcome="aum")
    return replace(data, panel=data.frame(), fetch=lambda rows: rows.copy())
