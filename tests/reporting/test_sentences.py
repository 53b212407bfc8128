"""Every sentence follows from one decision: verbs from the grade, and no two sentences that contradict each other."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rox.core.case import Case
from rox.core.check import BIAS_LAYERS, Check, Grade, Verdict
from rox.core.effect import Effect
from rox.core.estimand import Question
from rox.core.returns import Advice, Decision, Return
from rox.core.units import Unit
from rox.core.words import LANGUAGES, Language, catalogue, say
from rox.reporting import sentences
from rox.reporting.blocks import Table
from rox.reporting.html import page_html
from rox.reporting.parts.answer import answer
from rox.reporting.parts.assumptions import assumptions
from rox.reporting.parts.bridge import bridge
from rox.reporting.parts.doubts import turning
from rox.reporting.parts.evidence import evidence
from rox.reporting.report import report
from rox.reporting.request import Request

from .conftest import assumed, case_content

CAUSAL = {
    "en": re.compile(r"\b(raised|lowered|caused|increased)\b"),
    "zh": re.compile(r"(使.{0,20}(提升|下降)|导致)"),
}
CLAIMS: dict[str, Callable[[Decision], bool]] = {
    "answer.go.none": lambda d: d.expected_npv > 0 and d.p_positive >= d.enough and d.grade.is_causal,
    "answer.learn_first.odds": lambda d: d.expected_npv > 0 and d.p_positive < d.enough and d.grade.is_causal,
    "answer.learn_first.grade": lambda d: d.expected_npv > 0 and d.p_positive >= d.enough and not d.grade.is_causal,
    "answer.learn_first.odds_and_grade": lambda d: (
        d.expected_npv > 0 and d.p_positive < d.enough and not d.grade.is_causal
    ),
    "answer.stop.value": lambda d: d.expected_npv <= 0,
}
"""What must hold for each answer to be said."""


def advised(expected: float, p: float, grade: Grade, enough: float) -> Advice:
    """The rule as the valuation applies it."""
    if expected <= 0:
        return Advice.STOP
    return Advice.GO if p >= enough and grade.is_causal else Advice.LEARN_FIRST


@st.composite
def decisions(draw: st.DrawFn) -> Decision:
    middle = round(draw(st.floats(-1e9, 1e9)), 2)
    half = draw(st.floats(1e2, 1e9))
    expected = round(draw(st.one_of(st.floats(-1e9, 1e9), st.sampled_from([-1.0, -0.01, 0.0, 0.01, 1.0]))), 2)
    p = draw(st.one_of(st.floats(0, 1), st.sampled_from([0.0, 0.799_99, 0.80, 0.800_01, 1.0])))
    grade = draw(st.sampled_from(list(Grade)))
    p_payback = draw(st.floats(0, 1))
    return Decision(
        advice=advised(expected, p, grade, 0.80),
        expected_npv=expected,
        npv=middle,
        low=middle - half,
        high=middle + half,
        p_positive=p,
        p_hurdle=p * 0.9,
        hurdle=0.2,
        roi=draw(st.floats(-1, 10)),
        payback=draw(st.floats(0.5, 36)) if p_payback > 0.5 else math.nan,
        p_payback=p_payback,
        grade=grade,
        evpi=draw(st.floats(0, 1e8)),
        enough=0.80,
    )


def key_of(money: Return) -> str:
    return f"answer.{money.decision.advice}.{sentences.shortfalls(money.decision)}"


def for_every_decision(check: Callable[[Decision], None]) -> None:
    settings(max_examples=200)(given(decision=decisions())(check))()


def test_the_answer_the_rule_and_the_advice_agree(money: Return) -> None:
    def check(decision: Decision) -> None:
        told = replace(money, decision=decision, grade=decision.grade)
        assert [name for name, holds in CLAIMS.items() if holds(decision)] == [key_of(told)]
        for language in LANGUAGES:
            met = [is_met for *_, is_met in sentences.criteria(told, language)]
            assert all(met) == (decision.advice is Advice.GO)
            assert met[0] == (decision.advice is not Advice.STOP)

    for_every_decision(check)


def test_no_number_looks_unlike_what_is_said_of_it(money: Return) -> None:
    def check(decision: Decision) -> None:
        told = replace(money, decision=decision, grade=decision.grade)
        value, odds, _ = sentences.criteria(told, "en")
        assert value[2].startswith("−") == (decision.expected_npv < 0)
        assert any(sign in "123456789" for sign in value[2]) == (decision.expected_npv != 0)
        shown = float(re.sub(r"[<>%]| \(.*", "", odds[2]))
        if shown == 80:
            assert decision.p_positive == 0.80
        else:
            assert (shown > 80) == (decision.p_positive > 0.80)
        back, _ = sentences.payback(told, "en")
        assert (back == "not within the horizon") == math.isnan(decision.payback)

    for_every_decision(check)


def test_the_answer_speaks_with_the_numbers_of_the_rule(money: Return) -> None:
    def check(decision: Decision) -> None:
        told = replace(money, decision=decision, grade=decision.grade)
        for language in LANGUAGES:
            said = sentences.answer(told, language)
            (_, _, expected, _), (_, _, odds, _), _ = sentences.criteria(told, language)
            assert odds in said
            assert sentences.npv_form(told, language)(decision.npv) in said
            assert decision.advice is Advice.GO or expected in said

    for_every_decision(check)


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("grade", list(Grade))
@pytest.mark.parametrize("mean", [0.03, -0.03, 0.0])
def test_verbs_follow_the_grade(effects: Callable[..., Effect], language: Language, grade: Grade, mean: float) -> None:
    effect = effects(mean=mean - 0.0005, sd=0.004, grade=grade)
    said = sentences.finding(effect, language, "AUM")
    assert bool(CAUSAL[language].search(said)) == (grade.is_causal and mean != 0)
    if mean == 0:
        assert ("zero" if language == "en" else "零") in said
    elif grade is Grade.C:
        assert ("is consistent with" if language == "en" else "相一致") in said
    elif not grade.is_causal:
        assert ("goes with" if language == "en" else "相关") in said


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("grade", list(Grade))
def test_a_gap_between_people_is_never_an_effect(rival: Effect, language: Language, grade: Grade) -> None:
    said = sentences.finding(replace(rival, grade=grade), language, "AUM")
    assert not CAUSAL[language].search(said)
    assert ("compares people" if language == "en" else "人与人的比较") in said


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_log_hazard_is_told_as_a_change_of_the_exit_rate(rival: Effect, language: Language) -> None:
    estimand = replace(rival.estimand, question=Question.HAZARD, unit=Unit.LOG_HAZARD, currency="")
    draws = np.log(0.9) + np.linspace(-0.01, 0.01, 200)[:, None]
    effect = replace(rival, estimand=estimand, draws=draws)
    said = sentences.finding(effect, language, "AUM")
    assert "10.00%" in said
    assert "AUM" not in said


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_report_on_weak_evidence_says_nothing_causal(weak: Return, rival: Effect, language: Language) -> None:
    page = re.sub(r"<[^>]+>", " ", report(weak, rivals=[rival], language=language).html())
    assert not CAUSAL[language].search(page)


def test_a_report_on_strong_evidence_does(money: Return) -> None:
    assert CAUSAL["en"].search(report(money).html())


def test_the_grade_says_which_check_lowered_it() -> None:
    lowering = Check(code="ROX-V04", verdict=Verdict.DEMOTE, values={"place": 90.0}, to_grade=Grade.C)
    passed = Check(code="ROX-V03", verdict=Verdict.PASS, values={"draws": 100, "share": 1.0})
    meaning, why = sentences.grade_reasons([passed, lowering], Grade.C, "en")
    assert meaning.startswith("Grade C")
    assert "ROX-V04" in why
    assert "90%" in why
    assert sentences.grade_reasons([passed], Grade.B, "en")[1] == catalogue()["grade.kept"]["en"]


def test_turning_points_are_where_the_tornado_says(money: Return) -> None:
    said = sentences.turning_points(money, "en", most=3)
    table = money.tornado.dropna(subset=["break_even"])
    nearest = (table["break_even"] / table["value"] - 1).abs().sort_values(kind="stable").index[:3]
    assert [text.split(": zero")[0] for text in said] == [table.loc[place, "en"] for place in nearest]
    assert all(("falls" in text) == ("−" in text.split("(")[-1]) for text in said)


def test_without_turning_points_that_is_said(money: Return) -> None:
    none = replace(money, tornado=money.tornado.assign(break_even=np.nan))
    assert sentences.turning_points(none, "en") == (catalogue()["turn.none"]["en"],)


def test_npv_under_other_grades_is_what_the_ledger_gives(money: Return) -> None:
    found = sentences.at_other_grades(money)
    assert found[money.grade] == pytest.approx(money.point["npv"][0])
    assert found.is_monotonic_decreasing
    quiet = money.ledger.totals({**money.ledger.point, "evidence_uplift": BIAS_LAYERS[Grade.D].mean})["npv"][0]
    assert found[Grade.D] == pytest.approx(quiet)


def test_what_is_not_said_depends_on_the_case(money: Return, weak: Return) -> None:
    said, weakly = list(sentences.not_said(money, "en")), list(sentences.not_said(weak, "en"))
    assert not any("does not say that the change brings" in each for each in said)
    assert any("does not say that the change brings" in each for each in weakly)
    assert any("referral" in each and "retention" not in each for each in said)
    assert any("after month 12" in each for each in said)


def test_why_a_rival_is_not_priced(money: Return, rival: Effect) -> None:
    assert "compares people" in sentences.unpriced(rival, money, "en")
    twice = replace(rival, estimand=replace(rival.estimand, question=Question.SUSTAINED))
    assert "expansion" in sentences.unpriced(twice, money, "en")
    other = replace(rival, estimand=replace(twice.estimand, channels=frozenset({"referral"})))
    assert "does not ask" in sentences.unpriced(other, money, "en")


def test_information_is_worth_nothing_when_no_draw_turns(money: Return) -> None:
    def said(evpi: float) -> str:
        return sentences.worth_knowing(replace(money, decision=replace(money.decision, evpi=evpi)), "en")

    assert said(0.0) == catalogue()["evpi.none"]["en"]
    assert "CN¥27,000" in said(26_906.0)


def test_assumptions_drawn_together_are_named(money: Return) -> None:
    pair = {"between": ["balance.gold", "margin.all"], "rank": 0.6, **assumed()}
    tied = replace(money, case=Case.model_validate({**case_content(), "correlation": [pair]}))
    for language in LANGUAGES:
        free = list(sentences.not_said(money, language))
        said = list(sentences.not_said(tied, language))
        assert say("not_said.independent", language) in free
        assert say("not_said.independent", language) not in said
        assert any("0.6" in each for each in said)
        note = next(each for each in assumptions(Request(money=tied, language=language)).blocks if each.kind == "table")
        assert "0.6" in note.note  # type: ignore[union-attr]
        assert say("not_said.independent", language) not in page_html(report(tied, language=language).versions)


def test_a_correlation_that_is_priced_is_called_one(money: Return, weak: Return, rival: Effect) -> None:
    for told, key in ((money, "rivals.text"), (weak, "rivals.text.correlation")):
        texts = [getattr(block, "text", "") for block in evidence(Request(money=told, rivals=(rival,))).blocks]
        assert say(key) in texts


def test_the_bridge_explains_a_difference_only_where_there_is_one(money: Return) -> None:
    point = float(money.point["npv"][0])
    same = replace(money, decision=replace(money.decision, npv=point))
    other = replace(money, decision=replace(money.decision, npv=2 * point))
    assert "The two differ" not in str(bridge(Request(money=same)).blocks[1])
    assert "The two differ" in str(bridge(Request(money=other)).blocks[1])


def test_weak_grades_never_go(money: Return) -> None:
    table = next(block for block in turning(Request(money=money)).blocks if isinstance(block, Table))
    said = [str(getattr(row[-1], "text", row[-1])) for row in table.rows]
    assert "Go ahead" in said[1]
    assert all("Go ahead" not in each for each in said[2:])
    assert [row[2] for row in table.rows] == [f"{layer.sd:.2f}" for layer in money.layers.values()]
    assert all("judged" in str(row[3]) or "fitted" in str(row[3]) for row in table.rows)


def test_the_answer_names_at_most_two_doubts_the_gravest_first(money: Return) -> None:
    values: dict[str, str | int | float] = {
        "slope": 0.1,
        "bias": 1.0,
        "effect": 2.0,
        "m": 1.2,
        "blocks": 2,
        "months": 3,
        "leavers": "1",
        "book": "2",
    }
    checks = tuple(Check(code=code, verdict=Verdict.NOTE, values=values) for code in ("ROX-S05", "ROX-L02", "ROX-L22"))
    effects = tuple(replace(effect, checks=checks) for effect in money.effects)
    points = next(
        block for block in answer(Request(money=replace(money, effects=effects))).blocks if block.kind == "points"
    )
    said = [each for each in points.points if each.startswith("What could turn")]  # type: ignore[union-attr]
    assert ["ROX-L22" in said[0], "ROX-L02" in said[1], len(said)] == [True, True, 2]


def test_what_falls_after_the_months_measured_is_said(money: Return) -> None:
    incomes = np.array([money.point[f"income_uplift_{place}"] for place in (1, 2, 3)])
    flows = (incomes * money.point["discount_factor"]).sum(0)
    share = float(flows[13:].sum() / flows.sum())
    (said,) = sentences.months_after(money, "en")
    assert f"{share:.0%}" in said
    assert "(12)" in said
    assert said in sentences.evidence_split(money, "en")


def test_no_draw_above_zero_is_said_as_such(money: Return) -> None:
    none = replace(money, decision=replace(money.decision, p_positive=0.0))
    assert sentences.odds(none, "en") == "<1% (none of 4,000 draws)"
    assert "4,000" in sentences.odds(none, "zh")
    assert sentences.odds(money, "en") == "88%"
