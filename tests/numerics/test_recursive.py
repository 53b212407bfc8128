"""Residuals that a process at rest leaves standard normal."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import special, stats

from rox.numerics.arrays import Floats
from rox.numerics.monitoring import cusum, ewma
from rox.numerics.recursive import AT_REST, MEMORY, STEPS, Series, self_starting, simes


def series_of(y: Floats, v: Floats) -> Series:
    return Series(y=y, at=np.arange(y.size, dtype=float), sampling=v)


def wandering(rng: np.random.Generator, *, series: int, size: int, rho: float, sd: float = 1.0) -> list[Series]:
    """Draw series whose sampling variance is one and whose own months hang together."""
    own = rng.standard_normal((series, size))
    for place in range(1, size):
        own[:, place] = rho * own[:, place - 1] + np.sqrt(1 - rho**2) * own[:, place]
    return [series_of(each, np.ones(size)) for each in sd * own + rng.standard_normal((series, size))]


def test_a_residual_is_the_place_in_the_prediction_averaged_over_what_is_not_known() -> None:
    rng = np.random.default_rng(1)
    y, v = rng.normal(5, 3, 7), rng.uniform(0.5, 2, 7)
    judged = self_starting([series_of(y, v)], learn=6)[0]
    assert np.isnan(judged.residual[:6]).all()
    sampling = (v[:5] + v[1:6]).mean() / 2
    most = max((np.diff(y[:6]) ** 2).mean() / 2, sampling)
    taus = [0.0, *np.geomspace(max(sampling / 4, most / 100), 10 * most, STEPS)]
    prior = [AT_REST, *[(1 - AT_REST) / STEPS] * STEPS]
    one, weights, places, pairs = np.ones(6), [], [], []
    for rho in MEMORY:
        for tau, before in zip(taus, prior, strict=True):
            sigma = tau * rho ** np.abs(np.subtract.outer(np.arange(7), np.arange(7))) + np.diag(v)
            inner, cross = np.linalg.inv(sigma[:6, :6]), sigma[6, :6]
            known = one @ inner @ one
            mean = one @ inner @ y[:6] / known
            left = y[:6] - mean
            restricted = -0.5 * (np.linalg.slogdet(sigma[:6, :6])[1] + np.log(known) + left @ inner @ left)
            error = sigma[6, 6] - cross @ inner @ cross + (1 - cross @ inner @ one) ** 2 / known
            weights.append(np.log(before) + restricted)
            places.append(stats.norm.cdf((y[6] - mean - cross @ inner @ left) / np.sqrt(error)))
            pairs.append((tau, rho))
    chance = np.exp(np.array(weights) - special.logsumexp(weights))
    assert judged.residual[6] == pytest.approx(stats.norm.ppf(chance @ places), abs=1e-9)
    assert (judged.process[6], judged.rho[6]) == pytest.approx(tuple(chance @ np.array(pairs)))


def test_charts_of_a_process_that_wanders_alarm_about_as_often_as_stated() -> None:
    """Without memory and with what is learnt taken for the truth they alarm every thirty months."""
    found = wandering(np.random.default_rng(2), series=120, size=60, rho=0.5)
    judged = [each for start in range(0, 120, 20) for each in self_starting(found[start : start + 20], learn=12)]
    for make in (ewma, cusum):
        months = alarms = naive = 0
        for each, one in zip(found, judged, strict=True):
            drawn = make(one.residual[12:])
            passed = np.flatnonzero(drawn.alarms)
            months += int(passed[0]) + 1 if passed.size else 48
            alarms += bool(passed.size)
            early = each.y[:12]
            naive += bool(make((each.y[12:] - early.mean()) / early.std(ddof=1)).alarms.any())
        expected = months / drawn.run_length
        assert expected / 2 < alarms < 1.3 * expected + 2.5 * np.sqrt(expected)
        assert naive > 2 * alarms


def test_sampling_alone_and_a_process_of_its_own_are_told_apart() -> None:
    rng = np.random.default_rng(3)
    still, moving = (wandering(rng, series=20, size=40, rho=0.0, sd=sd) for sd in (0.0, 2.0))
    found = [np.mean([each.process[-1] for each in self_starting(some, learn=12)]) for some in (still, moving)]
    assert found[0] < 0.3
    assert found[1] == pytest.approx(4, rel=0.35)


def test_a_shared_autocorrelation_is_found_and_chance_is_not() -> None:
    rng = np.random.default_rng(4)
    for rho, low, high in ((0.0, 0.0, 0.25), (0.6, 0.45, 0.75)):
        some = wandering(rng, series=20, size=30, rho=rho)
        assert low <= self_starting(some, learn=12)[0].rho[-1] <= high
    alone = self_starting(some, learn=12, shared=[0])
    assert alone[1].rho[-1] == pytest.approx(alone[0].rho[-1])
    assert alone[1].rho[-1] != pytest.approx(self_starting(some, learn=12)[1].rho[-1])


def test_later_periods_do_not_change_the_judgement_of_earlier_ones() -> None:
    some = wandering(np.random.default_rng(5), series=3, size=30, rho=0.3)
    short = [series_of(each.y[:20], each.sampling[:20]) for each in some]
    for whole, part in zip(self_starting(some, learn=8), self_starting(short, learn=8), strict=True):
        assert whole.residual[8:20] == pytest.approx(part.residual[8:], abs=1e-9)


def test_a_step_is_found_in_one_of_many_groups() -> None:
    some = wandering(np.random.default_rng(6), series=10, size=40, rho=0.0, sd=0.5)
    y = some[0].y + 3.0 * (np.arange(40) >= 30)
    judged = self_starting([series_of(y, np.ones(40)), *some[1:]], learn=12)
    assert ewma(judged[0].residual[12:]).alarms[18:24].any()


def test_errors_that_are_not_independent_are_carried_whole() -> None:
    rng = np.random.default_rng(8)
    v = np.linspace(0.5, 2, 30)
    y = rng.normal(0, np.sqrt(v))
    found = [
        self_starting([series_of(y, errors)], learn=8)[0].residual[8:]
        for errors in (v + 1e-3 * v.mean(), np.diag(v), np.diag(v) + 25.0, np.diag(v) + 0.025)
    ]
    assert found[1] == pytest.approx(found[0], abs=1e-9)
    assert found[2] == pytest.approx(found[3], abs=0.1)


def test_faults() -> None:
    for each in (series_of(np.ones(9), np.zeros(9)), series_of(np.ones(3), np.ones(3))):
        with pytest.raises(ValueError, match="variances above 0, and 4 or more"):
            self_starting([each], learn=4)
    with pytest.raises(ValueError, match="at least one series"):
        self_starting([], learn=4)


def test_simes_finds_the_one_that_moved() -> None:
    assert simes([1e-6, *[0.5] * 19]) == pytest.approx(2e-5)
    assert simes([0.9, 0.8]) == pytest.approx(0.9)
