"""The language of the lines: what it refuses, what it computes, what it becomes in a spreadsheet."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rox.core.formula import Array, Uses, evaluate, names, parse, to_excel, uses

MONTHS = np.arange(4.0)[None, :]
LINE = np.array([[-5.0, 2.0, 3.0, 4.0]])


def monthly(formula: str, **values: float | list[float] | Array) -> list[float]:
    return list(_held(formula, values, over_months=False)[0])


def total(formula: str, **values: float | list[float] | Array) -> float:
    found = _held(formula, values, over_months=True)
    assert found.shape == (1, 1)
    return float(found[0, 0])


def _held(formula: str, values: dict[str, float | list[float] | Array], *, over_months: bool) -> Array:
    held = {name: np.atleast_2d(np.asarray(value, dtype=float)) for name, value in values.items()}
    return evaluate(formula, held, MONTHS, over_months=over_months)


def excel(formula: str) -> str:
    """Write a formula with references that name what they stand for."""
    return to_excel(formula, lambda name, scope: name if scope == "here" else f"{name}_{scope}")


@pytest.mark.parametrize(
    "formula, fault",
    [
        ("a * 12", "must be a named input, got 12"),
        ("a + 0.5", "got 0.5"),
        ("a + 1.0", "got 1.0"),
        ("a + True", "got True"),
        ("a + 'x'", "got 'x'"),
        ("a < b < c", "compare two things at a time"),
        ("a != b", "NotEq is not part of the language"),
        ("a or b", "Or is not part of the language"),
        ("not a", "Not is not part of the language"),
        ("+a", "UAdd is not part of the language"),
        ("a % b", "Mod is not part of the language"),
        ("a // b", "FloorDiv is not part of the language"),
        ("a.b", "Attribute is not part of the language"),
        ("a[0]", "Subscript is not part of the language"),
        ("[a]", "List is not part of the language"),
        ("(lambda: a)()", "unknown function"),
        ("a if b else c", "IfExp is not part of the language"),
        ("ABS(a)", "unknown function ABS; the functions are MIN, MAX"),
        ("np.exp(a)", "unknown function np.exp"),
        ("MIN(a)", "MIN takes 2 argument(s), got 1"),
        ("IF(a, b)", "IF takes 3 argument(s), got 2"),
        ("MIN(a, b, key=c)", "keyword is not part of the language"),
        ("MIN(*a, b)", "Starred is not part of the language"),
        ("PREV(a + 1)", "PREV takes the name of a line, got a + 1"),
        ("PREV(month)", "PREV takes the name of a line, got month"),
        ("IRR(a * b)", "IRR takes the name of a line"),
        ("SUM(IF(a > 0, a, 0))", "give IF(a > 0, a, 0) a line of its own"),
        ("SUM(MIN(a, 0))", "give MIN(a, 0) a line of its own"),
        ("SUM(PREV(a))", "give PREV(a) a line of its own"),
        ("SUM(SUM(a))", "give SUM(a) a line of its own"),
        ("SUM(a > 0)", "give a > 0 a line of its own"),
        ("SUM(a * NONE)", "give NONE a line of its own"),
        ("a +", "is not a formula"),
        ("a; b", "is not a formula"),
        ("a = b", "is not a formula"),
        ("", "is not a formula"),
    ],
)
def test_what_is_outside_the_language_is_refused_with_the_reason(formula: str, fault: str) -> None:
    with pytest.raises(ValueError) as caught:
        parse(formula)
    assert fault in str(caught.value)
    assert repr(formula) in str(caught.value)


def test_every_fault_of_a_formula_is_in_one_message() -> None:
    with pytest.raises(ValueError) as caught:
        parse("ABS(a) * 12 + MIN(b)")
    assert all(part in str(caught.value) for part in ("ABS", "12", "MIN takes 2"))


def test_names_are_sorted_by_the_way_a_formula_looks_at_them() -> None:
    formula = "IF(month == 0, a, PREV(b) * c) + SUM(d * rate) - LAST(e) + NONE"
    assert names(formula) == {"a", "b", "c", "d", "rate", "e"}
    assert uses(formula) == Uses(
        now=frozenset({"month", "a", "c"}),
        before=frozenset({"b"}),
        whole=(frozenset({"d", "rate"}), frozenset({"e"})),
    )
    assert uses("PREV(a) + a").now == uses("PREV(a) + a").before == {"a"}


@pytest.mark.parametrize(
    "formula, expected",
    [
        ("line + 1", [-4, 3, 4, 5]),
        ("1 - line", [6, -1, -2, -3]),
        ("line / two", [-2.5, 1, 1.5, 2]),
        ("two ** line", [1 / 32, 4, 8, 16]),
        ("-two ** line", [-1 / 32, -4, -8, -16]),
        ("(-two) ** line", [-1 / 32, 4, -8, 16]),
        ("two ** -line", [32, 1 / 4, 1 / 8, 1 / 16]),
        ("two ** two ** month", [2, 4, 16, 256]),
        ("month", [0, 1, 2, 3]),
        ("MIN(line, two)", [-5, 2, 2, 2]),
        ("MAX(line, two)", [2, 2, 3, 4]),
        ("EXP(month - month)", [1, 1, 1, 1]),
        ("IF(line > two, line, 0)", [0, 0, 3, 4]),
        ("IF(line >= two, 1, 0)", [0, 1, 1, 1]),
        ("IF(line < two, 1, 0)", [1, 0, 0, 0]),
        ("IF(line <= two, 1, 0)", [1, 1, 0, 0]),
        ("IF(month == 1, 1, 0)", [0, 1, 0, 0]),
        ("IF(line > 0 and month < two, 1, 0)", [0, 1, 0, 0]),
        ("(line > 0) + (line > two)", [0, 1, 2, 2]),
        ("-(line > 0)", [0, -1, -1, -1]),
        ("PREV(line)", [0, -5, 2, 3]),
        ("line - PREV(line)", [-5, 7, 1, 1]),
        ("line / SUM(line)", [-1.25, 0.5, 0.75, 1]),
        ("two", [2, 2, 2, 2]),
    ],
)
def test_monthly_formulas_by_hand(formula: str, expected: list[float]) -> None:
    assert monthly(formula, line=LINE, two=2) == pytest.approx(expected, rel=1e-15)


@pytest.mark.parametrize(
    "formula, expected",
    [
        ("SUM(line)", 4),
        ("SUM(line * month)", 2 + 6 + 12),
        ("SUM(line * two)", 8),
        ("SUM(line * (line > 0))", 9),
        ("SUM(EXP(line - line))", 4),
        ("LOWEST(line)", -5),
        ("HIGHEST(line)", 4),
        ("LAST(line)", 4),
        ("SUM(line) / two - 1", 1),
        ("IF(SUM(line) > 0, LAST(line), NONE)", 4),
        ("IF(KNOWN(NONE), 0, 1)", 1),
    ],
)
def test_totals_by_hand(formula: str, expected: float) -> None:
    assert total(formula, line=LINE, two=2) == pytest.approx(expected, rel=1e-15)


def test_irr_is_the_rate_per_month() -> None:
    assert total("IRR(line)", line=[-100, 0, 0, 133.1]) == pytest.approx(0.1, rel=1e-12)
    assert np.isnan(total("IRR(line)", line=[1, 2, 3, 4]))


def test_a_missing_value_spreads_until_it_is_asked_for() -> None:
    assert np.isnan(total("gone + 1", gone=np.nan))
    assert total("KNOWN(gone)", gone=np.nan) == 0
    assert total("KNOWN(gone / 0)", gone=1) == 0
    assert total("KNOWN(EXP(gone))", gone=1e4) == 0
    assert total("IF(KNOWN(gone), gone + 1, 0)", gone=np.nan) == 0


def test_draws_are_evaluated_row_by_row() -> None:
    rng = np.random.default_rng(3)
    line, rate = rng.normal(size=(50, 4)), rng.normal(size=(50, 1))
    many = evaluate(
        "SUM(PREV_line * rate) + LAST(line)", {"PREV_line": line, "rate": rate, "line": line}, MONTHS, over_months=True
    )
    assert many.shape == (50, 1)
    for place in range(50):
        one = {"PREV_line": line[[place]], "rate": rate[[place]], "line": line[[place]]}
        assert evaluate("SUM(PREV_line * rate) + LAST(line)", one, MONTHS, over_months=True)[0, 0] == many[place, 0]


@pytest.mark.parametrize(
    "formula, expected",
    [
        ("a + b - c", "a+b-c"),
        ("a - (b - c)", "a-(b-c)"),
        ("a + (b + c)", "a+(b+c)"),
        ("a * (b + c) / d", "a*(b+c)/d"),
        ("a / (b * c)", "a/(b*c)"),
        ("a / b * c", "a/b*c"),
        ("a ** b ** c", "a^(b^c)"),
        ("(a ** b) ** c", "(a^b)^c"),
        ("-a ** b", "-(a^b)"),
        ("(-a) ** b", "(-a)^b"),
        ("a ** -b", "a^(-b)"),
        ("a ** -1", "a^(-1)"),
        ("-a * b", "(-a)*b"),
        ("a * -b", "a*(-b)"),
        ("a - -b", "a-(-b)"),
        ("-(-a)", "-(-a)"),
        ("-(a + b)", "-(a+b)"),
        ("MIN(-a, b)", "MIN(-a,b)"),
        ("(1 + a) ** (b / c)", "(1+a)^(b/c)"),
        ("1 / (1 + a) ** b", "1/(1+a)^b"),
        ("a > b + c", "a>b+c"),
        ("(a > b) * c", "(a>b)*c"),
        ("IF(a == 0 and b >= c, NONE, EXP(a))", 'IF(AND(a=0,b>=c),"–",EXP(a))'),
        ("IF(KNOWN(a), 1, 0)", "IF(ISNUMBER(a),1,0)"),
        ("PREV(a) + a", "a_prev+a"),
        ("month / a", "month/a"),
        ("SUM(a)", "SUM(a_months)"),
        ("SUM(a * b)", "SUMPRODUCT(a_months*b_months)"),
        ("SUM(a * (1 + r) ** (0 - month))", "SUMPRODUCT(a_months*(1+r_months)^(0-month_months))"),
        ("LOWEST(a) + HIGHEST(a)", "MIN(a_months)+MAX(a_months)"),
        ("LAST(a)", "a_last"),
    ],
)
def test_spreadsheet_formulas(formula: str, expected: str) -> None:
    assert excel(formula) == expected


def test_a_spreadsheet_looks_for_the_internal_rate_where_the_flows_point() -> None:
    """Two flows have their rate in closed form, and that is where the search starts."""
    text = excel("IRR(a)")
    assert text.startswith("IRR(a_months,")
    flows, months = np.array([0.0, -80.0, 0.0, 20.0]), np.arange(4.0)
    start = text.removeprefix("IRR(a_months,").removesuffix(")")
    start = start.replace("a_months", "flows").replace("month_months", "months").replace("^", "**")
    found = eval(start, {"SUMPRODUCT": np.sum, "flows": flows, "months": months})
    assert found == pytest.approx((20 / 80) ** (1 / 2) - 1, rel=1e-15)
    assert found == pytest.approx(total("IRR(line)", line=[0, -80, 0, 20]), rel=1e-9)


def test_what_stands_for_no_value_can_be_chosen() -> None:
    assert to_excel("NONE", lambda name, scope: name, none="NA()") == "NA()"


LEAVES = st.sampled_from(["a", "b", "c", "0", "1"])
EXPRESSIONS = st.recursive(
    LEAVES,
    lambda part: st.one_of(
        st.tuples(part, st.sampled_from(["+", "-", "*", "/", "**"]), part).map(lambda p: f"({p[0]} {p[1]} {p[2]})"),
        part.map(lambda p: f"(-{p})"),
        st.tuples(part, part).map(lambda p: f"MAX({p[0]}, {p[1]})"),
        st.tuples(part, part, part).map(lambda p: f"IF({p[0]} > {p[1]}, {p[1]}, {p[2]})"),
    ),
    max_leaves=9,
)


@given(EXPRESSIONS)
def test_the_spreadsheet_reads_a_formula_as_python_does(formula: str) -> None:
    values = {"a": 0.7, "b": 1.9, "c": -1.3}
    ours = evaluate(formula, {n: np.array([[v]]) for n, v in values.items()}, MONTHS, over_months=True)[0, 0]
    theirs = _Spreadsheet(excel(formula), values).read()
    np.testing.assert_allclose(theirs, ours, rtol=1e-12)


class _Spreadsheet:
    """Evaluate as spreadsheets do: a sign binds before a power, and powers are taken from left to right."""

    def __init__(self, text: str, values: dict[str, float]) -> None:
        self.text, self.values, self.place = text, values, 0

    def read(self) -> float:
        found = self.comparison()
        assert self.place == len(self.text), self.text
        return found

    def next(self, *signs: str) -> str:
        for sign in signs:
            if self.text.startswith(sign, self.place):
                self.place += len(sign)
                return sign
        return ""

    def comparison(self) -> float:
        left = self.sum()
        return float(left > self.sum()) if self.next(">") else left

    def sum(self) -> float:
        left = self.product()
        while sign := self.next("+", "-"):
            right = self.product()
            left = left + right if sign == "+" else left - right
        return left

    def product(self) -> float:
        left = self.power()
        while sign := self.next("*", "/"):
            with np.errstate(all="ignore"):
                left = float((np.multiply if sign == "*" else np.divide)(left, self.power()))
        return left

    def power(self) -> float:
        left = self.signed()
        while self.next("^"):
            with np.errstate(all="ignore"):
                left = float(np.power(left, self.signed()))
        return left

    def signed(self) -> float:
        return -self.signed() if self.next("-") else self.atom()

    def atom(self) -> float:
        if self.next("("):
            found = self.comparison()
        elif function := self.next("MAX(", "IF("):
            parts = [self.comparison()]
            while self.next(","):
                parts.append(self.comparison())
            found = float(np.maximum(*parts)) if function == "MAX(" else parts[1] if parts[0] else parts[2]
        else:
            sign = self.next(*self.values, "0", "1")
            return self.values[sign] if sign in self.values else float(sign)
        assert self.next(")"), self.text
        return found
