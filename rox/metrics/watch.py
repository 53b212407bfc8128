"""Did it move? Charts over a tree of groups with a stated rate of false alarms, and when the mean changed.

Each group's periods are compared with what its own past foretells, over sampling *and* process variance; without the
second every large branch alarms all the time. An alarm starts its chart again. Which of the groups moved lately is said
down the tree, a group's parts being looked into only if it or one of them moved (Bogomolov et al. 2021, TreeBH). What
was picked for being extreme comes back by itself; how far is said beside it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from rox.core.check import Check, Verdict
from rox.core.errors import DataError
from rox.metrics.display import ALL, SHOWN_FROM, shown
from rox.metrics.season import fitted
from rox.metrics.series import columns_of, series
from rox.metrics.source import TIMES, Tables, time_label
from rox.metrics.watch_charts import WEIGHT, Course, Floats, Key, charted, depth_of
from rox.numerics.arms import benjamini_hochberg
from rox.numerics.monitoring import change_date, change_points, tree_rejections
from rox.numerics.recursive import Series, self_starting, simes

LEARN = MappingProxyType({"month": 12, "quarter": 8})
"""Periods a series learns from before it is charted."""
DATE_LEVEL = 0.90
"""Level of the interval of a date."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Watch:
    """What moved, and when. Every frame has the columns of ``by``, in which ``all`` is the whole of a level.

    A level named as another column, such as ``unit``, has ``by_`` before its name.

    Attributes:
        score: The question, or ``churn``.
        by: The levels of the tree, the widest first.
        every: Length of a period.
        series: The columns of ``display.shown``: the measure of every group and period.
        charts: One row per charted group and period: ``residual`` (standardised), ``ewma``, ``ewma_limit``,
            ``cusum_up``, ``cusum_down``, ``cusum_limit``.
        alarms: One row per ``chart`` that passed its limit: period, ``direction`` (1 up, −1 down), ``value``,
            ``expected``, and ``rebound``, how far the next period comes back if nothing happened, in the unit.
        changes: One row per change of a group's mean: ``date`` (first period of the new level), the 90% interval
            ``earliest`` to ``latest``, ``before`` and ``after``.
        moved: One row per group that reaches the last period: ``residual`` (the average of late residuals over its
            error), ``p``, ``q`` (Benjamini & Hochberg over all), ``moved`` (down the tree, q = 0.10).
        run_lengths: Periods between false alarms of a group at rest, by chart; more where nothing but sampling makes
            periods differ, since that is not known beforehand.
        expected_false: False alarms to expect in a period over all groups and charts.
        checks: What a reader must know.
    """

    score: str
    by: Key
    every: Literal["month", "quarter"]
    series: pd.DataFrame
    charts: pd.DataFrame
    alarms: pd.DataFrame
    changes: pd.DataFrame
    moved: pd.DataFrame
    run_lengths: Mapping[str, float]
    expected_false: float
    checks: tuple[Check, ...]


def watch(
    tables: Tables,
    score: str,
    by: Sequence[str] = (),
    *,
    every: Literal["month", "quarter"] = "month",
    metric: str | None = None,
    learn: int | None = None,
    adjusted: bool = False,
    run_length: float = 370.0,
    q: float = 0.10,
    level: float = 0.90,
    weighted: bool = True,
) -> Watch:
    """Chart a measure over a tree of groups and say what moved.

    Assumption: in the periods learnt from nothing lasting happened. Periods of fewer than 30 effective answers, and
    groups below the study's smallest cell, are not charted. Where periods hang together by themselves, a lasting shift
    is found later than where they do not: slow swings and shifts look alike, most of all in a group that stands alone.

    Args:
        tables: Loaded tables.
        score: A score or driver of the study, or ``churn``.
        by: Levels of the tree, the widest first, such as segment, unit, channel.
        every: Length of a period.
        metric: ``nps``, ``mean``, ``top_two`` or ``easy``; by default the first the question has.
        learn: Periods to learn from; by default 12 months or 8 quarters.
        adjusted: Whether months are first freed of their season (every group needs a year, some group two). The season
            is told from the whole series, so a lasting shift is in part taken for it; residuals carry the covariance
            of what is not known of it, dates of changes only its variances.
        run_length: Periods between false alarms of one moving average at rest.
        q: Share of false discoveries down the tree.
        level: Level of the intervals of ``series``.
        weighted: Whether rows count with the design weight of their customer.

    Raises:
        DataError: As in ``answers.scores``; times among the levels, no group with enough periods, or quarters to be
            freed of a season.
    """
    levels, needed = tuple(by), LEARN[every] if learn is None else learn
    _require(levels, every, needed, adjusted)
    tree = [levels[:depth] for depth in range(len(levels) + 1)]
    seasons: dict[Key, tuple[NDArray[np.int64], Floats]] = {}
    frames = [_level(tables, score, part, every, metric, weighted, seasons if adjusted else None) for part in tree]
    levels = columns_of(levels)
    whole = pd.concat([_padded(frame, levels) for frame in frames], ignore_index=True)
    display = _shown(tables, whole, levels, every, level)
    courses = _courses(whole[~display["suppressed"].to_numpy()], levels, every, needed, seasons)
    if not courses:
        raise DataError(
            f"No group has enough periods of {score!r} to be charted.",
            [f"more than {needed} of {SHOWN_FROM} effective answers; take longer periods or fewer levels"],
        )
    charts, alarms, lengths = charted(courses, levels, every, needed, run_length)
    last = max(int(course.at[-1]) for course in courses)
    current = sum(int(course.at[-1]) == last for course in courses)
    expected = current * sum(1 / length for length in lengths.values())
    return Watch(
        score=score,
        by=levels,
        every=every,
        series=display,
        charts=charts,
        alarms=alarms,
        changes=_changes(courses, levels, every),
        moved=_moved(courses, levels, needed, last, q),
        run_lengths=MappingProxyType(lengths),
        expected_false=expected,
        checks=tuple(_checks(score, alarms, every, last, expected, current)),
    )


