"""Honest event studies: the published Medicaid sets, brute force, and how often the sets hold."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import optimize, stats

from rox.numerics.honest_did import _projected, breakdown, honest_sets
from rox.numerics.honest_relative import Moments, accepts, least_favourable
from rox.numerics.honest_smooth import folded_quantile, frontier

MEDICAID = [-0.0052853, -0.0112973, -0.0026760, -0.0014193, 0.0003397, 0.0464469, 0.0692062]
ERRORS = [
    [74.8848, 60.3988, 44.4462, 33.8577, 43.2801, 47.6588, 24.2513],
    [60.3988, 72.6650, 37.8933, 28.6658, 45.4332, 44.2885, 28.2466],
    [44.4462, 37.8933, 50.5205, 26.7368, 27.7819, 30.6065, 9.6375],
    [33.8577, 28.6658, 26.7368, 40.0322, 24.1286, 23.8087, 2.9239],
    [43.2801, 45.4332, 27.7819, 24.1286, 54.6267, 36.8254, 9.7230],
    [47.6588, 44.2885, 30.6065, 23.8087, 36.8254, 83.7567, 63.2140],
    [24.2513, 28.2466, 9.6375, 2.9239, 9.7230, 63.2140, 107.1236],
]
"""Covariance in millionths."""


def medicaid() -> tuple[np.ndarray, np.ndarray]:
    """Medicaid expansions and insurance, 2008-2012 and 2014-2015 against 2013: two-way fixed effects, 43 states."""
    return np.array(MEDICAID), np.array(ERRORS) / 1e6


@pytest.mark.parametrize(
    ("bound", "low", "high"),
    [(0.5, 0.0241, 0.0673), (1.0, 0.0171, 0.0720), (1.5, 0.00859, 0.0796), (2.0, -0.00107, 0.0883)],
)
def test_relative_sets_are_the_published_ones(bound: float, low: float, high: float) -> None:
    # Printed by the authors' package; their ends lie on a grid of 0.0009.
    beta, sigma = medicaid()
    sets = honest_sets(beta, sigma, pre=5, weights=[1.0, 0.0], bounds=[bound], level=0.95)
    assert sets.low[0] == pytest.approx(low, abs=0.001)
    assert sets.high[0] == pytest.approx(high, abs=0.001)


@pytest.mark.parametrize(
    ("bound", "low", "high"),
    [(0.0, 0.0259, 0.0607), (0.01, 0.0132, 0.0787), (0.02, 0.00286, 0.0907), (0.03, -0.00714, 0.101)],
)
def test_smooth_sets_are_the_published_ones(bound: float, low: float, high: float) -> None:
    beta, sigma = medicaid()
    sets = honest_sets(beta, sigma, pre=5, weights=[1.0, 0.0], kind="smooth", bounds=[bound], level=0.95)
    assert sets.low[0] == pytest.approx(low, abs=1e-4)
    assert sets.high[0] == pytest.approx(high, abs=3e-4)


def test_breakdown_lies_where_the_published_sets_cross_zero() -> None:
    beta, sigma = medicaid()
    relative = breakdown(beta, sigma, pre=5, weights=[1.0, 0.0], level=0.95)
    assert 1.9 < relative < 2.0
    assert 0.02 < breakdown(beta, sigma, pre=5, weights=[1.0, 0.0], kind="smooth", level=0.95) < 0.03
    at = honest_sets(beta, sigma, pre=5, weights=[1.0, 0.0], bounds=[relative - 0.01, relative + 0.01], level=0.95)
    assert at.low[0] > 0 > at.low[1]


def test_the_projection_bounds_a_window_as_the_linear_programme_does() -> None:
    weights = np.array([0.0, 0.0, 0.5, 0.5])
    beta, sigma = medicaid()
    moments = honest_reach(beta, sigma, weights)
    steps = np.diff(np.eye(5), axis=0)
    found = optimize.linprog(
        -weights, A_ub=np.vstack([steps[:, 1:], -steps[:, 1:]]), b_ub=np.ones(8), bounds=[(None, None)] * 4
    )
    assert moments == pytest.approx(-found.fun)


def honest_reach(beta: np.ndarray, sigma: np.ndarray, weights: np.ndarray) -> float:
    long = np.append(beta, [0.1, 0.1])
    wide = np.zeros((9, 9))
    wide[:7, :7], wide[7, 7], wide[8, 8] = sigma, 1e-4, 1e-4
    return _projected(long, wide, 5, weights, 0.9, None).moments.reach


def test_the_frontier_is_never_beaten_by_a_search() -> None:
    rng = np.random.default_rng(3)
    before, weights = rng.standard_normal(4), np.array([0.0, 0.5, 0.5])
    root = rng.standard_normal((5, 8))
    joint = root @ root.T / 8
    shape = frontier(before, 1.0, joint, weights)
    later = np.array([sum(weights[t] * (t - j + 1) for t in range(j, 3)) for j in range(3)])

    def half(free: np.ndarray, bound: float) -> float:
        w = np.concatenate([[weights @ np.arange(1, 4)], free, [0.0, 0.0]])
        v = np.array([w[m - 1] - 2 * w[m] + w[m + 1] for m in range(1, 5)])
        sd = np.sqrt(np.append(v[::-1], 1.0) @ joint @ np.append(v[::-1], 1.0))
        bias = bound * (np.abs(later).sum() + np.abs(free).sum())
        return float(folded_quantile(np.array([bias / sd]), 0.9)[0] * sd)

    for bound in (0.05, 0.5):
        low, high = shape.interval(bound, 0.1)
        starts = [np.zeros(3), rng.standard_normal(3)]
        best = min(optimize.minimize(half, s, (bound,), method="Nelder-Mead").fun for s in starts)
        assert (high - low) / 2 == pytest.approx(best, rel=2e-3)
        assert (high - low) / 2 <= best * (1 + 1e-4)


def test_critical_values_by_their_distributions() -> None:
    for mean in (0.0, 0.7, 30.0):
        critical = float(folded_quantile(np.array([mean]), 0.9)[0])
        assert stats.norm.cdf(critical - mean) - stats.norm.cdf(-critical - mean) == pytest.approx(0.9, abs=1e-9)
    for rho in (-1.0, -0.4, 0.0, 0.9):
        critical = float(least_favourable(np.array([rho]), 0.05)[0])
        if rho == -1.0:
            assert critical == pytest.approx(stats.norm.isf(0.025))
        else:
            joint = stats.multivariate_normal([0, 0], [[1, rho], [rho, 1]]).cdf([critical, critical])
            assert joint == pytest.approx(0.95, abs=1e-5)


@pytest.mark.parametrize("multiple", [1.0, 0.0])
def test_sets_hold_at_the_edge_of_what_is_allowed(multiple: float) -> None:
    # Before the start the worst step is 1; afterwards the trend moves by as much, in the direction that hurts most.
    rng = np.random.default_rng(5)
    sigma = 0.15 * (np.eye(4) + 0.5)
    root, truth = np.linalg.cholesky(sigma), np.array([1.2, 0.4, 0.3, multiple * 1.0])
    steps = np.diff(np.eye(4), axis=0)[:, :-1]
    turn = np.zeros((4, 4))
    turn[:3, :3], turn[3, 3] = steps, 1.0
    held = 0
    for _ in range(400):
        beta = truth + root @ rng.standard_normal(4)
        moments = Moments(
            steps=steps @ beta[:3], combination=float(beta[3]), covariance=turn @ sigma @ turn.T, reach=1.0
        )
        held += bool(accepts(moments, np.array([0.0]), np.array([1.0]), 0.1)[0])
    assert held / 400 > 0.87


def test_the_set_is_equivariant() -> None:
    beta, sigma = medicaid()
    plain = honest_sets(beta, sigma, pre=5, weights=[0.5, 0.5], bounds=[0.0, 1.0])
    large = honest_sets(100 * beta, 1e4 * sigma, pre=5, weights=[0.5, 0.5], bounds=[0.0, 1.0])
    turned = honest_sets(-beta, sigma, pre=5, weights=[0.5, 0.5], bounds=[0.0, 1.0])
    assert large.low == pytest.approx(100 * plain.low, rel=1e-6)
    assert turned.low == pytest.approx(-plain.high, rel=1e-6)
    few = honest_sets(beta, sigma, pre=5, weights=[0.5, 0.5], bounds=[0.0, 1.0], df=10)
    assert (few.high - few.low > plain.high - plain.low).all()


def test_no_effect_breaks_down_at_once_and_perfect_trends_never() -> None:
    sigma = np.eye(3) * 0.01
    assert breakdown([0.1, -0.1, 0.02], sigma, pre=2, weights=[1.0]) == 0
    assert breakdown([0.1, -0.1, 0.02], sigma, pre=2, weights=[1.0], kind="smooth") == 0
    assert breakdown([0.0, 0.0, 5.0], sigma, pre=2, weights=[1.0]) == np.inf
    assert breakdown([0.1, -0.1, 5.0], sigma, pre=2, weights=[1.0], kind="smooth") > 0.5


def test_faults_are_named_together() -> None:
    with pytest.raises(ValueError, match=r"estimate has 3 values.*covariance has shape"):
        honest_sets([0.0, 1.0, 2.0], np.eye(2), pre=3, weights=[1.0])
    with pytest.raises(ValueError, match="kind must be one of"):
        breakdown([0.0, 1.0], np.eye(2), pre=1, weights=[1.0], kind="flat")
