"""Several people who answer for one account: who they are, what they feel, and what they tick."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from rox.simulate.config import BankConfig
from rox.simulate.dials import DRIVERS, Role
from rox.simulate.draws import Array, MonthlyDraws, stream
from rox.simulate.people import Customers
from rox.simulate.survey import ask, rate, score_answer


@dataclass(frozen=True, kw_only=True, eq=False)
class Contacts:
    """The contacts of all accounts, account by account; arrays have shape ``(contacts,)``.

    Attributes:
        identifier: Text; says nothing about the contact.
        account: Position of the account among the customers.
        role: Position in ``Accounts.roles``.
        weight: Share of the account's experience that is this contact's; adds up to 1 in an account.
        offset: Points by which the contact's experience differs from the account's common part, by month,
            ``(burn_in + months, contacts)``.
        segment: The account's segment.
        engagement: Standardised, unobserved.
        style: Points by which the contact answers high or low as a habit.
        careless: Whether the contact always ticks the best answer.
        age: Years.
        opened: Month the account was opened.
        drivers: The account's experience of each of ``DRIVERS``, ``(contacts, drivers)``.
    """

    identifier: Array
    account: Array
    role: Array
    weight: Array
    offset: Array
    segment: Array
    engagement: Array
    style: Array
    careless: Array
    age: Array
    opened: Array
    drivers: Array

    @property
    def first(self) -> Array:
        """Position of the first contact of each account, ``(customers,)``."""
        return np.searchsorted(self.account, np.arange(self.account[-1] + 1))

    def pooled(self, values: Array) -> Array:
        """Give the role-weighted mean by account of values whose last axis is the contacts."""
        return np.asarray(np.add.reduceat(self.weight * values, self.first, axis=-1))


@dataclass(frozen=True, kw_only=True, eq=False)
class ContactPanel:
    """Contacts and their months; arrays have shape ``(months, contacts)`` unless said.

    Attributes:
        contacts: Who they are.
        experience: Latent experience.
        score: The answer from 0 to 10 each would give; NaN before the account is open.
        csat: The satisfaction answer likewise, in wave months; elsewhere NaN.
        ces: The ease answer likewise.
        ratings: The ratings of ``DRIVERS`` likewise, ``(waves, contacts, drivers)``; NaN if left empty.
        invited: Whether asked in this wave.
        answered: Whether an answer came.
        retest: A second answer given at once; NaN elsewhere.
    """

    contacts: Contacts
    experience: Array
    score: Array
    csat: Array
    ces: Array
    ratings: Array
    invited: Array
    answered: Array
    retest: Array


def draw_contacts(config: BankConfig, customers: Customers) -> Contacts | None:
    """Draw the contacts of every account; none in a bank whose customers answer for themselves."""
    dials, n = config.accounts, config.customers
    if not dials.roles:
        return None
    rng = stream(config.seed, "contacts")
    counts = _counts(dials.roles, rng.random((n, len(dials.roles))))
    account = np.repeat(np.arange(n), counts.sum(axis=1))
    role = np.repeat(np.tile(np.arange(len(dials.roles)), n), counts.ravel())
    size = len(account)
    share = counts * np.array([one.weight for one in dials.roles]) / np.maximum(counts, 1)
    weight = (share / share.sum(axis=1, keepdims=True) / np.maximum(counts, 1))[account, role]
    engagement = np.sqrt(dials.engagement) * customers.engagement[account]
    number = rng.choice(9_000_000, size=size, replace=False) + 1_000_000
    return Contacts(
        identifier=np.array([f"P{each}" for each in number]),
        account=account,
        role=role,
        weight=weight,
        offset=_offsets(config, role),
        segment=customers.segment[account],
        engagement=engagement + np.sqrt(1 - dials.engagement) * rng.standard_normal(size),
        style=config.survey.style_sd * rng.standard_normal(size),
        careless=rng.random(size) < config.survey.careless,
        age=np.clip(rng.normal(43, 9, size), 22, 67),
        opened=customers.opened[account],
        drivers=customers.drivers[account],
    )


def _counts(roles: tuple[Role, ...], chance: Array) -> Array:
    """Give the number of people by account and role, ``(customers, roles)``."""
    least, most = (np.array([getattr(role, name) for role in roles]) for name in ("least", "most"))
    return np.asarray(least + (chance * (most - least + 1)).astype(int))


def _offsets(config: BankConfig, role: Array) -> Array:
    """Draw by how much each contact's experience differs from the account's, month by month."""
    dials, months = config.accounts, config.burn_in + config.months
    rng, memory = stream(config.seed, "contact experience"), config.accounts.shock_memory
    of_role = np.array([one.experience for one in dials.roles])[role]
    lasting = of_role + dials.lasting_sd * rng.standard_normal(len(role))
    shock = dials.shock_sd * rng.standard_normal((months, len(role)))
    for k in range(1, months):
        shock[k] = memory * shock[k - 1] + np.sqrt(1 - memory**2) * shock[k]
    return np.asarray(lasting + shock)


class ContactSurvey:
    """Asks the contacts of accounts, month after month, and keeps what they say.

    Args:
        config: The dials.
        contacts: Who may be asked.
    """

    def __init__(self, config: BankConfig, contacts: Contacts) -> None:
        self._config, self._contacts = config, contacts
        self._draws = MonthlyDraws(config, contacts=len(contacts.account))
        self._lean = np.array([role.response for role in config.accounts.roles])[contacts.role]
        self._pull = contacts.pooled(contacts.offset)
        self._months: list[dict[str, Array]] = []
        self._ratings: list[Array] = []

    def pull(self, k: int) -> Array:
        """Give the points by which its contacts move each account's experience in month ``k`` of burn-in and window."""
        return np.asarray(self._pull[k])

    def skip(self) -> None:
        """Pass a month of the burn-in: its draws are taken and not used."""
        self._draws.next(wave=False)

    def month(
        self, experience: Array, opened: Array, active: Array, refit_gain: Array, month: int, *, wave: bool
    ) -> dict[str, Array]:
        """Let the contacts answer in a month of the window.

        Args:
            experience: Experience of the accounts, ``(customers,)``: the role-weighted mean of their contacts'.
            opened: Whether the account is open.
            active: Whether it is in the bank.
            refit_gain: Points it owes to a refit.
            month: The month.
            wave: Whether it has a wave.

        Returns:
            By account: ``score``, ``csat``, ``ces``, means by role weight of what everybody would answer; ``invited``
            and ``answered``, whether anybody was or did; ``low``, whether anybody answered 6 or less; ``retest``, which
            is empty; in a wave ``ratings``, means of those given.
        """
        config, contacts, account = self._config, self._contacts, self._contacts.account
        drawn, k = self._draws.next(wave=wave), month + config.burn_in
        felt = experience[account] - self._pull[k][account] + contacts.offset[k]
        answer = score_answer(config, contacts, felt, drawn["score_noise"])
        said = {"experience": felt, "score": np.where(opened[account], answer, np.nan)}
        said |= ask(config, contacts, felt, opened[account], drawn, month, wave=wave, lean=self._lean)
        here = active[account]
        said |= {name: said[name] & here for name in ("invited", "answered")}
        said["retest"] = np.where(here, said["retest"], np.nan)
        self._months.append(said)
        found = {name: contacts.pooled(said[name]) for name in ("score", "csat", "ces")}
        low = said["answered"] & (said["score"] <= 6)
        for name, happened in (("invited", said["invited"]), ("answered", said["answered"]), ("low", low)):
            found[name] = np.logical_or.reduceat(happened, contacts.first)
        found["retest"] = np.full(len(opened), np.nan)
        if wave:
            given = rate(config, contacts, felt, refit_gain[account], drawn)
            self._ratings.append(given)
            found["ratings"] = self._mean_rating(given)
        return found

    def _mean_rating(self, given: Array) -> Array:
        """Average the ratings given by role weight, ``(customers, drivers)``; NaN where nobody gave one."""
        total = self._contacts.pooled(np.nan_to_num(given).T)
        weight = self._contacts.pooled((~np.isnan(given)).astype(float).T)
        return np.asarray(np.divide(total, weight, out=np.full_like(total, np.nan), where=weight > 0).T)

    def panel(self) -> ContactPanel:
        """Give everything said so far."""
        size, kinds = len(self._contacts.account), {"experience": np.float32, "score": np.float32, "csat": np.float32}
        kinds |= {"ces": np.float32, "retest": np.float32}
        said: Mapping[str, Array] = {
            name: np.array([month[name] for month in self._months], kinds.get(name, bool)) for name in self._months[0]
        }
        ratings = np.array(self._ratings, np.float32).reshape(-1, size, len(DRIVERS))
        return ContactPanel(contacts=self._contacts, ratings=ratings, **said)
