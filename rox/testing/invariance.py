"""What must not move an effect: the order of rows, names of customers, units of money and weight, the calendar."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

import numpy as np

from rox.core.effect import Effect
from rox.core.linked import Linked
from rox.core.units import MONEY, Unit
from rox.testing.held import Held, heavier, in_hundredths, later, nudged, renumbered, reordered

SAME = 1e-6
"""How closely two fits of the same question must agree, relative to the size of the draws."""
MONTE_CARLO = 5.0
"""Monte Carlo errors by which the means and spreads of two samples of one distribution may differ."""
BUCKETS = 0.35
"""Share by which spreads may differ between two ways of dealing customers into the buckets of a jackknife."""


class Estimator(Protocol):
    """What the chain asks of a model: a frozen dataclass with this method."""

    def fit(self, data: Linked, *, rng: int | np.random.Generator | None = None) -> Effect:
        """Estimate."""
        ...


def is_steady(estimator: Estimator, held: Held, effect: Effect, seed: int) -> bool:
    """Whether the draws stay as they are when money changes in its last digit; those of a Markov chain do not."""
    return same_effect(effect, estimator.fit(nudged(held).linked(), rng=seed))


def invariance(estimator: Estimator, held: Held, effect: Effect, seed: int, *, steady: Callable[[], bool]) -> list[str]:
    """Fit variants of the same data and advise where the answer is another one.

    Args:
        estimator: The model under test.
        held: The data.
        effect: The answer to compare with.
        seed: That of the answer.
        steady: Tells whether draws can be compared one by one, see ``is_steady``; asked only where they differ.
    """
    factor = 100.0 if effect.estimand.unit in MONEY or effect.estimand.unit is Unit.COUNT else 1.0
    variants: Mapping[str, tuple[Callable[[Held], Held], float]] = {
        "the same seed gives other draws; use np.random.default_rng(rng) for every random step": (
            lambda same: same,
            1.0,
        ),
        "the order of the rows matters; sort by customer and month first": (
            lambda rows: reordered(rows, seed),
            1.0,
        ),
        f"money written in hundredths does not multiply the effect by {factor:g}; look for constants in money, or for "
        "logarithms of money plus one": (in_hundredths, factor),
        "weights ten times as large change the effect; use weights relative to their mean": (heavier, 1.0),
        "moving the calendar by four years changes the effect; look for month numbers used as a quantity": (later, 1.0),
    }
    advice = []
    for words, (change, expected) in variants.items():
        again = estimator.fit(change(held).linked(), rng=seed)
        repeated = words.startswith("the same seed")
        if not same_effect(effect, again, expected, exact=(lambda: True) if repeated else steady):
            advice.append(words)
    renamed = estimator.fit(renumbered(held, seed).linked(), rng=seed)
    if not _same_but_for_buckets(effect, renamed, exact=steady):
        advice.append(
            "numbering the customers anew changes the effect; their numbers are names, which may deal them into "
            "buckets but carry no quantity"
        )
    return advice


def same_effect(one: Effect, other: Effect, factor: float = 1.0, *, exact: Callable[[], bool] = lambda: True) -> bool:
    """Compare draws one by one or, where a sampler magnifies rounding, within the Monte Carlo error."""
    if one.groups != other.groups or one.draws.shape != other.draws.shape:
        return False
    mine, theirs = one.draws, other.draws / factor
    spread = mine.std(axis=0)
    size = np.maximum(spread, np.abs(mine).mean(axis=0))
    if (np.abs(theirs - mine) <= SAME * size + 1e-300).all():
        return True
    noise = MONTE_CARLO * np.sqrt(2 / len(mine)) * spread
    means = np.abs(theirs.mean(axis=0) - mine.mean(axis=0)) <= noise
    return bool((means & (np.abs(theirs.std(axis=0) - spread) <= noise)).all()) and not exact()


def _same_but_for_buckets(one: Effect, other: Effect, *, exact: Callable[[], bool]) -> bool:
    """Compare as ``same_effect`` does, or let spreads that rest on random buckets of customers differ a little."""
    if same_effect(one, other, exact=exact):
        return True
    if one.groups != other.groups or one.draws.shape != other.draws.shape:
        return False
    spread, other_spread = one.draws.std(axis=0), other.draws.std(axis=0)
    noise = MONTE_CARLO * np.sqrt(2 / len(one.draws)) * np.maximum(spread, other_spread)
    means = np.abs(one.draws.mean(axis=0) - other.draws.mean(axis=0)) <= noise
    return bool((means & (np.abs(other_spread - spread) <= BUCKETS * spread)).all())
