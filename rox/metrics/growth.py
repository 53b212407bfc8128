"""Earned growth: what customers who were there bring a year later, and the new ones who came because of others.

Estimand: money of the later months, of customers of the earlier ones and of new customers who came by recommendation,
over the money of the earlier months, less one (Reichheld, Darnell & Burns 2021, "Net Promoter 3.0", *Harvard Business
Review* 99(6)). Variance: linearised ratios of sums over customers, strata the segments.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import ibis
import pandas as pd

from rox.core.errors import DataError
from rox.core.study import Study
from rox.core.units import Unit
from rox.metrics.cells import sums
from rox.metrics.display import shown
from rox.metrics.estimates import ratio, with_t
from rox.metrics.source import TIMES, Tables, month_range, required, rows_of, whole


def earned_growth(
    tables: Tables,
    by: Sequence[str] = (),
    *,
    money: str | None = None,
    months: int = 12,
    level: float = 0.90,
    weighted: bool = True,
) -> pd.DataFrame:
    """Measure what became of the money of a year ago, and what new customers add.

    The later months are the last of the ledger, the earlier ones those before them. A customer with a row in the
    earlier months was there; one without is new. Somebody who left brings nothing later. Money in debit counts as it
    stands. Of a stock the months are added up, which compares average balances.

    Args:
        tables: Loaded tables.
        by: Columns of the customers.
        money: The flow or stock of the ledger; by default the study's first flow, else its first stock.
        months: Length of either window.
        level: Level of the intervals.
        weighted: Whether customers count with their design weight.

    Returns:
        One row per group and metric, the columns of ``display.shown``; unit ``ratio``, all over the money of the
        earlier months. Metrics ``kept_money`` (net retention of money), ``new_money`` (all new customers), and, where
        the customers have a role ``came`` and the study says which ways are ``earned``, ``earned_money`` (new customers
        who came by one of these) and ``earned_growth``, which is ``kept_money + earned_money − 1``; ``n`` counts
        customers with money in either window.

    Raises:
        DataError: No ledger, no such money or group, a ledger shorter than two windows, no money in the earlier one.
    """
    ledger = required(tables, "ledger")
    if timed := sorted(set(by) & set(TIMES)):
        raise DataError(
            f"Growth cannot be split by {', '.join(timed)}.", ["give columns of the customers, such as segment"]
        )
    column, (first, last) = _money(tables.study, money), month_range(tables, ledger)
    if last - first + 1 < 2 * months:
        raise DataError(
            f"The ledger is too short to compare {months} months with the {months} before them.",
            [f"ledger: {last - first + 1} months, {2 * months} are needed; give `months` a smaller number"],
        )
    each = _with_earned(tables, _by_customer(ledger, column, last - 2 * months, months))
    rows = rows_of(tables, "ledger", by, table=each, weighted=weighted)
    table = rows.table
    before, after, was_there = table["_before"], table["_after"], table["_rows_before"] > 0
    parts = {"kept_money": was_there.ifelse(after, 0), "new_money": was_there.ifelse(0, after)}
    if "_earned" in each.columns:
        came = (table["_earned"] == 1) & ~was_there
        parts["earned_money"] = came.ifelse(after, 0)
        parts["earned_growth"] = (came | was_there).ifelse(after, 0) - before
    frame = sums(
        tables, rows, whole(before * table.design_weight), {k: whole(v * table.design_weight) for k, v in parts.items()}
    )
    if not frame["x"].sum() > 0:
        raise DataError(
            "Nobody held money in the earlier months.", [f"outcomes.{column}: nothing before the last year"]
        )
    found = [with_t(ratio(frame, rows.by, name), level).assign(metric=name, unit=str(Unit.RATIO)) for name in parts]
    return shown(found, by=rows.by, level=level, min_cell=tables.study.about.min_cell)


def compares(tables: Tables, months: int = 12) -> bool:
    """Tell whether the ledger has money for two windows of so many months."""
    kinds = {outcome.kind for outcome in tables.study.outcomes.values() if outcome.table == "ledger"}
    if "ledger" not in tables.tables or not kinds & {"flow", "stock"}:
        return False
    first, last = month_range(tables, tables.tables["ledger"])
    return last - first + 1 >= 2 * months


def _money(study: Study, money: str | None) -> str:
    held = {name: each.kind for name, each in study.outcomes.items() if each.table == "ledger"}
    known = [name for kind in ("flow", "stock") for name, found in held.items() if found == kind]
    if money is not None and money not in known:
        raise DataError(f"{money!r} is no money of the ledger.", [f"it has {', '.join(known) or 'none'}"])
    if money is None and not known:
        raise DataError("The ledger has no money.", ["declare an outcome of kind flow or stock"])
    return money or known[0]


def _by_customer(ledger: Any, column: str, before_first: int, months: int) -> Any:
    """Return one row per customer with rows in either window: money in each, and rows in the earlier one."""
    seen = ledger.filter(ledger.month > before_first)
    is_earlier = seen.month <= before_first + months
    amount = ibis.coalesce(seen[column].cast("int64"), 0)
    return seen.group_by("customer").aggregate(
        month=seen.month.max(),
        _before=is_earlier.ifelse(amount, 0).sum(),
        _after=is_earlier.ifelse(0, amount).sum(),
        _rows_before=is_earlier.ifelse(1, 0).sum(),
    )


def _with_earned(tables: Tables, each: Any) -> Any:
    """Add ``_earned``, 1 for customers who came by recommendation, where the study says how customers came."""
    declared, customers = tables.study.tables["customers"], required(tables, "customers")
    if "came" not in declared.columns or not declared.earned:
        return each
    earned = customers.filter(customers.came.isin(declared.earned)).select(recommended="customer").distinct()
    joined = each.left_join(earned, each.customer == earned.recommended)
    return joined.mutate(_earned=joined.recommended.notnull().ifelse(1, 0)).drop("recommended")
