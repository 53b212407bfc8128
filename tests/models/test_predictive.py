"""Posterior predictive checks: silent on what the model gives, and each speaks of its own kind of misfit."""

from __future__ import annotations

import numpy as np
import pytest

from rox.core.check import Check, Verdict
from rox.models.predictive import predictive_check
from rox.numerics.grouped_pooling import pool_groups

GROUP, PLACE = np.tile(np.arange(3), 40), np.repeat(np.arange(40), 3)
ERROR = 0.02 * np.array([1.0, 1.5, 3.0])[GROUP]


def checked(estimate: np.ndarray, error: np.ndarray = ERROR, seed: int = 1) -> Check:
    pooled = pool_groups(
        estimate, error**2, GROUP, cluster=PLACE, prior_sd=0.1, group_sd=0.05, cluster_sd=0.05, draws=1000, rng=seed
    )
    return predictive_check(estimate, error**2, GROUP, pooled, cluster=PLACE, rng=seed)


def from_the_model(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    effects = np.array([0.05, 0.03, 0.02])[GROUP]
    return effects + 0.03 * rng.standard_normal(40)[PLACE] + ERROR * rng.standard_normal(120)


def test_data_from_the_model_pass():
    verdicts = [checked(from_the_model(seed)).verdict for seed in range(20)]
    assert verdicts.count(Verdict.PASS) >= 18


def test_one_place_that_stands_out_is_seen():
    estimate = from_the_model(1)
    estimate[PLACE == 7] += 0.6
    found = checked(estimate)
    assert found.verdict is Verdict.NOTE
    assert found.values["outlier"] == "p < 0.001"
    for language in ("en", "zh"):
        assert "p < 0.001" in found.sentence(language)


@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_errors_of_the_wrong_size_are_seen_where_shocks_cannot_take_them_up(factor):
    """Without clusters nothing else can explain a spread that errors do not."""
    rng = np.random.default_rng(3)
    estimate = np.array([0.05, 0.03, 0.02])[GROUP] + factor * ERROR * rng.standard_normal(120)
    pooled = pool_groups(estimate, ERROR**2, GROUP, prior_sd=0.1, group_sd=0.05, draws=1000, rng=1)
    found = predictive_check(estimate, ERROR**2, GROUP, pooled, rng=1)
    assert found.verdict is Verdict.NOTE
    assert found.values["spread"] == "p < 0.001"
