"""A hierarchical regression from cells: against the dense normal law, and against rows."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import multivariate_normal

from rox.numerics.group_coefficients import _eliminated, _sums, group_coefficients

Floats = NDArray[np.float64]
GROUP, STRATUM = np.repeat([0, 1], 12), np.tile(np.repeat([0, 1, 2], 4), 2)
AFTER, TREATED = np.tile([0, 0, 1, 1], 6), np.tile([0, 1, 0, 1], 6)
X = np.column_stack([AFTER, TREATED, AFTER * TREATED]).astype(float)
PRIOR = np.array([4.0, 1.0, 1.0, 0.5])
LEVEL = 0.7


def outcomes(seed: int = 1) -> list[Floats]:
    rng = np.random.default_rng(seed)
    return [rng.normal(1, 0.5, size) for size in rng.integers(1, 5, GROUP.size)]


def sums(rows: list[Floats]) -> tuple[Floats, Floats, Floats]:
    return tuple(np.array([f(each) for each in rows]) for f in (len, np.sum, lambda y: (y**2).sum()))


def dense(rows: list[Floats], scales: Floats) -> multivariate_normal:
    """The law of all rows, every coefficient integrated out."""
    n = [len(each) for each in rows]
    group, stratum, x = np.repeat(GROUP, n), np.repeat(STRATUM, n), np.repeat(X, n, axis=0)
    same = group[:, None] == group
    cov = scales[-1] ** 2 * np.eye(group.size) + scales[1] ** 2 * same + PRIOR[0]
    cov = cov + scales[0] ** 2 * (same & (stratum[:, None] == stratum))
    for k in range(3):
        cov = cov + np.outer(x[:, k], x[:, k]) * (scales[2 + k] ** 2 * same + PRIOR[1 + k])
    return multivariate_normal(np.full(group.size, LEVEL), cov)


@pytest.mark.parametrize("scales", [[0.3, 0.4, 0.1, 0.2, 0.3, 0.5], [0.05, 0.9, 0.5, 0.02, 0.1, 0.8]])
def test_the_marginal_likelihood_of_cells_is_that_of_the_rows(scales):
    rows = outcomes()
    held, _, count = _sums(*sums(rows), GROUP, STRATUM, X, LEVEL, PRIOR)
    found = _eliminated(held, count, np.array([scales])).value[0]
    assert found == pytest.approx(dense(rows, np.array(scales)).logpdf(np.concatenate(rows)), rel=1e-11)


def drawn(rows: list[Floats], **changes: object):
    n, total, squares = sums(rows)
    settings = dict(
        level_mean=LEVEL,
        level_sd=2.0,
        mean_sd=np.sqrt(PRIOR[1:]),
        between_sd=[0.3, 0.3, 0.3],
        levels_sd=0.5,
        strata_sd=0.5,
        noise_sd=1.0,
        draws=8000,
        rng=1,
    )
    return group_coefficients(n, total, squares, GROUP, STRATUM, X, **{**settings, **changes})


def test_draws_have_the_moments_of_the_dense_law():
    """Averaged over the drawn scales, coefficients have the mean that the dense normal law gives at each of them."""
    rows = outcomes(2)
    found = drawn(rows)
    assert found.ess > 1000
    y = np.concatenate(rows)
    n = [len(each) for each in rows]
    group, x = np.repeat(GROUP, n), np.repeat(X, n, axis=0)
    want = []
    scales = np.column_stack([found.between_strata, found.between_levels, found.between, found.noise])
    for each in scales[:: len(scales) // 200]:
        law = dense(rows, each)
        # Coefficient of the last predictor in group 1 and the outcomes are jointly normal.
        shared = x[:, 2] * (each[4] ** 2 * (group == 1) + PRIOR[3])
        want.append(shared @ np.linalg.solve(law.cov, y - law.mean))
    noise = np.std(want) / np.sqrt(200) + found.coefficients[:, 1, 2].std() / np.sqrt(found.ess)
    assert found.coefficients[:, 1, 2].mean() == pytest.approx(np.mean(want), abs=4 * noise)
    np.testing.assert_allclose(found.mean.mean(0), found.coefficients.mean((0, 1)), atol=0.1)


def test_splitting_cells_changes_nothing():
    rows = outcomes(3)
    whole = drawn(rows)
    n, total, squares = (np.concatenate([part, part]) for part in (a / 2 for a in sums(rows)))
    halves = group_coefficients(
        n,
        total,
        squares,
        np.tile(GROUP, 2),
        np.tile(STRATUM, 2),
        np.tile(X, (2, 1)),
        level_mean=LEVEL,
        level_sd=2.0,
        mean_sd=np.sqrt(PRIOR[1:]),
        between_sd=[0.3, 0.3, 0.3],
        levels_sd=0.5,
        strata_sd=0.5,
        noise_sd=1.0,
        draws=8000,
        rng=1,
    )
    np.testing.assert_allclose(halves.coefficients, whole.coefficients, rtol=1e-6, atol=1e-9)


def test_a_million_outcomes_are_no_harder_than_a_thousand():
    """The noise of a million outcomes is known to a thousandth; the proposal must find so narrow a ridge."""
    rng = np.random.default_rng(5)
    for size in (50, 50_000):
        n = np.full(GROUP.size, float(size))
        centre = 1 + 0.1 * AFTER + 0.2 * AFTER * TREATED
        total = n * centre + np.sqrt(n) * rng.standard_normal(n.size)
        squares = total**2 / n + rng.chisquare(n - 1)
        found = group_coefficients(
            n,
            total,
            squares,
            GROUP,
            STRATUM,
            X,
            level_mean=1.0,
            level_sd=5.0,
            mean_sd=[1.0] * 3,
            between_sd=[0.5] * 3,
            levels_sd=1.0,
            strata_sd=1.0,
            noise_sd=2.0,
            rng=1,
        )
        assert found.ess > 400
        assert found.noise.mean() == pytest.approx(1, abs=4 / np.sqrt(2 * n.sum()))


def test_faults_are_named_at_once():
    with pytest.raises(ValueError, match=r"2 cells have no outcomes.*1 cells have a sum of squares"):
        group_coefficients(
            [0, 0, 4],
            [0, 0, 8],
            [0, 0, 1],
            ["a"] * 3,
            ["x"] * 3,
            [[0], [1], [1]],
            level_mean=0,
            level_sd=1,
            mean_sd=1,
            between_sd=1,
            levels_sd=1,
            strata_sd=1,
            noise_sd=1,
        )
    with pytest.raises(ValueError, match="scales of priors must be positive"):
        drawn(outcomes(), noise_sd=0.0)
