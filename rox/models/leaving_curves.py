"""Retention curves, incidence by cause and months kept from counts at risk, crude and standardised."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from rox.models.leaving_counts import CAUSES, AtRisk
from rox.numerics.hazard import open_hazard_churn
from rox.numerics.incidence import Curves, LifeTable, cumulative_incidence, kaplan_meier
from rox.numerics.jackknife import Jackknife, bucket_jackknife, jackknife
from rox.numerics.restricted_mean import RestrictedMean, restricted_mean
from rox.numerics.survival_bands import Bounds, pointwise, simultaneous

Floats = NDArray[np.float64]
OWN = 2
"""How many of the causes, from the first, are the customer's own choice."""
YEAR = 12
SAME = 1e-9


@dataclass(frozen=True, kw_only=True, eq=False)
class Retention:
    """Who stays and who leaves why, by group, from an origin on the clock. t = times, g = groups.

    Attributes:
        kept: Share still there, by any cause gone.
        interval: Around it at each time; ``band``: around the whole curve.
        left: By cause that occurs, the share gone by it, other causes competing; ``left_interval`` around it.
        months: Mean months kept within the horizon.
        naive: One less Kaplan–Meier of own choice at the horizon, other causes taken for censoring, shape (g,).
    """

    kept: Curves
    interval: Bounds
    band: Bounds
    left: dict[str, Curves]
    left_interval: dict[str, Bounds]
    months: RestrictedMean
    naive: Floats


def retention(counts: AtRisk, *, origin: float, horizon: float, level: float) -> Retention:
    """Estimate curves; customers count with those they stand for.

    Where all customers of a group stand for as many, errors are Greenwood's; otherwise they come from leaving out one
    bucket of customers at a time, and the band rests on them.

    Args:
        counts: At risk.
        origin: On the clock; shares are of those still there then.
        horizon: Months after it.
        level: Of intervals and bands.
    """
    own = even(counts)
    table = _scaled(counts).since(origin) if not own else counts.table().since(origin)
    kept, left, months = _measured(table, origin, horizon)
    if not own:
        copies = [
            _measured(_scaled(counts, without=bucket).since(origin), origin, horizon)
            for bucket in range(counts.entries.shape[1])
        ]
        kept = _with_errors(kept, _se(kept.value, [each[0].value for each in copies]))
        left = {
            name: replace(curve, se=_se(curve.value, [each[1][name].value for each in copies]))
            for name, curve in left.items()
        }
        months = replace(months, se=_se(months.value, [each[2].value for each in copies]))
    chosen = [cause + 1 for cause in range(OWN) if table.events[:, :, cause].any()]
    naive = 1 - kaplan_meier(table.only(*chosen)).at(origin + horizon)[0][0] if chosen else np.zeros(len(counts.groups))
    return Retention(
        kept=kept,
        interval=pointwise(kept, level=level),
        band=simultaneous(kept, level=level),
        left=left,
        left_interval={name: pointwise(curve, level=level) for name, curve in left.items()},
        months=months,
        naive=np.asarray(naive),
    )


def even(counts: AtRisk) -> bool:
    """Say whether within each group all customers stand for as many."""
    ratio = counts.months[1].sum(0) / np.maximum(counts.months[0].sum(0), 1)
    return bool(np.allclose(counts.entries[1], ratio * counts.entries[0], rtol=SAME, atol=SAME))


def _scaled(counts: AtRisk, *, without: int | None = None) -> LifeTable:
    """Return the weighted table, weights scaled to the number of customers."""
    scale = counts.months[0].sum(0) / counts.months[1].sum(0)
    table = counts.table(weighted=True, without=without)
    return replace(
        table, entries=table.entries * scale, exits=table.exits * scale, events=table.events * scale[:, None]
    )


def _measured(table: LifeTable, origin: float, horizon: float) -> tuple[Curves, dict[str, Curves], RestrictedMean]:
    left = {
        name: cumulative_incidence(table, place + 1)
        for place, name in enumerate(CAUSES)
        if table.events[:, :, place].any()
    }
    return kaplan_meier(table), left, restricted_mean(table, origin + horizon, origin=origin)


def _se(value: Floats, copies: Sequence[Floats]) -> Floats:
    held = jackknife(value.ravel(), np.stack([each.ravel() for each in copies]))
    return np.asarray(held.se.reshape(value.shape))


def _with_errors(curve: Curves, se: Floats) -> Curves:
    """Give a curve other errors; those of its logarithm, on which the band rests, never fall."""
    with np.errstate(divide="ignore", invalid="ignore"):
        relative = np.where(curve.value > 0, np.nan_to_num(se) / curve.value, 0.0) ** 2
    return replace(curve, se=se, log_variance=np.maximum.accumulate(np.nan_to_num(relative), axis=0))


