"""Estimate one two-period treatment effect with covariates, protected against one of two models being wrong."""

from __future__ import annotations

import numpy as np

from rox.numerics.arrays import Bools, Floats

OVERLAP_LIMIT = 0.995
"""Comparison units with a higher propensity are left out, as in Sant'Anna & Zhao's software."""


def doubly_robust_att(
    change: Floats, treated: Bools, compared: Bools, covariates: Floats, weights: Floats
) -> tuple[float, Floats]:
    """Estimate the effect on the treated of a change, given covariates.

    Estimand: mean change of treated units less the mean change they would have had untreated. Consistent if either
    the linear model of the untreated change or the logistic propensity is right. Sant'Anna & Zhao (2020, Journal of
    Econometrics 219), the panel estimator with maximum-likelihood propensity and least-squares outcome model.

    Args:
        change: (u,) outcome now less outcome in the base period.
        treated: (u,) treated units.
        compared: (u,) comparison units.
        covariates: (u, p) without a constant.
        weights: (u,) not negative.

    Returns:
        The effect and the (u,) influence of each unit, whose sum approximates the estimation error. NaN and
        zeros when one side has no weight.

    Raises:
        ValueError: fewer comparison units than parameters, or treated and comparison units separated by the
            covariates.
    """
    rows = np.flatnonzero((treated | compared) & (weights > 0))
    influence = np.zeros(change.size)
    d = treated[rows].astype(np.float64)
    if not 0 < d.sum() < d.size:
        return float("nan"), influence
    w, dy = weights[rows] / weights[rows].mean(), change[rows]
    x = np.column_stack([np.ones(rows.size), covariates[rows]])
    if d.size - d.sum() < x.shape[1]:
        raise ValueError(
            f"{int(d.size - d.sum())} comparison units cannot carry {x.shape[1]} covariate parameters; drop covariates"
        )
    score, information = _propensity(x, d, w)
    kept = np.where(d > 0, 1.0, score < OVERLAP_LIMIT)
    w0 = w * (1 - d)
    gram = np.linalg.inv((x * w0[:, None]).T @ x / d.size)
    residual = dy - x @ (gram @ (x.T @ (w0 * dy)) / d.size)
    w1, wc = kept * w * d, kept * w * score * (1 - d) / (1 - score)
    eta1, eta0 = (w1 @ residual) / w1.sum(), (wc @ residual) / wc.sum()
    outcome_error = (w0 * residual)[:, None] * x @ gram
    propensity_error = (w * (d - score))[:, None] * x @ np.linalg.inv(information / d.size)
    psi1 = (w1 * (residual - eta1) - outcome_error @ (x.T @ w1) / d.size) / w1.mean()
    drift = x.T @ (wc * (residual - eta0)) / d.size
    psi0 = (wc * (residual - eta0) + propensity_error @ drift - outcome_error @ (x.T @ wc) / d.size) / wc.mean()
    influence[rows] = (psi1 - psi0) / d.size
    return float(eta1 - eta0), influence


def _propensity(x: Floats, d: Floats, w: Floats) -> tuple[Floats, Floats]:
    """Fit a weighted logistic regression by Newton steps; returns fitted probabilities and the information matrix."""
    beta = np.zeros(x.shape[1])
    for _ in range(50):
        p = 1 / (1 + np.exp(-np.clip(x @ beta, -30, 30)))
        information = (x * (w * p * (1 - p))[:, None]).T @ x
        if np.linalg.cond(information) > 1e14:
            break
        step = np.linalg.solve(information, x.T @ (w * (d - p)))
        beta = beta + step
        if np.abs(step).max() < 1e-10:
            p = 1 / (1 + np.exp(-np.clip(x @ beta, -30, 30)))
            return np.minimum(p, 1 - 1e-6), (x * (w * p * (1 - p))[:, None]).T @ x
    raise ValueError(
        "covariates separate treated from comparison units (or are collinear): no propensity model; drop covariates"
    )
