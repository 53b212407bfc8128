"""What goes with a score: each driver's share of what explains it, how sure its rank is, whether it hurts or helps.

Shares of explained variance are associations, not effects: raising a rating need not raise the score. Errors: jackknife
over buckets of customers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd

from rox.core.check import Check, Verdict
from rox.core.errors import DataError
from rox.metrics.display import SHOWN_FROM
from rox.metrics.driver_sums import (
    BUCKETS,
    Floats,
    Given,
    Recorded,
    complete_share,
    given,
    histograms,
    pair_sums,
    pairwise,
    require_once,
    within_products,
)
from rox.metrics.drivers_contrasts import (
    LEAST_PART,
    contrast_slopes,
    contrast_sums,
    limits,
    normal_scores,
    within_strata,
)
from rox.metrics.drivers_read import Contrasted, Measured, contrasts, parts_of, pillars, quadrants, ranking
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
        table: One row per driver, the most telling first; where the ratings mostly measure one impression (ROX-D01),
            what the company records first: ``driver``, ``kind`` (``rating``, ``event`` or ``topic``), ``mean`` with
            ``mean_low`` and ``mean_high``, ``share`` of R² (LMG) with ``low`` and ``high``, ``share_error`` (Monte
            Carlo standard error of the share, which its limits hold too; 0 where every order was looked at),
            ``johnson`` (relative weight), ``alone`` (R² by itself), ``added`` (to all others), ``p_first`` (probability
            of being the most important), ``rank_low`` and ``rank_high`` (which hold its rank), ``above_chance``
            (probability that its share exceeds that of random numbers), ``within`` (share within customers; NaN with
            too few repeated answers, or where it never changes within a customer), ``given`` (share of the answers that
            have it), and ``slope`` with ``slope_low`` and ``slope_high``: score points that go with one point of the
            driver, the others held.
        ranks: Probability of each rank (columns 1, 2, …) by driver.
        asymmetry: One row per rating: ``driver``, ``low_up_to``, ``high_from``, ``low_share``, ``high_share``,
            ``penalty`` and ``reward`` in score points against the ratings between, segments held equal, with ``…_low``
            and ``…_high``; ``asymmetry`` with ``low`` and ``high``; ``hinge`` with ``hinge_low`` and ``hinge_high``,
            the asymmetry of the slopes below and above the middle rating; ``kind``: ``must_be``, ``performance``,
            ``attractive`` or ``open``. NaN and ``open`` where nothing stands between low and high. A kind is told only
            if the same regression on normal scores of the answers, which stands in for an ordered probit and undoes a
            ceiling of the scale, tells the same, and the slopes do not tell another.
        pillars: One row per pillar of the study's drivers, and per driver that belongs to none: ``driver`` (its name),
            ``kind`` (``pillar``, or as in ``table``), ``drivers``, ``share`` of R² with ``low`` and ``high``,
            ``p_first``, ``rank_low`` and ``rank_high``. A pillar enters as a whole, so its share does not grow with the
            number of its questions. Empty where no pillars are declared.
        pillar_ranks: Probability of each rank by row of ``pillars``.
        quadrant: One row per rating: ``driver``, ``performance`` and ``importance`` with their errors ``…_se`` and
            ``correlation``, ``quadrant`` (``improve``, ``keep``, ``watch``, ``enough`` or ``open``) and
            ``probability``; ``by_slope`` and ``probability_by_slope``, the same with the slope in the place of the
            share, ``open`` for drivers that are money themselves; ``of_scale`` (whether performance is the part of the
            scale below the mean, for ratings of several scales); ``cut``, the performance that parts good from not
            good; ``tenth`` of the scale, or as much as there is left, and ``room``, all that is left, in points. All is
            ``open`` with ROX-D01.
        slopes: Draws of the slopes, one column per driver in the order of ``table``.
        r2: R² of all drivers, without the random numbers.
        chance: Share that random numbers got beside them; with it the shares sum to R² of drivers and random numbers.
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
    events: Sequence[str | Recorded] = (),
    topics: Sequence[str | Recorded] = (),
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
            kind, ``complaint/*`` for all of one kind; a topic that has ``/`` itself as it stands.
        months: How many months before the answer's own.
        target: Mean rating that is good enough, as a part of the scale with ratings of several scales; by default the
            mean over the ratings.
        level: Level of the intervals.
        weighted: Whether answers count with their design weight.
        rng: Seed of the draws of ranks.

    Raises:
        DataError: No such question, a driver given twice, fewer than one month or two drivers, too few answers or none
            with all that came before it on record, a driver that does not vary or is a sum of
            others, or two that are never given together.

    References:
        Grömping 2007, *The American Statistician* 61(2); Johnson 2000, *Multivariate Behavioral Research* 35(1);
        Tonidandel & LeBreton 2011, *Journal of Business and Psychology* 26; Brandt 1988; Mittal, Ross & Baldasare 1998,
        *Journal of Marketing* 62(1); Martilla & James 1977.
    """
    wanted = tuple(tables.study.drivers if ratings is None else ratings)
    if len(wanted) + len(events) + len(topics) < 2:
        raise DataError(
            "Drivers are compared with each other: two are needed.",
            ["declare [drivers.NAME] in the study, or give events"],
        )
    counts = [each.name if isinstance(each, Recorded) else f"events_{each}" for each in events]
    counts += [each.name if isinstance(each, Recorded) else f"topic_{each}" for each in topics]
    require_once([*wanted, *counts], months)
    rows = given(tables, score, ratings=wanted, events=events, topics=topics, months=months, weighted=weighted)
    if rows.left_out == rows.answers > 0:
        raise DataError(
            "No answer has all that came before it on record.",
            [
                f"{rows.answers} answers; the {months} months before each must lie within the events and feedback, and "
                "after the customer's opening; give a smaller `months`, or leave out what is counted"
            ],
        )
    names, sums, asked = pair_sums(tables, rows)
    count = len(rows.drivers)
    every = np.concatenate([sums.sum(0)[None], sums.sum(0) - sums])
    _require_enough(names, sums, every, tables.study.about.min_cell)
    contrasted = _contrasted(tables, rows) if rows.ratings else None
    parts = parts_of(rows, tables.study.drivers)
    measured, errors, repaired = _measured(
        every, None if contrasted is None else contrasted.slopes, count, list(parts.values())
    )
    whole, left_out = measured[0], measured[1:]
    covariance = _jackknife(left_out) + np.diag(errors**2)
    cells = Measured(
        drivers=count,
        ratings=len(rows.ratings),
        parts=len(parts),
        whole=whole,
        errors=errors,
        drawn=np.random.default_rng(rng).multivariate_normal(whole, covariance, DRAWS, method="svd"),
        covariance=covariance,
    )
    matrix = _matrix(sums.sum(0))[0]
    halo = _halo(rows, matrix)
    is_halo = halo is not None and halo.verdict is Verdict.DEMOTE
    people, about = within_products(tables, rows)
    repeated = about if people >= FEW * count else None
    table, ranks = ranking(rows, cells, sums, matrix, repeated, level, recorded_first=is_halo)
    asymmetry = pd.DataFrame() if contrasted is None else contrasts(rows, cells, contrasted, level)
    scale, mean = scale_of(tables.study, score), float(pairwise(sums.sum(0))[1][-1])
    sign = 1.0 if scale.higher_is_better else -1.0
    quadrant = quadrants(rows, cells, tables.study.drivers, target, sign)
    grouped, pillar_ranks = pillars(rows, cells, parts, level, recorded_first=is_halo)
    without_chance = np.r_[0:count, count + 1]
    return Drivers(
        score=score,
        table=table,
        ranks=ranks,
        asymmetry=asymmetry,
        pillars=grouped,
        pillar_ranks=pillar_ranks,
        quadrant=quadrant.assign(quadrant="open", by_slope="open") if is_halo else quadrant,
        slopes=pd.DataFrame(cells.drawn[:, cells.part("slope")], columns=list(rows.drivers))[list(table["driver"])],
        r2=float(shares.johnson(matrix[np.ix_(without_chance, without_chance)]).r2),
        chance=float(whole[count]),
        headroom=scale.high - mean if scale.higher_is_better else mean - scale.low,
        checks=tuple(_checks(rows, matrix, sums, repaired, asymmetry, halo, asked, months)),
    )


