"""Everything a model may read, held in memory, and changes that no model may notice."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from rox.core.linked import Linked
from rox.core.views import Views
from rox.linking.records import READABLE, rows_of_table
from rox.linking.views import FrameViews, TableViews

NUDGE = 1e-12
"""Relative change of money without meaning; a model whose draws it changes is compared by means and spreads."""
LATER_YEARS = 4
"""Years by which the calendar is moved: as many as it takes until leap days fall alike."""
_DAYS = pd.Timedelta(days=1461)


@dataclass(frozen=True, kw_only=True, eq=False)
class Held:
    """A linked panel in memory.

    Attributes:
        data: Where the rows came from.
        frame: The rows of the panel.
        records: Rows of the further tables by name, customers numbered as in the panel.
    """

    data: Linked
    frame: pd.DataFrame
    records: Mapping[str, pd.DataFrame]

    def linked(self) -> Linked:
        """Return the panel with these rows."""
        known = isinstance(self.data.views, FrameViews | TableViews)
        views = FrameViews(records_by_name=self.records) if known else self.data.views
        return replace(self.data, panel=self.frame, fetch=lambda rows: rows, views=views)

    def watched(self, names: set[str]) -> Linked:
        """Return the panel with these rows, and collect in ``names`` which further tables are read."""
        data = self.linked()
        views: Any = None if data.views is None else _Watched(views=data.views, names=names)
        return replace(data, views=views)

    def copy(self) -> Held:
        """Return the same with rows of its own."""
        records = {name: rows.copy() for name, rows in self.records.items()}
        return replace(self, frame=self.frame.copy(), records=records)

    def same_rows(self, other: Held) -> bool:
        """Whether the rows are the same."""
        return self.frame.equals(other.frame) and all(
            rows.equals(other.records[name]) for name, rows in self.records.items()
        )


def hold(data: Linked) -> Held:
    """Fetch everything a model may read of a linked panel."""
    return Held(data=data, frame=data.frame(), records=records_of(data))


def records_of(data: Linked) -> dict[str, pd.DataFrame]:
    """Fetch the further tables of a linked panel, customers numbered as in the panel; none where its views are own."""
    views: Any = data.views
    if isinstance(views, _Watched):
        views = views.views
    if isinstance(views, FrameViews):
        return dict(views.records_by_name)
    if isinstance(views, TableViews):
        names = [name for name in READABLE if name in data.study.tables]
        return {name: views.tables.fetch(rows_of_table(views.tables, views.people, name)) for name in names}
    return {}


def nudged(held: Held) -> Held:
    """Change money in its last digit."""
    return _money_times(held, 1 + NUDGE)


def in_hundredths(held: Held) -> Held:
    """Write money in hundredths."""
    return _money_times(held, 100)


def heavier(held: Held) -> Held:
    """Multiply weights by ten."""
    return replace(held, frame=held.frame.assign(weight=held.frame["weight"] * 10))


def reordered(held: Held, seed: int) -> Held:
    """Shuffle the rows of every table."""
    records = {name: rows.sample(frac=1, random_state=seed) for name, rows in held.records.items()}
    return replace(held, frame=held.frame.sample(frac=1, random_state=seed), records=records)


def later(held: Held) -> Held:
    """Move the calendar by ``LATER_YEARS``: months, starts, dates, and the day of the extract."""
    data, months = held.data, 12 * LATER_YEARS
    about = data.study.about
    study = data.study.model_copy(
        update={"about": about.model_copy(update={"extract": (pd.Timestamp(about.extract) + _DAYS).date()})}
    )
    frame = held.frame.assign(**{name: held.frame[name] + months for name in ("month", "opened", "exit_month")})
    return Held(
        data=replace(data, study=study, starts=data.starts.assign(start=data.starts["start"] + months)),
        frame=frame,
        records={name: _days_later(rows) for name, rows in held.records.items()},
    )


def renumbered(held: Held, seed: int) -> Held:
    """Number the customers anew, in every table alike; rows of customers who are not in the panel are left out."""
    old = np.sort(held.frame["customer"].unique())
    new = np.random.default_rng(seed).permutation(old)

    def anew(rows: pd.DataFrame) -> pd.DataFrame:
        if "customer" not in rows:
            return rows
        rows = rows[rows["customer"].isin(old)]
        return rows.assign(customer=new[np.searchsorted(old, rows["customer"])])

    frame = anew(held.frame).sort_values(["customer", "month"], kind="stable", ignore_index=True)
    return replace(held, frame=frame, records={name: anew(rows) for name, rows in held.records.items()})


def _money_times(held: Held, factor: float) -> Held:
    """Multiply the outcome, and the amounts of further tables."""
    records = {
        name: rows.assign(amount=rows["amount"] * factor) if "amount" in rows else rows
        for name, rows in held.records.items()
    }
    return replace(held, frame=held.frame.assign(outcome=held.frame["outcome"] * factor), records=records)


def _days_later(rows: pd.DataFrame) -> pd.DataFrame:
    dates = {str(name): rows[name] + _DAYS for name in rows if pd.api.types.is_datetime64_any_dtype(rows[name])}
    moved = {"month": rows["month"] + 12 * LATER_YEARS} if "month" in rows else {}
    return rows.assign(**dates, **moved)


@dataclass(frozen=True, kw_only=True)
class _Watched:
    """Views that remember which further tables were read."""

    views: Views
    names: set[str]

    def records(self, data: Linked, name: str, months: tuple[int, ...]) -> Any:
        self.names.add(name)
        return self.views.records(data, name, months)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.views, name)
