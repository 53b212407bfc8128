"""The two ways money meets a score: month by month, and beside the answer."""

from __future__ import annotations

from typing import Any

import ibis
import ibis.expr.types as ir

from rox.core.check import Check, Verdict
from rox.core.errors import LeakageError
from rox.core.linked import Step
from rox.linking.choices import Choices
from rox.linking.columns import dated
from rox.linking.exposures import has_availability, in_use
from rox.linking.expressions import how_many, month_of, nothing
from rox.linking.people import PERSON
from rox.linking.tables import PANEL_COLUMNS, Tables
from rox.linking.trail import Funnel, count_steps


def money_by_month(tables: Tables, choices: Choices, people: ir.Table, exposures: ir.Table | None) -> ir.Table:
    """Join each month of money with what is known of its customer and with the answer that is in use in it.

    Args:
        tables: The loaded tables.
        choices: What is linked.
        people: The customers that are followed.
        exposures: Their answers; None for money alone.

    Returns:
        The columns of a panel, and its controls.
    """
    ledger = tables.tables["ledger"].select("month", who="customer", outcome=choices.outcome)
    rows = ledger.inner_join(people, ledger.who == people[PERSON]).drop("who", PERSON)
    rows = rows.filter(_is_followed(rows, choices)).drop("since")
    if exposures is None:
        rows = rows.mutate(score=nothing("float64"), score_age=nothing("float64"))
    else:
        used = in_use(exposures).select("said", "begin", "until", given="score", whose="customer")
        joined = rows.left_join(used, [rows.customer == used.whose, rows.month >= used.begin, rows.month <= used.until])
        rows = joined.mutate(
            score=joined.given.cast("float64"),
            score_age=(joined.month - joined.said).cast("float64"),
        )
    return rows.select(*PANEL_COLUMNS, *tables.study.tables["customers"].controls)


def _is_followed(rows: ir.Table, choices: Choices) -> ir.BooleanValue:
    """Whether a month is one from which on its customer is followed."""
    known = rows.since.isnull() | (rows.month >= month_of(rows.since))
    return known if choices.cohort is None else known & (rows.month >= choices.cohort)


def trail_by_month(
    tables: Tables, choices: Choices, people: ir.Table, exposures: ir.Table | None, rows: ir.Table
) -> tuple[Step, ...]:
    """Follow the money to a score, and each answer to the first month of money after it.

    Args:
        tables: The loaded tables.
        choices: What is linked.
        people: The customers that are followed.
        exposures: Their answers, if any.
        rows: The linked panel.
    """
    steps = _money_trail(tables, choices, people, rows)
    if exposures is None:
        return steps
    read = _followed_answers(tables, people)
    asked: dict[str, Any] = {"answers": read[PERSON].notnull(), "answers_given": read[choices.score].notnull()}
    if choices.cohort is not None:
        asked["answers_cohort"] = asked["answers_given"] & read.customer.notnull()
    steps += tuple(count_steps(tables, Funnel(table=read, person=PERSON, steps=asked)))
    months = rows.select("month", whose="customer")
    met = exposures.left_join(months, [exposures.customer == months.whose, exposures.said < months.month])
    first = met.group_by("customer", "number").aggregate(
        **{name: met[name].max() for name in ("said", "begin", "until", "is_new", "is_open")},
        paid=met.month.min(),
        lagged=(met.month >= met.said + choices.lag).ifelse(met.month, nothing("int64")).min(),
        counted=(met.month >= met.begin).ifelse(met.month, nothing("int64")).min(),
    )
    return steps + tuple(count_steps(tables, _answers_funnel(tables, choices, first), steps[-1]))


