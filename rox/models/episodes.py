"""From customer-months to episodes at risk: what was known when each began, and whether it ended in leaving."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import pandas as pd

from rox.core.errors import FitError
from rox.models.answers import KNOWN_ENOUGH, RESPONSE_WEIGHT

Clock = Literal["tenure", "calendar"]


def at_risk(panel: pd.DataFrame, clock: Clock) -> pd.DataFrame:
    """Keep the months in which a customer's score was known at the start, on the chosen clock.

    A customer enters in the month after the first answer and is out of sight while no recent answer is known. An exit
    belongs to its month, or to the customer's last month when the ledger ends the month before.

    Args:
        panel: Checked panel, sorted by customer and month.
        clock: ``tenure`` counts months since opening, ``calendar`` months since the panel began.

    Returns:
        The panel's columns, ``start`` and ``stop`` (at risk in (start, stop]), ``event`` (left by own choice), ``gone``
        (left for any reason).

    Raises:
        FitError: No exits, or openings that cannot carry a tenure clock.
    """
    last = panel["customer"].ne(panel["customer"].shift(-1))
    gone = panel["exit_month"].eq(panel["month"]) | (last & panel["exit_month"].eq(panel["month"] + 1))
    rows = panel.assign(gone=gone, event=gone & panel["voluntary"])[panel["score"].notna()]
    if clock == "calendar":
        return rows.assign(start=rows["month"] - panel["month"].min(), stop=rows["month"] - panel["month"].min() + 1)
    known = rows["opened"].notna()
    faults = []
    if known.mean() < KNOWN_ENOUGH:
        faults.append(f"{(~known).mean():.0%} of the rows have no opening month")
    if early := int((rows["month"] < rows["opened"]).sum()):
        faults.append(f"{early} rows lie before the customer's opening month")
    if faults:
        raise FitError(
            "Time since opening cannot be the clock.", [*faults, 'mend `opened`, or use ChurnCox(time="calendar")']
        )
    rows = rows[known]
    start = (rows["month"] - rows["opened"]).astype(int)
    return rows.assign(start=start, stop=start + 1)


def joined(rows: pd.DataFrame, constant: Sequence[str]) -> pd.DataFrame:
    """Join a customer's consecutive months while nothing in ``constant`` changes; the likelihood stays the same."""
    begins = rows["customer"].ne(rows["customer"].shift()) | rows["start"].ne(rows["stop"].shift())
    for name in [*constant, *({RESPONSE_WEIGHT} & set(rows.columns))]:
        begins |= rows[name].ne(rows[name].shift())
    first = rows[begins.to_numpy()].copy()
    ends = np.append(np.flatnonzero(begins.to_numpy())[1:] - 1, len(rows) - 1)
    for name in ("stop", "event", "gone"):
        first[name] = rows[name].to_numpy()[ends]
    return first.reset_index(drop=True)


def split(episodes: pd.DataFrame, at: float) -> pd.DataFrame:
    """Cut the episodes that span a time into two; ``late`` says which lie after it."""
    spans = (episodes["start"] < at) & (episodes["stop"] > at)
    before = episodes.assign(stop=episodes["stop"].where(~spans, at), event=episodes["event"] & ~spans)
    after = episodes[spans].assign(start=at)
    both = pd.concat([before, after], ignore_index=True)
    return both.assign(late=both["start"] >= at)
