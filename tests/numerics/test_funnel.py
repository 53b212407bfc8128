"""Funnels: identities that hold to the last digit, published intervals, and errors that repeated sampling confirms."""

from __future__ import annotations

import numpy as np
import pytest
from statsmodels.stats.contingency_tables import StratifiedTable, Table2x2

from rox.numerics.funnel import (
    attribute_steps,
    log_mean,
    lot_p_value,
    newcombe_interval,
    share_change,
    step_rates,
)
from rox.numerics.funnel_mix import kitagawa, shapley_mix
from rox.numerics.funnel_strata import mantel_haenszel, standardise

PASSED, N = np.array([45.0, 20.0, 6.0]), np.array([100.0, 90.0, 40.0])
BASE_PASSED, BASE_N = np.array([30.0, 25.0, 2.0]), np.array([110.0, 120.0, 30.0])


class TestSteps:
    def test_rates_multiply_to_the_whole_and_their_log_variances_telescope(self):
        found = step_rates([1000, 870, 500, 499, 210])
        assert found.rates.prod() == pytest.approx(found.total, rel=1e-12)
        assert found.total == 0.21
        by_step = (found.variances / found.rates**2).sum()
        assert found.log_variance == pytest.approx(by_step, rel=1e-12)
        assert found.variance == pytest.approx(0.21 * 0.79 / 1000)
        assert not found.rates.flags.writeable

    @pytest.mark.parametrize("counts", [[10, 12], [10], [10, 0, 0], [10, -1]])
    def test_counts_that_are_no_funnel_are_refused(self, counts):
        with pytest.raises(ValueError, match="counts"):
            step_rates(counts)


class TestChange:
    def test_gives_both_ways_at_once(self):
        found = share_change(45, 100, 30, 100)
        assert (found.base, found.new) == (0.30, 0.45)
        assert found.relative == pytest.approx(0.5)
        assert found.difference == pytest.approx(0.15)
        assert found.log_variance == pytest.approx(0.55 / 45 + 0.70 / 30)

    def test_ratio_is_that_of_statsmodels(self):
        found = share_change(45, 100, 30, 110, level=0.95)
        table = Table2x2(np.array([[45, 55], [30, 80]]))
        assert found.log_variance**0.5 == pytest.approx(table.log_riskratio_se, rel=1e-9)
        low, high = table.riskratio_confint(0.05)
        assert (1 + found.relative_low, 1 + found.relative_high) == pytest.approx((low, high), rel=1e-9)

    @pytest.mark.parametrize(
        ("counts", "interval"),
        [((56, 70, 48, 80), (0.0524, 0.3339)), ((9, 10, 3, 10), (0.1705, 0.8090)), ((5, 56, 0, 29), (-0.0381, 0.1926))],
    )
    def test_difference_is_in_the_published_interval(self, counts, interval):
        """Newcombe (1998), table II, method 10 at 95%."""
        assert newcombe_interval(*counts, level=0.95) == pytest.approx(interval, abs=6e-5)

    def test_refuses_a_form_that_nobody_passes_and_names_both(self):
        with pytest.raises(ValueError, match=r"new form.*old form"):
            share_change(0, 10, 0, 10)


