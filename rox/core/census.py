"""What a panel holds, counted where it lies: its customers by segment, and what is wrong with its rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import pandas as pd

SEGMENT_COLUMNS = ("customers", "money", "months", "exits", "money_months", "money_left", "ever")
"""What is known of a segment: see :class:`Census`."""
DEFECTS = ("unknown_age", "early", "changing", "twice", "outcome", "weight", "segment", "several")
"""What can be wrong with a panel: see :class:`Census`."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Census:
    """A panel in numbers that do not grow with it.

    Attributes:
        segments: One row per segment, sorted: ``customers`` of the last month and their ``money``; customer-``months``;
            voluntary ``exits`` inside the panel; ``money_months``, money summed over all months; ``money_left``, the
            last known money of those who left by choice inside the panel; customers who were ``ever`` in the panel.
            Customers count with their weight, money with the weight of its customer. Of the last month's row says
            whether a customer left, of the first month's row how many it stands for.
        first: First month.
        last: Last month.
        rows: Number of rows.
        scored: Rows with a score.
        scored_customers: Customers with a score in some month.
        records_exits: Whether some exit is known.
        defects: Counts: rows with a score of ``unknown_age``; rows with a score that is ``early``, of the same or a
            later month; answers ``changing`` their value; rows that repeat a customer's month, ``twice``; rows whose
            ``outcome`` is missing or infinite, whose ``weight`` is not positive, whose ``segment`` is missing;
            customers with ``several`` segments.
    """

    segments: pd.DataFrame
    first: int
    last: int
    rows: int
    scored: int
    scored_customers: int
    records_exits: bool
    defects: Mapping[str, int]

    def __post_init__(self) -> None:
        object.__setattr__(self, "defects", MappingProxyType(dict(self.defects)))

    @property
    def is_segmented(self) -> bool:
        """Whether some row has a segment."""
        return self.defects["segment"] < self.rows
