"""Who was asked and who answered: response rates, the chain of counts, and customers who answer again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import ibis
import numpy as np
import pandas as pd

from rox.core.errors import DataError
from rox.core.study import STEPS
from rox.core.units import Unit
from rox.metrics.cells import Part, moments, split_moments
from rox.metrics.display import shown
from rox.metrics.estimates import cells_of, counts, ratio, with_t, with_wilson
from rox.metrics.source import TIMES, WEIGHT_UNITS, Tables, groups_of, required, rows_of
from rox.numerics.arrays import Floats

SENT, ANSWERED = STEPS.index("invited"), STEPS.index("answered")
OTHER, UNKNOWN = "other", "unknown"
"""Reasons that few have, together; and none noted."""


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
    return response_splits(tables, (by,), level=level)[0]


def response_splits(tables: Tables, splits: Sequence[Sequence[str]], *, level: float = 0.90) -> list[pd.DataFrame]:
    """Do what ``response_rate`` does for several groupings in one pass over the invitations."""
    table = answered_invitations(tables)
    rows = rows_of(tables, "invitations", groups_of(splits), table=table, weighted=False)
    parts = {"": Part(values={"answered": rows.table["_answered"]})}
    found = []
    for split, frames in zip(splits, split_moments(tables, rows, parts, splits), strict=True):
        part = with_wilson(ratio(frames[""], split, "answered"), level)
        part = part.assign(metric="response_rate", unit=str(Unit.RATIO))
        found.append(shown([part], by=split, level=level, min_cell=tables.study.about.min_cell))
    return found


def response_chain(tables: Tables, by: Sequence[str] = ()) -> pd.DataFrame:
    """Count the steps from the customers of the study to their answers.

    Steps between are those that a status of the invitations says; an answered invitation has taken all of them. A step
    that no invitation ended at is not shown. A step between is hidden if it differs from the next one shown, or from
    that before, by few customers, who ended there: they are counted as having ended at the step before it.

    Args:
        tables: Loaded tables.
        by: ``month``, ``quarter``, ``year`` (of sending for invitations, of answering for answers), or columns of the
            customers.

    Returns:
        One row per group and step, the columns of ``display.shown``; ``value`` is the count, unit ``count``. Steps as
        ``metric``: ``customers`` (not by time), ``customers_eligible``, ``…_contactable``, ``…_invited``,
        ``…_delivered``, ``…_opened``, ``…_started``, ``…_answered``; ``invitations``, ``invitations_delivered`` and so
        on to ``invitations_answered``; ``answers``. Those of invitations only if the study has them.

    Raises:
        DataError: No such group.
    """
    answers = rows_of(tables, "answers", by, weighted=False)
    said = counts(moments(tables, answers, {}), answers.by)
    found = None
    if not set(by) & set(TIMES):
        everybody = rows_of(tables, "customers", by, weighted=False)
        found = counts(moments(tables, everybody, {}), everybody.by)
    people, sent = _steps_taken(tables, by, found) if "invitations" in tables.tables else ([], [])
    parts = [*people, _counted(said, "customers", "customers_answered"), *sent, _counted(said, "n", "answers")]
    if found is not None:
        parts.insert(0, _counted(found, "customers", "customers"))
    return shown(parts, by=tuple(by), level=np.nan, min_cell=tables.study.about.min_cell)


def response_reasons(tables: Tables, by: Sequence[str] = ()) -> pd.DataFrame:
    """Count the customers who were not asked, not reached or broke off, by how far they came and the reason noted.

    Reasons of fewer than ``min_cell`` customers are one reason, ``other``.

    Args:
        tables: Loaded tables.
        by: ``month``, ``quarter``, ``year`` of the invitation, or columns of invitations or customers.

    Returns:
        One row per group, ``stopped`` (the last step taken: ``excluded``, ``eligible``, ``contactable``, ``invited``,
        ``delivered``, ``opened`` or ``started``) and ``reason`` (as the study writes it, ``other``, or ``unknown``
        where none is noted); then the columns of ``display.shown``. Metric ``customers_stopped``, unit ``count``: the
        customers; ``n`` counts their invitations. Who answered another invitation is among them.

    Raises:
        DataError: No invitations, neither a status nor a reason of them, or no such group.
    """
    columns = required(tables, "invitations").columns
    if not {"status", "reason"} & set(columns):
        raise DataError(
            "Nothing says why customers did not answer.",
            ["name a column of role status or reason in [tables.invitations.columns]"],
        )
    table = _followed(tables)
    table = table.filter(table["_answered"] == 0)
    last = ibis.least(table["_step"], ANSWERED - 1)
    table = table.mutate(
        stopped=ibis.cases(*[(last == place, step) for place, step in enumerate(STEPS[:ANSWERED])], else_=STEPS[SENT]),
        reason=ibis.coalesce(table.reason, UNKNOWN) if "reason" in columns else ibis.literal(UNKNOWN),
    )
    least = tables.study.about.min_cell
    pairs = ("stopped", "reason")
    whole = rows_of(tables, "invitations", pairs, table=table, weighted=False)
    rare = _rare(counts(moments(tables, whole, {}), pairs), least)
    pooled = [((table.stopped == stopped) & (table.reason == reason), OTHER) for stopped, reason in rare]
    table = table.mutate(reason=ibis.cases(*pooled, else_=table.reason)) if pooled else table
    rows = rows_of(tables, "invitations", (*by, *pairs), table=table, weighted=False)
    found = counts(moments(tables, rows, {}), rows.by)
    part = _counted(found, "customers", "customers_stopped").assign(n=found["n"])
    return shown([part], by=rows.by, level=np.nan, min_cell=least)


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


def sent_invitations(tables: Tables) -> Any:
    """Return the invitations that were sent, as an engine table: all of them where no status says otherwise."""
    table = _with_step(tables)
    return table.filter(table["_step"] >= SENT).drop("_step")


def answered_invitations(tables: Tables) -> Any:
    """Return the invitations sent with ``_answered``, 1 or 0: as an engine table, one row per invitation."""
    table = _followed(tables)
    return table.filter((table["_step"] >= SENT) | (table["_answered"] == 1))


def _with_step(tables: Tables) -> Any:
    """Add to the invitations how far each came, ``_step``: its place among the steps."""
    invitations = required(tables, "invitations")
    if "status" not in invitations.columns:
        return invitations.mutate(_step=ibis.literal(SENT, "int64"))
    declared = tables.study.tables["invitations"].steps if "invitations" in tables.study.tables else {}
    places: dict[str, int] = {step: place for place, step in enumerate(STEPS)}
    places |= {word: STEPS.index(step) for word, step in declared.items()}
    branches = [(invitations.status == word, ibis.literal(place, "int64")) for word, place in places.items()]
    return invitations.mutate(_step=ibis.cases(*branches, else_=ibis.literal(SENT, "int64")))


def _followed(tables: Tables) -> Any:
    """Return all invitations with ``_step`` and ``_answered``; without keys a customer's of one month are one."""
    invitations, answers = _with_step(tables), required(tables, "answers")
    if "key" in invitations.columns and "invitation" in answers.columns:
        named = answers.filter(answers.invitation.notnull()).select(_named=answers.invitation).distinct()
        joined = invitations.left_join(named, invitations.key == named["_named"])
    else:
        kept = {"_step": invitations["_step"].max()}
        kept |= {column: invitations[column].min() for column in ("channel",) if column in invitations.columns}
        if "reason" in invitations.columns:
            kept["reason"] = invitations.reason.argmax(invitations["_step"])
        asked = invitations.group_by(["customer", "month"]).aggregate(**kept)
        named = answers.select(_named=answers.customer, _then=answers.month).distinct()
        joined = asked.left_join(named, (asked.customer == named["_named"]) & (asked.month == named["_then"]))
    return joined.mutate(_answered=joined["_named"].notnull().ifelse(1, 0))


