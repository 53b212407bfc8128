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
from rox.linking import remembered
from rox.linking.engine import connect, literal, quoted
from rox.linking.engine_duckdb import DuckDB
from rox.linking.expressions import how_many, indicator, month_of, ratio, real, rounded, total
from rox.linking.statements import definition


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


def test_small_answers_about_stages_are_kept_and_cannot_be_spoiled(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = connect()
    table = engine.stage(engine.relation("SELECT range AS i, range % 3 AS g FROM range(300000)"), "numbers")
    asked: list[str] = []
    arrow = DuckDB.arrow
    monkeypatch.setattr(DuckDB, "arrow", lambda self, rows: asked.append(self.sql(rows)) or arrow(self, rows))

    def sums() -> pd.DataFrame:
        return engine.fetch(table.group_by("g").aggregate(s=table.i.sum()).order_by("g"))

    first = sums()
    first["s"] = 0
    assert sums()["s"].tolist() == [14999850000, 14999950000, 15000050000]
    assert len(asked) == 1
    engine.fetch(table.filter(table.g == 0).aggregate(s=table.i.sum()))
    assert len(asked) == 2
    for rows in (
        table,
        engine.relation("SELECT random() AS r"),
        table.select(r=ibis.random()).limit(3),
        table.aggregate(n=table.g.collect()),
    ):
        engine.fetch(rows)
        engine.fetch(rows)
    assert len(asked) == 2 + 2 * 4


def test_answers_kept_longest_ago_go_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remembered, "TOGETHER", 600)
    kept, table = remembered.Remembered(), ibis.table({"i": "int64"}, name="t")
    asked = [table.filter(table.i > k) for k in range(3)]
    frame = pd.DataFrame({"i": np.arange(20)})
    for each in asked[:2]:
        kept.keep(each, frame)
    assert kept.answer(asked[0]) is not None
    kept.keep(asked[2], frame)
    assert [kept.answer(each) is not None for each in asked] == [True, False, True]


@pytest.mark.parametrize("one", [1, 1.0, True])
def test_statements_are_word_for_word_those_of_ibis(tmp_path: Path, one: object) -> None:
    """Also when the same was asked of another file before."""
    for name in ("first", "second"):
        engine = connect()
        path = tmp_path / f"{name}.parquet"
        pd.DataFrame({"a": [1, 2], "b": [name, "x"]}).to_parquet(path)
        rows = engine.relation(f"SELECT *, row_number() OVER () AS place FROM read_parquet({literal(str(path))})")
        kept = engine.stage(rows, "kept")
        held = ibis.memtable(pd.DataFrame({"a": [2], "c": [name]}))
        counted = rows.mutate(one=ibis.literal(one)).group_by("one").aggregate(n=ibis._.count())
        for asked in (rows, kept, counted, rows.join(kept, "a").filter(rows.a > 1), kept.join(held, "a")):
            assert engine.sql(asked) == engine.reader.backend.compile(asked)
        assert engine.fetch(counted)["n"].tolist() == [2]
        assert engine.fetch(kept.join(held, "a"))["c"].tolist() == [name]
        plain = ibis.table({"a": "int64"}, name="panel").mutate(one=ibis.literal(one))
        assert definition(plain) == ibis.to_sql(plain, dialect="duckdb")


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


def test_each_backend_is_imported_by_one_module(root: Path) -> None:
    backends = {
        "duckdb": "duckdb", "ibis.backends": "", "ibis.duckdb": "", "pyspark": "spark", "py4j": "spark",
        "sqlite3": "", "psycopg": "", "adbc_driver_postgresql": "postgres", "adbc_driver_manager": "postgres",
    }  # fmt: skip
    for path, tree in modules(root):
        for node in ast.walk(tree):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            for name in names:
                home = next(
                    (home for each, home in backends.items() if name == each or name.startswith(each + ".")), None
                )
                assert home is None or path.name == f"engine_{home}.py", f"{path} imports {name}"


READ_DIFFERENTLY = frozenset(
    {
        "asof_join", "first", "last", "first_value", "last_value", "nth", "arbitrary", "sample", "hash", "mode",
        "kurtosis", "corr", "cov", "bit_or", "bit_and", "bit_xor", "group_concat", "epoch_seconds", "udf",
        "approx_median", "approx_nunique", "approx_quantile",
    }
)  # fmt: skip
"""Methods of Ibis that engines answer differently or not at all."""
FETCHES = frozenset({"to_pyarrow", "to_pandas", "to_polars", "execute"})
"""Methods of Ibis that lose digits of integers on Spark; those of Arrow's tables have the same names."""
IN_ORDER = frozenset({"row_number", "lag", "lead"})


def raw_forms(tree: ast.AST) -> list[tuple[int, str]]:
    """Find the forms of expressions that engines read differently."""
    found = []
    moves_arrow = any(
        each.name == "pyarrow" for node in ast.walk(tree) if isinstance(node, ast.Import) for each in node.names
    )
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        name, given = node.func.attr, [*node.args, *(each.value for each in node.keywords)]
        if name in READ_DIFFERENTLY or (name in FETCHES and not moves_arrow):
            found.append((node.lineno, name))
        units = {each.value for each in given if isinstance(each, ast.Constant)}
        if name == "delta" and units & {"month", "quarter", "year", "week"}:
            found.append((node.lineno, "delta of months"))
        if name in ("left_join", "outer_join", "right_join") and any(
            isinstance(each, (ast.Call, ast.Sub, ast.Add, ast.Mult, ast.Div))
            for joined_on in node.args[1:]
            for each in ast.walk(joined_on)
        ):
            found.append((node.lineno, "computing where an outer join compares"))
        if name == "over" and isinstance(node.func.value, ast.Call) and isinstance(node.func.value.func, ast.Attribute):
            window = node.args[0] if node.args else None
            is_open = isinstance(window, ast.Call) and "order_by" not in {each.arg for each in window.keywords}
            if node.func.value.func.attr in IN_ORDER and (window is None or is_open):
                found.append((node.lineno, "place without an order"))
        if name == "literal" and len(node.args) == 1 and isinstance(getattr(node.args[0], "value", None), float):
            found.append((node.lineno, "decimal literal"))
        if name == "cast" and isinstance(node.func.value, (ast.Compare, ast.BoolOp)):
            found.append((node.lineno, "cast of a condition"))
    return found


@pytest.mark.parametrize(
    "code",
    [
        "t.asof_join(u)",
        "t.a.last()",
        "t.a.first().over(w)",
        "t.day.delta(t.begin, unit='month')",
        "t.day.delta(t.begin, 'month')",
        "t.left_join(u, [t.a == u.a, t.day.delta(u.day, unit='day') < 3])",
        "t.left_join(u, [t.a == u.a, t.b - u.b < 3])",
        "ibis.row_number().over(ibis.window(group_by='a'))",
        "t.a.lag().over(ibis.window(group_by='a'))",
        "ibis.literal(0.1)",
        "(t.a > 1).cast('int64')",
        "t.execute()",
    ],
)
def test_the_search_for_raw_forms_finds_them(code: str) -> None:
    assert raw_forms(ast.parse(code))


def test_no_expression_that_engines_read_differently(root: Path) -> None:
    searched = [
        (path, tree)
        for path, tree in modules(root)
        if path.relative_to(root / "rox").parts[0] in ("linking", "metrics") and not path.name.startswith("engine")
    ]
    assert len(searched) > 15
    found = [f"{path.relative_to(root)}:{line} {what}" for path, tree in searched for line, what in raw_forms(tree)]
    assert found == []
