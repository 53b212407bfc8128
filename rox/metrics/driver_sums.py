"""Reduce answers with their ratings to sums by bucket of customers, in one scan whatever their number.

Weights are summed in thousandths, and ratings are whole numbers; so every sum is exact.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, combinations_with_replacement
from typing import Any

import ibis
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import ndtri

from rox.core.buckets import bucket_of
from rox.core.errors import DataError
from rox.metrics.answers import scored
from rox.metrics.source import WEIGHT_UNITS, Tables, rank_of, required, scale_of

Floats = NDArray[np.float64]
BUCKETS = 64
FINE = 1_000_000
"""Whole numbers per unit of a normal score."""
MOST = 100
"""Events and topics in the months before an answer count up to this."""
CHANCE, OUTCOME = "chance", "outcome"
"""A column of random numbers, which no driver may fall short of; and the score."""
LEVELS = 11
ANY = "*"
"""Stands for any topic, or any kind, of feedback."""


@dataclass(frozen=True, kw_only=True)
class Given:
    """Answers to a score with what may drive it, as an engine table.

    Attributes:
        table: ``value`` (the score), one column per driver (whole numbers, missing where not given), ``chance``,
            ``bucket``, ``weight``, ``customer`` as a whole number.
        ratings: Names of the drivers that are ratings.
        counts: Names of the drivers that count events or topics of the months before.
    """

    table: Any
    ratings: tuple[str, ...]
    counts: tuple[str, ...]

    @property
    def drivers(self) -> tuple[str, ...]:
        """All drivers."""
        return (*self.ratings, *self.counts)


def given(
    tables: Tables,
    score: str,
    *,
    ratings: Sequence[str],
    events: Sequence[str],
    topics: Sequence[str],
    months: int,
    weighted: bool,
) -> Given:
    """Put beside each answer its ratings, and the events and topics of the months before its own.

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
    recent = recorded_rows(events, topics)
    for source in dict.fromkeys(each.source for each in recent.values()):
        table = counted(tables, table, {name: each for name, each in recent.items() if each.source == source}, months)
    table = table.mutate(customer=rank_of(table.customer))
    coin = bucket_of(table.customer * 4099 + table.month.cast("int64"), LEVELS)
    keep = ["value", *ratings, *recent, "weight"]
    table = table.select(
        *keep, customer=table.customer, bucket=bucket_of(table.customer, BUCKETS), chance=coin.cast("int64")
    )
    return Given(table=table, ratings=tuple(ratings), counts=tuple(recent))


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """Rows of a table that are counted before an answer: those with these values in these columns."""

    source: str
    values: Mapping[str, str]


def recorded_rows(events: Sequence[str], topics: Sequence[str]) -> dict[str, Recorded]:
    """Name what is counted: ``events_KIND``, ``topic_TOPIC``, ``topic_KIND/TOPIC``."""
    found = {f"events_{name}": Recorded(source="events", values={"kind": name}) for name in events}
    for name in topics:
        kind, slash, topic = name.rpartition("/")
        values = {"kind": kind, "topic": topic} if slash else {"topic": topic}
        kept = {column: value for column, value in values.items() if value != ANY}
        found[f"topic_{name}"] = Recorded(source="feedback", values=kept)
    return found


def counted(tables: Tables, table: Any, wanted: Mapping[str, Recorded], months: int) -> Any:
    """Add how many rows of a table the customer had in the months before the answer's own, one column per name.

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
    there = tables.fetch(rows.aggregate(**{f"t_{i}": each.ifelse(1, 0).sum() for i, each in enumerate(is_it)})).iloc[0]
    if absent := [each for i, each in enumerate(wanted.values()) if not there[f"t_{i}"] > 0]:
        told = [" and ".join(f"{column} {value!r}" for column, value in each.values.items()) for each in absent]
        raise DataError(f"No row of {source!r} has {'; nor '.join(told)}.", ["write it as the table does"])
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


def limits(histogram: pd.Series[Any]) -> tuple[float, float]:
    """Return the ratings up to which a quarter is low, and from which a quarter is high; never the same one."""
    share = histogram.cumsum() / histogram.sum()
    low = float(share.index[int(np.searchsorted(share.to_numpy(), 0.25))])
    high = float(share.index[int(np.searchsorted(share.to_numpy(), 0.75))])
    if high > low:
        return low, high
    above = histogram.index[histogram.index > low]
    below = histogram.index[histogram.index < high]
    if len(above):
        return low, float(above[0])
    return (float(below[-1]), high) if len(below) else (low, low)


def normal_scores(histogram: pd.Series[Any]) -> dict[float, float]:
    """Return the normal quantile of the middle of each value's place, which undoes a ceiling of the scale."""
    share = histogram / histogram.sum()
    middle = share.cumsum() - share / 2
    levels = middle.index.to_numpy(dtype=float)
    return {float(level): float(ndtri(each)) for level, each in zip(levels, middle.to_numpy(), strict=True)}


