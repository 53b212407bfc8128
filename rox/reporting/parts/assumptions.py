"""Every number that goes into the calculation, and who answers for it."""

from __future__ import annotations

from rox.core.ledger import Input
from rox.reporting.blocks import Block, Column, Part, Table, Text
from rox.reporting.estimates import effect_name
from rox.reporting.numbers import MISSING, Form, form, step_of, unit_name, written
from rox.reporting.request import Request

KINDS = ("assumption", "estimate", "constant")


def assumptions(request: Request) -> Part:
    """List the inputs of the ledger: value, range, unit, owner, source, date."""
    say, inputs = request.say, request.money.ledger.inputs
    by_kind = {kind: [each for each in inputs if each.kind == kind] for kind in KINDS}
    sizes = {kind: len(members) for kind, members in by_kind.items()}
    blocks: list[Block] = [Text(text=say("assumptions.text", **sizes))]
    blocks += [_table(request, kind, members) for kind, members in by_kind.items() if members]
    return Part(key="assumptions", heading=say("part.assumptions"), blocks=tuple(blocks))


def _table(request: Request, kind: str, inputs: list[Input]) -> Table:
    say = request.say
    columns = [
        Column(say("column.input")),
        Column(say("column.value"), "number"),
        Column(say("column.range"), "number"),
        Column(say("column.unit")),
    ]
    if kind == "assumption":
        columns += [Column(say("column.owner")), Column(say("column.source")), Column(say("column.date"), "short")]
    elif kind == "estimate":
        columns.append(Column(say("column.effect")))
    return Table(
        caption=say(f"assumptions.{kind}"),
        columns=tuple(columns),
        rows=tuple((*_numbers(request, each), *_origin(request, each)) for each in inputs),
        note=say(f"assumptions.{kind}.note"),
    )


def _numbers(request: Request, each: Input) -> tuple[str, ...]:
    language, spread = request.language, each.spread
    shape = _form(each, request)
    likely = spread.likely if spread.kind != "between" else float(f"{spread.likely:.4g}")
    return (
        each.label(language),
        shape.number(likely),
        shape.span(spread.low, spread.high) if spread.is_uncertain else request.say("word.fixed"),
        unit_name(each.unit, language, currency=request.currency),
    )


def _form(each: Input, request: Request) -> Form:
    """Write assumptions as their owners did, what was measured to what its range supports, money without its sign."""
    spread = each.spread
    if each.kind != "estimate" or not spread.is_uncertain:
        return written(each.unit, request.language)
    places = (spread.likely, spread.low, spread.high)
    return form(each.unit, request.language, like=places, step=step_of(spread.low, spread.high))


def _origin(request: Request, each: Input) -> tuple[str, ...]:
    if each.kind == "assumption":
        return each.owner or MISSING, each.source or MISSING, each.date.isoformat() if each.date else MISSING
    return (effect_name(each.place, request.language),) if each.kind == "estimate" else ()
