"""The model card: what the model is for and not for, how it was made and tried, what is watched, and who signed."""

from __future__ import annotations

from collections import Counter

from rox.core.check import Verdict
from rox.core.governance import Role
from rox.core.identity import run_id
from rox.reporting import sentences
from rox.reporting.blocks import Block, Cell, Column, Part, Table
from rox.reporting.estimates import effect_name, joined
from rox.reporting.materiality import materiality
from rox.reporting.monitoring import triggers
from rox.reporting.numbers import MISSING, count, day, written
from rox.reporting.request import Request
from rox.reporting.risk import risks

ROLES: tuple[Role, ...] = ("prepared", "reviewed", "approved")
FACTS = (
    "purpose",
    "use",
    "not_for",
    "roles",
    "tier",
    "data",
    "method",
    "arithmetic",
    "assumptions",
    "uncertainty",
    "limitations",
    "validation",
    "monitoring",
)


def card(request: Request) -> Part:
    """Write the model card, what is watched, and the signatures."""
    say = request.say
    said = card_facts(request)
    blocks: list[Block] = [
        Table(
            caption=say("card.caption"),
            columns=(Column(say("column.fact")), Column(say("column.said"))),
            rows=tuple((say(f"card.{name}.name"), said[name]) for name in FACTS),
            note=say("card.note"),
        ),
        _monitoring(request),
        _signatures(request),
    ]
    if request.money.case.review and request.money.case.review.changes:
        blocks.append(_changes(request))
    return Part(key="card", heading=say("part.card"), blocks=tuple(blocks))


def card_facts(request: Request) -> dict[str, str]:
    """Say each fact of the card."""
    say, language, money = request.say, request.language, request.money
    about, review = money.case.about, money.case.review
    names = joined((effect_name(effect.name, language) for effect in money.effects), language)
    declared = {
        "purpose": review.purpose[language] if review else say("card.purpose", decision=about.decision[language]),
        "use": review.intended_use[language] if review else say("card.use", title=about.title[language]),
        "not_for": review.not_for[language] if review else say("card.not_for"),
    }
    if review:
        people = say("card.roles", owner=review.owner, reviewer=review.reviewer, approver=review.approver)
    else:
        people = say("card.roles.none")
    return {
        **declared,
        "roles": people,
        "tier": tier_said(request),
        "data": _in_a_row(request, *_data(request)),
        "method": say("card.method", effects=names, grade=money.grade),
        "arithmetic": say("card.arithmetic", months=about.horizon),
        "assumptions": _assumptions(request),
        "uncertainty": say("card.uncertainty", draws=count(len(money.draws["npv"]), language)),
        "limitations": _in_a_row(request, *sentences.not_said(money, language)),
        "validation": _validation(request),
        "monitoring": say("card.monitoring"),
    }


def tier_said(request: Request) -> str:
    """Say the tier, the stake, what hangs on it, and the rule that made the tier of them."""
    say, found = request.say, materiality(request.money)
    shape = written("money", request.language, currency=request.currency)
    rule = say(
        "card.tier",
        tier=found.tier,
        stake=shape(float(f"{found.stake:.3g}")),
        exposure=say(f"level.{found.exposure}"),
        use=say(f"card.use.{found.use}"),
        medium=shape(found.limits[0]),
        high=shape(found.limits[1]),
    )
    assumed = [key for key, told in (("use", found.is_declared), ("limits", found.has_limits)) if not told]
    return _in_a_row(request, rule, say(f"card.tier.{found.tier}"), *(say(f"card.assumed.{k}") for k in assumed))


def _in_a_row(request: Request, *said: str) -> str:
    """Join sentences as their language does."""
    return ("" if request.language == "zh" else " ").join(said)


