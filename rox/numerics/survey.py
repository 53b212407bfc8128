"""Estimate scores, means, ratios and churn from weighted answers, with design-based errors.

Every estimator here is linearised: answer i contributes u_i to the estimate, and the variance is that of the
sums of u over primary sampling units within strata (Särndal, Swensson & Wretman 1992, section 5.5; Kish 1965).
A primary sampling unit is whatever answers independently: the customer when one can answer several times, the
branch when invitations are clustered.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from rox.numerics.arrays import Floats, answers, choice, codes, freeze, group_sums, in_unit_interval, vector
from rox.numerics.intervals import adjusted_nps_interval, dirichlet_nps_interval

SMALL_N = 200
"""Below this effective number of answers the automatic NPS interval is the Dirichlet one."""
SMALL_CATEGORY = 5
"""So it is when a category has fewer effective answers than this."""
INTERVALS = ("auto", "t", "normal", "dirichlet", "adjusted")


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A design-based estimate. n = answers, in the order given."""

    value: float
    se: float
    low: float
    high: float
    level: float
    n: int
    n_eff: float
    """(sum of weights)^2 / sum of squared weights: what weighting alone leaves of n."""
    design_effect: float
    """Variance over that of a simple random sample of n (without replacement if a population is given), or NaN."""
    df: float
    """Degrees of freedom of the variance: primary sampling units less strata."""
    influence: Floats
    """(n,) linearised contribution of each answer in the unit of `value`; its design variance is se^2."""
    interval: str
    """t | normal | dirichlet | adjusted | wilson | gamma."""

    def __post_init__(self) -> None:
        freeze(self, "influence")


@dataclass(frozen=True, kw_only=True)
class WaveDifference:
    """The later of two estimates less the earlier one."""

    value: float
    se: float
    """With the covariance of people present in both waves."""
    low: float
    high: float
    level: float
    se_independent: float
    """As if the waves were independent samples; larger when a stable panel answers."""
    covariance: float
    n_both: int
    """People present in both waves."""


def weighted_nps(
    scores: ArrayLike,
    weights: ArrayLike | None = None,
    *,
    stratum: ArrayLike | None = None,
    psu: ArrayLike | None = None,
    population: ArrayLike | None = None,
    calibration: ArrayLike | None = None,
    level: float = 0.9,
    interval: str = "auto",
) -> Estimate:
    """Estimate 100 * (P[score >= 9] - P[score <= 6]) in NPS points (-100..100).

    Estimand: the NPS of the population the weights represent. Assumes answering is as good as random given what
    the weights adjust for. Variance by Taylor linearisation; without weights, strata and units it is that of a
    simple random sample, [p_P + p_D - (p_P - p_D)^2] / (n - 1). The Dirichlet(1/2) interval scales the three
    category counts to n_eff over the design effect of clustering, and ends at 100 (or -100) where all answers are
    promoters (or detractors), as Brown, Cai & DasGupta (2001) modify Jeffreys' interval; "adjusted" is the adjusted
    Wald interval of Rocks (2016) with three pseudo-answers.

    Args:
        scores: (n,) whole answers 0..10.
        weights: (n,) positive weights, default 1.
        stratum: (n,) labels of strata.
        psu: (n,) labels of primary sampling units; default every answer is one.
        population: (n,) number of primary sampling units in the answer's stratum of the whole population, only
            when a finite population is itself the target.
        calibration: (n, q) variables the weights were raked on; the variance then uses residuals on them (GREG).
        level: of the interval, 0.9 for decisions.
        interval: "auto" takes "dirichlet" below 200 effective answers or 5 in a category, otherwise "t".

    Raises:
        ValueError: answers that are missing, fractional or outside 0..10, weights that are not positive, shapes.

    Example:
        >>> wave = weighted_nps([10, 9, 9, 8, 7, 3], level=0.9)
        >>> round(wave.value, 1), wave.interval
        (33.3, 'dirichlet')
    """
    choice(interval, INTERVALS, "interval")
    s = answers(scores)
    z = np.where(s >= 9, 1.0, np.where(s <= 6, -1.0, 0.0))
    fit = weighted_mean(
        z, weights, stratum=stratum, psu=psu, population=population, calibration=calibration, level=level
    )
    w = _weights(weights, s.size)
    share = np.array([w[z == side].sum() for side in (1, 0, -1)]) / w.sum()
    clustering = fit.se**2 * (fit.n_eff - 1) / max(share[0] + share[2] - (share[0] - share[2]) ** 2, 1e-300)
    n_eff = fit.n_eff / max(clustering, 1.0) if psu is not None and np.isfinite(clustering) else fit.n_eff
    if interval == "auto":
        small = n_eff < SMALL_N or (share * n_eff).min() < SMALL_CATEGORY
        interval = "dirichlet" if small else "t"
    if interval == "dirichlet":
        low, high = dirichlet_nps_interval(*(share * n_eff), level=level)
        low, high = (-100.0 if fit.value < -1 + 1e-12 else low), (100.0 if fit.value > 1 - 1e-12 else high)
    elif interval == "adjusted":
        low, high = adjusted_nps_interval(*(share * n_eff), level=level)
    else:
        low, high = (100 * b for b in _limits(fit.value, fit.se, np.inf if interval == "normal" else fit.df, level))
    return replace(
        fit,
        value=100 * fit.value,
        se=100 * fit.se,
        low=low,
        high=high,
        influence=100 * fit.influence,
        interval=interval,
    )


