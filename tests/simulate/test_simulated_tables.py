"""The exported tables hold together, whatever month or customer one looks at."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from rox.simulate import Bank, Intervention, preset, promotions, simulate, tables, write_bank
from rox.simulate.dials import DRIVERS
from rox.simulate.people import NEVER

Tables = dict[str, pd.DataFrame]
COLUMNS = {
    "customers": "customer_id segment branch_id opened birth_year products digital_logins design_weight",
    "invitations": "invitation_id customer_id sent channel",
    "answers": f"answer_id invitation_id customer_id answered nps csat ces {' '.join(DRIVERS)}",
    "feedback": "feedback_id customer_id received kind channel topic",
    "events": "customer_id month event count",
    "ledger": "customer_id month aum revenue contacts",
    "exits": "customer_id exited reason",
    "initiatives": "initiative branch_id start note",
    "tickets": "ticket_id customer_id opened source eligible hold_out contacted owner",
}
KEYS = {
    "customers": ["customer_id"],
    "invitations": ["invitation_id"],
    "answers": ["answer_id"],
    "feedback": ["feedback_id"],
    "events": ["customer_id", "month", "event"],
    "ledger": ["customer_id", "month"],
    "exits": ["customer_id"],
    "initiatives": ["initiative", "branch_id"],
    "tickets": ["ticket_id"],
}
DATED = [
    ("invitations", "sent"),
    ("answers", "answered"),
    ("feedback", "received"),
    ("tickets", "opened"),
    ("tickets", "contacted"),
]
EXTRACT = pd.Timestamp("2025-12-31")


def dated(exported: Tables, table: str, column: str) -> pd.DataFrame:
    """Rows with a date, beside the customer's opening and exit."""
    rows = exported[table].dropna(subset=column).rename(columns={column: "day"})
    stays = exported["customers"][["customer_id", "opened"]].rename(columns={"opened": "since"})
    stays = stays.merge(exported["exits"][["customer_id", "exited"]], how="left")
    return rows.merge(stays, on="customer_id", validate="many_to_one")


@pytest.mark.parametrize("table", COLUMNS)
def test_columns_keys_and_customers(exported: Tables, table: str) -> None:
    frame = exported[table]
    assert list(frame.columns) == COLUMNS[table].split()
    assert not frame.duplicated(KEYS[table]).any()
    if "customer_id" in frame:
        assert frame["customer_id"].isin(exported["customers"]["customer_id"]).all()
    optional = {"contacted", *DRIVERS}
    assert not frame.drop(columns=optional & set(frame.columns)).isna().any(axis=None)


def test_identifiers_are_text_that_says_nothing(exported: Tables, small: Bank) -> None:
    ids = exported["customers"]["customer_id"]
    assert ids.str.fullmatch(r"0\d{9}").all()
    assert ids.astype(int).diff().dropna().nunique() > 0.9 * len(ids)
    position = np.argsort(small.customers.identifier)
    assert abs(np.corrcoef(position, small.customers.segment[np.argsort(position)])[0, 1]) < 0.05


@pytest.mark.parametrize("which", ["exported", "restless"])
@pytest.mark.parametrize(("table", "column"), DATED)
def test_nothing_is_dated_before_the_opening_after_the_exit_or_after_the_extract(
    request: pytest.FixtureRequest, which: str, table: str, column: str
) -> None:
    rows = dated(request.getfixturevalue(which), table, column)
    assert len(rows) > 100
    assert (rows["day"] >= rows["since"]).all()
    assert not (rows["day"] > rows["exited"]).any()
    assert rows["day"].between(pd.Timestamp("2023-01-01"), EXTRACT).all()


def test_some_answer_in_the_month_of_their_exit(exported: Tables) -> None:
    rows = dated(exported, "answers", "answered").dropna(subset="exited")
    assert (rows["day"].dt.to_period("M") == rows["exited"].dt.to_period("M")).any()


