"""Scores of forecasts against closed forms, published figures and draws whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import integrate, stats

from rox.numerics.forecast_scores import (
    blurred_quantiles,
    coverage,
    crps,
    crps_normal,
    line_on_forecast,
    line_with_errors,
    place_of,
    ranks,
    skill,
)

PEARSON_X = np.array([0.0, 0.9, 1.8, 2.6, 3.3, 4.4, 5.2, 6.1, 6.5, 7.4])
PEARSON_Y = np.array([5.9, 5.4, 4.4, 4.6, 3.5, 3.7, 2.8, 2.8, 2.4, 1.5])
YORK_WX = np.array([1000.0, 1000, 500, 800, 200, 80, 60, 20, 1.8, 1])
YORK_WY = np.array([1.0, 1.8, 4, 8, 20, 20, 70, 70, 100, 500])


def normal_draws(n: int) -> np.ndarray:
    """Equally likely quantiles of a standard normal."""
    return stats.norm.ppf((np.arange(n) + 0.5) / n)


def test_crps_is_the_double_sum_of_its_definition() -> None:
    x, y = np.array([0.3, -1.2, 2.5, 0.3, 0.9]), 0.7
    direct = np.abs(x - y).mean() - np.abs(x[:, None] - x[None, :]).mean() / 2
    assert crps(x, y) == pytest.approx(direct, rel=1e-14)
    assert crps([4.0], 1.5) == 2.5


def test_crps_is_the_integral_over_the_squared_distance_of_distributions() -> None:
    x, y = np.array([0.0, 1.0, 3.0]), 1.2
    steps = np.array([0.0, 1.0, 1.2, 3.0])
    below = np.array([1, 2, 2]) / 3
    reached = np.array([0, 0, 1])
    assert crps(x, y) == pytest.approx(float((np.diff(steps) * (below - reached) ** 2).sum()), rel=1e-14)


@pytest.mark.parametrize(("at", "value"), [(0.0, 0.23369497725510914), (1.0, 0.6024413838617985)])
def test_crps_of_a_normal_is_the_closed_form(at: float, value: float) -> None:
    assert crps_normal(0, 1, at) == pytest.approx(value, rel=1e-7)
    whole = integrate.quad(lambda t: (stats.norm.cdf(t) - (t >= at)) ** 2, -12, 12, points=[at])[0]
    assert crps_normal(0, 1, at) == pytest.approx(whole, rel=1e-7)
    assert crps(normal_draws(4000), at) == pytest.approx(value, rel=2e-4)


def test_blurring_a_single_draw_gives_a_normal_and_no_blur_is_the_limit() -> None:
    assert crps([2.0], 3.1, 0.7) == pytest.approx(crps_normal(2.0, 0.7, 3.1), rel=1e-12)
    x = np.random.default_rng(1).gamma(2, size=700)
    assert crps(x, 1.5, 1e-9) == pytest.approx(crps(x, 1.5), rel=1e-7)
    assert place_of(x, 1.5, 1e-9) == pytest.approx(place_of(x, 1.5), abs=1e-6)


def test_a_normal_blurred_by_a_normal_is_the_wider_normal() -> None:
    x = normal_draws(1500)
    assert crps(x, 0.8, 1.0) == pytest.approx(crps_normal(0, np.sqrt(2), 0.8), rel=1e-3)
    assert place_of(x, 0.8, 1.0) == pytest.approx(stats.norm.cdf(0.8 / np.sqrt(2)), abs=1e-3)
    assert blurred_quantiles(x, [0.05, 0.5, 0.95], 1.0) == pytest.approx(
        stats.norm.ppf([0.05, 0.5, 0.95]) * np.sqrt(2), abs=2e-3
    )


def test_the_score_is_proper_the_honest_forecaster_wins() -> None:
    rng = np.random.default_rng(3)
    truths = rng.standard_normal(3000)
    means = [float(np.mean([crps_normal(0, sd, y) for y in truths])) for sd in (0.5, 1.0, 2.0)]
    assert means[1] == min(means)


def test_coverage_counts_and_says_how_little_few_forecasts_tell() -> None:
    found = coverage([0.5, 0.04, 0.9, 0.3], 0.90)
    assert (found.inside, found.of, found.share) == (3, 4, 0.75)
    assert found.low == pytest.approx(stats.beta.ppf(0.05, 3, 2))
    assert found.high == pytest.approx(stats.beta.ppf(0.95, 4, 1))
    assert found.p == pytest.approx(stats.binomtest(3, 4, 0.9).pvalue)
    assert np.isnan(coverage([], 0.5).share)


def test_ranks_of_honest_forecasts_are_uniform_and_of_overconfident_ones_are_not() -> None:
    rng = np.random.default_rng(5)
    honest = ranks(rng.random(60))
    assert sum(honest.counts) == 60
    assert honest.p > 0.05
    sure = ranks(stats.norm.cdf(3 * rng.standard_normal(60)))
    assert sure.p < 0.01
    assert sure.counts[0] + sure.counts[-1] > 36
    assert np.isnan(ranks(rng.random(9)).p)


def test_pearsons_data_with_yorks_weights() -> None:
    """Slope, intercept and errors as published by York, Evensen, Lopez Martinez & De Basabe Delgado (2004)."""
    line = line_with_errors(PEARSON_X, PEARSON_Y, YORK_WX**-0.5, YORK_WY**-0.5)
    assert line.coefficients == pytest.approx([5.47991, -0.480533], abs=6e-6)
    chi2 = 11.8663
    assert line.scatter == pytest.approx(np.sqrt(chi2 / 8), abs=1e-4)
    assert line.se / line.scatter == pytest.approx([0.2949, 0.0580], abs=2e-4)


def test_errors_of_the_estimates_flatten_the_plain_line_and_not_the_other() -> None:
    rng = np.random.default_rng(11)
    true = rng.normal(0.03, 0.02, 400)
    estimate = true + rng.normal(0, 0.015, 400)
    actual = 0.8 * true + rng.normal(0, 0.005, 400)
    both = line_with_errors(estimate, actual, np.full(400, 0.015), np.full(400, 0.005))
    plain = line_on_forecast(estimate, actual, np.full(400, 0.005))
    assert both.low[1] < 0.8 < both.high[1]
    assert plain.coefficients[1] == pytest.approx(0.8 * 0.02**2 / (0.02**2 + 0.015**2), abs=0.06)


def test_the_line_on_calibrated_forecasts_has_slope_one() -> None:
    rng = np.random.default_rng(13)
    forecast = rng.normal(0.02, 0.015, 300)
    actual = forecast + rng.normal(0, 0.02, 300) + rng.normal(0, 0.01, 300)
    line = line_on_forecast(forecast, actual, np.full(300, 0.01))
    assert line.low[1] < 1 < line.high[1]
    assert line.low[0] < 0 < line.high[0]
    assert line.scatter == pytest.approx(0.02, rel=0.15)


def test_lines_do_not_hang_on_the_unit_of_money() -> None:
    rng = np.random.default_rng(17)
    x, e = rng.normal(5, 2, 30), rng.normal(0, 1, 30)
    for fit in (
        lambda k: line_on_forecast(k * x, k * (x + e), np.full(30, k)),
        lambda k: line_with_errors(k * x, k * (x + e), np.full(30, 0.5 * k), np.full(30, k)),
    ):
        one, many = fit(1.0), fit(1e8)
        assert many.coefficients == pytest.approx(one.coefficients * [1e8, 1], rel=1e-5)


def test_skill_is_the_share_by_which_the_reference_is_beaten() -> None:
    assert skill([1.0, 1.0], [2.0, 2.0]) == 0.5
    assert skill([3.0], [2.0]) == -0.5
    assert np.isnan(skill([1.0], [0.0]))


def test_what_cannot_be_scored_is_refused_with_every_fault() -> None:
    with pytest.raises(ValueError, match=r"no draws.*measured value is nan.*negative"):
        crps([], float("nan"), -1)
    with pytest.raises(ValueError, match="3 pairs"):
        line_on_forecast([1, 2], [1, 2], [1, 1])
    with pytest.raises(ValueError, match="all forecasts are the same"):
        line_with_errors([1, 1, 1], [1, 2, 3], [1, 1, 1], [1, 1, 1])
