"""Reduce a linked panel to cells in one scan of the engine.

Rows are given the columns asked for, dealt into buckets by customer, and summed as whole numbers by pattern and
bucket: money in its smallest unit, other real numbers to about 1e-9. Whole sums do not depend on the order of rows, on
the number of threads or on the engine.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import reduce
from operator import mul
from typing import Any

import ibis
import ibis.expr.types as ir
import pandas as pd
from ibis.common.exceptions import IbisError

from rox.core.buckets import bucket_of
from rox.core.cells import Cells
from rox.core.errors import DataError
from rox.core.linked import Linked
from rox.core.reduction import Reduction, factors
from rox.core.whole import AS_OF, BUCKET, CUSTOMERS, ROWS, floats, tidy, whole_numbers
from rox.linking.columns import minor_units
from rox.linking.derived import column, looks_ahead, named, whole
from rox.linking.engine import connect, literal
from rox.linking.expressions import indicator, real, total
from rox.linking.statements import definition
from rox.linking.tables import Tables

FINE = 2**30
"""Whole numbers per unit of a real number that has no smallest unit of its own."""
COUNTED = frozenset({"customer", "month", "score", "score_age", "opened", "exit_month"})
"""Columns of the panel that hold whole numbers."""
OFF = 1e-6
"""A value of a counted column that is further from a whole number than this is a fault."""
WIDE = "decimal(38,0)"


def reduce_linked(tables: Tables) -> Callable[[Linked, Reduction], Cells]:
    """Return the reduction of panels that were linked from these tables."""

    def reduced(data: Linked, asked: Reduction) -> Cells:
        ids = tables.tables["customers"].select("customer")
        return reduce_panel(data, asked, numbering=tables.engine.digest(ids, "customer_ids"))

    return reduced


def reduce_panel(data: Linked, asked: Reduction, *, numbering: str = "as given") -> Cells:
    """Reduce a panel to cells.

    Args:
        data: The panel: a table of an engine, or a frame, which an engine of its own takes in.
        asked: What to sum, by what.
        numbering: Fingerprint of how its customers were numbered.

    Raises:
        DataError: Unknown columns, keys that are no labels, or values that are missing or no whole numbers where they
            must be.
    """
    alone = _alone(data)
    contents = ""
    if isinstance(data.panel, pd.DataFrame):
        hashed = pd.util.hash_pandas_object(data.panel.sort_values(["customer", "month"], kind="stable"), index=False)
        contents = hashlib.sha256(hashed.to_numpy().tobytes()).hexdigest()
    table, fetch = _table(data)
    query = _query(table, data, asked, alone=alone)
    frame = _summed(_fetched(query, fetch), query)
    unnamed = _query(ibis.table(table.schema(), name="panel"), data, asked, alone=alone)
    text = definition(unnamed.table)
    mark = hashlib.sha256("\n".join([data.fingerprint, contents, numbering, text]).encode()).hexdigest()
    return Cells(
        frame=frame,
        keys=query.keys,
        sums=(ROWS, *query.sums),
        per_unit={ROWS: 1, **query.sums},
        buckets=asked.buckets,
        parts=(mark,),
        numbering=numbering,
        definition=_definition(data, asked, table.schema()),
        min_cell=data.study.about.min_cell,
    )


def sums_of(data: Linked, asked: Reduction) -> pd.DataFrame:
    """Reduce a panel to a frame of sums; see :meth:`rox.core.linked.Linked.sums`.

    Raises:
        DataError: As of :func:`reduce_panel`.
    """
    table, fetch = _table(data)
    query = _query(table, data, asked, alone=_alone(data))
    found = _summed(_fetched(query, fetch), query)
    return found.assign(**{name: floats(found[name]) / unit for name, unit in {ROWS: 1, **query.sums}.items()})


def _alone(data: Linked) -> bool:
    """Whether no customer has a month twice."""
    alone = data.study.outcomes[data.outcome].table != "answers"
    if isinstance(data.panel, pd.DataFrame):
        alone = alone and not data.panel.duplicated(["customer", "month"]).any()
    return alone


def _table(data: Linked) -> tuple[ir.Table, Callable[[Any], pd.DataFrame]]:
    """Return a panel as an engine's table; a frame is given to an engine of its own."""
    if not isinstance(data.panel, pd.DataFrame):
        return data.panel, data.fetch
    engine = connect()
    rows = engine.folder / "panel.parquet"
    data.panel.to_parquet(rows, index=False)
    return engine.relation(f"SELECT * FROM read_parquet({literal(str(rows))})"), engine.fetch