def _require(levels: Key, every: str, learn: int, adjusted: bool) -> None:
    faults = [f"{each} is no level of a tree of groups" for each in sorted(set(levels) & set(TIMES))]
    if every not in LEARN:
        faults.append(f"every={every!r}: give month or quarter")
    if learn < 4:
        faults.append(f"learn={learn}: at least 4 periods")
    if adjusted and every != "month":
        faults.append("adjusted: only months have a season to be freed of")
    if faults:
        raise DataError("This cannot be watched.", faults)


def _level(
    tables: Tables,
    score: str,
    by: Key,
    every: str,
    metric: str | None,
    weighted: bool,
    seasons: dict[Key, tuple[NDArray[np.int64], Floats]] | None,
) -> pd.DataFrame:
    """Measure one level of the tree; freed of its season, a month keeps its own number of answers.

    ``seasons`` is filled with the months and the covariance of the adjusted series by group.
    """
    frame = series(tables, score, by, every, metric=metric, weighted=weighted, fewest=0.0)
    frame = _of_this_level(frame, columns_of(by))
    if seasons is None or frame.empty:
        return frame
    found = fitted(tables, score, by, metric=metric, weighted=weighted)
    for key, (fit, _) in found.fits.items():
        seasons[key] = found.used[key]["month"].to_numpy(dtype=np.int64), fit.covariance
    return found.adjusted()


def _of_this_level(frame: pd.DataFrame, by: Key) -> pd.DataFrame:
    """Leave out a level that does not divide its groups because it is not declared.

    Raises:
        DataError: One of several groups is called ``all``.
    """
    called = [group for group in by if (frame[group] == ALL).any()]
    if divided := [group for group in called if (frame[group] != ALL).any()]:
        raise DataError(
            "This cannot be watched.",
            [f"{group}: a group is called {ALL!r}, which stands for the whole; rename it" for group in divided],
        )
    return frame.iloc[:0] if by and by[-1] in called else frame


def _padded(frame: pd.DataFrame, levels: Key) -> pd.DataFrame:
    return frame.assign(**{group: ALL for group in levels if group not in frame.columns})


def _shown(tables: Tables, frame: pd.DataFrame, levels: Key, every: str, level: float) -> pd.DataFrame:
    """Return the rows of all levels in their order, as they may be shown."""
    se = np.sqrt(frame["variance"])
    half = stats.norm.ppf((1 + level) / 2) * se
    part = frame.drop(columns=["variance", "spread"]).assign(
        se=se, low=frame["value"] - half, high=frame["value"] + half, method="linearised"
    )
    least = tables.study.about.min_cell
    return shown([part], by=(every, *levels), level=level, min_cell=least, shown_from=SHOWN_FROM, tree=levels)


