"""Charts at their stated rate of false alarms, changes at their dates, trees without a flood of false ones."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from scipy import stats

from rox.numerics import monitoring as m


def test_run_lengths_are_the_published_ones() -> None:
    # Lucas & Saccucci 1990, table 3: λ = 0.2, L = 2.86 gives 370; Hawkins & Olwell 1998: k = 0.5, h = 4 and 5
    assert m.ewma_width(0.2, 370) == pytest.approx(2.86, abs=0.005)
    assert m.ewma_run_length(1.0, 3.0) == pytest.approx(1 / (2 * stats.norm.sf(3)), rel=1e-6)
    assert m.cusum_run_length(0.5, 4.0) == pytest.approx(168, abs=1)
    assert m.cusum_run_length(0.5, 5.0) == pytest.approx(465, abs=1)
    assert m.cusum_run_length(0.5, 5.0, 1.0) == pytest.approx(10.4, abs=0.1)


def first_alarm(chart: m.Chart) -> float:
    hit = np.flatnonzero(chart.alarms)
    return float(hit[0] + 1) if hit.size else np.nan


def test_charts_alarm_at_rest_as_often_as_they_say() -> None:
    rng = np.random.default_rng(1)
    lengths = {"ewma": [], "cusum": []}
    for _ in range(300):
        e = rng.standard_normal(400)
        lengths["ewma"].append(first_alarm(m.ewma(e, run_length=60)))
        lengths["cusum"].append(first_alarm(m.cusum(e, limit=2.9)))
    assert np.nanmean(lengths["ewma"]) == pytest.approx(60, rel=0.15)
    told = m.cusum_run_length(0.5, 2.9)
    assert np.nanmean(lengths["cusum"]) == pytest.approx(told, rel=0.15)


def test_a_process_that_varies_by_itself_is_not_charted_by_its_sampling_error_alone() -> None:
    rng = np.random.default_rng(2)
    sampling = np.full(2000, 4.0)
    residual = rng.normal(0, np.sqrt(4 + 9), 2000)
    found = m.process_variance(residual, sampling)
    assert found == pytest.approx(9, rel=0.15)
    assert m.process_variance(rng.normal(0, 1, 50), np.full(50, 100.0)) == 0
    alone, both = (m.ewma(residual / np.sqrt(4 + add)).alarms.mean() for add in (0.0, found))
    assert alone > 10 * both


def test_changes_are_found_at_their_dates_and_not_where_nothing_changed() -> None:
    rng = np.random.default_rng(3)
    quiet = sum(m.change_points(rng.standard_normal(48), np.ones(48)).starts.size for _ in range(60))
    assert quiet <= 3
    series = np.r_[np.zeros(20), np.full(15, 3.0), np.full(13, -1.0)] + 0.7 * rng.standard_normal(48)
    found = m.change_points(series, np.full(48, 0.49))
    assert list(found.starts) == [20, 35]
    assert found.levels == pytest.approx([0, 3, -1], abs=0.5)
    date = m.change_date(series[:35], np.full(35, 0.49))
    assert date.sum() == pytest.approx(1)
    assert date[19:22].sum() > 0.95


def test_the_cut_is_the_cheapest_of_all() -> None:
    rng = np.random.default_rng(5)
    y, v = rng.normal(size=9) + np.repeat([0, 2, 0], 3), rng.uniform(0.2, 1, 9)

    def cost(starts: tuple[int, ...]) -> float:
        bounds = [0, *starts, 9]
        parts = [slice(a, b) for a, b in pairwise(bounds)]
        errors = [((y[p] - np.average(y[p], weights=1 / v[p])) ** 2 / v[p]).sum() for p in parts]
        return sum(errors) + 2.0 * len(starts)

    every = [tuple(i for i in range(1, 9) if code >> i & 1) for code in range(0, 512, 2)]
    best = min(every, key=cost)
    assert tuple(m.change_points(y, v, penalty=2.0, least=1).starts) == best


def test_children_are_tested_only_below_parents_that_moved() -> None:
    parent = [-1, -1, 0, 0, 0, 1, 1]
    found = m.tree_rejections([0.001, 0.6, 0.002, 0.9, 0.8, 1e-9, 1e-9], parent, q=0.1)
    assert list(found) == [True, False, True, False, False, False, False]
    # level of the children of node 0: 0.1 · 1/2, so the smallest of three must be at most 0.1/2/3
    assert not m.tree_rejections([0.001, 0.6, 0.018, 0.9, 0.8, 1, 1], parent, q=0.1)[2]


def test_false_families_stay_rare_in_trees_at_rest() -> None:
    rng = np.random.default_rng(7)
    parent = np.r_[np.full(10, -1), np.repeat(np.arange(10), 8)]
    any_false = 0
    for _ in range(400):
        leaves = rng.random((10, 8))
        tops = np.minimum(8 * leaves.min(1), 1)
        any_false += m.tree_rejections(np.r_[tops, leaves.ravel()], parent, q=0.1).any()
    assert any_false / 400 < 0.14


def test_bad_input_is_refused() -> None:
    with pytest.raises(ValueError, match="weight above 0"):
        m.ewma([0.0], weight=0)
    with pytest.raises(ValueError, match="stands before"):
        m.tree_rejections([0.1, 0.2], [1, -1])
    with pytest.raises(ValueError, match="variances above 0"):
        m.change_points([1.0, 2.0], [1.0, 0.0])
