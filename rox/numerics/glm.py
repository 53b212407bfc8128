"""Generalised linear models from cells: the likelihood of the rows needs only counts and sums.

Poisson regression with the log link is also the estimator of choice for money with zeros, whatever its distribution
(Santos Silva & Tenreyro 2006, Review of Economics and Statistics 88), and, with time at risk in place of rows, the
piecewise exponential hazard model (Holford 1980; Laird & Olivier 1981). The complementary log-log binomial is the
proportional hazards model of grouped time (Prentice & Gloeckler 1978).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from rox.numerics.arrays import Bools, Floats, Ints, choice, complain, vector
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

CONVERGED = 1e-10
"""Newton's method may stop when the deviance can fall by no more than this share."""
STILL = 1e-10
"""It does when no linear predictor moves by more than this, or rounding keeps it from coming closer."""
ROUNDS = 60
NEAR = 1e-6
"""Cells with outcomes on the boundary whose mean comes this near to it, beside the average, are singled out."""


@dataclass(frozen=True)
class Family:
    """A distribution and its link: mean and slope of the mean by linear predictor, variance by mean."""

    mean: Callable[[Floats], Floats]
    slope: Callable[[Floats], Floats]
    variance: Callable[[Floats], Floats]
    start: Callable[[Floats, Floats], Floats]
    """Linear predictor to start from, by rows and totals."""
    deviance: Callable[[Floats, Floats, Floats], float]
    """Of rows, totals and means."""
    ceiling: float
    """Largest mean."""


def _poisson_deviance(n: Floats, y: Floats, mu: Floats) -> float:
    return float(2 * (special.xlogy(y, y) - special.xlogy(y, n * mu) - y + n * mu).sum())


def _binomial_deviance(n: Floats, d: Floats, p: Floats) -> float:
    stay = n - d
    above = special.xlogy(d, d) - special.xlogy(d, n * p)
    return float(2 * (above + special.xlogy(stay, stay) - special.xlogy(stay, n * (1 - p))).sum())


def _inside(eta: Floats, high: float) -> Floats:
    """Keep the mean of a binomial so far from 0 and 1 that its variance stays positive."""
    return np.clip(eta, -34.0, high)


def _cumulative_hazard(eta: Floats) -> Floats:
    return np.asarray(np.exp(_inside(eta, 3.5)))


FAMILIES: Mapping[str, Family] = MappingProxyType(
    {
        "poisson": Family(
            mean=lambda eta: np.exp(np.minimum(eta, 600)),
            slope=lambda eta: np.exp(np.minimum(eta, 600)),
            variance=lambda mu: mu,
            start=lambda n, y: np.log((y / n + y.sum() / n.sum()) / 2),
            deviance=_poisson_deviance,
            ceiling=np.inf,
        ),
        "logit": Family(
            mean=lambda eta: special.expit(_inside(eta, 34.0)),
            slope=lambda eta: special.expit(_inside(eta, 34.0)) * special.expit(-_inside(eta, 34.0)),
            variance=lambda p: p * (1 - p),
            start=lambda n, d: special.logit((d + 0.5) / (n + 1)),
            deviance=_binomial_deviance,
            ceiling=1.0,
        ),
        "cloglog": Family(
            mean=lambda eta: -np.expm1(-_cumulative_hazard(eta)),
            slope=lambda eta: _cumulative_hazard(eta) * np.exp(-_cumulative_hazard(eta)),
            variance=lambda p: p * (1 - p),
            start=lambda n, d: np.log(-np.log1p(-(d + 0.5) / (n + 1))),
            deviance=_binomial_deviance,
            ceiling=1.0,
        ),
    }
)


@dataclass(frozen=True)
class _Data:
    """Cells in use. offset is added to the linear predictor, ridge to the information's diagonal."""

    x: Floats
    n: Floats
    y: Floats
    offset: Floats
    level: Ints
    levels: int
    ridge: Floats


