"""Pool noisy estimates of related units with a two-stage hierarchical normal model, in closed form over a grid.

Stage one gives y ~ N(theta, V) with V known; stage two says theta_s ~ N(x_s'gamma, tau^2). Given tau everything
is normal, so the posterior is a mixture over a grid of tau (Gelman et al. 2013, section 5.4; Röver, Bender &
Dias et al. 2021). V is rotated to its eigenvectors, in which all units are independent, so a full covariance
costs no more than a diagonal one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import optimize, stats

from rox.numerics.arrays import Floats, choice, complain, freeze, vector

TAU_PRIORS = ("halfnormal", "halfcauchy", "flat")
METHODS = ("reml", "ml", "pm", "dl")


@dataclass(frozen=True, kw_only=True)
class Pooled:
    """Posterior of a hierarchical normal model. s = units, p = predictors, n = draws, m = grid points."""

    mean: Floats
    """(s,) posterior means of theta."""
    covariance: Floats
    """(s, s) posterior covariance of theta, exact up to the grid."""
    draws: Floats
    """(n, s) joint draws of theta."""
    shrinkage: Floats
    """(s,) weight of the pooled mean in each unit's estimate: 0 keeps its own data, 1 ignores them."""
    gamma_mean: Floats
    """(p,)."""
    gamma_covariance: Floats
    """(p, p)."""
    gamma_draws: Floats
    """(n, p), row by row with `draws`."""
    tau_draws: Floats
    """(n,), row by row with `draws`."""
    tau_grid: Floats
    """(m,)."""
    tau_probability: Floats
    """(m,) posterior probability of each grid cell."""
    log_marginal: float
    """Log marginal likelihood; relative only (improper) when gamma or tau has a flat prior."""

    def __post_init__(self) -> None:
        freeze(self, "mean", "covariance", "draws", "shrinkage", "gamma_mean", "gamma_covariance", "gamma_draws")
        freeze(self, "tau_draws", "tau_grid", "tau_probability")

    @property
    def sd(self) -> Floats:
        """(s,) posterior standard deviations of theta."""
        return np.asarray(np.sqrt(np.diag(self.covariance)))

    @property
    def tau_mean(self) -> float:
        """Posterior mean of tau."""
        return float(self.tau_grid @ self.tau_probability)

    @property
    def tau_median(self) -> float:
        """Posterior median of tau."""
        return float(self.tau_grid[np.searchsorted(np.cumsum(self.tau_probability), 0.5)])


@dataclass(frozen=True, kw_only=True)
class RandomEffects:
    """A frequentist random-effects fit. s = units, p = predictors."""

    gamma: Floats
    """(p,)."""
    gamma_covariance: Floats
    """(p, p) taking tau as known."""
    gamma_se_adjusted: Floats
    """(p,) Knapp & Hartung (2003), for t with s - p degrees of freedom."""
    tau2: float
    q: float
    """Cochran's Q at tau = 0, chi-squared with s - p degrees of freedom if all units share one mean."""
    i2: float
    """Share of the variation between estimates that is not sampling error, 0..1."""
    best: Floats
    """(s,) best linear unbiased predictions of theta."""

    def __post_init__(self) -> None:
        freeze(self, "gamma", "gamma_covariance", "gamma_se_adjusted", "best")


@dataclass(frozen=True, kw_only=True)
class Mixture:
    """Posterior under several priors at once. c = components, s = units, n = draws."""

    weights: Floats
    """(c,) posterior probabilities of the components."""
    mean: Floats
    """(s,)."""
    covariance: Floats
    """(s, s)."""
    draws: Floats
    """(n, s)."""

    def __post_init__(self) -> None:
        freeze(self, "weights", "mean", "covariance", "draws")


