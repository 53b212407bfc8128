"""What an improvement did to customers' money where one place, or a few, had it: against a synthetic place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from rox.core.case import EVERYONE
from rox.core.check import Check, Grade, Verdict, grade_after
from rox.core.effect import Effect
from rox.core.errors import FitError
from rox.core.linked import Linked
from rox.models.one_place import PlaceSeries, estimand, everyone, notes, place_series
from rox.models.phrases import p_value
from rox.models.synthetic_places import (
    FEWEST_DONORS,
    Answer,
    Comparison,
    Method,
    compare,
    earlier,
    jackknife,
    placebos,
    without_each,
)

Floats = NDArray[np.float64]
NORMAL_90 = float(stats.norm.isf(0.05))
LEVEL = 0.10
FEW_PLACES = 6
ENOUGH_DONORS = 9
"""Donors from which the rank of a single place can reach one in ten."""
SUPPOSED = 6
"""Months before the start in which nothing may be found."""
MOVED = 0.5
"""Share of the estimate by which a single donor may move it."""


@dataclass(frozen=True, kw_only=True)
class SyntheticUplift:
    """Estimate the effect of an initiative that one place, or a few, got, against a weighted mean of other places.

    Estimand: that of ``StaggeredUplift``, of all customers of the started places together: mean over months ``window``
    after the start of (outcome with the initiative − outcome without), as a share of the customer's own mean outcome
    in the ``base`` months before the first start, customers counting equally, those who left counting as zero. It
    assumes that the places which together moved like the started one before, would have moved like it afterwards, and
    that a place does not affect another.

    One place is compared by synthetic control (Abadie, Diamond & Hainmueller 2010), several by synthetic difference in
    differences (Arkhangelsky et al. 2021). The spread of the draws is that of the same estimate where nothing happened:
    at places without a start, dealt the same starts, with the luck of fewer customers added where these have more.
    Where these are too few for that and six or more places started it comes from a jackknife over places, and the
    estimate cannot be tried where nothing happened: grade C.

    The design is grade B. Fewer than six started places, an estimate that hangs on one donor, or one found before
    anything began, lower it. A synthetic place that does not follow the started one before the start is refused.

    Attributes:
        initiative: Name; may be missing when the study has one.
        window: First and last month after the start that are averaged; part of the question, declared before looking.
        base: Months before the first start whose mean is a customer's own baseline.
        history: Months before the first start that are used, and in which a customer must have been there.
        least: Months before a start without which it is not used.
        cap: Largest ratio to the own baseline that counts.
        method: ``auto``: synthetic control for one started place, otherwise synthetic difference in differences.
        placebos: Random deals of the starts when several places started.
        draws: Draws.
    """

    initiative: str | None = None
    window: tuple[int, int] = (6, 11)
    base: int = 3
    history: int = 24
    least: int = 12
    cap: float = 3.0
    method: Literal["auto", "synthetic_control", "synthetic_did"] = "auto"
    placebos: int = 200
    draws: int = 4000

    def __post_init__(self) -> None:
        least = {"base": 1, "least": 12, "placebos": 50, "draws": 400}
        faults = [
            f"{name} is {getattr(self, name)}; needed: {low} or more"
            for name, low in least.items()
            if getattr(self, name) < low
        ]
        if not self.cap > 0:
            faults.append(f"cap is {self.cap:g}; needed: above 0")
        if self.history < max(self.least, self.base):
            faults.append(f"history is {self.history}; needed: {max(self.least, self.base)} or more, as `least` asks")
        if not 0 <= self.window[0] <= self.window[1]:
            faults.append(f"window is {self.window}; needed: first and last month since the start, such as (6, 11)")
        if self.method not in ("auto", "synthetic_control", "synthetic_did"):
            faults.append(f"method is {self.method!r}; needed: auto, synthetic_control or synthetic_did")
        if faults:
            raise FitError("This question cannot be asked.", faults)

    def fit(self, data: Linked, *, rng: int | np.random.Generator | None = None) -> Effect:
        """Estimate from a linked panel.

        Args:
            data: The panel, with the starts of the initiative.
            rng: Seed or generator.

        Raises:
            DataError: A panel without places, or with values that cannot be used.
            FitError: Nothing to compare with, or no synthetic place that follows the started one before the start.
        """
        generator = np.random.default_rng(rng)
        series = place_series(
            data, initiative=self.initiative, base=self.base, history=self.history, least=self.least, cap=self.cap
        )
        question = self._question(series)
        answer = compare(question)
        noise, placebo_answers = self._noise(question, answer, generator)
        checks, tables = self._evidence(series, question, answer, noise, placebo_answers, generator)
        people = everyone(series)
        path = answer.path + _noise_draws(noise, self.draws, generator)
        inside = (answer.months >= self.window[0]) & (answer.months <= self.window[1])
        checks = (*data.checks, *checks, *notes(data, series))
        return Effect(
            name="uplift",
            estimand=estimand(data, series, self.window, "place.population"),
            groups=(EVERYONE,),
            draws=path[:, inside].mean(1)[:, None],
            shares=people.shares,
            baseline=people.baseline,
            grade=grade_after(Grade.B, checks),
            checks=checks,
            specification=repr(self),
            trail=(*data.trail, *series.steps),
            fingerprint=data.fingerprint,
            counts=_counts(series, question, placebo_answers),
            path=path[:, None, :],
            path_months=tuple(int(month) for month in answer.months),
            tables=tables,
        )

    def _question(self, series: PlaceSeries) -> Comparison:
        started = int(np.isfinite(series.starts).sum())
        method: Method = "synthetic_control" if started == 1 else "synthetic_did"
        return Comparison(
            outcome=series.ratio,
            starts=series.starts - series.months[0],
            sizes=series.sizes,
            window=self.window,
            method=method if self.method == "auto" else self.method,
            spread=series.spread,
        )

    def _noise(
        self, question: Comparison, answer: Answer, rng: np.random.Generator
    ) -> tuple[Floats, tuple[Answer, ...]]:
        """Return rows whose squares add to the covariance of the path, and the placebos if there are any."""
        treated = int(np.isin(question.starts, question.cohorts()).sum())
        pool = int(question.donors(max(question.cohorts())).sum())
        if pool < treated + FEWEST_DONORS and treated >= FEW_PLACES and question.method == "synthetic_did":
            return jackknife(question), ()
        found = tuple(placebos(question, size=self.placebos, rng=rng))
        _follows(answer, self._typical(answer, found))
        return np.stack([each.path for each in found]) / np.sqrt(len(found)), found

    def _typical(self, answer: Answer, found: tuple[Answer, ...]) -> float:
        """Return the root mean squared gap of placebos in a month of the window."""
        after = answer.months >= self.window[0]
        return float(np.sqrt(np.mean([(each.path[after] ** 2).mean() for each in found])))

    def _evidence(
        self,
        series: PlaceSeries,
        question: Comparison,
        answer: Answer,
        noise: Floats,
        found: tuple[Answer, ...],
        rng: np.random.Generator,
    ) -> tuple[tuple[Check, ...], dict[str, pd.DataFrame]]:
        treated = int(np.isin(question.starts, question.cohorts()).sum())
        checks = [few_places(treated), *_unseen(series, treated), *_few_donors(series), assigned_check(series)]
        tables = {"event_study": _event_study(answer, noise), "weights": _weights(series, answer)}
        if found:
            spread = self._typical(answer, found)
            checks += [
                Check(code="ROX-L30", verdict=Verdict.PASS, values=_points(error=answer.pre_rmspe, typical=spread)),
                _in_space(question, answer, found),
            ]
            tables["placebos"] = pd.DataFrame(
                {
                    "estimate": [each.estimate for each in found],
                    "pre_rmspe": [each.pre_rmspe for each in found],
                    "ratio": [each.ratio for each in found],
                }
            )
            checks.append(self._in_time(question, rng))
        else:
            checks.append(Check(code="ROX-L44", verdict=Verdict.DEMOTE, to_grade=Grade.C))
        leave = [(series.units[place], answer.weights[place], value) for place, value in without_each(question, answer)]
        tables["without_donor"] = pd.DataFrame(leave, columns=["donor", "weight", "estimate"])
        checks.append(_one_donor(answer, tables["without_donor"], self._sd(answer, noise)))
        return tuple(checks), tables

    def _sd(self, answer: Answer, noise: Floats) -> float:
        """Return the standard error of the window's mean."""
        inside = (answer.months >= self.window[0]) & (answer.months <= self.window[1])
        return float(np.sqrt((noise[:, inside].mean(1) ** 2).sum()))

    def _in_time(self, question: Comparison, rng: np.random.Generator) -> Check:
        """Look for an effect in the months before the start (ROX-L32)."""
        supposed = earlier(question, SUPPOSED)
        fake = compare(supposed)
        spread = np.array([each.estimate for each in placebos(supposed, size=self.placebos // 2, rng=rng)])
        sd = float(np.sqrt((spread**2).mean()))
        beyond = abs(fake.estimate) > float(stats.t.isf(LEVEL / 2, max(spread.size - 1, 1))) * sd
        values: dict[str, str | int | float] = {"months": SUPPOSED, **_points(found=fake.estimate, se=sd)}
        return Check(code="ROX-L32", verdict=Verdict.DEMOTE if beyond else Verdict.PASS, values=values)


def few_places(treated: int) -> Check:
    """Lower the grade to C where the luck of a place cannot be told from the effect (ROX-L34)."""
    few = treated < FEW_PLACES
    return Check(
        code="ROX-L34",
        verdict=Verdict.DEMOTE if few else Verdict.PASS,
        values={"places": treated},
        to_grade=Grade.C if few else None,
    )


def assigned_check(series: PlaceSeries) -> Check:
    """Say how the places were chosen (ROX-L05, ROX-L07, ROX-L42)."""
    if series.assigned == "random":
        return Check(code="ROX-L05", verdict=Verdict.PASS)
    if series.assigned == "unknown":
        return Check(code="ROX-L07", verdict=Verdict.DEMOTE, values={"grade": "C"}, to_grade=Grade.C)
    return Check(code="ROX-L42", verdict=Verdict.NOTE)


def _points(**shares: float) -> dict[str, float]:
    return {name: 100 * float(value) for name, value in shares.items()}


def _follows(answer: Answer, typical: float) -> None:
    """Refuse a synthetic place that is further off before the start than others are afterwards by chance."""
    if answer.pre_rmspe > typical:
        raise FitError(
            "No weighted mean of other places follows the started place before its start.",
            [
                f"off by {answer.pre_rmspe:.3f} of own baseline a month; places without a start are off by "
                f"{typical:.3f} a month in the window",
                "use method='synthetic_did', which allows a lasting distance, places more like it, or a longer history",
            ],
        )


def _noise_draws(noise: Floats, size: int, rng: np.random.Generator) -> Floats:
    """Draw Student's t paths with the covariance of placebos, shape (size, e); df is their number less one."""
    df = max(len(noise) - 1, 3)
    wide = np.sqrt(df / rng.chisquare(df, size))[:, None]
    return np.asarray(wide * (rng.standard_normal((size, len(noise))) @ noise))


def _in_space(question: Comparison, answer: Answer, found: tuple[Answer, ...]) -> Check:
    """Rank the answer among those where nothing happened (ROX-L31)."""
    if question.method == "synthetic_control":
        mine, theirs = answer.ratio, np.array([each.ratio for each in found])
    else:
        mine, theirs = abs(answer.estimate), np.abs([each.estimate for each in found])
    p = float((1 + (theirs >= mine).sum()) / (theirs.size + 1))
    values: dict[str, str | int | float] = {"p": p_value(p), "placebos": int(theirs.size)}
    return Check(code="ROX-L31", verdict=Verdict.PASS if p <= LEVEL else Verdict.NOTE, values=values)


def _one_donor(answer: Answer, table: pd.DataFrame, sd: float) -> Check:
    """Lower the grade where one donor moves the estimate by half, and by more than chance does (ROX-L33)."""
    if table.empty:
        return Check(code="ROX-L33", verdict=Verdict.DEMOTE, values=_points(estimate=answer.estimate, without=0.0))
    moved = (table["estimate"] - answer.estimate).abs()
    without = float(table["estimate"].iloc[int(moved.to_numpy().argmax())])
    decides = float(moved.max()) > max(MOVED * abs(answer.estimate), sd)
    values = _points(estimate=answer.estimate, without=without)
    return Check(code="ROX-L33", verdict=Verdict.DEMOTE if decides else Verdict.PASS, values=values)


def _unseen(series: PlaceSeries, treated: int) -> list[Check]:
    """Say how many started places cannot be followed through the window (ROX-L43)."""
    lost = int(np.isfinite(series.starts).sum()) - treated
    return [Check(code="ROX-L43", verdict=Verdict.NOTE, values={"places": lost})] if lost else []


def _few_donors(series: PlaceSeries) -> list[Check]:
    """Say where a rank among donors cannot be rare (ROX-L35)."""
    donors = int(np.isinf(series.starts).sum())
    return (
        [Check(code="ROX-L35", verdict=Verdict.NOTE, values={"donors": donors, "ranks": donors + 1})]
        if donors < ENOUGH_DONORS
        else []
    )


def _event_study(answer: Answer, noise: Floats) -> pd.DataFrame:
    se = np.sqrt((noise**2).sum(0))
    return pd.DataFrame(
        {
            "group": EVERYONE,
            "month": answer.months.astype(int),
            "estimate": answer.path,
            "se": se,
            "low": answer.path - NORMAL_90 * se,
            "high": answer.path + NORMAL_90 * se,
        }
    )


def _weights(series: PlaceSeries, answer: Answer) -> pd.DataFrame:
    order = np.argsort(-answer.weights, kind="stable")
    order = order[answer.weights[order] > 0]
    return pd.DataFrame(
        {
            "donor": [series.units[i] for i in order],
            "weight": answer.weights[order],
            "customers": series.sizes[order].astype(int),
        }
    )


def _counts(series: PlaceSeries, question: Comparison, found: tuple[Answer, ...]) -> dict[str, int]:
    return {
        "rows": int(series.ratio.size),
        "customers": int(series.sizes.sum()),
        "clusters": len(series.units),
        "treated_units": int(np.isin(question.starts, question.cohorts()).sum()),
        "control_units": int(np.isinf(series.starts).sum()),
        "placebos": len(found),
    }
