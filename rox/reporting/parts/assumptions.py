"""Every number that goes into the calculation, who answers for it, and which to doubt first."""

from __future__ import annotations

from collections.abc import Iterator

from rox.core.ledger import Input
from rox.reporting import sentences
from rox.reporting.blocks import Block, Cell, Column, Part, Table, Text, Tone
from rox.reporting.estimates import effect_name
from rox.reporting.materiality import Level
from rox.reporting.numbers import MISSING, Form, form, step_of, unit_name, written
from rox.reporting.request import Request
from rox.reporting.risk import Risk, mitigation_said, quality_said, risks

KINDS = ("assumption", "estimate", "constant")
SIGNS: dict[Level, tuple[str, Tone]] = {"high": ("✕", "bad"), "medium": ("!", "warn"), "low": ("✓", "good")}
DAYS_IN_A_MONTH = 30.4375


def assumptions(request: Request) -> Part:
    """List the inputs of the ledger: value, range, unit, owner, source, date; and rate quality, impact and risk."""
    say, inputs = request.say, request.money.ledger.inputs
    by_kind = {kind: [each for each in inputs if each.kind == kind] for kind in KINDS}
    sizes = {kind: len(members) for kind, members in by_kind.items()}
    blocks: list[Block] = [Text(text=say("assumptions.text", **sizes))]
    blocks += [_table(request, kind, members) for kind, members in by_kind.items() if members]
    blocks += _risks(request)
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
        note=_note(request, kind),
    )


def _note(request: Request, kind: str) -> str:
    """Say how to read a table, and under the assumptions which of them are drawn together."""
    note, language = request.say(f"assumptions.{kind}.note"), request.language
    if kind != "assumption":
        return note
    gap = " " if language == "en" else ""
    return f"{note}{gap}{sentences.drawn_together(request.money, language, 'correlated.register')}"


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


def _risks(request: Request) -> Iterator[Table]:
    """Rate what moves the answer, the worst first; what is of low risk stands folded."""
    found = risks(request.money)
    shown = [each for each in found if each.rating != "low"]
    rest = [each for each in found if each.rating == "low"]
    if shown:
        yield _risk_table(request, request.say("risk.caption"), shown, request.say("risk.note"))
    if rest:
        note = "" if shown else request.say("risk.note")
        yield _risk_table(request, request.say("risk.low.caption", n=len(rest)), rest, note, folded=True)


def _risk_table(request: Request, caption: str, found: list[Risk], note: str, *, folded: bool = False) -> Table:
    say = request.say
    titles = ("input", "risk", "quality", "impact", "swing", "age", "mitigation")
    kinds = {"swing": "number", "age": "short", "risk": "short"}
    return Table(
        caption=caption,
        columns=tuple(Column(say(f"risk.{title}"), kinds.get(title, "text")) for title in titles),  # type: ignore[arg-type]
        rows=tuple(_risk(request, each) for each in found),
        note=note,
        folded=folded,
    )


def _risk(request: Request, each: Risk) -> tuple[str | Cell, ...]:
    say, language = request.say, request.language
    sign, tone = SIGNS[each.rating]
    share = form("share", language, like=(1.0,), step=0.001)
    return (
        each.labels[language],
        Cell(f"{sign} {say(f'level.{each.rating}')}", tone),
        quality_said(each, language),
        say("risk.impact.said", level=say(f"level.{each.impact}"), share=share(each.share)),
        sentences.npv_form(request.money, language)(each.swing) if each.swing else MISSING,
        age_said(request, each.members[0]),
        mitigation_said(each, language),
    )


def age_said(request: Request, each: Input) -> str:
    """Say how many months before the report's date a number is of."""
    date = request.date or (request.study.about.extract if request.study else None)
    if each.date is None or date is None:
        return MISSING
    return form("months", request.language)(max(0, round((date - each.date).days / DAYS_IN_A_MONTH)))
