"""What came instead of the plan, in the inputs and schedules of the ledger the forecast was frozen with."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace

import numpy as np
from scipy.optimize import brentq

from rox.core.case import EVERYONE
from rox.core.forecast import Floats, Forecast
from rox.core.ledger import Ledger
from rox.review.backtest_actuals import Booked, Measured, Paid, effect_named
from rox.review.backtest_scores import is_early, weights

LATE = "months_late"
MOST = 20.0
"""Largest multiple of the planned effect that is looked at."""
OTHERS = frozenset({"volume", "mix", "market", "timing"})
"""What stands as it came while the effect behind the measured money is looked for."""
TABLES = {"people": "customers", "balance": "balance", "margin": "margin"}
"""What the books say of each table of the case."""

Values = dict[str, float]


@dataclass(frozen=True, kw_only=True)
class Told:
    """What was said of one forecast up to one month.

    Attributes:
        month: The due month.
        booked: What the books say.
        measured: Effects and extra money, with or without a counterfactual.
        paid: Costs up to the month.
        late: Months the start was late; None if nothing was said of it.
    """

    month: int
    booked: tuple[Booked, ...] = ()
    measured: tuple[Measured, ...] = ()
    paid: tuple[Paid, ...] = ()
    late: int | None = None


@dataclass(frozen=True, kw_only=True)
class Came:
    """What came, by name of the ledger's input.

    Attributes:
        people: Customers, of all segments if of any: as planned where nothing was said of one.
        mix: Whether customers were told by segment.
        balance: Money per customer.
        margin: Margins.
        effects: Effects before the evidence discount, such that the lines give what was measured.
        costs: Amounts of the planned costs.
        schedules: When they were paid: rows that stand for the plan's.
        unplanned: Costs nobody planned.
        late: Months the start was late; None if nothing was said of it.
        remarks: What was said and could not be used, as keys of the catalogue.
    """

    people: Mapping[str, float] = field(default_factory=dict)
    mix: bool = False
    balance: Mapping[str, float] = field(default_factory=dict)
    margin: Mapping[str, float] = field(default_factory=dict)
    effects: Mapping[str, float] = field(default_factory=dict)
    costs: Mapping[str, float] = field(default_factory=dict)
    schedules: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    unplanned: tuple[Paid, ...] = ()
    late: int | None = None
    remarks: tuple[str, ...] = ()

    def tells(self, factor: str) -> bool:
        """Return whether anything was said of a factor that the ledger can take."""
        told: Mapping[str, object] = {
            "volume": self.people,
            "mix": self.mix,
            "market": self.balance,
            "effect": self.effects,
            "margin": self.margin,
            "cost": self.costs or self.unplanned,
            "timing": self.schedules or self.late is not None,
        }
        return bool(told[factor])


def came_of(forecast: Forecast, ledger: Ledger, told: Told) -> Came:
    """Translate what was said into inputs and schedules of the ledger."""
    remarks: list[str] = []
    people = _completed(ledger, _replaced(forecast, ledger, told, "people", {}, remarks))
    balance = _replaced(forecast, ledger, told, "balance", _by_segment(forecast, ledger, "people", people), remarks)
    heads, money = (
        _by_segment(forecast, ledger, table, found) for table, found in (("people", people), ("balance", balance))
    )
    margin = _replaced(forecast, ledger, told, "margin", {name: heads[name] * money[name] for name in heads}, remarks)
    costs, schedules = _costs(ledger, told)
    places = _places(ledger)
    came = Came(
        people=people,
        mix=len(people) > 1 and any(each.customers is not None and each.segment != EVERYONE for each in told.booked),
        balance=balance,
        margin=margin,
        costs=costs,
        schedules=schedules,
        unplanned=tuple(each for each in told.paid if f"costs.{each.cost}" not in places),
        late=told.late,
    )
    effects = _effects(forecast, ledger, told, came, remarks)
    return replace(came, effects=effects, remarks=tuple(remarks))


def ran(
    ledger: Ledger, came: Came, factors: AbstractSet[str], more: Mapping[str, float] | None = None
) -> dict[str, Floats]:
    """Run the ledger with these factors as they came and the others as planned; monthly lines by name, (month,)."""
    values: Values = dict(ledger.point)
    values |= _people(ledger, came, factors)
    for factor, found in (
        ("market", came.balance), ("margin", came.margin), ("effect", came.effects), ("cost", came.costs),
    ):  # fmt: skip
        values |= found if factor in factors else {}
    if "timing" in factors:
        values[LATE] = float(came.late or 0)
        ledger = replace(ledger, schedules={**ledger.schedules, **came.schedules})
    values |= more or {}
    width = ledger.horizon + 1
    return {
        line.name: np.broadcast_to(found[0], (width,)) for line, found in ledger.run(values) if line.scope == "month"
    }


def _completed(ledger: Ledger, people: Values) -> Values:
    """Add the segments of which nothing was said, as planned: who they are is a share of everybody."""
    planned = [name for place, name in _places(ledger).items() if place.startswith("people.")]
    return {name: people.get(name, ledger.point[name]) for name in planned} if people else {}


def _people(ledger: Ledger, came: Came, factors: AbstractSet[str]) -> Mapping[str, float]:
    """Replace how many there are, who they are, or both."""
    plan = {name: ledger.point[name] for name in came.people}
    planned, arrived = sum(plan.values()), sum(came.people.values())
    if {"volume", "mix"} <= factors:
        return came.people
    if "volume" in factors and planned:
        return {name: value * arrived / planned for name, value in plan.items()}
    if "mix" in factors and arrived:
        return {name: value * planned / arrived for name, value in came.people.items()}
    return {}


def _places(ledger: Ledger) -> dict[str, str]:
    """Return the input of each place in the case file."""
    return {each.place: each.name for each in ledger.inputs if each.kind == "assumption"}


def _replaced(
    forecast: Forecast, ledger: Ledger, told: Told, table: str, weights: Mapping[str, float], remarks: list[str]
) -> Values:
    """Return the inputs of a table as they came, where plan and books speak of the same segments or can be made to.

    Books of everybody at once scale a plan by segment; books of every segment are averaged, by ``weights``, into a plan
    of everybody at once. Customers are summed, not averaged.
    """
    said = {each.segment: float(found) for each in told.booked if (found := getattr(each, TABLES[table])) is not None}
    planned = {p.partition(".")[2]: n for p, n in _places(ledger).items() if p.startswith(f"{table}.")}
    if not said:
        return {}
    if not planned:
        remarks.append("backtest.remark.unused")
        return {}
    if set(said) <= set(planned):
        return {planned[segment]: value for segment, value in said.items()}
    rows = {segment: ledger.point[name] for segment, name in planned.items()} if EVERYONE in said else said
    if weights:
        total = sum(weights.get(segment, 0.0) for segment in rows)
        middle = sum(weights.get(segment, 0.0) * value for segment, value in rows.items()) / total if total else 0.0
    else:
        middle = sum(rows.values())
    if set(said) == {EVERYONE} and middle:
        return {planned[segment]: value * said[EVERYONE] / middle for segment, value in rows.items()}
    if set(planned) == {EVERYONE} and set(said) == set(forecast.segments):
        return {planned[EVERYONE]: middle}
    remarks.append(f"backtest.remark.{table}")
    return {}


def _by_segment(forecast: Forecast, ledger: Ledger, table: str, came: Mapping[str, float]) -> Values:
    """Return the values of a table by segment; 1 where the lines do not use the table."""
    places, values = _places(ledger), {**ledger.point, **came}
    whole = places.get(f"{table}.{EVERYONE}", "")
    return {segment: values.get(places.get(f"{table}.{segment}", whole), 1.0) for segment in forecast.segments}


def _costs(ledger: Ledger, told: Told) -> tuple[Values, dict[str, tuple[float, ...]]]:
    """Return amounts and schedules of the planned costs that were paid.

    The amount is such that the plan's months, up to the due one, add up to what was paid; the schedule says when. What
    lies after the due month stays as planned. A cost of which nothing was said stays as planned.
    """
    amounts, schedules, places = {}, {}, _places(ledger)
    for cost in dict.fromkeys(each.cost for each in told.paid):
        name, when = places.get(f"costs.{cost}"), f"when_cost_{cost}"
        if name is None:
            continue
        planned = np.array(ledger.schedules[when])
        paid = np.zeros(planned.size)
        for each in told.paid:
            paid[each.month] += each.amount if each.cost == cost else 0.0
        per_unit = ledger.point.get("overrun", 1.0)
        amounts[name] = float(paid.sum()) / (planned[: told.month + 1].sum() or 1.0) / per_unit
        came = paid / (amounts[name] * per_unit) if amounts[name] else planned.copy()
        came[told.month + 1 :] = planned[told.month + 1 :]
        schedules[when] = tuple(float(each) for each in came)
    return amounts, schedules


def _effects(forecast: Forecast, ledger: Ledger, told: Told, came: Came, remarks: list[str]) -> Values:
    """Return the effects' inputs that give what was measured: the extra money first, else the effect itself.

    An effect that was measured before its horizon still builds up: how much of it there will be nobody knows, and it
    stays as planned.
    """
    found: Values = {}
    for promise in forecast.promises:
        mine = [each for each in told.measured if effect_named(each, forecast) == promise.name]
        ripe = [each for each in mine if not is_early(each, forecast)]
        if len(ripe) < len(mine):
            remarks.append("backtest.remark.early")
        chosen = [each for each in ripe if each.what == "extra_money"] or ripe
        share = dict(zip(forecast.segments, weights(forecast, promise), strict=True))
        for entry in sorted(chosen, key=lambda each: each.segment != EVERYONE):
            found |= _effect(share, ledger, told.month, came, promise.name, entry, remarks)
    return found


def _effect(
    share: Mapping[str, float],
    ledger: Ledger,
    month: int,
    came: Came,
    name: str,
    entry: Measured,
    remarks: list[str],
) -> Values:
    """Scale the planned effects of the segments an entry speaks of; ``share`` holds their customers' shares."""
    hit = [place for place, segment in enumerate(share, start=1) if entry.segment in (EVERYONE, segment)]
    plan = {f"effect_{name}_{place}": ledger.point[f"effect_{name}_{place}"] for place in hit}
    evidence = ledger.point[f"evidence_{name}"]
    if entry.what == "effect":
        if not evidence:
            remarks.append("backtest.remark.effect")
            return {}
        middle = float(np.dot(list(share.values()), list(plan.values()))) if entry.segment == EVERYONE else 0.0
        if not middle:
            return dict.fromkeys(plan, entry.value / evidence)
        return {each: value * entry.value / (evidence * middle) for each, value in plan.items()}

    lines = {f"extra_{name}_{place}": ledger.leading_to(f"extra_{name}_{place}") for place in hit}

    def missed(times: float) -> float:
        values = {each: value * times for each, value in plan.items()}
        gained = (ran(each, came, OTHERS, values)[line][month] for line, each in lines.items())
        return float(sum(gained)) - entry.value

    # Extra money is a multiple of the effect, except for hazards.
    none, once = missed(0.0), missed(1.0)
    straight = none / (none - once) if none != once else 0.0
    if abs(straight) <= MOST and abs(missed(straight)) <= 1e-12 * abs(none):
        return {each: value * straight for each, value in plan.items()}
    if not missed(-MOST) * missed(MOST) < 0:
        remarks.append("backtest.remark.effect")
        return {}
    times = float(brentq(missed, -MOST, MOST, xtol=1e-14, rtol=1e-14))
    return {each: value * times for each, value in plan.items()}
