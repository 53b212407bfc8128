"""From draws to one decision."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from rox.core.case_parts import Policy
from rox.core.check import Grade
from rox.core.formula import Array
from rox.core.returns import Advice, Decision

WORST = 0.05
"""Share of the draws whose mean is the conditional value at risk."""
NEUTRAL = Policy.model_construct()
"""The policy of a case that states none: neutral to risk, "go" from a probability of 80%."""


def decide(draws: Mapping[str, Array], grade: Grade, hurdle: float, policy: Policy | None = None) -> Decision:
    """Decide by expected NPV; the probability and the grade say whether to act now or to learn first.

    ``go``: the criterion is positive, NPV is positive with the probability asked for, and the evidence is A or B.
    ``learn_first``: the criterion is positive but one of the other two is not given. ``stop``: it is not positive. The
    criterion is the mean of NPV; under a policy averse to risk it is E[NPV] + γ·CVaR.

    Args:
        draws: Totals of the ledger, each with shape (draw,).
        grade: The worst grade among the effects that are counted.
        hurdle: The ROI that must be beaten.
        policy: The organisation's rule.

    References:
        Rockafellar & Uryasev (2000), Journal of Risk 2(3), on the conditional value at risk.
    """
    policy = policy or NEUTRAL
    npv, payback = draws["npv"], draws["payback"]
    paid = ~np.isnan(payback)
    expected = float(npv.mean())
    p_positive = float((npv > 0).mean())
    tail = cvar(npv)
    if expected + policy.risk_aversion * tail <= 0:
        advice = Advice.STOP
    elif p_positive >= policy.enough and grade.is_causal:
        advice = Advice.GO
    else:
        advice = Advice.LEARN_FIRST
    return Decision(
        advice=advice,
        expected_npv=expected,
        npv=float(np.median(npv)),
        low=float(np.quantile(npv, 0.05)),
        high=float(np.quantile(npv, 0.95)),
        p_positive=p_positive,
        p_hurdle=float(draws["beats_hurdle"].mean()),
        hurdle=hurdle,
        roi=float(np.median(draws["roi"])),
        payback=float(np.median(np.where(paid, payback, np.inf))) if paid.mean() > 0.5 else float("nan"),
        p_payback=float(paid.mean()),
        grade=grade,
        evpi=float(np.maximum(npv, 0).mean() - max(expected, 0.0)),
        enough=policy.enough,
        lower_quartile=float(np.quantile(npv, 0.25)),
        upper_quartile=float(np.quantile(npv, 0.75)),
        cvar=tail,
        risk_aversion=policy.risk_aversion,
        payback_months=policy.payback_months,
        p_payback_within=float((np.where(paid, payback, np.inf) <= policy.payback_months).mean()),
    )


def cvar(npv: Array, worst: float = WORST) -> float:
    """Return the mean of the worst share of draws, at least of one; the conditional value at risk as a value of NPV."""
    return float(np.sort(npv)[: max(1, math.ceil(worst * len(npv) - 1e-9))].mean())
