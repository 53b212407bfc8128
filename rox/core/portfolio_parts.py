"""Parts of a portfolio file: initiatives and their scales, overlaps, ceilings, capacities, exclusions."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field

from rox.core.assumption import Assumption
from rox.core.declared import Declared, Words

NOTHING = "none"
"""Name of the scale at which an initiative is not done."""
REST = "rest"
"""Name of the overlap that holds for every pair not named by another."""
MOST_NEIGHBOURS = 6
"""Initiatives that may share customers with one; every combination of them is priced."""
MOST_COMBINATIONS = 1_024
"""Combinations of scales of initiatives that share customers, each of which is one option of the programme."""

Key = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]*$")]
Pair = tuple[str, str]


class Scale(Assumption):
    """How much of a case is done: the share of its people, and of its costs but for the fixed ones."""

    label: Words


class Initiative(Declared):
    """A case, the scales at which it can be done, and how its benefits fall with scale.

    Attributes:
        case: The case file, from the folder of the portfolio.
        scales: By name; ``none`` is always possible besides.
        response: Exponent of the scale: at a share ``s`` of its people an initiative brings ``s ** response`` of its
            benefits. 1: every place brings as much; below 1: the best places come first.
        fixed_costs: Costs of the case that fall due in full at any scale.
        needs: Initiatives without which this one cannot be done.
    """

    case: str
    scales: Mapping[Key, Scale] = Field(min_length=1)
    response: Assumption
    fixed_costs: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()


class Overlap(Assumption):
    """Share of the customers of the smaller of two initiatives whom the other reaches as well."""

    initiatives: tuple[str, str] | None = None


class Ceiling(Declared):
    """How far several initiatives can move the same customers.

    Attributes:
        unit: Unit of the scores below and of the cases' lifts.
        today: Mean score of the customers today.
        best: The mean score that nothing can exceed: of the branch at the 95th percentile.
        share: The most that initiatives measured in shares of own money can add together, as a share.
    """

    unit: Literal["score_point", "nps_point"] = "score_point"
    today: Assumption | None = None
    best: Assumption | None = None
    share: Assumption | None = None


class Capacity(Declared):
    """A resource other than money, how much there is, and what each initiative takes of it when done in full."""

    label: Words
    limit: Assumption
    uses: Mapping[Key, Assumption] = Field(min_length=1)


class Exclusion(Declared):
    """Initiatives of which at most one is done, and who says so."""

    initiatives: tuple[str, ...] = Field(min_length=2)
    reason: Words
    owner: Annotated[str, Field(min_length=1)]
    source: Annotated[str, Field(min_length=1)]
    date: dt.date


class Shared(Declared):
    """Assumptions of several cases that are one quantity, and are drawn together."""

    places: tuple[str, ...] = Field(min_length=2)
    owner: Annotated[str, Field(min_length=1)]
    source: Annotated[str, Field(min_length=1)]
    date: dt.date

    @property
    def split(self) -> tuple[Pair, ...]:
        """Initiative and place of each, from ``initiative:place``."""
        return tuple((one.partition(":")[0], one.partition(":")[2]) for one in self.places)


class Heading(Declared):
    """What is to be decided, in which money, and the plan as it stands."""

    name: Key
    title: Words
    decision: Words
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")]
    current: Mapping[Key, str] = {}
    prepared_by: str = ""
    reviewed_by: str = ""
