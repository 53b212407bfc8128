"""Tables as they would have been exported on an earlier day."""

from __future__ import annotations

import calendar
import datetime as dt
from dataclasses import replace
from typing import Any

import ibis
import ibis.expr.types as ir

from rox.core.linked import month_index
from rox.linking.tables import Tables

LATER = ("contacted",)
"""Days on which something happened to a row that was there before; later ones are not known yet."""


def tables_as_of(tables: Tables, day: dt.date) -> Tables:
    """Leave out what happened after a day.

    Rows dated after it go, customers who opened after it, starts of initiatives after it, and months of money that were
    not over on it. What a row says of an earlier day stays as it is said now: where a table was corrected since, this
    shows the correction, which is what tells restated data from added ones. Columns without a day of their own, such as
    the step an applicant has reached, are as they are now.

    Args:
        tables: The later export.
        day: The day of the earlier one.
    """
    cut = {name: _cut(name, table, day) for name, table in tables.tables.items()}
    history = None if tables.history is None else tables.history.filter(tables.history.since <= _day(day))
    counts = {name: int(tables.fetch(table.aggregate(n=table.count()))["n"].iloc[0]) for name, table in cut.items()}
    about = tables.study.about.model_copy(update={"extract": day})
    study = tables.study.model_copy(update={"about": about})
    return replace(tables, study=study, tables=cut, counts=counts, history=history)


def _cut(name: str, table: ir.Table, day: dt.date) -> ir.Table:
    found = table
    if name == "ledger":
        return found.filter(found.month <= _last_month(day))
    if "date" in found.columns:
        found = found.filter(found.date <= _day(day))
    if name == "customers" and "opened" in found.columns:
        found = found.filter(found.opened.isnull() | (found.opened <= _day(day)))
    if name == "initiatives":
        found = found.filter(found.start <= _day(day))
    for column in LATER:
        if column in found.columns:
            late = found[column] > _day(day)
            found = found.mutate(
                **{column: late.fill_null(False).ifelse(ibis.null(found[column].type()), found[column])}
            )
    return found


def _day(day: dt.date) -> Any:
    return ibis.date(day.year, day.month, day.day)


def _last_month(day: dt.date) -> int:
    """Return the last month that was over on a day."""
    whole = day.day == calendar.monthrange(day.year, day.month)[1]
    return month_index(day.year, day.month) - (0 if whole else 1)
