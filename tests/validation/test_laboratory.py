"""Banks are tried in parallel, kept when finished, and give the same answers again."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from rox.cli import main
from rox.core.errors import RunError
from rox.validation import validate
from rox.validation.laboratory import _ranked, one_thread_each
from rox.validation.posteriors import posteriors

SMALL = {"methods": ["gap", "pooled_ols", "twfe"], "replications": 2, "customers": 1_500, "seed": 3}
WORLDS = ["easy", "cmb/trend"]


def test_what_cannot_be_tried_is_said_at_once(tmp_path):
    with pytest.raises(RunError) as caught:
        validate([], replications=0, customers=10, seed=-1, jobs=0, posteriors=5, out=tmp_path)
    assert len(caught.value.faults) == 6
    assert list(tmp_path.iterdir()) == []


def test_a_world_about_rollouts_has_nothing_for_other_methods(tmp_path):
    with pytest.raises(RunError, match="nothing to try"):
        validate(["cmb/dip"], methods=["gap"], out=tmp_path)


def test_threads_are_limited_only_meanwhile(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.delenv("NUMBA_NUM_THREADS", raising=False)
    with one_thread_each():
        assert os.environ["OMP_NUM_THREADS"] == os.environ["NUMBA_NUM_THREADS"] == "1"
    assert os.environ["OMP_NUM_THREADS"] == "7"
    assert "NUMBA_NUM_THREADS" not in os.environ


@pytest.mark.slow
@pytest.mark.thorough
def test_an_interrupted_run_goes_on_where_it_stopped(tmp_path):
    def stop(line: str) -> None:
        raise KeyboardInterrupt(line)

    with pytest.raises(KeyboardInterrupt):
        validate(WORLDS, **SMALL, jobs=1, out=tmp_path, progress=stop)
    first = list((tmp_path / "banks").iterdir())
    assert len(first) == 1
    written = first[0].stat().st_mtime_ns
    lines: list[str] = []
    board = validate(WORLDS, **SMALL, jobs=1, out=tmp_path, progress=lines.append)
    assert lines[0] == "1 of 4 banks are kept from before"
    assert [line.partition(" ")[0] for line in lines[1:]] == ["[1/3]", "[2/3]", "[3/3]"]
    assert first[0].stat().st_mtime_ns == written
    assert sorted(path.name for path in (tmp_path / "banks").iterdir()) == [
        "cmb-trend-0003.json", "cmb-trend-0004.json", "easy-0003.json", "easy-0004.json",
    ]  # fmt: skip
    table = board.accuracy()
    assert table.index.tolist() == [
        ("easy", "gap", "sustained"),
        ("easy", "gap", "gap"),
        ("easy", "pooled_ols", "sustained"),
        ("easy", "twfe", "rollout_money"),
        ("cmb/trend", "twfe", "rollout_money"),
    ]
    assert (table["banks"] == 2).all()
    again = validate(WORLDS[:1], **SMALL, jobs=2, out=tmp_path / "parallel")
    columns = ["truth", "estimate", "low", "high"]
    alone = board.answers[board.answers["world"] == WORLDS[0]].reset_index(drop=True)
    assert len(alone) == 2 * 4
    assert again.answers[columns].equals(alone[columns])
    kept = tmp_path / "banks" / "easy-0003.json"
    kept.write_text(json.dumps(json.loads(kept.read_text()) | {"key": "of other code"}))
    with pytest.raises(KeyboardInterrupt, match="3 of 4 banks are kept from before"):
        validate(WORLDS, **SMALL, jobs=1, out=tmp_path, progress=stop)


@pytest.mark.slow
def test_workers_end_when_their_parent_is_killed(tmp_path):
    psutil = pytest.importorskip("psutil")
    words = ["validate", "--presets", "cmb/dip", "--estimators", "twfe", "--customers", "1000", "--replications", "500"]
    run = subprocess.Popen(
        [sys.executable, "-m", "rox", *words, "--out", str(tmp_path)], stderr=subprocess.PIPE, text=True
    )
    assert run.stderr is not None
    assert run.stderr.readline().startswith("[1/500]")
    workers = [each for each in psutil.Process(run.pid).children(recursive=True) if "spawn_main" in str(each.cmdline())]
    assert len(workers) == 2
    run.kill()
    run.wait()
    run.stderr.close()
    _, alive = psutil.wait_procs(workers, timeout=60)
    assert alive == []


@pytest.mark.slow
def test_the_command_prints_tables_or_one_document(tmp_path, capsys):
    words = ["validate", "--presets", "cmb/trend", "--estimators", "twfe", "before_after", "--replications", "1"]
    words += ["--customers", "1500", "--jobs", "1", "--out", str(tmp_path), "--document", str(tmp_path / "doc.md")]
    words += ["--posteriors", "20"]
    assert main(words) == 0
    shown = capsys.readouterr()
    assert "branch and month effects" in shown.out
    assert "[1/1] cmb/trend, seed 1" in shown.err
    assert "posteriors ranked in" in shown.err
    text = (tmp_path / "doc.md").read_text(encoding="utf-8")
    assert text.startswith("# How far off")
    assert "--posteriors 20`" in text
    for name in posteriors():
        assert f"| `{name}` " in text
    assert main([*words, "--json", "--quiet"]) == 0
    shown = capsys.readouterr()
    found = json.loads(shown.out)
    assert shown.err == ""
    assert found["schema"] == "rox.cli/1"
    assert {row["method"] for row in found["accuracy"]} == {"twfe", "before_after"}
    assert found["alarms"] == found["grades"] == []
    assert {row["posterior"] for row in found["posteriors"]} == set(posteriors())
    assert json.loads((tmp_path / "validation.json").read_text(encoding="utf-8"))["customers"] == 1500


def test_posteriors_are_ranked_once_and_kept(tmp_path):
    lines: list[str] = []
    first = _ranked(20, 1, tmp_path / "posteriors.json", lines.append)
    assert _ranked(20, 1, tmp_path / "posteriors.json", lines.append) == first
    assert len(lines) == 1
    assert {row["posterior"] for row in first} == set(posteriors())
    assert _ranked(20, 2, tmp_path / "posteriors.json", lines.append) != first
    assert len(lines) == 2


def test_unknown_names_end_with_code_4_and_one_message(tmp_path, capsys):
    assert main(["validate", "--estimators", "magic", "--out", str(tmp_path / "out")]) == 4
    assert "the methods are gap, panel" in capsys.readouterr().err
    assert main(["validate", "--presets", "moon", "--out", str(tmp_path / "out")]) == 4
    assert "There is no world 'moon'" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
