"""Hazard ratios from months at risk by cell: one part, two parts, and the error of reading answers through noise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rox.core.errors import FitError
from rox.core.score_parts import ScoreParts
from rox.models.hazard_cells import AtRisk
from rox.models.reliability import MEMORY, Reliability
from rox.numerics.absorbed_hazard import AbsorbedHazard, absorbed_hazard
from rox.numerics.jackknife import jackknife

Floats = NDArray[np.float64]

LEAST_PART = 0.02
"""Share of the readings' spread that either part must have for the two to be told apart."""
SHARES = (0.4, 0.55, 0.7, 0.85, 1.0)
"""Shares of the lasting part that are tried as experience."""


@dataclass(frozen=True, kw_only=True, eq=False)
class HazardFit:
    """Log hazard ratios from cells, errors by leaving out buckets of customers. p = covariates.

    Attributes:
        names: Covariates, the score first.
        fit: The fit with one reading.
        covariance: Shape (p, p), of the jackknife and, once added, of the calibration.
        by_share: Shape (s,): the coefficient where a share of the lasting part counts as experience, by ``SHARES``;
            empty where the data cannot tell the parts apart.
        by_share_variance: Shape (s,).
        by_share_likelihood: Shape (s,): maximum of the log likelihood.
        apart: Coefficients of the lasting and the passing part; None where the data cannot tell them apart.
        apart_covariance: Shape (2, 2).
        df: Degrees of freedom.
        events: Exits.
    """

    names: tuple[str, ...]
    fit: AbsorbedHazard
    covariance: Floats
    by_share: Floats
    by_share_variance: Floats
    by_share_likelihood: Floats
    apart: Floats | None
    apart_covariance: Floats
    df: int
    events: int

    @property
    def coefficient(self) -> Floats:
        """Shape (p,)."""
        return self.fit.coefficient

    @property
    def se(self) -> Floats:
        """Shape (p,)."""
        return np.asarray(np.sqrt(np.diag(self.covariance)))

    @property
    def known(self) -> Floats:
        """All coefficients in one vector: with one reading, by share, and of both parts if there are any."""
        parts = [] if self.apart is None else [self.by_share, self.apart]
        return np.concatenate([self.coefficient, *parts])


def fit_cells(found: AtRisk, *, apart: bool = True, controls: bool = True, errors: bool = True) -> HazardFit:
    """Fit the grouped proportional hazards model.

    Args:
        found: The cells.
        apart: Whether to fit both parts of the reading, too.
        controls: Whether to hold the controls equal.
        errors: Whether to leave out buckets; without, all errors are zero.

    Raises:
        FitError: The likelihood has no maximum.
    """
    lasting, passing = found.mean("lasting"), found.mean("passing")
    held = found.controls() if controls else found.controls().iloc[:, :0]
    one = _fit(found, held.assign(score=lasting + passing)[["score", *held.columns]], errors)
    spread, df = _spread(one)
    two, covariance = None, np.full((2, 2), np.nan)
    shared: list[tuple[float, float, float]] = []
    months = found.values["n"].to_numpy(dtype=float)
    if apart and min(_sd(lasting, months), _sd(passing, months)) > LEAST_PART * _sd(lasting + passing, months):
        both = _fit(found, held.assign(lasting=lasting, passing=passing)[["lasting", "passing", *held.columns]], errors)
        two, covariance = both.coefficient[:2], _spread(both)[0][:2, :2]
        shared = [_shared(found, held, share * lasting + passing, errors) for share in SHARES]
    by_share, variance, likelihood = (np.array([each[i] for each in shared]) for i in range(3))
    return HazardFit(
        names=("score", *map(str, held.columns)),
        fit=one,
        covariance=spread,
        by_share=by_share,
        by_share_variance=variance,
        by_share_likelihood=likelihood,
        apart=two,
        apart_covariance=covariance,
        df=df,
        events=int(found.values["exits"].sum()),
    )


def _shared(found: AtRisk, held: pd.DataFrame, experience: Floats, errors: bool) -> tuple[float, float, float]:
    """Fit the coefficient of one reading; returns it, its variance, and the log likelihood."""
    fit = _fit(found, held.assign(score=experience)[["score", *held.columns]], errors)
    return float(fit.coefficient[0]), float(_spread(fit)[0][0, 0]), fit.log_likelihood


def _spread(fit: AbsorbedHazard) -> tuple[Floats, int]:
    """Return the jackknife's covariance and its degrees of freedom; zeros where no bucket was left out."""
    if not len(fit.replicates):
        return np.zeros_like(fit.covariance), 0
    found = jackknife(fit.coefficient, fit.replicates)
    return found.covariance, found.df


