"""Measure how heavy a tail is and how much a regression rests on a handful of observations."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from rox.numerics.arrays import Floats, Ints, codes, complain, freeze, group_sums, in_unit_interval, vector

FEWEST = 10
"""Exceedances needed for a tail index."""
BLOCK = 200_000
"""Groups left out at a time, to bound memory."""


@dataclass(frozen=True, kw_only=True)
class TailIndex:
    """Hill's estimate: P(X > x) falls like x^-alpha beyond the threshold."""

    alpha: float
    """Below 2 the variance is infinite; below about 2.5 means of ordinary samples are far from normal."""
    se: float
    exceedances: int
    threshold: float


@dataclass(frozen=True, kw_only=True)
class Influential:
    """What one coefficient becomes without the groups that move it most. m = groups named."""

    coefficient: float
    """With all rows."""
    groups: Ints
    """(m,) codes of the groups (into the sorted labels) or row numbers, the most influential first."""
    alone: Floats
    """(m,) coefficient without that group; NaN if it cannot be estimated without it."""
    together: float
    """Coefficient without all of them; NaN if it cannot be estimated."""
    share: float
    """(together - coefficient) / |coefficient|."""

    def __post_init__(self) -> None:
        freeze(self, "groups", "alone")


def hill(values: ArrayLike, *, share: float = 0.05) -> TailIndex:
    """Estimate the tail index from the largest observations (Hill 1975); standard error alpha / sqrt(exceedances).

    Assumes independent observations with a Pareto-like upper tail; look at several shares.

    Args:
        values: (n,) amounts; only the largest need be positive.
        share: top share used, such as 0.02 or 0.05.

    Raises:
        ValueError: missing values, fewer than 10 exceedances, a threshold that is not positive, or ties that
            fill the tail.

    Example:
        >>> wealth = np.random.default_rng(1).pareto(2.1, size=5000) + 1
        >>> tail = hill(wealth, share=0.05)
        >>> round(tail.alpha, 2), round(tail.se, 2)
        (1.97, 0.12)
    """
    in_unit_interval(share, "share")
    x = np.sort(vector(values, "values"))[::-1]
    k = int(np.floor(share * x.size))
    if k < FEWEST:
        raise ValueError(
            f"the top {share:.1%} of {x.size} values are {k}, needed {FEWEST}; take a larger share or more data"
        )
    threshold = float(x[k])
    if threshold <= 0:
        raise ValueError(f"the tail starts at {threshold}, which is not positive; take a smaller share")
    excess = float(np.log(x[:k] / threshold).sum())
    if excess == 0:
        raise ValueError(
            f"all {k} largest values equal {threshold}: there is no tail to measure (are the values capped?)"
        )
    return TailIndex(alpha=k / excess, se=float(k / excess / np.sqrt(k)), exceedances=k, threshold=threshold)


def drop_influential(
    y: ArrayLike,
    x: ArrayLike,
    *,
    coefficient: int = 0,
    top: int = 5,
    group: ArrayLike | None = None,
    weights: ArrayLike | None = None,
) -> Influential:
    """Refit a least-squares coefficient without the groups of rows that move it most, exactly and without refitting.

    Leaving out group g changes the coefficients by -(X'X)^-1 X_g'(I - H_gg)^-1 e_g (Cook & Weisberg 1982,
    section 3.6); computed from k x k sums per group. The `top` groups are those with the largest change alone.

    Args:
        y: (n,) outcome, after any absorption of effects.
        x: (n, k) regressors as they enter the fit.
        coefficient: column examined.
        top: number of groups left out.
        group: (n,) labels, such as customers; default every row.
        weights: (n,) positive precision weights.

    Raises:
        ValueError: shapes, missing values, collinear regressors, or not more groups than `top`.
    """
    outcome = vector(y, "y")
    n = outcome.size
    design = np.asarray(x, dtype=np.float64)
    design = design[:, None] if design.ndim == 1 else design
    w = np.ones(n) if weights is None else vector(weights, "weights", n)
    faults = []
    if design.ndim != 2 or design.shape[0] != n:
        faults.append(f"x must have shape ({n},) or ({n}, k), got {design.shape}")
    elif not -design.shape[1] <= coefficient < design.shape[1]:
        faults.append(f"coefficient {coefficient} is not a column of x with {design.shape[1]} columns")
    if not np.isfinite(design).all():
        faults.append(f"x has {int((~np.isfinite(design)).sum())} values that are NaN or infinite")
    if not (w > 0).all():
        faults.append("weights must be positive")
    complain(faults)
    code = np.arange(n) if group is None else codes(group, "group", n)[0]
    size = int(code.max()) + 1
    if top < 1 or size <= top:
        raise ValueError(f"needs more than {top} groups to leave {top} out, got {size}")
    gram, moment = (design * w[:, None]).T @ design, design.T @ (w * outcome)
    if np.linalg.matrix_rank(gram) < gram.shape[0]:
        raise ValueError("regressors are collinear; drop one of them")
    beta = np.linalg.solve(gram, moment)
    without = _leave_one_out(design, w, outcome - design @ beta, code, size, gram)[:, coefficient] + beta[coefficient]
    moved = np.where(np.isnan(without), np.inf, np.abs(without - beta[coefficient]))
    worst = np.argsort(-moved, kind="stable")[:top]
    rest = ~np.isin(code, worst)
    left = (design[rest] * w[rest, None]).T @ design[rest]
    together = float("nan")
    if np.linalg.matrix_rank(left) == left.shape[0]:
        together = float(np.linalg.solve(left, design[rest].T @ (w[rest] * outcome[rest]))[coefficient])
    whole = float(beta[coefficient])
    return Influential(
        coefficient=whole,
        groups=worst.astype(np.int64),
        alone=without[worst],
        together=together,
        share=(together - whole) / abs(whole) if whole else float("nan"),
    )


def _leave_one_out(design: Floats, w: Floats, residual: Floats, code: Ints, size: int, gram: Floats) -> Floats:
    """Return the change of all coefficients (size, k) when each group is left out; NaN where that is not estimable.

    With L L' = (X'X)^-1 and M_g = L'X_g'X_g L the change is -L (I - M_g)^-1 L'X_g'e_g.
    """
    root = np.linalg.cholesky(np.linalg.inv(gram))
    scaled = design @ root
    k = design.shape[1]
    score = group_sums(scaled * (w * residual)[:, None], code, size)
    change = np.full((size, k), np.nan)
    order = np.argsort(code, kind="stable")
    for start in range(0, size, BLOCK):
        count = min(BLOCK, size - start)
        first, last = np.searchsorted(code[order], [start, start + count])
        rows = order[first:last]
        products = (scaled[rows, :, None] * scaled[rows, None, :]) * w[rows, None, None]
        own = group_sums(products, code[rows] - start, count)
        values, vectors = np.linalg.eigh(own)
        fine = values[:, -1] < 1 - 1e-10
        turned = np.einsum("gkj,gk->gj", vectors[fine], score[start : start + count][fine])
        step = np.einsum("gkj,gj->gk", vectors[fine], turned / (1 - values[fine]))
        change[np.flatnonzero(fine) + start] = -step @ root.T
    return change
