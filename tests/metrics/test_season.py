"""Months without their season: feasts on their days, promotions that last, seasons that are borrowed."""

from __future__ import annotations

import datetime as dt
import math
from typing import Any

import numpy as np
import pandas as pd
import pytest

from rox.core.errors import DataError
from rox.core.study import Promotion, Study
from rox.metrics.season import LUNAR_NEW_YEARS, lunar_share, promotion_share, seasonal

SEASON = np.array([0.4, -0.3, 0.2, 0.0, -0.2, 0.1, -0.4, 0.3, 0.0, -0.1, 0.2, -0.2])
FIRST = 24264


def new_moon(number: int) -> float:
    """Return the Julian day of a new moon, to minutes (Meeus 1998, *Astronomical Algorithms*, chapter 49)."""
    t = number / 1236.85
    sun = math.radians(2.5534 + 29.10535670 * number)
    moon = math.radians(201.5643 + 385.81693528 * number + 0.0107582 * t * t)
    node = math.radians(160.7108 + 390.67050284 * number - 0.0016118 * t * t)
    e = 1 - 0.002516 * t
    day = 2451550.09766 + 29.530588861 * number + 0.00015437 * t * t
    day += -0.40720 * math.sin(moon) + 0.17241 * e * math.sin(sun) + 0.01608 * math.sin(2 * moon)
    day += 0.01039 * math.sin(2 * node) + 0.00739 * e * math.sin(moon - sun) - 0.00514 * e * math.sin(moon + sun)
    day += 0.00208 * e * e * math.sin(2 * sun) - 0.00111 * math.sin(moon - 2 * node)
    return day - 0.00057 * math.sin(moon + 2 * node) - 65 / 86400


def test_lunar_years_begin_on_days_of_new_moon() -> None:
    days = [dt.date.fromisoformat(day) for day in LUNAR_NEW_YEARS.split()]
    assert [day.year for day in days] == list(range(2000, 2051))
    for day in days:
        julian = day.toordinal() + 1721424.5
        near = round((julian - 2451550.09766) / 29.530588861)
        moons = [new_moon(near + step) + 8 / 24 for step in (-1, 0, 1)]
        assert any(julian - 0.01 <= moon < julian + 1.01 for moon in moons), day
        assert (1, 21) <= (day.month, day.day) <= (2, 20)


def test_the_window_is_spread_over_its_months() -> None:
    january, february = 12 * 2025, 12 * 2025 + 1
    assert lunar_share(january) == pytest.approx(10 / 22)
    assert lunar_share(january) + lunar_share(february) == pytest.approx(1)
    assert lunar_share(12 * 2025 + 6) == 0
    with pytest.raises(DataError, match="2000 to 2050"):
        lunar_share(12 * 2051)


def test_a_promotion_fills_its_days() -> None:
    ran = Promotion(start="2025-01-30", end="2025-02-14", label="x")
    shares = [promotion_share(ran, 12 * 2025 + month) for month in range(3)]
    assert shares == pytest.approx([2 / 31, 14 / 28, 0])


def answers_of(
    rng: np.random.Generator, months: int, *, segment: str, each: int = 150, lift: Any = 0.0
) -> pd.DataFrame:
    month = np.repeat(FIRST + np.arange(months), each)
    level = 3.2 + SEASON[month % 12] + np.repeat(np.broadcast_to(lift, months), each)
    csat = np.clip(np.round(level + rng.normal(0, 0.8, month.size)), 1, 5).astype(int)
    who = [f"{segment}{i}" for i in range(month.size)]
    return pd.DataFrame({"customer": who, "month": month, "csat": csat, "segment": segment})


def build(few: Any, study: Study, *frames: pd.DataFrame) -> Any:
    whole = pd.concat(frames, ignore_index=True)
    return few(study, answers=whole.drop(columns="segment"), customers=whole[["customer", "segment"]])


def test_the_season_is_found_and_taken_out(few: Any, study: Any) -> None:
    found = seasonal(build(few, study(), answers_of(np.random.default_rng(1), 48, segment="a")), "csat")
    effects = found.effects.set_index("effect")
    months = effects.loc[[f"month_{m:02d}" for m in range(1, 13)]]
    assert months["value"].sum() == pytest.approx(0, abs=1e-10)
    assert np.corrcoef(months["value"], SEASON)[0, 1] > 0.9
    assert found.adjusted["value"].std() < 0.6 * found.observed["value"].std()
    assert found.checks[0].code == "ROX-X02"
    assert found.checks[0].sentence("en").endswith("the series itself.")


