"""How long customers stay and what that is worth: margin multiples, and the shifted beta-geometric model of renewals.

With one retention rate for all, value is a multiple of the margin in closed form (Gupta & Lehmann 2003, Journal of
Interactive Marketing 17). Where rates differ between customers those who stay are the loyal ones, retention seems to
rise with age, and one rate undervalues the customers there are (Fader & Hardie 2010, Marketing Science 29). The shifted
beta-geometric model lets each customer's chance of leaving at a renewal be a draw from a beta distribution (Fader &
Hardie 2007, Journal of Interactive Marketing 21).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import optimize, special

from rox.numerics.arrays import Floats, complain, freeze, vector

SLOPE = 1e-5
"""Largest gradient of the mean log likelihood at a maximum."""
FAR = 6.0
"""A log parameter beyond this means chances of leaving that hardly differ, and is on its way to infinity."""


def margin_multiple(
    retention: ArrayLike,
    discount: ArrayLike,
    *,
    growth: ArrayLike = 0.0,
    periods: int | None = None,
    immediate: bool = False,
) -> Floats:
    """Return what a customer is worth in units of the margin of one period, retention and discount constant.

    The first margin comes at the end of the first period if the customer is retained: r/(1 + i − r(1 + g)). The two
    conventions in use differ by exactly one margin: ``immediate`` adds the one at the start, (1 + i)/(1 + i − r)
    without growth.

    Args:
        retention: r, share kept from one period to the next, from 0 to 1.
        discount: i, rate per period, above −1.
        growth: g, of the margin of a customer who stays: the k-th margin is (1 + g)^(k−1).
        periods: Number of margins that count, the immediate one aside; None for all of them.
        immediate: Whether a margin at the start counts.

    Raises:
        ValueError: Rates out of range, or a sum without end that does not converge.

    Example:
        >>> margin_multiple(0.8, 0.12), margin_multiple(0.8, 0.12, immediate=True)  # Gupta & Lehmann: 2.50
        (array(2.5), array(3.5))
    """
    r, i, g = np.broadcast_arrays(*(np.asarray(each, dtype=np.float64) for each in (retention, discount, growth)))
    ratio = r * (1 + g) / (1 + i)
    faults = []
    if not ((r >= 0) & (r <= 1)).all():
        faults.append("retention must lie between 0 and 1")
    if not ((i > -1) & (g > -1)).all():
        faults.append("discount and growth must be above -1")
    if periods is None and not (ratio < 1).all():
        faults.append("without an end, retention times 1 + growth must be below 1 + discount; give periods")
    if periods is not None and periods < 1:
        faults.append(f"periods must be at least 1, got {periods}")
    complain(faults)
    near = np.abs(1 - ratio) < 1e-12
    shrink = 1.0 if periods is None else -np.expm1(periods * np.log(np.maximum(ratio, 1e-300)))
    total = np.where(near, float(periods or 0), shrink / np.where(near, 1.0, 1 - ratio))
    return np.asarray(r / (1 + i) * total + (1.0 if immediate else 0.0))


def retention_elasticity(retention: ArrayLike, discount: ArrayLike) -> Floats:
    """Return by how many percent the value of a customer rises with one percent more retention: (1 + i)/(1 + i − r).

    Example:
        >>> round(float(retention_elasticity(0.8, 0.12)), 3)
        3.5
    """
    r, i = np.asarray(retention, dtype=np.float64), np.asarray(discount, dtype=np.float64)
    return np.asarray(margin_multiple(r, i, immediate=True) + 0.0 * r)


def survival(alpha: ArrayLike, beta: ArrayLike, period: ArrayLike) -> Floats:
    """Return the shifted beta-geometric share still there after some renewals: B(α, β + t)/B(α, β).

    Example:
        >>> survival(1.0, 1.0, [0, 1, 2]).round(3)
        array([1.   , 0.5  , 0.333])
    """
    return np.asarray(np.exp(_log_survival(*_arrays(alpha, beta, period))))


def retention_rate(alpha: ArrayLike, beta: ArrayLike, period: ArrayLike) -> Floats:
    """Return the share of those there before the t-th renewal who renew: (β + t − 1)/(α + β + t − 1), rising with t."""
    a, b, t = _arrays(alpha, beta, period)
    return np.asarray((b + t - 1) / (a + b + t - 1))


def expected_lifetime(alpha: ArrayLike, beta: ArrayLike, discount: ArrayLike) -> Floats:
    """Return the discounted expected lifetime of a new customer: Σ_{t≥0} S(t)/(1 + d)^t = ₂F₁(1, β; α + β; 1/(1 + d)).

    It is the number of discounted margins, the one at the start included (Fader & Hardie 2010).

    Args:
        alpha: First parameter of the beta distribution of the chance of leaving.
        beta: Second parameter.
        discount: Rate per period, above 0, or 0 with alpha above 1.

    Raises:
        ValueError: Parameters that are not positive, or a sum that does not converge.
    """
    a, b, d = _arrays(alpha, beta, discount)
    _require_converging(a, d)
    return _series(b, a + b, d)


def residual_lifetime(alpha: ArrayLike, beta: ArrayLike, discount: ArrayLike, renewals: ArrayLike) -> Floats:
    """Return the discounted expected residual lifetime of a customer who renewed n − 1 times and is up for the n-th.

    Σ_{t≥n} S(t)/S(n − 1)/(1 + d)^(t−n) = (β + n − 1)/(α + β + n − 1)·₂F₁(1, β + n; α + β + n; 1/(1 + d)) (Fader &
    Hardie 2010): margins from the coming renewal on, which is not discounted.

    Args:
        alpha: As of :func:`expected_lifetime`.
        beta: As there.
        discount: As there.
        renewals: n, at least 1.

    Raises:
        ValueError: As there, or renewals below 1.
    """
    a, b, d = _arrays(alpha, beta, discount)
    n = np.asarray(renewals, dtype=np.float64)
    _require_converging(a, d)
    if (n < 1).any():
        raise ValueError("renewals must be at least 1: the coming renewal is the n-th")
    return np.asarray((b + n - 1) / (a + b + n - 1) * _series(b + n, a + b + n, d))


def discounted_lifetime(survival_by_period: ArrayLike, discount: ArrayLike) -> Floats:
    """Return Σ_{t=0}^{T} S(t)/(1 + d)^t for any survival curve over a finite horizon.

    Args:
        survival_by_period: (..., T + 1), from period 0 on.
        discount: Rate per period; a number, or (...,).

    Raises:
        ValueError: Shares outside 0..1, or that rise.

    Example:
        >>> float(discounted_lifetime([1.0, 0.5, 0.25], 0.0))
        1.75
    """
    share = np.atleast_1d(np.asarray(survival_by_period, dtype=np.float64))
    if not ((share >= 0) & (share <= 1)).all() or (np.diff(share, axis=-1) > 1e-12).any():
        raise ValueError("survival must lie between 0 and 1 and never rise")
    rate = np.asarray(discount, dtype=np.float64)[..., None]
    return np.asarray((share / (1 + rate) ** np.arange(share.shape[-1])).sum(axis=-1))


@dataclass(frozen=True, kw_only=True)
class BetaGeometric:
    """A fit. c = cells, p = regressors; log α = γ₀ + z'γ and log β = δ₀ + z'δ."""

    alpha: Floats
    """(c,) of each cell."""
    beta: Floats
    """(c,)."""
    coefficient: Floats
    """(2 + 2p,) γ₀, γ, δ₀, δ."""
    covariance: Floats
    """(2 + 2p, 2 + 2p) inverse of the observed information."""
    log_likelihood: float

    def __post_init__(self) -> None:
        freeze(self, "alpha", "beta", "coefficient", "covariance")


def beta_geometric(
    period: ArrayLike,
    left: ArrayLike,
    customers: ArrayLike,
    *,
    entered: ArrayLike | None = None,
    design: ArrayLike | None = None,
) -> BetaGeometric:
    """Fit the shifted beta-geometric model to counts by maximum likelihood.

    A customer who left at the t-th renewal contributes log B(α + 1, β + t − 1)/B(α, β), one still there after t
    renewals log B(α, β + t)/B(α, β); one first seen after e renewals is judged given S(e) (Fader & Hardie 2007).

    Args:
        period: (c,) renewal at which they left, at least 1, or renewals they have survived.
        left: (c,) whether they left.
        customers: (c,) how many.
        entered: (c,) renewals survived when first seen; default 0.
        design: (c, p) regressors of both log parameters, without a constant.

    Raises:
        ValueError: Shapes, counts or periods out of range, or parameters that run off to infinity: chances of leaving
            that do not differ between customers.

    Example:
        >>> fit = beta_geometric([1, 2, 3, 3], [True, True, True, False], [369, 163, 86, 382])
        >>> bool(fit.alpha[0] < fit.beta[0])
        True
    """
    t, n = vector(period, "period"), vector(customers, "customers")
    gone = np.asarray(left, dtype=bool)
    start = np.zeros(t.size) if entered is None else vector(entered, "entered")
    z = np.empty((t.size, 0)) if design is None else np.asarray(design, dtype=np.float64).reshape(t.size, -1)
    complain(_faults(t, gone, n, start))
    x = np.column_stack([np.ones(t.size), z])
    k = x.shape[1]

    def loss(theta: Floats) -> tuple[float, Floats]:
        with np.errstate(over="ignore"):
            a, b = np.exp(np.clip(x @ theta[:k], -50, 50)), np.exp(np.clip(x @ theta[k:], -50, 50))
        reach = np.where(gone, t - 1, t)
        value = special.betaln(a + gone, b + reach) - special.betaln(a, b + start)
        both = special.digamma(a + b + gone + reach)
        slope_a = special.digamma(a + gone) - both - special.digamma(a) + special.digamma(a + b + start)
        slope_b = special.digamma(b + reach) - both - special.digamma(b + start) + special.digamma(a + b + start)
        slope = np.concatenate([x.T @ (n * a * slope_a), x.T @ (n * b * slope_b)])
        return -float(n @ value) / n.sum(), -slope / n.sum()

    found = optimize.minimize(loss, np.zeros(2 * k), jac=True, method="BFGS", options={"gtol": 1e-9, "maxiter": 500})
    theta = np.asarray(found.x, dtype=np.float64)
    if np.abs(theta[[0, k]]).max() > FAR or np.abs(loss(theta)[1]).max() > SLOPE:
        raise ValueError(
            "the parameters run off to infinity or were not found: chances of leaving hardly differ between customers, "
            "or too few periods were seen; a constant retention rate fits as well"
        )
    information = n.sum() * _jacobian(lambda each: loss(each)[1], theta)
    return BetaGeometric(
        alpha=np.exp(x @ theta[:k]),
        beta=np.exp(x @ theta[k:]),
        coefficient=theta,
        covariance=np.linalg.inv((information + information.T) / 2),
        log_likelihood=-float(n.sum()) * loss(theta)[0],
    )


def _jacobian(gradient: object, theta: Floats) -> Floats:
    """Differentiate a gradient by central differences."""
    assert callable(gradient)
    steps = 1e-5 * np.eye(theta.size)
    return np.stack([(gradient(theta + step) - gradient(theta - step)) / 2e-5 for step in steps])


def _faults(t: Floats, gone: Floats, n: Floats, start: Floats) -> list[str]:
    if len({t.size, gone.size, n.size, start.size}) > 1:
        return [f"period, left, customers and entered have {t.size}, {gone.size}, {n.size} and {start.size} values"]
    faults = []
    if (n < 0).any() or not n.sum() > 0:
        faults.append("customers must be counts, some of them above 0")
    if (t < np.where(gone, 1, 0)).any() or (t != np.round(t)).any():
        faults.append("period must be whole numbers: at least 1 for those who left, 0 for the others")
    if (start < 0).any() or (start > t - gone).any():
        faults.append("entered must lie between 0 and the renewals survived")
    if not n[gone].sum() > 0:
        faults.append("nobody left; there is nothing to fit")
    return faults


def _arrays(alpha: ArrayLike, beta: ArrayLike, other: ArrayLike) -> tuple[Floats, Floats, Floats]:
    a, b, c = (np.asarray(each, dtype=np.float64) for each in (alpha, beta, other))
    if not ((a > 0).all() and (b > 0).all()):
        raise ValueError("alpha and beta must be positive")
    return a, b, c


def _require_converging(a: Floats, d: Floats) -> None:
    if not ((d > 0) | ((d == 0) & (a > 1))).all():
        raise ValueError("the discount must be above 0, or 0 with alpha above 1; otherwise lifetime has no mean")


def _log_survival(a: Floats, b: Floats, t: Floats) -> Floats:
    return np.asarray(special.betaln(a, b + t) - special.betaln(a, b))


def _series(b: Floats, c: Floats, d: Floats) -> Floats:
    """Return ₂F₁(1, b; c; 1/(1 + d)); at d = 0 it is (c − 1)/(c − b − 1)."""
    inside = special.hyp2f1(1.0, b, c, 1 / (1 + np.where(d > 0, d, 1.0)))
    return np.asarray(np.where(d > 0, inside, (c - 1) / np.where(c - b > 1, c - b - 1, 1.0)))
