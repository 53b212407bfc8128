"""What a customer usually holds, against which money that has gone without a word is measured."""

from __future__ import annotations

from typing import Any

TRAILING, FEWEST = 12, 6
"""Months whose median is a customer's usual money, and how many of them must be on record."""


def usual_money(stock: Any) -> Any:
    """Set each month's money beside the median of the twelve calendar months before.

    Args:
        stock: Engine table ``customer``, ``month``, ``amount``; one row per customer and month.

    Returns:
        Engine table ``customer``, ``month``, ``amount``, ``usual`` and ``seen`` (months behind it, at most twelve);
        months with nothing before them are left out.
    """
    past = stock.select(owner="customer", earlier="month", held="amount")
    met = stock.inner_join(
        past.mutate(begins=past.earlier + 1, ends=past.earlier + TRAILING),
        [stock.customer == past.owner, stock.month >= past.earlier + 1, stock.month <= past.earlier + TRAILING],
    )
    return met.group_by("customer", "month").aggregate(
        usual=met.held.median().cast("float64"), seen=met.held.count(), amount=met.amount.max()
    )
