"""One simulated bank: every dial, checked together."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import get_args

import numpy as np

from rox.core.errors import RoxError
from rox.simulate.dials import (
    DRIVERS,
    Accounts,
    Calendar,
    Exits,
    Experience,
    Money,
    Recovery,
    Referrals,
    Rollout,
    Selection,
    Survey,
    Touchpoints,
    Traits,
)
from rox.simulate.funnel_dials import Funnel, funnel_faults
from rox.simulate.segments import SegmentConfig, standard_segments


@dataclass(frozen=True, kw_only=True)
class BankConfig:
    """Every dial of a simulated bank.

    Attributes:
        seed: The one seed; every purpose draws from a stream of its own under it.
        customers: Customers in the extract.
        months: Months of the window.
        burn_in: Months simulated before the window, so that balances have met experience.
        start: First month of the window, ``YYYY-MM``.
        population: Customers of the whole bank; design weights bring the extract up to it.
        branches: Number of branches.
        segments: The segments, from the widest to the wealthiest.
        traits: What customers bring with them.
        experience: How latent experience moves.
        money: How money answers to experience.
        exits: What makes customers leave.
        survey: Who is asked, who answers, and how.
        rollout: The refit of branches.
        recovery: The closed loop.
        calendar: Season and promotions.
        touchpoints: Behaviour and feedback.
        referrals: What becomes of a referral.
        accounts: Who answers for a customer: itself, or the contacts of an account.
        funnel: The account-opening funnel.

    Raises:
        RoxError: Dials out of range or not going together; all of them are listed.
    """

    seed: int = 1
    customers: int = 20_000
    months: int = 36
    burn_in: int = 12
    start: str = "2023-01"
    population: int = 10_000_000
    branches: int = 60
    segments: tuple[SegmentConfig, ...] = field(default_factory=standard_segments)
    traits: Traits = field(default_factory=Traits)
    experience: Experience = field(default_factory=Experience)
    money: Money = field(default_factory=Money)
    exits: Exits = field(default_factory=Exits)
    survey: Survey = field(default_factory=Survey)
    rollout: Rollout = field(default_factory=Rollout)
    recovery: Recovery = field(default_factory=Recovery)
    calendar: Calendar = field(default_factory=Calendar)
    touchpoints: Touchpoints = field(default_factory=Touchpoints)
    referrals: Referrals = field(default_factory=Referrals)
    accounts: Accounts = field(default_factory=Accounts)
    funnel: Funnel = field(default_factory=Funnel)

    def __post_init__(self) -> None:
        if faults := _faults(self):
            raise RoxError("This bank cannot be simulated.", faults)

    @property
    def segment_names(self) -> tuple[str, ...]:
        """The segments' names in order."""
        return tuple(segment.name for segment in self.segments)

    @property
    def sampled(self) -> tuple[int, ...]:
        """Customers of the extract by segment; what rounding leaves over goes to the first."""
        counts = [int(segment.sample_share * self.customers + 1e-9) for segment in self.segments]
        counts[0] += self.customers - sum(counts)
        return tuple(counts)

    @property
    def design_weights(self) -> tuple[float, ...]:
        """Customers of the bank per customer of the extract, by segment; 0 where none is in the extract."""
        pairs = zip(self.segments, self.sampled, strict=True)
        return tuple(segment.population_share * self.population / n if n else 0.0 for segment, n in pairs)

    @property
    def first_month(self) -> np.datetime64:
        """The first month of the window."""
        return np.datetime64(self.start, "M")


def _faults(config: BankConfig) -> list[str]:
    """List every dial that is out of range."""
    faults = [
        f"{name}: got {getattr(config, name)}; needs at least {least}"
        for name, least in (("seed", 0), ("customers", 1), ("months", 1), ("burn_in", 4), ("branches", 1))
        if getattr(config, name) < least
    ]
    try:
        config.first_month.astype(int)
    except ValueError:
        faults.append(f"start: got {config.start!r}; needs a month such as '2023-01'")
    return [
        *faults,
        *_segment_faults(config),
        *_group_faults(config),
        *_account_faults(config.accounts),
        *funnel_faults(config.funnel),
    ]


