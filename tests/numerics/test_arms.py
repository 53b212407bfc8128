"""Checks of an experiment, many results read as many, and bounds where outcomes are lost."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

from rox.numerics.arms import (
    balance_p,
    benjamini_hochberg,
    permuted_p,
    sample_ratio,
    standardized_difference,
    trend_of,
)
from rox.numerics.attrition import imbens_manski, lee_bounds, mean_bounds


def test_the_sample_ratio_is_pearsons_chi_squared():
    expected = stats.chisquare([100, 220, 310], [126, 189, 315])
    found = sample_ratio([100, 220, 310], [0.2, 0.3, 0.5])
    assert (found.statistic, found.p) == pytest.approx((expected.statistic, expected.pvalue), rel=1e-12)
    strata = sample_ratio([[50, 50], [10, 90]], [[0.5, 0.5], [0.1, 0.9]])
    assert (strata.statistic, strata.df) == (0.0, 2)
    assert sample_ratio([60, 140], [0.5, 0.5]).p < 1e-6


def test_differences_in_standard_deviations():
    assert standardized_difference([1.0, 3.0, np.nan], [0.0, 2.0]) == pytest.approx(1.0)
    assert standardized_difference([1.0, 1.0], [1.0]) == 0.0
    assert np.isnan(standardized_difference([np.nan], [1.0]))


def test_benjamini_hochberg_as_statsmodels():
    p = np.random.default_rng(1).random(40) ** 3
    np.testing.assert_allclose(benjamini_hochberg(p), multipletests(p, method="fdr_bh")[1], rtol=1e-12)
    np.testing.assert_allclose(benjamini_hochberg([0.02, np.nan, 0.5]), [0.04, np.nan, 0.5])
    with pytest.raises(ValueError, match=r"0\.\.1"):
        benjamini_hochberg([1.2])


def test_a_trend_has_the_error_of_its_contrast():
    t = np.arange(6.0)
    v = 0.5 * np.eye(6) + 0.5
    found = trend_of(2 - 0.3 * t, v, t)
    assert found.slope == pytest.approx(-0.3)
    assert found.se == pytest.approx(np.sqrt(0.5 / ((t - t.mean()) ** 2).sum()))
    with pytest.raises(ValueError, match="differ"):
        trend_of([1.0, 2.0], np.eye(2), [1.0, 1.0])


def test_dealing_anew_gives_uniform_p_values_and_finds_effects():
    rng = np.random.default_rng(4)
    size = rng.integers(5, 30, 10).astype(float)
    arm = np.repeat([0, 1], 5)
    p = [permuted_p(rng.permutation(arm), size * rng.normal(size=10), size, deals=99, rng=k) for k in range(200)]
    assert stats.kstest(p, "uniform").pvalue > 0.01
    assert permuted_p(arm, size * (5 * arm + 0.1 * rng.normal(size=10)), size, deals=999, rng=1) < 0.02


def test_the_omnibus_test_of_balance_has_its_size():
    rng = np.random.default_rng(6)
    p = []
    for _ in range(400):
        a, b = rng.normal(size=(30, 3)) @ np.diag([1, 5, 100]), rng.normal(size=(60, 3)) @ np.diag([1, 5, 100])
        p.append(balance_p(a.mean(0) - b.mean(0), np.cov(a.T) / 30 + np.cov(b.T) / 60))
    assert 0.02 < np.mean(np.array(p) < 0.05) < 0.13
    v = np.array([[1.0, 1.0], [1.0, 1.0]])
    assert balance_p([1.0, 1.0], v) == pytest.approx(stats.chi2.sf(1.0, 1))


def test_lee_trims_the_arm_with_more_outcomes_and_the_other_way_round():
    y1, y0 = np.arange(10.0), np.arange(8.0) + 0.5
    found = lee_bounds(y1, 10, y0, 10)
    assert found.trimmed == pytest.approx(0.2)
    assert (found.low, found.high) == pytest.approx((3.5 - 4.0, 5.5 - 4.0))
    mirrored = lee_bounds(y0, 10, y1, 10)
    assert (mirrored.low, mirrored.high) == pytest.approx((-found.high, -found.low))
    assert (mirrored.interval_low, mirrored.interval_high) == pytest.approx((-found.interval_high, -found.interval_low))
    whole = lee_bounds(y1, 10, y0, 8)
    assert whole.low == whole.high == pytest.approx(y1.mean() - y0.mean())


def test_lees_errors_are_those_of_many_samples_and_the_interval_covers():
    """Treatment keeps customers who would have left; on those always seen the effect is 0.5."""
    rng = np.random.default_rng(9)
    ends, errors, covered = [], [], []
    for _ in range(400):
        y1, y0 = rng.normal(0.5, 1, 400), rng.normal(0, 1, 400)
        kind1, kind0 = rng.random(400), rng.random(400)
        found = lee_bounds(y1[kind1 < 0.9], 400, y0[kind0 < 0.75], 400)
        ends.append([found.low, found.high])
        errors.append([found.low_se, found.high_se])
        covered.append(found.interval_low <= 0.5 <= found.interval_high)
    np.testing.assert_allclose(np.mean(errors, 0), np.std(ends, 0), rtol=0.12)
    assert np.mean(ends, 0)[0] < 0.5 < np.mean(ends, 0)[1]
    assert np.mean(covered) > 0.9


def test_imbens_manski_lies_between_one_and_two_sided():
    assert imbens_manski(0, 0, 1, 1, level=0.9) == pytest.approx((-1.6448536, 1.6448536))
    assert imbens_manski(0, 100, 1, 2, level=0.9) == pytest.approx((-1.2815516, 100 + 2 * 1.2815516))
    assert imbens_manski(1, 2, 0, 0) == (1, 2)


def test_means_with_missing_rows_are_bounded_by_the_range():
    assert mean_bounds([10.0, 5.0], 4, lowest=0, highest=10) == (3.75, 8.75)
    with pytest.raises(ValueError, match=r"within 0\.\.10"):
        mean_bounds([11.0], 4, lowest=0, highest=10)


def test_faults_are_said():
    with pytest.raises(ValueError, match=r"two arms.*positive"):
        sample_ratio([5.0], [0.0])
    with pytest.raises(ValueError, match=r"treated: .*control: "):
        lee_bounds([1.0], 3, [1.0, 2.0, 3.0], 2)
    with pytest.raises(ValueError, match="two clusters"):
        permuted_p([1, 0, 0], [1.0, 2, 3], [1.0, 1, 1])
