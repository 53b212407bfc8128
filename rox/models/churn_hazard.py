"""Do customers with a lower score leave sooner? A monthly hazard from counts of exits and months at risk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from rox.core.census import Census
from rox.core.check import Check, Grade, Verdict, grade_after
from rox.core.effect import Effect
from rox.core.errors import FitError
from rox.core.linked import Linked, Step
from rox.core.score_parts import ScoreParts
from rox.core.units import Unit
from rox.core.views import Clock
from rox.models.answer_table import answer_table
from rox.models.answering_style import WithoutStyle, without_style
from rox.models.answers import outcome_unit
from rox.models.churn_cox import estimand_of
from rox.models.evidence import FEWEST_CUSTOMERS, rival_table
from rox.models.hazard_cells import AtRisk, at_risk_cells, episodes_beside, people_of, usable_census
from rox.models.hazard_cells import segment_of as segment
from rox.models.hazard_fit import SHARES, HazardFit, changed_after, fit_cells, parts_given, with_noise
from rox.models.phrases import amount
from rox.models.population import Population, shown
from rox.models.readings import can_calibrate
from rox.models.reliability import Reliability, reliability_of

Floats = NDArray[np.float64]

FEWEST_EXITS = 10
EXITS_PER_COEFFICIENT = 20
CHANGE, CLEAR = 0.3, 1.96
"""The effect changes over time when it differs by this share, and by so many standard errors."""
SE_RATIO = 1.25
STYLE_RATIO, STYLE_Z = 0.6, 1.645
"""A lasting part that counts for less than this share of the passing one, clearly so, is a habit of answering."""
HORIZON = 12


@dataclass(frozen=True, kw_only=True)
class ChurnHazard:
    """Measure how the hazard of leaving by own choice goes with the score known before, from cells.

    Estimand: cause-specific log hazard ratio of voluntary exit per score point among customers at risk whose score was
    answered in an earlier month, one ratio for all segments: that of ``ChurnCox``. Assumes proportional hazards and,
    given segment, time and controls, that entry and other exits tell nothing about leaving; a causal reading needs no
    unmeasured confounding.

    One scan of the engine reduces the months at risk to counts of exits and months by segment, interval, bins of the
    reading and of the controls, and bucket of customers; only answers are ever fetched. The complementary log-log
    binomial of the counts is the proportional hazards model of months (Prentice & Gloeckler 1978). Errors by leaving
    out one bucket at a time, to which the uncertainty of the calibration is added.

    Readings are calibrated as in ``ChurnCox`` (Prentice 1982). A lasting habit of answering high or low is part of the
    answers and of no experience, and calibration cannot see it; ``style="shrunk"`` makes it a parameter: only a share
    of the lasting part of a reading counts as experience, with a prior (80% on average) that the exits update. Where
    nobody has such habits it overstates.

    Attributes:
        clock: ``tenure`` (months since opening in bands, with delayed entry) or ``calendar`` (by month, with the
            opening month as a covariate where it is known).
        reading: ``calibrated``, or ``carried``: the latest answer as it stands. Where too few customers answered more
            than once to measure the noise, ``calibrated`` falls back to ``carried`` and says so.
        style: ``shrunk`` takes habits of answering out, ``ignored`` leaves them in.
        controls: Columns to hold equal; default those the study names.
        bins: Width of the bins of a reading, score points.
        draws: Number of draws.

    Example:
        >>> from rox.testing import sample_linked
        >>> effect = ChurnHazard().fit(sample_linked(seed=1), rng=1)
        >>> str(effect.estimand)
        'voluntary_exit [log_hazard] per score_point, hazard, 12 months'
    """

    clock: Clock = "tenure"
    reading: Literal["calibrated", "carried"] = "calibrated"
    style: Literal["shrunk", "ignored"] = "shrunk"
    controls: Sequence[str] | None = None
    bins: float = 0.2
    draws: int = 4000

    def fit(self, data: Linked, *, rng: int | np.random.Generator | None = None) -> Effect:
        """Estimate the ratio.

        Raises:
            DataError: A panel that cannot be used; LeakageError when a score was not known before the month it is to
                explain (ROX-S01, ROX-S02).
            FitError: Choices that do not fit the data, too few exits, or a likelihood without a maximum.
        """
        generator = np.random.default_rng(rng)
        controls = tuple(data.controls if self.controls is None else self.controls)
        _require_choices(data, controls, self.bins)
        census = usable_census(data)
        segments = _by_segment(data, self.clock, controls)
        _require_exits(segments, data)
        age = float(segments["age"].sum() / segments["months"].sum())
        noise = reliability_of(answer_table(data, age=data.lag, offsets=()), generator)
        carried_cells = self._cells(data, controls, None)
        carried = fit_cells(carried_cells)
        main, cells = carried, carried_cells
        is_read = self.reading == "calibrated" and noise is not None and can_calibrate(noise, age)
        if is_read and noise is not None:
            cells = self._cells(data, controls, parts_given(noise))
            main = with_noise(
                fit_cells(cells), noise, lambda parts: fit_cells(self._cells(data, controls, parts), errors=False)
            )
        habits = None
        if is_read and noise is not None and self.style == "shrunk" and main.apart is not None:
            known = (main.by_share, main.by_share_variance, main.by_share_likelihood)
            habits = without_style(SHARES, *known, draws=self.draws, rng=generator)
        drawn = _draws(main, self.draws, generator) if habits is None else habits.draws
        people = people_of(census, sorted(segments.index))
        checks = (
            *data.checks,
            Check(code="ROX-S01", verdict=Verdict.PASS, values=_sizes(segments, ["months"], look_back=data.look_back)),
            Check(code="ROX-S02", verdict=Verdict.PASS, values=_sizes(segments, ["customers"])),
            _steady(cells, main),
            _enough_exits(main),
            _errors_agree(main),
            *_read(main, noise, age, is_read=is_read, without_habits=habits is not None),
            *_style(habits, main),
            *_leavers_hold(census, segments, data),
            *cells.cells.checks,
        )
        return Effect(
            name="churn_hazard",
            estimand=estimand_of(data, people),
            groups=people.groups,
            draws=np.repeat(drawn[:, None], len(people.groups), axis=1),
            shares=people.shares,
            baseline=people.baseline,
            grade=grade_after(Grade.D, checks),
            checks=checks,
            specification=repr(self),
            trail=(*data.trail, *_steps(census, segments, cells)),
            fingerprint=data.fingerprint,
            counts=_counts(segments, cells, main),
            tables={
                "coefficients": _coefficients(main),
                "rivals": _rivals(main, carried, cells, habits, is_read=is_read),
                "segments": _shown(segments, people, data.study.about.min_cell),
                "baseline": _baseline(cells, main),
            },
        )

    def _cells(self, data: Linked, controls: Sequence[str], parts: ScoreParts | None) -> AtRisk:
        return at_risk_cells(data, clock=self.clock, parts=parts, controls=controls, bins=self.bins)


def _require_choices(data: Linked, controls: Sequence[str], bins: float) -> None:
    faults = []
    if unknown := [name for name in controls if name not in data.controls]:
        faults.append(f"controls {unknown} are not linked; linked are {list(data.controls)}")
    if not bins > 0:
        faults.append(f"bins is {bins}; needed: a width above 0 score points")
    if not data.score:
        faults.append("no score is linked; give rox.link a score that customers answered")
    if "exits" not in data.study.tables:
        faults.append("the study names no table of exits; add [tables.exits] with customer, date and reason")
    if faults:
        raise FitError("These choices do not fit the linked data.", faults)


def _by_segment(data: Linked, clock: Clock, controls: Sequence[str]) -> pd.DataFrame:
    """Count customers and months at risk, exits by own choice and others, and the ages of the scores, by segment."""
    rows = episodes_beside(data, clock, None)
    cells = rows.cells(
        by={"segment": segment},
        sums={
            "exits": "event",
            "other": lambda table: (table.cause == "other").cast("int64"),
            "age": "score_age",
        },
        known=tuple(controls),
    ).values()
    table = cells.groupby("segment")[["customers", "n", "exits", "other", "age"]].sum()
    return table.rename(columns={"n": "months"})


def _require_exits(segments: pd.DataFrame, data: Linked) -> None:
    exits, customers = int(segments["exits"].sum()), int(segments["customers"].sum())
    faults = []
    if exits < FEWEST_EXITS:
        faults.append(
            f"{exits} customers with a known score left by their own choice; at least {FEWEST_EXITS} are needed: wait, "
            "lengthen the look-back, or check which reasons count as voluntary"
        )
    if customers < FEWEST_CUSTOMERS:
        faults.append(f"{customers} customers have a known score; at least {FEWEST_CUSTOMERS} are needed")
    if faults:
        raise FitError("Leaving cannot be modelled from these data.", faults)


def _draws(main: HazardFit, size: int, rng: np.random.Generator) -> Floats:
    """Draw the score's coefficient, shape (size,): Student's t with the buckets' or the exits' degrees of freedom."""
    noise = rng.standard_t(max(min(main.df, main.events - 1), 1), size)
    return np.asarray(main.coefficient[0] + main.se[0] * noise)


def _sizes(segments: pd.DataFrame, names: Sequence[str], **more: int) -> dict[str, int]:
    said = {"months": "rows"}
    return {said.get(name, name): int(segments[name].sum()) for name in names} | more


def _steady(cells: AtRisk, main: HazardFit) -> Check:
    """Compare the ratio before and after about the median exit; judged by size (ROX-S04)."""
    times, place = np.unique(cells.starts, return_inverse=True)
    exits = np.bincount(place, weights=cells.values["exits"].to_numpy(dtype=float))
    before = np.concatenate([[0.0], exits.cumsum()[:-1]])
    least = np.minimum(before, exits.sum() - before)
    cut = float(times[least.argmax()])
    if least.max() < FEWEST_EXITS:
        return Check(code="ROX-S10", verdict=Verdict.NOTE, values={"exits": int(exits.sum())})
    (early, change), (_, se) = changed_after(cells, cut)
    values = {"early": float(early), "late": float(early + change), "cut": cut}
    if abs(change) > CHANGE * abs(main.coefficient[0]) and abs(change) > CLEAR * se:
        return Check(code="ROX-S04", verdict=Verdict.NOTE, values=values)
    return Check(code="ROX-S04", verdict=Verdict.PASS, values=values | {"difference": float(change), "se": float(se)})


def _enough_exits(main: HazardFit) -> Check:
    enough = main.events >= EXITS_PER_COEFFICIENT * len(main.names)
    values = {"events": main.events, "parameters": len(main.names)}
    return Check(code="ROX-S06", verdict=Verdict.PASS if enough else Verdict.NOTE, values=values)


def _errors_agree(main: HazardFit) -> Check:
    ratio = float(main.se[0] / main.fit.se[0])
    agree = 1 / SE_RATIO <= ratio <= SE_RATIO
    return Check(code="ROX-S09", verdict=Verdict.PASS if agree else Verdict.NOTE, values={"ratio": ratio})


def _read(
    main: HazardFit, noise: Reliability | None, age: float, *, is_read: bool, without_habits: bool
) -> tuple[Check, ...]:
    """Say how the answers were read, and whether a habit of answering shows (ROX-S07, S08, S11, S23, E03)."""
    if noise is None:
        return (Check(code="ROX-S08", verdict=Verdict.NOTE, values={"age": age}),)
    if not is_read:
        signal = noise.carried(age)
        shares = {"signal": 100 * signal.value, "low": 100 * signal.low, "high": 100 * signal.high}
        return (Check(code="ROX-S07", verdict=Verdict.NOTE, values={"age": age} | shares),)
    lasting, passing, memory, error = map(float, noise.parts[0])
    total = lasting + passing + error
    values = {"lasting": 100 * lasting / total, "passing": 100 * passing / total, "noise": 100 * error / total}
    code = "ROX-S23" if without_habits else "ROX-S11"
    read = Check(code=code, verdict=Verdict.NOTE, values=values | {"memory": memory, "age": age})
    if main.apart is None:
        return (read,)
    first, last = (float(each) for each in main.apart)
    apart = np.array([1.0, -1.0])
    between = float(apart @ main.apart_covariance @ apart)
    habit = abs(first) < STYLE_RATIO * abs(last) and abs(first - last) > STYLE_Z * np.sqrt(between)
    parts = {"lasting": first, "passing": last}
    return (read, Check(code="ROX-E03", verdict=Verdict.NOTE if habit else Verdict.PASS, values=parts))


def _style(habits: WithoutStyle | None, main: HazardFit) -> tuple[Check, ...]:
    """Say what taking habits of answering out did to the estimate (ROX-S20)."""
    if habits is None:
        return ()
    values = {
        "prior": 100 * habits.prior_habit,
        "habit": 100 * habits.habit,
        "without": float(habits.draws.mean()),
        "with_habits": float(main.coefficient[0]),
    }
    return (Check(code="ROX-S20", verdict=Verdict.NOTE, values=values),)


def _leavers_hold(census: Census, segments: pd.DataFrame, data: Linked) -> tuple[Check, ...]:
    """Say what leavers held, since money saved is theirs and not the average customer's (ROX-S05)."""
    unit, currency = outcome_unit(data)
    total = census.segments[["customers", "money", "exits", "money_left"]].sum()
    if unit is Unit.COUNT or segments["exits"].sum() < data.study.about.min_cell or not total["exits"] > 0:
        return ()
    leavers, book = total["money_left"] / total["exits"], total["money"] / total["customers"]
    values = {"leavers": amount(float(leavers), currency), "book": amount(float(book), currency)}
    return (Check(code="ROX-S05", verdict=Verdict.NOTE, values=values),)


