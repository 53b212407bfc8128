"""What is watched after the decision: what the case names, then what follows from the figures themselves."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from rox.core.check import Grade
from rox.core.returns import Return
from rox.core.words import Language, say
from rox.reporting import sentences
from rox.reporting.estimates import effect_name
from rox.reporting.numbers import step_of, written
from rox.reporting.risk import risks

MOST = 3
"""Assumptions that are watched: those that move NPV most among those with a range."""
LATER = 12
"""Months after the start at which cash is held against the band; the last month if the case is shorter."""


@dataclass(frozen=True, kw_only=True)
class Trigger:
    """One thing that is watched, in words.

    Attributes:
        what: What is watched.
        trigger: When something must be done.
        action: What is done then.
        owner: Who does it.
        by: By when.
        is_declared: Whether the case names it; otherwise it follows from the figures.
    """

    what: str
    trigger: str
    action: str
    owner: str
    by: str
    is_declared: bool


def triggers(money: Return, language: Language) -> tuple[Trigger, ...]:
    """List what is watched: what the case declares first."""
    review = money.case.review
    declared = (
        Trigger(
            what=each.what[language],
            trigger=each.trigger[language],
            action=each.action[language],
            owner=each.owner,
            by=each.by[language],
            is_declared=True,
        )
        for each in (review.monitoring if review else ())
    )
    return (*declared, *_derived(money, language))


def _derived(money: Return, language: Language) -> Iterator[Trigger]:
    owner = money.case.review.owner if money.case.review else money.case.about.prepared_by
    yield from _grades(money, language, owner)
    yield _cash(money, language, owner)
    yield from _assumptions(money, language)


def _trigger(key: str, language: Language, owner: str, **values: object) -> Trigger:
    what, when, action, by = (
        say(f"monitor.{key}.{part}", language, **values) for part in ("what", "trigger", "action", "by")
    )
    return Trigger(what=what, trigger=when, action=action, owner=owner, by=by, is_declared=False)


def _grades(money: Return, language: Language, owner: str) -> Iterator[Trigger]:
    """Say what NPV would be a grade lower; the worst grade cannot fall."""
    if money.grade is Grade.E:
        return
    lower = money.grade.lowered()
    npv = sentences.npv_form(money, language)(float(sentences.at_other_grades(money)[lower]))
    carrying = [effect for effect in money.effects if effect.grade == money.grade] or list(money.effects)
    names = {effect_name(effect.name, language) for effect in carrying}
    for name in sorted(names):
        yield _trigger("grade", language, owner, name=name, grade=money.grade, lower=lower, npv=npv)


def _cash(money: Return, language: Language, owner: str) -> Trigger:
    month = min(LATER, money.case.horizon)
    least = sentences.npv_form(money, language)(float(money.fan["q05"].to_dict()[month]))
    return _trigger("cash", language, owner, month=month, least=least)


def _assumptions(money: Return, language: Language) -> Iterator[Trigger]:
    """Watch the assumptions with a range that move NPV most, and attrition if it has a range."""
    ranged = [
        each for each in risks(money) if each.members[0].kind == "assumption" and each.members[0].spread.is_uncertain
    ]
    ranged.sort(key=lambda each: -each.swing)
    leaving = [each for each in ranged if each.members[0].place.startswith("attrition.")]
    chosen = ranged[:MOST] + [each for each in leaving[:1] if each not in ranged[:MOST]]
    for risk in chosen:
        each = risk.members[0]
        shape = written(each.unit, language, currency=money.case.about.currency)
        low, high = each.spread.low, each.spread.high
        span = shape.span(low, high) if step_of(low, high) else shape.number(each.value)
        yield _trigger("assumption", language, each.owner, name=risk.labels[language], range=span)
