"""Money and counts of the ledger by month, per customer."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from babel.numbers import get_currency_precision

from rox.core.study import Study
from rox.core.units import Unit
from rox.metrics.cells import sums
from rox.metrics.estimates import ratio
from rox.metrics.series import columns_of
from rox.metrics.source import Tables, required, rows_of, whole
from rox.metrics.tallies import UNKNOWN

PER_CUSTOMER = "per_customer"
FINE = 1_000
"""Weights are whole numbers of thousandths, so that squares of weighted money can be held."""


def is_money(study: Study, name: str) -> bool:
    """Tell whether a name stands for an outcome of the ledger, and for no question."""
    asked = name in {**study.scores, **study.drivers}
    return not asked and name in study.outcomes and study.outcomes[name].table == "ledger"


def money_series(tables: Tables, name: str, by: Sequence[str], *, weighted: bool = True) -> pd.DataFrame:
    """Measure an outcome of the ledger per customer in every group and month.

    A stock is what customers hold on average, a flow what they bring in the month, over the customers of whom the
    ledger gives it. All of them are there month by month, so sampling shifts the whole series and hardly one month
    against another.

    Args:
        tables: Loaded tables.
        name: An outcome of the ledger.
        by: Columns of the ledger or customers.
        weighted: Whether customers count with their design weight.

    Returns:
        The columns of ``series.series``; ``spread`` is the square of the group's mean, which seasons of money go with.

    Raises:
        DataError: No ledger, no such group, or rows at fault.
    """
    ledger = required(tables, "ledger")
    given = ledger.filter(ledger[name].notnull())
    rows = rows_of(tables, "ledger", (*by, "month"), table=given, weighted=weighted)
    w = rows.table.design_weight * FINE
    found = ratio(sums(tables, rows, whole(w), {"v": whole(w * rows.table[name].cast("float64"))}), rows.by, "v")
    is_count = tables.study.outcomes[name].kind == "count"
    unit = 1.0 if is_count else 0.1 ** get_currency_precision(tables.study.currency)
    groups = columns_of(by)
    named = {group: found[group].astype(object).where(found[group].notna(), UNKNOWN).astype(str) for group in by}
    frame = found.assign(**named, value=unit * found["value"], variance=(unit * np.nan_to_num(found["se"])) ** 2)
    frame = frame.rename(columns=dict(zip(by, groups, strict=True))).assign(
        score=name,
        metric=PER_CUSTOMER,
        unit=str(Unit.COUNT if is_count else Unit.MONEY_PER_CUSTOMER),
        month=frame["month"].astype(int),
    )
    level = (
        frame["value"].groupby([frame[group] for group in groups]).transform("mean") if by else frame["value"].mean()
    )
    columns = [*groups, "month", "score", "metric", "unit", "value", "variance", "spread", "n", "n_eff", "customers"]
    return frame.assign(spread=level**2)[columns].sort_values([*groups, "month"], ignore_index=True)
