"""Regress within units (and within periods) of an unbalanced panel, with errors clustered exactly as documented.

The unit effects are removed by demeaning. The period effects are removed exactly, without building one dummy
per row: with D the period dummies and M the projection off the unit effects, the normal matrix D'MD needs only
the table of units by periods, and one solve of its size gives the doubly demeaned variables (Frisch & Waugh
1933; Lovell 1963). Any label can play either part: unit = segment x month with cluster = customer is a level
regression with segment-by-month effects.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike
from scipy import sparse

from rox.numerics.arrays import Bools, Floats, Ints, codes, complain, freeze, group_sums, vector

COLLINEAR = 1e-9
"""A regressor that keeps less than this share of its norm after absorption and the earlier regressors is dropped."""
UNCONNECTED = 1e-10
"""Smaller eigenvalues of the normalised period table (0..1) mean parts of the panel that share no unit."""


@dataclass(frozen=True, kw_only=True)
class LinearFit:
    """A least-squares fit. k = regressors, g = clusters. Regressors that are not identified are NaN throughout."""

    coefficient: Floats
    """(k,)."""
    covariance: Floats
    """(k, k) CR1 by cluster."""
    bread: Floats
    """(k, k) inverse of the weighted cross-product of the absorbed regressors."""
    influence: Floats
    """(g, k) per cluster, scaled so that influence' influence is `covariance`; rows follow `clusters`."""
    clusters: Ints
    """(g,) cluster codes into the sorted labels given."""
    identified: Bools
    """(k,) False for a regressor that is collinear with the effects or with earlier regressors."""
    residual: Floats
    """(n,) residual of every row given; NaN for rows dropped as singletons."""
    sigma2: Floats
    """() residual variance with all absorbed effects counted."""
    n: int
    """Rows used."""
    n_clusters: int
    singletons: int
    """Rows dropped because their unit or period had no other row."""
    absorbed: int
    """Rank of all absorbed effects."""
    counted: int
    """Parameters counted in the small-sample factor: slopes, constant, effects not nested in clusters."""
    df_residual: int
    """n - slopes - absorbed effects."""
    identifying: Floats
    """(k,) share of units whose regressor varies within the unit (only those move the slope)."""
    r2_within: float

    def __post_init__(self) -> None:
        freeze(
            self,
            "coefficient",
            "covariance",
            "bread",
            "influence",
            "clusters",
            "identified",
            "residual",
            "sigma2",
            "identifying",
        )

    @property
    def se(self) -> Floats:
        """(k,) clustered standard errors."""
        return np.asarray(np.sqrt(np.diag(self.covariance)))

    @property
    def covariance_iid(self) -> Floats:
        """(k, k) conventional covariance, for comparison only: rows of one cluster are not independent."""
        return np.asarray(self.sigma2 * self.bread)


def within_regression(
    y: ArrayLike,
    x: ArrayLike,
    unit: ArrayLike,
    *,
    time: ArrayLike | None = None,
    weights: ArrayLike | None = None,
    cluster: ArrayLike | None = None,
    count_constant: bool = True,
) -> LinearFit:
    """Regress y on x with unit effects and, if `time` is given, effects of those groups of rows as well.

    Estimand: the slope of y on x among rows of one unit, differences common to a time group removed. Causal
    only under strict exogeneity. Rows alone in their unit or time group carry no information; they are dropped
    and counted.

    The small-sample factor is G/(G-1) * (n-1)/(n-K). K counts the slopes, one constant (as Stata's xtreg and
    fixest do; plm's "sss" does not: count_constant=False) and absorbed effects unless they are nested in the
    clusters.

    Args:
        y: (n,) outcome.
        x: (n,) or (n, k) regressors without a constant.
        unit: (n,) labels of the units.
        time: (n,) labels of any second grouping, such as segment x month; a few thousand levels at most.
        weights: (n,) positive precision weights.
        cluster: (n,) labels of independent groups of rows; default the units.
        count_constant: whether K counts one constant.

    Raises:
        ValueError: shapes that do not fit, missing values, fewer than two clusters, or no regressor left after
            absorption.

    Example:
        >>> y, x = np.array([1.0, 3, 10, 16, 7, 7]), np.array([0.0, 1, 2, 5, 3, 3])
        >>> fit = within_regression(y, x, ["a", "a", "b", "b", "c", "c"])
        >>> fit.coefficient, round(float(fit.identifying[0]), 2)
        (array([2.]), 0.67)
    """
    outcome = vector(y, "y")
    n = outcome.size
    regressors, w = _design(x, weights, n)
    unit_code, unit_levels = codes(unit, "unit", n)
    time_code = None if time is None else codes(time, "time", n)[0]
    cluster_code = unit_code if cluster is None else codes(cluster, "cluster", n)[0]
    kept = _without_singletons(unit_code, time_code)
    if not kept.any():
        raise ValueError(f"no row left: every one of the {n} rows is alone in its unit or period")
    yx = np.column_stack([outcome, regressors])[kept]
    w, group = w[kept], cluster_code[kept]
    units = _consecutive(unit_code[kept])[0]
    periods = None if time_code is None else _consecutive(time_code[kept])[0]
    absorbed_yx, period_rank = _absorb(yx, units, periods, w)
    n_units = int(units.max()) + 1
    nested_units = _nested(units, group)
    nested_periods = periods is not None and _nested(periods, group)
    effects = (0 if nested_units else n_units - 1) + (0 if nested_periods else period_rank)
    fit = _clustered_fit(
        absorbed_yx[:, 0],
        absorbed_yx[:, 1:],
        w,
        group,
        scale=np.sqrt((w[:, None] * yx[:, 1:] ** 2).sum(0)),
        absorbed=n_units + period_rank,
        extra=effects + int(count_constant),
    )
    residual = np.full(n, np.nan)
    residual[kept] = fit.residual
    varying = _share_varying(regressors, unit_code, unit_levels.size)
    return replace(fit, residual=residual, singletons=int(n - kept.sum()), identifying=varying)


