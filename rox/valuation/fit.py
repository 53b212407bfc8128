"""Whether effects and a case go together: units, channels, segments, currency."""

from __future__ import annotations

from collections.abc import Sequence

from rox.core.case import EVERYONE, Case, case_faults
from rox.core.check import Grade
from rox.core.effect import Effect
from rox.core.errors import CaseError, UnitError
from rox.core.estimand import FADING, Question
from rox.core.units import Dose, Unit

PRICED = (Unit.RATIO, Unit.MONEY_PER_CUSTOMER, Unit.LOG_HAZARD)
"""Outcome units that become money in the ledger."""


def told_apart_by_use(effects: Sequence[Effect], case: Case) -> tuple[tuple[Effect, ...], tuple[Effect, ...]]:
    """Return the effects that are priced, and those that only explain (``explained_by`` of the case)."""
    only = set(case.about.explained_by) - set(case.about.effects)
    return (
        tuple(effect for effect in effects if effect.name not in only),
        tuple(effect for effect in effects if effect.name in only),
    )


def require_fit(effects: Sequence[Effect], case: Case, explainers: Sequence[Effect] = ()) -> None:
    """Refuse effects that the case cannot price, and effects that cannot explain.

    Raises:
        UnitError: Units, doses or currencies that do not match, or an estimate that only describes people.
        CaseError: An effect that the case does not name, the same money twice, or segments that do not match.
    """
    if not effects:
        raise CaseError(f"Case {case.name} has nothing to price.", ["give at least one effect"])
    if faults := [fault for effect in (*effects, *explainers) for fault in _unit_faults(effect, case)]:
        raise UnitError(f"Case {case.name} cannot price these effects.", faults)
    if stray := [effect.name for effect in effects if effect.name not in case.about.effects]:
        raise CaseError(
            f"Case {case.name} rests on {', '.join(case.about.effects)}.",
            [f"{name}: not among them; add it to `effects` of the case if the case is to rest on it" for name in stray],
        )
    if faults := [
        *case_faults(case),
        *_channel_faults(effects, case),
        *(fault for effect in (*effects, *explainers) for fault in _group_faults(effect, case)),
    ]:
        raise CaseError(f"Case {case.name} and its effects do not fit.", faults)


def segments(effects: Sequence[Effect], case: Case) -> tuple[str, ...]:
    """Return the segments of the ledger: the case's, or the effects' when the case speaks of everyone at once."""
    named = tuple(case.people)
    return effects[0].groups if named == (EVERYONE,) else named


def is_claim(effect: Effect) -> bool:
    """Whether an effect is a claim (grade E), which is shown as a scenario and counted in no total."""
    return effect.grade is Grade.E


def column(effect: Effect, segment: str) -> int:
    """Return the column of an effect's draws that belongs to a segment."""
    return effect.groups.index(segment) if segment in effect.groups else 0


def _unit_faults(effect: Effect, case: Case) -> list[str]:
    estimand, name = effect.estimand, effect.name
    faults = []
    if estimand.is_descriptive:
        faults.append(
            f"{name}: a {estimand.question} says how much more some customers hold than others; it is not what a "
            "change would earn, and is never priced. Price a roll-out, an experiment or an effect per point instead"
        )
    if estimand.aggregator in ("median", "capped_mean"):
        faults.append(
            f"{name}: ROX-T02: a {estimand.aggregator.replace('_', ' ')} times a number of customers is not a total; "
            "price an effect on the mean, or on shares of each customer's own money"
        )
    if fault := _time_fault(effect, case):
        faults.append(fault)
    if estimand.unit not in PRICED:
        faults.append(f"{name}: an outcome in {estimand.unit} is not money; needed: one of {', '.join(PRICED)}")
    if estimand.currency and estimand.currency != case.about.currency:
        faults.append(
            f"{name}: is in {estimand.currency}, the case in {case.about.currency}; convert one of them first"
        )
    if estimand.dose is not Dose.INITIATIVE:
        if case.lift is None:
            faults.append(f"{name}: is per {estimand.dose}; add [lift] to the case: by how many points the score moves")
        elif case.lift.dose is not estimand.dose:
            faults.append(
                f"{name}: is per {estimand.dose}, the case's lift is in {case.lift.dose}; one is worth 25 to 45 of the "
                "other. Restate the effect with effect.per_nps_point(), or the lift in the effect's unit"
            )
    return faults


def _time_fault(effect: Effect, case: Case) -> str:
    """Say when an estimate is about a change that lasts longer, or shorter, than the case's."""
    question, likely = effect.estimand.question, case.timing.half_life.spread.likely
    if question is Question.PULSE and likely > FADING:
        return (
            f"{effect.name}: says what a passing movement of the score brings, and the case's change lasts (half-life "
            f"{likely:g} months, above {FADING:g}). Price an effect of a lasting change, such as LeadLag, or a roll-out"
        )
    if question is Question.LONG_RUN:
        return (
            f"{effect.name}: says where money settles after years, which no month of the case has reached. Price an "
            "effect with a horizon in months"
        )
    return ""


def _channel_faults(effects: Sequence[Effect], case: Case) -> list[str]:
    holders: dict[str, list[str]] = {}
    for effect in effects:
        for channel in effect.estimand.channels:
            holders.setdefault(channel, []).append(f"effect {effect.name}")
    for name, benefit in case.benefits.items():
        holders.setdefault(benefit.channel, []).append(f"benefits.{name}")
    for channel, table in (("referral", case.referral), ("cost_to_serve", case.contacts)):
        if table is not None:
            holders.setdefault(channel, []).append("contacts" if channel == "cost_to_serve" else "referral")
    return [
        f"ROX-V01: the same money is in two places: {channel} is in {' and in '.join(who)}; keep one of them"
        for channel, who in sorted(holders.items())
        if len(who) > 1
    ]


def _group_faults(effect: Effect, case: Case) -> list[str]:
    if tuple(case.people) == (EVERYONE,):
        if effect.groups != (EVERYONE,):
            return [
                f"{effect.name}: differs by segment ({', '.join(effect.groups)}), the case counts people for "
                "all at once; give people by segment"
            ]
        return []
    if EVERYONE in case.people:
        return ["people: give either `all` or segments, not both"]
    if effect.groups == (EVERYONE,):
        return []
    return [
        f"{effect.name}: has no estimate for segment {segment!r} of the case; it has {', '.join(effect.groups)}"
        for segment in case.people
        if segment not in effect.groups
    ]
