"""Joint draws of every input of a ledger."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence

import numpy as np

from rox.core.effect import Effect
from rox.core.formula import Array
from rox.core.ledger import Input, Ledger
from rox.valuation.fit import column


def joint_draws(
    ledger: Ledger, effects: Sequence[Effect], groups: tuple[str, ...], size: int, seed: int
) -> dict[str, Array]:
    """Draw every input, each from a stream of its own, so that adding one leaves the others as they were.

    All segments of an effect use the same posterior draw, and effects estimated from the same data share one draw of
    the evidence discount: their errors are common, not independent.

    Returns:
        Each input's draws, shape (size,); fixed ones have shape (1,).
    """
    by_name = {effect.name: effect for effect in effects}
    return {each.name: _drawn(each, by_name, groups, size, seed) for each in ledger.inputs}


def _drawn(each: Input, effects: Mapping[str, Effect], groups: tuple[str, ...], size: int, seed: int) -> Array:
    if each.name.startswith("effect_"):
        effect = effects[each.place]
        pick = _stream(seed, f"posterior {effect.fingerprint} {effect.name}").integers(0, len(effect.draws), size)
        return np.asarray(effect.draws[pick, column(effect, each.group)])
    if each.name.startswith("evidence_"):
        effect = effects[each.place]
        layer = effect.bias_layer
        common = _stream(seed, f"evidence {effect.fingerprint or effect.name}").standard_normal(size)
        return np.asarray(layer.mean + layer.sd * common)
    if not each.spread.is_uncertain:
        return np.array([each.value])
    return each.spread.sample(size, _stream(seed, each.name))


def _stream(seed: int, purpose: str) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence([seed, zlib.crc32(purpose.encode())]))
