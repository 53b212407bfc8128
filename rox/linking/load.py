"""Open the tables of a study, type their columns, and check the contract."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import ibis
import ibis.expr.types as ir
import pandas as pd

from rox.core.case import EVERYONE
from rox.core.declared import validated
from rox.core.errors import DataError
from rox.core.study import EngineOptions, Study
from rox.linking.clock import clock_of
from rox.linking.columns import Column, columns_of, minor_units, prepared, read, serial_remarks, with_serials
from rox.linking.contract import Staged, check_contract, mixed_controls
from rox.linking.engine import Engine, connect
from rox.linking.expressions import month_of, real
from rox.linking.incoming import frame_as_file, query_as_file
from rox.linking.people import first_rows
from rox.linking.remarks import remarks_of, stops_of
from rox.linking.sources import FILE, ROW, Source, source_of_files, source_of_query, without_place
from rox.linking.tables import PANEL_COLUMNS, UNKNOWN, Tables


def load(study: Study, *, memory_limit: str | None = None, frames: Mapping[str, pd.DataFrame] | None = None) -> Tables:
    """Open a study's tables and check them.

    CSV is read as text first, in UTF-8 or GB18030, so ids keep their leading zeros; then every declared column is
    typed. Each table is read once; what is checked is what is used, even if the files change later.

    Args:
        study: What :func:`rox.read_study` returned.
        memory_limit: Of the engine, instead of the study's; above it, work goes through a temporary folder.
        frames: Frames by the name of the table they stand for, instead of its file or query. Their columns are called
            and checked as in a file, rows are numbered from 1, NaN is a missing value.

    Raises:
        DataError: Every fault of every table in one message: table, column, what, how many rows, the first rows. It
            quotes no value of the tables.
    """
    engine = connect(timezone=study.about.timezone, options=_options(study, memory_limit), base=study.folder)
    sources, faults = _open(engine, study, frames or {})
    staged: dict[str, Staged] = {}
    for name, source in sources.items():
        is_brought = name in (frames or {}) or study.tables[name].connection is not None  # type: ignore[index]
        of = _contents(engine, study, name, source, is_brought=is_brought)
        table, found = _stage(engine, study, name, source, of)
        faults += found
        if table is not None:
            staged[name] = table
    faults += _split_faults(engine, study, sources, staged)
    counts, found = check_contract(engine, study, staged)
    faults += found
    numeric: Mapping[str, bool] = {}
    if "customers" in staged:
        numeric, found = mixed_controls(engine, staged["customers"])
        faults += found
    remarks = remarks_of(engine, study, _one_row_each(staged), numeric)
    faults += stops_of(remarks)
    if faults:
        raise DataError(f"The tables have {len(faults)} fault{'s' if len(faults) > 1 else ''}.", faults)
    tables = {name: _final(each, numeric) for name, each in staged.items()}
    history = tables["customers"] if "since" in tables["customers"].columns else None
    if history is not None:
        tables["customers"] = first_rows(history)
    counts = {name: int(engine.fetch(table.aggregate(n=table.count()))["n"].iloc[0]) for name, table in tables.items()}
    serials = [check for each in staged.values() for check in serial_remarks(each.name, each.columns)]
    checks = (*serials, *remarks)
    return Tables(study=study, engine=engine, tables=tables, checks=checks, counts=counts, history=history)


def _options(study: Study, memory_limit: str | None) -> EngineOptions:
    given = {} if memory_limit is None else {"memory_limit": memory_limit}
    options, faults = validated(EngineOptions, study.engine.model_dump(exclude_unset=True) | given)
    if options is None:
        raise DataError("The engine cannot be opened.", faults)
    return options


def _open(engine: Engine, study: Study, frames: Mapping[str, pd.DataFrame]) -> tuple[dict[str, Source], list[str]]:
    """Find the relation of every table, and list what cannot be opened."""
    faults = [
        f"frames · the study has no table {name!r}; its tables are {', '.join(study.tables)}"
        for name in frames
        if name not in study.tables
    ]
    lines_of: dict[str, Source] = {}
    for name, pattern in study.sources.items():
        try:
            source = source_of_files(engine, study.files(pattern), pattern)
            engine.view(name, without_place(source))
            lines_of[f"sources.{name}"] = source
        except DataError as cause:
            faults += [f"sources.{name} · {line}" for line in cause.faults]
    found: dict[str, Source] = {}
    for name, table in study.tables.items():
        try:
            if name in frames:
                found[name] = _brought(engine, frame_as_file(engine, frames[name]))
            elif table.connection is not None and table.query is not None:
                found[name] = _brought(engine, query_as_file(engine, study, table.connection, table.query))
            elif table.query is not None:
                read_files = tuple(file for source in lines_of.values() for file in source.files)
                found[name] = Source(sql=source_of_query(table.query).sql, files=read_files)
            elif table.path is not None:
                found[name] = source_of_files(engine, study.files(table.path), table.path)
        except DataError as cause:
            faults += [f"{name} · {line}" for line in cause.faults]
    return found, faults


def _brought(engine: Engine, path: Path) -> Source:
    return replace(source_of_files(engine, [path], path.name), files=(str(path),))


def _contents(engine: Engine, study: Study, name: str, source: Source, *, is_brought: bool) -> str | None:
    """Digest what a table is read from: its files, and what the study says of them. Without kept stages, nothing."""
    if engine.keep is None:
        return None
    table = study.tables[name]  # type: ignore[index]
    patterns = list(study.sources.values()) if table.path is None else [table.path]
    files = map(Path, source.files) if is_brought else [file for each in patterns for file in study.files(each)]
    said = study.model_dump_json(include={"about", "sources", "scores", "drivers", "outcomes"})
    digest = hashlib.sha256(repr((table.model_dump_json(), said, is_brought)).encode())
    for file in files:
        digest.update(b"" if is_brought else file.name.encode())
        with file.open("rb") as opened:
            digest.update(hashlib.file_digest(opened, "sha256").digest())
    return digest.hexdigest()


def _stage(engine: Engine, study: Study, name: str, source: Source, of: str | None) -> tuple[Staged | None, list[str]]:
    """Read a table once into the engine, typed; list the columns that are not there."""
    columns = columns_of(study, name)
    if faults := [f"{name} · {line}" for line in _name_faults(columns)]:
        return None, faults
    try:
        raw = engine.relation(source.sql)
    except DataError as cause:
        return None, [f"{name} · {_why(study, name, cause)}"]
    there = [column for column in raw.columns if column not in (FILE, ROW)]
    faults = [
        f"{name} · {column.source} · no such column; found: {', '.join(there)}"
        for column in columns
        if column.source not in there
    ]
    if name == "exits" and study.tables["exits"].voluntary and "reason" not in study.tables["exits"].columns:
        faults.append("exits · voluntary reasons are declared, but no column has the role reason")
    try:
        present = with_serials(engine, raw, [column for column in columns if column.source in there])
        ready = prepared(raw, present)
        parts: dict[str, Any] = {FILE: ready[FILE], ROW: ready[ROW].cast("int64")}
        for column in present:
            parts |= read(column, ready, minor_units(study.currency))
            parts |= clock_of(name, column, ready[column.source])
        table = engine.stage(ready.select(**parts), f"staged_{name}", of)
    except DataError as cause:
        return None, [*faults, f"{name} · {_why(study, name, cause)}"]
    return Staged(name=name, table=table, columns=present), faults


def _why(study: Study, name: str, cause: DataError) -> str:
    """Say why a table could not be read, and what to do."""
    if cause.faults:
        return f"{cause.headline} {cause.faults[0]}"
    is_query = study.tables[name].query is not None  # type: ignore[index]
    what_next = (
        "convert with TRY_CAST in the query" if is_query else "is the file whole, and of the kind its name says?"
    )
    return f"{cause.headline} {what_next}"


def _name_faults(columns: Iterable[Column]) -> list[str]:
    names = [column.name for column in columns]
    twice = [name for name, count in Counter(names).items() if count > 1]
    if "date" in names:
        twice += [name for name in names if name == "month"]
    controls = [column.name for column in columns if column.kind == "control"]
    lines = [f"{name} · the name is taken by a role of this table; give it another in the study file" for name in twice]
    return lines + [
        f"{name} · a control cannot have this name; rename the column by a query"
        for name in controls
        if name in PANEL_COLUMNS and name not in twice
    ]


def _split_faults(engine: Engine, study: Study, sources: Mapping[str, Source], staged: dict[str, Staged]) -> list[str]:
    """List CSV lines that do not fit the header, and set their tables aside: their rows cannot be counted on."""
    faults = []
    for path, count, lines in engine.rejected_lines():
        owners = [name for name, source in sources.items() if path in source.files]
        for name in owners:
            staged.pop(name, None)
        shown = ", ".join(str(line) for line in lines)
        file = Path(path).name
        place = " and ".join(name for name in owners if study.tables[name].path is not None) or file  # type: ignore[index]
        faults.append(
            f"{place} · cannot be split into the columns of the header; are commas and quotes in quotes? · "
            f"{count:,} line{'s' if count > 1 else ''}, {'first ' if count > len(lines) else ''}at line {shown}"
        )
    return faults


def _one_row_each(staged: Mapping[str, Staged]) -> Mapping[str, Staged]:
    """Put customers with several dated rows down once, with what was known first."""
    customers = staged.get("customers")
    if customers is None or "since" not in customers or "customer" not in customers:
        return staged
    columns = tuple(column for column in customers.columns if column.name != "since")
    return {**staged, "customers": replace(customers, table=first_rows(customers.table), columns=columns)}


def _final(staged: Staged, numeric: Mapping[str, bool]) -> ir.Table:
    """Keep the canonical columns, with what is derived from them."""
    table = staged.table
    parts: dict[str, Any] = {
        column.name: table[column.number] if column.kind == "control" and numeric[column.name] else table[column.name]
        for column in staged.columns
    }
    if "date" in parts:
        parts["month"] = month_of(parts["date"])
    if staged.name == "customers":
        for role in ("segment", "unit"):
            given = parts.get(role)
            parts[role] = ibis.literal(EVERYONE) if given is None else ibis.coalesce(given, ibis.literal(UNKNOWN))
        parts.setdefault("weight", real(1))
    return table.select(**parts)
