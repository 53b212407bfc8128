"""Quantiles of durations and amounts from histograms that add, with intervals from the order of the values.

Whole numbers up to 128 have a bin each; beyond, bins grow by 2%, so that a quantile is within 1% of the value.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from babel.numbers import get_currency_precision
from scipy import stats

from rox.core.metric_tree import Metric
from rox.metrics.estimates import cells_of
from rox.metrics.source import Tables, count_true, rows_of
from rox.metrics.tree_sums import amount, matches, require_sound
from rox.numerics.arrays import Floats

GROWTH = 1.02
EXACT = 128
BEYOND = 1000
"""Added to the number of a bin that grows, so that it differs from every exact value."""


def of_quantiles(
    tables: Tables, metrics: Mapping[str, Metric], by: Sequence[str], level: float
) -> dict[str, pd.DataFrame]:
    """Measure quantiles of what rows hold; metrics that ask for other quantiles of the same rows share a scan.

    Rows count with their design weight; the interval is that of independent rows, as many as the weights leave
    (binomial order statistics, Conover 1999, section 3.2). Where no value of so few rows can bound it, it is open.

    Returns:
        By metric one row per cell, as in ``tree_rows.of_rows``.

    Raises:
        DataError: Rows at fault.
    """
    shared: dict[tuple[str, str], tuple[pd.DataFrame, pd.DataFrame]] = {}
    found = {}
    for name, metric in metrics.items():
        key = metric.table, metric.model_dump_json(include={"column", "where"})
        if key not in shared:
            shared[key] = _histogram(tables, metric, by)
        minor = 10 ** get_currency_precision(tables.study.currency) if metric.measured_in == "money" else 1
        part = _quantiles(*shared[key], by, metric.quantile, level)
        found[name] = part.assign(**{each: part[each] / minor for each in ("value", "low", "high")})
    return found


def bin_of(value: Any) -> Any:
    """Return the number of the bin of a whole number; engine expression."""
    size = value.abs().cast("float64")
    beyond = (size.log() / float(np.log(GROWTH))).floor().cast("int64") + BEYOND
    grown = (value > 0).ifelse(beyond, -beyond)
    return (value.abs() <= EXACT).ifelse(value, grown).cast("int64")


def value_of(number: Floats) -> Floats:
    """Return the value in the middle of a bin."""
    size = np.abs(number)
    grown = np.sign(number) * GROWTH ** (np.where(size >= BEYOND, size - BEYOND, 0) + 0.5)
    return np.asarray(np.where(size >= BEYOND, grown, number), dtype=np.float64)


def quantile_levels(share: float, n: float, level: float) -> tuple[float, float]:
    """Return the shares of the values whose order bounds a quantile; NaN on the side where none does."""
    size = max(int(np.floor(n + 1e-9)), 1)
    below, above = stats.binom.ppf([(1 - level) / 2, (1 + level) / 2], size, share)
    return below / size if below >= 1 else np.nan, (above + 1) / size if above + 1 <= size else np.nan


def _histogram(tables: Tables, metric: Metric, by: Sequence[str]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Fetch rows, weights and squared weights by cell and bin, and the customers of each cell."""
    rows = rows_of(tables, metric.table, by, table=tables.tables[metric.table])
    value = amount(rows.table, metric)
    table = rows.table.filter(matches(rows.table, metric.where) & value.notnull())
    table = table.mutate(bin=bin_of(amount(table, metric)))
    w = table.weight.cast("decimal(19,0)")
    sums = {"n": table.count(), "w": table.weight.sum(), "ww": (w * w).sum()}
    faults = {column: count_true(table[column]) for column in rows.faults}
    frame = tables.fetch(table.group_by([*rows.keys, "bin"]).aggregate(**sums, **faults))
    require_sound(frame, rows)
    people = tables.fetch(
        table.group_by(rows.keys).aggregate(customers=table.customer.nunique())
        if rows.keys
        else table.aggregate(customers=table.customer.nunique())
    )
    names = dict(zip(rows.keys, rows.by, strict=True))
    frame = frame.astype({**dict.fromkeys(sums, "float64"), "bin": "int64"}).rename(columns=names)
    return frame, people.rename(columns=names)


def _quantiles(
    frame: pd.DataFrame, people: pd.DataFrame, by: Sequence[str], share: float, level: float
) -> pd.DataFrame:
    keys, cell = cells_of(frame, by)
    rows = []
    for place in range(len(keys)):
        own = frame[cell == place]
        values = value_of(own["bin"].to_numpy(dtype=np.float64))
        order = np.argsort(values, kind="stable")
        values, weights = values[order], own["w"].to_numpy()[order]
        reached = np.cumsum(weights) / weights.sum()
        n_eff = float(weights.sum() ** 2 / own["ww"].sum())
        low, high = quantile_levels(share, n_eff, level)
        value, low, high = (_at(values, reached, each) for each in (share, low, high))
        rows.append((value, np.nan, low, high, own["n"].sum(), n_eff, "order"))
    found = pd.DataFrame(rows, columns=["value", "se", "low", "high", "n", "n_eff", "method"])
    found = pd.concat([keys.reset_index(drop=True), found], axis=1)
    if by:
        return found.merge(people, on=list(by), how="left")
    return found.assign(customers=float(people["customers"].iloc[0])) if len(found) else found.assign(customers=0.0)


def _at(values: Floats, reached: Floats, share: float) -> float:
    if not np.isfinite(share):
        return float("nan")
    return float(values[min(int(np.searchsorted(reached, share - 1e-12)), values.size - 1)])
