"""Work with sums by cell: dummies, demeaning, sandwich middles, bins, and the panel of units that a roll-out needs.

A cell c is n_c rows that share their regressors; Y_c and Q_c are the sum and the sum of squares of their outcomes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import linalg

from rox.numerics.arrays import Bools, Floats, Ints, codes, complain, freeze, group_sums, vector

COLLINEAR = 1e-9
"""A column that keeps less than this share of its norm beside the others is not identified."""


@dataclass(frozen=True, kw_only=True)
class GroupedFit:
    """A regression fitted from cells. p = columns, c = cells, f = levels of the absorbed factor.

    A column that cannot be estimated is NaN throughout: collinear with others, or separated, when its coefficient would
    run off to infinity.
    """

    coefficient: Floats
    """(p,)."""
    covariance: Floats
    """(p, p) if the model holds row by row: sigma^2 or the expected information; all NaN where it cannot be known."""
    robust: Floats
    """(p, p) sandwich over rows or clusters; all NaN when the sums it needs were not given."""
    effects: Floats
    """(f,) of the absorbed factor on the scale of the linear predictor; NaN for levels left out."""
    fitted: Floats
    """(c,) mean outcome per row of the cell; NaN for cells left out."""
    deviance: float
    """Of cell means; for least squares the residual sum of squares, NaN without squares."""
    identified: Bools
    """(p,)."""
    separated: int
    """Columns and levels left out because all their outcomes lie on the boundary."""
    rows: float
    """Rows used."""
    iterations: int

    def __post_init__(self) -> None:
        freeze(self, "coefficient", "covariance", "robust", "effects", "fitted", "identified")

    @property
    def se(self) -> Floats:
        """(p,) standard errors if the model holds."""
        return np.asarray(np.sqrt(np.diag(self.covariance)))

    @property
    def robust_se(self) -> Floats:
        """(p,) standard errors of the sandwich."""
        return np.asarray(np.sqrt(np.diag(self.robust)))


def dummies(labels: ArrayLike, *, reference: object = None) -> tuple[Floats, NDArray[np.object_]]:
    """Return one 0/1 column per level, and the levels.

    Args:
        labels: (c,) labels of the cells.
        reference: a level without a column; None keeps all.

    Raises:
        ValueError: a reference that is no level.

    Example:
        >>> dummies(["b", "a", "b"], reference="a")
        (array([[1.],
               [0.],
               [1.]]), array(['b'], dtype=object))
    """
    raw = np.asarray(labels)
    code, levels = codes(raw, "labels", raw.size)
    keep = np.ones(levels.size, dtype=bool)
    if reference is not None:
        keep = levels != reference
        if keep.all():
            raise ValueError(f"reference {reference!r} is none of {levels.tolist()}")
    return np.eye(levels.size)[code][:, keep], levels[keep].astype(object)


def cells_of(design: ArrayLike, rows: ArrayLike, total: ArrayLike) -> tuple[Floats, Floats, Floats]:
    """Check the arrays of a regression: design (c, p), rows (c,) at least 0, total (c,).

    Raises:
        ValueError: shapes that do not fit, values that are not finite, negative rows, outcomes in cells without rows.
    """
    x = np.asarray(design, dtype=np.float64)
    x = x[:, None] if x.ndim == 1 else x
    n, y = vector(rows, "rows"), vector(total, "total")
    faults = []
    if x.ndim != 2 or x.shape[0] != n.size:
        faults.append(f"design must have shape ({n.size}, p), got {x.shape}")
    elif not np.isfinite(x).all():
        faults.append(f"design has {int((~np.isfinite(x)).sum())} values that are NaN or infinite")
    if y.size != n.size:
        faults.append(f"total has {y.size} values, rows {n.size}")
    elif (n < 0).any():
        faults.append(f"rows are negative in {int((n < 0).sum())} cells")
    elif ((n == 0) & (y != 0)).any():
        faults.append(f"{int(((n == 0) & (y != 0)).sum())} cells have an outcome but no rows")
    if n.size and not n.sum() > 0:
        faults.append("no cell has rows")
    complain(faults)
    return x, n, y


def factor_of(absorb: ArrayLike | None, size: int) -> tuple[Ints, int]:
    """Return the level of each cell and the number of levels; (zeros, 0) without a factor."""
    if absorb is None:
        return np.zeros(size, dtype=np.int64), 0
    code, levels = codes(absorb, "absorb", size)
    return code, levels.size


def demeaned(values: Floats, weight: Floats, level: Ints, levels: int) -> Floats:
    """Subtract from (c, p) values their weighted mean by level; without levels they stay."""
    if not levels:
        return values
    below = np.bincount(level, weights=weight, minlength=levels)
    means = group_sums(values * weight[:, None], level, levels) / np.where(below > 0, below, 1.0)[:, None]
    return np.asarray(values - means[level])


def independent(design: Floats, weight: Floats, norms: Floats) -> Bools:
    """Mark the columns that add something to those before them.

    Args:
        design: (c, p), demeaned.
        weight: (c,).
        norms: (p,) of the columns before demeaning, the yardstick.
    """
    root = design * np.sqrt(weight)[:, None]
    keep = np.zeros(design.shape[1], dtype=bool)
    live = np.flatnonzero(np.linalg.norm(root, axis=0) > COLLINEAR * norms)
    if not live.size:
        return keep
    triangle = linalg.qr(root[:, live] / np.linalg.norm(root[:, live], axis=0), mode="r")[0]
    own = np.zeros(live.size)
    own[: min(triangle.shape)] = np.abs(np.diag(triangle))
    if (own > COLLINEAR).all():
        keep[live] = True
        return keep
    gram = root[:, live] / np.linalg.norm(root[:, live], axis=0)
    basis = np.empty((gram.shape[0], 0))
    for place, column in zip(live, gram.T, strict=True):
        rest = column - basis @ (basis.T @ column)
        rest = rest - basis @ (basis.T @ rest)
        size = np.linalg.norm(rest)
        if size > COLLINEAR:
            keep[place] = True
            basis = np.column_stack([basis, rest / size])
    return keep


def inverse(matrix: Floats) -> Floats:
    """Return the inverse of a symmetric matrix, perhaps without rows."""
    return np.asarray(np.linalg.inv(matrix), dtype=np.float64)


def sandwich(bread: Floats, meat: Floats) -> Floats:
    """Return bread meat bread."""
    return np.asarray(bread @ meat @ bread)


def clustered(scores: Floats, cluster: ArrayLike) -> tuple[Floats, int]:
    """Return the sum of outer products of clusters' scores (p, p), and the number of clusters."""
    code, levels = codes(cluster, "cluster", scores.shape[0])
    sums = group_sums(scores, code, levels.size)
    return np.asarray(sums.T @ sums), levels.size


