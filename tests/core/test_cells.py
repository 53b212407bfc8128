"""Cells add, coarsen, lose buckets, save and hide small ones, to the last digit."""

from __future__ import annotations

import dataclasses
import doctest
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from pandas.testing import assert_frame_equal

import rox
import rox.core.cells
import rox.core.derived
import rox.core.reduction
from rox.core.cells import Cells, read_cells, size_checks
from rox.core.derived import Ahead, Bins, Growth, LogBins
from rox.core.errors import DataError
from rox.core.reduction import asked
from rox.core.whole import added_up

BUCKETS = 8


def cells_of(rows: pd.DataFrame, *, part: str = "a", numbering: str = "as given", buckets: int = BUCKETS) -> Cells:
    """Sum rows of ``customer``, ``segment``, ``month`` and whole ``money`` in Python."""
    made = rows.assign(
        bucket=rows["customer"] % buckets,
        n=1,
        money2=[int(m) ** 2 for m in rows["money"]],
        money=rows["money"].astype("int64"),
    )
    keys = ["segment", "month", "bucket"]
    customers = made.groupby(keys, dropna=False)["customer"].nunique().rename("customers").reset_index()
    frame = added_up(made.assign(customers=0), keys, ["n", "money", "money2"], "sum").drop(columns="customers")
    return Cells(
        frame=frame.merge(customers, on=keys),
        keys=("segment", "month"),
        sums=("n", "money", "money2"),
        per_unit={"n": 1, "money": 100, "money2": 10_000},
        buckets=buckets,
        parts=(part,),
        numbering=numbering,
        definition={"panel": "aum", "segment": "segment", "month": "month"},
        min_cell=3,
    )


@st.composite
def panels(draw: st.DrawFn) -> pd.DataFrame:
    size = draw(st.integers(4, 60))
    whole = st.integers(-(10**15), 10**15)
    return pd.DataFrame(
        {
            "customer": [0, 1, *draw(st.lists(st.integers(0, 40), min_size=size, max_size=size))],
            "segment": [
                "gold",
                "mass",
                *draw(st.lists(st.sampled_from(["gold", "mass", None]), min_size=size, max_size=size)),
            ],
            "month": [1, 2, *draw(st.lists(st.integers(1, 4), min_size=size, max_size=size))],
            "money": [5, 7, *draw(st.lists(whole, min_size=size, max_size=size))],
        }
    )


@pytest.fixture(scope="module")
def rows() -> pd.DataFrame:
    rng = np.random.default_rng(4)
    return pd.DataFrame(
        {
            "customer": rng.integers(0, 300, 2000),
            "segment": rng.choice(["gold", "mass"], 2000),
            "month": rng.integers(1, 7, 2000),
            "money": np.round(np.exp(rng.normal(10, 2, 2000))).astype(np.int64),
        }
    )


@settings(max_examples=15, deadline=None)
@given(panels(), st.integers(1, 4))
def test_months_add_to_the_whole_to_the_last_digit(panel: pd.DataFrame, cut: int) -> None:
    one = cells_of(panel[panel["month"] <= cut], part="one")
    other = cells_of(panel[panel["month"] > cut], part="other")
    for both in (one + other, other + one):
        assert_frame_equal(both.frame, cells_of(panel).frame)
        assert [int(v) for v in both.frame["money2"]] == [int(v) for v in cells_of(panel).frame["money2"]]
    assert (one + other).fingerprint == (other + one).fingerprint != one.fingerprint


@settings(max_examples=10, deadline=None)
@given(panels(), st.randoms(use_true_random=False))
def test_order_of_rows_does_not_matter(panel: pd.DataFrame, random: Any) -> None:
    order = random.sample(range(len(panel)), len(panel))
    assert_frame_equal(cells_of(panel.iloc[order]).frame, cells_of(panel).frame)


