"""Do customers with a lower score leave sooner? A Cox model with the score known at the start of each month."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from rox.core.check import Check, Grade, Verdict, grade_after
from rox.core.effect import Effect
from rox.core.errors import FitError
from rox.core.estimand import Estimand, Question
from rox.core.linked import Linked, Step
from rox.core.units import Dose, Unit
from rox.core.words import say
from rox.models.answers import control_columns, outcome_unit, read_panel, standardised
from rox.models.calibrated_cox import CalibratedCox, calibrated_cox
from rox.models.cox import CoxFit, cox
from rox.models.episodes import Clock, at_risk, joined, split
from rox.models.evidence import FEWEST_CUSTOMERS, rival_table
from rox.models.phrases import amount
from rox.models.population import Population, population, shown
from rox.models.readings import can_calibrate
from rox.models.reliability import Reliability, Share, answer_reliability
from rox.models.survival import survival_table

FEWEST_EXITS = 10
EXITS_PER_COEFFICIENT = 20
CHANGE, CLEAR = 0.3, 1.96
"""The effect changes over time when it differs by this share, and by so many standard errors."""
SE_RATIO = 1.25
FRESH = 3
"""Months up to which a score counts as fresh."""
HORIZON = 12
STYLE_RATIO, STYLE_Z = 0.6, 1.645
"""A lasting part that counts for less than this share of the passing one, clearly so, is a habit of answering."""


@dataclass(frozen=True, kw_only=True)
class ChurnCox:
    """Measure how the hazard of leaving by own choice goes with the score known before.

    Estimand: cause-specific log hazard ratio of voluntary exit per score point among customers at risk whose score was
    answered in an earlier month, one ratio for all segments. Assumes proportional hazards and, given segment, tenure
    and controls, that entry and other exits tell nothing about leaving; a causal reading needs no unmeasured
    confounding.

    An answer is noisy, and older every month. By default each month uses the experience expected from the answers so
    far (regression calibration; Prentice 1982), whose noise and fading are measured from repeated answers; the
    answer as it stands is shown beside it, uncorrected. Lasting habits of answering cannot be told from lasting
    experience, so the true ratio is probably stronger still.

    Counting-process rows (Andersen & Gill 1982): a customer enters in the month after the first answer, and each month
    uses the latest answers of earlier months. Efron's likelihood, strata by segment, errors clustered by customer
    (Lin & Wei 1989), to which the uncertainty of the calibration is added. Exits for other reasons end the follow-up,
    which is right for this hazard and would be wrong for a probability of leaving.

    Attributes:
        time: The clock: ``tenure`` (months since opening, with delayed entry) or ``calendar``, where the opening month
            is a covariate instead.
        reading: ``calibrated``, or ``carried``: the latest answer as it stands. Where too few customers answered more
            than once to measure the noise, ``calibrated`` falls back to ``carried`` and says so.
        controls: Columns to hold equal; default those the study names.
        horizons: Months at which retention is described.
        draws: Number of draws.

    Example:
        >>> from rox.testing import sample_linked
        >>> effect = ChurnCox().fit(sample_linked(seed=1), rng=1)
        >>> str(effect.estimand)
        'voluntary_exit [log_hazard] per score_point, hazard, 12 months'
    """

    time: Clock = "tenure"
    reading: Literal["calibrated", "carried"] = "calibrated"
    controls: Sequence[str] | None = None
    horizons: Sequence[int] = (12, 24)
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
        if unknown := [name for name in controls if name not in data.controls]:
            raise FitError(f"Controls {unknown} are not linked.", [f"linked are {list(data.controls)}"])
        panel = read_panel(data)
        months = at_risk(panel, self.time)
        months = months[months[list(controls)].notna().all(axis=1)]
        _require_exits(months, data)
        age = float(months["score_age"].mean())
        noise = answer_reliability(_answers(panel), generator)
        carried = self._fit(months, controls)
        held = self._calibrated(months, panel, noise, controls)
        main, used = (carried, months) if held is None else (held.fit, held.months)
        episodes = joined(used, ["score", *controls])
        people = population(panel, sorted(months["segment"].astype(str).unique()))
        checks = (
            *data.checks,
            Check(code="ROX-S01", verdict=Verdict.PASS, values={"rows": len(months), "look_back": data.look_back}),
            Check(code="ROX-S02", verdict=Verdict.PASS, values={"customers": months["customer"].nunique()}),
            self._steady(episodes, main, controls),
            _enough_exits(main),
            _errors_agree(main),
            *_read(held, noise, age),
            *_leavers_hold(panel, data),
        )
        min_cell = data.study.about.min_cell
        return Effect(
            name="churn",
            estimand=estimand_of(data, people),
            groups=people.groups,
            draws=np.repeat(_draws(main, self.draws, generator)[:, None], len(people.groups), axis=1),
            shares=people.shares,
            baseline=people.baseline,
            grade=grade_after(Grade.D, checks),
            checks=checks,
            specification=repr(self),
            trail=(*data.trail, *_steps(panel, months, episodes)),
            fingerprint=data.fingerprint,
            counts=_counts(months, episodes, main),
            tables={
                "coefficients": _coefficients(main),
                "rivals": self._rivals(months, used, controls, carried, held),
                "segments": _by_segment(months, people.groups, min_cell),
                "survival": survival_table(panel, people, self.horizons, min_cell),
            },
        )

    def _covariates(self, episodes: pd.DataFrame, controls: Sequence[str]) -> pd.DataFrame:
        columns = control_columns(episodes, controls)
        if self.time == "calendar" and episodes["opened"].notna().all():
            columns = columns.assign(opened=standardised(episodes["opened"]))
        varying = columns.loc[:, columns.std(ddof=0) > 0]
        return pd.concat([episodes[["score"]].astype(float), varying], axis=1)

    def _steady(self, episodes: pd.DataFrame, main: CoxFit, controls: Sequence[str]) -> Check:
        """Compare the ratio before and after the median exit; judged by size (ROX-S04)."""
        exits = episodes.loc[episodes["event"], "stop"]
        cut = float(exits.median())
        if min((exits <= cut).sum(), (exits > cut).sum()) < FEWEST_EXITS:
            return Check(code="ROX-S10", verdict=Verdict.NOTE, values={"exits": len(exits)})
        parts = split(episodes, cut)
        covariates = self._covariates(parts, controls)
        covariates.insert(1, "score after", covariates["score"] * parts["late"])
        fit = cox(parts, covariates)
        early, change = fit.coefficient[:2]
        se = float(fit.se[1])
        changes = abs(change) > CHANGE * abs(main.coefficient[0]) and abs(change) > CLEAR * se
        values = {"early": float(early), "late": float(early + change), "cut": cut}
        if changes:
            return Check(code="ROX-S04", verdict=Verdict.NOTE, values=values)
        return Check(code="ROX-S04", verdict=Verdict.PASS, values=values | {"difference": float(change), "se": se})

    def _fit(self, months: pd.DataFrame, controls: Sequence[str]) -> CoxFit:
        episodes = joined(months, ["score", *controls])
        return cox(episodes, self._covariates(episodes, controls))

    def _calibrated(
        self, months: pd.DataFrame, panel: pd.DataFrame, noise: Reliability | None, controls: Sequence[str]
    ) -> CalibratedCox | None:
        """Fit with readings instead of answers; nothing when that was not asked for or cannot be done."""
        if self.reading == "carried" or noise is None or not can_calibrate(noise, float(months["score_age"].mean())):
            return None
        return calibrated_cox(months, _answers(panel), noise, lambda rows: self._covariates(rows, controls))

    def _rivals(
        self,
        months: pd.DataFrame,
        used: pd.DataFrame,
        controls: Sequence[str],
        carried: CoxFit,
        held: CalibratedCox | None,
    ) -> pd.DataFrame:
        """What others would report beside the headline: the answers as they stand, fresh ones only, no controls."""
        found = {} if held is None else {"calibrated": _first(held.fit)}
        found["carried"] = _first(carried)
        episodes = joined(used, ["score"])
        found["without_controls"] = _first(cox(episodes, episodes[["score"]]))
        fresh = months[months["score_age"] <= FRESH]
        if fresh["event"].sum() >= FEWEST_EXITS:
            found["fresh_only"] = _first(self._fit(fresh, controls))
        if held is not None and held.apart is not None:
            found["lasting_part"] = _first(held.apart)
            found["passing_part"] = (float(held.apart.coefficient[-1]), float(held.apart.se[-1]))
        table = rival_table(found, next(iter(found)))
        return table.assign(hazard_ratio=np.exp(table["estimate"]))


def estimand_of(data: Linked, people: Population) -> Estimand:
    """Return what models of leaving estimate: a log hazard ratio per score point."""
    return Estimand(
        question=Question.HAZARD,
        population=say("score.population.churn", data.study.language, month=people.month),
        treatment=say("score.treatment.churn", data.study.language),
        dose=Dose.SCORE_POINT,
        outcome="voluntary_exit",
        unit=Unit.LOG_HAZARD,
        horizon=HORIZON,
        includes_exit=True,
        contrast="ratio",
        channels=frozenset({"retention"}),
    )


def _counts(months: pd.DataFrame, episodes: pd.DataFrame, fit: CoxFit) -> dict[str, int]:
    return {
        "rows": len(months),
        "episodes": len(episodes),
        "customers": months["customer"].nunique(),
        "clusters": fit.customers,
        "exits": fit.events,
    }


def _first(fit: CoxFit) -> tuple[float, float]:
    return float(fit.coefficient[0]), float(fit.se[0])


def _require_exits(months: pd.DataFrame, data: Linked) -> None:
    exits, customers = int(months["event"].sum()), months["customer"].nunique()
    faults = []
    if "exits" not in data.study.tables:
        faults.append("the study names no table of exits; add [tables.exits] with customer, date and reason")
    elif exits < FEWEST_EXITS:
        faults.append(
            f"{exits} customers with a known score left by their own choice; at least {FEWEST_EXITS} are needed: wait, "
            "lengthen the look-back, or check which reasons count as voluntary"
        )
    if customers < FEWEST_CUSTOMERS:
        faults.append(f"{customers} customers have a known score; at least {FEWEST_CUSTOMERS} are needed")
    if faults:
        raise FitError("Leaving cannot be modelled from these data.", faults)


def _draws(fit: CoxFit, size: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Draw the score's coefficient, shape (size,): normal, or Student's t when fewer than 100 customers left."""
    noise = rng.standard_normal(size) if fit.events >= 100 else rng.standard_t(fit.events - 1, size)
    return np.asarray(fit.coefficient[0] + fit.se[0] * noise)


