"""What a metric needs of a study's tables, and what of it is missing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rox.core.metric_kinds import QUESTIONS
from rox.core.metric_tree import Metric
from rox.metrics.source import HIDDEN, TIMES, Tables


def missing(tables: Tables, metric: Metric, by: Sequence[str]) -> tuple[str, ...]:
    """List what a metric needs and the study does not have: tables, columns, questions, groups."""
    return tuple(dict.fromkeys([*_tables(tables, metric), *_columns(tables, metric), *_groups(tables, metric, by)]))


def _tables(tables: Tables, metric: Metric) -> Iterator[str]:
    for name in (metric.table, metric.of_table):
        if name is not None and name not in tables.tables:
            yield f"table {name}"


def _columns(tables: Tables, metric: Metric) -> Iterator[str]:
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
        if table in tables.tables:
            there = tables.tables[table].columns
            yield from (f"{table}.{column}" for column in columns if column not in there)
    if metric.estimator in QUESTIONS and metric.column is not None:
        scale = {**tables.study.scores, **tables.study.drivers}.get(metric.column)
        if scale is None:
            yield f"question {metric.column}"
        elif metric.estimator == "nps" and scale.kind != "nps":
            yield f"question {metric.column} of kind nps"
    if metric.measured_in == "money" and not _is_money(tables, metric):
        yield f"{metric.table}.{metric.column} as an outcome in money"


def _is_money(tables: Tables, metric: Metric) -> bool:
    if metric.table == "applicants" and metric.column == "amount":
        return True
    outcome = tables.study.outcomes.get(metric.column or "")
    return outcome is not None and outcome.table == metric.table and outcome.kind != "count"


def _groups(tables: Tables, metric: Metric, by: Sequence[str]) -> Iterator[str]:
    people = set(tables.tables["customers"].columns) - HIDDEN if "customers" in tables.tables else set()
    own = set(tables.tables[metric.table].columns) - HIDDEN if metric.table in tables.tables else set()
    by_person = metric.is_by_activity or metric.estimator == "retention"
    for group in by:
        if group not in TIMES and group not in (people if by_person else people | own):
            yield f"customers.{group}" if by_person else f"{metric.table}.{group} or customers.{group}"