def pair_sums(tables: Tables, rows: Given) -> tuple[list[str], Floats]:
    """Fetch what correlations are made of, for all pairs of the drivers, chance and the score.

    Returns:
        The names, drivers first, then chance, then the score; and an array (bucket, 6, k, k): for each ordered pair of
        columns both given the weight, the sum of the first, of the second, of their squares, and of their product.
    """
    names = [*rows.drivers, CHANCE, OUTCOME]
    table, (filled, there) = _filled(rows, names)
    weight = _light(table.weight)
    sums: dict[str, Any] = {}
    for i, j in combinations_with_replacement(range(len(names)), 2):
        w = weight * there[i] * there[j]
        a, b = filled[i], filled[j]
        for part, value in enumerate((w, w * a, w * b, w * a * a, w * b * b, w * a * b)):
            sums[f"s_{i}_{j}_{part}"] = value.sum()
    frame = tables.fetch(table.group_by("bucket").aggregate(**sums)).astype(float)
    held = np.zeros((BUCKETS, 6, len(names), len(names)))
    place = frame["bucket"].to_numpy().astype(int)
    for i, j in combinations_with_replacement(range(len(names)), 2):
        parts = np.stack([frame[f"s_{i}_{j}_{part}"].to_numpy() for part in range(6)], axis=1)
        held[place, :, i, j] = parts
        held[place, :, j, i] = parts[:, [0, 2, 1, 4, 3, 5]]
    return names, held


def contrast_sums(
    tables: Tables, rows: Given, cuts: Mapping[str, tuple[float, float]], scores: Mapping[float, float]
) -> tuple[int, Floats]:
    """Fetch the cross-products of indicators of low, high and missing ratings with the score and its normal score.

    Returns:
        Number of drivers p, and an array (bucket, 3p + 3, 3p + 3): constant, low, high, missing of each driver, the
        score, the normal score.
    """
    columns: dict[str, Any] = {"one": ibis.literal(1, "int64")}
    table = rows.table
    for kind in ("low", "high", "none"):
        for name in rows.ratings:
            rating, (low, high) = table[name], cuts[name]
            is_it = {"low": rating <= low, "high": rating >= high, "none": rating.isnull()}[kind]
            columns[f"{kind}_{name}"] = is_it.fill_null(False).ifelse(1, 0).cast("int64")
    branches = [(table.value == int(level), round(FINE * score)) for level, score in scores.items()]
    columns |= {"y": table.value.cast("int64"), "z": ibis.cases(*branches, else_=0).cast("int64")}
    table = table.mutate(**columns)
    order = list(columns)
    weight = _light(table.weight).cast("decimal(19,0)")
    sums = {
        f"c_{i}_{j}": (weight * (table[order[i]] * table[order[j]]).cast("decimal(19,0)")).sum()
        for i, j in combinations_with_replacement(range(len(order)), 2)
    }
    frame = tables.fetch(table.group_by("bucket").aggregate(**sums)).astype(float)
    held = np.zeros((BUCKETS, len(order), len(order)))
    place = frame["bucket"].to_numpy().astype(int)
    for i, j in combinations_with_replacement(range(len(order)), 2):
        held[place, i, j] = held[place, j, i] = frame[f"c_{i}_{j}"].to_numpy()
    scale = np.r_[np.ones(len(order) - 1), 1 / FINE]
    return len(rows.ratings), held * scale[:, None] * scale[None, :]


def within_products(tables: Tables, rows: Given) -> tuple[int, Floats]:
    """Fetch the cross-products about each customer's own mean, over customers with two complete answers or more.

    Returns:
        How many such customers, and the matrix of the drivers and the score, outcome last; weights are not used.
    """
    names = [*rows.drivers, "value"]
    table = rows.table
    for name in rows.drivers:
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
    columns = ["value" if name == OUTCOME else name for name in names]
    table = rows.table.mutate(
        **{f"f_{i}": ibis.coalesce(rows.table[c].cast("int64"), 0) for i, c in enumerate(columns)},
        **{f"t_{i}": rows.table[c].notnull().ifelse(1, 0).cast("int64") for i, c in enumerate(columns)},
    )
    return table, ([table[f"f_{i}"] for i in range(len(names))], [table[f"t_{i}"] for i in range(len(names))])


def _light(weight: Any) -> Any:
    """Return the weight in thousandths, so that sums of products stay whole and small."""
    return (weight + WEIGHT_UNITS // 2000) // (WEIGHT_UNITS // 1000)


def complete_share(sums: Floats, drivers: int) -> float:
    """Return the least share of the answers to the score for which a pair of ratings is given."""
    whole = sums.sum(0)[0]
    pairs = list(combinations(range(drivers), 2)) or [(0, 0)]
    return float(min(whole[i, j] for i, j in pairs) / whole[-1, -1])
