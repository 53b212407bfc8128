"""Who answers: customer-months by what was known before an answer, and weights put on the answers."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import ibis
import ibis.expr.types as ir
import pandas as pd

from rox.core.case import EVERYONE
from rox.core.linked import Linked
from rox.linking.engine import Engine
from rox.linking.expressions import floor, indicator, nothing, ratio, real
from rox.linking.linkage import keep_frame
from rox.linking.panel_rows import PanelRows, as_whole, finite, grain, rows_of

COLUMNS = ("segment", "weight", "outcome", "score", "score_age", "opened")
CELL = ("segment", "money", "tenure", "rising", "score")
QUARTER = 3
UNKNOWN = -1


def responding(data: Linked, bands: int) -> pd.DataFrame:
    """Count who answered; see :meth:`rox.core.linked.Linked.responding`.

    Weights are summed as whole numbers. Ranks are within segment and month and never within a customer.
    """
    held = rows_of(data, COLUMNS)
    heaviest = held.table.aggregate(most=finite(held.table.weight).ifelse(held.table.weight, real(0)).max())
    most = held.fetch(heaviest)["most"].iloc[0]
    scale = grain(0.0 if pd.isna(most) else float(most))
    rows = _with_cells(data, held, bands)
    rows = rows.mutate(heavy=as_whole(rows.weight, scale))
    found = held.fetch(rows.group_by(list(CELL)).aggregate(n=rows.count(), weight=rows.heavy.sum()))
    found["weight"] = [float(int(each)) / scale for each in found["weight"]]
    return found.sort_values(list(CELL), ignore_index=True)


def weighted_frame(data: Linked, weights: pd.DataFrame, *, bands: int, name: str) -> Linked:
    """Add weights to a panel that is a frame; see :meth:`rox.core.linked.Linked.weighted`."""
    held = rows_of(data, COLUMNS)
    answers = held.fetch(_answers(_with_cells(data, held, bands)))
    by_cell = weights.set_index(list(CELL))["weight"]
    own = by_cell.reindex(pd.MultiIndex.from_frame(answers[list(CELL)])).to_numpy()
    by_answer = pd.Series(own, index=pd.MultiIndex.from_frame(answers[["customer", "said"]])).groupby(level=[0, 1])
    frame = data.panel
    said = (frame["month"] - pd.to_numeric(frame["score_age"])).where(frame["score"].notna())
    found = by_answer.min().reindex(pd.MultiIndex.from_arrays([frame["customer"], said]))
    return replace(data, panel=frame.assign(**{name: found.fillna(1.0).to_numpy()}))


def weighted_table(data: Linked, engine: Engine, weights: pd.DataFrame, *, bands: int, name: str) -> Linked:
    """Add weights to a panel in an engine; see :meth:`rox.core.linked.Linked.weighted`."""
    held = rows_of(data, COLUMNS)
    cells = keep_frame(engine, weights[[*CELL, "weight"]].rename(columns={"weight": "given"}), "weights")
    cells = cells.rename({f"cell_{each}": each for each in CELL})
    answers = _answers(_with_cells(data, held, bands))
    met = answers.inner_join(cells, [answers[each] == cells[f"cell_{each}"] for each in CELL])
    found = met.group_by(whose="customer", which="said").aggregate(given=met.given.min())
    found = engine.stage(found, f"weighted_{hashlib.sha256(engine.sql(found).encode()).hexdigest()[:16]}")
    columns = [column for column in data.panel.columns if column != name]
    panel = data.panel.mutate(rox_said=_said(data.panel))
    joined = panel.left_join(found, [panel.customer == found.whose, panel.rox_said == found.which])
    weight = ibis.coalesce(joined.given, real(1))
    return replace(data, panel=joined.select(*columns, **{name: weight}))


def _said(rows: ir.Table) -> Any:
    said = rows.month.cast("int64") - floor(rows.score_age.cast("float64"))
    return rows.score.notnull().ifelse(said, nothing("int64"))


def _answers(rows: ir.Table) -> ir.Table:
    """Keep the rows of those who answered, with their cells."""
    given = rows.filter(rows.score.notnull())
    return given.select("customer", *CELL, said=_said(given))


def _with_cells(data: Linked, held: PanelRows, bands: int) -> ir.Table:
    """Keep the months after which answers were given, with the cell of each customer; the score of no answer is empty.

    An answer stands in the month that comes ``lag`` months after it.
    """
    whole = held.table.mutate(segment=ibis.coalesce(held.table.segment, EVERYONE))
    replied = (whole.score_age == real(data.lag)).fill_null(False)
    whole = whole.mutate(score=replied.ifelse(whole.score, nothing("float64")))
    waves = held.fetch(whole.filter(whole.score.notnull()).select("month").distinct())["month"]
    rows = whole.filter(whole.month.isin(sorted(int(month) for month in waves)))
    money = whole.select(payer="customer", paid="month", amount="outcome")
    if not held.alone:
        money = money.group_by("payer", "paid").aggregate(amount=money.amount.min())
    for name, months in (("before", data.lag + 1), ("earlier", data.lag + 1 + QUARTER)):
        then = money.select("payer", then=money.paid + months, **{name: "amount"})
        joined = rows.left_join(then, [rows.customer == then.payer, rows.month == then.then])
        rows = joined.select(*rows.columns, name)
    unknown = rows.before.isnull() | rows.earlier.isnull()
    rising = unknown.ifelse(ibis.literal(2, "int64"), indicator(rows.before > rows.earlier))
    rows = rows.mutate(rising=rising, held_for=rows.month.cast("float64") - rows.opened)
    rows = _banded(rows, "money", "before", ["segment", "month"], bands)
    return _banded(rows, "tenure", "held_for", ["segment"], bands)


def _banded(rows: ir.Table, name: str, column: str, within: Sequence[str], bands: int) -> ir.Table:
    """Number bands of equal size by the mean rank of equal values, from 0; −1 where the value is missing."""
    ranked = rows.mutate(
        below=ibis.rank().over(ibis.window(group_by=list(within), order_by=column)).cast("float64"),
        ties=rows.count().over(ibis.window(group_by=[*within, column])).cast("float64"),
        known=rows[column].count().over(ibis.window(group_by=list(within))),
    )
    rank = ranked.below + (ranked.ties + real(1)) / real(2)
    band = -floor(-(ratio(rank, ranked.known) * real(bands))) - 1
    band = ranked[column].isnull().ifelse(ibis.literal(UNKNOWN, "int64"), band)
    return ranked.mutate(**{name: band}).drop("below", "ties", "known")
