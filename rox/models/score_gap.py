"""How much more do happier customers hold? A level regression within segments, which describes and never explains."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from rox.core.check import Check, Grade, Verdict
from rox.core.effect import Effect
from rox.core.errors import FitError
from rox.core.estimand import Question
from rox.core.linked import Linked
from rox.core.views import money_column
from rox.models.answers import PAST, USUAL, Answers, answer_rows, control_columns, outcome_unit, root_tenure
from rox.models.evidence import (
    answering_share,
    demoted_to,
    influence_check,
    overall,
    power_check,
    rest,
    rival_table,
    usable_segments,
)
from rox.models.measurement import without_noise
from rox.models.phrases import p_value
from rox.models.population import Population
from rox.models.score_effect import people_of, per_point, score_effect
from rox.models.shift import shift_by_month, units_check
from rox.models.slope import Slope, indicators, slope

POOLED_RATIO = 1.5
"""Pooled over within: from here on most of the pooled number is who the customers are."""
PLACEBO_RATIO, PLACEBO_P = 0.25, 0.01
"""The growth before the answer may be at most this share of the main estimate, and not this clearly there."""


@dataclass(frozen=True, kw_only=True)
class ScoreGap:
    """Measure by how much money differs between customers whose scores differ by one point.

    Estimand: difference in mean outcome per score point among respondents of the same segment and month with equal
    controls, weighted over segments by the company's customers. It says "hold more", never "raising the score adds":
    wealth, growth and experience come together in it, and reading it as an effect overstates several times.

    One row per answer; weighted least squares per segment with month effects (and unit effects if asked), controls
    known at the start and the square root of tenure where opening is known; errors CR1 by customer.

    Attributes:
        age: Months from the answer to the outcome.
        controls: Columns to hold equal; default those the study names.
        unit_effects: Whether to compare within units only.
        caps: By segment, the amount above which money counts as that amount, declared beforehand and not read off the
            same data. The estimate is then one of capped money, which no number of customers turns into a total.
        noise_sd: Standard deviation of an answer's passing noise in points, from a retest
            (``rox.numerics.simex.retest_sd``); None measures it from repeated answers. It is used for the readings
            without noise that stand beside the headline, which is as answered.
        draws: Number of draws.

    Example:
        >>> from rox.testing import sample_linked
        >>> effect = ScoreGap().fit(sample_linked(seed=1), rng=1)
        >>> str(effect.estimand)
        'aum [money_per_customer CNY] per score_point, gap, 1 months'
    """

    age: int = 1
    controls: Sequence[str] | None = None
    unit_effects: bool = False
    caps: Mapping[str, float] | None = None
    noise_sd: float | None = None
    draws: int = 4000

    def fit(self, data: Linked, *, rng: int | np.random.Generator | None = None) -> Effect:
        """Estimate the gap.

        Raises:
            DataError: A panel that cannot be used; LeakageError when a score is not older than its outcome.
            FitError: Choices that do not fit the data, or no segment that can be estimated.
        """
        controls = tuple(data.controls if self.controls is None else self.controls)
        answers = self._capped(data, answer_rows(data, age=self.age, controls=controls))
        segments = usable_segments(answers.rows, min_cell=data.study.about.min_cell)
        rows, people = people_of(answers, segments)
        design = _Design(controls=controls, unit_effects=self.unit_effects)
        fits = design.by_segment(rows, people.groups)
        generator = np.random.default_rng(rng)
        point = per_point(data, rows, fits, people, self.draws, generator)
        clean, noise_check = without_noise(
            rows,
            fits,
            people,
            design.adjust,
            noise_sd=self.noise_sd,
            rng=generator,
            currency=outcome_unit(data)[1],
        )
        rivals = _rivals(rows, people, fits, design, clean)
        checks = (
            *data.checks,
            *segments.checks,
            _pooled_check(rivals),
            _past_check(answers, people, fits, design),
            noise_check,
            influence_check(fits, people.shares, lambda name, out: design.segment(rest(rows, name, out))),
            power_check(fits),
            answering_share(answers.people, rows),
            *units_check(point.units, data.study.currency),
        )
        return score_effect(
            "gap",
            Question.GAP,
            data=data,
            answers=answers,
            rows=rows,
            point=point,
            segments=segments,
            checks=checks,
            tables={"rivals": rivals, "units_by_month": shift_by_month(data, rows)},
            specification=repr(self),
            capped=bool(self.caps),
        )

    def _capped(self, data: Linked, answers: Answers) -> Answers:
        if not self.caps:
            return answers
        known = sorted(answers.rows["segment"].astype(str).unique())
        faults = [
            f"caps: there is no segment {name!r}; they are {', '.join(known)}" for name in {*self.caps} - {*known}
        ]
        faults += [
            f"caps: {name} is {cap}; a positive amount is needed" for name, cap in self.caps.items() if not cap > 0
        ]
        if faults:
            raise FitError("These choices do not fit the linked data.", sorted(faults))
        cap = answers.rows["segment"].map(self.caps).astype(float).fillna(np.inf)
        money = ["outcome", *map(money_column, USUAL)]
        capped = {name: answers.rows[name].clip(upper=cap) for name in money}
        return replace(answers, rows=answers.rows.assign(**capped), people=data.census(caps=self.caps))


@dataclass(frozen=True, kw_only=True)
class _Design:
    """What a segment's regression holds equal."""

    controls: Sequence[str]
    unit_effects: bool = False
    tenure: bool = True

    def by_segment(self, rows: pd.DataFrame, groups: Sequence[str], outcome: str = "outcome") -> dict[str, Slope]:
        return {name: self.segment(rows[rows["segment"] == name], outcome) for name in groups}

    def adjust(self, rows: pd.DataFrame) -> NDArray[np.float64]:
        adjust = [control_columns(rows, self.controls).to_numpy(dtype=float)]
        if self.tenure and (tenure := root_tenure(rows)) is not None:
            adjust.append(tenure.to_numpy()[:, None])
        if self.unit_effects:
            adjust.append(indicators(rows["unit"].astype(str))[:, 1:])
        return np.hstack(adjust)

    def segment(self, rows: pd.DataFrame, outcome: str = "outcome") -> Slope:
        return slope(
            rows[outcome],
            rows["score"],
            self.adjust(rows),
            absorb=rows["month"],
            customer=rows["customer"],
            weight=rows["weight"],
        )


