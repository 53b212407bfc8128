"""Ask the frozen questions again of newer tables."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rox.core.backtest import Unscored
from rox.core.case import EVERYONE
from rox.core.effect import Effect
from rox.core.errors import RoxError
from rox.core.estimand import Question
from rox.core.forecast import Forecast, Promise
from rox.core.linked import Linked, month_index
from rox.core.study import Study, read_study
from rox.linking.link import link
from rox.linking.load import load
from rox.linking.tables import Tables
from rox.review.backtest_actuals import Measured
from rox.review.backtest_scores import weights
from rox.review.specification import read_specification

MAY_DIFFER = ("population",)
"""Fields in which the estimand of newer tables may differ: who is there has changed, what is asked has not."""


@dataclass(frozen=True, kw_only=True)
class Again:
    """What newer tables say of the frozen questions.

    Attributes:
        measured: The estimates, by segment and for all, as measured values.
        unscored: Questions that could not be asked again, and why.
    """

    measured: tuple[Measured, ...] = ()
    unscored: tuple[Unscored, ...] = ()


def estimate_again(
    forecasts: Sequence[Forecast], study: str | Path, *, tell: Callable[[str], None] = lambda line: None
) -> Again:
    """Estimate every frozen effect again, by the same specification, from newer tables.

    The estimand must be the same, but for who is there. Estimates of the tables that the forecast itself was made from
    are refused: they test nothing. Newer tables that still hold what the forecast was made from share errors with it:
    such values are shown and do not count. They count where, for an initiative, every start lies after the freezing,
    and for other questions where all money does.

    Args:
        forecasts: The forecasts.
        study: The study file with the newer tables.
        tell: Called with each line of progress.

    Raises:
        DataError: The study cannot be read, or its tables have faults.
    """
    declared = read_study(study)
    tables = load(declared)
    measured: list[Measured] = []
    unscored: list[Unscored] = []
    linked: dict[str, Linked] = {}
    for forecast in forecasts:
        for promise in forecast.promises:
            tell(f"{forecast.name}: {promise.name}")
            outcome = _outcome(declared, promise)
            try:
                if outcome not in linked:
                    linked[outcome] = _linked(tables, declared, outcome)
                data = linked[outcome]
                effect = read_specification(promise.specification).estimator().fit(data, rng=forecast.seed)
            except RoxError as cause:
                reason = " ".join([cause.headline, *cause.faults])
                unscored.append(_refused(forecast, promise, "backtest.unscored.again", reason))
                continue
            different = [f for f in promise.estimand.differences(effect.estimand) if f not in MAY_DIFFER]
            if effect.fingerprint == promise.fingerprint:
                unscored.append(_refused(forecast, promise, "backtest.unscored.same_data", ""))
            elif different:
                unscored.append(_refused(forecast, promise, "backtest.unscored.estimand", ", ".join(different)))
            else:
                shared = _shares_data(forecast, promise, data)
                measured += _measured(forecast, promise, effect, declared.about.extract, str(study), shared)
    return Again(measured=tuple(measured), unscored=tuple(unscored))


def _outcome(study: Study, promise: Promise) -> str:
    """Return the outcome to link: the estimand's own, or the first of the ledger for one about exits."""
    if promise.estimand.outcome in study.outcomes:
        return promise.estimand.outcome
    money = [name for name, outcome in study.outcomes.items() if outcome.table == "ledger"]
    return next(iter(money or study.outcomes))


def _linked(tables: Tables, study: Study, outcome: str) -> Linked:
    return link(tables, score=next(iter(study.scores), None), outcome=outcome)


def _shares_data(forecast: Forecast, promise: Promise, data: Linked) -> bool:
    frozen = month_index(forecast.frozen.year, forecast.frozen.month)
    if promise.estimand.question is Question.INITIATIVE:
        starts = data.starts
        return bool(starts.empty or (starts["start"] <= frozen).any())
    return bool(data.money_months[0] <= frozen)


def _refused(forecast: Forecast, promise: Promise, reason: str, detail: str) -> Unscored:
    return Unscored(
        forecast=forecast.name, month=promise.estimand.horizon, segment=EVERYONE, reason=reason, detail=detail
    )


def _measured(
    forecast: Forecast, promise: Promise, effect: Effect, date: dt.date, source: str, shared: bool
) -> list[Measured]:
    """Restate draws as measured values: all segments weighed as they were when frozen, and each by itself."""
    common = {segment: k for k, segment in enumerate(effect.groups) if segment in forecast.segments}
    columns = {segment: effect.draws[:, k] for segment, k in common.items()}
    if effect.groups == (EVERYONE,):
        columns[EVERYONE] = effect.draws[:, 0]
    elif set(common) == set(forecast.segments):
        share = dict(zip(forecast.segments, weights(forecast, promise), strict=True))
        columns[EVERYONE] = np.sum([share[segment] * draws for segment, draws in columns.items()], axis=0)
    return [
        Measured(
            forecast=forecast.name,
            month=promise.estimand.horizon,
            owner=forecast.owner,
            source=f"{source}, data {effect.fingerprint[:8]}",
            date=date,
            what="effect",
            effect=promise.name,
            segment=segment,
            value=float(draws.mean()),
            se=float(draws.std(ddof=1)),
            counterfactual="estimated_again",
            shares_data=shared,
        )
        for segment, draws in columns.items()
    ]