def weighted_mean(
    values: ArrayLike,
    weights: ArrayLike | None = None,
    *,
    stratum: ArrayLike | None = None,
    psu: ArrayLike | None = None,
    population: ArrayLike | None = None,
    domain: ArrayLike | None = None,
    calibration: ArrayLike | None = None,
    level: float = 0.9,
) -> Estimate:
    """Estimate a weighted mean with its linearised variance.

    Args:
        values: (n,) values; a 0/1 column gives a proportion.
        weights: (n,) positive weights, default 1.
        stratum: (n,) labels of strata.
        psu: (n,) labels of primary sampling units; default every row is one.
        population: (n,) primary sampling units of the row's stratum in a finite population.
        domain: (n,) True for the rows averaged; the others still count as part of the design.
        calibration: (n, q) variables the weights were raked on.
        level: of the t interval.

    Raises:
        ValueError: missing values, weights that are not positive, shapes, a design with no degrees of freedom.
    """
    x = vector(values, "values")
    inside = np.ones(x.size) if domain is None else np.asarray(domain, dtype=bool).astype(np.float64)
    return _ratio(
        x * inside, inside, weights, stratum, psu, population, level, calibration=calibration, spread_of=(x, inside)
    )


def weighted_ratio(
    numerator: ArrayLike,
    denominator: ArrayLike,
    weights: ArrayLike | None = None,
    *,
    stratum: ArrayLike | None = None,
    psu: ArrayLike | None = None,
    population: ArrayLike | None = None,
    level: float = 0.9,
) -> Estimate:
    """Estimate sum(w * numerator) / sum(w * denominator) with its linearised variance.

    Money churn is the ratio of (balance of those who left) to (balance), with psu = customer. Same arguments
    and errors as `weighted_mean`; additionally the denominator must not sum to zero.

    Example:
        >>> balance, left = np.array([100.0, 300, 50, 50]), np.array([0, 0, 1, 0])
        >>> weighted_ratio(balance * left, balance).value  # money churn
        0.1
    """
    y, x = vector(numerator, "numerator"), vector(denominator, "denominator")
    if y.size != x.size:
        raise ValueError(f"numerator has {y.size} values, denominator {x.size}")
    return _ratio(y, x, weights, stratum, psu, population, level)


