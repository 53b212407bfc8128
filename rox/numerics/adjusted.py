"""Adjust the comparison of two arms for what was known before: a regression fully interacted with the arm.

Estimand: the mean over all rows of (outcome if assigned to treatment - outcome if not). Each arm is regressed on the
covariates by itself and both regressions are read at the mean of all rows (Lin 2013, Annals of Applied Statistics 7).
The covariates need not be right for the estimate to be right; they must not be anything assignment could move. Errors
are HC2 where rows were assigned, CR2 (Bell & McCaffrey 2002) where whole clusters were, widened where clusters of
unequal size that move as one make that too small; without covariates HC2 is Welch's, and CR2 for clusters of equal size
that of their means. n = rows, c = cells or clusters, k = outcomes, p = covariates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from rox.numerics.arrays import Bools, Floats, codes, complain, freeze, group_sums, vector
from rox.numerics.experiment import Moments, satterthwaite

COLLINEAR = 1e-10
"""Share of a covariate's sum of squares left beside the others below which it has nothing of its own."""


@dataclass(frozen=True, kw_only=True)
class Adjusted:
    """Effects on k outcomes. u = rows or clusters that carry influence, 0 where only sums were at hand."""

    estimate: Floats
    """(k,)."""
    covariance: Floats
    """(k, k)."""
    df: Floats
    """(k,) of Satterthwaite over the arms, from rows less coefficients, or those of Bell & McCaffrey (2002)."""
    treated: Floats
    """(k,) mean if all had been assigned to treatment."""
    control: Floats
    """(k,) mean if none had."""
    influence: Floats
    """(u, k): products of influences add up to the covariance, also across fits that share rows or clusters."""
    sizes: tuple[int, int]
    """Rows, or clusters, of the treated and of the control arm."""

    def __post_init__(self) -> None:
        freeze(self, "estimate", "covariance", "df", "treated", "control", "influence")

    @property
    def se(self) -> Floats:
        """(k,) standard errors."""
        return np.asarray(np.sqrt(np.diag(self.covariance)))


def adjusted_effect(
    outcome: ArrayLike, treated: ArrayLike, covariates: ArrayLike | None = None, *, cluster: ArrayLike | None = None
) -> Adjusted:
    """Estimate the effect of assignment from rows.

    Args:
        outcome: (n,) or (n, k).
        treated: (n,) whether the row was assigned to treatment.
        covariates: (n, p) known before the assignment, without a constant; none for the difference in means.
        cluster: (n,) labels of what was assigned, if not rows: all rows of a cluster must be in one arm.

    Raises:
        ValueError: shapes, missing values, arms that are too small, covariates that are collinear within an arm or
            that one row alone decides, or a cluster in both arms.

    Example:
        >>> before = np.arange(8.0)
        >>> arm = np.array([1, 0, 0, 1, 1, 0, 0, 1])
        >>> fit = adjusted_effect(before + 2 * arm, arm, before[:, None])
        >>> fit.estimate.round(6)
        array([2.])
    """
    y, arm, z = _rows(outcome, treated, covariates)
    if cluster is not None:
        label, names = codes(cluster, "cluster", arm.size)
        inside = group_sums(arm.astype(np.float64)[:, None], label, names.size)[:, 0]
        size = np.bincount(label, minlength=names.size)
        if mixed := int(((inside > 0) & (inside < size)).sum()):
            raise ValueError(f"{mixed} clusters have rows in both arms; then rows were assigned, not clusters")
        squares = group_sums((z[:, :, None] * z[:, None, :]), label, names.size)
        cross = group_sums((z[:, :, None] * y[:, None, :]), label, names.size)
        return _clustered(inside > 0, squares, cross)
    centre = z.mean(0)
    values, spread, parts, influence = [], [], [], np.zeros_like(y)
    for member, sign in ((arm, 1.0), (~arm, -1.0)):
        x = z[member]
        bread = _bread(x.T @ x, x.shape[0])
        beta = bread @ (x.T @ y[member])
        lever = np.einsum("ij,jk,ik->i", x, bread, x)
        _no_lone_row(lever)
        pull = (x @ (bread @ centre)) / np.sqrt(1 - lever)
        influence[member] = sign * pull[:, None] * (y[member] - x @ beta)
        values.append(centre @ beta)
        spread.append((influence[member] ** 2).sum(0))
        parts.append(x.shape[0] - x.shape[1])
    return _result(values, spread, parts, influence, (int(arm.sum()), int((~arm).sum())))


