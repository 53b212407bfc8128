"""Measure a tree of metrics: every metric by period and group, against its target, beside the north star."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from importlib.resources import files
from pathlib import Path

import pandas as pd

from rox.core.check import Check, Verdict
from rox.core.errors import DataError
from rox.core.metric_kinds import QUESTIONS
from rox.core.metric_tree import Metric, MetricTree, read_tree
from rox.core.tree_report import Period, TreeReport, heat_map, standing
from rox.metrics.display import NUMBERS, SHOWN_FROM, shown
from rox.metrics.source import TIMES, Tables
from rox.metrics.tree_needs import Need, by_month_only, directed, missing, rows_wanted
from rox.metrics.tree_quantiles import of_quantiles
from rox.metrics.tree_reading import ADDED, moved_with, read
from rox.metrics.tree_rows import of_rows, of_windows
from rox.metrics.tree_times import of_retention, of_times

__all__ = ["TEMPLATES", "TreeReport", "heat_map", "measure_tree", "metric_tree", "standing"]

TEMPLATES = ("heart", "pulse", "ues", "journey")
"""Trees that come with the package."""

Parts = dict[str, pd.DataFrame]


def metric_tree(source: str | Path) -> MetricTree:
    """Read a tree: the name of a template, or a file that may extend templates.

    Args:
        source: ``heart``, ``pulse``, ``ues``, ``journey``, or the path of a TOML file.

    Raises:
        DataError: Every fault of the file in one message.
    """
    folder = files("rox.metrics").joinpath("templates")
    path = Path(str(folder.joinpath(f"{source}.toml"))) if str(source) in TEMPLATES else Path(source)
    return read_tree(path, templates=folder)


def measure_tree(
    tables: Tables, tree: MetricTree, by: Sequence[str] = (), *, every: Period = "quarter", level: float = 0.90
) -> TreeReport:
    """Measure every metric of a tree by period, and by group where groups are asked for.

    Tables are scanned once for all metrics of their rows, once for all quantiles of the same rows, and once for each
    length of windows; only sums leave the engine. A metric whose table, column or rows are not there is listed as
    unmeasured and does not stop the others. Shares, means, activity and earnings count customers with their design
    weight and are clustered by customer; counts, times and retention are those of the rows there are. Which way is
    better of a mean of answers is what the study says of the question.

    Args:
        tables: Loaded tables.
        tree: What to measure.
        by: Columns of the customers, such as ``segment`` or ``unit``, or of the tables of the metrics.
        every: Length of a period.
        level: Level of the intervals.

    Raises:
        DataError: A period or group that cannot be asked for, a direction or limit that does not fit the scale of its
            question, or rows at fault.
    """
    groups = tuple(by)
    faults = [] if every in ("month", "quarter", "year") else [f"{every!r} is no period; choose month, quarter or year"]
    faults += [f"{name!r} is told by `every`" for name in groups if name in TIMES]
    faults += [
        f"{name!r} is a column of the report itself; call the column of the tables otherwise, by a query"
        for name in groups
        if name in (*NUMBERS, *ADDED)
    ]
    faults += [f"{name!r} appears twice" for name in sorted(set(groups)) if groups.count(name) > 1]
    if faults:
        raise DataError("The tree cannot be measured so.", faults)
    tree = directed(tree, tables.study)
    values, needs = _measured(tables, tree, every, (), level)
    split, more = _measured(tables, tree, every, groups, level) if groups else (values.iloc[:0], [])
    unmeasured = pd.DataFrame(
        [(name, False, *need) for name, need in needs]
        + [(name, True, *need) for name, need in more if name not in {lost for lost, _ in needs}],
        columns=["metric", "split", "need", "what"],
    )
    moved = moved_with(values, tree, every, level)
    return TreeReport(
        tree=tree,
        every=every,
        by=groups,
        values=values,
        groups=split,
        moved=moved,
        unmeasured=unmeasured,
        checks=tuple(_checks(tree, unmeasured, moved)),
    )


def _measured(
    tables: Tables, tree: MetricTree, every: Period, groups: tuple[str, ...], level: float
) -> tuple[pd.DataFrame, list[tuple[str, Need]]]:
    """Measure what can be, and list what cannot be and why."""
    by = (every, *groups)
    needs = [(name, need) for name, metric in tree.metrics.items() for need in missing(tables, metric, groups)]
    lost = {name for name, _ in needs}
    needs += by_month_only(tables, {name: each for name, each in tree.metrics.items() if name not in lost})
    lost = {name for name, _ in needs}
    parts = _parts(tables, {name: each for name, each in tree.metrics.items() if name not in lost}, by, level)
    parts = {name: part if _has_rows(tree.metrics[name], part) else part.iloc[:0] for name, part in parts.items()}
    needs += [(name, rows_wanted(tree.metrics[name])) for name, part in parts.items() if part.empty]
    frames = []
    for is_question, least in ((True, SHOWN_FROM), (False, 0.0)):
        own = [
            part.assign(metric=name, unit=tree.metrics[name].measured_in)
            for name, part in parts.items()
            if not part.empty and (tree.metrics[name].estimator in QUESTIONS) == is_question
        ]
        if own:
            frames.append(shown(own, by=by, level=level, min_cell=tables.study.about.min_cell, shown_from=least))
    if not frames:
        wanted = sorted({f"{kind} {what}" for _, (kind, what) in needs})
        raise DataError(f"No metric of the tree {tree.about.name!r} can be measured.", [f"needs {', '.join(wanted)}"])
    return read(pd.concat(frames, ignore_index=True), tree, tables.study, every, groups, level), needs


def _has_rows(metric: Metric, part: pd.DataFrame) -> bool:
    """Whether anything was measured; what a metric asks for and no row ever has is a name spelt otherwise, not zero."""
    return len(part) > 0 and not (metric.where and (part["value"] == 0).all())


def _parts(tables: Tables, metrics: Mapping[str, Metric], by: Sequence[str], level: float) -> Parts:
    """Measure the metrics, those that can share a scan together."""
    kinds = {name: _kind(metric) for name, metric in metrics.items()}
    found: Parts = {}
    for kind in dict.fromkeys(kinds.values()):
        own = {name: metrics[name] for name in metrics if kinds[name] == kind}
        first = next(iter(own.values()))
        match kind[0]:
            case "rows":
                found |= of_rows(tables, first.table, own, by, level)
            case "windows":
                found |= of_windows(tables, first.window, own, by, level)
            case "quantile":
                found |= of_quantiles(tables, own, by, level)
            case "median_time":
                found |= {name: of_times(tables, metric, by, level) for name, metric in own.items()}
            case _:
                found |= {name: of_retention(tables, metric, by, level) for name, metric in own.items()}
    return found


def _kind(metric: Metric) -> tuple[str, str]:
    if metric.is_by_activity:
        return "windows", metric.window
    if metric.estimator in ("quantile", "median_time", "retention"):
        return metric.estimator, ""
    return "rows", metric.table


def _checks(tree: MetricTree, unmeasured: pd.DataFrame, moved: pd.DataFrame) -> Iterator[Check]:
    if lost := unmeasured.loc[~unmeasured["split"].astype(bool), "metric"].nunique():
        values = {"count": int(lost), "of": len(tree.metrics)}
        yield Check(code="ROX-M13", verdict=Verdict.NOTE, values=values)
    if proxies := [name for name, metric in tree.metrics.items() if metric.proxy]:
        yield Check(code="ROX-M14", verdict=Verdict.NOTE, values={"metrics": ", ".join(proxies)})
    if len(moved):
        yield Check(code="ROX-M15", verdict=Verdict.NOTE, values={"count": len(moved), "star": tree.about.north_star})
