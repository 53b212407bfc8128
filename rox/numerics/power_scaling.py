"""Tell how much a posterior owes to its prior and to its data, by raising either to a power (Kallioinen et al. 2024).

Raising the prior, or the likelihood, to a power alpha near one reweights the draws by exp((alpha - 1)·log density); how
far the distribution moves per doubling of alpha is its sensitivity. No refit is needed.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import ArrayLike

from rox.numerics.arrays import Floats, Ints, complain, vector

THRESHOLD = 0.05
"""Sensitivity from which a part counts: that of a normal whose mean moves by a quarter of its standard deviation
when the power doubles."""
RELIABLE = 0.7
"""Pareto k above which importance weights are not to be trusted (Vehtari et al. 2024)."""
FEWEST = 100
"""Draws needed."""


class Diagnosis(StrEnum):
    """What the two sensitivities say together."""

    NONE = "-"
    CONFLICT = "prior-data conflict"
    STRONG_PRIOR = "strong prior / weak likelihood"


@dataclass(frozen=True, kw_only=True)
class PowerScaling:
    """Sensitivity of one quantity to the powers of prior and likelihood."""

    prior: float
    """Cumulative Jensen-Shannon distance per unit of log2 of the power of the prior."""
    likelihood: float
    """The same of the likelihood."""
    pareto_k: float
    """Worst shape of the tails of the importance weights; above 0.7 the figures are not to be trusted."""
    threshold: float

    @property
    def diagnosis(self) -> Diagnosis:
        """Both parts matter: they pull apart. Only the prior does: it decides, or the data say little."""
        if self.prior < self.threshold:
            return Diagnosis.NONE
        return Diagnosis.CONFLICT if self.likelihood >= self.threshold else Diagnosis.STRONG_PRIOR

    @property
    def is_reliable(self) -> bool:
        """Whether the importance weights behave."""
        return self.pareto_k <= RELIABLE


def power_scaling(
    draws: ArrayLike,
    log_prior: ArrayLike,
    log_likelihood: ArrayLike,
    *,
    step: float = 0.01,
    threshold: float = THRESHOLD,
) -> PowerScaling:
    """Measure how sensitive a posterior quantity is to its prior and to its likelihood.

    The gradient of the cumulative Jensen-Shannon distance along log2 of the power, by one difference to either side
    of one, with Pareto-smoothed weights for independent draws. Scale only the priors in question: in a hierarchy the
    priors of the upper level, without those of the units.

    Args:
        draws: (d,) posterior draws of the quantity.
        log_prior: (d,) log density of the prior at each draw of all parameters, up to a constant.
        log_likelihood: (d,) log likelihood of all data at each draw, up to a constant.
        step: the powers compared are 1 - step and 1 + step.
        threshold: sensitivity from which a part counts.

    Raises:
        ValueError: lengths that differ, fewer than 100 draws, draws all alike, missing values, or a useless step.

    Example:
        >>> rng = np.random.default_rng(1)
        >>> theta = 5 + rng.standard_normal(4000) / np.sqrt(2)
        >>> power_scaling(theta, -theta**2 / 2, -(theta - 10) ** 2 / 2).diagnosis
        <Diagnosis.CONFLICT: 'prior-data conflict'>
    """
    x = vector(draws, "draws")
    parts = vector(log_prior, "log_prior", x.size), vector(log_likelihood, "log_likelihood", x.size)
    faults = []
    if x.size < FEWEST:
        faults.append(f"needs {FEWEST} draws, got {x.size}")
    elif np.ptp(x) == 0:
        faults.append("draws are all alike: the quantity is known")
    if not 0 < step < 1:
        faults.append(f"step must lie strictly between 0 and 1, got {step}")
    complain(faults)
    found = [_sensitivity(x, part, step) for part in parts]
    return PowerScaling(
        prior=found[0][0], likelihood=found[1][0], pareto_k=max(k for _, k in found), threshold=threshold
    )


def cumulative_distance(draws: ArrayLike, weights: ArrayLike) -> float:
    """Return the cumulative Jensen-Shannon distance between draws and the same draws reweighted.

    The symmetric divergence of the two distribution functions, over its upper bound, square root; of the values and
    of their negatives the larger (Kallioinen et al. 2024, section 2.3; Nguyen & Vreeken 2015). Zero to one.

    Args:
        draws: (d,).
        weights: (d,) non-negative, of any sum.

    Raises:
        ValueError: lengths that differ, missing values or weights that are negative.
    """
    x = vector(draws, "draws")
    w = vector(weights, "weights", x.size)
    if (w < 0).any() or not w.sum() > 0:
        raise ValueError("weights must not be negative and must not all be zero")
    return max(_one_sided(x, w), _one_sided(-x, w))


def _sensitivity(x: Floats, log_density: Floats, step: float) -> tuple[float, float]:
    """Return the mean gradient over both sides of one and the worst Pareto k; zero for a constant density."""
    if np.ptp(log_density) == 0:
        return 0.0, float("-inf")
    gradients, shapes = [], []
    for power in (1 - step, 1 + step):
        log_weight, k = smoothed_log_weights((power - 1) * log_density)
        gradients.append(cumulative_distance(x, np.exp(log_weight)) / abs(np.log2(power)))
        shapes.append(k)
    return float(np.mean(gradients)), max(shapes)


def _one_sided(x: Floats, w: Floats) -> float:
    order = np.argsort(x)
    width = np.diff(x[order])
    p = np.arange(1, x.size) / x.size
    q = np.minimum(np.cumsum(w[order]) / w.sum(), 1.0)[:-1]
    middle = np.log2(np.where(p + q > 0, (p + q) / 2, 1.0))
    excess = 0.5 / np.log(2) * float(width @ (q - p))
    forward = max(float(width @ (p * (np.log2(p) - middle))) + excess, 0.0)
    backward = max(float(width @ (q * (np.log2(np.where(q > 0, q, 1.0)) - middle))) - excess, 0.0)
    bound = float(width @ (p + q))
    return float(np.sqrt((forward + backward) / bound)) if bound > 0 else 0.0


def smoothed_log_weights(log_ratio: ArrayLike) -> tuple[Floats, float]:
    """Smooth the largest importance weights by a generalised Pareto tail (Vehtari et al. 2024).

    Args:
        log_ratio: (d,) log weights up to a constant, of independent draws.

    Returns:
        (d,) log weights that sum to one on the natural scale, and the shape k of their tail.

    Raises:
        ValueError: fewer than 25 draws or missing values.
    """
    raw = vector(log_ratio, "log_ratio")
    if raw.size < 25:
        raise ValueError(f"a tail needs 25 draws, got {raw.size}")
    log_weight = raw - raw.max()
    count = int(min(np.floor(raw.size / 5), np.floor(3 * np.sqrt(raw.size))))
    order: Ints = np.argsort(log_weight)
    tail = order[-count:]
    cut = float(np.exp(log_weight[order[-count - 1]]))
    excess = np.exp(log_weight[tail]) - cut
    k, sigma = _pareto(excess)
    if np.isfinite(k):
        p = (np.arange(count) + 0.5) / count
        stretch = -np.log1p(-p) if k == 0 else np.expm1(-k * np.log1p(-p)) / k
        log_weight[tail] = np.minimum(np.log(cut + sigma * stretch), 0.0)
    log_weight -= np.log(np.exp(log_weight).sum())
    return log_weight, k


def _pareto(excess: Floats) -> tuple[float, float]:
    """Fit shape and scale of a generalised Pareto distribution (Zhang & Stephens 2009), shape drawn towards 1/2.

    Excesses come sorted, smallest first. A shape of minus infinity says that there is no tail.
    """
    n = excess.size
    quarter = float(excess[int(n / 4 + 0.5) - 1])
    if not quarter > excess[0] or not excess[-1] > 0:
        return float("-inf"), float("nan")
    grid = 30 + int(np.sqrt(n))
    b = (1 - np.sqrt(grid / (np.arange(1, grid + 1) - 0.5))) / (3 * quarter) + 1 / excess[-1]
    k = np.log1p(-b[:, None] * excess).mean(1)
    profile = n * (np.log(-b / k) - k - 1)
    weight = np.exp(profile - profile.max())
    mean = float(b @ weight / weight.sum())
    shape = float(np.log1p(-mean * excess).mean())
    return (n * shape + 5) / (n + 10), -shape / mean
