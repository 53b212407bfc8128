"""Who the customers are, as known when following them begins."""

from __future__ import annotations

import datetime as dt

import ibis
import ibis.expr.types as ir

from rox.linking.choices import Choices, first_day
from rox.linking.expressions import indicator, month_of, nothing
from rox.linking.tables import Tables, digests, fingerprint_of

PERSON = "rox_person"
_PLACE, _EARLY, _PAST = "rox_place", "rox_early", "rox_past"


def first_rows(history: ir.Table) -> ir.Table:
    """Keep each customer's first row: what was known when they came, whatever became of them."""
    place = ibis.row_number().over(ibis.window(group_by="customer", order_by="since"))
    rows = _with_first_opening(history).mutate(**{_PLACE: place})
    return rows.filter(rows[_PLACE] == 0).drop(_PLACE, "since")


def rows_at(history: ir.Table, day: dt.date) -> ir.Table:
    """Keep the row of each customer that is valid on a day: the last one that had begun, or else the first one ever.

    A row is valid from ``since`` until the customer's next one. The day on which it began stays in ``since``.
    """
    began = history.since <= ibis.date(day.year, day.month, day.day)
    rows = _with_first_opening(history)
    rows = rows.mutate(**{_EARLY: indicator(began), _PAST: began.ifelse(history.since, nothing("date"))})
    order = ibis.window(group_by="customer", order_by=[ibis.desc(_EARLY), ibis.desc(_PAST), "since"])
    rows = rows.mutate(**{_PLACE: ibis.row_number().over(order)})
    return rows.filter(rows[_PLACE] == 0).drop(_PLACE, _EARLY, _PAST)


def start_day(tables: Tables, choices: Choices) -> dt.date:
    """Return the day as at which customers are described.

    It is the first day of the cohort's month. Without a cohort it is the first day on which an answer may be given that
    serves any month of money, so that no segment in use is younger than the answer it stands beside.
    """
    if choices.cohort is not None:
        return first_day(choices.cohort)
    outcome = tables.study.outcomes[choices.outcome]
    if outcome.table != "ledger":
        answers = tables.tables["answers"]
        first = answers.aggregate(first=answers.month.min())
        return first_day(int(tables.fetch(first)["first"].iloc[0]))
    return first_day(tables.money_months[0] - choices.look_back)


def people_of(tables: Tables, choices: Choices) -> ir.Table:
    """List the customers that are followed, once and for all.

    Returns:
        One row per customer of the cohort, or of the study: ``rox_person`` (id), ``customer`` (dense code by id, the
        same for every cohort), ``segment``, ``unit``, ``weight``, ``opened``, ``exit_month``, ``voluntary``, ``since``
        (day on which this row began, missing where rows are not dated), and the controls.
    """
    settings: dict[str, object] = {}
    if tables.history is not None or choices.cohort is not None:
        settings = {"day": start_day(tables, choices), "cohort": choices.cohort}
    used = {"customers", "exits"} | ({"ledger"} if choices.cohort is not None else set())
    name = fingerprint_of({"tables": digests(tables, used), **settings}) if settings else digests(tables, used)
    return tables.engine.stage(_people(tables, choices), f"people_{name[:16]}")


def _people(tables: Tables, choices: Choices) -> ir.Table:
    customers = tables.tables["customers"].mutate(since=nothing("date"))
    if tables.history is not None:
        customers = rows_at(tables.history, start_day(tables, choices))
    opened = customers.opened if "opened" in customers.columns else nothing("date")
    people = customers.select(
        "segment",
        "unit",
        "weight",
        "since",
        *tables.study.tables["customers"].controls,
        **{PERSON: "customer"},
        customer=code(),
        opened=month_of(opened).cast("float64") if "opened" in customers.columns else nothing("float64"),
        rox_opened=opened,
    )
    people = _with_exits(tables, people)
    if choices.cohort is not None:
        people = _at(tables, people, choices.cohort)
    return people.drop("rox_opened")


def _with_exits(tables: Tables, people: ir.Table) -> ir.Table:
    if "exits" not in tables.tables:
        return people.mutate(exit_month=nothing("float64"), voluntary=ibis.literal(False))
    exits = tables.tables["exits"]
    listed = tables.study.tables["exits"].voluntary
    chosen = exits.reason.isin(list(listed)).fill_null(False) if listed else ibis.literal(True)
    left = exits.select(rox_leaver="customer", exit_month=month_of(exits.date).cast("float64"), voluntary=chosen)
    joined = people.left_join(left, people[PERSON] == left.rox_leaver)
    return joined.mutate(voluntary=joined.voluntary.fill_null(False)).drop("rox_leaver")


def _at(tables: Tables, people: ir.Table, cohort: int) -> ir.Table:
    """Keep who was known, had opened and had not left on the first day of a month.

    A customer whose opening is unknown had opened if money is on record in that month or before.
    """
    day = first_day(cohort)
    then = ibis.date(day.year, day.month, day.day)
    there = people.exit_month.isnull() | (people.exit_month >= cohort)
    known = people.since.isnull() | (people.since <= then)
    people = people.filter(there, known)
    if "ledger" not in tables.tables:
        return people.filter(people.rox_opened.isnull() | (people.rox_opened <= then))
    ledger = tables.tables["ledger"]
    paid = ledger.group_by(rox_payer="customer").aggregate(rox_first=ledger.month.min())
    joined = people.left_join(paid, people[PERSON] == paid.rox_payer)
    opened = joined.rox_opened.isnull().ifelse(joined.rox_first <= cohort, joined.rox_opened <= then)
    return joined.filter(opened.fill_null(False)).drop("rox_payer", "rox_first")


def code() -> ir.IntegerColumn:
    """Number the customers densely from 0, in the order of their ids."""
    return ibis.row_number().over(ibis.window(order_by="customer")).cast("int64")


def _with_first_opening(history: ir.Table) -> ir.Table:
    if "opened" not in history.columns:
        return history
    return history.mutate(opened=history.opened.min().over(ibis.window(group_by="customer")))
