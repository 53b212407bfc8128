"""How a survey sees a latent experience: who is asked, who answers, and what they tick."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy.special import expit

from rox.simulate.config import BankConfig
from rox.simulate.draws import Array
from rox.simulate.people import Customers, by_segment


def score_answer(config: BankConfig, customers: Customers, experience: Array, noise: Array) -> Array:
    """Give the 0–10 answer: experience, the customer's habit, and noise, rounded into the scale."""
    read = experience + customers.style + config.survey.noise_sd * noise
    return np.where(customers.careless, 10.0, np.clip(np.rint(read), 0, 10))


def ask(
    config: BankConfig,
    customers: Customers,
    experience: Array,
    opened: Array,
    drawn: Mapping[str, Array],
    month: int,
    *,
    wave: bool,
) -> dict[str, Array]:
    """Run a wave: who is invited, who answers, and the satisfaction, ease and retest answers.

    Nobody is invited in the month the account is opened. Outside a wave nothing happens.

    Returns:
        ``invited``, ``answered``, ``csat``, ``ces``, ``retest``, each ``(customers,)``.
    """
    nobody, nothing = np.zeros(opened.shape, bool), np.full(opened.shape, np.nan)
    if not wave:
        return {"invited": nobody, "answered": nobody, "csat": nothing, "ces": nothing, "retest": nothing}
    asked = opened & (month > customers.opened)
    invited = asked & (drawn["invited"] < by_segment(config, "invited", customers.segment))
    answered = invited & (drawn["answers"] < _response(config, customers, experience, month))
    again = score_answer(config, customers, experience, drawn["retest_noise"])
    dials, felt = config.survey, experience + customers.style - 7
    csat = np.clip(np.rint(3.8 + dials.csat_slope * felt + dials.csat_noise * drawn["csat_noise"]), 1, 5)
    ces = np.clip(np.rint(5.0 + dials.ces_slope * felt + dials.ces_noise * drawn["ces_noise"]), 1, 7)
    return {
        "invited": invited,
        "answered": answered,
        "csat": np.where(opened, np.where(customers.careless, 5, csat), np.nan),
        "ces": np.where(opened, np.where(customers.careless, 7, ces), np.nan),
        "retest": np.where(answered & (drawn["retest"] < dials.retest), again, np.nan),
    }


def _response(config: BankConfig, customers: Customers, experience: Array, month: int) -> Array:
    """Give the probability of answering an invitation; it depends on the experience itself and on its extremes."""
    dials, tenure = config.survey, np.maximum(month - customers.opened, 0)
    log_odds = (
        by_segment(config, "response", customers.segment)
        + dials.by_engagement * customers.engagement
        + dials.by_tenure * (np.sqrt(tenure) - 6) / 3
        + dials.by_age * (customers.age - 45) / 12
        + dials.by_experience * (experience - 7)
        + dials.by_extremes * (np.abs(experience - 7) - 1.2)
    )
    return np.asarray(expit(log_odds))


def rate(
    config: BankConfig, customers: Customers, experience: Array, refit_gain: Array, drawn: Mapping[str, Array]
) -> Array:
    """Give the driver ratings of a wave, ``(customers, drivers)``; NaN where one is left empty.

    Every rating carries a halo of the whole experience. The refit of a branch shows in the first driver, the wait
    there, by as much as its weight in the experience asks for.
    """
    dials, weights = config.survey, config.traits.driver_weights
    own = customers.drivers.copy()
    own[:, 0] += refit_gain / weights[0]
    halo = dials.halo * (experience - 7) + customers.style
    rating = np.rint(7 + 0.9 * own + halo[:, None] + dials.rating_noise * drawn["rating_noise"])
    rating = np.where(customers.careless[:, None], 10.0, np.clip(rating, 0, 10))
    return np.where(drawn["rating_missing"] < dials.rating_missing, np.nan, rating)
