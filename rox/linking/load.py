"""Open the tables of a study, type their columns, and check the contract."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import ibis
import ibis.expr.types as ir

from rox.core.case import EVERYONE
from rox.core.errors import DataError
from rox.core.study import Study
from rox.linking.columns import Column, columns_of, minor_units, read
from rox.linking.contract import Staged, check_contract, mixed_controls
from rox.linking.engine import Engine, connect
from rox.linking.expressions import month_of, real
from rox.linking.remarks import remarks_of
from rox.linking.sources import FILE, ROW, Source, source_of_files, source_of_query, without_place
from rox.linking.tables import PANEL_COLUMNS, UNKNOWN, Tables


def load(study: Study, *, memory_limit: str = "4GB") -> Tables:
    """Open a study's tables and check them.

    CSV is read as text first, in UTF-8 or GB18030, so ids keep their leading zeros; then every declared column is
    typed. Each table is read once; what is checked is what is used, even if the files change later.

    Args:
        study: What :func:`rox.read_study` returned.
        memory_limit: Of the engine; above it, work goes through a temporary folder.

    Raises:
        DataError: Every fault of every table in one message: table, column, what, how many rows, the first rows. It
            quotes no value of the tables.
    """
    engine = connect(timezone=study.about.timezone, memory_limit=memory_limit)
    sources, faults = _open(engine, study)
    staged: dict[str, Staged] = {}
    for name, source in sources.items():
        table, found = _stage(engine, study, name, source)
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
    if faults:
        raise DataError(f"The tables have {len(faults)} fault{'s' if len(faults) > 1 else ''}.", faults)
    tables = {name: _final(each, numeric) for name, each in staged.items()}
    counts = {name: int(engine.fetch(table.aggregate(n=table.count()))["n"].iloc[0]) for name, table in tables.items()}
    checks = remarks_of(engine, study, tables, counts)
    return Tables(study=study, engine=engine, tables=tables, checks=checks, counts=counts)


def _open(engine: Engine, study: Study) -> tuple[dict[str, Source], list[str]]:
    """Find the relation of every table, and list what cannot be opened."""
    faults: list[str] = []
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
            if table.query is not None:
                read_files = tuple(file for source in lines_of.values() for file in source.files)
                found[name] = Source(sql=source_of_query(table.query).sql, files=read_files)
            elif table.path is not None:
                found[name] = source_of_files(engine, study.files(table.path), table.path)
        except DataError as cause:
            faults += [f"{name} · {line}" for line in cause.faults]
    return found, faults


def _stage(engine: Engine, study: Study, name: str, source: Source) -> tuple[Staged | None, list[str]]:
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
    present = tuple(column for column in columns if column.source in there)
    parts: dict[str, Any] = {FILE: raw[FILE], ROW: raw[ROW].cast("int64")}
    for column in present:
        parts |= read(column, raw[column.source], minor_units(study.currency))
    try:
        table = engine.stage(raw.select(**parts), f"staged_{name}")
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
