"""Readings of experience: against the dense conditional mean, and against the truth they stand for."""

from __future__ import annotations

import numpy as np
import pytest

from rox.numerics.kalman import Readings, carried_forward, score_readings

PARTS = {"lasting": 0.9, "passing": 1.6, "memory": 0.85, "noise": 1.2}


def dense(months: np.ndarray, residual: np.ndarray, ahead: float, parts: dict[str, float]) -> tuple[np.ndarray, ...]:
    """Condition the multivariate normal of (trait, passing, experience ahead) on a customer's answers at once."""
    lag = np.abs(months[:, None] - months[None, :])
    v = parts["lasting"] + parts["passing"] * parts["memory"] ** lag + parts["noise"] * np.eye(len(months))
    to_last = parts["passing"] * parts["memory"] ** (months[-1] - months)
    to_ahead = parts["lasting"] + parts["passing"] * parts["memory"] ** (months[-1] + ahead - months)
    with_answers = np.vstack([np.full(len(months), parts["lasting"]), to_last, to_ahead])
    prior = np.array([
        [parts["lasting"], 0, parts["lasting"]],
        [0, parts["passing"], parts["passing"] * parts["memory"] ** ahead],
        [parts["lasting"], parts["passing"] * parts["memory"] ** ahead, parts["lasting"] + parts["passing"]],
    ])  # fmt: skip
    gain = np.linalg.solve(v, with_answers.T).T
    return gain @ residual, prior - gain @ with_answers.T


def crowd(rng: np.random.Generator, people: int, most: int = 12) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    counts = rng.integers(1, most, people)
    customer = np.repeat(np.arange(people) * 3, counts)
    month = np.concatenate([np.sort(rng.integers(24_000, 24_040, n)) for n in counts])
    return customer, month, 2 * rng.standard_normal(customer.size)


@pytest.mark.parametrize(
    "parts",
    [
        PARTS,
        PARTS | {"memory": 1.0},
        PARTS | {"memory": 0.0},
        PARTS | {"lasting": 0.0},
        PARTS | {"passing": 0.0},
        {"lasting": 1e-3, "passing": 30.0, "memory": 0.99, "noise": 0.05},
    ],
)
def test_it_is_the_conditional_mean(parts):
    customer, month, residual = crowd(np.random.default_rng(4), 60)
    found = score_readings(customer, month, residual, **parts)
    carried, variance = found.carried(7), found.carried_variance(7)
    for row in range(customer.size):
        mine = np.arange(customer.size)[(customer == customer[row]) & (np.arange(customer.size) <= row)]
        mean, spread = dense(month[mine], residual[mine], 7, parts)
        np.testing.assert_allclose([found.trait[row], found.passing[row], carried[row]], mean, atol=1e-10)
        np.testing.assert_allclose(
            [found.trait_variance[row], found.passing_variance[row], found.covariance[row], variance[row]],
            [spread[0, 0], spread[1, 1], spread[0, 1], spread[2, 2]],
            atol=1e-10,
        )


def test_it_recovers_the_experience_behind_simulated_answers():
    rng = np.random.default_rng(9)
    people, months = 20_000, 30
    trait = np.sqrt(PARTS["lasting"]) * rng.standard_normal(people)
    passing = np.empty((people, months + 5))
    passing[:, 0] = np.sqrt(PARTS["passing"]) * rng.standard_normal(people)
    for t in range(1, months + 5):
        shock = np.sqrt(PARTS["passing"] * (1 - PARTS["memory"] ** 2)) * rng.standard_normal(people)
        passing[:, t] = PARTS["memory"] * passing[:, t - 1] + shock
    customer, month = np.nonzero(rng.random((people, months)) < 0.2)
    answer = trait[customer] + passing[customer, month] + np.sqrt(PARTS["noise"]) * rng.standard_normal(customer.size)
    found = score_readings(customer, month, answer, **PARTS)
    ahead = trait[customer] + passing[customer, month + 5]
    for read, truth, variance in (
        (found.trait, trait[customer], found.trait_variance),
        (found.passing, passing[customer, month], found.passing_variance),
        (found.carried(5), ahead, found.carried_variance(5)),
    ):
        assert (read @ truth) / (read @ read) == pytest.approx(1, abs=0.02)
        assert np.mean((truth - read) ** 2) == pytest.approx(variance.mean(), rel=0.03)
    raw = answer - answer.mean()
    assert (raw @ ahead) / (raw @ raw) < 0.5, "an answer carried forward as it is would halve the coefficient"


def test_no_later_answer_matters():
    customer, month, residual = crowd(np.random.default_rng(2), 40)
    last = np.r_[customer[1:] != customer[:-1], True]
    changed = np.where(last, residual + 100, residual)
    one, other = score_readings(customer, month, residual, **PARTS), score_readings(customer, month, changed, **PARTS)
    np.testing.assert_array_equal(one.trait[~last], other.trait[~last])
    np.testing.assert_array_equal(one.passing[~last], other.passing[~last])
    assert (one.trait[last] != other.trait[last]).all()


def test_time_shift_and_scale():
    customer, month, residual = crowd(np.random.default_rng(3), 40)
    scaled = {name: value if name == "memory" else 9 * value for name, value in PARTS.items()}
    one = score_readings(customer, month, residual, **PARTS)
    other = score_readings(customer + 7, month - 500, 3 * residual, **scaled)
    np.testing.assert_allclose(other.carried(2), 3 * one.carried(2), atol=1e-12)
    np.testing.assert_allclose(other.trait_variance, 9 * one.trait_variance, atol=1e-12)


def test_without_noise_the_answer_is_the_experience():
    found = score_readings([1, 1, 1], [5, 5, 9], [2.0, 2.0, -3.0], lasting=1, passing=1, memory=0.5, noise=0)
    np.testing.assert_allclose(found.carried(0), [2, 2, -3], atol=1e-12)
    np.testing.assert_allclose(found.carried_variance(0), 0, atol=1e-12)


def test_taking_rows_and_carrying_them():
    customer, month, residual = crowd(np.random.default_rng(5), 10)
    found = score_readings(customer, month, residual, **PARTS)
    picked = found.take([3, 0, 3])
    assert isinstance(picked, Readings)
    np.testing.assert_array_equal(picked.carried([1, 2, 3]), found.carried([[1], [2], [3]])[[0, 1, 2], [3, 0, 3]])
    np.testing.assert_array_equal(
        carried_forward(found.trait, found.passing, 4, memory=PARTS["memory"]), found.carried(4)
    )
    with pytest.raises(ValueError, match="read-only"):
        found.trait[0] = 1


def test_no_answers_no_readings():
    assert score_readings([], [], [], **PARTS).trait.size == 0


def test_faults_are_told_at_once():
    with pytest.raises(ValueError) as caught:
        score_readings([1, 0, 0], [3, 5, 4], [1, 2, 3], lasting=-1, passing=np.nan, memory=1.2, noise=0)
    text = str(caught.value)
    for part in ("2 rows come before", "lasting is -1", "passing is nan", "memory is 1.2"):
        assert part in text
    with pytest.raises(ValueError, match="all 0"):
        score_readings([1], [3], [1], lasting=0, passing=0, memory=0.5, noise=0)
    with pytest.raises(ValueError, match="not whole numbers"):
        score_readings([1], [3.5], [1], **PARTS)
    with pytest.raises(ValueError, match="customer has 2 values, month 1"):
        score_readings([1, 1], [3], [1, 1], **PARTS)
