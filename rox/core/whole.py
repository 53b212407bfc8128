"""Frames of whole numbers that add without rounding, however large they grow."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

SAFE = 2.0**62
"""Whole numbers whose sizes add up to less are summed as 64-bit integers, others as Python's."""
BUCKET, ROWS, CUSTOMERS = "bucket", "n", "customers"
RESERVED = frozenset({BUCKET, ROWS, CUSTOMERS})
"""Column names that no key and no sum may have."""

AS_OF = "as of"
"""Name in a definition of the state of the data, where columns depend on later months."""


def whole_numbers(column: Iterable[Any]) -> pd.Series:
    """Hold whole numbers as 64-bit integers where their sums fit, else as Python's integers."""
    values = column if isinstance(column, pd.Series) else pd.Series(list(column), dtype=object)
    if values.dtype == object:
        values = pd.Series([int(value) for value in values], index=values.index, dtype=object)
    fits = float(np.abs(values.to_numpy(dtype=float)).sum()) < SAFE
    return values.astype("int64") if fits else values.astype("object")


def tidy(frame: pd.DataFrame, keys: Sequence[str]) -> pd.DataFrame:
    """Sort by the keys, missing ones last and written as None in text."""
    texts = {key: frame[key].where(frame[key].notna(), None) for key in keys if frame[key].dtype == object}
    return frame.assign(**texts).sort_values(list(keys), kind="stable", ignore_index=True)


def added_up(
    frame: pd.DataFrame, keys: Sequence[str], sums: Sequence[str], customers: Literal["sum", "max"]
) -> pd.DataFrame:
    """Add up the rows that share keys; of their customers take the sum, or the most: the least there can be."""
    groups = frame.groupby(list(keys), dropna=False, sort=False)
    added = groups[list(sums)].sum()
    columns = {name: whole_numbers(added[name]) for name in sums}
    people = groups[CUSTOMERS].sum() if customers == "sum" else groups[CUSTOMERS].max()
    return tidy(added.assign(**{CUSTOMERS: people}, **columns).reset_index(), keys)


def floats(column: pd.Series) -> NDArray[np.float64]:
    """Return a column of whole numbers as floats."""
    return column.to_numpy(dtype=np.float64)
