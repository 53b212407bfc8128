"""Read drivers off what was measured and drawn: shares, ranks, pillars, asymmetry, quadrants."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from rox.core.study import Scale
from rox.metrics.driver_sums import Floats, Given
from rox.metrics.drivers_contrasts import LEAST_PART, Cuts
from rox.numerics import importance as shares
from rox.numerics.arrays import Bools

CUT = 0.2
"""Asymmetry beyond which a driver is called must-be or attractive."""
SURE = 0.8
"""Probability from which a driver is put into a quadrant."""
RECORDED = ("event", "topic")
"""Kinds of drivers that nobody was asked about."""
CONTRASTS = ("penalty", "reward", "latent_penalty", "latent_reward", "below", "above")


@dataclass(frozen=True, kw_only=True, eq=False)
class Contrasted:
    """What low and high ratings go with.

    Attributes:
        cuts: Of each rating.
        known: (r,) whether the ratings have enough of their own to tell it.
        low_share: (r,) share of the answers with a low rating.
        high_share: (r,) share with a high one.
        slopes: (replicate, 6r) as of :func:`rox.metrics.drivers_contrasts.contrast_slopes`.
    """

    cuts: tuple[Cuts, ...]
    known: Bools
    low_share: Floats
    high_share: Floats
    slopes: Floats


@dataclass(frozen=True, kw_only=True, eq=False)
class Measured:
    """What was measured, as one vector, with its draws and its covariance; :meth:`part` says where things stand in it.

    Attributes:
        drivers: How many drivers.
        ratings: How many of them are ratings; they come first.
        parts: How many parts the drivers are grouped into.
        whole: (v,) the vector.
        errors: (v,) Monte Carlo standard errors of the shares, 0 for the rest; the covariance holds them too.
        drawn: (d, v) its draws.
        covariance: (v, v).
    """

    drivers: int
    ratings: int
    parts: int
    whole: Floats
    errors: Floats
    drawn: Floats
    covariance: Floats

    def part(self, name: str) -> slice:
        """Say where one stands: ``share``, ``mean``, ``slope``, ``penalty``, ``latent_penalty``, …, ``pillar``."""
        d, r = self.drivers, self.ratings
        starts = {"share": (0, d), "mean": (d + 1, d), "slope": (2 * d + 1, d)}
        starts |= {each: (3 * d + 1 + k * r, r) for k, each in enumerate(CONTRASTS)}
        starts["pillar"] = (3 * d + 1 + len(CONTRASTS) * r, self.parts)
        first, length = starts[name]
        return slice(first, first + length)


def parts_of(rows: Given, drivers: Mapping[str, Scale]) -> dict[str, list[int]]:
    """Group the drivers by the pillars that the study declares; those without one are parts by themselves.

    Returns:
        Places of the drivers by name of the part, pillars by their English name; empty where nothing is declared.
    """
    parts: dict[str, list[int]] = {}
    for place, name in enumerate(rows.drivers):
        pillar = drivers[name].pillar if name in drivers else None
        parts.setdefault(name if pillar is None else pillar.en, []).append(place)
    return parts if any(name in drivers and drivers[name].pillar for name in rows.ratings) else {}


def pillars(
    rows: Given, cells: Measured, parts: Mapping[str, Sequence[int]], level: float, *, recorded_first: bool
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Rank the parts that drivers are grouped into, what the company records first if told so."""
    if not parts:
        return pd.DataFrame(), pd.DataFrame()
    frame = pd.DataFrame({"driver": list(parts)})
    alone = {name: _kind(rows, name) for name in rows.drivers}
    frame["kind"] = [alone.get(name, "pillar") for name in parts]
    frame["drivers"] = [", ".join(rows.drivers[place] for place in places) for places in parts.values()]
    at = cells.part("pillar")
    ranked, chances = _ranked(cells.drawn[:, at], level)
    frame = frame.assign(share=cells.whole[at], **ranked)
    order = _order(frame, recorded_first)
    ranks = pd.DataFrame(chances, index=pd.Index(list(parts), name="driver"), columns=range(1, len(parts) + 1))
    return frame.loc[order].reset_index(drop=True), ranks.iloc[order]


def _order(frame: pd.DataFrame, recorded_first: bool) -> Any:
    later = recorded_first & ~frame["kind"].isin(RECORDED)
    return frame.assign(later=later).sort_values(["later", "share"], ascending=[True, False], kind="stable").index


