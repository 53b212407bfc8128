"""Charts over a tree: what is planted is found and dated, what stands still is left alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from rox.core.errors import DataError
from rox.metrics.season import seasonal
from rox.metrics.watch import watch
from rox.numerics.recursive import Series, self_starting

BRANCHES = [f"B{i}" for i in range(6)]


def answers_of(rng: np.random.Generator, *, months: int = 36, each: int = 60, drop: float = 0.0, since: int = 30):
    """Draw answers by month of six branches in two segments; B1 falls from a month on."""
    frames = []
    for place, branch in enumerate(BRANCHES):
        for month in range(months):
            level = 3.4 + rng.normal(0, 0.05) - (drop if branch == "B1" and month >= since else 0.0)
            csat = np.clip(np.round(level + rng.normal(0, 0.9, each)), 1, 5).astype(int)
            customer = 10_000 * place + 61 * month + np.arange(each)
            frames.append(pd.DataFrame({"customer": customer, "month": 24276 + month, "csat": csat, "unit": branch}))
    frame = pd.concat(frames, ignore_index=True)
    people = frame[["customer", "unit"]].drop_duplicates("customer")
    people["segment"] = np.where(people["unit"].isin(BRANCHES[:3]), "a", "b")
    return frame.drop(columns="unit"), people


@pytest.fixture
def fallen(few: Any) -> Any:
    frame, people = answers_of(np.random.default_rng(1), drop=0.7)
    return watch(few(answers=frame, customers=people), "csat", ["segment", "unit"])


def test_a_planted_fall_of_one_branch_is_found_and_dated(fallen: Any) -> None:
    moved = fallen.moved[fallen.moved["moved"]]
    assert set(moved["by_unit"]) - {"all"} == {"B1"}
    alarms = fallen.alarms[fallen.alarms["by_unit"] == "B1"]
    assert (alarms["direction"] == -1).all()
    assert alarms["month"].min() >= "2025-07"
    change = fallen.changes[fallen.changes["by_unit"] == "B1"].iloc[0]
    assert change["earliest"] <= "2025-07" <= change["latest"]
    assert change["before"] - change["after"] == pytest.approx(0.65, abs=0.2)


def test_each_alarm_says_how_far_it_comes_back_by_itself(fallen: Any) -> None:
    alarms = fallen.alarms
    assert len(alarms)
    gap = alarms["value"] - alarms["expected"]
    assert (np.sign(alarms["rebound"]) == -np.sign(gap)).all()
    assert (alarms["rebound"].abs() <= gap.abs() + 1e-12).all()


def test_false_alarms_are_stated(fallen: Any) -> None:
    groups = 1 + 2 + 6
    assert fallen.expected_false == pytest.approx(groups * (1 / 370 + 1 / fallen.run_lengths["cusum"]))
    check = fallen.checks[0]
    assert check.code == "ROX-X04"
    assert f"over all {groups} groups" in check.sentence("en")
    assert "误报" in check.sentence("zh")


def test_a_still_series_alarms_no_more_than_stated(few: Any) -> None:
    rng = np.random.default_rng(2)
    alarms = expected = 0.0
    for _ in range(2):
        frame, people = answers_of(rng, each=40)
        found = watch(few(answers=frame, customers=people), "csat", ["unit"])
        leaves = found.alarms[(found.alarms["by_unit"] != "all") & (found.alarms["chart"] == "ewma")]
        alarms += len(leaves)
        expected += 6 * 24 / 370
        assert not found.moved["moved"].any()
    assert alarms <= expected + 3 * np.sqrt(expected)


def test_small_cells_are_not_charted(few: Any, study: Any) -> None:
    frame, people = answers_of(np.random.default_rng(3))
    few_of_one = frame["customer"].isin(people["customer"][people["unit"] == "B5"]) & (frame.index % 60 >= 15)
    found = watch(few(study(min_cell=20), answers=frame[~few_of_one], customers=people), "csat", ["unit"])
    assert "B5" not in set(found.charts["by_unit"])
    hidden = found.series[found.series["by_unit"] == "B5"]
    assert hidden["value"].isna().all()
    assert hidden["suppressed"].all()


def test_small_groups_are_not_found_by_subtraction(few: Any, study: Any) -> None:
    frame, people = answers_of(np.random.default_rng(6), months=14, each=40)
    people["segment"] = people["unit"].map({"B0": "c", "B1": "a", "B2": "a", "B3": "b", "B4": "b", "B5": "b"})
    is_small = frame["customer"].isin(people["customer"][people["unit"] == "B0"])
    frame = pd.concat([frame[~is_small], frame[is_small].groupby("month").head(1)])
    found = watch(few(study(min_cell=10), answers=frame, customers=people), "csat", ["segment", "unit"]).series
    hidden = found[found["month"] == "2023-07"].set_index(["segment", "by_unit"])["suppressed"]
    assert set(hidden.index[hidden]) == {("c", "all"), ("c", "B0"), ("a", "all"), ("a", "B1"), ("a", "B2")}
    assert len(hidden) == 10


def test_undeclared_groups_are_the_whole(few: Any) -> None:
    frame, people = answers_of(np.random.default_rng(7), months=14, each=40)
    people = people.assign(segment="all")
    found = watch(few(answers=frame, customers=people), "csat", ["segment", "unit"])
    assert not found.series.duplicated(["month", "segment", "by_unit"]).any()
    assert len(found.moved) == 1 + len(BRANCHES)
    people.loc[people["unit"] == "B0", "segment"] = "b"
    with pytest.raises(DataError, match="a group is called 'all'"):
        watch(few(answers=frame, customers=people), "csat", ["segment"])


def test_months_freed_of_their_season_carry_its_whole_covariance(few: Any) -> None:
    frame, people = answers_of(np.random.default_rng(8), months=26, each=40)
    tables = few(answers=frame[frame["customer"] < 20_000], customers=people)
    season = seasonal(tables, "csat")
    y, errors = season.adjusted["value"].to_numpy(), season.covariances[()]
    whole = Series(y=y, at=np.arange(y.size, dtype=float), sampling=errors)
    expected = self_starting([whole], learn=12)[0].residual[12:]
    assert watch(tables, "csat", adjusted=True).charts["residual"].to_numpy() == pytest.approx(expected)


def test_quarters_have_charts_as_well(few: Any) -> None:
    frame, people = answers_of(np.random.default_rng(4), each=40)
    found = watch(few(answers=frame, customers=people), "csat", every="quarter")
    assert set(found.charts["quarter"]) == {"2025Q1", "2025Q2", "2025Q3", "2025Q4"}


def test_faults(few: Any) -> None:
    frame, people = answers_of(np.random.default_rng(5), months=6)
    tables = few(answers=frame, customers=people)
    with pytest.raises(DataError, match="No group has enough periods"):
        watch(tables, "csat")
    with pytest.raises(DataError, match=r"(?s)no level of a tree.*at least 4 periods"):
        watch(tables, "csat", ["month"], learn=2)
