"""Bands, Wald tests and the wild cluster bootstrap: exact algebra and size by simulation."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from rox.numerics.joint import covariance, multipliers, simultaneous_band, wald_test, wild_cluster_pvalue
from rox.numerics.panel import linear_regression


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


class TestWildBootstrap:
    @staticmethod
    def clustered(rng, clusters=12, size=10, treated=4):
        code = np.repeat(np.arange(clusters), size)
        x = np.column_stack([(rng.permutation(clusters) < treated)[code], np.ones(code.size)]).astype(float)
        return rng.normal(size=code.size) + rng.normal(size=clusters)[code], x, code

    def test_equals_refitting_every_bootstrap_sample(self):
        rng = np.random.default_rng(4)
        y, _, code = self.clustered(rng)
        x = np.column_stack([rng.normal(size=(y.size, 2)) + rng.normal(size=12)[code][:, None], np.ones(y.size)])
        fit = linear_regression(y, x, cluster=code)
        rest = np.delete(x, 1, axis=1)
        fitted = rest @ np.linalg.lstsq(rest, y - 0.2 * x[:, 1], rcond=None)[0] + 0.2 * x[:, 1]
        t = abs(fit.coefficient[1] - 0.2) / fit.se[1]
        signs = multipliers(299, 12, rng=5)
        beyond = 0
        for v in signs:
            again = linear_regression(fitted + v[code] * (y - fitted), x, cluster=code)
            beyond += abs(again.coefficient[1] - 0.2) / again.se[1] >= t
        assert wild_cluster_pvalue(y, x, code, coefficient=1, null=0.2, n=299, rng=5) == pytest.approx(beyond / 299)

    def test_size_with_twelve_clusters(self):
        """Normal tables reject a true null of a treatment of 4 of 12 clusters more than twice too often."""
        rng = np.random.default_rng(6)
        wild, normal = [], []
        for _ in range(800):
            y, x, code = self.clustered(rng)
            wild.append(wild_cluster_pvalue(y, x, code, n=299, rng=rng))
            fit = linear_regression(y, x, cluster=code)
            normal.append(2 * stats.norm.sf(abs(fit.coefficient[0] / fit.se[0])))
        assert np.mean(np.array(wild) < 0.05) == pytest.approx(0.05, abs=0.03)
        assert np.mean(np.array(normal) < 0.05) > 0.09

    def test_power(self):
        rng = np.random.default_rng(7)
        y, x, code = self.clustered(rng, clusters=20, treated=10)
        assert wild_cluster_pvalue(y + 4 * x[:, 0], x, code, rng=1) < 0.01

    def test_faults(self):
        y, x, code = self.clustered(np.random.default_rng(8))
        with pytest.raises(ValueError, match="at least 3 clusters"):
            wild_cluster_pvalue(y, x, code > 5)
        with pytest.raises(ValueError, match="not a column"):
            wild_cluster_pvalue(y, x, code, coefficient=2)
        with pytest.raises(ValueError, match="collinear"):
            wild_cluster_pvalue(y, np.column_stack([x, x[:, 0]]), code)
