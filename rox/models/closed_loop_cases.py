"""Customers from the day they became eligible for a call: what was known then, who was called, what followed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rox.core.case import EVERYONE
from rox.core.errors import DataError, FitError
from rox.core.linked import Linked, Step
from rox.core.views import money_column
from rox.models.answers import control_columns, standardised

Floats = NDArray[np.float64]

BEFORE = 6
"""Months between the own baseline and the earlier one that growth is measured from."""
PATH = (3, 6, 9)
"""Months after eligibility that the path shows beside the horizon."""
YEAR = 12
DETRACTOR = 6
"""Highest answer of a detractor."""
STEEPEST = 1.0
"""Largest growth before eligibility that counts, as a share."""
LEAST_KNOWN = 0.02
"""Share of customers without a fact from which on its absence is a fact of its own."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Cases:
    """Customers at their first eligible ticket, with an outcome that can be known. n = customers.

    Attributes:
        rows: One row each, by customer: ``customer``, ``month`` of the ticket, ``segment``, ``unit``, ``weight``,
            ``own`` (mean money before), ``ratio`` (money at the horizon over own, capped, leavers zero), ``growth``
            before (missing if unknown), ``ratio_k`` along the path, ``left`` by the horizon, ``held`` (1 held out by
            lot, 0 not, missing if never drawn), ``contacted`` in time, ``ever`` contacted by the horizon, ``delay``
            (days to the first contact), ``given_score``, ``given_age``, ``next_score``, ``next_age``.
        facts: Shape (n, p): what was recorded at eligibility, standardised, the most telling first.
        names: Names of the facts.
        tickets: Every eligible ticket: ``customer``, ``month``, ``unit``, ``held``, ``contacted``.
        people: Eligible customers of the last twelve months by segment: ``customers``, ``money``, ``exit_hazard``.
        year: First and last month of these.
        capped: Share of outcomes that were cut.
        unknown: Customers whose outcome is missing although they had not left, by ``segment`` and ``held``.
        steps: What was kept and lost.
    """

    rows: pd.DataFrame
    facts: Floats
    names: tuple[str, ...]
    tickets: pd.DataFrame
    people: pd.DataFrame
    year: tuple[int, int]
    capped: float
    unknown: pd.DataFrame
    steps: tuple[Step, ...]

    @property
    def has_hold_out(self) -> bool:
        """Whether somebody was held out by lot."""
        return bool((self.rows["held"] == 1).any() and (self.rows["held"] == 0).any())

    def only(self, keep: NDArray[np.bool_]) -> Cases:
        """Keep some of the customers."""
        return Cases(**{**vars(self), "rows": self.rows[keep].reset_index(drop=True), "facts": self.facts[keep]})


def read_cases(data: Linked, *, horizon: int, within: int, cap: float, base: int) -> Cases:
    """Read tickets and follow each customer from the first eligible one.

    Nothing after that day decides who is in or where the clock starts; a contact has no part in it.

    Args:
        data: The linked panel, of a study with tickets.
        horizon: Months after the month of the ticket.
        within: Days after the ticket in which a contact is in time.
        cap: Largest ratio that counts.
        base: Months before the month of the ticket whose mean is a customer's own money.

    Raises:
        DataError: Tickets whose dates or lots cannot be right.
        FitError: Nobody can be followed for so long.
    """
    own = tuple(range(-base, 0))
    months = (*(k - BEFORE for k in own), *own, *PATH, horizon)
    found = _typed(data.fetch(data.records("tickets", months=months)))
    first, last = data.money_months
    eligible = found[found["eligible"]].sort_values(["customer", "date", "contacted"], kind="stable")
    steps: list[Step] = []
    rows = _kept(steps, found, found["eligible"], "eligible")
    rows = _kept(steps, rows, ~eligible.duplicated("customer"), "first", order=eligible.index)
    people, year = _people(eligible, rows, own, last)
    rows = _kept(steps, rows, rows["month"] + horizon <= last, "followed")
    rows = rows.assign(own=rows[[money_column(k) for k in own]].mean(axis=1))
    rows = _kept(steps, rows, rows["own"] > 0, "money")
    if rows.empty:
        raise FitError(
            f"Nobody can be followed for {horizon} months after becoming eligible.",
            [f"{step.name}: {step.customers} customers left" for step in steps]
            + [f"money runs over {last - first + 1} months; give a shorter horizon, or a later extract"],
        )
    rows = _with_outcomes(rows, horizon=horizon, cap=cap, own=own)
    rows = _with_contacts(rows, eligible, horizon=horizon, within=within)
    known = rows["ratio"].notna()
    unknown = rows.assign(unknown=~known).groupby(["segment", "held"], dropna=False)["unknown"].agg(["sum", "size"])
    capped = float((rows.loc[known, "raw"] > cap).mean()) if known.any() else 0.0
    rows = _kept(steps, rows, known, "known").sort_values("customer", kind="stable").reset_index(drop=True)
    if rows.empty:
        raise FitError(
            f"Money {horizon} months after becoming eligible is known of nobody.",
            ["complete the ledger, or link again"],
        )
    facts = _facts(rows, data.controls)
    tickets = eligible.assign(contacted=_in_time(eligible, within), ticket=eligible["month"])
    return Cases(
        rows=rows,
        facts=facts.to_numpy(dtype=float),
        names=tuple(facts.columns),
        tickets=tickets[["customer", "month", "unit", "held", "contacted"]].reset_index(drop=True),
        people=people,
        year=year,
        capped=capped,
        unknown=unknown,
        steps=tuple(steps),
    )


