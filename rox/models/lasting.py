"""What models of a lasting change share: segments pooled as shares of money, customers kept, money per point."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rox.core.case import EVERYONE
from rox.core.census import Census
from rox.core.check import Check, Verdict
from rox.core.effect import Effect
from rox.core.errors import DataError, FitError
from rox.core.linked import Linked
from rox.models.answer_table import AnswerTable
from rox.models.churn_hazard import ChurnHazard
from rox.models.population import Population
from rox.models.shift import category_shifts, unit_table
from rox.numerics.pooling import Pooled, pool

Floats = NDArray[np.float64]

PRIOR_MEAN, PRIOR_SD, PRIOR_BETWEEN = (0.03, 0.0), (0.05, 0.015), 0.02
"""Of the share of money per point: level and slope on log money, and the spread between segments."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Kept:
    """Share of money that customers who leave by choice do not take away by the horizon. g = segments.

    Attributes:
        stay: Shape (g,): as things are.
        with_point: Shape (draw, g): with one more point.
        checks: What was counted, or why nothing was.
    """

    stay: Floats
    with_point: Floats
    checks: tuple[Check, ...]

    def money(self, pooled: Pooled, base: Floats) -> Floats:
        """Draw the change of money per customer of each segment, shape (draw, g), leavers counting zero.

        Args:
            pooled: Draws of the growth of money of those who stay, in logs.
            base: Shape (g,): money per customer.
        """
        return np.asarray(base * (self.with_point * np.exp(pooled.draws) - self.stay))

    def alone(self, weight: Floats) -> Floats:
        """Draw what the customers kept are worth without any growth, shape (draw,); weights (g,) are money."""
        return np.asarray((self.with_point - self.stay) @ weight)


def pooled_shares(estimate: Floats, covariance: Floats, base: Floats, size: int, rng: np.random.Generator) -> Pooled:
    """Pool the segments' shares of money per point around a line in log money (Gelman et al. 2013, section 5.4).

    Args:
        estimate: Shape (g,).
        covariance: Shape (g, g).
        base: Shape (g,): money per customer.
        size: Number of draws.
        rng: Source of randomness.
    """
    level = np.log(np.maximum(base, 1.0))
    design = np.column_stack([np.ones(len(base)), level - np.average(level, weights=base)])
    columns = design if len(base) > 2 else design[:, :1]
    p = columns.shape[1]
    return pool(
        estimate,
        covariance,
        x=columns,
        gamma_mean=PRIOR_MEAN[:p],
        gamma_covariance=np.diag(np.square(PRIOR_SD[:p])),
        tau_scale=PRIOR_BETWEEN,
        n=size,
        rng=rng,
    )


def money_kept_from_leaving(
    data: Linked, people: Census, groups: Sequence[str], *, horizon: int, size: int, rng: np.random.Generator
) -> Kept:
    """Draw the share of money kept from leaving without and with one more point (ROX-A15; ROX-A14 says why not).

    Leavers hold less than others, so their money and not their number is counted.

    Args:
        data: The linked panel.
        people: The panel in numbers.
        groups: Segments.
        horizon: Months.
        size: Number of draws.
        rng: Source of randomness.
    """
    table = people.segments.reindex(list(groups))
    hazard = (table["money_left"].fillna(0.0) / table["money_months"]).clip(lower=0.0).to_numpy(dtype=float)
    stay = np.exp(-horizon * hazard)
    why = "score.kept.none"
    if (hazard > 0).any():
        try:
            beta = _leaving(data, size, rng).draws[:, 0]
        except FitError as cause:
            why = cause.headline
        else:
            values = {"estimate": float(beta.mean()), "se": float(beta.std(ddof=1))}
            said = Check(code="ROX-A15", verdict=Verdict.NOTE, values=values)
            return Kept(stay=stay, with_point=np.exp(-horizon * hazard * np.exp(beta[:, None])), checks=(said,))
    note = Check(code="ROX-A14", verdict=Verdict.NOTE, values={"why": why})
    return Kept(stay=stay, with_point=np.tile(stay, (size, 1)), checks=(note,))


def per_score_and_nps_point(
    data: Linked, answers: AnswerTable, people: Population, draws: Floats, rng: np.random.Generator
) -> tuple[Floats | None, pd.DataFrame]:
    """Measure NPS points per score point, and put both units side by side.

    Args:
        data: For the kind of the score.
        answers: The answers of the segments used.
        people: The company's customers.
        draws: Shape (draw, g): effect per score point by segment.
        rng: Source of randomness.

    Returns:
        Draws of the rate over all segments, shape (draw,), if it can be measured; and the table.
    """
    measured = category_shifts(data, answers, people.groups)
    shifts = {name: each.draws(len(draws), rng) for name, each in measured.items()}
    by_group = {EVERYONE: draws @ people.shares} | dict(zip(people.groups, draws.T, strict=True))
    return shifts.get(EVERYONE), unit_table(by_group, shifts)


def _leaving(data: Linked, size: int, rng: np.random.Generator) -> Effect:
    """Fit the model of leaving by months since opening, or by calendar where openings are not known well enough."""
    try:
        return ChurnHazard(draws=size).fit(data, rng=rng)
    except DataError:
        return ChurnHazard(clock="calendar", draws=size).fit(data, rng=rng)
