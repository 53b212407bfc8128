"""The contract of a model as one call, and small linked panels to develop a model against."""

from __future__ import annotations

import dataclasses
import hashlib
import inspect
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NoReturn, Protocol

import numpy as np
import pandas as pd

from rox.core.case import EVERYONE
from rox.core.effect import Effect
from rox.core.linked import Linked, Step, month_index
from rox.core.study import Study
from rox.core.units import MONEY, Unit
from rox.core.words import LANGUAGES, catalogue

FEWEST_DRAWS = 400
"""From here on the Monte Carlo error of a mean is below a twentieth of the standard error."""
SAME = 1e-6
"""How closely two fits of the same question must agree, relative to the size of the draws."""
NUDGE = 1e-12
"""Relative change of money without meaning; a model whose draws it changes is compared by means and spreads."""
MONTE_CARLO = 5.0
"""Monte Carlo errors by which the means and spreads of two samples of one distribution may differ."""


class Estimator(Protocol):
    """What the chain asks of a model: a frozen dataclass with this method."""

    def fit(self, data: Linked, *, rng: int | np.random.Generator | None = None) -> Effect:
        """Estimate."""
        ...


def check_estimator(estimator: Estimator, data: Linked | None = None, *, seed: int = 1) -> Effect:
    """Check that the rest of the chain can trust a model.

    The model is fitted several times: as it is, again with the same seed, with the rows in another order, with money in
    another currency unit, with weights scaled and with the calendar moved by a year.

    Args:
        estimator: The model under test, with the options to test.
        data: What to fit; by default a small simulated panel with scores, money, exits and a roll-out.
        seed: For every fit.

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
    frame = data.frame()
    effect, advice = _first_fit(estimator, data, frame, seed)
    advice += _declared(effect, estimator, data)
    unsaid = _evidence(effect)
    advice += unsaid or _kept_on_disk(effect)
    advice += _invariance(estimator, data, frame, effect, seed)
    if advice:
        _complain(estimator, advice)
    return effect


def _first_fit(estimator: Estimator, data: Linked, frame: pd.DataFrame, seed: int) -> tuple[Effect, list[str]]:
    """Fit once and look for what must not change meanwhile: the panel, the estimator, numpy's global state."""
    lent, question, state = frame.copy(), repr(estimator), _global_state()
    answer: object = estimator.fit(_holding(data, lent), rng=seed)
    if not isinstance(answer, Effect):
        kind = type(answer).__name__
        _complain(estimator, [f"fit returns {kind}; return a rox Effect, which carries unit, draws and evidence"])
    advice = []
    if not lent.equals(frame):
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


def _invariance(estimator: Estimator, data: Linked, frame: pd.DataFrame, effect: Effect, seed: int) -> list[str]:
    factor = 100.0 if effect.estimand.unit in MONEY or effect.estimand.unit is Unit.COUNT else 1.0
    variants: Mapping[str, tuple[Callable[[pd.DataFrame], pd.DataFrame], float]] = {
        "the same seed gives other draws; use np.random.default_rng(rng) for every random step": (
            lambda rows: rows,
            1.0,
        ),
        "the order of the rows matters; sort by customer and month first": (
            lambda rows: rows.sample(frac=1, random_state=seed),
            1.0,
        ),
        f"money written in hundredths does not multiply the effect by {factor:g}; look for constants in money, or for "
        "logarithms of money plus one": (lambda rows: rows.assign(outcome=rows["outcome"] * 100), factor),
        "weights ten times as large change the effect; use weights relative to their mean": (
            lambda rows: rows.assign(weight=rows["weight"] * 10),
            1.0,
        ),
        "moving the calendar by a year changes the effect; look for month numbers used as a quantity": (
            _a_year_later,
            1.0,
        ),
    }
    nudged = estimator.fit(_holding(data, frame.assign(outcome=frame["outcome"] * (1 + NUDGE))), rng=seed)
    steady = _same(effect, nudged, 1.0, exact=True)
    advice = []
    for words, (change, expected) in variants.items():
        later = change is _a_year_later
        starts = data.starts.assign(start=data.starts["start"] + 12) if later else data.starts
        again = estimator.fit(dataclasses.replace(_holding(data, change(frame)), starts=starts), rng=seed)
        if not _same(effect, again, expected, exact=steady or words.startswith("the same seed")):
            advice.append(words)
    return advice


