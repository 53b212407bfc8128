"""Estimate by synthetic difference in differences (Arkhangelsky, Athey, Hirshberg, Imbens & Wager 2021, AER 111).

Units are weighted so that they move like the treated ones before the treatment, periods so that they look like those
afterwards; a level that differs is allowed and goes out in the difference.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from rox.numerics.arrays import Bools, Floats, complain, freeze
from rox.numerics.synthetic_control import simplex_weights

TIME_RIDGE = 1e-6
"""Multiple of the noise that keeps the weights of periods unique (their footnote to algorithm 1)."""


@dataclass(frozen=True, kw_only=True)
class SyntheticDiD:
    """One estimate with its weights. c = units without treatment, t = periods, b = periods before the treatment."""

    estimate: float
    unit_weights: Floats
    """(c,) in the order of the units."""
    time_weights: Floats
    """(b,)."""
    path: Floats
    """(t,) treated less weighted units, less the same over the weighted periods before."""
    before: int
    noise: float
    """Standard deviation of changes from period to period among units without treatment, before."""

    def __post_init__(self) -> None:
        freeze(self, "unit_weights", "time_weights", "path")

    @property
    def pre_rmspe(self) -> float:
        """Root mean squared deviation of the path from its own mean before the treatment."""
        return float(self.path[: self.before].std())


def synthetic_did(
    outcome: ArrayLike,
    treated: ArrayLike,
    *,
    before: int,
    after: ArrayLike | None = None,
    treated_weights: ArrayLike | None = None,
) -> SyntheticDiD:
    """Estimate the mean effect on units that were treated at one time.

    Estimand: mean over the periods ``after`` of the treated units' outcome less what it would have been. It assumes
    that the weighted units would have kept their distance to the treated ones.

    Args:
        outcome: (u, t).
        treated: (u,) which units are treated.
        before: Periods before the treatment.
        after: Numbers of the periods that are averaged; by default all from ``before`` on.
        treated_weights: (treated,) weights of the treated units; by default equal.

    Raises:
        ValueError: Shapes that do not fit, missing values, fewer than two units without treatment, or periods that are
            not afterwards.
    """
    y, mark, later, weight = _checked(outcome, treated, before, after, treated_weights)
    controls, mine = y[~mark], weight @ y[mark]
    noise = float(np.diff(controls[:, :before], axis=1).std(ddof=1))
    zeta = float((mark.sum() * later.size) ** 0.25) * noise
    units = simplex_weights(controls[:, :before].T, mine[:before], ridge=before * zeta**2, intercept=True)
    times = simplex_weights(
        controls[:, :before],
        controls[:, later].mean(1),
        ridge=controls.shape[0] * (TIME_RIDGE * noise) ** 2,
        intercept=True,
    )
    gap = mine - units @ controls
    path = gap - times @ gap[:before]
    return SyntheticDiD(
        estimate=float(path[later].mean()),
        unit_weights=units,
        time_weights=times,
        path=path,
        before=before,
        noise=noise,
    )


def placebo_variance(
    outcome: ArrayLike,
    *,
    treated: int,
    before: int,
    after: ArrayLike | None = None,
    n: int = 200,
    rng: int | np.random.Generator | None = None,
) -> Floats:
    """Estimate for units without treatment as if some had been treated (their algorithm 4), shape (m,).

    The root mean square of the estimates is the standard error, if the treated units are as noisy as the others. A
    single treated unit takes every other unit once, several take ``n`` random draws of as many.

    Args:
        outcome: (c, t) of units without treatment.
        treated: Number of treated units.
        before: Periods before the treatment.
        after: As in ``synthetic_did``.
        n: Draws when several are treated.
        rng: Seed or generator.

    Raises:
        ValueError: Not at least two more units than are treated.
    """
    y = np.asarray(outcome, dtype=np.float64)
    size = y.shape[0]
    if size < treated + 2:
        raise ValueError(f"placebos of {treated} treated units need {treated + 2} units without treatment, got {size}")
    generator = np.random.default_rng(rng)
    picks = (
        np.arange(size)[:, None]
        if treated == 1
        else np.stack([generator.choice(size, treated, replace=False) for _ in range(n)])
    )
    return np.array(
        [synthetic_did(y, np.isin(np.arange(size), pick), before=before, after=after).estimate for pick in picks]
    )


def jackknife_variance(
    outcome: ArrayLike,
    treated: ArrayLike,
    fit: SyntheticDiD,
    *,
    after: ArrayLike | None = None,
    treated_weights: ArrayLike | None = None,
) -> float:
    """Return the variance from leaving out one unit at a time with the weights kept (their algorithm 3).

    Args:
        outcome: (u, t), as given to the fit.
        treated: (u,).
        fit: The fit.
        after: As given to the fit.
        treated_weights: As given to the fit.

    Raises:
        ValueError: Fewer than two treated units, or one unit without treatment with all the weight.
    """
    y, mark, later, weight = _checked(outcome, treated, fit.before, after, treated_weights)
    if mark.sum() < 2 or fit.unit_weights.max() > 1 - 1e-9:
        raise ValueError("the jackknife needs two treated units and two units that carry weight; use placebos")
    change = y[:, later].mean(1) - y[:, : fit.before] @ fit.time_weights
    signed = np.zeros(len(y))
    signed[mark], signed[~mark] = weight, fit.unit_weights
    mine, theirs = float(signed[mark] @ change[mark]), float(signed[~mark] @ change[~mark])
    without = (np.where(mark, mine, theirs) - signed * change) / (1 - signed)
    each = np.where(mark, without - theirs, mine - without)
    return float((len(y) - 1) / len(y) * ((each - each.mean()) ** 2).sum())


def _checked(
    outcome: ArrayLike, treated: ArrayLike, before: int, after: ArrayLike | None, treated_weights: ArrayLike | None
) -> tuple[Floats, Bools, Any, Floats]:
    y, mark = np.asarray(outcome, dtype=np.float64), np.asarray(treated, dtype=bool)
    faults = []
    if y.ndim != 2 or mark.shape != y.shape[:1]:
        complain([f"outcome (u, t) and treated (u,) do not fit: got {y.shape} and {mark.shape}"])
    later = np.arange(before, y.shape[1]) if after is None else np.asarray(after, dtype=np.int64)
    count = int(mark.sum())
    weight = np.ones(count) if treated_weights is None else np.asarray(treated_weights, dtype=np.float64)
    if not count or len(y) - count < 2:
        faults.append(f"needed: a treated unit and two without treatment; got {count} and {len(y) - count}")
    if before < 2 or not later.size or later.min() < before or later.max() >= y.shape[1]:
        faults.append(f"needed: two periods before, and later ones within {y.shape[1]}; got {before} and {later}")
    if not np.isfinite(y).all():
        faults.append("outcomes are missing; leave out units with missing periods")
    if weight.shape != (count,) or not (weight >= 0).all() or not weight.sum() > 0:
        faults.append(f"treated_weights must be {count} numbers of zero or more")
    complain(faults)
    return y, mark, later, np.asarray(weight / weight.sum())
