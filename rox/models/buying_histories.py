"""Customers by how often, how lately and for how long they bought, counted in the engine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rox.core.derived import Maker
from rox.core.linked import Linked

Floats = NDArray[np.float64]

YEAR = 12


@dataclass(frozen=True, kw_only=True, eq=False)
class BuyingHistories:
    """Customers of one group as known at the end of a month. c = histories.

    Attributes:
        bought: Shape (c,): months with a purchase, the month of coming aside.
        recency: Shape (c,): the last of them, 0 if there was none.
        periods: Shape (c,): months observed.
        unseen: Shape (c,): months as a customer before the panel begins; to the year where they are more than one.
        people: Shape (c,): customers.
        weight: Shape (c,): the company's customers they stand for.
        squares: Shape (c,): sum of their squared weights.
        left: Shape (c,): weight of those known to have left by the end of the panel.
        spent: Shape (c,): weighted outcome of the months with a purchase.
        later: Shape (c,): weighted months with a purchase after the month, up to the end of the panel.
        later_squares: Shape (c,): weighted squares of each customer's number of these.
        idle: Rows of the panel in which nothing was bought, the month of coming aside.
    """

    bought: Floats
    recency: Floats
    periods: Floats
    unseen: Floats
    people: Floats
    weight: Floats
    squares: Floats
    left: Floats
    spent: Floats
    later: Floats
    later_squares: Floats
    idle: int

    @property
    def history(self) -> tuple[Floats, Floats, Floats, Floats]:
        """What the model needs to know of each history."""
        return self.bought, self.recency, self.periods, self.unseen


def buying_histories(data: Linked, first: int, until: int, group: Callable[[Any], Any]) -> dict[str, BuyingHistories]:
    """Reduce a panel to histories by group.

    A customer is observed from the month after the one in which they opened, or from the panel's first month when that
    is later; months of which the ledger has no row are months without a purchase, also those after leaving.

    Args:
        data: The panel: months of a flow or a count.
        first: The panel's first month.
        until: Last month whose purchases count; customers who opened later are left out.
        group: Says the group of a row.
    """
    within: dict[str, Maker] = {
        "came": lambda table: table.opened.cast("int64"),
        "final": lambda table: _own(table.month.max()),
        "buys": lambda table: ((table.outcome > 0) & (table.month > table.came)).fill_null(False).cast("int64"),
        "counts": lambda table: table.buys * (table.month <= until).cast("int64"),
        "number": lambda table: _own(table.counts.sum()),
        "latest": lambda table: _own((table.month * table.counts).max()),
        "later": lambda table: _own((table.buys - table.counts).sum()),
        "idle": lambda table: _own(((table.outcome <= 0) & (table.month > table.came)).cast("int64").sum()),
        "spent": lambda table: _own((table.outcome * table.counts).sum()),
        "gone": lambda table: (table.exit_month <= data_end(table)).fill_null(False).cast("int64"),
        "origin": lambda table: (table.came >= first).ifelse(table.came, first - 1),
    }
    by: dict[str, Maker] = {
        "group": group,
        "bought": lambda table: table.number.cast("int64"),
        "recency": lambda table: (table.number > 0).ifelse(table.latest - table.origin, 0).cast("int64"),
        "periods": lambda table: (until - table.origin).cast("int64"),
        "unseen": lambda table: _rounded(table.origin - table.came),
    }
    cells = data.cells(
        by=by,
        sums={
            "weight": "weight",
            "squares": "weight^2",
            "left": "weight*gone",
            "spent": "weight*spent",
            "later": "weight*later",
            "later_squares": "weight*later^2",
            "idle": "idle",
        },
        within=within,
        known=("opened",),
        where=lambda table: (table.month == table.final) & (table.came <= until),
        grains={"spent": 0.01},
    )
    frame = cells.values().drop(columns="bucket").groupby(["group", *list(by)[1:]], as_index=False).sum()
    return {str(name): _of(part) for name, part in frame.groupby("group")}


def data_end(table: Any) -> Any:
    """Return the panel's last month."""
    return table.month.max().over()


def _rounded(months: Any) -> Any:
    """Return months within the first year as they are, and later ones as the middle of their year."""
    return (months < YEAR).ifelse(months, (months / YEAR).floor().cast("int64") * YEAR + YEAR // 2).cast("int64")


def _own(value: Any) -> Any:
    """Return a statistic of a customer's rows."""
    return value.over(group_by="customer")


def _of(part: pd.DataFrame) -> BuyingHistories:
    columns = {name: part[name].to_numpy(dtype=float) for name in part.columns.drop("group")}
    people = columns.pop("n")
    names = ("bought", "recency", "periods", "unseen", "weight", "squares", "left", "spent", "later", "later_squares")
    idle = int(columns["idle"].sum())
    return BuyingHistories(people=people, idle=idle, **{name: columns[name] for name in names})
