"""What goes with a score: each driver's share of what explains it, how sure its rank is, whether it hurts or helps.

Shares of explained variance are associations, not effects: raising a rating need not raise the score. Errors: jackknife
over buckets of customers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from rox.core.check import Check, Verdict
from rox.core.errors import DataError
from rox.metrics.display import SHOWN_FROM
from rox.metrics.driver_sums import (
    BUCKETS,
    CHANCE,
    Floats,
    Given,
    complete_share,
    contrast_sums,
    given,
    histograms,
    limits,
    normal_scores,
    pair_sums,
    pairwise,
    within_products,
)
from rox.metrics.source import WEIGHT_UNITS, Tables
from rox.numerics import importance as shares

DRAWS = 4_000
HALO_PAIRS, HALO_FACTOR = 0.6, 0.6
"""Ratings all correlated above the first, whose first eigenvalue holds more than the second, measure one impression."""
CUT = 0.2
"""Asymmetry beyond which a driver is called must-be or attractive."""
LEAST_TAIL = 0.05
"""Share of answers with a low, or a high, rating below which asymmetry is not told."""
SURE = 0.8
"""Probability from which a driver is put into a quadrant."""
CROWDED = 10.0
"""Variance inflation above which drivers are hard to part."""
FEW = 20
"""Customers per driver below which shares are too rough."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Drivers:
    """What goes with a score.

    Attributes:
        score: The score.
        table: One row per driver, the most telling first: ``driver``, ``kind`` (``rating``, ``event`` or ``topic``),
            ``mean`` with ``mean_low`` and ``mean_high``, ``share`` of R² (LMG) with ``low`` and ``high``, ``johnson``
            (relative weight), ``alone`` (R² by itself), ``added`` (to all others), ``p_first`` (probability of being
            the most important), ``rank_low`` and ``rank_high`` (which hold its rank), ``above_chance`` (probability
            that its share exceeds that of random numbers), ``within`` (share within customers; NaN with too few
            repeated answers), ``given`` (share of the answers that have it), and ``slope`` with ``slope_low`` and
            ``slope_high``: score points that go with one point of the driver, the others held.
        ranks: Probability of each rank (columns 1, 2, …) by driver.
        asymmetry: One row per rating: ``driver``, ``low_up_to``, ``high_from``, ``penalty`` and ``reward`` in score
            points with ``…_low`` and ``…_high``, ``asymmetry`` with ``low`` and ``high``, ``kind``: ``must_be``,
            ``performance``, ``attractive`` or ``open``.
        quadrant: One row per rating: ``driver``, ``performance`` and ``importance`` with their errors ``…_se`` and
            ``correlation``, ``quadrant`` (``improve``, ``keep``, ``watch``, ``enough`` or ``open``) and
            ``probability``.
        slopes: Draws of the slopes, one column per driver in the order of ``table``.
        r2: R² of all drivers.
        chance: Share that random numbers got beside them.
        checks: What a reader must know.
    """

    score: str
    table: pd.DataFrame
    ranks: pd.DataFrame
    asymmetry: pd.DataFrame
    quadrant: pd.DataFrame
    slopes: pd.DataFrame
    r2: float
    chance: float
    checks: tuple[Check, ...]


