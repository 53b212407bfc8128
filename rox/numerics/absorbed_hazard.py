"""Proportional hazards of grouped time with many baseline levels: fitted from cells, with a replicate per bucket.

The information of the baseline levels is diagonal, so they are solved out of every Newton step, and hundreds of levels
cost no more than one. The sums of that step add up over buckets of customers, so a replicate without one bucket is one
step from the estimate and needs no second look at the cells.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rox.numerics.arrays import Floats, Ints, codes, complain, freeze, group_sums
from rox.numerics.grouped import cells_of

STILL = 1e-10
"""Newton's method stops when no coefficient, in standard deviations of its column, moves by more than this."""
ROUNDS = 60
FAR = 20.0
"""A log hazard ratio per standard deviation beyond this has run off to infinity."""
HIGHEST = 3.5
"""Largest log cumulative hazard of an interval."""


@dataclass(frozen=True, kw_only=True)
class AbsorbedHazard:
    """A fit. p = regressors, j = levels, k = buckets; j counts levels without events, whose hazard is 0."""

    coefficient: Floats
    """(p,) log hazard ratios."""
    covariance: Floats
    """(p, p) from the expected information."""
    replicates: Floats
    """(k, p) without one bucket each; without rows when no buckets were given."""
    levels: NDArray[np.object_]
    """(j,) labels, sorted."""
    hazard: Floats
    """(j,) cumulative hazard of one interval of time where all regressors are 0."""
    hazard_replicates: Floats
    """(k, j)."""
    events: Floats
    """(j,)."""
    log_likelihood: float
    """Of the cells, without the constant."""
    rounds: int

    def __post_init__(self) -> None:
        freeze(self, "coefficient", "covariance", "replicates", "hazard", "hazard_replicates", "events")

    @property
    def se(self) -> Floats:
        """(p,) standard errors if exits of different rows are independent given the regressors."""
        return np.asarray(np.sqrt(np.diag(self.covariance)))


@dataclass(frozen=True)
class _Cells:
    """Cells of the levels that have events; regressors centred and scaled."""

    x: Floats
    n: Floats
    d: Floats
    level: Ints
    levels: int


def absorbed_hazard(
    level: ArrayLike,
    design: ArrayLike,
    at_risk: ArrayLike,
    events: ArrayLike,
    *,
    bucket: ArrayLike | None = None,
) -> AbsorbedHazard:
    """Fit log hazard ratios with one free baseline level per stratum and interval.

    The model is P(exit in the interval) = 1 - exp(-exp(level + x'b)), exact when an exit is only known to fall into its
    interval (Prentice & Gloeckler 1978, Biometrics 34); :func:`rox.numerics.grouped_hazard.grouped_hazard` fits it with
    a column per level. A level without events says nothing about b and is left out. Replicates are one Newton step from
    the estimate (Shao & Tu 1995, section 5.2), whose error is of the order of the square of that step.

    Args:
        level: (c,) labels of stratum and interval.
        design: (c, p) regressors, without a constant; p may be 0.
        at_risk: (c,) people at the start of the interval.
        events: (c,) exits among them.
        bucket: (c,) bucket of customers, for the replicates.

    Raises:
        ValueError: shapes, more events than people, no events, regressors that do not vary within levels or are
            collinear there, or coefficients that run off to infinity.

    Example:
        >>> fit = absorbed_hazard([0, 0, 1, 1], [0, 1, 0, 1], [100, 100, 80, 60], [20, 40, 16, 24])
        >>> round(float(fit.coefficient[0]), 3), fit.hazard.round(3)  # log(log(1 - 0.4) / log(1 - 0.2))
        (0.828, array([0.223, 0.223]))
    """
    x, n, d = cells_of(design, at_risk, events)
    code, labels = codes(level, "level", n.size)
    complain(_faults(n, d))
    counts = np.asarray(np.bincount(code, weights=d, minlength=labels.size), dtype=np.float64)
    alive = counts > 0
    inside = alive[code] & (n > 0)
    centre, scale = _scales(x[inside], n[inside])
    number = np.cumsum(alive) - 1
    cells = _Cells((x[inside] - centre) / scale, n[inside], d[inside], number[code[inside]], int(alive.sum()))
    beta, base, rounds = _newton(cells)
    information, cross, own, _, _ = _sums(cells, beta, base, np.zeros(cells.n.size, dtype=np.int64), 1)
    profiled = information[0] - (cross[0] / own[0]) @ cross[0].T
    copies, base_copies = np.empty((0, beta.size)), np.empty((0, base.size))
    if bucket is not None:
        where, buckets = codes(bucket, "bucket", n.size)
        copies, base_copies = _without_each(cells, beta, base, where[inside], buckets.size)
    return AbsorbedHazard(
        coefficient=beta / scale,
        covariance=np.linalg.inv(profiled) / np.outer(scale, scale),
        replicates=copies / scale,
        levels=labels.astype(object),
        hazard=_widened(np.exp(base - centre @ (beta / scale)), alive),
        hazard_replicates=_widened(np.exp(base_copies - (copies / scale) @ centre[:, None]), alive),
        events=counts,
        log_likelihood=_log_likelihood(cells, beta, base),
        rounds=rounds,
    )


def _faults(n: Floats, d: Floats) -> list[str]:
    faults = []
    if (d < 0).any():
        faults.append(f"events are negative in {int((d < 0).sum())} cells")
    if (d > n).any():
        faults.append(f"events are above at_risk in {int((d > n).sum())} cells")
    if not d.sum() > 0:
        faults.append("there are no events; a hazard ratio needs some")
    return faults


