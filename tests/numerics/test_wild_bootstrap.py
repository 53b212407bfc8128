"""The wild cluster bootstrap: against rows and refits, published clustered errors, and the size of the test."""

from __future__ import annotations

import csv
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import stats

from rox.numerics.joint import multipliers
from rox.numerics.wild_bootstrap import cluster_blocks, wild_bootstrap


def panel(seed: int, clusters: int = 9, p: int = 3) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows of clusters of different sizes with errors that are dependent within them."""
    rng = np.random.default_rng(seed)
    cluster = np.repeat(np.arange(clusters), rng.integers(5, 30, clusters))
    x = np.column_stack([np.ones(cluster.size), rng.standard_normal((cluster.size, p - 1))])
    x[:, 1] += rng.standard_normal(clusters)[cluster]
    y = x @ np.arange(p) * 0.3 + rng.standard_normal(clusters)[cluster] + rng.standard_normal(cluster.size)
    return x, y, cluster


def clustered_t(x: np.ndarray, y: np.ndarray, cluster: np.ndarray, j: int, null: float) -> tuple[float, float]:
    """Estimate less null over its CR1 error, and that error, from rows."""
    inverse = np.linalg.inv(x.T @ x)
    beta = inverse @ x.T @ y
    u = y - x @ beta
    labels = np.unique(cluster)
    meat = sum(np.outer(s, s) for s in (x[cluster == c].T @ u[cluster == c] for c in labels))
    n, p = x.shape
    factor = labels.size / (labels.size - 1) * (n - 1) / (n - p)
    se = float(np.sqrt(factor * (inverse @ meat @ inverse)[j, j]))
    return float((beta[j] - null) / se), se


def row_based(x: np.ndarray, y: np.ndarray, cluster: np.ndarray, j: int, null: float, w: np.ndarray) -> np.ndarray:
    """t of every copy: refit under the null, multiply its residuals, refit."""
    others = np.delete(x, j, axis=1)
    target = y - null * x[:, j]
    fitted = others @ np.linalg.lstsq(others, target, rcond=None)[0]
    u, base = target - fitted, fitted + null * x[:, j]
    return np.array([clustered_t(x, base + one[cluster] * u, cluster, j, null)[0] for one in w])


@pytest.mark.parametrize("null", [0.0, 0.25, -1.5])
@pytest.mark.parametrize("weights", ["webb", "rademacher"])
def test_blocks_give_what_refits_of_rows_give(null: float, weights: str) -> None:
    x, y, cluster = panel(1, clusters=13)
    found = wild_bootstrap(*cluster_blocks(x, y, cluster), coefficient=1, null=null, weights=weights, draws=99, rng=7)
    t, se = clustered_t(x, y, cluster, 1, null)
    copies = row_based(x, y, cluster, 1, null, multipliers(99, 13, kind=weights, rng=7))
    assert_allclose([found.t, found.se], [t, se], rtol=1e-10)
    assert_allclose(found.statistics, copies, rtol=1e-8)
    assert found.p_value == pytest.approx((1 + (np.abs(copies) >= abs(t)).sum()) / 100)
    assert not found.enumerated


def test_all_sign_patterns_of_few_clusters() -> None:
    x, y, cluster = panel(2, clusters=7)
    found = wild_bootstrap(*cluster_blocks(x, y, cluster), coefficient=2, weights="rademacher", rng=1)
    patterns = np.array(np.meshgrid(*[[1.0, -1.0]] * 7)).reshape(7, -1).T
    copies = row_based(x, y, cluster, 2, 0.0, patterns)
    assert found.enumerated
    assert_allclose(np.sort(found.statistics), np.sort(copies), atol=1e-8)
    assert found.p_value == pytest.approx((np.abs(copies) >= abs(found.t) * (1 - 1e-9)).mean())
    again = wild_bootstrap(*cluster_blocks(x, y, cluster), coefficient=2, weights="rademacher", rng=2)
    assert (again.p_value, again.low, again.high) == (found.p_value, found.low, found.high)


@pytest.mark.parametrize(("weights", "level"), [("rademacher", 0.9), ("webb", 0.95)])
def test_the_interval_is_what_the_test_does_not_reject(weights: str, level: float) -> None:
    x, y, cluster = panel(3, clusters=9)
    blocks = cluster_blocks(x, y, cluster)

    def p(null: float) -> float:
        return wild_bootstrap(*blocks, coefficient=1, null=null, weights=weights, draws=399, rng=5).p_value

    found = wild_bootstrap(*blocks, coefficient=1, weights=weights, draws=399, rng=5, level=level)
    width = found.high - found.low
    for end, outward in ((found.low, -1), (found.high, 1)):
        assert p(end - outward * 1e-5 * width) >= 1 - level
        assert p(end + outward * 1e-5 * width) < 1 - level
    inside = np.linspace(found.low, found.high, 15)[1:-1]
    assert min(p(float(null)) for null in inside) >= 1 - level
    assert p(found.estimate) == 1
    assert max(p(found.low - width), p(found.high + width)) < 1 - level


@pytest.mark.parametrize(("by", "name"), [("year", "cl_year.x"), ("firm", "cl_firm.x")])
def test_published_clustered_errors(parity: Any, by: str, name: str) -> None:
    folder, ref = parity("p02_petersen_clustering")
    with (folder / "petersen.csv").open(encoding="utf-8") as handle:
        rows = list(csv.DictReader(handle))
    x, y, label = (np.array([float(row[column]) for row in rows]) for column in ("x", "y", by))
    blocks = cluster_blocks(np.column_stack([np.ones(y.size), x]), y, label)
    found = wild_bootstrap(*blocks, coefficient=1, null=1.0, draws=999, rng=1, level=0.95)
    assert_allclose(found.estimate, ref["coef.x"]["value"], rtol=1e-8)
    assert_allclose(found.se, ref[name]["value"], rtol=1e-6)
    half = stats.t.ppf(0.975, found.clusters - 1) * found.se
    assert_allclose([found.low, found.high], [found.estimate - half, found.estimate + half], atol=0.3 * half)
    assert found.p_value == pytest.approx(2 * stats.t.sf(abs(found.t), found.clusters - 1), abs=0.07)


def test_blocks_add_and_do_not_know_the_order_of_rows() -> None:
    x, y, cluster = panel(5)
    xx, xy, n = cluster_blocks(x, y, cluster)
    shuffled = np.random.default_rng(1).permutation(y.size)
    first, second = shuffled[: n // 2], shuffled[n // 2 :]
    halves = [cluster_blocks(x[part], y[part], cluster[part]) for part in (first, second)]
    assert_allclose(halves[0][0] + halves[1][0], xx)
    assert_allclose(halves[0][1] + halves[1][1], xy)
    assert xx.shape == (9, 3, 3)
    assert_allclose(xx[4], x[cluster == 4].T @ x[cluster == 4])


def test_units_scale_the_interval() -> None:
    x, y, cluster = panel(6)
    one = wild_bootstrap(*cluster_blocks(x, y, cluster), coefficient=1, draws=199, rng=1)
    money = wild_bootstrap(*cluster_blocks(x * [1, 1e-3, 1e4], 1e6 * y, cluster), coefficient=1, draws=199, rng=1)
    assert money.p_value == one.p_value
    assert_allclose([money.low, money.high], [1e9 * one.low, 1e9 * one.high], rtol=1e-6)


def draw(rng: np.random.Generator, sizes: list[int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Half the clusters treated, no effect, errors shared within clusters."""
    cluster = np.repeat(np.arange(len(sizes)), sizes)
    x = np.column_stack([np.ones(cluster.size), cluster < len(sizes) // 2])
    y = rng.standard_normal(len(sizes))[cluster] + rng.standard_normal(cluster.size)
    return x, y, cluster


@pytest.mark.parametrize(
    ("weights", "sizes", "size"),
    [
        ("webb", [8] * 8, 0.065),
        ("rademacher", [8] * 8, 0.059),
        ("webb", [4, 12] * 4, 0.072),
        ("rademacher", [4, 12] * 4, 0.064),
    ],
)
def test_size_with_eight_clusters(weights: str, sizes: list[int], size: float) -> None:
    """A test at 5%: `size` is the share rejected in 8,000 samples, the margin 3.5 errors of 1,200 samples."""
    rng = np.random.default_rng(21)
    reps, wild, usual, covered = 1200, 0, 0, 0
    for _ in range(reps):
        blocks = cluster_blocks(*draw(rng, sizes))
        found = wild_bootstrap(*blocks, coefficient=1, weights=weights, draws=199, level=0.95, rng=rng)
        wild += found.p_value <= 0.05
        usual += abs(found.t) > 1.96
        covered += found.low <= 0 <= found.high
    assert wild / reps == pytest.approx(size, abs=0.025)
    assert usual > 1.5 * wild
    assert covered / reps == pytest.approx(1 - size, abs=0.025)


def test_power_with_eight_clusters() -> None:
    rng = np.random.default_rng(22)
    rejected = 0
    for _ in range(100):
        x, y, cluster = draw(rng, [4, 12] * 4)
        blocks = cluster_blocks(x, y + 4 * x[:, 1], cluster)
        rejected += wild_bootstrap(*blocks, coefficient=1, draws=199, rng=rng).p_value < 0.1
    assert rejected > 80


def test_too_few_clusters_to_reject_anything_give_an_infinite_interval() -> None:
    x, y, cluster = panel(7, clusters=3)
    found = wild_bootstrap(*cluster_blocks(x, y, cluster), coefficient=1, weights="rademacher")
    assert found.statistics.size == 8
    assert found.p_value >= 0.25
    assert (found.low, found.high) == (-np.inf, np.inf)


def test_what_it_cannot_use() -> None:
    x, y, cluster = panel(8)
    xx, xy, n = cluster_blocks(x, y, cluster)
    with pytest.raises(
        ValueError, match=r"at least 3 clusters, got 2.*column 0\.\.2, got 3.*rows must exceed.*at least 99"
    ):
        wild_bootstrap(xx[:2], xy[:2], 3, coefficient=3, draws=5)
    with pytest.raises(ValueError, match=r"xx \(g, p, p\)"):
        wild_bootstrap(xx[:, :2], xy, n, coefficient=1)
    with pytest.raises(ValueError, match="collinear"):
        wild_bootstrap(*cluster_blocks(np.column_stack([x, x[:, 1] * 2]), y, cluster), coefficient=1)
    with pytest.raises(ValueError, match=r"columns \[3\] are zero"):
        wild_bootstrap(*cluster_blocks(np.column_stack([x, 0 * y]), y, cluster), coefficient=1)
    with pytest.raises(ValueError, match="weights must be one of"):
        wild_bootstrap(xx, xy, n, coefficient=1, weights="normal")
    with pytest.raises(ValueError, match="fits every cluster exactly"):
        wild_bootstrap(*cluster_blocks(x, np.zeros(y.size), cluster), coefficient=1)
    with pytest.raises(ValueError, match=r"x must have shape"):
        cluster_blocks(x[:-1], y, cluster)
