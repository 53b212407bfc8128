"""Banks whose difficulties are drawn at random, so that many of them are a population and not three points."""

from __future__ import annotations

from typing import Any

import numpy as np

from rox.simulate.config import BankConfig
from rox.simulate.presets import preset
from rox.simulate.segments import standard_segments

HARDEST_GROWTH_TILT = (1.1, 1.1, 1.1, 0.6, 0.3)
"""As in the preset ``hard``."""
SHARES_OF_ORDERS = {"random": 0.5, "dip": 0.25, "trend": 0.25}


def mixed(*, seed: int = 1, customers: int = 20_000) -> BankConfig:
    """Draw a bank between ``easy`` and ``hard``, every difficulty by itself.

    Each dial in which the presets ``easy`` and ``hard`` differ from ``cmb`` is uniform between its easiest and its
    hardest value: wealth and growth in experience (``wealth_tilt``, ``growth_tilt``), ``traits.engagement_tilt`` (0 to
    0.5), ``experience.attention`` (0 to 2), ``experience.mood`` (0 to 0.25), the bend of money's answer (from a
    straight line to that of ``cmb``), ``exits.frailty`` (0 to 0.4), ``survey.style_sd`` (0 to 0.9),
    ``survey.careless`` (0 to 0.03), ``survey.by_experience`` and ``survey.by_extremes`` (0 to 0.25),
    ``recovery.selection`` (0 to 1), ``calendar.promotion_experience`` (0 to 0.2). What experience does varies too:
    ``exits.experience`` (0.11 to 0.33), ``money_response`` and ``rollout.effects`` (half to one and a half times those
    of ``cmb``). The order of the refits is by lot in half of the banks, worst first in a quarter and fastest-growing
    first in a quarter, and in half of the banks whose order was chosen the refit also moves money past experience
    (``rollout.direct`` up to 0.01).

    Args:
        seed: Of the draw and of the bank.
        customers: Customers in the extract.
    """
    rng = np.random.default_rng([seed, 20230])

    def between(low: float, high: float) -> float:
        return float(rng.uniform(low, high))

    cmb = preset("cmb")
    wealth, growth, answer = between(0, 1), between(0, 1), between(0.5, 1.5)
    bend, strength = between(0, 1), between(0.5, 1.5)
    order = str(rng.choice(list(SHARES_OF_ORDERS), p=list(SHARES_OF_ORDERS.values())))
    direct = between(0, 0.01) if order != "random" and rng.random() < 0.5 else 0.0
    changes: dict[str, Any] = {
        "segments": standard_segments(
            wealth_tilt=tuple(wealth * each.wealth_tilt for each in cmb.segments),
            growth_tilt=tuple(growth * each for each in HARDEST_GROWTH_TILT),
            money_response=tuple(answer * each.money_response for each in cmb.segments),
        ),
        "traits": {"engagement_tilt": between(0, 0.5)},
        "experience": {"attention": between(0, 2), "mood": between(0, 0.25)},
        "money": {
            "slope_above": 1 + bend * (cmb.money.slope_above - 1),
            "slope_below": 1 + bend * (cmb.money.slope_below - 1),
            "slope_low": bend * cmb.money.slope_low,
        },
        "exits": {"frailty": between(0, 0.4), "experience": between(0.11, 0.33)},
        "survey": {
            "style_sd": between(0, 0.9),
            "careless": between(0, 0.03),
            "by_experience": between(0, 0.25),
            "by_extremes": between(0, 0.25),
        },
        "rollout": {
            "selection": order,
            "direct": direct,
            "effects": tuple(strength * each for each in cmb.rollout.effects),
        },
        "recovery": {"selection": between(0, 1)},
        "calendar": {"promotion_experience": between(0, 0.2)},
    }
    return preset("cmb", seed=seed, customers=customers, **changes)
