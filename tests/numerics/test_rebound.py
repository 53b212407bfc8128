"""How far chosen units rise by themselves; comparisons where treated and untreated overlap."""

from __future__ import annotations

import numpy as np
import pytest

from rox.numerics.overlap import overlap_effect
from rox.numerics.rebound import rebound


def panel(units: int, times: int, *, seed: int = 1, memory: float = 0.6) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Values with mean 7, variance 1 and autocorrelation memory^lag, and their units and times."""
    rng = np.random.default_rng(seed)
    value = np.empty((units, times))
    value[:, 0] = rng.standard_normal(units)
    for t in range(1, times):
        value[:, t] = memory * value[:, t - 1] + np.sqrt(1 - memory**2) * rng.standard_normal(units)
    unit, time = np.indices(value.shape)
    return unit.ravel(), 3.0 * time.ravel(), 7 + value.ravel()


def low_cases(unit: np.ndarray, time: np.ndarray, value: np.ndarray, *, at: float = 0.0) -> dict[str, np.ndarray]:
    first, second = value[time == at], value[time == at + 3]
    low = first < 6
    return {
        "chosen": unit[time == at][low],
        "first": first[low],
        "second": second[low],
        "lag": np.full(low.sum(), 3.0),
    }


def test_chosen_units_rise_as_expected_and_no_further() -> None:
    unit, time, value = panel(20_000, 4)
    found = rebound(unit, time, value, **low_cases(unit, time, value))
    exact = (1 - 0.6) * (7 - found.first[0])
    assert abs(found.expected[0] - exact) < 4 * found.se_expected[0]
    assert abs(found.excess[0]) < 3 * found.se_excess[0]
    assert found.correlation == pytest.approx([0.6], abs=0.02)
    assert found.expected[0] > 0.5


def test_a_rise_that_was_put_there_is_the_excess() -> None:
    unit, time, value = panel(20_000, 4)
    cases = low_cases(unit, time, value)
    half = np.arange(cases["first"].size) % 2
    cases["second"] = cases["second"] + 0.5 * half
    found = rebound(unit, time, value, group=half, **cases)
    assert abs(found.excess[1] - 0.5) < 3 * found.se_excess[1]
    assert abs(found.excess[0]) < 3 * found.se_excess[0]


def test_expectation_is_the_formula_by_hand() -> None:
    unit = np.repeat(np.arange(40), 2)
    time = np.tile([0.0, 3.0], 40)
    value = np.concatenate([[k % 5, (2 * k) % 7] for k in range(40)]).astype(float)
    one, two = value[0::2], value[1::2]
    low = one <= 1
    found = rebound(
        unit, time, value, chosen=np.arange(40)[low], first=one[low], second=two[low], lag=np.full(low.sum(), 3)
    )
    m = value.mean()
    r = np.mean((one - m) * (two - m)) / value.var()
    assert found.correlation[0] == pytest.approx(r)
    assert found.expected[0] == pytest.approx((1 - r) * (m - one[low].mean()))
    assert found.observed[0] == pytest.approx((two - one)[low].mean())


def test_the_error_of_the_excess_is_that_of_repetitions() -> None:
    excess, claimed = [], []
    for seed in range(60):
        unit, time, value = panel(600, 3, seed=seed)
        found = rebound(unit, time, value, **low_cases(unit, time, value))
        excess.append(found.excess[0])
        claimed.append(found.se_excess[0])
    assert np.mean(claimed) == pytest.approx(np.std(excess), rel=0.3)


def test_scale_shift_and_order_do_not_matter() -> None:
    unit, time, value = panel(500, 3)
    cases = low_cases(unit, time, value)
    found = rebound(unit, time, value, **cases)
    order = np.random.default_rng(2).permutation(value.size)
    moved = {**cases, "first": 10 + 2 * cases["first"], "second": 10 + 2 * cases["second"]}
    other = rebound(unit[order], time[order], 10 + 2 * value[order], **moved)
    assert other.expected == pytest.approx(2 * found.expected)
    assert other.se_excess == pytest.approx(2 * found.se_excess)


def test_a_lag_with_few_pairs_borrows_the_nearest() -> None:
    unit, time, value = panel(500, 3)
    cases = low_cases(unit, time, value)
    cases["lag"] = np.full(cases["lag"].size, 4.0)
    found = rebound(unit, time, value, **cases)
    assert found.lag.tolist() == [3.0]


def test_faults_are_said_together() -> None:
    with pytest.raises(ValueError, match=r"lags must be above 0.*values must differ.*buckets"):
        rebound([1, 1], [0, 3], [5, 5], chosen=[1], first=[5], second=[6], lag=[0], buckets=1)
    with pytest.raises(ValueError, match="no lag has 30 pairs"):
        rebound([1, 1], [0, 3], [5, 6], chosen=[1], first=[5], second=[6], lag=[3])


def test_overlap_weights_balance_the_facts_exactly() -> None:
    rng = np.random.default_rng(3)
    x = rng.standard_normal((800, 2))
    d = (rng.random(800) < 1 / (1 + np.exp(-x[:, 0]))).astype(float)
    for fact in x.T:
        assert overlap_effect(fact, d, x).value == pytest.approx(0, abs=1e-8)
    found = overlap_effect(2 * d + x @ [1.0, -1.0], d, x)
    assert found.value == pytest.approx(2, abs=1e-8)


def test_overlap_finds_the_effect_and_its_error() -> None:
    values, claimed = [], []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        x = rng.standard_normal((400, 1))
        d = (rng.random(400) < 1 / (1 + np.exp(-x[:, 0]))).astype(float)
        found = overlap_effect(1.0 * d + x[:, 0] + rng.standard_normal(400), d, x)
        values.append(found.value)
        claimed.append(found.se)
    assert np.mean(values) == pytest.approx(1.0, abs=0.06)
    assert np.mean(claimed) == pytest.approx(np.std(values), rel=0.3)


def test_overlap_refuses_what_it_cannot_compare() -> None:
    with pytest.raises(ValueError, match="both of them"):
        overlap_effect([1.0, 2.0], [1, 1], [[0.0], [1.0]])
    with pytest.raises(ValueError, match=r"infinity|separate|boundary"):
        overlap_effect([1.0, 2.0, 3.0, 4.0], [0, 0, 1, 1], [[0.0], [1.0], [2.0], [3.0]])
