"""What a lasting change of experience does to money: the growth that follows an answer, and the customers kept."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rox.core.case import EVERYONE
from rox.core.check import Check, Grade, Verdict, grade_after
from rox.core.effect import Effect
from rox.core.errors import FitError
from rox.core.estimand import Estimand, Question
from rox.core.linked import Linked, Step
from rox.core.units import Dose, Unit
from rox.core.words import say
from rox.models.answer_table import AnswerTable, answer_table
from rox.models.answers import outcome_unit
from rox.models.evidence import Segments, answering_share, demoted_to, rival_table, usable_segments
from rox.models.growth import FEWEST, GrowthSums, covariances, ends_of, growth_after_answers
from rox.models.lasting import Kept, money_kept_from_leaving, per_score_and_nps_point, pooled_shares
from rox.models.phrases import amount, p_value
from rox.models.population import Population, shown
from rox.models.reliability import Reliability, reliability_of
from rox.models.score_effect import people_of
from rox.models.shift import units_check
from rox.numerics.jackknife import Jackknife, bucket_jackknife
from rox.numerics.lead_lag import LeadLag as Profile
from rox.numerics.lead_lag import fit_lead_lag, misfit_p_value
from rox.numerics.pooling import Pooled

Floats = NDArray[np.float64]

ADJUSTMENTS = np.array([0.02, 0.03, 0.04, 0.06, 0.08, 0.12])
"""Shares of the way to its level that money may move in a month."""
PASSING = 0.10
"""Least share of the spread of answers that must be passing experience."""
RESAMPLES = 24
MISFIT_P = 0.01
BEFORE_CLEAR = 2.58


@dataclass(frozen=True, kw_only=True)
class LeadLag:
    """Measure what one more score point, kept up, does to a customer's money within a year.

    Estimand: change of money per customer ``horizon`` months after experience rises by one score point for good,
    leavers counting zero, weighted over segments by the company's customers. Assumes that money moves towards a level
    set by experience, a constant share of the way each month; that experience is a lasting part and a passing one; and
    that the passing part does not follow money. What lasting experience and a customer's own growth have in common is
    allowed for; noise and habits of answering do not matter, because they do not go with later growth.

    Per segment, the covariance of an answer with the growth of each quarter after it is fitted by minimum distance
    (``rox.numerics.lead_lag``); the quarters before the answer are left out and serve as a test: where growth comes
    first, experience follows money and the result is not to be trusted. Segments are pooled on the scale of shares of
    money (Gelman et al. 2013, section 5.4). Customers kept are added from ``ChurnHazard`` with the money of leavers.
    Errors by leaving out one of 64 buckets of customers at a time.

    Attributes:
        leads: Quarters after the answer that are used.
        before: Quarters before it that are tested.
        horizon: Months after the change at which money is read.
        cap: Largest log growth of a quarter that counts; more is cut.
        draws: Number of draws.

    Example:
        >>> from rox.testing import sample_linked
        >>> effect = LeadLag().fit(sample_linked(seed=1), rng=1)
        >>> effect.estimand.question.value, effect.grade.is_causal
        ('sustained', False)
    """

    leads: int = 7
    before: int = 3
    horizon: int = 12
    cap: float = 1.0
    draws: int = 4000

    def fit(self, data: Linked, *, rng: int | np.random.Generator | None = None) -> Effect:
        """Estimate the effect.

        Raises:
            DataError: A panel that cannot be used; LeakageError when a score is not older than its outcome.
            FitError: Choices that do not fit the data, too few repeated answers, or too short a history.
        """
        generator = np.random.default_rng(rng)
        self._require_choices(data)
        places = np.arange(1 - self.before, self.leads + 1)
        answers = answer_table(data, age=1, offsets=ends_of(places))
        segments = usable_segments(answers, min_cell=data.study.about.min_cell)
        segments, growth = self._dense(answers, segments, places)
        answers, people = people_of(answers, segments)
        noise = _passing(answers, generator)
        profile, found = self._profile(growth, noise)
        covariance = found.covariance + self._of_calibration(growth, noise, profile)
        base = people.baseline["money"].to_numpy(dtype=float)
        pooled = pooled_shares(found.estimate, covariance, base, self.draws, generator)
        kept = money_kept_from_leaving(
            data, answers.people, people.groups, horizon=self.horizon, size=self.draws, rng=generator
        )
        draws = kept.money(pooled, base)
        shift, units = per_score_and_nps_point(data, answers, people, draws, generator)
        checks = (
            *data.checks,
            *segments.checks,
            *_before(growth, profile, base * people.shares),
            _misfit(growth, profile),
            _at_the_edge(profile),
            _precision(draws @ people.shares, outcome_unit(data)[1]),
            *kept.checks,
            answering_share(answers),
            *units_check(units, data.study.currency),
        )
        tables = {
            "coefficients": _coefficients(found, covariance, pooled, people, growth),
            "profile": _profile_table(growth, profile, people),
            "rivals": self._rivals(growth, noise, people, pooled, found, kept),
            "units": units,
        }
        min_cell = data.study.about.min_cell
        sizes = pd.Series({EVERYONE: np.inf} | growth.customers.to_dict())
        unit, currency = outcome_unit(data)
        return Effect(
            name="lead_lag",
            estimand=Estimand(
                question=Question.SUSTAINED,
                population=say("score.population.lead_lag", data.study.language, month=people.month),
                treatment=say("score.treatment.lead_lag", data.study.language),
                dose=Dose.SCORE_POINT,
                outcome=data.outcome,
                unit=unit,
                currency=currency,
                horizon=self.horizon,
                includes_exit=True,
                channels=frozenset({"expansion", "retention"}),
            ),
            groups=people.groups,
            draws=draws,
            shares=people.shares,
            baseline=people.baseline,
            grade=grade_after(Grade.C, checks),
            checks=checks,
            specification=repr(self),
            trail=(*data.trail, *answers.steps, _growth_step(answers, growth)),
            fingerprint=data.fingerprint,
            counts=answers.totals(),
            tables={
                name: shown(table, sizes, min_cell) if name in ("coefficients", "units") else table
                for name, table in tables.items()
            },
            shift=shift,
        )

    def _require_choices(self, data: Linked) -> None:
        faults = []
        if not 3 <= self.leads <= 12:
            faults.append(f"leads is {self.leads}; needed: 3 to 12 quarters")
        if not 1 <= self.before <= 8:
            faults.append(f"before is {self.before}; needed: 1 to 8 quarters")
        if self.horizon < 1:
            faults.append(f"horizon is {self.horizon}; at least 1 month is needed")
        if not self.cap > 0:
            faults.append(f"cap is {self.cap}; a positive log growth is needed")
        if outcome_unit(data)[0] is Unit.COUNT or data.study.outcomes[data.outcome].table == "answers":
            faults.append("money by month is needed; a count, or an amount beside the answers, has no growth to follow")
        if faults:
            raise FitError("These choices do not fit the linked data.", faults)

    def _dense(
        self, answers: AnswerTable, segments: Segments, places: NDArray[np.int64]
    ) -> tuple[Segments, GrowthSums]:
        """Keep the segments with enough answers beside the growth of every quarter, and say which are left out."""
        growth = growth_after_answers(answers, segments.kept, places, cap=self.cap)
        thin = [name for name in segments.kept if name not in growth.dense]
        if len(thin) == len(segments.kept):
            raise FitError(
                f"No segment has {FEWEST} answers beside the growth of every quarter around them.",
                ["use fewer `leads` or `before`, merge segments, or wait for more months"],
            )
        if not thin:
            return segments, growth
        said = Check(code="ROX-A06", verdict=Verdict.NOTE, values={"segments": ", ".join(thin), "need": FEWEST})
        return replace(segments, kept=growth.dense, checks=(*segments.checks, said)), growth.of(growth.dense)

    def _profile(self, growth: GrowthSums, noise: Reliability) -> tuple[Profile, Jackknife]:
        """Fit the profile and the share of money per point after the horizon, with its jackknife."""
        _, passing, memory, _ = noise.parts[0]

        def fitted(sums: Floats) -> Profile:
            return fit_lead_lag(
                sums[0], sums[1], growth.places, passing=passing, memory=memory, adjustments=ADJUSTMENTS
            )

        found = bucket_jackknife(lambda sums: fitted(sums).after(self.horizon), growth.by_bucket)
        return fitted(growth.by_bucket.sum(0)), found

    def _of_calibration(self, growth: GrowthSums, noise: Reliability, profile: Profile) -> Floats:
        """Variance that comes from not knowing exactly how large and how lasting passing experience is."""
        sums = growth.by_bucket.sum(0)
        moved = [
            fit_lead_lag(
                sums[0],
                sums[1],
                growth.places,
                passing=max(parts[1], 0.25 * noise.parts[0, 1]),
                memory=parts[2],
                adjustments=[profile.adjustment],
            ).after(self.horizon)
            for parts in noise.parts[1 : RESAMPLES + 1]
        ]
        return np.asarray(np.cov(np.array(moved), rowvar=False).reshape(len(growth.groups), len(growth.groups)))

    def _rivals(
        self,
        growth: GrowthSums,
        noise: Reliability,
        people: Population,
        pooled: Pooled,
        found: Jackknife,
        kept: Kept,
    ) -> pd.DataFrame:
        """The same with other choices, in money per point over all, beside the headline ``lead_lag``."""
        base = people.baseline["money"].to_numpy(dtype=float) * people.shares
        weight = people.shares
        headline, staying = kept.money(pooled, base / weight) @ weight, kept.alone(base)

        def row(estimate: Floats, covariance: Floats) -> tuple[float, float]:
            return float(estimate @ base), float(np.sqrt(base @ covariance @ base))

        table = {
            "lead_lag": (float(headline.mean()), float(headline.std(ddof=1))),
            "growth_alone": row(pooled.mean, pooled.covariance),
            "growth_not_pooled": row(found.estimate, found.covariance),
            "customers_kept_alone": (float(staying.mean()), float(staying.std(ddof=1))),
        }
        for leads in (5, 9):
            if leads != self.leads and leads <= growth.longest:
                other = LeadLag(leads=leads, before=self.before, horizon=self.horizon, cap=self.cap)
                part = growth.up_to(leads)
                if leads <= part.places.max():
                    _, jack = other._profile(part, noise)
                    table[f"growth_{leads}_quarters"] = row(jack.estimate, jack.covariance)
        return rival_table(table, "lead_lag")


def _passing(answers: AnswerTable, rng: np.random.Generator) -> Reliability:
    noise = reliability_of(answers, rng)
    if noise is None:
        raise FitError(
            "Too few customers answered more than once to tell passing from lasting experience.",
            ["400 pairs of answers of one customer at three distances are needed; use ScoreGap to describe the gap"],
        )
    lasting, passing, _, error = noise.parts[0]
    share = passing / (lasting + passing + error)
    if share < PASSING:
        raise FitError(
            "Experience hardly moves from answer to answer, so money that follows its movements cannot be seen.",
            [f"{share:.0%} of the spread of answers is passing; {PASSING:.0%} is needed"],
        )
    return noise


def _before(growth: GrowthSums, profile: Profile, weight: Floats) -> tuple[Check, ...]:
    """Test the growth before the answer against what the fit foretells: where it came first, experience follows money.

    Summed over segments by their money; the excess may be neither clear and as large as the effect's own trace in the
    quarter after the answer (ROX-A12).
    """
    early, first = growth.places <= 0, growth.places == 1

    def excess(sums: Floats) -> Floats:
        return np.atleast_1d(np.mean(weight @ (covariances(sums) - profile.fitted)[:, early]))

    found = bucket_jackknife(excess, growth.by_bucket)
    trace = float(weight @ (profile.fitted - profile.common[:, None])[:, first][:, 0])
    ratio = float(found.estimate[0]) / abs(trace) if trace else float("inf")
    z = float(found.estimate[0] / np.sqrt(found.covariance[0, 0])) if found.covariance[0, 0] > 0 else 0.0
    values = {"ratio": 100 * ratio, "quarters": int(early.sum()), "z": z}
    return (demoted_to(Grade.D, "ROX-A12", abs(ratio) > 1 and abs(z) > BEFORE_CLEAR, values),)


def _misfit(growth: GrowthSums, profile: Profile) -> Check:
    """Test whether the shape fits the quarters after the answer (ROX-A13)."""
    use = growth.places >= 1
    found = bucket_jackknife(lambda sums: covariances(sums)[:, use].ravel(), growth.by_bucket)
    p = misfit_p_value(
        profile.residual[:, use].ravel(), found.covariance, 2 * len(growth.groups) + 1, clusters=len(growth.by_bucket)
    )
    return demoted_to(Grade.D, "ROX-A13", p < MISFIT_P, {"p": p_value(p), "quarters": int(use.sum())})


def _at_the_edge(profile: Profile) -> Check:
    """Say that the pace at which money adjusts was not found inside its range (ROX-A16)."""
    edge = profile.adjustment in (ADJUSTMENTS[0], ADJUSTMENTS[-1])
    values = {"adjustment": 100 * profile.adjustment, "low": 100 * ADJUSTMENTS[0], "high": 100 * ADJUSTMENTS[-1]}
    return Check(code="ROX-A16", verdict=Verdict.NOTE if edge else Verdict.PASS, values=values)


def _precision(draws: Floats, currency: str) -> Check:
    """Say when chance alone may move the figure by more than half of it (ROX-A17)."""
    low, high = np.quantile(draws, [0.05, 0.95])
    wide = high - low > abs(draws.mean())
    values = {"low": amount(float(low), currency), "high": amount(float(high), currency)}
    return Check(code="ROX-A17", verdict=Verdict.NOTE if wide else Verdict.PASS, values=values)


def _growth_step(answers: AnswerTable, growth: GrowthSums) -> Step:
    rows = int(growth.answers.sum())
    return Step(
        name="growth",
        rows=rows,
        lost=answers.totals()["rows"] - rows,
        customers=int(growth.customers.sum()),
        reason="score.step.growth",
    )


def _coefficients(
    found: Jackknife, covariance: Floats, pooled: Pooled, people: Population, growth: GrowthSums
) -> pd.DataFrame:
    """List each segment's share of money per point: as measured, pooled, and how far it was drawn in."""
    low, high = np.quantile(pooled.draws, [0.05, 0.95], axis=0)
    return pd.DataFrame(
        {
            "estimate": pooled.mean,
            "se": pooled.sd,
            "low": low,
            "high": high,
            "not_pooled": found.estimate,
            "not_pooled_se": np.sqrt(np.diag(covariance)),
            "shrinkage": pooled.shrinkage,
            "money": people.baseline["money"].to_numpy(dtype=float),
            "customers": growth.customers.to_numpy(dtype=float),
            "share": people.shares,
        },
        index=pd.Index(people.groups, name="group"),
    )


def _profile_table(growth: GrowthSums, profile: Profile, people: Population) -> pd.DataFrame:
    """List the covariance of an answer with the growth of each quarter around it, segments summed by their money."""
    weight = people.shares * people.baseline["money"].to_numpy(dtype=float)
    weight = weight / weight.sum()
    found = bucket_jackknife(lambda sums: weight @ covariances(sums), growth.by_bucket)
    return pd.DataFrame(
        {
            "covariance": found.estimate,
            "low": found.low,
            "high": found.high,
            "fitted": weight @ profile.fitted,
            "used": growth.places >= 1,
        },
        index=pd.Index(growth.places, name="quarter"),
    )
