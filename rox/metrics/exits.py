"""Who leaves and who stays: hazards, yearly churn of heads and of money, and retention of closed cohorts.

A customer is active in a month with a row in the ledger. Leaving is a row of exits; it is *voluntary* when the study
lists its reason as the customer's choice. Estimand: the population the design weights stand for. Variance: linearised
ratios, the customer being the unit, strata the segments.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import ibis
import pandas as pd

from rox.core.errors import DataError
from rox.core.study import Study
from rox.core.units import Unit
from rox.metrics.cells import Part, split_moments
from rox.metrics.display import shown
from rox.metrics.estimates import over_year, ratio, with_log_t, with_wilson
from rox.metrics.source import Tables, groups_of, month_range, required, rows_of, whole


def churn(
    tables: Tables, by: Sequence[str] = (), *, money: str | None = None, level: float = 0.90, weighted: bool = True
) -> pd.DataFrame:
    """Measure the hazard of leaving per customer-month and what it makes of a year, for heads and for money.

    Heads: exits of a month over customers active in it. Money: the balance at the end of the month before of those who
    leave, over that of all. Somebody who leaves in a month without a row for it, but with one for the month before, was
    at risk in it. Balances in debit count as zero.

    Args:
        tables: Loaded tables.
        by: ``month``, ``quarter``, ``year`` or columns of the customers.
        money: The stock in the ledger that weighs customers; by default the study's first, if it has one.
        level: Level of the intervals.
        weighted: Whether customers count with their design weight.

    Returns:
        One row per group and metric, the columns of ``display.shown``. Metrics ``hazard_all``, ``hazard_voluntary``
        (share per month), ``churn_all``, ``churn_voluntary`` (share gone after a year, 1 − exp(−12·hazard)), and the
        same with ``money_`` before; the voluntary ones only if the study says which reasons are voluntary. Unit
        ``ratio``; ``n`` counts customer-months.

    Raises:
        DataError: No ledger or exits, no such group or stock, a customer who leaves twice.
    """
    return churn_splits(tables, (by,), money=money, level=level, weighted=weighted)[0]


def churn_splits(
    tables: Tables,
    splits: Sequence[Sequence[str]],
    *,
    money: str | None = None,
    level: float = 0.90,
    weighted: bool = True,
) -> list[pd.DataFrame]:
    """Do what ``churn`` does for several groupings in one pass over the ledger."""
    stock, kinds = stock_of(tables, money), _kinds(tables.study)
    rows = rows_of(tables, "ledger", groups_of(splits), table=_at_risk(tables, stock), weighted=weighted)
    values = {kind: rows.table[f"_left_{kind}"] for kind in kinds}
    parts = {"": Part(values=values)}
    if stock:
        balance = rows.table["_balance"]
        held = whole(rows.table.design_weight * balance)
        parts["money_"] = Part(values=values, where=balance > 0, weight=held)
    found = []
    for split, frames in zip(splits, split_moments(tables, rows, parts, splits), strict=True):
        rates = []
        for prefix, frame in frames.items():
            for kind in kinds:
                hazard = with_log_t(ratio(frame, split, kind), level).assign(unit=str(Unit.RATIO))
                rates.append(hazard.assign(metric=f"{prefix}hazard_{kind}"))
                rates.append(over_year(hazard).assign(metric=f"{prefix}churn_{kind}"))
        found.append(shown(rates, by=split, level=level, min_cell=tables.study.about.min_cell))
    return found


def retention(
    tables: Tables, by: Sequence[str] = (), *, months: int = 12, level: float = 0.90, weighted: bool = True
) -> pd.DataFrame:
    """Measure the share of a closed cohort that is still there some months later, with Wilson's interval.

    A cohort is everybody active at the end of a month; only months with ``months`` more in the ledger make cohorts.
    Groups by time are those of the cohort; over several cohorts a customer counts once in each.

    Args:
        tables: Loaded tables.
        by: ``month``, ``quarter``, ``year`` or columns of the customers.
        months: Length of the follow-up.
        level: Level of the intervals.
        weighted: Whether customers count with their design weight.

    Returns:
        One row per group and metric, the columns of ``display.shown``. Metric ``retention_all``;
        ``retention_voluntary`` counts as gone only those who chose to leave. Unit ``ratio``; ``n`` counts customers,
        once in each cohort.

    Raises:
        DataError: No ledger or exits, no such group, a ledger too short, a customer who leaves twice.
    """
    return retention_splits(tables, (by,), months=months, level=level, weighted=weighted)[0]


def retention_splits(
    tables: Tables, splits: Sequence[Sequence[str]], *, months: int = 12, level: float = 0.90, weighted: bool = True
) -> list[pd.DataFrame]:
    """Do what ``retention`` does for several groupings in one pass over the ledger."""
    ledger, exits = required(tables, "ledger"), exits_of(tables)
    first, last = month_range(tables, ledger)
    if last - months < first:
        raise DataError(
            f"The ledger is too short to follow a cohort for {months} months.",
            [f"ledger: {last - first + 1} months; give `months` a smaller number"],
        )
    cohorts = ledger.select("customer", "month").filter(ledger.month <= last - months)
    known = cohorts.left_join(exits, cohorts.customer == exits.gone)
    known = known.filter(known.exit_month.isnull() | (known.month < known.exit_month))
    left = (known.exit_month <= known.month + months).fill_null(False)
    chosen = left & known.voluntary.fill_null(False)
    table = known.mutate(_stayed_all=left.ifelse(0, 1), _stayed_voluntary=chosen.ifelse(0, 1)).drop(
        "gone", "exit_month", "voluntary"
    )
    rows = rows_of(tables, "ledger", groups_of(splits), table=table, weighted=weighted)
    kinds = _kinds(tables.study)
    parts = {"": Part(values={kind: rows.table[f"_stayed_{kind}"] for kind in kinds})}
    found = []
    for split, frames in zip(splits, split_moments(tables, rows, parts, splits), strict=True):
        rates = [
            with_wilson(ratio(frames[""], split, kind), level).assign(metric=f"retention_{kind}", unit=str(Unit.RATIO))
            for kind in kinds
        ]
        found.append(shown(rates, by=split, level=level, min_cell=tables.study.about.min_cell))
    return found


def at_risk(tables: Tables) -> Any:
    """Return an engine table of the customer-months at risk: ``customer``, ``month``, ``_left_all``, 1 or 0.

    Raises:
        DataError: No ledger or exits, or a customer who leaves twice.
    """
    return _at_risk(tables, None)


def followed_for(tables: Tables, months: int) -> bool:
    """Tell whether the ledger is long enough to follow a cohort for so many months."""
    first, last = month_range(tables, required(tables, "ledger"))
    return last - months >= first


def _kinds(study: Study) -> tuple[str, ...]:
    return ("all", "voluntary") if _voluntary(study) else ("all",)


def _voluntary(study: Study) -> tuple[str, ...]:
    exits = study.tables.get("exits")
    return exits.voluntary if exits is not None and "reason" in exits.columns else ()


def stock_of(tables: Tables, money: str | None) -> str | None:
    """Return the stock of that name, else the study's first in the ledger, if it has one.

    Raises:
        DataError: There is no stock of that name in the ledger.
    """
    stocks = [
        name for name, outcome in tables.study.outcomes.items() if outcome.kind == "stock" and outcome.table == "ledger"
    ]
    if money is not None and money not in stocks:
        raise DataError(f"{money!r} is no stock in the ledger.", [f"the stocks are {', '.join(stocks) or 'none'}"])
    return money or next(iter(stocks), None)


def exits_of(tables: Tables) -> Any:
    """Return ``gone`` (customer), ``exit_month``, ``voluntary``; one row per customer who left."""
    exits = required(tables, "exits")
    reasons = _voluntary(tables.study)
    chosen = exits.reason.isin(reasons) if reasons else ibis.literal(False)
    counts = tables.fetch(exits.aggregate(rows=exits.count(), people=exits.customer.nunique())).iloc[0]
    if counts["rows"] != counts["people"]:
        raise DataError(
            "A customer can leave once.",
            [f"exits: {int(counts['rows'])} rows of {int(counts['people'])} customers; keep the last exit of each"],
        )
    return exits.select(gone=exits.customer, exit_month=exits.month.cast("int64"), voluntary=chosen)


def _at_risk(tables: Tables, stock: str | None) -> Any:
    """Return the customer-months at risk, who left in them, and the balance at the end of the month before."""
    ledger, exits = required(tables, "ledger"), exits_of(tables)
    first, last = month_range(tables, ledger)
    balance = ledger[stock].cast("float64") if stock else ibis.null("float64")
    active = ledger.select("customer", month=ledger.month.cast("int64"), held=balance)
    inside = exits.filter(exits.exit_month > first, exits.exit_month <= last)
    unlisted = inside.anti_join(active, (inside.gone == active.customer) & (inside.exit_month == active.month))
    extra = unlisted.select(customer=unlisted.gone, month=unlisted.exit_month, held=ibis.null("float64"))
    listed = active.mutate(listed=ibis.literal(1)).union(extra.mutate(listed=ibis.literal(0)))
    history = ibis.window(group_by=listed.customer, order_by=listed.month)
    placed = listed.mutate(before=listed.month.lag().over(history), held_before=listed.held.lag().over(history))
    follows = (placed.before == placed.month - 1).fill_null(False)
    placed = placed.mutate(balance=follows.ifelse(placed.held_before, ibis.null("float64")), follows=follows)
    placed = placed.filter((placed.listed == 1) | placed.follows)
    known = placed.left_join(exits, placed.customer == exits.gone)
    known = known.filter(known.exit_month.isnull() | (known.month <= known.exit_month))
    leaves = (known.month == known.exit_month).fill_null(False)
    return known.select(
        "customer",
        "month",
        _balance=known.balance,
        _left_all=leaves.ifelse(1, 0),
        _left_voluntary=(leaves & known.voluntary.fill_null(False)).ifelse(1, 0),
    )
