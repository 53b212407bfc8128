"""Alerts: what fires, what is written, what is never told."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from rox.cli import main
from rox.core.errors import DataError
from rox.core.study import Scale, read_study
from rox.core.units import Unit
from rox.metrics.alert_chances import against
from rox.metrics.alert_rules import Rule, read_rules
from rox.metrics.alerts import COLUMNS, alerts, read_alerts, write_alerts
from rox.metrics.tickets import follow_up
from rox.review.alert_tickets import as_tickets

NPS = Scale.model_validate({"column": "nps", "low": 0, "high": 10, "kind": "nps", "label": "NPS"})
DATES = {"2025Q2": "2025-05-10", "2025Q3": "2025-08-10", "2025Q4": "2025-11-10"}


def rule(**changed: Any) -> Rule:
    given = {"label": {"en": "NPS of a branch", "zh": "NPS"}, "metric": "nps", "score": "nps", "group": ["unit"],
             "owner": "Branches", "least": 20, "due_days": 10} | changed  # fmt: skip
    return Rule.model_validate(given)


def answers(shares: dict[tuple[str, str], tuple[int, int, int]]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Make detractors, passives and promoters by unit and quarter, each another customer."""
    rows = [
        (unit, DATES[quarter], value)
        for (unit, quarter), counts in shares.items()
        for value, count in zip((2, 8, 10), counts, strict=True)
        for _ in range(count)
    ]
    frame = pd.DataFrame(rows, columns=["unit", "date", "nps"])
    frame["customer"] = [f"c{number:05d}" for number in range(len(frame))]
    return frame.drop(columns="unit"), frame[["customer", "unit"]].assign(segment="all")


@pytest.fixture
def tables(few: Callable[..., Any], study: Callable[..., Any]) -> Callable[..., Any]:
    def build(shares: dict[tuple[str, str], tuple[int, int, int]], min_cell: int = 10) -> Any:
        given, people = answers(shares)
        return few(study(min_cell=min_cell), answers=given, customers=people)

    return build


LOW_AND_HIGH = {("=low", "2025Q4"): (180, 60, 60), ("high", "2025Q4"): (60, 60, 180), ("tiny", "2025Q4"): (9, 0, 0)}


def test_a_threshold_fires_for_the_group_that_is_surely_below(tables: Any) -> None:
    found = alerts(tables(LOW_AND_HIGH), {"branch": rule(below=0)})
    row = found.table.iloc[0]
    assert found.table["group"].tolist() == ["unit==low"]
    assert row["value"] == pytest.approx(-40)
    se = 100 * np.sqrt((0.8 - 0.16) / 299)
    assert (row["high"] - row["low"]) / 2 == pytest.approx(1.65 * se, rel=0.01)
    assert (row["owner"], row["due"], row["window"]) == ("Branches", dt.date(2026, 1, 10), "2025Q4")
    watched = found.watched.iloc[0]
    assert (watched["watched"], watched["skipped"], watched["expected_false"]) == (2, 1, pytest.approx(0.1))
    assert "stood at -40.0" in row["reason_en"]
    assert "低于阈值 0.0" in row["reason_zh"]


def test_a_value_below_by_chance_does_not_fire(tables: Any) -> None:
    found = alerts(tables({("a", "2025Q4"): (42, 20, 38)}), {"branch": rule(below=0)})
    assert found.table.empty
    assert found.watched["watched"].tolist() == [1]


def test_shares_fire_no_oftener_than_said() -> None:
    """The chance to fire of a group whose true share is the threshold, from the binomial distribution."""
    for n, share in ((60, 0.02), (200, 0.05), (50, 0.5), (80, 0.97)):
        hits = np.arange(n + 1)
        given = pd.DataFrame({"value": hits / n, "se": 0.0, "square": hits / n, "n": n, "n_eff": float(n), "df": n - 1})
        for below in (True, False):
            made = against(given, Unit.RATIO, None, threshold=share, below=below, level=0.90)
            fires = made["p"] <= 0.05
            assert stats.binom.pmf(hits, n, share)[fires].sum() <= 0.05
            assert ((made["high"] < share) if below else (made["low"] > share))[fires].all()
    made = against(given, Unit.RATIO, None, threshold=0.5, below=True, level=0.90)
    assert (made["p"] <= 0.05).sum() > 30


