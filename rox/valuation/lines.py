"""Write a case and its effects as a ledger: inputs with owners, one formula per line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from rox.core.case import Assumption, Case, Cost
from rox.core.declared import Wording
from rox.core.effect import Effect
from rox.core.formula import names
from rox.core.ledger import NO_WORDS, Input, Ledger, Line
from rox.core.spread import Spread
from rox.core.units import Dose, Unit
from rox.valuation.fit import column, segments

GROUP_TABLES = {"people": "customers", "balance": "money", "margin": "share_per_year", "attrition": "share_per_year"}
EFFECT_UNITS = {Unit.RATIO: "share", Unit.MONEY_PER_CUSTOMER: "money_per_point", Unit.LOG_HAZARD: "log_hazard"}


def ledger_of(effects: Sequence[Effect], case: Case) -> Ledger:
    """Build the total-effect ledger of a case.

    Every benefit follows one shape: it builds up evenly over ``ramp`` months, then halves every ``half_life``.
    Customers leave at their natural rate once the months that the estimate has seen are over.
    """
    groups = segments(effects, case)
    inputs = (*_constants(), *_assumptions(effects, case, groups), *_estimates(effects, groups))
    schedules = {f"when_{kind}_{key}": row.schedule(case.horizon) for kind, key, row in _flows(case)}
    lines = (*_shape(), *_benefits(effects, case, groups), *_flow_lines(case), *_cash(case), *_totals())
    used = {name for line in lines for name in names(line.formula)}
    return Ledger(
        horizon=case.horizon,
        inputs=tuple(each for each in inputs if each.name in used),
        schedules=schedules,
        lines=lines,
    )


def _constants() -> Iterator[Input]:
    for name, value, unit in (("year", 12.0, "months"), ("half", 0.5, "factor")):
        yield Input(name=name, word=f"input.{name}", unit=unit, spread=Spread.fixed(value), kind="constant")


def _assumed(
    name: str, word: str, unit: str, assumption: Assumption, place: str, group: str = "", text: Wording = NO_WORDS
) -> Input:
    return Input(
        name=name,
        word=word,
        group=group,
        text=text,
        unit=unit,
        spread=assumption.spread,
        kind="assumption",
        owner=assumption.owner,
        source=assumption.source,
        date=assumption.date,
        place=place,
    )


def _assumptions(effects: Sequence[Effect], case: Case, groups: tuple[str, ...]) -> Iterator[Input]:
    for table, unit in GROUP_TABLES.items():
        for place, (group, assumption, key) in enumerate_groups(case, table, groups):
            shown = "" if key == f"{table}.all" else group
            yield _assumed(f"{table}_{place}", f"input.{table}", unit, assumption, key, shown)
    for key, unit in (("ramp", "months"), ("half_life", "months")):
        yield _assumed(key, f"input.{key}", unit, getattr(case.timing, key), f"timing.{key}")
    for key, unit in (("discount", "share_per_year"), ("tax", "share"), ("hurdle", "share")):
        yield _assumed(key, f"input.{key}", unit, getattr(case.finance, key), f"finance.{key}")
    if case.lift is not None and any(effect.estimand.dose is not Dose.INITIATIVE for effect in effects):
        yield _assumed("lift", "input.lift", case.lift.unit, case.lift, "lift")
    for kind, key, row in _flows(case):
        name = f"{kind}_{key}"
        yield _assumed(name, f"input.{kind}", "money", row, f"{kind}s.{key}", text=row.label)


def enumerate_groups(
    case: Case, table: str, groups: tuple[str, ...]
) -> Iterator[tuple[str, tuple[str, Assumption, str]]]:
    """Iterate over the assumptions of a table: a suffix for the name, then segment, assumption and place.

    An assumption said once for ``all`` is one input, not one per segment.
    """
    seen = set()
    for group in groups:
        key, assumption = case.of_group(table, group)
        suffix = suffix_of(case, table, group, groups)
        if suffix not in seen:
            seen.add(suffix)
            yield suffix, (group, assumption, key)


def suffix_of(case: Case, table: str, group: str, groups: tuple[str, ...]) -> str:
    """Return the suffix of the input that holds a segment's assumption."""
    key, _ = case.of_group(table, group)
    return "all" if key == f"{table}.all" else str(groups.index(group) + 1)


