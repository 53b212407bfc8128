"""Rows of a further table beside their customers' money and answers: against pandas, from files and from frames."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from rox.core.errors import DataError
from rox.core.linked import Linked
from rox.core.study import read_study
from rox.linking.link import link
from rox.linking.load import load
from rox.simulate.study import write_study
from rox.testing import linked_from_frame

ANSWER = ["given_score", "given_age", "next_score", "next_age"]


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Linked:
    folder = tmp_path_factory.mktemp("records") / "bank"
    write_study(folder, preset_name="small", customers=600, seed=3, extra=("funnel",))
    study = folder / "study.toml"
    rng = np.random.default_rng(5)
    people = pd.read_csv(folder / "customers.csv", dtype=str)["customer_id"].sample(300, random_state=1)
    arms = pd.DataFrame({"experiment": "fee", "customer_id": people, "arm": rng.choice(["control", "waived"], 300)})
    arms.assign(drawn="2024-03-05", taken=rng.integers(0, 2, 300)).to_csv(folder / "arms.csv", index=False)
    text = study.read_text(encoding="utf-8")
    if "[tables.applicants]" not in text:
        text += (
            '\n[tables.applicants]\npath = "funnel.csv"\ncolumns = { key = "applicant_id", date = "started", '
            'channel = "channel", variant = "variant", reached = "reached", funded = "funded", amount = "aum_90" }\n'
        )
    text += (
        '\n[tables.arms]\npath = "arms.csv"\n'
        'columns = { experiment = "experiment", customer = "customer_id", arm = "arm", date = "drawn", '
        'taken = "taken" }\n'
    )
    study.write_text(text, encoding="utf-8")
    return link(load(read_study(study)), score="nps", outcome="aum")


def raw(bank: Linked, name: str) -> pd.DataFrame:
    return pd.read_csv(bank.study.folder / name, dtype={"customer_id": str})


def test_a_ticket_has_the_money_and_the_answers_of_its_customer(bank):
    found = bank.fetch(bank.records("tickets", months=(-2, 0, 5)))
    tickets, ids = raw(bank, "tickets.csv"), sorted(raw(bank, "customers.csv")["customer_id"])
    assert len(found) == len(tickets) > 50
    panel = bank.frame().set_index(["customer", "month"])
    for k in (-2, 0, 5):
        want = panel["outcome"].reindex(list(zip(found["customer"], found["month"] + k, strict=True))).to_numpy()
        name = f"money_{'m' if k < 0 else 'p'}{abs(k)}"
        np.testing.assert_array_equal(found[name].to_numpy(), want)
    here = panel["score"].reindex(list(zip(found["customer"], found["month"], strict=True))).to_numpy()
    np.testing.assert_array_equal(found["score"].to_numpy(), here)
    code = {identifier: number for number, identifier in enumerate(ids)}
    assert sorted(found["customer"]) == sorted(tickets["customer_id"].map(code))
    answers = raw(bank, "answers.csv").dropna(subset=["nps"])
    answers = answers.assign(who=answers["customer_id"].map(code), day=pd.to_datetime(answers["answered"]))
    for row in found.itertuples():
        mine = answers[answers["who"] == row.customer].sort_values(["day", "nps"])
        past = mine[mine["day"] <= row.date]
        later = mine[12 * mine["day"].dt.year + mine["day"].dt.month - 1 > row.month]
        assert np.isnan(row.given_score) == past.empty
        if len(past):
            assert row.given_score in set(past.loc[past["day"] == past["day"].max(), "nps"])
            assert row.given_age == row.month - (12 * past["day"].max().year + past["day"].max().month - 1)
        assert np.isnan(row.next_age) == later.empty
        if len(later):
            assert row.next_score in set(later.loc[later["day"] == later["day"].min(), "nps"])
    assert not {"ticket_id", "key"} & set(found)


def test_rows_from_a_frame_are_the_same_but_for_days(bank):
    found = bank.fetch(bank.records("arms", months=(-1, 3)))
    rows = found[["experiment", "customer", "arm", "date", "taken"]]
    again = linked_from_frame(bank.frame(), controls=bank.controls, records={"arms": rows})
    other = again.fetch(again.records("arms", months=(-1, 3)))
    pd.testing.assert_frame_equal(
        found.drop(columns=ANSWER), other.drop(columns=ANSWER)[list(found.columns.drop(ANSWER))], check_dtype=False
    )
    assert bank.money_months == again.money_months
    with pytest.raises(DataError, match="came without a table of tickets"):
        again.records("tickets")


def test_applicants_are_no_customers(bank):
    found = bank.fetch(bank.records("applicants"))
    want = raw(bank, "funnel.csv")
    assert not {"customer", "key"} & set(found)
    assert len(found) == len(want)
    assert found["amount"].sum() == pytest.approx(want["aum_90"].sum())
    assert found["funded"].sum() == want["funded"].sum()
    with pytest.raises(DataError, match="no customers"):
        bank.records("applicants", months=(1,))


def test_what_cannot_be_read(bank):
    with pytest.raises(DataError, match="needed: one of tickets, arms, applicants"):
        bank.records("ledger")
    study = bank.study.folder / "study.toml"
    text = study.read_text(encoding="utf-8")
    arms = bank.study.folder / "arms.csv"
    rows = raw(bank, "arms.csv")
    pd.concat([rows, rows.iloc[:2]]).to_csv(arms, index=False)
    with pytest.raises(DataError, match="second arm of a customer"):
        load(read_study(study))
    rows.to_csv(arms, index=False)
    study.write_text(text[: text.index("[tables.arms]")], encoding="utf-8")
    other = link(load(read_study(study)), score="nps", outcome="aum")
    study.write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match="no table of arms"):
        other.records("arms")


def test_contacts_before_the_ticket_and_negative_amounts_are_faults_with_their_rows(bank):
    tickets, applicants = (bank.study.folder / name for name in ("tickets.csv", "funnel.csv"))
    before = {path: path.read_bytes() for path in (tickets, applicants)}
    opened = pd.read_csv(tickets, dtype=str)
    row = int(opened["contacted"].first_valid_index())
    opened.loc[row, "contacted"] = "2020-01-01"
    opened.to_csv(tickets, index=False)
    funnel = pd.read_csv(applicants, dtype=str)
    funnel.loc[[3, 5], "aum_90"] = "-10"
    funnel.to_csv(applicants, index=False)
    study = read_study(bank.study.folder / "study.toml")
    with pytest.raises(DataError) as caught:
        load(study)
    for path, content in before.items():
        path.write_bytes(content)
    tickets_said, applicants_said = sorted(caught.value.faults, reverse=True)
    assert "contacted before the ticket was opened" in tickets_said
    assert f"1 row, at row {row + 2}" in tickets_said
    assert "aum_90 · below 0 · 2 rows, at row 5, 7" in applicants_said
    assert load(study).counts["tickets"] == len(opened)


def test_a_panel_replaced_by_its_frame_still_reads_the_tables(bank):
    framed = replace(bank, panel=bank.frame(), fetch=lambda table: table.copy())
    found, other = bank.fetch(bank.records("arms", months=(2,))), framed.records("arms", months=(2,))
    pd.testing.assert_series_equal(found["money_p2"], other["money_p2"])
