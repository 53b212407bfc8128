"""The command line: exit codes, one message, one JSON document."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from rox.cli import main


@pytest.fixture
def broken(tmp_path: Path, root: Path) -> Path:
    """A copy of the bundled study with a fault in the study file."""
    folder = tmp_path / "bank"
    shutil.copytree(root / "data" / "bank", folder)
    path = folder / "study.toml"
    path.write_text(path.read_text(encoding="utf-8").replace('currency = "CNY"', 'currency = "?"'), encoding="utf-8")
    return path


def test_check_lists_the_tables(bank: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(bank)]) == 0
    out = capsys.readouterr().out
    assert "No fault found." in out
    assert "ledger" in out


def test_check_as_json_is_one_document(bank: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(bank), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["ok"]
    assert found["tables"]["customers"] == 6000
    assert found["cases"] == ["branch_refit", "closed_loop"]


def test_a_fault_ends_with_code_3_and_one_message(broken: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(broken)]) == 3
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "study.currency" in shown.err
    assert "Traceback" not in shown.err


def test_a_fault_as_json(broken: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", str(broken), "--json"]) == 3
    found = json.loads(capsys.readouterr().out)
    assert not found["ok"]
    assert found["error"]["kind"] == "DataError"
    assert len(found["error"]["faults"]) == 1


def test_a_faulty_case_is_found_before_anything_runs(
    bank: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "bank"
    shutil.copytree(bank.parent, folder)
    case = folder / "cases" / "closed_loop.toml"
    case.write_text(case.read_text(encoding="utf-8").replace("horizon = 24", "horizon = 0"), encoding="utf-8")
    out = tmp_path / "out"
    assert main(["run", str(folder / "study.toml"), "--out", str(out)]) == 3
    assert "case.horizon" in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--set", "02_nps_to_aum.LOOKBACK=6"], "LOOKBACK: unknown"),
        (["--set", "02_nps_to_aum.LOOK_BACK=six"], "LOOK_BACK: 'six' is a str; needed: int"),
        (["--set", "nonsense"], "write NOTEBOOK.NAME=VALUE"),
        (["--set", "2_nps.LOOK_BACK=6"], "There is no notebook"),
    ],
)
def test_an_unknown_or_ill_typed_parameter_is_one_message(
    bank: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    assert main(["run", str(bank), "--out", str(tmp_path / "out"), *words]) == 4
    shown = capsys.readouterr().err
    assert said in shown
    assert "Traceback" not in shown
    assert not (tmp_path / "out").exists()


def test_wrong_usage_ends_with_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    with pytest.raises(SystemExit) as caught:
        main(["run"])
    assert caught.value.code == 2
    assert "exit codes" in capsys.readouterr().out


def test_a_simulated_bank_passes_its_check(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "made"
    assert main(["simulate", str(folder), "--customers", "600", "--preset", "easy"]) == 0
    assert main(["check", str(folder / "study.toml"), "--json"]) == 0
    assert main(["simulate", str(folder)]) == 3
    assert "nothing is overwritten" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["--starts", "2026-13"], ["--effect", "nan"]])
def test_a_plan_that_is_no_plan_is_wrong_usage(
    bank: Path, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["plan", str(bank), *words, "--json"])
    assert caught.value.code == 2
    assert json.loads(capsys.readouterr().out)["error"]["faults"]


def test_a_reader_who_stops_reading_is_no_fault(bank: Path) -> None:
    command = [sys.executable, "-m", "rox", "check", str(bank), "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        running.stdout.close()
        said = running.stderr.read()
    assert running.returncode == 0
    assert said == b""


def test_it_runs_as_a_module() -> None:
    done = subprocess.run([sys.executable, "-m", "rox", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("rox 0.")


def test_a_dial_that_cannot_be_read_is_named(capsys) -> None:
    assert main(["validate", "--dial", "attention=3"]) == 4
    assert "write GROUP.NAME=VALUE" in capsys.readouterr().err
