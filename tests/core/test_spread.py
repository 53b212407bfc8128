"""Uncertain inputs: the ranges people state hold nine times in ten."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rox.core.spread import Spread

amounts = st.floats(0.001, 1e6, allow_nan=False)


def inside(spread: Spread, size: int = 40_000) -> float:
    drawn = spread.sample(size, np.random.default_rng(1))
    return float(((drawn >= spread.low) & (drawn <= spread.high)).mean())


@pytest.mark.parametrize(
    "spread",
    [
        Spread.three_point(1, 2, 5),
        Spread.three_point(1, 1, 5),
        Spread.three_point(-4, 0, 0),
        Spread.between(0.01, 0.03),
        Spread.between(-2, 3),
        Spread.normal(0.9, 0.2),
    ],
)
def test_nine_draws_in_ten_fall_inside_the_stated_range(spread: Spread) -> None:
    assert inside(spread) == pytest.approx(0.90, abs=0.006)


def test_three_points_keep_their_mode() -> None:
    drawn = Spread.three_point(10, 12, 20).sample(200_000, np.random.default_rng(2))
    counts, edges = np.histogram(drawn, bins=60)
    assert edges[counts.argmax()] == pytest.approx(12, abs=0.8)


def test_a_positive_range_has_its_geometric_middle_as_median_and_stays_positive() -> None:
    spread = Spread.between(100, 400)
    assert spread.likely == pytest.approx(200)
    assert spread.quantile(0.5) == pytest.approx(200)
    assert spread.sample(10_000, np.random.default_rng(3)).min() > 0


def test_a_fixed_value_has_no_range() -> None:
    assert not Spread.fixed(3.0).is_uncertain
    assert set(Spread.fixed(3.0).sample(5, np.random.default_rng(0))) == {3.0}


@given(low=amounts, gap=amounts, by=st.floats(0.001, 1000))
def test_a_change_of_currency_rescales_every_quantile(low: float, gap: float, by: float) -> None:
    probabilities = np.array([0.05, 0.3, 0.8, 0.95])
    one, other = Spread.between(low, low + gap), Spread.between(by * low, by * (low + gap))
    np.testing.assert_allclose(by * one.quantile(probabilities), other.quantile(probabilities), rtol=1e-9)


@pytest.mark.parametrize("numbers", [(3, 2, 5), (1, 6, 5), (2, 2, 2)])
def test_points_out_of_order_are_refused(numbers: tuple[float, float, float]) -> None:
    with pytest.raises(ValueError, match="low ≤ likely ≤ high"):
        Spread.three_point(*numbers)


def test_an_empty_range_is_refused() -> None:
    with pytest.raises(ValueError, match="low < high"):
        Spread.between(2, 2)