def _flows(case: Case) -> Iterator[tuple[str, str, Cost]]:
    for key, cost in case.costs.items():
        yield "cost", key, cost
    for key, benefit in case.benefits.items():
        yield "benefit", key, benefit


def _estimates(effects: Sequence[Effect], groups: tuple[str, ...]) -> Iterator[Input]:
    for effect in effects:
        unit = EFFECT_UNITS[effect.estimand.unit]
        for place, group in enumerate(groups, start=1):
            draws = effect.draws[:, column(effect, group)]
            spread = Spread.normal(float(draws.mean()), float(draws.std(ddof=1)))
            word = f"input.effect.{effect.estimand.unit}"
            yield _measured(f"effect_{effect.name}_{place}", word, unit, spread, effect, group)
        layer = effect.bias_layer
        evidence = Spread.normal(layer.mean, layer.sd)
        yield _measured(f"evidence_{effect.name}", f"input.evidence.{effect.grade}", "factor", evidence, effect)
        seen = float(effect.estimand.horizon if effect.estimand.includes_exit else 0)
        yield _measured(f"seen_{effect.name}", "input.seen", "months", Spread.fixed(seen), effect)


def _measured(name: str, word: str, unit: str, spread: Spread, effect: Effect, group: str = "") -> Input:
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


def _shape() -> Iterator[Line]:
    yield Line(
        name="shape",
        word="line.shape",
        unit="share",
        section="section.effect",
        formula="MIN(1, month / ramp) * half ** (MAX(0, month - ramp) / half_life)",
    )


def _benefits(effects: Sequence[Effect], case: Case, groups: tuple[str, ...]) -> Iterator[Line]:
    rows = [(effect, place, group) for effect in effects for place, group in enumerate(groups, start=1)]
    named = {group: {table: _input_of(case, table, group, groups) for table in GROUP_TABLES} for group in groups}
    which = {effect.name: told_apart(effect, effects) for effect in effects}
    for effect, place, group in rows:
        for line in _extra_money(effect, named[group], place):
            yield replace(line, group=group, text=which[effect.name])
    incomes = []
    for effect, place, group in rows:
        line = Line(
            name=f"income_{effect.name}_{place}",
            word="line.income",
            group=group,
            text=which[effect.name],
            unit="money",
            section="section.income",
            formula=f"extra_{effect.name}_{place} * {named[group]['margin']} / year",
        )
        incomes.append(line.name)
        yield line
    for key, benefit in case.benefits.items():
        line = Line(
            name=f"income_{key}",
            word="line.benefit",
            text=benefit.label,
            unit="money",
            section="section.income",
            formula=f"benefit_{key} * when_benefit_{key}",
        )
        incomes.append(line.name)
        yield line
    yield Line(
        name="benefit", word="line.benefit_total", unit="money", section="section.income", formula=" + ".join(incomes)
    )


def told_apart(effect: Effect, effects: Sequence[Effect]) -> Wording:
    """Return the effect's name for a label, or nothing when there is only one."""
    return Wording(en=effect.name, zh=effect.name) if len(effects) > 1 else NO_WORDS


def _input_of(case: Case, table: str, group: str, groups: tuple[str, ...]) -> str:
    return f"{table}_{suffix_of(case, table, group, groups)}"


def _extra_money(effect: Effect, named: Mapping[str, str], place: int) -> Iterator[Line]:
    """Lines from people to extra money held, by the unit of the effect."""
    name = effect.name
    per_point = "" if effect.estimand.dose is Dose.INITIATIVE else " * lift"
    moved = f"effect_{name}_{place} * evidence_{name}{per_point} * shape"
    stays = f"1 - {named['attrition']}"
    stay, kept = f"stay_{name}_{place}", f"kept_{name}_{place}"
    if effect.estimand.unit is Unit.LOG_HAZARD:
        yield _effect_line(stay, "line.stay_without", "share", f"({stays}) ** (month / year)")
        leaving = f"({stays}) ** (EXP({moved}) / year)"
        yield _effect_line(kept, "line.stay_with", "share", f"IF(month == 0, 1, PREV({kept}) * {leaving})")
        money = f"{named['people']} * {named['balance']} * ({kept} - {stay})"
    else:
        yield _effect_line(stay, "line.stay", "share", f"({stays}) ** (MAX(0, month - seen_{name}) / year)")
        base = f"{named['people']} * {named['balance']}" if effect.estimand.unit is Unit.RATIO else named["people"]
        money = f"{base} * {moved} * {stay}"
    yield _effect_line(f"extra_{name}_{place}", "line.extra", "money", money)


