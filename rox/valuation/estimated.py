"""Inputs and lines of an estimated effect: from its draws to the extra money that customers hold."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from rox.core.case import Case
from rox.core.check import Grade
from rox.core.effect import Effect
from rox.core.ledger import Input, Line
from rox.core.spread import Spread
from rox.core.units import Dose, Unit
from rox.valuation.fit import column

GROUP_TABLES = {"people": "customers", "balance": "money", "margin": "share_per_year", "attrition": "share_per_year"}
EFFECT_UNITS = {Unit.RATIO: "share", Unit.MONEY_PER_CUSTOMER: "money_per_point", Unit.LOG_HAZARD: "log_hazard"}


def estimates(effects: Sequence[Effect], groups: tuple[str, ...]) -> Iterator[Input]:
    """Iterate over the inputs of effects: by segment, the evidence discount, the months of leaving already inside.

    The discount of a claim (grade E) is not below zero: nobody claims what is the other way round.
    """
    for effect in effects:
        unit = EFFECT_UNITS[effect.estimand.unit]
        for place, group in enumerate(groups, start=1):
            draws = effect.draws[:, column(effect, group)]
            spread = _normal(float(draws.mean()), float(draws.std(ddof=1)))
            word = f"input.effect.{effect.estimand.unit}"
            yield measured(f"effect_{effect.name}_{place}", word, unit, spread, effect, group)
        layer = effect.bias_layer
        evidence = _normal(layer.mean, layer.sd)
        if effect.grade is Grade.E and layer.mean >= 0:
            evidence = evidence.within(0.0, float("inf"))
        yield measured(f"evidence_{effect.name}", f"input.evidence.{effect.grade}", "factor", evidence, effect)
        seen = float(effect.estimand.horizon if effect.estimand.includes_exit else 0)
        yield measured(f"seen_{effect.name}", "input.seen", "months", Spread.fixed(seen), effect)


def _normal(mean: float, sd: float) -> Spread:
    return Spread.normal(mean, sd) if sd > 0 else Spread.fixed(mean)


def measured(name: str, word: str, unit: str, spread: Spread, effect: Effect, group: str = "") -> Input:
    """Make an input that a model estimated."""
    return Input(
        name=name,
        word=word,
        group=group,
        unit=unit,
        spread=spread,
        kind="estimate",
        source=f"{effect.specification.partition('(')[0]}, data {effect.fingerprint[:8]}",
        place=effect.name,
    )


def extra_money(effect: Effect, named: Mapping[str, str], place: int) -> Iterator[Line]:
    """Lines from people to extra money held, by the unit of the effect."""
    name = effect.name
    per_point = "" if effect.estimand.dose is Dose.INITIATIVE else " * lift"
    moved = f"effect_{name}_{place} * evidence_{name}{per_point} * shape"
    stays = f"1 - {named['attrition']}"
    stay, kept = f"stay_{name}_{place}", f"kept_{name}_{place}"
    if effect.estimand.unit is Unit.LOG_HAZARD:
        yield effect_line(stay, "line.stay_without", "share", f"({stays}) ** (month / year)")
        leaving = f"({stays}) ** (EXP({moved}) / year)"
        yield effect_line(kept, "line.stay_with", "share", f"IF(month == 0, 1, PREV({kept}) * {leaving})")
        money = f"{named['people']} * {named['balance']} * ({kept} - {stay})"
    else:
        yield effect_line(stay, "line.stay", "share", f"({stays}) ** (MAX(0, month - seen_{name}) / year)")
        base = f"{named['people']} * {named['balance']}" if effect.estimand.unit is Unit.RATIO else named["people"]
        money = f"{base} * {moved} * {stay}"
    yield effect_line(f"extra_{name}_{place}", "line.extra", "money", money)


def effect_line(name: str, word: str, unit: str, formula: str) -> Line:
    """Write a monthly line between customers and the money they hold."""
    return Line(name=name, word=word, unit=unit, section="section.effect", formula=formula)


def suffix_of(case: Case, table: str, group: str, groups: tuple[str, ...]) -> str:
    """Return the suffix of the input that holds a segment's assumption."""
    key, _ = case.of_group(table, group)
    return "all" if key == f"{table}.all" else str(groups.index(group) + 1)


def named_inputs(case: Case, group: str, groups: tuple[str, ...]) -> dict[str, str]:
    """Return the names of a segment's inputs by table: people, balance, margin, attrition."""
    return {table: f"{table}_{suffix_of(case, table, group, groups)}" for table in GROUP_TABLES}
