"""Two-way fixed effects read in batches: equality with the regression in memory, layouts, precision, faults."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rox.numerics import within_scan
from rox.numerics.panel import within_regression
from rox.numerics.within import Axes, Batch, Shard, period_effects, slopes
from rox.numerics.within_scan import two_way


def draw(rng, customers=120, periods=9, rows=500):
    """Rows of an unbalanced panel with errors correlated within customers."""
    u, t = np.divmod(rng.choice(customers * periods, size=rows, replace=False), periods)
    x = rng.normal(size=(rows, 2)) + rng.normal(size=customers)[u][:, None] + 0.1 * t[:, None]
    y = x @ [0.7, -0.2] + 3 * rng.normal(size=customers)[u] + rng.normal(size=periods)[t] + rng.normal(size=rows)
    return y, x, u, t


def shards(y, x, u, label, *, w=None, count=1, cut=97, hold=False):
    """Deal customers to shards and rows to batches."""
    found = []
    for place in range(count):
        mine = np.flatnonzero(u % count == place)

        def batches(mine=mine):
            for start in range(0, mine.size, cut):
                i = mine[start : start + cut]
                weight = None if w is None else w[i]
                yield Batch(customer=u[i] // count, period=label[i], values=[y[i], *x[i].T], weight=weight)

        found.append(Shard(customers=int(u.max()) // count + 1, batches=batches, hold=hold))
    return found


def assert_same(fit, other, rtol=1e-11):
    np.testing.assert_allclose(fit.coefficient, other.coefficient, rtol=rtol)
    np.testing.assert_allclose(fit.covariance, other.covariance, rtol=rtol)
    np.testing.assert_allclose(fit.bread, other.bread, rtol=rtol)
    np.testing.assert_allclose(fit.identifying, other.identifying)
    assert fit.sigma2 == pytest.approx(float(other.sigma2), rel=rtol)
    assert fit.r2_within == pytest.approx(other.r2_within, rel=1e-9)
    assert (fit.n, fit.customers, fit.singletons) == (other.n, other.n_clusters, other.singletons)
    assert (fit.counted, fit.df_residual) == (other.counted, other.df_residual)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("count, hold, threads", [(1, False, 1), (4, False, 1), (4, True, 2)])
def test_equals_the_regression_in_memory(weighted, count, hold, threads):
    rng = np.random.default_rng(1)
    y, x, u, t = draw(rng)
    w = rng.uniform(0.3, 3, size=y.size) if weighted else None
    fit = two_way(shards(y, x, u, t, w=w, count=count, hold=hold), ["a", "b"], Axes(periods=9), threads=threads)
    assert_same(fit, within_regression(y, x, u, time=t, weights=w))
    assert fit.singletons > 0


@pytest.fixture(params=[0, 1 << 27], autouse=True)
def kept(request, monkeypatch):
    """Sums of shards are taken again, or kept."""
    monkeypatch.setattr(within_scan, "KEEP", request.param)


def test_periods_of_segments_that_customers_stay_in_or_leave():
    rng = np.random.default_rng(2)
    y, x, u, t = draw(rng)
    for segment in (u % 3, (u + t) % 3):
        label = segment * 9 + t
        fit = two_way(shards(y, x, u, label, count=2), ["a", "b"], Axes(periods=9, segments=3))
        assert_same(fit, within_regression(y, x, u, time=label))
        assert fit.periods <= 27


def test_rows_that_repeat_a_customer_and_period():
    rng = np.random.default_rng(3)
    y, x, u, t = draw(rng, rows=700)
    t = t // 2
    assert_same(two_way(shards(y, x, u, t), ["a", "b"], Axes(periods=5)), within_regression(y, x, u, time=t))


def test_more_periods_than_a_word_has_bits():
    rng = np.random.default_rng(4)
    y, x, u, t = draw(rng, customers=40, periods=130, rows=2500)
    fit = two_way(shards(y, x, u, t, count=3), ["a", "b"], Axes(periods=130))
    assert_same(fit, within_regression(y, x, u, time=t))


def test_periods_alone_are_dropped_until_none_is_left():
    """Customer 3 is alone; without it period 9 is alone; without that customer 2 is alone."""
    u, t = np.array([0, 0, 0, 1, 1, 1, 2, 2, 3]), np.array([0, 1, 2, 0, 1, 2, 0, 9, 9])
    rng = np.random.default_rng(8)
    y, x = rng.normal(size=9), rng.normal(size=(9, 1))
    fit = two_way(shards(y, x, u, t, count=2), ["a"], Axes(periods=12))
    other = within_regression(y, x, u, time=t)
    assert (fit.n, fit.customers, fit.periods, fit.singletons) == (6, 2, 3, 3)
    assert (other.n, other.n_clusters, other.singletons, other.counted) == (6, 2, 3, fit.counted)
    np.testing.assert_allclose(fit.coefficient, other.coefficient, rtol=1e-12)


def test_parts_of_a_panel_that_share_no_customer():
    rng = np.random.default_rng(9)
    y, x, u, t = draw(rng)
    t = np.where(u < 60, t, t + 9)
    assert_same(two_way(shards(y, x, u, t), ["a", "b"], Axes(periods=18)), within_regression(y, x, u, time=t))


@pytest.mark.parametrize("spread", [1e4, 1e8])
def test_levels_far_apart_cost_no_digits(spread):
    """One reading alone would lose them: the variance between customers is up to 16 orders of magnitude larger."""
    rng = np.random.default_rng(5)
    y, x, u, t = draw(rng, rows=800)
    level = np.round(spread * rng.normal(size=120))
    y, x = np.round(y * 2**10) / 2**10, np.round(x * 2**10) / 2**10
    plain = two_way(shards(y, x, u, t), ["a", "b"], Axes(periods=9))
    far = two_way(shards(y + level[u], x + level[u][:, None], u, t, count=3), ["a", "b"], Axes(periods=9))
    digits = 1e-12 * spread / 1e4
    np.testing.assert_allclose(far.coefficient, plain.coefficient, rtol=digits)
    np.testing.assert_allclose(far.se, plain.se, rtol=digits)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), rate=st.floats(1e-3, 1e6), count=st.integers(1, 5))
def test_currency_order_and_shards_do_not_matter(seed, rate, count):
    rng = np.random.default_rng(seed)
    y, x, u, t = draw(rng, customers=20, rows=100)
    one = two_way(shards(y, x, u, t), ["a", "b"], Axes(periods=9))
    order, names = rng.permutation(y.size), rng.permutation(20)
    moved = shards(rate * y[order], x[order], names[u[order]], 8 - t[order], count=count, cut=13)
    two = two_way(moved, ["a", "b"], Axes(periods=9))
    np.testing.assert_allclose(two.coefficient, rate * one.coefficient, rtol=1e-8)
    np.testing.assert_allclose(two.covariance, rate**2 * one.covariance, rtol=1e-8, atol=rate**2 * 1e-14)


def test_faults_name_the_regressors():
    rng = np.random.default_rng(7)
    y, x, u, t = draw(rng)
    bad = np.column_stack([x, u * 1e6, t * 3.0, 2 * x[:, 0] - x[:, 1] + t])
    with pytest.raises(ValueError) as caught:
        two_way(shards(y, bad, u, t, count=2), ["a", "b", "opened", "trend", "both"], Axes(periods=9))
    message = str(caught.value)
    assert "'opened' does not vary within customers" in message
    assert "'trend' does not vary within customers" in message
    assert "'both' is a linear combination of 'a', 'b'" in message
    assert "regressor 'a'" not in message


def test_nothing_to_go_by():
    with pytest.raises(ValueError, match="no customer has two rows"):
        two_way([Shard(customers=3, batches=lambda: [])], ["a"], Axes(periods=2))
    y, x, t = np.array([1.0, 2, 4, 3]), np.array([[1.0], [3], [2], [7]]), np.array([0, 0, 1, 1])
    with pytest.raises(ValueError, match="at least 2 customers"):
        two_way(shards(y, x, np.zeros(4, dtype=np.int64), t), ["a"], Axes(periods=2))


def test_effects_that_are_not_identified_are_zero():
    effects, rank = period_effects(np.diag([2.0, 0.0]), np.array([[4.0], [0.0]]), np.array([2.0, 0.0]))
    np.testing.assert_allclose(effects, [[2.0], [0.0]])
    assert rank == 1


def test_a_tiny_regressor_is_not_taken_for_an_absorbed_one():
    beta, bread = slopes(np.array([[1.0, 1e-12], [1e-12, 4e-24]]), np.array([1e-23]), ["a"])
    assert beta[0] == pytest.approx(0.25e12)
    assert bread[0, 0] == pytest.approx(0.25e24)
