"""The programme against every plan there is."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rox.numerics.allocation import Choice, Rules, allocate, expected_shortfall, gains_of, measured


def some_choices(rng: np.random.Generator, several: int, scenarios: int) -> tuple[Choice, ...]:
    """Nothing, or one of three scales, each taking two resources; item i is choice i at any scale."""
    choices = []
    for place in range(several):
        scale = np.array([0.0, 0.3, 0.6, 1.0])
        full = rng.normal(rng.uniform(-1, 4), rng.uniform(0.5, 4), scenarios)
        cost = rng.uniform(0.5, 2)
        gains = scale[:, None] ** rng.uniform(0.3, 1) * full - scale[:, None] * cost
        uses = np.column_stack([scale * cost, scale * rng.integers(0, 3)])
        holds = np.zeros((4, several))
        holds[1:, place] = 1
        choices.append(Choice(gains=gains, uses=uses, holds=holds))
    return tuple(choices)


def best_of_all(choices: tuple[Choice, ...], rules: Rules, aversion: float, tail: float) -> float:
    best = -np.inf
    for options in product(*(range(len(each.gains)) for each in choices)):
        held = sum(choice.holds[option] for choice, option in zip(choices, options, strict=True))
        plan = measured(choices, options, aversion=aversion, tail=tail)
        keeps = (plan.uses <= rules.limits + 1e-12).all()
        keeps &= all(held[first] <= held[second] for first, second in rules.needs)
        keeps &= all(held[list(several)].sum() <= 1 for several in rules.excludes)
        if keeps:
            best = max(best, plan.objective)
    return best


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    aversion=st.sampled_from([0.0, 0.2, 1.0]),
    budget=st.floats(0, 6),
    ruled=st.booleans(),
)
def test_it_finds_the_best_of_all_plans(seed: int, aversion: float, budget: float, ruled: bool) -> None:
    choices = some_choices(np.random.default_rng(seed), 4, 41)
    rules = Rules(limits=np.array([budget, 3.0]), needs=((1, 0),) if ruled else (), excludes=((2, 3),) if ruled else ())
    plan = allocate(choices, rules, aversion=aversion, tail=0.1)
    assert plan.objective == pytest.approx(best_of_all(choices, rules, aversion, 0.1), abs=1e-6)
    gains = gains_of(choices, plan.options)
    assert plan.mean == pytest.approx(gains.mean())
    assert plan.shortfall == pytest.approx(expected_shortfall(gains, 0.1))
    assert (plan.uses <= rules.limits * (1 + 1e-8)).all()


def test_money_in_millions_keeps_the_budget_to_the_cent() -> None:
    """A solver's tolerance of a millionth of 3,000,000 would be three yuan."""
    gains = np.array([[0.0], [9e8]])
    dear = Choice(gains=gains, uses=np.array([[0.0], [3_000_000.01]]), holds=np.zeros((2, 0)))
    assert allocate((dear,), Rules(limits=np.array([3_000_000.0]))).options == (0,)
    assert allocate((dear,), Rules(limits=np.array([3_000_000.01]))).options == (1,)


def test_aversion_turns_from_the_gamble_to_the_safe() -> None:
    gamble = np.where(np.arange(100) < 10, -50.0, 12.0)
    choice = Choice(gains=np.array([gamble, np.full(100, 4.0)]), uses=np.zeros((2, 1)), holds=np.zeros((2, 0)))
    rules = Rules(limits=np.array([np.inf]))
    assert allocate((choice,), rules).options == (0,)
    assert allocate((choice,), rules, aversion=0.5).options == (1,)


def test_the_shortfall_counts_a_scenario_on_the_edge_by_its_part() -> None:
    """The minimum over t of t + mean((loss - t)+) / tail, on a fine grid."""
    gains = np.random.default_rng(1).normal(size=37)
    for tail in (0.05, 0.1, 0.33, 1.0 - 1e-9):
        grid = -gains
        least = min(t + np.maximum(-gains - t, 0).mean() / tail for t in grid)
        assert expected_shortfall(gains, tail) == pytest.approx(least, rel=1e-9)


def test_what_cannot_be_is_said() -> None:
    rng = np.random.default_rng(0)
    choices = some_choices(rng, 2, 5)
    with pytest.raises(ValueError, match="no plan keeps"):
        allocate(choices, Rules(limits=np.array([-1.0, 3.0])))
    with pytest.raises(ValueError, match=r"aversion of 0 or more(.|\n)*2 resources and 1 limits"):
        allocate(choices, Rules(limits=np.array([1.0])), aversion=-1)
    many = some_choices(rng, 1, 2_001)
    with pytest.raises(ValueError, match="at most 2000 scenarios"):
        allocate(many, Rules(limits=np.full(2, 9.0)), aversion=1.0)