def _courses(
    usable: pd.DataFrame,
    levels: Key,
    every: str,
    learn: int,
    seasons: Mapping[Key, tuple[NDArray[np.int64], Floats]],
) -> list[Course]:
    """Return the groups with more periods than are learnt from, parents before children."""
    parts: Iterator[tuple[Key, pd.DataFrame]] = iter([((), usable)])
    if levels:
        parts = ((tuple(str(e) for e in key), part) for key, part in usable.groupby(list(levels), sort=True))
    found = []
    for key, part in parts:
        if len(part) <= learn:
            continue
        part = part.sort_values(every)
        y, v = part["value"].to_numpy(dtype=float), part["variance"].to_numpy(dtype=float)
        v = np.maximum(v, 1e-12 * max(float((y**2).mean()), 1e-12))
        at, errors = part[every].to_numpy(dtype=np.int64), v
        if (own := key[: depth_of(key)]) in seasons:
            months, covariance = seasons[own]
            errors = covariance[np.ix_(*[np.searchsorted(months, at)] * 2)]
        found.append((key, at, y, v, errors))
    if not found:
        return []
    found.sort(key=lambda each: (depth_of(each[0]), each[0]))
    deepest = depth_of(found[-1][0])
    judged = self_starting(
        [Series(y=y, at=at.astype(float), sampling=errors) for _, at, y, _, errors in found],
        learn=learn,
        shared=[place for place, (key, *_) in enumerate(found) if depth_of(key) == deepest],
    )
    return [
        Course(key=key, at=at, y=y, v=v, errors=errors, judged=each)
        for (key, at, y, v, errors), each in zip(found, judged, strict=True)
    ]


def _changes(courses: Sequence[Course], levels: Key, every: str) -> pd.DataFrame:
    """Cut every group's whole series where its mean changed, and say how sure the date is.

    Half a squared step is the process variance times 1 − ρ: a real change raises ρ as well, and dividing by it once
    more would hide the change. So where months hang together more dates come by chance than one in a hundred.
    """
    rows = []
    for course in courses:
        steps, rho = np.diff(course.y), float(course.judged.rho[-1])
        process = max(0.0, float((steps**2).mean()) / 2 - float(course.v.mean()))
        variance = course.v + process * (1 + rho) / (1 - rho)
        found = change_points(course.y, variance)
        bounds = [0, *(int(start) for start in found.starts), course.y.size]
        for place in range(1, len(bounds) - 1):
            first, last = bounds[place - 1], bounds[place + 1]
            chance = change_date(course.y[first:last], variance[first:last])
            likely = np.argsort(-chance, kind="stable")
            kept = likely[: int(np.searchsorted(np.cumsum(chance[likely]), DATE_LEVEL)) + 1] + first
            rows.append(
                {
                    **dict(zip(levels, course.key, strict=True)),
                    "date": time_label(int(course.at[bounds[place]]), every),
                    "earliest": time_label(int(course.at[kept.min()]), every),
                    "latest": time_label(int(course.at[kept.max()]), every),
                    "before": float(found.levels[place - 1]),
                    "after": float(found.levels[place]),
                }
            )
    return pd.DataFrame(rows, columns=[*levels, "date", "earliest", "latest", "before", "after"])


def _moved(courses: Sequence[Course], levels: Key, learn: int, last: int, q: float) -> pd.DataFrame:
    """Say which groups moved lately, down the tree."""
    current = [course for course in courses if int(course.at[-1]) == last]
    score = np.array([_lately(course.judged.residual[learn:]) for course in current])
    own = 2 * stats.norm.sf(np.abs(score))
    places = {course.key: place for place, course in enumerate(current)}
    parent = np.array([_parent(course.key, places) for course in current])
    screen = own.copy()
    for place in reversed(range(len(current))):
        children = np.flatnonzero(parent == place)
        if children.size:
            screen[place] = simes([own[place], *screen[children]])
    frame = pd.DataFrame([dict(zip(levels, course.key, strict=True)) for course in current], index=range(len(current)))
    return frame.assign(residual=score, p=own, q=benjamini_hochberg(own), moved=tree_rejections(screen, parent, q=q))


def _lately(residual: Floats) -> float:
    """Return the exponentially weighted average of residuals over its error."""
    weights = (1 - WEIGHT) ** np.arange(residual.size)[::-1]
    return float(weights @ residual / np.sqrt(weights @ weights))


def _parent(key: Key, places: Mapping[Key, int]) -> int:
    """Return the place of the nearest wider group that is charted, −1 if none is."""
    for kept in range(depth_of(key) - 1, -1, -1):
        wider = (*key[:kept], *[ALL] * (len(key) - kept))
        if wider in places:
            return places[wider]
    return -1


def _checks(score: str, alarms: pd.DataFrame, every: str, last: int, expected: float, groups: int) -> Iterator[Check]:
    now = time_label(last, every)
    count = int((alarms[every] == now).sum())
    values: dict[str, str | int | float] = {
        "metric": score,
        "alarms": count,
        "period": now,
        "groups": groups,
        "expected": expected,
    }
    yield Check(code="ROX-X04", verdict=Verdict.NOTE, values=values)