def _scales(x: Floats, n: Floats) -> tuple[Floats, Floats]:
    """Return mean and standard deviation of each regressor over people, which keep Newton's steps comparable."""
    centre = np.asarray(np.average(x, axis=0, weights=n))
    scale = np.sqrt(np.average((x - centre) ** 2, axis=0, weights=n))
    if still := np.flatnonzero(scale <= 1e-12 * np.maximum(np.abs(centre), 1)).tolist():
        raise ValueError(f"columns {still} of the design do not vary where there are events; leave them out")
    return centre, np.asarray(scale)


def _newton(cells: _Cells) -> tuple[Floats, Floats, int]:
    """Climb from levels that fit each stratum's own rate; steps that lower the likelihood are halved."""
    p = cells.x.shape[1]
    rate = np.bincount(cells.level, cells.d) / np.bincount(cells.level, cells.n)
    beta, base = np.zeros(p), np.log(-np.log1p(-np.minimum(rate, 0.999)))
    value = _log_likelihood(cells, beta, base)
    for rounds in range(1, ROUNDS + 1):
        step, lift = _step(*(each[0] for each in _sums(cells, beta, base, np.zeros(cells.n.size, dtype=np.int64), 1)))
        share = 1.0
        while (new := _log_likelihood(cells, beta + share * step, base + share * lift)) < value - 1e-9 * abs(value):
            share /= 2
            if share < 1e-8:
                raise ValueError("the likelihood cannot be climbed; drop regressors that hardly vary")
        beta, base, value = beta + share * step, base + share * lift, new
        if np.abs(beta).max(initial=0) > FAR:
            worst = np.argsort(-np.abs(beta))[:3].tolist()
            raise ValueError(f"the coefficients run off to infinity, most of all those of columns {worst}; drop them")
        if np.abs(np.concatenate([step, lift])).max(initial=0) <= STILL:
            return beta, base, rounds
    raise ValueError(f"no maximum was found in {ROUNDS} steps; drop regressors that single out those who left")


def _log_likelihood(cells: _Cells, beta: Floats, base: Floats) -> float:
    hazard = np.exp(np.minimum(base[cells.level] + cells.x @ beta, HIGHEST))
    return float(cells.d @ np.log(-np.expm1(-hazard)) - (cells.n - cells.d) @ hazard)


def _sums(cells: _Cells, beta: Floats, base: Floats, bucket: Ints, buckets: int) -> tuple[Floats, ...]:
    """Return the expected information and the score by bucket.

    Shapes are (k, p, p) of the regressors, (k, p, j) between regressors and levels, (k, j) of the levels, and the
    scores (k, p) and (k, j).
    """
    p, j = cells.x.shape[1], cells.levels
    hazard = np.exp(np.minimum(base[cells.level] + cells.x @ beta, HIGHEST))
    chance = -np.expm1(-hazard)
    gain = hazard * (1 - chance) / chance
    weight = cells.n * hazard * gain
    pull = cells.d * gain - (cells.n - cells.d) * hazard
    place = bucket * j + cells.level
    weighted = cells.x * weight[:, None]
    square = np.empty((buckets, p, p))
    for column in range(p):
        square[:, column] = group_sums(weighted * cells.x[:, [column]], bucket, buckets)
    cross = group_sums(weighted, place, buckets * j).reshape(buckets, j, p).transpose(0, 2, 1)
    return (
        square,
        cross,
        np.asarray(np.bincount(place, weight, buckets * j), dtype=np.float64).reshape(buckets, j),
        group_sums(cells.x * pull[:, None], bucket, buckets),
        np.asarray(np.bincount(place, pull, buckets * j), dtype=np.float64).reshape(buckets, j),
    )


def _step(square: Floats, cross: Floats, own: Floats, score: Floats, own_score: Floats) -> tuple[Floats, Floats]:
    """Solve one Newton step of regressors (p,) and levels (j,); a level that has nothing left stays."""
    seen = own > 1e-12
    inverse = np.where(seen, 1 / np.where(seen, own, 1.0), 0.0)
    if not score.size:
        return score, inverse * own_score
    profiled = square - (cross * inverse) @ cross.T
    size = np.sqrt(np.diag(profiled).clip(0))
    if (size <= 1e-6 * np.sqrt(np.diag(square))).any() or np.linalg.cond(profiled / np.outer(size, size)) > 1e12:
        raise ValueError("regressors do not vary within the levels, or are collinear there; leave some out")
    step = np.asarray(np.linalg.solve(profiled, score - cross @ (inverse * own_score)), dtype=np.float64)
    return step, inverse * (own_score - cross.T @ step)


def _without_each(cells: _Cells, beta: Floats, base: Floats, bucket: Ints, buckets: int) -> tuple[Floats, Floats]:
    """Take one step from the estimate without each bucket; a level whose events are all in it moves a step, too."""
    parts = _sums(cells, beta, base, bucket, buckets)
    whole = [each.sum(axis=0) for each in parts]
    steps = [_step(*(total - part[k] for total, part in zip(whole, parts, strict=True))) for k in range(buckets)]
    return beta + np.stack([step for step, _ in steps]), base + np.stack([lift for _, lift in steps])


def _widened(values: Floats, alive: NDArray[np.bool_]) -> Floats:
    out = np.zeros((*values.shape[:-1], alive.size))
    out[..., alive] = values
    return out
