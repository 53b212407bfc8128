"""The business case: every number with its range, owner, source and date."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, PrivateAttr, model_validator

from rox.core.assumption import Assumption as Assumption
from rox.core.candidates import AnyCandidate, study_faults
from rox.core.case_parts import SECOND_MOST, Contacts, Correlation, Policy, Referral, Terminal, correlation_faults
from rox.core.declared import Declared, Words, read_toml, validated
from rox.core.errors import CaseError
from rox.core.governance import Reconcile, Review
from rox.core.spread import Spread
from rox.core.unfilled import open_faults, unfilled
from rox.core.units import Dose

EVERYONE = "all"
"""The group name that stands for every segment."""


class Lift(Assumption):
    """By how much the initiative moves the score, for effects that are per point."""

    unit: Literal["score_point", "nps_point"]

    @property
    def dose(self) -> Dose:
        """The unit of the lift."""
        return Dose(self.unit)


class Timing(Declared):
    """How the effect builds up and fades, in months."""

    ramp: Assumption
    half_life: Assumption


class Finance(Declared):
    """Yearly discount rate, tax rate and the return that must be beaten, as shares; and what few cases need.

    Attributes:
        discount: Yearly rate at which later money is worth less.
        tax: Share of profit paid as tax.
        hurdle: ROI that must be beaten.
        capital: Yearly charge for the capital that an extra unit of balance ties up, before tax as the margin is.
        reinvest: Yearly rate that money earns once it is back, for MIRR; the discount rate unless given.
        overrun: Factor on all costs; 1.1 is 10% above plan.
    """

    discount: Assumption
    tax: Assumption
    hurdle: Assumption
    capital: Assumption | None = None
    reinvest: Assumption | None = None
    overrun: Assumption | None = None


class Cost(Assumption):
    """An amount of money and the months it falls in.

    ``months`` lists them (0 is the start); ``every_month_from`` with ``until`` spreads a running cost.
    """

    label: Words
    months: tuple[Annotated[int, Field(ge=0)], ...] = ()
    every_month_from: Annotated[int, Field(ge=0)] | None = None
    until: int | None = None

    @model_validator(mode="after")
    def _timed(self) -> Cost:
        if bool(self.months) == (self.every_month_from is not None):
            raise ValueError("say when: months = [...] or every_month_from = n")
        if self.until is not None and (self.every_month_from is None or self.until < self.every_month_from):
            raise ValueError("until goes with every_month_from and is not before it")
        return self

    def schedule(self, horizon: int) -> tuple[float, ...]:
        """Return 1 in the months it falls in and 0 in the others; length ``horizon + 1``."""
        last = horizon if self.until is None else self.until
        start = self.every_month_from
        return tuple(
            float(month in self.months or (start is not None and start <= month <= last))
            for month in range(horizon + 1)
        )


class Benefit(Cost):
    """Money that does not come through the estimated effect, by the channel it belongs to."""

    channel: Literal["retention", "expansion", "acquisition", "referral", "cost_to_serve"]


class About(Declared):
    """What is to be decided, from when, for how long, on what evidence.

    Attributes:
        name: Short name, also of the file.
        title: Name that people read.
        decision: What is to be decided.
        currency: ISO code.
        start: Month 0.
        horizon: Months after it that are counted.
        effects: Names of the effects that are priced.
        explained_by: Names of effects that split a priced total into customers kept and money of those who stay; the
            priced effect itself, where it brings a table of the two. They explain and are never added.
        margin_basis: Whether the margins are those of money that moves in (``marginal``) or of the whole book
            (``book``); of the book, ``inflow`` says which share of them new money earns.
        in_budget_from: Month from which the budget or the baseline forecast already holds the benefit; benefits from
            then on are not counted again.
        prepared_by: Who prepared the case.
        reviewed_by: Who reviewed it.
    """

    name: Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]*$")]
    title: Words
    decision: Words
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")]
    start: dt.date
    horizon: Annotated[int, Field(ge=1, le=240)] = 36
    effects: tuple[str, ...] = Field(min_length=1)
    explained_by: tuple[str, ...] = ()
    margin_basis: Literal["marginal", "book"] = "marginal"
    in_budget_from: Annotated[int, Field(ge=1)] | None = None
    prepared_by: str = ""
    reviewed_by: str = ""


Groups = Mapping[str, Assumption]
Key = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]*$")]


class Case(Declared):
    """A business case as finance edits it.

    Attributes:
        about: What is to be decided.
        people: Customers reached, by segment (or ``all``).
        balance: Money per customer at the start, by segment, in the case's currency.
        margin: Yearly contribution per unit of balance, by segment, as a share.
        attrition: Yearly share of customers who leave anyway, by segment.
        timing: Ramp and fade.
        finance: Discount, tax, hurdle.
        lift: Movement of the score; needed by effects per point.
        costs: What it costs, and when.
        benefits: Money outside the estimated effect.
        inflow: Share of the margin of the book that money moving in earns; for ``margin_basis = "book"``.
        referral: New customers brought along.
        contacts: Service contacts no longer made.
        terminal: Months after the horizon.
        policy: By which rule is decided.
        correlation: Assumptions whose errors go together.
        review: Who answers for the case, who challenged it, and what is watched.
        reconcile: Totals of the company's books that those of the case are held against.
        studies: What could be found out before the decision, at which cost.
    """

    about: About = Field(alias="case")
    people: Groups = Field(min_length=1)
    balance: Groups = Field(min_length=1)
    margin: Groups = Field(min_length=1)
    attrition: Groups = Field(min_length=1)
    timing: Timing
    finance: Finance
    lift: Lift | None = None
    costs: Mapping[Key, Cost] = Field(min_length=1)
    benefits: Mapping[Key, Benefit] = {}
    inflow: Assumption | None = None
    referral: Referral | None = None
    contacts: Contacts | None = None
    terminal: Terminal | None = None
    policy: Policy | None = None
    correlation: tuple[Correlation, ...] = ()
    review: Review | None = None
    reconcile: Mapping[Key, Reconcile] = {}

    studies: Mapping[Key, AnyCandidate] = {}

    _path: Path = PrivateAttr(default=Path())

    @property
    def name(self) -> str:
        """The case's name."""
        return self.about.name

    @property
    def horizon(self) -> int:
        """Months that are counted before any months after the horizon."""
        return self.about.horizon

    @property
    def months(self) -> int:
        """Last month of the calculation: the horizon, and the months after it if the case counts them."""
        return self.horizon + (self.terminal.months if self.terminal else 0)

    def of_group(self, table: str, group: str) -> tuple[str, Assumption]:
        """Return the name and the assumption of ``people``, ``balance``, ``margin`` or ``attrition`` for a segment.

        Raises:
            CaseError: Neither the segment nor ``all`` is there.
        """
        rows: Groups = getattr(self, table)
        for key in (group, EVERYONE):
            if key in rows:
                return f"{table}.{key}", rows[key]
        raise CaseError(f"Case {self.name} says nothing of {table} for segment {group!r}.", [f"add [{table}.{group}]"])

    def register(self) -> Iterator[tuple[str, Assumption]]:
        """Iterate over every assumption with its place in the file."""
        for table in ("people", "balance", "margin", "attrition", "costs", "benefits"):
            for key, assumption in getattr(self, table).items():
                yield f"{table}.{key}", assumption
        for table in ("timing", "finance", "referral", "contacts"):
            part = getattr(self, table)
            for key in type(part).model_fields if part is not None else ():
                if isinstance(assumption := getattr(part, key), Assumption):
                    yield f"{table}.{key}", assumption
        for table in ("lift", "inflow"):
            if (assumption := getattr(self, table)) is not None:
                yield table, assumption


