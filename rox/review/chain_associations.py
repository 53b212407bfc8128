"""What goes with a score: events and topics before it is given, and ratings, where enough customers have had them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from rox.core.chain import Arrow, Reading
from rox.core.chain_outline import ChainOutline
from rox.core.check import Check, Grade, Verdict, grade_after
from rox.core.errors import DataError
from rox.metrics.driver_sums import given
from rox.metrics.drivers import Drivers, drivers
from rox.metrics.source import Tables, scale_of

BEST = Grade.D
"""Best grade of an association: nothing rules out what moves both."""
TABLE_OF = {"event": "events", "topic": "feedback"}
ROW_OF = {"event": "events_", "topic": "topic_"}
Level = tuple[float, float, float]
Ends = tuple[str, str]


@dataclass(frozen=True, kw_only=True, eq=False)
class Associations:
    """Arrows into questions of the survey.

    Attributes:
        arrows: By their ends.
        levels: How the boxes at their beginnings stand: mean with its 90% interval.
        slopes: By ends: draws of points per unit, shape (draw,).
    """

    arrows: dict[Ends, Arrow] = field(default_factory=dict)
    levels: dict[str, Level] = field(default_factory=dict)
    slopes: dict[Ends, pd.Series] = field(default_factory=dict)


def associations(tables: Tables, outline: ChainOutline, rng: np.random.Generator) -> Associations:
    """Measure the arrows from events, topics and ratings to questions of the survey.

    Events of operations are held beside each other; topics beside each other and those events; ratings beside each
    other. What comes after an event, such as ratings, topics and what customers do, is never held equal for it: that
    would take away what the event does through it. What would stand alone is left untested.

    Args:
        tables: Loaded tables.
        outline: Which arrows.
        rng: Generator of the draws.

    Raises:
        DataError: Events or topics of which the tables have no row, or answers that cannot be used.
    """
    study, found = tables.study, Associations()
    events = [name for name in outline.of_kind(study, "event") if outline.stage(name, study) == "operations"]
    for target in outline.of_kind(study, "score", "rating"):
        begins = [arrow.source for arrow in outline.arrows if arrow.target == target]
        of = {kind: [name for name in begins if name in outline.of_kind(study, kind)] for kind in ("event", "topic")}
        ratings = [name for name in begins if name in outline.of_kind(study, "rating")]
        told = {kind: _told(tables, outline, target, kind, names, found) for kind, names in of.items()}
        beside = _shown(tables, outline, target, "event", events) if told["event"] or told["topic"] else []
        if told["event"]:
            _measure(tables, outline, target, told["event"], _once(told["event"], beside), None, found, rng)
        if told["topic"]:
            _measure(tables, outline, target, told["topic"], _once(told["topic"], beside), None, found, rng)
        if ratings:
            questions = [str(outline.boxes[name].question) for name in ratings]
            beside_them = questions if len(ratings) > 1 else list(study.drivers)
            _measure(tables, outline, target, ratings, [], beside_them, found, rng)
    return found


def _once(*names: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(name for each in names for name in each))


def _told(
    tables: Tables, outline: ChainOutline, target: str, kind: str, names: Sequence[str], found: Associations
) -> list[str]:
    """Return the boxes that enough customers have had; the others become arrows that say what is missing."""
    shown = _shown(tables, outline, target, kind, names)
    for name in names:
        if TABLE_OF[kind] not in tables.tables:
            found.arrows[name, target] = Arrow(source=name, target=target, need="table", what=TABLE_OF[kind])
        elif name not in shown:
            least = str(tables.study.about.min_cell)
            found.arrows[name, target] = Arrow(source=name, target=target, need="few", what=least)
    return shown


def _shown(tables: Tables, outline: ChainOutline, target: str, kind: str, names: Sequence[str]) -> list[str]:
    """Leave out what fewer customers of the survey have had than may be shown."""
    if not names or TABLE_OF[kind] not in tables.tables:
        return []
    wanted = {name: str(getattr(outline.boxes[name], kind)) for name in names}
    asked = tuple(dict.fromkeys(wanted.values()))
    found = given(
        tables,
        str(outline.boxes[target].question),
        ratings=(),
        events=asked if kind == "event" else (),
        topics=asked if kind == "topic" else (),
        months=outline.about.months,
        weighted=True,
    )
    people = found.table.customer
    who = {
        f"n_{i}": people.nunique(where=found.column(f"{ROW_OF[kind]}{of}") > 0) for i, of in enumerate(wanted.values())
    }
    counted = tables.fetch(found.table.aggregate(**who)).iloc[0]
    return [name for i, name in enumerate(wanted) if int(counted[f"n_{i}"] or 0) >= tables.study.about.min_cell]


def _measure(
    tables: Tables,
    outline: ChainOutline,
    target: str,
    names: Sequence[str],
    counts: Sequence[str],
    ratings: Sequence[str] | None,
    found: Associations,
    rng: np.random.Generator,
) -> None:
    """Regress the question on some boxes together and keep the arrows of those that are wanted."""
    boxes, question = outline.boxes, str(outline.boxes[target].question)
    rated = tuple(name for name in ratings or () if name != question)
    if len(rated) + len(counts) < 2:
        for name in names:
            found.arrows[name, target] = Arrow(source=name, target=target, need="alone")
        return
    try:
        result = drivers(
            tables,
            question,
            ratings=rated,
            events=tuple(str(boxes[name].event) for name in counts if boxes[name].event),
            topics=tuple(str(boxes[name].topic) for name in counts if boxes[name].topic),
            months=outline.about.months,
            rng=rng,
        )
    except DataError as cause:
        for name in names:
            why = "; ".join(cause.faults) or cause.headline
            found.arrows[name, target] = Arrow(source=name, target=target, need="refused", what=why)
        return
    table: Any = result.table.set_index("driver")
    for name in names:
        row = _row_of(outline, name)
        found.arrows[name, target] = _arrow(outline, tables, result, name, target)
        level = (table.at[row, "mean"], table.at[row, "mean_low"], table.at[row, "mean_high"])
        ends = _ends_of_turned(outline, tables, name)
        found.levels[name] = level if ends is None else (ends - level[0], ends - level[2], ends - level[1])
        found.slopes[name, target] = result.slopes[row] if ends is None else -result.slopes[row]


def _ends_of_turned(outline: ChainOutline, tables: Tables, name: str) -> float | None:
    """Return the sum of both ends of the scale of a rating that is better when lower; None of anything else.

    Drivers are measured with such ratings turned; boxes and arrows show them as they are asked.
    """
    question = outline.boxes[name].question
    scale = None if question is None else scale_of(tables.study, question)
    return None if scale is None or scale.higher_is_better else float(scale.low + scale.high)


def _row_of(outline: ChainOutline, name: str) -> str:
    box = outline.boxes[name]
    if box.question is not None:
        return box.question
    return f"events_{box.event}" if box.event is not None else f"topic_{box.topic}"


def _arrow(outline: ChainOutline, tables: Tables, result: Drivers, name: str, target: str) -> Arrow:
    box, row = outline.boxes[name], _row_of(outline, name)
    told: Any = result.table.set_index("driver").loc[row]
    is_rating = box.question is not None
    own = Check(code="ROX-D22" if is_rating else "ROX-D21", verdict=Verdict.NOTE)
    # That no ratings are compared here is so by the question, not by what the study declares.
    checks = (own, *(each for each in result.checks if each.code != "ROX-D07"))
    names = {_row_of(outline, each): each for each in outline.of_kind(tables.study, "event", "topic", "rating")}
    low, value, high = (float(told[each]) for each in ("slope_low", "slope", "slope_high"))
    if _ends_of_turned(outline, tables, name) is not None:
        low, value, high = -high, -value, -low
    reading = Reading(
        name="drivers",
        basis="association",
        value=value,
        low=low,
        high=high,
        unit="points",
        per="rating" if is_rating else "event" if box.event is not None else "topic",
        lag=(0, 0) if is_rating else (1, outline.about.months),
        grade=grade_after(BEST, checks),
        checks=checks,
        beside=tuple(names.get(each, each) for each in result.table["driver"] if each != row),
    )
    return Arrow(source=name, target=target, shown=reading)
