"""Do places affect each other? What happens to customers of places without a start while their neighbours start."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from rox.core.check import Check, Verdict
from rox.core.errors import DataError, FitError
from rox.core.linked import Linked
from rox.models.one_place import PlaceSeries, place_series
from rox.models.phrases import p_value

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
LEVEL, POWER = 0.05, 0.80
FEWEST_WATCHED = 4
"""Places without a start that are watched."""


@dataclass(frozen=True, kw_only=True)
class Spillover:
    """What full exposure does to customers of a place without a start.

    Attributes:
        estimate: Change of the ratio to own baseline when the whole neighbourhood has started instead of none of it.
        se: Spread of the same estimate when starts are dealt anew.
        p_value: Share of deals with an estimate as far from zero.
        watched: Places without a start that are watched.
        months: Months in which they are.
        deals: Deals.
        checks: ROX-L23 (places affect each other), ROX-L24 (whether the test could tell), ROX-L25.
        exposure: By place watched: customers, mean exposure in the last month.
    """

    estimate: float
    se: float
    p_value: float
    watched: int
    months: int
    deals: int
    checks: tuple[Check, ...]
    exposure: pd.DataFrame


def spillover(
    data: Linked,
    near: pd.DataFrame,
    *,
    initiative: str | None = None,
    base: int = 3,
    history: int = 12,
    cap: float = 3.0,
    harmful: float = 0.02,
    deals: int = 999,
    rng: int | np.random.Generator | None = None,
) -> Spillover:
    """Test whether an initiative reaches customers of places that have not started, near places that have.

    A place's exposure in a month is the share of its neighbours, by nearness, that have started. The ratio of money to
    own baseline of the places watched is regressed on it, with effects of place and month. The instrument is the
    exposure less what it would be on average if starts were dealt anew (Borusyak & Hull 2023), because a place in the
    centre is exposed more whatever the lot says. The p-value deals the starts anew to the other places and keeps the
    places watched without one (Athey, Eckles & Imbens 2018): exact when the order was drawn by lot, and as good as the
    order was arbitrary otherwise.

    Watched are the places that never start. Where all starts fall in one month it is a random half of them, and the
    rest takes part in the deals; where too few never start, also those that start last, until they do.

    Args:
        data: The linked panel, with the starts.
        near: Square table, places by places: how near a row's place is to a column's place (customers in common,
            1 / distance, or 1 for neighbours), zero or more. The diagonal does not count.
        initiative: Name; may be missing when the study has one.
        base: Months before the first start whose mean is a customer's own baseline.
        history: Months before the first start that are used.
        cap: Largest ratio to the own baseline that counts.
        harmful: Effect of full exposure, as a share of own money, that would matter.
        deals: Times the starts are dealt anew.
        rng: Seed or generator.

    Raises:
        DataError: A table of nearness that cannot be used, or a panel without places.
        FitError: Too few places to watch, or exposures that do not differ.
    """
    generator = np.random.default_rng(rng)
    series = place_series(data, initiative=initiative, base=base, history=history, least=base, cap=cap)
    weights, names = _nearness(near, series)
    starts = _all_starts(data, series, names)
    watched, last = _watched(starts, names, series, generator)
    other = ~watched
    at = np.array([series.units.index(names[i]) for i in np.flatnonzero(watched)])
    seen = series.months < last
    outcome = _within(series.ratio[at][:, seen])
    share = weights[watched]

    exposed = share @ (starts[:, None] <= series.months[seen])
    pool, free = starts[other], np.flatnonzero(other)
    dealt = np.tile(starts, (deals, 1))
    dealt[:, free] = generator.permuted(np.tile(pool, (deals, 1)), axis=1)
    expected = share @ (dealt[:, :, None] <= series.months[seen]).mean(0)

    def surprise(begun: Floats) -> Floats:
        return _within(share @ (begun[:, None] <= series.months[seen]) - expected)

    actual = surprise(starts)
    reach = float((actual * _within(exposed)).sum())
    if (actual**2).sum() <= 1e-9 or reach <= 0:
        raise FitError(
            "The places that are watched are exposed just as chance would have it, so nothing can be compared.",
            ["give a table of nearness in which places without a start have different neighbours"],
        )
    moved = float((actual * outcome).sum())
    null = np.array([(surprise(each) * outcome).sum() for each in dealt])
    estimate, se = moved / reach, float(np.sqrt((null**2).mean())) / reach
    p = float((1 + (np.abs(null) >= abs(moved) - 1e-12).sum()) / (deals + 1))
    return Spillover(
        estimate=estimate,
        se=se,
        p_value=p,
        watched=int(watched.sum()),
        months=int(seen.sum()),
        deals=deals,
        checks=_checks(estimate, se, p, harmful, int((share.sum(1) == 0).sum())),
        exposure=pd.DataFrame(
            {"customers": series.sizes[at].astype(int), "exposure": exposed[:, -1]},
            index=pd.Index([series.units[i] for i in at], name="place"),
        ),
    )


def _checks(estimate: float, se: float, p: float, harmful: float, alone: int) -> tuple[Check, ...]:
    visible = float(stats.norm.isf(LEVEL / 2) + stats.norm.ppf(POWER)) * se
    found: dict[str, str | int | float] = {"effect": 100 * estimate, "p": p_value(p)}
    power: dict[str, str | int | float] = {"visible": 100 * visible, "harmful": 100 * harmful}
    checks = [
        Check(code="ROX-L23", verdict=Verdict.DEMOTE if p < LEVEL else Verdict.PASS, values=found),
        Check(code="ROX-L24", verdict=Verdict.NOTE if visible > harmful else Verdict.PASS, values=power),
    ]
    if alone:
        checks.append(Check(code="ROX-L25", verdict=Verdict.NOTE, values={"places": alone}))
    return tuple(checks)


def _nearness(near: pd.DataFrame, series: PlaceSeries) -> tuple[Floats, tuple[str, ...]]:
    """Return shares of the neighbourhood, shape (places, places), and the places' names."""
    table = near.copy()
    table.index, table.columns = table.index.astype(str), table.columns.astype(str)
    faults = []
    if table.index.has_duplicates or table.columns.has_duplicates or set(table.index) != set(table.columns):
        faults.append("rows and columns must be the same places, each once")
    elif not set(series.units) & set(table.index):
        faults.append(f"none of its places is one of the panel's, such as {series.units[0]!r}")
    values = table.to_numpy(dtype=float)
    if not np.isfinite(values).all() or (values < 0).any():
        faults.append("nearness must be a finite number of zero or more; 0 for places that are not near")
    if faults:
        raise DataError("The table of nearness cannot be used.", faults)
    square = table.loc[:, list(table.index)].to_numpy(dtype=float).copy()
    np.fill_diagonal(square, 0.0)
    total = square.sum(1, keepdims=True)
    return square / np.where(total > 0, total, 1.0), tuple(table.index)


