"""By what factor does the time to leaving differ per point of the first reading? Accelerated failure times."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import pandas as pd
from lifelines import LogNormalAFTFitter, WeibullAFTFitter
from lifelines.exceptions import ApproximationWarning, ConvergenceError, StatError
from numpy.typing import NDArray
from scipy import stats

from rox.core.check import Check, Verdict, check_table
from rox.core.effect import Effect
from rox.core.errors import FitError
from rox.core.linked import Linked, Step, trail_table
from rox.core.units import Unit
from rox.core.words import Language
from rox.models.answers import control_columns
from rox.models.forecast_rows import ForecastRows, forecast_rows
from rox.numerics.arrays import freeze
from rox.numerics.generalized_gamma import generalized_gamma

Floats = NDArray[np.float64]
Distribution = Literal["weibull", "lognormal", "generalized_gamma"]

MOST_UNKNOWN = 0.05
"""Share of customers whose opening may be unknown before months since opening cannot be the clock."""
MIDDLE = 0.5
"""An exit lies somewhere in its month: in its middle."""


@dataclass(frozen=True, kw_only=True, eq=False)
class TimesFit:
    """A regression of log time: log T = constant + coefficient·x + scale·error. k = covariates.

    Attributes:
        names: Shape (k,).
        coefficient: Shape (k,), logarithm of the time ratio per unit.
        covariance: Shape (k, k).
        constant: Log time where all covariates are 0.
        scale: Of the error: of the smallest extreme value for ``weibull``, normal for ``lognormal``.
        shape: Of the generalised gamma: 1 is Weibull, 0 log-normal; None for the others.
        loglik: Maximum of the log likelihood of times, not of their logarithms.
        parameters: How many were fitted.
    """

    names: tuple[str, ...]
    coefficient: Floats
    covariance: Floats
    constant: float
    scale: float
    shape: float | None
    loglik: float
    parameters: int

    def __post_init__(self) -> None:
        freeze(self, "coefficient", "covariance")

    @property
    def se(self) -> Floats:
        """Standard errors, shape (k,)."""
        return np.asarray(np.sqrt(np.diag(self.covariance)))

    @property
    def aic(self) -> float:
        """Akaike's criterion; the smallest describes best."""
        return 2 * self.parameters - 2 * self.loglik


def accelerated_times(
    duration: pd.Series,
    event: pd.Series,
    covariates: pd.DataFrame,
    *,
    entry: pd.Series | None = None,
    distribution: Distribution = "weibull",
) -> TimesFit:
    """Fit log times by maximum likelihood with late entry and right censoring (Kalbfleisch & Prentice 2002, ch. 3).

    Args:
        duration: Time of the event or of censoring.
        event: Whether it was the event.
        covariates: Known at entry, one column each.
        entry: Time from which on the row is followed; default 0.
        distribution: Of the times.

    Raises:
        FitError: Times or covariates that do not fit, or a likelihood without a maximum.
    """
    frame = covariates.astype(float).assign(_stop=duration.astype(float), _event=event.astype(int))
    faults = []
    if not (frame["_stop"] > (0 if entry is None else entry.astype(float))).all():
        faults.append("some rows are never followed: a time must lie after 0 and after its entry")
    if flat := [str(name) for name in covariates if not covariates[name].std(ddof=0) > 0]:
        faults.append(f"{flat} do not vary")
    if faults:
        raise FitError("Times to leaving cannot be regressed.", faults)
    names = tuple(str(name) for name in covariates)
    if distribution == "generalized_gamma":
        return _gamma(frame, names, entry)
    columns: dict[str, str] = {"duration_col": "_stop", "event_col": "_event"}
    if entry is not None:
        frame["_entry"] = entry.astype(float)
        columns["entry_col"] = "_entry"
    weibull = distribution == "weibull"
    fitter = WeibullAFTFitter() if weibull else LogNormalAFTFitter()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ApproximationWarning)
            fitter.fit(frame, **columns)
    except (ConvergenceError, StatError, np.linalg.LinAlgError) as cause:
        raise _no_maximum(distribution, cause) from cause
    mean, spread = ("lambda_", "rho_") if weibull else ("mu_", "sigma_")
    places = [(mean, name) for name in names]
    scale = float(np.exp(fitter.params_[spread, "Intercept"]))
    return TimesFit(
        names=names,
        coefficient=fitter.params_.loc[places].to_numpy(dtype=float),
        covariance=fitter.variance_matrix_.loc[places, places].to_numpy(dtype=float),
        constant=float(fitter.params_[mean, "Intercept"]),
        scale=1 / scale if weibull else scale,
        shape=None,
        loglik=float(fitter.log_likelihood_),
        parameters=len(fitter.params_),
    )


