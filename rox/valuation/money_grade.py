"""The grade of money: what the case adds to an estimate can only weaken the evidence it rests on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rox.core.case import Case
from rox.core.check import Check, Grade, Verdict, grade_after
from rox.core.effect import Effect
from rox.core.units import Dose
from rox.valuation.fit import is_claim

REACH = 1.5
"""Months counted, as a multiple of the months seen, up to which an estimate is not said to be stretched."""


def money_grade(effect: Effect, case: Case) -> Grade:
    """Return the grade of what an effect brings in a case.

    A chain is as strong as its weakest link: a lift that somebody states leaves grade C at best. What is counted in a
    total stays D at worst, since only claims are E.
    """
    if is_claim(effect):
        return effect.grade
    return min(grade_after(effect.grade, link_checks((effect,), case)), Grade.D)


def link_checks(effects: Sequence[Effect], case: Case) -> Iterator[Check]:
    """Say where the case asks more of an estimate than it was made for.

    A lift that is only stated lowers the grade (ROX-V12); a horizon of more than one and a half times the months seen
    is said (ROX-V13).
    """
    for effect in effects:
        if is_claim(effect):
            continue
        if effect.estimand.dose is not Dose.INITIATIVE and effect.grade < Grade.C:
            values: dict[str, str | int | float] = {
                "effect": effect.name,
                "was": str(effect.grade),
                "grade": str(Grade.C),
            }
            yield Check(code="ROX-V12", verdict=Verdict.DEMOTE, values=values, to_grade=Grade.C)
        if seen := effect.estimand.horizon:
            stretched = case.months > REACH * seen
            values = {"effect": effect.name, "seen": seen, "months": case.months, "times": REACH}
            values |= {"grade": str(effect.grade)}
            yield Check(code="ROX-V13", verdict=Verdict.NOTE if stretched else Verdict.PASS, values=values)
