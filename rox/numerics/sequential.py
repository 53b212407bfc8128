"""Intervals that hold at every look at an experiment, so that it may be watched and stopped at any time.

A fixed 90% interval is right at one look chosen beforehand; looked at again and again it sooner or later excludes the
truth. A confidence sequence covers at all times at once, at the price of width.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from rox.numerics.arrays import Floats, complain, freeze, in_unit_interval


@dataclass(frozen=True, kw_only=True)
class Sequence:
    """Intervals at each look. m = looks."""

    low: Floats
    """(m,)."""
    high: Floats
    """(m,)."""
    multiplier: Floats
    """(m,) half-width in standard errors, where a fixed interval has the normal quantile."""
    level: float

    def __post_init__(self) -> None:
        freeze(self, "low", "high", "multiplier")


def confidence_sequence(
    estimate: ArrayLike, se: ArrayLike, *, information: ArrayLike = 1.0, level: float = 0.9
) -> Sequence:
    """Bound an effect at every look together, asymptotically, by Robbins' normal mixture.

    half-width = se * sqrt((1 + 1/u) (log(1 + u) - 2 log alpha)) with u = information * u*, where u* makes the interval
    tightest at information 1 (Robbins 1970; Howard, Ramdas, McAuliffe & Sekhon 2021, Annals of Statistics 49;
    Waudby-Smith, Arbour, Sinha, Kennedy & Ramdas 2024, Annals of Statistics 52, theorem 2.2). It assumes estimates
    that are means of ever more rows, their errors estimated consistently, and a first look at no few rows.

    Args:
        estimate: (m,) or one number, the estimate at each look.
        se: (m,) its standard error at that look.
        information: (m,) share of the planned rows seen by then; above 1 beyond the plan. The plan must not be made
            after looking.
        level: with which all intervals together hold.

    Raises:
        ValueError: shapes, standard errors that are negative, or information that is not positive.

    Example:
        >>> looks = confidence_sequence([0.9, 1.0], [0.50, 0.25], information=[0.25, 1.0])
        >>> looks.multiplier.round(2), looks.low.round(2)
        (array([2.99, 2.76]), array([-0.6 ,  0.31]))
    """
    in_unit_interval(level)
    theta, error, seen = np.broadcast_arrays(
        *(np.atleast_1d(np.asarray(each, dtype=np.float64)) for each in (estimate, se, information))
    )
    faults = []
    if not (np.isfinite(theta).all() and (error >= 0).all()):
        faults.append("estimates must be finite and standard errors not negative")
    if not (seen > 0).all():
        faults.append("information must be positive: the share of the planned rows seen at the look")
    complain(faults)
    alpha = 1 - level
    u = seen * best_mixture(level)
    multiplier = np.sqrt((1 + 1 / u) * (np.log1p(u) - 2 * np.log(alpha)))
    return Sequence(low=theta - multiplier * error, high=theta + multiplier * error, multiplier=multiplier, level=level)


def best_mixture(level: float) -> float:
    """Return u*, the variance of the mixture times the rows at which the sequence is to be tightest.

    The minimum of (1 + 1/u)(log(1 + u) - 2 log alpha): u = -W(-alpha^2 / e) - 1 on the lower branch of Lambert's W.
    """
    in_unit_interval(level)
    return float(-special.lambertw(-((1 - level) ** 2) / np.e, k=-1).real - 1)


def always_valid_p(estimate: float, se: float, *, information: float = 1.0, level: float = 0.9) -> float:
    """Return the p-value that may be looked at any time (Johari, Koomen, Pekelis & Walsh 2022, Operations Research 70).

    One over the mixture likelihood ratio of the sequence tuned to `level`, at most 1.

    Args:
        estimate: at this look.
        se: its standard error.
        information: share of the planned rows seen.
        level: for which the mixture is tuned.

    Raises:
        ValueError: an error or information that is not positive.
    """
    if not se > 0 or not information > 0:
        raise ValueError(f"needs a standard error and information above 0, got {se} and {information}")
    u = information * best_mixture(level)
    log_ratio = (estimate / se) ** 2 * u / (1 + u) / 2 - np.log1p(u) / 2
    return float(min(1.0, np.exp(-log_ratio)))
