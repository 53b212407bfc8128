"""The generalised gamma regression: its special cases, lifelines, and a known truth."""

from __future__ import annotations

import numpy as np
import pytest
from lifelines import GeneralizedGammaFitter, LogNormalAFTFitter, WeibullAFTFitter
from lifelines.datasets import load_rossi

from rox.numerics.generalized_gamma import generalized_gamma


def drawn(shape: float, *, n: int = 1500, seed: int = 1, entry: bool = False) -> tuple[np.ndarray, ...]:
    """Times with log T = 3 + 0.4·x + 0.6·error, censored at their 70% quantile, perhaps seen only if after an entry."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal(n)
    error = np.log(rng.gamma(shape**-2, shape**2, n)) / shape
    time = np.exp(3 + 0.4 * x + 0.6 * error)
    begin = rng.uniform(0, 20, n) if entry else np.zeros(n)
    end = np.quantile(time, 0.7)
    kept = (time > begin) & (begin < end)
    return np.minimum(time, end)[kept], (time <= end)[kept], x[kept, None], begin[kept]


@pytest.mark.parametrize("entry", [False, True])
@pytest.mark.parametrize("shape", [1.8, 0.5, -0.8])
def test_the_truth_lies_within_its_errors(shape: float, entry: bool) -> None:
    time, event, x, begin = drawn(shape, entry=entry, n=3000)
    fit = generalized_gamma(time, event, x, entry=begin)
    se = float(np.sqrt(fit.covariance[0, 0]))
    assert abs(fit.coefficient[0] - 0.4) < 3 * se < 0.12
    assert fit.shape == pytest.approx(shape, abs=0.5)
    assert fit.scale == pytest.approx(0.6, abs=0.12)


def test_it_fits_no_worse_than_its_special_cases_and_like_them_where_they_hold() -> None:
    rossi = load_rossi()[["week", "arrest", "fin", "age", "prio"]]
    fit = generalized_gamma(rossi["week"], rossi["arrest"], rossi[["fin", "age", "prio"]])
    weibull = WeibullAFTFitter().fit(rossi, "week", "arrest")
    lognormal = LogNormalAFTFitter().fit(rossi, "week", "arrest")
    best = max(weibull.log_likelihood_, lognormal.log_likelihood_)
    assert best <= fit.loglik < best + 3
    assert fit.shape == pytest.approx(1.0, abs=0.8)
    assert np.allclose(fit.coefficient, weibull.params_["lambda_"][["fin", "age", "prio"]], rtol=0.15)


def test_without_an_effect_it_agrees_with_the_fit_of_one_sample() -> None:
    time, event, x, _ = drawn(0.7, n=800)
    noise = np.random.default_rng(9).standard_normal((time.size, 1))
    fit = generalized_gamma(time, event, noise)
    alone = GeneralizedGammaFitter().fit(time, event)
    assert alone.log_likelihood_ - 0.01 <= fit.loglik < alone.log_likelihood_ + 6
    assert x.shape == noise.shape


def test_units_of_time_and_covariates_do_not_matter() -> None:
    time, event, x, begin = drawn(1.2, n=600, entry=True)
    one = generalized_gamma(time, event, x, entry=begin)
    two = generalized_gamma(time * 30, event, 10 * x + 5, entry=begin * 30)
    assert two.coefficient[0] == pytest.approx(one.coefficient[0] / 10, rel=1e-3)
    assert two.covariance[0, 0] == pytest.approx(one.covariance[0, 0] / 100, rel=0.02)
    assert two.loglik == pytest.approx(one.loglik - event.sum() * np.log(30), abs=1e-3)


def test_faults_are_listed_together() -> None:
    with pytest.raises(ValueError, match=r"do not vary(.|\n)*positive(.|\n)*no event"):
        generalized_gamma([1.0, -2.0], [0, 0], [[1.0], [1.0]])
