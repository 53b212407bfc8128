"""A measured tree of metrics for readers: a page, and text for a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pandas as pd

from rox.core.check import check_table
from rox.core.tree_report import PLACES, STATUSES, TreeReport, standing
from rox.core.words import Language, say
from rox.reporting.blocks import Block, Cell, Column, Figure, Part, Points, Table, Text, Tone
from rox.reporting.figures import trend
from rox.reporting.plain_page import plain_page
from rox.reporting.plain_text import plain_text
from rox.reporting.svg import inline_svg
from rox.reporting.tree_journey import journey
from rox.reporting.tree_numbers import Numbers

TONES: dict[str, Tone] = {"met": "good", "missed": "bad", "alert": "bad", "open": "warn", "none": "quiet"}
HOW = ("period", "weights", "target", "count", "moved", "proxy")


def tree_page(report: TreeReport, language: Language = "en", *, currency: str, study: str = "") -> str:
    """Render a measured tree as one self-contained page; the same report gives the same bytes.

    Args:
        report: The measured tree.
        language: Of the page.
        currency: ISO code of its money.
        study: Title of the study.
    """
    return plain_page(
        report.tree.about.title[language],
        language,
        tree_parts(report, language, currency=currency),
        kind=say("tree.kind", language),
        subtitle=study,
    )


def tree_text(report: TreeReport, language: Language = "en", *, currency: str) -> str:
    """Write a measured tree for a terminal."""
    parts = [_without_drawings(part) for part in tree_parts(report, language, currency=currency)]
    return plain_text(report.tree.about.title[language], parts)


def tree_parts(report: TreeReport, language: Language = "en", *, currency: str) -> tuple[Part, ...]:
    """Lay a tree out: north star, metrics by goal, journey, standing, what moved, what is missing, how to read it."""
    tell = Numbers(report=report, language=language, currency=currency)
    bodies = {
        "star": _star(tell),
        "metrics": _metrics(tell),
        "journey": journey(tell),
        "standing": _standing(tell),
        "moved": _moved(tell),
        "missing": _missing(tell),
        "how": _how(tell),
    }
    return tuple(
        Part(key=key, heading=say(f"tree.part.{key}", language), blocks=blocks)
        for key, blocks in bodies.items()
        if blocks
    )


def _without_drawings(part: Part) -> Part:
    blocks = tuple(replace(block.table, folded=False) if isinstance(block, Figure) else block for block in part.blocks)
    return replace(part, blocks=blocks)


def _star(tell: Numbers) -> tuple[Block, ...]:
    report, language = tell.report, tell.language
    name = report.tree.about.north_star
    now = report.now[report.now["metric"] == name]
    if now.empty:
        return (Text(text=say("tree.star.none", language, metric=tell.name(name)), role="lead"),)
    row = now.iloc[0]
    values = {"metric": tell.name(name), "period": row[report.every], "value": tell.ranged(row)}
    lead = say("tree.star.lead", language, **values)
    if pd.notna(row["target"]):
        lead += say("tree.star.target", language, target=tell.limit(row, "target"), p=tell.chance(row))
    series = report.values[report.values["metric"] == name].rename(columns={report.every: "period"})
    caption = say("tree.star.caption", language, metric=tell.name(name))
    svg = inline_svg(
        lambda ax: trend(series, ax, language=language),
        key="fig-star",
        title=tell.name(name),
        description=caption,
        size=(7.2, 2.5),
    )
    listed = Table(
        caption=caption,
        columns=_columns(tell, "period", "value", "n"),
        rows=tuple((str(each["period"]), tell.ranged(each), tell.size(each)) for _, each in series.iterrows()),
    )
    return Text(text=lead, role="lead"), Figure(svg=svg, caption=caption, table=listed)


def _metrics(tell: Numbers) -> tuple[Block, ...]:
    report, language = tell.report, tell.language
    now = {str(row["metric"]): row for _, row in report.now.iterrows()}
    blocks: list[Block] = []
    for goal in report.tree.goals:
        rows = [
            _metric_row(tell, signal, metric, now[metric])
            for each, signal, metric in report.tree.branches()
            if each == goal and metric in now
        ]
        if rows:
            heads = ("metric", "signal", "period", "value", "before", "target", "chance", "status", "department")
            caption = report.tree.goals[goal].label[language]
            blocks.append(Table(caption=caption, columns=_columns(tell, *heads), rows=tuple(rows)))
    return tuple(blocks)


def _metric_row(tell: Numbers, signal: str, metric: str, row: pd.Series) -> tuple[str | Cell, ...]:
    declared = tell.report.tree.metrics[metric]
    said = tell.name(metric) + (say("tree.proxy", tell.language) if declared.proxy else "")
    return (
        said,
        tell.report.tree.signals[signal].label[tell.language],
        str(row[tell.report.every]),
        tell.ranged(row),
        tell.value(row["before"], metric),
        tell.limit(row, "target"),
        tell.chance(row),
        Cell(say(f"tree.status.{row['status']}", tell.language), TONES.get(row["status"], "")),
        declared.department[tell.language] if declared.department else "",
    )


def _standing(tell: Numbers) -> tuple[Block, ...]:
    language = tell.language
    blocks: list[Block] = []
    for place in PLACES:
        table = standing(tell.report, place)
        table = table[table[place] != ""]
        if table.empty:
            continue
        rows = [
            (tell.place(str(row[place]), place), str(row["metrics"]), *(str(row[status]) for status in STATUSES))
            for row in table.to_dict("records")
        ]
        heads = (Column(say(f"tree.head.{place}", language)), Column(say("tree.head.metrics", language), "number"))
        counts = (Column(say(f"tree.status.{status}", language), "number") for status in STATUSES)
        caption = say("tree.standing.caption", language, place=say(f"tree.head.{place}", language))
        blocks.append(Table(caption=caption, columns=(*heads, *counts), rows=tuple(rows)))
    return tuple(blocks)


def _moved(tell: Numbers) -> tuple[Block, ...]:
    moved, language = tell.report.moved, tell.language
    if moved.empty:
        return (Text(text=say("tree.moved.none", language)),)
    star = tell.name(tell.report.tree.about.north_star)
    table = Table(
        caption=say("tree.moved.caption", language, star=star),
        columns=_columns(tell, "metric", "r", "interval", "n"),
        rows=tuple(
            (tell.name(row["metric"]), tell.plain(row["r"]), tell.plain_range(row["low"], row["high"]), str(row["n"]))
            for row in moved.to_dict("records")
        ),
        note=say("tree.moved.note", language),
    )
    return (table,)


def _missing(tell: Numbers) -> tuple[Block, ...]:
    lost, language = tell.report.unmeasured, tell.language
    if lost.empty:
        return ()
    rows = [
        (
            tell.name(row["metric"]),
            say(f"tree.need.{row['need']}", language, what=row["what"]),
            say("tree.missing.split" if row["split"] else "tree.missing.all", language),
        )
        for row in lost.to_dict("records")
    ]
    return (
        Table(
            caption=say("tree.missing.caption", language),
            columns=_columns(tell, "metric", "need", "extent"),
            rows=tuple(rows),
        ),
    )


def _how(tell: Numbers) -> tuple[Block, ...]:
    language = tell.language
    points = tuple(say(f"tree.how.{each}", language) for each in HOW)
    return Points(points=points), *_checks(tell)


def _checks(tell: Numbers) -> Iterator[Block]:
    if tell.report.checks:
        table = check_table(tell.report.checks, tell.language)
        columns = (Column(str(table.columns[0]), "code"), *(Column(str(name)) for name in table.columns[1:]))
        rows = tuple(tuple(map(str, row)) for row in table.to_numpy())
        yield Table(caption=say("tree.checks.caption", tell.language), columns=columns, rows=rows)


def _columns(tell: Numbers, *heads: str) -> tuple[Column, ...]:
    texts = {"metric", "signal", "status", "department", "need", "extent"}
    return tuple(
        Column(say(f"tree.head.{head}", tell.language), "text" if head in texts else "number") for head in heads
    )
