"""Prove a panel from the raw tables, by another way than it was linked.

The link joins months to intervals of validity. Here every row with a score is taken on its own: the answer that it
points at is looked up among the raw answers by customer, month and value, and what was known is looked up at its date.
Nothing is shared with the link but the rules: customers are numbered anew, and no window, interval or stage of the link
is read.
"""

from __future__ import annotations

import datetime as dt
from typing import Any

import ibis
import ibis.expr.types as ir

from rox.core.leaks import LeakReport
from rox.core.linked import Linked
from rox.linking.choices import Choices
from rox.linking.expressions import how_many, indicator, month_of, nothing
from rox.linking.people import start_day
from rox.linking.tables import Tables

RULES = ("money", "look_back", "customer", "availability", "washout", "segment", "cohort")


def leak_report_of(data: Linked, tables: Tables, choices: Choices) -> LeakReport:
    """Count the rows of a panel that break each rule.

    - ``money``: the answer is at least ``lag`` months older than the money, by the row's own word;
    - ``look_back``: it is at most ``look_back`` months old;
    - ``customer``: the raw answers hold that value of that customer in that month;
    - ``availability``: it could be known before the month of the money;
    - ``washout``: no answer of the customer lies within the washout before it;
    - ``segment``: segment and unit are those valid at the cohort's date or the start, and no younger than the answer;
    - ``cohort``: the money is of the cohort's month or later, the customer was there on its first day.
    """
    if not data.score:
        return LeakReport(rows=0, customers=0, broken={}, wrong=0)
    rows = _scored(data)
    rows = _beside_raw_answers(rows, data, tables, choices)
    rows = _beside_raw_customers(rows, tables, choices)
    flags = _flags(rows, tables, choices)
    wrong = indicator(ibis.or_(*(flag for flag in flags.values() if flag is not None)))
    sums = {rule: how_many(flag) for rule, flag in flags.items() if flag is not None}
    query = rows.aggregate(rows=rows.count(), people=rows.customer.nunique(), wrong=wrong.sum(), **sums)
    found = tables.fetch(query).fillna(0).iloc[0]
    broken = {rule: None if flags[rule] is None else int(found[rule]) for rule in flags}
    return LeakReport(rows=int(found["rows"]), customers=int(found["people"]), broken=broken, wrong=int(found["wrong"]))


def _scored(data: Linked) -> ir.Table:
    scored = data.panel.filter(data.panel.score.notnull())
    return scored.select(
        "customer",
        "month",
        "segment",
        "unit",
        given=scored.score.cast("float64"),
        age=scored.score_age.cast("int64"),
        said=scored.month - scored.score_age.cast("int64"),
    )


def _numbered(tables: Tables) -> ir.Table:
    """Number the customers anew: by how many ids are not above theirs."""
    people = tables.tables["customers"] if tables.history is None else tables.history
    ids = people.select("customer").distinct()
    return ids.select(id="customer", code=ibis.rank().over(ibis.window(order_by="customer")).cast("int64"))


def _beside_raw_answers(rows: ir.Table, data: Linked, tables: Tables, choices: Choices) -> ir.Table:
    """Join to each row the raw answers it can mean: same customer, month and value."""
    answers = tables.tables["answers"]
    available = answers.available if "available" in answers.columns else answers.date
    given = answers.filter(answers[data.score].notnull()).select(
        person=answers.customer,
        value=answers[data.score].cast("float64"),
        day=answers.date,
        when=month_of(answers.date),
        known=ibis.greatest(month_of(answers.date), month_of(available)),
    )
    given = given.mutate(crowded=indicator(ibis.literal(False)))
    if choices.washout is not None:
        given = _with_crowding(given, choices.washout)
    codes = _numbered(tables)
    given = given.inner_join(codes, given.person == codes.id)
    meant = given.group_by("code", "when", "value").aggregate(
        first_known=given.known.min(), last_day=given.day.max(), least_crowded=given.crowded.min()
    )
    return rows.left_join(
        meant, [rows.customer == meant.code, rows.said == meant.when, rows.given == meant.value]
    ).drop("code")


