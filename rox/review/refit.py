"""The way from one run's estimates to another's: data restated, data added, method, priors."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from rox.core.check import Check, Verdict
from rox.core.effect import Effect
from rox.core.errors import DataError, RoxError
from rox.core.linked import Linked
from rox.core.study import read_study
from rox.linking.link import link
from rox.linking.load import load
from rox.linking.tables import Tables
from rox.review.as_of import tables_as_of
from rox.review.between import Level
from rox.review.replay import Replay
from rox.review.specification import Specification, read_specification

Tell = Callable[[str], None]


@dataclass(frozen=True, kw_only=True, eq=False)
class Refits:
    """The levels between two runs' effects.

    Attributes:
        levels: From the first run's effects to the second's; the last one holds the second's own.
        checks: How the change was taken apart, or why it was not.
    """

    levels: tuple[Level, ...]
    checks: tuple[Check, ...] = ()


def same_effects(first: Replay, second: Replay) -> bool:
    """Whether two runs priced the same effects, in the same order."""
    return bool(first.record.replay["effects"] == second.record.replay["effects"])


def in_one_step(first: Replay, second: Replay, reason: str) -> Refits:
    """Replace the effects at once, and say why the change is not taken apart."""
    level = Level(
        kind="estimate",
        word="comparison.step.estimate",
        effects=second.effects,
        was=_grades(first.effects),
        now=_grades(second.effects),
    )
    return Refits(levels=(level,), checks=(Check(code="ROX-R04", verdict=Verdict.NOTE, values={"reason": reason}),))


def refitted(first: Replay, second: Replay, study: Path, tell: Tell = lambda line: None) -> Refits:
    """Take the change of the estimates apart by estimating again from the second run's tables.

    The first run's question is asked of the second's tables as they would have been on the first's day (what differs
    from the first run then was restated), of all of them (what differs then was added), and then the second's question
    with the first's priors (method) and with its own (priors). Each estimate keeps the grade of its own run.

    Args:
        first: The earlier run.
        second: The later run.
        study: The study file with the second run's tables.
        tell: Called with each line of progress.

    Raises:
        DataError: The study cannot be read or its tables have faults.
    """
    names = [effect.name for effect in first.effects], [effect.name for effect in second.effects]
    if names[0] != names[1]:
        return in_one_step(first, second, f"{', '.join(names[0])} → {', '.join(names[1])}")
    tell("reading the later tables")
    days = [dt.date.fromisoformat(each.facts.extract) for each in (first, second)]
    whole = load(read_study(study))
    if whole.study.about.extract > days[1]:
        whole = tables_as_of(whole, days[1])
    exports = tables_as_of(whole, days[0]), whole
    try:
        ways = [
            _way(mine, theirs, first, second, exports, tell)
            for mine, theirs in zip(first.effects, second.effects, strict=True)
        ]
    except _CannotSplit as cause:
        return in_one_step(first, second, str(cause))
    return _levels(ways, second)


class _CannotSplit(Exception):
    """A change of estimates that cannot be taken apart, and why."""


@dataclass(frozen=True, kw_only=True, eq=False)
class _Way:
    """One effect on its way: the estimate after each kind of step."""

    name: str
    restated: Effect
    added: Effect
    method: Effect
    priors: Effect
    again: Effect
    same_data: bool
    said: Mapping[str, tuple[str, str]]


def _way(
    mine: Effect, theirs: Effect, first: Replay, second: Replay, exports: tuple[Tables, Tables], tell: Tell
) -> _Way:
    if np.array_equal(mine.draws, theirs.draws) and mine.grade == theirs.grade:
        return _Way(
            name=mine.name, restated=theirs, added=theirs, method=theirs, priors=theirs, again=theirs,
            same_data=True, said={},
        )  # fmt: skip
    try:
        was, now = read_specification(mine.specification), read_specification(theirs.specification)
    except DataError as cause:
        raise _CannotSplit(f"{cause.headline} {' '.join(cause.faults)}") from cause
    tell(f"estimating {mine.name} again: linking the later tables")
    whole = _linked(exports[1], theirs)
    earlier = _link_as(exports[0], whole)

    def fit(question: Specification, data: Linked, seed: int, like: Effect) -> Effect:
        tell(f"estimating {mine.name} again: {question.name}, {data.fingerprint[:8]}, seed {seed}")
        try:
            return _dressed(question.estimator().fit(data, rng=seed), like)
        except RoxError as cause:
            raise _CannotSplit(f"{mine.name}: {cause.headline}") from cause

    seed, later = first.record.seed, second.record.seed
    again = fit(now, whole, later, theirs)
    restated = fit(was, earlier, seed, mine)
    added = replace(again, grade=mine.grade) if (was, seed) == (now, later) else fit(was, whole, seed, mine)
    between = _with_priors_of(now, was)
    method = again if between == now else added if between == was else fit(between, whole, later, theirs)
    return _Way(
        name=mine.name,
        restated=restated,
        added=added,
        method=method,
        priors=theirs,
        again=again,
        same_data=earlier.fingerprint == mine.fingerprint,
        said=_said(was, now),
    )


def _levels(ways: Sequence[_Way], second: Replay) -> Refits:
    """Set the ways of all effects side by side."""
    same = all(way.same_data for way in ways)

    def said(kind: str, side: int) -> str:
        return "; ".join(f"{way.name}: {way.said[kind][side]}" for way in ways if kind in way.said)

    level = {
        "restated": Level(
            kind="software" if same else "restated",
            word="comparison.step.estimated_again" if same else "comparison.step.restated",
            effects=tuple(way.restated for way in ways),
        ),
        "added": Level(kind="added", word="comparison.step.added", effects=tuple(way.added for way in ways)),
        "method": Level(
            kind="method",
            word="comparison.step.method",
            effects=tuple(way.method for way in ways),
            was=said("method", 0),
            now=said("method", 1),
        ),
        "priors": Level(
            kind="priors",
            word="comparison.step.priors",
            effects=second.effects,
            was=said("priors", 0),
            now=said("priors", 1),
        ),
    }
    checks = [Check(code="ROX-R04", verdict=Verdict.PASS, values={"effects": ", ".join(way.name for way in ways)})]
    for way in ways:
        exact = np.array_equal(way.again.draws, way.priors.draws)
        gap = float(abs(way.again.overall.mean() - way.priors.overall.mean()))
        spread = float(way.priors.overall.std(ddof=1))
        values: dict[str, str | float] = {"name": way.name, "gap": 100 * gap / spread if spread else 0.0}
        checks.append(Check(code="ROX-R03", verdict=Verdict.PASS if exact else Verdict.NOTE, values=values))
    return Refits(levels=tuple(level.values()), checks=tuple(checks))


def _with_priors_of(question: Specification, other: Specification) -> Specification:
    """Return a question with the priors of another one of the same estimator."""
    if question.name != other.name:
        return question
    mine = {name: each for name, each in question.values.items() if not _is_prior(name)}
    return replace(question, values=mine | {name: each for name, each in other.values.items() if _is_prior(name)})


def _is_prior(option: str) -> bool:
    return option == "priors" or option.split("_")[0] == "prior"


def _said(was: Specification, now: Specification) -> dict[str, tuple[str, str]]:
    """Write the options that differ, method and priors apart."""
    if was.name != now.name:
        return {"method": (was.name, now.name)}
    options = [name for name in sorted({*was.values, *now.values}) if was.values.get(name) != now.values.get(name)]
    found: dict[str, tuple[str, str]] = {}
    for kind in ("method", "priors"):
        which = [name for name in options if _is_prior(name) == (kind == "priors")]
        if which:
            sides = [", ".join(f"{name}={each.values.get(name)!r}" for name in which) for each in (was, now)]
            found[kind] = (sides[0], sides[1])
    return found


def _dressed(effect: Effect, like: Effect) -> Effect:
    """Give a new estimate the name and the grade of the recorded one, which further tests may have set."""
    return replace(effect, name=like.name, grade=like.grade)


def _linked(tables: Tables, effect: Effect) -> Linked:
    """Link tables as an effect's were: with the score under which the fingerprint is the recorded one.

    Raises:
        _CannotSplit: Under none.
    """
    study, outcome = tables.study, effect.estimand.outcome
    if outcome not in study.outcomes:
        raise _CannotSplit(f"{effect.name}: the study has no outcome {outcome}")
    for score in (*study.scores, None, *study.drivers):
        try:
            data = link(tables, score=score, outcome=outcome)
        except DataError:
            continue
        if data.fingerprint == effect.fingerprint:
            return data
    raise _CannotSplit(
        f"{effect.name}: the tables of this study are not those it was estimated from (fingerprint "
        f"{effect.fingerprint[:8]}), or they were linked in another way"
    )


def _link_as(tables: Tables, like: Linked) -> Linked:
    try:
        return link(tables, score=like.score or None, outcome=like.outcome, look_back=like.look_back)
    except DataError as cause:
        raise _CannotSplit(f"{cause.headline} {' '.join(cause.faults)}") from cause


def _grades(effects: Sequence[Effect]) -> str:
    return ", ".join(f"{effect.name} {effect.grade} {effect.fingerprint[:8]}" for effect in effects)
