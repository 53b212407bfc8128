"""What an improvement did to customers' money where it was rolled out, place by place, over time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rox.core.check import Check, Grade, Verdict, grade_after
from rox.core.effect import Effect
from rox.core.errors import FitError
from rox.core.estimand import Estimand, Question
from rox.core.linked import Linked, month_label
from rox.core.register import AGREEING
from rox.core.units import Dose, Unit
from rox.core.words import say
from rox.models.drawn import drawn_check
from rox.models.map_prior import Prior
from rox.models.parallel_trends import assignment_check, checks_of_leads, dip_check, drift_check, leads_table
from rox.models.population import Population, population
from rox.models.predictive import predictive_check
from rox.models.rivals import NORMAL_90, forbidden_check, rivals, twfe_comparisons
from rox.models.rollout import Rollout, rollout
from rox.models.rollout_att import CONTROLS, Control, PlaceEffects, RolloutATT, place_effects, rollout_att
from rox.models.rollout_doubts import honest_trends, priors_read
from rox.models.rollout_outcomes import components, score_effect
from rox.models.rollout_precision import precision
from rox.numerics.aggregate import aggregate_event
from rox.numerics.grouped_pooling import GroupedPool, pool_groups
from rox.numerics.joint import simultaneous_band

Floats = NDArray[np.float64]
CAPPED_LIMIT = 0.05


@dataclass(frozen=True, kw_only=True)
class StaggeredUplift:
    """Estimate the effect of an initiative that places got one after another, on each customer's money.

    Estimand: mean over months ``window`` after the start of (outcome with the initiative − outcome without), as a
    share of the customer's own mean outcome in the ``base`` months before the first start, customers of a segment
    counting equally, those who left counting as zero. It assumes that places that started and those that had not yet
    would have moved alike (parallel trends of the ratio), that nobody changed behaviour before the start, and that a
    place does not affect another. A segment's effect times the money its customers held is money.

    The cohort is frozen before the first start. Group-time effects (Callaway & Sant'Anna 2021) compare each start
    with places not yet started; ``Effect.path`` is their path by months since the start, not pooled, with the joint
    covariance of places. ``Effect.draws`` are pooled over places and segments by a hierarchical model: a segment with
    few customers borrows from the others, along a line in the log of money, and every effect is as uncertain as the
    number of places demands.
    ``Effect.shares`` and ``baseline`` describe the company's customers in the last month, as for every other model.

    The design is grade B: a comparison over time between places. A roll-out whose order was drawn by lot keeps B,
    because the lot chose places and not customers' treatment. Where somebody chose the places B asks for leads that
    pass and could have found a harmful trend, otherwise C; where nobody knows how they were chosen, C at best.

    Attributes:
        initiative: Name; may be missing when the study has one.
        window: First and last month after the start that are averaged; part of the question, declared before looking.
        base: Months before the first start whose mean is a customer's own baseline.
        history: Months before the first start in which a customer must have been there.
        cap: Largest ratio to the own baseline that counts; a few customers' new money would decide the mean otherwise.
        leads: Months before the start whose effect must be zero.
        control: Places a start is compared with.
        prior_sd: Standard deviation of the prior of the mean effect, centred at zero; 0.10 doubts effects above 20%.
        prior: What past initiatives of the kind say of the mean effect, instead: see :func:`rox.map_prior`.
        prior_by_money: Standard deviation of the prior of how the effect changes per log unit of a segment's money.
        prior_between_segments: Scale of the prior of the spread between segments.
        prior_between_places: Scale of the prior of the shocks of places.
        draws: Draws of the pooled effects.
        placebos: Random deals, or bootstrap draws, behind the p-value when places are few.
    """

    initiative: str | None = None
    window: tuple[int, int] = (6, 11)
    base: int = 3
    history: int = 12
    cap: float = 3.0
    leads: int = 6
    control: Control = "not_yet_treated"
    prior_sd: float = 0.10
    prior: Prior | None = None
    prior_by_money: float = 0.015
    prior_between_segments: float = 0.05
    prior_between_places: float = 0.05
    draws: int = 4000
    placebos: int = 999

    def __post_init__(self) -> None:
        positive = ("cap", "prior_sd", "prior_by_money", "prior_between_segments", "prior_between_places")
        least = {"base": 1, "history": 1, "leads": 2, "draws": 1000, "placebos": 99}
        faults = [
            f"{name} is {getattr(self, name):g}; needed: above 0" for name in positive if not getattr(self, name) > 0
        ]
        faults += [
            f"{name} is {getattr(self, name)}; needed: {low} or more"
            for name, low in least.items()
            if getattr(self, name) < low
        ]
        if not 0 <= self.window[0] <= self.window[1]:
            faults.append(f"window is {self.window}; needed: first and last month since the start, such as (6, 11)")
        if self.control not in CONTROLS:
            faults.append(f"control is {self.control!r}; needed: one of {', '.join(CONTROLS)}")
        if not (self.prior is None or hasattr(self.prior, "mixture")):
            faults.append("prior is no Prior; make it with rox.map_prior")
        if faults:
            raise FitError("This question cannot be asked.", faults)

    def fit(self, data: Linked, *, rng: int | np.random.Generator | None = None) -> Effect:
        """Estimate from a linked panel.

        Args:
            data: The panel, with the starts of the initiative.
            rng: Seed or generator.

        Raises:
            DataError: A panel without places, or with values that cannot be used.
            FitError: No comparison is possible, or the sampler did not converge.
        """
        generator = np.random.default_rng(rng)
        cohort = rollout(data, initiative=self.initiative, base=self.base, history=self.history, cap=self.cap)
        self._require_prior(self._estimand(data, cohort))
        att = rollout_att(cohort, cohort.means(cohort.ratio), window=self.window, control=self.control)
        people = population(cohort.panel, cohort.groups)
        places = place_effects(cohort, att)
        pooled = self._pooled(places, _log_money(people), generator)
        checks, tables = self._evidence(places, data, cohort, att, people.shares, pooled, generator)
        months, path = _path_draws(cohort, att, self.leads, len(pooled.effects), generator)
        return Effect(
            name="uplift",
            estimand=self._estimand(data, cohort),
            groups=cohort.groups,
            draws=pooled.effects,
            shares=people.shares,
            baseline=people.baseline,
            grade=grade_after(Grade.B, checks),
            checks=checks,
            specification=repr(self),
            trail=(*data.trail, *cohort.steps),
            fingerprint=data.fingerprint,
            counts=_counts(cohort, att),
            path=path,
            path_months=months,
            tables=tables,
        )

    def estimand(self, data: Linked) -> Estimand:
        """Say what ``fit`` will answer; a prior from the register is made for it (:func:`rox.map_prior`).

        Args:
            data: As for ``fit``.

        Raises:
            DataError: As of ``fit``.
            FitError: As of ``fit``.
        """
        cohort = rollout(data, initiative=self.initiative, base=self.base, history=self.history, cap=self.cap)
        return self._estimand(data, cohort)

    def _require_prior(self, asked: Estimand) -> None:
        """Refuse a prior of another quantity."""
        if self.prior is None:
            return
        known = self.prior.estimand
        wrong = [
            f"{name}: the prior has {getattr(known, name)!s}, this fit {getattr(asked, name)!s}"
            for name in (*AGREEING, "includes_exit")
            if getattr(known, name) != getattr(asked, name)
        ]
        if wrong:
            advice = "make it with rox.map_prior(…, estimand=model.estimand(data))"
            raise FitError("This prior answers another question.", [*wrong, advice])

    def _evidence(
        self,
        places: PlaceEffects,
        data: Linked,
        cohort: Rollout,
        att: RolloutATT,
        shares: Floats,
        pooled: GroupedPool,
        rng: np.random.Generator,
    ) -> tuple[tuple[Check, ...], dict[str, pd.DataFrame]]:
        """Run every check and make the tables."""
        leads = checks_of_leads(att, leads=self.leads, shares=shares)
        power, few = precision(cohort, att, shares, control=self.control, size=self.placebos, rng=rng)
        comparisons = twfe_comparisons(cohort, att)
        score, score_checks = self._score(data, cohort)
        pooling = self._pooling(cohort, att, pooled, shares)
        honest, drifting = honest_trends(cohort, att, shares)
        estimand = self._estimand(data, cohort)
        priors, doubts = priors_read(att, pooled, shares, estimand, prior=self.prior, sceptical_sd=self.prior_sd)
        checks = (
            *data.checks,
            assignment_check(cohort, leads),
            *leads,
            dip_check(cohort, att),
            drift_check(cohort, att, shares),
            *drifting,
            *few,
            forbidden_check(comparisons),
            *_notes(data, cohort, att),
            *doubts,
            drawn_check(pooled),
            predictive_check(
                places.estimate, places.covariance, places.group, pooled, cluster=places.unit, rng=rng.spawn(1)[0]
            ),
            *score_checks,
        )
        headline = (float(pooling["pooled"].iloc[-1]), float(pooling["sd"].iloc[-1]))
        return checks, {
            "pooling": pooling,
            "event_study": _event_study(cohort, att, shares, rng),
            "leads": leads_table(cohort, att, leads=self.leads),
            "rivals": rivals(cohort, att, shares, leads=self.leads, control=self.control, pooled=headline),
            "twfe_comparisons": comparisons,
            "components": components(cohort, att, shares, control=self.control),
            "power": power,
            "priors": priors,
            **({} if honest.empty else {"honest": honest}),
            **score,
        }

    def _pooled(self, places: PlaceEffects, money: Floats, rng: np.random.Generator) -> GroupedPool:
        return pool_groups(
            places.estimate,
            places.covariance,
            places.group,
            cluster=places.unit,
            x=money[places.group],
            slope_sd=self.prior_by_money,
            prior_mean=[0.0] if self.prior is None else self.prior.mixture.means,
            prior_sd=[self.prior_sd] if self.prior is None else self.prior.mixture.sds,
            prior_weight=[1.0] if self.prior is None else self.prior.mixture.weights,
            group_sd=self.prior_between_segments,
            cluster_sd=self.prior_between_places,
            draws=self.draws,
            rng=rng,
        )

    def _estimand(self, data: Linked, cohort: Rollout) -> Estimand:
        language, start = data.study.language, month_label(cohort.first_start)
        return Estimand(
            question=Question.INITIATIVE,
            population=say("uplift.population", language, months=cohort.history, start=start),
            treatment=say("uplift.treatment", language, initiative=cohort.initiative),
            dose=Dose.INITIATIVE,
            outcome=data.outcome,
            unit=Unit.RATIO,
            horizon=self.window[1],
            window=self.window,
            includes_exit=True,
            channels=frozenset({"retention", "expansion"}),
        )

    def _score(self, data: Linked, cohort: Rollout) -> tuple[dict[str, pd.DataFrame], tuple[Check, ...]]:
        if not data.score:
            return {}, ()
        table, check = score_effect(cohort, window=self.window, control=self.control)
        return ({} if table.empty else {"score": table}), (check,)

    def _pooling(self, cohort: Rollout, att: RolloutATT, pooled: GroupedPool, shares: Floats) -> pd.DataFrame:
        """Tabulate prior, raw and pooled estimates; ``shrinkage`` is the weight of the common mean in a segment's."""
        draws = np.column_stack([pooled.effects, pooled.effects @ shares])
        influence = np.column_stack([att.influence, att.influence @ shares])
        se = np.sqrt((influence**2).sum(0))
        sd = draws.std(0, ddof=1)
        between = self.prior_between_segments**2 if len(cohort.groups) > 1 else 0.0
        centre, wide = (0.0, self.prior_sd) if self.prior is None else (self.prior.mixture.mean, self.prior.mixture.sd)
        prior = np.sqrt(wide**2 + between * np.append(np.ones(shares.size), (shares**2).sum()))
        return pd.DataFrame(
            {
                "prior_mean": centre,
                "prior_sd": prior,
                "raw": np.append(att.estimate, att.estimate @ shares),
                "se": se,
                "pooled": draws.mean(0),
                "sd": sd,
                "shrinkage": np.append(pooled.shrinkage, np.nan),
                "customers": np.append(cohort.sizes[att.members].sum(0), cohort.sizes[att.members].sum()),
            },
            index=pd.Index([*cohort.groups, "all"], name="group"),
        )


def _notes(data: Linked, cohort: Rollout, att: RolloutATT) -> tuple[Check, ...]:
    """Remark on cut ratios, on starts that the window does not reach, and on other initiatives at the same places."""
    verdict = Verdict.NOTE if cohort.capped > CAPPED_LIMIT else Verdict.PASS
    notes = [Check(code="ROX-L09", verdict=verdict, values={"p": 100 * cohort.capped})]
    if att.incomplete.size:
        late = ", ".join(month_label(int(start)) for start in att.incomplete)
        places = int(np.isin(cohort.starts, att.incomplete).sum())
        notes.append(Check(code="ROX-L15", verdict=Verdict.NOTE, values={"starts": late, "places": places}))
    others = data.starts[data.starts["initiative"] != cohort.initiative]
    if shared := sorted(set(others["unit"].astype(str)) & set(cohort.units)):
        names = ", ".join(sorted(others.loc[others["unit"].isin(shared), "initiative"].unique()))
        notes.append(Check(code="ROX-L19", verdict=Verdict.NOTE, values={"places": len(shared), "initiatives": names}))
    return tuple(notes)


def _log_money(people: Population) -> Floats:
    """Return by segment the log of a customer's money, less its mean over customers; zeros where it is unknown."""
    money = people.baseline["money"].to_numpy(dtype=float)
    if not (money > 0).all():
        return np.zeros(money.size)
    logs = np.log(money)
    return np.asarray(logs - logs @ people.shares)


def _counts(cohort: Rollout, att: RolloutATT) -> dict[str, int]:
    return {
        "rows": cohort.ratio.size,
        "customers": len(cohort.unit),
        "clusters": len(cohort.units),
        "treated_units": int(att.members.sum()),
        "control_units": int(np.isinf(cohort.starts).sum()),
        "fewest_compared": att.comparisons,
        "months_without_row": cohort.silent,
    }


def _path_draws(
    cohort: Rollout, att: RolloutATT, leads: int, size: int, rng: np.random.Generator
) -> tuple[tuple[int, ...], Floats]:
    """Draw the raw path by segment, shape (draw, group, month), normal with the joint covariance of places."""
    shown = att.path.labels >= -leads
    influence = att.path.influence[:, shown, :-1]
    noise = np.tensordot(rng.standard_normal((size, len(influence))), influence, axes=1)
    path = (att.path.estimate[shown, :-1] + noise).transpose(0, 2, 1)
    return tuple(int(month) for month in att.path.labels[shown]), path


def _event_study(cohort: Rollout, att: RolloutATT, shares: Floats, rng: np.random.Generator) -> pd.DataFrame:
    """Tabulate the path of every start, by segment and for all, with 90% intervals and simultaneous 90% bands.

    Months that only early starts have reached average over fewer places; ``customers`` says over how many.
    """
    path = aggregate_event(att.cells, random_weights=False)
    curves = {
        group: (path.estimate[:, column], path.influence[:, :, column], path.treated_weight[:, column])
        for column, group in enumerate(cohort.groups)
    }
    curves["all"] = (path.estimate[:, :-1] @ shares, path.influence[:, :, :-1] @ shares, path.treated_weight[:, -1])
    parts = []
    for group, (theta, influence, customers) in curves.items():
        seen = np.isfinite(theta)
        se = np.sqrt((influence[:, seen] ** 2).sum(0))
        band = simultaneous_band(theta[seen], influence[:, seen], rng=rng)
        parts.append(
            pd.DataFrame(
                {
                    "group": group,
                    "month": path.labels[seen].astype(int),
                    "estimate": theta[seen],
                    "se": se,
                    "low": theta[seen] - NORMAL_90 * se,
                    "high": theta[seen] + NORMAL_90 * se,
                    "band_low": band.low,
                    "band_high": band.high,
                    "customers": customers[seen],
                }
            )
        )
    return pd.concat(parts, ignore_index=True)
