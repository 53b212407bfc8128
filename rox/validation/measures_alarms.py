"""Alarms where nothing happened: charts, trees of groups, and the search for where a change came from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from rox.metrics.drill import drill
from rox.metrics.source import time_label
from rox.metrics.watch import LEARN, watch
from rox.metrics.watch_charts import WEIGHT
from rox.numerics.arrays import Floats
from rox.numerics.monitoring import Chart, cusum, ewma, tree_rejections
from rox.numerics.recursive import Series, self_starting, simes
from rox.validation.measures_samples import CUTS
from rox.validation.measures_tables import Held, held

Row = dict[str, Any]
LEARNT, CHARTED = LEARN["month"], 60
"""Months that a series learns from, and months that are charted after them."""
GROUPS = 20
"""Series of one study; what their months have in common is learnt from all of them."""
REMEMBERED = 0.5
"""Autocorrelation of a process that wanders."""
BRANCHES, PLACES = 5, 8
"""Of a tree: groups under the whole, and places under each."""
Q = 0.10
MOVED_BY = 4.0
"""Standard errors by which the places of one branch move, where a tree is not at rest."""
CHARTS: dict[str, Callable[[Floats], Chart]] = {"ewma": lambda e: ewma(e, weight=WEIGHT), "cusum": cusum}
WORLDS = ("normal", "sampling", "process", "wandering", "blind")
"""Where charts are tried: residuals that are standard normal; months that differ by sampling alone; by as much again of
their own; by that, each month keeping half of the one before; and the third, charted as if by sampling alone."""


def charts(world: str, *, series: int, seed: int) -> list[Row]:
    """Chart series at rest until the first alarm.

    Args:
        world: One of ``WORLDS``.
        series: How many.
        seed: Of the series.

    Returns:
        One row per chart: ``part``, ``world``, ``chart``, ``series``, ``months`` (charted until an alarm or the end),
        ``alarms`` (series with one), ``stated`` (months between false alarms), ``expected`` (alarms, were the statement
        exact for a chart that starts anew).
    """
    rng = np.random.default_rng(seed)
    rows: list[Row] = [
        {"part": "chart", "world": world, "chart": name, "series": series, "months": 0, "alarms": 0} for name in CHARTS
    ]
    for start in range(0, series, GROUPS):
        for residual in _at_rest(world, min(GROUPS, series - start), rng):
            for row, chart in zip(rows, CHARTS.values(), strict=True):
                drawn = chart(residual)
                passed = np.flatnonzero(drawn.alarms)
                row["months"] += int(passed[0]) + 1 if passed.size else residual.size
                row["alarms"] += int(passed.size > 0)
                row["stated"] = drawn.run_length
    return [row | {"expected": row["months"] / row["stated"]} for row in rows]


def _at_rest(world: str, series: int, rng: np.random.Generator) -> list[Floats]:
    """Return the residuals of one study's series."""
    size = LEARNT + CHARTED
    if world == "normal":
        return list(rng.standard_normal((series, CHARTED)))
    y = rng.standard_normal((series, size))
    if world != "sampling":
        own = rng.standard_normal((series, size))
        kept = REMEMBERED if world == "wandering" else 0.0
        for month in range(1, size):
            own[:, month] = kept * own[:, month - 1] + np.sqrt(1 - kept**2) * own[:, month]
        y = y + own
    if world == "blind":
        return [each[LEARNT:] - each[:LEARNT].mean() for each in y]
    at, v = np.arange(size, dtype=float), np.ones(size)
    judged = self_starting([Series(y=each, at=at, sampling=v) for each in y], learn=LEARNT)
    return [each.residual[LEARNT:] for each in judged]


def trees(*, moved: bool, runs: int, seed: int) -> list[Row]:
    """Say which groups of a tree moved, none of them having moved, or the places of one branch.

    Returns:
        One row: ``part``, ``world`` (``still`` or ``moved``), ``runs``, ``wrong`` (runs in which a group at rest was
        said to have moved), ``share`` (mean share of false among those said to have moved), ``found`` (mean share found
        of those that moved), ``stated``.
    """
    rng = np.random.default_rng(seed)
    at_branch, at_place = 1 + np.arange(BRANCHES), 1 + BRANCHES + np.arange(BRANCHES * PLACES)
    parent = np.concatenate([[-1], np.zeros(BRANCHES), np.repeat(at_branch, PLACES)]).astype(int)
    real = np.zeros(parent.size, dtype=bool)
    if moved:
        real[[0, 1, *at_place[:PLACES]]] = True
    wrong, false, found = [], [], []
    for _ in range(runs):
        place = rng.standard_normal((BRANCHES, PLACES))
        place[0] += MOVED_BY * moved
        z = np.concatenate([[place.sum() / np.sqrt(place.size)], place.sum(1) / np.sqrt(PLACES), place.ravel()])
        p = 2 * stats.norm.sf(np.abs(z))
        for node in reversed(range(1 + BRANCHES)):
            p[node] = simes([p[node], *p[parent == node]])
        said = tree_rejections(p, parent, q=Q)
        wrong.append((said & ~real).any())
        false.append((said & ~real).sum() / max(said.sum(), 1))
        found.append((said & real).sum() / max(real.sum(), 1))
    return [
        {
            "part": "tree",
            "world": "moved" if moved else "still",
            "runs": runs,
            "wrong": int(np.sum(wrong)),
            "share": float(np.mean(false)),
            "found": float(np.mean(found)) if moved else float("nan"),
            "stated": Q,
        }
    ]


