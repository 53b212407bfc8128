"""Present values, internal rates, payback: published examples, invariances, pathological flows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rox.numerics.cashflow import (
    annuity_factor,
    discounted_payback,
    growing_perpetuity,
    internal_rate,
    internal_rates,
    irr,
    npv,
    payback,
    profitability_index,
)

flows_strategy = st.lists(st.floats(-1e4, 1e4), min_size=2, max_size=40)


class TestPublished:
    """Examples of the numpy-financial documentation (BSD-3) and standard corporate-finance arithmetic."""

    def test_npv(self):
        assert npv([-40000, 5000, 8000, 12000, 30000], 0.08) == pytest.approx(3065.2226681795255, rel=1e-13)

    @pytest.mark.parametrize(
        "flows, rate",
        [
            ([-100, 39, 59, 55, 20], 0.28094842115996066),
            ([-100, 0, 0, 74], -0.0954958303489728),
            ([-100, 100, 0, 7], 0.06205848562992955),
        ],
    )
    def test_irr(self, flows, rate):
        assert irr(flows) == pytest.approx(rate, rel=1e-12)

    @pytest.mark.parametrize(
        "flows, rate", [([-100, 100, 0, -7], -0.08329966618493256), ([-5, 10.5, 1, -8, 1], 0.08859833852775534)]
    )
    def test_published_rates_that_are_not_unique(self, flows, rate):
        """numpy-financial returns the root nearest zero; here the ambiguity is the answer."""
        fit = internal_rate(flows)
        assert np.isnan(fit.rate)
        assert fit.reason == "several rates"
        roots = internal_rates(flows)
        assert roots.size > 1
        assert np.abs(roots - rate).min() < 1e-12
        np.testing.assert_allclose(npv(np.tile(flows, (roots.size, 1)), roots), 0, atol=1e-8)

    def test_loan(self):
        payment = 200_000 / annuity_factor(0.005, 360)
        assert payment == pytest.approx(1199.1010503055138, rel=1e-12)
        assert payment * 360 - 200_000 == pytest.approx(231676.37810998497, rel=1e-12)
        assert payment * annuity_factor(0.005, 300) == pytest.approx(186108.71364563945, rel=1e-12)

    def test_project(self):
        flows = [-1000, 400, 400, 400, 400]
        assert payback(flows) == pytest.approx(2.5, abs=1e-13)
        assert discounted_payback(flows, 0.1) == pytest.approx(3.01925, rel=1e-12)
        assert npv(flows, 0.1) == pytest.approx(267.94617853971704, rel=1e-12)
        assert profitability_index(flows, 0.1) == pytest.approx(1.267946178539717, rel=1e-12)
        assert annuity_factor(0.1, 4) == pytest.approx(3.1698654463492946, rel=1e-12)
        assert 1000 / annuity_factor(0.1, 4) == pytest.approx(315.4708037060977, rel=1e-12)
        assert 100 * growing_perpetuity(0.1, 0.03) == pytest.approx(1428.5714285714284, rel=1e-12)


class TestInternalRate:
    def test_reasons(self):
        rows = [[-1, -2, 0], [1, 2, 3], [0, 0, 0], [100, -200, 150], [-100, 230, -132], [-100, 60, 60]]
        fit = internal_rate(rows)
        assert fit.reason.tolist() == ["no sign change"] * 3 + ["no rate", "several rates", ""]
        assert np.isnan(fit.rate[:5]).all()
        assert fit.rate[5] == pytest.approx(0.13066238629180753)
        np.testing.assert_allclose(internal_rates(rows[4]), [0.1, 0.2], atol=1e-12)

    def test_several_sign_changes_with_one_rate(self):
        fit = internal_rate([-100, 150, -20, 60])
        assert fit.reason == ""
        assert npv([-100, 150, -20, 60], fit.rate) == pytest.approx(0, abs=1e-10)

    def test_monthly_flows_give_an_annual_rate(self):
        monthly = np.r_[-1000, np.full(12, 100.0)]
        rate = irr(monthly, periods_per_year=12)
        assert rate == pytest.approx((1 + irr(monthly)) ** 12 - 1)
        assert npv(monthly, rate, periods_per_year=12) == pytest.approx(0, abs=1e-9)

    def test_extreme_rates(self):
        assert irr([-1, 1e6]) == pytest.approx(1e6 - 1, rel=1e-10)
        assert irr([-1e6, 1]) == pytest.approx(1e-6 - 1, rel=1e-10)
        assert irr([-1.0, *[0] * 119, 1]) == pytest.approx(0, abs=1e-13)

    def test_leading_and_trailing_zeros(self):
        assert irr([0, 0, -100, 0, 121, 0, 0]) == pytest.approx(0.1, rel=1e-12)

    def test_many_draws_are_solved_to_the_last_digits(self):
        rng = np.random.default_rng(0)
        flows = rng.normal(60, 25, size=(3000, 37))
        flows[:, 0] -= 900
        fit = internal_rate(flows, periods_per_year=12)
        known = fit.reason == ""
        assert known.mean() > 0.9
        assert np.abs(npv(flows[known], fit.rate[known], periods_per_year=12)).max() < 1e-9
        assert fit.rate[5] == irr(flows[5], periods_per_year=12)

    def test_shapes(self):
        flows = np.broadcast_to([-100.0, 60, 60], (2, 4, 3))
        assert irr(flows).shape == npv(flows, 0.1).shape == payback(flows).shape == (2, 4)
        assert npv(flows, np.full((2, 1), 0.1)).shape == (2, 4)
        assert irr([-100, 60, 60]).shape == ()


class TestPayback:
    @pytest.mark.parametrize(
        "flows, expected",
        [
            ([5, 1, 1], 0.0),
            ([-10, 5, 5], 2.0),
            ([-10, 4, 4], np.nan),
            ([-10, 20, -15, 10], 2.5),
            ([-10, 20, -20, 5], np.nan),
            ([3, -10, 4, 6], 1 + 1 + 3 / 6),
            ([-10, 0, 0, 20], 2.5),
            ([0, 0, 0], 0.0),
        ],
    )
    def test_last_upward_crossing(self, flows, expected):
        np.testing.assert_allclose(payback(flows), expected)

    def test_rows_are_independent(self):
        rows = np.array([[-10, 4, 4, 4], [-10, 20, -15, 10], [-1, 0, 0, 0]])
        np.testing.assert_allclose(payback(rows), [float(payback(r)) for r in rows])

    def test_discounting_delays(self):
        flows = np.r_[-1000, np.full(36, 40.0)]
        plain, late = payback(flows), discounted_payback(flows, 0.1, periods_per_year=12)
        assert plain == pytest.approx(25)
        assert 27 < late < 29


class TestInvariance:
    @given(a=flows_strategy, factor=st.floats(-100, 100), rate=st.floats(-0.5, 2), seed=st.integers(0, 1000))
    @settings(max_examples=60, deadline=None)
    def test_present_value_is_linear(self, a, factor, rate, seed):
        b = np.random.default_rng(seed).normal(size=len(a)) * 100
        joint = npv(factor * np.array(a) + b, rate, periods_per_year=12)
        parts = factor * npv(a, rate, periods_per_year=12) + npv(b, rate, periods_per_year=12)
        assert joint == pytest.approx(parts, rel=1e-9, abs=1e-4)

    @given(a=flows_strategy, cost=st.floats(0, 1e4), at=st.integers(0, 39), rate=st.floats(-0.5, 2))
    @settings(max_examples=60, deadline=None)
    def test_more_cost_never_raises_value(self, a, cost, at, rate):
        b = np.array(a)
        b[at % b.size] -= cost
        assert npv(b, rate) <= npv(a, rate) + 1e-6

    @given(seed=st.integers(0, 10_000), currency=st.floats(1e-6, 1e6))
    @settings(max_examples=40, deadline=None)
    def test_currency_changes_neither_rates_nor_dates(self, seed, currency):
        flows = np.random.default_rng(seed).normal(30, 60, size=20)
        flows[0] = -200
        np.testing.assert_allclose(irr(currency * flows), irr(flows), rtol=1e-9)
        np.testing.assert_allclose(payback(currency * flows), payback(flows), rtol=1e-9)
        assert internal_rate(currency * flows).reason == internal_rate(flows).reason

    @given(seed=st.integers(0, 10_000))
    @settings(max_examples=40, deadline=None)
    def test_one_sign_change_gives_the_one_root_of_the_polynomial(self, seed):
        rng = np.random.default_rng(seed)
        flows = np.r_[-rng.uniform(0, 50, size=rng.integers(1, 4)), rng.uniform(0, 50, size=rng.integers(1, 12))]
        roots = np.roots(flows[::-1])
        real = roots[(np.abs(roots.imag) < 1e-9) & (roots.real > 0)].real
        assert irr(flows) == pytest.approx(1 / real[0] - 1, rel=1e-6, abs=1e-8)


class TestFaults:
    def test_messages(self):
        with pytest.raises(ValueError, match="2 values that are NaN"):
            npv([1, np.nan, np.inf], 0.1)
        with pytest.raises(ValueError, match="above -1"):
            npv([1, 2], -1)
        with pytest.raises(ValueError, match="at least one period"):
            irr(np.zeros((3, 0)))
        with pytest.raises(ValueError, match="one row"):
            internal_rates([[1, 2]])
        with pytest.raises(ValueError, match="growth must be below"):
            growing_perpetuity(0.02, 0.03)
        assert annuity_factor(0, 7) == 7