def _steps_taken(
    tables: Tables, by: Sequence[str], everybody: pd.DataFrame | None
) -> tuple[list[pd.DataFrame], list[pd.DataFrame]]:
    """Count customers and invitations by the steps they took at least, those of invitations from sending on.

    Args:
        tables: Loaded tables.
        by: The groups.
        everybody: All customers, counted by the groups; None where they are not counted.
    """
    table = _followed(tables)
    table = table.mutate(_reached=(table["_answered"] == 1).ifelse(ANSWERED, table["_step"]))
    rows = rows_of(tables, "invitations", by, table=table, weighted=False)
    places = [SENT, ANSWERED]
    if "status" in required(tables, "invitations").columns:
        seen = tables.fetch(table.select(place=table["_step"]).distinct())["place"]
        places = sorted({*places, *(int(place) for place in seen)} - {0})
    each = rows.table.group_by([*rows.keys, "stratum", "customer"]).aggregate(
        _reached=rows.table["_reached"].max(),
        weight=rows.table.weight.max(),
        **{f"end_{place}": (rows.table["_reached"] == place).ifelse(1, 0).max() for place in places},
        **{fault: rows.table[fault].any() for fault in rows.faults},
    )
    of = {"n": rows, "customers": replace(rows, table=each)}
    steps = {
        name: {f"at_{place}": (part.table["_reached"] >= place).ifelse(1, 0) for place in places}
        for name, part in of.items()
    }
    steps["customers"] |= {f"end_{place}": each[f"end_{place}"] for place in places}
    found = {name: moments(tables, part, steps[name]) for name, part in of.items()}
    keys = cells_of(found["n"], rows.by)[0]
    sent, taken, ended = (
        np.array([_summed(found[name], rows.by, f"y_{of_step}_{place}", len(keys)) for place in places])
        for name, of_step in (("n", "at"), ("customers", "at"), ("customers", "end"))
    )
    first = places.index(SENT)
    above = _matched(keys, by, everybody)[None] if everybody is not None else taken[:0]
    gone = -np.diff(np.concatenate([above, taken]), axis=0)
    least = tables.study.about.min_cell
    people = _told_apart(gone, least, several=False)[len(above) :]
    invitations = _told_apart(ended[first:-1], least, several=True)
    names = ["invitations" if place == SENT else f"invitations_{STEPS[place]}" for place in places[first:]]
    return (
        [
            _step(keys, taken[i], taken[i], apart, f"customers_{STEPS[places[i]]}", least)
            for i, apart in enumerate(people)
        ],
        [
            _step(keys, sent[first + i], taken[first + i], apart, names[i], least)
            for i, apart in enumerate([*invitations, np.full(len(keys), np.inf)])
        ],
    )


