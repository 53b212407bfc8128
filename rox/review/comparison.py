"""Why did it change: from one recorded return to the next, step by step, with what no step explains left in sight."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from rox.core.check import Check, Verdict
from rox.core.comparison import HEADLINES, MAIN, SHARE_STEP, Comparison, Difference, Step
from rox.core.declared import Wording
from rox.core.errors import CaseError
from rox.core.ledger import NO_WORDS
from rox.core.record import code_digest, versions
from rox.linking.columns import minor_units
from rox.review.between import Between
from rox.review.case_changes import case_changes, changed_places, short
from rox.review.refit import Refits, in_one_step, refitted, same_effects
from rox.review.replay import Replay, State, Valued, read_replay

LEFT_OVER = 0.01
"""Share of the first headline that may be left unexplained."""
ERRORS = 2.0
"""Monte Carlo standard errors that may be left unexplained."""
ROUNDING = 1e-9
"""Relative difference that another machine's arithmetic may make."""


def compare(
    first: str | Path,
    second: str | Path,
    *,
    study: str | Path | None = None,
    orders: bool = True,
    tell: Callable[[str], None] = lambda line: None,
) -> Comparison:
    """Explain the change of a case's figures from one recorded run to another.

    The first run's inputs are replaced by the second's in a fixed order, and the case is valued after each: the
    estimate, the number of customers, their composition, each changed assumption (largest swing first, those beyond the
    eighth together), seed and draws. Both ends are what the records say, so whatever the replacements do not reach
    stays over. If that is more than 1% of the first figure or twice its Monte Carlo error, check ROX-R01 stops
    publication.

    Args:
        first: Record of the earlier run: ``<case>.record.json`` with ``effects/`` beside it.
        second: Record of the later run.
        study: Study file with the second run's tables. With it the change of the estimate is taken apart into data
            restated, data added, method and priors, by estimating again.
        orders: Whether to go through every order of replacement too, which takes as many valuations again.
        tell: Called with each line of progress.

    Raises:
        DataError: A record that cannot be valued again, or a study whose tables have faults.
        CaseError: Two different cases, cases in different currencies, or a case that no longer fits its effects.

    Example:
        >>> found = rox.compare("out/q3/refit.record.json", "out/q4/refit.record.json")  # doctest: +SKIP
        >>> found.bridge()[["en", "value"]]  # doctest: +SKIP
    """
    earlier, later = read_replay(first), read_replay(second)
    _require_comparable(earlier, later)
    tell("valuing both runs again")
    ends = tuple(_valued(each) for each in (earlier, later))
    refits = _refits(earlier, later, study, tell)
    swings = [_again(each).swings() for each in (earlier, later) if changed_places(earlier.case, later.case)[0]]
    changes = tuple(case_changes(earlier.case, later.case, swings))
    between = Between(first=earlier, second=later, levels=refits.levels, changes=changes, tell=tell)
    steps = (_software(earlier, ends[0]), *between.steps())
    code = str(later.case["case"]["currency"])
    cent = 1 / minor_units(code)
    tolerance = _tolerance(earlier.headline, later.headline, ends, cent)
    title = later.case["case"]["title"]
    return Comparison(
        title=Wording(**title) if isinstance(title, Mapping) else Wording(en=title, zh=title),
        currency=code,
        cent=cent,
        first=earlier.facts,
        second=later.facts,
        start=earlier.headline,
        end=later.headline,
        tolerance=tolerance,
        steps=steps,
        shares=between.shares() if orders else (),
        differences=tuple(_differences(earlier, later)),
        checks=(
            _left_over(steps, earlier, later, tolerance),
            *_replayed(earlier, later, ends),
            *refits.checks,
            *_other_case(earlier, later),
        ),
    )


