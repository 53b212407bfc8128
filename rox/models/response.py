"""Who answers: how likely each customer was to, and weights that put the silent ones back."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from rox.core.linked import Linked
from rox.models.answers import RESPONSE_WEIGHT, read_panel

BANDS = 5
"""Bands of money within segment and month, and of tenure, in which answering is counted."""
SMOOTH = 2.0
"""Answers that a cell borrows from its segment."""
WIDEST = 5.0
"""Largest weight, relative to the mean; its inverse is the smallest."""


def with_response_weights(data: Linked, *, tilt: float = 0.0) -> Linked:
    """Weight answers by the inverse of how likely their customers were to answer.

    In months after which answers were given, the share who answered is counted by segment, band of money before the
    month, band of tenure and whether money had been rising; cells borrow from their segment. What goes with answering
    beyond these is not repaired: ``tilt`` says how it might look (Little et al. 2020 call this a pattern-mixture
    sensitivity analysis).

    Args:
        data: The linked panel.
        tilt: Log odds of answering per score point beyond what is seen; above 0, happier customers answer more, and
            their answers are weighted down.

    Returns:
        The panel with the column ``response_weight``, mean 1 over the answers; models weight answers with it.

    Raises:
        DataError: A panel that cannot be used.
    """
    panel = read_panel(data)
    answered = (panel["month"] - panel["score_age"]).where(panel["score"].notna())
    asked = panel.assign(answered=answered, replied=panel["score_age"] == data.lag)
    waves = asked.loc[asked["replied"], "month"].unique()
    frame = asked[asked["month"].isin(waves)]
    known = _known_before(panel, frame, data.lag)
    cells = [frame["segment"], known["money"], known["tenure"], known["rising"]]
    weight = frame["weight"]
    counts = pd.DataFrame({"replied": weight * frame["replied"], "all": weight}).groupby(cells).transform("sum")
    whole = pd.DataFrame({"replied": weight * frame["replied"], "all": weight}).groupby(frame["segment"])
    base = whole["replied"].transform("sum") / whole["all"].transform("sum")
    unit = weight.groupby(frame["segment"]).transform("mean")
    share = (counts["replied"] + SMOOTH * unit * base) / (counts["all"] + SMOOTH * unit)
    own = frame.loc[frame["replied"], ["customer", "answered", "segment", "score"]].assign(inverse=base / share)
    mean_score = own.groupby("segment")["score"].transform("mean")
    own["inverse"] *= np.exp(-tilt * (own["score"] - mean_score))
    own["inverse"] = (own["inverse"] / own["inverse"].mean()).clip(1 / WIDEST, WIDEST)
    own["inverse"] /= own["inverse"].mean()
    by_answer = own.set_index(["customer", "answered"])["inverse"]
    keys = pd.MultiIndex.from_arrays([asked["customer"], asked["answered"]])
    weights = by_answer[~by_answer.index.duplicated()].reindex(keys).fillna(1.0).to_numpy()
    held = panel.assign(**{RESPONSE_WEIGHT: weights})
    return replace(data, panel=held, fetch=lambda rows: rows.copy())


def _known_before(panel: pd.DataFrame, frame: pd.DataFrame, lag: int) -> pd.DataFrame:
    """Return bands of money and tenure and the direction of money, as they stood before the answers."""
    money = panel.set_index(["customer", "month"])["outcome"]
    money = money[~money.index.duplicated()]

    def months_back(months: int) -> pd.Series:
        keys = pd.MultiIndex.from_arrays([frame["customer"], frame["month"] - months])
        return pd.Series(money.reindex(keys).to_numpy(), index=frame.index)

    before, earlier = months_back(lag + 1), months_back(lag + 4)
    rank = before.groupby([frame["segment"], frame["month"]]).rank(pct=True)
    tenure = (frame["month"] - frame["opened"]).groupby(frame["segment"]).rank(pct=True)
    rising = (before > earlier).astype(int).where(before.notna() & earlier.notna(), 2)
    return pd.DataFrame({"money": _banded(rank), "tenure": _banded(tenure), "rising": rising})


def _banded(rank: pd.Series) -> pd.Series:
    """Number bands of equal size from 0; −1 where the rank is unknown."""
    bands: pd.Series = np.ceil(rank * BANDS).fillna(0).astype(int) - 1
    return bands
