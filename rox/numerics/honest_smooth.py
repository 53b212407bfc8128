"""Estimate an effect by a line through the periods before the start that may bend a little: shortest honest intervals.

With b_t the difference in trend, any estimator ``effect + v'before`` of bounded bias takes off every straight line.
Those estimators are the vectors w of second sums of v with w_0 fixed; the worst bias is M·(C + Σ|w|), the variance is a
quadratic form of w. The estimators worth having minimise ``variance/2 + penalty·Σ|w|`` for some penalty: a lasso path,
which is followed exactly from kink to kink (Osborne, Presnell & Turlach 2000).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy import special

from rox.numerics.arrays import Bools, Floats, freeze

POINTS = 64
"""Points on each straight piece of the path."""
HALVINGS = 60
TINY = 1e-10


@dataclass(frozen=True, kw_only=True)
class Frontier:
    """Estimators from the least biased to the least variable. m = points along the path."""

    centre: Floats
    """(m,) estimates."""
    bias: Floats
    """(m,) largest bias when the slope changes by at most one per period."""
    sd: Floats
    """(m,) standard errors."""

    def __post_init__(self) -> None:
        freeze(self, "centre", "bias", "sd")

    def interval(self, bound: float, alpha: float) -> tuple[float, float]:
        """Return the shortest of the intervals that hold for every change of slope up to ``bound``."""
        half = folded_quantile(bound * self.bias / self.sd, 1 - alpha) * self.sd
        best = int(half.argmin())
        return float(self.centre[best] - half[best]), float(self.centre[best] + half[best])


def folded_quantile(mean: Floats, level: float) -> Floats:
    """Return the quantile of |N(mean, 1)| for means of zero or more, by bisection."""
    low, high = mean + special.ndtri(level), mean + special.ndtri((1 + level) / 2)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        short = special.ndtr(middle - mean) - special.ndtr(-middle - mean) < level
        low, high = np.where(short, middle, low), np.where(short, high, middle)
    return np.asarray(high)


def frontier(before: Floats, effect: float, joint: Floats, weights: Floats) -> Frontier:
    """Follow the estimators of a combination of effects from the least biased to the least variable.

    Args:
        before: (p,) estimates before the base period, by time.
        effect: The combination of later estimates.
        joint: (p + 1, p + 1) covariance of ``before`` and ``effect``.
        weights: (q,) of the combination.
    """
    size, ahead = before.size, np.arange(1.0, weights.size + 1)
    later = np.array([weights[j:] @ ahead[: weights.size - j] for j in range(weights.size)])
    second = np.diff(np.eye(size + 2), n=2, axis=0)[:, 2:]
    turn = np.zeros((size + 1, size + 1))
    turn[0, -1], turn[1:, :size] = 1.0, second[:, ::-1]
    estimates = turn @ np.append(before, effect)
    covariance = turn @ joint @ turn.T
    fixed = np.array([1.0, float(weights @ ahead)])
    path = _path(covariance[2:, 2:], covariance[2:, :2] @ fixed)
    every = np.column_stack([np.tile(fixed, (len(path), 1)), path])
    variance = np.einsum("mi,ij,mj->m", every, covariance, every)
    return Frontier(
        centre=every @ estimates,
        bias=np.abs(later).sum() + np.abs(path).sum(1),
        sd=np.sqrt(np.maximum(variance, TINY * covariance[0, 0])),
    )


def _path(quadratic: Floats, linear: Floats) -> Floats:
    """Return minimisers of w'Qw/2 + q'w + penalty·Σ|w| from the largest penalty to none, shape (m, p)."""
    kinks = [np.zeros(linear.size)]
    penalty, active = float(np.abs(linear).max(initial=0.0)), np.zeros(linear.size, dtype=bool)
    if penalty > 0:
        active[np.abs(linear).argmax()] = True
    for _ in range(8 * linear.size + 8):
        if penalty <= 0:
            break
        w = kinks[-1]
        gradient = quadratic @ w + linear
        sign = np.where(w != 0, np.sign(w), -np.sign(gradient))
        move = np.zeros(linear.size)
        move[active] = np.linalg.lstsq(quadratic[np.ix_(active, active)], sign[active], rcond=None)[0]
        slope = quadratic @ move
        length, enters, leaves = _next_kink(w, move, gradient, slope, penalty, active)
        new = w + length * move
        new[leaves] = 0.0
        active = (active | enters) & ~leaves
        kinks.append(new)
        penalty -= length
    shares = np.linspace(0.0, 1.0, POINTS, endpoint=False)[:, None]
    pieces = [a + shares * (b - a) for a, b in pairwise(kinks)]
    return np.concatenate([*pieces, kinks[-1][None, :]])


def _next_kink(
    w: Floats, move: Floats, gradient: Floats, slope: Floats, penalty: float, active: Bools
) -> tuple[float, Bools, Bools]:
    """Return how far the penalty falls until a coordinate enters or leaves the path, and which one."""
    steps = np.full((3, w.size), np.inf)
    with np.errstate(divide="ignore", invalid="ignore"):
        steps[0] = np.where(~active, (penalty - gradient) / (1 + slope), np.inf)
        steps[1] = np.where(~active, (penalty + gradient) / (1 - slope), np.inf)
        steps[2] = np.where(active & (w != 0), -w / move, np.inf)
    steps[~(steps > TINY * penalty)] = np.inf
    length = min(float(steps.min(initial=np.inf)), penalty)
    hit = steps <= length * (1 + TINY) if length < penalty else np.zeros_like(steps, dtype=bool)
    return length, hit[0] | hit[1], hit[2]
