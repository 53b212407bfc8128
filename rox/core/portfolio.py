"""Initiatives that compete for one budget and reach the same customers, as finance edits them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import combinations
from pathlib import Path
from typing import Any

from pydantic import Field, PrivateAttr

from rox.core.assumption import Assumption
from rox.core.case import Case, read_case
from rox.core.declared import Declared, read_toml, validated
from rox.core.errors import CaseError
from rox.core.portfolio_parts import (
    MOST_COMBINATIONS,
    MOST_NEIGHBOURS,
    NOTHING,
    REST,
    Capacity,
    Ceiling,
    Exclusion,
    Heading,
    Initiative,
    Key,
    Overlap,
    Pair,
    Shared,
)


class Portfolio(Declared):
    """A portfolio as finance edits it; :func:`read_portfolio` also reads its cases.

    Attributes:
        about: What is to be decided.
        budget: The most that may be spent over all months, before tax and discounting.
        risk_aversion: Weight of the mean loss in the worst twentieth; 0 decides by expected NPV.
        initiatives: By name.
        overlaps: Customers reached by two initiatives; every pair is named, or ``rest`` speaks for those that are not.
        ceiling: How far initiatives together can move the same customers; needed where any overlap.
        capacity: Resources other than money.
        exclusions: Initiatives that do not go together.
        shared: Assumptions of several cases that are one quantity.
    """

    about: Heading = Field(alias="portfolio")
    budget: Assumption
    risk_aversion: Assumption
    initiatives: Mapping[Key, Initiative] = Field(min_length=1, max_length=40)
    overlaps: Mapping[Key, Overlap] = {}
    ceiling: Ceiling | None = None
    capacity: Mapping[Key, Capacity] = {}
    exclusions: Mapping[Key, Exclusion] = {}
    shared: Mapping[Key, Shared] = {}

    _cases: Mapping[str, Case] = PrivateAttr(default={})

    @property
    def name(self) -> str:
        """The portfolio's name."""
        return self.about.name

    @property
    def cases(self) -> Mapping[str, Case]:
        """Each initiative's case."""
        return self._cases

    @property
    def pairs(self) -> Mapping[Pair, tuple[str, Overlap]]:
        """The overlap of every pair of initiatives, in the order of the file, with its place."""
        named = {frozenset(each.initiatives): key for key, each in self.overlaps.items() if each.initiatives}
        found = {}
        for pair in combinations(self.initiatives, 2):
            key = named.get(frozenset(pair), REST)
            if key in self.overlaps:
                found[pair] = (f"overlaps.{key}", self.overlaps[key])
        return found

    def neighbours(self, initiative: str) -> tuple[str, ...]:
        """Initiatives that reach some of the same customers."""
        touching = [pair for pair, (_, overlap) in self.pairs.items() if overlap.spread.high > 0 and initiative in pair]
        return tuple(other for pair in touching for other in pair if other != initiative)

    def clusters(self) -> tuple[tuple[str, ...], ...]:
        """Initiatives that share customers, directly or through others; each initiative is in one cluster."""
        left, found = list(self.initiatives), []
        while left:
            reached, todo = set(), [left[0]]
            while todo:
                one = todo.pop()
                if one not in reached:
                    reached.add(one)
                    todo.extend(self.neighbours(one))
            found.append(tuple(each for each in self.initiatives if each in reached))
            left = [each for each in left if each not in reached]
        return tuple(found)

    def share_of(self, initiative: str, scale: str) -> float:
        """Share of the initiative's people at a scale; 0 for ``none``."""
        return 0.0 if scale == NOTHING else self.initiatives[initiative].scales[scale].spread.likely

    def taken(self, capacity: Capacity, scales: Mapping[str, str]) -> float:
        """What a plan takes of a capacity, in proportion to the share of people."""
        return sum(self.share_of(key, scales[key]) * use.spread.likely for key, use in capacity.uses.items())

    def broken(self, scales: Mapping[str, str], cost: float, budget: float) -> tuple[str, ...]:
        """Places of the limits and rules that a plan does not keep."""
        done = {key for key, scale in scales.items() if scale != NOTHING}
        over = [key for key, each in self.capacity.items() if self.taken(each, scales) > each.limit.spread.likely]
        alone = [key for key in self.initiatives if key in done and not done.issuperset(self.initiatives[key].needs)]
        both = [key for key, each in self.exclusions.items() if len(done.intersection(each.initiatives)) > 1]
        return (
            *(["budget"] if cost > budget else []),
            *(f"capacity.{key}" for key in over),
            *(f"initiatives.{key}.needs" for key in alone),
            *(f"exclusions.{key}" for key in both),
        )

    def current(self) -> dict[str, str]:
        """The plan as it stands; what it does not name is not done."""
        return {key: self.about.current.get(key, NOTHING) for key in self.initiatives}

    def register(self) -> Iterator[tuple[str, Assumption]]:
        """Iterate over every assumption of the portfolio itself, with its place in the file."""
        yield "budget", self.budget
        yield "risk_aversion", self.risk_aversion
        for key, initiative in self.initiatives.items():
            yield f"initiatives.{key}.response", initiative.response
            yield from ((f"initiatives.{key}.scales.{name}", scale) for name, scale in initiative.scales.items())
        yield from ((f"overlaps.{key}", overlap) for key, overlap in self.overlaps.items())
        if self.ceiling is not None:
            for name in ("today", "best", "share"):
                if (found := getattr(self.ceiling, name)) is not None:
                    yield f"ceiling.{name}", found
        for key, capacity in self.capacity.items():
            yield f"capacity.{key}.limit", capacity.limit
            yield from ((f"capacity.{key}.uses.{name}", use) for name, use in capacity.uses.items())


