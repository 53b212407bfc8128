"""Aggregate group-time effects into event-time, cohort, calendar and window averages, and test the leads.

The averages are those of Callaway & Sant'Anna (2021, Journal of Econometrics 225, section 3). Every one carries
the influence of each unit, including what the estimated cohort sizes contribute, so averages of different
columns or cohorts have a joint covariance.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rox.numerics.arrays import Bools, Floats, choice, freeze, group_sums
from rox.numerics.did import GroupTime
from rox.numerics.joint import Wald, covariance, wald_test


@dataclass(frozen=True, kw_only=True)
class Aggregate:
    """A path of averaged effects and their overall mean. m = path points, u = units, k = outcome columns."""

    kind: str
    """event | group | calendar | window."""
    labels: Floats
    """(m,) event times, cohorts or periods; for a window the first event time."""
    estimate: Floats
    """(m, k)."""
    influence: Floats
    """(u, m, k)."""
    overall: Floats
    """(k,)."""
    overall_influence: Floats
    """(u, k)."""
    treated_weight: Floats
    """(m, k) weight of the treated units behind each point."""

    def __post_init__(self) -> None:
        freeze(self, "labels", "estimate", "influence", "overall", "overall_influence", "treated_weight")

    @property
    def se(self) -> Floats:
        """(m, k) standard errors, units independent; NaN where nothing was estimated."""
        se = np.sqrt((self.influence**2).sum(0))
        return np.where((se > 0) & np.isfinite(self.estimate), se, np.nan)

    @property
    def overall_se(self) -> Floats:
        """(k,) standard errors of the overall means, units independent."""
        return np.asarray(np.sqrt((self.overall_influence**2).sum(0)))

    @property
    def overall_covariance(self) -> Floats:
        """(k, k) covariance of the overall means across columns, units independent."""
        return covariance(self.overall_influence)


def aggregate_event(
    cells: GroupTime,
    *,
    first: float | None = None,
    last: float | None = None,
    complete: bool = False,
    random_weights: bool = True,
) -> Aggregate:
    """Average the cells by periods since treatment; `overall` is the plain mean of the path from event time 0 on.

    Each point weights cohorts by the treated weight.

    Args:
        cells: fit of `group_time_att`.
        first: earliest event time kept.
        last: latest event time kept.
        complete: use only cohorts observed at every event time from max(first, 0) to `last` (fixed composition).
        random_weights: add the sampling error of the cohort sizes to the influence.
    """
    event = cells.event_times
    low, high = _window(event, first, last)
    use = (event >= low) & (event <= high)
    if complete:
        use &= _complete(cells, max(low, 0), high)
    labels = np.unique(event[use])
    points = [_average(cells, use & (event == e), random_weights) for e in labels]
    return _path("event", labels, points, after=labels >= 0)


def aggregate_group(cells: GroupTime, *, random_weights: bool = True) -> Aggregate:
    """Average each cohort's treated periods; `overall` weights cohorts by treated weight."""
    post = _post(cells)
    labels = np.unique(cells.groups[post])
    points = [_average(cells, post & (cells.groups == g), random_weights=False) for g in labels]
    theta, psi, size = (np.stack([p[i] for p in points]) for i in range(3))
    overall, overall_psi = _weighted(cells, labels, theta, np.moveaxis(psi, 0, 1), random_weights)
    return Aggregate(
        kind="group",
        labels=labels,
        estimate=theta,
        influence=np.moveaxis(psi, 0, 1),
        overall=overall,
        overall_influence=overall_psi,
        treated_weight=size,
    )


def aggregate_calendar(cells: GroupTime, *, random_weights: bool = True) -> Aggregate:
    """Average over treated cohorts in each period; `overall` is the plain mean over periods."""
    post = _post(cells)
    labels = np.unique(cells.times[post])
    points = [_average(cells, post & (cells.times == t), random_weights) for t in labels]
    return _path("calendar", labels, points, after=np.ones(labels.size, dtype=bool))


def aggregate_window(
    cells: GroupTime,
    *,
    first: float = 0,
    last: float | None = None,
    complete: bool = False,
    random_weights: bool = True,
) -> Aggregate:
    """Average all cells with event time in [first, last], each weighted by its treated weight: one scalar per column.

    With the defaults this is the "simple" aggregate of all treated cells. The window is part of the estimand and
    should be declared before looking.

    Args:
        cells: fit of `group_time_att`.
        first: first event time of the window.
        last: last event time of the window, default the last observed.
        complete: use only cohorts observed at every event time of the window.
        random_weights: add the sampling error of the cohort sizes to the influence.
    """
    event = cells.event_times
    low, high = _window(event, first, last)
    use = (event >= low) & (event <= high)
    if complete:
        use &= _complete(cells, low, high)
    if not use.any():
        raise ValueError(f"no cell has event time in [{low}, {high}]; observed {event.min()} to {event.max()}")
    points = [_average(cells, use, random_weights)]
    return _path("window", np.array([low]), points, after=np.array([True]))


