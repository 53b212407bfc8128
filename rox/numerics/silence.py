"""What those who did not answer could change: estimates by two models, bounds, tipping points, possible bias.

c = cells of people alike in everything known of everybody; known of each are people, answers and sums of answers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import optimize

from rox.numerics.arrays import Floats, complain, freeze, vector
from rox.numerics.glm import grouped_glm
from rox.numerics.grouped_ols import grouped_ols

RARE = 0.01
"""A chance to answer below which an answer stands for too many."""
CLOSE = 1e-12
"""Two means that differ by less, as a part of their range, are the same."""


@dataclass(frozen=True, kw_only=True)
class Answering:
    """A mean over everybody, from the answers of some."""

    value: float
    se: float
    raw: float
    """Mean of the answers as they came."""
    influence: Floats
    """(c,) each cell's sum of influences of its people, for errors clustered otherwise."""
    propensity: Floats
    """(c,) fitted chance to answer."""
    predicted: Floats
    """(c,) fitted mean."""
    rare: float
    """Share of people whose chance to answer is below 1 in 100."""
    effective: float
    """Effective answers, (Σ1/π)²/Σ1/π², over answers."""

    def __post_init__(self) -> None:
        freeze(self, "influence", "propensity", "predicted")


def doubly_robust_mean(
    people: ArrayLike, answers: ArrayLike, total: ArrayLike, squares: ArrayLike, design: ArrayLike
) -> Answering:
    """Estimate a mean over everybody by a model of who answers and a model of what they say (AIPW).

    It is right if either model is, and if, among people alike in the design, answering does not depend on the answer.

    Args:
        people: (c,) people.
        answers: (c,) of them answered.
        total: (c,) sum of their answers.
        squares: (c,) sum of squares of their answers.
        design: (c, p) what both models use, with a constant.

    Raises:
        ValueError: shapes, more answers than people, or a design that tells who answers without fail.

    References:
        Robins, Rotnitzky & Zhao 1994, *JASA* 89; Bang & Robins 2005, *Biometrics* 61.
    """
    n = vector(people, "people")
    r, y, yy = (
        vector(each, name, n.size) for each, name in ((answers, "answers"), (total, "sums"), (squares, "squares"))
    )
    x = np.asarray(design, dtype=np.float64)
    faults = []
    if x.ndim != 2 or len(x) != n.size:
        faults.append(f"the design needs shape ({n.size}, p), got {x.shape}")
    if (r > n).any() or (r < 0).any():
        faults.append(f"{int(((r > n) | (r < 0)).sum())} cells have more answers than people, or fewer than none")
    if not r.sum() > 0:
        faults.append("nobody answered")
    complain(faults)
    chance = grouped_glm(x, n, r, family="logit").fitted
    if not np.isfinite(chance[n > 0]).all():
        raise ValueError("the design tells without fail who answers in some cells; merge its levels")
    slope = grouped_ols(x[r > 0], r[r > 0], y[r > 0]).coefficient
    predicted = x @ np.nan_to_num(slope)
    chance = np.where(n > 0, chance, 1.0)
    everybody = n.sum()
    value = float((n @ predicted + ((y - r * predicted) / chance).sum()) / everybody)
    rest = yy - 2 * predicted * y + r * predicted**2
    about = predicted - value
    spread = n * about**2 + 2 * about * (y - r * predicted) / chance + rest / chance**2
    heavy = r / chance
    return Answering(
        value=value,
        se=float(np.sqrt(max(spread.sum(), 0.0)) / everybody),
        raw=float(y.sum() / r.sum()),
        influence=(n * about + (y - r * predicted) / chance) / everybody,
        propensity=chance,
        predicted=predicted,
        rare=float(n @ (chance < RARE) / everybody),
        effective=float(heavy.sum() ** 2 / (heavy / chance).sum() / r.sum()),
    )


def worst_case(rate: float, value: float, low: float, high: float) -> tuple[float, float]:
    """Return the mean over everybody if those who are silent all said the worst, and the best (Horowitz & Manski 2000).

    Args:
        rate: Share who answered.
        value: Mean of those who did, such as NPS in points.
        low: Least value an answer can have, −100 for NPS.
        high: Largest.

    Raises:
        ValueError: a rate outside 0 to 1, or a value outside its range.
    """
    slack = CLOSE * (high - low)
    if not (0 <= rate <= 1 and low - slack <= value <= high + slack):
        raise ValueError(f"needs a rate from 0 to 1 and a value from {low:g} to {high:g}, got {rate:g} and {value:g}")
    value = min(max(value, low), high)
    return rate * value + (1 - rate) * low, rate * value + (1 - rate) * high


def tipping_point(rate: float, value: float, threshold: float) -> float:
    """Return by how much the silent must differ from those who answered for the mean to be at a threshold.

    Args:
        rate: Share who answered, below 1.
        value: Mean of those who did.
        threshold: Value at which a conclusion turns, such as last year's mean.

    Raises:
        ValueError: nobody is silent.
    """
    if not 0 <= rate < 1:
        raise ValueError(f"needs a rate from 0 to below 1, got {rate:g}")
    return (threshold - value) / (1 - rate)


