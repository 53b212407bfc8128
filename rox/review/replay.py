"""A recorded run, ready to be valued again."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rox.core.case import Case
from rox.core.comparison import HEADLINES, RunFacts
from rox.core.declared import validated
from rox.core.effect import Effect
from rox.core.errors import CaseError, DataError
from rox.core.formula import Array
from rox.core.identity import effect_digest
from rox.core.ledger import Input, Ledger
from rox.core.record import Record, layers_of
from rox.valuation.draws import joint_draws
from rox.valuation.fit import require_fit, segments, told_apart_by_use
from rox.valuation.lines import ledger_of
from rox.valuation.sensitivity import tornado
from rox.valuation.value import BLOCK

NEEDED = ("run", "case", "study", "draws", "seed", "code", "effects")
TOTALS = ("npv", "roi")
"""Lines of the ledger that the headlines are read off."""
BATCHES = 20
"""Batches of draws behind a Monte Carlo standard error."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Replay:
    """A record with the effects that lie beside it.

    Attributes:
        path: The record's file.
        record: What it says.
        case: The case's content, as declared.
        effects: The effects it priced.
        seed: Of the valuation.
        draws: Of the valuation.
        headline: The headlines as recorded; NaN where there was none.
    """

    path: Path
    record: Record
    case: Mapping[str, Any]
    effects: tuple[Effect, ...]
    seed: int
    draws: int
    headline: Mapping[str, float]

    @property
    def code(self) -> str:
        """Digest of the code that made it."""
        return str(self.record.replay["code"])

    @property
    def about(self) -> Mapping[str, Any]:
        """What the study said of itself."""
        found: Mapping[str, Any] = self.record.replay["study"]["study"]
        return found

    @property
    def facts(self) -> RunFacts:
        """What names the run."""
        return RunFacts(
            study=self.record.study,
            case=str(self.case["case"]["name"]),
            extract=str(self.about["extract"]),
            run=str(self.record.replay["run"]),
            seed=self.seed,
            draws=self.draws,
            grade=str(self.record.numbers["decision"]["grade"]),
            rox=str(self.record.versions.get("rox", "")),
        )


def read_replay(path: str | Path) -> Replay:
    """Read a record and the effects beside it, and prove that they are the ones it was written with.

    Args:
        path: ``<case>.record.json`` in the folder of a run, which also holds ``effects/``.

    Raises:
        DataError: No record of a return; one written before records could be replayed; effects that are missing or
            were written anew since; all in one message.
    """
    path = Path(path)
    if path.is_dir():
        raise DataError(f"{path} is a folder.", ["give the record of one case in it, such as branch.record.json"])
    record = Record.read(path)
    if missing := [name for name in NEEDED if name not in record.replay]:
        raise DataError(
            f"{path} cannot be compared: it does not hold what it takes to value its case again "
            f"({', '.join(missing)} missing).",
            [
                "it was written by an earlier version, or is not the record of a return (<case>.record.json)",
                "run the study's report once more in that folder (rox run keeps the finished stages), then compare",
            ],
        )
    effects, faults = _effects(path, record)
    headline = headline_of_record(record)
    if not headline:
        faults.append("numbers: the headline is missing")
    if faults:
        raise DataError(f"{path} cannot be valued again.", faults)
    return Replay(
        path=path,
        record=record,
        case=json.loads(record.replay["case"]),
        effects=tuple(effects),
        seed=int(record.replay["seed"]),
        draws=int(record.replay["draws"]),
        headline=headline,
    )


def headline_of_record(record: Record) -> dict[str, float]:
    """Return the headlines a record states; empty where it states none."""
    numbers = record.numbers
    if not {"decision", "headline"} <= set(numbers):
        return {}
    said = {name: numbers["decision"].get(name) for name in HEADLINES if name != "point_npv"}
    said["point_npv"] = numbers["headline"].get("npv")
    return {name: math.nan if each is None else float(each) for name, each in said.items()}


def _effects(path: Path, record: Record) -> tuple[list[Effect], list[str]]:
    found, faults, layers = [], [], layers_of(record.replay)
    for each in record.replay["effects"]:
        name, digest = str(each["name"]), each["digest"]
        file = path.parent / "effects" / f"{name}.npz"
        if not file.is_file():
            faults.append(f"effects/{name}.npz: missing beside the record; copy the run's whole folder")
            continue
        effect = Effect.load(file)
        if effect_digest(effect) != digest:
            faults.append(
                f"effects/{name}.npz: not the effect this record priced; the folder was run again since, or the file "
                "was changed. Keep one folder per run"
            )
        found.append(effect.discounted(layers))
    return found, faults


