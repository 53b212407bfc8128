"""How the experience is today."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from rox.core.case import EVERYONE
from rox.core.words import catalogue
from rox.reporting import figures
from rox.reporting.blocks import Block, Cell, Column, Figure, Part, Table, Text
from rox.reporting.estimates import group_name
from rox.reporting.numbers import MISSING, Form, count, form, step_of
from rox.reporting.parts.evidence import checks_table
from rox.reporting.request import Experience, Request
from rox.reporting.svg import inline_svg

SHARES = frozenset({"ratio", "pp"})
PERIODS = ("period", "month", "quarter")
FOLDED = ("by_segment", "response", "churn")


def measure(request: Request, experience: Experience) -> Part:
    """Show scores with their intervals, their course, who answered and who left."""
    blocks: list[Block] = [
        Text(text=request.say("measure.text")),
        _table(request, experience.headline, "headline", folded=False),
    ]
    if len(experience.trend):
        blocks.append(_trend(request, experience.trend))
    blocks += [_table(request, frame, name) for name in FOLDED if len(frame := getattr(experience, name))]
    if experience.checks:
        blocks.append(checks_table(request, experience.checks))
    return Part(key="measure", heading=request.say("part.measure"), blocks=tuple(blocks))


def _name(request: Request, row: pd.Series[Any]) -> str:
    key = f"metrics.{row['metric']}"
    metric = request.say(key) if key in catalogue() else str(row["metric"])
    score = row.get("score")
    return metric if score is None or pd.isna(score) or not score else f"{request.score(str(score))} · {metric}"


def _form(request: Request, row: pd.Series[Any]) -> Form:
    """Choose how one row is written: a share in percent, all else as a number, to what its range supports."""
    unit = "share" if row["unit"] in SHARES else "number"
    step = step_of(row["low"], row["high"])
    return form(unit, request.language, like=(row["value"], row["low"], row["high"]), step=step)


def _groups(frame: pd.DataFrame) -> Sequence[str]:
    """Return the columns that split a frame, without one that says ``all`` throughout."""
    found = [each for each in (*PERIODS, "segment") if each in frame]
    return [each for each in found if not (frame[each] == EVERYONE).all()]


def _table(request: Request, frame: pd.DataFrame, name: str, *, folded: bool = True) -> Table:
    groups = _groups(frame)
    rows: list[tuple[str | Cell, ...]] = []
    hidden = 0
    for _, row in frame.iterrows():
        head = [group_name(str(row[each]), request.language) for each in groups]
        if row["suppressed"] and pd.isna(row["low"]):
            few = Cell(request.say("number.few", n=request.least), "quiet")
            rows.append((*head, _name(request, row), few, few, few))
            hidden += 1
            continue
        shape = _form(request, row)
        value = MISSING if pd.isna(row["value"]) else shape.number(row["value"])
        n = count(row["n"], request.language, least=request.least)
        rows.append((*head, _name(request, row), value, shape.between(row["low"], row["high"]), n))
    heads = [request.say("column.segment" if each == "segment" else "column.period") for each in groups]
    return Table(
        caption=request.say(f"measure.{name}"),
        columns=(
            *(Column(head) for head in heads),
            Column(request.say("column.metric")),
            Column(request.say("column.value"), "number"),
            Column(request.say("column.range"), "number"),
            Column(request.say("column.n"), "number"),
        ),
        rows=tuple(rows),
        note=request.say("suppressed", n=request.least) if hidden else "",
        folded=folded,
    )


def _trend(request: Request, frame: pd.DataFrame) -> Figure:
    """Draw the first series of the trend; its table holds what is drawn."""
    period = next(each for each in PERIODS if each in frame)
    series = [each for each in ("score", "metric") if each in frame]
    first = frame[(frame[series] == frame.iloc[0][series]).all(axis=1)].sort_values(period)
    drawn = first.rename(columns={period: "period"})
    name = _name(request, first.iloc[0])
    caption = request.say("figure.trend.caption", name=name)
    return Figure(
        svg=inline_svg(
            lambda ax: figures.trend(drawn, ax, language=request.language),
            key="fig-trend",
            title=request.say("figure.trend.title", name=name),
            description=caption,
            size=(7.2, 2.5),
        ),
        caption=caption,
        table=_table(request, first, "trend"),
    )