@settings(max_examples=10, deadline=None)
@given(panels(), st.permutations(range(BUCKETS)))
def test_relabelled_buckets_leave_the_estimate_and_its_error(panel: pd.DataFrame, names: list[int]) -> None:
    cells = cells_of(panel)
    renamed = dataclasses.replace(cells, frame=cells.frame.assign(bucket=np.array(names)[cells.frame["bucket"]]))

    def mean(each: Cells) -> float:
        return float(each.by([]).ratio("money").iloc[0])

    one, other = cells.jackknife(mean), renamed.jackknife(mean)
    assert one.estimate == other.estimate
    assert_allclose(other.covariance, one.covariance, rtol=1e-9)
    groups = one.replicates.size
    assert one.df == other.df == groups - 1 == cells.frame["bucket"].nunique() - 1


@settings(max_examples=10, deadline=None)
@given(panels(), st.integers(2, 1000))
def test_another_currency_scales_the_answers(panel: pd.DataFrame, rate: int) -> None:
    rich = panel.assign(money=[int(m) * rate for m in panel["money"]])
    assert [int(v) * rate**2 for v in cells_of(panel).frame["money2"]] == list(cells_of(rich).frame["money2"])
    one, other = (
        each.jackknife(lambda c: c.by(["month"]).ratio("money")) for each in (cells_of(panel), cells_of(rich))
    )
    assert_allclose(other.estimate, rate * one.estimate, rtol=1e-12)
    size = np.abs(one.estimate).max() + 1
    assert_allclose(other.se, rate * one.se, rtol=1e-7, atol=1e-9 * rate * size)


def test_whole_numbers_beyond_64_bits_are_kept(tmp_path: Path) -> None:
    huge = pd.DataFrame({"customer": [0, 8, 1], "segment": "gold", "month": 1, "money": [3 * 10**18] * 2 + [1]})
    cells = cells_of(huge)
    assert cells.frame["money2"].tolist() == [18 * 10**36, 1]
    assert cells.frame["money"].tolist() == [6 * 10**18, 1]
    total = cells.without(0)
    assert total.frame["money2"].tolist() == [1]
    twice = cells + dataclasses.replace(cells, parts=("again",))
    assert twice.frame["money2"].tolist() == [36 * 10**36, 2]
    assert twice.frame["money"].tolist() == [12 * 10**18, 2]
    cells.save(tmp_path / "huge.parquet")
    assert read_cells(tmp_path / "huge.parquet").frame["money2"].tolist() == [18 * 10**36, 1]
    assert cells.total()["money"].tolist() == [(6 * 10**18 + 1) / 100]


def test_coarsening_sums_and_counts_customers_from_below(rows: pd.DataFrame) -> None:
    cells = cells_of(rows)
    coarse = cells.by(["segment"])
    assert coarse.keys == ("segment",)
    assert "month" not in coarse.definition
    expected = rows.groupby("segment")["money"].sum() / 100
    assert_allclose(coarse.total()["money"], expected)
    real = rows.groupby("segment")["customer"].nunique().to_numpy()
    monthly = rows.groupby(["segment", "month"])["customer"].nunique().groupby("segment").max().to_numpy()
    least = coarse.total()["customers"].to_numpy()
    assert (least <= real).all()
    assert (least >= monthly).all()
    assert cells.total()["customers"].tolist() == rows.groupby(["segment", "month"])["customer"].nunique().tolist()
    with pytest.raises(DataError, match="No such key: branch"):
        cells.by(["branch"])


def test_recode_where_and_fewer_buckets(rows: pd.DataFrame) -> None:
    cells = cells_of(rows)
    halves = cells.recode("month", lambda m: (m > 3).astype(int))
    assert_allclose(halves.by(["month"]).total()["money"], rows.groupby(rows["month"] > 3)["money"].sum() / 100)
    assert halves.definition["month"] == "month, recoded"
    late = cells.where(lambda keys: keys["month"] > 3)
    assert late.total()["n"].sum() == (rows["month"] > 3).sum()
    assert late.fingerprint != cells.fingerprint
    early = cells.where(lambda keys: keys["month"] <= 3)
    assert_frame_equal((late + early).frame, cells.frame)
    four = cells.with_buckets(4)
    assert_frame_equal(four.total(), cells.total())
    assert_frame_equal(four.frame, cells_of(rows, buckets=4).frame)
    with pytest.raises(DataError, match="8 buckets cannot become 3"):
        cells.with_buckets(3)


