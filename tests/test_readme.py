"""The README's code runs as written."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import rox
from rox.core.study import (
    OPTIONAL_ROLES,
    REQUIRED_ROLES,
    About,
    Attrition,
    Connection,
    EngineOptions,
    Initiative,
    Outcome,
    Scale,
    Table,
)

pytestmark = pytest.mark.slow


def blocks(root: Path) -> list[str]:
    return re.findall(r"```python\n(.*?)```", (root / "README.md").read_text(encoding="utf-8"), flags=re.DOTALL)


@pytest.fixture
def at_home(tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder in which data/ is the project's."""
    (tmp_path / "data").symlink_to(root / "data")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_nine_statements_lead_from_data_to_report(root: Path, at_home: Path) -> None:
    code = blocks(root)[0]
    assert len([line for line in code.splitlines() if line and not line.startswith("import")]) == 9
    names: dict[str, object] = {}
    exec(code, names)
    assert (at_home / "roi.html").stat().st_size > 50_000
    assert (at_home / "roi.xlsx").stat().st_size > 20_000
    with pytest.raises(rox.UnitError, match="never priced"):
        rox.value(names["gap"], names["study"].case("branch_refit"))  # type: ignore[arg-type, attr-defined]


def test_the_example_model_passes_the_contract(root: Path, at_home: Path) -> None:
    names: dict[str, object] = {}
    exec(blocks(root)[1], names)
    assert "PromoterGap" in names


def test_there_are_no_other_blocks(root: Path) -> None:
    assert len(blocks(root)) == 2


def test_the_page_of_the_study_file_names_all_that_can_be_said(root: Path) -> None:
    """Every role of every table stands in its row, and every field of every part is named."""
    page = (root / "docs" / "study.md").read_text(encoding="utf-8")
    missing = []
    for table, needed in REQUIRED_ROLES.items():
        row = next(line for line in page.splitlines() if line.startswith(f"| `{table}` |"))
        missing += [f"{table}.{role}" for role in (*needed, *OPTIONAL_ROLES[table]) if f"`{role}`" not in row]
    for part in (About, Connection, EngineOptions, Table, Scale, Outcome, Initiative, Attrition):
        missing += [f"{part.__name__}.{name}" for name in part.model_fields if f"`{name}" not in page]
    assert missing == []
