"""How well the effects are known: what was found, on what design, which checks ran, and what each check did."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import pandas as pd

from rox.core.case import EVERYONE
from rox.core.check import Check, Verdict
from rox.core.effect import Effect
from rox.core.units import Dose
from rox.core.words import catalogue
from rox.reporting import estimates, figures, sentences
from rox.reporting.blocks import Block, Cell, Column, Figure, Heading, Part, Table, Text, Tone
from rox.reporting.estimates import dose_name, effect_name, group_name, joined
from rox.reporting.numbers import count, form, step_of
from rox.reporting.parts import uplift_doubts
from rox.reporting.request import Request
from rox.reporting.svg import inline_svg

VERDICTS: dict[Verdict, tuple[str, Tone]] = {
    Verdict.PASS: ("✓", "good"),
    Verdict.NOTE: ("○", "quiet"),
    Verdict.DEMOTE: ("▼", "warn"),
    Verdict.STOP: ("✕", "bad"),
}
POOLING = ("raw", "pooled")
NORMAL_90 = 1.6449


def evidence(request: Request) -> Part:
    """Tell what stands behind each priced effect, and what stands beside it without being priced."""
    blocks = [
        block for place, effect in enumerate(request.money.effects, 1) for block in _effect(request, effect, place)
    ]
    if request.rivals:
        blocks += [
            Heading(text=request.say("rivals.heading")),
            Text(text=request.say("rivals.text" if request.money.grade.is_causal else "rivals.text.correlation")),
            rivals(request),
        ]
    blocks += [Heading(text=request.say("checks.money")), checks_table(request, request.money.checks)]
    return Part(key="evidence", heading=request.say("part.evidence"), blocks=tuple(blocks))


def _effect(request: Request, effect: Effect, place: int) -> Iterator[Block]:
    language = request.language
    grade = request.say(f"grade.{effect.grade}.name", grade=effect.grade)
    yield Heading(text=request.say("evidence.effect", name=effect_name(effect.name, language), grade=grade))
    yield Text(text=sentences.finding(effect, language, request.outcome(effect.estimand.outcome)))
    yield _facts(request, effect)
    if effect.path is not None:
        yield _event_study(request, effect, place)
    if np.ptp(effect.draws, axis=1).any():
        yield _by_segment(request, effect, place)
    if POOLING[0] in effect.tables.get("pooling", pd.DataFrame()):
        yield _pooling(request, effect)
    if "honest" in effect.tables:
        yield uplift_doubts.honest(request, effect, place)
    if "priors" in effect.tables:
        yield uplift_doubts.priors(request, effect, place)
    if "word" in effect.tables.get("rivals", pd.DataFrame()):
        yield _other_ways(request, effect)
    if estimates.converts(effect):
        yield _units(request, effect)
    yield checks_table(request, effect.checks)


def _facts(request: Request, effect: Effect) -> Table:
    """Write out the estimand: whose money, of what, per what, over which months."""
    estimand, say, language = effect.estimand, request.say, request.language
    layer = effect.bias_layer
    factor = form("factor", language, like=(layer.mean,), step=0.01)
    leavers = "fact.leavers.yes" if estimand.includes_exit else "fact.leavers.no"
    sizes = (_size(request, name, n) for name, n in effect.counts.items())
    months = say("fact.months.value", months=estimand.horizon)
    if estimand.window is not None:
        months = say("fact.months.window", first=estimand.window[0], last=estimand.window[1])
    channels = (say(f"channel.{each}") for each in sentences.CHANNELS if each in estimand.channels)
    facts = (
        ("question", sentences.question_in_words(estimand.question, language)),
        ("population", estimand.population),
        ("treatment", estimand.treatment),
        ("outcome", f"{request.outcome(estimand.outcome)} · {say(f'contrast.{estimand.unit}')}"),
        ("dose", dose_name(estimand.dose, language)),
        ("months", months),
        ("leavers", say(leavers)),
        ("channels", joined(channels, language)),
        ("sizes", joined(sizes, language)),
        ("discount", say("fact.discount.value", mean=factor(layer.mean), sd=factor(layer.sd))),
    )
    return Table(
        caption=say("fact.caption"),
        columns=(Column(say("column.fact")), Column(say("column.said"))),
        rows=tuple((say(f"fact.{name}"), text) for name, text in facts if text),
        folded=True,
    )


def _size(request: Request, name: str, n: int) -> str:
    number, key = count(n, request.language, least=request.least), f"size.{name}"
    return request.say(key, n=number) if key in catalogue() else f"{name} {number}"


def _event_study(request: Request, effect: Effect, place: int) -> Figure:
    language = request.language
    rows = estimates.over_time(effect)
    shape = estimates.form_of(effect, language, rows)
    caption = request.say("figure.event.caption" if min(effect.path_months) < 0 else "figure.event.caption.no_leads")
    return Figure(
        svg=inline_svg(
            lambda ax: figures.event_study(effect, ax, language=language),
            key=f"fig-event-{place}",
            title=request.say("figure.event.title"),
            description=caption,
            size=(7.2, 2.9),
        ),
        caption=caption,
        table=Table(
            caption=request.say("figure.event.title"),
            columns=(
                Column(request.say("figure.since")),
                Column(request.say("column.estimate"), "number"),
                Column(request.say("column.range"), "number"),
            ),
            rows=tuple(
                (str(month), shape.number(row["middle"]), shape.between(row["low"], row["high"]))
                for month, row in rows.iterrows()
            ),
        ),
    )


def _by_segment(request: Request, effect: Effect, place: int) -> Figure:
    language = request.language
    rows = estimates.summary(effect)
    hidden = rows["customers"].notna() & (rows["customers"] < request.least)
    shown = rows[~hidden]
    shape = estimates.form_of(effect, language, shown)
    few = request.say("number.few", n=request.least)
    caption = request.say("figure.segments.caption", dose=dose_name(effect.estimand.dose, language))
    lines: list[tuple[str | Cell, ...]] = []
    for (group, row), is_hidden in zip(rows.iterrows(), hidden, strict=True):
        name = group_name(str(group), language)
        if is_hidden:
            lines.append((name, Cell(few, "quiet"), Cell(few, "quiet"), Cell(few, "quiet")))
            continue
        customers = "" if group == EVERYONE and hidden.any() else count(row["customers"], language)
        own = estimates.form_of(effect, language, pd.DataFrame([row])) if shape.unit == "money" else shape
        lines.append((name, customers, own.number(row["middle"]), own.span(row["low"], row["high"])))
    return Figure(
        svg=inline_svg(
            lambda ax: figures.by_group(effect, ax, language=language, rows=shown),
            key=f"fig-segments-{place}",
            title=request.say("figure.segments.title"),
            description=caption,
            size=(7.2, 0.62 + 0.34 * len(shown)),
        ),
        caption=caption,
        table=Table(
            caption=request.say("figure.segments.title"),
            columns=(
                Column(request.say("column.segment")),
                Column(request.say("column.customers"), "number"),
                Column(request.say("column.estimate"), "number"),
                Column(request.say("column.range"), "number"),
            ),
            rows=tuple(lines),
            strong=frozenset({len(lines) - 1}) if len(lines) > 1 else frozenset(),
            note=request.say("suppressed", n=request.least) if hidden.any() else "",
        ),
    )


def _pooling(request: Request, effect: Effect) -> Table:
    """Put each segment's own estimate beside the pooled one."""
    language, table = request.language, effect.tables["pooling"]
    names = [name for name in POOLING if name in table]
    values = table[names].to_numpy(dtype=float)
    unit, currency = estimates.unit_of(effect.estimand), effect.estimand.currency
    shape = form(unit, language, like=values.ravel(), currency=currency, signed=True)
    few = [group for group, n in effect.baseline["customers"].items() if n < request.least]
    return Table(
        caption=request.say("pooling.caption"),
        columns=(
            Column(request.say("column.segment")),
            *(Column(request.say(f"pooling.{name}"), "number") for name in names),
        ),
        rows=tuple(
            (group_name(str(group), language), *map(shape.number, row))
            for group, row in zip(table.index, values.tolist(), strict=True)
            if group not in few
        ),
        note=request.say("pooling.note"),
        folded=True,
    )


