"""Scores of the survey: NPS, CSAT, CES, means and distributions.

Every function returns one row per group and metric: the columns of ``by``, ``score``, ``metric``, ``unit``, ``value``,
``se``, ``low``, ``high``, ``level``, ``n`` (answers), ``n_eff`` (effective answers), ``suppressed`` and ``method``.
Estimand: the population that the design weights stand for. Assumption: whether somebody answers does not depend on the
answer, given what the weights adjust for. Strata are the segments; answers of one customer are not independent.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import ibis
import numpy as np
import pandas as pd

from rox.core.errors import DataError
from rox.core.study import Scale, Study
from rox.core.units import Unit
from rox.metrics.cells import Part, moments, split_moments
from rox.metrics.display import SHOWN_FROM, shown
from rox.metrics.estimates import ratio, with_nps, with_t, with_wilson
from rox.metrics.source import Rows, Tables, count_true, groups_of, required, rows_of, scale_of

INTERVALS: Mapping[Unit, Callable[[pd.DataFrame, float], pd.DataFrame]] = MappingProxyType(
    {Unit.NPS_POINT: with_nps, Unit.SCORE_POINT: with_t, Unit.RATIO: with_wilson}
)
"""The interval that goes with a measure of an answer."""

ONE_SIDED_95 = 1.6449


@dataclass(frozen=True, kw_only=True)
class Measure:
    """A number read off one answer, whose weighted mean is a metric.

    Attributes:
        metric: Name of the metric.
        unit: Unit of the metric.
        value: Whole-number engine expression on the rows.
    """

    metric: str
    unit: Unit
    value: Any


@dataclass(frozen=True, kw_only=True)
class Reading:
    """A question read off engine rows; missing where it is not answered.

    Attributes:
        value: The answer as a whole number.
        broken: Which rows cannot be read, by the names that ``Rows.faults`` has for what is wrong.
        faults: What is wrong with them.
    """

    value: Any
    broken: Mapping[str, Any]
    faults: Mapping[str, str]


def scores(
    tables: Tables, score: str, by: Sequence[str] = (), *, level: float = 0.90, weighted: bool = True
) -> pd.DataFrame:
    """Measure a question in the way its kind asks for.

    Args:
        tables: Loaded tables.
        score: A score or driver of the study.
        by: ``month``, ``quarter``, ``year``, ``wave`` or columns of answers or customers.
        level: Level of the intervals.
        weighted: Whether answers count with their design weight.

    Returns:
        Kind ``nps``: metric ``nps`` in NPS points. ``csat``: ``mean`` in score points and ``top_two``, a share.
        ``ces``: ``mean`` and ``easy``, the share above the middle of the scale. ``rating``: ``mean``.

    Raises:
        DataError: No such question or group, no answers, answers off the scale, fractional or not a number, or a scale
            that runs against the NPS (ROX-M03).
    """
    require_direction(tables, score)
    return score_splits(tables, (score,), (by,), level=level, weighted=weighted)[0]


def score_splits(
    tables: Tables, names: Sequence[str], splits: Sequence[Sequence[str]], *, level: float, weighted: bool = True
) -> list[pd.DataFrame]:
    """Measure several questions, whose direction has been looked at, by several groupings in one pass over the answers.

    Args:
        tables: Loaded tables.
        names: Scores or drivers of the study.
        splits: Groupings, each as ``by`` of ``scores``.
        level: Level of the intervals.
        weighted: Whether answers count with their design weight.

    Returns:
        For each grouping the frames of ``scores``, question after question.

    Raises:
        DataError: As in ``scores``.
    """
    answers, scales = _asked(tables, names), {name: scale_of(tables.study, name) for name in names}
    given = ibis.or_(*(answers[name].notnull() for name in names))
    rows = rows_of(tables, "answers", groups_of(splits), table=answers.filter(given), weighted=weighted)
    readings = {name: read_answer(rows.table, name, scales[name], f"_{i}") for i, name in enumerate(names)}
    rows = replace(
        rows,
        table=rows.table.mutate(
            **{column: each for reading in readings.values() for column, each in reading.broken.items()}
        ),
        faults=dict(rows.faults)
        | {column: text for reading in readings.values() for column, text in reading.faults.items()},
    )
    what = {name: measures(scales[name], readings[name].value) for name in names}
    parts = {
        name: Part(values={each.metric: each.value for each in what[name]}, where=rows.table[name].notnull())
        for name in names
    }
    found = split_moments(tables, rows, parts, splits)
    return [
        pd.concat([_shown(tables, frames[name], split, name, what[name], level) for name in names], ignore_index=True)
        for split, frames in zip(splits, found, strict=True)
    ]


def nps(
    tables: Tables, score: str = "nps", by: Sequence[str] = (), *, level: float = 0.90, weighted: bool = True
) -> pd.DataFrame:
    """Measure 100·(P[score ≥ 9] − P[score ≤ 6]) in NPS points, −100 to 100.

    Linearised variance; below 200 effective answers, or 5 in a category, the interval is the posterior one under a
    Dirichlet(½) prior. Arguments, result and errors as in ``scores``.
    """
    scale_of(tables.study, score, "nps")
    return scores(tables, score, by, level=level, weighted=weighted)


def csat(
    tables: Tables, score: str = "csat", by: Sequence[str] = (), *, level: float = 0.90, weighted: bool = True
) -> pd.DataFrame:
    """Measure satisfaction: the mean, and the share of the two best answers with Wilson's interval.

    Arguments, result and errors as in ``scores``.
    """
    scale_of(tables.study, score, "csat")
    return scores(tables, score, by, level=level, weighted=weighted)


def ces(
    tables: Tables, score: str = "ces", by: Sequence[str] = (), *, level: float = 0.90, weighted: bool = True
) -> pd.DataFrame:
    """Measure ease: the mean, and the share above the middle of the scale (5 to 7 of 1 to 7) with Wilson's interval.

    Arguments, result and errors as in ``scores``.
    """
    scale_of(tables.study, score, "ces")
    return scores(tables, score, by, level=level, weighted=weighted)


def mean_score(
    tables: Tables, score: str, by: Sequence[str] = (), *, level: float = 0.90, weighted: bool = True
) -> pd.DataFrame:
    """Measure the mean of a score or driver on its own scale. Arguments, result and errors as in ``scores``."""
    rows = scored(tables, score, by, weighted=weighted)
    mean = _mean(rows.table.value)
    frame = moments(tables, rows, {mean.metric: mean.value})
    return _shown(tables, frame, rows.by, score, (mean,), level)


def score_distribution(
    tables: Tables, score: str = "nps", by: Sequence[str] = (), *, level: float = 0.90, weighted: bool = True
) -> pd.DataFrame:
    """Measure the share of every answer of the scale, with Wilson's interval; column ``answer`` holds the answer.

    Arguments, other columns and errors as in ``scores``.
    """
    scale = scale_of(tables.study, score)
    rows = scored(tables, score, by, weighted=weighted)
    answers = range(scale.low, scale.high + 1)
    names = {answer: f"share_{answer - scale.low}" for answer in answers}
    frame = moments(tables, rows, {names[a]: (rows.table.value == a).ifelse(1, 0) for a in answers})
    parts = [
        with_wilson(ratio(frame, rows.by, names[a]), level).assign(
            score=score, answer=a, metric="share", unit=str(Unit.RATIO)
        )
        for a in answers
    ]
    return shown(parts, by=rows.by, level=level, min_cell=tables.study.about.min_cell, shown_from=SHOWN_FROM)


def measures(scale: Scale, value: Any) -> tuple[Measure, ...]:
    """Say what is read off an answer, by the kind of its question.

    Args:
        scale: The question's scale.
        value: Whole-number engine expression of the answer.
    """
    best_first = scale.high - value if scale.higher_is_better else value - scale.low
    if scale.kind == "nps":
        category = ibis.cases((best_first <= 1, 1), (best_first >= 4, -1), else_=0)
        return (Measure(metric="nps", unit=Unit.NPS_POINT, value=category),)
    if scale.kind == "csat":
        top_two = (best_first <= 1).ifelse(1, 0)
        return (_mean(value), Measure(metric="top_two", unit=Unit.RATIO, value=top_two))
    if scale.kind == "ces":
        easy = (2 * best_first < scale.high - scale.low).ifelse(1, 0)
        return (_mean(value), Measure(metric="easy", unit=Unit.RATIO, value=easy))
    return (_mean(value),)


def scored(tables: Tables, score: str, by: Sequence[str], *, weighted: bool = True) -> Rows:
    """Return the rows that hold an answer to a question; column ``value`` is the answer as a whole number.

    Raises:
        DataError: No such question or group.
    """
    scale, answers = scale_of(tables.study, score), _asked(tables, (score,))
    rows = rows_of(tables, "answers", by, table=answers.filter(answers[score].notnull()), weighted=weighted)
    read = read_answer(rows.table, score, scale)
    return replace(
        rows, table=rows.table.mutate(value=read.value, **read.broken), faults={**rows.faults, **read.faults}
    )


def read_answer(table: Any, score: str, scale: Scale, mark: str = "") -> Reading:
    """Read a question off the rows that answer it, and say which of them cannot be read.

    Args:
        table: Engine table of answers.
        score: The question, a column of it.
        scale: Its scale.
        mark: End of the names of the columns that say what is wrong.
    """
    given = table[score].cast("float64")
    broken = given.isnan() | given.isinf()
    outside = ~broken & ((given < scale.low) | (given > scale.high))
    usable = (broken | outside).ifelse(0.0, given)
    return Reading(
        value=usable.floor().cast("int64"),
        broken={
            f"_fault_number{mark}": broken,
            f"_fault_scale{mark}": outside,
            f"_fault_fraction{mark}": usable.floor() != usable,
        },
        faults={
            f"_fault_number{mark}": f"answers.{score}: answers that are not a number; leave the unanswered empty",
            f"_fault_scale{mark}": f"answers.{score}: answers outside {scale.low}..{scale.high}",
            f"_fault_fraction{mark}": f"answers.{score}: answers that are not whole numbers",
        },
    )


def require_direction(tables: Tables, score: str) -> float | None:
    """Compare the direction of a satisfaction or effort question with the NPS of the same answers.

    Returns:
        Their correlation, turned so that higher is better; None where there is nothing to compare.

    Raises:
        DataError: It is negative beyond chance, one-sided at 95% (ROX-M03).
    """
    return require_directions(tables, (score,))[score]


def require_directions(tables: Tables, names: Sequence[str]) -> dict[str, float | None]:
    """Do what ``require_direction`` does for several questions in one pass over the answers.

    Raises:
        DataError: One of them runs against the NPS (ROX-M03).
    """
    scales, reference = {name: scale_of(tables.study, name) for name in names}, nps_name(tables.study)
    turned = [name for name in names if scales[name].kind in ("csat", "ces")]
    found: dict[str, float | None] = dict.fromkeys(names)
    if not turned or reference is None or reference not in required(tables, "answers").columns:
        return found
    answers = _asked(tables, turned)
    sums: dict[str, Any] = {}
    for i, name in enumerate(turned):
        read, both = read_answer(answers, name, scales[name]), answers[name].notnull() & answers[reference].notnull()
        x, y = (both.ifelse(each.cast("float64"), 0.0) for each in (read.value, answers[reference]))
        sums |= {f"n_{i}": count_true(both), f"x_{i}": x.sum(), f"y_{i}": y.sum()}
        sums |= {f"xx_{i}": (x * x).sum(), f"yy_{i}": (y * y).sum(), f"xy_{i}": (x * y).sum()}
        sums[f"faults_{i}"] = sum((count_true(both & each) for each in read.broken.values()), start=ibis.literal(0))
    row = tables.fetch(answers.aggregate(**sums)).iloc[0].astype(float)
    for i, name in enumerate(turned):
        own = {each: float(row[f"{each}_{i}"]) for each in ("n", "x", "y", "xx", "yy", "xy", "faults")}
        found[name] = _direction(name, scales[name], reference, **own)
    return found


def _direction(
    score: str,
    scale: Scale,
    reference: str,
    *,
    n: float,
    x: float,
    y: float,
    xx: float,
    yy: float,
    xy: float,
    faults: float,
) -> float | None:
    """Correlate a question with the reference from their sums."""
    spread = (n * xx - x**2) * (n * yy - y**2)
    if n < 4 or not spread > 0 or faults:
        return None
    r = float((n * xy - x * y) / np.sqrt(spread)) * (1 if scale.higher_is_better else -1)
    if np.arctanh(np.clip(r, -1 + 1e-12, 1 - 1e-12)) + ONE_SIDED_95 / np.sqrt(n - 3) < 0:
        raise DataError(
            f"ROX-M03: {score} runs against {reference} (r={r:.2f}): is its scale reversed?",
            [
                f"scores.{score}.higher_is_better is {str(scale.higher_is_better).lower()}; "
                "set it to the other value, or correct the column"
            ],
        )
    return r


def _asked(tables: Tables, names: Sequence[str]) -> Any:
    """Return the answers, which must have these questions.

    Raises:
        DataError: One is missing.
    """
    answers = required(tables, "answers")
    if lacking := [name for name in names if name not in answers.columns]:
        raise DataError(
            f"The answers have no column {', '.join(map(repr, lacking))}.", [f"they have {', '.join(answers.columns)}"]
        )
    return answers


def nps_name(study: Study) -> str | None:
    """Return the study's first question of kind ``nps``."""
    return next((name for name, scale in study.scores.items() if scale.kind == "nps"), None)


def _mean(value: Any) -> Measure:
    return Measure(metric="mean", unit=Unit.SCORE_POINT, value=value)


def _shown(
    tables: Tables, frame: pd.DataFrame, by: Sequence[str], score: str, what: Sequence[Measure], level: float
) -> pd.DataFrame:
    """Turn the moments of a question into what is shown of it."""
    scale = scale_of(tables.study, score)
    if frame.empty:
        raise DataError(f"Nobody answered {score!r}.", [f"answers.{score} holds no answer"])
    parts = [
        _within(INTERVALS[measure.unit](ratio(frame, by, measure.metric), level), measure.unit, scale).assign(
            score=score, metric=measure.metric, unit=str(measure.unit)
        )
        for measure in what
    ]
    return shown(parts, by=tuple(by), level=level, min_cell=tables.study.about.min_cell, shown_from=SHOWN_FROM)


def _within(estimate: pd.DataFrame, unit: Unit, scale: Scale) -> pd.DataFrame:
    """Cut the interval of a mean at the ends of its scale."""
    if unit is not Unit.SCORE_POINT:
        return estimate
    ends = estimate[["low", "high"]].clip(scale.low, scale.high)
    return estimate.assign(low=ends["low"], high=ends["high"])
