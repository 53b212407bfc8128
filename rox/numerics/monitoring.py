"""Whether a series moved: control charts with a stated rate of false alarms, and where its mean changed.

Series are standardised residuals e, shape (t,): what was seen less what was expected, over the root of the sampling
variance *and* of the variation the process has by itself. Without the second, every large group alarms all the time.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike
from scipy import optimize, stats

from rox.numerics.arrays import Bools, Floats, Ints, freeze, vector

NODES = 60
"""Points of the quadrature of run lengths; more change the sixth digit."""


def process_variance(residual: ArrayLike, sampling: ArrayLike) -> float:
    """Return how much a process varies beyond sampling: max(0, mean e² − mean V), by moments.

    Args:
        residual: (t,) residuals of a time in which nothing is known to have happened, in the metric's unit.
        sampling: (t,) their sampling variances.

    Raises:
        ValueError: shapes, missing values, or negative variances.
    """
    e = vector(residual, "residuals")
    v = vector(sampling, "sampling variances", e.size)
    if (v < 0).any() or not e.size:
        raise ValueError("needs at least one residual, and variances that are not negative")
    centred = e - e.mean()
    spread = float((centred**2).sum() / max(e.size - 1, 1))
    return max(0.0, spread - float(v.mean()))


@dataclass(frozen=True, kw_only=True)
class Chart:
    """A chart's course. t = periods."""

    upper: Floats
    """(t,) what is compared with the upper limit."""
    lower: Floats
    """(t,) what is compared with the lower limit, as a negative number."""
    limit: Floats
    """(t,) the limit, above zero; the lower one is its negative."""
    run_length: float
    """Periods between false alarms, on average, of a process at rest."""

    def __post_init__(self) -> None:
        freeze(self, "upper", "lower", "limit")

    @property
    def alarms(self) -> Bools:
        """(t,) whether a limit is passed."""
        return np.asarray((self.upper > self.limit) | (self.lower < -self.limit))

    @property
    def expected_false(self) -> float:
        """False alarms to expect over the periods of a process at rest."""
        return float(self.upper.size / self.run_length)


def ewma(standardised: ArrayLike, *, weight: float = 0.2, run_length: float = 370.0) -> Chart:
    """Chart an exponentially weighted moving average (Roberts 1959) between its limits of a long run.

    Limits that start narrow find early shifts sooner, at more false alarms than stated; these do not.

    Args:
        standardised: (t,) residuals; the first is the first after the time the chart learnt from.
        weight: Of the newest period, above 0 and at most 1.
        run_length: Periods between false alarms, on average.

    Raises:
        ValueError: missing values, a weight or run length out of range.
    """
    e = vector(standardised, "residuals")
    width = ewma_width(weight, run_length)
    course, held = np.empty(e.size), 0.0
    for place, value in enumerate(e):
        held = weight * value + (1 - weight) * held
        course[place] = held
    limit = np.full(e.size, width * np.sqrt(weight / (2 - weight)))
    return Chart(upper=course, lower=course, limit=limit, run_length=run_length)


@cache
def ewma_width(weight: float, run_length: float) -> float:
    """Return the width of an EWMA chart's limits, in standard deviations of the average, for a run length at rest.

    Raises:
        ValueError: a weight outside (0, 1], or a run length below 10.
    """
    if not 0 < weight <= 1 or run_length < 10:
        raise ValueError(
            f"needs a weight above 0 and at most 1 and a run length of 10 or more, got {weight}, {run_length}"
        )
    return float(
        optimize.brentq(lambda width: np.log(ewma_run_length(weight, width) / run_length), 0.5, 6.0, xtol=1e-8)
    )


