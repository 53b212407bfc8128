"""The bucket jackknife: textbook cases, and the clustered errors of statsmodels."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy import stats

from rox.numerics.glm import grouped_glm
from rox.numerics.grouped_ols import grouped_ols
from rox.numerics.jackknife import Jackknife, bucket_jackknife, jackknife

BUCKETS = 64


def test_mean_has_its_textbook_error() -> None:
    y = np.random.default_rng(1).standard_normal(40)
    fit = bucket_jackknife(lambda s: s[1] / s[0], np.column_stack([np.ones(40), y]))
    assert fit.estimate[0] == pytest.approx(y.mean())
    assert fit.se[0] == pytest.approx(y.std(ddof=1) / np.sqrt(40))
    assert fit.df == 39
    assert_allclose([fit.low[0], fit.high[0]], stats.t.interval(0.9, 39, y.mean(), fit.se[0]))


def test_several_numbers_have_a_joint_covariance() -> None:
    sums = np.random.default_rng(2).gamma(2, size=(30, 2))
    fit = bucket_jackknife(lambda s: np.array([s[0], s[1], s[0] + s[1]]), sums)
    assert_allclose(fit.covariance[2, 2], fit.covariance[:2, :2].sum())
    assert_allclose(fit.covariance, fit.covariance.T)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.01, 1e6))
def test_labels_of_buckets_and_units_do_not_matter(seed: int, scale: float) -> None:
    rng = np.random.default_rng(seed)
    sums = rng.gamma(1, size=(16, 3, 2)) + 0.1

    def statistic(s: np.ndarray) -> np.ndarray:
        return np.asarray(s[:, 1] / s[:, 0])

    one = bucket_jackknife(statistic, sums)
    shuffled = bucket_jackknife(statistic, sums[rng.permutation(16)])
    assert_allclose(shuffled.estimate, one.estimate, rtol=1e-12)
    assert_allclose(shuffled.covariance, one.covariance, rtol=1e-6, atol=1e-12 * one.covariance.max())
    rich = bucket_jackknife(statistic, sums * [1, scale])
    assert_allclose(rich.se, scale * one.se, rtol=1e-6)


def test_what_cannot_be_jackknifed_is_said() -> None:
    with pytest.raises(ValueError, match="at least 2 buckets"):
        bucket_jackknife(lambda s: s[0], np.ones((1, 2)))
    with pytest.raises(ValueError, match="changes its length"):
        bucket_jackknife(lambda s: np.ones(int(s[0])), np.array([[1.0], [2.0], [3.0]]))
    with pytest.raises(ValueError, match=r"shape \(k, 2\).*|2 names"):
        jackknife([1.0, 2.0], np.ones((5, 3)))
    with pytest.raises(ValueError, match="1 names for 2 numbers"):
        jackknife([1.0, 2.0], np.ones((5, 2)), names=["a"])


def test_a_number_that_is_missing_in_a_replicate_has_no_error() -> None:
    fit = jackknife([1.0, 2.0], [[1, 2], [1.5, np.nan], [0.5, 2]])
    assert fit.se[0] > 0
    assert np.isnan(fit.se[1])
    assert np.isnan(fit.low[1])


def panel(seed: int) -> pd.DataFrame:
    """800 customers with up to eight rows each: errors and a regressor that belong to the customer in part."""
    rng = np.random.default_rng(seed)
    months = rng.integers(1, 9, 800)
    who = np.repeat(np.arange(800), months)
    own, lasting = rng.standard_normal(800), rng.integers(0, 3, 800)
    x = np.where(rng.random(who.size) < 0.6, lasting[who], rng.integers(0, 3, who.size))
    y = np.exp(1 + 0.2 * x + 0.5 * own[who] + 0.5 * rng.standard_normal(who.size))
    left = rng.random(who.size) < -np.expm1(-np.exp(-2 + 0.3 * x + 0.7 * own[who]))
    return pd.DataFrame(
        {"who": who, "x": x, "n": 1.0, "y": y, "d": left.astype(float), "bucket": rng.integers(0, BUCKETS, 800)[who]}
    )


def by_bucket(rows: pd.DataFrame) -> np.ndarray:
    cells = rows.groupby(["bucket", "x"])[["n", "y", "d"]].sum()
    full = pd.MultiIndex.from_product([range(BUCKETS), range(3)])
    return cells.reindex(full, fill_value=0.0).to_numpy().reshape(BUCKETS, 3, 3)


def test_errors_are_those_clustered_by_customer() -> None:
    """Over 300 such data sets the mean ratio of least squares is 1.001 ± 0.005 and the scatter 0.083.

    The scatter expected of 64 buckets is sqrt(1/(2·63)) = 0.089. Here three models in twelve data sets give 36 ratios
    (mean 0.966, scatter 0.071); the three of a data set share buckets, so that their mean has an error of up to
    0.089/sqrt(12) = 0.026, and the bounds are three of these.
    """
    design = np.column_stack([np.ones(3), [0.0, 1, 2]])
    ratios = []
    for seed in range(12):
        rows = panel(seed)
        sums, groups = by_bucket(rows), {"groups": rows["who"]}
        x = np.column_stack([np.ones(len(rows)), rows["x"]])
        references = [
            sm.OLS(rows["y"], x).fit(cov_type="cluster", cov_kwds=groups),
            sm.GLM(rows["y"], x, family=sm.families.Poisson()).fit(cov_type="cluster", cov_kwds=groups),
            sm.GLM(rows["d"], x, family=sm.families.Binomial(link=sm.families.links.CLogLog())).fit(
                cov_type="cluster", cov_kwds=groups
            ),
        ]
        fits: list[Jackknife] = [
            bucket_jackknife(lambda s: grouped_ols(design, s[:, 0], s[:, 1]).coefficient, sums),
            bucket_jackknife(lambda s: grouped_glm(design, s[:, 0], s[:, 1], family="poisson").coefficient, sums),
            bucket_jackknife(lambda s: grouped_glm(design, s[:, 0], s[:, 2], family="cloglog").coefficient, sums),
        ]
        for fit, reference in zip(fits, references, strict=True):
            assert_allclose(fit.estimate, reference.params, rtol=1e-6)
            ratios.append(fit.se[1] / np.asarray(reference.bse)[1])
    assert np.mean(ratios) == pytest.approx(1, abs=0.08)
    assert np.std(ratios) < 0.13
