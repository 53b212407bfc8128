"""The standard set of measures for a report or a notebook."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import pandas as pd

from rox.core.check import Check, Verdict
from rox.core.errors import DataError
from rox.core.units import Unit
from rox.metrics.answers import nps_name, require_directions, score_splits
from rox.metrics.display import NUMBERS, SHOWN_FROM
from rox.metrics.exits import churn_splits, followed_for, retention_splits
from rox.metrics.growth import compares, earned_growth
from rox.metrics.responses import repeats, response_chain, response_splits
from rox.metrics.source import STRATUM, Tables, scale_of
from rox.numerics.silence import worst_case

ALL = "all"
"""Stands in ``period`` and ``segment`` of a figure that is not split by them."""

LARGE_DESIGN_EFFECT = 3.0
MANY_ANSWER = 0.30
"""Share of those asked from which on nothing is said of those who did not answer."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Experience:
    """How customers feel, whether they answer, and whether they stay.

    Every frame has the columns of ``display.shown``. ``headline`` and the score frames have ``score``, the name of the
    question, empty where the figure is not one of the survey.

    Attributes:
        every: The period of ``trend``, ``response`` and ``churn``: ``month`` or ``quarter``.
        headline: Scores, response rate, repeated answers, churn, retention and the money of a year ago today, over
            everybody and all time.
        trend: Scores by period, in a column named as ``every``.
        by_segment: Scores by ``segment``.
        response: Response rates with the columns ``period`` and ``segment``, in which ``all`` stands for no split.
        churn: Hazards, yearly churn of heads and money, and retention over twelve months of cohorts, likewise; empty
            without a ledger and exits.
        chain: From customers to answers, in counts.
        checks: What a reader must know about these figures.
    """

    every: Literal["month", "quarter"]
    headline: pd.DataFrame
    trend: pd.DataFrame
    by_segment: pd.DataFrame
    response: pd.DataFrame
    churn: pd.DataFrame
    chain: pd.DataFrame
    checks: tuple[Check, ...]


def experience(tables: Tables, *, every: Literal["month", "quarter"] = "quarter", level: float = 0.90) -> Experience:
    """Measure the standard set: over all, by period and by segment.

    Args:
        tables: Loaded tables.
        every: Length of a period.
        level: Level of the intervals.

    Raises:
        DataError: As in the functions of this room; a satisfaction or effort scale that runs against the NPS (ROX-M03);
            a segment among others that is called ``all``.
    """
    directions = require_directions(tables, tuple(tables.study.scores))
    headline, trend, by_segment = score_splits(tables, tuple(directions), _splits(every), level=level)
    _require_other_names(by_segment)
    response, leaving = _response(tables, every, level), _leaving(tables, every, level)
    others = [frame[(frame["period"] == ALL) & (frame["segment"] == ALL)] for frame in (response, leaving)]
    others.insert(1, repeats(tables, level=level))
    if compares(tables):
        others.append(earned_growth(tables, level=level))
    asked = [frame.assign(score="")[headline.columns] for frame in others if len(frame)]
    return Experience(
        every=every,
        headline=pd.concat([headline, *asked], ignore_index=True),
        trend=trend,
        by_segment=by_segment,
        response=response,
        churn=leaving,
        chain=response_chain(tables),
        checks=(
            *_checks(tables, directions, headline, (trend, by_segment)),
            *_of_silence(tables, response, headline, trend.rename(columns={every: "period"})),
        ),
    )


def _splits(every: str) -> tuple[tuple[str, ...], ...]:
    """Return the groupings of a scorecard: none, by period, by segment."""
    return (), (every,), (STRATUM,)


def _response(tables: Tables, every: str, level: float) -> pd.DataFrame:
    if "invitations" not in tables.tables:
        return _empty()
    return _split(response_splits(tables, _splits(every), level=level), every)


def _leaving(tables: Tables, every: str, level: float) -> pd.DataFrame:
    if not {"ledger", "exits"} <= set(tables.tables):
        return _empty()
    frames = churn_splits(tables, _splits(every), level=level)
    if followed_for(tables, 12):
        frames += retention_splits(tables, _splits(every), level=level)
    return _split(frames, every)


