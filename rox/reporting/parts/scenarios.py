"""How far the answer could be off: scenarios, one factor at a time, the course over time."""

from __future__ import annotations

import numpy as np
import pandas as pd

from rox.core.returns import Return
from rox.reporting import figures, sentences
from rox.reporting.blocks import Column, Figure, Heading, Part, Table
from rox.reporting.numbers import MISSING, Form, form, significant, step_of
from rox.reporting.request import Request
from rox.reporting.svg import inline_svg

SCENARIOS = {"bear": 0.05, "base": 0.50, "bull": 0.95}
WINDOW = 0.02
"""Share of the draws around a quantile of NPV that stands for its scenario."""
SCENARIO_ROWS = {
    "present_benefit": "money",
    "present_cost": "money",
    "npv": "money",
    "roi": "share",
    "payback": "months",
}
FLOWS = {
    "benefit": "line.benefit_total",
    "cost": "line.cost_total",
    "tax_paid": "line.tax_paid",
    "net": "line.net",
    "present": "line.present",
    "cumulative_present": "line.cumulative_present",
}
RUNNING = "cumulative_present"
"""The flow that is a level, not a sum."""


def scenarios(request: Request) -> Part:
    """Show bear, base and bull, the tornado, and cash flows by year with their fan."""
    say = request.say
    return Part(
        key="scenarios",
        heading=say("part.scenarios"),
        blocks=(
            _scenarios(request),
            Heading(text=say("tornado.heading")),
            _tornado(request),
            Heading(text=say("cash.heading")),
            _fan(request),
            _cash(request),
        ),
    )


def scenario_values(money: Return) -> pd.DataFrame:
    """Summarise the draws around the 5%, 50% and 95% quantile of NPV.

    Each scenario is a neighbourhood of draws, so that its lines belong together; quantiles taken line by line do not.

    Returns:
        Index ``present_benefit present_cost npv roi payback``, one column per scenario. NPV is the quantile itself,
        the others are means over the 2% of draws nearest to it; payback is their median, NaN if half of them never pay
        back.
    """
    order = np.argsort(money.draws["npv"], kind="stable")
    size = max(round(WINDOW * len(order)), 1)
    found = {}
    for name, quantile in SCENARIOS.items():
        start = int(np.clip(round(quantile * len(order) - size / 2), 0, len(order) - size))
        near = {line: money.draws[line][order[start : start + size]] for line in SCENARIO_ROWS}
        back = np.where(np.isnan(near["payback"]), np.inf, near["payback"])
        middle = float(np.median(back))
        found[name] = {line: float(values.mean()) for line, values in near.items()} | {
            "npv": float(np.quantile(money.draws["npv"], quantile)),
            "payback": middle if np.isfinite(middle) else float("nan"),
        }
    return pd.DataFrame(found)


def _scenarios(request: Request) -> Table:
    money, language, say = request.money, request.language, request.say
    found = scenario_values(money)
    npv = sentences.npv_form(money, language)
    low, high = np.quantile(money.draws["roi"], [0.05, 0.95])
    shapes: dict[str, Form] = {
        "money": form(
            "money", language, like=found.iloc[:3].to_numpy().ravel(), step=npv.step, currency=request.currency
        ),
        "share": form("share", language, like=(low, high), step=step_of(float(low), float(high))),
        "months": form("months", language),
    }
    rows = []
    for line, unit in SCENARIO_ROWS.items():
        cells = [shapes[unit].number(float(found[each][line])) for each in SCENARIOS]
        if line == "payback":
            cells = [say("payback.open") if cell == MISSING else cell for cell in cells]
        rows.append((say(f"line.{line}"), *cells))
    return Table(
        caption=say("scenarios.caption"),
        columns=(Column(say("column.line")), *(Column(say(f"scenario.{each}"), "number") for each in SCENARIOS)),
        rows=tuple(rows),
        strong=frozenset({list(SCENARIO_ROWS).index("npv")}),
        note=say("scenarios.note", share=f"{100 * WINDOW:.0f}%"),
    )


