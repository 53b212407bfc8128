"""What an improvement did to customers' money when there is nobody to compare with: one series and its break."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from rox.core.case import EVERYONE
from rox.core.check import Check, Grade, Verdict, grade_after
from rox.core.effect import Effect
from rox.core.errors import FitError
from rox.core.linked import Linked, month_index, month_label
from rox.models.one_place import PlaceSeries, estimand, everyone, notes, place_series
from rox.numerics.interrupted import (
    FEWEST_AFTER,
    FEWEST_BEFORE,
    Forecast,
    Interrupted,
    interrupted,
    structural_forecast,
)

Floats = NDArray[np.float64]
NORMAL_90 = float(stats.norm.isf(0.05))
LEVEL = 0.10
TWO_YEARS, ONE_YEAR = 24, 12
SUPPOSED = 6
"""Months before the start in which nothing may be found."""
DIGITS = 10
"""Decimals of the series that a search for variances sees, so that the unit of money cannot turn it."""
MONTH = re.compile(r"\d{4}-(0[1-9]|1[0-2])")


@dataclass(frozen=True, kw_only=True)
class InterruptedSeries:
    """Estimate the effect of an initiative from the started places' own series, without any comparison.

    Estimand: that of ``StaggeredUplift``, of the customers of the places that started first who were there when the
    series opens: mean over months ``window`` after the start of (outcome with the initiative − outcome without), as a
    share of their outcome in the ``base`` months before the start; customers count by what they hold relative to their
    own money when the series opens, those who left counting as zero. The cohort is frozen at the opening, because one
    frozen at the start has lost nobody before it and loses some afterwards, which alone would break the series. It
    assumes that the series would have gone on along its trend and season: that nothing else happened. Nobody can see
    that in the series, so somebody has to say it: ``events``.

    Segmented regression with a change of level and of slope; errors are the widest of those for first-order
    autocorrelation (corrected for what a short series hides of it), those of Newey & West, and those of a forecast with
    a wandering level. The forecast stands beside it, and where the two differ by more than chance the reader is told.
    Where the series is a random walk even these are too narrow: 90% intervals held 81% in simulation.

    The design is grade C at best, and D unless two years come before the start, no other event is listed, nothing is
    found in the months before the start, and the forecast agrees.

    Attributes:
        events: What else happened in the months of the series that could have moved the money, each as month and
            text, such as ``(("2024-05", "rate cut"),)``. Must be filled in by a person; ``()`` states that there was
            nothing.
        initiative: Name; may be missing when the study has one.
        window: First and last month after the start that are averaged; part of the question, declared before looking.
        promotions: Months of campaigns, such as ``("2024-11",)``; the series may differ in these, before and after.
        base: Months whose mean is a baseline: of each customer at the opening, of the series before the start.
        history: Months before the start that are used, those of the customers' baselines included.
        cap: Largest ratio to the own baseline that counts.
        slope: Whether the slope may change too.
        draws: Draws.
    """

    events: tuple[tuple[str, str], ...] | None = None
    initiative: str | None = None
    window: tuple[int, int] = (6, 11)
    promotions: tuple[str, ...] = ()
    base: int = 3
    history: int = 36
    cap: float = 3.0
    slope: bool = True
    draws: int = 4000

    def __post_init__(self) -> None:
        least = {"base": 1, "draws": 400}
        faults = [
            f"{name} is {getattr(self, name)}; needed: {low} or more"
            for name, low in least.items()
            if getattr(self, name) < low
        ]
        if self.history < FEWEST_BEFORE + self.base:
            faults.append(f"history is {self.history}; needed: {FEWEST_BEFORE + self.base} or more, baseline included")
        if not self.cap > 0:
            faults.append(f"cap is {self.cap:g}; needed: above 0")
        if not 0 <= self.window[0] <= self.window[1]:
            faults.append(f"window is {self.window}; needed: first and last month since the start, such as (6, 11)")
        labels = [event[0] for event in self.events or ()] + list(self.promotions)
        faults += [f"{label!r} is not a month; write it as '2024-05'" for label in labels if not MONTH.fullmatch(label)]
        if faults:
            raise FitError("This question cannot be asked.", faults)

    def fit(self, data: Linked, *, rng: int | np.random.Generator | None = None) -> Effect:
        """Estimate from a linked panel.

        Args:
            data: The panel, with the starts of the initiative.
            rng: Seed or generator.

        Raises:
            DataError: A panel without places, or with values that cannot be used.
            FitError: Nobody has listed other events, the series is too short, or its causes cannot be told apart.
        """
        generator = np.random.default_rng(rng)
        series = place_series(
            data,
            initiative=self.initiative,
            base=self.base,
            history=self.history,
            least=FEWEST_BEFORE + self.base,
            cap=self.cap,
            frozen="opening",
        )
        if self.events is None:
            raise FitError(
                f"ROX-L11: one series, no comparison: whatever else happened passes for {series.initiative}.",
                [
                    f"list what else could have moved the money from {month_label(int(series.months[0]))} to "
                    f"{month_label(series.first_start + self.window[1])}: prices, rates, campaigns, rivals, systems",
                    "events=(('2024-05', 'rate cut'),), or events=() if somebody has looked and found nothing",
                ],
            )
        outcome = self._series(series)
        fit = self._regression(series, outcome)
        forecast = self._forecast(series, outcome)
        wider = max(1.0, forecast.se / fit.mean_effect(*self.window)[1])
        checks, tables = self._evidence(series, outcome, fit, forecast, wider)
        checks = (*data.checks, *checks, *notes(data, series))
        df = max(outcome.size - len(fit.names), 3)
        wide = np.sqrt(df / generator.chisquare(df, self.draws))[:, None]
        roots, basis = np.linalg.eigh(fit.covariance)
        half = (basis * np.sqrt(np.maximum(roots, 0))) @ basis.T
        apart = generator.standard_normal((self.draws, len(roots))) @ half
        shown = fit.design[: self.window[1] + 1]
        path = (fit.coefficients + wider * wide * apart) @ shown.T
        people = everyone(series)
        return Effect(
            name="uplift",
            estimand=estimand(data, series, self.window, "place.population_opening"),
            groups=(EVERYONE,),
            draws=path[:, self.window[0] :].mean(1)[:, None],
            shares=people.shares,
            baseline=people.baseline,
            grade=grade_after(Grade.C, checks),
            checks=checks,
            specification=repr(self),
            trail=(*data.trail, *series.steps),
            fingerprint=data.fingerprint,
            counts={
                "rows": int(outcome.size),
                "customers": int(series.sizes[series.starts == series.first_start].sum()),
                "clusters": int((series.starts == series.first_start).sum()),
                "treated_units": int((series.starts == series.first_start).sum()),
                "control_units": 0,
            },
            path=path[:, None, :],
            path_months=tuple(range(self.window[1] + 1)),
            tables=tables,
        )

    def _series(self, series: PlaceSeries) -> Floats:
        """Average the places that started first, by customers; the months just before the start average one."""
        first = series.starts == series.first_start
        mean = series.sizes[first] @ series.ratio[first] / series.sizes[first].sum()
        long = mean.size - series.before
        needed = max(self.window[1] + 1, FEWEST_AFTER)
        if long < needed:
            raise FitError(
                f"The series has {long} months from the start on; {needed} are needed.",
                ["ask for an earlier window, such as window=(1, 5), or wait for more months"],
            )
        return np.asarray(mean / mean[series.before - self.base : series.before].mean())

    def _regression(self, series: PlaceSeries, outcome: Floats, before: int | None = None) -> Interrupted:
        """Fit with both kinds of errors and keep the wider one."""
        begin = series.before if before is None else before
        control = self._promoted(series)[: outcome.size]
        found = []
        for errors in ("ar1_corrected", "hac"):
            try:
                found.append(
                    interrupted(
                        outcome,
                        before=begin,
                        first_month=int(series.months[0]) % 12,
                        controls=control if 0 < control.sum() < control.size else None,
                        season=_season(begin),
                        slope=self.slope and before is None,
                        errors=errors,
                    )
                )
            except ValueError as cause:
                raise FitError("The series cannot be explained.", [str(cause)]) from cause
        return max(found, key=lambda fit: fit.mean_effect(*self._inside(fit))[1])

    def _inside(self, fit: Interrupted) -> tuple[int, int]:
        last = len(fit.effect) - 1
        return (self.window[0], self.window[1]) if last >= self.window[1] else (0, last)

    def _promoted(self, series: PlaceSeries) -> Floats:
        marked = {month_index(int(label[:4]), int(label[5:])) for label in self.promotions}
        return np.array([float(int(month) in marked) for month in series.months])

    def _forecast(self, series: PlaceSeries, outcome: Floats) -> Forecast:
        """Forecast the months after the start with a wandering level."""
        promoted = self._promoted(series)
        try:
            return structural_forecast(
                np.round(outcome, DIGITS),
                before=series.before,
                controls=promoted if 0 < promoted[: series.before].sum() < series.before else None,
                after=self.window,
            )
        except ValueError as cause:
            raise FitError("The series cannot be forecast.", [str(cause)]) from cause

    def _evidence(
        self, series: PlaceSeries, outcome: Floats, fit: Interrupted, forecast: Forecast, wider: float
    ) -> tuple[tuple[Check, ...], dict[str, pd.DataFrame]]:
        promoted = self._promoted(series)
        mean, se = fit.mean_effect(*self.window)
        apart = abs(mean - forecast.mean) > stats.norm.isf(LEVEL / 2) * forecast.se
        versus: dict[str, str | int | float] = {
            "estimate": 100 * mean,
            "forecast": 100 * forecast.mean,
            "low": 100 * (forecast.mean - NORMAL_90 * forecast.se),
            "high": 100 * (forecast.mean + NORMAL_90 * forecast.se),
        }
        short = series.before < TWO_YEARS
        checks = (
            self._events_check(series),
            _demoted("ROX-L37", short, months=series.before),
            self._earlier_check(series, outcome),
            _demoted("ROX-L40", bool(apart), **versus),
            *_later(series),
        )
        tables = {
            "coefficients": pd.DataFrame(
                {"estimate": fit.coefficients, "se": np.sqrt(np.diag(fit.covariance))},
                index=pd.Index(fit.names, name="term"),
            ),
            "rivals": pd.DataFrame(
                {"estimate": [mean, forecast.mean], "se": [se, forecast.se]},
                index=pd.Index(["segmented", "forecast"], name="method"),
            ),
            "event_study": _event_study(fit, self.window[1], wider),
            "series": pd.DataFrame(
                {"month": [month_label(int(month)) for month in series.months], "ratio": outcome, "promotion": promoted}
            ),
            "events": pd.DataFrame(list(self.events or ()), columns=["month", "event"]),
        }
        return checks, tables

    def _events_check(self, series: PlaceSeries) -> Check:
        """Lower the grade where other events are listed within the series (ROX-L11)."""
        first, last = month_label(int(series.months[0])), month_label(series.first_start + self.window[1])
        listed = [f"{month} {text}" for month, text in self.events or () if first <= month <= last]
        return _demoted("ROX-L11", bool(listed), events="; ".join(listed), first=first, last=last)

    def _earlier_check(self, series: PlaceSeries, outcome: Floats) -> Check:
        """Look for a break half a year before the start, in the months before it (ROX-L38)."""
        begin = series.before - SUPPOSED
        if begin < FEWEST_BEFORE:
            return _demoted("ROX-L39", True, months=series.before)
        fit = self._regression(series, outcome[: series.before], begin)
        mean, se = fit.mean_effect(0, SUPPOSED - 1)
        df = max(series.before - len(fit.names), 1)
        return _demoted("ROX-L38", abs(mean) > stats.t.isf(LEVEL / 2, df) * se, found=100 * mean, se=100 * se)


def _season(before: int) -> str:
    """Take twelve months only where each was seen twice, two waves where each was seen once."""
    return "dummies" if before >= 2 * ONE_YEAR + SUPPOSED else "harmonics" if before >= TWO_YEARS else "none"


def _demoted(code: str, fails: bool, **values: str | int | float) -> Check:
    verdict = Verdict.DEMOTE if fails else Verdict.PASS
    return Check(code=code, verdict=verdict, values=values, to_grade=Grade.D if fails else None)


def _later(series: PlaceSeries) -> list[Check]:
    """Say how many places started later and are left out (ROX-L41)."""
    later = int((np.isfinite(series.starts) & (series.starts > series.first_start)).sum())
    return [Check(code="ROX-L41", verdict=Verdict.NOTE, values={"places": later})] if later else []


def _event_study(fit: Interrupted, last: int, wider: float) -> pd.DataFrame:
    design = fit.design[: last + 1]
    se = wider * np.sqrt(np.einsum("mi,ij,mj->m", design, fit.covariance, design))
    effect = fit.effect[: last + 1]
    return pd.DataFrame(
        {
            "group": EVERYONE,
            "month": np.arange(last + 1),
            "estimate": effect,
            "se": se,
            "low": effect - NORMAL_90 * se,
            "high": effect + NORMAL_90 * se,
        }
    )
