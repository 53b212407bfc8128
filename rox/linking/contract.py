"""The contract of the tables: what makes them unusable, found in few scans and told without a single value."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import ibis
import ibis.expr.types as ir
import pandas as pd

from rox.core.linked import month_index
from rox.core.study import STEPS, Study
from rox.linking.columns import NEEDED, Column, dated, named_flaws
from rox.linking.engine import Engine
from rox.linking.expressions import how_many, indicator, month_of
from rox.linking.sources import FILE, ROW
from rox.linking.spellings import Flaw
from rox.linking.suspicions.thresholds import CODES_ABOVE, CODES_BELOW

SHOWN_ROWS = 3
RULES_AT_ONCE = 100
KNOWN, CAME, LEFT, PLACE = "rox_known", "rox_came", "rox_left", "rox_place"
"""What is joined to each row: its customer, when it came, when it left; and the unit."""

CONTACT, ITS_CUSTOMER = "rox_contact", "rox_contact_customer"
"""What is joined to each row with a contact: the contact, and its customer if that is the row's."""


@dataclass(frozen=True, kw_only=True)
class Staged:
    """A table as it was read: typed columns, flaws, and the place of each row.

    Attributes:
        name: Of the table.
        table: Engine table.
        columns: The declared columns that were found.
    """

    name: str
    table: ir.Table
    columns: tuple[Column, ...]

    def __contains__(self, column: str) -> bool:
        return any(each.name == column for each in self.columns)

    def source(self, column: str) -> str:
        """Return what a column is called in the file."""
        return next(each.source for each in self.columns if each.name == column)


@dataclass(frozen=True, kw_only=True)
class Rule:
    """A condition no row may fulfil.

    Attributes:
        column: Name of the column in the file.
        what: What is wrong, as a phrase.
        broken: The condition, over the table it is listed for.
        always: What to ask when every row breaks it.
        known: The customers, for a row whose customer is not among them.
    """

    column: str
    what: str
    broken: Any
    always: str = field(default="")
    known: ir.Table | None = None


def check_contract(engine: Engine, study: Study, staged: Mapping[str, Staged]) -> tuple[dict[str, int], list[str]]:
    """Look for every fault of the tables.

    Returns:
        Rows by table; and the faults, one line each: table, column, what, how many rows, the first rows.
    """
    counts, faults = {}, []
    for each in staged.values():
        table = _with_customer_facts(each, staged)
        rules = [
            *_value_rules(each, table),
            *_time_rules(each, table, study),
            *_place_rules(each, table, study, staged),
        ]
        counts[each.name], found = _broken(engine, each.name, table, rules)
        if not counts[each.name] and each.name in ("customers", "answers", "ledger"):
            found = [f"{each.name} · the table has no rows"]
        faults += found
        for keys in _keys(each):
            faults += _repeated(engine, each, keys)
    return counts, faults


def _value_rules(staged: Staged, table: ir.Table) -> Iterator[Rule]:
    """What is wrong with a value by itself."""
    for column in staged.columns:
        value, flaw = table[column.name], table[column.flaw]
        needed = NEEDED[column.kind]
        if column.low is not None:
            needed += f" from {column.low} to {column.high}"
        unreadable = f"cannot be read; {needed} is needed"
        if column.kind == "id":
            unreadable = "ids stored as floating point numbers; store them as text"
        if column.kind not in ("text", "control"):
            yield Rule(column=column.source, what=unreadable, broken=flaw == Flaw.UNREADABLE)
        for named, what in named_flaws(column):
            yield Rule(column=column.source, what=what, broken=flaw == named)
        if column.kind in ("score", "money", "count", "number", "flag"):
            what = "NaN; leave missing values empty"
            yield Rule(column=column.source, what=what, broken=flaw == Flaw.NOT_A_NUMBER)
        if column.kind in ("score", "count", "flag"):
            yield Rule(column=column.source, what=f"has a fraction; {needed} is needed", broken=flaw == Flaw.FRACTION)
        if column.required:
            yield Rule(column=column.source, what="missing", broken=value.isnull() & (flaw == Flaw.NONE))
        yield from _range_rules(staged.name, column, value)


