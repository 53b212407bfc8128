"""The bank that comes with the project is what the simulator makes, and its card tells the truth."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from rox.simulate.bundled import BUNDLED, build_bundled, bundled_truth, card, main

CENT = 0.0101
"""One cent and the rounding of its sum: exp and log may differ in the last digit between processors and versions of
numpy, which can turn a balance that falls between two cents to the other side. Nothing else may differ."""


@pytest.fixture(scope="module")
def rebuilt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bank")
    build_bundled(folder)
    return folder


@pytest.fixture(scope="module")
def folder(root: Path) -> Path:
    return root / "data" / "bank"


def test_csv_files_are_the_same_to_the_byte(rebuilt: Path, folder: Path) -> None:
    made = sorted(path.name for path in rebuilt.glob("*.csv"))
    assert made == sorted(path.name for path in folder.glob("*.csv"))
    assert [name for name in made if (rebuilt / name).read_bytes() != (folder / name).read_bytes()] == []


@pytest.mark.parametrize("name", ["ledger", "events"])
def test_parquet_files_are_the_same_as_tables(rebuilt: Path, folder: Path, name: str) -> None:
    one, other = (pq.read_table(place / f"{name}.parquet") for place in (rebuilt, folder))
    assert one.schema == other.schema
    frames = [table.to_pandas() for table in (one, other)]
    money = [column for column in ("aum", "revenue") if column in frames[0]]
    pd.testing.assert_frame_equal(*(frame.drop(columns=money) for frame in frames))
    for column in money:
        np.testing.assert_allclose(frames[0][column], frames[1][column], rtol=0, atol=CENT)


def test_the_folder_is_small(folder: Path) -> None:
    assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) < 6_000_000


def test_the_card_quotes_the_truth(folder: Path) -> None:
    text = (folder / "README.md").read_text(encoding="utf-8")
    quoted = text.split("<!-- truth -->\n")[1].split("<!-- /truth -->")[0]
    assert quoted == card(), "run `python -m rox.simulate.bundled --truth` and paste it between the marks"


def test_the_rollout_is_strong_enough_to_be_seen() -> None:
    answer = bundled_truth()["rollout"].loc["sample"]
    assert 0.8 < answer["score"] < 1.0
    assert 0.03 < answer["ratio_gain"] < 0.045


def test_the_command_writes_and_refuses_to_do_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main([str(tmp_path / "new")])
    assert len(capsys.readouterr().out.splitlines()) == len(list((tmp_path / "new").iterdir())) == 9
    with pytest.raises(SystemExit):
        main([])


def test_the_configuration_is_as_the_card_says() -> None:
    assert (BUNDLED.customers, BUNDLED.months, BUNDLED.start, BUNDLED.branches) == (6_000, 36, "2023-01", 60)
    assert (BUNDLED.rollout.starts, BUNDLED.rollout.selection) == ((12, 18, 24), "random")