def yearly_churn(counts: AtRisk, *, level: float, min_cell: int) -> pd.DataFrame:
    """Estimate what a year of leaving by own choice takes, of customers and of their money, by group.

    1 − exp(−12·hazard), money being that of the month before; errors by bucket of customers.

    Returns:
        ``heads`` and ``money`` with ``_low`` and ``_high``, ``exits`` (by own choice; blank if fewer than ``min_cell``)
        and ``months`` at risk.
    """
    rows = {}
    for place, group in enumerate(counts.groups):
        exits = counts.events[0, :, :, place, :OWN].sum()
        own = counts.months[0, :, place].sum()
        heads = _churn(counts.events[1, :, :, place, :OWN].sum((1, 2)), counts.months[1, :, place], level)
        money = _churn(counts.money_left[:, place, :OWN].sum(1), counts.money[:, place], level)
        if exits == 0:
            none = open_hazard_churn(0.0, own, months=YEAR, level=level)
            heads = none.value, none.low, none.high
        rows[group] = {
            **dict(zip(("heads", "heads_low", "heads_high"), heads, strict=True)),
            **dict(zip(("money", "money_low", "money_high"), money, strict=True)),
            "exits": float(exits) if exits == 0 or exits >= min_cell else np.nan,
            "months": float(own),
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("group")


def _churn(gone: Floats, held: Floats, level: float) -> tuple[float, float, float]:
    """Return churn within a year and its interval; missing where nothing is held, or some hold less than nothing."""
    if not held.sum() > 0 or held.min() < 0 or gone.min() < 0:
        return np.nan, np.nan, np.nan
    seen = held > 0
    if not gone.any():
        return 0.0, 0.0, np.nan
    found = open_hazard_churn(gone[seen], held[seen], months=YEAR, cluster=np.flatnonzero(seen), level=level)
    return found.value, found.low, found.high


@dataclass(frozen=True, kw_only=True, eq=False)
class Standardised:
    """Curves had each group the mix of all customers at entry. t = months since entry, from 0.

    Attributes:
        groups: Names.
        kept: Shape (t, g), ``low`` and ``high`` likewise.
        months: Shape (g,) months kept to the last month, ``months_se`` their errors.
        covariance: Shape (g, g), of ``months``.
        strata: How many strata there are, and how many lack a group.
        left_out: Share of customers in those.
    """

    groups: tuple[str, ...]
    kept: Floats
    low: Floats
    high: Floats
    months: Floats
    covariance: Floats
    df: int
    strata: tuple[int, int]
    left_out: float


def standardised(frame: pd.DataFrame, groups: tuple[str, ...], *, horizon: int, level: float) -> Standardised | None:
    """Standardise survival since entry to the strata of all customers (g-formula with saturated strata; Robins 1986).

    Survival is estimated within each stratum of segment, tenure and money at entry, and averaged by the company's
    customers in it. Strata in which some group is not followed in every month are left out.

    Args:
        frame: ``group``, ``stratum``, ``time`` (months since entry), ``cause``, ``bucket``, ``n``, ``weight``.
        groups: Those to show.
        horizon: Months.
        level: Of the intervals.

    Returns:
        Nothing where no stratum has every group.
    """
    rows = frame[frame["group"].isin(groups) & (frame["time"] < horizon)]
    place = pd.Index(groups).get_indexer(pd.Index(rows["group"]))
    bucket, stratum, time = (rows[name].to_numpy(dtype=np.int64) for name in ("bucket", "stratum", "time"))
    gone = (rows["cause"] != "none").to_numpy()
    shape = (int(frame["bucket"].max()) + 1, 2, int(frame["stratum"].max()) + 1, len(groups), horizon)
    sums, people = np.zeros(shape), np.zeros(shape[2:])
    weight = rows["weight"].to_numpy(dtype=float)
    np.add.at(sums[:, 0], (bucket, stratum, place, time), weight)
    np.add.at(sums[:, 1], (bucket[gone], stratum[gone], place[gone], time[gone]), weight[gone])
    np.add.at(people, (stratum, place, time), rows["n"].to_numpy(dtype=float))
    whole = np.asarray((people > 0).all((1, 2)), dtype=np.bool_)
    target = sums.sum(0)[0, :, :, 0].sum(1)
    if not whole.any():
        return None
    lost = float(1 - target[whole].sum() / target.sum())
    found = bucket_jackknife(_average(whole), sums[:, :, whole], level=level)
    kept = found.estimate.reshape(horizon + 1, len(groups))
    low, high = _within(found, kept.shape, level)
    gather = np.tile(np.eye(len(groups)), horizon)
    cover = found.covariance[: horizon * len(groups), : horizon * len(groups)]
    return Standardised(
        groups=groups,
        kept=kept,
        low=low,
        high=high,
        months=kept[:-1].sum(0),
        covariance=gather @ cover @ gather.T,
        df=found.df,
        strata=(whole.size, int((~whole).sum())),
        left_out=lost,
    )


def _average(whole: NDArray[np.bool_]) -> Callable[[Floats], Floats]:
    """Return the statistic: survival at 0, 1, … averaged over strata, shape ((t + 1)·g,)."""

    def kept(total: Floats) -> Floats:
        risk, died = total
        hazard = np.divide(died, risk, out=np.zeros_like(died), where=risk > 0)
        alive = np.cumprod(1 - hazard, axis=-1)
        share = risk[:, :, 0].sum(1) / risk[:, :, 0].sum()
        mean = np.einsum("z,zgt->tg", share, alive)
        return np.asarray(np.vstack([np.ones((1, mean.shape[1])), mean]).ravel())

    return kept


def _within(found: Jackknife, shape: tuple[int, int], level: float) -> tuple[Floats, Floats]:
    """Return intervals on the complementary log-log scale, which keeps them between 0 and 1."""
    value, se = found.estimate.reshape(shape), found.se.reshape(shape)
    inner = (value > 0) & (value < 1)
    safe = np.where(inner, value, 0.5)
    step = stats.t.ppf((1 + level) / 2, found.df) * se / (safe * np.abs(np.log(safe)))
    low, high = safe ** np.exp(step), safe ** np.exp(-step)
    return np.where(inner, low, value), np.where(inner, high, value)
