"""Seasons and what is not known of them: against generalised least squares, and in simulated series."""

from __future__ import annotations

import numpy as np
import pytest
import statsmodels.api as sm

from rox.numerics.season import Prior, adjust, carried, pooled_prior

MONTHS = np.arange(24000, 24036)
COLUMNS = np.column_stack([(m == MONTHS % 12).astype(float) - (MONTHS % 12 == 11) for m in range(11)])


def drawn(rng: np.random.Generator, *, rho: float = 0.4, season: np.ndarray | None = None) -> tuple[np.ndarray, ...]:
    effects = rng.normal(0, 3, 12) if season is None else season
    effects = effects - effects.mean()
    u = np.zeros(MONTHS.size)
    for place in range(1, u.size):
        u[place] = rho * u[place - 1] + rng.normal()
    level = 20 + 0.1 * np.arange(u.size) + u
    return level + effects[MONTHS % 12] + rng.normal(0, 2, u.size), level, effects


def test_effects_are_those_of_generalised_least_squares_at_the_same_covariance() -> None:
    y, _, _ = drawn(np.random.default_rng(1))
    found = adjust(y, MONTHS, COLUMNS, np.full(y.size, 4.0))
    time = (MONTHS - MONTHS.mean()) / np.ptp(MONTHS)
    apart = np.abs(MONTHS[:, None] - MONTHS[None, :])
    sigma = 4.0 * np.eye(y.size) + found.process_variance * found.rho**apart
    theirs = sm.GLS(y, np.column_stack([np.ones(y.size), time, COLUMNS]), sigma=sigma).fit()
    assert found.effects == pytest.approx(theirs.params[2:], abs=1e-8)
    assert found.adjusted + found.season == pytest.approx(y, abs=1e-10)


def test_adjusted_values_are_covered_at_the_stated_level() -> None:
    rng = np.random.default_rng(2)
    inside = []
    for _ in range(25):
        y, level, _ = drawn(rng)
        found = adjust(y, MONTHS, COLUMNS, np.full(y.size, 4.0))
        inside.append(np.abs(found.adjusted - level) <= 1.645 * np.sqrt(np.diag(found.covariance)))
    assert 0.84 <= np.mean(inside) <= 0.96


def test_a_short_series_learns_from_its_sisters() -> None:
    rng = np.random.default_rng(3)
    shared = rng.normal(0, 4, 12)
    fits = [adjust(drawn(rng, season=shared)[0], MONTHS, COLUMNS, np.full(36, 4.0)) for _ in range(3)]
    prior = pooled_prior([f.effects for f in fits], [f.effects_covariance for f in fits])
    y, level, effects = drawn(rng, season=shared)
    short = adjust(y[:15], MONTHS[:15], COLUMNS[:15], np.full(15, 4.0), prior=prior)
    plain = np.abs(y[:15] - y[:15].mean() - (level[:15] - level[:15].mean())).mean()
    helped = short.adjusted - short.adjusted.mean() - (level[:15] - level[:15].mean())
    assert np.abs(helped).mean() < 0.75 * plain
    assert short.effects == pytest.approx(effects[:11], abs=3.5)


def test_a_single_sister_leaves_doubt() -> None:
    effects = np.array([[2.0, -2.0]])
    prior = pooled_prior(effects, np.zeros((1, 2, 2)))
    assert np.sqrt(np.diag(prior.covariance)) == pytest.approx([np.sqrt(2), np.sqrt(2)])


def test_a_column_that_tells_nothing_has_no_effect() -> None:
    y, _, _ = drawn(np.random.default_rng(5))
    doubled = np.column_stack([COLUMNS, COLUMNS[:, 0]])
    found = adjust(y, MONTHS, doubled, np.full(y.size, 4.0))
    assert found.effects[-1] == 0
    assert found.adjusted == pytest.approx(adjust(y, MONTHS, COLUMNS, np.full(y.size, 4.0)).adjusted, abs=1e-6)


def test_faults_are_told_together() -> None:
    with pytest.raises(ValueError, match="at least 6 periods"):
        adjust([1.0, 2.0], [1, 2], np.ones((2, 1)), [1.0, 1.0])
    with pytest.raises(ValueError, match="the prior is of 1 columns"):
        adjust(np.ones(36), MONTHS, COLUMNS, np.ones(36), prior=Prior(mean=np.zeros(1), covariance=np.eye(1)))
    with pytest.raises(ValueError, match="do not fit"):
        pooled_prior([[1.0]], [[1.0]])


def test_what_lasts_fades() -> None:
    assert carried([0, 2, 0, 1], 0.5).tolist() == [0, 2, 1, 1.5]