def _ranked(drawn: Floats, level: float) -> tuple[dict[str, Floats], Floats]:
    """Return limits of shares, the probability of being the first and limits of the rank; and that of every rank."""
    tail = (1 - level) / 2
    low, high = np.quantile(drawn, [tail, 1 - tail], axis=0)
    chances = shares.rank_probabilities(drawn)
    held = chances.cumsum(1)
    told = {"low": np.maximum(low, 0.0), "high": high, "p_first": chances[:, 0]}
    told |= {"rank_low": 1 + (held < tail).sum(1), "rank_high": 1 + (held < 1 - tail).sum(1)}
    return told, chances


def ranking(
    rows: Given,
    cells: Measured,
    sums: Floats,
    matrix: Floats,
    about: Floats | None,
    level: float,
    *,
    recorded_first: bool,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Put what is known of each driver into one row, the most telling first; and the probabilities of all ranks.

    Args:
        rows: The answers.
        cells: What was measured.
        sums: As of :func:`rox.metrics.driver_sums.pair_sums`.
        matrix: Correlations of drivers, chance and score.
        about: Products about each customer's own mean; None with too few repeated answers.
        level: Level of the intervals.
        recorded_first: Whether what the company records comes first.
    """
    count = len(rows.drivers)
    tail = (1 - level) / 2
    without_chance = np.r_[0:count, count + 1]
    inside = matrix[np.ix_(without_chance, without_chance)]
    alone, added = shares.first_and_last(inside)
    share, mean, slope = (cells.part(name) for name in ("share", "mean", "slope"))
    ranked, chances = _ranked(cells.drawn[:, share], level)
    given_weight = np.diagonal(sums.sum(0)[0])
    limits = {
        f"{name}_{end}": np.quantile(cells.drawn[:, at], each, axis=0)
        for name, at in (("mean", mean), ("slope", slope))
        for end, each in (("low", tail), ("high", 1 - tail))
    }
    columns = {
        "driver": rows.drivers,
        "kind": [_kind(rows, name) for name in rows.drivers],
        "mean": cells.whole[mean],
        "mean_low": limits["mean_low"],
        "mean_high": limits["mean_high"],
        "share": cells.whole[share],
        "low": ranked["low"],
        "high": ranked["high"],
        "share_error": cells.errors[share],
        "johnson": shares.johnson(inside).shares,
        "alone": alone,
        "added": added,
        "p_first": ranked["p_first"],
        "rank_low": ranked["rank_low"],
        "rank_high": ranked["rank_high"],
        "above_chance": (cells.drawn[:, share] > cells.drawn[:, [count]]).mean(0),
        "within": _within(about, count),
        "given": given_weight[:count] / given_weight[-1],
        "slope": cells.whole[slope],
        "slope_low": limits["slope_low"],
        "slope_high": limits["slope_high"],
    }
    frame = pd.DataFrame(columns)
    ranks = pd.DataFrame(chances, index=pd.Index(rows.drivers, name="driver"), columns=range(1, count + 1))
    order = _order(frame, recorded_first)
    return frame.loc[order].reset_index(drop=True), ranks.iloc[order]


def _within(about: Floats | None, count: int) -> Floats:
    """Return shares within customers, NaN for what never changes there; for all if one is the sum of others there."""
    found = np.full(count, np.nan)
    if about is None:
        return found
    moving = np.flatnonzero(np.diagonal(about) > 0)
    if len(moving) < 2 or moving[-1] != count:
        return found
    matrix = shares.correlation(about[np.ix_(moving, moving)])
    if not shares.dependent(matrix[:-1, :-1]):
        found[moving[:-1]] = shares.lmg(matrix, rng=0).shares
    return found


def _kind(rows: Given, name: str) -> str:
    return "rating" if name in rows.ratings else name.partition("_")[0].removesuffix("s")


def contrasts(rows: Given, cells: Measured, contrasted: Contrasted, level: float) -> pd.DataFrame:
    """Say of each rating whether it hurts more when low than it helps when high."""
    ends = [(1 - level) / 2, (1 + level) / 2]
    found = []
    for place, (name, cuts) in enumerate(zip(rows.ratings, contrasted.cuts, strict=True)):
        numbers: dict[str, Any] = {"driver": name, "low_up_to": cuts.low, "high_from": cuts.high}
        shared = (contrasted.low_share[place], contrasted.high_share[place]) if cuts.known else (np.nan, np.nan)
        numbers |= dict(zip(("low_share", "high_share"), shared, strict=True))
        drawn = {part: cells.drawn[:, cells.part(part).start + place] for part in CONTRASTS}
        for part in ("penalty", "reward"):
            low, high = np.quantile(drawn[part], ends)
            numbers |= {part: cells.whole[cells.part(part).start + place], f"{part}_low": low, f"{part}_high": high}
        balances = [_balance(drawn[a], drawn[b]) for a, b in zip(CONTRASTS[::2], CONTRASTS[1::2], strict=True)]
        told = [tuple(float(each) for each in np.quantile(one, ends)) for one in balances]
        numbers |= {"asymmetry": float(np.median(balances[0])), "low": told[0][0], "high": told[0][1]}
        numbers |= {"hinge": float(np.median(balances[2])), "hinge_low": told[2][0], "hinge_high": told[2][1]}
        if not contrasted.known[place]:
            numbers |= {key: np.nan for key in numbers if key not in ("driver", "low_up_to", "high_from")}
        enough = contrasted.known[place] and min(shared) >= LEAST_PART
        numbers["kind"] = _kind_of(*(_named(*each) for each in told)) if enough else "open"
        found.append(numbers)
    return pd.DataFrame(found)


def _kind_of(plain: str, latent: str, slopes: str) -> str:
    """Return the kind that score and normal score agree on and the slopes do not contradict."""
    return plain if plain == latent and slopes in (plain, "open") else "open"


def _balance(penalty: Floats, reward: Floats) -> Floats:
    up, down = np.abs(reward), np.abs(penalty)
    return np.asarray((up - down) / np.where(up + down > 0, up + down, 1.0))


def _named(low: float, high: float) -> str:
    if high < -CUT:
        return "must_be"
    if low > CUT:
        return "attractive"
    return "performance" if low > -CUT and high < CUT else "open"


def quadrants(
    rows: Given, cells: Measured, scales: Mapping[str, Scale], target: float | None, sign: float
) -> pd.DataFrame:
    """Sort ratings by how important and how good they are, with the probability of the quadrant.

    Ratings of several scales are compared by how far up their scale they stand.

    Args:
        rows: The answers.
        cells: What was measured.
        scales: Of the ratings.
        target: Mean rating that is good enough; by default the mean over the ratings.
        sign: 1 where a higher score is better, −1 where it is worse.
    """
    r = len(rows.ratings)
    if not r:
        return pd.DataFrame()
    start, span = (np.array(each) for each in zip(*(_range(scales[name]) for name in rows.ratings), strict=True))
    of_scale = len({_range(scales[name]) for name in rows.ratings}) > 1
    shift, unit = (start, span) if of_scale else (np.zeros(r), np.ones(r))
    own_money = np.array([scales[name].is_money for name in rows.ratings])
    at = {name: cells.part(name).start + np.arange(r) for name in ("share", "mean", "slope")}
    performance = (cells.drawn[:, at["mean"]] - shift) / unit
    good = performance >= (performance.mean(1, keepdims=True) if target is None else target)
    middle = (cells.whole[at["mean"]] - shift) / unit
    by_share = _placed(cells.drawn[:, at["share"]], good)
    by_slope = _placed(sign * cells.drawn[:, at["slope"]] * span, good, own_money)
    errors = {name: np.sqrt(np.diagonal(cells.covariance)[at[name]]) for name in ("share", "mean")}
    product = errors["share"] * errors["mean"]
    joint = cells.covariance[at["share"], at["mean"]]
    mean = cells.whole[at["mean"]]
    return pd.DataFrame(
        {
            "driver": rows.ratings,
            "performance": middle,
            "performance_se": errors["mean"] / unit,
            "importance": cells.whole[at["share"]],
            "importance_se": errors["share"],
            "correlation": joint / np.where(product > 0, product, 1.0),
            "quadrant": by_share[0],
            "probability": by_share[1],
            "by_slope": by_slope[0],
            "probability_by_slope": by_slope[1],
            "of_scale": of_scale,
            "cut": middle.mean() if target is None else target,
            "tenth": np.minimum(span / 10, start + span - mean),
            "room": start + span - mean,
        }
    )


def _range(scale: Scale) -> tuple[float, float]:
    return float(scale.low), float(scale.high - scale.low)


def _placed(importance: Floats, good: Bools, apart: Bools | None = None) -> tuple[list[str], Floats]:
    """Return the quadrant of each rating, ``open`` where it is not sure, and the probability of the likeliest.

    Those ``apart`` have none, and no part in the cut.
    """
    compared = np.ones(importance.shape[1], dtype=bool) if apart is None else ~apart
    cut = importance[:, compared].mean(1, keepdims=True) if compared.any() else 0.0
    matters = importance > cut
    names = ("improve", "keep", "watch", "enough")
    cases = (matters & ~good, matters & good, ~matters & ~good, ~matters & good)
    chance = np.stack([case.mean(0) for case in cases])
    best = chance.argmax(0)
    is_sure = compared & (chance.max(0) >= SURE)
    return [names[b] if is_sure[j] else "open" for j, b in enumerate(best)], chance.max(0)