def test_a_young_group_borrows_and_says_so(few: Any, study: Any) -> None:
    rng = np.random.default_rng(2)
    parts = [answers_of(rng, 36, segment="a"), answers_of(rng, 36, segment="b"), answers_of(rng, 14, segment="c")]
    found = seasonal(build(few, study(), *parts), "csat", ["segment"])
    assert found.borrowed == (("c",),)
    young = found.adjusted[found.adjusted["segment"] == "c"]
    raw = found.observed[found.observed["segment"] == "c"]
    assert young["value"].std() < 0.7 * raw["value"].std()
    assert "borrowed from a, b" in found.checks[0].sentence("en")
    assert "借自 a, b" in found.checks[0].sentence("zh")


def test_nobody_to_borrow_from_is_a_fault(few: Any, study: Any) -> None:
    tables = build(few, study(), answers_of(np.random.default_rng(3), 14, segment="a"))
    with pytest.raises(DataError, match="No series has 24 months"):
        seasonal(tables, "csat")


def test_a_promotion_is_told_from_the_season(few: Any, study: Any) -> None:
    lift = np.zeros(40)
    lift[[17, 18, 19]] = [0.6, 0.3, 0.15]
    year, month = divmod(FIRST + 17, 12)
    ran = Promotion(start=dt.date(year, month + 1, 1), end=dt.date(year, month + 1, 28), label="Bonus")
    declared = study().model_copy(update={"promotions": {"bonus": ran}})
    found = seasonal(build(few, declared, answers_of(np.random.default_rng(4), 40, segment="a", lift=lift)), "csat")
    effect = found.effects.set_index("effect").loc["bonus"]
    assert effect["low"] < 0.6 < effect["high"] + 0.1
    assert effect["low"] > 0.1
    assert found.carries[()] >= 0.3


def test_money_has_a_season_as_well(few: Any, study: Any) -> None:
    rng = np.random.default_rng(5)
    rows = pd.DataFrame({"month": np.repeat(FIRST + np.arange(36), 40), "customer": np.tile(np.arange(40), 36)})
    common = 900 + 50 * SEASON[np.arange(36) % 12] + rng.normal(0, 3, 36)
    rows["aum"] = np.round(100 * (common[rows["month"] - FIRST] + 200 * (rows["customer"] % 5))).astype(int)
    people = pd.DataFrame({"customer": np.arange(40), "segment": "a", "weight": np.where(np.arange(40) % 5, 1.0, 2.5)})
    found = seasonal(few(study(), ledger=rows, customers=people), "aum")
    weights = people["weight"][rows["customer"]].to_numpy()
    first = rows["month"] == FIRST
    mean = np.average(rows["aum"][first] / 100, weights=weights[first])
    assert found.observed["value"].iloc[0] == pytest.approx(mean, rel=1e-9)
    assert found.observed["unit"].unique().tolist() == ["money_per_customer"]
    months = found.effects.iloc[:12]
    assert np.corrcoef(months["value"], SEASON)[0, 1] > 0.98
    assert ((months["low"] < 50 * SEASON) & (months["high"] > 50 * SEASON)).sum() >= 8
    assert months["se"].max() < 10


def test_hidden_months_leave_no_trace_in_the_season(few: Any, study: Any) -> None:
    frame = answers_of(np.random.default_rng(6), 36, segment="a", each=40)
    is_thin = (frame["month"] == FIRST + 14) & (frame.groupby("month").cumcount() >= 3)
    found = []
    for answer in (1, 5):
        changed = frame[~is_thin].copy()
        changed.loc[changed["month"] == FIRST + 14, "csat"] = answer
        found.append(seasonal(build(few, study(min_cell=10), changed), "csat"))
    assert found[0].adjusted["suppressed"].sum() == 2
    for name in ("observed", "adjusted", "effects"):
        pd.testing.assert_frame_equal(getattr(found[0], name), getattr(found[1], name))
    assert set(found[0].observed["method"]) == {"linearised", "suppressed"}
    assert set(found[0].effects["method"]) == {"gls"}


def test_promotions_are_declared_in_the_study_file() -> None:
    with pytest.raises(ValueError, match="is before start"):
        Promotion(start="2025-02-01", end="2025-01-01", label="x")
