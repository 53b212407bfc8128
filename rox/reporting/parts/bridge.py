"""From contribution to NPV, step by step."""

from __future__ import annotations

from rox.reporting import figures, sentences
from rox.reporting.blocks import Column, Figure, Part, Table, Text
from rox.reporting.estimates import effect_name, group_name
from rox.reporting.numbers import Form, form
from rox.reporting.request import Request
from rox.reporting.svg import inline_svg


def bridge(request: Request) -> Part:
    """Show how contribution, costs, tax and time add up to NPV on the point path."""
    money, language = request.money, request.language
    steps = money.bridge
    exact = Form(unit="money", language=language, currency=request.currency, step=1.0)
    table = Table(
        caption=request.say("bridge.caption"),
        columns=(Column(request.say("column.step")), Column(request.say("column.amount"), "number")),
        rows=tuple((str(row[language]), exact(row["value"])) for _, row in steps.iterrows()),
        strong=frozenset({len(steps) - 1}),
    )
    npv = sentences.npv_form(money, language)
    point = npv(float(money.point["npv"][0]))
    caption = request.say("bridge.figure", npv=point)
    figure = Figure(
        svg=inline_svg(
            lambda ax: figures.waterfall(money, ax, language=language),
            key="fig-bridge",
            title=request.say("part.bridge"),
            description=caption,
            size=(7.2, 0.5 + 0.36 * len(steps)),
        ),
        caption=caption,
        table=table,
    )
    note = request.say("bridge.note", point=point, median=npv(money.decision.npv))
    return Part(
        key="bridge",
        heading=request.say("part.bridge"),
        blocks=(figure, Text(text=note, role="note"), _groups(request)),
    )


def _groups(request: Request) -> Table:
    """Say which segments the benefit comes from."""
    money, language = request.money, request.language
    rows = money.by_group
    shape = form("money", language, like=rows["present_benefit"], currency=request.currency)
    peak = form("money", language, like=rows["extra_money_at_peak"], currency=request.currency)
    total = float(rows["present_benefit"].sum())
    share = form("share", language, like=(1.0,), step=0.01)
    return Table(
        caption=request.say("bridge.groups"),
        columns=(
            Column(request.say("column.segment")),
            Column(request.say("column.effect")),
            Column(request.say("column.peak"), "number"),
            Column(request.say("column.present_benefit"), "number"),
            Column(request.say("column.share"), "number"),
        ),
        rows=tuple(
            (
                group_name(str(row["group"]), language),
                effect_name(str(row["effect"]), language),
                peak(row["extra_money_at_peak"]),
                shape(row["present_benefit"]),
                share(row["present_benefit"] / total if total else float("nan")),
            )
            for _, row in rows.iterrows()
        ),
    )
