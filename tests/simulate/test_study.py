"""A simulated study is complete, and the bundled one is made of the same files."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import rox
from rox.core.errors import DataError, RoxError
from rox.core.study import read_study
from rox.simulate import preset
from rox.simulate.study import write_declarations, write_study


@pytest.fixture(scope="module")
def accounts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("studies") / "accounts"
    write_study(folder, preset_name="b2b", customers=250, extra=("referrals", "retests"))
    return folder


@pytest.fixture(scope="module")
def company(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("studies") / "company"
    write_study(folder, preset_name="small", seed=2)
    return folder


def test_a_simulated_study_can_be_read(tmp_path: Path) -> None:
    files = write_study(tmp_path / "bank", preset_name="easy", customers=300, seed=3)
    study = read_study(tmp_path / "bank" / "study.toml")
    assert {path.name for path in files} >= {"ledger.parquet", "answers.csv", "study.toml", "closed_loop.toml"}
    assert [study.case(name).name for name in study.case_names] == list(study.case_names)


def test_the_bundled_study_and_cases_are_the_ones_that_are_written(tmp_path: Path, root: Path) -> None:
    for path in write_declarations(tmp_path):
        same = root / "data" / "bank" / path.relative_to(tmp_path)
        assert path.read_text(encoding="utf-8") == same.read_text(encoding="utf-8"), same


def test_study_files_declare_the_lot_of_the_tickets_and_the_funnel(tmp_path: Path) -> None:
    def tables(name: str, **said: Any) -> dict[str, Any]:
        write_declarations(tmp_path / name, preset_name=name, **said)
        found: dict[str, Any] = tomllib.loads((tmp_path / name / "study.toml").read_text(encoding="utf-8"))["tables"]
        return found

    assert tables("cmb", hold_out=0.25)["tickets"]["hold_out_share"] == 0.25
    assert "hold_out_share" not in tables("cmb", hold_out=0.0)["tickets"]
    for name in ("cmb", "small", "b2b"):
        assert "applicants" not in tables(name)
        declared = tables(name, funnel=True)
        assert declared["tickets"]["hold_out_share"] == preset(name).recovery.hold_out
        assert set(declared["applicants"]["columns"]) >= {"key", "date", "variant", "assigned", "funded", "amount"}


def test_a_funnel_that_is_asked_for_can_be_read(tmp_path: Path) -> None:
    write_study(tmp_path / "bank", preset_name="small", seed=2, extra=("funnel",))
    tables = rox.load(rox.read_study(tmp_path / "bank" / "study.toml"))
    assert tables.counts["applicants"] == len(pd.read_csv(tmp_path / "bank" / "funnel.csv"))


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(DataError) as caught:
        write_study(tmp_path, customers=10, seed=-1)
    assert len(caught.value.faults) == 3
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_study_of_accounts_can_be_linked(accounts: Path) -> None:
    study = rox.read_study(accounts / "study.toml")
    tables = rox.load(study)
    answers = pd.read_csv(accounts / "answers.csv", dtype=str)
    assert tables.counts["answers"] == len(answers)
    assert answers["contact_id"].isin(pd.read_csv(accounts / "contacts.csv", dtype=str)["contact_id"]).all()
    panel = rox.link(tables, score="nps", outcome="aum").frame()
    assert panel["customer"].nunique() == 250
    assert panel["score"].notna().mean() > 0.5
    for name in study.case_names:
        assert set(study.case(name).people) == set(preset("b2b").segment_names)


def test_answers_of_contacts_become_one_of_the_account_by_role(accounts: Path) -> None:
    tables = rox.load(rox.read_study(accounts / "study_by_account.toml"))
    found = tables.fetch(tables.tables["answers"]).set_index("key")
    answers = pd.read_csv(accounts / "answers.csv", dtype={"customer_id": str, "invitation_id": str})
    contacts = pd.read_csv(accounts / "contacts.csv", dtype={"customer_id": str})
    rows = answers.merge(contacts[["contact_id", "weight"]], on="contact_id")
    rows["wave"] = rows["answered"].str[:7]
    waves = rows.groupby(["customer_id", "wave"])
    assert len(found) == waves.ngroups < len(answers)
    several = 0
    for _, wave in list(waves)[:300]:
        exact = (wave["nps"] * wave["weight"]).sum() / wave["weight"].sum()
        assert abs(found.loc[wave["answer_id"].max(), "nps"] - exact) <= 0.5 + 1e-9
        several += len(wave) > 1
    assert several > 50
    assert rox.link(tables, score="nps", outcome="aum").frame()["score"].notna().any()


def test_a_small_company_can_be_linked(company: Path) -> None:
    study = rox.read_study(company / "study.toml")
    tables = rox.load(study)
    customers = pd.read_csv(company / "customers.csv", dtype={"customer_id": str})
    assert len(customers) == 300
    assert set(customers["segment"]) == {"regular", "key"}
    assert set(customers["branch_id"]) == {"B01", "B02"}
    assert (customers["design_weight"] == 1).all()
    assert len(pd.read_csv(company / "initiatives.csv")) == 1
    panel = rox.link(tables, score="nps", outcome="aum").frame()
    assert panel["score"].notna().mean() > 0.4
    for name in study.case_names:
        assert set(study.case(name).people) == {"regular", "key"}


def test_study_files_say_where_every_role_is_and_extra_tables_lie_beside(accounts: Path) -> None:
    names = {path.name for path in accounts.iterdir()}
    assert names >= {"contacts.csv", "referrals.csv", "retests.csv", "study.toml", "study_by_account.toml"}
    assert "funnel.csv" not in names


def test_the_bank_is_as_large_as_its_extract_asks_for(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="at least 100 are needed"):
        write_study(tmp_path / "few", preset_name="b2b", customers=99)
    with pytest.raises(DataError, match="at least 60 are needed"):
        write_study(tmp_path / "fewer", preset_name="small", customers=59)
    with pytest.raises(RoxError, match="no preset"):
        write_study(tmp_path / "none", preset_name="tiny")
    assert list(tmp_path.iterdir()) == []
    write_study(tmp_path / "many", preset_name="b2b", customers=2_400)
    weights = pd.read_csv(tmp_path / "many" / "customers.csv")["design_weight"]
    assert weights.min() >= 1