def weighted_total(
    values: ArrayLike,
    weights: ArrayLike,
    *,
    stratum: ArrayLike | None = None,
    psu: ArrayLike | None = None,
    population: ArrayLike | None = None,
    level: float = 0.9,
) -> Estimate:
    """Estimate sum(w * value), the weights being inverse inclusion probabilities. Arguments as in `weighted_mean`."""
    y = vector(values, "values")
    w = _weights(weights, y.size)
    variance, df = design_variance(w * y, stratum=stratum, psu=psu, population=population)
    return _estimate(float(w @ y), variance, df, w, w * y, level, float("nan"))


def wave_difference(
    later: Estimate,
    earlier: Estimate,
    *,
    later_ids: ArrayLike | None = None,
    earlier_ids: ArrayLike | None = None,
    level: float = 0.9,
) -> WaveDifference:
    """Estimate the change between two waves, some people answering in both.

    Variance V1 + V0 - 2C with C the sum over people in both waves of the products of their influences. Without
    ids the waves are taken as independent, which is conservative for a stable panel. Assumes the same weights
    concept in both waves, and a design without strata: with strata the covariance must be centred within them, or the
    error comes out too small.

    Args:
        later: estimate of the second wave.
        earlier: estimate of the first wave.
        later_ids: person of each answer behind `later`, in its order.
        earlier_ids: person of each answer behind `earlier`.
        level: of the interval (t with the smaller degrees of freedom).

    Raises:
        ValueError: ids for one wave only or of the wrong size.
    """
    in_unit_interval(level)
    if (later_ids is None) != (earlier_ids is None):
        raise ValueError("give ids for both waves or for neither")
    shared, cov = 0, 0.0
    if later_ids is not None and earlier_ids is not None:
        sums = []
        for estimate, ids in ((later, later_ids), (earlier, earlier_ids)):
            code, people = codes(ids, "ids", estimate.influence.size)
            sums.append((people, group_sums(estimate.influence, code, people.size)))
        _, one, two = np.intersect1d(sums[0][0], sums[1][0], return_indices=True)
        shared, cov = int(one.size), float(sums[0][1][one] @ sums[1][1][two])
    independent = later.se**2 + earlier.se**2
    se = float(np.sqrt(max(independent - 2 * cov, 0.0)))
    value = later.value - earlier.value
    low, high = _limits(value, se, min(later.df, earlier.df), level)
    return WaveDifference(
        value=value,
        se=se,
        low=low,
        high=high,
        level=level,
        se_independent=float(np.sqrt(independent)),
        covariance=cov,
        n_both=shared,
    )


def effective_n(weights: ArrayLike) -> float:
    """Return Kish's effective number of answers, (sum w)^2 / sum w^2."""
    w = _weights(weights, None)
    return float(w.sum() ** 2 / (w @ w))


def weight_concentration(weights: ArrayLike, *, top: float = 0.01) -> float:
    """Return the share of all weight held by the heaviest `top` share of answers (at least one answer)."""
    in_unit_interval(top, "top")
    w = np.sort(_weights(weights, None))[::-1]
    return float(w[: max(1, int(np.ceil(top * w.size)))].sum() / w.sum())


