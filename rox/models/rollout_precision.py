"""How sure the window's effect is: what could be found, placebo deals, a bootstrap over places."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from rox.core.check import Check, Verdict
from rox.models.phrases import p_value
from rox.models.rollout import Rollout
from rox.models.rollout_att import Control, RolloutATT
from rox.numerics.joint import multipliers

Floats = NDArray[np.float64]
FEW_PLACES, TOO_FEW_PLACES = 30, 6
BY_CHANCE = 0.5
"""Share of the estimate that chance alone may add or take before it is said."""
DETECTABLE = float(stats.norm.ppf(0.975) + stats.norm.ppf(0.8))
"""Multiple of the standard error that a two-sided test at 5% finds with 80% probability."""


def precision(
    data: Rollout, att: RolloutATT, shares: Floats, *, control: Control, size: int, rng: np.random.Generator
) -> tuple[pd.DataFrame, tuple[Check, ...]]:
    """Tabulate precision by segment and for all, with a p-value for all that holds for so many places.

    With fewer than 30 places on either side normal tables reject too often. If the order was drawn by lot the p-value
    comes from dealing the starts anew (ROX-L13), otherwise from a multiplier bootstrap over places (ROX-L14). Fewer
    than 6 started places lower the grade (ROX-L08). Where the half-width of the 90% interval is more than half of the
    estimate, chance alone may make it half or one and a half times the truth, which is said (ROX-L20).

    Returns:
        One row per segment and ``all``: ``estimate``, ``se``, ``detectable`` (the effect that is found four times in
        five), ``p_value``; and the checks.
    """
    influence = np.column_stack([att.influence, att.influence @ shares])
    effect, se = np.append(att.estimate, att.estimate @ shares), np.sqrt((influence**2).sum(0))
    table = pd.DataFrame(
        {
            "estimate": effect,
            "se": se,
            "detectable": DETECTABLE * se,
            "p_value": [normal_p_value(value, error) for value, error in zip(effect, se, strict=True)],
        },
        index=pd.Index([*data.groups, "all"], name="group"),
    )
    treated, compared = int((att.members & (data.sizes.sum(1) > 0)).sum()), att.comparisons
    enough = Verdict.PASS if treated >= TOO_FEW_PLACES else Verdict.DEMOTE
    checks = (Check(code="ROX-L08", verdict=enough, values={"treated": treated}), _by_chance(effect[-1], se[-1]))
    if min(treated, compared) >= FEW_PLACES:
        return table, checks
    by_lot = data.assigned == "random"
    if by_lot:
        placebo = permuted_effects(data, att, shares, control=control, size=size, rng=rng)
        p = placebo_p_value(effect[-1], placebo)
    else:
        p = bootstrap_p_value(effect[-1], influence[:, -1], size=size, rng=rng)
    table.iloc[-1, -1] = p
    values: dict[str, str | int | float] = {"treated": treated, "compared": compared, "p": p_value(p)}
    few = Check(code="ROX-L13" if by_lot else "ROX-L14", verdict=Verdict.NOTE, values=values)
    return table, (*checks, few)


def _by_chance(effect: float, se: float) -> Check:
    reach = float(stats.norm.ppf(0.95)) * se
    verdict = Verdict.NOTE if reach > BY_CHANCE * abs(effect) else Verdict.PASS
    return Check(code="ROX-L20", verdict=verdict, values={"effect": 100 * effect, "reach": 100 * reach})


def permuted_effects(
    data: Rollout, att: RolloutATT, shares: Floats, *, control: Control, size: int, rng: np.random.Generator
) -> Floats:
    """Recompute the share-weighted window effect with starts dealt to places at random, as a lottery would have.

    Returns:
        Shape (size,), missing where a deal leaves a segment without customers to compare.
    """
    deals = np.stack([rng.permutation(data.starts) for _ in range(size)])
    weight, outcome = data.sizes, np.nan_to_num(att.outcome[:, :, :-1])
    total, mass = np.zeros((size, len(data.groups))), np.zeros((size, len(data.groups)))
    first, last = att.window_months
    with np.errstate(invalid="ignore", divide="ignore"):
        for start in att.cohorts:
            at = int(start - data.months[0])
            treated = (deals == start).astype(float)
            held = treated @ weight
            effect = np.zeros_like(total)
            for month in range(at + first, at + last + 1):
                change = weight * (outcome[:, month] - outcome[:, at - 1])
                free = (np.isinf(deals) if control == "never_treated" else deals > data.months[month]).astype(float)
                effect += (treated @ change) / held - (free @ change) / (free @ weight)
            total += np.where(held > 0, held * effect / (last - first + 1), 0.0)
            mass += held
        return np.asarray((total / mass) @ shares)


def placebo_p_value(estimate: float, placebo: Floats) -> float:
    """Return the two-sided p-value of an estimate among placebo estimates (Phipson & Smyth 2010)."""
    usable = placebo[np.isfinite(placebo)]
    return float((1 + (np.abs(usable) >= abs(estimate) * (1 - 1e-12)).sum()) / (1 + usable.size))


def bootstrap_p_value(estimate: float, influence: Floats, *, size: int, rng: np.random.Generator) -> float:
    """Return the two-sided p-value of a studentised multiplier bootstrap with Webb's six points over places.

    Args:
        estimate: The estimate.
        influence: Shape (u,).
        size: Bootstrap draws.
        rng: Generator.
    """
    pushed = multipliers(size, influence.size, rng=rng) * influence
    t = np.abs(pushed.sum(1)) / np.sqrt((pushed**2).sum(1))
    observed = abs(estimate) / np.sqrt((influence**2).sum())
    return float((1 + (t >= observed * (1 - 1e-12)).sum()) / (1 + size))


def normal_p_value(estimate: float, se: float) -> float:
    """Return the two-sided p-value under a normal distribution, missing without a standard error."""
    return float("nan") if not se > 0 else float(2 * stats.norm.sf(abs(estimate) / se))
