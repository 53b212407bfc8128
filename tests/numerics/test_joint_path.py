"""The joint law of money and answers: its covariances, its likelihood, and what a fit finds again."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from rox.numerics.joint_path import (
    COMMON,
    OWN,
    REACH,
    WANDERING_MEMORY,
    Paths,
    Patterns,
    covariances_and_slopes,
    log_likelihood,
)
from rox.numerics.joint_path_fit import around_common, fit_joint_path, paths_around_common

PARAMETERS = {
    "response": 0.2,
    "attention": 1.5,
    "shock": np.log(0.05),
    "passing": np.log(1.2),
    "noise": np.log(1.1),
    "transitory": np.log(0.03),
    "wandering": np.log(0.01),
    "level": np.log(0.5),
    "growth_by_level": 0.05,
    "growth": np.log(0.1),
    "lasting_by_level": 0.3,
    "lasting_by_growth": -0.4,
    "lasting": np.log(0.7),
}
PACE, MEMORY = 0.06, 0.88
AT = np.array([[PARAMETERS[name] for name in OWN]])
SHARED = np.log([PACE / (1 - PACE), MEMORY / (1 - MEMORY)])
MONTHS, WAVES = np.array([1, 4, 7, 10]), np.array([2, 7, 9])


def loadings(months: np.ndarray, waves: np.ndarray) -> np.ndarray:
    """Follow every independent shock through the recursion; rows are money by month, then answers by wave."""
    p, columns = PARAMETERS, []
    last = max(months.max(), waves.max())
    span = np.arange(-REACH, last + 1)
    innovation = np.exp(p["passing"]) * np.sqrt(1 - MEMORY**2)
    for kind in ("shock", "experience"):
        for born in span:
            money, felt, own = dict.fromkeys(range(-REACH - 5, -REACH), 0.0), {}, 0.0
            for t in span:
                own = MEMORY * own + (innovation if kind == "experience" and t == born else 0.0)
                felt[t] = own + p["attention"] * (money[t - 1] - money[t - 4])
                shock = np.exp(p["shock"]) if kind == "shock" and t == born else 0.0
                money[t] = (1 - PACE) * money[t - 1] + PACE * p["response"] * felt[t] + shock
            columns.append([money[t] for t in months] + [felt[t] for t in waves])
    return np.array(columns).T


def expected() -> np.ndarray:
    p, t = PARAMETERS, len(MONTHS)
    path = loadings(MONTHS, WAVES)
    total = path @ path.T
    root = np.array(
        [
            [np.exp(p["level"]), 0, 0],
            [p["growth_by_level"], np.exp(p["growth"]), 0],
            [p["lasting_by_level"], p["lasting_by_growth"], np.exp(p["lasting"])],
        ]
    )
    own = np.zeros((t + len(WAVES), 3))
    own[:t, 0], own[:t, 1], own[t:, 2] = 1, (MONTHS - MONTHS.mean()) / 12, 1
    total += own @ root @ root.T @ own.T
    noise = [np.exp(2 * p["transitory"])] * t + [np.exp(2 * p["noise"])] * len(WAVES)
    return total + np.diag(noise)


def test_covariances_are_those_of_the_recursion():
    without = AT.copy()
    without[0, OWN.index("wandering")] = -20
    money, cross, answers = (each[0] for each in covariances_and_slopes(without, SHARED, MONTHS, WAVES)[0])
    found = np.block([[money, cross.T], [cross, answers]])
    assert found == pytest.approx(expected(), rel=1e-5)


def test_wandering_is_growth_with_memory():
    with_it = covariances_and_slopes(AT, SHARED, MONTHS, WAVES)[0][0][0]
    without = AT.copy()
    without[0, OWN.index("wandering")] = -20
    added = with_it - covariances_and_slopes(without, SHARED, MONTHS, WAVES)[0][0][0]
    step = np.zeros((3, 4))
    step[[0, 1, 2], [0, 1, 2]], step[[0, 1, 2], [1, 2, 3]] = -1, 1
    apart = np.abs(np.arange(9)[:, None] - np.arange(9)[None, :])
    by_month = 1e-4 * WANDERING_MEMORY**apart
    quarters = np.kron(np.eye(3), np.ones(3))
    assert step @ added @ step.T == pytest.approx(quarters @ by_month @ quarters.T)


def some_paths(n: int = 60, seed: int = 1) -> Paths:
    rng = np.random.default_rng(seed)
    money = rng.standard_normal((n, len(MONTHS)))
    money[rng.random(money.shape) < 0.3] = np.nan
    who, wave = np.nonzero(rng.random((n, len(WAVES))) < 0.5)
    order = rng.permutation(len(who))
    answer = rng.standard_normal(len(who))
    return Paths(
        money=money, months=MONTHS, who=who[order], answered=WAVES[wave[order]], answer=answer, bucket=np.arange(n) % 4
    )


def test_the_likelihood_is_that_of_the_normal_vector_that_was_observed():
    paths = some_paths()
    covariances = tuple(each[0] for each in covariances_and_slopes(AT, SHARED, MONTHS, WAVES)[0])
    value, _ = log_likelihood(Patterns.among(paths, WAVES), covariances)
    money, cross, answers = covariances
    full = np.block([[money, cross.T], [cross, answers]])
    total = 0.0
    for i in range(len(paths.money)):
        here = np.flatnonzero(np.isfinite(paths.money[i]))
        mine = paths.who == i
        rows = np.concatenate([here, len(MONTHS) + np.searchsorted(WAVES, paths.answered[mine])])
        seen = np.concatenate([paths.money[i, here], paths.answer[mine]])
        if len(seen):
            law = stats.multivariate_normal(np.zeros(len(seen)), full[np.ix_(rows, rows)])
            total += law.logpdf(seen) + 0.5 * len(seen) * np.log(2 * np.pi)
    assert value == pytest.approx(total)


def test_slopes_are_those_of_the_likelihood():
    data = Patterns.among(some_paths(seed=2), WAVES)

    def value(at: np.ndarray) -> float:
        base, _ = covariances_and_slopes(at[None, : len(OWN)], at[len(OWN) :], MONTHS, WAVES)
        return log_likelihood(data, tuple(each[0] for each in base))[0]

    at = np.concatenate([AT[0], SHARED])
    base, slopes = covariances_and_slopes(AT, SHARED, MONTHS, WAVES)
    pulls = log_likelihood(data, tuple(each[0] for each in base))[1]
    found = sum((slope[0] * pull).sum((1, 2)) for slope, pull in zip(slopes, pulls, strict=True))
    for k, name in enumerate((*OWN, *COMMON)):
        step = np.zeros(at.size)
        step[k] = 1e-4
        assert found[k] == pytest.approx((value(at + step) - value(at - step)) / 2e-4, rel=1e-3, abs=1e-3), name


def test_parts_of_the_customers_add_up():
    paths = some_paths(seed=3)
    data = Patterns.among(paths, WAVES)
    covariances = tuple(each[0] for each in covariances_and_slopes(AT, SHARED, MONTHS, WAVES)[0])
    parts = [log_likelihood(data.keep(paths.bucket == bucket), covariances)[0] for bucket in range(4)]
    assert sum(parts) == pytest.approx(log_likelihood(data, covariances)[0])


def drawn(n: int, *, seed: int, response: float, attention: float) -> Paths:
    """Customers of the model, by its own recursion and without the numerics under test."""
    rng = np.random.default_rng(seed)
    lasting, drift = 0.8 * rng.standard_normal(n), 0.01 * rng.standard_normal(n)
    drift += 0.006 * lasting
    money, felt = [np.zeros(n)] * 4, 1.2 * rng.standard_normal(n)
    table, scores = [], []
    for t in range(-40, 36):
        felt = MEMORY * felt + 1.2 * np.sqrt(1 - MEMORY**2) * rng.standard_normal(n)
        x = felt + attention * (money[-1] - money[-4])
        money.append((1 - PACE) * money[-1] + PACE * response * x + 0.05 * rng.standard_normal(n))
        if t >= 0:
            table.append(money[-1] + drift * t + 0.4 * lasting)
            scores.append(lasting + x + rng.standard_normal(n))
    months = np.arange(2, 36, 3)
    who, wave = np.nonzero(rng.random((n, len(months))) < 0.5)
    level = np.array(table)[months].T
    return Paths(
        money=level - level.mean(0),
        months=months,
        who=who,
        answered=months[wave],
        answer=np.array(scores)[months[wave], who],
        bucket=np.arange(n) % 32,
    )


def test_response_and_attention_are_told_apart():
    fitted = fit_joint_path([drawn(3000, seed=4, response=0.15, attention=3.0)])
    assert fitted.converged
    true = 0.15 * (1 - (1 - PACE) ** 12)
    se = float(np.sqrt(fitted.covariance_after(12)[0, 0]))
    assert se < 0.35 * true
    assert abs(fitted.after(12)[0] - true) < 2.5 * se
    assert abs(fitted.attention[0] - 3.0) < 2.5 * fitted.attention_se[0]
    assert fitted.attention[0] > 4 * fitted.attention_se[0]
    assert fitted.memory == pytest.approx(MEMORY, abs=0.06)
    assert fitted.adjustment == pytest.approx(PACE, abs=0.03)
    assert fitted.after_without_attention(12)[0] > fitted.after(12)[0] + se


def test_what_is_common_goes_and_the_rest_stays():
    rng = np.random.default_rng(5)
    first, second = rng.integers(0, 4, 400), rng.integers(0, 7, 400)
    own = rng.standard_normal(400)
    effects = np.array([1.0, -2, 3, 9])[first] + 5.0 * np.arange(7)[second]
    assert around_common(own + effects, first, second) == pytest.approx(around_common(own, first, second), abs=1e-6)


def test_common_growth_is_that_of_those_who_stay():
    """A customer who comes late and is wealthy moves nobody's path."""
    rng = np.random.default_rng(6)
    money = rng.standard_normal((40, 1)) + np.array([0.0, 0.1, 0.3, 0.2])
    segment, place = np.zeros(40, np.int64), np.arange(40) % 2
    alone = paths_around_common(money, segment, place, cap=1.0)
    joined = np.vstack([money, [[np.nan, np.nan, 50.0, 49.9]]])
    both = paths_around_common(joined, np.zeros(41, np.int64), np.append(place, 0), cap=1.0)
    assert np.ptp(alone, axis=1) == pytest.approx(0, abs=1e-6)
    assert np.ptp(both[:40], axis=1) == pytest.approx(0, abs=1e-6)


def test_faults_are_told_together():
    with pytest.raises(ValueError, match="no segment"):
        fit_joint_path([])
    with pytest.raises(ValueError, match=r"(?s)needed: customers × 4 months.*buckets for 2 customers"):
        Paths(
            money=np.zeros((2, 3)),
            months=MONTHS,
            who=np.array([0]),
            answered=np.array([2]),
            answer=np.zeros(1),
            bucket=np.zeros(3, np.int64),
        )
