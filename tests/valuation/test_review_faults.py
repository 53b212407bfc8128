"""Faults that a reviewer found in the valuation: each test says what must hold instead."""

from __future__ import annotations

import math
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from rox.core.case import RANGES, Case, range_of
from rox.core.check import BIAS_LAYERS, BiasLayer, Check, Grade, Verdict
from rox.core.effect import Effect
from rox.core.errors import CaseError
from rox.core.estimand import Question
from rox.core.returns import Advice, Return
from rox.core.spread import Spread
from rox.core.units import Dose
from rox.core.words import LANGUAGES
from rox.reporting import sentences
from rox.reporting.parts.answer import answer
from rox.reporting.request import Request
from rox.review import case_draft
from rox.valuation import information
from rox.valuation.value import value

from .conftest import case_of, effect_of, said
from .everything import ABOUT, PARTS, with_split

SMALL: dict[str, Any] = {"draws": 1000, "rng": 1}
ANSWERED = {"owner": "Finance", "source": "Plan", "date": "2025-12-31"}
EDGES = np.array([1e-9, 1e-4, 0.3, 1 - 1e-4, 1 - 1e-9])
TIMING = {"ramp": said(value=6), "half_life": said(value=24)}


def found(money: Return, code: str) -> Check:
    return next(check for check in money.checks if check.code == code)


# Draws stay where an input can be.


@pytest.mark.parametrize("place", RANGES)
def test_no_draw_leaves_the_range_of_its_input(place: str) -> None:
    least, most, _ = range_of(place)
    top = min(most, 100.0)
    wide = max(top - least, 1e-6)
    near = (least + 0.001 * wide, least + 0.6 * wide, least + 0.999 * wide)
    for spread in (Spread.three_point(*near), Spread.between(near[0], near[2]), Spread.between(least, near[2])):
        drawn = spread.within(least, most).quantile(EDGES)
        assert (drawn >= least).all()
        assert (drawn <= most).all()
        assert (np.diff(drawn) > 0).all()


def test_every_input_of_a_case_is_drawn_within_its_range() -> None:
    case = case_of(
        timing={"ramp": said(low=1, likely=6, high=9), "half_life": said(low=6, likely=24, high=60)},
        attrition={"all": said(between=(0.5, 1.0))},
        costs={"works": said(between=(0, 20_000), months=[0], label="Works")},
    )
    money = value(effect_of(0.04, 0.01), case, draws=20_000, rng=1)
    for each in money.ledger.inputs:
        if each.kind == "assumption":
            least, most, _ = range_of(each.place)
            assert least <= money.drawn[each.name].min() <= money.drawn[each.name].max() <= most, each.name
    assert np.isfinite(money.draws["npv"]).all()
    assert money.drawn["cost_works"].min() >= 0 < money.drawn["ramp"].min()


def test_correlated_inputs_stay_in_their_ranges_too() -> None:
    pair = {"between": ["timing.ramp", "timing.half_life"], "rank": 0.8, **ANSWERED}
    timing = {"ramp": said(low=1, likely=6, high=9), "half_life": said(low=6, likely=24, high=60)}
    money = value(effect_of(0.04, 0.01), case_of(timing=timing, correlation=[pair]), draws=20_000, rng=1)
    assert min(money.drawn["ramp"].min(), money.drawn["half_life"].min()) >= 0.01


@pytest.mark.parametrize("spread", [Spread.three_point(6, 7, 9), Spread.between(2, 4), Spread.fixed(3.0)])
def test_a_spread_that_nothing_cuts_off_is_drawn_as_ever(spread: Spread) -> None:
    levels = np.random.default_rng(0).random(1000)
    np.testing.assert_array_equal(spread.within(0.0, 1e9).quantile(levels), spread.quantile(levels))


def test_what_is_cut_off_leaves_the_rest_in_proportion() -> None:
    cut, whole = Spread.normal(1.0, 1.0).within(0.0, np.inf), Spread.normal(1.0, 1.0)
    drawn = whole.quantile(np.linspace(1e-6, 1 - 1e-6, 200_001))
    kept = drawn[drawn >= 0]
    assert float(cut.quantile(0.5)) == pytest.approx(np.median(kept), abs=1e-4)
    with pytest.raises(ValueError, match="not between"):
        Spread.normal(-1.0, 1.0).within(0.0, 1.0)


# Money that nobody measured.


def stated(each: float = 3000, **changes: Any) -> Case:
    benefit = said(value=each, label="Stated", channel="cost_to_serve", every_month_from=1)
    return case_of(benefits={"b": benefit}, **changes)


