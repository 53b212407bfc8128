"""The hierarchical model of places and segments, sampled; a model without closed form starts here."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rox.models.sampling import Sampled, pymc, sample
from rox.numerics.arrays import codes, complain, vector
from rox.numerics.grouped_pooling import independent_form, shrinkage

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


def sample_groups(
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
    """Sample the posterior of :func:`rox.numerics.grouped_pooling.pool_groups` with NUTS, which takes far longer.

    Two ways to one posterior are a test of both, and a researcher who needs another law of effects starts from this.
    beta_b is integrated out. With V = LL' and L⁻¹B = UΣW', where B assigns estimates to places, the entries of
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
        shrinkage=shrinkage(design, shock, between_groups, between_clusters),
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