def _other_ways(request: Request, effect: Effect) -> Table:
    """Show what the same data say when they are read in other ways."""
    table = effect.tables["rivals"]
    half = NORMAL_90 * table["se"]
    rows = pd.DataFrame(
        {"middle": table["estimate"], "low": table["estimate"] - half, "high": table["estimate"] + half}
    )
    shape = estimates.form_of(effect, request.language, rows)
    return Table(
        caption=request.say("ways.caption"),
        columns=(
            Column(request.say("column.way")),
            Column(request.say("column.estimate"), "number"),
            Column(request.say("column.range"), "number"),
        ),
        rows=tuple(
            (request.say(str(word)), shape.number(row["middle"]), shape.span(row["low"], row["high"]))
            for word, (_, row) in zip(table["word"], rows.iterrows(), strict=True)
        ),
        note=request.say("ways.note"),
    )


def _units(request: Request, effect: Effect) -> Table:
    """Print an effect per score point and per NPS point side by side."""
    language = request.language
    assert effect.shift is not None
    rows = []
    for dose, draws in ((Dose.SCORE_POINT, effect.overall), (Dose.NPS_POINT, estimates.per_nps(effect))):
        low, high = np.quantile(draws, estimates.TAILS)
        shape = estimates.form_of(effect, language, pd.DataFrame([{"middle": draws.mean(), "low": low, "high": high}]))
        rows.append((dose_name(dose, language), shape.number(draws.mean()), shape.between(low, high)))
    low, high = np.quantile(effect.shift, estimates.TAILS)
    shift = form("number", language, like=(high,), step=step_of(low, high) or 0.1)
    return Table(
        caption=request.say("units.caption"),
        columns=(
            Column(request.say("column.dose")),
            Column(request.say("column.estimate"), "number"),
            Column(request.say("column.range"), "number"),
        ),
        rows=tuple(rows),
        note=request.say("units.note", shift=shift(float(effect.shift.mean())), range=shift.between(low, high)),
    )


