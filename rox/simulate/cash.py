"""What an intervention is worth in truth: extra money month by month, and the cash flows it earns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from rox.core.errors import RoxError
from rox.numerics import cashflow
from rox.simulate.bank import Bank
from rox.simulate.draws import Array


@dataclass(frozen=True, kw_only=True, eq=False)
class TrueReturn:
    """The return of an intervention as the simulator knows it. Money is CNY; the rates are shares.

    Attributes:
        extra: Extra money held in the bank by ``month``, a column per segment and ``bank``: see ``Truth.money``.
        flows: By ``month``: ``benefit``, ``cost``, ``tax``, ``net``, ``present`` and ``cumulative_present``.
        present_benefit: Discounted benefit before tax, by segment.
        npv: Net present value after tax.
        roi: Present benefit per present cost, less 1; NaN without costs.
        irr: Internal rate of return a year; NaN where there is none or more than one.
        payback: Months until the money is back for good; NaN if it never is.
        discounted_payback: The same with discounted flows.
        undiscounted: Sum of the net flows.
    """

    extra: pd.DataFrame
    flows: pd.DataFrame
    present_benefit: pd.Series[float]
    npv: float
    roi: float
    irr: float
    payback: float
    discounted_payback: float
    undiscounted: float


def expected_money(bank: Bank, who: Array, since: int, last: int) -> Array:
    """Give the money customers can be expected to hold, exits and empty spells averaged over their probabilities.

    Args:
        bank: The bank.
        who: Positions of the customers, ``(some,)``. One whose account is opened later holds nothing before.
        since: Month from which the chances are counted.
        last: Last month.

    Returns:
        CNY from month ``since`` to ``last``, ``(last - since + 1, some)``.
    """
    empty = bank.empty[since, who].astype(float)
    found = np.empty((last - since + 1, len(who)))
    for place, month in enumerate(range(since, last + 1)):
        if place:
            empty = next_empty(bank, who, empty, month)
        stays = np.exp(bank.log_survival[month, who] - bank.log_survival[since, who])
        found[place] = bank.balance[month, who] * (1 - empty) * stays
    return found


def next_empty(bank: Bank, who: Array, empty: Array, month: int) -> Array:
    """Move the probability of an empty spell on by a month."""
    return np.asarray(empty * (1 - bank.config.money.zero_leave) + (1 - empty) * bank.empty_entry[month, who])


def true_return(
    extra: pd.DataFrame, costs: Mapping[int, float], margin: Mapping[str, float], *, discount: float, tax: float
) -> TrueReturn:
    """Turn extra money into cash flows; month ``j`` is discounted by ``(1 + discount) ** (j / 12)``.

    Args:
        extra: As of ``Truth.money``: by month, a column per segment and, last, one for the bank.
        costs: Money spent, by month.
        margin: Yearly income per unit of money, by segment.
        discount: Rate a year.
        tax: Share of benefit less cost; losses are set off.

    Raises:
        RoxError: Costs, margins or rates that do not fit; all of them are listed.
    """
    if faults := _faults(extra, costs, margin, discount, tax):
        raise RoxError("The true return cannot be computed.", faults)
    months = len(extra)
    segments = extra.columns[:-1]
    income = extra[segments] * np.array([margin[name] for name in segments]) / 12
    spent = np.zeros(months)
    for month, amount in costs.items():
        spent[month] += amount
    benefit = income.sum(axis=1).to_numpy()
    net = (benefit - spent) * (1 - tax)
    factor = cashflow.discount_factors(months, discount, periods_per_year=12)
    columns = {
        "benefit": benefit,
        "cost": spent,
        "tax": (benefit - spent) * tax,
        "net": net,
        "present": net * factor,
        "cumulative_present": np.cumsum(net * factor),
    }
    present_cost = float(spent @ factor)
    return TrueReturn(
        extra=extra,
        flows=pd.DataFrame(columns, index=extra.index),
        present_benefit=income.mul(factor, axis=0).sum(),
        npv=float(net @ factor),
        roi=float(benefit @ factor) / present_cost - 1 if present_cost else float("nan"),
        irr=float(cashflow.irr(net, periods_per_year=12)),
        payback=float(cashflow.payback(net)),
        discounted_payback=float(cashflow.discounted_payback(net, discount, periods_per_year=12)),
        undiscounted=float(net.sum()),
    )


def _faults(
    extra: pd.DataFrame, costs: Mapping[int, float], margin: Mapping[str, float], discount: float, tax: float
) -> list[str]:
    """List what does not fit; the last column of the extra money is the bank."""
    segments = list(extra.columns[:-1])
    faults = [f"margin: nothing for segment {name!r}" for name in segments if name not in margin]
    faults += [
        f"margin: there is no segment {name!r}; needs {', '.join(segments)}" for name in set(margin) - {*segments}
    ]
    faults += [
        f"costs: {amount} in month {month}; needs months from 0 to {len(extra) - 1} and amounts from 0"
        for month, amount in costs.items()
        if month not in extra.index or not amount >= 0
    ]
    if not discount > -1:
        faults.append(f"discount: got {discount}; needs a share a year above -1, such as 0.08")
    if not 0 <= tax <= 1:
        faults.append(f"tax: got {tax}; needs a share from 0 to 1")
    return faults
