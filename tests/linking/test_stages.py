"""What is computed is there whole or not at all, is found again after a death, and needs little memory."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import ibis.expr.operations as ops
import pandas as pd
import pytest

from rox.core.errors import DataError
from rox.core.study import EngineOptions, Study, read_study
from rox.linking.engine import connect
from rox.linking.engine_duckdb import DuckDB
from rox.linking.link import link
from rox.linking.load import load

Read = Callable[..., Study]

DIES_WHILE_WRITING = """
import sys, time
from pathlib import Path
from rox.core.study import read_study
from rox.linking.engine_duckdb import DuckDB
from rox.linking.link import link
from rox.linking.load import load

write = DuckDB.write

def half(self, expression, path):
    if "score_age" in expression.columns:
        Path(path).write_bytes(b"PAR1 half")
        print("writing", flush=True)
        time.sleep(600)
    write(self, expression, path)

DuckDB.write = half
link(load(read_study(sys.argv[1])))
"""


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Lists every table the engine computes from now on: what it is made from, and its columns."""
    found: list[str] = []
    write = DuckDB.write

    def noted(self: DuckDB, expression: Any, path: Path) -> None:
        origin = "source" if expression.op().find(ops.SQLQueryResult) else "stages"
        found.append(" ".join([origin, *expression.columns]))
        write(self, expression, path)

    monkeypatch.setattr(DuckDB, "write", noted)
    return found


def keeping(study: Study, **options: Any) -> Study:
    return study.model_copy(update={"engine": EngineOptions(keep="kept", **options)})


def kept(study: Study) -> set[str]:
    return {path.name for path in (study.folder / "kept").glob("*.parquet")}


def test_without_keep_nothing_stays(read: Read, tmp_path: Path) -> None:
    study = read().model_copy(update={"engine": EngineOptions(temp_folder="../temp")})
    tables = load(study)
    link(tables)
    assert len(list((tmp_path / "temp").iterdir())) == 1
    del tables
    gc.collect()
    assert list((tmp_path / "temp").iterdir()) == []


def test_kept_stages_are_not_computed_again(read: Read, written: list[str]) -> None:
    study = keeping(read())
    first = link(load(study))
    names = kept(study)
    assert len(written) == len(names) >= 7
    written.clear()
    again = link(load(study))
    assert written == []
    assert kept(study) == names
    assert again.fingerprint == first.fingerprint
    assert again.trail == first.trail
    pd.testing.assert_frame_equal(again.frame(), first.frame())


def test_what_changed_is_computed_again(write: Callable[..., Path], written: list[str]) -> None:
    path = write()
    study = keeping(read_study(path))
    link(load(study))
    written.clear()
    exits = path.parent / "exits.csv"
    exits.write_text(exits.read_text(encoding="utf-8").replace("fees", "died"), encoding="utf-8")
    assert not link(load(study)).frame()["voluntary"].any()
    assert sum(table.startswith("source") for table in written) == 1
    assert any("score_age" in table for table in written)
    written.clear()
    link(load(study), look_back=3)
    assert sum(table.startswith("source") for table in written) == 0
    assert any("score_age" in table for table in written)
    written.clear()
    yen = study.model_copy(update={"about": study.about.model_copy(update={"currency": "JPY"})})
    assert load(yen).minor == 1
    assert sum(table.startswith("source") for table in written) == len(study.tables)


def test_a_table_with_lines_that_cannot_be_split_is_not_kept(write: Callable[..., Path]) -> None:
    study = keeping(read_study(write(("answers.csv", "A4,0002,2024-02-20,7,4", "A4,0002,2024-02-20,7,4,4"))))
    for _ in range(2):
        with pytest.raises(DataError, match="cannot be split"):
            load(study)


