"""The register of past evaluations and published findings: what is known before a new study, each with its source."""

from __future__ import annotations

import datetime as dt
import json
import re
import tomllib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, FiniteFloat
from scipy.special import ndtri

from rox.core.check import Grade
from rox.core.declared import Declared, entries, read_toml
from rox.core.effect import Effect
from rox.core.errors import DataError
from rox.core.estimand import DESCRIPTIVE, Estimand, Question
from rox.core.files import write_text
from rox.core.units import MONEY, Dose, Unit

MOST_DISCOUNT = 0.25
"""A published finding counts at most as a quarter of what its own standard error says."""
HALF_90 = float(ndtri(0.95))
AGREEING = ("question", "outcome", "unit", "currency", "dose", "aggregator", "contrast")
"""Fields in which a finding must agree with what is asked now; with ``includes_exit`` where the finding says it."""

Key = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]*$")]
Text = Annotated[str, Field(min_length=1)]


class Finding(Declared):
    """What somebody found that an initiative does.

    Attributes:
        name: Short name, once in the register.
        type: Kind of initiative, such as ``branch_refit``.
        question: Which question it answers; a difference between people answers none that is registered.
        outcome: The outcome's name in the study.
        unit: Its unit.
        currency: ISO code, for money.
        dose: What was moved.
        aggregator: How customers were summed up.
        contrast: Difference or ratio.
        includes_exit: Whether customers who left count with zero money; missing if nobody knows.
        horizon: Months after the change.
        window: First and last month averaged over, when it averages over several; ends at the horizon.
        estimate: The effect.
        se: Its standard error.
        low: Lower end of a 90% interval, instead of ``se``.
        high: Upper end.
        segments: Segments it is about; none means all.
        date: When it was found.
        owner: Who answers for it.
        source: Where it can be read.
        note: Anything else.
    """

    name: Key
    type: Key
    question: Question = Question.INITIATIVE
    outcome: Text
    unit: Unit
    currency: Annotated[str, Field(pattern=r"^([A-Z]{3})?$")] = ""
    dose: Dose
    aggregator: Literal["mean", "aum_weighted_mean", "median", "capped_mean", "total"] = "mean"
    contrast: Literal["additive", "ratio"] = "additive"
    includes_exit: bool | None = None
    horizon: Annotated[int, Field(ge=1, le=240)]
    window: tuple[Annotated[int, Field(ge=0)], Annotated[int, Field(ge=0)]] | None = None
    estimate: FiniteFloat
    se: Annotated[FiniteFloat, Field(gt=0)] | None = None
    low: FiniteFloat | None = None
    high: FiniteFloat | None = None
    segments: tuple[Text, ...] = ()
    date: dt.date
    owner: Text
    source: Text
    note: str = ""

    @property
    def error(self) -> float:
        """Standard error: as given, or that of a normal with the given 90% interval.

        Raises:
            DataError: Neither is given.
        """
        if self.se is not None:
            return self.se
        if self.low is None or self.high is None:
            raise DataError(f"{self.name} has no error.", ["needed: se, or low and high of a 90% interval"])
        return (self.high - self.low) / (2 * HALF_90)

    def differences(self, estimand: Estimand) -> tuple[str, ...]:
        """Name the fields, other than the horizon, in which it differs from what is asked."""
        exits = () if self.includes_exit is None else ("includes_exit",)
        return tuple(each for each in (*AGREEING, *exits) if getattr(self, each) != getattr(estimand, each))


class Evaluation(Finding):
    """What an evaluation of an own initiative found.

    Attributes:
        grade: Strength of its evidence.
    """

    grade: Grade


class Published(Finding):
    """What others published; its source names the year.

    Attributes:
        discount: Power its likelihood is raised to, above 0 and at most 0.25.
        grade: Strength of its evidence here; a claim unless said otherwise.
    """

    discount: Annotated[float, Field(gt=0, le=MOST_DISCOUNT)]
    grade: Grade = Grade.E


