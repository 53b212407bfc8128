"""Share what players earn together fairly among them: Shapley values."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import factorial

import numpy as np
from numpy.typing import ArrayLike

from rox.numerics.arrays import Floats, freeze

MOST_PLAYERS = 12
"""Players up to whom every coalition is looked at; 4,096 of them."""


@dataclass(frozen=True, kw_only=True)
class SampledShapley:
    """Shapley values from drawn orders. n = players."""

    values: Floats
    """(n, ...) mean contribution of each player; they sum to the worth of all less that of nobody."""
    errors: Floats
    """(n, ...) Monte Carlo standard errors, from pairs of an order and its reverse."""
    permutations: int
    """Orders looked at."""

    def __post_init__(self) -> None:
        freeze(self, "values", "errors")


def shapley(worth: ArrayLike) -> Floats:
    """Return the Shapley values of a game given by the worth of every coalition (Shapley 1953).

    Args:
        worth: (2**n, ...) one row per coalition; player i belongs to coalition c if bit i of c is set, so that row 0
            is nobody and the last row is everybody. Trailing axes, such as draws, are independent games.

    Returns:
        (n, ...) one row per player; the rows sum to ``worth[-1] - worth[0]``.

    Raises:
        ValueError: the rows are not a power of two, or more players than can be enumerated.

    Example:
        >>> shapley([0.0, 10.0, 20.0, 24.0]).tolist()
        [7.0, 17.0]
    """
    table = np.asarray(worth, dtype=float)
    players = max(len(table), 1).bit_length() - 1 if table.ndim else 0
    if not players or len(table) != 2**players or players > MOST_PLAYERS:
        raise ValueError(f"needs 2**n rows for n from 1 to {MOST_PLAYERS} players, got shape {table.shape}")
    coalitions = np.arange(2**players)
    sizes = np.array([bin(each).count("1") for each in coalitions])
    weights = np.array([factorial(k) * factorial(players - k - 1) / factorial(players) for k in range(players)])
    values = np.empty((players, *table.shape[1:]))
    for player in range(players):
        without = coalitions[coalitions >> player & 1 == 0]
        gained = table[without | 1 << player] - table[without]
        values[player] = np.tensordot(weights[sizes[without]], gained, axes=(0, 0))
    return values


def sampled_shapley(
    worth: Callable[[int], ArrayLike],
    players: int,
    *,
    permutations: int = 200,
    rng: int | np.random.Generator | None = None,
) -> SampledShapley:
    """Estimate Shapley values from random orders, each with its reverse (Castro, Gómez & Tejada 2009; antithetic
    pairs as in Mitchell et al. 2022).

    Args:
        worth: gives the worth of a coalition, coded by bits as in :func:`shapley`, with any trailing shape.
        players: number of players.
        permutations: orders to look at; rounded up to an even number, at least 4.
        rng: seed.

    Raises:
        ValueError: no player, or fewer than 4 permutations.
    """
    if players < 1 or permutations < 4:
        raise ValueError(f"needs at least 1 player and 4 permutations, got {players} and {permutations}")
    generator = np.random.default_rng(rng)
    nobody = np.asarray(worth(0), dtype=float)
    everybody = np.asarray(worth(2**players - 1), dtype=float)
    total = np.zeros((players, *nobody.shape))
    squares = np.zeros_like(total)
    pairs = (permutations + 1) // 2
    for _ in range(pairs):
        order = generator.permutation(players)
        pair = np.zeros_like(total)
        for one in (order, order[::-1]):
            coalition, before = 0, nobody
            for place, player in enumerate(one, start=1):
                coalition |= 1 << int(player)
                after = everybody if place == players else np.asarray(worth(coalition), dtype=float)
                pair[player] += (after - before) / 2
                before = after
        total += pair
        squares += pair**2
    mean = total / pairs
    spread = np.maximum(squares / pairs - mean**2, 0.0) * pairs / (pairs - 1)
    return SampledShapley(values=mean, errors=np.sqrt(spread / pairs), permutations=2 * pairs)
