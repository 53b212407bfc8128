from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from scipy.stats import multivariate_normal, norm

from rox.models.hierarchy import sample_groups
from rox.numerics.grouped_pooling import GroupedPool, independent_form, pool_groups
from rox.numerics.pooling import pool

Floats = NDArray[np.float64]
PRIOR, BETWEEN, SHOCK = 0.10, 0.05, 0.05


def small_rollout(seed: int = 1) -> tuple[Floats, Floats, NDArray[np.int64], NDArray[np.int64]]:
    """Estimates of 20 places and 3 segments whose errors share the segments' comparison places."""
    rng = np.random.default_rng(seed)
    group, cluster = np.tile(np.arange(3), 20), np.repeat(np.arange(20), 3)
    covariance = np.diag(0.09 / np.array([50.0, 20.0, 5.0])[group]) + 1e-4 * (group[:, None] == group)
    truth = np.array([0.06, 0.03, 0.00])[group] + 0.02 * rng.standard_normal(20)[cluster]
    return truth + np.linalg.cholesky(covariance) @ rng.standard_normal(60), covariance, group, cluster


def exact(estimate: Floats, covariance: Floats, group: NDArray[np.int64], cluster: NDArray[np.int64]) -> Any:
    """Mean and covariance of the posterior by quadrature over both spreads, everything else being normal."""
    design, places = np.eye(group.max() + 1)[group], np.eye(cluster.max() + 1)[cluster]
    weights, means, variances = [], [], []
    for shock in (np.arange(60) + 0.5) * SHOCK / 15:
        error = covariance + shock**2 * places @ places.T
        precision = design.T @ np.linalg.solve(error, design)
        score = design.T @ np.linalg.solve(error, estimate)
        for between in (np.arange(60) + 0.5) * BETWEEN / 15:
            prior = PRIOR**2 + between**2 * np.eye(design.shape[1])
            posterior = np.linalg.inv(np.linalg.inv(prior) + precision)
            means.append(posterior @ score)
            variances.append(posterior)
            marginal = multivariate_normal.logpdf(estimate, cov=error + design @ prior @ design.T)
            weights.append(marginal + norm.logpdf(shock, 0, SHOCK) + norm.logpdf(between, 0, BETWEEN))
    weight = np.exp(np.array(weights) - max(weights))
    weight /= weight.sum()
    mean = weight @ np.array(means)
    spread = np.array(means) - mean
    return mean, np.einsum("w,wij->ij", weight, np.array(variances)) + (spread.T * weight) @ spread


@pytest.fixture(scope="module")
def pooled() -> GroupedPool:
    estimate, covariance, group, cluster = small_rollout()
    return pool_groups(
        estimate, covariance, group, cluster=cluster, prior_sd=PRIOR, group_sd=BETWEEN, cluster_sd=SHOCK, rng=2
    )


@pytest.mark.slow
def test_the_sampler_says_the_same(pooled: GroupedPool) -> None:
    """Two ways to one posterior: NUTS over the locations, and spreads alone with all else in closed form."""
    estimate, covariance, group, cluster = small_rollout()
    nuts = sample_groups(
        estimate, covariance, group, cluster=cluster, prior_sd=PRIOR, group_sd=BETWEEN, cluster_sd=SHOCK, rng=2
    )
    for name in ("effects", "mean", "between_groups", "between_clusters"):
        exact_draws, sampled = getattr(pooled, name), getattr(nuts, name)
        noise = np.sqrt(1 / pooled.ess + 1 / nuts.sampled.ess) * exact_draws.std(0)
        assert (np.abs(exact_draws.mean(0) - sampled.mean(0)) < 4 * noise).all(), name
        np.testing.assert_allclose(exact_draws.std(0), sampled.std(0), rtol=0.1, err_msg=name)
    np.testing.assert_allclose(pooled.shrinkage, nuts.shrinkage, atol=0.08)


def test_agrees_with_quadrature(pooled: GroupedPool) -> None:
    mean, covariance = exact(*small_rollout())
    sd = np.sqrt(np.diag(covariance))
    noise = sd / np.sqrt(pooled.ess)
    assert (np.abs(pooled.effects.mean(0) - mean) < 4 * noise).all()
    np.testing.assert_allclose(pooled.effects.std(0), sd, rtol=0.1)
    found = np.corrcoef(pooled.effects.T)
    np.testing.assert_allclose(found, covariance / np.outer(sd, sd), atol=0.1)


def test_agrees_with_the_closed_form() -> None:
    """Five segments on the scale of shares of money: the importance and the grid of spreads say the same."""
    estimate = np.array([0.031, 0.012, 0.045, 0.060, 0.150])
    error = np.array([0.010, 0.012, 0.015, 0.030, 0.080])
    sampled = pool_groups(estimate, error**2, list("abcde"), prior_mean=0.03, prior_sd=0.05, group_sd=0.02, rng=3)
    closed = pool(
        estimate,
        error**2,
        gamma_mean=[0.03],
        gamma_covariance=[[0.05**2]],
        tau_scale=0.02,
        n=4000,
        rng=3,
    )
    sd = np.sqrt(np.diag(closed.covariance))
    noise = sd / np.sqrt(sampled.ess)
    assert (np.abs(sampled.effects.mean(0) - closed.mean) < 4 * noise).all()
    np.testing.assert_allclose(sampled.effects.std(0), sd, rtol=0.08)
    assert abs(sampled.between_groups.mean() - closed.tau_mean) < 0.1 * closed.tau_mean
    assert closed.mean[-1] < 0.5 * estimate[-1]