def adjusted_from_cells(
    treated: ArrayLike, covariates: ArrayLike, rows: ArrayLike, total: ArrayLike, squares: ArrayLike
) -> Adjusted:
    """Estimate the effect of assignment from cells whose rows share arm and covariates, as their rows would give it.

    Args:
        treated: (c,) arm of each cell.
        covariates: (c, p), such as indicators of strata less one.
        rows: (c,) n.
        total: (c,) sum of outcomes.
        squares: (c,) sum of squared outcomes.

    Raises:
        ValueError: as `adjusted_effect`.
    """
    w = vector(rows, "rows")
    y, yy = vector(total, "total", w.size), vector(squares, "squares", w.size)
    filled = w > 0
    mean = np.divide(y, w, out=np.zeros_like(y), where=filled)
    _, arm, z = _rows(mean, treated, covariates, weight=w)
    centre = w @ z / w.sum()
    values, spread, parts, sizes = [], [], [], []
    for member in (arm & filled, ~arm & filled):
        x, n = z[member], w[member]
        bread = _bread((x * n[:, None]).T @ x, n.sum())
        beta = bread @ (x.T @ y[member])
        lever = np.einsum("ij,jk,ik->i", x, bread, x)
        _no_lone_row(lever)
        inside = np.maximum(yy[member] - y[member] * mean[member], 0.0)
        residual = inside + n * (mean[member] - x @ beta) ** 2
        values.append(np.atleast_1d(centre @ beta))
        spread.append(np.atleast_1d(((x @ (bread @ centre)) ** 2 * residual / (1 - lever)).sum()))
        parts.append(n.sum() - x.shape[1])
        sizes.append(int(n.sum()))
    return _result(values, spread, parts, np.zeros((0, 1)), (sizes[0], sizes[1]))


def adjusted_from_clusters(treated: ArrayLike, products: ArrayLike, cross: ArrayLike) -> Adjusted:
    """Estimate the effect of assigning whole clusters from the sums of each cluster.

    Every row counts the same, so clusters count with their size (the ratio estimator). CR2 needs no rows: a cluster's
    part of the adjustment lies in the span of its covariates.

    Args:
        treated: (c,) arm of each cluster.
        products: (c, p + 1, p + 1) sums over the cluster's rows of z z' with z = (1, covariates).
        cross: (c, p + 1) or (c, p + 1, k) sums of z y.

    Raises:
        ValueError: shapes, fewer than two clusters in an arm, or collinear covariates.

    Example:
        >>> n, y = np.array([10.0, 12, 8, 10]), np.array([20.0, 30, 8, 10])
        >>> fit = adjusted_from_clusters([1, 1, 0, 0], n[:, None, None], y[:, None])
        >>> fit.estimate.round(4)  # 50 / 22 - 18 / 18
        array([1.2727])
    """
    zz, zy = np.asarray(products, dtype=np.float64), np.asarray(cross, dtype=np.float64)
    zy = zy[:, :, None] if zy.ndim == 2 else zy
    arm = _arm(treated, len(zz))
    if zz.ndim != 3 or zz.shape[1] != zz.shape[2] or zy.shape[:2] != zz.shape[:2]:
        raise ValueError(f"needs products (c, p, p) and cross (c, p, k), got {zz.shape} and {np.shape(cross)}")
    if not (np.isfinite(zz).all() and np.isfinite(zy).all()):
        raise ValueError("sums of clusters must be finite; leave rows with missing values out of them")
    return _clustered(arm, zz, zy)


