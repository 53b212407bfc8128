"""Our totals beside those of the company's books."""

from __future__ import annotations

import math

from rox.reporting.blocks import Block, Cell, Column, Part, Points, Table, Text, Tone
from rox.reporting.numbers import MISSING, day, form, written
from rox.reporting.reconciliation import Comparison, Status, comparisons
from rox.reporting.request import Request

SIGNS: dict[Status, tuple[str, Tone]] = {
    "agrees": ("✓", "good"),
    "explained": ("!", "warn"),
    "differs": ("✕", "bad"),
    "absent": (MISSING, "quiet"),
}


def reconciliation(request: Request) -> Part:
    """Compare each figure the case names with the books: ours, theirs, difference, tolerance, status."""
    say, found = request.say, comparisons(request.money)
    blocks: list[Block] = [Text(text=say("reconcile.text" if found else "reconcile.none"))]
    if found:
        blocks.append(_table(request, found))
        explained = [each for each in found if each.asked.explanation[request.language]]
        if explained:
            points = tuple(f"{_label(request, each)}: {each.asked.explanation[request.language]}" for each in explained)
            blocks.append(Points(points=points))
    return Part(key="reconciliation", heading=say("part.reconciliation"), blocks=tuple(blocks))


def _table(request: Request, found: tuple[Comparison, ...]) -> Table:
    say = request.say
    titles = ("figure", "ours", "theirs", "difference", "tolerance")
    return Table(
        caption=say("reconcile.caption"),
        columns=(
            *(Column(say(f"reconcile.{title}"), "number" if place else "text") for place, title in enumerate(titles)),
            Column(say("reconcile.status"), "short"),
        ),
        rows=tuple(_row(request, each) for each in found),
        note=say("reconcile.note"),
    )


def _row(request: Request, each: Comparison) -> tuple[str | Cell, ...]:
    language, asked = request.language, each.asked
    shape = form(each.unit, language, currency=request.currency)
    share = form("share", language, like=(1.0,), step=0.001, signed=True)
    known = each.status != "absent"
    gap = f"{shape(each.difference)} · {share(each.share)}" if known and not math.isnan(each.share) else MISSING
    sign, tone = SIGNS[each.status]
    return (
        f"{_label(request, each)}\n{asked.owner} · {asked.source} · {day(asked.date, language)}",
        shape(each.ours) if known else MISSING,
        shape(asked.amount),
        gap,
        f"±{written('share', language)(asked.tolerance)}",
        Cell(f"{sign} {request.say(f'reconcile.{each.status}')}", tone),
    )


def _label(request: Request, each: Comparison) -> str:
    book = request.say(f"reconcile.book.{each.asked.book}")
    return request.say("reconcile.label", label=each.asked.label[request.language], book=book)
