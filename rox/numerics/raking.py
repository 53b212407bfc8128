"""Rake cells of respondents to known margins of the population, with trimming."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from rox.numerics.arrays import Floats, Ints, complain, freeze, vector

CLOSE = 1e-6
"""Raking stops when every margin is met to this relative gap."""


@dataclass(frozen=True, kw_only=True)
class Raked:
    """Weights of cells. c = cells."""

    weight: Floats
    """(c,) raked weight of the cell's respondents together; NaN never, 0 where there are none."""
    factor: Floats
    """(c,) by which every base weight of the cell is multiplied; 1 where there are no respondents."""
    gap: float
    """Largest relative gap between a margin and its target."""
    cycles: int
    """Passes over all margins, of all rounds."""
    rounds: int
    """Times that weights were trimmed and raked again."""
    trimmed: float
    """Share of respondents whose weight was cut or raised in some round."""
    spread: tuple[float, float]
    """Smallest and largest weight over the median weight of respondents."""

    def __post_init__(self) -> None:
        freeze(self, "weight", "factor")

    @property
    def converged(self) -> bool:
        """Whether every margin is met."""
        return self.gap <= CLOSE


def rake(
    margins: Sequence[ArrayLike],
    targets: Sequence[ArrayLike],
    respondents: ArrayLike,
    *,
    base: ArrayLike | None = None,
    trim: tuple[float, float] | None = (0.3, 3.0),
    rounds: int = 5,
    cycles: int = 100,
    gap: float = CLOSE,
) -> Raked:
    """Multiply the base weights of cells until every margin has its known total (iterative proportional fitting).

    Assumes that answering is as good as random within the categories of each margin, their effects on answering
    multiplying. Deming & Stephan (1940); Deville & Särndal (1992). After raking, weights outside `trim` times the
    median are set to its bounds and all are raked again, at most `rounds` times; the last step is always a raking, so
    that the margins are met and `spread` says how far trimming went. The error of what is then computed comes from
    raking again in every replicate of the jackknife.

    Args:
        margins: for each margin (c,) integer codes of the cells' categories.
        targets: for each margin (categories,) totals of the population; they may be shares, and are brought to the sum
            of the first margin's.
        respondents: (c,) respondents.
        base: (c,) sum of their base weights, default their number.
        trim: bounds of weights over the median; None for no trimming.
        rounds: of trimming.
        cycles: most passes over the margins in a round.
        gap: relative gap at which raking stops.

    Raises:
        ValueError: shapes, codes without a target, negative numbers, or categories of the population without
            respondents: merge those with a neighbour.

    Example:
        >>> fit = rake([[0, 0, 1, 1], [0, 1, 0, 1]], [[60, 40], [50, 50]], [20, 10, 10, 10], trim=None)
        >>> fit.weight.round(2)
        array([34.11, 25.89, 15.89, 24.11])
    """
    n = vector(respondents, "respondents")
    d = n.copy() if base is None else vector(base, "base", n.size)
    codes, totals = _checked(margins, targets, n, d)
    each = np.divide(d, n, out=np.zeros_like(d), where=n > 0)
    weight, passes, found = _raked(d, codes, totals, cycles, gap)
    done, cut = 0, np.zeros(n.size, dtype=bool)
    while trim is not None and done < rounds:
        mean = np.divide(weight, n, out=np.zeros_like(weight), where=n > 0)
        low, high = (bound * _median(mean, n) for bound in trim)
        outside = (n > 0) & ((mean < low * (1 - gap)) | (mean > high * (1 + gap)))
        if not outside.any():
            break
        cut |= outside
        weight, more, found = _raked(np.clip(mean, low, high) * n, codes, totals, cycles, gap)
        passes, done = passes + more, done + 1
    mean = np.divide(weight, n, out=np.zeros_like(weight), where=n > 0)
    middle = _median(mean, n)
    return Raked(
        weight=weight,
        factor=np.divide(mean, each, out=np.ones_like(mean), where=each > 0),
        gap=found,
        cycles=passes,
        rounds=done,
        trimmed=float(n[cut].sum() / n.sum()),
        spread=(float(mean[n > 0].min() / middle), float(mean[n > 0].max() / middle)),
    )