def grouped_glm(
    design: ArrayLike,
    rows: ArrayLike,
    total: ArrayLike,
    *,
    family: str,
    squares: ArrayLike | None = None,
    offset: ArrayLike | None = None,
    absorb: ArrayLike | None = None,
    cluster: ArrayLike | None = None,
    ridge: ArrayLike = 0.0,
) -> GroupedFit:
    """Fit a generalised linear model to cells by Newton's method on the expected information.

    Levels of the absorbed factor whose outcomes are all zero say nothing and are left out; so are columns, with the
    cells in which they are not zero, whose outcomes there are all zero (or, for a binomial, all one), and both are
    counted. Errors for customers with several rows come from the bucket jackknife.

    Args:
        design: (c, p) regressors; include a constant unless a factor is absorbed.
        rows: (c,) rows, trials, or time at risk.
        total: (c,) sum of outcomes, or events.
        family: "poisson" (log link), "logit" or "cloglog".
        squares: (c,) sum of squared outcomes for the sandwich; for binomials not needed. With time at risk in place of
            rows the sandwich is right only where each row is one unit of time.
        offset: (c,) known part of the linear predictor.
        absorb: (c,) labels of a factor whose effects are concentrated out; Poisson only.
        cluster: (c,) labels of clusters that cells lie in whole, for the sandwich with the factor G/(G-1).
        ridge: (p,) or a number, added to the diagonal of the information: a normal prior of that precision.

    Raises:
        ValueError: shapes, values the family cannot have, an absorbed factor with a binomial, or coefficients that run
            off to infinity.

    Example:
        >>> fit = grouped_glm([[1, 0], [1, 1]], rows=[4, 4], total=[8.0, 24.0], family="poisson")
        >>> np.exp(fit.coefficient)  # mean of the first cell, ratio of the second
        array([2., 3.])
    """
    choice(family, tuple(FAMILIES), "family")
    x, n, y = cells_of(design, rows, total)
    _require(family, n, y, absorb)
    level, levels = factor_of(absorb, n.size)
    shift = np.zeros(n.size) if offset is None else vector(offset, "offset", n.size)
    penalty = np.broadcast_to(np.asarray(ridge, dtype=np.float64), (x.shape[1],))
    kind = FAMILIES[family]
    inside, keep, dropped = _estimable(x, n, y, level, levels, kind, penalty)
    if not inside.any():
        raise ValueError("no cell says anything: every outcome lies on the boundary; merge levels")
    data = _Data(x[inside], n[inside], y[inside], shift[inside], level[inside], levels, penalty)
    first = _start(data, kind)
    keep &= independent(demeaned(data.x, first[1], data.level, levels), first[1], np.sqrt(first[1] @ data.x**2)) | (
        penalty > 0
    )
    data = _Data(data.x[:, keep], data.n, data.y, data.offset, data.level, levels, penalty[keep])
    beta, rounds = _newton(data, kind, np.flatnonzero(keep))
    eta, effects = _predictor(data, beta, kind)
    mu, slope, weight = _working(data, eta, kind)
    z = demeaned(data.x, weight, data.level, levels)
    bread = inverse(z.T @ (z * weight[:, None]) + np.diag(data.ridge))
    gain = slope / kind.variance(mu)
    robust = _robust(z, bread, gain, mu, data, family, squares, cluster, inside)
    fitted = np.full(inside.size, np.nan)
    fitted[inside] = mu
    return GroupedFit(
        coefficient=widened(beta, keep),
        covariance=widened(bread, keep),
        robust=widened(robust, keep),
        effects=effects,
        fitted=fitted,
        deviance=kind.deviance(data.n, data.y, mu),
        identified=keep,
        separated=dropped,
        rows=float(data.n.sum()),
        iterations=rounds,
    )


def _require(family: str, n: Floats, y: Floats, absorb: ArrayLike | None) -> None:
    faults = []
    if (y < 0).any():
        faults.append(f"total is negative in {int((y < 0).sum())} cells")
    if family != "poisson" and (y > n).any():
        faults.append(f"total is above rows in {int((y > n).sum())} cells; a binomial has at most one event per row")
    if family != "poisson" and absorb is not None:
        faults.append(f"a factor can be absorbed with poisson only; give {family} its dummies")
    complain(faults)


def _estimable(
    x: Floats, n: Floats, y: Floats, level: Ints, levels: int, kind: Family, penalty: Floats
) -> tuple[Bools, Bools, int]:
    """Return the cells (c,) and columns (p,) that can be used, and how many columns and levels are separated."""
    inside, keep, dropped = n > 0, np.ones(x.shape[1], dtype=bool), 0
    while True:
        before = inside.sum()
        if levels:
            sums = np.bincount(level[inside], weights=y[inside], minlength=levels)
            there = np.bincount(level[inside], minlength=levels) > 0
            empty = there & (sums == 0)
            dropped += int(empty.sum())
            inside = inside & ~empty[level]
        for j in np.flatnonzero(keep & (penalty == 0)):
            on = inside & (x[:, j] != 0)
            one_sign = on.any() and (x[on, j].min() > 0 or x[on, j].max() < 0) and not on[inside].all()
            if one_sign and ((y[on] == 0).all() or (y[on] == kind.ceiling * n[on]).all()):
                inside, dropped = inside & ~on, dropped + 1
                keep[j] = False
        if inside.sum() == before:
            return inside, keep, dropped


def _start(data: _Data, kind: Family) -> tuple[Floats, Floats]:
    """Return a linear predictor near the data, and its weights."""
    eta = kind.start(data.n, data.y)
    mu, slope = kind.mean(eta), kind.slope(eta)
    return eta, np.asarray(data.n * slope**2 / kind.variance(mu))


