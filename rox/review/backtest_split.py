"""Why the money differs from the plan: people, mix, market, effect, margin, cost, timing, and what is left over."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace

import numpy as np
import pandas as pd

from rox.core.backtest import Split
from rox.core.case import EVERYONE
from rox.core.forecast import Floats, Forecast
from rox.core.formula import names
from rox.core.ledger import Input, Ledger
from rox.core.spread import Spread
from rox.numerics.shapley import shapley
from rox.review.backtest_actuals import Actuals, Said, effect_named, forecast_named
from rox.review.backtest_came import LATE, Came, Told, came_of, ran

FACTORS = ("volume", "mix", "market", "effect", "margin", "cost", "timing")
"""In the order in which the plan's numbers are replaced by what happened."""


def splits(actuals: Actuals, forecasts: Sequence[Forecast], on: dt.date | None = None) -> tuple[Split, ...]:
    """Split every forecast in every due month for which something was booked or measured.

    Where something was paid since, or nothing but costs and the start is known, the last due month that is over by
    then is split too.

    Args:
        actuals: What happened.
        forecasts: The forecasts.
        on: The day up to which months are over; by default the last day something was said of a forecast.
    """
    found = []
    for forecast in forecasts:
        told = {month: _told(actuals, forecast, forecasts, month) for month in forecast.due}
        wanted = {month for month, each in told.items() if each.booked or each.measured}
        last = on or _last_said(actuals, forecast, forecasts)
        over = [month for month in forecast.due if last is not None and forecast.due_on(month) <= last]
        if over and over[-1] > max(wanted, default=0):
            latest, known = told[over[-1]], max(wanted, default=-1)
            if any(each.month > known for each in latest.paid) or (latest.late is not None and not wanted):
                wanted.add(over[-1])
        found += [split(forecast, told[month]) for month in sorted(wanted)]
    return tuple(found)


def _last_said(actuals: Actuals, forecast: Forecast, forecasts: Sequence[Forecast]) -> dt.date | None:
    entries: tuple[Said, ...] = (*actuals.measured, *actuals.booked, *actuals.paid, *actuals.begun)
    return max((each.date for each in entries if _speaks_of(each, forecast, forecasts)), default=None)


def _speaks_of(entry: Said, forecast: Forecast, forecasts: Sequence[Forecast]) -> bool:
    found = forecast_named(entry.forecast, forecasts)
    return found is not None and found.name == forecast.name


def split(forecast: Forecast, told: Told) -> Split:
    """Replace the plan's numbers one after another in the ledger the forecast was frozen with.

    The lines are those of the day it was frozen; only numbers are replaced, so each step is what that number alone
    changes, given the ones before it. What the books say of the income is held against the lines with everything
    replaced: the rest is unexplained.
    """
    ledger = _with_delay(forecast.ledger)
    came = came_of(forecast, ledger, told)
    cash = ledger.leading_to("cumulative_present")
    moving = [name for name in FACTORS if came.tells(name)]
    worth = np.array(
        [
            _worth(cash, came, told, {name for k, name in enumerate(moving) if code >> k & 1})
            for code in range(2 ** len(moving))
        ]
    )
    in_order = np.diff([worth[2**k - 1] for k in range(len(moving) + 1)])
    steps = dict(zip(moving, zip(in_order, shapley(worth), strict=True), strict=True)) if moving else {}
    left, is_booked, remarks = _left_over(forecast, cash, came, told)
    rows = []
    for name in FACTORS:
        step, share = steps.get(name, (0.0, 0.0))
        rows.append({"factor": name, "told": name in steps, "step": float(step), "share": float(share)})
    rows.append({"factor": "unexplained", "told": is_booked, "step": left, "share": left})
    return Split(
        forecast=forecast.name,
        month=told.month,
        plan=float(worth[0]),
        actual=float(worth[-1]) + left,
        steps=pd.DataFrame(rows),
        is_booked=is_booked,
        remarks=tuple(dict.fromkeys((*came.remarks, *remarks))),
        currency=forecast.currency,
    )


def _told(actuals: Actuals, forecast: Forecast, forecasts: Sequence[Forecast], month: int) -> Told:
    def mine(entry: Said) -> bool:
        return _speaks_of(entry, forecast, forecasts)

    late = [each.month for each in actuals.begun if mine(each)]
    return Told(
        month=month,
        booked=tuple(each for each in actuals.booked if mine(each) and each.month == month),
        measured=tuple(
            each for each in actuals.measured if mine(each) and each.month == month and effect_named(each, forecast)
        ),
        paid=tuple(each for each in actuals.paid if mine(each) and each.month <= month),
        late=late[0] if late else None,
    )


def _with_delay(ledger: Ledger) -> Ledger:
    """Give the line of the effect's build-up an input that says how many months late it began."""
    late = Input(name=LATE, word="input.year", unit="months", spread=Spread.fixed(0.0), kind="constant")
    lines = tuple(
        replace(line, formula=line.formula.replace("month", f"MAX(0, month - {LATE})"))
        if line.name == "shape"
        else line
        for line in ledger.lines
    )
    return replace(ledger, inputs=(*ledger.inputs, late), lines=lines)


def _worth(ledger: Ledger, came: Came, told: Told, factors: AbstractSet[str]) -> float:
    """Return the discounted net cash flow up to the month with these factors as they came."""
    rows = ran(ledger, came, factors)
    total = float(rows["cumulative_present"][told.month])
    if "cost" in factors:
        after_tax = (1 - ledger.point["tax"]) * rows["discount_factor"]
        total -= sum(each.amount * float(after_tax[each.month]) for each in came.unplanned)
    return total


def _left_over(forecast: Forecast, ledger: Ledger, came: Came, told: Told) -> tuple[float, bool, tuple[str, ...]]:
    """Return booked income less that of the lines, after tax and discounted as theirs; whether it was booked; remarks.

    When within the months the income came is not asked for, so it is discounted as that of the lines is on average.
    """
    income = {each.segment: each.income for each in told.booked if each.income is not None}
    if set(income) != {EVERYONE} and set(income) != set(forecast.segments):
        return 0.0, False, ("backtest.remark.income",) if income else ()
    rows = ran(ledger, came, frozenset(FACTORS))
    flow = _income_of_effects(forecast, ledger, rows)[: told.month + 1]
    factor: Floats = rows["discount_factor"][: told.month + 1]
    plain, present = float(flow.sum()), float((flow * factor).sum())
    rate = present / plain if plain else float(factor[-1])
    return (sum(income.values()) - plain) * rate * (1 - ledger.point["tax"]), True, ()


def _income_of_effects(forecast: Forecast, ledger: Ledger, rows: Mapping[str, Floats]) -> Floats:
    """Sum the lines of income that come through effects and are counted in the benefit."""
    counted = names(next(line.formula for line in ledger.lines if line.name == "benefit"))
    wanted = [
        f"income_{promise.name}_{place}"
        for promise in forecast.promises
        for place in range(1, len(forecast.segments) + 1)
    ]
    flow = np.zeros(ledger.horizon + 1)
    for name in wanted:
        if name in counted:
            flow = flow + rows[name]
    return flow
