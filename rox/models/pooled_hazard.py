"""A hierarchical hazard of exit: each segment has its own ratio, and they borrow strength from each other."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rox.models.sampling import Sampled, pymc, sample
from rox.numerics.arrays import codes, complain
from rox.numerics.grouped import cells_of

Floats = NDArray[np.float64]

MEAN_SD = 0.5
"""Prior of the mean log ratio per score point: normal around 0."""
BETWEEN_SD = 0.15
"""Half-normal prior of its spread between segments."""
LEVEL_SD = 2.0
"""Normal prior of a segment's log hazard, around that of everybody."""
BAND_SD, PLACE_SD = 0.5, 0.3
"""Half-normal priors of the spread of log hazards between bands of time and between places."""
OTHER_SD = 1.0
"""Normal prior of the coefficients of the controls."""


@dataclass(frozen=True, kw_only=True, eq=False)
class PooledHazard:
    """Posterior of the ratios.

    Attributes:
        segments: Labels, sorted.
        ratio: Shape (draw, segment): log hazard ratio per score point.
        mean: Shape (draw, family): the mean that segments share.
        between: Shape (draw, family): standard deviation between segments; zero for one segment.
        between_places: Shape (draw,): standard deviation of log hazards between places; zero without places.
        sampled: How the sampler did.
    """

    segments: NDArray[np.object_]
    ratio: Floats
    mean: Floats
    between: Floats
    between_places: Floats
    sampled: Sampled


def pooled_hazard(
    score: ArrayLike,
    at_risk: ArrayLike,
    events: ArrayLike,
    segment: ArrayLike,
    *,
    band: ArrayLike | None = None,
    place: ArrayLike | None = None,
    others: ArrayLike | None = None,
    family: ArrayLike | None = None,
    rate: float | None = None,
    draws: int = 1000,
    tune: int = 1000,
    chains: int = 4,
    rng: int | np.random.Generator | None = None,
) -> PooledHazard:
    """Sample a discrete-time proportional hazards model from cells.

    P(exit in a month) = 1 − exp(−exp(level_s + band_t + place_u + ratio_s·(score − mean) + others'γ)), with ratio_s ~
    N(mean, between²), band_t ~ N(0, σ²) and place_u ~ N(0, τ²): the place's is a frailty shared by its customers. One
    of each single customer cannot be told from cells, in which customers are summed; it makes ratios shrink over time.
    Bands and places each add up to zero, so that levels are theirs. Spreads are absolute values of numbers of either
    sign, and nothing is centred on what it varies around, so that the posterior is smooth (Papaspiliopoulos, Roberts &
    Sköld 2007).

    Args:
        score: (c,) reading of the cells.
        at_risk: (c,) months at risk.
        events: (c,) exits.
        segment: (c,) labels.
        band: (c,) labels of time.
        place: (c,) labels of places.
        others: (c, p) further regressors.
        family: (c,) labels of segments that pool among themselves only; by default all pool.
        rate: Monthly hazard around which levels are drawn; by default exits over months.
        draws: Draws kept per chain.
        tune: Tuning steps per chain.
        chains: Chains.
        rng: Seed or generator.

    Raises:
        ValueError: Shapes, more events than people, or a segment in two families.
        FitError: The sampler did not converge.
    """
    x, n, d = cells_of(score, at_risk, events)
    complain([f"events are above at_risk in {int((d > n).sum())} cells"] if (d > n).any() else [])
    code, labels = codes(segment, "segment", n.size)
    families = _families(code, labels.size, family)
    count = int(families.max()) + 1
    middle = float(np.average(x[:, 0], weights=n))
    base = float(np.log(d.sum() / n.sum() if rate is None else rate))
    design = np.empty((n.size, 0)) if others is None else np.asarray(others, dtype=float).reshape(n.size, -1)
    names = ["ratio", "mean"]
    with pymc.Model():
        mean = pymc.Deterministic("mean", MEAN_SD * pymc.Normal("standard_mean", 0, 1, shape=count))
        ratio = mean[families]
        if labels.size > count:
            between = BETWEEN_SD * pymc.Normal("signed_between", 0, 1, shape=count)
            ratio = ratio + between[families] * pymc.Normal("own", 0, 1, shape=labels.size)
            names.append(pymc.Deterministic("between", abs(between)).name)
        ratio = pymc.Deterministic("ratio", ratio)
        level = base + LEVEL_SD * pymc.Normal("standard_level", 0, 1, shape=labels.size)
        predictor = level[code] + ratio[code] * (x[:, 0] - middle)
        if band is not None:
            predictor = predictor + _spread("band", band, n.size, BAND_SD)
        if place is not None:
            predictor = predictor + _spread("place", place, n.size, PLACE_SD)
            names.append("between_place")
        if design.shape[1]:
            predictor = predictor + design @ (OTHER_SD * pymc.Normal("others", 0, 1, shape=design.shape[1]))
        hazard = pymc.math.exp(predictor)
        left = np.flatnonzero(d > 0)
        seen = (d[left] * pymc.math.log(1 - pymc.math.exp(-hazard[left]))).sum()
        pymc.Potential("exits", seen - ((n - d) * hazard).sum())
        sampled = sample(pymc.modelcontext(None), names, draws=draws, tune=tune, chains=chains, rng=rng)
    size = draws * chains
    return PooledHazard(
        segments=labels.astype(object),
        ratio=sampled.draws["ratio"],
        mean=sampled.draws["mean"],
        between=sampled.draws.get("between", np.zeros((size, count))),
        between_places=sampled.draws.get("between_place", np.zeros(size)),
        sampled=sampled,
    )


def _families(code: NDArray[np.int64], segments: int, family: ArrayLike | None) -> NDArray[np.int64]:
    """Return the family of each segment."""
    if family is None:
        return np.zeros(segments, dtype=np.int64)
    number = codes(family, "family", code.size)[0]
    found = np.zeros(segments, dtype=np.int64)
    found[code] = number
    complain(["a segment is in two families"] if (found[code] != number).any() else [])
    return found


def _spread(name: str, label: ArrayLike, size: int, scale: float) -> object:
    """Return what levels of a label add to each cell's log hazard, with a spread of its own."""
    code, levels = codes(label, name, size)
    between = scale * pymc.Normal(f"signed_between_{name}", 0, 1)
    pymc.Deterministic(f"between_{name}", abs(between))
    if levels.size == 1:
        return np.zeros(size)
    return (between * pymc.ZeroSumNormal(f"own_{name}", sigma=1, shape=levels.size))[code]
