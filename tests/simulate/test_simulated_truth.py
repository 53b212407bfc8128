"""The truth is exact, in a plausible range, and free of the luck of single exits."""

from __future__ import annotations

import numpy as np
import pytest

from rox.core.errors import RoxError
from rox.simulate import Intervention, Truth, preset, truth

CONFIG = preset("cmb", seed=1)
NO_ROLLOUT = Intervention(rollout=False)


@pytest.fixture(scope="module")
def sustained() -> Truth:
    return truth(CONFIG, Intervention(shift=0.5, shift_from=12))


@pytest.fixture(scope="module")
def refit() -> Truth:
    return truth(CONFIG, against=NO_ROLLOUT)


def test_a_sustained_score_point_adds_three_and_a_half_percent_in_a_year(sustained: Truth) -> None:
    year, two = sustained.after(12).loc["bank"], sustained.after(24).loc["bank"]
    assert 0.030 < year["relative_per_point"] < 0.042
    assert 0.047 < two["relative_per_point"] < 0.065
    assert 2_000 < year["effect_per_point"] < 3_000 < two["effect_per_point"] < 5_000
    assert 0.20 < year["by_retention"] < 0.30
    assert 1.9 < year["kept"] / year["score"] < 3.2
    assert 25 < year["nps"] / year["score"] < 45


def test_the_effect_falls_with_wealth_as_a_share_and_rises_in_money(sustained: Truth) -> None:
    by_segment = sustained.after(12).loc[list(CONFIG.segment_names)]
    assert by_segment["relative_per_point"].is_monotonic_decreasing
    assert by_segment["effect_per_point"].is_monotonic_increasing


def test_averages_over_probabilities_agree_with_realised_exits_and_money(sustained: Truth) -> None:
    here, at = sustained.against.active[11], 23
    kept = 100 * (sustained.bank.active[at][here].mean() - sustained.against.active[at][here].mean())
    answer = sustained.after(12).loc["sample"]
    assert answer["kept"] == pytest.approx(kept, abs=0.25)
    assert answer["money"] == pytest.approx(sustained.against.aum[at][here].mean(), rel=0.03)
    mass = here & (sustained.bank.customers.segment == 0)
    assert sustained.after(12).loc["mass", "money"] == pytest.approx(sustained.against.aum[at][mass].mean(), rel=0.04)
    realised = (sustained.bank.aum[at] - sustained.against.aum[at])[mass].mean()
    assert sustained.after(12).loc["mass", "effect"] == pytest.approx(realised, rel=0.5)


def test_the_first_month_of_a_shift_has_an_effect_and_the_one_before_has_none(sustained: Truth) -> None:
    assert sustained.after(1).loc["bank", "effect"] > 0
    before = sustained.after(1, start=11)
    assert (before[["effect", "kept", "score", "nps"]] == 0).all(axis=None)


def test_the_rollout_raises_scores_and_the_capped_ratio(refit: Truth) -> None:
    answer = refit.rollout()
    assert 0.35 < answer.loc["bank", "score"] < 0.55
    assert 0.012 < answer.loc["sample", "ratio_gain"] < 0.026
    assert answer["cases"].iloc[:5].sum() == answer.loc["sample", "cases"]
    early = refit.rollout(window=(0, 2)).loc["sample"]
    assert 0 < early["ratio_gain"] < 0.3 * answer.loc["sample", "ratio_gain"]


def test_realised_money_of_the_refitted_agrees_with_their_truth(refit: Truth) -> None:
    start, bank, other = 12, refit.bank, refit.against
    before = other.aum[9:12].mean(axis=0)
    here = other.active[9:12].all(axis=0) & (before > 0)
    gains = []
    for month in range(start + 6, 36):
        since = month - bank.refit
        exposed = here & (since >= 6) & (since <= 11)
        one, two = (np.minimum(each.aum[month, exposed] / before[exposed], 3) for each in (bank, other))
        gains.append(one - two)
    assert refit.rollout().loc["sample", "ratio_gain"] == pytest.approx(np.concatenate(gains).mean(), abs=0.004)


def test_a_rollout_without_effect_has_none_and_a_direct_one_moves_money_alone() -> None:
    idle = truth(preset("cmb", customers=1_500, rollout={"effects": (0.0,) * 3}), against=NO_ROLLOUT).rollout()
    assert (idle[["effect", "ratio_gain", "kept", "score", "nps"]] == 0).all(axis=None)
    dials = {"effects": (0.0,) * 3, "direct": 0.01}
    direct = truth(preset("cmb", customers=1_500, rollout=dials), against=NO_ROLLOUT).rollout().loc["sample"]
    assert (direct["score"], direct["kept"]) == (0, 0)
    assert direct["effect"] / direct["money"] == pytest.approx(np.expm1(0.01), rel=1e-9)


def test_calls_of_the_closed_loop_keep_money() -> None:
    answer = truth(CONFIG, against=Intervention(recovery=False)).recovery()
    assert 0.03 < answer.loc["sample", "ratio_gain"] < 0.06
    assert answer.loc["sample", "kept"] > 0.5


def test_questions_without_an_answer_are_refused(sustained: Truth) -> None:
    with pytest.raises(RoxError, match="no effect to find"):
        truth(CONFIG, Intervention())
    with pytest.raises(RoxError, match="the window has 36 months"):
        sustained.after(25)
    with pytest.raises(RoxError, match="do not differ by a roll-out"):
        sustained.rollout()
    with pytest.raises(RoxError, match="do not differ by recovery"):
        sustained.recovery()