def drivers(
    tables: Tables,
    score: str = "nps",
    *,
    ratings: Sequence[str] | None = None,
    events: Sequence[str] = (),
    topics: Sequence[str] = (),
    months: int = 3,
    target: float | None = None,
    level: float = 0.90,
    weighted: bool = True,
    rng: int | np.random.Generator | None = None,
) -> Drivers:
    """Split what explains a score among its drivers.

    Ratings that are missing are left to the pairs that have both. What the company records by itself (events, topics of
    feedback in the months before the answer's own) can stand beside the ratings: ratings given in one minute share the
    mood of that minute, a failed transfer does not.

    Args:
        tables: Loaded tables.
        score: The score.
        ratings: Drivers of the study; all of them by default.
        events: Kinds of events, counted over the months before the answer.
        topics: Topics of feedback, likewise.
        months: How many months before the answer's own.
        target: Mean rating that is good enough; by default the mean over the ratings.
        level: Level of the intervals.
        weighted: Whether answers count with their design weight.
        rng: Seed of the draws of ranks.

    Raises:
        DataError: No such question, fewer than two drivers, too few answers, or a driver that does not vary or is a sum
            of others.

    References:
        Grömping 2007, *The American Statistician* 61(2); Johnson 2000, *Multivariate Behavioral Research* 35(1);
        Tonidandel & LeBreton 2011, *Journal of Business and Psychology* 26; Brandt 1988; Martilla & James 1977.
    """
    wanted = tuple(tables.study.drivers if ratings is None else ratings)
    if len(wanted) + len(events) + len(topics) < 2:
        raise DataError(
            "Drivers are compared with each other: two are needed.",
            ["declare [drivers.NAME] in the study, or give events"],
        )
    rows = given(tables, score, ratings=wanted, events=events, topics=topics, months=months, weighted=weighted)
    names, sums = pair_sums(tables, rows)
    count = len(rows.drivers)
    _require_enough(names, sums, count, tables.study.about.min_cell)
    cuts_of = histograms(tables, rows)
    cuts = {name: limits(cuts_of[name]) for name in rows.ratings}
    products = contrast_sums(tables, rows, cuts, normal_scores(cuts_of["value"]))[1] if rows.ratings else None
    every = np.concatenate([sums.sum(0)[None], sums.sum(0) - sums])
    contrasts = None if products is None else np.concatenate([products.sum(0)[None], products.sum(0) - products])
    measured, repaired = _measured(every, contrasts, count)
    whole, left_out = measured[0], measured[1:]
    covariance = _jackknife(left_out)
    drawn = np.random.default_rng(rng).multivariate_normal(whole, covariance, DRAWS, method="svd")
    matrix = _matrix(sums.sum(0))[0]
    people, about = within_products(tables, rows)
    table, ranks = _table(rows, sums, whole, drawn, matrix, about if people >= FEW * count else None, level)
    cells = _Cells(count, len(rows.ratings), whole, drawn, covariance)
    asymmetry = _asymmetry(rows, cells, cuts, products, level) if products is not None else pd.DataFrame()
    return Drivers(
        score=score,
        table=table,
        ranks=ranks,
        asymmetry=asymmetry,
        quadrant=_quadrants(rows, cells, target),
        slopes=pd.DataFrame(drawn[:, cells.part("slope")], columns=list(rows.drivers))[list(table["driver"])],
        r2=float(whole[: count + 1].sum()),
        chance=float(whole[count]),
        checks=tuple(_checks(rows, matrix, sums, repaired, asymmetry)),
    )


@dataclass(frozen=True)
class _Cells:
    """Where the parts of the jackknifed vector stand: shares and chance, means, penalties, rewards, latent ones."""

    drivers: int
    ratings: int
    whole: Floats
    drawn: Floats
    covariance: Floats

    def part(self, name: str) -> slice:
        d, r = self.drivers, self.ratings
        starts = {"share": (0, d), "mean": (d + 1, d), "slope": (2 * d + 1, d)}
        contrasts = ("penalty", "reward", "latent_penalty", "latent_reward")
        starts |= {each: (3 * d + 1 + k * r, r) for k, each in enumerate(contrasts)}
        first, length = starts[name]
        return slice(first, first + length)


def _matrix(sums: Floats) -> tuple[Floats, float]:
    """Return the correlations of drivers, chance and score, repaired where no data could have them, and the repair."""
    return shares.nearest_correlation(pairwise(sums)[0])


