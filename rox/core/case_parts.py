"""Parts of a case that most cases do without: referral, contacts, months after the horizon, policy, correlations."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from rox.core.assumption import Answered, Assumption
from rox.core.declared import Declared

SECOND_MOST = 0.20
"""Most that a referred customer may refer in turn, as a share; the rest of the chain is not counted on."""
SMALLEST = 1e-8
"""Smallest eigenvalue of a matrix of correlations."""


class Referral(Declared):
    """New customers whom the customers reached bring along because of the change.

    In month t the customers still there refer ``rate``·(exp(``response``·lift·shape) − 1)/12 more people than without
    the change. Of these, ``conversion`` open an account; ``displacement`` of those would have come anyway. Each of the
    others is worth ``value`` and sets off ``second`` further ones, so that new customers, and the rewards for them,
    count 1/(1 − ``second``) times. ``reward`` is paid for every account opened, also for those that would have been
    opened anyway; these set off nothing that would not have been.

    A stated readiness to recommend is not a referral: ``rate`` counts people who were referred.

    Attributes:
        per: What ``response`` is per: one point of the case's lift, or the initiative as a whole.
        rate: Referrals per customer and year without the change.
        response: Change of the log rate.
        conversion: Share of people referred who open an account.
        displacement: Share of these who would have come anyway.
        value: Present value of a referred customer at the opening, before tax and before the reward.
        reward: Money paid for an account opened.
        second: Referrals by referred customers, as a share of new customers; at most 0.2.

    References:
        Schmitt, Skiera & Van den Bulte (2011), Journal of Marketing 75(1).
    """

    per: Literal["score_point", "nps_point", "initiative"]
    rate: Assumption
    response: Assumption
    conversion: Assumption
    displacement: Assumption
    value: Assumption
    reward: Assumption
    second: Assumption | None = None


class Contacts(Declared):
    """Service contacts that customers no longer need to make.

    Attributes:
        rate: Contacts per customer and year without the change.
        change: Relative change of the rate when the full effect is in force; -0.05 is 5% fewer.
        cost: Full cost of a contact.
        avoidable: Share of it that is saved when a contact falls away; staff and rooms remain for a while.
    """

    rate: Assumption
    change: Assumption
    cost: Assumption
    avoidable: Assumption


class Terminal(Answered):
    """Months after the horizon that count as well: the same fade and attrition carried on, and running costs too.

    The lines simply run on, so that no formula of its own can drift from them; what the months after the horizon bring
    is shown apart.
    """

    months: Annotated[int, Field(ge=1, le=240)]


class Policy(Answered):
    """By which rule the organisation decides.

    Attributes:
        risk_aversion: γ of the criterion E[NPV] + γ·CVaR, CVaR being the mean of the worst 5% of NPV; 0 is neutral to
            risk.
        enough: Probability of a positive NPV that "go" asks for.
        payback_months: Months within which a payback is asked about.
    """

    risk_aversion: Annotated[float, Field(ge=0, le=10)] = 0.0
    enough: Annotated[float, Field(gt=0, lt=1)] = 0.80
    payback_months: Annotated[int, Field(ge=1, le=240)] = 24


class Correlation(Answered):
    """Two assumptions whose errors go together.

    Attributes:
        between: Their places in the file, such as ``"timing.half_life"`` and ``"margin.all"``.
        rank: Spearman's rank correlation.
    """

    between: tuple[str, str]
    rank: Annotated[float, Field(gt=-1, lt=1)]


def normal_correlations(correlations: Sequence[Correlation], places: Sequence[str]) -> NDArray[np.float64]:
    """Return the correlations of normal scores that give the stated rank correlations: r = 2·sin(π·ρ/6).

    Args:
        correlations: Pairs; those with a place outside ``places`` are left out.
        places: Rows and columns, in order.

    Returns:
        Shape (place, place), ones on the diagonal, zero for pairs of which nothing is said.

    References:
        Pearson (1907), *On further methods of determining correlation*.
    """
    found = np.eye(len(places))
    at = {place: row for row, place in enumerate(places)}
    for each in correlations:
        first, second = each.between
        if first in at and second in at:
            found[at[first], at[second]] = found[at[second], at[first]] = 2 * np.sin(np.pi * each.rank / 6)
    return found


def correlation_faults(
    correlations: Sequence[Correlation], uncertain: Sequence[str], known: Sequence[str]
) -> Iterator[str]:
    """List what is wrong with the correlations of a case.

    Args:
        correlations: The pairs.
        uncertain: Places of assumptions that have a range.
        known: Places of all assumptions.
    """
    seen: set[frozenset[str]] = set()
    for number, each in enumerate(correlations, start=1):
        where, pair = f"correlation {number}", frozenset(each.between)
        for place in each.between:
            if place not in known:
                yield f"{where}: {place!r} is no assumption of this file; name it by its table, such as 'margin.all'"
            elif place not in uncertain:
                yield f"{where}: {place} is one value without a range, so nothing can go together with it"
        if len(pair) == 1:
            yield f"{where}: {each.between[0]} is paired with itself; name two assumptions"
        elif pair in seen:
            yield f"{where}: {' and '.join(sorted(pair))} have a correlation already; keep one of them"
        seen.add(pair)
    places = sorted({place for each in correlations for place in each.between})
    least = float(np.linalg.eigvalsh(normal_correlations(correlations, places))[0]) if places else 1.0
    if least < SMALLEST:
        yield (
            f"correlation: together these correlations are impossible (smallest eigenvalue {least:.3f}, needed: above "
            "0); two that both go with a third cannot go against each other; bring the largest of them nearer to 0"
        )
