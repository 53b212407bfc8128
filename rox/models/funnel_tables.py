"""What a comparison of two forms shows: both ways of saying the change, steps, mix, money, and what censoring hides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from rox.models.funnel_arms import Compared, periods
from rox.models.funnel_starters import PLACES
from rox.models.population import shown
from rox.numerics.funnel import attribute_steps, share_change
from rox.numerics.funnel_mix import FactorMix, shapley_mix
from rox.numerics.funnel_strata import mantel_haenszel
from rox.numerics.intervals import wilson_interval

LEVEL = 0.90
NORMAL_90 = 1.6448536269514722
SHARES = [
    "old",
    "new",
    "points",
    "points_low",
    "points_high",
    "relative",
    "relative_low",
    "relative_high",
]
"""Shares and their change: percent, percentage points, and percent of the old form."""


def conversion_table(headline: Compared) -> pd.DataFrame:
    """Give the change of the share with a funded account, and of the share whose account holds money.

    Returns:
        Rows ``funded`` and ``active``; columns ``SHARES`` (90% intervals), ``starters_old``, ``starters_new``.
    """
    places = {"funded": headline.funded}
    if headline.has_money:
        places["active"] = headline.steps
    rows = {name: _both_ways(headline, place) for name, place in places.items()}
    table = pd.DataFrame.from_dict(rows, orient="index", columns=SHARES).rename_axis("outcome")
    return table.assign(starters_old=headline.old, starters_new=headline.new)


def _both_ways(compared: Compared, place: int) -> list[float]:
    """Return the numbers of ``SHARES`` for one outcome."""
    points, error = compared.difference(place)
    log_ratio, log_error = compared.log_ratio(place)
    ends = (log_ratio, log_ratio - NORMAL_90 * log_error, log_ratio + NORMAL_90 * log_error)
    return [
        100 * float(compared.form(False)[place]),
        100 * float(compared.form(True)[place]),
        *(100 * each for each in (points, points - NORMAL_90 * error, points + NORMAL_90 * error)),
        *(100 * float(np.expm1(each)) for each in ends),
    ]


def steps_table(headline: Compared, names: Sequence[str]) -> pd.DataFrame:
    """Say at which step the change comes about.

    Returns:
        One row per step and ``all``: ``old`` and ``new``, percent passing it of those who come to it; ``points`` (with
        ``se``), percentage points of all who start that it adds, which add up to the change; ``relative``, percent of
        the old form's share that it adds, which add up too. Nothing where a form has nobody at some step.
    """
    forms = [headline.form(new)[: headline.steps] for new in (False, True)]
    columns = ["old", "new", "points", "se", "relative"]
    if min(float(each.min()) for each in forms) <= 0:
        return pd.DataFrame(columns=columns).rename_axis("step")
    old, new = forms
    parts = attribute_steps(new, old, headline.steps_covariance())
    table = pd.DataFrame(
        {
            "old": 100 * old / np.append(1.0, old[:-1]),
            "new": 100 * new / np.append(1.0, new[:-1]),
            "points": 100 * parts.contributions,
            "se": 100 * parts.se,
            "relative": 100 * parts.contributions / old[-1],
        },
        index=pd.Index(names, name="step"),
    )
    points, error = headline.difference(headline.funded)
    table.loc["all"] = [100 * old[-1], 100 * new[-1], 100 * points, 100 * error, 100 * points / old[-1]]
    return table


def mix_table(designs: Mapping[str, Compared], lot: pd.DataFrame | None) -> pd.DataFrame:
    """Put side by side what the same starters say when they are read in other ways.

    Args:
        designs: Comparisons by name.
        lot: Starters whose form was drawn by lot, for one common ratio over channels and devices.

    Returns:
        One row per design: ``SHARES`` of the funded account, ``starters_old``, ``starters_new``, and ``word``, the key
        of what it is. ``mantel_haenszel`` has no shares of its own.
    """
    rows = {name: [*_both_ways(each, each.funded), each.old, each.new] for name, each in designs.items()}
    if lot is not None:
        rows["mantel_haenszel"] = _common(lot)
    table = pd.DataFrame.from_dict(rows, orient="index", columns=[*SHARES, "starters_old", "starters_new"])
    table["word"] = [f"funnel.design.{name}" for name in table.index]
    return table.rename_axis("design")


def _common(lot: pd.DataFrame) -> list[float]:
    counted = lot.groupby([*PLACES, "new"])["funded"].agg(["sum", "size"]).unstack("new", fill_value=0)
    found = mantel_haenszel(
        counted["sum", True], counted["size", True], counted["sum", False], counted["size", False], level=LEVEL
    )
    return [
        np.nan,
        np.nan,
        *(100 * each for each in (found.difference, *found.difference_interval)),
        *(100 * (each - 1) for each in (found.ratio, *found.ratio_interval)),
        float((~lot["new"]).sum()),
        float(lot["new"].sum()),
    ]


def money_by_design(designs: Mapping[str, Compared], headline: str) -> pd.DataFrame:
    """Give money per starter that the new form adds, by design, the headline first.

    Args:
        designs: Comparisons by name.
        headline: Name of the one that answers.

    Returns:
        One row per design: ``estimate``, ``se``, ``low``, ``high`` (90%) and ``word``, the key of what it is.
    """
    order = [headline, *(name for name in designs if name != headline)]
    found = {name: designs[name].difference(designs[name].size - 1) for name in order}
    table = pd.DataFrame.from_dict(found, orient="index", columns=["estimate", "se"]).rename_axis("design")
    table["low"] = table["estimate"] - NORMAL_90 * table["se"]
    table["high"] = table["estimate"] + NORMAL_90 * table["se"]
    table["word"] = [f"funnel.design.{name}" for name in table.index]
    return table


def parts_of_change(rows: pd.DataFrame) -> FactorMix:
    """Split the before/after change of the funded share over who starts (channel, device) and what becomes of them.

    Args:
        rows: Starters; those of the old form came before.
    """

    def table(new: bool, what: str) -> np.ndarray:
        mine = rows[rows["new"] == new]
        found = mine.groupby(list(PLACES))["funded"].agg(what).reindex(grid, fill_value=0.0)
        return found.to_numpy(dtype=float).reshape(len(levels[0]), len(levels[1]))

    levels = [sorted(rows[place].unique()) for place in PLACES]
    grid = pd.MultiIndex.from_product(levels, names=list(PLACES))
    return shapley_mix(table(True, "size"), table(True, "sum"), table(False, "size"), table(False, "sum"))


def parts_table(parts: FactorMix) -> pd.DataFrame:
    """List the parts of the before/after change in percentage points: ``channel``, ``device``, ``rate``, ``all``."""
    points = [*(100 * parts.mix), 100 * parts.rate, 100 * parts.total]
    return pd.DataFrame({"points": points}, index=pd.Index([*PLACES, "rate", "all"], name="part"))


def value_table(headline: Compared) -> pd.DataFrame:
    """Say what a starter and an opener are worth: who needed the new form to open holds something else than the mean.

    Returns:
        Rows ``starter_old``, ``starter_new``, ``starter_gain`` (money per starter), ``opener_old`` (per account of the
        old form) and ``opener_extra`` (per account that the new form adds; its interval is Fieller's, missing where it
        has no two ends); columns ``estimate``, ``low``, ``high``.
    """
    money = headline.size - 1
    rows = {}
    for name, place in (("starter_old", money), ("starter_new", money + headline.size)):
        weights = np.zeros(2 * headline.size)
        weights[place] = 1.0
        rows[name] = _around(*headline.joint.contrast(weights))
    rows["starter_gain"] = _around(*headline.difference(money))
    rows["opener_old"] = _around(*headline.mean_opener())
    extra = headline.extra_opener(LEVEL)
    has_ends = extra.robust_set.kind == "interval"
    ends = (extra.robust_set.low, extra.robust_set.high) if has_ends else (np.nan, np.nan)
    rows["opener_extra"] = [extra.value if has_ends else np.nan, *ends]
    return pd.DataFrame.from_dict(rows, orient="index", columns=["estimate", "low", "high"]).rename_axis("of")


def _around(value: float, error: float) -> list[float]:
    return [value, value - NORMAL_90 * error, value + NORMAL_90 * error]


def censoring_table(rows: pd.DataFrame) -> pd.DataFrame:
    """Show what old and new form side by side would read if starters counted who had no time yet.

    Args:
        rows: All starters.

    Returns:
        Rows ``counted`` and ``everyone``: ``starters``; ``old`` and ``new``, percent with a funded account;
        ``relative``, percent.
    """
    found = {}
    for name, some in (("counted", rows[rows["followed"]]), ("everyone", rows)):
        chosen = periods(some)
        sums = chosen.groupby("new")["funded"].agg(["sum", "size"]).reindex([False, True], fill_value=0)
        (old, n_old), (new, n_new) = sums.to_numpy(dtype=float)
        known = min(old, new) > 0
        change = share_change(new, n_new, old, n_old) if known else None
        numbers = (np.nan, np.nan, np.nan) if change is None else (change.base, change.new, change.relative)
        found[name] = [float(len(some)), *(100 * each for each in numbers)]
    columns = ["starters", "old", "new", "relative"]
    return pd.DataFrame.from_dict(found, orient="index", columns=columns).rename_axis("who")


def months_table(rows: pd.DataFrame, min_cell: int) -> pd.DataFrame:
    """Give the funded share month by month and form, in percent with 90% intervals; small cells are blanked.

    Args:
        rows: Starters who were followed up.
        min_cell: Starters a cell needs.
    """
    counted = rows.groupby(["month", "new"])["funded"].agg(["sum", "size"]).reset_index()
    ends = [
        wilson_interval(passed / n, n, level=LEVEL) for passed, n in zip(counted["sum"], counted["size"], strict=True)
    ]
    table = pd.DataFrame(
        {
            "starters": counted["size"],
            "funded": 100 * counted["sum"] / counted["size"],
            "low": [100 * low for low, _ in ends],
            "high": [100 * high for _, high in ends],
        }
    )
    table = shown(table, counted["size"], min_cell)
    table.insert(0, "variant", np.where(counted["new"], "new", "old"))
    table.insert(0, "month", counted["month"])
    return table
