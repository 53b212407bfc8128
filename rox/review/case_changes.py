"""What differs between two case files, and one replacement for each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import pandas as pd

from rox.core.case import Assumption
from rox.core.declared import Wording
from rox.core.ledger import NO_WORDS, Input

PAPERS = frozenset({"owner", "source", "date", "note", "label", "quality"})
"""What is said about a number without being one."""
SIGNED = ("review", "reconcile")
"""Tables of a case that move no figure."""
ABOUT = frozenset({"name", "title", "decision", "prepared_by", "reviewed_by", "effects"})
"""Facts of a case that move no figure, and the effects, which are a factor of their own."""
NUMBERS = ("value", "low", "likely", "high", "between")
SHOWN = 8
"""Assumptions with a step of their own; the others are replaced together."""
CLOSE = 1e-9

Content = Mapping[str, Any]
Path = tuple[str, ...]
Swings = tuple[tuple[Input, ...], pd.Series]
"""Inputs of a ledger, and by name the swing of NPV that each one causes."""


@dataclass(frozen=True, kw_only=True)
class CaseChange:
    """Assumptions of the first case that are replaced by the second one's in one step.

    Attributes:
        paths: Their places in the file.
        word: Key of the step's label.
        text: Words that complete it.
        was: Their numbers in the first case.
        now: In the second.
    """

    paths: tuple[Path, ...]
    word: str
    text: Wording = NO_WORDS
    was: str = ""
    now: str = ""


def replaced(content: Content, other: Content, paths: tuple[Path, ...]) -> dict[str, Any]:
    """Return a copy of a case's content in which some places are as in another's."""
    found = deepcopy(dict(content))
    for path in paths:
        new = _at(other, path)
        if len(path) == 1:
            _put(found, path[0], new)
            continue
        rows = dict(found.get(path[0]) or {})
        _put(rows, path[1], new)
        _put(found, path[0], rows or None)
    return found


def _put(rows: dict[str, Any], key: str, new: Any) -> None:
    if new is None:
        rows.pop(key, None)
    else:
        rows[key] = deepcopy(new)


def _at(content: Content, path: Path) -> Any:
    found: Any = content
    for key in path:
        found = found.get(key) if isinstance(found, Mapping) else None
    return found


def changed_places(first: Content, second: Content) -> tuple[list[Path], list[Path]]:
    """List the places where numbers differ, customers left out, and those where only words about them do."""
    numbers, papers = [], []
    for path in sorted({*_places(first), *_places(second)}):
        was, now = _at(first, path), _at(second, path)
        if was == now:
            continue
        is_said = path[0] in SIGNED or (path[0] == "case" and path[-1] in ABOUT)
        if is_said or _bare(was) == _bare(now):
            if path != ("case", "effects"):
                papers.append(path)
        elif path[0] != "people" or _beside_numbers(was) != _beside_numbers(now):
            numbers.append(path)
    return numbers, papers


def _places(content: Content) -> Iterator[Path]:
    for table, rows in content.items():
        is_table = isinstance(rows, Mapping) and (table == "case" or all(isinstance(r, Mapping) for r in rows.values()))
        if is_table and table not in SIGNED:
            yield from ((table, key) for key in rows)
        else:
            yield (table,)


def _bare(row: Any) -> Any:
    return {key: each for key, each in row.items() if key not in PAPERS} if isinstance(row, Mapping) else row


def _beside_numbers(row: Any) -> Any:
    return {key: each for key, each in (_bare(row) or {}).items() if key not in NUMBERS}


def case_changes(first: Content, second: Content, runs: Sequence[Swings]) -> list[CaseChange]:
    """List the replacements in tornado order: settings first, then by swing, those beyond the eighth together.

    Args:
        first: Content of the first case.
        second: Content of the second.
        runs: Each run's inputs and swings, which give labels and order.
    """
    places, _ = changed_places(first, second)
    swings, labels = _swings(runs), _labels(runs)

    def rank(path: Path) -> tuple[int, float, Path]:
        name = ".".join(path)
        return (1, -swings[name], path) if name in swings else (0, 0.0, path)

    ordered = sorted(places, key=rank)
    own = ordered if len(ordered) <= SHOWN + 1 else ordered[:SHOWN]
    found = [
        CaseChange(
            paths=(path,),
            word="comparison.step.assumption",
            text=labels.get(".".join(path)) or Wording(en=".".join(path), zh=".".join(path)),
            was=short(_at(first, path)),
            now=short(_at(second, path)),
        )
        for path in own
    ]
    if rest := tuple(ordered[len(own) :]):
        number = str(len(rest))
        found.append(CaseChange(paths=rest, word="comparison.step.others", text=Wording(en=number, zh=number)))
    return found


def _swings(runs: Sequence[Swings]) -> dict[str, float]:
    """Largest swing of NPV by place in the case file."""
    found: dict[str, float] = {}
    for inputs, swings in runs:
        for each in inputs:
            if each.kind == "assumption" and each.name in swings.index:
                found[each.place] = max(found.get(each.place, 0.0), float(swings[each.name]))
    return found


def _labels(runs: Sequence[Swings]) -> dict[str, Wording]:
    return {
        each.place: Wording(en=each.label("en"), zh=each.label("zh"))
        for inputs, _ in runs
        for each in inputs
        if each.kind == "assumption"
    }


def short(row: Any) -> str:
    """Write the numbers of an assumption in short: ``0.01``, ``5 – 8 – 12``; other things as they stand."""
    if row is None:
        return ""
    if not isinstance(row, Mapping):
        return f"{row:g}" if isinstance(row, (int, float)) else str(row)[:80]
    held = [row.get(name) for name in ("value", "low", "likely", "high")]
    numbers = [each for each in held if each is not None] + list(row.get("between") or ())
    text = " – ".join(f"{each:,.10g}" for each in numbers)
    months = row.get("months")
    listed = ", ".join(map(str, months)) if isinstance(months, (list, tuple)) else str(months or "")
    when = f"months {listed}" if listed else ""
    if row.get("every_month_from") is not None:
        until = "" if row.get("until") is None else f"–{row['until']}"
        when = f"months {row['every_month_from']}{until or '–'}"
    return " · ".join(each for each in (text, when) if each) or str(_bare(row))[:80]


@dataclass(frozen=True, kw_only=True, eq=False)
class People:
    """Customers reached in two cases, taken apart into their number, their composition and the ranges around them.

    Attributes:
        first: Rows of the first case, by segment.
        second: Of the second.
    """

    first: Content
    second: Content

    @property
    def volume_changed(self) -> bool:
        """Whether there are more or fewer of them in total."""
        return bool(self.first) and abs(self.growth - 1) > CLOSE

    @property
    def mix_changed(self) -> bool:
        """Whether segments have other shares, or other ranges."""
        return not _alike(_scaled(self.first, self.growth), self.second)

    @property
    def same_shares(self) -> bool:
        """Whether each segment has the share it had, so that only ranges differ."""
        scaled = _scaled(self.first, self.growth)
        return scaled.keys() == self.second.keys() and all(
            abs(_likely(scaled[key]) - _likely(self.second[key])) <= CLOSE * abs(_likely(self.second[key]))
            for key in scaled
        )

    @property
    def from_nobody(self) -> bool:
        """Whether either case reaches nobody, so that a composition says nothing."""
        return not (self.total(self.first) > 0 and self.total(self.second) > 0)

    @property
    def growth(self) -> float:
        """Customers of the second case per customer of the first; 1 where either has none."""
        before, after = self.total(self.first), self.total(self.second)
        return after / before if before > 0 and after > 0 else 1.0

    def total(self, rows: Content) -> float:
        """Sum the likely numbers."""
        return sum(_likely(row) for row in rows.values())

    def rows(self, *, volume: bool, mix: bool) -> Content:
        """Return the rows with the second case's total, its composition, both or neither."""
        if volume == mix:
            return self.second if volume else self.first
        if volume:
            return self.second if not self.mix_changed else _scaled(self.first, self.growth)
        return self.first if not self.mix_changed else _scaled(self.second, 1 / self.growth)


