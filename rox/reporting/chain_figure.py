"""The drawing of a chain: boxes in columns, arrows that wear their evidence."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape

from rox.core.chain import Arrow, Box, Reading
from rox.core.chain_outline import STAGES
from rox.core.words import say
from rox.reporting.chain_numbers import Tell
from rox.reporting.numbers import MISSING
from rox.reporting.svg import FACES, GAIN, INCH, INK, MUTED, RULE, TOTAL, width_of, wrapped

WIDTH, MARGIN = 1000.0, 6.0
BOX, HIGH, SPACE = 102.0, 60.0, 14.0
"""Width and height of a box, and the least distance to the next below."""
PILL, LINE = 92.0, 12.0
"""Width of what stands on an arrow between neighbours, and height of a line of it."""
LANE, HEAD = 26.0, 34.0
"""Height of a lane of arrows that pass over columns, and of the names of the columns."""
NEAR = 5.0
"""Distance of the words on an arrow from the box in whose row they stand."""
SMALLEST = 8.0
PAPER, WASH = "#ffffff", "#f5f7f8"
STYLE = (
    ".drawing svg.chain{min-width:52rem;max-width:68rem}"
    "@media print{.drawing svg.chain{min-width:0;max-width:100%}}@page{size:A4 landscape;margin:12mm}"
)


@dataclass(frozen=True, kw_only=True)
class _Look:
    """How an arrow is drawn."""

    colour: str
    width: float
    dash: str = ""
    is_double: bool = False


@dataclass(frozen=True, kw_only=True)
class _Place:
    """Where a box stands: column, and left, top edges."""

    column: int
    x: float
    y: float

    @property
    def middle(self) -> float:
        return self.y + HIGH / 2


@dataclass(frozen=True, kw_only=True)
class _Label:
    """Words on an arrow: its lines, and where they stand."""

    lines: tuple[str, ...]
    x: float
    y: float
    width: float

    @property
    def height(self) -> float:
        return LINE * len(self.lines) + 4


def chain_svg(tell: Tell) -> str:
    """Draw a chain as an ``<svg>`` element for a page; every text of a user is escaped.

    Neighbouring columns are joined directly, with size, 90% interval, time and grade on each arrow. Arrows that pass
    over a column run in lanes above the boxes, the longest outermost.

    Args:
        tell: The chain and its language.
    """
    chain = tell.chain
    columns = _columns(chain.boxes)
    step = (WIDTH - 2 * MARGIN - BOX) / max(len(columns) - 1, 1)
    at = {box.key: number for number, column in enumerate(columns) for box in column}
    far = [arrow for arrow in chain.arrows if at[arrow.target] - at[arrow.source] > 1]
    rows = {box.key: row for column in columns for row, box in enumerate(column)}
    above = _lanes(far, at, rows)
    top = HEAD + LANE * (1 + max(above.values(), default=-1)) + 10
    tall = max(len(column) for column in columns) * (HIGH + SPACE) - SPACE
    places = _places(columns, top, tall, step)
    deepest = max(above.values(), default=0)
    lanes = {ends: HEAD + LANE * (deepest - number + 0.6) for ends, number in above.items()}
    height = top + tall + 10
    near = [arrow for arrow in chain.arrows if at[arrow.target] - at[arrow.source] == 1]
    labels = _beside(tell, near, places, step) | _on_lanes(tell, far, places, lanes)
    drawn = [*_heads(tell, columns, step)]
    ports = _ports(chain.arrows, places, labels)
    for number, arrow in enumerate(chain.arrows):
        ends = (arrow.source, arrow.target)
        if ends in labels:
            drawn.append(_arrow(tell, arrow, ports[ends], labels[ends], lanes.get(ends), number))
    drawn += [_words(tell, arrow, labels[ends]) for arrow in chain.arrows if (ends := _ends(arrow)) in labels]
    drawn += [_box(tell, box, places[box.key]) for box in chain.boxes]
    counts = {"all": len(chain.arrows), "untested": len(chain.untested)}
    title, described = chain.title[tell.language], say("chain.described", tell.language, **counts)
    return (
        f'<svg class="chain" viewBox="0 0 {WIDTH:.0f} {height:.0f}" xmlns="http://www.w3.org/2000/svg" role="img" '
        f'aria-labelledby="fig-chain-title fig-chain-desc" font-family="{escape(FACES)}">'
        f'<title id="fig-chain-title">{escape(title)}</title><desc id="fig-chain-desc">{escape(described)}</desc>'
        f"<style>{STYLE}</style>{''.join(drawn)}</svg>"
    )


def _ends(arrow: Arrow) -> tuple[str, str]:
    return arrow.source, arrow.target


def _columns(boxes: Sequence[Box]) -> list[list[Box]]:
    """Sort boxes into columns; scores stand after what they are asked about. Initiatives come first in theirs."""
    found: list[list[Box]] = []
    for stage in STAGES:
        mine = [box for box in boxes if box.stage == stage]
        parts = [[box for box in mine if box.kind != "score"], [box for box in mine if box.kind == "score"]]
        found += [sorted(part, key=lambda box: box.kind != "initiative") for part in parts if part]
    return found


def _lanes(arrows: Sequence[Arrow], at: Mapping[str, int], rows: Mapping[str, int]) -> dict[tuple[str, str], int]:
    """Give arrows that pass over columns a lane each, counted from the boxes; those that do not meet share one.

    Short ones run inside, and of equal ones those from lower boxes, so that few cross.
    """
    taken: list[list[tuple[int, int]]] = []
    found = {}
    for arrow in sorted(arrows, key=lambda each: (at[each.target] - at[each.source], -rows[each.source])):
        first, last = at[arrow.source], at[arrow.target]
        inside = [n for n, spans in enumerate(taken) if any(last > a and first < b for a, b in spans)]
        number = max(inside, default=-1) + 1
        taken += [[]] if number == len(taken) else []
        taken[number].append((first, last))
        found[_ends(arrow)] = number
    return found


def _places(columns: Sequence[Sequence[Box]], top: float, tall: float, step: float) -> dict[str, _Place]:
    places = {}
    for number, column in enumerate(columns):
        room = tall - (len(column) * (HIGH + SPACE) - SPACE)
        space = SPACE + room / (len(column) + 1)
        for row, box in enumerate(column):
            y = top + room / (len(column) + 1) + row * (HIGH + space)
            places[box.key] = _Place(column=number, x=MARGIN + number * step, y=y)
    return places


def _beside(
    tell: Tell, arrows: Sequence[Arrow], places: Mapping[str, _Place], step: float
) -> dict[tuple[str, str], _Label]:
    """Place the words on arrows between neighbours: in the row of the less crowded end, none over another."""
    found: dict[tuple[str, str], _Label] = {}
    for column in sorted({places[arrow.source].column for arrow in arrows}):
        mine = [arrow for arrow in arrows if places[arrow.source].column == column]
        left = MARGIN + column * step + BOX
        by_target = len({arrow.target for arrow in mine}) > len({arrow.source for arrow in mine})
        x = left + step - BOX - PILL - NEAR - 7 if by_target else left + NEAR
        own = {_ends(arrow): places[arrow.target if by_target else arrow.source].middle for arrow in mine}
        mine.sort(key=lambda arrow: (own[_ends(arrow)], places[arrow.target].middle, places[arrow.source].middle))
        lines = {_ends(arrow): _lines(tell, arrow) for arrow in mine}
        floor = 0.0
        for place, arrow in enumerate(mine):
            row = own[_ends(arrow)]
            label = _Label(lines=lines[_ends(arrow)], x=x, y=row, width=PILL)
            if place == 0 or own[_ends(mine[place - 1])] != row:
                alike = [_ends(each) for each in mine if own[_ends(each)] == row]
                room = sum(LINE * len(lines[each]) + 7 for each in alike) - 3
                floor = max(floor, row - room / 2)
            y = floor + label.height / 2
            floor = y + label.height / 2 + 3
            found[_ends(arrow)] = _Label(lines=label.lines, x=x, y=y, width=PILL)
    return found


def _lines(tell: Tell, arrow: Arrow) -> tuple[str, ...]:
    told = arrow.shown
    if told is None:
        return (say("chain.short.untested", tell.language),)
    return tell.short(told), tell.bare_span(told), f"{tell.lag(told, 'short')} · {_graded(tell, told)}"


def _graded(tell: Tell, reading: Reading) -> str:
    if reading.grade is None:
        return say("chain.short.arithmetic", tell.language)
    return str(reading.grade)


def _on_lanes(
    tell: Tell, arrows: Sequence[Arrow], places: Mapping[str, _Place], lanes: Mapping[tuple[str, str], float]
) -> dict[tuple[str, str], _Label]:
    found = {}
    for arrow in arrows:
        first, last = places[arrow.source].x + BOX, places[arrow.target].x
        room = last - first - 30
        fitting = (line for line in _long(tell, arrow) if width_of(line, 10.5) * INCH + 12 <= room)
        line = next(fitting, _long(tell, arrow)[-1])
        width = min(width_of(line, 10.5) * INCH + 12, room)
        middle = (first + last) / 2
        found[_ends(arrow)] = _Label(lines=(line,), x=middle - width / 2, y=lanes[_ends(arrow)], width=width)
    return found


def _long(tell: Tell, arrow: Arrow) -> tuple[str, ...]:
    """Say an arrow in one line: with all its words, and shorter ones for where there is less room."""
    told = arrow.shown
    if told is None:
        return _lines(tell, arrow)
    grade = say("chain.short.grade", tell.language, grade=told.grade) if told.grade else _graded(tell, told)
    ends = (tell.lag(told, "short"), grade)
    whole, short = (
        say("number.with_range", tell.language, value=size, range=tell.bare_span(told))
        for size in (tell.size(told), tell.short(told))
    )
    return " · ".join((whole, tell.per(told), *ends)), " · ".join((whole, *ends)), " · ".join((short, *ends))


def _ports(
    arrows: Sequence[Arrow], places: Mapping[str, _Place], labels: Mapping[tuple[str, str], _Label]
) -> dict[tuple[str, str], tuple[tuple[float, float], tuple[float, float]]]:
    """Spread the arrows of a box along its edge, in the order of where they come from or go to."""
    ports: dict[tuple[str, str], list[tuple[float, float]]] = {_ends(arrow): [] for arrow in arrows}
    for end in (0, 1):
        for key in places:
            mine = sorted((each for each in ports if each[end] == key and each in labels), key=lambda e: labels[e].y)
            gap = min(10.0, (HIGH - 16) / max(len(mine), 1))
            for number, ends in enumerate(mine):
                y = places[key].middle + (number - (len(mine) - 1) / 2) * gap
                ports[ends].append((places[key].x + (BOX if end == 0 else 0.0), y))
    return {ends: (found[0], found[1]) for ends, found in ports.items() if len(found) == 2}


def _look(arrow: Arrow) -> _Look:
    told = arrow.shown
    if told is None:
        return _Look(colour="#8a949e", width=1.4, dash="6 4")
    if told.basis == "arithmetic":
        return _Look(colour=TOTAL, width=4.4, is_double=True)
    if told.basis == "gap":
        return _Look(colour=MUTED, width=1.8, dash="1.5 4")
    if told.grade is not None and told.grade.is_causal:
        return _Look(colour=GAIN, width=3.6)
    return _Look(colour=GAIN, width=2.2) if str(told.grade) == "C" else _Look(colour=TOTAL, width=1.3)


def _arrow(
    tell: Tell,
    arrow: Arrow,
    ports: tuple[tuple[float, float], tuple[float, float]],
    label: _Label,
    lane: float | None,
    number: int,
) -> str:
    (x0, y0), (x1, y1) = ports
    look = _look(arrow)
    tip, size = x1 - 7, 4.0 if look.width < 3 else 5.0
    if lane is None:
        a, b = label.x, label.x + label.width
        path = (
            f"M{x0:.1f} {y0:.1f}C{(x0 + a) / 2:.1f} {y0:.1f} {(x0 + a) / 2:.1f} {label.y:.1f} {a:.1f} {label.y:.1f}"
            f"H{b:.1f}C{(b + tip) / 2:.1f} {label.y:.1f} {(b + tip) / 2:.1f} {y1:.1f} {tip:.1f} {y1:.1f}"
        )
    else:
        out, back = x0 + 4 + number % 3 * 2, tip - 4 - number % 3 * 2
        path = (
            f"M{x0:.1f} {y0:.1f}C{out + 4:.1f} {y0:.1f} {out:.1f} {lane:.1f} {out + 22:.1f} {lane:.1f}"
            f"H{back - 22:.1f}C{back:.1f} {lane:.1f} {back - 4:.1f} {y1:.1f} {tip:.1f} {y1:.1f}"
        )
    dash = f' stroke-dasharray="{look.dash}"' if look.dash else ""
    drawn = f'<path d="{path}" fill="none" stroke="{look.colour}" stroke-width="{look.width}"{dash}/>'
    if look.is_double:
        drawn += f'<path d="{path}" fill="none" stroke="{PAPER}" stroke-width="{look.width - 2.4:.1f}"/>'
    head = f"M{x1:.1f} {y1:.1f}L{tip - 1:.1f} {y1 - size:.1f}V{y1 + size:.1f}Z"
    return f'<g>{_said(tell, arrow)}{drawn}<path d="{head}" fill="{look.colour}"/></g>'


def _said(tell: Tell, arrow: Arrow) -> str:
    """Say the whole arrow where a reader points at it."""
    told = arrow.shown
    found = say(f"chain.need.{arrow.need}", tell.language, what=arrow.what) if told is None else tell.found(told)
    return f"<title>{escape(f'{tell.ends(arrow)}: {found}')}</title>"


def _words(tell: Tell, arrow: Arrow, label: _Label) -> str:
    look = _look(arrow)
    edge = RULE if arrow.shown is None else look.colour
    top = label.y - label.height / 2
    rect = (
        f'<rect x="{label.x:.1f}" y="{top:.1f}" width="{label.width:.1f}" height="{label.height:.1f}" rx="4" '
        f'fill="{PAPER}" stroke="{edge}" stroke-width="0.8"/>'
    )
    alone = len(label.lines) == 1
    texts = [
        _text(
            line,
            label.x + label.width / 2,
            top + LINE * (row + 1) - 1,
            size=10.5 if alone else 11.0 if row == 0 else 9.5,
            width=label.width - 6,
            colour=MUTED if arrow.shown is None else INK,
            bold=not alone and row == 0,
        )
        for row, line in enumerate(label.lines)
    ]
    return f"<g>{_said(tell, arrow)}{rect}{''.join(texts)}</g>"


def _box(tell: Tell, box: Box, place: _Place) -> str:
    colour = GAIN if box.kind == "initiative" else TOTAL
    lines = wrapped(box.label[tell.language], 18 if tell.language == "en" else 22, 3).split("\n")
    level = tell.level(box)
    shown = [*((line, 11.0, INK) for line in lines), *([] if level == MISSING else [(level, 9.5, MUTED)])]
    top = place.middle - 13.0 * len(shown) / 2
    texts = [
        _text(text, place.x + BOX / 2, top + 13.0 * row + 10, size=size, width=BOX - 8, colour=ink, bold=False)
        for row, (text, size, ink) in enumerate(shown)
    ]
    said = f"{box.label[tell.language]}: {tell.level_ranged(box)}"
    return (
        f"<g><title>{escape(said)}</title>"
        f'<rect x="{place.x:.1f}" y="{place.y:.1f}" width="{BOX:.1f}" height="{HIGH:.1f}" rx="6" fill="{WASH}" '
        f'stroke="{colour}" stroke-width="1.2"/>{"".join(texts)}</g>'
    )


def _heads(tell: Tell, columns: Sequence[Sequence[Box]], step: float) -> Iterator[str]:
    """Name the links of the chain above their columns; a link of two columns is named once over both."""
    for stage in STAGES:
        mine = [number for number, column in enumerate(columns) if column[0].stage == stage]
        if not mine:
            continue
        left, right = MARGIN + mine[0] * step, MARGIN + mine[-1] * step + BOX
        text = say(f"chain.stage.{stage}", tell.language)
        yield _text(text, (left + right) / 2, 16, size=13, width=max(right - left, BOX + 40), colour=INK, bold=True)
        yield f'<path d="M{left:.1f} 24H{right:.1f}" stroke="{INK}" stroke-width="1.2"/>'


def _text(text: str, x: float, y: float, *, size: float, width: float, colour: str, bold: bool) -> str:
    """Write a line in the middle of a place, smaller or cut where it is too long for it."""
    wide = width_of(text, size) * INCH * (1.06 if bold else 1.0)
    if wide > width:
        least = size * width / wide
        size = max(SMALLEST, least)
        most = int(len(text) * least / size + 1e-9)
        text = text if most >= len(text) else f"{text[: max(most - 1, 0)]}…"
    weight = ' font-weight="600"' if bold else ""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="middle" font-size="{size:.1f}" fill="{colour}"{weight}>'
        f"{escape(text)}</text>"
    )
