"""How much more do happier customers hold? A level regression within segments, which describes and never explains."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from rox.core.case import EVERYONE
from rox.core.check import Check, Grade, Verdict
from rox.core.derived import Maker
from rox.core.effect import Effect
from rox.core.errors import FitError
from rox.core.estimand import Question
from rox.core.linked import Linked
from rox.core.views import money_column
from rox.models.answer_columns import MONEY, SCORE, Scales
from rox.models.answer_products import Products, Regressed, products, together
from rox.models.answer_table import AnswerTable, answer_table
from rox.models.answers import PAST, outcome_unit
from rox.models.evidence import (
    TOP,
    answering_share,
    demoted_to,
    influence_check,
    overall,
    power_check,
    rival_table,
    usable_segments,
)
from rox.models.measurement import without_noise
from rox.models.phrases import p_value
from rox.models.population import Population
from rox.models.score_effect import people_of, per_point, score_effect
from rox.models.shift import shift_by_month, units_check

POOLED_RATIO = 1.5
"""Pooled over within: from here on most of the pooled number is who the customers are."""
PLACEBO_RATIO, PLACEBO_P = 0.25, 0.01
"""The growth before the answer may be at most this share of the main estimate, and not this clearly there."""
GROWTH, RATE = "rox_growth", "rox_rate"


@dataclass(frozen=True, kw_only=True)
class ScoreGap:
    """Measure by how much money differs between customers whose scores differ by one point.

    Estimand: difference in mean outcome per score point among respondents of the same segment and month with equal
    controls, weighted over segments by the company's customers. It says "hold more", never "raising the score adds":
    wealth, growth and experience come together in it, and reading it as an effect overstates several times.

    Weighted least squares over the answers of each segment with month effects (and unit effects if asked), controls
    known at the start and the square root of tenure where opening is known, solved from sums of products; errors by
    leaving out one of 64 buckets of customers at a time.

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
        answers = self._capped(data, answer_table(data, age=self.age, controls=controls))
        segments = usable_segments(answers, min_cell=data.study.about.min_cell)
        answers, people = people_of(answers, segments)
        regressed = _regressed(answers, controls, units=self.unit_effects)
        generator = np.random.default_rng(rng)
        point = per_point(data, answers, regressed.fits, people, self.draws, generator)
        clean, noise_check = without_noise(
            regressed,
            people,
            units=self.unit_effects,
            noise_sd=self.noise_sd,
            rng=generator,
            currency=outcome_unit(data)[1],
        )
        rivals = _rivals(regressed, people, clean, units=self.unit_effects)
        checks = (
            *data.checks,
            *segments.checks,
            _pooled_check(rivals),
            _past_check(regressed, people, units=self.unit_effects),
            noise_check,
            influence_check(regressed.fits, people.shares, lambda: regressed.without_loudest(people.shares, TOP)),
            power_check(regressed.fits),
            answering_share(answers),
            *units_check(point.units, data.study.currency),
        )
        return score_effect(
            "gap",
            Question.GAP,
            data=data,
            answers=answers,
            point=point,
            segments=segments,
            checks=checks,
            tables={"rivals": rivals, "units_by_month": shift_by_month(data, answers)},
            specification=repr(self),
            capped=bool(self.caps),
        )

    def _capped(self, data: Linked, answers: AnswerTable) -> AnswerTable:
        if not self.caps:
            return answers
        known = sorted(str(name) for name in answers.counts.index)
        faults = [
            f"caps: there is no segment {name!r}; they are {', '.join(known)}" for name in {*self.caps} - {*known}
        ]
        faults += [
            f"caps: {name} is {cap}; a positive amount is needed" for name, cap in self.caps.items() if not cap > 0
        ]
        if faults:
            raise FitError("These choices do not fit the linked data.", sorted(faults))
        return answers.capped(self.caps, data.census(caps=self.caps))


def _regressed(answers: AnswerTable, controls: Sequence[str], *, units: bool) -> Regressed:
    """Sum what the regressions of money on the score in every segment and month need."""
    scales = Scales.of(answers, controls)
    columns = scales.columns(controls, tenure=True)
    others = scales.adjusting(controls, tenure=True)

    def summed(some: AnswerTable) -> dict[str, Products]:
        return products(some, columns, (MONEY, SCORE, *others), scales, units=units)

    return Regressed(answers=answers, columns=columns, scales=scales, others=others, summed=summed)


