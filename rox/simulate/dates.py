"""On which day of its month each thing happened."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rox.simulate.bank import Bank
from rox.simulate.contacts import ContactPanel
from rox.simulate.draws import Array, stream
from rox.simulate.people import NEVER

_ANSWER_DAYS = 10
_CALL_DAYS = 14
_DAY = np.timedelta64(1, "D")
_MONTH = np.timedelta64(1, "M")
_LONG_AGO, _FAR_AHEAD = np.datetime64("0001-01-01", "D"), np.datetime64("9999-01-01", "D")


@dataclass(frozen=True, kw_only=True)
class Dates:
    """When in its month each thing happened, as days; arrays ``(months, customers)`` unless said.

    Attributes:
        months: First day of each month, one more than the window has, ``(months + 1,)``.
        opened: Day of the opening, ``(customers,)``.
        sent: Invitation.
        answered: Answer.
        complained: Complaint.
        praised: Praise.
        suggested: Suggestion.
        ticketed: Opening of the ticket: the complaint, or else the low answer.
        called: Call that followed the ticket.
        exited: Day of the exit, ``(customers,)``; not-a-time without one.
        answered_by_contact: Answer of each contact of an account, ``(months, contacts)``; ``answered`` is then the last
            one of the account. Nothing where customers answer for themselves.
    """

    months: Array
    opened: Array
    sent: Array
    answered: Array
    complained: Array
    praised: Array
    suggested: Array
    ticketed: Array
    called: Array
    exited: Array
    answered_by_contact: Array | None = None


def uniform(bank: Bank, purpose: str, shape: tuple[int, ...] | None = None) -> Array:
    """Draw a number in [0, 1) for every month and customer, so that what happens to one leaves the others alone."""
    return stream(bank.config.seed, f"table {purpose}").random(shape or bank.active.shape)


def month_starts(bank: Bank) -> Array:
    """Give the first day of each month of the window and of the one after it."""
    months = bank.config.first_month + np.arange(bank.config.months + 1) * _MONTH
    return months.astype("datetime64[D]")


def _days(share: Array, count: int | Array) -> Array:
    """Turn a share in [0, 1) into one of so many days from 0."""
    days: Array = np.floor(share * count).astype(int) * _DAY
    return days


def draw_dates(bank: Bank) -> Dates:
    """Place everything within its month: after the opening, before the exit, a call within two weeks of its ticket."""
    n, months = bank.config.customers, month_starts(bank)
    first, after = months[:-1, None], months[1:, None]
    opening = bank.config.first_month + bank.customers.opened * _MONTH
    since, until = opening.astype("datetime64[D]"), (opening + _MONTH).astype("datetime64[D]")
    opened = since + _days(uniform(bank, "opening", (n,)), (until - since) // _DAY)
    earliest = np.clip(opened, first, after - _DAY)

    def within(purpose: str) -> Array:
        day: Array = earliest + _days(uniform(bank, purpose), (after - earliest) // _DAY)
        return day

    sent = first + 2 * _DAY + _days(uniform(bank, "invitation"), 12)
    if bank.panel is None:
        answered = sent + _days(uniform(bank, "answer") ** 2, _ANSWER_DAYS)
        low_answer, by_contact = answered, None
    else:
        by_contact = _answers_of_contacts(bank, bank.panel, sent)
        answered, low_answer = _first_and_last(bank.panel, by_contact)
    complained = within("complaint")
    ticketed = np.where(bank.complained, complained, low_answer)
    called = ticketed + _DAY + _days(uniform(bank, "call"), _CALL_DAYS)
    leaving = np.arange(bank.config.months)[:, None] == bank.exit_month
    called = np.where(leaving, np.minimum(called, after - _DAY), called)
    dated = {
        "sent": (sent, bank.invited),
        "answered": (answered, bank.answered),
        "complained": (complained, bank.complained),
        "praised": (within("praise"), bank.praised),
        "suggested": (within("suggestion"), bank.suggested),
        "called": (called, bank.called),
    }
    exited = _exit_days(bank, months, opened, list(dated.values()))
    return Dates(
        months=months,
        opened=opened,
        ticketed=ticketed,
        exited=exited,
        answered_by_contact=by_contact,
        **{name: day for name, (day, _) in dated.items()},
    )


def _answers_of_contacts(bank: Bank, panel: ContactPanel, sent: Array) -> Array:
    """Draw the day of each contact's answer; all contacts of an account are invited on one day."""
    chance = uniform(bank, "answer of contact", panel.answered.shape)
    days: Array = sent[:, panel.contacts.account] + _days(chance**2, _ANSWER_DAYS)
    return days


def _first_and_last(panel: ContactPanel, answered: Array) -> tuple[Array, Array]:
    """Give the day of each account's last answer, and of the first one of 6 or less; far apart where there is none."""
    low, first = panel.answered & (panel.score <= 6), panel.contacts.first
    last = np.maximum.reduceat(np.where(panel.answered, answered, _LONG_AGO), first, axis=1)
    return last, np.minimum.reduceat(np.where(low, answered, _FAR_AHEAD), first, axis=1)


def _exit_days(bank: Bank, months: Array, opened: Array, dated: list[tuple[Array, Array]]) -> Array:
    """Draw the day of each exit in its month, not before the last thing known of the customer."""
    left = np.flatnonzero(bank.exit_month < NEVER)
    month = bank.exit_month[left]
    least = np.maximum(months[month], opened[left])
    for day, happened in dated:
        for at in (month, np.maximum(month - 1, 0)):
            least = np.where(happened[at, left], np.maximum(least, day[at, left]), least)
    chance = uniform(bank, "exit", (bank.config.customers,))[left]
    exited = np.full(bank.config.customers, np.datetime64("NaT", "D"))
    exited[left] = least + _days(chance, (months[month + 1] - least) // _DAY)
    return exited
