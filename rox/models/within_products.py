"""Sums of products of deviations from each customer's own mean, with effects of months, exact on unbalanced panels."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rox.core.derived import Maker
from rox.models.answer_columns import WEIGHT, Scales, centred
from rox.models.answer_products import Products, sums_of_products
from rox.models.answer_table import AnswerTable
from rox.numerics.normal_equations import NormalEquations

Floats = NDArray[np.float64]

STILL = 1e-6
"""Difference between a customer's values, in standard deviations, below which they are the same."""


def within_products(
    answers: AnswerTable, columns: Mapping[str, Maker], names: Sequence[str], scales: Scales
) -> dict[str, Products]:
    """Sum the products of deviations from the customer's mean by segment, with effects of months.

    With M the projection off the customers, W the weights and D the indicators of months, D'WMz is the sum of
    deviations by month, and D'WMD is the weight of a month on its diagonal less, over customers, the product of the
    weights of two months by the customer's weight. All of them add up over buckets of customers.

    Args:
        answers: The answers; none of the columns may be missing.
        columns: What the columns are, as deviations: see :func:`as_deviations`.
        names: Those whose products are wanted.
        scales: Units of money.
    """
    makers = {"segment": "segment", "month": "month"}
    cells = answers.cells(makers, sums_of_products(names, squares=True), columns)
    pairs = _paired(answers, columns)
    found = {}
    for segment, part in cells.groupby("segment", sort=True):
        shared = pairs[pairs["segment"] == segment]
        found[str(segment)] = _products(part, shared, tuple(names), scales.money[str(segment)])
    customers = answers.counts["customers"]
    return {name: replace(each, customers=int(customers[name])) for name, each in found.items()}


def as_deviations(columns: Mapping[str, Maker], names: Sequence[str]) -> dict[str, Maker]:
    """Describe columns, and under their names in ``names`` their deviations from the customer's mean."""
    found = {f"{name}_given" if name in names else name: maker for name, maker in columns.items()}
    return found | {name: centred(f"{name}_given") for name in names}


def _paired(answers: AnswerTable, columns: Mapping[str, Maker]) -> pd.DataFrame:
    """Sum, over customers, the product of the weights of two months by the customer's weight."""
    scaled: Any = columns[WEIGHT]
    panel = answers.linked.panel
    rows = panel.select("customer", "segment", "month", own=scaled(panel))
    all_of = rows.mutate(
        share=lambda t: t.own / (t.own * 2.0**30).round(0).cast("int64").sum().over(group_by="customer")
    )
    other = all_of.select(whose="customer", other="month", part=all_of.share * 2.0**30).view()
    met = rows.inner_join(other, rows.customer == other.whose)
    pairs = met.select("customer", "segment", "month", "other", product=met.own * met.part)
    table = replace(answers, linked=replace(answers.linked, panel=pairs))
    return table.cells({"segment": "segment", "month": "month", "other": "other"}, {"product": "product"})


def _products(cells: pd.DataFrame, pairs: pd.DataFrame, names: tuple[str, ...], unit: float) -> Products:
    p = len(names)
    bucket, buckets = pd.factorize(cells["bucket"], sort=True)
    month, months = pd.factorize(cells["month"], sort=True)
    b, d = len(buckets), len(months)
    square, sums, overlap = np.zeros((b, p, p)), np.zeros((b, d, p)), np.zeros((b, d, d))
    for i in range(p):
        for j in range(i + 1):
            square[:, i, j] = square[:, j, i] = np.bincount(bucket, cells[f"p{i}_{j}"], b)
    np.add.at(sums, (bucket, month), cells[[f"s{i}" for i in range(p)]].to_numpy(dtype=float))
    np.add.at(overlap, (bucket, month, month), cells["w"].to_numpy(dtype=float))
    at = pd.Index(months)
    where = (
        pd.Index(buckets).get_indexer(pairs["bucket"]),
        at.get_indexer(pairs["month"]),
        at.get_indexer(pairs["other"]),
    )
    np.subtract.at(overlap, where, pairs["product"].to_numpy(dtype=float))
    return Products(
        names=names,
        equations=NormalEquations(
            products=square, effects=sums, overlap=overlap, rows=np.bincount(bucket, cells["n"], b).astype(float)
        ),
        buckets=tuple(int(each) for each in buckets),
        effects=tuple((int(each),) for each in months),
        customers=0,
        unit=unit,
    )


def moving(answers: AnswerTable) -> AnswerTable:
    """Keep the answers of customers whose answers differ."""
    panel = answers.linked.panel
    spread = panel.score.max().over(group_by="customer") - panel.score.min().over(group_by="customer")
    kept = panel.mutate(rox_spread=spread.cast("float64"))
    kept = kept.filter(kept.rox_spread > STILL).drop("rox_spread")
    return replace(answers, linked=replace(answers.linked, panel=kept))


def trends(answers: AnswerTable, columns: Mapping[str, Maker], others: Sequence[str]) -> dict[str, Maker]:
    """Turn the controls that no customer's months tell apart into their trends: control × years.

    What is constant for a customer is absorbed by the customer's mean; what varies enters as it is.
    """
    if not others:
        return {}
    spreads: dict[str, Maker] = dict(columns)
    spreads |= {f"{name}_moves": _moves(name) for name in others}
    found = answers.cells({}, {name: f"{name}_moves" for name in others}, spreads).sum()
    return {name: columns[name] if found[name] > 0 else _trend(columns[name]) for name in others}


def _moves(name: str) -> Callable[[Any], Any]:
    def column(table: Any) -> Any:
        return (table[name].max().over(group_by="customer") - table[name].min().over(group_by="customer")) > STILL

    return column


def _trend(maker: Any) -> Callable[[Any], Any]:
    return lambda table: maker(table) * ((table.month % 1200).cast("float64") / 12.0)
