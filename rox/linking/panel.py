"""The two ways money meets a score: month by month, and beside the answer."""

from __future__ import annotations

import ibis
import ibis.expr.types as ir

from rox.core.check import Check, Verdict
from rox.core.errors import LeakageError
from rox.core.linked import Step
from rox.linking.columns import dated
from rox.linking.expressions import how_many, month_of, nothing
from rox.linking.tables import Tables
from rox.linking.trail import Funnel, count_steps

PERSON = "rox_person"


def money_by_month(tables: Tables, score: str | None, outcome: str, look_back: int) -> ir.Table:
    """Join each month of money with the answer that is valid in it.

    Returns:
        The columns ``rox_person``, ``month``, ``outcome``, ``score``, ``score_age``.
    """
    ledger = tables.tables["ledger"].select("month", **{PERSON: "customer", "outcome": outcome})
    if score is None:
        return ledger.mutate(score=nothing("float64"), score_age=nothing("float64"))
    answers = _answers(tables, score)
    end = answers.said + look_back
    valid = answers.mutate(until=ibis.least(ibis.coalesce(answers.next, end), end))
    valid = valid.filter(valid.until > valid.said).select("said", "until", "score", who=PERSON)
    panel = ledger.left_join(
        valid, [ledger[PERSON] == valid.who, ledger.month > valid.said, ledger.month <= valid.until]
    )
    return panel.select(
        PERSON,
        "month",
        "outcome",
        score=panel.score.cast("float64"),
        score_age=(panel.month - panel.said).cast("float64"),
    )


def _answers(tables: Tables, score: str) -> ir.Table:
    """One answer per customer and day, each with the month of the customer's next one."""
    answers = tables.tables["answers"]
    has_key = "key" in tables.study.tables["answers"].columns
    key = answers.key if has_key else nothing("string")
    given = answers.select("date", **{PERSON: "customer"}, key=key, score=answers[score])
    given = given.filter(given.score.notnull())
    of_a_day = ibis.window(group_by=[PERSON, "date"], order_by=[ibis.desc("key"), "score"])
    given = given.mutate(place=ibis.row_number().over(of_a_day))
    given = given.filter(given.place == 0)
    given = given.select(PERSON, "date", "score", said=month_of(given.date))
    return given.mutate(next=given.said.lead().over(ibis.window(group_by=PERSON, order_by="date")))


def trail_by_month(tables: Tables, score: str | None, look_back: int, rows: ir.Table) -> tuple[Step, ...]:
    """Follow the money to a score, and each answer to the first month of money after it.

    Args:
        tables: The loaded tables.
        score: Name of the score, if any.
        look_back: Months an answer stays in use.
        rows: The linked panel.
    """
    money = {"ledger": rows.customer.notnull()} | ({"scored": rows.score.notnull()} if score else {})
    steps = tuple(count_steps(tables, Funnel(table=rows, person="customer", steps=money)))
    if score is None:
        return steps
    read, answers = tables.tables["answers"], _answers(tables, score)
    asked = {"answers": read.customer.notnull(), "answers_given": read[score].notnull()}
    steps += tuple(count_steps(tables, Funnel(table=read, person="customer", steps=asked)))
    months = tables.tables["ledger"].select(payer="customer", paid="month")
    met = answers.left_join(months, [answers[PERSON] == months.payer, answers.said < months.paid])
    first = met.group_by(PERSON, "date", "said", "next").aggregate(paid=met.paid.min())
    in_time = first.paid <= first.said + look_back
    followed = {
        "answers_one_a_day": first[PERSON].notnull(),
        "answers_before_money": first.paid.notnull(),
        "answers_in_time": in_time,
        "answers_used": in_time & (first.next.isnull() | (first.paid <= first.next)),
    }
    return steps + tuple(count_steps(tables, Funnel(table=first, person=PERSON, steps=followed), steps[-1]))


def money_beside_answers(
    tables: Tables, score: str, outcome: str, look_back: int
) -> tuple[ir.Table, tuple[Step, ...], tuple[Check, ...]]:
    """Keep the answers whose money falls into a later month, one row each.

    Returns:
        Columns as of :func:`money_by_month`; the trail; and a remark when amounts came before their answers.

    Raises:
        LeakageError: No amount is left, or more than half of them are as old as their answer or older: then the outcome
            comes before the score by its nature, and the others are exceptions.
    """
    read = tables.tables["answers"]
    read = read.select(
        "date",
        **{PERSON: "customer"},
        said=month_of(read.date),
        score=read[score].cast("float64"),
        outcome=read[outcome],
        paid=read[dated(outcome)],
        month=month_of(read[dated(outcome)]),
    )
    given = read.score.notnull()
    amount = given & read.outcome.notnull()
    after = amount & (read.paid > read.date)
    later = after & (read.month > read.said)
    in_time = later & (read.month <= read.said + look_back)
    steps = {
        "answers": read[PERSON].notnull(),
        "answers_given": given,
        "answers_with_amount": amount,
        "answers_before_amount": after,
        "answers_month_before": later,
        "answers_in_look_back": in_time,
    }
    trail = tuple(count_steps(tables, Funnel(table=read, person=PERSON, steps=steps)))
    sizes = {step.name: step.rows for step in trail}
    total = sizes["answers_with_amount"]
    early = total - sizes["answers_before_amount"]
    if not sizes["answers_in_look_back"] or 2 * early > total:
        raise _refusal(tables, outcome, read.filter(amount), sizes, look_back)
    values: dict[str, str | int | float] = {"outcome": outcome, "count": early, "total": total}
    checks = (Check(code="ROX-Q07", verdict=Verdict.NOTE, values=values),) if early else ()
    kept = read.filter(in_time)
    panel = kept.select(PERSON, "month", "outcome", "score", score_age=(kept.month - kept.said).cast("float64"))
    return panel, trail, checks


def _refusal(tables: Tables, outcome: str, amounts: ir.Table, sizes: dict[str, int], look_back: int) -> LeakageError:
    total = sizes["answers_with_amount"]
    before = total - sizes["answers_before_amount"]
    same = sizes["answers_before_amount"] - sizes["answers_month_before"]
    far = sizes["answers_month_before"] - sizes["answers_in_look_back"]
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
        f'"{outcome}" are dated before the answer or on its day.'
    )
    faults = []
    if before:
        days = [f"{found[name]:%Y-%m-%d}" for name in ("money_from", "money_to", "said_from", "said_to")]
        faults.append(
            f"the money is dated {days[0]} to {days[1]}, its answers {days[2]} to {days[3]}; "
            f"{int(found['day']):,} of the amounts fall on the day of the answer"
        )
    if same or far:
        faults.append(
            f"{same:,} amounts fall into the month of their answer, {far:,} more than {look_back} months after it"
        )
    faults.append(
        "declare money that follows the answer: what the customer spends in later months, as a ledger with a row per "
        "customer and month"
    )
    return LeakageError(headline, faults)
