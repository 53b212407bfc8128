"""Panels of customers and months with a known shape, written once as Parquet."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.measure import FOLDER

MONTHS = 24
FIRST = 24 * 1000
REGRESSORS = ("nps", "products", "digital")


def panel(rows: float, *, balanced: bool) -> Path:
    """Write, or find, a panel in the order of months.

    Three regressors, one of them related to the customers' levels; errors correlated over time (AR(1), 0.6). In an
    unbalanced one customers arrive late, leave, and miss one month in twenty.
    """
    path = FOLDER / f"panel-{rows:.0f}-{'balanced' if balanced else 'unbalanced'}.parquet"
    if path.exists():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(1)
    count = max(int(rows) // MONTHS, 50)
    level, error = rng.normal(size=count), rng.normal(size=count)
    first = np.zeros(count) if balanced else np.maximum(0, rng.integers(-12, 12, count))
    last = (
        np.full(count, MONTHS)
        if balanced
        else np.where(rng.random(count) < 0.3, rng.integers(6, MONTHS, count), MONTHS)
    )
    draft, writer = path.with_suffix(".draft"), None
    for month in range(MONTHS):
        error = 0.6 * error + rng.normal(size=count)
        nps = np.clip(np.round(7 + level + 1.5 * rng.normal(size=count)), 0, 10)
        products = np.round(2 + 0.5 * level + 0.05 * month + rng.random(count))
        digital = 0.3 * level + rng.normal(size=count)
        y = 100 + 5 * level + 0.4 * nps + 0.8 * products - 0.3 * digital + 0.1 * month + error
        kept = np.flatnonzero((month >= first) & (month < last) & (balanced | (rng.random(count) > 0.05)))
        columns = {"y": y, "nps": nps, "products": products, "digital": digital}
        found = pa.table(
            {"customer": kept, "month": np.full(kept.size, FIRST + month), **{k: v[kept] for k, v in columns.items()}}
        )
        writer = writer or pq.ParquetWriter(draft, found.schema)
        writer.write_table(found, row_group_size=1 << 20)
    if writer is not None:
        writer.close()
    draft.rename(path)
    return path
