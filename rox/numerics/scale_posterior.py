"""Posterior of a few scales when everything else has been integrated out: importance sampling without a chain."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special, stats

from rox.numerics.arrays import choice, complain, freeze, vector

Floats = NDArray[np.float64]
LogMarginal = Callable[[Floats], Floats]
LAWS = ("halfnormal", "halfcauchy")
DEGREES = 5
"""Degrees of freedom of the proposal."""
DEFENCE = 0.2
"""Share of proposals from the prior, which bounds every weight whatever the t misses (Hesterberg 1995)."""
ROUNDS = 2
"""Times the proposal is fitted anew to its own weighted points."""
STEP = 1e-2
"""Widest difference by which slopes are taken, in logs; finer where the posterior is narrow."""
MOST_STEPS, LONGEST, TRIED = 30, 2.0, np.array([1.0, 0.5, 0.2, 0.05, 0.0])
SHARE_OF_SD = 0.3
FLATTEST = 0.25
"""Least curvature of the proposal: a scale is not looked for beyond a factor of e² or so either way."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ScalePosterior:
    """Draws of scales. d = draws, k = scales.

    Attributes:
        scales: Shape (d, k), each as good as an independent draw but for repetition.
        ess: Effective number of independent draws behind them, at most d.
        largest: Share of the largest importance weight.
        log_evidence: Log of the marginal likelihood.
    """

    scales: Floats
    ess: float
    largest: float
    log_evidence: float

    def __post_init__(self) -> None:
        freeze(self, "scales")


