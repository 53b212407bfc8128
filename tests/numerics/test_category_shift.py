"""The exchange rate between mean score and NPS: derivative, simulation, jackknife."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from rox.numerics.category_shift import category_shift

TYPICAL = np.array([30, 8, 12, 18, 20, 70, 75, 150, 260, 190, 167.0])


def simulated(rng, n, location=0.0):
    """Answers from an ordered probit with fixed cut-points."""
    cuts = np.array([-2.4, -2.2, -2.0, -1.8, -1.6, -1.2, -0.9, -0.4, 0.3, 1.0])
    return np.bincount(np.searchsorted(cuts, rng.normal(location, 1, size=n)), minlength=11)


class TestSlope:
    def test_closed_form_is_the_derivative(self):
        shift = category_shift(TYPICAL)
        for step in (1e-4, -1e-4):
            assert shift.nps_change(step) / step == pytest.approx(shift.value, rel=2e-3)
        central = (shift.nps_change(1e-4) - shift.nps_change(-1e-4)) / 2e-4
        assert central == pytest.approx(shift.value, rel=1e-6)

    def test_typical_size(self):
        """A retail bank's histogram: one score point is 25 to 45 NPS points, never 1."""
        shift = category_shift(TYPICAL)
        assert shift.mean == pytest.approx(TYPICAL @ np.arange(11) / TYPICAL.sum())
        assert 25 < shift.value < 45

    def test_size_for_answers_of_a_bank(self):
        """Mean 7.5-7.7 with a fifth to a quarter of tens gives 36 to 38 NPS points per score point."""
        rng = np.random.default_rng(4)
        for centre, sd in ((7.7, 2.3), (7.9, 2.4), (8.0, 2.5)):
            answers = np.clip(np.round(rng.normal(centre, sd, size=200_000)), 0, 10).astype(int)
            assert 36 < category_shift(np.bincount(answers, minlength=11)).value < 38

    def test_hand_computed_three_answers(self):
        """Answers 6, 8 and 10 only: cut-points at the cumulative shares, each with the width of two answers."""
        counts = np.zeros(11)
        counts[[6, 8, 10]] = [20, 50, 30]
        low, high = stats.norm.pdf(stats.norm.ppf([0.2, 0.7]))
        assert category_shift(counts).value == pytest.approx(100 * (low + high) / (2 * low + 2 * high))

    def test_recovers_a_real_shift_of_a_probit_population(self):
        rng = np.random.default_rng(0)
        before, after = simulated(rng, 2_000_000), simulated(rng, 2_000_000, location=0.15)
        one, two = category_shift(before), category_shift(after)
        assert two.nps - one.nps == pytest.approx(one.nps_change(two.mean - one.mean), abs=0.15)

    def test_change_is_concave_near_the_ceiling_and_can_be_undone(self):
        shift = category_shift(TYPICAL)
        up = shift.nps_change([0.5, 1.0, 1.5])
        assert up.shape == (3,)
        assert (np.diff(up) > 0).all()
        assert 0 > shift.nps_change(-0.5) > -100

    @given(seed=st.integers(0, 10_000), factor=st.floats(0.01, 1e6))
    @settings(max_examples=30, deadline=None)
    def test_scale_of_the_counts_does_not_matter(self, seed, factor):
        counts = np.random.default_rng(seed).gamma(1, size=11) + 0.01
        one, two = category_shift(counts, n_eff=500), category_shift(factor * counts, n_eff=500)
        assert (two.value, two.se, two.nps) == pytest.approx((one.value, one.se, one.nps))

    @given(seed=st.integers(0, 10_000))
    @settings(max_examples=30, deadline=None)
    def test_empty_answers_are_the_limit_of_rare_ones(self, seed):
        rng = np.random.default_rng(seed)
        counts = rng.integers(1, 50, size=11).astype(float)
        gone = rng.choice([0, 1, 2, 3, 4, 8, 10], size=3, replace=False)
        counts[gone] = 0
        rare = counts.copy()
        rare[gone] = 1e-9
        assert category_shift(counts).value == pytest.approx(category_shift(rare).value, rel=1e-5)


class TestError:
    def test_jackknife_and_delta_match_the_scatter(self):
        rng = np.random.default_rng(1)
        values, jackknife, delta = [], [], []
        for _ in range(300):
            buckets = rng.multinomial(60, TYPICAL / TYPICAL.sum(), size=40)
            fit = category_shift(buckets)
            values.append(fit.value)
            jackknife.append(fit.se)
            delta.append(category_shift(buckets.sum(0)).se)
            assert fit.df == 39
        assert np.mean(jackknife) == pytest.approx(np.std(values), rel=0.12)
        assert np.mean(delta) == pytest.approx(np.std(values), rel=0.12)

    def test_order_of_buckets_does_not_matter(self):
        rng = np.random.default_rng(2)
        buckets = rng.multinomial(60, TYPICAL / TYPICAL.sum(), size=20)
        one, two = category_shift(buckets), category_shift(rng.permutation(buckets))
        assert (one.value, one.se) == pytest.approx((two.value, two.se))

    def test_a_bucket_that_holds_an_answer_alone(self):
        buckets = np.tile(TYPICAL, (4, 1))
        buckets[1:, 0] = 0
        assert category_shift(buckets).se > 0

    def test_draws(self):
        fit = category_shift(TYPICAL)
        draws = fit.draws(20_000, rng=3)
        assert draws.shape == (20_000,)
        assert np.median(draws) == pytest.approx(fit.value, rel=0.005)
        assert draws.std() == pytest.approx(fit.se, rel=0.05)
        np.testing.assert_array_equal(draws, fit.draws(20_000, rng=3))


class TestFaults:
    @pytest.mark.parametrize(
        "histogram, message",
        [
            (np.ones(10), "shape"),
            (np.r_[np.ones(10), -1], "negative"),
            (np.zeros(11), "empty"),
            (np.r_[np.zeros(9), 3, 4], "one NPS category"),
            (np.r_[np.zeros(7), 3, 4, 0, 0], "one NPS category"),
        ],
    )
    def test_messages(self, histogram, message):
        with pytest.raises(ValueError, match=message):
            category_shift(histogram)

    def test_change_beyond_the_scale(self):
        with pytest.raises(ValueError, match=r"outside the answers 0\.\.10"):
            category_shift(TYPICAL).nps_change(5)
