"""Rake answers to what is known of everybody, again in every replicate of the jackknife."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from rox.metrics.silence_cells import PERIODS, Cells
from rox.metrics.silence_facts import BUCKETS
from rox.numerics.arrays import Bools, Floats, Ints
from rox.numerics.raking import Raked, rake
from rox.numerics.silence import RARE


@dataclass(frozen=True, kw_only=True, eq=False)
class Weighted:
    """Sums of answers, first over everybody, then with each bucket of customers left out.

    Periods: 0 the waves before, 1 those looked at. Arrays are zero for a period without answers.

    Attributes:
        margins: Names of the margins that were used.
        dropped: Names of those left out because weights did not converge.
        raw: (1 + K, 2, v) answers by design weight.
        raked: (1 + K, 2, v) the same after raking.
        by_segment: (1 + K, 2, s, v) raked, by segment.
        segments: Their names.
        answered: (k, 1 + K, 2) raked means of the benchmarks over those who answered.
        plain: (k, 1 + K, 2) the same by design weight alone.
        everybody: (k, 1 + K, 2) means over everybody.
        spread: (k, 2) standard deviations over everybody.
        effective: (2, 2) Kish's effective answers, raw and raked, by period.
        factor: (r,) factors of the answers of the cells in the waves looked at; 0 elsewhere.
        least, most: Smallest and largest factor over the median, in the waves looked at.
    """

    margins: tuple[str, ...]
    dropped: tuple[str, ...]
    raw: Floats
    raked: Floats
    by_segment: Floats
    segments: tuple[str, ...]
    answered: Floats
    plain: Floats
    everybody: Floats
    spread: Floats
    effective: Floats
    factor: Floats
    least: float
    most: float


def weigh(cells: Cells) -> Weighted:
    """Rake the answers of each period to the margins of everybody, with replicates.

    Factors multiply design weights and are trimmed to 0.3 to 3 times their median. If the margins of a period cannot be
    met, the margin with the sparsest category is left out, in both.
    """
    used = list(range(len(cells.margins)))
    dropped = []
    present = [period for period in range(PERIODS) if cells.answers[cells.later == period].sum() > 0]
    while used:
        fits = [_raked(cells, cells.later == period, used)[1] for period in present]
        if all(fit.converged for fit in fits):
            break
        sparse = min(used, key=lambda m: _sparsest(cells, m, present))
        used.remove(sparse)
        dropped.append(cells.margins[sparse])
    names = tuple(sorted(set(cells.segment.tolist())))
    values, judges, reps = cells.given.shape[1], len(cells.judges), 1 + BUCKETS
    by_segment = np.zeros((reps, PERIODS, len(names), values))
    raw = np.zeros((reps, PERIODS, values))
    answered, plain, everybody = (np.zeros((judges, reps, PERIODS)) for _ in range(3))
    effective, spread, ends = np.zeros((2, PERIODS)), np.ones((judges, PERIODS)), (1.0, 1.0)
    factors = np.zeros(cells.cell.size)
    for period in present:
        whole = cells.later == period
        on = whole & (cells.answers.sum(1) > 0)
        given, bucket = cells.given[on], cells.bucket[on]
        home = np.asarray(names)[:, None] == cells.segment[on]
        start: Floats | None = None
        for rep in range(reps):
            left = bucket != rep - 1
            factor, fit = _raked(cells, whole & (cells.bucket != rep - 1), used, start)
            start = factor if rep == 0 else start
            factor = factor[cells.cell[on]] * left
            raw[rep, period] = left @ given
            by_segment[rep, period] = (home * factor) @ given
            plain[:, rep, period] = _ratio(cells.total[:, 1, on] @ left, cells.known[:, 1, on] @ left)
            answered[:, rep, period] = _ratio(cells.total[:, 1, on] @ factor, cells.known[:, 1, on] @ factor)
            if rep == 0:
                effective[:, period] = _kish(cells, on, np.ones(factor.size)), _kish(cells, on, factor)
                ends = fit.spread
                factors[on] = factor * period
        total, known = (_left_out(each[:, 0, whole], cells.bucket[whole]) for each in (cells.total, cells.known))
        everybody[:, :, period] = _ratio(total, known)
        square = _ratio(cells.square[:, whole].sum(1), known[:, 0])
        spread[:, period] = np.sqrt(np.maximum(square - everybody[:, 0, period] ** 2, 0.0))
    return Weighted(
        margins=tuple(cells.margins[m] for m in used),
        dropped=tuple(dropped),
        raw=raw,
        raked=by_segment.sum(2),
        by_segment=by_segment,
        segments=names,
        answered=answered,
        plain=plain,
        everybody=everybody,
        spread=spread,
        effective=effective,
        factor=factors,
        least=ends[0],
        most=ends[1],
    )


def overlap(cells: Cells, weighted: Weighted) -> tuple[float, float]:
    """Return what raking asks of answers in the waves looked at.

    Returns:
        Share of people for whom answers stand that stand for more than 100 asked each, and effective answers over those
        that design weights leave.
    """
    weight = weighted.factor * cells.given.sum(1)
    many = weighted.factor * RARE * cells.asked_share(1) > 1
    before, after = weighted.effective[:, 1]
    return float(weight[many].sum() / weight.sum()), min(float(after / before), 1.0)


def concentration(cells: Cells, factor: Floats, top: float = 0.01) -> float:
    """Return the share of all weight that the heaviest answers carry.

    Answers of one cell, group of customers and value count as equally heavy.

    Args:
        cells: The cells.
        factor: (r,) by which the design weights of answers are multiplied.
        top: How many of the answers.
    """
    n, w = cells.answers.ravel(), (cells.given * factor[:, None]).ravel()
    n, w = n[w > 0], w[w > 0]
    heaviest = np.argsort(-w / n, kind="stable")
    up, weight = (np.concatenate([[0.0], np.cumsum(each[heaviest])]) for each in (n, w))
    return float(np.interp(max(top * up[-1], 1.0), up, weight) / weight[-1])


def jackknife(replicates: Floats) -> Floats:
    """Return standard errors from the full estimate and its replicates, along the first axis."""
    left_out = replicates[1:]
    return np.asarray(np.sqrt((BUCKETS - 1) / BUCKETS * ((left_out - left_out.mean(0)) ** 2).sum(0)))


def half_width(se: float, level: float) -> float:
    """Return half the width of Student's interval of a jackknife over the buckets."""
    return float(stats.t.ppf((1 + level) / 2, BUCKETS - 1)) * se


