"""A hierarchical regression from cells, exactly: every coefficient integrated out, only the scales drawn."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rox.numerics.arrays import codes, complain, freeze, vector
from rox.numerics.scale_posterior import scale_posterior

Floats = NDArray[np.float64]
LOG_2PI = float(np.log(2 * np.pi))
AT_ONCE = 1_000
"""Points evaluated together; bounds memory."""
SMALL_SCALE = 1e-6
"""Least scale, relative to its prior's: below it a level of the model is the same as none."""


@dataclass(frozen=True, kw_only=True, eq=False)
class GroupCoefficients:
    """Posterior of a hierarchical regression. d = draws, g = groups, k = predictors.

    Attributes:
        groups: Labels, sorted.
        coefficients: Shape (d, g, k): of the predictors, by group.
        mean: Shape (d, k): what the groups' coefficients vary around.
        between: Shape (d, k): their standard deviation between groups.
        level: Shape (d, g): the group's mean of stratum intercepts.
        between_levels: Shape (d,): standard deviation of levels between groups.
        between_strata: Shape (d,): standard deviation of intercepts between strata of a group.
        noise: Shape (d,): standard deviation of single outcomes.
        log_likelihood: Shape (d,): of the outcomes given all coefficients.
        ess: Effective number of independent draws.
        largest: Share of the largest importance weight.
        log_evidence: Log marginal likelihood.
    """

    groups: tuple[str, ...]
    coefficients: Floats
    mean: Floats
    between: Floats
    level: Floats
    between_levels: Floats
    between_strata: Floats
    noise: Floats
    log_likelihood: Floats
    ess: float
    largest: float
    log_evidence: float

    def __post_init__(self) -> None:
        names = ("coefficients", "mean", "between", "level", "between_levels", "between_strata", "noise")
        freeze(self, *names, "log_likelihood")


@dataclass(frozen=True, kw_only=True)
class _Sums:
    """Sums over the outcomes around the prior's centre. c = strata of a group.

    Attributes:
        n: Shape (g, c).
        y: Shape (g, c).
        x: Shape (g, c, k).
        xx: Shape (g, k, k).
        xy: Shape (g, k).
        yy: Of squares.
        prior_mean: Shape (k + 1,): level (0 after centring) and coefficients.
        prior_variance: Shape (k + 1,).
    """

    n: Floats
    y: Floats
    x: Floats
    xx: Floats
    xy: Floats
    yy: float
    prior_mean: Floats
    prior_variance: Floats


@dataclass(frozen=True, kw_only=True)
class _Parts:
    """What is left of a point after strata and groups are integrated out; leading axis m, the points.

    Attributes:
        value: Log marginal likelihood, (m,).
        stratum: Precision of an intercept given all else, (m, g, c).
        prior: Precision of groups around the mean, (m, k + 1).
        group: Covariance of a group's level and coefficients given the mean, (m, g, k + 1, k + 1).
        pull: Their linear term without the mean, (m, g, k + 1).
        centre: Mean of the common vector, (m, k + 1).
        common: Its covariance, (m, k + 1, k + 1).
    """

    value: Floats
    stratum: Floats
    prior: Floats
    group: Floats
    pull: Floats
    centre: Floats
    common: Floats


