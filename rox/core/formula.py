"""One small language for the lines of a calculation, read by Python and by Excel alike.

A formula is an expression in Python's syntax over names of inputs and lines, with ``+ - * / **``, one comparison at a
time (``< <= > >= ==``), ``and``, and

- ``MIN(a, b)``, ``MAX(a, b)``, ``EXP(x)``, ``IF(condition, a, b)``;
- ``PREV(line)``: the line a month earlier, 0 before the first month;
- ``SUM(expression)``, ``LOWEST(line)``, ``HIGHEST(line)``, ``LAST(line)``, ``IRR(line)``: over all months; the
  expression of ``SUM`` is arithmetic and ``EXP`` only, which every spreadsheet sums without array formulas;
- ``KNOWN(x)``: whether a value exists; ``NONE``: no value. Ask ``KNOWN`` before computing or comparing with what
  may be missing, for Python and spreadsheets differ in what they make of it;
- ``month``: the number of the month, 0 at the start.

The only numbers are 0 and 1; any other is an input with a name and an owner. Because both engines read the same text,
what finance recalculates cannot drift from what the model computed.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from rox.numerics.cashflow import irr

Array = NDArray[np.float64]

ARGUMENTS: Mapping[str, int] = {
    "MIN": 2,
    "MAX": 2,
    "EXP": 1,
    "IF": 3,
    "KNOWN": 1,
    "PREV": 1,
    "SUM": 1,
    "LOWEST": 1,
    "HIGHEST": 1,
    "LAST": 1,
    "IRR": 1,
}
"""Number of arguments of each function."""

OVER_MONTHS = frozenset({"SUM", "LOWEST", "HIGHEST", "LAST", "IRR"})
RESERVED = frozenset({*ARGUMENTS, "NONE", "month"})
"""Names that inputs and lines cannot have."""

_OF_A_LINE = (OVER_MONTHS - {"SUM"}) | {"PREV"}
_ALLOWED = (ast.BinOp, ast.UnaryOp, ast.USub, ast.Compare, ast.BoolOp, ast.And, ast.Call, ast.Name, ast.Load)
_OPERATORS: Mapping[type[ast.AST], tuple[str, int, Callable[[Array, Array], Array]]] = {
    ast.Lt: ("<", 1, np.less),
    ast.LtE: ("<=", 1, np.less_equal),
    ast.Gt: (">", 1, np.greater),
    ast.GtE: (">=", 1, np.greater_equal),
    ast.Eq: ("=", 1, np.equal),
    ast.Add: ("+", 2, np.add),
    ast.Sub: ("-", 2, np.subtract),
    ast.Mult: ("*", 3, np.multiply),
    ast.Div: ("/", 3, np.divide),
    ast.Pow: ("^", 4, np.power),
}
"""Sign in a spreadsheet, how tightly it binds there, and what it does."""
_ATOM = 5


@dataclass(frozen=True, kw_only=True)
class Uses:
    """The names of a formula by the way it looks at them; ``month`` counts as a name.

    Attributes:
        now: In this month, or once for all months.
        before: A month earlier, through ``PREV``.
        whole: One set for each function over all months.
    """

    now: frozenset[str]
    before: frozenset[str]
    whole: tuple[frozenset[str], ...]


@cache
def parse(formula: str) -> ast.expr:
    """Parse a formula.

    Raises:
        ValueError: It holds something outside the language; every fault is listed.
    """
    try:
        tree = ast.parse(formula, mode="eval").body
    except SyntaxError as cause:
        raise ValueError(f"{formula!r} is not a formula: {cause.msg}") from None
    if faults := [fault for node in ast.walk(tree) for fault in _faults(node)]:
        raise ValueError(f"{formula!r}: {'; '.join(faults)}")
    return tree


def _faults(node: ast.AST) -> Iterator[str]:
    match node:
        case ast.Constant(value=value):
            if type(value) is not int or value not in (0, 1):
                yield f"a number other than 0 and 1 must be a named input, got {value!r}"
        case ast.Compare(ops=several) if len(several) > 1:
            yield "compare two things at a time and join the comparisons with `and`"
        case ast.Call():
            yield from _faults_of_call(node)
        case _ if not isinstance(node, (*_ALLOWED, *_OPERATORS)):
            yield f"{type(node).__name__} is not part of the language"


def _faults_of_call(node: ast.Call) -> Iterator[str]:
    function = ast.unparse(node.func)
    if function not in ARGUMENTS:
        yield f"unknown function {function}; the functions are {', '.join(ARGUMENTS)}"
    elif len(node.args) != ARGUMENTS[function]:
        yield f"{function} takes {ARGUMENTS[function]} argument(s), got {len(node.args)}"
    elif function in _OF_A_LINE:
        match node.args[0]:
            case ast.Name(id=name) if name not in RESERVED:
                pass
            case other:
                yield f"{function} takes the name of a line, got {ast.unparse(other)}"
    elif function == "SUM":
        yield from _faults_of_sum(node.args[0], inside=False)


def _faults_of_sum(node: ast.expr, *, inside: bool) -> Iterator[str]:
    """List what a spreadsheet would not sum over a row of cells without an array formula."""
    match node:
        case ast.BinOp(left=left, right=right):
            yield from _faults_of_sum(left, inside=True)
            yield from _faults_of_sum(right, inside=True)
        case ast.Compare(left=left, comparators=[right]) if inside:
            yield from _faults_of_sum(left, inside=True)
            yield from _faults_of_sum(right, inside=True)
        case ast.UnaryOp(operand=operand) | ast.Call(func=ast.Name(id="EXP"), args=[operand]):
            yield from _faults_of_sum(operand, inside=True)
        case ast.Constant() | ast.Name(id=_) if ast.unparse(node) != "NONE":
            pass
        case _:
            yield f"SUM takes arithmetic over lines; give {ast.unparse(node)} a line of its own"


@cache
def uses(formula: str) -> Uses:
    """Sort the names of a formula by the way it looks at them."""
    now: set[str] = set()
    before: set[str] = set()
    whole: list[frozenset[str]] = []

    def visit(node: ast.AST) -> None:
        match node:
            case ast.Name(id=name):
                now.add(name)
            case ast.Call(func=ast.Name(id="PREV"), args=[ast.Name(id=name)]):
                before.add(name)
            case ast.Call(func=ast.Name(id=function), args=[argument]) if function in OVER_MONTHS:
                whole.append(frozenset(_every_name(argument)))
            case ast.Call(args=arguments):
                for argument in arguments:
                    visit(argument)
            case _:
                for child in ast.iter_child_nodes(node):
                    visit(child)

    visit(parse(formula))
    return Uses(now=frozenset(now - {"NONE"}), before=frozenset(before), whole=tuple(whole))


def _every_name(node: ast.AST) -> set[str]:
    called = {id(each.func) for each in ast.walk(node) if isinstance(each, ast.Call)}
    return {each.id for each in ast.walk(node) if isinstance(each, ast.Name) and id(each) not in called}


@cache
def names(formula: str) -> frozenset[str]:
    """Return the inputs and lines a formula refers to."""
    found = uses(formula)
    return frozenset().union(found.now, found.before, *found.whole) - {"month"}


def evaluate(formula: str, values: Mapping[str, Array], months: Array, *, over_months: bool) -> Array:
    """Evaluate a formula with numpy.

    Args:
        formula: The text.
        values: Inputs and totals with shape (draw, 1), monthly lines with shape (draw, month).
        months: Month numbers, shape (1, month).
        over_months: Whether the formula is a total, whose result has shape (draw, 1).

    Returns:
        Shape (draw, month), or (draw, 1) for a total; NaN where there is no value.
    """

    def value(node: ast.expr) -> Array:
        match node:
            case ast.Constant(value=int(number)):
                return np.array([[float(number)]])
            case ast.Name(id="NONE"):
                return np.array([[np.nan]])
            case ast.Name(id="month"):
                return months
            case ast.Name(id=name):
                return values[name]
            case ast.UnaryOp(operand=operand):
                return -value(operand)
            case ast.BinOp(left=left, op=sign, right=right):
                return _OPERATORS[type(sign)][2](value(left), value(right))
            case ast.Compare(left=left, ops=[ask], comparators=[right]):
                return _OPERATORS[type(ask)][2](value(left), value(right)).astype(float)
            case ast.BoolOp(values=conditions):
                held = [value(each) != 0 for each in conditions]
                return np.asarray(np.logical_and.reduce(np.broadcast_arrays(*held)), dtype=float)
            case ast.Call(func=ast.Name(id="PREV"), args=[line]):
                found = value(line)
                return np.concatenate([np.zeros((len(found), 1)), found[:, :-1]], axis=1)
            case ast.Call(func=ast.Name(id=function), args=arguments):
                return _called(function, [value(argument) for argument in arguments], months.shape[1])
        raise AssertionError(ast.dump(node))

    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        found = np.asarray(value(parse(formula)), dtype=float)
    width = 1 if over_months else months.shape[1]
    return np.broadcast_to(found, (found.shape[0], width)) if found.shape[1] != width else found


def _called(function: str, parts: list[Array], months: int) -> Array:
    first = parts[0]
    match function:
        case "IF":
            return np.where(first != 0, parts[1], parts[2])
        case "KNOWN":
            return np.isfinite(first).astype(float)
        case "EXP":
            return np.exp(first)
        case "MIN":
            return np.minimum(first, parts[1])
        case "MAX":
            return np.maximum(first, parts[1])
    row: Array = np.broadcast_to(first, (len(first), months))
    match function:
        case "SUM":
            return np.asarray(row.sum(axis=1, keepdims=True))
        case "LOWEST":
            return np.asarray(row.min(axis=1, keepdims=True))
        case "HIGHEST":
            return np.asarray(row.max(axis=1, keepdims=True))
        case "LAST":
            return row[:, -1:]
    return np.asarray(irr(row))[:, None]


_TEMPLATES: Mapping[str, str] = {
    "MIN": "MIN({0},{1})",
    "MAX": "MAX({0},{1})",
    "EXP": "EXP({0})",
    "IF": "IF({0},{1},{2})",
    "KNOWN": "ISNUMBER({0})",
    "SUM": "SUMPRODUCT({0})",
    "LOWEST": "MIN({0})",
    "HIGHEST": "MAX({0})",
}
_GAINED, _SPENT = "{flows}*({flows}>0)", "{flows}*({flows}<0)"
_GAINED_AT = f"SUMPRODUCT({{months}}*{_GAINED})/SUMPRODUCT({_GAINED})"
_SPENT_AT = f"SUMPRODUCT({{months}}*{_SPENT})/SUMPRODUCT({_SPENT})"
_IRR = f"IRR({{flows}},(SUMPRODUCT({_GAINED})/SUMPRODUCT(-{_SPENT}))^(1/({_GAINED_AT}-{_SPENT_AT}))-1)"
"""Spreadsheets miss rates far from where they start to look: start at the rate that would repay all that was spent,
as of its mean month, by all that was gained, as of its own."""

_SCOPES: Mapping[str, str] = {"PREV": "prev", "LAST": "last", **dict.fromkeys(OVER_MONTHS - {"LAST"}, "months")}


def to_excel(formula: str, cell: Callable[[str, str], str], *, none: str = '"–"') -> str:
    """Write a formula for a spreadsheet, without the leading equals sign.

    Brackets are those the spreadsheet needs: there a sign before a number binds more tightly than a power, and powers
    are taken from left to right, both unlike in Python.

    Args:
        formula: The text.
        cell: Gives the reference of a name; its second argument says which one is needed: ``"here"`` (this month, or
            the one cell of an input), ``"prev"`` (a month earlier), ``"months"`` (the whole row), ``"last"``.
        none: What stands for no value.
    """

    def bound(node: ast.expr, scope: str) -> tuple[str, int]:
        """Return the text of a part and how tightly it holds together."""
        match node:
            case ast.Constant(value=number):
                return str(number), _ATOM
            case ast.Name(id="NONE"):
                return none, _ATOM
            case ast.Name(id=name):
                return cell(name, scope), _ATOM
            case ast.UnaryOp(operand=operand):
                return f"-{at_least(_ATOM, operand, scope)}", 0
            case ast.BinOp(left=left, op=sign, right=right) | ast.Compare(left=left, ops=[sign], comparators=[right]):
                written, level, _ = _OPERATORS[type(sign)]
                first = at_least(level if level in (2, 3) else level + 1, left, scope)
                return f"{first}{written}{at_least(level + 1, right, scope)}", level
            case ast.BoolOp(values=conditions):
                return f"AND({','.join(bound(each, scope)[0] for each in conditions)})", _ATOM
            case ast.Call(func=ast.Name(id=("PREV" | "LAST") as function), args=[line]):
                return bound(line, _SCOPES[function])
            case ast.Call(func=ast.Name(id="SUM"), args=[ast.Name(id=name)]):
                return f"SUM({cell(name, 'months')})", _ATOM
            case ast.Call(func=ast.Name(id="IRR"), args=[ast.Name(id=name)]):
                return _IRR.format(flows=cell(name, "months"), months=cell("month", "months")), _ATOM
            case ast.Call(func=ast.Name(id=function), args=arguments):
                inner = _SCOPES.get(function, scope)
                return _TEMPLATES[function].format(*(bound(each, inner)[0] for each in arguments)), _ATOM
        raise AssertionError(ast.dump(node))

    def at_least(level: int, node: ast.expr, scope: str) -> str:
        text, held = bound(node, scope)
        return text if held >= level else f"({text})"

    return bound(parse(formula), "here")[0]