def _effect_line(name: str, word: str, unit: str, formula: str) -> Line:
    return Line(name=name, word=word, unit=unit, section="section.effect", formula=formula)


def _flow_lines(case: Case) -> Iterator[Line]:
    for key, cost in case.costs.items():
        yield Line(
            name=f"spent_{key}",
            word="line.cost",
            text=cost.label,
            unit="money",
            section="section.cost",
            formula=f"cost_{key} * when_cost_{key}",
        )
    spent = " + ".join(f"spent_{key}" for key in case.costs)
    yield Line(name="cost", word="line.cost_total", unit="money", section="section.cost", formula=spent)


def _cash(case: Case) -> Iterator[Line]:
    rows = (
        ("tax_paid", "money", "(benefit - cost) * tax"),
        ("net", "money", "benefit - cost - tax_paid"),
        ("discount_factor", "factor", "1 / (1 + discount) ** (month / year)"),
        ("present", "money", "net * discount_factor"),
        ("cumulative", "money", "PREV(cumulative) + net"),
        ("cumulative_present", "money", "PREV(cumulative_present) + present"),
        ("sign", "ratio", "IF(net > 0, 1, IF(net < 0, -1, PREV(sign)))"),
        ("turn", "ratio", "IF(sign * PREV(sign) < 0, 1, 0)"),
        ("back", "months", _crossing("cumulative", "net")),
        ("back_present", "months", _crossing("cumulative_present", "present")),
    )
    for name, unit, formula in rows:
        yield Line(name=name, word=f"line.{name}", unit=unit, section="section.cash", formula=formula)


def _crossing(total: str, flow: str) -> str:
    """Month, with its fraction, in which a running total comes up through zero; 0 in all others."""
    return f"IF({total} >= 0 and PREV({total}) < 0, month - 1 - PREV({total}) / {flow}, 0)"


def _totals() -> Iterator[Line]:
    after_tax = "(1 - tax) * discount_factor"
    at = "(1 + {rate}) ** (0 - month)"
    rows = (
        ("undiscounted", "money", "SUM(net)"),
        ("npv", "money", "SUM(present)"),
        ("present_benefit", "money", f"SUM(benefit * {after_tax})"),
        ("present_cost", "money", f"SUM(cost * {after_tax})"),
        ("roi", "share", "present_benefit / present_cost - 1"),
        ("beats_hurdle", "ratio", "IF(roi > hurdle, 1, 0)"),
        ("turns", "ratio", "SUM(turn)"),
        ("irr_first", "share", "IF(turns == 1, IRR(net), NONE)"),
        ("irr_month", "share", _newton("irr_first", at)),
        ("irr", "share_per_year", "IF(KNOWN(irr_month), (1 + irr_month) ** year - 1, NONE)"),
        ("payback", "months", "IF(LAST(cumulative) >= 0, HIGHEST(back), NONE)"),
        ("discounted_payback", "months", "IF(LAST(cumulative_present) >= 0, HIGHEST(back_present), NONE)"),
    )
    for name, unit, formula in rows:
        yield Line(name=name, word=f"line.{name}", unit=unit, scope="total", section="section.result", formula=formula)


def _newton(rate: str, at: str) -> str:
    """One Newton step on the rate, since spreadsheets stop their search for it early."""
    factor = at.format(rate=rate)
    step = f"SUM(net * {factor}) * (1 + {rate}) / SUM(month * net * {factor})"
    return f"IF(KNOWN({rate}), {rate} + {step}, NONE)"