def pool(
    estimate: ArrayLike,
    cov: ArrayLike,
    *,
    x: ArrayLike | None = None,
    gamma_mean: ArrayLike | None = None,
    gamma_covariance: ArrayLike | None = None,
    tau_prior: str = "halfnormal",
    tau_scale: float | None = None,
    n: int = 2000,
    grid: int = 400,
    rng: int | np.random.Generator | None = None,
) -> Pooled:
    """Compute the posterior of unit effects that share a distribution.

    Estimand: each unit's theta. Assumes estimates normal with known covariance, and units exchangeable given x.

    Args:
        estimate: (s,) first-stage estimates.
        cov: (s,) sampling variances or (s, s) covariance.
        x: (s, p) predictors including the constant; default a constant.
        gamma_mean: (p,) prior mean of gamma, default 0; needs `gamma_covariance`.
        gamma_covariance: (p, p) prior covariance; default flat.
        tau_prior: "halfnormal" or "halfcauchy" with `tau_scale`, or "flat".
        tau_scale: scale of the prior of tau, in the unit of the estimates.
        n: joint draws.
        grid: points of the grid over tau; its range is 5 scales (half-normal), 1000 scales (half-Cauchy) or 100
            times the spread of the estimates (flat).
        rng: seed or generator.

    Raises:
        ValueError: shapes, a covariance that is not positive definite, collinear predictors, a missing or
            useless scale, or too few units for a flat prior (it needs 3 more than predictors).

    Example:
        >>> segments = pool([0.05, 0.02, 0.30], [0.01**2, 0.01**2, 0.20**2], tau_scale=0.02, rng=1)
        >>> segments.mean.round(3), segments.shrinkage.round(2)
        (array([0.045, 0.026, 0.039]), array([0.36, 0.36, 0.99]))
    """
    rotated = _rotate(estimate, cov, x, flat=gamma_covariance is None)
    s, p = rotated.x.shape
    g0, precision, log_det = _gamma_prior(gamma_mean, gamma_covariance, p)
    tau, log_prior = _tau_grid(tau_prior, tau_scale, grid, rotated, s - p)
    log_lik, g, g_cov = _given_tau(rotated, tau, g0, precision)
    log_post = log_lik + log_prior - log_det / 2
    peak = log_post.max()
    weight = np.exp(log_post - peak)
    log_marginal = float(peak + np.log(weight.sum()) - (s if precision.any() else s - p) / 2 * np.log(2 * np.pi))
    weight /= weight.sum()
    keep = tau[:, None] ** 2 / (rotated.variance + tau[:, None] ** 2)
    mean_tau = keep * rotated.y + (1 - keep) * (g @ rotated.x.T)
    mean = weight @ mean_tau
    pull = (1 - keep)[:, :, None] * rotated.x
    spread = np.einsum("m,msp,mpq,mtq->st", weight, pull, g_cov, pull, optimize=True)
    gap = mean_tau - mean
    within = spread + np.diag(weight @ (keep * rotated.variance)) + (gap * weight[:, None]).T @ gap
    gamma = weight @ g
    q = rotated.basis
    generator = np.random.default_rng(rng)
    at = generator.choice(tau.size, size=n, p=weight)
    root = np.linalg.cholesky(g_cov)
    gamma_draws = g[at] + np.einsum("npq,nq->np", root[at], generator.standard_normal((n, p)))
    theta = keep[at] * rotated.y + (1 - keep[at]) * (gamma_draws @ rotated.x.T)
    theta += np.sqrt(keep[at] * rotated.variance) * generator.standard_normal((n, s))
    return Pooled(
        mean=q @ mean,
        covariance=q @ within @ q.T,
        draws=theta @ q.T,
        shrinkage=(q**2) @ (1 - weight @ keep),
        gamma_mean=gamma,
        gamma_covariance=np.einsum("m,mpq->pq", weight, g_cov) + ((g - gamma) * weight[:, None]).T @ (g - gamma),
        gamma_draws=gamma_draws,
        tau_draws=tau[at],
        tau_grid=tau,
        tau_probability=weight,
        log_marginal=log_marginal,
    )


def predict_unit(pooled: Pooled, x: ArrayLike | None = None, rng: int | np.random.Generator | None = None) -> Floats:
    """Draw (n,) effects of a unit not yet seen, with predictors x (p,), default the constant."""
    row = np.ones(1) if x is None else vector(x, "x", pooled.gamma_mean.size)
    noise = np.random.default_rng(rng).standard_normal(pooled.tau_draws.size)
    return np.asarray(pooled.gamma_draws @ row + pooled.tau_draws * noise)


