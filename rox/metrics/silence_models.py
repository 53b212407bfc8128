"""Estimates by a model of who answers and a model of what they say, and what the best prediction says of the silent."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rox.metrics.silence_cells import PERIODS, Cells, design_of
from rox.metrics.silence_facts import BUCKETS
from rox.numerics.arrays import Bools, Floats
from rox.numerics.silence import RARE, doubly_robust_mean, proxy_bias

FOLDS = 5
"""Parts of the customers, each predicted from the others."""
LEAST_CORRELATION = 0.05
"""Below this nothing predicts the answer, and what the prediction says of the silent is no guide."""


@dataclass(frozen=True, kw_only=True, eq=False)
class TwoModels:
    """A mean over everybody by two models.

    Attributes:
        value: The mean.
        influence: (K,) sums of influences by bucket of customers.
        rare: Share of people whose chance to answer, had all been asked, is below 1 in 100.
        effective: Effective answers over answers.
        factor: (r,) by which the model of who answers multiplies the design weights of answers; 0 in the other period.
    """

    value: float
    influence: Floats
    rare: float
    effective: float
    factor: Floats


def two_models(cells: Cells, period: int, values: Floats) -> TwoModels:
    """Estimate a mean of one period by the doubly robust estimator over cells.

    Args:
        cells: The cells.
        period: 0 or 1.
        values: (v,) what each answer counts.

    Raises:
        ValueError: The model of who answers cannot be fitted.
    """
    inside = cells.later == period
    count = int(cells.cell.max()) + 1
    n, r = cells.people[inside], cells.given[inside].sum(1)
    y, yy = cells.given[inside] @ values, cells.given[inside] @ values**2
    if not (n - r > 1e-9 * n).any():
        value = float(y.sum() / r.sum())
        influence = (y - value * r) / r.sum()
        return TwoModels(
            value=value,
            influence=_by_bucket(cells, inside, influence),
            rare=0.0,
            effective=1.0,
            factor=inside.astype(np.float64),
        )
    at = cells.cell[inside]
    there = np.unique(at)
    code = np.zeros((count, cells.code.shape[1]), dtype=np.int64)
    code[cells.cell] = cells.code
    n_c, r_c, y_c, yy_c = (np.bincount(at, weights=each, minlength=count)[there] for each in (n, r, y, yy))
    fit = doubly_robust_mean(n_c, np.minimum(r_c, n_c), y_c, yy_c, design_of(code[there], cells.sizes))
    place = np.searchsorted(there, at)
    predicted, chance = fit.predicted[place], fit.propensity[place]
    influence = (n * (predicted - fit.value) + (y - r * predicted) / chance) / n.sum()
    factor = np.zeros(inside.size)
    factor[inside] = 1 / chance
    return TwoModels(
        value=fit.value,
        influence=_by_bucket(cells, inside, influence),
        rare=float(n @ (chance < RARE * cells.asked_share(period)) / n.sum()),
        effective=fit.effective,
        factor=factor,
    )


def influence_error(influence: Floats) -> float:
    """Return the standard error of a mean from its sums of influences by bucket of customers."""
    return float(np.sqrt(BUCKETS / (BUCKETS - 1) * ((influence - influence.mean()) ** 2).sum()))


@dataclass(frozen=True, kw_only=True, eq=False)
class Moments:
    """Products of the design and an answer's value, by period and bucket of customers: what a regression needs.

    Attributes:
        xx: (2, K, p, p) over answers.
        xy: (2, K, p).
        x: (2, K, p) over answers.
        everybody: (2, K, p) over people.
        y: (2, K, 2) sums of the value and of its square.
    """

    xx: Floats
    xy: Floats
    x: Floats
    everybody: Floats
    y: Floats


@dataclass(frozen=True, kw_only=True, eq=False)
class Predicted:
    """How well everybody's answer is predicted, and how those who answered differ in it; (1 + K, 2) each.

    Attributes:
        correlation: Between answer and prediction from other customers, among answers.
        spread: Standard deviation of the answers.
        proxy_spread: Of the predictions, among answers.
        gap: Mean prediction of those who answered less that of everybody.
    """

    correlation: Floats
    spread: Floats
    proxy_spread: Floats
    gap: Floats


def moments_of(cells: Cells, values: Floats) -> Moments:
    """Sum the products; the design has a constant per period, then the categories."""
    p = 1 + sum(size - 1 for size in cells.sizes)
    shape = (PERIODS, BUCKETS)
    xx, y = np.zeros((*shape, p + 1, p + 1)), np.zeros((*shape, 2))
    xy, x, everybody = (np.zeros((*shape, p + 1)) for _ in range(3))
    for period in range(PERIODS):
        for bucket in range(BUCKETS):
            rows = np.flatnonzero((cells.later == period) & (cells.bucket == bucket))
            if not rows.size:
                continue
            plain = design_of(cells.code[rows], cells.sizes)
            design = np.column_stack([np.full(rows.size, 1.0 - period), np.full(rows.size, period), plain[:, 1:]])
            given = cells.given[rows]
            weight, total = given.sum(1), given @ values
            at = period, bucket
            xx[at], xy[at] = design.T @ (design * weight[:, None]), design.T @ total
            x[at], everybody[at] = weight @ design, cells.people[rows] @ design
            y[at] = total.sum(), (given @ values**2).sum()
    return Moments(xx=xx, xy=xy, x=x, everybody=everybody, y=y)


def coefficients(of: Moments) -> Floats:
    """Return the coefficients of the categories, over both periods."""
    return np.asarray(np.linalg.lstsq(of.xx.sum((0, 1)), of.xy.sum((0, 1)), rcond=1e-10)[0][2:])


def predicted(of: Moments) -> Predicted:
    """Predict each fifth of the customers from the others, and compare answers with predictions; with replicates."""
    fold = np.arange(BUCKETS) % FOLDS
    found = np.zeros((4, 1 + BUCKETS, PERIODS))
    for rep in range(1 + BUCKETS):
        inside = np.arange(BUCKETS) != rep - 1
        sums = np.zeros((PERIODS, 6))
        for part in range(FOLDS):
            fit, held = inside & (fold != part), inside & (fold == part)
            beta = np.linalg.lstsq(of.xx[:, fit].sum((0, 1)), of.xy[:, fit].sum((0, 1)), rcond=1e-10)[0]
            for period in range(PERIODS):
                xx, xy, x, everybody = (each[period, held].sum(0) for each in (of.xx, of.xy, of.x, of.everybody))
                # the constants of the periods come first in the design: their sums are the weights
                sums[period] += x[period], x @ beta, beta @ xx @ beta, beta @ xy, everybody[period], everybody @ beta
        y = of.y[:, inside].sum(1)
        for period in range(PERIODS):
            n, m, mm, my, people, of_people = sums[period]
            if n <= 0:
                continue
            own = np.sqrt(max(y[period, 1] / n - (y[period, 0] / n) ** 2, 0.0))
            proxy = np.sqrt(max(mm / n - (m / n) ** 2, 0.0))
            both = my / n - m / n * y[period, 0] / n
            correlation = both / (own * proxy) if own * proxy > 0 else 0.0
            found[:, rep, period] = correlation, own, proxy, m / n - of_people / people
    return Predicted(correlation=found[0], spread=found[1], proxy_spread=found[2], gap=found[3])


def proxy_biases(of: Predicted, period: int, phi: float) -> Floats:
    """Return how far the answers as they came may be off, with replicates; NaN where nothing predicts the answer."""
    least = of.correlation[0, period]
    if not least > LEAST_CORRELATION or not of.proxy_spread[0, period] > 0:
        return np.full(1 + BUCKETS, np.nan)
    each = zip(
        np.clip(of.correlation[:, period], LEAST_CORRELATION, 1.0),
        of.spread[:, period],
        of.proxy_spread[:, period],
        of.gap[:, period],
        strict=True,
    )
    return np.array([float(proxy_bias(phi, r, own, proxy, gap)) for r, own, proxy, gap in each])


def _by_bucket(cells: Cells, inside: Bools, influence: Floats) -> Floats:
    return np.bincount(cells.bucket[inside], weights=influence, minlength=BUCKETS).astype(np.float64)
