"""Priors from the register: what counts, what is left out, how much, and what a decision owes to them."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy import stats

from rox.core.check import BIAS_LAYERS, Grade, Verdict, grade_after
from rox.core.errors import FitError
from rox.core.estimand import Estimand, Question
from rox.core.register import Evaluation, Published, Register
from rox.core.units import Dose, Unit
from rox.models.map_prior import PriorReadings, discounted, map_prior, prior_readings
from rox.numerics.normal_mixture import NormalMixture

ESTIMAND = Estimand(
    question=Question.INITIATIVE,
    population="customers of places that started",
    treatment="refit",
    dose=Dose.INITIATIVE,
    outcome="aum",
    unit=Unit.RATIO,
    horizon=12,
    includes_exit=True,
)
COMMON: dict[str, Any] = {
    "type": "branch_refit",
    "outcome": "aum",
    "unit": Unit.RATIO,
    "dose": Dose.INITIATIVE,
    "horizon": 12,
    "date": dt.date(2024, 1, 31),
    "owner": "Retail analytics",
}


def evaluation(name: str, estimate: float, se: float, grade: str = "A", **more: Any) -> Evaluation:
    content = {**COMMON, "name": name, "estimate": estimate, "se": se, "grade": grade, "source": "Report", **more}
    return Evaluation.model_validate(content)


def published(name: str, estimate: float, se: float, discount: float = 0.2, **more: Any) -> Published:
    said = {"name": name, "estimate": estimate, "se": se, "discount": discount, "source": "Journal 2021"}
    return Published.model_validate({**COMMON, **said, **more})


def learn(*findings: Evaluation | Published, **more: Any) -> Any:
    register = Register(
        evaluations=tuple(each for each in findings if isinstance(each, Evaluation)),
        published=tuple(each for each in findings if isinstance(each, Published)),
    )
    asked = {"type": "branch_refit", "estimand": ESTIMAND, "vague_sd": 0.2, "sceptical_sd": 0.1, "rng": 1}
    return map_prior(register, **{**asked, **more})


PAST = [evaluation(f"refit_{k}", y, 0.01) for k, y in enumerate((0.02, 0.05, 0.035, 0.06))]


def predictive(
    means: list[float], sds: list[float], start: tuple[float, float], tau_scale: float
) -> tuple[float, float]:
    """Mean and standard deviation of the effect of a further unit, by brute force over tau and mu."""
    tau = np.linspace(0, 6 * tau_scale, 301)[1:, None]
    mu = np.linspace(-1.0, 1.0, 2001)
    log_p = stats.halfnorm.logpdf(tau, scale=tau_scale) + stats.norm.logpdf(mu, *start)
    for mean, sd in zip(means, sds, strict=True):
        log_p = log_p + stats.norm.logpdf(mean, mu, np.hypot(sd, tau))
    weight = np.exp(log_p - log_p.max())
    weight /= weight.sum()
    centre = float((weight * mu).sum())
    return centre, float(np.sqrt((weight * (tau**2 + (mu - centre) ** 2)).sum()))


def test_the_prior_is_the_predictive_distribution_of_a_further_initiative() -> None:
    prior = learn(*PAST)
    used = [discounted(each.estimate, each.error, each.grade) for each in PAST]
    mean, sd = predictive([m for m, _ in used], [s for _, s in used], (0.0, 0.2), 0.05)
    assert (prior.informative.mean, prior.informative.sd) == pytest.approx((mean, sd), rel=0.03)
    assert prior.mixture.mean == pytest.approx(0.8 * prior.informative.mean)
    assert prior.mixture.weights[-1] == pytest.approx(0.2)
    assert sum(each.weight for each in prior.contributions) == pytest.approx(1, abs=0.05)


def test_the_discount_is_that_of_a_product() -> None:
    layer = BIAS_LAYERS[Grade.D]
    rng = np.random.default_rng(1)
    truth = rng.normal(layer.mean, layer.sd, 400_000) * rng.normal(0.05, 0.02, 400_000)
    assert discounted(0.05, 0.02, Grade.D) == pytest.approx((truth.mean(), truth.std()), rel=0.01)


def test_weak_evidence_counts_for_less() -> None:
    weights = {}
    for grade in "ADE":
        prior = learn(*PAST[:2], evaluation("third", 0.05, 0.01, grade))
        weights[grade] = prior.contributions[2].weight
        assert prior.contributions[2].mean == pytest.approx(BIAS_LAYERS[Grade(grade)].mean * 0.05)
    assert weights["A"] > weights["D"]
    claim = learn(evaluation("claim", 0.30, 0.01, "E"))
    assert claim.informative.mean < 0.15
    assert claim.informative.sd > 0.05


def test_findings_that_measure_something_else_are_left_out_and_named() -> None:
    prior = learn(
        *PAST,
        evaluation("deposits", 0.9, 0.01, outcome="deposits"),
        evaluation("money", 900.0, 10.0, unit=Unit.MONEY_PER_CUSTOMER, currency="CNY"),
        evaluation("far", 0.9, 0.01, horizon=19),
        evaluation("near", 0.035, 0.01, horizon=18),
        evaluation("stayers", 0.9, 0.01, includes_exit=False),
        evaluation("other", 0.9, 0.01, type="call_centre"),
        published("per_point", 0.9, 0.01, dose=Dose.SCORE_POINT, question=Question.SUSTAINED),
    )
    left = {each.name: each for each in prior.contributions if each.reason}
    assert set(left) == {"deposits", "money", "far", "stayers", "per_point"}
    assert "near" in {each.name for each in prior.used}
    assert all(each.weight == 0 for each in left.values())
    assert left["money"].why() == "Left out: it measures something else (unit, currency)."
    assert left["per_point"].why("zh") == "未采用：所测内容不同（问题、剂量）。"
    assert "19 months" in left["far"].why()
    assert "Left out: deposits, money, far, stayers, per_point." in prior.text()
    same = learn(*PAST, evaluation("near", 0.035, 0.01, horizon=18))
    assert same.informative.mean == pytest.approx(prior.informative.mean)


def test_published_findings_enter_through_their_discount_only() -> None:
    """The power prior of the mean, by hand: variance over the discount, then one normal updated by another."""
    claim = published("journal", 0.30, 0.05, 0.25, grade="A")
    prior = learn(claim)
    mean, sd = discounted(0.30, 0.05, Grade.A)
    variance = (sd**2 + 0.05**2) / 0.25
    share = 0.2**2 / (0.2**2 + variance)
    assert prior.contributions[0].weight == pytest.approx(share)
    assert prior.informative.mean == pytest.approx(share * mean, rel=0.05)
    assert prior.informative.sd == pytest.approx(np.sqrt(share * variance + 0.05**2), rel=0.05)
    as_evaluation = learn(*PAST, evaluation("journal", 0.30, 0.05)).informative.mean
    alone = learn(*PAST).informative.mean
    with_claim = learn(*PAST, claim)
    assert alone < with_claim.informative.mean < as_evaluation
    assert with_claim.contributions[-1].weight < 0.1
    weak = learn(*PAST, published("journal", 0.30, 0.05, 0.05, grade="A"))
    assert weak.contributions[-1].weight < with_claim.contributions[-1].weight


def test_without_a_usable_finding_the_sceptic_speaks() -> None:
    for prior in (learn(), learn(evaluation("far", 0.5, 0.01, horizon=36))):
        assert prior.is_default
        assert (prior.mixture.mean, prior.mixture.sd) == (0.0, 0.1)
        assert "No finding about branch_refit can be used" in prior.text()
        assert prior.text("zh").startswith("没有可用的 branch_refit")


def test_other_segments_count_a_grade_lower() -> None:
    finding = evaluation("gold_only", 0.05, 0.01, "B", segments=("gold",))
    grades = [learn(finding, segments=each).contributions[0].grade for each in ((), ("gold", "mass"), ("mass",))]
    assert grades == [Grade.B, Grade.B, Grade.C]


def test_text_and_table_in_both_languages() -> None:
    prior = learn(*PAST, published("journal", 0.04, 0.02), evaluation("far", 0.5, 0.01, horizon=36))
    assert "past evaluations (4) and published findings (1), each" in prior.text()
    assert "20% of it is vague" in prior.text()
    assert "4 项既往评估和 1 项公开研究" in prior.text("zh")
    table = prior.table()
    assert list(table["Finding"]) == [*(each.name for each in PAST), "far", "journal"]
    assert (table.loc[table["Why left out"] == "", "Weight"] > 0).all()
    assert list(prior.table("zh")["类型"].unique()) == ["自有评估", "公开研究"]
    assert list(learn().table().columns) == list(table.columns)


def test_one_seed_gives_one_prior() -> None:
    once, again = learn(*PAST), learn(*PAST)
    assert (once.mixture.means == again.mixture.means).all()


def test_useless_scales_are_all_named() -> None:
    with pytest.raises(FitError) as caught:
        learn(vague_sd=0.0, sceptical_sd=-1.0, tau_scale=0.0, robust=1.0)
    assert len(caught.value.faults) == 4
    with pytest.raises(FitError) as caught:
        prior_readings(np.nan, 0.0, learn(), sceptical_sd=0.0)
    assert len(caught.value.faults) == 3


def readings(estimate: float, se: float, **more: Any) -> PriorReadings:
    return prior_readings(estimate, se, learn(*PAST), sceptical_sd=0.05, **more)


def test_readings_are_conjugate_and_ordered() -> None:
    table = readings(0.03, 0.02).table
    assert list(table.index) == ["sceptical", "neutral", "enthusiastic"]
    sceptical = table.loc["sceptical"]
    keep = 0.05**2 / (0.05**2 + 0.02**2)
    assert sceptical["mean"] == pytest.approx(keep * 0.03)
    assert sceptical["prior_weight"] == pytest.approx(1 - keep)
    assert sceptical["p_positive"] == pytest.approx(stats.norm.cdf(keep * 0.03 / (0.02 * np.sqrt(keep))))
    assert sceptical["low"] == pytest.approx(keep * 0.03 - stats.norm.ppf(0.95) * 0.02 * np.sqrt(keep))
    assert sceptical["conflict_p"] == pytest.approx(2 * stats.norm.sf(0.03 / np.hypot(0.05, 0.02)))
    enthusiast = NormalMixture.normal(table.at["enthusiastic", "prior_mean"], table.at["enthusiastic", "prior_sd"])
    assert enthusiast.cdf(0.0) == pytest.approx(0.05)
    assert table["p_above"].equals(table["p_positive"])
    assert (np.diff(readings(0.03, 0.02, break_even=0.02).table["p_above"][["sceptical", "enthusiastic"]]) > 0).all()


def test_the_grade_of_the_new_study_discounts_it_first() -> None:
    raw, graded = readings(0.03, 0.02).table, readings(0.03, 0.02, grade=Grade.E).table
    mean, sd = discounted(0.03, 0.02, Grade.E)
    assert graded.at["sceptical", "mean"] == pytest.approx(mean * 0.05**2 / (0.05**2 + sd**2))
    assert graded.at["sceptical", "mean"] < raw.at["sceptical", "mean"]


def test_a_decision_that_depends_on_the_prior_lowers_the_grade() -> None:
    wide = readings(0.03, 0.05, break_even=0.03)
    agree, depends = wide.checks
    assert (agree.code, agree.verdict) == ("ROX-B01", Verdict.PASS)
    assert (depends.code, depends.verdict) == ("ROX-B02", Verdict.DEMOTE)
    assert grade_after(Grade.B, wide.checks) is Grade.C
    assert "above 0.03 is" in depends.sentence()
    clear = readings(0.08, 0.005, break_even=0.03).checks[1]
    assert clear.verdict is Verdict.PASS
    assert clear.sentence("zh").startswith("决策不取决于先验")
    never = readings(-0.08, 0.005, break_even=0.03).checks[1]
    assert never.verdict is Verdict.PASS


def test_data_at_odds_with_the_past_are_named_and_win() -> None:
    """The vague component must not hide the conflict that it is there for."""
    odd, prior = readings(-0.30, 0.02), learn(*PAST)
    assert odd.checks[0].verdict is Verdict.NOTE
    assert odd.table.at["neutral", "conflict_p"] == pytest.approx(prior.informative.conflict(-0.30, 0.02))
    assert odd.table.at["neutral", "conflict_p"] < 0.001 < prior.mixture.conflict(-0.30, 0.02)
    assert odd.table.at["neutral", "mean"] == pytest.approx(-0.30, abs=0.01)
    assert odd.posterior["neutral"].weights[-1] > 0.99


def test_money_is_written_with_its_currency() -> None:
    money = replace(ESTIMAND, unit=Unit.MONEY_PER_CUSTOMER, currency="CNY")
    past = evaluation("money", 900.0, 100.0, unit=Unit.MONEY_PER_CUSTOMER, currency="CNY")
    prior = learn(past, estimand=money, vague_sd=2000.0, sceptical_sd=1000.0)
    assert "CNY" in prior.text()
    said = prior_readings(500.0, 100.0, prior, sceptical_sd=1000.0, break_even=200.0).checks[1].sentence()
    assert "CNY 200" in said


def test_a_scale_that_nobody_gave_is_not_complained_of() -> None:
    with pytest.raises(FitError) as caught:
        learn(sceptical_sd=0.0)
    assert caught.value.faults == ("sceptical_sd is 0; needed: above 0",)
