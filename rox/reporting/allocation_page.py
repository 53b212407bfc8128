"""The allocation of a budget, as parts of a page and of a text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from rox.core.case_parts import Policy
from rox.core.check import check_table
from rox.core.joint import TAILS, AllocationReturn, JointReturn
from rox.core.portfolio import Portfolio
from rox.core.portfolio_parts import NOTHING
from rox.core.returns import Advice
from rox.core.words import Language, say
from rox.reporting.blocks import Block, Cell, Column, Part, Points, Table, Text, Tile, Tiles
from rox.reporting.numbers import Form, count, day, form, probability, significant, written
from rox.reporting.plain_page import plain_page
from rox.reporting.plain_text import plain_text
from rox.reporting.sentences import SIGNS

Align = Literal["text", "short", "number", "code"]
ALIGN: Mapping[str, Align] = {
    **dict.fromkeys(
        ("initiative", "scale", "in", "grade", "other", "cases", "drawn", "owner", "source", "verdict"), "text"
    ),
    "place": "code",
    "date": "short",
}
"""Columns that hold no numbers."""
TOTAL = "all"
PLAN = "plan_"
"""Beginning of the columns that hold the scale of an initiative."""
DIGITS = 3
"""Digits of the largest amount that are shown; all amounts share its last place."""


def allocation_html(found: AllocationReturn, language: Language = "en") -> str:
    """Render the allocation as one self-contained page."""
    about = found.portfolio.about
    parts = allocation_parts(found, language)
    return plain_page(
        about.title[language],
        language,
        parts,
        kind=say("allocation.kind", language),
        subtitle=say("page.decision", language, decision=about.decision[language]),
    )


def allocation_text(found: AllocationReturn, language: Language = "en") -> str:
    """Write the allocation for a terminal."""
    return plain_text(found.portfolio.about.title[language], allocation_parts(found, language))


def allocation_parts(found: AllocationReturn, language: Language = "en") -> tuple[Part, ...]:
    """Tell an allocation in the order in which finance reads it."""
    bodies: Mapping[str, tuple[Block, ...]] = {
        "answer": _answer(found, language),
        "menu": _menu(found, language),
        "sure": _sure(found, language),
        "budgets": _budgets(found, language),
        "together": _together(found, language),
        "rules": _rules(found, language),
        "checks": _checks(found, language),
    }
    return tuple(
        Part(key=key, heading=say(f"allocation.part.{key}", language), blocks=blocks) for key, blocks in bodies.items()
    )


def _answer(found: AllocationReturn, language: Language) -> tuple[Block, ...]:
    chosen, current, portfolio = found.chosen, found.current, found.portfolio
    tell = _money(found, language)
    key = "allocation.lead" if chosen.cost or any(scale != NOTHING for scale in chosen.scales.values()) else ""
    lead = say(
        key or "allocation.lead.nothing",
        language,
        budget=tell(found.budget),
        plan=_plan_said(portfolio, chosen.scales, language),
        cost=tell(chosen.cost),
        npv=_ranged(found, chosen.npv, language),
    )
    same = dict(chosen.scales) == dict(current.scales)
    against = say(
        "allocation.against.same" if same else "allocation.against",
        language,
        plan=_plan_said(portfolio, current.scales, language),
        cost=tell(current.cost),
        npv=tell(current.expected),
        regret=tell(found.regret),
        share=probability(found.p_regret, language),
    )
    rule = (
        say("allocation.aversion", language, weight=f"{found.risk_aversion:g}")
        if found.risk_aversion
        else say("allocation.neutral", language)
    )
    texts = Text(text=against), Text(text=rule, role="note")
    return Text(text=lead, role="lead"), _tiles(found, language), *texts, *_own_verdicts(found, language)


def _own_verdicts(found: AllocationReturn, language: Language) -> Iterator[Block]:
    """Say what the rule of its own case makes of each funded initiative, and which fall short of its probability."""
    rows, below, titles = [], [], _short_titles(found.portfolio, language)
    for key in [name for name, scale in found.chosen.scales.items() if scale != NOTHING]:
        case, draws, grade = found.portfolio.cases[key], found.joint.alone[key], found.joint.grades[key]
        title, policy = titles[key], case.policy or Policy.model_construct()
        p, mean = float((draws > 0).mean()), float(draws.mean())
        worst = float(draws[draws <= np.quantile(draws, TAILS[0])].mean())
        is_worth = mean + policy.risk_aversion * worst > 0
        is_sure = p >= policy.enough and grade.is_causal
        advice = Advice.STOP if not is_worth else Advice.GO if is_sure else Advice.LEARN_FIRST
        chance = probability(p, language, apart_from=policy.enough)
        asked = probability(policy.enough, language)
        sign, tone = SIGNS[advice]
        rows.append((title, chance, asked, str(grade), Cell(f"{sign} {say(f'advice.{advice}', language)}", tone)))
        if p < policy.enough:
            below.append(say("allocation.own.below", language, initiative=title, p=chance, enough=asked))
    if rows:
        yield Table(
            caption=say("allocation.own.caption", language),
            columns=_columns(language, "initiative", "chance", "asked", "grade", "verdict"),
            rows=tuple(rows),
            note=say("allocation.own.note", language),
        )
    if below:
        yield Points(points=tuple(below))


def _tiles(found: AllocationReturn, language: Language) -> Tiles:
    chosen, tell = found.chosen, _money(found, language)
    low, high = np.quantile(chosen.npv, TAILS)
    facts: tuple[tuple[str, str, dict[str, str], dict[str, str]], ...] = (
        ("npv", tell(chosen.expected), {"range": tell.between(low, high)}, {}),
        ("positive", probability(chosen.p_positive, language), {"worst": tell(chosen.worst)}, {}),
        (
            "cost",
            tell(chosen.cost),
            {"budget": tell(found.budget), "share": probability(chosen.p_over, language)},
            {},
        ),
        ("more", tell(found.one_more), {}, {"step": tell(found.step)}),
    )
    return Tiles(
        tiles=tuple(
            Tile(
                name=say(f"allocation.tile.{key}", language, **named),
                value=value,
                detail=say(f"allocation.tile.{key}.detail", language, **detail),
            )
            for key, value, detail, named in facts
        )
    )


def _menu(found: AllocationReturn, language: Language) -> tuple[Block, ...]:
    portfolio, tell = found.portfolio, _money(found, language)
    rows = [
        (
            portfolio.cases[row["initiative"]].about.title[language],
            _scale_said(portfolio, row["initiative"], row["scale"], language),
            written("share", language)(row["share"]),
            tell(row["cost"]),
            tell(row["npv"]),
            tell(row["worst"]),
            _in_plan(row["chosen"], row["current"], language),
        )
        for row in found.menu.to_dict("records")
    ]
    table = Table(
        caption=say("allocation.menu.caption", language),
        columns=_columns(language, "initiative", "scale", "share", "cost", "npv", "worst", "in"),
        rows=tuple(rows),
        strong=frozenset(place for place, row in enumerate(found.menu.to_dict("records")) if row["chosen"]),
    )
    return Text(text=say("allocation.menu.text", language)), table


def _sure(found: AllocationReturn, language: Language) -> tuple[Block, ...]:
    tell, titles = _money(found, language), _short_titles(found.portfolio, language)
    rows = [
        (
            titles[str(key)],
            probability(row["by_draw"], language),
            probability(row["share_by_draw"], language),
            say(
                "allocation.head.by_block.count",
                language,
                n=round(row["by_block"] * found.blocks),
                whole=found.blocks,
            ),
        )
        for key, row in found.selection.iterrows()
    ]
    table = Table(
        caption=say("allocation.sure.caption", language),
        columns=_columns(language, "initiative", "by_draw", "share_by_draw", "by_block"),
        rows=tuple(rows),
    )
    curse = say("allocation.curse", language, inside=tell(found.in_sample), outside=tell(found.held_out))
    return Text(text=say("allocation.sure.text", language, blocks=found.blocks)), table, Text(text=curse)


def _budgets(found: AllocationReturn, language: Language) -> tuple[Block, ...]:
    portfolio, tell = found.portfolio, _money(found, language)
    names = [name for name in found.budgets.columns if str(name).startswith(PLAN)]
    rows = [
        (
            tell(row["budget"]),
            tell(row["cost"]),
            tell(row["npv"]),
            tell(row["worst"]),
            *(_scale_said(portfolio, name.removeprefix(PLAN), row[name], language) for name in names),
        )
        for row in found.budgets.to_dict("records")
    ]
    short = _short_titles(portfolio, language)
    titles = [Column(short[name.removeprefix(PLAN)]) for name in names]
    return (
        Table(
            caption=say("allocation.budgets.caption", language),
            columns=(*_columns(language, "budget", "cost", "npv", "worst"), *titles),
            rows=tuple(rows),
            strong=frozenset(np.flatnonzero(found.budgets["budget"] == found.budget).tolist()),
        ),
    )


def _together(found: AllocationReturn, language: Language) -> tuple[Block, ...]:
    joint, tell, titles = found.joint, _money(found, language), _short_titles(found.portfolio, language)
    text = say(
        "allocation.together.text",
        language,
        alone=tell(float(joint.sum_alone.mean())),
        joint=tell(float(joint.joint.mean())),
        interaction=tell(float(joint.interaction.mean())),
    )
    rows = [
        (
            say("allocation.sum", language) if key == TOTAL else titles[str(key)],
            str(row["grade"]),
            tell(row["alone_mean"]),
            tell.span(row["alone_low"], row["alone_high"]),
            tell(row["split_mean"]),
            tell.span(row["split_low"], row["split_high"]),
        )
        for key, row in joint.frame().iterrows()
    ]
    table = Table(
        caption=say("allocation.together.caption", language),
        columns=_columns(language, "initiative", "grade", "alone", "range", "split", "range"),
        rows=tuple(rows),
        strong=frozenset({len(rows) - 1}),
    )
    return Text(text=text), table, *_shared(joint, language)


def _shared(joint: JointReturn, language: Language) -> tuple[Block, ...]:
    titles = _short_titles(joint.portfolio, language)
    meet = [
        (
            titles[row["one"]],
            titles[row["other"]],
            written("share", language)(row["share"]),
            count(row["customers"], language),
            probability(row["binds"], language) if row["binds"] else written("share", language)(0.0),
        )
        for row in joint.overlaps.to_dict("records")
    ]
    inputs = [
        (row["place"], row["initiatives"], say(f"allocation.common.{row['drawn']}", language))
        for row in joint.common.to_dict("records")
    ]
    return (
        Table(
            caption=say("allocation.overlap.caption", language),
            columns=_columns(language, "initiative", "other", "overlap", "customers", "binds"),
            rows=tuple(meet),
        ),
        Table(
            caption=say("allocation.common.caption", language),
            columns=_columns(language, "place", "cases", "drawn"),
            rows=tuple(inputs),
            folded=True,
        ),
    )


def _rules(found: AllocationReturn, language: Language) -> tuple[Block, ...]:
    portfolio = found.portfolio
    rows = [
        (
            place,
            f"{each.spread.likely:,.6g}",
            f"{each.spread.low:,.6g} – {each.spread.high:,.6g}" if each.spread.is_uncertain else "",
            each.owner,
            each.source,
            day(each.date, language),
        )
        for place, each in portfolio.register()
    ]
    table = Table(
        caption=say("allocation.rules.caption", language),
        columns=_columns(language, "place", "value", "range", "owner", "source", "date"),
        rows=tuple(rows),
        folded=True,
    )
    points = tuple(_rule_points(found, language))
    return (*((Points(points=points),) if points else ()), table)


def _rule_points(found: AllocationReturn, language: Language) -> Iterator[str]:
    portfolio = found.portfolio
    titles = {key: case.about.title[language] for key, case in portfolio.cases.items()}
    comma = say("allocation.comma", language)
    for key, each in portfolio.initiatives.items():
        for other in each.needs:
            yield say("allocation.rule.needs", language, one=titles[key], other=titles[other])
    for exclusion in portfolio.exclusions.values():
        yield say(
            "allocation.rule.excludes",
            language,
            several=comma.join(titles[key] for key in exclusion.initiatives),
            reason=exclusion.reason[language],
            owner=exclusion.owner,
            source=exclusion.source,
            date=day(exclusion.date, language),
        )
    for capacity in portfolio.capacity.values():
        used = portfolio.taken(capacity, found.chosen.scales)
        limit = capacity.limit.spread.likely
        said = {"used": f"{used:,.4g}", "limit": f"{limit:,.4g}"}
        yield say("allocation.rule.capacity", language, label=capacity.label[language], **said)


def _checks(found: AllocationReturn, language: Language) -> tuple[Block, ...]:
    table = check_table(found.checks, language)
    columns = (Column(str(table.columns[0]), "code"), *(Column(str(name)) for name in table.columns[1:]))
    rows = tuple(tuple(map(str, row)) for row in table.to_numpy())
    return (Table(caption=say("allocation.checks.caption", language), columns=columns, rows=rows),)


def _columns(language: Language, *heads: str) -> tuple[Column, ...]:
    return tuple(Column(say(f"allocation.head.{key}", language), ALIGN.get(key, "number")) for key in heads)


def _money(found: AllocationReturn, language: Language) -> Form:
    """One form for all money of the page, so that figures can be compared and added by eye."""
    amounts = [found.budget, *found.menu["cost"].abs(), *found.menu["npv"].abs()]
    return form(
        "money",
        language,
        like=amounts,
        step=significant(max(amounts), DIGITS),
        currency=found.portfolio.about.currency,
    )


def _ranged(found: AllocationReturn, draws: NDArray[np.float64], language: Language) -> str:
    tell = _money(found, language)
    low, high = np.quantile(draws, TAILS)
    return say("number.with_range", language, value=tell(float(draws.mean())), range=tell.between(low, high))


def _short_titles(portfolio: Portfolio, language: Language) -> dict[str, str]:
    """Name each initiative in a table: its title up to a colon, where that still tells all of them apart."""
    whole = {key: case.about.title[language] for key, case in portfolio.cases.items()}
    short = {key: title.replace("：", ": ").partition(": ")[0].strip() or title for key, title in whole.items()}
    return short if len(set(short.values())) == len(whole) else whole


def _plan_said(portfolio: Portfolio, scales: Mapping[str, str], language: Language) -> str:
    done = [
        say(
            "allocation.choice",
            language,
            initiative=portfolio.cases[key].about.title[language],
            scale=_scale_said(portfolio, key, scale, language),
        )
        for key, scale in scales.items()
    ]
    return say("allocation.comma", language).join(done)


def _scale_said(portfolio: Portfolio, key: str, scale: str, language: Language) -> str:
    return (
        say("allocation.none", language)
        if scale == NOTHING
        else portfolio.initiatives[key].scales[scale].label[language]
    )


def _in_plan(chosen: bool, current: bool, language: Language) -> str:
    key = "both" if chosen and current else "chosen" if chosen else "current" if current else ""
    return say(f"allocation.in.{key}", language) if key else ""