def _require_comparable(first: Replay, second: Replay) -> None:
    codes = [str(each.case["case"]["currency"]) for each in (first, second)]
    if codes[0] != codes[1]:
        raise CaseError(
            f"The runs are in {codes[0]} and {codes[1]}; no steps lead from one currency to another.",
            ["value both cases in one currency"],
        )
    names = [each.facts.case for each in (first, second)]
    if names[0] != names[1]:
        raise CaseError(
            f"These are two cases, {names[0]} and {names[1]}; a comparison is of one case in two runs.",
            ["give two records of one case; to weigh cases against each other use: rox allocate PORTFOLIO.toml"],
        )


def _again(run: Replay) -> State:
    """Return a run as it was recorded."""
    return State(effects=run.effects, case=run.case, seed=run.seed, draws=run.draws)


def _valued(run: Replay) -> Valued:
    try:
        return _again(run).valued()
    except CaseError as cause:
        raise CaseError(f"{run.path} cannot be valued again: {cause.headline}", cause.faults) from cause


def _refits(first: Replay, second: Replay, study: str | Path | None, tell: Callable[[str], None]) -> Refits:
    if same_effects(first, second):
        return Refits(levels=())
    if study is None:
        return in_one_step(first, second, "comparison.reason.no_study")
    return refitted(first, second, Path(study), tell)


def _is_same_stack(run: Replay) -> bool:
    return run.code == code_digest() and dict(run.record.versions) == versions()


def _software(first: Replay, again: Valued) -> Step:
    """Replace the first run's software by this one; on the same software, what differs has no explanation."""
    level = dict(again.headline)
    if _is_same_stack(first):
        exact = _is_reproduced(first, again)
        word = "comparison.step.no_software" if exact else "comparison.step.unreproduced"
        return Step(kind="software" if exact else "unexplained", word=word, level=level)
    was, now = (_named(first.record.versions, versions(), side) for side in (0, 1))
    own = first.code != code_digest()
    return Step(
        kind="software",
        word="comparison.step.version" if own else "comparison.step.software",
        was=was or first.code[:8],
        now=now or code_digest()[:8],
        level=level,
    )


def _is_reproduced(run: Replay, again: Valued) -> bool:
    """Whether a record's figures come out again to the bit."""
    pairs = [(run.headline[name], again.headline[name]) for name in HEADLINES]
    return all(one == other or (math.isnan(one) and math.isnan(other)) for one, other in pairs)


def _named(was: Mapping[str, str], now: Mapping[str, str], side: int) -> str:
    names = [name for name in sorted({*was, *now}) if was.get(name) != now.get(name)]
    return ", ".join(f"{name} {(was, now)[side].get(name, '–')}" for name in names)


def _tolerance(
    start: Mapping[str, float], end: Mapping[str, float], ends: tuple[Valued, ...], cent: float
) -> dict[str, float]:
    """Return what may be left over: the smaller of 1% and two Monte Carlo errors, but rounding is never a fault."""
    errors = [each.errors() for each in ends]
    found = {}
    for name, unit in HEADLINES.items():
        both = [abs(each) for each in (start[name], end[name]) if not math.isnan(each)]
        size = 0.5 * (cent if unit == "money" else SHARE_STEP)
        least = max(ROUNDING * max(both, default=0.0), size)
        noise = ERRORS * math.hypot(errors[0][name], errors[1][name])
        share = LEFT_OVER * (0.0 if math.isnan(start[name]) else abs(start[name]))
        found[name] = max(min(share, noise), least)
    return found


