"""The guide for reviewers keeps the rules of the notebooks, and runs on a finished run."""

from __future__ import annotations

import ast
import itertools
from dataclasses import replace
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import pytest

from rox.core.effect import Effect
from rox.core.record import Record
from rox.core.study import read_study
from rox.reporting.notebook import execute, parameters
from rox.reporting.report import report
from rox.valuation.value import value
from tests.reporting.conftest import make_effect

GUIDE = Path(__file__).parents[2] / "notebooks" / "guides" / "review_a_report.ipynb"


def test_the_guide_keeps_the_rules() -> None:
    cells = nbformat.read(GUIDE, as_version=4).cells
    text = [line for cell in cells if cell.cell_type == "markdown" for line in cell.source.splitlines()]
    assert sum(line.startswith("# ") for line in text) == 1
    assert all(" · " in line for line in text if line.startswith("#"))
    assert len(cells) <= 40
    assert GUIDE.stat().st_size < 50_000
    for before, cell in itertools.pairwise(cells):
        if cell.cell_type == "code":
            assert before.cell_type == "markdown"
            assert not cell.outputs
            assert cell.execution_count is None
            assert len(cell.source.splitlines()) <= 12
    code = ast.parse("\n".join(cell.source for cell in cells if cell.cell_type == "code"))
    assert not {ast.FunctionDef, ast.ClassDef, ast.Lambda} & {type(node) for node in ast.walk(code)}
    assert set(parameters(GUIDE)) == {"STUDY", "OUT", "CASE", "LANGUAGE"}


def priced(groups: tuple[str, ...]) -> Effect:
    """Give the segments of the bank an effect."""
    rng = np.random.default_rng(5)
    baseline = pd.DataFrame({"customers": 1e4, "money": 5e4, "exit_hazard": 0.01}, index=list(groups))
    return replace(
        make_effect(),
        groups=groups,
        draws=rng.normal(0.03, 0.008, (1_000, len(groups))),
        shares=np.full(len(groups), 1 / len(groups)),
        baseline=baseline,
        path=None,
        path_months=(),
        tables={},
    )


@pytest.mark.slow
@pytest.mark.notebook
def test_the_guide_reads_a_finished_run(bank: Path, tmp_path: Path) -> None:
    study = read_study(bank)
    case = study.case("branch_refit")
    effect = priced(tuple(case.people))
    effect.save(tmp_path / "effects" / "uplift.npz")
    money = value(effect, case, draws=1_000, rng=3)
    for suffix in ("html", "xlsx"):
        report(money, study=study, language="zh").save(tmp_path / f"branch_refit.{suffix}")
    given = {"effects": [effect], "numbers": money.as_record()}
    record = Record.of("05_roi_report", study, seed=3, fingerprint=effect.fingerprint, **given)
    record.write(tmp_path / "branch_refit.record.json")
    values = {"STUDY": str(bank), "OUT": str(tmp_path), "LANGUAGE": "zh"}
    done = nbformat.read(execute(GUIDE, tmp_path / "guide.ipynb", values), as_version=4)
    shown = ["\n".join(str(output) for output in cell.outputs) for cell in done.cells if cell.cell_type == "code"]
    same = next(each for each in shown if "formulas" in each)
    assert "True" in same
    assert "False" not in same
    assert any("in_" in each for each in shown)
    assert any(any("\u4e00" <= sign <= "\u9fff" for sign in each) for each in shown)
