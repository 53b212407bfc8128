"""Write a case and its effects as a ledger: inputs with owners, one formula per line."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace

from rox.core.assumption import Assumption
from rox.core.case import Case, Cost, range_of
from rox.core.case_parts import SECOND_MOST
from rox.core.declared import Wording
from rox.core.effect import Effect
from rox.core.errors import CaseError
from rox.core.formula import names
from rox.core.ledger import NO_WORDS, Input, Ledger, Line
from rox.core.spread import Spread
from rox.core.words import LANGUAGES, say
from rox.valuation.estimated import GROUP_TABLES, estimates, extra_money, named_inputs, suffix_of
from rox.valuation.fit import is_claim, segments
from rox.valuation.paths import PathLines, path_lines, path_of
from rox.valuation.streams import (
    DECLARED,
    declared_inputs,
    declared_lines,
    income_line,
    margin_of,
    new_only,
    present,
    total_line,
)

FINANCE_UNITS = {
    "discount": "share_per_year",
    "tax": "share",
    "hurdle": "share",
    "capital": "share_per_year",
    "reinvest": "share_per_year",
    "overrun": "factor",
}


def ledger_of(effects: Sequence[Effect], case: Case, explainers: Sequence[Effect] = ()) -> Ledger:
    """Build the total-effect ledger of a case.

    Every benefit follows one shape: it builds up evenly over ``ramp`` months, then halves every ``half_life``.
    Customers leave at their natural rate once the months that the estimate has seen are over. Effects of grade E are
    claims: their income is computed and left out of every total but ``npv_with_claims``.

    Args:
        effects: What is priced.
        case: The case.
        explainers: Effects that split a priced total by channel (:mod:`rox.valuation.paths`).
    """
    groups = segments(effects, case)
    path = path_of(effects, case, explainers)
    split = path_lines(path, case, groups) if path else PathLines()
    inputs = (
        *_constants(case),
        *_assumptions(case, groups),
        *estimates(effects, groups),
        *split.inputs,
    )
    lines = (
        *_shape(),
        *_benefits(effects, case, groups),
        *split.monthly,
        *_flow_lines(case),
        *_cash(case),
        *_totals(case),
        *_worths(effects, case),
        *split.totals,
    )
    schedules = _schedules(case)
    kept = {"income_none"} - {line.name for line in lines if line.word == "line.income_none"}
    _require_names([*kept, *(each.name for each in inputs), *schedules, *(line.name for line in lines)], case)
    used = {name for line in lines for name in names(line.formula)}
    return Ledger(
        horizon=case.months,
        inputs=tuple(each for each in inputs if each.name in used),
        schedules=schedules,
        lines=lines,
    )


def _require_names(given: Sequence[str], case: Case) -> None:
    """Refuse keys of a case that make two lines of one name."""
    twice = sorted(name for name, count in Counter(given).items() if count > 1)
    if twice:
        keys = [f"{table}.{key}" for table in ("costs", "benefits") for key in getattr(case, table)]
        raise CaseError(
            f"Case {case.name} has names that its calculation needs for something else.",
            [
                f"{', '.join(each for each in keys if name.endswith(each.partition('.')[2])) or name}: makes a second "
                f"line {name!r}; give it another key"
                for name in twice
            ],
        )


def _schedules(case: Case) -> dict[str, tuple[float, ...]]:
    rows = {f"when_{kind}_{key}": row.schedule(case.months) for kind, key, row in _flows(case)}
    if (known := case.about.in_budget_from) is not None:
        rows["when_new"] = tuple(float(month < known) for month in range(case.months + 1))
    if case.terminal is not None:
        rows["when_after"] = tuple(float(month > case.horizon) for month in range(case.months + 1))
    return rows


def _constants(case: Case) -> Iterator[Input]:
    constants = (
        ("year", 12.0, "months"),
        ("half", 0.5, "factor"),
        ("last_month", float(case.months), "months"),
        ("second_most", SECOND_MOST, "share"),
    )
    for name, value, unit in constants:
        yield Input(name=name, word=f"input.{name}", unit=unit, spread=Spread.fixed(value), kind="constant")


def _assumed(
    name: str, word: str, unit: str, assumption: Assumption, place: str, group: str = "", text: Wording = NO_WORDS
) -> Input:
    least, most, needed = range_of(place)
    spread = assumption.spread
    if spread.is_uncertain and not least <= spread.likely <= most:
        raise CaseError("A case cannot be priced.", [f"{place}: {spread.likely:g} is not {needed}"])
    return Input(
        name=name,
        word=word,
        group=group,
        text=text,
        unit=unit,
        spread=spread.within(least, most),
        kind="assumption",
        owner=assumption.owner,
        source=assumption.source,
        date=assumption.date,
        place=place,
    )


def _assumptions(case: Case, groups: tuple[str, ...]) -> Iterator[Input]:
    for table, unit in GROUP_TABLES.items():
        for place, (group, assumption, key) in enumerate_groups(case, table, groups):
            shown = "" if key == f"{table}.all" else group
            yield _assumed(f"{table}_{place}", f"input.{table}", unit, assumption, key, shown)
    for key, unit in (("ramp", "months"), ("half_life", "months")):
        yield _assumed(key, f"input.{key}", unit, getattr(case.timing, key), f"timing.{key}")
    for key, unit in FINANCE_UNITS.items():
        if (assumption := getattr(case.finance, key)) is not None:
            yield _assumed(key, f"input.{key}", unit, assumption, f"finance.{key}")
    if case.inflow is not None:
        yield _assumed("inflow", "input.inflow", "share", case.inflow, "inflow")
    for name, unit, assumption, place in declared_inputs(case):
        yield _assumed(name, f"input.{name}", unit, assumption, place)
    if case.lift is not None:
        yield _assumed("lift", "input.lift", case.lift.unit, case.lift, "lift")
    for kind, key, row in _flows(case):
        name = f"{kind}_{key}"
        yield _assumed(name, f"input.{kind}", "money", row, f"{kind}s.{key}", text=_how_often(row, case.months))


def _how_often(row: Cost, last: int) -> Wording:
    """Name a flow, and say in how many months it falls where that is more than one: its amount is that of a month."""
    months = round(sum(row.schedule(last)))
    if months == 1:
        return row.label
    en, zh = (say("flow.in_each", language, text=row.label[language], months=months) for language in LANGUAGES)
    return Wording(en=en, zh=zh)


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


def _flows(case: Case) -> Iterator[tuple[str, str, Cost]]:
    for key, cost in case.costs.items():
        yield "cost", key, cost
    for key, benefit in case.benefits.items():
        yield "benefit", key, benefit


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
    named = {group: named_inputs(case, group, groups) for group in groups}
    which = {effect.name: told_apart(effect, effects) for effect in effects}
    for effect, place, group in rows:
        for line in extra_money(effect, named[group], place):
            yield replace(line, group=group, text=which[effect.name])
    incomes = []
    for effect, place, group in rows:
        for line in _income(effect, case, named[group]["margin"], place):
            yield replace(line, group=group, text=which[effect.name])
        incomes += [] if is_claim(effect) else [f"income_{effect.name}_{place}"]
    for key, benefit in case.benefits.items():
        yield Line(
            name=f"income_{key}",
            word="line.benefit",
            text=benefit.label,
            unit="money",
            section="section.income",
            formula=new_only(f"benefit_{key} * when_benefit_{key}", case),
        )
        incomes.append(f"income_{key}")
    for line in declared_lines(case, [(each["people"], each["attrition"]) for each in named.values()]):
        yield line
        incomes += [line.name] if line.name in DECLARED else []
    if not incomes:
        yield income_line("income_none", "line.income_none", "0 * month")
    counted = " + ".join(incomes or ["income_none"])
    yield income_line("benefit", "line.benefit_total", counted)


def _income(effect: Effect, case: Case, margin: str, place: int) -> Iterator[Line]:
    """Lines from extra money held to what it earns, after the charge for the capital it ties up."""
    extra, income, charge = (f"{kind}_{effect.name}_{place}" for kind in ("extra", "income", "charge"))
    earned = f"{extra} * {margin_of(effect, case, margin)} / year"
    if case.finance.capital is None:
        yield income_line(income, "line.income", new_only(earned, case))
        return
    yield income_line(charge, "line.charge", f"{extra} * capital / year")
    yield income_line(income, "line.income_after", new_only(f"({earned} - {charge})", case))


def told_apart(effect: Effect, effects: Sequence[Effect]) -> Wording:
    """Return the effect's name for a label, or nothing when there is only one."""
    return Wording(en=effect.name, zh=effect.name) if len(effects) > 1 else NO_WORDS


