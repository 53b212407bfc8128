"""Does a customer's money follow the customer's own score? Fixed effects of customers and of months."""

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
from rox.core.linked import Linked, Step
from rox.models.answers import Answers, answer_rows, control_columns
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
from rox.models.phrases import p_value
from rox.models.population import Population
from rox.models.reliability import answer_reliability, usual_gap
from rox.models.score_effect import people_of, per_point, score_effect
from rox.models.shift import units_check
from rox.models.slope import Slope, indicators, slope
from rox.numerics.joint import wald_test

PLACES = (-2, -1, 0, 1, 2)
"""Answers beside money: two answers earlier to two answers later."""
LATER = (1, 2)
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

    One row per answer; per segment, weighted least squares on deviations from the customer's mean with month effects,
    exact on unbalanced panels; errors CR1 by customer.

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
        answers = answer_rows(data, age=self.age, controls=self.controls, offsets=())
        several = repeated(answers.rows)
        if several["score"].groupby(several["customer"]).nunique().le(1).all():
            raise FitError(
                "No customer gave two different answers.", ["use ScoreGap, which compares customers with each other"]
            )
        moves = several.groupby("customer")["score"].transform("nunique") > 1
        segments = usable_segments(several[moves], min_cell=data.study.about.min_cell)
        rows, people = people_of(replace(answers, rows=several), segments)
        fits = {name: within_slope(rows[rows["segment"] == name], self.controls) for name in people.groups}
        point = per_point(data, rows, fits, people, self.draws, generator)
        leads, leads_check = _leads(answers, people, self.controls)
        checks = (
            *data.checks,
            *segments.checks,
            _who_identifies(answers.rows, rows, people),
            leads_check,
            _noise_check(answers.rows, rows, generator),
            influence_check(fits, people.shares, lambda name, out: within_slope(rest(rows, name, out), self.controls)),
            power_check(fits),
            answering_share(answers.people, rows),
            *units_check(point.units, data.study.currency),
        )
        return score_effect(
            "panel",
            Question.PULSE,
            data=data,
            answers=answers,
            rows=rows,
            point=point,
            segments=segments,
            checks=checks,
            tables={"rivals": _rivals(answers.rows, rows, people, fits, self.controls), "leads": leads},
            specification=repr(self),
            steps=(_repeated_step(answers.rows, rows),),
        )


def within_slope(rows: pd.DataFrame, controls: Sequence[str] = (), outcome: str = "outcome") -> Slope:
    """Regress the outcome on the score with effects of customers and of months (by segment, if rows hold several).

    Args:
        rows: ``customer``, ``segment``, ``month``, ``score``, ``weight``, the outcome and the controls.
        controls: As in ``PanelFE``.
        outcome: The outcome's column.

    Raises:
        FitError: No customer's score moves once months are taken out.
    """
    columns = control_columns(rows, controls)
    years = ((rows["month"] - rows["month"].mean()) / 12).to_numpy()[:, None]
    varies = (columns.groupby(rows["customer"]).transform("nunique") > 1).any().to_numpy(dtype=bool)
    trends = np.where(varies, columns.to_numpy(dtype=float), columns.to_numpy(dtype=float) * years)
    return slope(
        rows[outcome],
        rows["score"],
        np.hstack([trends, month_effects(rows)]),
        absorb=rows["customer"],
        customer=rows["customer"],
        weight=rows["weight"],
    )


def month_effects(rows: pd.DataFrame) -> NDArray[np.float64]:
    """Return indicators of segment and month, without each segment's first month, shape (n, k)."""
    parts = rows["segment"].astype(str) + " " + rows["month"].astype(str).str.zfill(6)
    first = parts.groupby(rows["segment"]).min().to_numpy()
    labels = np.sort(parts.unique())
    return indicators(parts)[:, ~np.isin(labels, first)]


def repeated(rows: pd.DataFrame) -> pd.DataFrame:
    """Keep the answers of customers who gave more than one."""
    return rows[rows.groupby("customer")["score"].transform("size") > 1]


def _repeated_step(everyone: pd.DataFrame, rows: pd.DataFrame) -> Step:
    lost, customers = len(everyone) - len(rows), rows["customer"].nunique()
    return Step(name="repeated", rows=len(rows), lost=lost, customers=customers, reason="score.step.repeated")


