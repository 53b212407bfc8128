"""Sums of products of what stands beside answers, from which regressions within segments and months are solved."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rox.core.derived import LookUp, Maker
from rox.models.answer_columns import MONEY, SCORE, WEIGHT, Scales, centred, product_of
from rox.models.answer_table import AnswerTable
from rox.models.slope import Slope, slope_of
from rox.numerics.normal_equations import Inside, NormalEquations

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Products:
    """Normal equations of one segment, with names. k = buckets that hold its answers.

    Attributes:
        names: Of the columns, in the order of the equations.
        equations: Over the segment's buckets.
        buckets: Shape (k,): numbers of the buckets.
        effects: What the effects are of: the month, or the month and the place.
        customers: Who gave the answers.
        unit: What one of the column of money is worth.
    """

    names: tuple[str, ...]
    equations: NormalEquations
    buckets: tuple[int, ...]
    effects: tuple[tuple[str | int, ...], ...]
    customers: int
    unit: float

    @property
    def rows(self) -> int:
        """Answers."""
        return round(float(self.equations.rows.sum()))

    @property
    def weight(self) -> Floats:
        """Weight of the answers by bucket, shape (k,)."""
        overlap = self.equations.overlap
        diagonal = overlap if overlap.ndim == 2 else np.diagonal(overlap, axis1=1, axis2=2)
        return np.asarray(diagonal[:, self.months].sum(1))

    @property
    def months(self) -> list[int]:
        """Places of the effects of months."""
        return [place for place, effect in enumerate(self.effects) if isinstance(effect[0], int)]

    def at(self, names: Sequence[str]) -> list[int]:
        """Return the places of columns."""
        return [self.names.index(name) for name in names]

    def slope(self, others: Sequence[str] = (), *, outcome: str = MONEY, regressor: str = SCORE, what: str) -> Slope:
        """Regress a column on another beside others.

        Raises:
            FitError: Nothing is left of the regressor.
        """
        y, x = self.at([outcome, regressor])
        values = self.equations.inside.slope(y, x, self.at(others)) * (self.unit if outcome == MONEY else 1.0)
        return slope_of(values, self.buckets, rows=self.rows, customers=self.customers, what=what)


def products(
    answers: AnswerTable,
    columns: Mapping[str, Maker],
    names: Sequence[str],
    scales: Scales,
    *,
    units: bool = False,
) -> dict[str, Products]:
    """Sum the products of columns by segment, with effects of months, and of places if asked.

    Args:
        answers: The answers; none of the columns may be missing.
        columns: What the columns are, and what they are made of.
        names: Those whose products are wanted.
        scales: Units of money.
        units: Whether places have effects of their own.
    """
    cells = answers.cells({"segment": "segment", "month": "month"}, sums_of_products(names, squares=True), columns)
    by_unit = None
    if units:
        keys: dict[str, Maker] = {"segment": "segment", "month": "month", "unit": lambda t: t.unit.fill_null("")}
        by_unit = answers.cells(keys, sums_of_products(names, squares=False), columns)
    found = {}
    for segment, part in cells.groupby("segment", sort=True):
        places = None if by_unit is None else by_unit[by_unit["segment"] == segment]
        found[str(segment)] = _products(part, places, tuple(names), scales.money[str(segment)])
    counts = answers.counts["customers"]
    return {name: replace(each, customers=int(counts[name])) for name, each in found.items()}


def sums_of_products(names: Sequence[str], *, squares: bool) -> dict[str, Maker]:
    """Name the weighted sums of columns, and of their products."""
    sums: dict[str, Maker] = {"w": WEIGHT}
    for i, one in enumerate(names):
        sums[f"s{i}"] = f"{WEIGHT}*{one}"
        if squares:
            sums |= {f"p{i}_{j}": f"{WEIGHT}*{one}*{other}" for j, other in enumerate(names[: i + 1])}
    return sums


def _products(cells: pd.DataFrame, by_unit: pd.DataFrame | None, names: tuple[str, ...], unit: float) -> Products:
    p = len(names)
    bucket, buckets = pd.factorize(cells["bucket"], sort=True)
    month, months = pd.factorize(cells["month"], sort=True)
    b, d = len(buckets), len(months)
    square = np.zeros((b, p, p))
    for i in range(p):
        for j in range(i + 1):
            square[:, i, j] = square[:, j, i] = np.bincount(bucket, cells[f"p{i}_{j}"], b)
    sums, weight = np.zeros((b, d, p)), np.zeros((b, d))
    np.add.at(weight, (bucket, month), cells["w"].to_numpy(dtype=float))
    np.add.at(sums, (bucket, month), cells[[f"s{i}" for i in range(p)]].to_numpy(dtype=float))
    effects: tuple[tuple[str | int, ...], ...] = tuple((int(each),) for each in months)
    overlap = weight
    if by_unit is not None:
        place, places = pd.factorize(by_unit["unit"], sort=True)
        u, at = len(places), pd.Index(buckets).get_indexer(by_unit["bucket"])
        when = pd.Index(months).get_indexer(by_unit["month"])
        of_unit, met = np.zeros((b, u, p)), np.zeros((b, d, u))
        np.add.at(of_unit, (at, place), by_unit[[f"s{i}" for i in range(p)]].to_numpy(dtype=float))
        np.add.at(met, (at, when, place), by_unit["w"].to_numpy(dtype=float))
        overlap = np.zeros((b, d + u, d + u))
        overlap[:, :d, :d] = weight[..., None] * np.eye(d)
        overlap[:, d:, d:] = met.sum(1)[..., None] * np.eye(u)
        overlap[:, :d, d:], overlap[:, d:, :d] = met, met.transpose(0, 2, 1)
        sums = np.concatenate([sums, of_unit], axis=1)
        effects = (*effects, *((str(each),) for each in places))
    rows = np.bincount(bucket, cells["n"], b).astype(float)
    return Products(
        names=names,
        equations=NormalEquations(products=square, effects=sums, overlap=overlap, rows=rows),
        buckets=tuple(int(each) for each in buckets),
        effects=effects,
        customers=0,
        unit=unit,
    )


def together(parts: Mapping[str, Products]) -> Products:
    """Put segments together without effects but one constant; money is in its own unit."""
    names = next(iter(parts.values())).names
    buckets = sorted({bucket for each in parts.values() for bucket in each.buckets})
    p, b = len(names), len(buckets)
    square, sums, weight, rows = np.zeros((b, p, p)), np.zeros((b, 1, p)), np.zeros((b, 1)), np.zeros(b)
    for each in parts.values():
        at = np.searchsorted(buckets, each.buckets)
        scale = np.array([each.unit if name == MONEY else 1.0 for name in names])
        equations = each.equations
        np.add.at(square, at, equations.products * np.outer(scale, scale))
        np.add.at(sums[:, 0], at, equations.effects[:, each.months].sum(1) * scale)
        np.add.at(weight[:, 0], at, each.weight)
        np.add.at(rows, at, equations.rows)
    return Products(
        names=names,
        equations=NormalEquations(products=square, effects=sums, overlap=weight, rows=rows),
        buckets=tuple(buckets),
        effects=((0,),),
        customers=sum(each.customers for each in parts.values()),
        unit=1.0,
    )


def common_slope(parts: Mapping[str, Products], others: Sequence[str] = (), *, what: str) -> Slope:
    """Regress money on the score with one slope for all segments, each with effects of its own.

    Raises:
        FitError: Nothing is left of the score.
    """
    names = next(iter(parts.values())).names
    buckets = sorted({bucket for each in parts.values() for bucket in each.buckets})
    values, spread = np.zeros((1 + len(buckets), len(names), len(names))), np.zeros(len(names))
    for each in parts.values():
        scale = np.array([each.unit if name == MONEY else 1.0 for name in names])
        inside = each.equations.inside
        own = np.broadcast_to(inside.values[0], values.shape).copy()
        own[1 + np.searchsorted(buckets, each.buckets)] = inside.values[1:]
        values += own * np.outer(scale, scale)
        spread += inside.spread * scale**2
    at = [names.index(each) for each in others]
    found = Inside(values=values, spread=spread).slope(names.index(MONEY), names.index(SCORE), at)
    rows, customers = sum(each.rows for each in parts.values()), sum(each.customers for each in parts.values())
    return slope_of(found, buckets, rows=rows, customers=customers, what=what)


@dataclass(frozen=True, kw_only=True, eq=False)
class Regressed:
    """A regression of money on the score in every segment, and who pulls it.

    Attributes:
        answers: The answers.
        columns: What the columns are made of.
        scales: Units.
        others: Columns that are held equal.
        summed: Makes the normal equations by segment of some answers.
        centred: Whether the columns are deviations from the customer's mean.
    """

    answers: AnswerTable
    columns: Mapping[str, Maker]
    scales: Scales
    others: tuple[str, ...]
    summed: Callable[[AnswerTable], dict[str, Products]]
    centred: bool = False

    @cached_property
    def parts(self) -> dict[str, Products]:
        """Normal equations by segment."""
        return self.summed(self.answers)

    @cached_property
    def fits(self) -> dict[str, Slope]:
        """Slopes by segment."""
        return {name: each.slope(self.others, what=name) for name, each in self.parts.items()}

    def without_loudest(self, shares: Floats, top: int) -> dict[str, Slope]:
        """Estimate again without the customers who pull the overall slope most."""
        loud = self._loudest(shares, top)
        found = self.summed(self.answers.where(lambda t: t.customer.isin(loud)))
        fits = dict(self.fits)
        for name, part in found.items():
            own = self.parts[name]
            rest = own.equations.without(_laid_out(part, own)).inside
            money, score = own.at([MONEY, SCORE])
            values = rest.slope(money, score, own.at(self.others)) * own.unit
            fits[name] = replace(fits[name], value=float(values[0]))
        return fits

    def _loudest(self, shares: Floats, top: int) -> list[int]:
        """Find the customers whose rows have the largest sum of residual score times residual money."""
        makers: dict[str, Maker] = {**self.columns, "rox_place": lambda t: t.unit.fill_null("")}
        for what, others in ((SCORE, self.others), (MONEY, (*self.others, SCORE))):
            makers |= self._residual(what, others, shares if what == MONEY else np.ones_like(shares))
        product = product_of(WEIGHT, f"{SCORE}_left", f"{MONEY}_left")
        makers["rox_pull"] = lambda t: product(t).sum().over(group_by="customer")
        makers["rox_first"] = lambda t: t.place == t.place.min().over(group_by="customer")
        makers["rox_quiet"] = lambda t: t.rox_first.ifelse(-t.rox_pull.abs(), 1e300)
        makers["rox_rank"] = lambda t: t.rox_quiet.rank()
        found = self.answers.cells({"customer": "customer"}, {}, makers, lambda t: t.rox_first & (t.rox_rank < top))
        return [int(each) for each in found["customer"]]

    def _residual(self, what: str, others: Sequence[str], shares: Floats) -> dict[str, Maker]:
        """Describe what others and effects leave of a column; of money in units of what it moves the overall slope."""
        names = next(iter(self.parts.values())).names
        by_column: dict[str, dict[tuple[str | int, ...], float]] = {name: {} for name in names}
        by_month: dict[tuple[str | int, ...], float] = {}
        by_place: dict[tuple[str | int, ...], float] = {}
        for (segment, part), share in zip(self.parts.items(), shares, strict=True):
            coefficient, effect = part.equations.residual(part.at([what])[0], part.at(others))
            strength = float(share)
            if what == MONEY:
                strength *= part.unit / part.equations.inside.rest(part.at([SCORE]), part.at(self.others))[0, 0, 0]
            for name, value in zip(part.names, coefficient, strict=True):
                by_column[name][(segment,)] = float(value) * strength
            for place, value in zip(part.effects, effect, strict=True):
                (by_month if isinstance(place[0], int) else by_place)[(segment, *place)] = float(value) * strength
        found: dict[str, Maker] = {
            f"{what}_by_{name}": LookUp(keys=("segment",), values=values) for name, values in by_column.items()
        }
        found[f"{what}_month"] = LookUp(keys=("segment", "month"), values=by_month)
        found[f"{what}_place"] = LookUp(keys=("segment", "rox_place"), values=by_place)
        if self.centred:
            found[f"{what}_month_0"] = found.pop(f"{what}_month")
            found[f"{what}_month"] = centred(f"{what}_month_0")
        return found | {f"{what}_left": _left(what, names)}


def _left(what: str, names: Sequence[str]) -> Any:
    def column(table: Any) -> Any:
        value = -table[f"{what}_month"] - table[f"{what}_place"]
        for name in names:
            value = value + table[f"{what}_by_{name}"] * table[name]
        return value

    return column


def _laid_out(part: Products, whole: Products) -> NormalEquations:
    """Lay the sums of some customers out as those of all."""
    b, d, p = len(whole.buckets), len(whole.effects), len(whole.names)
    at = np.searchsorted(whole.buckets, part.buckets)
    effect = np.array([whole.effects.index(each) for each in part.effects])
    square, sums, rows = np.zeros((b, p, p)), np.zeros((b, d, p)), np.zeros(b)
    square[at], rows[at] = part.equations.products, part.equations.rows
    sums[np.ix_(at, effect)] = part.equations.effects
    overlap = np.zeros_like(whole.equations.overlap)
    overlap[np.ix_(at, *([effect] * (overlap.ndim - 1)))] = part.equations.overlap
    return NormalEquations(products=square, effects=sums, overlap=overlap, rows=rows)