def _raked(cells: Cells, inside: Bools, used: Sequence[int], start: Floats | None = None) -> tuple[Floats, Raked]:
    """Return the factor of every cell (1 for those without answers) and the fit.

    Given factors are raked on, untrimmed; that leads where raking from the design weights would, trimming held fixed.
    """
    count = int(cells.cell.max()) + 1
    d = np.bincount(cells.cell[inside], weights=cells.given[inside].sum(1), minlength=count)
    on = np.flatnonzero(d > 0)
    code = np.zeros((count, cells.code.shape[1]), dtype=np.int64)
    code[cells.cell] = cells.code
    people = cells.people[inside]
    if used:
        margins: list[Ints] = [code[on, m] for m in used]
        targets = [np.bincount(cells.code[inside, m], weights=people, minlength=cells.sizes[m]) for m in used]
    else:
        margins, targets = [np.zeros(on.size, dtype=np.int64)], [np.array([people.sum()])]
    factor = np.ones(count)
    if start is None:
        fit = rake(margins, targets, d[on])
        factor[on] = fit.factor
    else:
        fit = rake(margins, targets, d[on], base=d[on] * start[on], trim=None)
        factor[on] = start[on] * fit.factor
    return factor, fit


def _sparsest(cells: Cells, margin: int, present: Sequence[int]) -> float:
    return min(
        float(np.bincount(cells.code[inside, margin], weights=cells.answers[inside].sum(1)).min())
        for inside in (cells.later == period for period in present)
    )


def _ratio(total: Floats, weight: Floats) -> Floats:
    return np.asarray(np.where(weight > 0, total / np.where(weight > 0, weight, 1.0), 0.0))


def _left_out(amounts: Floats, bucket: Ints) -> Floats:
    """Return (k, 1 + K) sums: of all rows, then without each bucket."""
    own = np.stack([np.bincount(bucket, weights=each, minlength=BUCKETS) for each in amounts]) if len(amounts) else None
    if own is None:
        return np.zeros((0, 1 + BUCKETS))
    whole = own.sum(1, keepdims=True)
    return np.concatenate([whole, whole - own], axis=1)


def _kish(cells: Cells, on: Bools, factor: Floats) -> float:
    n, w = cells.answers[on].sum(1), factor * cells.given[on].sum(1)
    return float(w.sum() ** 2 / (w**2 / n).sum())