def test_cells_that_do_not_fit_are_refused_with_every_reason(rows: pd.DataFrame) -> None:
    cells = cells_of(rows)
    other = dataclasses.replace(
        cells.with_buckets(4).by(["segment"]),
        per_unit={"n": 1, "money": 1, "money2": 1},
        numbering="other",
        definition={"panel": "revenue", "segment": "segment"},
    )
    with pytest.raises(DataError) as caught:
        cells + other
    text = str(caught.value)
    for reason in (
        "keys: ",
        "buckets: 8 and 4",
        "money: 100 and 1 make one unit",
        "panel is aum in one and revenue",
        "parts are in both",
        "numbered differently",
    ):
        assert reason in text
    with pytest.raises(DataError, match="count twice"):
        cells + cells
    with pytest.raises(TypeError):
        cells + 1  # type: ignore[operator]


def test_other_customers_may_be_numbered_otherwise(rows: pd.DataFrame) -> None:
    cells = cells_of(rows)
    abroad = cells_of(rows.assign(money=rows["money"] + 1), part="abroad", numbering="theirs")
    with pytest.raises(DataError, match='customers="disjoint"'):
        cells + abroad
    world = cells.merge(abroad, customers="disjoint")
    assert world.total()["customers"].tolist() == (2 * cells.total()["customers"]).tolist()
    assert world.numbering == abroad.merge(cells, customers="disjoint").numbering != cells.numbering


def test_jackknife_leaves_customers_out(rows: pd.DataFrame) -> None:
    cells = cells_of(rows)
    fit = cells.jackknife(lambda each: each.by(["segment"]).ratio("money"))
    assert fit.names == ("gold", "mass")
    assert fit.df == BUCKETS - 1
    for bucket, replicate in enumerate(fit.replicates):
        kept = rows[rows["customer"] % BUCKETS != bucket]
        assert_allclose(replicate, kept.groupby("segment")["money"].mean() / 100, rtol=1e-12)
        direct = cells.without(bucket).by(["segment"]).ratio("money")
        assert_allclose(replicate, direct, rtol=1e-12)
    pair = cells.jackknife(lambda each: {"rows": float(each.total()["n"].sum())}, groups=4)
    assert pair.names == ("rows",)
    assert pair.df == 3
    with pytest.raises(DataError, match="changes its shape"):
        cells.jackknife(lambda each: np.ones(int(each.total()["n"].sum()) % 7 + 1))
    with pytest.raises(DataError, match="1 bucket with customers"):
        cells.without(*range(1, BUCKETS)).jackknife(lambda each: 1.0)


def test_jackknife_over_the_values_of_a_key(rows: pd.DataFrame) -> None:
    cells = cells_of(rows)
    fit = cells.jackknife(lambda each: each.by([]).ratio("money"), over="month")
    expected = [rows.loc[rows["month"] != month, "money"].mean() / 100 for month in range(1, 7)]
    assert_allclose(fit.replicates[:, 0], expected, rtol=1e-12)
    assert fit.df == 5
    with pytest.raises(DataError, match="No such key: branch"):
        cells.jackknife(lambda each: 1.0, over="branch")


def test_patterns_that_leave_with_a_bucket_keep_their_place() -> None:
    lonely = pd.DataFrame({"customer": [0, 1, 2], "segment": ["gold", "mass", "mass"], "month": 1, "money": [1, 2, 4]})
    seen: list[list[int]] = []
    cells_of(lonely).jackknife(lambda each: seen.append(each.frame["n"].tolist()) or float(each.frame["n"].sum()))
    assert seen == [[1, 2], [0, 2], [1, 1], [1, 1]]


