"""Money that follows experience slowly is found again; where experience follows money, the result is not trusted."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from rox.core.check import Grade, Verdict
from rox.core.errors import FitError
from rox.core.estimand import Question
from rox.models.churn_hazard import ChurnHazard
from rox.models.lead_lag import LeadLag
from tests.models.conftest import START, check, linked_from

MONTHS, PACE, MEMORY = 36, 0.06, 0.90


def slow_money(
    customers: int, *, seed: int, effect: float = 0.08, drift: float = 0.0, attention: float = 0.0, style: float = 0.0
) -> pd.DataFrame:
    """Customer-months in which log money moves 6% of the way each month to effect · experience.

    Args:
        customers: Number of customers, half in each segment.
        seed: Of everything.
        effect: Long-run change of log money per point of experience.
        drift: How strongly lasting experience goes with the customer's own growth.
        attention: Points of experience per unit of the last month's own money shock.
        style: Standard deviation of a lasting habit of answering.
    """
    rng = np.random.default_rng(seed)
    lasting = 0.8 * rng.standard_normal(customers)
    passing = 1.2 * rng.standard_normal(customers)
    habit = style * rng.standard_normal(customers)
    growth = 0.006 * (drift * lasting / 0.8 + rng.standard_normal(customers))
    money, courted = effect * (lasting + passing), np.zeros(customers)
    score, said = np.full(customers, np.nan), np.full(customers, np.nan)
    level = np.log(np.where(np.arange(customers) % 2 == 0, 1_000.0, 20_000.0))
    blocks = []
    for step in range(-24, MONTHS):
        passing = MEMORY * passing + 1.2 * np.sqrt(1 - MEMORY**2) * rng.standard_normal(customers)
        shock = 0.03 * rng.standard_normal(customers)
        courted = 0.9 * courted + attention * shock
        x = lasting + passing + courted
        money = money + PACE * (effect * x - money) + shock
        if step < 0:
            continue
        blocks.append(
            pd.DataFrame(
                {
                    "customer": np.arange(customers),
                    "month": START + step,
                    "segment": np.where(np.arange(customers) % 2 == 0, "a", "b"),
                    "weight": 1.0,
                    "outcome": np.exp(level + money + growth * step),
                    "score": score,
                    "score_age": START + step - said,
                    "opened": START - 1.0,
                }
            )
        )
        if step % 3 == 2:
            given = rng.random(customers) < 0.6
            answer = 6 + x + habit + rng.standard_normal(customers)
            score, said = np.where(given, answer, score), np.where(given, START + step, said)
    return pd.concat(blocks, ignore_index=True)


def per_money(effect) -> tuple[float, float]:
    """The effect as a share of money, with its standard deviation."""
    money = float(effect.baseline["money"].to_numpy() @ effect.shares)
    return float(effect.overall.mean()) / money, float(effect.overall.std()) / money


@pytest.mark.parametrize(("drift", "style"), [(0.0, 0.0), (1.0, 0.8)])
def test_the_effect_is_found_whatever_goes_with_lasting_experience(drift, style):
    """Growth that goes with lasting experience and habits of answering change nothing."""
    true = np.expm1(0.08 * (1 - (1 - PACE) ** 12))
    z = []
    for seed in range(3):
        found, sd = per_money(LeadLag().fit(linked_from(slow_money(6000, seed=seed, drift=drift, style=style)), rng=1))
        assert sd < 0.6 * true
        z.append((found - true) / sd)
    assert abs(np.mean(z)) < 1.2


def test_no_effect_is_no_effect():
    found, sd = per_money(LeadLag().fit(linked_from(slow_money(6000, seed=5, effect=0.0, drift=1.0)), rng=1))
    assert abs(found) < 2.5 * sd


def test_experience_that_follows_money_is_seen_and_lowers_the_grade():
    clean = LeadLag().fit(linked_from(slow_money(6000, seed=2)), rng=1)
    courted = LeadLag().fit(linked_from(slow_money(6000, seed=2, attention=12.0)), rng=1)
    assert check(clean, "ROX-A12").verdict is Verdict.PASS
    assert clean.grade is Grade.C
    assert check(courted, "ROX-A12").verdict is Verdict.DEMOTE
    assert courted.grade >= Grade.D


@pytest.fixture(scope="module")
def effect(sample):
    return LeadLag().fit(sample, rng=1)


def test_it_answers_the_question_of_a_lasting_change(effect):
    assert effect.estimand.question is Question.SUSTAINED
    assert effect.estimand.includes_exit
    assert effect.estimand.channels == {"expansion", "retention"}
    rivals = effect.tables["rivals"]["estimate"]
    assert rivals["lead_lag"] == pytest.approx(effect.overall.mean())
    assert rivals["customers_kept_alone"] > 0
    profile = effect.tables["profile"]
    assert list(profile.index) == list(range(-2, 8))
    assert profile["used"].sum() == 7


def test_customers_kept_are_those_of_the_model_of_leaving_whether_openings_are_known_or_not(sample, effect):
    known = check(effect, "ROX-A15").values
    churn = ChurnHazard().fit(sample, rng=1).draws[:, 0]
    assert known["estimate"] == pytest.approx(churn.mean(), abs=0.1 * churn.std())
    assert known["se"] == pytest.approx(churn.std(), rel=0.1)
    frame = sample.frame().assign(opened=np.nan)
    unknown = check(LeadLag().fit(replace(sample, panel=frame, fetch=lambda rows: rows), rng=1), "ROX-A15").values
    assert unknown["estimate"] == pytest.approx(known["estimate"], abs=0.5 * known["se"])


def test_choices_that_do_not_fit_are_told_together(sample):
    with pytest.raises(FitError, match="do not fit") as caught:
        LeadLag(leads=2, before=0, horizon=0, cap=0).fit(sample, rng=1)
    assert len(caught.value.faults) == 4


def test_too_few_repeated_answers_are_refused():
    frame = slow_money(600, seed=1)
    first = frame.groupby("customer")["score"].transform("first")
    once = frame.assign(score=frame["score"].where(frame["score"] == first), score_age=frame["score_age"])
    with pytest.raises(FitError, match=r"more than once|No segment has 100 answers"):
        LeadLag().fit(linked_from(once.assign(score_age=once["score_age"].where(once["score"].notna()))), rng=1)
