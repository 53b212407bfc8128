"""From joint draws to the plan that a budget should go to, and how sure that is."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
import pandas as pd

from rox.core.check import BIAS_LAYERS, BiasLayer, Check, Grade, Verdict
from rox.core.effect import Effect
from rox.core.errors import CaseError
from rox.core.formula import Array
from rox.core.joint import AllocationReturn, PlanReturn
from rox.core.portfolio import Portfolio
from rox.core.portfolio_parts import NOTHING
from rox.numerics.allocation import (
    MOST_SCENARIOS,
    Allocation,
    Choice,
    Rules,
    allocate,
    expected_shortfall,
)
from rox.valuation.portfolio import DRAWS, joint_return
from rox.valuation.worths import Worths, npv_by_plan, worths_of

Scales = Mapping[str, str]
MILLION = 1_000_000.0
TAIL = 0.05
SINGLES = 300
"""Single draws whose best plan is looked for."""
BLOCKS = 20
"""Blocks of draws that choose a plan each."""
OTHER_BUDGETS = (0.5, 0.75, 1.0, 1.25, 1.5, 2.0)
"""Budgets that are shown beside the given one, as multiples of it."""
LEAST_DRAWS = 200
ERRORS = 2.0
"""Standard errors beyond which what a plan promised and what it keeps on other draws are told apart."""


def allocate_budget(
    portfolio: Portfolio,
    effects: Sequence[Effect],
    *,
    budget: float | None = None,
    draws: int = DRAWS,
    rng: int | np.random.Generator | None = None,
    step: float = MILLION,
    layers: Mapping[Grade, BiasLayer] = BIAS_LAYERS,
) -> AllocationReturn:
    """Choose a scale for each initiative so that mean NPV, weighed against its worst twentieth, is largest.

    The plan is chosen on half of the draws, on at most 2,000, and shown on all; what it keeps on the draws that did not
    choose it is shown beside. Initiatives that share customers are chosen together, as one choice among all their
    combinations, so that what they do to each other is exact.

    Args:
        portfolio: The initiatives, the budget and the rules.
        effects: The effects that the cases rest on.
        budget: Another budget than the portfolio's.
        draws: Number of joint draws, at least 200.
        rng: Seed.
        step: How much "one more" is.
        layers: What estimates of each grade are worth; the shipped discounts by default.

    Raises:
        CaseError: An effect is missing or does not fit its case, too few draws, or a negative budget.
        UnitError: An effect that a case cannot price.

    References:
        Rockafellar & Uryasev (2000), on CVaR; Smith & Winkler (2006), *The Optimizer's Curse*.
    """
    limit = portfolio.budget.spread.likely if budget is None else float(budget)
    faults = [f"draws: {draws} are too few; at least {LEAST_DRAWS} are needed"] if draws < LEAST_DRAWS else []
    faults += [f"budget: {limit:g} is not an amount of money, 0 or more"] if not 0 <= limit < np.inf else []
    faults += [f"step: {step:g} is not an amount of money above 0"] if not 0 < step < np.inf else []
    if faults:
        raise CaseError(f"Portfolio {portfolio.name} cannot be allocated.", faults)
    menu = _Menu.of(worths_of(portfolio, effects, draws=draws, rng=rng, layers=layers), limit)
    chosen, current = (menu.plan(scales, limit) for scales in (menu.scales(menu.best(limit)), portfolio.current()))
    first, rest = chosen.npv[: menu.choosing], chosen.npv[menu.choosing :]
    joint = joint_return(menu.worths)
    found = AllocationReturn(
        joint=joint,
        budget=limit,
        risk_aversion=menu.aversion,
        chosen=chosen,
        current=current,
        menu=_menu_table(menu, chosen.scales, current.scales),
        selection=_selection(menu, limit),
        blocks=BLOCKS,
        budgets=_budgets(menu, limit),
        step=step,
        one_more=menu.plan(menu.scales(menu.best(limit + step)), limit + step).objective - chosen.objective,
        in_sample=float(first.mean()),
        held_out=float(rest.mean()),
        held_out_error=float(np.sqrt(first.var(ddof=1) / len(first) + rest.var(ddof=1) / len(rest))),
        p_regret=float((current.npv > chosen.npv).mean()),
        checks=(),
    )
    return replace(found, checks=(*joint.checks, *_checks(found)))


@dataclass(frozen=True, kw_only=True, eq=False)
class _Menu:
    """All that can be chosen.

    Attributes:
        worths: The pieces of every plan.
        npv: NPV of a plan by shares.
        clusters: Initiatives that share customers, chosen together.
        combinations: For each cluster, the scales of its initiatives in each option.
        choices: The same with gains over the choosing draws, cost and capacity taken, and initiatives held.
        rules: Precedence, exclusions and limits; the first limit is the budget.
        choosing: Number of draws that choose.
        aversion: Weight of the worst twentieth.
    """

    worths: Worths
    npv: Callable[[Mapping[str, float]], Array]
    clusters: tuple[tuple[str, ...], ...]
    combinations: tuple[tuple[tuple[str, ...], ...], ...]
    choices: tuple[Choice, ...]
    rules: Rules
    choosing: int
    aversion: float

    @classmethod
    def of(cls, worths: Worths, limit: float) -> _Menu:
        portfolio, npv = worths.portfolio, npv_by_plan(worths)
        clusters = portfolio.clusters()
        choosing = min(worths.size // 2, MOST_SCENARIOS)
        combined = tuple(
            tuple(product(*((NOTHING, *portfolio.initiatives[key].scales) for key in cluster))) for cluster in clusters
        )
        few = worths.first(choosing)
        choices = tuple(_choice(few, cluster, options) for cluster, options in zip(clusters, combined, strict=True))
        return cls(
            worths=worths,
            npv=npv,
            clusters=clusters,
            combinations=combined,
            choices=choices,
            rules=_rules(portfolio, limit),
            choosing=choosing,
            aversion=portfolio.risk_aversion.spread.likely,
        )

    def best(self, limit: float, draws: slice | None = None) -> Allocation:
        """Return the best plan under a budget, over the choosing draws or some of them."""
        choices = self.choices
        if draws is not None:
            choices = tuple(replace(choice, gains=choice.gains[:, draws]) for choice in choices)
        limits = np.concatenate([[limit], self.rules.limits[1:]])
        single = choices[0].gains.shape[1] == 1
        return allocate(
            choices, replace(self.rules, limits=limits), aversion=0.0 if single else self.aversion, tail=TAIL
        )

    def scales(self, found: Allocation) -> dict[str, str]:
        """Return the scale of each initiative in a plan."""
        named = {
            key: scale
            for cluster, options, option in zip(self.clusters, self.combinations, found.options, strict=True)
            for key, scale in zip(cluster, options[option], strict=True)
        }
        return {key: named[key] for key in self.worths.portfolio.initiatives}

    def plan(self, scales: Scales, limit: float) -> PlanReturn:
        """Value a plan over all draws."""
        shares = _shares(self.worths.portfolio, scales)
        npv = self.npv(shares)
        worst = -expected_shortfall(npv, TAIL)
        return PlanReturn(
            scales=dict(scales),
            cost=self.worths.cost(shares),
            p_over=float((self.worths.cost_draws(shares) > limit).mean()),
            npv=npv,
            worst=worst,
            objective=float(npv.mean()) + self.aversion * worst,
        )


def _shares(portfolio: Portfolio, scales: Scales) -> dict[str, float]:
    return {key: portfolio.share_of(key, scale) for key, scale in scales.items()}


def _choice(worths: Worths, cluster: tuple[str, ...], options: tuple[tuple[str, ...], ...]) -> Choice:
    portfolio, npv = worths.portfolio, npv_by_plan(worths)
    idle = dict.fromkeys(portfolio.initiatives, NOTHING)
    plans = [{**idle, **dict(zip(cluster, option, strict=True))} for option in options]
    shares = [_shares(portfolio, {key: plan[key] for key in cluster}) for plan in plans]
    capacities = portfolio.capacity.values()
    return Choice(
        gains=np.stack([npv(each) for each in shares]),
        uses=np.array(
            [
                [worths.cost(each), *(portfolio.taken(capacity, plan) for capacity in capacities)]
                for each, plan in zip(shares, plans, strict=True)
            ]
        ),
        holds=np.array([[float(plan[key] != NOTHING) for key in plan] for plan in plans]),
    )


def _rules(portfolio: Portfolio, limit: float) -> Rules:
    place = {key: number for number, key in enumerate(portfolio.initiatives)}
    return Rules(
        limits=np.array([limit, *(each.limit.spread.likely for each in portfolio.capacity.values())]),
        needs=tuple((place[key], place[one]) for key, each in portfolio.initiatives.items() for one in each.needs),
        excludes=tuple(tuple(place[key] for key in each.initiatives) for each in portfolio.exclusions.values()),
    )


def _menu_table(menu: _Menu, chosen: Scales, current: Scales) -> pd.DataFrame:
    portfolio = menu.worths.portfolio
    rows = []
    for key, initiative in portfolio.initiatives.items():
        for scale in initiative.scales:
            shares = {key: portfolio.share_of(key, scale)}
            npv = menu.npv(shares)
            rows.append(
                {
                    "initiative": key,
                    "scale": scale,
                    "share": shares[key],
                    "cost": menu.worths.cost(shares),
                    "npv": float(npv.mean()),
                    "worst": -expected_shortfall(npv, TAIL),
                    "chosen": chosen[key] == scale,
                    "current": current[key] == scale,
                }
            )
    return pd.DataFrame(rows)


def _selection(menu: _Menu, limit: float) -> pd.DataFrame:
    """How often each initiative is in the best plan: of single draws, and of blocks of draws."""
    portfolio = menu.worths.portfolio
    singles = np.unique(np.linspace(0, menu.choosing - 1, min(SINGLES, menu.choosing)).astype(int))
    edges = np.linspace(0, menu.choosing, BLOCKS + 1).astype(int)
    by_draw = [menu.scales(menu.best(limit, slice(draw, draw + 1))) for draw in singles.tolist()]
    blocks = zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True)
    by_block = [menu.scales(menu.best(limit, slice(start, end))) for start, end in blocks]
    rows = {
        key: {
            "by_draw": float(np.mean([plan[key] != NOTHING for plan in by_draw])),
            "share_by_draw": float(np.mean([portfolio.share_of(key, plan[key]) for plan in by_draw])),
            "by_block": float(np.mean([plan[key] != NOTHING for plan in by_block])),
        }
        for key in portfolio.initiatives
    }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("initiative")


def _budgets(menu: _Menu, limit: float) -> pd.DataFrame:
    rows = []
    for other in sorted({limit * times for times in OTHER_BUDGETS}):
        plan = menu.plan(menu.scales(menu.best(other)), other)
        scales = {f"plan_{key}": scale for key, scale in plan.scales.items()}
        rows.append({"budget": other, "cost": plan.cost, "npv": plan.expected, "worst": plan.worst, **scales})
    return pd.DataFrame(rows)


def _checks(found: AllocationReturn) -> Iterator[Check]:
    """Whether the plan keeps its promise, the budget and the rules, and whether all of it was asked about."""
    gap = found.in_sample - found.held_out
    kept = gap <= ERRORS * found.held_out_error
    values = {"gap": abs(gap), "error": found.held_out_error}
    yield Check(code="ROX-V42", verdict=Verdict.PASS if kept else Verdict.NOTE, values=values)
    broken = found.portfolio.broken(found.current.scales, found.current.cost, found.budget)
    yield Check(
        code="ROX-V43",
        verdict=Verdict.NOTE if broken else Verdict.PASS,
        values={"rules": ", ".join(broken)},
    )
    weak = [
        key for key, grade in found.joint.grades.items() if found.chosen.scales[key] != NOTHING and not grade.is_causal
    ]
    yield Check(
        code="ROX-V44",
        verdict=Verdict.NOTE if weak else Verdict.PASS,
        values={"initiatives": ", ".join(weak)},
    )
