"""How a survey sees a latent experience: who is asked, who answers, and what they tick."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np
from scipy.special import expit

from rox.simulate.config import BankConfig
from rox.simulate.draws import Array
from rox.simulate.people import by_segment


class Respondents(Protocol):
    """Who is asked: customers, or the contacts of accounts; arrays ``(respondents,)``."""

    @property
    def segment(self) -> Array:
        """Position of the segment."""

    @property
    def engagement(self) -> Array:
        """Standardised engagement."""

    @property
    def style(self) -> Array:
        """Points by which one answers high or low as a habit."""

    @property
    def careless(self) -> Array:
        """Whether one always ticks the best answer."""

    @property
    def age(self) -> Array:
        """Years."""

    @property
    def opened(self) -> Array:
        """Month the account was opened."""

    @property
    def drivers(self) -> Array:
        """Standardised experience of each driver, ``(respondents, drivers)``."""


def score_answer(config: BankConfig, people: Respondents, experience: Array, noise: Array) -> Array:
    """Give the 0–10 answer: experience, the customer's habit, and noise, rounded into the scale."""
    read = experience + people.style + config.survey.noise_sd * noise
    return np.where(people.careless, 10.0, np.clip(np.rint(read), 0, 10))


def ask(
    config: BankConfig,
    people: Respondents,
    experience: Array,
    opened: Array,
    drawn: Mapping[str, Array],
    month: int,
    *,
    wave: bool,
    lean: Array | float = 0.0,
) -> dict[str, Array]:
    """Run a wave: who is invited, who answers, and the satisfaction, ease and retest answers.

    Nobody is invited in the month the account is opened. Outside a wave nothing happens.

    Args:
        config: The dials.
        people: Who may be asked.
        experience: Their latent experience.
        opened: Whether their account is open.
        drawn: The month's draws.
        month: The month.
        wave: Whether it has a wave.
        lean: Log odds by which they answer more often than the dials say.

    Returns:
        ``invited``, ``answered``, ``csat``, ``ces``, ``retest``, each ``(respondents,)``.
    """
    nobody, nothing = np.zeros(opened.shape, bool), np.full(opened.shape, np.nan)
    if not wave:
        return {"invited": nobody, "answered": nobody, "csat": nothing, "ces": nothing, "retest": nothing}
    asked = opened & (month > people.opened)
    invited = asked & (drawn["invited"] < by_segment(config, "invited", people.segment))
    answered = invited & (drawn["answers"] < _response(config, people, experience, month, lean))
    again = score_answer(config, people, experience, drawn["retest_noise"])
    dials, felt = config.survey, experience + people.style - 7
    csat = np.clip(np.rint(3.8 + dials.csat_slope * felt + dials.csat_noise * drawn["csat_noise"]), 1, 5)
    ces = np.clip(np.rint(5.0 + dials.ces_slope * felt + dials.ces_noise * drawn["ces_noise"]), 1, 7)
    return {
        "invited": invited,
        "answered": answered,
        "csat": np.where(opened, np.where(people.careless, 5, csat), np.nan),
        "ces": np.where(opened, np.where(people.careless, 7, ces), np.nan),
        "retest": np.where(answered & (drawn["retest"] < dials.retest), again, np.nan),
    }


def _response(config: BankConfig, people: Respondents, experience: Array, month: int, lean: Array | float) -> Array:
    """Give the probability of answering an invitation; it depends on the experience itself and on its extremes."""
    dials, tenure = config.survey, np.maximum(month - people.opened, 0)
    log_odds = (
        by_segment(config, "response", people.segment)
        + dials.by_engagement * people.engagement
        + dials.by_tenure * (np.sqrt(tenure) - 6) / 3
        + dials.by_age * (people.age - 45) / 12
        + dials.by_experience * (experience - 7)
        + dials.by_extremes * (np.abs(experience - 7) - 1.2)
        + lean
    )
    return np.asarray(expit(log_odds))


def rate(
    config: BankConfig, people: Respondents, experience: Array, refit_gain: Array, drawn: Mapping[str, Array]
) -> Array:
    """Give the driver ratings of a wave, ``(respondents, drivers)``; NaN where one is left empty.

    Every rating carries a halo of the whole experience. The refit of a branch shows in the first driver, the wait
    there, by as much as its weight in the experience asks for.
    """
    dials, weights = config.survey, config.traits.driver_weights
    own = people.drivers.copy()
    own[:, 0] += refit_gain / weights[0]
    halo = dials.halo * (experience - 7) + people.style
    rating = np.rint(7 + 0.9 * own + halo[:, None] + dials.rating_noise * drawn["rating_noise"])
    rating = np.where(people.careless[:, None], 10.0, np.clip(rating, 0, 10))
    return np.where(drawn["rating_missing"] < dials.rating_missing, np.nan, rating)