@dataclass(frozen=True, kw_only=True)
class Register:
    """Past evaluations and published findings.

    Attributes:
        evaluations: Evaluations of own initiatives.
        published: What others published.
        path: The file it was read from.
        text: The file as it will be written, with the comments people put there.
        origin: The file as it was read.
    """

    evaluations: tuple[Evaluation, ...] = ()
    published: tuple[Published, ...] = ()
    path: Path | None = None
    text: str = field(default="", repr=False)
    origin: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        if not self.text:
            tables = {"evaluation": self.evaluations, "published": self.published}
            texts = [_entry_text(table, each.model_dump()) for table, found in tables.items() for each in found]
            object.__setattr__(self, "text", "\n".join(texts))

    def of_type(self, kind: str) -> tuple[Evaluation | Published, ...]:
        """Return the findings about a kind of initiative, evaluations first."""
        own = tuple(each for each in self.evaluations if each.type == kind)
        return own + tuple(each for each in self.published if each.type == kind)

    def add(
        self,
        effect: Effect,
        *,
        type: str,
        name: str,
        owner: str,
        source: str,
        date: dt.date,
        group: str | None = None,
    ) -> Register:
        """Return the register with an effect as its last evaluation.

        What is entered is what the data said: where the model's pooling table holds raw estimates beside those drawn
        towards a prior, the raw ones, so that no prior is counted again by those who learn from the register.

        Args:
            effect: What was estimated.
            type: Kind of initiative.
            name: Short name, new in the register.
            owner: Who answers for it.
            source: Where the report is.
            date: Of the evaluation.
            group: One of the effect's groups; all of them together by default.

        Raises:
            DataError: A name that is taken, a group the effect does not have, or an effect that answers no question
                about a change; every fault in one message.
        """
        if group is not None and group not in effect.groups:
            raise DataError(
                f"Effect {effect.name!r} has no group {group!r}.", [f"choose one of {', '.join(effect.groups)}"]
            )
        asked = effect.estimand
        estimate, se = _measured(effect, group)
        entry: dict[str, Any] = {
            "name": name,
            "type": type,
            "question": str(asked.question),
            "outcome": asked.outcome,
            "unit": str(asked.unit),
            "currency": asked.currency,
            "dose": str(asked.dose),
            "aggregator": asked.aggregator,
            "contrast": asked.contrast,
            "includes_exit": asked.includes_exit,
            "horizon": asked.horizon,
            "window": asked.window,
            "estimate": float(f"{estimate:.6g}"),
            "se": float(f"{se:.6g}"),
            "segments": (group,) if group else (),
            "grade": str(effect.grade),
            "date": date,
            "owner": owner,
            "source": source,
        }
        text = (self.text.rstrip("\n") + "\n\n" if self.text.strip() else "") + _entry_text("evaluation", entry)
        return _parsed(text, where=f"The register with {name!r}", path=self.path, origin=self.origin)

    def write(self, path: str | Path | None = None) -> Path:
        """Write the register, whole or not at all; what people wrote in the file stays as it is.

        Args:
            path: The file; by default the one it was read from.

        Raises:
            DataError: No path is known, or the file has changed since it was read.
        """
        target = self.path if path is None else Path(path)
        if target is None:
            raise DataError("This register was not read from a file.", ["say where: write('register.toml')"])
        if target.exists() and target.read_text(encoding="utf-8") not in (self.origin, self.text):
            raise DataError(
                f"{target} is not the file this register was read from, or has changed since.",
                ["read it again with read_register, add to that, and write"],
            )
        return write_text(target, self.text)


def read_register(path: str | Path) -> Register:
    """Read a register.

    Raises:
        DataError: Every fault of the file in one message.
    """
    path = Path(path)
    read_toml(path, "register", DataError)
    text = path.read_text(encoding="utf-8")
    return _parsed(text, where=str(path), path=path.resolve(), origin=text)


