"""Who is there and what they hold: customers of the last month and the mean of a stock, by segment."""

from __future__ import annotations

import ibis
import numpy as np
import pandas as pd
from babel.numbers import get_currency_precision
from scipy import stats

from rox.core.errors import DataError
from rox.metrics.source import Tables, month_range, required

EVERYBODY = "all"
COLUMNS = ("segment", "customers", "mean", "low", "high", "n")


def holdings(tables: Tables, money: str, *, level: float = 0.90) -> pd.DataFrame:
    """Measure how many customers each segment has in the ledger's last month, and how much they hold on average.

    Estimand: the population the design weights stand for. Variance: the linearised ratio Σwb/Σw over the segment's
    customers; the interval is Student's, cut at zero.

    Args:
        tables: Loaded tables.
        money: A stock in the ledger.
        level: Level of the intervals.

    Returns:
        One row per segment (``all`` without segments): ``segment``, ``customers`` (Σw), ``mean``, ``low``, ``high``
        (currency per customer) and ``n``, customers in the extract. Segments of fewer than ``min_cell`` of them are
        left out.

    Raises:
        DataError: No ledger, no such stock, or the ledger has no rows.
    """
    stocks = [name for name, each in tables.study.outcomes.items() if each.kind == "stock" and each.table == "ledger"]
    if money not in stocks:
        raise DataError(f"{money!r} is no stock in the ledger.", [f"the stocks are {', '.join(stocks) or 'none'}"])
    ledger, customers = required(tables, "ledger"), required(tables, "customers")
    _, last = month_range(tables, ledger)
    minor = float(10 ** get_currency_precision(tables.study.currency))
    now = ledger.filter(ledger.month == last).select(holder="customer", held=ledger[money].cast("float64") / minor)
    people = customers.select(
        "customer",
        segment=customers.segment.cast("string") if "segment" in customers.columns else ibis.literal(EVERYBODY),
        w=customers.weight.cast("float64") if "weight" in customers.columns else ibis.literal(1, "float64"),
    )
    joined = people.inner_join(now, people.customer == now.holder)
    w, held = joined.w, joined.held.fill_null(0.0)
    sums = joined.group_by("segment").aggregate(
        n=joined.count(),
        w=w.sum(),
        b=(w * held).sum(),
        ww=(w * w).sum(),
        wwb=(w * w * held).sum(),
        wwbb=(w * w * held * held).sum(),
    )
    found = tables.fetch(sums).sort_values("segment", ignore_index=True)
    n, mean = found["n"].to_numpy(dtype=float), (found["b"] / found["w"]).to_numpy(dtype=float)
    residual = (found["wwbb"] - 2 * mean * found["wwb"] + mean**2 * found["ww"]).to_numpy(dtype=float)
    error = np.sqrt(np.maximum(residual, 0.0) * n / np.maximum(n - 1, 1)) / found["w"].to_numpy(dtype=float)
    half = stats.t.ppf((1 + level) / 2, np.maximum(n - 1, 1)) * error
    table = pd.DataFrame(
        {
            "segment": found["segment"].astype(str),
            "customers": found["w"].astype(float),
            "mean": mean,
            "low": np.maximum(mean - half, np.minimum(mean, 0.0)),
            "high": mean + half,
            "n": n.astype(int),
        }
    )
    return table[table["n"] >= tables.study.about.min_cell].reset_index(drop=True)[list(COLUMNS)]
