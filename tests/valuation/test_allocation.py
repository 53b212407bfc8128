"""The plan against every other plan, and what is said about it."""

from __future__ import annotations

import importlib
import json
from itertools import product
from typing import Any

import numpy as np
import pytest

from rox.core.case import Case
from rox.core.check import Grade, Verdict
from rox.core.effect import Effect
from rox.core.errors import CaseError
from rox.core.joint import AllocationReturn
from rox.core.portfolio import Portfolio, portfolio_of
from rox.core.record import plain
from rox.numerics.allocation import expected_shortfall
from rox.valuation.allocation import allocate_budget
from rox.valuation.worths import npv_by_plan, worths_of

from .conftest import effect_of, said
from .initiatives import initiative_case, lifted, per_point, portfolio_content, small_portfolio

DRAWS = {"draws": 400, "rng": 2}


@pytest.fixture(autouse=True)
def few_solutions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look at fewer single draws; each is a programme of its own."""
    module = importlib.import_module("rox.valuation.allocation")
    monkeypatch.setattr(module, "SINGLES", 8)
    monkeypatch.setattr(module, "BLOCKS", 4)


def priced(amount: float) -> dict[str, object]:
    return {"works": said(value=amount, months=[0], label="Works")}


def three() -> dict[str, Case]:
    return {
        "refit": initiative_case("refit", lift=lifted(0.8), costs=priced(4_000)),
        "calls": initiative_case("calls", effects=("panel",), lift=lifted(0.6), costs=priced(2_500)),
        "app": initiative_case("app", effects=("panel",), lift=lifted(0.3), costs=priced(900)),
    }


def effects() -> list[Effect]:
    return [effect_of(0.04, 0.03), per_point(0.04, mean=0.05)]


def checks(found: AllocationReturn) -> dict[str, Verdict]:
    return {check.code: check.verdict for check in found.checks}


def capped(limit: float) -> dict[str, object]:
    uses = {"refit": said(value=3), "calls": said(value=2), "app": said(value=1)}
    return {"people": {"label": "People", "limit": said(value=limit), "uses": uses}}


def every_plan(portfolio: Portfolio, budget: float) -> dict[tuple[str, ...], float]:
    """Objective over the choosing draws of every plan that breaks nothing."""
    worths = worths_of(portfolio, effects(), **DRAWS)
    npv = npv_by_plan(worths)
    found = {}
    for scales in product(("none", "half", "full"), repeat=len(portfolio.initiatives)):
        plan = dict(zip(portfolio.initiatives, scales, strict=True))
        shares = {key: portfolio.share_of(key, scale) for key, scale in plan.items()}
        if not portfolio.broken(plan, worths.cost(shares), budget):
            gains = npv(shares)[:200]
            risk = portfolio.risk_aversion.spread.likely
            found[scales] = gains.mean() - risk * expected_shortfall(gains, 0.05)
    return found


RULES: dict[str, dict[str, Any]] = {
    "money": {},
    "risk": {"risk_aversion": said(value=0.5)},
    "capacity": {"capacity": capped(4)},
    "exclusion": {
        "exclusions": {
            "e": {
                "initiatives": ["refit", "calls"], "reason": "One project at a time", "owner": "P", "source": "S",
                "date": "2025-12-31",
            }
        }
    },
}  # fmt: skip


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("budget", [2_000.0, 5_000.0])
def test_no_plan_that_keeps_the_rules_is_better(rule: str, budget: float) -> None:
    portfolio = small_portfolio(three(), 0.5, **RULES[rule])
    found = allocate_budget(portfolio, effects(), budget=budget, **DRAWS)
    plans = every_plan(portfolio, budget)
    assert plans[tuple(found.chosen.scales.values())] == pytest.approx(max(plans.values()), rel=1e-9)
    assert len(plans) < 27
    assert found.chosen.cost <= budget


def test_what_needs_another_is_not_done_without_it() -> None:
    content = portfolio_content(("refit", "calls", "app"))
    content["initiatives"]["app"]["needs"] = ["refit"]

    portfolio = portfolio_of(content, three())
    alone = allocate_budget(small_portfolio(three()), effects(), budget=1_000.0, **DRAWS)
    assert alone.chosen.scales["app"] == "full"
    found = allocate_budget(portfolio, effects(), budget=1_000.0, **DRAWS)
    assert found.chosen.scales == {"refit": "none", "calls": "none", "app": "none"}
    assert found.chosen.expected == 0


def test_figures_of_the_plan_are_those_of_its_draws() -> None:
    content = portfolio_content(("refit", "calls", "app"), 0.5)
    content["portfolio"]["current"] = {"refit": "full"}

    portfolio = portfolio_of(content, three())
    found = allocate_budget(portfolio, effects(), budget=4_000.0, step=2_000.0, **DRAWS)
    chosen, current = found.chosen, found.current
    assert chosen.expected == pytest.approx(chosen.npv.mean())
    assert chosen.worst == pytest.approx(-expected_shortfall(chosen.npv, 0.05))
    assert found.in_sample == pytest.approx(chosen.npv[:200].mean())
    assert found.held_out == pytest.approx(chosen.npv[200:].mean())
    assert current.scales == {"refit": "full", "calls": "none", "app": "none"}
    assert current.cost == pytest.approx(4_000)
    assert found.regret == pytest.approx(chosen.expected - current.expected)
    assert found.regret > 0
    assert found.p_regret == pytest.approx((current.npv > chosen.npv).mean())
    more = allocate_budget(portfolio, effects(), budget=6_000.0, **DRAWS)
    assert found.one_more == pytest.approx(more.chosen.objective - chosen.objective)
    assert found.one_more > 0
    row = found.budgets.set_index("budget").loc[6_000.0]
    assert row["npv"] == pytest.approx(more.chosen.expected)
    assert [row[f"plan_{key}"] for key in portfolio.initiatives] == list(more.chosen.scales.values())
    assert found.menu.query("chosen").set_index("initiative")["scale"].to_dict() == {
        key: scale for key, scale in chosen.scales.items() if scale != "none"
    }


def test_selection_says_how_often_a_coin_falls_on_its_side(monkeypatch: pytest.MonkeyPatch) -> None:
    """An initiative that gains in about half of the draws is in about half of their best plans, a sure one in all."""
    cases = {
        "coin": initiative_case("coin", costs=priced(0)),
        "sure": initiative_case("sure", effects=("panel",), lift=lifted(1.0), costs=priced(0)),
    }
    given = [effect_of(0.0, 0.02), per_point(0.0, mean=0.05)]
    monkeypatch.setattr(importlib.import_module("rox.valuation.allocation"), "SINGLES", 200)
    found = allocate_budget(small_portfolio(cases), given, draws=1000, rng=1)
    assert 0.4 < found.selection.loc["coin", "by_draw"] < 0.6
    assert found.selection.loc["sure", "by_draw"] == 1.0
    assert found.selection.loc["sure", "by_block"] == 1.0


def test_choosing_the_best_of_many_flatters_it() -> None:
    """Ten initiatives worth nothing, each with an effect of its own: what chose it promises what others do not keep."""
    keys = tuple(f"i{place}" for place in range(10))
    content = portfolio_content(keys)
    content["exclusions"] = {
        "one": {"initiatives": keys, "reason": "One", "owner": "P", "source": "S", "date": "2025-12-31"}
    }

    rng = np.random.default_rng(4)
    given = []
    for key in keys:
        one = effect_of(0.0, 0.02, name=key)
        fields = {name: getattr(one, name) for name in one.__dataclass_fields__}
        given.append(Effect(**{**fields, "draws": 0.02 * rng.standard_normal((4000, 2)), "fingerprint": key}))
    cases = {key: initiative_case(key, effects=(key,), costs=priced(0)) for key in keys}
    several = [allocate_budget(portfolio_of(content, cases), given, draws=200, rng=seed) for seed in range(4)]
    for found in several:
        assert sum(scale != "none" for scale in found.chosen.scales.values()) == 1
    gap = np.mean([found.in_sample - found.held_out for found in several])
    assert gap > np.mean([found.held_out_error for found in several]) / 2


def test_what_a_reader_must_know_is_said() -> None:
    content = portfolio_content(("refit", "calls", "app"), 0.5)
    content["portfolio"]["current"] = {"refit": "full", "calls": "full"}

    weak = [effect_of(0.04, 0.03), per_point(0.04, mean=0.05)]
    weak[1] = type(weak[1])(
        **{**{name: getattr(weak[1], name) for name in weak[1].__dataclass_fields__}, "grade": Grade.D}
    )
    found = allocate_budget(portfolio_of(content, three()), weak, budget=5_000.0, **DRAWS)
    said_of = {check.code: check for check in found.checks}
    assert said_of["ROX-V43"].verdict is Verdict.NOTE
    assert said_of["ROX-V43"].values["rules"] == "budget"
    assert said_of["ROX-V44"].verdict is (Verdict.NOTE if found.chosen.scales["app"] != "none" else Verdict.PASS)
    good = allocate_budget(small_portfolio(three(), 0.5), effects(), budget=5_000.0, **DRAWS)
    assert checks(good)["ROX-V43"] is Verdict.PASS
    assert checks(good)["ROX-V44"] is Verdict.PASS


def test_the_record_is_plain_and_the_same_again() -> None:
    portfolio = small_portfolio(three(), 0.5)
    first, second = (allocate_budget(portfolio, effects(), budget=5_000.0, **DRAWS).as_record() for _ in range(2))

    assert json.dumps(plain(first), allow_nan=False) == json.dumps(plain(second), allow_nan=False)


def test_what_makes_no_sense_is_refused_at_once() -> None:
    with pytest.raises(CaseError, match=r"draws: 5 are too few(.|\n)*budget: -1(.|\n)*step: 0"):
        allocate_budget(small_portfolio(three()), effects(), budget=-1.0, draws=5, rng=1, step=0.0)
