"""The tables of a survey: invitations, answers, retests, and the contacts of accounts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import expit

from rox.simulate.bank import Bank
from rox.simulate.contacts import ContactPanel
from rox.simulate.dates import Dates, uniform
from rox.simulate.dials import DRIVERS
from rox.simulate.draws import Array
from rox.simulate.rows import days, numbered, rows

_CHANNELS = ("app", "sms", "email")


@dataclass(frozen=True, kw_only=True, eq=False)
class _Asked:
    """Who is asked and what they say: customers, or the contacts of accounts; arrays ``(months, respondents)``.

    Attributes:
        customer: Identifier of the customer or account, ``(respondents,)``.
        names: The columns that say who a row is about, with their values, ``(respondents,)`` each.
        logins: The observed proxy of engagement, ``(respondents,)``.
        channel: Draws that pick the channel of an invitation.
        sent: Day of the invitation.
        invited: Whether there is one.
        day: Day of the answer.
        answered: Whether there is one.
        given: The answers by name.
        retest: The answer given again.
        ratings: The ratings, ``(waves, respondents, drivers)``.
    """

    customer: Array
    names: dict[str, Array]
    logins: Array
    channel: Array
    sent: Array
    invited: Array
    day: Array
    answered: Array
    given: dict[str, Array]
    retest: Array
    ratings: Array

    @classmethod
    def of(cls, bank: Bank, dates: Dates) -> _Asked:
        people, panel = bank.customers, bank.panel
        if panel is None or dates.answered_by_contact is None:
            return cls(
                customer=people.identifier,
                names={"customer_id": people.identifier},
                logins=people.logins,
                channel=uniform(bank, "channel"),
                sent=dates.sent,
                invited=bank.invited,
                day=dates.answered,
                answered=bank.answered,
                given={"nps": bank.score, "csat": bank.csat, "ces": bank.ces},
                retest=bank.retest,
                ratings=bank.ratings,
            )
        account = panel.contacts.account
        return cls(
            customer=people.identifier[account],
            names={"customer_id": people.identifier[account], "contact_id": panel.contacts.identifier},
            logins=people.logins[account],
            channel=uniform(bank, "channel of contact", panel.invited.shape),
            sent=dates.sent[:, account],
            invited=panel.invited,
            day=dates.answered_by_contact,
            answered=panel.answered,
            given={"nps": panel.score, "csat": panel.csat, "ces": panel.ces},
            retest=panel.retest,
            ratings=panel.ratings,
        )

    def about(self, who: Array) -> dict[str, Array]:
        return {name: values[who] for name, values in self.names.items()}

    def answers(self) -> tuple[Array, Array]:
        """Give month and respondent of each answer, in the order of the table."""
        return rows(self.customer, self.answered, self.day)


def invitations(bank: Bank, dates: Dates) -> pd.DataFrame:
    """Give one row per invitation."""
    asked = _Asked.of(bank, dates)
    at = rows(asked.customer, asked.invited, asked.sent)
    by_app = expit(0.3 + 0.8 * asked.logins[at[1]])
    channel = np.searchsorted([0.0, 0.7], (asked.channel[at] - by_app) / (1 - by_app), side="right")
    return pd.DataFrame(
        {
            "invitation_id": numbered("I", len(at[0])),
            **asked.about(at[1]),
            "sent": days(asked.sent[at]),
            "channel": np.array(_CHANNELS)[channel],
        }
    )


def answers(bank: Bank, dates: Dates) -> pd.DataFrame:
    """Give one row per answered invitation."""
    asked = _Asked.of(bank, dates)
    at, invited = asked.answers(), rows(asked.customer, asked.invited, asked.sent)
    number = np.zeros(asked.invited.shape, int)
    number[invited] = np.arange(len(invited[0]))
    wave = at[0] // bank.config.survey.every
    whole = {name: values[at] for name, values in asked.given.items()}
    whole |= {driver: asked.ratings[wave, at[1], k] for k, driver in enumerate(DRIVERS)}
    return pd.DataFrame(
        {
            "answer_id": numbered("A", len(at[0])),
            "invitation_id": np.array(numbered("I", len(invited[0])))[number[at]],
            **asked.about(at[1]),
            "answered": days(asked.day[at]),
        }
        | {name: pd.array(values, dtype="Int64") for name, values in whole.items()}
    )


def retests(bank: Bank, dates: Dates) -> pd.DataFrame:
    """Give one row per answer that was asked for again on the same day: what the two differ by is noise."""
    asked = _Asked.of(bank, dates)
    at = asked.answers()
    again = asked.retest[at]
    kept = np.flatnonzero(~np.isnan(again))
    return pd.DataFrame(
        {
            "answer_id": np.array(numbered("A", len(again)), dtype=object)[kept],
            **asked.about(at[1][kept]),
            "answered": days(asked.day[at][kept]),
            "nps": pd.array(again[kept], dtype="Int64"),
        }
    )


def contacts(bank: Bank, panel: ContactPanel) -> pd.DataFrame:
    """Give one row per contact of an account; weights add up to 1 in an account."""
    people = panel.contacts
    frame = pd.DataFrame(
        {
            "contact_id": people.identifier,
            "customer_id": bank.customers.identifier[people.account],
            "role": np.array([role.name for role in bank.config.accounts.roles])[people.role],
            "weight": people.weight.round(4),
        }
    )
    return frame.sort_values(["customer_id", "contact_id"], ignore_index=True)
