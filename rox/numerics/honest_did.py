"""Bound an effect when trends before the start were not quite parallel (Rambachan & Roth 2023, REStud 90).

An event-study estimate is the effect plus the difference in trend, ``beta = tau + delta``, with ``tau = 0`` before the
start. The months before the start say how large ``delta`` was there; the analyst says how much larger, or how much
more crooked, it may be afterwards. The sets here contain the true effect with the stated probability for every
``delta`` so allowed. Their breakdown value is how much may be allowed before the effect could be nothing at all.

A linear combination of effects leaves every single effect free, so its bounds depend on the months after the start
only through the same combination of their estimates. Both restrictions are therefore used in the exact projection on
(months before the start, combination): a window of twelve months costs what one month costs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from rox.numerics.arrays import Bools, Floats, choice, complain, freeze, in_unit_interval, vector
from rox.numerics.honest_relative import Moments, accepts
from rox.numerics.honest_smooth import Frontier, frontier

KINDS = ("relative", "smooth")
GRID, HALVINGS = 257, 40
ROUNDS, FINER = 5, 33
REACH = 6.0
"""Standard errors beyond the plug-in bounds at which the search for the ends of a set begins."""


@dataclass(frozen=True, kw_only=True)
class HonestSets:
    """Confidence sets of one combination of effects under ever weaker restrictions. b = bounds."""

    kind: str
    """relative | smooth."""
    bounds: Floats
    """(b,) relative: multiple of the largest month-to-month difference before the start that every later
    month-to-month difference may reach. Smooth: change of slope per month, in the unit of the estimate."""
    low: Floats
    """(b,); NaN where every value is rejected, which speaks against the restriction itself."""
    high: Floats
    """(b,)."""
    level: float
    estimate: float
    """The combination as estimated, true if trends were parallel."""
    se: float

    def __post_init__(self) -> None:
        freeze(self, "bounds", "low", "high")


def honest_sets(
    estimate: ArrayLike,
    covariance: ArrayLike,
    *,
    pre: int,
    weights: ArrayLike,
    kind: str = "relative",
    bounds: ArrayLike = (0.0, 0.5, 1.0, 1.5, 2.0),
    level: float = 0.90,
    df: float | None = None,
) -> HonestSets:
    """Compute sets that contain a combination of effects although trends were not parallel.

    ``kind="relative"``: each later difference in trend between neighbouring months is at most M̄ times the largest one
    before the start (their Delta^RM). Every difference before the start, with either sign, is in turn taken to be the
    largest one; the set is the hull of the union of the hybrid conditional tests (Andrews, Roth & Pakes 2023) with
    the moments of the months after the start. M̄ = 1: afterwards nothing worse than before. The critical value of the
    least favourable stage is exact, not simulated.

    ``kind="smooth"``: the difference in trend is a straight line but for a change of slope of at most M per month
    (their Delta^SD). The set is the shortest interval of fixed length around a linear estimator (Armstrong & Kolesár
    2018). M = 0: the line through the months before the start goes on.

    Args:
        estimate: (pre + post,) event-study estimates by time, without the base period: the last ``pre`` periods
            before the base, which is the period before the start, then the ``post`` periods from the start on.
            Periods follow one another without a gap.
        covariance: (pre + post, pre + post).
        pre: Number of estimates before the base.
        weights: (post,) of the combination, such as 1/6 in each month of a window of six and 0 before it.
        kind: Which restriction.
        bounds: (b,) M̄ or M, not negative.
        level: Probability that a set contains the effect.
        df: Degrees of freedom behind the covariance when they are few; errors are scaled up as Student's t asks.

    Raises:
        ValueError: Shapes that do not fit, values that are not finite, or a covariance that is none.

    Example:
        >>> sets = honest_sets([0.1, 2.0], [[0.04, 0.0], [0.0, 0.04]], pre=1, weights=[1.0], bounds=[0.0, 2.0])
        >>> sets.low.round(2).tolist()
        [1.67, 1.22]
    """
    choice(kind, KINDS, "kind")
    allowed = vector(bounds, "bounds")
    problem = _projected(estimate, covariance, pre, weights, level, df)
    if (allowed < 0).any():
        raise ValueError(f"bounds must not be negative, got {allowed.min():g}")
    if kind == "relative":
        ends = [_relative_ends(problem.moments, float(bound), 1 - level) for bound in allowed]
    else:
        ends = [problem.frontier.interval(float(bound), 1 - level) for bound in allowed]
    low, high = np.array(ends, dtype=float).reshape(-1, 2).T
    return HonestSets(
        kind=kind, bounds=allowed, low=low, high=high, level=level, estimate=problem.estimate, se=problem.se
    )


def breakdown(
    estimate: ArrayLike,
    covariance: ArrayLike,
    *,
    pre: int,
    weights: ArrayLike,
    kind: str = "relative",
    null: float = 0.0,
    level: float = 0.90,
    df: float | None = None,
) -> float:
    """Find the smallest bound at which the honest set contains ``null``.

    ``kind="relative"``: 0.8 says that the effect could be nothing once trends drift apart, every month after the
    start, 0.8 times as fast as in the worst month before it. Above 1 the effect survives anything like what was seen.
    ``kind="smooth"``: the change of slope per month, in the unit of the estimate, that would be needed.

    Args:
        estimate: As in ``honest_sets``.
        covariance: As in ``honest_sets``.
        pre: As in ``honest_sets``.
        weights: As in ``honest_sets``.
        kind: Which restriction.
        null: The value that is to be excluded.
        level: Of the sets.
        df: As in ``honest_sets``.

    Returns:
        Zero when the set contains ``null`` even under the strictest restriction; infinite when differences before
        the start are exactly zero.

    Raises:
        ValueError: As ``honest_sets``.

    Example:
        >>> breakdown([0.1, 2.0], [[0.04, 0.0], [0.0, 0.04]], pre=1, weights=[1.0]) > 4
        True
    """
    choice(kind, KINDS, "kind")
    problem = _projected(estimate, covariance, pre, weights, level, df)
    if kind == "relative":
        return _relative_breakdown(problem.moments, null, 1 - level)
    return _smooth_breakdown(problem.frontier, null, 1 - level)


@dataclass(frozen=True, kw_only=True)
class _Projected:
    """What both restrictions need of an event study."""

    before: Floats
    joint: Floats
    estimate: float
    weights: Floats

    @property
    def se(self) -> float:
        return float(np.sqrt(self.joint[-1, -1]))

    @property
    def moments(self) -> Moments:
        """Differences between neighbouring periods before the start, the last one to the base, and the combination.

        A combination moves by at most Σ_s |Σ_{t ≥ s} weights_t| times the largest later difference.
        """
        steps = np.diff(np.eye(self.before.size + 1), axis=0)[:, :-1]
        turn = np.zeros((steps.shape[0] + 1, self.joint.shape[0]))
        turn[:-1, :-1], turn[-1, -1] = steps, 1.0
        return Moments(
            steps=steps @ self.before,
            combination=self.estimate,
            covariance=turn @ self.joint @ turn.T,
            reach=float(np.abs(np.cumsum(self.weights[::-1])).sum()),
        )

    @property
    def frontier(self) -> Frontier:
        """All linear estimators that nobody would replace by a less biased one of the same error."""
        return frontier(self.before, self.estimate, self.joint, self.weights)


def _projected(
    estimate: ArrayLike, covariance: ArrayLike, pre: int, weights: ArrayLike, level: float, df: float | None
) -> _Projected:
    in_unit_interval(level)
    beta, each = vector(estimate, "estimate"), vector(weights, "weights")
    sigma = np.asarray(covariance, dtype=np.float64)
    faults = []
    if pre < 1 or beta.size != pre + each.size or not each.size:
        faults.append(f"estimate has {beta.size} values; needed: pre ({pre}, at least 1) + weights ({each.size})")
    if sigma.shape != (beta.size, beta.size):
        faults.append(f"covariance has shape {sigma.shape}; needed: {(beta.size, beta.size)}")
    elif not np.isfinite(sigma).all() or not np.allclose(sigma, sigma.T, rtol=1e-6, atol=1e-6 * np.abs(sigma).max()):
        faults.append("covariance must be finite and symmetric")
    if not each.any():
        faults.append("all weights are zero; name the periods the effect is averaged over")
    if df is not None and not df > 0:
        faults.append(f"df is {df}; needed: above 0")
    complain(faults)
    wide = 1.0 if df is None else float(stats.t.isf((1 - level) / 2, df) / stats.norm.isf((1 - level) / 2))
    turn = np.zeros((pre + 1, beta.size))
    turn[:pre, :pre], turn[pre, pre:] = np.eye(pre), each
    joint = wide**2 * turn @ ((sigma + sigma.T) / 2) @ turn.T
    if not joint[-1, -1] > 0:
        raise ValueError("the combination has no variance; check the covariance of the periods after the start")
    return _Projected(before=beta[:pre], joint=joint, estimate=float(each @ beta[pre:]), weights=each)


def _relative_ends(moments: Moments, bound: float, alpha: float) -> tuple[float, float]:
    """Find the hull of the accepted values: a grid, then bisection between an end and its rejected neighbour."""
    sd = np.sqrt(np.diag(moments.covariance))
    span = bound * moments.reach * (np.abs(moments.steps) + REACH * sd[:-1]).max() + REACH * sd[-1]
    grid = moments.combination + np.linspace(-span, span, 2 * GRID - 1)
    inside = np.flatnonzero(accepts(moments, grid, np.full(grid.size, bound), alpha))
    if not inside.size:
        return float("nan"), float("nan")

    def inside_at(values: Floats) -> Bools:
        return accepts(moments, values, np.full(values.size, bound), alpha)

    step = grid[1] - grid[0]
    low, high = grid[inside[0]], grid[inside[-1]]
    return _edge(inside_at, low - step, low), _edge(inside_at, high + step, high)


def _edge(inside: Callable[[Floats], Bools], outside: float, within: float) -> float:
    """Find where values begin to be inside, between one that is not and one that is, by ever finer grids."""
    for _ in range(ROUNDS):
        grid = np.linspace(outside, within, FINER)
        accepted = inside(grid)
        accepted[0], accepted[-1] = False, True
        first = int(accepted.argmax())
        outside, within = float(grid[first - 1]), float(grid[first])
    return within


def _relative_breakdown(moments: Moments, null: float, alpha: float) -> float:
    largest = float(np.abs(moments.steps).max())
    if accepts(moments, np.array([null]), np.array([0.0]), alpha)[0]:
        return 0.0
    if not largest > 0:
        return float("inf")
    grid = np.linspace(0.0, abs(moments.combination - null) / (moments.reach * largest), GRID)
    inside = accepts(moments, np.full(GRID, null), grid, alpha)
    inside[-1] = True
    first = int(inside.argmax())
    return _edge(lambda each: accepts(moments, np.full(each.size, null), each, alpha), grid[first - 1], grid[first])


def _smooth_breakdown(shape: Frontier, null: float, alpha: float) -> float:
    def inside(bound: float) -> bool:
        low, high = shape.interval(bound, alpha)
        return low <= null <= high

    if inside(0.0):
        return 0.0
    bad, good = 0.0, float(np.abs(shape.centre - null).max() / shape.bias.min())
    for _ in range(HALVINGS):
        middle = (bad + good) / 2
        bad, good = (bad, middle) if inside(middle) else (middle, good)
    return good
