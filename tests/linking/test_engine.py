"""Exact numbers out of the engine, one owner of the backend, and portable expressions."""

from __future__ import annotations

import ast
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import ibis
import numpy as np
import pandas as pd
import pytest

from rox.core.errors import DataError
from rox.linking.engine import connect, literal, quoted
from rox.linking.expressions import how_many, indicator, month_of, ratio, real, rounded, total


def test_types_come_out_exact() -> None:
    engine = connect()
    big = 2**53 + 1
    sql = f"""SELECT * FROM (VALUES (1, {big}, {big}, 1, 0.5, DATE '2024-02-29', 'x', true),
              (2, {big}, NULL, NULL, NULL, NULL, NULL, false)) AS t(a, b, c, d, e, f, g, h) ORDER BY a"""
    frame = engine.fetch(engine.relation(sql))
    assert frame["b"].dtype == np.int64
    assert frame["b"].iloc[0] == big
    assert str(frame["c"].dtype) == "Int64"
    assert frame["c"].iloc[0] == big
    assert frame["d"].dtype == np.float64
    assert frame["f"].iloc[0] == pd.Timestamp("2024-02-29")
    assert frame["g"].iloc[1] is None
    assert frame["h"].dtype == bool
    table = engine.relation(sql)
    sums = engine.fetch(table.aggregate(s=table.b.sum(), n=table.count()))
    assert sums["s"].iloc[0] == 2 * big
    assert sums["s"].dtype == np.int64


def test_threads_share_a_connection() -> None:
    engine = connect()
    table = engine.stage(engine.relation("SELECT range AS i FROM range(10000)"), "numbers")
    with ThreadPoolExecutor(4) as pool:
        sums = list(pool.map(lambda k: engine.fetch(table.aggregate(s=(table.i * k).sum()))["s"].iloc[0], range(20)))
    assert sums == [k * 9999 * 5000 for k in range(20)]


def test_a_stage_is_computed_once() -> None:
    engine = connect()
    first = engine.stage(engine.relation("SELECT random() AS r"), "draw")
    again = engine.stage(engine.relation("SELECT random() AS r"), "draw")
    assert engine.fetch(first)["r"].iloc[0] == engine.fetch(again)["r"].iloc[0]


def test_a_failure_shows_no_data() -> None:
    engine = connect()
    table = engine.relation("SELECT CAST(x AS INTEGER) AS i FROM (VALUES ('Secretname')) AS t(x)")
    with pytest.raises(DataError) as caught:
        engine.fetch(table)
    assert "Secretname" not in str(caught.value)
    with pytest.raises(DataError, match="refused a query"):
        engine.relation("SELECT nonsense")


def test_names_and_texts_are_quoted() -> None:
    engine = connect()
    frame = engine.fetch(engine.relation(f"SELECT {literal(chr(39) + 'x')} AS {quoted('a' + chr(34) + 'b')}"))
    assert frame.to_dict("list") == {'a"b': ["'x"]}


def test_portable_expressions() -> None:
    engine = connect()
    t = engine.relation(
        "SELECT * FROM (VALUES (1, 0.0::DOUBLE, true, DATE '2024-01-31'), (3, 2.0, NULL, DATE '2023-12-01')) "
        "AS t(a, b, c, d)"
    )
    found = engine.fetch(
        t.select(
            "a", q=ratio(t.a, t.b), i=indicator(t.c), m=month_of(t.d), r=rounded(t.a * real(0.5)), k=real(0.1) + t.b
        ).order_by("a")
    )
    assert np.isnan(found["q"].iloc[0])
    assert found["q"].iloc[1] == 1.5
    assert list(found["i"]) == [1, 0]
    assert list(found["m"]) == [2024 * 12, 2023 * 12 + 11]
    assert list(found["r"]) == [1, 2]
    assert found["k"].iloc[0] == 0.1
    empty = t.filter(ibis.literal(False))
    assert engine.fetch(empty.aggregate(s=total(t.a), n=how_many(t.c))).to_dict("list") == {"s": [0], "n": [0]}


def modules(root: Path) -> list[tuple[Path, ast.Module]]:
    return [(path, ast.parse(path.read_text(encoding="utf-8"))) for path in sorted((root / "rox").rglob("*.py"))]


def test_only_the_engine_imports_a_backend(root: Path) -> None:
    backends = ("duckdb", "ibis.backends", "ibis.duckdb", "pyspark", "sqlite3", "psycopg")
    found = set()
    for path, tree in modules(root):
        for node in ast.walk(tree):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            if any(name == each or name.startswith(each + ".") for name in names for each in backends):
                found.add(path.relative_to(root).as_posix())
    assert found == {"rox/linking/engine.py"}


def test_no_expression_that_engines_read_differently(root: Path) -> None:
    forbidden = {"asof_join", "last", "sample", "to_pyarrow", "execute", "approx_median", "approx_nunique"}
    for path, tree in modules(root):
        if path.parent.name != "linking" or path.name == "engine.py":
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                assert node.func.attr not in forbidden, f"{path}:{node.lineno}"
                units = [each.value.value for each in node.keywords if isinstance(each.value, ast.Constant)]
                assert not (node.func.attr == "delta" and "month" in units), f"{path}:{node.lineno}"
