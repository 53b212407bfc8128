"""The worth of knowing against closed forms of normal problems with two options."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from rox.numerics.arrays import Floats
from rox.numerics.conditional_mean import basis, smoothed
from rox.numerics.information import evpi, evppi, evsi, excess

MEAN, KNOWN, REST, NOISE = 0.6, 1.5, 1.0, 6.0


def unit_loss(mean: float, sd: float) -> float:
    """E max(0, X) - max(0, E X) of a normal X (Raiffa & Schlaifer's linear loss)."""
    z = abs(mean) / sd
    return float(sd * (norm.pdf(z) - z * norm.sf(z)))


def problem(size: int, seed: int = 1) -> tuple[Floats, Floats, Floats]:
    """Doing nothing, or gaining ``known + rest``."""
    rng = np.random.default_rng(seed)
    known, rest = rng.normal(MEAN, KNOWN, size), rng.normal(0, REST, size)
    return np.column_stack([np.zeros(size), known + rest]), known, rng.standard_normal(size)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_knowing_everything_and_knowing_one_input(seed: int) -> None:
    values, known, _ = problem(20_000, seed)
    whole, part = evpi(values), evppi(values, known)
    assert abs(whole.worth - unit_loss(MEAN, np.hypot(KNOWN, REST))) < 3.5 * whole.error
    assert abs(part.worth - unit_loss(MEAN, KNOWN)) < 3.5 * part.error
    assert 0 < part.error < 0.02
    assert abs(part.bias) < part.error


@pytest.mark.parametrize("n", [2, 10, 50, 500])
def test_a_study_is_worth_more_the_larger_it_is(n: int) -> None:
    values, known, noise = problem(20_000)
    found = evsi(values, known + NOISE / np.sqrt(n) * noise)
    sd = KNOWN**2 / np.sqrt(KNOWN**2 + NOISE**2 / n)
    assert abs(found.worth - unit_loss(MEAN, sd)) < 3.5 * found.error
    for more in (evppi(values, known), evpi(values)):
        over, error = excess(values, found, more)
        assert over < 2 * error


def test_several_statistics_are_weighed_by_what_they_tell() -> None:
    """Five arms of one truth with unequal noise: together they tell what their weighted mean tells."""
    values, known, _ = problem(20_000)
    sds = np.array([1.0, 2.0, 4.0, 8.0, 16.0])
    reported = known[:, None] + sds * np.random.default_rng(5).standard_normal((len(known), 5))
    sd = KNOWN**2 / np.sqrt(KNOWN**2 + 1 / (sds**-2).sum())
    found = evsi(values, reported)
    assert abs(found.worth - unit_loss(MEAN, sd)) < 3.5 * found.error
    assert found.bias < found.error


@pytest.mark.parametrize("inputs", [2, 3])
def test_inputs_that_act_together(inputs: int) -> None:
    """The gain is a product less a price, and the mean given its inputs is the product itself."""
    rng = np.random.default_rng(2)
    x = rng.normal(1.0, 0.6, (20_000, inputs))
    gain = x.prod(axis=1) - 1.0
    values = np.column_stack([np.zeros(len(x)), gain + rng.normal(0, 2.0, len(x))])
    true = np.maximum(gain, 0).mean() - max(gain.mean(), 0)
    found = evppi(values, x)
    assert found.worth == pytest.approx(true, abs=3.5 * found.error)
    alone = evppi(values, x[:, :1])
    assert alone.worth == pytest.approx(unit_loss(0.0, 0.6), abs=3.5 * alone.error)


def test_the_standard_error_is_the_scatter_over_repetitions() -> None:
    found = []
    for seed in range(120):
        values, known, noise = problem(1_000, seed)
        found.append(evsi(values, known + noise))
    scatter = np.std([each.worth for each in found], ddof=1)
    assert np.sqrt(np.mean([each.error**2 for each in found])) / scatter == pytest.approx(1, abs=0.25)
    centre = np.mean([each.worth for each in found])
    true = unit_loss(MEAN, KNOWN**2 / np.hypot(KNOWN, 1.0))
    assert abs(centre - true) < 0.15 * scatter + 3 * scatter / np.sqrt(120)


def test_a_choice_that_never_changes_makes_knowing_worth_nothing() -> None:
    values, known, _ = problem(2_000)
    found = evppi(values + np.array([0.0, 1e3]), known)
    assert found.worth == 0
    assert found.error == 0


def test_noise_is_worth_nothing_when_judged_by_other_draws() -> None:
    """What is taken from noise shows as bias, and the doubtful order is reported, not cut off."""
    values, known, noise = problem(400)
    found = evppi(values, noise)
    assert found.apart <= 1e-12 + 2 * found.error
    over, error = excess(values, evpi(values), evppi(values, known))
    assert over > 3 * error


def test_an_input_of_two_values() -> None:
    """Knowing a coin: the gain is 2 or -1, so knowing it saves the loss half of the time."""
    coin = np.tile([0.0, 1.0], 5_000)
    values = np.column_stack([np.zeros(10_000), 3 * coin - 1 + np.random.default_rng(6).normal(0, 0.5, 10_000)])
    found = evppi(values, coin)
    assert found.worth == pytest.approx(0.5, abs=3 * found.error)


def test_three_options() -> None:
    """The best of three, two of which move with one input each."""
    rng = np.random.default_rng(3)
    x = rng.normal(0, 1, (20_000, 2))
    values = np.column_stack([x[:, 0], x[:, 1], np.zeros(len(x))])
    assert evppi(values, x).worth == pytest.approx(evpi(values).worth, rel=0.03)
    assert evppi(values, x[:, 0]).worth == pytest.approx(norm.pdf(0), abs=0.02)


def test_faults_come_together() -> None:
    with pytest.raises(ValueError, match=r"two options(.|\n)*NaN"):
        evpi(np.full((300, 1), np.nan))
    with pytest.raises(ValueError, match="300 of values"):
        evppi(np.zeros((300, 2)), np.zeros(20))
    with pytest.raises(ValueError, match="that vary"):
        basis(np.ones((300, 1)))


def test_a_straight_line_is_not_bent_and_a_curve_is_followed() -> None:
    rng = np.random.default_rng(4)
    x = np.exp(rng.normal(0, 1, 5_000))
    functions = basis(x[:, None])
    np.testing.assert_allclose(smoothed(functions, 3 + 2 * x), 3 + 2 * x, rtol=1e-5)
    noisy = np.sin(2 * np.log(x)) + rng.normal(0, 0.5, len(x))
    inner = (x > 0.2) & (x < 6)
    assert np.abs(smoothed(functions, noisy) - np.sin(2 * np.log(x)))[inner].mean() < 0.06