def _typed(found: pd.DataFrame) -> pd.DataFrame:
    """Give every column the type the rest relies on, and refuse tickets that cannot be right."""
    rows = found.reset_index(drop=True)
    dates = {name: pd.to_datetime(rows[name]) for name in ("date", "contacted") if name in rows}
    rows = rows.assign(**dates)
    if "contacted" not in rows:
        rows["contacted"] = pd.NaT
    eligible = pd.to_numeric(rows["eligible"]).astype(float) == 1 if "eligible" in rows else pd.Series(True, rows.index)
    held = pd.to_numeric(rows["hold_out"]).astype(float) if "hold_out" in rows else pd.Series(np.nan, rows.index)
    rows = rows.assign(eligible=eligible, held=held, segment=rows["segment"].fillna(EVERYONE).astype(str))
    numbers = ("weight", "exit_month", "score", "score_age", "given_score", "given_age", "next_score", "next_age")
    for name in (*numbers, *(each for each in rows.columns if each.startswith("money_"))):
        rows[name] = pd.to_numeric(rows[name]).astype(float)
    rows["voluntary"] = rows["voluntary"].astype("boolean").fillna(False).astype(bool)
    days = (rows["contacted"] - rows["date"]).dt.days
    faults = {
        "rows have no date; give every ticket the day on which it was opened": int(rows["date"].isna().sum()),
        "tickets were contacted before they were opened; correct `contacted` or `date`": int((days < 0).sum()),
        "tickets have a hold_out that is neither 0 nor 1": int((held.notna() & ~held.isin([0, 1])).sum()),
        "customers are held out at one ticket and not at another; draw the lot once per customer": int(
            (rows.groupby("customer")["held"].nunique() > 1).sum()
        ),
    }
    if any(faults.values()):
        raise DataError("The tickets cannot be used.", [f"{n} {fault}" for fault, n in faults.items() if n])
    return rows.assign(delay=days.astype(float))


def _kept(
    steps: list[Step], rows: pd.DataFrame, keep: pd.Series, name: str, *, order: pd.Index | None = None
) -> pd.DataFrame:
    rows = rows if order is None else rows.loc[order]
    kept = rows[keep.reindex(rows.index).fillna(False).to_numpy(dtype=bool)]
    steps.append(
        Step(
            name=name,
            rows=len(kept),
            lost=len(rows) - len(kept),
            customers=int(kept["customer"].nunique()),
            reason=f"closed_loop.step.{name}",
        )
    )
    return kept