def _left_over(steps: tuple[Step, ...], first: Replay, second: Replay, tolerance: Mapping[str, float]) -> Check:
    """Hold what no step explains, at either end and in all, against its tolerance, headline by headline (ROX-R01)."""
    over: dict[str, float] = {}
    for name in HEADLINES:
        before = steps[0].level[name] - first.headline[name] if steps[0].kind == "unexplained" else 0.0
        after = second.headline[name] - steps[-1].level[name]
        if math.isnan(second.headline[name]) and math.isnan(steps[-1].level[name]):
            after = 0.0
        over[name] = max((before, after, before + after), key=abs)
    wrong = [name for name in HEADLINES if not abs(over[name]) <= tolerance[name]]
    shown = wrong[0] if wrong else MAIN
    values: dict[str, Any] = {
        "headline": f"comparison.headline.{shown}",
        "left": _plain(shown, over[shown]),
        "allowed": _plain(shown, tolerance[shown]),
        "stack": "comparison.stack.same" if _is_same_stack(second) else "comparison.stack.other",
    }
    return Check(code="ROX-R01", verdict=Verdict.STOP if wrong else Verdict.PASS, values=values)


def _plain(name: str, number: float) -> str:
    return f"{100 * number:,.4g}%" if HEADLINES[name] == "share" else f"{number:,.2f}"


def _replayed(first: Replay, second: Replay, ends: tuple[Valued, ...]) -> Iterator[Check]:
    """Say of each run whether its record is reproduced to the bit (ROX-R02)."""
    for place, (run, again) in enumerate(zip((first, second), ends, strict=True), start=1):
        values: dict[str, Any] = {
            "which": f"comparison.which.{place}",
            "gap": _plain(MAIN, again.headline[MAIN] - run.headline[MAIN]),
            "stack": "comparison.stack.same" if _is_same_stack(run) else "comparison.stack.other",
        }
        verdict = Verdict.PASS if _is_reproduced(run, again) else Verdict.NOTE
        yield Check(code="ROX-R02", verdict=verdict, values=values)


def _other_case(first: Replay, second: Replay) -> Iterator[Check]:
    names = [f"{each.facts.study} / {each.facts.case}" for each in (first, second)]
    if names[0] != names[1]:
        yield Check(code="ROX-R05", verdict=Verdict.NOTE, values={"first": names[0], "second": names[1]})


def _differences(first: Replay, second: Replay) -> Iterator[Difference]:
    """List everything that differs, also what moves no figure."""
    was, now = first.facts, second.facts
    for key in ("study", "case", "extract", "run", "seed", "draws", "grade"):
        yield from _differing(f"comparison.fact.{key}", NO_WORDS, str(getattr(was, key)), str(getattr(now, key)))
    said = [str(each.record.numbers.get("decision", {}).get("advice", "")) for each in (first, second)]
    yield from _differing("comparison.fact.advice", NO_WORDS, *said)
    old, new = ({effect.name: effect for effect in each.effects} for each in (first, second))
    for name in sorted({*old, *new}):
        text = Wording(en=name, zh=name)
        for key in ("specification", "fingerprint", "grade"):
            sides = [str(getattr(each[name], key)) if name in each else "" for each in (old, new)]
            yield from _differing(f"comparison.effect.{key}", text, *sides)
    packages = sorted({*first.record.versions, *second.record.versions})
    for name in packages:
        sides = [str(each.record.versions.get(name, "")) for each in (first, second)]
        yield from _differing("comparison.fact.version", Wording(en=name, zh=name), *sides)
    yield from _differing("comparison.fact.code", NO_WORDS, first.code[:12], second.code[:12])
    numbers, papers = changed_places(first.case, second.case)
    for paths, word in ((numbers, "comparison.fact.number"), (papers, "comparison.fact.paper")):
        for path in paths:
            sides = [short(_in(each.case, path)) for each in (first, second)]
            place = ".".join(path)
            is_paper = word == "comparison.fact.paper"
            yield Difference(
                word=word,
                text=Wording(en=place, zh=place),
                was="" if is_paper else sides[0],
                now="" if is_paper else sides[1],
            )


def _differing(word: str, text: Wording, was: str, now: str) -> Iterator[Difference]:
    if was != now:
        yield Difference(word=word, text=text, was=was, now=now)


def _in(content: Mapping[str, Any], path: tuple[str, ...]) -> Any:
    found: Any = content
    for key in path:
        found = found.get(key) if isinstance(found, Mapping) else None
    return found
