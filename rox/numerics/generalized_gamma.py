"""Regress log times on covariates with generalised gamma errors, which hold the Weibull and the log-normal model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import optimize, special

from rox.numerics.arrays import Bools, Floats, complain, freeze, vector
from rox.numerics.event_times import flags

NORMAL = 1e-3
"""Shape below which the errors are taken for normal."""
STEP = 1e-4
"""Of the numerical second derivatives, in standardised units."""
SMALLEST = 1e-300
EXTREME = 10.0
"""Shape beyond which nearly all times lie at one end of their range."""


@dataclass(frozen=True, kw_only=True)
class GeneralizedGamma:
    """log T = constant + x·coefficient + scale·error. k = covariates."""

    coefficient: Floats
    """(k,) log time ratio per unit."""
    covariance: Floats
    """(k, k) from the observed information, constant, scale and shape being estimated too."""
    constant: float
    scale: float
    shape: float
    """1 is Weibull, 0 log-normal, equal to `scale` gamma."""
    loglik: float
    """Of the times."""

    def __post_init__(self) -> None:
        freeze(self, "coefficient", "covariance")


def generalized_gamma(
    time: ArrayLike, event: ArrayLike, design: ArrayLike, *, entry: ArrayLike | None = None
) -> GeneralizedGamma:
    """Fit by maximum likelihood with late entry and right censoring (Prentice 1974; Cox et al. 2007).

    Estimand: logs of the ratio of times per unit of each covariate. Assumes that covariates stretch time alike at every
    age, and that entry and censoring tell nothing about the event.

    Args:
        time: (n,) of the event or of censoring, positive.
        event: (n,) whether it was the event.
        design: (n, k) covariates, without a constant.
        entry: (n,) time from which on the row is followed; default 0.

    Raises:
        ValueError: arrays that do not fit, times not after their entry, no event, covariates that do not vary, or a
            likelihood without a maximum inside the parameter space.

    Example:
        >>> rng = np.random.default_rng(1)
        >>> x = rng.standard_normal(500)
        >>> t = np.exp(2 + 0.5 * x + 0.7 * np.log(rng.exponential(size=500)))
        >>> fit = generalized_gamma(t, np.ones(500), x[:, None])
        >>> bool(abs(fit.coefficient[0] - 0.5) < 0.1), bool(abs(fit.shape - 1) < 0.4)
        (True, True)
    """
    t = vector(time, "time")
    x = np.asarray(design, dtype=np.float64)
    hit = flags(event, "event", t.size)
    begin = np.zeros(t.size) if entry is None else vector(entry, "entry", t.size)
    _require(t, x, hit, begin)
    centre, spread = x.mean(0), x.std(0)
    z = (x - centre) / spread
    unit = float(np.exp(np.log(t).mean()))
    logs = np.log(t / unit), np.log(np.where(begin > 0, begin, 1.0) / unit)
    late = begin > 0

    def negative(point: Floats) -> float:
        return -_loglik(point, logs, hit, late, z) / t.size

    first = [float(logs[0].mean()), float(np.log(logs[0].std() + 0.1))]
    starts = [np.concatenate([first, [shape], np.zeros(z.shape[1])]) for shape in (1.0, 0.2)]
    found = min((_minimum(negative, start) for start in starts), key=negative)
    information = _second(negative, found) * t.size
    if abs(found[2]) > EXTREME:
        raise ValueError(f"the shape runs off ({found[2]:.1f}): these times have no generalised gamma distribution")
    if not (np.isfinite(information).all() and (np.linalg.eigvalsh(information) > 0).all()):
        raise ValueError("the likelihood has no maximum inside the parameter space")
    scale_back = 1 / spread
    covariance = np.linalg.inv(information)[3:, 3:] * np.outer(scale_back, scale_back)
    slope = found[3:] * scale_back
    return GeneralizedGamma(
        coefficient=slope,
        covariance=np.asarray(covariance, dtype=np.float64),
        constant=float(found[0] + np.log(unit) - centre @ slope),
        scale=float(np.exp(found[1])),
        shape=float(found[2]),
        loglik=float(-negative(found) * t.size - np.log(unit) * hit.sum()),
    )


def _minimum(negative: Callable[[Floats], float], start: Floats) -> Floats:
    """Go downhill by quasi-Newton steps from a simplex's first guess."""
    rough = optimize.minimize(negative, start, method="Nelder-Mead", options={"maxiter": 200 * start.size})
    return np.asarray(optimize.minimize(negative, rough.x, method="BFGS", jac="3-point").x, dtype=np.float64)


def _loglik(point: Floats, logs: tuple[Floats, Floats], hit: Bools, late: Bools, z: Floats) -> float:
    """Return the log likelihood of times in units of their geometric mean."""
    middle, scale, shape = point[0] + z @ point[3:], float(np.exp(np.clip(point[1], -10, 10))), float(point[2])
    w = (logs[0] - middle) / scale
    alive = _log_survival(w, shape)
    dense = _log_density(w, shape) - np.log(scale) - logs[0]
    before = _log_survival((logs[1] - middle) / scale, shape)
    return float(np.where(hit, dense, alive).sum() - before[late].sum())


def _log_density(w: Floats, shape: float) -> Floats:
    """Return the log density of standardised log times."""
    if abs(shape) < NORMAL:
        return np.asarray(-(w**2) / 2 - np.log(2 * np.pi) / 2)
    a = shape**-2
    power = np.minimum(shape * w, 700.0)
    return np.asarray(np.log(abs(shape)) + a * np.log(a) - special.gammaln(a) + a * (shape * w - np.exp(power)))


def _log_survival(w: Floats, shape: float) -> Floats:
    if abs(shape) < NORMAL:
        return np.asarray(special.log_ndtr(-w))
    a = shape**-2
    value = a * np.exp(np.minimum(shape * w, 700.0))
    share = special.gammaincc(a, value) if shape > 0 else special.gammainc(a, value)
    return np.asarray(np.log(np.maximum(share, SMALLEST)))


def _second(negative: Callable[[Floats], float], point: Floats) -> Floats:
    """Return second derivatives by central differences: (p, p)."""
    p = point.size
    steps = np.eye(p) * STEP
    out = np.empty((p, p))
    for i in range(p):
        for j in range(i, p):
            corners = (
                negative(point + steps[i] + steps[j])
                - negative(point + steps[i] - steps[j])
                - negative(point - steps[i] + steps[j])
                + negative(point - steps[i] - steps[j])
            )
            out[i, j] = out[j, i] = corners / (4 * STEP**2)
    return out


def _require(t: Floats, x: Floats, hit: Bools, begin: Floats) -> None:
    faults = []
    if x.ndim != 2 or x.shape[0] != t.size or not np.isfinite(x).all():
        faults.append(f"design must be ({t.size}, k) and finite, got shape {x.shape}")
    elif not (x.std(0) > 0).all():
        faults.append(f"covariates {np.flatnonzero(~(x.std(0) > 0)).tolist()} do not vary")
    if not (t > 0).all() or (begin < 0).any() or (t <= begin).any():
        faults.append("times must be positive and lie after their entry, which is at least 0")
    if not hit.any():
        faults.append("there is no event")
    complain(faults)
