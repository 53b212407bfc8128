"""How a suspicion is written down: a check with counts, names of columns and places of rows, never with a value."""

from __future__ import annotations

import ibis.expr.types as ir

from rox.core.check import Check, Verdict
from rox.linking.contract import SHOWN_ROWS
from rox.linking.engine import Engine
from rox.linking.sources import FILE, ROW

SHOWN_NAMES = 5


def note(code: str, /, **values: str | int | float) -> Check:
    """Write a remark."""
    return Check(code=code, verdict=Verdict.NOTE, values=values)


def demote(code: str, /, **values: str | int | float) -> Check:
    """Write what lowers the grade of everything that rests on these tables."""
    return Check(code=code, verdict=Verdict.DEMOTE, values=values)


def stop(code: str, /, **values: str | int | float) -> Check:
    """Write what makes numbers wrong: the tables are not opened."""
    return Check(code=code, verdict=Verdict.STOP, values=values)


def rows_of(engine: Engine, wrong: ir.Table) -> str:
    """List the places of the first rows, as ``2, 3`` or, where a table has several files, ``a.csv:2, b.csv:3``."""
    first = engine.fetch(wrong.select(FILE, ROW).distinct().order_by(FILE, ROW).limit(SHOWN_ROWS))
    pairs = zip(first[FILE], first[ROW], strict=True)
    return ", ".join(f"{file}:{row}" if file else f"{row}" for file, row in pairs)


def names_of(names: list[str]) -> str:
    """List names of groups or columns, the first five if there are more."""
    return ", ".join(names[:SHOWN_NAMES]) + (", …" if len(names) > SHOWN_NAMES else "")