def test_small_cells_are_blank_in_exports_only() -> None:
    small = pd.DataFrame(
        {"customer": [0, 1, 2, 3, 3, 3], "segment": ["gold"] * 3 + ["mass"] * 3, "month": 1, "money": [100] * 6}
    )
    cells = cells_of(small)
    assert cells.total()["money"].tolist() == [3.0, 3.0]
    shown = cells.export()
    assert shown["segment"].tolist() == ["gold", "mass"]
    assert shown.loc[0, "money"] == 3.0
    assert shown.loc[0, "n"] == 3
    assert shown.loc[1, ["customers", "n", "money", "money2"]].isna().all()


def test_save_and_read(rows: pd.DataFrame, tmp_path: Path) -> None:
    cells = cells_of(rows.assign(segment=rows["segment"].where(rows["segment"] == "gold", None)))
    path = cells.save(tmp_path / "deep" / "cells.parquet")
    again = read_cells(path)
    assert_frame_equal(again.frame, cells.frame)
    for field in dataclasses.fields(Cells):
        if field.name != "frame":
            assert getattr(again, field.name) == getattr(cells, field.name)
    assert [each.name for each in path.parent.iterdir()] == ["cells.parquet"]
    assert rox.read_cells is read_cells
    rows.to_parquet(tmp_path / "rows.parquet")
    (tmp_path / "text.parquet").write_text("no cells", encoding="utf-8")
    for name in ("rows", "text", "missing"):
        with pytest.raises(DataError, match="holds no cells"):
            read_cells(tmp_path / f"{name}.parquet")


def test_too_many_cells_are_remarked_upon(rows: pd.DataFrame) -> None:
    cells = cells_of(rows)
    assert cells.checks == () == size_checks(cells.frame, cells.keys, most=len(cells))
    (check,) = size_checks(cells.frame, cells.keys, most=len(cells) - 1)
    assert check.code == "ROX-C01"
    assert check.values["key"] == "month"
    assert check.values["levels"] == 6
    for language in ("en", "zh"):
        assert "month" in check.sentence(language)  # type: ignore[arg-type]


def test_cells_that_do_not_hold_together_are_refused(rows: pd.DataFrame) -> None:
    cells = cells_of(rows)
    with pytest.raises(DataError, match="'money' is missing"):
        dataclasses.replace(cells, frame=cells.frame.drop(columns="money"))
    with pytest.raises(DataError, match="buckets run from 0 to 7, needed 0 to 3"):
        dataclasses.replace(cells, buckets=4)
    with pytest.raises(DataError, match="whole numbers"):
        dataclasses.replace(cells, frame=cells.frame.assign(money=cells.frame["money"] / 2))


def test_faults_of_a_question_are_listed_together() -> None:
    with pytest.raises(DataError) as caught:
        asked(["bucket"], {"a": "outcome^x", "b": "outcome^4*score"}, buckets=1, months=(5, 4), grains={"outcome": 0.3})
    text = str(caught.value)
    for reason in (
        "'bucket' is taken",
        "'outcome^x'",
        "degree 5",
        "buckets is 1",
        "months run from 5",
        "grain of outcome",
    ):
        assert reason in text
    for wrong in (
        lambda: Growth(column="outcome", months=0, cap=-1),
        lambda: Ahead(column="outcome", months=0),
        lambda: Bins(column="outcome", edges=(2, 1)),
        lambda: LogBins(column="outcome", width=0),
    ):
        with pytest.raises(DataError):
            wrong()


@pytest.mark.parametrize("module", [rox.core.cells, rox.core.derived, rox.core.reduction])
def test_examples_run(module: Any) -> None:
    done = doctest.testmod(module)
    assert done.failed == 0
    assert done.attempted > 0
