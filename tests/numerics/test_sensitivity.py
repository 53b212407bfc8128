"""Hidden causes: published values, populations whose truth is known, and definitions checked by search."""

from __future__ import annotations

import csv
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy import stats

from rox.numerics.oster import oster_bias_adjusted, oster_delta
from rox.numerics.sensitivity import (
    Benchmark,
    benchmark_bounds,
    benchmark_from_t,
    e_value,
    group_partial_r2,
    multiple_that_removes,
    partial_r2,
    robustness,
    specification_summary,
)


def ols(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
    """Coefficients, classical errors and degrees of freedom."""
    beta, *_ = np.linalg.lstsq(x, y, rcond=None)
    df = x.shape[0] - x.shape[1]
    residual = y - x @ beta
    return beta, np.sqrt(np.diag(np.linalg.inv(x.T @ x)) * (residual @ residual) / df), df


def darfur(folder: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Outcome, treatment and covariates, `female` the first and villages the last."""
    with (folder / "darfur.csv").open(encoding="utf-8") as handle:
        rows = list(csv.DictReader(handle))
    names = ["female", "age", "farmer_dar", "herder_dar", "pastvoted", "hhsize_darfur"]
    z = np.array([[float(row[name]) for name in names] for row in rows])
    villages = sorted({row["village"] for row in rows})
    dummies = np.array([[row["village"] == v for v in villages] for row in rows], dtype=float)
    y, d = (np.array([float(row[name]) for row in rows]) for name in ("peacefactor", "directlyharmed"))
    return y, d, np.column_stack([z, dummies])


def test_darfur(parity: Any) -> None:
    folder, ref = parity("n01_darfur")
    y, d, z = darfur(folder)
    beta, se, df = ols(np.column_stack([d, z]), y)
    gamma, gamma_se, _ = ols(z, d)

    def near(name: str, got: Any) -> None:
        assert_allclose(got, ref[name]["value"], rtol=ref[name]["tol_rel"], err_msg=name)

    found = robustness(beta[0], se[0], df, level=0.95)
    female = benchmark_from_t("female", t_outcome=beta[1] / se[1], t_treatment=gamma[0] / gamma_se[0], df=df)
    bounds = benchmark_bounds(beta[0], se[0], df, female)
    near("estimate", beta[0])
    near("se", se[0])
    near("t", beta[0] / se[0])
    near("partial_r2", found.partial_r2)
    near("rv_q", found.robustness_value)
    near("rv_qa", found.robustness_value_at_level)
    near("f2", found.partial_r2 / (1 - found.partial_r2))
    near("bounds.r2dz", bounds.r2_treatment)
    near("bounds.r2yz", bounds.r2_outcome)
    near("bounds.adj_est", bounds.estimate)
    near("bounds.adj_se", bounds.se)
    near("bounds.adj_t", bounds.t)
    k = multiple_that_removes(beta[0], se[0], df, female)
    assert 4 < k < 5
    assert_allclose(benchmark_bounds(beta[0], se[0], df, female, multiples=k).estimate, 0, atol=1e-12)


def adjusted_t(t: float, df: float, r2y: np.ndarray, r2d: np.ndarray, q: float) -> np.ndarray:
    """t of the estimate against (1-q) times itself after the worst hidden cause of a given strength; se is 1."""
    bias = np.sqrt(df) * np.sqrt(r2y * r2d / (1 - r2d))
    return np.asarray((q * t - bias) / np.sqrt((1 - r2y) / (1 - r2d) * df / (df - 1)))


@pytest.mark.parametrize(
    ("t", "df", "q"), [(4.2, 783, 1.0), (4.2, 783, 0.7), (9.0, 4, 1.0), (60.0, 4, 1.0), (1.0, 40, 1)]
)
def test_robustness_value_is_the_weakest_cause_that_suffices(t: float, df: int, q: float) -> None:
    found = robustness(-2 * t, 2.0, df, q=q, level=0.95)
    critical = stats.t.ppf(0.975, df - 1)
    grid = np.linspace(1e-6, 1 - 1e-6, 1501)
    y, d = np.meshgrid(grid, grid)
    strength = np.maximum(y, d)
    enough = strength[adjusted_t(t, df, y, d, q) <= 0]
    assert found.robustness_value == pytest.approx(enough.min(), abs=1e-3)
    hidden = strength[adjusted_t(t, df, y, d, q) <= critical]
    assert found.robustness_value_at_level == pytest.approx(hidden.min(), abs=1e-3)
    assert found.partial_r2 == pytest.approx(partial_r2(t, df))
    if q == 1:
        assert adjusted_t(t, df, np.array(1.0 - 1e-15), np.array(found.partial_r2), 1) == pytest.approx(0, abs=1e-6)


def test_without_a_level_there_is_no_value_at_the_level() -> None:
    assert np.isnan(robustness(1.0, 1.0, 50).robustness_value_at_level)
    assert robustness(0.0, 1.0, 50).robustness_value == 0


def hidden_population(rng: np.random.Generator, columns: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Outcome, treatment, covariates (several columns of one kind) and a hidden cause, 4000 rows."""
    n = 4000
    x = rng.standard_normal((n, columns))
    u = rng.standard_normal(n)
    d = x.sum(1) * 0.3 + 0.3 * u + rng.standard_normal(n)
    return 0.5 * d + x.sum(1) * 0.4 + 0.4 * u + rng.standard_normal(n), d, x, u


@pytest.mark.parametrize("columns", [1, 3])
def test_bounds_hold_for_a_hidden_cause_as_strong_as_the_benchmark(columns: int) -> None:
    y, d, x, u = hidden_population(np.random.default_rng(5), columns)
    one = np.ones((y.size, 1))

    def residual(v: np.ndarray, on: np.ndarray) -> np.ndarray:
        return np.asarray(v - on @ np.linalg.lstsq(on, v, rcond=None)[0])

    def explained(v: np.ndarray, by: np.ndarray, given: np.ndarray) -> float:
        wide = residual(v, np.column_stack([given, by]))
        return 1 - float(wide @ wide) / float(residual(v, given) @ residual(v, given))

    u = residual(u, np.column_stack([one, x]))
    beta, se, df = ols(np.column_stack([d, x, one]), y)
    truth = ols(np.column_stack([d, x, one, u]), y)[0][0]
    r2y, r2d = explained(y, x, np.column_stack([d, one])), explained(d, x, one)
    mark = Benchmark(name="x", r2_outcome=r2y, r2_treatment=r2d)
    strength = explained(d, u, np.column_stack([one, x])), explained(y, u, np.column_stack([one, x, d]))
    k = max(strength[0] / (r2d / (1 - r2d)), explained(y, u, np.column_stack([one, d])) / r2y)
    bounds = benchmark_bounds(beta[0], se[0], df, mark, multiples=[k, 1.0, 2.0])
    assert bounds.r2_treatment[0] >= strength[0] * (1 - 1e-9)
    assert bounds.r2_outcome[0] >= strength[1]
    assert truth - 0.15 < bounds.estimate[0] < truth < beta[0]
    assert (np.diff(bounds.estimate[1:]) < 0).all()


def test_group_partial_r2_is_the_share_that_the_columns_explain() -> None:
    y, d, x, _ = hidden_population(np.random.default_rng(6), 3)
    one = np.ones((y.size, 1))
    wide, narrow = np.column_stack([d, one, x]), np.column_stack([d, one])
    rss = [float(((y - w @ np.linalg.lstsq(w, y, rcond=None)[0]) ** 2).sum()) for w in (wide, narrow)]
    df = y.size - wide.shape[1]
    f = (rss[1] - rss[0]) / 3 / (rss[0] / df)
    assert group_partial_r2(f, columns=3, df=df) == pytest.approx(1 - rss[0] / rss[1])
    assert group_partial_r2(9.0, columns=1, df=20) == pytest.approx(partial_r2(3.0, 20))


def test_what_cannot_exist_is_said_by_values() -> None:
    strong = Benchmark(name="wealth", r2_outcome=0.5, r2_treatment=0.4)
    bounds = benchmark_bounds(-3.0, 0.1, 500, strong, multiples=[0.1, 1, 2, 3])
    assert_allclose(bounds.r2_treatment, np.array([0.1, 1, 2, 3]) * 0.4 / 0.6)
    assert bounds.estimate[0] < 0 < bounds.estimate[1] < np.inf
    assert bounds.capped.tolist() == [False, True, False, False]
    assert (bounds.r2_outcome[1], bounds.se[1], bounds.t[1]) == (1, 0, np.inf)
    for values in (bounds.r2_outcome, bounds.estimate, bounds.se, bounds.t):
        assert np.isnan(values[2:]).all()


def test_how_many_times_as_strong() -> None:
    weak = Benchmark(name="age", r2_outcome=0.01, r2_treatment=0.01)
    whole, half = (multiple_that_removes(-2.0, 0.2, 900, weak, share=s) for s in (1.0, 0.5))
    assert 0 < half < whole < 99
    at = benchmark_bounds(-2.0, 0.2, 900, weak, multiples=[half, whole])
    assert_allclose(at.estimate, [-1.0, 0.0], atol=1e-9)
    strong = Benchmark(name="wealth", r2_outcome=0.3, r2_treatment=0.3)
    k = multiple_that_removes(-2.0, 0.2, 900, strong)
    assert 0 < k < 1
    assert_allclose(benchmark_bounds(-2.0, 0.2, 900, strong, multiples=k).estimate, 0, atol=1e-9)
    huge = multiple_that_removes(1e6, 0.2, 900, strong)
    assert huge == pytest.approx(0.7 / 0.3, rel=1e-6)
    for idle in (
        Benchmark(name="a", r2_outcome=0, r2_treatment=0.5),
        Benchmark(name="b", r2_outcome=0.5, r2_treatment=0),
    ):
        assert multiple_that_removes(1.0, 0.2, 900, idle) == np.inf
        assert benchmark_bounds(1.0, 0.2, 900, idle, multiples=0.5).estimate == pytest.approx(1.0)
    assert multiple_that_removes(0.0, 0.2, 900, weak) == 0


def population(
    beta: float, delta: float, direction: np.ndarray, loading: np.ndarray, hidden: float
) -> dict[str, float]:
    """Regressions in a population: X = direction'Z + e + h W2, Y = beta X + loading'Z + W2 + noise.

    h is chosen so that selection on W2 is delta times that on the index loading'Z.
    """
    k = loading.size
    index, cov_index = loading @ loading, loading @ direction
    covariance = np.zeros((k + 2, k + 2))  # Z, W2, X
    covariance[:k, :k], covariance[k, k] = np.eye(k), hidden
    h = delta * cov_index / index
    covariance[:k, k + 1] = covariance[k + 1, :k] = direction
    covariance[k, k + 1] = covariance[k + 1, k] = h * hidden
    covariance[k + 1, k + 1] = direction @ direction + h**2 * hidden + 1.0
    load = np.concatenate([loading, [1.0, beta]])
    signal, noise = float(load @ covariance @ load), 0.7
    with_y = covariance @ load

    def fit(columns: list[int]) -> tuple[float, float]:
        block = covariance[np.ix_(columns, columns)]
        slope = np.linalg.solve(block, with_y[columns])
        return float(slope[-1]), float(slope @ with_y[columns]) / (signal + noise)

    seen = [*range(k), k + 1]
    (short, r2_short), (long, r2_long) = fit([k + 1]), fit(seen)
    return {
        "beta_short": short,
        "r2_short": r2_short,
        "beta_long": long,
        "r2_long": r2_long,
        "r2_max": signal / (signal + noise),
        "var_outcome": signal + noise,
        "var_treatment": float(covariance[k + 1, k + 1]),
        "var_treatment_residual": float(h**2 * hidden + 1.0),
    }


@settings(max_examples=150, deadline=None)
@given(st.integers(1, 4), st.integers(0, 2**32 - 1), st.floats(-2, 3), st.sampled_from([-1.0, 0.3, 0.9, 1.0, 1.5, 3.0]))
def test_oster_finds_the_truth_of_a_population(k: int, seed: int, beta: float, delta: float) -> None:
    rng = np.random.default_rng(seed)
    direction, loading = rng.uniform(-1, 1, (2, k))
    assume(abs(loading @ direction) > 0.05)
    fits = population(beta, delta, direction, loading, rng.uniform(0.1, 1.5))
    if abs(fits["beta_long"] - beta) > 1e-3:
        assert oster_delta(**fits, beta=beta) == pytest.approx(delta, rel=1e-8)
    found = oster_bias_adjusted(**fits, delta=delta)
    assert np.abs(found.solutions - beta).min() < 1e-8 * max(1, abs(beta))
    assert k > 1 or found.admissible.sum() < found.solutions.size
    nearest = int(np.argmin(np.abs(found.solutions - beta)))
    shift = fits["beta_short"] - fits["beta_long"]
    if abs(shift) > 1e-3:
        assert found.admissible[nearest] == ((shift > 0) == (loading @ direction > 0))
    for each in found.solutions[found.admissible]:
        if abs(each - fits["beta_long"]) > 1e-3:
            assert oster_delta(**fits, beta=float(each)) == pytest.approx(delta, rel=1e-5)
    assert np.isnan(found.beta) == (not found.admissible.any())
    if found.admissible.any():
        assert np.abs(found.solutions[found.admissible] - fits["beta_long"]).min() == pytest.approx(
            abs(found.beta - fits["beta_long"])
        )


def test_oster_takes_the_admissible_solution() -> None:
    fits = population(0.4, 1.0, np.array([0.8, 0.1]), np.array([0.9, -0.2]), 0.6)
    found = oster_bias_adjusted(**fits)
    assert found.solutions.size == 2
    assert found.admissible.sum() == 1
    assert found.beta == pytest.approx(0.4, abs=1e-10)
    assert oster_delta(**fits, beta=0.4) == pytest.approx(1, abs=1e-10)


def test_oster_at_the_edges() -> None:
    fits = population(0.4, 0.8, np.array([0.8, 0.1]), np.array([0.9, -0.2]), 0.6)
    assert oster_bias_adjusted(**fits, delta=0.0).beta == pytest.approx(fits["beta_long"], abs=1e-12)
    assert oster_delta(**fits, beta=fits["beta_long"]) == 0
    idle = fits | {"beta_short": fits["beta_long"], "r2_short": fits["r2_long"]}
    idle["var_treatment"] = idle["var_treatment_residual"]
    assert np.isnan(oster_delta(**idle))
    assert np.isnan(oster_bias_adjusted(**idle).beta)
    unmoved = fits | {"beta_short": fits["beta_long"], "var_treatment": fits["var_treatment_residual"]}
    assert oster_delta(**unmoved) == np.inf
    far = fits | {"r2_max": 1.0}
    assert oster_delta(**far) < oster_delta(**(fits | {"r2_max": fits["r2_long"] + 1e-6}))


def test_oster_near_the_long_regression_is_the_usual_approximation() -> None:
    fits = population(0.9, 0.05, np.array([0.4, 0.3]), np.array([0.3, 0.4]), 0.05)
    short, long = fits["beta_short"], fits["beta_long"]
    rough = long - 0.05 * (short - long) * (fits["r2_max"] - fits["r2_long"]) / (fits["r2_long"] - fits["r2_short"])
    assert oster_bias_adjusted(**fits, delta=0.05).beta == pytest.approx(rough, abs=0.2 * abs(long - rough))


def test_oster_refuses_regressions_that_are_not_nested() -> None:
    fits = population(0.4, 0.8, np.array([0.8, 0.1]), np.array([0.9, -0.2]), 0.6)
    with pytest.raises(ValueError, match=r"r2_short <= r2_long.*var_treatment_residual <= var_treatment.*var_outcome"):
        oster_delta(**(fits | {"r2_max": 0.1, "var_treatment": 0.1, "var_outcome": 0.0}))
    with pytest.raises(ValueError, match="same rows"):
        oster_delta(**(fits | {"beta_short": 9.0}))
    with pytest.raises(ValueError, match="delta must be finite"):
        oster_bias_adjusted(**fits, delta=np.inf)
    with pytest.raises(ValueError, match="finite"):
        oster_delta(**(fits | {"beta_long": np.nan}))


def test_e_values(parity: Any) -> None:
    _, ref = parity("n03_evalues")

    def near(name: str, got: float) -> None:
        assert_allclose(got, ref[name]["value"], rtol=max(ref[name]["tol_rel"], 1e-12), err_msg=name)

    harmful = e_value(3.9, measure="risk_ratio", low=1.8, high=8.7)
    near("rr3.9", harmful.point)
    near("rr3.9.ci", harmful.limit)
    protective = e_value(0.8, measure="risk_ratio", low=0.71, high=0.91)
    near("rr.8", protective.point)
    near("rr.8.ci", protective.limit)
    odds = e_value(0.86, measure="odds_ratio_common", low=0.75, high=0.99)
    near("or.86_common", odds.point)
    near("or.86_common.ci", odds.limit)
    near("or.86_rare", e_value(0.86, measure="odds_ratio_rare").point)
    hazard = e_value(0.56, measure="hazard_ratio_common", low=0.46, high=0.69)
    near("hr.56_common", hazard.point)
    near("hr.56_common.ci", hazard.limit)
    half = 1.78 / 0.91 * 0.05
    difference = e_value(0.293, measure="standardised_difference", low=0.293 - half, high=0.293 + half)
    near("smd.293", difference.point)
    near("smd.293.ci", difference.limit)
    near("null.ci", e_value(1.2, measure="risk_ratio", low=0.9, high=1.6).limit)
    near("true2", e_value(3.9, measure="risk_ratio", low=1.8, high=8.7, null=2).point)


def test_e_value_is_the_strength_that_explains_the_ratio_away() -> None:
    for ratio in (1.3, 3.9, 0.4):
        e = e_value(ratio, measure="risk_ratio").point
        assert e * e / (2 * e - 1) == pytest.approx(max(ratio, 1 / ratio))


def test_e_value_limits() -> None:
    assert e_value(3.9, measure="risk_ratio", low=1.8, null=2).limit == 1
    assert np.isnan(e_value(3.9, measure="risk_ratio", high=8.0).limit)
    assert e_value(1.0, measure="hazard_ratio_common").point == 1
    assert e_value(1.0, measure="hazard_ratio_rare", low=0.9, high=1.1).limit == 1
    mirrored = [e_value(x, measure="hazard_ratio_common").point for x in (0.5, 2.0)]
    assert mirrored[0] == pytest.approx(mirrored[1])
    with pytest.raises(ValueError, match=r"positive ratio, got -1.*outside its interval"):
        e_value(-1, measure="risk_ratio", low=0.5)
    with pytest.raises(ValueError, match="measure must be one of"):
        e_value(2, measure="risk_difference")


def test_specification_curve() -> None:
    curve = specification_summary([0.3, -0.1, 0.5, 0.2], [0.1, 0.2, 0.3, 0.4], marked=2)
    assert_allclose(curve.estimate, [-0.1, 0.2, 0.3, 0.5])
    assert_allclose(curve.se, [0.2, 0.4, 0.1, 0.3])
    assert curve.order.tolist() == [1, 3, 0, 2]
    assert (curve.marked, curve.median, curve.same_sign) == (3, 0.25, 0.75)
    assert (curve.low, curve.high) == (-0.1, 0.5)
    assert specification_summary([0.0, 1.0], [1, 1], marked=0).same_sign == 0
    with pytest.raises(ValueError, match=r"negative values.*position 0\.\.1"):
        specification_summary([0.0, 1.0], [1, -1], marked=2)


def test_all_faults_of_a_fit_are_said_at_once() -> None:
    with pytest.raises(ValueError, match=r"estimate.*se must be positive.*df must be above 1"):
        robustness(np.nan, 0, 1)
    with pytest.raises(ValueError, match="q must be positive"):
        robustness(1, 1, 10, q=0)
    with pytest.raises(ValueError, match=r"r2_outcome.*r2_treatment"):
        Benchmark(name="x", r2_outcome=1.0, r2_treatment=-0.1)
    mark = Benchmark(name="x", r2_outcome=0.1, r2_treatment=0.1)
    with pytest.raises(ValueError, match="multiples must be positive"):
        benchmark_bounds(1, 1, 10, mark, multiples=[0, 1])
    with pytest.raises(ValueError, match="share must be positive"):
        multiple_that_removes(1, 1, 10, mark, share=0)
    with pytest.raises(ValueError, match="at least one column"):
        group_partial_r2(2.0, columns=0, df=10)
