"""How long promoters, passives and detractors stay: a description, with the mix of segments held equal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from rox.core.case import EVERYONE
from rox.models.population import Population
from rox.numerics.incidence import kaplan_meier, life_table
from rox.numerics.restricted_mean import restricted_mean

Floats = NDArray[np.float64]

CATEGORIES: Mapping[str, tuple[int, int]] = {"promoter": (9, 10), "passive": (7, 8), "detractor": (0, 6)}
HIGHEST = 10
STILL_FOLLOWED = 0.05
"""Share that must still be followed at a horizon for its figure to be shown."""
COVERED = 0.95
"""Share of the company's customers whose segments must have a figure before there is one for all."""


def survival_table(
    panel: pd.DataFrame, people: Population, horizons: Sequence[int], min_cell: int, *, level: float = 0.9
) -> pd.DataFrame:
    """Estimate the share of customers still there some months after their first answer, by its category.

    Kaplan–Meier with the month of the answer as zero, over exits of any kind, so that nothing competes. The row for all
    weights the segments by the company's customers, the same in each category. ``months`` is the mean number of months
    kept within the longest horizon.

    Args:
        panel: Checked panel.
        people: Segments and their shares.
        horizons: Months.
        min_cell: Smallest number of customers that may be shown.
        level: Of the intervals at each horizon.

    Returns:
        Indexed by ``group``: ``category``, ``customers``, ``kept_<h>`` per horizon and ``months``, each of these with
        ``_low`` and ``_high``, ``suppressed``.

    Raises:
        ValueError: Nobody left.
    """
    customers, value, se = _by_cell(_spells(panel), people.groups, horizons, min_cell)
    groups = people.groups
    if groups != (EVERYONE,):
        whole, error = _standardised(value, se, people.shares)
        value, se = np.concatenate([value, whole[None]]), np.concatenate([se, error[None]])
        customers, groups = np.vstack([customers, customers.sum(0)]), (*groups, EVERYONE)
    low, high = _interval(value, se, level)
    columns: dict[str, Floats] = {"customers": customers.ravel()}
    for place, name in enumerate([*(f"kept_{h}" for h in horizons), "months"]):
        columns |= {name + end: each[..., place].ravel() for end, each in (("", value), ("_low", low), ("_high", high))}
    table = pd.DataFrame(columns, index=pd.Index(np.repeat(groups, len(CATEGORIES)), name="group"))
    small = (table["customers"] < min_cell).to_numpy()
    table.loc[small] = np.nan
    table.insert(0, "category", list(CATEGORIES) * len(groups))
    return table.assign(suppressed=small)


def _spells(panel: pd.DataFrame) -> pd.DataFrame:
    """One row per answering customer: the first answer, months followed after it, whether they ended in an exit."""
    scored = panel[panel["score"].notna()].drop_duplicates("customer")
    final = panel.drop_duplicates("customer", keep="last").set_index("customer")[["month", "exit_month"]]
    end = final.loc[scored["customer"]]
    months = end["month"].to_numpy() - (scored["month"] - scored["score_age"]).to_numpy()
    gone = end["exit_month"].to_numpy() <= end["month"].to_numpy() + 1
    return pd.DataFrame(
        {"segment": scored["segment"].to_numpy(), "score": scored["score"].to_numpy(), "months": months, "gone": gone}
    )


def _by_cell(
    spells: pd.DataFrame, groups: Sequence[str], horizons: Sequence[int], min_cell: int
) -> tuple[Floats, Floats, Floats]:
    """Estimate where enough customers are followed.

    Returns:
        Customers, shape (g, c); shares kept at the horizons and months within the longest one, missing where too few
        are followed, and their standard errors, shape (g, c, h + 1).
    """
    begins = np.array([low for low, _ in CATEGORIES.values()]) - 0.5
    category = (spells["score"].to_numpy()[:, None] < begins).sum(1)
    segment = pd.Index(groups).get_indexer(pd.Index(spells["segment"]))
    usable = (segment >= 0) & spells["score"].between(min(begins), HIGHEST + 0.5).to_numpy()
    known, cell = spells[usable], (segment * len(CATEGORIES) + category)[usable]
    table = life_table(None, known["months"], known["gone"].astype(int), cell)
    reach = known["months"].to_numpy()[:, None] >= np.asarray(horizons)
    size = len(groups) * len(CATEGORIES)
    customers = np.bincount(cell, minlength=size).astype(float)
    followed = np.stack([np.bincount(cell[each], minlength=size) for each in reach.T], axis=1)
    enough = (followed >= np.maximum(min_cell, STILL_FOLLOWED * customers)[:, None]) & (customers >= min_cell)[:, None]
    value, se = np.full((2, size, len(horizons) + 1), np.nan)
    kept = kaplan_meier(table).at(horizons)
    for into, found in ((value, kept[0]), (se, kept[1])):
        into[table.groups, :-1] = np.where(enough[table.groups], found.T, np.nan)
    furthest = enough[table.groups, int(np.argmax(horizons))]
    if furthest.any():
        part = {name: getattr(table, name)[:, furthest] for name in ("entries", "exits", "events")}
        mean = restricted_mean(replace(table, groups=table.groups[furthest], **part), max(horizons))
        value[mean.groups, -1], se[mean.groups, -1] = mean.value, mean.se
    shape = (len(groups), len(CATEGORIES))
    return customers.reshape(shape), value.reshape(*shape, -1), se.reshape(*shape, -1)


def _standardised(value: Floats, se: Floats, shares: Floats) -> tuple[Floats, Floats]:
    """Weight segments by the company's customers; missing where those with a figure are too few of them."""
    weights = shares[:, None, None] * ~np.isnan(value)
    covered = weights.sum(0)
    with np.errstate(invalid="ignore"):
        weights = np.where(covered >= COVERED, weights / covered, np.nan)
    return np.asarray((weights * np.nan_to_num(value)).sum(0)), np.sqrt(((weights * np.nan_to_num(se)) ** 2).sum(0))


def _interval(value: Floats, se: Floats, level: float) -> tuple[Floats, Floats]:
    """Return intervals: of shares on the complementary log-log scale, which keeps them within 0..1, of months plain."""
    z = stats.norm.ppf((1 + level) / 2)
    low, high = value - z * se, value + z * se
    share = value[..., :-1]
    inner = (share > 0) & (share < 1)
    safe = np.where(inner, share, 0.5)
    step = z * se[..., :-1] / (safe * np.abs(np.log(safe)))
    low[..., :-1] = np.where(inner, safe ** np.exp(step), share)
    high[..., :-1] = np.where(inner, safe ** np.exp(-step), share)
    return low, high
