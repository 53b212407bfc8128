"""Each doubt about usable tables is named where it is, with its rows and counts, and nowhere else."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from rox.core.check import Check, Verdict
from rox.core.errors import DataError
from rox.core.study import Study
from rox.core.words import catalogue
from rox.linking.clock import clock_of
from rox.linking.columns import Column
from rox.linking.engine import Engine, connect
from rox.linking.link import link
from rox.linking.load import load
from rox.linking.suspicions.levels import auc_of_groups
from tests.linking.company import CUSTOMERS, Frames, company, declared, looked_at

Look = Callable[..., dict[str, list[Check]]]


@pytest.fixture
def frames() -> Frames:
    return company()


@pytest.fixture
def look(tmp_path: Path) -> Look:
    """Give the remarks on frames by code, after making sure that they can be said and tell no id."""

    def by_code(frames: Frames, study: Study | None = None) -> dict[str, list[Check]]:
        found: dict[str, list[Check]] = {}
        for check in looked_at(tmp_path, frames, study):
            assert check.sentence("en") != check.sentence("zh")
            assert not re.search(r"\d{7}", check.sentence("en")), check.sentence("en")
            found.setdefault(check.code, []).append(check)
        return found

    return by_code


def rows_at(mask: pd.Series[bool]) -> str:
    return ", ".join(str(row + 2) for row in np.flatnonzero(mask)[:3])


def leavers(frames: Frames) -> pd.Series[bool]:
    return frames["customers"]["customer"].isin(frames["exits"]["customer"])


def last_months(frames: Frames) -> pd.DataFrame:
    return frames["ledger"].sort_values("month").groupby("customer").last()


@pytest.mark.parametrize("seed", [1, 2])
def test_a_company_without_a_fault_is_silent(look: Look, seed: int) -> None:
    assert look(company(seed)) == {}


def test_groups_that_know_the_outcome(look: Look, frames: Frames) -> None:
    people, gone = frames["customers"], leavers(frames)
    loyal = np.flatnonzero(~gone)[:250]
    people.loc[loyal, "unit"] = "U98"
    closed = np.flatnonzero(gone)[:120]
    people.loc[closed, "region"] = "closed"
    without = np.flatnonzero(people["unit"] == "U03")
    ids = people["customer"].iloc[without]
    frames["ledger"].loc[frames["ledger"]["customer"].isin(ids), "fees"] = 0
    told = frames["exits"]["customer"].iloc[:60]
    farewell = pd.DataFrame({"key": [f"z{i}" for i in range(60)], "customer": told, "kind": "complaint"})
    frames["feedback"] = pd.concat([frames["feedback"], farewell.assign(topic="farewell", date="2023-01-01")])
    frames["feedback"]["date"] = pd.to_datetime(frames["feedback"]["date"])
    found = look(frames)
    (nobody,) = found["ROX-K01"]
    assert nobody.verdict is Verdict.NOTE
    assert dict(nobody.values) == {
        "table": "customers", "column": "unit", "levels": "U98", "count": 250,
        "rows": rows_at(people["unit"] == "U98"), "share": pytest.approx(gone.mean()),
    }  # fmt: skip
    by_table = {check.values["table"]: check for check in found["ROX-K02"]}
    assert by_table["customers"].verdict is Verdict.DEMOTE
    assert by_table["customers"].values["levels"] == "closed"
    assert by_table["customers"].values["count"] == 120
    assert by_table["customers"].values["rows"] == rows_at(people["region"] == "closed")
    assert by_table["feedback"].verdict is Verdict.NOTE
    assert by_table["feedback"].values["levels"] == "farewell"
    (poor,) = found["ROX-K05"]
    assert (poor.values["levels"], poor.values["outcome"], poor.values["count"]) == ("U03", "fees", len(without))
    assert set(found) == {"ROX-K01", "ROX-K02", "ROX-K05"}


def test_few_stayers_are_no_wonder(look: Look, frames: Frames) -> None:
    frames["customers"].loc[np.flatnonzero(~leavers(frames))[:25], "unit"] = "U98"
    frames["customers"].loc[np.flatnonzero(leavers(frames))[:4], "unit"] = "U99"
    assert look(frames) == {}


def test_columns_that_know_the_outcome(look: Look, frames: Frames) -> None:
    rng = np.random.default_rng(5)
    people, gone = frames["customers"], leavers(frames)
    wrong = rng.random(CUSTOMERS) < 0.005
    money = people["customer"].map(last_months(frames)["aum"])
    first = people["customer"].map(frames["ledger"].sort_values("month").groupby("customer")["aum"].first())
    people["status"] = np.where(gone ^ wrong, "inactive", "active")
    people["idle_days"] = np.where(gone, 400.0, 20.0) + rng.normal(0, 30, CUSTOMERS)
    people["survey_days"] = np.where(gone, rng.uniform(1, 900, CUSTOMERS), np.nan)
    people["balance_end"] = np.sqrt(money) + 3.0
    people["balance_start"] = first.astype(float)
    people["tempting"] = np.where(gone, 1.0, 0.0) + rng.normal(0, 0.5, CUSTOMERS)
    study = declared(text=("status",), numbers=("idle_days", "survey_days", "balance_end", "balance_start", "tempting"))
    found = look(frames, study)
    assert {check.values["column"] for check in found["ROX-K03"]} == {"status", "idle_days", "survey_days"}
    assert all(check.verdict is Verdict.DEMOTE and check.values["auc"] >= 0.98 for check in found["ROX-K03"])
    assert [check.values["column"] for check in found["ROX-K04"]] == ["balance_end"]
    assert found["ROX-K04"][0].values["outcome"] == "aum"
    assert found["ROX-K04"][0].values["r"] == pytest.approx(1)


def test_the_area_under_the_curve() -> None:
    assert auc_of_groups(np.array([50.0, 50.0]), np.array([0.0, 50.0])) == 1
    assert auc_of_groups(np.array([40.0, 60.0]), np.array([20.0, 30.0])) == 0.5
    three = auc_of_groups(np.array([100.0, 100.0, 100.0]), np.array([90.0, 10.0, 50.0]))
    pairs = 10 * (90 / 2) + 50 * (90 + 50 / 2) + 90 * (90 + 50 + 10 / 2)
    assert three == pytest.approx(pairs / 150**2)
    chance = np.random.default_rng(0).binomial(5, 0.4, 2_000).astype(float)
    assert auc_of_groups(np.full(2_000, 5.0), chance) < 0.85


def test_customers_and_answers_that_stand_twice(look: Look, frames: Frames) -> None:
    people = frames["customers"]
    chosen = people[~leavers(frames)].iloc[100:130]
    new = {old: f"9{old[1:]}" for old in chosen["customer"]}
    copies = chosen.assign(customer=chosen["customer"].map(new))
    books = frames["ledger"][frames["ledger"]["customer"].isin(new)]
    books = books.assign(customer=books["customer"].map(new)).sample(frac=1, random_state=1)
    at = np.flatnonzero(people["customer"].str.startswith("0"))[0]
    shortened = people.iloc[[at]].assign(customer=people["customer"].iloc[at].lstrip("0"))
    frames["customers"] = pd.concat([people, copies, shortened], ignore_index=True)
    frames["ledger"] = pd.concat([frames["ledger"], books], ignore_index=True)
    again = frames["answers"].iloc[40:65].assign(key=[f"again{i}" for i in range(25)])
    frames["answers"] = pd.concat([frames["answers"], again], ignore_index=True)
    found = look(frames)
    (twins,) = found["ROX-K06"]
    assert (twins.verdict, twins.values["count"]) == (Verdict.DEMOTE, 30)
    assert twins.values["rows"] == ", ".join(str(CUSTOMERS + 2 + i) for i in range(3))
    (repeated,) = found["ROX-K07"]
    assert repeated.values["count"] == 25
    assert repeated.values["rows"] == ", ".join(str(len(frames["answers"]) - 25 + 2 + i) for i in range(3))
    (bare,) = found["ROX-K08"]
    assert (bare.verdict, bare.values["count"]) == (Verdict.NOTE, 1)
    assert bare.values["rows"] == f"{at + 2}, {CUSTOMERS + 30 + 2}"
    assert set(found) == {"ROX-K06", "ROX-K07", "ROX-K08"}
    frames["answers"][["csat", "advice"]] = pd.NA
    assert look(frames)["ROX-K07"][0].values["count"] == 25
    frames["answers"] = frames["answers"].iloc[:-10]
    assert "ROX-K07" not in look(frames), "a single question is answered alike by chance"


def test_a_tariff_and_a_changed_amount_are_no_twins(look: Look, frames: Frames) -> None:
    ids = frames["customers"]["customer"].iloc[:200]
    frames["customers"].loc[:199, ["segment", "unit"]] = ["core", "U01"]
    frames["customers"].loc[:199, "opened"] = pd.Timestamp("2020-01-01")
    mine = frames["ledger"]["customer"].isin(ids)
    frames["ledger"].loc[mine, "aum"] = 99_00
    frames["ledger"].loc[mine, "fees"] = np.where(frames["ledger"].loc[mine, "month"] < "2023-01-01", 9_90, 10_90)
    people = frames["customers"]
    copies = people.iloc[300:340].assign(customer=lambda rows: "9" + rows["customer"].str[1:])
    books = frames["ledger"][frames["ledger"]["customer"].isin(people["customer"].iloc[300:340])]
    books = books.assign(customer="9" + books["customer"].str[1:])
    books.loc[books.groupby("customer").head(1).index, "aum"] += 1
    frames["customers"] = pd.concat([people, copies], ignore_index=True)
    frames["ledger"] = pd.concat([frames["ledger"], books], ignore_index=True)
    assert "ROX-K06" not in look(frames)


def test_codes_and_constants(look: Look, frames: Frames) -> None:
    people, ledger = frames["customers"], frames["ledger"]
    people.loc[[7, 9, *range(200, 240)], "age"] = 999
    people["visits"] = np.where(np.arange(CUSTOMERS) % 40 == 5, -1.0, np.arange(CUSTOMERS) % 13)
    people["born"] = np.where(np.arange(CUSTOMERS) % 10 == 3, 1900.0, 1930.0 + np.arange(CUSTOMERS) % 75)
    people["share"] = (np.arange(CUSTOMERS) % 100).astype(float)
    people["plan"] = "standard"
    ledger.loc[[4, 5, *range(900, 960)], "fees"] = 99_999_00
    found = look(frames, declared(text=("plan",), numbers=("visits", "born", "share")))
    coded = {check.values["column"]: check for check in found["ROX-K09"]}
    assert set(coded) == {"age", "visits", "born", "fees"}
    assert (coded["age"].values["code"], coded["age"].values["count"]) == (999, 42)
    assert coded["age"].values["rows"] == rows_at(people["age"] == 999)
    assert (coded["visits"].values["code"], coded["visits"].values["count"]) == (-1, 30)
    assert (coded["born"].values["code"], coded["born"].values["count"]) == (1900, 120)
    assert (coded["fees"].values["code"], coded["fees"].values["count"]) == (99_999, 62)
    assert [check.values["column"] for check in found["ROX-K10"]] == ["plan"]


def test_directions_of_questions(look: Look, frames: Frames) -> None:
    answers = frames["answers"]
    answers["csat"] = 6 - answers["csat"]
    answers["advice"] = 10 - answers["advice"]
    found = look(frames)
    (check,) = found["ROX-M03"]
    assert check.values["metric"] == "nps", "all run against it, so it is the one"
    answers["advice"] = 10 - answers["advice"]
    (check,) = look(frames)["ROX-M03"]
    assert (check.verdict, check.values["metric"], check.values["reference"]) == (Verdict.STOP, "csat", "nps")
    answers["csat"] = 6 - answers["csat"]
    answers["advice"] = 10 - answers["advice"]
    (check,) = look(frames)["ROX-K33"]
    assert (check.verdict, check.values["metric"]) == (Verdict.NOTE, "advice")


def test_scales_that_are_not_the_declared_ones(look: Look, frames: Frames) -> None:
    answers = frames["answers"]
    answers["csat"] -= 1
    late = answers["date"] >= "2022-09-01"
    answers["nps"] = answers["nps"].where(late, (answers["nps"] / 2).round().clip(1, 5).astype("int64"))
    answers["advice"] = answers["advice"] // 2 * 2
    found = look(frames)
    (shifted,) = found["ROX-K22"]
    assert (shifted.verdict, shifted.values["metric"]) == (Verdict.STOP, "csat")
    assert (shifted.values["lowest"], shifted.values["highest"]) == (0, 4)
    (changed,) = found["ROX-M04"]
    assert changed.verdict is Verdict.STOP
    assert dict(changed.values) == {"metric": "nps", "date": "2022-09", "before": 5, "after": 10}
    (stretched,) = found["ROX-K20"]
    assert (stretched.values["metric"], stretched.values["apart"]) == ("advice", 2)
    answers["csat"] += 1
    answers["nps"] = (answers["nps"] / 2).round().clip(1, 5).astype("int64")
    answers["advice"] = frames["answers"]["advice"].clip(1)
    answers.loc[:59, "advice"] = 1
    answers.loc[60, "advice"] = 7
    answers["date"] = pd.Timestamp("2022-06-15")
    found = look(frames)
    (half,) = found["ROX-K19"]
    assert (half.verdict, half.values["metric"], half.values["highest"]) == (Verdict.STOP, "nps", 5)
    assert found["ROX-K21"][0].values["metric"] == "advice"
    (one_day,) = found["ROX-K11"]
    assert (one_day.verdict, one_day.values["count"]) == (Verdict.DEMOTE, len(answers))


def test_when_answers_were_given(look: Look, frames: Frames) -> None:
    answers, exits = frames["answers"], frames["exits"]
    some = exits.iloc[:90]
    farewell = pd.DataFrame({"customer": some["customer"], "date": some["date"] - pd.Timedelta("2D")})
    farewell = farewell.assign(key=[f"x{i}" for i in range(90)], nps=1, csat=2, advice=1)
    frames["answers"] = answers = pd.concat([answers, farewell], ignore_index=True)
    slow = np.arange(len(answers)) % 5 == 0
    answers["available"] = answers["date"] + pd.to_timedelta(np.where(slow, 40, 0), "D")
    answers["rox_clock"] = np.where(np.arange(len(answers)) % 10 == 0, -1, 16)
    frames["ledger"]["rox_clock"] = 0
    found = look(frames, declared(answers={"columns": {"available": "available"}}))
    assert found["ROX-K13"][0].values["count"] >= 90
    (late,) = found["ROX-K14"]
    assert (late.values["count"], late.values["total"]) == (slow.sum(), len(answers))
    (clock,) = found["ROX-K12"]
    assert (clock.verdict, clock.values["table"], clock.values["hour"]) == (Verdict.NOTE, "answers", 16)
    frames["ledger"]["rox_clock"] = 16
    assert {check.verdict for check in look(frames)["ROX-K12"]} == {Verdict.NOTE, Verdict.DEMOTE}


def test_the_hour_beside_a_date_is_read_in_the_zone_of_the_study() -> None:
    written = {
        "2024-01-31": None,
        "2024-01-31T16:00:00Z": 0,
        "2024-01-31 16:00:00+00:00": 0,
        "2024-01-31T16:30:00Z": -1,
        "2024-01-31 16:00:00": 16,
        "2024/1/31 9:00": 9,
        "2024-01-31 00:00:00.5": 0,
        "20240131": None,
        "soon": None,
    }
    engine = connect(timezone="Asia/Shanghai")
    values = ", ".join(f"('{text}')" for text in written)
    raw = engine.relation(f"SELECT t FROM (VALUES {values}) AS v(t)")
    column = Column(source="t", name="date", kind="date")
    hours = engine.fetch(raw.select("t", **clock_of("answers", column, raw.t))).set_index("t")["rox_clock_date"]
    assert {text: None if pd.isna(hour) else int(hour) for text, hour in hours.items()} == written
    assert clock_of("feedback", column, raw.t) == {}
    raw = engine.relation(
        "SELECT TIMESTAMPTZ '2024-01-31 16:00:00+00' AS zoned, TIMESTAMP '2024-01-31 16:00:00' AS plain"
    )
    for name, hour in (("zoned", 0), ("plain", 16)):
        assert engine.fetch(raw.select(**clock_of("exits", column, raw[name])))["rox_clock_date"].iloc[0] == hour


def test_units_and_signs_of_money(look: Look, frames: Frames) -> None:
    ledger = frames["ledger"]
    late = ledger["month"] >= "2023-03-01"
    ledger["aum"] = ledger["aum"].where(~late, (ledger["aum"] / 10_000).round().clip(1).astype("int64"))
    ledger["fees"] = ledger["fees"].where(ledger["month"] < "2023-06-01", -ledger["fees"])
    found = look(frames)
    (unit,) = found["ROX-K23"]
    assert (unit.verdict, unit.values["outcome"], unit.values["month"]) == (Verdict.STOP, "aum", "2023-03")
    assert unit.values["factor"] == "÷ 10,000"
    assert unit.values["rows"] == rows_at(ledger["month"] == "2023-03-01")
    (sign,) = found["ROX-K24"]
    assert (sign.verdict, sign.values["outcome"], sign.values["month"]) == (Verdict.STOP, "fees", "2023-06")
    assert set(found) == {"ROX-K23", "ROX-K24"}


def test_honest_money_that_looks_odd(look: Look, frames: Frames) -> None:
    """A yearly fee, a price of 99, exits after the end of the ledger, and a ledger that grows."""
    ledger = frames["ledger"]
    yearly = ledger["month"].dt.month == 1
    ledger["fees"] = (ledger["fees"] // 50 * 50).clip(10, 9_900).where(~yearly, ledger["fees"] * 100 + 50_000)
    found = look(frames)
    assert {check.verdict for checks in found.values() for check in checks} == {Verdict.NOTE}
    assert set(found) == {"ROX-K32"}
    ledger["fees"] = (ledger["fees"] // 1_000 * 900).clip(900, 99_00)
    frames["ledger"] = ledger = ledger[ledger["month"] < "2023-01-01"]
    joined = pd.Timestamp("2022-01-01") + pd.to_timedelta(np.arange(CUSTOMERS) % 300, "D")
    joined = dict(zip(frames["customers"]["customer"], joined, strict=True))
    frames["ledger"] = ledger[ledger["month"] >= ledger["customer"].map(joined)].reset_index(drop=True)
    assert look(frames) == {}


def test_months_loaded_in_part_or_not_at_all(look: Look, frames: Frames) -> None:
    ledger = frames["ledger"]
    rng = np.random.default_rng(3)
    part = (ledger["month"] == "2022-08-01") & (rng.random(len(ledger)) < 0.7)
    frames["ledger"] = ledger = ledger[~part & (ledger["month"] != "2023-04-01")].reset_index(drop=True)
    jump = ledger["month"] >= "2022-03-01"
    ledger["fees"] = ledger["fees"].where(~jump, ledger["fees"] * 25)
    gone = ledger["customer"].isin(frames["exits"]["customer"])
    from_end = ledger[gone].sort_values("month", ascending=False).groupby("customer").cumcount()
    idle = from_end.index[from_end < 6]
    ledger.loc[idle, ["aum", "fees"]] = 0
    found = look(frames, declared(extract="2023-12-20"))
    assert found["ROX-K26"][0].values["months"] == "2023-04"
    (few,) = found["ROX-K25"]
    assert few.values["months"] == "2022-08"
    assert few.values["share"] == pytest.approx(0.3, abs=0.05)
    assert found["ROX-K27"][0].values["month"] == "2023-12"
    assert found["ROX-K32"][0].values["month"] == "2022-03"
    assert found["ROX-K28"][0].values["count"] > 800
    assert found["ROX-K29"][0].values["count"] > 100
    assert not any(check.verdict in (Verdict.STOP, Verdict.DEMOTE) for checks in found.values() for check in checks)


def half(frames: Frames, *, exactly: bool) -> Frames:
    """Keep the leavers and as many stayers, or a few more."""
    people, gone = frames["customers"], leavers(frames)
    stay = people[~gone].iloc[: gone.sum() + (0 if exactly else 20)]
    kept = pd.concat([people[gone], stay]).sort_index()
    result = {name: frame[frame["customer"].isin(kept["customer"])] for name, frame in frames.items()}
    return {name: frame.reset_index(drop=True) for name, frame in result.items()}


def test_a_sample_by_outcome(look: Look, frames: Frames) -> None:
    (check,) = look(half(frames, exactly=True))["ROX-K16"]
    assert (check.verdict, check.values["left"], check.values["total"]) == (Verdict.DEMOTE, 304, 608)
    spoiled = half(frames, exactly=False)
    (check,) = look(spoiled)["ROX-K15"]
    assert check.verdict is Verdict.NOTE
    people = spoiled["customers"]
    people["weight"] = np.where(leavers(spoiled), 1.0, (CUSTOMERS - 304) / 324)
    assert look(spoiled, declared(customers={"columns": {"weight": "weight"}})) == {}
    people["weight"] = 1.0
    assert set(look(spoiled, declared(customers={"columns": {"weight": "weight"}}))) == {"ROX-K15"}


def test_the_hold_out_has_the_size_that_was_meant(look: Look, frames: Frames) -> None:
    assert look(frames, declared(tickets={"hold_out_share": 0.2})) == {}
    (check,) = look(frames, declared(tickets={"hold_out_share": 0.33}))["ROX-K17"]
    assert check.verdict is Verdict.STOP
    tickets = frames["tickets"]
    assert (check.values["held"], check.values["total"]) == (tickets["hold_out"].sum(), len(tickets))
    more = pd.concat([tickets.assign(customer=tickets["customer"] + f"{i}") for i in range(12)], ignore_index=True)
    held = np.random.default_rng(1).random(len(more)) < 0.46
    frames["tickets"] = more.assign(key=[f"t{i}" for i in range(len(more))], hold_out=held.astype("int64"))
    (check,) = look(frames)["ROX-K18"]
    assert check.verdict is Verdict.NOTE
    assert check.values["share"] in (0.4, 0.5)


def test_contacts_of_accounts(look: Look, frames: Frames) -> None:
    answers = frames["answers"]
    answers["contact"] = "P" + answers["customer"].str[1:] + (np.arange(len(answers)) % 3).astype(str)
    study = declared(answers={"columns": {"contact": "contact"}})
    found = look(frames, study)
    pairs = answers.drop_duplicates(["customer", "contact"])
    assert set(found) == {"ROX-K31"}
    assert found["ROX-K31"][0].values["count"] == (pairs.groupby("customer").size() > 1).sum()
    answers.loc[[10, 500], "contact"] = "P77"
    (check,) = look(frames, study)["ROX-K30"]
    assert (check.values["count"], check.values["rows"]) == (1, "12, 502")


STATEMENTS = 20


def test_everything_is_found_in_a_handful_of_scans(look: Look, frames: Frames, monkeypatch: pytest.MonkeyPatch) -> None:
    """One statement per doubt at most, whatever the number of columns; the ledger is read twice."""
    asked: list[str] = []
    fetch, stage = Engine.fetch, Engine.stage

    def count_fetch(engine: Engine, expression: object) -> pd.DataFrame:
        asked.append(engine.sql(expression))  # type: ignore[arg-type]
        return fetch(engine, expression)  # type: ignore[arg-type]

    def count_stage(engine: Engine, expression: object, name: str, of: str | None = None) -> object:
        if not name.startswith("staged_"):
            asked.append(engine.sql(expression))  # type: ignore[arg-type]
        return stage(engine, expression, name, of)  # type: ignore[arg-type]

    monkeypatch.setattr(Engine, "fetch", count_fetch)
    monkeypatch.setattr(Engine, "stage", count_stage)
    for name in (numbers := ("a", "b", "c", "d")):
        frames["customers"][name] = np.arange(CUSTOMERS) % 61 * 1.0
    assert look(frames, declared(numbers=numbers)) == {}
    assert len(asked) <= STATEMENTS
    assert sum("staged_ledger" in sql for sql in asked) == 2
    assert sum("staged_answers" in sql for sql in asked) <= 5


def test_stops_and_faults_are_told_together_and_the_rest_travels(frames: Frames) -> None:
    study = declared(text=("status",))
    frames["customers"]["status"] = np.where(leavers(frames), "inactive", "active")
    frames["ledger"] = frames["ledger"].assign(aum=frames["ledger"]["aum"] / 100, fees=frames["ledger"]["fees"] / 100)
    tables = load(study, frames=frames)
    assert {check.code for check in tables.checks} == {"ROX-K01", "ROX-K02", "ROX-K03"}
    linked = link(tables, score="nps", outcome="aum")
    assert [check.code for check in tables.checks] == [check.code for check in linked.checks][: len(tables.checks)]
    answers, ledger = frames["answers"], frames["ledger"]
    answers["csat"] = 6 - answers["csat"]
    answers.loc[:2, "nps"] = [99, 98, 12]
    ledger["aum"] = ledger["aum"].where(ledger["month"] < "2023-03-01", ledger["aum"] * 100)
    frames["exits"].loc[0, "customer"] = "9999999"
    frames["tickets"]["customer"] = frames["tickets"]["customer"].str.lstrip("0")
    with pytest.raises(DataError) as caught:
        load(study, frames=frames)
    text = str(caught.value)
    assert re.search(
        r"answers · nps · a code such as 99 or -1 on a scale from 0 to 10.*NULLIF\(nps, 99\).* · 2 rows", text
    )
    assert "answers · nps · outside its scale from 0 to 10 · 1 row, at row 3" in text
    assert "ROX-M03 · csat runs against nps" in text
    assert re.search("ROX-K23 · In 2023-03 the amounts of aum are those of the month before × 100", text)
    assert re.search(r"tickets · customer · customer not in the customers table \([\d,]+ of them match but for", text)
    assert "exits · customer · customer not in the customers table · 1 row, at row 1" in text
    assert "ROX-K02" not in text


def test_contacts_are_checked_against_their_accounts(frames: Frames) -> None:
    roles = {"contact": "contact", "customer": "customer", "role": "role", "weight": "weight"}
    study = declared(answers={"columns": {"contact": "contact"}}, contacts={"columns": roles})
    answers = frames["answers"]
    answers["contact"] = "P" + answers["customer"].str[1:]
    pairs = answers[["contact", "customer"]].drop_duplicates()
    frames["contacts"] = pairs.assign(role="user", weight=1.0).reset_index(drop=True)
    frames["ledger"] = frames["ledger"].assign(aum=frames["ledger"]["aum"] / 100, fees=frames["ledger"]["fees"] / 100)
    tables = load(study, frames=frames)
    assert tables.checks == ()
    assert "contact" in tables.tables["answers"].columns
    assert tables.counts["contacts"] == len(pairs)
    answers.loc[4, "contact"] = "P_unknown"
    answers.loc[[8, 9], "contact"] = answers["contact"].iloc[100]
    frames["contacts"] = pd.concat([frames["contacts"], frames["contacts"].iloc[:1]], ignore_index=True)
    with pytest.raises(DataError) as caught:
        load(study, frames=frames)
    assert set(caught.value.faults) == {
        "answers · contact · contact not in the contacts table · 1 row, at row 5",
        "answers · contact · the contact belongs to another customer in the contacts table · 2 rows, at row 9, 10",
        f"contacts · contact, customer · a second row for a contact of a customer · 1 row, at row {len(pairs) + 1}",
    }


def test_every_code_of_this_chapter_is_tested() -> None:
    codes = {key for key in catalogue() if key.startswith("ROX-K")} | {"ROX-M04"}
    text = Path(__file__).read_text(encoding="utf-8")
    assert {code for code in codes if f'"{code}"' not in text.replace("test_every_code", "")} == set()
