"""Was the comparison fair before the start? Leads and the power of their test, the dip, and how places were chosen."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from rox.core.check import Check, Grade, Verdict
from rox.core.errors import FitError
from rox.models.phrases import p_value
from rox.models.rollout import Rollout
from rox.models.rollout_att import RolloutATT
from rox.numerics.joint import covariance, wald_test

Floats = NDArray[np.float64]
LEVEL, POWER = 0.05, 0.80
FEWEST_MONTHS = 3
SELECTION_WINDOW = 3
"""Months before the start in which a place may have been chosen for doing badly."""
TOLERABLE = 0.5
"""Share of the estimate that a trend too small to be found may explain."""


@dataclass(frozen=True, kw_only=True)
class Leads:
    """Two tests that places moved alike before the start, and what they could have found.

    Attributes:
        joint_p: That all leads are zero; Hotelling's F with places as clusters.
        trend_p: That the leads have no linear trend; Student's t with places − 1 degrees of freedom.
        months: Leads of the joint test.
        trend_months: Months the trend runs through.
        slope: Difference in trend per month that is found with 80% probability or more (Roth 2022).
        bias: What that slope would add to the window's effect.
    """

    joint_p: float
    trend_p: float
    months: int
    trend_months: int
    slope: float
    bias: float

    @property
    def p_value(self) -> float:
        """The smaller of the two, doubled (Bonferroni)."""
        return min(1.0, 2 * min(self.joint_p, self.trend_p))


def leads_test(att: RolloutATT, *, leads: int, column: int = -1) -> Leads:
    """Test the months before the start, and compute the power of the test.

    The joint test sees any difference in the ``leads`` months before the start but is weak against each. A slow
    difference in trend, the kind that choosing places by their growth leaves behind, is better seen by the slope
    through the whole history. A difference of ``slope`` per month shifts the window by slope·(middle + 1), because
    the base is the month before the start.

    Args:
        att: Group-time effects.
        leads: Months before the start that the joint test goes back to.
        column: Column of the effects; the last is all customers together.

    Raises:
        FitError: Fewer than three months before the start are seen.
    """
    places = int((att.cells.weights[:, column] > 0).sum())
    event, theta, influence = att.path.labels, att.path.estimate[:, column], att.path.influence[:, :, column]
    before = np.flatnonzero((event < 0) & np.isfinite(theta))
    if before.size < FEWEST_MONTHS:
        raise FitError(
            f"Only {before.size} months before the start can be compared; {FEWEST_MONTHS} are needed.",
            ["ask for a longer history, or wait for places that start later"],
        )
    joint = before[(event[before] >= -leads) & (event[before] <= -2)][-max((places - 1) // 2, 1) :]
    found = wald_test(theta[joint], covariance(influence[:, joint]), clusters=places)
    away = event[before] - event[before].mean()
    contrast = away / (away**2).sum()
    se = float(np.sqrt(((influence[:, before] @ contrast) ** 2).sum()))
    slope = float(contrast @ theta[before])
    spare = max(places - 1, 1)
    visible = float(stats.t.isf(LEVEL / 4, spare) + stats.norm.ppf(POWER)) * se
    return Leads(
        joint_p=found.p_value if found.df else 1.0,
        trend_p=float(2 * stats.t.sf(abs(slope) / se, spare)) if se > 0 else 1.0,
        months=int(joint.size),
        trend_months=int(before.size),
        slope=visible,
        bias=visible * (sum(att.window_months) / 2 + 1),
    )


def leads_table(data: Rollout, att: RolloutATT, *, leads: int) -> pd.DataFrame:
    """Tabulate the test of leads by segment and for all customers together."""
    rows = [leads_test(att, leads=leads, column=column) for column in range(len(data.groups) + 1)]
    return pd.DataFrame(
        {
            "joint_p": [row.joint_p for row in rows],
            "trend_p": [row.trend_p for row in rows],
            "slope_found": [row.slope for row in rows],
            "bias_in_window": [row.bias for row in rows],
        },
        index=pd.Index([*data.groups, "all"], name="group"),
    )


def headline(att: RolloutATT, shares: Floats | None = None) -> tuple[Floats, Floats, float, Floats]:
    """Return path (e,), its influence (u, e), the window's effect and its influence (u,), in one mix of segments.

    Args:
        att: Group-time effects.
        shares: Shape (s,): the mix that the effect is reported in; by default that of the cohort, each customer once.
    """
    path, window = att.path, att.window
    if shares is None:
        whole = float(window.overall[-1]), window.overall_influence[:, -1]
        return path.estimate[:, -1], path.influence[:, :, -1], *whole
    weigh = window.overall_influence[:, :-1] @ shares
    return path.estimate[:, :-1] @ shares, path.influence[:, :, :-1] @ shares, float(att.estimate @ shares), weigh


def checks_of_leads(att: RolloutATT, *, leads: int, shares: Floats | None = None) -> tuple[Check, Check]:
    """Judge the months before the start (ROX-L01, which lowers the grade) and what could be missed (ROX-L02).

    The tests take all customers together, each counting once: a trend of places shows in all segments, and this is
    where it is measured best. What a missed trend would add is held against the effect in the mix of ``shares``.
    """
    found = leads_test(att, leads=leads)
    effect = abs(headline(att, shares)[2])
    missed = found.bias > TOLERABLE * effect
    return (
        Check(
            code="ROX-L01",
            verdict=Verdict.DEMOTE if found.p_value < LEVEL else Verdict.PASS,
            values={
                "joint": p_value(found.joint_p),
                "months": found.months,
                "trend": p_value(found.trend_p),
                "history": found.trend_months,
            },
        ),
        Check(
            code="ROX-L02",
            verdict=Verdict.NOTE if missed else Verdict.PASS,
            values={"slope": 100 * found.slope, "bias": 100 * found.bias, "effect": 100 * effect},
        ),
    )


def dip_check(data: Rollout, att: RolloutATT) -> Check:
    """Test whether places fell below their own trend in the three months before the start (ROX-L03; Ashenfelter 1978).

    The trend is a straight line through the earlier leads, differences to the comparison places throughout. When a
    dip is found the rebound from it passes for an effect, which lowers the grade unless the places were drawn by lot.
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


