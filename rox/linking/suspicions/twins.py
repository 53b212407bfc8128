"""Customers, and answers, that stand in the tables twice under different ids."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import reduce

import ibis
import ibis.expr.types as ir

from rox.core.check import Check, Verdict
from rox.core.study import Study
from rox.linking.contract import Staged
from rox.linking.engine import Engine
from rox.linking.expressions import indicator, total
from rox.linking.histories import SEEDS, Histories, with_marks
from rox.linking.sources import FILE, ROW
from rox.linking.suspicions.customers import Profile
from rox.linking.suspicions.finding import note, rows_of
from rox.linking.suspicions.thresholds import (
    ALIKE_QUESTIONS,
    LEAST_EVENTS,
    MANY_TWINS,
    NEARLY_ALL,
    TWIN_AMOUNTS,
)


def about_twin_customers(
    engine: Engine, staged: Mapping[str, Staged], histories: Histories, profile: Profile
) -> Iterator[Check]:
    """Find customers with the same segment, unit, opening and ledger, month by month and amount by amount."""
    if not histories.has_ledger:
        return
    people = histories.table.filter(histories.table.months.notnull())
    alike = [f"mark{k}" for k in range(len(SEEDS))] + ["months", "first", "last"]
    alike += [each.column for each in histories.predictors if not each.is_control]
    alike += ["opened"] if "opened" in people.columns else []
    groups = people.group_by(alike).aggregate(size=people.count())
    groups = groups.filter((groups["size"] > 1) & (groups.months >= TWIN_AMOUNTS))
    if not int(engine.fetch(groups.aggregate(n=groups.count()))["n"].iloc[0]):
        return
    place = ibis.row_number().over(ibis.window(group_by=alike, order_by=[FILE, ROW]))
    copies = people.mutate(place=place)
    copies = _of_varied_ledger(staged["ledger"].table, histories, copies.filter(copies.place > 0))
    count = int(engine.fetch(copies.aggregate(n=copies.count()))["n"].iloc[0])
    if count:
        verdict = Verdict.DEMOTE if count > MANY_TWINS * profile.customers else Verdict.NOTE
        values: dict[str, str | int | float] = {
            "count": count,
            "total": profile.customers,
            "rows": rows_of(engine, copies),
        }
        yield Check(code="ROX-K06", verdict=verdict, values=values)


def _of_varied_ledger(ledger: ir.Table, histories: Histories, copies: ir.Table) -> ir.Table:
    """Keep the customers whose ledger has enough different amounts: a tariff or an empty account is no fingerprint."""
    theirs = ledger.semi_join(copies, ledger.customer == copies.person)
    amounts = {
        f"a{j}": ibis.coalesce(theirs[name], ibis.literal(0, "int64")) for j, name in enumerate(histories.outcomes)
    }
    rows = with_marks(theirs.select("month", payer="customer", **amounts), tuple(amounts))
    varied = rows.group_by("payer").aggregate(amounts=rows.mark.nunique())
    varied = varied.filter(varied.amounts >= TWIN_AMOUNTS)
    return copies.semi_join(varied, copies.person == varied.payer)


def about_twin_answers(engine: Engine, study: Study, staged: Mapping[str, Staged]) -> Iterator[Check]:
    """Find answers of one person on one day that are alike in every question.

    Three questions answered alike are no chance. With fewer, only many second answers of a day are that nearly always
    repeat the first one.
    """
    answers = staged.get("answers")
    if answers is None or "customer" not in answers or "date" not in answers:
        return
    questions = [name for name in (*study.scores, *study.drivers) if name in answers]
    if not questions:
        return
    read = answers.table
    given = reduce(lambda one, other: one + other, (indicator(read[name].notnull()) for name in questions))
    rows = read.filter((given > 0) & read.customer.notnull() & read.date.notnull()).mutate(rox_given=given)
    day = ["customer", "date", *(["contact"] if "contact" in answers else [])]
    groups = rows.group_by(*day, *questions, "rox_given").aggregate(size=rows.count())
    sure = indicator(groups.rox_given >= ALIKE_QUESTIONS) * (groups["size"] - 1)
    days = groups.group_by(day).aggregate(size=groups["size"].sum(), alike=(groups["size"] - 1).sum(), sure=sure.sum())
    found = engine.fetch(
        days.aggregate(
            n=total(days["size"]), again=total(days["size"] - 1), alike=total(days.alike), sure=total(days.sure)
        )
    ).iloc[0]
    again, alike, count = (int(found[name]) for name in ("again", "alike", "sure"))
    all_alike = alike >= max(LEAST_EVENTS, MANY_TWINS * int(found["n"])) and alike >= NEARLY_ALL * again
    if not count and not all_alike:
        return
    least = 1 if all_alike else ALIKE_QUESTIONS
    rows = rows.filter(rows.rox_given >= least)
    place = ibis.row_number().over(ibis.window(group_by=[*day, *questions], order_by=[FILE, ROW]))
    copies = rows.mutate(place=place)
    copies = copies.filter(copies.place > 0)
    yield note("ROX-K07", count=alike if all_alike else count, rows=rows_of(engine, copies))
