"""The truths are those of the bank at hand, and the way to a linked panel is any study's way."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

import rox
from rox.core.errors import RoxError
from rox.simulate import Bank, Intervention, Truth, funnel_truth, simulate, truth
from rox.simulate.people import by_segment
from rox.simulate.study import write_study
from rox.validation import (
    Target,
    beside_truth,
    everybody_answers,
    find_truths,
    link_bank,
    read_world,
)
from rox.validation.truths import HORIZON, SHIFT, SHIFT_FROM, log_hazard_per_point

from .conftest import CUSTOMERS, SEED


@pytest.fixture(scope="module")
def truths(bank):
    return find_truths(bank, list(Target))


def test_the_sustained_effect_is_that_of_a_lasting_shift(bank, truths):
    shifted = truth(bank.config, Intervention(shift=SHIFT, shift_from=SHIFT_FROM)).after(HORIZON)
    assert truths.values[Target.SUSTAINED] == shifted.loc["bank", "effect"] / shifted.loc["bank", "score"]


def voluntary(bank: Bank, month: int) -> np.ndarray:
    """Hazard of leaving by own choice, from the chance of being here less that of the other exits."""
    leaving = bank.log_survival[month] - bank.log_survival[month + 1]
    other = by_segment(bank.config, "other_exit", bank.customers.segment)
    return leaving + np.log1p(-other) / 12 * np.exp(bank.config.exits.age * (bank.customers.age - 45))


def test_the_log_hazard_is_what_exits_say(bank):
    better = simulate(bank.config, Intervention(shift=SHIFT, shift_from=SHIFT_FROM))
    month = SHIFT_FROM - 1 + HORIZON
    here = bank.active[month]
    gained = (better.score[month] - bank.score[month])[here].mean()
    ratio = np.log(voluntary(better, month)[here] / voluntary(bank, month)[here]).mean()
    found = log_hazard_per_point(Truth(bank=better, against=bank))
    assert found == pytest.approx(ratio / gained, rel=1e-4)
    assert -0.29 < found < -0.21


def test_the_gain_of_a_rollout_has_the_segments_of_the_estimate(bank, truths):
    without = truth(bank.config, against=Intervention(rollout=False)).rollout()
    assert truths.of(Target.ROLLOUT, None) == without.loc["bank", "ratio_gain"]
    mixed = type("Mixed", (), {"groups": ("gold", "mass"), "shares": np.array([0.3, 0.7])})()
    gold, mass = without.loc[["gold", "mass"], "ratio_gain"]
    assert truths.of(Target.ROLLOUT, mixed) == pytest.approx(0.3 * gold + 0.7 * mass)
    assert truths.values[Target.ROLLOUT_MONEY] == without.loc["bank", "effect"] / without.loc["bank", "money"]


def test_what_lasts_is_restated_for_the_customers_of_the_estimate(bank, truths):
    shifted = truth(bank.config, Intervention(shift=SHIFT, shift_from=SHIFT_FROM)).after(HORIZON)
    here = bank.active[SHIFT_FROM - 1]
    money = {
        name: float(bank.aum[SHIFT_FROM - 1, here & (bank.customers.segment == place)].mean())
        for place, name in enumerate(bank.config.segment_names)
    }
    weight = np.array([(bank.design_weight * (bank.customers.segment == k))[here].sum() for k in range(len(money))])
    baseline = pd.DataFrame({"money": money.values()}, index=list(money))

    def said(factor: float):
        held = baseline * factor
        return type("Said", (), {"groups": tuple(money), "shares": weight / weight.sum(), "baseline": held})()

    own = truths.of(Target.SUSTAINED, said(1.0))
    assert own == pytest.approx(shifted.loc["bank", "effect_per_point"], rel=0.1)
    assert truths.of(Target.SUSTAINED, said(2.0)) == pytest.approx(2 * own)


def by_segment_of(effects: pd.DataFrame) -> SimpleNamespace:
    """What an estimate says of itself: two segments, three of ten customers in the first."""
    return SimpleNamespace(groups=tuple(effects.index), shares=np.array([0.3, 0.7]))


def test_the_gain_of_the_closed_loop_is_that_of_a_bank_without_it(bank, truths):
    without = truth(bank.config, against=Intervention(recovery=False))
    loop = without.recovery(reference=3, among="loop")
    assert truths.of(Target.RECOVERY, None) == loop.loc["bank", "ratio_gain"]
    assert 0.3 < loop.loc["sample", "called"] < 0.8
    called = loop["ratio_gain"] / loop["called"]
    assert truths.of(Target.RECOVERY_CALLED, None) == called["bank"]
    two = loop.loc[["gold", "mass"]]
    assert truths.of(Target.RECOVERY, by_segment_of(two)) == pytest.approx(two["ratio_gain"] @ [0.3, 0.7])
    assert truths.of(Target.RECOVERY_CALLED, by_segment_of(two)) == pytest.approx(called[two.index] @ [0.3, 0.7])
    held = bank.customers.held_out
    assert not bank.called[:, held].any()
    assert loop.loc["sample", "cases"] < bank.eligible.any(axis=0).sum()
    assert without.recovery().loc["sample", "ratio_gain"] > loop.loc["sample", "ratio_gain"]


def test_the_gain_of_the_first_places_is_theirs_alone(bank, truths):
    without = truth(bank.config, against=Intervention(rollout=False))
    every = [without.rollout(cohort=number) for number in range(len(bank.config.rollout.starts))]
    assert sum(each.loc["sample", "cases"] for each in every) == without.rollout().loc["sample", "cases"]
    everybody = SimpleNamespace(groups=("all",), shares=np.ones(1))
    assert truths.of(Target.ROLLOUT_FIRST, everybody) == every[0].loc["sample", "ratio_gain"]
    assert truths.of(Target.ROLLOUT, everybody) == without.rollout().loc["sample", "ratio_gain"]
    assert every[0].loc["sample", "ratio_gain"] > every[-1].loc["sample", "ratio_gain"]


def test_the_money_of_the_new_form_is_integrated_in_the_recent_mix(bank, truths):
    """The mix drifts towards the channels of the end, and a promotion ran in every month of the lot."""
    after = funnel_truth(bank.config, mix="after", promotion=True).loc["all"]
    before = funnel_truth(bank.config, mix="before", promotion=True).loc["all"]
    found = truths.values[Target.FUNNEL]
    assert found == pytest.approx(after["aum_new"] - after["aum_old"], rel=0.05)
    assert found > before["aum_new"] - before["aum_old"]


def test_a_linked_bank_holds_its_tickets_and_its_applicants(bank, linked):
    tickets = linked.fetch(linked.records("tickets", months=(-1,)))
    assert len(tickets) == bank.eligible.sum()
    assert linked.study.tables["tickets"].hold_out_share == bank.config.recovery.hold_out
    with pytest.raises(RoxError, match="came without a table of applicants"):
        linked.records("applicants")
    small = replace(bank.config, funnel=replace(bank.config.funnel, applicants=500))
    with_funnel = link_bank(simulate(small), funnel=True)
    assert len(with_funnel.fetch(with_funnel.records("applicants"))) == 500


def test_only_what_is_asked_for_is_simulated(bank):
    assert find_truths(bank, [Target.GAP]).values == {}
    assert set(find_truths(bank, [Target.ROLLOUT]).values) == {Target.ROLLOUT, Target.ROLLOUT_MONEY}


def test_where_a_customer_answered_everybody_answers_says_the_same(bank, linked):
    rows, everybody = linked.frame(), everybody_answers(bank, linked).frame()
    assert everybody["customer"].equals(rows["customer"])
    latest = rows["score_age"] == everybody["score_age"]
    assert latest.sum() > 1_000
    assert everybody.loc[latest, "score"].equals(rows.loc[latest, "score"])
    assert everybody["score_age"].dropna().between(1, 3).all()
    here = rows["month"] >= 12 * 2023 + 3
    opened_before = rows["opened"] <= rows["month"] - everybody["score_age"]
    assert everybody.loc[here & (rows["opened"] < 12 * 2023), "score"].notna().all()
    assert opened_before[everybody["score"].notna()].all()


def test_a_linked_bank_is_what_a_study_of_it_links(bank, linked, tmp_path):
    write_study(tmp_path / "study", preset_name="cmb", customers=CUSTOMERS, seed=SEED)
    study = rox.read_study(tmp_path / "study" / "study.toml")
    theirs = rox.link(rox.load(study), score="nps", outcome="aum")
    assert theirs.frame().equals(linked.frame())
    assert theirs.fingerprint == linked.fingerprint
    assert study.initiatives["branch_refit"].assigned == "random"
    assert linked.study.initiatives["branch_refit"].assigned == "chosen"


def test_a_world_says_truthfully_how_places_were_chosen():
    names = ("easy", "cmb", "cmb/dip", "cmb/trend", "hard", "hard/random")
    assert [read_world(name).assigned(1) for name in names] == [
        "random", "random", "chosen", "chosen", "chosen", "random",
    ]  # fmt: skip
    assert read_world("cmb/trend").config(customers=1_000, seed=3).rollout.selection == "trend"


@pytest.mark.parametrize("name", ["bank", "cmb/best", "cmb/"])
def test_an_unknown_world_is_named(name):
    with pytest.raises(RoxError, match="There is no world"):
        read_world(name)


def test_effects_stand_beside_the_truth_they_are_taken_for(bank, linked, truths):
    churn = rox.ChurnCox().fit(linked, rng=1)
    (row,) = beside_truth([churn], truths).to_dict(orient="records")
    assert row["truth"] == truths.values[Target.HAZARD]
    assert row["times"] == row["estimate"] / row["truth"]
    assert row["holds_truth"] == (row["low"] <= row["truth"] <= row["high"])
    loop = rox.ClosedLoop(draws=500).fit(linked, rng=1)
    (row,) = beside_truth([loop], truths).to_dict(orient="records")
    assert row["truth"] == truths.of(Target.RECOVERY, loop)
    with pytest.raises(RoxError, match="churn is not known here"):
        beside_truth([churn], find_truths(bank, [Target.ROLLOUT]))


def test_a_study_file_that_says_nonsense_is_refused(bank):
    with pytest.raises(RoxError, match="assigned"):
        link_bank(bank, assigned="guessed")
