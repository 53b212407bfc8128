"""What an experiment did to customers' money: arms drawn by lot, read as they were assigned."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from rox.core.check import Check, Grade, grade_after
from rox.core.effect import Effect
from rox.core.errors import FitError
from rox.core.estimand import Estimand, Question
from rox.core.linked import Linked, month_label
from rox.core.units import Dose, Unit
from rox.core.words import say
from rox.models import experiment_checks as checks_of
from rox.models import experiment_outcomes as outcomes_of
from rox.models.experiment_fit import Overall, SegmentEffects, segment_effects
from rox.models.experiment_rows import Arms, Floats, read_arms
from rox.models.population import population_of
from rox.numerics.pooling import Pooled, pool

NORMAL_90 = 1.6448536269514722
NO_SPREAD = 1e-9
"""Standard error of a share of the baseline below which there is none but that of rounding."""


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """Estimate what assigning customers, or their places, to an arm by lot did to each customer's money.

    Estimand: intention to treat. Mean over months ``window`` after the lot of (outcome if assigned to treatment −
    outcome if assigned to control), as a share of the customer's own mean outcome in the ``base`` months before,
    customers of a segment counting equally, those who left counting as zero. Whoever did not take what was offered
    counts in the arm of the lot. It assumes that a lot decided, and that no customer's arm changes another's money.

    Each arm of each segment is regressed on what was known before the lot (bands of money, own movement, month, the
    strata of the lot) and read at the mean of both arms (Lin 2013; CUPED of Deng et al. 2013), which cannot bias the
    estimate and narrows it. Errors are HC2; where no two customers of a place differ in their arm, places were
    assigned, and errors are CR2 over places with t intervals. Nothing after the lot is a covariate or decides who is
    in. ``Effect.draws`` pool segments by a hierarchical normal model; ``Effect.path`` are the effects month by month,
    not pooled. The effect is that of the window: it says nothing of later months.

    Tables: ``pooling``, ``outcomes``, ``by_month``, ``rivals``, ``balance``, ``attrition`` (with Lee's bounds),
    ``looks``, ``arms`` where there are several, ``compliance`` where ``taken`` is declared.

    The design is grade A: a lot decided and the outcome is money. Arms of sizes that the plan cannot have given are
    refused; arms that differed before, money missing in one arm more than in the other, and few places cost a grade.

    Attributes:
        experiment: Name; may be missing when the table of arms has one.
        treated: Arm whose effect is asked for; may be missing when there are two.
        control: Arm it is compared with; may be missing when one is called ``control``.
        window: First and last month after that of the lot; part of the question, declared before looking.
        base: Months before the lot whose mean is a customer's own baseline.
        cap: Largest ratio to the own baseline that counts; a few customers' new money would decide the mean otherwise.
        adjust: Whether to adjust for what was known before the lot; the strata of the lot always are.
        prior_sd: Standard deviation of the prior of the mean effect, centred at zero; 0.10 doubts effects above 20%.
        prior_between_segments: Scale of the half-normal prior of the spread between segments.
        draws: Draws.

    Example:
        >>> import numpy as np, pandas as pd
        >>> from rox.testing import linked_from_frame
        >>> rng, who, months = np.random.default_rng(1), np.arange(400), np.arange(24240, 24258)
        >>> arm, money = rng.permutation(who % 2), rng.lognormal(9, 1, 400)
        >>> rows = pd.DataFrame({"customer": np.tile(who, 18), "month": np.repeat(months, 400)})
        >>> lift = 1 + 0.05 * arm[rows["customer"]] * (rows["month"] > 24245)
        >>> rows["outcome"] = money[rows["customer"]] * lift * rng.lognormal(0, 0.05, len(rows))
        >>> lot = pd.DataFrame({"experiment": "call", "customer": who, "arm": np.where(arm, "call", "control")})
        >>> data = linked_from_frame(rows, records={"arms": lot.assign(date=pd.Timestamp(2020, 6, 1))})
        >>> effect = Experiment(window=(1, 12)).fit(data, rng=1)
        >>> str(effect.grade), round(float(effect.overall.mean()), 2)
        ('A', 0.05)
    """

    experiment: str | None = None
    treated: str | None = None
    control: str | None = None
    window: tuple[int, int] = (1, 12)
    base: int = 3
    cap: float = 3.0
    adjust: bool = True
    prior_sd: float = 0.10
    prior_between_segments: float = 0.05
    draws: int = 4000

    def __post_init__(self) -> None:
        faults = [
            f"{name} is {getattr(self, name):g}; needed: above 0"
            for name in ("cap", "prior_sd", "prior_between_segments")
            if not getattr(self, name) > 0
        ]
        faults += [
            f"{name} is {getattr(self, name)}; needed: {low} or more"
            for name, low in {"base": 1, "draws": 100}.items()
            if getattr(self, name) < low
        ]
        if not 1 <= self.window[0] <= self.window[1]:
            faults.append(f"window is {self.window}; needed: first and last month after the lot, such as (1, 12)")
        if faults:
            raise FitError("This question cannot be asked.", faults)

    def fit(self, data: Linked, *, rng: int | np.random.Generator | None = None) -> Effect:
        """Estimate from a linked panel whose study has a table of arms.

        Args:
            data: The panel.
            rng: Seed or generator.

        Raises:
            DataError: No table of arms, or rows that cannot be used.
            FitError: No comparison is possible, or the arms are not of the planned sizes (ROX-J01).
        """
        generator = np.random.default_rng(rng)
        arms = read_arms(
            data,
            experiment=self.experiment,
            treated=self.treated,
            control=self.control,
            window=self.window,
            base=self.base,
            cap=self.cap,
        )
        lot = checks_of.lot_check(arms)
        people = population_of(data.census(), arms.groups)
        effects = segment_effects(arms, _outcomes(arms), adjust=self.adjust)
        pooled = self._pooled(effects, generator)
        checks, tables = self._evidence(data, arms, effects, people.shares, pooled, generator)
        last = self.window[1]
        return Effect(
            name="experiment",
            estimand=self._estimand(data, arms),
            groups=arms.groups,
            draws=pooled.draws,
            shares=people.shares,
            baseline=people.baseline,
            grade=grade_after(Grade.A, (*data.checks, lot, *checks)),
            checks=(*data.checks, lot, *checks),
            specification=repr(self),
            trail=(*data.trail, *arms.steps),
            fingerprint=data.fingerprint,
            counts=_counts(arms, effects),
            path=_path_draws(effects, last, self.draws, generator),
            path_months=tuple(range(1, last + 1)),
            tables=tables,
        )

    def _pooled(self, effects: SegmentEffects, rng: np.random.Generator) -> Pooled:
        place = self.window[1]
        _complain_of_no_spread(effects, place)
        return pool(
            effects.estimate[:, place],
            effects.widened()[:, place, :, place],
            gamma_mean=[0.0],
            gamma_covariance=[[self.prior_sd**2]],
            tau_scale=self.prior_between_segments,
            n=self.draws,
            rng=rng,
        )

    def _evidence(
        self,
        data: Linked,
        arms: Arms,
        effects: SegmentEffects,
        shares: Floats,
        pooled: Pooled,
        rng: np.random.Generator,
    ) -> tuple[tuple[Check, ...], dict[str, pd.DataFrame]]:
        """Run every check but that of the lot, and make the tables."""
        last = self.window[1]
        every = effects.overall(shares)
        headline = _only(every, [last, last + 1])
        plain = segment_effects(arms, arms.outcome_or_zero[:, None], adjust=False).overall(shares)
        balance, before = outcomes_of.balance_table(arms, shares)
        lost = outcomes_of.attrition(arms, shares)
        found = outcomes_of.outcomes_table(arms, headline, 1, shares, adjust=self.adjust, span=_span(data))
        looks = outcomes_of.at_any_time(headline)
        pooling = self._pooling(effects, shares, pooled)
        taken = outcomes_of.compliance(arms, shares, adjust=self.adjust)
        tables = {
            "pooling": pooling,
            "outcomes": found,
            "by_month": outcomes_of.by_month(arms, effects, range(1, last + 1), shares),
            "rivals": _rivals(pooling.iloc[-1], headline, plain),
            "balance": balance,
            "attrition": lost,
            "looks": looks,
        }
        if arms.others:
            tables["arms"] = outcomes_of.other_arms(arms, shares, adjust=self.adjust)
        if taken:
            tables["compliance"] = taken[0]
        prior = float(pooling["prior_sd"].iloc[-1])
        checks = (
            checks_of.who_check(arms, effects),
            checks_of.shares_check(arms),
            checks_of.balance_check(arms, balance, before),
            checks_of.attrition_check(lost),
            *checks_of.places_checks(arms, adjust=self.adjust, rng=rng),
            checks_of.segments_check(arms, data.study.about.min_cell),
            checks_of.strata_check(arms),
            checks_of.capped_check(arms.capped),
            checks_of.precision_check(headline),
            checks_of.looks_check(looks),
            checks_of.novelty_check(every, arms),
            *((checks_of.variance_check(headline, plain),) if self.adjust else ()),
            *((checks_of.compliance_check(*taken),) if taken else ()),
            checks_of.secondary_check(found),
            *checks_of.answers_check(found),
            checks_of.conflict_check(float(headline.estimate[0]), float(headline.se[0]), prior),
        )
        return checks, tables

    def _pooling(self, effects: SegmentEffects, shares: Floats, pooled: Pooled) -> pd.DataFrame:
        """Tabulate prior, raw and pooled estimates; ``shrinkage`` is the weight of the common mean in a segment's."""
        place = self.window[1]
        every = effects.overall(shares)
        draws = np.column_stack([pooled.draws, pooled.draws @ shares])
        return pd.DataFrame(
            {
                "prior_mean": 0.0,
                "prior_sd": checks_of.weights_of(shares, self.prior_sd, self.prior_between_segments),
                "raw": np.append(effects.estimate[:, place], every.estimate[place]),
                "se": np.append(effects.se[:, place], every.se[place]),
                "pooled": draws.mean(0),
                "sd": draws.std(0, ddof=1),
                "shrinkage": np.append(pooled.shrinkage, np.nan),
                "customers": np.append(effects.customers.sum(1), effects.customers.sum()),
            },
            index=pd.Index([*effects.groups, "all"], name="group"),
        )

    def _estimand(self, data: Linked, arms: Arms) -> Estimand:
        language = data.study.language
        drawn = {"first": month_label(int(arms.month.min())), "last": month_label(int(arms.month.max()))}
        return Estimand(
            question=Question.INITIATIVE,
            population=say("experiment.population", language, experiment=arms.experiment, **drawn),
            treatment=say(
                "experiment.treatment",
                language,
                experiment=arms.experiment,
                treated=arms.treated,
                control=arms.control,
            ),
            dose=Dose.INITIATIVE,
            outcome=data.outcome,
            unit=Unit.RATIO,
            horizon=self.window[1],
            window=self.window,
            includes_exit=True,
            channels=frozenset({"retention", "expansion"}),
        )


def _outcomes(arms: Arms) -> Floats:
    """Put the ratios by month, their mean over the window and the window's mean money side by side."""
    money = arms.money[:, arms.window[0] - 1 :].mean(1)
    return np.asarray(np.nan_to_num(np.column_stack([arms.ratio, arms.outcome, money])))


def _complain_of_no_spread(effects: SegmentEffects, column: int) -> None:
    """Refuse estimates that have no error, alone or together.

    Raises:
        FitError: Customers of an arm do not differ, or there are too few places for so many segments.
    """
    still = [group for group, se in zip(effects.groups, effects.se[:, column], strict=True) if not se > NO_SPREAD]
    if still:
        raise FitError(
            "The effect has no error that could be estimated.",
            [f"{each}: money moved by the same share for all customers of both arms" for each in still]
            + ["look whether money is filled in, rounded, or the same amount for everybody"],
        )
    roots = np.linalg.eigvalsh(effects.covariance[:, column, :, column])
    if not roots[0] > roots[-1] * 1e-12:
        treated, control = effects.sizes.min(0)
        raise FitError(
            "The errors of the segments cannot be told apart.",
            [
                f"{len(effects.groups)} segments share {treated} treated and {control} control places; needed: more "
                "places than segments",
                "merge segments in the study",
            ],
        )


def _only(found: Overall, columns: list[int]) -> Overall:
    return Overall(
        estimate=found.estimate[columns],
        covariance=found.covariance[np.ix_(columns, columns)],
        df=found.df[columns],
        treated=found.treated[columns],
        control=found.control[columns],
    )


def _span(data: Linked) -> tuple[float, float]:
    score = data.study.scores.get(data.score) if data.score else None
    return (float(score.low), float(score.high)) if score else (0.0, 10.0)


def _rivals(pooled: pd.Series, headline: Overall, plain: Overall) -> pd.DataFrame:
    """Put the pooled estimate beside those that neither pool nor adjust."""
    found = {
        "pooled": (float(pooled["pooled"]), float(pooled["sd"])),
        "adjusted": (float(headline.estimate[0]), float(headline.se[0])),
        "difference_in_means": (float(plain.estimate[0]), float(plain.se[0])),
    }
    table = pd.DataFrame.from_dict(found, orient="index", columns=["estimate", "se"])
    table["low"], table["high"] = (
        table["estimate"] - NORMAL_90 * table["se"],
        table["estimate"] + NORMAL_90 * table["se"],
    )
    table["word"] = [f"experiment.rival.{name}" for name in found]
    return table.rename_axis("design")


def _counts(arms: Arms, effects: SegmentEffects) -> dict[str, int]:
    used = arms.compared & arms.seen
    return {
        "rows": int(used.sum()) * arms.ratio.shape[1],
        "customers": int(used.sum()),
        "treated": int(effects.customers[:, 0].sum()),
        "control": int(effects.customers[:, 1].sum()),
        "clusters": int(np.unique(arms.place[used]).size),
        "months_without_row": int((~np.isfinite(arms.ratio[arms.compared])).sum()),
    }


def _path_draws(effects: SegmentEffects, last: int, size: int, rng: np.random.Generator) -> Floats:
    """Draw the path by segment, shape (draw, segment, month), normal with the joint covariance, not pooled."""
    covariance = effects.widened()[:, :last, :, :last]
    s = len(effects.estimate)
    roots, basis = np.linalg.eigh(covariance.reshape(s * last, s * last))
    noise = rng.standard_normal((size, s * last)) @ (basis * np.sqrt(np.maximum(roots, 0))).T
    return np.asarray(effects.estimate[:, :last] + noise.reshape(size, s, last))
