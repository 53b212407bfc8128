"""One slope by weighted least squares, with errors clustered by customer and every customer's pull on it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
import statsmodels.api as sm
from numpy.typing import NDArray
from scipy import linalg, stats

from rox.core.errors import FitError

COLLINEAR = 1e-9
"""A column that keeps less than this share of its norm beside the others is left out."""
MANY_CLUSTERS = 100
"""From so many customers on, draws are normal rather than Student's t."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Slope:
    """A coefficient and its sampling error.

    Attributes:
        value: Change of the outcome per unit of the regressor.
        se: CR1 standard error by customer.
        influence: By customer; the square root of the sum of its squares is ``se``.
        rows: Rows used.
    """

    value: float
    se: float
    influence: pd.Series
    rows: int

    @property
    def customers(self) -> int:
        """Clusters."""
        return len(self.influence)

    def draws(self, size: int, rng: np.random.Generator) -> NDArray[np.float64]:
        """Draw the slope, shape (size,): normal, or Student's t with customers − 1 degrees of freedom when few."""
        few = self.customers < MANY_CLUSTERS
        noise = rng.standard_t(self.customers - 1, size) if few else rng.standard_normal(size)
        return np.asarray(self.value + self.se * noise)


def slope(
    outcome: pd.Series,
    regressor: pd.Series,
    adjust: NDArray[np.float64],
    *,
    absorb: pd.Series,
    customer: pd.Series,
    weight: pd.Series,
) -> Slope:
    """Regress the outcome on a regressor and adjustments within groups of rows, with errors CR1 by customer.

    Group effects are taken out by demeaning, which is exact (Frisch & Waugh 1933; Lovell 1963). The small-sample factor
    is G/(G−1)·(n−1)/(n−K); K counts the columns and, unless each group lies within one customer, the groups.

    Args:
        outcome: Shape (n,).
        regressor: Shape (n,).
        adjust: Shape (n, k), without a constant.
        absorb: Shape (n,), labels of the groups whose effects are taken out.
        customer: Shape (n,), integer codes.
        weight: Shape (n,), positive.

    Raises:
        FitError: The regressor does not vary once the adjustments are taken out, or rows are too few.
    """
    w = weight.to_numpy(dtype=float) / float(weight.mean())
    root = np.sqrt(w)[:, None]
    raw = np.column_stack([outcome.to_numpy(dtype=float), regressor.to_numpy(dtype=float), adjust])
    inside = within(raw, absorb, w) * root
    basis = _basis(inside[:, 2:], np.sqrt(w @ raw[:, 2:] ** 2))
    left = inside[:, :2] - basis @ (basis.T @ inside[:, :2])
    if not np.linalg.norm(left[:, 1]) > COLLINEAR * float(np.sqrt(w @ raw[:, 1] ** 2)):
        raise FitError("The score does not vary once the adjustments are taken out.")
    nested = bool((customer.groupby(absorb.to_numpy()).nunique() == 1).all())
    counted = 1 if nested else absorb.nunique()
    codes, customers = pd.factorize(customer, sort=True)
    n, k = len(left), 1 + basis.shape[1]
    if len(customers) < 3 or n <= k + counted + 1:
        raise FitError(f"{n} rows of {len(customers)} customers cannot carry {k + counted} parameters.")
    fit = sm.OLS(left[:, 0], left[:, 1], hasconst=False).fit(cov_type="cluster", cov_kwds={"groups": codes})
    pull = np.bincount(codes, weights=left[:, 1] * np.asarray(fit.resid)) / float(left[:, 1] @ left[:, 1])
    # The package counts the one column that is left.
    se = float(fit.bse[0]) * np.sqrt((n - 1) / (n - k - counted))
    scale = se / np.sqrt((pull**2).sum()) if se > 0 else 0.0
    return Slope(value=float(fit.params[0]), se=se, influence=pd.Series(pull * scale, index=customers), rows=n)


def _basis(columns: NDArray[np.float64], norms: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return an orthonormal basis of the columns that keep something of their own beside the absorbed effects.

    Args:
        columns: Shape (n, k), weighted, with group effects taken out.
        norms: Shape (k,), their weighted norms as given.
    """
    size = np.linalg.norm(columns, axis=0)
    live = np.flatnonzero(size > COLLINEAR * norms)
    if live.size == 0:
        return np.empty((len(columns), 0))
    basis, triangle, _ = linalg.qr(columns[:, live] / size[live], mode="economic", pivoting=True)
    own = np.abs(np.diag(triangle)) > COLLINEAR
    return np.asarray(basis[:, : own.size][:, own])


def within(values: NDArray[np.float64], group: pd.Series, weight: NDArray[np.float64]) -> NDArray[np.float64]:
    """Subtract each group's weighted mean from the columns of ``values``, shape (n, k)."""
    codes = pd.factorize(group)[0]
    total = np.bincount(codes, weights=weight)
    means = np.column_stack([np.bincount(codes, weights=weight * column) / total for column in values.T])
    return np.asarray(values - means[codes])


def indicators(labels: pd.Series) -> NDArray[np.float64]:
    """Return one column per label, shape (n, labels)."""
    codes, levels = pd.factorize(labels, sort=True)
    return np.asarray(np.eye(len(levels))[codes])


def coefficient_table(fits: Mapping[str, Slope], shares: NDArray[np.float64]) -> pd.DataFrame:
    """List the segments' slopes with 90% intervals and what they rest on."""
    table = {}
    for (segment, fit), share in zip(fits.items(), shares, strict=True):
        reach = fit.se * (
            stats.t.ppf(0.95, fit.customers - 1) if fit.customers < MANY_CLUSTERS else stats.norm.ppf(0.95)
        )
        table[segment] = {
            "estimate": fit.value,
            "se": fit.se,
            "low": fit.value - reach,
            "high": fit.value + reach,
            "answers": fit.rows,
            "customers": fit.customers,
            "share": share,
        }
    return pd.DataFrame.from_dict(table, orient="index").rename_axis("group")
