"""What the company records by itself beside the ratings: what of it can be compared, and the comparison."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import ibis
import numpy as np
import pandas as pd

from rox.core.check import Check, Verdict
from rox.metrics.answers import scored
from rox.metrics.display import SHOWN_FROM
from rox.metrics.driver_sums import ANY, Recorded, counted, require_once
from rox.metrics.drivers import Drivers, drivers
from rox.metrics.source import Tables, required
from rox.numerics.shapley import MOST_PLAYERS

MOST = 3
"""Kinds of events, and topics of feedback, that stand beside the ratings unless told otherwise."""
LOOKED_AT = 12
"""Most frequent kinds, and topics, that are looked at."""
COLUMNS = (
    "driver", "kind", "mean", "mean_low", "mean_high", "share", "low", "high", "share_error", "johnson", "alone",
    "added", "p_first", "rank_low", "rank_high", "above_chance", "within", "given", "slope", "slope_low", "slope_high",
)  # fmt: skip


def usual_facts(
    tables: Tables, score: str = "nps", *, ratings: int | None = None, months: int = 3
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Choose kinds of events and topics of feedback that enough of those who answered had in the months before.

    Enough are 30 customers, and as many as the study's ``min_cell``. At most three of each, those of the most
    customers, and no more than leave every order of the drivers to be looked at.

    Args:
        tables: Loaded tables.
        score: The score.
        ratings: How many ratings stand beside them; those of the study by default.
        months: How many months before the answer's own.

    Returns:
        Kinds of events, and topics of feedback as ``kind/topic``: praise and complaints are apart.
    """
    events, topics = _usual(tables, score, len(tables.study.drivers) if ratings is None else ratings, months)
    kinds, names = ([each.name.partition("_")[2] for each in part] for part in (events, topics))
    return tuple(kinds), tuple(names)


def _usual(tables: Tables, score: str, ratings: int, months: int) -> tuple[list[Recorded], list[Recorded]]:
    room = MOST_PLAYERS - 1 - ratings
    events = _common(tables, score, _frequent(tables, "events"), months)[: max(min(MOST, room), 0)]
    room -= len(events)
    return events, _common(tables, score, _frequent(tables, "feedback"), months)[: max(min(MOST, room), 0)]


def usual_drivers(
    tables: Tables,
    score: str = "nps",
    *,
    events: Sequence[str] = (),
    topics: Sequence[str] = (),
    months: int = 3,
    level: float = 0.90,
    rng: int | np.random.Generator | None = None,
) -> Drivers:
    """Compare the study's ratings with what the company records by itself, as far as there is something to compare.

    Args:
        tables: Loaded tables.
        score: The score.
        events: Kinds of events; with no events and no topics given, those of :func:`usual_facts`.
        topics: Topics of feedback, likewise.
        months: How many months before the answer's own.
        level: Level of the intervals.
        rng: Seed of the draws of ranks.

    Returns:
        As :func:`rox.metrics.drivers.drivers`; with empty tables and ROX-D08 where there are fewer than two drivers.

    Raises:
        DataError: As there, but for too few drivers.
    """
    require_once((), months)
    kinds: Sequence[str | Recorded] = events
    messages: Sequence[str | Recorded] = topics
    if not kinds and not messages:
        kinds, messages = _usual(tables, score, len(tables.study.drivers), months)
    if len(tables.study.drivers) + len(kinds) + len(messages) < 2:
        return _nothing(score)
    return drivers(tables, score, events=kinds, topics=messages, months=months, level=level, rng=rng)


def _frequent(tables: Tables, name: str) -> list[Recorded]:
    """Name the most frequent kinds of events, or kinds and topics of feedback."""
    if name not in tables.tables or "kind" not in required(tables, name).columns:
        return []
    rows = required(tables, name)
    has_topic = name == "feedback" and "topic" in rows.columns
    topic = rows.topic if has_topic else ibis.literal(ANY)
    found = tables.fetch(rows.group_by(kind=rows.kind, topic=topic).aggregate(rows=rows.count()))
    found = found.dropna().sort_values(["rows", "kind", "topic"], ascending=[False, True, True]).head(LOOKED_AT)
    if name == "events":
        return [Recorded(name=f"events_{kind}", source=name, values={"kind": str(kind)}) for kind in found["kind"]]
    pairs = [(str(kind), str(topic)) for kind, topic in zip(found["kind"], found["topic"], strict=True)]
    return [
        Recorded(
            name=f"topic_{kind}/{topic}",
            source=name,
            values={"kind": kind, "topic": topic} if has_topic else {"kind": kind},
        )
        for kind, topic in pairs
    ]


def _common(tables: Tables, score: str, facts: Sequence[Recorded], months: int) -> list[Recorded]:
    """Name those that enough of who answered had before, and that vary; the most common first."""
    wanted = {f"d_{i}": each for i, each in enumerate(facts)}
    if not wanted:
        return []
    answers = scored(tables, score, ()).table
    table = counted(tables, answers.select("customer", "month"), wanted, months)
    asked: dict[str, Any] = {}
    for i, name in enumerate(wanted):
        had = (table[name] > 0).ifelse(table.customer, ibis.null(table.customer.type()))
        asked |= {f"n_{i}": had.nunique(), f"low_{i}": table[name].min(), f"high_{i}": table[name].max()}
    found = tables.fetch(table.aggregate(**asked)).iloc[0]
    least = max(SHOWN_FROM, tables.study.about.min_cell)
    had_by = {name: int(found[f"n_{i}"]) for i, name in enumerate(wanted) if found[f"high_{i}"] > found[f"low_{i}"]}
    common = sorted((name for name in had_by if had_by[name] >= least), key=lambda d: (-had_by[d], wanted[d].name))
    return [wanted[name] for name in common]


def _nothing(score: str) -> Drivers:
    empty = pd.DataFrame()
    return Drivers(
        score=score,
        table=pd.DataFrame(columns=list(COLUMNS)),
        ranks=empty,
        asymmetry=empty,
        pillars=empty,
        pillar_ranks=empty,
        quadrant=empty,
        slopes=empty,
        r2=float("nan"),
        chance=float("nan"),
        headroom=float("nan"),
        checks=(Check(code="ROX-D08", verdict=Verdict.NOTE),),
    )
