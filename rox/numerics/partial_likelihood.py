"""Cox's partial likelihood with tied events, from sums over risk sets: value, score, information and its maximum.

At an event time with m tied events, Efron (1977) lets the l-th of them (l = 0..m-1) leave a risk set in which each of
the m weighs 1 - l/m; Breslow (1974) lets all leave the full one. Sums over l need five numbers per time, so information
costs a few matrix products whatever the number of rows. With case weights the m tied events carry their mean weight
(Therneau & Grambsch 2000, section 3.3).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from rox.numerics.arrays import Bools, Floats, Ints

TIES = ("efron", "breslow")
STEPS = 40
SETTLED = 1e-20
"""Square of a Newton step, in standard errors, too small to take."""
NEAR = 1e-10
"""The same, from which one more step is the last, since it squares the distance."""
RUN_OFF = 10.0
"""Standard error per standard deviation of a covariate at which its coefficient has run off."""


@dataclass(frozen=True, kw_only=True)
class RiskSums:
    """Sums of w, w·x and w·x·x over those at risk and over those with an event, w = weight·exp(x'b).

    t = event times, k = covariates, c = 1 + k + k(k + 1)/2 columns: w, w·x, then the upper triangle of w·x·x.
    """

    at_risk: Floats
    """(t, c)."""
    dead: Floats
    """(t, c)."""
    linear: float
    """Sum of weight·x'b over events."""
    shift: float
    """What was subtracted from x'b before taking exponentials."""


@dataclass(frozen=True, kw_only=True)
class Ties:
    """How tied events are spread: one entry per event and its share already gone. t = event times, e = entries."""

    place: Ints
    """(e,) event time of each entry, rising."""
    share: Floats
    """(e,) share of the tied events already gone, l/m; zero for Breslow."""
    weight: Floats
    """(e,) weight of the entry."""
    times: int
    """Number t of event times; those without any event have no entry."""

    def total(self, values: Floats) -> Floats:
        """Sum (e,) entries by event time: (t,)."""
        return np.asarray(np.bincount(self.place, weights=values, minlength=self.times))


@dataclass(frozen=True, kw_only=True)
class Terms:
    """Sums over the tied entries of each time of weight·share^p / denominator^q. All (t,)."""

    first: tuple[Floats, Floats]
    """q = 1, p = 0 and 1."""
    second: tuple[Floats, Floats, Floats]
    """q = 2, p = 0, 1 and 2."""
    loglik: float
    """Log partial likelihood."""


def spread_ties(tied: Ints, weight: Floats, ties: str) -> Ties:
    """Lay out the tied events.

    Args:
        tied: (t,) events per time, unweighted.
        weight: (t,) sum of their weights.
        ties: "efron" or "breslow".
    """
    if ties == "breslow":
        place = np.flatnonzero(tied > 0)
        return Ties(place=place, share=np.zeros(place.size), weight=weight[place], times=tied.size)
    place = np.repeat(np.arange(tied.size), tied)
    order = np.arange(place.size) - np.repeat(np.cumsum(tied) - tied, tied)
    return Ties(place=place, share=order / tied[place], weight=(weight / np.maximum(tied, 1))[place], times=tied.size)


def terms(sums: RiskSums, ties: Ties) -> Terms:
    """Compute the sums over tied entries."""
    left = sums.at_risk[ties.place, 0] - ties.share * sums.dead[ties.place, 0]
    inverse = ties.weight / left
    square = inverse / left
    return Terms(
        first=(ties.total(inverse), ties.total(ties.share * inverse)),
        second=(ties.total(square), ties.total(ties.share * square), ties.total(ties.share**2 * square)),
        loglik=float(sums.linear - ties.weight @ (np.log(left) + sums.shift)),
    )


def expected(sums: RiskSums, found: Terms, k: int) -> Floats:
    """Return, per event time, the sum of covariates expected among those who leave: (t, k)."""
    one, own = found.first
    return np.asarray(one[:, None] * sums.at_risk[:, 1 : k + 1] - own[:, None] * sums.dead[:, 1 : k + 1])


def information(sums: RiskSums, found: Terms, k: int, weight: Floats | None = None) -> Floats:
    """Return the information, each event time weighted: (k, k).

    Args:
        sums: over the risk sets.
        found: their terms.
        k: number of covariates.
        weight: (t,) default ones.
    """
    w = np.ones(sums.at_risk.shape[0]) if weight is None else weight
    (a0, a1), (b0, b1, b2) = ([w * v for v in found.first], [w * v for v in found.second])
    alive, gone = sums.at_risk[:, 1 : k + 1], sums.dead[:, 1 : k + 1]
    cross = (alive * b1[:, None]).T @ gone
    outer = (alive * b0[:, None]).T @ alive - cross - cross.T + (gone * b2[:, None]).T @ gone
    return square(a0 @ sums.at_risk[:, k + 1 :] - a1 @ sums.dead[:, k + 1 :], k) - outer


def products(x: Floats) -> Floats:
    """Return 1, x and the upper triangle of x·x' for each row: (n, 1 + k + k(k + 1)/2)."""
    upper = np.triu_indices(x.shape[1])
    return np.column_stack([np.ones(x.shape[0]), x, x[:, upper[0]] * x[:, upper[1]]])


def square(triangle: Floats, k: int) -> Floats:
    """Unfold an upper triangle (k(k + 1)/2,) into a symmetric matrix (k, k)."""
    out = np.zeros((k, k))
    out[np.triu_indices(k)] = triangle
    return np.asarray(out + out.T - np.diag(np.diag(out)))


@dataclass(frozen=True, kw_only=True)
class Maximum:
    """Where the partial likelihood is highest. t = event times, k = covariates."""

    coefficient: Floats
    """(k,)."""
    covariance: Floats
    """(k, k) inverse information."""
    loglik: float
    loglik_start: float
    """Where the climb began."""
    steps: int
    sums: RiskSums
    terms: Terms


def maximise(
    evaluate: Callable[[Floats], RiskSums], observed: Floats, ties: Ties, spread: Floats, start: Floats | None = None
) -> Maximum:
    """Climb the partial likelihood by Newton's method with halved steps.

    Args:
        evaluate: sums over the risk sets at a vector of coefficients.
        observed: (k,) sum of the covariates over events.
        ties: the tied events.
        spread: (k,) standard deviation of each covariate, for telling what has run off.
        start: (k,) where to begin; default zero, where it is also asked whether the covariates vary.

    Raises:
        ValueError: covariates that do not vary or are collinear among those at risk, or a likelihood without a maximum.
    """
    k = observed.size
    beta = np.zeros(k) if start is None else start.copy()
    sums = evaluate(beta)
    found = terms(sums, ties)
    began = found.loglik
    if start is None:
        _require_variation(information(sums, found, k) / ties.weight.sum(), spread)
    near = False
    for step in range(STEPS):
        inverse = _inverse(information(sums, found, k), spread)
        score = observed - expected(sums, found, k).sum(0)
        move = inverse @ score
        distance = float(score @ move)
        if distance < SETTLED or (near and distance < NEAR):
            return _maximum(beta, inverse, found, began, step, sums)
        near = distance < NEAR
        beta, sums, found = _climb(evaluate, ties, beta, move, found)
    raise ValueError(_no_maximum(np.ones(k, dtype=np.bool_)))


def _maximum(beta: Floats, inverse: Floats, found: Terms, began: float, steps: int, sums: RiskSums) -> Maximum:
    return Maximum(
        coefficient=beta,
        covariance=inverse,
        loglik=found.loglik,
        loglik_start=began,
        steps=steps,
        sums=sums,
        terms=found,
    )


def _climb(
    evaluate: Callable[[Floats], RiskSums], ties: Ties, beta: Floats, move: Floats, found: Terms
) -> tuple[Floats, RiskSums, Terms]:
    """Take the longest of ten halved steps that does not lower the likelihood; the last one whatever it does."""
    for halved in range(10):
        at = beta + move / 2**halved
        with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
            sums = evaluate(at)
            gained = terms(sums, ties)
        if gained.loglik >= found.loglik - 1e-12 * abs(found.loglik):
            break
    return at, sums, gained


def _inverse(matrix: Floats, spread: Floats) -> Floats:
    """Invert the information; refuse where a coefficient runs off because its covariate tells who leaves."""
    scale = np.sqrt(np.maximum(np.diag(matrix), 0.0))
    lost = ~(scale * RUN_OFF > 1.0 / spread)
    if lost.any():
        raise ValueError(_no_maximum(lost))
    scaled = matrix / np.outer(scale, scale)
    root, basis = np.linalg.eigh(scaled)
    if root.min() < 1e-12:
        raise ValueError(_no_maximum(np.abs(basis[:, 0]) > 0.1))
    inverse = (basis / root) @ basis.T / np.outer(scale, scale)
    lost = ~(np.sqrt(np.diag(inverse)) * spread < RUN_OFF)
    if lost.any():
        raise ValueError(_no_maximum(lost))
    return np.asarray(inverse)


def _require_variation(matrix: Floats, spread: Floats) -> None:
    """Refuse covariates whose variance at the events is rounding beside their variance over all rows."""
    scale = np.sqrt(np.maximum(np.diag(matrix), 0.0))
    flat = ~(scale > 1e-5 * spread)
    if flat.any():
        raise ValueError(f"covariates {np.flatnonzero(flat).tolist()} do not vary among those at risk; drop them")
    root, basis = np.linalg.eigh(matrix / np.outer(scale, scale))
    if root[0] < 1e-10:
        tied = np.flatnonzero(np.abs(basis[:, 0]) > 1e-3).tolist()
        raise ValueError(f"covariates {tied} are collinear among those at risk; drop one of them")


def _no_maximum(lost: Bools) -> str:
    return (
        f"the likelihood has no maximum: covariates {np.flatnonzero(lost).tolist()} separate those who leave from "
        "those who stay; drop them"
    )
