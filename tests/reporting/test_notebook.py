"""The runner: strict parameters, one message on failure, the partly run notebook kept."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from rox.core.errors import RunError
from rox.reporting.notebook import execute, parameters

PARAMETERS = 'NAME: str = "x"  # who\nSIZE: int = 2\nRATE: float = 0.5\nLOUD: bool = False'


def notebook(path: Path, *cells: str, declared: str = PARAMETERS) -> Path:
    tagged = new_code_cell(declared, metadata={"tags": ["parameters"]})
    rest = [new_markdown_cell(text) if text.startswith("#") else new_code_cell(text) for text in cells]
    nbformat.write(new_notebook(cells=[tagged, *rest]), path)
    return path


def test_parameters_are_read_with_type_default_and_comment(tmp_path: Path) -> None:
    found = parameters(notebook(tmp_path / "a.ipynb"))
    assert [(p.name, p.kind, p.default) for p in found.values()] == [
        ("NAME", "str", "x"), ("SIZE", "int", 2), ("RATE", "float", 0.5), ("LOUD", "bool", False),
    ]  # fmt: skip
    assert found["NAME"].comment == "who"


def test_unknown_and_ill_typed_parameters_are_refused_together_and_nothing_is_run(tmp_path: Path) -> None:
    path = notebook(tmp_path / "a.ipynb", "open('ran', 'w')")
    with pytest.raises(RunError) as caught:
        execute(path, tmp_path / "out.ipynb", {"SIZ": 1, "SIZE": "3", "RATE": True, "LOUD": 1})
    assert len(caught.value.faults) == 4
    assert "SIZ: unknown; the parameters are NAME, SIZE, RATE, LOUD" in caught.value.faults
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.ipynb"]


@pytest.mark.parametrize("declared", ["SIZE = 2", "SIZE: list = [1]", "SIZE: int = len('a')", "import os"])
def test_a_parameters_cell_holds_parameters_only(tmp_path: Path, declared: str) -> None:
    with pytest.raises(RunError, match="something else than parameters"):
        parameters(notebook(tmp_path / "a.ipynb", declared=declared))


def test_what_is_not_a_notebook_is_said(tmp_path: Path) -> None:
    (tmp_path / "b.ipynb").write_text("no")
    with pytest.raises(RunError, match="not a notebook"):
        parameters(tmp_path / "b.ipynb")
    with pytest.raises(RunError, match="no notebook"):
        parameters(tmp_path / "c.ipynb")


@pytest.mark.notebook
def test_a_run_uses_the_given_values_and_reports_each_cell_with_its_heading(tmp_path: Path) -> None:
    path = notebook(tmp_path / "a.ipynb", "# Top", "## Work", "print(NAME * SIZE, RATE, LOUD)")
    seen: list[tuple[int, int, str]] = []
    target = execute(
        path,
        tmp_path / "out" / "a.ipynb",
        {"NAME": "é'\"", "SIZE": 3, "RATE": 1},
        progress=lambda *step: seen.append(step),
    )
    done = nbformat.read(target, as_version=4)
    assert done.cells[3].outputs[0].text == "é'\"é'\"é'\" 1 False\n"
    assert seen == [(1, 4, ""), (4, 4, "Work")]
    assert nbformat.read(path, as_version=4).cells[0].source == PARAMETERS


@pytest.mark.notebook
def test_a_failure_names_notebook_heading_and_cause_and_keeps_what_was_run(tmp_path: Path) -> None:
    path = notebook(
        tmp_path / "sad.ipynb",
        "## Good",
        "print('fine')",
        "## Bad",
        "import rox\nraise rox.DataError('Two faults.', ['one', 'two'])",
    )
    target = tmp_path / "out" / "sad.ipynb"
    with pytest.raises(RunError) as caught:
        execute(path, target)
    text = str(caught.value)
    assert "Notebook sad stopped." in text
    assert "at: Bad (cell 5 of 5)" in text
    assert "cause: DataError: Two faults." in text
    assert "- one" in text
    assert "- two" in text
    assert "Traceback" not in text
    assert str(target) in text
    assert nbformat.read(target, as_version=4).cells[2].outputs[0].text == "fine\n"
