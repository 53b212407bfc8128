"""Who is silent, and how far a score of those who answered may be from that of everybody."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from rox.core.check import Check, Verdict
from rox.core.errors import DataError
from rox.core.study import Scale
from rox.metrics.display import NUMBERS, SHOWN_FROM
from rox.metrics.silence_balance import balance
from rox.metrics.silence_cells import Cells, cells_from
from rox.metrics.silence_checks import of_balance, of_benchmarks, of_silence, of_weights
from rox.metrics.silence_doubts import benchmarks, curves, late, sensitivity
from rox.metrics.silence_estimates import (
    View,
    bounds_of,
    chain,
    conclusions,
    estimates_of,
    readings_of,
    row_of,
)
from rox.metrics.silence_facts import Fact, counted, people, replies, wave_months
from rox.metrics.silence_mechanism import mechanism
from rox.metrics.silence_models import coefficients, moments_of, predicted
from rox.metrics.silence_weights import weigh
from rox.metrics.source import Tables, period, scale_of, time_label
from rox.numerics.silence import worst_case

BOUNDS = ("metric", "unit", "kind", "low", "high")


@dataclass(frozen=True, kw_only=True, eq=False)
class Silence:
    """A score of everybody, from the answers of some.

    Attributes:
        score: The question.
        waves: Label of the waves looked at.
        before: Label of those before; empty without.
        margins: Facts that answers were weighted to.
        chain: Customers, asked, answered: ``period``, ``step``, ``customers``, ``share`` of the step before.
        estimates: ``period`` (the two labels, and ``change``), ``estimator``, then the columns of ``display.shown``.
            ``raw`` is by design weight; ``raked`` meets the margins; ``two_models`` is doubly robust; ``proxy`` assumes
            that answering depends on the answer as much as on its best prediction.
        benchmarks: Facts known of everybody that were not used: see ``silence_doubts.benchmarks``.
        balance: How alike those who answered and everybody are in every fact: see ``silence_balance.balance``; the
            weights are ``raw``, ``raked`` and ``two_models``.
        bounds: ``metric``, ``unit``, ``kind``, ``low``, ``high``: ``worst_case``, ``estimates`` (their points)
            and ``spread`` (their intervals) as ranges; ``proxy_0``, ``proxy_half``, ``proxy_1`` as points, by the part
            the answer itself plays in answering.
        sensitivity: See ``silence_doubts.sensitivity``; of the first metric.
        curves: See ``silence_doubts.curves``; of the first metric.
        resistance: See ``silence_doubts.late``.
        mechanism: See ``silence_mechanism.Mechanism.table``; empty without waves before.
        correlation: Between an answer and its best prediction; NaN where who was asked is unknown.
        spread: From the lowest to the highest limit of the estimates of the first metric; no bound.
        checks: What a reader must know.
    """

    score: str
    waves: str
    before: str
    margins: tuple[str, ...]
    chain: pd.DataFrame
    estimates: pd.DataFrame
    benchmarks: pd.DataFrame
    balance: pd.DataFrame
    bounds: pd.DataFrame
    sensitivity: pd.DataFrame
    curves: pd.DataFrame
    resistance: pd.DataFrame
    mechanism: pd.DataFrame
    correlation: float
    spread: tuple[float, float]
    checks: tuple[Check, ...]


def silence(
    tables: Tables,
    score: str = "nps",
    *,
    margins: Sequence[str] | None = None,
    waves: int = 1,
    until: str | None = None,
    threshold: float | None = None,
    level: float = 0.90,
) -> Silence:
    """Estimate a score over all customers, answered or not, and say how far it could still be off.

    Estimand: the mean of what every customer would answer, over customers who came before the wave and had not left,
    by design weight; several waves count each customer once per wave. Raking and the two models assume that, among
    people alike in the margins, answering does not depend on the answer; ``proxy``, ``bounds`` and ``sensitivity`` do
    not. Errors: jackknife over 64 groups of customers, raking again in each.

    Args:
        tables: Loaded tables.
        score: The score.
        margins: Facts to weight with: ``segment``, ``tenure``, controls, ``events_KIND``, ``money``,
            ``money_growth``, ``count_OUTCOME``, ``feedback_KIND``, ``earlier_answer``. By default those that say who a
            customer is, the most frequent kind of event, the money, complaints and the earlier answer; the others
            judge the weights.
        waves: How many of the last waves, taken together; they are compared with as many before.
        until: Month of the last wave, such as ``2025-09``; by default the last with answers.
        threshold: Value that the score is said to be above; 0 for an NPS, none for other scores.
        level: Level of the intervals.

    Raises:
        DataError: No such question, fact or wave; fewer than 30 answers; answers that cannot be measured.

    References:
        Deming & Stephan 1940; Robins, Rotnitzky & Zhao 1994, *JASA* 89; Little, West, Boonstra & Hu 2020, *Journal of
        Survey Statistics and Methodology* 8; Horowitz & Manski 2000, *JASA* 95; Meng 2018, *Annals of Applied
        Statistics* 12.
    """
    scale = scale_of(tables.study, score)
    months, invited = _months(tables, score, waves, until)
    of = people(tables, score, months, months[-waves:][0])
    names = of.usual if margins is None else tuple(margins)
    if unknown := sorted(set(names) - set(of.facts)):
        raise DataError(
            f"Cannot weight by {', '.join(unknown)}.", [f"what is known of everybody is {', '.join(of.facts)}"]
        )
    judges = [name for name, fact in of.facts.items() if fact.judges and name not in names]
    cells, compared = _enough(counted(tables, of, names, judges), names, of.facts, judges, scale, tables)
    labels = (_label(months[:-waves]) if compared else "", _label(months[-waves:]))
    aim = threshold if threshold is not None else 0.0 if scale.kind == "nps" else None
    view = View(
        tables=tables,
        score=score,
        scale=scale,
        readings=readings_of(scale),
        cells=cells,
        labels=labels,
        months=tuple(months[-waves:]),
        threshold=aim,
        level=level,
    )
    return _looked_at(view) if invited else _bounded(view)


def _looked_at(view: View) -> Silence:
    """Weight, model and doubt."""
    weighted, first = weigh(view.cells), view.readings[0]
    moments = [moments_of(view.cells, reading.values) for reading in view.readings]
    guesses = [predicted(each) for each in moments]
    found = [estimates_of(view, *each) for each in zip(view.readings, [weighted] * len(guesses), guesses, strict=True)]
    bounds = pd.DataFrame(
        [
            row
            for reading, guess, own in zip(view.readings, guesses, found, strict=True)
            for row in bounds_of(view, reading, weighted, guess, own.table)
        ],
        columns=BOUNDS,
    )
    mechanics = mechanism(view.cells, coefficients(moments[0]), view.least) if view.labels[0] else None
    judged = benchmarks(view.cells, weighted, view.level)
    plain = np.where(weighted.factor > 0, 1.0, 0.0)
    factors = {"raw": plain, "raked": weighted.factor, "two_models": found[0].factor}
    alike = balance(view.cells, factors)
    own = bounds[bounds["metric"] == first.metric]
    ends = {str(kind): (low, high) for kind, low, high in zip(own["kind"], own["low"], own["high"], strict=True)}
    said = replies(view.tables, view.score)
    said = said.filter(said.wave.isin(view.months))
    correlation = float(guesses[0].correlation[0, 1])
    checks = [
        *of_weights(view.cells, weighted, found[0]),
        *of_balance(alike),
        *of_benchmarks(judged),
        *of_silence(view.rate(1), correlation, mechanics.p if mechanics else None, ends),
    ]
    return Silence(
        score=view.score,
        waves=view.labels[1],
        before=view.labels[0],
        margins=weighted.margins,
        chain=chain(view),
        estimates=pd.concat([each.table for each in found], ignore_index=True),
        benchmarks=judged,
        balance=alike,
        bounds=bounds,
        sensitivity=sensitivity(first, list(conclusions(view, first, weighted, found[0].table))),
        curves=curves(first, weighted.raked[0, 1], view.rate(1)),
        resistance=late(view.tables, said, first, view.scale.low, view.least),
        mechanism=mechanics.table if mechanics else pd.DataFrame(),
        correlation=correlation,
        spread=ends["spread"],
        checks=tuple(checks),
    )


def _bounded(view: View) -> Silence:
    """Give what can be said where nobody knows who was asked: the answers as they came, and bounds."""
    rows, bounds = [], []
    sums = view.cells.given[view.cells.later == 1].sum(0)
    for reading in view.readings:
        value = float(reading.mean(sums))
        low, high = worst_case(view.rate(1), value, reading.low, reading.high)
        bounds.append((reading.metric, str(reading.unit), "worst_case", low, high))
        row = row_of(view, reading, view.labels[1], "raw", value, np.nan, view.n(1), np.nan)
        rows.append(row | {"low": low, "high": high, "level": np.nan, "method": "bounds"})
    low, high = bounds[0][-2:]
    empty = pd.DataFrame()
    return Silence(
        score=view.score,
        waves=view.labels[1],
        before=view.labels[0],
        margins=(),
        chain=chain(view),
        estimates=pd.DataFrame(rows, columns=["period", "estimator", *NUMBERS]),
        benchmarks=empty,
        balance=empty,
        bounds=pd.DataFrame(bounds, columns=BOUNDS),
        sensitivity=empty,
        curves=empty,
        resistance=empty,
        mechanism=empty,
        correlation=float("nan"),
        spread=(low, high),
        checks=(Check(code="ROX-N01", verdict=Verdict.DEMOTE, values={"low": low, "high": high}),),
    )


def _months(tables: Tables, score: str, waves: int, until: str | None) -> tuple[list[int], bool]:
    """Return the months of the waves looked at and as many before, as far as there are."""
    if waves < 1:
        raise DataError(f"One wave or more is looked at, not {waves}.")
    months, invited = wave_months(tables, score)
    if until is not None:
        kind, last = period(until)
        if kind != "month":
            raise DataError(f"{until!r} is no month.", ["write the month of the last wave, such as 2025-09"])
        months = [month for month in months if month <= last]
    if len(months) < waves:
        raise DataError(
            f"There are {len(months)} waves with answers to {score!r}, and {waves} are to be looked at.",
            ["lower waves, or leave until out"],
        )
    return (months[-2 * waves :] if len(months) >= 2 * waves else months[-waves:]), invited


def _enough(
    frame: pd.DataFrame,
    names: Sequence[str],
    facts: Mapping[str, Fact],
    judges: Sequence[str],
    scale: Scale,
    tables: Tables,
) -> tuple[Cells, bool]:
    """Make cells of what was counted, without the waves before if they have too few answers."""
    said = frame[frame["answer"].notna()].groupby("later")["n"].sum()
    needed = max(SHOWN_FROM, tables.study.about.min_cell)
    if said.get(1, 0) < needed:
        raise DataError(
            f"There are {int(said.get(1, 0))} answers; {needed} are needed.", ["take more waves together with `waves`"]
        )
    compared = bool(said.get(0, 0) >= needed)
    if not compared:
        frame = frame[frame["later"] == 1].reset_index(drop=True)
    return cells_from(frame, names, facts, judges, (scale.low, scale.high)), compared


def _label(months: Sequence[int]) -> str:
    labels = [time_label(month, "month") for month in months]
    return labels[0] if len(set(labels)) == 1 else f"{labels[0]}–{labels[-1]}"
