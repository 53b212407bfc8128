"""Whether forecasts came true: scores, reasons, and what was learned about grades."""

from __future__ import annotations

import datetime as dt
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from rox.core.check import BiasLayer, Grade
from rox.core.forecast import Forecast
from rox.numerics.forecast_scores import CalibrationLine, Coverage, Ranks

FEWEST_OF_GROUP = 3
"""Initiatives from which a team or a grade is judged at all."""
FEWEST_OF_LINE = 8
"""Initiatives from which the slope of a line is taken for a finding."""
GENEROUS = 0.7
"""Slope below which the evidence discount of a grade lets through too much."""


@dataclass(frozen=True, kw_only=True)
class Group:
    """Scores of the initiatives of one grade, one team, or all.

    Attributes:
        name: Of the grade or team; ``all``.
        n: Initiatives with a measured value that counts.
        error: Mean signed error as a share of the forecast, pooled towards the other groups; NaN where none counts.
        low: Lower end of its 90% interval.
        high: Upper end.
        coverage: Of the 50% and the 90% intervals.
        ranks: Where the measured values lay.
        skill_nothing: Share by which the forecasts beat "no effect".
        skill_last: Share by which they beat "as the last time"; NaN where nothing was measured before.
        n_last: Initiatives that had a last time.
        line: Measured values on forecasts as published; None below 3 of one unit.
        line_of_estimates: Measured values on estimates before the discount, errors on both sides; None likewise.
        unit: The commonest unit; the lines are of the initiatives that have it.
    """

    name: str
    n: int
    error: float
    low: float
    high: float
    coverage: tuple[Coverage, ...]
    ranks: Ranks
    skill_nothing: float
    skill_last: float
    n_last: int
    line: CalibrationLine | None
    line_of_estimates: CalibrationLine | None
    unit: str

    @property
    def is_judged(self) -> bool:
        """Whether there are enough initiatives to say anything of this group."""
        return self.n >= FEWEST_OF_GROUP

    @property
    def is_too_generous(self) -> bool | None:
        """Whether the slope is so low that forecasts differ more than what comes of them; None where too few could say.

        Either the discount lets through too much, or the estimates differ by their noise more than by their effects.
        """
        if self.line is None or self.line.n < FEWEST_OF_LINE:
            return None
        return bool(self.line.coefficients[1] < GENEROUS)

    def as_record(self) -> dict[str, Any]:
        """Return plain values for a record."""
        return {
            **{name: _number(getattr(self, name)) for name in ("error", "low", "high", "skill_nothing", "skill_last")},
            **{name: getattr(self, name) for name in ("name", "n", "n_last", "unit", "is_judged", "is_too_generous")},
            "coverage": [{name: _number(value) for name, value in vars(each).items()} for each in self.coverage],
            "ranks": {"counts": list(self.ranks.counts), "p": _number(self.ranks.p)},
            "line": _line_record(self.line),
            "line_of_estimates": _line_record(self.line_of_estimates),
        }


@dataclass(frozen=True, kw_only=True, eq=False)
class Split:
    """Plan and actual up to one due month, and the steps from one to the other.

    Attributes:
        forecast: Name of the forecast.
        month: Months after the start.
        plan: Discounted net cash flow up to the month on the frozen point path.
        actual: The same as it came; where no income was booked, what the frozen lines give with everything replaced.
        steps: One row per factor and ``unexplained``: ``factor``, ``told`` (whether anything was said of it), ``step``
            (replaced in the fixed order) and ``share`` (Shapley's, which favours no order). Both columns add up to
            actual less plan.
        is_booked: Whether income was booked; without it nothing can be left unexplained.
        remarks: What was left as planned although something was said of it, as keys of the catalogue.
        currency: ISO code.
    """

    forecast: str
    month: int
    plan: float
    actual: float
    steps: pd.DataFrame
    is_booked: bool
    remarks: tuple[str, ...]
    currency: str

    def as_record(self) -> dict[str, Any]:
        """Return plain values for a record."""
        named = ("forecast", "month", "plan", "actual", "is_booked", "currency")
        return {
            **{name: getattr(self, name) for name in named},
            "steps": self.steps.to_dict(orient="records"),
            "remarks": list(self.remarks),
        }


