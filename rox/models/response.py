"""Who answers: how likely each customer was to, and weights that put the silent ones back."""

from __future__ import annotations

import numpy as np
import pandas as pd

from rox.core.linked import Linked
from rox.models.answers import RESPONSE_WEIGHT, count_panel

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
        The panel with the column ``response_weight``, mean 1 over the answers; models weight answers with it. As it is
        where no answer has money in the month in which it comes into use.

    Raises:
        DataError: A panel that cannot be used.
    """
    count_panel(data)
    cells = data.responding(bands=BANDS)
    given = cells["score"].notna()
    if not given.any():
        return data
    replied = cells["weight"].where(given, 0.0)
    cell = [cells[name] for name in ("segment", "money", "tenure", "rising")]
    of_cell = pd.DataFrame({"replied": replied, "all": cells["weight"]}).groupby(cell).transform("sum")
    sums = pd.DataFrame({"replied": replied, "all": cells["weight"], "n": cells["n"]})
    whole = sums.groupby(cells["segment"]).transform("sum")
    base, unit = whole["replied"] / whole["all"], whole["all"] / whole["n"]
    share = (of_cell["replied"] + SMOOTH * unit * base) / (of_cell["all"] + SMOOTH * unit)
    own = cells.assign(inverse=base / share)[given]
    points = (own["n"] * own["score"]).groupby(own["segment"]).transform("sum")
    own["inverse"] *= np.exp(-tilt * (own["score"] - points / own["n"].groupby(own["segment"]).transform("sum")))
    inverse = (own["inverse"] / np.average(own["inverse"], weights=own["n"])).clip(1 / WIDEST, WIDEST)
    weights = own.drop(columns=["n", "inverse"]).assign(weight=inverse / np.average(inverse, weights=own["n"]))
    return data.weighted(weights, bands=BANDS, name=RESPONSE_WEIGHT)