def _answers(panel: pd.DataFrame) -> pd.DataFrame:
    first = panel[panel["score_age"] == 1]
    return first.assign(answered=first["month"] - 1)


def _steps(panel: pd.DataFrame, months: pd.DataFrame, episodes: pd.DataFrame) -> tuple[Step, ...]:
    customers = months["customer"].nunique()
    lost = len(panel) - len(months)
    return (
        Step(name="at_risk", rows=len(months), lost=lost, customers=customers, reason="score.step.at_risk"),
        Step(name="episodes", rows=len(episodes), lost=0, customers=customers, reason="score.step.episodes"),
    )


def _enough_exits(fit: CoxFit) -> Check:
    enough = fit.events >= EXITS_PER_COEFFICIENT * len(fit.names)
    values = {"events": fit.events, "parameters": len(fit.names)}
    return Check(code="ROX-S06", verdict=Verdict.PASS if enough else Verdict.NOTE, values=values)


def _errors_agree(fit: CoxFit) -> Check:
    ratio = float(fit.se[0] / fit.model_se[0])
    agree = 1 / SE_RATIO <= ratio <= SE_RATIO
    return Check(code="ROX-S09", verdict=Verdict.PASS if agree else Verdict.NOTE, values={"ratio": ratio})


def _read(held: CalibratedCox | None, noise: Reliability | None, age: float) -> tuple[Check, ...]:
    """Say how the answers were read, and whether a habit of answering shows (ROX-E03)."""
    if held is None:
        return (_noisy(None if noise is None else noise.carried(age), age),)
    lasting, passing, memory, error = held.noise.parts[0]
    shares = {"lasting": lasting, "passing": passing, "noise": error}
    total = sum(shares.values())
    values = {name: 100 * part / total for name, part in shares.items()} | {"memory": memory, "age": age}
    read = Check(code="ROX-S11", verdict=Verdict.NOTE, values=values)
    if held.apart is None:
        return (read,)
    first, last = held.apart.coefficient[0], held.apart.coefficient[-1]
    between = float(held.apart.covariance[[0, 0, -1], [0, -1, -1]] @ np.array([1.0, -2.0, 1.0]))
    habit = abs(first) < STYLE_RATIO * abs(last) and abs(first - last) > STYLE_Z * np.sqrt(between)
    parts = {"lasting": float(first), "passing": float(last)}
    return (read, Check(code="ROX-E03", verdict=Verdict.NOTE if habit else Verdict.PASS, values=parts))