def _measured(sums: Floats, products: Floats | None, count: int) -> tuple[Floats, float]:
    """Return per replicate shares, that of chance last, means, slopes, contrasts of the ratings: (replicate, v)."""
    repairs = [_matrix(each) for each in sums]
    means = pairwise(sums)[1][:, :count]
    matrices = np.stack([matrix for matrix, _ in repairs])
    parts = [shares.lmg(matrices, rng=0).shares, means, _slopes(matrices, sums, count)]
    if products is not None:
        p = (products.shape[-1] - 3) // 3
        beta = np.stack([np.linalg.lstsq(one[:-2, :-2], one[:-2, -2:], rcond=1e-10)[0] for one in products])
        parts += [beta[:, first : first + p, outcome] for outcome in (0, 1) for first in (1, p + 1)]
    return np.concatenate(parts, axis=1), repairs[0][1]


def _slopes(matrices: Floats, sums: Floats, count: int) -> Floats:
    """Return the slopes of the regression on all drivers, (replicate, driver)."""
    w, a, aa = (np.diagonal(sums[:, part], axis1=-2, axis2=-1) for part in (0, 1, 3))
    spread = np.sqrt(np.maximum(aa / w - (a / w) ** 2, 0.0))
    standard = np.linalg.solve(matrices[:, :count, :count], matrices[:, :count, -1:])[..., 0]
    return np.asarray(standard * spread[:, -1:] / spread[:, :count])


def _jackknife(left_out: Floats) -> Floats:
    apart = left_out - left_out.mean(0)
    return np.asarray((len(left_out) - 1) / len(left_out) * apart.T @ apart)


def _table(
    rows: Given, sums: Floats, whole: Floats, drawn: Floats, matrix: Floats, about: Floats | None, level: float
) -> tuple[pd.DataFrame, pd.DataFrame]:
    count = len(rows.drivers)
    tail = (1 - level) / 2
    without_chance = np.r_[0:count, count + 1]
    inside = matrix[np.ix_(without_chance, without_chance)]
    alone, added = shares.first_and_last(inside)
    chances = shares.rank_probabilities(drawn[:, :count])
    held = chances.cumsum(1)
    mean = drawn[:, count + 1 : 2 * count + 1]
    within = np.full(count, np.nan) if about is None else shares.lmg(shares.correlation(about), rng=0).shares
    low, high = np.quantile(drawn[:, :count], [tail, 1 - tail], axis=0)
    given_weight = np.diagonal(sums.sum(0)[0])[:count]
    frame = pd.DataFrame(
        {
            "driver": rows.drivers,
            "kind": [_kind(rows, name) for name in rows.drivers],
            "mean": whole[count + 1 : 2 * count + 1],
            "mean_low": np.quantile(mean, tail, axis=0),
            "mean_high": np.quantile(mean, 1 - tail, axis=0),
            "share": whole[:count],
            "low": np.maximum(low, 0.0),
            "high": high,
            "johnson": shares.johnson(inside).shares,
            "alone": alone,
            "added": added,
            "p_first": chances[:, 0],
            "rank_low": 1 + (held < tail).sum(1),
            "rank_high": 1 + (held < 1 - tail).sum(1),
            "above_chance": (drawn[:, :count] > drawn[:, [count]]).mean(0),
            "within": within,
            "given": given_weight / np.diagonal(sums.sum(0)[0])[-1],
            "slope": whole[2 * count + 1 : 3 * count + 1],
            "slope_low": np.quantile(drawn[:, 2 * count + 1 : 3 * count + 1], tail, axis=0),
            "slope_high": np.quantile(drawn[:, 2 * count + 1 : 3 * count + 1], 1 - tail, axis=0),
        }
    )
    ranks = pd.DataFrame(chances, index=pd.Index(rows.drivers, name="driver"), columns=range(1, count + 1))
    order = frame.sort_values("share", ascending=False, kind="stable").index
    return frame.loc[order].reset_index(drop=True), ranks.iloc[order]


def _kind(rows: Given, name: str) -> str:
    return "rating" if name in rows.ratings else name.partition("_")[0].removesuffix("s")


