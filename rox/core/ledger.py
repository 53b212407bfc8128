"""The calculation as a list of lines: named inputs, one formula per line, evaluated for one path or for many draws."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from keyword import iskeyword
from types import MappingProxyType
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from rox.core.declared import Wording
from rox.core.formula import RESERVED, Array, evaluate, names, uses
from rox.core.spread import Spread
from rox.core.words import Language, say

NO_WORDS = Wording(en="", zh="")


def label(word: str, language: Language, group: str = "", text: Wording = NO_WORDS) -> str:
    """Say the label of an input or a line."""
    return " ".join(say(word, language, group=group, text=text[language]).split())


@dataclass(frozen=True, kw_only=True)
class Input:
    """A number the lines refer to.

    Attributes:
        name: An identifier, unique in the ledger.
        word: Key of its label in the catalogue, with ``group`` and ``text`` as possible fields.
        group: Segment it belongs to, empty if none.
        text: Words of the user that complete the label, such as the name of a cost, in both languages.
        unit: ``customers``, ``money``, ``share``, ``share_per_year``, ``months``, ``factor``, ``log_hazard``,
            ``per_month``, ``score_point``, ``nps_point``, ``money_per_point``.
        spread: The value with its range; the point path uses ``spread.likely``.
        kind: ``assumption`` (somebody answers for it), ``estimate`` (measured by a model) or ``constant``.
        owner: Who answers for it.
        source: Where it comes from.
        date: Of when it is.
        place: Its place in the case file, or the effect it comes from.
    """

    name: str
    word: str
    group: str = ""
    text: Wording = NO_WORDS
    unit: str
    spread: Spread
    kind: Literal["assumption", "estimate", "constant"]
    owner: str = ""
    source: str = ""
    date: dt.date | None = None
    place: str = ""

    def label(self, language: Language) -> str:
        """Say what it is."""
        return label(self.word, language, self.group, self.text)

    @property
    def value(self) -> float:
        """The value on the point path."""
        return self.spread.likely


@dataclass(frozen=True, kw_only=True)
class Line:
    """One line of the calculation.

    Attributes:
        name: An identifier, unique in the ledger.
        word: Key of its label in the catalogue.
        group: Segment it belongs to, empty if none.
        text: Words of the user that complete the label, in both languages.
        unit: As for inputs, or ``ratio`` for pure numbers.
        formula: In the language of :mod:`rox.core.formula`.
        scope: One value per month, or one for all months.
        section: Key of its heading in the catalogue.
    """

    name: str
    word: str
    group: str = ""
    text: Wording = NO_WORDS
    unit: str
    formula: str
    scope: Literal["month", "total"] = "month"
    section: str

    def label(self, language: Language) -> str:
        """Say what it is."""
        return label(self.word, language, self.group, self.text)


@dataclass(frozen=True, kw_only=True)
class Ledger:
    """Inputs, schedules and lines, in an order in which each line refers only to what stands before it.

    Attributes:
        horizon: Last month; months run from 0.
        inputs: The numbers.
        schedules: Rows of 0 and 1 over the months, by name.
        lines: The formulas. A monthly line may refer to itself through ``PREV``.
    """

    horizon: int
    inputs: tuple[Input, ...]
    schedules: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    lines: tuple[Line, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "schedules", MappingProxyType(dict(self.schedules)))
        if faults := list(self._faults()):
            raise ValueError("The ledger does not hold together:\n" + "\n".join(f"  - {fault}" for fault in faults))

    def _faults(self) -> Iterator[str]:
        if self.horizon < 1:
            yield f"the horizon is {self.horizon}; at least month 0 and month 1 are needed"
        yield from (f"{name!r} is not a name a formula can use" for name in _unusable(self))
        yield from (f"two things are called {name!r}" for name in _twice(self))
        for name, row in self.schedules.items():
            if len(row) != self.horizon + 1:
                yield f"schedule {name!r} has {len(row)} months; the ledger has {self.horizon + 1}"
        known, monthly = {*(each.name for each in self.inputs), *self.schedules}, {*self.schedules, "month"}
        for line in self.lines:
            yield from (f"line {line.name!r}: {fault}" for fault in _line_faults(line, known, monthly))
            known.add(line.name)
            monthly |= {line.name} if line.scope == "month" else set()

    @property
    def months(self) -> NDArray[np.float64]:
        """Month numbers, shape (month,)."""
        return np.arange(self.horizon + 1, dtype=float)

    @property
    def point(self) -> dict[str, float]:
        """The inputs' values on the point path."""
        return {each.name: each.value for each in self.inputs}

    def run(self, values: Mapping[str, Array | float]) -> Iterator[tuple[Line, Array]]:
        """Evaluate the lines one by one.

        Args:
            values: Each input as one number or as draws with shape (draw,).

        Yields:
            Each line with its values: shape (draw, month), or (draw, 1) for a total. One number counts as one draw.
        """
        if missing := [each.name for each in self.inputs if each.name not in values]:
            raise ValueError(f"the inputs {missing} have no value")
        held: dict[str, Array] = {
            each.name: np.atleast_1d(np.asarray(values[each.name], dtype=float))[:, None] for each in self.inputs
        }
        held |= {name: np.asarray(row, dtype=float)[None, :] for name, row in self.schedules.items()}
        months = self.months[None, :]
        last_use = {name: place for place, line in enumerate(self.lines) for name in names(line.formula)}
        for place, line in enumerate(self.lines):
            if line.name in uses(line.formula).before:
                found = _step_by_step(line, held, months)
            else:
                found = evaluate(line.formula, held, months, over_months=line.scope == "total")
            held[line.name] = found
            for name in {line.name, *names(line.formula)}:
                if last_use.get(name, place) <= place:
                    del held[name]
            yield line, found

    def totals(self, values: Mapping[str, Array | float]) -> dict[str, Array]:
        """Evaluate, and keep only the totals, each with shape (draw,)."""
        return {line.name: found[:, 0] for line, found in self.run(values) if line.scope == "total"}

    def leading_to(self, name: str) -> Ledger:
        """Return the ledger of the lines that one line rests on, that line included; the inputs stay.

        Raises:
            KeyError: No line of that name.
        """
        needed = {name}
        for line in reversed(self.lines):
            if line.name in needed:
                needed |= names(line.formula)
        if name not in {line.name for line in self.lines}:
            raise KeyError(name)
        return replace(self, lines=tuple(line for line in self.lines if line.name in needed))


