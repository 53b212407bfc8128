"""The answer first: one sentence, the figures behind it, the rule that was applied."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from rox.core.check import Check, Verdict
from rox.core.effect import Effect
from rox.core.returns import Return
from rox.core.words import Language
from rox.reporting import figures, sentences
from rox.reporting.blocks import Badge, Cell, Column, Figure, Part, Points, Table, Text, Tile, Tiles
from rox.reporting.numbers import MISSING, count, form, probability, step_of
from rox.reporting.parts.knowing import before_deciding
from rox.reporting.request import Request
from rox.reporting.svg import inline_svg

QUANTILES = (0.05, 0.25, 0.50, 0.75, 0.95)
OF_A_LINK = ("ROX-V12", "ROX-V13")
"""Checks of what a case asks of one effect."""
TURNING = ("ROX-B02", "ROX-L22", "ROX-L21", "ROX-L02", "ROX-V05", "ROX-V13", "ROX-V12", "ROX-S05")
"""Remarks that speak of what could turn the answer, the gravest first."""
MOST_DOUBTS = 2


def answer(request: Request) -> Part:
    """Say what follows, in one sentence and a handful of numbers."""
    money, language = request.money, request.language
    sign, tone = sentences.SIGNS[money.decision.advice]
    badge = Badge(
        sign=sign,
        text=sentences.advice(money.decision, language),
        tone=tone,
        detail=request.say(f"grade.{money.grade}.name", grade=money.grade),
    )
    reasons = [
        reason
        for effect in money.effects
        for reason in sentences.grade_reasons(_lowering(effect, money), money.grade, language)
        if money.money_grades.get(effect.name, effect.grade) == money.grade
    ]
    return Part(
        key="answer",
        heading=request.say("part.answer"),
        blocks=(
            badge,
            Text(text=sentences.answer(money, language), role="lead"),
            *([Text(text=before)] if (before := before_deciding(request)) else []),
            tiles(money, language),
            _distribution(request),
            _rule(request),
            Points(points=tuple(dict.fromkeys([*reasons, *_doubts(request)]))),
        ),
    )


def _lowering(effect: Effect, money: Return) -> tuple[Check, ...]:
    """Return the checks of an effect, and those of the case that say what it does to the effect's grade."""
    return (
        *effect.checks,
        *(check for check in money.checks if check.code in OF_A_LINK and check.values["effect"] == effect.name),
    )


def _doubts(request: Request) -> list[str]:
    """Say the gravest remarks that speak of what could turn the answer."""
    checks = [check for effect in request.money.effects for check in effect.checks] + list(request.money.checks)
    found = [check for check in checks if check.code in TURNING and check.verdict is Verdict.NOTE]
    return [
        request.say("doubt", code=check.code, sentence=check.sentence(request.language))
        for check in sorted(found, key=lambda each: TURNING.index(each.code))[:MOST_DOUBTS]
    ]


def tiles(money: Return, language: Language) -> Tiles:
    """Set the headline numbers side by side."""
    decision, shape = money.decision, sentences.npv_form(money, language)
    low, high = _range(money.draws["roi"])
    share = form("share", language, like=(low, high), step=step_of(low, high))
    back, remark = sentences.payback(money, language)
    say = Request(money=money, language=language).say
    return Tiles(
        tiles=(
            Tile(
                name=say("tile.npv"),
                value=shape(decision.npv),
                detail=say(
                    "tile.npv.detail",
                    range=shape.between(decision.low, decision.high),
                    expected=shape(decision.expected_npv),
                ),
                tone="good" if decision.npv > 0 else "bad",
            ),
            Tile(
                name=say("tile.odds"),
                value=sentences.odds(money, language),
                detail=say("tile.odds.detail", enough=probability(decision.enough, language)),
            ),
            Tile(
                name=say("tile.roi"),
                value=share(decision.roi) if not math.isnan(decision.roi) else MISSING,
                detail=sentences.returns(money, language),
            ),
            Tile(name=say("tile.payback"), value=back, detail=remark),
        )
    )


def _range(draws: NDArray[np.float64]) -> tuple[float, float]:
    """Return the range that holds nine draws in ten of those that have a value; 0 and 1 if none has."""
    found = draws[~np.isnan(draws)]
    low, high = np.quantile(found, [0.05, 0.95]) if len(found) else (0.0, 1.0)
    return float(low), float(high)


def _distribution(request: Request) -> Figure:
    money, language = request.money, request.language
    shape = sentences.npv_form(money, language)
    found = np.quantile(money.draws["npv"], QUANTILES)
    p = sentences.odds(money, language)
    caption = request.say("figure.npv.caption", draws=count(len(money.draws["npv"]), language), p=p)
    return Figure(
        svg=inline_svg(
            lambda ax: figures.distribution(money, ax, language=language),
            key="fig-npv",
            title=request.say("figure.npv.title"),
            description=caption,
            size=(7.2, 2.1),
        ),
        caption=caption,
        table=Table(
            caption=request.say("figure.npv.title"),
            columns=(Column(request.say("column.quantile")), Column(request.say("figure.npv"), "number")),
            rows=tuple((f"{100 * q:.0f}%", shape(value)) for q, value in zip(QUANTILES, found, strict=True)),
        ),
    )


def _rule(request: Request) -> Table:
    met = {True: Cell(f"✓ {request.say('word.met')}", "good"), False: Cell(f"✕ {request.say('word.not_met')}", "bad")}
    notes = [request.say("criterion.note")]
    if request.money.decision.stated:
        notes.append(request.say("criterion.stated.note"))
    return Table(
        caption=request.say("criterion.caption"),
        columns=(
            Column(request.say("column.criterion")),
            Column(request.say("column.asked")),
            Column(request.say("column.found")),
            Column(request.say("column.met"), "short"),
        ),
        rows=tuple(
            (name, asked, found, met[is_met])
            for name, asked, found, is_met in sentences.criteria(request.money, request.language)
        ),
        note=" ".join(notes),
    )
