"""Import one export: understand it, check it, and write a clean table with the lines the study file needs."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from rox.core.errors import DataError
from rox.core.files import write_text, written_whole
from rox.core.words import Language
from rox.linking.columns import Column, minor_units
from rox.linking.engine import Engine, connect
from rox.linking.imports import delighted, generic, qualtrics, surveymonkey, wenjuanxing
from rox.linking.imports.export import Export, open_export, text_of
from rox.linking.imports.fragment import fragment
from rox.linking.imports.layout import Format, Layout
from rox.linking.imports.maps import ImportMap, known_zone, read_map
from rox.linking.imports.plan import Plan, Subject, plan_of
from rox.linking.imports.typed import MOMENT, SECRET, Typed, typed
from rox.linking.pseudonyms import id_key, key_name, pseudonym
from rox.linking.sources import ROW

ADAPTERS = {
    "qualtrics": qualtrics.layout,
    "surveymonkey": surveymonkey.layout,
    "delighted": delighted.layout,
    "wenjuanxing": wenjuanxing.layout,
}
ROWS_AT_ONCE = 250_000
FILES = {"behaviour": "events-behaviour", "operations": "events-operations"}


@dataclass(frozen=True, kw_only=True)
class Imported:
    """What an import found and did.

    Attributes:
        plan: What becomes of each column.
        typed: What was found in the rows; None if the plan has faults.
        fragment: TOML for the study file.
        faults: Everything that has to be mended.
        files: What was written; empty after a dry run.
        key: Name of the key of the pseudonyms; empty if ids were kept or nothing was written.
        keep_ids: Whether ids were kept.
    """

    plan: Plan
    typed: Typed | None
    fragment: str
    faults: tuple[str, ...]
    files: tuple[Path, ...]
    key: str
    keep_ids: bool


def import_export(
    place: str,
    subject: Subject,
    *,
    into: Path,
    format: Format | str = "auto",
    map_file: Path | None = None,
    name: str | None = None,
    timezone: str | None = None,
    keep_ids: bool = False,
    dry_run: bool = False,
    language: Language = "en",
    environment: Mapping[str, str] | None = None,
) -> Imported:
    """Import an export of a survey tool or another system.

    Args:
        place: A CSV, Parquet or Excel file; a sheet as ``crm.xlsx#Ledger``.
        subject: What it is about, which tells the study's table.
        into: Folder of the table and of the lines for the study file.
        format: Whose export it is; ``auto`` tells by its structure.
        map_file: What the company says of the columns.
        name: Ending of the file's name, for several exports of one table.
        timezone: The study's, when the export's times are in another one.
        keep_ids: Ids are pseudonyms already.
        dry_run: Look only. What has to be mended is then returned, not raised.
        language: Of the remarks in the lines for the study file.
        environment: Where the key of the pseudonyms stands; the process's by default.

    Raises:
        DataError: Everything that has to be mended, in one message, without a value of the export.
    """
    wanted = read_map(map_file) if map_file is not None else ImportMap()
    keep_ids = keep_ids or wanted.ids == "keep"
    if timezone is not None:
        try:
            known_zone(timezone)
        except ValueError as cause:
            raise DataError(f"{timezone!r} is {cause}.") from None
    key = b"" if keep_ids or dry_run else id_key(environment)
    engine = connect(timezone=timezone or wanted.timezone or "UTC")
    export = open_export(engine, place)
    layout = layout_of(export, format, wanted)
    raw = text_of(engine, export, layout)
    plan = plan_of(engine, raw, layout, wanted, subject)
    found = None
    faults = list(plan.faults)
    if not faults:
        minor = minor_units(plan.currency) if plan.currency else 1
        found = typed(engine, raw, plan, minor=minor, timezone=timezone, keep_ids=keep_ids)
        faults += found.faults
    stem = "-".join(part for part in (FILES.get(subject, plan.table), name) if part)
    pattern = f"{plan.table}-*.parquet" if stem != plan.table else f"{stem}.parquet"
    lines = fragment(
        plan, found, path=pattern, file=export.path.name, keep_ids=keep_ids, key=key_name(key) if key else "",
        language=language,
    )  # fmt: skip
    if faults and not dry_run:
        raise DataError(f"{export.path.name} cannot be imported.", faults)
    files: tuple[Path, ...] = ()
    if not dry_run and found is not None:
        table = into / f"{stem}.parquet"
        _write(engine, found, plan, table, key=key, timezone=timezone)
        files = (table, write_text(into / f"{stem}.toml", lines))
    return Imported(
        plan=plan,
        typed=found,
        fragment=lines,
        faults=tuple(faults),
        files=files,
        key=key_name(key) if key else "",
        keep_ids=keep_ids,
    )


def layout_of(export: Export, format: str, wanted: ImportMap) -> Layout:
    """Tell whose export it is by its structure, or see that it is what is said.

    Raises:
        DataError: It is not what is said.
    """
    if format not in ("auto", *get_args(Format)):
        raise DataError(f"There is no format {format!r}.", [f"there are auto, {', '.join(get_args(Format))}"])
    if format == "auto" and wanted.header_rows is None:
        found = next((layout for read in ADAPTERS.values() if (layout := read(export.head)) is not None), None)
        layout = found or generic.layout(export.head)
    elif format in ("auto", "generic"):
        layout = generic.layout(export.head)
    else:
        described = ADAPTERS[format](export.head)
        if described is None:
            raise DataError(
                f"{export.path.name} is not built like an export of {format}.",
                ["use --format auto to see what it is built like, or --format generic with a map"],
            )
        layout = described
    changes: dict[str, Any] = {}
    if wanted.timezone is not None:
        changes["timezone"] = wanted.timezone
    if wanted.header_rows is not None:
        changes["header_rows"] = wanted.header_rows
    if export.kind in (".parquet", ".pq"):
        changes["header_rows"] = 0
    return Layout(**{**vars(layout), **changes})


def _write(engine: Engine, found: Typed, plan: Plan, path: Path, *, key: bytes, timezone: str | None) -> None:
    """Write the rows as Parquet, whole or not at all."""
    minor = minor_units(plan.currency) if plan.currency else 1
    schema = pa.schema([(column.name, _arrow_type(column, found)) for column in found.columns])
    known: dict[tuple[str, str], str] = {}
    with written_whole(path) as draft, pq.ParquetWriter(draft, schema) as writer:
        for rows in _chunks(engine, found):
            arrays = []
            for column, field in zip(found.columns, schema, strict=True):
                values = _values(rows, column, field.type, found, plan, minor=minor, timezone=timezone)
                if key and column.name in SECRET:
                    values = [_hidden(key, text, SECRET[column.name], known) for text in values]
                arrays.append(pa.array(values, field.type, from_pandas=True))
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema))


def _hidden(key: bytes, text: str | None, domain: str, known: dict[tuple[str, str], str]) -> str | None:
    if text is None:
        return None
    if (domain, text) not in known:
        known[domain, text] = pseudonym(key, text, domain=domain)
    return known[domain, text]


def _chunks(engine: Engine, found: Typed) -> Iterator[pd.DataFrame]:
    table = found.table
    ends = engine.fetch(table.aggregate(first=table[ROW].min(), last=table[ROW].max())).iloc[0]
    for start in range(int(ends["first"]), int(ends["last"]) + 1, ROWS_AT_ONCE):
        rows = engine.fetch(table.filter((table[ROW] >= start) & (table[ROW] < start + ROWS_AT_ONCE)).order_by(ROW))
        if len(rows):
            yield rows


def _arrow_type(column: Column, found: Typed) -> pa.DataType:
    if column.kind == "date":
        return pa.date32()
    if column.kind in ("score", "count", "flag"):
        return pa.int64()
    if column.kind in ("money", "number"):
        return pa.float64()
    if column.kind == "control" and found.is_number(column):
        return pa.float64()
    return pa.string()


def _values(
    rows: pd.DataFrame,
    column: Column,
    kind: pa.DataType,
    found: Typed,
    plan: Plan,
    *,
    minor: int,
    timezone: str | None,
) -> list[Any]:
    values = rows[column.name]
    if column.kind == "control" and pa.types.is_floating(kind):
        values = rows[column.number]
    if column.name in found.moments:
        days = _days(rows[f"{MOMENT}_{column.name}"], plan.layout.timezone, timezone)
        values = days.where(days.notna(), values)
    if column.kind == "date":
        return [None if pd.isna(day) else day.date() for day in values]
    if column.kind == "month":
        return [None if pd.isna(month) else f"{int(month) // 12:04d}-{int(month) % 12 + 1:02d}" for month in values]
    if column.kind == "money":
        values = values.astype("float64") / minor
    if pa.types.is_integer(kind):
        return [None if pd.isna(value) else int(value) for value in values]
    return [None if pd.isna(value) else value for value in values]


def _days(moments: pd.Series[Any], zone: str | None, timezone: str | None) -> pd.Series[Any]:
    """Return the days of instants in a time zone; an hour that a clock showed twice is taken as the first."""
    target = ZoneInfo(timezone or zone or "UTC")
    if pd.api.types.is_numeric_dtype(moments):
        there = pd.to_datetime(moments, unit="s", utc=True)
    else:
        twice = np.ones(len(moments), dtype=bool)
        there = moments.dt.tz_localize(ZoneInfo(zone or "UTC"), ambiguous=twice, nonexistent=dt.timedelta(hours=1))
    return there.dt.tz_convert(target).dt.tz_localize(None).dt.normalize()
