"""What goes with a score: each driver's share of what explains it, how sure its rank is, whether it hurts or helps.

Shares of explained variance are associations, not effects: raising a rating need not raise the score. Errors: jackknife
over buckets of customers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

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
from rox.metrics.drivers_read import LEAST_TAIL, Measured, contrasts, parts_of, pillars, quadrants, ranking
from rox.metrics.source import WEIGHT_UNITS, Tables, scale_of
from rox.numerics import importance as shares

DRAWS = 4_000
HALO_PAIRS, HALO_FACTOR = 0.6, 0.6
"""Ratings all correlated above the first, whose first eigenvalue holds more than the second, measure one impression."""
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
        pillars: One row per pillar of the study's drivers, and per driver that belongs to none: ``driver`` (its name),
            ``kind`` (``pillar``, or as in ``table``), ``drivers``, ``share`` of R² with ``low`` and ``high``,
            ``p_first``, ``rank_low`` and ``rank_high``. A pillar enters as a whole, so its share does not grow with the
            number of its questions. Empty where no pillars are declared.
        pillar_ranks: Probability of each rank by row of ``pillars``.
        quadrant: One row per rating: ``driver``, ``performance`` and ``importance`` with their errors ``…_se`` and
            ``correlation``, ``quadrant`` (``improve``, ``keep``, ``watch``, ``enough`` or ``open``) and
            ``probability``; ``by_slope`` and ``probability_by_slope``, the same with the slope in the place of the
            share; ``of_scale`` (whether performance is the part of the scale below the mean, for ratings of several
            scales); ``tenth`` of the scale, or as much as there is left, and ``room``, all that is left, in points.
        slopes: Draws of the slopes, one column per driver in the order of ``table``.
        r2: R² of all drivers.
        chance: Share that random numbers got beside them.
        headroom: Score points from the mean answer to the best one.
        checks: What a reader must know.
    """

    score: str
    table: pd.DataFrame
    ranks: pd.DataFrame
    asymmetry: pd.DataFrame
    pillars: pd.DataFrame
    pillar_ranks: pd.DataFrame
    quadrant: pd.DataFrame
    slopes: pd.DataFrame
    r2: float
    chance: float
    headroom: float
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

    Ratings that are missing are left to the pairs that have both; those whose scale runs the other way are turned. What
    the company records by itself (events, topics of feedback in the months before the answer's own) can stand beside
    the ratings: ratings given in one minute share the mood of that minute, a failed transfer does not.

    Args:
        tables: Loaded tables.
        score: The score.
        ratings: Drivers of the study; all of them by default.
        events: Kinds of events, counted over the months before the answer.
        topics: Topics of feedback, likewise: ``fees`` for messages of any kind, ``complaint/fees`` for those of one
            kind, ``complaint/*`` for all of one kind.
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
    contrasted = None if products is None else np.concatenate([products.sum(0)[None], products.sum(0) - products])
    parts = parts_of(rows, tables.study.drivers)
    measured, repaired = _measured(every, contrasted, count, list(parts.values()))
    whole, left_out = measured[0], measured[1:]
    covariance = _jackknife(left_out)
    cells = Measured(
        drivers=count,
        ratings=len(rows.ratings),
        parts=len(parts),
        whole=whole,
        drawn=np.random.default_rng(rng).multivariate_normal(whole, covariance, DRAWS, method="svd"),
        covariance=covariance,
    )
    matrix = _matrix(sums.sum(0))[0]
    people, about = within_products(tables, rows)
    table, ranks = ranking(rows, cells, sums, matrix, about if people >= FEW * count else None, level)
    asymmetry = contrasts(rows, cells, cuts, products, level) if products is not None else pd.DataFrame()
    scale, mean = scale_of(tables.study, score), float(pairwise(sums.sum(0))[1][-1])
    grouped, pillar_ranks = pillars(rows, cells, parts, level)
    return Drivers(
        score=score,
        table=table,
        ranks=ranks,
        asymmetry=asymmetry,
        pillars=grouped,
        pillar_ranks=pillar_ranks,
        quadrant=quadrants(rows, cells, tables.study.drivers, target, 1.0 if scale.higher_is_better else -1.0),
        slopes=pd.DataFrame(cells.drawn[:, cells.part("slope")], columns=list(rows.drivers))[list(table["driver"])],
        r2=float(whole[: count + 1].sum()),
        chance=float(whole[count]),
        headroom=scale.high - mean if scale.higher_is_better else mean - scale.low,
        checks=tuple(_checks(rows, matrix, sums, repaired, asymmetry)),
    )


def _matrix(sums: Floats) -> tuple[Floats, float]:
    """Return the correlations of drivers, chance and score, repaired where no data could have them, and the repair."""
    return shares.nearest_correlation(pairwise(sums)[0])


def _measured(
    sums: Floats, products: Floats | None, count: int, parts: Sequence[Sequence[int]]
) -> tuple[Floats, float]:
    """Return per replicate what :class:`Measured` holds, (replicate, v), and how much correlations were repaired."""
    repairs = [_matrix(each) for each in sums]
    means = pairwise(sums)[1][:, :count]
    matrices = np.stack([matrix for matrix, _ in repairs])
    told = [shares.lmg(matrices, rng=0).shares, means, _slopes(matrices, sums, count)]
    if products is not None:
        p = (products.shape[-1] - 3) // 3
        beta = np.stack([np.linalg.lstsq(one[:-2, :-2], one[:-2, -2:], rcond=1e-10)[0] for one in products])
        told += [beta[:, first : first + p, outcome] for outcome in (0, 1) for first in (1, p + 1)]
    if parts:
        told.append(shares.lmg(matrices, groups=[*parts, [count]], rng=0).shares[:, :-1])
    return np.concatenate(told, axis=1), repairs[0][1]


def _slopes(matrices: Floats, sums: Floats, count: int) -> Floats:
    """Return the slopes of the regression on all drivers, (replicate, driver)."""
    w, a, aa = (np.diagonal(sums[:, part], axis1=-2, axis2=-1) for part in (0, 1, 3))
    spread = np.sqrt(np.maximum(aa / w - (a / w) ** 2, 0.0))
    standard = np.linalg.solve(matrices[:, :count, :count], matrices[:, :count, -1:])[..., 0]
    return np.asarray(standard * spread[:, -1:] / spread[:, :count])


def _jackknife(left_out: Floats) -> Floats:
    apart = left_out - left_out.mean(0)
    return np.asarray((len(left_out) - 1) / len(left_out) * apart.T @ apart)


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
    if not r:
        yield Check(code="ROX-D07", verdict=Verdict.NOTE)
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
