"""From an export's layout, its map and its contents to a plan: which column becomes what, and which rows stay."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import reduce
from operator import or_
from types import MappingProxyType
from typing import Any, Literal

import ibis
import ibis.expr.types as ir

from rox.core.study import OPTIONAL_ROLES, REQUIRED_ROLES
from rox.linking.columns import ROLE_KINDS, Column
from rox.linking.engine import Engine
from rox.linking.expressions import how_many
from rox.linking.imports.layout import Layout, LeftOut, Use, is_known
from rox.linking.imports.maps import ImportMap
from rox.linking.pseudonyms import personal_kind
from rox.linking.spellings import cleaned, folded

Subject = Literal[
    "survey",
    "feedback",
    "behaviour",
    "operations",
    "customers",
    "ledger",
    "exits",
    "tickets",
    "invitations",
    "contacts",
]

TABLE_OF: Mapping[str, str] = MappingProxyType(
    {
        "survey": "answers",
        "feedback": "feedback",
        "behaviour": "events",
        "operations": "events",
        "customers": "customers",
        "ledger": "ledger",
        "exits": "exits",
        "tickets": "tickets",
        "invitations": "invitations",
        "contacts": "contacts",
    }
)
"""Which table of a study an export belongs to."""

WRITTEN = ("role", "score", "driver", "outcome", "control")
ANONYMOUS = ("answers", "feedback")
"""Tables in which a row may have no customer; it is left out and counted."""
SAMPLE = 20_000
TOP_OF_SCALES = (5, 7, 10)
LONG_TEXT, MOSTLY_DISTINCT = 20, 0.5


@dataclass(frozen=True, kw_only=True)
class Line:
    """A column of the export, what it is used for, and how it is read if it is written.

    Attributes:
        source: Its name in the file.
        use: What it is used for.
        column: How it is read; None if it is not written.
    """

    source: str
    use: Use
    column: Column | None = None


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What an import does.

    Attributes:
        table: The study's table.
        layout: Of the export.
        lines: One for each column.
        left_out: Rows that are not used.
        missing: Values that stand for no answer in every question.
        currency: Of the money.
        faults: Why it cannot be done.
    """

    table: str
    layout: Layout
    lines: tuple[Line, ...]
    left_out: tuple[LeftOut, ...]
    missing: tuple[str, ...]
    currency: str | None
    faults: tuple[str, ...]

    @property
    def columns(self) -> tuple[Column, ...]:
        """The columns that are written."""
        return tuple(line.column for line in self.lines if line.column is not None)

    def use(self, name: str) -> Use:
        """Return what a written column is used for."""
        return next(line.use for line in self.lines if line.column is not None and line.column.name == name)


def plan_of(engine: Engine, raw: ir.Table, layout: Layout, wanted: ImportMap, subject: Subject) -> Plan:
    """Decide what becomes of every column."""
    table = TABLE_OF[subject]
    uses = _distinct({name: _fitting(layout.uses.get(name, Use(part="ignored")), table) for name in layout.names})
    faults = [*_map_faults(wanted, layout, table), *_doubtful(uses, wanted, table)]
    marked = tuple(
        LeftOut(column=column, values=tuple(value.lower() for value in values), why="imports.out.map")
        for column, values in wanted.leave_out.items()
        if column in layout.names
    )
    left_out = (*layout.left_out, *marked)
    uses = _looked_at(engine, _unmarked(raw, left_out), _mapped(uses, wanted), {*layout.missing, *wanted.missing})
    faults += _needed(uses, table)
    lines = tuple(
        Line(source=name, use=use, column=_column(name, use, layout, wanted, table)) for name, use in uses.items()
    )
    return Plan(
        table=table,
        layout=layout,
        lines=lines,
        left_out=left_out,
        missing=(*layout.missing, *wanted.missing),
        currency=wanted.currency,
        faults=tuple(faults),
    )


