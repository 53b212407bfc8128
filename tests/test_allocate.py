"""`rox allocate` on the bundled bank's portfolio, with small effects that fit its cases."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from rox.cli import main
from rox.core.check import Grade
from rox.core.effect import Effect
from rox.core.estimand import Estimand, Question
from rox.core.portfolio import read_portfolio
from rox.core.units import Dose, Unit


@pytest.fixture(scope="module")
def file(root: Path) -> Path:
    return root / "data" / "bank" / "portfolio.toml"


@pytest.fixture(scope="module")
def effects(file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One saved effect for each that the cases rest on: per initiative for the first case, per point for the others."""
    folder = tmp_path_factory.mktemp("effects")
    groups = ("mass", "gold", "platinum", "private", "private_diamond")
    cases = read_portfolio(file).cases.values()
    for place, name in enumerate(name for case in cases for name in case.about.effects):
        hazard = place > 0
        estimand = Estimand(
            question=Question.HAZARD if hazard else Question.INITIATIVE,
            population="customers",
            treatment="made by hand",
            dose=Dose.SCORE_POINT if hazard else Dose.INITIATIVE,
            outcome="aum",
            unit=Unit.LOG_HAZARD if hazard else Unit.RATIO,
            horizon=11,
            includes_exit=True,
            contrast="ratio" if hazard else "additive",
            channels=frozenset({"retention"} if hazard else {"retention", "expansion"}),
        )
        draws = np.random.default_rng(place).normal(-0.1 if hazard else 0.03, 0.03, (400, 5))
        Effect(
            name=name,
            estimand=estimand,
            groups=groups,
            draws=draws,
            shares=np.full(5, 0.2),
            baseline=pd.DataFrame({"customers": 1.0, "money": 1.0, "exit_hazard": 0.01}, index=list(groups)),
            grade=Grade.C if hazard else Grade.B,
            specification="made by hand",
            fingerprint="f",
        ).save(folder / f"{name}.npz")
    return folder


@pytest.fixture(autouse=True)
def few_solutions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look at fewer single draws; each is a programme of its own."""
    module = importlib.import_module("rox.valuation.allocation")
    monkeypatch.setattr(module, "SINGLES", 8)
    monkeypatch.setattr(module, "BLOCKS", 4)


def asked(file: Path, effects: Path, *more: str) -> list[str]:
    return ["allocate", str(file), "--effects", str(effects), "--draws", "400", "--seed", "3", *more]


def test_it_prints_a_page_and_writes_files(
    file: Path, effects: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page, record = tmp_path / "plan.html", tmp_path / "plan.json"
    assert main(asked(file, effects, "--out", str(page))) == 0
    shown = capsys.readouterr().out
    assert "Experience budget 2026" in shown
    assert f"Wrote {page}." in shown
    assert "<h1>Experience budget 2026</h1>" in page.read_text(encoding="utf-8")
    assert main(asked(file, effects, "--out", str(record), "--language", "zh", "--json")) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["allocation"] == json.loads(record.read_text(encoding="utf-8"))
    found = printed["allocation"]
    assert found["budget"] == 2_500_000
    assert found["chosen"]["cost"] <= found["budget"]
    assert set(found["chosen"]["scales"]) == {"branch_refit", "closed_loop"}
    split = found["joint"]["initiatives"]
    assert split["all"]["split_mean"] == pytest.approx(
        sum(split[key]["split_mean"] for key in found["chosen"]["scales"])
    )


def test_another_budget_is_another_plan(file: Path, effects: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(asked(file, effects, "--budget", "0", "--json")) == 0
    found = json.loads(capsys.readouterr().out)["allocation"]
    assert set(found["chosen"]["scales"].values()) == {"none"}
    assert found["chosen"]["npv_mean"] == 0


def test_faults_have_their_exit_code(
    file: Path, effects: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(asked(tmp_path / "none.toml", effects)) == 3
    assert "There is no portfolio file" in capsys.readouterr().err
    assert main(asked(file, tmp_path)) == 3
    assert "There is no effect at" in capsys.readouterr().err
    assert main(asked(file, effects, "--out", str(tmp_path / "plan.pdf"))) == 3
    assert ".html or .json" in capsys.readouterr().err
    assert main(asked(file, effects, "--seed", "-1")) == 3
    capsys.readouterr()
