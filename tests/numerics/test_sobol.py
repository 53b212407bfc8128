"""Variance shares against closed forms."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from rox.numerics.arrays import Floats
from rox.numerics.sobol import VarianceShares, rank_r2, variance_shares


def shares_of(
    function: Callable[[Floats], Floats], draw: Callable[[np.random.Generator, int], Floats], size: int, seed: int = 1
) -> VarianceShares:
    rng = np.random.default_rng(seed)
    one, other = draw(rng, size), draw(rng, size)
    mixed = []
    for place in range(one.shape[1]):
        crossed = one.copy()
        crossed[:, place] = other[:, place]
        mixed.append(function(crossed))
    return variance_shares(function(one), function(other), np.array(mixed))


def normals(rng: np.random.Generator, size: int) -> Floats:
    return rng.normal(1.0, [1.0, 2.0, 0.5], (size, 3))


def within(found: Floats, error: Floats, true: Floats, reach: float = 3.5) -> bool:
    return bool((np.abs(found - true) <= reach * error + 1e-12).all())


def test_ishigami() -> None:
    """Closed form of Ishigami & Homma (1990) with a = 7, b = 0.1."""
    a, b = 7.0, 0.1
    whole = a**2 / 8 + b * np.pi**4 / 5 + b**2 * np.pi**8 / 18 + 0.5
    first = np.array([0.5 * (1 + b * np.pi**4 / 5) ** 2, a**2 / 8, 0.0]) / whole
    together = 8 * b**2 * np.pi**8 / 225 / whole
    total = first + np.array([together, 0.0, together])
    assert first == pytest.approx([0.3139, 0.4424, 0.0], abs=5e-5)

    def ishigami(x: Floats) -> Floats:
        return np.sin(x[:, 0]) + a * np.sin(x[:, 1]) ** 2 + b * x[:, 2] ** 4 * np.sin(x[:, 0])

    found = shares_of(ishigami, lambda rng, n: rng.uniform(-np.pi, np.pi, (n, 3)), 40_000)
    assert found.variance == pytest.approx(whole, rel=0.02)
    assert within(found.first, found.first_error, first)
    assert within(found.total, found.total_error, total)
    assert found.first_error.max() < 0.02
    assert found.total_error.max() < 0.02


def test_a_sum_has_first_and_total_shares_alike() -> None:
    found = shares_of(lambda x: x @ np.array([3.0, 1.0, 2.0]), normals, 20_000)
    true = np.array([9.0, 4.0, 1.0]) / 14
    assert within(found.first, found.first_error, true)
    assert within(found.total, found.total_error, true)


def test_a_product_has_total_shares_above_the_first() -> None:
    found = shares_of(lambda x: x.prod(axis=1), normals, 40_000)
    squared = np.array([1.0, 4.0, 0.25])
    whole = (1 + squared).prod() - 1
    assert within(found.first, found.first_error, squared / whole)
    others = (1 + squared).prod() / (1 + squared)
    assert within(found.total, found.total_error, squared * others / whole)


def test_standard_errors_are_the_scatter_over_repetitions() -> None:
    found = [shares_of(lambda x: x.prod(axis=1), normals, 800, seed) for seed in range(100)]
    for share, error in (("first", "first_error"), ("total", "total_error")):
        scatter = np.std([getattr(each, share) for each in found], axis=0, ddof=1)
        said = np.sqrt(np.mean([getattr(each, error) ** 2 for each in found], axis=0))
        assert said / scatter == pytest.approx(np.ones(3), abs=0.25)


def test_a_constant_has_no_shares_and_faults_come_together() -> None:
    still = np.ones(50)
    assert np.isnan(variance_shares(still, still, still[None, :]).first).all()
    with pytest.raises(ValueError, match=r"needed: \(draw,\)(.|\n)*NaN or infinite"):
        variance_shares(np.full(20, np.nan), np.zeros(20), np.zeros((2, 19)))


def test_ranks_explain_what_rises_steadily_and_not_what_turns() -> None:
    x = np.random.default_rng(1).normal(size=(5_000, 2))
    assert rank_r2(x, np.exp(3 * x[:, 0])) == pytest.approx(1.0)
    assert rank_r2(x, np.exp(x[:, 0] + x[:, 1])) > 0.93
    assert rank_r2(x, x[:, 0] ** 2) < 0.05
    assert rank_r2(np.column_stack([x, np.ones(len(x))]), x[:, 0]) == pytest.approx(1.0)
    with pytest.raises(ValueError, match="do not carry"):
        rank_r2(x[:3], x[:3, 0])