def drift_check(data: Rollout, att: RolloutATT, shares: Floats | None = None) -> Check:
    """Ask what is left of the effect if places went on drifting apart as before the start (ROX-L21).

    A straight line through the months before the start is carried on through the window and taken off, with the error
    of the line in the interval (Rambachan & Roth 2023, their case of no curvature). Where places were drawn by lot
    nothing drifts but by chance. Where they were not, an effect of which such a line leaves nothing that chance could
    not explain is no better than a correlation.
    """
    event = att.path.labels
    theta, influence, effect, moved = headline(att, shares)
    before = np.flatnonzero((event < 0) & np.isfinite(theta))
    away = event[before] - event[before].mean()
    contrast = (sum(att.window_months) / 2 + 1) * away / (away**2).sum()
    left = effect - float(contrast @ theta[before])
    pull = moved - influence[:, before] @ contrast
    places = int((att.cells.weights[:, -1] > 0).sum())
    reach = float(stats.t.ppf(1 - LEVEL, max(places - 1, 1)) * np.sqrt((pull**2).sum()))
    values = {"effect": 100 * effect, "left": 100 * left, "low": 100 * (left - reach), "high": 100 * (left + reach)}
    fails = data.assigned != "random" and not (abs(left) > reach and left * effect > 0)
    if fails:
        return Check(code="ROX-L21", verdict=Verdict.DEMOTE, values=values, to_grade=Grade.D)
    return Check(code="ROX-L21", verdict=Verdict.PASS, values=values)


def assignment_check(data: Rollout, leads: tuple[Check, Check]) -> Check:
    """Cap the grade by how the places were chosen.

    Drawn by lot: comparable by construction, no cap (ROX-L05). Chosen by somebody: comparable as far as anybody can
    see, so grade B asks that the leads pass and that their test could have found a trend that explains half of the
    effect; otherwise the comparison is a correlation, D (ROX-L06). A passed test without that power is no evidence: of
    roll-outs that went to fast-growing places first, one in four passes it. Unknown: C at best (ROX-L07), since nobody
    can say what the places had in common, and D under the same conditions.
    """
    clean = all(check.verdict is Verdict.PASS for check in leads)
    if data.assigned == "random":
        return Check(code="ROX-L05", verdict=Verdict.PASS)
    if data.assigned == "chosen":
        verdict = Verdict.PASS if clean else Verdict.DEMOTE
        return Check(code="ROX-L06", verdict=verdict, to_grade=None if clean else Grade.D)
    grade = Grade.C if clean else Grade.D
    return Check(code="ROX-L07", verdict=Verdict.DEMOTE, values={"grade": str(grade)}, to_grade=grade)
