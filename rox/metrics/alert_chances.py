"""How likely a value so far beyond a threshold is by chance, if the truth stood exactly at the threshold."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import special, stats

from rox.core.study import Scale
from rox.core.units import Unit
from rox.metrics.agreement import floored, support_of
from rox.metrics.estimates import known_rows, nps_counts, with_nps, with_t, with_wilson
from rox.numerics.arrays import Floats
from rox.numerics.intervals import nps_probability_below


def against(
    estimate: pd.DataFrame, unit: Unit, scale: Scale | None, *, threshold: float, below: bool, level: float
) -> pd.DataFrame:
    """Add the interval of every group and ``p``, one-sided, of standing at the threshold.

    At ``level`` = 2·sure − 1 the interval ends at the threshold where ``p`` is 1 − sure. Of shares ``p`` is at least
    that of the exact binomial test, since Wilson's limits are too short at one end for small shares (Cai 2005).

    Args:
        estimate: What ``estimates.ratio`` returns.
        unit: Of the metric.
        scale: Of the question; None for a response rate.
        threshold: In the metric's unit.
        below: Whether a value below it is what is feared.
        level: Of the interval.
    """
    sign = -1.0 if below else 1.0
    if unit is Unit.RATIO:
        return with_wilson(estimate, level).assign(p=_of_share(estimate, threshold, below))
    if unit is Unit.NPS_POINT:
        made = with_nps(estimate, level)
        posterior = [nps_probability_below(*counts, points=threshold) for counts in nps_counts(estimate)]
        few = (made["method"] == "dirichlet").to_numpy()
        by_posterior = 1 - np.array(posterior, dtype=float) if below else np.array(posterior, dtype=float)
        return made.assign(p=np.where(few, by_posterior, _of_t(made, threshold, sign)))
    support = (0.0, 1.0) if scale is None else support_of(unit, scale)
    made = with_t(floored(estimate, support), level)
    p = _of_t(made, threshold, sign)
    return made.assign(low=made["low"].clip(lower=support[0]), high=made["high"].clip(upper=support[-1]), p=p)


def _of_t(made: pd.DataFrame, threshold: float, sign: float) -> Floats:
    se = made["se"].to_numpy(dtype=float)
    beyond = sign * (made["value"].to_numpy(dtype=float) - threshold)
    return np.asarray(stats.t.sf(beyond / np.where(se > 0, se, np.nan), made["df"].to_numpy(dtype=float)), dtype=float)


def _of_share(estimate: pd.DataFrame, threshold: float, below: bool) -> Floats:
    """Return the larger p of the score test and of the exact test with the effective number."""
    n = known_rows(estimate)
    share = np.clip(estimate["value"].to_numpy(dtype=float), 0.0, 1.0)
    truth = min(max(threshold, 0.0), 1.0)
    if below:
        share, truth = 1 - share, 1 - truth
    hits = n * share
    sd = np.sqrt(truth * (1 - truth) / n)
    score = np.where(sd > 0, stats.norm.sf((share - truth) / np.where(sd > 0, sd, 1.0)), (share <= truth) * 1.0)
    exact = np.where(hits > 0, special.betainc(np.maximum(hits, 1e-12), n - hits + 1, truth), 1.0)
    return np.asarray(np.maximum(score, exact), dtype=float)
