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
from rox.metrics.driver_sums import ANY, Recorded, counted, recorded_rows
from rox.metrics.drivers import Drivers, drivers
from rox.metrics.source import Tables, required
from rox.numerics.shapley import MOST_PLAYERS

MOST = 3
"""Kinds of events, and topics of feedback, that stand beside the ratings unless told otherwise."""
LOOKED_AT = 12
"""Most frequent kinds, and topics, that are looked at."""
COLUMNS = (
    "driver", "kind", "mean", "mean_low", "mean_high", "share", "low", "high", "johnson", "alone", "added", "p_first",
    "rank_low", "rank_high", "above_chance", "within", "given", "slope", "slope_low", "slope_high",
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
    room = MOST_PLAYERS - 1 - (len(tables.study.drivers) if ratings is None else ratings)
    events = _common(tables, score, recorded_rows(_frequent(tables, "events"), ()), months)[: max(min(MOST, room), 0)]
    room -= len(events)
    topics = _common(tables, score, recorded_rows((), _frequent(tables, "feedback")), months)
    names = [each.partition("_")[2] for each in (*events, *topics[: max(min(MOST, room), 0)])]
    return tuple(names[: len(events)]), tuple(names[len(events) :])


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
    if not events and not topics:
        events, topics = usual_facts(tables, score, months=months)
    if len(tables.study.drivers) + len(events) + len(topics) < 2:
        return _nothing(score)
    return drivers(tables, score, events=events, topics=topics, months=months, level=level, rng=rng)


def _frequent(tables: Tables, name: str) -> list[str]:
    """Name the most frequent kinds of events, or kinds and topics of feedback."""
    if name not in tables.tables or "kind" not in required(tables, name).columns:
        return []
    rows = required(tables, name)
    topic = rows.topic if name == "feedback" and "topic" in rows.columns else ibis.literal(ANY)
    found = tables.fetch(rows.group_by(kind=rows.kind, topic=topic).aggregate(rows=rows.count()))
    found = found.dropna().sort_values(["rows", "kind", "topic"], ascending=[False, True, True]).head(LOOKED_AT)
    if name == "events":
        return [str(kind) for kind in found["kind"]]
    return [f"{kind}/{topic}" for kind, topic in zip(found["kind"], found["topic"], strict=True)]


def _common(tables: Tables, score: str, wanted: dict[str, Recorded], months: int) -> list[str]:
    """Name those that enough of who answered had before, and that vary; the most common first."""
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
    return sorted((name for name in had_by if had_by[name] >= least), key=lambda name: (-had_by[name], name))


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
