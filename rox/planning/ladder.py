"""The ladder of designs: what the facts allow, from the lot among customers down to before and after."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np

from rox.core.check import BIAS_LAYERS, Check, Grade, Verdict
from rox.core.words import Language, say
from rox.models.placebo_rollouts import DETECTABLE
from rox.models.rollout_precision import TOO_FEW_PLACES
from rox.planning.design import Facts

FEWEST_COMPARED = 2
"""Places that start, and places that start later or never, below which places cannot be compared."""
FEWEST_DONORS = 5
FEWEST_MONTHS = 12
"""Months before the start that a comparison of one place, or of none, needs."""
GOOD_MONTHS = 24
"""Months before the start that a series without comparison needs for more than a correlation."""


@dataclass(frozen=True, kw_only=True)
class Rung:
    """One design.

    Attributes:
        key: ``individual``, ``tickets``, ``lot``, ``chosen``, ``one_place``, ``series`` or ``before_after``.
        estimator: What of rox estimates it; empty if nothing does.
        is_available: Whether the facts allow it.
        reason: Key of the catalogue that says why, or why not, and ``values`` for it.
        values: What its fields stand for.
        best: Grade it can reach.
        worst: Grade it falls to if what it assumes cannot be shown.
        se: Standard error of the effect on all customers, if computed.
    """

    key: str
    estimator: str
    is_available: bool
    reason: str
    best: Grade
    worst: Grade
    values: Mapping[str, str | int] = field(default_factory=dict)
    se: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "values", MappingProxyType(dict(self.values)))

    @property
    def detectable(self) -> float | None:
        """Effect that is found four times in five, if computed."""
        return None if self.se is None else DETECTABLE * self.se

    def why(self, language: Language = "en") -> str:
        """Say why it is available, or why not."""
        return say(self.reason, language, **self.values)

    def assumes(self, language: Language = "en") -> str:
        """Say what it assumes."""
        return say(f"planning.assumes.{self.key}", language)

    def as_record(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "key": self.key,
            "estimator": self.estimator or None,
            "is_available": self.is_available,
            "why": self.why(),
            "assumes": self.assumes(),
            "best": str(self.best),
            "worst": str(self.worst),
            "se": self.se,
            "detectable": self.detectable,
        }


@dataclass(frozen=True)
class Credit:
    """What a report would credit an estimate with, after the discount of its grade: mean and standard deviation."""

    mean: float
    sd: float


def credit(effect: float, se: float, grade: Grade) -> Credit:
    """Return the credit of an estimate that comes out at the assumed effect.

    The true effect is the estimate times M, M ~ Normal(mean, sd²) of the grade (:data:`rox.core.check.BIAS_LAYERS`),
    and the estimate has its own error; the variance is that of the product of two independent numbers.
    """
    layer = BIAS_LAYERS[grade]
    variance = (effect * layer.sd) ** 2 + (layer.mean**2 + layer.sd**2) * se**2
    return Credit(effect * layer.mean, float(np.sqrt(variance)))


def design_ladder(facts: Facts, *, se: Mapping[str, float] = MappingProxyType({})) -> tuple[Rung, ...]:
    """List every design, the strongest first, and whether the facts allow it.

    The grades are those that rox's estimators reach: a roll-out over places whose order was drawn by lot is B, because
    the lot chooses places and not customers; one whose places somebody chose is B only if the months before the start
    show no other trend and could have shown one, otherwise D. A comparison of before with after is a claim, E.

    Args:
        facts: Of a plan.
        se: By key of the rung, standard errors that were computed.
    """
    few = facts.planned < TOO_FEW_PLACES
    best = Grade.B.lowered() if few else Grade.B
    by_places = min(facts.planned, facts.compared) >= FEWEST_COMPARED
    quiet = facts.history >= FEWEST_MONTHS
    places: dict[str, str | int] = {"planned": facts.planned, "compared": facts.compared}
    months: dict[str, str | int] = {"months": facts.history, "needed": FEWEST_MONTHS}
    donors: dict[str, str | int] = {**months, "donors": facts.places - 1, "fewest": FEWEST_DONORS}
    series = Grade.C if facts.history >= GOOD_MONTHS else Grade.D
    one = facts.places > FEWEST_DONORS and quiet
    rungs: tuple[tuple[str, str, bool, str, Mapping[str, str | int], Grade, Grade], ...] = (
        ("individual", "rox.Experiment", facts.individual, _said(facts.individual), {}, Grade.A, Grade.A),
        ("tickets", "rox.ClosedLoop", facts.hold_out, _said(facts.hold_out), {}, Grade.A, Grade.A),
        ("lot", "rox.StaggeredUplift", by_places and facts.by_lot, _lot(facts, by_places), places, best, best),
        ("chosen", "rox.StaggeredUplift", by_places, _said(by_places), places, best, Grade.D),
        ("one_place", "rox.SyntheticUplift", one, _said(one), donors, Grade.C, Grade.D),
        ("series", "rox.InterruptedSeries", quiet, _said(quiet), months, series, Grade.D),
        ("before_after", "", True, "yes", {}, Grade.E, Grade.E),
    )
    return tuple(
        Rung(
            key=key,
            estimator=estimator,
            is_available=available,
            reason=f"planning.why.{key}.{reason}",
            values=values,
            best=top,
            worst=bottom,
            se=se.get(key),
        )
        for key, estimator, available, reason, values, top, bottom in rungs
    )


def _said(available: bool) -> str:
    return "yes" if available else "no"


def _lot(facts: Facts, by_places: bool) -> str:
    if not by_places:
        return "few"
    if facts.by_lot:
        return "drawn" if facts.looks_back else "yes"
    return "late" if facts.looks_back else "no"


def lot_check(rungs: tuple[Rung, ...], facts: Facts, effect: float) -> Check:
    """Say what drawing the order by lot adds (ROX-P01), from the discounts that every report takes off.

    Args:
        rungs: The ladder.
        facts: Of the plan.
        effect: Assumed effect, a share of money.
    """
    lot, chosen = (next(rung for rung in rungs if rung.key == key) for key in ("lot", "chosen"))
    if not chosen.is_available:
        return Check(
            code="ROX-P14", verdict=Verdict.NOTE, values={"planned": facts.planned, "compared": facts.compared}
        )
    se = lot.se or 0.0
    sure, doubtful = credit(effect, se, lot.best), credit(effect, se, chosen.worst)
    values: dict[str, str | int | float] = {
        "lot": str(lot.best),
        "chosen": str(chosen.worst),
        "effect": 100 * effect,
        "credit": 100 * sure.mean,
        "sd": 100 * sure.sd,
        "less": 100 * doubtful.mean,
        "wider": 100 * doubtful.sd,
    }
    if facts.by_lot:
        return Check(code="ROX-P01", verdict=Verdict.PASS, values=values)
    return Check(code="ROX-P15" if facts.looks_back else "ROX-P01", verdict=Verdict.NOTE, values=values)
