"""Link money to the score that was known before it."""

from __future__ import annotations

import ibis
import ibis.expr.types as ir
import pandas as pd

from rox.core.errors import DataError, LeakageError
from rox.core.linked import Linked, Step
from rox.core.study import Outcome
from rox.linking.expressions import how_many, month_of, nothing, ratio, real
from rox.linking.panel import PERSON, money_beside_answers, money_by_month, trail_by_month
from rox.linking.tables import PANEL_COLUMNS, Tables, fingerprint_of


def link(tables: Tables, *, score: str | None = "nps", outcome: str = "aum", look_back: int = 12) -> Linked:
    """Link each month's money to the latest score answered in an earlier month.

    An answer of month a serves the months after a, up to the month of the customer's next answer and at most
    ``look_back`` months: a validity interval, so that no money meets a score given in its own month or later. Customers
    without an answer stay, with the score missing. Of several answers on one day the one with the highest key counts,
    without keys the lowest score.

    An outcome beside the answers gives one row per answer whose money falls into a later month than the answer.

    Args:
        tables: The loaded tables.
        score: Name of a score or driver; None for money alone.
        outcome: Name of an outcome.
        look_back: Months an answer stays in use.

    Raises:
        DataError: An unknown name, or a look-back below one month.
        LeakageError: Most of the money is dated before the answers it stands beside, or none of it after.
    """
    declared = _declared(tables, score, outcome, look_back)
    mark = _fingerprint(tables, score, outcome, look_back)
    checks = tables.checks
    trail: tuple[Step, ...] = ()
    if declared.table == "answers" and score is not None:
        panel, trail, found = money_beside_answers(tables, score, outcome, look_back)
        checks += found
    else:
        panel = money_by_month(tables, score, outcome, look_back)
    people = tables.engine.stage(_people(tables), f"people_{_digests(tables, {'customers', 'exits'})[:16]}")
    rows = tables.engine.stage(_complete(tables, panel, people), f"panel_{mark[:16]}")
    money = rows.outcome.cast("float64") if declared.kind == "count" else ratio(rows.outcome, real(tables.minor))
    linked = Linked(
        study=tables.study,
        score=score or "",
        outcome=outcome,
        look_back=look_back,
        controls=tables.study.tables["customers"].controls,
        starts=_starts(tables),
        trail=trail or trail_by_month(tables, score, look_back, rows),
        fingerprint=mark,
        checks=checks,
        panel=rows.mutate(outcome=money),
        fetch=tables.fetch,
    )
    if count := leaks(linked, tables):
        raise LeakageError(
            f"The link itself is wrong: {count:,} rows hold a score that was not known before the money."
        )
    return linked


def leaks(linked: Linked, tables: Tables) -> int:
    """Count the panel's scores that no earlier month's answer of the same customer stands behind.

    It trusts nothing of the link but the numbering of the customers: a score counts as founded only if the answers hold
    it for that customer in the month that ``score_age`` points at, and that month lies before the row's month.
    """
    if not linked.score:
        return 0
    scored = linked.panel.filter(linked.panel.score.notnull())
    scored = scored.select("customer", "month", "score", answered=scored.month - scored.score_age.cast("int64"))
    codes = tables.tables["customers"].select(id="customer", code=_code())
    answers = tables.tables["answers"]
    given = answers.filter(answers[linked.score].notnull())
    given = given.select(
        person=given.customer, given=given[linked.score].cast("float64"), said=month_of(given.date)
    ).distinct()
    given = given.inner_join(codes, given.person == codes.id).select("code", "given", "said")
    backed = scored.left_join(
        given, [scored.customer == given.code, scored.score == given.given, scored.answered == given.said]
    )
    wrong = how_many(backed.said.isnull() | (backed.said >= backed.month))
    return int(tables.fetch(backed.aggregate(n=wrong))["n"].iloc[0])


def _declared(tables: Tables, score: str | None, outcome: str, look_back: int) -> Outcome:
    study = tables.study
    scores = [*study.scores, *study.drivers]
    faults = []
    if score is not None and score not in scores:
        faults.append(f"score {score!r} is not declared; the study has {', '.join(scores)}")
    if outcome not in study.outcomes:
        faults.append(f"outcome {outcome!r} is not declared; the study has {', '.join(study.outcomes)}")
    elif study.outcomes[outcome].table == "answers" and score is None:
        faults.append(f"outcome {outcome!r} stands beside the answers, so it needs a score")
    if look_back < 1:
        faults.append(f"look_back is {look_back}; at least 1 month is needed")
    if faults:
        raise DataError("These tables cannot be linked so.", faults)
    return study.outcomes[outcome]


def _fingerprint(tables: Tables, score: str | None, outcome: str, look_back: int) -> str:
    declared = tables.study.outcomes[outcome]
    used = {"customers", "exits", "initiatives", declared.table} | ({"answers"} if score else set())
    exits = tables.study.tables.get("exits")
    settings = {
        "score": score,
        "outcome": outcome,
        "kind": declared.kind,
        "look_back": look_back,
        "currency": tables.study.currency,
        "voluntary": sorted(exits.voluntary) if exits else [],
        "controls": tables.study.tables["customers"].controls,
    }
    return fingerprint_of({"tables": _digests(tables, used), **settings})


def _digests(tables: Tables, used: set[str]) -> str:
    """Return SHA-256 over the contents of some tables."""
    return fingerprint_of({name: tables.digest(name) for name in tables.tables if name in used})


def _people(tables: Tables) -> ir.Table:
    """One row per customer: code, segment, unit, weight, opening, exit, controls."""
    customers = tables.tables["customers"]
    controls = tables.study.tables["customers"].controls
    people = customers.select(
        "segment",
        "unit",
        "weight",
        *controls,
        **{PERSON: "customer"},
        customer=_code(),
        opened=month_of(customers.opened).cast("float64") if "opened" in customers.columns else nothing("float64"),
    )
    if "exits" not in tables.tables:
        return people.mutate(exit_month=nothing("float64"), voluntary=ibis.literal(False))
    exits = tables.tables["exits"]
    listed = tables.study.tables["exits"].voluntary
    chosen = exits.reason.isin(list(listed)).fill_null(False) if listed else ibis.literal(True)
    left = exits.select(rox_leaver="customer", exit_month=month_of(exits.date).cast("float64"), voluntary=chosen)
    joined = people.left_join(left, people[PERSON] == left.rox_leaver)
    return joined.mutate(voluntary=joined.voluntary.fill_null(False)).drop("rox_leaver")


def _code() -> ir.IntegerColumn:
    """Number the customers densely from 0, in the order of their ids."""
    return ibis.row_number().over(ibis.window(order_by="customer")).cast("int64")


def _complete(tables: Tables, panel: ir.Table, people: ir.Table) -> ir.Table:
    """Bring in what is known of the customer, and leave the id behind."""
    return panel.inner_join(people, PERSON).select(*PANEL_COLUMNS, *tables.study.tables["customers"].controls)


def _starts(tables: Tables) -> pd.DataFrame:
    if "initiatives" not in tables.tables:
        return pd.DataFrame({"initiative": [], "unit": [], "start": []}).astype(
            {"initiative": object, "unit": object, "start": "int64"}
        )
    starts = tables.tables["initiatives"]
    starts = starts.select("initiative", "unit", start=month_of(starts.start)).order_by("initiative", "start", "unit")
    return tables.fetch(starts)
