"""The profile of growth around an answer: its shape by brute force, its fit on exact moments, its test."""

from __future__ import annotations

import numpy as np
import pytest

from rox.numerics.lead_lag import fit_lead_lag, misfit_p_value, response_shape

LEADS = np.arange(-2, 8)


def test_the_shape_is_the_covariance_of_the_process():
    """Money q moves by a·(e − q); with e an AR(1) the covariances of the stationary pair have a closed form."""
    a, r, months = 0.06, 0.9, 4000
    past = np.arange(months)
    for lead in (-1, 0, 1, 3):
        covered = [sum(a * (1 - a) ** m * r ** abs(3 * each - m) for m in past[:900]) for each in (lead, lead - 1)]
        assert response_shape(a, r, [lead])[0] == pytest.approx(covered[0] - covered[1], rel=1e-6)


def test_the_shape_agrees_with_a_simulated_process():
    rng = np.random.default_rng(0)
    a, r, customers = 0.05, 0.88, 40_000
    e = rng.standard_normal(customers)
    q = np.zeros(customers)
    path = []
    for month in range(300):
        e = r * e + np.sqrt(1 - r**2) * rng.standard_normal(customers)
        q = q + a * (e - q)
        if month >= 260:
            path.append((e.copy(), q.copy()))
    found = [
        np.mean(path[15][0] * (path[15 + 3 * lead][1] - path[15 + 3 * (lead - 1)][1])) for lead in (-1, 0, 1, 2, 4)
    ]
    assert np.array(found) == pytest.approx(response_shape(a, r, [-1, 0, 1, 2, 4]), abs=0.004)


def test_exact_moments_give_back_the_effect_and_the_pace():
    effect, common = np.array([0.05, 0.10, -0.02]), np.array([0.03, 0.0, 0.01])
    shape = response_shape(0.04, 0.9, LEADS)
    counts = np.full((3, LEADS.size), 500.0) + LEADS * 7
    sums = counts * (common[:, None] + effect[:, None] * 1.3 * shape)
    fit = fit_lead_lag(sums, counts, LEADS, passing=1.3, memory=0.9, adjustments=[0.02, 0.04, 0.08])
    assert fit.adjustment == 0.04
    assert fit.long_run == pytest.approx(effect)
    assert fit.common == pytest.approx(common)
    assert np.abs(fit.residual).max() < 1e-12
    assert fit.after(12) == pytest.approx(effect * (1 - 0.96**12))


def test_what_came_before_the_answer_does_not_enter_the_fit():
    shape = response_shape(0.04, 0.9, LEADS)
    counts = np.full((1, LEADS.size), 500.0)
    sums = counts * 0.05 * shape
    sums[0, LEADS <= 0] += 40.0
    fit = fit_lead_lag(sums, counts, LEADS, passing=1.0, memory=0.9, adjustments=[0.04])
    assert fit.long_run == pytest.approx([0.05])
    assert fit.residual[0, LEADS <= 0] == pytest.approx(np.full(3, 40 / 500))


def test_faults_are_told_together():
    with pytest.raises(ValueError, match=r"2 leads after the answer.*passing is 0") as caught:
        fit_lead_lag(np.ones((1, 2)), np.ones((1, 2)), [1, 2], passing=0, memory=0.9, adjustments=[0.04])
    assert "at least 3" in str(caught.value)


def test_the_misfit_is_uniform_when_there_is_none():
    rng = np.random.default_rng(1)
    buckets, q = 64, 12
    p = []
    for _ in range(600):
        parts = rng.standard_normal((buckets, q))
        mean = parts.mean(0)
        p.append(misfit_p_value(mean, np.cov(parts, rowvar=False) / buckets, 0, clusters=buckets))
    assert np.mean(np.array(p) < 0.1) == pytest.approx(0.1, abs=0.035)
    with pytest.raises(ValueError, match="leave nothing to test"):
        misfit_p_value(np.zeros(3), np.eye(3), 3, clusters=64)