RANGES: Mapping[str, tuple[float, float, str]] = {
    "people": (0, float("inf"), "a number of customers"),
    "balance": (0, float("inf"), "money per customer"),
    "margin": (0, 1, "a share between 0 and 1, such as 0.012 for 1.2%"),
    "attrition": (0, 1, "a share between 0 and 1"),
    "timing.ramp": (0.01, 240, "months, above 0"),
    "timing.half_life": (0.01, 1200, "months, above 0"),
    "finance.discount": (0, 1, "a share between 0 and 1"),
    "finance.tax": (0, 1, "a share between 0 and 1"),
    "finance.hurdle": (-1, 10, "a share, such as 0.2"),
    "finance.capital": (0, 1, "a share between 0 and 1, such as 0.004 for 0.4%"),
    "finance.reinvest": (0, 1, "a share between 0 and 1"),
    "finance.overrun": (0.5, 5, "a factor on costs, such as 1.1 for 10% above plan"),
    "inflow": (0, 1, "a share between 0 and 1"),
    "referral.rate": (0, 100, "referrals per customer and year"),
    "referral.response": (-3, 3, "a change of the log rate, such as 0.05 for about 5% more"),
    "referral.conversion": (0, 1, "a share between 0 and 1"),
    "referral.displacement": (0, 1, "a share between 0 and 1"),
    "referral.reward": (0, float("inf"), "money, written as a positive number"),
    "referral.second": (0, SECOND_MOST, f"a share between 0 and {SECOND_MOST:g}"),
    "contacts.rate": (0, 10_000, "contacts per customer and year"),
    "contacts.change": (-1, 1, "a relative change between -1 and 1; -0.05 is 5% fewer"),
    "contacts.cost": (0, float("inf"), "money per contact"),
    "contacts.avoidable": (0, 1, "a share between 0 and 1"),
    "costs": (0, float("inf"), "money, written as a positive number"),
}


