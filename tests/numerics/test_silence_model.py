"""What the silent could change: recovery of a known truth, closed forms, and bounds that hold."""

from __future__ import annotations

import numpy as np
import pytest

from rox.numerics import silence


def cells(rng: np.random.Generator, *, size: int = 20_000):
    """A population in 2 × 5 cells; answering and the answer both depend on the cell."""
    group, band = rng.integers(0, 2, size), rng.integers(0, 5, size)
    y = 5 + 1.0 * group + 0.5 * band + rng.normal(0, 2, size)
    answered = rng.random(size) < 1 / (1 + np.exp(2.2 - 0.6 * group - 0.25 * band))
    code = 5 * group + band
    sums = [np.bincount(code, part, 10) for part in (np.ones(size), answered, answered * y, answered * y**2)]
    design = np.column_stack([np.ones(10), np.repeat([0, 1], 5), np.tile(np.arange(5), 2)])
    return sums, design, y.mean()


def test_either_model_repairs_the_mean_and_its_error_is_honest() -> None:
    rng = np.random.default_rng(4)
    hits, raw = 0, []
    for _ in range(150):
        sums, design, truth = cells(rng, size=4000)
        found = silence.doubly_robust_mean(*sums, design)
        hits += abs(found.value - truth) < 1.645 * found.se
        raw.append(found.raw - truth)
    assert np.mean(raw) > 0.25
    assert 0.84 <= hits / 150 <= 0.97
    sums, design, truth = cells(rng, size=200_000)
    crude = np.ones((10, 1))
    saturated = np.eye(10)
    assert silence.doubly_robust_mean(*sums, crude).value == pytest.approx(silence.doubly_robust_mean(*sums, crude).raw)
    assert silence.doubly_robust_mean(*sums, saturated).value == pytest.approx(truth, abs=0.06)
    post = sums[0] @ (sums[2] / sums[1]) / sums[0].sum()
    assert silence.doubly_robust_mean(*sums, saturated).value == pytest.approx(post, rel=1e-8)


def test_the_design_of_answering_shows_in_effective_answers() -> None:
    sums, design, _ = cells(np.random.default_rng(5))
    found = silence.doubly_robust_mean(*sums, design)
    assert found.propensity == pytest.approx(sums[1] / sums[0], abs=0.04)
    assert 0.5 < found.effective < 1
    assert found.rare == 0
    assert found.influence.sum() == pytest.approx(0, abs=1e-9)


def test_bounds_and_the_point_where_it_turns() -> None:
    low, high = silence.worst_case(0.15, 20.0, -100.0, 100.0)
    assert high - low == pytest.approx(170)
    assert silence.worst_case(1.0, 100.0 + 1e-13, -100.0, 100.0) == (100.0, 100.0)
    delta = silence.tipping_point(0.15, 20.0, 0.0)
    assert 0.15 * 20 + 0.85 * (20 + delta) == pytest.approx(0)


def test_smub_is_its_closed_form() -> None:
    found = silence.proxy_bias([0, 0.5, 1], 0.4, 2.5, 1.0, 0.3)
    assert found == pytest.approx([0.4 * 2.5 * 0.3, 2.5 * 0.3, 2.5 / 0.4 * 0.3])


def test_the_data_defect_is_an_identity() -> None:
    rng = np.random.default_rng(6)
    y = rng.normal(0, 85, 5000)
    r = rng.random(5000) < 1 / (1 + np.exp(1.7 - 0.01 * y))
    rho = np.corrcoef(r, y)[0, 1]
    assert silence.defect_bias(rho, r.mean(), y.std()) == pytest.approx(y[r].mean() - y.mean())


def test_tilting_undoes_answering_by_the_answer_and_says_when_it_turns() -> None:
    rng = np.random.default_rng(9)
    y = rng.integers(0, 11, 400_000).astype(float)
    odds = 0.2 * np.exp(0.12 * (y - 5))
    answered = rng.random(y.size) < odds / (1 + odds)
    values, counts = np.unique(y[answered], return_counts=True)
    rate = answered.mean()
    assert silence.tilted_mean(values, counts, rate, 0.0) == pytest.approx(y[answered].mean())
    assert silence.tilted_mean(values, counts, rate, 0.12) == pytest.approx(y.mean(), abs=0.03)
    assert silence.tipping_strength(values, counts, rate, y.mean()) == pytest.approx(0.12, abs=0.01)
    assert np.isnan(silence.tipping_strength(values, counts, rate, 20.0))
    assert silence.tipping_strength([9.0], [40.0], rate, 9.0) == 0.0


def test_late_answers_point_beyond_the_last() -> None:
    slope, se, beyond = silence.resistance([0, 1, 2], [500, 300, 100], [8, 7.5, 7], [0.01, 0.01, 0.01])
    assert (slope, beyond) == (pytest.approx(-0.5), pytest.approx(6.5))
    assert se == pytest.approx(np.sqrt(0.01 / 2))


def test_bad_input_is_refused_in_one_message() -> None:
    with pytest.raises(ValueError, match=r"more answers than people(.|\n)*nobody|nobody answered") as caught:
        silence.doubly_robust_mean([5, 5], [0, 0], [0, 0], [0, 0], np.ones((2, 1)))
    assert "nobody answered" in str(caught.value)
    with pytest.raises(ValueError, match="more answers than people"):
        silence.doubly_robust_mean([5, 5], [6, 1], [0, 0], [0, 0], np.ones((2, 1)))
    with pytest.raises(ValueError, match="rate"):
        silence.worst_case(1.2, 0, -1, 1)
    assert silence.benchmark_gaps([1.0], [0.5], [2.0]) == pytest.approx([0.25])
