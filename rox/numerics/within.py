"""Two-way fixed effects from sums over customers: what remains to be done once the rows have been read.

y = x'b + customer effect + period effect + e. With M the projection off the customer effects and D the period
dummies, D'MD and D'Mz need only, per customer, the sums of z and which periods are present, so the period effects
A = (D'MD)^- D'Mz of every variable are known after one reading of the rows. Then z - A - (customer mean of z - A) is
doubly demeaned exactly, row by row (Frisch & Waugh 1933; Lovell 1963), and its cross-products and each customer's
score are sums again. Nothing is iterated and balance is not required.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from rox.numerics.arrays import Bools, Floats, Ints, complain, freeze

ABSORBED = 1e-9
"""A regressor that keeps less than this share of its norm once customer and period effects are out is absorbed."""
COLLINEAR = 1e-13
"""A regressor that keeps less than this share of its squared norm beside the earlier ones repeats them."""
UNCONNECTED = 1e-10
"""Smaller eigenvalues of the normalised period table (0..1) mean parts of the panel that share no customer."""


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Rows as they come; n rows, m variables with the outcome first, nothing missing."""

    customer: Ints
    """(n,) codes within the shard, from 0."""
    period: Ints
    """(n,) segment * periods + period, from 0."""
    values: Sequence[Floats]
    """m arrays (n,)."""
    weight: Floats | None = None
    """(n,) positive; None for equal weights."""

    @property
    def rows(self) -> int:
        """Number of rows."""
        return int(self.customer.size)

    def cut(self, chosen: slice | Ints) -> Batch:
        """Keep some of the rows."""
        return Batch(
            customer=self.customer[chosen],
            period=self.period[chosen],
            values=[values[chosen] for values in self.values],
            weight=None if self.weight is None else self.weight[chosen],
        )


@dataclass(frozen=True, kw_only=True)
class Shard:
    """Rows of customers that occur in no other shard; `batches` can be called again and again.

    `hold` keeps the rows in memory as long as the shard is worked on, so that its source is read less often.
    """

    customers: int
    batches: Callable[[], Iterable[Batch]]
    hold: bool = False


@dataclass(frozen=True, kw_only=True)
class Axes:
    """How customers and periods are laid out.

    Attributes:
        periods: Periods, numbered from 0.
        segments: Groups of customers with period effects of their own.
        table: Keep weights by customer and period instead of bits: for weights and for repeated rows.
        alone: Period effects with a single row, which is dropped.
    """

    periods: int
    segments: int = 1
    table: bool = False
    alone: frozenset[int] = frozenset()

    @property
    def labels(self) -> int:
        """Number of period effects."""
        return self.periods * self.segments


@dataclass(frozen=True, kw_only=True)
class TwoWayFit:
    """A least-squares fit with customer and period effects, errors clustered by customer; k = regressors."""

    coefficient: Floats
    """(k,)."""
    covariance: Floats
    """(k, k) CR1 by customer, G/(G-1) * (n-1)/(n-counted) times bread * meat * bread."""
    bread: Floats
    """(k, k) inverse of the weighted cross-product of the doubly demeaned regressors."""
    identifying: Floats
    """(k,) share of customers, singletons included, whose regressor varies over time; only those move the slope."""
    n: int
    """Rows used."""
    customers: int
    """Customers used, the clusters."""
    periods: int
    """Period effects present: months, or segments by months."""
    singletons: int
    """Rows dropped because their customer or their period had no other row."""
    counted: int
    """Parameters in the small-sample factor: slopes, one constant and the period effects' rank; customer effects are
    nested in the clusters and not counted."""
    df_residual: int
    """n - slopes - rank of all effects."""
    sigma2: float
    """Residual variance with all effects counted."""
    r2_within: float

    def __post_init__(self) -> None:
        freeze(self, "coefficient", "covariance", "bread", "identifying")

    @property
    def se(self) -> Floats:
        """(k,) clustered standard errors."""
        return np.asarray(np.sqrt(np.diag(self.covariance)))


@dataclass(frozen=True, kw_only=True)
class Counts:
    """What was counted while reading."""

    n: int
    """Rows used."""
    customers: int
    periods: int
    singletons: int
    rank: int
    """Rank the period effects add to the customer effects."""