def checks_table(request: Request, checks: Iterable[Check]) -> Table:
    """List checks: what became of each, its code, what it found, what follows."""
    rows = []
    order = list(Verdict)[::-1]
    for check in sorted(checks, key=lambda each: order.index(each.verdict)):
        sign, tone = VERDICTS[check.verdict]
        follows = request.say(f"follows.{check.verdict}")
        if check.verdict is Verdict.DEMOTE and check.to_grade:
            follows = request.say("follows.demote.to", grade=check.to_grade)
        verdict = Cell(f"{sign} {request.say(f'verdict.{check.verdict}')}", tone)
        rows.append((check.code, verdict, check.sentence(request.language), follows))
    return Table(
        caption=request.say("checks.caption"),
        columns=(
            Column(request.say("column.code"), "code"),
            Column(request.say("column.verdict"), "short"),
            Column(request.say("column.finding")),
            Column(request.say("column.follows")),
        ),
        rows=tuple(rows),
        note="" if rows else request.say("checks.none"),
    )


def _per(request: Request, effect: Effect, amount: str) -> str:
    """Say an amount per unit of its dose, and per NPS point beside it whenever that was measured."""
    say, language, dose = request.say, request.language, dose_name(effect.estimand.dose, request.language)
    if not estimates.converts(effect):
        return say("rivals.per", amount=amount, dose=dose)
    draws = estimates.per_nps(effect)
    low, high = np.quantile(draws, estimates.TAILS)
    shape = estimates.form_of(effect, language, pd.DataFrame([{"middle": draws.mean(), "low": low, "high": high}]))
    other = dose_name(Dose.NPS_POINT, language)
    return say("rivals.per_nps", amount=amount, dose=dose, nps=shape.number(draws.mean()), other=other)


def rivals(request: Request) -> Table:
    """Set the priced effects beside the estimates that answer other questions."""
    money, language, say = request.money, request.language, request.say
    rows = []
    for effect in (*money.effects, *request.rivals):
        is_priced = effect in money.effects
        row = estimates.summary(effect).iloc[-1]
        shape = estimates.form_of(effect, language, pd.DataFrame([row]))
        rows.append(
            (
                effect_name(effect.name, language),
                sentences.question_in_words(effect.estimand.question, language),
                _per(request, effect, shape.number(row["middle"])),
                shape.between(row["low"], row["high"]),
                str(effect.grade),
                Cell(f"✓ {say('rivals.priced')}", "good")
                if is_priced
                else Cell(f"– {sentences.unpriced(effect, money, language)}", "quiet"),
            )
        )
    return Table(
        caption=say("rivals.caption"),
        columns=(
            Column(say("column.effect")),
            Column(say("column.question")),
            Column(say("column.estimate")),
            Column(say("column.range"), "number"),
            Column(say("column.grade"), "short"),
            Column(say("column.priced")),
        ),
        rows=tuple(rows),
        strong=frozenset(range(len(money.effects))),
        note=say("rivals.note"),
    )
