"""The machine-readable twin of a run: what runs are compared by."""

from __future__ import annotations

import hashlib
import json
import math
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from rox.core.check import BIAS_LAYERS, BiasLayer, Grade
from rox.core.effect import Effect
from rox.core.errors import DataError
from rox.core.files import write_text
from rox.core.identity import effect_digest, run_id
from rox.core.returns import Return
from rox.core.study import Study

SCHEMA = "rox.record/1"
PACKAGES = ("numpy", "scipy", "pandas", "statsmodels", "lifelines", "pymc", "arviz", "ibis-framework", "duckdb")
COMPUTING = ("numerics", "core", "linking", "models", "valuation")
"""Rooms whose code decides a figure."""


@dataclass(frozen=True, kw_only=True)
class Record:
    """Numbers, questions, units, versions, seeds and fingerprints of one run. Aggregates only.

    Attributes:
        kind: What ran, such as ``04_uplift``.
        study: Name of the study.
        numbers: Results by name; missing ones are None.
        effects: Each effect's estimand, grade, checks, specification and summary, by name.
        parameters: What the run was given.
        seed: Its seed.
        fingerprint: Of the linked data.
        versions: Of rox, Python and the libraries that compute.
        replay: What is needed to value the same case again without the files it was read from; see :func:`replay_of`.
    """

    kind: str
    study: str
    numbers: Mapping[str, Any] = field(default_factory=dict)
    effects: Mapping[str, Any] = field(default_factory=dict)
    parameters: Mapping[str, Any] = field(default_factory=dict)
    seed: int
    fingerprint: str
    versions: Mapping[str, str] = field(default_factory=lambda: versions())
    replay: Mapping[str, Any] = field(default_factory=dict)
    schema: str = SCHEMA

    @classmethod
    def of(
        cls,
        kind: str,
        study: Study,
        *,
        seed: int,
        fingerprint: str,
        effects: Sequence[Effect] = (),
        numbers: Mapping[str, Any] | None = None,
        parameters: Mapping[str, Any] | None = None,
        money: Return | None = None,
    ) -> Record:
        """Record effects with their summaries, further numbers, and with a return what it takes to value it again."""
        held = {
            effect.name: {**effect.as_record(), "summary": effect.summary().to_dict(orient="index")}
            for effect in effects
        }
        return cls(
            kind=kind,
            study=study.about.name,
            numbers=plain(numbers or {}),
            effects=plain(held),
            parameters=plain(parameters or {}),
            seed=seed,
            fingerprint=fingerprint,
            replay={} if money is None else replay_of(money, study),
        )

    def write(self, path: str | Path) -> Path:
        """Write as JSON, whole or not at all."""
        text = json.dumps(plain(asdict(self)), ensure_ascii=False, indent=1, sort_keys=True, allow_nan=False)
        return write_text(path, text + "\n")

    @classmethod
    def read(cls, path: str | Path) -> Record:
        """Read what ``write`` wrote.

        Raises:
            DataError: The file is missing or of another schema.
        """
        try:
            content = json.loads(Path(path).read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise DataError(f"There is no record at {path}.") from None
        if content.get("schema") != SCHEMA:
            raise DataError(f"{path} has schema {content.get('schema')!r}; needed: {SCHEMA!r}.")
        return cls(**content)


def versions() -> dict[str, str]:
    """Return the versions of rox, Python and the libraries that compute."""
    return {"rox": _version("rox-research"), "python": platform.python_version()} | {
        name: _version(name) for name in PACKAGES
    }


@cache
def _version(package: str) -> str:
    return metadata.version(package)


def replay_of(money: Return, study: Study) -> dict[str, Any]:
    """Return what it takes to value the same case again: ``rox compare`` reads it.

    Returns:
        ``run`` (its name), ``case`` (values as declared, as JSON text, because their order counts), ``case_text`` (the
        file they were read from, empty where there was none), ``study`` (settings as declared), ``draws``, ``seed``,
        ``code`` (digest of rox's own code), ``effects``: name and digest of each in order, whose draws stay beside the
        record in ``effects/<name>.npz``, and ``layers``: mean, sd and banks of each grade's discount.
    """
    path = money.case._path
    found: dict[str, Any] = plain(
        {
            "run": run_id(money),
            "case": json.dumps(
                money.case.model_dump(mode="json", by_alias=True, exclude_unset=True), ensure_ascii=False
            ),
            "case_text": path.read_text(encoding="utf-8") if path.is_file() else "",
            "study": study.model_dump(
                mode="json", by_alias=True, exclude_unset=True, exclude={"engine", "connections", "sources"}
            ),
            "draws": len(money.draws["npv"]),
            "seed": money.seed,
            "code": code_digest(),
            "effects": [{"name": effect.name, "digest": effect_digest(effect)} for effect in money.effects],
            "layers": {str(grade): [layer.mean, layer.sd, layer.banks] for grade, layer in money.layers.items()},
        }
    )
    return found


def layers_of(replay: Mapping[str, Any]) -> Mapping[Grade, BiasLayer]:
    """Return the evidence discounts a record was valued with; the shipped ones where it names none."""
    held = replay.get("layers", {})
    return {grade: BiasLayer(*held[grade]) if grade in held else layer for grade, layer in BIAS_LAYERS.items()}


@cache
def code_digest() -> str:
    """Return the SHA-256 of the code and constants that compute figures; copies of one version may differ in it."""
    package = Path(__file__).resolve().parents[1]
    held = hashlib.sha256()
    for file in sorted(path for room in COMPUTING for path in (package / room).glob("**/*")):
        name = file.relative_to(package).as_posix()
        if file.suffix in (".py", ".toml") and "/words/" not in name:
            held.update(name.encode() + b"\0" + hashlib.sha256(file.read_bytes()).digest())
    return held.hexdigest()


def plain(value: Any) -> Any:
    """Turn numpy values into plain ones, and NaN or infinity into None."""
    if isinstance(value, Mapping):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple, set, frozenset, np.ndarray)):
        return [plain(each) for each in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return str(value)
