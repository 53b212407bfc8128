"""The question that cells answer: which sums, by which patterns, over which rows."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from rox.core.derived import Maker
from rox.core.errors import DataError
from rox.core.whole import RESERVED

FACTOR = re.compile(r"([A-Za-z_]\w*)(?:\^([1-9]))?")
"""One factor of a monomial: a column, perhaps to a power."""
HIGHEST = 4
"""Largest degree of a monomial whose sum is whole numbers of 38 digits."""


@dataclass(frozen=True, kw_only=True)
class Reduction:
    """What to sum, by what, over which rows of a panel.

    Attributes:
        by: Keys: a column's name, a description, or a function of the engine's table.
        sums: Sums beside the number of rows: a monomial such as ``"outcome^2*score"``, or a function.
        within: Further columns, made row by row or from a customer's other months before any row is left out; later
            ones may use earlier ones.
        known: Columns without which a row is left out.
        where: A condition on the engine's table.
        months: First and last month whose rows count.
        buckets: Number of buckets.
        grains: By column, the fraction of its unit to which values are rounded.

    Raises:
        DataError: Every fault of the question, in one message.
    """

    by: Mapping[str, Maker]
    sums: Mapping[str, Maker]
    within: Mapping[str, Maker]
    known: tuple[str, ...] = ()
    where: Callable[[Any], Any] | None = None
    months: tuple[int, int] | None = None
    buckets: int = 64
    grains: Mapping[str, float]

    def __post_init__(self) -> None:
        for name in ("by", "sums", "within", "grains"):
            object.__setattr__(self, name, MappingProxyType(dict(getattr(self, name))))
        object.__setattr__(self, "known", tuple(self.known))
        if faults := self._faults():
            raise DataError("These cells cannot be asked for.", faults)

    def _faults(self) -> list[str]:
        faults = [f"{name!r} is taken; call the column otherwise" for name in {*self.by, *self.sums} & RESERVED]
        faults += [f"{name!r} is both a key and a sum; rename one" for name in set(self.by) & set(self.sums)]
        if self.buckets < 2:
            faults.append(f"buckets is {self.buckets}; at least 2, better 32 to 128")
        if self.months and self.months[0] > self.months[1]:
            faults.append(f"months run from {self.months[0]} to {self.months[1]}; give the first, then the last")
        for name, grain in self.grains.items():
            if not 0 < grain <= 1 or abs(1 / grain - round(1 / grain)) > 1e-6 / grain:
                faults.append(f"the grain of {name} is {grain}; needed: 1, 0.01, 1/1024 or another 1/whole number")
        for name, maker in self.sums.items():
            if isinstance(maker, str) and (found := fault_of_monomial(maker)):
                faults.append(f"sum {name!r}: {found}")
        return faults


def asked(
    by: Sequence[str] | Mapping[str, Maker],
    sums: Sequence[str] | Mapping[str, Maker],
    within: Mapping[str, Maker] | None = None,
    *,
    known: Sequence[str] = (),
    where: Callable[[Any], Any] | None = None,
    months: tuple[int, int] | None = None,
    buckets: int = 64,
    grains: Mapping[str, float] | None = None,
) -> Reduction:
    """Write the short forms out: a list of names stands for names that mean themselves.

    Raises:
        DataError: As of :class:`Reduction`.
    """
    return Reduction(
        by=by if isinstance(by, Mapping) else {name: name for name in by},
        sums=sums if isinstance(sums, Mapping) else {name: name for name in sums},
        within=within or {},
        known=tuple(known),
        where=where,
        months=months,
        buckets=buckets,
        grains=grains or {},
    )


def factors(monomial: str) -> dict[str, int]:
    """Split a monomial into its columns and their powers.

    Example:
        >>> factors("outcome^2*score")
        {'outcome': 2, 'score': 1}
    """
    found: dict[str, int] = {}
    for part in monomial.split("*"):
        match = FACTOR.fullmatch(part.strip())
        if match is None:
            raise DataError(f"{monomial!r} is no monomial.", [f"got {part!r}; needed: column or column^2, joined by *"])
        found[match[1]] = found.get(match[1], 0) + int(match[2] or 1)
    return found


def fault_of_monomial(monomial: str) -> str:
    """Say what is wrong with a monomial, or nothing."""
    try:
        degree = sum(factors(monomial).values())
    except DataError as error:
        return "; ".join(error.faults)
    return f"degree {degree} is above {HIGHEST}" if degree > HIGHEST else ""
