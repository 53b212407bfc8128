"""Doubts about what was drawn by lot: the size of the hold-out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from scipy.stats import chi2

from rox.core.check import Check
from rox.core.study import Study
from rox.linking.contract import Staged
from rox.linking.engine import Engine
from rox.linking.expressions import total
from rox.linking.suspicions.finding import note, stop
from rox.linking.suspicions.thresholds import LEAST_ANSWERS, LEAST_EVENTS, MISMATCH, SIMPLE_SHARES


def about_hold_out(engine: Engine, study: Study, staged: Mapping[str, Staged]) -> Iterator[Check]:
    """Compare the share held out with the one that was meant (sample-ratio mismatch).

    Tickets of one customer share their fate where customers are drawn, so the test counts customers: with h of n
    tickets held out, the sum of h − s·n over the customers, squared, over the sum of its squares.
    """
    tickets = staged.get("tickets")
    if tickets is None or "hold_out" not in tickets or "customer" not in tickets:
        return
    rows = tickets.table.filter(tickets.table.hold_out.isin([0, 1]) & tickets.table.customer.notnull())
    if "eligible" in tickets:
        rows = rows.filter(rows.eligible == 1)
    people = rows.group_by("customer").aggregate(n=rows.count(), h=total(rows.hold_out))
    n, h = people.n, people.h
    found = engine.fetch(
        people.aggregate(n=total(n), h=total(h), nn=total(n * n), hh=total(h * h), nh=total(n * h), who=people.count())
    ).iloc[0].astype(float)  # fmt: skip
    if found.who < LEAST_ANSWERS or found.h < LEAST_EVENTS:
        return
    seen, meant = found.h / found.n, study.tables["tickets"].hold_out_share
    share = meant if meant is not None else min(SIMPLE_SHARES, key=lambda each: abs(each - seen))
    spread = found.hh - 2 * share * found.nh + share**2 * found.nn
    p = float(chi2.sf((found.h - share * found.n) ** 2 / spread, 1))
    if p < MISMATCH:
        values = {"held": int(found.h), "total": int(found.n), "seen": float(seen), "share": float(share), "p": p}
        yield stop("ROX-K17", **values) if meant is not None else note("ROX-K18", **values)