@dataclass(frozen=True, kw_only=True, eq=False)
class State:
    """What a return is computed from, between two runs.

    Attributes:
        effects: The effects priced.
        case: The case's content.
        seed: Of the draws.
        draws: Their number.
    """

    effects: tuple[Effect, ...]
    case: Mapping[str, Any]
    seed: int
    draws: int

    def valued(self) -> Valued:
        """Value it as far as the headlines need: the same draws through the same lines as :func:`rox.value`.

        Raises:
            CaseError: The content is no case, or does not fit the effects.
            UnitError: The effects' units do not match the case.
        """
        ledger, drawn, _ = self._drawn()
        needed = {line.name for name in TOTALS for line in ledger.leading_to(name).lines}
        ledger = replace(ledger, lines=tuple(line for line in ledger.lines if line.name in needed))
        held: dict[str, list[Array]] = {name: [] for name in TOTALS}
        for start in range(0, self.draws, BLOCK):
            rows = min(BLOCK, self.draws - start)
            part = {name: each[start : start + BLOCK] if len(each) > 1 else each for name, each in drawn.items()}
            for name, found in ledger.totals(part).items():
                if name in held:
                    held[name].append(np.broadcast_to(found, (rows,)))
        point = float(ledger.totals(ledger.point)["npv"][0])
        return Valued.of({name: np.concatenate(parts) for name, parts in held.items()}, point)

    def swings(self) -> tuple[tuple[Input, ...], pd.Series]:
        """Return the inputs, and by name the swing of NPV between each one's 10% and 90% value."""
        ledger, drawn, priced = self._drawn()
        return ledger.inputs, tornado(ledger, priced, drawn).set_index("name")["swing"]

    def _drawn(self) -> tuple[Ledger, Mapping[str, Array], tuple[Effect, ...]]:
        case, faults = validated(Case, dict(self.case))
        if case is None:
            raise CaseError("A case between the two runs does not hold together.", faults)
        priced, explainers = told_apart_by_use(self.effects, case)
        require_fit(priced, case, explainers)
        ledger, groups = ledger_of(priced, case, explainers), segments(priced, case)
        drawn = joint_draws(ledger, self.effects, groups, self.draws, self.seed, case.correlation)
        return ledger, drawn, priced


@dataclass(frozen=True, kw_only=True, eq=False)
class Valued:
    """The headlines of a state.

    Attributes:
        headline: Each headline.
        batches: Each headline in batches of draws, shape (batch,); equal batches use equal random numbers.
    """

    headline: Mapping[str, float]
    batches: Mapping[str, Array]

    @classmethod
    def of(cls, totals: Mapping[str, Array], point: float) -> Valued:
        """Read the headlines off draws of NPV and ROI, and the NPV of the point path."""
        npv, roi = totals["npv"], totals["roi"]
        parts, others = np.array_split(npv, BATCHES), np.array_split(roi, BATCHES)
        headline = {
            "expected_npv": float(npv.mean()),
            "npv": float(np.median(npv)),
            "roi": float(np.median(roi)),
            "p_positive": float((npv > 0).mean()),
            "point_npv": point,
        }
        batches = {
            "expected_npv": np.array([part.mean() for part in parts]),
            "npv": np.array([np.median(part) for part in parts]),
            "roi": np.array([np.median(part) for part in others]),
            "p_positive": np.array([(part > 0).mean() for part in parts]),
            "point_npv": np.zeros(BATCHES),
        }
        finite = {name: each if math.isfinite(each) else math.nan for name, each in headline.items()}
        return cls(headline=finite, batches=batches)

    def errors(self) -> dict[str, float]:
        """Return the Monte Carlo standard error of each headline."""
        return {name: _batch_error(found) for name, found in self.batches.items()}

    def errors_against(self, other: Valued, *, paired: bool) -> dict[str, float]:
        """Return the Monte Carlo standard error of the difference of each headline to another state's.

        Args:
            other: The other state.
            paired: Whether both used the same random numbers, which then cancel.
        """
        if paired:
            return {name: _batch_error(found - other.batches[name]) for name, found in self.batches.items()}
        mine, theirs = self.errors(), other.errors()
        return {name: math.hypot(mine[name], theirs[name]) for name in mine}


def _batch_error(found: NDArray[np.float64]) -> float:
    return float(found.std(ddof=1) / math.sqrt(len(found)))