def stratified_effect(
    treated: Sequence[Moments], control: Sequence[Moments], *, outcome: int = 0, covariates: Sequence[int] = ()
) -> Adjusted:
    """Estimate the effect of assignment within strata, or blocks, from the moments of each arm in each stratum.

    Strata count with their rows (post-stratification; Miratrix, Sekhon & Yu 2013), slopes are those of an arm inside
    strata: the coefficient of the arm in its regression interacted with stratum and covariates. Without covariates the
    variance is that of HC2, exactly; with them up to order 1/n, since leverages need rows. Moments add over buckets of
    customers, whose jackknife (`jackknife.bucket_jackknife`) is another way to the error.

    Args:
        treated: the moments of the treated arm by stratum.
        control: of the control arm, in the same order.
        outcome: column.
        covariates: columns known before the assignment.

    Raises:
        ValueError: strata that do not pair, an arm with a single row in a stratum, or collinear covariates.
    """
    if len(treated) != len(control) or not treated:
        raise ValueError(f"arms must have the same strata, got {len(treated)} and {len(control)}")
    if any(part.n < 2 for part in (*treated, *control)):
        raise ValueError("an arm has a single row in some stratum; merge strata, or take the pairs as units")
    columns = [outcome, *covariates]
    share = np.array([a.n + b.n for a, b in zip(treated, control, strict=True)])
    share /= share.sum()
    centre = np.array([(a + b).mean[columns[1:]] for a, b in zip(treated, control, strict=True)])
    values, spread, parts = [], [], []
    for arm in (treated, control):
        n = np.array([each.n for each in arm])
        inside = np.array([each.products[np.ix_(columns, columns)] for each in arm])
        mean = np.array([each.mean[columns] for each in arm])
        bread = _bread(inside.sum(0)[1:, 1:], n.sum()) if covariates else np.zeros((0, 0))
        beta = bread @ inside.sum(0)[1:, 0]
        off = mean[:, 1:] - centre
        contrast = np.concatenate([[1.0], -beta])
        residual = np.maximum(np.einsum("i,sij,j->s", contrast, inside, contrast), 0.0)
        df = n.sum() - len(arm) - len(covariates)
        if not df > 0:
            raise ValueError("an arm has no more rows than strata and covariates")
        within = residual / (n - 1) * (n.sum() - len(arm)) / df
        tilt = share @ off
        values.append(np.atleast_1d(share @ (mean[:, 0] - off @ beta)))
        spread.append(np.atleast_1d(share**2 @ (within / n) + residual.sum() / df * (tilt @ bread @ tilt)))
        parts.append(df)
    sizes = (int(sum(each.n for each in treated)), int(sum(each.n for each in control)))
    return _result(values, spread, parts, np.zeros((0, 1)), sizes)


def _clustered(arm: Bools, zz: Floats, zy: Floats) -> Adjusted:
    if min(arm.sum(), (~arm).sum()) < 2:
        raise ValueError(
            f"needs two clusters in each arm, got {int(arm.sum())} treated and {int((~arm).sum())} control"
        )
    centre = zz[:, 0, :].sum(0) / zz[:, 0, 0].sum()
    influence = np.zeros((arm.size, zy.shape[2]))
    values, spread, parts = [], [], []
    for member, sign in ((arm, 1.0), (~arm, -1.0)):
        bread = _bread(zz[member].sum(0), zz[member, 0, 0].sum())
        beta = bread @ zy[member].sum(0)
        gap = zy[member] - zz[member] @ beta
        roots, basis = np.linalg.eigh(bread)
        half = (basis * np.sqrt(np.maximum(roots, 0))) @ basis.T
        inner = half @ zz[member] @ half
        own, turn = np.linalg.eigh(inner)
        scale = np.where(own < 1 - 1e-9, 1 / np.sqrt(np.maximum(1 - own, 1e-12)), 0.0)
        adjust = half @ (turn * scale[:, None, :]) @ turn.transpose(0, 2, 1) @ half
        weight = adjust @ centre
        wider, df = _as_one(zz[member], bread, weight, centre)
        influence[member] = sign * wider * np.einsum("cp,cpk->ck", weight, gap)
        values.append(centre @ beta)
        spread.append((influence[member] ** 2).sum(0))
        parts.append(df)
    return _result(values, spread, parts, influence, (int(arm.sum()), int((~arm).sum())))