def ewma_run_length(weight: float, width: float, shift: float = 0.0) -> float:
    """Return the mean run length of a two-sided EWMA chart with constant limits (Crowder 1987, *Technometrics* 29(4)).

    Args:
        weight: Of the newest period.
        width: Of the limits, in standard deviations of the average.
        shift: Of the mean, in standard deviations of a period.
    """
    reach = width * np.sqrt(weight / (2 - weight))
    points, weights = np.polynomial.legendre.leggauss(NODES)
    at, mass = reach * points, reach * weights
    step = stats.norm.pdf((at[None, :] - (1 - weight) * at[:, None]) / weight - shift) / weight
    lengths = np.linalg.solve(np.eye(NODES) - step * mass, np.ones(NODES))
    start = stats.norm.pdf(at / weight - shift) / weight
    return float(1 + (start * mass) @ lengths)


def cusum(standardised: ArrayLike, *, slack: float = 0.5, limit: float = 5.0) -> Chart:
    """Chart the cumulative sums of what exceeds a slack, upwards and downwards (Page 1954).

    Args:
        standardised: (t,) residuals.
        slack: Half the shift to be found, in standard deviations.
        limit: Of the sums.

    Raises:
        ValueError: missing values, or a slack or limit that is not positive.
    """
    e = vector(standardised, "residuals")
    up, down = np.zeros(e.size + 1), np.zeros(e.size + 1)
    for place, value in enumerate(e):
        up[place + 1] = max(0.0, up[place] + value - slack)
        down[place + 1] = min(0.0, down[place] + value + slack)
    return Chart(
        upper=up[1:], lower=down[1:], limit=np.full(e.size, float(limit)), run_length=cusum_run_length(slack, limit)
    )


@cache
def cusum_run_length(slack: float, limit: float, shift: float = 0.0) -> float:
    """Return the mean run length of a two-sided CUSUM chart, 1/(1/up + 1/down) (Kemp 1961).

    Args:
        slack: Half the shift to be found.
        limit: Of the sums.
        shift: Of the mean, in standard deviations of a period.

    Raises:
        ValueError: a slack or limit that is not positive.
    """
    if not (slack > 0 and limit > 0):
        raise ValueError(f"needs a slack and a limit above 0, got {slack}, {limit}")
    sides = [_one_sided(slack - shift, limit), _one_sided(slack + shift, limit)]
    return float(1 / sum(1 / each for each in sides))


def _one_sided(slack: float, limit: float) -> float:
    """Mean run length of a sum that starts at zero and cannot fall below it."""
    points, weights = np.polynomial.legendre.leggauss(NODES)
    at, mass = limit * (points + 1) / 2, limit * weights / 2
    state = np.concatenate([[0.0], at])
    step = stats.norm.pdf(at[None, :] + slack - state[:, None]) * mass
    fall = stats.norm.cdf(slack - state)
    lengths = np.linalg.solve(np.eye(NODES + 1) - np.column_stack([fall, step]), np.ones(NODES + 1))
    return float(lengths[0])


@dataclass(frozen=True, kw_only=True)
class Changes:
    """Where the mean of a series changed."""

    starts: Ints
    """(c,) first period of each new level."""
    levels: Floats
    """(c + 1,) mean of each stretch."""

    def __post_init__(self) -> None:
        freeze(self, "starts", "levels")


