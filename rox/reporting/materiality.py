"""How much a model matters: the money at stake times what hangs on its figures, by one stated rule."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from rox.core.governance import Use
from rox.core.returns import Return

Level = Literal["low", "medium", "high"]
LEVELS: tuple[Level, ...] = ("low", "medium", "high")
USES: tuple[Use, ...] = ("inform", "support", "decide")
LIMITS = (1e6, 1e7)
"""Amounts, in the case's currency, from which the money at stake counts as medium and high, unless the case says so."""
FIRST, SECOND = 6, 3
"""Products of the two steps, each counted 1 to 3, from which a model is of tier 1 and of tier 2."""


@dataclass(frozen=True, kw_only=True)
class Materiality:
    """The tier of the model behind a return.

    Attributes:
        tier: 1 matters most, 3 least.
        stake: The money at stake: present value of the costs on the point path, or the loss at the 5% quantile of NPV
            if that is larger.
        exposure: Step of the stake.
        use: What hangs on the figures.
        limits: From which stake on the exposure is medium, and high.
        is_declared: Whether the case says what hangs on it; otherwise "support" is assumed.
        has_limits: Whether the limits are the case's own.
    """

    tier: Literal[1, 2, 3]
    stake: float
    exposure: Level
    use: Use
    limits: tuple[float, float]
    is_declared: bool
    has_limits: bool


def materiality(money: Return) -> Materiality:
    """Return the tier: exposure (1 to 3) times use (1 to 3); 6 and more is tier 1, 3 and 4 tier 2, less tier 3.

    References:
        Board of Governors of the Federal Reserve System, SR 26-2, on models according to their materiality.
    """
    review = money.case.review
    own = review.exposure_limits if review else None
    limits = own or LIMITS
    stake = max(float(money.point["present_cost"][0]), -money.decision.low)
    exposure = LEVELS[sum(stake >= limit for limit in limits)]
    use: Use = review.use if review else "support"
    product = (LEVELS.index(exposure) + 1) * (USES.index(use) + 1)
    return Materiality(
        tier=1 if product >= FIRST else 2 if product >= SECOND else 3,
        stake=stake,
        exposure=exposure,
        use=use,
        limits=limits,
        is_declared=review is not None,
        has_limits=own is not None,
    )
