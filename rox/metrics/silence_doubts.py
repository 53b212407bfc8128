"""What could still be wrong with a mean of those who answered: benchmarks, tipping points, late answers."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import ibis
import numpy as np
import pandas as pd
from scipy import stats

from rox.core.units import Unit
from rox.metrics.silence_cells import Cells
from rox.metrics.silence_facts import BUCKETS, UNKNOWN
from rox.metrics.silence_weights import Weighted, jackknife
from rox.metrics.source import Tables
from rox.numerics.arrays import Bools, Floats, Ints
from rox.numerics.silence import (
    benchmark_gaps,
    defect_bias,
    resistance,
    tilted_mean,
    tipping_point,
    tipping_strength,
)

STEPS = 5
"""Groups of about as many answers each, from early to late."""
MANY = 30
"""Answers that the last number of reminders must have; those after more are one step with it."""
LATE = ["step", "reminders_from", "reminders_to", "days_from", "days_to", "n", "value", "se"]
ODDS = (0.25, 0.5, 2 / 3, 1.0, 1.5, 2.0, 4.0)
"""How many times as likely those at the best answer are to answer as those at the worst."""
DELTAS = (-1.0, -0.75, -0.5, -0.25, -0.1, 0.0, 0.1, 0.25, 0.5, 0.75, 1.0)
"""Standard deviations of an answer by which the silent may differ from those who answered."""
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
        higher_is_better: Whether the best answer counts ``high``.
    """

    metric: str
    unit: Unit
    values: Floats
    low: float
    high: float
    higher_is_better: bool = True

    def mean(self, sums: Floats) -> Floats:
        """Return means from sums of answers (…, v); NaN without answers."""
        below = sums.sum(-1)
        return np.asarray(np.where(below > 0, sums @ self.values / np.where(below > 0, below, 1.0), np.nan))

    def deviation(self, sums: Floats) -> float:
        """Return the standard deviation of answers (v,)."""
        return float(np.sqrt(max(sums @ (self.values - self.mean(sums)) ** 2 / sums.sum(), 0.0)))

    @property
    def step(self) -> float:
        """What the best answer counts less what the worst does: the unit in which odds of answering are told."""
        return self.high - self.low if self.higher_is_better else self.low - self.high


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
    rows = []
    for each in conclusions:
        mean, sd = float(reading.mean(each.sums)), reading.deviation(each.sums)
        silent = each.rate < 1
        delta = tipping_point(each.rate, mean, each.against) if silent else np.nan
        scaled, against = reading.values / reading.step, each.against / reading.step
        strength = tipping_strength(scaled, each.sums, each.rate, against, reach=REACH) if silent else np.nan
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
    """Return the mean over everybody by what the silent are thought to be, and the bias by who answers.

    Returns:
        ``kind``: ``odds``, with ``at`` the odds of those at the best answer over those at the worst and ``value`` the
        mean over everybody; ``delta``, with ``at`` the mean of the silent less that of those who answered, from one
        standard deviation of an answer below to one above as far as the scale reaches, and ``value`` the mean over
        everybody; or ``defect``, with ``at`` a correlation of answering with the answer over everybody and ``value``
        the bias.
    """
    mean, sd = float(reading.mean(sums)), reading.deviation(sums)
    scaled = reading.values / reading.step
    rows = [("odds", odds, reading.step * tilted_mean(scaled, sums, rate, float(np.log(odds)))) for odds in ODDS]
    deltas = np.unique(np.clip(sd * np.array(DELTAS), reading.low - mean, reading.high - mean))
    rows += [("delta", float(delta), mean + (1 - rate) * float(delta)) for delta in deltas]
    rows += [("defect", r, defect_bias(r, rate, sd)) for r in DEFECTS]
    return pd.DataFrame(rows, columns=["kind", "at", "value"])


