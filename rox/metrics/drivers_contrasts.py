"""What low and high ratings go with, from those between: cuts, sums by bucket of customers, and their regression.

The reference for a low or high rating is a middle one, so ratings that leave no middle tell neither.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations_with_replacement
from typing import Any

import ibis
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import ndtri

from rox.metrics.driver_sums import BUCKETS, Floats, Given, light
from rox.metrics.source import Tables

FINE = 1_000_000
"""Whole numbers per unit of a normal score."""
LEAST_PART = 0.05
"""Share of the ratings that must be low, high, or between, for what they go with to be told."""


@dataclass(frozen=True, kw_only=True)
class Cuts:
    """Ratings up to which one is low, from which one is high, and one between; NaN where nothing stands between."""

    low: float
    middle: float
    high: float

    @property
    def known(self) -> bool:
        """Whether there are such ratings."""
        return self.low < self.high


def limits(histogram: pd.Series[Any]) -> Cuts:
    """Return the ratings up to which a quarter is low, and from which a quarter is high.

    What low and high ratings go with is told from those between, so a twentieth must stand there. Where quarters leave
    less, those ratings are taken whose smallest part, low, between or high, is largest.
    """
    share = (histogram / histogram.sum()).to_numpy(dtype=float)
    level, below = histogram.index.to_numpy(dtype=float), np.cumsum(share)
    low, high = (int(np.searchsorted(below, each)) for each in (0.25, 0.75))
    between = np.subtract.outer(-below, -below) - share
    if not between[low, high] >= LEAST_PART:
        above = 1 - below + share
        least = np.triu(np.minimum(np.minimum.outer(below, above), between), 1)
        low, high = (int(each) for each in np.unravel_index(least.argmax(), least.shape))
    if not between[low, high] >= LEAST_PART:
        return Cuts(low=np.nan, middle=np.nan, high=np.nan)
    inner = below[low:high] - below[low] - between[low, high] / 2
    middle = level[low + int(np.searchsorted(inner, -1e-12))]
    return Cuts(low=float(level[low]), middle=float(middle), high=float(level[high]))


def normal_scores(histogram: pd.Series[Any]) -> dict[float, float]:
    """Return the normal quantile of the middle of each value's place, which undoes a ceiling of the scale."""
    share = histogram / histogram.sum()
    middle = share.cumsum() - share / 2
    levels = middle.index.to_numpy(dtype=float)
    return {float(level): float(ndtri(each)) for level, each in zip(levels, middle.to_numpy(), strict=True)}


def contrast_sums(
    tables: Tables, rows: Given, cuts: Mapping[str, Cuts], scores: Mapping[float, float]
) -> tuple[Floats, Floats]:
    """Fetch the cross-products of what is low, high, missing, and how far below and above the middle, with the score.

    A rating without cuts enters as it is, in the place of ``low``.

    Returns:
        p ratings, k = 5p + 3 columns: constant; low, high, missing, below and above of each rating; the score and its
        normal score. An array (bucket, k, k) of products, without those of the last two, and of what is low or high
        with what is below or above; and one (bucket, stratum, k) of products with the constant.
    """
    columns: dict[str, Any] = {"one": ibis.literal(1, "int64")}
    table, p = rows.table, len(rows.ratings)
    for kind in ("low", "high", "none", "below", "above"):
        columns |= {f"{kind}_{name}": _contrast(table[name], cuts[name], kind) for name in rows.ratings}
    branches = [(table.value == int(level), round(FINE * score)) for level, score in scores.items()]
    columns |= {"y": table.value.cast("int64"), "z": ibis.cases(*branches, else_=0).cast("int64")}
    order = list(columns)
    table = table.mutate(**columns, w=light(table.weight).cast("decimal(19,0)"))
    pairs = [(i, j) for i, j in combinations_with_replacement(range(len(order)), 2) if _is_used(i, j, p)]
    both = {(i, j): table[order[i]] * table[order[j]] if i else table[order[j]] for i, j in pairs}
    sums = {f"c_{i}_{j}": (table.w * each.cast("decimal(19,0)")).sum() for (i, j), each in both.items()}
    frame = tables.fetch(table.group_by("bucket", "stratum").aggregate(**sums))
    place = frame["bucket"].to_numpy().astype(int)
    stratum, strata = pd.factorize(frame["stratum"], use_na_sentinel=False)
    held, firsts = np.zeros((BUCKETS, len(order), len(order))), np.zeros((BUCKETS, len(strata), len(order)))
    for i, j in pairs:
        found = frame[f"c_{i}_{j}"].to_numpy(dtype=float)
        np.add.at(held[:, i, j], place, found)
        held[:, j, i] = held[:, i, j]
        if i == 0:
            firsts[place, stratum, j] = found
    scale = np.r_[np.ones(len(order) - 1), 1 / FINE]
    return held * scale[:, None] * scale[None, :], firsts * scale


