"""What knowing more is worth, on a case small enough to be worked out by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy.stats import norm

from rox.core.case import Case
from rox.core.check import BIAS_LAYERS, Grade, Verdict
from rox.core.effect import Effect
from rox.core.estimand import Question
from rox.core.knowing import Knowing, StudyWorth
from rox.core.returns import Return
from rox.core.units import Dose, Unit
from rox.valuation.information import CROSSED
from rox.valuation.value import value

from .conftest import case_of, effect_of, said

WORKS = 9_000.0
LOT = {"kind": "holdout", "effect": "uplift", "share": 0.5, "months": 6, "sd": 0.4}


def study(**about: Any) -> dict[str, Any]:
    return {"label": "L", "cost": 0, "wait": 6, "meanwhile": 1.0, **said(), **about}


def priced(effect: Effect | None = None, case: Case | None = None, *, draws: int = 10_000) -> tuple[Return, Knowing]:
    money = value(effect or known_effect(), case or uncertain_case(), draws=draws, rng=1)
    assert money.knowing is not None
    return money, money.knowing


def known_effect(mean: float = 0.030, sd: float = 0.02, **about: Any) -> Effect:
    """An effect that all segments share, measured on 2,000 customers."""
    return replace(effect_of(mean, sd, **about), counts={"customers": 2_000, "clusters": 40})


def uncertain_case(**changes: Any) -> Case:
    works = {"works": said(between=[0.8 * WORKS, 1.2 * WORKS], months=[0], label="Works")}
    return case_of(**{"costs": works, "margin": {"all": said(low=0.008, likely=0.012, high=0.016)}, **changes})


def loss(mean: float, sd: float) -> float:
    z = abs(mean) / sd
    return float(sd * (norm.pdf(z) - z * norm.sf(z)))


def test_everything_is_worth_what_the_decision_says() -> None:
    money, known = priced()
    assert known.evpi == pytest.approx(money.decision.evpi, rel=1e-12)
    assert known.draws == 10_000
    assert known.crossed == CROSSED
    assert {check.code: check.verdict for check in known.checks} == {
        "ROX-V30": Verdict.PASS, "ROX-V31": Verdict.PASS,
    }  # fmt: skip
    assert all(check in money.checks for check in known.checks)
    assert money.as_record()["knowing"]["evpi"] == known.evpi


def test_factors_are_those_that_vary_and_their_shares_follow_from_products() -> None:
    """NPV is a·effect·evidence·margin - b·works with independent factors, so its variance splits in closed form."""
    money, known = priced()
    table = known.factors.set_index("name")
    assert set(table.index) == {"effect_uplift", "evidence_uplift", "margin_all", "cost_works"}
    names = ["effect_uplift_1", "evidence_uplift", "margin_all"]
    relative = np.array([(money.drawn[name].std() / money.drawn[name].mean()) ** 2 for name in names])
    gain = money.draws["present_benefit"]
    whole = gain.var() + money.draws["present_cost"].var()
    first = relative * gain.mean() ** 2 / whole
    total = relative * np.prod(1 + relative) / (1 + relative) * gain.mean() ** 2 / whole
    for key, true in (("first", first), ("total", total)):
        rows = table.loc[["effect_uplift", "evidence_uplift", "margin_all"]]
        off = np.abs(rows[key].to_numpy() - true) / rows[f"{key}_error"].to_numpy()
        assert off.max() < 4
    assert table.loc["cost_works", "first"] == pytest.approx(money.draws["present_cost"].var() / whole, abs=0.02)
    assert 0.7 < known.rank_r2 <= 1


def test_knowing_one_factor_is_worth_what_the_mean_given_it_says() -> None:
    """NPV given the effect is linear in it, and the effect is normal."""
    money, known = priced()
    row = known.factors.set_index("name").loc["effect_uplift"]
    effect, npv = money.drawn["effect_uplift_1"], money.draws["npv"]
    sd = np.cov(effect, npv)[0, 1] / effect.std()
    assert row["evppi"] == pytest.approx(loss(npv.mean(), sd), abs=3.5 * row["evppi_error"])
    assert known.factors["evppi"].is_monotonic_decreasing
    assert (known.factors["evppi"] <= known.evpi).all()


def test_a_hold_out_is_worth_what_its_error_says_and_more_the_larger_it_is() -> None:
    """With an estimate of grade A the truth is nearly normal; so is what the hold-out reports."""
    found: list[StudyWorth] = []
    effect = known_effect(grade=Grade.A)
    for customers in (300, 3_000, 300_000):
        case = uncertain_case(studies={"lot": study(**LOT, customers=customers)})
        money, known = priced(effect, case)
        found += known.studies
        truth = money.drawn["effect_uplift_1"] * money.drawn["evidence_uplift"]
        npv = money.draws["npv"]
        slope = np.cov(truth, npv)[0, 1] / truth.var()
        error = 0.4 * np.sqrt(4 / customers)
        assert found[-1].error == pytest.approx(error, rel=1e-9)
        assert found[-1].detectable == pytest.approx(2.8016 * error, rel=1e-4)
        sd = slope * truth.var() / np.hypot(truth.std(), error)
        assert found[-1].evsi == pytest.approx(loss(npv.mean(), sd), abs=3.5 * found[-1].evsi_error + 3)
    assert found[0].evsi < found[1].evsi < found[2].evsi
    assert found[2].evsi == pytest.approx(found[2].evppi, rel=0.05)
    assert set(found[0].learns) == {"effect_uplift", "evidence_uplift"}
    assert found[0].unit == "share"


def test_weaker_evidence_makes_an_experiment_worth_more() -> None:
    """Both estimates say the same after their discount; the weaker one leaves more to find out."""
    case = uncertain_case(studies={"lot": study(**LOT, customers=50_000)})
    worths = {}
    for grade in (Grade.A, Grade.D):
        scale = BIAS_LAYERS[grade].mean
        worths[grade] = priced(known_effect(0.03 / scale, 0.01 / scale, grade=grade), case)[1].studies[0].evsi
    assert worths[Grade.D] > 1.3 * worths[Grade.A]


def test_error_of_the_measured_effect_stands_for_customers_unless_said() -> None:
    about = {**LOT, "customers": 2_000}
    del about["sd"]
    studies = {"same": study(**about), "more": study(**{**about, "customers": 8_000})}
    money, known = priced(case=uncertain_case(studies=studies), draws=1_000)
    own = float(money.effects[0].overall.std(ddof=1))
    assert known.studies[0].error == pytest.approx(own, rel=1e-9)
    assert known.studies[1].error == pytest.approx(own / 2, rel=1e-9)


def test_an_effect_still_building_up_is_seen_in_part() -> None:
    studies = {"early": study(**{**LOT, "months": 3}), "full": study(**LOT)}
    early, full = priced(case=uncertain_case(studies=studies), draws=1_000)[1].studies
    assert early.error == pytest.approx(2 * full.error, rel=1e-9)


def test_places_share_an_error_that_customers_do_not_take_away() -> None:
    studies = {"lot": study(**{**LOT, "places": 10, "customers": 1e9})}
    money, known = priced(case=uncertain_case(studies=studies), draws=1_000)
    own = float(money.effects[0].overall.std(ddof=1))
    assert known.studies[0].error == pytest.approx(own * np.sqrt(40) / 2 * np.sqrt(2 / 5), rel=1e-3)


def test_what_it_costs_and_what_waiting_costs() -> None:
    plain = priced(case=uncertain_case(studies={"lot": study(**LOT)}))[1].studies[0]
    assert plain.delay == 0
    dear = priced(case=uncertain_case(studies={"lot": study(**LOT, cost=1e6, open=0.5)}))[1].studies[0]
    assert dear.cost == pytest.approx(0.75e6)
    assert dear.worth == pytest.approx(plain.evsi / 2)
    assert (plain.advice, dear.advice) == ("do", "do_not")
    assert dear.net == pytest.approx(dear.worth - 0.75e6)


def test_waiting_loses_the_last_months_and_interest() -> None:
    case = uncertain_case(studies={"lot": study(**LOT, wait=12) | {"meanwhile": 0.25}})
    money, known = priced(known_effect(0.2, 0.01), case)
    flows, rate = money.fan, 1.08
    start_later = float(flows.loc[12, "q50"]) / rate
    assert known.studies[0].delay == pytest.approx(0.75 * (money.decision.npv - start_later), rel=0.03)
    never = priced(known_effect(-0.2, 0.01), case)[1].studies[0]
    assert never.delay == 0


def test_a_survey_learns_the_lift_and_a_measurement_its_assumption() -> None:
    panel = replace(
        effect_of(0.04, 0.001, question=Question.SUSTAINED, dose=Dose.SCORE_POINT, grade=Grade.A), name="panel"
    )
    case = uncertain_case(
        lift=said(low=0.1, likely=0.9, high=2.2, unit="score_point"),
        studies={
            "survey": study(kind="survey", answers=1_600, sd=2.5),
            "ledger": study(kind="measure", of="margin.all", sd=1e-9),
        },
    )
    survey, ledger = priced(panel, case)[1].studies
    assert survey.learns == ("lift",)
    assert survey.error == pytest.approx(2.5 * 2 / 40)
    assert survey.unit == "score_point"
    assert 0.8 * survey.evppi < survey.evsi <= survey.evppi
    assert ledger.learns == ("margin_all",)
    assert ledger.evsi == pytest.approx(ledger.evppi, rel=1e-3)


def test_a_hold_out_on_leaving_has_its_error_from_the_exits() -> None:
    churn = effect_of(
        -0.15, 0.05, name="churn", question=Question.HAZARD, dose=Dose.SCORE_POINT, unit=Unit.LOG_HAZARD,
        channels=frozenset({"retention"}),
    )  # fmt: skip
    lift = said(low=0.2, likely=0.5, high=0.9, unit="score_point")
    lot = {name: each for name, each in LOT.items() if name != "sd"} | {"customers": 1_100, "effect": "churn"}
    case = uncertain_case(
        lift=lift, studies={"lot": study(**lot)}, timing={"ramp": said(value=1), "half_life": said(value=1e3)}
    )
    known = priced(churn, case, draws=1_000)[1].studies[0]
    exits = -np.log(0.9) * 6 / 12 * 550
    shape = np.mean(0.5 ** (np.arange(6) / 1e3))
    one = np.sqrt(2 / exits) / shape
    assert known.error == pytest.approx(one * np.sqrt((10 / 11) ** 2 * 1.1 + (1 / 11) ** 2 * 11), rel=1e-6)
    assert set(known.learns) == {"effect_churn", "evidence_churn", "lift"}


def test_without_a_study_a_hold_out_is_offered_and_not_advised() -> None:
    known = priced()[1]
    (offer,) = known.studies
    assert offer.advice == "offer"
    assert 0 < offer.evsi <= offer.evppi
    assert np.isnan(offer.cost)
    assert priced(effect_of(0.03, 0.02))[1].studies == ()


@pytest.mark.parametrize(
    ("about", "reason"),
    [
        ({**LOT, "sd": None}, "sd"),
        ({**LOT, "places": 8}, "places"),
        ({**LOT, "effect": "churn"}, "effect"),
    ],
)
def test_a_study_whose_error_nobody_knows_is_said_and_left_out(about: dict[str, Any], reason: str) -> None:
    money, known = priced(effect_of(0.03, 0.02), uncertain_case(studies={"lot": study(**about)}), draws=1_000)
    assert known.studies == ()
    (note,) = (check for check in money.checks if check.code == "ROX-V32")
    assert note.values == {"study": "lot", "reason": f"study.lacks.{reason}"}
    assert note.verdict is Verdict.NOTE


def test_correlated_assumptions_are_one_factor() -> None:
    pair = [{"between": ["margin.all", "costs.works"], "rank": 0.8, **said()}]
    table = priced(case=uncertain_case(correlation=pair))[1].factors
    joined = table[table["parts"].map(len) > 1]
    assert [set(parts) for parts in joined["parts"]] == [{"margin_all", "cost_works"}]
    assert " + " in joined["en"].iloc[0]
    assert table["first"].sum() < 1.05


def test_evidence_of_the_same_data_is_one_factor() -> None:
    kept = effect_of(-0.1, 0.02, name="churn", question=Question.HAZARD, dose=Dose.INITIATIVE, unit=Unit.LOG_HAZARD,
                     channels=frozenset({"retention"}))  # fmt: skip
    grown = effect_of(0.03, 0.02, channels=frozenset({"expansion"}))
    known = value([kept, grown], uncertain_case(), draws=1_000, rng=1).knowing
    assert known is not None
    assert ("evidence_churn", "evidence_uplift") in set(known.factors["parts"])


def test_one_seed_gives_one_answer_and_few_draws_give_none() -> None:
    one, same = (priced(draws=2_000)[1] for _ in range(2))
    assert str(one.as_record()) == str(same.as_record())
    assert value(known_effect(), uncertain_case(), draws=400, rng=1).knowing is None


def test_nothing_uncertain_is_worth_nothing() -> None:
    known = value(replace(effect_of(0.05), draws=np.full((4_000, 2), 0.05)), case_of(), draws=1_000, rng=1).knowing
    assert known is not None
    assert list(known.factors["name"]) == ["evidence_uplift"]
    assert known.evpi >= 0
