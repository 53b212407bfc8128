"""One row per answer with the customer's money in the months around it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import ibis.expr.types as ir
import pandas as pd

from rox.core.errors import DataError
from rox.core.linked import Linked
from rox.core.views import money_column
from rox.linking.expressions import floor, nothing, real
from rox.linking.panel_rows import PanelRows, rows_of

COLUMNS = ("outcome", "score", "score_age")


def around(data: Linked, months: Sequence[int], *, age: int) -> Any:
    """Put the money around each answer beside it; see :meth:`rox.core.linked.Linked.around`.

    Money is joined by customer and month number and looked up by answer, so that only the months of customers who
    answered are touched and none is found by its place among the rows.
    """
    wanted = tuple(dict.fromkeys(months))
    held = rows_of(data, COLUMNS)
    columns = list(data.panel.columns)
    if taken := {"answered", *map(money_column, wanted)} & set(columns):
        raise DataError("The panel has such columns already.", [f"call {name!r} otherwise" for name in sorted(taken)])
    if isinstance(data.panel, pd.DataFrame):
        return _of_frame(data.panel, held, wanted, age)
    rows = data.panel
    rows = rows.filter(_kept(rows, held, age)).mutate(answered=_answered(rows))
    if not wanted:
        return rows
    found = _money(held, wanted, age)
    joined = rows.left_join(found, [rows.customer == found.whose, rows.answered == found.which])
    return joined.select(*columns, "answered", *map(money_column, wanted))


def _of_frame(frame: pd.DataFrame, held: PanelRows, months: Sequence[int], age: int) -> pd.DataFrame:
    ages = pd.to_numeric(frame["score_age"]).astype(float)
    keep = frame["score"].notna().to_numpy() & ((ages == age).to_numpy() if held.alone else True)
    rows = frame[keep]
    rows = rows.assign(answered=(rows["month"] - ages[keep] // 1).astype("Int64"))
    if not rows["answered"].isna().any():
        rows["answered"] = rows["answered"].astype("int64")
    if not months:
        return rows
    found = held.fetch(_money(held, months, age)).set_index(["whose", "which"])
    places = found.index.get_indexer(pd.MultiIndex.from_arrays([rows["customer"], rows["answered"]]))
    names = [money_column(month) for month in months]
    values = found[names].reindex(columns=names).to_numpy(dtype=float)
    beside = pd.DataFrame(values, columns=names).reindex(places).set_axis(rows.index)
    return pd.concat([rows, beside], axis=1)


def _kept(rows: ir.Table, held: PanelRows, age: int) -> Any:
    """Whether a row stands for its answer: the one of the age asked for, every one where money is beside answers."""
    scored = rows.score.notnull()
    return scored & (rows.score_age.cast("float64") == real(age)) if held.alone else scored


def _answered(rows: ir.Table) -> Any:
    return rows.month.cast("int64") - floor(rows.score_age.cast("float64"))


def _money(held: PanelRows, months: Sequence[int], age: int) -> ir.Table:
    """Look the money of each answer's months up; of several amounts of a month the smallest."""
    rows = held.table.filter(_kept(held.table, held, age))
    answers = rows.select(whose="customer", which=_answered(rows))
    answers = answers.filter(answers.which.notnull()).distinct()
    span = answers.mutate(begins=answers.which + min(months), ends=answers.which + max(months))
    money = held.table.select(payer="customer", paid="month", amount="outcome")
    met = span.inner_join(money, [span.whose == money.payer, money.paid >= span.begins, money.paid <= span.ends])
    away = met.paid - met.which
    asked = {money_column(k): (away == k).ifelse(met.amount, nothing("float64")).min() for k in months}
    return met.group_by("whose", "which").aggregate(**asked)