def test_the_ledger_has_every_month_from_opening_to_exit(exported: Tables) -> None:
    months = pd.period_range("2023-01", "2025-12", freq="M")
    customers = exported["customers"].merge(exported["exits"], how="left", on="customer_id")
    first = customers["opened"].dt.to_period("M").clip(lower=months[0])
    last = customers["exited"].dt.to_period("M").fillna(months[-1])
    expected = pd.Series(
        [(end - begin).n + 1 for begin, end in zip(first, last, strict=True)], index=customers["customer_id"]
    )
    ledger = exported["ledger"].assign(period=exported["ledger"]["month"].dt.to_period("M"))
    found = ledger.groupby("customer_id")["period"].agg(["size", "min", "max"]).loc[expected.index]
    assert (found["size"] == expected).all()
    assert (found["min"].to_numpy() == first.to_numpy()).all()
    assert (found["max"].to_numpy() == last.to_numpy()).all()


def test_ranges(exported: Tables) -> None:
    answers, ledger, customers = exported["answers"], exported["ledger"], exported["customers"]
    for column, low, high in [("nps", 0, 10), ("csat", 1, 5), ("ces", 1, 7), *((name, 0, 10) for name in DRIVERS)]:
        assert answers[column].dropna().between(low, high).all(), column
    assert 0.1 < answers[list(DRIVERS)].isna().to_numpy().mean() < 0.2
    assert (ledger["aum"] >= 0).all()
    assert (ledger["aum"] == 0).any()
    assert (ledger[["revenue", "contacts"]] >= 0).all(axis=None)
    for column in ("aum", "revenue"):
        np.testing.assert_allclose(ledger[column] * 100, (ledger[column] * 100).round(), rtol=1e-12)
    assert customers["birth_year"].between(1938, 2005).all()
    assert customers["branch_id"].str.fullmatch(r"B(0[1-9]|[1-5]\d|60)").all()
    assert (exported["events"]["count"] > 0).all()
    assert set(exported["events"]["event"]) == {"login", "transfer_failed", "branch_visit"}


def test_design_weights_restore_the_bank(exported: Tables, small: Bank) -> None:
    assert exported["customers"]["design_weight"].sum() == pytest.approx(small.config.population, rel=1e-6)


def test_answers_follow_their_invitations_within_nine_days(exported: Tables) -> None:
    both = exported["answers"].merge(exported["invitations"], on="invitation_id", suffixes=("", "_invited"))
    assert len(both) == len(exported["answers"])
    assert both["invitation_id"].is_unique
    assert (both["customer_id"] == both["customer_id_invited"]).all()
    delay = (both["answered"] - both["sent"]).dt.days
    assert (delay.min(), delay.max()) == (0, 9)
    assert set(both["sent"].dt.month) == {3, 6, 9, 12}


def test_tickets_come_from_low_answers_and_complaints(exported: Tables) -> None:
    tickets, answers, feedback = exported["tickets"], exported["answers"], exported["feedback"]
    complaints = feedback[feedback["kind"] == "complaint"]
    from_complaints = tickets[tickets["source"] == "complaint"]
    assert set(zip(complaints["customer_id"], complaints["received"], strict=True)) == set(
        zip(from_complaints["customer_id"], from_complaints["opened"], strict=True)
    )
    cases = set(zip(tickets["customer_id"], tickets["opened"].dt.to_period("M"), strict=True))
    low = answers[answers["nps"] <= 6]
    assert set(zip(low["customer_id"], low["answered"].dt.to_period("M"), strict=True)) <= cases
    assert (tickets["eligible"] == 1).all()


def test_the_hold_out_is_never_contacted_and_others_within_two_weeks(exported: Tables) -> None:
    tickets = exported["tickets"]
    assert tickets.loc[tickets["hold_out"] == 1, "contacted"].isna().all()
    assert 0.10 < tickets["hold_out"].mean() < 0.20
    days = (tickets["contacted"] - tickets["opened"]).dt.days.dropna()
    assert days.between(0, 14).all()
    assert 0.3 < tickets["contacted"].notna().mean() < 0.6


