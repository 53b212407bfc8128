"""Least squares from sums of products by bucket of customers, with group effects taken out, leaving a bucket out at a
time.

Normal equations add up over rows, so that those of all buckets but one are a difference, and every replicate of a slope
is the exact slope of the remaining rows (Frisch & Waugh 1933; Lovell 1963). b = buckets, p = columns, d = effects.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from rox.numerics.arrays import Bools, Floats, complain, freeze

COLLINEAR = 1e-10
"""A column of which this share of its sum of squares is left beside the others has nothing of its own."""


@dataclass(frozen=True, kw_only=True)
class Inside:
    """Products of p columns from which effects are taken out, of all rows and then without each of b buckets.

    Attributes:
        values: Shape (1 + b, p, p).
        spread: Shape (p,): sums of squares of the columns as given.
    """

    values: Floats
    spread: Floats

    def __post_init__(self) -> None:
        freeze(self, "values", "spread")

    def live(self, columns: Sequence[int]) -> list[int]:
        """Keep the columns that have something of their own beside the effects and those before them."""
        columns = list(columns)
        own = self.values[0][np.ix_(columns, columns)]
        scale = np.diag(own) > COLLINEAR * self.spread[columns]
        live = [column for column, is_live in zip(columns, scale, strict=True) if is_live]
        kept = _independent(self.values[0][np.ix_(live, live)])
        return [column for column, is_kept in zip(live, kept, strict=True) if is_kept]

    def coefficients(self, columns: Sequence[int], others: Sequence[int]) -> Floats:
        """Regress columns on others of which none makes another, shape (1 + b, others, columns)."""
        columns, others = list(columns), list(others)
        across = self.values[:, others][..., columns]
        if not others:
            return across
        return _solved(self.values[:, others][..., others], across, kept=np.ones(len(others), dtype=bool))

    def rest(self, columns: Sequence[int], others: Sequence[int]) -> Floats:
        """Return the products of some columns with what others explain of them taken out, shape (1 + b, k, k)."""
        columns, others = list(columns), self.live(others)
        across = self.values[:, others][..., columns]
        found: Floats = self.values[:, columns][..., columns]
        return found - across.transpose(0, 2, 1) @ self.coefficients(columns, others) if others else found

    def slope(self, outcome: int, regressor: int, others: Sequence[int] = ()) -> Floats:
        """Return the slope of one column on another beside others, shape (1 + b,); NaN where nothing is left of it."""
        left = self.rest([outcome, regressor], others)
        moves = left[:, 1, 1] > COLLINEAR * self.spread[regressor]
        found: Floats = np.divide(left[:, 0, 1], left[:, 1, 1], out=np.full(len(left), np.nan), where=moves)
        return found

    def instrumented(self, outcome: int, regressor: int, instrument: int, others: Sequence[int] = ()) -> Floats:
        """Return the slope with another column in the regressor's place in the moments (Wald), shape (1 + b,)."""
        left = self.rest([outcome, regressor, instrument], others)
        with np.errstate(divide="ignore", invalid="ignore"):
            found: Floats = left[:, 2, 0] / left[:, 2, 1]
        return found


