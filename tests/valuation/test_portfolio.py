"""Initiatives together: by hand, what is common, what the ceiling cuts, and each one's share."""

from __future__ import annotations

import numpy as np
import pytest

from rox.core.case import Case
from rox.core.check import Verdict
from rox.core.errors import CaseError
from rox.core.joint import JointReturn
from rox.core.units import Unit
from rox.valuation.portfolio import value_portfolio
from rox.valuation.value import value
from rox.valuation.worths import npv_by_plan, worths_of

from .conftest import effect_of, said
from .initiatives import initiative_case, lifted, per_point, small_portfolio
from .test_value import by_hand

FEW = {"draws": 400, "rng": 3}
NO_COST = {"works": said(value=0, months=[0], label="Works")}


def two(lift: float = 1.0, **changes: object) -> dict[str, Case]:
    return {key: initiative_case(key, effects=("panel",), lift=lifted(lift), **changes) for key in ("one", "two")}


def code(found: JointReturn, name: str) -> list[Verdict]:
    return [check.verdict for check in found.checks if check.code == name]


def test_one_alone_is_worth_what_the_case_says() -> None:
    """With one-value assumptions only the effect is drawn, and that from the same stream."""
    flows = {"calls": said(value=300, every_month_from=1, label="Calls", channel="cost_to_serve")}
    case = initiative_case("one", benefits=flows)
    portfolio = small_portfolio({"one": case, "two": initiative_case("two")})
    effect = effect_of(0.04, 0.02)
    money = value(effect, case, **FEW)
    found = value_portfolio(portfolio, [effect], **FEW)
    np.testing.assert_allclose(found.alone["one"], money.draws["npv"], rtol=1e-9)
    worths = worths_of(portfolio, [effect], **FEW)
    assert worths.cost({"one": 1.0}) == pytest.approx(money.point["cost"].sum())


def test_without_common_customers_the_whole_is_the_sum() -> None:
    cases = {"one": initiative_case("one"), "two": initiative_case("two", lift=lifted(2.0))}
    found = value_portfolio(small_portfolio(cases, 0.0, ceiling=None), [effect_of(0.04, 0.02)], **FEW)
    np.testing.assert_allclose(found.joint, found.alone["one"] + found.alone["two"], rtol=1e-12)
    assert np.abs(found.interaction).max() <= 1e-12 * np.abs(found.joint).max()
    for key in cases:
        np.testing.assert_array_equal(found.split[key], found.alone[key])
    assert code(found, "ROX-V40") == [Verdict.PASS]


@pytest.mark.parametrize("overlap", [0.25, 1.0])
def test_the_ceiling_lets_common_customers_move_once(overlap: float) -> None:
    """Each lifts by one point and there is room for one: those reached twice bring what one alone brings."""
    found = value_portfolio(small_portfolio(two(), overlap), [per_point(0.02)], **FEW)
    cost = 5_000 * 0.75
    gain = found.alone["one"] + cost
    np.testing.assert_allclose(found.joint, (2 - overlap) * gain - 2 * cost, rtol=1e-9)
    np.testing.assert_allclose(found.split["one"], found.joint / 2, rtol=1e-9)
    assert found.overlaps["binds"].tolist() == [1.0]
    assert found.overlaps["customers"].tolist() == [pytest.approx(1100 * overlap)]
    assert code(found, "ROX-V40") == [Verdict.NOTE]


def test_below_the_ceiling_doses_add_up() -> None:
    found = value_portfolio(small_portfolio(two(0.4), 1.0), [per_point(0.02)], **FEW)
    np.testing.assert_allclose(found.joint, found.sum_alone, rtol=1e-9)
    assert found.overlaps["binds"].tolist() == [0.0]


def test_a_hazard_is_priced_anew_at_the_dose_that_is_left() -> None:
    """Leaving is not in proportion to the dose, so each is valued at half the lift rather than at half the money."""
    churn = per_point(0.05, "churn", -0.3, Unit.LOG_HAZARD)
    cases = {key: initiative_case(key, effects=("churn",), lift=lifted(1.0), costs=NO_COST) for key in ("one", "two")}
    found = value_portfolio(small_portfolio(cases, 1.0), [churn], **FEW)
    half = initiative_case("one", effects=("churn",), lift=lifted(0.5), costs=NO_COST)
    np.testing.assert_allclose(found.joint, 2 * value(churn, half, **FEW).draws["npv"], rtol=1e-9)
    assert (np.abs(found.joint) > np.abs(found.alone["one"]) * 1.001).all()


