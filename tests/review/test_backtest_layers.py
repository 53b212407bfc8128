"""What is learned of a grade from pairs of estimate and measured value."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from rox.core.check import BIAS_LAYERS, Grade
from rox.core.errors import DataError
from rox.core.layers import read_layers
from rox.review.backtest_layers import learn_layers, write_layers


def pairs(n: int, mean: float, sd: float, *, grade: str = "B", seed: int = 0, unit: float = 1.0) -> pd.DataFrame:
    """Make initiatives up whose true effect is M times what they are taken for."""
    rng = np.random.default_rng(seed)
    effect, factor = rng.normal(0.03, 0.02, n), rng.normal(mean, sd, n)
    return pd.DataFrame(
        {
            "grade": grade,
            "estimate": unit * (effect + rng.normal(0, 0.01, n)),
            "estimate_se": unit * 0.01,
            "actual": unit * (factor * effect + rng.normal(0, 0.008, n)),
            "se": unit * 0.008,
        }
    )


@pytest.mark.parametrize(("mean", "sd"), [(0.9, 0.2), (0.6, 0.3), (0.5, 0.15)])
def test_two_hundred_initiatives_recover_mean_and_spread(mean: float, sd: float) -> None:
    found = learn_layers(pairs(200, mean, sd))[Grade.B]
    assert found.found.mean == pytest.approx(mean, abs=0.09)
    assert found.found.sd == pytest.approx(sd, abs=0.07)
    assert found.pairs == 200


def test_noise_of_estimates_does_not_pass_for_bias() -> None:
    rows = pairs(200, 0.9, 0.1, seed=4)
    flat = float((rows["estimate"] @ rows["actual"]) / (rows["estimate"] @ rows["estimate"]))
    found = learn_layers(rows)[Grade.B].found
    assert flat < 0.87
    assert abs(found.mean - 0.9) < abs(flat - 0.9)


def noisy(n: int, mean: float, noise: float, grade: str, seed: int) -> pd.DataFrame:
    """Make initiatives up whose estimates are as wide as ``noise`` times the effects they are of."""
    rng = np.random.default_rng(seed)
    effect = rng.normal(0, 0.02, n)
    return pd.DataFrame(
        {
            "grade": grade,
            "estimate": effect + rng.normal(0, 0.02 * noise, n),
            "estimate_se": 0.02 * noise,
            "actual": mean * effect + rng.normal(0, 0.002, n),
            "se": 0.002,
        }
    )


@pytest.mark.parametrize("seed", range(3))
def test_precise_estimates_of_one_grade_do_not_speak_for_another(seed: int) -> None:
    shipped = {grade: BIAS_LAYERS[Grade.B] for grade in Grade}
    mine = noisy(40, 0.84, 1.0, "D", seed)
    alone = learn_layers(mine, shipped=shipped)[Grade.D].found.mean
    both = pd.concat([mine, noisy(20, 0.84, 0.02, "A", seed + 10)])
    beside = learn_layers(both, shipped=shipped)[Grade.D].found.mean
    assert beside == pytest.approx(alone, abs=0.08)
    assert beside > 0.6


def test_three_pairs_stay_near_what_was_shipped() -> None:
    shipped = BIAS_LAYERS[Grade.B]
    for seed in range(5):
        found = learn_layers(pairs(3, 0.5, 0.1, seed=seed))[Grade.B]
        assert abs(found.found.mean - shipped.mean) < 0.12
        assert found.found.sd == pytest.approx(shipped.sd, rel=0.35)


def test_without_pairs_nothing_changes() -> None:
    found = learn_layers(pairs(0, 1, 0))
    assert {grade: each.layer for grade, each in found.items()} == dict(BIAS_LAYERS)


def test_units_do_not_matter_and_may_be_mixed() -> None:
    one = learn_layers(pairs(30, 0.7, 0.2))[Grade.B].found
    many = learn_layers(pairs(30, 0.7, 0.2, unit=1e7))[Grade.B].found
    assert many.mean == pytest.approx(one.mean, rel=1e-9)
    assert many.sd == pytest.approx(one.sd, rel=1e-9)


def test_a_better_grade_is_never_discounted_more_and_none_scales_up() -> None:
    both = pd.concat([pairs(150, 0.4, 0.1, grade="B"), pairs(150, 1.6, 0.1, grade="D", seed=1)])
    found = learn_layers(both)
    means = [each.layer.mean for each in found.values()]
    assert means == sorted(means, reverse=True)
    assert max(means) <= 1
    assert found[Grade.D].found.mean > 1
    assert found[Grade.C].layer.mean == pytest.approx(found[Grade.B].layer.mean)


def test_the_file_reads_back_and_is_refused_when_it_contradicts_itself(tmp_path: Path) -> None:
    learned = learn_layers(pairs(40, 0.7, 0.2))
    path = write_layers(learned, tmp_path / "layers.toml", source='rox "x"')
    read = read_layers(path)
    assert read[Grade.B].mean == pytest.approx(learned[Grade.B].layer.mean, abs=1e-4)
    assert path.read_bytes() == write_layers(learned, tmp_path / "again.toml", source='rox "x"').read_bytes()
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("[A]\nmean = 1.0000", "[A]\nmean = 0.1000"), encoding="utf-8")
    with pytest.raises(DataError, match="all grades"):
        read_layers(path)


def test_pairs_without_errors_are_refused() -> None:
    with pytest.raises(DataError, match="learned from"):
        learn_layers(pairs(3, 1, 0).assign(se=0.0))