def range_of(place: str) -> tuple[float, float, str]:
    """Return the least and the greatest value an assumption can have, by its place in the file, and what it is."""
    return RANGES.get(place) or RANGES.get(place.split(".")[0], (float("-inf"), float("inf"), ""))


def read_case(path: str | Path) -> Case:
    """Read a case file.

    Raises:
        CaseError: Every fault of the file in one message.
    """
    path = Path(path)
    content: dict[str, Any] = read_toml(path, "case file", CaseError)
    case, faults = validated(Case, content)
    if case is not None:
        case._path = path.resolve()
        faults = [*_range_faults(case), *case_faults(case)]
    if still := list(unfilled(content)):
        raise CaseError(f"{path} is not filled in yet.", _open_faults(still, faults))
    if faults or case is None:
        raise CaseError(f"{path} has {len(faults)} fault{'s' if len(faults) > 1 else ''}.", faults)
    return case


def _range_faults(case: Case) -> list[str]:
    faults = []
    for name, assumption in case.register():
        low, high, needed = range_of(name)
        spread = assumption.spread
        if not (low <= spread.low and spread.high <= high):
            faults.append(f"{name}: {_out_of_range(spread, high, needed)}")
    for name, cost in {**case.costs, **case.benefits}.items():
        if not any(cost.schedule(case.months)):
            faults.append(f"{name}: none of its months lies within the horizon of {case.months} months")
    return faults


def _out_of_range(spread: Spread, high: float, needed: str) -> str:
    """Say what is out of its range; where percent were written for a share, how the share is written."""
    found = " to ".join(f"{end:g}" for end in dict.fromkeys((spread.low, spread.high)))
    if needed.startswith("a share") and high == 1 and 1 < spread.high <= 100:
        shares = " to ".join(f"{end / 100:g}" for end in dict.fromkeys((spread.low, spread.high)))
        percent = " to ".join(f"{end:g}%" for end in dict.fromkeys((spread.low, spread.high)))
        return f"{found} is not a share; {percent} is {shares}"
    return f"{found} is not {needed}"


def _open_faults(still: list[tuple[str, str]], faults: list[str]) -> list[str]:
    """List what is still to be filled in, then the faults that will not go away by filling it in."""
    tables, names = {place for place, _ in still}, {f"{place}.{name}." for place, name in still}
    places = [(fault.partition(":")[0], fault) for fault in faults]
    others = [fault for place, fault in places if place not in tables and not f"{place}.".startswith(tuple(names))]
    return [*others, *open_faults(still)]


def case_faults(case: Case) -> list[str]:
    """List what contradicts itself in a case, whatever its numbers are."""
    about, faults = case.about, []
    if (about.margin_basis == "book") != (case.inflow is not None):
        faults.append(
            "inflow: missing; the margins are those of the book, so say which share of them money moving in earns"
            if case.inflow is None
            else 'inflow: the margins are those of money moving in already; remove it, or say margin_basis = "book"'
        )
    if about.in_budget_from is not None and about.in_budget_from > case.months:
        faults.append(f"case.in_budget_from: month {about.in_budget_from} is after the last, {case.months}; remove it")
    if case.referral is not None and case.referral.per != "initiative":
        if case.lift is None:
            faults.append(f"referral.per: is per {case.referral.per}; add [lift]: by how many points the score moves")
        elif case.lift.unit != case.referral.per:
            faults.append(f"referral.per: is per {case.referral.per}, the lift is in {case.lift.unit}s; use one unit")
    register = dict(case.register())
    uncertain = [place for place, assumption in register.items() if assumption.spread.is_uncertain]
    faults += study_faults(case.studies, effects=about.effects, uncertain=uncertain, known=register)
    return [*faults, *correlation_faults(case.correlation, uncertain, list(register))]
