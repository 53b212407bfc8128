"""Which answers count, from which month on, and for how long."""

from __future__ import annotations

import ibis
import ibis.expr.types as ir

from rox.linking.choices import Choices
from rox.linking.expressions import indicator, month_of, nothing
from rox.linking.people import PERSON
from rox.linking.tables import Tables

EXPOSURE_COLUMNS = (
    "customer",
    "number",
    "date",
    "said",
    "known",
    "begin",
    "until",
    "later",
    "score",
    "is_new",
    "is_placed",
    "is_open",
)


def exposures_of(tables: Tables, choices: Choices, people: ir.Table) -> ir.Table:
    """List the answers of the customers that are followed, of those of one day that were known together the best one.

    An answer given in month ``said`` was known in month ``known``, the later of the two. It begins to count ``lag``
    months after it was given, but not before the month after it was known, and stays in use until a later answer begins
    to count, at most until ``look_back`` months after it was given. Of several answers of one day the one with the
    highest key counts, without keys the lowest score.

    Returns:
        One row per answer: ``customer``; ``number``, in the order of the answers; ``date``; months ``said``, ``known``,
        ``begin``, ``until`` (below ``begin``: it never counts), ``later`` (first month in which a later answer counts);
        ``score``; and 1 or 0 in ``is_new`` (no answer within the washout before it), ``is_placed`` (not older than what
        is known of the customer), ``is_open`` (both: it counts).
    """
    given = given_answers(tables, choices.score or "")
    in_order = ibis.window(group_by=PERSON, order_by=["date", ibis.desc("rox_rank")])
    given = given.mutate(number=ibis.row_number().over(in_order).cast("int64"), before=given.said.lag().over(in_order))
    fresh = ibis.literal(True)
    if choices.washout is not None:
        fresh = given.before.isnull() | (given.said - given.before > choices.washout)
    known = people.select("customer", "since", who=PERSON)
    joined = given.inner_join(known, given[PERSON] == known.who)
    flagged = joined.mutate(
        score=joined.score.cast("int64"),
        begin=ibis.greatest(joined.said + choices.lag, joined.known + 1),
        is_new=indicator(fresh),
        is_placed=indicator(joined.since.isnull() | (joined.date >= joined.since)),
    )
    flagged = flagged.mutate(is_open=flagged.is_new * flagged.is_placed)
    from_last = ibis.window(group_by="customer", order_by=[ibis.desc("number")], preceding=(None, 1))
    opening = (flagged.is_open == 1).ifelse(flagged.begin, nothing("int64"))
    flagged = flagged.mutate(later=opening.min().over(from_last))
    last = flagged.said + choices.look_back
    until = ibis.least(ibis.coalesce(flagged.later - 1, last), last)
    return flagged.mutate(until=until).select(*EXPOSURE_COLUMNS)


def given_answers(tables: Tables, score: str) -> ir.Table:
    """Keep one answer per customer, day, and month in which it was known.

    Returns:
        The columns ``rox_person``, ``date``, ``score``, ``said``, ``known``, and ``rox_rank``: 0 for the best answer of
        its day.
    """
    answers = tables.tables["answers"]
    key = answers.key if "key" in tables.study.tables["answers"].columns else nothing("string")
    said = month_of(answers.date)
    known = ibis.greatest(said, month_of(answers.available)) if has_availability(tables) else said
    given = answers.select("date", **{PERSON: "customer"}, key=key, score=answers[score], said=said, known=known)
    given = given.filter(given.score.notnull())
    best_first = [ibis.desc("key"), "score", "known"]
    given = given.mutate(
        rox_rank=ibis.row_number().over(ibis.window(group_by=[PERSON, "date"], order_by=best_first)),
        place=ibis.row_number().over(ibis.window(group_by=[PERSON, "date", "known"], order_by=best_first[:2])),
    )
    return given.filter(given.place == 0).drop("key", "place")


def has_availability(tables: Tables) -> bool:
    """Whether it is declared when answers could be known."""
    return "available" in tables.study.tables["answers"].columns


def in_use(exposures: ir.Table) -> ir.Table:
    """Keep the answers that count in some month."""
    return exposures.filter(exposures.is_open == 1, exposures.until >= exposures.begin)