def _flow_lines(case: Case) -> Iterator[Line]:
    for key, cost in case.costs.items():
        yield Line(
            name=f"spent_{key}",
            word="line.cost",
            text=cost.label,
            unit="money",
            section="section.cost",
            formula=f"cost_{key} * when_cost_{key}" + (" * overrun" if case.finance.overrun else ""),
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


def _totals(case: Case) -> Iterator[Line]:
    at = "(1 + {rate}) ** (0 - month)"
    rows = (
        ("undiscounted", "money", "SUM(net)"),
        ("npv", "money", "SUM(present)"),
        ("present_benefit", "money", present("benefit")),
        ("present_cost", "money", present("cost")),
        ("roi", "share", "IF(present_cost > 0, present_benefit / present_cost - 1, NONE)"),
        ("beats_hurdle", "ratio", "IF(KNOWN(roi), IF(roi > hurdle, 1, 0), NONE)"),
        ("turns", "ratio", "SUM(turn)"),
        ("irr_first", "share", "IF(turns == 1 and LAST(sign) > 0, IRR(net), NONE)"),
        ("irr_month", "share", _newton("irr_first", at)),
        ("irr", "share_per_year", "IF(KNOWN(irr_month), (1 + irr_month) ** year - 1, NONE)"),
        *_modified_rate("discount" if case.finance.reinvest is None else "reinvest"),
        ("payback", "months", "IF(LAST(cumulative) >= 0, HIGHEST(back), NONE)"),
        ("discounted_payback", "months", "IF(LAST(cumulative_present) >= 0, HIGHEST(back_present), NONE)"),
        *([] if case.terminal is None else [("npv_after", "money", "SUM(present * when_after)")]),
    )
    for name, unit, formula in rows:
        yield total_line(name, f"line.{name}", unit, formula)


def _modified_rate(reinvest: str) -> Iterator[tuple[str, str, str]]:
    """Rate at which all that is spent, as of the start, grows into all that comes back, put to work until the end."""
    yield "spent_now", "money", "SUM(-net * (net < 0) * discount_factor)"
    yield "gained_then", "money", f"SUM(net * (net > 0) * (1 + {reinvest}) ** ((last_month - month) / year))"
    both = "spent_now > 0 and gained_then > 0"
    yield "mirr", "share_per_year", f"IF({both}, (gained_then / spent_now) ** (year / last_month) - 1, NONE)"


def _worths(effects: Sequence[Effect], case: Case) -> Iterator[Line]:
    """Present benefit of each effect, of each benefit, and NPV with what is only claimed."""
    groups = segments(effects, case)
    for effect in effects:
        incomes = " + ".join(f"income_{effect.name}_{place}" for place in range(1, len(groups) + 1))
        name, word = f"worth_effect_{effect.name}", "line.worth_claim" if is_claim(effect) else "line.worth_effect"
        yield replace(total_line(name, word, "money", present(incomes)), text=Wording(en=effect.name, zh=effect.name))
    for key, benefit in case.benefits.items():
        line = total_line(f"worth_benefit_{key}", "line.worth_benefit", "money", present(f"income_{key}"))
        yield replace(line, text=benefit.label)
    for name in DECLARED:
        if getattr(case, DECLARED[name]) is not None:
            key = DECLARED[name]
            yield total_line(f"worth_{key}", f"line.worth_{key}", "money", present(name))
    if claims := [f"worth_effect_{effect.name}" for effect in effects if is_claim(effect)]:
        yield total_line("npv_with_claims", "line.npv_with_claims", "money", " + ".join(["npv", *claims]))


def _newton(rate: str, at: str) -> str:
    """One Newton step on the rate, since spreadsheets stop their search for it early."""
    factor = at.format(rate=rate)
    step = f"SUM(net * {factor}) * (1 + {rate}) / SUM(month * net * {factor})"
    return f"IF(KNOWN({rate}), {rate} + {step}, NONE)"
