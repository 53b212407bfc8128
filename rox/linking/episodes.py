"""Times at risk of leaving, with what was known at the start of each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import get_args

import ibis
import ibis.expr.types as ir

from rox.core.attrition import FEWEST, usual_money
from rox.core.errors import DataError
from rox.core.linked import Linked
from rox.core.study import Study
from rox.core.views import Clock, RowsPer
from rox.linking.expressions import how_many, indicator, nothing, ratio, real
from rox.linking.linkage import Linkage, require_ledger

KNOWN_ENOUGH = 0.95
"""Share of months whose opening must be known before months since opening can be the clock."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Attrition:
    """When money has gone although nobody said so.

    Attributes:
        stock: ``customer``, ``month``, ``amount`` in whole numbers: all that is on record, also from before a cohort.
        share: Of the customer's usual money, below which it has gone.
        months: For how many months running.
    """

    stock: ir.Table
    share: float
    months: int


def attrition_of(study: Study, stock_of: Callable[[str], ir.Table | None]) -> Attrition | None:
    """Return what a study declares as attrition, if anything.

    Args:
        study: The study.
        stock_of: Gives the months of an outcome, or nothing where they are not at hand.

    Raises:
        DataError: It cannot be told which money is meant, or it is not at hand.
    """
    if study.attrition is None:
        return None
    name = study.attrition_outcome
    stock = None if name is None else stock_of(name)
    if stock is None:
        raise DataError(
            "Attrition is declared, but its money is not at hand.",
            ["attrition.outcome: name one outcome of the ledger that is a stock; of a frame, the one that is linked"],
        )
    return Attrition(stock=stock, share=study.attrition.share, months=study.attrition.months)


def episodes_of(data: Linked, linkage: Linkage, *, clock: Clock, per: RowsPer, attrition: Attrition | None) -> ir.Table:
    """List the times at risk; see :meth:`rox.core.linked.Linked.episodes`."""
    _require(data, linkage, clock, per)
    panel = linkage.panel
    last = panel.group_by(whose="customer").aggregate(final=panel.month.max())
    rows = panel.inner_join(last, panel.customer == last.whose)
    gone = rows.exit_month.notnull() & (
        (rows.exit_month == rows.month) | ((rows.month == rows.final) & (rows.exit_month == rows.month + 1))
    )
    rows = rows.mutate(gone=indicator(gone), silent=ibis.literal(0, "int64"))
    if attrition is not None:
        rows = _until_drained(rows, drained(attrition))
    rows = rows.filter(rows.score.notnull())
    origin = ibis.literal(linkage.months[0], "int64")
    if clock == "tenure":
        rows = rows.filter(rows.opened.notnull())
        origin = rows.opened.cast("int64")
    chosen = indicator(rows.voluntary.fill_null(False))
    cause = ibis.cases(
        ((rows.gone == 1) & (chosen == 1), "exit"),
        (rows.gone == 1, "other"),
        (rows.silent == 1, "silent"),
        else_="none",
    )
    rows = rows.select(
        "customer",
        "month",
        "score_age",
        "segment",
        "unit",
        "weight",
        "opened",
        *data.controls,
        start=rows.month - origin,
        stop=rows.month - origin + 1,
        event=ibis.greatest(rows.gone * chosen, rows.silent * (1 - rows.gone)),
        cause=cause,
        score=rows.score.cast("float64"),
    )
    columns = ("customer", "start", "stop", "month", "event", "cause", "score", "score_age")
    facts = ("segment", "unit", "weight", "opened", *data.controls)
    if per == "answer":
        rows = _by_answer(rows, facts)
    return rows.select(*columns, *facts)


def _by_answer(rows: ir.Table, facts: tuple[str, ...]) -> ir.Table:
    """Join the months of one answer that follow each other without a gap."""
    rows = rows.mutate(answered=rows.month - rows.score_age.cast("int64"))
    place = ibis.row_number().over(ibis.window(group_by=["customer", "answered"], order_by="month"))
    rows = rows.mutate(place=place)
    rows = rows.mutate(run=rows.month - rows.place)
    event_last = indicator(rows.cause != "none")
    ended = (event_last == 1).ifelse(rows.cause, nothing("string"))
    joined = rows.group_by("customer", "answered", "run").aggregate(
        start=rows.start.min(),
        stop=rows.stop.max(),
        month=rows.month.min(),
        event=rows.event.max(),
        ended=ended.max(),
        score=rows.score.max(),
        score_age=rows.score_age.min(),
        **{name: rows[name].max() for name in facts},
    )
    return joined.mutate(cause=ibis.coalesce(joined.ended, ibis.literal("none")))


def drained(attrition: Attrition) -> ir.Table:
    """Find the month from which a customer's money has gone.

    In each of the months it is below the share of the median of the twelve months before, of which six must be on
    record; months are counted by the calendar.

    Returns:
        ``whose`` and ``since``: the first of the months.
    """
    usual = usual_money(attrition.stock)
    enough = (usual.seen >= FEWEST) & (usual.usual > real(0))
    low = usual.filter(enough, ratio(usual.amount, usual.usual) < real(attrition.share))
    place = ibis.row_number().over(ibis.window(group_by="customer", order_by="month"))
    low = low.mutate(place=place)
    low = low.mutate(run=low.month - low.place)
    runs = low.group_by("customer", "run").aggregate(begins=low.month.min(), months=low.count())
    runs = runs.filter(runs.months >= attrition.months)
    return runs.group_by(whose="customer").aggregate(since=runs.begins.min())


def _until_drained(rows: ir.Table, gone: ir.Table) -> ir.Table:
    """End each customer's rows with the month in which the money has gone."""
    gone = gone.select("since", drained="whose")
    joined = rows.left_join(gone, rows.customer == gone.drained)
    joined = joined.filter(joined.since.isnull() | (joined.month <= joined.since))
    return joined.mutate(silent=indicator(joined.month == joined.since)).drop("since", "drained")


def _require(data: Linked, linkage: Linkage, clock: Clock, per: RowsPer) -> None:
    """Do nothing if the panel can be laid out on the clock.

    Raises:
        DataError: It cannot; all faults in one message.
    """
    require_ledger(data)
    faults = [
        f"{name} is {value!r}; needed: {' or '.join(allowed)}"
        for name, value, allowed in (("clock", clock, get_args(Clock)), ("per", per, get_args(RowsPer)))
        if value not in allowed
    ]
    if not data.score:
        faults.append("no score is linked; give rox.link a score that customers answered")
    if clock == "tenure" and not faults:
        scored = linkage.panel.filter(linkage.panel.score.notnull())
        found = linkage.engine.fetch(
            scored.aggregate(
                rows=scored.count(),
                unknown=how_many(scored.opened.isnull()),
                early=how_many(scored.month < scored.opened),
            )
        ).iloc[0]
        unknown, rows = int(found["unknown"]), max(int(found["rows"]), 1)
        if 1 - unknown / rows < KNOWN_ENOUGH:
            faults.append(f'{unknown:,} of {rows:,} months have no opening; mend `opened`, or use clock="calendar"')
        if early := int(found["early"]):
            faults.append(f"{early:,} months lie before the customer's opening; mend `opened`")
    if faults:
        raise DataError("Times at risk cannot be listed.", faults)