def test_money_that_nobody_measured_does_not_carry_a_go() -> None:
    money = value(effect_of(0.0005, 0.0001), stated(), **SMALL)
    decision = money.decision
    assert decision.p_positive == 1
    assert decision.p_without_stated == 0
    assert decision.stated > 0.98
    assert decision.advice is Advice.LEARN_FIRST
    assert sentences.shortfalls(decision) == "stated"
    for language in LANGUAGES:
        text = sentences.answer(money, language)
        assert "{" not in text
        assert f"{decision.stated:.0%}" in text
        rows = list(sentences.criteria(money, language))
        assert [met for *_, met in rows] == [True, True, True, False]
        assert answer(Request(money=money, language=language)).blocks


def test_stated_money_beside_enough_that_was_measured_is_a_go() -> None:
    both = value(effect_of(0.2, 0.01), stated(), **SMALL)
    little = value(effect_of(0.06, 0.001), stated(30), **SMALL)
    for money in (both, little):
        assert money.decision.advice is Advice.GO
        assert money.decision.stands_without_stated
    assert both.decision.stated > both.decision.small > little.decision.stated > 0
    plain = value(effect_of(0.2, 0.01), case_of(), **SMALL)
    assert plain.decision.stated == 0
    assert plain.decision.p_without_stated == plain.decision.p_positive
    assert len(list(sentences.criteria(plain, "en"))) == 3


def per_point(grade: Grade = Grade.B) -> tuple[Effect, Case]:
    effect = effect_of(0.2, 0.01, dose=Dose.SCORE_POINT, question=Question.SUSTAINED, grade=grade)
    return effect, case_of(lift=said(value=1.0, unit="score_point"))


def test_a_stated_lift_is_the_weakest_link() -> None:
    money = value(*per_point(), **SMALL)
    assert money.grade is money.decision.grade is money.money_grades["uplift"] is Grade.C
    assert money.decision.advice is Advice.LEARN_FIRST
    assert list(money.by_grade.index) == ["C"]
    check = found(money, "ROX-V12")
    assert check.verdict is Verdict.DEMOTE
    for language in LANGUAGES:
        points = answer(Request(money=money, language=language)).blocks[-1].points  # type: ignore[union-attr]
        assert any(check.sentence(language) in point for point in points)
    assert value(*per_point(Grade.D), **SMALL).grade is Grade.D
    whole = value(effect_of(0.2, 0.01), case_of(), **SMALL)
    assert whole.grade is Grade.B
    assert not [check for check in whole.checks if check.code == "ROX-V12"]


def test_a_horizon_that_nobody_has_seen_is_said() -> None:
    assert found(value(effect_of(), case_of(), **SMALL), "ROX-V13").verdict is Verdict.NOTE
    assert found(value(effect_of(horizon=16), case_of(), **SMALL), "ROX-V13").verdict is Verdict.PASS


# Figures that have no value, and signs.


def test_without_costs_there_is_no_return_on_them() -> None:
    free = case_of(costs={"works": said(value=0, months=[0], label="Works")})
    money = value(effect_of(0.04, 0.01), free, **SMALL)
    assert math.isnan(money.point["roi"][0])
    assert math.isnan(money.decision.roi)
    assert math.isnan(money.decision.p_hurdle)
    assert money.decision.advice is Advice.GO
    assert sentences.returns(money, "en") == "no costs, no return on them"
    assert answer(Request(money=money, language="zh")).blocks


def test_a_loan_has_no_internal_rate_of_return() -> None:
    late = case_of(costs={"works": said(value=50_000, months=[24], label="Works")}, timing=TIMING)
    money = value(effect_of(0.04), late, **SMALL)
    assert money.point["turns"][0] == 1
    assert math.isnan(money.point["irr"][0])


def test_parts_that_take_away_are_named_so() -> None:
    gain = effect_of(0.06, 0.01, name="uplift", channels=frozenset({"retention"}))
    loss = effect_of(-0.04, 0.01, name="gap", channels=frozenset({"expansion"}), grade=Grade.D)
    money = value((gain, loss), case_of(), **SMALL)
    table = money.by_grade
    assert (table["share"] > 0).all()
    assert table["share"].sum() == pytest.approx(1.0)
    assert table.loc["D", "mean"] < 0
    said_en, said_zh = (" ".join(sentences.evidence_split(money, language)) for language in LANGUAGES)
    assert "takes away" in said_en
    assert "扣减" in said_zh
    assert found(money, "ROX-V09").verdict is Verdict.NOTE


def test_nothing_counted_is_not_settled() -> None:
    money = value(effect_of(0.04, 0.01, grade=Grade.E), case_of(), **SMALL)
    assert found(money, "ROX-V09").verdict is Verdict.NOTE
    assert "nan" not in found(money, "ROX-V09").sentence()


