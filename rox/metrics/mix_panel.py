"""A change seen as a panel: those who stayed, who joined, who left, and which of them answer.

Customers are known whether they answer or not, by status and by the dimensions asked for. With p the mean of a status
after weighting the answers to the customers it stands for, φ the joiners' share of the later customers and λ the
leavers' of the earlier ones, the change of the customers' mean is (p_S1 − p_S0) + φ(p_J1 − p_S1) − λ(p_L0 − p_S0); what
the answers differ from it is who answers.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import ibis
import numpy as np
import pandas as pd

from rox.metrics.display import SHOWN_FROM
from rox.metrics.source import MONTHS_OF, PLACE, Tables, required, rows_of
from rox.metrics.tallies import UNKNOWN, Asked, Floats, Table, as_table, by_bucket
from rox.numerics.arrays import Ints
from rox.numerics.decompose import pool_thin
from rox.numerics.funnel_mix import cell_means
from rox.numerics.jackknife import bucket_jackknife

STAYED, CHANGED = "stayed", "changed"
PARTS = ("stayers", "joiners", "leavers", "who_answers")


def panel(tables: Tables, what: Asked, by: tuple[str, ...], times: tuple[str, int, int], level: float) -> pd.DataFrame:
    """Split the change of a score into stayers, joiners, leavers and who answers.

    Who stayed was there at the end of the earlier period and at the beginning of the later one; where openings or exits
    are not known, everybody stayed. Dimensions that are columns of the answers alone are known of nobody else and do
    not count here.

    Args:
        tables: Loaded tables.
        what: The measure, its rows those of the two periods.
        by: The dimensions of the rows, after which comes the time.
        times: Kind of the periods and their numbers.
        level: Level of the intervals.

    Returns:
        One row per part with ``value``, ``se``, ``low``, ``high``, ``n``, ``customers``, ``n_eff``.
    """
    time, earlier, later = times
    customers = required(tables, "customers")
    known = tuple(group for group in by if _column_of(customers, group) in customers.columns)
    people = _with_status(tables, customers, time, earlier, later)
    answers = _answers_with_status(what, people, known, time, (earlier + 1) * MONTHS_OF[time] - 1)
    table = as_table(by_bucket(tables, answers), ("status", *known), time, earlier)
    everybody = _everybody(tables, people, known, table)
    pool = pool_thin(table.effective[1], table.effective[0], SHOWN_FROM)
    fit = bucket_jackknife(
        lambda total: _parts(total, everybody, pool, table.levels[0]), np.stack([table.x, table.y], axis=1), level=level
    )
    counts = {name: _of_parts(table, getattr(table, name)) for name in ("n", "m", "x", "ww")}
    return pd.DataFrame(
        {
            "term": PARTS,
            "value": fit.estimate,
            "se": fit.se,
            "low": fit.low,
            "high": fit.high,
            "n": counts["n"],
            "customers": np.where(counts["n"] > 0, counts["m"], counts["m"][-1]),
            "n_eff": np.divide(counts["x"] ** 2, counts["ww"], out=np.zeros(4), where=counts["ww"] > 0),
        }
    )


def _column_of(customers: Any, group: str) -> str:
    return "unit" if group == PLACE and PLACE not in customers.columns else group


def _with_status(tables: Tables, customers: Any, time: str, earlier: int, later: int) -> Any:
    """Say of customers who came after the earlier period, who went before the later one, and who was there when."""
    size = MONTHS_OF[time]
    first, second = (earlier * size, (earlier + 1) * size - 1), (later * size, (later + 1) * size - 1)
    opened = ibis.literal(first[0], "int64")
    if "opened" in customers.columns:
        day = customers.opened
        opened = day.cast("int64") if day.type().is_integer() else day.year().cast("int64") * 12 + day.month() - 1
        opened = ibis.coalesce(opened, first[0])
    gone = ibis.literal(second[1] + 1, "int64")
    table = customers.mutate(_opened=opened)
    if "exits" in tables.tables:
        exits = tables.tables["exits"]
        last = exits.group_by(_person=exits.customer).aggregate(_exit=exits.month.max().cast("int64"))
        table = table.left_join(last, table.customer == last["_person"]).drop("_person")
        gone = ibis.coalesce(table["_exit"], gone)
    table = table.mutate(_gone=gone)
    return table.mutate(
        _came=table["_opened"] > first[1],
        _went=table["_gone"] < second[0],
        _there_0=(table["_opened"] <= first[1]) & (table["_gone"] >= first[0]),
        _there_1=(table["_opened"] <= second[1]) & (table["_gone"] >= second[0]),
    )


def _answers_with_status(what: Asked, people: Any, by: tuple[str, ...], time: str, last: int) -> Asked:
    """Put the status of the customer in front of the groups of the rows."""
    rows = what.rows
    status = people.select(_whose=people.customer, _came=people["_came"], _went=people["_went"])
    joined = rows.table.left_join(status, rows.table.customer == status["_whose"])
    changed = (joined.month.cast("int64") > last).ifelse(joined["_came"], joined["_went"]).fill_null(False)
    keys = [rows.keys[rows.by.index(group)] for group in (*by, time)]
    kept = [name for name in rows.table.columns if name not in rows.keys]
    table = joined.select(
        *kept,
        by_0=changed.ifelse(CHANGED, STAYED),
        **{f"by_{place}": joined[key] for place, key in enumerate(keys, start=1)},
    )
    return replace(what, rows=replace(rows, table=table, by=("status", *by, time)))


def _everybody(tables: Tables, people: Any, by: tuple[str, ...], table: Table) -> Floats:
    """Return the weight of all customers (2, status, level, …), the earlier period first; in the levels of the answers.

    Customers of levels that no answer has are counted with their status, spread as those who have one.
    """
    parts = []
    for number, changes in ((0, "_went"), (1, "_came")):
        there = people.filter(people[f"_there_{number}"])
        there = there.select(
            "customer",
            status=there[changes].fill_null(False).ifelse(CHANGED, STAYED),
            month=ibis.literal(0),
            **{group: there[_column_of(there, group)] for group in by},
        )
        rows = rows_of(tables, "customers", ("status", *by), table=there)
        frame = tables.fetch(rows.table.group_by(rows.keys).aggregate(weight=rows.table.weight.sum()))
        parts.append(frame.rename(columns=dict(zip(rows.keys, rows.by, strict=True))))
    return np.stack([_spread(part, ("status", *by), table) for part in parts])


def _spread(frame: pd.DataFrame, by: tuple[str, ...], table: Table) -> Floats:
    out = np.zeros(table.x.shape[2:])
    weight = frame["weight"].to_numpy(dtype=float)
    places = []
    for group, levels in zip(by, table.levels, strict=True):
        labels = frame[group].astype(object).where(frame[group].notna(), UNKNOWN).astype(str)
        places.append(pd.Index(levels).get_indexer(pd.Index(labels)))
    at = np.stack(places)
    known = (at >= 0).all(0)
    np.add.at(out, tuple(at[:, known]), weight[known])
    for status in np.flatnonzero(~known & (at[0] >= 0)):
        own = out[at[0][status]]
        if own.sum() > 0:
            own *= 1 + weight[status] / own.sum()
    return out


def _parts(total: Floats, everybody: Floats, pool: Ints, statuses: tuple[str, ...]) -> Floats:
    """Return the four parts from sums (2, period, status, level, …) and all customers (period, status, level, …)."""
    (n0, n1), (y0, y1) = total
    if not min(n0.sum(), n1.sum()) > 0:
        return np.full(4, np.nan)
    stay = statuses.index(STAYED) if STAYED in statuses else None
    change = statuses.index(CHANGED) if CHANGED in statuses else None
    standing = []
    for n, y, known in ((n0, y0, everybody[0]), (n1, y1, everybody[1])):
        cells = cell_means(n, y, pool)
        per_status = known.reshape(known.shape[0], -1).sum(1)
        worth = (known * cells).reshape(known.shape[0], -1).sum(1)
        overall = float(y.sum() / n.sum())
        standing.append(
            [
                (float(worth[i] / per_status[i]), float(per_status[i]))
                if i is not None and per_status[i] > 0
                else (overall, 0.0)
                for i in (stay, change)
            ]
        )
    (s0, leave), (s1, join) = standing
    lost, gained = (each[1] / max(each[1] + s[1], 1e-300) for each, s in ((leave, s0), (join, s1)))
    stayers, joiners, leavers = s1[0] - s0[0], gained * (join[0] - s1[0]), -lost * (leave[0] - s0[0])
    change_of_all = float(y1.sum() / n1.sum() - y0.sum() / n0.sum())
    return np.array([stayers, joiners, leavers, change_of_all - stayers - joiners - leavers])


def _of_parts(table: Table, sums: Floats) -> Floats:
    """Return a sum of the answers that each part rests on, of the thinner period where it rests on two."""
    both = sums.sum(0).reshape(2, len(table.levels[0]), -1).sum(2)
    of = {
        name: both[:, table.levels[0].index(name)] if name in table.levels[0] else np.zeros(2)
        for name in (STAYED, CHANGED)
    }
    return np.array([of[STAYED].min(), of[CHANGED][1], of[CHANGED][0], both.sum(1).min()])