class TestStrata:
    def test_ratio_is_that_of_statsmodels(self):
        tables = [np.array([[a, n - a], [b, m - b]]) for a, n, b, m in zip(PASSED, N, BASE_PASSED, BASE_N, strict=True)]
        found = mantel_haenszel(PASSED, N, BASE_PASSED, BASE_N)
        assert found.ratio == pytest.approx(StratifiedTable(tables).riskratio_pooled, rel=1e-12)

    def test_one_stratum_is_the_plain_comparison(self):
        found, plain = mantel_haenszel([45], [100], [30], [110]), share_change(45, 100, 30, 110)
        assert np.log(found.ratio) == pytest.approx(plain.log_ratio)
        assert found.log_variance == pytest.approx(plain.log_variance)
        assert found.difference == pytest.approx(plain.difference)
        assert found.variance == pytest.approx(0.45 * 0.55 / 100 + (30 / 110) * (80 / 110) / 110)
        assert found.difference_interval[0] < found.difference < found.difference_interval[1]
        assert found.ratio_interval[0] < found.ratio < found.ratio_interval[1]

    def test_strata_without_a_form_have_no_weight(self):
        found = mantel_haenszel(PASSED, N, BASE_PASSED, BASE_N)
        more = mantel_haenszel([*PASSED, 5], [*N, 9], [*BASE_PASSED, 0], [*BASE_N, 0])
        assert more == found
        with pytest.raises(ValueError, match="no stratum has both forms"):
            mantel_haenszel([5], [9], [0], [0])

    @pytest.mark.parametrize("people", [4, 60])
    def test_errors_are_those_of_repeated_sampling_with_many_small_strata_and_few_large_ones(self, people):
        rng = np.random.default_rng(7)
        strata = 480 // people
        base = rng.uniform(0.2, 0.5, strata)
        n1 = np.full(strata, people // 2)
        made = [
            mantel_haenszel(rng.binomial(n1, 1.3 * base), n1, rng.binomial(people - n1, base), people - n1)
            for _ in range(2000)
        ]
        spread = np.var([np.log(each.ratio) for each in made])
        assert np.mean([each.log_variance for each in made]) == pytest.approx(spread, rel=0.10)
        spread = np.var([each.difference for each in made])
        assert np.mean([each.variance for each in made]) == pytest.approx(spread, rel=0.10)

    def test_transport_to_the_own_mix_is_the_plain_mean_and_to_another_moves_only_the_mix(self):
        means = (PASSED / N)[:, None]
        covariance = (means * (1 - means) / N[:, None])[:, :, None]
        own = standardise(means, covariance, N / N.sum())
        assert own.mean[0] == pytest.approx(PASSED.sum() / N.sum())
        other = standardise(means, covariance, [0.0, 0.0, 1.0])
        assert other.mean[0] == pytest.approx(6 / 40)
        assert other.covariance[0, 0] == pytest.approx(covariance[2, 0, 0])

    def test_an_estimated_mix_adds_its_own_uncertainty(self):
        rng = np.random.default_rng(3)
        means, shares, people = np.array([0.1, 0.4, 0.7]), np.array([0.5, 0.3, 0.2]), 400
        known = np.zeros((3, 1, 1))
        drawn = rng.multinomial(people, shares, 4000) / people @ means
        found = standardise(means[:, None], known, shares, sampled=people)
        assert found.covariance[0, 0] == pytest.approx(drawn.var(), rel=0.08)

    def test_log_ratio_and_contrast_are_delta_methods_of_the_joint_covariance(self):
        found = standardise([[0.3, 0.45]], [[[4e-4, 0.0], [0.0, 9e-4]]], [1.0])
        assert found.contrast([-1, 1]) == pytest.approx((0.15, 13e-4**0.5))
        value, error = found.log_ratio(1, 0)
        assert value == pytest.approx(np.log(1.5))
        assert error == pytest.approx((4e-4 / 0.09 + 9e-4 / 0.2025) ** 0.5)

    def test_faults_are_told_together(self):
        with pytest.raises(ValueError, match=r"add up to 1.*sampled"):
            standardise([[0.3], [0.2]], np.zeros((2, 1, 1)), [0.5, 0.6], sampled=0)


class TestMix:
    def test_mix_and_rate_add_up_and_a_pure_change_of_either_is_found(self):
        rng = np.random.default_rng(1)
        s1, s0 = rng.dirichlet(np.ones(6)), rng.dirichlet(np.ones(6))
        m1, m0 = rng.random(6), rng.random(6)
        found = kitagawa(s1, m1, s0, m0, variances=np.full(6, 1e-3), base_variances=np.full(6, 2e-3))
        assert found.total == pytest.approx(s1 @ m1 - s0 @ m0, abs=1e-14)
        assert found.rate_variance == pytest.approx((((s1 + s0) / 2) ** 2).sum() * 3e-3)
        assert kitagawa(s1, m1, s1, m0).mix.sum() == pytest.approx(0, abs=1e-15)
        assert kitagawa(s1, m1, s0, m1).rate.sum() == pytest.approx(0, abs=1e-15)

    def test_a_shift_of_the_outcome_changes_no_part_of_mix(self):
        args = [0.5, 0.5], [0.3, 0.7], [0.2, 0.8], [0.2, 0.5]
        shifted = kitagawa(args[0], np.add(args[1], 5), args[2], np.add(args[3], 5))
        assert shifted.mix == pytest.approx(kitagawa(*args).mix)

    def test_cells_that_enter_or_leave_are_all_mix(self):
        found = kitagawa([0.6, 0.4, 0.0], [0.3, 0.9, np.nan], [0.7, 0.0, 0.3], [0.3, np.nan, 0.1])
        assert found.rate == pytest.approx([0, 0, 0])
        assert found.total == pytest.approx(0.6 * 0.3 + 0.4 * 0.9 - 0.7 * 0.3 - 0.3 * 0.1)

    def test_one_factor_is_the_symmetric_split(self):
        rng = np.random.default_rng(2)
        n1, n0 = rng.integers(20, 90, 5), rng.integers(20, 90, 5)
        y1, y0 = rng.random(5) * n1, rng.random(5) * n0
        found = shapley_mix(n1, y1, n0, y0)
        two = kitagawa(n1 / n1.sum(), y1 / n1, n0 / n0.sum(), y0 / n0)
        assert (found.mix[0], found.rate) == pytest.approx((two.mix.sum(), two.rate.sum()))

    def test_a_factor_of_one_level_changes_nothing_also_where_cells_enter_or_leave(self):
        n1, y1, n0, y0 = (np.array(each, dtype=float) for each in ([50, 50, 0], [0, 50, 0], [70, 0, 30], [0, 0, 15]))
        alone = shapley_mix(n1, y1, n0, y0)
        known = kitagawa(n1 / 100, [0, 1, np.nan], n0 / 100, [0, np.nan, 0.5])
        assert (alone.mix[0], alone.rate) == pytest.approx((known.mix.sum(), known.rate.sum()))
        assert alone.rate == pytest.approx(0)
        for axis in (0, 1):
            wider = shapley_mix(*(np.expand_dims(each, axis) for each in (n1, y1, n0, y0)))
            assert wider.rate == pytest.approx(alone.rate)
            assert wider.mix[1 - axis] == pytest.approx(alone.mix[0])

    def test_several_factors_add_up_also_where_cells_are_empty(self):
        rng = np.random.default_rng(4)
        n1, n0 = rng.integers(0, 30, (4, 3, 2)), rng.integers(0, 30, (4, 3, 2))
        n1[0, 0], n0[1, 2], n0[3] = 0, 0, 0
        y1, y0 = rng.random(n1.shape) * n1, rng.random(n0.shape) * n0
        found = shapley_mix(n1, y1, n0, y0)
        assert found.total == pytest.approx(y1.sum() / n1.sum() - y0.sum() / n0.sum(), abs=1e-13)
        assert (found.borrowed == ((n1 > 0) != (n0 > 0))).all()

    def test_a_factor_that_did_not_move_has_no_part(self):
        base = np.array([[30.0, 10.0], [20.0, 40.0]])
        means = np.array([[0.2, 0.5], [0.3, 0.8]])
        moved = base * np.array([[2.0], [1.0]])
        found = shapley_mix(moved, moved * means, base, base * means)
        assert found.mix[1] == pytest.approx(0, abs=1e-14)
        assert found.rate == pytest.approx(0, abs=1e-14)
        assert found.mix[0] == pytest.approx((moved * means).sum() / moved.sum() - (base * means).sum() / base.sum())


class TestAttribution:
    def test_steps_add_up_exactly(self):
        new, old = np.array([0.9, 0.7, 0.5, 0.33]), np.array([0.9, 0.6, 0.45, 0.28])
        found = attribute_steps(new, old)
        assert found.contributions.sum() == pytest.approx(0.05, abs=1e-15)
        assert found.log_ratios.sum() == pytest.approx(np.log(0.33 / 0.28))
        assert found.contributions[0] == 0
        assert np.isnan(found.se).all()

    def test_errors_are_the_slopes_of_the_parts(self):
        """Against numerical slopes, away from and at equality of both forms."""
        rng = np.random.default_rng(5)
        root = rng.normal(size=(6, 6)) * 1e-3
        covariance = root @ root.T
        for new in (np.array([0.9, 0.6, 0.4]), np.array([0.9, 0.5, 0.3 + 1e-7])):
            old = np.array([0.9, 0.5, 0.3])
            found, step = attribute_steps(new, old, covariance), 1e-6
            slopes = np.array(
                [
                    (
                        attribute_steps(new + bump[3:], old + bump[:3]).contributions
                        - attribute_steps(new - bump[3:], old - bump[:3]).contributions
                    )
                    / (2 * step)
                    for bump in step * np.eye(6)
                ]
            ).T
            assert found.se == pytest.approx(np.sqrt(np.diag(slopes @ covariance @ slopes.T)), rel=1e-4)

    def test_the_sum_has_the_error_of_the_difference(self):
        new, old, n = np.array([0.8, 0.4]), np.array([0.7, 0.3]), 1000
        blocks = [np.minimum.outer(p, p) - np.outer(p, p) for p in (old, new)]
        joint = np.block([[blocks[0], np.zeros((2, 2))], [np.zeros((2, 2)), blocks[1]]]) / n
        found = attribute_steps(new, old, joint)
        rates = step_rates(n * np.array([1, 0.8, 0.4])), step_rates(n * np.array([1, 0.7, 0.3]))
        by_step = sum(each.variances / each.rates**2 for each in rates)
        assert found.log_se == pytest.approx(np.sqrt(by_step))

    def test_logarithmic_mean_is_smooth_through_equality(self):
        assert log_mean(0.3, 0.3) == 0.3
        assert log_mean(0.3 * (1 + 2e-4), 0.3) == pytest.approx(log_mean(0.3 * (1 + 0.9e-4), 0.3), rel=1e-4)
        assert log_mean(2, 1) == log_mean(1, 2)

    def test_refuses_shares_that_rise(self):
        with pytest.raises(ValueError, match="do not rise"):
            attribute_steps([0.3, 0.4], [0.5, 0.4])


def test_a_lot_that_gave_too_much_of_one_form_is_seen():
    assert lot_p_value([5300, 4700], [0.5, 0.5]) < 1e-8
    assert lot_p_value([900, 100], [0.9, 0.1]) == pytest.approx(1)
    with pytest.raises(ValueError, match="add up to 1"):
        lot_p_value([1, 2], [0.5, 0.6])