def watched(*, studies: int, answers: int, seed: int) -> list[Row]:
    """Watch whole tables of studies at rest, in which months differ by themselves.

    Args:
        studies: How many.
        answers: Of a place in a month.
        seed: Of the studies.

    Returns:
        Rows as from ``charts`` (here all alarms are counted, ``months`` those of all groups) and ``trees``, both of the
        world ``tables``.
    """
    rng = np.random.default_rng(seed)
    rows: dict[str, Row] = {
        name: {"part": "chart", "world": "tables", "chart": name, "series": 0, "months": 0, "alarms": 0}
        for name in CHARTS
    }
    wrong, false = 0, 0.0
    for _ in range(studies):
        found = watch(_study_at_rest(answers, rng), "nps", ("segment", "place"))
        for name, row in rows.items():
            row["months"] += len(found.charts)
            row["series"] += len(found.moved)
            row["alarms"] += int((found.alarms["chart"] == name).sum())
            row["stated"] = found.run_lengths[name]
        wrong += bool(found.moved["moved"].any())
        false += float(found.moved["moved"].any())
    tree = {"part": "tree", "world": "tables", "runs": studies, "wrong": wrong, "share": false / studies, "stated": Q}
    return [
        *(row | {"expected": row["months"] / row["stated"]} for row in rows.values()),
        tree | {"found": float("nan")},
    ]


def _study_at_rest(answers: int, rng: np.random.Generator) -> Held:
    """Tables of a study in which every place has good and bad months, independent of each other."""
    size = LEARNT + CHARTED
    place, month = (each.ravel() for each in np.indices((BRANCHES * PLACES, size)))
    luck = 0.10 * rng.standard_normal(place.size)
    row = np.repeat(np.arange(place.size), answers)
    reading = rng.standard_normal(row.size) + luck[row]
    who = np.arange(row.size)
    customers = pd.DataFrame(
        {"customer": who, "segment": (place[row] // PLACES).astype(str), "unit": place[row].astype(str)}
    )
    given = pd.DataFrame({"customer": who, "month": 12 * 2019 + month[row], "nps": _nps(reading)})
    return held({"customers": customers, "answers": given})


def drills(world: str, *, runs: int, answers: int, seed: int) -> list[Row]:
    """Look for where a change came from, though it came from nowhere.

    Args:
        world: ``still``, nothing changed; ``alike``, everybody moved by as much.
        runs: Pairs of months, each with customers of its own.
        answers: Of a month.
        seed: Of the answers.

    Returns:
        One row: ``part``, ``world``, ``runs``, ``wrong`` (runs in which a slice was said to have moved), ``stated``.
    """
    rng = np.random.default_rng(seed)
    at_once, wrong = 25, 0
    for start in range(0, runs, at_once):
        pairs = min(at_once, runs - start)
        tables = _pairs(pairs, answers, 0.3 if world == "alike" else 0.0, rng)
        for pair in range(pairs):
            first, second = (time_label(12 * 2000 + 2 * pair + later, "month") for later in (0, 1))
            wrong += len(drill(tables, "nps", first, second, ("segment", "channel", "unit"), q=Q).slices) > 0
    return [{"part": "drill", "world": world, "runs": runs, "wrong": wrong, "stated": Q}]


def _pairs(pairs: int, answers: int, shift: float, rng: np.random.Generator) -> Held:
    size = pairs * 2 * answers
    who, month = np.arange(size), np.repeat(np.arange(2 * pairs), answers)
    segment, channel, unit = (rng.integers(0, each, size) for each in (4, 3, 6))
    level = 0.1 * segment - 0.15 * channel
    reading = level + shift * (month % 2) + rng.standard_normal(size)
    customers = pd.DataFrame({"customer": who, "segment": segment.astype(str), "unit": unit.astype(str)})
    given = pd.DataFrame(
        {"customer": who, "month": 12 * 2000 + month, "channel": channel.astype(str), "nps": _nps(reading)}
    )
    return held({"customers": customers, "answers": given})


def _nps(reading: Floats) -> Floats:
    return np.where(reading >= -CUTS[2], 10, np.where(reading < CUTS[2], 3, 8))