def widened(values: Floats, identified: Bools) -> Floats:
    """Put estimates of the identified columns into their places, NaN elsewhere; vectors and square matrices."""
    shape = (identified.size,) * values.ndim
    out = np.full(shape, np.nan)
    out[np.ix_(*(np.flatnonzero(identified),) * values.ndim)] = values
    return out


def grouped_quantile(bounds: ArrayLike, rows: ArrayLike, quantile: float) -> float:
    """Return a quantile from counts in bins, as if rows were spread evenly within each.

    Args:
        bounds: (b, 2) lower and upper ends of bins that do not overlap.
        rows: (b,) counts.
        quantile: between 0 and 1.

    Raises:
        ValueError: no rows, or a quantile outside 0..1.

    Example:
        >>> round(grouped_quantile([[0, 10], [10, 20]], [1, 3], 0.5), 3)
        13.333
    """
    ends, n = np.asarray(bounds, dtype=np.float64), vector(rows, "rows")
    if not 0 <= quantile <= 1 or not n.sum() > 0:
        raise ValueError(f"needs rows and a quantile in 0..1, got {n.sum()} rows and {quantile}")
    order = np.argsort(ends[:, 0], kind="stable")
    order = order[n[order] > 0]
    ends, n = ends[order], n[order]
    up = np.cumsum(n)
    place = min(int(np.searchsorted(up, quantile * up[-1])), n.size - 1)
    share = (quantile * up[-1] - (up[place] - n[place])) / n[place]
    return float(ends[place, 0] + share * (ends[place, 1] - ends[place, 0]))