def _money_trail(tables: Tables, choices: Choices, people: ir.Table, rows: ir.Table) -> tuple[Step, ...]:
    scored = {"scored": rows.score.notnull()} if choices.score else {}
    if choices.cohort is None and tables.history is None:
        whole = {"ledger": rows.customer.notnull(), **scored}
        return tuple(count_steps(tables, Funnel(table=rows, person="customer", steps=whole)))
    ledger = tables.tables["ledger"].select("month", who="customer")
    known = people.select("since", **{PERSON: PERSON})
    read = ledger.left_join(known, ledger.who == known[PERSON])
    steps: dict[str, Any] = {"ledger": read.who.notnull()}
    if choices.cohort is not None:
        steps["ledger_cohort"] = read[PERSON].notnull()
        steps["ledger_from_then"] = steps["ledger_cohort"] & (read.month >= choices.cohort)
    if tables.history is not None:
        steps["ledger_known"] = read[PERSON].notnull() & _is_followed(read, choices)
    trail = tuple(count_steps(tables, Funnel(table=read, person="who", steps=steps)))
    return trail + tuple(count_steps(tables, Funnel(table=rows, person="customer", steps=scored), trail[-1]))


def _followed_answers(tables: Tables, people: ir.Table) -> ir.Table:
    """Put each answer beside the code of its customer, missing for customers that are not followed."""
    answers = tables.tables["answers"].rename({PERSON: "customer"})
    known = people.select("customer", "since", who=PERSON)
    return answers.left_join(known, answers[PERSON] == known.who)


def _answers_funnel(tables: Tables, choices: Choices, first: ir.Table) -> Funnel:
    """Follow the answers of followed customers into use; steps for settings that are not in use are left out."""
    kept: Any = first.customer.notnull()
    steps: dict[str, Any] = {"answers_one_a_day": kept}
    if choices.washout is not None:
        kept = kept & (first.is_new == 1)
        steps["answers_new"] = kept
    if tables.history is not None:
        kept = kept & (first.is_open == 1)
        steps["answers_of_known"] = kept
    steps["answers_before_money"] = kept = kept & first.paid.notnull()
    if choices.lag > 1:
        steps["answers_lagged"] = kept = kept & first.lagged.notnull()
    if has_availability(tables):
        steps["answers_available"] = kept = kept & first.counted.notnull()
    in_time = kept & (first.counted <= first.said + choices.look_back)
    steps["answers_in_time"] = in_time
    steps["answers_used"] = in_time & (first.counted <= first.until)
    return Funnel(table=first, person="customer", steps=steps)


def money_beside_answers(
    tables: Tables, choices: Choices, people: ir.Table
) -> tuple[ir.Table, tuple[Step, ...], tuple[Check, ...]]:
    """Keep the answers whose money falls into a later month, one row each.

    Returns:
        Columns as of :func:`money_by_month`; the trail; and a remark when amounts came before their answers.

    Raises:
        LeakageError: No amount is left, or more than half of them are as old as their answer or older: then the outcome
            comes before the score by its nature, and the others are exceptions.
    """
    outcome, score = choices.outcome, choices.score or ""
    read = _read_beside(tables, choices)
    known = people.select("customer", "since", who=PERSON)
    read = read.left_join(known, read[PERSON] == known.who)
    steps = _steps_beside(tables, choices, read)
    trail = tuple(count_steps(tables, Funnel(table=read, person=PERSON, steps=steps)))
    sizes = {step.name: step.rows for step in trail}
    total = sizes["answers_with_amount"]
    early = total - sizes["answers_before_amount"]
    if not trail[-1].rows or 2 * early > total:
        raise _refusal(tables, choices, read.filter(steps["answers_with_amount"]), sizes, trail)
    values: dict[str, str | int | float] = {"outcome": outcome, "count": early, "total": total}
    checks = (Check(code="ROX-Q07", verdict=Verdict.NOTE, values=values),) if early else ()
    kept = read.filter(list(steps.values())[-1])
    kept = kept.select("month", "outcome", who=PERSON, given=kept[score].cast("float64"), age=kept.month - kept.said)
    rows = kept.inner_join(people, kept.who == people[PERSON])
    rows = rows.mutate(score=rows.given, score_age=rows.age.cast("float64"))
    return rows.select(*PANEL_COLUMNS, *tables.study.tables["customers"].controls), trail, checks


