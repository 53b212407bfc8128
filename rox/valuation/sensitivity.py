"""Which input moves the answer, by how much, and where it would turn."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.optimize import brentq

from rox.core.effect import Effect
from rox.core.formula import Array, names
from rox.core.ledger import Input, Ledger, label
from rox.core.words import LANGUAGES

TENTH = 0.10
STEP = 0.01
TINY = 1e-9
AROUND = 0.02
"""Share of the draws around a quantile of several members together that stands for it."""
REACH = 10.0


@dataclass(frozen=True)
class Factor:
    """Inputs that move together: one assumption, or all segments of one effect."""

    name: str
    en: str
    zh: str
    unit: str
    members: tuple[Input, ...]


def factors(ledger: Ledger, effects: Sequence[Effect]) -> Iterator[Factor]:
    """Iterate over the factors that lines of a ledger use: each effect as one, each other input but constants alone."""
    used = {name for line in ledger.lines for name in names(line.formula)}
    for effect in effects:
        members = tuple(
            each
            for each in ledger.inputs
            if each.name in used and each.place == effect.name and each.name.startswith("effect_")
        )
        if not members:
            continue
        first = members[0]
        en, zh = (label(first.word, language) for language in LANGUAGES)
        yield Factor(f"effect_{effect.name}", en, zh, first.unit, members)
    for each in ledger.inputs:
        fixed_by_design = each.kind == "constant" or each.name == "hurdle" or each.name.startswith("seen_")
        if each.name in used and not each.name.startswith("effect_") and not fixed_by_design:
            yield Factor(each.name, each.label("en"), each.label("zh"), each.unit, (each,))


def tornado(ledger: Ledger, effects: Sequence[Effect], draws: Mapping[str, Array]) -> pd.DataFrame:
    """Move one factor at a time from its 10% to its 90% value, the others on the point path.

    Returns:
        One row per factor, largest swing first: ``name``, ``en``, ``zh``, ``unit``, ``value``, ``low``, ``high``,
        ``npv_low``, ``npv_high``, ``swing``, ``sensitivity`` (% change of NPV per % change of the factor) and
        ``break_even`` (its value where NPV is zero; NaN if none up to ten times its value). An effect's values are
        means over its segments, each weighing what a unit of effect in it brings to NPV; its ends are joint draws, the
        segments of one draw together.
    """
    to_npv = ledger.leading_to("npv")
    rows = [_row(factor, to_npv, draws) for factor in factors(to_npv, effects)]
    table = pd.DataFrame(rows)
    return table.sort_values("swing", ascending=False, kind="stable").reset_index(drop=True)


def _row(factor: Factor, ledger: Ledger, draws: Mapping[str, Array]) -> dict[str, object]:
    point = ledger.point

    def npv(values: Mapping[str, float | Array]) -> Array:
        return ledger.totals({**point, **values})["npv"]

    def scaled(by: Array) -> Array:
        return npv({each.name: each.value * by for each in factor.members})

    weights = _weights(factor, point, npv)
    ends = {q: _end(factor, weights, draws, q) for q in (TENTH, 1 - TENTH)}
    base, low, high = (float(npv(values)[0]) for values in ({}, ends[TENTH], ends[1 - TENTH]))
    value = float(sum(w * each.value for w, each in zip(weights, factor.members, strict=True)))
    turn = _turning_point(scaled) if value != 0 else float("nan")
    return {
        "name": factor.name,
        "en": factor.en,
        "zh": factor.zh,
        "unit": factor.unit,
        "value": value,
        "low": float(weights @ np.array(list(ends[TENTH].values()))),
        "high": float(weights @ np.array(list(ends[1 - TENTH].values()))),
        "npv_low": low,
        "npv_high": high,
        "swing": abs(high - low),
        "sensitivity": (float(scaled(np.array([1 + STEP]))[0]) - base) / abs(base) / STEP if base else float("nan"),
        "break_even": _within(value * turn, factor.unit),
    }


def _weights(factor: Factor, point: Mapping[str, float], npv: Callable[[Mapping[str, float | Array]], Array]) -> Array:
    """Return what a unit of each member brings to NPV, in shares of all, (member,); equal where none brings any."""
    if len(factor.members) == 1:
        return np.ones(1)
    base = float(npv({})[0])
    widths = [max(abs(each.value), each.spread.high - each.spread.low, TINY) * STEP for each in factor.members]
    moved = [
        float(npv({each.name: point[each.name] + width})[0]) for each, width in zip(factor.members, widths, strict=True)
    ]
    brought = np.abs((np.array(moved) - base) / np.array(widths))
    return np.asarray(brought / brought.sum()) if brought.sum() > 0 else np.full(len(brought), 1 / len(brought))


def _end(factor: Factor, weights: Array, draws: Mapping[str, Array], level: float) -> dict[str, float]:
    """Return where the members stand when the factor is at a quantile: the mean of the joint draws around it."""
    if len(factor.members) == 1:
        return {each.name: float(np.quantile(draws[each.name], level)) for each in factor.members}
    several = np.stack(np.broadcast_arrays(*(draws[each.name] for each in factor.members)))
    order = np.argsort(weights @ several, kind="stable")
    size = max(round(AROUND * len(order)), 1)
    start = int(np.clip(round(level * len(order) - size / 2), 0, len(order) - size))
    near = several[:, order[start : start + size]].mean(axis=1)
    return {each.name: float(value) for each, value in zip(factor.members, near, strict=True)}


def _within(value: float, unit: str) -> float:
    """Return a break-even value, or NaN where it is not a value the input could take."""
    return float("nan") if unit.startswith("share") and not 0 < abs(value) < 1 else value


def _turning_point(npv_at: Callable[[Array], Array]) -> float:
    """Return the factor by which an input must be multiplied for NPV to be zero: the nearest to 1 up to ten."""
    grid = np.unique(np.concatenate([np.linspace(0, 2, 41), np.linspace(2, REACH, 33)]))
    values = np.broadcast_to(npv_at(grid), grid.shape)

    def at(by: float) -> float:
        return float(npv_at(np.array([by]))[0])

    turns = [
        float(brentq(at, a, b, xtol=1e-10))
        for a, b, at_a, at_b in zip(grid[:-1], grid[1:], values[:-1], values[1:], strict=True)
        if np.isfinite(at_a) and np.isfinite(at_b) and (at_a < 0) != (at_b < 0)
    ]
    return min(turns, key=lambda by: abs(by - 1), default=float("nan"))
