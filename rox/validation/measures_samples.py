"""Samples of answers and of exits whose truth is known, reduced to what the estimators of measures read.

An answer is a standard normal reading, shifted by the class of its customer and cut at thresholds; what a customer's
answers share is a part of it that lasts. Arrays have shape (runs, answers), runs being replications.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd
from scipy import stats

from rox.numerics.arrays import Bools, Floats, Ints

SAMPLE = (0.48, 0.25, 0.16, 0.065, 0.045)
"""Shares of five segments in a sample, as a bank draws it: the wealthy are drawn more often."""
POPULATION = (0.88, 0.10, 0.018, 0.0012, 0.0008)
"""Their shares among all customers."""
SHIFTS = (-0.15, 0.05, 0.20, 0.30, 0.40)
LEAVE = (0.15, 0.085, 0.057, 0.032, 0.020)
"""Shares of them that leave in a year."""
FOLLOWED = 12
"""Months that customers are followed for exits."""
AT_ONCE = 1_000_000
"""Answers drawn at a time."""
CUTS = (-1.75, -1.17, -0.52, 0.52)
"""Between the answers 1 to 5 of a satisfaction question."""
MEASURES: Mapping[str, tuple[float, float]] = {"nps": (0.20, -0.58), "nps_rare": (-1.08, -1.88)}
"""Readings from which on somebody is a promoter, and below which a detractor: usual, and few detractors."""
SHARES: Mapping[str, float] = {"top_two": CUTS[2], "top_two_rare": -1.645}
"""Readings from which on an answer is one of the two best: usual, and nearly all."""


@dataclass(frozen=True, kw_only=True)
class Design:
    """How answers are drawn.

    Attributes:
        name: What it is called.
        shares: Of classes of customers in the sample.
        population: Of the same among all customers.
        shifts: Of the readings of each class, in standard deviations.
        leave: Share of each class that leaves in a year.
        is_stratified: Whether classes are strata of fixed size; else a customer's class is a matter of chance.
        spread: Standard deviation of the logarithm of weights besides those of the classes.
        repeats: Answers of one customer after the other, over and over.
        alike: Correlation of the readings of one customer.
    """

    name: str
    shares: tuple[float, ...] = (1.0,)
    population: tuple[float, ...] = (1.0,)
    shifts: tuple[float, ...] = (0.0,)
    leave: tuple[float, ...] = (0.15,)
    is_stratified: bool = False
    spread: float = 0.0
    repeats: tuple[int, ...] = (1,)
    alike: float = 0.0

    def sizes(self, n: int) -> Ints:
        """Return the answers of each stratum; at least two."""
        if not self.is_stratified:
            return np.array([n])
        sizes = np.maximum(np.round(n * np.array(self.shares)), 2).astype(np.int64)
        sizes[0] += n - sizes.sum()
        return sizes

    def truth(self, measure: str, *, shift: float = 0.0) -> float:
        """Return a measure of the population: NPS points, points of the scale, or a share."""
        z = np.array(self.shifts) + shift
        if measure in MEASURES:
            high, low = MEASURES[measure]
            values = 100 * (stats.norm.sf(high - z) - stats.norm.cdf(low - z))
        elif measure == "mean":
            values = 1 + sum(stats.norm.sf(cut - z) for cut in CUTS)
        else:
            values = stats.norm.sf(SHARES[measure] - z)
        return float(np.average(values, weights=self.population))

    def true_churn(self) -> float:
        """Return the share gone after a year at the hazard of the population's first months, 1 − exp(−12·hazard)."""
        monthly = 1 - (1 - np.array(self.leave)) ** (1 / 12)
        gone = 1 - (1 - monthly) ** FOLLOWED
        population = np.array(self.population)
        hazard = (population * gone).sum() / (population * gone / monthly).sum()
        return float(-np.expm1(-12 * hazard))


def _banked(name: str, **said: object) -> Design:
    return Design(name=name, shares=SAMPLE, population=POPULATION, shifts=SHIFTS, leave=LEAVE, **said)  # type: ignore[arg-type]


