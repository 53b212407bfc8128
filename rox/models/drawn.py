"""Whether draws of a pooled posterior are enough to speak of."""

from __future__ import annotations

from typing import Protocol

from rox.core.check import Check, Verdict
from rox.core.errors import FitError

SMALLEST_ESS = 400
LARGEST_WEIGHT = 0.05


class Drawn(Protocol):
    """A posterior drawn by importance."""

    @property
    def ess(self) -> float:
        """Effective number of independent draws."""

    @property
    def largest(self) -> float:
        """Share of the largest weight."""


def drawn_check(pooled: Drawn) -> Check:
    """Say how many independent draws stand behind a pooled posterior (ROX-B04).

    Raises:
        FitError: Fewer than 400, or one weight of a twentieth or more.
    """
    if pooled.ess < SMALLEST_ESS or pooled.largest > LARGEST_WEIGHT:
        raise FitError(
            "The posterior of the pooled effects could not be drawn, so no estimate is given.",
            [
                f"{pooled.ess:.0f} effective draws (needed: {SMALLEST_ESS}), largest weight {pooled.largest:.3f} "
                f"(needed: below {LARGEST_WEIGHT})",
                "ask for more draws; if that does not help, merge segments with few customers",
            ],
        )
    return Check(code="ROX-B04", verdict=Verdict.PASS, values={"ess": pooled.ess})
