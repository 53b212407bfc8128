"""What is not known: where the spread comes from, what knowing more is worth, and which study pays."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pandas as pd

from rox.core.knowing import Knowing, StudyWorth
from rox.core.returns import Advice
from rox.reporting import knowing_figures, sentences
from rox.reporting.blocks import Block, Cell, Column, Figure, Heading, Part, Points, Table, Text, Tone
from rox.reporting.estimates import joined
from rox.reporting.numbers import MISSING, Form, count, form, significant
from rox.reporting.request import Request
from rox.reporting.svg import inline_svg, wrapped

SMALL = 0.005
"""Share of the variance below which a factor whose knowledge is worth nothing is only counted."""
STEADY = 0.80
"""Share of the variance of ranks from which one input at a time tells most of it."""
DRAWN = 8
ADVICE: dict[str, tuple[str, Tone]] = {
    "do": ("✓", "good"),
    "do_not": ("✕", "bad"),
    "close": ("○", "quiet"),
    "offer": ("?", "warn"),
}


def knowing(request: Request) -> Part:
    """Tell what knowing more is worth; with too few draws only what knowing everything is worth."""
    money, known = request.money, request.money.knowing
    blocks: list[Block] = [Text(text=sentences.worth_knowing(money, request.language))]
    if known is not None:
        blocks += _blocks(request, known)
    return Part(key="knowing", heading=request.say("part.knowing"), blocks=tuple(blocks))


def _blocks(request: Request, known: Knowing) -> Iterator[Block]:
    say = request.say
    if request.money.decision.risk_aversion:
        yield Text(text=say("knowing.neutral"))
    if len(known.factors):
        yield Heading(text=say("knowing.spread"))
        yield Text(text=spread_sentence(request, known))
        yield _figure(request, known)
    yield Heading(text=say("knowing.studies"))
    if known.studies:
        yield Points(points=tuple(study_sentence(request, study) for study in known.studies))
    else:
        yield Text(text=say("knowing.none"))
    if proposed := [study for study in known.studies if study.key]:
        yield _studies(request, known, proposed)
        if request.money.decision.advice is Advice.LEARN_FIRST and all(each.advice != "do" for each in proposed):
            yield Text(text=say("knowing.learn_first"))


def spread_sentence(request: Request, known: Knowing) -> str:
    """Say how far one input at a time explains NPV."""
    share = form("share", request.language, like=(1.0,), step=0.01)
    key = "knowing.steady" if known.rank_r2 >= STEADY else "knowing.together"
    return request.say(key, ranks=share(known.rank_r2), alone=share(float(known.factors["first"].sum())))


def study_sentence(request: Request, study: StudyWorth) -> str:
    """Say what a study finds, what it is worth, what it costs, and what follows."""
    say, language = request.say, request.language
    worth = _worth_form(request, study)
    label = study.label[language]
    reach = study.detectable if study.kind == "holdout" else study.error
    amount = form(study.unit, language, like=(reach,), step=significant(reach, 2), currency=request.currency)(reach)
    finds = say(
        f"knowing.finds.{study.kind}", amount=say("knowing.hazard", n=amount) if study.unit == "log_hazard" else amount
    )
    if study.evsi <= 0:
        return say("knowing.study.nothing", label=label, finds=finds)
    if study.advice == "offer":
        return say("knowing.study.offer", label=label, finds=finds, worth=worth(study.worth))
    key = f"knowing.study.{study.advice}"
    return say(key, label=label, finds=finds, worth=worth(study.worth), costs=_costs(request, study))


def before_deciding(request: Request) -> str:
    """Say which study to make before deciding, or what is left to choose where none is shown to pay; else nothing."""
    known, decision = request.money.knowing, request.money.decision
    studies = () if known is None else known.studies
    if advised := [study for study in studies if study.advice == "do"]:
        best = max(advised, key=lambda study: study.net)
        worth, label = _worth_form(request, best)(best.worth), best.label[request.language]
        return request.say("knowing.answer.do", label=label, worth=worth, costs=_costs(request, best))
    if known is None or decision.advice is not Advice.LEARN_FIRST:
        return ""
    key = "none" if any(study.key for study in studies) else "offer"
    return request.say(f"knowing.answer.{key}", p=sentences.odds(request.money, request.language))


def _costs(request: Request, study: StudyWorth) -> str:
    shape = _worth_form(request, study)
    key = "knowing.costs.waiting" if study.delay > 0 else "knowing.costs"
    return request.say(key, cost=shape(study.cost), delay=shape(study.delay))


def _worth_form(request: Request, study: StudyWorth) -> Form:
    like = [each for each in (study.worth, study.cost, study.delay) if each == each and each > 0]
    step = significant(min(like), 2) if like else 0.0
    return form("money", request.language, like=like, step=step, currency=request.currency)


def _plain_zero(shape: Form, value: float) -> str:
    """Write what rounds to nothing as 0, not as 0 thousand."""
    is_zero = not abs(value) >= shape.step / 2
    return replace(shape, scale=1.0, suffix="", step=1.0)(0.0) if is_zero else shape(value)


def _figure(request: Request, known: Knowing) -> Figure:
    table = known.factors.sort_values("total", ascending=False, kind="stable")
    shown = table.head(int(np.clip((table["total"] >= SMALL).sum(), 1, DRAWN)))
    first = shown.iloc[0]
    lines = max(wrapped(str(name), most=knowing_figures.LINES).count("\n") + 1 for name in shown[request.language])
    share = form("share", request.language, like=(1.0,), step=0.01)
    caption = request.say("figure.share.caption", first=first[request.language], total=share(float(first["total"])))
    return Figure(
        svg=inline_svg(
            lambda ax: knowing_figures.spread_by_factor(shown, ax, language=request.language),
            key="fig-knowing",
            title=request.say("figure.share.title"),
            description=caption,
            size=(7.2, 0.9 + max(0.36, 0.17 * lines) * len(shown)),
        ),
        caption=caption,
        table=_factors(request, known),
    )


def _factors(request: Request, known: Knowing) -> Table:
    say, language, table = request.say, request.language, known.factors
    share = form("share", language, like=(1.0,), step=0.01)
    worths = table["evppi"].to_numpy(dtype=float)
    money = form(
        "money",
        language,
        like=worths,
        step=significant(float(worths.max(initial=0.0)), 2) / 10,
        currency=request.currency,
    )
    named = table[(table["total"] >= SMALL) | (table["evppi"] > 0)]
    rest = len(table) - len(named)
    note = say(
        "knowing.factors.note",
        draws=count(known.draws, language),
        crossed=count(known.crossed, language),
        share=share(float(table[["first_error", "total_error"]].max().max())),
        money=_plain_zero(money, float(table["evppi_error"].max())),
    )
    return Table(
        caption=say("knowing.factors"),
        columns=(
            Column(say("column.input")),
            Column(say("column.alone"), "number"),
            Column(say("column.in_all"), "number"),
            Column(say("column.evppi"), "number"),
        ),
        rows=tuple(
            (str(row[language]), share(row["first"]), share(row["total"]), _plain_zero(money, row["evppi"]))
            for _, row in named.iterrows()
        ),
        note=f"{note} {say('knowing.factors.rest', n=rest)}" if rest else note,
    )


def _studies(request: Request, known: Knowing, studies: list[StudyWorth]) -> Table:
    say, language = request.say, request.language
    labels = pd.Series(known.factors[language].to_numpy(), index=known.factors["name"].to_numpy(), dtype=object)
    rows: list[tuple[str | Cell, ...]] = []
    for study in studies:
        money = _worth_form(request, study)
        sign, tone = ADVICE[study.advice]
        rows.append(
            (
                study.label[language],
                joined((str(labels[name]) for name in study.learns), language) or MISSING,
                *(_plain_zero(money, each) for each in (study.evppi, study.worth, study.cost, study.delay, study.net)),
                Cell(f"{sign} {say(f'knowing.advice.{study.advice}')}", tone),
            )
        )
    return Table(
        caption=say("knowing.table"),
        columns=(
            Column(say("column.study")),
            Column(say("column.about")),
            Column(say("column.exact"), "number"),
            Column(say("column.evsi"), "number"),
            Column(say("column.cost"), "number"),
            Column(say("column.delay"), "number"),
            Column(say("column.net"), "number"),
            Column(say("column.advice"), "short"),
        ),
        rows=tuple(rows),
        note=say("knowing.table.note"),
    )