@dataclass(frozen=True, kw_only=True)
class NormalEquations:
    """Weighted sums of products of p columns and d indicators of effects that are to be taken out.

    Attributes:
        products: Shape (b, p, p): z'z.
        effects: Shape (b, d, p): the sums of the columns by effect, D'z.
        overlap: Shape (b, d, d), D'D; or (b, d), its diagonal, where no row has two effects.
        rows: Shape (b,): number of rows.

    Raises:
        ValueError: Shapes that do not fit.
    """

    products: Floats
    effects: Floats
    overlap: Floats
    rows: Floats

    def __post_init__(self) -> None:
        b, p = self.products.shape[:2]
        d = self.effects.shape[1]
        faults = []
        if self.products.shape != (b, p, p) or self.effects.shape != (b, d, p) or self.rows.shape != (b,):
            shapes = (self.products.shape, self.effects.shape, self.rows.shape)
            faults.append(f"products, effects and rows must be (b, p, p), (b, d, p) and (b,), got {shapes}")
        if self.overlap.shape not in ((b, d), (b, d, d)):
            faults.append(f"overlap must be ({b}, {d}) or ({b}, {d}, {d}), got {self.overlap.shape}")
        complain(faults)
        freeze(self, "products", "effects", "overlap", "rows")

    def without(self, other: NormalEquations) -> NormalEquations:
        """Take away the sums of some of the rows.

        Raises:
            ValueError: They are of another shape.
        """
        names = ("products", "effects", "overlap", "rows")
        if any(getattr(self, name).shape != getattr(other, name).shape for name in names):
            raise ValueError("the sums to be taken away must be of the same columns, effects and buckets")
        return NormalEquations(**{name: getattr(self, name) - getattr(other, name) for name in names})

    @cached_property
    def inside(self) -> Inside:
        """What the effects leave of the products, z'Mz."""
        products, effects, overlap = (_left_out(each) for each in (self.products, self.effects, self.overlap))
        if overlap.ndim == 2:
            share = np.divide(
                effects, overlap[..., None], out=np.zeros_like(effects), where=_present(overlap)[..., None]
            )
        else:
            share = _solved(overlap, effects, kept=_independent(overlap[0]))
        values = products - effects.transpose(0, 2, 1) @ share
        return Inside(values=values, spread=np.diagonal(self.products.sum(0)))

    @cached_property
    def count(self) -> Floats:
        """Return the number of rows of all buckets, then of all but each, shape (1 + b,)."""
        return _left_out(self.rows)

    def residual(self, column: int, others: Sequence[int]) -> tuple[Floats, Floats]:
        """Return how to make what is left of a column from the columns and the effects of a row.

        Returns:
            Coefficients of the columns, shape (p,), and what to take off by effect, shape (d,): the column less others
            less effects is the residual.
        """
        coefficient = np.zeros(self.products.shape[1])
        coefficient[column] = 1.0
        live = self.inside.live(others)
        coefficient[live] -= self.inside.coefficients([column], live)[0, :, 0]
        sums, overlap = self.effects.sum(0) @ coefficient, self.overlap.sum(0)
        if overlap.ndim == 1:
            return coefficient, np.divide(sums, overlap, out=np.zeros_like(sums), where=_present(overlap))
        return coefficient, _solved(overlap[None], sums[None, :, None], kept=_independent(overlap))[0, :, 0]


def _left_out(parts: Floats) -> Floats:
    total = parts.sum(0)
    return np.concatenate([total[None], total - parts])


def _present(weight: Floats) -> Bools:
    """Mark the effects that have rows; what rounding leaves of those of a bucket is none."""
    return np.asarray(weight > 1e-9 * weight.max(axis=-1, keepdims=True, initial=0.0))


def _independent(matrix: Floats) -> Bools:
    """Mark the columns of a cross-product, shape (p, p), that the ones before them do not make, by Cholesky."""
    left = matrix.astype(float).copy()
    size = np.diag(matrix).copy()
    kept = np.zeros(len(left), dtype=bool)
    for place in range(len(left)):
        pivot = left[place, place]
        if not pivot > COLLINEAR * size[place] or not size[place] > 0:
            continue
        kept[place] = True
        column = left[:, place] / pivot
        left -= np.outer(column, left[place])
    return kept


def _solved(matrices: Floats, right: Floats, *, kept: Bools) -> Floats:
    """Solve for the kept columns of cross-products, shape (r, d, d) and (r, d, q); the others get 0.

    A column that a replicate has no rows of gets 0; where it makes others collinear, the shortest solution is taken.
    """
    out = np.zeros_like(right)
    inner, moment = matrices[:, kept][..., kept], right[:, kept]
    scale = np.sqrt(np.maximum(np.diagonal(inner, axis1=1, axis2=2), 0.0))
    gone = scale <= 1e-7 * scale[:1]
    scale = np.where(gone, 1.0, scale)
    inner = inner / (scale[:, :, None] * scale[:, None, :])
    inner = np.where(gone[:, :, None] | gone[:, None, :], 0.0, inner) + gone[:, :, None] * np.eye(inner.shape[1])
    moment = np.where(gone[..., None], 0.0, moment / scale[..., None])
    try:
        triangle = np.linalg.cholesky(inner)
        safe = (np.diagonal(triangle, axis1=1, axis2=2) > np.sqrt(COLLINEAR)).all(1)
    except np.linalg.LinAlgError:
        safe = np.zeros(len(inner), dtype=bool)
    found = np.zeros_like(moment)
    found[safe] = np.linalg.solve(inner[safe], moment[safe])
    for place in np.flatnonzero(~safe):
        found[place] = np.linalg.pinv(inner[place], rcond=COLLINEAR, hermitian=True) @ moment[place]
    out[:, kept] = found / scale[..., None]
    return out
