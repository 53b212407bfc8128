"""Cox regression on (start, stop] rows with errors clustered by customer; a row per customer and month is no burden."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rox.core.errors import FitError

Floats = NDArray[np.float64]

STILL = 1e-7
"""Standard errors by which the last Newton step may move a coefficient."""
STEPS, HALVINGS = 30, 12
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
    rows = Rows.of(kept)
    coefficient, information = _maximum(rows, x.to_numpy(), x.std(ddof=0).to_numpy())
    residual = score_residuals(rows.start, rows.stop, rows.event, x.to_numpy(), coefficient, rows.stratum)
    codes, customers = pd.factorize(kept["customer"])
    sums = np.column_stack([np.bincount(codes, weights=column) for column in residual.T])
    inverse: Floats = np.asarray(np.linalg.inv(information))
    influence = sums @ inverse
    return CoxFit(
        names=tuple(str(name) for name in x),
        coefficient=coefficient,
        covariance=influence.T @ influence,
        model_covariance=inverse,
        events=int(kept["event"].sum()),
        customers=len(customers),
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class Rows:
    """Rows at risk in (start, stop], each of shape (n,)."""

    start: Floats
    stop: Floats
    event: NDArray[np.bool_]
    stratum: NDArray[np.int64]

    @classmethod
    def of(cls, episodes: pd.DataFrame) -> Rows:
        """Take them from ``start``, ``stop``, ``event`` and ``segment``."""
        return cls(
            start=episodes["start"].to_numpy(dtype=float),
            stop=episodes["stop"].to_numpy(dtype=float),
            event=episodes["event"].to_numpy(dtype=bool),
            stratum=pd.factorize(episodes["segment"])[0].astype(np.int64),
        )


def next_coefficient(rows: Rows, x: Floats, coefficient: Floats) -> Floats:
    """Take one Newton step from a coefficient: what a slightly different ``x`` makes of it, to first order."""
    _, score, information = likelihood(rows, x, coefficient)
    return np.asarray(coefficient + np.linalg.solve(information, score))


def _maximum(rows: Rows, x: Floats, spread: Floats) -> tuple[Floats, Floats]:
    """Climb Efron's likelihood by Newton steps, halved where they overshoot.

    Returns:
        The coefficients, shape (k,), and the information there, shape (k, k).

    Raises:
        FitError: There is no maximum, or it runs off because a covariate tells who left.
    """
    scaled = x / spread
    at = np.zeros(x.shape[1])
    height, score, information = likelihood(rows, scaled, at)
    for _ in range(STEPS):
        if not np.isfinite(information).all() or np.linalg.cond(information) > 1 / np.finfo(float).eps:
            break
        step = np.linalg.solve(information, score)
        error = np.sqrt(np.diag(np.linalg.inv(information)))
        if (error >= RUN_OFF).any():
            break
        if (np.abs(step) <= STILL * error).all():
            return (at + step) / spread, information * np.outer(spread, spread)
        for _ in range(HALVINGS):
            there = likelihood(rows, scaled, at + step)
            if there[0] >= height:
                break
            step = step / 2
        at, (height, score, information) = at + step, there
    raise FitError(
        "The Cox model has no maximum.", ["some covariate separates those who left from those who stayed; drop it"]
    )


def likelihood(rows: Rows, x: Floats, coefficient: Floats) -> tuple[float, Floats, Floats]:
    """Compute Efron's partial log likelihood with its first derivative and minus its second.

    Sums over risk sets are differences of running sums, so the cost grows like n·log(n).

    Args:
        rows: The rows.
        x: Shape (n, k).
        coefficient: Shape (k,).

    Returns:
        The log likelihood; the score, shape (k,); the information, shape (k, k).
    """
    k = x.shape[1]
    height, score, information = 0.0, np.zeros(k), np.zeros((k, k))
    for code in np.unique(rows.stratum[rows.event]):
        inside = np.flatnonzero(rows.stratum == code)
        event, z = rows.event[inside], x[inside] - x[inside].mean(axis=0)
        eta = z @ coefficient
        top = eta.max()
        risk = np.exp(eta - top)
        pairs = np.triu_indices(k)
        sums = np.column_stack([risk, risk[:, None] * z, risk[:, None] * z[:, pairs[0]] * z[:, pairs[1]]])
        left = _risk_sets(rows.start[inside], rows.stop[inside], event, sums).left
        mean = left[:, 1 : k + 1] / left[:, :1]
        height += float(eta[event].sum() - (np.log(left[:, 0]) + top).sum())
        score += z[event].sum(axis=0) - mean.sum(axis=0)
        second = np.zeros((k, k))
        second[pairs] = (left[:, k + 1 :] / left[:, :1]).sum(axis=0)
        information += second + np.triu(second, 1).T - mean.T @ mean
    return height, score, information


@dataclass(frozen=True, kw_only=True, eq=False)
class _RiskSets:
    """Who is at risk at each exit; of tied exits each leaves before the next, by equal shares (Efron 1977).

    Attributes:
        times: Times of exits.
        died: Position among ``times`` of each row with an exit.
        place: The same for each exit in the order of the times.
        fraction: Share of the tied exits that has left before.
        left: Sums over those at risk, one row per exit.
    """

    times: Floats
    died: NDArray[np.int64]
    place: NDArray[np.int64]
    fraction: Floats
    left: Floats


def _risk_sets(start: Floats, stop: Floats, event: NDArray[np.bool_], sums: Floats) -> _RiskSets:
    times, died = np.unique(stop[event], return_inverse=True)
    at_risk = _from(stop, sums, times) - _from(start, sums, times)
    dead = np.column_stack([np.bincount(died, weights=column) for column in sums[event].T])
    ties = np.bincount(died)
    place = np.repeat(np.arange(len(times)), ties)
    fraction = (np.arange(len(place)) - np.repeat(np.cumsum(ties) - ties, ties)) / ties[place]
    left = at_risk[place] - fraction[:, None] * dead[place]
    return _RiskSets(times=times, died=died, place=place, fraction=fraction, left=left)


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
    sets = _risk_sets(start, stop, event, np.column_stack([risk, risk[:, None] * x]))
    times, died, place, fraction, left = sets.times, sets.died, sets.place, sets.fraction, sets.left
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
    centre: Floats = np.column_stack([np.bincount(place, weights=column) for column in mean.T])
    centre = centre / np.bincount(place)[:, None].astype(float)
    out[event] += x[event] - centre[died]
    return np.asarray(out)


def _from(moment: Floats, sums: Floats, times: Floats) -> Floats:
    """Sum the rows whose moment is at or after each time."""
    order = np.argsort(moment, kind="stable")
    running = np.vstack([np.zeros(sums.shape[1]), np.cumsum(sums[order], axis=0)])
    return np.asarray(running[-1] - running[np.searchsorted(moment[order], times, "left")])
