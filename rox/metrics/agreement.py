"""The least error a mean can have: answers that all agree are a sample too.

Where fewer than about five answers differ from the rest, the observed variance says more of the luck of the sample than
of the population; at none it is zero. There an error is at least that of the posterior of the mean with half a
pseudo-answer on each end of what can be answered (Dirichlet ½; Brown, Cai & DasGupta 2001 for two values).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from rox.core.study import Scale
from rox.core.units import Unit
from rox.numerics.arrays import Floats
from rox.numerics.intervals import posterior_variance
from rox.numerics.survey import SMALL_CATEGORY

CATEGORIES = (-1.0, 0.0, 1.0)
"""Detractors, passives and promoters; also a step down, none, and a step up between two waves."""


def support_of(unit: Unit, scale: Scale) -> tuple[float, ...]:
    """Return the values that get pseudo-answers: categories, no and yes, or the ends of the scale."""
    return {Unit.NPS_POINT: CATEGORIES, Unit.RATIO: (0.0, 1.0)}.get(unit, (float(scale.low), float(scale.high)))


def least_error(value: ArrayLike, square: ArrayLike, n: ArrayLike, support: Sequence[float]) -> Floats:
    """Return the least error of means that rest on few differing answers, 0 for all others.

    Args:
        value: Means.
        square: Means of the squares.
        n: Effective answers.
        support: What ``support_of`` returned.
    """
    mean, squares, size = (np.asarray(each, dtype=np.float64) for each in (value, square, n))
    rare = size * (squares - mean**2)
    if tuple(support) == CATEGORIES:
        shares = np.stack([(squares + mean) / 2, 1 - squares, (squares - mean) / 2])
        rare = size * np.clip(shares, 0.0, 1.0).min(axis=0)
    least = np.sqrt(posterior_variance(mean, squares, size, support=support))
    return np.where(rare < SMALL_CATEGORY, least, 0.0)


def floored(estimate: pd.DataFrame, support: Sequence[float]) -> pd.DataFrame:
    """Raise errors that are smaller than so few differing answers allow.

    Args:
        estimate: What ``estimates.ratio`` returns.
        support: What ``support_of`` returned.
    """
    least = least_error(estimate["value"], estimate["square"], estimate["n_eff"], support)
    return estimate.assign(se=np.maximum(estimate["se"].to_numpy(dtype=float), least))


def least_change(value: ArrayLike, variance: ArrayLike, n: ArrayLike) -> Floats:
    """Return the least error of changes where all customers, or all but a few, moved alike; 0 for all others.

    Args:
        value: Changes, in categories or points.
        variance: Their observed variances.
        n: Effective answers of the smaller wave.
    """
    mean, size = np.asarray(value, dtype=np.float64), np.asarray(n, dtype=np.float64)
    spread = np.nan_to_num(np.asarray(variance, dtype=np.float64)) * np.maximum(size - 1, 0.0)
    least = np.sqrt(posterior_variance(mean, spread + mean**2, size, support=mean[..., None] + CATEGORIES))
    return np.where(size * spread < SMALL_CATEGORY, least, 0.0)
