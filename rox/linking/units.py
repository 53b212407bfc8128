"""A cohort frozen before an initiative, summed by place, month and segment."""

from __future__ import annotations

from dataclasses import dataclass

import ibis
import ibis.expr.types as ir
import pandas as pd

from rox.core.errors import DataError
from rox.core.linked import Linked, month_label
from rox.linking.expressions import ratio, real, rounded, total
from rox.linking.linkage import Linkage, keep_frame, require_ledger
from rox.linking.windows import NEVER

FEWEST_PLACES = 2
"""Places with a start, and places without one yet, that a segment needs."""
MILLIONTHS = 1_000_000
"""Ratios are whole numbers of millionths in the engine, so that sums do not depend on the order of rows."""


@dataclass(frozen=True, kw_only=True)
class _Plan:
    """When an initiative starts where, and the months before it that describe customers.

    Attributes:
        starts: Month of the start by place, of the places that start with enough months before them.
        early: Places that started before that.
        begin: First start.
        seen: Months before it in which a customer must have been there.
        base: Months before it whose mean is the own baseline.
        cap: Largest ratio that counts.
    """

    starts: pd.Series[float]
    early: tuple[str, ...]
    begin: int
    seen: int
    base: int
    cap: float


def units_of(
    data: Linked, linkage: Linkage, *, initiative: str | None, base: int, history: int, cap: float
) -> ir.Table:
    """Sum a frozen cohort by place, month and segment; see :meth:`rox.core.linked.Linked.units`."""
    require_ledger(data)
    plan = _plan(data, linkage, initiative=initiative, base=base, history=history, cap=cap)
    members = _members(linkage, plan)
    cohort = linkage.engine.fetch(
        members.group_by("unit", "segment", "exit_month").aggregate(customers=members.count())
    )
    cohort = cohort[cohort["segment"].isin(_comparable(cohort, plan, data.study.about.min_cell))]
    if cohort.empty:
        raise DataError(
            f"No customer can be followed from before the first start, {month_label(plan.begin)}.",
            [f"needed: {plan.seen} months of money before it, in two places that start and two that start later"],
        )
    grid = keep_frame(linkage.engine, _grid(cohort, plan, linkage.months[1]), "grid")
    money = _money(linkage, members, plan)
    answers = _answers(data, linkage, members)
    rows = grid.left_join(money, [grid.unit == money.u, grid.month == money.m, grid.segment == money.s]).drop(
        "u", "m", "s"
    )
    rows = rows.left_join(answers, [rows.unit == answers.u, rows.month == answers.m, rows.segment == answers.s])
    none = ibis.literal(0, "int64")
    return rows.select(
        "unit",
        "month",
        "segment",
        "start",
        "customers",
        "staying",
        rows=ibis.coalesce(rows.paid_rows, none),
        outcome=ratio(ibis.coalesce(rows.paid, none), real(linkage.per_unit)),
        ratio=ratio(ibis.coalesce(rows.relative, none), real(MILLIONTHS)),
        ratio_squares=ibis.coalesce(rows.squares, real(0)) / real(MILLIONTHS**2),
        answers=ibis.coalesce(rows.given, none),
        score=ibis.coalesce(rows.scores, real(0)),
        score_squares=ibis.coalesce(rows.score_squares, real(0)),
    )


def _plan(data: Linked, linkage: Linkage, *, initiative: str | None, base: int, history: int, cap: float) -> _Plan:
    names = sorted(data.starts["initiative"].astype(str).unique())
    faults = [
        f"{name} is {value}; needed: {least}"
        for name, value, is_fine, least in (
            ("base", base, base >= 1, "1 month or more"),
            ("history", history, history >= 1, "1 month or more"),
            ("cap", cap, cap > 0, "above 0"),
        )
        if not is_fine
    ]
    if not names:
        faults.append("this study has no table of initiatives")
    elif initiative is None and len(names) > 1:
        faults.append(f"the study has several initiatives; name one of {', '.join(names)}")
    elif initiative is not None and initiative not in names:
        faults.append(f"there is no initiative {initiative!r}; the table has {', '.join(names)}")
    if faults:
        raise DataError("No cohort can be frozen before this initiative.", faults)
    mine = data.starts[data.starts["initiative"] == (initiative or names[0])]
    starts = mine.groupby("unit")["start"].min().astype(float)
    first, last = linkage.months
    usable = starts[(starts >= first + base) & (starts <= last)]
    if usable.empty:
        raise DataError(
            "No start can be compared with the time before it.",
            [
                f"starts run from {month_label(int(starts.min()))} to {month_label(int(starts.max()))}",
                f"money runs from {month_label(first)} to {month_label(last)}; {base} months of it must come before",
            ],
        )
    begin = int(usable.min())
    return _Plan(
        starts=usable,
        early=tuple(starts.index[starts < first + base]),
        begin=begin,
        seen=min(max(history, base), begin - first),
        base=base,
        cap=cap,
    )


