"""Tables of drivers are written for readers, in both languages."""

from __future__ import annotations

import pandas as pd

from rox.reporting import driver_tables


def test_numbers_are_written_as_people_do_and_no_chance_is_a_certainty() -> None:
    row = {"driver": "app", "mean": 7.04, "share": 0.213, "low": 0.15, "high": 0.27, "p_first": 1.0}
    frame = pd.DataFrame([row | {"rank_low": 1, "rank_high": 2}])
    told = driver_tables.ranking_table(frame, {"app": "App"}, "zh")
    assert told.index.tolist() == ["App"]
    assert told.iloc[0].tolist()[0] == "7.0"
    assert told["居首概率"].tolist() == [">99%"]
    assert told["名次"].tolist() == ["1–2"]
    money = {"driver": "app", "move": 0.5, "value": 659.7792, "low": -20.4, "high": 1234.0, "grade": "D"}
    rows = pd.DataFrame([money | {"unit": "money_per_customer", "currency": "CNY"}])
    assert "660" in driver_tables.money_table(rows, {}).iloc[0]["Money"]