def _range_rules(table: str, column: Column, value: Any) -> Iterator[Rule]:
    if column.low is not None and column.high is not None:
        codes = [code for code in (*CODES_BELOW, *CODES_ABOVE) if not column.low <= code <= column.high]
        outside = ((value < column.low) | (value > column.high)) & ~value.isin(codes)
        yield Rule(
            column=column.source,
            what=f"a code such as 99 or -1 on a scale from {column.low} to {column.high}; if it stands for no answer, "
            f"leave it empty, in a query NULLIF({column.source}, 99)",
            broken=value.isin(codes),
        )
        if column.low > 0:
            outside = outside & (value != 0)
            yield Rule(
                column=column.source,
                what=f"0 on a scale from {column.low} to {column.high}; if 0 stands for no answer, leave it empty",
                broken=value == 0,
            )
        yield Rule(column=column.source, what=f"outside its scale from {column.low} to {column.high}", broken=outside)
    if column.kind == "count":
        yield Rule(column=column.source, what="below 0", broken=value < 0)
    if column.kind == "flag":
        yield Rule(column=column.source, what="neither 0 nor 1", broken=~value.isin([0, 1]))
    if column.name in ("weight", "planned") and column.kind == "number":
        yield Rule(column=column.source, what="not above 0", broken=value <= 0)
    if table == "applicants" and column.name == "amount":
        yield Rule(column=column.source, what="below 0", broken=value < 0)


def _time_rules(staged: Staged, table: ir.Table, study: Study) -> Iterator[Rule]:
    """What is wrong with a date: after the extract, before the opening, after the exit, a contact before its ticket."""
    extract = study.about.extract
    last_month = month_index(extract.year, extract.month)
    for column in staged.columns:
        if column.kind == "date" and column.name != "start":
            late = table[column.name] > ibis.date(extract.year, extract.month, extract.day)
        elif column.kind == "month":
            late = table[column.name] > last_month
        else:
            continue
        yield Rule(column=column.source, what=f"after the extract of {extract}", broken=late)
    if staged.name == "answers" and "date" in staged and LEFT in table.columns:
        yield Rule(
            column=staged.source("date"), what="answered after the customer's exit", broken=table.date > table[LEFT]
        )
    if staged.name == "tickets" and "date" in staged and "contacted" in staged:
        early = table.contacted < table.date
        yield Rule(column=staged.source("contacted"), what="contacted before the ticket was opened", broken=early)
    if staged.name == "exits" and "date" in staged and CAME in table.columns:
        yield Rule(column=staged.source("date"), what="before the customer's opening", broken=table.date < table[CAME])
    if staged.name == "ledger" and "month" in staged:
        if LEFT in table.columns:
            after = table.month > month_of(table[LEFT])
            yield Rule(column=staged.source("month"), what="after the month of the customer's exit", broken=after)
        if CAME in table.columns:
            before = table.month < month_of(table[CAME])
            yield Rule(column=staged.source("month"), what="before the month of the customer's opening", broken=before)
    for name, outcome in study.outcomes.items():
        if outcome.table == staged.name and outcome.dated and name in staged and dated(name) in staged:
            undated = table[name].notnull() & table[dated(name)].isnull() & (table[_flaw_of(dated(name))] == Flaw.NONE)
            yield Rule(column=outcome.dated, what=f"missing where there is an amount of {name}", broken=undated)


def _place_rules(staged: Staged, table: ir.Table, study: Study, others: Mapping[str, Staged]) -> Iterator[Rule]:
    """What refers to nothing: customers, initiatives and units that are not known."""
    if KNOWN in table.columns:
        yield Rule(
            column=staged.source("customer"),
            what="customer not in the customers table",
            broken=table.customer.notnull() & table[KNOWN].isnull(),
            always="no row matches: are ids written alike in both files, leading zeros included?",
            known=others["customers"].table,
        )
    if CONTACT in table.columns:
        yield Rule(
            column=staged.source("contact"),
            what="contact not in the contacts table",
            broken=table.contact.notnull() & table[CONTACT].isnull(),
        )
        yield Rule(
            column=staged.source("contact"),
            what="the contact belongs to another customer in the contacts table",
            broken=table[CONTACT].notnull() & table.customer.notnull() & table[ITS_CUSTOMER].isnull(),
        )
    if staged.name == "invitations" and "status" in staged:
        known = [*STEPS, *study.tables["invitations"].steps]
        what = f"no step of an invitation ({', '.join(STEPS)}); say in `steps` which it stands for"
        yield Rule(column=staged.source("status"), what=what, broken=~table.status.isin(known))
    if staged.name != "initiatives":
        return
    if "initiative" in staged:
        yield Rule(
            column=staged.source("initiative"),
            what=f"not an initiative of the study file ({', '.join(study.initiatives) or 'it declares none'})",
            broken=~table.initiative.isin(list(study.initiatives) or [""]),
        )
    customers = others.get("customers")
    if "unit" in staged and customers is not None:
        broken = table.unit.notnull() & table[PLACE].isnull() if PLACE in table.columns else table.unit.notnull()
        yield Rule(column=staged.source("unit"), what="no customer belongs to this unit", broken=broken)


