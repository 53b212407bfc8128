"""Least squares from cells: the coefficients, and the errors, that the rows would give.

Rows of a cell share their regressors, so the normal equations need n and the sum of outcomes; the residual variance and
the sandwich need the sum of squares besides (Wong, Lewis, Wardrop 2019; Wong et al. 2021, "You only compress once").
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from rox.numerics.arrays import Floats, Ints, vector
from rox.numerics.grouped import (
    GroupedFit,
    cells_of,
    clustered,
    demeaned,
    factor_of,
    independent,
    inverse,
    sandwich,
    widened,
)


def grouped_ols(
    design: ArrayLike,
    rows: ArrayLike,
    total: ArrayLike,
    *,
    squares: ArrayLike | None = None,
    absorb: ArrayLike | None = None,
    cluster: ArrayLike | None = None,
    counts: ArrayLike | None = None,
    meat: tuple[ArrayLike, ArrayLike, ArrayLike] | None = None,
) -> GroupedFit:
    """Regress an outcome on the cells' regressors by (weighted) least squares, with one factor absorbed.

    The absorbed factor is taken out by demeaning, which is exact (Frisch & Waugh 1933; Lovell 1963). With weights,
    `rows`, `total` and `squares` are sums of w, wy and wy^2.

    Args:
        design: (c, p) regressors of each cell; include a constant unless a factor is absorbed.
        rows: (c,) n, or sum of weights.
        total: (c,) sum of outcomes.
        squares: (c,) sum of squared outcomes, for errors.
        absorb: (c,) labels of a factor whose effects are taken out.
        cluster: (c,) labels of clusters that cells lie in whole: the sandwich is then CR1 over them. Clusters of
            customers, which cells do not show, are what the bucket jackknife is for.
        counts: (c,) rows of each cell when `rows` are weights.
        meat: sums of w^2, w^2 y and w^2 y^2 for the sandwich when there are weights.

    Returns:
        `covariance` is sigma^2 (X'X)^-1 with sigma^2 = RSS / (N - K), `robust` HC1 = N / (N - K) times the sandwich
        over rows, or CR1 = G/(G-1) (N-1)/(N-K) over clusters; K counts the columns and the levels of the factor.

    Raises:
        ValueError: shapes, missing values, negative rows.

    Example:
        >>> fit = grouped_ols([[1, 0], [1, 1]], rows=[2, 2], total=[4.0, 8.0], squares=[10.0, 34.0])
        >>> fit.coefficient, fit.se  # the difference of two means
        (array([2., 2.]), array([1.        , 1.41421356]))
    """
    x, w, y = cells_of(design, rows, total)
    level, levels = factor_of(absorb, w.size)
    norms = np.sqrt(w @ x**2)
    inner = demeaned(x, w, level, levels)
    keep = independent(inner, w, norms)
    z = inner[:, keep]
    bread = inverse(z.T @ (z * w[:, None]))
    mean = np.divide(y, w, out=np.zeros_like(y), where=w > 0)
    centred = demeaned(mean[:, None], w, level, levels)[:, 0]
    beta = bread @ (z.T @ (w * centred))
    gap = centred - z @ beta
    fitted = np.where(w > 0, mean - gap, np.nan)
    used = np.unique(level[w > 0]).size if levels else 0
    n = float(w.sum() if counts is None else vector(counts, "counts", w.size)[w > 0].sum())
    k = int(keep.sum()) + used
    blank = np.full((keep.sum(),) * 2, np.nan)
    covariance, robust, rss = blank, blank, float("nan")
    expected = np.nan_to_num(fitted)
    if squares is not None:
        inside = vector(squares, "squares", w.size) - np.where(w > 0, y * mean, 0.0)
        rss = float(np.maximum(inside, 0).sum() + w @ gap**2)
        covariance = bread * rss / (n - k) if n > k else blank
    if cluster is not None:
        middle, g = clustered((z * (w * gap)[:, None])[w > 0], np.asarray(cluster)[w > 0])
        robust = sandwich(bread, middle) * _ratio(g, g - 1) * _ratio(n - 1, n - k)
    elif meat is not None or (squares is not None and counts is None):
        sums = (rows, total, squares) if meat is None else meat
        w2, w2y, w2yy = (vector(each, "meat", w.size) for each in sums if each is not None)
        residual = np.maximum(w2yy - 2 * expected * w2y + expected**2 * w2, 0)
        robust = sandwich(bread, z.T @ (z * residual[:, None])) * _ratio(n, n - k)
    return GroupedFit(
        coefficient=widened(beta, keep),
        covariance=widened(covariance, keep),
        robust=widened(robust, keep),
        effects=_effects(mean - x[:, keep] @ beta, w, level, levels),
        fitted=fitted,
        deviance=rss,
        identified=keep,
        separated=0,
        rows=n,
        iterations=1,
    )


def _effects(gap: Floats, weight: Floats, level: Ints, levels: int) -> Floats:
    below = np.bincount(level, weights=weight, minlength=levels)[:levels]
    above = np.bincount(level, weights=weight * gap, minlength=levels)[:levels]
    return np.asarray(np.divide(above, below, out=np.full(levels, np.nan), where=below > 0), dtype=np.float64)


def _ratio(above: float, below: float) -> float:
    return above / below if below > 0 else float("nan")
