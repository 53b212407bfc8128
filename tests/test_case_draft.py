"""A new case file: complete, refused until it is filled in, measured where data know, and never over another file."""

from __future__ import annotations

import json
import shutil
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from rox.cli import main
from rox.core.case import Case, read_case
from rox.core.errors import CaseError
from rox.core.study import Study, read_study
from rox.core.unfilled import OPEN, unfilled
from rox.core.words import LANGUAGES, Language
from rox.linking.load import load
from rox.linking.tables import Tables
from rox.metrics.holdings import holdings
from rox.review.case_draft import OPTIONAL, draft_case

ANSWERS: dict[str, Any] = {
    "owner": "Finance",
    "source": "Plan",
    "date": "2026-01-31",
    "low": 0.01,
    "likely": 0.02,
    "high": 0.03,
    "value": 0.02,
    "amount": 1.0,
    "cost": 1.0,
    "run": "",
    "reviewer": "Risk",
}


@pytest.fixture(scope="module")
def study(bank: Path) -> Study:
    return read_study(bank)


@pytest.fixture(scope="module")
def tables(study: Study) -> Tables:
    return load(study)


def filled(value: Any, name: str = "") -> Any:
    """Answer every question of a file."""
    if isinstance(value, dict):
        return {key: filled(each, key) for key, each in value.items()}
    if isinstance(value, list):
        if value == [OPEN, OPEN]:
            return [12, 48]
        return [filled(each, name) for each in value]
    return ANSWERS.get(name, "said") if value == OPEN else value


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_new_file_is_refused_until_it_is_filled_in(study: Study, tmp_path: Path, language: Language) -> None:
    text = draft_case(study, "try_it", language=language)
    assert all(len(line) <= 118 for line in text.splitlines())
    assert {'owner = "?"', 'value = "?"', 'low = "?"', 'between = ["?", "?"]'} <= set(text.splitlines())
    path = tmp_path / "try_it.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(CaseError, match="not filled in yet") as caught:
        read_case(path)
    content = tomllib.loads(text)
    tables = dict.fromkeys(place for place, _ in unfilled(content))
    assert [fault.partition(":")[0] for fault in caught.value.faults[: len(tables)]] == list(tables)
    case = Case.model_validate(filled(content))
    assert case.about.start.isoformat() == "2026-01-01"
    assert case.about.currency == study.currency


def test_what_is_commented_out_can_be_used(study: Study) -> None:
    """The optional tables of a new file are tables of a case, and none is missing."""
    content = filled(tomllib.loads(draft_case(study, "try_it", language="en")))
    optional = filled({key: value for key, value in OPTIONAL.items() if key != "finance"})
    finance = {**content["finance"], **filled(OPTIONAL["finance"])}
    about = {**content["case"], "margin_basis": "book"}
    optional["correlation"][0]["between"] = ["timing.half_life", "margin.all"]
    whole = Case.model_validate({**content, **optional, "finance": finance, "case": about})
    assert whole.review is not None
    assert whole.reconcile
    named = {"case" if name == "about" else name for name in Case.model_fields}
    assert named == {*content, *OPTIONAL}


def test_the_data_fill_in_what_they_know(study: Study, tables: Tables) -> None:
    content = tomllib.loads(draft_case(study, "try_it", language="en", tables=tables))
    held = holdings(tables, "aum").set_index("segment")
    assert set(content["people"]) == set(content["balance"]) == set(content["attrition"]) == set(held.index)
    for segment, row in held.iterrows():
        assert content["people"][segment]["value"] == round(row["customers"])
        balance = content["balance"][segment]
        assert balance["low"] < balance["likely"] < balance["high"]
        assert balance["likely"] == pytest.approx(row["mean"], rel=0.006)
        assert balance["source"].startswith("measured from")
        assert balance["date"] == study.about.extract
        assert 0 < content["attrition"][segment]["low"] < content["attrition"][segment]["high"] < 1
        assert content["attrition"][segment]["owner"] == OPEN
    stricter = study.model_copy(update={"about": study.about.model_copy(update={"min_cell": 500})})
    kept = set(holdings(replace(tables, study=stricter), "aum")["segment"])
    assert kept == {name for name, row in held.iterrows() if row["n"] >= 500}
    assert 0 < len(kept) < len(held)


def test_holdings_are_the_weighted_means_of_the_last_month(study: Study, bank: Path, tables: Tables) -> None:
    ledger = pd.read_parquet(bank.parent / "ledger.parquet").astype({"customer_id": str})
    customers = pd.read_csv(bank.parent / "customers.csv", dtype={"customer_id": str})
    last = ledger[ledger["month"] == ledger["month"].max()].merge(customers, on="customer_id")
    last = last.assign(total=last["design_weight"] * last["aum"])
    weighed = last.groupby("segment")[["design_weight", "total"]].sum()
    held = holdings(tables, "aum").set_index("segment")
    for segment, row in weighed.iterrows():
        assert held.loc[segment, "customers"] == pytest.approx(row["design_weight"])
        assert held.loc[segment, "mean"] == pytest.approx(row["total"] / row["design_weight"], rel=1e-6)


def test_another_case_is_taken_over_without_its_sources(study: Study) -> None:
    content = tomllib.loads(draft_case(study, "again", language="zh", like="branch_refit"))
    old = tomllib.loads((study.folder / "cases" / "branch_refit.toml").read_text(encoding="utf-8"))
    assert content["costs"]["training"]["value"] == old["costs"]["training"]["value"]
    assert content["costs"]["training"]["owner"] == old["costs"]["training"]["owner"]
    assert {row["source"] for row in content["costs"].values()} == {OPEN}
    assert {row["amount"] for row in content["reconcile"].values()} == {OPEN}
    assert content["case"]["name"] == "again"
    assert "changes" not in content["review"]
    with pytest.raises(CaseError, match="no case 'nowhere'"):
        draft_case(study, "again", language="en", like="nowhere")


def test_the_command_writes_a_file_once(bank: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "bank"
    shutil.copytree(bank.parent, folder)
    words = ["case", "new", "try_it", "--study", str(folder / "study.toml"), "--like", "closed_loop", "--json"]
    assert main(words) == 0
    told = json.loads(capsys.readouterr().out)
    path = folder / "cases" / "try_it.toml"
    assert told["file"] == str(path)
    assert "case.title" in told["open"]
    before = path.read_bytes()
    assert main(words) == 3
    assert path.read_bytes() == before
    assert main(["case", "new", "no spaces", "--study", str(folder / "study.toml")]) == 3
    assert main(["case", "new", "try_it"]) == 3
    assert main(["case", "check", str(path)]) == 3
    assert "case: still '?'" in capsys.readouterr().err
    assert main(["case", "check", str(folder / "cases" / "branch_refit.toml")]) == 0