def group_coefficients(
    n: ArrayLike,
    total: ArrayLike,
    squares: ArrayLike,
    group: ArrayLike,
    stratum: ArrayLike,
    x: ArrayLike,
    *,
    level_mean: float,
    level_sd: float,
    mean_sd: ArrayLike,
    between_sd: ArrayLike,
    levels_sd: float,
    strata_sd: float,
    noise_sd: float,
    draws: int = 4000,
    proposals: int = 12_000,
    rng: int | np.random.Generator | None = None,
) -> GroupCoefficients:
    """Draw group-wise coefficients from counts, sums and sums of squares.

    The model is ``y = a_gc + x'b_g + e``, ``e ~ N(0, noise²)``, ``a_gc ~ N(level_g, between_strata²)``,
    ``level_g ~ N(level, between_levels²)``, ``b_gk ~ N(mean_k, between_k²)`` with normal priors of ``level`` and
    ``mean`` and half-normal priors of all scales (Gelman et al. 2013, chapter 15). With ``x`` the columns
    after, treated and both, ``b`` of the last is a hierarchical difference in differences. Cost grows with the number
    of cells, not of outcomes. Given the scales everything is normal: strata, groups and the common mean are
    eliminated in that order and drawn back in the opposite one (Lindley & Smith 1972).

    Args:
        n: Shape (m,): outcomes in a cell.
        total: Shape (m,): their sum.
        squares: Shape (m,): their sum of squares.
        group: Shape (m,), labels.
        stratum: Shape (m,), labels within a group.
        x: Shape (m, k): predictors, the same for all outcomes of a cell.
        level_mean: Centre of the prior of the level.
        level_sd: Its standard deviation.
        mean_sd: Shape (k,): of the priors of the means of coefficients, around zero.
        between_sd: Shape (k,): scales of the priors of their spread between groups.
        levels_sd: Scale of the prior of the spread of levels between groups.
        strata_sd: Scale of the prior of the spread of intercepts between strata.
        noise_sd: Scale of the prior of the noise.
        draws: Draws.
        proposals: Points of the importance step.
        rng: Seed or generator.

    Raises:
        ValueError: Shapes, missing values, empty cells, sums of squares too small for their sums, or scales that are
            not positive.
    """
    k = np.atleast_2d(np.asarray(x, dtype=float).T).shape[0]
    mean, spread = (vector(np.broadcast_to(np.atleast_1d(each), k), "prior", k) for each in (mean_sd, between_sd))
    scales = np.array([strata_sd, levels_sd, *spread, noise_sd], dtype=float)
    complain([f"scales of priors must be positive, got {bad:g}" for bad in (*scales, *mean, level_sd) if not bad > 0])
    sums, groups, count = _sums(n, total, squares, group, stratum, x, level_mean, np.array([level_sd, *mean]) ** 2)
    floor = SMALL_SCALE * scales

    def log_marginal(points: Floats) -> Floats:
        parts = range(0, len(points), AT_ONCE)
        return np.concatenate([_eliminated(sums, count, points[i : i + AT_ONCE] + floor).value for i in parts])

    generator = np.random.default_rng(rng)
    found = scale_posterior(log_marginal, scales, draws=draws, proposals=proposals, rng=generator)
    pieces = [_drawn(sums, count, found.scales[i : i + AT_ONCE] + floor, generator) for i in range(0, draws, AT_ONCE)]
    common, own, fit = (np.concatenate(each) for each in zip(*pieces, strict=True))
    return GroupCoefficients(
        groups=tuple(str(name) for name in groups),
        coefficients=own[:, :, 1:],
        mean=common[:, 1:],
        between=found.scales[:, 2:-1],
        level=own[:, :, 0] + level_mean,
        between_levels=found.scales[:, 1],
        between_strata=found.scales[:, 0],
        noise=found.scales[:, -1],
        log_likelihood=fit,
        ess=found.ess,
        largest=found.largest,
        log_evidence=found.log_evidence,
    )


def _sums(
    n: ArrayLike,
    total: ArrayLike,
    squares: ArrayLike,
    group: ArrayLike,
    stratum: ArrayLike,
    x: ArrayLike,
    level_mean: float,
    prior_variance: Floats,
) -> tuple[_Sums, NDArray[np.str_], float]:
    number = vector(n, "n")
    m = number.size
    y, square = vector(total, "total", m), vector(squares, "squares", m)
    design = np.asarray(x, dtype=float).reshape(m, -1)
    which, groups = codes(group, "group", m)
    inner, strata = codes(stratum, "stratum", m)
    short = square - y**2 / np.maximum(number, 1) < -1e-8 * np.abs(square)
    faults = []
    if not (number > 0).all():
        faults.append(f"{int((number <= 0).sum())} cells have no outcomes; leave them out")
    if short.any():
        faults.append(f"{int(short.sum())} cells have a sum of squares that is too small for their sum")
    if not np.isfinite(design).all():
        faults.append("x must be finite")
    complain(faults)
    gap = y - number * level_mean
    shape = (groups.size, strata.size)
    cell = which * strata.size + inner

    def by_cell(values: Floats) -> Floats:
        summed = np.bincount(cell, weights=values, minlength=shape[0] * shape[1])
        return np.asarray(summed.reshape(shape), dtype=float)

    k = design.shape[1]
    xx, xy = np.zeros((groups.size, k, k)), np.zeros((groups.size, k))
    np.add.at(xx, which, number[:, None, None] * design[:, :, None] * design[:, None, :])
    np.add.at(xy, which, gap[:, None] * design)
    sums = _Sums(
        n=by_cell(number),
        y=by_cell(gap),
        x=np.stack([by_cell(number * design[:, j]) for j in range(k)], axis=-1) if k else np.zeros((*shape, 0)),
        xx=xx,
        xy=xy,
        yy=float((square - 2 * level_mean * y + number * level_mean**2).sum()),
        prior_mean=np.zeros(k + 1),
        prior_variance=prior_variance,
    )
    return sums, groups, float(number.sum())


