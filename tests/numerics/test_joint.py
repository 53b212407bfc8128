"""Bands, Wald tests and the wild cluster bootstrap: exact algebra and size by simulation."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from rox.numerics.joint import covariance, multipliers, simultaneous_band, wald_test


class TestMultipliers:
    @pytest.mark.parametrize("kind, values", [("webb", 6), ("rademacher", 2)])
    def test_mean_variance_and_support(self, kind, values):
        v = multipliers(20_000, 4, kind=kind, rng=1)
        assert np.unique(v).size == values
        assert abs(v.mean()) < 0.02
        assert v.var() == pytest.approx(1, abs=0.02)
        assert (v**3).mean() == pytest.approx(0, abs=0.03)

    def test_unknown_kind(self):
        with pytest.raises(ValueError, match="multiplier must be one of 'webb', 'rademacher'"):
            multipliers(2, 2, kind="normal")


class TestBand:
    def test_critical_value_of_independent_points(self):
        """For m independent normal points the critical value solves (2 Phi(c) - 1)^m = level."""
        rng = np.random.default_rng(0)
        psi = np.linalg.qr(rng.normal(size=(400, 10)))[0]
        band = simultaneous_band(np.zeros(10), psi, level=0.9, n=20_000, rng=1)
        expected = stats.norm.ppf((1 + 0.9 ** (1 / 10)) / 2)
        assert band.critical == pytest.approx(expected, rel=0.02)

    def test_points_without_error_have_no_width(self):
        psi = np.column_stack([np.zeros(50), np.random.default_rng(1).normal(size=50)])
        band = simultaneous_band([0, 1], psi, rng=1)
        assert band.low[0] == band.high[0] == 0
        assert band.critical == pytest.approx(1.645, abs=0.12)

    def test_seed_gives_the_same_band(self):
        psi = np.random.default_rng(1).normal(size=(50, 3))
        assert simultaneous_band([0, 1, 2], psi, rng=7).critical == simultaneous_band([0, 1, 2], psi, rng=7).critical

    def test_faults(self):
        with pytest.raises(ValueError, match="do not fit"):
            simultaneous_band([0, 1], np.ones((5, 3)))
        with pytest.raises(ValueError, match="positive standard error"):
            simultaneous_band([0, 1], np.zeros((5, 2)))


class TestWald:
    def test_quadratic_form_and_scale(self):
        rng = np.random.default_rng(2)
        a = rng.normal(size=(3, 3))
        v, theta = a @ a.T + np.eye(3), rng.normal(size=3)
        test = wald_test(theta, v)
        assert test.statistic == pytest.approx(theta @ np.linalg.solve(v, theta))
        assert test.p_value == pytest.approx(stats.chi2.sf(test.statistic, 3))
        scale = np.array([1e-6, 1, 1e6])
        assert wald_test(theta * scale, v * np.outer(scale, scale)).statistic == pytest.approx(test.statistic)

    def test_redundant_restrictions_count_once(self):
        v = np.array([[2.0, 1], [1, 3]])
        lift = np.array([[1.0, 0], [0, 1], [1, 1]])
        theta = np.array([1.0, -2])
        test = wald_test(lift @ theta, lift @ v @ lift.T)
        assert test.df == 2
        assert test.statistic == pytest.approx(theta @ np.linalg.solve(v, theta))

    def test_hotelling_has_the_right_size_with_few_clusters(self):
        """Chi-squared rejects three true hypotheses far too often with 12 clusters; Hotelling's F does not."""
        rng = np.random.default_rng(3)
        plain, exact = [], []
        for _ in range(2000):
            z = rng.normal(size=(12, 3))
            psi = (z - z.mean(0)) / 12 * np.sqrt(12 / 11)
            v = covariance(psi)
            plain.append(wald_test(z.mean(0), v).p_value)
            exact.append(wald_test(z.mean(0), v, clusters=12).p_value)
        assert np.mean(np.array(plain) < 0.05) > 0.12
        assert np.mean(np.array(exact) < 0.05) == pytest.approx(0.05, abs=0.02)

    def test_faults(self):
        with pytest.raises(ValueError, match="more than 2 clusters"):
            wald_test([1, 2], np.eye(2), clusters=2)
        with pytest.raises(ValueError, match="covariance must be"):
            wald_test([1, 2], np.eye(3))
