"""A simulated study is complete, and the bundled one is made of the same files."""

from __future__ import annotations

from pathlib import Path

import pytest

from rox.core.errors import DataError
from rox.core.study import read_study
from rox.simulate.study import write_declarations, write_study


def test_a_simulated_study_can_be_read(tmp_path: Path) -> None:
    files = write_study(tmp_path / "bank", preset_name="easy", customers=300, seed=3)
    study = read_study(tmp_path / "bank" / "study.toml")
    assert {path.name for path in files} >= {"ledger.parquet", "answers.csv", "study.toml", "closed_loop.toml"}
    assert [study.case(name).name for name in study.case_names] == list(study.case_names)


def test_the_bundled_study_and_cases_are_the_ones_that_are_written(tmp_path: Path, root: Path) -> None:
    for path in write_declarations(tmp_path):
        same = root / "data" / "bank" / path.relative_to(tmp_path)
        assert path.read_text(encoding="utf-8") == same.read_text(encoding="utf-8"), same


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(DataError) as caught:
        write_study(tmp_path, customers=10, seed=-1)
    assert len(caught.value.faults) == 3
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
