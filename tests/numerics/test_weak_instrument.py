"""Ratios of estimates: the set against the statistic it inverts, and coverage with strong and weak denominators."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy import stats

from rox.numerics.weak_instrument import RatioSet, anderson_rubin, ratio_draws, wald_ratio


def cov(a: float, b: float, correlation: float) -> np.ndarray:
    return np.array([[a**2, correlation * a * b], [correlation * a * b, b**2]])


@settings(max_examples=200, deadline=None)
@given(
    st.floats(-8, 8),
    st.floats(-8, 8),
    st.floats(0.1, 3),
    st.floats(0.1, 3),
    st.floats(-0.99, 0.99),
    st.floats(0.5, 0.99),
)
def test_the_set_is_what_anderson_and_rubin_do_not_reject(
    n: float, d: float, a: float, b: float, correlation: float, level: float
) -> None:
    v = cov(a, b, correlation)
    found = wald_ratio(n, d, v, level=level).robust_set
    critical = stats.chi2.ppf(level, 1)
    grid = np.concatenate([np.linspace(-60, 60, 241), np.tan(np.linspace(-1.57, 1.57, 101))])
    for r in grid:
        statistic = anderson_rubin(n, d, v, float(r))
        if abs(statistic - critical) > 1e-6 * critical:
            assert found.holds(float(r)) == (statistic < critical)
    for end in (found.low, found.high):
        if np.isfinite(end) and abs(end) < 1e6:
            assert anderson_rubin(n, d, v, end) == pytest.approx(critical, rel=1e-4)


def test_a_textbook_interval_complement_and_line() -> None:
    strong = wald_ratio(6.0, 3.0, cov(1, 0.3, 0.2), level=0.95)
    assert strong.value == 2
    assert strong.effective_f == pytest.approx(100)
    assert strong.robust_set.kind == "interval"
    assert strong.robust_set.low < 2 < strong.robust_set.high
    one_sided = wald_ratio(6.0, 0.3, cov(1, 0.3, 0.2), level=0.95).robust_set
    assert one_sided.kind == "complement"
    assert one_sided.holds(20)
    assert not one_sided.holds(0)
    nothing = wald_ratio(0.5, 0.3, cov(1, 0.3, 0.2), level=0.95)
    assert nothing.robust_set == RatioSet(kind="line", low=-np.inf, high=np.inf, level=0.95)
    assert nothing.effective_f == pytest.approx(1)
    zero = wald_ratio(6.0, 0.0, cov(1, 0.3, 0.2))
    assert zero.value == np.inf
    assert zero.robust_set.kind == "complement"


def test_half_a_line_is_a_complement_with_one_end() -> None:
    critical = stats.chi2.ppf(0.9, 1)
    found = wald_ratio(5.0, float(np.sqrt(critical)), np.eye(2), level=0.9).robust_set
    assert found.kind == "complement"
    inside = min(abs(found.low), abs(found.high))
    assert anderson_rubin(5.0, float(np.sqrt(critical)), np.eye(2), inside) == pytest.approx(critical)
    assert not found.holds(inside - 0.01)
    assert found.holds(inside + 0.01)
    empty = RatioSet(kind="empty", low=np.nan, high=np.nan, level=0.9)
    assert not empty.holds(0.0)


def test_a_strong_denominator_gives_the_delta_interval() -> None:
    found = wald_ratio(2.0, 5.0, cov(0.01, 0.01, 0.4), level=0.9)
    half = stats.norm.ppf(0.95) * found.se
    assert_allclose([found.robust_set.low, found.robust_set.high], [0.4 - half, 0.4 + half], rtol=1e-4)
    wider = wald_ratio(2.0, 5.0, cov(0.01, 0.01, 0.4), level=0.9, df=6).robust_set
    assert_allclose((wider.high - wider.low) / (2 * half), stats.t.ppf(0.95, 6) / stats.norm.ppf(0.95), rtol=1e-3)


@settings(max_examples=40, deadline=None)
@given(st.floats(-5, 5), st.floats(0.5, 5), st.sampled_from([1e-6, 1e-3, 1e6]))
def test_units_do_not_matter(n: float, d: float, scale: float) -> None:
    v = cov(1.0, 0.7, 0.3)
    one, other = (wald_ratio(n * s, d, np.diag([s, 1]) @ v @ np.diag([s, 1])) for s in (1.0, scale))
    assert other.robust_set.kind == one.robust_set.kind
    assert_allclose(
        [other.robust_set.low, other.robust_set.high],
        np.multiply(scale, [one.robust_set.low, one.robust_set.high]),
        rtol=1e-6,
        atol=1e-9 * scale,
    )
    assert other.effective_f == pytest.approx(one.effective_f)


@pytest.mark.parametrize("first_stage", [8.0, 1.0, 0.2])
def test_coverage_does_not_depend_on_the_strength(first_stage: float) -> None:
    rng = np.random.default_rng(11)
    v, truth, reps = cov(1, 1, 0.8), 1.5, 1500
    draws = rng.multivariate_normal([truth * first_stage, first_stage], v, reps)
    found = [wald_ratio(n, d, v, level=0.9) for n, d in draws]
    robust = np.mean([each.robust_set.holds(truth) for each in found])
    assert robust == pytest.approx(0.9, abs=0.03)
    usual = np.mean([abs(each.value - truth) <= 1.645 * each.se for each in found])
    if first_stage == 0.2:
        assert np.mean([each.robust_set.kind != "interval" for each in found]) > 0.7
    if first_stage == 8:
        assert usual == pytest.approx(0.9, abs=0.03)


def test_the_delta_interval_misses_where_the_set_does_not() -> None:
    rng = np.random.default_rng(12)
    v, truth = cov(1, 1, 0.95), -1.0
    draws = rng.multivariate_normal([truth, 1.0], v, 1500)
    found = [wald_ratio(n, d, v, level=0.9) for n, d in draws]
    assert np.mean([abs(each.value - truth) <= 1.645 * each.se for each in found]) < 0.85
    assert np.mean([each.robust_set.holds(truth) for each in found]) == pytest.approx(0.9, abs=0.03)


def test_coverage_with_an_estimated_covariance_of_few_clusters() -> None:
    rng = np.random.default_rng(13)
    hits = {None: 0, 7: 0}
    for _ in range(1500):
        effects = rng.multivariate_normal([1.0, 0.5], cov(1, 1, 0.5), 8)
        n, d = effects.mean(axis=0)
        for df in (None, 7):
            hits[df] += wald_ratio(n, d, np.cov(effects.T) / 8, df=df).robust_set.holds(2.0)
    assert hits[7] / 1500 == pytest.approx(0.9, abs=0.025)
    assert hits[None] / 1500 < 0.87


@pytest.mark.parametrize("df", [None, 12])
def test_draws_have_the_quantiles_of_the_set(df: int | None) -> None:
    v = cov(1, 0.4, 0.5)
    found = wald_ratio(3.0, 2.4, v, level=0.9, df=df).robust_set
    draws = ratio_draws(3.0, 2.4, v, 200_000, level=0.9, df=df, rng=1)
    assert_allclose(np.quantile(draws, [0.05, 0.95]), [found.low, found.high], rtol=0.02)
    assert not draws.flags.writeable


def test_a_weak_denominator_gives_no_draws() -> None:
    with pytest.raises(ValueError, match=r"effective F 1\).*no interval but a line"):
        ratio_draws(0.1, 0.3, cov(1, 0.3, 0.2), 10)
    with pytest.raises(ValueError, match="no interval but a complement"):
        ratio_draws(9.0, 0.3, cov(1, 0.3, 0.2), 10)


def test_what_is_no_covariance() -> None:
    with pytest.raises(ValueError, match=r"finite.*covariance must be \(2, 2\)"):
        wald_ratio(np.nan, 1, np.eye(3))
    with pytest.raises(ValueError, match="positive variance of the denominator"):
        wald_ratio(1, 1, np.diag([1.0, 0.0]))
    with pytest.raises(ValueError, match="correlation within"):
        wald_ratio(1, 1, [[1.0, 2.0], [2.0, 1.0]])
    with pytest.raises(ValueError, match="df must be positive"):
        wald_ratio(1, 1, np.eye(2), df=0)
    with pytest.raises(ValueError, match="size"):
        ratio_draws(9, 9, np.eye(2), 0)
    assert anderson_rubin(2.0, 1.0, [[4.0, 2.0], [2.0, 1.0]], 2.0) == 0
    assert anderson_rubin(3.0, 1.0, [[4.0, 2.0], [2.0, 1.0]], 2.0) == np.inf
