"""The contract of a model as one call."""

from __future__ import annotations

import dataclasses
import hashlib
import inspect
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import NoReturn

import numpy as np

from rox.core.effect import Effect
from rox.core.errors import RoxError
from rox.core.linked import Linked
from rox.core.units import MONEY, Unit
from rox.core.words import LANGUAGES, catalogue
from rox.testing.held import Held, hold
from rox.testing.hindsight import hindsight, later_answers
from rox.testing.invariance import Estimator, invariance, is_steady
from rox.testing.planted import PLANTED_BY, By, is_plantable, planted_linked, recovery
from rox.testing.samples import sample_linked

__all__ = ["Estimator", "check_estimator"]

FEWEST_DRAWS = 400
"""From here on the Monte Carlo error of a mean is below a twentieth of the standard error."""


def check_estimator(estimator: Estimator, data: Linked | None = None, *, seed: int = 1, recover: bool = True) -> Effect:
    """Check that the rest of the chain can trust a model.

    The model is fitted several times: as it is, again with the same seed, with the rows in another order, with
    customers numbered anew, with money in another currency unit, with weights scaled and with the calendar moved by
    four years, tickets, arms and applicants with it; where those who left did something else before, and where exits
    are known that lie ahead. Then it is fitted to a panel whose answer was put there, and to one where answers follow
    money instead of leading it.

    Args:
        estimator: The model under test, with the options to test.
        data: What to fit; by default a small simulated panel with scores, money, exits, a roll-out, tickets, an
            experiment and applicants.
        seed: For every fit.
        recover: Whether it must find a planted answer, if one can be planted: for money per score point, the log
            hazard ratio per score point, or an initiative's share of money.

    Returns:
        The effect of the first fit.

    Raises:
        AssertionError: What is wrong, as advice to the author, all in one message.

    Example:
        >>> from rox.models.score_gap import ScoreGap
        >>> check_estimator(ScoreGap()).name
        'gap'
    """
    advice = _form(estimator)
    if advice:
        _complain(estimator, advice)
    data = sample_linked() if data is None else data
    held, read = hold(data), set[str]()
    effect, advice = _first_fit(estimator, held, seed, read)
    advice += _declared(effect, estimator, data)
    unsaid = _evidence(effect)
    advice += unsaid or _kept_on_disk(effect)
    steady = cache(lambda: is_steady(estimator, held, effect, seed))
    advice += invariance(estimator, held, effect, seed, steady=steady)
    advice += hindsight(estimator, held, effect, seed, steady=steady, read=read)
    if recover and is_plantable(effect.estimand):
        advice += _planted(estimator, data, effect, seed, read)
    if advice:
        _complain(estimator, advice)
    return effect


def _first_fit(estimator: Estimator, held: Held, seed: int, read: set[str]) -> tuple[Effect, list[str]]:
    """Fit once and look for what must not change meanwhile: the panel, the estimator, numpy's global state."""
    lent, question, state = held.copy(), repr(estimator), _global_state()
    answer: object = estimator.fit(lent.watched(read), rng=seed)
    if not isinstance(answer, Effect):
        kind = type(answer).__name__
        _complain(estimator, [f"fit returns {kind}; return a rox Effect, which carries unit, draws and evidence"])
    advice = []
    if not lent.same_rows(held):
        advice.append("fit changes the panel it was given; work on a copy, or on data.frame(), which is one")
    if repr(estimator) != question:
        advice.append("fit changes the estimator; keep choices in the estimator and everything fitted in the Effect")
    if _global_state() != state:
        advice.append("fit uses numpy's global random state; draw from np.random.default_rng(rng) only")
    return answer, advice


def _complain(estimator: object, advice: Sequence[str]) -> NoReturn:
    lines = "\n".join(f"  - {line}" for line in advice)
    raise AssertionError(f"{type(estimator).__name__} does not keep the contract of a model yet:\n{lines}")


def _form(estimator: object) -> list[str]:
    kind = type(estimator)
    if not dataclasses.is_dataclass(kind):
        return ["the estimator is not a dataclass; write @dataclass(frozen=True, kw_only=True) above the class"]
    advice = []
    if not kind.__dataclass_params__.frozen:  # type: ignore[attr-defined]
        advice.append("the dataclass is not frozen; write @dataclass(frozen=True), so that a question cannot change")
    fit = getattr(estimator, "fit", None)
    if not callable(fit):
        return [*advice, "there is no method fit(self, data, *, rng=None)"]
    parameters = inspect.signature(fit).parameters
    rng = parameters.get("rng")
    if rng is None or rng.kind is not inspect.Parameter.KEYWORD_ONLY or rng.default is not None:
        advice.append(
            "fit does not take rng as keyword-only with default None; its signature is fit(self, data, *, rng=None)"
        )
    needed = [
        name
        for name, each in parameters.items()
        if each.default is inspect.Parameter.empty and each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD)
    ]
    if len(needed) != 1:
        advice.append(
            f"fit needs the arguments {needed}; it may need only data: make the others fields of the dataclass"
        )
    return advice


