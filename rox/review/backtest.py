"""Did it come true? Frozen forecasts against what was measured and booked."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from itertools import pairwise

import pandas as pd

from rox.core.backtest import Backtest, Open, Unscored
from rox.core.case import EVERYONE
from rox.core.forecast import Forecast
from rox.review.backtest_actuals import Actuals, Measured, Said, effect_named, forecast_named
from rox.review.backtest_again import Again
from rox.review.backtest_layers import learn_layers, pairs_of
from rox.review.backtest_scores import all_together, groups_by, is_early, scores
from rox.review.backtest_split import splits

NOT_AGAIN = Again()


def backtest(
    forecasts: Sequence[Forecast], actuals: Actuals, *, again: Again = NOT_AGAIN, on: dt.date | None = None
) -> Backtest:
    """Score forecasts against actuals, split plan against actual, and learn what each grade is worth.

    A measured value without a counterfactual or without an error is no score of an effect: what customers hold more
    than planned may be the market's. It goes into the split of plan and actual only.

    Args:
        forecasts: Of one folder, as :func:`rox.core.forecast.read_forecasts` gives them.
        actuals: What was declared.
        again: What was estimated again on newer tables; a declared value of the same thing goes first.
        on: The day up to which months are due; by default the last day that is known of any actual or freezing.
    """
    declared = {_key(each, forecasts) for each in actuals.measured}
    measured = (*actuals.measured, *(each for each in again.measured if _key(each, forecasts) not in declared))
    table = scores(measured, forecasts)
    day = on or _last_known(measured, actuals, forecasts)
    waiting = tuple(_open(measured, forecasts, day))
    return Backtest(
        forecasts=tuple(forecasts),
        table=table,
        everyone=all_together(table),
        grades=groups_by(table, "grade"),
        teams=groups_by(table, "team"),
        splits=splits(actuals, forecasts, on),
        learned=learn_layers(pairs_of(table)),
        unscored=(*_unscored(measured, forecasts), *_repeated(table), *again.unscored),
        open=waiting,
        overdue=_overdue(waiting, measured, forecasts),
        on=day,
        again=bool(again.measured or again.unscored),
    )


def _key(entry: Measured, forecasts: Sequence[Forecast]) -> tuple[object, ...]:
    forecast = forecast_named(entry.forecast, forecasts)
    effect = effect_named(entry, forecast) if forecast else entry.effect
    return (forecast.name if forecast else entry.forecast, entry.month, effect, entry.segment, entry.what)


def _unscored(measured: Sequence[Measured], forecasts: Sequence[Forecast]) -> Iterator[Unscored]:
    for entry in measured:
        forecast = forecast_named(entry.forecast, forecasts)
        if forecast is None:
            continue
        shared = "shared" if entry.shares_data and entry.segment == EVERYONE else ""
        reason = "counterfactual" if entry.counterfactual is None else "error" if entry.se is None else shared
        early = is_early(entry, forecast)
        detail = str(forecast.promise(effect_named(entry, forecast)).estimand.horizon) if early else ""
        if early or reason:
            yield Unscored(
                forecast=forecast.name,
                month=entry.month,
                segment=entry.segment,
                reason=f"backtest.unscored.{'early' if early else reason}",
                detail=detail,
            )


def _repeated(table: pd.DataFrame) -> Iterator[Unscored]:
    """Iterate over values that are one measurement of one estimate with another that counts."""
    for row in table[table["repeats"] != ""].itertuples() if len(table) else ():
        yield Unscored(
            forecast=str(row.forecast),
            month=int(str(row.month)),
            segment=str(row.segment),
            reason="backtest.unscored.repeats",
            detail=str(row.repeats),
        )


def _last_known(measured: Sequence[Measured], actuals: Actuals, forecasts: Sequence[Forecast]) -> dt.date | None:
    said: tuple[Said, ...] = (*measured, *actuals.booked, *actuals.paid, *actuals.begun)
    return max((*(each.date for each in said), *(each.frozen for each in forecasts)), default=None)


def _open(measured: Sequence[Measured], forecasts: Sequence[Forecast], on: dt.date | None) -> Iterator[Open]:
    """Iterate over due months that are over on a day and of which, since the due month before, nothing was measured."""
    held = [(found.name, each.month) for each in measured if (found := forecast_named(each.forecast, forecasts))]
    for forecast in forecasts:
        for before, month in pairwise((0, *forecast.due)):
            if on is None or forecast.due_on(month) > on:
                continue
            if not any(name == forecast.name and before < at <= month for name, at in held):
                yield Open(
                    forecast=forecast.name,
                    month=month,
                    due_on=forecast.due_on(month),
                    team=forecast.team,
                    owner=forecast.owner,
                )


def _overdue(waiting: Sequence[Open], measured: Sequence[Measured], forecasts: Sequence[Forecast]) -> tuple[str, ...]:
    """Return the teams that let months pass and measured nothing, ever."""
    measures = {found.team for each in measured if (found := forecast_named(each.forecast, forecasts))}
    return tuple(sorted({each.team for each in waiting} - measures))
