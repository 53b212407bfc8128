"""SQL of expressions: studies of one form ask the same, and writing SQL takes longer than many a small answer."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import ibis
import ibis.expr.operations as ops
import ibis.expr.types as ir
import sqlglot

KEPT = 512
"""Statements that are kept: those of a load, a link and the fits of some models."""
SOURCE = 'SELECT * FROM "rox source {}"'
"""Stands for a query in a statement until it is filled in."""


def statement(expression: ir.Table) -> str:
    """Return the SQL of an expression for DuckDB, word for word as Ibis writes it.

    Tables go by their names and queries by their places, so the same question about other files is written once.
    """
    operation = expression.op()
    swap: dict[Any, Any] = {}
    queries: list[str] = []
    for node in operation.find((ops.DatabaseTable, ops.SQLQueryResult)):
        if isinstance(node, ops.SQLQueryResult):
            swap[node] = ops.SQLQueryResult(query=SOURCE.format(len(queries)), schema=node.schema, source=None)
            queries.append(sqlglot.parse_one(node.query, dialect="duckdb").sql("duckdb"))
        else:
            swap[node] = ops.UnboundTable(name=node.name, schema=node.schema, namespace=node.namespace)
    form = operation.replace(swap)
    # Frames in an expression have names and contents of their own.
    text = _write(form) if form.find(ops.InMemoryTable) else _written(form)
    for place, query in enumerate(queries):
        text = text.replace(SOURCE.format(place), query)
    return text


def _write(form: Any) -> str:
    return str(ibis.duckdb.compile(form.to_expr()))


_written = lru_cache(maxsize=KEPT)(_write)