def _parsed(text: str, *, where: str, path: Path | None, origin: str) -> Register:
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as cause:
        raise DataError(f"{where} cannot be read as TOML.", [f"{cause}"]) from cause
    faults = [
        f"{name}: unknown name; needed: [[evaluation]] or [[published]]"
        for name in sorted(content.keys() - {"evaluation", "published"})
    ]
    evaluations = entries(
        Evaluation, "evaluation", content, faults, further=lambda raw: _disagreements(raw, published=False)
    )
    published = entries(
        Published, "published", content, faults, further=lambda raw: _disagreements(raw, published=True)
    )
    names = Counter(
        each["name"]
        for raw in (content.get("evaluation"), content.get("published"))
        if isinstance(raw, list)
        for each in raw
        if isinstance(each, dict) and isinstance(each.get("name"), str)
    )
    faults += [
        f"{name}: the name stands for {times} findings; give each its own" for name, times in names.items() if times > 1
    ]
    if faults:
        raise DataError(f"{where} has {len(faults)} fault{'s' if len(faults) > 1 else ''}.", faults)
    return Register(evaluations=evaluations, published=published, path=path, text=text, origin=origin)


def _disagreements(raw: Mapping[str, Any], *, published: bool) -> list[str]:
    """List where the fields of an entry, each good by itself or not, do not go together."""
    faults = []
    ends = [name for name in ("low", "high") if name in raw]
    if ("se" in raw) == bool(ends):
        faults.append(f"{'say the error one way' if ends else 'se: missing'}; needed: se, or low and high (90%)")
    elif len(ends) == 1:
        faults.append("low and high belong together")
    values = [raw.get(name) for name in ("low", "estimate", "high")]
    if all(isinstance(each, (int, float)) for each in values):
        low, at, high = (float(each) for each in values if each is not None)
        if not (low <= at <= high and low < high):
            faults.append(f"low ≤ estimate ≤ high is needed; got {low:g}, {at:g}, {high:g}")
    unit, currency = str(raw.get("unit", "")), raw.get("currency", "")
    if unit in set(Unit) and (unit in MONEY) != bool(currency):
        faults.append(
            f"currency: {'needed by' if not currency else 'remove it; there is none in'} an outcome in {unit}"
        )
    question, dose = str(raw.get("question", Question.INITIATIVE)), str(raw.get("dose", ""))
    if question in DESCRIPTIVE:
        faults.append(
            f"question: {question!r} compares people and says nothing of what a change would do; remove the entry"
        )
    elif (
        dose in set(Dose)
        and question in set(Question)
        and (dose == Dose.INITIATIVE) != (question == Question.INITIATIVE)
    ):
        faults.append(
            f"question: {question!r} does not go with the dose {dose!r}; say which question the effect answers"
        )
    window, horizon = raw.get("window"), raw.get("horizon")
    if isinstance(window, (list, tuple)) and len(window) == 2 and all(isinstance(each, int) for each in window):
        if window[0] > window[1]:
            faults.append(f"window: first month ≤ last month is needed; got {list(window)}")
        elif window[1] != horizon:
            faults.append(f"horizon: {horizon} differs from the last month of the window, {window[1]}")
    if published and not re.search(r"\b(19|20)\d{2}\b", str(raw.get("source", ""))):
        faults.append("source: a published finding names its year, such as 'Smith 2019, table 2'")
    return faults


def _measured(effect: Effect, group: str | None) -> tuple[float, float]:
    """Return estimate and standard error before any pooling, where the effect has them, else of its draws."""
    row = group or "all"
    table, columns = effect.summary(), ["mean", "sd"]
    pooling = effect.tables.get("pooling")
    if pooling is not None and {"raw", "se"} <= set(pooling.columns) and row in pooling.index:
        table, columns = pooling, ["raw", "se"]
    estimate, se = table.loc[[row], columns].to_numpy(dtype=float)[0]
    return float(estimate), float(se)


def _entry_text(table: str, entry: Mapping[str, Any]) -> str:
    lines = [
        f"{name} = {_literal(value)}" for name, value in entry.items() if value is not None and value not in ("", ())
    ]
    return "\n".join([f"[[{table}]]", *lines]) + "\n"


def _literal(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dt.date):
        return value.isoformat()
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(_literal(each) for each in value)}]"
    return json.dumps(value, ensure_ascii=False)