def linear_regression(
    y: ArrayLike, x: ArrayLike, *, weights: ArrayLike | None = None, cluster: ArrayLike | None = None
) -> LinearFit:
    """Regress y on x as given (add the constant yourself), with CR1 errors by cluster or HC1 errors by row.

    Args:
        y: (n,) outcome.
        x: (n, k) regressors, including the constant.
        weights: (n,) positive precision weights.
        cluster: (n,) labels; default every row is its own cluster, which gives HC1.

    Raises:
        ValueError: shapes that do not fit, missing values or fewer than two clusters.
    """
    outcome = vector(y, "y")
    regressors, w = _design(x, weights, outcome.size)
    group = np.arange(outcome.size) if cluster is None else codes(cluster, "cluster", outcome.size)[0]
    scale = np.sqrt((w[:, None] * regressors**2).sum(0))
    return _clustered_fit(outcome, regressors, w, group, scale=scale, absorbed=0, extra=0)


def cluster_covariance(
    x: ArrayLike,
    residual: ArrayLike,
    cluster: ArrayLike,
    *,
    weights: ArrayLike | None = None,
    parameters: int | None = None,
) -> Floats:
    """Return the (k, k) CR1 covariance of least-squares coefficients (Liang & Zeger 1986, with G/(G-1) * (n-1)/(n-K)).

    Args:
        x: (n, k) regressors as they entered the fit (after any absorption).
        residual: (n,) residuals of the fit.
        cluster: (n,) labels of independent groups of rows.
        weights: (n,) precision weights of the fit.
        parameters: K, default the k columns of x.

    Raises:
        ValueError: shapes that do not fit, missing values, fewer than two clusters, or collinear regressors.
    """
    e = vector(residual, "residual")
    regressors, w = _design(x, weights, e.size)
    group = codes(cluster, "cluster", e.size)[0]
    bread = _inverse((regressors * w[:, None]).T @ regressors)
    counted = regressors.shape[1] if parameters is None else parameters
    return _sandwich(regressors, e, w, group, bread, counted)[0]


def _design(x: ArrayLike, weights: ArrayLike | None, n: int) -> tuple[Floats, Floats]:
    regressors = np.asarray(x, dtype=np.float64)
    regressors = regressors[:, None] if regressors.ndim == 1 else regressors
    faults = []
    if regressors.ndim != 2 or regressors.shape[0] != n:
        faults.append(f"x must have shape ({n},) or ({n}, k), got {regressors.shape}")
    bad = int((~np.isfinite(regressors)).sum())
    if bad:
        faults.append(f"x has {bad} values that are NaN or infinite; drop those rows first")
    w = np.ones(n) if weights is None else vector(weights, "weights", n)
    if not (w > 0).all():
        faults.append(f"weights must be positive, got {int((w <= 0).sum())} that are not; drop those rows first")
    complain(faults)
    return regressors, w


def _without_singletons(unit: Ints, time: Ints | None) -> Bools:
    """Mark rows that share both their unit and their time group with another kept row (iterated until it holds)."""
    kept = np.ones(unit.size, dtype=bool)
    while True:
        before = int(kept.sum())
        for code in (unit,) if time is None else (unit, time):
            kept &= np.bincount(code[kept], minlength=int(code.max()) + 1)[code] > 1
        if int(kept.sum()) == before:
            return kept


def _demean(values: Floats, group: Ints, w: Floats) -> Floats:
    size = int(group.max()) + 1
    means = group_sums(values * w[:, None], group, size) / np.bincount(group, weights=w, minlength=size)[:, None]
    return np.asarray(values - means[group])


