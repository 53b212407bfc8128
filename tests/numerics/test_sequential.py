"""Intervals that may be looked at any time."""

from __future__ import annotations

import numpy as np
import pytest

from rox.numerics.sequential import always_valid_p, best_mixture, confidence_sequence


def test_over_two_hundred_looks_the_sequence_holds_and_the_fixed_interval_does_not():
    """Lognormal money without an effect, looked at after every 20 customers of each arm, 4,000 in all."""
    rng = np.random.default_rng(1)
    looks = 20 * np.arange(1, 201)
    fixed, always = [], []
    for _ in range(300):
        a, b = np.minimum(np.exp(0.5 * rng.standard_normal((2, 4000))), 3)
        mean = [np.cumsum(y)[looks - 1] / looks for y in (a, b)]
        spread = [np.cumsum(y**2)[looks - 1] / looks - m**2 for y, m in zip((a, b), mean, strict=True)]
        se = np.sqrt((spread[0] + spread[1]) / (looks - 1))
        gap = mean[0] - mean[1]
        sequence = confidence_sequence(gap, se, information=looks / 4000, level=0.9)
        always.append(((sequence.low <= 0) & (sequence.high >= 0)).all())
        fixed.append((np.abs(gap) <= 1.645 * se).all())
    assert np.mean(always) > 0.90
    assert np.mean(fixed) < 0.60


def test_it_is_tightest_where_it_was_planned_to_be():
    at = [0.8, 1.0, 1.25]
    width = [confidence_sequence(0.0, 1 / np.sqrt(t), information=t, level=0.95).multiplier[0] for t in at]
    assert width[1] < min(width[0], width[2])
    u = best_mixture(0.95)
    assert width[1] == pytest.approx(np.sqrt(1 + u), rel=1e-9)
    assert u == pytest.approx(np.log1p(u) - 2 * np.log(0.05), rel=1e-9)


def test_the_p_value_is_where_the_interval_touches_zero():
    for information in (0.2, 1.0, 3.0):
        half = confidence_sequence(0.0, 1.0, information=information, level=0.9).high[0]
        assert always_valid_p(half, 1.0, information=information, level=0.9) == pytest.approx(0.1, rel=1e-9)
    assert always_valid_p(0.0, 1.0) == 1.0


def test_faults_are_said():
    with pytest.raises(ValueError, match=r"negative; information"):
        confidence_sequence([1.0], [-1.0], information=[0.0])
    with pytest.raises(ValueError, match="above 0"):
        always_valid_p(1.0, 0.0)
