"""From slopes by segment to an effect per score point: draws, both units, baseline, tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rox.core.case import EVERYONE
from rox.core.check import Check, Grade, grade_after
from rox.core.effect import Effect
from rox.core.estimand import Estimand, Question
from rox.core.linked import Linked, Step
from rox.core.units import Dose
from rox.core.words import say
from rox.models.answer_table import AnswerTable
from rox.models.answers import outcome_unit
from rox.models.evidence import Segments
from rox.models.population import Population, population_of, shown
from rox.models.shift import category_shifts, unit_table
from rox.models.slope import Slope, coefficient_table


@dataclass(frozen=True, kw_only=True, eq=False)
class PerPoint:
    """Slopes per score point, drawn and weighted.

    Attributes:
        fits: Slope by segment, in the order of the groups.
        people: The company's customers by segment.
        draws: Shape (draw, group).
        shift: Draws of NPS points per mean score point over all, shape (draw,); None if not measured.
        units: Both units side by side.
        coefficients: Slopes with what they rest on.
    """

    fits: Mapping[str, Slope]
    people: Population
    draws: NDArray[np.float64]
    shift: NDArray[np.float64] | None
    units: pd.DataFrame
    coefficients: pd.DataFrame


def per_point(
    data: Linked,
    answers: AnswerTable,
    fits: Mapping[str, Slope],
    people: Population,
    size: int,
    rng: np.random.Generator,
) -> PerPoint:
    """Draw the slopes; segments share no customer, so their sampling errors are independent.

    Args:
        data: The linked panel.
        answers: The answers used.
        fits: By segment, in the order of ``people.groups``.
        people: The company's customers.
        size: Number of draws.
        rng: Source of randomness.
    """
    draws = np.column_stack([fit.draws(size, rng) for fit in fits.values()])
    measured = category_shifts(data, answers, people.groups)
    shifts = {name: shift.draws(size, rng) for name, shift in measured.items()}
    by_group = {EVERYONE: draws @ people.shares} | dict(zip(people.groups, draws.T, strict=True))
    order = [*people.groups, *({EVERYONE} - set(people.groups))]
    return PerPoint(
        fits=fits,
        people=people,
        draws=draws,
        shift=shifts.get(EVERYONE),
        units=unit_table({name: by_group[name] for name in order}, shifts),
        coefficients=coefficient_table(fits, people.shares),
    )


def people_of(answers: AnswerTable, segments: Segments) -> tuple[AnswerTable, Population]:
    """Return the answers of the segments that can be estimated, and the company's customers in them."""
    return answers.of(segments.kept), population_of(answers.people, segments.kept)


def score_effect(
    name: str,
    question: Question,
    *,
    data: Linked,
    answers: AnswerTable,
    point: PerPoint,
    segments: Segments,
    checks: tuple[Check, ...],
    tables: Mapping[str, pd.DataFrame],
    specification: str,
    steps: tuple[Step, ...] = (),
    capped: bool = False,
) -> Effect:
    """Put an effect of grade D per score point together; rows of small groups are blanked in its tables.

    Args:
        name: Short name; its population and treatment stand in the catalogue under it.
        question: What it answers.
        data: The linked panel.
        answers: The answers used.
        point: Slopes and draws.
        segments: For the tail index of money.
        checks: Every test that ran.
        tables: Further tables.
        specification: ``repr`` of the estimator.
        steps: Steps of the trail after those of the answers.
        capped: Whether amounts above a cap count as the cap.
    """
    min_cell, language = data.study.about.min_cell, data.study.language
    unit, currency = outcome_unit(data)
    sizes = pd.Series({EVERYONE: np.inf} | {group: float(fit.customers) for group, fit in point.fits.items()})
    coefficients = point.coefficients.assign(tail_index=pd.Series(segments.tails, dtype=float))
    return Effect(
        name=name,
        estimand=Estimand(
            question=question,
            population=say(f"score.population.{name}", language, month=point.people.month),
            treatment=say(f"score.treatment.{name}", language),
            dose=Dose.SCORE_POINT,
            outcome=data.outcome,
            unit=unit,
            currency=currency,
            horizon=answers.horizon,
            aggregator="capped_mean" if capped else "mean",
            includes_exit=False,
            channels=frozenset({"expansion"}),
        ),
        groups=point.people.groups,
        draws=point.draws,
        shares=point.people.shares,
        baseline=point.people.baseline,
        grade=grade_after(Grade.D, checks),
        checks=checks,
        specification=specification,
        trail=(*data.trail, *answers.steps, *steps),
        fingerprint=data.fingerprint,
        counts=answers.totals(),
        tables={
            "coefficients": shown(coefficients, sizes, min_cell),
            "units": shown(point.units, sizes, min_cell),
            **tables,
        },
        shift=point.shift,
    )