def _contrasted(tables: Tables, rows: Given) -> Contrasted:
    """Measure what low and high ratings go with, of all answers and then without each bucket."""
    histogram = histograms(tables, rows)
    cuts = {name: limits(histogram[name]) for name in rows.ratings}
    products, firsts = contrast_sums(tables, rows, cuts, normal_scores(histogram["value"]))
    slopes, known = contrast_slopes(within_strata(products, firsts))
    share = np.diagonal(products.sum(0)) / products.sum(0)[0, 0]
    r = len(rows.ratings)
    return Contrasted(
        cuts=tuple(cuts[name] for name in rows.ratings),
        known=known & [cuts[name].known for name in rows.ratings],
        low_share=share[1 : r + 1],
        high_share=share[r + 1 : 2 * r + 1],
        slopes=slopes,
    )


def _matrix(sums: Floats) -> tuple[Floats, float]:
    """Return the correlations of drivers, chance and score, repaired where no data could have them, and the repair."""
    return shares.nearest_correlation(pairwise(sums)[0])


def _measured(
    sums: Floats, contrasted: Floats | None, count: int, parts: Sequence[Sequence[int]]
) -> tuple[Floats, Floats, float]:
    """Return per replicate what :class:`Measured` holds, (replicate, v), its Monte Carlo errors, and the repair."""
    repairs = [_matrix(each) for each in sums]
    matrices = np.stack([matrix for matrix, _ in repairs])
    split = shares.lmg(matrices, rng=0)
    told = [split.shares, pairwise(sums)[1][:, :count], _slopes(matrices, sums, count)]
    told += [] if contrasted is None else [contrasted]
    errors = [split.error[0], *(np.zeros(each.shape[1]) for each in told[1:])]
    if parts:
        grouped = shares.lmg(matrices, groups=[*parts, [count]], rng=0)
        told.append(grouped.shares[:, :-1])
        errors.append(grouped.error[0, :-1])
    return np.concatenate(told, axis=1), np.concatenate(errors), repairs[0][1]