ENDLESS = float("inf")
RANGES: Mapping[str, tuple[float, float, str]] = {
    "budget": (0, ENDLESS, "an amount of money, 0 or more"),
    "risk_aversion": (0, 100, "a weight, 0 or more"),
    "response": (0.01, 1, "an exponent above 0 and at most 1: benefits never rise faster than scale"),
    "scales": (0.001, 1, "a share above 0 and at most 1"),
    "overlaps": (0, 1, "a share between 0 and 1"),
    "ceiling.share": (0, ENDLESS, "a share, such as 0.1"),
    "limit": (0, ENDLESS, "an amount, 0 or more"),
    "uses": (0, ENDLESS, "an amount, 0 or more"),
}


def read_portfolio(path: str | Path) -> Portfolio:
    """Read a portfolio file and the cases it names.

    Raises:
        CaseError: Every fault of the file and of its cases in one message.
    """
    path = Path(path)
    content: dict[str, Any] = read_toml(path, "portfolio file", CaseError)
    portfolio, faults = validated(Portfolio, content)
    cases: dict[str, Case] = {}
    if portfolio is not None:
        cases, faults = _cases(portfolio, path.parent)
    return _held_together(str(path), portfolio, cases, faults)


def portfolio_of(content: Mapping[str, Any], cases: Mapping[str, Case]) -> Portfolio:
    """Build a portfolio from what its file would say and from cases that are there already, by initiative.

    Raises:
        CaseError: Every fault in one message.
    """
    portfolio, faults = validated(Portfolio, dict(content))
    if portfolio is not None:
        faults = [f"initiatives.{key}: no case is given for it" for key in portfolio.initiatives if key not in cases]
    return _held_together("The portfolio", portfolio, cases, faults)


def _held_together(where: str, portfolio: Portfolio | None, cases: Mapping[str, Case], faults: list[str]) -> Portfolio:
    found = [*faults, *(_faults(portfolio, cases) if portfolio is not None else [])]
    if found or portfolio is None:
        raise CaseError(f"{where} has {len(found)} fault{'s' if len(found) > 1 else ''}.", found)
    portfolio._cases = {key: cases[key] for key in portfolio.initiatives}
    return portfolio


