"""The benchmarks run, and say what they measured."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks import data, measure, panel


def trial(seconds: float, *, peak: float = 100.0) -> measure.Trial:
    return measure.Trial(first=2 * seconds, repeats=(seconds,), process=3 * seconds, peak=peak, answer={})


def test_a_ratio_compares_within_a_round() -> None:
    found = measure.Contest(
        trials={"rox": (trial(1), trial(10), trial(2)), "peer": (trial(20), trial(200), trial(50, peak=300))}
    )
    assert found.ratio("peer", "rox", measure.repeated) == 20
    assert found.figure("peer", measure.first) == 100
    text = measure.table(found, "rox")
    assert "| **rox** | 4 | 2 | 6 | 100 | 1 | 1 | 1 | 1 |" in text
    assert "| peer | 100 | 50 | 150 | 100 | 20 | 20 | 20 | 1 |" in text


def test_a_contestant_that_fails_is_named_with_its_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROX_BENCHMARKS", str(tmp_path))
    found = measure.contest("benchmarks.panel", ["nobody"], ["--rows", "1200"], rounds=2, repeats=0)
    assert found.trials == {}
    assert "nobody" in found.absent["nobody"]


def test_the_peak_is_that_of_the_contestant_and_not_of_who_started_it() -> None:
    held = np.ones(60_000_000)
    code = "from benchmarks.measure import own_peak; print(own_peak())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 5 < float(done.stdout) < 300 < measure.own_peak()
    assert held.size


def test_digits() -> None:
    assert panel.digits([1.0, 2.0], [1.0, 2.0]) == "all"
    assert panel.digits([1.0, 2.0002], [1.0, 2.0]) == "4.0"
    assert panel.digits([1.0], [1.0, 2.0]) == "other shape"


def test_panels_have_the_shape_they_are_said_to_have(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data, "FOLDER", tmp_path)
    answers = {}
    for balanced in (True, False):
        path = data.panel(1e4, balanced=balanced)
        answers[balanced] = panel.contestant("rox", path)()
        assert path == data.panel(1e4, balanced=balanced)
        np.testing.assert_allclose(answers[balanced]["coef"], [0.4, 0.8, -0.3], atol=0.1)
        peer = panel.contestant("linearmodels PanelOLS", path)()
        assert float(panel.digits(answers[balanced]["coef"], peer["coef"]).replace("all", "16")) > 9
    assert answers[True]["rows"] == 9984
    assert answers[False]["rows"] < 9000


@pytest.mark.slow
@pytest.mark.thorough
def test_one_command_writes_the_page(root: Path, tmp_path: Path) -> None:
    sizes = ["--panel-rows", "1e4", "--growth-rows", "1e4", "--survival-rows", "2e3", "--linking-rows", "1e4"]
    sizes += ["--model-rows", "4e4", "--bayes-rows", "2e3", "--scorecard-rows", "2e3"]
    words = [sys.executable, "-m", "benchmarks", "--rox-only", "--rounds", "1", "--repeats", "0", *sizes]
    environment = {**os.environ, "ROX_BENCHMARKS": str(tmp_path / "data")}
    page = tmp_path / "performance.md"
    done = subprocess.run(
        [*words, "--out", str(page)], cwd=root, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    text = page.read_text(encoding="utf-8")
    assert "did not take part" not in text
    assert "python -m benchmarks --rox-only" in text
    for heading in (
        "## Panel regression",
        "## Growth",
        "## Survival",
        "## Loading, linking, cells",
        "## Scorecard",
        "## Models",
        "## Hierarchical",
    ):
        assert heading in text
    assert text.count("| **rox** |") == 5
    assert "| ScoreGap | 4e+04 |" in text
