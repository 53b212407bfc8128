"""From the linked panel to a frozen cohort, month by month, seen from the places an initiative is rolled out to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rox.core.case import EVERYONE
from rox.core.errors import DataError, FitError
from rox.core.linked import Linked, Step, month_label
from rox.numerics.arrays import group_sums

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

COLUMNS = (
    "customer",
    "month",
    "segment",
    "unit",
    "weight",
    "outcome",
    "score",
    "score_age",
    "exit_month",
    "voluntary",
)
FEWEST_PLACES = 2
"""Places with a start, and places without one yet, that a segment needs."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Rollout:
    """A cohort of customers frozen before the first start. n = customers, t = months, u = places, s = segments.

    Attributes:
        initiative: What was rolled out.
        assigned: How its places were chosen: ``random``, ``chosen`` or ``unknown``.
        units: Names of the places, sorted.
        starts: Shape (u,): month number of the start, infinite for places that never start.
        groups: Names of the segments, sorted.
        months: Shape (t,): month numbers, consecutive.
        history: Months before the first start in which every customer of the cohort is seen.
        unit: Shape (n,): place of each customer.
        group: Shape (n,): segment of each customer.
        ratio: Shape (n, t): outcome over the customer's own mean in the base months, cut at the cap; zero after leaving
            and in months without a row.
        staying: Shape (n, t): whether the customer has not left before the month.
        capped: Share of customer-months that were cut.
        silent: Customer-months without a row although the customer had not left.
        scores: Answers of the cohort: ``unit``, ``month`` of the answer, ``score``.
        panel: The rows of every customer, cohort or not.
        steps: What was kept and lost on the way.
    """

    initiative: str
    assigned: str
    units: tuple[str, ...]
    starts: Floats
    groups: tuple[str, ...]
    months: Floats
    history: int
    unit: Ints
    group: Ints
    ratio: Floats
    staying: NDArray[np.bool_]
    capped: float
    silent: int
    scores: pd.DataFrame
    panel: pd.DataFrame
    steps: tuple[Step, ...]

    @property
    def first_start(self) -> int:
        """Month number of the first start."""
        return int(self.starts.min())

    @cached_property
    def cell(self) -> Ints:
        """Shape (n,): code of each customer's place and segment."""
        return self.unit * len(self.groups) + self.group

    @cached_property
    def sizes(self) -> Floats:
        """Shape (u, s): customers of each place and segment."""
        cells = len(self.units) * len(self.groups)
        return np.bincount(self.cell, minlength=cells).reshape(len(self.units), -1).astype(float)

    def means(self, values: NDArray[np.generic]) -> Floats:
        """Average customers' values, shape (n, t), by place, month and segment, shape (u, t, s); missing if empty."""
        u, s = self.sizes.shape
        sums = group_sums(np.asarray(values, dtype=float), self.cell, u * s).reshape(u, s, -1)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray((sums / self.sizes[:, :, None]).transpose(0, 2, 1))