def sparse_categories(code: ArrayLike, respondents: ArrayLike, *, fewest: float = 20) -> Ints:
    """Return the categories of a margin with fewer respondents than `fewest`, which should be merged before raking.

    Args:
        code: (c,) integer codes.
        respondents: (c,).
        fewest: respondents.
    """
    n = np.bincount(np.asarray(code, dtype=np.int64), weights=vector(respondents, "respondents"))
    return np.flatnonzero(n < fewest)


def _checked(
    margins: Sequence[ArrayLike], targets: Sequence[ArrayLike], n: Floats, d: Floats
) -> tuple[list[Ints], list[Floats]]:
    codes = [np.asarray(margin, dtype=np.int64) for margin in margins]
    totals = [np.asarray(target, dtype=np.float64) for target in targets]
    faults = []
    if not codes or len(codes) != len(totals):
        faults.append(f"{len(codes)} margins and {len(totals)} targets; one target for each margin is needed")
    if (n < 0).any() or (d < 0).any():
        faults.append("respondents and base weights must not be negative")
    elif ((n > 0) != (d > 0)).any():
        faults.append(f"{int(((n > 0) != (d > 0)).sum())} cells have respondents without weight, or weight without any")
    if not n.sum() > 0:
        faults.append("there are no respondents")
    for i, (code, target) in enumerate(zip(codes, totals, strict=False)):
        if code.shape != n.shape or target.ndim != 1:
            faults.append(f"margin {i}: {code.shape} codes for {n.shape} cells, targets of shape {target.shape}")
        elif code.size and (code.min() < 0 or code.max() >= target.size):
            faults.append(f"margin {i}: codes run from {code.min()} to {code.max()}, targets are {target.size}")
        elif not (np.isfinite(target).all() and (target >= 0).all() and target.sum() > 0):
            faults.append(f"margin {i}: targets must be finite, not negative, and not all zero")
        else:
            seen = np.bincount(code, weights=d, minlength=target.size) > 0
            if lonely := np.flatnonzero((target > 0) & ~seen).tolist():
                faults.append(f"margin {i}: nobody answered in categories {lonely}; merge them with a neighbour")
            if strange := np.flatnonzero((target == 0) & seen).tolist():
                faults.append(f"margin {i}: categories {strange} have respondents but no population")
    complain(faults)
    whole = totals[0].sum()
    return codes, [target * whole / target.sum() for target in totals]


def _raked(
    weight: Floats, codes: Sequence[Ints], totals: Sequence[Floats], cycles: int, gap: float
) -> tuple[Floats, int, float]:
    """Return weights, passes and the largest gap left."""
    weight, passes, left = weight.copy(), 0, np.inf
    while passes < cycles and left > gap:
        passes += 1
        for code, target in zip(codes, totals, strict=True):
            now = np.bincount(code, weights=weight, minlength=target.size)
            weight *= np.divide(target, now, out=np.ones_like(now), where=now > 0)[code]
        left = _largest_gap(weight, codes, totals)
    return weight, passes, left


def _largest_gap(weight: Floats, codes: Sequence[Ints], totals: Sequence[Floats]) -> float:
    worst = 0.0
    for code, target in zip(codes, totals, strict=True):
        now, known = np.bincount(code, weights=weight, minlength=target.size), target > 0
        worst = max(worst, float(np.abs(now[known] / target[known] - 1).max()))
    return worst


def _median(mean: Floats, n: Floats) -> float:
    order = np.argsort(mean)
    order = order[n[order] > 0]
    up = np.cumsum(n[order])
    return float(mean[order][np.searchsorted(up, up[-1] / 2)])
