"""Residuals of a series from what its own past foretells, which a process at rest leaves standard normal.

A chart that takes the mean of a learning time for the true one alarms too often; residuals that carry the error of the
mean, updated with every period, do not (Hawkins 1987, *The Statistician* 36; Brown, Durbin & Evans 1975, JRSS B 37).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from rox.numerics.arrays import Floats, vector


def self_starting(
    y: ArrayLike, at: ArrayLike, sampling: ArrayLike, *, learn: int, rho: float = 0.0
) -> tuple[Floats, Floats]:
    """Return how far each period is from what those before it foretell, in standard errors.

    Mean unknown and constant; covariance diag(V) + τ²·ρ^|lag|. Mean and τ² are estimated anew from all periods before
    each, τ² by moments from successive differences, to which a lasting shift adds but once (von Neumann et al. 1941);
    residuals are turned from Student's distribution with half as many degrees of freedom to the normal one, where a τ²
    above zero was found: differences are two thirds as good as squares, and residuals in a row share their error.

    Args:
        y: (t,) values.
        at: (t,) numbers of the periods, rising.
        sampling: (t,) sampling variances, or (t, t) the covariance of errors that are not independent, such as those of
            a season taken out; where it hardly leaves any error, a thousandth of the mean variance is added.
        learn: periods before the first residual, at least 4.
        rho: autocorrelation of the process from one period to the next.

    Returns:
        Residuals (t,), missing in the periods learnt from; and the process variance each was judged with (t,), in the
        periods learnt from that of all of them.

    Raises:
        ValueError: arrays that do not fit together, too few periods to learn from, or one without any variance.
    """
    values, when = vector(y, "y"), vector(at, "at")
    errors = np.asarray(sampling, dtype=np.float64)
    alone = errors.ndim == 1 and not rho
    if errors.ndim == 2 and errors.shape == (values.size, values.size):
        errors = errors + 1e-3 * errors.trace() / values.size * np.eye(values.size)
    else:
        errors = np.diag(vector(sampling, "sampling variances", values.size))
    if when.size != values.size or not (np.diag(errors) > 0).all() or learn < 4:
        raise ValueError(f"needs as many periods as values, variances above 0, and 4 to learn from, got {learn}")
    residual, process = np.full(values.size, np.nan), np.full(values.size, np.nan)
    process[:learn] = _process(values[:learn], errors[:learn, :learn], rho)
    for place in range(learn, values.size):
        to = slice(place + 1)
        tau = _process(values[:place], errors[:place, :place], rho)
        process[place] = tau
        if alone:
            score = _ahead_alone(values[to], np.diag(errors)[to] + tau)
        else:
            score = _ahead(values[to], errors[to, to] + tau * rho ** np.abs(when[to, None] - when[None, to]))
        if tau > 0:
            score = float(np.sign(score) * stats.norm.isf(stats.t.sf(abs(score), (place - 1) / 2)))
        residual[place] = score
    return residual, process


def _process(y: Floats, errors: Floats, rho: float) -> float:
    v, next_to = np.diag(errors), np.diag(errors, 1)
    half = float((np.diff(y) ** 2).mean()) / 2
    return max(0.0, half - float((v[1:] + v[:-1] - 2 * next_to).mean()) / 2) / (1 - rho)


def _ahead_alone(y: Floats, v: Floats) -> float:
    weight = 1 / v[:-1]
    mean = float(weight @ y[:-1] / weight.sum())
    return float((y[-1] - mean) / np.sqrt(v[-1] + 1 / weight.sum()))


def _ahead(y: Floats, sigma: Floats) -> float:
    """Return the last value less its best linear prediction from those before it, over its standard error."""
    lower = np.linalg.cholesky(sigma)
    white, one = np.linalg.solve(lower, y), np.linalg.solve(lower, np.ones(y.size))
    known = float(one[:-1] @ one[:-1])
    mean = float(one[:-1] @ white[:-1]) / known
    return float((white[-1] - one[-1] * mean) / np.sqrt(1 + one[-1] ** 2 / known))


def common_autocorrelation(residuals: Sequence[Floats], sampling: Sequence[Floats]) -> float:
    """Return the autocorrelation of processes from one period to the next, from short series that share it.

    Lagged products over squares beyond sampling, both summed over series and freed of the bias of their means; zero
    unless larger than chance would make it, one-sided at 95%.

    Args:
        residuals: of each series (t,), about its own mean.
        sampling: their sampling variances (t,).
    """
    lagged = square = noise = steps = 0.0
    for e, v in zip(residuals, sampling, strict=True):
        size = e.size
        bias = float((e**2).mean() / max(size - 1, 1))
        lagged += float((e[1:] * e[:-1]).sum()) + (size - 1) * bias
        square += float((e**2).sum()) * size / max(size - 1, 1)
        noise += float(v.sum())
        steps += size - 1
    if square <= 0 or lagged / square < 1.6449 / np.sqrt(max(steps, 1.0)):
        return 0.0
    return float(min(lagged / max(square - noise, lagged / 0.9, 1e-300), 0.9))


def simes(p: ArrayLike) -> float:
    """Return the p-value of the hypothesis that none of several moved: min over i of m·p_(i)/i (Simes 1986).

    Example:
        >>> round(simes([0.01, 0.5, 0.9]), 12)
        0.03
    """
    ordered = np.sort(vector(p, "p-values"))
    return float(min((ordered.size * ordered / np.arange(1, ordered.size + 1)).min(), 1.0))
