"""What every exported table is made of: days, names and the order of rows."""

from __future__ import annotations

import numpy as np

from rox.simulate.draws import Array


def days(values: Array) -> Array:
    """Give days as pandas reads them back."""
    return values.astype("datetime64[s]")


def branch_names(branch: Array) -> list[str]:
    """Name branches by their position."""
    return [f"B{number + 1:02d}" for number in branch]


def rows(identifier: Array, happened: Array, day: Array) -> tuple[Array, Array]:
    """Give month and person of everything that happened, by day and then identifier.

    Args:
        identifier: Of each person, ``(persons,)``.
        happened: Whether it did, ``(months, persons)``.
        day: When, likewise.
    """
    month, person = np.nonzero(happened)
    order = np.lexsort((identifier[person], day[month, person]))
    return month[order], person[order]


def numbered(letter: str, count: int) -> list[str]:
    """Number rows from 1."""
    return [f"{letter}{number:07d}" for number in range(1, count + 1)]
