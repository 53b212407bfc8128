"""Do the shipped posteriors hold the truth as often as they say? Ranks of truths in data simulated from each model."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rox.numerics.group_coefficients import GroupCoefficients, group_coefficients
from rox.numerics.grouped_pooling import GroupedPool, pool_groups
from rox.numerics.pooling import pool
from rox.numerics.rank_calibration import RankCalibration, Ranks, rank_calibration, simulate_ranks

Floats = NDArray[np.float64]
DRAWS, THIN, PROPOSALS = 500, 5, 3000
PRIOR, BETWEEN, SHOCK = 0.10, 0.05, 0.05
GROUPS, CLUSTERS = np.tile(np.arange(3), 8), np.repeat(np.arange(8), 3)
ERROR = 0.04 * np.array([1.0, 1.5, 3.0])[GROUPS]
"""Errors of estimates of eight places and three segments."""
MEAN_SD, LEVEL_SD, STRATA_SD, LEVELS_SD, BETWEEN_SD, NOISE_SD = 1.0, 2.0, 1.0, 1.0, 0.5, 1.0
CELLS = pd.DataFrame(
    [(g, c, t) for g in range(3) for c in range(4) for t in range(2)], columns=["group", "stratum", "treated"]
)


def posteriors() -> Mapping[str, Callable[[int, int], Ranks]]:
    """Return by name what ranks truths: a function of the number of simulations and a seed."""
    return {"pool": _pool, "pool_groups": _pool_groups, "group_coefficients": _group_coefficients}


def calibrated_posteriors(simulations: int, seed: int, *, level: float = 0.99) -> dict[str, RankCalibration]:
    """Hold every shipped posterior to uniform ranks.

    Args:
        simulations: Data sets by posterior.
        seed: For all of them.
        level: Probability with which the curve of one calibrated quantity stays inside its band.

    Raises:
        ValueError: Fewer than 20 simulations.
    """
    found = {}
    for name, ranks_of in posteriors().items():
        ranks = ranks_of(simulations, seed)
        found[name] = rank_calibration(ranks.ranks, ranks.draws, names=ranks.names, level=level)
    return found


def _half_normal(rng: np.random.Generator, scale: float) -> float:
    return float(abs(rng.normal(0, scale)))


def _normal_fit(y: Floats, mean: Floats, sd: Floats) -> Floats:
    return np.asarray(-((((y - mean) / sd) ** 2) / 2 + np.log(sd)).sum(-1))


def _pool(simulations: int, seed: int) -> Ranks:
    error = np.array([0.02, 0.03, 0.05, 0.10, 0.20])

    def prior(rng: np.random.Generator) -> Floats:
        mean, tau = rng.normal(0, PRIOR), _half_normal(rng, BETWEEN)
        return np.array([mean, tau, *rng.normal(mean, tau, error.size)])

    def posterior(y: Floats, rng: np.random.Generator) -> Floats:
        found = pool(y, error**2, gamma_mean=[0], gamma_covariance=[[PRIOR**2]], tau_scale=BETWEEN, n=DRAWS, rng=rng)
        return np.column_stack([found.gamma_draws[:, 0], found.tau_draws, found.draws])

    return simulate_ranks(
        prior,
        lambda theta, rng: rng.normal(theta[2:], error),
        posterior,
        {
            "mean": lambda theta, y: theta[:, 0],
            "between": lambda theta, y: theta[:, 1],
            "first effect": lambda theta, y: theta[:, 2],
            "log likelihood": lambda theta, y: _normal_fit(y, theta[:, 2:], error),
        },
        simulations=simulations,
        thin=THIN,
        rng=seed,
    )


def _pool_groups(simulations: int, seed: int) -> Ranks:
    def prior(rng: np.random.Generator) -> Floats:
        mean, between, shock = rng.normal(0, PRIOR), _half_normal(rng, BETWEEN), _half_normal(rng, SHOCK)
        return np.array([mean, between, shock, *rng.normal(mean, between, 3)])

    def simulate(theta: Floats, rng: np.random.Generator) -> Floats:
        return np.asarray(rng.normal(theta[3:][GROUPS] + theta[2] * rng.standard_normal(8)[CLUSTERS], ERROR))

    def posterior(y: Floats, rng: np.random.Generator) -> Floats:
        found: GroupedPool = pool_groups(
            y,
            ERROR**2,
            GROUPS,
            cluster=CLUSTERS,
            prior_sd=PRIOR,
            group_sd=BETWEEN,
            cluster_sd=SHOCK,
            draws=DRAWS,
            proposals=PROPOSALS,
            rng=rng,
        )
        return np.column_stack([found.mean, found.between_groups, found.between_clusters, found.effects])

    def fit(theta: Floats, y: Floats) -> Floats:
        """Shocks integrated out: of three estimates per place, by the formula of Sherman, Morrison and Woodbury."""
        gap = (y - theta[:, 3:][:, GROUPS]).reshape(len(theta), 8, 3)
        w = 1 / ERROR.reshape(8, 3) ** 2
        v = theta[:, 2, None] ** 2
        pulled = (w * gap).sum(2)
        quadratic = (w * gap**2).sum((1, 2)) - (v * pulled**2 / (1 + v * w.sum(1))).sum(1)
        return np.asarray(-(quadratic + np.log1p(v * w.sum(1)).sum(1)) / 2)

    return simulate_ranks(
        prior,
        simulate,
        posterior,
        {
            "mean": lambda theta, y: theta[:, 0],
            "between groups": lambda theta, y: theta[:, 1],
            "between clusters": lambda theta, y: theta[:, 2],
            "first effect": lambda theta, y: theta[:, 3],
            "log likelihood": fit,
        },
        simulations=simulations,
        thin=THIN,
        rng=seed,
    )


def _group_coefficients(simulations: int, seed: int) -> Ranks:
    group, stratum, treated = (CELLS[name].to_numpy() for name in CELLS)
    count = np.random.default_rng(0).integers(2, 12, len(CELLS)).astype(float)

    def prior(rng: np.random.Generator) -> Floats:
        strata, levels, between, noise = (
            _half_normal(rng, scale) for scale in (STRATA_SD, LEVELS_SD, BETWEEN_SD, NOISE_SD)
        )
        level, mean = rng.normal(0, LEVEL_SD), rng.normal(0, MEAN_SD)
        own = rng.normal(level, levels, 3)
        intercepts = rng.normal(own[:, None], strata, (3, 4))
        fit = np.nan
        return np.array([mean, between, strata, levels, noise, fit, *rng.normal(mean, between, 3), *intercepts.ravel()])

    def simulate(theta: Floats, rng: np.random.Generator) -> tuple[Floats, Floats, Floats]:
        centre = theta[9:].reshape(3, 4)[group, stratum] + treated * theta[6:9][group]
        total = count * centre + np.sqrt(count) * theta[4] * rng.standard_normal(count.size)
        squares = total**2 / count + theta[4] ** 2 * rng.chisquare(count - 1)
        gap = squares - 2 * centre * total + count * centre**2
        truth = float(-count.sum() * (np.log(theta[4]) + np.log(2 * np.pi) / 2) - gap.sum() / 2 / theta[4] ** 2)
        return total, squares, np.array([truth])

    def posterior(data: tuple[Floats, Floats, Floats], rng: np.random.Generator) -> Floats:
        found: GroupCoefficients = group_coefficients(
            count,
            data[0],
            data[1],
            group,
            stratum,
            treated[:, None],
            level_mean=0.0,
            level_sd=LEVEL_SD,
            mean_sd=[MEAN_SD],
            draws=DRAWS,
            proposals=PROPOSALS,
            rng=rng,
            strata_sd=STRATA_SD,
            levels_sd=LEVELS_SD,
            between_sd=[BETWEEN_SD],
            noise_sd=NOISE_SD,
        )
        scales = [found.between[:, 0], found.between_strata, found.between_levels, found.noise, found.log_likelihood]
        rest = np.zeros((len(found.mean), 12))
        return np.column_stack([found.mean[:, 0], *scales, found.coefficients[:, :, 0], rest])

    def fit(theta: Floats, data: tuple[Floats, Floats, Floats]) -> Floats:
        return np.where(np.isnan(theta[:, 5]), data[2][0], theta[:, 5])

    names = ("mean", "between groups", "between strata", "between levels", "noise")
    quantities = {name: (lambda theta, data, at=at: theta[:, at]) for at, name in enumerate(names)}
    return simulate_ranks(
        prior,
        simulate,
        posterior,
        {**quantities, "first coefficient": lambda theta, data: theta[:, 6], "log likelihood": fit},
        simulations=simulations,
        thin=THIN,
        rng=seed,
    )
