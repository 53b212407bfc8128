"""Totals of the case and of the data beside the same figures of the company's books."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from rox.core.formula import evaluate
from rox.core.governance import Figure, Reconcile
from rox.core.ledger import Input, Ledger
from rox.core.returns import Return

Status = Literal["agrees", "explained", "differs", "absent"]
UNITS: dict[Figure, str] = {
    "customers": "customers",
    "balance": "money",
    "costs": "money",
    "data_customers": "customers",
    "data_money": "money",
}
FORMULAS: dict[Figure, str] = {"costs": "SUM(cost)"}


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One figure of ours beside one of the books.

    Attributes:
        key: Its place in the case file.
        asked: What the case says of it.
        unit: Of both.
        ours: Our figure on the point path, NaN if there is none.
        formula: How the ledger's inputs and lines give it; empty for figures of the data.
        status: Whether the two agree within the tolerance.
    """

    key: str
    asked: Reconcile
    unit: str
    ours: float
    formula: str
    status: Status

    @property
    def difference(self) -> float:
        """Ours less theirs."""
        return self.ours - self.asked.amount

    @property
    def share(self) -> float:
        """The difference as a share of the books' figure; NaN where that is zero."""
        return self.difference / abs(self.asked.amount) if self.asked.amount else float("nan")


def comparisons(money: Return) -> tuple[Comparison, ...]:
    """Hold every figure the case names against the books, in the order of the file."""
    found = []
    for key, asked in money.case.reconcile.items():
        formula = formula_of(money.ledger, asked.figure)
        ours = _evaluated(money, formula) if formula else _of_the_data(money, asked.figure)
        found.append(
            Comparison(
                key=key,
                asked=asked,
                unit=UNITS[asked.figure],
                ours=ours,
                formula=formula,
                status=_status(ours, asked),
            )
        )
    return tuple(found)


def formula_of(ledger: Ledger, figure: Figure) -> str:
    """Write a total of the case in the ledger's language; empty where the ledger does not hold what it takes."""
    if figure in FORMULAS:
        return FORMULAS[figure] if any(line.name == "cost" for line in ledger.lines) else ""
    tables = {"customers": ("people",), "balance": ("people", "balance")}.get(figure, ())
    groups = list(dict.fromkeys(each.group for each in ledger.inputs if each.group and _is_by_group(each))) or [""]
    rows = [[_held(ledger, table, group) for table in tables] for group in groups]
    if not tables or any(name is None for row in rows for name in row):
        return ""
    return " + ".join(" * ".join(str(name) for name in row) for row in rows)


def _is_by_group(each: Input) -> bool:
    return each.kind == "estimate" or each.place.partition(".")[0] in ("people", "balance", "margin", "attrition")


def _held(ledger: Ledger, table: str, group: str) -> str | None:
    """Return the input that holds a segment's number, its own before that of everybody."""
    of_table = {each.group: each.name for each in ledger.inputs if each.place.partition(".")[0] == table}
    return of_table.get(group, of_table.get(""))


def _evaluated(money: Return, formula: str) -> float:
    values = {name: np.array([[value]]) for name, value in money.ledger.point.items()}
    values |= {name: np.asarray(found, dtype=float)[None, :] for name, found in money.point.items()}
    return float(evaluate(formula, values, money.ledger.months[None, :], over_months=True)[0, 0])


def _of_the_data(money: Return, figure: Figure) -> float:
    """Sum what the effects know of the company: from the first of them that knows it."""
    return next(_known(money, figure), float("nan"))


def _known(money: Return, figure: Figure) -> Iterator[float]:
    for effect in money.effects:
        heads = effect.baseline["customers"].to_numpy(dtype=float)
        amounts = {"data_customers": heads, "data_money": heads * effect.baseline["money"].to_numpy(dtype=float)}
        if figure in amounts and np.isfinite(amounts[figure]).all():
            yield float(amounts[figure].sum())


def _status(ours: float, asked: Reconcile) -> Status:
    if not np.isfinite(ours):
        return "absent"
    if abs(ours - asked.amount) <= asked.tolerance * abs(asked.amount):
        return "agrees"
    return "explained" if asked.explanation.en else "differs"
