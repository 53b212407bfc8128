"""Value initiatives together: the same draws, the same customers moved once, and each one's share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import pandas as pd

from rox.core.check import BIAS_LAYERS, BiasLayer, Check, Grade, Verdict
from rox.core.effect import Effect
from rox.core.formula import Array
from rox.core.joint import JointReturn
from rox.core.portfolio import Portfolio
from rox.numerics.shapley import MOST_PLAYERS, sampled_shapley, shapley
from rox.valuation.common_inputs import APART, is_the_companys, own_seed
from rox.valuation.worths import Worths, npv_by_plan, worths_of

DRAWS = 4_000
MOST_CELLS = 20_000_000
"""Coalitions times draws up to which every coalition is valued."""
ORDERS = 200
"""Orders drawn where not every coalition is valued."""


def value_portfolio(
    portfolio: Portfolio,
    effects: Sequence[Effect],
    *,
    draws: int = DRAWS,
    rng: int | np.random.Generator | None = None,
    layers: Mapping[Grade, BiasLayer] = BIAS_LAYERS,
) -> JointReturn:
    """Value all initiatives of a portfolio together, in full, and split what they return.

    Customers reached by several initiatives are moved by the sum of their doses, as far as the ceiling lets them; what
    the ceiling cuts off is cut off in proportion. Assumes that whom else an initiative's customers are reached by is
    independent from one other initiative to the next. NPV is in proportion to people, so each initiative is priced
    once for every set of others that may share its customers.

    Args:
        portfolio: The initiatives, their overlaps and the ceiling.
        effects: The effects that the cases rest on.
        draws: Number of joint draws.
        rng: Seed.
        layers: What estimates of each grade are worth; the shipped discounts by default.

    Raises:
        CaseError: An effect is missing, or an effect and its case do not fit.
        UnitError: An effect that a case cannot price.

    References:
        Shapley (1953), *A value for n-person games*.
    """
    return joint_return(worths_of(portfolio, effects, draws=draws, rng=rng, layers=layers))


def joint_return(worths: Worths) -> JointReturn:
    """Put the initiatives together in full, and split what they return."""
    portfolio = worths.portfolio
    npv = npv_by_plan(worths)
    full = dict.fromkeys(portfolio.initiatives, 1.0)
    split: dict[str, Array] = {}
    for cluster in portfolio.clusters():
        split |= dict(zip(cluster, _split(cluster, npv, worths), strict=True))
    grades = {key: max(effect.grade for effect in each.effects) for key, each in worths.priced.items()}
    return JointReturn(
        portfolio=portfolio,
        alone={key: npv({key: 1.0}) for key in full},
        split={key: split[key] for key in full},
        joint=npv(full),
        grades=grades,
        overlaps=_overlaps(worths),
        common=worths.common,
        checks=(*_same_money(worths), *_same_names(worths)),
        seed=worths.seed,
    )


def _split(cluster: tuple[str, ...], npv: Callable[[Mapping[str, float]], Array], worths: Worths) -> Array:
    """Shapley values of initiatives that share customers; one that shares none keeps what it earns."""

    def worth(coalition: int) -> Array:
        return npv({key: 1.0 for place, key in enumerate(cluster) if coalition >> place & 1})

    players = len(cluster)
    if players <= MOST_PLAYERS and 2**players * worths.size <= MOST_CELLS:
        return shapley(np.stack([worth(coalition) for coalition in range(2**players)]))
    rng = np.random.default_rng(own_seed(worths.seed, f"orders {cluster[0]}"))
    return sampled_shapley(worth, players, permutations=ORDERS, rng=rng).values


def _overlaps(worths: Worths) -> pd.DataFrame:
    rows = []
    for (one, other), (_, overlap) in worths.portfolio.pairs.items():
        met = worths.reached[one].get(other)
        rows.append(
            {
                "one": one,
                "other": other,
                "share": overlap.spread.likely,
                "customers": 0.0 if met is None else float((met * worths.people[one]).sum(axis=0).mean()),
                "binds": worths.binds.get((one, other), 0.0),
            }
        )
    return pd.DataFrame(rows, columns=["one", "other", "share", "customers", "binds"])


def _same_money(worths: Worths) -> Iterator[Check]:
    """Name every stream of money that two initiatives claim from the same customers (ROX-V40)."""
    found = False
    for one, other in worths.binds:
        both = sorted(_channels(worths, one) & _channels(worths, other))
        for channel in both:
            found = True
            met = worths.reached[one][other] * worths.people[one]
            yield Check(
                code="ROX-V40",
                verdict=Verdict.NOTE,
                values={
                    "one": one,
                    "other": other,
                    "channel": f"channel.{channel}",
                    "customers": float(met.sum(axis=0).mean()),
                    "binds": 100 * worths.binds[one, other],
                },
            )
    if not found:
        yield Check(code="ROX-V40", verdict=Verdict.PASS)


def _channels(worths: Worths, key: str) -> set[str]:
    case = worths.portfolio.cases[key]
    estimated = {channel for effect in worths.priced[key].effects for channel in effect.estimand.channels}
    declared = {benefit.channel for benefit in case.benefits.values()}
    tables = {"referral": case.referral, "cost_to_serve": case.contacts}
    return {*estimated, *declared, *(channel for channel, table in tables.items() if table is not None)}


def _same_names(worths: Worths) -> Iterator[Check]:
    """Name assumptions about the company that cases give differently, and that are drawn apart (ROX-V41)."""
    table = worths.common
    apart = table[(table["drawn"] == APART) & table["place"].map(is_the_companys)]
    for row in apart.to_dict("records"):
        values = {"place": str(row["place"]), "initiatives": str(row["initiatives"])}
        yield Check(code="ROX-V41", verdict=Verdict.NOTE, values=values)
    if apart.empty:
        yield Check(code="ROX-V41", verdict=Verdict.PASS)