def _rivals(
    rows: pd.DataFrame,
    people: Population,
    fits: Mapping[str, Slope],
    design: _Design,
    clean: Mapping[str, tuple[float, float]],
) -> pd.DataFrame:
    """What others would report from the same answers, beside the headline ``adjusted``."""
    pooled = slope(
        rows["outcome"],
        rows["score"],
        np.empty((len(rows), 0)),
        absorb=rows["customer"] * 0,
        customer=rows["customer"],
        weight=rows["weight"],
    )
    plain = _Design(controls=(), tenure=False).by_segment(rows, people.groups)
    found = {
        "pooled": (pooled.value, pooled.se),
        "within_segments": overall(plain, people.shares),
        "adjusted": overall(fits, people.shares),
    }
    if not design.unit_effects and _units_are_many_times_answered(rows):
        units = _Design(controls=design.controls, unit_effects=True).by_segment(rows, people.groups)
        found["within_units"] = overall(units, people.shares)
    found |= clean
    return rival_table(found, "adjusted")


def _units_are_many_times_answered(rows: pd.DataFrame) -> bool:
    if rows["unit"].isna().any() or rows["unit"].nunique() < 2:
        return False
    counts = rows.groupby("segment").agg(rows=("score", "size"), units=("unit", "nunique"), months=("month", "nunique"))
    return bool((counts["rows"] > 5 * (counts["units"] + counts["months"])).all())


def _pooled_check(rivals: pd.DataFrame) -> Check:
    """Compare the pooled slope with the one within segments (ROX-A02)."""
    estimates = rivals["estimate"].to_dict()
    pooled, main = float(estimates["pooled"]), float(estimates["adjusted"])
    fails = abs(pooled) > POOLED_RATIO * abs(main)
    composition = 100 * min(max(1 - main / pooled, 0.0), 1.0) if pooled else 0.0
    ratio = min(abs(pooled / main), 1e6) if main else 1e6
    return demoted_to(Grade.D, "ROX-A02", fails, {"p": composition, "ratio": ratio})


def _past_check(answers: Answers, people: Population, fits: Mapping[str, Slope], design: _Design) -> Check:
    """Regress the growth before the answer on the answer: the present cannot cause the past (ROX-A05).

    The ratio to the main estimate is in money; the p-value is of growth relative to the mean of both months, which no
    wealthy customer dominates, combined over segments by precision.
    """
    rows, months = _with_past(answers)
    usable = [name for name in people.groups if _can_carry(rows[rows["segment"] == name])]
    if not months or not usable:
        return Check(code="ROX-A09", verdict=Verdict.NOTE, values={"months": PAST[-1]})
    money = design.by_segment(rows, usable, "growth")
    rate = design.by_segment(rows, usable, "rate")
    share = np.array([people.shares[people.groups.index(name)] for name in usable])
    main = sum(part * fits[name].value for part, name in zip(share, usable, strict=True))
    placebo = sum(part * money[name].value for part, name in zip(share, usable, strict=True))
    precision = np.array([fit.se**-2 if fit.se > 0 else 0.0 for fit in rate.values()])
    if not precision.sum() > 0:
        return Check(code="ROX-A09", verdict=Verdict.NOTE, values={"months": PAST[-1]})
    growth = float(precision @ [fit.value for fit in rate.values()] / precision.sum())
    p = float(2 * stats.norm.sf(abs(growth) * np.sqrt(precision.sum())))
    ratio = abs(placebo / main) if main else float("inf")
    values = {"months": months, "growth": 100 * growth, "p": p_value(p), "ratio": min(100 * ratio, 1e6)}
    return demoted_to(Grade.D, "ROX-A05", ratio > PLACEBO_RATIO or p < PLACEBO_P, values)


def _with_past(answers: Answers) -> tuple[pd.DataFrame, int]:
    """Add money growth and its rate over the longest past that half of the answers have; 0 months if none has."""
    now = answers.outcome_at(0)
    for months in PAST:
        before = answers.outcome_at(-months)
        known = now.notna() & before.notna()
        if known.mean() >= 0.5:
            middle = (now.abs() + before.abs()) / 2
            growth = now - before
            rows = answers.rows.assign(growth=growth, rate=(growth / middle.where(middle > 0, 1.0)))
            return rows[known], months
    return answers.rows.iloc[:0], 0


def _can_carry(rows: pd.DataFrame) -> bool:
    return len(rows) > 3 * rows["month"].nunique() + 20 and rows["score"].nunique() > 1