def change_points(series: ArrayLike, variance: ArrayLike, *, penalty: float | None = None, least: int = 2) -> Changes:
    """Cut a series where its mean changed: the cut with the least squared error and a price for each further level.

    Exact by dynamic programming (optimal partitioning, Jackson et al. 2005), the result of PELT.

    Args:
        series: (t,) values.
        variance: (t,) their variances, sampling and process together.
        penalty: Price of a change in units of −2·log-likelihood; by default 3·log t, which counts the date as well.
        least: Periods a level lasts at least.

    Raises:
        ValueError: shapes, missing values, variances that are not positive.
    """
    y = vector(series, "series")
    v = vector(variance, "variances", y.size)
    if not (v > 0).all() or least < 1:
        raise ValueError("needs variances above 0, and levels of at least one period")
    size, price = y.size, 3 * np.log(max(y.size, 2)) if penalty is None else penalty
    w, wy, wyy = (np.concatenate([[0.0], np.cumsum(part)]) for part in (1 / v, y / v, y * y / v))

    def error(first: int, last: int) -> float:
        return float(wyy[last] - wyy[first] - (wy[last] - wy[first]) ** 2 / (w[last] - w[first]))

    best, cut = np.full(size + 1, np.inf), np.zeros(size + 1, dtype=int)
    best[0] = -price
    for last in range(1, size + 1):
        for first in range(max(last - least, 0) + 1 if last >= least else 0):
            found = best[first] + error(first, last) + price
            if found < best[last]:
                best[last], cut[last] = found, first
    starts: list[int] = []
    place = size
    while place > 0 and cut[place] > 0:
        place = int(cut[place])
        starts.append(place)
    bounds = [0, *reversed(starts), size]
    levels = [(wy[b] - wy[a]) / (w[b] - w[a]) for a, b in pairwise(bounds)]
    return Changes(starts=np.array(bounds[1:-1], dtype=np.int64), levels=np.array(levels))


def change_date(series: ArrayLike, variance: ArrayLike, *, least: int = 1) -> Floats:
    """Return the posterior probability that the one change of a mean came at each period, flat in date and levels.

    Args:
        series: (t,) values of a stretch with one change.
        variance: (t,) their variances.
        least: Periods on either side.

    Returns:
        (t,) probabilities; entry i means that i is the first period of the new level.

    Raises:
        ValueError: shapes, missing values, variances that are not positive, or too few periods.
    """
    y = vector(series, "series")
    v = vector(variance, "variances", y.size)
    if not (v > 0).all() or y.size < 2 * least:
        raise ValueError(f"needs variances above 0 and at least {2 * least} periods, got {y.size}")
    precision = 1 / v
    score = np.full(y.size, -np.inf)
    for first in range(least, y.size - least + 1):
        parts = (slice(None, first), slice(first, None))
        fit = 0.0
        for part in parts:
            total = precision[part].sum()
            mean = (precision[part] * y[part]).sum() / total
            fit += -0.5 * (precision[part] * (y[part] - mean) ** 2).sum() - 0.5 * np.log(total)
        score[first] = fit
    chance = np.exp(score - score.max())
    return np.asarray(chance / chance.sum())


def tree_rejections(p: ArrayLike, parent: ArrayLike, *, q: float = 0.10) -> Bools:
    """Say which nodes of a tree moved, testing children only of parents that did (Bogomolov et al. 2021, TreeBH).

    The share of false ones among the families that are looked into stays below q at every level: a family's own level
    is q times the product, up the tree, of the share rejected in each family on the way.

    Args:
        p: (n,) p-values; a node's must be valid for itself.
        parent: (n,) index of each node's parent, −1 for those at the top; parents stand before their children.
        q: Share of false discoveries.

    Raises:
        ValueError: p-values outside 0 and 1, a parent that does not stand before its child, or q outside 0 and 1.
    """
    values, up = vector(p, "p-values"), np.asarray(parent, dtype=np.int64)
    if not ((values >= 0) & (values <= 1)).all() or not 0 < q < 1:
        raise ValueError("p-values lie between 0 and 1, and q inside")
    if up.shape != values.shape or (up >= np.arange(up.size)).any() or (up < -1).any():
        raise ValueError("each node needs a parent that stands before it, or -1")
    moved, level = np.zeros(values.size, dtype=bool), {-1: q}
    for family in [-1, *range(values.size)]:
        if family >= 0 and not moved[family]:
            continue
        members = np.flatnonzero(up == family)
        if not members.size:
            continue
        ordered = np.sort(values[members])
        passed = np.flatnonzero(ordered <= level[family] * np.arange(1, members.size + 1) / members.size)
        if not passed.size:
            continue
        chosen = members[values[members] <= ordered[passed[-1]]]
        moved[chosen] = True
        for each in chosen:
            level[int(each)] = level[family] * chosen.size / members.size
    return moved
