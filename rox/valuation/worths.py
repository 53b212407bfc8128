"""Price each initiative for every set of others that may share its customers: what all plans are put together from."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import combinations

import numpy as np
import pandas as pd

from rox.core.case import EVERYONE
from rox.core.check import BIAS_LAYERS, BiasLayer, Grade
from rox.core.effect import Effect
from rox.core.errors import CaseError
from rox.core.formula import Array
from rox.core.portfolio import Portfolio
from rox.core.units import Dose, Unit
from rox.valuation.ceilings import Ceilings, Reach
from rox.valuation.common_inputs import Priced, common_draws, sampled
from rox.valuation.fit import is_claim, require_fit, segments
from rox.valuation.lines import ledger_of

LEAST_RESPONSE = 0.01


@dataclass(frozen=True, kw_only=True, eq=False)
class Worths:
    """The pieces of every plan. g = segments of the initiative, d = draws.

    Attributes:
        portfolio: The portfolio.
        priced: Each initiative's ledger and effects.
        reached: By initiative and other: (g, d) share of its customers whom the other reaches, both in full.
        earned: By initiative and set of others: (g, d) NPV of what its customers bring if those others reach them too.
        flat: By initiative: (d,) NPV of benefits that do not come from its customers.
        paid: By initiative: (2, d) NPV of its fixed costs, and of those that follow its scale.
        spent: By initiative: (2, d) the same, before tax and discounting.
        spent_point: By initiative: (2,) the same on the point path.
        response: By initiative: (d,) exponent of the scale.
        people: By initiative: (g, d) customers reached in full.
        binds: By pair: share of draws in which the ceiling cuts what the two do together.
        common: Assumptions of several cases.
        size: Number of draws.
        seed: Seed of the draws.
    """

    portfolio: Portfolio
    priced: Mapping[str, Priced]
    reached: Mapping[str, Mapping[str, Array]]
    earned: Mapping[str, Mapping[Reach, Array]]
    flat: Mapping[str, Array]
    paid: Mapping[str, Array]
    spent: Mapping[str, Array]
    spent_point: Mapping[str, Array]
    response: Mapping[str, Array]
    people: Mapping[str, Array]
    binds: Mapping[tuple[str, str], float]
    common: pd.DataFrame
    size: int
    seed: int

    def part(self, key: str, share: float, others: Sequence[tuple[str, float]]) -> Array:
        """NPV of one initiative within a plan, shape (draw,).

        Args:
            key: The initiative.
            share: Share of its people.
            others: The share of each initiative that may share its customers.
        """
        if share == 0:
            return np.zeros(self.size)
        there = [each for each in others if each[1] > 0]
        possible = {other for other, _ in there}
        brought = self.flat[key] + sum(
            (self._chance(key, reach, there) * earned).sum(axis=0)
            for reach, earned in self.earned[key].items()
            if reach <= possible
        )
        return np.asarray(share ** self.response[key] * brought + _at(self.paid[key], share))

    def first(self, size: int) -> Worths:
        """Return the same over the first draws only."""

        def cut(several: Mapping[str, Array]) -> dict[str, Array]:
            return {key: each[..., :size] for key, each in several.items()}

        return replace(
            self,
            reached={key: cut(each) for key, each in self.reached.items()},
            earned={key: {to: each[..., :size] for to, each in sets.items()} for key, sets in self.earned.items()},
            flat=cut(self.flat),
            paid=cut(self.paid),
            spent=cut(self.spent),
            response=cut(self.response),
            people=cut(self.people),
            size=size,
        )

    def cost(self, shares: Mapping[str, float]) -> float:
        """Return what a plan spends on the point path."""
        return sum(float(_at(self.spent_point[key], share)) for key, share in shares.items())

    def cost_draws(self, shares: Mapping[str, float]) -> Array:
        """Return what a plan spends, shape (draw,)."""
        return np.asarray(sum((_at(self.spent[key], share) for key, share in shares.items()), np.zeros(self.size)))

    def _chance(self, key: str, reach: Reach, others: Sequence[tuple[str, float]]) -> Array | float:
        """Share of an initiative's customers whom exactly these others reach too."""
        chance: Array | float = 1.0
        for other, share in others:
            met = self.reached[key][other] * share
            chance = chance * (met if other in reach else 1 - met)
        return chance