def changed_after(found: AtRisk, start: float) -> tuple[Floats, Floats]:
    """Fit the score's ratio before a time and its change after; returns both and their standard errors, shape (2,)."""
    score = found.mean("lasting") + found.mean("passing")
    held = found.controls()
    late = score * (found.starts >= start)
    fit = _fit(found, held.assign(score=score, late=late)[["score", "late", *held.columns]])
    return fit.coefficient[:2], jackknife(fit.coefficient, fit.replicates).se[:2]


def with_noise(main: HazardFit, noise: Reliability, refit: Callable[[ScoreParts], HazardFit]) -> HazardFit:
    """Add to the errors what the uncertain make-up of answers does to the coefficients.

    A reading depends on the shares of the three parts and on the memory, which leave three directions in which the
    bootstrap of the make-up spreads. The model is fitted anew one standard deviation along each, and the squares of the
    changes add up (delta method of two-stage estimation; Carroll et al. 2006, section 4.6).

    Args:
        main: The fit at the estimated make-up.
        noise: Of the answers, with its bootstrap.
        refit: Fits with readings of another make-up.
    """
    moves = []
    for parts, share in neighbours(noise):
        other = refit(parts).known
        if other.shape == main.known.shape:
            moves.append((other - main.known) / share)
    extra = np.stack(moves).T @ np.stack(moves) if moves else np.zeros((main.known.size, main.known.size))
    p, is_apart = main.coefficient.size, main.apart is not None
    return replace(
        main,
        covariance=main.covariance + extra[:p, :p],
        by_share_variance=main.by_share_variance + np.diag(extra)[p:-2] if is_apart else main.by_share_variance,
        apart_covariance=main.apart_covariance + extra[-2:, -2:] if is_apart else main.apart_covariance,
    )


def parts_given(noise: Reliability) -> ScoreParts:
    """Return the estimated parts of an answer."""
    lasting, passing, memory, error = map(float, noise.parts[0])
    return ScoreParts(lasting=lasting, passing=passing, memory=memory, noise=error)


def neighbours(noise: Reliability) -> list[tuple[ScoreParts, float]]:
    """List make-ups of answers one standard deviation from the estimate, and the share of the way that stays possible.

    The way is cut short where a part would fall below 0, and taken in the direction with more room.
    """
    total = noise.parts[:, [0, 1, 3]].sum(axis=1)
    shares = np.column_stack([noise.parts[:, 0] / total, noise.parts[:, 1] / total, noise.parts[:, 2]])
    centre, spread = shares[0], np.atleast_2d(np.cov(shares[1:], rowvar=False))
    size, direction = np.linalg.eigh(spread)
    found = []
    for root, way in zip(np.sqrt(size.clip(0)), direction.T, strict=True):
        step = root * way
        room = [_room(centre, sign * step) for sign in (1.0, -1.0)]
        sign, share = (1.0, room[0]) if room[0] >= room[1] else (-1.0, room[1])
        if root > 1e-9 and share > 0.05:
            found.append((parts_of(centre + sign * share * step), share))
    return found


def parts_of(shares: Floats) -> ScoreParts:
    """Turn shares of the lasting and the passing part, and memory, into parts of an answer with variance 1."""
    lasting, passing = (float(max(each, 0.0)) for each in shares[:2])
    memory = float(np.clip(shares[2], 0.0, 1.0))
    return ScoreParts(lasting=lasting, passing=passing, memory=memory, noise=max(1.0 - lasting - passing, 0.0))


def _room(centre: Floats, step: Floats) -> float:
    """Return the largest share of a step, at most 1, that keeps all three parts at 0 or above and memory in range."""
    values = np.array([centre[0], centre[1], 1 - centre[0] - centre[1], centre[2] - MEMORY[0], MEMORY[-1] - centre[2]])
    change = np.array([step[0], step[1], -step[0] - step[1], step[2], -step[2]])
    limits = [value / -move for value, move in zip(values, change, strict=True) if move < -1e-12]
    return float(np.clip(min([1.0, *limits]), 0.0, 1.0))


def _fit(found: AtRisk, design: pd.DataFrame, errors: bool = True) -> AbsorbedHazard:
    values = found.values
    bucket = values["bucket"] if errors else None
    try:
        return absorbed_hazard(
            found.level, design.to_numpy(dtype=float), values["months"], values["events"], bucket=bucket
        )
    except ValueError as cause:
        raise FitError(
            "The hazard model has no maximum.",
            [f"columns are, from 0 on, {list(design)}", str(cause), "drop controls that single out those who left"],
        ) from cause


def _sd(values: Floats, weight: Floats) -> float:
    mean = np.average(values, weights=weight)
    return float(np.sqrt(np.average((values - mean) ** 2, weights=weight)))
