"""Cox regression on (start, stop] rows with errors clustered by customer: lifelines estimates, the sandwich is ours."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from lifelines import CoxTimeVaryingFitter
from lifelines.exceptions import ConvergenceError
from numpy.typing import NDArray

from rox.core.errors import FitError

Floats = NDArray[np.float64]

STILL = 0.01
"""Standard errors by which one more Newton step may move a coefficient."""
RUN_OFF = 10.0
"""Standard error, per standard deviation of a covariate, at which its coefficient is not estimable."""


@dataclass(frozen=True, kw_only=True, eq=False)
class CoxFit:
    """Log hazard ratios and their sampling error. k = covariates.

    Attributes:
        names: Shape (k,).
        coefficient: Shape (k,), log hazard ratio per unit.
        covariance: Shape (k, k), Lin–Wei sandwich by customer.
        model_covariance: Shape (k, k), inverse information.
        events: Exits.
        customers: Clusters.
    """

    names: tuple[str, ...]
    coefficient: Floats
    covariance: Floats
    model_covariance: Floats
    events: int
    customers: int

    @property
    def se(self) -> Floats:
        """Clustered standard errors, shape (k,)."""
        return np.asarray(np.sqrt(np.diag(self.covariance)))

    @property
    def model_se(self) -> Floats:
        """Standard errors as if all rows were independent, shape (k,)."""
        return np.asarray(np.sqrt(np.diag(self.model_covariance)))


def cox(episodes: pd.DataFrame, covariates: pd.DataFrame) -> CoxFit:
    """Fit a Cox model by Efron's partial likelihood, stratified by segment.

    Args:
        episodes: ``customer``, ``segment``, ``start``, ``stop``, ``event``; at risk in (start, stop].
        covariates: Values known at ``start``, one column each, rows as in ``episodes``.

    Raises:
        FitError: The likelihood has no maximum, or a covariate does not vary among those at risk.
    """
    eventful = episodes["segment"].isin(episodes.loc[episodes["event"], "segment"].unique())
    kept, x = episodes[eventful], covariates[eventful].astype(float)
    if not (x.std(ddof=0) > 0).all():
        raise FitError(f"{[name for name in x if not x[name].std(ddof=0) > 0]} do not vary among customers at risk.")
    table = pd.concat([kept[["customer", "segment", "start", "stop", "event"]], x], axis=1)
    try:
        fit = CoxTimeVaryingFitter().fit(
            table,
            id_col="customer",
            event_col="event",
            start_col="start",
            stop_col="stop",
            strata=["segment"],
        )
    except ConvergenceError as cause:
        raise FitError(
            "The Cox model did not converge.", ["drop controls that single out those who left", str(cause)]
        ) from cause
    place = [list(fit.params_.index).index(name) for name in x]
    coefficient = fit.params_.to_numpy(dtype=float)[place]
    information = np.asarray(fit.variance_matrix_, dtype=float)[np.ix_(place, place)]
    residual = score_residuals(
        kept["start"].to_numpy(dtype=float),
        kept["stop"].to_numpy(dtype=float),
        kept["event"].to_numpy(dtype=bool),
        x.to_numpy(),
        coefficient,
        pd.factorize(kept["segment"])[0],
    )
    _require_maximum(residual.sum(axis=0), information, x.std(ddof=0).to_numpy())
    codes, customers = pd.factorize(kept["customer"])
    sums = np.column_stack([np.bincount(codes, weights=column) for column in residual.T])
    influence = sums @ information
    return CoxFit(
        names=tuple(str(name) for name in x),
        coefficient=coefficient,
        covariance=influence.T @ influence,
        model_covariance=information,
        events=int(kept["event"].sum()),
        customers=len(customers),
    )


def _require_maximum(score: Floats, information: Floats, spread: Floats) -> None:
    """Refuse a fit that another Newton step would still move, or that runs off because a covariate tells who left."""
    variance = np.diag(information)
    if np.isfinite(variance).all() and (variance > 0).all() and (np.sqrt(variance) * spread < RUN_OFF).all():
        step = np.abs(information @ score)
        if (step <= STILL * np.sqrt(variance)).all():
            return
    raise FitError(
        "The Cox model has no maximum.", ["some covariate separates those who left from those who stayed; drop it"]
    )


def score_residuals(
    start: Floats, stop: Floats, event: NDArray[np.bool_], x: Floats, coefficient: Floats, stratum: NDArray[np.int64]
) -> Floats:
    """Compute each row's contribution to the score, with Efron's treatment of ties (Therneau & Grambsch 2000, ch. 4).

    Sums over risk sets are differences of running sums, so the cost grows like n·log(n).

    Args:
        start: Shape (n,).
        stop: Shape (n,).
        event: Shape (n,).
        x: Shape (n, k).
        coefficient: Shape (k,).
        stratum: Shape (n,), codes.

    Returns:
        Shape (n, k); they sum to zero at the maximum of the likelihood.
    """
    out = np.zeros_like(x)
    for code in np.unique(stratum[event]):
        rows = np.flatnonzero(stratum == code)
        out[rows] = _stratum_residuals(start[rows], stop[rows], event[rows], x[rows], coefficient)
    return out


def _stratum_residuals(start: Floats, stop: Floats, event: NDArray[np.bool_], x: Floats, coefficient: Floats) -> Floats:
    eta = x @ coefficient
    risk = np.exp(eta - eta.max())
    sums = np.column_stack([risk, risk[:, None] * x])
    times, died = np.unique(stop[event], return_inverse=True)
    at_risk = _from(stop, sums, times) - _from(start, sums, times)
    dead = np.column_stack([np.bincount(died, weights=column) for column in sums[event].T])
    ties = np.bincount(died)
    place = np.repeat(np.arange(len(times)), ties)
    fraction = (np.arange(len(place)) - np.repeat(np.cumsum(ties) - ties, ties)) / ties[place]
    left = at_risk[place] - fraction[:, None] * dead[place]
    step = 1 / left[:, 0]
    mean = left[:, 1:] * step[:, None]

    def per_time(weight: Floats) -> Floats:
        parts = np.column_stack([weight, weight[:, None] * mean])
        return np.column_stack([np.bincount(place, weights=column, minlength=len(times)) for column in parts.T])

    hazard, own = per_time(step), per_time(step * (1 - fraction))
    running = np.vstack([np.zeros(hazard.shape[1]), np.cumsum(hazard, axis=0)])
    passed = running[np.searchsorted(times, stop, "right")] - running[np.searchsorted(times, start, "right")]
    passed[event] -= hazard[died] - own[died]
    out = -risk[:, None] * (x * passed[:, :1] - passed[:, 1:])
    centre = np.column_stack([np.bincount(place, weights=column) for column in mean.T]) / ties[:, None]
    out[event] += x[event] - centre[died]
    return np.asarray(out)


def _from(moment: Floats, sums: Floats, times: Floats) -> Floats:
    """Sum the rows whose moment is at or after each time."""
    order = np.argsort(moment, kind="stable")
    running = np.vstack([np.zeros(sums.shape[1]), np.cumsum(sums[order], axis=0)])
    return np.asarray(running[-1] - running[np.searchsorted(moment[order], times, "left")])
