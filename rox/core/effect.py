"""The answer of a model: draws of an estimand, with the evidence that stands behind them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rox.core.check import BIAS_LAYERS, BiasLayer, Check, Grade, check_table
from rox.core.errors import DataError, UnitError
from rox.core.estimand import Estimand, Question
from rox.core.files import written_whole
from rox.core.linked import Step
from rox.core.units import Dose, Unit
from rox.core.words import Language

FORMAT = 1
EVERYONE = "all"
"""Name of the row, or of the only group, of all customers."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Effect:
    """Draws of an estimand by group, and everything a reviewer asks about them.

    An effect saves and loads without its model: it is what data science hands to finance.

    Attributes:
        name: Short name of the family: ``gap``, ``panel``, ``churn``, ``uplift``, or a researcher's own.
        estimand: What is estimated.
        groups: Names of the groups, usually segments.
        draws: Shape (draw, group), in the estimand's unit, before any evidence discount.
        shares: Shape (group,): each group's share of the population's customers; sums to one.
        baseline: One row per group, columns ``customers`` (of the company), ``money`` (mean outcome per customer at
            the cohort date, in currency), ``exit_hazard`` (voluntary exits per customer-month); values may be missing.
        grade: Strength of evidence after all checks.
        checks: Every test that ran.
        specification: The question as asked: ``repr`` of the estimator.
        trail: From the company's rows to the rows used.
        fingerprint: Of the linked data.
        counts: Sizes such as ``rows``, ``customers``, ``clusters``.
        path: Shape (draw, group, month), the effect by months since the change, when the design gives it.
        path_months: The months of ``path``; negative ones come before the change.
        tables: Further aggregate tables by name: coefficients, event study, rivals.
        shift: Draws of NPS points per mean score point, shape (draw,), for conversion; None if not measured.
        layer: Evidence discount in place of the shipped one of its grade; not saved with the effect.
    """

    name: str
    estimand: Estimand
    groups: tuple[str, ...]
    draws: NDArray[np.float64]
    shares: NDArray[np.float64]
    baseline: pd.DataFrame
    grade: Grade
    checks: tuple[Check, ...] = ()
    specification: str
    trail: tuple[Step, ...] = ()
    fingerprint: str = ""
    counts: Mapping[str, int] = field(default_factory=dict)
    path: NDArray[np.float64] | None = None
    path_months: tuple[int, ...] = ()
    tables: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    shift: NDArray[np.float64] | None = None
    layer: BiasLayer | None = None

    def __post_init__(self) -> None:
        faults = self._faults()
        if faults:
            raise DataError(f"Effect {self.name!r} does not hold together.", faults)
        for name in ("draws", "shares", "path", "shift"):
            array = getattr(self, name)
            if array is not None:
                held = np.array(array, dtype=float)
                held.setflags(write=False)
                object.__setattr__(self, name, held)
        object.__setattr__(self, "counts", MappingProxyType(dict(self.counts)))
        object.__setattr__(self, "tables", MappingProxyType(dict(self.tables)))

    def _faults(self) -> list[str]:
        draws, groups = np.asarray(self.draws), len(self.groups)
        faults = []
        if draws.ndim != 2 or draws.shape[1] != groups:
            faults.append(f"draws have shape {draws.shape}; needed: (draw, {groups}), one column per group")
        elif draws.shape[0] < 100:
            faults.append(f"only {draws.shape[0]} draws; at least 100 are needed")
        if not np.isfinite(draws).all():
            faults.append("draws hold NaN or infinite values")
        shares = np.asarray(self.shares)
        if shares.shape != (groups,) or not np.isclose(shares.sum(), 1):
            faults.append(f"shares must be {groups} numbers that sum to one")
        if list(self.baseline.index) != list(self.groups):
            faults.append("baseline must have one row per group, in the order of the groups")
        if missing := {"customers", "money", "exit_hazard"} - set(self.baseline.columns):
            faults.append(f"baseline lacks the columns {sorted(missing)}")
        if self.path is not None and np.shape(self.path) != (*draws.shape, len(self.path_months)):
            faults.append(f"path has shape {np.shape(self.path)}; needed: {(*draws.shape, len(self.path_months))}")
        return faults

    @property
    def bias_layer(self) -> BiasLayer:
        """The evidence discount that goes with the grade."""
        return BIAS_LAYERS[self.grade] if self.layer is None else self.layer

    def discounted(self, layers: Mapping[Grade, BiasLayer]) -> Effect:
        """Return the effect with the discount of its grade from a company's own backtests."""
        return replace(self, layer=layers[self.grade])

    @property
    def overall(self) -> NDArray[np.float64]:
        """Draws of the share-weighted mean over groups, shape (draw,)."""
        return np.asarray(self.draws @ self.shares)

    def summary(self, level: float = 0.90) -> pd.DataFrame:
        """Summarise the draws: one row per group and one for all, which may be the only one.

        Returns:
            Columns ``mean``, ``sd``, ``low``, ``high`` (equal-tailed at ``level``) and ``p_positive``.
        """
        alone = self.groups == (EVERYONE,)
        columns = self.draws if alone else np.column_stack([self.draws, self.overall])
        tail = (1 - level) / 2
        low, high = np.quantile(columns, [tail, 1 - tail], axis=0)
        return pd.DataFrame(
            {
                "mean": columns.mean(0),
                "sd": columns.std(0, ddof=1),
                "low": low,
                "high": high,
                "p_positive": (columns > 0).mean(0),
            },
            index=pd.Index([*self.groups, *([] if alone else [EVERYONE])], name="group"),
        )

    def check_table(self, language: Language = "en") -> pd.DataFrame:
        """List the checks for a reader."""
        return check_table(self.checks, language)

    def per_nps_point(self, rng: int | np.random.Generator | None = None) -> Effect:
        """Restate an effect per score point as one per NPS point, through the measured category shift.

        Raises:
            UnitError: The effect is not per score point, or no category shift was measured with it.
        """
        if self.estimand.dose is not Dose.SCORE_POINT:
            raise UnitError(
                f"Only an effect per score point converts to NPS points; this one is per {self.estimand.dose}."
            )
        if self.estimand.question is Question.HAZARD or self.estimand.unit is Unit.LOG_HAZARD:
            raise UnitError("A log hazard ratio per score point has no linear conversion to NPS points.")
        if self.shift is None:
            raise UnitError("No category shift was measured with this effect: there is no bridge to NPS points.")
        pick = np.random.default_rng(rng).integers(0, len(self.shift), len(self.draws))
        factor = self.shift[pick]
        return replace(
            self,
            estimand=replace(self.estimand, dose=Dose.NPS_POINT),
            draws=self.draws / factor[:, None],
            path=None if self.path is None else self.path / factor[:, None, None],
            grade=self.grade.lowered(),
        )

    def save(self, path: str | Path) -> Path:
        """Save to one ``.npz`` file, written whole or not at all."""
        arrays: dict[str, NDArray[Any]] = {"draws": self.draws, "shares": self.shares}
        arrays |= {name: value for name in ("path", "shift") if (value := getattr(self, name)) is not None}
        arrays["record"] = np.array(json.dumps(self.as_record(), ensure_ascii=False))
        with written_whole(path) as draft, draft.open("wb") as file:
            np.savez_compressed(file, allow_pickle=False, **arrays)
        return Path(path)

    def as_record(self) -> dict[str, Any]:
        """Return everything but the arrays as plain values."""
        return {
            "format": FORMAT,
            "name": self.name,
            "estimand": self.estimand.as_record(),
            "groups": list(self.groups),
            "baseline": json.loads(self.baseline.to_json(orient="split", double_precision=15)),
            "grade": str(self.grade),
            "checks": [check.as_record() for check in self.checks],
            "specification": self.specification,
            "trail": [vars(step) for step in self.trail],
            "fingerprint": self.fingerprint,
            "counts": dict(self.counts),
            "path_months": list(self.path_months),
            "tables": {
                name: json.loads(table.to_json(orient="split", double_precision=15))
                for name, table in self.tables.items()
            },
        }

    @classmethod
    def load(cls, path: str | Path) -> Effect:
        """Load what ``save`` wrote.

        Raises:
            DataError: The file is missing or is not an effect of a known format.
        """
        try:
            with np.load(path, allow_pickle=False) as file:
                record = json.loads(str(file["record"]))
                arrays = {name: file[name] for name in ("draws", "shares", "path", "shift") if name in file.files}
        except FileNotFoundError:
            raise DataError(f"There is no effect at {path}.", ["run the model that makes it first"]) from None
        except (KeyError, ValueError, OSError) as cause:
            raise DataError(f"{path} is not an effect that this version can read.", [str(cause)]) from cause
        if record["format"] != FORMAT:
            raise DataError(f"{path} has format {record['format']}; this version reads format {FORMAT}.")
        estimand = record["estimand"]
        return cls(
            name=record["name"],
            estimand=Estimand(
                **{
                    **estimand,
                    "question": Question(estimand["question"]),
                    "dose": Dose(estimand["dose"]),
                    "unit": Unit(estimand["unit"]),
                    "window": tuple(estimand["window"]) if estimand["window"] else None,
                    "channels": frozenset(estimand["channels"]),
                }
            ),
            groups=tuple(record["groups"]),
            baseline=_frame(record["baseline"]),
            grade=Grade(record["grade"]),
            checks=tuple(Check.from_record(check) for check in record["checks"]),
            specification=record["specification"],
            trail=tuple(Step(**step) for step in record["trail"]),
            fingerprint=record["fingerprint"],
            counts=record["counts"],
            path_months=tuple(record["path_months"]),
            tables={name: _frame(table) for name, table in record["tables"].items()},
            **arrays,
        )


def _frame(split: dict[str, Any]) -> pd.DataFrame:
    return pd.DataFrame(split["data"], index=split["index"], columns=split["columns"])
