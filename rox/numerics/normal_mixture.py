"""Mixtures of normal distributions as priors: updating, conflict with data, worth in observations, robustness.

A mixture of normals is conjugate to a normal estimate, so a prior learnt from past studies stays exact and readable
after it is updated (Schmidli et al. 2014).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import log_ndtr, logsumexp, ndtr, ndtri

from rox.numerics.arrays import Floats, choice, complain, freeze, vector

SIZES = ("elir", "moment")
NARROWEST = 1e-3
"""Least standard deviation of a fitted component, relative to that of all draws."""
STEPS = 2000
"""Most steps of the fit."""
POINTS = 2000
"""Points that more draws are condensed to before the fit; the outer quarter of the points stay single draws."""
NODES = 64
"""Gauss-Legendre nodes per panel of the integral behind the effective size."""


@dataclass(frozen=True, kw_only=True)
class NormalMixture:
    """A distribution of one quantity: a weighted sum of normal densities. c = components.

    Raises:
        ValueError: shapes that differ, weights that are negative or do not sum to one, standard deviations that are
            not positive.

    Example:
        >>> prior = NormalMixture.normal(0.03, 0.02).robust(0.2, 0.0, 0.10)
        >>> posterior = prior.updated(-0.05, 0.01)
        >>> round(posterior.mean, 3), round(float(posterior.weights[1]), 2)
        (-0.049, 0.97)
    """

    weights: Floats
    """(c,) that sum to one."""
    means: Floats
    """(c,)."""
    sds: Floats
    """(c,) positive."""

    def __post_init__(self) -> None:
        for name in ("weights", "means", "sds"):
            object.__setattr__(self, name, vector(np.atleast_1d(getattr(self, name)), name))
        w, m, s = self.weights, self.means, self.sds
        faults = []
        if not w.size == m.size == s.size or not w.size:
            faults.append(f"needs as many weights as means and sds, got {w.size}, {m.size} and {s.size}")
        if (w < 0).any() or not np.isclose(w.sum(), 1, atol=1e-8):
            faults.append(f"weights must not be negative and must sum to one, got {w.tolist()}")
        if not (s > 0).all():
            faults.append(f"sds must be positive, got {s.tolist()}")
        complain(faults)
        object.__setattr__(self, "weights", w / w.sum())
        freeze(self, "weights", "means", "sds")

    @classmethod
    def normal(cls, mean: float, sd: float) -> NormalMixture:
        """Return a single normal distribution."""
        return cls(weights=np.ones(1), means=np.array([mean]), sds=np.array([sd]))

    @classmethod
    def fitted(cls, draws: ArrayLike, components: int | Sequence[int] = (1, 2, 3)) -> NormalMixture:
        """Fit a mixture to draws by maximum likelihood (EM) and keep the number of components with the lowest BIC.

        Draws of a predictive distribution are bell-shaped with heavy tails; the fit therefore starts from components
        of one centre and unequal spread, and from neighbouring ones, and keeps the better end. A component is never
        narrower than a thousandth of the spread of all draws.

        Args:
            draws: (n,) independent draws, at least 20 per component.
            components: number of components, or several to choose from.

        Raises:
            ValueError: too few draws, draws that are all alike, or no component.
        """
        x = vector(draws, "draws")
        sizes = sorted({components} if isinstance(components, int) else set(components))
        spread = float(x.std()) if x.size else 0.0
        faults = []
        if not sizes or sizes[0] < 1:
            faults.append(f"components must be 1 or more, got {components}")
        elif x.size < 20 * sizes[-1]:
            faults.append(f"{sizes[-1]} components need {20 * sizes[-1]} draws, got {x.size}")
        if not spread > 0:
            faults.append("draws are all alike: there is nothing to fit")
        complain(faults)
        centre = float(x.mean())
        z, count = _condensed(np.sort((x - centre) / spread))
        fits = [
            max((_em(z, count, each) for each in _starts(z, count, size)), key=lambda fit: fit[1]) for size in sizes
        ]
        bic = [(3 * size - 1) * np.log(x.size) - 2 * fit[1] for size, fit in zip(sizes, fits, strict=True)]
        best = fits[int(np.argmin(bic))][0]
        order = np.argsort(-best.weights)
        weights, means, sds = (each[order] for each in (best.weights, best.means, best.sds))
        return cls(weights=weights, means=centre + spread * means, sds=spread * sds)

    @property
    def mean(self) -> float:
        """Mean of the mixture."""
        return float(self.weights @ self.means)

    @property
    def sd(self) -> float:
        """Standard deviation of the mixture."""
        return float(np.sqrt(self.weights @ (self.sds**2 + (self.means - self.mean) ** 2)))

    def pdf(self, x: ArrayLike) -> Floats:
        """Return densities; shape follows `x`."""
        z = (np.asarray(x, dtype=np.float64)[..., None] - self.means) / self.sds
        return np.asarray((np.exp(-(z**2) / 2) / self.sds) @ self.weights / np.sqrt(2 * np.pi))

    def cdf(self, x: ArrayLike) -> Floats:
        """Return probabilities of values up to `x`; shape follows it."""
        z = (np.asarray(x, dtype=np.float64)[..., None] - self.means) / self.sds
        return np.asarray(ndtr(z) @ self.weights)

    def above(self, x: ArrayLike) -> Floats:
        """Return probabilities of values above `x`, exact far out too; shape follows it."""
        z = (np.asarray(x, dtype=np.float64)[..., None] - self.means) / self.sds
        return np.asarray(ndtr(-z) @ self.weights)

    def quantile(self, probability: ArrayLike) -> Floats:
        """Return quantiles by bisection between those of the components; shape follows `probability`.

        Raises:
            ValueError: a probability outside 0..1.
        """
        p = np.asarray(probability, dtype=np.float64)
        if not ((p >= 0) & (p <= 1)).all():
            raise ValueError(f"probabilities must lie in 0..1, got {np.ravel(p)[:5].tolist()}")
        live = self.weights > 0
        inside = (p > 0) & (p < 1)
        each = self.means[live] + self.sds[live] * ndtri(np.where(inside, p, 0.5))[..., None]
        low, high = each.min(-1), each.max(-1)
        for _ in range(200):
            middle = low + (high - low) / 2
            if not ((middle > low) & (middle < high)).any():
                break
            below = self.cdf(middle) < p
            low, high = np.where(below, middle, low), np.where(below, high, middle)
        return np.asarray(np.where(inside, high, np.where(p > 0, np.inf, -np.inf)))

    def draw(self, size: int, rng: int | np.random.Generator | None = None) -> Floats:
        """Draw (size,) values."""
        generator = np.random.default_rng(rng)
        which = generator.choice(self.weights.size, size=size, p=self.weights)
        return np.asarray(self.means[which] + self.sds[which] * generator.standard_normal(size))

    def updated(self, estimate: float, se: float) -> NormalMixture:
        """Return the posterior after a normal estimate; weights move by each component's marginal likelihood.

        Raises:
            ValueError: an estimate that is not finite or a standard error that is not positive.
        """
        _require_estimate(estimate, se)
        total = self.sds**2 + se**2
        with np.errstate(divide="ignore"):
            log_weight = np.log(self.weights) - (np.log(total) + (estimate - self.means) ** 2 / total) / 2
        keep = self.sds**2 / total
        return NormalMixture(
            weights=np.exp(log_weight - logsumexp(log_weight)),
            means=keep * estimate + (1 - keep) * self.means,
            sds=se * np.sqrt(keep),
        )

    def log_marginal(self, estimate: float, se: float) -> float:
        """Return the log density of an estimate expected before it was seen.

        Raises:
            ValueError: an estimate that is not finite or a standard error that is not positive.
        """
        _require_estimate(estimate, se)
        total = self.sds**2 + se**2
        each = -(np.log(2 * np.pi * total) + (estimate - self.means) ** 2 / total) / 2
        return float(logsumexp(each, b=self.weights))

    def conflict(self, estimate: float, se: float) -> float:
        """Return how surprising an estimate is: 2·min(F, 1 − F) of its prior predictive distribution (Box 1980).

        Raises:
            ValueError: an estimate that is not finite or a standard error that is not positive.
        """
        _require_estimate(estimate, se)
        z = (estimate - self.means) / np.hypot(self.sds, se)
        below, above = (np.exp(logsumexp(log_ndtr(side), b=self.weights)) for side in (z, -z))
        return float(min(2 * min(below, above), 1.0))

    def effective_size(self, sd_one: float, method: str = "elir") -> float:
        """Return how many observations of standard deviation `sd_one` the prior is worth.

        Args:
            sd_one: standard deviation of one observation, or the standard error of a study to be counted as one.
            method: "elir", the expected local-information ratio of Neuenschwander et al. (2020),
                sd_one²·∫ p'²/p, which adds up with data: on average the posterior after n observations is worth n more;
                or "moment", sd_one²/variance, which a vague component shrinks most.

        Raises:
            ValueError: a standard deviation that is not positive, or an unknown method.

        Example:
            >>> NormalMixture.normal(0, 2).effective_size(10)
            25.0
        """
        choice(method, SIZES, "method")
        if not (np.isfinite(sd_one) and sd_one > 0):
            raise ValueError(f"sd_one must be positive, got {sd_one}")
        live = self.weights > 0
        if live.sum() == 1:
            return float(sd_one**2 / self.sds[live][0] ** 2)
        if method == "moment":
            return sd_one**2 / self.sd**2
        return sd_one**2 * _information(self)

    def robust(self, share: float, centre: float, sd: float) -> NormalMixture:
        """Mix in a vague component that takes over when data and prior disagree (Schmidli et al. 2014).

        Args:
            share: prior probability that the past says nothing of this case, 0 to 1.
            centre: of the vague component.
            sd: of the vague component; that of one observation is a usual choice.

        Raises:
            ValueError: a share outside 0..1 or a standard deviation that is not positive.
        """
        if not 0 <= share <= 1:
            raise ValueError(f"share must lie in 0..1, got {share}")
        if share == 0:
            return self
        return NormalMixture(
            weights=np.append((1 - share) * self.weights, share),
            means=np.append(self.means, centre),
            sds=np.append(self.sds, sd),
        )

    def discounted(self, a0: float) -> NormalMixture:
        """Return the power prior of a normal distribution: its variance divided by `a0` (Ibrahim & Chen 2000).

        Raises:
            ValueError: a discount outside 0..1 (1 included), or several components, whose power is no mixture.
        """
        faults = []
        if not 0 < a0 <= 1:
            faults.append(f"a0 must be above 0 and at most 1, got {a0}")
        if self.weights.size > 1:
            faults.append(f"only a single normal is discounted by a power, this mixture has {self.weights.size}")
        complain(faults)
        return NormalMixture.normal(float(self.means[0]), float(self.sds[0] / np.sqrt(a0)))


def _require_estimate(estimate: float, se: float) -> None:
    if not (np.isfinite(estimate) and np.isfinite(se) and se > 0):
        raise ValueError(f"needs a finite estimate and a positive standard error, got {estimate} and {se}")


def _information(mixture: NormalMixture) -> float:
    """Integrate p'²/p, in panels that are narrow where some component is."""
    live = mixture.weights > 0
    w, m, s = mixture.weights[live], mixture.means[live], mixture.sds[live]
    reach = np.concatenate([-np.geomspace(9, 0.5, 6), [0.0], np.geomspace(0.5, 9, 6)])
    edges = np.unique((m[:, None] + s[:, None] * reach).ravel())
    node, mass = np.polynomial.legendre.leggauss(NODES)
    half = np.diff(edges)[:, None] / 2
    x = (edges[:-1, None] + half) + half * node
    z = (x[..., None] - m) / s
    log_part = np.log(w / s) - z**2 / 2
    log_p = logsumexp(log_part, axis=-1)
    score = (np.exp(log_part - log_p[..., None]) * (-z / s)).sum(-1)
    return float((half * mass * np.exp(log_p) * score**2).sum() / np.sqrt(2 * np.pi))