def _eliminated(sums: _Sums, count: float, scales: Floats) -> _Parts:
    """Integrate strata, then groups, then the common mean out at (m, k + 3) scales."""
    v = scales**2
    strata, noise, prior = 1 / v[:, 0], 1 / v[:, -1], 1 / v[:, 1:-1]
    g, c, k = sums.x.shape
    m = len(v)
    stratum = sums.n * noise[:, None, None] + strata[:, None, None]
    inverse = 1 / stratum
    share = inverse * strata[:, None, None]
    held = np.zeros((m, g, k + 1, k + 1))
    pull = np.zeros((m, g, k + 1))
    # Both follow from integrating an intercept with precision `strata` around the level out of its cell.
    held[..., 0, 0] = ((1 - share).sum(2)) * strata[:, None]
    cross = np.einsum("mgc,gcj->mgj", share, sums.x, optimize=True) * noise[:, None, None]
    held[..., 0, 1:] = cross
    held[..., 1:, 0] = cross
    taken = np.einsum("mgc,gci,gcj->mgij", inverse, sums.x, sums.x, optimize=True)
    held[..., 1:, 1:] = sums.xx * noise[:, None, None, None] - taken * (noise**2)[:, None, None, None]
    pull[..., 0] = np.einsum("mgc,gc->mg", share, sums.y) * noise[:, None]
    moved = np.einsum("mgc,gc,gcj->mgj", inverse, sums.y, sums.x, optimize=True)
    pull[..., 1:] = sums.xy * noise[:, None, None] - moved * (noise**2)[:, None, None]
    diagonal = np.arange(k + 1)
    held[..., diagonal, diagonal] += prior[:, None, :]
    group = np.linalg.inv(held)
    found = np.einsum("mgij,mgj->mgi", group, pull)
    lead = -prior[:, :, None] * group.sum(1) * prior[:, None, :]
    lead[:, diagonal, diagonal] += g * prior + 1 / sums.prior_variance
    common = np.linalg.inv(lead)
    right = prior * found.sum(1) + sums.prior_mean / sums.prior_variance
    centre = np.einsum("mij,mj->mi", common, right)
    value = (
        (count * np.log(noise) - sums.yy * noise - count * LOG_2PI) / 2
        + np.einsum("mgc,gc->m", inverse, sums.y**2) * noise**2 / 2
        + (g * c * np.log(strata) - np.log(stratum).sum((1, 2))) / 2
        + (g * np.log(prior).sum(1) + np.linalg.slogdet(group)[1].sum(1) + (found * pull).sum((1, 2))) / 2
        + (np.linalg.slogdet(common)[1] - np.log(sums.prior_variance).sum() + (centre * right).sum(1)) / 2
        - (sums.prior_mean**2 / sums.prior_variance).sum() / 2
    )
    return _Parts(value=value, stratum=stratum, prior=prior, group=group, pull=pull, centre=centre, common=common)


def _drawn(sums: _Sums, count: float, scales: Floats, rng: np.random.Generator) -> tuple[Floats, Floats, Floats]:
    """Draw the common vector, each group's, and the intercepts; return the first two and the log likelihood."""
    parts = _eliminated(sums, count, scales)
    m, g = parts.pull.shape[:2]
    width = parts.centre.shape[1]
    noise = 1 / scales[:, -1] ** 2
    common = parts.centre + np.einsum("mij,mj->mi", np.linalg.cholesky(parts.common), rng.standard_normal((m, width)))
    linear = parts.pull + (parts.prior * common)[:, None, :]
    own = np.einsum("mgij,mgj->mgi", parts.group, linear) + np.einsum(
        "mgij,mgj->mgi", np.linalg.cholesky(parts.group), rng.standard_normal((m, g, width))
    )
    explained = np.einsum("gcj,mgj->mgc", sums.x, own[:, :, 1:])
    strata = 1 / scales[:, 0] ** 2
    right = (sums.y - explained) * noise[:, None, None] + strata[:, None, None] * own[:, :, :1]
    intercept = right / parts.stratum + rng.standard_normal(right.shape) / np.sqrt(parts.stratum)
    b = own[:, :, 1:]
    squares = (
        sums.yy
        - 2 * np.einsum("mgc,gc->m", intercept, sums.y)
        - 2 * np.einsum("mgj,gj->m", b, sums.xy)
        + np.einsum("mgc,gc->m", intercept**2, sums.n)
        + 2 * np.einsum("mgc,mgc->m", intercept, explained)
        + np.einsum("mgi,gij,mgj->m", b, sums.xx, b)
    )
    fit = (count * (np.log(noise) - LOG_2PI) - squares * noise) / 2
    return common, own, np.asarray(fit)
