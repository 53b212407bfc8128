"""A study's tables as they stand in the engine, checked and typed."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType

import ibis.expr.types as ir
import pandas as pd

from rox.core.check import Check
from rox.core.study import Study
from rox.linking.columns import minor_units
from rox.linking.engine import Engine

UNKNOWN = "unknown"
"""The name of the segment or unit of customers for whom none is given."""

PANEL_COLUMNS = (
    "customer",
    "month",
    "segment",
    "unit",
    "weight",
    "outcome",
    "score",
    "score_age",
    "opened",
    "exit_month",
    "voluntary",
)
"""Columns of a linked panel, before its controls; no control may have one of these names."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Tables:
    """The checked tables of a study as lazy engine tables.

    Columns are called by their roles, scores, drivers, outcomes and controls by their names in the study. Money is an
    integer of the currency's smallest unit, to which it is rounded; ``minor`` of them make one unit. Every table with a
    ``date`` also has its ``month``, and months are the integer 12·year + month − 1. An outcome beside the answers has
    the date of the money in ``<name>_dated``. Segments that are not declared are ``all``, missing ones ``unknown``; a
    weight that is not declared is 1.

    Attributes:
        study: What was declared.
        engine: Where the rows are.
        tables: The tables by name; of customers with several dated rows their first.
        history: All dated rows of the customers, with the day each began in ``since``; None where rows are not dated.
        checks: Remarks of the data contract; none of them stops the work.
        counts: Rows by table.
    """

    study: Study
    engine: Engine
    tables: Mapping[str, ir.Table]
    checks: tuple[Check, ...]
    counts: Mapping[str, int]
    history: ir.Table | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "tables", MappingProxyType(dict(self.tables)))
        object.__setattr__(self, "counts", MappingProxyType(dict(self.counts)))

    @property
    def minor(self) -> int:
        """Smallest units in one unit of the study's currency."""
        return minor_units(self.study.currency)

    def fetch(self, expression: ir.Table) -> pd.DataFrame:
        """Run an expression over the tables and return its rows; see :meth:`rox.linking.engine.Engine.fetch`.

        Raises:
            DataError: The computation failed.
        """
        return self.engine.fetch(expression)

    def digest(self, name: str) -> str:
        """Return SHA-256 of a table's contents, whatever the order of its rows."""
        dated = name == "customers" and self.history is not None
        return self.engine.digest(self.history if dated else self.tables[name], name)

    @cached_property
    def money_months(self) -> tuple[int, int]:
        """First and last month of the ledger."""
        ledger = self.tables["ledger"]
        found = self.fetch(ledger.aggregate(first=ledger.month.min(), last=ledger.month.max())).iloc[0]
        return int(found["first"]), int(found["last"])

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over the contents of all tables."""
        return fingerprint_of({name: self.digest(name) for name in self.tables})


def digests(tables: Tables, used: Collection[str]) -> str:
    """Return SHA-256 over the contents of some tables."""
    return fingerprint_of({name: tables.digest(name) for name in tables.tables if name in used})


def fingerprint_of(parts: Mapping[str, object]) -> str:
    """Return SHA-256 over names and values, in the order of the names."""
    return hashlib.sha256(repr(sorted(parts.items())).encode()).hexdigest()
