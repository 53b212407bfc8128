"""Normal mixtures: a published robust prior reproduced, agreement with quadrature, and what must be refused."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, stats

from rox.numerics.normal_mixture import NormalMixture
from rox.numerics.pooling import pool, predict_unit

MIXED = NormalMixture(weights=[0.5, 0.3, 0.2], means=[-1.0, 0.5, 4.0], sds=[0.4, 2.0, 1.0])

proportions = st.floats(0.05, 1.0)
places = st.floats(-5, 5)
widths = st.floats(0.1, 4)


@st.composite
def mixtures(draw):
    size = draw(st.integers(1, 3))
    weights = np.array([draw(proportions) for _ in range(size)])
    means, sds = ([draw(each) for _ in range(size)] for each in (places, widths))
    return NormalMixture(weights=weights / weights.sum(), means=means, sds=sds)


def over(mixture, function):
    reach = 12 * mixture.sds.max()
    points = np.sort(np.concatenate([mixture.means, mixture.means - mixture.sds, mixture.means + mixture.sds]))
    span = (mixture.means.min() - reach, mixture.means.max() + reach)
    return integrate.quad(function, *span, points=points, limit=400, epsabs=1e-12)[0]


class TestCrohnPlacebo:
    """Six placebo groups, change of the activity index, standard deviation 88 per patient.

    Data and printed results: vignette "RBesT for a normal endpoint", RBesT 1.9-0 (Weber et al. 2021, JSS 100(19)).
    """

    MAP = NormalMixture(
        weights=[0.50104846, 0.41871594, 0.08023561],
        means=[-51.42408665, -47.25917128, -55.07086416],
        sds=[19.04525409, 7.85193726, 44.57325000],
    )

    @pytest.fixture(scope="class")
    @staticmethod
    def predicted():
        change = [-51.0, -49, -36, -47, -90, -54]
        error = 88 / np.sqrt([74, 166, 328, 20, 25, 58])
        fit = pool(change, error**2, gamma_covariance=88.0**2, tau_scale=44, n=40_000, rng=1)
        return fit, predict_unit(fit, rng=2)

    def test_the_predictive_distribution(self, predicted):
        """Printed: tau 14.3 (10.0), median 12.2; new study -50.0 (19.3), -93.1, -48.6, -13.8, by Monte Carlo."""
        fit, draws = predicted
        assert fit.tau_mean == pytest.approx(14.3, abs=0.3)
        assert fit.tau_median == pytest.approx(12.2, abs=0.3)
        assert draws.mean() == pytest.approx(-50.0, abs=0.4)
        assert draws.std() == pytest.approx(19.3, abs=0.4)
        assert np.median(draws) == pytest.approx(-48.6, abs=0.3)
        assert np.quantile(draws, [0.025, 0.975]) == pytest.approx([-93.1, -13.8], abs=2.5)

    def test_the_fitted_mixture(self, predicted):
        draws = predicted[1]
        fitted = NormalMixture.fitted(draws)
        assert fitted.weights.size > 1
        assert (fitted.mean, fitted.sd) == pytest.approx((draws.mean(), draws.std()), rel=1e-3)
        grid = np.linspace(-150, 60, 2001)
        assert np.abs(fitted.cdf(grid) - np.searchsorted(np.sort(draws), grid) / draws.size).max() < 0.01
        assert np.abs(fitted.cdf(grid) - self.MAP.cdf(grid)).max() < 0.03

    def test_effective_sizes(self):
        """Printed: 39 patients (ELIR), 21 (moment), and 28 (ELIR) with a fifth of a unit-information component."""
        assert round(self.MAP.effective_size(88)) == 39
        assert round(self.MAP.effective_size(88, "moment")) == 21
        assert round(self.MAP.robust(0.2, -50, 88).effective_size(88)) == 28

    def test_posterior_of_the_trial(self):
        """Printed: P(active - placebo < 0) = 0.06270104 and P(... < -50) = 3.827361e-06."""
        active = NormalMixture.normal(-50, 88).updated(-29.2, 14.0)
        placebo = self.MAP.robust(0.2, -50, 88).updated(-63.1, 13.9)
        weight = np.multiply.outer(active.weights, placebo.weights)
        gap = np.subtract.outer(active.means, placebo.means)
        sd = np.hypot.outer(active.sds, placebo.sds)
        below = [float((weight * stats.norm.cdf(bound, gap, sd)).sum()) for bound in (0, -50)]
        assert below[0] == pytest.approx(0.06270104, abs=5e-9)
        assert below[1] == pytest.approx(3.827361e-06, rel=2e-7)


def test_a_new_trial(parity):
    """A mixture fitted to draws of a 14th trial: metafor's mean, and a spread that knows tau badly."""
    folder, ref = parity("h05_bcg_meta")
    trials = pd.read_csv(folder / "bcg.csv")
    fit = pool(trials.yi, trials.vi, tau_scale=1.0, n=8000, rng=1)
    prior = NormalMixture.fitted(predict_unit(fit, rng=2), (1, 2))
    exact = np.sqrt(fit.tau_grid**2 @ fit.tau_probability + fit.gamma_covariance[0, 0])
    assert prior.mean == pytest.approx(ref["reml.mu"]["value"], abs=0.03)
    assert prior.sd == pytest.approx(exact, rel=0.03)
    assert prior.sd > np.hypot(ref["reml.tau2"]["value"] ** 0.5, ref["reml.se"]["value"])