def _with_customer_facts(staged: Staged, others: Mapping[str, Staged]) -> ir.Table:
    """Join what is known of each row's customer: that there is one, when it came, when it left; or of each unit."""
    table, customers, exits = staged.table, others.get("customers"), others.get("exits")
    if staged.name == "initiatives" and "unit" in staged and customers is not None and "unit" in customers:
        units = customers.table.filter(customers.table.unit.notnull()).select("unit").distinct().rename({PLACE: "unit"})
        table = table.left_join(units, table.unit == units[PLACE])
    if staged.name == "customers" or "customer" not in staged:
        return table
    if customers is not None and "customer" in customers:
        source = customers.table.filter(customers.table.customer.notnull())
        came = {CAME: source.opened.min()} if "opened" in customers else {}
        people = source.group_by(**{KNOWN: "customer"}).aggregate(rox_rows=source.count(), **came).drop("rox_rows")
        table = table.left_join(people, table.customer == people[KNOWN])
    contacts = others.get("contacts")
    if staged.name != "contacts" and "contact" in staged and contacts is not None:
        table = _with_contact_facts(table, contacts)
    if staged.name in ("answers", "ledger") and exits is not None and "customer" in exits and "date" in exits:
        source = exits.table.filter(exits.table.customer.notnull())
        left = source.group_by(rox_leaver="customer").aggregate(**{LEFT: source.date.min()})
        table = table.left_join(left, table.customer == left.rox_leaver)
    return table


def _with_contact_facts(table: ir.Table, contacts: Staged) -> ir.Table:
    """Join whether each row's contact is known, and known for that customer."""
    if "contact" not in contacts or "customer" not in contacts:
        return table
    pairs = contacts.table.filter(contacts.table.contact.notnull())
    known = pairs.select(**{CONTACT: pairs.contact}).distinct()
    pairs = pairs.select(rox_contact_of=pairs.contact, **{ITS_CUSTOMER: pairs.customer}).distinct()
    table = table.left_join(known, table.contact == known[CONTACT])
    return table.left_join(pairs, [table.contact == pairs.rox_contact_of, table.customer == pairs[ITS_CUSTOMER]])


def _broken(engine: Engine, name: str, table: ir.Table, rules: Sequence[Rule]) -> tuple[int, list[str]]:
    """Count rows and every rule in one scan, then look up the first rows of the rules that are broken."""
    faults = []
    rows = 0
    for start in range(0, len(rules), RULES_AT_ONCE):
        some = rules[start : start + RULES_AT_ONCE]
        sums = {f"r{i}": how_many(rule.broken) for i, rule in enumerate(some)}
        counts = engine.fetch(table.aggregate(n=table.count(), **sums)).iloc[0]
        rows = int(counts["n"])
        for i, rule in enumerate(some):
            if count := int(counts[f"r{i}"]):
                wrong = table.filter(indicator(rule.broken) == 1)
                hint = f" ({rule.always})" if rule.always and count == rows else _spelling_hint(engine, rule, wrong)
                faults.append(f"{name} · {rule.column} · {rule.what}{hint} · {_places(engine, wrong, count)}")
    return rows, faults


def _spelling_hint(engine: Engine, rule: Rule, wrong: ir.Table) -> str:
    """Say how many unknown ids would be known if leading zeros and case did not count."""
    if rule.known is None:
        return ""
    known = rule.known.select(rox_bare=bare_id(rule.known.customer)).distinct()
    wrong = wrong.mutate(rox_id=bare_id(wrong.customer))
    alike = wrong.semi_join(known, wrong.rox_id == known.rox_bare)
    count = int(engine.fetch(alike.aggregate(n=alike.count()))["n"].iloc[0])
    return f" ({count:,} of them match but for leading zeros and case: write ids alike)" if count else ""