def _fitting(use: Use, table: str) -> Use:
    """Keep of what the layout tells what this table has a place for."""
    roles = REQUIRED_ROLES[table] + OPTIONAL_ROLES[table]
    if use.part == "role" and use.name not in roles:
        return Use(part="ignored", why="imports.why.no_place")
    if use.part in ("score", "question") and table != "answers":
        return Use(part="ignored", why="imports.why.no_place")
    return use


def _distinct(uses: dict[str, Use]) -> dict[str, Use]:
    """Give several scores of one kind names of their own."""
    taken: set[str] = set()
    for source, use in uses.items():
        if use.part == "score":
            uses[source] = replace(use, name=_free(use.name, taken))
            taken.add(uses[source].name)
    return uses


def _map_faults(wanted: ImportMap, layout: Layout, table: str) -> Iterator[str]:
    roles = REQUIRED_ROLES[table] + OPTIONAL_ROLES[table]
    for place, column in _mentioned(wanted):
        if column not in layout.names:
            shown = ", ".join(map(repr, layout.names[:40]))
            yield f"map · {place} · there is no column {column!r}; found: {shown}"
    for role in wanted.columns:
        if role not in roles:
            yield f"map · columns.{role} · unknown role; the roles of {table} are {', '.join(roles)}"
    for part, tables in (("scores", ("answers",)), ("drivers", ("answers",)), ("controls", ("customers",))):
        if getattr(wanted, part) and table not in tables:
            yield f"map · {part} · a table of {table} has none; they belong to {tables[0]}"
    if wanted.outcomes and table != "ledger":
        yield f"map · outcomes · a table of {table} has none; they belong to the ledger"
    if any(each.kind != "count" for each in wanted.outcomes.values()) and wanted.currency is None:
        yield 'map · currency · missing; say the currency of the amounts, such as currency = "CNY"'
    for name, scale in {**wanted.scores, **wanted.drivers}.items():
        if (scale.low is None) != (scale.high is None):
            yield f"map · {name} · a scale needs both low and high"
    named = [name for part in ("scores", "drivers", "outcomes", "controls") for name in getattr(wanted, part)]
    for name in sorted({name for name in named if named.count(name) > 1} | (set(named) & {*roles, "month"})):
        yield f"map · {name} · the name is used twice, or is that of a role"


def _mentioned(wanted: ImportMap) -> Iterator[tuple[str, str]]:
    yield from ((f"columns.{role}", column) for role, column in wanted.columns.items())
    yield from ((f"controls.{name}", column) for name, column in wanted.controls.items())
    for part in ("scores", "drivers", "outcomes"):
        yield from ((f"{part}.{name}", each.column) for name, each in getattr(wanted, part).items())
    yield from (("ignore", column) for column in wanted.ignore)
    yield from (("leave_out", column) for column in wanted.leave_out)


def _doubtful(uses: dict[str, Use], wanted: ImportMap, table: str) -> list[str]:
    """Take back a role that two columns may play, and ask which if the table needs it."""
    faults = []
    roles = [use.name for use in uses.values() if use.part == "role"]
    for role in dict.fromkeys(roles):
        sources = [name for name, use in uses.items() if use.part == "role" and use.name == role]
        if len(sources) > 1:
            for name in sources:
                uses[name] = Use(part="ignored", why="imports.why.ambiguous")
            if role in REQUIRED_ROLES[table] and role not in wanted.columns:
                shown = " or ".join(map(repr, sources))
                faults.append(f"{role} · {shown}? say which in a map: [columns] {role} = …")
    return faults


