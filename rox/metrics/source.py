"""Rows ready to be reduced: what is measured beside the person's stratum, weight and groups."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import ibis
import pandas as pd

from rox.core.errors import DataError
from rox.core.linked import month_index, month_label
from rox.core.study import Scale, Study

WEIGHT_UNITS = 1_000_000
"""Weights are whole numbers of millionths in the engine, so that sums do not depend on the order of rows."""

TIMES = ("month", "quarter", "year", "wave")
"""Groups by time. A wave is the month in which the invitation behind an answer was sent."""

PLACE = "place"
"""Group of the customers' places, whose role in the study is ``unit``: results have a column of that name already."""

STRATUM = "segment"
"""Column of the customers by which they were sampled."""

HIDDEN = frozenset({"customer", "key", "invitation", "weight"})
"""Columns nobody may group by: a result never names a person."""

MONTHS_OF = {"month": 1, "wave": 1, "quarter": 3, "year": 12}


class Tables(Protocol):
    """What the room needs of loaded tables: the study, engine tables with canonical columns, a way to fetch."""

    @property
    def study(self) -> Study:
        """The study they belong to."""

    @property
    def tables(self) -> Mapping[str, Any]:
        """Engine tables by name; columns are named by role."""

    def fetch(self, expression: Any, /) -> pd.DataFrame:
        """Run an engine table and return a frame."""


@dataclass(frozen=True, kw_only=True)
class Rows:
    """An engine table to be reduced.

    Attributes:
        table: Columns ``customer``, ``stratum``, ``weight`` (whole millionths), ``by_0``, ``by_1``, … and those of
            the table it was made from.
        by: What ``by_0``, ``by_1``, … stand for.
        faults: What is wrong with a row, by the name of the Boolean column that says so; a single such row is an error.
        stratum: The group that is the stratum itself, if one is.
    """

    table: Any
    by: tuple[str, ...]
    faults: Mapping[str, str]
    stratum: str | None = None

    @property
    def keys(self) -> list[str]:
        """Names of the group columns in the engine."""
        return [f"by_{i}" for i in range(len(self.by))]


def rows_of(tables: Tables, name: str, by: Sequence[str], *, table: Any = None, weighted: bool = True) -> Rows:
    """Join a table to its customers' stratum, weight and groups.

    The stratum is the customer's segment, the unit of sampling the customer.

    Args:
        tables: Loaded tables.
        name: Name of the table, for messages.
        by: ``month``, ``quarter``, ``year``, ``wave``, or columns of the table or of the customers.
        table: The engine table, if it is not the one of that name: at least ``customer`` and ``month``.
        weighted: Whether rows count with the design weight of their customer, where the study has one.

    Raises:
        DataError: No such table or column, or a column that would name people; customers listed twice.
    """
    source = required(tables, name) if table is None else table
    customers = required(tables, "customers")
    groups = tuple(by)
    _require_groups(groups, source, customers, name)
    _require_one_row_each(tables, customers)
    if "wave" in groups:
        source = _with_wave(tables, source, name)
    people = customers.select(
        person=customers.customer,
        stratum=customers[STRATUM] if STRATUM in customers.columns else ibis.literal("all"),
        design_weight=_weight(customers, weighted),
        **{
            f"by_{i}": customers["unit" if group == PLACE and PLACE not in customers.columns else group]
            for i, group in enumerate(groups)
            if group not in TIMES and group not in source.columns
        },
    )
    source = source.select(
        *(column for column in source.columns if column not in people.columns),
        **{
            f"by_{i}": _time(source[_month_of(group)], group) if group in TIMES else source[group]
            for i, group in enumerate(groups)
            if group in TIMES or group in source.columns
        },
    )
    joined = source.left_join(people, source.customer == people.person)
    weight, unknown = joined.design_weight, joined.person.isnull()
    broken = ~unknown & (weight.isnull() | weight.isnan() | (weight <= 0)).fill_null(True)
    usable = ~unknown & ~broken
    return Rows(
        table=joined.mutate(
            weight=whole(usable.ifelse(weight, 0.0) * WEIGHT_UNITS), _fault_person=unknown, _fault_weight=broken
        ),
        by=groups,
        faults={
            "_fault_person": f"{name}: rows of customers who are not in the customers table",
            "_fault_weight": "customers.weight: rows whose design weight is missing, zero or negative",
        },
        stratum=STRATUM if STRATUM in groups and STRATUM not in source.columns else None,
    )


