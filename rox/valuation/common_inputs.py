"""Draw the inputs of several cases so that what is one quantity has one draw, and what only shares a name has two."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from rox.core.case import Case
from rox.core.effect import Effect
from rox.core.formula import Array
from rox.core.ledger import Input, Ledger
from rox.core.portfolio import Portfolio
from rox.core.spread import Spread
from rox.valuation.draws import joint_draws

OF_THE_COMPANY = frozenset({"balance", "margin", "attrition", "finance", "inflow"})
"""Tables of a case that describe the company, not the initiative: written alike in two cases, they are one quantity."""
OF_THE_INITIATIVE = frozenset({"finance.overrun"})
"""Places in them that do not."""
COMMON, SHARED, APART = "common", "shared", "apart"


@dataclass(frozen=True, kw_only=True, eq=False)
class Priced:
    """A case ready to be run: its ledger down to NPV and cost, and its effects.

    Attributes:
        case: The case.
        ledger: The lines that ``npv`` and ``cost`` rest on.
        effects: The effects of the case.
        groups: Segments of the ledger.
    """

    case: Case
    ledger: Ledger
    effects: Sequence[Effect]
    groups: tuple[str, ...]


def common_draws(
    portfolio: Portfolio, priced: Mapping[str, Priced], size: int, seed: int
) -> tuple[dict[str, dict[str, Array]], pd.DataFrame]:
    """Draw every input of every case.

    Effects have the streams of the whole portfolio: the same posterior draw for the same effect, the same evidence
    discount for effects estimated from the same data. An assumption about the company (:data:`OF_THE_COMPANY`) that
    stands in two cases with the same place, numbers, owner, source and date is one quantity and has one draw. What
    ``[shared]`` names moves together, each with its own range. All else belongs to its initiative and is drawn apart,
    also where two cases call different things by one name, such as the lift or the half-life. A case's correlations
    hold among its own inputs, and among the common ones in the first case that has them.

    Returns:
        Draws by initiative and input, shape (size,) or (1,); and a table of assumptions that stand in several cases
        with a range: ``place``, ``initiatives``, ``drawn``.
    """
    drawn = {key: _drawn(each, size, seed, key) for key, each in priced.items()}
    first: dict[tuple[object, ...], Array] = {}
    for key, each in priced.items():
        for item in _uncertain(each):
            if is_the_companys(item.place):
                drawn[key][item.name] = first.setdefault(_content(item), drawn[key][item.name])
    for shared in portfolio.shared.values():
        held = [(key, item) for key, place in shared.split for item in _uncertain(priced[key]) if item.place == place]
        for key, item in held[1:]:
            leader = drawn[held[0][0]][held[0][1].name]
            drawn[key][item.name] = item.spread.quantile((rankdata(leader, method="ordinal") - 0.5) / size)
    return drawn, _table(portfolio, priced)


def own_seed(seed: int, name: str) -> int:
    """Return a seed for what belongs to one initiative."""
    return int(np.random.SeedSequence([seed, zlib.crc32(name.encode())]).generate_state(1, np.uint64)[0] >> 1)


def sampled(spread: Spread, place: str, size: int, seed: int) -> Array:
    """Draw a number of the portfolio itself, from a stream of its own."""
    if not spread.is_uncertain:
        return np.full(size, spread.likely)
    return spread.sample(size, np.random.default_rng(own_seed(seed, place)))


def _drawn(priced: Priced, size: int, seed: int, key: str) -> dict[str, Array]:
    whole, own = (
        joint_draws(priced.ledger, priced.effects, priced.groups, size, each, priced.case.correlation)
        for each in (seed, own_seed(seed, key))
    )
    return {each.name: (whole if each.kind == "estimate" else own)[each.name] for each in priced.ledger.inputs}


def _uncertain(priced: Priced) -> list[Input]:
    return [each for each in priced.ledger.inputs if each.kind == "assumption" and each.spread.is_uncertain]


def _content(item: Input) -> tuple[object, ...]:
    return item.place, item.spread, item.owner, item.source, item.date


def _table(portfolio: Portfolio, priced: Mapping[str, Priced]) -> pd.DataFrame:
    declared = {written for shared in portfolio.shared.values() for written in shared.places}
    held: dict[str, list[tuple[str, Input]]] = {}
    for key, each in priced.items():
        for item in _uncertain(each):
            held.setdefault(item.place, []).append((key, item))
    rows: list[dict[str, str]] = []
    for place, holders in held.items():
        contents: dict[tuple[object, ...], list[str]] = {}
        for key, item in holders:
            alike = _content(item) if is_the_companys(place) else (key,)
            contents.setdefault(alike, []).append(key)
        if all(f"{key}:{place}" in declared for key, _ in holders):
            contents, how = {(): [key for key, _ in holders]}, SHARED
        else:
            how = COMMON
        found = [(several, how) for several in contents.values() if len(several) > 1]
        found += [([key for key, _ in holders], APART)] if len(contents) > 1 else []
        rows += [{"place": place, "initiatives": ", ".join(several), "drawn": said} for several, said in found]
    return pd.DataFrame(rows, columns=["place", "initiatives", "drawn"])


def is_the_companys(place: str) -> bool:
    """Whether an assumption describes the company, not an initiative."""
    return place.split(".")[0] in OF_THE_COMPANY and place not in OF_THE_INITIATIVE
