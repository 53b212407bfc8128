from __future__ import annotations

from dataclasses import replace
from importlib.metadata import version

import numpy as np
import pytest

from rox.core.check import Verdict
from rox.core.errors import FitError
from rox.models.sampling import Sampled, pymc, sample


def known_normal() -> pymc.Model:
    """Ten readings with mean 3 and known error, flat enough a prior: the posterior is normal and known exactly."""
    with pymc.Model() as model:
        mean = pymc.Normal("mean", 0, 10)
        pymc.Deterministic("pair", mean * np.array([1.0, -2.0]))
        pymc.Normal("reading", mean, 2, observed=np.full(10, 3.0))
    return model


POSTERIOR_SD = (1 / 100 + 10 / 4) ** -0.5
POSTERIOR_MEAN = POSTERIOR_SD**2 * 10 * 3 / 4


@pytest.fixture(scope="module")
def sampled() -> Sampled:
    return sample(known_normal(), ["mean", "pair"], rng=5)


def test_draws_have_the_exact_posterior(sampled: Sampled) -> None:
    mean = sampled.draws["mean"]
    error = POSTERIOR_SD / np.sqrt(sampled.ess)
    assert mean.shape == (4000,)
    assert abs(mean.mean() - POSTERIOR_MEAN) < 4 * error
    assert mean.std() == pytest.approx(POSTERIOR_SD, rel=0.1)


def test_arrays_keep_their_shape_with_chains_stacked(sampled: Sampled) -> None:
    pair = sampled.draws["pair"]
    assert pair.shape == (4000, 2)
    np.testing.assert_allclose(pair[:, 1], -2 * sampled.draws["mean"])


def test_draws_cannot_be_changed(sampled: Sampled) -> None:
    with pytest.raises(ValueError, match="read-only"):
        sampled.draws["mean"][0] = 0


def test_one_seed_gives_the_same_draws_and_another_seed_others(sampled: Sampled) -> None:
    again = sample(known_normal(), ["mean", "pair"], rng=np.random.default_rng(5))
    other = sample(known_normal(), ["mean"], rng=6)
    np.testing.assert_array_equal(again.draws["mean"], sampled.draws["mean"])
    assert not np.array_equal(other.draws["mean"], sampled.draws["mean"])


def test_the_record_names_what_sampled(sampled: Sampled) -> None:
    assert sampled.sampler == f"PyMC {pymc.__version__}, NUTS by nutpie {version('nutpie')}"
    assert sampled.check().verdict is Verdict.PASS
    for language in ("en", "zh"):
        assert pymc.__version__ in sampled.check().sentence(language)


def test_too_few_effective_draws_are_refused() -> None:
    with pytest.raises(FitError, match="did not converge") as caught:
        sample(known_normal(), ["mean"], draws=60, tune=200, chains=2, rng=1)
    assert "effective sample size" in str(caught.value)
    assert "more draws" in caught.value.faults[-1]


def test_modes_that_chains_do_not_cross_are_refused() -> None:
    with pymc.Model() as model:
        place = pymc.Normal("place", 0, 100)
        pymc.Potential("two_modes", pymc.math.logaddexp(-((place - 60) ** 2), -((place + 60) ** 2)))
    with pytest.raises(FitError, match="R-hat"):
        sample(model, ["place"], draws=500, tune=300, chains=8, rng=3)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"rhat": 1.011}, "R-hat"),
        ({"rhat": float("nan")}, "R-hat"),
        ({"ess": 400.0}, "400"),
        ({"divergences": 1}, "1 div"),
    ],
)
def test_each_gate_closes_on_its_own(sampled: Sampled, change: dict[str, float], said: str) -> None:
    assert sampled.faults == ()
    (fault,) = replace(sampled, **change).faults
    assert said in fault
    assert replace(sampled, **change).check().verdict is Verdict.STOP