def _members(linkage: Linkage, plan: _Plan) -> ir.Table:
    """List who was there in each of the months before, had not left by then, and had money in the base months."""
    rows = linkage.panel.select("customer", "month", "segment", "unit", "exit_month")
    money = linkage.money.select(paid_month="month", payer="customer", paid="outcome")
    before = rows.filter(rows.month >= plan.begin - plan.seen, rows.month < plan.begin, rows.unit.notnull())
    if plan.early:
        before = before.filter(~before.unit.isin(list(plan.early)))
    before = before.inner_join(money, [before.customer == money.payer, before.month == money.paid_month])
    recent = (before.month >= plan.begin - plan.base).ifelse(before.paid, ibis.literal(0, "int64"))
    people = before.group_by(member="customer").aggregate(
        months=before.count(),
        own=recent.sum(),
        **{name: before[name].max() for name in ("segment", "unit", "exit_month")},
    )
    stays = people.exit_month.isnull() | (people.exit_month >= plan.begin)
    return people.filter(people.months == plan.seen, people.own > 0, people.segment.notnull(), stays)


def _comparable(cohort: pd.DataFrame, plan: _Plan, min_cell: int) -> list[object]:
    """Return segments that may be shown, with enough places that start and enough that start later than the first."""
    customers = cohort.groupby("segment")["customers"].sum()
    places = cohort[["segment", "unit"]].drop_duplicates()
    start = places["unit"].map(plan.starts).fillna(NEVER)
    treated = places[start < NEVER].groupby("segment").size()
    later = places[start > plan.begin].groupby("segment").size()
    return [
        name
        for name in treated.index
        if min(treated[name], later.get(name, 0)) >= FEWEST_PLACES and customers[name] >= min_cell
    ]


def _grid(cohort: pd.DataFrame, plan: _Plan, last: int) -> pd.DataFrame:
    """Lay out every place, month and segment, with the customers frozen there and those who had not left."""
    cells = cohort.groupby(["unit", "segment"], as_index=False)["customers"].sum()
    cells["start"] = cells["unit"].map(plan.starts)
    months = pd.DataFrame({"month": range(plan.begin - plan.seen, last + 1)})
    grid = cells.merge(months, how="cross")
    left = cohort[cohort["exit_month"].notna()].rename(columns={"customers": "left"})
    left = grid.merge(left[["unit", "segment", "exit_month", "left"]], on=["unit", "segment"])
    left = left[left["exit_month"] < left["month"]].groupby(["unit", "segment", "month"], as_index=False)["left"].sum()
    grid = grid.merge(left, on=["unit", "segment", "month"], how="left")
    grid["staying"] = grid["customers"] - grid["left"].fillna(0).astype("int64")
    finished: pd.DataFrame = grid.drop(columns="left").astype({"month": "int64", "start": "float64"})
    return finished


def _money(linkage: Linkage, members: ir.Table, plan: _Plan) -> ir.Table:
    """Sum money and its ratio to the own baseline; a month after leaving has neither."""
    money = linkage.money.filter(linkage.money.month >= plan.begin - plan.seen)
    rows = money.inner_join(members, money.customer == members.member)
    rows = rows.filter(rows.exit_month.isnull() | (rows.month <= rows.exit_month))
    share = ratio(rows.outcome * plan.base, rows.own)
    rows = rows.mutate(relative=rounded(ibis.least(share, real(plan.cap)) * real(MILLIONTHS)))
    wide = rows.relative.cast("decimal(19,0)")
    return rows.group_by(u="unit", m="month", s="segment").aggregate(
        paid_rows=rows.count(),
        paid=total(rows.outcome),
        relative=total(rows.relative),
        squares=(wide * wide).sum().cast("float64"),
    )


def _answers(data: Linked, linkage: Linkage, members: ir.Table) -> ir.Table:
    """Sum the answers by the month in which they were given, each once, in the month in which it comes into use."""
    panel = linkage.panel.filter(linkage.panel.score.notnull(), linkage.panel.score_age == data.lag)
    rows = panel.select("customer", said=panel.month - data.lag, given=panel.score.cast("float64"))
    rows = rows.inner_join(members, rows.customer == members.member)
    return rows.group_by(u="unit", m="said", s="segment").aggregate(
        given=rows.count(), scores=rows.given.sum(), score_squares=(rows.given * rows.given).sum()
    )
