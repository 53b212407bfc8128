"""Sizes of experiments, as R gives them and as simulation shows them."""

from __future__ import annotations

import numpy as np
import pytest

from rox.numerics.adjusted import adjusted_effect
from rox.numerics.power import (
    Design,
    detectable_effect,
    means_power,
    means_sample_size,
    nps_variance,
    sample_size,
    shares_power,
    shares_sample_size,
)


def test_as_r_documents(parity):
    _, values = parity("a04_power")
    found = {
        "prop.n": shares_sample_size(0.50, 0.75, power=0.90),
        "prop.power": shares_power(50, 0.50, 0.75),
        "t.n": means_sample_size(1.0, power=0.90),
        "t.power": means_power(20, 1.0),
        "nps.n_per_arm_5pts": sample_size(5.0, nps_variance(0.5, 0.2)) / 2,
        "conv.n_abs_1pt": np.ceil(shares_sample_size(0.05, 0.06, pooled=False)),
    }
    for name, value in found.items():
        assert value == pytest.approx(values[name]["value"], rel=min(values[name]["tol_rel"], 1e-6), abs=0), name


def test_sizes_and_powers_invert_each_other():
    assert means_power(means_sample_size(0.2, sd=1.5, power=0.85), 0.2, sd=1.5) == pytest.approx(0.85)
    assert means_power(means_sample_size(1e-3), 1e-3) == pytest.approx(0.8, abs=1e-6)
    assert shares_power(shares_sample_size(0.2, 0.25, power=0.9), 0.2, 0.25) == pytest.approx(0.9)
    design = Design(treated=0.9, cluster_size=40, icc=0.02, size_cv=0.5, correlation=0.4, response=0.7)
    n = sample_size(0.05, 0.3, design=design)
    assert detectable_effect(n, 0.3, design=design) == pytest.approx(0.05, rel=1e-4)


def test_places_and_what_is_known_before_change_the_size():
    assert Design(cluster_size=21, icc=0.05).effect == pytest.approx(2.0)
    assert Design(correlation=0.6).effect == pytest.approx(0.64)
    plain = sample_size(0.05, 0.3)
    assert sample_size(0.05, 0.3, design=Design(cluster_size=21, icc=0.05)) == pytest.approx(2 * plain, rel=1e-3)
    assert sample_size(0.05, 0.3, design=Design(treated=0.1)) == pytest.approx(plain / 0.36, rel=1e-3)


def test_a_clustered_experiment_of_the_size_asked_for_has_the_power():
    rng = np.random.default_rng(3)
    design = Design(cluster_size=20, icc=0.05)
    places = round(sample_size(0.3, 1.0, design=design) / 20 / 2) * 2
    label = np.repeat(np.arange(places), 20)
    found = []
    for _ in range(300):
        arm = rng.permutation(np.arange(places) % 2)[label]
        y = np.sqrt(0.05) * rng.normal(size=places)[label] + np.sqrt(0.95) * rng.normal(size=label.size)
        fit = adjusted_effect(y + 0.3 * arm, arm, cluster=label)
        found.append(fit.estimate[0] > 1.96 * fit.se[0])
    assert 0.74 < np.mean(found) < 0.88


def test_faults_are_said():
    with pytest.raises(ValueError, match=r"treated must.*icc must"):
        Design(treated=0, icc=2)
    with pytest.raises(ValueError, match="effect other than 0"):
        sample_size(0, 1)
    with pytest.raises(ValueError, match="out of reach"):
        sample_size(1e-9, 1)
    with pytest.raises(ValueError, match="two different shares"):
        shares_sample_size(0.1, 0.1)
    with pytest.raises(ValueError, match="at most 1"):
        nps_variance(0.7, 0.7)
