"""Hazards with many baseline levels: the same as statsmodels and as the fit with one column per level."""

from __future__ import annotations

import numpy as np
import pytest
import statsmodels.api as sm

from rox.numerics.absorbed_hazard import absorbed_hazard
from rox.numerics.grouped import dummies
from rox.numerics.grouped_hazard import grouped_hazard
from rox.numerics.jackknife import jackknife


def rows(seed: int, size: int = 12_000, levels: int = 20):
    """Customer-months with a known hazard, two regressors, and buckets."""
    rng = np.random.default_rng(seed)
    level = rng.integers(0, levels, size)
    x = np.column_stack([rng.integers(0, 5, size), rng.standard_normal(size)]).astype(float)
    base = np.log(0.02) + 0.4 * rng.standard_normal(levels)
    event = rng.random(size) < -np.expm1(-np.exp(base[level] + x @ [0.2, -0.3]))
    return level, x, np.ones(size), event.astype(float), rng.integers(0, size // 10, size) % 32


def test_rows_give_what_statsmodels_gives():
    level, x, n, d, _ = rows(1)
    fit = absorbed_hazard(level, x, n, d)
    design = np.column_stack([x, dummies(level)[0]])
    family = sm.families.Binomial(link=sm.families.links.CLogLog())
    other = sm.GLM(d, design, family=family).fit(tol=1e-14, maxiter=200)
    assert fit.coefficient == pytest.approx(other.params[:2], abs=1e-8)
    assert fit.se == pytest.approx(other.bse[:2], rel=1e-6)
    assert np.log(fit.hazard) == pytest.approx(other.params[2:], abs=1e-7)
    assert fit.log_likelihood == pytest.approx(other.llf, rel=1e-10)


def test_cells_give_what_rows_give_and_one_column_per_level_too():
    level, x, n, d, _ = rows(2)
    x = x[:, :1]
    place, code = np.unique(level * 10 + x[:, 0].astype(int), return_inverse=True)
    fit = absorbed_hazard(level, x, n, d)
    cells = absorbed_hazard(place // 10, place % 10, np.bincount(code), np.bincount(code, weights=d))
    assert cells.coefficient == pytest.approx(fit.coefficient, abs=1e-9)
    assert cells.covariance == pytest.approx(fit.covariance, rel=1e-7)
    wide = grouped_hazard(level, x, n, d)
    assert fit.coefficient == pytest.approx(wide.coefficient, abs=1e-7)


def test_replicates_are_the_fits_without_each_bucket():
    level, x, n, d, bucket = rows(3, levels=8)
    fit = absorbed_hazard(level, x, n, d, bucket=bucket)
    again = [absorbed_hazard(*(each[bucket != b] for each in (level, x, n, d))) for b in range(32)]
    whole = jackknife(fit.coefficient, [each.coefficient for each in again])
    step = jackknife(fit.coefficient, fit.replicates)
    assert step.se == pytest.approx(whole.se, rel=0.02)
    logs = np.log(np.stack([each.hazard for each in again]))
    assert np.log(fit.hazard_replicates).std(axis=0) == pytest.approx(logs.std(axis=0), rel=0.1)


def test_a_level_without_events_says_nothing():
    level, x, n, d, _ = rows(4)
    empty = level == 7
    d = np.where(empty, 0.0, d)
    fit = absorbed_hazard(level, x, n, d)
    rest = absorbed_hazard(level[~empty], x[~empty], n[~empty], d[~empty])
    assert fit.coefficient == pytest.approx(rest.coefficient, abs=1e-10)
    assert fit.hazard[7] == 0
    assert fit.events[7] == 0


def test_without_regressors_the_levels_are_the_rates():
    level, x, n, d, bucket = rows(4)
    fit = absorbed_hazard(level, x[:, :0], n, d, bucket=bucket)
    rate = np.bincount(level, d) / np.bincount(level)
    assert fit.hazard == pytest.approx(-np.log1p(-rate), rel=1e-9)
    assert fit.coefficient.shape == (0,)
    assert fit.hazard_replicates.shape == (32, 20)


def test_scale_and_centre_of_a_regressor_do_not_matter():
    level, x, n, d, bucket = rows(5)
    fit = absorbed_hazard(level, x, n, d, bucket=bucket)
    moved = absorbed_hazard(level, 1000 * x + 5000, n, d, bucket=bucket)
    assert 1000 * moved.coefficient == pytest.approx(fit.coefficient, rel=1e-7)
    assert 1000 * moved.replicates == pytest.approx(fit.replicates, rel=1e-6)
    at_zero = np.log(moved.hazard) + 5000 * moved.coefficient.sum()
    assert at_zero == pytest.approx(np.log(fit.hazard), abs=1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda level, x, n, d: (level, x, n, 0 * d), "no events"),
        (lambda level, x, n, d: (level, x, n, 2 * d), "above at_risk"),
        (lambda level, x, n, d: (level, 0 * x, n, d), "do not vary"),
        (lambda level, x, n, d: (level, np.column_stack([level, x]), n, d), "within the levels"),
        (lambda level, x, n, d: (level, np.column_stack([d, x]), n, d), "infinity|climbed|maximum|within the levels"),
    ],
)
def test_what_cannot_be_fitted_is_said(change, message):
    level, x, n, d, _ = rows(6)
    with pytest.raises(ValueError, match=message):
        absorbed_hazard(*change(level, x, n, d))
