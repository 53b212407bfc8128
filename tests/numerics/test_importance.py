"""Shares of explained variance against published values, and what they must always hold."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from rox.numerics import asymmetry, importance

SWISS = ["Agriculture", "Examination", "Education", "Catholic", "Infant.Mortality"]
SCALES = {"IMAG": ("imag", 5), "EXPE": ("expe", 5), "QUAL": ("qual", 5), "VAL": ("val", 4)}
SCALES |= {"SAT": ("sat", 4), "LOY": ("loy", 4)}


def correlations(frame: pd.DataFrame) -> np.ndarray:
    return np.corrcoef(frame.to_numpy(), rowvar=False)


def test_swiss_fertility_is_split_as_published(parity) -> None:
    folder, known = parity("d01_swiss_lmg")
    swiss = pd.read_csv(folder / "swiss.csv")
    matrix = correlations(swiss[[*SWISS, "Fertility"]])
    found = importance.lmg(matrix)
    assert found.r2 == pytest.approx(known["r2"]["value"], rel=1e-8)
    first, last = importance.first_and_last(matrix)
    for name, shares in (
        ("lmg", found.shares),
        ("genizi", importance.johnson(matrix).shares),
        ("first", first),
        ("last", last),
    ):
        assert shares == pytest.approx([known[f"{name}.{each}"]["value"] for each in SWISS], rel=1e-6), name


def test_bank_customers_are_split_as_published(parity) -> None:
    folder, known = parity("d04_bank_satisfaction")
    items = pd.read_csv(folder / "bank_satisfaction.csv")
    scales = pd.DataFrame(
        {name: items[[f"{stem}{i + 1}" for i in range(n)]].mean(1) for name, (stem, n) in SCALES.items()}
    )
    drivers = ["IMAG", "EXPE", "QUAL", "VAL"]
    matrix = correlations(scales[[*drivers, "SAT"]])
    for name, found in (("lmg", importance.lmg(matrix)), ("johnson", importance.johnson(matrix))):
        assert found.shares == pytest.approx([known[f"{name}.sat.{each}"]["value"] for each in drivers], rel=1e-6)
        assert found.shares.sum() == pytest.approx(found.r2)
    assert importance.variance_inflation(matrix) == pytest.approx(
        [known[f"vif.{e}"]["value"] for e in drivers], rel=1e-5
    )
    loyal = importance.lmg(correlations(scales[[*drivers, "SAT", "LOY"]]))
    assert loyal.shares == pytest.approx([known[f"lmg.loy.{each}"]["value"] for each in [*drivers, "SAT"]], rel=1e-6)
    limits = scales[drivers].quantile([0.25, 0.75]).to_numpy()
    contrast = asymmetry.penalty_reward(scales[drivers], scales["SAT"], low=limits[0], high=limits[1])
    for end, values in (("low", contrast.penalty), ("high", contrast.reward)):
        told = [known[f"penalty_reward.{each}.{end}"]["value"] for each in drivers]
        assert values == pytest.approx(told, rel=1e-5)


def test_kano_counts_as_published(parity) -> None:
    folder, known = parity("d06_kano_table")
    found = asymmetry.kano_counts(pd.read_csv(folder / "kano_counts.csv")[["M", "O", "A", "I", "R", "Q"]])
    for name in ("better", "worse", "total_strength", "category_strength", "chi2"):
        assert getattr(found, name) == pytest.approx(known[name]["value"], rel=1e-6), name
    assert found.threshold == pytest.approx(known["fong.threshold"]["value"], rel=1e-6)
    assert [float(each) for each in found.clear] == known["fong.significant"]["value"]


def test_more_than_twelve_drivers_are_sampled_and_agree_with_relative_weights() -> None:
    rng = np.random.default_rng(3)
    x = rng.normal(size=(400, 14)) + 0.6 * rng.normal(size=(400, 1))
    y = x @ np.linspace(1, 0, 14) + 3 * rng.normal(size=400)
    matrix = np.corrcoef(np.column_stack([x, y]), rowvar=False)
    drawn, weights = importance.lmg(matrix, permutations=200, rng=1), importance.johnson(matrix)
    assert drawn.shares.sum() == pytest.approx(float(weights.r2))
    assert np.abs(drawn.shares - weights.shares).max() < 0.03
    assert 0 < drawn.error.max() < 0.01


def test_replicates_are_split_one_by_one() -> None:
    rng = np.random.default_rng(8)
    products = np.stack([np.cov(rng.normal(size=(4, 60)) + rng.normal(size=60)) for _ in range(3)])
    many = importance.lmg(importance.correlation(products))
    for place in range(3):
        one = importance.lmg(importance.correlation(products[place]))
        assert many.shares[place] == pytest.approx(one.shares)


def test_a_group_is_worth_no_more_for_having_more_members() -> None:
    rng = np.random.default_rng(5)
    x = rng.normal(size=(500, 3))
    y = x @ [1.0, 0.8, 0.5] + rng.normal(size=500)
    twins = x[:, :1] + 0.05 * rng.normal(size=(500, 3))
    plain = importance.lmg(np.corrcoef(np.column_stack([x, y]), rowvar=False))
    matrix = np.corrcoef(np.column_stack([twins, x[:, 1:], y]), rowvar=False)
    grouped = importance.lmg(matrix, groups=[(0, 1, 2), (3,), (4,)])
    assert grouped.shares == pytest.approx(plain.shares, abs=0.02)
    assert grouped.shares.sum() == pytest.approx(float(grouped.r2))
    assert importance.lmg(matrix).shares[:3].max() < plain.shares[0] / 2
    # by hand for two groups: the mean of coming first and of coming last
    two = importance.lmg(matrix, groups=[(0, 1, 2), (3, 4)]).shares[0]
    alone, others = (
        1 - 1 / np.linalg.inv(np.delete(np.delete(matrix, d, 0), d, 1))[-1, -1] for d in ([3, 4], [0, 1, 2])
    )
    assert two == pytest.approx((alone + float(grouped.r2) - others) / 2)
    with pytest.raises(ValueError, match="must be in one group"):
        importance.lmg(matrix, groups=[(0, 1), (1, 2, 3, 4)])


def test_ranks_of_ties_share_and_sum_to_one() -> None:
    found = importance.rank_probabilities([[3, 2, 1], [3, 1, 2], [1, 1, 0]])
    assert found.sum(0) == pytest.approx([1, 1, 1])
    assert found.sum(1) == pytest.approx([1, 1, 1])
    assert found[0] == pytest.approx([(1 + 1 + 0.5) / 3, 0.5 / 3, 0])


def test_a_matrix_no_data_could_have_is_repaired_and_says_by_how_much() -> None:
    broken = np.array([[1, 0.9, -0.9], [0.9, 1, 0.9], [-0.9, 0.9, 1]])
    repaired, change = importance.nearest_correlation(broken)
    assert np.linalg.eigvalsh(repaired)[0] > 0
    assert change > 0.1
    assert importance.nearest_correlation(np.eye(3)) == (pytest.approx(np.eye(3)), 0.0)


def test_variables_of_a_sum_that_does_not_vary_are_named() -> None:
    x = np.random.default_rng(1).normal(size=(200, 4))
    x[:, 2] = x[:, 0] - x[:, 3]
    assert importance.dependent(np.corrcoef(x, rowvar=False)) == (0, 2, 3)
    assert importance.dependent(np.corrcoef(x[:, :3], rowvar=False)) == ()
    # pairs of other answers can leave the impossible, which is no sum
    assert importance.dependent([[1, 0.9, -0.9], [0.9, 1, 0.9], [-0.9, 0.9, 1]]) == ()


def test_bad_matrices_are_refused() -> None:
    with pytest.raises(ValueError, match="sums of others"):
        importance.lmg([[1, 1, 0.3], [1, 1, 0.3], [0.3, 0.3, 1]])
    with pytest.raises(ValueError, match="ones on the diagonal"):
        importance.johnson([[2, 0.1], [0.1, 1]])
    with pytest.raises(ValueError, match=r"columns \[1\] do not vary"):
        importance.correlation([[1, 0], [0, 0]])
    with pytest.raises(ValueError, match=r"drivers \[0\] have nobody with a rating between"):
        asymmetry.penalty_reward([[1.0], [2.0]], [1.0, 2.0], low=[1], high=[2])
    with pytest.raises(ValueError, match="nobody with a low"):
        asymmetry.penalty_reward([[1.0], [2.0]], [1.0, 2.0], low=[0], high=[2])
