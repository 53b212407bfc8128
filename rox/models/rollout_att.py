"""Group-time effects of a roll-out: the path over months, the declared window, and each place's own estimate."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from rox.core.errors import FitError
from rox.models.rollout import Rollout
from rox.numerics.aggregate import Aggregate, aggregate_event, aggregate_window
from rox.numerics.did import GroupTime, group_time_att
from rox.numerics.joint import covariance

Floats = NDArray[np.float64]
Control = Literal["not_yet_treated", "never_treated"]
CONTROLS: Mapping[Control, str] = {"not_yet_treated": "notyet", "never_treated": "never"}
SMALLEST_VARIANCE = 1e-6
"""Variance of a customer's change below which it is taken to be this much: nobody's money is known without error."""


@dataclass(frozen=True, kw_only=True, eq=False)
class RolloutATT:
    """Group-time effects by segment; the last column takes all customers of the cohort together, each counting once.

    Attributes:
        cells: Effects by cohort and month; s + 1 columns.
        path: By months since the start, over the cohorts that are seen through the whole window.
        window: Mean over the window, of the same cohorts.
        window_months: First and last month of the window.
        cohorts: Starts of those cohorts.
        incomplete: Starts of the cohorts that are not seen through the window.
        outcome: Shape (u, t, s + 1): what was averaged.
    """

    cells: GroupTime
    path: Aggregate
    window: Aggregate
    window_months: tuple[int, int]
    cohorts: Floats
    incomplete: Floats
    outcome: Floats

    @property
    def estimate(self) -> Floats:
        """Shape (s,): the window's effect by segment."""
        return self.window.overall[:-1]

    @property
    def influence(self) -> Floats:
        """Shape (u, s): influence of each place on ``estimate``."""
        return self.window.overall_influence[:, :-1]

    @property
    def members(self) -> NDArray[np.bool_]:
        """Shape (u,): places of the cohorts in the window."""
        return np.isin(self.cells.unit_groups, self.cohorts)

    @property
    def comparisons(self) -> int:
        """Fewest places that any month of the window is compared with."""
        return int(self.cells.control_units[self._in_window, -1].min())

    @property
    def _in_window(self) -> NDArray[np.bool_]:
        event = self.cells.event_times
        first, last = self.window_months
        return np.asarray((event >= first) & (event <= last) & np.isin(self.cells.groups, self.cohorts))

    def of_cohort(self, start: float) -> tuple[Floats, Floats]:
        """Return a cohort's window effect, shape (s,), and its influence, shape (u, s)."""
        mine = self._in_window & (self.cells.groups == start)
        return self.cells.att[mine, :-1].mean(0), self.cells.influence[:, mine, :-1].mean(1)


@dataclass(frozen=True, kw_only=True, eq=False)
class PlaceEffects:
    """Window effects by place and segment, with their sampling covariance. m = pairs with customers.

    Attributes:
        estimate: Shape (m,): the place's own change less the mean change of its comparison places.
        covariance: Shape (m, m).
        unit: Shape (m,): code of the place.
        group: Shape (m,): code of the segment.
        customers: Shape (m,).
    """

    estimate: Floats
    covariance: Floats
    unit: NDArray[np.int64]
    group: NDArray[np.int64]
    customers: Floats


def with_everyone(values: Floats, sizes: Floats) -> Floats:
    """Append to means by segment, shape (u, t, s), those of all customers together: shape (u, t, s + 1)."""
    total = sizes.sum(1)
    with np.errstate(invalid="ignore", divide="ignore"):
        everyone = (np.nan_to_num(values) * sizes[:, None, :]).sum(2) / total[:, None]
    return np.concatenate([values, everyone[:, :, None]], axis=2)


def rollout_att(
    data: Rollout, outcome: Floats, *, window: tuple[int, int], control: Control = "not_yet_treated"
) -> RolloutATT:
    """Estimate group-time effects from means by place, month and segment (Callaway & Sant'Anna 2021).

    Every month is compared with the month before the start. Places count with their customers, and deviations are
    scaled up for cohorts of few places (HC2).

    Args:
        data: The cohort.
        outcome: Shape (u, t, s): means of some outcome of the cohort's customers.
        window: First and last month since the start that are averaged.
        control: Places a cohort is compared with.

    Raises:
        FitError: No cohort can be followed through the window next to a place that has not started.
    """
    sizes = np.column_stack([data.sizes, data.sizes.sum(1)])
    everything = with_everyone(outcome, data.sizes)
    try:
        cells = group_time_att(
            everything,
            data.starts,
            times=data.months,
            weights=sizes,
            control=CONTROLS[control],
            base="universal",
            small_sample=True,
        )
    except ValueError as cause:
        raise FitError("The places cannot be compared.", [str(cause), *_remedy(data, window)]) from cause
    needed = set(range(window[0], window[1] + 1))
    whole = [g for g in np.unique(cells.groups) if needed <= set(cells.event_times[cells.groups == g])]
    if not whole:
        raise FitError(
            f"No place can be followed through months {window[0]} to {window[1]} after its start.",
            _remedy(data, window),
        )
    result = RolloutATT(
        cells=cells,
        path=aggregate_event(cells, first=-data.history, last=window[1], complete=True, random_weights=False),
        window=aggregate_window(cells, first=window[0], last=window[1], complete=True, random_weights=False),
        window_months=window,
        cohorts=np.array(whole),
        incomplete=np.setdiff1d(data.starts[np.isfinite(data.starts)], whole),
        outcome=everything,
    )
    if not np.isfinite(result.estimate).all():
        lost = [name for name, value in zip(data.groups, result.estimate, strict=True) if not np.isfinite(value)]
        raise FitError(
            f"Segments {', '.join(lost)} have no customers to compare in the window.",
            ["merge them with other segments"],
        )
    return result


