"""Who will still be here: retention forecast from hazards, as things are and had experience been another."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rox.core.case import EVERYONE
from rox.core.check import Check, Verdict, check_table
from rox.core.errors import FitError
from rox.core.linked import Linked, Step, month_label, trail_table
from rox.core.words import Language
from rox.models.forecast_judged import Performance, judged
from rox.models.forecast_rows import (
    BUCKETS,
    EDGES,
    Fitted,
    ForecastRows,
    HazardCells,
    Hazards,
    bands_of,
    forecast_rows,
    hazard_cells,
)
from rox.numerics.grouped_hazard import GroupedHazard
from rox.numerics.jackknife import jackknife
from rox.numerics.retained import Retained, retained

Floats = NDArray[np.float64]

FURTHEST = 60
OLDEST = EDGES[-1]
"""Months since opening from which the level of the hazard no longer changes."""
GRID = 0.25
"""Score points within which customers of a segment and age share a pattern."""


@dataclass(frozen=True, kw_only=True)
class RetentionForecast:
    """Forecast who stays, from the hazard of leaving among customers whose answers are known.

    Estimand: by segment, the share of today's customers with a recent answer who will have left by own choice, or for
    any reason, by each month to come, at the hazards of the past. Assumes that these go on, and that the hazard is
    proportional in the experience read from the answers. A scenario moves that reading and asks what the model then
    predicts; it is not evidence that a change would do so, whatever the forecast is worth as one.

    Proportional hazards of grouped time (complementary log-log; Prentice & Gloeckler 1978) with levels by band of
    tenure and segment, one ratio per point of the reading, which fades from month to month as the answers' passing
    part does; exits for other reasons compete. It is judged on customers left out of the fit (by buckets), and refused
    where it predicts no better than knowing nothing about a customer.

    Attributes:
        horizon: Months over which it is judged.
        reading: ``calibrated``, or ``carried``: the latest answer as it stands. Where too few customers answered more
            than once to measure the noise, ``calibrated`` falls back to ``carried`` and says so.
        folds: Parts of the customers that are predicted from the others.
        draws: Number of draws of the coefficients.
    """

    horizon: int = 12
    reading: Literal["calibrated", "carried"] = "calibrated"
    folds: int = 8
    draws: int = 400

    def fit(self, data: Linked, *, rng: int | np.random.Generator | None = None) -> Forecast:
        """Fit the hazards and judge them.

        Raises:
            FitError: Choices that do not fit, or too few customers or exits to fit or to judge.
            DataError: A panel that has no times at risk.
        """
        self._require()
        generator = np.random.default_rng(rng)
        held = forecast_rows(data, self.reading, generator)
        cells = hazard_cells(held, held.segments)
        whole = cells.fit()
        hazards, drawn = whole.hazards(cells), _drawn(cells, whole, self.draws, generator)
        performance = judged(held, horizon=self.horizon, folds=self.folds)
        last = int(held.rows["month"].max())
        now = held.rows[(held.rows["month"] == last) & (held.rows["kind"] == 0)]
        checks = (
            *data.checks,
            *performance.checks,
            Check(code="ROX-S40", verdict=Verdict.NOTE),
            Check(code="ROX-S43", verdict=Verdict.NOTE, values={"look_back": data.look_back}),
            _read(held),
        )
        customers = held.rows["customer"].nunique()
        step = Step(name="at_risk", rows=len(held.rows), lost=0, customers=customers, reason="score.step.at_risk")
        return Forecast(
            segments=held.segments,
            month=month_label(last),
            performance=performance,
            hazards=hazards,
            drawn=drawn,
            memory=held.memory,
            people=now.drop(columns=["kind", "bucket", "month"]).reset_index(drop=True),
            min_cell=data.study.about.min_cell,
            checks=checks,
            trail=(*data.trail, step),
            fingerprint=data.fingerprint,
            specification=repr(self),
        )

    def _require(self) -> None:
        faults = []
        if not 1 <= self.horizon <= FURTHEST:
            faults.append(f"horizon is {self.horizon}; needed: 1 to {FURTHEST} months")
        if self.reading not in ("calibrated", "carried"):
            faults.append(f"reading is {self.reading!r}; needed: calibrated or carried")
        if not 2 <= self.folds <= BUCKETS:
            faults.append(f"folds is {self.folds}; needed: 2 to {BUCKETS}")
        if self.draws < 100:
            faults.append(f"draws is {self.draws}; at least 100 are needed")
        if faults:
            raise FitError("These choices make no forecast.", faults)


@dataclass(frozen=True, kw_only=True, eq=False)
class Drawn:
    """Draws of the hazards: n = draws, s = segments, b = bands of age."""

    log_ratio: Floats
    """(n,)."""
    own: Floats
    """(n, s, b)."""
    other: Floats
    """(n, s, b)."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Forecast:
    """A fitted forecast of today's customers with a recent answer.

    Attributes:
        segments: Names, sorted.
        month: The last month of the panel, at the end of which the forecast begins.
        performance: How good it is for customers left out of the fit.
        hazards: Point estimates.
        drawn: Draws of them; their spread is the error of the coefficients alone.
        memory: Share of the passing part of experience left a month later.
        people: ``customer``, ``segment``, ``weight``, ``age``, ``lasting``, ``passing``, the controls, as of ``month``.
        min_cell: Smallest number of customers that may be shown.
        checks: What was looked at; ROX-S41 stops the forecast where it has no skill.
        trail: From the company's rows to the rows used.
        fingerprint: Of the linked data.
        specification: The question as asked.
    """

    segments: tuple[str, ...]
    month: str
    performance: Performance
    hazards: Hazards
    drawn: Drawn
    memory: float
    people: pd.DataFrame
    min_cell: int
    checks: tuple[Check, ...]
    trail: tuple[Step, ...]
    fingerprint: str
    specification: str

    def check_table(self, language: Language = "en") -> pd.DataFrame:
        """List the checks for a reader."""
        return check_table(self.checks, language)

    def trail_table(self, language: Language = "en") -> pd.DataFrame:
        """List the steps for a reader."""
        return trail_table(self.trail, language)

    def curve(
        self,
        segment: str = EVERYONE,
        *,
        shift: float = 0.0,
        start: int = 1,
        ramp: int = 0,
        months: int = 24,
        level: float = 0.9,
    ) -> pd.DataFrame:
        """Predict retention and incidence of own choice, as things are and with the reading of experience moved.

        Args:
            segment: One of them, or ``all``: weighted by the company's customers.
            shift: Score points by which every customer's experience differs in the scenario.
            start: Month to come from which on it does, counted from 1.
            ramp: Months over which it grows linearly to the whole shift; 0 for at once.
            months: How far to predict.
            level: Of the intervals, which hold the error of the coefficients and no more.

        Returns:
            Indexed by ``month`` from 0: ``kept`` and ``left`` (by own choice) with ``_low`` and ``_high``; with a shift
            also ``kept_shifted``, ``left_shifted`` and ``gained`` (kept more), with theirs.

        Raises:
            FitError: The forecast has no skill (ROX-S41), or choices that do not fit.
        """
        self._require(segment, shift, start, ramp, months, level)
        path = shift * shift_path(start, ramp, months)
        plain = self._retained(segment, np.zeros(months))
        moved = self._retained(segment, path) if path.any() else plain
        share = plain.customers / plain.customers.sum()
        found = {"kept": share @ plain.kept_with, "left": share @ plain.left_with}
        if path.any():
            found |= {"kept_shifted": share @ moved.kept_with, "left_shifted": share @ moved.left_with}
            found["gained"] = found["kept_shifted"] - found["kept"]
        columns = {}
        for name, draws in found.items():
            begin = 1.0 if name.startswith("kept") else 0.0
            tail = (1 - level) / 2
            low, high = np.quantile(draws[1:], [tail, 1 - tail], axis=0)
            for label, values in (("", draws[0]), ("_low", low), ("_high", high)):
                columns[name + label] = np.append(begin, values)
        return pd.DataFrame(columns, index=pd.RangeIndex(months + 1, name="month"))

    def risks(self, months: int = 12) -> pd.DataFrame:
        """Predict for each of today's customers the chance to leave by own choice within some months.

        Raises:
            FitError: The forecast has no skill (ROX-S41), or months out of range.
        """
        self._require(EVERYONE, 0.0, 1, 0, months, 0.9)
        chance = self.hazards.left(self.people, self.memory, months, begin=1)
        return self.people[["customer", "segment"]].assign(left=chance[:, -1])

    def _retained(self, segment: str, shift: Floats) -> Retained:
        """Follow the patterns of customers; the first draw holds the point estimates."""
        whose = self.people if segment == EVERYONE else self.people[self.people["segment"] == segment]
        patterns = _patterns(whose)
        labels = np.sort(patterns["segment"].unique())
        rows = pd.Index(self.segments).get_indexer(pd.Index(labels))
        months = shift.size
        ratio = np.append(self.hazards.log_ratio, self.drawn.log_ratio)
        own = np.concatenate([self.hazards.own[None], self.drawn.own])[:, rows]
        other = np.concatenate([self.hazards.other[None], self.drawn.other])[:, rows]
        ages = np.append(np.arange(OLDEST + months + 2), np.full(months + 2, -1))
        age = patterns["age"].to_numpy()
        passing = patterns["passing"].to_numpy()[:, None] * self.memory ** np.arange(1, months + 1)
        reading = patterns["lasting"].to_numpy()[:, None] + passing - self.hazards.centre
        return retained(
            ratio,
            own[:, :, bands_of(ages)],
            reading + shift,
            hazard_other=other[:, :, bands_of(ages)],
            segment=patterns["segment"].to_numpy(),
            customers=patterns["weight"].to_numpy(),
            age=np.where(age < 0, OLDEST + months + 2, np.minimum(age, OLDEST)) + 1.0,
        )

    def _require(self, segment: str, shift: float, start: int, ramp: int, months: int, level: float) -> None:
        (stop,) = [check for check in self.checks if check.code == "ROX-S41"]
        refused = stop.verdict is Verdict.STOP
        faults = [stop.sentence()] if refused else []
        if segment not in (*self.segments, EVERYONE):
            faults.append(f"segment is {segment!r}; needed: {', '.join((*self.segments, EVERYONE))}")
        elif segment != EVERYONE and int((self.people["segment"] == segment).sum()) < self.min_cell:
            faults.append(f"{segment} has fewer than {self.min_cell} customers with a recent answer")
        if not 1 <= months <= FURTHEST:
            faults.append(f"months is {months}; needed: 1 to {FURTHEST}")
        if start < 1 or ramp < 0 or not np.isfinite(shift):
            faults.append(f"the scenario is shift={shift}, start={start}, ramp={ramp}; needed: finite, from 1, from 0")
        if not 0 < level < 1:
            faults.append(f"level is {level}; needed: between 0 and 1")
        if faults:
            raise FitError("ROX-S41: nothing is predicted." if refused else "Nothing is predicted.", faults)


