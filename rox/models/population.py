"""Whose effect it is: the company's customers by segment, what they hold and how fast they leave."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rox.core.census import Census
from rox.core.errors import FitError
from rox.core.linked import month_label


@dataclass(frozen=True, kw_only=True, eq=False)
class Population:
    """The company's customers in the last month of the panel.

    Attributes:
        groups: Segments, sorted.
        shares: Shape (group,): share of customers; sums to one.
        baseline: One row per group: ``customers``, ``money`` per customer, ``exit_hazard`` per customer-month.
        month: The last month, such as ``2025-12``.
    """

    groups: tuple[str, ...]
    shares: NDArray[np.float64]
    baseline: pd.DataFrame
    month: str


def population(panel: pd.DataFrame, groups: Sequence[str]) -> Population:
    """Describe the customers behind some segments, from the whole panel.

    Customers and money are those of the last month. The exit hazard is voluntary exits over customer-months of the
    whole panel, both weighted; it is missing when no exit is recorded at all.

    Raises:
        FitError: None of the segments has a customer in the last month.
    """
    last = int(panel["month"].max())
    now = panel[panel["month"] == last]
    now = now.assign(money=now["outcome"] * now["weight"]).groupby("segment")[["weight", "money"]].sum()
    return _described(now["weight"], now["money"], exit_hazard(panel), groups, last)


def population_of(people: Census, groups: Sequence[str]) -> Population:
    """Describe the customers behind some segments, as :func:`population` does, from a panel that was counted.

    Raises:
        FitError: None of the segments has a customer in the last month.
    """
    table = people.segments
    hazard = table["exits"] / table["months"] if people.records_exits else table["months"] * np.nan
    return _described(table["customers"], table["money"], hazard, groups, people.last)


def _described(
    customers: pd.Series, money: pd.Series, hazard: pd.Series, groups: Sequence[str], last: int
) -> Population:
    customers, money = (each.reindex(list(groups)).fillna(0.0) for each in (customers, money))
    if not customers.sum() > 0:
        raise FitError(
            f"No customer of {list(groups)} is left in {month_label(last)}, so nobody's effect can be stated."
        )
    with np.errstate(invalid="ignore"):
        mean = money / customers
    baseline = pd.DataFrame({"customers": customers, "money": mean, "exit_hazard": hazard.reindex(list(groups))})
    baseline.index = pd.Index(list(groups), name="group")
    return Population(
        groups=tuple(groups),
        shares=(customers / customers.sum()).to_numpy(dtype=float),
        baseline=baseline,
        month=month_label(last),
    )


def exit_hazard(panel: pd.DataFrame) -> pd.Series:
    """Return weighted voluntary exits per customer-month by segment, missing when the panel records no exit."""
    months: pd.Series = panel.groupby("segment")["weight"].sum()
    if panel["exit_month"].isna().all():
        return months * np.nan
    customers = panel.drop_duplicates("customer", keep="last")
    inside = customers["exit_month"] <= panel["month"].max()
    gone = customers[inside & customers["voluntary"]].groupby("segment")["weight"].sum()
    hazard: pd.Series = gone.reindex(months.index).fillna(0.0) / months
    return hazard


def shown(table: pd.DataFrame, sizes: pd.Series, min_cell: int) -> pd.DataFrame:
    """Blank the numbers of rows that stand for fewer than ``min_cell`` customers and say so in ``suppressed``."""
    small = (sizes.reindex(table.index) < min_cell).to_numpy()
    out = table.copy()
    numbers = out.select_dtypes("number").columns
    out[numbers] = out[numbers].astype(float)
    out.loc[small, numbers] = np.nan
    out["suppressed"] = small
    return out