def test_the_chance_of_an_nps_or_mean_belongs_to_its_interval() -> None:
    given = pd.DataFrame({"value": [0.1, 1.0, 0.2], "square": [0.7, 1.0, 0.6], "n_eff": [60.0, 60.0, 900.0]})
    given = given.assign(se=[0.11, 0.0, 0.025], n=2 * given["n_eff"], df=[20.0, 59.0, 899.0])
    for unit, scale in ((Unit.NPS_POINT, NPS), (Unit.SCORE_POINT, NPS)):
        whole = against(given, unit, scale, threshold=0.0, below=False, level=0.90)
        for place in range(3):
            one = given.iloc[[place]]
            made = against(one, unit, scale, threshold=whole["low"].iloc[place], below=False, level=0.90)
            if unit is Unit.NPS_POINT or whole["low"].iloc[place] > 0:
                assert made["p"].iloc[0] == pytest.approx(0.05, abs=1e-6)


def test_of_many_groups_only_the_sure_ones_fire(tables: Any) -> None:
    """A group at −18 with 100 answers is seen once in thirty by chance: alone it fires, among thirty not."""
    alone = {("a", "2025Q4"): (54, 10, 36)}
    assert len(alerts(tables(alone), {"branch": rule(below=0)}).table) == 1
    many = alone | {(f"u{unit:02d}", "2025Q4"): (30, 10, 60) for unit in range(30)}
    assert alerts(tables(many), {"branch": rule(below=0)}).table.empty
    fired = alerts(tables(many), {"branch": rule(below=0, false_share=1)}).table
    assert fired["group"].tolist() == ["unit=a"]
    assert fired["p"].iloc[0] < 0.05 < fired["q"].iloc[0]
    surer = alerts(tables(many | {("b", "2025Q4"): (70, 10, 20)}), {"branch": rule(below=0)})
    assert surer.table["group"].tolist() == ["unit=b"]


def test_a_share_that_nobody_gave_fires_only_with_enough_answers(tables: Any) -> None:
    given = tables({("a", "2025Q4"): (60, 0, 0), ("b", "2025Q4"): (190, 0, 0)})
    answers = given.tables["answers"].mutate(csat=1)
    given = replace(given, tables={**given.tables, "answers": answers})
    found = alerts(given, {"top": rule(metric="top_two", score="csat", below=0.02)})
    assert found.table["group"].tolist() == ["unit=b"]
    best = {"top": rule(metric="mean", score="csat", below=1.005)}
    assert alerts(given, best).table.empty


def test_a_change_needs_size_and_certainty(tables: Any) -> None:
    given = tables(
        {("a", "2025Q3"): (50, 100, 150), ("a", "2025Q4"): (100, 100, 100), ("b", "2025Q4"): (100, 100, 100)}
    )
    found = alerts(given, {"falls": rule(falls=10)})
    assert found.table["value"].tolist() == [pytest.approx(-100 / 3)]
    assert "fell by 33.3" in found.table["reason_en"].iloc[0]
    assert alerts(given, {"falls": rule(falls=40)}).table.empty
    assert alerts(given, {"rises": rule(rises=10)}).table.empty


def test_groups_that_always_move_alarm_less(tables: Any) -> None:
    rng, shares = np.random.default_rng(5), {}
    for unit in range(20):
        for quarter in DATES:
            shift = int(rng.integers(-60, 60))
            shares[(f"u{unit:02d}", quarter)] = (100 + shift, 100, 100 - shift)
    found = alerts(tables(shares), {"falls": rule(falls=1)})
    assert len(found.table) <= 4
    # Alone each would fire once in twenty; together, with one tenth of false discoveries, 0.1 / 0.9² do.
    assert found.watched["expected_false"].iloc[0] == pytest.approx(0.1 / 0.81)
    assert alerts(tables(shares), {"falls": rule(falls=1, false_share=1)}).watched["expected_false"].iloc[0] > 0.99


