"""The business case: every number with its range, owner, source and date."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, PrivateAttr, model_validator

from rox.core.declared import Declared, Words, read_toml, validated
from rox.core.errors import CaseError
from rox.core.spread import Spread
from rox.core.units import Dose

EVERYONE = "all"
"""The group name that stands for every segment."""


class Assumption(Declared):
    """A number somebody answers for.

    Written as ``value``, as ``low``, ``likely`` and ``high``, or as ``between = [low, high]``; the ranges hold nine
    times in ten.
    """

    value: float | None = None
    low: float | None = None
    likely: float | None = None
    high: float | None = None
    between: tuple[float, float] | None = None
    owner: Annotated[str, Field(min_length=1)]
    source: Annotated[str, Field(min_length=1)]
    date: dt.date
    note: str = ""

    @model_validator(mode="after")
    def _said_once(self) -> Assumption:
        self._spread()
        return self

    def _spread(self) -> Spread:
        points = (self.low, self.likely, self.high)
        ways = [self.value is not None, any(p is not None for p in points), self.between is not None]
        if sum(ways) != 1:
            raise ValueError("say the number one way: value, or low, likely and high, or between = [low, high]")
        if self.value is not None:
            return Spread.fixed(self.value)
        if self.between is not None:
            return Spread.between(*self.between)
        if self.low is None or self.likely is None or self.high is None:
            raise ValueError("low, likely and high belong together")
        return Spread.three_point(self.low, self.likely, self.high)

    @property
    def spread(self) -> Spread:
        """The number with its range."""
        return self._spread()


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
    """Yearly discount rate, tax rate and the return that must be beaten, as shares."""

    discount: Assumption
    tax: Assumption
    hurdle: Assumption


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
    """What is to be decided, from when, for how long, on what evidence."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]*$")]
    title: Words
    decision: Words
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")]
    start: dt.date
    horizon: Annotated[int, Field(ge=1, le=240)] = 36
    effects: tuple[str, ...] = Field(min_length=1)
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

    _path: Path = PrivateAttr(default=Path())

    @property
    def name(self) -> str:
        """The case's name."""
        return self.about.name

    @property
    def horizon(self) -> int:
        """Months that are counted."""
        return self.about.horizon

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
        for part in (self.timing, self.finance):
            for key in type(part).model_fields:
                yield f"{type(part).__name__.lower()}.{key}", getattr(part, key)
        if self.lift is not None:
            yield "lift", self.lift


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
    "costs": (0, float("inf"), "money, written as a positive number"),
}


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
        faults = _range_faults(case)
    if faults or case is None:
        raise CaseError(f"{path} has {len(faults)} fault{'s' if len(faults) > 1 else ''}.", faults)
    return case


def _range_faults(case: Case) -> list[str]:
    faults = []
    for name, assumption in case.register():
        low, high, needed = RANGES.get(name) or RANGES.get(name.split(".")[0], (float("-inf"), float("inf"), ""))
        spread = assumption.spread
        if not (low <= spread.low and spread.high <= high):
            faults.append(f"{name}: {spread.low:g} to {spread.high:g} is not {needed}")
    for name, cost in {**case.costs, **case.benefits}.items():
        if not any(cost.schedule(case.horizon)):
            faults.append(f"{name}: none of its months lies within the horizon of {case.horizon} months")
    return faults