def quantile_edges(bounds: ArrayLike, rows: ArrayLike, bins: int = 20) -> tuple[float, ...]:
    """Return up to bins - 1 edges, each an end of a bin, between which about equal numbers of rows lie.

    Args:
        bounds: (b, 2) ends of fine bins.
        rows: (b,) counts.
        bins: wanted.
    """
    ends, n = np.asarray(bounds, dtype=np.float64), vector(rows, "rows")
    order = np.argsort(ends[:, 0], kind="stable")
    ends, n = ends[order], n[order]
    share = np.cumsum(n)[:-1] / n.sum()
    inner = ends[1:, 0]
    wanted = np.arange(1, bins) / bins
    near = [int(np.argmin(np.abs(share - each))) for each in wanted] if inner.size else []
    return tuple(float(edge) for edge in np.unique(inner[near]))


def winsorised_total(bounds: ArrayLike, rows: ArrayLike, total: ArrayLike, low: float, high: float) -> float:
    """Sum an outcome cut to [low, high] from its sums by bin; a bin that holds a cut is taken as evenly spread.

    Args:
        bounds: (b, 2) ends of bins of the outcome itself.
        rows: (b,) counts.
        total: (b,) sums of the outcome.
        low: lower cut.
        high: upper cut.

    Raises:
        ValueError: cuts in the wrong order.
    """
    if not low < high:
        raise ValueError(f"low must be below high, got {low} and {high}")
    ends, n, y = np.asarray(bounds, dtype=np.float64), vector(rows, "rows"), vector(total, "total")
    a, b = ends[:, 0], ends[:, 1]
    p, q = np.clip(a, low, high), np.clip(b, low, high)
    even = (low * np.clip(low - a, 0, b - a) + high * np.clip(b - high, 0, b - a) + (q**2 - p**2) / 2) / (b - a)
    return float(np.where((a >= low) & (b <= high), y, n * even).sum())


def unit_panel(
    unit: ArrayLike, time: ArrayLike, rows: ArrayLike, total: ArrayLike, *, column: ArrayLike | None = None
) -> tuple[Floats, Floats, NDArray[np.object_], Floats, NDArray[np.object_]]:
    """Lay sums by unit, period and column out as means, the input of :func:`rox.numerics.did.group_time_att`.

    Args:
        unit: (c,) labels of units.
        time: (c,) periods.
        rows: (c,) the divisor: rows, or the customers of a frozen cohort repeated in each period.
        total: (c,) sums of the outcome.
        column: (c,) labels of outcome columns, such as segments; default one.

    Returns:
        Means (u, t, k), NaN where there are no rows; rows (u, t, k); units (u,); periods (t,); columns (k,).

    Raises:
        ValueError: shapes, or missing labels.

    Example:
        >>> means, rows, *_ = unit_panel(["A", "A", "B"], [1, 2, 1], [2, 2, 4], [10.0, 12, 4])
        >>> means[:, :, 0]
        array([[ 5.,  6.],
               [ 1., nan]])
    """
    n, y = vector(rows, "rows"), vector(total, "total")
    u, units = codes(unit, "unit", n.size)
    t, times = codes(time, "time", n.size)
    k, columns = codes(np.zeros(n.size) if column is None else column, "column", n.size)
    shape = (units.size, times.size, columns.size)
    flat = np.asarray(np.ravel_multi_index((u, t, k), shape), dtype=np.int64)
    size, sums = (group_sums(each, flat, int(np.prod(shape))).reshape(shape) for each in (n, y))
    means = np.divide(sums, size, out=np.full(shape, np.nan), where=size > 0)
    return means, size, units.astype(np.object_), times.astype(np.float64), columns.astype(np.object_)
