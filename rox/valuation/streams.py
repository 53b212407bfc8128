"""Lines of what comes beside the priced effects: referrals, contacts saved; and how money held becomes income."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rox.core.assumption import Assumption
from rox.core.case import Case
from rox.core.effect import Effect
from rox.core.ledger import Line

DECLARED = {"earned_referral": "referral", "saved_contacts": "contacts"}
"""Income lines of the case's own tables, by the table."""
REFERRAL_UNITS = {
    "rate": "per_year",
    "response": "factor",
    "conversion": "share",
    "displacement": "share",
    "value": "money",
    "reward": "money",
    "second": "share",
}
CONTACT_UNITS = {"rate": "per_year", "change": "share", "cost": "money", "avoidable": "share"}


def income_line(name: str, word: str, formula: str) -> Line:
    """Write a monthly line of money earned."""
    return Line(name=name, word=word, unit="money", section="section.income", formula=formula)


def total_line(name: str, word: str, unit: str, formula: str) -> Line:
    """Write a total."""
    return Line(name=name, word=word, unit=unit, scope="total", section="section.result", formula=formula)


def present(flow: str) -> str:
    """Return the formula of the present value after tax of a monthly flow."""
    return f"SUM({f'({flow})' if '+' in flow else flow} * (1 - tax) * discount_factor)"


def new_only(formula: str, case: Case) -> str:
    """Leave out the months for which the budget already holds the benefit."""
    return formula if case.about.in_budget_from is None else f"{formula} * when_new"


def margin_of(effect: Effect, case: Case, margin: str) -> str:
    """Return what extra money earns a year: the margin, or of a margin of the book the share that new money earns.

    An effect that only keeps customers keeps money of the book. One that also brings money in earns the margin of new
    money throughout, since it does not say how much of each there is.
    """
    return margin if case.inflow is None or effect.estimand.channels == {"retention"} else f"{margin} * inflow"


def declared_inputs(case: Case) -> Iterator[tuple[str, str, Assumption, str]]:
    """Iterate over the assumptions of ``referral`` and ``contacts``: name, unit, assumption, place in the file."""
    for table, units in (("referral", REFERRAL_UNITS), ("contacts", CONTACT_UNITS)):
        part = getattr(case, table)
        for key, unit in units.items() if part is not None else ():
            if (assumption := getattr(part, key)) is not None:
                yield f"{table}_{key}", unit, assumption, f"{table}.{key}"


def declared_lines(case: Case, customers: Sequence[tuple[str, str]]) -> Iterator[Line]:
    """Lines from customers still there to what referrals earn and what fewer contacts save.

    Args:
        case: The case.
        customers: The inputs of people and attrition of each segment.
    """
    if case.referral is None and case.contacts is None:
        return
    here = " + ".join(f"{people} * (1 - {attrition}) ** (month / year)" for people, attrition in customers)
    yield Line(name="here", word="line.here", unit="customers", section="section.effect", formula=here)
    if case.referral is not None:
        per_point = "" if case.referral.per == "initiative" else " * lift"
        more = f"referral_rate / year * (EXP(referral_response{per_point} * shape) - 1)"
        yield Line(
            name="brought",
            word="line.brought",
            unit="customers",
            section="section.effect",
            formula=f"here * {more} * referral_conversion",
        )
        worth = "((1 - referral_displacement) * referral_value - referral_reward)"
        if case.referral.second is not None:
            chain = "(referral_value - referral_reward) / (1 - MIN(referral_second, second_most))"
            worth = f"((1 - referral_displacement) * {chain} - referral_displacement * referral_reward)"
        yield income_line("earned_referral", "line.earned_referral", new_only(f"brought * {worth}", case))
    if case.contacts is not None:
        fewer = "here * contacts_rate / year * -contacts_change * shape"
        yield Line(name="fewer", word="line.fewer", unit="customers", section="section.effect", formula=fewer)
        saved = new_only("fewer * contacts_cost * contacts_avoidable", case)
        yield income_line("saved_contacts", "line.saved_contacts", saved)
