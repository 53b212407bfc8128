"""A panel's rows in files by customer, as :func:`rox.linking.within_write.write_layout` leaves them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rox.core.errors import DataError
from rox.linking.within_rows import CODE, MONTH, SEGMENT, Coding, Panel, Roles, record_batches
from rox.numerics.within import Axes, Shard

NAME = "layout.json"


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Where the files of a layout are and what is in them.

    Attributes:
        folder: The folder.
        rows: Rows of the source.
        customers: By bucket, the number of customers.
        lengths: By bucket, the number of rows.
        first_month: Number of the first month.
        months: Number of months, gaps included.
        segments: The labels of the segments, empty without.
        columns: Columns beside customer, month and segment.
        roles: What the source called customer, month and segment.
    """

    folder: Path
    rows: int
    customers: tuple[int, ...]
    lengths: tuple[int, ...]
    first_month: int
    months: int
    segments: tuple[Any, ...]
    columns: tuple[str, ...]
    roles: tuple[str, str, str | None]


def read_layout(folder: str | Path) -> Layout:
    """Open a layout that was written before.

    Raises:
        DataError: There is none.
    """
    found = find_layout(folder)
    if found is None:
        raise DataError("There is no layout.", [f"{folder}: write_layout makes one, or finishes one"])
    return found


def find_layout(source: str | Path | Sequence[str | Path]) -> Layout | None:
    """Open the layout in a folder, if there is one."""
    if not isinstance(source, str | Path) or not (Path(source) / NAME).exists():
        return None
    said = json.loads((Path(source) / NAME).read_text(encoding="utf-8"))
    return Layout(
        folder=Path(source),
        rows=said["rows"],
        customers=tuple(said["customers"]),
        lengths=tuple(said["lengths"]),
        first_month=said["first_month"],
        months=said["months"],
        segments=tuple(said["segments"]),
        columns=tuple(said["request"]["columns"]),
        roles=tuple(said["request"]["roles"]),
    )


def from_layout(layout: Layout, roles: Roles, budget: int, workers: int) -> Panel:
    """Read a layout bucket by bucket; rows stay in memory between two passes where the budget (bytes) allows.

    Raises:
        DataError: Columns or roles that the layout does not have.
    """
    faults = [
        f"column {name!r} is not in the layout, which has {', '.join(layout.columns)}"
        for name in (*roles.values, *([roles.weight] if roles.weight else []))
        if name not in layout.columns
    ]
    asked = (roles.customer, roles.month, roles.segment)
    faults += [
        f"{part} is {own!r} in the layout, not {other!r}; write another layout"
        for part, own, other in zip(("customer", "month", "segment"), layout.roles, asked, strict=True)
        if own != other
    ]
    if faults:
        raise DataError("This layout cannot be regressed so.", faults)
    coded = Roles(
        outcome=roles.outcome,
        regressors=roles.regressors,
        customer=CODE,
        month=MONTH,
        segment=None if roles.segment is None else SEGMENT,
        weight=roles.weight,
    )
    axes = Axes(periods=layout.months, segments=len(layout.segments) or 1, table=roles.weight is not None)
    coding = Coding(roles=coded, first_customer=0, first_month=layout.first_month, months=layout.months)
    largest = max(layout.lengths) * 8 * (len(coded.columns) + 1)
    hold = largest * workers <= budget

    def shard(bucket: int) -> Shard:
        path = layout.folder / file_name(bucket)
        return Shard(
            customers=layout.customers[bucket],
            batches=lambda: coding.batches(record_batches([path], coded.columns)),
            hold=hold,
        )

    filled = [bucket for bucket, count in enumerate(layout.customers) if count]
    return Panel(shards=tuple(shard(bucket) for bucket in filled), axes=axes, rows=layout.rows, apart=True)


def file_name(bucket: int) -> str:
    """Name the file of a bucket."""
    return f"bucket-{bucket:04d}.parquet"
