"""Estimate churn over a horizon from exits and time at risk."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from rox.numerics.arrays import complain, in_unit_interval, vector
from rox.numerics.survey import Estimate, design_variance


def open_hazard_churn(
    exits: ArrayLike,
    person_months: ArrayLike,
    *,
    months: float = 12,
    cluster: ArrayLike | None = None,
    level: float = 0.9,
) -> Estimate:
    """Estimate churn over a horizon from a constant open hazard: 1 - exp(-months * exits / person-months).

    Estimand: the share of customers gone after `months` at the observed hazard (not months * hazard). Without
    clusters the exits are Poisson and the interval is the exact gamma one (Garwood 1936); with clusters the
    hazard is a linearised ratio and the interval is normal on the log hazard.

    Args:
        exits: (n,) number of exits per row (customer, branch or cell).
        person_months: (n,) months at risk per row.
        months: horizon.
        cluster: (n,) labels of independent groups of rows.
        level: of the interval.

    Raises:
        ValueError: negative or missing values, no time at risk, exits without time at risk.

    Example:
        >>> fit = open_hazard_churn(exits=30, person_months=6000)
        >>> round(fit.value, 4), round(fit.low, 4), round(fit.high, 4)
        (0.0582, 0.0423, 0.0782)
    """
    in_unit_interval(level)
    d, t = vector(np.atleast_1d(exits), "exits"), vector(np.atleast_1d(person_months), "person_months")
    faults = []
    if d.size != t.size:
        faults.append(f"exits has {d.size} values, person_months {t.size}")
    if (d < 0).any() or (t < 0).any():
        faults.append("exits and person_months must not be negative")
    elif d.size == t.size and ((t == 0) & (d > 0)).any():
        faults.append(f"{int(((t == 0) & (d > 0)).sum())} rows have exits but no time at risk")
    if not t.sum() > 0:
        faults.append("no time at risk")
    complain(faults)
    count, time = float(d.sum()), float(t.sum())
    hazard = count / time
    u = (d - hazard * t) / time
    if cluster is None:
        variance, df, kind = count / time**2, np.inf, "gamma"
        low = stats.gamma.ppf((1 - level) / 2, count) / time if count else 0.0
        high = stats.gamma.ppf((1 + level) / 2, count + 1) / time
    else:
        (variance, df), kind = design_variance(u, psu=cluster), "normal"
        half = stats.t.ppf((1 + level) / 2, df) * np.sqrt(variance) / hazard if hazard else np.inf
        low, high = hazard * np.exp(-half), (hazard * np.exp(half) if hazard else np.nan)
    slope = months * np.exp(-months * hazard)
    return Estimate(
        value=float(-np.expm1(-months * hazard)),
        se=float(slope * np.sqrt(variance)),
        low=float(-np.expm1(-months * low)),
        high=float(-np.expm1(-months * high)),
        level=level,
        n=d.size,
        n_eff=float(d.size),
        design_effect=float(variance * time**2 / count) if count else float("nan"),
        df=float(df),
        influence=slope * u,
        interval=kind,
    )
