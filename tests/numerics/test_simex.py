"""Noise in scores: published values, curves whose continuation is known, and populations whose slope is known."""

from __future__ import annotations

import csv
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from rox.numerics.glm import grouped_glm
from rox.numerics.simex import (
    conditional_reliability,
    errors_in_variables,
    noise_power,
    normal_noise,
    retest_noise,
    retest_sd,
    simex,
    spread_scores,
)


def near(ref: dict[str, Any], name: str, got: Any) -> None:
    assert_allclose(got, ref[name]["value"], rtol=ref[name]["tol_rel"], err_msg=name)


def columns(folder: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    with (folder / "simex.csv").open(encoding="utf-8") as handle:
        rows = list(csv.DictReader(handle))
    w, y, yb = (np.array([float(row[name]) for row in rows]) for name in ("w", "y", "yb"))
    return w, y, yb


def test_published_straight_line(parity: Any) -> None:
    folder, ref = parity("e02_simex")
    w, y, _ = columns(folder)
    slope, start = np.polyfit(w, y, 1)
    near(ref, "naive", [start, slope])
    found = conditional_reliability(w.var(ddof=1), 0.49)
    near(ref, "moment", errors_in_variables(slope, 0.0, reliability=found.value).value)
    fit = simex(lambda zeta: [slope * w.var(ddof=1) / (w.var(ddof=1) + zeta * 0.49)])
    near(ref, "simex.quadratic.exact", fit.quadratic[0])
    near(ref, "moment", fit.rational[0])
    assert fit.disagreement[0] == pytest.approx(0.1, abs=0.01)


def test_published_straight_line_by_simulation(parity: Any) -> None:
    folder, ref = parity("e02_simex")
    w, y, _ = columns(folder)
    rng = np.random.default_rng(3)

    def refit(zeta: float) -> list[float]:
        copies = [np.polyfit(w + 0.7 * np.sqrt(zeta) * rng.standard_normal(w.size), y, 1)[0] for _ in range(60)]
        return [float(np.mean(copies))]

    near(ref, "simex.quadratic", simex(refit).quadratic[0])


def test_published_logit(parity: Any) -> None:
    folder, ref = parity("e02_simex")
    w, _, yb = columns(folder)
    rng = np.random.default_rng(4)

    def logit(x: np.ndarray) -> np.ndarray:
        design = np.column_stack([np.ones(x.size), x])
        return grouped_glm(design, np.ones(x.size), yb, family="logit").coefficient

    near(ref, "logit.naive", logit(w))
    reliability = conditional_reliability(w.var(ddof=1), 0.49).value
    near(ref, "logit.regcal", logit(w.mean() + reliability * (w - w.mean()))[1])

    def refit(zeta: float) -> np.ndarray:
        copies = 1 if zeta == 0 else 30
        return np.mean(
            [logit(w + 0.7 * np.sqrt(zeta) * rng.standard_normal(w.size))[1:] for _ in range(copies)], axis=0
        )

    near(ref, "logit.simex", simex(refit).quadratic[0])


@settings(max_examples=80, deadline=None)
@given(st.floats(-5, 5), st.floats(-5, 5), st.one_of(st.floats(1.1, 50), st.floats(-50, -2.3)))
def test_a_rational_curve_is_continued_exactly(a: float, b: float, c: float) -> None:
    fit = simex(lambda zeta: [a + b / (c + zeta)])
    assert fit.rational[0] == pytest.approx(a + b / (c - 1), abs=1e-5 * (1 + abs(a) + abs(b / (c - 1))))


def test_polynomials_are_continued_exactly() -> None:
    fit = simex(lambda z: [1 + 2 * z, 3 - z + z**2, 7.0], grid=(0, 1, 2, 3))
    assert_allclose(fit.linear[0], -1)
    assert_allclose(fit.quadratic, [-1, 5, 7], atol=1e-12)
    assert_allclose(fit.rational[[0, 2]], [-1, 7], atol=1e-6)
    assert fit.disagreement[2] < 1e-12
    assert not fit.estimates.flags.writeable


def test_a_pole_before_the_target_is_no_answer() -> None:
    fit = simex(lambda z: [1 / (0.3 + z), 1 / (4.0 + z)])
    assert np.isnan(fit.rational[0])
    assert np.isposinf(fit.disagreement[0])
    assert fit.rational[1] == pytest.approx(1 / 3)


def test_what_simex_cannot_use() -> None:
    with pytest.raises(ValueError, match="at least four different"):
        simex(lambda z: [z], grid=(0, 1, 2))
    with pytest.raises(ValueError, match="at least four different"):
        simex(lambda z: [z], grid=(0.5, 1, 2, 3))
    with pytest.raises(ValueError, match=r"NaN or infinite at zeta \[2\.0\]"):
        simex(lambda z: [np.nan if z == 2 else z])
    with pytest.raises(ValueError, match="same number of estimates"):
        simex(lambda z: np.ones(1 + int(z)))


def answers(rng: np.random.Generator, mean: float, noise: float, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Money of slope 2 in a true score that ends at 0 and 10, and two whole answers."""
    x = np.clip(rng.normal(mean, 1.8, n), 0, 10)
    first, second = (np.clip(np.rint(x + rng.normal(0, noise, n)), 0, 10).astype(int) for _ in range(2))
    return 2 * x + rng.standard_normal(n), first, second


def slope(rows: np.ndarray, money: np.ndarray) -> list[float]:
    steps = np.arange(rows.size)
    centred = steps - rows @ steps / rows.sum()
    return [float(money @ centred / (rows @ centred**2))]


@pytest.mark.parametrize(("mean", "noise"), [(5.5, 1.0), (7.5, 1.4), (8.5, 1.2)])
def test_noisy_answers_at_the_end_of_the_scale(mean: float, noise: float) -> None:
    money, first, second = answers(np.random.default_rng(8), mean, noise, 300_000)
    table = np.zeros((11, 11))
    np.add.at(table, (first, second), 1)
    sd = retest_sd(table)
    assert sd == pytest.approx(np.sqrt(noise**2 + 1 / 12), rel=0.05)
    rows, sums = np.bincount(first, minlength=11), np.bincount(first, weights=money, minlength=11)
    fit = simex(lambda z: slope(*spread_scores([rows, sums], normal_noise(sd * np.sqrt(z)))))
    naive = slope(rows, sums)[0]
    assert naive < 1.65
    assert fit.rational[0] == pytest.approx(2, abs=0.07)
    assert naive < fit.linear[0] < fit.quadratic[0] < fit.rational[0]
    wrong = errors_in_variables(naive, 0, reliability=1 - np.var(first - second) / 2 / first.var()).value
    assert wrong > fit.rational[0]


@settings(max_examples=50, deadline=None)
@given(st.floats(0.05, 3), st.floats(0.05, 3), st.integers(2, 11))
def test_normal_noise_has_all_powers(sd: float, zeta: float, levels: int) -> None:
    noise = normal_noise(sd, levels=levels)
    assert_allclose(noise.sum(axis=1), 1)
    assert noise.min() >= -1e-15
    assert_allclose(noise @ noise, normal_noise(sd * np.sqrt(2), levels=levels), atol=1e-12)
    if sd < 1.5:
        assert_allclose(noise_power(noise, zeta), normal_noise(sd * np.sqrt(zeta), levels=levels), atol=1e-6)


def test_normal_noise_is_unbiased_with_its_variance() -> None:
    steps = np.arange(41)
    middle = normal_noise(1.7, levels=41)[20]
    assert middle @ steps == pytest.approx(20)
    assert middle @ (steps - 20.0) ** 2 == pytest.approx(1.7**2)
    assert_allclose(normal_noise(0), np.eye(11))
    with pytest.raises(ValueError, match="sd >= 0"):
        normal_noise(-1)


PI = np.array([[0.8, 0.15, 0.05], [0.2, 0.6, 0.2], [0.05, 0.25, 0.7]])


@settings(max_examples=40, deadline=None)
@given(st.floats(0, 3), st.floats(0, 3))
def test_powers_add(a: float, b: float) -> None:
    both = noise_power(PI, a) @ noise_power(PI, b)
    assert_allclose(both, noise_power(PI, a + b), atol=1e-10)
    assert both.min() >= 0
    assert_allclose(both.sum(axis=1), 1)


def test_powers_of_whole_numbers_and_the_inverse() -> None:
    assert_allclose(noise_power(PI, 1), PI, atol=1e-12)
    assert_allclose(noise_power(PI, 3), PI @ PI @ PI, atol=1e-12)
    assert_allclose(noise_power(PI, 0), np.eye(3), atol=1e-12)
    sums = np.array([[5.0, 20, 40], [1.0, 7, 30]])
    assert_allclose(spread_scores(spread_scores(sums, PI), noise_power(PI, -1)), sums)


def test_spreading_is_what_moving_rows_does_on_average() -> None:
    rng = np.random.default_rng(2)
    score = rng.choice(3, p=[0.2, 0.3, 0.5], size=400_000)
    money = 5.0 + 2 * score + rng.standard_normal(score.size)
    half = noise_power(PI, 0.5)
    moved = (rng.random(score.size)[:, None] > np.cumsum(half[score], axis=1)).sum(axis=1)
    sums = [np.bincount(score, minlength=3), np.bincount(score, weights=money, minlength=3)]
    direct = [np.bincount(moved, minlength=3), np.bincount(moved, weights=money, minlength=3)]
    assert_allclose(spread_scores(sums, half), direct, rtol=0.01)


def test_misclassified_categories() -> None:
    share, mean = np.array([0.2, 0.3, 0.5]), np.array([1.0, 3.0, 4.0])
    rows, money = share @ PI, (share * mean) @ PI

    def means(zeta: float) -> np.ndarray:
        n, total = spread_scores([rows, money], noise_power(PI, zeta))
        return np.asarray(total / n)

    fit = simex(means)
    naive = np.abs(fit.estimates[0] - mean)
    assert (np.abs(fit.quadratic - mean) < 0.75 * naive).all()
    assert (np.abs(fit.rational - mean)[[0, 2]] < 0.4 * naive[[0, 2]]).all()
    assert_allclose(means(-1), mean)


def test_retest_holds_the_noise_twice() -> None:
    share = np.array([0.2, 0.3, 0.5])
    flow = np.array([[0.0, 0.03, 0.01], [0.03, 0.0, 0.05], [0.01, 0.05, 0.0]])
    noise = flow / share[:, None]
    np.fill_diagonal(noise, 1 - noise.sum(axis=1))
    pairs = 1000 * noise.T @ np.diag(share) @ noise
    assert_allclose(retest_noise(pairs), noise, atol=1e-12)
    lopsided = pairs + np.array([[0, 9, 4], [-9, 0, 2], [-4, -2, 0]])
    assert_allclose(retest_noise(lopsided), noise, atol=1e-12)
    unused = np.zeros((4, 4))
    unused[np.ix_([0, 1, 3], [0, 1, 3])] = pairs
    assert_allclose(retest_noise(unused)[2], [0, 0, 1, 0])


def test_matrices_that_no_noise_gives_are_refused() -> None:
    with pytest.raises(ValueError, match="no fractional power"):
        noise_power([[0.2, 0.8], [0.8, 0.2]], 0.5)
    with pytest.raises(ValueError, match="no fractional power"):
        noise_power([[0.1, 0.8, 0.1], [0.1, 0.1, 0.8], [0.8, 0.1, 0.1]], 0.5)
    with pytest.raises(ValueError, match="no fractional power"):
        noise_power(np.full((3, 3), 1 / 3), 0.5)
    with pytest.raises(ValueError, match="probabilities that add to 1"):
        noise_power([[0.9, 0.2], [0.2, 0.8]], 0.5)
    with pytest.raises(ValueError, match="eigenvalues at or below zero"):
        retest_noise([[5, 40], [40, 5]])
    with pytest.raises(ValueError, match="square array"):
        noise_power([0.5, 0.5], 0.5)
    with pytest.raises(ValueError, match="not negative"):
        retest_noise([[5, -4], [4, 5]])
    with pytest.raises(ValueError, match="must end with the 3 scores"):
        spread_scores([1.0, 2.0], PI)


def test_the_nearest_proper_matrix_is_used_when_it_is_near() -> None:
    skipping = np.array([[0.9, 0.1, 0.0], [0.05, 0.9, 0.05], [0.0, 0.1, 0.9]])
    half = noise_power(skipping, 0.5)
    assert half.min() >= 0
    assert_allclose(half @ half, skipping, atol=0.01)
    assert np.abs(half @ half - skipping).max() > 1e-4
    with pytest.raises(ValueError, match=r"more than 0\.001"):
        noise_power(skipping, 0.5, tolerance=0.001)
    far = np.array([[0.6, 0.4, 0.0], [0.2, 0.6, 0.2], [0.0, 0.4, 0.6]])
    with pytest.raises(ValueError, match="nearest matrix that has differs"):
        noise_power(far, 0.5)


def test_a_retest_without_news_is_refused() -> None:
    with pytest.raises(ValueError, match="says nothing about the noise"):
        retest_sd(np.diag(np.arange(1.0, 12)))


def test_conditional_reliability_by_simulation() -> None:
    rng = np.random.default_rng(1)
    score, noise = rng.normal(3.0, 0.1, 200_000), rng.normal(1.0, 0.05, 200_000)
    copies = 1 - noise / score
    found = conditional_reliability(3.0, 1.0, score_variance_variance=0.01, noise_variance_variance=0.0025)
    assert found.value == pytest.approx(2 / 3)
    assert found.se == pytest.approx(copies.std(), rel=0.02)
    fixed = errors_in_variables(-0.4, 0.01, reliability=found.value, reliability_variance=found.variance)
    divided = (-0.4 + 0.1 * rng.standard_normal(copies.size)) / copies
    assert fixed.value == pytest.approx(-0.6)
    assert fixed.se == pytest.approx(divided.std(), rel=0.02)


def test_too_little_signal_is_refused() -> None:
    with pytest.raises(ValueError, match=r"reliability 0\.25 is below 0\.3"):
        errors_in_variables(1, 0.1, reliability=0.25)
    with pytest.raises(ValueError, match=r"variances must not be negative.*at most 1"):
        errors_in_variables(1, -0.1, reliability=1.2)
    with pytest.raises(ValueError, match="finite"):
        errors_in_variables(1, np.nan, reliability=0.5)
    with pytest.raises(ValueError, match=r"score_variance must be positive.*noise_variance"):
        conditional_reliability(0, -1)
