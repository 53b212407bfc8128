"""What stands beside answers as columns of the order of one, so that sums of their products are of whole numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rox.core.derived import LookUp, Maker
from rox.models.answer_table import AnswerTable
from rox.models.answers import KNOWN_ENOUGH

FINE = 2.0**30
"""Whole numbers per unit of what is summed by customer."""
MONEY, SCORE, TENURE = "rox_money", "rox_score", "rox_tenure"
WEIGHT = "rox_weight"


@dataclass(frozen=True, kw_only=True, eq=False)
class Scales:
    """Units in which columns are of the order of one, so that their products are whole numbers of a fine grain.

    Attributes:
        money: Root mean square of the outcome by segment.
        weight: Mean weight, rounded to a power of two, so that whole weights stay exact.
        controls: By numeric control its mean and standard deviation.
        levels: By other control its values but the first.
        tenure: Mean and standard deviation of the root of months since opening; None where openings are unknown.
    """

    money: Mapping[str, float]
    weight: float
    controls: Mapping[str, tuple[float, float]]
    levels: Mapping[str, tuple[str, ...]]
    tenure: tuple[float, float] | None

    @classmethod
    def of(cls, answers: AnswerTable, controls: Sequence[str]) -> Scales:
        """Measure the units."""
        kinds = {name: answers.linked.panel[name].type() for name in controls}
        numeric = [name for name in controls if kinds[name].is_numeric()]
        sums: dict[str, Maker] = {"squares": "outcome^2", "weight": "weight", "root": _root, "openings": _opened}
        sums |= {"tenures": lambda t: _root(t) * _root(t)}
        for name in numeric:
            sums |= {f"sum_{name}": _number(name), f"square_{name}": _square(name)}
        found = answers.cells({"segment": "segment"}, sums).drop(columns="bucket").groupby("segment").sum()
        total = found.sum()
        rows, opened = float(total["n"]), float(total["openings"])
        money = (found["squares"] / found["n"]) ** 0.5
        levels = {}
        for name in controls:
            if name not in numeric:
                kept = answers.cells({name: _text(name)}, {"weight": "weight"})[name]
                levels[name] = tuple(sorted(kept.astype(str).unique())[1:])
        return cls(
            money={str(name): float(value) if value > 0 else 1.0 for name, value in money.items()},
            weight=2.0 ** round(np.log2(float(total["weight"]) / rows)),
            controls={name: _spread(total[f"sum_{name}"], total[f"square_{name}"], rows) for name in numeric},
            levels=levels,
            tenure=_spread(total["root"], total["tenures"], opened) if opened >= KNOWN_ENOUGH * rows else None,
        )

    def columns(self, controls: Sequence[str], *, tenure: bool) -> dict[str, Maker]:
        """Describe weight, money, score, controls and tenure as columns of the engine's table."""
        found: dict[str, Maker] = {
            WEIGHT: lambda t: t.weight.cast("float64") / self.weight,
            "rox_unit": self.per_unit(),
            MONEY: lambda t: t.outcome.cast("float64") / t.rox_unit,
            SCORE: lambda t: t.score.cast("float64"),
        }
        for name in controls:
            found |= self._control(name)
        if tenure and self.tenure is not None:
            mean, sd = self.tenure
            found[TENURE] = lambda t: (_opened(t) > 0).ifelse((_root(t) - mean) / sd, 0.0)
        return found

    def per_unit(self) -> LookUp:
        """Describe the unit of money by segment."""
        return LookUp(keys=("segment",), values={(name,): value for name, value in self.money.items()})

    def adjusting(self, controls: Sequence[str], *, tenure: bool) -> tuple[str, ...]:
        """Name the columns of controls and tenure."""
        names = [each for name in controls for each in self._control(name)]
        return (*names, *((TENURE,) if tenure and self.tenure is not None else ()))

    def _control(self, name: str) -> dict[str, Maker]:
        place = [*self.controls, *self.levels].index(name)
        if name in self.controls:
            return {f"rox_control_{place}": _scaled(name, *self.controls[name])}
        return {f"rox_control_{place}_{i}": _is(name, level) for i, level in enumerate(self.levels[name])}


def _opened(table: Any) -> Any:
    return table.opened.notnull().cast("int64")


def _root(table: Any) -> Any:
    months = table.month.cast("float64") - table.opened.cast("float64")
    return (months > 0).ifelse(months, 0.0).fill_null(0.0).sqrt()


def _number(name: str) -> Any:
    return lambda table: table[name].cast("float64")


def _square(name: str) -> Any:
    return lambda table: table[name].cast("float64") * table[name].cast("float64")


def _text(name: str) -> Any:
    return lambda table: table[name].cast("string")


def _scaled(name: str, mean: float, sd: float) -> Any:
    return lambda table: (table[name].cast("float64") - mean) / sd


def _is(name: str, level: str) -> Any:
    return lambda table: (table[name].cast("string") == level).cast("float64")


def _spread(total: float, squares: float, rows: float) -> tuple[float, float]:
    mean = float(total / rows)
    variance = float(squares / rows) - mean**2
    return mean, float(np.sqrt(variance)) if variance > 1e-12 * max(mean**2, 1e-12) else 1.0


def centred(name: str) -> Callable[[Any], Any]:
    """Describe a column less the customer's weighted mean; sums are of whole numbers, so that no order matters."""

    def column(table: Any) -> Any:
        weighted = (table[WEIGHT] * table[name] * FINE).round(0).cast("int64")
        weight = (table[WEIGHT] * FINE).round(0).cast("int64")
        total = weighted.sum().over(group_by="customer").cast("float64")
        return table[name] - total / weight.sum().over(group_by="customer").cast("float64")

    return column


def product_of(*names: str) -> Any:
    """Describe the product of columns."""

    def column(table: Any) -> Any:
        value = table[names[0]].cast("float64")
        for name in names[1:]:
            value = value * table[name]
        return value

    return column
