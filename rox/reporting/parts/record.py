"""Where the figures come from: the trail of the data, and the provenance."""

from __future__ import annotations

from rox.core.effect import Effect
from rox.core.identity import case_digest, effect_digest, run_id
from rox.core.record import versions
from rox.core.words import catalogue
from rox.reporting.blocks import Column, Part, Table, Text
from rox.reporting.estimates import effect_name, joined
from rox.reporting.numbers import MISSING, count, day
from rox.reporting.request import Request


def trail(request: Request) -> Part:
    """Show how many rows each step kept and lost, effect by effect."""
    say, language = request.say, request.language
    tables = []
    for effect in request.money.effects:
        rows = tuple(
            (
                say(step.reason) if step.reason in catalogue() else step.reason,
                count(step.rows, language),
                count(step.lost, language),
                count(step.customers, language),
            )
            for step in effect.trail
        )
        tables.append(
            Table(
                caption=say("trail.caption", name=effect_name(effect.name, language)),
                columns=(
                    Column(say("column.step")),
                    Column(say("column.rows"), "number"),
                    Column(say("column.lost"), "number"),
                    Column(say("column.customers"), "number"),
                ),
                rows=rows,
                note="" if rows else say("trail.none"),
            )
        )
    return Part(key="trail", heading=say("part.trail"), blocks=(Text(text=say("trail.text")), *tables))


def provenance(request: Request) -> Part:
    """List what is needed to make the same page again."""
    say, money, language = request.say, request.money, request.language
    about = money.case.about
    date = request.date or (request.study.about.extract if request.study else None)
    facts = [
        (say("source.run"), run_id(money)),
        (say("source.case"), about.name),
        (say("source.case_digest"), case_digest(money.case)),
        (say("source.start"), day(about.start, language)),
        (say("source.date"), day(date, language) if date else MISSING),
        (say("source.seed"), say("source.seed.value", seed=money.seed, draws=count(len(money.draws["npv"]), language))),
    ]
    for effect in money.effects:
        name = effect_name(effect.name, language)
        facts.append((say("source.specification", name=name), effect.specification))
        facts.append((say("source.fingerprint", name=name), effect.fingerprint or MISSING))
        facts.append((say("source.digest", name=name), effect_digest(effect)))
        facts.append((say("source.draws", name=name), _sampled(request, effect)))
    facts.append((say("source.versions"), " · ".join(f"{name} {text}" for name, text in versions().items())))
    return Part(
        key="provenance",
        heading=say("part.provenance"),
        blocks=(
            Table(
                caption=say("source.caption"),
                columns=(Column(say("column.fact")), Column(say("column.said"), "code")),
                rows=tuple(facts),
            ),
        ),
    )


def _sampled(request: Request, effect: Effect) -> str:
    """Say how many draws an effect has, and the sizes its model recorded, the sampler's among them."""
    sizes = (f"{name} {count(value, request.language)}" for name, value in sorted(effect.counts.items()))
    return joined((count(len(effect.draws), request.language), *sizes), request.language)
