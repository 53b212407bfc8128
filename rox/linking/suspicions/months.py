"""Doubts about the ledger, month by month: units, signs, months loaded in part."""

from __future__ import annotations

import calendar
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from rox.core.check import Check
from rox.core.linked import month_index, month_label
from rox.core.study import Study
from rox.linking.contract import Staged
from rox.linking.engine import Engine
from rox.linking.expressions import how_many, indicator, total
from rox.linking.suspicions.codes import Coded, codes_among
from rox.linking.suspicions.finding import names_of, note, rows_of, stop
from rox.linking.suspicions.thresholds import (
    DIGITS_APART,
    FEW_ROWS,
    JUMP_DIGITS,
    LEAST_MONTH_ROWS,
    ONE_SIGN,
    OTHER_SIGN,
    UNIT_DIGITS,
)


def about_months(engine: Engine, study: Study, staged: Mapping[str, Staged], minor: int) -> Iterator[Check]:
    """Sum the ledger up by month in one scan, and compare each month with its neighbours."""
    ledger = staged.get("ledger")
    if ledger is None or "month" not in ledger:
        return
    outcomes = [name for name, each in study.outcomes.items() if each.table == "ledger" and name in ledger]
    months = _months(engine, ledger, outcomes)
    if not len(months):
        return
    yield from _incomplete(study, ledger, months)
    for j, name in enumerate(outcomes):
        outcome, below = study.outcomes[name], int(months[f"below{j}"].sum())
        if below and outcome.kind == "stock":
            yield note("ROX-Q04", outcome=name, count=below)
        low, high = float(months[f"low{j}"].min()), float(months[f"high{j}"].max())
        if low == high and len(months) > 1:
            yield note("ROX-K10", table="ledger", column=outcome.column)
        elif low < high:
            coded = Coded.of_money(ledger.table, name, (low, high), 1 if outcome.kind == "count" else minor)
            for code, count, wrong in codes_among(engine, coded):
                rows = rows_of(engine, wrong)
                yield note("ROX-K09", table="ledger", column=outcome.column, code=code, count=count, rows=rows)
        yield from _breaks(engine, ledger, months, j, name, outcome.kind)


def _months(engine: Engine, ledger: Staged, outcomes: list[str]) -> pd.DataFrame:
    """Return by month the rows and, by outcome, the ends, how many amounts are below and above zero, and digits."""
    read = ledger.table.filter(ledger.table.month.notnull())
    sums: dict[str, Any] = {"rows": read.count()}
    for j, name in enumerate(outcomes):
        amount = read[name]
        digits = amount.abs().cast("string").length().cast("int64") * indicator(amount != 0)
        sums |= {f"low{j}": amount.min(), f"high{j}": amount.max()}
        sums |= {f"below{j}": how_many(amount < 0), f"above{j}": how_many(amount > 0), f"digits{j}": total(digits)}
    return engine.fetch(read.group_by("month").aggregate(**sums).order_by("month"))


def _incomplete(study: Study, ledger: Staged, months: pd.DataFrame) -> Iterator[Check]:
    """Find months that are not there, have too few rows, or were not over at the extract."""
    numbers, rows = months["month"].to_numpy(int), months["rows"].to_numpy(float)
    absent = sorted(set(range(numbers[0], numbers[-1] + 1)) - set(numbers))
    if absent:
        yield note("ROX-K26", months=names_of([month_label(each) for each in absent]), count=len(absent))
    beside = np.array([_usual(rows, at) for at in range(len(rows))])
    few = (rows < FEW_ROWS * beside) & np.isfinite(beside) & (beside >= LEAST_MONTH_ROWS)
    extract = study.about.extract
    is_partial = extract.day < calendar.monthrange(extract.year, extract.month)[1]
    last = month_index(extract.year, extract.month)
    if is_partial and numbers[-1] == last:
        few[-1] = False
        yield note("ROX-K27", column=ledger.source("month"), month=month_label(last), extract=str(extract))
    if few.any():
        labels = [month_label(each) for each in numbers[few]]
        yield note("ROX-K25", months=names_of(labels), count=int(few.sum()), share=float((rows / beside)[few].min()))


def _usual(rows: np.ndarray, at: int) -> float:
    """Return the rows of the three months before and after, whichever are fewer; nothing is usual for the first month.

    The lesser of the two medians lets a ledger grow or shrink, and two months in a row may both be incomplete.
    """
    before, after = rows[max(at - 3, 0) : at], rows[at + 1 : at + 4]
    if not len(before):
        return np.inf
    return float(min(np.median(before), np.median(after) if len(after) else np.inf))


def _breaks(engine: Engine, ledger: Staged, months: pd.DataFrame, j: int, outcome: str, kind: str) -> Iterator[Check]:
    """Find the month from which amounts have another unit or another sign.

    Balances do not change a hundredfold in a month. Flows do, in the month of a yearly fee, and come back: only a
    single change that stays stops the work.
    """
    below, above = (months[f"{name}{j}"].to_numpy(float) for name in ("below", "above"))
    amounts = below + above
    enough = amounts >= LEAST_MONTH_ROWS
    if enough.sum() < 2:
        return
    numbers = months["month"].to_numpy(int)[enough]
    signs, digits = (above / np.maximum(amounts, 1))[enough], months[f"digits{j}"].to_numpy(float)[enough]
    change = np.diff(digits / amounts[enough])
    unit = [at for at, step in enumerate(change) if any(abs(abs(step) - n) <= DIGITS_APART for n in UNIT_DIGITS)]
    if kind != "stock" and len(unit) > 1:
        unit = []
    jump = [at for at, step in enumerate(change) if abs(step) >= JUMP_DIGITS and at not in unit]
    ends = [sorted(signs[at : at + 2]) for at in range(len(change))]
    turned = [at for at, (low, high) in enumerate(ends) if low <= OTHER_SIGN and high >= ONE_SIGN]
    turn = stop if kind == "stock" or len(turned) == 1 else note
    for code, said, found in (("ROX-K23", stop, unit), ("ROX-K32", note, jump), ("ROX-K24", turn, turned)):
        if not found:
            continue
        month, step = int(numbers[found[0] + 1]), change[found[0]]
        values: dict[str, str | int | float] = {"outcome": outcome, "month": month_label(month), "count": len(found)}
        values["rows"] = rows_of(engine, ledger.table.filter(ledger.table.month == month))
        if code != "ROX-K24":
            times = 10 ** abs(round(step) if code == "ROX-K23" else step)
            values["factor"] = f"{'×' if step > 0 else '÷'} {times:,.0f}"
        yield said(code, **values)
