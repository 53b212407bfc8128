"""From draws to one decision."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from rox.core.case_parts import Policy
from rox.core.check import Grade
from rox.core.formula import Array
from rox.core.returns import Advice, Decision

WORST = 0.05
"""Share of the draws whose mean is the conditional value at risk."""
NEUTRAL = Policy.model_construct()
"""The policy of a case that states none: neutral to risk, "go" from a probability of 80%."""


def decide(
    draws: Mapping[str, Array],
    grade: Grade,
    hurdle: float,
    policy: Policy | None = None,
    *,
    stated: Sequence[str] = (),
    share: float = 0.0,
) -> Decision:
    """Decide by expected NPV; the probability and the grade say whether to act now or to learn first.

    ``go``: the criterion is positive, NPV is positive with the probability asked for, the evidence is A or B, and money
    that owners state and nobody measured does not carry it: it is a small share of the benefit, or NPV is positive with
    that probability without it too. ``learn_first``: the criterion is positive but one of the others is not given.
    ``stop``: it is not positive. The criterion is the mean of NPV; under a policy averse to risk it is E[NPV] + γ·CVaR.

    Args:
        draws: Totals of the ledger, each with shape (draw,).
        grade: The worst grade among the effects that are counted.
        hurdle: The ROI that must be beaten.
        policy: The organisation's rule.
        stated: Totals that hold the present benefit of what was only stated.
        share: Share of the present benefit that this is.

    References:
        Rockafellar & Uryasev (2000), Journal of Risk 2(3), on the conditional value at risk.
    """
    policy = policy or NEUTRAL
    npv, payback = draws["npv"], draws["payback"]
    paid = ~np.isnan(payback)
    expected = float(npv.mean())
    p_positive = float((npv > 0).mean())
    tail = cvar(npv)
    measured = npv - sum((draws[name] for name in stated), np.zeros(1))
    returned = ~np.isnan(draws["roi"])
    found = Decision(
        advice=Advice.STOP,
        expected_npv=expected,
        npv=float(np.median(npv)),
        low=float(np.quantile(npv, 0.05)),
        high=float(np.quantile(npv, 0.95)),
        p_positive=p_positive,
        p_hurdle=float(draws["beats_hurdle"][returned].mean()) if returned.any() else math.nan,
        hurdle=hurdle,
        roi=float(np.median(draws["roi"][returned])) if returned.any() else math.nan,
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
        stated=share,
        p_without_stated=float((measured > 0).mean()),
    )
    if found.criterion <= 0:
        return found
    enough = p_positive >= policy.enough and grade.is_causal and found.stands_without_stated
    return replace(found, advice=Advice.GO if enough else Advice.LEARN_FIRST)


def cvar(npv: Array, worst: float = WORST) -> float:
    """Return the mean of the worst share of draws, at least of one; the conditional value at risk as a value of NPV."""
    return float(np.sort(npv)[: max(1, math.ceil(worst * len(npv) - 1e-9))].mean())
