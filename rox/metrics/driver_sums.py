"""Reduce answers with their ratings to sums by bucket of customers, in one scan whatever their number.

Weights are summed in thousandths, and ratings are whole numbers; so every sum is exact.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, combinations_with_replacement
from typing import Any

import ibis
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rox.core.buckets import bucket_of
from rox.core.errors import DataError
from rox.metrics.answers import scored
from rox.metrics.source import WEIGHT_UNITS, Tables, rank_of, required, scale_of

Floats = NDArray[np.float64]
BUCKETS = 64
MOST = 100
"""Events and topics in the months before an answer count up to this."""
CHANCE, OUTCOME = "chance", "outcome"
"""A column of random numbers, which no driver may fall short of; and the score."""
LEVELS = 11
OWN = ("bucket", CHANCE, "stratum", "weight")
ANY = "*"
"""Stands for any topic, or any kind, of feedback."""


@dataclass(frozen=True, kw_only=True)
class Given:
    """Answers to a score with what may drive it, as an engine table.

    Attributes:
        table: ``value`` (the score), one column per driver (whole numbers, missing where not given), ``chance``,
            ``bucket``, ``weight``, ``stratum``, ``customer`` as a whole number.
        ratings: Names of the drivers that are ratings.
        counts: Names of the drivers that count events or topics of the months before.
        columns: Columns of the drivers whose names are taken already; the others bear the driver's name.
        recorded: What each of ``counts`` counts.
        answers: How many answers there are, with those left out.
        left_out: How many answers are left out, because what came before them is not recorded in full.
    """

    table: Any
    ratings: tuple[str, ...]
    counts: tuple[str, ...]
    columns: Mapping[str, str]
    recorded: Mapping[str, Recorded]
    answers: int
    left_out: int

    def column(self, driver: str) -> Any:
        """Return the column of a driver."""
        return self.table[self.columns.get(driver, driver)]

    @property
    def drivers(self) -> tuple[str, ...]:
        """All drivers."""
        return (*self.ratings, *self.counts)


def given(
    tables: Tables,
    score: str,
    *,
    ratings: Sequence[str],
    events: Sequence[str | Recorded],
    topics: Sequence[str | Recorded],
    months: int,
    weighted: bool,
) -> Given:
    """Put beside each answer its ratings, and the events and topics of the months before its own.

    Answers are left out if the months before them begin before the table of events or feedback does, or before the
    customer's opening, or end after the table does: what is not recorded is not nothing.

    Raises:
        DataError: No such question, rating, event or topic.
    """
    rows = scored(tables, score, (), weighted=weighted)
    faults = sum((rows.table[name].cast("int64").sum() for name in rows.faults), start=ibis.literal(0))
    if found := int(tables.fetch(rows.table.aggregate(faults=ibis.coalesce(faults, 0))).iloc[0]["faults"]):
        raise DataError(
            f"The answers to {score!r} cannot be measured as they are.",
            [f"{found} faults; run `rox check` to see them"],
        )
    table = rows.table
    for name in ratings:
        scale = scale_of(tables.study, name)
        if name not in table.columns:
            raise DataError(f"The answers have no column {name!r}.", [f"they have {', '.join(table.columns)}"])
        given_ = table[name].cast("float64")
        inside = (given_ >= scale.low) & (given_ <= scale.high) & (given_ == given_.floor())
        turned = given_ if scale.higher_is_better else float(scale.low + scale.high) - given_
        table = table.mutate(**{name: inside.fill_null(False).ifelse(turned.floor().cast("int64"), ibis.null("int64"))})
    recent = recorded_rows(tables, events, topics)
    columns = free_names([*table.columns, *OWN], recent)
    before = table
    for source in dict.fromkeys(each.source for each in recent.values()):
        wanted = {columns.get(name, name): each for name, each in recent.items() if each.source == source}
        table = counted(tables, table, wanted, months)
    answers, left = (how_many(tables, each) for each in (before, table)) if recent else (0, 0)
    table = table.mutate(customer=rank_of(table.customer))
    coin = bucket_of(table.customer * 4099 + table.month.cast("int64"), LEVELS)
    keep = ["value", *ratings, *(columns.get(name, name) for name in recent), "weight", "stratum"]
    table = table.select(
        *keep, customer=table.customer, bucket=bucket_of(table.customer, BUCKETS), chance=coin.cast("int64")
    )
    return Given(
        table=table,
        ratings=tuple(ratings),
        counts=tuple(recent),
        columns=columns,
        recorded=recent,
        answers=answers,
        left_out=answers - left,
    )


def free_names(taken: Sequence[str], drivers: Iterable[str]) -> dict[str, str]:
    """Name columns for the drivers whose own names are taken: engines take ``Login`` and ``login`` for one."""
    seen, found = {name.lower() for name in taken}, {}
    for place, name in enumerate(drivers):
        if name.lower() in seen:
            found[name] = f"d_{place}"
        seen.add(name.lower())
    return found


def how_many(tables: Tables, table: Any) -> int:
    """Count the rows of an engine table."""
    return int(tables.fetch(table.aggregate(rows=table.count())).iloc[0]["rows"])


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """Rows of a table that are counted before an answer: those with these values in these columns.

    Attributes:
        name: Of the driver: ``events_KIND``, ``topic_TOPIC``, ``topic_KIND/TOPIC``.
        source: The table.
        values: By column.
    """

    name: str
    source: str
    values: Mapping[str, str]


def recorded_rows(
    tables: Tables, events: Sequence[str | Recorded], topics: Sequence[str | Recorded]
) -> dict[str, Recorded]:
    """Say what is counted; a topic with ``/`` is first read as it stands, then as ``KIND/TOPIC`` at each of them."""
    found = [
        each if isinstance(each, Recorded) else Recorded(name=f"events_{each}", source="events", values={"kind": each})
        for each in events
    ]
    found += [each if isinstance(each, Recorded) else _topic(tables, each) for each in topics]
    return {each.name: each for each in found}


def _topic(tables: Tables, text: str) -> Recorded:
    """Return the first reading of a topic that the feedback has rows of; the last one if none."""
    parts = text.split("/")
    pairs = [("/".join(parts[:i]), "/".join(parts[i:])) for i in range(1, len(parts))]
    readings = [{"topic": text}, *({"kind": kind, "topic": topic} for kind, topic in pairs)]
    readings = [{column: value for column, value in each.items() if value != ANY} for each in readings]
    chosen = readings[-1]
    if len(readings) > 1:
        rows = required(tables, "feedback")
        known = [each for each in readings if set(each) <= set(rows.columns)]
        there = {f"t_{i}": _is(rows, each).ifelse(1, 0).sum() for i, each in enumerate(known)}
        counts: Any = tables.fetch(rows.aggregate(**there)).iloc[0] if known else {}
        chosen = next((each for i, each in enumerate(known) if counts[f"t_{i}"] > 0), chosen)
    return Recorded(name=f"topic_{text}", source="feedback", values=chosen)


def require_once(names: Sequence[str], months: int) -> None:
    """Refuse names given twice, and months that are none.

    Raises:
        DataError: So they are.
    """
    faults = [f"{name!r} is given twice; once is enough" for name in dict.fromkeys(names) if names.count(name) > 1]
    if months < 1:
        faults.append(f"months is {months}; needed: at least 1")
    if faults:
        raise DataError("The drivers cannot be compared.", faults)


def counted(tables: Tables, table: Any, wanted: Mapping[str, Recorded], months: int) -> Any:
    """Add how many rows of a table the customer had in the months before the answer's own, one column per name.

    Answers whose months before are not all between the first and the last month of the table, or begin before the
    customer's opening, are left out.

    Raises:
        DataError: No such column, or no row has such values.
    """
    source = next(iter(wanted.values())).source
    rows = required(tables, source)
    if missing := sorted({column for each in wanted.values() for column in each.values} - set(rows.columns)):
        raise DataError(
            f"The table {source!r} has no column {missing[0]!r}.", [f"name it in [tables.{source}.columns]"]
        )
    is_it = [_is(rows, each.values) for each in wanted.values()]
    asked_for: dict[str, Any] = {f"t_{i}": each.ifelse(1, 0).sum() for i, each in enumerate(is_it)}
    there = tables.fetch(rows.aggregate(**asked_for, first=rows.month.min(), last=rows.month.max())).iloc[0]
    if absent := [each for i, each in enumerate(wanted.values()) if not there[f"t_{i}"] > 0]:
        told = [" and ".join(f"{column} {value!r}" for column, value in each.values.items()) for each in absent]
        raise DataError(f"No row of {source!r} has {'; nor '.join(told)}.", ["write it as the table does"])
    table = _covered(tables, table, (int(there["first"]), int(there["last"])), months)
    times = rows["count"].cast("int64") if "count" in rows.columns else ibis.literal(1, "int64")
    monthly = rows.group_by(who=rows.customer, happened=rows.month.cast("int64")).aggregate(
        **{f"t_{i}": each.ifelse(times, 0).sum() for i, each in enumerate(is_it)}
    )
    own = table.month.cast("int64")
    asked = table.select("customer", month=own, since=own - months).distinct()
    near = asked.left_join(
        monthly,
        [asked.customer == monthly.who, monthly.happened < asked.month, monthly.happened >= asked.since],
    )
    found = near.group_by(owner=near.customer, at=near.month).aggregate(
        **{f"t_{i}": ibis.least(ibis.coalesce(near[f"t_{i}"].sum(), 0), MOST).cast("int64") for i in range(len(is_it))}
    )
    joined = table.left_join(found, (table.customer == found.owner) & (table.month == found.at))
    columns = {name: joined[f"t_{i}"] for i, name in enumerate(wanted)}
    return joined.mutate(**columns).drop("owner", "at", *(f"t_{i}" for i in range(len(is_it))))


def _covered(tables: Tables, table: Any, known: tuple[int, int], months: int) -> Any:
    """Keep the answers before which all months are recorded, and the customer was there."""
    own = table.month.cast("int64")
    table = table.filter(own - months >= known[0], own - 1 <= known[1])
    customers = required(tables, "customers")
    if "opened" not in customers.columns:
        return table
    day = customers.opened
    date = day if day.type().is_integer() else day.cast("date")
    opened = day.cast("int64") if day.type().is_integer() else date.year().cast("int64") * 12 + date.month() - 1
    people = customers.select(opener=customers.customer, came=opened)
    joined = table.left_join(people, table.customer == people.opener)
    is_there = (joined.came <= joined.month.cast("int64") - months).fill_null(True)
    return joined.filter(is_there).drop("opener", "came")


def _is(rows: Any, values: Mapping[str, str]) -> Any:
    every = ibis.literal(True)
    for column, value in values.items():
        every = every & (rows[column] == value)
    return every.fill_null(False)


def histograms(tables: Tables, rows: Given) -> dict[str, pd.Series[Any]]:
    """Return the weight of each value of the score and of each rating: index value, sorted."""
    parts = [
        rows.table.filter(rows.table[name].notnull()).select(
            "weight", question=ibis.literal(name), level=rows.table[name].cast("int64")
        )
        for name in ("value", *rows.ratings)
    ]
    stacked = ibis.union(*parts)
    frame = tables.fetch(stacked.group_by("question", "level").aggregate(weight=stacked.weight.sum()))
    frame = frame.astype({"level": float, "weight": float}).sort_values(["question", "level"])
    return {
        str(name): part.set_index("level")["weight"] / WEIGHT_UNITS
        for name, part in frame.groupby("question", sort=False)
    }


def pair_sums(tables: Tables, rows: Given) -> tuple[list[str], Floats, int]:
    """Fetch what correlations are made of, for all pairs of the drivers, chance and the score.

    Returns:
        The names, drivers first, then chance, then the score; an array (bucket, 6, k, k): for each ordered pair of
        columns both given the weight, the sum of the first, of the second, of their squares, and of their product; and
        how many customers answered.
    """
    names = [*rows.drivers, CHANCE, OUTCOME]
    table, (filled, there) = _filled(rows, names)
    sums: dict[str, Any] = {"people": table.customer.nunique()}
    for i, j in combinations_with_replacement(range(len(names)), 2):
        a, b = filled[i], filled[j]
        # what is missing is filled with 0, so it needs the other one alone to be there
        of_a, of_b = table.w * there[j] * a, table.w * there[i] * b
        values = (table.w * there[i] * there[j], of_a, of_b, of_a * a, of_b * b, table.w * a * b)
        sums |= {f"s_{i}_{j}_{part}": values[part].sum() for part in sorted(set(_parts(i, j)))}
    frame = tables.fetch(table.group_by("bucket").aggregate(**sums)).astype(float)
    held = np.zeros((BUCKETS, 6, len(names), len(names)))
    place = frame["bucket"].to_numpy().astype(int)
    for i, j in combinations_with_replacement(range(len(names)), 2):
        parts = np.stack([frame[f"s_{i}_{j}_{part}"].to_numpy() for part in _parts(i, j)], axis=1)
        held[place, :, i, j] = parts
        held[place, :, j, i] = parts[:, [0, 2, 1, 4, 3, 5]]
    return names, held, int(frame["people"].sum())


def _parts(i: int, j: int) -> tuple[int, ...]:
    """Return where the six sums of a pair stand; a column with itself has three."""
    return (0, 1, 1, 3, 3, 3) if i == j else (0, 1, 2, 3, 4, 5)


def within_products(tables: Tables, rows: Given) -> tuple[int, Floats]:
    """Fetch the cross-products about each customer's own mean, over customers with two complete answers or more.

    Returns:
        How many such customers, and the matrix of the drivers and the score, outcome last; weights are not used.
    """
    names = [*(rows.columns.get(name, name) for name in rows.drivers), "value"]
    table = rows.table
    for name in names[:-1]:
        table = table.filter(table[name].notnull())
    values = [table[name].cast("int64") for name in names]
    pairs = list(combinations_with_replacement(range(len(names)), 2))
    people = table.group_by("customer").aggregate(
        n=table.count(),
        **{f"s_{i}": value.sum() for i, value in enumerate(values)},
        **{f"q_{i}_{j}": (values[i] * values[j]).sum() for i, j in pairs},
    )
    people = people.filter(people.n >= 2)
    about = {
        f"q_{i}_{j}": (people.n * people[f"q_{i}_{j}"] - people[f"s_{i}"] * people[f"s_{j}"]).sum() for i, j in pairs
    }
    frame = tables.fetch(people.group_by("n").aggregate(people=people.count(), **about)).astype(float)
    matrix = np.zeros((len(names), len(names)))
    for i, j in pairs:
        matrix[i, j] = matrix[j, i] = (frame[f"q_{i}_{j}"] / frame["n"]).sum() if len(frame) else 0.0
    return int(frame["people"].sum()) if len(frame) else 0, matrix


def pairwise(sums: Floats) -> tuple[Floats, Floats, Floats]:
    """Return correlations, means and weights from sums (…, 6, k, k): each pair over the rows that have both."""
    w, a, b, aa, bb, ab = np.moveaxis(sums, -3, 0)
    spread = (w * aa - a * a) * (w * bb - b * b)
    matrix = np.where(spread > 0, (w * ab - a * b) / np.sqrt(np.where(spread > 0, spread, 1.0)), np.nan)
    own = np.diagonal(w, axis1=-2, axis2=-1)
    return matrix, np.diagonal(a, axis1=-2, axis2=-1) / own, own


def _filled(rows: Given, names: Sequence[str]) -> tuple[Any, tuple[list[Any], list[Any]]]:
    columns = [rows.table.value if name == OUTCOME else rows.column(name) for name in names]
    table = rows.table.mutate(
        **{f"f_{i}": ibis.coalesce(column.cast("int64"), 0) for i, column in enumerate(columns)},
        w=light(rows.table.weight),
        **{f"t_{i}": column.notnull().ifelse(1, 0).cast("int64") for i, column in enumerate(columns)},
    )
    return table, ([table[f"f_{i}"] for i in range(len(names))], [table[f"t_{i}"] for i in range(len(names))])


def light(weight: Any) -> Any:
    """Return the weight in thousandths, so that sums of products stay whole and small."""
    return (weight + WEIGHT_UNITS // 2000) // (WEIGHT_UNITS // 1000)


def complete_share(sums: Floats, drivers: int) -> float:
    """Return the least share of the answers to the score for which a pair of ratings is given."""
    whole = sums.sum(0)[0]
    pairs = list(combinations(range(drivers), 2)) or [(0, 0)]
    return float(min(whole[i, j] for i, j in pairs) / whole[-1, -1])
