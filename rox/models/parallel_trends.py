"""Was the comparison fair before the start? Leads and the power of their test, the dip, and how places were chosen."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats
from scipy.optimize import brentq

from rox.core.check import Check, Grade, Verdict
from rox.core.errors import FitError
from rox.models.rollout import Rollout
from rox.models.rollout_att import RolloutATT
from rox.models.phrases import p_value
from rox.numerics.joint import covariance, wald_test

Floats = NDArray[np.float64]
LEVEL, POWER = 0.05, 0.80
FEW_CLUSTERS, TOO_FEW_CLUSTERS = 30, 6
SELECTION_WINDOW = 3
"""Months before the start in which a place may have been chosen for doing badly."""
TOLERABLE = 0.5
"""Share of the estimate that a trend too small to be found may explain."""


@dataclass(frozen=True, kw_only=True)
class Leads:
    """The joint test that nothing differed before the start, and what it could have found.

    Attributes:
        p_value: Of the joint test; Hotelling's F with places as clusters.
        months: Leads tested.
        slope: Difference in trend per month that the test finds with 80% probability (Roth 2022).
        bias: What that slope would add to the window's effect.
    """

    p_value: float
    months: int
    slope: float
    bias: float


def joint_leads(att: RolloutATT, *, leads: int, column: int = -1) -> Leads:
    """Test jointly that the effects ``leads`` to 2 months before the start are zero, and compute the test's power.

    A linear difference in trend of ``slope`` per month shifts the lead at month e by slope·(e + 1), because month −1 is
    the base, and the window by slope·(middle + 1).

    Args:
        att: Group-time effects.
        leads: Months before the start to go back to.
        column: Column of the effects; the last is all customers together.

    Raises:
        FitError: No month before the base month is seen.
    """
    clusters = int((att.cells.weights[:, column] > 0).sum())
    event, theta = att.path.labels, att.path.estimate[:, column]
    usable = np.flatnonzero((event >= -leads) & (event <= -2) & np.isfinite(theta))
    usable = usable[-max((clusters - 1) // 2, 1) :]
    if not usable.size:
        raise FitError(
            "No month before the start can be compared.", ["ask for a longer history, or wait for places that start later"]
        )
    cov = covariance(att.path.influence[:, usable, column])
    found = wald_test(theta[usable], cov, clusters=clusters)
    away = event[usable] + 1
    information = float(away @ np.linalg.pinv(cov, hermitian=True) @ away)
    q, rest = found.df, clusters - found.df
    if q == 0 or not information > 0:
        return Leads(p_value=1.0, months=int(usable.size), slope=0.0, bias=0.0)
    critical = stats.f.isf(LEVEL, q, rest)
    noncentrality = brentq(lambda size: stats.ncf.sf(critical, q, rest, size) - POWER, 1e-6, 1e4)
    slope = float(np.sqrt(noncentrality / information))
    middle = sum(att.window_months) / 2
    return Leads(p_value=found.p_value, months=int(usable.size), slope=slope, bias=slope * (middle + 1))


def leads_table(data: Rollout, att: RolloutATT, *, leads: int) -> pd.DataFrame:
    """Tabulate the test of leads by segment and for all customers together."""
    rows = [joint_leads(att, leads=leads, column=column) for column in range(len(data.groups) + 1)]
    return pd.DataFrame(
        {
            "p_value": [row.p_value for row in rows],
            "months": [row.months for row in rows],
            "slope_found_with_power": [row.slope for row in rows],
            "bias_in_window": [row.bias for row in rows],
        },
        index=pd.Index([*data.groups, "all"], name="group"),
    )


def checks_of_leads(att: RolloutATT, *, leads: int) -> tuple[Check, Check]:
    """Judge the leads (ROX-L01, which lowers the grade) and what their test could have missed (ROX-L02).

    The test takes all customers together, each counting once: a trend of places shows in all segments, and this is where
    it is measured best.
    """
    found = joint_leads(att, leads=leads)
    effect = abs(float(att.window.overall[-1]))
    missed = found.bias > TOLERABLE * effect
    values = {"slope": 100 * found.slope, "bias": 100 * found.bias, "effect": 100 * effect, "months": found.months}
    return (
        Check(
            code="ROX-L01",
            verdict=Verdict.DEMOTE if found.p_value < LEVEL else Verdict.PASS,
            values={"p": p_value(found.p_value), "months": found.months},
        ),
        Check(code="ROX-L02", verdict=Verdict.NOTE if missed else Verdict.PASS, values=values),
    )


def dip_check(data: Rollout, att: RolloutATT) -> Check:
    """Test whether places fell below their own trend in the three months before the start (ROX-L03; Ashenfelter 1978).

    The trend is a straight line through the earlier leads, differences to the comparison places throughout. When a dip is
    found the rebound from it passes for an effect, which lowers the grade unless the places were drawn by lot.
    """
    event, theta = att.path.labels, att.path.estimate[:, -1]
    early = (event < -SELECTION_WINDOW) & np.isfinite(theta)
    recent = (event >= -SELECTION_WINDOW) & (event < 0)
    if early.sum() < SELECTION_WINDOW or not recent.any():
        return Check(code="ROX-L04", verdict=Verdict.NOTE, values={"months": int(early.sum())})
    design = np.column_stack([np.ones(int(early.sum())), event[early]])
    contrast = np.zeros(event.size)
    contrast[recent] = 1 / recent.sum()
    contrast[early] = -(np.array([1.0, event[recent].mean()]) @ np.linalg.pinv(design))
    influence = att.path.influence[:, :, -1] @ contrast
    dip, se = float(contrast @ np.where(np.isfinite(theta), theta, 0.0)), float(np.sqrt((influence**2).sum()))
    places = int((data.sizes.sum(1) > 0).sum())
    p = float(stats.t.cdf(dip / se, places - 1)) if se > 0 else 1.0
    fell = p < LEVEL / 2
    verdict = Verdict.PASS if not fell else Verdict.NOTE if data.assigned == "random" else Verdict.DEMOTE
    return Check(code="ROX-L03", verdict=verdict, values={"dip": 100 * dip, "se": 100 * se})


def assignment_check(data: Rollout, leads: tuple[Check, Check]) -> Check:
    """Cap the grade by how the places were chosen.

    Drawn by lot: comparable by construction, no cap (ROX-L05). Chosen by somebody: comparable as far as anybody can see,
    so grade B asks that the leads pass and that their test could have found a trend that explains half of the effect;
    otherwise C (ROX-L06). A passed test without that power is no evidence: of roll-outs that went to fast-growing places
    first, one in four passes it. Unknown: C at best (ROX-L07), since nobody can say what the places had in common.
    """
    if data.assigned == "random":
        return Check(code="ROX-L05", verdict=Verdict.PASS)
    if data.assigned == "chosen":
        clean = all(check.verdict is Verdict.PASS for check in leads)
        return Check(code="ROX-L06", verdict=Verdict.PASS if clean else Verdict.DEMOTE, to_grade=None if clean else Grade.C)
    return Check(code="ROX-L07", verdict=Verdict.DEMOTE, to_grade=Grade.C)