def lead_test(
    cells: GroupTime,
    *,
    earliest: float | None = None,
    by: str = "event",
    cluster: ArrayLike | None = None,
    few_clusters: bool = False,
) -> tuple[Wald, ...]:
    """Test that effects before treatment are zero, one result per outcome column.

    A large p-value is not evidence of parallel trends unless the test had power (Roth 2022).

    Args:
        cells: fit of `group_time_att`.
        earliest: earliest event time tested (a negative number), default all.
        by: "event" tests the event-time path, "cell" every lead cell of every cohort.
        cluster: (u,) labels of groups of units assigned together.
        few_clusters: use Hotelling's F reference with the number of units (or clusters) of positive weight.

    Raises:
        ValueError: no lead in the range, or not more clusters than restrictions when `few_clusters`.
    """
    choice(by, ("event", "cell"), "by")
    lead = cells.is_lead & (cells.event_times >= (-np.inf if earliest is None else earliest))
    if not lead.any():
        raise ValueError("no lead to test: no cohort has two periods before treatment in the range asked for")
    if by == "cell":
        theta, psi = cells.att[lead], cells.influence[:, lead]
    else:
        first, last = float(cells.event_times[lead].min()), float(cells.event_times[lead].max())
        path = aggregate_event(cells, first=first, last=last)
        theta, psi = path.estimate, path.influence
    out = []
    for column in range(theta.shape[1]):
        seen = np.isfinite(theta[:, column])
        inside = (cells.weights[:, column] > 0) & ~np.isnan(cells.unit_groups)
        groups = inside.sum() if cluster is None else np.unique(np.asarray(cluster)[inside]).size
        cov = covariance(psi[:, seen, column], cluster)
        out.append(wald_test(theta[seen, column], cov, clusters=int(groups) if few_clusters else None))
    return tuple(out)


def _window(event: Floats, first: float | None, last: float | None) -> tuple[float, float]:
    low = float(event.min()) if first is None else float(first)
    high = float(event.max()) if last is None else float(last)
    if low > high:
        raise ValueError(f"first event time {low} is after the last {high}")
    return low, high


def _complete(cells: GroupTime, low: float, high: float) -> Bools:
    """Mark cells of cohorts that are observed at every event time seen anywhere in [low, high]."""
    event = cells.event_times
    inside = (event >= low) & (event <= high)
    needed = set(event[inside])
    whole = [g for g in np.unique(cells.groups) if needed <= set(event[inside & (cells.groups == g)])]
    if not whole:
        raise ValueError(f"no cohort is observed at every event time from {low} to {high}; shorten the window")
    return np.isin(cells.groups, whole)


def _post(cells: GroupTime) -> Bools:
    return np.asarray(cells.times >= cells.groups)


def _average(cells: GroupTime, use: Bools, random_weights: bool) -> tuple[Floats, Floats, Floats]:
    """Average the cells marked by `use`, weighted by treated weight: (k,), influence (u, k), treated weight (k,)."""
    where = np.flatnonzero(use)
    groups = cells.groups[where]
    theta, psi = _weighted(cells, groups, cells.att[where], cells.influence[:, where], random_weights)
    size = np.stack([cells.weights[cells.unit_groups == g].sum(0) for g in np.unique(groups)]).sum(0)
    return theta, psi, size


def _weighted(
    cells: GroupTime, groups: Floats, att: Floats, influence: Floats, random_weights: bool
) -> tuple[Floats, Floats]:
    """Average effects (m, k) of cohorts (m,) with weights proportional to treated weight, and propagate their error.

    With theta = sum(S_g att) / sum(S_g), a unit of cohort g and weight w adds w * sum over its cells of (att -
    theta) / sum(S).
    """
    levels, code = np.unique(groups, return_inverse=True)
    totals = np.stack([cells.weights[cells.unit_groups == g].sum(0) for g in levels])
    size = np.where(np.isfinite(att), totals[code], 0.0)
    whole = size.sum(0)
    share = size / np.where(whole > 0, whole, np.nan)
    effect = np.where(np.isfinite(att), att, 0.0)
    theta = (share * effect).sum(0)
    psi = np.einsum("mk,umk->uk", np.nan_to_num(share), influence)
    if random_weights:
        gap = group_sums(np.where(size > 0, effect - theta, 0.0), code.astype(np.int64), levels.size)
        for row, g in enumerate(levels):
            member = cells.unit_groups == g
            psi[member] += cells.weights[member] * gap[row] / np.where(whole > 0, whole, 1.0)
    return theta, psi


def _path(kind: str, labels: Floats, points: list[tuple[Floats, Floats, Floats]], after: NDArray[Any]) -> Aggregate:
    theta, psi, size = (np.stack([p[i] for p in points]) for i in range(3))
    if after.any():
        seen = after[:, None] & np.isfinite(theta)
        share = seen / np.maximum(seen.sum(0), 1)
        overall = np.where(seen.any(0), (share * np.nan_to_num(theta)).sum(0), np.nan)
        overall_psi = np.einsum("mk,muk->uk", share, psi)
    else:
        overall, overall_psi = np.full(theta.shape[1], np.nan), np.zeros(psi.shape[1:])
    return Aggregate(
        kind=kind,
        labels=labels,
        estimate=theta,
        influence=np.moveaxis(psi, 0, 1),
        overall=overall,
        overall_influence=overall_psi,
        treated_weight=size,
    )
