"""Banks of drawn difficulty lie between the easiest and the hardest."""

from __future__ import annotations

import numpy as np
import pytest

from rox.core.errors import RunError
from rox.simulate import mixed, preset, simulate
from rox.validation import read_world

BANKS = [mixed(seed=seed, customers=500) for seed in range(200)]


def test_one_seed_is_one_bank():
    assert mixed(seed=7) == mixed(seed=7)
    assert mixed(seed=7) != mixed(seed=8)
    one, again = (simulate(mixed(seed=3, customers=300)) for _ in range(2))
    assert np.array_equal(one.score, again.score, equal_nan=True)
    assert np.array_equal(one.aum, again.aum, equal_nan=True)


@pytest.mark.parametrize(
    ("group", "dial", "least", "most"),
    [
        ("traits", "engagement_tilt", 0, 0.5),
        ("experience", "attention", 0, 2),
        ("survey", "style_sd", 0, 0.9),
        ("survey", "by_experience", 0, 0.25),
        ("exits", "frailty", 0, 0.4),
        ("money", "slope_low", 0, 3),
    ],
)
def test_dials_span_from_easy_to_hard(group, dial, least, most):
    values = np.array([getattr(getattr(bank, group), dial) for bank in BANKS])
    assert least <= values.min() < least + 0.05 * (most - least)
    assert most >= values.max() > most - 0.05 * (most - least)
    ends = {getattr(getattr(preset(name), group), dial) for name in ("easy", "cmb", "hard")}
    assert {least, most} <= {*ends, least, most}
    assert min(ends) == least
    assert max(ends) == most


def test_orders_of_refits_and_their_direct_effects():
    orders = [bank.rollout.selection for bank in BANKS]
    assert 0.4 < orders.count("random") / len(orders) < 0.6
    assert {"dip", "trend"} < set(orders)
    assert all(bank.rollout.direct == 0 for bank in BANKS if bank.rollout.selection == "random")
    assert any(bank.rollout.direct > 0 for bank in BANKS)


def test_difficulties_are_drawn_apart():
    tilt = [bank.traits.engagement_tilt for bank in BANKS]
    style = [bank.survey.style_sd for bank in BANKS]
    assert abs(np.corrcoef(tilt, style)[0, 1]) < 0.2


def test_a_world_of_them_knows_how_each_bank_chose_and_takes_dials():
    world = read_world("mixed", {"experience": {"attention": 0.0}})
    assert {world.assigned(seed) for seed in range(12)} == {"random", "chosen"}
    assert world.config(customers=600, seed=4).experience.attention == 0.0
    assert world.config(customers=600, seed=4).experience.mood == mixed(seed=4).experience.mood
    with pytest.raises(RunError, match="attenton: no such dial"):
        read_world("cmb", {"experience": {"attenton": 1.0}})