@settings(max_examples=25, deadline=None)
@given(mixture=mixtures(), estimate=places, se=widths)
def test_posterior_times_marginal_is_prior_times_likelihood(mixture, estimate, se):
    """Bayes' rule, point by point; the posterior integrates to one because it is a mixture."""
    posterior = mixture.updated(estimate, se)
    x = posterior.mean + posterior.sd * np.linspace(-2, 2, 5)
    left = np.log(posterior.pdf(x)) + mixture.log_marginal(estimate, se)
    assert left == pytest.approx(np.log(mixture.pdf(x)) + stats.norm.logpdf(estimate, x, se), abs=1e-8)


def test_the_marginal_is_that_of_quadrature():
    found = over(MIXED, lambda x: float(MIXED.pdf(x)) * stats.norm.pdf(2.0, x, 0.8))
    assert MIXED.log_marginal(2.0, 0.8) == pytest.approx(np.log(found), abs=1e-9)
    mean = over(MIXED, lambda x: x * float(MIXED.pdf(x)) * stats.norm.pdf(2.0, x, 0.8)) / found
    assert MIXED.updated(2.0, 0.8).mean == pytest.approx(mean, abs=1e-9)


@settings(max_examples=25, deadline=None)
@given(mixture=mixtures(), estimate=places, se=widths)
def test_updating_twice_is_updating_once_with_the_precision_weighted_mean(mixture, estimate, se):
    both = mixture.updated(estimate, se).updated(-estimate / 2, 2 * se)
    precision = np.array([1, 0.25]) / se**2
    once = mixture.updated(float(precision @ [estimate, -estimate / 2] / precision.sum()), precision.sum() ** -0.5)
    for name in ("weights", "means", "sds"):
        assert getattr(both, name) == pytest.approx(getattr(once, name), rel=1e-7, abs=1e-9)


@settings(max_examples=25, deadline=None)
@given(mixture=mixtures(), p=st.floats(1e-6, 1 - 1e-6))
def test_quantiles_invert_the_distribution_function(mixture, p):
    assert mixture.cdf(mixture.quantile(p)) == pytest.approx(p, rel=1e-9, abs=1e-12)


def test_moments_density_and_tails():
    draws = MIXED.draw(200_000, rng=1)
    assert (MIXED.mean, MIXED.sd) == pytest.approx((draws.mean(), draws.std()), abs=0.02)
    assert over(MIXED, MIXED.pdf) == pytest.approx(1, abs=1e-9)
    x = np.array([[-2.0, 0.0], [3.0, 7.0]])
    assert MIXED.cdf(x) + MIXED.above(x) == pytest.approx(np.ones((2, 2)))
    assert MIXED.above(30.0) == pytest.approx(0.3 * stats.norm.sf(30, 0.5, 2), rel=1e-9)
    assert list(MIXED.quantile([0.0, 1.0])) == [-np.inf, np.inf]


def test_information_is_that_of_quadrature_and_adds_up_with_data():
    def density_slope(x):
        z = (x - MIXED.means) / MIXED.sds
        return float((-z / MIXED.sds * stats.norm.pdf(z) / MIXED.sds) @ MIXED.weights)

    wanted = over(MIXED, lambda x: density_slope(x) ** 2 / float(MIXED.pdf(x)))
    assert MIXED.effective_size(3.0) == pytest.approx(9 * wanted, rel=1e-8)
    data = 3.0 / np.sqrt(10)
    node, mass = np.polynomial.hermite_e.hermegauss(24)
    seen = MIXED.means + np.hypot(MIXED.sds, data) * node[:, None]
    sizes = [[MIXED.updated(y, data).effective_size(3.0) for y in row] for row in seen]
    after = mass @ np.array(sizes) @ MIXED.weights / mass.sum()
    assert after - 10 == pytest.approx(MIXED.effective_size(3.0), rel=2e-3)
    assert (
        NormalMixture.normal(1, 2).effective_size(10) == NormalMixture.normal(1, 2).effective_size(10, "moment") == 25
    )