def period_effects(normal: Floats, right: Floats, size: Floats) -> tuple[Floats, int]:
    """Solve for the period effects of every variable.

    Args:
        normal: (t, t) D'MD.
        right: (t, m) D'Mz.
        size: (t,) weight of each period, zero for periods that are not there.

    Returns:
        (t, m) effects, zero where they are not identified, and the rank of `normal`.
    """
    root = np.sqrt(np.where(size > 0, size, 1.0))
    scaled = normal / np.outer(root, root)
    value, basis = np.linalg.eigh((scaled + scaled.T) / 2)
    solid = value > UNCONNECTED
    effect = basis[:, solid] @ ((basis[:, solid].T @ (right / root[:, None])) / value[solid, None])
    return effect / root[:, None], int(solid.sum())


def slopes(gram: Floats, raw: Floats, names: Sequence[str]) -> tuple[Floats, Floats]:
    """Return (k,) slopes and the (k, k) bread from the cross-products of doubly demeaned variables, outcome first.

    Args:
        gram: (1 + k, 1 + k) cross-products.
        raw: (k,) squared norms of the regressors as given, their scale.
        names: (k,) the regressors' names, for the message.

    Raises:
        ValueError: regressors that the effects absorb or that repeat others, each named.
    """
    inner, size = gram[1:, 1:], np.sqrt(np.diag(gram)[1:])
    gone = size <= ABSORBED * np.sqrt(raw)
    faults = [
        f"regressor {names[k]!r} does not vary within customers once period effects are taken out"
        for k in np.flatnonzero(gone).tolist()
    ]
    size = np.where(gone, 1.0, size)
    scaled = inner / np.outer(size, size)
    faults += [
        f"regressor {names[k]!r} is a linear combination of {', '.join(map(repr, names[:k]))} and the effects"
        for k in _repeats(scaled, gone)
    ]
    complain(faults)
    bread = np.linalg.inv(scaled) / np.outer(size, size)
    bread = (bread + bread.T) / 2
    beta = np.linalg.solve(scaled, gram[1:, 0] / size) / size
    return beta, bread


def clustered(
    gram: Floats, beta: Floats, bread: Floats, meat: Floats, *, counts: Counts, identifying: Floats
) -> TwoWayFit:
    """Put the fit together.

    Args:
        gram: (1 + k, 1 + k) cross-products of the doubly demeaned variables, outcome first.
        beta: (k,) slopes.
        bread: (k, k).
        meat: (k, k) sum over customers of the outer products of their scores.
        counts: What was counted.
        identifying: (k,) share of customers whose regressor varies.

    Raises:
        ValueError: fewer than two customers, or fewer rows than parameters.
    """
    k, g = beta.size, counts.customers
    counted = k + 1 + counts.rank
    if g < 2:
        raise ValueError(f"clustered errors need at least 2 customers with two or more rows, got {g}")
    if counts.n <= counted:
        raise ValueError(f"{counts.n} rows cannot carry {counted} parameters")
    factor = g / (g - 1) * (counts.n - 1) / (counts.n - counted)
    rss = float(gram[0, 0] - 2 * beta @ gram[1:, 0] + beta @ gram[1:, 1:] @ beta)
    df = counts.n - k - g - counts.rank
    return TwoWayFit(
        coefficient=beta,
        covariance=factor * bread @ meat @ bread,
        bread=bread,
        identifying=identifying,
        n=counts.n,
        customers=g,
        periods=counts.periods,
        singletons=counts.singletons,
        counted=counted,
        df_residual=df,
        sigma2=rss / df if df > 0 else float("nan"),
        r2_within=1 - rss / float(gram[0, 0]) if gram[0, 0] > 0 else float("nan"),
    )


def _repeats(scaled: Floats, gone: Bools) -> list[int]:
    """List the columns whose Cholesky pivot vanishes beside the columns before them."""
    rest = scaled.copy()
    found = []
    for k in range(rest.shape[0]):
        if gone[k]:
            continue
        if rest[k, k] <= COLLINEAR:
            found.append(k)
            continue
        rest -= np.outer(rest[:, k], rest[k]) / rest[k, k]
    return found
