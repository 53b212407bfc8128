"""How much of a result's variance each input brings: first- and total-order shares, and how far ranks explain it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata

from rox.numerics.arrays import Floats, complain, freeze


@dataclass(frozen=True, kw_only=True)
class VarianceShares:
    """Shares of the variance of a result by factor, each with shape (factor,).

    The first-order share is what knowing the factor alone would take away from the variance; the total share is what
    remains when everything else is known. They differ by what the factor does together with others.

    Attributes:
        first: First-order shares. They add up to one when factors only add, and to less when they act together.
        first_error: Standard errors over draws.
        total: Total shares, at least the first-order ones but for noise.
        total_error: Standard errors over draws.
        variance: Of the result, in its unit squared.
    """

    first: Floats
    first_error: Floats
    total: Floats
    total_error: Floats
    variance: float

    def __post_init__(self) -> None:
        freeze(self, "first", "first_error", "total", "total_error")


def variance_shares(one: Floats, other: Floats, mixed: Floats) -> VarianceShares:
    """Estimate variance shares from two independent sets of draws and their crossings (pick and freeze).

    The factors must be independent of each other; inputs that hang together form one factor.

    Args:
        one: Results of the first set of draws, shape (draw,).
        other: Results of the second set, shape (draw,).
        mixed: Results of the first set with one factor taken from the second, shape (factor, draw).

    Raises:
        ValueError: Shapes that do not match, fewer than ten draws, or values that are not finite.

    References:
        Saltelli et al. (2010), *Computer Physics Communications* 181, table 2. First order: estimators (b), sharp for
        small shares, and (c), Jansen's (1999), sharp for large ones, mixed for the least variance. Total: Jansen's (f).
        Standard errors by the delta method.
    """
    one, other, mixed = (np.asarray(each, dtype=float) for each in (one, other, mixed))
    faults = []
    if one.ndim != 1 or other.shape != one.shape or mixed.ndim != 2 or mixed.shape[1:] != one.shape:
        faults.append(f"shapes {one.shape}, {other.shape} and {mixed.shape}; needed: (draw,), (draw,), (factor, draw)")
    elif len(one) < 10:
        faults.append(f"{len(one)} draws; at least 10 are needed")
    if not all(np.isfinite(each).all() for each in (one, other, mixed)):
        faults.append("some results are NaN or infinite")
    complain(faults)
    centre = (one.mean() + other.mean()) / 2
    squares = ((one - centre) ** 2 + (other - centre) ** 2) / 2
    variance = float(squares.mean())
    if not variance > 0:
        none = np.full(len(mixed), np.nan)
        return VarianceShares(first=none, first_error=none, total=none, total_error=none, variance=0.0)
    small, large = (other - centre) * (mixed - one), squares - (other - mixed) ** 2 / 2
    first, first_error = _ratio(_least_variance(small, large, squares), squares)
    total, total_error = _ratio((one - mixed) ** 2 / 2, squares)
    return VarianceShares(first=first, first_error=first_error, total=total, total_error=total_error, variance=variance)


def _least_variance(one: Floats, other: Floats, squares: Floats) -> Floats:
    """Mix two estimators of the same shares, draw by draw, so that their ratio to the variance varies least."""
    variance = squares.mean()
    influence = one - one.mean(axis=1, keepdims=True) / variance * squares
    gap = other - other.mean(axis=1, keepdims=True) / variance * squares - influence
    size = (gap**2).sum(axis=1, keepdims=True)
    weight = np.divide(-(influence * gap).sum(axis=1, keepdims=True), size, out=np.zeros_like(size), where=size > 0)
    return np.asarray(one + np.clip(weight, 0, 1) * (other - one))


def _ratio(parts: Floats, squares: Floats) -> tuple[Floats, Floats]:
    """Return means of parts over the mean of squares, with delta-method standard errors."""
    variance = squares.mean()
    share = parts.mean(axis=1) / variance
    influence = (parts - share[:, None] * squares) / variance
    return share, influence.std(axis=1, ddof=1) / np.sqrt(len(squares))


def rank_r2(inputs: Floats, values: Floats) -> float:
    """Return the R² of a linear regression of the ranks of a result on the ranks of its inputs.

    Near 1, the result rises or falls steadily with each input and one-at-a-time readings tell the whole; well below,
    inputs act together or turn.

    Args:
        inputs: Shape (draw, input); inputs that do not vary add nothing.
        values: Shape (draw,).

    Raises:
        ValueError: Shapes that do not match, or no more draws than inputs.

    References:
        Iman & Conover (1979), *Technometrics* 21.
    """
    inputs, values = np.asarray(inputs, dtype=float), np.asarray(values, dtype=float)
    if inputs.ndim != 2 or values.shape != inputs.shape[:1]:
        raise ValueError(f"needed: shapes (draw, input) and (draw,); got {inputs.shape} and {values.shape}")
    if len(values) <= inputs.shape[1] + 1:
        raise ValueError(f"{len(values)} draws do not carry {inputs.shape[1]} inputs")
    ranks = rankdata(inputs, axis=0)
    ranks = ranks - ranks.mean(axis=0)
    result = rankdata(values)
    result = result - result.mean()
    whole = float(result @ result)
    if not whole > 0:
        return float("nan")
    coefficients = np.linalg.lstsq(ranks, result, rcond=None)[0]
    left = result - ranks @ coefficients
    return float(1 - left @ left / whole)
