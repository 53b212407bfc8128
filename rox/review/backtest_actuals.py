"""What happened, as finance declares it: every number with the counterfactual it was measured by, owner and source."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import Field, FiniteFloat

from rox.core.case import EVERYONE
from rox.core.declared import Declared, entries, read_toml
from rox.core.errors import DataError
from rox.core.forecast import Forecast

Text = Annotated[str, Field(min_length=1)]
Month = Annotated[int, Field(ge=0, le=240)]
Amount = Annotated[FiniteFloat, Field(ge=0)]
What = Literal["effect", "extra_money"]
Counterfactual = Literal["hold_out", "synthetic_control", "frozen_baseline", "estimated_again"]


class Said(Declared):
    """Something that happened, by a month after the start of a forecast.

    Attributes:
        forecast: Its name, such as ``0001_branch_refit``; the case's name will do where it was frozen once.
        month: Months after the start.
        owner: Who answers for the number.
        source: Where it comes from.
        date: When it was taken; not before the month is over.
    """

    forecast: Text
    month: Month
    owner: Text
    source: Text
    date: dt.date


class Measured(Said):
    """The effect of an initiative as it was measured, or the extra money it brought.

    Attributes:
        what: ``effect``: what the forecast's estimand asks for, in its unit; measured before the estimand's horizon it
            is not yet that, and not scored. ``extra_money``: extra money held at the end of the month, in the
            forecast's currency.
        effect: Name of the effect; may be missing where the forecast has one.
        segment: A segment, or ``all``.
        value: What was measured.
        se: Its standard error.
        counterfactual: What it was measured against; without one, and without an error, it is no score of the effect.
        shares_data: Whether it was measured with customers and months that the forecast was made from. Then both err
            alike, and it is shown but does not count.
    """

    what: What
    effect: str = ""
    segment: Text = EVERYONE
    value: FiniteFloat
    se: Annotated[FiniteFloat, Field(gt=0)] | None = None
    counterfactual: Counterfactual | None = None
    shares_data: bool = False


class Booked(Said):
    """What the books say of a segment, as means or sums from the start to the month.

    Attributes:
        segment: A segment, or ``all`` where the plan speaks of everybody at once.
        customers: Customers reached.
        balance: Money per customer had there been no initiative, mean since the start: that of the hold-out, or of the
            frozen baseline.
        margin: Contribution margin earned on it, as a share per year.
        income: Margin earned on the extra money since the start, before tax.
    """

    segment: Text = EVERYONE
    customers: Amount | None = None
    balance: Amount | None = None
    margin: Annotated[FiniteFloat, Field(ge=0, le=1)] | None = None
    income: FiniteFloat | None = None


class Paid(Said):
    """What was paid of a cost in a month, all of it in one entry.

    Attributes:
        cost: Its name in the case; a name the case does not have is a cost nobody planned.
        amount: How much, before tax.
    """

    cost: Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]*$")]
    amount: Amount


class Begun(Said):
    """When it really began: ``month`` is how many months late, 0 for on time."""


@dataclass(frozen=True, kw_only=True)
class Actuals:
    """What happened.

    Attributes:
        measured: Effects and extra money.
        booked: What the books say.
        paid: Costs.
        begun: Real starts.
    """

    measured: tuple[Measured, ...] = ()
    booked: tuple[Booked, ...] = ()
    paid: tuple[Paid, ...] = ()
    begun: tuple[Begun, ...] = ()


Entry = TypeVar("Entry", bound=Said)


def read_actuals(path: str | Path, forecasts: Sequence[Forecast]) -> Actuals:
    """Read a file of actuals and hold it against the forecasts it speaks of.

    Raises:
        DataError: Every fault of the file in one message.
    """
    path = Path(path)
    content = read_toml(path, "file of actuals", DataError)
    faults = [
        f"{name}: unknown name; needed: [[measured]], [[booked]], [[paid]] or [[begun]]"
        for name in sorted(content.keys() - {"measured", "booked", "paid", "begun"})
    ]
    found = Actuals(
        measured=entries(Measured, "measured", content, faults),
        booked=entries(Booked, "booked", content, faults),
        paid=entries(Paid, "paid", content, faults),
        begun=entries(Begun, "begun", content, faults),
    )
    faults += list(_misplaced(found, forecasts))
    if faults:
        raise DataError(f"{path} has {len(faults)} fault{'s' if len(faults) > 1 else ''}.", faults)
    return found


def forecast_named(name: str, forecasts: Sequence[Forecast]) -> Forecast | None:
    """Return the forecast that a name stands for, if there is exactly one."""
    found = [each for each in forecasts if each.name == name] or [each for each in forecasts if each.case == name]
    return found[0] if len(found) == 1 else None


def effect_named(entry: Measured, forecast: Forecast) -> str:
    """Return the name of the effect that was measured; empty where it is not clear which."""
    names = [each.name for each in forecast.promises]
    return entry.effect or (names[0] if len(names) == 1 else "")


def _misplaced(actuals: Actuals, forecasts: Sequence[Forecast]) -> Iterator[str]:
    """List entries that no forecast speaks of, or that say one thing twice."""
    entries = [
        *(("measured", place, each) for place, each in enumerate(actuals.measured, start=1)),
        *(("booked", place, each) for place, each in enumerate(actuals.booked, start=1)),
        *(("paid", place, each) for place, each in enumerate(actuals.paid, start=1)),
        *(("begun", place, each) for place, each in enumerate(actuals.begun, start=1)),
    ]
    for table, place, entry in entries:
        forecast = forecast_named(entry.forecast, forecasts)
        if forecast is None:
            names = ", ".join(each.name for each in forecasts)
            yield f"{table} {place}: forecast {entry.forecast!r} is not exactly one of {names}"
            continue
        yield from (f"{table} {place}: {fault}" for fault in _faults_with(entry, forecast))
    yield from _said_twice(actuals, forecasts)


def _faults_with(entry: Said, forecast: Forecast) -> Iterator[str]:
    if entry.date < forecast.frozen:
        yield f"date: {entry.date} is before the forecast was frozen, {forecast.frozen}; that is no test of it"
    elif entry.date < (over := forecast.due_on(entry.month)):
        yield f"date: {entry.date} is before month {entry.month} is over, {over}; nobody can know it yet"
    if isinstance(entry, (Measured, Booked)) and (over := forecast.due_on(entry.month)) <= forecast.frozen:
        yield f"month: {entry.month} was over on {over}, when the forecast was not frozen yet; that is no test of it"
    if entry.month > forecast.ledger.horizon:
        yield f"month: {entry.month} lies after the last month that was counted, {forecast.ledger.horizon}"
    segment = getattr(entry, "segment", EVERYONE)
    if segment not in (EVERYONE, *forecast.segments):
        yield f"segment: {segment!r} is not among {', '.join(forecast.segments)}"
    if isinstance(entry, Measured):
        name = effect_named(entry, forecast)
        if name not in {each.name for each in forecast.promises}:
            yield f"effect: say which: {', '.join(each.name for each in forecast.promises)}"
        if entry.what == "extra_money" and entry.month not in forecast.due:
            yield f"month: extra money was forecast for the months {', '.join(map(str, forecast.due))}"
    if isinstance(entry, Booked) and entry.month not in forecast.due:
        yield f"month: the forecast falls due in the months {', '.join(map(str, forecast.due))}"


def _said_twice(actuals: Actuals, forecasts: Sequence[Forecast]) -> Iterator[str]:
    """List what was said of one thing by several entries, under whichever name of the forecast."""

    def name(entry: Said) -> str:
        found = forecast_named(entry.forecast, forecasts)
        return found.name if found else entry.forecast

    def effect(entry: Measured) -> str:
        found = forecast_named(entry.forecast, forecasts)
        return effect_named(entry, found) if found else entry.effect

    measured = Counter((name(each), each.month, effect(each), each.segment, each.what) for each in actuals.measured)
    booked = Counter((name(each), each.month, each.segment) for each in actuals.booked)
    paid = Counter((name(each), each.month, each.cost) for each in actuals.paid)
    begun = Counter((name(each),) for each in actuals.begun)
    for table, counts in (("measured", measured), ("booked", booked), ("paid", paid), ("begun", begun)):
        what = "write their sum in one" if table == "paid" else "keep one"
        for key, times in counts.items():
            if times > 1:
                yield f"{table}: {times} entries for {' '.join(str(part) for part in key if part != '')}; {what}"