def proxy_bias(phi: ArrayLike, correlation: float, spread: float, proxy_spread: float, proxy_gap: float) -> Floats:
    """Return how far the mean of those who answered may be off, if answering depends on the proxy and on the answer.

    SMUB of Little, West, Boonstra & Hu (2020, *Journal of Survey Statistics and Methodology* 8):
    (φ + (1 − φ)ρ) / (φρ + 1 − φ) · s_y / s_x · (x̄ of those who answered − X̄ of everybody).

    Args:
        phi: Part played by the answer itself: 0 none, ½ as much as the proxy, 1 all.
        correlation: Of the answer with the proxy, its best prediction from what is known of everybody, among answers.
        spread: Standard deviation of the answers.
        proxy_spread: Standard deviation of the proxy among answers.
        proxy_gap: Mean proxy of those who answered less that of everybody.

    Raises:
        ValueError: φ outside 0 to 1, a correlation that is not above 0, or spreads that are not positive.
    """
    part = np.asarray(phi, dtype=np.float64)
    if not ((part >= 0) & (part <= 1)).all() or not 0 < correlation <= 1 or not (spread > 0 and proxy_spread > 0):
        raise ValueError("needs phi from 0 to 1, a correlation above 0 and at most 1, and spreads above 0")
    pull = (part + (1 - part) * correlation) / (part * correlation + 1 - part)
    return np.asarray(pull * spread / proxy_spread * proxy_gap)


def defect_bias(correlation: float, rate: float, spread: float) -> float:
    """Return the bias of a mean of those who answered, ρ·√((1 − f)/f)·σ (Meng 2018, *Annals of Applied Statistics* 12).

    Args:
        correlation: Between answering and the answer, over everybody.
        rate: Share who answered.
        spread: Standard deviation of the answer over everybody; about 85 points for NPS.

    Raises:
        ValueError: a rate that is not between 0 and 1, or a correlation outside −1 to 1.
    """
    if not 0 < rate <= 1 or abs(correlation) > 1:
        raise ValueError(
            f"needs a rate above 0 and at most 1 and a correlation from -1 to 1, got {rate:g}, {correlation:g}"
        )
    return float(correlation * np.sqrt((1 - rate) / rate) * spread)


def resistance(
    order: ArrayLike, answers: ArrayLike, mean: ArrayLike, variance: ArrayLike
) -> tuple[float, float, float]:
    """Follow the mean from early to late answers, and on to those who never came (continuum of resistance).

    Args:
        order: (k,) number of the reminder or day of the answer.
        answers: (k,) answers at each.
        mean: (k,) their mean.
        variance: (k,) variance of that mean.

    Returns:
        Slope per step with its standard error, and the mean at one step beyond the last.

    Raises:
        ValueError: shapes, fewer than two steps, or variances that are not positive.
    """
    t, n = vector(order, "order"), vector(answers, "answers")
    y, v = vector(mean, "mean", t.size), vector(variance, "variance", t.size)
    if n.size != t.size or np.unique(t).size < 2 or not (v > 0).all():
        raise ValueError("needs at least two steps, with a variance above 0 each")
    w = 1 / v
    centre = w @ t / w.sum()
    squares = w @ (t - centre) ** 2
    slope = float(w @ ((t - centre) * y) / squares)
    level = float(w @ y / w.sum())
    return slope, float(1 / np.sqrt(squares)), level + slope * (float(t.max()) + 1 - centre)


def benchmark_gaps(answered: ArrayLike, everybody: ArrayLike, spread: ArrayLike) -> Floats:
    """Return how far weighted answers miss what is known of everybody, in standard deviations.

    Args:
        answered: (k,) weighted means, over those who answered, of facts known of everybody.
        everybody: (k,) means over everybody.
        spread: (k,) standard deviations over everybody.

    Raises:
        ValueError: shapes, missing values, or a spread that is not positive.
    """
    seen, truth = vector(answered, "means of those who answered"), vector(everybody, "means of everybody")
    scale = vector(spread, "spreads", seen.size)
    if truth.size != seen.size or not (scale > 0).all():
        raise ValueError("needs as many means of everybody, and spreads above 0")
    return np.asarray((seen - truth) / scale)


def tilted_mean(values: ArrayLike, weights: ArrayLike, rate: float, strength: float) -> float:
    """Return the mean over everybody if the odds of answering rise by e^strength per unit of the answer.

    Those who answered are given; the silent are the same distribution tilted by e^(−strength · answer)
    (exponential tilting, Scharfstein, Rotnitzky & Robins 1999).

    Args:
        values: (v,) answers.
        weights: (v,) their weights.
        rate: Share who answered.
        strength: Log odds ratio of answering per unit of the answer; 0 for none.

    Raises:
        ValueError: shapes, a rate outside 0 to 1, or no weight.
    """
    y, w = vector(values, "values"), vector(weights, "weights")
    if y.size != w.size or not w.sum() > 0 or (w < 0).any() or not 0 < rate <= 1:
        raise ValueError("needs values with weights, not negative, and a rate above 0 and at most 1")
    silent = w * np.exp(-strength * (y - y.mean()))
    return float(rate * (w @ y) / w.sum() + (1 - rate) * (silent @ y) / silent.sum())


def tipping_strength(values: ArrayLike, weights: ArrayLike, rate: float, threshold: float, reach: float = 2.0) -> float:
    """Return the strength of :func:`tilted_mean` at which the mean over everybody is at a threshold; NaN beyond reach.

    It is 0 where the mean is there without any.

    Raises:
        ValueError: as in :func:`tilted_mean`.
    """

    def gap(strength: float) -> float:
        return tilted_mean(values, weights, rate, strength) - threshold

    if abs(gap(0.0)) < CLOSE:
        return 0.0
    ends = gap(-reach), gap(reach)
    return float(optimize.brentq(gap, -reach, reach, xtol=1e-10)) if ends[0] * ends[1] <= 0 else float("nan")