def _steps(census: Census, segments: pd.DataFrame, cells: AtRisk) -> tuple[Step, ...]:
    customers, months = int(segments["customers"].sum()), int(segments["months"].sum())
    return (
        Step(name="at_risk", rows=months, lost=census.rows - months, customers=customers, reason="score.step.at_risk"),
        Step(name="cells", rows=len(cells.cells), lost=0, customers=customers, reason="hazard.step.cells"),
    )


def _counts(segments: pd.DataFrame, cells: AtRisk, main: HazardFit) -> dict[str, int]:
    customers = int(segments["customers"].sum())
    return {
        "rows": int(segments["months"].sum()),
        "cells": len(cells.cells),
        "customers": customers,
        "clusters": customers,
        "exits": main.events,
    }


def _coefficients(main: HazardFit) -> pd.DataFrame:
    reach = stats.t.ppf(0.95, main.df) * main.se
    return pd.DataFrame(
        {
            "estimate": main.coefficient,
            "se": main.se,
            "se_model": main.fit.se,
            "low": main.coefficient - reach,
            "high": main.coefficient + reach,
            "hazard_ratio": np.exp(main.coefficient),
        },
        index=pd.Index(main.names, name="covariate"),
    )


def _rivals(
    main: HazardFit, carried: HazardFit, cells: AtRisk, habits: WithoutStyle | None, *, is_read: bool
) -> pd.DataFrame:
    """What others would report beside the headline."""
    found: dict[str, tuple[float, float]] = {}
    if habits is not None:
        found["without_habits"] = (float(habits.draws.mean()), float(habits.draws.std(ddof=1)))
    if is_read:
        found["calibrated"] = (float(main.coefficient[0]), float(main.se[0]))
    found["carried"] = (float(carried.coefficient[0]), float(carried.se[0]))
    plain = fit_cells(cells, apart=False, controls=False)
    found["without_controls"] = (float(plain.coefficient[0]), float(plain.se[0]))
    if main.apart is not None:
        errors = np.sqrt(np.diag(main.apart_covariance))
        found["lasting_part"] = (float(main.apart[0]), float(errors[0]))
        found["passing_part"] = (float(main.apart[1]), float(errors[1]))
    table = rival_table(found, next(iter(found)))
    return table.assign(hazard_ratio=np.exp(table["estimate"]))


def _shown(segments: pd.DataFrame, people: Population, min_cell: int) -> pd.DataFrame:
    """Lay out the counts by segment; those of fewer than ``min_cell`` customers are blank."""
    table = segments[["customers", "months", "exits", "other"]].reindex(list(people.groups)).astype(float)
    table = table.rename_axis("group").assign(exit_hazard=table["exits"] / table["months"])
    few = table["exits"].between(1, min_cell - 1)
    table.loc[few, ["exits", "exit_hazard"]] = np.nan
    table.loc[table["other"].between(1, min_cell - 1), "other"] = np.nan
    table = shown(table, table["customers"], min_cell)
    return table.assign(suppressed=table["suppressed"] | few)


def _baseline(cells: AtRisk, main: HazardFit) -> pd.DataFrame:
    """List the hazard per month of each segment and band at readings of 0 around the mean and average controls."""
    places = cells.values.assign(level=cells.level, start=cells.starts).drop_duplicates("level").sort_values("level")
    table = pd.DataFrame(
        {"start": places["start"].to_numpy(), "hazard": main.fit.hazard, "exits": main.fit.events},
        index=pd.Index(places["segment"].astype(str), name="group"),
    )
    return table
