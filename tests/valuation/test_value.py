"""Valuation: by hand, its invariances, and what it refuses."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rox.core.assumption import Assumption
from rox.core.case import Case
from rox.core.check import BIAS_LAYERS, Check, Grade, Verdict
from rox.core.errors import CaseError, UnitError
from rox.core.estimand import Question
from rox.core.returns import Advice
from rox.core.units import Dose, Unit
from rox.valuation.value import value

from .conftest import case_of, effect_of, said

POINT = {"draws": 1000, "rng": 1}


def by_hand(tau: float, cost: float = 5_000, discount: float = 0.08) -> tuple[float, float, float]:
    """NPV, ROI and undiscounted sum of the small case, written out month by month."""
    npv = gains = spent = plain = 0.0
    for month in range(25):
        shape = min(1, month / 6) * 0.5 ** (max(0, month - 6) / 24)
        stay = 0.9 ** (max(0, month - 11) / 12)
        extra = (1000 * 10_000 + 100 * 200_000) * tau * shape * stay
        benefit, paid = extra * 0.012 / 12, cost if month == 0 else 0.0
        factor = 1 / (1 + discount) ** (month / 12)
        npv += (benefit - paid) * 0.75 * factor
        gains += benefit * 0.75 * factor
        spent += paid * 0.75 * factor
        plain += (benefit - paid) * 0.75
    return npv, gains / spent - 1, plain


def test_the_point_path_is_what_a_person_would_compute(case: Case) -> None:
    money = value(effect_of(0.04), case, **POINT)
    tau = float(effect_of(0.04).draws[:, 0].mean()) * 0.90
    npv, roi, plain = by_hand(tau)
    assert money.headline["npv"] == pytest.approx(npv, rel=1e-12)
    assert money.headline["roi"] == pytest.approx(roi, rel=1e-12)
    assert money.headline["undiscounted"] == pytest.approx(plain, rel=1e-12)


def test_irr_and_payback_solve_their_own_equations(case: Case) -> None:
    money = value(effect_of(0.04), case, **POINT)
    net, rate = money.point["net"], (1 + money.headline["irr"]) ** (1 / 12) - 1
    assert (net / (1 + rate) ** np.arange(25)).sum() == pytest.approx(0, abs=1e-9 * abs(net).sum())
    back = money.headline["payback"]
    total = money.point["cumulative"]
    month = int(np.ceil(back))
    assert total[month - 1] < 0 <= total[month]
    assert total[month - 1] + (back - (month - 1)) * net[month] == pytest.approx(0, abs=1e-8)
    assert money.headline["discounted_payback"] > back


def test_a_case_that_never_pays_back_says_so(case: Case) -> None:
    money = value(effect_of(0.001), case, **POINT)
    assert np.isnan(money.headline["payback"])
    assert money.decision.advice is Advice.STOP
    assert money.decision.p_payback == 0


def test_an_effect_per_point_is_multiplied_by_the_lift() -> None:
    panel = effect_of(
        500.0, name="panel", question=Question.SUSTAINED, dose=Dose.SCORE_POINT, unit=Unit.MONEY_PER_CUSTOMER,
        currency="CNY", includes_exit=False, channels=frozenset({"expansion"}),
    )  # fmt: skip
    money = value(panel, case_of(lift=said(value=0.5, unit="score_point")), **POINT)
    shape, stay = min(1, 3 / 6), 0.9 ** (3 / 12)
    mean = float(panel.draws[:, 0].mean())
    assert money.point["extra_panel_1"][3] == pytest.approx(1000 * mean * 0.90 * 0.5 * shape * stay, rel=1e-12)


def test_a_hazard_becomes_customers_who_stay() -> None:
    churn = effect_of(
        -0.2, name="churn", question=Question.HAZARD, dose=Dose.SCORE_POINT, unit=Unit.LOG_HAZARD,
        channels=frozenset({"retention"}), contrast="ratio",
    )  # fmt: skip
    case = case_of(
        lift=said(value=1.0, unit="score_point"), timing={"ramp": said(value=0.01), "half_life": said(value=1200)}
    )
    money = value(churn, case, **POINT)
    hazard = -np.log(0.9) / 12
    ratio = np.exp(float(churn.draws[:, 0].mean()) * 0.9)
    kept = np.exp(-hazard * 12 * ratio) - np.exp(-hazard * 12)
    assert money.point["extra_churn_1"][12] == pytest.approx(1000 * 10_000 * kept, rel=0.005)
    assert money.point["extra_churn_1"][0] == 0


def test_a_gap_is_never_priced(case: Case) -> None:
    gap = effect_of(
        9000.0, name="gap", question=Question.GAP, dose=Dose.SCORE_POINT, unit=Unit.MONEY_PER_CUSTOMER, currency="CNY"
    )
    with pytest.raises(UnitError, match="never priced"):
        value(gap, case_of(lift=said(value=0.5, unit="score_point")))


def test_a_pulse_is_priced_only_where_the_change_passes() -> None:
    about = {"dose": Dose.SCORE_POINT, "unit": Unit.MONEY_PER_CUSTOMER, "currency": "CNY", "includes_exit": False}
    pulse = effect_of(500.0, name="panel", question=Question.PULSE, channels=frozenset({"expansion"}), **about)
    lift = said(value=0.5, unit="score_point")
    with pytest.raises(UnitError, match=r"passing movement.*half-life 24 months"):
        value(pulse, case_of(lift=lift), **POINT)
    short = {"ramp": said(value=1), "half_life": said(value=6)}
    assert value(pulse, case_of(lift=lift, timing=short), **POINT).headline["npv"] != 0
    settled = effect_of(500.0, name="level", question=Question.LONG_RUN, channels=frozenset({"expansion"}), **about)
    with pytest.raises(UnitError, match="settles after years"):
        value(settled, case_of(lift=lift, timing=short), **POINT)


@pytest.mark.parametrize("aggregator", ["median", "capped_mean"])
def test_what_is_not_a_mean_makes_no_total(case: Case, aggregator: str) -> None:
    with pytest.raises(UnitError, match=r"ROX-T02.*is not a total"):
        value(effect_of(aggregator=aggregator), case, **POINT)


def test_all_that_does_not_match_is_said_at_once() -> None:
    wrong = effect_of(
        1.0, question=Question.SUSTAINED, dose=Dose.NPS_POINT, unit=Unit.MONEY_PER_CUSTOMER, currency="EUR"
    )
    with pytest.raises(UnitError) as caught:
        value(wrong, case_of(lift=said(value=0.5, unit="score_point")))
    text = "\n".join(caught.value.faults)
    assert "is in EUR, the case in CNY" in text
    assert "per nps_point, the case's lift is in score_point" in text


@pytest.mark.parametrize("unit", [Unit.MONTHS, Unit.NPS_POINT, Unit.COUNT])
def test_what_is_not_money_is_refused(case: Case, unit: Unit) -> None:
    with pytest.raises(UnitError, match="is not money"):
        value(effect_of(unit=unit), case)


def test_a_lift_is_asked_for(case: Case) -> None:
    panel = effect_of(question=Question.SUSTAINED, dose=Dose.SCORE_POINT)
    with pytest.raises(UnitError, match=r"add \[lift\]"):
        value(panel, case)


def test_the_same_money_twice_is_refused(case: Case) -> None:
    churn = effect_of(-0.2, name="churn", channels=frozenset({"retention"}))
    with pytest.raises(CaseError, match=r"ROX-V01.*retention is in effect uplift and in effect churn"):
        value([effect_of(), churn], case)
    twice = case_of(benefits={"kept": said(value=1, months=[1], label="Kept", channel="expansion")})
    with pytest.raises(CaseError, match=r"ROX-V01.*benefits\.kept"):
        value(effect_of(), twice)


def test_a_segment_without_an_estimate_is_refused() -> None:
    case = case_of(people={"a": said(value=1), "c": said(value=1)}, balance={"all": said(value=1)})
    with pytest.raises(CaseError, match="no estimate for segment 'c'"):
        value(effect_of(), case)


def test_another_channel_adds_up() -> None:
    more = case_of(benefits={"calls": said(value=100, every_month_from=0, label="Calls", channel="cost_to_serve")})
    plain, with_calls = value(effect_of(), case_of(), **POINT), value(effect_of(), more, **POINT)
    expected = sum(100 * 0.75 / 1.08 ** (month / 12) for month in range(25))
    assert with_calls.headline["npv"] - plain.headline["npv"] == pytest.approx(expected, rel=1e-12)


def test_the_bridge_adds_up_to_npv(case: Case) -> None:
    bridge = value(effect_of(), case, **POINT).bridge
    assert bridge["kind"].iloc[-1] == "total"
    assert bridge["value"].iloc[:-1].sum() == pytest.approx(bridge["value"].iloc[-1], rel=1e-12)


def test_segments_share_one_error(case: Case) -> None:
    """The estimate's error is common: its spread must not shrink by adding up segments as if they were independent."""
    money = value(effect_of(0.04, 0.02), case, draws=8000, rng=1)
    whole = money.draws["npv"].std()
    halves = [
        value(
            replace(effect_of(0.04, 0.02)),
            case_of(people={group: said(value=n)}, balance={group: said(value=b)}),
            draws=8000,
            rng=1,
        ).draws["npv"].std()
        for group, n, b in (("a", 1000, 10_000), ("b", 100, 200_000))
    ]  # fmt: skip
    assert whole == pytest.approx(sum(halves), rel=0.02)