def _read_beside(tables: Tables, choices: Choices) -> ir.Table:
    """Read every answer with its money, and with the month of the customer's answer on an earlier day."""
    answers = tables.tables["answers"]
    score, outcome = choices.score or "", choices.outcome
    said = month_of(answers.date)
    read = answers.select(
        "date",
        **{PERSON: "customer", score: answers[score]},
        said=said,
        known=ibis.greatest(said, month_of(answers.available)) if has_availability(tables) else said,
        outcome=answers[outcome],
        paid=answers[dated(outcome)],
        month=month_of(answers[dated(outcome)]),
    )
    if choices.washout is None:
        return read
    days = read.filter(read[score].notnull()).select(PERSON, "date", "said").distinct()
    days = days.mutate(before=days.said.lag().over(ibis.window(group_by=PERSON, order_by="date")))
    days = days.select("before", day="date", whose=PERSON)
    return read.left_join(days, [read[PERSON] == days.whose, read.date == days.day]).drop("day", "whose")


def _steps_beside(tables: Tables, choices: Choices, read: ir.Table) -> dict[str, Any]:
    steps: dict[str, Any] = {"answers": read[PERSON].notnull()}
    kept = steps["answers_given"] = read[choices.score].notnull()
    if choices.cohort is not None:
        kept = steps["answers_cohort"] = kept & read.customer.notnull()
    if choices.washout is not None:
        kept = kept & (read.before.isnull() | (read.said - read.before > choices.washout))
        steps["answers_new"] = kept
    if tables.history is not None:
        kept = steps["answers_of_known"] = kept & (read.since.isnull() | (read.date >= read.since))
    kept = steps["answers_with_amount"] = kept & read.outcome.notnull()
    kept = steps["answers_before_amount"] = kept & (read.paid > read.date)
    kept = steps["answers_month_before"] = kept & (read.month > read.said)
    if choices.lag > 1:
        kept = steps["answers_lagged"] = kept & (read.month >= read.said + choices.lag)
    if has_availability(tables):
        kept = steps["answers_available"] = kept & (read.month > read.known)
    steps["answers_in_look_back"] = kept = kept & (read.month <= read.said + choices.look_back)
    if choices.cohort is not None:
        steps["amounts_from_then"] = kept & (read.month >= choices.cohort)
    return steps


def _refusal(
    tables: Tables, choices: Choices, amounts: ir.Table, sizes: dict[str, int], trail: tuple[Step, ...]
) -> LeakageError:
    total = sizes["answers_with_amount"]
    before = total - sizes["answers_before_amount"]
    same = sizes["answers_before_amount"] - sizes["answers_month_before"]
    far = sizes["answers_month_before"] - trail[-1].rows
    early = amounts.filter(amounts.paid <= amounts.date)
    found = tables.fetch(
        early.aggregate(
            day=how_many(early.paid == early.date),
            money_from=early.paid.min(),
            money_to=early.paid.max(),
            said_from=early.date.min(),
            said_to=early.date.max(),
        )
    ).iloc[0]
    headline = (
        f"A score may explain only money that comes after it: {before:,} of {total:,} amounts of "
        f'"{choices.outcome}" are dated before the answer or on its day.'
    )
    faults = []
    if before:
        days = [f"{found[name]:%Y-%m-%d}" for name in ("money_from", "money_to", "said_from", "said_to")]
        faults.append(
            f"the money is dated {days[0]} to {days[1]}, its answers {days[2]} to {days[3]}; "
            f"{int(found['day']):,} of the amounts fall on the day of the answer"
        )
    if same or far:
        reach = f"more than {choices.look_back} months after it"
        if choices.lag > 1 or choices.cohort is not None or has_availability(tables):
            reach = (
                f"outside the {choices.lag} to {choices.look_back} months after it that count, or before it was known"
            )
        faults.append(f"{same:,} amounts fall into the month of their answer, {far:,} {reach}")
    faults.append(
        "declare money that follows the answer: what the customer spends in later months, as a ledger with a row per "
        "customer and month"
    )
    return LeakageError(headline, faults)
