"""The journey of a tree of metrics, as parts of a page: heat maps by touchpoint and by group, with their numbers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from rox.core.tree_report import heat_map
from rox.core.words import say
from rox.reporting import tree_figures
from rox.reporting.blocks import Block, Cell, Column, Figure, Table
from rox.reporting.estimates import group_name
from rox.reporting.svg import inline_svg, wrapped
from rox.reporting.tree_numbers import Numbers

WIDE = 7.2
NAMES, SIGN, FEWEST_SIGNS = 1.0, 0.058, 12
"""Inches that the names of stages and a small sign take, and the shortest line that is broken."""
MOST_COLUMNS = 8
"""Groups that fit side by side."""


def journey(tell: Numbers) -> tuple[Block, ...]:
    """Lay the journey out by touchpoint, and by the report's group if there is one; nothing where no stage is said."""
    return tuple(_blocks(tell)) if tell.report.tree.stages else ()


def _blocks(tell: Numbers) -> Iterator[Block]:
    by_place = heat_map(tell.report, "touchpoint")
    if (by_place["across"] != "").any():
        yield _by_touchpoint(tell, by_place[by_place["across"] != ""].reset_index(drop=True))
    if len(tell.report.by) == 1:
        frame = heat_map(tell.report, tell.report.by[0])
        if len(frame) and frame["across"].nunique() <= MOST_COLUMNS:
            yield _by_group(tell, frame)


def _by_touchpoint(tell: Numbers, frame: pd.DataFrame) -> Figure:
    """Draw stage × touchpoint; the colour of a cell is that of the metric that is least likely on target."""
    stages = [stage for stage in tell.report.tree.stages if stage in set(frame["stage"])]
    columns = list(dict.fromkeys(frame["across"]))
    names = {stage: tell.place(stage, "stage") for stage in stages}
    names |= {column: tell.place(column, "touchpoint") for column in columns}
    signs = max(int((WIDE - NAMES) / len(columns) / SIGN), FEWEST_SIGNS)
    cells = []
    for (stage, column), own in frame.groupby(["stage", "across"], sort=False):
        lines = [
            f"{wrapped(tell.name(str(row['metric'])), signs, 4)}\n{_valued(tell, row)}" for _, row in own.iterrows()
        ]
        lowest = own["p_target"].min() if own["p_target"].notna().any() else np.nan
        cells.append({"row": stage, "column": column, "text": "\n\n".join(lines), "p": lowest})
    return _figure(tell, frame, pd.DataFrame(cells), stages, columns, names, "touchpoint")


def _by_group(tell: Numbers, frame: pd.DataFrame) -> Figure:
    """Draw metric × group, the metrics in the order of their stages."""
    said = tell.language
    rows, columns = list(dict.fromkeys(frame["metric"])), list(dict.fromkeys(frame["across"].astype(str)))
    stage_of = dict(zip(frame["metric"], frame["stage"], strict=True))
    names = {row: f"{tell.place(stage_of[row], 'stage')} · {tell.name(row)}" for row in rows}
    names |= {column: group_name(column, said) for column in columns}
    cells = pd.DataFrame(
        {
            "row": frame["metric"],
            "column": frame["across"].astype(str),
            "text": [_valued(tell, row) for _, row in frame.iterrows()],
            "p": frame["p_target"],
        }
    )
    return _figure(tell, frame, cells, rows, columns, names, "group")


def _figure(
    tell: Numbers,
    frame: pd.DataFrame,
    cells: pd.DataFrame,
    rows: Sequence[str],
    columns: Sequence[str],
    names: dict[str, str],
    kind: str,
) -> Figure:
    periods = ", ".join(sorted(set(frame["period"].astype(str))))
    title = f"{say(f'tree.journey.{kind}', tell.language)} · {periods}"
    aimed = int(frame["target"].notna().sum())
    behind = int(frame["status"].isin(["missed", "alert"]).sum())
    caption = say("tree.journey.caption", tell.language, cells=len(frame), aimed=aimed, behind=behind)
    svg = inline_svg(
        lambda ax: tree_figures.heat_map(cells, ax, rows=rows, columns=columns, names=names, language=tell.language),
        key=f"fig-journey-{kind}",
        title=title,
        description=caption,
        size=(WIDE, tree_figures.height_of(cells, rows)),
    )
    return Figure(svg=svg, caption=f"{title}: {caption}", table=_listed(tell, frame, names, title, kind))


def _listed(tell: Numbers, frame: pd.DataFrame, names: dict[str, str], title: str, kind: str) -> Table:
    heads = ("stage", "where", "metric", "value", "target", "chance", "status")
    numbers = {"value", "target", "chance"}
    rows = tuple(
        (
            tell.place(str(row["stage"]), "stage"),
            names.get(str(row["across"]), str(row["across"])),
            tell.name(str(row["metric"])),
            tell.ranged(row),
            tell.limit(row, "target"),
            tell.chance(row),
            Cell(say(f"tree.status.{row['status']}", tell.language)),
        )
        for _, row in frame.iterrows()
    )
    where = tell.report.by[0] if kind == "group" else say("tree.head.touchpoint", tell.language)
    said = {head: where if head == "where" else say(f"tree.head.{head}", tell.language) for head in heads}
    columns = tuple(Column(said[head], "number" if head in numbers else "text") for head in heads)
    return Table(caption=title, columns=columns, rows=rows, folded=True)


def _valued(tell: Numbers, row: pd.Series) -> str:
    chance = tell.chance(row)
    value = tell.short(row)
    return say("tree.journey.cell", tell.language, value=value, p=chance) if chance else value
