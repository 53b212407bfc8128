"""Rank calibration: exact bands, a right sampler that passes, wrong ones that fail, and one only the data can see."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from rox.numerics.pooling import pool, predict_unit
from rox.numerics.rank_calibration import rank_calibration, simulate_ranks

DRAWS = 99
POINTS = 10
"""Observations per simulated data set, of standard deviation 1 around a mean from a standard normal prior."""


def prior(rng):
    return rng.standard_normal(1)


def simulate(theta, rng):
    return theta[0] + rng.standard_normal(POINTS)


def posterior(data, rng, *, squeeze=1.0, shift=0.0, size=DRAWS):
    sd = (1 + POINTS) ** -0.5
    return (data.sum() / (1 + POINTS) + shift * sd + squeeze * sd * rng.standard_normal(size))[:, None]


def log_likelihood(theta, data):
    return stats.norm.logpdf(data, theta[:, :1]).sum(1)


QUANTITIES = {
    "mean": lambda theta, data: theta[:, 0],
    "square": lambda theta, data: theta[:, 0] ** 2,
    "log likelihood": log_likelihood,
}


def calibrated(sampler, simulations=500, seed=11, **more):
    found = simulate_ranks(prior, simulate, sampler, QUANTITIES, simulations=simulations, rng=seed, **more)
    return rank_calibration(found.ranks, found.draws, names=found.names)


def test_the_exact_posterior_passes_for_every_quantity():
    result = calibrated(posterior)
    assert result.inside.all()
    assert (result.chi2_p > 0.001).all()
    assert result.nominal == pytest.approx([0.5, 0.8, 0.9])
    assert np.abs(result.coverage - result.nominal[:, None]).max() < 0.07
    assert ((result.low[:, None] <= result.ecdf) & (result.ecdf <= result.high[:, None])).all()


def test_a_posterior_a_fifth_too_narrow_fails():
    result = calibrated(lambda data, rng: posterior(data, rng, squeeze=0.8))
    row = result.rows()[0]
    assert row["quantity"] == "mean"
    assert not row["inside"]
    assert row["coverage_90"] < 0.87
    assert result.coverage_p[2, 0] < 0.01


def test_a_shifted_posterior_fails():
    assert not calibrated(lambda data, rng: posterior(data, rng, shift=0.3)).inside[0]


def test_a_posterior_that_ignores_the_data_is_seen_by_a_quantity_of_the_data_only():
    """Modrák et al. (2023): the prior in place of the posterior gives uniform ranks of every parameter."""
    result = calibrated(lambda data, rng: rng.standard_normal((DRAWS, 1)))
    assert list(result.inside) == [True, True, False]


@pytest.mark.parametrize(("simulations", "draws"), [(60, 19), (200, 99), (150, 999)])
def test_uniform_ranks_stay_inside_the_band_as_often_as_said(simulations, draws):
    rng = np.random.default_rng(4)
    result = rank_calibration(rng.integers(0, draws + 1, (simulations, 1)), draws)
    cuts = np.round(result.points * (draws + 1)).astype(int)
    ranks = rng.integers(0, draws + 1, (simulations, 6000))
    below = np.stack([(ranks < cut).mean(0) for cut in cuts])
    held = ((result.low[:, None] <= below + 1e-12) & (below <= result.high[:, None] + 1e-12)).all(0)
    assert 0.94 < held.mean() < 0.97
    some = rank_calibration(ranks[:, :150], draws)
    assert (some.inside == held[:150]).all()
    assert stats.kstest(some.p_value, "uniform").pvalue > 0.001
    assert stats.kstest(some.chi2_p, "uniform").pvalue > 0.001


def test_the_band_is_that_of_the_simulation_algorithm():
    """Säilynoja, Bürkner & Vehtari (2022), algorithm 1, with 4000 samples."""
    rng = np.random.default_rng(8)
    n, points = 100, np.arange(1, 100) / 100
    counts = np.stack([np.searchsorted(np.sort(rng.random(n)), points, side="right") for _ in range(4000)])
    tails = np.minimum(stats.binom.cdf(counts, n, points), stats.binom.sf(counts - 1, n, points))
    gamma = np.quantile(2 * tails.min(1), 0.05)
    result = rank_calibration(rng.integers(0, 100, (n, 1)), 99)
    assert result.low * n == pytest.approx(stats.binom.ppf(gamma / 2, n, points), abs=1)
    assert result.high * n == pytest.approx(stats.binom.isf(gamma / 2, n, points), abs=1)


def test_the_hierarchical_pool_draws_from_its_posterior():
    """Mean, spread, one unit, a further unit's effect and the log likelihood of `pool`, from its own priors."""
    error = np.array([0.01, 0.02, 0.04, 0.02, 0.06])

    def prior_draw(rng):
        mean, tau = 0.1 * rng.standard_normal(), 0.05 * abs(rng.standard_normal())
        return np.array([mean, tau, *(mean + tau * rng.standard_normal(error.size + 1))])

    def draw(data, rng):
        fit = pool(data, error**2, gamma_covariance=0.01, tau_scale=0.05, n=DRAWS, rng=rng)
        return np.column_stack([fit.gamma_draws, fit.tau_draws, fit.draws, predict_unit(fit, rng=rng)])

    found = simulate_ranks(
        prior_draw,
        lambda theta, rng: theta[2:-1] + error * rng.standard_normal(error.size),
        draw,
        {
            "mean": lambda theta, data: theta[:, 0],
            "spread": lambda theta, data: theta[:, 1],
            "unit": lambda theta, data: theta[:, 2],
            "further unit": lambda theta, data: theta[:, -1],
            "log likelihood": lambda theta, data: stats.norm.logpdf(data, theta[:, 2:-1], error).sum(1),
        },
        simulations=300,
        rng=5,
    )
    result = rank_calibration(found.ranks, found.draws, names=found.names, level=0.99)
    assert result.inside.all(), result.rows()


