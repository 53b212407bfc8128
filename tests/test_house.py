"""The house: floors, public names, the environment files, and what an import costs."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

import rox

FLOORS = {
    "numerics": 0,
    "core": 1,
    "linking": 2,
    "metrics": 2,
    "models": 2,
    "valuation": 2,
    "reporting": 2,
    "planning": 3,
    "review": 3,
}
TOP = 4
HEAVY = {"pymc", "statsmodels", "lifelines", "seaborn", "matplotlib", "ibis", "duckdb", "pandas", "scipy", "numpy"}


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield node.module or ""


def room(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else ""


def violations(path: Path, root: Path) -> list[str]:
    here = path.relative_to(root).parts
    mine = here[1] if len(here) > 2 else ""
    found = []
    for module in imports(path):
        if module.split(".")[0] != "rox":
            continue
        theirs = room(module)
        low, high = FLOORS.get(theirs, TOP), FLOORS.get(mine, TOP)
        if theirs != mine and low >= high and high < TOP:
            found.append(f"{'/'.join(here)} imports {module}")
    return found


def test_no_room_imports_one_on_its_own_floor_or_above(root: Path) -> None:
    files = sorted((root / "rox").rglob("*.py"))
    assert len(files) > 40
    assert [line for path in files for line in violations(path, root)] == []


def test_a_forbidden_import_is_seen(tmp_path: Path) -> None:
    bad = tmp_path / "rox" / "models" / "bad.py"
    bad.parent.mkdir(parents=True)
    bad.write_text("from rox.valuation.value import value\n")
    assert violations(bad, tmp_path) == ["rox/models/bad.py imports rox.valuation.value"]


def test_one_module_imports_the_engine_and_one_the_sampler(root: Path) -> None:
    def users(*packages: str) -> set[str]:
        return {
            path.relative_to(root / "rox").as_posix()
            for path in (root / "rox").rglob("*.py")
            if any(module.split(".")[0] in packages for module in imports(path))
        }

    assert users("duckdb") <= {"linking/engine_duckdb.py"}
    assert users("arviz", "pytensor") <= {"models/sampling.py"}
    assert users("pymc") <= {"models/sampling.py", "models/hierarchy.py"}


def test_public_names_are_these() -> None:
    assert set(rox.__all__) == {
        "Case",
        "CaseError",
        "CellPriors",
        "Cells",
        "Check",
        "ChurnAFT",
        "ChurnCox",
        "ChurnHazard",
        "ClosedLoop",
        "Comparison",
        "DataError",
        "Dose",
        "Effect",
        "Estimand",
        "Experiment",
        "FitError",
        "Forecast",
        "FunnelUplift",
        "Grade",
        "InterruptedSeries",
        "JointPath",
        "LeadLag",
        "LeakageError",
        "Linked",
        "PanelFE",
        "Plan",
        "Portfolio",
        "Question",
        "Record",
        "Register",
        "RetentionForecast",
        "Return",
        "RolloutSlope",
        "RoxError",
        "RunError",
        "ScoreGap",
        "ScoreParts",
        "Spread",
        "StaggeredUplift",
        "Study",
        "SyntheticUplift",
        "Tables",
        "Trajectories",
        "Unit",
        "UnitError",
        "Verdict",
        "__version__",
        "allocate_budget",
        "backlog",
        "backtest",
        "compare",
        "customer_base",
        "drawn_order",
        "drivers",
        "earned_growth",
        "experience",
        "falsify",
        "follow_up",
        "freeze",
        "growth_readings",
        "leaving",
        "link",
        "load",
        "map_prior",
        "money_kept",
        "month_label",
        "panel_regression",
        "plan",
        "pool_cells",
        "read_case",
        "read_cells",
        "read_forecasts",
        "read_portfolio",
        "read_register",
        "read_study",
        "report",
        "require_unit_of_claim",
        "run_study",
        "spillover",
        "value",
        "value_portfolio",
        "write_layout",
    }


@pytest.mark.parametrize("name", sorted(rox.__all__))
def test_every_public_name_is_there_and_says_what_it_is(name: str) -> None:
    assert getattr(rox, name).__doc__


@pytest.mark.parametrize("words", [["-c", "import rox"], ["-m", "rox", "--help"], ["-m", "rox", "run", "--help"]])
def test_import_and_help_load_nothing_heavy(words: list[str]) -> None:
    done = subprocess.run([sys.executable, "-X", "importtime", *words], capture_output=True, text=True, check=True)
    loaded = {line.rsplit("|", 1)[1].strip().split(".")[0] for line in done.stderr.splitlines() if "|" in line}
    assert loaded & HEAVY == set()


def requirements(lines: list[str]) -> dict[str, str]:
    found = {}
    for line in lines:
        name, bounds = re.fullmatch(r"([A-Za-z0-9._-]+)(?:\[.*\])?(.*)", line.replace(" ", "")).groups()  # type: ignore[union-attr]
        found[name.lower()] = ",".join(sorted(bounds.split(",")))
    return found


def test_environment_file_says_what_pyproject_says(root: Path) -> None:
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    text = (root / "environment.yml").read_text(encoding="utf-8")
    conda = requirements(re.findall(r"^  - (?!conda-forge)([a-z].*[^:])$", text, flags=re.MULTILINE))
    assert conda.pop("python") == project["requires-python"]
    conda.pop("pip")
    assert conda == requirements(project["dependencies"])


def test_the_packages_asked_for_are_dependencies(root: Path) -> None:
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = {"jupyterlab", "pandas", "statsmodels", "lifelines", "pymc", "seaborn"}
    assert wanted <= set(requirements(project["dependencies"]))
    used = {module.split(".")[0] for path in (root / "rox").rglob("*.py") for module in imports(path)}
    assert wanted - {"jupyterlab"} <= used


def test_constraints_cover_the_dependencies(root: Path) -> None:
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = [line.split(";")[0].strip() for line in (root / "constraints.txt").read_text(encoding="utf-8").splitlines()]
    pinned = {line.split("==")[0].lower() for line in lines if "==" in line}
    assert set(requirements(project["dependencies"])) <= pinned


def test_the_project_speaks_of_itself_alone(root: Path) -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=root, capture_output=True, text=True, check=False).stdout.split()
    texts = [
        name for name in listed if name.endswith((".py", ".md", ".toml", ".ipynb", ".yml")) or name in ("Makefile",)
    ]
    banned = re.compile(
        "|".join(["/ro" + "ot/", "/wo" + "rk/", "/t" + "mp/[a-z]", "py" + "pi.org", "files.python" + "hosted"])
    )
    found = [name for name in texts if banned.search((root / name).read_text(encoding="utf-8"))]
    assert found == []
