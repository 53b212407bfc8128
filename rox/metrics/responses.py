"""Who was asked and who answered: response rates, the chain of counts, and customers who answer again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from rox.core.units import Unit
from rox.metrics.cells import moments
from rox.metrics.display import shown
from rox.metrics.estimates import counts, ratio, with_t, with_wilson
from rox.metrics.source import TIMES, Rows, Tables, required, rows_of


def response_rate(tables: Tables, by: Sequence[str] = (), *, level: float = 0.90) -> pd.DataFrame:
    """Measure answered invitations over invitations sent, with Wilson's interval clustered by customer.

    An invitation is answered when an answer names its key; where the study has no such keys, when its customer answered
    in the month it was sent, and a customer's invitations of one month are one. Design weights are not used: the rate
    says what happened to the invitations.

    Args:
        tables: Loaded tables.
        by: ``month``, ``quarter``, ``year`` of sending, or columns of invitations or customers.
        level: Level of the interval.

    Returns:
        One row per group, the columns of ``display.shown``. Metric ``response_rate``, unit ``ratio``; ``n`` counts
        invitations.

    Raises:
        DataError: No invitations, or no such group.
    """
    rows = rows_of(tables, "invitations", by, table=answered_invitations(tables), weighted=False)
    frame = moments(tables, rows, {"answered": rows.table["_answered"]})
    part = with_wilson(ratio(frame, rows.by, "answered"), level).assign(metric="response_rate", unit=str(Unit.RATIO))
    return shown([part], by=rows.by, level=level, min_cell=tables.study.about.min_cell)


def response_chain(tables: Tables, by: Sequence[str] = ()) -> pd.DataFrame:
    """Count the steps from the customers of the study to their answers.

    Args:
        tables: Loaded tables.
        by: ``month``, ``quarter``, ``year`` (of sending for invitations, of answering for answers), or columns of the
            customers.

    Returns:
        One row per group and step, the columns of ``display.shown``; ``value`` is the count, unit ``count``. Steps as
        ``metric``: ``customers`` (not by time), ``customers_invited``, ``customers_answered``, ``invitations``,
        ``invitations_answered``, ``answers``; those of invitations only if the study has them.

    Raises:
        DataError: No such group.
    """
    answers = rows_of(tables, "answers", by, weighted=False)
    steps = [(answers, "customers", "customers_answered"), (answers, "n", "answers")]
    if "invitations" in tables.tables:
        invited = rows_of(tables, "invitations", by, table=answered_invitations(tables), weighted=False)
        answered = replace(invited, table=invited.table.filter(invited.table["_answered"] == 1))
        steps[:1] = [(invited, "customers", "customers_invited"), steps[0]]
        steps[2:2] = [(invited, "n", "invitations"), (answered, "n", "invitations_answered")]
    if not set(by) & set(TIMES):
        steps.insert(0, (rows_of(tables, "customers", by, weighted=False), "customers", "customers"))
    parts = [_counted(tables, rows, column, step) for rows, column, step in steps]
    return shown(parts, by=tuple(by), level=np.nan, min_cell=tables.study.about.min_cell)


def repeats(tables: Tables, by: Sequence[str] = (), *, level: float = 0.90) -> pd.DataFrame:
    """Measure how often a customer who answers answers again.

    Where a key stands for an order rather than a person nobody ever answers twice, and nothing can be said about
    changes within a person: look at this before anything else.

    Args:
        tables: Loaded tables.
        by: ``month``, ``quarter``, ``year`` (then answers within it), or columns of the answers or customers.
        level: Level of the intervals.

    Returns:
        One row per group and metric, the columns of ``display.shown``. Metrics ``answered_again``, the share of
        customers with two answers or more among those with one (unit ``ratio``, Wilson), and ``answers_each``, answers
        per such customer (unit ``count``). ``n`` counts customers. Design weights are not used.

    Raises:
        DataError: No such group.
    """
    answers = rows_of(tables, "answers", by, weighted=False)
    each = answers.table.group_by([*answers.keys, "stratum", "customer"]).aggregate(
        _count=answers.table.count(),
        weight=answers.table.weight.max(),
        **{fault: answers.table[fault].any() for fault in answers.faults},
    )
    rows = replace(answers, table=each)
    again = (each["_count"] > 1).ifelse(1, 0)
    frame = moments(tables, rows, {"again": again, "count": each["_count"]})
    parts = [
        with_wilson(ratio(frame, rows.by, "again"), level).assign(metric="answered_again", unit=str(Unit.RATIO)),
        with_t(ratio(frame, rows.by, "count"), level).assign(metric="answers_each", unit=str(Unit.COUNT)),
    ]
    return shown(parts, by=rows.by, level=level, min_cell=tables.study.about.min_cell)


def answered_invitations(tables: Tables) -> Any:
    """Return the invitations with ``_answered``, 1 or 0: as an engine table, one row per invitation."""
    invitations, answers = required(tables, "invitations"), required(tables, "answers")
    if "key" in invitations.columns and "invitation" in answers.columns:
        named = answers.filter(answers.invitation.notnull()).select(_named=answers.invitation).distinct()
        joined = invitations.left_join(named, invitations.key == named["_named"])
    else:
        channel = {column: invitations[column].min() for column in ("channel",) if column in invitations.columns}
        asked = invitations.group_by(["customer", "month"]).aggregate(**channel)
        named = answers.select(_named=answers.customer, _then=answers.month).distinct()
        joined = asked.left_join(named, (asked.customer == named["_named"]) & (asked.month == named["_then"]))
    return joined.mutate(_answered=joined["_named"].notnull().ifelse(1, 0))


def _counted(tables: Tables, rows: Rows, column: str, step: str) -> pd.DataFrame:
    found = counts(moments(tables, rows, {}), rows.by)
    unknown = dict.fromkeys(("se", "low", "high", "n_eff"), np.nan)
    return found.assign(
        value=found[column], n=found[column], metric=step, unit=str(Unit.COUNT), method="count", **unknown
    )
