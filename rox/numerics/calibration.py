"""Compare predicted with observed incidence at a horizon: by tenths, as a slope, and as a smooth curve.

Observed incidence is Aalen & Johansen's within a tenth; slope and curve come from complementary log-log regressions of
the outcome on the prediction, with weights for censoring (Austin, Harrell & van Klaveren 2020; for competing risks
Austin, Putter, Giardiello & van Klaveren 2022).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from rox.numerics.arrays import Floats, complain, freeze, vector
from rox.numerics.incidence import cumulative_incidence, life_table
from rox.numerics.prognosis import Censoring, outcome_weights

KNOTS = (0.05, 0.35, 0.65, 0.95)
"""Quantiles of the predictions at which the smooth curve has its knots (Harrell 2015, table 2.3)."""

EDGE = 1e-9
"""Predictions closer to 0 or 1 are taken to be this close when they are put on the complementary log-log scale."""


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """Predicted beside observed. q = groups of customers by predicted risk, n = customers."""

    horizon: float
    size: Floats
    """(q,) customers, from the lowest predicted risk to the highest."""
    predicted: Floats
    """(q,) mean predicted incidence."""
    observed: Floats
    """(q,) Aalen-Johansen at the horizon; NaN where nobody of the group is followed so long."""
    observed_se: Floats
    """(q,)."""
    intercept: float
    """Of observed on predicted, both complementary log-log; 0 and a slope of 1 are perfect."""
    slope: float
    """Below 1 the predictions are too far apart, above 1 too close."""
    slope_se: float
    """Sandwich, taking the censoring weights as known."""
    smooth: Floats
    """(n,) smooth observed incidence at each customer's prediction."""
    ici: float
    """Mean distance of the smooth curve from the diagonal, as a probability (integrated calibration index)."""
    e50: float
    """Median distance."""
    e90: float
    """Distance that nine tenths of customers keep within."""

    def __post_init__(self) -> None:
        freeze(self, "size", "predicted", "observed", "observed_se", "smooth")


def calibration(
    time: ArrayLike,
    cause: ArrayLike,
    predicted: ArrayLike,
    horizon: float,
    *,
    groups: int = 10,
    followed: Censoring | None = None,
) -> Calibration:
    """Compare predicted incidence of cause 1 by a horizon with what was observed.

    Args:
        time: (n,) time of event or censoring since the prediction.
        cause: (n,) 0 censored, 1 the event predicted, above 1 other causes.
        predicted: (n,) predicted probability of an event of cause 1 by the horizon.
        horizon: on the same clock.
        groups: number of groups of about equal size; ties in the prediction keep together.
        followed: censoring distribution; default that of these data.

    Raises:
        ValueError: arrays that do not fit, predictions outside 0..1 or without variation, fewer than 10 events by the
            horizon, or nobody followed so long.
    """
    when, chance = vector(time, "time"), vector(predicted, "predicted")
    kind = vector(cause, "cause", when.size)
    gone = (kind == 1) & (when <= horizon)
    faults = []
    if chance.size != when.size:
        faults.append(f"predicted has {chance.size} values, needed {when.size}")
    if ((chance < 0) | (chance > 1)).any():
        faults.append("predicted probabilities must lie in 0..1")
    elif np.ptp(chance) == 0:
        faults.append("all predictions are equal")
    if gone.sum() < 10:
        faults.append(f"{int(gone.sum())} events by the horizon; at least 10 are needed")
    if groups < 2:
        faults.append(f"groups must be at least 2, got {groups}")
    complain(faults)
    weight = outcome_weights(when, kind, np.array([float(horizon)]), followed)[:, 0]
    known = weight > 0
    scale = np.log(-np.log1p(-np.clip(chance, EDGE, 1 - EDGE)))
    line = np.column_stack([np.ones(when.size), scale])
    coefficient, covariance = _complementary_log_log(line[known], gone[known], weight[known])
    curve = np.column_stack([line, _restricted_cubic(scale, np.unique(np.quantile(scale, KNOTS)))])
    bent, _ = _complementary_log_log(curve[known], gone[known], weight[known])
    smooth = -np.expm1(-np.exp(curve @ bent))
    distance = np.abs(smooth - chance)
    size, mean, observed, error = _by_group(when, kind, chance, horizon, groups)
    return Calibration(
        horizon=float(horizon),
        size=size,
        predicted=mean,
        observed=observed,
        observed_se=error,
        intercept=float(coefficient[0]),
        slope=float(coefficient[1]),
        slope_se=float(np.sqrt(covariance[1, 1])),
        smooth=smooth,
        ici=float(distance.mean()),
        e50=float(np.quantile(distance, 0.5)),
        e90=float(np.quantile(distance, 0.9)),
    )


