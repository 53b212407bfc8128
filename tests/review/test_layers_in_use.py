"""Evidence discounts that a company learned: a study names the file, values use it, records carry it."""

from __future__ import annotations

from pathlib import Path

import pytest

from rox.cli import main
from rox.core.case import Case
from rox.core.check import BIAS_LAYERS, BiasLayer, Grade
from rox.core.errors import DataError
from rox.core.record import Record
from rox.core.study import read_study
from rox.reporting.sentences import at_other_grades
from rox.review.comparison import compare
from rox.valuation.value import value
from tests.review.recorded import content_of, effect_of, study_of

LEARNED = {grade: BiasLayer(0.5 * layer.mean, 0.5 * layer.sd, 3) for grade, layer in BIAS_LAYERS.items()}


def test_a_value_uses_the_layers_it_is_given() -> None:
    case, effect = Case.model_validate(content_of()), effect_of()
    shipped, learned = value(effect, case, draws=300, rng=1), value(effect, case, draws=300, rng=1, layers=LEARNED)
    benefit = "present_benefit"
    assert learned.draws[benefit].mean() == pytest.approx(0.5 * shipped.draws[benefit].mean(), rel=1e-9)
    assert learned.ledger.point["evidence_uplift"] == LEARNED[Grade.B].mean
    assert learned.layers == LEARNED
    assert shipped.effects[0].bias_layer == BIAS_LAYERS[Grade.B]
    # the ladder of grades on the page rests on the same discounts
    assert at_other_grades(learned)[Grade.A] < at_other_grades(shipped)[Grade.A]


def test_a_record_made_with_them_is_valued_again_with_them(tmp_path: Path) -> None:
    case, effect, records = Case.model_validate(content_of()), effect_of(), []
    for name, layers in (("first", BIAS_LAYERS), ("second", LEARNED)):
        folder = tmp_path / name
        (folder / "effects").mkdir(parents=True)
        effect.save(folder / "effects" / "uplift.npz")
        money = value(effect, case, draws=300, rng=1, layers=layers)
        numbers = money.as_record()
        record = Record.of(
            "05_roi_report", study_of(), seed=1, fingerprint="f", effects=[effect], numbers=numbers, money=money
        )
        records.append(record.write(folder / "small.record.json"))
    found = compare(*records)
    assert found.is_publishable
    levels = {step.kind: step.level["expected_npv"] for step in found.steps}
    assert "unexplained" not in levels
    assert levels["discounts"] == pytest.approx(Record.read(records[1]).numbers["decision"]["expected_npv"])
    assert levels["software"] == pytest.approx(Record.read(records[0]).numbers["decision"]["expected_npv"])


def test_a_study_names_the_file_and_hears_what_is_wrong_with_it(bank: Path, tmp_path: Path) -> None:
    study = read_study(bank)
    assert study.layers is BIAS_LAYERS
    folder = tmp_path / "bank"
    folder.mkdir()
    for each in bank.parent.iterdir():
        (folder / each.name).symlink_to(each.resolve(), target_is_directory=each.is_dir())
    (folder / "study.toml").unlink()
    text = bank.read_text(encoding="utf-8") + '\n[evidence]\nlayers = "ours.toml"\n'
    (folder / "study.toml").write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=r"evidence.layers: there is no file 'ours.toml'"):
        read_study(folder / "study.toml")
    ours = folder / "ours.toml"
    ours.write_text(
        "".join(f"[{g}]\nmean = {0.9 - 0.1 * i}\nsd = 0.2\n" for i, g in enumerate(Grade)), encoding="utf-8"
    )
    assert read_study(folder / "study.toml").layers[Grade.B] == BiasLayer(0.8, 0.2, 0)
    ours.write_text(ours.read_text(encoding="utf-8").replace("mean = 0.8\n", "mean = 1.2\n"), encoding="utf-8")
    with pytest.raises(DataError, match="B: its mean"):
        _ = read_study(folder / "study.toml").layers


def test_the_terminal_freezes_scores_and_writes_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    case, effect = Case.model_validate(content_of()), effect_of()
    (tmp_path / "effects").mkdir()
    effect.save(tmp_path / "effects" / "uplift.npz")
    money = value(effect, case, draws=300, rng=1)
    record = Record.of(
        "05_roi_report", study_of(), seed=1, fingerprint="f", effects=[effect], numbers=money.as_record(), money=money
    )
    path = record.write(tmp_path / "small.record.json")
    frozen = tmp_path / "frozen"
    words = ["--into", str(frozen), "--team", "Analytics", "--owner", "Ann", "--on", "2025-12-31"]
    assert main(["freeze", str(path), *words]) == 0
    capsys.readouterr()
    assert main(["freeze", str(path), *words]) == 3
    assert "Traceback" not in capsys.readouterr().err
    assert main(["backtest", str(frozen)]) == 3
    assert "--actuals" in capsys.readouterr().err
    assert len(list(frozen.glob("*.json"))) == 1
