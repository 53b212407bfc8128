"""What a study would report if a draw were the truth: its statistics with their sampling error."""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from rox.core.candidates import AnyCandidate, Holdout, Survey
from rox.core.case import Case
from rox.core.effect import Effect
from rox.core.formula import Array
from rox.core.ledger import Ledger
from rox.core.units import Dose, Unit

YEAR = 12
UNITS = {Unit.RATIO: "share", Unit.MONEY_PER_CUSTOMER: "money", Unit.LOG_HAZARD: "log_hazard"}
"""Unit of the effect of a whole initiative, by the unit of its outcome."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Setting:
    """A case as it was priced: its ledger, what went into it, and the draws of every input, shape (draw,) or (1,)."""

    case: Case
    effects: Sequence[Effect]
    groups: tuple[str, ...]
    ledger: Ledger
    drawn: Mapping[str, Array]
    seed: int

    @property
    def size(self) -> int:
        """Number of draws."""
        return max(len(values) for values in self.drawn.values())


@dataclass(frozen=True, kw_only=True)
class Lot:
    """How a hold-out is drawn; fields as in :class:`rox.core.candidates.Holdout`."""

    share: float
    months: int
    customers: float | None = None
    places: int | None = None
    sd: float | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Finding:
    """What a study reports.

    Attributes:
        statistics: One row per draw taken for the truth, shape (draw, statistic).
        learns: Names of the ledger's inputs it is about.
        unit: Of what it measures.
        error: Its standard error; of a hold-out, for the mean over customers.
    """

    statistics: Array
    learns: frozenset[str]
    unit: str
    error: float


def finding(key: str, study: AnyCandidate, setting: Setting) -> Finding:
    """Simulate the finding of a candidate study at every draw; ask :func:`lacking` first."""
    if isinstance(study, Holdout):
        effect = measured_by(study, setting)
        if effect is None:
            raise ValueError(f"study {key!r} measures {study.effect!r}, which is not priced")
        return by_lot(key, lot_of(study), effect, setting)
    if isinstance(study, Survey):
        place, error = "lift", 2 * study.sd / math.sqrt(study.answers)
    else:
        place, error = study.of, study.sd
    asked = [each for each in setting.ledger.inputs if each.place == place and each.kind == "assumption"]
    truth = np.empty((setting.size, len(asked)))
    for column, each in enumerate(asked):
        truth[:, column] = setting.drawn[each.name]
    noise = _stream(setting.seed, key).standard_normal(truth.shape)
    return Finding(
        statistics=truth + error * noise,
        learns=frozenset(each.name for each in asked),
        unit=asked[0].unit if asked else "factor",
        error=error,
    )


def by_lot(key: str, lot: Lot, effect: Effect, setting: Setting) -> Finding:
    """Simulate the finding of a hold-out: by segment, the true effect of the initiative and a normal error.

    The truth in a draw is the estimate times its evidence discount (times the lift, for an effect per point), because
    a randomised comparison is of grade A whatever the grade of the estimate in hand. An effect still building up when
    the follow-up ends is seen in part, which makes the error of the full effect larger.

    Args:
        key: Names the stream of random numbers.
        lot: How it is drawn.
        effect: The effect it measures.
        setting: The case.
    """
    names = [f"effect_{effect.name}_{place}" for place, _ in enumerate(setting.groups, start=1)]
    common = [f"evidence_{effect.name}", *(["lift"] if effect.estimand.dose is not Dose.INITIATIVE else [])]
    factor = math.prod(setting.drawn[name] for name in common)
    own, shared = _errors(lot, effect, setting)
    rng = _stream(setting.seed, key)
    noise, together = rng.standard_normal((setting.size, len(names))), rng.standard_normal((setting.size, 1))
    truth = np.column_stack([np.broadcast_to(setting.drawn[name] * factor, setting.size) for name in names])
    reported = truth + np.where(np.isfinite(own), own, 0.0) * noise + shared * together
    people = _people(setting)
    return Finding(
        statistics=reported[:, np.isfinite(own)],
        learns=frozenset([*names, *common]),
        unit=UNITS[effect.estimand.unit],
        error=float(np.hypot(shared, np.linalg.norm((people * np.where(people > 0, own, 0.0)) / people.sum()))),
    )


def lacking(lot: Lot, effect: Effect | None) -> str:
    """Return what keeps the error of a hold-out from being worked out, or nothing.

    ``effect``: the effect it measures is not priced. ``sd``: nobody says how much customers differ, and the effect does
    not say on how many it was measured. ``exits``: a standard deviation is given although the error follows from the
    number of exits. ``places``: the effect was not measured over places, so how much these differ is not known.
    """
    if effect is None:
        return "effect"
    customers, clusters = effect.counts.get("customers", 0), effect.counts.get("clusters", 0)
    if effect.estimand.unit is Unit.LOG_HAZARD and lot.sd is not None:
        return "exits"
    if effect.estimand.unit is not Unit.LOG_HAZARD and lot.sd is None and not customers:
        return "sd"
    return "places" if lot.places is not None and not 0 < clusters < (customers or math.inf) else ""


def lot_of(study: Holdout) -> Lot:
    """Return how a candidate hold-out is drawn."""
    return Lot(share=study.share, months=study.months, customers=study.customers, places=study.places, sd=study.sd)


def measured_by(study: Holdout, setting: Setting) -> Effect | None:
    """Return the effect that a hold-out measures, or nothing if it is not among those priced."""
    named = study.effect or setting.case.about.effects[0]
    return next((each for each in setting.effects if each.name == named), None)


def _people(setting: Setting) -> Array:
    return np.array([setting.case.of_group("people", group)[1].spread.likely for group in setting.groups])


def _errors(lot: Lot, effect: Effect, setting: Setting) -> tuple[Array, float]:
    """Return the standard error of the full effect by segment, infinite where nobody is, and what segments share."""
    people = _people(setting)
    customers = people / people.sum() * (lot.customers or people.sum())
    with np.errstate(divide="ignore"):
        inverse = 1 / (customers * lot.share) + 1 / (customers * (1 - lot.share))
    shape = next(found[0] for line, found in setting.ledger.run(setting.ledger.point) if line.name == "shape")
    seen = shape[1 : min(lot.months, len(shape) - 1) + 1]
    posterior = float(effect.overall.std(ddof=1)) * _likely_lift(effect, setting.case)
    if effect.estimand.unit is Unit.LOG_HAZARD:
        leaving = [setting.case.of_group("attrition", group)[1].spread.likely for group in setting.groups]
        exits = -np.log1p(-np.array(leaving)) / YEAR * lot.months
        with np.errstate(divide="ignore"):
            own, part = np.sqrt(inverse / exits), float(seen.mean())
    else:
        sd = lot.sd or posterior * math.sqrt(effect.counts["customers"]) / 2
        own, part = sd * np.sqrt(inverse), float(seen[-1])
    shared = 0.0
    if lot.places is not None:
        held = round(lot.share * lot.places)
        spread = posterior * math.sqrt(effect.counts["clusters"]) / 2
        shared = spread * math.sqrt(1 / held + 1 / (lot.places - held))
    return own / part, shared / part


def _likely_lift(effect: Effect, case: Case) -> float:
    if effect.estimand.dose is Dose.INITIATIVE or case.lift is None:
        return 1.0
    return abs(case.lift.spread.likely)


def _stream(seed: int, key: str) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence([seed, zlib.crc32(f"study {key}".encode())]))
