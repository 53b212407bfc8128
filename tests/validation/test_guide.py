"""The guide keeps the rules of the notebooks, and runs."""

from __future__ import annotations

import ast
import itertools
from pathlib import Path

import nbformat
import pytest

from rox.reporting.notebook import execute, parameters

GUIDE = Path(__file__).parents[2] / "notebooks" / "guides" / "can_i_trust_it.ipynb"


def test_the_guide_keeps_the_rules():
    cells = nbformat.read(GUIDE, as_version=4).cells
    text = [line for cell in cells if cell.cell_type == "markdown" for line in cell.source.splitlines()]
    assert sum(line.startswith("# ") for line in text) == 1
    assert all(" · " in line for line in text if line.startswith("#"))
    assert GUIDE.stat().st_size < 50_000
    for before, cell in itertools.pairwise(cells):
        if cell.cell_type == "code":
            assert before.cell_type == "markdown" or "parameters" in before.metadata.get("tags", [])
            assert not cell.outputs
            assert cell.execution_count is None
            assert len(cell.source.splitlines()) <= 12
    code = ast.parse("\n".join(cell.source for cell in cells if cell.cell_type == "code"))
    assert not {ast.FunctionDef, ast.ClassDef, ast.Lambda} & {type(node) for node in ast.walk(code)}
    assert set(parameters(GUIDE)) == {"WORLD", "CUSTOMERS", "SEED", "LANGUAGE"}


@pytest.mark.slow
@pytest.mark.thorough
@pytest.mark.notebook
def test_the_guide_runs_and_speaks_chinese(tmp_path):
    values = {"CUSTOMERS": 3_000, "SEED": 2, "LANGUAGE": "zh"}
    done = nbformat.read(execute(GUIDE, tmp_path / "guide.ipynb", values), as_version=4)
    shown = [str(output) for cell in done.cells if cell.cell_type == "code" for output in cell.outputs]
    assert any("holds_truth" in each for each in shown)
    assert any("image/png" in each for each in shown)
    assert any("ROX-A05" in each for each in shown)
    assert any(any("\u4e00" <= letter <= "\u9fff" for letter in each) for each in shown)
