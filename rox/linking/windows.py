"""One row per answer, with the money before and after it."""

from __future__ import annotations

from typing import Any

import ibis
import ibis.expr.types as ir

from rox.core.errors import DataError
from rox.core.linked import Linked
from rox.linking.exposures import in_use
from rox.linking.expressions import how_many, nothing, ratio, real, total
from rox.linking.linkage import Linkage

NEVER = 10**6
"""A month after all others."""


def windows_of(data: Linked, linkage: Linkage, *, before: int, first: int, last: int) -> ir.Table:
    """Lay the money around each answer out as one row; see :meth:`rox.core.linked.Linked.windows`.

    Money is joined by customer and month number and summed by answer; a month is found by its number and never by its
    place among the rows. Sums are of whole numbers.
    """
    faults = []
    if before < 1:
        faults.append(f"before is {before}; at least 1 month before the answer")
    if first < data.lag:
        faults.append(f"first is {first}; the link's lag asks for at least {data.lag} months after the answer")
    if last < first:
        faults.append(f"last is {last}, before first {first}")
    if faults:
        raise DataError("These windows cannot be cut.", faults)
    answers = in_use(linkage.answers(data))
    answers = answers.filter(answers.said + first >= answers.begin).select("customer", "number", "said", "score")
    sums = _sums(answers, linkage, before=before, first=first, last=last)
    people = linkage.people.select(
        "segment", "unit", "weight", "opened", "exit_month", *data.controls, person="customer"
    )
    rows = answers.inner_join(people, answers.customer == people.person)
    rows = rows.left_join(sums, [rows.customer == sums.whose, rows.number == sums.which])
    return _finished(data, linkage, rows, before=before, first=first, last=last)


def _sums(answers: ir.Table, linkage: Linkage, *, before: int, first: int, last: int) -> ir.Table:
    """Sum the money of each answer's months; who has none there has no row."""
    money = linkage.money.rename(payer="customer")
    span = answers.mutate(begins=answers.said - before, ends=answers.said + last)
    met = span.inner_join(money, [span.customer == money.payer, money.month >= span.begins, money.month <= span.ends])
    away = met.month - met.said
    inside = away >= first
    past = {f"before_{k}": (away == -k).ifelse(met.outcome, nothing("int64")).max() for k in range(1, before + 1)}
    return met.group_by(whose="customer", which="number").aggregate(
        **past,
        paid=total(inside.ifelse(met.outcome, ibis.literal(0, "int64"))),
        months=how_many(inside),
        latest=inside.ifelse(met.month, nothing("int64")).max(),
    )


def _finished(data: Linked, linkage: Linkage, rows: ir.Table, *, before: int, first: int, last: int) -> ir.Table:
    """Count the months after leaving as observed zeros, and turn whole numbers into money."""
    unit = real(linkage.per_unit)
    begins = rows.said + first
    ends = ibis.least(rows.said + last, ibis.literal(linkage.months[1], "int64"))
    gone = ibis.coalesce(rows.exit_month.cast("int64"), ibis.literal(NEVER, "int64"))
    empty_from = ibis.greatest(gone, begins, ibis.coalesce(rows.latest + 1, begins))
    zeros = ibis.greatest(ends - empty_from + 1, ibis.literal(0, "int64"))
    observed = ibis.coalesce(rows.months, ibis.literal(0, "int64")) + zeros
    paid = ratio(ibis.coalesce(rows.paid, ibis.literal(0, "int64")), unit)
    declared = data.study.outcomes.get(data.outcome)
    is_stock = declared is None or declared.kind == "stock"
    value: Any = ratio(paid, observed) if is_stock else (observed > 0).ifelse(paid, nothing("float64"))
    oldest = rows[f"before_{before}"]
    growth = (oldest > 0).ifelse(ratio(rows.before_1 - oldest, oldest), nothing("float64"))
    share = ratio(observed, ibis.literal(last - first + 1, "int64"))
    return rows.select(
        "customer",
        "segment",
        "unit",
        "weight",
        "opened",
        *data.controls,
        answered="said",
        score=rows.score.cast("float64"),
        **{f"before_{k}": ratio(rows[f"before_{k}"], unit) for k in range(before, 0, -1)},
        growth=growth if before > 1 else nothing("float64"),
        outcome=value,
        observed=share,
        censored=real(1) - share,
    )