def _noisy(signal: Share | None, age: float) -> Check:
    if signal is None:
        return Check(code="ROX-S08", verdict=Verdict.NOTE, values={"age": age})
    values = {"age": age, "signal": 100 * signal.value, "low": 100 * signal.low, "high": 100 * signal.high}
    return Check(code="ROX-S07", verdict=Verdict.NOTE, values=values)


def _leavers_hold(panel: pd.DataFrame, data: Linked) -> tuple[Check, ...]:
    """Say what leavers held, since money saved is theirs and not the average customer's (ROX-S05)."""
    unit, currency = outcome_unit(data)
    final = panel.drop_duplicates("customer", keep="last")
    gone = final[final["voluntary"] & (final["exit_month"] <= panel["month"].max())]
    now = panel[panel["month"] == panel["month"].max()]
    if unit is Unit.COUNT or len(gone) < data.study.about.min_cell:
        return ()
    leavers, book = (np.average(part["outcome"], weights=part["weight"]) for part in (gone, now))
    values = {"leavers": amount(leavers, currency), "book": amount(book, currency)}
    return (Check(code="ROX-S05", verdict=Verdict.NOTE, values=values),)


def _coefficients(fit: CoxFit) -> pd.DataFrame:
    reach = stats.norm.ppf(0.95) * fit.se
    return pd.DataFrame(
        {
            "estimate": fit.coefficient,
            "se": fit.se,
            "se_model": fit.model_se,
            "low": fit.coefficient - reach,
            "high": fit.coefficient + reach,
            "hazard_ratio": np.exp(fit.coefficient),
        },
        index=pd.Index(fit.names, name="covariate"),
    )


def _by_segment(months: pd.DataFrame, groups: Sequence[str], min_cell: int) -> pd.DataFrame:
    """Count customers, months at risk and exits; counts of fewer than ``min_cell`` customers are blank."""
    table = months.groupby("segment").agg(
        customers=("customer", "nunique"), months=("customer", "size"), exits=("event", "sum"), other=("gone", "sum")
    )
    table = table.reindex(list(groups)).rename_axis("group").astype(float)
    table["other"] -= table["exits"]
    table["exit_hazard"] = table["exits"] / table["months"]
    few = table["exits"].between(1, min_cell - 1)
    table.loc[few, ["exits", "exit_hazard"]] = np.nan
    table.loc[table["other"].between(1, min_cell - 1), "other"] = np.nan
    table = shown(table, table["customers"], min_cell)
    return table.assign(suppressed=table["suppressed"] | few)
