"""One row per customer: its groups and controls, whether it left, and what its ledger comes to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import ibis
import ibis.expr.types as ir

from rox.core.study import Study
from rox.linking.contract import Staged
from rox.linking.engine import Engine
from rox.linking.expressions import how_many, indicator, month_of, total
from rox.linking.sources import FILE, ROW

PRIME = 2_147_483_647
"""Modulus of the fingerprints, 2³¹ − 1: the product of two remainders fits into 64 bits."""

SEEDS = (1_000_003, 998_244_353)
FACTOR = 48_271


@dataclass(frozen=True, kw_only=True)
class Predictor:
    """A column of the customers that may explain something.

    Attributes:
        source: Its name in the file.
        role: Its role, or the name of the control.
        value: The column of the staged table.
        column: Its name among the histories.
        numeric: Whether it is a number.
        is_control: Whether it is a control; otherwise it is the segment or the unit.
    """

    source: str
    role: str
    value: str
    column: str
    numeric: bool
    is_control: bool


@dataclass(frozen=True, kw_only=True)
class Histories:
    """The customers with what happened to them.

    Attributes:
        table: One row per row of the customers table: ``person``, ``id_bare``, ``left`` (0 or 1), ``exit_month``, with
            a ledger ``months`` (rows), ``first``, ``last``, ``paid_until`` (last month with money), ``mark0`` and
            ``mark1`` (fingerprints), and for outcome j ``any{j}``, ``start{j}``, ``end{j}``, ``sum{j}``; the
            predictors; and where declared ``opened`` and ``weight``.
        predictors: Segment, unit and controls.
        outcomes: Names of the outcomes of the ledger, in the order of j.
        has_exits: Whether it is known who left.
        has_ledger: Whether there is a ledger.
    """

    table: ir.Table
    predictors: tuple[Predictor, ...]
    outcomes: tuple[str, ...]
    has_exits: bool
    has_ledger: bool


def histories_of(
    engine: Engine, study: Study, staged: Mapping[str, Staged], numeric: Mapping[str, bool]
) -> Histories | None:
    """Bring customers, exits and ledger together, staged once; none if the customers cannot be told apart.

    Args:
        engine: Where to compute.
        study: What was declared.
        staged: The tables as they were read.
        numeric: Which controls are numbers.
    """
    customers = staged.get("customers")
    if customers is None or "customer" not in customers:
        return None
    read, predictors = _first_rows(customers), tuple(_predictors(study, customers, numeric))
    parts: dict[str, Any] = {FILE: read[FILE], ROW: read[ROW], "person": read.customer}
    parts["id_bare"] = read.customer.re_replace("^0+", "")
    parts |= {each.column: read[each.value] for each in predictors}
    parts |= {name: read[name] for name in ("opened", "weight") if name in customers}
    people = read.select(**parts)
    exits, ledger = staged.get("exits"), staged.get("ledger")
    has_exits = exits is not None and "customer" in exits and "date" in exits
    if exits is not None and has_exits:
        gone = exits.table.filter(exits.table.customer.notnull())
        gone = gone.group_by(leaver="customer").aggregate(exit_month=month_of(gone.date.min()))
        people = people.left_join(gone, people.person == gone.leaver)
        people = people.mutate(left=indicator(people.leaver.notnull())).drop("leaver")
    outcomes: tuple[str, ...] = ()
    if ledger is not None and "customer" in ledger and "month" in ledger:
        outcomes = tuple(name for name, each in study.outcomes.items() if each.table == "ledger" and name in ledger)
    if ledger is not None and outcomes:
        books = _books(ledger.table, outcomes)
        people = people.left_join(books, people.person == books.payer).drop("payer")
    return Histories(
        table=engine.stage(people, "histories"),
        predictors=predictors,
        outcomes=outcomes,
        has_exits=has_exits,
        has_ledger=bool(outcomes),
    )


def _first_rows(customers: Staged) -> ir.Table:
    """Keep what was known first of each customer, where the table follows changes."""
    known = customers.table.filter(customers.table.customer.notnull())
    if "since" not in customers:
        return known
    place = ibis.row_number().over(ibis.window(group_by="customer", order_by=["since", FILE, ROW]))
    known = known.mutate(rox_place=place)
    return known.filter(known.rox_place == 0)


def _predictors(study: Study, customers: Staged, numeric: Mapping[str, bool]) -> Iterator[Predictor]:
    controls = study.tables["customers"].controls
    for i, column in enumerate(each for each in customers.columns if each.name in ("segment", "unit", *controls)):
        is_number = column.kind == "control" and numeric.get(column.name, False)
        yield Predictor(
            source=column.source,
            role=column.name,
            value=column.number if is_number else column.name,
            column=f"p{i}",
            numeric=is_number,
            is_control=column.kind == "control",
        )


def _books(ledger: ir.Table, outcomes: tuple[str, ...]) -> ir.Table:
    """Sum up each customer's ledger."""
    rows = ledger.filter(ledger.customer.notnull() & ledger.month.notnull())
    amounts = {f"a{j}": ibis.coalesce(rows[name], ibis.literal(0, "int64")) for j, name in enumerate(outcomes)}
    rows = rows.select("month", payer="customer", **amounts)
    rows = with_marks(rows, tuple(amounts))
    money = rows.a0 != 0
    for name in list(amounts)[1:]:
        money = money | (rows[name] != 0)
    sums: dict[str, Any] = {
        "months": rows.count(),
        "first": rows.month.min(),
        "last": rows.month.max(),
        "paid_until": money.ifelse(rows.month, ibis.null("int64")).max(),
        **{f"mark{k}": total(rows[f"mark{k}"]) for k in range(len(SEEDS))},
    }
    for j, name in enumerate(amounts):
        sums |= {
            f"any{j}": indicator(how_many(rows[name] != 0) > 0),
            f"start{j}": rows[name].argmin(rows.month),
            f"end{j}": rows[name].argmax(rows.month),
            f"sum{j}": total(rows[name]),
        }
    return rows.group_by("payer").aggregate(**sums)


def with_marks(rows: ir.Table, amounts: tuple[str, ...]) -> ir.Table:
    """Add integer fingerprints of rows: ``mark0`` and ``mark1`` of month and amounts, ``mark`` of the amounts alone.

    A row's fingerprint is the cube of a polynomial in its values, modulo a prime. Summed over the rows of a customer it
    depends on every month and amount, and not on the order of the rows; it is the same on every engine.

    Args:
        rows: Has ``month`` and the amounts, whole numbers.
        amounts: Names of the amounts.
    """
    folded: Any = ibis.literal(1, "int64")
    for name in amounts:
        folded = (folded * FACTOR + (rows[name] % PRIME + PRIME) % PRIME) % PRIME
    rows = rows.mutate(mark=folded)
    rows = rows.mutate(**{f"x{k}": (rows.mark * FACTOR + rows.month * seed) % PRIME for k, seed in enumerate(SEEDS)})
    rows = rows.mutate(**{f"y{k}": rows[f"x{k}"] * rows[f"x{k}"] % PRIME for k in range(len(SEEDS))})
    rows = rows.mutate(**{f"mark{k}": rows[f"y{k}"] * rows[f"x{k}"] % PRIME for k in range(len(SEEDS))})
    return rows.drop(*[f"{letter}{k}" for letter in "xy" for k in range(len(SEEDS))])