def test_reasons_agree_with_the_cause(exported: Tables, small: Bank) -> None:
    cause = pd.Series(small.exit_cause, index=small.customers.identifier)
    exits = exported["exits"]
    others = exits["reason"].isin(["death", "relocation", "bank_initiated"])
    assert ((cause.loc[exits["customer_id"]] == 2).to_numpy() == others.to_numpy()).all()
    assert len(exits) == (small.exit_month < NEVER).sum()


def test_only_refitted_branches_appear_among_the_initiatives(exported: Tables, small: Bank) -> None:
    starts = exported["initiatives"].groupby("start")["branch_id"].size()
    assert starts.to_dict() == {pd.Timestamp(day): 15 for day in ("2024-01-01", "2024-07-01", "2025-01-01")}
    without = tables(simulate(preset("cmb", customers=300), Intervention(rollout=False)))["initiatives"]
    assert without.empty
    assert list(without.columns) == COLUMNS["initiatives"].split()


def test_an_intervention_leaves_the_rows_of_others_as_they_were(exported: Tables, small: Bank) -> None:
    """Running numbers aside: they count rows."""
    other = tables(simulate(small.config, Intervention(rollout=False)))
    spared = small.customers.identifier[small.refit == NEVER]
    for name, frame in exported.items():
        if "customer_id" in frame:
            one, two = (each[each["customer_id"].isin(spared)] for each in (frame, other[name]))
            numbers = [column for column in frame if re.fullmatch(r"\w+_id", column) and column != "customer_id"]
            numbers = [column for column in numbers if column != "branch_id"]
            keys = [column for column in KEYS[name] if column not in numbers] + [c for t, c in DATED if t == name]
            pd.testing.assert_frame_equal(
                *(
                    each.drop(columns=numbers).sort_values(["customer_id", *keys], ignore_index=True)
                    for each in (one, two)
                )
            )


def test_promotions_are_a_matter_of_regions(small: Bank) -> None:
    running = promotions(small)
    assert 0.08 < len(running) / (60 * 36) < 0.25
    assert set(running.groupby("month")["branch_id"].size() % 10) == {0}


def test_files_are_written_the_same_twice_and_others_left_alone(tmp_path: Path) -> None:
    bank = simulate(preset("cmb", customers=300))
    (tmp_path / "study.toml").write_text("mine")
    (tmp_path / "cases").mkdir()
    (tmp_path / "cases" / "one.toml").write_text("mine too")
    written = write_bank(bank, tmp_path)
    before = {path.name: path.read_bytes() for path in written}
    assert sorted(before) == sorted(
        f"{name}.{'parquet' if name in ('ledger', 'events') else 'csv'}" for name in COLUMNS
    )
    write_bank(simulate(preset("cmb", customers=300)), tmp_path)
    assert {path.name: path.read_bytes() for path in written} == before
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*before, "cases", "study.toml"])
    assert (tmp_path / "study.toml").read_text() + (tmp_path / "cases" / "one.toml").read_text() == "minemine too"


def test_files_read_back_as_the_tables(tmp_path: Path) -> None:
    bank = simulate(preset("cmb", customers=300))
    write_bank(bank, tmp_path)
    made = tables(bank)
    for name in ("ledger", "events"):
        table = pq.read_table(tmp_path / f"{name}.parquet")
        types = {field.name: str(field.type) for field in table.schema}
        assert types["month"] == "date32[day]"
        assert types["customer_id"] == "string"
        frame = table.to_pandas(date_as_object=False)
        pd.testing.assert_frame_equal(frame, made[name], check_dtype=False)
    text = (tmp_path / "answers.csv").read_text(encoding="utf-8")
    assert "\r" not in text
    assert text.splitlines()[0] == COLUMNS["answers"].replace(" ", ",")
    row = r"A\d{7},I\d{7},0\d{9},20\d\d-\d\d-\d\d,\d{1,2},[1-5],[1-7](,(\d{1,2})?){5}"
    assert all(re.fullmatch(row, line) for line in text.splitlines()[1:])
