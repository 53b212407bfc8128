"""Sums of a measure by cell and bucket of customers: what changes are split, charted and searched with.

A measure is a ratio R = Σ w·v / Σ w over answers, or over customer-months for leaving. Its sums by bucket of customers
give the error of any statistic of them by leaving out one bucket at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rox.core.buckets import bucket_of
from rox.core.errors import DataError
from rox.core.units import Unit
from rox.metrics.answers import Measure, measures, require_direction, scored
from rox.metrics.cells import moments
from rox.metrics.exits import at_risk
from rox.metrics.source import TIMES, Rows, Tables, period, rank_of, rows_of, scale_of, time_label

Floats = NDArray[np.float64]
BUCKETS = 64
CHURN = "churn"
"""Asks for the share of customers who leave in a month, in place of a question of the survey."""
UNKNOWN = "unknown"
"""Stands for a group that is not given."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A measure with the rows it is read from.

    Attributes:
        score: The question, or ``churn``.
        metric: What is read off it.
        unit: Of the metric.
        rows: The rows, grouped as asked, with the whole number v in ``_measured``.
        is_survey: Whether rows are answers, rather than all customers by month.
        factor: What turns R into the unit: 100 for NPS points, else 1.
    """

    score: str
    metric: str
    unit: Unit
    rows: Rows
    is_survey: bool
    factor: float


def asked(tables: Tables, score: str, by: Sequence[str], *, metric: str | None = None, weighted: bool = True) -> Asked:
    """Get ready to read a measure.

    Args:
        tables: Loaded tables.
        score: A score or driver of the study, or ``churn``.
        by: Times, or columns of the rows or of the customers.
        metric: ``nps``, ``mean``, ``top_two`` or ``easy``; by default the first of what the question's kind asks for.
            Of ``churn`` it is ``hazard_all``, the share leaving per month.
        weighted: Whether rows count with the design weight of their customer.

    Raises:
        DataError: No such question, metric or group, or a scale that runs against the NPS (ROX-M03).
    """
    is_survey = score != CHURN or score in {**tables.study.scores, **tables.study.drivers}
    if not is_survey:
        rows = rows_of(tables, "ledger", by, table=at_risk(tables), weighted=weighted)
        found: tuple[Measure, ...] = (Measure(metric="hazard_all", unit=Unit.RATIO, value=rows.table["_left_all"]),)
    else:
        require_direction(tables, score)
        rows = scored(tables, score, by, weighted=weighted)
        found = measures(scale_of(tables.study, score), rows.table.value)
    known = {measure.metric: measure for measure in found}
    if metric is not None and metric not in known:
        raise DataError(f"{score!r} has no metric {metric!r}.", [f"it has {', '.join(known)}"])
    measure = known[metric] if metric is not None else found[0]
    return Asked(
        score=score,
        metric=measure.metric,
        unit=measure.unit,
        rows=replace(rows, table=rows.table.mutate(_measured=measure.value.cast("int64"))),
        is_survey=is_survey,
        factor=100.0 if measure.unit is Unit.NPS_POINT else 1.0,
    )


def within(what: Asked, time: str, times: Sequence[int]) -> Asked:
    """Keep the rows of some times; ``time`` is one of the groups."""
    key = what.rows.keys[what.rows.by.index(time)]
    table = what.rows.table
    return replace(what, rows=replace(what.rows, table=table.filter(table[key].isin([int(each) for each in times]))))


def by_bucket(tables: Tables, what: Asked, *, buckets: int = BUCKETS) -> pd.DataFrame:
    """Fetch the sums of a measure by cell and bucket of customers.

    Returns:
        One row per cell and bucket: the groups (missing ones ``unknown``), ``bucket``, ``n`` (rows), ``m`` (customers),
        ``x`` (Σw), ``ww`` (Σw²), ``y`` (Σwv in the unit of the metric).

    Raises:
        DataError: Any row is at fault.
    """
    rows = what.rows
    table = rows.table.mutate(stratum=bucket_of(number_of(rows.table.customer), buckets))
    frame = moments(tables, replace(rows, table=table), {"v": table["_measured"]})
    keep = frame[[*rows.by, "stratum", "n", "m", "x", "ww", "y_v"]].rename(columns={"stratum": "bucket", "y_v": "y"})
    named = {group: keep[group].astype(object).where(keep[group].notna(), UNKNOWN).astype(str) for group in rows.by}
    labels = {group: label for group, label in named.items() if group not in TIMES}
    return keep.assign(**labels, y=what.factor * keep["y"], bucket=keep["bucket"].astype(int))


def number_of(customer: Any) -> Any:
    """Return whole numbers that stand for customers: themselves, or their rank where they are text."""
    if customer.type().is_integer():
        return customer
    return rank_of(customer)


def periods(first: str, second: str) -> tuple[str, int, int]:
    """Return the kind of two periods and their numbers.

    Raises:
        DataError: They cannot be read, differ in kind or stand in the wrong order.
    """
    (kind, earlier), (other, later) = period(first), period(second)
    faults = []
    if kind != other:
        faults.append(f"{first!r} is a {kind} and {second!r} a {other}; give two periods of the same kind")
    elif earlier >= later:
        faults.append(f"{second!r} does not come after {first!r}")
    if faults:
        raise DataError(f"Cannot compare {first} with {second}.", faults)
    return kind, earlier, later


def require_both(tables: Tables, frame: pd.DataFrame, what: Asked, time: str, labels: Sequence[str]) -> None:
    """Complain about periods that hold nothing.

    Raises:
        DataError: One of two periods has no rows.
    """
    there = {time_label(int(each), time) for each in frame[time].unique()}
    if empty := [label for label in labels if label not in there]:
        raise DataError(
            f"There is nothing of {what.score!r} in {' and '.join(empty)}.",
            [f"give two periods that the study has; of these it has {', '.join(sorted(there)) or 'neither'}"],
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Table:
    """Sums of two periods as arrays (bucket, 2, level, …), the earlier period first; one axis per dimension.

    Attributes:
        buckets: Numbers of the buckets.
        levels: Of each dimension, in order.
        n: Rows.
        m: Customers.
        x: Weight.
        ww: Squared weight.
        y: Weighted values.
    """

    buckets: NDArray[np.int64]
    levels: tuple[tuple[str, ...], ...]
    n: Floats
    m: Floats
    x: Floats
    ww: Floats
    y: Floats

    @property
    def effective(self) -> Floats:
        """(2, level, …) effective rows."""
        return kish(self.x.sum(0), self.ww.sum(0))


def kish(x: Floats, ww: Floats) -> Floats:
    """Return (Σw)²/Σw², zero where there is nothing."""
    return np.asarray(np.divide(x**2, ww, out=np.zeros_like(x), where=ww > 0))


MOST_CELLS = 20_000


def as_table(frame: pd.DataFrame, by: Sequence[str], time: str, earlier: int, *, buckets: int = BUCKETS) -> Table:
    """Spread the sums of two periods over arrays; buckets in which nobody is are left out.

    Raises:
        DataError: More joint cells than can be held.
    """
    places, levels = zip(*(pd.factorize(frame[group], sort=True) for group in by), strict=True)
    shape = (buckets, 2, *(len(each) for each in levels))
    if (cells := int(np.prod(shape[2:]))) > MOST_CELLS:
        raise DataError(
            f"{', '.join(by)} make {cells:,} joint groups.", [f"at most {MOST_CELLS:,}; leave out the finest"]
        )
    at = (frame["bucket"].to_numpy(), (frame[time] != earlier).to_numpy().astype(int), *places)
    arrays = {}
    for name in ("n", "m", "x", "ww", "y"):
        held = np.zeros(shape)
        np.add.at(held, at, frame[name].to_numpy(dtype=float))
        arrays[name] = held
    used = arrays["n"].reshape(buckets, -1).any(1)
    if used.sum() < 2:
        raise DataError("A change of one customer has no error.", ["the two periods need two customers or more"])
    return Table(
        buckets=np.flatnonzero(used),
        levels=tuple(tuple(str(level) for level in each) for each in levels),
        **{name: held[used] for name, held in arrays.items()},
    )
