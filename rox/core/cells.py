"""Cells: sums per pattern and bucket of customers, small however many rows they stand for."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rox.core.check import Check, Verdict
from rox.core.errors import DataError
from rox.core.files import written_whole
from rox.core.whole import AS_OF, BUCKET, CUSTOMERS, ROWS, SAFE, added_up, floats, tidy, whole_numbers
from rox.numerics.jackknife import Jackknife, jackknife

FORMAT = 1
MOST_CELLS = 5_000_000
"""Above so many cells, models are slow and a check says how to make them fewer."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Cells:
    """Sums per pattern of keys and hash bucket of customers: what every model can be fitted from.

    A customer is in one bucket with all rows, so leaving out one bucket at a time gives errors clustered by customer
    for any statistic. Sums are whole numbers of the smallest unit (cents, say), so that cells add without rounding: the
    months of a year give the year, and the number of threads changes no digit. ``values()`` gives them in units.

    Attributes:
        frame: One row per pattern and bucket: the keys, ``bucket``, ``customers``, and the sums as whole numbers, ``n``
            (rows) first. ``customers`` are different customers in the cell; after a merge or a coarsening it is the
            number there are at least.
        keys: Names of the keys.
        sums: Names of the sums, ``n`` first.
        per_unit: By sum, how many of its whole numbers make one unit: 100 for money in cents, 10,000 for its square.
        buckets: Number of buckets, of which the last need not have customers.
        parts: Fingerprints of the reductions that were added up.
        numbering: Fingerprint of how customers were numbered and so dealt into buckets.
        definition: What the keys, the sums and the columns behind them are.
        min_cell: Customers below which ``export`` hides a cell.

    Raises:
        DataError: Columns that are missing or no whole numbers, or buckets out of range.

    Example:
        Mean money by segment, and by how much it is uncertain when customers are the unit of sampling:

        >>> import rox.testing
        >>> data = rox.testing.sample_linked(customers=300, months=6)
        >>> cells = data.cells(by=["segment", "month"], sums=["outcome"])
        >>> fit = cells.jackknife(lambda each: each.by(["segment"]).ratio("outcome", "n"))
        >>> fit.names, fit.df, bool((fit.se < 0.2 * fit.estimate).all())
        (('gold', 'mass'), 63, True)
    """

    frame: pd.DataFrame
    keys: tuple[str, ...]
    sums: tuple[str, ...]
    per_unit: Mapping[str, int]
    buckets: int
    parts: tuple[str, ...]
    numbering: str
    definition: Mapping[str, str]
    min_cell: int = 10

    def __post_init__(self) -> None:
        object.__setattr__(self, "per_unit", MappingProxyType(dict(self.per_unit)))
        object.__setattr__(self, "definition", MappingProxyType(dict(self.definition)))
        columns = [*self.keys, BUCKET, CUSTOMERS, *self.sums]
        if faults := _faults(self, columns):
            raise DataError("These cells do not hold together.", faults)
        if list(self.frame.columns) != columns:
            object.__setattr__(self, "frame", self.frame[columns])

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the data and of what was asked of them, whatever the order in which parts were added."""
        return self.parts[0] if len(self.parts) == 1 else hashlib.sha256("".join(self.parts).encode()).hexdigest()

    @property
    def checks(self) -> tuple[Check, ...]:
        """A remark when there are too many cells to work with."""
        return size_checks(self.frame, self.keys)

    def __len__(self) -> int:
        return len(self.frame)

    def __add__(self, other: Cells) -> Cells:
        """Add the cells of other rows of the same customers, such as later months; see ``merge``."""
        return self.merge(other) if isinstance(other, Cells) else NotImplemented

    def merge(self, other: Cells, *, customers: Literal["same", "disjoint"] = "same") -> Cells:
        """Add other cells of the same shape.

        Columns that look ahead, or at all months of a customer, are as of the data they were made from: with later
        months they come out otherwise, so such cells add only within one state of the data.

        Args:
            other: Cells of other rows; rows that both have seen count twice.
            customers: ``"same"``: other rows of the same company, whose customers were numbered in the same way, so
                that each is in one bucket. ``"disjoint"``: other customers, from another machine or market.

        Raises:
            DataError: Other keys, sums, units, buckets, definitions or numbering, or a part that is already in.
        """
        if faults := _misfits(self, other, customers):
            raise DataError("These cells cannot be added.", faults)
        both = pd.concat([_promoted(self, other), _promoted(other, self)], ignore_index=True)
        frame = added_up(both, [*self.keys, BUCKET], self.sums, "sum" if customers == "disjoint" else "max")
        numbering = self.numbering
        if self.numbering != other.numbering:
            numbering = hashlib.sha256("".join(sorted([self.numbering, other.numbering])).encode()).hexdigest()
        parts, least = tuple(sorted(self.parts + other.parts)), max(self.min_cell, other.min_cell)
        return replace(self, frame=frame, parts=parts, numbering=numbering, min_cell=least)

    def by(self, keys: Sequence[str]) -> Cells:
        """Sum over the other keys.

        Raises:
            DataError: A name that is no key.
        """
        keys = tuple(keys)
        if unknown := [key for key in keys if key not in self.keys]:
            raise DataError(f"No such key: {', '.join(unknown)}.", [f"the keys are {', '.join(self.keys) or 'none'}"])
        frame = added_up(self.frame, [*keys, BUCKET], self.sums, "max")
        definition = {name: text for name, text in self.definition.items() if name in keys or name not in self.keys}
        return replace(self, frame=frame, keys=keys, definition=definition)

    def recode(self, key: str, rule: Callable[[pd.Series], Any]) -> Cells:
        """Replace a key by a coarser one, such as years by bands.

        Args:
            key: The key.
            rule: Takes the key's column, returns one value for each of its rows.

        Raises:
            DataError: A name that is no key.
        """
        if key not in self.keys:
            raise DataError(f"No such key: {key}.", [f"the keys are {', '.join(self.keys) or 'none'}"])
        frame = self.frame.assign(**{key: rule(self.frame[key])})
        return replace(
            self,
            frame=added_up(frame, [*self.keys, BUCKET], self.sums, "max"),
            definition={**self.definition, key: f"{self.definition.get(key, key)}, recoded"},
        )

    def with_buckets(self, buckets: int) -> Cells:
        """Merge buckets, which halves or quarters the cells and the precision of the errors with them.

        Raises:
            DataError: A number that does not divide the buckets there are, or is below 2.
        """
        if buckets < 2 or self.buckets % buckets:
            raise DataError(f"{self.buckets} buckets cannot become {buckets}.", [f"choose a divisor of {self.buckets}"])
        frame = self.frame.assign(**{BUCKET: self.frame[BUCKET] % buckets})
        return replace(self, frame=added_up(frame, [*self.keys, BUCKET], self.sums, "sum"), buckets=buckets)

    def where(self, keep: Callable[[pd.DataFrame], Any]) -> Cells:
        """Keep the cells for which a function of the keys' frame is true."""
        return self._kept(np.asarray(keep(self.frame[[*self.keys]]), dtype=bool))

    def without(self, *buckets: int) -> Cells:
        """Leave out buckets of customers."""
        return self._kept(~self.frame[BUCKET].isin(buckets).to_numpy())

    def _kept(self, chosen: NDArray[np.bool_]) -> Cells:
        parts = (hashlib.sha256(self.fingerprint.encode() + chosen.tobytes()).hexdigest(),)
        return replace(self, frame=self.frame[chosen].reset_index(drop=True), parts=parts)

    def values(self) -> pd.DataFrame:
        """Return the cells with their sums in units, as floats."""
        numbers = {name: floats(self.frame[name]) / self.per_unit[name] for name in self.sums}
        return self.frame[[*self.keys, BUCKET, CUSTOMERS]].assign(**numbers)

    def total(self) -> pd.DataFrame:
        """Sum over the buckets: one row per pattern, the keys, ``customers``, and the sums in units."""
        return _pooled(self).values().drop(columns=BUCKET)

    def ratio(self, above: str, below: str = ROWS) -> pd.Series:
        """Divide one sum by another by pattern: with the default the mean of a column.

        Returns:
            Named by the pattern's keys, ``all`` if there are none; NaN where the divisor is zero.
        """
        total = self.total()
        divisor = total[below].to_numpy()
        with np.errstate(divide="ignore", invalid="ignore"):
            values = np.where(divisor != 0, total[above].to_numpy() / divisor, np.nan)
        patterns = zip(*(total[key] for key in self.keys), strict=True) if self.keys else [("all",)]
        return pd.Series(values, index=[" · ".join(map(str, pattern)) for pattern in patterns], name=above)

    def export(self) -> pd.DataFrame:
        """Return what may leave the house: totals by pattern, blank where there are too few customers.

        Cells of fewer than ``min_cell`` customers keep their keys and lose every number. This does not guard against
        the difference of two exports: publish one table, or one that holds the other.
        """
        total = self.total()
        hidden = total[CUSTOMERS] < self.min_cell
        columns = [CUSTOMERS, *self.sums]
        total[columns] = total[columns].astype(float).mask(hidden)
        return total

    def jackknife(
        self, statistic: Callable[[Cells], Any], *, level: float = 0.9, groups: int | None = None, over: str = BUCKET
    ) -> Jackknife:
        """Estimate any function of cells with errors clustered by customer, leaving out one bucket at a time.

        V = (K−1)/K·Σ(θ₍b₎ − mean)² over the K buckets that have customers, and t intervals with K−1 degrees of freedom.
        The replicates are totals less a bucket, not new scans. Everything that depends on the data belongs into the
        statistic: bins that were chosen, weights that were raked.

        Args:
            statistic: Takes cells of a single bucket with every pattern there is, in the same order, also those that
                have become empty; returns a number, a vector, or a named series or mapping of numbers.
            level: Of the interval.
            groups: Leave out that many blocks of buckets instead of single ones, for statistics that jump (a quantile,
                a rank): 16 blocks of 128 buckets.
            over: Leave out the values of this key instead, one by one: the places, where what is studied was decided by
                place. All rows of a customer should then be in one place.

        Raises:
            DataError: Fewer than two buckets with customers, a name that is no key, or a statistic that changes its
                shape.
        """
        if over not in (BUCKET, *self.keys):
            raise DataError(f"No such key: {over}.", [f"the keys are {', '.join(self.keys) or 'none'}"])
        blocks = _blocks(tidy(self.frame, [*self.keys, BUCKET])[over], groups)
        if len(blocks) < 2:
            raise DataError("No error can be estimated.", [f"{len(blocks)} {over} with customers; at least 2 needed"])
        pooled = _pooled(self)
        names, estimate = _numbers(statistic(pooled))
        replicates = []
        for part in _left_out(self, pooled, blocks):
            found, numbers = _numbers(statistic(part))
            if found != names or numbers.shape != estimate.shape:
                raise DataError(
                    "The statistic changes its shape when a bucket is left out.",
                    [f"got {numbers.size} numbers instead of {estimate.size}; name the same groups in every replicate"],
                )
            replicates.append(numbers)
        return jackknife(estimate, np.stack(replicates), level=level, names=names)

    def save(self, path: str | Path) -> Path:
        """Save to one Parquet file, written whole or not at all; it holds small cells and is not to be published."""
        frame = self.frame.copy()
        for name in self.sums:
            if frame[name].dtype == object:
                frame[name] = frame[name].map(Decimal)
        about = {name: getattr(self, name) for name in ("keys", "sums", "buckets", "parts", "numbering", "min_cell")}
        about |= {"format": FORMAT, "per_unit": dict(self.per_unit), "definition": dict(self.definition)}
        frame.attrs = {"rox_cells": json.dumps(about, ensure_ascii=False)}
        with written_whole(path) as draft:
            frame.to_parquet(draft, index=False)
        return Path(path)