def _people(
    eligible: pd.DataFrame, firsts: pd.DataFrame, own: Sequence[int], last: int
) -> tuple[pd.DataFrame, tuple[int, int]]:
    """Count the eligible customers of the last twelve months, their money, and how fast eligible ones leave."""
    end = int(eligible["month"].max()) if len(eligible) else last
    recent = eligible[eligible["month"] > end - YEAR].drop_duplicates("customer")
    money = recent[[money_column(k) for k in own]].mean(axis=1)
    weight = recent["weight"].where(money.notna())
    held = (money * weight).groupby(recent["segment"]).sum() / weight.groupby(recent["segment"]).sum()
    stay = np.minimum(firsts["exit_month"].fillna(np.inf), last) - firsts["month"]
    left = (firsts["exit_month"] <= last) & firsts["voluntary"]
    at_risk = (stay.clip(lower=0) * firsts["weight"]).groupby(firsts["segment"]).sum()
    gone = (left * firsts["weight"]).groupby(firsts["segment"]).sum()
    hazard = gone / at_risk.where(at_risk > 0) if firsts["exit_month"].notna().any() else at_risk * np.nan
    table = pd.DataFrame({"customers": recent.groupby("segment")["weight"].sum(), "money": held})
    table["exit_hazard"] = hazard.reindex(table.index)
    return table, (max(end - YEAR + 1, int(eligible["month"].min()) if len(eligible) else end), end)


def _with_outcomes(rows: pd.DataFrame, *, horizon: int, cap: float, own: Sequence[int]) -> pd.DataFrame:
    """Add ratios to own money, zero after leaving, and the growth of own money before."""
    past = rows[[money_column(k - BEFORE) for k in own]].mean(axis=1)
    middle = (rows["own"] + past) / 2
    growth = ((rows["own"] - past) / middle.where(middle > 0)).clip(-STEEPEST, STEEPEST)
    added: dict[str, pd.Series] = {"past": past, "growth": growth}
    for k in (*PATH, horizon):
        gone = rows["exit_month"] <= rows["month"] + k
        here = rows[money_column(k)] / rows["own"]
        money = here.where(~gone | (here.notna() & (rows["exit_month"] == rows["month"] + k)), 0.0)
        added[f"ratio_{k}"] = money.clip(upper=cap)
        added["raw"] = money
    left = (rows["exit_month"] <= rows["month"] + horizon).astype(float)
    return rows.assign(**added, ratio=added[f"ratio_{horizon}"], left=left)


def _in_time(rows: pd.DataFrame, within: int) -> pd.Series:
    return (rows["delay"] <= within).astype(float)


def _with_contacts(rows: pd.DataFrame, eligible: pd.DataFrame, *, horizon: int, within: int) -> pd.DataFrame:
    """Add whether the first ticket led to a contact in time, and whether any contact came by the horizon."""
    called = eligible[eligible["contacted"].notna()]
    when = called["contacted"].dt.year * 12 + called["contacted"].dt.month - 1
    earliest = when.groupby(called["customer"]).min().reindex(rows["customer"]).to_numpy(dtype=float)
    ever = (earliest <= rows["month"].to_numpy() + horizon).astype(float)
    return rows.assign(contacted=_in_time(rows, within), ever=ever)


def _facts(rows: pd.DataFrame, controls: Sequence[str]) -> pd.DataFrame:
    """Collect what was recorded at eligibility as standardised numbers; what is missing is the mean and says so."""
    raw = {
        "growth": rows["growth"],
        "log_money": np.log(rows["own"]),
        "empty": (rows["past"] <= 0).astype(float),
        "month": rows["month"].astype(float),
        "months_squared": (rows["month"] - rows["month"].mean()) ** 2,
        "score": rows["given_score"],
        "score_age": rows["given_age"],
        "tenure": np.sqrt((rows["month"] - rows["opened"].astype(float)).clip(lower=0)),
        "answered_now": (rows["given_age"] == 0).astype(float),
    }
    columns: dict[str, pd.Series] = {}
    for name, values in raw.items():
        missing = values.isna()
        if missing.all():
            continue
        columns[name] = standardised(values.fillna(values.mean()))
        if missing.mean() > LEAST_KNOWN and f"{name.split('_')[0]}_unknown" not in columns:
            columns[f"{name.split('_')[0]}_unknown"] = standardised(missing.astype(float))
    known = control_columns(rows, controls)
    table = pd.concat([pd.DataFrame(columns, index=rows.index), known], axis=1)
    return table.loc[:, (table.max() - table.min() > 0)].fillna(0.0)
