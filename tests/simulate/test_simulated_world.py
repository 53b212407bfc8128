"""One seed is one bank, and an intervention changes what it causes and nothing else."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest

from rox.simulate import Bank, Intervention, preset, simulate
from rox.simulate.people import NEVER

CONFIG = preset("cmb", customers=4_000, seed=3)
PER_MONTH = [
    item.name
    for item in fields(Bank)
    if item.name
    not in {"config", "intervention", "customers", "branches", "market", "exit_month", "exit_cause", "ratings", "panel"}
]


def alike(one: Bank, other: Bank, name: str, where: object = ...) -> bool:
    return np.array_equal(getattr(one, name)[where], getattr(other, name)[where], equal_nan=True)


def test_the_same_seed_gives_the_same_bank_to_the_bit(small: Bank) -> None:
    again = simulate(CONFIG)
    for name in [*PER_MONTH, "market", "exit_month", "exit_cause", "ratings"]:
        assert getattr(small, name).tobytes() == getattr(again, name).tobytes(), name
    for owner in ("customers", "branches"):
        for item in fields(getattr(small, owner)):
            one, other = (getattr(getattr(bank, owner), item.name) for bank in (small, again))
            assert one.tobytes() == other.tobytes(), item.name


def test_another_seed_gives_another_bank(small: Bank) -> None:
    other = simulate(preset("cmb", customers=4_000, seed=4))
    assert not np.array_equal(small.balance, other.balance)
    assert set(small.customers.identifier[:100]).isdisjoint(other.customers.identifier[:100])


def test_an_intervention_that_does_nothing_changes_nothing(small: Bank) -> None:
    idle = simulate(CONFIG, Intervention(shift=0.0, shift_from=7))
    assert [name for name in [*PER_MONTH, "exit_month", "exit_cause", "ratings"] if not alike(small, idle, name)] == []


def test_a_shift_is_felt_from_its_first_month_on_and_not_before(small: Bank) -> None:
    shifted = simulate(CONFIG, Intervention(shift=1.0, shift_from=14))
    assert [name for name in PER_MONTH if not alike(small, shifted, name, np.s_[:14])] == []
    np.testing.assert_allclose(shifted.experience[14] - small.experience[14], 1.0, atol=1e-5)
    open_ = small.opened[14]
    assert (shifted.balance[14] > small.balance[14])[open_].all()
    assert shifted.score[14][open_].mean() > small.score[14][open_].mean() + 0.6
    assert (shifted.exit_month < NEVER).sum() < (small.exit_month < NEVER).sum()


def test_the_rollout_reaches_refitted_branches_only_and_not_before_the_refit(small: Bank) -> None:
    without = simulate(CONFIG, Intervention(rollout=False))
    spared = small.refit == NEVER
    assert 0.15 < spared.mean() < 0.35
    assert [name for name in PER_MONTH if not alike(small, without, name, np.s_[:, spared])] == []
    for start in CONFIG.rollout.starts:
        cohort = small.refit == start
        assert alike(small, without, "experience", np.s_[:start, cohort])
        assert (small.experience[start] > without.experience[start])[cohort].all()


def test_without_recovery_customers_differ_only_after_a_call(small: Bank) -> None:
    without = simulate(CONFIG, Intervention(recovery=False))
    same = small.experience == without.experience
    called = simulate(CONFIG).called
    ever_before = np.vstack([np.zeros((1, called.shape[1]), bool), np.cumsum(called, axis=0)[:-1] > 0])
    stayed = small.active & without.active
    assert same[stayed & ~ever_before].all()
    assert not same[stayed & ever_before].any()


def test_each_purpose_draws_from_a_stream_of_its_own() -> None:
    """With the loop from answers to money cut, noisier answers leave money and exits to the bit as they were."""
    cut = Intervention(recovery=False)
    quiet = simulate(preset("cmb", customers=800), cut)
    noisy = simulate(preset("cmb", customers=800, survey={"noise_sd": 2.5, "retest": 0.5}), cut)
    assert not alike(quiet, noisy, "score")
    for name in ("balance", "exit_month", "contacts", "revenue", "invited"):
        assert alike(quiet, noisy, name), name


def test_nobody_comes_back_and_the_month_of_the_exit_is_the_last(small: Bank) -> None:
    assert not (small.active[1:] & ~small.active[:-1] & small.opened[:-1]).any()
    left = np.flatnonzero(small.exit_month < NEVER)
    assert len(left) > 500
    assert small.active[small.exit_month[left], left].all()
    beyond = left[small.exit_month[left] < CONFIG.months - 1]
    assert not small.active[small.exit_month[beyond] + 1, beyond].any()
    for name in ("invited", "answered", "eligible", "called", "contacts", "logins", "revenue", "aum"):
        assert not getattr(small, name)[~small.active].any(), name


def test_a_bank_cannot_be_changed(small: Bank) -> None:
    for array in (small.balance, small.customers.wealth, small.branches.start):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0


@pytest.mark.parametrize("selection", ["random", "dip", "trend"])
def test_cohorts_are_of_equal_size_and_selected_as_said(selection: str) -> None:
    config = preset("cmb", customers=200, rollout={"selection": selection})
    branches = simulate(config).branches
    assert sorted(np.unique(branches.start, return_counts=True)[1]) == [15, 15, 15, 15]
    first = branches.start == config.rollout.starts[0]
    recent = branches.shock[config.burn_in + 9 : config.burn_in + 12].mean(axis=0)
    dip = recent[first].mean() - recent[~first].mean()
    trend = branches.growth[first].mean() - branches.growth[~first].mean()
    assert (dip < -0.15) == (selection == "dip")
    assert (trend > 0.0015) == (selection == "trend")


def test_a_bank_without_a_rollout_treats_nobody() -> None:
    bank = simulate(preset("cmb", customers=200, rollout={"starts": (), "effects": ()}))
    assert (bank.refit == NEVER).all()