def design_variance(
    influence: ArrayLike,
    *,
    stratum: ArrayLike | None = None,
    psu: ArrayLike | None = None,
    population: ArrayLike | None = None,
) -> tuple[float, float]:
    """Return the variance of a sum of influences and its degrees of freedom.

    V = sum over strata of (1 - m/M) * m/(m-1) * sum over primary sampling units of (u - mean u)^2. A stratum
    with a single unit is centred at the mean over all units (conservative), as in R survey's lonely.psu =
    "adjust".

    Args:
        influence: (n,) linearised contributions.
        stratum: (n,) labels of strata.
        psu: (n,) labels of primary sampling units, taken as nested in the strata.
        population: (n,) primary sampling units M of the row's stratum in a finite population.

    Raises:
        ValueError: fewer than two primary sampling units, or a population smaller than the sample.
    """
    u = vector(influence, "influence")
    n = u.size
    h = np.zeros(n, dtype=np.int64) if stratum is None else codes(stratum, "stratum", n)[0]
    c = np.arange(n) if psu is None else codes(psu, "psu", n)[0]
    pairs, first, code = np.unique(h * (int(c.max()) + 1) + c, return_index=True, return_inverse=True)
    if pairs.size < 2:
        raise ValueError(f"a variance needs at least 2 primary sampling units, got {pairs.size}")
    sums = group_sums(u, code.astype(np.int64), pairs.size)
    home = np.unique(h[first], return_inverse=True)[1].astype(np.int64)
    m = np.bincount(home)
    centre = np.where(m > 1, np.bincount(home, weights=sums) / m, sums.mean())
    squares = np.bincount(home, weights=(sums - centre[home]) ** 2)
    keep = np.ones(m.size)
    if population is not None:
        size = group_sums(vector(population, "population", n)[first], home, m.size) / m
        if (size < m).any():
            raise ValueError(f"population is smaller than the sample in {int((size < m).sum())} strata")
        keep = 1 - m / size
    return float((keep * np.where(m > 1, m / np.maximum(m - 1, 1), 1.0) * squares).sum()), float(pairs.size - m.size)


def _ratio(
    y: Floats,
    x: Floats,
    weights: ArrayLike | None,
    stratum: ArrayLike | None,
    psu: ArrayLike | None,
    population: ArrayLike | None,
    level: float,
    *,
    calibration: ArrayLike | None = None,
    spread_of: tuple[Floats, Floats] | None = None,
) -> Estimate:
    w = _weights(weights, y.size)
    below = float(w @ x)
    if below == 0:
        raise ValueError("the denominator sums to zero" if spread_of is None else "no row belongs to the domain")
    value = float(w @ y) / below
    gap = y - value * x
    if calibration is not None:
        design = np.asarray(calibration, dtype=np.float64).reshape(y.size, -1)
        root = np.sqrt(w)
        gap = gap - design @ np.linalg.lstsq(design * root[:, None], gap * root, rcond=None)[0]
    u = w * gap / below
    variance, df = design_variance(u, stratum=stratum, psu=psu, population=population)
    deff = float("nan")
    if spread_of is not None:
        inner, inside = spread_of
        n = inside.sum()
        simple = (w * inside) @ (inner - value) ** 2 / below / max(n - 1, 1)
        if population is not None:
            simple *= 1 - y.size / _population_total(stratum, population, y.size)
        deff = float(variance / simple) if simple > 0 else float("nan")
    used = w * (x != 0) if spread_of is not None else w
    return _estimate(value, variance, df, used, u, level, deff)


def _population_total(stratum: ArrayLike | None, population: ArrayLike, n: int) -> float:
    h = np.zeros(n, dtype=np.int64) if stratum is None else codes(stratum, "stratum", n)[0]
    return float(vector(population, "population", n)[np.unique(h, return_index=True)[1]].sum())


def _estimate(
    value: float, variance: float, df: float, w: Floats, influence: Floats, level: float, deff: float
) -> Estimate:
    in_unit_interval(level)
    se = float(np.sqrt(variance))
    low, high = _limits(value, se, df, level)
    return Estimate(
        value=value,
        se=se,
        low=low,
        high=high,
        level=level,
        n=int((w > 0).sum()),
        n_eff=float(w.sum() ** 2 / (w @ w)),
        design_effect=deff,
        df=df,
        influence=influence,
        interval="t",
    )


def _limits(value: float, se: float, df: float, level: float) -> tuple[float, float]:
    in_unit_interval(level)
    half = float(stats.t.ppf((1 + level) / 2, df)) * se if df > 0 else float("nan")
    return value - half, value + half


def _weights(weights: ArrayLike | None, n: int | None) -> Floats:
    if weights is None:
        return np.ones(0 if n is None else n)
    w = vector(weights, "weights", n)
    if not w.size or not (w > 0).all():
        raise ValueError(
            f"weights must be positive, got {int((w <= 0).sum())} of {w.size} that are not; drop those rows"
        )
    return w