def test_a_segment_with_few_customers_is_drawn_to_the_mean_more(pooled: GroupedPool) -> None:
    assert (np.diff(pooled.shrinkage) > 0).all()
    assert ((pooled.shrinkage > 0) & (pooled.shrinkage < 1)).all()
    assert pooled.effects.shape == (4000, 3)
    assert (pooled.between_groups >= 0).all()
    assert (pooled.between_clusters >= 0).all()


def test_eight_schools_have_the_published_posterior(
    parity: Callable[[str], tuple[Path, dict[str, dict[str, Any]]]],
) -> None:
    folder, published = parity("h01_eight_schools")
    schools = pd.read_csv(folder / "schools.csv")
    found = pool_groups(
        schools["y"], schools["se"] ** 2, schools["school"], prior_sd=5, group_sd=5, law="halfcauchy", rng=8
    )
    for name, draws in (("mu", found.mean), ("tau", found.between_groups), ("theta", found.effects)):
        mean, sd = (np.asarray(published[f"pdb.{name}.{what}"]["value"]) for what in ("mean", "sd"))
        assert (np.abs(draws.mean(0) - mean) < 4 * sd / np.sqrt(found.ess)).all(), name
        np.testing.assert_allclose(draws.std(0), sd, rtol=0.1, err_msg=name)


def test_groups_known_exactly_still_tell_how_they_spread() -> None:
    estimate, error = np.array([0.02, 0.05, 0.11, 0.08]), np.full(4, 1e-8)
    found = pool_groups(estimate, error, list("abcd"), prior_sd=PRIOR, group_sd=BETWEEN, rng=5)
    exactly = pool(estimate, error, gamma_mean=[0], gamma_covariance=[[PRIOR**2]], tau_scale=BETWEEN, rng=1)
    tau_sd = np.sqrt(exactly.tau_probability @ (exactly.tau_grid - exactly.tau_mean) ** 2)
    noise = 4 / np.sqrt(found.ess)
    np.testing.assert_allclose(found.effects.mean(0), estimate, atol=noise * 1e-4)
    assert found.between_groups.mean() == pytest.approx(exactly.tau_mean, abs=noise * tau_sd)
    assert found.mean.mean() == pytest.approx(exactly.gamma_mean[0], abs=noise * exactly.gamma_covariance[0, 0] ** 0.5)
    assert (found.shrinkage < 1e-3).all()


def test_one_group_has_no_spread_between_groups() -> None:
    estimate, error = np.array([0.2, 0.1, 0.3]), np.array([0.01, 0.02, 0.01])
    found = pool_groups(estimate, error, ["all"] * 3, prior_sd=0.5, group_sd=0.05, rng=1)
    precision = (1 / error).sum() + 1 / 0.25
    assert found.effects[:, 0] == pytest.approx(found.mean)
    assert found.effects.mean() == pytest.approx((estimate / error).sum() / precision, abs=4 * precision**-0.5 / 20)
    assert found.effects.std() == pytest.approx(precision**-0.5, rel=0.1)
    assert not found.between_groups.any()
    assert not found.shrinkage.any()


@pytest.mark.parametrize("shock", [0.0, 0.01, 0.3])
def test_the_independent_form_has_the_likelihood_of_the_full_one(shock: float) -> None:
    estimate, covariance, group, cluster = small_rollout()
    design = np.eye(3)[group]
    z, reduced, loads = independent_form(estimate, covariance, design, cluster)
    assert z.size == 20 + 3
    whole = multivariate_normal(cov=covariance + shock**2 * (cluster[:, None] == cluster))
    rng = np.random.default_rng(4)
    first, second = rng.normal(0, 0.1, (2, 3))

    def independent(theta: Floats) -> float:
        return float(norm.logpdf(z, reduced @ theta, np.sqrt(1 + (shock * loads) ** 2)).sum())

    gap = whole.logpdf(estimate - design @ first) - whole.logpdf(estimate - design @ second)
    assert independent(first) - independent(second) == pytest.approx(gap, rel=1e-9)


def test_the_independent_form_weighs_shocks_as_the_full_one() -> None:
    estimate, covariance, group, cluster = small_rollout()
    design, theta = np.eye(3)[group], np.array([0.05, 0.0, -0.05])
    z, reduced, loads = independent_form(estimate, covariance, design, cluster)
    whole, parts = [], []
    for shock in (0.01, 0.1):
        error = covariance + shock**2 * (cluster[:, None] == cluster)
        whole.append(multivariate_normal.logpdf(estimate, design @ theta, error))
        parts.append(norm.logpdf(z, reduced @ theta, np.sqrt(1 + (shock * loads) ** 2)).sum())
    assert parts[0] - parts[1] == pytest.approx(whole[0] - whole[1], rel=1e-9)