def _absorb(values: Floats, unit: Ints, time: Ints | None, w: Floats) -> tuple[Floats, int]:
    """Remove unit and time effects exactly; returns the residual variables and the rank the time effects add."""
    inside = _demean(values, unit, w)
    if time is None:
        return inside, 0
    table = sparse.coo_array((w, (unit, time))).tocsr()
    unit_weight, time_weight = (np.asarray(table.sum(axis=axis)).ravel() for axis in (1, 0))
    scaled = table @ sparse.diags_array(1 / np.sqrt(time_weight))
    normal = np.eye(time_weight.size) - (scaled.T @ sparse.diags_array(1 / unit_weight) @ scaled).toarray()
    right = group_sums(inside * w[:, None], time, time_weight.size) / np.sqrt(time_weight)[:, None]
    root, basis = np.linalg.eigh(normal)
    solid = root > UNCONNECTED
    effect = basis[:, solid] @ ((basis[:, solid].T @ right) / root[solid, None]) / np.sqrt(time_weight)[:, None]
    out = inside - _demean(effect[time], unit, w)
    return out, int(solid.sum())


def _nested(inner: Ints, outer: Ints) -> bool:
    """Tell whether each inner group lies in one outer group."""
    home = np.zeros(int(inner.max()) + 1, dtype=np.int64)
    home[inner] = outer
    return bool((home[inner] == outer).all())


def _consecutive(code: Ints) -> tuple[Ints, Ints]:
    """Return codes 0..m-1 in the same order, and the m codes that occur."""
    present = np.flatnonzero(np.bincount(code))
    place = np.zeros(int(code.max()) + 1, dtype=np.int64)
    place[present] = np.arange(present.size)
    return place[code], present


def _clustered_fit(
    y: Floats, x: Floats, w: Floats, group: Ints, *, scale: Floats, absorbed: int, extra: int
) -> LinearFit:
    k = x.shape[1]
    use = _independent(x * np.sqrt(w)[:, None], scale)
    if not use.any():
        raise ValueError("no regressor varies once the effects are absorbed: nothing to estimate")
    xs = x[:, use]
    inverse = _inverse((xs * w[:, None]).T @ xs)
    beta = inverse @ (xs.T @ (w * y))
    residual = y - xs @ beta
    slopes = int(use.sum())
    df = y.size - slopes - absorbed
    cov, influence, clusters = _sandwich(xs, residual, w, group, inverse, slopes + extra)
    total = float((w * y) @ y) if absorbed else float(w @ (y - np.average(y, weights=w)) ** 2)
    rss = float((w * residual) @ residual)
    return LinearFit(
        coefficient=_spread(beta, use, k),
        covariance=_spread(_spread(cov, use, k).T, use, k).T,
        bread=_spread(_spread(inverse, use, k).T, use, k).T,
        influence=_spread(influence.T, use, k).T,
        clusters=clusters,
        identified=use,
        residual=residual,
        sigma2=np.asarray(rss / df if df > 0 else np.nan),
        n=y.size,
        n_clusters=clusters.size,
        singletons=0,
        absorbed=absorbed,
        counted=slopes + extra,
        df_residual=df,
        identifying=np.ones(k),
        r2_within=1 - rss / total if total > 0 else float("nan"),
    )


def _independent(x: Floats, scale: Floats) -> Bools:
    """Mark columns that keep a norm of their own after the columns before them (modified Gram-Schmidt)."""
    use = np.zeros(x.shape[1], dtype=bool)
    basis: list[Floats] = []
    for column in range(x.shape[1]):
        rest = x[:, column].copy()
        for q in basis:
            rest -= (q @ rest) * q
        norm = float(np.linalg.norm(rest))
        if norm > COLLINEAR * scale[column] and norm > 0:
            use[column] = True
            basis.append(rest / norm)
    return use


def _inverse(gram: Floats) -> Floats:
    size = np.sqrt(np.diag(gram))
    if not (size > 0).all() or np.linalg.cond(gram / np.outer(size, size)) > 1e14:
        raise ValueError("regressors are collinear; drop one of them")
    return np.asarray(np.linalg.inv(gram / np.outer(size, size)) / np.outer(size, size))


def _sandwich(
    x: Floats, residual: Floats, w: Floats, group: Ints, bread: Floats, counted: int
) -> tuple[Floats, Floats, Ints]:
    """Return the CR1 covariance, the scaled influence per cluster and the cluster codes present."""
    code, present = _consecutive(group)
    g, n = present.size, residual.size
    if g < 2:
        raise ValueError(f"clustered errors need at least 2 clusters, got {g}")
    if n <= counted:
        raise ValueError(f"{n} rows cannot carry {counted} parameters")
    scores = group_sums(x * (w * residual)[:, None], code, g)
    factor = g / (g - 1) * (n - 1) / (n - counted)
    influence = np.sqrt(factor) * scores @ bread
    return influence.T @ influence, influence, present


def _spread(values: Floats, use: Bools, k: int) -> Floats:
    """Put rows back in their places, NaN for those not used."""
    out = np.full((k, *values.shape[1:]), np.nan)
    out[use] = values
    return out


def _share_varying(x: Floats, unit: Ints, size: int) -> Floats:
    inside = np.abs(_demean(x, unit, np.ones(unit.size)))
    moves = inside > 1e-10 * np.maximum(np.abs(x).max(0), 1e-300)
    return np.asarray((group_sums(moves.astype(np.float64), unit, size) > 0).mean(0))
