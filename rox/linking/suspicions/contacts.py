"""Doubts about accounts for which several contacts answer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from rox.core.check import Check
from rox.linking.contract import Staged
from rox.linking.engine import Engine
from rox.linking.expressions import how_many
from rox.linking.sources import FILE, ROW
from rox.linking.suspicions.finding import note, rows_of


def about_contacts(engine: Engine, staged: Mapping[str, Staged]) -> Iterator[Check]:
    """Count the accounts with answers of several contacts, and the contacts who answer for several accounts."""
    answers = staged.get("answers")
    if answers is None or "contact" not in answers or "customer" not in answers:
        return
    rows = answers.table.filter(answers.table.contact.notnull() & answers.table.customer.notnull())
    pairs = rows.select("contact", "customer").distinct()
    contacts = pairs.group_by("contact").aggregate(accounts=pairs.count())
    accounts = pairs.group_by("customer").aggregate(contacts=pairs.count())
    several = accounts.aggregate(total=accounts.count(), several=how_many(accounts.contacts > 1))
    shared = contacts.aggregate(shared=how_many(contacts.accounts > 1))
    found = engine.fetch(several.cross_join(shared)).iloc[0]
    if count := int(found["shared"]):
        wide = contacts.filter(contacts.accounts > 1)
        wrong = rows.semi_join(wide, rows.contact == wide.contact).select(FILE, ROW)
        yield note("ROX-K30", column=answers.source("contact"), count=count, rows=rows_of(engine, wrong))
    if count := int(found["several"]):
        yield note("ROX-K31", count=count, total=int(found["total"]))
