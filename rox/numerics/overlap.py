"""Compare treated and untreated units where they overlap, by overlap weights."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from rox.numerics.arrays import Floats, complain, freeze, vector
from rox.numerics.glm import grouped_glm

EXTREME = 0.05
"""Propensities nearer than this to 0 or 1 have almost no counterpart."""


@dataclass(frozen=True, kw_only=True)
class Overlap:
    """An effect where both kinds of units are found. u = units."""

    value: float
    se: float
    influence: Floats
    """(u,) influence of each unit, whose sum approximates the estimation error."""
    propensity: Floats
    """(u,) fitted probability of treatment."""
    extreme: float
    """Weighted share of units whose propensity is below 0.05 or above 0.95."""

    def __post_init__(self) -> None:
        freeze(self, "influence", "propensity")


def overlap_effect(
    outcome: ArrayLike, treated: ArrayLike, covariates: ArrayLike, *, weights: ArrayLike | None = None
) -> Overlap:
    """Estimate the effect among units that might as well have been treated as not, given covariates.

    Estimand: mean effect weighted by e(1 − e), e the probability of treatment given the covariates. Assumes that
    nothing else goes with both treatment and outcome. Treated units weigh 1 − e and untreated ones e (Li, Morgan &
    Zaslavsky 2018, JASA 113); with a logistic e by maximum likelihood the weighted means of all covariates agree
    exactly (their theorem 3). The error takes the fitting of e into account.

    Args:
        outcome: (u,) outcomes.
        treated: (u,) 1 if treated, else 0.
        covariates: (u, p) without a constant.
        weights: (u,) units each stands for; default 1.

    Raises:
        ValueError: Shapes, values that are missing, one side empty, or covariates that separate the sides.

    Example:
        >>> found = overlap_effect([3.0, 2.0, 5.0, 4.0], [0, 0, 1, 1], [[0.0], [1.0], [0.0], [1.0]])
        >>> round(found.value, 6)
        2.0
    """
    y = vector(outcome, "outcome")
    d, w = (
        vector(treated, "treated", y.size),
        vector(np.ones(y.size) if weights is None else weights, "weights", y.size),
    )
    x = np.asarray(covariates, dtype=np.float64).reshape(y.size, -1)
    complain(_faults(d, w, x))
    w = w / w.mean()
    design = np.column_stack([np.ones(y.size), x])
    fit = grouped_glm(design, w, w * d, family="logit")
    if not np.isfinite(fit.fitted).all():
        raise ValueError("the covariates separate treated from untreated units; drop some of them")
    e, design = fit.fitted, design[:, fit.identified]
    score = (w * (d - e))[:, None] * design @ np.linalg.inv((design * (w * e * (1 - e))[:, None]).T @ design)
    means, influences = [], []
    for side, tilt, turn in ((d, 1 - e, -1.0), (1 - d, e, 1.0)):
        mass = w * side * tilt
        mean = float(mass @ y / mass.sum())
        slope = design.T @ (turn * w * side * e * (1 - e) * (y - mean))
        means.append(mean)
        influences.append((mass * (y - mean) + score @ slope) / mass.sum())
    influence = influences[0] - influences[1]
    return Overlap(
        value=means[0] - means[1],
        se=float(np.sqrt((influence**2).sum())),
        influence=influence,
        propensity=e,
        extreme=float(w @ ((e < EXTREME) | (e > 1 - EXTREME)) / w.sum()),
    )


def _faults(d: Floats, w: Floats, x: Floats) -> list[str]:
    faults = []
    if not np.isin(d, (0.0, 1.0)).all() or not 0 < d.sum() < d.size:
        faults.append("treated must hold 0 and 1, both of them")
    if not (w > 0).all():
        faults.append("weights must be above 0")
    if not np.isfinite(x).all():
        faults.append("covariates must be finite")
    return faults
