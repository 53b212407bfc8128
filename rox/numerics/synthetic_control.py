"""Build what a treated unit would have done out of units without treatment (Abadie, Diamond & Hainmueller 2010).

Weights are non-negative and sum to one, so nothing is extrapolated. They come from a non-negative least squares problem
with the same solution (Lawson & Hanson 1974, chapter 23), which is exact: no iterations that stop early.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import optimize

from rox.numerics.arrays import Bools, Floats, complain, freeze

GENERATIONS, SEARCH = 60, 4000
"""Generations of the wide search for the importance of predictors, and evaluations of the local ones after it."""
SPREAD = 12.0
"""Logarithm of the largest ratio of two importances in the wide search."""


@dataclass(frozen=True, kw_only=True)
class SyntheticControl:
    """A weighted mean of donors, and how far the treated unit is from it. d = donors, t = periods."""

    weights: Floats
    """(d,)."""
    gap: Floats
    """(t,) treated unit less its synthetic control."""
    before: int
    """Periods before the treatment; the first ``before`` of ``gap``."""
    importance: Floats
    """(k,) of the predictors, sums to one; empty without predictors."""

    def __post_init__(self) -> None:
        freeze(self, "weights", "gap", "importance")

    @property
    def pre_rmspe(self) -> float:
        """Root mean squared gap before the treatment."""
        return float(np.sqrt((self.gap[: self.before] ** 2).mean()))

    @property
    def post_rmspe(self) -> float:
        """Root mean squared gap from the treatment on."""
        return float(np.sqrt((self.gap[self.before :] ** 2).mean()))

    @property
    def ratio(self) -> float:
        """``post_rmspe / pre_rmspe``; infinite for a perfect fit before."""
        return self.post_rmspe / self.pre_rmspe if self.pre_rmspe > 0 else float("inf")


@dataclass(frozen=True, kw_only=True)
class PlaceboInSpace:
    """The same estimate for every donor as if it had been treated. d = donors, t = periods."""

    gaps: Floats
    """(d, t)."""
    pre_rmspe: Floats
    """(d,)."""
    ratios: Floats
    """(d,) of errors after and before."""
    p_value: float
    """(1 + donors with a ratio at least the treated unit's) / (donors + 1)."""

    def __post_init__(self) -> None:
        freeze(self, "gaps", "pre_rmspe", "ratios")


def simplex_weights(columns: ArrayLike, target: ArrayLike, *, ridge: float = 0.0, intercept: bool = False) -> Floats:
    """Return w ≥ 0 with Σw = 1 that minimises ‖columns·w − target‖² + ridge·‖w‖², shape (d,).

    Args:
        columns: (n, d).
        target: (n,).
        ridge: Penalty on the squared weights.
        intercept: Whether a constant may lie between the two, at no cost.

    Raises:
        ValueError: Shapes that do not fit, no columns, or values that are not finite.

    Example:
        >>> simplex_weights([[0.0, 2.0], [0.0, 2.0]], [0.5, 0.5]).round(3).tolist()
        [0.75, 0.25]
    """
    x, y = np.asarray(columns, dtype=np.float64), np.asarray(target, dtype=np.float64)
    faults = []
    if x.ndim != 2 or y.shape != x.shape[:1] or 0 in x.shape:
        faults.append(f"columns (n, d) and target (n,) do not fit: got {x.shape} and {y.shape}")
    elif not (np.isfinite(x).all() and np.isfinite(y).all()):
        faults.append("columns and target must be finite; leave out units with missing periods")
    complain(faults)
    away = x - y[:, None]
    if intercept:
        away = away - away.mean(0)
    scale = float(np.sqrt((away**2).sum(0).mean() + ridge)) or 1.0
    rows = [away / scale, np.ones((1, x.shape[1]))]
    if ridge:
        rows.insert(1, np.sqrt(ridge) / scale * np.eye(x.shape[1]))
    system = np.vstack(rows)
    weights, _ = optimize.nnls(system, np.append(np.zeros(system.shape[0] - 1), 1.0), maxiter=50 * x.shape[1] + 100)
    return np.asarray(weights / weights.sum())


def synthetic_control(
    outcome: ArrayLike,
    donors: ArrayLike,
    *,
    before: int,
    predictors: ArrayLike | None = None,
    donor_predictors: ArrayLike | None = None,
) -> SyntheticControl:
    """Fit one treated unit by a weighted mean of donors.

    Estimand: the treated unit's outcome less what it would have been, period by period. It assumes that the weights
    that reproduce the unit before the treatment would have reproduced it afterwards too.

    Without predictors every period before the treatment counts equally. With predictors the weights fit these, and how
    much each predictor counts is chosen such that the periods before the treatment are reproduced best (Abadie,
    Diamond & Hainmueller 2010, section 2.3): a wide search by differential evolution, then local ones.

    Args:
        outcome: (t,) of the treated unit.
        donors: (d, t) of the others.
        before: Periods before the treatment.
        predictors: (k,) of the treated unit.
        donor_predictors: (d, k).

    Raises:
        ValueError: Fewer than two donors or periods on either side, shapes that do not fit, or missing values.
    """
    y, x = np.asarray(outcome, dtype=np.float64), np.asarray(donors, dtype=np.float64)
    faults = []
    if x.ndim != 2 or y.ndim != 1 or x.shape[1:] != y.shape:
        faults.append(f"outcome (t,) and donors (d, t) do not fit: got {y.shape} and {x.shape}")
    elif x.shape[0] < 2 or not 2 <= before < y.size:
        faults.append(f"needed: two donors, two periods before, one after; got {x.shape[0]}, {before}, {y.size}")
    if (predictors is None) != (donor_predictors is None):
        faults.append("predictors need both the treated unit's and the donors'")
    complain(faults)
    importance = np.array([])
    if predictors is None or donor_predictors is None:
        weights = simplex_weights(x[:, :before].T, y[:before])
    else:
        weights, importance = _by_predictors(y, x, before, np.asarray(predictors), np.asarray(donor_predictors))
    return SyntheticControl(weights=weights, gap=y - weights @ x, before=before, importance=importance)


def _by_predictors(y: Floats, x: Floats, before: int, mine: Floats, theirs: Floats) -> tuple[Floats, Floats]:
    """Choose the importance of predictors by the fit before the treatment: (weights, importance)."""
    if theirs.shape != (x.shape[0], mine.size):
        raise ValueError(f"donor predictors must be {(x.shape[0], mine.size)}, got {theirs.shape}")
    spread = np.vstack([theirs, mine]).std(0, ddof=1)
    if not (spread > 0).all():
        raise ValueError("a predictor does not vary between units; leave it out")
    target, columns = mine / spread, (theirs / spread).T

    def weights(logs: Floats) -> Floats:
        root = np.exp((logs - logs.max()) / 2)[:, None]
        return simplex_weights(root * columns, root[:, 0] * target)

    def loss(logs: Floats) -> float:
        return float(((y[:before] - weights(logs) @ x[:, :before]) ** 2).mean())

    bounds = [(-SPREAD, 0.0)] * mine.size
    wide = optimize.differential_evolution(loss, bounds, maxiter=GENERATIONS, polish=False, seed=0, init="sobol")
    options = {"maxfev": SEARCH, "xatol": 1e-4, "fatol": 1e-10, "adaptive": True}
    starts = [np.asarray(wide.x), np.zeros(mine.size)]
    found = [optimize.minimize(loss, start, method="Nelder-Mead", options=options) for start in starts]
    best = min(found, key=lambda each: float(each.fun)).x
    share = np.exp(best - best.max())
    return weights(best), np.asarray(share / share.sum())


def placebo_in_space(fit: SyntheticControl, donors: ArrayLike) -> PlaceboInSpace:
    """Treat every donor as if it had been the treated one, with the other donors as its donors.

    Args:
        fit: Of the treated unit, by outcomes only.
        donors: (d, t) as given to it.

    Raises:
        ValueError: Fewer than three donors.
    """
    x = np.asarray(donors, dtype=np.float64)
    if x.shape[0] < 3:
        raise ValueError(f"a placebo needs at least three donors, got {x.shape[0]}")
    each = [synthetic_control(x[i], np.delete(x, i, axis=0), before=fit.before) for i in range(x.shape[0])]
    ratios = np.array([one.ratio for one in each])
    return PlaceboInSpace(
        gaps=np.stack([one.gap for one in each]),
        pre_rmspe=np.array([one.pre_rmspe for one in each]),
        ratios=ratios,
        p_value=float((1 + (ratios >= fit.ratio).sum()) / (ratios.size + 1)),
    )


def placebo_in_time(outcome: ArrayLike, donors: ArrayLike, *, before: int, earlier: int) -> SyntheticControl:
    """Fit as if the treatment had come earlier, with nothing of the treated periods.

    Args:
        outcome: (t,).
        donors: (d, t).
        before: Periods before the treatment.
        earlier: Periods before the supposed treatment, fewer than ``before``.

    Raises:
        ValueError: As ``synthetic_control``.
    """
    if earlier >= before:
        raise ValueError(f"the supposed treatment must come earlier than period {before}, got {earlier}")
    y, x = np.asarray(outcome, dtype=np.float64), np.asarray(donors, dtype=np.float64)
    return synthetic_control(y[:before], x[:, :before], before=earlier)


def leave_one_donor_out(
    outcome: ArrayLike, donors: ArrayLike, *, before: int, least: float = 1e-6
) -> tuple[Sequence[int], Floats]:
    """Fit again without each donor that carries weight.

    Args:
        outcome: (t,).
        donors: (d, t).
        before: Periods before the treatment.
        least: Weight from which a donor carries some.

    Returns:
        Numbers of these donors, and the gaps without them, shape (donors with weight, t).
    """
    y, x = np.asarray(outcome, dtype=np.float64), np.asarray(donors, dtype=np.float64)
    carrying: Bools = synthetic_control(y, x, before=before).weights > least
    which = [int(i) for i in np.flatnonzero(carrying)] if x.shape[0] > 2 else []
    gaps = [synthetic_control(y, np.delete(x, i, axis=0), before=before).gap for i in which]
    return which, np.array(gaps).reshape(len(which), y.size)
