"""What customers do and say unasked: incidents, complaints and praise, logins, transfers, visits, referrals."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from scipy.special import expit

from rox.simulate.bank import NO_TOPIC
from rox.simulate.config import BankConfig
from rox.simulate.dials import DRIVERS
from rox.simulate.draws import Array, poisson_counts
from rox.simulate.people import Customers

_TOPIC_SHARES = (0.25, 0.40, 0.15, 0.08, 0.12)
"""Share of the incidents that concern each of ``DRIVERS``."""


def befall(config: BankConfig, drawn: Mapping[str, Array]) -> Array:
    """Give the topic of each customer's incident this month, as a position in ``DRIVERS``; ``NO_TOPIC`` without one."""
    topic = np.searchsorted(np.cumsum(_TOPIC_SHARES)[:-1], drawn["topic"], side="right")
    return np.where(drawn["incident"] < config.experience.incident_rate, topic, NO_TOPIC).astype(np.uint8)


def speak_up(
    config: BankConfig,
    customers: Customers,
    experience: Array,
    opened: Array,
    topic: Array,
    drawn: Mapping[str, Array],
) -> dict[str, Array]:
    """Give who complains (after an incident), who praises (when experience is high) and who suggests something.

    Returns:
        ``complained``, ``praised``, ``suggested``, each ``(customers,)``.
    """
    dials = config.touchpoints
    outspoken = expit(dials.complain + dials.complain_engagement * customers.engagement)
    praise = dials.praise * np.exp(dials.praise_experience * (experience - 7))
    return {
        "complained": opened & (topic != NO_TOPIC) & (drawn["complain"] < outspoken),
        "praised": opened & (drawn["praise"] < praise),
        "suggested": opened & (drawn["suggest"] < dials.suggestion * np.exp(0.3 * customers.engagement)),
    }


def behave(
    of: Callable[[str], Array],
    config: BankConfig,
    customers: Customers,
    experience: Array,
    opened: Array,
    topic: Array,
    drawn: Mapping[str, Array],
) -> dict[str, Array]:
    """Give the month's behaviour.

    Args:
        of: Spreads a segment's dial over customers.
        config: The dials.
        customers: Who they are.
        experience: Latent experience.
        opened: Whether the account is open.
        topic: Topic of an incident; one of the app shows in failed transfers, one of the branch in visits.
        drawn: The month's draws.

    Returns:
        ``referred``, ``contacts``, ``logins``, ``failed_transfers``, ``visits``, each ``(customers,)``.
    """
    dials, engaged = config.touchpoints, customers.engagement
    app, branch = topic == DRIVERS.index("app"), topic == DRIVERS.index("branch_wait")
    rates = {
        "contacts": of("contacts") * np.exp(-0.12 * (experience - 7)) + dials.incident_contacts * (topic != NO_TOPIC),
        "logins": dials.logins * np.exp(dials.login_engagement * engaged + 0.05 * (experience - 7)),
        "failed_transfers": dials.failed_transfers * np.exp(0.3 * engaged) + 1.5 * app,
        "visits": dials.visits * np.exp(-dials.visit_engagement * engaged) + 1.0 * branch,
    }
    draws = {"contacts": "contacts", "logins": "login", "failed_transfers": "failed_transfer", "visits": "visit"}
    most = {"contacts": 12, "logins": 40, "failed_transfers": 10, "visits": 10}
    counts = {name: poisson_counts(drawn[draws[name]], rate, most=most[name]) * opened for name, rate in rates.items()}
    referred = drawn["refer"] < of("referral") / 12 * np.exp(config.referrals.experience * (experience - 7))
    return {"referred": opened & referred, **counts}
