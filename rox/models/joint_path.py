"""What a lasting change of experience does to money, from one model of both that lets experience follow money."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rox.core.case import EVERYONE
from rox.core.check import Grade, grade_after
from rox.core.effect import Effect
from rox.core.errors import FitError
from rox.core.estimand import Estimand, Question
from rox.core.linked import Linked
from rox.core.units import Dose, Unit
from rox.core.words import say
from rox.models.answer_table import answer_table
from rox.models.evidence import answering_share
from rox.models.joint_path_checks import attention, left_out, misfit, precision, profile_table, settled
from rox.models.joint_path_rows import PathRows, path_rows
from rox.models.lasting import Kept, money_kept_from_leaving, per_score_and_nps_point, pooled_shares
from rox.models.population import Population, population_of, shown
from rox.models.shift import units_check
from rox.numerics.joint_path_fit import JointPath as Fitted
from rox.numerics.joint_path_fit import fit_joint_path
from rox.numerics.pooling import Pooled

Floats = NDArray[np.float64]

MOST_CUSTOMERS = 50_000
PASSING = 0.10
"""Least share of the spread of answers that must be passing experience."""


@dataclass(frozen=True, kw_only=True)
class JointPath:
    """Measure what one more score point, kept up, does to a customer's money within a year, by a model of both.

    Research grade. Estimand: that of ``LeadLag``, change of money per customer ``horizon`` months after experience
    rises by one score point for good, leavers counting zero, weighted over segments by the company's customers.

    Money moves towards a level set by experience, a constant share of the way each month; experience is a lasting part
    and a passing one, and the passing one may follow the money of the last three months, since growing customers get
    attention. All money and all answers of a customer then have one normal distribution, which is fitted by maximum
    likelihood (``rox.numerics.joint_path``) with errors clustered by customer (White 1982). ``LeadLag`` uses only the
    growth after answers and has to assume that experience does not follow money. What places and segments have in
    common in a month is taken out first. A customer's level, growth, lasting experience and habit of answering may go
    together in any way. Segments are pooled on the scale of shares of money (Gelman et al. 2013, section 5.4).
    Customers kept are added from ``ChurnHazard`` with the money of leavers.

    Assumes that the response is linear: where it bends, the estimate weighs customers by how far their experience moves
    and overstates if low experience costs more than high experience earns. Assumes also that answering does not depend
    on how extreme an experience is, which would make it understate, and that the pace at which money returns to its
    level is the one at which it answers experience.

    Attributes:
        step: Months between readings of money.
        horizon: Months after the change at which money is read.
        cap: Largest log growth of a step that counts in what customers have in common.
        customers: Most customers that are used; more are sampled.
        draws: Number of draws.

    Example:
        >>> from rox.testing import sample_linked
        >>> effect = JointPath(draws=400).fit(sample_linked(seed=1), rng=1)
        >>> effect.estimand.question.value, effect.grade.is_causal
        ('sustained', False)
    """

    step: int = 3
    horizon: int = 12
    cap: float = 1.0
    customers: int = MOST_CUSTOMERS
    draws: int = 4000

    def fit(self, data: Linked, *, rng: int | np.random.Generator | None = None) -> Effect:
        """Estimate the effect.

        Raises:
            DataError: A panel that cannot be used; LeakageError when a score is not older than its outcome.
            FitError: Choices that do not fit the data, too few answers or months, or a likelihood without a maximum.
        """
        generator = np.random.default_rng(rng)
        self._require_choices(data)
        rows = path_rows(data, step=self.step, cap=self.cap, most=self.customers, rng=generator)
        fitted = fit_joint_path(rows.paths)
        _require_usable(fitted)
        people = population_of(rows.people, rows.groups)
        base = people.baseline["money"].to_numpy(dtype=float)
        pooled = pooled_shares(
            fitted.after(self.horizon), fitted.covariance_after(self.horizon), base, self.draws, generator
        )
        kept = money_kept_from_leaving(
            data, rows.people, people.groups, horizon=self.horizon, size=self.draws, rng=generator
        )
        draws = kept.money(pooled, base)
        answers = answer_table(data, age=1, offsets=()).of(people.groups)
        shift, units = per_score_and_nps_point(data, answers, people, draws, generator)
        profile, misfit_check = misfit(rows.paths, fitted)
        checks = (
            *data.checks,
            *left_out(rows),
            misfit_check,
            attention(fitted),
            settled(fitted),
            precision(draws @ people.shares, data.study.currency),
            *kept.checks,
            answering_share(answers),
            *units_check(units, data.study.currency),
        )
        sizes = pd.Series({EVERYONE: np.inf} | {name: float(n) for name, n in rows.customers.items()})
        tables = {
            "coefficients": shown(
                _coefficients(fitted, self.horizon, pooled, people, rows), sizes, data.study.about.min_cell
            ),
            "profile": profile_table(profile),
            "rivals": self._rivals(fitted, pooled, kept, people),
            "units": shown(units, sizes, data.study.about.min_cell),
        }
        return Effect(
            name="joint_path",
            estimand=self._estimand(data, people),
            groups=people.groups,
            draws=draws,
            shares=people.shares,
            baseline=people.baseline,
            grade=grade_after(Grade.C, checks),
            checks=checks,
            specification=repr(self),
            trail=(*data.trail, *rows.steps),
            fingerprint=data.fingerprint,
            counts=rows.counts,
            tables=tables,
            shift=shift,
        )

    def _require_choices(self, data: Linked) -> None:
        faults = []
        if not 1 <= self.step <= 12:
            faults.append(f"step is {self.step}; needed: 1 to 12 months")
        if self.horizon < 1:
            faults.append(f"horizon is {self.horizon}; at least 1 month is needed")
        if not self.cap > 0:
            faults.append(f"cap is {self.cap}; a positive log growth is needed")
        if self.customers < 1000:
            faults.append(f"customers is {self.customers}; at least 1,000 are needed")
        outcome = data.study.outcomes.get(data.outcome)
        if outcome is not None and (outcome.kind == "count" or outcome.table == "answers"):
            faults.append("money by month is needed; a count, or an amount beside the answers, has no path to follow")
        if faults:
            raise FitError("These choices do not fit the linked data.", faults)

    def _estimand(self, data: Linked, people: Population) -> Estimand:
        language = data.study.language
        return Estimand(
            question=Question.SUSTAINED,
            population=say("joint_path.population", language, month=people.month),
            treatment=say("joint_path.treatment", language),
            dose=Dose.SCORE_POINT,
            outcome=data.outcome,
            unit=Unit.MONEY_PER_CUSTOMER,
            currency=data.study.currency,
            horizon=self.horizon,
            includes_exit=True,
            channels=frozenset({"expansion", "retention"}),
        )

    def _rivals(self, fitted: Fitted, pooled: Pooled, kept: Kept, people: Population) -> pd.DataFrame:
        """The same with other choices, in money per point over all, beside the headline ``joint_path``."""
        base = people.baseline["money"].to_numpy(dtype=float)
        weight = base * people.shares
        headline, staying = kept.money(pooled, base) @ people.shares, kept.alone(weight)
        alone = float(np.sqrt(weight @ fitted.covariance_after(self.horizon) @ weight))
        table = {
            "joint_path": (float(headline.mean()), float(headline.std(ddof=1))),
            "growth_alone": (float(pooled.mean @ weight), float(np.sqrt(weight @ pooled.covariance @ weight))),
            "growth_not_pooled": (float(fitted.after(self.horizon) @ weight), alone),
            "growth_without_attention": (float(fitted.after_without_attention(self.horizon) @ weight), float("nan")),
            "customers_kept_alone": (float(staying.mean()), float(staying.std(ddof=1))),
        }
        frame = pd.DataFrame.from_dict(table, orient="index", columns=["estimate", "se"]).rename_axis("specification")
        return frame.assign(ratio=frame["estimate"] / frame["estimate"].iloc[0])


def _require_usable(fitted: Fitted) -> None:
    if not fitted.converged:
        raise FitError(
            "The joint model found no maximum.",
            ["use LeadLag, or wait for more answers; money that jumps or hardly moves cannot be followed"],
        )
    share = float(np.max(fitted.passing_share))
    if share < PASSING:
        raise FitError(
            "Experience hardly moves from answer to answer, so money that follows its movements cannot be seen.",
            [f"{share:.0%} of the spread of answers is passing; {PASSING:.0%} is needed"],
        )


def _coefficients(fitted: Fitted, horizon: int, pooled: Pooled, people: Population, rows: PathRows) -> pd.DataFrame:
    """List each segment's share of money per point: as measured, pooled, and how far it was drawn in."""
    low, high = np.quantile(pooled.draws, [0.05, 0.95], axis=0)
    groups: Sequence[str] = people.groups
    return pd.DataFrame(
        {
            "estimate": pooled.mean,
            "se": pooled.sd,
            "low": low,
            "high": high,
            "not_pooled": fitted.after(horizon),
            "not_pooled_se": np.sqrt(np.diag(fitted.covariance_after(horizon))),
            "shrinkage": pooled.shrinkage,
            "attention": fitted.attention,
            "attention_se": fitted.attention_se,
            "money": people.baseline["money"].to_numpy(dtype=float),
            "customers": [float(rows.customers[name]) for name in groups],
            "share": people.shares,
        },
        index=pd.Index(groups, name="group"),
    )