def test_a_claim_is_not_discounted_below_zero() -> None:
    money = value(effect_of(0.04, 0.01, grade=Grade.E), case_of(), draws=4000, rng=1)
    drawn, layer = money.drawn["evidence_uplift"], BIAS_LAYERS[Grade.E]
    assert drawn.min() >= 0
    assert drawn.std() > 0
    if layer.mean - layer.sd < 0:
        assert drawn.mean() > layer.mean


def test_payback_is_when_half_of_the_draws_have_paid_back() -> None:
    case = case_of(costs={"works": said(value=6_000, months=[0], label="Works")})
    money = value(effect_of(0.02, 0.01), case, draws=4000, rng=1)
    back = money.draws["payback"]
    assert 0.5 < money.decision.p_payback < 1
    assert (back <= money.decision.payback + 1e-9).mean() == pytest.approx(0.5, abs=0.001)


# What a study is worth.


def lot(**changes: Any) -> dict[str, Any]:
    return {
        "kind": "holdout", "effect": "uplift", "label": "Lot", "cost": 100, "share": 0.1, "months": 12, "wait": 12,
        "customers": 1e7, "sd": 0.1, **ANSWERED, **changes,
    }  # fmt: skip


def test_a_finding_that_comes_when_nothing_is_left_to_decide_is_worth_nothing() -> None:
    """After a wait as long as the horizon only the costs are left."""
    works = {"works": said(value=14_000, months=[0], label="Works")}
    for mean in (0.02, 0.2):
        case = case_of(costs=works, studies={"late": lot(wait=24)})
        known = value(effect_of(mean, 0.01), case, draws=4000, rng=1).knowing
        assert known is not None
        assert known.studies[0].evsi == 0
        assert known.studies[0].net < 0


def test_a_study_is_priced_on_what_starting_later_brings() -> None:
    works = {"works": said(value=9_000, months=[0], label="Works")}
    effect = effect_of(0.02, 0.02)
    money = value(effect, case_of(costs=works, studies={"lot": lot()}), draws=6000, rng=1)
    assert money.decision.expected_npv < 0
    assert money.knowing is not None
    study = money.knowing.studies[0]
    short = case_of(case={**case_of().about.model_dump(), "horizon": 12}, costs=works)
    later = value(effect, short, draws=6000, rng=1).draws["npv"] / 1.08
    truth = later[:, None][:, 0]
    perfect = float(np.maximum(truth, 0).mean() - max(truth.mean(), 0.0))
    assert study.evsi == pytest.approx(perfect, rel=0.02, abs=1.0)
    assert study.delay == 0
    assert study.net == pytest.approx(study.evsi - study.cost)
    at_once = value(effect, case_of(costs=works, studies={"lot": lot(meanwhile=1.0)}), draws=6000, rng=1).knowing
    assert at_once is not None
    assert at_once.studies[0].evsi > 1.2 * study.evsi


def test_an_experiment_on_a_claim_is_worth_something() -> None:
    claim = effect_of(0.2, 0.01, grade=Grade.E)
    works = {"works": said(value=9_000, months=[0], label="Works")}
    money = value(claim, case_of(costs=works, studies={"lot": lot()}), draws=4000, rng=1)
    assert money.knowing is not None
    study = money.knowing.studies[0]
    with_claims = money.draws["npv_with_claims"]
    assert 0 < study.evsi <= np.maximum(with_claims, 0).mean()
    assert study.delay == 0
    assert study.advice == "do"
    assert "evidence_uplift" in study.learns
    assert money.decision.advice is Advice.STOP


def test_order_is_broken_by_more_than_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    case = case_of(margin={"all": said(low=0.008, likely=0.012, high=0.016)})
    for by, verdict in ((0.004, Verdict.PASS), (0.006, Verdict.NOTE)):
        monkeypatch.setattr(information, "excess", lambda _, __, more, by=by: (by * more.worth, 0.0))
        money = value(effect_of(0.01, 0.02), case, **SMALL)
        assert found(money, "ROX-V30").verdict is verdict


# Splits, discounts, names.


def test_customers_kept_move_with_the_effect() -> None:
    effect = with_split(effect_of(0.04, 0.02), staying=0.01, kept=0.008)
    about = {**case_of().about.model_dump(), "explained_by": ["uplift"]}
    money = value(effect, case_of(case=about), draws=4000, rng=1)
    parts = money.draws["path_retention"], money.draws["worth_effect_uplift"]
    assert np.corrcoef(*parts)[0, 1] > 0.8
    assert money.point["path_retained"][0] / money.point["worth_effect_uplift"][0] == pytest.approx(0.2, abs=0.005)
    near_zero = with_split(effect_of(0.0, 0.02), staying=0.01, kept=0.008)
    spread = value(near_zero, case_of(case=about), draws=4000, rng=1).draws["path_retained"]
    assert spread.std() < 2 * money.draws["path_retained"].std()


