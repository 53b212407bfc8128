"""The page of measures: its examples run as written, and it names all there is."""

from __future__ import annotations

import contextlib
import io
import re
from importlib.util import find_spec
from pathlib import Path

import pytest
from pydantic import BaseModel

from rox import metrics
from rox.core.chain_outline import AboutChain, DeclaredArrow, DeclaredBox
from rox.core.metric_tree import Metric
from rox.metrics.alert_rules import Rule
from rox.metrics.rivals import Own, Rival

FORMATS = {
    "### Alerts: `[alerts.NAME]`": Rule,
    "`[own]`:": Own,
    "`[[rivals]]`, one for each figure.": Rival,
    "`[chain]`:": AboutChain,
    "`[boxes.NAME]` says": DeclaredBox,
    "`[[arrows]]`:": DeclaredArrow,
    "### `[metrics.NAME]`": Metric,
}
"""Where the table of a format begins, and what reads it."""


@pytest.fixture(scope="module")
def page(root: Path) -> str:
    return (root / "docs" / "metrics.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_the_examples_give_what_stands_below_them(page: str, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(root)
    blocks = re.findall(r"```python\n(.*?)```\n\n```text\n(.*?)```", page, flags=re.DOTALL)
    assert len(blocks) == page.count("```python") > 5
    names: dict[str, object] = {}
    for code, told in blocks:
        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            exec(code, names)
        assert said.getvalue() == told, code


def test_every_call_is_named_and_exists(page: str) -> None:
    called = set(re.findall(r"(?<!\[)metrics\.(\w+)", page))
    assert len(called) > 30
    assert [name for name in called if not hasattr(metrics, name) and find_spec(f"rox.metrics.{name}") is None] == []
    assert [name for name in metrics.__all__ if not re.search(rf"\b{name}\b", page)] == []


def test_every_check_is_named_and_exists(page: str, root: Path) -> None:
    named = set()
    for letter, first, last in re.findall(r"ROX-([A-Z])(\d\d)(?: to [A-Z](\d\d))?", page):
        named |= {f"ROX-{letter}{number:02d}" for number in range(int(first), int(last or first) + 1)}
    files = sorted((root / "rox" / "metrics").glob("*.py"))
    raised = {code for path in files for code in re.findall(r"ROX-[A-Z]\d\d", path.read_text(encoding="utf-8"))}
    assert len(raised) > 30
    assert raised - named == set()
    words = "".join(path.read_text(encoding="utf-8") for path in (root / "rox" / "core" / "words").glob("*.toml"))
    assert [code for code in sorted(named) if f'["{code}"]' not in words] == []


def defaults(model: type[BaseModel]) -> dict[str, str]:
    """What the page must say of the default of every key."""
    found = {}
    for name, field in model.model_fields.items():
        if field.is_required():
            told = "needed"
        elif field.default in (None, (), {}, ""):
            told = "–"
        elif isinstance(field.default, bool):
            told = str(field.default).lower()
        else:
            told = f"`{field.default}`" if isinstance(field.default, str) else f"{field.default:g}"
        found[field.alias or name] = told
    return found


@pytest.mark.parametrize("heading", FORMATS)
def test_a_format_says_key_type_and_default(page: str, heading: str) -> None:
    assert page.count(heading) == 1
    lines = page[page.index(heading) :].split("| key |", 1)[1].split("\n\n", 1)[0].splitlines()
    assert lines[0] == " type | default | says |"
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]
    assert all(len(row) == 4 and row[1] for row in rows)
    said = {key: row[2] for row in rows for key in re.findall(r"`(\w+)`", row[0])}
    assert said == defaults(FORMATS[heading])