def _condensed(z: Floats) -> tuple[Floats, Floats]:
    """Return sorted draws with counts; many draws become means of neighbours, except in the tails."""
    tail = POINTS // 8
    if z.size <= POINTS:
        return z, np.ones(z.size)
    middle = np.array_split(z[tail:-tail], POINTS - 2 * tail)
    values = np.concatenate([z[:tail], [part.mean() for part in middle], z[-tail:]])
    return values, np.concatenate([np.ones(tail), [part.size for part in middle], np.ones(tail)])


def _starts(z: Floats, count: Floats, size: int) -> list[NormalMixture]:
    """Return starting points: one centre with unequal spreads, and neighbours side by side."""
    if size == 1:
        return [NormalMixture.normal(0.0, 1.0)]
    even = np.full(size, 1 / size)
    around = NormalMixture(weights=even, means=np.full(size, np.median(z)), sds=np.geomspace(0.5, 2.0, size))
    parts = np.array_split(np.repeat(z, count.astype(int)), size)
    beside = NormalMixture(
        weights=even,
        means=np.array([part.mean() for part in parts]),
        sds=np.array([max(part.std(), 10 * NARROWEST) for part in parts]),
    )
    return [around, beside]


def _em(z: Floats, count: Floats, start: NormalMixture) -> tuple[NormalMixture, float]:
    """Climb the likelihood from a start; return the mixture and its log likelihood."""
    w, m, s = start.weights.copy(), start.means.copy(), start.sds.copy()
    size, last, now = float(count.sum()), -np.inf, -np.inf
    for _ in range(STEPS):
        log_part = np.log(w / s)[:, None] - ((z - m[:, None]) / s[:, None]) ** 2 / 2
        peak = log_part.max(0)
        share = np.exp(log_part - peak)
        density = share.sum(0)
        now = float(count @ (peak + np.log(density)) - size * np.log(2 * np.pi) / 2)
        if now - last < 1e-7 * size:
            break
        last = now
        share *= count / density
        total = np.maximum(share.sum(1), 1e-9)
        w, m = total / total.sum(), share @ z / total
        s = np.sqrt(np.maximum((share * (z - m[:, None]) ** 2).sum(1) / total, NARROWEST**2))
    return NormalMixture(weights=w, means=m, sds=s), now
