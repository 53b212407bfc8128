"""Residuals of series from what their own past foretells, which a process at rest leaves standard normal.

A chart that takes the mean of a learning time for the true one alarms too often, and so does one that takes an
estimated process for the true one: slow swings of its own are taken for moves. Here each period is judged by the
distribution that those before it foretell, averaged over what is not known of mean, process variance and memory (Dawid
1984, JRSS A 147).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import special, stats

from rox.numerics.arrays import Floats, freeze, vector

MEMORY = np.arange(10) / 10
"""Autocorrelations ρ of a process from one period to the next that are weighed, all alike beforehand."""
STEPS = 9
"""Process variances above zero that are weighed."""
AT_REST = 0.4
"""Weight beforehand of a process that does not vary beyond sampling."""


@dataclass(frozen=True, kw_only=True)
class Series:
    """A series and what is known of its errors. t = periods.

    ``sampling`` is (t,) variances, or (t, t) the covariance of errors that are not independent, such as those of a
    season taken out; where it hardly leaves any error, a thousandth of the mean variance is added.
    """

    y: Floats
    """(t,) values."""
    at: Floats
    """(t,) numbers of the periods, rising."""
    sampling: Floats
    """(t,) or (t, t)."""

    def __post_init__(self) -> None:
        freeze(self, "y", "at", "sampling")


@dataclass(frozen=True, kw_only=True)
class Judged:
    """How far each period was from what was foretold. t = periods."""

    residual: Floats
    """(t,) in standard errors; missing in the periods learnt from."""
    process: Floats
    """(t,) process variance it was judged with; in the periods learnt from, that of all of them."""
    rho: Floats
    """(t,) autocorrelation it was judged with, likewise."""

    def __post_init__(self) -> None:
        freeze(self, "residual", "process", "rho")


@dataclass(frozen=True, kw_only=True)
class _Weighed:
    """One series under every ρ (r) and τ² (s)."""

    at: Floats
    ahead: Floats  # (r, s, t − 1) standardised distance from the prediction by the periods before
    known: Floats  # (r, s, t) logarithm of prior weight of τ² and restricted likelihood, up to and with each period
    process: Floats  # (s,)

    @property
    def of_memory(self) -> Floats:
        """(r, t) logarithm of the likelihood of ρ."""
        return np.asarray(special.logsumexp(self.known, axis=1))


def self_starting(series: Sequence[Series], *, learn: int, shared: Sequence[int] | None = None) -> list[Judged]:
    """Judge every period of several series by those before it.

    Mean unknown and constant; covariance of the errors plus τ²·ρ^|lag|. Each series has a τ² of its own; ρ is common,
    and learnt from all earlier periods of the shared series. A period's distribution is the average over ρ and τ²,
    weighed by the restricted likelihood of the periods before it; its residual is the normal quantile of its place
    therein.

    Args:
        series: The series, in any unit.
        learn: Periods before the first residual, at least 4.
        shared: Places of the series, independent of each other, from which ρ is learnt; all by default.

    Raises:
        ValueError: No series, arrays that do not fit together, too few periods to learn from, one without any variance.
    """
    places = range(len(series)) if shared is None else shared
    if not len(places):
        raise ValueError("needs at least one series")
    weighed = [_weighed(each, learn) for each in series]
    told = [(weighed[place].at, weighed[place].of_memory) for place in places]
    return [_judged(each, told, learn) for each in weighed]


def _weighed(series: Series, learn: int) -> _Weighed:
    y, at = vector(series.y, "y"), vector(series.at, "at")
    size = y.size
    errors = np.asarray(series.sampling, dtype=np.float64)
    if errors.ndim == 2 and errors.shape == (size, size):
        errors = errors + 1e-3 * errors.trace() / size * np.eye(size)
    else:
        errors = np.diag(vector(errors, "sampling variances", size))
    if at.size != size or not (np.diag(errors) > 0).all() or learn < 4 or size < learn:
        raise ValueError(
            f"needs as many periods as values, variances above 0, and 4 or more of them to learn from, got {learn}"
        )
    v, next_to = np.diag(errors)[:learn], np.diag(errors, 1)[: learn - 1]
    sampling = float((v[1:] + v[:-1] - 2 * next_to).mean()) / 2
    most = max(float((np.diff(y[:learn]) ** 2).mean()) / 2, sampling)
    process = np.concatenate([[0.0], np.geomspace(max(sampling / 4, most / 100), 10 * most, STEPS)])
    prior = np.log([AT_REST, *[(1 - AT_REST) / STEPS] * STEPS])
    kept = MEMORY[:, None, None] ** np.abs(at[:, None] - at[None, :])
    lower = np.linalg.cholesky(process[:, None, None] * kept[:, None] + errors)
    both = np.column_stack([y - y[:learn].mean(), np.ones(size)])
    white = np.linalg.solve(lower, np.broadcast_to(both, (*lower.shape[:2], size, 2)))
    value, one = white[..., 0], white[..., 1]
    told = np.cumsum(one**2, axis=-1)[..., :-1]
    mean = np.cumsum(one * value, axis=-1)[..., :-1] / told
    wider = np.sqrt(1 + one[..., 1:] ** 2 / told)
    ahead = (value[..., 1:] - one[..., 1:] * mean) / wider
    error = np.diagonal(lower, axis1=-2, axis2=-1)[..., 1:] * wider
    known = np.cumsum(-(ahead**2) / 2 - np.log(error), axis=-1)
    known = np.concatenate([np.zeros((*known.shape[:2], 1)), known], axis=-1) + prior[:, None]
    return _Weighed(at=at, ahead=ahead, known=known, process=process)


def _judged(own: _Weighed, told: Sequence[tuple[Floats, Floats]], learn: int) -> Judged:
    size = own.at.size
    memory = np.zeros((MEMORY.size, size - learn))
    for at, likelihood in told:
        before = np.searchsorted(at, own.at[learn:])
        memory = memory + np.where(before > 0, likelihood[:, np.maximum(before - 1, 0)], 0.0)
    known = own.known[..., learn - 1 : size - 1]
    weight = known - own.of_memory[:, None, learn - 1 : size - 1] + memory[:, None]
    weight = np.exp(weight - special.logsumexp(weight, axis=(0, 1)))
    ahead = own.ahead[..., learn - 1 :]
    above, below = ((weight * tail).sum((0, 1)) for tail in (stats.norm.sf(ahead), stats.norm.cdf(ahead)))
    least = np.maximum(np.minimum(above, below), 1e-300)
    found = {
        "residual": np.where(above < below, 1.0, -1.0) * stats.norm.isf(least),
        "process": (weight * own.process[:, None]).sum((0, 1)),
        "rho": (weight * MEMORY[:, None, None]).sum((0, 1)),
    }
    first = {name: np.nan if name == "residual" or size == learn else values[0] for name, values in found.items()}
    return Judged(**{name: np.concatenate([np.full(learn, first[name]), values]) for name, values in found.items()})


def simes(p: ArrayLike) -> float:
    """Return the p-value of the hypothesis that none of several moved: min over i of m·p_(i)/i (Simes 1986).

    Example:
        >>> round(simes([0.01, 0.5, 0.9]), 12)
        0.03
    """
    ordered = np.sort(vector(p, "p-values"))
    return float(min((ordered.size * ordered / np.arange(1, ordered.size + 1)).min(), 1.0))