@dataclass(frozen=True, kw_only=True)
class Learned:
    """What was learned of the evidence discount of one grade.

    Attributes:
        grade: The grade.
        pairs: Pairs of estimate and measured value it was learned from.
        shipped: The discount before.
        found: The discount after them alone, before the grades are put in order.
        layer: The discount to be used.
        mean_sd: Standard deviation of the posterior of the mean.
    """

    grade: Grade
    pairs: int
    shipped: BiasLayer
    found: BiasLayer
    layer: BiasLayer
    mean_sd: float

    def as_record(self) -> dict[str, Any]:
        """Return plain values for a record."""
        return {
            "grade": str(self.grade),
            "pairs": self.pairs,
            "mean_sd": self.mean_sd,
            **{name: [getattr(self, name).mean, getattr(self, name).sd] for name in ("shipped", "found", "layer")},
        }


@dataclass(frozen=True, kw_only=True)
class Unscored:
    """A measured value that is no score, and why: a key of the catalogue, and what it says it of."""

    forecast: str
    month: int
    segment: str
    reason: str
    detail: str = ""


@dataclass(frozen=True, kw_only=True)
class Open:
    """A due month of a forecast for which nothing was measured, and whose it is."""

    forecast: str
    month: int
    due_on: dt.date
    team: str
    owner: str


@dataclass(frozen=True, kw_only=True, eq=False)
class Backtest:
    """Frozen forecasts held against what happened.

    Attributes:
        forecasts: In the order in which they were frozen.
        table: One row per measured value with its scores.
        everyone: All initiatives together.
        grades: By grade.
        teams: By team.
        splits: Plan against actual, by forecast and due month.
        learned: What the pairs say of the evidence discounts.
        unscored: Measured values that are no score.
        open: Due months for which nothing was measured.
        overdue: Teams that have due months and never measured anything.
        on: The day up to which months are due; None where no day is known.
        again: Whether values were estimated again on newer tables.
    """

    forecasts: tuple[Forecast, ...]
    table: pd.DataFrame
    everyone: Group
    grades: tuple[Group, ...]
    teams: tuple[Group, ...]
    splits: tuple[Split, ...]
    learned: Mapping[Grade, Learned]
    unscored: tuple[Unscored, ...]
    open: tuple[Open, ...]
    overdue: tuple[str, ...] = ()
    on: dt.date | None = None
    again: bool = False

    def as_record(self) -> dict[str, Any]:
        """Return plain values for a record; missing numbers are None."""
        return {
            "forecasts": [
                {
                    "name": each.name,
                    "seal": each.seal,
                    "frozen": each.frozen.isoformat(),
                    "team": each.team,
                    "owner": each.owner,
                    "grade": str(each.grade),
                    "due": list(each.due),
                }
                for each in self.forecasts
            ],
            "scores": json.loads(self.table.to_json(orient="records", double_precision=15)),
            "all": self.everyone.as_record(),
            "grades": [each.as_record() for each in self.grades],
            "teams": [each.as_record() for each in self.teams],
            "splits": [each.as_record() for each in self.splits],
            "layers": [each.as_record() for each in self.learned.values()],
            "unscored": [vars(each) for each in self.unscored],
            "open": [{**vars(each), "due_on": each.due_on.isoformat()} for each in self.open],
            "overdue": list(self.overdue),
            "on": None if self.on is None else self.on.isoformat(),
            "again": self.again,
        }


def _number(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _line_record(line: CalibrationLine | None) -> dict[str, Any] | None:
    if line is None:
        return None
    return {
        "intercept": [float(each[0]) for each in (line.coefficients, line.low, line.high)],
        "slope": [float(each[1]) for each in (line.coefficients, line.low, line.high)],
        "scatter": line.scatter,
        "n": line.n,
    }
