"""Customers, months and money kept: by hand, by simulation, and what the shortcuts get wrong."""

from __future__ import annotations

import numpy as np
import pytest

from rox.numerics.retained import retained


class TestByHand:
    def test_one_customer_one_way_out(self):
        """Hazard 0.02 a month, ratio exp(-0.1): S(12) goes from exp(-0.24) to exp(-0.24·exp(-0.1))."""
        found = retained([-0.1], [[0.02] * 12], [1.0] * 12, customers=[1000], money=[50.0])
        without, shifted = np.exp(-0.24), np.exp(-0.24 * np.exp(-0.1))
        assert found.kept_without[0, 0, -1] == pytest.approx(without, rel=1e-12)
        assert found.kept_with[0, 0, -1] == pytest.approx(shifted, rel=1e-12)
        assert found.customers_retained[0, 0, -1] == pytest.approx(1000 * (shifted - without), rel=1e-12)
        assert found.money_retained[0, 0, -1] == pytest.approx(50_000 * (shifted - without), rel=1e-12)
        assert found.left_without[0, 0, -1] == pytest.approx(1 - without, rel=1e-12)
        rate = 0.02 * np.exp(-0.1)
        area = (1 - shifted) / rate - (1 - without) / 0.02
        assert found.months_gained[0, 0, -1] == pytest.approx(area, rel=1e-12)
        assert found.money_kept_with[0, 0, -1] == pytest.approx(shifted, rel=1e-12)

    def test_two_ways_out(self):
        """The other cause takes its share whatever the score does, and some of those kept from leaving."""
        found = retained([np.log(0.5)], [[0.04, 0.04]], [1.0, 1.0], hazard_other=[[0.02, 0.02]])
        assert found.kept_without[0, 0] == pytest.approx(np.exp([-0.06, -0.12]))
        assert found.kept_with[0, 0] == pytest.approx(np.exp([-0.04, -0.08]))
        assert found.left_without[0, 0, -1] == pytest.approx((1 - np.exp(-0.12)) * 2 / 3)
        assert found.left_with[0, 0, -1] == pytest.approx((1 - np.exp(-0.08)) / 2)
        assert found.customers_retained[0, 0, -1] < found.left_without[0, 0, -1] - found.left_with[0, 0, -1]

    def test_a_path_that_comes_and_goes(self):
        found = retained([-0.2], [[0.03] * 4], [0.0, 1.0, 2.0, 0.0])
        hazard = 0.03 * np.cumsum([1, np.exp(-0.2), np.exp(-0.4), 1])
        assert found.kept_with[0, 0] == pytest.approx(np.exp(-hazard))
        assert found.customers_retained[0, 0, 0] == 0

    def test_age_places_a_customer_on_the_clock(self):
        baseline = [[0.10, 0.05, 0.02, 0.01]]
        found = retained([-0.1], baseline, [0.0, 0.0], age=[0, 2], customers=[1, 3])
        assert found.kept_without[0, 0] == pytest.approx(
            [(np.exp(-0.10) + 3 * np.exp(-0.02)) / 4, (np.exp(-0.15) + 3 * np.exp(-0.03)) / 4]
        )
        assert found.customers.tolist() == [4]

    def test_segments_in_sorted_order_with_their_own_draws(self):
        ratio = np.array([[-0.1, -0.3], [-0.2, -0.4]])
        hazard = np.array([[[0.02], [0.01]], [[0.03], [0.015]]])
        found = retained(ratio, hazard, [1.0], segment=["retail", "gold", "gold"], customers=[10, 4, 1])
        assert found.segments.tolist() == ["gold", "retail"]
        assert found.customers.tolist() == [5, 10]
        assert found.kept_with[:, :, 0] == pytest.approx(np.exp(-hazard[:, :, 0] * np.exp(ratio)))

    def test_draws_in_parts_are_draws_at_once(self, monkeypatch):
        rng = np.random.default_rng(0)
        ask = {
            "log_ratio": rng.normal(-0.1, 0.02, 50),
            "hazard": rng.uniform(0.01, 0.03, (50, 1, 12)),
            "shift": np.ones(12),
            "hazard_other": rng.uniform(0.001, 0.003, (1, 12)),
            "predictor": rng.normal(0, 0.3, (50, 7)),
            "money": rng.uniform(1, 9, (7, 12)),
        }
        whole = retained(**ask)
        monkeypatch.setattr("rox.numerics.retained.CHUNK", 7 * 12 * 3)
        parts = retained(**ask)
        for name in ("kept_with", "left_without", "money_with", "months_gained"):
            assert np.array_equal(getattr(whole, name), getattr(parts, name))