@dataclass(frozen=True, kw_only=True)
class _Query:
    """The one statement, and how to read its rows: keys, sums with whole numbers per unit, values that were tested."""

    table: ir.Table
    keys: tuple[str, ...]
    sums: Mapping[str, int]
    tested: tuple[str, ...]
    counted: tuple[str, ...]
    """Those that must be whole numbers and are not by their type."""


def _fetched(query: _Query, fetch: Callable[[Any], pd.DataFrame]) -> pd.DataFrame:
    try:
        return fetch(query.table)
    except DataError as error:
        hint = "if a product has outgrown 38 digits, give its columns coarser grains, such as grains={'weight': 0.01}"
        raise DataError(error.headline, [*error.faults, hint]) from error


def _query(panel: ir.Table, data: Linked, asked: Reduction, *, alone: bool) -> _Query:
    """Write the statement; ``alone`` says that no customer has a month twice.

    Where the month is a key, its rows are then its customers, and they need not be told apart, which is most of the
    work.
    """
    scale = _scale(data, asked)
    table = _widened(panel, asked, scale)
    table = _rows(table, asked)
    keys = {f"key_{i}": _label(name, maker, table, scale) for i, (name, maker) in enumerate(asked.by.items())}
    terms = {name: _term(name, maker) for name, maker in asked.sums.items()}
    makers: dict[str, Any] = {}
    for name, term in terms.items():
        makers |= {each: asked.sums[name] if callable(asked.sums[name]) else each for each in term}
    values, places, per_unit, counted = {}, {}, {}, []
    for i, (name, maker) in enumerate(makers.items()):
        value = column(maker, table, scale)
        per_unit[name], places[name] = scale(name, value.type()), f"value_{i}"
        values[f"value_{i}"] = whole(value, per_unit[name])
        if name in COUNTED and not (value.type().is_integer() or value.type().is_boolean()):
            values[f"fault_{i}"] = _is_off(value, per_unit[name])
            counted.append(name)
    narrow = table.select(**keys, **values, **{BUCKET: bucket_of(table.customer, asked.buckets)}, person=table.customer)
    sums = {f"sum_{i}": _sum(narrow, term, places, per_unit) for i, term in enumerate(terms.values())}
    faults: dict[str, Any] = {}
    for i, name in enumerate(makers):
        faults[f"known_{i}"] = narrow[f"value_{i}"].count()
        if name in counted:
            faults[f"off_{i}"] = total(narrow[f"fault_{i}"])
    people = narrow.count() if alone and "month" in asked.by.values() else narrow.person.nunique()
    cells = narrow.group_by([*keys, BUCKET]).aggregate(**{ROWS: narrow.count(), CUSTOMERS: people}, **sums, **faults)
    units = {
        name: reduce(mul, (per_unit[each] ** power for each, power in term.items())) for name, term in terms.items()
    }
    return _Query(table=cells, keys=tuple(asked.by), sums=units, tested=tuple(makers), counted=tuple(counted))


def _widened(table: ir.Table, asked: Reduction, scale: Callable[[str, Any], int]) -> ir.Table:
    """Add the columns of ``within``, as many at a time as do not use one another: statements grow with every layer."""
    layer: dict[str, Any] = {}
    for name, maker in asked.within.items():
        if name in table.columns:
            raise DataError(f"The panel has a column {name!r} already.", ["call the one in `within` otherwise"])
        try:
            layer[name] = column(maker, table, scale)
        except (AttributeError, IbisError, DataError):
            table, layer = (table.mutate(**layer) if layer else table), {}
            layer[name] = column(maker, table, scale)
    return table.mutate(**layer) if layer else table


def _rows(table: ir.Table, asked: Reduction) -> ir.Table:
    conditions = [named(name, table).notnull() for name in asked.known]
    if asked.months:
        conditions += [table.month >= asked.months[0], table.month <= asked.months[1]]
    if asked.where is not None:
        conditions.append(asked.where(table))
    return table.filter(conditions) if conditions else table


def _scale(data: Linked, asked: Reduction) -> Callable[[str, Any], int]:
    """Return how many whole numbers make one unit of a column."""
    money = data.study.outcomes[data.outcome].kind != "count"
    known = {"outcome": minor_units(data.study.currency)} if money else {}

    def scale(name: str, kind: Any) -> int:
        if name in asked.grains:
            return round(1 / asked.grains[name])
        if kind.is_integer() or kind.is_boolean() or name in COUNTED:
            return 1
        return known.get(name, FINE)

    return scale


