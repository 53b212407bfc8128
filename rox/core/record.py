"""The machine-readable twin of a run: what runs are compared by."""

from __future__ import annotations

import json
import math
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from rox.core.effect import Effect
from rox.core.errors import DataError
from rox.core.files import write_text
from rox.core.study import Study

SCHEMA = "rox.record/1"
PACKAGES = ("numpy", "scipy", "pandas", "statsmodels", "lifelines", "pymc", "arviz", "ibis-framework", "duckdb")


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
    """

    kind: str
    study: str
    numbers: Mapping[str, Any] = field(default_factory=dict)
    effects: Mapping[str, Any] = field(default_factory=dict)
    parameters: Mapping[str, Any] = field(default_factory=dict)
    seed: int
    fingerprint: str
    versions: Mapping[str, str] = field(default_factory=lambda: versions())
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
    ) -> Record:
        """Record effects with their summaries, and further numbers."""
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
    found = {"rox": metadata.version("rox-research"), "python": platform.python_version()}
    return found | {name: metadata.version(name) for name in PACKAGES}


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
