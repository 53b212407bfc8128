"""Where a change came from: planted slices are found, honest sizes not flattered, evenly spread change is diffuse."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from rox.core.errors import DataError
from rox.metrics.drill import drill, moved_steps
from rox.numerics.slices import own_contributions, shrunk

DIMENSIONS = ["segment", "region", "channel"]


def answers_of(rng: np.random.Generator, n: int = 3000, *, drop: float = 0.0, everywhere: float = 0.0):
    """Draw two years of answers; segment a in the north falls by ``drop``, all by ``everywhere``."""
    frame = pd.DataFrame(
        {
            "customer": np.arange(2 * n),
            "date": np.repeat(["2024-05-01", "2025-05-01"], n),
            "segment": rng.choice(["a", "b", "c"], 2 * n),
            "region": rng.choice(["north", "south", "west", "east"], 2 * n),
            "channel": rng.choice(["app", "branch"], 2 * n),
        }
    )
    late = frame["date"].str.startswith("2025")
    planted = late & (frame["segment"] == "a") & (frame["region"] == "north")
    level = 3.6 - drop * planted - everywhere * late
    frame["csat"] = np.clip(np.round(level + rng.normal(0, 0.7, 2 * n)), 1, 5).astype(int)
    return frame


def build(few: Any, frame: pd.DataFrame) -> Any:
    people = frame[["customer", "segment", "region"]]
    return few(answers=frame.drop(columns=["segment", "region"]), customers=people)


def test_a_planted_slice_is_found(few: Any) -> None:
    found = drill(build(few, answers_of(np.random.default_rng(1), drop=1.5)), "csat", "2024", "2025", DIMENSIONS)
    assert found.slices["slice"].iloc[0] == "segment=a & region=north"
    assert found.verdict == "found"
    assert found.explained == pytest.approx(1.0, abs=0.4)
    check = found.checks[0]
    assert check.values["examined"] == len(found.examined) > 20
    assert f"{len(found.examined)} slices were examined" in check.sentence("en")
    assert "切片" in check.sentence("zh")


def test_an_even_change_is_diffuse(few: Any) -> None:
    found = drill(build(few, answers_of(np.random.default_rng(2), everywhere=0.5)), "csat", "2024", "2025", DIMENSIONS)
    assert found.slices.empty
    assert found.verdict == "diffuse"


def test_what_one_small_slice_did_is_not_said_of_all(few: Any) -> None:
    """With few answers a slice may not be found; that is no evidence of an even change."""
    verdicts = set()
    for seed in range(6):
        rng = np.random.default_rng(seed)
        frame = answers_of(rng).sample(1500, random_state=seed)
        hit = (frame["segment"] == "a") & frame["date"].str.startswith("2025")
        frame.loc[hit, "csat"] = np.clip(frame.loc[hit, "csat"] + 1, 1, 5)
        verdicts.add(drill(build(few, frame), "csat", "2024", "2025", DIMENSIONS).verdict)
    assert "diffuse" not in verdicts


def test_no_change_is_still(few: Any) -> None:
    found = drill(build(few, answers_of(np.random.default_rng(3))), "csat", "2024", "2025", DIMENSIONS)
    assert found.verdict == "still"
    assert np.isnan(found.explained)


def test_a_change_of_mix_is_no_finding(few: Any) -> None:
    rng = np.random.default_rng(4)
    frame = answers_of(rng)
    late = frame["date"].str.startswith("2025")
    frame.loc[late, "segment"] = rng.choice(["a", "b", "c"], int(late.sum()), p=[0.7, 0.2, 0.1])
    worth = frame["segment"].map({"a": 4.2, "b": 3.0, "c": 2.0})
    frame["csat"] = np.clip(np.round(worth + rng.normal(0, 0.7, len(frame))), 1, 5).astype(int)
    found = drill(build(few, frame), "csat", "2024", "2025", DIMENSIONS)
    assert abs(found.change) < 3 * found.change_se


def test_the_half_not_chosen_in_is_not_flattered() -> None:
    rng = np.random.default_rng(5)
    cells, buckets, each = 40, 20, 15
    naive, honest = [], []
    slices = [np.arange(cells) == place for place in range(cells)]
    none = np.zeros(cells, dtype=bool)
    for _ in range(40):
        weights = np.full((buckets, 2, cells), float(each))
        sums = weights * rng.normal(0, 1 / np.sqrt(each), weights.shape)
        odd, even = slice(0, None, 2), slice(1, None, 2)
        first = own_contributions(weights[odd], sums[odd], slices, thin=none, out=none)
        best = int(np.argmax(first.value))
        second = own_contributions(weights[even], sums[even], [slices[best]], thin=none, out=none)
        naive.append(first.value[best] / np.sqrt(first.variance[best]))
        honest.append(second.value[0] / np.sqrt(second.variance[0]))
    assert np.mean(naive) > 1.5
    assert abs(np.mean(honest)) < 3 * np.std(honest) / np.sqrt(40)


def test_errors_are_those_of_the_spread_between_draws() -> None:
    rng = np.random.default_rng(6)
    weights = np.full((24, 2, 6), 20.0)
    none = np.zeros(6, dtype=bool)
    slices = [np.arange(6) == 0]
    fits = [
        own_contributions(weights, weights * rng.normal(0, 0.2, weights.shape), slices, thin=none, out=none)
        for _ in range(200)
    ]
    seen = np.std([fit.value[0] for fit in fits])
    assert np.sqrt(np.mean([fit.variance[0] for fit in fits])) == pytest.approx(seen, rel=0.15)


def test_what_is_poorly_known_is_drawn_to_zero() -> None:
    assert (np.abs(shrunk([1.0, -2.0], [0.5, 4.0])) <= [1.0, 2.0]).all()
    assert shrunk([0.1, -0.1], [1.0, 1.0]).tolist() == [0.0, 0.0]


def test_slices_of_few_customers_are_not_examined_however_often_they_answer(few: Any, study: Any) -> None:
    rng = np.random.default_rng(9)
    people = pd.DataFrame({"customer": np.arange(400)}).assign(segment=lambda f: np.where(f["customer"] < 30, "c", "b"))
    each = pd.DataFrame({"date": ["2024-05-01", "2025-05-01"]}).merge(people[["customer"]], how="cross")
    parts = [each.assign(channel=channel) for channel in ("app", "branch") for _ in range(2)]
    often = each[each["customer"] < 30]
    parts += [often.assign(channel=channel) for channel in ("app", "branch") for _ in range(3)]
    answers = pd.concat(parts, ignore_index=True)
    answers["csat"] = rng.integers(1, 6, len(answers))
    slices = {}
    for least in (1, 20):
        tables = few(study(min_cell=least), answers=answers, customers=people)
        slices[least] = set(drill(tables, "csat", "2024", "2025", ["segment", "channel"]).examined["slice"])
    assert {"segment=c", "segment=c & channel=app"} <= slices[1]
    assert slices[20] == {"channel=app", "channel=branch", "segment=b & channel=app", "segment=b & channel=branch"}


def test_faults(few: Any) -> None:
    tables = build(few, answers_of(np.random.default_rng(7), n=60))
    with pytest.raises(DataError, match="0 slices to examine"):
        drill(tables, "csat", "2024", "2025", DIMENSIONS)
    with pytest.raises(DataError, match="Nothing to drill into"):
        drill(tables, "csat", "2024", "2025", [])
    with pytest.raises(DataError, match="applicants"):
        moved_steps(tables, "2024", "2025")


def test_steps_of_a_funnel_add_up(few: Any) -> None:
    rng = np.random.default_rng(8)
    parts = []
    for year, rates in (("2024", (0.8, 0.5)), ("2025", (0.8, 0.7))):
        passed = np.cumprod(rng.random((800, 2)) < rates, axis=1)
        frame = pd.DataFrame({"reached": passed.sum(1), "funded": passed[:, 1], "date": pd.Timestamp(f"{year}-03-01")})
        parts.append(frame.assign(key=[f"{year}-{i}" for i in range(800)]))
    applicants = pd.concat(parts, ignore_index=True)
    tables = few(applicants=applicants, customers=pd.DataFrame({"customer": [1], "segment": "all"}))
    found = moved_steps(tables, "2024", "2025").set_index("step")
    by_year = applicants.groupby(applicants["date"].dt.year)["funded"].mean()
    assert found["value"].sum() == pytest.approx(by_year[2025] - by_year[2024], abs=1e-12)
    assert found["value"]["step_2"] > 0.1 > abs(found["value"]["step_1"])
