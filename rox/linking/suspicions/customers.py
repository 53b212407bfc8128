"""Doubts about the customers as a body: what is missing or constant, codes among values, who is there and who left."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import ibis
import pandas as pd

from rox.core.case import EVERYONE
from rox.core.check import Check
from rox.core.study import Study
from rox.linking.engine import Engine
from rox.linking.expressions import how_many, ratio, total
from rox.linking.histories import Histories, Predictor
from rox.linking.suspicions.codes import Coded, codes_among
from rox.linking.suspicions.finding import demote, note, rows_of
from rox.linking.suspicions.thresholds import (
    HALF,
    LATE_EXIT_MONTHS,
    LATE_EXITS,
    LEAST_CUSTOMERS,
    LEAST_EVENTS,
    MANY_TWINS,
)
from rox.linking.tables import UNKNOWN


@dataclass(frozen=True, kw_only=True)
class Profile:
    """What one scan over the customers tells.

    Attributes:
        customers: How many there are.
        figures: Every figure by name.
    """

    customers: int
    figures: pd.Series[Any]

    def count(self, name: str) -> int:
        """Return a figure that is a count; none is 0."""
        value = self.figures[name]
        return 0 if pd.isna(value) else int(value)

    def levels(self, predictor: Predictor) -> int:
        """Count the different values of a predictor."""
        return self.count(f"levels_{predictor.column}")


def profile_of(engine: Engine, histories: Histories) -> Profile:
    """Count and measure the customers in one scan."""
    people = histories.table
    sums: dict[str, Any] = {
        "n": people.count(),
        "bare": people.id_bare.nunique(),
        "ids": people.person.nunique(),
    }
    for each in histories.predictors:
        value = people[each.column]
        sums |= {f"missing_{each.column}": how_many(value.isnull()), f"levels_{each.column}": value.nunique()}
        if each.numeric:
            sums |= {f"low_{each.column}": value.min(), f"high_{each.column}": value.max()}
    if histories.has_exits:
        sums["left"] = total(people.left)
        if "weight" in people.columns:
            weighted = (people.left * people.weight).sum()
            sums["weighted"] = ratio(weighted, people.weight.sum())
    if histories.has_ledger:
        sums |= {
            "gaps": how_many(people.last - people.first + 1 > people.months),
            "absent": total(people.last - people.first + 1 - people.months),
            "with_ledger": how_many(people.months.notnull()),
            "months": total(people.months),
            "end": people.last.max(),
            **{f"any{j}": total(people[f"any{j}"]) for j in range(len(histories.outcomes))},
        }
        if histories.has_exits:
            sums["late"] = how_many(people.exit_month - people.paid_until > LATE_EXIT_MONTHS)
            sums["paid_leavers"] = how_many(people.exit_month.notnull() & people.paid_until.notnull())
    figures = engine.fetch(people.aggregate(**sums)).iloc[0]
    return Profile(customers=int(figures["n"]), figures=figures)


def about_customers(engine: Engine, study: Study, histories: Histories, profile: Profile) -> Iterator[Check]:
    """Look at the customers."""
    for each in histories.predictors:
        missing = profile.count(f"missing_{each.column}")
        if missing:
            code = "ROX-Q01" if each.is_control else "ROX-Q05"
            yield note(code, column=each.source, count=missing, total=profile.customers)
        if each.is_control and profile.levels(each) == 1 and not missing and profile.customers > 1:
            yield note("ROX-K10", table="customers", column=each.source)
        if each.numeric and profile.levels(each) > 1:
            coded = Coded(
                table=histories.table,
                column=each.column,
                low=profile.figures[f"low_{each.column}"],
                high=profile.figures[f"high_{each.column}"],
            )
            for spike, count, wrong in codes_among(engine, coded):
                rows = rows_of(engine, wrong)
                yield note("ROX-K09", table="customers", column=each.source, code=spike, count=count, rows=rows)
    yield from _small_segments(engine, study, histories, profile)
    yield from _ids(engine, study, histories, profile)
    yield from _balance(study, histories, profile)
    yield from _ledger(engine, histories, profile)


def _small_segments(engine: Engine, study: Study, histories: Histories, profile: Profile) -> Iterator[Check]:
    """Name the segments that are too small to be shown."""
    least, small = study.about.min_cell, [EVERYONE] if profile.customers < study.about.min_cell else []
    for each in histories.predictors:
        if each.role == "segment":
            people = histories.table.select(segment=ibis.coalesce(histories.table[each.column], ibis.literal(UNKNOWN)))
            sizes = people.group_by("segment").aggregate(n=people.count())
            small = list(engine.fetch(sizes.filter(sizes.n < least).order_by("segment"))["segment"])
    if small:
        yield note("ROX-Q02", segments=", ".join(small), least=least)


def _ids(engine: Engine, study: Study, histories: Histories, profile: Profile) -> Iterator[Check]:
    """Two ids that differ in leading zeros only are one customer."""
    again = profile.count("ids") - profile.count("bare")
    if not again:
        return
    people = histories.table
    bare = people.group_by(rox_bare="id_bare").aggregate(rox_ids=people.person.nunique())
    double = people.inner_join(bare.filter(bare.rox_ids > 1), people.id_bare == bare.rox_bare)
    column = study.tables["customers"].columns["customer"]
    said = demote if again > MANY_TWINS * profile.customers else note
    yield said("ROX-K08", column=column, count=again, rows=rows_of(engine, double))


def _balance(study: Study, histories: Histories, profile: Profile) -> Iterator[Check]:
    """A sample of as many leavers as stayers is no customer base."""
    if not histories.has_exits or profile.customers < LEAST_CUSTOMERS:
        return
    left = profile.count("left")
    share = left / profile.customers
    low, high = HALF
    if not low <= share <= high:
        return
    if "weight" in histories.table.columns and not low <= float(profile.figures["weighted"]) <= high:
        return
    values: dict[str, str | int | float] = {"left": left, "total": profile.customers, "share": share}
    if abs(2 * left - profile.customers) <= 1:
        yield demote("ROX-K16", left=left, total=profile.customers)
    else:
        yield note("ROX-K15", **values)


def _ledger(engine: Engine, histories: Histories, profile: Profile) -> Iterator[Check]:
    """Customers whose months have gaps, and exits that were recorded long after the money had gone."""
    if not histories.has_ledger:
        return
    people = histories.table
    if gaps := profile.count("gaps"):
        wrong = people.filter(people.last - people.first + 1 > people.months)
        absent, payers = profile.count("absent"), profile.count("with_ledger")
        yield note("ROX-K28", count=gaps, total=payers, months=absent, rows=rows_of(engine, wrong))
    if not histories.has_exits:
        return
    late, leavers = profile.count("late"), profile.count("paid_leavers")
    if late < LEAST_EVENTS or late <= LATE_EXITS * leavers:
        return
    until = ibis.least(people.exit_month, ibis.literal(profile.count("end"), "int64"))
    wrong = people.filter(until - people.paid_until > LATE_EXIT_MONTHS)
    late = int(engine.fetch(wrong.aggregate(n=wrong.count()))["n"].iloc[0])
    if late >= LEAST_EVENTS and late > LATE_EXITS * leavers:
        rows = rows_of(engine, wrong)
        yield note("ROX-K29", count=late, total=leavers, months=LATE_EXIT_MONTHS, rows=rows)