def test_what_one_initiative_showed_it_can_do_is_not_cut_alone() -> None:
    """A roll-out measured at 3 points moved people by 3 points; an effect per point can go no further than the room."""
    measured, assumed = effect_of(0.04), per_point(mean=0.01)
    cases = {
        "refit": initiative_case("refit", lift=lifted(3.0)),
        "calls": initiative_case("calls", effects=("panel",), lift=lifted(3.0), costs=NO_COST),
    }
    found = value_portfolio(small_portfolio(cases, 1.0), [measured, assumed], **FEW)
    np.testing.assert_allclose(found.alone["refit"], value(measured, cases["refit"], **FEW).draws["npv"], rtol=1e-9)
    uncut = value(assumed, cases["calls"], **FEW).draws["npv"]
    np.testing.assert_allclose(found.alone["calls"], uncut / 3, rtol=1e-9)
    cost = 5_000 * 0.75
    both = (found.alone["refit"] + cost) / 2 + uncut / 2 - cost
    np.testing.assert_allclose(found.joint, both, rtol=1e-9)


def test_a_ceiling_on_the_share_of_money() -> None:
    """Two effects of x each, and room for 5% or for x, whichever is more."""
    cases = {key: initiative_case(key, costs=NO_COST) for key in ("one", "two")}
    found = value_portfolio(
        small_portfolio(cases, 1.0, ceiling={"share": said(value=0.05)}), [effect_of(0.04, 0.02)], **FEW
    )
    x = found.alone["one"] / (by_hand(1.0)[0] + 5_000 * 0.75)
    cut = np.where(2 * x > 0.05, np.maximum(x, 0.05) / (2 * x), 1.0)
    np.testing.assert_allclose(found.joint, cut * found.sum_alone, rtol=1e-9)
    assert found.overlaps["binds"].iloc[0] == pytest.approx((cut < 1).mean())
    assert 0.1 < (cut < 1).mean() < 1


def test_segments_meet_their_own_kind() -> None:
    """All of the 100 customers of b are reached twice, and none of the 1,000 of a."""
    cases = {
        "wide": initiative_case("wide", effects=("panel",), lift=lifted(1.0), costs=NO_COST),
        "rich": initiative_case(
            "rich", effects=("panel",), lift=lifted(1.0), costs=NO_COST, people={"b": said(value=100)}
        ),
    }
    found = value_portfolio(small_portfolio(cases, 1.0), [per_point(0.02)], **FEW)
    assert found.overlaps["customers"].tolist() == [pytest.approx(100)]
    np.testing.assert_allclose(found.joint, found.alone["wide"], rtol=1e-9)
    apart = {"wide": initiative_case("wide", people={"a": said(value=1)}), "rich": cases["rich"]}
    with pytest.raises(CaseError, match="no segment in common"):
        value_portfolio(small_portfolio(apart, 0.5), [effect_of(), per_point()], **FEW)


def test_three_at_once_agree_with_every_customer_counted() -> None:
    """Overlaps of a half, room for one point, a point each: mean of (number reached, capped) by independence."""
    cases = {key: initiative_case(key, effects=("panel",), lift=lifted(1.0), costs=NO_COST) for key in "xyz"}
    found = value_portfolio(small_portfolio(cases, 0.5), [per_point(0.02)], **FEW)
    of_one = sum(p / n for n, p in ((1, 0.25), (2, 0.5), (3, 0.25)))
    np.testing.assert_allclose(found.joint, 3 * of_one * found.alone["x"], rtol=1e-9)
    np.testing.assert_allclose(sum(found.split.values()), found.joint, rtol=1e-9)
    np.testing.assert_allclose(found.split["y"], found.split["z"], rtol=1e-9)


def test_scale_response_and_fixed_costs() -> None:
    content = {"a": said(value=1000, months=[0], label="A"), "b": said(value=3000, months=[0], label="B")}
    case = initiative_case("one", costs=content)
    portfolio = small_portfolio({"one": case})
    changed = portfolio.initiatives["one"].model_copy(
        update={"fixed_costs": ("a",), "response": portfolio.budget.model_copy(update={"value": 0.5})}
    )
    portfolio = portfolio.model_copy(update={"initiatives": {"one": changed}})
    worths = worths_of(portfolio, [effect_of(0.04, 0.02)], **FEW)
    npv = npv_by_plan(worths)
    gain = npv({"one": 1.0}) + 4000 * 0.75
    np.testing.assert_allclose(npv({"one": 0.25}), 0.5 * gain - (1000 + 750) * 0.75, rtol=1e-9)
    assert worths.cost({"one": 0.25}) == pytest.approx(1750)
    assert not npv({"one": 0.0}).any()
    assert worths.cost({"one": 0.0}) == 0


