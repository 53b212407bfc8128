"""Shared fixtures."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from rox.core.study import read_study
from rox.linking.load import load
from rox.linking.tables import Tables

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared"
# Processes side by side: with a thread per core in each, they wait for one another's cores in matrix algebra.
os.environ.setdefault("OMP_NUM_THREADS", "1")


LONG = ("test_run.py", "test_engines.py", "test_alarms.py", "test_contract.py", "test_recovery.py", "test_guide.py")
"""Files that begin first, so that at the end no process waits for one of them."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: LONG.index(item.path.name) if item.path.name in LONG else len(LONG))


@pytest.fixture(scope="session")
def root() -> Path:
    """The project's folder."""
    return ROOT


@pytest.fixture(scope="session")
def parity() -> Callable[[str], tuple[Path, dict[str, dict[str, Any]]]]:
    """Give the folder of a published case and its values by name; skip where the cases are not at hand."""

    def case(name: str) -> tuple[Path, dict[str, dict[str, Any]]]:
        folder = SHARED / "parity" / name
        if not folder.is_dir():
            pytest.skip(f"the published case {name} is not beside this checkout")
        values = json.loads((folder / "reference.json").read_text(encoding="utf-8"))["values"]
        return folder, {value["name"]: value for value in values}

    return case


@pytest.fixture(scope="session")
def bank(root: Path) -> Path:
    """The bundled bank's study file."""
    return root / "data" / "bank" / "study.toml"


@pytest.fixture(scope="session")
def bank_tables(bank: Path) -> Tables:
    """The bundled bank, loaded once for all tests of a process; tables never change."""
    return load(read_study(bank))


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Headless Chromium; skip where it or its driver is missing."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("there is no Chromium on this machine")
    with playwright.sync_playwright() as driver:
        found = driver.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield found
        found.close()
