"""From contribution to NPV, step by step."""

from __future__ import annotations

from rox.core.words import say
from rox.reporting import figures, sentences
from rox.reporting.blocks import Column, Figure, Part, Points, Table, Text
from rox.reporting.estimates import effect_name, group_name
from rox.reporting.numbers import MISSING, Form, form, step_of
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
    median = npv(money.decision.npv)
    note = request.say("bridge.note" if point != median else "bridge.note.same", point=point, median=median)
    return Part(
        key="bridge",
        heading=request.say("part.bridge"),
        blocks=(
            figure,
            Text(text=note, role="note"),
            *([] if money.by_group.empty else [_groups(request)]),
            *([] if money.channels.empty else [_channels(request)]),
            Points(points=sentences.evidence_split(money, language)),
        ),
    )


def _channels(request: Request) -> Table:
    """Say by which channel the benefit comes, and on what each amount rests."""
    money, language = request.money, request.language
    rows = money.channels
    low, high = float(rows["low"].min()), float(rows["high"].max())
    shape = form("money", language, like=(low, high), step=step_of(low, high), currency=request.currency)
    return Table(
        caption=request.say("channels.caption"),
        columns=(
            Column(request.say("column.channel")),
            Column(request.say("column.effect")),
            Column(request.say("column.basis")),
            Column(request.say("line.present_benefit"), "number"),
            Column(request.say("column.range"), "number"),
        ),
        rows=tuple(
            (
                say(f"channel.{row['channel']}", language),
                effect_name(str(row["effect"]), language) if row["effect"] else MISSING,
                say(f"basis.{row['basis']}", language),
                shape(row["median"]),
                shape.between(row["low"], row["high"]),
            )
            for _, row in rows.iterrows()
        ),
        note=request.say("channels.note"),
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
