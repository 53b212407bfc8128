"""The tables a bank would hand over: nothing latent, dates and identifiers as in real exports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from rox.core.errors import RoxError
from rox.simulate.bank import NO_TOPIC, VOLUNTARY, Bank
from rox.simulate.dates import Dates, draw_dates, month_starts, uniform
from rox.simulate.dials import DRIVERS
from rox.simulate.draws import Array
from rox.simulate.funnel import open_accounts
from rox.simulate.people import NEVER
from rox.simulate.referrals import referrals
from rox.simulate.rows import branch_names, days, numbered, rows
from rox.simulate.survey_tables import answers, contacts, invitations, retests

INITIATIVE = "branch_refit"
EXTRA = ("funnel", "referrals", "retests")
"""Tables made when asked for: applicants of the account-opening funnel, referrals, and answers asked for again."""
_FEEDBACK_CHANNELS = ("app", "hotline", "branch")
_OWNERS = (
    "branch_operations",
    "digital_banking",
    "wealth_management",
    "product_management",
    "pricing",
    "customer_care",
)
_VOLUNTARY = ("moved_to_competitor", "fees", "service", "closed_unused")
_OTHER = ("death", "relocation", "bank_initiated")
_OTHER_OF_ACCOUNTS = ("insolvency", "relocation", "bank_initiated")
_NOTES: Mapping[str, str] = {
    "random": "order drawn by lot",
    "dip": "branches with the worst recent scores first",
    "trend": "branches with the fastest growth first",
}


def tables(bank: Bank, *, extra: Sequence[str] = ()) -> dict[str, pd.DataFrame]:
    """Give the tables of a bank's export.

    Args:
        bank: A simulated bank.
        extra: Tables of ``EXTRA`` that are wanted besides; those always there do not change by it.

    Returns:
        ``customers``, ``invitations``, ``answers``, ``feedback``, ``events``, ``ledger``, ``exits``, ``initiatives``
        and ``tickets``; where accounts have several contacts, ``contacts``; and what ``extra`` names. Dates are
        ``datetime64[s]``, money is CNY rounded to the cent, missing values are missing.

    Raises:
        RoxError: A name in ``extra`` is not one of ``EXTRA``.
    """
    if unknown := [name for name in extra if name not in EXTRA]:
        raise RoxError("Some tables cannot be made.", [f"{name!r}: choose from {', '.join(EXTRA)}" for name in unknown])
    dates = draw_dates(bank)
    made = {
        "customers": _customers(bank, dates),
        "invitations": invitations(bank, dates),
        "answers": answers(bank, dates),
        "feedback": _feedback(bank, dates),
        "events": _events(bank, dates),
        "ledger": _ledger(bank, dates),
        "exits": _exits(bank, dates),
        "initiatives": _initiatives(bank, dates),
        "tickets": _tickets(bank, dates),
    }
    if bank.panel is not None:
        made["contacts"] = contacts(bank, bank.panel)
    if "funnel" in extra:
        made["funnel"] = open_accounts(bank.config).table()
    if "referrals" in extra:
        made["referrals"] = referrals(bank, dates)
    if "retests" in extra:
        made["retests"] = retests(bank, dates)
    return made


def promotions(bank: Bank) -> pd.DataFrame:
    """Give the calendar of promotions: ``month`` and ``branch_id`` of each branch with one."""
    running = bank.branches.promotion[bank.config.burn_in :][:, bank.branches.region]
    month, branch = np.nonzero(running)
    return pd.DataFrame({"month": days(month_starts(bank)[month]), "branch_id": branch_names(branch)})


def _customers(bank: Bank, dates: Dates) -> pd.DataFrame:
    people, config = bank.customers, bank.config
    year = int(config.start[:4])
    frame = pd.DataFrame(
        {
            "customer_id": people.identifier,
            "segment": np.array(config.segment_names)[people.segment],
            "branch_id": branch_names(people.branch),
            "opened": days(dates.opened),
            "birth_year": year - people.age.astype(int),
            "products": people.products,
            "digital_logins": people.logins.round(3),
            "design_weight": bank.design_weight.round(4),
        }
    )
    if bank.panel is not None:
        frame = frame.drop(columns="birth_year")
    return frame.sort_values("customer_id", ignore_index=True)


def _feedback(bank: Bank, dates: Dates) -> pd.DataFrame:
    channel = (uniform(bank, "feedback channel") * len(_FEEDBACK_CHANNELS)).astype(int)
    topic = (uniform(bank, "feedback topic") * len(DRIVERS)).astype(int)
    complaint = np.where(bank.incident != NO_TOPIC, bank.incident, 0)
    parts = []
    for kind, happened, day, about in (
        ("complaint", bank.complained, dates.complained, complaint),
        ("praise", bank.praised, dates.praised, topic),
        ("suggestion", bank.suggested, dates.suggested, topic),
    ):
        at = np.nonzero(happened)
        part = {
            "customer_id": bank.customers.identifier[at[1]],
            "received": days(day[at]),
            "kind": kind,
            "channel": np.array(_FEEDBACK_CHANNELS)[channel[at]],
            "topic": np.array(DRIVERS)[about[at]],
        }
        parts.append(pd.DataFrame(part))
    frame = pd.concat(parts).sort_values(["received", "customer_id", "kind"], ignore_index=True)
    frame.insert(0, "feedback_id", numbered("F", len(frame)))
    return frame


def _events(bank: Bank, dates: Dates) -> pd.DataFrame:
    parts = []
    for event, counts in (
        ("branch_visit", bank.visits),
        ("login", bank.logins),
        ("transfer_failed", bank.failed_transfers),
    ):
        at = np.nonzero(counts)
        columns = {
            "customer_id": bank.customers.identifier[at[1]],
            "month": days(dates.months[at[0]]),
            "event": event,
            "count": counts[at].astype(np.int32),
        }
        parts.append(pd.DataFrame(columns))
    return pd.concat(parts).sort_values(["event", "customer_id", "month"], ignore_index=True)


def _ledger(bank: Bank, dates: Dates) -> pd.DataFrame:
    order = np.argsort(bank.customers.identifier)
    row, month = np.nonzero(bank.active[:, order].T)
    at = (month, order[row])
    return pd.DataFrame(
        {
            "customer_id": bank.customers.identifier[at[1]],
            "month": days(dates.months[month]),
            "aum": bank.aum[at].round(2),
            "revenue": bank.revenue[at].round(2),
            "contacts": bank.contacts[at].astype(np.int32),
        }
    )


def _exits(bank: Bank, dates: Dates) -> pd.DataFrame:
    left = np.flatnonzero(bank.exit_month < NEVER)
    at = (bank.exit_month[left], left)
    chance = uniform(bank, "reason", (bank.config.customers,))[left]
    poor, empty = bank.experience[at] < 6, bank.empty[at]
    voluntary = np.stack([np.full(len(left), 0.50), np.full(len(left), 0.15), 0.10 + 0.30 * poor, 0.10 + 0.90 * empty])
    old = bank.customers.age[left] > 65
    other = np.stack([0.10 + 0.60 * old, np.full(len(left), 0.50), 0.10 + 0.20 * empty])
    reason = np.where(
        bank.exit_cause[left] == VOLUNTARY,
        np.array(_VOLUNTARY)[_pick(voluntary, chance)],
        np.array(_OTHER if bank.panel is None else _OTHER_OF_ACCOUNTS)[_pick(other, chance)],
    )
    frame = pd.DataFrame(
        {"customer_id": bank.customers.identifier[left], "exited": days(dates.exited[left]), "reason": reason}
    )
    return frame.sort_values(["exited", "customer_id"], ignore_index=True)


def _pick(weights: Array, chance: Array) -> Array:
    """Choose a row of the weights for each column, by chance."""
    cumulated = np.cumsum(weights, axis=0)
    return np.asarray((chance * cumulated[-1] >= cumulated[:-1]).sum(axis=0))


def _initiatives(bank: Bank, dates: Dates) -> pd.DataFrame:
    happens = bank.intervention.rollout & (bank.branches.start < bank.config.months)
    branch = np.flatnonzero(happens)
    return pd.DataFrame(
        {
            "initiative": [INITIATIVE] * len(branch),
            "branch_id": branch_names(branch),
            "start": days(dates.months[bank.branches.start[branch]]),
            "note": [_NOTES[bank.config.rollout.selection]] * len(branch),
        }
    )


def _tickets(bank: Bank, dates: Dates) -> pd.DataFrame:
    at = rows(bank.customers.identifier, bank.eligible, dates.ticketed)
    known = bank.called[at] & (dates.called[at] < dates.months[-1])
    called = np.where(known, dates.called[at], np.datetime64("NaT", "D"))
    return pd.DataFrame(
        {
            "ticket_id": numbered("T", len(at[0])),
            "customer_id": bank.customers.identifier[at[1]],
            "opened": days(dates.ticketed[at]),
            "source": np.where(bank.complained[at], "complaint", "answer"),
            "eligible": np.ones(len(at[0]), int),
            "hold_out": bank.customers.held_out[at[1]].astype(int),
            "contacted": days(called),
            "owner": np.array(_OWNERS)[_owners(bank, at)],
        }
    )


def _owners(bank: Bank, at: tuple[Array, Array]) -> Array:
    """Give each ticket to the department of the complaint's topic or of the lowest rating; without one, to care."""
    wave = np.minimum(at[0] // bank.config.survey.every, max(len(bank.ratings) - 1, 0))
    ratings = bank.ratings[wave, at[1]]
    worst = np.where(
        np.isnan(ratings).all(axis=1), len(DRIVERS), np.where(np.isnan(ratings), 11, ratings).argmin(axis=1)
    )
    return np.where(bank.complained[at], bank.incident[at], worst)
