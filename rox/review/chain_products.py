"""What a path of the chain would bring if every arrow were a cause, beside what was measured directly."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rox.core.chain import Arrow, Product, Reading
from rox.core.chain_outline import ChainOutline
from rox.core.check import Check, Grade, Verdict
from rox.core.effect import Effect
from rox.core.estimand import Estimand
from rox.core.study import Study
from rox.core.units import Dose, Unit
from rox.models.driver_chain import driver_chain
from rox.review.chain_associations import Level
from rox.review.chain_effects import BY_ROLLOUT, NORMAL_90, RETENTION, gain, is_of, reading, weight

Floats = NDArray[np.float64]
Ends = tuple[str, str]
QUANTILES = (0.05, 0.5, 0.95)
DRAWS = 4_000
NEAR = 1
"""Months that may lie between two readings that are held against each other."""
BEST = Grade.D


@dataclass(frozen=True, kw_only=True, eq=False)
class Links:
    """What paths are made of.

    Attributes:
        outline: The description.
        study: The study.
        arrows: Arrows by their ends.
        slopes: Draws of score points per unit of what a path begins with, by ends.
        levels: How the boxes at the beginnings stand.
        effects: Saved effects.
        headroom: Most by which the mean score can improve; None for no limit. What an initiative did is measured, not
            cut.
        fingerprints: Of the tables as they are linked now; empty if that is not asked.
    """

    outline: ChainOutline
    study: Study
    arrows: Mapping[Ends, Arrow]
    slopes: Mapping[Ends, pd.Series]
    levels: Mapping[str, Level]
    effects: Mapping[str, Effect]
    headroom: float | None
    fingerprints: frozenset[str] = frozenset()

    @property
    def score(self) -> str:
        """Box of the question through which experience is read."""
        asked = self.outline.about.score
        return next(name for name, box in self.outline.boxes.items() if box.question == asked)


def products(links: Links, rng: np.random.Generator) -> tuple[Product, ...]:
    """Multiply along every path from what can be moved, through the score, to money.

    The last arrow is an effect per score point on money per customer. One that was itself made by dividing a roll-out's
    effects is left out where the path begins with an initiative: product and direct effect would agree by construction.

    Args:
        links: Arrows and what they are made of.
        rng: Generator of the pairing of draws.
    """
    return tuple([*_through_score(links, rng), *_through_leaving(links)])


def _through_score(links: Links, rng: np.random.Generator) -> Iterator[Product]:
    score, outline = links.score, links.outline
    for name in outline.of_kind(links.study, "initiative", "event", "topic", "rating"):
        arrow = links.arrows.get((name, score))
        if arrow is None or arrow.shown is None or outline.boxes[name].is_money:
            continue
        is_initiative = outline.boxes[name].kind(links.study) == "initiative"
        for target in outline.of_kind(links.study, "stock", "flow"):
            last = links.arrows.get((score, target))
            effect = None if last is None else _per_point(last, links.effects, is_initiative)
            if effect is None:
                continue
            first = arrow.shown
            if is_initiative and first.unit == "points" and not first.key:
                asked = links.outline.boxes
                found = gain(
                    links.effects,
                    str(asked[name].initiative),
                    links.study,
                    str(asked[target].outcome),
                    links.fingerprints,
                )
                first = found or first
            yield _product(links, (name, score, target), first, effect, rng)


def _per_point(arrow: Arrow, effects: Mapping[str, Effect], is_initiative: bool) -> Effect | None:
    """Return the first of an arrow's effects that says what a lasting change of the score does to money."""
    for told in [] if arrow.shown is None else [arrow.shown, *arrow.others]:
        effect = effects.get(told.key)
        if effect is None or not _is_lasting(effect.estimand) or (is_initiative and effect.name == BY_ROLLOUT):
            continue
        if effect.estimand.channels != RETENTION:
            return effect
    return None


def _is_lasting(asked: Estimand) -> bool:
    """Tell whether an effect says what a lasting change of the score by one point does to money per customer."""
    is_money = asked.dose is Dose.SCORE_POINT and asked.unit is Unit.MONEY_PER_CUSTOMER
    return is_money and not asked.is_descriptive and asked.question != "pulse"


def _product(
    links: Links, path: tuple[str, str, str], first: Reading, effect: Effect, rng: np.random.Generator
) -> Product:
    name = path[0]
    move, checks = _move(links, name, first)
    if first.per == str(Dose.INITIATIVE):
        error = (first.high - first.low) / (2 * NORMAL_90)
        slopes = pd.DataFrame({name: rng.normal(first.value, error, DRAWS)})
        room = None
    else:
        slopes, room = links.slopes[path[0], path[1]].to_frame(name), links.headroom
    made = driver_chain(slopes, effect, {name: move}, headroom=room, higher_is_better=_is_up(links), rng=rng)
    low, _, high = np.quantile(made.overall, QUANTILES)
    own = made.checks[len(effect.checks) :]
    product = Product(
        path=path,
        move=move,
        per=first.per,
        value=float(made.overall.mean()),
        low=float(low),
        high=float(high),
        currency=effect.estimand.currency,
        months=effect.estimand.horizon,
        grade=made.grade if first.grade is None else max(made.grade, first.grade),
        checks=(*own, *checks),
        through=effect.name,
    )
    if first.per != str(Dose.INITIATIVE):
        return product
    return _beside(product, made, links, (name, path[-1]), rng)