def _unusable(ledger: Ledger) -> Iterator[str]:
    for name in (*(each.name for each in ledger.inputs), *ledger.schedules, *(line.name for line in ledger.lines)):
        if not name.isidentifier() or iskeyword(name) or name in RESERVED:
            yield name


def _twice(ledger: Ledger) -> Iterator[str]:
    counts = Counter([*(each.name for each in ledger.inputs), *ledger.schedules, *(line.name for line in ledger.lines)])
    return (name for name, count in counts.items() if count > 1)


def _line_faults(line: Line, known: set[str], monthly: set[str]) -> Iterator[str]:
    """List what keeps a line from meaning the same in Python and in a spreadsheet."""
    try:
        use = uses(line.formula)
    except ValueError as cause:
        yield str(cause)
        return
    recursive = line.name in use.before
    itself = {line.name} if recursive else set()
    if unknown := (names(line.formula) - known - itself) | (itself & use.now):
        yield f"refers to {sorted(unknown)}, which no earlier line defines"
    if once := (use.before & known) - monthly:
        yield f"takes PREV of {sorted(once)}, which have one value for all months"
    if line.scope == "total":
        if by_month := (use.now & monthly) | use.before:
            yield f"is a total and uses {sorted(by_month)} outside SUM, LOWEST, HIGHEST, LAST and IRR"
    elif recursive and use.whole:
        yield "refers to its own past, so it cannot use SUM, LOWEST, HIGHEST, LAST or IRR"
    if any(not part & monthly for part in use.whole):
        yield "takes a value over all months of something that has no months"


def _step_by_step(line: Line, held: Mapping[str, Array], months: Array) -> Array:
    """Evaluate a line that refers to its own past, month by month."""
    needed = names(line.formula) - {line.name}
    draws = max([len(held[name]) for name in needed], default=1)
    width = months.shape[1]
    path = np.zeros((draws, width))
    for place in range(width):
        two = {name: _two_months(held[name], place) if held[name].shape[1] == width else held[name] for name in needed}
        past = _two_months(path, place)[:, :1]
        two[line.name] = np.concatenate([past, past], axis=1)
        found = evaluate(line.formula, two, months[:, [max(place - 1, 0), place]], over_months=False)
        path[:, [place]] = found[:, 1:]
    return path


def _two_months(row: Array, place: int) -> Array:
    before = row[:, [place - 1]] if place else np.zeros((len(row), 1))
    return np.concatenate([before, row[:, [place]]], axis=1)