def _declared(effect: Effect, estimator: object, data: Linked) -> list[str]:
    estimand = effect.estimand
    advice = []
    if estimand.unit in MONEY and estimand.currency != data.study.currency:
        advice.append(
            f"the estimand is in {estimand.currency}, the data in {data.study.currency}; use data.study.currency"
        )
    if estimand.unit in (*MONEY, Unit.RATIO) and estimand.outcome != data.outcome:
        advice.append(
            f"the estimand's outcome is {estimand.outcome!r}; the linked outcome is {data.outcome!r}: use data.outcome"
        )
    if estimand.horizon < 1:
        advice.append(
            "the estimand's horizon is 0 months; say after how many months the outcome is measured, at least 1"
        )
    for name in ("population", "treatment"):
        if not getattr(estimand, name).strip():
            advice.append(f"the estimand's {name} is empty; say in a few words whose effect of what this is")
    if not effect.estimand.is_descriptive and not effect.estimand.channels:
        advice.append(
            "the estimand names no channel; say which streams of money it contains, so that none is counted twice"
        )
    if not effect.name.isidentifier():
        advice.append(f"the effect's name {effect.name!r} is not a plain word; inputs of a case are named after it")
    if effect.fingerprint != data.fingerprint:
        advice.append(
            "the effect does not carry data.fingerprint; pass it on, so that results name the data they came from"
        )
    if effect.trail[: len(data.trail)] != data.trail:
        advice.append("the effect's trail does not begin with data.trail; append your steps to it")
    if effect.specification != repr(estimator):
        advice.append("the effect's specification is not repr(estimator); use it, so that the question prints itself")
    if len(effect.draws) < FEWEST_DRAWS:
        advice.append(f"only {len(effect.draws)} draws; give at least {FEWEST_DRAWS}, better 4000")
    if (effect.draws.std(axis=0) == 0).any():
        advice.append(
            "some group's draws do not vary; an effect without uncertainty is a claim: draw from its distribution"
        )
    return advice


def _evidence(effect: Effect) -> list[str]:
    """Look for sentences that are missing: without them the effect can be neither shown nor saved."""
    advice = []
    if not effect.checks:
        advice.append("the effect names no check; add a Check for every test that ran, also for those that passed")
    for check in effect.checks:
        for language in LANGUAGES:
            try:
                check.sentence(language)
            except KeyError as cause:
                advice.append(
                    f"check {check.code} has no {language} sentence for verdict {check.verdict} ({cause} is missing); "
                    'a test of your own is Check(code="ROX-Z01", ..., values={"finding": "what was found"})'
                )
    for step in effect.trail:
        if step.reason not in catalogue():
            advice.append(f"step {step.name!r} of the trail has the unknown reason {step.reason!r}; use 'step.own'")
    return advice


def _kept_on_disk(effect: Effect) -> list[str]:
    with tempfile.TemporaryDirectory() as folder:
        again = Effect.load(effect.save(Path(folder) / "effect.npz"))
    if not np.array_equal(again.draws, effect.draws) or again.as_record() != effect.as_record():
        return [
            "the effect changes when saved and loaded; tables may hold plain text and numbers only, with unique columns"
        ]
    return []


def _planted(estimator: Estimator, data: Linked, effect: Effect, seed: int, read: set[str]) -> list[str]:
    """Fit panels whose answer is known; an initiative is planted in the table that the model reads."""
    by: By = next((name for name in PLANTED_BY if name in read), "starts")
    try:
        plain = estimator.fit(planted_linked(effect.estimand, data=data, by=by, seed=seed), rng=seed)
        return recovery(plain) + later_answers(estimator, data, effect, seed, plain=plain)
    except RoxError as cause:
        return [f"it cannot be tried on a panel whose answer is known (recover=False leaves this out): {cause}"]


def _global_state() -> str:
    return hashlib.sha256(repr(np.random.get_state(legacy=False)).encode()).hexdigest()  # noqa: NPY002
