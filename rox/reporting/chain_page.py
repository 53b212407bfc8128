"""A measured chain for readers: one page with the drawing and every arrow in words, and text for a terminal."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

from rox.core.chain import Arrow, Chain, Product, Reading
from rox.core.check import Check, Verdict, check_table
from rox.core.words import Language, say
from rox.reporting import estimates
from rox.reporting.blocks import Block, Cell, Column, Figure, Part, Points, Table, Text, Tone
from rox.reporting.chain_figure import chain_svg
from rox.reporting.chain_numbers import Tell
from rox.reporting.html import UNSEEN
from rox.reporting.numbers import form, significant, step_of, written
from rox.reporting.panels import Drawing
from rox.reporting.plain_page import plain_page
from rox.reporting.plain_text import plain_text

HOW = ("arrow", "before", "best", "product", "rollout", "hidden")
TONES: dict[str, Tone] = {"agree": "good", "apart": "bad", "open": "warn", "time": "warn", "alone": "quiet"}


def chain_page(chain: Chain, language: Language = "en", *, least: int = 1, study: str = "") -> str:
    """Render a chain as one self-contained page; the same chain gives the same bytes.

    Signs that only steer the display are left out of what users wrote.

    Args:
        chain: The measured chain.
        language: Of the page.
        least: Customers a group must have to be shown.
        study: Title of the study.
    """
    parts = chain_parts(chain, language, least=least)
    title, kind = chain.title[language], say("chain.kind", language)
    return plain_page(title, language, parts, kind=kind, subtitle=study).translate(UNSEEN)


def drawing(chain: Chain, language: Language = "en", *, least: int = 1) -> Drawing:
    """Return the drawing alone, for a notebook.

    Args:
        chain: The chain.
        language: Of the words.
        least: Customers a group must have to be shown.
    """
    return Drawing(chain_svg(Tell(chain=chain, language=language, least=least)))


def chain_text(chain: Chain, language: Language = "en", *, least: int = 1) -> str:
    """Write a chain for a terminal."""
    parts = [_without_drawings(part) for part in chain_parts(chain, language, least=least)]
    return plain_text(chain.title[language], parts).translate(UNSEEN)


def chain_json(chain: Chain) -> str:
    """Write a chain as JSON."""
    return json.dumps(chain.as_record(), ensure_ascii=False, allow_nan=False, indent=1)


def chain_parts(chain: Chain, language: Language = "en", *, least: int = 1) -> tuple[Part, ...]:
    """Lay a chain out: drawing, paths to money, every arrow, what is untested, other readings, checks, how to read."""
    tell = Tell(chain=chain, language=language, least=least)
    bodies: dict[str, tuple[Block, ...]] = {
        "chain": _drawing(tell),
        "paths": _paths(tell),
        "arrows": _arrows(tell),
        "untested": _untested(tell),
        "others": _others(tell),
        "checks": _checks(tell),
        "how": (Points(points=tuple(say(f"chain.reading.{each}", language, least=least) for each in HOW)),),
    }
    return tuple(
        Part(key=key, heading=say(f"chain.part.{key}", language), blocks=blocks)
        for key, blocks in bodies.items()
        if blocks
    )


def _without_drawings(part: Part) -> Part:
    blocks = tuple(replace(block.table, folded=False) if isinstance(block, Figure) else block for block in part.blocks)
    return replace(part, blocks=blocks)


def _drawing(tell: Tell) -> tuple[Block, ...]:
    chain, language = tell.chain, tell.language
    causal = [
        arrow
        for arrow in chain.arrows
        if arrow.shown and arrow.shown.grade is not None and arrow.shown.grade.is_causal and not arrow.shown.is_open
    ]
    counts = {"all": len(chain.arrows), "untested": len(chain.untested), "causal": len(causal)}
    counts["tested"] = counts["all"] - counts["untested"]
    rows = tuple(
        (box.label[language], say(f"chain.stage.{box.stage}", language), tell.level_ranged(box)) for box in chain.boxes
    )
    table = Table(
        caption=say("chain.boxes.caption", language), columns=_columns(tell, "box", "stage", "level"), rows=rows
    )
    lead = f"{say('chain.lead', language, **counts)}{' ' if language == 'en' else ''}{_warning(tell)}"
    figure = Figure(svg=chain_svg(tell), caption=say("chain.caption", language), table=table)
    return Text(text=lead, role="lead"), figure


def _warning(tell: Tell) -> str:
    return say("chain.not_an_effect", tell.language)


def _paths(tell: Tell) -> tuple[Block, ...]:
    chain, language = tell.chain, tell.language
    if not chain.products:
        return (Text(text=say("chain.paths.none", language)),)
    said = [Text(text=_warning(tell), role="lead"), Text(text=say("chain.paths.grade", language))]
    if chain.bounded_by:
        room = form("number", language, like=(chain.headroom,), step=significant(chain.headroom, 2))
        source = say(f"chain.room.{chain.bounded_by}", language)
        said.append(Text(text=say("chain.paths.room", language, room=room(chain.headroom), source=source)))
    table = Table(
        caption=say("chain.paths.caption", language),
        columns=_columns(tell, "path", "move", "product", "range", "grade", "direct", "agree"),
        rows=tuple(_path(tell, product) for product in chain.products),
    )
    return (*said, table)


def _path(tell: Tell, product: Product) -> tuple[str | Cell, ...]:
    language = tell.language
    shape = tell.money((product.value, product.low, product.high), product.currency)
    through = estimates.effect_name(product.through, language)
    moved = written("number", language).number(product.move)
    moved = moved if product.move < 0 else f"+{moved}"
    size = shape.number(product.value)
    after = say(
        "chain.product.kept" if product.is_kept else "chain.product.after",
        language,
        size=size,
        months=product.months,
        through=through,
    )
    return (
        " → ".join(tell.name(key) for key in product.path),
        say(f"chain.move.{product.per}", language, n=moved, months=tell.chain.months),
        after,
        shape.span(product.low, product.high),
        str(product.grade),
        _direct(tell, product.direct),
        Cell(_agreement(tell, product), TONES[product.agreement]),
    )


def _direct(tell: Tell, direct: Reading | None) -> str:
    if direct is None:
        return say("chain.direct.none", tell.language)
    size = say("number.with_range", tell.language, value=tell.size(direct), range=tell.span(direct))
    return say("chain.direct.told", tell.language, size=size, lag=tell.lag(direct), grade=tell.grade(direct))


def _agreement(tell: Tell, product: Product) -> str:
    if product.agreement == "time" and product.direct is not None:
        mine, theirs = ("–".join(map(str, dict.fromkeys(lag))) for lag in (product.through_lag, product.direct.lag))
        return say("chain.agree.time", tell.language, mine=mine, theirs=theirs)
    if product.ratio is None:
        return say(f"chain.agree.{product.agreement}", tell.language)
    middle, low, high = product.ratio
    shape = form("number", tell.language, like=(middle, low, high), step=step_of(low, high))
    span = shape.span(low, high)
    return say(f"chain.agree.{product.agreement}", tell.language, ratio=shape.number(middle), range=span)


def _arrows(tell: Tell) -> tuple[Block, ...]:
    rows = [_row(tell, arrow, arrow.shown) for arrow in tell.chain.arrows if arrow.shown is not None]
    return _readings(tell, "arrows", rows)


def _others(tell: Tell) -> tuple[Block, ...]:
    return _readings(tell, "others", [_row(tell, arrow, each) for arrow in tell.chain.arrows for each in arrow.others])


def _readings(tell: Tell, key: str, rows: Sequence[tuple[str, ...]]) -> tuple[Block, ...]:
    if not rows:
        return ()
    columns = _columns(tell, "from", "to", "found", "range", "lag", "grade", "design", "checks")
    note = " ".join(tell.together()) if key == "arrows" else ""
    return (Table(caption=say(f"chain.{key}.caption", tell.language), columns=columns, rows=tuple(rows), note=note),)


def _row(tell: Tell, arrow: Arrow, reading: Reading) -> tuple[str, ...]:
    return (
        tell.name(arrow.source),
        tell.name(arrow.target),
        say("chain.found.per", tell.language, found=tell.found(reading), per=tell.per(reading)),
        tell.span(reading),
        tell.lag(reading),
        tell.grade(reading),
        tell.design(reading),
        tell.checks(reading),
    )


def _untested(tell: Tell) -> tuple[Block, ...]:
    language = tell.language
    rows = tuple(
        (
            tell.name(arrow.source),
            tell.name(arrow.target),
            say(f"chain.need.{arrow.need}", language, what=arrow.what),
            say(f"chain.how.{arrow.need}", language, what=arrow.what),
        )
        for arrow in tell.chain.untested
    )
    if not rows:
        return ()
    columns = _columns(tell, "from", "to", "missing", "how")
    return (Table(caption=say("chain.untested.caption", language), columns=columns, rows=rows),)


def _checks(tell: Tell) -> tuple[Block, ...]:
    rows = [row for name, checks in _checked(tell) for row in _told(tell, name, checks)]
    if not rows:
        return ()
    heads = check_table(tell.chain.checks, tell.language).columns
    columns = (Column(say("chain.head.arrow", tell.language)), *(Column(str(head)) for head in heads))
    return (
        Points(points=tuple(check.sentence(tell.language) for check in tell.chain.checks)),
        Table(caption=say("chain.checks.caption", tell.language), columns=columns, rows=tuple(rows), folded=True),
    )


def _checked(tell: Tell) -> list[tuple[str, Sequence[Check]]]:
    """List the checks by what they are about; those that many arrows share stand once, with all their names."""
    groups: dict[tuple[str, ...], tuple[list[str], Sequence[Check]]] = {}
    named: list[tuple[str, Sequence[Check]]] = [
        (tell.ends(arrow), arrow.shown.checks) for arrow in tell.chain.arrows if arrow.shown is not None
    ]
    named += [(" → ".join(map(tell.name, each.path)), each.checks) for each in tell.chain.products]
    for name, checks in named:
        key = tuple(check.sentence(tell.language) for check in checks)
        groups.setdefault(key, ([], checks))[0].append(name)
    return [(estimates.joined(names, tell.language), checks) for names, checks in groups.values()]


def _told(tell: Tell, name: str, checks: Sequence[Check]) -> list[tuple[str, ...]]:
    """Say what did not pass first; the name stands on every row, since rows are read alone."""
    ordered = sorted(checks, key=lambda check: check.verdict is Verdict.PASS)
    table = check_table(ordered, tell.language)
    return [(name, *map(str, row)) for row in table.to_numpy()]


def _columns(tell: Tell, *heads: str) -> tuple[Column, ...]:
    return tuple(Column(say(f"chain.head.{head}", tell.language)) for head in heads)
