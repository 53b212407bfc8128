"""What could still be wrong with a mean of those who answered: benchmarks, tipping points, late answers, response."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from rox.core.units import Unit
from rox.metrics.silence_cells import PERIODS, Cells, design_of
from rox.metrics.silence_facts import BUCKETS
from rox.metrics.silence_weights import Weighted, jackknife
from rox.metrics.source import Tables
from rox.numerics.arrays import Bools, Floats
from rox.numerics.silence import (
    benchmark_gaps,
    defect_bias,
    resistance,
    tilted_mean,
    tipping_point,
    tipping_strength,
)

DECILES = 10
STEPS = 5
"""Groups of about as many answers each, from early to late."""
ODDS = (0.25, 0.5, 2 / 3, 1.0, 1.5, 2.0, 4.0)
"""How many times as likely those at the best answer are to answer as those at the worst."""
DEFECTS = (0.005, 0.01, 0.02, 0.05, 0.10)
REACH = 4.0


@dataclass(frozen=True, kw_only=True, eq=False)
class Reading:
    """What is read off an answer.

    Attributes:
        metric: Its name.
        unit: Its unit.
        values: (v,) what each answer counts.
        low: Least value.
        high: Largest.
    """

    metric: str
    unit: Unit
    values: Floats
    low: float
    high: float

    def mean(self, sums: Floats) -> Floats:
        """Return means from sums of answers (…, v); NaN without answers."""
        below = sums.sum(-1)
        return np.asarray(np.where(below > 0, sums @ self.values / np.where(below > 0, below, 1.0), np.nan))


@dataclass(frozen=True, kw_only=True)
class Conclusion:
    """Something said of a mean: that it is above a threshold, or above another mean.

    Attributes:
        kind: ``level``, ``change`` or ``ranking``.
        first: What is compared: a period, or a segment.
        second: With what; empty for a threshold.
        sums: (v,) weighted answers of the first.
        rate: Share of its people who answered.
        against: The threshold, or the mean of the second.
        suggested: How far the silent of the first differ from those who answered, less the same of the second, as the
            best prediction suggests; NaN where it says nothing.
    """

    kind: str
    first: str
    second: str
    sums: Floats
    rate: float
    against: float
    suggested: float


def benchmarks(cells: Cells, weighted: Weighted, level: float) -> pd.DataFrame:
    """Compare those who answered, weighted, with everybody in facts that were not used to weight; waves looked at.

    Returns:
        ``fact``, ``everybody``, ``answered``, ``weighted``, ``sd``; ``gap`` and ``gap_unweighted`` in standard
        deviations, ``se``, ``low``, ``high`` of ``gap``, and ``p``, of there being none.
    """
    rows = []
    for k, name in enumerate(cells.judges):
        sd = weighted.spread[k, 1]
        if not sd > 0:
            continue
        census, seen, plain = (each[k, :, 1] for each in (weighted.everybody, weighted.answered, weighted.plain))
        gaps = benchmark_gaps(seen, census, np.full(seen.size, sd))
        se = float(jackknife(gaps))
        half = stats.t.ppf((1 + level) / 2, BUCKETS - 1) * se
        rows.append(
            {
                "fact": name,
                "everybody": census[0],
                "answered": plain[0],
                "weighted": seen[0],
                "sd": sd,
                "gap": gaps[0],
                "gap_unweighted": (plain[0] - census[0]) / sd,
                "se": se,
                "low": gaps[0] - half,
                "high": gaps[0] + half,
                "p": 2 * stats.t.sf(abs(gaps[0]) / se, BUCKETS - 1) if se > 0 else float(gaps[0] == 0),
            }
        )
    columns = ["fact", "everybody", "answered", "weighted", "sd", "gap", "gap_unweighted", "se", "low", "high", "p"]
    return pd.DataFrame(rows, columns=columns)


def sensitivity(reading: Reading, conclusions: Sequence[Conclusion]) -> pd.DataFrame:
    """Say how much the silent would have to differ for each conclusion to turn.

    Returns:
        ``conclusion``, ``first``, ``second``, ``difference`` (of the mean from what it is held against), ``rate``;
        ``delta``, by how much the silent of the first would have to differ from those who answered, and ``delta_sd``,
        the same in standard deviations of an answer; ``odds``, how many times as likely those at the best answer would
        have to be to answer as those at the worst (NaN if no odds will do); ``suggested``, the difference that the best
        prediction suggests, and ``holds``, whether the conclusion survives it.
    """
    span = reading.high - reading.low
    rows = []
    for each in conclusions:
        mean = float(reading.mean(each.sums))
        sd = float(np.sqrt(max(each.sums @ (reading.values - mean) ** 2 / each.sums.sum(), 0.0)))
        silent = each.rate < 1
        delta = tipping_point(each.rate, mean, each.against) if silent else np.nan
        scaled = reading.values / span
        strength = (
            tipping_strength(scaled, each.sums, each.rate, each.against / span, reach=REACH) if silent else np.nan
        )
        rows.append(
            {
                "conclusion": each.kind,
                "first": each.first,
                "second": each.second,
                "difference": mean - each.against,
                "rate": each.rate,
                "delta": delta,
                "delta_sd": delta / sd if sd > 0 else np.nan,
                "odds": float(np.exp(strength)),
                "suggested": each.suggested,
                "holds": not silent or _holds(mean - each.against, (1 - each.rate) * each.suggested),
            }
        )
    columns = ["conclusion", "first", "second", "difference", "rate", "delta", "delta_sd", "odds", "suggested", "holds"]
    return pd.DataFrame(rows, columns=columns)


def curves(reading: Reading, sums: Floats, rate: float) -> pd.DataFrame:
    """Return the mean over everybody by the odds of answering, and the bias by the correlation of answering with it.

    Returns:
        ``kind``: ``odds``, with ``at`` the odds of those at the best answer over those at the worst and ``value`` the
        mean over everybody; or ``defect``, with ``at`` a correlation over everybody and ``value`` the bias.
    """
    span = reading.high - reading.low
    mean = float(reading.mean(sums))
    sd = float(np.sqrt(max(sums @ (reading.values - mean) ** 2 / sums.sum(), 0.0)))
    tilted = [
        {
            "kind": "odds",
            "at": odds,
            "value": span * tilted_mean(reading.values / span, sums, rate, float(np.log(odds))),
        }
        for odds in ODDS
    ]
    defect = [{"kind": "defect", "at": r, "value": defect_bias(r, rate, sd)} for r in DEFECTS]
    return pd.DataFrame([*tilted, *defect], columns=["kind", "at", "value"])


def late(tables: Tables, said: Any, reading: Reading, low: int, min_cell: int) -> pd.DataFrame:
    """Follow the mean from early to late answers, and on to those who never came; answers are not weighted.

    Args:
        tables: For fetching.
        said: Answers: ``said``, and ``days`` from the invitation to the answer.
        reading: What is read.
        low: Least answer of the scale.
        min_cell: Customers a step must have.

    Returns:
        ``step``, ``days_from``, ``days_to``, ``n``, ``value``, ``se``; the last row, ``silent``, is the line through
        the steps one step beyond the last. Empty without days, or with fewer than two steps.
    """
    columns = ["step", "days_from", "days_to", "n", "value", "se"]
    said = said.filter(said.days >= 0)
    found = tables.fetch(said.group_by("days", answer=said.said).aggregate(n=said.count()))
    if found.empty:
        return pd.DataFrame(columns=columns)
    found = found.sort_values(["days", "answer"], ignore_index=True).astype(float)
    by_day = found.groupby("days")["n"].sum()
    middle = (by_day.cumsum() - by_day / 2) / by_day.sum()
    found["step"] = found["days"].map((middle * STEPS).astype(int).clip(0, STEPS - 1))
    found["value"] = reading.values[(found["answer"] - low).astype(int)]
    rows: list[list[float | str]] = []
    for _, part in found.groupby("step"):
        n = float(part["n"].sum())
        mean = float((part["n"] * part["value"]).sum() / n)
        variance = float((part["n"] * (part["value"] - mean) ** 2).sum() / n / max(n - 1, 1))
        if n >= max(min_cell, 2) and variance > 0:
            rows.append([len(rows) + 1, part["days"].min(), part["days"].max(), n, mean, variance**0.5])
    if len(rows) < 2:
        return pd.DataFrame(columns=columns)
    steps = pd.DataFrame(rows, columns=columns)
    step, answers, middles, se = (steps[name].to_numpy(dtype=float) for name in ("step", "n", "value", "se"))
    _, _, beyond = resistance(step, answers, middles, se**2)
    beyond = float(np.clip(beyond, reading.low, reading.high))
    return pd.DataFrame([*rows, ["silent", np.nan, np.nan, np.nan, beyond, np.nan]], columns=columns)


@dataclass(frozen=True, kw_only=True, eq=False)
class Mechanism:
    """Who answers, in two periods.

    Attributes:
        table: One row per tenth of the customers by the answer predicted: ``tenth``, ``predicted``, ``asked_before``,
            ``rate_before``, ``asked``, ``rate``, ``log_odds`` (of answering, after over before) and its ``se``.
        trend: Change of the log odds of answering per standard deviation of the prediction.
        trend_p: Probability of such a trend by chance.
        mixed_p: Probability by chance of changes that differ so much between tenths.
    """

    table: pd.DataFrame
    trend: float
    trend_p: float
    mixed_p: float


def mechanism(cells: Cells, slopes: Floats, min_cell: int) -> Mechanism:
    """Compare response rates of two periods by tenths of the answer predicted.

    Args:
        cells: The cells.
        slopes: Coefficients of the categories in a regression of the answer.
        min_cell: Customers a rate must rest on.
    """
    score = design_of(cells.code, cells.sizes)[:, 1:] @ slopes
    order = np.argsort(score, kind="stable")
    middle = np.empty(score.size)
    middle[order] = (np.cumsum(cells.customers[order]) - cells.customers[order] / 2) / cells.customers.sum()
    tenth = np.minimum((middle * DECILES).astype(int), DECILES - 1)
    size = (PERIODS, BUCKETS, DECILES)
    at = np.ravel_multi_index((cells.later, cells.bucket, tenth), size)
    asked, said, total = (
        np.bincount(at, weights=each, minlength=int(np.prod(size))).reshape(size)
        for each in (cells.asked, np.minimum(cells.answers.sum(1), cells.asked), cells.customers * score)
    )
    people = np.bincount(tenth, weights=cells.customers, minlength=DECILES)
    mean = total.sum((0, 1)) / np.where(people > 0, people, 1.0)
    centre = np.average(mean, weights=np.maximum(people, 1e-9))
    sd = float(np.sqrt(np.average((mean - centre) ** 2, weights=np.maximum(people, 1e-9))))
    place = (mean - centre) / (sd if sd > 0 else 1.0)
    log_odds, variance = _log_odds(asked.sum(1), said.sum(1))
    weight = np.where(people > 0, 1 / variance, 0.0)
    level = weight @ log_odds / weight.sum()
    heterogeneity = float(weight @ (log_odds - level) ** 2)
    trends = [_trend(asked.sum(1), said.sum(1), place)]
    trends += [_trend(asked.sum(1) - asked[:, b], said.sum(1) - said[:, b], place) for b in range(BUCKETS)]
    se = float(jackknife(np.array(trends)))
    whole_asked, whole_said = asked.sum(1), said.sum(1)
    rate = np.where(whole_asked >= min_cell, whole_said / np.maximum(whole_asked, 1), np.nan)
    table = pd.DataFrame(
        {
            "tenth": np.arange(1, DECILES + 1),
            "predicted": place,
            "asked_before": np.where(whole_asked[0] >= min_cell, whole_asked[0], np.nan),
            "rate_before": rate[0],
            "asked": np.where(whole_asked[1] >= min_cell, whole_asked[1], np.nan),
            "rate": rate[1],
            "log_odds": log_odds,
            "se": np.sqrt(variance),
        }
    )
    return Mechanism(
        table=table,
        trend=trends[0],
        trend_p=float(2 * stats.t.sf(abs(trends[0]) / se, BUCKETS - 1)) if se > 0 else 1.0,
        mixed_p=float(stats.chi2.sf(heterogeneity, DECILES - 1)),
    )


def ranked_pairs(names: Sequence[str], means: Floats, usable: Bools) -> Iterator[tuple[int, int]]:
    """Return neighbours in the order of their means, the better first; only usable ones."""
    order = [int(i) for i in np.argsort(-means, kind="stable") if usable[i] and names[i]]
    yield from itertools.pairwise(order)


def _holds(difference: float, shift: float) -> bool:
    return not np.isfinite(shift) or (difference + shift) * difference > 0


def _log_odds(asked: Floats, said: Floats) -> tuple[Floats, Floats]:
    """Return the log odds ratio of the second period over the first, per tenth, and its variance (Anscombe)."""
    yes, no = said + 0.5, asked - said + 0.5
    logit = np.log(yes / no)
    return np.asarray(logit[1] - logit[0]), np.asarray((1 / yes + 1 / no).sum(0))


def _trend(asked: Floats, said: Floats, place: Floats) -> float:
    ratio, variance = _log_odds(asked, said)
    w = 1 / variance
    about = place - w @ place / w.sum()
    below = w @ about**2
    return float((w * about) @ ratio / below) if below > 0 else 0.0