def _mapped(uses: Mapping[str, Use], wanted: ImportMap) -> dict[str, Use]:
    """Let the map overrule the layout."""
    said: dict[str, Use] = {column: Use(part="ignored", why="imports.why.map") for column in wanted.ignore}
    said |= {source: Use(part="role", name=role, why="imports.why.map") for role, source in wanted.columns.items()}
    said |= {source: Use(part="control", name=name, why="imports.why.map") for name, source in wanted.controls.items()}
    for part, scales in (("score", wanted.scores), ("driver", wanted.drivers)):
        for name, scale in scales.items():
            low, high = (0, 10) if scale.kind == "nps" and scale.low is None else (scale.low, scale.high)
            said[scale.column] = Use(
                part="score" if part == "score" else "driver",
                name=name,
                why="imports.why.map",
                low=low,
                high=high,
                kind=scale.kind,
                label=scale.label or uses.get(scale.column, Use(part="ignored")).label or scale.column,
                missing=scale.missing,
            )
    for name, outcome in wanted.outcomes.items():
        said[outcome.column] = Use(
            part="outcome", name=name, kind=outcome.kind, label=outcome.label or name, why="imports.why.map"
        )
    taken = {use.name for use in said.values() if use.name}
    kept = {
        name: Use(part="ignored", why="imports.why.overruled") if use.name in taken else use
        for name, use in uses.items()
    }
    return {name: said.get(name, use) for name, use in kept.items()}


def _looked_at(engine: Engine, raw: ir.Table, uses: Mapping[str, Use], missing: set[str]) -> dict[str, Use]:
    """Decide by their values about questions, scales without ends, and columns of which nothing is known."""
    found = dict(uses)
    asked = [
        name
        for name, use in uses.items()
        if use.part == "question" or (use.part in ("score", "driver") and use.low is None)
    ]
    facts = _scale_facts(engine, raw, {name: {*missing, *uses[name].missing} for name in asked})
    taken = {use.name for use in uses.values() if use.name}
    for place, (name, use) in enumerate(uses.items(), start=1):
        if name in facts:
            found[name] = _question(use, facts[name], taken, place, name)
            taken.add(found[name].name)
        if found[name].part == "ignored" and found[name].why in ("imports.why.unused", "imports.why.text"):
            found[name] = _personal(engine, raw, name, found[name])
    return found


def _scale_facts(
    engine: Engine, raw: ir.Table, asked: Mapping[str, set[str]]
) -> dict[str, tuple[int, int, int | None, int | None]]:
    """Count for each column the values and the whole numbers from 0 to 99, and find the least and greatest of these."""
    if not asked:
        return {}
    sums: dict[str, Any] = {}
    for i, (name, codes) in enumerate(asked.items()):
        text = folded(without(raw[name], codes))
        whole = text.re_search(r"^\d{1,2}$").ifelse(text.try_cast("int64"), ibis.null("int64"))
        sums |= {f"n{i}": how_many(text.notnull()), f"w{i}": how_many(whole.notnull())}
        sums |= {f"l{i}": whole.min(), f"h{i}": whole.max()}
    row = engine.fetch(raw.aggregate(**sums)).iloc[0]
    facts = {}
    for i, name in enumerate(asked):
        some = int(row[f"w{i}"]) > 0
        low, high = (int(row[f"l{i}"]), int(row[f"h{i}"])) if some else (None, None)
        facts[name] = (int(row[f"n{i}"]), int(row[f"w{i}"]), low, high)
    return facts


def _question(
    use: Use, facts: tuple[int, int, int | None, int | None], taken: set[str], place: int, source: str
) -> Use:
    """Say what a question is: a recommendation from 0 to 10, something rated, or neither."""
    count, whole, low, high = facts
    if use.part != "question":
        top = next((top for top in TOP_OF_SCALES if high is not None and high <= top), 10)
        return replace(use, low=min(1, low or 0), high=top)
    if count == 0:
        return Use(part="ignored", why="imports.why.empty")
    if whole < count or low is None or high is None or high > max(TOP_OF_SCALES):
        return Use(part="ignored", why="imports.why.text")
    if is_known("recommend", use.label):
        return replace(
            use, part="score", name=_free("nps", taken), low=0, high=10, kind="nps", why="imports.why.recommend"
        )
    if high < min(TOP_OF_SCALES) - 1:
        return Use(part="ignored", why="imports.why.choice")
    top = next(top for top in TOP_OF_SCALES if high <= top)
    plain = re.fullmatch(r"[A-Za-z][A-Za-z0-9_]{0,15}", source)
    number = re.match(r"^\s*(\d+)", source)
    name = source.lower() if plain else f"q{number[1] if number else place}"
    return replace(use, part="driver", name=_free(name, taken), low=min(1, low), high=top, why="imports.why.rating")