def test_nothing_after_the_day_is_looked_at(tables: Any) -> None:
    given = tables({("a", "2025Q3"): (50, 100, 150), ("a", "2025Q4"): (200, 50, 50)})
    assert alerts(given, {"branch": rule(below=0)}, on=dt.date(2025, 12, 30)).table.empty
    assert len(alerts(given, {"branch": rule(below=0)}, on=dt.date(2025, 12, 31)).table) == 1


def test_low_answers_are_counted_and_never_named(tables: Any) -> None:
    given = tables({("a", "2025Q4"): (15, 50, 35), ("b", "2025Q4"): (9, 50, 41)})
    found = alerts(given, {"low": rule(metric="low_answers", above=5)})
    assert found.table[["group", "value"]].to_numpy().tolist() == [["unit=a", 15.0]]
    assert not found.table.astype(str).stack().str.contains(r"c\d{5}").any()


def test_alerts_are_written_once_and_nothing_is_changed(tables: Any, tmp_path: Path) -> None:
    rules, file = {"branch": rule(below=0, owner="=cmd|' /C calc'!A0", quiet_days=100)}, tmp_path / "alerts.csv"
    found = alerts(tables(LOW_AND_HIGH), rules)
    assert len(write_alerts(found, rules, file)) == 1
    first = file.read_bytes()
    assert len(write_alerts(found, rules, file)) == 0
    assert file.read_bytes() == first
    cells = [cell for line in first.decode().splitlines() for cell in line.split(",")]
    assert [cell for cell in cells if cell.startswith(("=", "+", "-", "@"))] == []
    back = read_alerts(file).iloc[0]
    assert (back["value"], back["owner"], back["group"]) == (pytest.approx(-40), "=cmd|' /C calc'!A0", "unit==low")
    later = tables({("=low", "2025Q4"): (180, 60, 60), ("high", "2025Q4"): (180, 60, 60)})
    assert write_alerts(alerts(later, rules), rules, file)["group"].tolist() == ["unit=high"]
    assert file.read_bytes().startswith(first)


def test_rows_are_added_in_the_order_of_the_file(tables: Any, tmp_path: Path) -> None:
    rules, file = {"branch": rule(below=0)}, tmp_path / "alerts.csv"
    write_alerts(alerts(tables(LOW_AND_HIGH), rules), rules, file)
    own = pd.read_csv(file, dtype=str, keep_default_na=False).assign(note="called")
    own[["note", *reversed(COLUMNS)]].to_csv(file, index=False)
    later = tables({("high", "2025Q4"): (180, 60, 60)})
    write_alerts(alerts(later, rules), rules, file)
    back = read_alerts(file)
    assert back["group"].tolist() == ["unit==low", "unit=high"]
    assert back["note"].tolist() == ["called", ""]


def test_a_quiet_time_holds_back_the_next_window(tables: Any, tmp_path: Path) -> None:
    given = tables({("a", "2025Q3"): (200, 50, 50), ("a", "2025Q4"): (200, 50, 50)})
    for quiet, rows in ((100, 1), (30, 2)):
        rules, file = {"branch": rule(below=0, quiet_days=quiet)}, tmp_path / f"{quiet}.csv"
        for day in (dt.date(2025, 10, 1), dt.date(2025, 12, 31)):
            write_alerts(alerts(given, rules, on=day), rules, file)
        assert len(read_alerts(file)) == rows


