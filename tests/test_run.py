"""The main job: from the bundled bank to reports, kept stages, and the same numbers as the library."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import nbformat
import pytest

import rox
from rox.core.record import Record
from rox.run import Run, run_study

pytestmark = [pytest.mark.slow, pytest.mark.notebook]

QUICK = {
    "02_nps_to_aum": {"SPECIFICATIONS": False, "NEGATIVE_CONTROLS": ""},
    "03_churn": {"SPECIFICATIONS": False},
    "04_uplift": {"REPLICATIONS": 30},
}
"""Specification curves and other outcomes take as long as everything else; the main job has them."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("run") / "bank"


@pytest.fixture(scope="module")
def bank(folder: Path, root: Path) -> Path:
    """A copy of the bundled bank beside the run's folder."""
    shutil.copytree(root / "data" / "bank", folder.parent / "data")
    return folder.parent / "data" / "study.toml"


@pytest.fixture(scope="module")
def stopped(bank: Path, folder: Path) -> str:
    """A first run whose third notebook fails."""
    with pytest.raises(rox.RunError) as caught:
        run_study(bank, folder, values={**QUICK, "03_churn": {"SCORE": "nonsense"}})
    return str(caught.value)


@pytest.fixture(scope="module")
def said() -> list[str]:
    return []


@pytest.fixture(scope="module")
def run(bank: Path, folder: Path, stopped: str, said: list[str]) -> Run:
    """The second run, which makes up for what is missing."""
    assert stopped
    return run_study(bank, folder, values=QUICK, say=said.append)


def test_a_run_that_stops_says_why_in_words(stopped: str, folder: Path) -> None:
    assert stopped.startswith("2 of 7 stages did not finish; the others are kept.")
    assert "Notebook 03_churn stopped." in stopped
    assert "05_roi_report_closed_loop was not run: it needs churn" in stopped
    assert "Link and audit" in stopped
    assert "nonsense" in stopped
    assert "Traceback" not in stopped
    assert (folder / "notebooks" / "03_churn.ipynb").is_file()
    assert not (folder / "effects" / "churn.npz").exists()


def test_finished_stages_are_kept(run: Run, said: list[str]) -> None:
    kept = [line for line in said if line.endswith("unchanged, kept")]
    assert [line.split()[1].rstrip(":") for line in kept] == [
        "01_experience",
        "02_nps_to_aum",
        "04_uplift",
    ]
    assert run.seconds["06_drivers"] > 0, "its chain reads the effects that were missing"
    assert (run.folder / "chain.html").stat().st_size > 10_000
    assert run.seconds["03_churn"] > 0
    assert run.seconds["05_roi_report_branch_refit"] > 0


def test_everything_is_left_behind(run: Run) -> None:
    for files in (run.reports, run.workbooks, run.records, run.notebooks):
        assert files
        assert all(path.stat().st_size > 1000 for path in files.values())
    assert set(run.reports) == {"branch_refit", "closed_loop"}
    assert not list(run.folder.rglob(".*"))


def test_an_unchanged_run_keeps_everything(run: Run, bank: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in run.folder.rglob("*") if path.is_file()}
    again = run_study(bank, run.folder, values=QUICK)
    assert set(again.seconds.values()) == {0.0}
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_notebooks_and_library_give_the_same_numbers(run: Run, bank: Path) -> None:
    study = rox.read_study(bank)
    record = Record.read(run.records["05_roi_report_branch_refit"])
    effect = rox.Effect.load(run.folder / "effects" / "uplift.npz")
    money = rox.value(effect, study.case("branch_refit"), rng=study.about.seed)
    assert record.numbers["headline"]["npv"] == money.headline["npv"]
    assert record.numbers["decision"]["p_positive"] == money.decision.p_positive
    assert record.fingerprint == effect.fingerprint


def test_the_gap_the_change_within_and_the_roll_out_differ_by_a_lot_and_the_roll_out_is_priced(run: Run) -> None:
    effects = {path.stem: rox.Effect.load(path) for path in (run.folder / "effects").glob("*.npz")}
    gap, panel = (effects[name].summary().loc["all", "mean"] for name in ("gap", "panel"))
    assert abs(gap) > 3 * abs(panel)
    assert effects["gap"].grade >= "D"
    assert effects["panel"].grade >= "D"
    assert effects["uplift"].grade <= "C"
    record = Record.read(run.records["05_roi_report_branch_refit"])
    assert list(record.effects) == ["uplift"]


def test_no_customer_id_leaves_the_engine(run: Run, bank: Path) -> None:
    ids = set(
        re.findall(r"^(\d{10}),", (bank.parent / "customers.csv").read_text(encoding="utf-8"), flags=re.MULTILINE)
    )
    assert len(ids) == 6000
    for path in run.folder.rglob("*"):
        if path.suffix in (".html", ".json", ".ipynb"):
            assert not ids & set(re.findall(r"\b\d{10}\b", path.read_text(encoding="utf-8"))), path


def test_executed_notebooks_hold_no_path_of_this_machine(run: Run, root: Path) -> None:
    for path in run.notebooks.values():
        text = path.read_text(encoding="utf-8")
        assert str(run.folder.parent) not in text
        assert str(root) not in text
        cells = nbformat.read(path, as_version=4).cells
        streams = [out for cell in cells for out in cell.get("outputs", []) if out.output_type == "stream"]
        assert [out.text for out in streams if out.name == "stderr"] == [], path


def test_records_are_plain_json_without_missing_values(run: Run) -> None:
    for path in run.records.values():
        content = json.loads(path.read_text(encoding="utf-8"), parse_constant=lambda text: pytest.fail(text))
        assert content["schema"] == "rox.record/1"
        assert content["versions"]["rox"] == rox.__version__
