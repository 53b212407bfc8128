"""Shapley values: by hand, their axioms, and the sampled form against the exact one."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rox.numerics.shapley import sampled_shapley, shapley


def by_orders(worth: np.ndarray) -> np.ndarray:
    """The definition: the mean contribution over all orders."""
    players = len(worth).bit_length() - 1
    values = np.zeros((players, *worth.shape[1:]))
    orders = list(permutations(range(players)))
    for order in orders:
        coalition = 0
        for player in order:
            values[player] += worth[coalition | 1 << player] - worth[coalition]
            coalition |= 1 << player
    return values / len(orders)


@settings(max_examples=25, deadline=None)
@given(players=st.integers(1, 5), seed=st.integers(0, 1000))
def test_it_is_the_mean_over_all_orders_and_spends_all_there_is(players: int, seed: int) -> None:
    worth = np.random.default_rng(seed).normal(size=(2**players, 7))
    found = shapley(worth)
    np.testing.assert_allclose(found, by_orders(worth), atol=1e-12)
    np.testing.assert_allclose(found.sum(axis=0), worth[-1] - worth[0], atol=1e-12)


def test_the_glove_game() -> None:
    """One left glove and two right ones: 2/3, 1/6, 1/6 (a textbook game)."""
    worth = [float((c & 1) and (c & 6) > 0) for c in range(8)]
    np.testing.assert_allclose(shapley(worth), [2 / 3, 1 / 6, 1 / 6])


def test_alike_players_get_alike_and_who_adds_nothing_gets_nothing() -> None:
    sizes = np.array([bin(c & 0b0111).count("1") for c in range(16)])
    values = shapley(sizes.astype(float) ** 0.5)
    np.testing.assert_allclose(values[:3], values[0])
    assert values[3] == 0.0


def test_adding_up_games_adds_up_shares() -> None:
    one, other = np.random.default_rng(2).normal(size=(2, 16))
    np.testing.assert_allclose(shapley(one + other), shapley(one) + shapley(other), atol=1e-12)


def test_orders_drawn_come_near_all_orders() -> None:
    worth = np.random.default_rng(3).normal(size=(2**6, 4))
    asked: list[int] = []

    def ask(coalition: int) -> np.ndarray:
        asked.append(coalition)
        return worth[coalition]

    found = sampled_shapley(ask, 6, permutations=401, rng=1)
    assert found.permutations == 402
    np.testing.assert_allclose(found.values.sum(axis=0), worth[-1] - worth[0], atol=1e-10)
    assert (np.abs(found.values - shapley(worth)) < 4 * found.errors).all()
    assert found.errors.max() < 0.2
    again = sampled_shapley(ask, 6, permutations=401, rng=1)
    np.testing.assert_array_equal(found.values, again.values)
    assert asked.count(63) == 2


@pytest.mark.parametrize("rows", [0, 1, 3, 6, 2**13])
def test_rows_that_are_no_game_are_refused(rows: int) -> None:
    with pytest.raises(ValueError, match="rows for n from 1 to 12"):
        shapley(np.zeros(rows))
    with pytest.raises(ValueError, match="at least 1 player"):
        sampled_shapley(lambda coalition: 0.0, 0)
