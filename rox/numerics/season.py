"""Take the months of the year, feasts and promotions out of a series, and carry how well they are known.

y_t = level + trend·t + s_t + u_t + e_t, where s_t is a sum of known columns, u_t an autoregression of order one, and
e_t the error of sampling with a known variance (Harvey 1989, *Forecasting, Structural Time Series Models and the Kalman
Filter*, section 2.4; restricted likelihood as in Harville 1977, JASA 72).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import optimize

from rox.numerics.arrays import Bools, Floats, complain, freeze, vector

CARRIES = (0.0, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
"""Shares of a promotion's effect that last into the next period, to choose from."""
LEAST_OWN = 1e-6
"""A column of which less than this is its own, next to the others, tells nothing."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Adjusted:
    """A series without its season. t = periods, k = columns of the season."""

    adjusted: Floats
    """(t,) y less the season."""
    covariance: Floats
    """(t, t) of its errors: sampling, and the season not being known."""
    season: Floats
    """(t,) what was taken out."""
    effects: Floats
    """(k,) coefficients of the columns; zero of a column that told nothing."""
    effects_covariance: Floats
    """(k, k)."""
    rho: float
    """Autocorrelation of u from one period to the next."""
    process_variance: float
    """Of u."""
    log_likelihood: float
    """Not restricted, so that columns can be compared."""

    def __post_init__(self) -> None:
        freeze(self, "adjusted", "covariance", "season", "effects", "effects_covariance")


@dataclass(frozen=True, kw_only=True, eq=False)
class Prior:
    """What is known of coefficients beforehand: mean (k,) and covariance (k, k)."""

    mean: Floats
    covariance: Floats

    def __post_init__(self) -> None:
        freeze(self, "mean", "covariance")


def adjust(
    y: ArrayLike, at: ArrayLike, columns: ArrayLike, sampling: ArrayLike, *, prior: Prior | None = None
) -> Adjusted:
    """Take the season out of a series by generalised least squares, variances by restricted likelihood.

    Args:
        y: (t,) values.
        at: (t,) numbers of the periods, rising; some may be missing.
        columns: (t, k) what the season is made of, each with its middle at zero.
        sampling: (t,) sampling variances of the values.
        prior: of the coefficients; without it they come from this series alone.

    Raises:
        ValueError: arrays that do not fit together, negative variances, or too few periods.
    """
    values, when = vector(y, "y"), vector(at, "at")
    x, v = np.asarray(columns, dtype=np.float64), vector(sampling, "sampling variances", values.size)
    faults = []
    if x.ndim != 2 or len(x) != values.size or when.shape != values.shape:
        faults.append(f"arrays do not fit together: {values.shape}, {when.shape}, {x.shape}")
    elif (np.diff(when) <= 0).any() or (v < 0).any():
        faults.append("periods must rise, and variances not be negative")
    elif values.size < 6:
        faults.append(f"needs at least 6 periods, got {values.size}")
    if prior is not None and prior.mean.shape != (x.shape[-1],):
        faults.append(f"the prior is of {prior.mean.size} columns, there are {x.shape[-1]}")
    complain(faults)
    time = (when - when.mean()) / max(float(np.ptp(when)), 1.0)
    base = np.column_stack([np.ones(values.size), time])
    used = np.ones(x.shape[1], dtype=bool) if prior is not None else telling(base, x)
    if prior is None and values.size < base.shape[1] + used.sum() + 2:
        raise ValueError(f"{values.size} periods cannot tell {int(used.sum())} effects")
    design = np.column_stack([base, x[:, used]])
    precision, mean = np.zeros((design.shape[1], design.shape[1])), np.zeros(design.shape[1])
    if prior is not None:
        precision[2:, 2:] = np.linalg.inv(prior.covariance)
        mean[2:] = prior.mean
    rho, process = _variances(values, when, design, v, precision, mean)
    sigma = np.diag(v) + process * rho ** np.abs(when[:, None] - when[None, :])
    weight = np.linalg.solve(sigma, design)
    spread = np.linalg.inv(design.T @ weight + precision)
    estimate = spread @ (weight.T @ values + precision @ mean)
    part, hat = x[:, used], (spread @ weight.T)[2:]
    season = part @ estimate[2:]
    crossed = part @ hat * v[None, :]
    effects, known = np.zeros(x.shape[1]), np.zeros((x.shape[1], x.shape[1]))
    effects[used] = estimate[2:]
    known[np.ix_(used, used)] = spread[2:, 2:]
    return Adjusted(
        adjusted=values - season,
        covariance=np.diag(v) + part @ spread[2:, 2:] @ part.T - crossed - crossed.T,
        season=season,
        effects=effects,
        effects_covariance=known,
        rho=rho,
        process_variance=process,
        log_likelihood=_likelihood(values - design @ estimate, sigma),
    )


def telling(base: Floats, columns: Floats) -> Bools:
    """Say which columns (t, k) tell something that those before them, and the base (t, b), do not."""
    held, kept = base, []
    for column in columns.T:
        rest = column - held @ np.linalg.lstsq(held, column, rcond=None)[0]
        own = bool(rest @ rest > LEAST_OWN * max(float(column @ column), 1e-12))
        kept.append(own)
        if own:
            held = np.column_stack([held, column])
    return np.array(kept, dtype=bool)


def carried(intensity: ArrayLike, share: float) -> Floats:
    """Let something (t,) last into the periods after it, geometrically: z_t = x_t + share·z_(t−1).

    Example:
        >>> carried([1.0, 0.0, 0.0], 0.5).tolist()
        [1.0, 0.5, 0.25]
    """
    out, held = np.array(intensity, dtype=np.float64), 0.0
    for place, value in enumerate(out):
        held = out[place] = value + share * held
    return out


def pooled_prior(effects: ArrayLike, covariances: ArrayLike) -> Prior:
    """Learn from sisters what the effects of another series may be: their mean, and how much they differ.

    Differences between sisters beyond their errors have one variance over all columns, by moments. A single sister
    cannot tell it; another series is then taken to differ from it by half the size of its effects.

    Args:
        effects: (s, k) of each sister.
        covariances: (s, k, k) of their errors.

    Raises:
        ValueError: arrays that do not fit together.
    """
    b, c = np.asarray(effects, dtype=np.float64), np.asarray(covariances, dtype=np.float64)
    if b.ndim != 2 or c.shape != (*b.shape, b.shape[-1]) or not b.size:
        raise ValueError(f"arrays do not fit together: {b.shape}, {c.shape}")
    sisters, size = b.shape
    own = np.einsum("sii->si", c)
    between = float((b.var(0, ddof=1) - own.mean(0)).mean()) if sisters > 1 else float((b**2).mean()) / 4
    floor = 1e-3 * float((b**2).mean() + own.mean()) + 1e-12
    between = max(between, floor)
    return Prior(mean=b.mean(0), covariance=between * (1 + 1 / sisters) * np.eye(size) + c.sum(0) / sisters**2)


def _variances(
    y: Floats, when: Floats, design: Floats, v: Floats, precision: Floats, mean: Floats
) -> tuple[float, float]:
    """Return rho and the process variance at the greatest restricted likelihood, times 1 − ρ² against a unit root."""
    rest = y - design @ np.linalg.lstsq(design, y, rcond=None)[0]
    scale = max(float(rest @ rest) / max(y.size - np.linalg.matrix_rank(design), 1), 1e-12 * float(y @ y) + 1e-300)
    apart = np.abs(when[:, None] - when[None, :])

    def loss(at: Floats) -> float:
        rho, process = float(np.tanh(at[0])), scale * float(np.exp(at[1]))
        sigma = np.diag(v + 1e-9 * scale) + process * rho**apart
        weight = np.linalg.solve(sigma, design)
        inner = design.T @ weight + precision
        estimate = np.linalg.solve(inner, weight.T @ y + precision @ mean)
        gap, pull = y - design @ estimate, estimate - mean
        return 0.5 * float(
            np.linalg.slogdet(sigma)[1]
            + np.linalg.slogdet(inner)[1]
            + gap @ np.linalg.solve(sigma, gap)
            + pull @ precision @ pull
        ) - float(np.log1p(-(rho**2)))

    starts = [(r, p) for r in (-0.3, 0.1, 0.5, 0.9) for p in (-7.0, -3.0, -1.0, 0.0)]
    best = min(starts, key=lambda each: loss(np.array(each)))
    found = optimize.minimize(
        loss, np.array(best), method="L-BFGS-B", bounds=[(-0.6, 1.8), (-12.0, 4.0)], options={"maxiter": 60}
    )
    at = found.x if found.fun <= loss(np.array(best)) else np.array(best)
    return float(np.tanh(at[0])), scale * float(np.exp(at[1]))


def _likelihood(gap: Floats, sigma: Floats) -> float:
    return -0.5 * float(np.linalg.slogdet(sigma)[1] + gap @ np.linalg.solve(sigma, gap) + gap.size * np.log(2 * np.pi))
