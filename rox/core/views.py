"""Other tables that the same link gives: what a linked panel asks of the room that linked it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol

import pandas as pd

from rox.core.census import Census
from rox.core.leaks import LeakReport
from rox.core.reduction import Reduction
from rox.core.score_parts import ScoreParts

Clock = Literal["tenure", "calendar"]
RowsPer = Literal["month", "answer"]


def money_column(months: int) -> str:
    """Name the column with the money of a month relative to an answer, below 0 before it.

    Example:
        >>> money_column(-12), money_column(3)
        ('money_m12', 'money_p3')
    """
    return f"money_{'m' if months < 0 else 'p'}{abs(months)}"


class Views(Protocol):
    """Makes tables from a linked panel; each method takes the panel first and is described at :class:`Linked`."""

    def windows(self, data: Any, *, before: int, first: int, last: int) -> Any:
        """Lay the money around each answer out as one row."""

    def episodes(self, data: Any, *, clock: Clock, per: RowsPer) -> Any:
        """List the times at risk of leaving."""

    def units(self, data: Any, *, initiative: str | None, base: int, history: int, cap: float) -> Any:
        """Sum a frozen cohort by place, month and segment."""

    def calibrated(self, data: Any, parts: ScoreParts) -> Any:
        """Add readings of experience to the panel."""

    def around(self, data: Any, months: Sequence[int], *, age: int) -> Any:
        """Put the money around each answer beside it."""

    def answered(self, data: Any, months: Sequence[int], *, age: int) -> Any:
        """Keep the answers as a panel of their own."""

    def sums(self, data: Any, asked: Reduction) -> pd.DataFrame:
        """Sum by pattern and bucket."""

    def census(self, data: Any, caps: Mapping[str, float]) -> Census:
        """Count the panel's customers by segment, and what is wrong with its rows."""

    def responding(self, data: Any, bands: int) -> pd.DataFrame:
        """Count who answered by what was known before."""

    def weighted(self, data: Any, weights: pd.DataFrame, *, bands: int, name: str) -> Any:
        """Add a weight to the rows of an answer."""

    def records(self, data: Any, name: str, months: Sequence[int]) -> Any:
        """Put beside each row of a further table what is known of its customer."""

    def money_months(self, data: Any) -> tuple[int, int]:
        """Tell the first and last month of money."""

    def leak_report(self, data: Any) -> LeakReport:
        """Search the panel for rows that use the future."""