def half_life(low: float, high: float) -> dict[str, object]:
    return {"ramp": said(value=6), "half_life": said(between=[low, high])}


def test_one_quantity_has_one_draw_and_two_have_two() -> None:
    """Margins written alike are one; half-lives written alike belong to their initiatives; the effect is one."""
    same = {"margin": {"all": said(low=0.008, likely=0.012, high=0.02)}, "timing": half_life(12, 48)}
    cases = {key: initiative_case(key, **same) for key in ("one", "two")}
    found = value_portfolio(small_portfolio(cases), [effect_of(0.04)], draws=4000, rng=5)
    drawn = {row["place"]: row["drawn"] for row in found.common.to_dict("records")}
    assert drawn == {"margin.all": "common", "timing.half_life": "apart"}
    only_margin = {key: initiative_case(key, margin=same["margin"]) for key in ("one", "two")}
    found = value_portfolio(small_portfolio(only_margin), [effect_of(0.04)], draws=4000, rng=5)
    np.testing.assert_array_equal(found.alone["one"], found.alone["two"])
    assert code(found, "ROX-V41") == [Verdict.PASS]
    certain = effect_of(0.04)
    only_life = {key: initiative_case(key, timing=same["timing"]) for key in ("one", "two")}
    found = value_portfolio(small_portfolio(only_life), [certain], draws=4000, rng=5)
    joint_seed = [found.alone[key] for key in only_life]
    assert not np.array_equal(*joint_seed)


def test_a_shared_name_is_not_a_shared_quantity() -> None:
    """Two margins of one name and other numbers are drawn apart, and said; declared as one they rise together."""
    cases = {
        "one": initiative_case("one", margin={"all": said(low=0.008, likely=0.012, high=0.02)}),
        "two": initiative_case("two", margin={"all": said(low=0.004, likely=0.006, high=0.010)}),
    }
    fixed = effect_of(0.04)
    exact = effect_of(0.04).draws * 0 + 0.04 + 1e-12 * np.arange(4000)[:, None]
    sure = type(fixed)(**{**{name: getattr(fixed, name) for name in fixed.__dataclass_fields__}, "draws": exact})

    def ranks(**declared: object) -> tuple[float, JointReturn]:
        found = value_portfolio(small_portfolio(cases, **declared), [sure], draws=3000, rng=5)
        margin = {key: found.alone[key] for key in cases}
        return float(np.corrcoef(margin["one"], margin["two"])[0, 1]), found

    apart, found = ranks()
    assert code(found, "ROX-V41") == [Verdict.NOTE]
    places = {"places": ["one:margin.all", "two:margin.all"], "owner": "T", "source": "FTP", "date": "2025-12-31"}
    together, found = ranks(shared={"margin": places})
    assert found.common["drawn"].tolist() == ["shared"]
    assert together > 0.99
    assert apart < together - 0.15


def test_common_quantities_are_found_whatever_the_order_of_segments() -> None:
    """Balances of b are the second input of one case and the first of the other."""
    wide = {"a": said(value=10_000), "b": said(between=[100_000, 300_000])}
    nobody = {"a": said(value=0), "b": said(value=100)}
    cases = {
        "one": initiative_case("one", balance=wide, people=nobody),
        "two": initiative_case("two", balance={"b": wide["b"]}, people={"b": said(value=100)}),
    }
    found = value_portfolio(small_portfolio(cases), [effect_of(0.04, 0.02)], draws=1000, rng=5)
    np.testing.assert_allclose(found.alone["one"], found.alone["two"], rtol=1e-9)


def test_a_missing_effect_is_named_with_its_initiative() -> None:
    cases = {"one": initiative_case("one"), "two": initiative_case("two", effects=("panel",))}
    with pytest.raises(CaseError, match=r"initiatives\.two: rests on effect 'panel'"):
        value_portfolio(small_portfolio(cases), [effect_of()], **FEW)


def test_the_record_is_plain_and_the_same_again() -> None:
    import json

    portfolio = small_portfolio(two(), {"low": 0.2, "likely": 0.3, "high": 0.5})
    records = [json.dumps(value_portfolio(portfolio, [per_point(0.02)], **FEW).as_record()) for _ in range(2)]
    assert records[0] == records[1]
    frame = value_portfolio(portfolio, [per_point(0.02)], **FEW).frame()
    assert frame.loc[["one", "two"], "split_mean"].sum() == pytest.approx(frame.loc["all", "split_mean"])
    assert frame.loc["all", "split_mean"] < frame.loc["all", "alone_mean"]
