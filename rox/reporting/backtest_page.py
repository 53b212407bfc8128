"""Did it come true, for readers: a page, and text for a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import pandas as pd

from rox.core.backtest import FEWEST_OF_GROUP, FEWEST_OF_LINE, GENEROUS, Backtest, Group, Open, Split
from rox.core.case import EVERYONE
from rox.core.check import BiasLayer
from rox.core.forecast import last_seal
from rox.core.words import Language, say
from rox.reporting.backtest_figures import by_grade, came_true
from rox.reporting.blocks import Block, Column, Figure, Part, Points, Table, Text
from rox.reporting.numbers import MISSING, Form, day, form, significant, step_of
from rox.reporting.plain_page import plain_page
from rox.reporting.plain_text import plain_text
from rox.reporting.svg import inline_svg

HOW = ("blur", "place", "crps", "split", "again", "chain")
SHORT = 12


def backtest_page(found: Backtest, language: Language = "en", *, prior_pairs: int) -> str:
    """Render a backtest as one self-contained page; the same backtest gives the same bytes.

    Args:
        found: The backtest.
        language: Of the page.
        prior_pairs: Initiatives that a shipped discount counts as.
    """
    seal = last_seal(found.forecasts)[:SHORT] or MISSING
    return plain_page(
        say("backtest.title", language),
        language,
        backtest_parts(found, language, prior_pairs=prior_pairs),
        kind=say("backtest.kind", language),
        subtitle=say("backtest.subtitle", language, n=len(found.forecasts), seal=seal),
    )


def backtest_text(found: Backtest, language: Language = "en", *, prior_pairs: int) -> str:
    """Write a backtest for a terminal."""
    parts = backtest_parts(found, language, prior_pairs=prior_pairs)
    return plain_text(say("backtest.title", language), [_without_drawings(part) for part in parts])


def backtest_parts(found: Backtest, language: Language = "en", *, prior_pairs: int) -> tuple[Part, ...]:
    """Lay a backtest out: answer, one by one, groups, plan and actual, discounts, what is open, how to read it."""
    return (
        _part("answer", language, *_answer(found.everyone, language)),
        _part("scores", language, *_scores(found, language)),
        _part("groups", language, *_groups(found, language)),
        _part("split", language, *_splits(found.splits, language)),
        _part("layers", language, *_layers(found, language, prior_pairs)),
        _part("open", language, *_open(found, language)),
        _part("chain", language, _chain(found, language)),
        _part("how", language, Points(points=tuple(say(f"backtest.how.{each}", language) for each in HOW))),
    )


def _without_drawings(part: Part) -> Part:
    blocks = tuple(block.table if isinstance(block, Figure) else block for block in part.blocks)
    return Part(key=part.key, heading=part.heading, blocks=blocks)


def _part(key: str, language: Language, *blocks: Block) -> Part:
    return Part(key=key, heading=say(f"backtest.part.{key}", language), blocks=blocks)


def _percent(language: Language, *, signed: bool = True) -> Form:
    return form("share", language, like=(1.0,), step=0.01, signed=signed)


def _answer(group: Group, language: Language) -> tuple[Block, ...]:
    if not group.n:
        return (Text(text=say("backtest.answer.none", language), role="lead"),)
    percent, plain = _percent(language), _percent(language, signed=False)
    if group.is_judged:
        values = {"n": group.n, "error": percent(group.error), "range": percent.between(group.low, group.high)}
        lead = say("backtest.answer.lean", language, **values)
    else:
        lead = say("backtest.answer.few", language, n=group.n, least=FEWEST_OF_GROUP)
    half, wide = group.coverage
    points = [say("backtest.answer.coverage", language, inside=wide.inside, of=wide.of, half=half.inside)]
    key, better = ("skill", plain) if group.skill_nothing > 0 else ("no_skill", percent)
    points.append(say(f"backtest.answer.{key}", language, skill=better(group.skill_nothing)))
    if group.n_last:
        points.append(say("backtest.answer.last", language, n=group.n_last, skill=percent(group.skill_last)))
    tested = pd.notna(group.ranks.p)
    test = say(f"backtest.ranks.{'tested' if tested else 'few'}", language, p=f"{group.ranks.p:.2f}")
    counts = " · ".join(str(each) for each in group.ranks.counts)
    points.append(say("backtest.answer.ranks", language, counts=counts, test=test))
    return Text(text=lead, role="lead"), Points(points=tuple(points))


def _scores(found: Backtest, language: Language) -> tuple[Block, ...]:
    table = found.table
    if table.empty:
        return (Text(text=say("backtest.answer.none", language)),)
    heads = ("forecast", "range", "actual", "error", "place", "crps")
    listed = Table(
        caption=say("backtest.caption.scores", language),
        columns=(
            Column(say("backtest.column.initiative", language)),
            Column(say("backtest.column.what", language), "short"),
            Column(say("backtest.column.month", language), "number"),
            *(Column(say(f"backtest.column.{each}", language), "number") for each in heads),
            Column(say("backtest.column.by", language), "short"),
        ),
        rows=tuple(_score(row, found, language) for _, row in table.iterrows()),
        strong=frozenset(int(place) for place in table.index[table["counts"].astype(bool)]),
    )
    counted = table[table["counts"].astype(bool)]
    left = len(counted)
    counted = counted[counted["forecast_mean"].abs() > counted["forecast_sd"]]
    left -= len(counted)
    if counted.empty:
        return (listed,)
    inside = int(((counted["actual"] >= counted["low90"]) & (counted["actual"] <= counted["high90"])).sum())
    svg = inline_svg(
        lambda ax: came_true(counted, ax, language=language),
        key="fig-came-true",
        title=say("backtest.figure.scores", language),
        description=say("backtest.figure.scores.description", language, n=len(counted), inside=inside),
        size=(7.2, 0.9 + 0.42 * len(counted)),
    )
    caption = say("backtest.figure.scores", language)
    caption = say("backtest.figure.left", language, title=caption, n=left) if left else caption
    return (Figure(svg=svg, caption=caption, table=listed),)


def _score(row: pd.Series, found: Backtest, language: Language) -> tuple[str, ...]:
    money = row["what"] == "extra_money" or str(row["unit"]).startswith("money")
    currency = next(each.currency for each in found.forecasts if each.name == row["forecast"]) if money else ""
    unit = "money" if money else "share" if str(row["unit"]).startswith("ratio") else "factor"
    like = (row["low90"], row["high90"], row["actual"], row["forecast_mean"])
    shape = form(unit, language, like=like, step=step_of(row["low90"], row["high90"]), currency=currency)
    fine = form(unit, language, like=(row["crps"],), step=significant(row["crps"], 2), currency=currency)
    return (
        f"{row['forecast']} · {_segment(str(row['segment']), language)}",
        say(f"backtest.what.{row['what']}", language),
        str(row["month"]),
        shape(row["forecast_mean"]),
        shape.between(row["low90"], row["high90"]),
        shape(row["actual"]),
        _percent(language)(row["error_share"]),
        f"{row['place']:.2f}",
        fine(row["crps"]),
        say(f"backtest.by.{row['counterfactual']}", language),
    )


def _groups(found: Backtest, language: Language) -> tuple[Block, ...]:
    if not found.everyone.n:
        return (Text(text=say("backtest.answer.none", language)),)
    heads = ("n", "error", "range", "inside", "skill", "slope", "slope_of_estimates")
    columns = (
        Column(say("backtest.column.group", language)),
        *(Column(say(f"backtest.column.{each}", language), "number") for each in heads),
        Column(say("backtest.column.verdict", language)),
    )
    tables = [
        Table(
            caption=say(f"backtest.caption.{name}", language),
            columns=columns,
            rows=tuple(_group(group, language, of_grade=name == "grades") for group in groups),
        )
        for name, groups in (("grades", found.grades), ("teams", found.teams))
    ]
    note = say("backtest.groups.note", language, least=FEWEST_OF_GROUP, line=FEWEST_OF_LINE)
    return *tables, Text(text=note, role="note")


def _group(group: Group, language: Language, *, of_grade: bool) -> tuple[str, ...]:
    percent, wide = _percent(language), group.coverage[-1]
    slopes = [
        MISSING if line is None else f"{line.coefficients[1]:.2f} ({line.low[1]:.2f}…{line.high[1]:.2f})"
        for line in (group.line, group.line_of_estimates)
    ]
    return (
        group.name,
        str(group.n),
        percent(group.error),
        percent.between(group.low, group.high),
        f"{wide.inside}/{wide.of}",
        percent(group.skill_nothing),
        *slopes,
        _verdict(group, language, of_grade=of_grade),
    )


def _verdict(group: Group, language: Language, *, of_grade: bool) -> str:
    if not group.is_judged:
        return say("backtest.verdict.few", language, least=FEWEST_OF_GROUP)
    if of_grade and group.is_too_generous:
        return say("backtest.verdict.generous", language, slope=f"{GENEROUS:g}")
    lean = "over" if group.high < 0 else "under" if group.low > 0 else "fits"
    return say(f"backtest.verdict.{lean}", language)


def _splits(found: Sequence[Split], language: Language) -> tuple[Block, ...]:
    if not found:
        return (Text(text=say("backtest.split.none", language)),)
    blocks: list[Block] = []
    for each in found:
        booked = "booked" if each.is_booked else "unbooked"
        remarks = tuple(say(key, language) for key in (f"backtest.split.{booked}", *each.remarks))
        blocks += [_split(each, language), Points(points=remarks)]
    return tuple(blocks)


def _split(each: Split, language: Language) -> Table:
    """Write a split to the cent: levels are rounded, steps are their differences, so that what is shown adds up."""
    plain, signed = (
        Form(unit="money", language=language, currency=each.currency, step=0.01, signed=sign) for sign in (False, True)
    )

    def row(name: str, *cells: str) -> tuple[str, ...]:
        return (say(f"backtest.factor.{name}", language), *cells)

    shown = {name: _rounded(each.plan, each.steps[name]) for name in ("step", "share")}
    steps = [
        row(
            str(factor),
            signed(shown["step"][place]),
            signed(shown["share"][place]),
            say(f"backtest.told.{'yes' if told else 'no'}", language),
        )
        for place, (factor, told) in enumerate(zip(each.steps["factor"], each.steps["told"], strict=True))
    ]
    ends = [row(name, plain(value), plain(value), "") for name, value in (("plan", each.plan), ("actual", each.actual))]
    rows = (ends[0], *steps, ends[1])
    return Table(
        caption=say("backtest.caption.split", language, forecast=each.forecast, month=each.month),
        columns=(
            Column(say("backtest.column.factor", language)),
            Column(say("backtest.column.step", language), "number"),
            Column(say("backtest.column.share", language), "number"),
            Column(say("backtest.column.told", language), "short"),
        ),
        rows=rows,
        strong=frozenset({0, len(rows) - 1}),
    )


def _rounded(start: float, steps: pd.Series) -> list[float]:
    levels = [round(start, 2), *(round(level, 2) for level in start + steps.cumsum())]
    return [after - before for before, after in pairwise(levels)]


def _layers(found: Backtest, language: Language, prior_pairs: int) -> tuple[Block, ...]:
    def said(layer: BiasLayer) -> str:
        return f"{layer.mean:.2f} ± {layer.sd:.2f}"

    heads = ("pairs", "shipped", "found", "layer")
    table = Table(
        caption=say("backtest.caption.layers", language),
        columns=(
            Column(say("backtest.column.grade", language), "short"),
            *(Column(say(f"backtest.column.{each}", language), "number") for each in heads),
        ),
        rows=tuple(
            (
                str(grade),
                str(each.pairs),
                said(each.shipped),
                said(each.found) if each.pairs else MISSING,
                said(each.layer),
            )
            for grade, each in found.learned.items()
        ),
    )
    text = "; ".join(f"{grade} {said(each.layer)}" for grade, each in found.learned.items())
    svg = inline_svg(
        lambda ax: by_grade(found.learned, ax, language=language),
        key="fig-grades",
        title=say("backtest.figure.layers", language),
        description=say("backtest.figure.layers.description", language, text=text),
        size=(7.2, 2.9),
    )
    pairs = sum(each.pairs for each in found.learned.values())
    note = say("backtest.layers.note", language, pairs=pairs, prior=prior_pairs)
    figure = Figure(svg=svg, caption=say("backtest.figure.layers", language), table=table)
    return figure, Text(text=note, role="note")


def _open(found: Backtest, language: Language) -> tuple[Block, ...]:
    names = ("name", "month", "segment", "reason")
    columns = tuple(Column(say(f"backtest.column.{each}", language)) for each in names)
    unscored = tuple(
        (
            each.forecast,
            str(each.month),
            _segment(each.segment, language),
            say(each.reason, language, detail=each.detail),
        )
        for each in found.unscored
    )
    due = tuple(
        (each.forecast, str(each.month), say("backtest.everyone", language), _due(each, language))
        for each in found.open
    )
    blocks: tuple[Block, ...] = tuple(
        Table(caption=say(f"backtest.caption.{name}", language), columns=columns, rows=rows)
        for name, rows in (("unscored", unscored), ("open", due))
        if rows
    )
    if found.overdue:
        teams = ", ".join(found.overdue)
        blocks = (Text(text=say("backtest.open.overdue", language, teams=teams), role="lead"), *blocks)
    return blocks or (Text(text=say("backtest.open.none", language)),)


def _due(each: Open, language: Language) -> str:
    date = day(each.due_on, language)
    return say("backtest.open.due", language, date=date, team=each.team, owner=each.owner)


def _segment(name: str, language: Language) -> str:
    return say("backtest.everyone", language) if name == EVERYONE else name


def _chain(found: Backtest, language: Language) -> Table:
    names = ("name", "frozen", "team", "owner", "grade", "due", "seal")
    return Table(
        caption=say("backtest.caption.chain", language),
        columns=tuple(
            Column(say(f"backtest.column.{each}", language), "code" if each == "seal" else "text") for each in names
        ),
        rows=tuple(
            (
                each.name,
                day(each.frozen, language),
                each.team,
                each.owner,
                str(each.grade),
                ", ".join(str(month) for month in each.due),
                each.seal[:SHORT],
            )
            for each in found.forecasts
        ),
    )