def late(tables: Tables, said: Any, reading: Reading, low: int, min_cell: int) -> pd.DataFrame:
    """Follow the mean from early to late answers, and on to those who never came; answers are not weighted.

    The order is that of the reminders sent before the answer where the study has them, else that of days.

    Args:
        tables: For fetching.
        said: Answers: ``said``, ``days`` from the invitation to the answer, and ``reminders`` before it.
        reading: What is read.
        low: Least answer of the scale.
        min_cell: Customers a step must have; fewer join a neighbour, so that they are no difference of what is shown.

    Returns:
        ``step``, ``reminders_from`` and ``reminders_to``, or ``days_from`` and ``days_to`` (the other two are NaN),
        ``n``, ``value``, ``se``; the last row, ``silent``, is the line through the steps one step beyond the last.
        Empty without days and reminders, or with fewer than two steps.
    """
    for order in ("reminders", "days"):
        keys = {"at": ibis.greatest(ibis.coalesce(said[order], UNKNOWN), UNKNOWN), "answer": said.said}
        found = tables.fetch(said.group_by(**keys, wave=said.wave).aggregate(n=said.count()))
        steps = _steps(found.astype(float), reading, low, max(min_cell, 2), order)
        if len(steps) >= 2:
            break
    else:
        return pd.DataFrame(columns=LATE)
    step, answers, middles, se = (steps[name].to_numpy(dtype=float) for name in ("step", "n", "value", "se"))
    place = step if order == "days" else steps["reminders"].to_numpy(dtype=float)
    beyond = float(np.clip(resistance(place, answers, middles, se**2)[2], reading.low, reading.high))
    silent = pd.DataFrame({"step": ["silent"], "value": [beyond]})
    return pd.concat([steps.astype({"step": object}), silent], ignore_index=True).reindex(columns=LATE)


def _steps(found: pd.DataFrame, reading: Reading, low: int, least: int, order: str) -> pd.DataFrame:
    """Give each step of answers its mean: fifths of the answers by days; each number of reminders, many of them one.

    Steps of fewer than ``least`` customers, or of answers all alike, are one with a neighbour. Answers of which the
    order is unknown are left out; if those are few, the smallest step is left out with them. ``reminders`` is the mean
    number.
    """
    known = found["at"] > UNKNOWN
    nowhere = found[~known].groupby("wave")["n"].sum().max() if not known.all() else 0.0
    found = found[known].sort_values(["at", "answer", "wave"], ignore_index=True)
    by_place = found.groupby("at")["n"].sum()
    if order == "days":
        middle = (by_place.cumsum() - by_place / 2) / by_place.sum()
        found["step"] = found["at"].map((middle * STEPS).astype(int).clip(0, STEPS - 1))
    else:
        from_here = by_place[::-1].cumsum()[::-1]
        most = from_here.index[from_here >= MANY].max() if len(by_place) else np.nan
        found["step"] = found["at"].clip(upper=most if np.isfinite(most) else 0)
    found["value"] = reading.values[(found["answer"] - low).astype(int)]
    rows: list[dict[str, float]] = []
    for _, part in found.groupby(_pooled(found, least)):
        n = float(part["n"].sum())
        mean, place = (float((part["n"] * part[name]).sum() / n) for name in ("value", "at"))
        variance = float((part["n"] * (part["value"] - mean) ** 2).sum() / n / max(n - 1, 1))
        ends = {f"{order}_from": part["at"].min(), f"{order}_to": part["at"].max()}
        told = {"step": len(rows) + 1, "n": n, "value": mean, "se": variance**0.5, "reminders": place}
        rows.append(told | ends)
    if rows and 0 < nowhere < least:
        rows.remove(min(rows, key=lambda row: row["n"]))
    return pd.DataFrame(rows)


def _pooled(found: pd.DataFrame, least: int) -> Ints:
    """Return (rows,) the number of each row's step, after the smallest that cannot stand alone joined a neighbour.

    A customer answers a wave once: a step has at least as many customers as answers to its largest wave.
    """
    place = found["step"].rank(method="dense").to_numpy(dtype=np.int64) - 1
    while len(found) and place.max() > 0:
        steps = found.groupby(place)
        people = found.groupby([place, found["wave"]])["n"].sum().groupby(level=0).max().to_numpy()
        alone = (people >= least) & (steps["value"].nunique() > 1).to_numpy()
        if alone.all():
            break
        thin = int(np.argmin(np.where(alone, np.inf, people)))
        mate = min((step for step in (thin - 1, thin + 1) if 0 <= step < people.size), key=lambda step: people[step])
        place = np.where(place >= max(thin, mate), place - 1, place)
    return np.asarray(place)


def ranked_pairs(
    names: Sequence[str], means: Floats, usable: Bools, *, higher_is_better: bool = True
) -> Iterator[tuple[int, int]]:
    """Return neighbours in the order of their means, the better first; only usable ones."""
    best_first = np.argsort(-means if higher_is_better else means, kind="stable")
    order = [int(i) for i in best_first if usable[i] and names[i]]
    yield from itertools.pairwise(order)


def _holds(difference: float, shift: float) -> bool:
    return not np.isfinite(shift) or (difference + shift) * difference > 0