def test_the_evidence_discount_moves_and_widens(case: Case) -> None:
    strong, weak = (value(effect_of(0.2, grade=g), case, draws=8000, rng=1) for g in (Grade.A, Grade.D))
    gross = {g: m.draws["present_benefit"] for g, m in (("A", strong), ("D", weak))}
    assert gross["D"].mean() / gross["A"].mean() == pytest.approx(BIAS_LAYERS[Grade.D].mean, abs=0.02)
    assert gross["D"].std() > 3 * gross["A"].std() * BIAS_LAYERS[Grade.D].mean


def test_one_seed_gives_one_answer_and_another_another(case: Case) -> None:
    one, same, other = (value(effect_of(0.04, 0.02), case, draws=500, rng=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one.draws["npv"], same.draws["npv"])
    assert not np.array_equal(one.draws["npv"], other.draws["npv"])


def test_draws_of_an_input_do_not_depend_on_the_other_inputs() -> None:
    plain = case_of(margin={"all": said(low=0.01, likely=0.012, high=0.02)})
    more = case_of(
        margin={"all": said(low=0.01, likely=0.012, high=0.02)},
        costs={"a": said(between=[1, 2], months=[3], label="A"), "works": said(value=5_000, months=[0], label="Works")},
    )
    first, second = (value(effect_of(0.04, 0.02), case, draws=500, rng=7) for case in (plain, more))
    np.testing.assert_allclose(first.draws["present_benefit"], second.draws["present_benefit"], rtol=1e-12)


def test_blocks_of_draws_are_invisible(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib

    whole = value(effect_of(0.04, 0.02), case, draws=700, rng=1)
    monkeypatch.setattr(importlib.import_module("rox.valuation.value"), "BLOCK", 99)
    parts = value(effect_of(0.04, 0.02), case, draws=700, rng=1)
    np.testing.assert_array_equal(whole.draws["npv"], parts.draws["npv"])
    np.testing.assert_array_equal(whole.fan.to_numpy(), parts.fan.to_numpy())


def test_break_evens_are_where_npv_is_zero(case: Case) -> None:
    money = value(effect_of(0.04), case, **POINT)
    row = money.tornado.set_index("name").loc["cost_works"]
    again = value(
        effect_of(0.04), case_of(costs={"works": said(value=row["break_even"], months=[0], label="W")}), **POINT
    )
    assert again.headline["npv"] == pytest.approx(0, abs=1e-6 * row["break_even"])


@pytest.mark.parametrize(
    ("mean", "sd", "grade", "advice"),
    [
        (0.20, 0.01, Grade.B, Advice.GO),
        (0.20, 0.01, Grade.C, Advice.LEARN_FIRST),
        (0.20, 0.30, Grade.B, Advice.LEARN_FIRST),
        (0.00, 0.01, Grade.A, Advice.STOP),
    ],
)
def test_advice_needs_value_odds_and_evidence(mean: float, sd: float, grade: Grade, advice: Advice) -> None:
    money = value(effect_of(mean, sd, grade=grade), case_of(), draws=4000, rng=1)
    assert money.decision.advice is advice


def test_perfect_information_is_worth_what_it_avoids(case: Case) -> None:
    money = value(effect_of(0.02, 0.02), case, draws=20_000, rng=1)
    npv = money.draws["npv"]
    expected = np.maximum(npv, 0).mean() - max(npv.mean(), 0)
    assert money.decision.evpi == pytest.approx(expected)
    assert money.decision.evpi > 0


@settings(max_examples=20, deadline=None)
@given(by=st.floats(0.01, 100))
def test_a_change_of_currency_changes_only_the_currency(by: float) -> None:
    one = value(effect_of(), case_of(), draws=100, rng=1).headline
    rescaled = case_of(
        balance={"a": said(value=by * 10_000), "b": said(value=by * 200_000)},
        costs={"works": said(value=by * 5_000, months=[0], label="Works")},
    )
    other = value(effect_of(), rescaled, draws=100, rng=1).headline
    assert other["npv"] == pytest.approx(by * one["npv"], rel=1e-9)
    for ratio in ("roi", "irr", "payback"):
        assert other[ratio] == pytest.approx(one[ratio], rel=1e-8)


@settings(max_examples=20, deadline=None)
@given(cost=st.floats(1, 1e6), more=st.floats(1, 1e6))
def test_more_cost_never_raises_npv(cost: float, more: float) -> None:
    low, high = (
        value(effect_of(), case_of(costs={"works": said(value=each, months=[0], label="W")}), draws=100, rng=1)
        for each in (cost, cost + more)
    )
    assert high.headline["npv"] < low.headline["npv"]
    assert (high.draws["npv"] <= low.draws["npv"]).all()


@settings(max_examples=20, deadline=None)
@given(first=st.floats(1, 1e5), second=st.floats(1, 1e5))
def test_present_value_is_linear_in_costs(first: float, second: float) -> None:
    def npv(**amounts: float) -> float:
        costs = {name: said(value=each, months=[0, 7], label=name) for name, each in amounts.items()}
        return value(effect_of(), case_of(costs=costs), draws=100, rng=1).headline["npv"]

    none = npv(a=1e-9)
    together = npv(a=first, b=second)
    assert together - none == pytest.approx((npv(a=first) - none) + (npv(a=second) - none), rel=1e-6, abs=1e-6)


def test_an_effect_that_the_case_does_not_name_is_not_priced() -> None:
    case = case_of()
    other = case.model_copy(update={"about": case.about.model_copy(update={"effects": ("churn",)})})
    with pytest.raises(CaseError, match=r"rests on churn(.|\n)*uplift: not among them"):
        value(effect_of(), other)


def test_the_effect_weighed_by_money_stands_beside_that_by_customers() -> None:
    """Segment a has a third of the money and ten elevenths of the customers."""

    def weighed(poor: float, rich: float) -> Check:
        effect = effect_of()
        noise = 0.01 * np.random.default_rng(1).standard_normal((4000, 2))
        money = value(replace(effect, draws=np.array([poor, rich]) + noise), case_of(), **POINT)
        return next(check for check in money.checks if check.code == "ROX-V05")

    found = weighed(0.04, 0.10)
    assert found.verdict is Verdict.PASS
    assert found.values["heads"] == pytest.approx(100 * (10 * 0.04 + 0.10) / 11, abs=0.1)
    assert found.values["money"] == pytest.approx(100 * (0.04 + 2 * 0.10) / 3, abs=0.1)
    assert weighed(0.0, 0.10).verdict is Verdict.NOTE
    assert weighed(0.10, -0.10).verdict is Verdict.NOTE


def test_an_effect_of_several_segments_moves_as_its_joint_draws_do(case: Case) -> None:
    rng = np.random.default_rng(1)
    effect = effect_of(0.04)
    apart = replace(effect, draws=0.04 + 0.02 * rng.standard_normal((4000, 2)))
    together = replace(effect, draws=0.04 + 0.02 * np.repeat(rng.standard_normal((4000, 1)), 2, axis=1))
    for one, ratio in ((apart, np.sqrt(0.5**2 + 0.5**2)), (together, 1.0)):
        money = value(one, case.model_copy(update={"balance": equal_money()}), draws=8000, rng=1)
        row = money.tornado.set_index("name").loc["effect_uplift"]
        # both segments hold the same money, so the factor's standard deviation is ratio · 0.02
        assert row["high"] - row["low"] == pytest.approx(2 * 1.2816 * 0.02 * ratio, rel=0.08)
        inside = np.quantile(money.draws["npv"], [0.05, 0.95])
        assert row["swing"] < inside[1] - inside[0]
    # a segment ten times as rich weighs ten times as much in the value shown
    money = value(apart, case, draws=500, rng=1)
    shown = money.tornado.set_index("name").at["effect_uplift", "value"]
    means = apart.draws.mean(0)
    held = np.array([1000 * 10_000, 100 * 200_000])
    assert shown == pytest.approx(float(means @ held / held.sum()), rel=1e-6)


def equal_money() -> dict[str, Assumption]:
    return {"a": Assumption(**said(value=10_000)), "b": Assumption(**said(value=100_000))}
