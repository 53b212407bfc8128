"""Read drivers off what was measured and drawn: shares, ranks, pillars, asymmetry, quadrants."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from rox.core.study import Scale
from rox.metrics.driver_sums import Floats, Given
from rox.numerics import importance as shares
from rox.numerics.arrays import Bools

CUT = 0.2
"""Asymmetry beyond which a driver is called must-be or attractive."""
LEAST_TAIL = 0.05
"""Share of answers with a low, or a high, rating below which asymmetry is not told."""
SURE = 0.8
"""Probability from which a driver is put into a quadrant."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Measured:
    """What was measured, as one vector, with its draws and its covariance; :meth:`part` says where things stand in it.

    Attributes:
        drivers: How many drivers.
        ratings: How many of them are ratings; they come first.
        parts: How many parts the drivers are grouped into.
        whole: (v,) the vector.
        drawn: (d, v) its draws.
        covariance: (v, v).
    """

    drivers: int
    ratings: int
    parts: int
    whole: Floats
    drawn: Floats
    covariance: Floats

    def part(self, name: str) -> slice:
        """Say where one stands: ``share``, ``mean``, ``slope``, ``penalty``, ``latent_penalty``, …, ``pillar``."""
        d, r = self.drivers, self.ratings
        starts = {"share": (0, d), "mean": (d + 1, d), "slope": (2 * d + 1, d)}
        contrasts = ("penalty", "reward", "latent_penalty", "latent_reward")
        starts |= {each: (3 * d + 1 + k * r, r) for k, each in enumerate(contrasts)}
        starts["pillar"] = (3 * d + 1 + 4 * r, self.parts)
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
    rows: Given, cells: Measured, parts: Mapping[str, Sequence[int]], level: float
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Rank the parts that drivers are grouped into."""
    if not parts:
        return pd.DataFrame(), pd.DataFrame()
    frame = pd.DataFrame({"driver": list(parts)})
    alone = {name: _kind(rows, name) for name in rows.drivers}
    frame["kind"] = [alone.get(name, "pillar") for name in parts]
    frame["drivers"] = [", ".join(rows.drivers[place] for place in places) for places in parts.values()]
    at = cells.part("pillar")
    ranked, chances = _ranked(cells.drawn[:, at], level)
    frame = frame.assign(share=cells.whole[at], **ranked)
    order = frame.sort_values("share", ascending=False, kind="stable").index
    ranks = pd.DataFrame(chances, index=pd.Index(list(parts), name="driver"), columns=range(1, len(parts) + 1))
    return frame.loc[order].reset_index(drop=True), ranks.iloc[order]


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
    rows: Given, cells: Measured, sums: Floats, matrix: Floats, about: Floats | None, level: float
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Put what is known of each driver into one row, the most telling first; and the probabilities of all ranks.

    Args:
        rows: The answers.
        cells: What was measured.
        sums: As of :func:`rox.metrics.driver_sums.pair_sums`.
        matrix: Correlations of drivers, chance and score.
        about: Products about each customer's own mean; None with too few repeated answers.
        level: Level of the intervals.
    """
    count = len(rows.drivers)
    tail = (1 - level) / 2
    without_chance = np.r_[0:count, count + 1]
    inside = matrix[np.ix_(without_chance, without_chance)]
    alone, added = shares.first_and_last(inside)
    share, mean, slope = (cells.part(name) for name in ("share", "mean", "slope"))
    ranked, chances = _ranked(cells.drawn[:, share], level)
    within = np.full(count, np.nan) if about is None else shares.lmg(shares.correlation(about), rng=0).shares
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
        "johnson": shares.johnson(inside).shares,
        "alone": alone,
        "added": added,
        "p_first": ranked["p_first"],
        "rank_low": ranked["rank_low"],
        "rank_high": ranked["rank_high"],
        "above_chance": (cells.drawn[:, share] > cells.drawn[:, [count]]).mean(0),
        "within": within,
        "given": given_weight[:count] / given_weight[-1],
        "slope": cells.whole[slope],
        "slope_low": limits["slope_low"],
        "slope_high": limits["slope_high"],
    }
    frame = pd.DataFrame(columns)
    ranks = pd.DataFrame(chances, index=pd.Index(rows.drivers, name="driver"), columns=range(1, count + 1))
    order = frame.sort_values("share", ascending=False, kind="stable").index
    return frame.loc[order].reset_index(drop=True), ranks.iloc[order]