def npv_by_plan(worths: Worths) -> Callable[[Mapping[str, float]], Array]:
    """Return the function that gives the NPV of a plan, (draw,), from each initiative's share; what it does not name is
    not done. Parts that plans have in common are worked out once.
    """
    part = cache(worths.part)

    def npv(shares: Mapping[str, float]) -> Array:
        total = np.zeros(worths.size)
        for key, share in shares.items():
            total = total + part(key, share, tuple((other, shares.get(other, 0.0)) for other in worths.reached[key]))
        return total

    return npv


def _at(two: Array, share: float) -> Array:
    """Fixed part, and the other in proportion; nothing at a share of zero."""
    return np.asarray(two[0] + share * two[1]) if share else np.zeros_like(two[0])


def worths_of(
    portfolio: Portfolio,
    effects: Sequence[Effect],
    *,
    draws: int,
    rng: int | np.random.Generator | None,
    layers: Mapping[Grade, BiasLayer] = BIAS_LAYERS,
) -> Worths:
    """Price every initiative for every set of others that may share its customers.

    Raises:
        CaseError: An effect is missing, or an effect and its case do not fit.
        UnitError: An effect that a case cannot price.
    """
    seed = rng if isinstance(rng, int) else int(np.random.default_rng(rng).integers(0, 2**63))
    given = effects if layers is BIAS_LAYERS else [effect.discounted(layers) for effect in effects]
    priced = _priced(portfolio, given)
    drawn, common = common_draws(portfolio, priced, draws, seed)
    people = {key: _people(each, drawn[key], draws) for key, each in priced.items()}
    reached = _reached(portfolio, priced, people, draws, seed)
    limits = Ceilings.of(portfolio, priced, drawn, draws, seed)
    _require_a_ceiling(portfolio, priced, limits)
    flows = {key: _flows(portfolio, key, each, drawn[key], draws) for key, each in priced.items()}
    points = {key: _flows(portfolio, key, each, each.ledger.point, 1) for key, each in priced.items()}
    response = {
        key: sampled(each.response.spread, f"initiatives.{key}.response", draws, seed)
        for key, each in portfolio.initiatives.items()
    }
    return Worths(
        portfolio=portfolio,
        priced=priced,
        reached=reached,
        earned={key: _earned(key, each, drawn[key], tuple(reached[key]), limits) for key, each in priced.items()},
        flat={key: each.flat for key, each in flows.items()},
        paid={key: each.paid for key, each in flows.items()},
        spent={key: each.spent for key, each in flows.items()},
        spent_point={key: each.spent[:, 0] for key, each in points.items()},
        response={key: np.clip(each, LEAST_RESPONSE, 1.0) for key, each in response.items()},
        people=people,
        binds={pair: limits.binds(*pair) for pair, (_, each) in portfolio.pairs.items() if each.spread.high > 0},
        common=common,
        size=draws,
        seed=seed,
    )


def _priced(portfolio: Portfolio, effects: Sequence[Effect]) -> dict[str, Priced]:
    by_name = {effect.name: effect for effect in effects}
    faults = [
        f"initiatives.{key}: rests on effect {name!r}, which is not given; run the model that makes it"
        for key, case in portfolio.cases.items()
        for name in case.about.effects
        if name not in by_name
    ]
    if len(by_name) < len(effects):
        faults.append(f"two effects have one name: {', '.join(sorted(effect.name for effect in effects))}")
    if faults:
        raise CaseError(f"Portfolio {portfolio.name} cannot be valued.", faults)
    found = {}
    for key, case in portfolio.cases.items():
        own = tuple(by_name[name] for name in case.about.effects)
        require_fit(own, case)
        ledger = ledger_of(own, case).leading_to("npv")
        found[key] = Priced(case=case, ledger=ledger, effects=own, groups=segments(own, case))
    return found