def _tornado(request: Request) -> Figure:
    money, language, say = request.money, request.language, request.say
    table = money.tornado
    npv = figures.arithmetic_form(money, table[["npv_low", "npv_high"]].to_numpy().ravel(), language)
    rows = []
    for _, row in table.iterrows():
        shape = sentences.form_of_factor(row, language, request.currency)
        is_moved = row["swing"] > 0
        rows.append(
            (
                row[language],
                shape.number(row["low"]) if is_moved else MISSING,
                shape.number(row["value"]),
                shape.number(row["high"]) if is_moved else MISSING,
                npv.number(row["npv_low"]) if is_moved else MISSING,
                npv.number(row["npv_high"]) if is_moved else MISSING,
                npv.number(row["swing"]) if is_moved else MISSING,
                form("number", language, like=(1.0,), step=0.1, signed=True).number(row["sensitivity"]),
                shape.number(row["break_even"]),
            )
        )
    names = ("low", "value", "high", "npv_low", "npv_high", "swing", "sensitivity", "break_even")
    caption = say("tornado.text", npv=npv(float(money.point["npv"][0])))
    shown = min(8, int((table["swing"] > 0).sum()))
    return Figure(
        svg=inline_svg(
            lambda ax: figures.tornado(money, ax, language=language),
            key="fig-tornado",
            title=say("tornado.heading"),
            description=caption,
            size=(7.2, 0.75 + 0.36 * max(shown, 1)),
        ),
        caption=caption,
        table=Table(
            caption=say("tornado.caption"),
            columns=(Column(say("column.input")), *(Column(say(f"tornado.{each}"), "number") for each in names)),
            rows=tuple(rows),
            note=say("tornado.note"),
        ),
    )


def _fan(request: Request) -> Figure:
    money, language, say = request.money, request.language, request.say
    fan = money.fan
    every = [month for month in fan.index if month % 6 == 0 or month == fan.index[-1]]
    step = significant(float(fan.abs().to_numpy().max()), 3)
    shape = form("money", language, like=fan.to_numpy().ravel(), step=step, currency=request.currency)
    caption = say("figure.fan.caption")
    return Figure(
        svg=inline_svg(
            lambda ax: figures.fan(money, ax, language=language),
            key="fig-fan",
            title=say("figure.fan.title"),
            description=caption,
            size=(7.2, 2.9),
        ),
        caption=caption,
        table=Table(
            caption=say("figure.fan.title"),
            columns=(
                Column(say("column.month")),
                *(Column(f"{int(name[1:])}%", "number") for name in fan.columns),
            ),
            rows=tuple((str(month), *map(shape.number, fan.loc[month].astype(float).tolist())) for month in every),
        ),
    )


def by_year(money: Return) -> pd.DataFrame:
    """Sum the flows of the point path by year: row 0 is the start, row n holds months 12n − 11 to 12n.

    Returns:
        Columns ``benefit cost tax_paid net present cumulative_present``; the last is the level at the year's end.
    """
    months = np.arange(money.ledger.horizon + 1)
    flows = pd.DataFrame({line: np.broadcast_to(money.point[line], months.shape) for line in FLOWS})
    years = flows.groupby(-(-months // 12))
    table = years.sum()
    table[RUNNING] = years[RUNNING].last()
    return table


def _cash(request: Request) -> Table:
    money, language, say = request.money, request.language, request.say
    table = by_year(money)
    exact = Form(unit="money", language=language, currency=request.currency, step=1.0)
    heads = [say("cash.start"), *(say("cash.year", n=year) for year in table.index[1:])]
    rows = [
        (head, *map(exact.number, row)) for head, row in zip(heads, table.to_numpy(dtype=float).tolist(), strict=True)
    ]
    sums = [MISSING if line == RUNNING else exact.number(float(table[line].sum())) for line in FLOWS]
    return Table(
        caption=say("cash.caption"),
        columns=(Column(say("column.year")), *(Column(say(key), "number") for key in FLOWS.values())),
        rows=(*rows, (say("cash.total"), *sums)),
        strong=frozenset({len(rows)}),
        note=say("cash.note"),
    )
