"""Did it come true? Frozen forecasts against what was measured and booked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rox.core.backtest import Backtest, Open, Unscored
from rox.core.case import EVERYONE
from rox.core.forecast import Forecast
from rox.review.backtest_actuals import Actuals, Measured, effect_named, forecast_named
from rox.review.backtest_again import Again
from rox.review.backtest_layers import learn_layers, pairs_of
from rox.review.backtest_scores import all_together, groups_by, scores
from rox.review.backtest_split import splits

NOT_AGAIN = Again()


def backtest(forecasts: Sequence[Forecast], actuals: Actuals, *, again: Again = NOT_AGAIN) -> Backtest:
    """Score forecasts against actuals, split plan against actual, and learn what each grade is worth.

    A measured value without a counterfactual or without an error is no score of an effect: what customers hold more
    than planned may be the market's. It goes into the split of plan and actual only.

    Args:
        forecasts: Of one folder, as :func:`rox.core.forecast.read_forecasts` gives them.
        actuals: What was declared.
        again: What was estimated again on newer tables; a declared value of the same thing goes first.
    """
    declared = {_key(each, forecasts) for each in actuals.measured}
    measured = (*actuals.measured, *(each for each in again.measured if _key(each, forecasts) not in declared))
    table = scores(measured, forecasts)
    return Backtest(
        forecasts=tuple(forecasts),
        table=table,
        everyone=all_together(table),
        grades=groups_by(table, "grade"),
        teams=groups_by(table, "team"),
        splits=splits(actuals, forecasts),
        learned=learn_layers(pairs_of(table)),
        unscored=(*_unscored(measured, forecasts), *again.unscored),
        open=tuple(_open(measured, forecasts)),
        again=bool(again.measured or again.unscored),
    )


def _key(entry: Measured, forecasts: Sequence[Forecast]) -> tuple[object, ...]:
    forecast = forecast_named(entry.forecast, forecasts)
    effect = effect_named(entry, forecast) if forecast else entry.effect
    return (forecast.name if forecast else entry.forecast, entry.month, effect, entry.segment, entry.what)


def _unscored(measured: Sequence[Measured], forecasts: Sequence[Forecast]) -> Iterator[Unscored]:
    for entry in measured:
        forecast = forecast_named(entry.forecast, forecasts)
        shared = "shared" if entry.shares_data and entry.segment == EVERYONE else ""
        reason = "counterfactual" if entry.counterfactual is None else "error" if entry.se is None else shared
        if reason and forecast is not None:
            yield Unscored(
                forecast=forecast.name, month=entry.month, segment=entry.segment, reason=f"backtest.unscored.{reason}"
            )


def _open(measured: Sequence[Measured], forecasts: Sequence[Forecast]) -> Iterator[Open]:
    """Iterate over due months of which nothing was measured, up to the last that anything was measured of."""
    held = {(found.name, each.month) for each in measured if (found := forecast_named(each.forecast, forecasts))}
    last = max((each.date for each in measured), default=None)
    for forecast in forecasts:
        for month in forecast.due:
            if last is not None and (forecast.name, month) not in held and forecast.due_on(month) <= last:
                yield Open(forecast=forecast.name, month=month, due_on=forecast.due_on(month))