def _move(links: Links, name: str, first: Reading) -> tuple[float, list[Check]]:
    """Return by how much a box moves; what customers have on average can only be taken away once."""
    box = links.outline.boxes[name]
    move = box.move
    if first.per not in ("event", "topic", "rating") or name not in links.levels:
        return move, []
    mean, most = links.levels[name][0], -links.levels[name][0]
    if box.question is not None:
        scale = links.study.drivers[box.question]
        most = (scale.high if move > 0 else scale.low) - mean
    is_inside = move <= most if box.question is not None and move > 0 else move >= most
    if is_inside:
        return move, []
    return most, [Check(code="ROX-D26", verdict=Verdict.NOTE, values={"asked": move, "most": most})]


def _beside(product: Product, made: Effect, links: Links, ends: Ends, rng: np.random.Generator) -> Product:
    """Put the effect that was measured directly beside a product, both in the unit of the direct one."""
    arrow = links.arrows.get(ends)
    told = None if arrow is None else arrow.shown
    effect = None if told is None else links.effects.get(told.key)
    name = str(links.outline.boxes[ends[0]].initiative)
    if told is None or effect is None or not is_of(effect, name, links.study):
        return product
    drawn = _alike(made, effect)
    if drawn is None:
        return replace(product, direct=told)
    low, _, high = (float(each) for each in np.quantile(drawn, QUANTILES))
    product = replace(product, direct=told, compared=(float(drawn.mean()), low, high))
    first, last = made.estimand.window or (made.estimand.horizon, made.estimand.horizon)
    if last < told.lag[0] - NEAR or first > told.lag[1] + NEAR:
        return replace(product, agreement="time", through_lag=(first, last))
    if told.is_open or not (low > 0 or high < 0):
        return replace(product, agreement="open")
    direct = effect.overall
    pairs = drawn[rng.integers(0, len(drawn), DRAWS)] / direct[rng.integers(0, len(direct), DRAWS)]
    bottom, middle, top = (float(each) for each in np.quantile(pairs, QUANTILES))
    agrees = bottom <= 1 <= top
    pairing = Check(code="ROX-D29", verdict=Verdict.NOTE)
    return replace(
        product,
        ratio=(middle, bottom, top),
        agreement="agree" if agrees else "apart",
        checks=(*product.checks, pairing),
    )


def _is_up(links: Links) -> bool:
    return links.study.scores[links.outline.about.score].higher_is_better


def _alike(made: Effect, direct: Effect) -> Floats | None:
    """Return draws of a product in the unit of the direct effect: money, or shares of what each group holds."""
    if direct.estimand.unit is Unit.MONEY_PER_CUSTOMER:
        return made.overall
    held = made.baseline["money"].to_numpy(dtype=float)
    if direct.estimand.unit is not Unit.RATIO or not (held > 0).all():
        return None
    return np.asarray((made.draws / held) @ made.shares)


def _through_leaving(links: Links) -> Iterator[Product]:
    """Take over what was computed for customers who are kept: score, leaving, money; nothing is multiplied."""
    score = links.score
    for leaving in links.outline.of_kind(links.study, "leaving"):
        for target in links.outline.of_kind(links.study, "stock", "flow"):
            ends = (links.arrows.get((score, leaving)), links.arrows.get((leaving, target)))
            shown = [arrow.shown for arrow in ends if arrow is not None and arrow.shown is not None]
            key = _kept(links, str(links.outline.boxes[target].outcome))
            if len(shown) < len(ends) or key is None:
                continue
            told, asked = reading(links.effects[key], links.fingerprints, key=key), links.effects[key].estimand
            grades = [each.grade for each in (*shown, told) if each.grade is not None]
            yield Product(
                path=(score, leaving, target),
                move=1.0,
                per=told.per,
                value=told.value,
                low=told.low,
                high=told.high,
                currency=told.currency,
                months=asked.horizon,
                grade=max(BEST, *grades),
                checks=(*told.checks, Check(code="ROX-D28", verdict=Verdict.NOTE)),
                through=told.name,
                is_kept=True,
            )


def _kept(links: Links, outcome: str) -> str | None:
    """Return the effect that weighs most of those on money through customers who are kept, by its file."""
    least = links.study.about.min_cell
    found = [
        (*weight(effect), key)
        for key, effect in links.effects.items()
        if effect.estimand.outcome == outcome
        and effect.estimand.channels == RETENTION
        and _is_lasting(effect.estimand)
        and effect.counts.get("customers", least) >= least
    ]
    return min(found)[-1] if found else None
