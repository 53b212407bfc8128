"""Tail index and influential observations: known laws and brute-force refits."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rox.numerics.tails import drop_influential, hill


class TestHill:
    @pytest.mark.parametrize("alpha", [1.5, 2.1, 4.0])
    def test_pareto_tail_and_its_error(self, alpha):
        rng = np.random.default_rng(0)
        fits = [hill(rng.pareto(alpha, size=4000) + 1, share=0.05) for _ in range(200)]
        values = np.array([f.alpha for f in fits])
        assert values.mean() == pytest.approx(alpha, rel=0.02)
        assert np.mean([f.se for f in fits]) == pytest.approx(values.std(), rel=0.15)
        assert fits[0].exceedances == 200

    def test_light_tails_look_light(self):
        assert hill(np.abs(np.random.default_rng(1).normal(size=20_000)), share=0.02).alpha > 5

    @given(seed=st.integers(0, 1000), currency=st.floats(1e-6, 1e6))
    @settings(max_examples=20, deadline=None)
    def test_currency_and_order(self, seed, currency):
        rng = np.random.default_rng(seed)
        x = rng.lognormal(10, 2, size=500)
        one, two = hill(x), hill(currency * rng.permutation(x))
        assert (two.alpha, two.threshold) == pytest.approx((one.alpha, currency * one.threshold))

    @pytest.mark.parametrize(
        "values, message",
        [
            (np.arange(1.0, 100), "are 4, needed 10"),
            (np.r_[np.full(900, -1.0), np.arange(1, 11)], "not positive"),
            (np.r_[np.arange(900.0), np.full(100, 1e6)], "are the values capped"),
            (np.r_[np.ones(500), np.nan], "NaN"),
        ],
    )
    def test_faults(self, values, message):
        with pytest.raises(ValueError, match=message):
            hill(values)


class TestInfluential:
    @staticmethod
    def data(rng, n=240):
        x = np.column_stack([rng.normal(size=n), np.ones(n), rng.normal(size=n)])
        return x @ [0.5, 1, -1] + rng.standard_t(2, size=n), x

    @pytest.mark.parametrize("weighted", [False, True])
    @pytest.mark.parametrize("grouped", [False, True])
    def test_equals_refitting(self, weighted, grouped):
        rng = np.random.default_rng(2)
        y, x = self.data(rng)
        group = rng.permutation(240) // 3 if grouped else np.arange(240)
        w = rng.uniform(0.2, 2, size=240) if weighted else np.ones(240)
        root = np.sqrt(w)

        def refit(keep):
            return np.linalg.lstsq((x * root[:, None])[keep], (y * root)[keep], rcond=None)[0][0]

        fit = drop_influential(y, x, group=group if grouped else None, weights=w if weighted else None)
        without = np.array([refit(group != g) for g in range(group.max() + 1)])
        worst = np.argsort(-np.abs(without - refit(np.ones(240, bool))))[:5]
        np.testing.assert_array_equal(fit.groups, worst)
        np.testing.assert_allclose(fit.alone, without[worst], rtol=1e-9)
        assert fit.together == pytest.approx(refit(~np.isin(group, worst)), rel=1e-9)
        assert fit.share == pytest.approx((fit.together - fit.coefficient) / abs(fit.coefficient))

    def test_one_rich_customer_is_found(self):
        rng = np.random.default_rng(3)
        y, x = self.data(rng)
        x[17], y[17] = [8, 1, 0], 400
        fit = drop_influential(y, x)
        assert fit.groups[0] == 17
        assert abs(fit.share) > 0.2

    def test_a_group_that_alone_identifies_the_coefficient_comes_first(self):
        rng = np.random.default_rng(4)
        x = np.column_stack([np.arange(60) == 12, np.ones(60)]).astype(float)
        fit = drop_influential(rng.normal(size=60), x)
        assert fit.groups[0] == 12
        assert np.isnan(fit.alone[0])
        assert np.isnan(fit.together)

    def test_faults(self):
        y, x = self.data(np.random.default_rng(5), n=12)
        with pytest.raises(ValueError, match="more than 5 groups"):
            drop_influential(y, x, group=np.arange(12) % 4)
        with pytest.raises(ValueError, match="collinear"):
            drop_influential(y, np.ones((12, 2)))
        with pytest.raises(ValueError, match="not a column"):
            drop_influential(y, x, coefficient=3)
