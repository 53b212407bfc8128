"""A panel's rows as an engine's table, whether they are one already or a frame."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import ibis.expr.types as ir
import pandas as pd

from rox.core.linked import Linked
from rox.linking.columns import minor_units
from rox.linking.engine import connect, literal
from rox.linking.expressions import nothing, real, rounded

NUMBERS = ("outcome", "score", "score_age", "opened", "exit_month", "weight")
"""Columns of a panel that hold numbers."""
LARGEST = 1.7976931348623157e308
"""The largest number that is not infinite."""
BITS = 45
"""Bits of the largest whole number that stands for a value, so that sums of products of two fit 38 digits."""
WIDE = "decimal(38,0)"


@dataclass(frozen=True, kw_only=True, eq=False)
class PanelRows:
    """Some columns of a panel.

    Attributes:
        table: Numbers as doubles, customers and months as whole numbers, ``voluntary`` known.
        fetch: Runs an expression over the table.
        alone: Whether no customer should have a month twice.
        per_unit: How many whole numbers make one unit of the outcome.
    """

    table: ir.Table
    fetch: Callable[[Any], pd.DataFrame]
    alone: bool
    per_unit: int

    @property
    def place(self) -> list[str]:
        """Columns that put a customer's rows in their order."""
        return ["month"] if self.alone else ["month", "outcome", "score", "score_age"]


def rows_of(data: Linked, columns: Sequence[str]) -> PanelRows:
    """Return some columns of a panel; a frame is given to an engine of its own.

    Args:
        data: The panel.
        columns: Of the panel; ``customer`` and ``month`` are always there.
    """
    names = list(dict.fromkeys(["customer", "month", *columns]))
    outcome = data.study.outcomes.get(data.outcome)
    is_count = outcome is not None and outcome.kind == "count"
    table, fetch = _of_frame(data.panel, names) if isinstance(data.panel, pd.DataFrame) else (data.panel, data.fetch)
    kinds = dict.fromkeys(NUMBERS, "float64") | {"customer": "int64", "month": "int64"}
    parts: dict[str, Any] = {name: table[name].cast(kinds[name]) if name in kinds else table[name] for name in names}
    if "voluntary" in parts:
        parts["voluntary"] = table.voluntary.fill_null(False)
    return PanelRows(
        table=table.select(**parts),
        fetch=fetch,
        alone=outcome is None or outcome.table != "answers",
        per_unit=1 if is_count else minor_units(data.study.currency),
    )


def _of_frame(frame: pd.DataFrame, names: Sequence[str]) -> tuple[ir.Table, Callable[[Any], pd.DataFrame]]:
    made: dict[str, Any] = {}
    for name in names:
        column = frame[name].reset_index(drop=True)
        if name in NUMBERS:
            column = pd.to_numeric(column).astype(float)
        elif name in ("customer", "month"):
            column = column.astype("int64")
        elif name == "voluntary":
            column = column.astype("boolean").fillna(False).astype(bool)
        elif name in ("segment", "unit"):
            column = column.astype(object).where(column.notna(), None).map(str, na_action="ignore").astype("string")
        made[name] = column
    engine = connect()
    path = engine.folder / "rows.parquet"
    pd.DataFrame(made).to_parquet(path, index=False)
    return engine.relation(f"SELECT * FROM read_parquet({literal(str(path))})"), engine.fetch


def finite(value: ir.FloatingValue) -> ir.BooleanValue:
    """Whether a number is there and not infinite."""
    return (value.abs() <= real(LARGEST)).fill_null(False)


def grain(largest: float, per_unit: int = 1) -> float:
    """Return how many whole numbers make one unit, so that sums of products are exact and lose no digit that counts.

    It is ``per_unit`` times the largest power of two with which ``largest`` keeps to 45 bits.

    Example:
        >>> grain(80.0) == 2**38, grain(2.0**60, 100) < 1
        (True, True)
    """
    if not 0 < largest <= LARGEST:
        return float(per_unit)
    scale = float(per_unit)
    while largest * scale <= 2.0 ** (BITS - 1):
        scale *= 2
    while largest * scale > 2.0**BITS:
        scale /= 2
    return scale


def as_whole(value: ir.FloatingValue, scale: float) -> Any:
    """Turn a number into a whole one; what is missing or infinite counts as nothing."""
    return finite(value).ifelse(rounded(value * real(scale)), nothing("int64")).fill_null(0).cast(WIDE)
