"""Which ratings go with a score: shares of explained variance from the correlation matrix, with their ranks.

These are shares of R², not effects. p = drivers; the outcome stands last in every matrix; leading axes, such as
replicates of a jackknife, are independent problems.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import ArrayLike

from rox.numerics.arrays import Floats, complain, freeze
from rox.numerics.shapley import MOST_PLAYERS, sampled_shapley, shapley

WEAK = 1e-10
"""Eigenvalue of a correlation matrix, over the largest, below which its drivers are taken for collinear."""


@dataclass(frozen=True, kw_only=True)
class Importance:
    """R² of all drivers and how it is split among them."""

    r2: Floats
    """(...) R² of the regression on all drivers."""
    shares: Floats
    """(..., p) parts of R²; they sum to it."""
    error: Floats
    """(..., p) Monte Carlo standard errors of the parts; zero where every order was looked at."""

    def __post_init__(self) -> None:
        freeze(self, "r2", "shares", "error")


def correlation(products: ArrayLike) -> Floats:
    """Return the correlation matrices of matrices of centred products, shape (..., k, k).

    Raises:
        ValueError: a column that does not vary.
    """
    cross = np.asarray(products, dtype=np.float64)
    spread = np.sqrt(np.diagonal(cross, axis1=-2, axis2=-1))
    if not (spread > 0).all():
        dead = sorted({int(place[-1]) for place in np.argwhere(~(spread > 0))})
        raise ValueError(f"columns {dead} do not vary; leave them out")
    return np.asarray(cross / (spread[..., :, None] * spread[..., None, :]))


def lmg(
    matrix: ArrayLike,
    *,
    groups: Sequence[Sequence[int]] | None = None,
    permutations: int = 2_000,
    rng: int | np.random.Generator | None = None,
) -> Importance:
    """Split R² by averaging each driver's contribution over all orders of entry (Lindeman, Merenda & Gold 1980).

    It is the Shapley value of R². Up to twelve drivers every subset is looked at; beyond, drawn orders with their
    reverses, whose error is told. Groups enter and leave as wholes: the share of a group is its value in the game
    among groups, which Owen's value splits among its members, and does not grow because a group has more members.

    Args:
        matrix: (..., p + 1, p + 1) correlations, the outcome last.
        groups: Drivers of each group, each driver in one group; by default every driver is its own.
        permutations: Orders drawn where there are more than twelve drivers.
        rng: Seed of the orders.

    Returns:
        Shares of drivers, or of groups.

    Raises:
        ValueError: no correlation matrix, collinear drivers, or groups that are no partition.

    References:
        Grömping 2007, *The American Statistician* 61(2); Owen 1977, in Henn & Moeschlin (eds.), *Mathematical Economics
        and Game Theory*.
    """
    r = _checked(matrix)
    parts = [[j] for j in range(r.shape[-1] - 1)] if groups is None else [list(group) for group in groups]
    if sorted(j for part in parts for j in part) != list(range(r.shape[-1] - 1)):
        raise ValueError(f"each of the {r.shape[-1] - 1} drivers must be in one group, got {parts}")
    p = len(parts)
    if p <= MOST_PLAYERS:
        worth = np.stack([_explained(r, _members(coalition, parts)) for coalition in range(2**p)])
        shares = np.moveaxis(shapley(worth), 0, -1)
        return Importance(r2=worth[-1], shares=shares, error=np.zeros_like(shares))
    worth_of = cache(lambda coalition: _explained(r, _members(coalition, parts)))
    drawn = sampled_shapley(worth_of, p, permutations=permutations, rng=rng)
    return Importance(
        r2=_explained(r, list(range(r.shape[-1] - 1))),
        shares=np.moveaxis(drawn.values, 0, -1),
        error=np.moveaxis(drawn.errors, 0, -1),
    )


def johnson(matrix: ArrayLike) -> Importance:
    """Split R² by relative weights, through the orthogonal variables nearest to the drivers (Johnson 2000).

    Args:
        matrix: (..., p + 1, p + 1) correlations, the outcome last.

    Raises:
        ValueError: as in :func:`lmg`.

    References:
        Johnson 2000, *Multivariate Behavioral Research* 35(1); the same as Genizi 1993.
    """
    r = _checked(matrix)
    values, vectors = np.linalg.eigh(r[..., :-1, :-1])
    root = np.einsum("...ik,...k,...jk->...ij", vectors, np.sqrt(values), vectors)
    beta = np.linalg.solve(root, r[..., :-1, -1:])[..., 0]
    shares = np.einsum("...jk,...k->...j", root**2, beta**2)
    return Importance(r2=(beta**2).sum(-1), shares=shares, error=np.zeros_like(shares))


def first_and_last(matrix: ArrayLike) -> tuple[Floats, Floats]:
    """Return what each driver explains alone, and what it adds to all others, both (..., p).

    Raises:
        ValueError: as in :func:`lmg`.
    """
    r = _checked(matrix)
    p = r.shape[-1] - 1
    everybody = _explained(r, list(range(p)))
    last = np.stack([everybody - _explained(r, [k for k in range(p) if k != j]) for j in range(p)], axis=-1)
    return r[..., :-1, -1] ** 2, last


def variance_inflation(matrix: ArrayLike) -> Floats:
    """Return the variance inflation factor of each driver, (..., p).

    Raises:
        ValueError: as in :func:`lmg`.
    """
    return np.diagonal(np.linalg.inv(_checked(matrix)[..., :-1, :-1]), axis1=-2, axis2=-1).copy()


def rank_probabilities(draws: ArrayLike) -> Floats:
    """Return the share of draws in which each driver takes each rank.

    Args:
        draws: (d, p) draws of importance.

    Returns:
        (p, p): row driver, column rank, the most important first; rows and columns sum to one. Ties share.
    """
    values = np.asarray(draws, dtype=np.float64)
    if values.ndim != 2 or not len(values):
        raise ValueError(f"needs draws of shape (d, p), got {values.shape}")
    p = values.shape[1]
    above = (values[:, None, :] > values[:, :, None]).sum(-1)
    tied = (values[:, None, :] == values[:, :, None]).sum(-1)
    place = np.arange(p)
    held = (place >= above[..., None]) & (place < (above + tied)[..., None])
    return np.asarray((held / tied[..., None]).mean(0))


def general_factor(matrix: ArrayLike) -> tuple[float, float]:
    """Return what tells of a halo: the smallest correlation among drivers, and the share of their first eigenvalue.

    Args:
        matrix: (p + 1, p + 1) correlations, the outcome last.

    Raises:
        ValueError: as in :func:`lmg`, or fewer than two drivers.
    """
    drivers = _checked(matrix)[:-1, :-1]
    if len(drivers) < 2:
        raise ValueError("a halo needs at least two drivers")
    pairs = drivers[np.triu_indices(len(drivers), 1)]
    return float(pairs.min()), float(np.linalg.eigvalsh(drivers)[-1] / len(drivers))


def dependent(matrix: ArrayLike, tolerance: float = 1e-6) -> tuple[int, ...]:
    """Return which variables make up a sum that does not vary; none where each adds something of its own.

    Args:
        matrix: (k, k) correlations of the variables, as they are before any repair.
        tolerance: Variance of a standardised sum, on either side of 0, that is taken for none.
    """
    values, vectors = np.linalg.eigh(np.asarray(matrix, dtype=np.float64))
    sums = np.abs(vectors[:, np.abs(values) < tolerance])
    return tuple(int(place) for place in np.flatnonzero((sums > 1e-2).any(1)))


def nearest_correlation(matrix: ArrayLike, floor: float = 1e-6) -> tuple[Floats, float]:
    """Repair a matrix of pairwise correlations that no complete data could have (Rebonato & Jäckel 2000).

    Args:
        matrix: (k, k) symmetric with ones on the diagonal.
        floor: Least eigenvalue of the result before it is rescaled.

    Returns:
        The matrix, itself where nothing had to be done, and the largest change of an entry.
    """
    given = np.asarray(matrix, dtype=np.float64)
    values, vectors = np.linalg.eigh(given)
    if values[0] >= floor:
        return given, 0.0
    lifted = (vectors * np.maximum(values, floor)) @ vectors.T
    repaired = correlation(lifted)
    return repaired, float(np.abs(repaired - given).max())


def _members(coalition: int, parts: Sequence[Sequence[int]]) -> list[int]:
    return [j for place, part in enumerate(parts) if coalition >> place & 1 for j in part]


def _explained(r: Floats, members: list[int]) -> Floats:
    """R² on some of the drivers."""
    if not members:
        return np.zeros(r.shape[:-2])
    inside, outcome = r[..., members, :][..., members], r[..., members, -1]
    return np.asarray((outcome * np.linalg.solve(inside, outcome[..., None])[..., 0]).sum(-1))


def _checked(matrix: ArrayLike) -> Floats:
    r = np.asarray(matrix, dtype=np.float64)
    if r.ndim < 2 or r.shape[-1] != r.shape[-2] or r.shape[-1] < 2:
        raise ValueError(f"needs correlations of shape (..., p + 1, p + 1), got {r.shape}")
    faults = []
    if not np.isfinite(r).all():
        faults.append("correlations must be finite")
    elif not (np.allclose(r, np.swapaxes(r, -1, -2)) and np.allclose(np.diagonal(r, axis1=-2, axis2=-1), 1)):
        faults.append("correlations must be symmetric with ones on the diagonal")
    elif (np.linalg.eigvalsh(r[..., :-1, :-1])[..., 0] < WEAK).any():
        faults.append("some drivers are sums of others; leave one of them out")
    complain(faults)
    return r
