"""How a measured metric stands against its target, and what moved with the north star."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import stats

from rox.core.metric_tree import MetricTree
from rox.core.study import Study
from rox.core.tree_report import PLACES
from rox.metrics.source import period
from rox.metrics.tree_rows import complete_through

ADDED = ("complete", "before", "target", "alert", "p_target", "status", "goal", "signal", *PLACES, "proxy")
"""Columns that a report has beside the numbers."""
SURE = 0.95
FEWEST_CHANGES = 6
"""Pairs of changes from which a correlation is told."""


def read(
    frame: pd.DataFrame, tree: MetricTree, study: Study, every: str, groups: Sequence[str], level: float
) -> pd.DataFrame:
    """Add to values how they stand, and where their metric belongs."""
    number = frame[every].map(lambda label: period(label)[1])
    frame = frame.assign(complete=number <= complete_through(study, every), _number=number)
    earlier = frame[[*groups, "metric", "_number", "value"]].rename(columns={"value": "before"})
    frame = frame.merge(
        earlier.assign(_number=earlier["_number"] + 1), on=[*groups, "metric", "_number"], how="left"
    ).drop(columns="_number")
    metrics = [tree.metrics[name] for name in frame["metric"]]
    limits = {
        name: np.array([np.nan if (limit := getattr(each, name)) is None else limit for each in metrics], dtype=float)
        for name in ("target", "alert")
    }
    sign = np.array([each.sign for each in metrics], dtype=float)
    reached = {name: sign * (frame["value"].to_numpy(dtype=float) - limit) for name, limit in limits.items()}
    sure = {name: _probability(frame, limit, sign, level) for name, limit in limits.items()}
    return frame.assign(
        target=limits["target"],
        alert=limits["alert"],
        p_target=sure["target"],
        status=_status(frame["value"].to_numpy(dtype=float), limits, reached, sure),
        goal=[tree.goal_of(name) for name in frame["metric"]],
        signal=[each.signal for each in metrics],
        scope=[each.level for each in metrics],
        stage=[each.stage or "" for each in metrics],
        **{
            place: ["" if (said := getattr(each, place)) is None else said.en for each in metrics]
            for place in ("touchpoint", "channel", "department")
        },
        proxy=[each.proxy for each in metrics],
    )


def moved_with(values: pd.DataFrame, tree: MetricTree, every: str, level: float) -> pd.DataFrame:
    """Correlate the changes of every metric from period to period with those of the north star.

    The interval is Fisher's, as if changes were independent of each other; noise of the values draws the correlation
    towards zero. Metrics with fewer than six pairs of changes are left out.
    """
    ended = values[values["complete"]]
    table = ended.pivot(index=every, columns="metric", values="value").sort_index()
    numbers = [period(str(label))[1] for label in table.index]
    rows = []
    if tree.about.north_star in table and len(table):
        table = table.set_axis(pd.Index(numbers)).reindex(range(min(numbers), max(numbers) + 1))
        changes = table.diff()
        star = changes[tree.about.north_star]
        for name in (each for each in tree.metrics if each in table and each != tree.about.north_star):
            both = pd.DataFrame({"star": star, "own": changes[name]}).dropna()
            if len(both) >= FEWEST_CHANGES and both.std().gt(1e-12).all():
                r = float(np.corrcoef(both["star"], both["own"])[0, 1])
                half = stats.norm.ppf((1 + level) / 2) / np.sqrt(len(both) - 3)
                z = np.arctanh(np.clip(r, -1 + 1e-12, 1 - 1e-12))
                rows.append((name, len(both), r, float(np.tanh(z - half)), float(np.tanh(z + half))))
    return pd.DataFrame(rows, columns=["metric", "n", "r", "low", "high"])


def _probability(frame: pd.DataFrame, limit: np.ndarray, sign: np.ndarray, level: float) -> np.ndarray:
    """Read the probability of being on the good side of a limit off the interval, normal on each side of the value."""
    value, low, high = (frame[name].to_numpy(dtype=float) for name in ("value", "low", "high"))
    reach = np.where(limit < value, value - low, high - value) / stats.norm.ppf((1 + level) / 2)
    z = np.where(reach > 0, (value - limit) / np.where(reach > 0, reach, 1.0), np.where(value > limit, np.inf, -np.inf))
    z = np.where((reach <= 0) & (value == limit), 0.0, z)
    known = np.isfinite(value) & np.isfinite(limit) & np.isfinite(reach)
    return np.asarray(np.where(known, stats.norm.cdf(sign * z), np.nan), dtype=np.float64)


def _status(
    value: np.ndarray, limits: dict[str, np.ndarray], reached: dict[str, np.ndarray], sure: dict[str, np.ndarray]
) -> list[str]:
    """Say how values stand; counts have no interval and stand as they are."""
    counted = {
        name: np.where(np.isnan(sure[name]), np.where(reached[name] >= 0, 1.0, 0.0), sure[name]) for name in sure
    }
    said = []
    for place, each in enumerate(value):
        aims = np.isfinite([limits["target"][place], limits["alert"][place]])
        if not np.isfinite(each):
            said.append("hidden")
        elif aims[1] and counted["alert"][place] <= 1 - SURE:
            said.append("alert")
        elif not aims[0]:
            said.append("none")
        else:
            share = counted["target"][place]
            said.append("met" if share >= SURE else "missed" if share <= 1 - SURE else "open")
    return said
