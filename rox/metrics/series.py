"""A measure by month or quarter with the variance of its sampling."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from rox.metrics.cells import moments
from rox.metrics.display import NUMBERS
from rox.metrics.estimates import ratio
from rox.metrics.source import Tables
from rox.metrics.tallies import UNKNOWN, asked

FEWEST = 2.0
"""Effective answers below which a period has no value."""
ENOUGH = 30.0
"""Effective answers below which the variance of answers is that of all periods."""


def columns_of(by: Sequence[str]) -> tuple[str, ...]:
    """Name the columns of groups in results: a group named as one of their numbers has ``by_`` before its name."""
    return tuple(f"by_{group}" if group in (*NUMBERS, "score") else group for group in by)


def series(
    tables: Tables,
    score: str,
    by: Sequence[str],
    time: str,
    *,
    metric: str | None = None,
    weighted: bool = True,
    fewest: float = FEWEST,
) -> pd.DataFrame:
    """Measure every group in every period.

    Args:
        tables: Loaded tables.
        score: A score or driver of the study, or ``churn``.
        by: Columns of the rows or customers.
        time: ``month`` or ``quarter``.
        metric: As in ``tallies.asked``.
        weighted: Whether rows count with the design weight of their customer.
        fewest: Effective answers below which a period is left out.

    Returns:
        One row per group and period, sorted: the columns of ``columns_of(by)`` (missing ones ``unknown``), ``time`` as
        a number, ``score``, ``metric``, ``unit``, ``value``, ``variance``, ``spread`` (of one row), ``n``, ``n_eff``,
        ``customers``.

    Raises:
        DataError: As in ``tallies.asked``.
    """
    what = asked(tables, score, (*by, time), metric=metric, weighted=weighted)
    frame = moments(tables, what.rows, {"v": what.rows.table["_measured"]})
    named = {group: frame[group].astype(object).where(frame[group].notna(), UNKNOWN).astype(str) for group in by}
    found = ratio(frame.assign(**named), what.rows.by, "v")
    alone = np.maximum(found["square"] - found["value"] ** 2, 0.0)
    common = float((alone * found["n_eff"]).sum() / max(float(found["n_eff"].sum()), 1.0))
    own = (found["n_eff"] >= ENOUGH) & (found["se"] > 0)
    variance = np.where(own, found["se"] ** 2, common / np.maximum(found["n_eff"], 1.0))
    groups = columns_of(by)
    kept = found.rename(columns=dict(zip(by, groups, strict=True))).assign(
        score=score,
        metric=what.metric,
        unit=str(what.unit),
        value=what.factor * found["value"],
        variance=what.factor**2 * variance,
        spread=what.factor**2 * common,
        **{time: found[time].astype(int)},
    )
    kept = kept[kept["n_eff"] >= fewest]
    columns = [*groups, time, "score", "metric", "unit", "value", "variance", "spread", "n", "n_eff", "customers"]
    return kept[columns].sort_values([*groups, time], ignore_index=True)
