"""The true return follows the conventions of a business case, from extra money that is exact."""

from __future__ import annotations

import numpy as np
import pytest

from rox.core.errors import RoxError
from rox.simulate import Intervention, Truth, preset, truth

CONFIG = preset("cmb", customers=6_000, seed=5)
COSTS = {0: 3e8, 1: 2e8, 7: 1e8}


@pytest.fixture(scope="module")
def sustained() -> Truth:
    return truth(CONFIG, Intervention(shift=0.5, shift_from=12))


def test_extra_money_is_the_effect_per_customer_times_the_customers(sustained: Truth) -> None:
    extra = sustained.money()
    assert list(extra.columns) == [*CONFIG.segment_names, "bank"]
    assert list(extra.index) == list(range(25))
    assert (extra.loc[0] == 0).all()
    assert extra.loc[1:].gt(0).all(axis=None)
    np.testing.assert_allclose(extra["bank"], extra[list(CONFIG.segment_names)].sum(axis=1), rtol=1e-12)
    here = sustained.against.active[11]
    for horizon in (1, 12, 24):
        per_customer = sustained.after(horizon)["effect"]
        people = sustained.bank.design_weight[here].sum()
        assert extra.loc[horizon, "bank"] == pytest.approx(per_customer["bank"] * people)
        gold = here & (sustained.bank.customers.segment == 1)
        people = sustained.bank.design_weight[gold].sum()
        assert extra.loc[horizon, "gold"] == pytest.approx(per_customer["gold"] * people)


def test_newcomers_add_money_of_their_own(sustained: Truth) -> None:
    without, with_them = sustained.money(12)["mass"], sustained.money(12, newcomers=True)["mass"]
    assert (with_them.loc[:1] >= without.loc[:1]).all()
    assert with_them.loc[12] > without.loc[12]
    opened_later = ~sustained.against.opened[11] & sustained.against.opened[23]
    assert with_them.loc[12] - without.loc[12] < 0.5 * without.loc[12]
    assert opened_later.any()


def test_the_return_discounts_margin_times_extra_money(sustained: Truth) -> None:
    margin = {"mass": 0.01, "gold": 0.009, "platinum": 0.008, "private": 0.007, "private_diamond": 0.006}
    answer = sustained.roi(COSTS, margin=margin, discount=0.09, tax=0.25)
    benefit = cost = present = 0.0
    for month in range(25):
        gained = sum(margin[name] / 12 * answer.extra.loc[month, name] for name in margin)
        factor = 1.09 ** (-month / 12)
        benefit, cost = benefit + gained * factor, cost + COSTS.get(month, 0.0) * factor
        present += 0.75 * (gained - COSTS.get(month, 0.0)) * factor
        assert answer.flows.loc[month, "cumulative_present"] == pytest.approx(present)
    assert answer.npv == pytest.approx(present)
    assert answer.roi == pytest.approx(benefit / cost - 1)
    assert answer.present_benefit.sum() == pytest.approx(benefit)
    assert answer.undiscounted == pytest.approx(answer.flows["net"].sum())
    assert sustained.roi(COSTS, discount=0.0).npv == pytest.approx(sustained.roi(COSTS, discount=0.0).undiscounted)


def test_a_small_cost_is_paid_back_and_a_large_one_is_not(sustained: Truth) -> None:
    small, large = sustained.roi({0: 2e6}), sustained.roi({0: 2e9})
    assert small.npv > 0 > large.npv
    assert small.roi > 0 > large.roi
    assert 0 < small.payback < small.discounted_payback < 24
    assert np.isnan(large.payback)
    assert small.irr > 0.08 > large.irr
    assert np.isnan(sustained.roi({}).roi)


def test_one_margin_stands_for_all_and_the_banks_own_for_none(sustained: Truth) -> None:
    one = sustained.roi(COSTS, margin=0.01, horizon=12)
    assert one.flows["benefit"].to_numpy() == pytest.approx(0.01 / 12 * one.extra["bank"].to_numpy())
    own = sustained.roi(COSTS, margin={segment.name: segment.margin for segment in CONFIG.segments})
    assert sustained.roi(COSTS).npv == own.npv
    assert len(one.flows) == 13


def test_every_intervention_begins_where_it_begins() -> None:
    refit = truth(CONFIG, against=Intervention(rollout=False)).money()
    assert len(refit) == 36 - CONFIG.rollout.starts[0] + 1
    assert refit.loc[0, "bank"] == 0 < refit.loc[2, "bank"]
    calls = truth(CONFIG, against=Intervention(recovery=False)).money()
    assert len(calls) == 36
    assert calls.loc[0, "bank"] == 0 < calls.loc[1, "bank"]
    later = truth(CONFIG, Intervention(shift=0.5, shift_from=12), against=Intervention(shift=0.5, shift_from=20))
    assert later.money(8).loc[1, "bank"] > 0


def test_referrals_rise_with_experience(sustained: Truth) -> None:
    answer = sustained.referrals(12)
    bank, expected = answer.loc["bank"], np.expm1(0.30 * 0.5)
    assert expected < bank["extra"] / bank["referrals"] < expected + 0.05
    assert bank["new_customers"] == pytest.approx(CONFIG.referrals.conversion * bank["extra"])
    assert bank["incremental"] == pytest.approx((1 - CONFIG.referrals.displacement) * bank["new_customers"])
    assert list(answer.index) == [*CONFIG.segment_names, "sample", "bank"]
    here = sustained.against.active[11]
    made = sustained.against.referred[12:24][:, here].sum() / here.sum()
    assert answer.loc["sample", "referrals"] == pytest.approx(made, rel=0.1)


def test_what_does_not_fit_is_listed_at_once(sustained: Truth) -> None:
    with pytest.raises(RoxError) as caught:
        sustained.roi({-1: 5.0, 99: 5.0, 3: -1.0}, margin={"mass": 0.01, "gould": 0.01}, discount=-2.0, tax=1.5)
    places = [fault.split(":")[0] for fault in caught.value.faults]
    assert places == ["margin"] * 5 + ["costs"] * 3 + ["discount", "tax"]
    assert "there is no segment 'gould'" in str(caught.value)
    with pytest.raises(RoxError, match="the window has 36 months"):
        sustained.money(25)
    with pytest.raises(RoxError, match="start at 1 or later"):
        truth(preset("small", customers=60), Intervention(shift=0.5)).money()
