"""What a simulated bank is: everything that happened, and what only the simulator knows."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from rox.simulate.config import BankConfig
from rox.simulate.contacts import ContactPanel
from rox.simulate.draws import Array
from rox.simulate.people import NEVER, Branches, Customers

NO_TOPIC = 255
STAYED, VOLUNTARY, OTHER = 0, 1, 2
"""Causes of an exit."""


@dataclass(frozen=True, kw_only=True)
class Intervention:
    """What is done to a bank; the default leaves it as configured.

    Attributes:
        shift: Points of latent experience added for everybody.
        shift_from: First month of the shift, which then stays.
        rollout: Whether the branches are refitted.
        recovery: Whether calls of the closed loop help. Tickets are opened and called all the same.
    """

    shift: float = 0.0
    shift_from: int = 0
    rollout: bool = True
    recovery: bool = True


@dataclass(frozen=True, kw_only=True, eq=False)
class Bank:
    """A simulated bank, month by month.

    Arrays have shape ``(months, customers)`` unless said, and are read-only. Paths of experience, balances and the
    answers somebody *would* give go on after an exit, as if the customer had stayed: with them an effect can be
    averaged over the probability of an exit rather than over the luck of one. All else is nothing outside ``active``.

    Where accounts have several contacts, the experience of an account is the role-weighted mean of theirs, and so are
    ``score``, ``csat``, ``ces`` and ``ratings``; ``invited`` and ``answered`` say whether anybody was or did.

    Attributes:
        config: The dials.
        intervention: What was done.
        customers: What is fixed about each customer.
        branches: The branches and the roll-out.
        market: Cumulated log return of the market, ``(months,)``.
        opened: Whether the account has been opened.
        active: Whether the customer is in the bank; the month of an exit still counts.
        experience: Latent experience.
        balance: Money at the end of the month, CNY, had the customer stayed and held any.
        empty: Whether a spell of zero balance covers the month.
        empty_entry: Probability of entering such a spell.
        log_survival: Log probability of being here at the start of the month, given the customer's path.
        exit_month: Month of the exit, ``NEVER`` without one, ``(customers,)``.
        exit_cause: ``STAYED``, ``VOLUNTARY`` or ``OTHER``, ``(customers,)``.
        score: The answer from 0 to 10 each customer would give; NaN before the account is open.
        csat: The satisfaction answer from 1 to 5 likewise, in wave months; elsewhere NaN.
        ces: The ease answer from 1 to 7 likewise; 7 is easiest.
        ratings: The ratings of ``DRIVERS`` from 0 to 10 likewise, ``(waves, customers, drivers)``; NaN if left empty.
        invited: Whether asked in this wave.
        answered: Whether an answer came.
        retest: A second answer given at once, with noise of its own; NaN elsewhere.
        incident: Position in ``DRIVERS`` of an incident's topic, ``NO_TOPIC`` without one.
        complained: Whether the incident was complained about.
        praised: Whether praise came in.
        suggested: Whether a suggestion came in.
        eligible: Whether a complaint or a low answer opened a ticket.
        called: Whether the ticket was called.
        referred: Whether the customer referred somebody.
        contacts: Service contacts.
        logins: Logins.
        failed_transfers: Failed transfers.
        visits: Branch visits.
        revenue: Revenue of the month, CNY.
        panel: The contacts of accounts and their answers; nothing where customers answer for themselves.
    """

    config: BankConfig
    intervention: Intervention
    customers: Customers
    branches: Branches
    market: Array
    opened: Array
    active: Array
    experience: Array
    balance: Array
    empty: Array
    empty_entry: Array
    log_survival: Array
    exit_month: Array
    exit_cause: Array
    score: Array
    csat: Array
    ces: Array
    ratings: Array
    invited: Array
    answered: Array
    retest: Array
    incident: Array
    complained: Array
    praised: Array
    suggested: Array
    eligible: Array
    called: Array
    referred: Array
    contacts: Array
    logins: Array
    failed_transfers: Array
    visits: Array
    revenue: Array
    panel: ContactPanel | None = None

    def __post_init__(self) -> None:
        of_contacts = () if self.panel is None else (self.panel, self.panel.contacts)
        for owner in (self, self.customers, self.branches, *of_contacts):
            for item in fields(owner):
                if isinstance(value := getattr(owner, item.name), np.ndarray):
                    value.setflags(write=False)

    @property
    def aum(self) -> Array:
        """Money at the end of each month as a ledger shows it, CNY: zero in an empty spell and outside the stay."""
        return np.where(self.active & ~self.empty, self.balance, 0.0)

    @property
    def refit(self) -> Array:
        """Month in which each customer's branch is refitted, ``NEVER`` without one, ``(customers,)``."""
        start = self.branches.start if self.intervention.rollout else np.full_like(self.branches.start, NEVER)
        return start[self.customers.branch]

    @property
    def design_weight(self) -> Array:
        """Customers of the bank that each sampled one stands for, ``(customers,)``."""
        return np.array(self.config.design_weights)[self.customers.segment]
