"""Silent attrition: customers whose money goes although they close nothing.

A customer has gone silent when the money stays below a share of its usual amount for some months running; the first of
them is the month of going. Usual is the median of the customer's own twelve months before, of which six must be on
record. An account that closes before the months have run out is churn (:func:`rox.metrics.exits.churn`), one that
closes later had gone silent first. Estimand and variance are those of churn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import ibis
import pandas as pd

from rox.core.attrition import FEWEST, TRAILING, usual_money
from rox.core.check import Check, Verdict
from rox.core.errors import DataError
from rox.core.study import Attrition, Study
from rox.core.units import Unit
from rox.metrics.cells import Part, split_moments
from rox.metrics.display import shown
from rox.metrics.estimates import over_year, ratio, with_log_t
from rox.metrics.exits import exits_of, stock_of
from rox.metrics.source import Tables, groups_of, month_range, required, rows_of, whole

SHARES, SPANS = (0.10, 0.20, 0.30), (2, 3, 6)
"""Shares of the usual money, and months running, over which the definition is varied."""
LONGEST = TRAILING // 2
"""Months running beyond which the fall itself would enter the median it is held against."""
METRICS = ("hazard_silent", "attrition_silent", "money_hazard_silent", "money_attrition_silent")


@dataclass(frozen=True, kw_only=True, eq=False)
class SilentAttrition:
    """Who goes without closing the account; frames have the columns of ``display.shown``.

    Attributes:
        money: The stock that is looked at.
        share: Of the usual money, below which it counts as gone.
        months: For how many months running.
        rates: One row per group and metric: ``hazard_silent`` (share of customers per month), ``attrition_silent``
            (share gone after a year, 1 − exp(−12·hazard)), and the same with ``money_`` before, which weigh customers
            by their usual money. Unit ``ratio``; ``n`` counts customer-months at risk.
        sensitivity: ``attrition_silent`` over everybody by other definitions, with the columns ``share`` and
            ``months`` before the others: one row per share of ``SHARES`` and months of ``SPANS`` that the ledger is
            long enough for, and that of ``rates``.
        checks: What a reader must know.
    """

    money: str
    share: float
    months: int
    rates: pd.DataFrame
    sensitivity: pd.DataFrame
    checks: tuple[Check, ...]


def attrition(
    tables: Tables,
    by: Sequence[str] = (),
    *,
    money: str | None = None,
    share: float | None = None,
    months: int | None = None,
    level: float = 0.90,
    weighted: bool = True,
) -> SilentAttrition:
    """Measure how many customers, and how much money, go without a word, and what the definition does to it.

    At risk in a month is who has six of the twelve months before on record with money in them, has not gone silent and
    not closed. The last months of the ledger, of which it cannot yet show what follows, are left out; so are the last
    months of a customer whose rows end without an exit. A month without a row breaks a run.

    Args:
        tables: Loaded tables; exits are used where the study has them.
        by: ``month``, ``quarter``, ``year`` or columns of the customers.
        money: A stock of the ledger; by default that of ``[attrition]``, else the study's first.
        share: Of the usual money; by default that of ``[attrition]``, else 0.2.
        months: Running; by default those of ``[attrition]``, else 3.
        level: Level of the intervals.
        weighted: Whether customers count with their design weight.

    Raises:
        DataError: No ledger, no stock or group, a share or months out of range, a ledger too short, a customer who
            leaves twice.
    """
    stock = stock_of(tables, money or tables.study.attrition_outcome)
    if stock is None:
        raise DataError(
            "Silent attrition needs money that is held.", ["declare an outcome of the ledger of kind stock"]
        )
    own = _definition(tables.study, share, months)
    first, last = month_range(tables, required(tables, "ledger"))
    _require_months(last - first + 1, own[1])
    told = [span for span in SPANS if FEWEST + span <= last - first + 1]
    ways = tuple(dict.fromkeys([own, *product(SHARES, told)]))
    table = _at_risk(tables, stock, ways, last)
    rows = rows_of(tables, "ledger", groups_of((by,)), table=table, weighted=weighted)
    found, everybody = split_moments(tables, rows, _parts(rows.table, ways), (tuple(by), ()))
    if found["0"].empty:
        raise DataError(
            "Nobody can be seen going silent.",
            [f"ledger.{stock}: no customer has {FEWEST} months with money before the last {own[1]}"],
        )
    least = tables.study.about.min_cell
    sensitivity = _sensitivity(everybody, ways, level, least)
    return SilentAttrition(
        money=stock,
        share=own[0],
        months=own[1],
        rates=shown(_rates(found, by, level), by=by, level=level, min_cell=least),
        sensitivity=sensitivity,
        checks=tuple(_checks(sensitivity, own)),
    )


def _definition(study: Study, share: float | None, months: int | None) -> tuple[float, int]:
    declared = study.attrition or Attrition()
    own = (declared.share if share is None else share, declared.months if months is None else months)
    faults = [] if 0 < own[0] < 1 else [f"share is {own[0]:g}; needed: more than 0, less than 1"]
    if not 1 <= own[1] <= LONGEST:
        faults.append(
            f"months is {own[1]}; needed: 1 to {LONGEST}, beyond which the fall would enter the usual money itself"
        )
    if faults:
        raise DataError("This is no definition of silent attrition.", faults)
    return own


def _require_months(there: int, months: int) -> None:
    if there < FEWEST + months:
        raise DataError(
            "The ledger is too short to see anybody go silent.",
            [f"ledger: {there} months; {FEWEST + months} are needed, {FEWEST} of them to know what is usual"],
        )


def _at_risk(tables: Tables, stock: str, ways: Sequence[tuple[float, int]], last: int) -> Any:
    """Return customer-months with usual money: ``_usual`` and for each way ``_in_<i>`` (0 or 1) and ``_silent_<i>``."""
    ledger = required(tables, "ledger")
    held = ledger.select("customer", month=ledger.month.cast("int64"), amount=ledger[stock].cast("float64"))
    if "exits" in tables.tables:
        exits = exits_of(tables)
        known = held.left_join(exits, held.customer == exits.gone).drop("gone", "voluntary")
        known = known.filter(known.exit_month.isnull() | (known.month < known.exit_month))
    else:
        known = held.mutate(exit_month=ibis.null("int64"))
    ends = known.group_by(whose="customer").aggregate(final=known.month.max(), left=known.exit_month.max())
    usual = usual_money(known.filter(known.amount.notnull()).select("customer", "month", "amount"))
    enough = usual.filter(usual.seen >= FEWEST, usual.usual > ibis.literal(0, "float64"))
    table = enough.inner_join(ends, enough.customer == ends.whose).drop("whose")
    shares = tuple(dict.fromkeys(share for share, _ in ways))
    table = _with_runs(table, shares)
    begins = {
        f"_since_{i}": ((table[f"_low_{shares.index(share)}"] == 1) & (table[f"_run_{shares.index(share)}"] >= months))
        .ifelse(table[f"_begins_{shares.index(share)}"], ibis.null("int64"))
        .min()
        .over(ibis.window(group_by=table.customer))
        for i, (share, months) in enumerate(ways)
    }
    table = table.mutate(**begins)
    columns = {"_usual": table.usual}
    for i, (_, months) in enumerate(ways):
        until, since = table.month + (months - 1), table[f"_since_{i}"]
        closed = (table.left <= until).fill_null(False)
        at_risk = (until <= last) & ((until <= table.final) | closed) & (table.month <= since).fill_null(True)
        columns[f"_in_{i}"] = at_risk.ifelse(1, 0)
        columns[f"_silent_{i}"] = (table.month == since).fill_null(False).ifelse(1, 0)
    return table.select("customer", "month", **columns)


def _with_runs(table: Any, shares: Sequence[float]) -> Any:
    """Add for each share whether the month is low (``_low_<j>``), and its run's length and first month.

    Low months that follow each other have the same difference of month and place among the customer's low months.
    """
    table = table.mutate(
        **{
            f"_low_{j}": (table.amount / table.usual < ibis.literal(share, "float64")).ifelse(1, 0)
            for j, share in enumerate(shares)
        }
    )
    places = {
        f"_key_{j}": table.month
        - ibis.row_number().over(ibis.window(group_by=[table.customer, table[f"_low_{j}"]], order_by=table.month))
        for j in range(len(shares))
    }
    table = table.mutate(**places)
    runs: dict[str, Any] = {}
    for j in range(len(shares)):
        run = ibis.window(group_by=[table.customer, table[f"_low_{j}"], table[f"_key_{j}"]])
        runs |= {f"_run_{j}": table.month.count().over(run), f"_begins_{j}": table.month.min().over(run)}
    return table.mutate(**runs)


def _parts(table: Any, ways: Sequence[tuple[float, int]]) -> dict[str, Part]:
    """Return the heads of every way by its number, and the money of the first."""
    parts = {
        str(i): Part(values={"silent": table[f"_silent_{i}"]}, where=table[f"_in_{i}"] == 1) for i in range(len(ways))
    }
    held = whole(table.design_weight * table["_usual"])
    parts["money"] = Part(values={"silent": table["_silent_0"]}, where=table["_in_0"] == 1, weight=held)
    return parts


def _rates(found: Mapping[str, pd.DataFrame], by: Sequence[str], level: float) -> list[pd.DataFrame]:
    rates = []
    for name, prefix in (("0", ""), ("money", "money_")):
        hazard = with_log_t(ratio(found[name], by, "silent"), level).assign(unit=str(Unit.RATIO))
        rates.append(hazard.assign(metric=f"{prefix}hazard_silent"))
        rates.append(over_year(hazard).assign(metric=f"{prefix}attrition_silent"))
    return rates


def _sensitivity(
    found: Mapping[str, pd.DataFrame], ways: Sequence[tuple[float, int]], level: float, least: int
) -> pd.DataFrame:
    frames = []
    for i, (share, months) in enumerate(ways):
        year = over_year(with_log_t(ratio(found[str(i)], (), "silent"), level))
        parts = [year.assign(unit=str(Unit.RATIO), metric="attrition_silent")]
        frame = shown(parts, by=(), level=level, min_cell=least)
        frame.insert(0, "share", share)
        frame.insert(1, "months", months)
        frames.append(frame)
    return pd.concat(frames, ignore_index=True).sort_values(["share", "months"], ignore_index=True)


def _checks(sensitivity: pd.DataFrame, own: tuple[float, int]) -> list[Check]:
    told = sensitivity.dropna(subset="value")
    if told.empty:
        return []
    told = told.sort_values("value", kind="stable")
    low, high = told.iloc[0], told.iloc[-1]
    values: dict[str, str | int | float] = {"share": 100 * own[0], "months": own[1]}
    for name, row in (("low", low), ("high", high)):
        values |= {name: 100 * float(row["value"]), f"{name}_share": 100 * float(row["share"])}
        values |= {f"{name}_months": int(row["months"])}
    return [Check(code="ROX-M26", verdict=Verdict.NOTE, values=values)]