def _cases(portfolio: Portfolio, folder: Path) -> tuple[dict[str, Case], list[str]]:
    cases, faults = {}, []
    for key, initiative in portfolio.initiatives.items():
        try:
            cases[key] = read_case(folder / initiative.case)
        except CaseError as cause:
            faults += [f"initiatives.{key}.case: {line}" for line in (cause.headline, *cause.faults)]
    return cases, faults


def _faults(portfolio: Portfolio, cases: Mapping[str, Case]) -> list[str]:
    return [
        *_range_faults(portfolio),
        *_name_faults(portfolio),
        *_overlap_faults(portfolio),
        *_need_faults(portfolio),
        *_case_faults(portfolio, {key: cases[key] for key in portfolio.initiatives if key in cases}),
        *_shared_faults(portfolio, cases),
    ]


def _range_faults(portfolio: Portfolio) -> Iterator[str]:
    for place, assumption in portfolio.register():
        parts = place.split(".")
        keys = (place, parts[0], *parts[2:3])
        low, high, needed = next((RANGES[key] for key in keys if key in RANGES), (-ENDLESS, ENDLESS, ""))
        spread = assumption.spread
        if not (low <= spread.low and spread.high <= high):
            yield f"{place}: {spread.low:g} to {spread.high:g} is not {needed}"
        if "scales" in parts and spread.is_uncertain:
            yield f"{place}: a scale is chosen, so it is one value and has no range"
    for key, initiative in portfolio.initiatives.items():
        if NOTHING in initiative.scales:
            yield f"initiatives.{key}.scales.{NOTHING}: the name of not doing it; call the scale otherwise"


def _name_faults(portfolio: Portfolio) -> Iterator[str]:
    known = ", ".join(portfolio.initiatives)
    mentioned = [
        *((f"portfolio.current.{key}", key) for key in portfolio.about.current),
        *((f"initiatives.{key}.needs", other) for key, each in portfolio.initiatives.items() for other in each.needs),
        *((f"overlaps.{key}", name) for key, each in portfolio.overlaps.items() for name in each.initiatives or ()),
        *((f"exclusions.{key}", name) for key, each in portfolio.exclusions.items() for name in each.initiatives),
        *((f"capacity.{key}.uses", name) for key, each in portfolio.capacity.items() for name in each.uses),
    ]
    for place, name in mentioned:
        if name not in portfolio.initiatives:
            yield f"{place}: {name!r} is no initiative; there are {known}"
    for key, scale in portfolio.about.current.items():
        scales = portfolio.initiatives[key].scales if key in portfolio.initiatives else {}
        if scales and scale != NOTHING and scale not in scales:
            yield f"portfolio.current.{key}: {scale!r} is no scale; there are {NOTHING}, {', '.join(scales)}"


def _overlap_faults(portfolio: Portfolio) -> Iterator[str]:
    seen: dict[frozenset[str], str] = {}
    for key, overlap in portfolio.overlaps.items():
        if (overlap.initiatives is None) != (key == REST):
            yield f"overlaps.{key}: name the two with initiatives = [...]; only `{REST}` speaks for other pairs"
        elif overlap.initiatives is not None:
            pair = frozenset(overlap.initiatives)
            if len(pair) < 2:
                yield f"overlaps.{key}: two different initiatives are needed"
            elif pair in seen:
                yield f"overlaps.{key}: the same pair as overlaps.{seen[pair]}; keep one"
            seen.setdefault(pair, key)
    silent = [pair for pair in combinations(portfolio.initiatives, 2) if pair not in portfolio.pairs]
    for one, other in silent:
        yield f"overlaps: say how many customers {one} and {other} share; value = 0 if none"
    ceiling = portfolio.ceiling
    shares = any(overlap.spread.high > 0 for overlap in portfolio.overlaps.values())
    if shares and (ceiling is None or not (ceiling.best or ceiling.share)):
        yield "ceiling: initiatives share customers; say how far they can be moved together (today and best, or share)"
    if ceiling is not None and (ceiling.today is None) != (ceiling.best is None):
        yield "ceiling: today and best belong together"
    if ceiling is not None and ceiling.today and ceiling.best:
        today, best = ceiling.today.spread, ceiling.best.spread
        if not today.likely < best.likely:
            yield f"ceiling: best ({best.likely:g}) is not above today ({today.likely:g})"
    yield from _size_faults(portfolio)