def test_what_cannot_be_pooled_is_refused_with_every_reason() -> None:
    with pytest.raises(ValueError, match=r"prior_sd.*group_sd.*cluster_sd"):
        pool_groups([0.1, 0.2], [1.0, 1.0], ["a", "b"], cluster=[0, 1], prior_sd=0, group_sd=-1, cluster_sd=0)
    with pytest.raises(ValueError, match="positive definite"):
        pool_groups([0.1, 0.2], np.ones((2, 2)), ["a", "b"], prior_sd=1, group_sd=1)
    with pytest.raises(ValueError, match="NaN"):
        pool_groups([0.1, np.nan], [1.0, 1.0], ["a", "b"], prior_sd=1, group_sd=1)


def test_a_mixture_prior_is_the_mixture_of_its_components() -> None:
    """Schmidli et al. (2014): each component's posterior, weighted by how well it foretold the data."""
    estimate, error = np.array([0.05, 0.09]), np.array([4e-4, 9e-4])
    parts = [
        pool_groups(estimate, error, ["a", "b"], prior_mean=mean, prior_sd=sd, group_sd=BETWEEN, draws=20_000, rng=1)
        for mean, sd in ((0.02, 0.01), (0.0, 0.2))
    ]
    mixed = pool_groups(
        estimate,
        error,
        ["a", "b"],
        prior_mean=[0.02, 0.0],
        prior_sd=[0.01, 0.2],
        prior_weight=[0.8, 0.2],
        group_sd=BETWEEN,
        draws=20_000,
        rng=1,
    )
    weight = np.array([0.8, 0.2]) * np.exp([part.log_evidence for part in parts])
    weight /= weight.sum()
    np.testing.assert_allclose(mixed.component, weight, atol=0.02)
    want = weight @ np.array([part.effects.mean(0) for part in parts])
    np.testing.assert_allclose(mixed.effects.mean(0), want, atol=0.001)
    assert mixed.log_evidence == pytest.approx(
        np.log(np.array([0.8, 0.2]) @ np.exp([part.log_evidence for part in parts])), abs=0.02
    )


def test_a_predictor_of_groups_draws_them_to_a_line() -> None:
    """The grid of :func:`rox.numerics.pooling.pool` with two predictors and the draws here say the same."""
    estimate, error = np.array([0.03, 0.012, 0.045, 0.06, 0.15]), np.array([0.01, 0.012, 0.015, 0.03, 0.08])
    x = np.arange(-2.0, 3.0)
    found = pool_groups(
        estimate, error**2, list("abcde"), x=x, slope_sd=0.015, prior_mean=0.03, prior_sd=0.05, group_sd=0.02, rng=1
    )
    grid = pool(
        estimate,
        error**2,
        x=np.column_stack([np.ones(5), x]),
        gamma_mean=[0.03, 0],
        gamma_covariance=np.diag([0.05**2, 0.015**2]),
        tau_scale=0.02,
        n=4000,
        rng=1,
    )
    sd = np.sqrt(np.diag(grid.covariance))
    assert (np.abs(found.effects.mean(0) - grid.mean) < 4 * sd / np.sqrt(found.ess)).all()
    np.testing.assert_allclose(found.effects.std(0), sd, rtol=0.06)
    mean_sd = np.sqrt(grid.gamma_covariance[0, 0])
    assert found.mean.mean() == pytest.approx(grid.gamma_mean[0], abs=4 * mean_sd / np.sqrt(found.ess))
    assert found.mean.std() == pytest.approx(mean_sd, rel=0.06)
    with pytest.raises(ValueError, match="x differs within a group"):
        pool_groups(estimate, error**2, list("aabbb"), x=x, slope_sd=1.0, prior_sd=1, group_sd=1)


def test_log_densities_are_those_of_the_model(pooled: GroupedPool) -> None:
    estimate, covariance, group, cluster = small_rollout()
    design = np.eye(3)[group]
    whole = [
        multivariate_normal.logpdf(
            estimate,
            design @ pooled.effects[i],
            covariance + pooled.between_clusters[i] ** 2 * (cluster[:, None] == cluster),
        )
        for i in (0, 5)
    ]
    assert np.diff(pooled.log_likelihood[[0, 5]]) == pytest.approx(np.diff(whole), rel=1e-6)
    spreads = np.column_stack([pooled.between_groups / BETWEEN, pooled.between_clusters / SHOCK])[[0, 5]]
    prior = norm.logpdf(pooled.mean[[0, 5]], 0, PRIOR) - (spreads**2).sum(1) / 2
    assert np.diff(pooled.log_prior[[0, 5]]) == pytest.approx(np.diff(prior), rel=1e-6)


def test_one_seed_gives_the_same_draws() -> None:
    arguments = ([0.1, 0.2, 0.0], [0.01, 0.02, 0.01], list("abc"))
    first, second, other = (pool_groups(*arguments, prior_sd=0.1, group_sd=0.05, rng=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.effects, second.effects)
    assert (first.effects != other.effects).all()
