"""What few cases switch on: referral, contacts, capital, months after the horizon, correlations, policy, claims."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import kstest, spearmanr

from rox.core.case import Case, read_case
from rox.core.check import Check, Grade, Verdict
from rox.core.effect import Effect
from rox.core.errors import CaseError, UnitError
from rox.core.formula import Array
from rox.core.returns import Advice, Return
from rox.core.spread import Spread
from rox.core.words import LANGUAGES
from rox.reporting import sentences
from rox.valuation.decision import cvar
from rox.valuation.draws import joint_draws
from rox.valuation.fit import require_fit
from rox.valuation.lines import ledger_of
from rox.valuation.value import value

from .conftest import case_of, effect_of, said
from .everything import ABOUT, PARTS, SMALL, all_effects, among_leavers, among_stayers, claimed, everything, with_split


def point(case: Case, *effects: Effect) -> dict[str, Array]:
    """Run the point path."""
    ledger = ledger_of(effects, case)
    return {line.name: found[0] for line, found in ledger.run(ledger.point)}


def about(**changes: object) -> dict[str, object]:
    """Say what a case that prices one effect is about."""
    plain = {name: ABOUT[name] for name in ("name", "title", "decision", "currency", "start", "horizon")}
    return {**plain, "effects": ["uplift"], **changes}


def found(money: Return, code: str) -> Check:
    return next(check for check in money.checks if check.code == code)


@pytest.fixture(scope="module")
def whole() -> Return:
    return value(all_effects(), everything(), **SMALL)


MONTHS = np.arange(25)
SHAPE = np.minimum(1, MONTHS / 6) * 0.5 ** (np.maximum(0, MONTHS - 6) / 24)
HERE = 1100 * 0.9 ** (MONTHS / 12)
FACTOR = 0.75 / 1.08 ** (MONTHS / 12)


def test_referrals_are_what_a_person_would_compute() -> None:
    parts = {
        "rate": 0.2, "response": 0.1, "conversion": 0.3, "displacement": 0.4, "value": 500, "reward": 50, "second": 0.2,
    }  # fmt: skip
    case = case_of(referral={"per": "initiative", **{name: said(value=each) for name, each in parts.items()}})
    opened = HERE * 0.2 / 12 * (np.exp(0.1 * SHAPE) - 1) * 0.3
    wanted = (opened * (0.6 * (500 - 50) / 0.8 - 0.4 * 50) * FACTOR).sum()
    lines = point(case, effect_of(0.0))
    assert lines["worth_referral"][0] == pytest.approx(wanted, rel=1e-12)
    assert lines["brought"].sum() == pytest.approx(opened.sum(), rel=1e-12)


def test_contacts_saved_are_what_a_person_would_compute() -> None:
    parts = {"rate": 3, "change": -0.1, "cost": 20, "avoidable": 0.25}
    case = case_of(contacts={name: said(value=each) for name, each in parts.items()})
    wanted = (HERE * 3 / 12 * 0.1 * SHAPE * 20 * 0.25 * FACTOR).sum()
    assert point(case, effect_of(0.0))["worth_contacts"][0] == pytest.approx(wanted, rel=1e-12)


def test_capital_inflow_and_overrun() -> None:
    plain = point(case_of(), effect_of())
    finance = {"discount": said(value=0.08), "tax": said(value=0.25), "hurdle": said(value=0.10)}
    charged = point(case_of(finance={**finance, "capital": said(value=0.003)}), effect_of())
    assert charged["present_benefit"][0] == pytest.approx(plain["present_benefit"][0] * 0.009 / 0.012, rel=1e-12)
    book = {"case": about(margin_basis="book"), "inflow": said(value=0.6)}
    assert point(case_of(**book), effect_of())["benefit"].sum() == pytest.approx(0.6 * plain["benefit"].sum())
    kept = {"channels": frozenset({"retention"})}
    assert point(case_of(**book), effect_of(**kept))["benefit"].sum() == pytest.approx(plain["benefit"].sum())
    over = point(case_of(finance={**finance, "overrun": said(value=1.2)}), effect_of())
    assert over["present_cost"][0] == pytest.approx(1.2 * plain["present_cost"][0], rel=1e-12)


def test_benefits_stop_where_the_budget_holds_them() -> None:
    plain, budget = point(case_of(), effect_of()), value(effect_of(), case_of(case=about(in_budget_from=13)), **SMALL)
    np.testing.assert_array_equal(budget.point["benefit"][:13], plain["benefit"][:13])
    np.testing.assert_array_equal(budget.point["benefit"][13:], 0.0)
    np.testing.assert_array_equal(budget.point["cost"], plain["cost"])
    left_out = plain["present_benefit"][0] - budget.point["present_benefit"][0]
    assert found(budget, "ROX-V07").values["left_out"] == pytest.approx(left_out, rel=1e-12)


def test_months_after_the_horizon_are_shown_apart() -> None:
    after = {"months": 12, "owner": "o", "source": "s", "date": "2025-12-31"}
    hosts = {"hosts": said(value=10, every_month_from=0, label="Hosts")}
    money = value(effect_of(0.04), case_of(terminal=after, costs=hosts), **SMALL)
    within = point(case_of(costs=hosts), effect_of(0.04))
    assert money.ledger.horizon == 36
    assert money.point["npv_after"][0] == pytest.approx(money.headline["npv"] - within["npv"][0], rel=1e-9)
    assert money.point["cost"][36] == 10, "a running cost without an end goes on"
    check = found(money, "ROX-V06")
    assert check.verdict is Verdict.PASS, "a fifth of NPV"
    assert check.values["before"] == pytest.approx(within["npv"][0])
    long = value(effect_of(0.04), case_of(terminal={**after, "months": 48}), **SMALL)
    assert found(long, "ROX-V06").verdict is Verdict.NOTE


# ---- the same money by channel and by evidence


def test_the_path_ledger_agrees_where_the_estimates_do() -> None:
    case = case_of(case=about(explained_by=["churn", "panel"]), lift=PARTS["lift"])
    others = [among_leavers(), among_stayers()]
    apart = value([effect_of(0.04, 0.001), *others], case, **SMALL)
    assert found(apart, "ROX-V02").verdict is Verdict.STOP
    assert list(apart.channels["channel"]) == ["undivided"]
    ratio = 1 + float(apart.point["path_gap"][0])
    assert abs(ratio - 1) > 0.01
    agreed = value([effect_of(0.04 * ratio, 0.001), *others], case, **SMALL)
    assert found(agreed, "ROX-V02").verdict is Verdict.PASS
    table = agreed.channels.set_index("channel")
    assert set(table["basis"]) == {"measured"}
    assert table["point"].sum() == pytest.approx(agreed.point["present_benefit"][0], rel=0.01)
    np.testing.assert_allclose(
        agreed.point["path_retention"] + agreed.point["path_expansion"],
        agreed.point["path_retained"] + agreed.point["path_grown"],
    )


def test_an_explanation_changes_no_total(whole: Return) -> None:
    plain = value(all_effects()[:2], everything(case={**ABOUT, "explained_by": []}), **SMALL)
    for name, draws in plain.draws.items():
        np.testing.assert_array_equal(draws, whole.draws[name], err_msg=name)


def test_a_residual_is_called_one() -> None:
    case = case_of(case=about(explained_by=["uplift"]))
    money = value(with_split(effect_of(0.04), kept=0.01), case, **SMALL)
    assert found(money, "ROX-V10").values["part"] == pytest.approx(25, abs=0.1)
    table = money.channels.set_index("channel")
    assert list(table["basis"]) == ["measured", "residual"]
    for column in ("point", "mean"):
        total = money.point["present_benefit"][0] if column == "point" else money.draws["present_benefit"].mean()
        assert table[column].sum() == pytest.approx(total, rel=1e-9)
    missing = value(effect_of(0.04), case, **SMALL)
    assert found(missing, "ROX-V11").verdict is Verdict.NOTE
    assert list(missing.channels["channel"]) == ["undivided"]


def test_the_split_is_shapleys() -> None:
    """Two players: the mean over both orders of what each adds."""
    money = value(with_split(effect_of(0.04), kept=0.01), case_of(case=about(explained_by=["uplift"])), **SMALL)
    base, kept, grown = (money.point[f"{name}_uplift_1"] for name in ("base", "retained", "grown"))
    without, per_stayer = 1.0, base
    stay = 1 + kept / base
    rich = per_stayer + grown / stay
    kept_first, kept_last = (stay - without) * per_stayer, (stay - without) * rich
    shapley = (kept_first + kept_last) / 2
    margin = 0.012 / 12
    second = [money.point[f"{name}_uplift_2"] for name in ("retained", "both")]
    wanted = ((shapley + second[0] + second[1] / 2) * margin * FACTOR).sum()
    assert money.point["path_retention"][0] == pytest.approx(wanted, rel=1e-12)


def test_channels_and_grades_add_up_to_the_present_benefit(whole: Return) -> None:
    total = whole.draws["present_benefit"]
    for table in (whole.channels, whole.by_grade[whole.by_grade["counted"]]):
        assert table["mean"].sum() == pytest.approx(total.mean(), rel=1e-12)
        assert table["point"].sum() == pytest.approx(whole.point["present_benefit"][0], rel=1e-12)
    assert whole.by_grade["share"].sum() == pytest.approx(1.0)
    assert dict(zip(whole.channels["channel"], whole.channels["basis"], strict=True)) == {
        "undivided": "measured", "referral": "declared", "cost_to_serve": "declared",
    }  # fmt: skip


def test_a_claim_is_in_no_total(whole: Return) -> None:
    without = value([all_effects()[0], *all_effects()[2:]], everything(), **SMALL)
    for name, draws in without.draws.items():
        np.testing.assert_array_equal(draws, whole.draws[name], err_msg=name)
    assert whole.grade is Grade.B
    extra = whole.point["npv_with_claims"] - whole.point["npv"]
    assert extra == pytest.approx(whole.point["worth_effect_claimed"])
    assert not whole.by_grade.loc["E", "counted"]
    assert found(whole, "ROX-V08").values["claimed"] == pytest.approx(whole.point["npv_with_claims"][0])
    assert not {"effect_claimed", "evidence_claimed"} & set(whole.tornado["name"])


def test_a_case_of_claims_only_counts_its_costs() -> None:
    money = value(effect_of(0.5, grade=Grade.E), case_of(), **SMALL)
    assert money.decision.advice is Advice.STOP
    assert money.grade is Grade.E
    assert money.headline["npv"] == pytest.approx(-5_000 * 0.75)
    assert sentences.at_other_grades(money)[Grade.B] > sentences.at_other_grades(money)[Grade.D] > -5_000 * 0.75
    for language in LANGUAGES:
        assert len(sentences.evidence_split(money, language)) == 2


def test_shares_by_grade_are_said_in_words() -> None:
    strong, weak = effect_of(0.02), effect_of(
        0.2, name="panel", grade=Grade.D, channels=frozenset({"acquisition"})
    )  # fmt: skip
    money = value([strong, weak], case_of(), **SMALL)
    share = money.by_grade["share"]
    assert list(share.index) == ["B", "D"]
    said_ = sentences.evidence_split(money, "en")[0]
    assert f"{100 * share['D']:.0f}% of the present benefit comes from measured effects of grade D" in said_
    assert value(strong, case_of(), **SMALL).by_grade["share"].to_dict() == {"B": 1.0}


def test_the_variance_of_a_sum_over_segments_that_share_an_error() -> None:
    """Eight like segments: were their errors independent, variance would be an eighth of what it is."""
    base, names = effect_of(0.04, 0.02), tuple(f"s{place}" for place in range(8))
    effect = replace(
        base,
        groups=names,
        draws=np.repeat(base.draws[:, :1], 8, axis=1),
        shares=np.full(8, 1 / 8),
        baseline=pd.DataFrame({"customers": 1.0, "money": 1.0, "exit_hazard": 0.01}, index=list(names)),
    )
    everyone = {"people": {name: said(value=100) for name in names}, "balance": {"all": said(value=10_000)}}
    variance = value(effect, case_of(**everyone), **SMALL).draws["present_benefit"].var()
    one = case_of(people={"s0": said(value=100)}, balance={"all": said(value=10_000)})
    alone = value(effect, one, **SMALL).draws["present_benefit"].var()
    assert variance == pytest.approx(64 * alone, rel=0.01)
    assert variance > 7 * (8 * alone)


# ---- correlated assumptions


def drawn(case: Case, size: int = 40_000) -> dict[str, Array]:
    effects = (effect_of(),)
    return joint_draws(ledger_of(effects, case), effects, ("a", "b"), size, 5, case.correlation)


RANGES = {
    "margin": {"all": said(low=0.006, likely=0.009, high=0.012)},
    "timing": {"ramp": said(low=3, likely=6, high=12), "half_life": said(between=[12, 48])},
    "attrition": {"all": said(between=[0.05, 0.12])},
}


def pair(first: str, second: str, rank: float) -> dict[str, object]:
    return {"between": [first, second], "rank": rank, **said()}


def test_a_correlation_joins_two_and_leaves_all_else() -> None:
    chosen = [pair("timing.half_life", "attrition.all", -0.6), pair("timing.half_life", "margin.all", 0.4)]
    plain, joined = drawn(case_of(**RANGES)), drawn(case_of(**RANGES, correlation=chosen))
    changed = {name for name in plain if not np.array_equal(plain[name], joined[name])}
    assert changed == {"half_life"}, "the other two, of which nothing is said, keep their draws"
    for names, rank in ((("half_life", "attrition_all"), -0.6), (("half_life", "margin_all"), 0.4)):
        assert spearmanr(*(joined[name] for name in names))[0] == pytest.approx(rank, abs=0.015)
    for name in changed:
        assert kstest(joined[name], plain[name]).pvalue > 0.001


def test_a_correlation_moves_the_spread_of_npv() -> None:
    rows = {**RANGES, "balance": {"all": said(between=[20_000, 60_000])}}
    spread = {}
    for rank in (-0.8, 0.8):
        case = case_of(**rows, correlation=[pair("balance.all", "margin.all", rank)])
        spread[rank] = ledger_of([effect_of()], case).totals(drawn(case, 4_000))["npv"].std()
    assert spread[0.8] > 1.3 * spread[-0.8]


def test_all_that_is_wrong_with_correlations_is_said_at_once() -> None:
    wrong = [
        pair("margin.all", "nothing.at_all", 0.5), pair("margin.all", "finance.tax", 0.1),
        pair("margin.all", "margin.all", 0.5), pair("timing.ramp", "margin.all", 0.1),
        pair("margin.all", "timing.ramp", 0.2),
    ]  # fmt: skip
    with pytest.raises(CaseError) as caught:
        require_fit([effect_of()], case_of(**RANGES, correlation=wrong))
    text = "\n".join(caught.value.faults)
    for part in ("'nothing.at_all' is no assumption", "finance.tax is one value", "paired with itself", "already"):
        assert part in text
    three = ("margin.all", "timing.ramp", "timing.half_life")
    torn = [pair(three[0], three[1], 0.9), pair(three[1], three[2], 0.9), pair(three[0], three[2], -0.9)]
    with pytest.raises(CaseError, match="impossible"):
        require_fit([effect_of()], case_of(**RANGES, correlation=torn))


# ---- faults, policy


def test_what_contradicts_itself_is_said_at_once(root: Path, tmp_path: Path) -> None:
    text = (root / "data" / "bank" / "cases" / "closed_loop.toml").read_text(encoding="utf-8")
    by = 'owner = "o"\nsource = "s"\ndate = 2025-12-31\n'
    referral = "".join(
        f"[referral.{name}]\nvalue = {number}\n{by}"
        for name, number in (
            ("rate", -1), ("response", 0.1), ("conversion", 2), ("displacement", 0.4), ("value", 1), ("reward", 1),
            ("second", 0.3),
        )
    )  # fmt: skip
    text = text.replace("horizon = 24", 'horizon = 24\nmargin_basis = "book"\nin_budget_from = 40')
    path = tmp_path / "case.toml"
    path.write_text(text + f'\n[referral]\nper = "nps_point"\n{referral}', encoding="utf-8")
    with pytest.raises(CaseError) as caught:
        read_case(path)
    faults = "\n".join(caught.value.faults)
    for part in (
        "referral.rate: -1 is not", "referral.conversion: 2 is not a share; 2% is 0.02",
        "referral.second: 0.3", "inflow: missing",
        "in_budget_from: month 40", "referral.per: is per nps_point, the lift is in score_points",
    ):  # fmt: skip
        assert part in faults, faults


def test_the_same_channel_twice_is_refused() -> None:
    calls = {"benefits": {"calls": said(value=1, months=[1], label="Calls", channel="cost_to_serve")}}
    with pytest.raises(CaseError, match=r"ROX-V01.*cost_to_serve is in benefits\.calls and in contacts"):
        require_fit([effect_of()], case_of(contacts=PARTS["contacts"], **calls))


def test_what_explains_must_fit_as_well() -> None:
    stranger = among_leavers()
    with pytest.raises(UnitError, match=r"churn: is per score_point; add \[lift\]"):
        value([effect_of(), stranger], case_of(case=about(explained_by=["churn"])), **SMALL)


def test_the_mean_of_the_worst(whole: Return) -> None:
    npv, decision = whole.draws["npv"], whole.decision
    assert cvar(np.arange(100.0)) == 2.0
    assert cvar(np.array([3.0, 1.0])) == 1.0
    assert decision.cvar == pytest.approx(np.sort(npv)[:20].mean())
    assert decision.cvar <= decision.low <= decision.lower_quartile <= decision.npv <= decision.upper_quartile
    assert decision.p_payback_within == pytest.approx((whole.draws["payback"] <= 12).mean())


def test_a_policy_averse_to_risk_can_stop_what_the_mean_would_not() -> None:
    policy = {"owner": "o", "source": "s", "date": "2025-12-31"}
    risky, rules = effect_of(0.10, 0.08), {"risk_aversion": 3.0, "enough": 0.9}
    neutral = value(risky, case_of(), **SMALL).decision
    averse = value(risky, case_of(policy={**rules, **policy}), **SMALL)
    assert neutral.criterion == neutral.expected_npv > 0
    assert averse.decision.criterion == pytest.approx(neutral.expected_npv + 3 * neutral.cvar)
    assert averse.decision.criterion < 0
    assert (neutral.enough, averse.decision.enough) == (0.80, 0.90)
    assert (neutral.advice is Advice.STOP, averse.decision.advice is Advice.STOP) == (False, True)
    assert sentences.shortfalls(averse.decision) == "risk"
    for language in LANGUAGES:
        shape = sentences.npv_form(averse, language)
        assert shape(averse.decision.criterion) in sentences.answer(averse, language)
        first = next(iter(sentences.criteria(averse, language)))
        assert first[2:] == (shape(averse.decision.criterion), False)


def test_every_check_can_be_said(whole: Return) -> None:
    codes = {check.code for check in whole.checks}
    assert {"ROX-V02", "ROX-V06", "ROX-V07", "ROX-V08", "ROX-V09"} <= codes
    for check in whole.checks:
        for language in LANGUAGES:
            assert check.sentence(language)


def test_labels_exist_in_both_languages(whole: Return) -> None:
    for each in (*whole.ledger.inputs, *whole.ledger.lines):
        for language in LANGUAGES:
            assert each.label(language)
    assert claimed().grade is Grade.E


@pytest.mark.parametrize("ends", [(-0.15, -0.08, -0.01), (0.15, 0.40, 0.65), (-0.11, -0.08, -0.01)])
def test_a_range_whose_ends_rounding_moves_can_be_drawn_from(ends: tuple[float, float, float]) -> None:
    spread = Spread.three_point(*ends)
    outside = spread.sample(20_000, np.random.default_rng(1))
    assert ((outside < ends[0]) | (outside > ends[2])).mean() == pytest.approx(0.10, abs=0.01)
