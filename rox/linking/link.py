"""Link money to the score that was known before it."""

from __future__ import annotations

from dataclasses import replace

import ibis.expr.types as ir
import pandas as pd

from rox.core.linked import Linked, Step, month_label
from rox.linking.cells import reduce_linked
from rox.linking.choices import Choices, choices_of
from rox.linking.exposures import exposures_of
from rox.linking.expressions import month_of, ratio, real
from rox.linking.leaks import leak_report_of
from rox.linking.panel import money_beside_answers, money_by_month, trail_by_month
from rox.linking.people import people_of
from rox.linking.tables import Tables, digests, fingerprint_of
from rox.linking.views import TableViews


def link(
    tables: Tables,
    *,
    score: str | None = "nps",
    outcome: str = "aum",
    look_back: int = 12,
    lag: int = 1,
    washout: int | None = None,
    cohort: str | None = None,
) -> Linked:
    """Link each month's money to the latest score answered in an earlier month.

    An answer of month a serves the months after a, up to the month of the customer's next answer and at most
    ``look_back`` months: a validity interval, so that no money meets a score given in its own month or later. Where the
    study says when answers were ``available``, an answer serves the months after that, if it is later. Customers
    without an answer stay, with the score missing. Of several answers on one day the one with the highest key counts,
    without keys the lowest score.

    Where the customers table has several dated rows per customer (role ``since``), the one valid at the cohort's date
    is used; without a cohort, the one valid ``look_back`` months before the money begins, or the customer's first.
    Answers and money from before that row are left out: nobody is described by what was known only later.

    An outcome beside the answers gives one row per answer whose money falls into a later month than the answer.

    Every row with a score is proven from the raw tables by another way before the panel is handed out.

    Args:
        tables: The loaded tables.
        score: Name of a score or driver; None for money alone.
        outcome: Name of an outcome.
        look_back: Months an answer stays in use.
        lag: Least months from an answer to the money it stands beside, at least 1.
        washout: Count an answer only if the customer gave none in this many months before; the one in use stays in use.
            Answers from before the tables begin cannot be seen.
        cohort: Month such as ``"2024-03"``: follow the customers who were known, had opened and had not left on its
            first day, as known then, from that month on. Answers they gave before serve as before.

    Raises:
        DataError: Unknown names, or settings that leave nothing to link; all in one message.
        LeakageError: Most of the money is dated before the answers it stands beside, or none of it after.
    """
    choices = choices_of(
        tables, score=score, outcome=outcome, look_back=look_back, lag=lag, washout=washout, cohort=cohort
    )
    declared = tables.study.outcomes[outcome]
    mark = _fingerprint(tables, choices)
    people = people_of(tables, choices)
    exposures: ir.Table | None = None
    checks = tables.checks
    trail: tuple[Step, ...] = ()
    if declared.table == "answers":
        panel, trail, found = money_beside_answers(tables, choices, people)
        checks += found
    else:
        if score is not None:
            exposures = tables.engine.stage(exposures_of(tables, choices, people), f"answers_{mark[:16]}")
        panel = money_by_month(tables, choices, people, exposures)
    rows = tables.engine.stage(panel, f"panel_{mark[:16]}")
    per_unit = 1 if declared.kind == "count" else tables.minor
    money = rows.outcome.cast("float64") if declared.kind == "count" else ratio(rows.outcome, real(tables.minor))
    linked = Linked(
        study=tables.study,
        score=score or "",
        outcome=outcome,
        look_back=look_back,
        controls=tables.study.tables["customers"].controls,
        starts=_starts(tables),
        trail=trail or trail_by_month(tables, choices, people, exposures, rows),
        fingerprint=mark,
        checks=checks,
        panel=rows.mutate(outcome=money),
        fetch=tables.fetch,
        reduce=reduce_linked(tables),
        lag=lag,
        washout=washout,
        cohort=None if choices.cohort is None else month_label(choices.cohort),
        views=TableViews(
            tables=tables,
            choices=choices,
            people=people,
            exposures=exposures,
            per_unit=per_unit,
        ),
    )
    return _proven(linked)


def _proven(linked: Linked) -> Linked:
    """Search the panel for leaks, and let it carry what was found."""
    if not linked.score:
        return linked
    report = linked.leak_report()
    report.require_none()
    return replace(linked, checks=(*linked.checks, *report.checks))


def leaks(linked: Linked, tables: Tables) -> int:
    """Count the panel's rows whose score, or whose customer, was not known before the money.

    See :func:`rox.linking.leaks.leak_report_of`.
    """
    choices = choices_of(
        tables,
        score=linked.score or None,
        outcome=linked.outcome,
        look_back=linked.look_back,
        lag=linked.lag,
        washout=linked.washout,
        cohort=linked.cohort,
    )
    return leak_report_of(linked, tables, choices).wrong


def _fingerprint(tables: Tables, choices: Choices) -> str:
    declared = tables.study.outcomes[choices.outcome]
    used = {"customers", "exits", "initiatives", declared.table} | ({"answers"} if choices.score else set())
    exits = tables.study.tables.get("exits")
    settings = {
        "score": choices.score,
        "outcome": choices.outcome,
        "kind": declared.kind,
        "look_back": choices.look_back,
        "currency": tables.study.currency,
        "voluntary": sorted(exits.voluntary) if exits else [],
        "controls": tables.study.tables["customers"].controls,
        **choices.unusual,
    }
    return fingerprint_of({"tables": digests(tables, used), **settings})


def _starts(tables: Tables) -> pd.DataFrame:
    if "initiatives" not in tables.tables:
        return pd.DataFrame({"initiative": [], "unit": [], "start": []}).astype(
            {"initiative": object, "unit": object, "start": "int64"}
        )
    starts = tables.tables["initiatives"]
    starts = starts.select("initiative", "unit", start=month_of(starts.start)).order_by("initiative", "start", "unit")
    return tables.fetch(starts)