def shift_path(start: int, ramp: int, months: int) -> Floats:
    """Return the share of a shift that is there in each month to come, shape (months,).

    Example:
        >>> shift_path(2, 2, 5).tolist()
        [0.0, 0.5, 1.0, 1.0, 1.0]
    """
    since = np.arange(1, months + 1) - start + 1.0
    return np.clip(since / max(ramp, 1), 0.0, 1.0) if ramp else (since >= 1).astype(float)


def _patterns(people: pd.DataFrame) -> pd.DataFrame:
    """Join customers who are alike: by segment, month of age, and both parts within ``GRID``; each by their means."""
    keys = {
        "segment": people["segment"],
        "age": people["age"].clip(upper=OLDEST),
        "lasting_bin": np.floor(people["lasting"] / GRID),
        "passing_bin": np.floor(people["passing"] / GRID),
    }
    weight = people["weight"].astype(float)
    held = pd.DataFrame(keys).assign(
        weight=weight, lasting=people["lasting"] * weight, passing=people["passing"] * weight
    )
    found = held.groupby(list(keys), as_index=False)[["weight", "lasting", "passing"]].sum()
    return found.assign(lasting=found["lasting"] / found["weight"], passing=found["passing"] / found["weight"])


def _drawn(cells: HazardCells, whole: Fitted, draws: int, rng: np.random.Generator) -> Drawn:
    """Draw the coefficients of both hazards around the fit, with the jackknife's covariance by bucket."""
    copies = []
    for bucket in range(BUCKETS):
        keep = np.arange(BUCKETS) != bucket
        copies.append(_vector(cells.fit(keep, like=whole)))
    found = jackknife(_vector(whole), np.stack(copies))
    gap = found.replicates - found.replicates.mean(0)
    noise = np.sqrt((BUCKETS - 1) / BUCKETS) * rng.standard_normal((draws, BUCKETS)) @ gap
    hazards = [_unvector(whole, found.estimate + each).hazards(cells) for each in noise]
    return Drawn(
        log_ratio=np.array([each.log_ratio for each in hazards]),
        own=np.stack([each.own for each in hazards]),
        other=np.stack([each.other for each in hazards]),
    )


