"""What a grade is worth: the fit finds what was put in, and what is in use is what the stored pairs give."""

from __future__ import annotations

import tomllib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from rox.core.check import ASSUMED_LAYERS, BIAS_LAYERS, Grade
from rox.core.errors import RunError
from rox.core.words import LANGUAGES
from rox.validation import Scoreboard
from rox.validation.calibration import CLAIMS, Calibration
from rox.validation.methods import pick

from .conftest import content


def made(method: str, grade: str, *, b: float, spread: float, noise: float, banks: int, seed: int) -> pd.DataFrame:
    """Pairs whose estimates are truth · B plus sampling error of a known size."""
    rng = np.random.default_rng(seed)
    truth = rng.uniform(50, 150, banks)
    se = noise * truth
    estimate = truth * (b + spread * rng.standard_normal(banks)) + se * rng.standard_normal(banks)
    return pd.DataFrame(
        {
            "world": "mixed",
            "seed": range(banks),
            "method": method,
            "grade": grade,
            "truth": truth,
            "estimate": estimate,
            "se": se,
        }
    )


def calibration(*parts: pd.DataFrame) -> Calibration:
    return Calibration(pairs=pd.concat(parts, ignore_index=True), command="rox validate", made_with="here")


def test_the_fit_finds_mean_and_spread_and_leaves_sampling_error_out():
    found = calibration(made("gap", "D", b=4.0, spread=1.0, noise=0.8, banks=4_000, seed=1)).methods().loc[("D", "gap")]
    assert found["shrinks"] == pytest.approx(4.0, abs=0.06)
    assert found["mean"] == pytest.approx((1 + 1 / 16) / 4, rel=0.03)
    assert found["sd"] == pytest.approx(1 / 16, rel=0.08)


def test_pure_sampling_error_is_no_bias():
    found = calibration(made("uplift", "B", b=1.0, spread=0.0, noise=0.6, banks=2_000, seed=2)).methods()
    assert found.loc[("B", "uplift"), "mean"] == pytest.approx(1.0, abs=0.06)
    assert found.loc[("B", "uplift"), "sd"] < 0.15


def test_methods_count_alike_and_differences_between_them_widen():
    many = made("gap", "B", b=4.0, spread=0.4, noise=0.1, banks=400, seed=3)
    few = made("uplift", "B", b=1.25, spread=0.1, noise=0.1, banks=40, seed=4)
    layer = calibration(many, few).layers()[Grade.B]
    assert layer.mean == pytest.approx((0.25 + 0.8) / 2, abs=0.04)
    assert layer.sd == pytest.approx((0.8 - 0.25) / 2, rel=0.15)
    assert layer.banks == 440


def test_no_grade_scales_an_estimate_up():
    layer = calibration(made("churn", "B", b=0.5, spread=0.05, noise=0.05, banks=100, seed=5)).layers()[Grade.B]
    assert layer.mean == 1.0


def test_no_grade_is_worth_more_than_a_better_one():
    better = made("uplift", "C", b=2.0, spread=0.1, noise=0.1, banks=40, seed=9)
    worse = made("gap", "D", b=1.0, spread=0.1, noise=0.1, banks=40, seed=10)
    layers = calibration(better, worse).layers()
    assert layers[Grade.C].mean == pytest.approx(0.5, abs=0.03)
    assert layers[Grade.D].mean == layers[Grade.C].mean
    assert layers[Grade.D].sd >= layers[Grade.C].sd


def test_no_grade_is_surer_than_a_better_one_of_the_same_worth():
    layers = calibration(made("uplift", "C", b=1.1, spread=0.02, noise=0.02, banks=60, seed=11)).layers()
    assert layers[Grade.B] == ASSUMED_LAYERS[Grade.B]
    assert layers[Grade.C].mean == layers[Grade.B].mean
    assert layers[Grade.C].sd == layers[Grade.B].sd


def test_grades_that_nothing_reaches_keep_what_is_assumed():
    layers = calibration(made("uplift", "B", b=1.0, spread=0.1, noise=0.1, banks=60, seed=6)).layers()
    assert layers[Grade.A] == ASSUMED_LAYERS[Grade.A]
    assert layers[Grade.B] != ASSUMED_LAYERS[Grade.B]
    assert list(layers) == list(Grade)


def test_few_banks_calibrate_nothing():
    board = Scoreboard.of([content("mixed", 1)], methods=pick(["panel"]), replications=1, customers=2000, seed=1)
    with pytest.raises(RunError, match="raise --replications"):
        Calibration.of(board)


def test_pairs_come_from_what_is_priced_and_claims_are_grade_e():
    rows = [
        {"method": "gap", "target": "gap", "grade": "D"},
        {"method": "gap", "target": "sustained", "grade": "D", "estimate": 400.0, "low": 235.5, "high": 564.5},
        {"method": "panel", "target": "sustained", "grade": "D"},
        {"method": "pooled_ols", "target": "sustained", "grade": ""},
        {"method": "carried_forward", "target": "sustained", "grade": ""},
    ]
    contents = [content("mixed", seed, *rows) for seed in range(1, 26)]
    board = Scoreboard.of(
        contents,
        methods=pick(["gap", "panel", "pooled_ols", "carried_forward"]),
        replications=25,
        customers=2000,
        seed=1,
    )
    pairs = Calibration.of(board).pairs
    assert set(zip(pairs["method"], pairs["grade"], strict=True)) == {("gap", "D"), ("pooled_ols", "E")}
    assert pairs.loc[pairs["method"] == "gap", "se"].to_numpy() == pytest.approx(np.full(25, 100.0), rel=1e-3)


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_document_says_where_judgement_and_banks_agree(language):
    parts = [
        made("gap", "D", b=4.0, spread=0.3, noise=0.1, banks=40, seed=7),
        made("uplift", "B", b=3.0, spread=0.1, noise=0.1, banks=40, seed=8),
    ]
    text = calibration(*parts).document(language)
    for line in ("- A: ", "- B: ", "- D: ") if language == "en" else ("- A：", "- B：", "- D："):
        assert line in text
    assert ("too generous" if language == "en" else "过宽") in text
    assert ("agree within" if language == "en" else "不超过较宽") in text


def test_what_is_in_use_is_what_the_stored_pairs_give(root: Path):
    recipe = tomllib.loads((root / "rox" / "core" / "bias_layers.toml").read_text(encoding="utf-8"))["recipe"]
    stored = Calibration(
        pairs=pd.read_csv(root / "docs" / "calibration.csv"), command=recipe["command"], made_with=recipe["versions"]
    )
    assert stored.layers() == dict(BIAS_LAYERS)
    assert recipe["claims"] == ", ".join(CLAIMS)
    makefile = (root / "Makefile").read_text(encoding="utf-8").replace("\\\n\t", "")
    options = recipe["command"].removeprefix("rox validate --presets mixed ")
    assert options.replace(" --customers", " --customers") in makefile
    text = (root / "docs" / "calibration.md").read_text(encoding="utf-8")
    assert f"`{recipe['command']}`" in text
    for layer in BIAS_LAYERS.values():
        assert f"{layer.mean:.2f} ± {layer.sd:.2f}" in text


def test_evidence_never_gains_by_a_lower_grade():
    means = [BIAS_LAYERS[grade].mean for grade in Grade]
    assert means == sorted(means, reverse=True)
