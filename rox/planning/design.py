"""What is planned, and the facts that decide how well it can be judged."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd

from rox.core.case import EVERYONE
from rox.core.errors import FitError
from rox.core.linked import Linked, month_index, month_label
from rox.models.quiet_months import places_of


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Describe a roll-out that somebody is thinking of.

    Where neither places nor starts are given and the study holds the initiative, the plan is what its table says: the
    page then says what that roll-out could have found.

    Attributes:
        initiative: Name; may be missing. If the study's table holds it only places without a start are left to plan.
        places: Places that get it, over all starts together; half of those left by default.
        starts: Months of the starts, such as ``("2026-03", "2026-09")``; the month after the ledger by default.
        effect: Assumed effect on money, as a share of one's own; 0.03 is 3%.
        score_effect: Assumed effect on the mean score, in score points; None if nobody has said.
        window: First and last month after the start that are averaged; part of the question.
        base: Months before the first start whose mean is a customer's own baseline.
        history: Months before the first start in which a customer must have been there.
        cap: Largest ratio to the own baseline that counts.
        by_lot: Whether the order of the places can be drawn by lot.
        individual: Whether single customers can be given it by lot.
        replications: Placebo roll-outs behind the plan's standard error; curves take half as many.
    """

    initiative: str | None = None
    places: int | None = None
    starts: tuple[str, ...] = ()
    effect: float = 0.03
    score_effect: float | None = None
    window: tuple[int, int] = (6, 11)
    base: int = 3
    history: int = 12
    cap: float = 3.0
    by_lot: bool = False
    individual: bool = False
    replications: int = 200

    def __post_init__(self) -> None:
        object.__setattr__(self, "starts", tuple(self.starts))
        faults = [
            f"starts: {each!r} is not a month; write it as 2026-03"
            for each in self.starts
            if not re.fullmatch(r"\d{4}-(0[1-9]|1[0-2])", each)
        ]
        if any(later <= earlier for earlier, later in pairwise(self.starts)):
            faults.append(f"starts are {', '.join(self.starts)}; needed: each later than the one before")
        if not (math.isfinite(self.effect) and self.effect > 0):
            faults.append(f"effect is {self.effect:g}; needed: a share above 0, such as 0.03 for 3%")
        if self.score_effect is not None and not (math.isfinite(self.score_effect) and self.score_effect > 0):
            faults.append(f"score_effect is {self.score_effect:g}; needed: score points above 0")
        if self.places is not None and self.places < max(len(self.starts), 1):
            faults.append(f"places is {self.places} for {max(len(self.starts), 1)} starts; needed: one each or more")
        if not 0 <= self.window[0] <= self.window[1]:
            faults.append(f"window is {self.window}; needed: first and last month since the start, such as (6, 11)")
        least = {"base": 1, "history": 1, "replications": 20}
        faults += [
            f"{name} is {getattr(self, name)}; needed: {low} or more"
            for name, low in least.items()
            if getattr(self, name) < low
        ]
        if not self.cap > 0:
            faults.append(f"cap is {self.cap:g}; needed: above 0")
        if faults:
            raise FitError("This roll-out cannot be planned.", faults)


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What decides which design is possible.

    Attributes:
        places: Places with customers.
        untreated: Those without the initiative.
        planned: Places that are to get it.
        stages: Starts.
        compared: Fewest places that some start can be compared with: those that start later, or never.
        history: Months of money before any initiative, or before the extract.
        by_lot: Whether the order can be, or was, drawn by lot.
        individual: Whether single customers can be given it by lot.
        hold_out: Whether the study records a hold-out of tickets.
        looks_back: Whether the starts are made already.
    """

    places: int
    untreated: int
    planned: int
    stages: int
    compared: int
    history: int
    by_lot: bool = False
    individual: bool = False
    hold_out: bool = False
    looks_back: bool = False


@dataclass(frozen=True, kw_only=True)
class Design:
    """A plan, with what it left open filled in from the study.

    Attributes:
        initiative: Name, as far as it is known.
        sizes: Places per start.
        starts: Month numbers of the starts.
        pool: Places in the design, those that start and those that do not.
        left: Names of the places without the initiative.
        facts: What decides which design is possible.
    """

    initiative: str | None
    sizes: tuple[int, ...]
    starts: tuple[int, ...]
    pool: int
    left: tuple[str, ...]
    facts: Facts

    @property
    def dates(self) -> tuple[int, ...]:
        """Months of the starts after the first."""
        return tuple(start - self.starts[0] for start in self.starts)


def facts_of(data: Linked, plan: Plan) -> Facts:
    """Read the facts of a plan from a study.

    Raises:
        FitError: The plan does not fit the study's places or initiatives.
    """
    return design_of(data, plan).facts


def design_of(data: Linked, plan: Plan) -> Design:
    """Fill in what a plan leaves open.

    Raises:
        FitError: The plan does not fit the study's places or initiatives, or starts within its ledger.
    """
    names = tuple(places_of(data).index)
    if names == (EVERYONE,):
        raise FitError(
            "No roll-out from place to place can be planned.",
            ["customers have no place; add the role `unit` to the customers table"],
        )
    name, asked = _named(data, plan), bool(plan.starts) or plan.places is not None
    first, last = data.money_months
    mine = data.starts[data.starts["initiative"].astype(str) == (name or "")]
    begun = mine.groupby(mine["unit"].astype(str))["start"].min()
    begun = begun[begun.index.isin(names)]
    back = not asked and len(begun) > 0
    left = tuple(each for each in names if each not in set(begun.index))
    if back:
        usable = begun[(begun >= first + plan.base) & (begun <= last)]
        if usable.empty:
            raise FitError(
                f"No start of {name} can be compared with the time before it.",
                [f"money runs from {month_label(first)} to {month_label(last)}; {plan.base} months must come before"],
            )
        counted = usable.value_counts().sort_index()
        starts, sizes = tuple(int(start) for start in counted.index), tuple(int(size) for size in counted)
        pool = len(left) + len(usable)
    else:
        starts = _asked_starts(plan, last)
        pool = len(left)
        sizes = split(_asked_places(plan, pool, len(starts)), len(starts))
    declared = data.study.initiatives.get(str(name))
    quiet = min(last, int(data.starts["start"].min()) - 1) if len(data.starts) else last
    tickets = data.study.tables.get("tickets")
    facts = Facts(
        places=len(names),
        untreated=len(left),
        planned=sum(sizes),
        stages=len(sizes),
        compared=_compared(sizes, pool),
        history=quiet - first + 1,
        by_lot=plan.by_lot or (back and declared is not None and declared.assigned == "random"),
        individual=plan.individual,
        hold_out=tickets is not None and "hold_out" in tickets.columns,
        looks_back=back,
    )
    return Design(initiative=name, sizes=sizes, starts=starts, pool=pool, left=left, facts=facts)


def split(places: int, starts: int) -> tuple[int, ...]:
    """Spread places over starts as evenly as they go, the earlier ones getting the odd ones."""
    return tuple(int(each.size) for each in np.array_split(np.arange(places), starts))


def _named(data: Linked, plan: Plan) -> str | None:
    names: list[str] = sorted(data.starts["initiative"].astype(str).unique())
    if plan.starts or plan.places is not None:
        return plan.initiative
    if plan.initiative is not None and plan.initiative not in names:
        raise FitError(
            f"There is no initiative {plan.initiative!r} to look back on.",
            [
                f"the table of initiatives has {', '.join(names) or 'none'}",
                "to plan a new one say how many places, or the months of the starts",
            ],
        )
    if plan.initiative is None and len(names) > 1:
        raise FitError(
            "The study has several initiatives.",
            [
                *(f"name one of them to look back on it: initiative={each!r}" for each in names),
                "or plan a new one: say how many places, or the months of the starts",
            ],
        )
    return plan.initiative or (names[0] if names else None)


def _asked_starts(plan: Plan, last: int) -> tuple[int, ...]:
    starts = {each: month_index(int(each[:4]), int(each[5:])) for each in plan.starts}
    if past := [each for each, month in starts.items() if month <= last]:
        raise FitError(
            "A roll-out that is planned starts after the ledger.",
            [
                f"{', '.join(past)} lie{'s' if len(past) == 1 else ''} within the ledger, which ends "
                f"{month_label(last)}; name months to come, or give initiative= alone to look back"
            ],
        )
    return tuple(starts.values()) or (last + 1,)


def _asked_places(plan: Plan, pool: int, starts: int) -> int:
    planned = plan.places if plan.places is not None else max(pool // 2, starts)
    if pool < 2 or planned > pool or (planned == pool and starts == 1):
        raise FitError(
            "There are not enough places for this roll-out.",
            [
                f"{planned} places are to get it in {starts} start{'s' if starts > 1 else ''}; {pool} do not have it",
                "needed: at least one place that starts later or never, to compare with",
            ],
        )
    return planned


def _compared(sizes: tuple[int, ...], pool: int) -> int:
    later = pool - np.cumsum(sizes)
    return int(later[later > 0].min()) if (later > 0).any() else 0


def place_facts(data: Linked, places: tuple[str, ...]) -> pd.DataFrame:
    """Describe places for a stratified lot.

    Returns:
        By place: ``customers`` and ``growth``, the change of money from the first to the second half of the last twelve
        months, as a share.
    """
    last = data.money_months[1]
    rows = data.sums(by=["unit", "month"], sums=["outcome"])
    rows = rows[rows["month"] > last - 12]
    late = rows["month"] > last - 6
    total = rows.assign(unit=rows["unit"].astype(str), late=late).groupby(["unit", "late", "month"])["outcome"].sum()
    halves = (
        total.reset_index()
        .pivot_table(index="unit", columns="late", values="outcome", aggfunc="mean")
        .reindex(list(places))
    )
    halves = halves.reindex(columns=[False, True])
    growth = (halves[True] / halves[False].where(halves[False] > 0) - 1).fillna(0.0)
    return pd.DataFrame({"customers": places_of(data).reindex(list(places)).astype(int), "growth": growth})