def _require_a_ceiling(portfolio: Portfolio, priced: Mapping[str, Priced], limits: Ceilings) -> None:
    """Refuse initiatives that move the same money of the same customers without a ceiling that knows of both."""
    faults = []
    for (one, other), (place, overlap) in portfolio.pairs.items():
        channels = [
            {channel for effect in priced[key].effects if not is_claim(effect) for channel in effect.estimand.channels}
            for key in (one, other)
        ]
        if overlap.spread.high > 0 and channels[0] & channels[1] and not limits.knows(one, other):
            faults.append(
                f"{place}: {one} and {other} move the same money of the same customers "
                f"({', '.join(sorted(channels[0] & channels[1]))}), and no ceiling applies to both: one on the score "
                "needs a lift in both cases, one on the share an effect on money in both; say the one that fits, or "
                "set their overlap to 0"
            )
    if faults:
        raise CaseError(f"Portfolio {portfolio.name} cannot be valued.", faults)


def _people_input(priced: Priced, group: str) -> str:
    places = {each.place: each.name for each in priced.ledger.inputs if each.name.startswith("people_")}
    return places[f"people.{group}"] if f"people.{group}" in places else places[f"people.{EVERYONE}"]


def _people(priced: Priced, drawn: Mapping[str, Array], size: int) -> Array:
    """Customers by segment, (g, d)."""
    return np.stack([np.broadcast_to(drawn[_people_input(priced, group)], size) for group in priced.groups])


def _reached(
    portfolio: Portfolio, priced: Mapping[str, Priced], people: Mapping[str, Array], size: int, seed: int
) -> dict[str, dict[str, Array]]:
    """Share of each initiative's customers whom each other reaches, segment by segment where both know segments."""
    found: dict[str, dict[str, Array]] = {key: {} for key in priced}
    for (one, other), (place, overlap) in portfolio.pairs.items():
        if overlap.spread.high <= 0:
            continue
        share = np.clip(sampled(overlap.spread, place, size, seed), 0.0, 1.0)
        for mine, theirs in ((one, other), (other, one)):
            met = _met(priced[mine].groups, priced[theirs].groups, people[mine], people[theirs])
            if not met.any():
                raise CaseError(
                    f"Portfolio {portfolio.name} cannot be valued.",
                    [f"{place}: {one} and {other} have no segment in common; set their overlap to 0"],
                )
            found[mine][theirs] = share * met
    return found


def _met(mine: tuple[str, ...], theirs: tuple[str, ...], my_people: Array, their_people: Array) -> Array:
    """The smaller number of customers as a share of one's own, (g, d)."""
    if EVERYONE in mine or EVERYONE in theirs:
        own, other = my_people.sum(axis=0, keepdims=True), their_people.sum(axis=0, keepdims=True)
        return np.broadcast_to(_of(np.minimum(own, other), own), my_people.shape)
    other = np.zeros_like(my_people)
    for row, group in enumerate(mine):
        if group in theirs:
            other[row] = their_people[theirs.index(group)]
    return _of(np.minimum(my_people, other), my_people)


def _of(part: Array, whole: Array) -> Array:
    return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)


def _earned(
    key: str, priced: Priced, drawn: Mapping[str, Array], others: tuple[str, ...], limits: Ceilings
) -> dict[Reach, Array]:
    """NPV of what customers bring, for each set of others that may reach them too: (g, d)."""
    sets = [frozenset(several) for size in range(len(others) + 1) for several in combinations(others, size)]
    known: dict[tuple[str, bytes], Array] = {}
    found = {}
    for reach in sets:
        rows = []
        for group in priced.groups:
            score, share = limits.on_score(key, reach), limits.on_share(key, reach, group)
            name = (group, b"".join(b"-" if each is None else each.tobytes() for each in (score, share)))
            if name not in known:
                known[name] = _npv(priced, _with(priced, drawn, group, score, share))
            rows.append(known[name])
        found[reach] = np.stack(rows)
    return found


