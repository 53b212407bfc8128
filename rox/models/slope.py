"""One slope with its delete-a-bucket replicates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from rox.core.errors import FitError
from rox.numerics.jackknife import jackknife

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Slope:
    """A coefficient and its sampling error, clustered by customer. k = buckets that hold customers.

    Attributes:
        value: Change of the outcome per unit of the regressor.
        replicates: Shape (k,): the same without each bucket of customers.
        buckets: Numbers of the buckets.
        rows: Rows used.
        customers: Customers who gave them.
    """

    value: float
    replicates: Floats
    buckets: tuple[int, ...]
    rows: int
    customers: int

    @property
    def se(self) -> float:
        """Jackknife standard error."""
        return float(jackknife(self.value, self.replicates).se[0])

    @property
    def df(self) -> int:
        """Degrees of freedom of the standard error."""
        return len(self.replicates) - 1

    def over(self, buckets: Sequence[int]) -> Floats:
        """Return the replicates of some buckets; without one that holds none of the customers nothing changes."""
        held = dict(zip(self.buckets, self.replicates, strict=True))
        return np.array([held.get(bucket, self.value) for bucket in buckets])

    def draws(self, size: int, rng: np.random.Generator) -> Floats:
        """Draw the slope, shape (size,), from Student's t."""
        return np.asarray(self.value + self.se * rng.standard_t(self.df, size))


def slope_of(values: Floats, buckets: Sequence[int], *, rows: int, customers: int, what: str) -> Slope:
    """Make a slope of an estimate and its replicates.

    Args:
        values: Shape (1 + k,): of all rows, then without each bucket.
        buckets: Numbers of the buckets.
        rows: Rows used.
        customers: Customers who gave them.
        what: What the slope is of.

    Raises:
        FitError: Nothing is left of the score, or of the score without some bucket.
    """
    if not np.isfinite(values).all():
        raise FitError(f"The score of {what} does not vary once the adjustments are taken out.")
    if len(values) < 3:
        raise FitError(f"{what}: {customers} customers fall into fewer than two groups, so no error can be estimated.")
    return Slope(value=float(values[0]), replicates=values[1:], buckets=tuple(buckets), rows=rows, customers=customers)


def coefficient_table(fits: Mapping[str, Slope], shares: Floats) -> pd.DataFrame:
    """List the segments' slopes with 90% intervals and what they rest on."""
    table = {}
    for (segment, fit), share in zip(fits.items(), shares, strict=True):
        reach = fit.se * stats.t.ppf(0.95, fit.df)
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