def rollout(data: Linked, *, initiative: str | None, base: int, history: int, cap: float) -> Rollout:
    """Freeze the customers who were there before an initiative's first start, and follow them.

    A customer belongs to the cohort with a row in each of the last ``history`` months before the first start (or as
    many as the ledger has), not gone by then, and with money in the last ``base`` of them. Nothing measured later
    decides who is in. Places that started before there were ``base`` months of money are left out altogether: they
    are neither treated from a known baseline nor untreated.

    Args:
        data: The linked panel.
        initiative: Name of the initiative; may be missing if there is only one.
        base: Months whose mean is a customer's own baseline.
        history: Months a customer must have been there before the first start.
        cap: Largest ratio to the own baseline that counts.

    Raises:
        DataError: Columns or values that cannot be used.
        FitError: No such initiative, no start with months before it, or nobody left; where and what to do is said.
    """
    name = initiative_of(data, initiative)
    panel = _panel(data)
    first, last = int(panel["month"].min()), int(panel["month"].max())
    starts = data.starts.loc[data.starts["initiative"] == name].groupby("unit")["start"].min().astype(float)
    early = starts[starts < first + base]
    usable = starts[(starts >= first + base) & (starts <= last)]
    if usable.empty:
        raise FitError(
            f"No start of {name} can be compared with the time before it.",
            [
                f"starts run from {month_label(int(starts.min()))} to {month_label(int(starts.max()))}",
                f"the ledger runs from {month_label(first)} to {month_label(last)}",
                f"needed: a start within the ledger, with {base} months before it",
            ],
        )
    begin = int(usable.min())
    seen = min(max(history, base), begin - first)
    steps: list[Step] = []
    rows = panel
    placed = rows["unit"].notna() & rows["segment"].notna() & ~rows["unit"].isin(early.index)
    rows = _kept(steps, rows, placed, "placed")
    before = rows[(rows["month"] >= begin - seen) & (rows["month"] < begin)]
    present = before.groupby("customer")["month"].nunique() == seen
    rows = _kept(steps, rows, rows["customer"].isin(present.index[present]) & ~(rows["exit_month"] < begin), "present")
    recent = rows[(rows["month"] >= begin - base) & (rows["month"] < begin)]
    own = recent.groupby("customer")["outcome"].mean()
    rows = _kept(steps, rows, rows["customer"].isin(own.index[own > 0]), "money")
    rows = _kept(
        steps, rows, rows["segment"].isin(_comparable(rows, usable, begin, data.study.about.min_cell)), "segments"
    )
    if rows.empty:
        raise FitError(
            f"No customer can be followed from before the first start of {name}, {month_label(begin)}.",
            [f"{step.name}: {step.customers} customers left" for step in steps]
            + [
                "segments: needed are customers in enough places that start and in enough that start later or never; "
                "merge segments, or use rox.InterruptedSeries where one place changed"
            ],
        )
    return _followed(name, data, panel, rows, own, starts=usable, seen=seen, cap=cap, steps=tuple(steps))


def _comparable(rows: pd.DataFrame, starts: pd.Series, begin: int, min_cell: int) -> list[object]:
    """Return segments that may be shown, with customers in enough places that start and in enough that start later."""
    customers = rows.groupby("segment")["customer"].nunique()
    places = rows[["segment", "unit"]].drop_duplicates()
    start = starts.reindex(places["unit"]).fillna(np.inf).to_numpy()
    treated = places[np.isfinite(start)].groupby("segment").size()
    later = places[start > begin].groupby("segment").size()
    return [
        name
        for name in treated.index
        if min(treated[name], later.get(name, 0)) >= FEWEST_PLACES and customers[name] >= min_cell
    ]


def _followed(
    name: str,
    data: Linked,
    panel: pd.DataFrame,
    rows: pd.DataFrame,
    own: pd.Series,
    *,
    starts: pd.Series,
    seen: int,
    cap: float,
    steps: tuple[Step, ...],
) -> Rollout:
    """Lay the cohort's rows out as customers × months."""
    begin = int(starts.min())
    months = np.arange(begin - seen, int(panel["month"].max()) + 1)
    people = rows.drop_duplicates("customer").sort_values("customer", kind="stable")
    customers = people["customer"].to_numpy()
    units, unit = np.unique(people["unit"].astype(str).to_numpy(), return_inverse=True)
    groups, group = np.unique(people["segment"].astype(str).to_numpy(), return_inverse=True)
    inside = rows[rows["month"] >= months[0]]
    i, j = np.searchsorted(customers, inside["customer"]), inside["month"].to_numpy(dtype=np.int64) - months[0]
    raw = inside["outcome"].to_numpy(dtype=float) / own.reindex(inside["customer"]).to_numpy(dtype=float)
    gone = people["exit_month"].fillna(np.inf).to_numpy(dtype=float)
    staying = months[None, :] <= gone[:, None]
    ratio, present = np.zeros(staying.shape), np.zeros(staying.shape, dtype=bool)
    ratio[i, j], present[i, j] = np.minimum(raw, cap), True
    answered = rows[rows["score"].notna() & (rows["score_age"] == 1)]
    scores = pd.DataFrame(
        {
            "unit": np.searchsorted(units, answered["unit"].astype(str).to_numpy()),
            "month": answered["month"].to_numpy(dtype=np.int64) - 1,
            "score": answered["score"].to_numpy(dtype=float),
        }
    )
    return Rollout(
        initiative=name,
        assigned=data.study.initiatives[name].assigned if name in data.study.initiatives else "unknown",
        units=tuple(units),
        starts=starts.reindex(units).fillna(np.inf).to_numpy(dtype=float),
        groups=tuple(groups),
        months=months.astype(float),
        history=seen,
        unit=unit.astype(np.int64),
        group=group.astype(np.int64),
        ratio=ratio * staying,
        staying=staying,
        capped=float((raw > cap).mean()),
        silent=int((staying & ~present).sum()),
        scores=scores,
        panel=panel,
        steps=steps,
    )