def test_conflict_of_one_normal_is_the_two_sided_p_value_and_counts_every_component():
    assert NormalMixture.normal(1, 3).conflict(-9, 4) == pytest.approx(2 * stats.norm.sf(2))
    predictive = NormalMixture(weights=MIXED.weights, means=MIXED.means, sds=np.hypot(MIXED.sds, 0.7))
    for estimate in (-3.0, 0.0, 6.0):
        tail = min(float(predictive.cdf(estimate)), float(predictive.above(estimate)))
        assert MIXED.conflict(estimate, 0.7) == pytest.approx(2 * tail)
    assert 0 < MIXED.conflict(60, 0.7) < 1e-100


def test_a_robust_prior_yields_to_data_far_away_and_keeps_to_data_near():
    sharp = NormalMixture.normal(0.03, 0.01)
    robust = sharp.robust(0.2, 0.0, 0.10)
    assert robust.mean == pytest.approx(0.8 * 0.03)
    assert sharp.updated(-0.10, 0.01).mean == pytest.approx(-0.035)
    assert robust.updated(-0.10, 0.01).mean == pytest.approx(-0.10, abs=0.002)
    near = robust.updated(0.03, 0.01)
    assert near.weights[0] > 0.9
    assert near.mean == pytest.approx(0.03, abs=0.001)
    assert sharp.robust(0, 0, 1) is sharp


def test_weights_survive_an_estimate_a_thousand_deviations_away():
    far = MIXED.updated(1e4, 0.1)
    assert far.weights.sum() == pytest.approx(1)
    assert far.mean == pytest.approx(1e4, rel=1e-2)


def test_a_power_prior_divides_the_variance():
    assert NormalMixture.normal(2, 3).discounted(0.25).sds[0] == pytest.approx(6)
    x = np.linspace(-5, 9, 5)
    powered = NormalMixture.normal(2, 3).pdf(x) ** 0.25
    ratio = NormalMixture.normal(2, 3).discounted(0.25).pdf(x) / powered
    assert ratio == pytest.approx(np.full(5, ratio[0]))
    with pytest.raises(ValueError, match=r"a0 must be above 0.*3"):
        MIXED.discounted(1.5)


def test_a_fit_finds_two_groups_and_calls_one_normal_one():
    two = NormalMixture(weights=[0.7, 0.3], means=[-2, 3], sds=[1, 0.5])
    found = NormalMixture.fitted(two.draw(5000, rng=1))
    assert found.weights.size == 2
    for name in ("weights", "means", "sds"):
        assert getattr(found, name) == pytest.approx(getattr(two, name), abs=0.1)
    one = NormalMixture.fitted(1e6 + 1e-3 * np.random.default_rng(2).standard_normal(3000))
    assert one.weights.size == 1
    assert one.sd == pytest.approx(1e-3, rel=0.05)
    assert NormalMixture.fitted(two.draw(500, rng=3), 1).weights.size == 1


def test_what_is_no_mixture_is_refused_with_every_fault():
    with pytest.raises(ValueError, match=r"must sum to one.*sds must be positive"):
        NormalMixture(weights=[0.5, 0.6], means=[0, 1], sds=[1, 0])
    with pytest.raises(ValueError, match="as many weights"):
        NormalMixture(weights=[1.0], means=[0, 1], sds=[1, 1])
    with pytest.raises(ValueError, match="positive standard error"):
        MIXED.updated(0.0, 0.0)
    with pytest.raises(ValueError, match="nothing to fit"):
        NormalMixture.fitted(np.ones(100))
    with pytest.raises(ValueError, match="60 draws"):
        NormalMixture.fitted(np.arange(30.0))
    with pytest.raises(ValueError, match=r"lie in 0\.\.1"):
        MIXED.quantile(1.2)
    with pytest.raises(ValueError, match="elir"):
        MIXED.effective_size(1, "morita")
    with pytest.raises(ValueError):
        MIXED.weights[0] = 1