def _data(request: Request) -> tuple[str, ...]:
    say, language = request.say, request.language
    told = []
    for effect in request.money.effects:
        sizes = joined((f"{name} {count(value, language)}" for name, value in effect.counts.items()), language)
        values = {"name": effect_name(effect.name, language), "fingerprint": effect.fingerprint[:8] or MISSING}
        told.append(say("card.data", population=effect.estimand.population, sizes=sizes or MISSING, **values))
    return tuple(told)


def _assumptions(request: Request) -> str:
    found = risks(request.money)
    worst = [each.labels[request.language] for each in found if each.rating == "high"]
    sizes = Counter(each.rating for each in found)
    told = request.say("card.assumptions", high=sizes["high"], medium=sizes["medium"], low=sizes["low"])
    if not worst:
        return told
    return _in_a_row(request, told, request.say("card.worst", names=joined(worst, request.language)))


def _validation(request: Request) -> str:
    say, money = request.say, request.money
    checks = [check for effect in money.effects for check in effect.checks] + list(money.checks)
    sizes = Counter(check.verdict for check in checks)
    told = say(
        "card.validation",
        n=len(checks),
        passed=sizes[Verdict.PASS],
        noted=sizes[Verdict.NOTE],
        lowered=sizes[Verdict.DEMOTE],
    )
    banks = money.layers[money.grade].banks
    tried = say("card.tried", grade=money.grade, banks=banks) if banks else say("card.untried", grade=money.grade)
    return _in_a_row(request, told, tried)


def _monitoring(request: Request) -> Table:
    say = request.say
    return Table(
        caption=say("monitor.caption"),
        columns=tuple(Column(say(f"monitor.{key}")) for key in ("what", "trigger", "action", "owner", "by", "from")),
        rows=tuple(
            (
                each.what,
                each.trigger,
                each.action,
                each.owner or MISSING,
                each.by,
                say("monitor.declared" if each.is_declared else "monitor.derived"),
            )
            for each in triggers(request.money, request.language)
        ),
        note=say("monitor.note"),
    )


def _signatures(request: Request) -> Table:
    say = request.say
    columns = ("role", "name", "date", "result", "run", "signature")
    return Table(
        caption=say("sign.caption"),
        columns=tuple(Column(say(f"sign.{key}")) for key in columns),
        rows=tuple((say(f"sign.{role}"), *signature(request, role)) for role in ROLES),
        note=say("sign.note"),
        roomy=True,
    )


def signature(request: Request, role: Role) -> tuple[str | Cell, ...]:
    """Return name, date, decision, run and signature of a role, as far as they are given."""
    say, about, review = request.say, request.money.case.about, request.money.case.review
    given = review.latest(role) if review else None
    if given is None:
        named = {"prepared": review.owner, "reviewed": review.reviewer, "approved": review.approver} if review else {}
        plain = {"prepared": about.prepared_by, "reviewed": about.reviewed_by}
        return plain.get(role) or named.get(role, ""), "", "", "", ""
    decision = say(f"sign.decision.{given.decision}")
    remark = given.remark[request.language]
    return (
        given.name,
        day(given.date, request.language),
        f"{decision}{say('sign.remark', remark=remark)}" if remark else decision,
        _covers(request, given.run),
        say("sign.given"),
    )


def _covers(request: Request, run: str) -> Cell:
    """Say whether a signature was given for these figures."""
    if not run:
        return Cell(f"! {request.say('sign.run.none')}", "warn")
    if run == run_id(request.money):
        return Cell(f"✓ {request.say('sign.run.same')}", "good")
    return Cell(f"✕ {request.say('sign.run.other', run=run)}", "bad")


def _changes(request: Request) -> Table:
    say, language = request.say, request.language
    review = request.money.case.review
    return Table(
        caption=say("changes.caption"),
        columns=tuple(Column(say(f"changes.{key}")) for key in ("date", "who", "what", "why")),
        rows=tuple(
            (day(each.date, language), each.who, each.what[language], each.why[language])
            for each in (review.changes if review else ())
        ),
    )
