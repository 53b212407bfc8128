"""Times until something happens, and customers who stay active: Kaplan & Meier (1958) with Greenwood's variance.

Rows and customers count as they are, without design weights, and as independent of each other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import ibis
import numpy as np
import pandas as pd

from rox.core.errors import DataError
from rox.core.metric_tree import Metric
from rox.metrics.estimates import cells_of
from rox.metrics.source import Rows, Tables, count_true, rows_of
from rox.metrics.tree_sums import DAYS_IN, MONDAY, MONTHS_IN, matches, require_sound, windowed
from rox.numerics.arrays import Floats
from rox.numerics.incidence import Curves, kaplan_meier, life_table_from_counts
from rox.numerics.survival_bands import pointwise

DAY = pd.Timedelta(days=1)


def of_times(tables: Tables, metric: Metric, by: Sequence[str], level: float) -> pd.DataFrame:
    """Measure the days by which half of the rows have come to their end; rows without one are open at the extract.

    The interval is that of Brookmeyer & Crowley (1982); the period is that in which a row begins.

    Returns:
        One row per cell as in ``tree_rows.of_rows``, missing where half were never seen to end.

    Raises:
        DataError: Rows at fault, an end before its beginning.
    """
    table = tables.tables[metric.table]
    rows = rows_of(tables, metric.table, by, table=table.filter(matches(table, metric.where) & table.date.notnull()))
    ends = rows.table.mutate(begin=rows.table.date.cast("date"), end=rows.table[metric.until].cast("date"))
    found, people = _grouped(tables, rows, ends, ["begin", "end"])
    begin, end = (pd.to_datetime(found[name]) for name in ("begin", "end"))
    done = end.notna()
    time = (end.where(done, pd.Timestamp(tables.study.about.extract)) - begin) / DAY
    if (time[done] < 0).any():
        early = int(found.loc[done & (time < 0), "n"].sum())
        raise DataError(f"{metric.table}.{metric.until} cannot be measured.", [f"{early} ends before the beginning"])
    found = found.assign(time=np.maximum(time, 0.0), event=done)
    if found.empty:
        return pd.DataFrame()
    cells, curves = _curves(found, by)
    bounds = pointwise(curves, level=level)
    halves = {"value": curves.value, "low": bounds.low, "high": bounds.high}
    numbers = {name: _half(curves.time, each) for name, each in halves.items()}
    return _framed(cells, people, by, {**numbers, "se": np.full(len(cells), np.nan)})


def of_retention(tables: Tables, metric: Metric, by: Sequence[str], level: float) -> pd.DataFrame:
    """Measure the share of customers still active some windows after their first active window of the period.

    A customer becomes inactive with the first of ``idle`` windows without activity; whether that has happened is known
    up to the last windows of the tables, after which nobody is followed.

    Returns:
        One row per cell as in ``tree_rows.of_rows``; cells that are not followed for so long are not there.

    Raises:
        DataError: Rows at fault.
    """
    table = tables.tables[metric.table]
    seen = windowed(table.filter(matches(table, metric.where)), metric.window)
    seen = seen.select("customer", "window", "month").distinct()
    ahead = ibis.window(group_by=seen.customer, order_by=seen.window)
    spells = seen.mutate(following=seen.window.lead().over(ahead))
    ends = (spells.following - spells.window > metric.idle).fill_null(True)
    spells = spells.mutate(stop=ends.ifelse(spells.window, ibis.null("int64")))
    rest = ibis.window(group_by=spells.customer, order_by=spells.window, preceding=0, following=None)
    spells = spells.mutate(last=spells.stop.min().over(rest)).drop("following", "stop")
    rows = rows_of(tables, metric.table, by, table=spells)
    entered = rows.table.group_by([*rows.keys, "customer"]).aggregate(
        entry=rows.table.window.min(),
        last=rows.table["last"].min(),
        **{column: rows.table[column].any() for column in rows.faults},
    )
    found, people = _grouped(tables, rows, entered, ["entry", "last"])
    if found.empty:
        return pd.DataFrame()
    known = _last_window(tables, metric, seen) - metric.idle + 1
    gone = found["last"].astype(float) + 1
    found = found.assign(time=np.minimum(gone, known) - found["entry"].astype(float), event=gone <= known)
    found = found[found["time"] > 0].reset_index(drop=True)
    if found.empty:
        return pd.DataFrame()
    cells, curves = _curves(found, by)
    bounds = pointwise(curves, level=level)
    value, se = (each[0] for each in curves.at(float(metric.after or 1)))
    place = int(np.searchsorted(curves.time, float(metric.after or 1), "right")) - 1
    part = _framed(cells, people, by, {"value": value, "se": se, "low": bounds.low[place], "high": bounds.high[place]})
    return part[part["value"].notna()].reset_index(drop=True)


def _last_window(tables: Tables, metric: Metric, seen: Any) -> int:
    """Return the last window that is known whole: from the rows there are, and before the extract."""
    last = int(tables.fetch(seen.aggregate(last=ibis.coalesce(seen.window.max(), 0)))["last"][0])
    after = pd.Timestamp(tables.study.about.extract) + DAY
    if metric.window in MONTHS_IN:
        whole = (12 * after.year + after.month - 1) // MONTHS_IN[metric.window] - 1
    else:
        whole = (after - pd.Timestamp(*MONDAY)).days // DAYS_IN[metric.window] - 1
    return min(last, whole)


def _grouped(tables: Tables, rows: Rows, table: Any, times: Sequence[str]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Count rows by cell and times, with the code of their cell in ``group``; and the customers of each cell."""
    faults = {column: count_true(table[column]) for column in rows.faults}
    found = tables.fetch(table.group_by([*rows.keys, *times]).aggregate(n=table.count(), **faults))
    require_sound(found, rows)
    people = table.group_by(rows.keys) if rows.keys else table
    customers = tables.fetch(people.aggregate(customers=table.customer.nunique()))
    names = dict(zip(rows.keys, rows.by, strict=True))
    return found.rename(columns=names), customers.rename(columns=names)


def _curves(found: pd.DataFrame, by: Sequence[str]) -> tuple[pd.DataFrame, Curves]:
    """Estimate the share not yet at its end; a row is at risk from its beginning on, that day included."""
    keys, group = cells_of(found, by)
    n, event = found["n"].to_numpy(dtype=float), found["event"].to_numpy(dtype=float)
    none = np.zeros(n.size)
    table = life_table_from_counts(
        np.concatenate([np.full(n.size, -1.0), found["time"].to_numpy(dtype=float)]),
        np.concatenate([group, group]),
        entries=np.concatenate([n, none]),
        exits=np.concatenate([none, n]),
        events=np.concatenate([none, n * event])[:, None],
    )
    n_of = np.bincount(group, weights=n, minlength=len(keys))
    return keys.assign(n=n_of, n_eff=n_of, method="kaplan-meier"), kaplan_meier(table)


def _framed(
    cells: pd.DataFrame, people: pd.DataFrame, by: Sequence[str], numbers: Mapping[str, Floats]
) -> pd.DataFrame:
    """Put the numbers beside the cells and the customers behind them."""
    found = cells.assign(**numbers)
    if by:
        return found.merge(people, on=list(by), how="left")
    return found.assign(customers=float(people["customers"].iloc[0]))


def _half(time: Floats, waiting: Floats) -> Floats:
    reached = waiting <= 0.5 + 1e-12
    return np.asarray(np.where(reached.any(0), time[reached.argmax(0)], np.nan))