def read_cells(path: str | Path) -> Cells:
    """Read what ``Cells.save`` wrote.

    Raises:
        DataError: The file is missing or holds no cells of a known format.
    """
    try:
        frame = pd.read_parquet(path)
        about = json.loads(frame.attrs["rox_cells"])
    except (OSError, ValueError, KeyError) as cause:
        raise DataError(
            f"{path} holds no cells.", [f"{type(cause).__name__}; needed: a file that Cells.save wrote"]
        ) from cause
    if about.pop("format", None) != FORMAT:
        raise DataError(f"{path} holds cells of another format.", [f"this version reads format {FORMAT}: reduce again"])
    for name in about["sums"]:
        frame[name] = whole_numbers(frame[name])
    frame.attrs = {}
    about |= {name: tuple(about[name]) for name in ("keys", "sums", "parts")}
    return Cells(frame=tidy(frame, [*about["keys"], BUCKET]), **about)


def size_checks(frame: pd.DataFrame, keys: Sequence[str], most: int = MOST_CELLS) -> tuple[Check, ...]:
    """Remark on more cells than ``most``, and on the key with most values."""
    if len(frame) <= most:
        return ()
    levels = {key: int(frame[key].nunique(dropna=False)) for key in keys}
    widest = max(levels, key=lambda key: levels[key]) if levels else BUCKET
    values: dict[str, str | int | float] = {"cells": len(frame), "most": most}
    values |= {"key": widest, "levels": levels.get(widest, 0)}
    return (Check(code="ROX-C01", verdict=Verdict.NOTE, values=values),)


