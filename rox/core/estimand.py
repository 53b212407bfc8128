"""Which number was asked for: whose, of what, per what, over which horizon."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Literal

from rox.core.errors import UnitError
from rox.core.units import MONEY, Dose, Unit


class Question(StrEnum):
    """The five questions that all get called "the NPS effect", and those of the other families."""

    GAP = "gap"
    SUSTAINED = "sustained"
    PULSE = "pulse"
    LONG_RUN = "long_run"
    TRAJECTORY = "trajectory"
    HAZARD = "hazard"
    INITIATIVE = "initiative"


DESCRIPTIVE = frozenset({Question.GAP, Question.TRAJECTORY})
"""Questions about who people are. Their answers are never priced as the result of a change."""
FADING = 12.0
"""Months of half-life up to which a change is a passing one, which the answer to ``PULSE`` is about."""

Channel = Literal["retention", "expansion", "acquisition", "referral", "cost_to_serve"]


@dataclass(frozen=True, kw_only=True)
class Estimand:
    """The quantity an estimate is an estimate of.

    Attributes:
        question: Which of the questions it answers.
        population: Who, at which date.
        treatment: What is moved, from what to what, once or for good.
        dose: The unit of what is moved.
        outcome: Name of the outcome, as the study calls it.
        unit: The unit of the outcome.
        currency: ISO code; empty unless the unit is money.
        horizon: Months after the change.
        window: First and last month of an averaging window, both included, when the estimate averages over one.
        aggregator: How customers are summed up; ``capped_mean``: amounts above a cap declared beforehand count as it.
        includes_exit: Whether customers who left count with zero money.
        contrast: Difference or ratio.
        channels: The streams of money this estimate already contains.
    """

    question: Question
    population: str
    treatment: str
    dose: Dose
    outcome: str
    unit: Unit
    currency: str = ""
    horizon: int
    window: tuple[int, int] | None = None
    aggregator: Literal["mean", "aum_weighted_mean", "median", "capped_mean", "total"] = "mean"
    includes_exit: bool
    contrast: Literal["additive", "ratio"] = "additive"
    channels: frozenset[Channel] = frozenset()

    def __post_init__(self) -> None:
        if (self.unit in MONEY) != bool(self.currency):
            raise UnitError(f"An outcome in {self.unit} {'needs a' if not self.currency else 'has no'} currency.")
        if self.horizon < 0:
            raise UnitError(f"A horizon is a number of months after the change; got {self.horizon}.")

    @property
    def is_descriptive(self) -> bool:
        """Whether it compares people rather than answering what a change would do."""
        return self.question in DESCRIPTIVE

    def differences(self, other: Estimand) -> tuple[str, ...]:
        """Name the fields in which two estimands differ."""
        mine, theirs = asdict(self), asdict(other)
        return tuple(name for name in mine if mine[name] != theirs[name])

    def require_same(self, other: Estimand) -> None:
        """Refuse to combine two different quantities.

        Raises:
            UnitError: They differ in any field (ROX-U02).
        """
        if fields := self.differences(other):
            raise UnitError(
                f"ROX-U02: these two results cannot be combined: {self} vs {other} (differing in {', '.join(fields)}).",
                [f"{name}: {getattr(self, name)!r} vs {getattr(other, name)!r}" for name in fields],
            )

    def __str__(self) -> str:
        money = f" {self.currency}" if self.currency else ""
        return f"{self.outcome} [{self.unit}{money}] per {self.dose}, {self.question}, {self.horizon} months"

    def as_record(self) -> dict[str, Any]:
        """Return plain values for a record."""
        return {**asdict(self), "channels": sorted(self.channels)}
