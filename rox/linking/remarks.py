"""Remarks on tables that can be read: what an analyst should know before believing a number."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from rox.core.check import Check, Verdict
from rox.core.study import Study
from rox.linking.columns import minor_units
from rox.linking.contract import Staged
from rox.linking.engine import Engine
from rox.linking.histories import histories_of
from rox.linking.suspicions.contacts import about_contacts
from rox.linking.suspicions.customers import about_customers, profile_of
from rox.linking.suspicions.finding import note
from rox.linking.suspicions.leaks import about_leaks
from rox.linking.suspicions.levels import about_levels
from rox.linking.suspicions.months import about_months
from rox.linking.suspicions.samples import about_hold_out
from rox.linking.suspicions.scales import about_scales
from rox.linking.suspicions.timing import about_answers, about_clocks
from rox.linking.suspicions.twins import about_twin_answers, about_twin_customers


def remarks_of(
    engine: Engine, study: Study, staged: Mapping[str, Staged], numeric: Mapping[str, bool]
) -> tuple[Check, ...]:
    """Look at the tables for what is no fault of any single value.

    A remark of verdict STOP says that numbers would be wrong: the tables must not be opened. The others travel with
    every effect.

    Args:
        engine: Where the tables are.
        study: What was declared.
        staged: The tables as they were read.
        numeric: Which controls are numbers.

    Returns:
        The remarks that apply, in the order of their codes. They name columns, groups, counts and rows, no values.
    """
    minor = minor_units(study.currency)
    found = [
        *_of_customers(engine, study, staged, numeric),
        *about_months(engine, study, staged, minor),
        *about_scales(engine, study, staged),
        *about_answers(engine, study, staged, minor),
        *about_twin_answers(engine, study, staged),
        *about_clocks(engine, staged),
        *about_hold_out(engine, study, staged),
        *about_contacts(engine, staged),
        *_unused_reasons(engine, study, staged),
    ]
    return tuple(sorted(found, key=lambda check: check.code))


def stops_of(remarks: Sequence[Check]) -> list[str]:
    """Write the remarks that stop the work as faults, one line each."""
    return [f"{check.code} · {check.sentence()}" for check in remarks if check.verdict is Verdict.STOP]


def _of_customers(
    engine: Engine, study: Study, staged: Mapping[str, Staged], numeric: Mapping[str, bool]
) -> Iterator[Check]:
    histories = histories_of(engine, study, staged, numeric)
    if histories is None:
        return
    profile = profile_of(engine, histories)
    if not profile.customers:
        return
    yield from about_customers(engine, study, histories, profile)
    yield from about_levels(engine, study, staged, histories, profile)
    yield from about_leaks(engine, histories, profile)
    yield from about_twin_customers(engine, staged, histories, profile)


def _unused_reasons(engine: Engine, study: Study, staged: Mapping[str, Staged]) -> Iterator[Check]:
    exits = staged.get("exits")
    if exits is None or "reason" not in exits or not study.tables["exits"].voluntary:
        return
    seen = set(engine.fetch(exits.table.select("reason").distinct())["reason"])
    unused = [reason for reason in study.tables["exits"].voluntary if reason not in seen]
    if unused:
        yield note("ROX-Q06", reasons=", ".join(unused))
