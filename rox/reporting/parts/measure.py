"""How the experience is today."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from rox.core.case import EVERYONE
from rox.core.words import catalogue
from rox.reporting import figures
from rox.reporting.blocks import Block, Cell, Column, Figure, Part, Table, Text
from rox.reporting.numbers import MISSING, Form, count, form, step_of
from rox.reporting.parts.evidence import checks_table
from rox.reporting.request import Experience, Request
from rox.reporting.svg import inline_svg

SHARES = frozenset({"ratio", "pp"})
PERIODS = ("period", "month", "quarter")
FOLDED = ("by_segment", "response", "churn")
BY_MONTH = ("hazard_", "money_hazard_")
"""Beginnings of the names of monthly rates, which are not told: the same by year stand beside them."""


def measure(request: Request, experience: Experience) -> Part:
    """Show scores with their intervals, their course, who answered and who left."""
    headline = _list(request, experience.headline, "headline", folded=False)
    blocks: list[Block] = [Text(text=request.say("measure.text")), headline]
    if len(experience.trend):
        blocks.append(_trend(request, experience.trend))
    for name in FOLDED:
        frame = getattr(experience, name)
        if len(frame):
            blocks.append((_grid if frame["metric"].nunique() > 1 else _list)(request, frame, name))
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


def _told(frame: pd.DataFrame) -> pd.DataFrame:
    return frame[~frame["metric"].astype(str).str.startswith(BY_MONTH)]


def _head(request: Request, row: pd.Series[Any], groups: Sequence[str]) -> str:
    """Name the group of a row; one that is split by nothing is everybody."""
    return " · ".join(str(row[each]) for each in groups if row[each] != EVERYONE) or request.say("estimates.everyone")


def _head_title(request: Request, groups: Sequence[str]) -> str:
    split = len(groups) > 1 or not groups
    return request.say("column.group" if split else "column.segment" if "segment" in groups else "column.period")


def _is_hidden(row: pd.Series[Any]) -> bool:
    return bool(row["suppressed"]) and bool(pd.isna(row["low"]))


def _list(request: Request, frame: pd.DataFrame, name: str, *, folded: bool = True) -> Table:
    """Put each figure in a row of its own."""
    groups, language = _groups(frame), request.language
    few = Cell(request.say("number.few", n=request.least), "quiet")
    rows: list[tuple[str | Cell, ...]] = []
    for _, row in _told(frame).iterrows():
        head = [*([_head(request, row, groups)] if groups else []), _name(request, row)]
        shape = _form(request, row)
        n = count(row["n"], language, least=request.least)
        found = (shape.number(row["value"]), shape.span(row["low"], row["high"]), n)
        rows.append((*head, *((few,) * 3 if _is_hidden(row) else found)))
    return Table(
        caption=request.say(f"measure.{name}"),
        columns=(
            *([Column(_head_title(request, groups))] if groups else []),
            Column(request.say("column.metric")),
            Column(request.say("column.value"), "number"),
            Column(request.say("column.range"), "number"),
            Column(request.say("column.n"), "number"),
        ),
        rows=tuple(rows),
        note=_note(request, frame),
        folded=folded,
    )


def _grid(request: Request, frame: pd.DataFrame, name: str) -> Table:
    """Put each group in a row and each measure in a column, the range below the value."""
    frame = _told(frame)
    groups, names = _groups(frame), [_name(request, row) for _, row in frame.iterrows()]
    cells: dict[str, dict[str, str]] = {}
    for measure_name, (_, row) in zip(names, frame.iterrows(), strict=True):
        head = _head(request, row, groups)
        shape = _form(request, row)
        found = f"{shape.number(row['value'])}\n{shape.span(row['low'], row['high'])}"
        few = request.say("number.few", n=request.least)
        cells.setdefault(head, {})[measure_name] = few if _is_hidden(row) else found
    measures = list(dict.fromkeys(names))
    return Table(
        caption=request.say(f"measure.{name}"),
        columns=(Column(_head_title(request, groups)), *(Column(each, "number") for each in measures)),
        rows=tuple((head, *(row.get(each, MISSING) for each in measures)) for head, row in cells.items()),
        note=_note(request, frame),
        folded=True,
    )


def _note(request: Request, frame: pd.DataFrame) -> str:
    hidden = (frame["suppressed"].astype(bool) & frame["low"].isna()).any()
    return request.say("suppressed", n=request.least) if hidden else ""


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
        table=_list(request, first, "trend"),
    )