def _split(frames: Sequence[pd.DataFrame], every: str) -> pd.DataFrame:
    """Stack frames over all, by period and by segment under the two columns; undeclared segments are called ``all``.

    Raises:
        DataError: One of several segments is called so.
    """
    for frame in frames:
        _require_other_names(frame)
    renamed = [frame.rename(columns={every: "period"}) for frame in frames]
    whole = [
        frame.assign(**{column: ALL for column in ("period", "segment") if column not in frame.columns})
        for frame in renamed
    ]
    stacked = pd.concat(whole, ignore_index=True).drop_duplicates(["period", "segment", "metric"], ignore_index=True)
    return stacked[["period", "segment", *NUMBERS]]


def _require_other_names(frame: pd.DataFrame) -> None:
    """Refuse a segment among others that would be taken for the total."""
    if STRATUM in frame.columns and ALL in (names := set(frame[STRATUM])) and len(names) > 1:
        raise DataError(
            f"One of the segments is called {ALL!r}, which stands for all of them together.",
            [f"give the segment {ALL!r} of the table of customers another name, such as 'other'"],
        )


def _empty() -> pd.DataFrame:
    return pd.DataFrame(columns=["period", "segment", *NUMBERS])


def _checks(
    tables: Tables, directions: Mapping[str, float | None], headline: pd.DataFrame, split: Sequence[pd.DataFrame]
) -> Iterator[Check]:
    """Say where points are missing, what weighting costs, and which way the scales run."""
    cells = pd.concat([headline, *split], ignore_index=True)
    for name, r in directions.items():
        own = cells[cells["score"] == name].drop_duplicates(subset=list(cells.columns.difference(list(NUMBERS))))
        hidden = own["method"] == "suppressed"
        if thin := int((own["suppressed"] & ~hidden).sum()):
            yield Check(
                code="ROX-M01", verdict=Verdict.NOTE, values={"metric": name, "cells": thin, "needed": SHOWN_FROM}
            )
        if count := int(hidden.sum()):
            least = tables.study.about.min_cell
            yield Check(code="ROX-M05", verdict=Verdict.NOTE, values={"metric": name, "cells": count, "least": least})
        whole = headline[headline["score"] == name].iloc[0]
        if (effect := whole["n"] / whole["n_eff"]) > LARGE_DESIGN_EFFECT:
            yield Check(code="ROX-M02", verdict=Verdict.NOTE, values={"metric": name, "effect": float(effect)})
        if r is not None:
            reference = nps_name(tables.study)
            yield Check(
                code="ROX-M03",
                verdict=Verdict.PASS,
                values={"metric": name, "reference": str(reference), "r": r},
            )


def _of_silence(tables: Tables, response: pd.DataFrame, headline: pd.DataFrame, trend: pd.DataFrame) -> Iterator[Check]:
    """Say what a low response of the last period leaves open of the first NPS, or the first score."""
    name = nps_name(tables.study) or next(iter(tables.study.scores))
    asked = response[response["segment"] == ALL].set_index("period")["value"].dropna()
    score = pd.concat([trend, headline.assign(period=ALL)], ignore_index=True)
    score = score[score["score"] == name]
    metric, unit = score.iloc[0][["metric", "unit"]]
    value = score[score["metric"] == metric].set_index("period")["value"].dropna()
    both = [period for period in asked.index.intersection(value.index) if asked[period] > 0]
    if not both:
        return
    last = max((period for period in both if period != ALL), default=ALL)
    periods = sorted(period for period in asked.index if period != ALL)
    rate, scale = float(asked[last]), scale_of(tables.study, name)
    if rate < MANY_ANSWER:
        ends = (-100.0, 100.0) if unit == Unit.NPS_POINT else (float(scale.low), float(scale.high))
        low, high = worst_case(rate, float(value[last]), *ends)
        label = last if last != ALL else f"{periods[0]}–{periods[-1]}" if periods else ""
        said: dict[str, str | float] = {"metric": name, "period": label, "rate": 100 * rate, "low": low, "high": high}
        yield Check(code="ROX-N12", verdict=Verdict.NOTE, values=said)
