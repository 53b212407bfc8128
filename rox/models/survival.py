"""How long promoters, passives and detractors stay: a description, with the mix of segments held equal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from lifelines import KaplanMeierFitter
from lifelines.utils import restricted_mean_survival_time

from rox.core.case import EVERYONE
from rox.models.population import Population

CATEGORIES: Mapping[str, tuple[int, int]] = {"promoter": (9, 10), "passive": (7, 8), "detractor": (0, 6)}
STILL_FOLLOWED = 0.05
"""Share that must still be followed at a horizon for its figure to be shown."""


def survival_table(panel: pd.DataFrame, people: Population, horizons: Sequence[int], min_cell: int) -> pd.DataFrame:
    """Estimate the share of customers still there some months after their first answer, by its category.

    Kaplan–Meier with the month of the answer as zero, over exits of any kind, so that nothing competes. The row for all
    weights the segments by the company's customers, the same in each category. ``months`` is the mean number of months
    kept within the longest horizon.

    Args:
        panel: Checked panel.
        people: Segments and their shares.
        horizons: Months.
        min_cell: Smallest number of customers that may be shown.

    Returns:
        Indexed by ``group`` and ``category``: ``customers``, ``kept_<h>`` per horizon, ``months``, ``suppressed``.
    """
    spells = _spells(panel)
    rows = {
        (group, category): _curve(part, horizons, min_cell)
        for group in people.groups
        for category, part in _by_category(spells[spells["segment"] == group])
    }
    table = pd.DataFrame.from_dict(rows, orient="index")
    table.index = pd.MultiIndex.from_tuples(rows, names=["group", "category"])
    everyone = {(EVERYONE, category): _standardised(table, category, people) for category in CATEGORIES}
    whole = pd.DataFrame.from_dict(everyone, orient="index").set_axis(
        pd.MultiIndex.from_tuples(everyone, names=["group", "category"])
    )
    both = table if people.groups == (EVERYONE,) else pd.concat([table, whole])
    numbers = [name for name in both if name != "customers"]
    both["suppressed"] = both["customers"].lt(min_cell)
    both.loc[both["suppressed"], ["customers", *numbers]] = np.nan
    return both.reset_index().set_index("group")


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


def _by_category(spells: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    return [(name, spells[spells["score"].between(low - 0.5, high + 0.5)]) for name, (low, high) in CATEGORIES.items()]


def _curve(spells: pd.DataFrame, horizons: Sequence[int], min_cell: int) -> dict[str, float]:
    longest = max(horizons)
    row = {"customers": float(len(spells))} | {f"kept_{h}": np.nan for h in horizons} | {"months": np.nan}
    if len(spells) < min_cell:
        return row
    curve = KaplanMeierFitter().fit(spells["months"], spells["gone"])
    need = max(min_cell, STILL_FOLLOWED * len(spells))
    followed = {h: int((spells["months"] >= h).sum()) >= need for h in horizons}
    row |= {f"kept_{h}": float(curve.predict(h)) for h in horizons if followed[h]}
    if followed[longest]:
        row["months"] = float(restricted_mean_survival_time(curve, t=longest))
    return row


def _standardised(table: pd.DataFrame, category: str, people: Population) -> dict[str, float]:
    part = table.xs(category, level="category").reindex(list(people.groups))
    out = {"customers": float(part["customers"].sum())}
    for name in part.columns.drop("customers"):
        shown = part[name].notna().to_numpy()
        weights = people.shares * shown
        covered = weights.sum() >= 0.95
        out[name] = float(np.nansum(part[name].to_numpy() * weights) / weights.sum()) if covered else np.nan
    return out