def test_the_file_is_a_table_of_tickets(tables: Any, tmp_path: Path, row: Any) -> None:
    rules, file = {"branch": rule(below=50)}, tmp_path / "alerts.csv"
    given = tables({(unit, "2025Q4"): (200, 50, 50) for unit in ("a", "b", "c", "d")})
    write_alerts(alerts(given, rules), rules, file)
    frame = pd.read_csv(file, dtype=str, keep_default_na=False)
    frame.loc[[0, 1], "contacted"] = ["2026-01-01", "2026-01-05"]
    frame.to_csv(file, index=False)
    found = follow_up(as_tickets(file, given.study, on=dt.date(2026, 2, 1)), ["owner"])
    assert row(found, metric="contacted_1d")["value"] == pytest.approx(1 / 4)
    assert row(found, metric="contacted_7d")["value"] == pytest.approx(2 / 4)
    file.write_text("alert,date\n1,yesterday\n", encoding="utf-8")
    with pytest.raises(DataError) as caught:
        read_alerts(file)
    assert len(caught.value.faults) == 20


def test_every_fault_of_the_rules_is_listed(root: Path, tmp_path: Path) -> None:
    study = read_study(root / "data" / "bank" / "study.toml")
    assert len(read_rules(root / "data" / "bank" / "alerts.toml", study)) == 4
    file = tmp_path / "rules.toml"
    text = '[alerts.a]\nlabel = "A"\nmetric = "nps"\nscore = "csat"\ngroup = ["month"]\nbelow = 1\nowner = "X"\n'
    file.write_text(
        text + text.replace(".a]", ".b]").replace("csat", "none").replace('["month"]', "[]"), encoding="utf-8"
    )
    with pytest.raises(DataError) as caught:
        read_rules(file, study)
    assert len(caught.value.faults) == 3
    off = '[alerts.{0}]\nlabel = "A"\nmetric = "{1}"\nscore = "{2}"\n{3}\nowner = "X"\n'
    wrong = [("a", "top_two", "csat", "below = 60"), ("b", "nps", "nps", "above = 120"),
             ("c", "mean", "csat", "falls = 7"), ("d", "low_answers", "nps", "above = -1")]  # fmt: skip
    right = [("e", "nps", "nps", "falls = 120"), ("f", "low_answers", "nps", "above = 400")]
    file.write_text("".join(off.format(*each) for each in wrong + right), encoding="utf-8")
    with pytest.raises(DataError) as caught:
        read_rules(file, study)
    assert [line.split(":")[0] for line in caught.value.faults] == [
        "alerts.a.below", "alerts.b.above", "alerts.c.falls", "alerts.d.above"
    ]  # fmt: skip
    file.write_text('[alerts.a]\nlabel = "A"\nmetric = "nps"\nbelow = 1\nabove = 2\nowner = ""\n', encoding="utf-8")
    with pytest.raises(DataError, match="owner"):
        read_rules(file, study)


def test_the_command_writes_the_table(
    tables: Any, bank: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    given, rules, file = tables(LOW_AND_HIGH), tmp_path / "rules.toml", tmp_path / "alerts.csv"
    monkeypatch.setattr("rox.linking.load.load", lambda _: given)
    text = '[alerts.a]\nlabel = "A"\nmetric = "nps"\nscore = "nps"\ngroup = ["unit"]\nbelow = 0\nowner = "X"\n'
    rules.write_text(text, encoding="utf-8")
    words = ["alerts", str(bank), "--rules", str(rules), "--out", str(file)]
    assert main(words) == 0
    assert "groups watched" in capsys.readouterr().out
    assert read_alerts(file)["group"].tolist() == ["unit==low"]


def test_a_small_group_cannot_be_found_from_a_rule_for_everybody(tables):
    """Three groups, one of nine people: another is left out with it, once the total is told, too."""
    loaded = tables(LOW_AND_HIGH)
    alone = alerts(loaded, {"by": rule(below=90, false_share=1)}, on=dt.date(2026, 1, 5)).watched
    beside = {"by": rule(below=90, false_share=1), "all": rule(below=90, group=[], false_share=1)}
    watched = alerts(loaded, beside, on=dt.date(2026, 1, 5)).watched
    assert alone["watched"].tolist() == [2]
    assert watched["watched"].tolist() == [1, 1]
    assert watched["skipped"].tolist() == [2, 0]
