"""The linked panel: money, and the score that was known before it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import pandas as pd

from rox.core.check import Check
from rox.core.study import Study
from rox.core.words import Language, say


@dataclass(frozen=True, kw_only=True)
class Step:
    """One step of the trail: what was done, how many rows and customers it kept, how many rows it lost, and why.

    ``reason`` is a key of the catalogue.
    """

    name: str
    rows: int
    lost: int
    customers: int
    reason: str


def trail_table(trail: Iterable[Step], language: Language = "en") -> pd.DataFrame:
    """List the steps of a trail for a reader."""
    rows = [
        {
            say("trail.step", language): step.name,
            say("trail.rows", language): step.rows,
            say("trail.lost", language): step.lost,
            say("trail.customers", language): step.customers,
            say("trail.why", language): say(step.reason, language),
        }
        for step in trail
    ]
    return pd.DataFrame(rows)


def month_index(year: int, month: int) -> int:
    """Number a month so that neighbours differ by one: 12·year + month − 1."""
    return 12 * year + month - 1


def month_label(index: int) -> str:
    """Write a month number as ``2025-03``."""
    return f"{index // 12:04d}-{index % 12 + 1:02d}"


@dataclass(frozen=True, kw_only=True, eq=False)
class Linked:
    """A lazy panel, customer × month, of money and of the last score answered before that month began.

    ``frame()`` has the columns

    - ``customer``: dense integer; the company's own ids stay in the engine;
    - ``month``: 12·year + month − 1;
    - ``segment``, ``unit``: text, as known at the start; ``unit`` is the place initiatives are rolled out to;
    - ``weight``: customers of the company that this row stands for;
    - ``outcome``: money (in the study's currency) or a count, of that month;
    - ``score``: the latest answer given before the month began, at most ``look_back`` months ago; missing if none;
    - ``score_age``: months from that answer's month to this one, at least 1; missing if none;
    - ``opened``: month the customer came, missing if unknown;
    - ``exit_month``: month of leaving, missing if still there; ``voluntary``: whether leaving was their choice;
    - one column per control, known at the start.

    Rows are the months of the ledger: none after the exit. Customers never surveyed are kept.

    Attributes:
        study: Where it came from.
        score: Name of the score, or empty when no score was linked.
        outcome: Name of the outcome.
        look_back: Months an answer stays in use.
        controls: Names of the control columns.
        starts: One row per treated unit: ``initiative``, ``unit``, ``start`` (month number).
        trail: Rows kept and lost at each step.
        fingerprint: SHA-256 over the contents of every table used and the settings of the link.
        checks: Warnings of the data contract that bear on results.
        panel: The lazy engine table.
        fetch: Runs an engine table and returns a frame.
    """

    study: Study
    score: str
    outcome: str
    look_back: int
    controls: tuple[str, ...]
    starts: pd.DataFrame
    trail: tuple[Step, ...]
    fingerprint: str
    checks: tuple[Check, ...]
    panel: Any
    fetch: Callable[[Any], pd.DataFrame]

    def trail_table(self, language: Language = "en") -> pd.DataFrame:
        """List the steps of the link for a reader."""
        return trail_table(self.trail, language)

    def frame(self) -> pd.DataFrame:
        """Fetch the panel, sorted by customer and month."""
        rows = self.fetch(self.panel)
        return rows.sort_values(["customer", "month"], kind="stable").reset_index(drop=True)