def _segment_faults(config: BankConfig) -> list[str]:
    segments, faults = config.segments, []
    for name in ("population_share", "sample_share"):
        total = sum(getattr(segment, name) for segment in segments)
        if abs(total - 1) > 1e-9:
            faults.append(f"segments: {name} adds up to {total:.6g}; needs to be 1")
    for segment in segments:
        for name in ("voluntary_exit", "other_exit", "zero_entry", "invited", "sample_share", "population_share"):
            if not 0 <= getattr(segment, name) <= 1:
                faults.append(f"segments.{segment.name}.{name}: got {getattr(segment, name)}; needs 0 to 1")
        if segment.aum_median <= 0:
            faults.append(f"segments.{segment.name}.aum_median: got {segment.aum_median}; needs to be positive")
        if segment.pareto_tail != 0 and segment.pareto_tail <= 1:
            faults.append(
                f"segments.{segment.name}.pareto_tail: got {segment.pareto_tail}; needs 0, or above 1 for a mean"
            )
    if config.customers >= 1:
        for segment, sampled in zip(segments, config.sampled, strict=True):
            if sampled >= segment.population_share * config.population + 1:
                faults.append(
                    f"population: {config.population} has fewer {segment.name} customers than the extract; raise it"
                )
    return faults


def _group_faults(config: BankConfig) -> list[str]:
    rollout, faults = config.rollout, []
    if len(rollout.starts) != len(rollout.effects):
        faults.append(
            f"rollout: {len(rollout.starts)} starts but {len(rollout.effects)} effects; give one effect per start"
        )
    if list(rollout.starts) != sorted(set(rollout.starts)):
        faults.append(f"rollout.starts: got {rollout.starts}; needs ascending months")
    if rollout.selection not in get_args(Selection):
        faults.append(f"rollout.selection: got {rollout.selection!r}; needs one of {', '.join(get_args(Selection))}")
    if rollout.selection == "dip" and rollout.starts and rollout.starts[0] + config.burn_in < 3:
        faults.append("rollout.selection: 'dip' looks at the three months before the first start; start later")
    if rollout.ramp < 1:
        faults.append(f"rollout.ramp: got {rollout.ramp}; needs at least 1")
    if config.survey.every < 1:
        faults.append(f"survey.every: got {config.survey.every}; needs at least 1")
    if config.money.shock_df <= 2:
        faults.append(f"money.shock_df: got {config.money.shock_df}; needs more than 2 for a variance")
    if len(config.traits.driver_weights) != len(DRIVERS):
        faults.append(
            f"traits.driver_weights: got {len(config.traits.driver_weights)}; needs {len(DRIVERS)}, one per driver"
        )
    for name in ("conversion", "displacement"):
        if not 0 <= getattr(config.referrals, name) <= 1:
            faults.append(f"referrals.{name}: got {getattr(config.referrals, name)}; needs 0 to 1")
    if config.referrals.days < 1:
        faults.append(f"referrals.days: got {config.referrals.days}; needs at least 1")
    return faults


def _account_faults(accounts: Accounts) -> list[str]:
    roles, faults = accounts.roles, []
    names = [role.name for role in roles]
    if len(set(names)) < len(names):
        faults.append(f"accounts.roles: got {names}; every role needs a name of its own")
    for role in roles:
        if role.weight <= 0:
            faults.append(f"accounts.roles.{role.name}.weight: got {role.weight}; needs to be positive")
        if not 0 <= role.least <= role.most:
            faults.append(f"accounts.roles.{role.name}: {role.least} to {role.most} people; needs 0 or more, in order")
    if roles and not any(role.least for role in roles):
        faults.append("accounts.roles: an account may have nobody; needs a role with at least one person")
    for name in ("shock_memory", "engagement"):
        if not 0 <= getattr(accounts, name) <= 1:
            faults.append(f"accounts.{name}: got {getattr(accounts, name)}; needs 0 to 1")
    return faults