def test_a_killed_run_leaves_nothing_half_written_and_is_resumed(
    write: Callable[..., Path], written: list[str]
) -> None:
    options = '[engine]\nkeep = "kept"\ntemp_folder = "temp"\n\n[tables.customers]'
    path = write(("study.toml", "[tables.customers]", options))
    child = subprocess.Popen(
        [sys.executable, "-c", DIES_WHILE_WRITING, str(path)], stdout=subprocess.PIPE, text=True, env=dict(os.environ)
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "writing\n"
    child.send_signal(signal.SIGKILL)
    child.wait()
    child.stdout.close()
    study = read_study(path)
    finished = kept(study)
    assert len(finished) >= 6
    assert not any("panel" in name for name in finished)
    for name in finished:
        assert duckdb.sql(f"SELECT count(*) FROM read_parquet('{study.folder / 'kept' / name}')").fetchone()
    assert len(list((study.folder / "temp").iterdir())) == 1
    linked = link(load(study))
    assert written
    assert all(table.startswith("stages") for table in written)
    assert len(linked.frame()) == 28
    del linked
    gc.collect()
    assert finished < kept(study)
    assert {path.suffix for path in (study.folder / "kept").iterdir()} == {".parquet"}
    assert list((study.folder / "temp").iterdir()) == []


def test_a_folder_in_use_is_left_alone(tmp_path: Path) -> None:
    first = connect(options=EngineOptions(temp_folder="temp"), base=tmp_path)
    connect(options=EngineOptions(temp_folder="temp"), base=tmp_path)
    assert first.folder.is_dir()
    stage = first.stage(first.relation("SELECT 1 AS one"), "one")
    assert first.fetch(stage)["one"].iloc[0] == 1


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("", encoding="utf-8")
    with pytest.raises(DataError, match=r"engine\.keep: .*name a folder of your own"):
        connect(options=EngineOptions(keep="taken"), base=tmp_path)
    with pytest.raises(DataError, match=r"engine\.temp_folder: "):
        connect(options=EngineOptions(temp_folder="taken/below"), base=tmp_path)


def test_sums_beyond_the_range_of_floats_stay_exact_in_a_stage() -> None:
    engine = connect()
    big = 2**53 + 1
    table = engine.stage(engine.relation(f"SELECT {big} AS n FROM range(3)"), "numbers")
    sums = engine.stage(table.aggregate(total=table.n.sum()), "sums")
    assert engine.fetch(sums)["total"].iloc[0] == 3 * big


BIG = """
[study]
name = "big"
title = "Big"
currency = "CNY"
extract = 2024-12-31

[engine]
memory_limit = "200MB"
threads = 2
temp_folder = "temp"

[tables.customers]
path = "customers.parquet"
columns = { customer = "c", segment = "s", opened = "since" }

[tables.answers]
path = "answers.parquet"
columns = { key = "k", customer = "c", date = "day" }

[tables.ledger]
path = "ledger.parquet"
columns = { customer = "c", month = "month" }

[scores.nps]
column = "q"
low = 0
high = 10
kind = "nps"
label = "Recommend"

[outcomes.aum]
column = "balance"
kind = "stock"
label = "Assets"
"""
PEOPLE, MONTHS = 300_000, 36


@pytest.fixture
def big(tmp_path: Path) -> Iterator[Path]:
    """A ledger of eleven million rows, whose panel is far larger than the memory that may be used."""
    queries = {
        "customers": f"SELECT format('{{:07d}}', p) AS c, 's' || (p % 5) AS s, DATE '2020-01-01' AS since "
        f"FROM range({PEOPLE}) AS t(p)",
        "ledger": f"SELECT format('{{:07d}}', p) AS c, (DATE '2022-01-01' + to_months(m::INT))::DATE AS month, "
        f"p % 1000 + m AS balance FROM range({PEOPLE}) AS t(p), range({MONTHS}) AS s(m)",
        "answers": f"SELECT 'A' || p AS k, format('{{:07d}}', p) AS c, "
        f"(DATE '2022-01-15' + to_months((p % {MONTHS})::INT))::DATE AS day, p % 11 AS q FROM range({PEOPLE}) AS t(p)",
    }
    with duckdb.connect(config={"threads": 2, "preserve_insertion_order": False}) as database:
        for name, query in queries.items():
            database.execute(f"COPY ({query}) TO '{tmp_path / name}.parquet'")
    (tmp_path / "study.toml").write_text(BIG, encoding="utf-8")
    yield tmp_path / "study.toml"
    for path in tmp_path.glob("*.parquet"):
        path.unlink()


@pytest.mark.slow
@pytest.mark.thorough
def test_a_panel_larger_than_the_memory_is_linked(big: Path) -> None:
    tables = load(read_study(big))
    limit = tables.engine.reader.row("SELECT current_setting('memory_limit'), current_setting('temp_directory')")
    assert limit[0] == "190.7 MiB"
    assert Path(limit[1]).is_relative_to(big.parent / "temp")
    linked = link(tables)
    found = tables.fetch(
        linked.panel.aggregate(
            n=linked.panel.count(),
            scored=linked.panel.score.count(),
            scores=linked.panel.score.cast("int64").sum(),
            money=linked.panel.outcome.cast("int64").sum(),
        )
    ).iloc[0]
    months = [min(12, MONTHS - 1 - p % MONTHS) for p in range(PEOPLE)]
    assert found["n"] == PEOPLE * MONTHS
    assert found["scored"] == sum(months)
    assert found["scores"] == sum(p % 11 * months[p] for p in range(PEOPLE))
    assert found["money"] == sum(p % 1000 for p in range(PEOPLE)) * MONTHS + PEOPLE * MONTHS * (MONTHS - 1) // 2
