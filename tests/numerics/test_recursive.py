"""Residuals that a process at rest leaves standard normal."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from rox.numerics.monitoring import ewma
from rox.numerics.recursive import common_autocorrelation, self_starting, simes


def test_without_process_variance_they_are_recursive_residuals() -> None:
    y = np.array([1.0, 3.0, 2.0, 2.0, 5.0])
    residual, process = self_starting(y, np.arange(5), np.full(5, 10.0), learn=4)
    assert np.isnan(residual[:4]).all()
    assert process[-1] == 0
    assert residual[4] == pytest.approx((5 - 2) / np.sqrt(10 * 1.25))


def test_with_autocorrelation_they_are_the_best_linear_prediction() -> None:
    rng = np.random.default_rng(1)
    y, v, at = rng.normal(0, 3, 8), np.full(8, 1e-6), np.arange(8)
    plain, process = self_starting(y, at, v, learn=7)
    turned, wider = self_starting(y, at, v, learn=7, rho=1e-9)
    assert turned[-1] == pytest.approx(plain[-1], abs=1e-6)
    tau, rho = self_starting(y, at, v, learn=7, rho=0.6)[1][-1], 0.6
    sigma = tau * rho ** np.abs(at[:, None] - at[None, :]) + np.diag(v)
    inner, cross = np.linalg.inv(sigma[:7, :7]), sigma[7, :7]
    one = np.ones(7)
    mean = one @ inner @ y[:7] / (one @ inner @ one)
    ahead = mean + cross @ inner @ (y[:7] - mean)
    gap = 1 - cross @ inner @ one
    error = sigma[7, 7] - cross @ inner @ cross + gap**2 / (one @ inner @ one)
    score = (y[7] - ahead) / np.sqrt(error)
    assert self_starting(y, at, v, learn=7, rho=0.6)[0][-1] == pytest.approx(
        np.sign(score) * stats.norm.isf(stats.t.sf(abs(score), 6 / 2)), abs=1e-9
    )
    assert wider[-1] == pytest.approx(process[-1])


def test_a_still_process_alarms_no_more_often_than_stated() -> None:
    rng = np.random.default_rng(2)
    alarms = {"fair": 0, "naive": 0}
    periods = 0
    for _ in range(150):
        y = rng.normal(0, np.sqrt(2), 52)
        residual, _ = self_starting(y, np.arange(52), np.ones(52), learn=12)
        naive = (y[12:] - y[:12].mean()) / y[:12].std(ddof=1)
        for name, e in (("fair", residual[12:]), ("naive", naive)):
            start = 0
            while start < e.size:
                passed = np.flatnonzero(ewma(e[start:]).alarms)
                alarms[name] += bool(passed.size)
                start = start + passed[0] + 1 if passed.size else e.size
        periods += 40
    expected = periods / 370
    assert alarms["fair"] <= expected + 2.5 * np.sqrt(expected)
    assert alarms["naive"] > 2 * expected


def test_a_shared_autocorrelation_is_found_and_chance_is_not() -> None:
    rng = np.random.default_rng(3)
    found = []
    for rho in (0.0, 0.6):
        series = []
        for _ in range(40):
            u = [rng.normal() / np.sqrt(1 - rho**2)]
            for _ in range(23):
                u.append(rho * u[-1] + rng.normal())
            y = np.array(u) + rng.normal(0, 0.7, 24)
            series.append(y - y.mean())
        found.append(common_autocorrelation(series, [np.full(24, 0.49)] * 40))
    assert found[0] < 0.2
    assert found[1] == pytest.approx(0.6, abs=0.15)


def test_simes_finds_the_one_that_moved() -> None:
    assert simes([1e-6, *[0.5] * 19]) == pytest.approx(2e-5)
    assert simes([0.9, 0.8]) == pytest.approx(0.9)


def test_errors_that_are_not_independent_are_carried_whole() -> None:
    rng = np.random.default_rng(8)
    size, v = 30, np.linspace(0.5, 2, 30)
    y = rng.normal(0, np.sqrt(v))
    at = np.arange(size)
    alone, _ = self_starting(y, at, v + 1e-3 * v.mean(), learn=8, rho=0.3)
    whole, _ = self_starting(y, at, np.diag(v), learn=8, rho=0.3)
    assert whole[8:] == pytest.approx(alone[8:], abs=1e-12)
    common, _ = self_starting(y, at, np.diag(v) + 25.0, learn=8)
    assert common[8:] == pytest.approx(self_starting(y, at, np.diag(v) + 0.025, learn=8)[0][8:], abs=0.05)
