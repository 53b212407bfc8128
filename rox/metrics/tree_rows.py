"""Metrics of rows and of customers in windows: shares, means, activity, earnings, counts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import ibis
import numpy as np
import pandas as pd
from babel.numbers import get_currency_precision

from rox.core.linked import month_index
from rox.core.metric_kinds import QUESTIONS, Window
from rox.core.metric_tree import Metric
from rox.core.study import Study
from rox.metrics.agreement import floored
from rox.metrics.answers import measures
from rox.metrics.estimates import cells_of, ratio, with_log_t, with_nps, with_t, with_wilson
from rox.metrics.source import MONTHS_OF, TIMES, Rows, Tables, rows_of, scale_of
from rox.metrics.tree_sums import DAYS_IN, MONDAY, MONTHS_IN, Trial, amount, matches, moments_of, summed, windowed

Metrics = Mapping[str, Metric]


def of_rows(tables: Tables, table: str, metrics: Metrics, by: Sequence[str], level: float) -> dict[str, pd.DataFrame]:
    """Measure what single rows of one table tell, in one scan.

    Returns:
        By metric one row per cell: the groups, ``value``, ``se``, ``low``, ``high``, ``n``, ``n_eff``, ``customers``,
        ``method``; cells in which no row counts are not there.

    Raises:
        DataError: Rows at fault.
    """
    rows = rows_of(tables, table, by, table=tables.tables[table])
    trials: dict[str, Trial] = {}
    counted: dict[str, Any] = {}
    for name, metric in metrics.items():
        each = matches(rows.table, metric.where)
        if metric.estimator == "count":
            counted[name] = each.ifelse(ibis.coalesce(amount(rows.table, metric), 0), 0)
        elif metric.estimator == "share":
            size = ibis.coalesce(amount(rows.table, metric), 0)
            base = matches(rows.table, metric.of)
            trials[name] = Trial(trials=base.ifelse(size, 0), hits=(base & each).ifelse(size, 0), binary=True)
        else:
            rows, trials[name] = _answer(tables, rows, name, metric, each)
    frame = summed(tables, rows, trials, counted)
    found = {name: _estimated(tables, metrics[name], moments_of(frame, by, name), by, level) for name in trials}
    return found | {name: _counted(frame, by, name) for name in counted}


def of_windows(
    tables: Tables, window: Window, metrics: Metrics, by: Sequence[str], level: float
) -> dict[str, pd.DataFrame]:
    """Measure customers in windows of one length; each table involved is scanned once.

    A window belongs to the period in which it begins. Result and errors as in :func:`of_rows`.
    """
    acts = _acts(tables, window, metrics)
    if any(metric.estimator == "adoption" for metric in metrics.values()):
        acts = _with_first(tables, acts, metrics)
    first = next(iter(metrics.values())).table
    rows = rows_of(tables, first, by, table=acts)
    trials = {name: _trial(rows.table, name, metric) for name, metric in metrics.items()}
    seen = {name: rows.table[f"a_{name}"] for name, metric in metrics.items() if metric.estimator == "actives"}
    frame = summed(tables, rows, {name: each for name, each in trials.items() if name not in seen}, seen)
    found = {
        name: _estimated(tables, metric, moments_of(frame, by, name), by, level)
        for name, metric in metrics.items()
        if name not in seen
    }
    if seen:
        span = _span(tables, acts, window)
        found |= {name: _mean_actives(_counted(frame, by, name), by, window, span) for name in seen}
    return found


def _answer(tables: Tables, rows: Rows, name: str, metric: Metric, each: Any) -> tuple[Rows, Trial]:
    scale = scale_of(tables.study, metric.column or "")
    given = rows.table[metric.column]
    outside = given.notnull() & ((given < scale.low) | (given > scale.high))
    wanted = {"nps": "nps", "mean": "mean", "top_two": "top_two"}[metric.estimator]
    value = ibis.coalesce(given.cast("int64"), scale.low)
    best_first = scale.high - value if scale.higher_is_better else value - scale.low
    known = {measure.metric: measure.value for measure in measures(scale, value)}
    known |= {"mean": value, "top_two": (best_first <= 1).ifelse(1, 0)}
    base = each & given.notnull()
    rows = replace(
        rows,
        table=rows.table.mutate(**{f"_fault_{name}": outside}),
        faults={**rows.faults, f"_fault_{name}": f"answers.{metric.column}: outside {scale.low}..{scale.high}"},
    )
    trial = Trial(trials=base.ifelse(1, 0), hits=base.ifelse(known[wanted], 0), binary=metric.estimator == "top_two")
    return rows, trial


def _acts(tables: Tables, window: Window, metrics: Metrics) -> Any:
    """Return one row per customer and window: per metric ``a_`` whether active, ``v_`` what was done."""
    names = dict.fromkeys(name for m in metrics.values() for name in (m.table, m.of_table or m.table))
    parts = []
    for table in names:
        rows = windowed(tables.tables[table], window)
        cells: dict[str, Any] = {"customer": rows.customer, "window": rows.window, "month": rows.month}
        for name, metric in metrics.items():
            active, done = ibis.literal(0, "int64"), ibis.literal(0, "int64")
            own = metric.where if metric.estimator == "actives" else metric.of
            if table == (metric.of_table or metric.table):
                active = matches(rows, own).ifelse(1, 0).cast("int64")
            if table == metric.table:
                done = matches(rows, metric.where).ifelse(ibis.coalesce(amount(rows, metric), 0), 0).cast("int64")
            cells |= {f"a_{name}": active, f"v_{name}": done}
        parts.append(rows.select(**cells))
    both = ibis.union(*parts) if len(parts) > 1 else parts[0]
    sums: dict[str, Any] = {}
    for name in metrics:
        sums |= {f"a_{name}": both[f"a_{name}"].max(), f"v_{name}": both[f"v_{name}"].sum().cast("int64")}
    return both.group_by(["customer", "window", "month"]).aggregate(**sums)


def _with_first(tables: Tables, acts: Any, metrics: Metrics) -> Any:
    """Add ``f_``, the window in which a customer did it first; the first window of all only tells who had before."""
    names = [name for name, metric in metrics.items() if metric.estimator == "adoption"]
    history = ibis.window(group_by=acts.customer)
    firsts = {
        f"f_{name}": (acts[f"v_{name}"] > 0).ifelse(acts.window, ibis.null("int64")).min().over(history)
        for name in names
    }
    begin = int(tables.fetch(acts.aggregate(first=ibis.coalesce(acts.window.min(), 0)))["first"][0])
    acts = acts.mutate(**firsts)
    return acts.mutate(
        **{
            f"a_{name}": (
                (acts[f"a_{name}"] > 0)
                & (acts.window > begin)
                & (acts[f"f_{name}"].isnull() | (acts.window <= acts[f"f_{name}"]))
            )
            .fill_null(False)
            .ifelse(1, 0)
            for name in names
        }
    )


def _trial(table: Any, name: str, metric: Metric) -> Trial:
    active, done = table[f"a_{name}"], table[f"v_{name}"]
    if metric.estimator in ("per_active", "earnings"):
        return Trial(trials=active, hits=active * done, binary=False)
    hit = (done > 0) & (table.window == table[f"f_{name}"]) if metric.estimator == "adoption" else done > 0
    return Trial(trials=active, hits=active * hit.fill_null(False).ifelse(1, 0), binary=True)


def _estimated(tables: Tables, metric: Metric, moments: pd.DataFrame, by: Sequence[str], level: float) -> pd.DataFrame:
    """Estimate one metric in every cell, with the interval that goes with it."""
    if moments.empty:
        return moments
    found = ratio(moments, by, "value")
    if metric.is_share:
        return with_wilson(found, level)
    if metric.estimator == "nps":
        return with_nps(found, level)
    if metric.estimator == "per_active":
        return with_log_t(found, level)
    if metric.estimator == "earnings":
        minor = float(10 ** get_currency_precision(tables.study.currency))
        found = found.assign(value=found["value"] / minor, se=found["se"] / minor)
    if metric.estimator in QUESTIONS:
        scale = scale_of(tables.study, metric.column or "")
        found = with_t(floored(found, (float(scale.low), float(scale.high))), level)
        ends = found[["low", "high"]].clip(scale.low, scale.high)
        return found.assign(low=ends["low"], high=ends["high"])
    return with_t(found, level)


def _counted(frame: pd.DataFrame, by: Sequence[str], name: str) -> pd.DataFrame:
    keys, cell = cells_of(frame, by)
    total, customers = (np.bincount(cell, weights=frame[f"{c}_{name}"], minlength=len(keys)) for c in ("c", "k"))
    found = keys.assign(value=total, se=np.nan, low=np.nan, high=np.nan, n=total, n_eff=np.nan, customers=customers)
    return found.assign(method="count")[total > 0].reset_index(drop=True)


def _mean_actives(
    counted: pd.DataFrame, by: Sequence[str], window: Window, span: tuple[pd.Timestamp, pd.Timestamp]
) -> pd.DataFrame:
    """Turn customer-windows into the mean number of customers active in a window of the period."""
    kind = next((each for each in by if each in TIMES), None)
    starts = pd.Series(list(_starts(window, span)))
    months = starts.dt.year * 12 + starts.dt.month - 1
    periods = months // MONTHS_OF[kind] if kind else months * 0
    windows = periods.value_counts()
    size = counted[kind].map(windows).astype(float) if kind else float(windows.sum())
    return counted.assign(value=counted["value"] / size)


def _span(tables: Tables, acts: Any, window: Window) -> tuple[pd.Timestamp, pd.Timestamp]:
    """Return the day on which the first window begins and the last day that the tables can hold."""
    found = tables.fetch(acts.aggregate(month=ibis.coalesce(acts.month.min(), 0), window=acts.window.min())).iloc[0]
    month, extract = int(found["month"]), pd.Timestamp(tables.study.about.extract)
    if window in MONTHS_IN:
        return pd.Timestamp(year=month // 12, month=month % 12 + 1, day=1), extract
    return pd.Timestamp(*MONDAY) + pd.Timedelta(days=int(found["window"]) * DAYS_IN[window]), extract


def _starts(window: Window, span: tuple[pd.Timestamp, pd.Timestamp]) -> Iterator[pd.Timestamp]:
    """Iterate over the days on which windows begin."""
    first, last = span
    if window in MONTHS_IN:
        size = MONTHS_IN[window]
        month, end = month_index(first.year, first.month) // size * size, month_index(last.year, last.month)
        yield from (pd.Timestamp(year=m // 12, month=m % 12 + 1, day=1) for m in range(month, end + 1, size))
    else:
        yield from pd.date_range(first, last, freq=f"{DAYS_IN[window]}D")


def complete_through(study: Study, every: str) -> int:
    """Return the number of the last period that had ended when the tables were exported."""
    after = pd.Timestamp(study.about.extract) + pd.Timedelta(days=1)
    return month_index(after.year, after.month) // MONTHS_OF[every] - 1
