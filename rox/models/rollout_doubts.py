"""What would overturn the effect of a roll-out: places that drift apart, and another prior."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rox.core.check import Check, Grade, Verdict
from rox.core.estimand import Estimand
from rox.models.map_prior import Prior, prior_readings
from rox.models.parallel_trends import headline
from rox.models.rollout import Rollout
from rox.models.rollout_att import RolloutATT
from rox.numerics.grouped_pooling import GroupedPool
from rox.numerics.honest_did import breakdown, honest_sets
from rox.numerics.joint import covariance
from rox.numerics.normal_mixture import NormalMixture
from rox.numerics.power_scaling import power_scaling

Floats = NDArray[np.float64]
BLOCKS = (3, 2, 1)
"""Months that are taken together; the longest length that the window is made of."""
FEWEST_BEFORE = 1
KEEPS_B, KEEPS_C = 1.0, 0.5
"""Multiples of the worst drift before the start that an effect must survive."""
BOUNDS = (0.0, 0.5, 1.0, 1.5, 2.0)


def honest_trends(
    data: Rollout, att: RolloutATT, shares: Floats | None = None
) -> tuple[pd.DataFrame, tuple[Check, ...]]:
    """Ask how far places may have drifted apart after the start before the effect could be nothing (ROX-L22).

    Months are taken together by quarters where the window allows, relative to the last quarter before the start: steps
    between single months are mostly noise, and a multiple of noise would swallow any effect. A later step may be up to
    M̄ times the largest step before the start (Rambachan & Roth 2023). Where the lot chose the places nothing but chance
    makes them drift, and the figure is for information. Where somebody chose them, grade B asks for M̄ of 1 and grade C
    for one half.

    Returns:
        One row per M̄ with the 90% set (``low``, ``high``) of the window's effect in the mix of ``shares``, empty where
        fewer than two blocks lie before the start, which ROX-L26 says; and the check.
    """
    first, last = att.window_months
    length = next(each for each in BLOCKS if first % each == 0 and (last + 1) % each == 0)
    event = att.path.labels
    theta, influence, _, _ = headline(att, shares)
    blocks, means = [], []
    for block in range(-(data.history // length), (last + 1) // length):
        inside = (event >= block * length) & (event < (block + 1) * length) & np.isfinite(theta)
        if inside.sum() == length or (block == -1 and inside.any()):
            blocks.append(block)
            means.append(inside / inside.sum())
    before = [block for block in blocks if block < -1]
    usable = blocks == list(range(blocks[0], blocks[-1] + 1)) if blocks else False
    if not usable or len(before) < FEWEST_BEFORE or -1 not in blocks or blocks[-1] != (last + 1) // length - 1:
        short = Check(code="ROX-L26", verdict=Verdict.NOTE, values={"months": data.history})
        if data.assigned != "random":
            short = replace(short, verdict=Verdict.DEMOTE, to_grade=Grade.C)
        return pd.DataFrame(columns=["low", "high"], index=pd.Index([], name="bound")), (short,)
    base = means[blocks.index(-1)]
    contrast = np.array([mean - base for block, mean in zip(blocks, means, strict=True) if block != -1])
    estimate = contrast @ np.where(np.isfinite(theta), theta, 0.0)
    spread = covariance(np.nan_to_num(influence) @ contrast.T)
    weights = np.array([float(block * length >= first) for block in blocks if block >= 0])
    places = int((att.cells.weights[:, -1] > 0).sum())
    question = {"pre": len(before), "weights": weights / weights.sum(), "df": float(max(places - 1, 1))}
    sets = honest_sets(estimate, spread, bounds=BOUNDS, **question)
    survives = breakdown(estimate, spread, kind="relative", **question)
    table = pd.DataFrame({"low": sets.low, "high": sets.high}, index=pd.Index(sets.bounds, name="bound"))
    values = {"m": float(min(survives, 99.0)), "blocks": len(before), "months": length}
    if data.assigned == "random" or survives >= KEEPS_B:
        return table, (Check(code="ROX-L22", verdict=Verdict.PASS, values=values),)
    grade = Grade.C if survives >= KEEPS_C else Grade.D
    return table, (Check(code="ROX-L22", verdict=Verdict.DEMOTE, values=values, to_grade=grade),)


def priors_read(
    att: RolloutATT,
    pooled: GroupedPool,
    shares: Floats,
    estimand: Estimand,
    *,
    prior: Prior | None,
    sceptical_sd: float,
) -> tuple[pd.DataFrame, tuple[Check, ...]]:
    """Read the effect on all customers with a sceptic's, the used and an enthusiast's prior (ROX-B01, B02, B05).

    Returns:
        The table of :func:`rox.models.map_prior.prior_readings`, and the checks: whether data and prior agree, whether
        the sign of the effect depends on the prior, and how far the answer moves when the prior counts for more or less
        (Kallioinen et al. 2024).
    """
    if prior is None:
        normal = NormalMixture.normal(0.0, sceptical_sd)
        prior = Prior(mixture=normal, informative=normal, type="", estimand=estimand)
    raw, se = float(att.estimate @ shares), float(np.sqrt(((att.influence @ shares) ** 2).sum()))
    read = prior_readings(raw, se, prior, sceptical_sd=sceptical_sd)
    scaled = power_scaling(pooled.effects @ shares, pooled.log_prior, pooled.log_likelihood)
    moved = scaled.prior >= scaled.threshold
    values = {"prior": scaled.prior, "data": scaled.likelihood}
    discounted = () if prior.is_default else (Check(code="ROX-B07", verdict=Verdict.NOTE),)
    sensitive = Check(code="ROX-B05", verdict=Verdict.NOTE if moved else Verdict.PASS, values=values)
    return read.table, (*read.checks, *discounted, sensitive)
