"""Does a customer's money follow the customer's own score? Fixed effects of customers and of months."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from rox.core.case import EVERYONE
from rox.core.check import Check, Grade, Verdict
from rox.core.derived import Maker
from rox.core.effect import Effect
from rox.core.errors import FitError
from rox.core.estimand import Question
from rox.core.linked import Linked, Step
from rox.models.answer_columns import MONEY, SCORE, Scales
from rox.models.answer_products import Products, Regressed, common_slope, products
from rox.models.answer_table import AnswerTable, answer_table
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
from rox.models.phrases import p_value
from rox.models.population import Population
from rox.models.reliability import reliability_of, usual_gap
from rox.models.score_effect import people_of, per_point, score_effect
from rox.models.shift import units_check
from rox.models.slope import Slope
from rox.models.within_products import as_deviations, moving, trends, within_products
from rox.numerics.jackknife import jackknife
from rox.numerics.joint import wald_test

PLACES = (-2, -1, 0, 1, 2)
"""Answers beside money: two answers earlier to two answers later."""
LATER = (1, 2)
PRESENT = "rox_present"
STRICT_P = 0.01
"""Later answers must not go with money this clearly."""


@dataclass(frozen=True, kw_only=True)
class PanelFE:
    """Measure how a customer's money moves with the customer's own answers.

    Estimand: change of the outcome ``age`` months after an answer per score point, within customers, common movements
    of segment and month removed, weighted over segments by the company's customers. It is the short-run response, of
    those who answered at least twice, to a movement that fades, not what a lasting change brings (``LeadLag``). It is
    attenuated: differencing removes signal and keeps the answers' noise (Griliches & Hausman 1986). Causal only under
    strict exogeneity, which the leads test.

    Per segment, weighted least squares on deviations from the customer's mean with month effects, exact on unbalanced
    panels, solved from sums of products; errors by leaving out one of 64 buckets of customers at a time.

    Attributes:
        age: Months from the answer to the outcome.
        controls: Columns to hold equal. What is known at the start and constant is absorbed by the customer effect, so
            it enters as its own time trend (control × month); a column that varies enters as it is.
        draws: Number of draws.

    Example:
        >>> from rox.testing import sample_linked
        >>> effect = PanelFE(controls=["products"]).fit(sample_linked(seed=1), rng=1)
        >>> effect.grade.is_causal
        False
    """

    age: int = 1
    controls: Sequence[str] = ()
    draws: int = 4000

    def fit(self, data: Linked, *, rng: int | np.random.Generator | None = None) -> Effect:
        """Estimate the response.

        Raises:
            DataError: A panel that cannot be used; LeakageError when a score is not older than its outcome.
            FitError: Choices that do not fit the data, or too few customers who answered twice.
        """
        generator = np.random.default_rng(rng)
        answers = answer_table(data, age=self.age, controls=self.controls, offsets=())
        several = answers.repeated()
        telling = moving(several)
        if telling.counts.empty:
            raise FitError(
                "No customer gave two different answers.", ["use ScoreGap, which compares customers with each other"]
            )
        segments = usable_segments(several, min_cell=data.study.about.min_cell, moving=telling)
        used, people = people_of(several, segments)
        regressed = regressed_within(used, self.controls)
        fits = {name: regressed.fits[name] for name in people.groups}
        point = per_point(data, used, fits, people, self.draws, generator)
        leads, leads_check = _leads(answers.of(people.groups), people, regressed, self.controls)
        checks = (
            *data.checks,
            *segments.checks,
            _who_identifies(answers, used, people),
            leads_check,
            _noise_check(answers, used, generator),
            influence_check(fits, people.shares, lambda: regressed.without_loudest(people.shares, TOP)),
            power_check(fits),
            answering_share(used),
            *units_check(point.units, data.study.currency),
        )
        return score_effect(
            "panel",
            Question.PULSE,
            data=data,
            answers=used,
            point=point,
            segments=segments,
            checks=checks,
            tables={"rivals": _rivals(answers.of(people.groups), people, regressed), "leads": leads},
            specification=repr(self),
            steps=(_repeated_step(answers, used),),
        )


def regressed_within(
    answers: AnswerTable,
    controls: Sequence[str],
    beside: Mapping[str, Maker] | None = None,
    scales: Scales | None = None,
) -> Regressed:
    """Sum what the regressions of money on the score within customers need.

    Args:
        answers: Answers of customers who gave several.
        controls: As in ``PanelFE``.
        beside: Further columns to hold equal.
        scales: Units of the columns, if known.
    """
    scales = scales or Scales.of(answers, controls)
    names = scales.adjusting(controls, tenure=False)
    given = scales.columns(controls, tenure=False)
    given |= trends(answers, given, names) | dict(beside or {})
    others = (*names, *(beside or {}))
    every = (MONEY, SCORE, *others)
    columns = as_deviations(given, every)

    def summed(some: AnswerTable) -> dict[str, Products]:
        return within_products(some, columns, every, scales)

    return Regressed(answers=answers, columns=columns, scales=scales, others=others, summed=summed, centred=True)


def _repeated_step(everyone: AnswerTable, used: AnswerTable) -> Step:
    rows, customers = used.totals()["rows"], used.totals()["customers"]
    lost = everyone.totals()["rows"] - rows
    return Step(name="repeated", rows=rows, lost=lost, customers=customers, reason="score.step.repeated")


def _rivals(everyone: AnswerTable, people: Population, regressed: Regressed) -> pd.DataFrame:
    """What others would report from the same answers, beside the headline ``within_customers``."""
    scales = Scales.of(everyone, ())
    plain = products(everyone, scales.columns((), tenure=False), (MONEY, SCORE), scales)
    one = common_slope(regressed.parts, regressed.others, what=EVERYONE)
    found = {
        "within_segments": overall({name: plain[name].slope(what=name) for name in people.groups}, people.shares),
        "one_slope_for_all": (one.value, one.se),
        "within_customers": overall({name: regressed.fits[name] for name in people.groups}, people.shares),
    }
    return rival_table(found, "within_customers")


def _who_identifies(everyone: AnswerTable, used: AnswerTable, people: Population) -> Check:
    """Count those who answered twice and say how they differ from those who answered once (ROX-A03)."""
    customers = used.totals()["customers"]
    columns = ["rows", "money", "score_sum"]
    theirs = used.counts.reindex(list(people.groups))[columns]
    once = (everyone.counts.reindex(list(people.groups))[columns] - theirs).query("rows > 0.5")
    if once.empty:
        return Check(code="ROX-A03", verdict=Verdict.PASS, values={"customers": customers})
    weight = np.array([people.shares[people.groups.index(str(name))] for name in once.index])

    def means(sums: pd.DataFrame) -> NDArray[np.float64]:
        each = sums[["money", "score_sum"]].to_numpy(dtype=float) / sums[["rows"]].to_numpy(dtype=float)
        return np.asarray(weight @ each / weight.sum())

    (money, score), (other_money, other_score) = means(theirs.loc[once.index]), means(once)
    values = {
        "customers": customers,
        "share": 100 * customers / everyone.totals()["customers"],
        "money": float(money / other_money) if other_money else 1.0,
        "score": float(score - other_score),
    }
    return Check(code="ROX-A03", verdict=Verdict.NOTE, values=values)


def _leads(
    answers: AnswerTable, people: Population, main: Regressed, controls: Sequence[str]
) -> tuple[pd.DataFrame, Check]:
    """Set earlier and later answers of a customer beside the money of this one; the later ones test exogeneity.

    Each other answer enters together with the present one, since deviations from a customer's mean are correlated
    (Wooldridge 2010, section 10.7.1). Under strict exogeneity answers not yet given have no coefficient (ROX-A08).
    """
    found: dict[int, dict[str, Slope]] = {}
    for place in PLACES:
        regressed = main if place == 0 else _beside(_shifted(answers, place).repeated(), main, controls)
        found[place] = {
            name: each.slope(regressed.others, what=name)
            for name, each in regressed.parts.items()
            if _can_carry(each, regressed.others)
        }
    table = pd.DataFrame([_profile_row(place, by_segment, people) for place, by_segment in found.items()])
    return table.set_index("answer"), _exogeneity(found)


def _beside(answers: AnswerTable, main: Regressed, controls: Sequence[str]) -> Regressed:
    """Set another answer and the present one beside the money together."""
    present: dict[str, Maker] = {PRESENT: lambda t: t.rox_now.cast("float64")}
    return regressed_within(answers, controls, present, main.scales)


def _shifted(answers: AnswerTable, place: int) -> AnswerTable:
    """Put the customer's answer some places later, below 0 for before, into the score's place."""
    panel = answers.linked.panel
    other = panel.score.lead(place) if place > 0 else panel.score.lag(-place)
    panel = panel.mutate(rox_now=panel.score, score=other.over(group_by="customer", order_by="place"))
    return replace(answers, linked=replace(answers.linked, panel=panel.filter(panel.score.notnull())))


def _can_carry(part: Products, others: Sequence[str]) -> bool:
    free = part.rows - part.customers - len(part.effects)
    (score,) = part.at([SCORE])
    inside = part.equations.inside
    left = inside.rest([score], part.at(others))[:, 0, 0]
    return free > 20 and part.customers >= 30 and bool((left > 1e-9 * inside.spread[score]).all())


def _profile_row(place: int, by_segment: Mapping[str, Slope], people: Population) -> dict[str, float]:
    kept = [name for name in people.groups if name in by_segment]
    share = np.array([people.shares[people.groups.index(name)] for name in kept])
    complete = len(kept) == len(people.groups)
    value, se = overall({name: by_segment[name] for name in kept}, share) if complete else (np.nan, np.nan)
    reach = stats.norm.ppf(0.95) * se
    return {
        "answer": place,
        "estimate": value,
        "se": se,
        "low": value - reach,
        "high": value + reach,
        "customers": sum(fit.customers for fit in by_segment.values()),
    }


def _exogeneity(found: Mapping[int, Mapping[str, Slope]]) -> Check:
    statistic, df = 0.0, 0
    for name in sorted(set.intersection(*(set(found[place]) for place in LATER))):
        slopes = [found[place][name] for place in LATER]
        buckets = sorted({bucket for each in slopes for bucket in each.buckets})
        replicates = np.column_stack([each.over(buckets) for each in slopes])
        estimate = [each.value for each in slopes]
        test = wald_test(estimate, jackknife(estimate, replicates).covariance)
        statistic, df = statistic + test.statistic, df + test.df
    if df == 0:
        return Check(code="ROX-A10", verdict=Verdict.NOTE)
    p = float(stats.chi2.sf(statistic, df))
    return demoted_to(Grade.D, "ROX-A08", p < STRICT_P, {"p": p_value(p)})


def _noise_check(everyone: AnswerTable, used: AnswerTable, rng: np.random.Generator) -> Check:
    """Say how much of a customer's movement is noise (ROX-E04), or that this cannot be said (ROX-E05)."""
    measured = reliability_of(everyone, rng)
    if measured is None:
        pairs = used.totals()["rows"] - used.totals()["customers"]
        return Check(code="ROX-E05", verdict=Verdict.NOTE, values={"pairs": pairs})
    signal = measured.moved(usual_gap(used))
    values = {"signal": 100 * signal.value, "low": 100 * signal.low, "high": 100 * signal.high}
    return Check(code="ROX-E04", verdict=Verdict.NOTE, values=values)
