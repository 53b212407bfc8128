"""The estimates of a score over everybody, the bounds around them, and what is concluded from them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from rox.core.study import Scale
from rox.core.units import Unit
from rox.metrics.display import NUMBERS, SHOWN_FROM
from rox.metrics.silence_cells import Cells
from rox.metrics.silence_doubts import Conclusion, Reading, ranked_pairs
from rox.metrics.silence_models import Predicted, TwoModels, influence_error, proxy_biases, two_models
from rox.metrics.silence_weights import Weighted, half_width, jackknife
from rox.metrics.source import Tables
from rox.numerics.arrays import Floats
from rox.numerics.silence import worst_case

CHANGE = "change"
ESTIMATORS = ("raw", "raked", "two_models", "proxy")


@dataclass(frozen=True, kw_only=True, eq=False)
class View:
    """What every part of the result is made from.

    Attributes:
        tables: Loaded tables.
        score: The question.
        scale: Its scale.
        readings: What is read off an answer.
        cells: People and answers.
        labels: Of the waves before, empty without, and of those looked at.
        months: Of the waves looked at.
        threshold: Value that the first reading is said to be above.
        level: Level of the intervals.
    """

    tables: Tables
    score: str
    scale: Scale
    readings: tuple[Reading, ...]
    cells: Cells
    labels: tuple[str, str]
    months: tuple[int, ...]
    threshold: float | None
    level: float

    @property
    def periods(self) -> tuple[int, ...]:
        """Numbers of the periods there are."""
        return (0, 1) if self.labels[0] else (1,)

    @property
    def least(self) -> int:
        """Customers that a figure must rest on."""
        return self.tables.study.about.min_cell

    def rate(self, which: int, segment: str | None = None) -> float:
        """Return the share of people, by design weight, who answered."""
        inside = self.cells.later == which
        if segment is not None:
            inside &= self.cells.segment == segment
        return min(float(self.cells.given[inside].sum() / self.cells.people[inside].sum()), 1.0)

    def n(self, which: int) -> float:
        """Return the number of answers of a period."""
        return float(self.cells.answers[self.cells.later == which].sum())


@dataclass(kw_only=True)
class _Found:
    """One estimator: points and errors by period, the error of the change, effective answers."""

    value: Floats
    se: Floats
    of_change: float
    n_eff: Floats = field(default_factory=lambda: np.full(2, np.nan))


@dataclass(frozen=True, kw_only=True, eq=False)
class Estimated:
    """The estimates of one reading.

    Attributes:
        table: Columns ``period``, ``estimator`` and those of ``display.shown``.
        fault: Why the two models could not be fitted; empty if they were.
        rare: Share of people of the waves looked at whose chance to answer, had all been asked, is below 1 in 100.
        effective: Effective answers over answers, under the two models.
        factor: (r,) as of ``silence_models.TwoModels``, in the waves looked at; missing where they cannot be fitted.
    """

    table: pd.DataFrame
    fault: str
    rare: float
    effective: float
    factor: Floats


def readings_of(scale: Scale) -> tuple[Reading, ...]:
    """Say what is read off an answer: of an NPS question its points; then the mean; then a share of good answers.

    The share is that of the two best answers, or, of a question about effort, of those above the middle of the scale.
    """
    answers = np.arange(scale.low, scale.high + 1, dtype=np.float64)
    steps = scale.high - answers if scale.higher_is_better else answers - scale.low
    mean = Reading(
        metric="mean", unit=Unit.SCORE_POINT, values=answers, low=scale.low, high=scale.high,
        higher_is_better=scale.higher_is_better,
    )  # fmt: skip
    name, good = ("easy", 2 * steps < scale.high - scale.low) if scale.kind == "ces" else ("top_two", steps <= 1)
    share = Reading(metric=name, unit=Unit.RATIO, values=np.where(good, 1.0, 0.0), low=0.0, high=1.0)
    if scale.kind != "nps":
        return mean, share
    points = np.asarray(100.0 * (steps <= 1) - 100.0 * (steps >= 4), dtype=np.float64)
    return Reading(metric="nps", unit=Unit.NPS_POINT, values=points, low=-100.0, high=100.0), mean, share


def estimates_of(view: View, reading: Reading, weighted: Weighted, guess: Predicted) -> Estimated:
    """Estimate one reading in every period, and its change, by every estimator."""
    replicates = {"raw": reading.mean(weighted.raw), "raked": reading.mean(weighted.raked)}
    replicates["proxy"] = np.stack([replicates["raw"][:, p] - proxy_biases(guess, p, 0.5) for p in (0, 1)], axis=1)
    found = {
        name: _Found(value=each[0], se=jackknife(each), of_change=float(jackknife(each[:, 1] - each[:, 0])))
        for name, each in replicates.items()
    }
    found["raw"].n_eff, found["raked"].n_eff = weighted.effective
    fits, fault = _two_models(view, reading)
    found["two_models"] = _by_two_models(fits, weighted.effective[0])
    rows = []
    for name in ESTIMATORS:
        each = found[name]
        if not np.isfinite(each.value[1]):
            continue
        for which in view.periods:
            label, n_eff = view.labels[which], float(each.n_eff[which])
            rows.append(row_of(view, reading, label, name, each.value[which], each.se[which], view.n(which), n_eff))
        if view.labels[0]:
            change, n = each.value[1] - each.value[0], view.n(0) + view.n(1)
            rows.append(row_of(view, reading, CHANGE, name, change, each.of_change, n, np.nan))
    table = pd.DataFrame(rows, columns=["period", "estimator", *NUMBERS])
    now = fits.get(1)
    return Estimated(
        table=table,
        fault=fault,
        rare=now.rare if now else np.nan,
        effective=now.effective if now else np.nan,
        factor=now.factor if now else np.full(view.cells.cell.size, np.nan),
    )


def _two_models(view: View, reading: Reading) -> tuple[dict[int, TwoModels], str]:
    """Fit the two models in every period; nothing, and why, where one of them cannot be."""
    try:
        return {which: two_models(view.cells, which, reading.values) for which in view.periods}, ""
    except ValueError as cause:
        return {}, str(cause)


def _by_two_models(fits: Mapping[int, TwoModels], effective: Floats) -> _Found:
    """Collect the fits of the periods; all is missing where there are none."""
    found = _Found(value=np.full(2, np.nan), se=np.full(2, np.nan), of_change=np.nan)
    for which, fit in fits.items():
        found.value[which], found.se[which] = fit.value, influence_error(fit.influence)
        found.n_eff[which] = fit.effective * effective[which]
    if len(fits) > 1:
        found.of_change = influence_error(fits[1].influence - fits[0].influence)
    return found


def row_of(
    view: View, reading: Reading, label: str, estimator: str, value: float, se: float, n: float, n_eff: float
) -> dict[str, object]:
    """Write a row; points and limits stay on the scale."""
    low, high = (-np.inf, np.inf) if label == CHANGE else (reading.low, reading.high)
    half = half_width(se, view.level)
    return {
        "period": label,
        "estimator": estimator,
        "metric": reading.metric,
        "unit": str(reading.unit),
        "value": float(np.clip(value, low, high)),
        "se": se,
        "low": float(np.clip(value - half, low, high)),
        "high": float(np.clip(value + half, low, high)),
        "level": view.level,
        "n": n,
        "n_eff": n_eff,
        "suppressed": False,
        "method": "t",
    }


def bounds_of(
    view: View, reading: Reading, weighted: Weighted, guess: Predicted, found: pd.DataFrame
) -> Iterator[tuple[str, str, str, float, float]]:
    """List what is known of the mean over everybody; see ``silence.Silence.bounds``."""
    raw = float(reading.mean(weighted.raw[0, 1]))
    ends = worst_case(view.rate(1), raw, reading.low, reading.high)
    own = found[found["period"] == view.labels[1]]
    yield reading.metric, str(reading.unit), "worst_case", *ends
    yield reading.metric, str(reading.unit), "estimates", float(own["value"].min()), float(own["value"].max())
    ends = float(own["low"].min()), float(own["high"].max())
    yield reading.metric, str(reading.unit), "spread", *ends
    for kind, phi in (("proxy_0", 0.0), ("proxy_half", 0.5), ("proxy_1", 1.0)):
        point = float(np.clip(raw - proxy_biases(guess, 1, phi)[0], reading.low, reading.high))
        yield reading.metric, str(reading.unit), kind, point, point


def conclusions(view: View, reading: Reading, weighted: Weighted, estimates: pd.DataFrame) -> Iterator[Conclusion]:
    """List what is concluded from the raked mean, and what the best prediction suggests of the silent."""
    own = estimates[estimates["metric"] == reading.metric].set_index(["estimator", "period"])["value"]
    shift = {which: _suggested(own, view.labels[which], view.rate(which)) for which in view.periods}
    sums, now = weighted.raked[0, 1], view.labels[1]
    if view.threshold is not None:
        yield Conclusion(
            kind="level", first=now, second="", sums=sums, rate=view.rate(1), against=view.threshold, suggested=shift[1]
        )
    if view.labels[0]:
        before = float(reading.mean(weighted.raked[0, 0]))
        share = (1 - view.rate(0)) / max(1 - view.rate(1), 1e-9)
        past = shift[0] * share if share > 0 else 0.0
        yield Conclusion(
            kind="change", first=now, second=view.labels[0], sums=sums, rate=view.rate(1), against=before,
            suggested=shift[1] - past,
        )  # fmt: skip
    means = reading.mean(weighted.by_segment[0, 1])
    inside = view.cells.later == 1
    counts = np.array([view.cells.answers[inside & (view.cells.segment == s)].sum() for s in weighted.segments])
    usable = counts >= max(SHOWN_FROM, view.least)
    for i, j in ranked_pairs(weighted.segments, means, usable, higher_is_better=reading.higher_is_better):
        first, second = weighted.segments[i], weighted.segments[j]
        yield Conclusion(
            kind="ranking", first=first, second=second, sums=weighted.by_segment[0, 1, i], rate=view.rate(1, first),
            against=float(means[j]), suggested=np.nan,
        )  # fmt: skip


def _suggested(own: pd.Series, label: str, rate: float) -> float:
    if ("proxy", label) not in own.index or not rate < 1:
        return float("nan")
    return float((own["proxy", label] - own["raked", label]) / (1 - rate))


def chain(view: View) -> pd.DataFrame:
    """Count the steps from customer to answer, by period."""
    rows = []
    for which in view.periods:
        inside = view.cells.later == which
        steps = {
            "customers": float(view.cells.customers[inside].sum()),
            "asked": float(view.cells.asked[inside].sum()),
            "answered": view.n(which),
        }
        if "invitations" not in view.tables.tables:
            del steps["asked"]
        before = np.nan
        for step, count in steps.items():
            rows.append([view.labels[which], step, count, count / before])
            before = count
    return pd.DataFrame(rows, columns=["period", "step", "customers", "share"])
