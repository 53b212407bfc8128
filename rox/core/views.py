"""Other tables that the same link gives: what a linked panel asks of the room that linked it."""

from __future__ import annotations

from typing import Any, Literal, Protocol

from rox.core.leaks import LeakReport
from rox.core.score_parts import ScoreParts

Clock = Literal["tenure", "calendar"]
RowsPer = Literal["month", "answer"]


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

    def leak_report(self, data: Any) -> LeakReport:
        """Search the panel for rows that use the future."""
