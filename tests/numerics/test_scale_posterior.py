"""Scales drawn by importance: against quadrature, at the edge, and far from the prior."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import integrate, stats

from rox.numerics.scale_posterior import scale_posterior


@pytest.mark.parametrize("law", ["halfnormal", "halfcauchy"])
@pytest.mark.parametrize("observed", [0.0, 1.5, 40.0])
def test_agrees_with_quadrature(law, observed):
    """Five deviations of a spread with errors of 1; 0 piles the posterior up at zero, 40 lies far outside the prior."""
    y = observed * np.array([-1.2, -0.5, 0.1, 0.6, 1.0])

    def log_likelihood(tau):
        return stats.norm.logpdf(y, 0, np.sqrt(1 + np.asarray(tau)[..., None] ** 2)).sum(-1)

    prior = stats.halfnorm(scale=2) if law == "halfnormal" else stats.halfcauchy(scale=2)
    peak = max(log_likelihood(np.linspace(0, 100, 2001)) + prior.logpdf(np.linspace(0, 100, 2001)))

    def density(tau):
        return np.exp(log_likelihood(tau) + prior.logpdf(tau) - peak)

    mass = integrate.quad(density, 0, 400, points=[1, 5, 20, 60], limit=500)[0]
    mean = integrate.quad(lambda t: t * density(t), 0, 400, points=[1, 5, 20, 60], limit=500)[0] / mass
    found = scale_posterior(lambda s: log_likelihood(s[:, 0]), [2.0], law=law, draws=20_000, rng=1)
    assert found.ess > 4000
    assert found.scales.mean() == pytest.approx(mean, rel=0.05)
    assert found.log_evidence == pytest.approx(np.log(mass) + peak, abs=0.05)


def test_many_scales_and_a_narrow_ridge():
    """Normal likelihood times half-normal prior is normal, cut off at zero nine deviations away."""
    prior = np.array([1.0, 1.0, 2.0, 0.1])
    centre, width = np.array([0.3, 1.0, 4.0, 0.02]), np.array([1e-4, 0.1, 0.05, 0.002])
    found = scale_posterior(lambda s: -(((s - centre) / width) ** 2).sum(1) / 2, prior, draws=8000, rng=3)
    sd = (width**-2 + prior**-2) ** -0.5
    assert found.ess > 1000
    assert (np.abs(found.scales.mean(0) - centre * (sd / width) ** 2) < 5 * sd / np.sqrt(found.ess)).all()
    np.testing.assert_allclose(found.scales.std(0), sd, rtol=0.15)


def test_what_cannot_be_drawn():
    with pytest.raises(ValueError, match="must be positive"):
        scale_posterior(lambda s: s[:, 0], [0.0])
    with pytest.raises(ValueError, match="law"):
        scale_posterior(lambda s: s[:, 0], [1.0], law="uniform")
    with pytest.raises(ValueError, match="nowhere finite"):
        scale_posterior(lambda s: np.full(len(s), -np.inf), [1.0])
