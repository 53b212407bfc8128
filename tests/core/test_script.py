"""The ledger as JavaScript: the numbers that numpy gives, whatever the formula, and no name of a user in the code."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from rox.core.formula import Array
from rox.core.ledger import Input, Ledger, Line
from rox.core.script import ledger_script, to_script
from rox.core.spread import Spread

HORIZON = 7
SCHEDULES = {"start": (1.0,) + (0.0,) * HORIZON, "odd": tuple(float(month % 2) for month in range(HORIZON + 1))}
Totals = Callable[[Sequence[Ledger], Sequence[Sequence[float]]], list[list[list[float]]]]


def js(formula: str) -> str:
    return to_script(formula, lambda name, scope: name if scope == "here" else f"{name}_{scope}")


def ledger(*lines: tuple[str, str] | tuple[str, str, str], horizon: int = HORIZON, **inputs: float) -> Ledger:
    """Make a ledger of (name, formula) for months and (name, formula, "total") for totals."""
    return Ledger(
        horizon=horizon,
        inputs=tuple(
            Input(name=name, word="input.tax", unit="factor", spread=Spread.fixed(value), kind="constant")
            for name, value in inputs.items()
        ),
        schedules={name: row[: horizon + 1] for name, row in SCHEDULES.items()},
        lines=tuple(
            Line(
                name=line[0],
                word="line.net",
                unit="ratio",
                section="section.cash",
                formula=line[1],
                scope="total" if len(line) > 2 else "month",
            )
            for line in lines
        ),
    )


@pytest.fixture(scope="module")
def run(browser: Any) -> Totals:
    """Run ledgers in the browser: for each, one row of totals per row of inputs; NaN stands for no value."""
    page = browser.new_page()

    def totals(ledgers: Sequence[Ledger], values: Sequence[Sequence[float]]) -> list[list[list[float]]]:
        parts = []
        for each in ledgers:
            script = ledger_script(each, [line.name for line in each.lines if line.scope == "total"])
            parts.append(f"(()=>{{'use strict';{script}\nreturn rows.map(x=>ledger(x).map(v=>String(v)))}})()")
        text = f"()=>{{const rows={json.dumps([list(row) for row in values])};return [{','.join(parts)}]}}"
        return [[list(map(float, row)) for row in each] for each in page.evaluate(text)]

    return totals


def expected(each: Ledger, values: Sequence[Sequence[float]]) -> Array:
    columns = {one.name: np.array([row[place] for row in values]) for place, one in enumerate(each.inputs)}
    found = each.totals(columns)
    return np.column_stack([np.broadcast_to(found[name], (len(values),)) for name in found])


def same(found: object, wanted: Array) -> None:
    np.testing.assert_allclose(np.array(found, dtype=float), wanted, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    "formula, script",
    [
        ("-a ** b", "(-pow(a,b))"),
        ("(-a) ** b", "pow((-a),b)"),
        ("a ** b ** c", "pow(a,pow(b,c))"),
        ("a - -1", "(a-(-1))"),
        ("a - (b - c)", "(a-(b-c))"),
        ("1 + (a < b)", "(1+(a<b?1:0))"),
        ("IF(a > 0 and b == 1, NONE, month)", "(((a>0?1:0)!==0&&(b===1?1:0)!==0?1:0)!==0?NaN:m)"),
        ("PREV(line) + KNOWN(a)", "(line_prev+(Number.isFinite(a)?1:0))"),
        ("SUM(line * EXP(0 - month))", "sum(months,m=>(line*Math.exp((0-m))))"),
        ("LAST(line) + HIGHEST(line) - LOWEST(line)", "((line_row[months-1]+highest(line_row))-lowest(line_row))"),
        ("IRR(line)", "irr(line_row)"),
    ],
)
def test_a_formula_becomes_javascript(formula: str, script: str) -> None:
    assert js(formula) == script


def test_what_is_no_formula_is_refused() -> None:
    with pytest.raises(ValueError, match="named input"):
        js("a * 12")
    with pytest.raises(KeyError, match="no total called net"):
        ledger_script(ledger(("net", "a + month"), a=1.0), ["net"])


def test_names_do_not_reach_the_script() -> None:
    source = ledger_script(
        ledger(("arguments", "PREV(arguments) + constructor"), ("eval", "SUM(arguments)", "total"), constructor=1.0),
        ["eval"],
    )
    assert not any(name in source for name in ("arguments", "constructor", "eval"))


def test_only_needed_lines_are_written() -> None:
    book = ledger(("idle", "a * month"), ("net", "a * start"), ("npv", "SUM(net)", "total"), a=2.0)
    source = ledger_script(book, ["npv"])
    assert "s0=" in source
    assert "s1=" not in source
    assert source.count("new Float64Array") == 1


FORMULAS = (
    "a + b * c - a / b",
    "-a ** c",
    "(-a) ** c",
    "a ** -c",
    "a ** b ** c",
    "(a ** b) ** c",
    "a - (b - c)",
    "a / (b / c)",
    "a / 0",
    "(a - a) / 0",
    "0 ** a",
    "1 ** NONE",
    "(0 - 1) ** (1 / 0)",
    "EXP(a) - EXP(-b)",
    "MIN(a, b) + MAX(b, c)",
    "MIN(NONE, a)",
    "MAX(a, NONE)",
    "IF(NONE, a, b)",
    "IF(a < b, a, b) + IF(a <= a, 1, 0) + IF(b > c, b, c) + IF(b >= c, 1, 0) + IF(c == c, c, 0)",
    "1 + (a < b) - (b < a)",
    "NONE < a",
    "a < b and b < c",
    "NONE and 1",
    "KNOWN(NONE) + KNOWN(a) + KNOWN(1 / 0)",
    "month * a + odd * b - start * c",
    "a ** (month / b)",
    "PREV(base) + a",
    "SUM(base) * month + SUM(base * odd + month) + SUM(a * EXP(0 - month))",
    "HIGHEST(base) - LOWEST(base) + LAST(base)",
    "IF(month == 0, a, PREV(self) * b + c)",
    "PREV(self) + PREV(base) * base - a",
    "IF(base > 0, 1, IF(base < 0, -1, PREV(self)))",
    "MIN(1, month / b) * c ** (MAX(0, month - b) / a)",
)


def test_every_part_of_the_language_gives_what_numpy_gives(run: Totals) -> None:
    books = [
        ledger(
            ("base", "a * (month - b) + c * odd"),
            ("self", formula),
            ("known", "IF(KNOWN(self), self, 0)"),
            ("added", "SUM(known * (1 + month))", "total"),
            ("last", "LAST(self)", "total"),
            ("top", "HIGHEST(known)", "total"),
            **{"a": 1.0, "b": 1.0, "c": 1.0},
        )
        for formula in FORMULAS
    ]
    rng = np.random.default_rng(5)
    values = [*rng.normal(0, 2, (12, 3)).tolist(), [0.0, 0.0, 0.0], [1.0, -1.0, 2.0], [3.0, 2.0, 0.5]]
    for formula, book, found in zip(FORMULAS, books, run(books, values), strict=True):
        try:
            same(found, expected(book, values))
        except AssertionError as cause:
            raise AssertionError(f"{formula}: {cause}") from None


def _written(pick: random.Random, depth: int) -> str:
    if depth == 0:
        return pick.choice(("a", "b", "c", "0", "1", "month", "odd", "base", "PREV(base)"))
    part = lambda: _written(pick, depth - 1)  # noqa: E731
    return pick.choice(
        (
            lambda: f"({part()} {pick.choice('+-*/')} {part()})",
            lambda: f"{part()} {pick.choice('+-')} {part()}",
            lambda: f"-{part()}",
            lambda: f"(-{part()}) ** (1 + month)",
            lambda: f"MAX(0, {part()}) ** {pick.choice('abc')}",
            lambda: f"{pick.choice(('MIN', 'MAX'))}({part()}, {part()})",
            lambda: f"IF({part()} {pick.choice(('<', '<=', '>', '>=', '=='))} {part()}, {part()}, {part()})",
            lambda: f"IF(KNOWN({part()}), {part()}, 0)",
            lambda: f"PREV(self) / (1 + b ** (1 + 1)) + ({part()})",
            lambda: f"EXP(MIN(1, {part()}))",
        )
    )()


def test_formulas_drawn_at_random_give_what_numpy_gives(run: Totals) -> None:
    pick = random.Random(20)
    books = [
        ledger(
            ("base", "a * month - b"),
            ("self", _written(pick, 3)),
            ("known", "IF(KNOWN(self), self, 0)"),
            ("last", "LAST(known)", "total"),
            ("first", "SUM(known * start)", "total"),
            **{"a": 1.0, "b": 1.0, "c": 1.0},
        )
        for _ in range(300)
    ]
    values = np.random.default_rng(6).normal(0.4, 1, (4, 3)).round(3).tolist()
    for book, found in zip(books, run(books, values), strict=True):
        wanted = expected(book, values)
        scale = np.maximum(1, np.abs(np.nan_to_num(wanted)))
        assert np.nanmax(np.abs(np.array(found) - wanted) / scale, initial=0) < 1e-9, book.lines[1].formula
        assert (np.isnan(found) == np.isnan(wanted)).all(), book.lines[1].formula


def test_internal_rates_agree_also_where_there_are_several_or_none(run: Totals) -> None:
    net = "IF(month == 0, a, IF(month == 1, b, IF(month == 1 + 1, c, 0)))"
    book = ledger(("net", net), ("rate", "IRR(net)", "total"), a=1.0, b=1.0, c=1.0)
    values = [[-100, 60, 60], [-100, 230, -132], [-100, 250, -100], [1, 1, 1], [-1, 0, 0], [0, 0, 0], [-1e6, 1, 2e6]]
    (found,) = run([book], values)
    same(found, expected(book, values))
    assert np.isnan(found[1][0])
    assert np.isnan(found[4][0])
    assert found[0][0] == pytest.approx(0.13066, abs=1e-5)