def bare_id(identifier: Any) -> Any:
    """Write an id without leading zeros and in capitals."""
    return identifier.re_replace("^0+", "").upper()


def _places(engine: Engine, wrong: ir.Table, count: int) -> str:
    first = engine.fetch(wrong.select(FILE, ROW).distinct().order_by(FILE, ROW).limit(SHOWN_ROWS))
    return f"{count:,} row{'s' if count > 1 else ''}, {_row_list(first, count)}"


def _row_list(first: pd.DataFrame, count: int) -> str:
    places = [f"{row} of {file}" if file else f"{row}" for file, row in zip(first[FILE], first[ROW], strict=True)]
    return f"{'first ' if count > len(places) else ''}at row {', '.join(places)}"


def _keys(staged: Staged) -> Iterator[tuple[str, ...]]:
    keys: list[tuple[str, ...]] = []
    if any(column.name == "key" and column.kind == "id" for column in staged.columns):
        keys.append(("key",))
    if staged.name in ("customers", "exits"):
        keys.append(("customer", "since") if "since" in staged else ("customer",))
    if staged.name == "ledger":
        keys.append(("customer", "month"))
    if staged.name == "initiatives":
        keys.append(("initiative", "unit"))
    if staged.name == "contacts":
        keys.append(("contact", "customer"))
    if staged.name == "arms":
        keys.append(("experiment", "customer"))
    return (key for key in keys if all(name in staged for name in key))


def _repeated(engine: Engine, staged: Staged, keys: tuple[str, ...]) -> list[str]:
    table = staged.table.filter(*[staged.table[key].notnull() for key in keys])
    groups = table.group_by(*keys).aggregate(rows=table.count())
    groups = groups.filter(groups.rows > 1)
    extra = engine.fetch(groups.aggregate(n=(groups.rows - 1).sum()))["n"].iloc[0]
    if pd.isna(extra) or not int(extra):
        return []
    order = ibis.window(group_by=list(keys), order_by=[FILE, ROW])
    ranked = table.mutate(again=ibis.row_number().over(order))
    what = {
        ("customer",): "the customer stands here twice"
        if staged.name == "customers"
        else "a second exit of a customer",
        ("customer", "since"): "a second row of the customer since the same day",
        ("customer", "month"): "a second row for a customer and month",
        ("initiative", "unit"): "a second start of an initiative in a unit",
        ("contact", "customer"): "a second row for a contact of a customer",
        ("experiment", "customer"): "a second arm of a customer in an experiment",
    }.get(keys, "the key stands here twice")
    columns = ", ".join(staged.source(key) for key in keys)
    return [f"{staged.name} · {columns} · {what} · {_places(engine, ranked.filter(ranked.again > 0), int(extra))}"]


def _flaw_of(name: str) -> str:
    return Column(source="", name=name, kind="date").flaw


def mixed_controls(engine: Engine, staged: Staged) -> tuple[dict[str, bool], list[str]]:
    """Say which controls are numbers, and list those that mix numbers and text.

    Returns:
        For each control whether it is read as a number; and the faults.
    """
    controls = [column for column in staged.columns if column.kind == "control"]
    if not controls:
        return {}, []
    table = staged.table
    sums: dict[str, Any] = {}
    for i, column in enumerate(controls):
        sums[f"text{i}"] = how_many(table[column.flaw] == Flaw.UNREADABLE)
        sums[f"number{i}"] = how_many(table[column.number].notnull())
    counts = engine.fetch(table.aggregate(**sums)).iloc[0]
    numeric, faults = {}, []
    for i, column in enumerate(controls):
        texts, numbers = int(counts[f"text{i}"]), int(counts[f"number{i}"])
        numeric[column.name] = texts == 0
        if texts and numbers:
            odd = table.filter(table[column.flaw] == Flaw.UNREADABLE)
            faults.append(
                f"{staged.name} · {column.source} · text among numbers; a control is one or the other · "
                f"{_places(engine, odd, texts)}"
            )
    return numeric, faults
