"""Hierarchical normal pooling: published analyses, agreement with quadrature, calibration."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from rox.numerics.pooling import mix_pools, pool, predict_unit, random_effects

EFFECT = np.array([28.0, 8, -3, 7, -1, 1, 18, 12])
ERROR = np.array([15.0, 10, 16, 11, 9, 11, 10, 18])


class TestEightSchools:
    """Rubin (1981); Gelman et al. (2013), section 5.5; expected values by exact quadrature over tau."""

    def test_flat_priors(self):
        fit = pool(EFFECT, ERROR**2, tau_prior="flat", rng=1)
        assert fit.gamma_mean[0] == pytest.approx(7.932362333076736, rel=1e-3)
        assert np.sqrt(fit.gamma_covariance[0, 0]) == pytest.approx(5.178344277628568, rel=1e-3)
        assert fit.tau_median == pytest.approx(5.2380009127, rel=1e-2)
        means = [11.400070, 7.894542, 6.130827, 7.644681, 5.126556, 6.138616, 10.666830, 8.456778]
        sds = [8.341295, 6.274742, 7.765031, 6.546158, 6.357350, 6.710195, 6.785509, 7.888052]
        np.testing.assert_allclose(fit.mean, means, rtol=1e-3)
        np.testing.assert_allclose(fit.sd, sds, rtol=1e-3)

    def test_weakly_informative_priors(self):
        """mu ~ N(0, 5), tau ~ half-Cauchy(5), as in posteriordb's reference draws."""
        fit = pool(EFFECT, ERROR**2, gamma_covariance=25.0, tau_prior="halfcauchy", tau_scale=5, rng=1)
        assert fit.gamma_mean[0] == pytest.approx(4.396843426931709, rel=1e-3)
        assert np.sqrt(fit.gamma_covariance[0, 0]) == pytest.approx(3.317689371754909, rel=1e-3)
        assert fit.tau_mean == pytest.approx(3.5973408349177287, rel=3e-3)
        means = [6.211723, 4.940146, 3.927075, 4.757084, 3.615579, 4.042671, 6.296554, 4.854232]
        np.testing.assert_allclose(fit.mean, means, rtol=1e-3)

    def test_draws_have_the_exact_moments(self):
        fit = pool(EFFECT, ERROR**2, tau_prior="flat", n=60_000, rng=1)
        np.testing.assert_allclose(fit.draws.mean(0), fit.mean, atol=5 * fit.sd.max() / np.sqrt(60_000))
        np.testing.assert_allclose(np.cov(fit.draws.T), fit.covariance, atol=1.5)
        assert fit.gamma_draws.shape == (60_000, 1)
        assert np.median(fit.tau_draws) == pytest.approx(fit.tau_median, rel=0.05)

    def test_pooling_classics(self):
        """Complete pooling 7.7 (4.1), Q = 4.707, and a between-school variance estimated at zero."""
        fit = random_effects(EFFECT, ERROR**2, method="dl")
        assert fit.gamma[0] == pytest.approx(7.685616724956035, rel=1e-10)
        assert np.sqrt(fit.gamma_covariance[0, 0]) == pytest.approx(4.071919158402296, rel=1e-10)
        assert fit.q == pytest.approx(4.707078864400158, rel=1e-10)
        for method in ("dl", "reml", "ml", "pm"):
            assert random_effects(EFFECT, ERROR**2, method=method).tau2 == 0


