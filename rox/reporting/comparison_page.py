"""Why a figure changed, for readers: a page, a part of the next report, and text for a terminal."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import replace

import pandas as pd

from rox.core.check import Check, Verdict
from rox.core.comparison import HEADLINES, MAIN, Comparison, RunFacts
from rox.core.words import Language, say
from rox.reporting.blocks import Badge, Block, Cell, Column, Figure, Part, Points, Table, Text, Tone
from rox.reporting.comparison_figure import ENDS, bridge_of_runs, moving_rows
from rox.reporting.numbers import Form, form, significant
from rox.reporting.plain_page import plain_page
from rox.reporting.svg import inline_svg

TONES: dict[Verdict, Tone] = {
    Verdict.PASS: "good",
    Verdict.NOTE: "quiet",
    Verdict.DEMOTE: "warn",
    Verdict.STOP: "bad",
}
HOW = ("replay", "left", "mix")
POINT = "point_npv"
DIGITS = 3
"""Digits of the main figure in a sentence, where no step has a Monte Carlo error."""
GAP = "  "


def comparison_page(comparison: Comparison, language: Language = "en") -> str:
    """Render a comparison as one self-contained page; the same comparison gives the same bytes.

    Args:
        comparison: What :func:`rox.compare` gave.
        language: Of the page.
    """
    return plain_page(
        say("comparison.title", language, title=comparison.title[language]),
        language,
        comparison_parts(comparison, language),
        kind=say("comparison.kind", language),
        subtitle=say(
            "comparison.subtitle",
            language,
            first=_named(comparison.first, language),
            second=_named(comparison.second, language),
        ),
    )


def comparison_parts(comparison: Comparison, language: Language = "en") -> tuple[Part, ...]:
    """Lay a comparison out: the answer, the bridge, every order, what differs, checks, how to read it."""
    others = tuple(_bridge_table(comparison, name, language, folded=True) for name in HEADLINES if name != MAIN)
    how = Points(points=tuple(say(f"comparison.how.{each}", language) for each in HOW))
    return (
        _part("answer", language, _badge(comparison, language), *_answer(comparison, language)),
        _part("bridge", language, *_bridge(comparison, language), *others),
        _part("orders", language, *_orders(comparison, language)),
        _part("differences", language, _differences(comparison, language)),
        _part("checks", language, _checks(comparison.checks, language)),
        _part("how", language, how),
    )


def since_last(comparison: Comparison, language: Language = "en") -> Part:
    """Write the part of a report that says what changed since the last one."""
    return Part(
        key="since",
        heading=say("comparison.part.since", language),
        blocks=(
            _badge(comparison, language),
            *_answer(comparison, language),
            *_bridge(comparison, language, key="fig-since"),
            _checks(comparison.checks, language),
        ),
    )


def comparison_text(comparison: Comparison, language: Language = "en") -> str:
    """Write a comparison for a terminal, the bridge of the main headline in full."""
    lines = [
        say("comparison.title", language, title=comparison.title[language]),
        say(
            "comparison.subtitle",
            language,
            first=_named(comparison.first, language),
            second=_named(comparison.second, language),
        ),
        "",
        *(block.text for block in _answer(comparison, language) if isinstance(block, Text)),
        "",
    ]
    lines += _laid_out(_headlines(comparison, language))
    lines += [say("comparison.note.allowed", language)]
    lines += ["", *_laid_out(_bridge_table(comparison, MAIN, language))]
    lines += [""]
    lines += [f"{check.code}  {check.sentence(language)}" for check in comparison.checks]
    if not comparison.is_publishable:
        lines += ["", say("comparison.badge.bad", language)]
    return "\n".join(lines)


def exact_form(comparison: Comparison, headline: str, language: Language, *, signed: bool = False) -> Form:
    """Return how the figures of a headline are written to the smallest unit in which the bridge adds up."""
    unit, step = HEADLINES[headline], comparison.shown_step(headline)
    currency = comparison.currency if unit == "money" else ""
    return Form(unit=unit, language=language, currency=currency, step=step, signed=signed)


def _part(key: str, language: Language, *blocks: Block) -> Part:
    return Part(key=key, heading=say(f"comparison.part.{key}", language), blocks=blocks)


def _named(run: RunFacts, language: Language) -> str:
    return say("comparison.named", language, extract=run.extract, run=run.run, seed=run.seed)


def _badge(comparison: Comparison, language: Language) -> Badge:
    if comparison.is_publishable:
        return Badge(sign="✓", text=say("comparison.badge.good", language), tone="good")
    return Badge(sign="✕", text=say("comparison.badge.bad", language), tone="bad")


def _answer(comparison: Comparison, language: Language) -> tuple[Text | Table, ...]:
    """Say the change in a sentence, and all headlines in a table."""
    lead = say(f"comparison.lead.{_direction(comparison)}", language, **_ends(comparison, language))
    largest = _largest(comparison)
    if largest is not None:
        amount = _rounded_form(comparison, language, signed=True)(largest["value"])
        most = say("comparison.lead.most", language, step=largest[language], value=amount)
        lead = f"{lead} {most}" if language == "en" else lead + most
    apart = [Text(text=said) for said in _apart(comparison, language)]
    return Text(text=lead, role="lead"), *apart, _headlines(comparison, language)


def _apart(comparison: Comparison, language: Language) -> Iterator[str]:
    """Say that the mean and the point path move in opposite directions, where both move by more than rounding."""
    moved = {name: comparison.end[name] - comparison.start[name] for name in (MAIN, POINT)}
    shape = _rounded_form(comparison, language, signed=True)
    if moved[MAIN] * moved[POINT] < 0 and min(abs(each) for each in moved.values()) >= shape.step / 2:
        names = {name: say(f"comparison.headline.{name}", language) for name in moved}
        yield say(
            "comparison.lead.apart",
            language,
            headline=names[MAIN],
            change=shape(moved[MAIN]),
            other=names[POINT],
            moved=shape(moved[POINT]),
        )


def _rounded_form(comparison: Comparison, language: Language, *, signed: bool = False) -> Form:
    """Return how sentences write the main figure: to the first digit of its largest Monte Carlo error."""
    rows = comparison.bridge(MAIN)
    ends = [rows["level"].iloc[0], rows["level"].iloc[-1]]
    noise, size = float(rows["error"].max()), max(abs(each) for each in ends)
    step = max(significant(noise, 1) if noise > 0 else significant(size, DIGITS), comparison.shown_step(MAIN))
    shape = form("money", language, like=ends, step=step, currency=comparison.currency, signed=signed)
    return replace(shape, keeps_sign=True)


def _changed(comparison: Comparison, headline: str, language: Language, change: float) -> str:
    """Write a change: money as money, of a share its percentage points."""
    text = exact_form(comparison, headline, language, signed=True)(change)
    is_share = HEADLINES[headline] == "share" and text.endswith("%")
    return say("comparison.points", language, n=text.removesuffix("%")) if is_share else text


def _direction(comparison: Comparison) -> str:
    rows = comparison.bridge(MAIN)
    change = rows["level"].iloc[-1] - rows["level"].iloc[0]
    return "same" if change == 0 else "up" if change > 0 else "down"


def _ends(comparison: Comparison, language: Language) -> dict[str, str]:
    rows = comparison.bridge(MAIN)
    start, end = rows["level"].iloc[0], rows["level"].iloc[-1]
    shape = _rounded_form(comparison, language)
    headline = say(f"comparison.headline.{MAIN}", language)
    return {"headline": headline, "start": shape(start), "end": shape(end), "change": shape(abs(end - start))}


def _largest(comparison: Comparison) -> pd.Series | None:
    rows = comparison.bridge(MAIN)
    steps = rows[~rows["kind"].isin(ENDS) & (rows["units"] != 0)]
    return None if steps.empty else steps.iloc[int(steps["units"].abs().to_numpy().argmax())]


def _headlines(comparison: Comparison, language: Language) -> Table:
    rows, over = [], []
    left = comparison.remainder
    for place, name in enumerate(HEADLINES):
        plain = exact_form(comparison, name, language)
        table = comparison.bridge(name)
        start, end = table["level"].iloc[0], table["level"].iloc[-1]
        is_over = not abs(left[name]) <= comparison.tolerance[name]
        over += [place] if is_over else []
        unexplained = _changed(comparison, name, language, left[name])
        said = Cell(unexplained, "bad") if is_over else unexplained
        missing = start if comparison.start[name] == comparison.start[name] else float("nan")
        rows.append(
            (
                say(f"comparison.headline.{name}", language),
                plain(missing),
                plain(end if comparison.end[name] == comparison.end[name] else float("nan")),
                _changed(comparison, name, language, end - start),
                said,
                _changed(comparison, name, language, comparison.tolerance[name]).removeprefix("+"),
            )
        )
    heads = ("first", "second", "change", "left", "allowed")
    return Table(
        caption=say("comparison.caption.headlines", language),
        columns=(
            Column(say("comparison.column.headline", language)),
            *(Column(say(f"comparison.column.{each}", language), "number") for each in heads),
        ),
        rows=tuple(rows),
        strong=frozenset(over),
        note=say("comparison.note.allowed", language),
    )


def _bridge(comparison: Comparison, language: Language, *, key: str = "fig-runs") -> tuple[Figure | Table | Text, ...]:
    rows = moving_rows(comparison)
    ends, largest = _ends(comparison, language), _largest(comparison)
    signed = _rounded_form(comparison, language, signed=True)
    if largest is None:
        caption = say("comparison.figure.still", language, headline=ends["headline"], end=ends["end"])
    else:
        caption = say(
            "comparison.figure.caption",
            language,
            **ends,
            n=len(rows) - len(ENDS),
            step=largest[language],
            value=signed(largest["value"]),
            left=signed(comparison.remainder[MAIN]),
        )
    figure = Figure(
        svg=inline_svg(
            lambda ax: bridge_of_runs(comparison, ax, language=language),
            key=key,
            title=say("comparison.figure.title", language),
            description=caption,
            size=(7.2, 0.5 + 0.40 * len(rows)),
        ),
        caption=caption,
        table=_drawn_table(comparison, language),
    )
    note = Text(text=say("comparison.note.bridge", language), role="note")
    return figure, _bridge_table(comparison, MAIN, language), note


def _drawn_table(comparison: Comparison, language: Language) -> Table:
    """List the bars of the figure."""
    rows = moving_rows(comparison)
    plain, signed = (exact_form(comparison, MAIN, language, signed=each) for each in (False, True))
    return Table(
        caption=say("comparison.figure.title", language),
        columns=(
            Column(say("comparison.column.step", language)),
            Column(say("comparison.column.amount", language), "number"),
        ),
        rows=tuple(
            (str(row[language]), (plain if row["kind"] in ENDS else signed)(row["value"])) for _, row in rows.iterrows()
        ),
        strong=frozenset({0, len(rows) - 1}),
    )


def _bridge_table(comparison: Comparison, headline: str, language: Language, *, folded: bool = False) -> Table:
    rows = comparison.bridge(headline)
    plain = exact_form(comparison, headline, language)
    noise = form(HEADLINES[headline], language, like=rows["error"], currency=comparison.currency)
    cells = []
    for _, row in rows.iterrows():
        is_end = row["kind"] in ENDS
        amount = plain(row["value"]) if is_end else _changed(comparison, headline, language, row["value"])
        bad = row["kind"] in ("remainder", "unexplained") and abs(row["value"]) > comparison.tolerance[headline]
        cells.append(
            (
                str(row[language]),
                str(row["was"]),
                str(row["now"]),
                Cell(amount, "bad") if bad else amount,
                plain(row["level"]),
                noise(row["error"]) if row["error"] else "",
            )
        )
    amount_word = "amount" if HEADLINES[headline] == "money" else "share"
    heads = (amount_word, "total", "error")
    headline_name = say(f"comparison.headline.{headline}", language)
    return Table(
        caption=say("comparison.caption.bridge", language, headline=headline_name),
        columns=(
            Column(say("comparison.column.step", language)),
            Column(say("comparison.column.was", language)),
            Column(say("comparison.column.now", language)),
            *(Column(say(f"comparison.column.{each}", language), "number") for each in heads),
        ),
        rows=tuple(cells),
        strong=frozenset({0, len(cells) - 1}),
        folded=folded,
    )


def _orders(comparison: Comparison, language: Language) -> tuple[Table | Text, ...]:
    rows = comparison.by_factor()
    if rows.empty:
        return (Text(text=say("comparison.note.no_orders", language)),)
    signed = exact_form(comparison, MAIN, language, signed=True)
    headline = say(f"comparison.headline.{MAIN}", language)
    table = Table(
        caption=say("comparison.caption.orders", language, headline=headline),
        columns=(
            Column(say("comparison.column.factor", language)),
            Column(say("comparison.column.fixed", language), "number"),
            Column(say("comparison.column.shapley", language), "number"),
        ),
        rows=tuple((str(row[language]), signed(row["fixed"]), signed(row["shapley"])) for _, row in rows.iterrows()),
        note=say("comparison.note.orders", language),
    )
    return (table,)


def _differences(comparison: Comparison, language: Language) -> Table | Text:
    if not comparison.differences:
        return Text(text=say("comparison.caption.none", language))
    return Table(
        caption=say("comparison.caption.differences", language),
        columns=(
            Column(say("comparison.column.what", language)),
            Column(say("comparison.column.was", language), "code"),
            Column(say("comparison.column.now", language), "code"),
        ),
        rows=tuple((each.label(language), each.was, each.now) for each in comparison.differences),
    )


def _checks(checks: Sequence[Check], language: Language) -> Table:
    return Table(
        caption=say("comparison.part.checks", language),
        columns=(
            Column(say("checks.code", language), "short"),
            Column(say("checks.verdict", language), "short"),
            Column(say("checks.finding", language)),
        ),
        rows=tuple(
            (
                check.code,
                Cell(say(f"verdict.{check.verdict}", language), TONES[check.verdict]),
                check.sentence(language),
            )
            for check in checks
        ),
    )


def _laid_out(table: Table) -> Iterator[str]:
    """Align a table's columns for a terminal, the numbers to the right."""
    rows = [[column.title for column in table.columns]]
    rows += [[each.text if isinstance(each, Cell) else each for each in row] for row in table.rows]
    widths = [max(_width(row[k]) for row in rows) for k in range(len(table.columns))]
    for row in rows:
        cells = []
        for text, column, width in zip(row, table.columns, widths, strict=True):
            blank = " " * (width - _width(text))
            cells.append(blank + text if column.align == "number" else text + blank)
        yield GAP.join(cells).rstrip()


def _width(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(sign) in "WF" else 1 for sign in text)
