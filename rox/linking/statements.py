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
    text = _plain(form) if _has_frames(form) else _plain_kept(form)
    for place, query in enumerate(queries):
        text = text.replace(SOURCE.format(place), query)
    return text


def definition(expression: ir.Table) -> str:
    """Return the SQL of an expression over tables that are no engine's, laid out in lines."""
    operation = expression.op()
    return _laid_out(operation) if _has_frames(operation) else _laid_out_kept(operation)


def _has_frames(operation: Any) -> bool:
    """Whether it holds frames, which have names and contents of their own."""
    return bool(operation.find(ops.InMemoryTable))


def _plain(operation: Any) -> str:
    return str(ibis.duckdb.compile(operation.to_expr()))


def _laid_out(operation: Any) -> str:
    return str(ibis.to_sql(operation.to_expr(), dialect="duckdb"))


_plain_kept = lru_cache(maxsize=KEPT)(_plain)
_laid_out_kept = lru_cache(maxsize=KEPT)(_laid_out)