def _faults(cells: Cells, columns: Sequence[str]) -> list[str]:
    faults = [f"column {name!r} is missing" for name in columns if name not in cells.frame]
    faults += [f"{name!r} is twice among keys and sums" for name in {n for n in columns if columns.count(n) > 1}]
    if cells.sums[:1] != (ROWS,):
        faults.append(f"the first sum must be {ROWS!r}, the rows")
    if missing := set(cells.sums) - set(cells.per_unit):
        faults.append(f"per_unit lacks {sorted(missing)}")
    if faults:
        return faults
    numbers = cells.frame[BUCKET]
    if len(numbers) and not (numbers.min() >= 0 and numbers.max() < cells.buckets):
        faults.append(f"buckets run from {numbers.min()} to {numbers.max()}, needed 0 to {cells.buckets - 1}")
    fractions = [name for name in cells.sums if cells.frame[name].dtype.kind not in "iO"]
    if fractions:
        faults.append(f"sums must be whole numbers, {fractions} are not")
    return faults


def _misfits(one: Cells, other: Cells, customers: str) -> list[str]:
    faults = []
    for what in ("keys", "sums", "buckets"):
        mine, theirs = getattr(one, what), getattr(other, what)
        if mine != theirs:
            faults.append(f"{what}: {mine} and {theirs}; reduce both in the same way")
    units = {name for name in set(one.sums) & set(other.sums) if one.per_unit[name] != other.per_unit[name]}
    faults += [f"{name}: {one.per_unit[name]} and {other.per_unit[name]} make one unit" for name in sorted(units)]
    free = {AS_OF} if customers == "disjoint" else set()
    for name in sorted((set(one.definition) | set(other.definition)) - free):
        mine, theirs = one.definition.get(name), other.definition.get(name)
        if mine != theirs:
            faults.append(f"{name} is {mine} in one and {theirs} in the other")
    if twice := set(one.parts) & set(other.parts):
        faults.append(f"{len(twice)} parts are in both; their rows would count twice")
    if customers == "same" and one.numbering != other.numbering:
        faults.append(
            "the customers were numbered differently, so that one customer may be in two buckets; reduce both from one "
            'load of the tables, or say merge(…, customers="disjoint") if no customer is in both'
        )
    return faults


