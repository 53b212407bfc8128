"""The answers of a panel as a panel of their own."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace

import ibis
import ibis.expr.types as ir
import pandas as pd

from rox.core.case import EVERYONE
from rox.core.linked import Linked
from rox.linking.around import around
from rox.linking.engine import Engine
from rox.linking.linkage import keep_frame
from rox.linking.panel_rows import NUMBERS


def answered(data: Linked, engine: Engine, months: Sequence[int], *, age: int) -> Linked:
    """Keep one row per answer as a panel of its own; see :meth:`rox.core.linked.Linked.answered`.

    Args:
        data: The panel.
        engine: Where its tables are; a frame is given to it.
        months: As there.
        age: As there.
    """
    found = around(data, months, age=age)
    if isinstance(found, pd.DataFrame):
        table = keep_frame(engine, _plain(found), "answered")
    else:
        table = found
    texts = {"segment": ibis.coalesce(table.segment.cast("string"), EVERYONE), "unit": table.unit.cast("string")}
    table = _ordered(table.mutate(**texts))
    name = f"answered_{hashlib.sha256(engine.sql(table).encode()).hexdigest()[:16]}"
    return replace(data, panel=engine.stage(table, name), fetch=engine.fetch)


def _plain(frame: pd.DataFrame) -> pd.DataFrame:
    """Give every column one type: texts that may be missing, doubles, whole numbers."""
    numbers = {name: pd.to_numeric(frame[name]).astype(float) for name in NUMBERS}
    whole = {name: frame[name].astype("int64") for name in ("customer", "month", "answered")}
    texts = {
        name: frame[name].astype(object).where(frame[name].notna(), None)
        for name in frame.columns
        if frame[name].dtype == object
    }
    segment = frame["segment"].astype(object).where(frame["segment"].notna(), None).astype("string")
    voluntary = frame["voluntary"].astype("boolean").fillna(False).astype(bool)
    return frame.assign(**{**texts, **numbers, **whole, "segment": segment, "voluntary": voluntary})


def _ordered(rows: ir.Table) -> ir.Table:
    """Number a customer's answers from 0, and put the previous one's score beside each."""
    order = [name for name in ("answered", "month", "outcome", "score") if name in rows.columns]
    own = ibis.window(group_by="customer", order_by=order)
    return rows.mutate(place=ibis.row_number().over(own).cast("int64"), previous=rows.score.lag().over(own))
