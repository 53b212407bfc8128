"""Ask whether a Cox coefficient changes with time, and by how much, from the residuals at the event times.

Estimand: the slope theta_j of beta_j(t) = beta_j + theta_j·(g(t) - mean g), g a transform of time (Grambsch & Therneau
1994). With many events any change is significant; `change` gives its size.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from rox.numerics.arrays import Floats, choice, freeze
from rox.numerics.cox import Cox
from rox.numerics.joint import Wald, wald_test

TRANSFORMS = ("identity", "log", "km", "rank")


@dataclass(frozen=True, kw_only=True)
class Proportionality:
    """Slopes of the coefficients over transformed time. k = covariates, t = event times."""

    transform: str
    slope: Floats
    """(k,) change of each coefficient alone per unit of transformed time, one Newton step from none."""
    slope_se: Floats
    """(k,) standard errors under the model."""
    statistic: Floats
    """(k,) score test of each slope, chi-squared with 1 degree of freedom."""
    p_value: Floats
    """(k,)."""
    together: Wald
    """Score test that no coefficient changes."""
    residual_statistic: Floats
    """(k,) Grambsch & Therneau's own test, which takes the variance of the covariates as constant over time."""
    residual_p_value: Floats
    """(k,)."""
    time: Floats
    """(t,) event times of all strata."""
    scaled: Floats
    """(t, k) scaled Schoenfeld residuals plus coefficient, averaged over the events of a time: a rough beta(t)."""
    events: Floats
    """(t,) events behind each, their weight in a smooth curve."""

    def __post_init__(self) -> None:
        freeze(self, "slope", "slope_se", "statistic", "p_value", "residual_statistic", "residual_p_value", "time")
        freeze(self, "scaled", "events")

    def change(self, begin: float, end: float) -> tuple[Floats, Floats]:
        """Return beta(end) - beta(begin) and its standard error, both (k,), on the clock of the data.

        Raises:
            ValueError: a transform whose value depends on the data; use "identity" or "log".
        """
        if self.transform == "identity":
            length = end - begin
        elif self.transform == "log":
            if min(begin, end) <= 0:
                raise ValueError(f"on the log of time both ends must be positive, got {begin} and {end}")
            length = float(np.log(end / begin))
        else:
            raise ValueError(f"the size of a change needs transform 'identity' or 'log', this is {self.transform!r}")
        return self.slope * length, np.asarray(self.slope_se * abs(length))


def proportionality(fit: Cox, *, transform: str = "identity", survival: ArrayLike | None = None) -> Proportionality:
    """Test proportional hazards and measure how a coefficient moves, from one fit and no second look at the rows.

    The score test is that of R's `cox.zph` since survival 3.0, exact under Efron's and Breslow's ties; the residual
    test is that of its earlier versions and of lifelines.

    Args:
        fit: Cox model.
        transform: "identity", "log", "km" (one less the survival just before, robust to a few late events) or "rank".
        survival: (t,) Kaplan-Meier survival just before each event time of the fit, needed for "km".

    Raises:
        ValueError: an unknown transform, log of times that are not positive, or "km" without survival.
    """
    choice(transform, TRANSFORMS, "transform")
    time, count = fit.times.time, fit.tied.astype(np.float64)
    g = _transformed(fit, transform, survival)
    g = g - (count @ g) / count.sum()
    info = fit.times_information
    k = fit.coefficient.size
    plain = info.sum(0)
    once, twice = np.tensordot(g, info, 1), np.tensordot(g**2, info, 1)
    score = g @ fit.residual
    variance = twice - once @ np.linalg.solve(plain, once)
    alone = np.array([_left(twice[j, j], once[j], plain) for j in range(k)])
    statistic = score**2 / alone
    whole = wald_test(np.linalg.solve(variance, score), np.linalg.inv(variance))
    events = count.sum()
    spread = count @ g**2
    raw = events * fit.residual @ fit.covariance
    old = (g @ raw) ** 2 / (events * np.diag(fit.covariance) * spread)
    return Proportionality(
        transform=transform,
        slope=score / alone,
        slope_se=1 / np.sqrt(alone),
        statistic=statistic,
        p_value=stats.chi2.sf(statistic, 1),
        together=whole,
        residual_statistic=old,
        residual_p_value=stats.chi2.sf(old, 1),
        time=time,
        scaled=raw / np.maximum(count, 1)[:, None] + fit.coefficient,
        events=count,
    )


def _left(own: float, with_beta: Floats, plain: Floats) -> float:
    """Return the information on one slope that is left once the coefficients are estimated too."""
    return float(own - with_beta @ np.linalg.solve(plain, with_beta))


def _transformed(fit: Cox, transform: str, survival: ArrayLike | None) -> Floats:
    time = fit.times.time
    if transform == "identity":
        return time
    if transform == "log":
        if (time <= 0).any():
            raise ValueError("on the log of time all event times must be positive")
        return np.asarray(np.log(time))
    if transform == "rank":
        distinct, place = np.unique(time, return_inverse=True)
        total = np.bincount(place, weights=fit.tied, minlength=distinct.size)
        return np.asarray((np.cumsum(total) - (total - 1) / 2)[place])
    if survival is None:
        raise ValueError("transform 'km' needs the survival just before each event time")
    before = np.asarray(survival, dtype=np.float64)
    if before.shape != time.shape or not ((before >= 0) & (before <= 1)).all():
        raise ValueError(f"survival must hold {time.size} shares between 0 and 1, got shape {before.shape}")
    return np.asarray(1 - before)
