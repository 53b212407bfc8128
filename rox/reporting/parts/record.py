"""Where the figures come from: the trail of the data, the model card with its sign-off, and the provenance."""

from __future__ import annotations

from rox.core.record import versions
from rox.core.words import catalogue
from rox.reporting.blocks import Column, Part, Table, Text
from rox.reporting.estimates import effect_name, joined
from rox.reporting.numbers import MISSING, count, day
from rox.reporting.request import Request

CARD = ("purpose", "use", "not_for", "method", "arithmetic", "uncertainty", "monitoring")
ROLES = ("prepared", "reviewed", "approved")


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


def card(request: Request) -> Part:
    """Write the model card and leave room for the signatures."""
    say, about = request.say, request.money.case.about
    names = joined((effect_name(effect.name, request.language) for effect in request.money.effects), request.language)
    values = {
        "decision": about.decision[request.language],
        "title": about.title[request.language],
        "effects": names,
        "grade": request.money.grade,
        "draws": count(len(request.money.draws["npv"]), request.language),
        "months": about.horizon,
    }
    people = {"prepared": about.prepared_by, "reviewed": about.reviewed_by, "approved": ""}
    return Part(
        key="card",
        heading=say("part.card"),
        blocks=(
            Table(
                caption=say("card.caption"),
                columns=(Column(say("column.fact")), Column(say("column.said"))),
                rows=tuple((say(f"card.{name}.name"), say(f"card.{name}", **values)) for name in CARD),
            ),
            Table(
                caption=say("sign.caption"),
                columns=(
                    Column(say("sign.role")),
                    Column(say("sign.name")),
                    Column(say("sign.date")),
                    Column(say("sign.signature")),
                ),
                rows=tuple((say(f"sign.{role}"), name, "", "") for role, name in people.items()),
                note=say("sign.note"),
                roomy=True,
            ),
        ),
    )


def provenance(request: Request) -> Part:
    """List what is needed to make the same page again."""
    say, money, language = request.say, request.money, request.language
    about = money.case.about
    date = request.date or (request.study.about.extract if request.study else None)
    facts = [
        (say("source.case"), about.name),
        (say("source.start"), day(about.start, language)),
        (say("source.date"), day(date, language) if date else MISSING),
        (say("source.seed"), say("source.seed.value", seed=money.seed, draws=count(len(money.draws["npv"]), language))),
    ]
    for effect in money.effects:
        name = effect_name(effect.name, language)
        facts.append((say("source.specification", name=name), effect.specification))
        facts.append((say("source.fingerprint", name=name), effect.fingerprint or MISSING))
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
