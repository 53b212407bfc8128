"""Estimate group-time average treatment effects of a staggered roll-out, with one influence value per unit.

The estimator is that of Callaway & Sant'Anna (2021, Journal of Econometrics 225): every cohort is compared,
period by period, with units that are not treated yet. It assumes no anticipation beyond the stated periods,
parallel trends between the cohort and its comparison units (given the covariates, if any), no interference
between units, and that treated units stay treated. Several outcome columns (segments, or different outcomes)
share the units, so the covariance of any two numbers computed here is the sum over units of the products of
their influences.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from rox.numerics.arrays import Bools, Floats, Ints, choice, complain, freeze
from rox.numerics.doubly_robust import doubly_robust_att

CONTROLS = ("notyet", "never")
BASES = ("varying", "universal")


@dataclass(frozen=True, kw_only=True)
class GroupTime:
    """Group-time effects. c = cells (cohort, period), u = units, k = outcome columns.

    `influence` is scaled so that `att - truth` is about its sum over units; hence `joint.covariance(influence)`.
    A cell without treated or comparison weight in a column has NaN there and influence 0.
    """

    att: Floats
    """(c, k) effects in the unit of the outcome."""
    groups: Floats
    """(c,) first treated period of the cohort."""
    times: Floats
    """(c,) period."""
    base_times: Floats
    """(c,) period the cell is compared with."""
    influence: Floats
    """(u, c, k)."""
    unit_groups: Floats
    """(u,) cohort of each unit; infinite for never treated, NaN for units left out (see `left_out`)."""
    weights: Floats
    """(u, k) weight of each unit in each column."""
    treated_units: Ints
    """(c, k) treated units with positive weight."""
    control_units: Ints
    """(c, k) comparison units with positive weight."""
    left_out: int
    """Units treated so early that no period before treatment (and anticipation) is observed."""
    skipped: tuple[tuple[float, float], ...]
    """Cells (cohort, period) that have no comparison unit at all."""
    control: str
    anticipation: float
    base: str

    def __post_init__(self) -> None:
        freeze(self, "att", "groups", "times", "base_times", "influence", "unit_groups", "weights")
        freeze(self, "treated_units", "control_units")

    @property
    def event_times(self) -> Floats:
        """(c,) periods since treatment began: 0 is the first treated period."""
        return self.times - self.groups

    @property
    def is_base(self) -> Bools:
        """(c,) cells that are zero by construction because the period is its own base."""
        return np.asarray(self.times == self.base_times)

    @property
    def is_lead(self) -> Bools:
        """(c,) cells before treatment and before the anticipation window, base cells excluded."""
        return np.asarray((self.times < self.groups - self.anticipation) & ~self.is_base)

    @property
    def se(self) -> Floats:
        """(c, k) standard errors, units independent; NaN where nothing was estimated."""
        se = np.sqrt((self.influence**2).sum(0))
        return np.where((se > 0) & np.isfinite(self.att), se, np.nan)


def group_time_att(
    outcome: ArrayLike,
    first_treated: ArrayLike,
    *,
    times: ArrayLike | None = None,
    weights: ArrayLike | None = None,
    covariates: ArrayLike | None = None,
    control: str = "notyet",
    anticipation: float = 0,
    base: str = "varying",
    small_sample: bool = False,
) -> GroupTime:
    """Estimate ATT(g, t) for every cohort and period of a balanced panel of units.

    Estimand: the mean of (outcome treated since g) - (outcome never treated) at t over units of cohort g,
    weighted. Callaway & Sant'Anna (2021, section 2), unconditional or, with covariates, doubly robust; influence
    functions as in their section 4.

    Args:
        outcome: (u, t) or (u, t, k) unit means per period. May be NaN only where the unit has weight 0 in that
            column.
        first_treated: (u,) first treated period on the scale of `times`; `inf` for units never treated.
        times: (t,) increasing periods; default 0, 1, 2, ...
        weights: (u,) or (u, k) size of each unit, fixed over time (customers at the cohort date); default 1.
        covariates: (u, p) characteristics fixed before treatment, without a constant: doubly robust estimation.
        control: "notyet" compares with units not treated by then, "never" only with units never treated.
        anticipation: periods before treatment in which behaviour may already change.
        base: "varying" compares leads with the period before them, "universal" compares all cells of a cohort
            with its last period before treatment. Cells from treatment (less anticipation) onward are the same
            in both.
        small_sample: divide each deviation by sqrt(1 - weight share) (HC2), which undoes the downward bias of
            the standard error when cohorts have few units. A cohort of one unit has no own variance either way.
            Not available with covariates.

    Raises:
        ValueError: shapes that do not fit, NaN with positive weight, negative weights, no cohort with a period
            before treatment, no comparison unit, an unknown option or combination.

    Example:
        >>> outcome = [[1, 2, 5], [2, 3, 6], [0, 1, 2], [4, 5, 6]]  # four branches, three months
        >>> fit = group_time_att(outcome, [2, 2, np.inf, np.inf])
        >>> fit.att[fit.times == 2]
        array([[2.]])
    """
    choice(control, CONTROLS, "control")
    choice(base, BASES, "base")
    if small_sample and covariates is not None:
        raise ValueError("small_sample has no meaning with covariates; leave one of them out")
    y, cohort, period, weight, x = _validated(outcome, first_treated, times, weights, covariates)
    early = cohort <= period[0] + anticipation
    cohort = np.where(early, np.nan, cohort)
    if control == "never" and not np.isposinf(cohort).any():
        raise ValueError("control='never' needs units with first_treated = inf, got none; use control='notyet'")
    groups = np.unique(cohort[np.isfinite(cohort)])
    groups = groups[groups <= period[-1]]
    if not groups.size:
        raise ValueError("no cohort has both a period before treatment and a treated period in `times`")
    kept, skipped = [], []
    for g, now, before in _cells(groups, period, anticipation, base):
        treated = cohort == g
        compared = _comparison(cohort, g, max(period[now], period[before]) + anticipation, control)
        if not weight[compared].any():
            skipped.append((float(g), float(period[now])))
            continue
        change = y[:, now] - y[:, before]
        att, psi = _cell(change, treated, compared, weight, x, small_sample)
        sizes = [(weight[mask] > 0).sum(0) for mask in (treated, compared)]
        kept.append((g, period[now], period[before], att, psi, *sizes))
    if not kept:
        raise ValueError("no cell has a comparison unit: every unit is treated at the same time")
    g_, t_, b_, att_, psi_, n1, n0 = (np.stack([np.asarray(row[i]) for row in kept]) for i in range(7))
    return GroupTime(
        att=att_,
        groups=g_,
        times=t_,
        base_times=b_,
        influence=np.moveaxis(psi_, 0, 1),
        unit_groups=cohort,
        weights=weight,
        treated_units=n1,
        control_units=n0,
        left_out=int(early.sum()),
        skipped=tuple(skipped),
        control=control,
        anticipation=anticipation,
        base=base,
    )


def _validated(
    outcome: ArrayLike,
    first_treated: ArrayLike,
    times: ArrayLike | None,
    weights: ArrayLike | None,
    covariates: ArrayLike | None,
) -> tuple[Floats, Floats, Floats, Floats, Floats | None]:
    y = np.array(outcome, dtype=np.float64)
    y = y[:, :, None] if y.ndim == 2 else y
    if y.ndim != 3:
        raise ValueError(f"outcome must have shape (unit, time) or (unit, time, column), got {y.shape}")
    n, t, k = y.shape
    cohort = np.asarray(first_treated, dtype=np.float64)
    period = np.arange(t, dtype=np.float64) if times is None else np.asarray(times, dtype=np.float64)
    weight = np.ones((n, k)) if weights is None else np.asarray(weights, dtype=np.float64)
    weight = np.repeat(weight[:, None], k, axis=1) if weight.ndim == 1 else weight
    x = None if covariates is None else np.asarray(covariates, dtype=np.float64).reshape(n, -1)
    faults = []
    if cohort.shape != (n,) or np.isnan(cohort).any():
        faults.append(
            f"first_treated must hold {n} periods without NaN (inf = never treated), got shape {cohort.shape}"
        )
    if period.shape != (t,) or not (np.diff(period) > 0).all():
        faults.append(f"times must hold {t} increasing periods, got {period!r}")
    if weight.shape != (n, k):
        faults.append(f"weights must have shape ({n},) or ({n}, {k}), got {weight.shape}")
    elif not (np.isfinite(weight) & (weight >= 0)).all():
        faults.append(f"weights must be finite and not negative, got {int((~(weight >= 0)).sum())} that are not")
    else:
        empty = ~np.isfinite(y).all(1) & (weight > 0)
        if empty.any():
            unit, column = np.argwhere(empty)[0]
            faults.append(
                f"outcome is NaN or infinite for {int(empty.sum())} (unit, column) pairs of positive weight, "
                f"first unit {unit} column {column}; fill them or set their weight to 0"
            )
        y = np.where((weight > 0)[:, None, :], y, 0.0)
    if x is not None and not np.isfinite(x).all():
        faults.append(f"covariates have {int((~np.isfinite(x)).sum())} values that are NaN or infinite")
    complain(faults)
    return y, cohort, period, weight, x


def _cells(groups: Floats, period: Floats, anticipation: float, base: str) -> list[tuple[float, int, int]]:
    """List (cohort, index of period, index of its base period)."""
    out = []
    for g in groups:
        reference = int(np.flatnonzero(period < g - anticipation)[-1])
        for now in range(0 if base == "universal" else 1, period.size):
            lead = period[now] < g - anticipation
            out.append((float(g), now, now - 1 if lead and base == "varying" else reference))
    return out


def _comparison(cohort: Floats, g: float, horizon: float, control: str) -> Bools:
    never = np.isposinf(cohort)
    if control == "never":
        return np.asarray(never)
    with np.errstate(invalid="ignore"):
        return np.asarray(never | ((cohort > horizon) & (cohort != g)))


def _cell(
    change: Floats, treated: Bools, compared: Bools, weight: Floats, covariates: Floats | None, small_sample: bool
) -> tuple[Floats, Floats]:
    """Return the effect (k,) and influence (u, k) of one cell."""
    if covariates is not None:
        pairs = [
            doubly_robust_att(change[:, j], treated, compared, covariates, weight[:, j]) for j in range(weight.shape[1])
        ]
        return np.array([p[0] for p in pairs]), np.stack([p[1] for p in pairs], axis=1)
    m1, psi1 = _mean(change, weight * treated[:, None], small_sample)
    m0, psi0 = _mean(change, weight * compared[:, None], small_sample)
    att = m1 - m0
    return att, np.where(np.isfinite(att), psi1 - psi0, 0.0)


def _mean(change: Floats, weight: Floats, small_sample: bool) -> tuple[Floats, Floats]:
    total = weight.sum(0)
    share = weight / np.where(total > 0, total, np.nan)
    mean = np.where(total > 0, np.nansum(share * change, axis=0), np.nan)
    psi = share * (change - mean)
    if small_sample:
        psi = psi / np.sqrt(np.where(share < 1 - 1e-9, 1 - share, 1.0))
    return mean, psi
