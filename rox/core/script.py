"""The third reader of formulas: a ledger as JavaScript, for pages that recalculate without a server.

Names of inputs and lines never reach the script: they become numbered places, so that nothing a user wrote is code.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from importlib.resources import files

from rox.core.formula import names, parse
from rox.core.ledger import Ledger, Line

_SIGNS: Mapping[type[ast.AST], str] = {
    ast.Add: "+",
    ast.Sub: "-",
    ast.Mult: "*",
    ast.Div: "/",
    ast.Lt: "<",
    ast.LtE: "<=",
    ast.Gt: ">",
    ast.GtE: ">=",
    ast.Eq: "===",
}
_CALLS: Mapping[str, str] = {
    "MIN": "Math.min({0},{1})",
    "MAX": "Math.max({0},{1})",
    "EXP": "Math.exp({0})",
    "IF": "({0}!==0?{1}:{2})",
    "KNOWN": "(Number.isFinite({0})?1:0)",
}
_OF_A_ROW: Mapping[str, str] = {
    "LOWEST": "lowest({0})",
    "HIGHEST": "highest({0})",
    "LAST": "{0}[months-1]",
    "IRR": "irr({0})",
}


def to_script(formula: str, cell: Callable[[str, str], str]) -> str:
    """Write a formula as a JavaScript expression over doubles, with conditions as 0 and 1 and NaN for no value.

    It may call ``pow``, ``sum``, ``lowest``, ``highest`` and ``irr``, which :func:`ledger_script` brings along, and
    refers to ``m``, the month, and to ``months``, their number.

    Args:
        formula: In the language of :mod:`rox.core.formula`.
        cell: Gives the JavaScript of a name; its second argument says what is needed: ``"here"`` (this month, or the
            one value of an input or a total), ``"prev"`` (a month earlier, 0 before the first), ``"row"`` (all months).

    Raises:
        ValueError: The formula holds something outside the language.
    """

    def written(node: ast.expr) -> str:
        match node:
            case ast.Constant(value=number):
                return str(number)
            case ast.Name(id="NONE"):
                return "NaN"
            case ast.Name(id="month"):
                return "m"
            case ast.Name(id=name):
                return cell(name, "here")
            case ast.UnaryOp(operand=operand):
                return f"(-{written(operand)})"
            case ast.BinOp(left=left, op=ast.Pow(), right=right):
                return f"pow({written(left)},{written(right)})"
            case ast.BinOp(left=left, op=sign, right=right):
                return f"({written(left)}{_SIGNS[type(sign)]}{written(right)})"
            case ast.Compare(left=left, ops=[sign], comparators=[right]):
                return f"({written(left)}{_SIGNS[type(sign)]}{written(right)}?1:0)"
            case ast.BoolOp(values=conditions):
                return f"({'&&'.join(f'{written(each)}!==0' for each in conditions)}?1:0)"
            case ast.Call(func=ast.Name(id="PREV"), args=[ast.Name(id=name)]):
                return cell(name, "prev")
            case ast.Call(func=ast.Name(id="SUM"), args=[argument]):
                return f"sum(months,m=>{written(argument)})"
            case ast.Call(func=ast.Name(id=function), args=[ast.Name(id=name)]) if function in _OF_A_ROW:
                return _OF_A_ROW[function].format(cell(name, "row"))
            case ast.Call(func=ast.Name(id=function), args=arguments):
                return _CALLS[function].format(*map(written, arguments))
        raise AssertionError(ast.dump(node))

    return written(parse(formula))


def ledger_script(ledger: Ledger, totals: Sequence[str]) -> str:
    """Write a ledger as JavaScript: statements that define ``ledger``, a function from inputs to totals.

    ``ledger(x)`` takes the inputs' values in the order of ``ledger.inputs`` and returns those of ``totals`` in theirs,
    NaN where there is none. The statements define further names and belong into a function of their own. Only lines
    that the totals rest on are written.

    Raises:
        KeyError: The ledger has no total of that name.
    """
    if missing := [
        name for name in totals if name not in {line.name for line in ledger.lines if line.scope == "total"}
    ]:
        raise KeyError(f"the ledger has no total called {', '.join(missing)}")
    lines = _needed(ledger, totals)
    inputs = {each.name: f"x[{place}]" for place, each in enumerate(ledger.inputs)}
    used = {name for line in lines for name in names(line.formula)}
    schedules = {name: f"s{place}" for place, name in enumerate(ledger.schedules) if name in used}
    rows = schedules | {line.name: f"a{place}" for place, line in enumerate(lines) if line.scope == "month"}
    once = inputs | {line.name: f"b{place}" for place, line in enumerate(lines) if line.scope == "total"}

    def cell(name: str, scope: str) -> str:
        if name in once:
            return once[name]
        return {"here": f"{rows[name]}[m]", "prev": f"(m>0?{rows[name]}[m-1]:0)", "row": rows[name]}[scope]

    def statement(line: Line) -> str:
        text = to_script(line.formula, cell)
        if line.scope == "total":
            return f"const {once[line.name]}={text};"
        return f"for(let m=0;m<months;m++){rows[line.name]}[m]={text};"

    held = [f"const months={ledger.horizon + 1};"]
    held += [f"const {place}={json.dumps(list(ledger.schedules[name]))};" for name, place in schedules.items()]
    held += [f"const {place}=new Float64Array(months);" for name, place in rows.items() if name not in schedules]
    result = ",".join(once[name] for name in totals)
    body = [*map(statement, lines), f"return [{result}];"]
    return "\n".join([_functions(), "const ledger=(()=>{", *held, "return x=>{", *body, "};", "})();"])


def _needed(ledger: Ledger, totals: Sequence[str]) -> list[Line]:
    wanted = set(totals)
    for line in reversed(ledger.lines):
        if line.name in wanted:
            wanted |= names(line.formula)
    return [line for line in ledger.lines if line.name in wanted]


@cache
def _functions() -> str:
    return files("rox.core").joinpath("ledger.js").read_text(encoding="utf-8").strip()