def _size_faults(portfolio: Portfolio) -> Iterator[str]:
    for key in portfolio.initiatives:
        if (several := len(portfolio.neighbours(key))) > MOST_NEIGHBOURS:
            yield f"initiatives.{key}: shares customers with {several} others; at most {MOST_NEIGHBOURS} can be priced"
    for cluster in portfolio.clusters():
        plans = 1
        for key in cluster:
            plans *= len(portfolio.initiatives[key].scales) + 1
        if plans > MOST_COMBINATIONS:
            yield (
                f"initiatives {', '.join(cluster)} share customers and can be combined in {plans:,} ways, more than "
                f"{MOST_COMBINATIONS:,}; declare fewer scales, or overlaps of 0"
            )


def _need_faults(portfolio: Portfolio) -> Iterator[str]:
    for key in portfolio.initiatives:
        reached: set[str] = set()
        todo = list(portfolio.initiatives[key].needs)
        while todo:
            one = todo.pop()
            if one not in reached and one in portfolio.initiatives:
                reached.add(one)
                todo.extend(portfolio.initiatives[one].needs)
        if key in reached:
            yield f"initiatives.{key}.needs: needs itself, through {', '.join(sorted(reached - {key})) or 'itself'}"


def _case_faults(portfolio: Portfolio, cases: Mapping[str, Case]) -> Iterator[str]:
    starts = {(case.about.start.year, case.about.start.month) for case in cases.values()}
    if len(starts) > 1:
        said = ", ".join(f"{key} {case.about.start}" for key, case in cases.items())
        yield f"initiatives: their present values are of different months ({said}); give the cases one start"
    rates = {case.finance.discount.spread for case in cases.values()}
    if len(rates) > 1:
        said = ", ".join(f"{key} {case.finance.discount.spread.likely:g}" for key, case in cases.items())
        yield f"initiatives: they are discounted at different rates ({said}); give the cases one [finance.discount]"
    held: dict[str, str] = {}
    for key, case in cases.items():
        place = f"initiatives.{key}"
        if case.about.currency != portfolio.about.currency:
            yield f"{place}.case: is in {case.about.currency}, the portfolio in {portfolio.about.currency}"
        if stray := [name for name in portfolio.initiatives[key].fixed_costs if name not in case.costs]:
            yield f"{place}.fixed_costs: {', '.join(stray)}: no such cost; the case has {', '.join(case.costs)}"
        decision = case.about.decision["en"]
        if decision in held:
            yield (
                f"{place}.case: decides the same as {held[decision]} ({decision!r}); readings of one initiative by "
                "several scores, such as NPS, CSAT and CES, are never added: keep one"
            )
        held.setdefault(decision, place)
        unit = portfolio.ceiling.unit if portfolio.ceiling is not None and portfolio.ceiling.best else None
        if unit and case.lift is not None and case.lift.unit != unit and portfolio.neighbours(key):
            yield f"{place}.case: its lift is in {case.lift.unit}, the ceiling in {unit}; give both in one unit"


def _shared_faults(portfolio: Portfolio, cases: Mapping[str, Case]) -> Iterator[str]:
    seen: dict[str, str] = {}
    for key, shared in portfolio.shared.items():
        for written, (initiative, place) in zip(shared.places, shared.split, strict=True):
            if initiative not in portfolio.initiatives:
                yield f"shared.{key}: {written!r}: write initiative:place, such as name:margin.all"
            elif initiative in cases and place not in dict(cases[initiative].register()):
                yield f"shared.{key}: {written!r}: the case has no {place!r}"
            if written in seen:
                yield f"shared.{key}: {written!r} is also in shared.{seen[written]}; one quantity is one entry"
            seen.setdefault(written, key)
