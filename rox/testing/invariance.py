"""What must not move an effect: the order of rows, names of customers, units of money and weight, the calendar."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Protocol

import numpy as np
import pandas as pd

from rox.core.effect import Effect
from rox.core.linked import Linked
from rox.core.units import MONEY, Unit

SAME = 1e-6
"""How closely two fits of the same question must agree, relative to the size of the draws."""
NUDGE = 1e-12
"""Relative change of money without meaning; a model whose draws it changes is compared by means and spreads."""
MONTE_CARLO = 5.0
"""Monte Carlo errors by which the means and spreads of two samples of one distribution may differ."""
BUCKETS = 0.35
"""Share by which spreads may differ between two ways of dealing customers into the buckets of a jackknife."""


class Estimator(Protocol):
    """What the chain asks of a model: a frozen dataclass with this method."""

    def fit(self, data: Linked, *, rng: int | np.random.Generator | None = None) -> Effect:
        """Estimate."""
        ...


def holding(data: Linked, frame: pd.DataFrame) -> Linked:
    """Put a frame in the place of a linked panel's rows."""
    return dataclasses.replace(data, panel=frame, fetch=lambda rows: rows)


def is_steady(estimator: Estimator, data: Linked, frame: pd.DataFrame, effect: Effect, seed: int) -> bool:
    """Whether the draws stay as they are when money changes in its last digit; those of a Markov chain do not."""
    nudged = estimator.fit(holding(data, frame.assign(outcome=frame["outcome"] * (1 + NUDGE))), rng=seed)
    return same_effect(effect, nudged)


def invariance(
    estimator: Estimator, data: Linked, frame: pd.DataFrame, effect: Effect, seed: int, *, steady: bool
) -> list[str]:
    """Fit variants of the same data and advise where the answer is another one.

    Args:
        estimator: The model under test.
        data: Where the rows came from.
        frame: The rows.
        effect: The answer to compare with.
        seed: That of the answer.
        steady: Whether draws can be compared one by one: see ``is_steady``.
    """
    factor = 100.0 if effect.estimand.unit in MONEY or effect.estimand.unit is Unit.COUNT else 1.0
    variants: Mapping[str, tuple[Callable[[pd.DataFrame], pd.DataFrame], float]] = {
        "the same seed gives other draws; use np.random.default_rng(rng) for every random step": (
            lambda rows: rows,
            1.0,
        ),
        "the order of the rows matters; sort by customer and month first": (
            lambda rows: rows.sample(frac=1, random_state=seed),
            1.0,
        ),
        f"money written in hundredths does not multiply the effect by {factor:g}; look for constants in money, or for "
        "logarithms of money plus one": (lambda rows: rows.assign(outcome=rows["outcome"] * 100), factor),
        "weights ten times as large change the effect; use weights relative to their mean": (
            lambda rows: rows.assign(weight=rows["weight"] * 10),
            1.0,
        ),
        "moving the calendar by a year changes the effect; look for month numbers used as a quantity": (
            _a_year_later,
            1.0,
        ),
    }
    advice = []
    for words, (change, expected) in variants.items():
        later = change is _a_year_later
        starts = data.starts.assign(start=data.starts["start"] + 12) if later else data.starts
        again = estimator.fit(dataclasses.replace(holding(data, change(frame)), starts=starts), rng=seed)
        if not same_effect(effect, again, expected, exact=steady or words.startswith("the same seed")):
            advice.append(words)
    renamed = estimator.fit(holding(data, _other_numbers(frame, seed)), rng=seed)
    if not _same_but_for_buckets(effect, renamed, exact=steady):
        advice.append(
            "numbering the customers anew changes the effect; their numbers are names, which may deal them into "
            "buckets but carry no quantity"
        )
    return advice


def same_effect(one: Effect, other: Effect, factor: float = 1.0, *, exact: bool = True) -> bool:
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
    return not exact and bool((means & (np.abs(theirs.std(axis=0) - spread) <= noise)).all())


def _same_but_for_buckets(one: Effect, other: Effect, *, exact: bool) -> bool:
    """Compare as ``same_effect`` does, or let spreads that rest on random buckets of customers differ a little."""
    if same_effect(one, other, exact=exact):
        return True
    if one.groups != other.groups or one.draws.shape != other.draws.shape:
        return False
    spread, other_spread = one.draws.std(axis=0), other.draws.std(axis=0)
    noise = MONTE_CARLO * np.sqrt(2 / len(one.draws)) * np.maximum(spread, other_spread)
    means = np.abs(one.draws.mean(axis=0) - other.draws.mean(axis=0)) <= noise
    return bool((means & (np.abs(other_spread - spread) <= BUCKETS * spread)).all())


def _a_year_later(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.assign(**{name: rows[name] + 12 for name in ("month", "opened", "exit_month")})


def _other_numbers(rows: pd.DataFrame, seed: int) -> pd.DataFrame:
    old = np.sort(rows["customer"].unique())
    new = np.random.default_rng(seed).permutation(old)
    renamed = rows.assign(customer=new[np.searchsorted(old, rows["customer"])])
    return renamed.sort_values(["customer", "month"], kind="stable", ignore_index=True)
