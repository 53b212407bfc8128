"""The trail: how many rows and customers are left after each step."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import ibis
import ibis.expr.types as ir

from rox.core.linked import Step
from rox.linking.expressions import how_many, indicator
from rox.linking.tables import Tables


@dataclass(frozen=True, kw_only=True)
class Funnel:
    """A table and conditions on its rows, each of which holds only where the one before it holds.

    Attributes:
        table: The rows that are followed.
        person: The column that tells customers apart.
        steps: The conditions by the name of the step.
    """

    table: ir.Table
    person: str
    steps: Mapping[str, Any]


def count_steps(tables: Tables, funnel: Funnel, before: Step | None = None) -> Iterator[Step]:
    """Count rows and customers at each step of a funnel in one scan.

    Args:
        tables: Where to run.
        funnel: What to count.
        before: The step before the first one; without it the first step loses nothing.
    """
    person = funnel.table[funnel.person]
    sums: dict[str, Any] = {}
    for name, kept in funnel.steps.items():
        sums[f"{name}_rows"] = how_many(kept)
        sums[f"{name}_customers"] = (indicator(kept) == 1).ifelse(person, ibis.null(person.type())).nunique()
    counts = tables.fetch(funnel.table.aggregate(**sums)).iloc[0]
    for name in funnel.steps:
        rows, customers = int(counts[f"{name}_rows"]), int(counts[f"{name}_customers"])
        lost = before.rows - rows if before else 0
        before = Step(name=name, rows=rows, lost=lost, customers=customers, reason=f"linking.step.{name}")
        yield before
