"""A change and its parts: exact footing, intervals that cover, the reversal that must be told."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import pytest

from rox.core.errors import DataError
from rox.metrics.mix import OTHERS, _bridge, moved
from rox.numerics.jackknife import bucket_jackknife


def answers_of(
    rng: np.random.Generator, shares: dict[str, dict[str, float]], means: dict[str, dict[str, float]], n: int
):
    """Draw two years of answers: shares and mean CSAT by year and segment; some customers answer in both."""
    segment = {c: None for c in range(3 * n)}
    parts = []
    for year in ("2024", "2025"):
        names = list(shares[year])
        each = rng.choice(names, n, p=[shares[year][name] for name in names])
        level = np.array([means[year][name] for name in each])
        csat = np.clip(np.round(level + rng.normal(0, 0.8, n)), 1, 5).astype(int)
        customer = np.arange(n) + (0 if year == "2024" else n)
        parts.append(pd.DataFrame({"customer": customer, "date": f"{year}-05-01", "csat": csat, "kind": each}))
        segment |= dict(zip(customer.tolist(), each.tolist(), strict=True))
    people = pd.DataFrame({"customer": list(range(2 * n)), "segment": [segment[c] for c in range(2 * n)]})
    return pd.concat(parts, ignore_index=True), people


@pytest.fixture
def world(few: Any) -> Any:
    rng = np.random.default_rng(1)
    shares = {"2024": {"a": 0.7, "b": 0.28, "c": 0.02}, "2025": {"a": 0.4, "b": 0.58, "c": 0.02}}
    means = {"2024": {"a": 2.2, "b": 3.6, "c": 3.0}, "2025": {"a": 1.9, "b": 3.3, "c": 3.0}}
    frame, people = answers_of(rng, shares, means, 900)
    frame["channel"] = rng.choice(["app", "branch"], len(frame))
    return few(answers=frame, customers=people)


def values(frame: pd.DataFrame) -> dict[tuple[str, str], float]:
    return {(r["term"], r["dimension"]): r["value"] for _, r in frame.iterrows()}


class TestFooting:
    @pytest.mark.parametrize("by", [["segment"], ["segment", "channel"]])
    def test_parts_add_up_to_the_change(self, world: Any, by: list[str]) -> None:
        found = moved(world, "csat", "2024", "2025", by=by)
        v = values(found.bridge)
        mix = sum(each for (term, _), each in v.items() if term == "mix")
        assert v["first", "all"] + mix + v["rate", "all"] == pytest.approx(v["second", "all"], abs=1e-12)
        assert found.panel["value"].sum() == pytest.approx(v["change", "all"], abs=1e-12)

    def test_groups_add_up_to_their_part(self, world: Any) -> None:
        found = moved(world, "csat", "2024", "2025", by=["segment"])
        sums = found.groups.groupby("term")["value"].sum()
        v = values(found.bridge)
        assert sums["rate"] == pytest.approx(v["rate", "all"], abs=1e-12)
        assert sums["mix"] == pytest.approx(v["mix", "segment"], abs=1e-12)

    def test_values_are_those_of_the_rows(self, world: Any) -> None:
        found = values(moved(world, "csat", "2024", "2025", by=["segment"]).bridge)
        rows = world.fetch(world.tables["answers"])
        year = pd.to_datetime(rows["date"]).dt.year
        assert found["first", "all"] == pytest.approx(rows["csat"][year == 2024].mean())
        assert found["second", "all"] == pytest.approx(rows["csat"][year == 2025].mean())

    def test_thin_groups_stand_together(self, world: Any) -> None:
        found = moved(world, "csat", "2024", "2025", by=["segment"])
        assert set(found.groups["group"]) == {"a", OTHERS}
        assert found.pooled == 2
        assert "ROX-X05" in {check.code for check in found.checks}
        alone = moved(world, "csat", "2024", "2025", by=["channel"])
        assert set(alone.groups["group"]) == {"app", "branch"}
        assert "ROX-X05" not in {check.code for check in alone.checks}


class TestSimpson:
    def test_the_headline_is_the_change_within_groups(self, world: Any) -> None:
        found = moved(world, "csat", "2024", "2025", by=["segment"])
        v = values(found.bridge)
        assert v["change", "all"] > 0 > v["rate", "all"]
        assert found.reversed
        assert found.headline["term"] == "rate"
        check = next(check for check in found.checks if check.code == "ROX-X01")
        assert "rose but within groups it fell" in check.sentence("en")
        assert "总体上升" in check.sentence("zh")

    def test_no_reversal_is_a_pass(self, few: Any) -> None:
        shares = {year: {"a": 0.5, "b": 0.5} for year in ("2024", "2025")}
        means = {"2024": {"a": 2.0, "b": 3.0}, "2025": {"a": 2.8, "b": 3.8}}
        frame, people = answers_of(np.random.default_rng(2), shares, means, 300)
        found = moved(few(answers=frame, customers=people), "csat", "2024", "2025", by=["segment"])
        assert not found.reversed
        assert found.headline["term"] == "change"


def test_intervals_cover() -> None:
    rng = np.random.default_rng(3)
    share, mean = np.array([[0.7, 0.3], [0.5, 0.5]]), np.array([[2.5, 3.5], [2.7, 3.2]])
    truth = {3: float((share.mean(0) * (mean[1] - mean[0])).sum())}
    truth[4] = float((share[1] * mean[1] - share[0] * mean[0]).sum()) - truth[3]
    inside = dict.fromkeys(truth, 0)
    runs, n, buckets = 140, 800, 64
    for _ in range(runs):
        person = rng.normal(0, 0.6, n)
        bucket = rng.integers(0, buckets, n)
        sums = np.zeros((buckets, 2, 2, 2))
        for period in (0, 1):
            group = (rng.random(n) < share[period, 1]).astype(int)
            y = mean[period, group] + person + rng.normal(0, 0.6, n)
            np.add.at(sums, (bucket, 0, period, group), 1.0)
            np.add.at(sums, (bucket, 1, period, group), y)
        fit = bucket_jackknife(partial(_bridge, pool=np.arange(2)), sums)
        for place, value in truth.items():
            inside[place] += bool(fit.low[place] <= value <= fit.high[place])
    assert all(0.83 <= each / runs <= 0.97 for each in inside.values()), inside


def test_joiners_and_leavers_are_told_from_those_who_stay(few: Any) -> None:
    rng = np.random.default_rng(4)
    n = 400
    status = np.repeat(["stay", "leave", "join"], n)
    people = pd.DataFrame({"customer": np.arange(3 * n), "segment": "all"})
    people["opened"] = pd.to_datetime(np.where(status == "join", "2025-02-01", "2020-01-01"))
    exits = pd.DataFrame({"customer": people["customer"][status == "leave"], "date": "2024-11-01", "reason": "fees"})
    parts = []
    for year, groups in (("2024", {"stay": 3, "leave": 1}), ("2025", {"stay": 3, "join": 5})):
        for group, score in groups.items():
            who = people["customer"][status == group]
            who = who[rng.random(n) < (0.5 if group == "stay" else 0.9)]
            parts.append(pd.DataFrame({"customer": who, "date": f"{year}-12-15", "csat": score}))
    found = moved(few(answers=pd.concat(parts), customers=people, exits=exits), "csat", "2024", "2025", by=["segment"])
    v = found.panel.set_index("term")["value"]
    assert v["stayers"] == pytest.approx(0.0, abs=1e-12)
    assert v["joiners"] == pytest.approx(1.0, abs=1e-12)
    assert v["leavers"] == pytest.approx(1.0, abs=1e-12)
    assert v.sum() == pytest.approx(found.bridge.set_index("term")["value"]["change"], abs=1e-12)
    assert v["who_answers"] > 0.3


def test_places_go_by_either_name_and_are_known_of_everybody(few: Any) -> None:
    place = np.repeat(["x", "y"], 200)
    people = pd.DataFrame({"customer": np.arange(400), "segment": "all", "unit": place})
    csat = np.where(place == "x", 2, 4)
    late = people["customer"].isin([*range(50), *range(200, 400)])
    parts = [
        pd.DataFrame({"customer": people["customer"][who], "date": day, "csat": csat[who]})
        for who, day in ((~late | (people["customer"] > 299), "2024-05-01"), (late, "2025-05-01"))
    ]
    tables = few(answers=pd.concat(parts), customers=people)
    for name in ("unit", "place"):
        panel = moved(tables, "csat", "2024", "2025", by=[name]).panel.set_index("term")["value"]
        assert panel["stayers"] == pytest.approx(0, abs=1e-12)
        assert panel["who_answers"] > 0.4


def test_a_group_of_one_period_is_mix_however_the_rest_is_cut(few: Any) -> None:
    people = pd.DataFrame({"customer": np.arange(300), "segment": np.repeat(["a", "b", "c"], 100), "area": "one"})
    year = np.where(people["segment"] == "b", "2025", "2024")
    answers = pd.DataFrame({"customer": people["customer"], "date": pd.Series(year) + "-05-01", "csat": 2})
    again = answers[people["segment"] == "a"].assign(date="2025-06-01")
    answers.loc[people["segment"] == "b", "csat"] = 5
    tables = few(answers=pd.concat([answers, again]), customers=people)
    wider = values(moved(tables, "csat", "2024", "2025", by=["segment", "area"]).bridge)
    assert wider["rate", "all"] == pytest.approx(0, abs=1e-12)
    assert wider["mix", "segment"] == pytest.approx(1.5)
    assert wider["mix", "area"] == pytest.approx(0, abs=1e-12)


def test_leaving_is_split_too(few: Any) -> None:
    customer = np.arange(400)
    months = [24288 + m for m in range(24)]
    ledger = pd.DataFrame([(c, m) for c in customer for m in months], columns=["customer", "month"]).assign(aum=1)
    gone = {int(c): 24288 + 1 + int(c) % 23 for c in customer[:100]}
    ledger = ledger[[m <= gone.get(c, 10**6) for c, m in zip(ledger["customer"], ledger["month"], strict=True)]]
    exits = pd.DataFrame({"customer": list(gone), "month": list(gone.values()), "reason": "fees"})
    people = pd.DataFrame({"customer": customer, "segment": np.where(customer % 2, "a", "b")})
    found = moved(few(ledger=ledger, exits=exits, customers=people), "churn", "2024", "2025", by=["segment"])
    v = values(found.bridge)
    assert v["first", "all"] + v["mix", "segment"] + v["rate", "all"] == pytest.approx(v["second", "all"], abs=1e-15)
    assert found.panel.empty


def test_faults(world: Any) -> None:
    with pytest.raises(DataError, match="give one to 6 dimensions"):
        moved(world, "csat", "2024", "2025", by=[])
    with pytest.raises(DataError, match="does not come after"):
        moved(world, "csat", "2025", "2024", by=["segment"])
    with pytest.raises(DataError, match="2023"):
        moved(world, "csat", "2023", "2025", by=["segment"])
    with pytest.raises(DataError, match="has no metric 'nps'"):
        moved(world, "csat", "2024", "2025", by=["segment"], metric="nps")
