"""How fast customers who were unhappy are called back, and how many still wait.

A ticket is open until its first contact; tickets open at the extract are censored then, so that recent ones do not look
slow. Tickets that were held out by lot, or did not make the customer eligible, are nobody's work and do not count. Days
are those of the calendar. Tickets are counted as they are, without design weights, and as independent of each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import ibis
import numpy as np
import pandas as pd

from rox.core.errors import DataError
from rox.core.linked import month_index, month_label
from rox.core.units import Unit
from rox.metrics.display import shown
from rox.metrics.source import Rows, Tables, required, rows_of
from rox.numerics.arrays import Floats
from rox.numerics.incidence import Curves, kaplan_meier, life_table_from_counts
from rox.numerics.survival_bands import Bounds, pointwise

DAYS = (1, 2, 7, 30)
"""Days after the ticket by which a contact may have come: 24 hours, 48 hours, a week, a month."""
QUANTILES = {"days_median": 0.5, "days_p90": 0.9}
DAYS_UNIT = "days"


def follow_up(
    tables: Tables, by: Sequence[str] = (), *, days: Sequence[int] = DAYS, level: float = 0.90
) -> pd.DataFrame:
    """Measure the time from ticket to first contact (Kaplan & Meier 1958).

    Args:
        tables: Loaded tables.
        by: ``owner``, ``month``, ``quarter``, ``year`` (of the ticket), or columns of the tickets or customers.
        days: Days by which the share contacted is wanted; 1 is the next calendar day.
        level: Level of the intervals.

    Returns:
        One row per group and metric, the columns of ``display.shown``. Metrics ``contacted_<k>d``, the share contacted
        within k days (unit ``ratio``), ``days_median`` and ``days_p90``, the days by which half and nine tenths are
        contacted (unit ``days``; intervals of Brookmeyer & Crowley 1982, without an error); missing where the tickets
        are not followed for so long, or never so many contacted. ``n`` counts tickets.

    Raises:
        DataError: No tickets or no dates of contact, no such group, contacts before the ticket.
    """
    if faults := [f"{k} is no number of days; give 0 or more" for k in days if k < 0]:
        raise DataError("These days cannot be asked for.", faults)
    rows = _work(tables, by)
    cells = _dated(tables, rows)
    curves = _curves(cells)
    bounds = pointwise(curves, level=level)
    whole = cells[["group", *rows.keys]].drop_duplicates("group").set_index("group").sort_index()
    customers = _customers(tables, rows).reindex(pd.MultiIndex.from_frame(whole[rows.keys]) if rows.keys else [0])
    frame = whole.rename(columns=dict(zip(rows.keys, rows.by, strict=True))).reset_index(drop=True)
    n = cells.groupby("group")["n"].sum().sort_index().to_numpy(dtype=float)
    counted = frame.assign(n=n, n_eff=n, customers=customers.to_numpy(dtype=float), method="kaplan-meier")
    parts = [_share(counted, curves, bounds, k) for k in days]
    parts += [_quantile(counted, curves, bounds, name, share) for name, share in QUANTILES.items()]
    return shown(parts, by=rows.by, level=level, min_cell=tables.study.about.min_cell)


def backlog(tables: Tables, by: Sequence[str] = ()) -> pd.DataFrame:
    """Count tickets opened and contacted in each month, and those still open at its end.

    Args:
        tables: Loaded tables.
        by: ``owner``, or other columns of the tickets or customers; months are always told apart.

    Returns:
        One row per group and month (text that sorts): the columns of ``by``, ``month``, ``opened``, ``contacted``,
        ``open``, ``suppressed``. Where one of them is below the study's ``min_cell`` and not zero, the row and the
        following one are hidden, from which it could be found.

    Raises:
        DataError: As of :func:`follow_up`.
    """
    if "month" in by:
        raise DataError("Months are told apart already.", ["leave 'month' out of `by`"])
    rows = _work(tables, by)
    cells = _dated(tables, rows)
    last = month_index(tables.study.about.extract.year, tables.study.about.extract.month)
    cells = cells.assign(began=_month(cells["date"]), met=_month(cells["contacted"]))
    first = int(cells["began"].min())
    months = np.arange(first, max(last, int(cells["began"].max())) + 1)
    parts = []
    for _, each in cells.groupby("group", sort=True):
        opened, contacted = (
            np.array([each.loc[each[name] == month, "n"].sum() for month in months], dtype=float)
            for name in ("began", "met")
        )
        part = pd.DataFrame({"month": [month_label(int(month)) for month in months], "opened": opened})
        part = part.assign(contacted=contacted, open=np.cumsum(opened - contacted))
        for place, (key, name) in enumerate(zip(rows.keys, rows.by, strict=True)):
            part.insert(place, name, each[key].iloc[0])
        parts.append(_hidden(part, tables.study.about.min_cell))
    return pd.concat(parts, ignore_index=True)


def _hidden(part: pd.DataFrame, min_cell: int) -> pd.DataFrame:
    numbers = part[["opened", "contacted", "open"]]
    small = ((numbers > 0) & (numbers < min_cell)).any(axis=1)
    hide = (small | small.shift(fill_value=False)).to_numpy()
    part.loc[hide, ["opened", "contacted", "open"]] = np.nan
    return part.assign(suppressed=hide)


def _work(tables: Tables, by: Sequence[str]) -> Rows:
    """Return the tickets that were to be followed up, with their groups."""
    tickets = required(tables, "tickets")
    if "contacted" not in tickets.columns:
        raise DataError(
            "Nobody says when tickets were followed up.", ["tickets.contacted: name its column in the study file"]
        )
    for column, value in (("eligible", 1), ("hold_out", 0)):
        if column in tickets.columns:
            tickets = tickets.filter(ibis.coalesce(tickets[column].cast("int64"), 1 - value) == value)
    return rows_of(tables, "tickets", by, table=tickets, weighted=False)


def _dated(tables: Tables, rows: Rows) -> pd.DataFrame:
    """Count tickets by group, day opened and day contacted: ``group`` (code), the keys, ``n``, ``delay``, ``age``."""
    table: Any = rows.table
    found = tables.fetch(
        table.group_by([*rows.keys, "date", "contacted"]).aggregate(
            n=table.count(), **{fault: table[fault].ifelse(1, 0).sum() for fault in rows.faults}
        )
    )
    faults = [f"{sentence}: {int(found[name].sum())}" for name, sentence in rows.faults.items() if found[name].sum()]
    if found.empty:
        faults.append("tickets: none is eligible for a call and was not held out")
    found = found.assign(**{name: pd.to_datetime(found[name]) for name in ("date", "contacted")})
    delay = (found["contacted"] - found["date"]).dt.days.astype(float)
    if (delay < 0).any():
        faults.append(f"tickets.contacted: {int(found.loc[delay < 0, 'n'].sum())} contacts before the ticket")
    if found["date"].isna().any():
        faults.append(f"tickets.date: {int(found.loc[found['date'].isna(), 'n'].sum())} tickets without a date")
    if faults:
        raise DataError("The follow-up of tickets cannot be measured.", faults)
    end = max(pd.Timestamp(tables.study.about.extract), found["date"].max())
    age = (end - found["date"]).dt.days.astype(float)
    group = found.groupby(list(rows.keys), dropna=False, sort=True).ngroup() if rows.keys else 0
    return found.assign(delay=delay, age=age, group=group, n=found["n"].astype(float))


def _curves(cells: pd.DataFrame) -> Curves:
    """Estimate the share not yet contacted by days since the ticket; the day of the ticket is day 0."""
    done = cells["delay"].notna().to_numpy()
    stop = np.where(done, cells["delay"], cells["age"])
    group, n = cells["group"].to_numpy(), cells["n"].to_numpy()
    none = np.zeros(n.size)
    return kaplan_meier(
        life_table_from_counts(
            np.concatenate([np.full(n.size, -1.0), stop]),
            np.concatenate([group, group]),
            entries=np.concatenate([n, none]),
            exits=np.concatenate([none, n]),
            events=np.concatenate([none, n * done])[:, None],
        )
    )


def _customers(tables: Tables, rows: Rows) -> pd.Series:
    """Count the customers behind each group, indexed by its keys."""
    table: Any = rows.table
    if not rows.keys:
        found = tables.fetch(table.aggregate(customers=table.customer.nunique()))
        return pd.Series(found["customers"].to_numpy(), index=[0])
    found = tables.fetch(table.group_by(rows.keys).aggregate(customers=table.customer.nunique()))
    return pd.Series(found["customers"].to_numpy(), index=pd.MultiIndex.from_frame(found[rows.keys]))


def _share(counted: pd.DataFrame, curves: Curves, bounds: Bounds, days: int) -> pd.DataFrame:
    value, se = (each[0] for each in curves.at(days))
    place = int(np.searchsorted(curves.time, days, "right")) - 1
    low, high = (np.where(np.isfinite(value), 1 - each[place], np.nan) for each in (bounds.high, bounds.low))
    return counted.assign(metric=f"contacted_{days}d", unit=str(Unit.RATIO), value=1 - value, se=se, low=low, high=high)


def _quantile(counted: pd.DataFrame, curves: Curves, bounds: Bounds, name: str, share: float) -> pd.DataFrame:
    """Find the first day by which a share is contacted: on the curve, and on both of its bounds."""
    value, low, high = (_first(curves.time, each, 1 - share) for each in (curves.value, bounds.low, bounds.high))
    return counted.assign(metric=name, unit=DAYS_UNIT, value=value, se=np.nan, low=low, high=high)


def _first(time: Floats, waiting: Floats, rest: float) -> Floats:
    reached = waiting <= rest + 1e-12
    return np.asarray(np.where(reached.any(0), time[reached.argmax(0)], np.nan))


def _month(days: pd.Series) -> pd.Series:
    month: pd.Series = days.dt.year * 12 + days.dt.month - 1
    return month