def _rivals(
    regressed: Regressed, people: Population, clean: Mapping[str, tuple[float, float]], *, units: bool
) -> pd.DataFrame:
    """What others would report from the same answers, beside the headline ``adjusted``."""
    plain = regressed.parts
    if units:
        plain = products(regressed.answers, regressed.columns, (MONEY, SCORE), regressed.scales)
    pooled = together(plain).slope(what=EVERYONE)
    found = {
        "pooled": (pooled.value, pooled.se),
        "within_segments": overall({name: each.slope(what=name) for name, each in plain.items()}, people.shares),
        "adjusted": overall(regressed.fits, people.shares),
    }
    if not units and _units_are_many_times_answered(regressed):
        names = (MONEY, SCORE, *regressed.others)
        parts = products(regressed.answers, regressed.columns, names, regressed.scales, units=True)
        found["within_units"] = overall(
            {name: each.slope(regressed.others, what=name) for name, each in parts.items()}, people.shares
        )
    found |= clean
    return rival_table(found, "adjusted")


def _units_are_many_times_answered(regressed: Regressed) -> bool:
    keys: dict[str, Maker] = {"segment": "segment", "unit": lambda t: t.unit.fill_null("")}
    found = regressed.answers.cells(keys, {"missing": lambda t: t.unit.isnull()})
    if found["missing"].sum() > 0 or found["unit"].nunique() < 2:
        return False
    counts = found.groupby("segment").agg(rows=("n", "sum"), units=("unit", "nunique"))
    months = pd.Series({name: len(each.months) for name, each in regressed.parts.items()})
    return bool((counts["rows"] > 5 * (counts["units"] + months)).all())


def _pooled_check(rivals: pd.DataFrame) -> Check:
    """Compare the pooled slope with the one within segments (ROX-A02)."""
    estimates = rivals["estimate"].to_dict()
    pooled, main = float(estimates["pooled"]), float(estimates["adjusted"])
    fails = abs(pooled) > POOLED_RATIO * abs(main)
    composition = 100 * min(max(1 - main / pooled, 0.0), 1.0) if pooled else 0.0
    ratio = min(abs(pooled / main), 1e6) if main else 1e6
    return demoted_to(Grade.D, "ROX-A02", fails, {"p": composition, "ratio": ratio})


def _past_check(regressed: Regressed, people: Population, *, units: bool) -> Check:
    """Regress the growth before the answer on the answer: the present cannot cause the past (ROX-A05).

    The ratio to the main estimate is in money; the p-value is of growth relative to the mean of both months, which no
    wealthy customer dominates, combined over segments by precision.
    """
    unknown = Check(code="ROX-A09", verdict=Verdict.NOTE, values={"months": PAST[-1]})
    known = regressed.answers.past(0)
    if known is None:
        return unknown
    answers, months = known
    parts = _with_past(regressed, answers, months, units=units)
    usable = [name for name in people.groups if name in parts and _can_carry(parts[name])]
    fits, others = regressed.fits, regressed.others
    money = {name: parts[name].slope(others, outcome=GROWTH, what=name) for name in usable}
    rate = {name: parts[name].slope(others, outcome=RATE, what=name) for name in usable}
    share = np.array([people.shares[people.groups.index(name)] for name in usable])
    main = sum(part * fits[name].value for part, name in zip(share, usable, strict=True))
    placebo = sum(part * parts[name].unit * money[name].value for part, name in zip(share, usable, strict=True))
    precision = np.array([fit.se**-2 if fit.se > 0 else 0.0 for fit in rate.values()])
    if not precision.sum() > 0:
        return unknown
    growth = float(precision @ [fit.value for fit in rate.values()] / precision.sum())
    p = float(2 * stats.norm.sf(abs(growth) * np.sqrt(precision.sum())))
    ratio = abs(placebo / main) if main else float("inf")
    values = {"months": months, "growth": 100 * growth, "p": p_value(p), "ratio": min(100 * ratio, 1e6)}
    return demoted_to(Grade.D, "ROX-A05", ratio > PLACEBO_RATIO or p < PLACEBO_P, values)


def _with_past(regressed: Regressed, answers: AnswerTable, months: int, *, units: bool) -> dict[str, Products]:
    """Sum growth over some months before the answer, and its rate, of those whose past is known."""
    before, now = money_column(-months), money_column(0)

    def rate(table: Any) -> Any:
        middle = (table[now].abs() + table[before].abs()) / 2.0
        return (table[now] - table[before]) / (middle > 0).ifelse(middle, 1.0)

    columns = {**regressed.columns, GROWTH: lambda t: (t[now] - t[before]) / t.rox_unit, RATE: rate}
    names = (GROWTH, RATE, SCORE, *regressed.others)
    return products(answers, columns, names, regressed.scales, units=units)


def _can_carry(part: Products) -> bool:
    spread = part.equations.inside.rest(part.at([SCORE]), [])[0, 0, 0]
    return part.rows > 3 * len(part.months) + 20 and bool(
        spread > 1e-9 * part.equations.inside.spread[part.at([SCORE])[0]]
    )
