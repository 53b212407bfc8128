"""Pool estimates of places and segments with a hierarchical model: segments share a mean, places share a shock."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rox.models.sampling import Sampled, pymc, sample
from rox.numerics.arrays import codes, complain, vector

Floats = NDArray[np.float64]
WELL = 0.1
"""Error of a group's distance from the others, relative to the spread seen, below which the sampler centres it."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Hierarchy:
    """Posterior of the pooled effects.

    Attributes:
        groups: Labels of the groups, sorted.
        effects: Shape (draw, group): the effect of each group.
        mean: Shape (draw,): the mean the groups share.
        between_groups: Shape (draw,): standard deviation of effects between groups; zero for one group.
        between_clusters: Shape (draw,): standard deviation of what clusters have in common; zero without clusters.
        shrinkage: Shape (group,): weight of the common mean in a group's estimate, 0 for its own data alone
            (Gelman & Pardoe 2006).
        sampled: How the sampler did.
    """

    groups: tuple[str, ...]
    effects: Floats
    mean: Floats
    between_groups: Floats
    between_clusters: Floats
    shrinkage: Floats
    sampled: Sampled


def pool_effects(
    estimate: ArrayLike,
    covariance: ArrayLike,
    group: ArrayLike,
    *,
    cluster: ArrayLike | None = None,
    prior_mean: float = 0.0,
    prior_sd: float,
    group_sd: float,
    cluster_sd: float = 0.0,
    heavy_tails: bool = False,
    draws: int = 1000,
    tune: int = 1000,
    chains: int = 4,
    rng: int | np.random.Generator | None = None,
) -> Hierarchy:
    """Sample the posterior of group effects from estimates with a known covariance.

    The model is ``estimate_bs ~ N(mu_s + beta_b, V)``, ``mu_s ~ N(mu, between_groups²)``,
    ``beta_b ~ N(0, between_clusters²)``, ``mu ~ N(prior_mean, prior_sd²)`` (Gelman et al. 2013, chapter 5; Röver et al.
    2021). A place's own shock moves all its segments alike, so it belongs to beta_b and not to the effect: mu_s is as
    uncertain as the number of places allows, however many customers each of them has. It assumes normal estimates and
    exchangeable groups and places.

    beta_b is integrated out exactly. With V = LL' and L⁻¹B = UΣW', where B assigns estimates to places, the entries of
    U'L⁻¹·estimate are independent with variance 1 + between_clusters²·σ², so the sampler sees one number per group and
    three for the priors. Groups are not centred unless their data tell them apart well (Papaspiliopoulos, Roberts &
    Sköld 2007); spreads are absolute values of numbers of either sign, whose density is smooth at zero.

    Args:
        estimate: Shape (n,).
        covariance: Shape (n, n), or (n,) variances.
        group: Shape (n,), labels.
        cluster: Shape (n,), labels of the places; none if estimates share no shock.
        prior_mean: Centre of the prior of mu.
        prior_sd: Standard deviation of the prior of mu.
        group_sd: Scale of the half-normal prior of the spread between groups.
        cluster_sd: Scale of the half-normal prior of the spread between clusters.
        heavy_tails: Half-Cauchy instead of half-normal priors for the spreads.
        draws: Draws kept per chain.
        tune: Tuning steps per chain.
        chains: Chains.
        rng: Seed or generator.

    Raises:
        ValueError: Shapes, missing values, scales that are not positive, or a covariance that is not positive definite.
        FitError: The sampler did not converge.
    """
    y = vector(estimate, "estimate")
    v = np.asarray(covariance, dtype=float)
    v = np.diag(v) if v.ndim == 1 else v
    group_code, groups = codes(group, "group", y.size)
    cluster_code = None if cluster is None else codes(cluster, "cluster", y.size)[0]
    scales = {"prior_sd": prior_sd, "group_sd": group_sd} | ({} if cluster is None else {"cluster_sd": cluster_sd})
    complain([f"{name} must be positive, got {value:g}" for name, value in scales.items() if not value > 0])
    z, design, shock = independent_form(y, v, np.eye(groups.size)[group_code], cluster_code)
    sure = _known_well(z, design, shock, cluster_sd).astype(float)
    law = pymc.Cauchy if heavy_tails else pymc.Normal
    names = ["effects", "mean"]
    with pymc.Model() as model:
        mean = pymc.Deterministic("mean", prior_mean + prior_sd * pymc.Normal("standard_mean", 0, 1))
        effects, variance = mean + np.zeros(groups.size), np.ones(z.size)
        if groups.size > 1:
            between = law("signed_between_groups", 0, 1)
            own = pymc.Normal("own", sure * mean / group_sd, sure * abs(between) + 1 - sure, shape=groups.size)
            effects = sure * group_sd * own + (1 - sure) * (mean + group_sd * between * own)
            names.append(pymc.Deterministic("between_groups", group_sd * abs(between)).name)
        if cluster is not None:
            common = cluster_sd * law("signed_between_clusters", 0, 1)
            variance = variance + (common * shock) ** 2
            names.append(pymc.Deterministic("between_clusters", abs(common)).name)
        pymc.Deterministic("effects", effects)
        pymc.Normal("z", design @ effects, variance**0.5, observed=z)
    sampled = sample(model, names, draws=draws, tune=tune, chains=chains, rng=rng)
    nothing = np.zeros(draws * chains)
    between_groups = sampled.draws.get("between_groups", nothing)
    between_clusters = sampled.draws.get("between_clusters", nothing)
    return Hierarchy(
        groups=tuple(str(name) for name in groups),
        effects=sampled.draws["effects"],
        mean=sampled.draws["mean"],
        between_groups=between_groups,
        between_clusters=between_clusters,
        shrinkage=_shrinkage(design, shock, between_groups, between_clusters),
        sampled=sampled,
    )


def _known_well(z: Floats, design: Floats, shock: Floats, cluster_sd: float) -> NDArray[np.bool_]:
    """Mark groups whose distance from the others has an error far below the spread seen; at least two, or none."""
    precision = 1 / (1 + (cluster_sd / 2 * shock) ** 2)
    error = np.linalg.pinv(design.T @ (design * precision[:, None]), hermitian=True)
    estimate = error @ (design.T @ (precision * z))
    apart = np.eye(len(error)) - 1 / len(error)
    noise = np.diag(apart @ error @ apart)
    spread = max(float(((apart @ estimate) ** 2 - noise).mean()), 0.0)
    sure = noise < WELL**2 * spread
    return np.asarray(sure & (sure.sum() > 1))


def _shrinkage(design: Floats, shock: Floats, between_groups: Floats, between_clusters: Floats) -> Floats:
    """Average error variance / (error variance + between_groups²) over draws, by group; one group borrows nothing."""
    if design.shape[1] == 1:
        return np.zeros(1)
    thin = slice(None, None, max(len(between_groups) // 200, 1))
    weights = []
    for spread, common in zip(between_groups[thin], between_clusters[thin], strict=True):
        information = design.T @ (design / (1 + (common * shock) ** 2)[:, None])
        error = np.diag(np.linalg.pinv(information, hermitian=True))
        weights.append(error / (error + spread**2))
    return np.asarray(np.mean(weights, axis=0))


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