class TestBcgVaccine:
    """Thirteen trials; R metafor (Viechtbauer 2010, JSS 36(3))."""

    @pytest.fixture(scope="class")
    @staticmethod
    def trials(parity):
        folder, ref = parity("h05_bcg_meta")
        return pd.read_csv(folder / "bcg.csv"), {k: v["value"] for k, v in ref.items()}

    def test_random_effects(self, trials):
        d, ref = trials
        fit = random_effects(d.yi, d.vi)
        assert fit.gamma[0] == pytest.approx(ref["reml.mu"], rel=1e-5)
        assert np.sqrt(fit.gamma_covariance[0, 0]) == pytest.approx(ref["reml.se"], rel=1e-5)
        assert fit.gamma_se_adjusted[0] == pytest.approx(ref["kh.se"], rel=1e-5)
        assert 100 * fit.i2 == pytest.approx(ref["I2"], rel=1e-5)
        assert fit.q == pytest.approx(ref["Q"], rel=1e-9)
        np.testing.assert_allclose(fit.best, ref["blup"], rtol=1e-4)
        for method, name in (("reml", "reml.tau2"), ("ml", "ml.tau2"), ("pm", "pm.tau2"), ("dl", "dl.tau2")):
            assert random_effects(d.yi, d.vi, method=method).tau2 == pytest.approx(ref[name], rel=2e-4)
        assert random_effects(d.yi, d.vi, method="dl").gamma[0] == pytest.approx(ref["dl.mu"], rel=1e-8)
        low, high = fit.gamma[0] + stats.t.ppf([0.025, 0.975], 12) * fit.gamma_se_adjusted[0]
        assert (low, high) == pytest.approx(ref["kh.ci"], rel=1e-4)

    def test_meta_regression(self, trials):
        d, ref = trials
        fit = random_effects(d.yi, d.vi, x=np.column_stack([np.ones(13), d.ablat]))
        assert fit.gamma[1] == pytest.approx(ref["mr.ablat"], rel=1e-4)
        assert np.sqrt(fit.gamma_covariance[1, 1]) == pytest.approx(ref["mr.ablat.se"], rel=1e-3)
        assert fit.tau2 == pytest.approx(ref["mr.tau2"], rel=1e-3)

    def test_posterior_agrees_with_reml_when_data_speak(self, trials):
        d, ref = trials
        fit = pool(d.yi, d.vi, tau_prior="flat", n=20_000, rng=1)
        assert fit.gamma_mean[0] == pytest.approx(ref["reml.mu"], abs=0.02)
        np.testing.assert_allclose(fit.mean, ref["blup"], atol=0.1)
        low, high = np.quantile(predict_unit(fit, rng=2), [0.025, 0.975])
        assert low < ref["pi.t11"][0] + 0.15
        assert high > ref["pi.t11"][1] - 0.15


class TestAlgebra:
    def test_full_covariance_and_predictors_against_quadrature(self):
        rng = np.random.default_rng(3)
        a = rng.normal(size=(5, 5))
        v, y = a @ a.T + np.eye(5), rng.normal(size=5) * 3
        x, g0, g = np.column_stack([np.ones(5), np.arange(5)]), np.array([1, 0.5]), np.diag([4.0, 1])
        fit = pool(y, v, x=x, gamma_mean=g0, gamma_covariance=g, tau_scale=2, grid=2000, n=50_000, rng=1)
        tau = np.linspace(5e-4, 10, 3000)
        log_post, means = [], []
        for t in tau:
            between = t**2 * np.eye(5) + x @ g @ x.T
            total = v + between
            log_post.append(stats.multivariate_normal.logpdf(y, x @ g0, total) + stats.halfnorm.logpdf(t, scale=2))
            means.append(x @ g0 + between @ np.linalg.solve(total, y - x @ g0))
        w = np.exp(log_post)
        np.testing.assert_allclose(fit.mean, w @ np.array(means) / w.sum(), atol=2e-3)
        assert fit.log_marginal == pytest.approx(np.log(w.sum() * (tau[1] - tau[0])), abs=2e-3)
        np.testing.assert_allclose(np.cov(fit.draws.T), fit.covariance, atol=0.1)

    def test_shrinkage_runs_from_none_to_complete(self):
        precise = pool([1.0, 5, 9], np.full(3, 1e-4), tau_scale=5, rng=1)
        noisy = pool([1.0, 5, 9], np.full(3, 1e4), tau_scale=5, rng=1)
        assert precise.shrinkage.max() < 0.001
        assert noisy.shrinkage.min() > 0.99
        np.testing.assert_allclose(precise.mean, [1, 5, 9], atol=0.01)
        np.testing.assert_allclose(noisy.mean, 5, atol=0.1)

    def test_one_unit_with_a_proper_prior_is_conjugate(self):
        fit = pool([2.0], [1.0], gamma_mean=0.0, gamma_covariance=1.0, tau_scale=1e-6, rng=1)
        assert fit.mean[0] == pytest.approx(1, abs=1e-4)
        assert fit.sd[0] == pytest.approx(np.sqrt(0.5), abs=1e-4)
        assert fit.log_marginal == pytest.approx(stats.norm.logpdf(2, scale=np.sqrt(2)), abs=1e-4)

    def test_robust_mixture_follows_the_data(self):
        wide, history = {"gamma_covariance": 100.0}, {"gamma_mean": 1.0, "gamma_covariance": 0.01}
        for y, trusted in (([0.9, 1.1, 1.0], 0.9), ([8.0, 9, 10], 0.0)):
            fits = [pool(y, np.full(3, 0.25), tau_scale=0.5, rng=1, **prior) for prior in (wide, history)]
            mixed = mix_pools(fits, [0.2, 0.8], rng=1)
            assert mixed.weights[1] == pytest.approx(trusted, abs=0.1)
            np.testing.assert_allclose(mixed.mean, mixed.weights @ [f.mean for f in fits])
            np.testing.assert_allclose(mixed.draws.mean(0), mixed.mean, atol=0.05)


