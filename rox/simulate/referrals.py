"""Referrals: the table, its summary by segment, and what an intervention truly adds."""

from __future__ import annotations

import numpy as np
import pandas as pd

from rox.simulate.bank import Bank
from rox.simulate.dates import Dates, uniform
from rox.simulate.draws import Array
from rox.simulate.people import by_segment
from rox.simulate.rows import days, numbered, rows

_DAY = np.timedelta64(1, "D")


def referrals(bank: Bank, dates: Dates) -> pd.DataFrame:
    """Give one row per referral.

    Returns:
        ``referral_id``; ``customer_id``, who referred somebody; ``referred``, the day; ``opened``, the day the person
        referred opened an account, missing without one or where it falls after the window.
    """
    first, after = dates.months[:-1, None], dates.months[1:, None]
    earliest = np.clip(dates.opened, first, after - _DAY)
    leaving = ~np.isnat(dates.exited) & (dates.exited >= first) & (dates.exited < after)
    latest = np.where(leaving, dates.exited, after - _DAY)
    span = (latest - earliest) // _DAY + 1
    day = earliest + np.floor(uniform(bank, "referral") * span).astype(int) * _DAY
    at = rows(bank.customers.identifier, bank.referred, day)
    dials = bank.config.referrals
    opened = day[at] + (1 + np.floor(uniform(bank, "opening by referral")[at] * dials.days)).astype(int) * _DAY
    came = (uniform(bank, "conversion of referral")[at] < dials.conversion) & (opened < dates.months[-1])
    return pd.DataFrame(
        {
            "referral_id": numbered("R", len(at[0])),
            "customer_id": bank.customers.identifier[at[1]],
            "referred": days(day[at]),
            "opened": days(np.where(came, opened, np.datetime64("NaT", "D"))),
        }
    )


def referral_rate(bank: Bank, months: slice, who: Array) -> Array:
    """Give the probability that each customer refers somebody in a month of the stay, ``(months, customers)``."""
    yearly = by_segment(bank.config, "referral", bank.customers.segment)[who]
    lift = np.exp(bank.config.referrals.experience * (bank.experience[months][:, who].astype(float) - 7))
    return np.minimum(yearly / 12 * lift, 1.0)


def referral_summary(bank: Bank) -> pd.DataFrame:
    """Summarise what the window shows of referrals, for the customers of the extract.

    Returns:
        One row per segment and one, ``sample``, for all: ``customer_years``, ``referrals``, ``a_year``, referrals per
        customer and year, and ``new_customers``, those expected to open an account for them.
    """
    segment, found = bank.customers.segment, {}
    groups = {name: segment == k for k, name in enumerate(bank.config.segment_names)}
    for name, mine in {**groups, "sample": np.ones(len(segment), bool)}.items():
        years, count = bank.active[:, mine].sum() / 12, float(bank.referred[:, mine].sum())
        if years:
            found[name] = {
                "customer_years": years,
                "referrals": count,
                "a_year": count / years,
                "new_customers": bank.config.referrals.conversion * count,
            }
    return pd.DataFrame.from_dict(found, orient="index")