def _free(name: str, taken: set[str]) -> str:
    again = 2
    free = name
    while free in taken:
        free, again = f"{name}_{again}", again + 1
    return free


def _personal(engine: Engine, raw: ir.Table, name: str, use: Use) -> Use:
    """Look into a column that is not used: what identifies people, or was written by them, is listed as such."""
    some = raw.limit(SAMPLE).select(value=cleaned(raw[name]))
    values = engine.fetch(some.filter(some.value.notnull()))["value"]
    distinct = list(dict.fromkeys(values))
    if not distinct:
        return replace(use, why="imports.why.empty")
    if kind := personal_kind(distinct):
        return Use(part="identifier", why=f"imports.why.{kind[0]}")
    mean = sum(map(len, distinct)) / len(distinct)
    if mean > LONG_TEXT and len(distinct) > MOSTLY_DISTINCT * len(values):
        return Use(part="text", why="imports.why.free_text")
    return use


def _needed(uses: Mapping[str, Use], table: str) -> Iterator[str]:
    """List the roles nobody plays."""
    there = {use.name for use in uses.values() if use.part == "role"}
    for role in REQUIRED_ROLES[table]:
        if role not in there:
            yield f"{role} · no column is known to hold it; say which in a map: [columns] {role} = …"
    if table == "ledger" and not any(use.part == "outcome" for use in uses.values()):
        yield "outcomes · a ledger needs an amount; say in a map: [outcomes.NAME] with column and kind"


def _column(source: str, use: Use, layout: Layout, wanted: ImportMap, table: str) -> Column | None:
    if use.part not in WRITTEN:
        return None
    order = wanted.dates or layout.order
    if use.part == "role":
        kind = ROLE_KINDS.get(use.name, "text")
        needed = use.name in REQUIRED_ROLES[table]
        return Column(source=source, name=use.name, kind=kind, required=needed, order=order)
    if use.part == "control":
        return Column(source=source, name=use.name, kind="control")
    if use.part == "outcome":
        if use.kind == "count":
            return Column(source=source, name=use.name, kind="count", required=True)
        return Column(source=source, name=use.name, kind="money", required=True, currency=wanted.currency)
    return Column(source=source, name=use.name, kind="score", low=use.low, high=use.high)


def without(raw: Any, codes: set[str] | frozenset[str]) -> Any:
    """Return a column as clean text, with nothing where it holds a code for no answer."""
    text = cleaned(raw)
    return text.isin(sorted(codes)).ifelse(ibis.null("string"), text) if codes else text


def _marked(raw: ir.Table, rule: LeftOut) -> Any:
    return cleaned(raw[rule.column]).lower().isin(list(rule.values)).fill_null(False)


def _unmarked(raw: ir.Table, rules: tuple[LeftOut, ...]) -> ir.Table:
    return raw.filter(~reduce(or_, [_marked(raw, rule) for rule in rules])) if rules else raw


def reason_left_out(raw: ir.Table, plan: Plan) -> Any:
    """Number the first reason for which a row is left out, from 1; 0 for rows that stay.

    After the numbers of the plan's rules come that of rows without a customer and that of rows without anything.
    """
    cases = [(_marked(raw, rule), number) for number, rule in enumerate(plan.left_out, start=1)]
    customer = next((column for column in plan.columns if column.name == "customer"), None)
    if customer is not None and plan.table in ANONYMOUS:
        cases.append((cleaned(raw[customer.source]).isnull(), len(plan.left_out) + 1))
    written = [cleaned(raw[column.source]).notnull() for column in plan.columns]
    if written:
        cases.append((~reduce(or_, written), len(plan.left_out) + 2))
    return ibis.cases(
        *[(when, ibis.literal(number, "int16")) for when, number in cases], else_=ibis.literal(0, "int16")
    )
