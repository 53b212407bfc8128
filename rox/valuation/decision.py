"""From draws to one decision."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from rox.core.check import Grade
from rox.core.formula import Array
from rox.core.returns import Advice, Decision

ENOUGH = 0.80
"""Probability of a positive NPV from which "go" is said, if the evidence is causal."""


def decide(draws: Mapping[str, Array], grade: Grade, hurdle: float) -> Decision:
    """Decide by expected NPV; the probability and the grade say whether to act now or to learn first.

    ``go``: the mean is positive, its probability is at least :data:`ENOUGH`, and the evidence is A or B.
    ``learn_first``: the mean is positive but one of the other two is not given. ``stop``: the mean is not positive.

    Args:
        draws: Totals of the ledger, each with shape (draw,).
        grade: The worst grade among the effects.
        hurdle: The ROI that must be beaten.
    """
    npv, payback = draws["npv"], draws["payback"]
    paid = ~np.isnan(payback)
    expected = float(npv.mean())
    p_positive = float((npv > 0).mean())
    if expected <= 0:
        advice = Advice.STOP
    elif p_positive >= ENOUGH and grade.is_causal:
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
        enough=ENOUGH,
    )