def _newton(data: _Data, kind: Family, columns: Ints) -> tuple[Floats, int]:
    eta, weight = _start(data, kind)
    target = eta - data.offset + (data.y / data.n - kind.mean(eta)) / kind.slope(eta)
    z = demeaned(np.column_stack([data.x, target]), weight, data.level, data.levels)
    normal = z[:, :-1].T @ (z[:, :-1] * weight[:, None]) + np.diag(data.ridge)
    beta = np.asarray(np.linalg.solve(normal, z[:, :-1].T @ (weight * z[:, -1])), dtype=np.float64)
    value, last = _objective(data, beta, kind), np.inf
    for rounds in range(1, ROUNDS + 1):
        eta, _ = _predictor(data, beta, kind)
        mu, slope, weight = _working(data, eta, kind)
        z = demeaned(data.x, weight, data.level, data.levels)
        score = data.x.T @ ((data.y - data.n * mu) * slope / kind.variance(mu)) - data.ridge * beta
        step = np.linalg.solve(z.T @ (z * weight[:, None]) + np.diag(data.ridge), score)
        fall, share = float(score @ step), 1.0
        while (new := _objective(data, beta + share * step, kind)) > value + 1e-9 * (abs(value) + 1) and share > 1e-6:
            share /= 2
        beta, value = beta + share * step, new
        is_still = np.abs(data.x @ step).max(initial=0) <= STILL or fall >= last / 2
        if fall <= CONVERGED * (abs(value) + 0.1) and is_still:
            if _is_inside(data, beta, kind):
                return beta, rounds
            break
        last = fall
    worst = columns[np.argsort(-np.abs(beta))[:3]].tolist()
    raise ValueError(
        f"the coefficients run off to infinity, most of all those of columns {worst}: a combination of columns singles "
        "out outcomes on the boundary; merge levels with few events, or set ridge"
    )


def _is_inside(data: _Data, beta: Floats, kind: Family) -> bool:
    """Whether no mean has followed its outcomes to the boundary, unless a ridge holds a column without outcomes."""
    on = data.x != 0
    free = ~on[:, (data.ridge > 0) & (data.y @ on == 0)].any(axis=1)
    mu = kind.mean(data.x @ beta + (0.0 if data.levels else data.offset))
    sides = [(mu, data.y == 0)]
    if np.isfinite(kind.ceiling):
        sides.append((kind.ceiling - mu, data.y == kind.ceiling * data.n))
    return not any((free & edge & (room < NEAR * np.average(room, weights=data.n))).any() for room, edge in sides)


def _objective(data: _Data, beta: Floats, kind: Family) -> float:
    mu = kind.mean(_predictor(data, beta, kind)[0])
    value = kind.deviance(data.n, data.y, mu) + float(data.ridge @ beta**2)
    return value if np.isfinite(value) else np.inf


def _predictor(data: _Data, beta: Floats, kind: Family) -> tuple[Floats, Floats]:
    """Return the linear predictor (c,) and the effects of the absorbed factor (f,) that fit its totals exactly."""
    eta = data.offset + data.x @ beta
    if not data.levels:
        return eta, np.empty(0)
    top = np.full(data.levels, -np.inf)
    np.maximum.at(top, data.level, eta)
    base = np.where(np.isfinite(top), top, 0.0)
    below = np.bincount(data.level, weights=data.n * np.exp(eta - base[data.level]), minlength=data.levels)
    above = np.bincount(data.level, weights=data.y, minlength=data.levels)
    seen = above > 0
    effects = np.full(data.levels, np.nan)
    effects[seen] = np.log(above[seen] / below[seen]) - base[seen]
    return np.asarray(eta + effects[data.level]), effects


def _working(data: _Data, eta: Floats, kind: Family) -> tuple[Floats, Floats, Floats]:
    mu, slope = kind.mean(eta), kind.slope(eta)
    return mu, slope, np.asarray(data.n * slope**2 / kind.variance(mu))


def _robust(
    z: Floats,
    bread: Floats,
    gain: Floats,
    mu: Floats,
    data: _Data,
    family: str,
    squares: ArrayLike | None,
    cluster: ArrayLike | None,
    inside: Bools,
) -> Floats:
    if cluster is not None:
        scores = z * (gain * (data.y - data.n * mu))[:, None]
        middle, g = clustered(scores, np.asarray(cluster)[inside])
        return sandwich(bread, middle) * (g / (g - 1) if g > 1 else np.nan)
    if squares is None and family == "poisson":
        return np.full_like(bread, np.nan)
    q = data.y if squares is None else vector(squares, "squares", inside.size)[inside]
    residual = np.maximum(q - 2 * mu * data.y + data.n * mu**2, 0)
    return sandwich(bread, z.T @ (z * (gain**2 * residual)[:, None]))