def groups_of(splits: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """Return all groups of several groupings; a group that one has twice is kept twice, so that it is complained of."""
    twice = (tuple(split) for split in splits if len(set(split)) < len(split))
    return next(twice, tuple(dict.fromkeys(group for split in splits for group in split)))


def required(tables: Tables, name: str) -> Any:
    """Return an engine table.

    Raises:
        DataError: The study has no such table.
    """
    if name not in tables.tables:
        raise DataError(
            f"This needs the table {name!r}, which the study does not have.",
            [f"its tables are {', '.join(sorted(tables.tables))}; add [tables.{name}] to the study file"],
        )
    return tables.tables[name]


def month_range(tables: Tables, ledger: Any) -> tuple[int, int]:
    """Return the first and the last month of the ledger.

    Raises:
        DataError: It has no rows.
    """
    months = tables.fetch(ledger.aggregate(first=ledger.month.min(), last=ledger.month.max(), rows=ledger.count()))
    if not months["rows"][0]:
        raise DataError("The ledger has no rows.", ["ledger: give it one row per customer and month"])
    return int(months["first"][0]), int(months["last"][0])


def scale_of(study: Study, score: str, kind: str | None = None) -> Scale:
    """Return the scale of a score or driver.

    Raises:
        DataError: There is no such question, or it is of another kind.
    """
    questions = {**study.scores, **study.drivers}
    fitting = [name for name, scale in questions.items() if kind in (None, scale.kind)]
    if score not in questions or score not in fitting:
        found = (
            f"is a question of kind {questions[score].kind}" if score in questions else "is no question of this study"
        )
        wanted = f"of kind {kind}" if kind else "it asks"
        raise DataError(f"{score!r} {found}.", [f"the questions {wanted} are {', '.join(fitting) or 'none'}"])
    return questions[score]


def period(label: str) -> tuple[str, int]:
    """Read ``2025``, ``2025Q3`` or ``2025-07``: the kind of time, and its number as in ``by_i``.

    Raises:
        DataError: The text is none of these.
    """
    match = re.fullmatch(r"(\d{4})(?:Q([1-4])|-(0[1-9]|1[0-2]))?", label)
    if match is None:
        raise DataError(f"{label!r} is no period.", ["write a year 2025, a quarter 2025Q3 or a month 2025-07"])
    year, quarter, month = match.groups()
    kind = "quarter" if quarter else "month" if month else "year"
    first = month_index(int(year), int(month or 3 * int(quarter or 1) - 2))
    return kind, first // MONTHS_OF[kind]


def time_label(number: int, kind: str) -> str:
    """Write the number of a month, quarter or year; labels sort in time."""
    if kind == "quarter":
        return f"{number // 4:04d}Q{number % 4 + 1}"
    return f"{number:04d}" if kind == "year" else month_label(number)


def whole(number: Any) -> Any:
    """Round an engine expression to a whole number, halves up."""
    return (number + ibis.literal(0.5, "float64")).floor().cast("int64")


def rank_of(values: Any) -> Any:
    """Number values by their order, from 0, in 64 bits: Spark ranks in 32, whatever the type of the expression."""
    return ibis.dense_rank().over(ibis.window(order_by=values)).cast("int32").cast("int64")


def count_true(condition: Any) -> Any:
    """Count the rows for which an engine condition holds; a missing one does not."""
    return ibis.coalesce(condition.fill_null(False).ifelse(1, 0).sum(), 0)


def _time(month: Any, kind: str) -> Any:
    return month.cast("int64") if MONTHS_OF[kind] == 1 else (month // MONTHS_OF[kind]).cast("int64")


def _month_of(kind: str) -> str:
    return "wave" if kind == "wave" else "month"


def _weight(customers: Any, weighted: bool) -> Any:
    if weighted and "weight" in customers.columns:
        return customers.weight.cast("float64")
    return ibis.literal(1, "float64")


def _require_groups(groups: tuple[str, ...], source: Any, customers: Any, name: str) -> None:
    known = [
        column
        for column in (*source.columns, *customers.columns)
        if column not in HIDDEN | {"month", "date"} and not column.startswith("_")
    ]
    known += [PLACE] if "unit" in customers.columns else []
    faults = [f"{group!r} appears twice" for group in sorted(set(groups)) if groups.count(group) > 1]
    for group in groups:
        if group in HIDDEN:
            faults.append(f"{group!r} would name people; results are for groups only")
        elif group not in TIMES and group not in known:
            faults.append(f"{group!r} is a column neither of {name} nor of customers")
    if faults:
        choices = ", ".join(dict.fromkeys([*TIMES, *known]))
        raise DataError(f"Cannot group {name} by {', '.join(groups)}.", [*faults, f"choose from {choices}"])


def _require_one_row_each(tables: Tables, customers: Any) -> None:
    counts = tables.fetch(customers.aggregate(rows=customers.count(), people=customers.customer.nunique())).iloc[0]
    if counts["rows"] != counts["people"]:
        raise DataError(
            "The customers table must have one row per customer.",
            [f"customers: {int(counts['rows'])} rows of {int(counts['people'])} customers; keep one row of each"],
        )


def _with_wave(tables: Tables, source: Any, name: str) -> Any:
    """Add the month in which the invitation was sent; an answer without a known invitation keeps its own month."""
    if "invitation" not in source.columns:
        return source.mutate(wave=source.month)
    invitations = required(tables, "invitations")
    if "key" not in invitations.columns:
        raise DataError(
            f"Cannot group {name} by wave.", ["invitations.key: missing; name its column in the study file"]
        )
    sent = invitations.group_by(invited=invitations.key).aggregate(sent=invitations.month.min())
    joined = source.left_join(sent, source.invitation == sent.invited)
    return joined.mutate(wave=ibis.coalesce(joined.sent, joined.month)).drop("invited", "sent")
