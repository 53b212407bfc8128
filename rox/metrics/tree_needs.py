"""What a metric needs of a study's tables, and what of it is missing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import ibis

from rox.core.errors import DataError
from rox.core.metric_kinds import QUESTIONS
from rox.core.metric_tree import Metric, MetricTree
from rox.core.study import Scale, Study
from rox.metrics.source import HIDDEN, TIMES, Tables

Need = tuple[str, str]
"""What kind of thing is needed (a key ``tree.need.<kind>`` of the catalogue), and which."""


def missing(tables: Tables, metric: Metric, by: Sequence[str]) -> tuple[Need, ...]:
    """List what a metric needs and the study does not have."""
    return tuple(dict.fromkeys([*_tables(tables, metric), *_columns(tables, metric), *_groups(tables, metric, by)]))


def _tables(tables: Tables, metric: Metric) -> Iterator[Need]:
    for name in (metric.table, metric.of_table):
        if name is not None and name not in tables.tables:
            yield "table", name


def _columns(tables: Tables, metric: Metric) -> Iterator[Need]:
    own = {"customer": None, **dict.fromkeys(metric.where)}
    other: dict[str, None] = {}
    (own if metric.of_table in (None, metric.table) else other).update(dict.fromkeys(metric.of))
    own |= dict.fromkeys(name for name in (metric.column, metric.until) if name is not None)
    for column in ["date"] if metric.window in ("day", "week") and metric.estimator not in QUESTIONS else ["month"]:
        own[column] = None
        if metric.of_table is not None:
            other[column] = None
    if metric.estimator == "median_time":
        own["date"] = None
    for table, columns in ((metric.table, own), (metric.of_table, other)):
        if table is not None and table in tables.tables:
            there = tables.tables[table].columns
            yield from (("column", f"{table}.{column}") for column in columns if column not in there)
    if metric.estimator in QUESTIONS and metric.column is not None:
        scale = {**tables.study.scores, **tables.study.drivers}.get(metric.column)
        if scale is None:
            yield "question", metric.column
        elif metric.estimator == "nps" and scale.kind != "nps":
            yield "nps", metric.column
    if metric.measured_in == "money" and not _is_money(tables, metric):
        yield "money", f"{metric.table}.{metric.column}"


def _is_money(tables: Tables, metric: Metric) -> bool:
    if metric.table == "applicants" and metric.column == "amount":
        return True
    outcome = tables.study.outcomes.get(metric.column or "")
    return outcome is not None and outcome.table == metric.table and outcome.kind != "count"


def _groups(tables: Tables, metric: Metric, by: Sequence[str]) -> Iterator[Need]:
    people = set(tables.tables["customers"].columns) - HIDDEN if "customers" in tables.tables else set()
    own = set(tables.tables[metric.table].columns) - HIDDEN if metric.table in tables.tables else set()
    by_person = metric.is_by_activity or metric.estimator == "retention"
    for group in by:
        if group not in TIMES and group not in (people if by_person else people | own):
            yield ("column", f"customers.{group}") if by_person else ("either", f"{metric.table}.{group}")


def by_month_only(tables: Tables, metrics: Mapping[str, Metric]) -> list[tuple[str, Need]]:
    """List metrics that count days or weeks in tables whose every date is the first of a month."""
    wanted = {
        name: [metric.table, metric.of_table or metric.table]
        for name, metric in metrics.items()
        if metric.window in ("day", "week") and (metric.is_by_activity or metric.estimator == "retention")
    }
    monthly = set()
    for table in {each for names in wanted.values() for each in names}:
        rows = tables.tables[table]
        last = tables.fetch(rows.aggregate(last=ibis.coalesce(rows.date.cast("date").day().max(), 0)))["last"][0]
        monthly |= {table} if int(last) == 1 else set()
    return [
        (name, ("daily", f"{table}.date"))
        for name, names in wanted.items()
        for table in dict.fromkeys(names)
        if table in monthly
    ]


def directed(tree: MetricTree, study: Study) -> MetricTree:
    """Give means and quantiles of a question the direction of its scale.

    Raises:
        DataError: A declared direction disagrees with the scale, or limits lie off it; every fault at once.
    """
    metrics, faults = dict(tree.metrics), []
    for name, metric in tree.metrics.items():
        scale = _scale(metric, study)
        if scale is None:
            continue
        found = "up" if scale.higher_is_better else "down"
        if "direction" in metric.model_fields_set and metric.direction != found:
            better = "higher" if scale.higher_is_better else "lower"
            faults.append(f"metrics.{name}.direction: {metric.direction!r}, but {better} is better of {metric.column}")
        metrics[name] = metric.model_copy(update={"direction": found})
        faults += [
            f"metrics.{name}.{limit}: {value:g} is off the scale {scale.low}..{scale.high} of {metric.column}"
            for limit, value in (("target", metric.target), ("alert", metric.alert))
            if value is not None and not scale.low <= value <= scale.high
        ]
        if metrics[name].alert_is_better:
            faults.append(f"metrics.{name}.alert: {metric.alert:g} is better than the target {metric.target:g}")
    if faults:
        raise DataError(f"The tree {tree.about.name!r} does not fit the study's questions.", faults)
    return tree.model_copy(update={"metrics": metrics})


def _scale(metric: Metric, study: Study) -> Scale | None:
    """Return the scale that a metric is told on; shares and the NPS are read from the better end already."""
    if metric.table != "answers" or metric.estimator not in ("mean", "quantile"):
        return None
    return {**study.scores, **study.drivers}.get(metric.column or "")


def rows_wanted(metric: Metric) -> Need:
    """Say which rows were looked for and not found."""
    filters = {**metric.where, **metric.of}
    told = ", ".join(f"{name} = {_told(value)}" for name, value in filters.items())
    return "rows", f"{metric.table} ({told})" if told else metric.table


def _told(value: object) -> str:
    return " / ".join(str(each) for each in value) if isinstance(value, tuple) else str(value).lower()
