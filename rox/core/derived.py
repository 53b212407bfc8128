"""Columns made from a panel's own columns: bins for keys, and what a customer's other months say about a month.

Each is a frozen description with plain values, so that cells can say what they were made of and a model can ask for a
column without knowing the engine. The engine's room turns them into expressions. Those that look at other months need a
panel with one row per customer and month.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rox.core.errors import DataError


@dataclass(frozen=True, kw_only=True)
class LogBins:
    """Bins of equal relative width on both sides of zero, as whole numbers.

    Code 0 is |x| < unit. Code k > 0 is the amounts from unit·(1+width)^(k−1) up to unit·(1+width)^k, and −k the same
    amounts below zero. With the default width any sum over a bin is known within 1% from its count alone.

    Attributes:
        column: The column.
        width: Relative width of a bin.
        unit: Smallest amount that counts, in the column's unit.

    Raises:
        DataError: A width or unit that is not positive.
    """

    column: str
    width: float = 0.02
    unit: float = 0.01

    def __post_init__(self) -> None:
        if not (self.width > 0 and self.unit > 0):
            raise DataError(f"{self} makes no bins.", ["width and unit must be positive"])

    def bounds(self, codes: ArrayLike) -> NDArray[np.float64]:
        """Return the lower and upper end of bins, shape (n, 2); the bin around zero runs from −unit to unit.

        Example:
            >>> LogBins(column="outcome", width=1.0, unit=1.0).bounds([-1, 0, 3])
            array([[-2., -1.],
                   [-1.,  1.],
                   [ 4.,  8.]])
        """
        code = np.asarray(codes, dtype=np.float64)
        size = np.abs(code)
        near, far = (self.unit * (1 + self.width) ** power for power in (size - 1, size))
        low = np.where(code > 0, near, np.where(code < 0, -far, -self.unit))
        high = np.where(code > 0, far, np.where(code < 0, -near, self.unit))
        return np.stack([low, high], axis=-1)


@dataclass(frozen=True, kw_only=True)
class Bins:
    """Numbered bins between given edges: 0 below the first edge, i from edge i−1 (included) to edge i.

    Attributes:
        column: The column.
        edges: Increasing; :func:`rox.numerics.grouped.quantile_edges` finds those that hold equal shares of the rows.

    Raises:
        DataError: Edges that do not increase.
    """

    column: str
    edges: tuple[float, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "edges", tuple(float(edge) for edge in self.edges))
        if not self.edges or not np.isfinite(self.edges).all() or (np.diff(self.edges) <= 0).any():
            raise DataError(f"{self} makes no bins.", ["edges must be finite and increase"])


@dataclass(frozen=True, kw_only=True)
class Ahead:
    """The column's value of the same customer some months later; missing when that month has no row.

    Months are counted by the calendar, so a gap is never bridged.

    Attributes:
        column: The column.
        months: How many months later; negative for earlier.

    Raises:
        DataError: ``months`` is 0.
    """

    column: str
    months: int

    def __post_init__(self) -> None:
        if self.months == 0:
            raise DataError(f"{self} is the column itself.", ["months must not be 0"])


@dataclass(frozen=True, kw_only=True)
class Growth:
    """The ratio of money at two months of a customer; a customer who has left by the later one counts as 0.

    With ``months`` above 0 it is the value that many months later over the value now, with ``months`` below 0 the value
    now over the value that many months earlier. It is missing when the earlier value is not positive, or when there is
    no row at the later month although the customer has not left.

    Attributes:
        column: The column.
        months: The horizon.
        cap: Largest ratio that counts; None for all.

    Raises:
        DataError: ``months`` is 0, or a cap that is not positive.
    """

    column: str
    months: int
    cap: float | None = 5.0

    def __post_init__(self) -> None:
        faults = ["months must not be 0"] if self.months == 0 else []
        if self.cap is not None and not self.cap > 0:
            faults.append("cap must be positive")
        if faults:
            raise DataError(f"{self} is no growth.", faults)


@dataclass(frozen=True, kw_only=True)
class OwnMean:
    """The mean of a column over all months of the same customer in which it is known.

    The whole panel counts, also months that the reduction leaves out. A value less its own mean is what fixed effects
    of customers leave.

    Attributes:
        column: The column.
    """

    column: str


@dataclass(frozen=True, kw_only=True)
class Previous:
    """The value of the row before, in months in which a new answer replaces an older one; missing elsewhere.

    With the default it is the customer's previous score, the instrument for the present one.

    Attributes:
        column: The column.
    """

    column: str = "score"


@dataclass(frozen=True, kw_only=True)
class LookUp:
    """A number by the values of other columns, such as a coefficient by segment; 0 where nothing is given.

    Attributes:
        keys: The columns.
        values: Numbers by the values of the keys, in their order.

    Raises:
        DataError: No keys, or values by other than the keys.
    """

    keys: tuple[str, ...]
    values: Mapping[tuple[str | int, ...], float]

    def __post_init__(self) -> None:
        object.__setattr__(self, "keys", tuple(self.keys))
        object.__setattr__(self, "values", MappingProxyType(dict(self.values)))
        faults = [] if self.keys else ["name at least one key"]
        if wrong := [place for place in self.values if len(place) != len(self.keys)]:
            faults.append(f"{wrong[0]} does not name a value of each of {list(self.keys)}")
        if faults:
            raise DataError("Nothing can be looked up.", faults)


Rule = LogBins | Bins | Ahead | Growth | OwnMean | Previous | LookUp
"""A column by description."""

Maker = str | Rule | Callable[[Any], Any]
"""How a caller names a column: its name, a description, or a function of the engine's table."""
