"""`rox tree` on the bundled bank."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rox.cli import main
from rox.simulate.study import write_study


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small bank with all the tables of the bundled one."""
    folder = tmp_path_factory.mktemp("bank") / "b"
    write_study(folder, preset_name="cmb", customers=600)
    return folder / "study.toml"


def test_the_bundled_tree_as_page_and_record(bank: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "tree.html"
    assert main(["tree", str(bank), "--every", "year", "--language", "zh", "--json", "--out", str(page)]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["tree"]["tree"] == "experience"
    assert {row["metric"] for row in told["tree"]["now"]} >= {"recommend", "days_to_call", "earnings"}
    assert told["files"] == [str(page)]
    assert "零售银行客户体验" in page.read_text(encoding="utf-8")


def test_what_is_wrong_is_said_before_the_tables_are_read(
    bank: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["tree", str(bank), "--out", str(tmp_path / "tree.pdf")]) != 0
    assert "ends in .html" in capsys.readouterr().err
    assert main(["tree", str(bank), "--tree", str(tmp_path / "none.toml")]) != 0
    assert "no metric tree" in capsys.readouterr().err