def scale_posterior(
    log_marginal: LogMarginal,
    prior_scale: ArrayLike,
    *,
    law: str = "halfnormal",
    draws: int = 4000,
    proposals: int = 12_000,
    rng: int | np.random.Generator | None = None,
) -> ScalePosterior:
    """Draw scales from their posterior.

    Works in logs of the scales, where a posterior that piles up at zero has an exponential tail. Proposals are a t law
    around the mode, fitted twice to its own weighted points, mixed with the prior; they are weighted by the exact
    density and drawn from systematically. No weight can exceed the largest likelihood over its mean, divided by the
    prior's share of the mixture, so there is no tail to diagnose; ``ess`` says how many draws they are worth.

    Args:
        log_marginal: From scales of shape (m, k) the log likelihood with all else integrated out, shape (m,).
        prior_scale: Shape (k,): scales of the independent half-normal or half-Cauchy priors.
        law: ``halfnormal`` or ``halfcauchy``.
        draws: Draws that are returned.
        proposals: Points of the last round.
        rng: Seed or generator.

    Raises:
        ValueError: Prior scales that are not positive, an unknown law, or a likelihood that is nowhere finite.

    Example:
        >>> found = scale_posterior(lambda s: -5 * np.log(s[:, 0]) - 5 / s[:, 0] ** 2, [2.0], rng=1)
        >>> bool(1.2 < np.median(found.scales) < 1.8), found.largest < 0.01
        (True, True)
    """
    h = vector(prior_scale, "prior_scale")
    choice(law, LAWS, "law")
    complain([f"prior_scale must be positive, got {value:g}" for value in h if not value > 0])
    generator = np.random.default_rng(rng)

    def target(theta: Floats) -> Floats:
        return np.asarray(_guarded(log_marginal(np.exp(theta))) + _log_prior(theta, h, law))

    centre, root = _mode(target, np.log(h / 2))
    size = max(proposals // 8, 200)
    for _ in range(ROUNDS):
        theta, log_q = _propose(centre, root, h, law, size, generator)
        centre, root = _refitted(theta, target(theta) - log_q, centre, root)
    theta, log_q = _propose(centre, root, h, law, proposals, generator)
    log_w = target(theta) - log_q
    if not np.isfinite(log_w).any():
        raise ValueError("the likelihood is nowhere finite; the data and the model do not fit together")
    weight = np.exp(log_w - log_w.max())
    evidence = float(log_w.max() + np.log(weight.mean()))
    weight /= weight.sum()
    ess = 1 / float((weight**2).sum())
    places = (np.arange(draws) + generator.random()) / draws
    at = np.searchsorted(np.cumsum(weight), places).clip(max=proposals - 1)
    return ScalePosterior(
        scales=np.exp(theta[generator.permutation(at)]),
        ess=1 / (1 / draws + 1 / ess),
        largest=float(weight.max()),
        log_evidence=evidence,
    )


def _guarded(values: Floats) -> Floats:
    return np.where(np.isfinite(values), values, -np.inf)


def _log_prior(theta: Floats, h: Floats, law: str) -> Floats:
    """Log density of the logs of the scales."""
    t = np.exp(np.minimum(theta - np.log(h), 300.0))
    if law == "halfnormal":
        return np.asarray((0.5 * np.log(2 / np.pi) - t**2 / 2 + theta - np.log(h)).sum(-1))
    return np.asarray((np.log(2 / np.pi) - np.log1p(t**2) + theta - np.log(h)).sum(-1))


def _mode(target: Callable[[Floats], Floats], start: Floats) -> tuple[Floats, Floats]:
    """Climb to the mode by damped Newton steps; return it with a root of the covariance of a normal law around it."""
    k = start.size
    centre, root, steps = start, np.eye(k), np.full(k, STEP)
    best = -np.inf
    for _ in range(MOST_STEPS):
        slope, bend = _bend(target, centre, steps)
        size, basis = np.linalg.eigh(bend) if np.isfinite(bend).all() else (np.ones(k), np.eye(k))
        root = basis / np.sqrt(np.maximum(size, FLATTEST))
        finer = np.clip(SHARE_OF_SD / np.sqrt(np.maximum(np.diag(bend), 1.0)), 1e-7, STEP)
        settled, steps = bool((finer > steps / 2).all()), finer
        step = root @ (root.T @ slope)
        step = step * min(1.0, LONGEST / max(float(np.abs(step).max()), 1e-300))
        tries = centre + step * TRIED[:, None]
        values = np.nan_to_num(target(tries), nan=-np.inf)
        centre, gain = tries[int(values.argmax())], float(values.max()) - best
        best = float(values.max())
        if settled and gain < 1e-4:
            break
    return centre, np.asarray(root)


def _bend(target: Callable[[Floats], Floats], centre: Floats, steps: Floats) -> tuple[Floats, Floats]:
    """Give slope and negative second derivatives by central differences, in one call."""
    k = centre.size
    wide = np.diag(steps)
    pairs = [(i, j) for i in range(k) for j in range(k)]
    corners = ((1, 1), (1, -1), (-1, 1), (-1, -1))
    around = np.concatenate([[centre + a * wide[i] + b * wide[j] for i, j in pairs] for a, b in corners])
    values = np.maximum(target(np.concatenate([around, centre + wide, centre - wide])), -1e300)
    four = values[: 4 * k * k].reshape(4, k, k)
    bend = -(four[0] - four[1] - four[2] + four[3]) / (4 * np.outer(steps, steps))
    slope = (values[4 * k * k : 4 * k * k + k] - values[-k:]) / (2 * steps)
    return np.nan_to_num(slope), np.asarray((bend + bend.T) / 2)


def _propose(
    centre: Floats, root: Floats, h: Floats, law: str, size: int, rng: np.random.Generator
) -> tuple[Floats, Floats]:
    """Draw from the mixture of Student t and prior, and give its log density."""
    k = centre.size
    stretched = rng.standard_normal((size, k)) / np.sqrt(rng.chisquare(DEGREES, (size, 1)) / DEGREES)
    theta = centre + stretched @ root.T
    safe = rng.random(size) < DEFENCE
    drawn = np.abs(rng.standard_normal((size, k)) if law == "halfnormal" else rng.standard_cauchy((size, k)))
    theta[safe] = np.log(np.maximum(h * drawn, 1e-300))[safe]
    shape = root @ root.T
    t = stats.multivariate_t(centre, shape, df=DEGREES).logpdf(theta).reshape(size)
    prior = _log_prior(theta, h, law)
    return theta, np.logaddexp(np.log1p(-DEFENCE) + t, np.log(DEFENCE) + prior)


def _refitted(theta: Floats, log_w: Floats, centre: Floats, root: Floats) -> tuple[Floats, Floats]:
    """Move the proposal to the weighted points, unless a few of them carry all the weight."""
    if not np.isfinite(log_w).any():
        return centre, root
    weight = special.softmax(log_w)
    if 1 / max(float((weight**2).sum()), 1e-300) < 20 * theta.shape[1]:
        return centre, root
    middle = weight @ theta
    away = theta - middle
    spread = (away.T * weight) @ away * (DEGREES - 2) / DEGREES
    try:
        return middle, np.linalg.cholesky(spread + 1e-9 * np.eye(middle.size))
    except np.linalg.LinAlgError:
        return centre, root
