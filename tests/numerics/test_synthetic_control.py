"""Synthetic control and synthetic differences: California's Proposition 99, brute force, known truths."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import optimize

from rox.numerics.synthetic_control import (
    leave_one_donor_out,
    placebo_in_space,
    placebo_in_time,
    simplex_weights,
    synthetic_control,
)
from rox.numerics.synthetic_did import jackknife_variance, placebo_variance, synthetic_did

Case = Callable[[str], tuple[Path, dict[str, dict[str, Any]]]]
BEFORE = 19


@pytest.fixture
def smoking(parity: Case) -> tuple[pd.DataFrame, np.ndarray, dict[str, dict[str, Any]]]:
    folder, values = parity("i04_prop99")
    rows = pd.read_csv(folder / "prop99.csv")
    table = rows.pivot(index="State", columns="Year", values="PacksPerCapita")
    return table, np.asarray(table.index == "California"), values


def test_three_estimates_of_proposition_99(smoking: tuple[pd.DataFrame, np.ndarray, dict[str, Any]]) -> None:
    table, treated, values = smoking
    y = table.to_numpy()
    fit = synthetic_did(y, treated, before=BEFORE)
    assert fit.estimate == pytest.approx(values["sdid"]["value"], rel=1e-3)
    control = synthetic_control(y[treated][0], y[~treated], before=BEFORE)
    assert control.gap[BEFORE:].mean() == pytest.approx(values["sc"]["value"], rel=1e-2)
    plain = y[treated][0] - y[~treated].mean(0)
    assert plain[BEFORE:].mean() - plain[:BEFORE].mean() == pytest.approx(values["did"]["value"], rel=1e-6)
    heaviest = np.sort(fit.unit_weights)[::-1][:5]
    assert heaviest == pytest.approx(values["sdid.top_unit_weights"]["value"], rel=2e-2)
    assert fit.time_weights[-3:] == pytest.approx(values["sdid.time_weights"]["value"], rel=2e-2)
    assert fit.time_weights[:-3] == pytest.approx(0, abs=1e-3)


def test_placebos_of_proposition_99(smoking: tuple[pd.DataFrame, np.ndarray, dict[str, Any]]) -> None:
    table, treated, values = smoking
    y = table.to_numpy()
    found = placebo_variance(y[~treated], treated=1, before=BEFORE)
    assert found.size == 38
    assert np.sqrt((found**2).mean()) == pytest.approx(values["sdid.se.placebo"]["value"], rel=0.15)
    control = synthetic_control(y[treated][0], y[~treated], before=BEFORE)
    placebo = placebo_in_space(control, y[~treated])
    assert placebo.p_value == pytest.approx((1 + (placebo.ratios >= control.ratio).sum()) / 39)
    assert placebo.p_value < 0.1
    which, gaps = leave_one_donor_out(y[treated][0], y[~treated], before=BEFORE)
    assert len(which) == (control.weights > 1e-6).sum()
    assert (gaps[:, BEFORE:].mean(1) < -15).all()
    supposed = placebo_in_time(y[treated][0], y[~treated], before=BEFORE, earlier=12)
    assert abs(supposed.gap[12:].mean()) < 5


def test_weights_are_those_of_a_general_solver() -> None:
    rng = np.random.default_rng(1)
    x, y = rng.standard_normal((12, 6)) + 3, rng.standard_normal(12) + 3
    for ridge, intercept in ((0.0, False), (0.7, False), (0.7, True)):
        found = simplex_weights(x, y, ridge=ridge, intercept=intercept)

        def loss(w: np.ndarray, ridge: float = ridge, intercept: bool = intercept) -> float:
            error = x @ w - y
            return float(((error - error.mean() * intercept) ** 2).sum() + ridge * (w**2).sum())

        best = optimize.minimize(
            loss,
            np.full(6, 1 / 6),
            method="SLSQP",
            bounds=[(0, 1)] * 6,
            constraints={"type": "eq", "fun": lambda w: w.sum() - 1},
            options={"ftol": 1e-12, "maxiter": 500},
        )
        assert found.sum() == pytest.approx(1)
        assert (found >= 0).all()
        assert loss(found) <= best.fun + 1e-8


def test_a_mixture_of_donors_is_found_whatever_the_unit() -> None:
    rng = np.random.default_rng(2)
    donors = np.cumsum(rng.standard_normal((8, 30)), axis=1) + 50
    weights = np.array([0.5, 0.3, 0.2, 0, 0, 0, 0, 0])
    outcome = weights @ donors
    outcome[20:] += 4
    for scale in (1.0, 1e-5, 1e6):
        fit = synthetic_control(scale * outcome, scale * donors, before=20)
        assert fit.weights == pytest.approx(weights, abs=1e-6)
        assert fit.gap[20:] == pytest.approx(4 * scale, rel=1e-5)


def test_predictors_that_matter_are_given_importance() -> None:
    rng = np.random.default_rng(3)
    cause, noise = rng.standard_normal(12), rng.standard_normal(12)
    time = np.arange(24.0)
    y = 10 + np.outer(cause, time / 4) + 0.05 * rng.standard_normal((12, 24))
    fit = synthetic_control(
        y[0],
        y[1:],
        before=16,
        predictors=np.array([cause[0], noise[0]]),
        donor_predictors=np.column_stack([cause, noise])[1:],
    )
    assert fit.importance[0] > 0.9
    assert fit.importance.sum() == pytest.approx(1)
    assert np.abs(fit.gap[16:]).max() < 0.6


def test_differences_of_level_go_out_and_the_errors_are_right() -> None:
    rng = np.random.default_rng(4)
    treated = np.arange(30) < 10
    estimates, jackknifed, placebos = [], [], []
    for _ in range(40):
        factor = np.cumsum(rng.standard_normal(20)) / 3
        y = rng.normal(0, 3, 30)[:, None] + np.outer(1 + 0.3 * rng.standard_normal(30), factor)
        y += rng.standard_normal((30, 20)) + 100 * treated[:, None]
        y[treated, 14:] += 2
        fit = synthetic_did(y, treated, before=14)
        estimates.append(fit.estimate)
        jackknifed.append(np.sqrt(jackknife_variance(y, treated, fit)))
        assert fit.path[14:].mean() == pytest.approx(fit.estimate)
        if len(placebos) < 3:
            drawn = placebo_variance(y[~treated], treated=8, before=14, n=40, rng=1)
            placebos.append(np.sqrt((drawn**2).mean()))
    assert np.mean(estimates) == pytest.approx(2, abs=4 * np.std(estimates) / np.sqrt(40))
    assert 0.7 < np.mean(jackknifed) / np.std(estimates) < 1.6
    assert 0.5 < np.mean(placebos) / np.std(estimates) < 2.0


def test_jackknife_is_leaving_out_with_the_weights_kept() -> None:
    rng = np.random.default_rng(5)
    y, treated = rng.standard_normal((9, 10)), np.arange(9) < 3
    fit = synthetic_did(y, treated, before=6)
    change = y[:, 6:].mean(1) - y[:, :6] @ fit.time_weights
    each = []
    for out in range(9):
        mine = [i for i in range(3) if i != out]
        keep = np.array([i != out for i in range(3, 9)])
        w = fit.unit_weights * keep
        each.append(change[mine].mean() - w @ change[3:] / w.sum())
    expected = 8 / 9 * ((np.array(each) - np.mean(each)) ** 2).sum()
    assert jackknife_variance(y, treated, fit) == pytest.approx(expected)


def test_faults_are_named() -> None:
    with pytest.raises(ValueError, match="do not fit"):
        simplex_weights(np.zeros((3, 2)), np.zeros(4))
    with pytest.raises(ValueError, match="two donors"):
        synthetic_control(np.zeros(5), np.zeros((1, 5)), before=3)
    with pytest.raises(ValueError, match=r"two without treatment.*two periods before"):
        synthetic_did(np.zeros((2, 5)), [True, False], before=1)
    with pytest.raises(ValueError, match="missing"):
        synthetic_did(np.full((4, 5), np.nan), [True, False, False, False], before=3)
    with pytest.raises(ValueError, match="come earlier"):
        placebo_in_time(np.zeros(6), np.zeros((3, 6)), before=3, earlier=3)