def _rivals(
    everyone: pd.DataFrame, rows: pd.DataFrame, people: Population, fits: Mapping[str, Slope], controls: Sequence[str]
) -> pd.DataFrame:
    """What others would report from the same answers, beside the headline ``within_customers``."""
    between = {
        str(name): slope(
            part["outcome"],
            part["score"],
            np.empty((len(part), 0)),
            absorb=part["month"],
            customer=part["customer"],
            weight=part["weight"],
        )
        for name, part in everyone.groupby("segment", sort=True)
        if name in people.groups
    }
    one = within_slope(rows, controls)
    found = {
        "within_segments": overall(between, people.shares),
        "one_slope_for_all": (one.value, one.se),
        "within_customers": overall(fits, people.shares),
    }
    return rival_table(found, "within_customers")


def _who_identifies(everyone: pd.DataFrame, rows: pd.DataFrame, people: Population) -> Check:
    """Count those who answered twice and say how they differ from those who answered once (ROX-A03)."""
    customers = rows["customer"].nunique()
    once = everyone[~everyone["customer"].isin(rows["customer"]) & everyone["segment"].isin(people.groups)]
    if once.empty:
        return Check(code="ROX-A03", verdict=Verdict.PASS, values={"customers": customers})
    names = ["outcome", "score"]
    other_means = once.groupby("segment")[names].mean()
    weight = np.array([people.shares[people.groups.index(str(name))] for name in other_means.index])
    others = dict(zip(names, weight @ other_means.to_numpy() / weight.sum(), strict=True))
    own_means = rows.groupby("segment")[names].mean().loc[other_means.index]
    theirs = dict(zip(names, weight @ own_means.to_numpy() / weight.sum(), strict=True))
    values = {
        "customers": customers,
        "share": 100 * customers / everyone["customer"].nunique(),
        "money": float(theirs["outcome"] / others["outcome"]) if others["outcome"] else 1.0,
        "score": float(theirs["score"] - others["score"]),
    }
    return Check(code="ROX-A03", verdict=Verdict.NOTE, values=values)


def _leads(answers: Answers, people: Population, controls: Sequence[str]) -> tuple[pd.DataFrame, Check]:
    """Set earlier and later answers of a customer beside the money of this one; the later ones test exogeneity.

    Each other answer enters together with the present one, since deviations from a customer's mean are correlated
    (Wooldridge 2010, section 10.7.1). Under strict exogeneity answers not yet given have no coefficient (ROX-A08).
    """
    rows = answers.rows[answers.rows["segment"].isin(people.groups)].sort_values(["customer", "month"])
    found: dict[int, dict[str, Slope]] = {}
    for place in PLACES:
        other = rows.assign(present=rows["score"], score=rows.groupby("customer")["score"].shift(-place))
        other = repeated(other[other["score"].notna()])
        parts = {str(name): part for name, part in other.groupby("segment", sort=True) if _can_carry(part)}
        beside = ("present",) if place else ()
        found[place] = {name: within_slope(part, (*controls, *beside)) for name, part in parts.items()}
    table = pd.DataFrame([_profile_row(place, by_segment, people) for place, by_segment in found.items()])
    return table.set_index("answer"), _exogeneity(found)


def _can_carry(rows: pd.DataFrame) -> bool:
    free = len(rows) - rows["customer"].nunique() - rows["month"].nunique()
    return free > 20 and rows["customer"].nunique() >= 30


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
        influence = pd.concat([fit.influence for fit in slopes], axis=1).fillna(0.0).to_numpy()
        test = wald_test([fit.value for fit in slopes], influence.T @ influence)
        statistic, df = statistic + test.statistic, df + test.df
    if df == 0:
        return Check(code="ROX-A10", verdict=Verdict.NOTE)
    p = float(stats.chi2.sf(statistic, df))
    return demoted_to(Grade.D, "ROX-A08", p < STRICT_P, {"p": p_value(p)})


def _noise_check(everyone: pd.DataFrame, rows: pd.DataFrame, rng: np.random.Generator) -> Check:
    """Say how much of a customer's movement is noise (ROX-E04), or that this cannot be said (ROX-E05)."""
    measured = answer_reliability(everyone, rng)
    if measured is None:
        pairs = len(rows) - rows["customer"].nunique()
        return Check(code="ROX-E05", verdict=Verdict.NOTE, values={"pairs": pairs})
    signal = measured.moved(usual_gap(rows))
    values = {"signal": 100 * signal.value, "low": 100 * signal.low, "high": 100 * signal.high}
    return Check(code="ROX-E04", verdict=Verdict.NOTE, values=values)
