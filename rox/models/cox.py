"""Cox regression on a table of (start, stop] rows, stratified by segment, with errors clustered by customer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rox.core.errors import FitError
from rox.models.answers import RESPONSE_WEIGHT
from rox.numerics.cox import Cox, clustered_covariance, cox_from_rows, next_coefficient, score_residuals

Floats = NDArray[np.float64]


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
        cox: The fit of the rows whose segment has exits.
    """

    names: tuple[str, ...]
    coefficient: Floats
    covariance: Floats
    model_covariance: Floats
    events: int
    customers: int
    cox: Cox

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
        episodes: ``customer``, ``segment``, ``start``, ``stop``, ``event``; at risk in (start, stop]; rows count with
            ``response_weight`` where it is there.
        covariates: Values known at ``start``, one column each, rows as in ``episodes``.

    Raises:
        FitError: The likelihood has no maximum, or a covariate does not vary among those at risk.
    """
    eventful = _eventful(episodes)
    kept, x = episodes[eventful], covariates[eventful].astype(float)
    if not (x.std(ddof=0) > 0).all():
        raise FitError(f"{[name for name in x if not x[name].std(ddof=0) > 0]} do not vary among customers at risk.")
    rows = _rows(kept, x)
    try:
        fit = cox_from_rows(*rows, weights=_weights(kept))
    except ValueError as cause:
        raise FitError(
            "The Cox model has no maximum.",
            [f"covariates are, from 0 on, {list(x)}", str(cause), "drop controls that single out those who left"],
        ) from cause
    residual = score_residuals(fit, *rows)
    return CoxFit(
        names=tuple(str(name) for name in x),
        coefficient=fit.coefficient,
        covariance=clustered_covariance(fit, residual, kept["customer"].to_numpy(), weights=_weights(kept)),
        model_covariance=fit.covariance,
        events=int(kept["event"].sum()),
        customers=kept["customer"].nunique(),
        cox=fit,
    )


def moved(fit: CoxFit, episodes: pd.DataFrame, covariates: pd.DataFrame) -> Floats:
    """Return the coefficients, shape (k,), that covariates a little different from those of a fit lead to.

    Args:
        fit: Where to start.
        episodes: The same rows.
        covariates: The other values.
    """
    eventful = _eventful(episodes)
    kept = episodes[eventful]
    return next_coefficient(fit.cox, *_rows(kept, covariates[eventful].astype(float)), weights=_weights(kept))


def _eventful(episodes: pd.DataFrame) -> pd.Series:
    """Mark the rows of segments in which somebody left; the others say nothing."""
    return episodes["segment"].isin(episodes.loc[episodes["event"], "segment"].unique())


def _weights(episodes: pd.DataFrame) -> Floats | None:
    return episodes[RESPONSE_WEIGHT].to_numpy(dtype=float) if RESPONSE_WEIGHT in episodes else None


def _rows(episodes: pd.DataFrame, x: pd.DataFrame) -> tuple[NDArray[np.generic], ...]:
    parts = tuple(episodes[name].to_numpy() for name in ("start", "stop", "event"))
    return (*parts, x.to_numpy(), episodes["segment"].astype(str).to_numpy())