def _all_starts(data: Linked, series: PlaceSeries, names: tuple[str, ...]) -> Floats:
    """Return the start of every place near another, whether or not its own customers can be followed."""
    rows = data.starts[data.starts["initiative"] == series.initiative]
    starts = rows.assign(unit=rows["unit"].astype(str)).groupby("unit")["start"].min().astype(float)
    return np.asarray(starts.reindex(list(names)).fillna(np.inf), dtype=np.float64)


def _watched(
    starts: Floats, names: tuple[str, ...], series: PlaceSeries, rng: np.random.Generator
) -> tuple[Bools, float]:
    """Choose the places that are watched, and the month until which they are."""
    followed = np.isin(names, series.units)
    never = np.isinf(starts)
    watched, last = followed & never, np.inf
    dates = np.unique(starts[~never])
    if watched.sum() < FEWEST_WATCHED and dates.size > 1:
        last = float(dates[-1])
        watched, dates = followed & (starts >= last), dates[:-1]
    if dates.size == 1:
        candidates = np.flatnonzero(watched)
        watched = np.isin(np.arange(starts.size), rng.permutation(candidates)[: (candidates.size + 1) // 2])
    if watched.sum() < FEWEST_WATCHED:
        raise FitError(
            f"Only {int(watched.sum())} places without a start can be watched; {FEWEST_WATCHED} are needed.",
            ["wait until the roll-out has places left that are followed and near others, or watch smaller places"],
        )
    return watched, last


def _within(values: Floats) -> Floats:
    """Take out means of places and months."""
    return np.asarray(values - values.mean(1, keepdims=True) - values.mean(0) + values.mean())
