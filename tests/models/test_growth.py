"""Answers beside later growth, as sums taken where the answers lie: what the rows give, to the digits that count."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from rox.core.views import money_column
from rox.models.answer_table import AnswerTable, answer_table
from rox.models.growth import GrowthSums, ends_of, growth_after_answers
from rox.testing import sample_linked

PLACES, CAP = np.arange(-1, 5), 0.10


def from_rows(rows: pd.DataFrame, groups: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Weighted sums of answer times growth around the means of segment and month, and what to divide them by."""
    sums = np.zeros((2, len(groups), len(PLACES)))
    rows = rows[rows["segment"].isin(groups)]
    relative = rows["weight"] / rows.groupby("segment")["weight"].transform("mean")
    for at, place in enumerate(PLACES):
        then, now = (rows[money_column(3 * (place - back))].astype(float) for back in (0, 1))
        there = (then > 0) & (now > 0)
        growth = np.log(then[there] / now[there]).clip(-CAP, CAP)
        part = rows[there].assign(growth=growth, w=relative[there])
        for (segment, _), each in part.groupby(["segment", "answered"]):
            w, score = each["w"].to_numpy(), each["score"].to_numpy(dtype=float)
            mean = [np.average(column, weights=w) for column in (score, each["growth"])]
            sums[0, groups.index(segment), at] += (w * (score - mean[0]) * (each["growth"] - mean[1])).sum()
            sums[1, groups.index(segment), at] += w.sum() - (w**2).sum() / w.sum()
    return sums[0], sums[1]


def summed(answers: AnswerTable, groups: tuple[str, ...]) -> GrowthSums:
    return growth_after_answers(answers, groups, PLACES, cap=CAP)


@pytest.fixture(scope="module")
def uneven():
    """Answers that stand for different numbers of customers within a segment, and some money at zero or below."""
    data = sample_linked(customers=500, months=24, seed=4)
    frame = data.frame()
    frame["weight"] *= 1 + frame["customer"] % 3
    frame["score"] += 0.25 * (frame["customer"] % 2)
    owing, empty = (frame["customer"] % 11 == 3) & (frame["month"] % 5 == 0), frame["customer"] % 13 == 5
    sign = np.where(owing, -1.0, np.where(empty & (frame["month"] % 4 == 0), 0.0, 1.0))
    frame["outcome"] *= sign
    return replace(data, panel=frame, fetch=lambda rows: rows)


@pytest.mark.parametrize("source", ["uneven", "bank_linked"])
def test_sums_of_cells_are_those_of_rows(source, request):
    answers = answer_table(request.getfixturevalue(source), age=1, offsets=ends_of(PLACES))
    rows = answers.linked.fetch(answers.linked.panel)
    groups = tuple(sorted(rows["segment"].unique()))[:2]
    found = summed(answers, groups)
    product, count = from_rows(rows, groups)
    np.testing.assert_allclose(found.by_bucket[:, 1].sum(0), count, rtol=1e-9)
    np.testing.assert_allclose(found.by_bucket[:, 0].sum(0) / count, product / count, rtol=0, atol=1e-9)
    here = rows[rows["segment"].isin(groups)]
    ends = here[[money_column(3 * place) for place in range(5)]].to_numpy(dtype=float) > 0
    used = here[(ends[:, 1:] & ends[:, :-1]).any(axis=1)]
    assert found.answers.to_dict() == used.groupby("segment").size().to_dict()
    assert found.customers.to_dict() == used.groupby("segment")["customer"].nunique().to_dict()
    assert (found.by_bucket[:, 1].sum((1, 2)) > 0).sum() > 60


def test_parts_of_the_sums_are_the_sums_of_the_parts(uneven):
    answers = answer_table(uneven, age=1, offsets=ends_of(PLACES))
    both = summed(answers, ("gold", "mass"))
    alone, part = summed(answers, ("mass",)), both.of(["mass"])
    np.testing.assert_allclose(part.by_bucket, alone.by_bucket, rtol=0, atol=1e-9)
    assert part.answers.to_dict() == alone.answers.to_dict()
    early = both.up_to(2)
    assert list(early.places) == [-1, 0, 1, 2]
    assert early.longest == 2
    assert both.of([name for name in both.groups if name in both.dense]).groups == both.dense
