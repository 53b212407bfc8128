"""Answers of an engine that are kept: models ask the same sums of the same panel over and over."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any

import ibis.expr.operations as ops
import ibis.expr.types as ir
import pandas as pd

LARGEST = 4 * 2**20
"""Bytes of an answer above which it is asked again instead, such as the rows of a table."""
TOGETHER = 64 * 2**20
"""Bytes that the kept answers may have together; those not asked for the longest are dropped."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Remembered:
    """Small answers to questions about stages, which never change once they are computed.

    Attributes:
        frames: The answers by question, those asked last at the end.
    """

    frames: OrderedDict[Any, pd.DataFrame] = field(default_factory=OrderedDict)

    def answer(self, expression: ir.Table) -> pd.DataFrame | None:
        """Return a copy of what the same expression gave before, or None."""
        found = self.frames.get(expression.op())
        if found is None:
            return None
        self.frames.move_to_end(expression.op())
        return found.copy()

    def keep(self, expression: ir.Table, found: pd.DataFrame) -> None:
        """Keep an answer, unless it is large or nested, or its tables may change or chance decides it."""
        operation = expression.op()
        if _bytes(found) > LARGEST or operation.find((ops.SQLQueryResult, ops.InMemoryTable, ops.Impure)):
            return
        if any(kind.is_nested() for kind in expression.schema().values()):
            return
        self.frames[operation] = found.copy()
        while sum(_bytes(each) for each in self.frames.values()) > TOGETHER:
            self.frames.popitem(last=False)


def _bytes(frame: pd.DataFrame) -> int:
    return int(frame.memory_usage(index=True, deep=True).sum())