def mix_pools(pools: Sequence[Pooled], prior: ArrayLike, *, rng: int | np.random.Generator | None = None) -> Mixture:
    """Mix fits of the same estimates under several priors (robust meta-analytic prior of Schmidli et al. 2014).

    The prior weights are updated by the marginal likelihoods. All priors must be proper, otherwise these mean
    nothing.

    Args:
        pools: fits by `pool` with the same estimates and number of draws.
        prior: (c,) prior weights, positive.
        rng: seed or generator that allots the draws.

    Raises:
        ValueError: weights that do not fit the pools, or fits of different size.
    """
    w = vector(prior, "prior", len(pools))
    if not (w > 0).all() or len({p.draws.shape for p in pools}) != 1:
        raise ValueError("needs positive prior weights and fits with the same units and number of draws")
    log_w = np.log(w) + np.array([p.log_marginal for p in pools])
    weight = np.exp(log_w - log_w.max())
    weight /= weight.sum()
    means = np.stack([p.mean for p in pools])
    mean = weight @ means
    cov = sum(wi * (p.covariance + np.outer(p.mean - mean, p.mean - mean)) for wi, p in zip(weight, pools, strict=True))
    rows = pools[0].draws.shape[0]
    which = np.random.default_rng(rng).choice(len(pools), size=rows, p=weight)
    draws = np.stack([p.draws for p in pools])[which, np.arange(rows)]
    return Mixture(weights=weight, mean=mean, covariance=np.asarray(cov), draws=draws)


def random_effects(
    estimate: ArrayLike, variance: ArrayLike, *, x: ArrayLike | None = None, method: str = "reml"
) -> RandomEffects:
    """Fit the random-effects model of meta-analysis with a point estimate of tau.

    For comparison with published analyses; `pool` keeps tau uncertain, this does not.

    Args:
        estimate: (s,) first-stage estimates.
        variance: (s,) sampling variances.
        x: (s, p) predictors including the constant; default a constant.
        method: "reml", "ml", "pm" (Paule & Mandel 1982) or "dl" (DerSimonian & Laird 1986).

    Raises:
        ValueError: shapes, variances that are not positive, collinear predictors, an unknown method.
    """
    choice(method, METHODS, "method")
    v = vector(variance, "variance")
    parts = _rotate(estimate, np.diag(v), x, flat=True)
    y, design = parts.y, parts.x
    s, p = design.shape
    _, cov0, q = _weighted_fit(y, design, v)
    trace = (1 / v).sum() - np.trace(cov0 @ ((design / v[:, None] ** 2).T @ design))
    tau2 = max(0.0, (q - (s - p)) / trace) if method == "dl" else _tau2(y, design, v, method)
    gamma, cov, rss = _weighted_fit(y, design, v + tau2)
    keep = tau2 / (tau2 + v)
    return RandomEffects(
        gamma=gamma,
        gamma_covariance=cov,
        gamma_se_adjusted=np.sqrt(np.diag(cov) * rss / (s - p)),
        tau2=tau2,
        q=q,
        i2=tau2 / (tau2 + (s - p) / trace),
        best=keep * y + (1 - keep) * (design @ gamma),
    )


def _weighted_fit(y: Floats, design: Floats, variance: Floats) -> tuple[Floats, Floats, float]:
    """Return the coefficients, their covariance and the weighted residual sum of squares."""
    cov = np.asarray(np.linalg.inv((design / variance[:, None]).T @ design), dtype=np.float64)
    gamma = cov @ (design.T @ (y / variance))
    return gamma, cov, float(((y - design @ gamma) ** 2 / variance).sum())


def _tau2(y: Floats, design: Floats, v: Floats, method: str) -> float:
    def minus_log_likelihood(tau: float) -> float:
        _, cov, rss = _weighted_fit(y, design, v + tau**2)
        restricted = np.linalg.slogdet(cov)[1] if method == "reml" else 0.0
        return float(np.log(v + tau**2).sum() - restricted + rss) / 2

    def excess(tau: float) -> float:
        return float(_weighted_fit(y, design, v + tau**2)[2] - (y.size - design.shape[1]))

    top = 10 * float(np.ptp(y) + np.sqrt(v.max()))
    if method == "pm":
        return 0.0 if excess(0.0) <= 0 else float(optimize.brentq(excess, 0, top, xtol=top * 1e-14)) ** 2
    best = optimize.minimize_scalar(
        minus_log_likelihood, bounds=(0, top), method="bounded", options={"xatol": top * 1e-10}
    )
    return float(best.x**2) if best.fun < minus_log_likelihood(0.0) - 1e-9 else 0.0


@dataclass(frozen=True, kw_only=True)
class _Rotated:
    """Estimates and predictors along the eigenvectors of their covariance."""

    y: Floats
    x: Floats
    variance: Floats
    basis: Floats