def _promoted(one: Cells, other: Cells) -> pd.DataFrame:
    """Return the frame with Python's integers in each sum that may not fit once both are added."""
    wide = {}
    for name in one.sums:
        reach = sum(float(np.abs(floats(each.frame[name])).sum()) for each in (one, other))
        if reach >= SAFE and one.frame[name].dtype != object:
            wide[name] = one.frame[name].astype(object)
    return one.frame.assign(**wide)


def _pooled(cells: Cells) -> Cells:
    """Put all customers into one bucket."""
    if cells.buckets == 1:
        return cells
    frame = cells.frame.assign(**{BUCKET: 0})
    return replace(cells, frame=added_up(frame, [*cells.keys, BUCKET], cells.sums, "sum"), buckets=1)


def _blocks(labels: pd.Series, groups: int | None) -> list[NDArray[np.int64]]:
    """Return the rows that belong to each label, or to each of some groups of labels."""
    codes, levels = pd.factorize(labels, sort=True, use_na_sentinel=False)
    block = codes if groups is None else codes * min(groups, len(levels)) // len(levels)
    order = np.argsort(block, kind="stable")
    return [rows for rows in np.split(order, np.flatnonzero(np.diff(block[order])) + 1) if rows.size]


def _left_out(cells: Cells, pooled: Cells, blocks: Sequence[NDArray[np.int64]]) -> Iterable[Cells]:
    """Iterate over the pooled cells less each block of rows."""
    columns = [CUSTOMERS, *cells.sums]
    ordered = tidy(cells.frame, [*cells.keys, BUCKET])
    place = ordered.groupby([*cells.keys], dropna=False, sort=False).ngroup().to_numpy() if cells.keys else None
    place = np.zeros(len(ordered), dtype=np.int64) if place is None else place
    totals = {name: pooled.frame[name].to_numpy() for name in columns}
    parts = {name: ordered[name].to_numpy() for name in columns}
    for block in blocks:
        left = {name: total.copy() for name, total in totals.items()}
        for name, rest in left.items():
            np.subtract.at(rest, place[block], parts[name][block])
        yield replace(pooled, frame=pooled.frame.assign(**left))


def _numbers(found: Any) -> tuple[tuple[str, ...], NDArray[np.float64]]:
    """Return the names, if any, and the numbers of a statistic."""
    if isinstance(found, Mapping):
        found = pd.Series(dict(found), dtype=float)
    names = tuple(str(name) for name in found.index) if isinstance(found, pd.Series) else ()
    return names, np.atleast_1d(np.asarray(found, dtype=np.float64))