def initiative_of(data: Linked, asked: str | None) -> str:
    """Return the initiative that is meant; it may go unnamed where there is only one.

    Raises:
        FitError: None, several, or another than the table has.
    """
    names = sorted(data.starts["initiative"].astype(str).unique())
    if not names:
        raise FitError(
            "This study has no roll-out to learn from.",
            ["add a table of initiatives: the initiative, its places, and the date each place started"],
        )
    if asked is None and len(names) > 1:
        raise FitError(
            "The study has several initiatives.", [f"name one of them: initiative={each!r}" for each in names]
        )
    if asked is not None and asked not in names:
        raise FitError(f"There is no initiative {asked!r}.", [f"the table of initiatives has {', '.join(names)}"])
    return asked or names[0]


def _panel(data: Linked) -> pd.DataFrame:
    """Fetch the panel, with the types that the rest relies on."""
    panel = data.frame()
    if missing := [column for column in COLUMNS if column not in panel]:
        raise DataError(
            "The panel is not complete.", [f"column {column!r} is missing; link again" for column in missing]
        )
    panel = panel[list(COLUMNS)].copy()
    if panel["segment"].isna().all():
        panel["segment"] = EVERYONE
    for column in ("outcome", "weight", "score", "score_age", "exit_month"):
        panel[column] = pd.to_numeric(panel[column]).astype(float)
    panel["voluntary"] = panel["voluntary"].astype("boolean").fillna(False).astype(bool)
    faults: Mapping[str, int] = {
        "rows repeat a customer's month; keep one row per customer and month": int(
            panel.duplicated(["customer", "month"]).sum()
        ),
        "outcomes are missing or infinite; a month without money is 0": int((~np.isfinite(panel["outcome"])).sum()),
        "outcomes are negative; a ratio to the own baseline needs money that is held": int(
            (panel["outcome"] < 0).sum()
        ),
        "weights are missing or not positive": int((~(panel["weight"] > 0)).sum()),
    }
    if panel.empty or any(faults.values()) or panel["unit"].isna().all():
        found = [f"{count} {what}" for what, count in faults.items() if count]
        if panel.empty:
            found.append("the panel has no rows; link tables that share customers and months")
        elif panel["unit"].isna().all():
            found.append("no customer has a place; name the column of the customers table that plays the role `unit`")
        raise DataError("The panel cannot be used for a roll-out.", found)
    return panel


def _kept(steps: list[Step], rows: pd.DataFrame, keep: pd.Series, name: str) -> pd.DataFrame:
    left = rows[keep]
    steps.append(
        Step(
            name=name,
            rows=len(left),
            lost=len(rows) - len(left),
            customers=left["customer"].nunique(),
            reason=f"uplift.step.{name}",
        )
    )
    return left
