"""Pool estimates of groups whose clusters share shocks, exactly: every location integrated out, only spreads drawn."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from rox.numerics.arrays import codes, complain, freeze, vector
from rox.numerics.scale_posterior import ScalePosterior, scale_posterior

Floats = NDArray[np.float64]
LOG_2PI = float(np.log(2 * np.pi))


@dataclass(frozen=True, kw_only=True, eq=False)
class GroupedPool:
    """Posterior of pooled group effects. d = draws, s = groups, c = components of the prior.

    Attributes:
        groups: Labels, sorted.
        effects: Shape (d, s).
        mean: Shape (d,): the mean the groups share.
        between_groups: Shape (d,): standard deviation between groups; zero for one group.
        between_clusters: Shape (d,): standard deviation of the shocks of clusters; zero without clusters.
        shrinkage: Shape (s,): weight of the common mean in a group's estimate (Gelman & Pardoe 2006).
        component: Shape (c,): posterior probability of each component of the prior.
        log_likelihood: Shape (d,): of the estimates given effects and shocks' spread.
        log_prior: Shape (d,): of mean and spreads.
        ess: Effective number of independent draws.
        largest: Share of the largest importance weight of the spreads.
        log_evidence: Log marginal likelihood.
    """

    groups: tuple[str, ...]
    effects: Floats
    mean: Floats
    between_groups: Floats
    between_clusters: Floats
    shrinkage: Floats
    component: Floats
    log_likelihood: Floats
    log_prior: Floats
    ess: float
    largest: float
    log_evidence: float

    def __post_init__(self) -> None:
        names = ("effects", "mean", "between_groups", "between_clusters", "shrinkage", "component")
        freeze(self, *names, "log_likelihood", "log_prior")


@dataclass(frozen=True, kw_only=True)
class _Problem:
    """The rotated estimates and the priors; see :func:`independent_form`."""

    z: Floats
    design: Floats
    shock: Floats
    weights: Floats
    means: Floats
    sds: Floats
    along: Floats
    """Shape (s,): predictor times the standard deviation of its slope."""
    has_groups: bool
    has_clusters: bool

    def spreads(self, scales: Floats) -> tuple[Floats, Floats]:
        """Split (m, k) scales into those between groups and those between clusters, each (m,)."""
        none = np.zeros(len(scales))
        between = scales[:, 0] if self.has_groups else none
        shocks = scales[:, -1] if self.has_clusters else none
        return between, shocks


def pool_groups(
    estimate: ArrayLike,
    covariance: ArrayLike,
    group: ArrayLike,
    *,
    cluster: ArrayLike | None = None,
    x: ArrayLike | None = None,
    slope_sd: float = 0.0,
    prior_mean: ArrayLike = 0.0,
    prior_sd: ArrayLike,
    prior_weight: ArrayLike = 1.0,
    group_sd: float,
    cluster_sd: float = 0.0,
    law: str = "halfnormal",
    draws: int = 4000,
    proposals: int = 12_000,
    rng: int | np.random.Generator | None = None,
) -> GroupedPool:
    """Draw group effects from estimates with a known covariance.

    The model is ``estimate_bs ~ N(mu_s + beta_b, V)``, ``mu_s ~ N(mu + slope·x_s, between_groups²)``,
    ``beta_b ~ N(0, between_clusters²)``, ``mu ~ Σ weight_c·N(mean_c, sd_c²)``, ``slope ~ N(0, slope_sd²)`` (Gelman et
    al. 2013, chapter 5; Röver et al. 2021; a mixture is the robust prior of Schmidli et al. 2014). Where effects follow
    something known of the groups, such as how rich they are, pooling without it draws all towards a mean that is wrong
    for the largest. Given the two spreads everything is normal, so
    these alone are drawn by importance (:func:`rox.numerics.scale_posterior.scale_posterior`) and everything else
    exactly, without a chain that could fail to converge.

    Args:
        estimate: Shape (n,).
        covariance: Shape (n, n), or (n,) variances.
        group: Shape (n,), labels.
        cluster: Shape (n,), labels of what shares a shock; none if nothing does.
        x: Shape (n,): what the group's effect may follow, the same for all estimates of a group; mu belongs to x = 0.
        slope_sd: Standard deviation of the prior of the slope along x, around zero.
        prior_mean: Mean of the prior of mu, or shape (c,).
        prior_sd: Its standard deviation, or shape (c,).
        prior_weight: Shape (c,), for a mixture.
        group_sd: Scale of the prior of the spread between groups.
        cluster_sd: Scale of the prior of the spread between clusters.
        law: Of the spreads: ``halfnormal`` or ``halfcauchy``.
        draws: Draws.
        proposals: Points of the importance step.
        rng: Seed or generator.

    Raises:
        ValueError: Shapes, missing values, scales that are not positive, or a covariance that is not positive definite.

    Example:
        >>> found = pool_groups([0.05, 0.02, 0.30], [1e-4, 1e-4, 0.04], list("abc"), prior_sd=0.1, group_sd=0.02, rng=1)
        >>> found.effects.mean(0).round(2)
        array([0.04, 0.03, 0.04])
    """
    problem, groups, scales = _problem(
        estimate, covariance, group, cluster, x, slope_sd, prior_mean, prior_sd, prior_weight, group_sd, cluster_sd
    )
    generator = np.random.default_rng(rng)
    if scales:
        found = scale_posterior(
            lambda each: _marginal(problem, each)[0], scales, law=law, draws=draws, proposals=proposals, rng=generator
        )
    else:
        evidence = float(_marginal(problem, np.zeros((1, 1)))[0][0])
        found = ScalePosterior(scales=np.zeros((draws, 1)), ess=float(draws), largest=1 / draws, log_evidence=evidence)
    log_marginal, chance, root, middle, hessian = _marginal(problem, found.scales)
    del log_marginal
    effects, which = _effects(problem, chance, root, middle, hessian, generator)
    between, shocks = problem.spreads(found.scales)
    mean = _mean_given(problem, effects, between, which, generator)
    return GroupedPool(
        groups=tuple(str(name) for name in groups),
        effects=effects,
        mean=mean,
        between_groups=between,
        between_clusters=shocks,
        shrinkage=shrinkage(problem.design, problem.shock, between, shocks),
        component=np.bincount(which, minlength=problem.weights.size) / draws,
        log_likelihood=_log_likelihood(problem, effects, shocks),
        log_prior=_log_prior(problem, mean, found.scales, np.array(scales), law),
        ess=found.ess,
        largest=found.largest,
        log_evidence=found.log_evidence,
    )


def _problem(
    estimate: ArrayLike,
    covariance: ArrayLike,
    group: ArrayLike,
    cluster: ArrayLike | None,
    x: ArrayLike | None,
    slope_sd: float,
    prior_mean: ArrayLike,
    prior_sd: ArrayLike,
    prior_weight: ArrayLike,
    group_sd: float,
    cluster_sd: float,
) -> tuple[_Problem, NDArray[np.str_], list[float]]:
    y = vector(estimate, "estimate")
    v = np.asarray(covariance, dtype=float)
    v = np.diag(v) if v.ndim == 1 else v
    group_code, groups = codes(group, "group", y.size)
    cluster_code = None if cluster is None else codes(cluster, "cluster", y.size)[0]
    sds = vector(np.atleast_1d(prior_sd), "prior_sd")
    means = vector(np.broadcast_to(np.atleast_1d(prior_mean), sds.shape), "prior_mean", sds.size)
    weights = vector(np.broadcast_to(np.atleast_1d(prior_weight), sds.shape), "prior_weight", sds.size)
    needed = {"prior_sd": sds.min(), "prior_weight": weights.min(), "group_sd": group_sd}
    needed |= {} if cluster is None else {"cluster_sd": cluster_sd}
    needed |= {} if x is None else {"slope_sd": slope_sd}
    complain([f"{name} must be positive, got {value:g}" for name, value in needed.items() if not value > 0])
    z, design, shock = independent_form(y, v, np.eye(groups.size)[group_code], cluster_code)
    along = np.zeros(groups.size)
    if x is not None:
        follows = vector(x, "x", y.size)
        along = slope_sd * np.bincount(group_code, weights=follows) / np.bincount(group_code)
        if np.abs(slope_sd * follows - along[group_code]).max() > 1e-9 * max(np.abs(along).max(), 1e-300):
            raise ValueError("x differs within a group; it must be the same for all estimates of a group")
    problem = _Problem(
        along=along,
        z=z,
        design=design,
        shock=shock,
        weights=weights / weights.sum(),
        means=means,
        sds=sds,
        has_groups=groups.size > 1,
        has_clusters=cluster is not None,
    )
    scales = ([group_sd] if problem.has_groups else []) + ([cluster_sd] if problem.has_clusters else [])
    return problem, groups, scales


def _marginal(problem: _Problem, scales: Floats) -> tuple[Floats, Floats, Floats, Floats, Floats]:
    """Integrate effects out at (m, k) scales.

    With R the root of the prior covariance of the effects and H = I + RAR, where A is their information in the data,
    effects are mean_c + R·(H⁻¹Rb + H^(−1/2)·ε). R stays finite when a spread is zero. The part of the prior covariance
    that is not the spread is decomposed once.

    Returns:
        Log marginal likelihood (m,); probability of each component (m, c); R (m, c, s, s); H⁻¹Rb (m, c, s); and the
        Cholesky root of H (m, c, s, s).
    """
    between, shocks = problem.spreads(scales)
    s = problem.design.shape[1]
    w = 1 / (1 + (shocks[:, None] * problem.shock) ** 2)
    a = np.einsum("is,mi,it->mst", problem.design, w, problem.design, optimize=True)
    gap = problem.z - problem.design.sum(1) * problem.means[:, None]
    b = np.einsum("is,mi,ci->mcs", problem.design, w, gap, optimize=True)
    size, basis = np.linalg.eigh(problem.sds[:, None, None] ** 2 + np.outer(problem.along, problem.along))
    stretch = np.sqrt(np.maximum(size, 0.0) + between[:, None, None] ** 2)
    root = np.einsum("cij,mcj,ckj->mcik", basis, stretch, basis, optimize=True)
    h = np.eye(s) + root @ a[:, None] @ root
    lower = np.linalg.cholesky(h)
    pulled = np.einsum("mcst,mct->mcs", root, b)
    middle = np.linalg.solve(h, pulled[..., None])[..., 0]
    log_det = 2 * np.log(np.diagonal(lower, axis1=2, axis2=3)).sum(2)
    total = (pulled * middle).sum(2) - np.einsum("mi,ci->mc", w, gap**2) - log_det
    each = total / 2 + np.log(w).sum(1)[:, None] / 2 + np.log(problem.weights) - problem.z.size / 2 * LOG_2PI
    value = special.logsumexp(each, axis=1)
    return value, np.exp(each - value[:, None]), root, middle, lower


def _effects(
    problem: _Problem, chance: Floats, root: Floats, middle: Floats, lower: Floats, rng: np.random.Generator
) -> tuple[Floats, NDArray[np.int64]]:
    d, s = len(chance), problem.design.shape[1]
    which = (rng.random((d, 1)) > np.cumsum(chance, axis=1)).sum(1).clip(max=chance.shape[1] - 1)
    rows = np.arange(d)
    noise = np.linalg.solve(np.swapaxes(lower[rows, which], 1, 2), rng.standard_normal((d, s, 1)))[..., 0]
    away = np.einsum("dst,dt->ds", root[rows, which], middle[rows, which] + noise)
    return problem.means[which, None] + away, which.astype(np.int64)


def _mean_given(
    problem: _Problem, effects: Floats, between: Floats, which: NDArray[np.int64], rng: np.random.Generator
) -> Floats:
    """Draw the mean the groups share, given their effects."""
    if not problem.has_groups:
        return effects[:, 0].copy()
    own = np.maximum(between, 1e-12 * max(float(np.abs(effects).max()), 1e-300)) ** 2
    away = effects - problem.means[which, None]
    # Mean and slope given the effects, by the two-by-two normal equations; both around the component's mean.
    a = problem.sds[which] ** -2 + effects.shape[1] / own
    b = problem.along.sum() / own
    d = 1 + (problem.along**2).sum() / own
    right = away.sum(1) / own, away @ problem.along / own
    variance = d / (a * d - b**2)
    centre = variance * (right[0] - b / d * right[1])
    return np.asarray(problem.means[which] + centre + np.sqrt(variance) * rng.standard_normal(len(effects)))


def _log_likelihood(problem: _Problem, effects: Floats, shocks: Floats) -> Floats:
    variance = 1 + (shocks[:, None] * problem.shock) ** 2
    gap = problem.z - effects @ problem.design.T
    return np.asarray(-(gap**2 / variance + np.log(variance) + LOG_2PI).sum(1) / 2)


def _log_prior(problem: _Problem, mean: Floats, scales: Floats, prior_scale: Floats, law: str) -> Floats:
    away = (mean[:, None] - problem.means) / problem.sds
    found = special.logsumexp(np.log(problem.weights) - away**2 / 2 - np.log(problem.sds) - LOG_2PI / 2, axis=1)
    if prior_scale.size:
        t = scales / prior_scale
        found = found + (-(t**2) / 2 if law == "halfnormal" else -np.log1p(t**2)).sum(1)
    return np.asarray(found)


def shrinkage(design: Floats, shock: Floats, between_groups: Floats, between_clusters: Floats) -> Floats:
    """Average error variance / (error variance + between_groups²) over draws, by group; one group borrows nothing."""
    if design.shape[1] == 1:
        return np.zeros(1)
    thin = slice(None, None, max(len(between_groups) // 200, 1))
    w = 1 / (1 + (between_clusters[thin, None] * shock) ** 2)
    information = np.einsum("is,mi,it->mst", design, w, design, optimize=True)
    error = np.diagonal(np.linalg.pinv(information, hermitian=True), axis1=1, axis2=2)
    return np.asarray((error / (error + between_groups[thin, None] ** 2)).mean(0))


def independent_form(
    estimate: Floats, covariance: Floats, design: Floats, cluster: NDArray[np.int64] | None
) -> tuple[Floats, Floats, Floats]:
    """Rotate ``estimate ~ N(design·θ, covariance + ω²BB')`` so that its entries are independent for every ω.

    Entries without any shock carry information on θ only and are reduced to as many rows as θ has.

    Args:
        estimate: Shape (n,).
        covariance: Shape (n, n).
        design: Shape (n, k).
        cluster: Shape (n,), codes, which define B; none for ω = 0.

    Returns:
        ``z`` with shape (m,), its design (m, k) and its shock loadings σ (m,): z ~ N(design·θ, 1 + ω²σ²).

    Raises:
        ValueError: The covariance is not positive definite.
    """
    try:
        root = np.linalg.cholesky(covariance)
    except np.linalg.LinAlgError:
        raise ValueError(
            "covariance is not positive definite: some estimate, or combination of them, has no error"
        ) from None
    z, x = np.linalg.solve(root, estimate), np.linalg.solve(root, design)
    shock = np.zeros(z.size)
    if cluster is not None:
        loads = np.linalg.solve(root, np.eye(int(cluster.max()) + 1)[cluster])
        basis, size, _ = np.linalg.svd(loads, full_matrices=True)
        z, x = basis.T @ z, basis.T @ x
        shock[: size.size] = size
    still = shock <= 1e-9 * max(shock.max(), 1.0)
    if still.sum() <= x.shape[1]:
        return z, x, shock
    rotation, reduced = np.linalg.qr(x[still])
    return (
        np.concatenate([z[~still], rotation.T @ z[still]]),
        np.concatenate([x[~still], reduced]),
        np.concatenate([shock[~still], np.zeros(len(reduced))]),
    )