def _is_used(i: int, j: int, ratings: int) -> bool:
    """Tell whether a product is used and may differ from 0: no rating is low, high or missing at a time."""
    p = ratings
    if i > 5 * p or (0 < i <= 2 * p and 3 * p < j <= 5 * p):
        return False
    return i == j or j > 5 * p or i == 0 or (i - j) % p != 0


def _contrast(rating: Any, cuts: Cuts, kind: str) -> Any:
    if kind == "none":
        return rating.isnull().ifelse(1, 0).cast("int64")
    if not cuts.known:
        return ibis.coalesce(rating, 0).cast("int64") if kind == "low" else ibis.literal(0, "int64")
    if kind in ("low", "high"):
        is_it = rating <= int(cuts.low) if kind == "low" else rating >= int(cuts.high)
        return is_it.fill_null(False).ifelse(1, 0).cast("int64")
    away = rating - int(cuts.middle)
    return ibis.coalesce(ibis.least(away, 0) if kind == "below" else ibis.greatest(away, 0), 0).cast("int64")


def within_strata(products: Floats, firsts: Floats) -> Floats:
    """Return the products about the means of the strata, of all buckets and then without each: (1 + bucket, k, k)."""
    whole, means = products.sum(0), firsts.sum(0)
    products = np.concatenate([whole[None], whole - products])
    firsts = np.concatenate([means[None], means - firsts])
    root = np.sqrt(np.where(firsts[..., :1] > 0, firsts[..., :1], 1.0))
    apart = firsts / root
    return np.asarray(products - np.swapaxes(apart, -1, -2) @ apart)


def contrast_slopes(products: Floats) -> tuple[Floats, Floats]:
    """Regress the score, and its normal score, on what is low and high; and the score on the way below and above.

    Args:
        products: As of :func:`within_strata`, so strata are held equal.

    Returns:
        (replicate, 6p): penalty and reward in the score, the same in the normal score, slopes below and above the
        middle. (p,): whether the ratings have enough of their own to tell them.
    """
    p = (products.shape[-1] - 3) // 5
    missing = np.arange(2 * p + 1, 3 * p + 1)
    told, known = [], np.ones(p, dtype=bool)
    for first, outcomes in ((1, (-2, -1)), (3 * p + 1, (-2,))):
        columns = np.r_[first : first + 2 * p, missing]
        inside = products[:, columns[:, None], columns]
        beta = np.stack(
            [np.linalg.lstsq(a, b, rcond=1e-10)[0] for a, b in zip(inside, products[:, columns][..., -2:], strict=True)]
        )
        told += [beta[:, at : at + p, outcome] for outcome in outcomes for at in (0, p)]
        known &= _told_apart(inside[0])[: 2 * p].reshape(2, p).all(0)
    return np.concatenate(told, axis=1), known


def _told_apart(inside: Floats) -> NDArray[np.bool_]:
    """Tell which coefficients of a regression its columns determine."""
    spread = np.sqrt(np.maximum(np.diagonal(inside), 0.0))
    unit = np.where(spread > 0, spread, 1.0)
    values, vectors = np.linalg.eigh(inside / np.outer(unit, unit))
    return np.asarray((np.abs(vectors[:, values < 1e-8 * max(values[-1], 1.0)]) < 1e-3).all(1))