def _rotate(estimate: ArrayLike, cov: ArrayLike, x: ArrayLike | None, *, flat: bool) -> _Rotated:
    y = vector(estimate, "estimate")
    v = np.asarray(cov, dtype=np.float64)
    v = np.diag(v) if v.ndim == 1 else v
    design = np.ones((y.size, 1)) if x is None else np.asarray(x, dtype=np.float64).reshape(y.size, -1)
    faults = []
    if v.shape != (y.size, y.size):
        faults.append(f"covariance must have shape ({y.size},) or ({y.size}, {y.size}), got {np.shape(cov)}")
    elif not np.isfinite(v).all() or not np.allclose(v, v.T, rtol=1e-8, atol=1e-12 * np.abs(v).max()):
        faults.append("covariance must be finite and symmetric")
    if not np.isfinite(design).all():
        faults.append("predictors x must be finite")
    elif flat and design.shape[1] >= y.size:
        faults.append(f"needs more units than predictors, got {y.size} units and {design.shape[1]} predictors")
    elif flat and np.linalg.matrix_rank(design) < design.shape[1]:
        faults.append("predictors x are collinear; drop one of them")
    complain(faults)
    if not np.any(v - np.diag(np.diag(v))):
        variance, basis = np.diag(v).copy(), np.eye(y.size)
    else:
        variance, basis = np.linalg.eigh((v + v.T) / 2)
    if not variance.min() > variance.max() * 1e-13:
        raise ValueError("covariance is not positive definite: some estimate, or combination of them, has no error")
    return _Rotated(y=basis.T @ y, x=basis.T @ design, variance=variance, basis=basis)


def _gamma_prior(mean: ArrayLike | None, cov: ArrayLike | None, p: int) -> tuple[Floats, Floats, float]:
    if cov is None:
        if mean is not None:
            raise ValueError("gamma_mean needs gamma_covariance; leave both out for a flat prior")
        return np.zeros(p), np.zeros((p, p)), 0.0
    c = np.atleast_2d(np.asarray(cov, dtype=np.float64))
    g0 = np.zeros(p) if mean is None else vector(np.atleast_1d(mean), "gamma_mean", p)
    if c.shape != (p, p) or not np.linalg.eigvalsh(c).min() > 0:
        raise ValueError(f"gamma_covariance must be a positive definite ({p}, {p}) matrix, got shape {c.shape}")
    return g0, np.asarray(np.linalg.inv(c), dtype=np.float64), float(np.linalg.slogdet(c)[1])


def _tau_grid(prior: str, scale: float | None, m: int, parts: _Rotated, spare: int) -> tuple[Floats, Floats]:
    """Return midpoints of the grid cells and their log prior probabilities (log widths for a flat prior)."""
    choice(prior, TAU_PRIORS, "tau_prior")
    if prior == "flat":
        if spare < 3:
            raise ValueError(
                f"a flat prior on tau needs 3 units more than predictors, got {spare} more; use a half-normal"
            )
        size = float(np.ptp(parts.basis @ parts.y) + np.sqrt(parts.variance.max()))
        edges = np.concatenate([[0.0], np.geomspace(size * 1e-4, size * 100, m)])
    else:
        if scale is None or not np.isfinite(scale) or scale <= 0:
            raise ValueError(f"tau_scale must be a positive number in the unit of the estimates, got {scale}")
        edges = 5 * scale * np.linspace(0, 1, m + 1)
        if prior == "halfcauchy":
            edges = np.concatenate([[0.0], np.geomspace(scale * 1e-4, scale * 1000, m)])
    tau = (edges[1:] + edges[:-1]) / 2
    if prior == "flat":
        return tau, np.log(np.diff(edges))
    law = stats.halfnorm(scale=scale) if prior == "halfnormal" else stats.halfcauchy(scale=scale)
    return tau, np.log(np.maximum(np.diff(law.cdf(edges)), 1e-300))


def _given_tau(parts: _Rotated, tau: Floats, g0: Floats, precision: Floats) -> tuple[Floats, Floats, Floats]:
    """Return per grid point the log likelihood (no constants) and the mean (m, p) and covariance (m, p, p) of gamma."""
    total = parts.variance + tau[:, None] ** 2
    gap = parts.y - parts.x @ g0
    a = np.einsum("sp,ms,sq->mpq", parts.x, 1 / total, parts.x) + precision
    b = (gap / total) @ parts.x
    cov = np.linalg.inv(a)
    shift = np.einsum("mpq,mq->mp", cov, b)
    quadratic = (gap**2 / total).sum(1) - (b * shift).sum(1)
    log_lik = -(np.log(total).sum(1) + np.linalg.slogdet(a)[1] + quadratic) / 2
    return log_lik, g0 + shift, np.asarray(cov, dtype=np.float64)
