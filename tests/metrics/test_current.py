"""Where things stand: the last period that can be compared, in every frame, and all time where there is none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from rox.core.check import Check
from rox.metrics import scorecard, scores
from rox.metrics.current import companies, current
from rox.metrics.overview import experience

PEOPLE = 120


def made(few: Callable[..., Any], months: list[str], *, ledger: bool = True) -> Any:
    rng, who = np.random.default_rng(5), np.arange(PEOPLE)
    people = pd.DataFrame({"customer": who, "segment": np.where(who % 2, "gold", "mass"), "unit": "U"})
    said = pd.concat([pd.DataFrame({"customer": who, "date": f"{month}-15"}) for month in months], ignore_index=True)
    said = said.assign(nps=rng.integers(0, 11, len(said)), csat=rng.integers(1, 6, len(said)))
    said["ces"] = said["csat"]
    said["nps"] = said["csat"] * 2
    frames = {"answers": said, "customers": people}
    if ledger:
        times = [f"{year}-{month:02d}" for year in (2024, 2025) for month in range(1, 13)]
        rows = pd.concat([pd.DataFrame({"customer": who, "date": f"{time}-01"}) for time in times], ignore_index=True)
        frames["ledger"] = rows.assign(aum=100.0)
        gone = {"customer": [1, 2, 3], "date": ["2024-05-02", "2025-04-02", "2025-06-02"], "reason": "fees"}
        frames["exits"] = pd.DataFrame(gone)
    return few(**frames)


def test_every_frame_is_of_the_last_period(few: Callable[..., Any]) -> None:
    tables = made(few, [f"{year}-{month:02d}" for year in (2024, 2025) for month in (2, 5, 8, 11)])
    measured = experience(tables)
    found = current(tables, "nps", measured, scorecard.compared(tables, "nps", "segment"))
    assert (found.period, found.before) == ("2025", "2024")
    year = scores(tables, "nps", ["year"]).set_index("year")["value"]
    now = found.headline.set_index(["score", "metric"]).loc[("nps", "nps")]
    assert (now["value"], now["period"]) == (year["2025"], "2025")
    assert now["value"] != measured.headline["value"].iloc[0]
    assert set(found.by_segment["segment"]) == {"gold", "mass"}
    assert found.by_segment["n"].max() == PEOPLE / 2 * 4
    assert found.shares.groupby("segment")["value"].sum().round(9).eq(1).all()
    assert isinstance(found.leaving, pd.DataFrame)
    heads = found.leaving[found.leaving["metric"] == "churn_all"]
    assert list(zip(heads["period"], heads["segment"], strict=True)) == [
        ("2024", "all"), ("2025", "all"), ("2025", "gold"), ("2025", "mass"),
    ]  # fmt: skip
    assert not found.headline["metric"].str.contains("hazard").any()
    whole = found.headline.set_index("metric")["period"]
    assert whole["retention_all"] == "2024–2025"
    assert whole["kept_money"] == "2025-01–2025-12"
    assert isinstance(found.response, Check)
    assert not found.headline.duplicated(["score", "metric"]).any()


def test_without_two_periods_all_time_stands_together(few: Callable[..., Any]) -> None:
    tables = made(few, ["2025-08"], ledger=False)
    measured = experience(tables)
    between = scorecard.compared(tables, "nps", "segment")
    assert isinstance(between, Check)
    found = current(tables, "nps", measured, between)
    assert (found.period, found.before) == ("2025", "")
    assert list(found.headline["value"]) == list(measured.headline["value"])
    assert set(found.headline["period"]) == {"2025"}
    assert isinstance(found.leaving, Check)
    assert companies(tables, "zh") == {}