def _by_group(
    time: Floats, cause: Floats, chance: Floats, horizon: float, groups: int
) -> tuple[Floats, Floats, Floats, Floats]:
    cuts = np.unique(np.quantile(chance, np.arange(1, groups) / groups))
    code = np.searchsorted(cuts, chance, "left")
    _, code = np.unique(code, return_inverse=True)
    curves = cumulative_incidence(life_table(None, time, cause, code), 1)
    value, error = curves.at(horizon)
    size = np.bincount(code).astype(np.float64)
    return size, np.bincount(code, weights=chance) / size, value[0], error[0]


def _restricted_cubic(x: Floats, knots: Floats) -> Floats:
    """Return the curved terms of a cubic spline that is straight beyond its outer knots (Harrell 2015, 2.4.5)."""
    if knots.size < 3:
        return np.empty((x.size, 0))
    width = knots[-1] - knots[-2]

    def cubed(knot: float) -> Floats:
        return np.asarray(np.maximum(x - knot, 0.0) ** 3)

    tail = cubed(knots[-2]), cubed(knots[-1])
    terms = [
        cubed(knot) - tail[0] * (knots[-1] - knot) / width + tail[1] * (knots[-2] - knot) / width for knot in knots[:-2]
    ]
    return np.asarray(np.column_stack(terms) / (knots[-1] - knots[0]) ** 2, dtype=np.float64)


def _complementary_log_log(x: Floats, y: Floats, weight: Floats) -> tuple[Floats, Floats]:
    """Regress y on x by weighted complementary log-log; returns coefficients and their sandwich covariance.

    Fisher scoring with halved steps, from the prediction itself (second column).
    """
    beta = np.zeros(x.shape[1])
    beta[1] = 1.0
    shape = _fit_parts(x, y, weight, beta)
    for _ in range(100):
        step = np.linalg.lstsq(shape[2], shape[1].sum(0), rcond=None)[0]
        for halved in range(20):
            tried = _fit_parts(x, y, weight, beta + step / 2**halved)
            if tried[0] >= shape[0] - 1e-12 * abs(shape[0]):
                break
        beta, shape = beta + step / 2**halved, tried
        if step @ shape[2] @ step < 1e-16 * weight.size:
            bread = np.linalg.pinv(shape[2])
            return beta, bread @ (shape[1].T @ shape[1]) @ bread
    raise ValueError("observed incidence does not settle on a curve of the prediction; the two hardly go together")


def _fit_parts(x: Floats, y: Floats, weight: Floats, beta: Floats) -> tuple[float, Floats, Floats]:
    """Return log likelihood, scores (n, k) and expected information (k, k)."""
    hazard = np.exp(np.clip(x @ beta, -30.0, 3.4))
    gone = -np.expm1(-hazard)
    loglik = float(weight @ np.where(y, np.log(gone), -hazard))
    scores = (weight * hazard * np.where(y, (1 - gone) / gone, -1.0))[:, None] * x
    return loglik, scores, (x * (weight * hazard**2 * (1 - gone) / gone)[:, None]).T @ x