def _a_year_later(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.assign(**{name: rows[name] + 12 for name in ("month", "opened", "exit_month")})


def _same(one: Effect, other: Effect, factor: float, *, exact: bool) -> bool:
    """Compare draws one by one or, where a sampler magnifies rounding, within the Monte Carlo error."""
    if one.groups != other.groups or one.draws.shape != other.draws.shape:
        return False
    mine, theirs = one.draws, other.draws / factor
    spread = mine.std(axis=0)
    size = np.maximum(spread, np.abs(mine).mean(axis=0))
    if (np.abs(theirs - mine) <= SAME * size + 1e-300).all():
        return True
    noise = MONTE_CARLO * np.sqrt(2 / len(mine)) * spread
    means = np.abs(theirs.mean(axis=0) - mine.mean(axis=0)) <= noise
    return not exact and bool((means & (np.abs(theirs.std(axis=0) - spread) <= noise)).all())


def _global_state() -> str:
    return hashlib.sha256(repr(np.random.get_state(legacy=False)).encode()).hexdigest()  # noqa: NPY002


def _holding(data: Linked, frame: pd.DataFrame) -> Linked:
    return dataclasses.replace(data, panel=frame, fetch=lambda rows: rows)


def linked_from_frame(
    frame: pd.DataFrame,
    *,
    score: str = "nps",
    outcome: str = "aum",
    kind: Literal["stock", "flow", "count"] = "stock",
    currency: str = "CNY",
    look_back: int = 12,
    controls: Sequence[str] = (),
    starts: pd.DataFrame | None = None,
    min_cell: int = 10,
    assigned: Literal["random", "chosen", "unknown"] = "random",
) -> Linked:
    """Wrap a frame of customer months as a linked panel, to try a model on data that came from nowhere.

    Args:
        frame: Columns ``customer`` (integer), ``month`` (12·year + month − 1) and ``outcome``; the other columns of a
            linked panel are filled in when missing (one segment, weight 1, no score, no exit).
        score: Name of the score, a 0–10 question.
        outcome: Name of the outcome.
        kind: Kind of the outcome.
        currency: ISO code.
        look_back: Months an answer stays in use.
        controls: Names of control columns in the frame.
        starts: ``initiative``, ``unit``, ``start``.
        min_cell: Smallest group that may be shown.
        assigned: How the places of the initiatives were chosen.
    """
    blank: dict[str, Any] = {
        "segment": EVERYONE,
        "unit": None,
        "weight": 1.0,
        "score": np.nan,
        "score_age": np.nan,
        "opened": np.nan,
        "exit_month": np.nan,
        "voluntary": False,
    }
    rows = frame.assign(**{name: value for name, value in blank.items() if name not in frame})
    starts = pd.DataFrame({"initiative": [], "unit": [], "start": []}) if starts is None else starts
    study = _small_study(score, outcome, kind, currency, min_cell, {each: assigned for each in starts["initiative"]})
    hashed = pd.util.hash_pandas_object(rows.sort_values(["customer", "month"]), index=False).to_numpy()
    step = Step(
        name="frame", rows=len(rows), lost=0, customers=int(rows["customer"].nunique()), reason="score.step.frame"
    )
    return Linked(
        study=study,
        score=score,
        outcome=outcome,
        look_back=look_back,
        controls=tuple(controls),
        starts=starts,
        trail=(step,),
        fingerprint=hashlib.sha256(hashed.tobytes()).hexdigest(),
        checks=(),
        panel=rows,
        fetch=lambda table: table.copy(),
    )


def _small_study(
    score: str, outcome: str, kind: str, currency: str, min_cell: int, initiatives: Mapping[str, str]
) -> Study:
    return Study.model_validate(
        {
            "study": {
                "name": "sample",
                "title": "Sample",
                "currency": currency,
                "extract": "2025-12-31",
                "min_cell": min_cell,
            },
            "tables": {
                "customers": {"path": "customers.csv", "columns": {"customer": "customer"}},
                "answers": {"path": "answers.csv", "columns": {"customer": "customer", "date": "date"}},
                "ledger": {"path": "ledger.csv", "columns": {"customer": "customer", "month": "month"}},
                "exits": {"path": "exits.csv", "columns": {"customer": "customer", "date": "date"}},
            },
            "scores": {score: {"column": score, "low": 0, "high": 10, "kind": "nps", "label": score}},
            "outcomes": {outcome: {"column": outcome, "kind": kind, "label": outcome}},
            "initiatives": {name: {"label": name, "assigned": how} for name, how in initiatives.items()},
        }
    )


def sample_linked(*, customers: int = 1200, months: int = 30, seed: int = 1) -> Linked:
    """Simulate a small panel in which every kind of model has something to find.

    Two segments of different wealth; quarterly surveys that a part answers; money that goes with lasting and with
    passing satisfaction; exits that are rarer among the satisfied; a refit rolled out over 24 units in three waves.
    """
    rng = np.random.default_rng(seed)
    start = month_index(2023, 1)
    segment = rng.random(customers) < 0.3
    unit = rng.integers(0, 24, customers)
    begin = np.array([start + 10, start + 14, start + 18, 10**6])[np.arange(24) % 4][unit]
    opened = start - rng.integers(1, 120, customers)
    products = rng.poisson(2, customers).astype(float)
    trait = 7 + 0.8 * rng.standard_normal(customers) + 0.3 * segment
    level = np.where(segment, 11.0, 9.0) + 0.10 * (trait - 7) + 0.4 * rng.standard_normal(customers)
    passing, exit_month = np.zeros(customers), np.full(customers, np.nan)
    voluntary, score, answered = np.zeros(customers, bool), np.full(customers, np.nan), np.full(customers, np.nan)
    blocks = []
    for month in range(start, start + months):
        passing = 0.8 * passing + 0.6 * 1.2 * rng.standard_normal(customers)
        feeling = trait + passing
        since = np.clip((month - begin + 1) / 6, 0, 1)
        money = np.exp(level + 0.03 * passing + 0.06 * since + 0.05 * rng.standard_normal(customers))
        here = np.isnan(exit_month)
        leaving = here & (rng.random(customers) < 0.012 * np.exp(-0.25 * (feeling - 7)))
        moving = here & ~leaving & (rng.random(customers) < 0.003)
        exit_month[leaving | moving] = month
        voluntary |= leaving
        age = np.where(month - answered <= 12, month - answered, np.nan)
        blocks.append(
            pd.DataFrame(
                {
                    "customer": np.arange(customers),
                    "month": month,
                    "segment": np.where(segment, "gold", "mass"),
                    "unit": [f"U{each:02d}" for each in unit],
                    "weight": np.where(segment, 20.0, 80.0),
                    "outcome": money.round(2),
                    "score": np.where(np.isnan(age), np.nan, score),
                    "score_age": age,
                    "opened": opened.astype(float),
                    "products": products,
                }
            )[here]
        )
        answers = here & ~leaving & ~moving & (rng.random(customers) < (0.45 if month % 3 == 2 else 0.0))
        score[answers] = np.clip(np.rint(feeling + rng.standard_normal(customers)), 0, 10)[answers]
        answered[answers] = month
    frame = pd.concat(blocks, ignore_index=True)
    frame["exit_month"] = exit_month[frame["customer"]]
    frame["voluntary"] = voluntary[frame["customer"]]
    treated = np.arange(24)[np.arange(24) % 4 < 3]
    starts = pd.DataFrame(
        {"initiative": "refit", "unit": [f"U{each:02d}" for each in treated], "start": start + 10 + 4 * (treated % 4)}
    )
    return linked_from_frame(frame, controls=("products",), starts=starts)