def _gamma(frame: pd.DataFrame, names: tuple[str, ...], entry: pd.Series | None) -> TimesFit:
    began = None if entry is None else entry.to_numpy(dtype=float)
    try:
        found = generalized_gamma(frame["_stop"], frame["_event"], frame[list(names)], entry=began)
    except ValueError as cause:
        raise _no_maximum("generalized_gamma", cause) from cause
    return TimesFit(
        names=names,
        coefficient=found.coefficient,
        covariance=found.covariance,
        constant=found.constant,
        scale=found.scale,
        shape=found.shape,
        loglik=found.loglik,
        parameters=len(names) + 3,
    )


def _no_maximum(distribution: str, cause: Exception) -> FitError:
    return FitError(
        f"The {distribution} model of times has no maximum.",
        [str(cause), "drop covariates that single out those who left, or choose another distribution"],
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class TimeRatio:
    """By what factor the time to leaving by own choice differs per point of the first reading.

    It is no :class:`rox.core.effect.Effect`: no question of an estimand asks for a ratio of times, and nothing is
    priced by it. It stands beside the hazard ratio of :class:`rox.models.churn_cox.ChurnCox`.

    Attributes:
        estimate: Logarithm of the ratio per score point.
        se: Its standard error.
        low: Lower end of the interval at ``level``, as a logarithm; ``high`` the upper.
        level: Of the interval.
        fit: With all covariates, the reading first.
        distribution: Of the times.
        log_hazard: Log hazard ratio that a Weibull model implies, and its error; None for the others, whose hazards are
            not proportional.
        customers: Followed.
        exits: By own choice.
        checks: What was looked at.
        trail: From the company's rows to the rows used.
        fingerprint: Of the linked data.
        specification: The question as asked.
    """

    estimate: float
    se: float
    low: float
    high: float
    level: float
    fit: TimesFit
    distribution: Distribution
    log_hazard: tuple[float, float] | None
    customers: int
    exits: int
    checks: tuple[Check, ...]
    trail: tuple[Step, ...]
    fingerprint: str
    specification: str

    @property
    def ratio(self) -> float:
        """Time with a reading one point higher, over time without."""
        return float(np.exp(self.estimate))

    @property
    def coefficients(self) -> pd.DataFrame:
        """By covariate: ``estimate``, ``se``, ``low``, ``high`` and ``time_ratio``."""
        reach = stats.norm.ppf((1 + self.level) / 2) * self.fit.se
        value = self.fit.coefficient
        table = {"estimate": value, "se": self.fit.se, "low": value - reach, "high": value + reach}
        return pd.DataFrame({**table, "time_ratio": np.exp(value)}, index=pd.Index(self.fit.names, name="covariate"))

    def beside(self, churn: Effect) -> Check:
        """Compare the direction with that of a log hazard ratio, overall (ROX-S46).

        Raises:
            FitError: The effect is no log hazard ratio.
        """
        if churn.estimand.unit is not Unit.LOG_HAZARD:
            raise FitError(f"{churn.name!r} is in {churn.estimand.unit}; needed: a log hazard ratio, as of ChurnCox.")
        hazard = float(churn.overall.mean())
        agree = hazard * self.estimate < 0
        values = {
            "hazard": float(np.exp(hazard)),
            "time": self.ratio,
            "low": np.exp(self.low),
            "high": np.exp(self.high),
        }
        return Check(
            code="ROX-S46",
            verdict=Verdict.PASS if agree else Verdict.NOTE,
            values={name: float(value) for name, value in values.items()},
        )

    def check_table(self, language: Language = "en") -> pd.DataFrame:
        """List the checks for a reader."""
        return check_table(self.checks, language)

    def trail_table(self, language: Language = "en") -> pd.DataFrame:
        """List the steps for a reader."""
        return trail_table(self.trail, language)


@dataclass(frozen=True, kw_only=True)
class ChurnAFT:
    """Measure by what factor the time to leaving by own choice differs per point of the first reading.

    Estimand: ratio of times per score point of experience as read when the customer entered, segments and controls
    equal. Assumes the distribution, that covariates stretch time alike at every age, and that entry and other exits
    tell nothing about leaving. The reading is that of the entry and stays; experience moves on, so the ratio is nearer
    to one than that of a lasting difference. A cross-check where hazards are not proportional (``proportional``).

    Accelerated failure times with late entry (Kalbfleisch & Prentice 2002, ch. 3; generalised gamma Prentice 1974).
    Exits for other reasons, and the first month in which no recent answer is known, end the follow-up.

    Attributes:
        distribution: Of the times; the generalised gamma holds the two others as special cases.
        clock: ``tenure`` counts months since opening, ``answer`` months since the first answer came into use.
        reading: ``calibrated``, or ``carried``: the first answer as it stands.
        controls: Columns to hold equal; default those the study names.
        level: Of intervals.
    """

    distribution: Distribution = "weibull"
    clock: Literal["tenure", "answer"] = "tenure"
    reading: Literal["calibrated", "carried"] = "calibrated"
    controls: Sequence[str] | None = None
    level: float = 0.9

    def fit(self, data: Linked, *, rng: int | np.random.Generator | None = None) -> TimeRatio:
        """Estimate the ratio.

        Raises:
            FitError: Choices that do not fit, too few customers or exits, or a likelihood without a maximum.
            DataError: A panel that has no times at risk.
        """
        controls = tuple(data.controls if self.controls is None else self.controls)
        self._require(data, controls)
        held = forecast_rows(data, self.reading, np.random.default_rng(rng))
        spells = _spells(held, controls)
        known = spells[list(controls)].notna().all(axis=1)
        if self.clock == "tenure":
            _require_openings(spells)
            known &= spells["age"] >= 0
        spells = spells[known].reset_index(drop=True)
        start = spells["age"].astype(float) if self.clock == "tenure" else pd.Series(0.0, index=spells.index)
        covariates = _covariates(spells, controls)
        fit = accelerated_times(
            start + spells["months"] - MIDDLE * spells["left"],
            spells["left"],
            covariates,
            entry=start if self.clock == "tenure" else None,
            distribution=self.distribution,
        )
        value, se = float(fit.coefficient[0]), float(fit.se[0])
        reach = float(stats.norm.ppf((1 + self.level) / 2)) * se
        customers, exits = len(spells), int(spells["left"].sum())
        lost = int((~known).sum())
        step = Step(name="first_reading", rows=customers, lost=lost, customers=customers, reason="leaving.step.spells")
        values = {"age": held.old}
        return TimeRatio(
            estimate=value,
            se=se,
            low=value - reach,
            high=value + reach,
            level=self.level,
            fit=fit,
            distribution=self.distribution,
            log_hazard=(-value / fit.scale, se / fit.scale) if self.distribution == "weibull" else None,
            customers=customers,
            exits=exits,
            checks=(
                *data.checks,
                Check(code="ROX-S02", verdict=Verdict.PASS, values={"customers": customers}),
                Check(code="ROX-S47", verdict=Verdict.NOTE),
                *(() if held.calibrated else (Check(code="ROX-S45", verdict=Verdict.NOTE, values=values),)),
            ),
            trail=(*data.trail, step),
            fingerprint=data.fingerprint,
            specification=repr(self),
        )

    def _require(self, data: Linked, controls: Sequence[str]) -> None:
        faults = [
            f"{name} is {value!r}; needed: {' or '.join(allowed)}"
            for name, value, allowed in (
                ("distribution", self.distribution, get_args(Distribution)),
                ("clock", self.clock, ("tenure", "answer")),
                ("reading", self.reading, ("calibrated", "carried")),
            )
            if value not in allowed
        ]
        if unknown := [name for name in controls if name not in data.controls]:
            faults.append(f"controls {unknown} are not linked; linked are {list(data.controls)}")
        if not 0 < self.level < 1:
            faults.append(f"level is {self.level}; needed: between 0 and 1")
        if faults:
            raise FitError("These choices do not fit the linked data.", faults)


def proportional(churn: Effect) -> bool:
    """Say whether the hazards of a fit of ``ChurnCox`` were found proportional; if not, a ratio of times helps.

    Raises:
        FitError: The effect was not tested for it.
    """
    found = [check for check in churn.checks if check.code in ("ROX-S04", "ROX-S10")]
    if not found:
        raise FitError(f"{churn.name!r} was not tested for proportional hazards.", ["give the effect of ChurnCox"])
    return all(check.code != "ROX-S04" or check.verdict is Verdict.PASS for check in found)


def _spells(held: ForecastRows, controls: Sequence[str]) -> pd.DataFrame:
    """One row per customer: what was known at entry, months followed without a gap, whether they ended in leaving."""
    rows = held.rows
    first = rows.drop_duplicates("customer").set_index("customer")
    ahead = (rows["month"] - rows["customer"].map(first["month"])).to_numpy()
    kept = rows[ahead == rows.groupby("customer").cumcount().to_numpy()]
    ended = kept.groupby("customer").agg(months=("month", "size"), kind=("kind", "max"))
    reading = first["lasting"] + first["passing"]
    facts = first[["segment", "age", *controls]].assign(reading=reading)
    spells = facts.join(ended)
    return spells.assign(left=(spells["kind"] == 1).astype(int)).reset_index()


def _require_openings(spells: pd.DataFrame) -> None:
    unknown = float((spells["age"] < 0).mean())
    if unknown > MOST_UNKNOWN:
        raise FitError(
            "Time since opening cannot be the clock.",
            [f"{unknown:.0%} of customers have no opening month", 'mend `opened`, or use ChurnAFT(clock="answer")'],
        )


def _covariates(spells: pd.DataFrame, controls: Sequence[str]) -> pd.DataFrame:
    """Return the reading, segments and controls, without columns that do not vary."""
    columns = {"score": spells["reading"]}
    for name in sorted(spells["segment"].unique())[1:]:
        columns[f"segment={name}"] = (spells["segment"] == name).astype(float)
    found = pd.concat([pd.DataFrame(columns), control_columns(spells, controls)], axis=1)
    return found.loc[:, (found.std(ddof=0) > 0) | (found.columns == "score")]
