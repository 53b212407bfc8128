"""The templates: nine headings, no logic, no outputs, small."""

from __future__ import annotations

import ast
import itertools
from pathlib import Path

import nbformat
import pytest

from rox.reporting.notebook import parameters

HEADINGS = (
    "Question", "Parameters", "Link and audit", "Measure", "Model", "Challenge", "Value",
    "What would change our mind", "Record",
)  # fmt: skip
NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("0*.ipynb"))


def source(cells: list[nbformat.NotebookNode]) -> str:
    return "\n".join(cell.source for cell in cells if cell.cell_type == "code")


def test_there_are_six() -> None:
    assert [path.stem for path in NOTEBOOKS] == [
        "01_experience", "02_nps_to_aum", "03_churn", "04_uplift", "05_roi_report", "06_drivers",
    ]  # fmt: skip


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_template_keeps_the_rules(path: Path) -> None:
    cells = nbformat.read(path, as_version=4).cells
    text = [line for cell in cells if cell.cell_type == "markdown" for line in cell.source.splitlines()]
    assert sum(line.startswith("# ") for line in text) == 1
    assert tuple(line[3:].split(" · ")[0] for line in text if line.startswith("## ")) == HEADINGS
    assert all(" · " in line for line in text if line.startswith("#"))
    assert len(cells) <= 40
    assert path.stat().st_size < 50_000
    for before, cell in itertools.pairwise(cells):
        if cell.cell_type == "code":
            assert not cell.outputs
            assert cell.execution_count is None
            assert len(cell.source.splitlines()) <= 12
            assert (
                before.cell_type == "markdown"
                or "parameters" in before.metadata.get("tags", [])
                or "Record" in cell.source
            )
    nodes = [type(node) for node in ast.walk(ast.parse(source(cells)))]
    assert not {ast.FunctionDef, ast.ClassDef} & set(nodes)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_template_ends_by_writing_its_record(path: Path) -> None:
    cells = nbformat.read(path, as_version=4).cells
    assert "record.write(" in cells[-1].source
    assert {"STUDY", "OUT", "SEED", "LANGUAGE"} <= set(parameters(path))
