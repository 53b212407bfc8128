"""Coefficient stability: how an estimate moves if hidden causes matter as much as seen ones (Oster 2019, JBES 37)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rox.numerics.arrays import Bools, Floats, complain, freeze


@dataclass(frozen=True, kw_only=True)
class OsterBeta:
    """The effect that proportional selection implies. r = real solutions of the cubic, one to three."""

    beta: float
    """Admissible solution nearest to the long coefficient; NaN if none is, as can happen for delta above 1."""
    solutions: Floats
    """(r,) all real solutions, ascending."""
    admissible: Bools
    """(r,) whether, under it, the seen covariates go with the treatment in the direction in which they moved the
    coefficient (Oster's assumption 3)."""

    def __post_init__(self) -> None:
        freeze(self, "solutions", "admissible")


@dataclass(frozen=True)
class _Stability:
    """Oster's quantities: shift of the coefficient, variances of the treatment, variance seen and still hidden."""

    shift: float
    raw: float
    residual: float
    seen: float
    hidden: float


def oster_delta(
    *,
    beta_short: float,
    r2_short: float,
    beta_long: float,
    r2_long: float,
    r2_max: float,
    var_outcome: float,
    var_treatment: float,
    var_treatment_residual: float,
    beta: float = 0.0,
) -> float:
    """Return how much stronger than on seen causes selection on hidden ones must be for the effect to be `beta`.

    Exact (Oster 2019, section 3), not the approximation of equal relative contributions. delta is the ratio of
    cov(treatment, hidden index) / var(hidden index) to the same of the seen index, the hidden index being orthogonal to
    the seen covariates. With a = beta_long - beta, d = beta_short - beta_long, S and T the variances of the treatment
    before and after the covariates, V = r2 times the variance of the outcome:

        delta (d S + a (S - T)) (V_max - V_long + a^2 T) = a T (V_long - V_short + S d^2 + 2 a S d + a^2 (S - T))

    Negative: hidden causes would have to work against the seen ones. Infinite: no delta gives `beta`. NaN: the
    covariates move neither outcome nor treatment, and nothing can be compared with them.

    Args:
        beta_short: coefficient without the covariates.
        r2_short: R2 of that regression.
        beta_long: coefficient with them.
        r2_long: R2 with them.
        r2_max: R2 if hidden causes were seen as well; Oster proposes min(1, 1.3 r2_long).
        var_outcome: variance of the outcome that the three R2 are shares of.
        var_treatment: variance of the treatment; its residual variance on covariates that are in both regressions.
        var_treatment_residual: residual variance of the treatment on all covariates of the long regression.
        beta: effect asked about.

    All variances must have the same divisor.

    Raises:
        ValueError: numbers that no pair of nested regressions on the same rows can give, or r2_max below r2_long.
    """
    if not np.isfinite(beta):
        raise ValueError(f"beta must be finite, got {beta}")
    s = _stability(beta_short, r2_short, beta_long, r2_long, r2_max, var_outcome, var_treatment, var_treatment_residual)
    a, gap = beta_long - beta, s.raw - s.residual
    above = a * s.residual * (s.seen + s.raw * s.shift**2 + 2 * a * s.raw * s.shift + a**2 * gap)
    below = (s.shift * s.raw + a * gap) * (s.hidden + a**2 * s.residual)
    if below == 0:
        return float(np.copysign(np.inf, above)) if above else np.nan
    return float(above / below)


_SEEN = 1e-7
"""Solutions under which the seen index all but vanishes (with one covariate there always is one) are no solutions."""


def oster_bias_adjusted(
    *,
    beta_short: float,
    r2_short: float,
    beta_long: float,
    r2_long: float,
    r2_max: float,
    var_outcome: float,
    var_treatment: float,
    var_treatment_residual: float,
    delta: float = 1.0,
) -> OsterBeta:
    """Return the effect if selection on hidden causes is delta times that on seen ones.

    Solves the equation of `oster_delta` for beta: a cubic, a quadratic for delta = 1 (Oster 2019, section 3). Her
    assumption 3 leaves the solutions under which cov(treatment, seen index) has the sign of beta_short - beta_long; of
    several the one nearest to beta_long is taken.

    Args:
        beta_short: as the others, see `oster_delta`.
        delta: ratio of selection on hidden to selection on seen causes; 0 gives beta_long.

    Raises:
        ValueError: as `oster_delta`, or a delta that is not finite.
    """
    if not np.isfinite(delta):
        raise ValueError(f"delta must be finite, got {delta}")
    s = _stability(beta_short, r2_short, beta_long, r2_long, r2_max, var_outcome, var_treatment, var_treatment_residual)
    gap, product = s.raw - s.residual, s.raw * s.shift
    scale = np.sqrt(var_outcome / s.raw)
    cubic = np.array(
        [
            s.residual * gap * (delta - 1) * scale**3,
            s.residual * product * (delta - 2) * scale**2,
            (delta * s.hidden * gap - s.residual * (s.seen + product * s.shift)) * scale,
            delta * s.hidden * product,
        ]
    )
    bias = _real_roots(cubic) * scale
    if not bias.size:
        return OsterBeta(beta=np.nan, solutions=np.empty(0), admissible=np.empty(0, dtype=bool))
    admissible = (product + bias * gap) * np.sign(s.shift) >= _SEEN * abs(product)
    order = np.argsort(-bias)
    kept = bias[admissible]
    best = beta_long - kept[np.argmin(np.abs(kept))] if kept.size else np.nan
    return OsterBeta(beta=float(best), solutions=(beta_long - bias)[order], admissible=admissible[order])


def _real_roots(polynomial: Floats) -> Floats:
    """Return the real roots, coefficients below rounding taken as zero, each polished by Newton's method."""
    size = np.abs(polynomial).max()
    if size == 0:
        return np.empty(0)
    clean = np.where(np.abs(polynomial) < 1e-14 * size, 0.0, polynomial)
    roots = np.roots(clean)
    real = roots.real[np.abs(roots.imag) <= 1e-7 * np.maximum(1, np.abs(roots))]
    slope = np.polyder(clean)
    for _ in range(3):
        steep = np.polyval(slope, real)
        real = real - np.divide(np.polyval(clean, real), steep, out=np.zeros_like(real), where=steep != 0)
    return np.asarray(real, dtype=np.float64)


def _stability(
    beta_short: float,
    r2_short: float,
    beta_long: float,
    r2_long: float,
    r2_max: float,
    var_outcome: float,
    var_treatment: float,
    var_treatment_residual: float,
) -> _Stability:
    numbers = (beta_short, r2_short, beta_long, r2_long, r2_max, var_outcome, var_treatment, var_treatment_residual)
    if not np.isfinite(numbers).all():
        raise ValueError(f"all numbers must be finite, got {numbers}")
    faults = []
    if not 0 <= r2_short <= r2_long <= r2_max <= 1:
        faults.append(f"needs 0 <= r2_short <= r2_long <= r2_max <= 1, got {r2_short}, {r2_long}, {r2_max}")
    if not 0 < var_treatment_residual <= var_treatment * (1 + 1e-12):
        faults.append(
            f"needs 0 < var_treatment_residual <= var_treatment, got {var_treatment_residual}, {var_treatment}"
        )
    if not var_outcome > 0:
        faults.append(f"var_outcome must be positive, got {var_outcome}")
    complain(faults)
    shift, gap = beta_short - beta_long, max(var_treatment - var_treatment_residual, 0.0)
    seen, hidden = (r2_long - r2_short) * var_outcome, (r2_max - r2_long) * var_outcome
    moved = shift**2 * var_treatment * var_treatment_residual
    if moved > 1.05 * gap * seen + 1e-9 * var_outcome * var_treatment:
        raise ValueError(
            f"a move of the coefficient by {shift:.4g} is more than covariates can cause that raise R2 from "
            f"{r2_short:.4g} to {r2_long:.4g} and lower the variance of the treatment from {var_treatment:.4g} to "
            f"{var_treatment_residual:.4g}; take all numbers from regressions on the same rows and weights"
        )
    return _Stability(shift, var_treatment, var_treatment - gap, seen, hidden)
