"""The segments of the simulated bank and their dials.

The standard five follow the published wealth pyramid of China Merchants Bank: a mean AUM of about 65,000 CNY, of which
the two per cent from platinum upwards hold three quarters. Those of business accounts and of the small company follow
no published figures.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class SegmentConfig:
    """One segment of customers.

    Attributes:
        name: The segment's name in every table.
        population_share: Share of the bank's customers.
        sample_share: Share of the extract; the extract is stratified, so small segments are over-represented.
        aum_median: Median assets under management, CNY; where ``pareto_tail`` is set, the smallest balance.
        aum_log_sd: Standard deviation of log AUM of a log-normal segment.
        pareto_tail: Tail index of a Pareto segment; 0 makes the segment log-normal.
        experience: Mean latent experience.
        money_response: Long-run change of log AUM per point of the (bent) experience.
        voluntary_exit: Voluntary exits a year, as a probability at experience 7.
        other_exit: Exits a year for other causes, as a probability at age 45.
        zero_entry: Probability a month of entering a spell of zero balance, at experience 7.
        invited: Probability of an invitation, per wave.
        response: Logit intercept of answering an invitation.
        attention: Points of experience per unit of log growth over the last three months: growing clients are courted.
        market: Sensitivity of log AUM to the market index.
        margin: Revenue a year as a share of AUM.
        referral: Referrals a year at experience 7.
        contacts: Service contacts a month at experience 7.
        wealth_tilt: Points of experience per standard deviation of wealth within the segment.
        growth_tilt: Points of experience per standard deviation of the customer's own, unobserved growth.
        rollout_multiplier: The roll-out's effect in this segment, relative to ``Rollout.effects``.
    """

    name: str
    population_share: float
    sample_share: float
    aum_median: float
    aum_log_sd: float
    pareto_tail: float = 0.0
    experience: float
    money_response: float
    voluntary_exit: float
    other_exit: float
    zero_entry: float
    invited: float
    response: float
    attention: float
    market: float
    margin: float
    referral: float
    contacts: float
    wealth_tilt: float
    growth_tilt: float
    rollout_multiplier: float


_NAMES = ("mass", "gold", "platinum", "private", "private_diamond")
_DIALS: dict[str, tuple[float, ...]] = {
    "population_share": (0.8784, 0.10, 0.02, 0.0009, 0.0007),
    "sample_share": (0.50, 0.25, 0.15, 0.06, 0.04),
    "aum_median": (2.3e3, 75e3, 950e3, 6.6e6, 14.5e6),
    "aum_log_sd": (1.40, 0.70, 0.60, 0.30, 0.0),
    "pareto_tail": (0.0, 0.0, 0.0, 0.0, 2.1),
    "experience": (6.88, 6.90, 6.92, 6.92, 6.92),
    "money_response": (0.100, 0.080, 0.060, 0.035, 0.008),
    "voluntary_exit": (0.130, 0.070, 0.045, 0.022, 0.012),
    "other_exit": (0.020, 0.015, 0.012, 0.010, 0.008),
    "zero_entry": (0.020, 0.004, 0.002, 0.001, 0.001),
    "invited": (0.60, 0.80, 0.90, 1.0, 1.0),
    "response": (-2.10, -1.95, -1.85, -1.75, -1.70),
    "attention": (0.2, 0.4, 0.8, 1.2, 0.8),
    "market": (0.2, 0.4, 0.7, 1.0, 1.0),
    "margin": (0.006, 0.006, 0.007, 0.008, 0.008),
    "referral": (0.10, 0.15, 0.20, 0.20, 0.15),
    "contacts": (0.25, 0.35, 0.50, 0.80, 1.2),
    "wealth_tilt": (0.20, 0.20, 0.15, 0.08, 0.02),
    "growth_tilt": (0.85, 0.85, 0.85, 0.35, 0.03),
    "rollout_multiplier": (0.8, 1.0, 1.2, 1.2, 0.6),
}


_ACCOUNT_NAMES = ("mid_market", "corporate", "strategic")
_ACCOUNT_DIALS: dict[str, tuple[float, ...]] = {
    "population_share": (0.80, 0.17, 0.03),
    "sample_share": (0.55, 0.33, 0.12),
    "aum_median": (3e6, 30e6, 250e6),
    "aum_log_sd": (0.90, 0.80, 0.60),
    "pareto_tail": (0.0, 0.0, 0.0),
    "experience": (6.90, 6.90, 6.90),
    "money_response": (0.070, 0.050, 0.035),
    "voluntary_exit": (0.060, 0.035, 0.020),
    "other_exit": (0.012, 0.006, 0.003),
    "zero_entry": (0.002, 0.001, 0.0),
    "invited": (0.85, 0.95, 1.0),
    "response": (-1.40, -1.20, -1.00),
    "attention": (0.4, 0.8, 1.2),
    "market": (0.2, 0.2, 0.2),
    "margin": (0.007, 0.005, 0.004),
    "referral": (0.06, 0.06, 0.04),
    "contacts": (1.0, 2.5, 5.0),
    "wealth_tilt": (0.15, 0.10, 0.05),
    "growth_tilt": (0.60, 0.50, 0.40),
    "rollout_multiplier": (0.9, 1.0, 1.1),
}
_SMALL_NAMES = ("regular", "key")
_SMALL_DIALS: dict[str, tuple[float, ...]] = {
    "population_share": (0.80, 0.20),
    "sample_share": (0.80, 0.20),
    "aum_median": (40e3, 400e3),
    "aum_log_sd": (0.80, 0.60),
    "pareto_tail": (0.0, 0.0),
    "experience": (7.0, 7.1),
    "money_response": (0.090, 0.070),
    "voluntary_exit": (0.090, 0.050),
    "other_exit": (0.020, 0.012),
    "zero_entry": (0.006, 0.002),
    "invited": (1.0, 1.0),
    "response": (-0.85, -0.60),
    "attention": (0.3, 0.6),
    "market": (0.3, 0.5),
    "margin": (0.012, 0.010),
    "referral": (0.15, 0.20),
    "contacts": (0.30, 0.60),
    "wealth_tilt": (0.20, 0.15),
    "growth_tilt": (0.70, 0.60),
    "rollout_multiplier": (1.0, 1.0),
}


def standard_segments(**columns: tuple[float, ...]) -> tuple[SegmentConfig, ...]:
    """Give the five standard segments.

    Args:
        **columns: Dials that differ from the standard, one value per segment, from mass to private-diamond.
    """
    return _segments(_NAMES, _DIALS, columns)


def account_segments(**columns: tuple[float, ...]) -> tuple[SegmentConfig, ...]:
    """Give three segments of business accounts: few, large and long-lived.

    Args:
        **columns: Dials that differ, one value per segment, from mid-market to strategic.
    """
    return _segments(_ACCOUNT_NAMES, _ACCOUNT_DIALS, columns)


def small_segments(**columns: tuple[float, ...]) -> tuple[SegmentConfig, ...]:
    """Give the two segments of a small company that knows all its customers.

    Args:
        **columns: Dials that differ, one value per segment, regular and key.
    """
    return _segments(_SMALL_NAMES, _SMALL_DIALS, columns)


def _segments(
    names: tuple[str, ...], dials: Mapping[str, tuple[float, ...]], changed: Mapping[str, tuple[float, ...]]
) -> tuple[SegmentConfig, ...]:
    columns: dict[str, tuple[Any, ...]] = {"name": names, **dials, **changed}
    rows = zip(*columns.values(), strict=True)
    return tuple(SegmentConfig(**dict(zip(columns, row, strict=True))) for row in rows)
