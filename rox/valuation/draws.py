"""Joint draws of every input of a ledger."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence

import numpy as np
from scipy.special import ndtr, ndtri

from rox.core.case_parts import Correlation, normal_correlations
from rox.core.effect import Effect
from rox.core.formula import Array
from rox.core.ledger import Input, Ledger
from rox.valuation.fit import column

TINY = 1e-16
"""Least probability level that is turned into a normal score."""


def joint_draws(
    ledger: Ledger,
    effects: Sequence[Effect],
    groups: tuple[str, ...],
    size: int,
    seed: int,
    correlations: Sequence[Correlation] = (),
) -> dict[str, Array]:
    """Draw every input, each from a stream of its own, so that adding one leaves the others as they were.

    All segments of an effect use the same posterior draw, and effects estimated from the same data share one draw of
    the evidence discount: their errors are common, not independent. Correlated assumptions are joined by a Gaussian
    copula, which leaves the distribution of each as it was, and all draws of those that no correlation names.

    Returns:
        Each input's draws, shape (size,); fixed ones have shape (1,).

    References:
        Iman & Conover (1982), on rank correlation among inputs; Nelsen (2006), *An Introduction to Copulas*.
    """
    by_name = {effect.name: effect for effect in effects}
    joined = _joined_levels(ledger, correlations, size, seed)
    return {
        each.name: each.spread.quantile(joined[each.name])
        if each.name in joined
        else _drawn(each, by_name, groups, size, seed)
        for each in ledger.inputs
    }


def _joined_levels(ledger: Ledger, correlations: Sequence[Correlation], size: int, seed: int) -> dict[str, Array]:
    """Return the probability levels of correlated assumptions, each shape (size,), by the name of the input.

    The first of every linked set, in the order of their places, keeps the levels it would have alone.
    """
    named = {place for each in correlations for place in each.between}
    inputs = {each.place: each.name for each in ledger.inputs if each.kind == "assumption" and each.place in named}
    places = sorted(inputs)
    if not places:
        return {}
    mixing = np.linalg.cholesky(normal_correlations(correlations, places))
    levels = {place: _stream(seed, inputs[place]).random(size) for place in places}
    scores = {place: ndtri(np.clip(level, TINY, 1 - TINY)) for place, level in levels.items()}
    found = {}
    for row, place in enumerate(places):
        parts = [(mixing[row, column], other) for column, other in enumerate(places[:row]) if mixing[row, column] != 0]
        if parts:
            mixed = mixing[row, row] * scores[place] + sum(weight * scores[other] for weight, other in parts)
            found[inputs[place]] = np.asarray(ndtr(mixed))
        else:
            found[inputs[place]] = levels[place]
    return found


def _drawn(each: Input, effects: Mapping[str, Effect], groups: tuple[str, ...], size: int, seed: int) -> Array:
    if each.name.startswith("effect_"):
        effect = effects[each.place]
        pick = _stream(seed, f"posterior {effect.fingerprint} {effect.name}").integers(0, len(effect.draws), size)
        return np.asarray(effect.draws[pick, column(effect, each.group)])
    if each.name.startswith("evidence_"):
        effect = effects[each.place]
        layer = effect.bias_layer
        common = _stream(seed, f"evidence {effect.fingerprint or effect.name}").standard_normal(size)
        if np.isfinite(each.spread.floor):
            return each.spread.quantile(ndtr(common))
        return np.asarray(layer.mean + layer.sd * common)
    if not each.spread.is_uncertain:
        return np.array([each.value])
    return each.spread.sample(size, _stream(seed, each.name))


def _stream(seed: int, purpose: str) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence([seed, zlib.crc32(purpose.encode())]))