def _likely(row: Content) -> float:
    return Assumption(**{**{key: row[key] for key in NUMBERS if key in row}, **BLANK}).spread.likely


BLANK: Mapping[str, Any] = {"owner": "-", "source": "-", "date": "2000-01-01"}


def _scaled(rows: Content, factor: float) -> dict[str, Any]:
    return {
        key: {**row, **{name: _times(row[name], factor) for name in NUMBERS if name in row}}
        for key, row in rows.items()
    }


def _times(number: Any, factor: float) -> Any:
    if number is None or factor == 1:
        return number
    return [each * factor for each in number] if isinstance(number, (list, tuple)) else number * factor


def _alike(first: Content, second: Content) -> bool:
    """Whether two tables hold the same numbers, but for rounding."""
    if first.keys() != second.keys():
        return False
    for key, row in first.items():
        mine, theirs = _numbers(row), _numbers(second[key])
        if mine.keys() != theirs.keys():
            return False
        if any(abs(mine[name] - theirs[name]) > CLOSE * abs(theirs[name]) for name in mine):
            return False
    return True


def _numbers(row: Content) -> dict[str, float]:
    found: dict[str, float] = {}
    for name in NUMBERS:
        each = row.get(name)
        if isinstance(each, (list, tuple)):
            found |= {f"{name}{place}": float(part) for place, part in enumerate(each)}
        elif each is not None:
            found[name] = float(each)
    return found
