"""What would change the answer, and what it does not say."""

from __future__ import annotations

from rox.core.check import Grade, Verdict
from rox.reporting import sentences
from rox.reporting.blocks import Block, Cell, Column, Heading, Part, Points, Table, Text
from rox.reporting.estimates import effect_name, joined
from rox.reporting.numbers import form, probability
from rox.reporting.request import Request


def turning(request: Request) -> Part:
    """List the break-evens, and what another grade would mean."""
    say, money, language = request.say, request.money, request.language
    blocks: list[Block] = [
        Text(text=say("turn.text")),
        Points(points=sentences.turning_points(money, language)),
        Heading(text=say("ladder.heading")),
        _ladder(request),
        Text(text=_watched(request)),
    ]
    return Part(key="turning", heading=say("part.turning"), blocks=tuple(blocks))


def _ladder(request: Request) -> Table:
    money, language, say = request.money, request.language, request.say
    npv = sentences.npv_form(money, language)
    factor = form("factor", language, like=(1.0,), step=0.01)
    found = sentences.at_other_grades(money)
    rows = []
    for grade in Grade:
        layer = money.layers[grade]
        name = say(f"grade.{grade}.name", grade=grade)
        here = f" · {say('word.here')}" if grade == money.grade else ""
        basis = say("ladder.fitted", n=layer.banks) if layer.banks else say("ladder.judged")
        verdict = _verdict(request, grade, float(found[grade]))
        rows.append((f"{name}{here}", factor(layer.mean), factor(layer.sd), basis, npv(float(found[grade])), verdict))
    return Table(
        caption=say("ladder.caption"),
        columns=(
            Column(say("column.grade")),
            Column(say("column.discount"), "number"),
            Column(say("column.layer_sd"), "number"),
            Column(say("column.layer_basis")),
            Column(say("column.npv_point"), "number"),
            Column(say("column.rule")),
        ),
        rows=tuple(rows),
        strong=frozenset({list(Grade).index(money.grade)}),
        note=say("ladder.note"),
    )


def _verdict(request: Request, grade: Grade, npv: float) -> Cell:
    """Say what the rule would make of a grade: this report's by its draws, another by the sign of its point path."""
    say, decision = request.say, request.money.decision
    if grade == request.money.grade:
        sign, tone = sentences.SIGNS[decision.advice]
        return Cell(f"{sign} {sentences.advice(decision, request.language)}", tone)
    if npv <= 0:
        return Cell(f"✕ {say('advice.stop')}", "bad")
    if not grade.is_causal:
        return Cell(f"? {say('ladder.at_best_learn')}", "warn")
    return Cell(f"✓ {say('ladder.may_go', enough=probability(decision.enough, request.language))}", "good")


def _watched(request: Request) -> str:
    """Name the checks that passed, whose failure would lower the grade."""
    told = []
    for effect in request.money.effects:
        codes = [check.code for check in effect.checks if check.verdict is Verdict.PASS]
        if codes:
            name = effect_name(effect.name, request.language)
            told.append(request.say("watched.of", name=name, codes=joined(dict.fromkeys(codes), request.language)))
    if not told:
        return request.say("watched.none")
    return request.say("watched", list=request.say("watched.and").join(told))


def silence(request: Request) -> Part:
    """List what a reader must not read into the figures."""
    points = tuple(sentences.not_said(request.money, request.language))
    return Part(key="silence", heading=request.say("part.silence"), blocks=(Points(points=points),))