def _kind(rows: Given, name: str) -> str:
    return "rating" if name in rows.ratings else name.partition("_")[0].removesuffix("s")


def contrasts(
    rows: Given, cells: Measured, cuts: Mapping[str, tuple[float, float]], products: Floats, level: float
) -> pd.DataFrame:
    """Say of each rating whether it hurts more when low than it helps when high."""
    tail = (1 - level) / 2
    found = []
    share = np.diagonal(products.sum(0))[1:] / products.sum(0)[0, 0]
    for place, name in enumerate(rows.ratings):
        numbers: dict[str, Any] = {"driver": name, "low_up_to": cuts[name][0], "high_from": cuts[name][1]}
        numbers |= {"low_share": share[place], "high_share": share[len(rows.ratings) + place]}
        drawn = {}
        for part in ("penalty", "reward", "latent_penalty", "latent_reward"):
            at = cells.part(part).start + place
            drawn[part] = cells.drawn[:, at]
            if not part.startswith("latent"):
                low, high = np.quantile(cells.drawn[:, at], [tail, 1 - tail])
                numbers |= {part: cells.whole[at], f"{part}_low": low, f"{part}_high": high}
        either = _balance(drawn["penalty"], drawn["reward"])
        latent = _balance(drawn["latent_penalty"], drawn["latent_reward"])
        low, high = np.quantile(either, [tail, 1 - tail])
        kinds = {_named(*np.quantile(each, [tail, 1 - tail])) for each in (either, latent)}
        enough = min(numbers["low_share"], numbers["high_share"]) >= LEAST_TAIL
        numbers |= {"asymmetry": float(np.median(either)), "low": low, "high": high}
        numbers["kind"] = kinds.pop() if enough and len(kinds) == 1 else "open"
        found.append(numbers)
    return pd.DataFrame(found)


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
    at = {name: cells.part(name).start + np.arange(r) for name in ("share", "mean", "slope")}
    performance = (cells.drawn[:, at["mean"]] - shift) / unit
    good = performance >= (performance.mean(1, keepdims=True) if target is None else target)
    by_share = _placed(cells.drawn[:, at["share"]], good)
    by_slope = _placed(sign * cells.drawn[:, at["slope"]] * span, good)
    errors = {name: np.sqrt(np.diagonal(cells.covariance)[at[name]]) for name in ("share", "mean")}
    product = errors["share"] * errors["mean"]
    joint = cells.covariance[at["share"], at["mean"]]
    mean = cells.whole[at["mean"]]
    return pd.DataFrame(
        {
            "driver": rows.ratings,
            "performance": (mean - shift) / unit,
            "performance_se": errors["mean"] / unit,
            "importance": cells.whole[at["share"]],
            "importance_se": errors["share"],
            "correlation": joint / np.where(product > 0, product, 1.0),
            "quadrant": by_share[0],
            "probability": by_share[1],
            "by_slope": by_slope[0],
            "probability_by_slope": by_slope[1],
            "of_scale": of_scale,
            "tenth": np.minimum(span / 10, start + span - mean),
            "room": start + span - mean,
        }
    )


def _range(scale: Scale) -> tuple[float, float]:
    return float(scale.low), float(scale.high - scale.low)


def _placed(importance: Floats, good: Bools) -> tuple[list[str], Floats]:
    """Return the quadrant of each rating, ``open`` where it is not sure, and the probability of the likeliest."""
    matters = importance > importance.mean(1, keepdims=True)
    names = ("improve", "keep", "watch", "enough")
    cases = (matters & ~good, matters & good, ~matters & ~good, ~matters & good)
    chance = np.stack([case.mean(0) for case in cases])
    best = chance.argmax(0)
    return [names[b] if chance[b, j] >= SURE else "open" for j, b in enumerate(best)], chance.max(0)
