"""Whether the lot of an experiment chose places or customers, told from the arms themselves."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from rox.core.errors import DataError

PER_PLACE = 1.5
"""Customers per place from which on arms that never differ inside a place mean that places were assigned."""
TOGETHER = 1e-6
"""P-value below which customers of a place are in one arm more often than a lot of customers would put them."""


def places(
    everyone: pd.DataFrame, rows: pd.DataFrame, block: NDArray[np.int64], name: str
) -> tuple[NDArray[np.int64], bool]:
    """Number the places if the lot chose places, the customers if it chose customers.

    Places were chosen when no two customers of a place are in different arms. Where that holds for most, but not for
    all, the errors of neither reading would be right, and the data are refused.

    Args:
        everyone: All who were drawn: ``unit`` and ``arm``.
        rows: Those who are used: ``unit`` and ``customer``.
        block: What the lot was drawn within, a code for each of ``everyone``.
        name: The experiment.

    Returns:
        A code for each of ``rows``, and whether it is that of a place.

    Raises:
        DataError: Arms follow places, but some places have several, or some customers no place.
    """
    customers = rows["customer"].to_numpy(dtype=np.int64)
    known = everyone["unit"].notna().to_numpy()
    if not known.any():
        return customers, False
    inside = everyone[known]
    counts = pd.crosstab(inside["unit"].astype(str), inside["arm"])
    mixed = counts[(counts > 0).sum(axis=1) > 1]
    if known.all() and mixed.empty:
        if len(everyone) < PER_PLACE * len(counts):
            return customers, False
        return np.unique(rows["unit"].astype(str).to_numpy(), return_inverse=True)[1].astype(np.int64), True
    if together(inside["unit"], inside["arm"], block[known]) < TOGETHER:
        faults = []
        if len(mixed):
            odd = int((mixed.sum(axis=1) - mixed.max(axis=1)).sum())
            faults.append(
                f"{odd} customers of {len(mixed)} places are not in the arm of most customers of their place; correct "
                "their place to the one the lot was drawn for, or leave them out of the customers table"
            )
        if not known.all():
            faults.append(f"{int((~known).sum())} customers have no place; give each the place it had at the lot")
        faults.append("if customers were drawn, with other shares in other places, declare the place as `stratum`")
        raise DataError(f"The arms of {name} follow places, but not for all customers.", faults)
    return customers, False


def together(unit: pd.Series, arm: pd.Series, block: NDArray[np.int64]) -> float:
    """Return the p-value that arms follow units within blocks no more than if customers had been drawn.

    Pearson's chi-squared against its law under permutation inside blocks, by a gamma law with the exact mean and
    variance (Dawson 1987, The American Statistician 41), which holds for units of few customers too.

    Args:
        unit: Shape (n,): the unit of each customer.
        arm: Shape (n,).
        block: Shape (n,): what the lot was drawn within.
    """
    rows = pd.DataFrame({"block": block, "unit": unit.astype(str).to_numpy(), "arm": arm.to_numpy()})
    cells = rows.groupby(["block", "unit", "arm"]).size().rename("n").reset_index()
    sides = [cells.groupby(["block", side])["n"].transform("sum") for side in ("unit", "arm")]
    total = rows.groupby("block").size().astype(float)
    statistic = total * ((cells["n"] ** 2 / (sides[0] * sides[1])).groupby(cells["block"]).sum() - 1)
    margins = [rows.groupby(["block", side]).size() for side in ("unit", "arm")]
    levels = [each.groupby("block").size() for each in margins]
    use = (levels[0] > 1) & (levels[1] > 1) & (total > 3)
    n = total[use]
    k = [each[use] for each in levels]
    even = [(each - 1) * (n - each) / (n - 1) for each in k]
    odd = [
        (n * (1 / side).groupby("block").sum()[use] - each**2) / (n - 2) for side, each in zip(margins, k, strict=True)
    ]
    mean = float((n * (k[0] - 1) * (k[1] - 1) / (n - 1)).sum())
    spread = 2 * n / (n - 3) * (even[0] - odd[0]) * (even[1] - odd[1]) + n**2 / (n - 1) * odd[0] * odd[1]
    variance = float(spread.sum())
    if not variance > 1e-9 * mean:
        return 1.0
    return float(stats.gamma.sf(float(statistic[use].sum()), mean**2 / variance, scale=variance / mean))
