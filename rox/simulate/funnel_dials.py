"""The dials of the account-opening funnel."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

STEPS = ("form", "identity", "documents", "contract", "funding")
"""What an applicant passes, in this order; who passes the last one has a funded account."""


@dataclass(frozen=True, kw_only=True)
class Channel:
    """One way to open an account.

    Attributes:
        name: The channel's name in the table.
        share_before: Share of applicants before the mix drifts.
        share_after: Share of applicants afterwards.
        pass_rates: Probability of passing each of ``STEPS`` at average intent, in the old form and without a promotion.
        phone: Share of applicants on a phone.
        elsewhere: What the others use.
        balance: Median money of an active account 90 days after the start, CNY, at average intent.
    """

    name: str
    share_before: float
    share_after: float
    pass_rates: tuple[float, ...]
    phone: float
    elsewhere: str
    balance: float


def standard_channels() -> tuple[Channel, ...]:
    """Give the four standard channels; weak ones lose weight over time, which a before/after takes for progress."""
    return (
        Channel(
            name="branch",
            share_before=0.15,
            share_after=0.20,
            pass_rates=(0.97, 0.92, 0.93, 0.97, 0.90),
            phone=0.0,
            elsewhere="counter",
            balance=12_000.0,
        ),
        Channel(
            name="app",
            share_before=0.35,
            share_after=0.48,
            pass_rates=(0.90, 0.74, 0.72, 0.90, 0.70),
            phone=1.0,
            elsewhere="computer",
            balance=6_000.0,
        ),
        Channel(
            name="web",
            share_before=0.25,
            share_after=0.22,
            pass_rates=(0.85, 0.62, 0.66, 0.86, 0.60),
            phone=0.55,
            elsewhere="computer",
            balance=5_000.0,
        ),
        Channel(
            name="partner",
            share_before=0.25,
            share_after=0.10,
            pass_rates=(0.75, 0.45, 0.55, 0.80, 0.45),
            phone=0.70,
            elsewhere="computer",
            balance=1_500.0,
        ),
    )


@dataclass(frozen=True, kw_only=True)
class Funnel:
    """The account-opening funnel: a new form is tested against the old one and then given to everybody.

    Meanwhile the mix of channels drifts and a promotion runs, so that the share of applicants with a funded account
    rises by more than the new form adds.

    Attributes:
        applicants: Applicants in the whole window, evenly over its months; one person counts once.
        channels: The ways in.
        odds_ratios: By what the new form multiplies the odds of passing each of ``STEPS``.
        test_start: First month in which the new form is given by lot; before it everybody has the old one.
        test_end: First month in which everybody has the new form.
        test_share: Share of applicants who get the new form by lot.
        drift_start: Month in which the mix of channels begins to drift.
        drift_months: Months until the drift has ended; 0 leaves the mix as it was.
        promotion_start: First month of the promotion.
        promotion_months: Its months; 0 runs none.
        promotion: Log odds it adds to passing each of ``STEPS``.
        intent_sd: Standard deviation of an applicant's intent, in log odds of passing any step.
        phone: Log odds of passing any step that a phone adds, compared with the others in its channel.
        funding_days: Mean days from the start to a funded account, at most 80.
        dormant: Log odds that an account of average intent is dormant, hence empty, 90 days after the start.
        dormant_intent: Log odds of being dormant lost per standard deviation of intent.
        balance_intent: Log of the balance added per standard deviation of intent: who needed the new form holds less.
        balance_sd: Standard deviation of the log balance given intent.
    """

    applicants: int = 60_000
    channels: tuple[Channel, ...] = field(default_factory=standard_channels)
    odds_ratios: tuple[float, ...] = (1.0, 1.9, 1.6, 1.0, 1.0)
    test_start: int = 24
    test_end: int = 27
    test_share: float = 0.5
    drift_start: int = 20
    drift_months: int = 8
    promotion_start: int = 23
    promotion_months: int = 7
    promotion: tuple[float, ...] = (0.125, 0.125, 0.125, 0.125, 0.375)
    intent_sd: float = 0.6
    phone: float = -0.2
    funding_days: float = 12.0
    dormant: float = -1.6
    dormant_intent: float = 0.6
    balance_intent: float = 0.3
    balance_sd: float = 1.1


def funnel_faults(funnel: Funnel) -> Iterator[str]:
    """List every dial of the funnel that is out of range."""
    if not funnel.channels:
        yield "funnel.channels: none; at least one is needed"
    for name in ("share_before", "share_after"):
        total = sum(getattr(channel, name) for channel in funnel.channels)
        if funnel.channels and abs(total - 1) > 1e-9:
            yield f"funnel.channels: {name} adds up to {total:.6g}; needs to be 1"
    for channel in funnel.channels:
        place = f"funnel.channels.{channel.name}"
        if len(channel.pass_rates) != len(STEPS) or not all(0 < rate < 1 for rate in channel.pass_rates):
            yield f"{place}.pass_rates: got {channel.pass_rates}; needs {len(STEPS)} numbers between 0 and 1"
        if not 0 <= channel.phone <= 1:
            yield f"{place}.phone: got {channel.phone}; needs 0 to 1"
        if channel.balance <= 0:
            yield f"{place}.balance: got {channel.balance}; needs to be positive"
    if len(funnel.odds_ratios) != len(STEPS) or not all(ratio > 0 for ratio in funnel.odds_ratios):
        yield f"funnel.odds_ratios: got {funnel.odds_ratios}; needs {len(STEPS)} positive numbers"
    if len(funnel.promotion) != len(STEPS):
        yield f"funnel.promotion: got {len(funnel.promotion)} numbers; needs {len(STEPS)}, one per step"
    if not 0 <= funnel.test_start <= funnel.test_end:
        yield f"funnel.test_end: got {funnel.test_end}; needs {funnel.test_start} (test_start) or later"
    if not 0 <= funnel.test_share <= 1:
        yield f"funnel.test_share: got {funnel.test_share}; needs 0 to 1"
    for name in ("applicants", "drift_months", "promotion_months", "intent_sd", "balance_sd"):
        if getattr(funnel, name) < 0:
            yield f"funnel.{name}: got {getattr(funnel, name)}; needs at least 0"
    if not 0 < funnel.funding_days <= 80:
        yield f"funnel.funding_days: got {funnel.funding_days}; needs more than 0 and at most 80"