class TestAgainstSimulation:
    def test_customers_months_and_money(self):
        """Ten thousand customers of each of twelve patterns live through 24 months, one month at a time."""
        rng = np.random.default_rng(1)
        patterns, horizon, each = 12, 24, 10_000
        baseline, other = rng.uniform(0.01, 0.03, (1, 36)), rng.uniform(0.002, 0.006, (1, 36))
        lean, lean_other = rng.normal(0, 0.6, patterns), rng.normal(0, 0.4, patterns)
        age, money = rng.integers(0, 12, patterns), rng.lognormal(0, 1, patterns)
        shift = np.minimum(np.arange(horizon) / 6, 1.0)
        found = retained(
            [-0.35],
            baseline,
            shift,
            hazard_other=other,
            customers=np.full(patterns, each),
            predictor=lean,
            predictor_other=lean_other,
            age=age,
            money=money,
        )
        for moved, kept, left, held in (
            (False, found.kept_without, found.left_without, found.money_without),
            (True, found.kept_with, found.left_with, found.money_with),
        ):
            alive, gone = np.ones((patterns, each), dtype=bool), 0
            for month in range(horizon):
                rate = baseline[0, age + month] * np.exp(lean - 0.35 * shift[month] * moved)
                rival = other[0, age + month] * np.exp(lean_other)
                out = alive & (rng.random((patterns, each)) < -np.expm1(-(rate + rival))[:, None])
                gone += (out & (rng.random((patterns, each)) < (rate / (rate + rival))[:, None])).sum()
                alive &= ~out
            assert kept[0, 0, -1] == pytest.approx(alive.mean(), abs=0.005)
            assert left[0, 0, -1] == pytest.approx(gone / alive.size, abs=0.005)
            assert held[0, 0, -1] == pytest.approx((alive.sum(1) * money).sum(), rel=0.015)

    def test_time_is_the_area_between_the_curves(self):
        """Month by month the trapezium comes close; the area itself is exact."""
        found = retained([-0.5], [[0.05] * 36], np.ones(36), hazard_other=[[0.01] * 36])
        gap = np.concatenate([[0.0], found.customers_retained[0, 0]])
        assert found.months_gained[0, 0, -1] == pytest.approx((gap[1:] + gap[:-1]).sum() / 2, rel=1e-3)
        survival = [np.exp(-0.06 * 36), np.exp(-(0.05 * np.exp(-0.5) + 0.01) * 36)]
        area = (1 - survival[1]) / (0.05 * np.exp(-0.5) + 0.01) - (1 - survival[0]) / 0.06
        assert found.months_gained[0, 0, -1] == pytest.approx(area, rel=1e-12)


class TestShortcuts:
    def test_a_mean_customer_is_not_the_mean_of_customers(self):
        lean = np.array([-1.5, 0.0, 1.5])
        found = retained([-0.2], [[0.03] * 12], np.ones(12), predictor=lean)
        mean = retained([-0.2], [[0.03] * 12], np.ones(12), predictor=[lean.mean()], customers=[3])
        gap = found.customers_retained[0, 0, -1] / mean.customers_retained[0, 0, -1]
        assert abs(gap - 1) > 0.05

    def test_money_leaves_with_those_who_leave(self):
        """Poorer customers leave more: customers kept times mean money overstates the money kept."""
        found = retained(
            [-0.2],
            [[0.01] * 12],
            np.ones(12),
            predictor=[1.5, 0.0, -1.5],
            customers=[70, 25, 5],
            money=[1.0, 10.0, 100.0],
        )
        naive = found.customers_retained[0, 0, -1] * found.money[0, -1] / found.customers[0]
        assert found.money_retained[0, 0, -1] < 0.6 * naive
        assert found.money_kept_without[0, 0, -1] > found.kept_without[0, 0, -1]

    def test_a_ratio_is_not_a_fall_in_churn(self):
        found = retained([np.log(0.8)], [[0.005] * 12], np.ones(12))
        assert found.customers_retained[0, 0, -1] < 0.015

    def test_no_shift_keeps_nobody_and_money_is_left_out_when_not_asked(self):
        found = retained(np.linspace(-0.5, 0.5, 9), [[0.02] * 6], np.zeros(6))
        assert not found.customers_retained.any()
        assert not found.months_gained.any()
        assert np.isnan(found.money_kept_with).all()

    def test_all_faults_in_one_message(self):
        with pytest.raises(ValueError) as caught:
            retained([-0.1], [[0.02] * 5, [0.02] * 5], [1.0] * 6, money=[1.0, np.nan], age=[1, 0])
        message = str(caught.value)
        assert "hazard has shape (1, 2, 5), needed (1, 1, 5)" in message
        assert "hazard covers 5 ages; the oldest pattern reaches 7" in message
        assert "money has values that are NaN" in message