def _label(name: str, maker: Any, table: ir.Table, scale: Callable[[str, Any], int]) -> Any:
    """Return a key as an integer or a text."""
    value = column(maker, table, scale)
    kind = value.type()
    if kind.is_boolean():
        return whole(value, 1)
    if kind.is_integer():
        return value.cast("int64")
    if kind.is_string():
        return value
    if isinstance(maker, str) and maker in COUNTED:
        return value
    raise DataError(
        f"{name!r} is {kind} and cannot be a key.",
        ["needed: whole numbers, text or a condition; LogBins and Bins of rox.core.derived number bins of a quantity"],
    )


def _term(name: str, maker: Any) -> dict[str, int]:
    return factors(maker) if isinstance(maker, str) else {name: 1}


def _is_off(value: Any, per_unit: int) -> Any:
    """Mark values of a counted column that are no whole numbers."""
    size = value.cast("float64") * real(per_unit)
    return indicator((size - size.round(0).cast("float64")).abs() > real(OFF))


def _sum(narrow: ir.Table, term: Mapping[str, int], places: Mapping[str, str], per_unit: Mapping[str, int]) -> Any:
    parts = [narrow[places[name]] for name, power in term.items() for _ in range(power)]
    if len(parts) == 1 and per_unit[next(iter(term))] < FINE:
        return total(parts[0])
    wide = [part.cast(WIDE) for part in parts]
    return ibis.coalesce(reduce(mul, wide).sum().cast(WIDE), ibis.literal(0).cast(WIDE))


def _summed(found: pd.DataFrame, query: _Query) -> pd.DataFrame:
    """Refuse what is missing or no whole number, and name the columns."""
    rows, faults = int(found[ROWS].sum()), []
    for i, name in enumerate(query.tested):
        missing = rows - int(found[f"known_{i}"].sum())
        off = int(found[f"off_{i}"].sum()) if name in query.counted else 0
        if missing:
            faults.append(
                f"{name} is missing, infinite or too large in {missing:,} of {rows:,} rows; leave them out with "
                f"known=[{name!r}], or with where"
            )
        if off:
            faults.append(f"{name} is no whole number in {off:,} of {rows:,} rows; say grains={{{name!r}: 1/1024}}")
    if faults:
        raise DataError("These sums would leave rows out that the counts keep.", faults)
    keys = {name: found[f"key_{i}"] for i, name in enumerate(query.keys)}
    counts = {name: found[name].astype("int64") for name in (BUCKET, CUSTOMERS, ROWS)}
    sums = {name: whole_numbers(found[f"sum_{i}"]) for i, name in enumerate(query.sums)}
    return tidy(pd.DataFrame({**keys, **counts, **sums}), [*query.keys, BUCKET])


def _definition(data: Linked, asked: Reduction, schema: Any) -> dict[str, str]:
    """Say what the panel, the keys and the sums are, so that only like is added to like."""
    panel = ibis.table(schema, name="panel")
    made = panel
    texts: dict[str, str] = {}
    ahead = False
    for name, maker in asked.within.items():
        texts[name], ahead = _text(maker, made, texts), ahead or looks_ahead(maker, made)
        made = made.mutate(**{name: column(maker, made, _scale(data, asked))})
    study = data.study
    about = f"{data.score or 'no score'}, {data.outcome} ({study.outcomes[data.outcome].kind}, {study.currency})"
    timing = f"look-back {data.look_back}, lag {data.lag}, wash-out {data.washout}, cohort {data.cohort}"
    found = {"panel": f"{about}, {timing}"}
    if ahead or any(looks_ahead(maker, made) for maker in (*asked.by.values(), *asked.sums.values())):
        found[AS_OF] = f"data {data.fingerprint[:16]}"
    found |= {name: _text(maker, made, texts) for name, maker in asked.by.items()}
    for name, maker in asked.sums.items():
        own = [] if callable(maker) else [f"{each} = {texts[each]}" for each in factors(str(maker)) if each in texts]
        found[name] = "; ".join([maker if isinstance(maker, str) else _text(maker, made, texts), *own])
    return found


def _text(maker: Any, table: ir.Table, texts: Mapping[str, str]) -> str:
    if isinstance(maker, str):
        return texts.get(maker, maker)
    if callable(maker):
        plain = ibis.table(table.schema(), name="panel")
        return definition(plain.select(value=maker(plain)))
    return repr(maker)
