"""How alike those who answered and everybody are, by each set of weights, in all that is known of everybody."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from rox.metrics.silence_cells import Cells
from rox.numerics.arrays import Floats

NOW = 1
"""Number of the waves looked at."""


def balance(cells: Cells, factors: Mapping[str, Floats]) -> pd.DataFrame:
    """Compare those who answered with everybody, by each set of weights; waves looked at.

    Args:
        cells: The cells.
        factors: By the name of the weights, (r,) by which the design weights of answers are multiplied.

    Returns:
        ``fact``, ``kind``: ``margin`` for those weighted with, ``benchmark`` for others; then for each set of weights
        the mean of those who answered less that of everybody, in standard deviations of everybody; of a margin the
        largest over its categories. NaN where weights are.
    """
    now = cells.later == NOW
    rows: list[dict[str, str | float]] = []
    for m, name in enumerate(cells.margins):
        code, size = cells.code[now, m], cells.sizes[m]
        people = _shares(code, cells.people[now], size)
        spread = np.sqrt(people * (1 - people))
        given = cells.given[now].sum(1)
        of = {each: _largest((_shares(code, given * by[now], size) - people) / spread) for each, by in factors.items()}
        rows.append({"fact": name, "kind": "margin", **of})
    for k, name in enumerate(cells.judges):
        known, total = cells.known[k][:, now], cells.total[k][:, now]
        mean = total[0].sum() / known[0].sum() if known[0].sum() > 0 else np.nan
        variance = cells.square[k, now].sum() / known[0].sum() - mean**2 if np.isfinite(mean) else np.nan
        if variance > 0:
            of = {
                each: float((_mean(total[1], known[1], by[now]) - mean) / variance**0.5) for each, by in factors.items()
            }
            rows.append({"fact": name, "kind": "benchmark", **of})
    return pd.DataFrame(rows, columns=["fact", "kind", *factors])


def _shares(code: Floats, weight: Floats, size: int) -> Floats:
    held = np.bincount(code, weights=weight, minlength=size)
    return np.asarray(held / held.sum())


def _largest(differences: Floats) -> float:
    return float(differences[np.argmax(np.abs(differences))])


def _mean(total: Floats, known: Floats, factor: Floats) -> float:
    below = known @ factor
    return float(total @ factor / below) if below != 0 else np.nan
