"""A lasting effect is found again while experience follows money, which misleads a model that rules it out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from rox.core.check import Grade, Verdict
from rox.core.errors import FitError
from rox.core.estimand import Question
from rox.models.joint_path import JointPath
from rox.models.joint_path_rows import path_rows
from tests.models.conftest import START, check, linked_from

MONTHS, PACE, MEMORY, RESPONSE = 36, 0.06, 0.90, 0.15


def followed_money(customers: int, *, seed: int, attention: float = 3.0, places: int = 4) -> pd.DataFrame:
    """Customer-months in which money moves 6% of the way to experience, which follows the growth of a quarter.

    Places move money for a month and experience in the same month; happy customers grow faster for reasons of theirs.
    """
    rng = np.random.default_rng(seed)
    number = np.arange(customers)
    lasting, passing = 0.8 * rng.standard_normal(customers), 1.2 * rng.standard_normal(customers)
    drift = 0.006 * (lasting / 0.8 + rng.standard_normal(customers))
    level = np.where(number % 2 == 0, 7.0, 10.0) + 0.5 * rng.standard_normal(customers)
    money, blocks = [np.zeros(customers)] * 4, []
    score, said = np.full(customers, np.nan), np.full(customers, np.nan)
    for step in range(-40, MONTHS):
        passing = MEMORY * passing + 1.2 * np.sqrt(1 - MEMORY**2) * rng.standard_normal(customers)
        fair = rng.standard_normal(places)[number // 2 % places]
        x = lasting + passing + attention * (money[-1] - money[-4]) + 0.5 * fair
        money.append((1 - PACE) * money[-1] + PACE * RESPONSE * x + 0.05 * rng.standard_normal(customers))
        if step < 0:
            continue
        gone = rng.random(customers) < 0.02
        columns = {
            "customer": number,
            "month": START + step,
            "segment": np.where(number % 2 == 0, "a", "b"),
            "unit": (number // 2 % places).astype(str),
            "outcome": np.where(gone, 0.0, np.exp(level + money[-1] + drift * step + 0.1 * fair)),
            "score": score,
            "score_age": START + step - said,
        }
        blocks.append(pd.DataFrame(columns))
        if step % 3 == 2:
            given = rng.random(customers) < 0.5
            score = np.where(given, 6 + x + rng.standard_normal(customers), score)
            said = np.where(given, START + step, said)
    return pd.concat(blocks, ignore_index=True)


@pytest.fixture(scope="module")
def courted():
    return linked_from(followed_money(4000, seed=3))


@pytest.fixture(scope="module")
def effect(courted):
    return JointPath(draws=1000).fit(courted, rng=1)


def test_the_effect_is_found_although_experience_follows_money(effect):
    money = effect.baseline["money"].to_numpy() * effect.shares
    true = float(np.expm1(RESPONSE * (1 - (1 - PACE) ** 12)) * money.sum())
    found, sd = effect.overall.mean(), effect.overall.std()
    assert sd < 0.3 * true
    assert abs(found - true) < 2 * sd
    without = effect.tables["rivals"].loc["growth_without_attention", "estimate"]
    assert without > effect.tables["rivals"].loc["growth_not_pooled", "estimate"] + sd


def test_attention_is_measured_and_said(effect):
    table = effect.tables["coefficients"]
    assert (np.abs(table["attention"] - 3.0) < 3 * table["attention_se"]).all()
    assert check(effect, "ROX-A52").verdict is Verdict.NOTE
    assert effect.grade is Grade.C


def test_it_answers_the_question_of_a_lasting_change(effect):
    assert effect.estimand.question is Question.SUSTAINED
    assert effect.estimand.channels == {"expansion", "retention"}
    assert effect.groups == ("a", "b")
    rivals = effect.tables["rivals"]["estimate"]
    assert rivals["joint_path"] == pytest.approx(effect.overall.mean())
    assert rivals["customers_kept_alone"] == 0
    profile = effect.tables["profile"]
    inside = profile["fitted"].between(profile["low"], profile["high"])
    assert inside.mean() > 0.5
    assert check(effect, "ROX-A14").values["why"] == "score.kept.none"


def test_what_a_place_has_in_common_is_taken_out(courted):
    rng = np.random.default_rng(1)
    rows = path_rows(courted, step=3, cap=1.0, most=50_000, rng=rng)
    blank = replace(courted, panel=courted.panel.assign(unit=None))
    blind = path_rows(blank, step=3, cap=1.0, most=50_000, rng=rng)
    assert rows.by_place
    assert not blind.by_place

    def common(part) -> float:
        own = part.money[part.who, np.searchsorted(part.months, part.answered)]
        growth = own - part.money[part.who, np.searchsorted(part.months, part.answered) - 1]
        later = part.answered > part.months[0]
        return float(np.nanmean((part.answer * growth)[later]))

    assert common(blind.paths[0]) > common(rows.paths[0]) + 0.02


def test_many_customers_are_sampled_and_the_trail_says_so(courted):
    rows = path_rows(courted, step=3, cap=1.0, most=1500, rng=np.random.default_rng(2))
    assert rows.counts["customers"] <= 1500
    assert rows.steps[0].reason == "joint_path.step.sampled"
    other = path_rows(courted, step=3, cap=1.0, most=1500, rng=np.random.default_rng(2))
    assert all(np.array_equal(a.answer, b.answer) for a, b in zip(rows.paths, other.paths, strict=True))


def test_segments_with_few_answers_are_left_out():
    frame = followed_money(1200, seed=5)
    rare = frame["customer"] < 60
    frame = frame.assign(segment=np.where(rare, "rare", frame["segment"]))
    rows = path_rows(linked_from(frame), step=3, cap=1.0, most=50_000, rng=np.random.default_rng(1))
    assert rows.thin == ("rare",)
    assert rows.groups == ("a", "b")


def test_too_little_is_refused():
    frame = followed_money(150, seed=6)
    with pytest.raises(FitError, match="No segment has 300 answers"):
        JointPath().fit(linked_from(frame), rng=1)
    with pytest.raises(FitError, match="too short"):
        JointPath().fit(linked_from(frame[frame["month"] < START + 12]), rng=1)


def test_choices_that_do_not_fit_are_told_together(courted):
    with pytest.raises(FitError, match="do not fit") as caught:
        JointPath(step=0, horizon=0, cap=0, customers=10).fit(courted, rng=1)
    assert len(caught.value.faults) == 4