def _asymmetry(
    rows: Given, cells: _Cells, cuts: Mapping[str, tuple[float, float]], products: Floats, level: float
) -> pd.DataFrame:
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


def _quadrants(rows: Given, cells: _Cells, target: float | None) -> pd.DataFrame:
    """Sort ratings by how important and how good they are, with the probability of the quadrant."""
    r = len(rows.ratings)
    if not r:
        return pd.DataFrame()
    at = [cells.part(part).start + np.arange(r) for part in ("share", "mean")]
    importance, performance = cells.drawn[:, at[0]], cells.drawn[:, at[1]]
    matters = importance > importance.mean(1, keepdims=True)
    good = performance >= (performance.mean(1, keepdims=True) if target is None else target)
    names = ("improve", "keep", "watch", "enough")
    chance = np.stack(
        [(matters & ~good).mean(0), (matters & good).mean(0), (~matters & ~good).mean(0), (~matters & good).mean(0)]
    )
    best = chance.argmax(0)
    covariance = cells.covariance
    errors = [np.sqrt(np.diagonal(covariance)[each]) for each in at]
    joint = covariance[at[0], at[1]]
    return pd.DataFrame(
        {
            "driver": rows.ratings,
            "performance": cells.whole[at[1]],
            "performance_se": errors[1],
            "importance": cells.whole[at[0]],
            "importance_se": errors[0],
            "correlation": joint / np.where(errors[0] * errors[1] > 0, errors[0] * errors[1], 1.0),
            "quadrant": [names[b] if chance[b, j] >= SURE else "open" for j, b in enumerate(best)],
            "probability": chance.max(0),
        }
    )


def _require_enough(names: Sequence[str], sums: Floats, count: int, least: int) -> None:
    weight = np.diagonal(sums.sum(0)[0])
    with np.errstate(invalid="ignore"):
        dead = [names[place] for place in range(len(names)) if not np.isfinite(pairwise(sums.sum(0))[0][place, place])]
    faults = [f"{name}: does not vary among the answers; leave it out" for name in dead if name != CHANCE]
    answers = float(weight[-1]) / (WEIGHT_UNITS / 1000 / 1000)
    filled = int((sums[:, 0, -1, -1] > 0).sum())
    if filled < min(BUCKETS, max(SHOWN_FROM, least)) or not answers > 0:
        faults.append(f"answers of customers in {filled} of {BUCKETS} groups; at least {SHOWN_FROM} groups are needed")
    if faults:
        raise DataError("The drivers cannot be compared.", faults)


def _checks(rows: Given, matrix: Floats, sums: Floats, repaired: float, asymmetry: pd.DataFrame) -> Iterator[Check]:
    r = len(rows.ratings)
    if r >= 2:
        inside = matrix[np.ix_([*range(r), len(matrix) - 1], [*range(r), len(matrix) - 1])]
        least, factor = shares.general_factor(inside)
        halo = least > HALO_PAIRS and factor > HALO_FACTOR
        values = {"least": least, "factor": 100 * factor}
        yield Check(code="ROX-D01", verdict=Verdict.DEMOTE if halo else Verdict.PASS, values=values)
    if len(asymmetry):
        thin = asymmetry[asymmetry[["low_share", "high_share"]].min(axis=1) < LEAST_TAIL]["driver"]
        if len(thin):
            yield Check(code="ROX-D02", verdict=Verdict.NOTE, values={"drivers": ", ".join(thin)})
    given_both = complete_share(sums, len(rows.drivers))
    if repaired > 0.01:
        yield Check(code="ROX-D03", verdict=Verdict.NOTE, values={"change": repaired, "share": 100 * given_both})
    without = [*range(len(rows.drivers)), len(matrix) - 1]
    inflation = shares.variance_inflation(matrix[np.ix_(without, without)])
    if inflation.max() > CROWDED:
        worst = rows.drivers[int(inflation.argmax())]
        yield Check(code="ROX-D04", verdict=Verdict.NOTE, values={"driver": worst, "factor": float(inflation.max())})
