"""The naive figures look like the published ones, and the truth is several times smaller. Bands are wide."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from rox.core.errors import RoxError
from rox.simulate import preset, simulate, tables
from rox.simulate.picture import HORIZONS, Picture, main, published_picture


@pytest.fixture(scope="module")
def picture() -> Picture:
    return published_picture(preset("cmb", customers=12_000), banks=6)


def test_a_score_point_goes_with_ten_thousand_and_adds_a_fraction_of_it(picture: Picture) -> None:
    bank = picture.slopes.loc["bank"]
    assert 6_000 < bank["naive"] < 15_000
    assert 2_000 < bank["after_12"] < 3_000 < bank["after_24"] < 5_000
    assert 2.5 < bank["ratio"] < 6
    wealthiest = picture.slopes.loc["private_diamond"]
    assert 250_000 < wealthiest["naive"] < 1_100_000
    assert 150_000 < wealthiest["after_12"] < 350_000
    assert 50 < picture.nps.loc["bank", "per_nps_point"] < 90
    assert 30 < picture.nps.loc["bank", "nps_per_point"] < 43


def test_promoters_rise_and_detractors_fall(picture: Picture) -> None:
    index = picture.index
    assert tuple(index.index) == HORIZONS
    assert (index.loc[0, ["promoters", "passives", "detractors"]] == 1).all()
    last = index.loc[24]
    assert 1.0 < last["promoters"] < 1.25
    assert 0.80 < last["detractors"] < 0.99
    assert last["detractors"] + 0.1 < last["promoters"]
    assert (index.loc[6:, "promoters"] > index.loc[6:, "passives"]).all()
    assert (index.loc[6:, "passives"] > index.loc[6:, "detractors"]).all()


def test_without_confounding_the_naive_slope_is_closer_to_the_truth(picture: Picture) -> None:
    easy = published_picture(preset("easy", customers=12_000), banks=4).slopes
    assert easy.loc["bank", "ratio"] < 0.75 * picture.slopes.loc["bank", "ratio"]
    assert easy.loc["gold", "ratio"] < 0.6 * picture.slopes.loc["gold", "ratio"]


def test_the_naive_figures_are_those_of_the_exported_tables() -> None:
    config = preset("cmb", customers=1_500)
    found, made = published_picture(config, banks=1), tables(simulate(config))
    answers = made["answers"].merge(made["customers"][["customer_id", "design_weight"]], on="customer_id")
    answers["at"] = answers["answered"].dt.to_period("M")
    money = made["ledger"].assign(at=made["ledger"]["month"].dt.to_period("M")).set_index(["customer_id", "at"])["aum"]

    def held(rows: pd.DataFrame, months: int) -> np.ndarray:
        keys = pd.MultiIndex.from_arrays([rows["customer_id"], rows["at"] + months])
        return money.reindex(keys, fill_value=0.0).to_numpy()

    score, weight = answers["nps"].to_numpy(float), answers["design_weight"].to_numpy()
    slope = np.polyfit(score, held(answers, 0), 1, w=np.sqrt(weight))[0]
    assert found.slopes.loc["bank", "naive"] == pytest.approx(slope, rel=1e-6)
    for name, low, high in (("promoters", 9, 10), ("passives", 7, 8), ("detractors", 0, 6)):
        rows = answers[answers["nps"].between(low, high) & (answers["at"] < "2024-01")]
        for months in (6, 24):
            index = (rows["design_weight"] * held(rows, months)).sum() / (rows["design_weight"] * held(rows, 0)).sum()
            assert found.index.loc[months, name] == pytest.approx(index, rel=1e-5), (name, months)


def test_errors_are_those_of_the_mean_over_banks() -> None:
    config = preset("cmb", customers=600)
    one, other = (published_picture(preset("cmb", customers=600, seed=seed), banks=1) for seed in (1, 2))
    both = published_picture(config, banks=2)
    for name in ("naive", "after_12"):
        values = [each.slopes.loc["gold", name] for each in (one, other)]
        assert both.slopes.loc["gold", name] == pytest.approx(np.mean(values))
        assert both.slopes.loc["gold", f"{name}_se"] == pytest.approx(np.std(values, ddof=1) / np.sqrt(2))
    assert one.slopes.filter(like="_se").isna().all(axis=None)


def test_the_command_prints_the_three_tables(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--banks", "2", "--customers", "600", "--preset", "hard"])
    text = capsys.readouterr().out
    assert text.startswith("Means of 2 banks")
    for word in ("naive", "after_24", "private_diamond", "promoters", "per_nps_point", "±"):
        assert word in text
    with pytest.raises(RoxError, match="0 banks of 36 months"):
        published_picture(preset("cmb"), banks=0)
    with pytest.raises(RoxError, match="2 banks of 24 months"):
        published_picture(preset("cmb", months=24), banks=2)