def _slopes(matrices: Floats, sums: Floats, count: int) -> Floats:
    """Return the slopes of the regression on all drivers, (replicate, driver)."""
    w, a, aa = (np.diagonal(sums[:, part], axis1=-2, axis2=-1) for part in (0, 1, 3))
    spread = np.sqrt(np.maximum(aa / w - (a / w) ** 2, 0.0))
    standard = np.linalg.solve(matrices[:, :count, :count], matrices[:, :count, -1:])[..., 0]
    return np.asarray(standard * spread[:, -1:] / spread[:, :count])


def _jackknife(left_out: Floats) -> Floats:
    apart = left_out - left_out.mean(0)
    return np.asarray((len(left_out) - 1) / len(left_out) * apart.T @ apart)


def _require_enough(names: Sequence[str], sums: Floats, every: Floats, least: int) -> None:
    """Refuse what cannot be compared; ``every`` holds the sums of all buckets, then those without each."""
    matrix, weight = pairwise(every)[0], np.diagonal(sums.sum(0)[0])
    told, drivers = np.asarray(np.isfinite(matrix).all(0)), len(names) - 2
    dead = [place for place in range(len(names)) if not told[place, place]]
    few = {place for place in dead if np.isfinite(matrix[0, place, place])}
    faults = [
        f"{names[place]}: {'varies among too few customers' if place in few else 'does not vary among the answers'}; "
        "leave it out"
        for place in dead
        if place != drivers
    ]
    for i, j in combinations(range(drivers), 2):
        if not told[i, j] and i not in dead and j not in dead:
            faults.append(f"{names[i]} and {names[j]}: too few answers hold both, or they do not vary; leave one out")
    if not faults and (tied := shares.dependent(matrix[0, :drivers, :drivers])):
        said = ", ".join(names[place] for place in tied)
        faults.append(f"{said}: one is a sum of the others; leave one out")
    answers = float(weight[-1]) / (WEIGHT_UNITS / 1000 / 1000)
    filled = int((sums[:, 0, -1, -1] > 0).sum())
    if filled < min(BUCKETS, max(SHOWN_FROM, least)) or not answers > 0:
        faults.append(f"answers of customers in {filled} of {BUCKETS} groups; at least {SHOWN_FROM} groups are needed")
    if faults:
        raise DataError("The drivers cannot be compared.", faults)


def _halo(rows: Given, matrix: Floats) -> Check | None:
    """Say whether the ratings mostly measure one impression; with fewer than two there is nothing to say."""
    r = len(rows.ratings)
    if r < 2:
        return None
    places = [*range(r), len(matrix) - 1]
    least, factor = shares.general_factor(matrix[np.ix_(places, places)])
    is_halo = least > HALO_PAIRS and factor > HALO_FACTOR
    values = {"least": least, "factor": 100 * factor}
    return Check(code="ROX-D01", verdict=Verdict.DEMOTE if is_halo else Verdict.PASS, values=values)


def _checks(
    rows: Given,
    matrix: Floats,
    sums: Floats,
    repaired: float,
    asymmetry: pd.DataFrame,
    halo: Check | None,
    asked: int,
    months: int,
) -> Iterator[Check]:
    count = len(rows.drivers)
    if not rows.ratings:
        yield Check(code="ROX-D07", verdict=Verdict.NOTE)
    if rows.left_out:
        values = {"left_out": rows.left_out, "answers": rows.answers, "months": months}
        yield Check(code="ROX-D10", verdict=Verdict.NOTE, values=values)
    if asked < FEW * count:
        values = {"customers": asked, "drivers": count, "needed": FEW * count}
        yield Check(code="ROX-D09", verdict=Verdict.DEMOTE, values=values)
    if halo is not None:
        yield halo
    if len(asymmetry):
        is_thin = asymmetry[["low_share", "high_share"]].min(axis=1) < LEAST_PART
        if len(thin := asymmetry[is_thin | asymmetry["penalty"].isna()]["driver"]):
            yield Check(code="ROX-D02", verdict=Verdict.NOTE, values={"drivers": ", ".join(thin)})
    given_both = complete_share(sums, count)
    if repaired > 0.01:
        yield Check(code="ROX-D03", verdict=Verdict.NOTE, values={"change": repaired, "share": 100 * given_both})
    without = [*range(count), len(matrix) - 1]
    inflation = shares.variance_inflation(matrix[np.ix_(without, without)])
    if inflation.max() > CROWDED:
        worst = rows.drivers[int(inflation.argmax())]
        yield Check(code="ROX-D04", verdict=Verdict.NOTE, values={"driver": worst, "factor": float(inflation.max())})