def _as_one(zz: Floats, bread: Floats, weight: Floats, centre: Floats) -> tuple[float, float]:
    """Return what widens an arm's CR2 error, and its degrees of freedom (Bell & McCaffrey 2002), from sums of clusters.

    The variance is a sum of squares of linear forms of the outcome, whose first two moments give the degrees. They are
    taken where rows are independent, for which CR2 is unbiased, and where rows of a cluster move as one, for which it
    is too small if clusters differ in size: there the error is widened to what it should be, and the fewer degrees are
    kept.

    Args:
        zz: (c, p + 1, p + 1) of the arm's clusters.
        bread: (p + 1, p + 1) inverse of their sum.
        weight: (c, p + 1): a cluster's part of the estimate's error is weight' z' (y - fit).
        centre: (p + 1,) where the regression is read.
    """
    pull = np.einsum("cpq,cq->cp", zz, weight)
    rows = np.diag(np.einsum("cp,cp->c", weight, pull)) - pull @ bread @ pull.T
    whole = np.diag(np.einsum("cp,cp->c", zz[:, 0, :], weight)) - zz[:, 0, :] @ bread @ pull.T
    found = []
    for moment in (rows, whole.T @ whole):
        square = float((moment**2).sum())
        found.append(float(np.trace(moment)) ** 2 / square if square > 0 else 1.0)
    true, expected = float(((zz[:, 0, :] @ bread @ centre) ** 2).sum()), float((whole**2).sum())
    return float(np.sqrt(max(true / expected, 1.0))) if expected > 0 else 1.0, max(min(found), 1.0)


def _result(
    values: Sequence[Floats], spread: Sequence[Floats], dfs: Sequence[float], influence: Floats, sizes: tuple[int, int]
) -> Adjusted:
    covariance = influence.T @ influence if len(influence) else np.diag(spread[0] + spread[1])
    df = [satterthwaite(each, dfs) for each in zip(*spread, strict=True)]
    return Adjusted(
        estimate=values[0] - values[1],
        covariance=covariance,
        df=np.array(df),
        treated=values[0],
        control=values[1],
        influence=influence,
        sizes=sizes,
    )


def _rows(
    outcome: ArrayLike, treated: ArrayLike, covariates: ArrayLike | None, weight: Floats | None = None
) -> tuple[Floats, Bools, Floats]:
    """Return outcomes (n, k), the arm, and z = (1, covariates), centred so that products keep their digits."""
    y = np.asarray(outcome, dtype=np.float64)
    y = y[:, None] if y.ndim == 1 else y
    arm = _arm(treated, len(y))
    x = np.zeros((len(y), 0)) if covariates is None else np.asarray(covariates, dtype=np.float64)
    x = x[:, None] if x.ndim == 1 else x
    faults = []
    if y.ndim != 2 or x.shape[:1] != y.shape[:1] or x.ndim != 2:
        faults.append(f"needs outcome (n, k) and covariates (n, p), got {np.shape(outcome)} and {x.shape}")
    elif not np.isfinite(y).all() or not np.isfinite(x).all():
        faults.append("outcomes and covariates must be finite; leave out rows with missing values, in both arms")
    complain(faults)
    x = x - (x.mean(0) if weight is None else weight @ x / weight.sum())
    return y, arm, np.column_stack([np.ones(len(y)), x])


def _arm(treated: ArrayLike, size: int) -> Bools:
    raw = np.asarray(treated)
    if raw.shape != (size,) or not np.isin(raw, (0, 1)).all():
        raise ValueError(f"treated must hold {size} values 0 or 1, got shape {raw.shape}")
    arm = raw.astype(bool)
    if not 0 < arm.sum() < size:
        raise ValueError("both arms need rows")
    return arm


def _bread(gram: Floats, rows: float) -> Floats:
    scale = np.sqrt(np.diag(gram))
    if not rows > len(gram) - 1 or not (scale > 0).all():
        raise ValueError(f"an arm of {rows:g} rows cannot carry {len(gram) - 1} covariates, or one does not vary in it")
    standard = gram / np.outer(scale, scale)
    if np.linalg.eigvalsh(standard)[0] < COLLINEAR:
        raise ValueError("covariates are collinear within an arm; drop some, or make fewer strata")
    return np.asarray(np.linalg.inv(standard) / np.outer(scale, scale))


def _no_lone_row(lever: Floats) -> None:
    if (lever > 1 - 1e-9).any():
        raise ValueError("a single row decides a coefficient in its arm; merge strata, or drop the covariate")