LEVELS = (
    Design(name="plain"),
    _banked("weighted", spread=0.6),
    Design(name="clustered", repeats=(1, 1, 1, 2, 2, 5), alike=0.6),
    _banked("stratified", is_stratified=True),
    _banked("everything", is_stratified=True, spread=0.3, repeats=(1, 1, 1, 2, 2, 5), alike=0.6),
)
"""Designs in which levels are measured."""
CHURNS = (
    Design(name="plain"),
    Design(name="rare", leave=(0.04,)),
    _banked("stratified", is_stratified=True),
)
"""Designs in which yearly churn is measured."""
WAVES: Mapping[str, tuple[Design, float]] = {
    "unpaired": (_banked("stratified", is_stratified=True, alike=0.6), 0.0),
    "overlapping": (_banked("stratified", is_stratified=True, alike=0.6), 0.4),
    "paired": (_banked("stratified", is_stratified=True, alike=0.6), 1.0),
    "paired, plain": (Design(name="plain", alike=0.6), 1.0),
}
"""Designs in which a change is measured, and the share of customers who answer in both waves."""
MOVED = 0.15
"""True shift of every reading from the first wave to the second, in standard deviations."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Sample:
    """Answers of many runs. r = runs, n = answers, c = customers, h = strata; a customer's answers stand together.

    Attributes:
        reading: (r, n) standardised readings.
        weight: (r, n) design weights.
        group: (r, n) class of the customer.
        customer: (n,) number of the customer.
        first: (c,) first answer of each customer.
        stratum: (h,) first customer of each stratum.
        shared: (n,) whether the customer answers in the other wave too.
    """

    reading: Floats
    weight: Floats
    group: Ints
    customer: Ints
    first: Ints
    stratum: Ints
    shared: Bools

    def value(self, measure: str) -> Floats:
        """Return what each answer counts, (r, n)."""
        if measure in MEASURES:
            high, low = MEASURES[measure]
            return (self.reading >= high).astype(np.float64) - (self.reading < low)
        if measure == "mean":
            return np.asarray(1.0 + sum((self.reading >= cut) for cut in CUTS))
        return (self.reading >= SHARES[measure]).astype(np.float64)

    def by_customer(self, values: Floats) -> Floats:
        """Add up the answers of each customer, (r, c)."""
        return values if self.first.size == values.shape[1] else np.add.reduceat(values, self.first, axis=1)

    def by_stratum(self, values: Floats) -> Floats:
        """Add up the customers of each stratum, (r·h,)."""
        return np.add.reduceat(values, self.stratum, axis=1).ravel()

    def keys(self) -> pd.DataFrame:
        """Return ``run`` and ``stratum`` of what ``by_stratum`` gives."""
        runs, strata = len(self.reading), self.stratum.size
        return pd.DataFrame({"run": np.repeat(np.arange(runs), strata), "stratum": np.tile(np.arange(strata), runs)})


def draws(design: Design, n: int, runs: int, rng: np.random.Generator) -> Iterator[Sample]:
    """Draw samples of ``n`` answers, as many runs at a time as fit in memory."""
    for size in _chunks(runs, n):
        yield _drawn(design, n, size, rng)


def two_waves(
    design: Design, n: int, shared: float, runs: int, rng: np.random.Generator
) -> Iterator[tuple[Sample, Sample]]:
    """Draw a later and an earlier wave of ``n`` customers each, a share of whom answers in both."""
    for size in _chunks(runs, 2 * n):
        sizes = design.sizes(n)
        both = np.concatenate([np.arange(each) < round(shared * each) for each in sizes])
        lasting = rng.standard_normal((2, size, n))
        lasting[1, :, both] = lasting[0, :, both]
        later = _drawn(design, n, size, rng, lasting=lasting[0], shift=MOVED, both=both)
        yield later, _drawn(design, n, size, rng, lasting=lasting[1], both=both)


def moments_of(sample: Sample, *measures: str) -> pd.DataFrame:
    """Reduce a sample as ``rox.metrics.cells.moments`` reduces rows, by run and stratum."""
    counts = np.ones((1, sample.customer.size))
    n = sample.by_stratum(np.broadcast_to(sample.by_customer(counts), (len(sample.weight), sample.first.size)))
    m = np.diff(np.append(sample.stratum, sample.first.size))
    x = sample.by_customer(sample.weight)
    columns = {
        "n": n,
        "m": np.tile(m, len(sample.weight)).astype(float),
        "x": sample.by_stratum(x),
        "ww": sample.by_stratum(sample.by_customer(sample.weight**2)),
        "xx": sample.by_stratum(x**2),
    }
    for name in measures:
        value = sample.value(name)
        weighted = sample.weight * value
        y = sample.by_customer(weighted)
        columns |= {
            f"y_{name}": sample.by_stratum(y),
            f"s_{name}": sample.by_stratum(sample.by_customer(weighted * value)),
            f"yy_{name}": sample.by_stratum(y**2),
            f"xy_{name}": sample.by_stratum(x * y),
        }
    return sample.keys().assign(**columns)


def overlaps_of(later: Sample, earlier: Sample, measure: str) -> pd.DataFrame:
    """Reduce two waves as ``rox.metrics.cells.overlaps`` does, by run and stratum."""
    both = later.shared.astype(float)
    x1, x0 = both * later.weight, both * earlier.weight
    y1, y0 = x1 * later.value(measure), x0 * earlier.value(measure)
    products = {"x1": x1, "x0": x0, "x1x0": x1 * x0, f"y1_{measure}": y1, f"y0_{measure}": y0}
    products |= {f"y1y0_{measure}": y1 * y0, f"y1x0_{measure}": y1 * x0, f"x1y0_{measure}": x1 * y0}
    columns = {name: later.by_stratum(each) for name, each in products.items()}
    there = later.by_stratum(np.broadcast_to(both, x1.shape))
    return later.keys().assign(both=there, **columns)


@dataclass(frozen=True, kw_only=True, eq=False)
class Stays:
    """Customers who are followed. r = runs, c = customers.

    Attributes:
        months: (r, c) months at risk.
        left: (r, c) whether they left in the last of them.
        weight: (c,) design weights.
        group: (c,) stratum.
    """

    months: Ints
    left: Bools
    weight: Floats
    group: Ints


def stays(design: Design, n: int, runs: int, rng: np.random.Generator) -> Iterator[Stays]:
    """Follow ``n`` customers for a year, as many runs at a time as fit in memory."""
    sizes = design.sizes(n)
    group = np.repeat(np.arange(sizes.size), sizes)
    stays_on = (1 - np.array(design.leave)) ** (1 / 12)
    weight = np.round((np.array(design.population) * n / sizes)[group], 6)
    for size in _chunks(runs, n):
        month = np.ceil(np.log(rng.random((size, n))) / np.log(stays_on)[group]).astype(np.int64)
        months = np.clip(month, 1, FOLLOWED)
        yield Stays(months=months, left=month <= FOLLOWED, weight=weight, group=group)


def exits_of(stays: Stays) -> pd.DataFrame:
    """Reduce customers who are followed as ``rox.metrics.cells.moments`` reduces their months, by run and stratum."""
    runs, strata = len(stays.months), int(stays.group.max()) + 1
    starts = np.searchsorted(stays.group, np.arange(strata))
    x, y = stays.weight * stays.months, stays.weight * stays.left

    def total(values: Floats) -> Floats:
        return np.add.reduceat(values, starts, axis=1).ravel()

    keys = pd.DataFrame({"run": np.repeat(np.arange(runs), strata), "stratum": np.tile(np.arange(strata), runs)})
    return keys.assign(
        n=total(stays.months.astype(float)),
        m=np.tile(np.bincount(stays.group), runs).astype(float),
        x=total(x),
        ww=total(stays.weight * x),
        xx=total(x**2),
        y_left=total(y),
        s_left=total(y),
        yy_left=total(y**2),
        xy_left=total(x * y),
    )


def _drawn(
    design: Design,
    n: int,
    runs: int,
    rng: np.random.Generator,
    *,
    lasting: Floats | None = None,
    shift: float = 0.0,
    both: Bools | None = None,
) -> Sample:
    sizes = design.sizes(n)
    first: list[Ints] = []
    strata, start = [], 0
    for size in sizes:
        answers = np.minimum(np.cumsum(np.resize(design.repeats, size)), size)
        ends = answers[: int(np.searchsorted(answers, size)) + 1]
        strata.append(sum(each.size for each in first))
        first.append(start + np.concatenate([[0], ends[:-1]]))
        start += int(size)
    begin = np.concatenate(first)
    customer = np.repeat(np.arange(begin.size), np.diff(np.append(begin, n)))
    if design.is_stratified:
        group = np.broadcast_to(np.repeat(np.arange(sizes.size), sizes), (runs, n))
        shares = sizes / n
    else:
        shares = np.array(design.shares)
        of_customer = rng.choice(shares.size, p=shares, size=(runs, begin.size)) if shares.size > 1 else 0
        group = np.broadcast_to(of_customer, (runs, begin.size))[:, customer]
    weight = (np.array(design.population) / shares)[group]
    if design.spread:
        weight = weight * np.exp(design.spread * rng.standard_normal((runs, begin.size)))[:, customer]
    own = rng.standard_normal((runs, n))
    if design.alike:
        part = rng.standard_normal((runs, begin.size))[:, customer] if lasting is None else lasting
        own = np.sqrt(design.alike) * part + np.sqrt(1 - design.alike) * own
    return Sample(
        reading=np.array(design.shifts)[group] + shift + own,
        weight=np.maximum(np.round(weight, 6), 1e-6),
        group=group,
        customer=customer,
        first=begin,
        stratum=np.array(strata),
        shared=np.zeros(n, dtype=bool) if both is None else both,
    )


def _chunks(runs: int, answers: int) -> Iterator[int]:
    most = max(AT_ONCE // answers, 1)
    for first, last in pairwise([*range(0, runs, most), runs]):
        yield last - first