def _remedy(data: Rollout, window: tuple[int, int]) -> list[str]:
    last, never = int(data.months[-1] - data.first_start), int(np.isinf(data.starts).sum())
    return [
        f"needed: {window[1] + 1} months of money after a start, and a place that starts later than that or never",
        f"the first start has {last + 1} months; of {len(data.units)} places {never} never start",
        f"ask for an earlier window, such as window=(1, {max(last // 2, 2)}), or wait for more months",
    ]


def place_effects(data: Rollout, att: RolloutATT) -> PlaceEffects:
    """Split the window's effect into one estimate per place and segment, with the covariance of their errors.

    The estimate is the place's own change from the month before its start to the window, less the mean change of its
    comparison places. Weighted by customers it averages to ``att.estimate``.

    Its error has two parts. A place's own customers: the variance of customers' changes within place and segment,
    pooled over places, over the number of customers. Its comparison places: their mean change has an error that all
    places of a cohort share and that is correlated across segments and cohorts because the same places serve; it
    comes from the influences of those places and so contains the shocks of places. Shocks of the place itself are left
    to the model that pools. Where segments of a place move apart by more than their customers explain, the first part
    is stretched by as much, since no model below has a shock for a segment of a place. The small covariance between a
    place's own change and its earlier service as a comparison is left out.
    """
    own, control, blocks, cohort_of = np.zeros_like(data.sizes), np.zeros_like(data.sizes), [], {}
    for place, start in enumerate(att.cohorts):
        member = data.starts == start
        effect, influence = att.of_cohort(start)
        mine = _change(att.outcome[member][:, :, :-1], data.months, start, att.window_months)
        weight = data.sizes[member]
        with np.errstate(invalid="ignore"):
            mean = np.nansum(weight * mine, axis=0) / weight.sum(0)
        own[member], control[member] = mine, mean - effect
        blocks.append(np.where(member[:, None], 0.0, influence))
        cohort_of[start] = place
    shared = covariance(np.stack(blocks, axis=1))
    unit, group = np.nonzero((data.sizes > 0) & att.members[:, None])
    row = np.array([cohort_of[data.starts[u]] for u in unit]) * len(data.groups) + group
    customers = data.sizes[unit, group]
    variance = _variance_of_changes(data, att)[group] / customers
    variance = variance * _stretch((own - control)[unit, group], variance, unit, row)
    return PlaceEffects(
        estimate=(own - control)[unit, group],
        covariance=np.diag(variance) + shared[np.ix_(row, row)],
        unit=unit.astype(np.int64),
        group=group.astype(np.int64),
        customers=customers,
    )


def _stretch(estimate: Floats, variance: Floats, unit: NDArray[np.int64], row: NDArray[np.int64]) -> float:
    """Return the mean square of what places, and segments of a cohort, leave over, relative to its variance; 1 or more.

    This is the heterogeneity factor of overdispersed data (McCullagh & Nelder 1989, section 4.5).
    """
    design = np.concatenate([np.eye(int(unit.max()) + 1)[unit], np.eye(int(row.max()) + 1)[row]], axis=1)
    scale = 1 / np.sqrt(variance)
    weighted = design * scale[:, None]
    rank = np.linalg.matrix_rank(weighted)
    if estimate.size <= rank:
        return 1.0
    fit = weighted @ np.linalg.lstsq(weighted, estimate * scale, rcond=None)[0]
    return max(1.0, float(((estimate * scale - fit) ** 2).sum() / (estimate.size - rank)))


def _change(values: Floats, months: Floats, start: float, window: tuple[int, int]) -> Floats:
    """Return the mean over the window less the month before the start; months are the second axis of ``values``."""
    at = int(start - months[0])
    return np.asarray(values[:, at + window[0] : at + window[1] + 1].mean(1) - values[:, at - 1])


def _variance_of_changes(data: Rollout, att: RolloutATT) -> Floats:
    """Return by segment the variance of customers' changes around their place's mean, shape (s,)."""
    squares, free = np.zeros(len(data.groups)), np.zeros(len(data.groups))
    for start in att.cohorts:
        who = data.starts[data.unit] == start
        change = _change(data.ratio[who], data.months, start, att.window_months)
        cell = data.cell[who]
        count = np.bincount(cell, minlength=data.sizes.size)
        total = np.bincount(cell, weights=change, minlength=data.sizes.size)
        square = np.bincount(cell, weights=change**2, minlength=data.sizes.size)
        within = square - total**2 / np.maximum(count, 1)
        squares += within.reshape(data.sizes.shape).sum(0)
        free += np.maximum(count - 1, 0).reshape(data.sizes.shape).sum(0)
    pooled = squares.sum() / max(free.sum(), 1)
    return np.maximum(np.where(free > 0, squares / np.maximum(free, 1), pooled), SMALLEST_VARIANCE)
