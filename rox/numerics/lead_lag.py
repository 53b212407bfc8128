"""How money answers experience over time, from the covariance of an answer with the growth before and after it.

Money is taken to move a share of the way each month towards a level that experience sets, and experience to be a
lasting part and a passing one that fades. Then the covariance of an answer with the growth of a later quarter is a
constant (happy customers may grow faster anyway) plus the effect times a known shape that fades as the passing part
does. Noise of the answer does not enter a covariance, so nothing is attenuated; what a customer's growth and lasting
experience have in common is in the constant.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from rox.numerics.arrays import Floats, complain, freeze, in_unit_interval, vector

REACH = 400
"""Months of the past that count in the shape."""


@dataclass(frozen=True, kw_only=True)
class LeadLag:
    """A fitted profile. s = segments, k = leads."""

    long_run: Floats
    """(s,) change of log money per point of lasting experience, once all has adjusted."""
    common: Floats
    """(s,) covariance that does not depend on the lead: growth that goes with lasting experience."""
    adjustment: float
    """Share of the way to its level that money moves in a month."""
    fitted: Floats
    """(s, k) covariance the model gives for every lead, used or not."""
    residual: Floats
    """(s, k) covariance found less fitted."""
    loss: float
    """Weighted sum of squares over the leads used."""

    def __post_init__(self) -> None:
        freeze(self, "long_run", "common", "fitted", "residual")

    def after(self, months: float) -> Floats:
        """Return (s,) the change of log money per point, so many months after a lasting change."""
        return np.asarray(self.long_run * (1 - (1 - self.adjustment) ** months))


@lru_cache(maxsize=512)
def _shape(adjustment: float, memory: float, leads: tuple[float, ...], step: int) -> Floats:
    past = np.arange(REACH)
    weight = adjustment * (1 - adjustment) ** past
    lead = np.array(leads)
    ends = np.stack([step * lead, step * (lead - 1)])
    covered = (weight * memory ** np.abs(ends[..., None] - past)).sum(-1)
    shape: Floats = covered[0] - covered[1]
    shape.setflags(write=False)
    return shape


def response_shape(adjustment: float, memory: float, leads: ArrayLike, *, step: int = 3) -> Floats:
    """Compute the covariance of passing experience with money's growth over later steps, per unit of its variance.

    κ(j) = a·Σ_{m≥0} (1−a)^m·r^|j−m| is the covariance of experience now with money's distance covered j months later;
    a lead k sees κ(step·k) − κ(step·(k−1)).

    Args:
        adjustment: a, share of the way that money moves in a month.
        memory: r, share of passing experience left after a month.
        leads: (k,) whole numbers; 1 is the first step after the answer, 0 the step that ends with it.
        step: Months of a step.
    """
    return _shape(float(adjustment), float(memory), tuple(vector(leads, "leads").tolist()), int(step))


def fit_lead_lag(
    sums: ArrayLike,
    counts: ArrayLike,
    leads: ArrayLike,
    *,
    passing: float,
    memory: float,
    adjustments: ArrayLike,
    step: int = 3,
) -> LeadLag:
    """Fit the profile by least squares weighted with counts; the adjustment is common to all segments.

    Only leads from 1 on are used. What happened before the answer is left free: where it departs from the fitted
    profile, experience follows money.

    Args:
        sums: (s, k) sums of answer times growth, both around the means of their segment and month.
        counts: (s, k) what to divide them by.
        leads: (k,) whole numbers.
        passing: Variance of passing experience.
        memory: Share of it left after a month.
        adjustments: Grid of the monthly adjustment to choose from.
        step: Months of a step.

    Raises:
        ValueError: Shapes that do not fit, fewer than three leads after the answer, or parameters out of range.
    """
    total, n = np.asarray(sums, dtype=np.float64), np.asarray(counts, dtype=np.float64)
    lead, grid = vector(leads, "leads"), vector(adjustments, "adjustments")
    faults = []
    if total.shape != n.shape or total.ndim != 2 or total.shape[-1] != lead.size:
        faults.append(f"sums have shape {total.shape}, counts {n.shape}; needed: segments × {lead.size} leads")
    use = lead >= 1
    if use.sum() < 3:
        faults.append(f"{int(use.sum())} leads after the answer; at least 3 are needed")
    if not passing > 0:
        faults.append(f"passing is {passing}; a positive variance is needed")
    in_unit_interval(memory, "memory")
    complain(faults)
    covariance = np.divide(total, n, out=np.zeros_like(total), where=n > 0)
    best: LeadLag | None = None
    for adjustment in grid:
        shape = response_shape(float(adjustment), memory, lead, step=step)
        constant, slope = _two_columns(covariance[:, use], n[:, use], shape[use])
        fitted = constant[:, None] + slope[:, None] * shape
        loss = float((n[:, use] * (covariance - fitted)[:, use] ** 2).sum())
        if best is None or loss < best.loss:
            best = LeadLag(
                long_run=slope / passing,
                common=constant,
                adjustment=float(adjustment),
                fitted=fitted,
                residual=covariance - fitted,
                loss=loss,
            )
    assert best is not None
    return best


def _two_columns(y: Floats, weight: Floats, x: Floats) -> tuple[Floats, Floats]:
    """Regress each row of y on a constant and x, weighted; returns both coefficients, shape (s,) each."""
    total = weight.sum(1)
    x_mean, y_mean = (weight @ x) / total, (weight * y).sum(1) / total
    away = x - x_mean[:, None]
    slope = (weight * away * (y - y_mean[:, None])).sum(1) / (weight * away**2).sum(1)
    return y_mean - slope * x_mean, slope


def misfit_p_value(residual: ArrayLike, covariance: ArrayLike, parameters: int, *, clusters: int) -> float:
    """Return the p-value of the residuals being sampling error alone (a J test; Hansen 1982).

    The covariance comes from few buckets, so Hotelling's F takes the place of chi-squared (Hotelling 1931).

    Args:
        residual: (q,) moments less their fitted values.
        covariance: (q, q) of the moments; may be singular.
        parameters: Coefficients that were fitted to them.
        clusters: Buckets that the covariance comes from.

    Raises:
        ValueError: No more moments than coefficients, or no more buckets than moments.
    """
    r, v = vector(residual, "residual"), np.asarray(covariance, dtype=np.float64)
    spare, rest = r.size - parameters, clusters - r.size
    faults = [f"{r.size} moments for {parameters} coefficients leave nothing to test"] if spare < 1 else []
    if rest < 1:
        faults.append(f"{clusters} buckets cannot carry the covariance of {r.size} moments")
    complain(faults)
    statistic = float(r @ np.linalg.pinv(v, hermitian=True) @ r)
    return float(stats.f.sf(statistic * rest / (spare * (clusters - 1)), spare, rest))