def test_constant_effects_and_exact_discounts_are_one_value() -> None:
    exact = {**BIAS_LAYERS, Grade.B: BiasLayer(1.0, 0.0)}
    constant = replace(effect_of(), draws=np.full((4000, 2), 0.04))
    money = value(constant, case_of(), layers=exact, **SMALL)
    assert np.ptp(money.draws["npv"]) == 0
    assert money.draws["npv"][0] == pytest.approx(money.point["npv"][0])


def test_the_discounts_recorded_are_those_used() -> None:
    own = {**BIAS_LAYERS, Grade.B: BiasLayer(0.5, 0.1)}
    money = value(effect_of(0.04, 0.01).discounted(own), case_of(), **SMALL)
    assert money.layers[Grade.B] == own[Grade.B]
    assert money.layers[Grade.D] == BIAS_LAYERS[Grade.D]
    other = effect_of(0.04, 0.01, name="gap", channels=frozenset({"acquisition"}))
    with pytest.raises(CaseError, match="different evidence discounts"):
        value((effect_of(0.04, 0.01).discounted(own), other), case_of(), **SMALL)


@pytest.mark.parametrize("key", ["uplift_1", "none"])
def test_a_key_that_the_calculation_needs_is_refused(key: str) -> None:
    benefit = said(value=1, label="B", channel="cost_to_serve", months=[1])
    with pytest.raises(CaseError, match=f"benefits.{key}"):
        value(effect_of(0.04, 0.01), case_of(benefits={key: benefit}), **SMALL)


def test_a_benefit_named_after_an_effect_is_counted_once_in_the_bridge() -> None:
    benefit = said(value=1000, label="B", channel="cost_to_serve", months=[1])
    steps = value(effect_of(0.04, 0.01), case_of(benefits={"uplift_more": benefit}), **SMALL).bridge
    assert steps["value"].iloc[:-1].sum() == pytest.approx(steps["value"].iloc[-1])


def test_effects_with_one_beginning_are_two_factors() -> None:
    one = effect_of(0.04, 0.01, name="gap", channels=frozenset({"retention"}))
    other = effect_of(0.02, 0.01, name="gap_more", channels=frozenset({"expansion"}))
    about = {**case_of().about.model_dump(), "effects": ["gap", "gap_more"]}
    money = value((one, other), case_of(case=about), **SMALL)
    rows = money.tornado.set_index("name")
    assert rows.loc["effect_gap", "value"] == pytest.approx(0.04, abs=0.001)
    assert rows.loc["effect_gap_more", "value"] == pytest.approx(0.02, abs=0.001)


@pytest.mark.parametrize(("metrics", "wanted"), [(("churn_all", "churn_voluntary"), 0.06), (("churn_all",), 0.10)])
def test_a_new_case_takes_attrition_of_those_who_chose_to_leave(
    monkeypatch: pytest.MonkeyPatch, metrics: tuple[str, ...], wanted: float
) -> None:
    values = {"churn_all": 0.10, "churn_voluntary": 0.06}
    table = pd.DataFrame([{"metric": each, "value": values[each], "suppressed": False} for each in metrics])
    monkeypatch.setattr(case_draft, "churn", lambda *_, **__: table)
    study: Any = SimpleNamespace(tables={"customers": SimpleNamespace(columns={})})
    assert case_draft._leaving(study, study)["value"].tolist() == [wanted]


def test_a_cost_that_is_named_like_a_total_is_refused() -> None:
    with pytest.raises(CaseError, match=r"costs\.now: makes a second line 'spent_now'"):
        value(effect_of(), case_of(costs={"now": said(value=1, months=[0], label="Now")}), **SMALL)


def test_rewards_of_those_who_would_have_come_anyway_set_nothing_off() -> None:
    referral: Any = PARTS["referral"]
    fixed = {key: said(value=each) for key, each in (("rate", 0.1), ("conversion", 0.2))}
    chained = {**referral, **fixed, "displacement": said(value=1.0), "per": "initiative", "value": said(value=300)}
    alone = {key: each for key, each in chained.items() if key != "second"}
    about = {**ABOUT, "margin_basis": "marginal", "in_budget_from": None, "explained_by": []}
    first, second = (
        value(effect_of(), case_of(case=about, referral=each), **SMALL).point["worth_referral"][0]
        for each in (chained, alone)
    )
    assert first == pytest.approx(second, rel=1e-12)
