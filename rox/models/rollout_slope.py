"""What one more score point, kept up, does to a customer's money: a roll-out as the instrument for experience."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rox.core.check import Check, Grade, Verdict, grade_after
from rox.core.effect import Effect
from rox.core.errors import FitError
from rox.core.estimand import Estimand, Question
from rox.core.linked import Linked
from rox.core.units import Dose, Unit
from rox.core.words import say
from rox.models.evidence import rival_table
from rox.models.population import Population, population
from rox.models.rollout import rollout
from rox.models.rollout_att import CONTROLS, Control, rollout_att
from rox.models.rollout_ratio import PooledRatio, pooled_ratio
from rox.models.rollout_score import READINGS, Reading, cohort_answers, score_gain
from rox.models.rollout_slope_checks import (
    Stages,
    answers_checks,
    at_once_check,
    both_units,
    chance_check,
    design_checks,
    effect_by_money,
    few_places_check,
    notes,
    places_seen,
    readings_check,
    require_money,
    require_strength,
    slope_tables,
    strength_check,
)
from rox.models.shift import units_check

Floats = NDArray[np.float64]

OWN = 10.0
"""Prior spread of slopes, in shares of money per point, that leaves segments apart."""


@dataclass(frozen=True, kw_only=True)
class RolloutSlope:
    """Measure what one more score point, kept up, does to money, from places that improved at different times.

    Estimand: change of money per customer ``horizon`` months after experience rises by one score point for good,
    leavers counting zero, weighted over segments by the company's customers; for customers whose places improved, by
    what they gained (the complier effect of Imbens & Angrist 1994). It is the effect of an initiative on money, as
    ``StaggeredUplift`` measures it before pooling, over its effect on the score during the time that this money was
    exposed to it: same places, same starts, same weights. It assumes what the effect on money assumes, and that the
    initiative moves money through experience alone. That is rarely exactly true; the total effect, whatever its path,
    is what ``StaggeredUplift`` gives. Noise of answers does not matter, since places are compared and not people.

    The score of everybody is told from customers who answered before the start and after it (``rollout_score``), since
    an improvement changes who answers. The effect on money is a share of what customers hold: segments are split into
    thirds by money, which count by what they hold, since those who hold more may react less. Segments are drawn
    together on the scale of shares of money, along a line in log money (Gelman et al. 2013, section 5.4), and shares
    are turned into the money of the company's customers in the last month.

    Where the first stage is weak, a ratio is not normal: draws come from the confidence distribution that Fieller
    (1954) and Anderson & Rubin (1949) give, so that their quantiles are the ends of intervals that hold whatever the
    strength of the first stage.

    The design is grade B, lowered by the checks.

    Attributes:
        initiative: Name; may be missing when the study has one.
        window: First and last month after the start whose money is averaged; the middle, counted with the month of the
            start, is the horizon.
        base: Months before the first start whose mean is a customer's own baseline.
        history: Months before the first start in which a customer must have been there.
        cap: Largest ratio to the own baseline that counts.
        leads: Months before the start whose effect on money must be zero.
        control: Places a start is compared with.
        only_through_experience: Whether those who ask declare that the initiative moves money through experience
            alone. No data show it, so without the declaration the grade is D at best.
        prior_between_segments: Spread of the share of money per point between segments of the same wealth.
        prior_by_money: Spread of its slope on log money.
        draws: Number of draws.
    """

    initiative: str | None = None
    window: tuple[int, int] = (5, 17)
    base: int = 3
    history: int = 12
    cap: float = 3.0
    leads: int = 6
    control: Control = "not_yet_treated"
    only_through_experience: bool = False
    prior_between_segments: float = 0.03
    prior_by_money: float = 0.05
    draws: int = 4000

    def __post_init__(self) -> None:
        positive = ("cap", "prior_between_segments", "prior_by_money")
        least = {"base": 1, "history": 1, "leads": 2, "draws": 100}
        faults = [
            f"{name} is {getattr(self, name):g}; needed: above 0" for name in positive if not getattr(self, name) > 0
        ]
        faults += [
            f"{name} is {getattr(self, name)}; needed: {low} or more"
            for name, low in least.items()
            if getattr(self, name) < low
        ]
        if not 0 <= self.window[0] <= self.window[1]:
            faults.append(f"window is {self.window}; needed: first and last month since the start, such as (5, 17)")
        if self.control not in CONTROLS:
            faults.append(f"control is {self.control!r}; needed: one of {', '.join(CONTROLS)}")
        if faults:
            raise FitError("This question cannot be asked.", faults)

    def _exclusion(self, initiative: str) -> Check:
        """Say that the one path from initiative to money is assumed (ROX-I12), and by whom (ROX-I19)."""
        if self.only_through_experience:
            return Check(code="ROX-I19", verdict=Verdict.NOTE, values={"initiative": initiative})
        return Check(code="ROX-I12", verdict=Verdict.DEMOTE, values={"initiative": initiative}, to_grade=Grade.D)

    @property
    def horizon(self) -> int:
        """Months of exposure in the middle of the window."""
        return int(np.floor(sum(self.window) / 2)) + 1

    def fit(self, data: Linked, *, rng: int | np.random.Generator | None = None) -> Effect:
        """Estimate the effect.

        Args:
            data: The panel, with scores and the starts of the initiative.
            rng: Seed or generator.

        Raises:
            DataError: A panel without places, or with values that cannot be used.
            FitError: No comparison is possible, fewer than six places on either side, too few answers, or a first stage
                too weak to divide by; each says what to do.
        """
        generator = np.random.default_rng(rng)
        require_money(data)
        cohort = rollout(data, initiative=self.initiative, base=self.base, history=self.history, cap=self.cap)
        att = rollout_att(cohort, cohort.means(cohort.ratio), window=self.window, control=self.control)
        places = places_seen(cohort, att)
        answers = cohort_answers(cohort, base=self.base)
        found = Stages(
            cohort=cohort,
            att=att,
            effect=effect_by_money(cohort, att, answers, control=self.control),
            gains={each: score_gain(cohort, att, answers, reading=each, control=self.control) for each in READINGS},
            people=population(cohort.panel, cohort.groups),
            df=sum(places) - 2,
        )
        slope = self._slope(found, found.effect.estimate, found.effect.influence)
        require_strength(slope, found)
        draws = slope.draws(self.draws, found.df, generator) * found.money
        shift, units = both_units(data, answers, found, draws, generator)
        rivals = self._rivals(found, slope, draws)
        checks = (
            *data.checks,
            *design_checks(found, self.leads),
            few_places_check(places, found.df),
            strength_check(slope, found, data.study.currency),
            self._exclusion(cohort.initiative),
            at_once_check(found, self.horizon),
            readings_check(found, data.study.currency, rivals),
            *answers_checks(found, answers, window=self.window, control=self.control),
            *notes(data, found),
            chance_check(draws @ found.people.shares, data.study.currency),
            *units_check(units, data.study.currency),
        )
        return Effect(
            name="rollout_slope",
            estimand=self._estimand(data, found.people),
            groups=cohort.groups,
            draws=draws,
            shares=found.people.shares,
            baseline=found.people.baseline,
            grade=grade_after(Grade.B, checks),
            checks=checks,
            specification=repr(self),
            trail=(*data.trail, *cohort.steps),
            fingerprint=data.fingerprint,
            counts={
                "rows": cohort.ratio.size,
                "customers": len(cohort.unit),
                "clusters": len(cohort.units),
                "treated_units": places[0],
                "fewest_compared": places[1],
                "answers": len(answers.who),
            },
            tables=slope_tables(found, slope, draws, data.study.about.min_cell) | {"rivals": rivals, "units": units},
            shift=shift,
        )

    def _slope(
        self,
        found: Stages,
        money: Floats,
        influence: Floats,
        *,
        reading: Reading = "within",
        between: float | None = None,
    ) -> PooledRatio:
        """Divide effects on the ratio of money, shape (s,), influence (u, s), by gains of score."""
        held = found.money
        return pooled_ratio(
            money,
            influence,
            found.gains[reading].estimate,
            found.gains[reading].influence,
            weights=found.people.shares * held,
            level=np.log(np.where(held > 0, held, held[held > 0].min())),
            between=between or self.prior_between_segments,
            by_level=between or self.prior_by_money,
        )

    def _rivals(self, found: Stages, slope: PooledRatio, draws: Floats) -> pd.DataFrame:
        """Put other readings and choices beside the headline, in money per point over all."""
        whole, effect = float(found.money @ found.people.shares), found.effect
        ours, money, pushed = draws @ found.people.shares, effect.estimate, effect.influence
        others = {
            "respondents": self._slope(found, money, pushed, reading="respondents"),
            "reweighted": self._slope(found, money, pushed, reading="reweighted"),
            "at_once_taken_out": self._slope(found, money - effect.early, pushed - effect.early_influence),
            "customers_alike": self._slope(found, found.att.estimate, found.att.influence),
            "segments_apart": self._slope(found, money, pushed, between=OWN),
        }
        table = {"rollout_slope": (float(ours.mean()), float(ours.std(ddof=1)))}
        for name, other in others.items():
            ratio = other.ratio(0.9, found.df)
            table[name] = (whole * ratio.value, whole * ratio.se)
        return rival_table(table, "rollout_slope")

    def _estimand(self, data: Linked, people: Population) -> Estimand:
        language = data.study.language
        return Estimand(
            question=Question.SUSTAINED,
            population=say("score.population.rollout_slope", language, month=people.month),
            treatment=say("score.treatment.rollout_slope", language),
            dose=Dose.SCORE_POINT,
            outcome=data.outcome,
            unit=Unit.MONEY_PER_CUSTOMER,
            currency=data.study.currency,
            horizon=self.horizon,
            window=self.window,
            includes_exit=True,
            channels=frozenset({"expansion", "retention"}),
        )