def _summed(found: pd.DataFrame, by: Sequence[str], name: str, cells: int) -> Floats:
    """Return (cells,) sums of a count."""
    held = np.bincount(cells_of(found, by)[1], weights=found[name] / WEIGHT_UNITS, minlength=cells)
    return np.asarray(np.round(held), dtype=np.float64)


def _matched(keys: pd.DataFrame, by: Sequence[str], everybody: pd.DataFrame) -> Floats:
    """Return (cells,) all customers of each cell."""
    matched = keys.merge(everybody, on=list(by), how="left") if by else everybody.iloc[: len(keys)]
    return matched["customers"].to_numpy(dtype=float, na_value=0.0)


def _told_apart(ended: Floats, least: int, *, several: bool) -> Floats:
    """Say by how many customers each step differs from the next that is shown, or is hidden for differing by few.

    Args:
        ended: (s, cells) customers who ended at each step but the last; the first and the last are always shown.
        least: Customers by which steps differ that are shown, unless by none.
        several: Whether a customer may have ended at several steps: then together they are at least the most of one.

    Returns:
        (s, cells) customers; infinite where steps do not differ, and for the first.
    """
    apart = np.full(ended.shape, np.inf)
    for cell, own in enumerate(ended.T):

        def between(start: int, end: int, own: Floats = own) -> float:
            part = own[start:end]
            return float(part.max() if several else part.sum())

        told = [own.size]
        for step in range(own.size - 1, 0, -1):
            few = between(step, told[-1])
            apart[step, cell] = few if few > 0 else np.inf
            if not 0 < few < least:
                told.append(step)
        while len(told) > 1 and 0 < (few := between(0, told[-1])) < least:
            apart[told.pop(), cell] = few
    return apart


def _step(keys: pd.DataFrame, count: Floats, customers: Floats, apart: Floats, step: str, least: int) -> pd.DataFrame:
    """Return the counts of a step; if it differs by few anywhere, with as many customers as it differs by."""
    there = count > 0
    found = _counted(keys.assign(count=count), "count", step)
    told_by = np.where(customers < least, customers, apart) if (apart[there] < least).any() else customers
    return found.drop(columns="count").assign(customers=told_by)[there]


def _rare(found: pd.DataFrame, least: int) -> list[tuple[str, str]]:
    """Name the reasons, by the step stopped at, that few have; with them the next, until they are enough together."""
    rare = []
    for stopped, part in found.sort_values(["customers", "reason"]).groupby("stopped", sort=False):
        together = 0.0
        for reason, customers in zip(part["reason"], part["customers"], strict=True):
            if customers >= least and not 0 < together < least:
                break
            together += customers
            rare.append((str(stopped), str(reason)))
    return rare


def _counted(found: pd.DataFrame, column: str, step: str) -> pd.DataFrame:
    unknown = dict.fromkeys(("se", "low", "high", "n_eff"), np.nan)
    return found.assign(
        value=found[column], n=found[column], metric=step, unit=str(Unit.COUNT), method="count", **unknown
    )