def test_ties_are_broken_by_lot_and_draws_are_thinned():
    flat = {"constant": lambda theta, data: np.zeros(len(theta))}
    found = simulate_ranks(
        prior,
        simulate,
        lambda data, rng: np.repeat(posterior(data, rng), 5, axis=0),
        flat,
        simulations=400,
        thin=5,
        rng=1,
    )
    assert found.draws == DRAWS
    assert rank_calibration(found.ranks, found.draws).inside[0]
    sticky = simulate_ranks(
        prior,
        simulate,
        lambda data, rng: np.repeat(posterior(data, rng, size=10), 10, axis=0)[:DRAWS],
        QUANTITIES,
        simulations=400,
        rng=1,
    )
    assert not rank_calibration(sticky.ranks, sticky.draws).inside[0]


def test_one_seed_gives_the_same_ranks():
    once, again = (
        simulate_ranks(prior, simulate, posterior, QUANTITIES, simulations=20, rng=np.random.default_rng(2)).ranks
        for _ in range(2)
    )
    assert (once == again).all()


def test_what_cannot_be_ranked_is_refused_with_every_fault():
    with pytest.raises(ValueError, match=r"no quantity.*20 simulations.*thin must be 1"):
        simulate_ranks(prior, simulate, posterior, {}, simulations=5, thin=0)
    with pytest.raises(ValueError, match=r"shape \(draws, 1\)"):
        simulate_ranks(prior, simulate, lambda data, rng: np.zeros((5, 2)), QUANTITIES, simulations=20)
    with pytest.raises(ValueError, match=r"'sum'.*one finite value per row"):
        simulate_ranks(prior, simulate, posterior, {"sum": lambda theta, data: theta.sum(0)}, simulations=20)
    with pytest.raises(ValueError, match="as many posterior draws"):
        simulate_ranks(
            prior, simulate, lambda data, rng: posterior(data, rng, size=int(rng.integers(5, 50))), QUANTITIES,
            simulations=20, rng=1,
        )  # fmt: skip
    with pytest.raises(ValueError, match=r"from 0 to 9.*2 names for 1"):
        rank_calibration(np.arange(30), 9, names=["a", "b"])
    with pytest.raises(ValueError, match="20 simulations"):
        rank_calibration(np.zeros((5, 1), dtype=int), 9)
    with pytest.raises(ValueError, match="level"):
        rank_calibration(np.arange(30) % 10, 9, level=1.0)
