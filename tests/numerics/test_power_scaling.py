"""Power-scaling: the exact conjugate answer, another implementation's figures, and the three diagnoses."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import integrate, stats

from rox.numerics.power_scaling import (
    Diagnosis,
    cumulative_distance,
    power_scaling,
    smoothed_log_weights,
)


def conjugate(prior, data, power=1.0, part="prior"):
    """Mean and standard deviation of the posterior of a normal mean, one part raised to a power."""
    (m0, s0), (y, se) = prior, data
    a, b = (power, 1.0) if part == "prior" else (1.0, power)
    precision = a / s0**2 + b / se**2
    return (a * m0 / s0**2 + b * y / se**2) / precision, precision**-0.5


def case(prior, data, size=4000, seed=3):
    mean, sd = conjugate(prior, data)
    x = mean + sd * np.random.default_rng(seed).standard_normal(size)
    return x, stats.norm.logpdf(x, *prior), stats.norm.logpdf(data[0], x, data[1])


def exact_distance(p, q, low, high):
    """The distance between two normals over the range of the draws, by quadrature."""

    def half(f, g):
        def integrand(t):
            a, b = f(t), g(t)
            return a * np.log2(2 * a / (a + b)) + (b - a) / (2 * np.log(2)) if a > 0 else b / (2 * np.log(2))

        return integrate.quad(integrand, low, high, limit=200)[0]

    found = []
    for tail in (stats.norm.cdf, stats.norm.sf):
        f, g = (lambda t, law=law, tail=tail: tail(t, *law) for law in (p, q))
        bound = integrate.quad(lambda t, f=f, g=g: f(t) + g(t), low, high, limit=200)[0]
        found.append(np.sqrt(max(half(f, g) + half(g, f), 0) / bound))
    return max(found)


@pytest.mark.parametrize(
    ("prior", "data"), [((0.0, 1.0), (10.0, 1.0)), ((0.0, 2.0), (3.0, 1.0)), ((0.0, 1.0), (0.0, 5.0))]
)
def test_sensitivities_are_those_of_the_exact_posteriors(prior, data):
    x, log_prior, log_likelihood = case(prior, data, size=20_000)
    found = power_scaling(x, log_prior, log_likelihood, step=0.05)
    for part, got in (("prior", found.prior), ("likelihood", found.likelihood)):
        wanted = np.mean(
            [
                exact_distance(conjugate(prior, data), conjugate(prior, data, power, part), x.min(), x.max())
                / abs(np.log2(power))
                for power in (0.95, 1.05)
            ]
        )
        assert got == pytest.approx(wanted, rel=0.04, abs=2e-3)


def test_distance_of_draws_is_that_of_quadrature():
    x = stats.norm.ppf((np.arange(20_000) + 0.5) / 20_000)
    weight = stats.norm.pdf(x, 0.5, 0.8) / stats.norm.pdf(x)
    wanted = exact_distance((0, 1), (0.5, 0.8), x[0], x[-1])
    assert cumulative_distance(x, weight) == pytest.approx(wanted, rel=2e-3)
    assert cumulative_distance(x, np.ones(x.size)) == pytest.approx(0, abs=1e-6)
    assert cumulative_distance(3 - 7 * x, weight) == pytest.approx(cumulative_distance(x, weight))


def test_a_quarter_of_a_deviation_per_doubling_is_the_threshold():
    x = stats.norm.ppf((np.arange(4000) + 0.5) / 4000)
    shift = 0.24 * np.log2(1.01)
    assert cumulative_distance(x, np.exp(shift * x)) / np.log2(1.01) == pytest.approx(0.05, abs=0.002)


@pytest.mark.parametrize(
    ("prior", "data", "diagnosis"),
    [
        ((0.0, 10.0), (0.0, 1.0), Diagnosis.NONE),
        ((0.0, 1.0), (10.0, 1.0), Diagnosis.CONFLICT),
        ((0.0, 1.0), (0.0, 5.0), Diagnosis.STRONG_PRIOR),
        ((0.0, 0.5), (1.0, 10.0), Diagnosis.STRONG_PRIOR),
    ],
)
def test_diagnoses(prior, data, diagnosis):
    found = power_scaling(*case(prior, data))
    assert found.diagnosis is diagnosis
    assert found.is_reliable


@pytest.mark.parametrize(
    ("prior", "data", "wanted"),
    [
        ((0.0, 10.0), (0.0, 1.0), (0.000824883146, 0.082491102954)),
        ((0.0, 1.0), (10.0, 1.0), (0.563288016257, 0.531881099716)),
        ((0.0, 1.0), (0.0, 5.0), (0.080111379127, 0.003204353236)),
        ((0.0, 2.0), (3.0, 1.0), (0.092400290795, 0.124583922280)),
    ],
)
def test_figures_of_another_implementation(prior, data, wanted):
    """`arviz_stats.psense_summary` 1.3.3 on the same draws; it smooths a tail of slightly another length."""
    found = power_scaling(*case(prior, data))
    assert (found.prior, found.likelihood) == pytest.approx(wanted, rel=1e-3)


def test_a_flat_part_has_no_sensitivity_and_a_monotone_change_of_the_prior_has():
    x, log_prior, log_likelihood = case((0.0, 1.0), (2.0, 1.0))
    assert power_scaling(x, np.zeros(x.size), log_likelihood).prior == 0
    same = power_scaling(x, log_prior, log_likelihood)
    shifted = power_scaling(2 - 5 * x, log_prior + 7, log_likelihood - 3)
    assert (shifted.prior, shifted.likelihood) == pytest.approx((same.prior, same.likelihood), rel=1e-9)


def test_smoothed_weights_have_the_tail_of_their_law():
    """A Pareto tail of index 2 has k = 1/2, an exponential none; heavy ones are called unreliable."""
    rng = np.random.default_rng(1)
    log_weight, _ = smoothed_log_weights(-np.log(rng.random(20_000)) / 2)
    assert np.exp(log_weight).sum() == pytest.approx(1)
    for log_ratio, shape in ((lambda u: -np.log(u) / 2, 0.5), (lambda u: np.log(-np.log(u)), 0.0)):
        found = [smoothed_log_weights(log_ratio(rng.random(20_000)))[1] for _ in range(25)]
        assert np.mean(found) == pytest.approx(shape, abs=0.04)
    heavy = power_scaling(rng.standard_normal(4000), -130 * np.log(rng.random(4000)), np.zeros(4000))
    assert not heavy.is_reliable


def test_useless_input_is_refused():
    x, log_prior, log_likelihood = case((0.0, 1.0), (1.0, 1.0), size=200)
    with pytest.raises(ValueError, match="log_prior has 199"):
        power_scaling(x, log_prior[1:], log_likelihood)
    with pytest.raises(ValueError, match=r"all alike.*step must lie"):
        power_scaling(np.ones(200), log_prior, log_likelihood, step=2)
    with pytest.raises(ValueError, match="100 draws"):
        power_scaling(x[:50], log_prior[:50], log_likelihood[:50])
    with pytest.raises(ValueError, match="not be negative"):
        cumulative_distance(x, -np.ones(x.size))
    with pytest.raises(ValueError, match="25 draws"):
        smoothed_log_weights(np.zeros(10))
