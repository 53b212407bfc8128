"""How good a forecast of leaving was: predictions for customers who had no part in the fit, beside what came."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rox.core.check import Check, Verdict
from rox.core.errors import FitError
from rox.core.linked import month_label
from rox.models.forecast_rows import BUCKETS, ForecastRows, hazard_cells
from rox.numerics.calibration import calibration
from rox.numerics.prognosis import brier_score, cumulative_auc, uno_c

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

FEWEST_EVENTS = 20
SLOPE, FAR = (0.9, 1.1), 0.01
"""Slope of observed on predicted that is close enough to 1, and mean distance from it."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Performance:
    """Predicted beside observed, for customers as they were known in one month; never evidence that a score matters.

    Attributes:
        month: In which the predictions are made, such as ``2025-01``.
        horizon: Months they reach.
        customers: Predicted for.
        exits: By own choice, seen within the horizon.
        deciles: From the lowest predicted risk to the highest: ``customers``, ``predicted``, ``observed``
            (Aalen–Johansen), ``se``.
        slope: Of observed on predicted, both complementary log-log; ``slope_se``. 1 is perfect.
        ici: Mean distance of observed from predicted, as a probability (Austin, Harrell & van Klaveren 2020).
        concordance: Chance that, of two customers, the one predicted the higher risk leaves first (Uno et al. 2011).
        auc: Chance that somebody gone by the horizon had been predicted a higher risk than somebody else.
        brier: By ``month`` ahead: squared error ``score``, that of knowing no covariate ``reference``, ``skill``, and
            ``auc`` by that month.
        skill: Over all months: share of the squared error of knowing no covariate that is saved.
    """

    month: str
    horizon: int
    customers: int
    exits: int
    deciles: pd.DataFrame
    slope: float
    slope_se: float
    ici: float
    concordance: float
    auc: float
    brier: pd.DataFrame
    skill: float

    @property
    def checks(self) -> tuple[Check, ...]:
        """The verdicts: whether it predicts at all (ROX-S41), and whether the level is right (ROX-S42)."""
        values: dict[str, str | int | float] = {
            "skill": 100 * self.skill,
            "months": self.horizon,
            "month": self.month,
            "concordance": self.concordance,
            "auc": self.auc,
        }
        level = {"slope": self.slope, "se": self.slope_se, "ici": 100 * self.ici}
        right = SLOPE[0] <= self.slope <= SLOPE[1] and self.ici < FAR
        return (
            Check(code="ROX-S41", verdict=Verdict.PASS if self.skill > 0 else Verdict.STOP, values=values),
            Check(code="ROX-S42", verdict=Verdict.PASS if right else Verdict.NOTE, values=level),
        )


def judged(held: ForecastRows, *, horizon: int, folds: int) -> Performance:
    """Predict for each part of the customers from a fit of the others, and compare with what came.

    The month is the latest one from which the panel reaches over the horizon. Customers out of sight count as censored
    from then on.

    Args:
        held: Months at risk.
        horizon: Months.
        folds: Parts into which the buckets of customers are dealt.

    Raises:
        FitError: Too few exits within the horizon, or no month from which the panel reaches so far.
    """
    rows = held.rows
    moment = int(rows["month"].max()) - horizon + 1
    known = rows[rows["month"] == moment].reset_index(drop=True)
    time, cause = _followed(rows[rows["month"] >= moment], known["customer"].to_numpy(), moment)
    if (seen := int((cause == 1).sum())) < FEWEST_EVENTS:
        raise FitError(
            "A forecast of leaving cannot be judged, so none is made.",
            [
                f"of {len(known)} customers known in {month_label(moment)}, {seen} left by their own choice within "
                f"{horizon} months; at least {FEWEST_EVENTS} are needed: link more months, or ask for another horizon"
            ],
        )
    chance = _crossed(held, known, horizon, folds)
    ahead = np.arange(1.0, horizon + 1)
    risk = chance[:, -1]
    try:
        level = calibration(time, cause, risk, float(horizon))
    except ValueError as problem:
        raise FitError("A forecast of leaving cannot be judged, so none is made.", [str(problem)]) from problem
    brier = brier_score(time, cause, chance, ahead)
    area = cumulative_auc(time, cause, chance, ahead)
    return Performance(
        month=month_label(moment),
        horizon=horizon,
        customers=len(known),
        exits=seen,
        deciles=pd.DataFrame(
            {
                "customers": level.size,
                "predicted": level.predicted,
                "observed": level.observed,
                "se": level.observed_se,
            },
            index=pd.RangeIndex(1, level.size.size + 1, name="decile"),
        ),
        slope=level.slope,
        slope_se=level.slope_se,
        ici=level.ici,
        concordance=uno_c(time, cause == 1, risk).value,
        auc=float(area[-1]),
        brier=pd.DataFrame(
            {"score": brier.score, "reference": brier.reference, "skill": brier.skill, "auc": area},
            index=pd.Index(ahead.astype(int), name="month"),
        ),
        skill=float(brier.integrated_skill if horizon > 1 else brier.skill[0]),
    )


def _followed(rows: pd.DataFrame, customers: Ints, moment: int) -> tuple[Floats, Ints]:
    """Return for each customer the months followed without a gap from a month on, and how they ended."""
    place = pd.Index(customers).get_indexer(pd.Index(rows["customer"]))
    inside = place >= 0
    kept, place = rows[inside], place[inside]
    ahead = (kept["month"] - moment).to_numpy()
    unbroken = ahead == kept.groupby("customer").cumcount().to_numpy()
    time, cause = np.zeros(customers.size), np.zeros(customers.size, dtype=np.int64)
    np.maximum.at(time, place[unbroken], ahead[unbroken] + 1.0)
    np.maximum.at(cause, place[unbroken], kept["kind"].to_numpy(dtype=np.int64)[unbroken])
    return time, cause


def _crossed(held: ForecastRows, known: pd.DataFrame, horizon: int, folds: int) -> Floats:
    """Return each customer's chances from a fit without the customers of its fold: (n, horizon)."""
    chance = np.zeros((len(known), horizon))
    fold = np.arange(BUCKETS) % folds
    mine = fold[known["bucket"].to_numpy(dtype=int)]
    for each in range(folds):
        cells = hazard_cells(held.of_buckets(fold != each), held.segments)
        hazards = cells.fit().hazards(cells)
        own = mine == each
        chance[own] = hazards.left(known[own], held.memory, horizon, begin=0)
    return chance
