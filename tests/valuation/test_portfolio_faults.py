"""Together: claims take no room, every unit meets the ceiling, learned discounts hold, nothing overlaps uncapped."""

from __future__ import annotations

import numpy as np
import pytest

from rox.core.check import BIAS_LAYERS, BiasLayer, Grade, Verdict
from rox.core.errors import CaseError
from rox.valuation.allocation import allocate_budget
from rox.valuation.portfolio import value_portfolio
from rox.valuation.value import value
from tests.valuation.conftest import effect_of, said
from tests.valuation.initiatives import initiative_case, lifted, per_point, small_portfolio

SHARE = {"share": said(value=0.02)}


def test_a_claim_takes_no_room_from_what_was_measured() -> None:
    cases = {"x": initiative_case("x"), "y": initiative_case("y", effects=("claimed",))}
    effects = [effect_of(0.04, 0.01), effect_of(0.04, 0.01, name="claimed", grade=Grade.E)]
    found = value_portfolio(small_portfolio(cases, 1.0, ceiling=SHARE), effects, draws=400, rng=1)
    assert found.joint == pytest.approx(sum(found.alone.values()))
    assert found.split["x"] == pytest.approx(found.alone["x"])


@pytest.mark.parametrize("unit", ["ratio", "money_per_customer"])
def test_a_ceiling_on_the_share_binds_effects_per_point_and_in_money(unit: str) -> None:
    from rox.core.units import Unit

    about = {"unit": Unit(unit), "currency": "CNY" if unit == "money_per_customer" else ""}
    size = 0.04 * 10_000 if unit == "money_per_customer" else 0.04
    cases = {
        key: initiative_case(key, effects=(name,), people={"a": said(value=1000)}, balance={"a": said(value=10_000)})
        for key, name in (("x", "uplift"), ("y", "panel"))
    }
    effects = [effect_of(size, name=name, **about) for name in ("uplift", "panel")]
    free = value_portfolio(small_portfolio(cases, 1.0, ceiling={"share": said(value=9)}), effects, draws=200, rng=1)
    held = value_portfolio(small_portfolio(cases, 1.0, ceiling=SHARE), effects, draws=200, rng=1)
    assert free.joint.mean() == pytest.approx(sum(each.mean() for each in free.alone.values()))
    assert held.joint.mean() < 0.75 * free.joint.mean()


def test_lifts_of_two_initiatives_meet_a_ceiling_on_the_share() -> None:
    cases = {key: initiative_case(key, effects=("panel",), lift=lifted(1.0)) for key in ("x", "y")}
    found = value_portfolio(small_portfolio(cases, 1.0, ceiling=SHARE), [per_point()], draws=200, rng=1)
    assert found.joint.mean() < sum(each.mean() for each in found.alone.values()) - 1000


def test_common_customers_without_a_ceiling_that_knows_of_both_are_refused() -> None:
    cases = {"x": initiative_case("x", effects=("churn",), lift=lifted(1.0)), "y": initiative_case("y")}
    from rox.core.units import Unit

    churn = per_point(name="churn", mean=-0.1, unit=Unit.LOG_HAZARD)
    with pytest.raises(CaseError, match=r"overlaps.rest: x and y move the same money .*\(retention\)"):
        value_portfolio(small_portfolio(cases, 0.5, ceiling=SHARE), [churn, effect_of()], draws=200, rng=1)
    apart = value_portfolio(small_portfolio(cases, 0.0, ceiling=SHARE), [churn, effect_of()], draws=200, rng=1)
    assert np.isfinite(apart.joint).all()


def test_learned_discounts_reach_the_portfolio() -> None:
    learned = {grade: BiasLayer(0.5 * layer.mean, layer.sd) for grade, layer in BIAS_LAYERS.items()}
    case, effect = initiative_case("x"), effect_of(0.04, 0.01)
    portfolio = small_portfolio({"x": case})
    one = value(effect, case, draws=400, rng=1, layers=learned).draws["npv"].mean()
    together = value_portfolio(portfolio, [effect], draws=400, rng=1, layers=learned)
    assert together.joint.mean() == pytest.approx(one)
    shipped = value_portfolio(portfolio, [effect], draws=400, rng=1)
    assert together.joint.mean() < shipped.joint.mean()
    chosen = allocate_budget(portfolio, [effect], draws=400, rng=1, layers=learned)
    assert chosen.joint.joint.mean() == pytest.approx(one)


def test_cost_overruns_of_two_initiatives_are_two_quantities() -> None:
    finance = {"discount": said(value=0.08), "tax": said(value=0.25), "hurdle": said(value=0.1)}
    finance["overrun"] = said(between=[0.8, 1.5])
    cases = {key: initiative_case(key, finance=finance) for key in ("x", "y")}
    found = value_portfolio(small_portfolio(cases), [effect_of(0.04)], draws=200, rng=1)
    assert found.common.set_index("place").at["finance.overrun", "drawn"] == "apart"
    assert next(check for check in found.checks if check.code == "ROX-V41").verdict is Verdict.PASS
