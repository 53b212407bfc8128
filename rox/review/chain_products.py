"""What a path of the chain would bring if every arrow were a cause, beside what was measured directly."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rox.core.chain import Arrow, Product, Reading
from rox.core.chain_outline import ChainOutline
from rox.core.check import Check, Verdict
from rox.core.effect import Effect
from rox.core.study import Study
from rox.core.units import Dose, Unit
from rox.models.driver_chain import driver_chain
from rox.review.chain_associations import Level
from rox.review.chain_effects import BY_ROLLOUT, NORMAL_90, RETENTION, is_of, reading

Floats = NDArray[np.float64]
Ends = tuple[str, str]
QUANTILES = (0.05, 0.5, 0.95)
DRAWS = 4_000


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
        headroom: Most by which the mean score can rise; None for no limit. What an initiative did is measured, not cut.
    """

    outline: ChainOutline
    study: Study
    arrows: Mapping[Ends, Arrow]
    slopes: Mapping[Ends, pd.Series]
    levels: Mapping[str, Level]
    effects: Mapping[str, Effect]
    headroom: float | None

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
            if effect is not None:
                yield _product(links, (name, score, target), arrow.shown, effect, rng)


def _per_point(arrow: Arrow, effects: Mapping[str, Effect], is_initiative: bool) -> Effect | None:
    """Return the first of an arrow's effects that says what a lasting change of the score does to money."""
    for told in [] if arrow.shown is None else [arrow.shown, *arrow.others]:
        effect = _named(effects, told.name)
        if effect is None or effect.estimand.is_descriptive or (is_initiative and effect.name == BY_ROLLOUT):
            continue
        asked = effect.estimand
        is_whole = asked.channels != RETENTION and asked.question != "pulse"
        if asked.dose is Dose.SCORE_POINT and asked.unit is Unit.MONEY_PER_CUSTOMER and is_whole:
            return effect
    return None


def _named(effects: Mapping[str, Effect], name: str) -> Effect | None:
    return next((effect for effect in effects.values() if effect.name == name), None)


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
    made = driver_chain(slopes, effect, {name: move}, headroom=room, rng=rng)
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
    move = links.outline.boxes[name].move
    if first.per not in ("event", "topic") or name not in links.levels:
        return move, []
    most = -links.levels[name][0]
    if move >= most:
        return move, []
    return most, [Check(code="ROX-D26", verdict=Verdict.NOTE, values={"asked": move, "most": most})]


def _beside(product: Product, made: Effect, links: Links, ends: Ends, rng: np.random.Generator) -> Product:
    """Put the effect that was measured directly beside a product, both in the unit of the direct one."""
    arrow = links.arrows.get(ends)
    told = None if arrow is None else arrow.shown
    effect = None if told is None else _named(links.effects, told.name)
    name = str(links.outline.boxes[ends[0]].initiative)
    if told is None or effect is None or not is_of(effect, name, links.study):
        return product
    drawn = _alike(made, effect)
    if drawn is None:
        return replace(product, direct=told)
    low, _, high = (float(each) for each in np.quantile(drawn, QUANTILES))
    product = replace(product, direct=told, compared=(float(drawn.mean()), low, high))
    if told.is_open:
        return replace(product, agreement="open")
    direct = effect.overall
    pairs = drawn[rng.integers(0, len(drawn), DRAWS)] / direct[rng.integers(0, len(direct), DRAWS)]
    bottom, middle, top = (float(each) for each in np.quantile(pairs, QUANTILES))
    agrees = bottom <= 1 <= top
    return replace(product, ratio=(middle, bottom, top), agreement="agree" if agrees else "apart")


def _alike(made: Effect, direct: Effect) -> Floats | None:
    """Return draws of a product in the unit of the direct effect: money, or shares of what each group holds."""
    if direct.estimand.unit is Unit.MONEY_PER_CUSTOMER:
        return made.overall
    held = made.baseline["money"].to_numpy(dtype=float)
    if direct.estimand.unit is not Unit.RATIO or not (held > 0).all():
        return None
    return np.asarray((made.draws / held) @ made.shares)


def _through_leaving(links: Links) -> Iterator[Product]:
    """Take over what was computed for customers who stay: score, leaving, money."""
    score = links.score
    for leaving in links.outline.of_kind(links.study, "leaving"):
        for target in links.outline.of_kind(links.study, "stock", "flow"):
            ends = ((score, leaving), (leaving, target))
            if any(links.arrows.get(each) is None or links.arrows[each].shown is None for each in ends):
                continue
            for effect in links.effects.values():
                asked = effect.estimand
                if asked.outcome != links.outline.boxes[target].outcome or asked.channels != RETENTION:
                    continue
                if asked.dose is Dose.SCORE_POINT and asked.unit is Unit.MONEY_PER_CUSTOMER:
                    told = reading(effect)
                    yield Product(
                        path=(score, leaving, target),
                        move=1.0,
                        per=told.per,
                        value=told.value,
                        low=told.low,
                        high=told.high,
                        currency=told.currency,
                        months=asked.horizon,
                        grade=effect.grade,
                        checks=effect.checks,
                        through=effect.name,
                    )
