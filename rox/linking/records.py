"""The rows of a further table beside what is known of their customers: money around them, answers before and after."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import ibis
import ibis.expr.types as ir

from rox.core.errors import DataError
from rox.core.linked import Linked
from rox.core.study import Study
from rox.core.views import money_column
from rox.linking.columns import ROLE_KINDS
from rox.linking.expressions import month_of, nothing, ratio, real
from rox.linking.linkage import Linkage, require_ledger
from rox.linking.people import PERSON
from rox.linking.tables import Tables

READABLE = ("tickets", "arms", "applicants")
"""Tables whose rows can be read so."""
FACTS = ("segment", "unit", "weight", "opened", "exit_month", "voluntary")
"""What the panel says of a customer, beside the controls."""
ANSWERS = ("score", "score_age", "given_score", "given_age", "next_score", "next_age")
"""What a row says of its customer's answers."""
_WHO = "rox_row_of"


def require_readable(study: Study, name: str) -> None:
    """Do nothing if a study has a table whose rows can be read.

    Raises:
        DataError: It has none of that name, or the table is read in another way.
    """
    if name not in READABLE:
        raise DataError(f"The rows of {name!r} cannot be read so.", [f"needed: one of {', '.join(READABLE)}"])
    if name not in study.tables:
        raise DataError(
            f"The study has no table of {name}.",
            [f"add [tables.{name}] to the study file; docs/study.md has its roles"],
        )


def rows_of_table(tables: Tables, people: ir.Table, name: str) -> ir.Table:
    """Return a table by role: without ids, customers and persons as numbers, money in the study's currency."""
    table = tables.tables[name]
    roles = [role for role in tables.study.tables[name].columns if ROLE_KINDS.get(role) != "id"]  # type: ignore[index]
    columns: dict[str, Any] = {role: table[role] for role in roles}
    if "amount" in roles:
        columns["amount"] = ratio(table.amount, real(tables.minor))
    columns["month"] = month_of(table.date)
    if "person" in tables.study.tables[name].columns:  # type: ignore[index]
        columns["person"] = ibis.dense_rank().over(ibis.window(order_by="person")).cast("int64")
    if "customer" not in table.columns:
        return table.select(**columns)
    codes = people.select("customer", rox_person_of=PERSON)
    rows = table.select(**columns, **{_WHO: "customer"})
    joined = rows.inner_join(codes, rows[_WHO] == codes.rox_person_of)
    return joined.select("customer", *columns)


def records_of(data: Linked, linkage: Linkage, rows: ir.Table, months: Sequence[int]) -> ir.Table:
    """Put beside each row what is known of its customer; see :meth:`rox.core.linked.Linked.records`."""
    declared = list(rows.columns)
    if "customer" not in declared:
        if months:
            raise DataError("These rows have no customers, so no money beside them.", ["ask without months"])
        return rows.order_by(declared)
    require_ledger(data)
    wanted = tuple(dict.fromkeys(int(month) for month in months))
    facts = [*FACTS, *data.controls]
    added = [*facts, *ANSWERS, *map(money_column, wanted)]
    if taken := sorted(set(added) & set(declared)):
        raise DataError("The table has such columns already.", [f"{name} is a name of the panel" for name in taken])
    people = linkage.people.select(*facts, who="customer")
    found = rows.inner_join(people, rows.customer == people.who).drop("who")
    panel = linkage.panel
    now = panel.select("score", "score_age", who="customer", then="month")
    found = found.left_join(now, [found.customer == now.who, found.month == now.then]).drop("who", "then")
    found = _with_answers(found, linkage)
    if wanted:
        money = _money(found, panel, wanted)
        found = found.left_join(money, [found.customer == money.whose, found.month == money.which])
    return found.select(*declared, *added).order_by([*declared])


def _with_answers(found: ir.Table, linkage: Linkage) -> ir.Table:
    """Add the last answer given up to the day of the row, and the first given in a later month."""
    if linkage.exposures is None:
        return found.mutate(**{name: nothing("float64") for name in ANSWERS[2:]})
    day = "date" if "date" in linkage.exposures.columns else "said"
    answers = linkage.exposures.select(whose="customer", place="number", said="said", answer="score", given=day)
    asked = found.select(asker="customer", which="month", upto="date" if day == "date" else "month").distinct()
    met = asked.inner_join(answers, asked.asker == answers.whose)
    none = nothing("int64")
    places = met.group_by("asker", "which", "upto").aggregate(
        before=(met.given <= met.upto).ifelse(met.place, none).max(),
        after=(met.said > met.which).ifelse(met.place, none).min(),
    )
    for side, name in (("before", "given"), ("after", "next")):
        each = answers.select(
            **{f"{name}_by": "whose", f"{name}_place": "place", f"{name}_score": answers.answer.cast("float64")},
            **{f"{name}_said": answers.said.cast("float64")},
        )
        same = [places.asker == each[f"{name}_by"], places[side] == each[f"{name}_place"]]
        places = places.left_join(each, same).drop(f"{name}_by", f"{name}_place")
    places = places.drop("before", "after")
    same = [
        found.customer == places.asker,
        found["date" if day == "date" else "month"] == places.upto,
        found.month == places.which,
    ]
    joined = found.left_join(places, same)
    month = joined.month.cast("float64")
    joined = joined.mutate(given_age=month - joined.given_said, next_age=joined.next_said - month)
    return joined.drop("asker", "which", "upto", "given_said", "next_said")


def _money(found: ir.Table, panel: ir.Table, months: Sequence[int]) -> ir.Table:
    """Look up the money of the months around each row, by customer and month of the row."""
    asked = found.select(whose="customer", which="month").distinct()
    span = asked.mutate(begins=asked.which + min(months), ends=asked.which + max(months))
    money = panel.select(payer="customer", paid="month", amount_paid="outcome")
    met = span.inner_join(money, [span.whose == money.payer, money.paid >= span.begins, money.paid <= span.ends])
    away = met.paid - met.which
    sums = {money_column(k): (away == k).ifelse(met.amount_paid, nothing("float64")).min() for k in months}
    return met.group_by("whose", "which").aggregate(**sums)