def _vector(fit: Fitted) -> Floats:
    """Lay the numbers of a fit out in a row, hazards as logarithms."""
    parts = [fit.own.coefficient, np.log(fit.own.hazard)]
    if fit.other is not None:
        parts += [fit.other.coefficient, np.log(fit.other.hazard)]
    return np.concatenate([*parts, [fit.flat]])


def _unvector(fit: Fitted, values: Floats) -> Fitted:
    """Put numbers in the place of those of a fit."""
    own, rest = _with(fit.own, values)
    other = None
    if fit.other is not None:
        other, rest = _with(fit.other, rest)
    return replace(fit, own=own, other=other, flat=max(float(rest[0]), 0.0))


def _with(fit: GroupedHazard, values: Floats) -> tuple[GroupedHazard, Floats]:
    size, bands = fit.coefficient.size, fit.hazard.size
    hazard = np.exp(values[size : size + bands])
    return replace(fit, coefficient=values[:size], hazard=hazard), values[size + bands :]


def _read(held: ForecastRows) -> Check:
    """Say how the answers were read."""
    if held.calibrated and held.noise is not None:
        lasting, passing, memory, error = held.noise.parts[0]
        total = lasting + passing + error
        shares = {"lasting": lasting, "passing": passing, "noise": error}
        values = {name: 100 * float(part / total) for name, part in shares.items()}
        return Check(code="ROX-S44", verdict=Verdict.NOTE, values={**values, "memory": float(memory), "age": held.old})
    return Check(code="ROX-S45", verdict=Verdict.NOTE, values={"age": held.old})