def _with(
    priced: Priced, drawn: Mapping[str, Array], group: str, score: Array | None, share: Array | None
) -> dict[str, Array]:
    """Inputs with the customers of one segment only, no flows of their own, and doses cut by the ceilings."""
    own = _people_input(priced, group)
    values = dict(drawn)
    for each in priced.ledger.inputs:
        kind = each.name.partition("_")[0]
        if kind in ("cost", "benefit") or (kind == "people" and each.name != own):
            values[each.name] = np.zeros(1)
    for name, factor in _doses(priced, score, share):
        values[name] = values[name] * factor
    return values


def _doses(priced: Priced, score: Array | None, share: Array | None) -> Iterator[tuple[str, Array]]:
    """Iterate over the inputs that carry a dose, with the factor that cuts it.

    A dose per point is carried by the lift, that of a measured initiative by its effect; referrals and contacts that
    follow the initiative as a whole carry it themselves. Where both ceilings bind, the lower one does.
    """
    doses = {effect.name: effect.estimand for effect in priced.effects}
    referral = priced.case.referral
    as_a_whole = referral is not None and referral.per == "initiative"
    carriers = {"lift", "contacts_change", *(["referral_response"] if as_a_whole else [])}
    both = score if share is None else share if score is None else np.minimum(score, share)
    per_point = any(e.dose is not Dose.INITIATIVE and e.unit is not Unit.LOG_HAZARD for e in doses.values())
    for each in priced.ledger.inputs:
        estimand = doses.get(each.place) if each.name.startswith("effect_") else None
        factor = None
        if estimand is not None and estimand.dose is Dose.INITIATIVE:
            factor = score if estimand.unit is Unit.LOG_HAZARD else both
        elif each.name in carriers:
            factor = both if each.name == "lift" and per_point else score
        if factor is not None:
            yield each.name, factor


@dataclass(frozen=True, kw_only=True, eq=False)
class _Flows:
    """NPV of benefits outside the customers (d,), of fixed and of scaling costs (2, d), and these as spent (2, d)."""

    flat: Array
    paid: Array
    spent: Array


def _flows(portfolio: Portfolio, key: str, priced: Priced, drawn: Mapping[str, Array | float], size: int) -> _Flows:
    fixed = {f"cost_{name}" for name in portfolio.initiatives[key].fixed_costs}
    costs = {each.name for each in priced.ledger.inputs if each.name.startswith("cost_")}
    benefits = {each.name for each in priced.ledger.inputs if each.name.startswith("benefit_")}
    people = {each.name for each in priced.ledger.inputs if each.name.startswith("people_")}

    def run(keep: set[str]) -> tuple[Array, Array]:
        values = {name: 0.0 if name in (costs | benefits | people) - keep else each for name, each in drawn.items()}
        npv, cost = np.zeros(1), np.zeros(1)
        for line, found in priced.ledger.run(values):
            if line.name == "npv":
                npv = found[:, 0]
            elif line.name == "cost":
                cost = found.sum(axis=1)
        return np.broadcast_to(npv, size), np.broadcast_to(cost, size)

    flat, _ = run(benefits)
    sides = [run(costs & fixed), run(costs - fixed)]
    paid, spent = (np.stack([side[place] for side in sides]) for place in (0, 1))
    return _Flows(flat=flat, paid=paid, spent=spent)


def _npv(priced: Priced, values: Mapping[str, Array]) -> Array:
    size = max(len(each) for each in values.values())
    return np.broadcast_to(priced.ledger.totals(values)["npv"], size)