class TestCalibration:
    def test_intervals_cover_when_truth_follows_the_prior(self):
        """Units drawn from the model: 90% intervals cover 90% of them, and pooling beats raw means."""
        rng = np.random.default_rng(5)
        inside, raw, pooled = [], 0.0, 0.0
        error = np.array([0.2, 0.4, 0.8, 1.0, 1.5])
        for _ in range(300):
            truth = rng.normal(0, 2) + abs(rng.normal(0, 0.7)) * rng.normal(size=5)
            y = truth + error * rng.normal(size=5)
            fit = pool(y, error**2, gamma_covariance=4.0, tau_scale=0.7, n=400, grid=60, rng=rng)
            low, high = np.quantile(fit.draws, [0.05, 0.95], axis=0)
            inside.append((low <= truth) & (truth <= high))
            raw += ((y - truth) ** 2).sum()
            pooled += ((fit.mean - truth) ** 2).sum()
        assert np.mean(inside) == pytest.approx(0.9, abs=0.03)
        assert pooled < 0.7 * raw


class TestInvariance:
    @given(seed=st.integers(0, 10_000), currency=st.floats(1e-4, 1e4))
    @settings(max_examples=20, deadline=None)
    def test_currency_and_order(self, seed, currency):
        rng = np.random.default_rng(seed)
        y, v = rng.normal(size=6), rng.uniform(0.1, 2, size=6)
        one = pool(y, v, tau_scale=0.5, n=10, rng=1)
        order = rng.permutation(6)
        two = pool(currency * y[order], currency**2 * v[order], tau_scale=0.5 * currency, n=10, rng=1)
        np.testing.assert_allclose(two.mean, currency * one.mean[order], rtol=1e-6, atol=currency * 1e-9)
        np.testing.assert_allclose(two.shrinkage, one.shrinkage[order], rtol=1e-6)
        for method in ("reml", "pm"):
            a, b = random_effects(y, v, method=method), random_effects(currency * y, currency**2 * v, method=method)
            assert b.tau2 == pytest.approx(currency**2 * a.tau2, rel=1e-3, abs=currency**2 * 1e-9)

    def test_seed(self):
        one, two = (pool(EFFECT, ERROR**2, tau_scale=5, rng=9).draws for _ in range(2))
        np.testing.assert_array_equal(one, two)


class TestFaults:
    @pytest.mark.parametrize(
        "arguments, message",
        [
            (([1, 2, 3], [1, 1]), "covariance must have shape"),
            (([1, 2, 3], np.ones((3, 3))), "not positive definite"),
            (([1, 2, 3], [1, 0, 1]), "not positive definite"),
            (([1, np.nan, 3], [1, 1, 1]), "estimate has 1"),
            (([1], [1]), "more units than predictors"),
        ],
    )
    def test_estimates(self, arguments, message):
        with pytest.raises(ValueError, match=message):
            pool(*arguments, tau_scale=1)

    @pytest.mark.parametrize(
        "options, message",
        [
            ({}, "tau_scale must be a positive number"),
            ({"tau_prior": "flat"}, "flat prior on tau needs"),
            ({"tau_prior": "jeffreys", "tau_scale": 1}, "tau_prior must be one of"),
            ({"tau_scale": 1, "gamma_mean": 0}, "gamma_mean needs"),
            ({"tau_scale": 1, "gamma_covariance": -1.0}, "positive definite"),
            ({"tau_scale": 1, "x": np.ones((3, 2))}, "collinear"),
        ],
    )
    def test_priors(self, options, message):
        with pytest.raises(ValueError, match=message):
            pool([1, 2, 3], [1, 1, 1], **options)
