"""What if: levers on the inputs that matter, with the results they give."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from rox.core.formula import Array
from rox.core.returns import Return
from rox.core.words import Language, catalogue
from rox.reporting import figures, sentences
from rox.reporting.blocks import Cell, Column, Knob, Panel, Part, Table
from rox.reporting.numbers import (
    CENT,
    HUNDRED_THOUSAND,
    MISSING,
    MONEY_UNITS,
    SHARE_UNITS,
    Form,
    count,
    currency_name,
    form,
    probability,
    scales,
    step_of,
    unit_name,
)
from rox.reporting.request import Request
from rox.reporting.what_if import Lever, levers, numbers, sample, script

RESULTS = ("npv", "range", "odds", "roi", "payback")


def what_if(request: Request) -> Part:
    """Let a reader move the inputs that matter and see what follows, with the report's own ledger and draws."""
    return Part(key="what-if", heading=request.say("part.what-if"), blocks=(_panel(request),))


def _panel(request: Request) -> Panel:
    money, say = request.money, request.say
    shown = levers(money)
    draws = count(len(sample(money)), request.language)
    whole = count(len(money.draws["npv"]), request.language)
    return Panel(
        key=f"panel-{request.language}",
        caption=say("what_if.caption"),
        how=tuple(say(f"what_if.how.{key}", draws=draws, whole=whole) for key in ("point", "draws", "status")),
        knobs=tuple(_knob(request, each) for each in shown),
        results=tuple((say(f"what_if.result.{key}"), text) for key, text in report_results(money, request.language)),
        still=_still(request, shown),
        script=script(money),
        numbers=numbers(money, shown),
        words=_words(request, shown),
    )


def report_results(money: Return, language: Language) -> tuple[tuple[str, str], ...]:
    """Return the report's own results as text, by name, in the order in which the panel shows them."""
    decision, npv = money.decision, sentences.npv_form(money, language)
    forms = _forms(money, language)
    payback = forms["payback"](float(money.point["payback"][0]))
    texts = {
        "npv": forms["npv"](float(money.point["npv"][0])),
        "range": npv.between(decision.low, decision.high),
        "odds": probability(decision.p_positive, language, apart_from=decision.enough),
        "roi": forms["roi"](float(money.point["roi"][0])),
        "payback": Request(money=money, language=language).say("payback.open") if payback == MISSING else payback,
    }
    return tuple((key, texts[key]) for key in RESULTS)


def _forms(money: Return, language: Language) -> dict[str, Form]:
    low, high = np.quantile(money.draws["roi"], [0.05, 0.95])
    ends: Array = money.tornado[["npv_low", "npv_high"]].to_numpy(dtype=float).ravel()
    return {
        "npv": figures.arithmetic_form(money, ends, language),
        "range": sentences.npv_form(money, language),
        "roi": form("share", language, like=(low, high), step=step_of(float(low), float(high))),
        "payback": form("months", language),
    }


def _shape(request: Request, lever: Lever) -> Form:
    row, currency = lever.row, request.currency
    return form(str(row["unit"]), request.language, like=(lever.start, lever.end), step=lever.step, currency=currency)


def _knob(request: Request, lever: Lever) -> Knob:
    unit = str(lever.row["unit"])
    scale = 100.0 if unit in SHARE_UNITS else 1.0
    decimals = max(0, -math.floor(math.log10(lever.step * scale) + 1e-9))
    value, start, end, step = (f"{n * scale:.{decimals}f}" for n in (lever.value, lever.start, lever.end, lever.step))
    shown = sentences.form_of_factor(lever.row, request.language, request.currency).number(lever.value)
    name = str(lever.row[request.language])
    words = "%" if unit in SHARE_UNITS else unit_name(unit, request.language, currency=request.currency)
    return Knob(name=name, unit=words, value=shown, number=value, start=start, end=end, step=step)


def _still(request: Request, shown: tuple[Lever, ...]) -> Table:
    say = request.say
    rows: list[tuple[str | Cell, ...]] = []
    for lever in shown:
        row = lever.row
        shape = sentences.form_of_factor(row, request.language, request.currency)
        both = shape.span(row["low"], row["high"]) if row["swing"] > 0 else say("word.fixed")
        rows.append((str(row[request.language]), shape.number(lever.value), both, shape.number(row["break_even"])))
    return Table(
        caption=say("what_if.still"),
        columns=(
            Column(say("column.input")),
            Column(say("tornado.value"), "number"),
            Column(say("what_if.tenths"), "number"),
            Column(say("tornado.break_even"), "number"),
        ),
        rows=tuple(rows),
        note=say("what_if.off"),
    )


def _words(request: Request, shown: tuple[Lever, ...]) -> dict[str, Any]:
    """Gather how the script writes what it computes: forms with their patterns, and sentences with places for them."""
    money, language, say = request.money, request.language, request.say
    forms = {key: _plain(each) for key, each in _forms(money, language).items()}
    entry = {key: catalogue()[f"what_if.{key}"][language] for key in ("same", "changed", "turn", "no_turn")}
    return {
        "forms": forms,
        "levers": [_plain(_shape(request, each)) for each in shown],
        "scales": [[size, name] for size, name in scales(language)],
        "thousand": HUNDRED_THOUSAND,
        "cent": CENT,
        "missing": MISSING,
        "below": say("number.below", n="1%"),
        "above": say("number.above", n="99%"),
        "span": catalogue()["number.range"][language],
        "open": say("payback.open"),
        **entry,
    }


def _plain(shape: Form) -> dict[str, Any]:
    """Return what a script needs to write numbers as a form does."""
    factor = 100.0 if shape.unit in SHARE_UNITS else 1 / shape.scale
    step = shape.step * factor
    decimals = min(max(0, -math.floor(math.log10(step) + 1e-9)), 6) if step else 0
    number, unit = "{n}", f"number.{shape.unit}"
    words = catalogue()
    if shape.unit in SHARE_UNITS:
        number = "{n}%"
    elif shape.unit in MONEY_UNITS and shape.currency:
        amount = words["number.amount"][shape.language]
        number = amount.format_map({"n": "{n}", "currency": currency_name(shape.currency, shape.language)})
    pattern = words[unit][shape.language] if unit in words else "{n}"
    single = words[f"{unit}.one"][shape.language] if f"{unit}.one" in words else pattern
    return {
        "factor": factor,
        "step": step,
        "decimals": decimals,
        "suffix": shape.suffix,
        "number": number,
        "unit": pattern,
        "single": single,
        "keepsSign": shape.keeps_sign,
    }