def _with_crowding(given: ir.Table, washout: int) -> ir.Table:
    """Say of each answer whether the customer gave another on an earlier day within the washout."""
    days = given.select("person", "day", "when").distinct()
    others = days.select(whose="person", before="day", earlier="when")
    pairs = days.inner_join(
        others, [days.person == others.whose, days.day > others.before, days.when <= others.earlier + washout]
    )
    crowded = pairs.select(owner="person", on="day").distinct()
    joined = given.left_join(crowded, [given.person == crowded.owner, given.day == crowded.on])
    return joined.mutate(crowded=indicator(joined.owner.notnull())).drop("owner", "on")


def _beside_raw_customers(rows: ir.Table, tables: Tables, choices: Choices) -> ir.Table:
    """Join to each row what the raw tables say of its customer at the reference day."""
    codes = _numbered(tables)
    people = _described(tables, choices).select(
        "opened", "left", "paid", person="customer", true_segment="segment", true_unit="unit", true_since="since"
    )
    people = people.inner_join(codes, people.person == codes.id).drop("id", "person")
    return rows.left_join(people, rows.customer == people.code)


def _described(tables: Tables, choices: Choices) -> ir.Table:
    customers = tables.tables["customers"].mutate(since=nothing("date"))
    if tables.history is not None:
        customers = _by_largest_date(tables.history, start_day(tables, choices))
    if "opened" not in customers.columns:
        customers = customers.mutate(opened=nothing("date"))
    customers = customers.select("customer", "segment", "unit", "since", "opened")
    customers = customers.mutate(paid=nothing("int64"))
    if "ledger" in tables.tables:
        ledger = tables.tables["ledger"]
        first = ledger.group_by(payer="customer").aggregate(earliest=ledger.month.min())
        customers = customers.drop("paid").left_join(first, customers.customer == first.payer)
        customers = customers.drop("payer").rename(paid="earliest")
    if "exits" not in tables.tables:
        return customers.mutate(left=nothing("int64"))
    exits = tables.tables["exits"].select(leaver="customer", left=month_of(tables.tables["exits"].date))
    return customers.left_join(exits, customers.customer == exits.leaver).drop("leaver")


def _by_largest_date(history: ir.Table, day: dt.date) -> ir.Table:
    """Keep the row with the largest date up to a day, or with the smallest of all, by joining the date back."""
    early = history.since <= ibis.date(day.year, day.month, day.day)
    dates = history.group_by(who="customer").aggregate(
        largest=early.ifelse(history.since, nothing("date")).max(),
        smallest=history.since.min(),
        **({"came": history.opened.min()} if "opened" in history.columns else {}),
    )
    dates = dates.mutate(began=ibis.coalesce(dates.largest, dates.smallest))
    joined = history.inner_join(dates, [history.customer == dates.who, history.since == dates.began])
    return joined.mutate(opened=joined.came) if "opened" in history.columns else joined


def _flags(rows: ir.Table, tables: Tables, choices: Choices) -> dict[str, Any]:
    """Say of each row which rule it breaks; None for a rule that the tables cannot show or that was not asked for."""
    declared = tables.study.tables["answers"].columns
    other_place = (rows.segment != rows.true_segment) | (rows.unit != rows.true_unit) | rows.code.isnull()
    flags: dict[str, Any] = {
        "money": (rows.age < choices.lag) | (rows.age < 1),
        "look_back": rows.age > choices.look_back,
        "customer": rows.when.isnull(),
        "availability": (rows.first_known >= rows.month) if "available" in declared else None,
        "washout": (rows.least_crowded == 1) if choices.washout is not None else None,
        "segment": None,
        "cohort": None,
    }
    if tables.history is not None:
        flags["segment"] = other_place | (rows.true_since > rows.last_day)
    if choices.cohort is not None:
        day = choices.cohort_day or dt.date.max
        then = ibis.date(day.year, day.month, day.day)
        late = (rows.opened > then) | (rows.true_since > then) | (rows.opened.isnull() & (rows.paid > choices.cohort))
        gone = rows.left < choices.cohort
        broken = [(rows.month < choices.cohort), late, gone]
        flags["cohort"] = ibis.or_(*(each.fill_null(False) for each in broken))
    return {rule: None if flag is None else flag.fill_null(False) for rule, flag in flags.items()}
