"""Proportional hazards of grouped time from events and time at risk by cell."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from rox.numerics.arrays import Floats, Ints, choice, codes, complain, freeze, vector
from rox.numerics.glm import grouped_glm
from rox.numerics.grouped import GroupedFit, cells_of

RIDGE = 1e-8
"""Precision of the prior on each interval's level, which keeps one without events finite."""
LINKS = ("cloglog", "exponential")


@dataclass(frozen=True, kw_only=True)
class GroupedHazard:
    """A fit of proportional hazards. p = regressors, j = intervals as given, m = intervals after merging."""

    fit: GroupedFit
    """Of the p regressors followed by the m intervals."""
    coefficient: Floats
    """(p,) log hazard ratios."""
    covariance: Floats
    """(p, p) from the expected information."""
    hazard: Floats
    """(j,) hazard of each interval where all regressors are 0: cumulative over an interval of unit length."""
    intervals: Floats
    """(j,) sorted labels."""
    merged: Ints
    """(j,) which of the m merged intervals each belongs to."""

    def __post_init__(self) -> None:
        freeze(self, "coefficient", "covariance", "hazard", "intervals", "merged")

    @property
    def se(self) -> Floats:
        """(p,) standard errors if exits of different rows are independent given the regressors."""
        return np.asarray(np.sqrt(np.diag(self.covariance)))


def grouped_hazard(
    interval: ArrayLike,
    design: ArrayLike,
    at_risk: ArrayLike,
    events: ArrayLike,
    *,
    link: str = "cloglog",
    merged: ArrayLike | None = None,
) -> GroupedHazard:
    """Fit a proportional hazards model with one baseline level per interval.

    Estimand: log ratios of the hazard per unit of each regressor. Assumes that they are the same in every interval, and
    that leaving for other reasons says nothing given the regressors. "cloglog" is exact when an exit is only known to
    fall into its interval (Prentice & Gloeckler 1978); "exponential" takes the hazard as constant within an interval
    and `at_risk` as time (Holford 1980; Laird & Olivier 1981; Friedman 1982). Per month they differ by about the
    hazard's size.

    Args:
        interval: (c,) time of the cells, months or bands of months.
        design: (c, p) regressors, without a constant.
        at_risk: (c,) people at the start of the interval, or time at risk.
        events: (c,) exits.
        link: "cloglog" or "exponential".
        merged: (j,) which merged interval each sorted interval belongs to; by default `merge_intervals` decides. Give
            it in replicates, so that all answer the same question.

    Raises:
        ValueError: shapes, more events than people, no events at all, coefficients that run off to infinity.

    Example:
        >>> fit = grouped_hazard([0, 0, 1, 1], [0, 1, 0, 1], [100, 100, 80, 60], [20, 40, 16, 24])
        >>> round(float(fit.coefficient[0]), 3)  # log(log(1 - 0.4) / log(1 - 0.2))
        0.828
    """
    choice(link, LINKS, "link")
    x, n, d = cells_of(design, at_risk, events)
    code, levels = codes(interval, "interval", n.size)
    if not d.sum() > 0:
        raise ValueError("there are no events; a hazard ratio needs some")
    groups = merge_intervals(np.bincount(code, weights=d)) if merged is None else np.asarray(merged, dtype=np.int64)
    if groups.shape != (levels.size,):
        complain([f"merged has shape {groups.shape}, needed ({levels.size},), one for each interval"])
    baseline = np.eye(int(groups.max()) + 1)[groups[code]]
    p = x.shape[1]
    fit = grouped_glm(
        np.column_stack([x, baseline]),
        n,
        d,
        family="cloglog" if link == "cloglog" else "poisson",
        squares=d,
        ridge=np.concatenate([np.zeros(p), np.full(baseline.shape[1], RIDGE)]),
    )
    return GroupedHazard(
        fit=fit,
        coefficient=fit.coefficient[:p],
        covariance=fit.covariance[:p, :p],
        hazard=np.exp(fit.coefficient[p:])[groups],
        intervals=levels.astype(np.float64),
        merged=groups,
    )


def merge_intervals(events: ArrayLike) -> Ints:
    """Number the intervals so that each has events.

    One without events shares its number with the next that has some; those at the end share it with the one before.

    Args:
        events: (j,) events by interval, in the order of time.

    Example:
        >>> merge_intervals([0, 3, 0, 0, 2, 0])
        array([0, 0, 1, 1, 1, 1])
    """
    d = vector(events, "events")
    seen = d > 0
    number = np.concatenate([[0], np.cumsum(seen)[:-1]])
    return np.asarray(np.minimum(number, max(int(seen.sum()) - 1, 0)), dtype=np.int64)
