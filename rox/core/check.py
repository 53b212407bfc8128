"""Checks that ran, and the grade of evidence they leave."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from importlib import resources
from types import MappingProxyType
from typing import Any

import pandas as pd

from rox.core.words import Language, catalogue, say


class Verdict(StrEnum):
    """What a check does to the estimate: nothing, a remark, a lower grade, or a refusal."""

    PASS = "pass"
    NOTE = "note"
    DEMOTE = "demote"
    STOP = "stop"


@dataclass(frozen=True, kw_only=True)
class Check:
    """One test that was run, its verdict, and the numbers of its sentence.

    The sentence is entry ``<code>`` of the catalogue, or ``<code>.pass`` when the verdict is PASS. A value that is
    itself a key of the catalogue is said in the reader's language.

    Attributes:
        code: Stable id such as ``"ROX-A02"``, which a reviewer can refer to.
        verdict: What it does.
        values: What the sentence's fields stand for.
        to_grade: For DEMOTE: the best grade that is still allowed; None lowers by one.
    """

    code: str
    verdict: Verdict
    values: Mapping[str, str | int | float] = field(default_factory=dict)
    to_grade: Grade | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "values", MappingProxyType(dict(self.values)))

    def sentence(self, language: Language = "en") -> str:
        """Say what was found, in one sentence."""
        key = f"{self.code}.pass" if self.verdict is Verdict.PASS else self.code
        words = catalogue()
        said = {n: say(v, language) if isinstance(v, str) and v in words else v for n, v in self.values.items()}
        return say(key, language, **said)

    def as_record(self) -> dict[str, Any]:
        """Return plain values for a record."""
        return {
            "code": self.code,
            "verdict": str(self.verdict),
            "values": dict(self.values),
            "to_grade": str(self.to_grade) if self.to_grade else None,
            "sentence": self.sentence(),
        }

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Check:
        """Rebuild a check from its record."""
        to_grade = Grade(record["to_grade"]) if record["to_grade"] else None
        return cls(code=record["code"], verdict=Verdict(record["verdict"]), values=record["values"], to_grade=to_grade)


class Grade(StrEnum):
    """Strength of evidence: A experimental, B quasi-experimental, C adjusted longitudinal, D correlational, E claim."""

    A = "A"
    B = "B"
    C = "C"
    D = "D"
    E = "E"

    @property
    def is_causal(self) -> bool:
        """Whether a report may say "raised"."""
        return self in (Grade.A, Grade.B)

    def lowered(self, steps: int = 1) -> Grade:
        """Return the grade some steps down, E at worst."""
        order = list(Grade)
        return order[min(order.index(self) + steps, len(order) - 1)]


@dataclass(frozen=True)
class BiasLayer:
    """How far estimates of a grade are from the truth: true = estimate·M, M ~ Normal(mean, sd²).

    Attributes:
        mean: Of the factor.
        sd: Of the factor.
        banks: Answers in simulated banks it was calibrated with; 0 when it is assumed.
    """

    mean: float
    sd: float
    banks: int = 0


ASSUMED_LAYERS: Mapping[Grade, BiasLayer] = MappingProxyType(
    {
        Grade.A: BiasLayer(1.00, 0.05),
        Grade.B: BiasLayer(0.90, 0.20),
        Grade.C: BiasLayer(0.60, 0.35),
        Grade.D: BiasLayer(0.30, 0.30),
        Grade.E: BiasLayer(0.15, 0.25),
    }
)
"""Evidence discounts set by judgement, for grades that no estimator reaches in the simulated banks."""


def _read_layers() -> Mapping[Grade, BiasLayer]:
    text = resources.files("rox.core").joinpath("bias_layers.toml").read_text(encoding="utf-8")
    found = {Grade(name): values for name, values in tomllib.loads(text).items() if name != "recipe"}
    return MappingProxyType(
        {grade: BiasLayer(found[grade]["mean"], found[grade]["sd"], found[grade]["banks"]) for grade in Grade}
    )


BIAS_LAYERS = _read_layers()
"""Evidence discounts in use, calibrated in simulated banks (``bias_layers.toml`` holds the recipe). Every report lists
the one it used."""


def check_table(checks: Iterable[Check], language: Language = "en") -> pd.DataFrame:
    """List checks for a reader: code, verdict and sentence."""
    rows = [
        {
            say("checks.code", language): check.code,
            say("checks.verdict", language): say(f"verdict.{check.verdict}", language),
            say("checks.finding", language): check.sentence(language),
        }
        for check in checks
    ]
    return pd.DataFrame(rows)


def grade_after(design: Grade, checks: Iterable[Check]) -> Grade:
    """Return the grade a design keeps after its checks.

    The lowest ceiling holds first; then each DEMOTE without one lowers by a grade, E at worst. The order of the checks
    does not matter.
    """
    demoting = [check for check in checks if check.verdict is Verdict.DEMOTE]
    ceiling = max([design, *(check.to_grade for check in demoting if check.to_grade)])
    return ceiling.lowered(sum(check.to_grade is None for check in demoting))
