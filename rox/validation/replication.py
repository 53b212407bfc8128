"""One bank: simulate it, know its truth, let every method answer, and keep what they said."""

from __future__ import annotations

import json
import time
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from lifelines.exceptions import ConvergenceError

from rox.core.check import Check, Verdict
from rox.core.effect import Effect
from rox.core.errors import RoxError
from rox.core.files import write_text
from rox.core.linked import Linked
from rox.core.record import plain
from rox.simulate.tables import tables
from rox.simulate.world import simulate
from rox.validation.chain import link_bank
from rox.validation.methods import Method
from rox.validation.rivals import Tables, plainly
from rox.validation.truths import Target, Truths, everybody_answers, find_truths
from rox.validation.worlds import World

LEVEL = 0.90
NORMAL_90 = 1.6448536269514722
_SEVERITY = list(Verdict)


@dataclass(frozen=True, kw_only=True)
class Task:
    """A bank to look at.

    Attributes:
        world: Which world.
        seed: Of the bank and of every fit.
        customers: Customers in the extract.
        methods: What to try.
        path: Where the answers go.
        key: Stands for everything the answers depend on.
    """

    world: World
    seed: int
    customers: int
    methods: tuple[Method, ...]
    path: Path
    key: str


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What one method said about one bank, beside the truth.

    Attributes:
        method: Name.
        target: What it is held against.
        truth: The true value.
        estimate: Mean of the draws, or the recipe's figure; missing when the method refused.
        low: Lower end of the 90% interval.
        high: Upper end.
        seconds: What it took.
        grade: Grade of the effect; empty for a recipe.
        checks: The worst verdict of each check that ran, by code.
        refused: Why there is no estimate.
    """

    method: str
    target: str
    truth: float
    estimate: float
    low: float
    high: float
    seconds: float
    grade: str = ""
    checks: Mapping[str, str] = field(default_factory=dict)
    refused: str = ""


@dataclass(frozen=True, kw_only=True)
class _Said:
    """An estimate before it meets the truth."""

    estimate: float = float("nan")
    low: float = float("nan")
    high: float = float("nan")
    effect: Effect | None = None
    refused: str = ""


def replicate(task: Task) -> float:
    """Do one task, write its answers whole or not at all, and return the seconds it took."""
    started = time.perf_counter()
    answers = [asdict(answer) for answer in answers_of(task)]
    seconds = time.perf_counter() - started
    content = {
        "key": task.key,
        "world": task.world.name,
        "seed": task.seed,
        "customers": task.customers,
        "seconds": seconds,
        "answers": answers,
    }
    write_text(task.path, json.dumps(plain(content), indent=1, allow_nan=False) + "\n")
    return seconds


def answers_of(task: Task) -> list[Answer]:
    """Return what every method says about the bank of a task."""
    bank = simulate(task.world.config(customers=task.customers, seed=task.seed))
    targets = {target for method in task.methods for target in method.targets}
    truths = find_truths(bank, targets)
    linked = link_bank(bank, assigned=task.world.assigned(task.seed), funnel=Target.FUNNEL in targets)
    exported = tables(bank) if any(method.recipe for method in task.methods) else {}
    found = []
    for method in task.methods:
        started = time.perf_counter()
        said = _fitted(method, linked, task.seed) if method.estimator else _followed(method, exported)
        seconds = time.perf_counter() - started
        found += [
            Answer(
                method=method.name,
                target=str(target),
                truth=_truth(target, truths, linked, method, said, task.seed),
                estimate=said.estimate,
                low=said.low,
                high=said.high,
                seconds=seconds,
                grade="" if said.effect is None else str(said.effect.grade),
                checks={} if said.effect is None else worst_verdicts(said.effect.checks),
                refused=said.refused,
            )
            for target in method.targets
        ]
    return found


def worst_verdicts(checks: tuple[Check, ...]) -> dict[str, str]:
    """Return the worst verdict by code; a code may appear more than once."""
    found: dict[str, Verdict] = {}
    for check in checks:
        found[check.code] = max(found.get(check.code, Verdict.PASS), check.verdict, key=_SEVERITY.index)
    return {code: str(verdict) for code, verdict in found.items()}


def _fitted(method: Method, linked: Linked, seed: int) -> _Said:
    """Fit an estimator; a refusal is an answer too."""
    assert method.estimator is not None
    try:
        effect = method.estimator.fit(linked, rng=_rng(seed, method.name))
    except RoxError as cause:
        return _Said(refused=" ".join([cause.headline, *cause.faults]))
    low, high = np.quantile(effect.overall, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return _Said(estimate=float(effect.overall.mean()), low=float(low), high=float(high), effect=effect)


def _followed(method: Method, exported: Tables) -> _Said:
    assert method.recipe is not None
    try:
        estimate, error = plainly(method.recipe, exported)
    except (ConvergenceError, np.linalg.LinAlgError) as cause:
        return _Said(refused=f"{type(cause).__name__}: {cause}")
    return _Said(estimate=estimate, low=estimate - NORMAL_90 * error, high=estimate + NORMAL_90 * error)


def _truth(target: Target, truths: Truths, linked: Linked, method: Method, said: _Said, seed: int) -> float:
    if target is not Target.GAP:
        return truths.of(target, said.effect)
    assert method.estimator is not None
    everybody = everybody_answers(truths.bank, linked)
    return float(method.estimator.fit(everybody, rng=_rng(seed, target)).overall.mean())


def _rng(seed: int, name: str) -> np.random.Generator:
    return np.random.default_rng([seed, zlib.crc32(name.encode())])


def read_answers(path: Path, key: str) -> dict[str, Any] | None:
    """Return what an earlier run left, or nothing if there is nothing or it does not stand for the same question."""
    if not path.is_file():
        return None
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content if content["key"] == key else None
